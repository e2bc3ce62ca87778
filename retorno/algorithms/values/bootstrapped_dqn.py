"""Bootstrapped DQN with randomised priors: an episode is lived by one of several that believe differently.

Osband, Blundell, Pritzel & Van Roy 2016 (members that learn from their own share of what was lived); Osband, Aslanides
& Cassirer 2018, "Randomized prior functions for deep reinforcement learning": to what a member learns a random function
is added that never changes, so that where nothing was seen they go on to disagree,

    q_k(s, a) = f_k(s, a) + β p_k(s, a),        each towards its own target r + γ q̄_k(s′, argmax q_k(s′, ·)).

Who acts for a whole episode as if one of them were right explores deeply: it tries what may be worth much and is not
known yet, however many steps that takes. What we do differently: members share their hidden layers, and so do priors.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.counter import Countdown
from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, Whole, hyperparameters
from retorno.core.policy import Carry, Heads, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec, num_actions, require_one_player, require_windows
from retorno.core.time_step import Clock, TimeStep, Trajectory, allowed
from retorno.networks import MLP, ActionValueHead, Activation, NetworkConfig, Table
from retorno.networks.heads import Head
from retorno.networks.network import longest_context
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.ops.returns import n_step_returns
from retorno.policies.greedy import EpsilonGreedyPolicy
from retorno.replay import Replay, ReplayConfig, UniformReplay, Window, ring, sequence_priority
from retorno.replay.learning import gradient_steps, next_heads, recorded


class Members(Policy):
    """What K members say of each action, [K, A]: what was learnt, and a prior that stays."""

    learnt: Policy
    prior: Policy
    scale: Float[Array, ""]
    """β"""
    count: int = eqx.field(static=True)
    """K"""

    @property
    def context(self) -> int | None:
        return longest_context(self.learnt, self.prior)

    def initial_carry(self) -> Carry:
        return () if self.context == 0 else (self.learnt.initial_carry(), self.prior.initial_carry())

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        own, theirs = carry if self.context != 0 else ((), ())
        learnt, own = self.learnt.step(obs, first, own)
        prior, theirs = self.prior.step(obs, first, theirs)
        q = learnt["q"] + self.scale * jax.lax.stop_gradient(prior["q"])
        return {"q": q.reshape(self.count, -1)}, () if self.context == 0 else (own, theirs)


class Chosen(Policy):
    """What one of the members says, or, where none is chosen, their mean."""

    members: Members
    member: Int[Array, ""] | None

    @property
    def context(self) -> int | None:
        return self.members.context

    def initial_carry(self) -> Carry:
        return self.members.initial_carry()

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        heads, carry = self.members.step(obs, first, carry)
        return {"q": heads["q"].mean(0) if self.member is None else heads["q"][self.member]}, carry


class BootstrappedDQNLearner(NamedTuple):
    """Everything that changes while bootstrapped DQN learns, and the priors."""

    network: Policy
    target: Policy
    prior: Policy
    optimiser: optax.OptState
    replay: Replay
    target_due: Countdown
    clock: Clock


@hyperparameters
class BootstrappedDQN:
    """Bootstrapped DQN with randomised priors (Osband, Aslanides & Cassirer 2018). Actions: Discrete."""

    NAME: ClassVar[str] = "bootstrapped_dqn"
    SMALL: ClassVar[dict[str, Any]] = {
        "members": 3,
        "share": 1.0,
        "prior_scale": 1.0,
        "batch_size": 4,
        "capacity": 64,
        "learning_starts": 8,
        "target_period": 16,
    }

    network: NetworkConfig = field(default_factory=lambda: MLP(hidden=(50, 50), activation=Activation.relu))
    """The members' network, and the priors'. Priors have to differ from place to place, or what was learnt of one
    takes the doubt away from all: uniform weights, whose biases say most, spread over the 211 places of a deep sea of
    20 rows by .006, and orthogonal ones by .049."""
    members: Count = 20
    """K"""
    prior_scale: NonNegative = 3.0
    """β, what priors weigh."""
    share: UnitInterval = 0.5
    """Of what was lived, by chance, that a member learns from."""
    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    gradient_steps: Count = 1
    """Gradient steps in each update."""
    batch_size: Count = 128
    """Windows in each gradient step."""
    n: Count = 1
    """Rewards in a return before it goes on from an estimate."""
    length: Count = 1
    """Rows of a window that are learnt from: for a network with a memory more than one."""
    burn_in: Whole = 0
    """Rows before a window that a network with a memory reads first, without learning from them."""
    stored_carry: bool = True
    """Keep the memory beside each row for a window to begin with; else it begins with an empty one."""
    replay: ReplayConfig = field(default_factory=UniformReplay)
    """Which windows are drawn."""
    capacity: Count = 100_000
    """Transitions that the replay holds."""
    learning_starts: Whole = 128
    """Environment steps before the first gradient step."""
    target_period: Count = 4
    """Environment steps between two copies of the network to the target."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3))
    """How a gradient becomes a step."""
    discount: UnitInterval = 0.99
    """γ"""
    epsilon: UnitInterval = 0.0
    """Probability of a random action."""

    def init(self, key: Key[Array, ""], spec: Spec) -> BootstrappedDQNLearner:
        actions = num_actions(spec.action_space, "BootstrappedDQN")
        require_windows(spec, "BootstrappedDQN")
        require_one_player(spec, "BootstrappedDQN", "its members would believe what is good for the other")
        for_network, for_prior, for_table = jax.random.split(key, 3)
        heads: dict[str, Head] = {"q": ActionValueHead(self.members * actions)}
        network = self.network.build(for_network, spec.observation_space, heads)
        prior = self.network.build(for_prior, spec.observation_space, heads)
        if isinstance(self.network, Table):  # It begins with zeros: nothing to disagree about.
            prior = jax.tree.map(lambda x: jax.random.normal(for_table, x.shape), prior)
        members = self._members(network, prior)
        rows = ring(
            spec.row,
            jnp.int32(0),
            num_envs=spec.num_envs,
            capacity=self.capacity,
            rollout=self.rollout,
            extras=recorded(members, spec, self.stored_carry) | {"learns": jnp.zeros(self.members, bool)},
            length=self.length + self.n - 1,
            learnt=range(self.length),
            context=self.burn_in if members.context is None else members.context,
        )
        return BootstrappedDQNLearner(
            network=network,
            target=network,
            prior=prior,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            replay=self.replay.over(rows),
            target_due=Countdown.start(self.target_period),
            clock=Clock.start(spec.steps),
        )

    def _members(self, network: Policy, prior: Policy) -> Members:
        return Members(network, prior, jnp.asarray(self.prior_scale, jnp.float32), self.members)

    def initial_carry(self, learner: BootstrappedDQNLearner) -> Carry:
        return self._members(learner.network, learner.prior).initial_carry(), jnp.int32(0)

    def act(
        self, learner: BootstrappedDQNLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        memory, member = carry
        for_choice, for_member, for_share = jax.random.split(key, 3)
        member = jnp.where(row.first, jax.random.randint(for_member, (), 0, self.members), member)
        believing = Chosen(self._members(learner.network, learner.prior), member)
        heads, after = EpsilonGreedyPolicy(believing, jnp.asarray(self.epsilon)).step(row.obs, row.first, memory)
        policy = heads["policy"].masked(row.legal)
        action = policy.sample(for_choice)
        learns = jax.random.bernoulli(for_share, self.share, (self.members,))
        extras = {"carry": memory, "log_prob": policy.log_prob(action), "learns": learns}
        return action, {name: extras[name] for name in learner.replay.ring.extras}, (after, member)

    def policy(self, learner: BootstrappedDQNLearner) -> Policy:
        return EpsilonGreedyPolicy(Chosen(self._members(learner.network, learner.prior), None), jnp.float32(0))

    def update(
        self, learner: BootstrappedDQNLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[BootstrappedDQNLearner, Metrics]:
        clock = learner.clock.advance(trajectory)
        due, countdown = learner.target_due.advance(trajectory.transitions.sum(), self.target_period)
        learner = learner._replace(
            target=jax.tree.map(lambda new, old: jnp.where(due, new, old), learner.network, learner.target),
            replay=learner.replay.add(trajectory),
            target_due=countdown,
            clock=clock,
        )
        step = lambda learner, key: self._gradient_step(learner, reward, key)  # noqa: E731
        return gradient_steps(step, learner, self.gradient_steps, clock.step.reaches(self.learning_starts), key)

    def _gradient_step(
        self, learner: BootstrappedDQNLearner, reward: Reward, key: Key[Array, ""]
    ) -> tuple[BootstrappedDQNLearner, Metrics]:
        progress = learner.clock.progress
        window = learner.replay.sample(key, self.batch_size, progress)
        target = self._target(learner, window, reward(window.trajectory))
        loss = lambda network: self._loss(self._members(network, learner.prior), window, target)  # noqa: E731
        (_, (metrics, priority)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.network)
        network, optimiser = descend(self.optimiser, learner.network, gradient, learner.optimiser, progress)
        replay = learner.replay.update(window.index, priority)
        return learner._replace(network=network, optimiser=optimiser, replay=replay), metrics

    def _target(
        self, learner: BootstrappedDQNLearner, window: Window, reward: Float[Array, "T N"]
    ) -> Float[Array, "L N K"]:
        """Each member's own n-step return, by its own choice and its own target."""
        steps = window.trajectory.steps
        said = lambda policy: next_heads(policy, steps, window.carry(policy))["q"]  # noqa: E731
        online, judge = (said(self._members(x, learner.prior)) for x in (learner.network, learner.target))
        legal = jax.tree.map(lambda x: x[1:], steps.legal)

        def value(q: Float[Array, "K A"], judged: Float[Array, "K A"], legal: Any) -> Float[Array, " K"]:
            best = jax.vmap(lambda q: jnp.argmax(allowed(legal, q)))(q)
            return jax.vmap(lambda q, a: q[a])(judged, best)

        after = jax.vmap(jax.vmap(value))(online, judge, legal)
        discount = self.discount * steps.discount[1:]
        of_stream = jax.vmap(lambda *rows: n_step_returns(*rows, n=self.n), in_axes=1, out_axes=1)
        of_member = jax.vmap(of_stream, in_axes=(None, None, 2, None), out_axes=2)
        return jax.lax.stop_gradient(of_member(reward, discount, after, steps.last[1:])[: self.length])

    def _loss(
        self, members: Members, window: Window, target: Float[Array, "L N K"]
    ) -> tuple[Float[Array, ""], tuple[Metrics, Float[Array, " N"]]]:
        """Of all members, each over its share; metrics, and how much there was to learn from each window."""
        lived = jax.tree.map(lambda x: x[: self.length], window.trajectory.steps)
        action, valid = window.trajectory.action[: self.length], window.trajectory.transitions[: self.length]
        learns = window.trajectory.extras["learns"][: self.length]
        q = unroll_batch(members, lived.obs, lived.first, window.carry(members))["q"]
        taken = jnp.take_along_axis(q, action[..., None, None], -1)[..., 0]
        error = target - taken
        losses = jnp.where(learns, 0.5 * jnp.square(error), 0.0).sum(-1)
        told = {"loss": masked_mean(losses, valid), "q": masked_mean(taken.mean(-1), valid)}
        # What is too much to one and too little to another is not known: their errors do not make up for each other.
        unknown = jnp.where(learns, jnp.abs(error), 0.0).mean(-1)
        priority = jax.vmap(sequence_priority, in_axes=1)(unknown, valid)
        return masked_mean(window.weight * losses, valid), (
            told | {"apart": masked_mean(taken.std(-1), valid)},
            priority,
        )
