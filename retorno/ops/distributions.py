"""Distributions over actions, as a policy's head gives them. Unbatched; `vmap` over rows.

All do what `Distribution` says. Box actions are flat vectors in a policy's units (see
`core.spaces.ActionUnits`), so none of these knows of a world's bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.core.scalar import Scalar
from retorno.core.time_step import Legal, Only, allowed, legal_mask

LOG_TWO_PI = 1.8378770664093453
ILLEGAL = -1e9
"""A logit: a large negative number, not −inf, since the gradient of −inf · 0 is NaN."""
MANY = 256
"""From so many actions on one is drawn by a search, not by comparing a random number for each."""


@runtime_checkable
class Distribution(Protocol):
    """What every distribution over actions can do."""

    def sample(self, key: Key[Array, ""]) -> Array:
        """A random action."""
        ...

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Array, Float[Array, ""]]:
        """The action that `sample` gives, and its log-probability (density), at no loss of accuracy."""
        ...

    def log_prob(self, action: Array) -> Float[Array, ""]:
        """The log-probability (density) of an action."""
        ...

    def entropy(self) -> Float[Array, ""]:
        """The expected −log-probability."""
        ...

    def kl(self, other: Any) -> Float[Array, ""]:
        """KL(self ‖ other) = E[log self − log other], over another distribution of the same kind."""
        ...

    def mode(self) -> Array:
        """The action to take where none is to be drawn."""
        ...

    def masked(self, legal: Legal) -> Distribution:
        """The same, with no probability left to actions that are not legal."""
        ...


def log_prob_and_entropy(
    policy: Distribution, legal: Legal, action: Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""What a policy's gradient is made of: the action's log-probability and the entropy, over the legal actions.

    .. math:: \log \pi(a \mid s), \qquad H(\pi) = -\sum_a \pi(a \mid s) \log \pi(a \mid s)

    Args:
        policy: π(·|s), over all actions.
        legal: which may be taken; None for all.
        action: a.

    Returns:
        Both. Shapes [] and [].

    >>> log_prob_and_entropy(Categorical(jnp.zeros(4)), jnp.array([True, True, False, False]), jnp.int32(0))
    (Array(-0.6931472, dtype=float32), Array(0.6931472, dtype=float32))
    """
    if isinstance(policy, Categorical) and isinstance(legal, Only):  # Without a mask over all actions.
        return _where_free(legal, action, *policy.log_prob_and_entropy(action))
    policy = policy.masked(legal)
    if isinstance(policy, Categorical | LinearCategorical):  # One pass over the actions for both.
        return policy.log_prob_and_entropy(action)
    return policy.log_prob(action), policy.entropy()


def log_probs_and_entropies(
    policy: Distribution,
    legal: Bool[Array, "T B A"] | tuple[Bool[Array, "T B A_i"], ...] | Only | None,
    action: Array,
) -> tuple[Float[Array, "T B"], Float[Array, "T B"]]:
    """`log_prob_and_entropy` of many rows.

    Where actions are many, one environment is taken after the other: so the rows of a network with a memory lie as it
    read them, and its logits, which are larger than all else, are turned around neither here nor in the gradient. Of a
    vocabulary's no more are computed than rows choose from, so that prompts and what waits cost nothing.

    Args:
        policy: π(·|s) of each row. Shapes [T, B].
        legal: which actions may be taken; None for all. Shapes [T, B].
        action: what was done. Shapes [T, B].
    """
    each = jax.vmap(jax.vmap(log_prob_and_entropy))
    if isinstance(policy, LinearCategorical) and (legal is None or isinstance(legal, Only)):
        return _of_a_vocabulary(policy, legal, action)
    if not (isinstance(policy, Categorical) and policy.logits.shape[-1] >= MANY):
        return each(policy, legal, action)
    turned = lambda tree: jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), tree)  # noqa: E731
    return turned(each(*turned((policy, legal, action))))


