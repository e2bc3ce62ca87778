"""Counts of what happens in many places go on where a word of 32 bits ends."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from retorno.core.counter import WORD, Counter, counts
from retorno.core.spaces import Spec
from retorno.core.time_step import Trajectory, restart, transition
from retorno.models.tabular import latest_model
from retorno.policies.schedules import StepSize, Visits, visits

SPEC = Spec(spaces.Discrete(3), spaces.Discrete(2), 1, 100, restart(jnp.int32(0)))


def standing(at: list[list[int]]) -> Counter:
    return Counter(*(jnp.array([[part(n) for n in row] for row in at], jnp.uint32) for part in (low, high)))


def low(n: int) -> int:
    return n % WORD


def high(n: int) -> int:
    return n // WORD


FAR = [[WORD - 2, 7], [2**31 - 1, WORD - 1], [3 * WORD - 1, 0]]


def test_places_that_repeat_are_counted_each_time() -> None:
    rows, columns = jnp.array([0, 0, 0, 2, 2, 1]), jnp.array([0, 0, 0, 0, 1, 1])
    after = standing(FAR).plus_at((rows, columns), jnp.array([1, 1, 1, 1, 0, 1]))
    np.testing.assert_array_equal(counts(after), [[WORD + 1, 7], [2**31 - 1, WORD], [3 * WORD, 0]])
    again = after.plus_at((jnp.int32(1), jnp.int32(0)), jnp.array(True))
    assert counts(again)[1, 0] == 2**31
    np.testing.assert_array_equal(again.at(0).size, np.float32([WORD + 1, 7]))


def test_visits_and_step_sizes_go_on_past_31_bits() -> None:
    none = visits(SPEC, 2)
    seen = Visits(standing(FAR), none.observed)
    alpha, after = StepSize(seen).next(None, None, jnp.int32(1), jnp.int32(0), jnp.float32(0), jnp.array(True))
    assert alpha == np.float32(2.0**-31)
    assert after.visited is not None and counts(after.visited.count)[1, 0] == 2**31
    steps = [restart(jnp.int32(1)), transition(jnp.int32(0), 0.0), transition(jnp.int32(0), 0.0)]
    rows = Trajectory(jax.tree.map(lambda *x: jnp.stack(x)[:, None], *steps), jnp.array([[1], [0]]), (), ())
    np.testing.assert_array_equal(
        counts(seen.update(rows).count), [[WORD - 1, 7], [2**31 - 1, WORD], [3 * WORD - 1, 0]]
    )


def test_how_long_ago_an_action_was_tried_is_told_past_a_word() -> None:
    """The clock passes 2³², whose 0 it leaves out, since that is never: 3 transitions later an action is 4 old."""
    model = latest_model(SPEC, 2)
    model = type(model)(**{**vars(model), "now": jnp.uint32(WORD - 2)})
    for action in (0, 1, 1, 1):
        model = model.learn(restart(jnp.int32(0)), jnp.int32(action), transition(jnp.int32(0), 0.0))
    assert (model.now - model.tried[0]).tolist() == [4, 0]
    assert model.tried.tolist() == [[WORD - 1, 3], [0, 0], [0, 0]]
