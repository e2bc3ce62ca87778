"""The ring of rows: by hand, then against a list of everything that was lived."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.core.time_step import TimeStep, Trajectory, blank
from retorno.replay.ring import Replay, empty_replay

EXAMPLE = blank(TimeStep(jnp.int32(0), jnp.float32(0), jnp.float32(0), jnp.array(False), jnp.array(False)))
DRAWS = 400

add, sample = jax.jit(Replay.add), jax.jit(Replay.sample, static_argnums=2)


def rows(start: int, length: int, num_envs: int) -> TimeStep:
    """Rows start … start + length − 1, numbered 1000 · env + t; every fifth ends an episode."""
    t = jnp.arange(start, start + length)[:, None] + jnp.zeros((1, num_envs), jnp.int32)
    obs = t + 1000 * jnp.arange(num_envs)
    return TimeStep(obs, obs / 10, jnp.where(t % 10 == 4, 0.0, 1.0), t % 5 == 0, t % 5 == 4)


def trajectory(start: int, length: int, num_envs: int) -> Trajectory:
    steps = rows(start, length + 1, num_envs)
    return Trajectory(steps, 7 * steps.obs[:-1], (), ())


def lived(num_envs: int, capacity: int, rollout: int, rounds: int) -> Replay:
    replay = empty_replay(EXAMPLE, jnp.int32(0), num_envs, capacity, rollout)
    for i in range(rounds):
        replay = add(replay, trajectory(i * rollout, rollout, num_envs))
    return replay


def check_replay(draw, num_envs: int, capacity: int, rollout: int, rounds: int) -> None:
    """Every draw is a transition that was lived, the newest ones are all drawn, and none that was forgotten."""
    replay = lived(num_envs, capacity, rollout, rounds)
    batch = draw(replay, jax.random.key(0), DRAWS)
    now, then = np.asarray(batch.row.obs), np.asarray(batch.next_row.obs)
    t, env, total = now % 1000, now // 1000, rollout * rounds
    np.testing.assert_array_equal(then, now + 1)
    np.testing.assert_array_equal(batch.action, 7 * now)
    whole = rows(0, total + 1, num_envs)
    for field in ("reward", "discount", "first", "last"):
        np.testing.assert_array_equal(getattr(batch.row, field), np.asarray(getattr(whole, field))[t, env])
        np.testing.assert_array_equal(getattr(batch.next_row, field), np.asarray(getattr(whole, field))[t + 1, env])
    np.testing.assert_array_equal(batch.counts, t % 5 != 4)
    kept = min(total, -(-capacity // num_envs))
    assert set(zip(t.tolist(), env.tolist(), strict=True)) == {
        (i, e) for i in range(total - kept, total) for e in range(num_envs)
    }


CASES = [(1, 1, 1, 5), (1, 8, 4, 1), (1, 8, 4, 2), (1, 8, 4, 7), (2, 10, 3, 9), (3, 10, 3, 4), (2, 6, 3, 2)]


@pytest.mark.parametrize("case", CASES)
def test_draws_are_what_was_lived(case):
    check_replay(sample, *case)


def test_draws_are_uniform():
    """χ² over 16 transitions stays below its 99.9% point, 37.7 at 15 degrees of freedom (Fisher)."""
    batch = sample(lived(2, 16, 4, 5), jax.random.key(1), 4000)
    counts = np.unique(np.asarray(batch.row.obs), return_counts=True)[1]
    assert len(counts) == 16 and ((counts - 250) ** 2 / 250).sum() < 37.7


def test_by_hand():
    replay = lived(1, 2, 1, 4)  # rows 0 … 4; the ring's three slots hold 3, 4, 2
    np.testing.assert_array_equal(replay.rows.obs[:, 0], [3, 4, 2])
    assert (int(replay.newest), int(replay.filled)) == (1, 2)


def test_a_rollout_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="capacity must be at least 8"):
        empty_replay(EXAMPLE, jnp.int32(0), 2, 6, 4)


MISTAKES = {
    "one row too new": lambda replay: replay._replace(newest=replay.newest + 1),
    "one row too old": lambda replay: replay._replace(newest=replay.newest - 1),
    "one row too many": lambda replay: replay._replace(filled=replay.filled + 1),
    "one row too few": lambda replay: replay._replace(filled=replay.filled - 1),
    "actions one row late": lambda replay: replay._replace(action=jnp.roll(replay.action, 1, 0)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_index_that_is_off_by_one_is_seen(mistake):
    with pytest.raises(AssertionError):
        check_replay(lambda replay, *given: sample(MISTAKES[mistake](replay), *given), 2, 10, 3, 9)
