"""Arrays that somebody gave, looked at before a model is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float

from retorno.core.mdp import ModelError, Numbered
from retorno.core.numerals import as_floats


def are_numbers(names: Sequence[str]) -> bool:
    """Whether the names are '0', '1', … and so need not be kept."""
    return isinstance(names, Numbered) or all(name == str(i) for i, name in enumerate(names))


def uniform(acting: np.ndarray) -> Float[np.ndarray, " S"]:
    """The same chance for each state that has actions."""
    if not acting.any():
        raise ModelError("the model has no state with an action: give at least one state an action")
    return acting / acting.sum()


def floats(array: Any, name: str, shape: tuple[int, ...], fractions: dict[float, Fraction] | None = None) -> np.ndarray:
    """As float64 of that shape; not copied where it is. What fractions among them stand for is kept in `fractions`."""
    try:
        made = as_floats(array, {} if fractions is None else fractions)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{name} is not an array of numbers: {error}") from None
    if made.shape != shape:
        raise ModelError(f"{name} has the shape {list(made.shape)}, expected {list(shape)}")
    return made


def integers(array: Any, name: str) -> np.ndarray:
    """As int32 or int64 [·]; not copied where they are."""
    try:
        made = np.asarray(array)
        if made.dtype not in (np.int32, np.int64):
            exact = made.astype(np.int64)
            if not np.array_equal(exact, made):
                raise ValueError("some are no whole numbers")
            made = exact
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{name} is not an array of whole numbers: {error}") from None
    if made.ndim != 1:
        raise ModelError(f"{name} has the shape {list(made.shape)}, expected one axis")
    return made


def check_pointer(pointer: np.ndarray, name: str, end: int | None) -> None:
    """Raise unless it rises from 0 to its end: whatever follows relies on it."""
    if not len(pointer) or pointer[0] != 0 or (np.diff(pointer) < 0).any() or (end is not None and pointer[-1] != end):
        got = f"{pointer[0]} to {pointer[-1]}" if len(pointer) else "nothing"
        raise ModelError(f"{name} must rise from 0{'' if end is None else f' to {end}'}, got {got}")
