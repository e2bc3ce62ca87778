"""Learn a model by counting, and act by what is best in it: three ways to treat what is not known yet.

- Certainty equivalence takes the most likely model for the truth (Kumar & Varaiya 1986, chapter 8; Sutton & Barto
  2018, section 6.3 names it); it has to be made to explore.
- R-max takes everything that was tried less than m times for paradise, and so goes there
  (Brafman & Tennenholtz 2002).
- Posterior sampling draws a model from what is believed, and acts for an episode as if it were true
  (Strens 2000; Osband, Russo & Van Roy 2013).

All are solved inside the compiled update by sweeps of value iteration, which go on from the values before.
Models are tables over states × actions × next states.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, PyTree

from retorno.core.hyperparameters import Count, Positive, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.scalar import Scalar
from retorno.core.spaces import Spec, num_actions, require_one_player
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.models.tabular import CountedModel, counted_model
from retorno.networks import ActionValueHead, Table, TableNetwork
from retorno.ops.distributions import EpsilonGreedy
from retorno.ops.planning import value_iteration
from retorno.policies import EpsilonGreedyPolicy
from retorno.policies.exploration import Epsilon, Exploration, Explorer, explore


class ModelLearner(NamedTuple):
    """A counted model, and the action values that solve it."""

    network: TableNetwork
    model: CountedModel
    explorer: Explorer | None
    clock: Clock


@hyperparameters
class CertaintyEquivalence:
    """Certainty equivalence (Kumar & Varaiya 1986): the best policy of the most likely model. Observations: finite."""

    SMALL: ClassVar[dict[str, Any]] = {"sweeps": 4}

    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    discount: UnitInterval = 0.99
    """γ"""
    exploration: Exploration = field(default_factory=Epsilon)
    """How actions are chosen while learning."""
    sweeps: Count = 10
    """Of value iteration at each update, going on from the values before."""
    initial: float = 0.0
    """What an action is worth that was never tried."""

    def init(self, key: Key[Array, ""], spec: Spec) -> ModelLearner:
        actions = num_actions(spec.action_space, "certainty equivalence")
        model = counted_model(spec, actions, "certainty equivalence")
        network = _table(key, spec, actions, self.initial)
        return ModelLearner(network, model, self.exploration.start(spec, actions), Clock.start(spec.steps))

    def initial_carry(self, learner: ModelLearner) -> Carry:
        return ()

    def act(
        self, learner: ModelLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        assert learner.explorer is not None
        action = explore(learner.network, self.exploration, learner.explorer, row, learner.clock.progress, key)
        return action, (), carry

    def policy(self, learner: ModelLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: ModelLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[ModelLearner, Metrics]:
        assert learner.explorer is not None
        model = learner.model.update(trajectory.rewarded(reward))
        network, change = _solved(learner.network, model, 1, self.discount, self.sweeps)
        explorer = learner.explorer.update(trajectory)
        return ModelLearner(network, model, explorer, learner.clock.advance(trajectory)), {"change": change}


@hyperparameters
class RMax:
    """R-max (Brafman & Tennenholtz 2002): what is not known pays the most there is. Observations: finite."""

    NAME: ClassVar[str] = "rmax"

    SMALL: ClassVar[dict[str, Any]] = {"sweeps": 4, "known": 1}

    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    discount: UnitInterval = 0.99
    """γ, below 1."""
    reward_max: float = 1.0
    """The largest reward that a step can pay."""
    known: Count = 5
    """m, the trials after which an action's counts are believed; 1 where the world has no chance."""
    sweeps: Count = 10
    """Of value iteration at each update, going down from the values before."""

    def __post_init__(self) -> None:
        if self.discount == 1:
            raise ValueError("R-max needs a discount below 1, for paradise is worth reward_max / (1 − γ), got 1")

    def init(self, key: Key[Array, ""], spec: Spec) -> ModelLearner:
        require_one_player(spec, "R-max", "what is not known cannot be paradise for both")
        actions = num_actions(spec.action_space, "R-max")
        network = _table(key, spec, actions, self.reward_max / (1 - self.discount))
        return ModelLearner(network, counted_model(spec, actions, "R-max"), None, Clock.start(spec.steps))

    def initial_carry(self, learner: ModelLearner) -> Carry:
        return ()

    def act(
        self, learner: ModelLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        q = learner.network.step(row.obs, row.first, ())[0]["q"]
        return EpsilonGreedy(q, jnp.float32(0)).masked(row.legal).sample(key), (), carry

    def policy(self, learner: ModelLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: ModelLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[ModelLearner, Metrics]:
        model = learner.model.update(trajectory.rewarded(reward))
        network, change = _solved(learner.network, model, self.known, self.discount, self.sweeps)
        return ModelLearner(network, model, None, learner.clock.advance(trajectory)), {"change": change}


class SamplingLearner(NamedTuple):
    """What is believed, and what is played as if it were true."""

    network: TableNetwork
    """Values of the most likely model."""
    played: TableNetwork
    """Values of the model drawn last."""
    model: CountedModel
    age: Int[Array, ""]
    """Interactions since it was drawn."""
    clock: Clock


@hyperparameters
class PSRL:
    """Posterior sampling (Strens 2000; Osband et al. 2013): act in a model that may be true. Observations: finite."""

    SMALL: ClassVar[dict[str, Any]] = {"sweeps": 4}

    num_envs: Count = 1
    """Environments that act side by side, in one drawn model."""
    rollout: Count = 1
    """Interactions of each environment between two updates; a model is drawn at most once in each."""
    discount: UnitInterval = 0.99
    """γ"""
    period: Count = 100
    """Interactions after which another model is drawn, if no episode has ended before."""
    sweeps: Count = 50
    """Of value iteration in a drawn model, from the values of the one before."""
    concentration: Positive = 1.0
    """Of the Dirichlet prior: how many trials it counts for, spread evenly over all outcomes."""
    reward_mean: float = 0.0
    """What a reward is believed to be before it is seen, …"""
    reward_deviation: Positive = 1.0
    """… give or take. The normal prior's standard deviation; set it to the size of the rewards."""
    reward_noise: Positive = 1.0
    """How far single rewards are believed to lie around their mean: the normal likelihood's standard deviation."""

    def init(self, key: Key[Array, ""], spec: Spec) -> SamplingLearner:
        actions = num_actions(spec.action_space, "posterior sampling")
        model = counted_model(spec, actions, "posterior sampling")
        network = _table(key, spec, actions, 0.0)
        return SamplingLearner(network, network, model, jnp.int32(0), Clock.start(spec.steps))

    def initial_carry(self, learner: SamplingLearner) -> Carry:
        return ()

    def act(
        self, learner: SamplingLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        q = learner.played.step(row.obs, row.first, ())[0]["q"]
        return EpsilonGreedy(q, jnp.float32(0)).masked(row.legal).sample(key), (), carry

    def policy(self, learner: SamplingLearner) -> Policy:
        return EpsilonGreedyPolicy(learner.network, jnp.float32(0))

    def update(
        self, learner: SamplingLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[SamplingLearner, Metrics]:
        model = learner.model.update(trajectory.rewarded(reward))
        network, change = _solved(learner.network, model, 1, self.discount, self.sweeps)
        age = learner.age + self.rollout
        draws = trajectory.steps.last.any() | (age >= self.period)
        played = jax.lax.cond(draws, lambda: self._drawn(learner.played, model, key), lambda: learner.played)
        clock = learner.clock.advance(trajectory)
        return SamplingLearner(network, played, model, jnp.where(draws, 0, age), clock), {"change": change}

    def _drawn(self, played: TableNetwork, model: CountedModel, key: Key[Array, ""]) -> TableNetwork:
        """The best values in a model drawn from the posterior: Dirichlet for what follows, normal for rewards."""
        outcomes, rewards = jax.random.split(key)
        onward, count = model.onward.value, model.count.value
        went_on = jnp.abs(onward)
        # Who moves next where nothing was seen: whoever mostly does.
        turn = jnp.where(onward == 0, jnp.where(onward.sum() < 0, -1.0, 1.0), jnp.sign(onward))
        ended = count - went_on.sum(-1)
        seen = jnp.concatenate([went_on, jnp.maximum(ended, 0.0)[..., None]], -1)
        chances = jax.random.dirichlet(outcomes, seen + self.concentration / seen.shape[-1])
        precision = 1 / self.reward_deviation**2 + count / self.reward_noise**2
        mean = (self.reward_mean / self.reward_deviation**2 + model.reward.value / self.reward_noise**2) / precision
        reward = mean + jax.random.normal(rewards, mean.shape) / jnp.sqrt(precision)
        everything = jnp.ones_like(count, bool)
        q = value_iteration(
            played.tables["q"], reward, turn * chances[..., :-1], everything, model.legal, self.discount, self.sweeps
        )
        return replace(played, tables={"q": q})


def _table(key: Key[Array, ""], spec: Spec, actions: int, initial: Scalar) -> TableNetwork:
    return Table(initial).build(key, spec.observation_space, {"q": ActionValueHead(actions)})  # type: ignore[arg-type]


def _solved(
    network: TableNetwork, model: CountedModel, trials: int, discount: Scalar, sweeps: int
) -> tuple[TableNetwork, Float[Array, ""]]:
    """Values of the most likely model of what was tried so often, and the largest change from those before."""
    q = network.tables["q"]
    known = model.count.value >= trials
    after = value_iteration(q, model.mean_reward, model.onward_chance, known, model.legal, discount, sweeps)
    return replace(network, tables={"q": after}), jnp.abs(after - q).max()
