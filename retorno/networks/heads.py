"""Heads: what a network's last numbers mean.

A head is a frozen configuration. It says how many numbers it needs (`outputs`), how large its last
layer starts (`gain`), which parameters it has beside that layer, and how it reads the numbers.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jax import Array
from jaxtyping import Float

from retorno.core.spaces import Mixed, SpaceError, policy_space, require_bounded, width
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Linear, linear
from retorno.ops.distributions import (
    CHUNK,
    Bernoulli,
    Beta,
    Categorical,
    Deterministic,
    Gaussian,
    Joint,
    LinearCategorical,
    MultiCategorical,
    SquashedGaussian,
    StateDependentGaussian,
)

T = TypeVar("T")
LOG_STD_RANGE = (-20.0, 2.0)

Parameters = dict[str, Array]


@runtime_checkable
class Head(Protocol):
    """What every head can do."""

    gain: ClassVar[float]
    """Scale of the last layer's orthogonal initialisation."""

    @property
    def outputs(self) -> int:
        """How many numbers the network has to give."""
        ...

    def parameters(self) -> Parameters:
        """Parameters that do not depend on the observation, as they start."""
        return {}

    def read(self, x: Float[Array, " outputs"], parameters: Parameters) -> Any:
        """The head's answer: an array or a distribution."""
        ...


@runtime_checkable
class LayeredHead(Protocol):
    """What a head has that brings layers of its own, in place of one that gives its `outputs`."""

    def layers(self, draws: Draws, width: int, gain: float | None, last: Any = ...) -> Callable[..., Any]:
        """New ones, from features to what the head reads.

        Args:
            draws: what they start as.
            width: D, of the features.
            gain: of the last one's orthogonal weights; None for PyTorch's default.
            last: makes the last one, of draws, inputs, outputs and gain.
        """
        ...


def require_no_layers(heads: dict[str, Head], network: str) -> None:
    """Raise a ValueError where a head needs features to put layers on, and the network has none."""
    for head in heads.values():
        if isinstance(head, LayeredHead):
            raise ValueError(
                f"{type(head).__name__} brings layers of its own, and {network} has no features for them to read: "
                "choose network=MLP() or another one with layers"
            )


@dataclass(frozen=True)
class CategoricalHead(Head):
    """A choice among `actions` discrete actions."""

    actions: int
    """How many actions there are."""
    gain: ClassVar[float] = 0.01

    @property
    def outputs(self) -> int:
        return self.actions

    def read(self, x: Float[Array, " A"], parameters: Parameters) -> Categorical:
        return Categorical(x)


@dataclass(frozen=True)
class MultiCategoricalHead(Head):
    """Independent choices, one for each component of a MultiDiscrete action."""

    actions: tuple[int, ...]
    """How many actions each component has."""
    gain: ClassVar[float] = 0.01

    @property
    def outputs(self) -> int:
        return sum(self.actions)

    def read(self, x: Float[Array, " A"], parameters: Parameters) -> MultiCategorical:
        ends = tuple(accumulate(self.actions))
        return MultiCategorical(tuple(x[end - size : end] for size, end in zip(self.actions, ends, strict=True)))


@dataclass(frozen=True)
class BernoulliHead(Head):
    """Independent coins, one for each bit of a MultiBinary action."""

    bits: int
    """How many bits there are."""
    gain: ClassVar[float] = 0.01

    @property
    def outputs(self) -> int:
        return self.bits

    def read(self, x: Float[Array, " N"], parameters: Parameters) -> Bernoulli:
        return Bernoulli(x)


@dataclass(frozen=True)
class GaussianHead(Head):
    """A diagonal normal distribution whose standard deviation does not depend on the observation."""

    size: int
    """Length of the action vector."""
    initial_log_std: float = 0.0
    """Natural logarithm of the standard deviation before learning."""
    gain: ClassVar[float] = 0.01

    @property
    def outputs(self) -> int:
        return self.size

    def parameters(self) -> Parameters:
        return {"log_std": jnp.full(self.size, self.initial_log_std, jnp.float32)}

    def read(self, x: Float[Array, " D"], parameters: Parameters) -> Gaussian:
        return Gaussian(x, parameters["log_std"])


