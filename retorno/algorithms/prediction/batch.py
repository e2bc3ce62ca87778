"""Batch TD and batch Monte Carlo: all that was lived is gone through again and again, as one batch.

Sutton & Barto 2018, section 6.3. Each sweep moves the weights once, by the mean over all transitions, so that with
small steps the weights settle: batch Monte Carlo on the mean of the returns that were seen, batch TD(0)
on the exact value of the process that most likely made what was seen (certainty equivalence). Behind
the newest row of an episode under way stands the present estimate.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters, preset
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import NetworkConfig, Table, ValueHead, require_no_context
from retorno.networks.network import moved
from retorno.ops.objectives import linear
from retorno.ops.returns import lambda_returns
from retorno.policies import FixedConfig, Followed, Uniform, followed
from retorno.replay.held_rows import HeldRows


class BatchLearner(NamedTuple):
    """Everything that changes while a batch method learns."""

    network: Policy
    followed: Followed
    clock: Clock
    held: HeldRows
    """What was lived."""


@hyperparameters
class BatchTD:
    """Batch TD(0) (Sutton & Barto 2018, section 6.3): settles on certainty equivalence. Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"capacity": 64, "sweeps": 4}

    network: NetworkConfig = field(default_factory=Table)
    """Where the values are held."""
    target: FixedConfig = field(default_factory=Uniform)
    """π, the policy whose value is asked for."""
    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 64
    """Interactions of each environment between two updates."""
    capacity: Count = 1024
    """Rows of each environment that are held; older ones are forgotten."""
    sweeps: Count = 100
    """How often all of it is gone through in an update."""
    lambda_: UnitInterval = 0.0
    """λ of the returns that are learnt from: 0 one step ahead (TD), 1 to the episode's end (Monte Carlo)."""
    step_size: NonNegative = 1.0
    """α, of the mean over all transitions: below 1 over a table it is stable."""
    step_size_end: NonNegative | None = None
    """α at the end of the run, reached in a straight line; None to keep it."""
    discount: UnitInterval = 0.99
    """γ"""

    def init(self, key: Key[Array, ""], spec: Spec) -> BatchLearner:
        network = self.network.build(key, spec.observation_space, {"value": ValueHead()})
        return BatchLearner(
            network=require_no_context(network, "batch prediction"),
            followed=followed(self.target, None, spec),
            clock=Clock.start(spec.steps),
            held=HeldRows.none(spec, self.capacity, ()),
        )

    def initial_carry(self, learner: BatchLearner) -> Carry:
        return ()

    def act(
        self, learner: BatchLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        action, _, carry = learner.followed.act(row, key)
        return action, (), carry

    def policy(self, learner: BatchLearner) -> Policy:
        return learner.followed.judged(learner.network)

    def update(
        self, learner: BatchLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[BatchLearner, Metrics]:
        rows = learner.held.join(trajectory).rewarded(reward).steps
        counts = ~rows.last[:-1]
        alpha = linear(self.step_size, self.step_size_end, learner.clock.progress)
        targets = jax.vmap(lambda r, d, v, cut: lambda_returns(r, d, v, cut, self.lambda_), in_axes=1, out_axes=1)

        def sweep(network: Policy, nothing: None) -> tuple[Policy, Array]:
            value, pull = jax.vjp(lambda w: unroll_batch(w, rows.obs, rows.first, ())["value"], network)
            discount = self.discount * rows.discount[1:]
            error = targets(rows.reward[1:], discount, value[1:], rows.last[1:]) - value[:-1]
            error = jnp.where(counts, error, 0.0) / jnp.maximum(counts.sum(), 1)
            (direction,) = pull(jnp.concatenate([error, jnp.zeros_like(error[:1])]))
            return moved(network, alpha, direction), jnp.abs(error).sum()

        network, errors = jax.lax.scan(sweep, learner.network, None, length=self.sweeps)
        clock, held = learner.clock.advance(trajectory), learner.held.after(trajectory)
        return BatchLearner(network, learner.followed, clock, held), {"batch_error": errors[-1]}


def BatchMonteCarlo(**settings: Any) -> BatchTD:
    """Batch Monte Carlo (Sutton & Barto 2018, section 6.3): settles on the mean return seen. Actions: Discrete."""
    return preset(BatchTD, settings, lambda_=1.0)
