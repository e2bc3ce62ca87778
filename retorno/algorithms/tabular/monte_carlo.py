"""Monte Carlo control: learn from whole episodes, with the returns that really followed.

Sutton & Barto 2018, chapter 5: on-policy with soft policies (section 5.4), with exploring starts (5.3),
and off-policy by weighted importance sampling (5.7). An episode is learnt from when it has ended; the rows
of episodes under way are held until then. With `rollout` above 1 all episodes that ended in it are learnt
from together. Behind a time limit's cut stands the present estimate.
"""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters, preset
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import HashableSpace, Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory, allowed, learn_one_after_another
from retorno.networks import ActionValueHead, NetworkConfig, Table, require_no_context, semi_gradient_step
from retorno.ops.distributions import EpsilonGreedy
from retorno.ops.objectives import linear
from retorno.ops.returns import backup, expectation, lambda_returns
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer, explore
from retorno.policies.schedules import Pairs, StepSize, refuse_unless_finite, step_sizes
from retorno.replay.held_rows import HeldRows, episodes_batch, where_ended


class MonteCarloLearner(NamedTuple):
    """Everything that changes while Monte Carlo control learns."""

    network: Policy
    step_size: StepSize
    explorer: Explorer
    clock: Clock
    held: HeldRows
    pairs: Pairs | None


