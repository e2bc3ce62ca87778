"""The laws of what learns from recordings: laws 6 to 10 and 12, with answers that somebody ranked as the world."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from small import RECORDED, SETTINGS, assert_close, bits

import retorno as rt
from retorno.algorithms import ALGORITHMS
from retorno.core.spaces import SpaceError
from retorno.environments import episode, ranked_episodes, told_returns
from retorno.environments.recordings import Episode, Recorded
from retorno.networks import GRU, MLP
from retorno.run.train import train
from retorno.run.training import Training

STEPS = 200
NETWORKS = {"mlp": SETTINGS["network"], "gru": GRU(8, (8,))}


OF_NUMBERS = ("td3_bc",)
"""They act by real numbers."""
ASKING_FOR = ("decision_transformer",)
"""They are told what was still earned."""


def answers(numbers: bool = False) -> Recorded:
    """Six prompts with two answers or three each; the one that shows larger numbers is better.

    Each answers with whole numbers, or with real ones.
    """
    rng = np.random.default_rng(0)

    def answer(better: int) -> Episode:
        shown = rng.integers(0, 3, 5) + better
        chosen = shown[:-1] % 2
        action = (chosen[:, None] - 0.5).astype(np.float32) if numbers else chosen.astype(np.int32)
        return episode(shown.astype(np.int32), action, 1.0)

    groups = [([answer(rank) for rank in range(2 + number % 2)], [2, 1, 0][1 - number % 2 :]) for number in range(6)]
    acted = spaces.Box(-1, 1, (1,)) if numbers else spaces.Discrete(2)
    return ranked_episodes(groups, spaces.Discrete(6), acted)


def world_of(name: str) -> Recorded:
    """What an algorithm learns from."""
    recorded = answers(name in OF_NUMBERS)
    return told_returns(recorded) if name in ASKING_FOR else recorded


def begin(name: str, network: str = "mlp", **given: Any) -> Training:
    method = ALGORITHMS[name](network=NETWORKS[network], num_envs=6)
    return train(method, world_of(name), STEPS, **{"seed": 5, "every": 50} | given)


def ended(training: Training) -> Training:
    with contextlib.closing(training):
        training.run_to_end()
    return training


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", RECORDED)
def test_gone_on_with_to_the_bit(name: str, network: str, tmp_path: Path) -> None:
    if network == "gru" and name != RECORDED[-1]:
        pytest.skip("a memory is the loop's work: one algorithm shows it")
    with contextlib.closing(begin(name, network, folder=tmp_path / "run")) as left:
        for told in left:
            if told.step > STEPS / 2:
                break
    assert left.step < STEPS
    resumed = ended(rt.resume(tmp_path / "run", world=world_of(name)))
    assert resumed.digest == ended(begin(name, network)).digest


@pytest.mark.parametrize("name", RECORDED)
def test_several_seeds_are_single_ones_and_each_has_its_own_order(name: str) -> None:
    both = ended(begin(name, seed=(5, 6)))
    alone = [ended(begin(name, seed=seed)) for seed in (5, 6)]
    assert_close(both.policies, [each.policy for each in alone])
    assert bits(alone[0].policy) != bits(alone[1].policy)


def test_over_two_devices() -> None:
    assert_close(ended(begin(RECORDED[0], devices=2)).policy, ended(begin(RECORDED[0])).policy)


@pytest.mark.parametrize("name", RECORDED)
def test_what_was_learnt_acts(name: str, tmp_path: Path) -> None:
    policy = ended(begin(name, folder=tmp_path / "run")).policy
    actor = rt.load(tmp_path / "run")
    for obs in range(6):
        shown = {"obs": np.int32(obs), "to_go": np.ones(1, np.float32)} if name in ASKING_FOR else np.int32(obs)
        heads, _ = policy.step(jax.tree.map(jnp.asarray, shown), jnp.array(True), policy.initial_carry())
        np.testing.assert_allclose(actor.act(shown), heads["policy"].mode(), rtol=1e-6)


def test_every_column_is_drawn_once_an_epoch() -> None:
    world = answers()
    marked = world.lived._replace(extras={"column": np.broadcast_to(np.arange(world.columns), (4, world.columns))})
    world = Recorded(jax.tree.map(jnp.asarray, marked), world.observed, world.taken, world.group)
    reading, drawn = world.opening(12), []
    for _ in range(9):  # 54 columns are three epochs; no epoch ends where a batch does.
        reading, lived = world.draw(reading, jnp.uint32(1), 12)
        drawn.append(np.asarray(lived.extras["column"][0]))
    order = np.concatenate(drawn)
    assert (order.reshape(-1, world.group) % world.group == np.arange(world.group)).all()
    epochs = order[: len(order) // world.columns * world.columns].reshape(-1, world.columns)
    assert (np.sort(epochs, axis=1) == np.arange(world.columns)).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == len(epochs)


def test_who_acts_is_refused_and_who_does_not_is_elsewhere() -> None:
    with pytest.raises(SpaceError, match=r"PPO learns from what it lived itself .*log_prob.* by behaviour_cloning"):
        train(rt.PPO(network=MLP((8,)), num_envs=6), answers(), STEPS)
    with pytest.raises(SpaceError, match="learns from what was recorded and does not act itself"):
        train(rt.DPO(), "cliff", STEPS)
    with pytest.raises(ValueError, match=r"3 columns at a time belong together, and num_envs=32 .*: choose 18"):
        train(rt.DPO(num_envs=rt.DPO.COLUMNS), answers(), STEPS)
    with pytest.raises(ValueError, match="only 18 were recorded: choose num_envs=18 or fewer"):
        train(rt.DPO(num_envs=33), answers(), STEPS)
