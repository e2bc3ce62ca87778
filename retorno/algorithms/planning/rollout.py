"""The rollout algorithm: try each action in thought, go on as a base policy would, and take the best.

Tesauro & Galperin 1997; Sutton & Barto 2018, section 8.10. Nothing of a value is kept from one choice to the next.
What is chosen is one step of policy improvement (section 4.2) on the base policy, with action values that are means
of simulated returns: better than the base, and no more than that. Simulations that last longer than `depth` are cut,
and what lies beyond counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key

from retorno.algorithms.planning.planner import Planner
from retorno.core.hyperparameters import Count, hyperparameters
from retorno.core.policy import Policy
from retorno.core.time_step import TimeStep
from retorno.models.tabular import Counted, SampleModel


class Rollouts(NamedTuple):
    """The mean returns of the actions, by which they are chosen."""

    q: Float[Array, " A"]

    @property
    def preference(self) -> Float[Array, " A"]:
        return self.q

    @property
    def extras(self) -> dict[str, Array]:
        return {"q": self.q, "value": self.q.max()}


@hyperparameters
class Rollout(Planner):
    """The rollout algorithm (Tesauro & Galperin 1997): improves on a base policy in thought. Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"model": Counted(), "simulations": 6, "depth": 5}

    simulations: Count = 32
    """Of each action, before each choice."""

    def plans(
        self, model: SampleModel, base: Policy, row: TimeStep, key: Key[Array, ""], after: Sequence[int]
    ) -> Rollouts:
        """Q̂(s, a), the mean return of simulations that begin with a and go on as the base policy: [looks, A]."""
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

            start = (row, number % actions, jnp.float32(1), jnp.float32(0), jnp.int32(0))
            return jax.lax.while_loop(going, step, start)[3]

        # One after another: side by side they take XLA four times as long to compile, and run no faster.
        returns = jax.lax.map(simulated, jnp.arange(after[-1] * actions)).reshape(-1, actions)
        return Rollouts(jnp.stack([returns[:count].mean(0) for count in after]))
