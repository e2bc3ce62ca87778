"""Monte Carlo prediction: the value is the mean of the returns that followed; and the off-line λ-return algorithm.

Sutton & Barto 2018, sections 5.1, 5.5, 5.6 and 12.1. An episode is learnt from when it has ended. Off-policy, a
return is weighed by ρ of all actions that led to it: ordinary importance sampling averages the weighed
returns (no bias, perhaps infinite variance), weighted importance sampling divides by the weights. Behind
a time limit's cut stands the present estimate.
"""

from __future__ import annotations

import enum
from dataclasses import field
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters, preset
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import HashableSpace, Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import NetworkConfig, Table, ValueHead, require_no_context, semi_gradient_step
from retorno.networks.network import value_of
from retorno.ops.returns import lambda_returns, weights_to_end
from retorno.policies import FixedConfig, Followed, Uniform, followed
from retorno.policies.schedules import Pairs, StepSize, refuse_unless_finite, step_sizes
from retorno.replay.held_rows import HeldRows, episodes_batch, where_ended


class Weighing(enum.Enum):
    """How returns of another policy's episodes are averaged."""

    ordinary = "ordinary"
    """Σ ρG / n. Sutton & Barto 2018, eq. 5.5."""
    weighted = "weighted"
    """Σ ρG / Σ ρ. Sutton & Barto 2018, eq. 5.6."""


class MonteCarloPredictionLearner(NamedTuple):
    """Everything that changes while Monte Carlo prediction learns."""

    network: Policy
    followed: Followed
    step_size: StepSize
    weight: Float[Array, " S"] | None
    """C, the sum of the weights of each observation's returns, where they are weighted."""
    clock: Clock
    held: HeldRows
    seen: Pairs
    """Numbers the observations."""


