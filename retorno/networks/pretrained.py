"""Networks that begin with weights from elsewhere, of which some stay as they are: constants.

What stays frozen is in no gradient, no optimiser state and no checkpoint, and is held once, whichever policies,
references and reward models refer to it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Bool, Key, PyTree
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from retorno.core import constants
from retorno.core.constants import Constant, ConstantsError, Source, thaw
from retorno.core.policy import Carry, Heads, Policy
from retorno.core.registry import Registry
from retorno.networks.heads import Head
from retorno.networks.network import AnyPolicy, NetworkConfig
from retorno.networks.transformer import Transformer

SOURCES = Registry()
"""Every kind of place that weights come from, by its name."""

PRETRAINED = Registry()
"""Networks that begin with weights from elsewhere, and what else their settings are made of."""

register = SOURCES.register


@register
@dataclass(frozen=True)
class WeightsFile:
    """A file of arrays: safetensors, or NumPy's `.npz` without pickled objects."""

    path: str
    """Where it lies."""

    @property
    def version(self) -> tuple[tuple[str, int, int], ...]:
        """Another once the file is."""
        return versions([Path(self.path)])

    def read(self) -> Mapping[str, np.ndarray]:
        file = Path(self.path)
        try:
            if file.suffix == ".npz":
                with np.load(file, allow_pickle=False) as arrays:
                    return dict(arrays)
            return load_file(file)
        except FileNotFoundError as error:
            raise ConstantsError(
                f"the weights {file.absolute()} are gone: put the file back, or, where it lies elsewhere now, read it "
                f"before: retorno.core.constants.read(WeightsFile(NEW_PATH))"
            ) from error
        except (OSError, SafetensorError, ValueError) as error:
            raise ConstantsError(
                f"{file} cannot be read: {error}; expected safetensors, or .npz without objects"
            ) from error


def versions(files: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """Each file's name, time and size, of those that are there."""
    there = ((file, file.stat()) for file in files if file.exists())
    return tuple((file.name, about.st_mtime_ns, about.st_size) for file, about in there)


def save_weights(path: str | Path, policy: PyTree[Array]) -> WeightsFile:
    """Write a network's arrays under the names by which `Pretrained` finds them, constants among them."""
    save_file({name: np.asarray(leaf) for name, leaf in named(thaw(policy))}, path)
    return WeightsFile(str(path))


def named(tree: PyTree[Any]) -> list[tuple[str, Any]]:
    """A tree's leaves with their names: `trunks/policy/blocks/0/out/weight`."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in paths]


class Frozen(Policy):
    """A policy of whose arrays some, or all, are constants."""

    policy: Policy

    @property
    def context(self) -> int | None:
        return self.policy.context

    def initial_carry(self) -> Carry:
        return thaw(self.policy).initial_carry()

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        return thaw(self.policy).step(obs, first, carry)

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Heads:
        return thaw(self.policy).unroll(obs, first, carry)

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        return thaw(self.policy).read(obs, first, carry)

    def foresee(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> PyTree[Any]:
        return self.policy.foresee(obs, first, carry)

    def select(self, *heads: str) -> Frozen:
        return Frozen(self.policy.select(*heads))


@PRETRAINED.register
@dataclass(frozen=True)
class Pretrained:
    """A network that begins with weights from elsewhere."""

    weights: Source
    """Where they come from. What it has no array for starts as the network's own; one of another shape is refused."""
    frozen: tuple[str, ...] = ("*",)
    """Which arrays stay as they are: patterns of their names, as in `*/blocks/0/*`. All of them by default."""
    network: NetworkConfig = field(default_factory=Transformer)
    """The network that they are the weights of."""

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Frozen:
        """The network, with the weights in their places.

        Raises:
            ConstantsError: when the weights cannot be read, or lack what is to stay frozen.
            ValueError: when they have other shapes than the network, or nothing is called as a pattern says.
        """

        def drawn(key: Key[Array, ""]) -> Policy:
            return self.network.build(key, observation_space, heads)

        names = [name for name, _ in named(jax.eval_shape(drawn, key))]
        for pattern in self.frozen:
            if not fnmatch.filter(names, pattern):
                raise ValueError(f"no array of the network is called as {pattern!r}: they are {', '.join(names)}")
        stays = lambda name: any(fnmatch.fnmatchcase(name, pattern) for pattern in self.frozen)  # noqa: E731
        return Frozen(begin(drawn, key, self.weights, stays))


def begin(
    drawn: Callable[[Key[Array, ""]], AnyPolicy],
    key: Key[Array, ""],
    weights: Source,
    stays: Callable[[str], bool],
    called: Callable[[str], str] = lambda name: name,
    trainable: Callable[[Mapping[str, Any], str], np.ndarray] = lambda arrays, name: np.asarray(arrays[name]),
) -> AnyPolicy:
    """A network that begins with weights from elsewhere; of what they lack it begins as it is drawn.

    Args:
        drawn: makes the network from the key.
        key: of what is drawn.
        weights: where the rest comes from.
        stays: whether an array, by its name in the network, is a constant.
        called: what the weights call an array, by its name in the network.
        trainable: of the weights' arrays, and the name that they have there, one as it is trained on from.

    Raises:
        ConstantsError: when the weights cannot be read, or lack what is to stay.
        ValueError: when they have other shapes than the network.
    """
    digest, arrays = constants.read(weights)
    like = jax.eval_shape(drawn, key)
    leaves, structure = jax.tree.flatten(like)
    names = [name for name, _ in named(like)]

    def placed(name: str, own: jax.ShapeDtypeStruct) -> Any:
        there = called(name)
        if there not in arrays:
            if stays(name):
                raise ConstantsError(f"{weights} has no array {there!r}, which is to stay frozen")
            return None
        given = arrays[there]
        if given.shape != own.shape:
            raise ValueError(f"{there} of {weights} has shape {given.shape}, the network's has {own.shape}")
        return Constant(weights, digest, there) if stays(name) else _start(trainable(arrays, there), own, key)

    begun = list(map(placed, names, leaves))
    if None in begun:
        # In a program no more is drawn than what comes out of it.
        some = lambda key: {name: x for name, x in named(drawn(key)) if called(name) not in arrays}  # noqa: E731
        own = some(key) if isinstance(key, Tracer) else jax.jit(some)(key)
        begun = [own[name] if x is None else x for name, x in zip(names, begun, strict=True)]
    return jax.tree.unflatten(structure, begun)


def _start(given: np.ndarray, own: jax.ShapeDtypeStruct, key: Key[Array, ""]) -> Array:
    """What is trained on from there; inside of a program (where the key is traced) it comes from the host."""
    start = given.astype(own.dtype)
    if not isinstance(key, Tracer):
        return jnp.array(start)
    like = jax.ShapeDtypeStruct(start.shape, start.dtype)
    return jax.pure_callback(lambda _: start, like, jax.random.key_data(key), vmap_method="sequential")
