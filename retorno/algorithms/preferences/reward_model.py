"""A reward model: a score for each answer, learnt from which of several somebody preferred.

Christiano et al. 2017, section 2.2; Stiennon et al. 2020; Ouyang et al. 2022, step 2. The score is the "value" head on
the row on which an episode ended; a policy's own head stands beside it as it was, so that what was learnt begins a
critic, and can be talked to.
"""

from __future__ import annotations

import enum
from dataclasses import field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key

from retorno.algorithms.offline import Offline
from retorno.core.hyperparameters import NonNegative, UnitInterval, Whole, hyperparameters
from retorno.core.policy import Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.environments.recordings import rankings, require_recorded
from retorno.networks import MLP, NetworkConfig, ValueHead, policy_head
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.ops.preferences import bradley_terry, plackett_luce, preferred, told_apart

SCORE = "value"
"""The head that scores."""


class Likelihood(enum.Enum):
    """Of a ranking."""

    pairs = "pairs"
    """By all pairs that it tells apart (Bradley & Terry 1952)."""
    plackett_luce = "plackett_luce"
    """Chosen from the best one down."""


class RewardModelLearner(NamedTuple):
    """Everything that changes while a reward model learns."""

    network: Policy
    optimiser: optax.OptState
    clock: Clock


@hyperparameters
class RewardModel(Offline):
    """Scores from rankings (Ouyang et al. 2022, section 3.5). Worlds: recorded rankings."""

    RECORDED: ClassVar[str] = "rankings"

    network: NetworkConfig = field(default_factory=MLP)
    """What reads an answer."""
    num_envs: Whole = 0
    """Answers in each gradient step: the answers to a prompt are taken together; 0 for 32, or all where there are
    fewer."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(3e-4, max_gradient_norm=1.0))
    """How a gradient becomes a step."""
    likelihood: Likelihood = Likelihood.pairs
    """Of a ranking, given the scores."""
    mistakes: UnitInterval = 0.0
    """ε, the share of a labeller's choices between two that are made blindly; Christiano et al. 2017 take .1."""
    centre: NonNegative = 0.0
    """Weight of the squared mean score of a prompt's ranked answers (Eisenstein et al. 2023, "Helping or herding?", eq.
    9, take .01 for pairs): rankings leave open where 0 is, and with it 0 is a usual answer."""

    def init(self, key: Key[Array, ""], spec: Spec) -> RewardModelLearner:
        require_recorded(spec, "RewardModel", "ranking")
        heads = {"policy": policy_head(spec.action_space), SCORE: ValueHead()}
        network = self.network.build(key, spec.observation_space, heads)
        optimiser = self.optimiser.build().init(network)  # pyright: ignore[reportArgumentType]
        return RewardModelLearner(network, optimiser, Clock.start(spec.steps))

    def policy(self, learner: RewardModelLearner) -> Policy:
        return learner.network

    def update(
        self, learner: RewardModelLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[RewardModelLearner, Metrics]:
        (_, metrics), gradient = jax.value_and_grad(self._loss, has_aux=True)(learner.network, trajectory)
        network, optimiser = descend(
            self.optimiser, learner.network, gradient, learner.optimiser, learner.clock.progress
        )
        return RewardModelLearner(network, optimiser, learner.clock.advance(trajectory)), metrics

    def _loss(self, network: Policy, lived: Trajectory) -> tuple[Float[Array, ""], Metrics]:
        score, rank = scores(network, lived.steps), rankings(lived)
        by_prompt = score.reshape(rank.shape)
        told = jax.vmap(lambda rank: preferred(rank).any())(rank)
        if self.likelihood is Likelihood.pairs:
            losses = jax.vmap(lambda r, rank: bradley_terry(r, rank, self.mistakes))(by_prompt, rank)
        else:
            losses = jax.vmap(plackett_luce)(by_prompt, rank)
        loss = jnp.sum(losses) / jnp.maximum(told.sum(), 1)
        alike, pairs = jax.tree.map(jnp.sum, jax.vmap(told_apart)(by_prompt, rank))
        usual = jax.vmap(masked_mean)(by_prompt, rank >= 0)
        return loss + self.centre * masked_mean(usual**2, told), {
            "loss": loss,
            # Before the step: in the first epoch, of rankings that were not learnt from.
            "accuracy": alike / jnp.maximum(pairs, 1),
            "score_deviation": jnp.std(score),
        }


def scores(network: Policy, rows: TimeStep) -> Float[Array, " B"]:
    """The score of each column's episode: the network's "value" on the row on which it ended.

    Args:
        network: with that head.
        rows: one episode a column, and rows that wait. Shapes [T+1, B].
    """
    reader = network.select(SCORE)
    value = unroll_batch(reader, rows.obs, rows.first)[SCORE]
    ended = jnp.argmax(rows.last, axis=0)
    return jnp.take_along_axis(value, ended[None], axis=0)[0]
