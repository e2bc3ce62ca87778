"""What was done, given what was still earned: by Bayes's rule, and as much as is asked for."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import DecisionTransformer
from retorno.core.mdp import mdp
from retorno.core.spaces import SpaceError
from retorno.environments import desired, episode, recorded_episodes, told_returns
from retorno.environments.sampled_world import sampled
from retorno.networks import Transformer
from retorno.ops.optimisers import AdamW, Schedule
from retorno.run.evaluate import evaluate
from retorno.run.train import train

TURNS = 3
PAID = np.array([0.0, 1.0, 3.0])
"""Three times one takes 0, 1 or 3."""
CORRIDOR = mdp(
    {f"turn {t}": {f"take {p:g}": [(1.0, f"turn {t + 1}", float(p))] for p in PAID} for t in range(TURNS)},
    initial="turn 0",
)


def posterior(turn: int, to_go: float) -> np.ndarray:
    """How likely each choice was of somebody who chose evenly and then earned so much: by enumeration."""
    chosen = np.zeros(3)
    for actions in itertools.product(range(3), repeat=TURNS - turn):
        chosen[actions[0]] += PAID[list(actions)].sum() == to_go
    return chosen / chosen.sum()


def test_it_does_what_those_did_who_earned_as_much() -> None:
    """Of all 27 episodes: the chances are Bayes's, and what is asked for is earned: 0 to 9 but for 8."""
    lived = [
        episode(np.arange(TURNS + 1), np.array(actions), PAID[list(actions)])
        for actions in itertools.product(range(3), repeat=TURNS)
    ]
    seen = spaces.Discrete(TURNS + 1)
    recordings = told_returns(recorded_episodes(lived, seen, spaces.Discrete(3), packed=False), scale=9.0)
    method = DecisionTransformer(
        network=Transformer(width=32, layers=1, num_heads=2, window=4),
        num_envs=27,
        optimiser=AdamW(1e-2, Schedule.cosine, weight_decay=0.0),
    )
    training = train(method, recordings, 27 * TURNS * 800)
    training.run_to_end()
    policy = training.policy
    for to_go in (0, 1, 2, 3, 4, 5, 6, 7, 9):
        obs = {"obs": jnp.int32(0), "to_go": jnp.array([to_go / 9.0])}
        heads, _ = policy.step(obs, jnp.array(True), policy.initial_carry())
        np.testing.assert_allclose(heads["policy"].probs(), posterior(0, to_go), atol=0.03, err_msg=f"{to_go}")
        asked = evaluate(policy, desired(sampled(CORRIDOR), float(to_go), scale=9.0), 20)
        assert (asked.returns == to_go).all()


def test_it_says_what_it_has_to_be_told() -> None:
    plain = recorded_episodes([episode(np.arange(3), np.zeros(2, int))], spaces.Discrete(3), spaces.Discrete(2))
    with pytest.raises(SpaceError, match=r"told what is still to be earned, and Discrete\(3\) does not .*told_returns"):
        train(DecisionTransformer(num_envs=1), plain, 10)
    with pytest.raises(SpaceError, match="learns from what was recorded"):
        train(DecisionTransformer(), desired(sampled(CORRIDOR), 5.0), 10)
    with pytest.raises(TypeError, match="a return is desired in a native world"):
        desired("CartPole-v1", 5.0)  # pyright: ignore[reportArgumentType]
    for shown in (lambda: desired(sampled(CORRIDOR), 5.0, scale=0.0), lambda: told_returns(plain, scale=-1.0)):
        with pytest.raises(ValueError, match="scale, which must be positive"):
            shown()


def test_what_is_shown_of_a_world_is_what_is_left() -> None:
    world = desired(sampled(CORRIDOR), 6.0, scale=2.0)
    state, row = world.reset(jax.random.key(0))
    shown = [float(row.obs["to_go"][0])]
    for action in (2, 1, 2):
        state, row = world.step(state, jnp.int32(action), jax.random.key(1))
        shown.append(float(row.obs["to_go"][0]))
    assert shown == [3.0, 1.5, 1.0, -0.5]
    assert world.restart(state, jax.random.key(2))[1].obs["to_go"] == 3.0
