"""TD3 with behaviour cloning: the policy climbs the critic, and is held to what was done.

Fujimoto & Gu 2021, "A minimalist approach to offline reinforcement learning". Of TD3 it changes one line, the actor's
loss (eq. 3 and 5), and standardises observations:

    L = −λ Q(s, π(s)) + (π(s) − a)²,        λ = α / mean |Q(s, π(s))|

What we do differently: a network with a memory reads each recorded episode from its beginning.
"""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from retorno.algorithms.actor_critic.td3 import TD3Learner, TwinDelayed
from retorno.algorithms.offline import Offline
from retorno.core.hyperparameters import NonNegative, Whole, hyperparameters
from retorno.core.policy import Metrics, Reward
from retorno.core.spaces import Spec
from retorno.core.time_step import Trajectory, before_and_after
from retorno.environments.recordings import require_recorded
from retorno.networks import MLP, Activation, NetworkConfig
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, Optimiser
from retorno.replay.learning import Lesson, lesson


@hyperparameters
class TD3BC(TwinDelayed, Offline):
    """TD3 with behaviour cloning (Fujimoto & Gu 2021). Worlds: recorded ones. Actions: Box with bounds."""

    COLUMNS: ClassVar[int] = 8

    NAME: ClassVar[str] = "td3_bc"

    network: NetworkConfig = field(
        default_factory=lambda: MLP(hidden=(256, 256), activation=Activation.relu, orthogonal=False)
    )
    """The actor's network."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(3e-4))
    """How a gradient becomes a step, of the actor."""
    normalise_observations: bool = True
    """Standardise Box observations by the mean and variance of what was recorded."""
    num_envs: Whole = 0
    """Columns of what was recorded in each gradient step: each is an episode, or several short ones; 0 for
    8, or all where there are fewer."""
    climb: NonNegative = 2.5
    """α, the weight of the critic beside cloning: 0 clones alone."""

    def init(self, key: Key[Array, ""], spec: Spec) -> TD3Learner:
        lived = require_recorded(spec, "TD3BC").lived
        learner = self._begin(key, spec)
        if learner.observations is None:
            return learner
        seen = before_and_after(lived.steps)[0].obs
        return learner._replace(observations=learner.observations.update(seen, lived.transitions))

    def update(
        self, learner: TD3Learner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[TD3Learner, Metrics]:
        rows = lesson(trajectory, 0, reward, learner.observations)
        columns = trajectory.action.shape[1]
        learner, metrics, _ = self._learn(learner, rows, lambda actor: None, jnp.ones(columns), key)
        return learner._replace(clock=learner.clock.advance(trajectory)), metrics

    def _actor_loss(self, q: Float[Array, "L N"], action: Float[Array, "L N D"], rows: Lesson) -> Float[Array, ""]:
        climb = self.climb / (masked_mean(jax.lax.stop_gradient(jnp.abs(q)), rows.transitions) + 1e-8)
        apart = jnp.mean(jnp.square(action - rows.action), -1)
        return masked_mean(apart - climb * q, rows.transitions)
