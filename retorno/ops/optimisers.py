"""Optimisers are configuration: frozen dataclasses of numbers that are built into Optax's transformations.

A learning rate changes over the *run*: schedules read how much of its budget is used, so they go on where they
stood when a run is resumed, and mean the same whatever the number of environments or gradient steps.
"""

from __future__ import annotations

import abc
import enum
from typing import Annotated, Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float

from retorno.core.hyperparameters import Between, Count, NonNegative, Positive, UnitInterval, hyperparameters
from retorno.core.registry import Registry
from retorno.core.scalar import Scalar
from retorno.ops.objectives import linear

Weights = TypeVar("Weights")
LearningRate = Annotated[NonNegative, Between(1e-5, 1e-2, log=True)]

FLAT = 2**14
"""Up to so many weights are moved as one long vector: of more, to copy them costs more than it saves."""


class Schedule(enum.Enum):
    """How a learning rate goes on after its warm-up, until the end of the run."""

    constant = "constant"
    """As it is."""
    linear = "linear"
    """In a straight line to `learning_rate_end`."""
    cosine = "cosine"
    """By half a cosine wave to `learning_rate_end`. Loshchilov & Hutter 2017, eq. 5, without restarts."""


@hyperparameters
class Optimiser(abc.ABC):
    """What every optimiser has."""

    learning_rate: LearningRate = 1e-3
    """The step size, after the warm-up."""
    schedule: Schedule = Schedule.constant
    """How the learning rate goes on from there."""
    learning_rate_end: NonNegative = 0.0
    """What it falls to over the run, where it does not stay constant."""
    warm_up: UnitInterval = 0.0
    """The share of the run in which it rises from 0 in a straight line."""
    max_gradient_norm: Positive | None = None
    """Gradients are scaled down to this norm, all leaves together; None for as they are."""
    accumulation: Count = 1
    """Gradients that are averaged before the weights move: micro-batches, where a batch does not fit into memory."""
    weight_decay: NonNegative | None = None
    """The share of each weight, times the learning rate, that is taken off beside the gradient's step; biases and
    the scales of norms keep theirs. None for none. Loshchilov & Hutter 2019."""

    @abc.abstractmethod
    def direction(self) -> optax.GradientTransformation:
        """What a gradient becomes before it is multiplied with the learning rate."""

    def rate(self, progress: Scalar) -> Float[Array, ""]:
        """The learning rate where the share `progress` of the run's budget is used."""
        falling = jnp.clip((progress - self.warm_up) / jnp.maximum(1 - self.warm_up, 1e-9), 0.0, 1.0)
        match self.schedule:
            case Schedule.constant:
                onward = jnp.float32(self.learning_rate)
            case Schedule.linear:
                onward = linear(self.learning_rate, self.learning_rate_end, falling)
            case Schedule.cosine:
                onward = linear(self.learning_rate, self.learning_rate_end, (1 - jnp.cos(jnp.pi * falling)) / 2)
        rising = self.learning_rate * progress / jnp.maximum(self.warm_up, 1e-9)
        return jnp.where(progress < self.warm_up, rising, onward)

    def build(self, progress: Scalar = 0.0) -> optax.GradientTransformation:
        """Optax's transformation, whose updates are added to the weights; its state does not depend on `progress`."""
        clipped = [] if self.max_gradient_norm is None else [optax.clip_by_global_norm(self.max_gradient_norm)]
        steps = [_as_one_vector(optax.chain(*clipped, self.direction()))]
        if self.weight_decay is not None:
            steps.append(optax.add_decayed_weights(self.weight_decay, decays))
        built = optax.chain(*steps, optax.scale(-self.rate(progress)))
        if self.accumulation == 1:
            return built
        return optax.MultiSteps(built, self.accumulation).gradient_transformation()


