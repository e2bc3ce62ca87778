"""Behaviour cloning: what was done on each row becomes likelier.

Pomerleau 1991, "Efficient training of artificial neural networks for autonomous navigation". Over the demonstrations
of a language model it is supervised fine-tuning (Ouyang et al. 2022, step 1): the words of a prompt leave no choice,
so the loss is on the answers alone.
"""

from __future__ import annotations

from dataclasses import field
from typing import NamedTuple

import jax
import optax
from jax import Array
from jaxtyping import Float, Key

from retorno.algorithms.offline import Offline
from retorno.core.hyperparameters import Count, hyperparameters
from retorno.core.policy import Metrics, Policy, Reward, initial_carries, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, Trajectory
from retorno.environments.recordings import require_recorded
from retorno.networks import MLP, NetworkConfig, policy_head
from retorno.ops.distributions import log_prob_and_entropy
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, AdamW, Optimiser, Schedule, descend


class Cloner(NamedTuple):
    """Everything that changes while behaviour cloning learns."""

    network: Policy
    optimiser: optax.OptState
    clock: Clock


@hyperparameters
class BehaviourCloning(Offline):
    """Behaviour cloning, supervised fine-tuning (Pomerleau 1991; Ouyang et al. 2022). Worlds: recorded ones."""

    network: NetworkConfig = field(default_factory=MLP)
    """The policy's network."""
    num_envs: Count = 32
    """Columns of what was recorded in each gradient step: each is an episode, or several short ones."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3, max_gradient_norm=1.0))
    """How a gradient becomes a step."""

    def init(self, key: Key[Array, ""], spec: Spec) -> Cloner:
        require_recorded(spec, "BehaviourCloning")
        network = self.network.build(key, spec.observation_space, {"policy": policy_head(spec.action_space)})
        optimiser = self.optimiser.build().init(network)  # pyright: ignore[reportArgumentType]
        return Cloner(network, optimiser, Clock.start(spec.steps))

    def policy(self, learner: Cloner) -> Policy:
        return learner.network

    def update(
        self, learner: Cloner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[Cloner, Metrics]:
        progress = learner.clock.progress
        (_, metrics), gradient = jax.value_and_grad(cloning_loss, has_aux=True)(learner.network, trajectory)
        network, optimiser = descend(self.optimiser, learner.network, gradient, learner.optimiser, progress)
        return Cloner(network, optimiser, learner.clock.advance(trajectory)), metrics


def cloning_loss(network: Policy, lived: Trajectory) -> tuple[Float[Array, ""], Metrics]:
    """Minus the mean log-probability of what was chosen, where there was a choice.

    Args:
        network: with a "policy" head.
        lived: of whole episodes. Shapes [T+1, B].

    Returns:
        The loss, and it with the policy's mean entropy by name. Shapes [].
    """
    rows = jax.tree.map(lambda x: x[:-1], lived.steps)
    carry = initial_carries(network, rows.first.shape[1])
    policy = unroll_batch(network, rows.obs, rows.first, carry)["policy"]
    log_prob, entropy = jax.vmap(jax.vmap(log_prob_and_entropy))(policy, rows.legal, lived.action)
    loss = -masked_mean(log_prob, lived.choices)
    return loss, {"loss": loss, "entropy": masked_mean(entropy, lived.choices)}


def sft() -> BehaviourCloning:
    """Supervised fine-tuning of a language model on demonstrations (Ouyang et al. 2022, step 1)."""
    return BehaviourCloning(num_envs=16, optimiser=AdamW(2e-4, schedule=Schedule.linear, max_gradient_norm=1.0))
