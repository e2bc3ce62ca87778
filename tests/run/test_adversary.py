"""GAIL: what the discriminator settles at, exactly; and that whoever is paid by it does as the expert did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import PPO
from retorno.core.mdp import mdp
from retorno.core.spaces import SpaceError
from retorno.environments.registry import make
from retorno.environments.sampled_world import sampled
from retorno.networks import MLP, Table
from retorno.ops.optimisers import SGD, Adam
from retorno.run.relabel import GAIL
from retorno.run.train import train

ARMS = {"here": {arm: [(1.0, "end", 0.0)] for arm in "abc"}, "end": {}}
"""Nothing is paid by the world itself."""


def shown(folder: Path) -> str:
    """An expert who took the three arms 7, 2 and 1 times of ten."""
    actions = np.repeat(np.arange(3), [7, 2, 1])
    held = {"observations": np.zeros(10, int), "actions": actions, "rewards": np.zeros(10), "terminals": np.ones(10)}
    np.savez(folder / "expert.npz", **held)
    return str(folder / "expert.npz")


def learnt(folder: Path, steps: int, **settings: Any) -> Any:
    relabel = GAIL(shown(folder), network=Table(), optimiser=SGD(0.5), gradient_steps=4, batch_size=512)
    usual = {"network": Table(), "num_envs": 64, "rollout": 8, "epochs": 2, "minibatches": 2, "discount": 0.0}
    training = train(PPO(**usual | settings), sampled(mdp(ARMS, initial="here")), steps, relabel=relabel)
    training.run_to_end()
    return training


def chances(training: Any) -> np.ndarray:
    return np.asarray(training.policy.step(jnp.int32(0), jnp.array(True), ())[0]["policy"].probs())


def test_the_discriminator_tells_the_ratio(tmp_path: Path) -> None:
    """Where nobody learns from it: log π_E(a) / π(a), with π even."""
    training = learnt(tmp_path, 100_000, optimiser=SGD(0.0))
    found = training.run.relabel
    logit = found.logit(found.network, jnp.zeros((1, 3), jnp.int32), jnp.arange(3)[None])[0]
    np.testing.assert_allclose(logit, np.log(np.array([0.7, 0.2, 0.1]) * 3), atol=0.15)
    np.testing.assert_allclose(chances(training), 1 / 3, atol=1e-6)


def test_who_is_paid_by_it_does_as_the_expert_did(tmp_path: Path) -> None:
    training = learnt(tmp_path, 200_000, optimiser=Adam(0.005), entropy_coefficient=0.02)
    np.testing.assert_allclose(chances(training), [0.7, 0.2, 0.1], atol=0.12)


def test_what_cannot_be_imitated_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="say what that did"):
        train(PPO(num_envs=2), make("CartPole-v1"), 10, relabel=GAIL())
    with pytest.raises(SpaceError, match="demonstrations must be of what is learnt"):
        train(PPO(num_envs=2), make("CartPole-v1"), 10, relabel=GAIL(shown(tmp_path), network=MLP((8,))))
    assert GAIL("expert.npz").demonstrations == str(Path("expert.npz").absolute())
    with pytest.raises(ValueError, match="gradient_steps must be at least 1"):
        GAIL(gradient_steps=0)
    with pytest.raises(SpaceError, match=r"holds actions from 0 to 2 where Discrete\(2\) is expected"):
        two = mdp({"here": {arm: [(1.0, "end", 0.0)] for arm in "ab"}, "end": {}}, initial="here")
        train(PPO(num_envs=2), sampled(two), 10, relabel=GAIL(shown(tmp_path)))
