"""DAgger: its clone does what the expert does, wherever it goes itself."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from retorno.algorithms import DAgger
from retorno.bellman import solve
from retorno.core.hyperparameters import settings
from retorno.core.spaces import HashableSpace
from retorno.environments.registry import model
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.networks import Table
from retorno.ops.optimisers import Adam
from retorno.policies.target_and_behaviour import FixedPolicy
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
