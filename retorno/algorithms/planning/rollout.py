"""The rollout algorithm: try each action in thought, go on as a base policy would, and take the best.

Tesauro & Galperin 1997; Sutton & Barto 2018, section 8.10. Nothing of a value is kept from one choice to the next.
What is chosen is one step of policy improvement (section 4.2) on the base policy, with action values that are means
of simulated returns: better than the base, and no more than that. Simulations that last longer than `depth` are cut,
and what lies beyond counts for nothing.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, PyTree

from retorno.core.hyperparameters import Count, UnitInterval, as_arrays, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep, Trajectory
from retorno.models.tabular import Counted, Exact, ModelConfig, SampleModel
from retorno.policies import FixedConfig, Uniform
from retorno.policies.decision_time_planning import PlannedPolicy, PlanningLearner
from retorno.policies.exploration import Epsilon, Exploration


class Rollouts(NamedTuple):
    """The mean returns of the actions, by which they are chosen."""

    q: Float[Array, " A"]

    @property
    def preference(self) -> Float[Array, " A"]:
        return self.q


@hyperparameters
class Rollout:
    """The rollout algorithm (Tesauro & Galperin 1997): improves on a base policy in thought. Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"model": Counted(), "simulations": 6, "depth": 5}

    model: ModelConfig = field(default_factory=Exact)
    """What is planned in."""
    base: FixedConfig = field(default_factory=Uniform)
    """The policy that simulations follow after their first action, and that is improved on."""
    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 1
    """Interactions of each environment between two updates, in which a model may be learnt."""
    simulations: Count = 32
    """Of each action, before each choice."""
    depth: Count = 100
    """The most steps of a simulation."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=lambda: Epsilon(0.0))
    """How actions are chosen while learning; a model that is learnt needs some."""

    def init(self, key: Key[Array, ""], spec: Spec) -> PlanningLearner:
        return PlanningLearner.start(self, key, spec, "the rollout algorithm")

    def initial_carry(self, learner: PlanningLearner) -> Carry:
        return ()

    def act(
        self, learner: PlanningLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        planning, choosing = jax.random.split(key)
        plan = self.plan(learner.model, learner.base, row, planning)
        progress = learner.clock.progress
        choice = self.exploration.choice(learner.explorer, plan.preference, row.obs, progress)
        return choice.masked(row.legal).sample(choosing), {"q": plan.q}, carry

    def policy(self, learner: PlanningLearner) -> Policy:
        return PlannedPolicy(learner.model, learner.base, learner.seed, as_arrays(self))

    def update(
        self, learner: PlanningLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[PlanningLearner, Metrics]:
        return learner.update(trajectory.rewarded(reward)), {"value": trajectory.extras["q"].max(-1).mean()}

    def plan(self, model: SampleModel, base: Policy, row: TimeStep, key: Key[Array, ""]) -> Rollouts:
        """Q̂(s, a), the mean return of simulations that begin with a and go on as the base policy."""
        actions = base.step(row.obs, row.first, ())[0]["policy"].logits.shape[0]

        def simulated(number: Int[Array, ""]) -> Float[Array, ""]:
            thinking = jax.random.fold_in(key, number)

            def going(walk: tuple[TimeStep, Array, Array, Array, Array]) -> Array:
                _, _, weight, _, depth = walk
                return (weight != 0) & (depth < self.depth)

            def step(walk: tuple[TimeStep, Array, Array, Array, Array]) -> tuple[TimeStep, Array, Array, Array, Array]:
                row, action, weight, total, depth = walk
                happening, choosing = jax.random.split(jax.random.fold_in(thinking, depth))
                after = model.step(row.obs, action, happening)
                choice = base.step(after.obs, after.first, ())[0]["policy"].masked(after.legal)
                total = total + weight * after.reward
                return after, choice.sample(choosing), weight * self.discount * after.discount, total, depth + 1

            start = (row, number // self.simulations, jnp.float32(1), jnp.float32(0), jnp.int32(0))
            return jax.lax.while_loop(going, step, start)[3]

        # One after another: side by side they take XLA four times as long to compile, and run no faster.
        returns = jax.lax.map(simulated, jnp.arange(actions * self.simulations))
        return Rollouts(returns.reshape(actions, self.simulations).mean(-1))
