"""The rules that turn a gradient into a direction; the step size is applied outside, by schedule."""

from __future__ import annotations

import enum

import optax


class Optimiser(enum.Enum):
    """How a gradient becomes a direction. `optimiser.direction` is Optax's transformation."""

    adam = "adam"
    """Kingma & Ba 2015, with ε 1e-8."""
    rmsprop = "rmsprop"
    """Tieleman & Hinton 2012, with decay .95 and ε .01, centred: Mnih et al. 2015."""
    sgd = "sgd"
    """The gradient itself."""

    @property
    def direction(self) -> optax.GradientTransformation:
        match self:
            case Optimiser.adam:
                return optax.scale_by_adam()
            case Optimiser.rmsprop:
                return optax.scale_by_stddev(decay=0.95, eps=0.01)
            case Optimiser.sgd:
                return optax.identity()
