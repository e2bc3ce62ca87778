"""Demonstrations in the order of how good they are, as labels. Brown, Goo, Nagarajan & Niekum 2019 (T-REX).

A reward that is learnt from them may lead beyond the best of them: where later demonstrations are better than earlier
ones, what makes them so may go on. What we do differently: only episodes that begin alike are compared. Where one
begins says more about its first steps than who acts, and a reward that tells episodes apart by that says nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from retorno.core.errors import RetornoError
from retorno.core.spaces import action_units
from retorno.environments.recordings import Episode, Recorded
from retorno.preferences.judges import as_json


def ranked_demonstrations(shown: Iterable[Recorded]) -> Iterator[dict[str, Any]]:
    """Records as `Preferences(known=FILE)` reads them: each ranks one episode of each, all of which begin alike.

    Recorded with the same seed, as `retorno.record(..., seed=…)` does, they begin with the same observations; else with
    those that are next to each other in order.

    Raises:
        RetornoError: when there are fewer than two.

    Args:
        shown: recordings of the same world, the worst first.
    """
    recorded = list(shown)
    if len(recorded) < 2:
        raise RetornoError(
            f"demonstrations are ranked against each other: expected two recordings, got {len(recorded)}"
        )
    units = action_units(recorded[0].action_space)
    ranks = [*reversed(range(len(recorded)))]
    for together in zip(*(sorted(each.episodes(), key=_begins) for each in recorded), strict=False):
        segments = [as_json({"obs": each.steps.obs, "action": units.to_policy(each.action)}) for each in together]
        yield {"segments": segments, "ranks": ranks}


def _begins(episode: Episode) -> list[Any]:
    """What was observed first, as numbers that can be put in order."""
    return [np.ravel(x[0]).tolist() for x in jax.tree.leaves(episode.steps.obs)]
