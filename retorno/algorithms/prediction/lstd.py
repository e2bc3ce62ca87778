"""LSTD(λ): the fixed point of TD(λ) over all that was lived, by least squares and without a step size.

Bradtke & Barto 1996; Boyan 2002; Sutton & Barto 2018, section 9.8. A = Σ z (x − γ x′)ᵀ and b = Σ z R; the weights are
A⁻¹ b. The inverse is kept up to date by the Sherman–Morrison formula, so a transition costs d² operations.
Over a table λ = 0 is the certainty-equivalence estimate, which batch TD(0) converges to, and λ = 1 the
mean of every visit's return, which batch Monte Carlo converges to.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, Positive, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import SpaceError, Spec
from retorno.core.time_step import TimeStep, Trajectory, learn_one_after_another
from retorno.networks import NetworkConfig, Table, ValueHead, require_linear
from retorno.networks.network import value_and_slope
from retorno.policies import FixedConfig, Followed, Uniform, followed, weighed

MOST_FEATURES = 20_000


class LSTDLearner(NamedTuple):
    """Everything that changes while LSTD learns."""

    network: Policy
    followed: Followed
    inverse: Float[Array, "d d"]
    """A⁻¹"""
    rewards: Float[Array, " d"]
    """b"""
    trace: Float[Array, "B d"]
    """Already faded."""


@hyperparameters
class LSTD:
    """LSTD(λ) (Bradtke & Barto 1996; Boyan 2002): linear values by least squares. Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"network": Table()}

    seeds_batch: ClassVar[bool] = False
    """The matrix's sums are wide already, and rounded otherwise in a batch of seeds."""

    network: NetworkConfig = field(default_factory=Table)
    """Where the values are held: a table or linear."""
    target: FixedConfig = field(default_factory=Uniform)
    """π, the policy whose value is asked for."""
    behaviour: FixedConfig | None = None
    """b, which acts in its place, and traces are weighed by π/b; None to follow π."""
    num_envs: Count = 1
    """Environments that act side by side; their transitions are learnt from one after another."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    lambda_: UnitInterval = 0.0
    """λ: how slowly traces fade, from 0 (one step) to 1 (Monte Carlo)."""
    regularisation: Positive = 0.01
    """ε: A starts as ε times the identity. Small, but not so small that single precision is lost."""
    discount: UnitInterval = 0.99
    """γ"""

    def init(self, key: Key[Array, ""], spec: Spec) -> LSTDLearner:
        network = require_linear(self.network.build(key, spec.observation_space, {"value": ValueHead()}), "LSTD")
        size = sum(w.size for w in jax.tree.leaves(network))
        if size > MOST_FEATURES:
            raise SpaceError(
                f"LSTD holds a matrix of {size:,}² numbers ({size**2 * 4 / 2**30:,.0f} GiB) for {size:,} features, at "
                f"most {MOST_FEATURES:,} can be had: take fewer features, or TD(λ), which holds no matrix"
            )
        return LSTDLearner(
            network=network,
            followed=followed(self.target, self.behaviour, spec),
            inverse=jnp.eye(size) / self.regularisation,
            rewards=jnp.zeros(size),
            trace=jnp.zeros((spec.num_envs, size)),
        )

    def initial_carry(self, learner: LSTDLearner) -> Carry:
        return ()

    def act(
        self, learner: LSTDLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return learner.followed.act(row, key)

    def policy(self, learner: LSTDLearner) -> Policy:
        return learner.followed.judged(learner.network)

    def update(
        self, learner: LSTDLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[LSTDLearner, Metrics]:
        _, unravel = ravel_pytree(learner.network)

        def features(row: TimeStep) -> Float[Array, " d"]:
            return ravel_pytree(value_and_slope(learner.network, row)[1])[0]

        def learn(state: tuple[Array, Array], x: Any) -> tuple[tuple[Array, Array], tuple[Array, None]]:
            """One environment's transition."""
            (inverse, rewards), (faded, (row, next_row, ratio)) = state, x
            now, discount = features(row), self.discount * next_row.discount
            # A reset is no transition: nothing is learnt from it, and the next episode begins without a trace.
            trace = jnp.where(row.last, 0.0, ratio * (faded + now))
            inverse = sherman_morrison(inverse, trace, now - discount * features(next_row))
            return (inverse, rewards + trace * next_row.reward), (discount * self.lambda_ * trace, None)

        (inverse, rewards), trace, _ = learn_one_after_another(
            learn, (learner.inverse, learner.rewards), learner.trace, weighed(trajectory.rewarded(reward))
        )
        network = unravel(inverse @ rewards)
        return LSTDLearner(network, learner.followed, inverse, rewards, trace), {}


def sherman_morrison(
    inverse: Float[Array, "d d"], left: Float[Array, " d"], right: Float[Array, " d"]
) -> Float[Array, "d d"]:
    """(A + u vᵀ)⁻¹ from A⁻¹.  Sherman & Morrison 1950; Sutton & Barto 2018, eq. 9.22."""
    column, row = inverse @ left, right @ inverse
    return inverse - jnp.outer(column, row / (1 + row @ left))
