"""Parallel Q-learning, without a replay and without a target network. Gallici et al. 2025 (PQN).

Many environments side by side give what a replay is for, rows that have little to do with each other, and a layer norm
before each nonlinearity keeps values from running away, which is what a target network is for. Targets are λ-returns of
Peng & Williams 1994: they are not cut where the behaviour explored. What we do differently: of a network with a memory
whole sequences are learnt from, each from the memory that acting had.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.hyperparameters import Between, Count, Discount, Lambda, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward, sequences, unroll_batch, with_newest
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory, before_and_after
from retorno.networks import MLP, ActionValueHead, Activation, NetworkConfig
from retorno.networks.normalisers import ObservationNormaliser, normalised
from retorno.ops.minibatches import equal_parts, in_parts, shuffled, subset
from retorno.ops.objectives import huber, linear, masked_mean
from retorno.ops.optimisers import Adam, Optimiser, Schedule, descend
from retorno.ops.returns import greedy_value, lambda_returns, td_error
from retorno.policies.greedy import EpsilonGreedyPolicy


class PQNLearner(NamedTuple):
    """Everything that changes while PQN learns."""

    network: Policy
    optimiser: optax.OptState
    observations: ObservationNormaliser | None
    clock: Clock


class _Rows(NamedTuple):
    """What is learnt from, [T, B]."""

    obs: PyTree[Any]
    first: Bool[Array, "T B"]
    action: Int[Array, "T B"]
    target: Float[Array, "T B"]
    transitions: Bool[Array, "T B"]


@hyperparameters
class PQN:
    """Parallel Q-learning (Gallici et al. 2025): λ-returns, no replay, no target network. Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"minibatches": 1, "epochs": 1}

    network: NetworkConfig = field(
        default_factory=lambda: MLP(hidden=(128, 128), activation=Activation.relu, layer_norm=True)
    )
    """The action values' network; with layer norms, or its values may run away."""
    num_envs: Count = 32
    """Environments that act side by side."""
    rollout: Count = 64
    """Interactions of each environment between two updates."""
    epochs: Count = 4
    """Passes over a rollout."""
    minibatches: Count | None = None
    """Gradient steps in a pass; None for 32, or as many of them as divide what there is."""
    at_once: Count | None = None
    """Of how many of a minibatch (transitions, or sequences with a memory) the gradient is computed at once; None for
    all. It needs less memory, and on a CPU convolutions are faster where what they make stays in its cache."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3, Schedule.linear, max_gradient_norm=10.0))
    """How a gradient becomes a step."""
    discount: Discount = 0.99
    """γ"""
    lambda_: Lambda = 0.95
    """λ: 0 for targets of one step, 1 for whole returns."""
    epsilon: UnitInterval = 1.0
    """Probability of a random action at the start."""
    epsilon_end: Annotated[UnitInterval, Between(0.01, 0.2)] = 0.05
    """Probability of a random action after `exploration_fraction`."""
    exploration_fraction: UnitInterval = 0.2
    """The share of the run in which ε falls, in a straight line."""
    normalise_observations: bool = False
    """Standardise Box observations by their running mean and variance."""

    def init(self, key: Key[Array, ""], spec: Spec) -> PQNLearner:
        head = ActionValueHead(num_actions(spec.action_space, "PQN"))
        network = self.network.build(key, spec.observation_space, {"q": head})
        equal_parts(self.minibatches, network.context, self.rollout, spec.num_envs)
        return PQNLearner(
            network=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            observations=ObservationNormaliser.start(spec.observation_space) if self.normalise_observations else None,
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: PQNLearner) -> Carry:
        return learner.network.initial_carry()

    def act(
        self, learner: PQNLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        progress, share = learner.clock.progress, self.exploration_fraction
        explored = jnp.where(progress < share, progress / jnp.maximum(share, 1e-9), 1.0)
        policy = EpsilonGreedyPolicy(
            normalised(learner.network, learner.observations), linear(self.epsilon, self.epsilon_end, explored)
        )
        heads, after = policy.step(row.obs, row.first, carry)
        chosen = heads["policy"].masked(row.legal)
        action = chosen.sample(key)
        # Where a memory has no end the newest row's would have to be read again.
        told = {} if policy.context is None else {"q": heads["q"]}
        return action, {"log_prob": chosen.log_prob(action)} | told, after

    def policy(self, learner: PQNLearner) -> Policy:
        return EpsilonGreedyPolicy(normalised(learner.network, learner.observations), jnp.float32(0))

    def update(
        self, learner: PQNLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[PQNLearner, Metrics]:
        steps, observations = trajectory.steps, learner.observations
        now, after = before_and_after(steps)
        network: Policy = normalised(learner.network, observations)
        seen = steps.obs, steps.first, trajectory.carry
        if network.context is None:
            q = unroll_batch(network, *seen)["q"]
        else:
            q = with_newest(network, "q", trajectory.extras["q"], *seen)
        value = jax.vmap(jax.vmap(greedy_value))(q, steps.legal)
        target = jax.vmap(lambda_returns, in_axes=(1, 1, 1, 1, None), out_axes=1)(
            reward(trajectory), self.discount * after.discount, value[1:], after.last, self.lambda_
        )
        rows = _Rows(now.obs, now.first, trajectory.action, target, trajectory.transitions)
        rows, carry = sequences(network, rows, trajectory.carry)
        improved, optimiser, metrics = self._optimise(learner, rows, carry, key)
        if observations is not None:
            observations = observations.update(now.obs)
        return PQNLearner(improved, optimiser, observations, learner.clock.advance(trajectory)), metrics

    def _optimise(
        self, learner: PQNLearner, rows: _Rows, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Policy, optax.OptState, Metrics]:
        """Epochs of shuffled minibatches; metrics are means over all of them."""
        progress = learner.clock.progress

        def step(state: tuple[Policy, optax.OptState], chosen: Int[Array, " N"] | None) -> Any:
            batch, memory = subset(rows, carry, chosen)

            def of_part(part: Int[Array, " n"] | None) -> Any:
                def loss(network: Policy) -> tuple[Float[Array, ""], Metrics]:
                    network = normalised(network, learner.observations)
                    return self._loss(network, *subset(batch, memory, part), batch.transitions)

                return jax.value_and_grad(loss, has_aux=True)(state[0])

            (_, metrics), gradient = in_parts(of_part, batch.first.shape[1], self.at_once)
            return descend(self.optimiser, state[0], gradient, state[1], progress), metrics

        minibatches = equal_parts(self.minibatches, learner.network.context, *rows.first.shape)
        chosen = shuffled(key, rows.first.shape[1], self.epochs, minibatches)
        state = (learner.network, learner.optimiser)
        (network, optimiser), metrics = jax.lax.scan(step, state, chosen, length=self.epochs * minibatches)
        return network, optimiser, jax.tree.map(jnp.mean, metrics)

    def _loss(
        self, network: Policy, rows: _Rows, carry: Carry, whole: Bool[Array, "T N"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """Half the squared error of what was done (Gallici et al. 2025, algorithm 1): these rows' share of its mean."""
        q = unroll_batch(network, rows.obs, rows.first, carry)["q"]
        each = lambda f, *x: jax.vmap(jax.vmap(f))(*x)  # noqa: E731
        errors = each(lambda *x: huber(td_error(*x), jnp.inf), q, rows.action, rows.target)
        mean = lambda x: masked_mean(x, rows.transitions, whole)  # noqa: E731
        loss = mean(errors)
        return loss, {"loss": loss, "q": mean(each(lambda q, a: q[a], q, rows.action))}