@hyperparameters
class MonteCarloPrediction:
    """Monte Carlo prediction, on and off policy (Sutton & Barto 2018, sections 5.1 and 5.5). Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"longest_episode": 12}

    network: NetworkConfig = field(default_factory=Table)
    """Where the values are held."""
    target: FixedConfig = field(default_factory=Uniform)
    """π, the policy whose value is asked for."""
    behaviour: FixedConfig | None = None
    """b, which acts in its place, and returns are weighed by π/b; None to follow π."""
    weighing: Weighing = Weighing.ordinary
    """How returns are averaged where b acts."""
    first_visit: bool = False
    """Learn from the first visit of an observation in an episode alone, not from every one."""
    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 64
    """Interactions of each environment between two updates, which use all episodes that ended in them."""
    longest_episode: Count = 128
    """Rows of an episode under way that are held; of a longer episode only the last so many are learnt from."""
    lambda_: UnitInterval = 1.0
    """λ: 1 takes the returns themselves; below, the more of the estimates on the way, the smaller it is."""
    step_size: NonNegative | None = None
    """α; None for 1/n at the nth return of an observation: the mean of its returns."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""

    def __post_init__(self) -> None:
        if self.weighing is Weighing.weighted and self.step_size is not None:
            raise ValueError(f"weighted importance sampling is a mean: its step size is None, got {self.step_size}")
        if self.behaviour is not None and self.lambda_ < 1:
            raise ValueError("λ-returns off-line are on-policy: use TDLambda or EmphaticTD with a behaviour")

    @property
    def seeds_batch(self) -> bool:
        return episodes_batch(self.network, self.longest_episode, self.rollout)

    def init(self, key: Key[Array, ""], spec: Spec) -> MonteCarloPredictionLearner:
        network = self.network.build(key, spec.observation_space, {"value": ValueHead()})
        weighted, counted = self.weighing is Weighing.weighted, Pairs(HashableSpace(spec.observation_space), 1)
        if self.first_visit:
            refuse_unless_finite(counted, "first visits cannot be told: learn from every one, with first_visit=False")
        if weighted:
            refuse_unless_finite(counted, "the weights of each cannot be summed: use weighing=Weighing.ordinary")
        return MonteCarloPredictionLearner(
            network=require_no_context(network, "Monte Carlo prediction"),
            followed=followed(self.target, self.behaviour, spec),
            step_size=step_sizes(0.0 if weighted else self.step_size, spec, 1),
            weight=jnp.zeros(counted.count) if weighted else None,
            clock=Clock.start(spec.steps),
            held=HeldRows.none(spec, self.longest_episode, {"ratio": jnp.float32(1)}, self.rollout),
            seen=counted,
        )

    def initial_carry(self, learner: MonteCarloPredictionLearner) -> Carry:
        return ()

    def act(
        self, learner: MonteCarloPredictionLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return learner.followed.act(row, key)

    def policy(self, learner: MonteCarloPredictionLearner) -> Policy:
        return learner.followed.judged(learner.network)

    def update(
        self, learner: MonteCarloPredictionLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[MonteCarloPredictionLearner, Metrics]:
        learn = partial(self._learn, learner, trajectory, reward)
        before = (learner.network, learner.step_size, learner.weight)
        (network, step_size, weight), error = where_ended(trajectory, learn, before)
        after = learner._replace(
            network=network,
            step_size=step_size,
            weight=weight,
            clock=learner.clock.advance(trajectory),
            held=learner.held.after(trajectory),
        )
        return after, {"return_error": error, "forgotten": learner.held.forgotten(trajectory)}

    def _learn(
        self,
        learner: MonteCarloPredictionLearner,
        trajectory: Trajectory,
        reward: Reward,
        before: tuple[Policy, StepSize, Array | None],
    ) -> tuple[tuple[Policy, StepSize, Array | None], Float[Array, ""]]:
        """From the episodes that have ended, in the order lived."""
        joined = learner.held.join(trajectory).rewarded(reward)
        rows, counts = joined.steps, learner.held.ended(joined)
        over_envs = lambda f: jax.vmap(f, in_axes=1, out_axes=1)  # noqa: E731
        if self.first_visit:
            counts = counts & over_envs(learner.seen.first_visits)(rows, jnp.zeros_like(joined.action))
        value = unroll_batch(learner.network, rows.obs, rows.first, ())["value"]
        returns = over_envs(lambda r, d, v, cut: lambda_returns(r, d, v, cut, self.lambda_))(
            rows.reward[1:], self.discount * rows.discount[1:], value[1:], rows.last[1:]
        )
        ratios = joined.extras["ratio"]
        if self.behaviour is not None:
            ratios = over_envs(weights_to_end)(ratios, rows.last[1:])

        def learn(state: tuple[Policy, StepSize, Any], x: tuple[TimeStep, Array, Array, Array]) -> tuple[Any, Array]:
            (network, step_size, weight), (row, value, ratio, counted) = state, x
            if weight is None:
                error = ratio * value - value_of(network, row)
                alpha, step_size = step_size.next(
                    self.step_size, self.step_size_end, row.obs, jnp.int32(0), learner.clock.progress, counted
                )
            else:
                error, number = value - value_of(network, row), learner.seen.number(row.obs, jnp.int32(0))
                weight = weight.at[number].add(jnp.where(counted, ratio, 0.0))
                alpha = jnp.where(ratio > 0, ratio / weight[number], 0.0)
            error = jnp.where(counted, error, 0.0)
            network = semi_gradient_step(network, "value", row.obs, None, jnp.where(counted, alpha * error, 0.0))
            return (network, step_size, weight), jnp.abs(error)

        acted = jax.tree.map(lambda x: x[:-1], rows)
        seen = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (acted, returns, ratios, counts))
        after, errors = jax.lax.scan(learn, before, seen)
        return after, errors.sum() / jnp.maximum(counts.sum(), 1)


def LambdaReturn(**settings: Any) -> MonteCarloPrediction:
    """The off-line λ-return algorithm (Watkins 1989; Sutton & Barto 2018, section 12.1). Actions: Discrete."""
    return preset(MonteCarloPrediction, settings, lambda_=0.8, step_size=0.1)
