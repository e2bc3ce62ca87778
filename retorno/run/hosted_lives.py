"""A run over hosted environments, looked at after every update: to it what `retorno.run.probe` is to native ones."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int, PyTree, Shaped

from retorno.run.hosted import HostedLoop
from retorno.run.loop import Iteration, Observer, Run
from retorno.run.probe import Probe


class Found(Observer):
    """An observer: what a probe finds after each of K updates."""

    look: Probe = eqx.field(static=True)
    told: PyTree[Shaped[Array, "K ..."]]
    count: Int[Array, ""]

    def see(self, lived: Iteration) -> Found:
        """After one more."""
        put = lambda many, one: many.at[self.count].set(one)  # noqa: E731
        return Found(self.look, jax.tree.map(put, self.told, self.look(lived.after, lived.trajectory)), self.count + 1)


def live(loop: HostedLoop, run: Run, updates: int, look: Probe) -> tuple[Run, PyTree[Shaped[np.ndarray, "K ..."]]]:
    """Go on for `updates` updates: where the run then stands, and what `look` found after each.

    Args:
        loop: the run's loop.
        run: where it stands; its buffers are given away.
        updates: K.
        look: one object for all calls, so that it is compiled once.
    """
    shapes = jax.eval_shape(look, run, loop.lived)
    nothing = jax.tree.map(lambda x: jnp.zeros((updates, *x.shape), x.dtype), shapes)
    advanced = loop.advance(run, Found(look, nothing, jnp.int32(0)), updates * loop.interactions, updates)
    assert isinstance(advanced.seen.observer, Found)
    return advanced.run, jax.device_get(advanced.seen.observer.told)
