"""The ring of rows: by hand, then against a list of everything that was lived."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.core.policy import Policy
from retorno.core.time_step import TimeStep, Trajectory, blank
from retorno.replay import Ring, Window, ring

EXAMPLE = blank(TimeStep(jnp.int32(0), jnp.float32(0), jnp.float32(0), jnp.array(False), jnp.array(False)))
DRAWS = 600

add, sample, windows = jax.jit(Ring.add), jax.jit(Ring.sample, static_argnums=2), jax.jit(Ring.windows)


def rows(start: int, length: int, num_envs: int) -> TimeStep:
    """Rows start … start + length − 1, numbered 1000 · env + t; every fifth ends an episode."""
    t = np.arange(start, start + length)[:, None] + np.zeros(num_envs, np.int32)
    obs = (t + 1000 * np.arange(num_envs)).astype(np.int32)
    paid: Any = (np.float32(obs) / 10, np.float32(t % 10 != 4))
    return TimeStep(obs, *paid, t % 5 == 0, t % 5 == 4)  # type: ignore[arg-type]


def trajectory(start: int, length: int, num_envs: int) -> Trajectory:
    steps = rows(start, length + 1, num_envs)
    obs = steps.obs[:-1]
    return Trajectory(steps, 7 * obs, {"carry": (obs + 0.5,), "seen": 3 * obs}, ())


@functools.cache
def lived(num_envs: int, capacity: int, rollout: int, rounds: int, length: int = 1, context: int = 0) -> Ring:
    extras = {"carry": (jnp.float32(0),), "seen": jnp.int32(0)}
    sizes = {"num_envs": num_envs, "capacity": capacity, "rollout": rollout, "length": length, "context": context}
    replay = jax.jit(lambda: ring(EXAMPLE, jnp.int32(0), extras=extras, **sizes))()
    for i in range(rounds):
        replay = add(replay, trajectory(i * rollout, rollout, num_envs))
    return replay


def check_ring(draw: Any, num_envs: int, capacity: int, rollout: int, rounds: int, length: int, context: int) -> None:
    """Every window is a stretch that was lived, with its rows before; all that are promised come, and no others."""
    window: Window = draw(lived(num_envs, capacity, rollout, rounds, length, context), jax.random.key(0), DRAWS)
    steps, action, extras, carry = window.trajectory
    start = np.asarray(steps.obs[0])
    t, env, total = start % 1000, start // 1000, rollout * rounds
    whole, later = rows(0, total + 1, num_envs), np.arange(length + 1)[:, None]
    for name in ("obs", "reward", "discount", "first", "last"):
        np.testing.assert_array_equal(getattr(steps, name), np.asarray(getattr(whole, name))[t + later, env])
    np.testing.assert_array_equal(action, 7 * (start + later[:-1]))
    np.testing.assert_array_equal(extras["seen"], 3 * (start + later[:-1]))
    before = t + np.arange(-context, 0)[:, None]
    there = before >= 0  # a run's first rows have none before them, and need none
    for name in ("obs", "first", "last"):
        np.testing.assert_array_equal(
            np.asarray(getattr(window.before, name))[there], np.asarray(getattr(whole, name))[before, env][there]
        )
    assert carry == () and window.before.obs.shape == (context, DRAWS)
    known = t >= context
    np.testing.assert_array_equal(np.asarray(window.recorded[0])[known], (start - context + 0.5)[known])
    np.testing.assert_array_equal(window.trajectory.transitions, (start + later[:-1]) % 5 != 4)
    np.testing.assert_array_equal(window.weight, 1)
    starts = range(max(total - length + 1 - -(-capacity // num_envs), 0), total - length + 1)
    assert set(zip(t.tolist(), env.tolist(), strict=True)) == {(i, e) for i in starts for e in range(num_envs)}


CASES = [
    (1, 1, 1, 5, 1, 0),
    (1, 8, 4, 1, 1, 0),
    (1, 8, 4, 2, 1, 0),
    (1, 8, 4, 7, 1, 0),
    (2, 10, 3, 9, 1, 0),
    (3, 10, 3, 4, 1, 0),
    (2, 6, 3, 2, 1, 0),
    (1, 1, 1, 9, 3, 0),
    (1, 1, 1, 9, 1, 2),
    (2, 10, 3, 9, 4, 3),
    (1, 12, 4, 2, 3, 2),
    (1, 8, 8, 5, 5, 4),
]


@pytest.mark.parametrize("case", CASES)
def test_windows_are_what_was_lived(case):
    check_ring(sample, *case)


@pytest.mark.parametrize(("length", "context"), [(1, 0), (2, 4)])
def test_draws_are_uniform(length, context):
    """χ² over 16 windows stays below its 99.9% point, 37.7 at 15 degrees of freedom (Fisher)."""
    window = sample(lived(2, 16, 4, 9, length, context), jax.random.key(1), 4000)
    counts = np.unique(np.asarray(window.trajectory.steps.obs[0]), return_counts=True)[1]
    assert len(counts) == 16 and ((counts - 250) ** 2 / 250).sum() < 37.7


def test_by_hand():
    replay = lived(1, 2, 1, 4)  # rows 0 … 4; the ring's three slots hold 3, 4, 2
    np.testing.assert_array_equal(replay.steps.obs[:, 0], [3, 4, 2])
    assert (int(replay.newest), int(replay.filled), int(replay.starts)) == (1, 2, 2)
    replay = lived(1, 2, 1, 9, length=2, context=1)  # two windows of three rows, and the row before them: 5 … 9
    np.testing.assert_array_equal(np.sort(replay.steps.obs[:, 0]), [5, 6, 7, 8, 9])
    window = windows(replay, jnp.array([int(replay.newest_window)]))
    np.testing.assert_array_equal(window.trajectory.steps.obs[:, 0], [7, 8, 9])
    np.testing.assert_array_equal(window.before.obs[:, 0], [6])


def test_nothing_is_learnt_from_what_was_not_lived():
    """Before a window is whole, what is drawn holds no transition but those that were lived."""
    for rounds in range(4):
        window = sample(lived(1, 8, 1, rounds, length=3), jax.random.key(0), 5)
        assert np.asarray(window.trajectory.transitions).sum() == 5 * rounds


class Sum(Policy):
    """Remembers the sum of its episode's observations."""

    @property
    def context(self) -> None:
        return None

    def initial_carry(self) -> Any:
        return (jnp.float32(0),)

    def step(self, obs: Any, first: Any, carry: Any) -> Any:
        total = jnp.where(first, 0, carry[0]) + obs
        return {"value": total}, (total,)


