"""Conservative Q-learning: what nobody did is valued low, so that no error there is climbed.

Kumar, Zhou, Tucker & Levine 2020. To the critics' loss is added how much more the best-valued actions are worth to
them than the recorded ones (eq. 4, "CQL(H)"), a soft maximum less what was done:

    L_Q = c (log Σ_a exp Q(s, a) − Q(s, a_recorded)) + ½ (r + γ min Q′(s′, π(s′)) − Q(s, a_recorded))²

and the policy climbs min Q with a bonus for its entropy, as SAC's. Over finitely many actions the sum is taken; over
real numbers it is an estimate from actions drawn evenly and from the policy, each divided by how likely it was to be
drawn (their appendix F). What we do differently: a network with a memory reads each recorded episode from its
beginning; the entropy is left out of the target, as in their code.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Key

from retorno.algorithms.offline import Offline
from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, Whole, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec, require_bounded, require_one_player
from retorno.core.time_step import Clock, TimeStep, Trajectory, allowed, before_and_after
from retorno.environments.recordings import require_recorded
from retorno.networks import (
    MLP,
    Activation,
    CategoricalHead,
    Critics,
    NetworkConfig,
    SquashedGaussianHead,
    critics,
)
from retorno.networks.ensembles import Least
from retorno.ops.distributions import Categorical, Distribution, uniform_sample
from retorno.ops.objectives import least, masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend, polyak
from retorno.ops.returns import backup, expectation


class CQLLearner(NamedTuple):
    """Everything that changes while CQL learns."""

    actor: Policy
    critics: Critics
    target: Critics
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState
    clock: Clock


@hyperparameters
class CQL(Offline):
    """Conservative Q-learning (Kumar et al. 2020). Worlds: recorded ones. Actions: Discrete, Box with bounds."""

    COLUMNS: ClassVar[int] = 8

    network: NetworkConfig = field(
        default_factory=lambda: MLP(hidden=(256, 256), activation=Activation.relu, orthogonal=False)
    )
    """Of the policy and each critic."""
    num_envs: Whole = 0
    """Columns of what was recorded in each gradient step: each is an episode, or several short ones; 0 for
    8, or all where there are fewer."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-4))
    """How a gradient becomes a step of the policy."""
    critic_optimiser: Optimiser = field(default_factory=lambda: Adam(3e-4))
    """The same of the critics."""
    conservatism: NonNegative = 1.0
    """c, how much being glad of what nobody did counts beside being wrong of what was done; 0 for none."""
    temperature: NonNegative = 0.1
    """What a unit of the policy's entropy is worth in rewards."""
    draws: Count = 10
    """Actions drawn evenly, and as many from the policy, of which the soft maximum over real numbers is made."""
    target_step: UnitInterval = 0.005
    """How far the target follows the critics after each gradient step."""
    discount: UnitInterval = 0.99
    """γ"""

    def init(self, key: Key[Array, ""], spec: Spec) -> CQLLearner:
        require_recorded(spec, "CQL")
        require_one_player(spec, "CQL", "it values what the same one does next")
        observed, acted, ensemble = spec.observation_space, spec.action_space, Least(2)
        finite = isinstance(acted, spaces.Discrete)
        head = CategoricalHead(int(acted.n)) if finite else SquashedGaussianHead(require_bounded(acted, "CQL").shape[0])
        for_actor, for_critics = jax.random.split(key)
        actor = self.network.build(for_actor, observed, {"policy": head})
        judging = critics(for_critics, self.network, ensemble.members, ensemble.head(acted), observed, acted)
        return CQLLearner(
            actor=actor,
            critics=judging,
            target=judging,
            actor_optimiser=self.optimiser.build().init(actor),  # pyright: ignore[reportArgumentType]
            critic_optimiser=self.critic_optimiser.build().init(judging),  # pyright: ignore[reportArgumentType]
            clock=Clock.start(spec.steps),
        )

    def policy(self, learner: CQLLearner) -> Policy:
        return learner.actor

    def update(
        self, learner: CQLLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[CQLLearner, Metrics]:
        for_target, for_critics, for_actor = jax.random.split(key, 3)
        progress, lived, paid = learner.clock.progress, trajectory, reward(trajectory)
        steps, (now, after) = lived.steps, before_and_after(lived.steps)
        counted = lived.transitions
        says = lambda actor: unroll_batch(actor, steps.obs, steps.first)["policy"]  # noqa: E731
        done = jax.tree.map(lambda x: jnp.concatenate([x, jnp.zeros_like(x[:1])]), lived.action)
        remembered = lambda critics: critics.before(steps.obs, steps.first, done)  # noqa: E731
        policy = says(learner.actor)
        early, late = (
            (lambda tree: jax.tree.map(lambda x: x[:-1], tree)),
            (lambda tree: jax.tree.map(lambda x: x[1:], tree)),
        )

        value, _ = _valued(learner.target, late(policy), after, late(remembered(learner.target)), for_target)
        target = backup(paid, self.discount * after.discount, value)

        def critic_loss(critics: Critics) -> tuple[Float[Array, ""], Metrics]:
            taken = critics.taken(now.obs, now.first, lived.action)
            error = 0.5 * jnp.square(taken - target).sum(0)
            glad = self._soft_maximum(critics, early(policy), now, early(remembered(critics)), for_critics) - taken
            told = {"critic_loss": masked_mean(error, counted), "gladness": masked_mean(glad.mean(0), counted)}
            conservative = masked_mean(glad.sum(0), lived.choices)
            return told["critic_loss"] + self.conservatism * conservative, told | {
                "q": masked_mean(taken.mean(0), counted)
            }

        gradient, told = jax.grad(critic_loss, has_aux=True)(learner.critics)
        judging, critic_state = descend(
            self.critic_optimiser, learner.critics, gradient, learner.critic_optimiser, progress
        )

        def actor_loss(actor: Policy) -> tuple[Float[Array, ""], Float[Array, ""]]:
            value, entropy = _valued(judging, early(says(actor)), now, early(remembered(judging)), for_actor)
            return -masked_mean(value + self.temperature * entropy, lived.choices), masked_mean(entropy, lived.choices)

        gradient, entropy = jax.grad(actor_loss, has_aux=True)(learner.actor)
        actor, actor_state = descend(self.optimiser, learner.actor, gradient, learner.actor_optimiser, progress)
        after_step = CQLLearner(
            actor=actor,
            critics=judging,
            target=polyak(learner.target, judging, self.target_step),
            actor_optimiser=actor_state,
            critic_optimiser=critic_state,
            clock=learner.clock.advance(trajectory),
        )
        return after_step, told | {"entropy": entropy}

    def _soft_maximum(
        self, critics: Critics, policy: Distribution, rows: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> Float[Array, "K T B"]:
        """Log Σ exp Q(s, a) over the actions of each row, or an estimate of log ∫ exp Q(s, a) da."""

        def of_row(policy: Distribution, row: TimeStep, carry: Carry, key: Key[Array, ""]) -> Float[Array, " K"]:
            if isinstance(policy, Categorical):
                q = critics(row.obs, row.first, None, carry)
                return jax.vmap(lambda q: jax.nn.logsumexp(allowed(row.legal, q)))(q)
            evenly, likely = (jax.random.split(k, self.draws) for k in jax.random.split(key))
            drawn = [
                jax.vmap(lambda k: uniform_sample(policy, k))(evenly),
                jax.vmap(policy.sample_and_log_prob)(likely),
            ]
            action, log_prob = jax.tree.map(lambda x, y: jax.lax.stop_gradient(jnp.concatenate([x, y])), *drawn)
            q = jax.vmap(lambda a: critics(row.obs, row.first, a, carry), out_axes=1)(action)
            return jax.nn.logsumexp(q - log_prob, axis=1) - jnp.log(2 * self.draws)

        return _each_row(of_row, policy, rows, carry, key).transpose(2, 0, 1)


def _valued(
    critics: Critics, policy: Distribution, rows: TimeStep, carry: Carry, key: Key[Array, ""]
) -> tuple[Float[Array, "T B"], Float[Array, "T B"]]:
    """What the policy's action is worth to the critic that values it least, and the policy's entropy, on each row."""

    def of_row(policy: Distribution, row: TimeStep, carry: Carry, key: Key[Array, ""]) -> tuple[Array, Array]:
        policy = policy.masked(row.legal)
        if isinstance(policy, Categorical):
            q = least(critics(row.obs, row.first, None, carry))
            return expectation(policy.probs(), q), policy.entropy()
        action, log_prob = policy.sample_and_log_prob(key)
        return least(critics(row.obs, row.first, action, carry)), -log_prob

    return _each_row(of_row, policy, rows, carry, key)


def _each_row(of_row: Any, policy: Distribution, rows: TimeStep, carry: Carry, key: Key[Array, ""]) -> Any:
    keys = jax.random.split(key, rows.last.shape)
    return jax.vmap(jax.vmap(of_row))(policy, rows, carry, keys)
