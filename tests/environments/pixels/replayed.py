"""Our games played as others were."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from retorno.environments.registry import make


def difference(name: str, rows: dict[str, Any], ramping: bool = True) -> str | None:
    """Where a game of ours differs from recorded rows; None where it does nowhere."""
    game: Any = make(f"minatar/{name}", ramping=ramping, max_episode_steps=None)
    leaves = [rows[f"chance{k}"] for k in range(sum(each.startswith("chance") for each in rows))]
    shape = jax.tree.structure(jax.eval_shape(game.chance, jax.random.key(0)))

    @jax.jit
    def replay(leaves: Any, begins: Any, action: Any) -> Any:
        def step(state: Any, row: Any) -> Any:
            leaves, begins, action = row
            chance = jax.tree.unflatten(shape, leaves)
            begun = game.start(chance)
            after, reward, over = game.play(state, action, chance)
            state = jax.tree.map(lambda a, b: jnp.where(begins, a, b), begun, after)
            return state, (game.screen(state), reward * ~begins, over & ~begins)

        first = game.start(jax.tree.unflatten(shape, [each[0] for each in leaves]))
        return jax.lax.scan(step, first, (leaves, begins, action))[1]

    told = dict(zip(("screen", "reward", "over"), replay(leaves, rows["begins"], rows["action"]), strict=True))
    for name, ours in told.items():
        theirs = rows[name]
        wrong = (np.asarray(ours) != theirs).reshape(len(theirs), -1).any(1)
        if wrong.any():
            row = int(np.argmax(wrong))
            return f"{wrong.sum()} of {len(theirs)} rows differ in {name}, the first is number {row}"
    return None
