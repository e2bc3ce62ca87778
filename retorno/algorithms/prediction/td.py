"""TD(0) and n-step TD: learn a policy's value from a few real rewards and the estimate behind them.

Sutton 1988; Sutton & Barto 2018, sections 6.1, 7.1 and 7.3. A row is learnt from when the n transitions out of
it are known, so n − 1 interactions late; at an episode's end the rest is learnt from while the next
episode begins, in the same order. Off-policy an error is weighed by ρ of its n actions.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory, windows
from retorno.networks import NetworkConfig, Table, ValueHead, require_no_context, semi_gradient_step
from retorno.networks.network import value_of
from retorno.ops.returns import horizon, n_step_return, weights_to_end
from retorno.policies import FixedConfig, Followed, Uniform, followed
from retorno.policies.schedules import StepSize, step_sizes
from retorno.replay.held_rows import HeldRows


class TDLearner(NamedTuple):
    """Everything that changes while TD learns."""

    network: Policy
    followed: Followed
    step_size: StepSize
    clock: Clock
    held: HeldRows | None
    """The n − 1 rows before the next trajectory's first; None where n = 1."""


@hyperparameters
class TD:
    """TD(0) and n-step TD prediction (Sutton 1988). Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"n": 3}

    network: NetworkConfig = field(default_factory=Table)
    """Where the values are held."""
    target: FixedConfig = field(default_factory=Uniform)
    """π, the policy whose value is asked for."""
    behaviour: FixedConfig | None = None
    """b, which acts in its place, and errors are weighed by π/b; None to follow π."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    n: Count = 1
    """Rewards before the estimate; 1 is TD(0)."""
    step_size: NonNegative | None = 0.1
    """α; None for 1/n at the nth visit of an observation."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""

    def init(self, key: Key[Array, ""], spec: Spec) -> TDLearner:
        network = self.network.build(key, spec.observation_space, {"value": ValueHead()})
        return TDLearner(
            network=require_no_context(network, "TD"),
            followed=followed(self.target, self.behaviour, spec),
            step_size=step_sizes(self.step_size, spec, 1),
            clock=Clock.start(spec.steps),
            held=HeldRows.none(spec, self.n - 1, {"ratio": jnp.float32(1)}) if self.n > 1 else None,
        )

    def initial_carry(self, learner: TDLearner) -> Carry:
        return ()

    def act(
        self, learner: TDLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return learner.followed.act(row, key)

    def policy(self, learner: TDLearner) -> Policy:
        return learner.followed.judged(learner.network)

    def update(
        self, learner: TDLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[TDLearner, Metrics]:
        lived, held = trajectory, None
        if learner.held is not None:
            lived, held = learner.held.join(trajectory), learner.held.after(trajectory)
        rows, ratio = lived.rewarded(reward).steps, lived.extras["ratio"]

        def learn(
            state: tuple[Policy, StepSize], window: tuple[TimeStep, Array]
        ) -> tuple[tuple[Policy, StepSize], tuple[Array, Array]]:
            """One row, by the n transitions out of it."""
            (network, step_size), (rows, ratio) = state, window
            row, after = jax.tree.map(lambda x: x[0], rows), jax.tree.map(lambda x: x[1:], rows)
            value = value_of(network, jax.tree.map(lambda x: x[horizon(after.last)], after))
            target = n_step_return(after.reward, self.discount * after.discount, value, after.last)
            # A reset is no transition: nothing is learnt from it.
            error = jnp.where(row.last, 0.0, target - value_of(network, row))
            alpha, step_size = step_size.next(
                self.step_size, self.step_size_end, row.obs, jnp.int32(0), learner.clock.progress, ~row.last
            )
            weight = 1.0 if self.behaviour is None else weights_to_end(ratio, after.last)[0]
            change = alpha * weight * error
            return (semi_gradient_step(network, "value", row.obs, None, change), step_size), (jnp.abs(error), ~row.last)

        length = len(trajectory.action)
        seen = windows(rows, length, self.n + 1), windows(ratio, length, self.n)
        (network, step_size), (errors, counts) = jax.lax.scan(learn, (learner.network, learner.step_size), seen)
        metrics = {"td_error": errors.sum() / jnp.maximum(counts.sum(), 1)}
        return TDLearner(network, learner.followed, step_size, learner.clock.advance(trajectory), held), metrics
