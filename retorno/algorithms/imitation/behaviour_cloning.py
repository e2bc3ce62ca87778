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
from retorno.core.hyperparameters import Whole, hyperparameters
from retorno.core.policy import Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, Trajectory
from retorno.environments.recordings import require_recorded
from retorno.networks import MLP, NetworkConfig, policy_head
from retorno.ops.distributions import log_probs_and_entropies
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
    num_envs: Whole = 0
    """Columns of what was recorded in each gradient step: each is an episode, or several short ones; 0 for
    32, or all where there are fewer."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3, max_gradient_norm=1.0))
    """How a gradient becomes a step."""

    def init(self, key: Key[Array, ""], spec: Spec) -> Cloner:
        return begin_cloning(self.network, self.optimiser, key, spec, "BehaviourCloning")

    def policy(self, learner: Cloner) -> Policy:
        return learner.network

    def update(
        self, learner: Cloner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[Cloner, Metrics]:
        return clone(self.optimiser, learner, trajectory)


def begin_cloning(config: NetworkConfig, optimiser: Optimiser, key: Key[Array, ""], spec: Spec, name: str) -> Cloner:
    """A policy that nothing is known by.

    Args:
        config: its network.
        optimiser: how it will learn.
        key: what its weights start as follows from it.
        spec: of the world.
        name: of who learns, for the message.

    Raises:
        SpaceError: when the world is not one of recordings.
    """
    require_recorded(spec, name)
    network = config.build(key, spec.observation_space, {"policy": policy_head(spec.action_space)})
    state = optimiser.build().init(network)  # pyright: ignore[reportArgumentType]
    return Cloner(network, state, Clock.start(spec.steps))


def clone(optimiser: Optimiser, learner: Cloner, lived: Trajectory) -> tuple[Cloner, Metrics]:
    """One gradient step towards what was done.

    Args:
        optimiser: how the gradient becomes a step.
        learner: as it is before.
        lived: of whole episodes. Shapes [T+1, B].
    """
    (_, metrics), gradient = jax.value_and_grad(cloning_loss, has_aux=True)(learner.network, lived)
    network, state = descend(optimiser, learner.network, gradient, learner.optimiser, learner.clock.progress)
    return Cloner(network, state, learner.clock.advance(lived)), metrics


def cloning_loss(network: Policy, lived: Trajectory) -> tuple[Float[Array, ""], Metrics]:
    """Minus the mean log-probability of what was chosen, where there was a choice.

    Args:
        network: with a "policy" head.
        lived: of whole episodes. Shapes [T+1, B].

    Returns:
        The loss, and it with the policy's mean entropy by name. Shapes [].
    """
    rows = jax.tree.map(lambda x: x[:-1], lived.steps)
    policy = unroll_batch(network, rows.obs, rows.first)["policy"]
    log_prob, entropy = log_probs_and_entropies(policy, rows.legal, lived.action)
    loss = -masked_mean(log_prob, lived.choices)
    return loss, {"loss": loss, "entropy": masked_mean(entropy, lived.choices)}


def sft() -> BehaviourCloning:
    """Supervised fine-tuning of a language model on demonstrations (Ouyang et al. 2022, step 1)."""
    return BehaviourCloning(num_envs=16, optimiser=AdamW(2e-4, schedule=Schedule.linear, max_gradient_norm=1.0))