def _of_a_vocabulary(policy: LinearCategorical, legal: Only | None, action: Int[Array, "T B"]) -> tuple[Array, Array]:
    """The same, a few rows of each environment at a time, and of environments whose rows are too many some at a time.

    First those that choose; where no environment has any left, nothing is computed.
    """
    length, environments = action.shape
    free = jnp.ones(action.shape, bool) if legal is None else legal.action < 0
    order = jnp.argsort(~free, axis=0, stable=True)
    columns = jnp.arange(environments)
    within = [n for n in range(1, environments + 1) if environments % n == 0 and n * policy.actions <= LOGITS]
    together = max(within, default=1)
    size = min(max(LOGITS // (policy.actions * together), 1), action.size // together)

    def cut(x: Array) -> Array:
        x = x[order, columns]
        apart = x.reshape(length, together, -1, *x.shape[2:])
        return jnp.swapaxes(apart, 1, 2).reshape(-1, together, *x.shape[2:])

    def joined(x: Array) -> Array:
        told = jnp.zeros((action.size // together, together)).at[parts].set(x)
        told = jnp.swapaxes(told.reshape(length, -1, together), 1, 2).reshape(action.shape)
        return jnp.zeros(action.shape).at[order, columns].set(told)

    features, taken, wanted = map(cut, (policy.features, action, free))
    # The last rows fill up what is left over: they are computed twice, to the same.
    parts = jnp.minimum(jnp.arange(0, len(wanted), size), len(wanted) - size)[:, None] + jnp.arange(size)
    of_part = lambda rows: _of_rows((features[rows], policy.layer), taken[rows], wanted[rows].any())  # noqa: E731
    log_prob, entropy = map(joined, jax.lax.map(of_part, parts))
    if legal is None:
        return log_prob, entropy
    return jax.vmap(jax.vmap(_where_free))(legal, action, log_prob, entropy)


Learnable = tuple[Float[Array, "R B D"], Any]
"""Features, and the layer that makes logits of them."""
Chosen = tuple[Float[Array, "R B"], Float[Array, "R B"]]
"""Log-probabilities and entropies."""


@eqx.filter_custom_vjp
def _of_rows(learnable: Learnable, action: Int[Array, "R B"], wanted: Bool[Array, ""]) -> Chosen:
    """What a layer's softmax says of actions where it is wanted, else zeros."""

    def computed() -> Chosen:
        features, layer = learnable
        logits = layer(features)
        # Of XLA's forms of a softmax this one leaves the logits as they are: else it multiplies anew for each sum.
        most = logits.max(axis=-1)
        below = logits - most[..., None]
        odds = jnp.exp(below)
        total = odds.sum(axis=-1)
        return _of(logits, action) - most - jnp.log(total), jnp.log(total) - (odds * below).sum(axis=-1) / total

    nothing = jnp.zeros(action.shape)
    return jax.lax.cond(wanted, computed, lambda: (nothing, nothing))


@_of_rows.def_fwd
def _of_rows_forward(_: Any, learnable: Learnable, action: Array, wanted: Array) -> tuple[Chosen, Chosen]:
    told = _of_rows(learnable, action, wanted)
    return told, told


@_of_rows.def_bwd
def _of_rows_backward(told: Chosen, slope: Any, moves: Any, learnable: Learnable, action: Array, wanted: Array) -> Any:
    """Through the logits, computed again; how they move both is in `_log_prob_and_entropy_tangent`."""
    log_prob, entropy = told
    for_log_prob, for_entropy = (jnp.zeros(action.shape) if x is None else x for x in slope)
    learnt, constant = eqx.partition(learnable, moves)

    def logits_of(learnt: Any) -> Float[Array, "R B A"]:
        features, layer = eqx.combine(learnt, constant)
        return layer(features)

    def computed() -> Any:
        logits, pull = jax.vjp(logits_of, learnt)
        log_probs = logits - (_of(logits, action) - log_prob)[..., None]
        taken = jnp.arange(logits.shape[-1]) == action[..., None]
        uncertain = for_log_prob[..., None] + for_entropy[..., None] * (log_probs + entropy[..., None])
        return pull(for_log_prob[..., None] * taken - uncertain * jnp.exp(log_probs))[0]

    return jax.lax.cond(wanted, computed, lambda: jax.tree.map(jnp.zeros_like, learnt))


def _of(logits: Float[Array, "R B A"], action: Int[Array, "R B"]) -> Float[Array, "R B"]:
    """The logit of each action."""
    return jnp.take_along_axis(logits, action[..., None], axis=-1)[..., 0]


def _where_free(legal: Only, action: Int[Array, ""], log_prob: Float[Array, ""], spread: Float[Array, ""]) -> Any:
    """What is true where only one action is left, and there is nothing to be uncertain about."""
    certain = jnp.where(action == legal.action, 0.0, ILLEGAL)
    return jnp.where(legal.action < 0, log_prob, certain), jnp.where(legal.action < 0, spread, 0.0)


def _expectation(log_probs: Float[Array, " A"], x: Float[Array, " A"]) -> Float[Array, ""]:
    """Σ p x over what has a probability: 0 · ∞ is 0, and so is its gradient."""
    possible = jnp.isfinite(log_probs)
    return jnp.sum(jnp.where(possible, jnp.exp(log_probs) * jnp.where(possible, x, 0.0), 0.0))


def _draw(weights: Float[Array, " A"], key: Key[Array, ""]) -> Int[Array, ""]:
    """An index with a probability ∝ its weight, by inverse transform: one random number, not one for each."""
    cumulative = jnp.cumsum(weights)
    u = jax.random.uniform(key) * cumulative[-1]
    return jnp.minimum((cumulative <= u).sum(dtype=jnp.int32), weights.shape[0] - 1)


def _draw_of_many(weights: Float[Array, " A"], key: Key[Array, ""]) -> Int[Array, ""]:
    """`_draw` in two levels: a stretch of √A of them, then one in the stretch."""
    size = int(np.ceil(np.sqrt(weights.shape[0])))
    stretches = jnp.pad(weights, (0, size * size - weights.shape[0])).reshape(size, size)
    for_stretch, for_place = jax.random.split(key)
    stretch = _draw(stretches.sum(1), for_stretch)
    return stretch * size + _draw(stretches[stretch], for_place)


@jax.custom_jvp
def _log_prob_and_entropy(logits: Float[Array, " A"], action: Int[Array, ""]) -> tuple[Array, Array]:
    """Of the softmax policy. Its gradient is given, so that it is one pass over the actions and scatters nothing."""
    log_probs = jax.nn.log_softmax(logits)
    return log_probs[action], -_expectation(log_probs, log_probs)


@_log_prob_and_entropy.defjvp
def _log_prob_and_entropy_tangent(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> Any:
    r"""How both move.

    .. math:: d \log \pi(a) = \sum_b (1_{a=b} - \pi(b))\, d\ell_b, \qquad
        dH = -\sum_b \pi(b) (\log \pi(b) + H)\, d\ell_b
    """
    (logits, action), (moved, _) = primals, tangents
    log_prob, entropy = _log_prob_and_entropy(logits, action)
    log_probs = jax.nn.log_softmax(logits)
    probs = jnp.exp(log_probs)
    certainty = jnp.where(probs > 0, probs * (log_probs + entropy), 0.0)
    taken = (jnp.arange(logits.shape[0]) == action) - probs
    return (log_prob, entropy), (jnp.sum(taken * moved), -jnp.sum(certainty * moved))


class Categorical(NamedTuple):
    """π(a) ∝ exp(logits[a]): the softmax policy. Sutton & Barto 2018, eq. 13.2."""

    logits: Float[Array, " A"]

    def sample(self, key: Key[Array, ""]) -> Int[Array, ""]:
        if self.logits.shape[0] < MANY:
            return jax.random.categorical(key, self.logits).astype(jnp.int32)
        return _draw_of_many(jnp.exp(self.logits - self.logits.max()), key)

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Int[Array, ""], Float[Array, ""]]:
        action = self.sample(key)
        return action, self.log_prob(action)

    def mode(self) -> Int[Array, ""]:
        return jnp.argmax(self.logits).astype(jnp.int32)

    def probs(self) -> Float[Array, " A"]:
        return jax.nn.softmax(self.logits)

    def log_probs(self) -> Float[Array, " A"]:
        return jax.nn.log_softmax(self.logits)

    def log_prob(self, action: Int[Array, ""]) -> Float[Array, ""]:
        return self.log_prob_and_entropy(action)[0]

    def entropy(self) -> Float[Array, ""]:
        return self.log_prob_and_entropy(jnp.int32(0))[1]

    def log_prob_and_entropy(self, action: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Both in one pass."""
        return _log_prob_and_entropy(self.logits, action)

    def kl(self, other: Categorical) -> Float[Array, ""]:
        log_probs = self.log_probs()
        return _expectation(log_probs, log_probs - other.log_probs())

    def masked(self, legal: Legal) -> Categorical:
        return Categorical(allowed(legal, self.logits, ILLEGAL))

    def tempered(self, temperature: float) -> Categorical:
        """The same with logits divided by a temperature."""
        return Categorical(self.logits / temperature)


CHUNK = 1024
"""So many actions' logits are computed at once where there are more."""
LOGITS = 1 << 22
"""So many logits are computed at once, of rows that choose from all actions."""


class LinearCategorical:
    r"""The softmax of a linear layer over a vocabulary, :math:`\pi(a) \propto \exp(x W + b)_a`, from the features x.

    The logits of many rows would be [rows, A]. Here log-probabilities, entropies and divergences see `CHUNK` actions
    at a time, in the gradient too, where each chunk is computed again: what is kept does not grow with A. A choice
    on one row takes all its logits at once.

    It holds the layer beside its leaves, since all rows share it: a distribution is used in the program that made it.
    """

    def __init__(self, features: Float[Array, " D"], layer: Any, legal: Legal = None) -> None:
        """`layer` gives the logits of x [D]; its leaves, `weight` [A, D] among them, have an entry for each action."""
        self.features, self.layer, self.legal = features, layer, legal

    @property
    def actions(self) -> int:
        """A, how many there are."""
        return self.layer.weight.shape[0]

    def whole(self) -> Categorical:
        """The same with all logits."""
        return Categorical(self.layer(self.features)).masked(self.legal)

    def sample(self, key: Key[Array, ""]) -> Int[Array, ""]:
        return self.whole().sample(key)

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return self.whole().sample_and_log_prob(key)

    def mode(self) -> Int[Array, ""]:
        return self.whole().mode()

    def masked(self, legal: Legal) -> LinearCategorical:
        return LinearCategorical(self.features, self.layer, legal)

    def tempered(self, temperature: float) -> LinearCategorical:
        """The same with logits divided by a temperature."""
        bias = getattr(self.layer, "bias", None)
        layer = self.layer if bias is None else replace(self.layer, bias=bias / temperature)
        return _join(_Beside(layer), (self.features / temperature, self.legal))

    def log_prob(self, action: Int[Array, ""]) -> Float[Array, ""]:
        return self.log_prob_and_entropy(action)[0]

    def entropy(self) -> Float[Array, ""]:
        return self.log_prob_and_entropy(jnp.int32(0))[1]

    def log_prob_and_entropy(self, action: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Both in one pass: log Σ exp and the mean logit of each chunk are those of the whole, chunk by chunk."""
        total, mean = self._sums(lambda logits: logits)
        logit = jax.tree.map(lambda x: x[action], self.layer)(self.features)
        return self._where_free(action, self._at(action, logit) - total, total - mean)

    def kl(self, other: LinearCategorical) -> Float[Array, ""]:
        total, apart = self._sums(lambda logits, others: logits - others, other)
        return self._where_free(jnp.int32(0), total, apart - total + other._sums(lambda logits: logits)[0])[1]

    @property
    def _mask(self) -> Bool[Array, " A"] | None:
        """What is legal, where a mask says it."""
        return self.legal if isinstance(self.legal, Array) else None

    def _at(self, action: Int[Array, ""], logit: Float[Array, ""]) -> Float[Array, ""]:
        """An action's logit, where a mask allows it."""
        mask = self._mask
        return logit if mask is None else jnp.where(mask[action], logit, ILLEGAL)

    def _where_free(self, action: Int[Array, ""], log_prob: Float[Array, ""], spread: Float[Array, ""]) -> Any:
        return _where_free(self.legal, action, log_prob, spread) if isinstance(self.legal, Only) else (log_prob, spread)

    def _sums(self, of: Callable[..., Array], *others: LinearCategorical) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Log Σ exp(logits), and Σ π · of(logits, *logits of others)."""

        def part(places: list[tuple[Any, Any]]) -> tuple[Array, Array]:
            logits, *beside = (
                allowed(mask, layer(x), ILLEGAL)
                for x, (layer, mask) in zip((each.features for each in (self, *others)), places, strict=True)
            )
            total = jax.nn.logsumexp(logits)
            return total, jnp.sum(jnp.exp(logits - total) * of(logits, *beside))

        chunks, rest = zip(*(each._cut() for each in (self, *others)), strict=True)
        totals, means = jax.lax.map(jax.checkpoint(part), list(chunks))
        if self.actions % CHUNK:
            last = jax.checkpoint(part)(list(rest))
            totals, means = (jnp.append(x, y) for x, y in zip((totals, means), last, strict=True))
        total = jax.nn.logsumexp(totals)
        return total, jnp.sum(jnp.exp(totals - total) * means)

    def _cut(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """The layer and what is legal: the whole chunks [n, CHUNK, …], and what is left over."""
        whole = self.actions - self.actions % CHUNK
        parts = (self.layer, self._mask)
        chunks = jax.tree.map(lambda x: x[:whole].reshape(-1, CHUNK, *x.shape[1:]), parts)
        return chunks, jax.tree.map(lambda x: x[whole:], parts)


class _Beside:
    """What stands beside the leaves: the same where it is the same object."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Beside) and self.layer is other.layer

    def __hash__(self) -> int:
        return id(self.layer)


def _join(beside: _Beside, leaves: Any) -> LinearCategorical:
    """Not by `__init__`, which takes one row: JAX puts in its place what it wants."""
    joined = object.__new__(LinearCategorical)
    joined.features, joined.layer, joined.legal = leaves[0], beside.layer, leaves[1]
    return joined


jax.tree_util.register_pytree_node(LinearCategorical, lambda x: ((x.features, x.legal), _Beside(x.layer)), _join)


class MultiCategorical(NamedTuple):
    """Independent categoricals, one per component of a MultiDiscrete action."""

    logits: tuple[Float[Array, " A_i"], ...]

    def _parts(self) -> list[Categorical]:
        return [Categorical(logits) for logits in self.logits]

    def sample(self, key: Key[Array, ""]) -> Int[Array, " K"]:
        keys = jax.random.split(key, len(self.logits))
        return jnp.stack([part.sample(k) for part, k in zip(self._parts(), keys, strict=True)])

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Int[Array, " K"], Float[Array, ""]]:
        action = self.sample(key)
        return action, self.log_prob(action)

    def mode(self) -> Int[Array, " K"]:
        return jnp.stack([part.mode() for part in self._parts()])

    def log_prob(self, action: Int[Array, " K"]) -> Float[Array, ""]:
        return jnp.stack([part.log_prob(a) for part, a in zip(self._parts(), action, strict=True)]).sum()

    def entropy(self) -> Float[Array, ""]:
        return jnp.stack([part.entropy() for part in self._parts()]).sum()

    def kl(self, other: MultiCategorical) -> Float[Array, ""]:
        return jnp.stack([part.kl(o) for part, o in zip(self._parts(), other._parts(), strict=True)]).sum()

    def masked(self, legal: Legal) -> MultiCategorical:
        """`legal` holds one mask for each component."""
        if legal is None:
            return self
        return MultiCategorical(tuple(p.masked(mask).logits for p, mask in zip(self._parts(), legal, strict=True)))


class Bernoulli(NamedTuple):
    """Independent coins, one for each bit of a MultiBinary action: 1 with probability σ(logits[i])."""

    logits: Float[Array, " N"]

    def sample(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        return jax.random.bernoulli(key, jax.nn.sigmoid(self.logits)).astype(jnp.int32)

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Int[Array, " N"], Float[Array, ""]]:
        action = self.sample(key)
        return action, self.log_prob(action)

    def mode(self) -> Int[Array, " N"]:
        return (self.logits > 0).astype(jnp.int32)

    def log_prob(self, action: Int[Array, " N"]) -> Float[Array, ""]:
        return jnp.sum(jax.nn.log_sigmoid(jnp.where(action == 1, self.logits, -self.logits)))

    def entropy(self) -> Float[Array, ""]:
        return jnp.sum(jax.nn.softplus(self.logits) - self.logits * jax.nn.sigmoid(self.logits))

    def kl(self, other: Bernoulli) -> Float[Array, ""]:
        log_odds = jax.nn.sigmoid(self.logits) * (self.logits - other.logits)
        return jnp.sum(log_odds - jax.nn.softplus(self.logits) + jax.nn.softplus(other.logits))

    def masked(self, legal: None) -> Bernoulli:
        return self


class Joint(NamedTuple):
    """Choices and real numbers, independent of each other, in one vector: the numbers of the choices stand first."""

    choices: MultiCategorical
    reals: Any
    """A distribution over vectors."""

    def sample(self, key: Key[Array, ""]) -> Float[Array, " N"]:
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Float[Array, " N"], Float[Array, ""]]:
        for_choices, for_reals = jax.random.split(key)
        choices, chosen = self.choices.sample_and_log_prob(for_choices)
        reals, drawn = self.reals.sample_and_log_prob(for_reals)
        return jnp.concatenate([choices, reals]), chosen + drawn

    def mode(self) -> Float[Array, " N"]:
        return jnp.concatenate([self.choices.mode(), self.reals.mode()])

    def log_prob(self, action: Float[Array, " N"]) -> Float[Array, ""]:
        choices, reals = jnp.split(action, [len(self.choices.logits)])
        return self.choices.log_prob(choices.astype(jnp.int32)) + self.reals.log_prob(reals)

    def entropy(self) -> Float[Array, ""]:
        return self.choices.entropy() + self.reals.entropy()

    def kl(self, other: Joint) -> Float[Array, ""]:
        return self.choices.kl(other.choices) + self.reals.kl(other.reals)

    def masked(self, legal: Legal) -> Joint:
        """`legal` holds one mask for each choice."""
        return Joint(self.choices.masked(legal), self.reals)


class Gaussian(NamedTuple):
    """A diagonal normal distribution over a Box action, unbounded. Sutton & Barto 2018, eq. 13.19."""

    mean: Float[Array, " D"]
    log_std: Float[Array, " D"]

    def sample(self, key: Key[Array, ""]) -> Float[Array, " D"]:
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape)

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Float[Array, " D"], Float[Array, ""]]:
        action = self.sample(key)
        return action, self.log_prob(action)

    def mode(self) -> Float[Array, " D"]:
        return self.mean

    def log_prob(self, action: Float[Array, " D"]) -> Float[Array, ""]:
        return jnp.sum(self._log_density(action))

    def _log_density(self, action: Float[Array, " D"]) -> Float[Array, " D"]:
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return -0.5 * z**2 - self.log_std - 0.5 * LOG_TWO_PI

    @property
    def least_variance(self) -> Float[Array, ""]:
        """Of its components: the scale on which the score ∇ log π changes with the mean."""
        return jnp.exp(2 * self.log_std.min())

    def entropy(self) -> Float[Array, ""]:
        return jnp.sum(self.log_std + 0.5 * (1 + LOG_TWO_PI))

    def kl(self, other: Gaussian | StateDependentGaussian) -> Float[Array, ""]:
        spread = jnp.exp(2 * (self.log_std - other.log_std))
        apart = ((self.mean - other.mean) * jnp.exp(-other.log_std)) ** 2
        return jnp.sum(other.log_std - self.log_std + 0.5 * (spread + apart - 1))

    def masked(self, legal: None) -> Gaussian:
        return self


class StateDependentGaussian(NamedTuple):
    r"""A normal distribution whose noise is a linear function of features, drawn as such. Raffin et al. 2022, eq. 3.

    .. math:: a = \mu + \theta^\top \phi, \quad \theta_{ij} \sim N(0, \sigma_{ij}^2), \qquad \text{so that} \quad
        a_j \sim N(\mu_j, \textstyle\sum_i \phi_i^2 \sigma_{ij}^2)

    Whoever samples with the same key on several rows follows one θ: the same state, the same noise.
    """

    mean: Float[Array, " D"]
    features: Float[Array, " F"]
    """φ"""
    log_scale: Float[Array, "F D"]
    """log σ"""

    @property
    def normal(self) -> Gaussian:
        """What one action is like, whatever is held."""
        variance = jnp.square(self.features) @ jnp.exp(2 * self.log_scale)
        return Gaussian(self.mean, 0.5 * jnp.log(variance + 1e-6))

    @property
    def log_std(self) -> Float[Array, " D"]:
        return self.normal.log_std

    def sample(self, key: Key[Array, ""]) -> Float[Array, " D"]:
        theta = jnp.exp(self.log_scale) * jax.random.normal(key, self.log_scale.shape)
        return self.mean + self.features @ theta

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Float[Array, " D"], Float[Array, ""]]:
        action = self.sample(key)
        return action, self.log_prob(action)

    def mode(self) -> Float[Array, " D"]:
        return self.mean

    def log_prob(self, action: Float[Array, " D"]) -> Float[Array, ""]:
        return self.normal.log_prob(action)

    def _log_density(self, action: Float[Array, " D"]) -> Float[Array, " D"]:
        return self.normal._log_density(action)

    def entropy(self) -> Float[Array, ""]:
        return self.normal.entropy()

    def kl(self, other: Gaussian | StateDependentGaussian) -> Float[Array, ""]:
        return self.normal.kl(other)

    def masked(self, legal: None) -> StateDependentGaussian:
        return self


LOG_EDGE = -25 * np.log(2)
"""The log of half the distance from 1 to the number before it, in float32: what is closer to 1 is 1."""
EDGE = float(np.arctanh(1 - 2.0**-25))
"""So where z is beyond, tanh z is 1."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(32)


class SquashedGaussian(NamedTuple):
    r"""tanh z with normal z: a Box action within [−1, 1]. Haarnoja et al. 2018 (soft actor–critic), appendix C.

    .. math:: \log \pi(a) = \log N(z) - \sum \log(1 - \tanh^2 z), \qquad a = \tanh z

    `sample_and_log_prob` takes z as it was drawn. `log_prob` has the action alone: z = artanh a, by log1p and so
    exact, but for a = ±1, the float32 in which all |z| > 9.01 end. That action's density is the mean over the
    interval that rounds to it, log P(z > 9.01) + 25 log 2: finite, with a gradient of the right sign, and in a
    ratio of two policies just the ratio of the probabilities with which they give what was stored.
    """

    normal: Gaussian | StateDependentGaussian

    def sample(self, key: Key[Array, ""]) -> Float[Array, " D"]:
        return _tanh(self.normal.sample(key))

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Float[Array, " D"], Float[Array, ""]]:
        z = self.normal.sample(key)
        return _tanh(z), self.normal.log_prob(z) - jnp.sum(_log_slope(z))

    def mode(self) -> Float[Array, " D"]:
        """Tanh of the normal's mean: the median."""
        return _tanh(self.normal.mean)

    def log_prob(self, action: Float[Array, " D"]) -> Float[Array, ""]:
        inside = jnp.abs(action) < 1
        y = jnp.where(inside, action, 0.0)
        density = self.normal._log_density(jnp.arctanh(y)) - jnp.log1p(y) - jnp.log1p(-y)
        beyond = (jnp.sign(action) * self.normal.mean - EDGE) * jnp.exp(-self.normal.log_std)
        return jnp.sum(jnp.where(inside, density, jax.scipy.special.log_ndtr(beyond) - LOG_EDGE))

    def entropy(self) -> Float[Array, ""]:
        """The normal's and E[log(1 − tanh² z)], which has no closed form: by 32 nodes of Gauss and Hermite."""
        z = self.normal.mean + jnp.exp(self.normal.log_std) * jnp.asarray(NODES, jnp.float32)[:, None]
        slope = jnp.asarray(WEIGHTS / WEIGHTS.sum(), jnp.float32) @ _log_slope(z)
        return self.normal.entropy() + jnp.sum(slope)

    def kl(self, other: SquashedGaussian) -> Float[Array, ""]:
        """The normals' own: what both do alike changes no KL."""
        return self.normal.kl(other.normal)

    def masked(self, legal: None) -> SquashedGaussian:
        return self


class Beta(NamedTuple):
    """Independent beta distributions stretched to [−1, 1]: nothing is lost at the bounds. Chou et al. 2017.

    Both numbers are above 1, so that each has one peak within.
    """

    alpha: Float[Array, " D"]
    beta: Float[Array, " D"]

    def sample(self, key: Key[Array, ""]) -> Float[Array, " D"]:
        return 2 * jax.random.beta(key, self.alpha, self.beta) - 1

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Float[Array, " D"], Float[Array, ""]]:
        action = self.sample(key)
        return action, self.log_prob(action)

    def mode(self) -> Float[Array, " D"]:
        # Where both are 1 as far as float32 tells, all are alike: the middle.
        return (self.alpha - self.beta) / jnp.maximum(self.alpha + self.beta - 2, jnp.finfo(jnp.float32).tiny)

    def log_prob(self, action: Float[Array, " D"]) -> Float[Array, ""]:
        y = jnp.clip((action + 1) / 2, 2.0**-24, 1 - 2.0**-24)
        density = (self.alpha - 1) * jnp.log(y) + (self.beta - 1) * jnp.log1p(-y)
        return jnp.sum(density - self._log_normaliser())

    def entropy(self) -> Float[Array, ""]:
        return jnp.sum(self._log_normaliser() - self._mean_log(self))

    def kl(self, other: Beta) -> Float[Array, ""]:
        apart = other._log_normaliser() - self._log_normaliser()
        return jnp.sum(apart + self._mean_log(self) - self._mean_log(other))

    def masked(self, legal: None) -> Beta:
        return self

    def _log_normaliser(self) -> Float[Array, " D"]:
        return jax.scipy.special.betaln(self.alpha, self.beta) + np.log(2)

    def _mean_log(self, of: Beta) -> Float[Array, " D"]:
        """The mean under this one of another's log-density without its normaliser."""
        digamma = jax.scipy.special.digamma
        both = digamma(self.alpha + self.beta)
        return (of.alpha - 1) * (digamma(self.alpha) - both) + (of.beta - 1) * (digamma(self.beta) - both)


