"""Exact answers about whatever names a model: `retorno.solve("student", 0.9)`."""

from __future__ import annotations

from typing import Any

from retorno import bellman
from retorno.core.numerals import Number, as_fraction
from retorno.core.solution import Solution
from retorno.environments.registry import as_model


def solve(model: Any, discount: Number | str = 0.99, accuracy: float = 1e-6, **more: Any) -> Solution:
    """`retorno.bellman.solve` for a model, or for what plainly means one.

    Args:
        model: a model; its name, or its file; a dictionary of transitions; whatever `as_model` takes.
        discount: γ in [0, 1], a number or its text: "9/10".
        accuracy: the width of the bounds at which the answer counts as `converged`.
        **more: as for `retorno.bellman.solve`.

    Raises:
        ValueError: as `retorno.bellman.solve`, and when what was given has no model.

    >>> round(solve("student", 0.9).start_value, 6)
    4.3
    """
    gamma = as_fraction(discount) if isinstance(discount, str) else discount
    return bellman.solve(as_model(model), gamma, accuracy, **more)
