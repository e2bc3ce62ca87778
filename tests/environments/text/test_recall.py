"""The recall task, worked by hand and counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.core.spaces import encode
from retorno.environments.text.recall import Recall

reset = jax.jit(lambda world, key: world.reset(key))
step = jax.jit(lambda world, state, action, key: world.step(state, action, key))


def play(world, key, answer):
    """Rows of one episode, with `answer(cue)` on every row."""
    state, row = reset(world, key)
    cue, rows = int(row.obs), [row]
    while not rows[-1].last:
        state, row = step(world, state, jnp.int32(answer(cue)), key)
        rows.append(row)
    return cue, rows


def test_one_episode_by_hand():
    world = Recall(cues=4, delay=3)
    cue, rows = play(world, jax.random.key(2), lambda cue: cue)
    assert [int(row.obs) for row in rows] == [cue, 4, 4, 4, 5, 4]
    assert [float(row.reward) for row in rows] == [0, 0, 0, 0, 0, 1]
    assert [float(row.discount) for row in rows] == [1, 1, 1, 1, 1, 0]
    assert [bool(row.last) for row in rows] == [False] * 5 + [True]
    assert [bool(row.first) for row in rows] == [True] + [False] * 5
    assert all(world.observation_space.contains(np.int64(row.obs)) for row in rows)
    assert encode(world.observation_space, rows[0].obs).shape == (6,)


def test_a_wrong_answer_earns_nothing():
    _, rows = play(Recall(delay=0), jax.random.key(0), lambda cue: (cue + 1) % 4)
    assert len(rows) == 3 and sum(float(row.reward) for row in rows) == 0 and rows[-1].discount == 0


def test_only_the_first_row_tells_the_cue():
    """Whatever the cue, later rows are the same: without memory each answer is right once in four."""
    world = Recall(cues=4, delay=2)
    seen = {}
    for k in range(40):
        cue, rows = play(world, jax.random.key(k), lambda cue: 0)
        seen[cue] = [int(row.obs) for row in rows[1:]]
    assert set(seen) == {0, 1, 2, 3}
    assert len({tuple(obs) for obs in seen.values()}) == 1


def test_cues_are_uniform():
    keys = jax.random.split(jax.random.key(0), 40_000)
    for cues in (3, 4):
        world = Recall(cues=cues)
        counts = np.bincount(jax.jit(jax.vmap(lambda k, w=world: w.reset(k)[0].cue))(keys), minlength=cues)
        expected = 40_000 / cues
        # χ² with cues − 1 degrees of freedom: 16 is beyond 0.999 for both.
        assert ((counts - expected) ** 2 / expected).sum() < 16 and len(counts) == cues


def test_impossible_tasks_are_refused():
    with pytest.raises(ValueError, match="at least 2 cues"):
        Recall(cues=1)