class Deterministic(NamedTuple):
    """One Box action, for certain: a point mass, whose log-probability is that of a mass and not a density."""

    action: Float[Array, " D"]

    def sample(self, key: Key[Array, ""]) -> Float[Array, " D"]:
        return self.action

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Float[Array, " D"], Float[Array, ""]]:
        return self.action, jnp.float32(0)

    def mode(self) -> Float[Array, " D"]:
        return self.action

    def log_prob(self, action: Float[Array, " D"]) -> Float[Array, ""]:
        return jnp.where(jnp.all(action == self.action), 0.0, -jnp.inf)

    def entropy(self) -> Float[Array, ""]:
        return jnp.float32(0)

    def kl(self, other: Deterministic) -> Float[Array, ""]:
        return -other.log_prob(self.action)

    def masked(self, legal: None) -> Deterministic:
        return self


def evenly(policy: Categorical) -> Categorical:
    """A choice among the legal actions, each as likely as the other.

    Args:
        policy: over actions of which only the legal ones are left.

    >>> evenly(Categorical(jnp.array([5.0, 1.0])).masked(jnp.array([True, True]))).probs()
    Array([0.5, 0.5], dtype=float32)
    """
    return Categorical(jnp.where(policy.logits > ILLEGAL / 2, 0.0, ILLEGAL))


