"""Time limits and veils, worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.core.environment import advance, begin
from retorno.core.spaces import SpaceError
from retorno.environments.control.classic import CartPole, MountainCar, cart_pole
from retorno.environments.text.recall import Recall
from retorno.environments.wrappers import Hidden, TimeLimit, Together


def live(world, actions):
    """Rows of one environment, stacked, with as many steps and resets as there are actions."""

    def body(carry, action):
        episodes, row = carry
        after = advance(world, episodes, row, action, jnp.uint32(7), jnp.uint32(0))
        return after, after[1]

    start = begin(world, jnp.uint32(7), jnp.uint32(0))
    rows = jax.jit(lambda actions: jax.lax.scan(body, start, actions)[1])(jnp.asarray(actions))
    return jax.tree.map(lambda one, many: np.concatenate([np.asarray(one)[None], many]), start[1], rows)


def test_a_limit_sets_last_and_leaves_the_discount():
    rows = live(TimeLimit(MountainCar(), 3), np.zeros(9, np.int32))
    np.testing.assert_array_equal(rows.first, [1, 0, 0, 0, 1, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(rows.last, [0, 0, 0, 1, 0, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(rows.discount, np.ones(10))
    np.testing.assert_array_equal(rows.reward, [0, -1, -1, -1, 0, -1, -1, -1, 0, -1])


def test_an_end_at_the_limit_is_an_end():
    """Recall without delay ends after two steps: a limit of two does not turn that into a cut."""
    for limit, discount in [(2, 0), (3, 0), (1, 1)]:
        rows = live(TimeLimit(Recall(delay=0), limit), np.zeros(2, np.int32))
        ends = int(np.argmax(rows.last))
        assert ends == min(limit, 2) and rows.discount[ends] == discount


def test_what_keeps_together_waits_or_is_cut():
    """Recall without delay ends after two steps: of four rows one waits, of two the second is cut off."""
    cues = live(Recall(delay=0), np.zeros(9, np.int32)).obs[::3]
    rows = live(Together(Recall(delay=0), 0, 4), np.zeros(9, np.int32))
    np.testing.assert_array_equal(rows.first, [1, 0, 0, 0, 1, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(rows.last, [0, 0, 1, 1, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(rows.discount, [1, 1, 0, 1, 1, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(rows.obs[::4], cues[:3], "the same episodes, with rows between them that wait")
    cut = live(Together(Recall(delay=0), 0, 2), np.zeros(5, np.int32))
    np.testing.assert_array_equal(cut.first, [1, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(cut.last, [0, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(cut.discount, np.ones(6))


def test_a_veil_shows_what_it_keeps():
    plain = live(cart_pole(), np.ones(60, np.int32))
    veiled = live(Hidden(cart_pole(), keep=(0, 2)), np.ones(60, np.int32))
    np.testing.assert_allclose(veiled.obs, plain.obs[:, [0, 2]], rtol=1e-6)
    np.testing.assert_array_equal(veiled.last, plain.last)
    space = Hidden(cart_pole(), keep=(0, 2)).observation_space
    np.testing.assert_array_equal(space.high, CartPole().observation_space.high[[0, 2]])


def test_impossible_wrappers_are_refused():
    with pytest.raises(ValueError, match="positive"):
        TimeLimit(CartPole(), 0)
    with pytest.raises(ValueError, match=r"more than its prompt's, got 3 and 3"):
        Together(Recall(), 3, 3)
    with pytest.raises(SpaceError, match="components 0 to 3"):
        Hidden(CartPole(), keep=(0, 4))
    with pytest.raises(SpaceError, match="vector"):
        Hidden(Recall(), keep=(0,))
