"""UCT with rollouts in any world that can be entered (Kocsis & Szepesvári 2006).

`algorithms/planning/uct.py` is the same method where observations can be numbered: it finds a state again that it came
to by another way. Here nothing is numbered, so that games of any size can be searched.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.hyperparameters import Positive, hyperparameters
from retorno.core.policy import Carry, Heads, WithoutMemory
from retorno.core.time_step import allowed
from retorno.models.tabular import SampleModel
from retorno.ops.distributions import Categorical
from retorno.search.tree import LEAST, Evaluated, Seen, best, grow
from retorno.search.trees import Evaluator, Grown, Step, TreeSearch, imagined, or_chance

LONGEST = 1_000
"""Steps of a rollout, at most; what lies beyond counts for nothing."""


@hyperparameters
class UCB(TreeSearch):
    """The action with the highest upper confidence bound at each place, those first that were never tried."""

    confidence: Positive = 1.4142135
    """c of the bound, for returns in [−1, 1]."""

    def grown(self, root: Evaluated, step: Step, key: Key[Array, ""], exploring: bool) -> Grown:
        stepping, choosing = jax.random.split(key)
        untried = 1e6 + jax.random.uniform(choosing, root.prior.shape)

        def select(seen: Seen) -> Int[Array, ""]:
            bonus = jnp.sqrt(jnp.log(jnp.maximum(seen.visits.sum(), 1)) / jnp.maximum(seen.visits, 1))
            bound = jnp.where(seen.visits > 0, seen.q + self.confidence * bonus, untried)
            return best(or_chance(seen, jnp.where(seen.prior > LEAST, bound, -jnp.inf)))

        tree = grow(root, step, lambda seen, _: select(seen), select, stepping, self.simulations)
        visits = tree.seen(0).visits
        return tree, best(visits), visits / self.simulations


class UCTPolicy(WithoutMemory):
    """Thinks anew on each row, by simulations that end in random play."""

    model: SampleModel
    config: UCB

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        row = self.model.enter(obs)
        actions = jax.eval_shape(lambda: allowed(row.legal, jnp.zeros(_actions(self.model)))).shape[0]
        found = self.config.search(self.model, rollouts(self.model, actions), row, jax.random.key(0))
        logits = jnp.log(jnp.maximum(found.policy, 1e-9)).at[found.action].add(1e-3)
        return {"policy": Categorical(logits), "value": found.value, "q": found.q}, ()


def _actions(model: SampleModel) -> int:
    return int(imagined(model).action_space.n)  # type: ignore[union-attr]


def rollouts(model: SampleModel, actions: int) -> Evaluator:
    """An evaluator that knows nothing, and plays at random to the end to see what comes of it."""
    world: Any = imagined(model)

    def evaluator(obs: PyTree[Any]) -> tuple[Float[Array, " A"], Float[Array, ""]]:
        # Which random game is played follows from the position: it has no other key.
        bits = [jnp.asarray(x).astype(jnp.uint32).reshape(-1) for x in jax.tree.leaves(obs)]
        mixed = sum(
            (each * (2 * jnp.arange(each.size, dtype=jnp.uint32) + 1) * jnp.uint32(2654435761)).sum() for each in bits
        )
        key = jax.random.key(jnp.asarray(mixed, jnp.uint32))
        state, row = world.enter(obs)

        def going(at: tuple[Any, Any, Array, Array, Array]) -> Bool[Array, ""]:
            # Also from where a game is over: there may be nothing that is legal, and never be.
            able = jnp.isfinite(allowed(at[1].legal, jnp.zeros(actions))).any()
            return (at[3] != 0) & (at[4] < LONGEST) & able

        def step(at: tuple[Any, Any, Array, Array, Array]) -> tuple[Any, Any, Array, Array, Array]:
            state, row, total, weight, t = at
            choosing, happening = jax.random.split(jax.random.fold_in(key, t))
            action = jax.random.categorical(choosing, allowed(row.legal, jnp.zeros(actions)))
            state, row = world.step(state, action, happening)
            return state, row, total + weight * row.reward, weight * row.discount, t + 1

        start = (state, row._replace(discount=jnp.float32(1)), jnp.float32(0), jnp.float32(1), jnp.int32(0))
        return jnp.zeros(actions), jax.lax.while_loop(going, step, start)[2]

    return evaluator
