"""Counts of what happens in many places go on where a word of 32 bits ends."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from retorno.core.counter import WORD, Counter, FixedTotal, Total, counts
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep, Trajectory, restart, transition
from retorno.models.tabular import counted_model, latest_model
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


STALLS = 2**24
"""Where one more is rounded away from a float32."""


def test_a_sum_goes_on_where_a_float_stalls() -> None:
    """Thousands of ones at a time, at one place, and tenths at another: exactly, and as well as one batch is summed."""
    ones, batches = 4096, 5000
    place = jnp.repeat(jnp.arange(2), ones)
    more = jnp.repeat(jnp.array([1.0, 0.1]), ones)
    total = jax.jit(lambda: jax.lax.fori_loop(0, batches, lambda i, x: x.plus_at(place, more), Total.zeros(3)))()
    assert ones * batches > STALLS
    np.testing.assert_allclose(total.value, [ones * batches, 0.1 * ones * batches, 0], rtol=1e-4)
    after = total.plus_at(0, jnp.float32(1))
    assert [int(x.rounded[0]) + int(x.rest[0]) for x in (total, after)] == [ones * batches, ones * batches + 1]


def test_a_fixed_sum_carries_and_borrows_between_its_words() -> None:
    """Below 0 and back, at places that repeat, and 256 whole ones, which fill the low word, and one more."""
    place = jnp.array([0, 1, 0, 0, 1])
    total = FixedTotal.zeros(3).plus_at((place,), jnp.array([0.5, -0.9, -1.0, 0.25, -1.0]))
    np.testing.assert_allclose(total.value, [-0.25, -1.9, 0], rtol=1e-6)
    total = jax.jit(total.plus_at)((jnp.zeros(257, int),), jnp.ones(257))
    np.testing.assert_allclose(total.value, [256.75, -1.9, 0], rtol=1e-6)
    assert total.high[0] == 1 and total.at(0) == 256.75


def test_a_counted_model_learns_on_where_a_float_stalls() -> None:
    """After 2²⁴ ways from 1 back to 1 as many lead on to 2: half of all."""
    model = counted_model(SPEC, 2, "it")
    onward = model.onward._replace(high=model.onward.high.at[1, 0, 1].set(STALLS // 2**8))
    model = replace(model, count=model.count.plus_at((1, 0), jnp.float32(STALLS)), onward=onward)
    steps = [jax.tree.map(lambda x: jnp.broadcast_to(x, 8192), row) for row in on_to_two()]
    rows = Trajectory(jax.tree.map(lambda *x: jnp.stack(x), *steps), jnp.zeros((1, 8192), jnp.int32), (), ())
    model = jax.jit(lambda: jax.lax.fori_loop(0, STALLS // 8192, lambda i, model: model.update(rows), model))()
    np.testing.assert_allclose(model.onward_chance[1, 0], [0, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(model.mean_reward[1, 0], 0.5 * 3, rtol=1e-6)


def on_to_two() -> tuple[TimeStep, TimeStep]:
    """A row in state 1 and, paying 3, one in state 2."""
    return restart(jnp.int32(1)), transition(jnp.int32(2), 3.0)
