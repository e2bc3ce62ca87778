"""Bits to be flipped: an episode by hand, and where episodes begin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.environments.textbook.bit_flip import BitFlip, Bits


def test_an_episode_by_hand() -> None:
    world = BitFlip(3)
    state = Bits(jnp.array([0, 1, 1], jnp.int8), jnp.array([1, 1, 0], jnp.int8))
    rows = []
    for flip in (0, 1, 1, 2):
        state, row = world.step(state, jnp.int32(flip), jax.random.key(0))
        rows.append(row)
    assert [row.obs["achieved_goal"].tolist() for row in rows] == [[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 0]]
    assert [row.obs["desired_goal"].tolist() for row in rows] == [[1, 1, 0]] * 4
    assert [float(row.reward) for row in rows] == [-1, -1, -1, 0]
    assert [float(row.discount) for row in rows] == [1, 1, 1, 0]
    assert [bool(row.last) for row in rows] == [False, False, False, True]
    assert world.observation_space.contains(jax.tree.map(np.asarray, rows[0].obs))


def test_no_episode_begins_at_its_goal() -> None:
    """With two bits the goal differs in either of them or in both: 3/8, 3/8 and 1/4 (4 standard errors)."""
    state, row = jax.jit(jax.vmap(BitFlip(2).reset))(jax.random.split(jax.random.key(0), 8000))
    differs = np.asarray(state.bits ^ state.goal)
    shares = [(differs == pair).all(1).mean() for pair in ([0, 0], [0, 1], [1, 0], [1, 1])]
    np.testing.assert_allclose(shares, [0, 3 / 8, 3 / 8, 1 / 4], atol=0.022)
    np.testing.assert_array_equal(row.obs["observation"], row.obs["achieved_goal"])


def test_no_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one bit"):
        BitFlip(0)