def uniform_sample(policy: Distribution, key: Key[Array, ""]) -> tuple[Array, Float[Array, ""]]:
    r"""An action drawn evenly from those that a policy chooses among, and its log-probability.

    .. math:: \log \tfrac{1}{|A|} \text{ of finitely many}, \qquad -D \log 2 \text{ within } [-1, 1]^D

    Args:
        policy: over finitely many actions, of which only the legal ones are left, or within [−1, 1].
        key: what is drawn follows from it.

    Returns:
        Both. Shapes [] or [D], and [].

    >>> uniform_sample(Deterministic(jnp.zeros(3)), jax.random.key(0))[1]
    Array(-2.0794415, dtype=float32)
    """
    if isinstance(policy, Categorical):
        return evenly(policy).sample_and_log_prob(key)
    action = jax.random.uniform(key, policy.mode().shape, minval=-1.0, maxval=1.0)
    return action, jnp.float32(-action.size * np.log(2))


def smoothed(
    action: Float[Array, "*N D"], deviation: Scalar, reach: Scalar, key: Key[Array, ""]
) -> Float[Array, "*N D"]:
    r"""Actions with clipped noise, for values that are alike where actions are. Fujimoto et al. 2018, eq. 14.

    .. math:: \text{clip}(a + \text{clip}(\varepsilon, -c, c), -1, 1), \qquad \varepsilon \sim N(0, \sigma^2)

    Args:
        action: a, within [−1, 1].
        deviation: σ. Shape [].
        reach: c. Shape [].
        key: of the noise.

    Returns:
        Of the same shape.

    >>> smoothed(jnp.array([0.9, -0.2]), 1e6, 0.5, jax.random.key(0))
    Array([1. , 0.3], dtype=float32)
    """
    noise = deviation * jax.random.normal(key, action.shape)
    return jnp.clip(action + jnp.clip(noise, -reach, reach), -1.0, 1.0)