@hyperparameters
class Adam(Optimiser):
    """Adam (Kingma & Ba 2015): steps of about the learning rate's size, whatever the gradient's."""

    beta1: UnitInterval = 0.9
    """How slowly the mean gradient follows."""
    beta2: UnitInterval = 0.999
    """How slowly the mean square follows."""
    eps: Positive = 1e-8
    """Added to the root of the mean square."""

    def direction(self) -> optax.GradientTransformation:
        return optax.scale_by_adam(self.beta1, self.beta2, self.eps)


@hyperparameters
class RAdam(Optimiser):
    """Adam whose first steps are as small as what is known of the variance says. Liu et al. 2020."""

    NAME: ClassVar[str] = "radam"

    beta1: UnitInterval = 0.9
    """How slowly the mean of gradients follows."""
    beta2: UnitInterval = 0.999
    """How slowly the mean of their squares follows."""
    eps: Positive = 1e-8
    """Added to the root of the mean square."""

    def direction(self) -> optax.GradientTransformation:
        return optax.scale_by_radam(self.beta1, self.beta2, self.eps)


@hyperparameters
class AdamW(Optimiser):
    """AdamW (Loshchilov & Hutter 2019): Adam, with weights that decay beside it. Defaults: PyTorch's."""

    NAME: ClassVar[str] = "adamw"

    weight_decay: NonNegative | None = 0.01
    """The share of each weight, times the learning rate, that is taken off beside the gradient's step; biases and
    the scales of norms keep theirs."""
    beta1: UnitInterval = 0.9
    """How slowly the mean gradient follows."""
    beta2: UnitInterval = 0.999
    """How slowly the mean square follows."""
    eps: Positive = 1e-8
    """Added to the root of the mean square."""

    def direction(self) -> optax.GradientTransformation:
        return optax.scale_by_adam(self.beta1, self.beta2, self.eps)


@hyperparameters
class RMSprop(Optimiser):
    """RMSprop (Tieleman & Hinton 2012). Defaults: the centred form of Mnih et al. 2015, with its numbers."""

    NAME: ClassVar[str] = "rmsprop"

    learning_rate: LearningRate = 2.5e-4
    """The step size, after the warm-up."""
    decay: UnitInterval = 0.95
    """How slowly means follow."""
    eps: Positive = 0.01
    """Added to the mean square."""
    eps_under_root: bool = True
    """Whether it is added before the root is taken, as at DeepMind and in TensorFlow, or after it, as in PyTorch: small
    gradients make much larger steps there."""
    centred: bool = True
    """Divide by the standard deviation instead of the root of the mean square."""
    momentum: UnitInterval | None = None
    """What is kept of the step before; None for nothing."""

    def direction(self) -> optax.GradientTransformation:
        by = optax.scale_by_stddev if self.centred else optax.scale_by_rms
        scale = by(decay=self.decay, eps=self.eps, eps_in_sqrt=self.eps_under_root)
        return scale if self.momentum is None else optax.chain(scale, optax.trace(self.momentum))


@hyperparameters
class SGD(Optimiser):
    """The gradient itself, or its momentum (Polyak 1964)."""

    learning_rate: LearningRate = 0.01
    """The step size, after the warm-up."""
    momentum: UnitInterval | None = None
    """What is kept of the step before; None for nothing."""

    def direction(self) -> optax.GradientTransformation:
        return optax.identity() if self.momentum is None else optax.trace(self.momentum)


@hyperparameters
class Lion(Optimiser):
    """Lion (Chen et al. 2023): the sign of a mean gradient; half of Adam's memory, and a smaller learning rate."""

    learning_rate: LearningRate = 1e-4
    """The step size, after the warm-up."""
    beta1: UnitInterval = 0.9
    """How much of the mean, against the newest gradient, is in a step."""
    beta2: UnitInterval = 0.99
    """How slowly the mean gradient follows."""

    def direction(self) -> optax.GradientTransformation:
        return optax.scale_by_lion(self.beta1, self.beta2)


OPTIMISERS = Registry((Adam, RAdam, AdamW, RMSprop, SGD, Lion), of=Optimiser)
"""Every optimiser by the name that the command line gives it."""


