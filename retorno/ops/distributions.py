"""Distributions over actions, as a policy's head gives them. Unbatched; `vmap` over rows.

All have `sample(key)`, `mode()`, `log_prob(action)`, `entropy()` and `masked(legal)`, which leaves
no probability to actions that are not legal.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.core.time_step import Legal, allowed, legal_mask

LOG_TWO_PI = 1.8378770664093453


@runtime_checkable
@runtime_checkable
class Distribution(Protocol):
    """What every distribution over actions can do."""

    def sample(self, key: Key[Array, ""]) -> Array: ...
    def mode(self) -> Array: ...
    def log_prob(self, action: Array) -> Float[Array, ""]: ...
    def entropy(self) -> Float[Array, ""]: ...
    def masked(self, legal: Legal) -> Distribution: ...


def log_prob_and_entropy(
    policy: Distribution, legal: Legal, action: Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Log π(a|s) over the legal actions, and the entropy of π(·|s): what a policy's gradient is made of."""
    policy = policy.masked(legal)
    return policy.log_prob(action), policy.entropy()


class Categorical(NamedTuple):
    """π(a) ∝ exp(logits[a]): the softmax policy. Sutton & Barto 2018, eq. 13.2."""

    logits: Float[Array, " A"]

    def sample(self, key: Key[Array, ""]) -> Int[Array, ""]:
        return jax.random.categorical(key, self.logits).astype(jnp.int32)

    def mode(self) -> Int[Array, ""]:
        return jnp.argmax(self.logits).astype(jnp.int32)

    def probs(self) -> Float[Array, " A"]:
        return jax.nn.softmax(self.logits)

    def log_probs(self) -> Float[Array, " A"]:
        return jax.nn.log_softmax(self.logits)

    def log_prob(self, action: Int[Array, ""]) -> Float[Array, ""]:
        return self.log_probs()[action]

    def entropy(self) -> Float[Array, ""]:
        log_probs = self.log_probs()
        return -jnp.sum(jnp.where(jnp.isfinite(log_probs), jnp.exp(log_probs) * log_probs, 0.0))

    def masked(self, legal: Legal) -> Categorical:
        # A large negative number, not −inf: the gradient of −inf · 0 is NaN.
        return Categorical(allowed(legal, self.logits, -1e9))


class MultiCategorical(NamedTuple):
    """Independent categoricals, one per component of a MultiDiscrete action."""

    logits: tuple[Float[Array, " A_i"], ...]

    def _parts(self) -> list[Categorical]:
        return [Categorical(logits) for logits in self.logits]

    def sample(self, key: Key[Array, ""]) -> Int[Array, " K"]:
        keys = jax.random.split(key, len(self.logits))
        return jnp.stack([part.sample(k) for part, k in zip(self._parts(), keys, strict=True)])

    def mode(self) -> Int[Array, " K"]:
        return jnp.stack([part.mode() for part in self._parts()])

    def log_prob(self, action: Int[Array, " K"]) -> Float[Array, ""]:
        return jnp.stack([part.log_prob(a) for part, a in zip(self._parts(), action, strict=True)]).sum()

    def entropy(self) -> Float[Array, ""]:
        return jnp.stack([part.entropy() for part in self._parts()]).sum()

    def masked(self, legal: Legal) -> MultiCategorical:
        """`legal` holds one mask for each component."""
        if legal is None:
            return self
        return MultiCategorical(tuple(p.masked(mask).logits for p, mask in zip(self._parts(), legal, strict=True)))


class Gaussian(NamedTuple):
    """A diagonal normal distribution over a Box action, unbounded. Sutton & Barto 2018, eq. 13.19."""

    mean: Float[Array, " D"]
    log_std: Float[Array, " D"]

    def sample(self, key: Key[Array, ""]) -> Float[Array, " D"]:
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape)

    def mode(self) -> Float[Array, " D"]:
        return self.mean

    def log_prob(self, action: Float[Array, " D"]) -> Float[Array, ""]:
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return jnp.sum(-0.5 * z**2 - self.log_std - 0.5 * LOG_TWO_PI)

    def entropy(self) -> Float[Array, ""]:
        return jnp.sum(self.log_std + 0.5 * (1 + LOG_TWO_PI))

    def masked(self, legal: Legal) -> Gaussian:
        return self


class SquashedGaussian(NamedTuple):
    """low + (high − low)(1 + tanh z)/2 with normal z: a Box action within its bounds.

    Haarnoja et al. 2018 (soft actor–critic), appendix C. The entropy has no closed form; the
    normal's own plus the squashing's expected log-derivative at the mean stands in for it.
    """

    normal: Gaussian
    low: Float[Array, " D"]
    high: Float[Array, " D"]

    def _squash(self, z: Float[Array, " D"]) -> Float[Array, " D"]:
        return self.low + (self.high - self.low) * (1 + jnp.tanh(z)) / 2

    def _log_slope(self, z: Float[Array, " D"]) -> Float[Array, " D"]:
        # log(1 − tanh² z) = 2(log 2 − z − softplus(−2z)), stable for large |z|.
        return 2 * (jnp.log(2.0) - z - jax.nn.softplus(-2 * z)) + jnp.log((self.high - self.low) / 2)

    def sample(self, key: Key[Array, ""]) -> Float[Array, " D"]:
        return self._squash(self.normal.sample(key))

    def mode(self) -> Float[Array, " D"]:
        return self._squash(self.normal.mean)

    def log_prob(self, action: Float[Array, " D"]) -> Float[Array, ""]:
        y = 2 * (action - self.low) / (self.high - self.low) - 1
        z = jnp.arctanh(jnp.clip(y, -1 + 1e-6, 1 - 1e-6))
        return self.normal.log_prob(z) - jnp.sum(self._log_slope(z))

    def entropy(self) -> Float[Array, ""]:
        return self.normal.entropy() + jnp.sum(self._log_slope(self.normal.mean))

    def masked(self, legal: Legal) -> SquashedGaussian:
        return self


class EpsilonGreedy(NamedTuple):
    """With probability 1 − ε a best action, else any legal one. Sutton & Barto 2018, section 2.2.

    Ties for the best share its probability equally.
    """

    q: Float[Array, " A"]
    epsilon: Float[Array, ""]
    legal: Bool[Array, " A"] | None = None

    def probs(self) -> Float[Array, " A"]:
        legal = jnp.ones_like(self.q, bool) if self.legal is None else self.legal
        q = jnp.where(legal, self.q, -jnp.inf)
        best = legal & (q == q.max())
        return (1 - self.epsilon) * best / best.sum() + self.epsilon * legal / legal.sum()

    def sample(self, key: Key[Array, ""]) -> Int[Array, ""]:
        # Inverse transform: one random number instead of one per action.
        cumulative = jnp.cumsum(self.probs())
        u = jax.random.uniform(key) * cumulative[-1]
        return jnp.minimum((cumulative <= u).sum(dtype=jnp.int32), self.q.shape[0] - 1)

    def mode(self) -> Int[Array, ""]:
        return jnp.argmax(allowed(self.legal, self.q)).astype(jnp.int32)

    def log_prob(self, action: Int[Array, ""]) -> Float[Array, ""]:
        return jnp.log(self.probs()[action])

    def entropy(self) -> Float[Array, ""]:
        p = self.probs()
        return -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0))

    def masked(self, legal: Legal) -> EpsilonGreedy:
        return self._replace(legal=legal_mask(legal, self.q.shape[0]))
