"""Direct preference optimisation: a policy learns from rankings, without a reward model between.

Rafailov et al. 2023, "Direct preference optimization: your language model is secretly a reward model". Of what KL
regularised reinforcement learning reaches, π* ∝ π_ref exp(r/β), the reward is β log π*/π_ref up to the prompt's own
constant: so the log ratios are the scores of a reward model. IPO (Azar et al. 2024) asks of them a margin instead.
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
from retorno.core.hyperparameters import NonNegative, Positive, UnitInterval, Whole, hyperparameters
from retorno.core.policy import Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, Trajectory
from retorno.environments.recordings import rankings, require_recorded
from retorno.networks import MLP, NetworkConfig, policy_head
from retorno.ops.distributions import log_probs_and_entropies
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.ops.preferences import bradley_terry, identity_preference, plackett_luce, preferred, told_apart


class Preference(enum.Enum):
    """What is asked of the log ratios of ranked answers."""

    pairs = "pairs"
    """To be the scores of Bradley & Terry's model (DPO)."""
    plackett_luce = "plackett_luce"
    """To be those of Plackett's and Luce's (Rafailov et al. 2023, appendix A.3)."""
    identity = "identity"
    """To be apart by 1/(2β) where one is preferred (IPO, Azar et al. 2024)."""


class DPOLearner(NamedTuple):
    """Everything that changes while DPO learns, and the policy that it began with."""

    network: Policy
    reference: Policy
    """π_ref"""
    optimiser: optax.OptState
    clock: Clock


@hyperparameters
class DPO(Offline):
    """Direct preference optimisation (Rafailov et al. 2023; IPO: Azar et al. 2024). Worlds: recorded rankings."""

    RECORDED: ClassVar[str] = "rankings"

    network: NetworkConfig = field(default_factory=MLP)
    """The policy's network; as it begins it is the reference as well."""
    num_envs: Whole = 0
    """Answers in each gradient step: the answers to a prompt are taken together; 0 for 32, or all where there are
    fewer."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-4, max_gradient_norm=1.0))
    """How a gradient becomes a step."""
    temperature: Positive = 0.1
    """β, what a nat of distance from the reference costs."""
    preference: Preference = Preference.pairs
    """What is asked of the log ratios."""
    mistakes: UnitInterval = 0.0
    """ε, the share of a labeller's choices between two that are made blindly (of `pairs`)."""
    cloning_coefficient: NonNegative = 0.0
    """Weight of the best answers' own likelihood, which else falls as well (Pang et al. 2024)."""

    def init(self, key: Key[Array, ""], spec: Spec) -> DPOLearner:
        require_recorded(spec, "DPO", "ranking")
        network = self.network.build(key, spec.observation_space, {"policy": policy_head(spec.action_space)})
        optimiser = self.optimiser.build().init(network)  # pyright: ignore[reportArgumentType]
        return DPOLearner(network, network, optimiser, Clock.start(spec.steps))

    def policy(self, learner: DPOLearner) -> Policy:
        return learner.network

    def update(
        self, learner: DPOLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[DPOLearner, Metrics]:
        reference = log_probs(learner.reference, trajectory)
        (_, metrics), gradient = jax.value_and_grad(self._loss, has_aux=True)(learner.network, trajectory, reference)
        progress = learner.clock.progress
        network, optimiser = descend(self.optimiser, learner.network, gradient, learner.optimiser, progress)
        return learner._replace(network=network, optimiser=optimiser, clock=learner.clock.advance(trajectory)), metrics

    def _loss(
        self, network: Policy, lived: Trajectory, reference: Float[Array, " B"]
    ) -> tuple[Float[Array, ""], Metrics]:
        log_prob, rank = log_probs(network, lived), rankings(lived)
        ratio = (log_prob - reference).reshape(rank.shape)
        told = jax.vmap(lambda rank: preferred(rank).any())(rank)
        loss = jnp.sum(jax.vmap(self._of_ranking)(ratio, rank)) / jnp.maximum(told.sum(), 1)
        words = jnp.maximum(lived.choices.sum(axis=0), 1).reshape(rank.shape)
        best = (rank == 0) & told[:, None]
        cloned = -masked_mean(log_prob.reshape(rank.shape) / words, best)
        alike, pairs = jax.tree.map(jnp.sum, jax.vmap(told_apart)(ratio, rank))
        return loss + self.cloning_coefficient * cloned, {
            "loss": loss,
            "accuracy": alike / jnp.maximum(pairs, 1),
            "log_ratio_best": masked_mean(ratio, best),
            "log_ratio": masked_mean(ratio, rank >= 0),
        }

    def _of_ranking(self, ratio: Float[Array, " K"], rank: Array) -> Float[Array, ""]:
        """The loss of one prompt's answers."""
        match self.preference:
            case Preference.pairs:
                return bradley_terry(self.temperature * ratio, rank, self.mistakes)
            case Preference.plackett_luce:
                return plackett_luce(self.temperature * ratio, rank)
        pairs = preferred(rank)
        margin = ratio[:, None] - ratio[None, :]
        apart = jax.vmap(jax.vmap(lambda h: identity_preference(h, self.temperature)))(margin)
        return masked_mean(apart, pairs)


def log_probs(network: Policy, lived: Trajectory) -> Float[Array, " B"]:
    """Log π of each column's answer: the sum over what was chosen in it.

    Args:
        network: with a "policy" head.
        lived: one episode a column. Shapes [T+1, B].
    """
    rows = jax.tree.map(lambda x: x[:-1], lived.steps)
    policy = unroll_batch(network, rows.obs, rows.first)["policy"]
    log_prob, _ = log_probs_and_entropies(policy, rows.legal, lived.action)
    return jnp.where(lived.choices, log_prob, 0.0).sum(axis=0)
