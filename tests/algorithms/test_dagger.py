"""DAgger: its clone does what the expert does, wherever it goes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import DQN, PPO, DAgger
from retorno.bellman import solve
from retorno.core.hyperparameters import settings
from retorno.core.spaces import HashableSpace
from retorno.environments.registry import model
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.networks import MLP, Table
from retorno.ops.optimisers import Adam
from retorno.policies.target_and_behaviour import FixedPolicy
from retorno.run.config import from_json, to_json
from retorno.run.known import known
from retorno.run.of_run import OfRun
from retorno.run.oracle import regret
from retorno.run.train import train

EXACT = model("FrozenLake-v1")
BEST = solve(EXACT, 0.99)


@settings
class Expert:
    """The best policy of the lake."""

    def build(self, key: Any, observation_space: Any, heads: Any) -> FixedPolicy:
        chances = np.zeros((EXACT.num_states, EXACT.num_actions))
        chances[EXACT.pair_state, EXACT.action] = BEST.policy
        return FixedPolicy(jnp.log(jnp.asarray(chances) + 1e-30), HashableSpace(observation_space))


def test_what_the_expert_would_do_is_learnt_where_the_learner_goes() -> None:
    """On slippery ice all places are reached: with any of three seeds nothing is lost, exactly."""
    method = DAgger(expert=Expert(), network=Table(), optimiser=Adam(0.1), batch_size=128)
    training = train(method, TimeLimit(sampled(EXACT), 100), 20_000, seed=range(3))
    training.run_to_end()
    for policy in training.policies:
        assert regret([policy], BEST).mean < 1e-6


def test_what_is_kept_is_what_the_expert_would_have_done() -> None:
    """Though a table of zeros, which learns nothing, acted evenly."""
    method = DAgger(expert=Expert(), network=Table(), optimiser=Adam(0.0), batch_size=128)
    training = train(method, TimeLimit(sampled(EXACT), 100), 1_000)
    training.run_to_end()
    learner = training.run.learner
    kept, obs = np.asarray(learner.replay.ring.action), np.asarray(learner.replay.ring.steps.obs)
    lived = ~np.asarray(learner.replay.ring.steps.last)
    lived[int(learner.replay.ring.newest)] = False  # It waits for an answer.
    chances = np.zeros((EXACT.num_states, EXACT.num_actions))
    chances[EXACT.pair_state, EXACT.action] = BEST.policy
    assert (chances[obs[lived], kept[lived]] > 0).all()


def test_what_a_run_has_learnt_is_an_expert(tmp_path: Path) -> None:
    with train(PPO(network=MLP((4,)), num_envs=2, rollout=8), "student", 16, folder=tmp_path / "run") as training:
        training.run_to_end()
        learnt = training.policy.select("policy")
    asked = OfRun(str(tmp_path / "run"))
    assert from_json(to_json(asked), known()) == asked
    begun = train(DAgger(expert=asked, num_envs=2, rollout=4), "student", 8)
    jax.tree.map(np.testing.assert_array_equal, begun.run.learner.expert, learnt)
    with pytest.raises(ValueError, match="is observed"):
        train(DAgger(expert=asked), "CartPole-v1", 8)
    with pytest.raises(ValueError, match="Name the folder of a run"):
        train(DAgger(expert=OfRun()), "student", 8)
    with pytest.raises(ValueError, match="has learnt no q"):
        train(DQN(network=asked), "student", 8)
