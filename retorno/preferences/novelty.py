"""What is paid while nobody has said yet what is good: being where one seldom was. Liu & Abbeel 2021; Lee et al. 2021.

An agent that has seen much of its world before it asks, asks about more than its first clumsy steps (PEBBLE).
"""

from __future__ import annotations

import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, settings
from retorno.core.spaces import HashableSpace, encode, width
from retorno.networks.normalisers import ObservationNormaliser
from retorno.ops.novelty import particle_entropy
from retorno.replay import Ring


@settings
class StateEntropy:
    """Pays the distance from where one was lately, so that the states that are seen are spread as widely as can be."""

    neighbour: Count = 5
    """k: the distance is that to the k-th nearest."""
    among: Count = 256
    """Of so many states, drawn from those lived lately."""

    def build(self, space: spaces.Space) -> Novelty:
        """Nothing is known yet."""
        known = jnp.zeros((self.among, width(space)))
        return Novelty(known, jnp.float32(0), jnp.float32(1), HashableSpace(space), self)


class Novelty(eqx.Module):
    """States that are known, and what being far from them pays."""

    known: Float[Array, "N D"]
    middle: Float[Array, ""]
    spread: Float[Array, ""]
    """Of what is paid for these themselves: it is standardised."""
    space: HashableSpace = eqx.field(static=True)
    settings: StateEntropy = eqx.field(static=True)

    def updated(self, recent: Ring, observed: ObservationNormaliser, key: Key[Array, ""]) -> Novelty:
        """With other states, of those lived lately."""
        lived = recent.sample(key, math.ceil(self.settings.among / recent.length)).trajectory
        flat = jax.tree.map(lambda x: x[1:].reshape(-1, *x.shape[2:])[: self.settings.among], lived.steps.obs)
        known = jax.vmap(lambda obs: encode(self.space.space, observed(obs)))(flat)
        # Each is the nearest to itself.
        paid = _entropy(known, known, self.settings.neighbour + 1)
        return replace(self, known=known, middle=paid.mean(), spread=jnp.maximum(paid.std(), 1e-6))

    def reward(self, obs: PyTree[Array], observed: ObservationNormaliser) -> Float[Array, "T B"]:
        """What being in each of some places [T, B] pays."""
        rows = jax.vmap(jax.vmap(lambda each: encode(self.space.space, observed(each))))(obs)
        paid = _entropy(rows.reshape(-1, rows.shape[-1]), self.known, self.settings.neighbour)
        return ((paid - self.middle) / self.spread).reshape(rows.shape[:2])


def _entropy(rows: Float[Array, "R D"], known: Float[Array, "N D"], neighbour: int) -> Float[Array, " R"]:
    return jax.vmap(particle_entropy, (0, None, None))(rows, known, min(neighbour, len(known)))