def test_the_memory_before_a_window_by_hand():
    def carry(start: int, context: int, recorded: bool) -> float:
        window = windows(lived(1, 20, 20, 1, length=2, context=context), jnp.array([start]))
        window = window._replace(recorded=window.recorded if recorded else ())
        return float(jax.jit(Window.carry)(window, Sum())[0][0])

    assert carry(8, 0, recorded=False) == 0  # nothing is known
    assert carry(8, 0, recorded=True) == 8.5
    assert carry(8, 2, recorded=False) == 6 + 7
    assert carry(8, 2, recorded=True) == 6.5 + 6 + 7
    assert carry(8, 3, recorded=True) == 5 + 6 + 7  # row 5 begins an episode: what was recorded before it is forgotten
    assert carry(11, 4, recorded=True) == 10  # so does row 10


@pytest.mark.parametrize(("capacity", "length"), [(6, 1), (7, 3)])
def test_a_rollout_that_does_not_fit_is_refused(capacity, length):
    with pytest.raises(ValueError, match="capacity must be at least 8"):
        ring(EXAMPLE, jnp.int32(0), num_envs=2, capacity=capacity - 1, rollout=4, length=length)


MISTAKES = {
    "one row too new": lambda replay: {"newest": replay.newest + 1},
    "one row too old": lambda replay: {"newest": replay.newest - 1},
    "one row too many": lambda replay: {"filled": replay.filled + 1},
    "one row too few": lambda replay: {"filled": replay.filled - 1},
    "actions one row late": lambda replay: {"action": jnp.roll(replay.action, 1, 0)},
    "a window too short": lambda replay: {"length": replay.length - 1},
    "rows before it that are not": lambda replay: {"context": replay.context - 1},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_index_that_is_off_by_one_is_seen(mistake):
    def mistaken(replay: Ring, *given: Any) -> Window:
        return sample(Ring(**{**vars(replay), **MISTAKES[mistake](replay)}), *given)

    with pytest.raises((AssertionError, IndexError, ValueError)):
        check_ring(mistaken, 2, 10, 3, 9, 2, 1)
