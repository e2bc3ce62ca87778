"""Layers that leave something to chance while one learns, or explores."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import equinox as eqx
import jax
from jax import Array
from jaxtyping import Key

AnyTree = TypeVar("AnyTree")


class Chance(eqx.Module):
    """A layer with a field `key` that decides something; where it is None nothing is left to chance."""


def drawn(network: AnyTree, key: Key[Array, ""]) -> AnyTree:
    """The same network with keys in its layers that leave something to chance: for one gradient step, or one row.

    Args:
        network: a pytree of modules.
        key: each such layer's own one follows from it.
    """
    chancy = lambda x: isinstance(x, Chance)  # noqa: E731
    parts, structure = jax.tree.flatten(network, is_leaf=chancy)
    keys = iter(jax.random.split(key, max(sum(map(chancy, parts)), 1)))
    return jax.tree.unflatten(structure, [replace(x, key=next(keys)) if chancy(x) else x for x in parts])