def dirichlet(key: Key[Array, ""], concentration: Float[Array, " A"]) -> Float[Array, " A"]:
    """A draw from a Dirichlet distribution: gamma variables over their sum (Marsaglia & Tsang 2000).

    All are drawn at once, again and again until each is accepted, which nearly all are at first; JAX's draws them one
    after another, which takes a search's noise six times as long.

    Args:
        key: what is drawn follows from it.
        concentration: above 0. Shape [A].

    Returns:
        Probabilities. Shape [A].
    """
    proposing, boosting = jax.random.split(key)
    # A gamma of less than 1 is one of 1 more, times u^(1/α).
    less = concentration < 1
    scale = concentration + less - 1 / 3

    def proposed(drawn: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        key, log_gamma, accepted = drawn
        onward, normal, uniform = jax.random.split(key, 3)
        x = jax.random.normal(normal, scale.shape)
        v = (1 + x / jnp.sqrt(9 * scale)) ** 3
        log_v = jnp.log(jnp.where(v > 0, v, 1.0))
        log_u = jnp.log1p(-jax.random.uniform(uniform, scale.shape))
        fits = (v > 0) & (log_u < x**2 / 2 + scale * (1 - v + log_v))
        return onward, jnp.where(accepted, log_gamma, jnp.log(scale) + log_v), accepted | fits

    begun = (proposing, jnp.zeros_like(scale), jnp.zeros(scale.shape, bool))
    _, log_gamma, _ = jax.lax.while_loop(lambda drawn: ~drawn[2].all(), proposed, begun)
    boost = jnp.log1p(-jax.random.uniform(boosting, scale.shape)) / concentration
    return jax.nn.softmax(log_gamma + jnp.where(less, boost, 0.0))


def _tanh(z: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """Tanh, rounded rightly near ±1 too: XLA's own is 1 from 8.0 on."""
    decay = jnp.exp(-2 * jnp.abs(z))
    return jnp.where(jnp.abs(z) < 1, jnp.tanh(z), jnp.sign(z) * (1 - 2 * decay / (1 + decay)))


def _log_slope(z: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """log(1 − tanh² z) = 2(log 2 − |z| − log(1 + exp(−2|z|))), which does not cancel for large |z|."""
    return 2 * (np.log(2) - jnp.abs(z) - jnp.log1p(jnp.exp(-2 * jnp.abs(z))))


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
        return _draw(self.probs(), key)

    def sample_and_log_prob(self, key: Key[Array, ""]) -> tuple[Int[Array, ""], Float[Array, ""]]:
        action = self.sample(key)
        return action, self.log_prob(action)

    def mode(self) -> Int[Array, ""]:
        return jnp.argmax(allowed(self.legal, self.q)).astype(jnp.int32)

    def log_prob(self, action: Int[Array, ""]) -> Float[Array, ""]:
        return jnp.log(self.probs()[action])

    def entropy(self) -> Float[Array, ""]:
        log_probs = jnp.log(self.probs())
        return -_expectation(log_probs, log_probs)

    def kl(self, other: EpsilonGreedy) -> Float[Array, ""]:
        log_probs = jnp.log(self.probs())
        return _expectation(log_probs, log_probs - jnp.log(other.probs()))

    def masked(self, legal: Legal) -> EpsilonGreedy:
        return self._replace(legal=legal_mask(legal, self.q.shape[0]))