@dataclass(frozen=True)
class SquashedGaussianHead(Head):
    """A normal distribution squashed into [−1, 1], its standard deviation read from the observation.

    Haarnoja et al. 2018, appendix C; log σ is clipped to [−20, 2].
    """

    size: int
    """Length of the action vector."""
    gain: ClassVar[float] = 0.01

    @property
    def outputs(self) -> int:
        return 2 * self.size

    def read(self, x: Float[Array, " outputs"], parameters: Parameters) -> SquashedGaussian:
        mean, log_std = jnp.split(x, 2)
        return SquashedGaussian(Gaussian(mean, jnp.clip(log_std, *LOG_STD_RANGE)))


@dataclass(frozen=True)
class StateDependentHead(Head):
    """Generalised state-dependent exploration (Raffin et al. 2022): the noise is a linear function of the features.

    As in the paper's code σ starts at e⁻², for 64 features near a half in size a spread of about .5.
    """

    size: int
    """Length of the action vector."""
    squashed: bool = False
    """Whether actions are squashed into [−1, 1]."""
    initial_log_std: float = -2.0
    """log σ of each weight of the noise before learning."""
    learn_features: bool = False
    """Let the noise's gradient reach the trunk, so that features grow where more entropy is worth it, as the paper's
    code has it for SAC: there σ alone grows too slowly to be seen within thousands of steps."""
    gain: ClassVar[float] = 0.01

    @property
    def outputs(self) -> int:
        return self.size

    def parameters(self) -> Parameters:
        return {}

    def layers(self, draws: Draws, width: int, gain: float | None, last: Any = linear) -> StateDependentNoise:
        mean = last(draws, width, self.size, gain)
        log_scale = jnp.full((width, self.size), self.initial_log_std, jnp.float32)
        return StateDependentNoise(mean, log_scale, self.learn_features)

    def read(self, x: StateDependentGaussian, parameters: Parameters) -> StateDependentGaussian | SquashedGaussian:
        return SquashedGaussian(x) if self.squashed else x


class StateDependentNoise(eqx.Module):
    """A mean, and how large the noise of each feature is."""

    mean: Callable[..., Any]
    log_scale: Float[Array, "F D"]
    learn_features: bool = eqx.field(static=True)

    def __call__(self, features: Float[Array, " F"]) -> StateDependentGaussian:
        log_scale = jnp.clip(self.log_scale, *LOG_STD_RANGE)
        shaping = features if self.learn_features else jax.lax.stop_gradient(features)
        return StateDependentGaussian(self.mean(features), shaping, log_scale)


@dataclass(frozen=True)
class JointHead(Head):
    """Choices and real numbers beside each other, as actions of a Dict or Tuple may ask for."""

    choices: MultiCategoricalHead
    reals: Head
    gain: ClassVar[float] = 0.01

    @property
    def outputs(self) -> int:
        return self.choices.outputs + self.reals.outputs

    def parameters(self) -> Parameters:
        return self.reals.parameters()

    def read(self, x: Float[Array, " outputs"], parameters: Parameters) -> Joint:
        choices, reals = jnp.split(x, [self.choices.outputs])
        return Joint(self.choices.read(choices, {}), self.reals.read(reals, parameters))


@dataclass(frozen=True)
class BetaHead(Head):
    """A beta distribution within [−1, 1], both of its numbers read from the observation. Chou et al. 2017."""

    size: int
    """Length of the action vector."""
    gain: ClassVar[float] = 0.01

    @property
    def outputs(self) -> int:
        return 2 * self.size

    def read(self, x: Float[Array, " outputs"], parameters: Parameters) -> Beta:
        return Beta(*jnp.split(1 + jax.nn.softplus(x), 2))


@dataclass(frozen=True)
class DeterministicHead(Head):
    """One action within [−1, 1], by tanh. Lillicrap et al. 2016."""

    size: int
    """Length of the action vector."""
    gain: ClassVar[float] = 0.01

    @property
    def outputs(self) -> int:
        return self.size

    def read(self, x: Float[Array, " D"], parameters: Parameters) -> Deterministic:
        return Deterministic(jnp.tanh(x))