@hyperparameters
class MonteCarloControl:
    """On-policy Monte Carlo control (Sutton & Barto 2018, section 5.4): returns of episodes. Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"longest_episode": 12}
    NAME: ClassVar[str] = "monte_carlo"
    network: NetworkConfig = field(default_factory=Table)
    """Where the action values are held."""
    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 64
    """Interactions of each environment between two updates, which use all episodes that ended in them."""
    longest_episode: Count = 128
    """Rows of an episode under way that are held; of a longer episode only the last so many are learnt from."""
    first_visit: bool = True
    """Learn from the first visit of a pair in an episode alone, not from every one; observations must be finite."""
    exploring_starts: bool = False
    """Begin each episode with any action, all equally likely; the world has to begin anywhere."""
    step_size: NonNegative | None = None
    """α; None for 1/n at the nth return of a pair: the mean of its returns."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen while learning."""

    @property
    def seeds_batch(self) -> bool:
        return episodes_batch(self.network, self.longest_episode, self.rollout)

    def init(self, key: Key[Array, ""], spec: Spec) -> MonteCarloLearner:
        actions = num_actions(spec.action_space, "Monte Carlo control")
        network = self.network.build(key, spec.observation_space, {"q": ActionValueHead(actions)})
        pairs = Pairs(HashableSpace(spec.observation_space), actions)
        if self.first_visit:
            refuse_unless_finite(pairs, "first visits cannot be told: learn from every one, with first_visit=False")
        return MonteCarloLearner(
            network=require_no_context(network, "Monte Carlo control"),
            step_size=step_sizes(self.step_size, spec, actions),
            explorer=self.exploration.start(spec, actions),
            clock=Clock.start(spec.steps),
            held=HeldRows.none(spec, self.longest_episode, (), self.rollout),
            pairs=pairs if self.first_visit else None,
        )

    def initial_carry(self, learner: MonteCarloLearner) -> Carry:
        return ()

    def act(
        self, learner: MonteCarloLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        usual_key, start_key = jax.random.split(key)
        action = explore(learner.network, self.exploration, learner.explorer, row, learner.clock.progress, usual_key)
        if self.exploring_starts:
            q = learner.network.step(row.obs, row.first, ())[0]["q"]
            anything = EpsilonGreedy(q, jnp.float32(1)).masked(row.legal).sample(start_key)
            action = jnp.where(row.first, anything, action)
        return action, (), carry

    def policy(self, learner: MonteCarloLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: MonteCarloLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[MonteCarloLearner, Metrics]:
        learn = partial(self._learn, learner, trajectory, reward)
        (network, step_size), error = where_ended(trajectory, learn, (learner.network, learner.step_size))
        explorer, clock = learner.explorer.update(trajectory), learner.clock.advance(trajectory)
        after = MonteCarloLearner(network, step_size, explorer, clock, learner.held.after(trajectory), learner.pairs)
        return after, {"return_error": error, "forgotten": learner.held.forgotten(trajectory)}

    def _learn(
        self,
        learner: MonteCarloLearner,
        trajectory: Trajectory,
        reward: Reward,
        before: tuple[Policy, StepSize],
    ) -> tuple[tuple[Policy, StepSize], Float[Array, ""]]:
        """From the episodes that have ended, in the order lived."""
        joined = learner.held.join(trajectory).rewarded(reward)
        rows, action, counts = joined.steps, joined.action, learner.held.ended(joined)
        if learner.pairs is not None:
            counts = counts & jax.vmap(learner.pairs.first_visits, in_axes=1, out_axes=1)(rows, action)
        progress, returns = learner.clock.progress, self._returns(learner, rows)

        def learn(
            state: tuple[Policy, StepSize], x: tuple[Any, Array, Array, Array]
        ) -> tuple[tuple[Policy, StepSize], Float[Array, ""]]:
            (network, step_size), (obs, action, value, counted) = state, x
            q = network.step(obs, jnp.array(False), ())[0]["q"]
            error = jnp.where(counted, value - q[action], 0.0)
            alpha, step_size = step_size.next(self.step_size, self.step_size_end, obs, action, progress, counted)
            return (semi_gradient_step(network, "q", obs, action, alpha * error), step_size), jnp.abs(error)

        obs = jax.tree.map(lambda x: x[:-1], rows.obs)
        seen = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (obs, action, returns, counts))
        after, errors = jax.lax.scan(learn, before, seen)
        return after, errors.sum() / jnp.maximum(counts.sum(), 1)

    def _returns(self, learner: MonteCarloLearner, rows: TimeStep) -> Float[Array, "R B"]:
        """What followed each action; behind a cut, what the policy followed is thought to earn."""
        q = unroll_batch(learner.network, rows.obs, rows.first, ())["q"]

        def worth(q: Array, row: TimeStep) -> Array:
            choice = self.exploration.choice(learner.explorer, q, row.obs, learner.clock.progress).masked(row.legal)
            return jnp.where(row.last & (row.discount != 0), expectation(choice.probs(), q), 0.0)

        value = jax.vmap(jax.vmap(worth))(q, rows)
        return jax.vmap(lambda r, d, v, cut: lambda_returns(r, d, v, cut, 1.0), in_axes=1, out_axes=1)(
            rows.reward[1:], self.discount * rows.discount[1:], value[1:], rows.last[1:]
        )


def MonteCarloES(**settings: Any) -> MonteCarloControl:
    """Monte Carlo control with exploring starts (Sutton & Barto 2018, section 5.3). Actions: Discrete."""
    return preset(MonteCarloControl, settings, exploring_starts=True, exploration=Epsilon(0.0))


class OffPolicyLearner(NamedTuple):
    """Everything that changes while off-policy Monte Carlo control learns."""

    network: Policy
    weight: Float[Array, " pairs"]
    """C, the sum of the weights of each pair's returns."""
    explorer: Explorer
    clock: Clock
    held: HeldRows
    pairs: Pairs


@hyperparameters
class OffPolicyMonteCarlo:
    """Off-policy Monte Carlo control by weighted importance sampling (Precup et al. 2000). Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"longest_episode": 12}
    network: NetworkConfig = field(default_factory=Table)
    """Where the action values are held; observations must be finite, for the weights of pairs."""
    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 64
    """Interactions of each environment between two updates, which use all episodes that ended in them."""
    longest_episode: Count = 128
    """Rows of an episode under way that are held; of a longer episode only the last so many are learnt from."""
    step_size: NonNegative | None = None
    """None for the weighted mean of all returns; else older ones fade by 1 − α at each later one of their pair."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen: the behaviour, which may be any that tries everything."""

    @property
    def seeds_batch(self) -> bool:
        return episodes_batch(self.network, self.longest_episode, self.rollout)

    def init(self, key: Key[Array, ""], spec: Spec) -> OffPolicyLearner:
        actions = num_actions(spec.action_space, "Monte Carlo control")
        network = self.network.build(key, spec.observation_space, {"q": ActionValueHead(actions)})
        pairs = Pairs(HashableSpace(spec.observation_space), actions)
        refuse_unless_finite(pairs, "the returns of a pair cannot be weighed: use n-step tree backup or Q-learning")
        return OffPolicyLearner(
            network=require_no_context(network, "Monte Carlo control"),
            weight=jnp.zeros(pairs.count),
            explorer=self.exploration.start(spec, actions),
            clock=Clock.start(spec.steps),
            held=HeldRows.none(spec, self.longest_episode, {"prob": jnp.float32(1)}, self.rollout),
            pairs=pairs,
        )

    def initial_carry(self, learner: OffPolicyLearner) -> Carry:
        return ()

    def act(
        self, learner: OffPolicyLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        progress = learner.clock.progress
        action = explore(learner.network, self.exploration, learner.explorer, row, progress, key)
        q = learner.network.step(row.obs, row.first, ())[0]["q"]
        choice = self.exploration.choice(learner.explorer, q, row.obs, progress).masked(row.legal)
        return action, {"prob": choice.probs()[action]}, carry

    def policy(self, learner: OffPolicyLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: OffPolicyLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[OffPolicyLearner, Metrics]:
        learn = partial(self._learn, learner, trajectory, reward)
        (network, weight), error = where_ended(trajectory, learn, (learner.network, learner.weight))
        explorer, clock = learner.explorer.update(trajectory), learner.clock.advance(trajectory)
        after = OffPolicyLearner(network, weight, explorer, clock, learner.held.after(trajectory), learner.pairs)
        return after, {"return_error": error, "forgotten": learner.held.forgotten(trajectory)}

    def _learn(
        self,
        learner: OffPolicyLearner,
        trajectory: Trajectory,
        reward: Reward,
        before: tuple[Policy, Array],
    ) -> tuple[tuple[Policy, Array], Float[Array, ""]]:
        """From the episodes that have ended, backwards."""
        joined = learner.held.join(trajectory).rewarded(reward)
        rows, counts = joined.steps, learner.held.ended(joined)
        fading = 0.0 if self.step_size is None else linear(self.step_size, self.step_size_end, learner.clock.progress)

        def learn(state: tuple[Policy, Array], x: Any) -> tuple[tuple[Policy, Array], Any]:
            """One environment's transition; episodes are gone through backwards."""
            (network, weight), ((after, ratio), (row, next_row, action, prob, counted)) = state, x
            q, next_q = (network.step(r.obs, r.first, ())[0]["q"] for r in (row, next_row))
            best_next = jnp.max(allowed(next_row.legal, next_q))
            after, ratio = jnp.where(next_row.last, best_next, after), jnp.where(next_row.last, 1.0, ratio)
            value = backup(next_row.reward, self.discount * next_row.discount, after)
            counted = counted & (ratio > 0)
            pair = learner.pairs.number(row.obs, action)
            total = jnp.where(counted, (1 - fading) * weight[pair] + ratio, weight[pair])
            error = jnp.where(counted, value - q[action], 0.0)
            change = jnp.where(counted, ratio / total, 0.0) * error
            network = semi_gradient_step(network, "q", row.obs, action, change)
            # Before an action that the greedy policy would not take nothing can be learnt for it.
            now = network.step(row.obs, row.first, ())[0]["q"]
            kept = EpsilonGreedy(now, jnp.float32(0)).masked(row.legal).mode() == action
            return (network, weight.at[pair].set(total)), ((value, jnp.where(kept, ratio / prob, 0.0)), jnp.abs(error))

        now, then = (jax.tree.map(lambda x, cut=cut: x[cut], rows) for cut in (slice(None, -1), slice(1, None)))
        nothing = jnp.zeros(counts.shape[1])
        transitions = (now, then, joined.action, joined.extras["prob"], counts)
        after, _, errors = learn_one_after_another(learn, before, (nothing, nothing), transitions, reverse=True)
        return after, errors.sum() / jnp.maximum(counts.sum(), 1)
