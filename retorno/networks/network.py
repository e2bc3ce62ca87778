"""A policy made of trunks and heads: what the MLP, the recurrent networks and the transformer share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.core.policy import Carry, Foreseen, Heads, Policy
from retorno.core.scalar import Scalar
from retorno.core.time_step import TimeStep
from retorno.networks.heads import Head, LayeredHead, Readout, ValueHead
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Trunk, TrunkConfig, computed, linear, of_many
from retorno.ops.distributions import Gaussian

SHARED = "shared"

AnyPolicy = TypeVar("AnyPolicy", bound=Policy)


@runtime_checkable
class NetworkConfig(Protocol):
    """The settings of a network: a frozen dataclass that can build it."""

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]) -> Policy:
        """A new network with these heads.

        Raises:
            SpaceError: when the network cannot read the observation space; it says what can.
        """
        ...


class Network(Policy):
    """Heads on trunks: one trunk for each head, by the head's name, or one that all share."""

    trunks: dict[str, Trunk]
    last: dict[str, Any]
    """The layer of each head, or those that it brings; None where it is the first one of its trunk, transposed (Press &
    Wolf 2017)."""
    readouts: dict[str, Readout]
    stopped: tuple[str, ...] = eqx.field(static=True, default=())
    """Heads whose gradient does not reach their trunk."""

    @property
    def context(self) -> int | None:
        return longest_context(*self.trunks.values())

    def initial_carry(self) -> Carry:
        return {name: trunk.initial_carry() for name, trunk in self._remembering.items()} or ()

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        features, after = {}, {}
        for name, trunk in self.trunks.items():
            features[name], after[name] = trunk.step(obs, first, carry[name] if trunk.context != 0 else ())
        return self._heads(features, self._layers()), {name: after[name] for name in self._remembering} or ()

    def unroll(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Heads:
        before = self._before(carry)
        features = {
            name: trunk.unroll(Foreseen.by(name, obs), first, before[name] if trunk.context != 0 else ())
            for name, trunk in self.trunks.items()
        }
        layers = {name: of_many(layer) for name, layer in self._layers().items()}
        return jax.vmap(lambda features: self._heads(features, layers))(features)

    def read(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Carry:
        before = self._before(carry)
        return {name: trunk.read(obs, first, before[name]) for name, trunk in self._remembering.items()} or ()

    def foresee(self, obs: PyTree[Any], first: Bool[Array, " T"], carry: Carry) -> Foreseen:
        before = self._before(carry)
        return Foreseen({name: trunk.foresee(obs, first, before.get(name)) for name, trunk in self.trunks.items()})

    def select(self, *heads: str) -> Network:
        kept = [name for name in self.readouts if name in heads]
        trunks = {self._under(name) for name in kept}
        return Network(
            trunks={name: trunk for name, trunk in self.trunks.items() if name in trunks},
            last={name: self.last[name] for name in kept},
            readouts={name: self.readouts[name] for name in kept},
            stopped=self.stopped,
        )

    @property
    def _remembering(self) -> dict[str, Trunk]:
        return {name: trunk for name, trunk in self.trunks.items() if trunk.context != 0}

    def _before(self, carry: Carry) -> Carry:
        """What each trunk remembers before row 0."""
        return dict.fromkeys(self.trunks) if carry is None else carry

    def _layers(self) -> dict[str, Callable[..., Any]]:
        """The last layer of each head."""
        own = {name: layer for name, layer in self.last.items() if layer is not None}
        return {name: own.get(name) or self.trunks[self._under(name)].transposed() for name in self.last}

    def _heads(self, features: dict[str, Float[Array, " D"]], layers: dict[str, Callable[..., Any]]) -> Heads:
        def features_of(head: str) -> Float[Array, " D"]:
            under = features[self._under(head)]
            return jax.lax.stop_gradient(under) if head in self.stopped else under

        return {name: readout.of(layers[name], features_of(name)) for name, readout in self.readouts.items()}

    def _under(self, head: str) -> str:
        """The name of a head's trunk."""
        return SHARED if SHARED in self.trunks else head


def assemble(
    key: Key[Array, ""],
    heads: dict[str, Head],
    config: TrunkConfig,
    orthogonal: bool,
    width: int,
    trunk: Callable[[Draws], Trunk],
) -> Network:
    """A new network: `trunk(draws)` makes what lies under a head and gives `width` features.

    Raises:
        ValueError: when there is no head, or the gradient of one that is not there should stop.
    """
    draws = Draws(key, config.parameters.dtype)

    def last(head: Head, gain: float | None) -> Callable[..., Any]:
        if isinstance(head, LayeredHead):
            return head.layers(draws, width, gain)
        return linear(draws, width, head.outputs, gain)

    if not heads:
        raise ValueError('a network needs one head or more, for instance heads={"value": ValueHead()}')
    if unknown := set(config.stop_gradient) - set(heads):
        raise ValueError(f"stop_gradient names {sorted(unknown)}, but the heads are {', '.join(heads)}")
    return Network(
        trunks={name: computed(trunk(draws), config) for name in ([SHARED] if config.shared else heads)},
        last={name: last(head, head.gain if orthogonal else None) for name, head in heads.items()},
        readouts={name: Readout(head.parameters(), head) for name, head in heads.items()},
        stopped=config.stop_gradient,
    )


def reading(draws: Draws, reader: NetworkConfig, space: gymnasium.Space[Any]) -> tuple[Trunk, int]:
    """What lies under the heads of a network, for a memory to stand on, and how many features it gives.

    Raises:
        SpaceError: when it cannot read the space.
        ValueError: when it has a memory itself, or is no trunk.
    """
    network = reader.build(draws.key(), space, {"value": ValueHead()})
    if not isinstance(network, Network) or network.context != 0:
        raise ValueError(
            f"a memory stands on what reads each observation by itself, got {type(reader).__name__}: try MLP() or CNN()"
        )
    (trunk,) = network.trunks.values()
    return trunk, len(network.last["value"].weight)


def longest_context(*parts: Policy | Trunk) -> int | None:
    """The context of what is made of these parts: the longest of theirs."""
    contexts = [part.context for part in parts]
    return None if None in contexts else max(contexts)  # pyright: ignore[reportArgumentType]


def require_no_context(network: Policy, algorithm: str) -> Policy:
    """The network itself, where its heads depend on the row alone: its `context` is 0.

    Raises:
        ValueError: when it has a memory, which an algorithm that learns from single transitions cannot use.
    """
    if network.context != 0:
        raise ValueError(
            f"{algorithm} learns from single transitions and cannot use a network with a memory: "
            "choose network=Table() or MLP(), or PPO or REINFORCE, which learn from whole sequences"
        )
    return network


def value_of(network: Policy, row: TimeStep) -> Float[Array, ""]:
    """v(s): the "value" head of a network without memory on one row."""
    return network.step(row.obs, row.first, ())[0]["value"]


def value_and_slope(network: AnyPolicy, row: TimeStep) -> tuple[Float[Array, ""], AnyPolicy]:
    """v(s) and ∇v(s), which has the network's shape."""
    return jax.value_and_grad(lambda weights: value_of(weights, row))(network)


def moved(network: AnyPolicy, step: Scalar, direction: AnyPolicy) -> AnyPolicy:
    """Weights moved along a direction: w + step · direction."""
    return jax.tree.map(lambda w, d: w + step * d, network, direction)


def score_step(network: Policy, row: TimeStep) -> Scalar:
    """What the step along ∇ln π is multiplied with on a row: a Gaussian's least variance, at most 1; else 1.

    A Gaussian's score is z/σ in its mean, without bound as σ falls, so that no step size would be small enough;
    times σ² it is a share of σ. Williams 1992, section 6.
    """
    policy = network.step(row.obs, row.first, ())[0]["policy"]
    return jnp.minimum(policy.least_variance, 1.0) if isinstance(policy, Gaussian) else 1.0


def score_and_slope(network: Policy, row: TimeStep, action: PyTree[Any]) -> tuple[Policy, Policy, Float[Array, ""]]:
    """∇ln π(A|S), ∇v(S), and v(S) of one row."""

    def log_prob(weights: Policy) -> Float[Array, ""]:
        return weights.step(row.obs, row.first, ())[0]["policy"].masked(row.legal).log_prob(action)

    def value(weights: Policy) -> Float[Array, ""]:
        return weights.step(row.obs, row.first, ())[0]["value"]

    v, slope = jax.value_and_grad(value)(network)
    return jax.grad(log_prob)(network), slope, v