@dataclass(frozen=True)
class ValueHead(Head):
    """The value of the observation: one number []."""

    gain: ClassVar[float] = 1.0

    @property
    def outputs(self) -> int:
        return 1

    def read(self, x: Float[Array, " 1"], parameters: Parameters) -> Float[Array, ""]:
        return x[0]


@dataclass(frozen=True)
class ActionValueHead(Head):
    """The value of each action: [A]."""

    actions: int
    """How many actions there are."""
    gain: ClassVar[float] = 1.0

    @property
    def outputs(self) -> int:
        return self.actions

    def read(self, x: Float[Array, " A"], parameters: Parameters) -> Float[Array, " A"]:
        return x


class Readout(eqx.Module):
    """A head with its parameters."""

    parameters: Parameters
    head: Head = eqx.field(static=True)

    def __call__(self, x: Any) -> Any:
        return self.head.read(x, self.parameters)

    def of(self, layer: Callable[..., Any], features: Float[Array, " D"]) -> Any:
        """What the head says through its own layer; the logits of a vocabulary, for many rows, would have no room."""
        if isinstance(self.head, CategoricalHead) and self.head.actions > CHUNK:
            return LinearCategorical(features, layer.rows() if isinstance(layer, Linear) else layer)
        return self(layer(features))


class BoxPolicy(enum.Enum):
    """How real numbers are drawn."""

    gaussian = enum.member(GaussianHead)
    """From a normal distribution of one spread everywhere; what leaves the bounds is clipped."""
    squashed = enum.member(SquashedGaussianHead)
    """From one squashed within the bounds, its spread read from the observation."""
    beta = enum.member(BetaHead)
    """From a beta distribution within the bounds."""
    state_dependent = enum.member(StateDependentHead)
    """From a normal distribution whose noise is a linear function of what the network makes of the row (gSDE)."""


def policy_head(action_space: gymnasium.Space[Any], box: BoxPolicy = BoxPolicy.gaussian) -> Head:
    """The head that chooses in an action space: categorical, multi-categorical, Bernoulli, or by real numbers.

    Args:
        action_space: of the world, or as policies act in it.
        box: how real numbers are drawn.

    Raises:
        SpaceError: when no head can, or a Box has no bounds for one that needs some; it says what can be taken.
    """
    match policy_space(action_space):
        case spaces.Discrete(n=n):
            return CategoricalHead(int(n))
        case spaces.MultiDiscrete(nvec=nvec):
            return MultiCategoricalHead(tuple(int(n) for n in nvec))
        case spaces.MultiBinary(shape=(bits,)):
            return BernoulliHead(bits)
        case Mixed(sizes=sizes, reals=reals):
            if box is BoxPolicy.state_dependent:
                raise SpaceError(
                    f"a {box.name} policy draws real numbers alone, got {action_space}: choose box=gaussian, squashed "
                    "or beta"
                )
            return JointHead(MultiCategoricalHead(sizes), policy_head(reals, box))
        case flat:
            if box in (BoxPolicy.squashed, BoxPolicy.beta):
                require_bounded(flat, f"a {box.name} policy")
            return box.value(width(flat))


SPREADS = ("log_std", "log_scale")
"""What the spread of a gaussian and of a state-dependent policy is called among a network's weights."""


def with_spread(network: T, log_std: float | Array) -> T:
    """A network whose policy begins with another spread.

    Args:
        network: with a policy of real numbers.
        log_std: log σ of a gaussian policy's numbers, or of each weight of a state-dependent one's noise.

    Raises:
        ValueError: when the policy has none of its own to begin with, as where it is read from the row.
    """
    leaves, shape = jax.tree_util.tree_flatten_with_path(network)
    begun = [_last_name(path) in SPREADS for path, _ in leaves]
    if not any(begun):
        raise ValueError(
            "this policy has no spread to begin with, got initial_log_std: leave it out, or choose box=gaussian or "
            "state_dependent in a world whose actions are real numbers"
        )
    leaves = [jnp.full_like(x, log_std) if own else x for own, (_, x) in zip(begun, leaves, strict=True)]
    return jax.tree.unflatten(shape, leaves)


def _last_name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path[-1:], simple=True)
