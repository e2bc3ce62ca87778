"""A pretrained decoder as a network: heads on it as on any other, and what is not trained is constant."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Key

from retorno.core.constants import thaw
from retorno.core.hyperparameters import Count, settings
from retorno.core.policy import Policy
from retorno.core.spaces import SpaceError
from retorno.language.architecture import ModelError
from retorno.language.stored import Storage, StoredModel, scale_of
from retorno.language.trained import LoRA, Trained, is_trained, merged
from retorno.language.weights import places
from retorno.networks.composed import AtTemperature, Parts
from retorno.networks.heads import CategoricalHead, Head, Readout
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Linear, Rows, linear
from retorno.networks.network import SHARED, Network
from retorno.networks.normalisers import Normalised
from retorno.networks.pretrained import PRETRAINED, Frozen, begin, named
from retorno.networks.transformer import Causal

POLICY = "policy"
"""The head that chooses the next token: the model's own last layer."""
EMBEDDING, LAST = "input/tokens/weight", "last/weight"
"""What the model's first layer and its last are called; where both are one it has no array for the last."""


@PRETRAINED.register
@settings
class Decoder:
    """A pretrained language model as a network: tokens are observed, tokens are chosen."""

    weights: StoredModel = StoredModel("smollm2")
    """Where it lies."""
    trained: Trained = field(default_factory=LoRA)
    """What of it is trained; the rest is constant, in no gradient, optimiser or checkpoint."""
    window: Count = 512
    """How many tokens a row sees, itself included; the cache holds as many."""
    shared: bool = True
    """Whether all heads stand on one trunk; else each on its own, of which what is constant is held once."""
    stop_gradient: tuple[str, ...] = ()
    """Heads whose gradient does not reach what lies under them."""
    rematerialise: bool = False
    """Compute each block again for the gradient instead of keeping what is inside it: less memory, more work."""

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Frozen:
        """The network. Its "policy" head is the model's own; others begin as those of any network.

        Raises:
            ModelError: when the model cannot be read.
            SpaceError: when tokens observed or chosen are not those of the model.
            ValueError: when a head named in `stop_gradient` is not there.
        """
        architecture = self.weights.architecture
        size = architecture.vocabulary
        chosen = [head.actions for head in heads.values() if isinstance(head, CategoricalHead)]
        if observation_space != spaces.Discrete(size) or any(n != size for n in chosen):
            raise SpaceError(
                f"{self.weights.model} reads and writes {size} tokens, but the world's observations are "
                f"{observation_space} and its actions {chosen}: it needs Discrete({size}) for both"
            )
        if unknown := set(self.stop_gradient) - set(heads):
            raise ValueError(f"stop_gradient names {sorted(unknown)}, but the heads are {', '.join(heads)}")
        if self.window > architecture.longest:
            raise ModelError(
                f"{self.weights.model} was made for texts of {architecture.longest} tokens, got window={self.window}"
            )

        def drawn(key: Key[Array, ""]) -> Network:
            draws = Draws(key)
            trunk = lambda: architecture.trunk(draws, self.window, self.rematerialise)  # noqa: E731
            network = Network(
                trunks={name: self.trained.adapted(trunk(), draws) for name in ([SHARED] if self.shared else heads)},
                last={name: last(draws, name, head) for name, head in heads.items()},
                readouts={name: Readout(head.parameters(), head) for name, head in heads.items()},
                stopped=self.stop_gradient,
            )
            return with_scales(network, stays) if self.weights.storage is Storage.int8 else network

        def last(draws: Draws, name: str, head: Head) -> Linear | Rows | None:
            if name != POLICY:
                return linear(draws, architecture.width, head.outputs, head.gain)
            return None if architecture.tied else Rows(draws.normal((size, architecture.width), 0.02))

        def stays(name: str) -> bool:
            own = _called(name)
            return own in arrays and not is_trained(own, self.trained, architecture.layers)

        arrays = {place.name for place in places(architecture)}
        arrays |= {scale_of(name) for name in arrays if name.endswith("weight")}
        return Frozen(begin(drawn, key, self.weights, stays, _called, trainable))


def with_scales(network: Network, stays: Callable[[str], bool]) -> Network:
    """The network with a scale for each row of the matrices that stay as they are, which are whole numbers then."""

    def one(path: tuple[Any, ...], node: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not (isinstance(node, Rows) and stays(f"{name}/weight")):
            return node
        return replace(node, scale=jnp.ones(node.weight.shape[0]))

    return jax.tree_util.tree_map_with_path(one, network, is_leaf=lambda node: isinstance(node, Rows))


def trainable(arrays: Mapping[str, Any], name: str) -> np.ndarray:
    """An array to train, where what stays may be whole numbers times a scale."""
    array, scale = np.asarray(arrays[name]), arrays.get(scale_of(name)) if name.endswith("weight") else None
    return array if scale is None else array * np.asarray(scale)[:, None]


def _called(name: str) -> str:
    """What the model calls an array of the network.

    >>> _called("trunks/shared/blocks/0/out/layer/weight"), _called("last/policy/weight")
    ('blocks/0/out/weight', 'last/weight')
    """
    return re.sub(r"^trunks/[^/]*/", "", name).replace("/layer/", "/").replace(f"last/{POLICY}/", "last/")


def network_of(policy: Policy) -> Network:
    """The network in a policy, with its arrays.

    Raises:
        ModelError: when it is no language model's.
    """
    policy = thaw(_within(policy))
    if not (isinstance(policy, Network) and POLICY in policy.last and isinstance(trunk_of(policy), Causal)):
        raise ModelError(f"expected a language model's policy, got {type(policy).__name__}")
    return policy


def _within(policy: Policy) -> Policy:
    """What chooses, without what stands around it or beside it."""
    while isinstance(policy, Frozen | Normalised | AtTemperature | Parts):
        policy = policy.select(POLICY).parts[0] if isinstance(policy, Parts) else policy.policy
    return policy


def temperature_of(policy: Policy) -> float:
    """What a policy's logits are divided by."""
    if isinstance(policy, Parts):
        return temperature_of(policy.select(POLICY).parts[0])
    own = policy.temperature if isinstance(policy, AtTemperature) else 1.0
    within = isinstance(policy, Frozen | Normalised | AtTemperature)
    return own * temperature_of(policy.policy) if within else own


def trunk_of(network: Network) -> Causal:
    """What lies under the head that chooses tokens."""
    return network.trunks.get(SHARED) or network.trunks[POLICY]  # pyright: ignore[reportReturnType]


def arrays_of(policy: Policy) -> dict[str, Array]:
    """A decoder's arrays by our names, those of low-rank layers added to where they belong.

    One at a temperature has a last layer of its own, divided by it: so it is the model that it was while it learnt.
    """
    network, temperature = network_of(policy), temperature_of(policy)
    trunk, last = merged(trunk_of(network)), network.last[POLICY]
    arrays = dict(named(trunk))
    if isinstance(last, Rows) or temperature != 1:
        own = last.whole() if isinstance(last, Rows) else arrays[EMBEDDING]
        arrays[LAST] = own / temperature
    return arrays


def with_window(policy: Policy, window: int) -> Policy:
    """The same policy with room for so many tokens."""
    if isinstance(policy, Frozen | Normalised | AtTemperature):
        return replace(policy, policy=with_window(policy.policy, window))
    if isinstance(policy, Parts):
        return replace(policy, parts=tuple(with_window(part, window) for part in policy.parts))
    assert isinstance(policy, Network)
    return replace(policy, trunks={name: replace(trunk, window=window) for name, trunk in policy.trunks.items()})
