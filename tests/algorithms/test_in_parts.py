"""A gradient computed of a few rows at a time is that of all of them, and so is what is told of it."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest

from retorno.algorithms import PQN
from retorno.algorithms.actor_critic.ppo import PPO
from retorno.environments.registry import make
from retorno.networks import GRU, MLP, Stack
from retorno.ops.optimisers import SGD
from retorno.run.train import train

SMALL = MLP(hidden=(8,))
BY_ROWS = {"network": Stack(frames=2, network=SMALL), "minibatches": 2, "at_once": 5}
"""Minibatches of eighteen: three parts and a rest."""
BY_SEQUENCES = {"network": GRU(width=8, embed=(8,)), "minibatches": 1, "at_once": 2}
"""Three at once, in a part of two and one of one."""


@pytest.mark.parametrize(
    "method",
    [partial(PPO, **BY_ROWS), partial(PPO, **BY_SEQUENCES), partial(PQN, **BY_ROWS)],
    ids=["ppo by rows", "ppo by sequences", "pqn by rows"],
)
def test_parts_add_up_to_the_whole(method) -> None:
    sizes = {"num_envs": 3, "rollout": 12, "epochs": 2, "optimiser": SGD(0.1)}
    world = make("CartPole-v1", max_episode_steps=5)  # so that of each part another share are transitions
    lived = [train(made(**sizes), world, 36) for made in (method, partial(method, at_once=None))]
    reports = [run.run_to_end(progress=False) for run in lived]
    parts, whole = (jax.tree.leaves(run.run.learner.network) for run in lived)
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    told, known = (report.metrics for report in reports)
    assert told.keys() == known.keys()
    for name, value in known.items():
        assert told[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