def descend(
    optimiser: Optimiser,
    weights: Weights,
    gradient: Weights,
    state: optax.OptState,
    progress: Scalar = 0.0,
) -> tuple[Weights, optax.OptState]:
    """One step down a gradient.

    Args:
        optimiser: its settings.
        weights: a pytree of arrays, as a network is.
        gradient: of a loss, shaped like the weights.
        state: what `optimiser.build().init(weights)` or the step before gave.
        progress: the share of the run's budget that is used, which the learning rate's schedule reads.

    Returns:
        The weights and the state after it.

    >>> weights, optimiser = jnp.array([1.0, 2.0]), SGD(0.5)
    >>> state = optimiser.build().init(weights)
    >>> weights, state = descend(optimiser, weights, jnp.array([1.0, -1.0]), state)
    >>> weights
    Array([0.5, 2.5], dtype=float32)
    """
    tree: Any = weights
    updates, state = optimiser.build(progress).update(gradient, state, tree)  # pyright: ignore[reportArgumentType]
    return optax.apply_updates(tree, updates), state  # pyright: ignore[reportReturnType]


def polyak(target: Weights, online: Weights, step: Scalar) -> Weights:
    r"""Averaged weights, :math:`\theta' \leftarrow \theta' + \tau\,(\theta - \theta')`.  Polyak & Juditsky 1992.

    Args:
        target: θ′, which follows.
        online: θ, which is followed.
        step: τ in [0, 1]; at 1 the target is the very copy, at 0 it stays to the bit.

    >>> polyak(jnp.array([0.0, 4.0]), jnp.array([1.0, 0.0]), 0.25)
    Array([0.25, 3.  ], dtype=float32)
    """
    return jax.tree.map(lambda old, new: (1 - step) * old + step * new, target, online)


def averaging_step(new: Scalar, total: Scalar, share: Scalar) -> Float[Array, ""]:
    r"""How far an average of weights follows the newest: it is over about the last share of what was lived so far.

    Polynomial decay (Shamir & Zhang 2013, section 4), in steps lived: no budget has to be known, and what is old weighs
    ever less.

    .. math:: \alpha = \min \left( \frac{n}{\sigma N}, 1 \right)

    Args:
        new: n, steps lived since the average was moved. Shape [].
        total: N, all steps, these among them. Shape [].
        share: σ in [0, 1]; 0 for the newest weights. Shape [].

    Returns:
        α, for `polyak`. Shape [].

    >>> averaging_step(jnp.float32(5), jnp.float32(100), 0.1), averaging_step(jnp.float32(5), jnp.float32(5), 0.1)
    (Array(0.5, dtype=float32), Array(1., dtype=float32))
    """
    return new / jnp.maximum(jnp.maximum(share * total, new), 1)


def decays(weights: Any) -> Any:
    """Which weights decay: matrices and kernels, not biases, scales of norms and other vectors.

    Args:
        weights: a pytree of arrays, as a network is.

    Returns:
        True or False for each leaf, in the same tree.

    >>> decays({"weight": jnp.ones((2, 2)), "bias": jnp.ones(2)})
    {'bias': False, 'weight': True}
    """

    def decays(path: Any, leaf: Array) -> bool:
        return leaf.ndim >= 2 and not jax.tree_util.keystr(path, simple=True).endswith(("bias", "scale"))

    return jax.tree_util.tree_map_with_path(decays, weights)


def _as_one_vector(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """A few operations to compile and run instead of a few for each of many small tensors; large ones stay apart."""
    flat = optax.flatten(inner)

    def chosen(tree: Any) -> optax.GradientTransformation:
        leaves = jax.tree.leaves(tree)
        return flat if len(leaves) > 1 and sum(np.size(leaf) for leaf in leaves) <= FLAT else inner

    return optax.GradientTransformation(
        lambda params: chosen(params).init(params),
        lambda updates, state, params=None: chosen(updates).update(updates, state, params),
    )
