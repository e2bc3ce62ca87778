"""A space as a static field: alike spaces are one object, others are not, however alike they print."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gymnasium import Space, spaces

from retorno.core.spaces import HashableSpace


def large_box(changed: float, dtype: type = np.float32) -> spaces.Box:
    """A box so large that NumPy prints its bounds with an ellipsis."""
    low = np.zeros((50, 50), dtype)
    low[25, 25] = changed
    return spaces.Box(low, np.full((50, 50), 9, dtype), dtype=dtype)


ALIKE: list[Callable[[], Space]] = [
    lambda: spaces.Discrete(3, start=1),
    lambda: spaces.MultiDiscrete([2, 3]),
    lambda: spaces.MultiBinary(3),
    lambda: large_box(1),
    lambda: spaces.Dict(a=spaces.Discrete(2), b=spaces.Tuple([large_box(2)])),
]

DIFFERENT = [
    (spaces.Discrete(3), spaces.Discrete(3, start=1)),
    (spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([3, 2])),
    (large_box(1), large_box(2)),
    (large_box(1), large_box(1, np.float64)),
    (spaces.Dict(a=large_box(1)), spaces.Dict(a=large_box(2))),
    (spaces.Dict(a=spaces.Discrete(2)), spaces.Dict(b=spaces.Discrete(2))),
    (spaces.Tuple([large_box(1)]), spaces.Tuple([large_box(2)])),
]


@pytest.mark.parametrize("make", ALIKE)
def test_alike_spaces_are_one(make: Callable[[], Space]) -> None:
    assert HashableSpace(make()) is HashableSpace(make())


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_spaces_that_differ_are_not_taken_for_each_other(one: Space, other: Space) -> None:
    assert HashableSpace(one) is not HashableSpace(other)
    assert HashableSpace(one).space == one and HashableSpace(other).space == other


def test_the_law_is_about_more_than_what_is_printed() -> None:
    assert repr(large_box(1)) == repr(large_box(2))
