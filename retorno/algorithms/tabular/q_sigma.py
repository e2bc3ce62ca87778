"""n-step Q(σ): SARSA, expected SARSA and the tree backup over n steps, and everything between them.

De Asis, Hernandez-Garcia, Holland & Sutton 2018; Sutton & Barto 2018, chapter 7. σ says how much of
what follows is taken from the sample and how much from the expectation over the actions. A
transition is learnt from n rows later, when its n-step return is known; so the last n − 1 of an
episode are learnt while the next one begins, where the book stops to catch up.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters, preset
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory, windows
from retorno.networks import ActionValueHead, NetworkConfig, Table, require_no_context, semi_gradient_step
from retorno.ops.distributions import EpsilonGreedy
from retorno.ops.objectives import linear
from retorno.ops.returns import expectation, horizon, n_step_return, q_sigma_return, td_error
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer, explore
from retorno.policies.schedules import StepSize, step_sizes
from retorno.replay.held_rows import HeldRows


class QSigmaLearner(NamedTuple):
    """Everything that changes while Q(σ) learns."""

    network: Policy
    step_size: StepSize
    explorer: Explorer
    clock: Clock
    held: HeldRows
    """The n rows before the next trajectory's first, whose returns are not known yet."""


@hyperparameters
class QSigma:
    """n-step Q(σ) (De Asis et al. 2018): between SARSA and the tree backup. Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"n": 3}

    network: NetworkConfig = field(default_factory=Table)
    """Where the action values are held."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates; 1 learns before each choice."""
    n: Count = 4
    """Steps from which a return is made before it goes on from an estimate."""
    sigma: UnitInterval | None = 0.5
    """σ: how much is sampled, from 0 (the tree backup) to 1 (SARSA); None for n-step SARSA alone, where nothing
    on the way is judged."""
    sigma_end: UnitInterval | None = None
    """σ at the end of the run, reached in a straight line; None to keep it."""
    greedy: bool = False
    """Learn the values of the greedy policy instead of those of the policy followed."""
    step_size: NonNegative | None = 0.1
    """α; None for 1/n at the nth visit of a pair."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen while learning."""

    def init(self, key: Key[Array, ""], spec: Spec) -> QSigmaLearner:
        actions = num_actions(spec.action_space, "Q(σ)")
        network = self.network.build(key, spec.observation_space, {"q": ActionValueHead(actions)})
        return QSigmaLearner(
            network=require_no_context(network, "Q(σ)"),
            step_size=step_sizes(self.step_size, spec, actions),
            explorer=self.exploration.start(spec, actions),
            clock=Clock.start(spec.steps),
            held=HeldRows.none(spec, self.n, {"prob": jnp.float32(1)}),
        )

    def initial_carry(self, learner: QSigmaLearner) -> Carry:
        return ()

    def act(
        self, learner: QSigmaLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        progress = learner.clock.progress
        action = explore(learner.network, self.exploration, learner.explorer, row, progress, key)
        q = learner.network.step(row.obs, row.first, ())[0]["q"]
        prob = self.exploration.choice(learner.explorer, q, row.obs, progress).masked(row.legal).probs()[action]
        return action, {"prob": prob}, carry

    def policy(self, learner: QSigmaLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: QSigmaLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[QSigmaLearner, Metrics]:
        rows, action, extras, _ = learner.held.join(trajectory).rewarded(reward)
        progress = learner.clock.progress

        def learn(
            state: tuple[Policy, StepSize], window: tuple[TimeStep, Array, Array]
        ) -> tuple[tuple[Policy, StepSize], tuple[Array, Array]]:
            (network, step_size), (rows, action, prob) = state, window
            obs = jax.tree.map(lambda x: x[0], rows.obs)
            q = network.step(obs, rows.first[0], ())[0]["q"]
            error = td_error(q, action[0], self._target(network, learner.explorer, progress, rows, action, prob))
            # A reset is no transition: nothing is learnt from it.
            error = jnp.where(rows.last[0], 0.0, error)
            counts, sizes = ~rows.last[0], (self.step_size, self.step_size_end)
            alpha, step_size = step_size.next(*sizes, obs, action[0], progress, counts)
            network = semi_gradient_step(network, "q", obs, action[0], alpha * error)
            return (network, step_size), (jnp.abs(error), counts)

        # Each begins with a transition to learn from: those out of rows −n … T−1−n.
        seen = windows((rows, action, extras["prob"]), len(trajectory.action), self.n + 1)
        (network, step_size), (errors, counts) = jax.lax.scan(learn, (learner.network, learner.step_size), seen)
        explorer, clock = learner.explorer.update(trajectory), learner.clock.advance(trajectory)
        metrics = {"td_error": errors.sum() / jnp.maximum(counts.sum(), 1)}
        return QSigmaLearner(network, step_size, explorer, clock, learner.held.after(trajectory)), metrics

    def _target(
        self,
        network: Policy,
        explorer: Explorer,
        progress: Float[Array, ""],
        rows: TimeStep,
        action: Int[Array, " R"],
        behaviour: Float[Array, " R"],
    ) -> Float[Array, ""]:
        """The n-step return of a window's first action, by the values that are held now."""

        def judge(row: TimeStep, action: Array) -> tuple[Array, Array, Array]:
            q = network.step(row.obs, row.first, ())[0]["q"]
            choice = self.exploration.choice(explorer, q, row.obs, progress)
            probs = (EpsilonGreedy(q, jnp.float32(0)) if self.greedy else choice).masked(row.legal).probs()
            return q[action], expectation(probs, q), probs[action]

        after = jax.tree.map(lambda x: x[1:], rows)
        if self.sigma is None:
            row, taken = jax.tree.map(lambda x: x[horizon(after.last)], (after, action[1:]))
            value = network.step(row.obs, row.first, ())[0]["q"][taken]
            return n_step_return(after.reward, self.discount * after.discount, value, after.last)
        next_q, next_value, next_prob = jax.vmap(judge)(after, action[1:])
        return q_sigma_return(
            after.reward,
            self.discount * after.discount,
            next_q,
            next_value,
            next_prob,
            after.last,
            linear(self.sigma, self.sigma_end, progress),
            next_prob / behaviour[1:] if self.greedy else None,
        )


def NStepSARSA(**settings: Any) -> QSigma:
    """n-step SARSA (Sutton & Barto 2018, section 7.2): everything sampled. Actions: Discrete."""
    return preset(QSigma, settings, sigma=None)


def TreeBackup(**settings: Any) -> QSigma:
    """n-step tree backup (Precup, Sutton & Singh 2000): off-policy without ratios. Actions: Discrete."""
    return preset(QSigma, settings, sigma=0.0, greedy=True)
