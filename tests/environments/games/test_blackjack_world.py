"""The native Blackjack is Gymnasium's, card for card."""

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.environments.games.blackjack_world import MOST, Blackjack, deal, draw, hit_with, seen
from retorno.environments.registry import make


@pytest.mark.parametrize("rules", [{}, {"sab": False}, {"sab": False, "natural": True}, {"natural": True}], ids=str)
def test_every_hand_is_gymnasiums(rules):
    """Gymnasium plays, and the same cards lie on the native table."""
    env, world = gym.make("Blackjack-v1", **rules), make("Blackjack-v1", **rules)
    assert isinstance(world, Blackjack) and world.observation_space == env.observation_space
    assert world.action_space == env.action_space and gym.spec("Blackjack-v1").max_episode_steps is None
    shown, hit, stick = jax.jit(lambda cards: (deal(cards), seen(deal(cards)))), jax.jit(hit_with), world.stick_with
    stick, rng, cards, paid = jax.jit(stick), np.random.default_rng(0), env.unwrapped, []
    for seed in range(250):
        obs, _ = env.reset(seed=seed)
        table, told = shown(jnp.array([*cards.dealer, *cards.player]))
        over = False
        while not over:
            assert tuple(map(int, told)) == obs
            action, ours = int(rng.random() < 0.4), table
            obs, reward, over, _, _ = env.step(action)
            if action:
                table = hit(ours, cards.player[-1])
                told = seen(table)
                assert (int(told[0]) > 21) == over and reward == -over
            else:
                drawn = [*cards.dealer[2:], *[10] * MOST][:MOST]
                assert float(stick(ours, jnp.array(drawn))) == reward
                paid.append(float(reward))
        assert tuple(map(int, told)) == obs, "an episode's final row too"
    assert {-1.0, 0.0, 1.0} <= {*paid} and (1.5 in paid) == (rules == {"sab": False, "natural": True})


def test_cards_are_drawn_as_gymnasium_draws_them():
    cards = np.asarray(draw(jax.random.key(0), 13_000))
    counts = np.bincount(cards, minlength=11)[1:]
    expected = np.array([1000] * 9 + [4000])
    # χ² of nine degrees of freedom is above 27.9 in one of a thousand.
    assert ((counts - expected) ** 2 / expected).sum() < 27.9


def test_a_step_is_told_as_a_row():
    world = make("Blackjack-v1")
    state, row = world.reset(jax.random.key(3))
    after, last = jax.jit(world.step)(state, jnp.int32(0), jax.random.key(1))
    assert (
        bool(last.last) and float(last.discount) == 0 and jax.tree.all(jax.tree.map(lambda a, b: a == b, after, state))
    )
    assert tuple(map(int, last.obs)) == tuple(map(int, row.obs)), "who sticks sees the same hand"
    assert make("Blackjack-v1", hosted=True).name == "Blackjack-v1"
