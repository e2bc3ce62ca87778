"""Evolution strategies: a policy moves towards those of its perturbations that earn more. No gradient is asked for.

Salimans, Ho, Chen, Sidor & Sutskever 2017 (OpenAI's); Mania, Guy & Recht 2018 (ARS) is the same search with other
weights, and stands at the end of this file. Each environment lives one episode with θ + σε and the next with θ − σε
("mirrored"); a pair that is complete weighs its ε by how much more the one earned than the other. Noise is read from a
table at a random place, so that a place is all that must be remembered of it. On a layer's weights it may be the
product of two vectors (Sarkar et al. 2025): its mean and covariance are the same, and since x(W + abᵀ) = xW + (x·a)bᵀ,
many policies' layers are one matrix product.

What we do differently: nobody waits for the longest episode. An update uses the pairs that were completed in the
rollout, of which some began under an earlier θ, in an order of time alone: long episodes count as short ones do.
"""

from __future__ import annotations

from dataclasses import field
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.hyperparameters import Count, Positive, UnitInterval, hyperparameters, preset
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.registry import Registry
from retorno.core.spaces import Spec, require_one_player
from retorno.core.time_step import Clock, TimeStep, Trajectory, before_and_after, one_after_another
from retorno.networks import MLP, Features, NetworkConfig, policy_head
from retorno.networks.layers import Linear
from retorno.networks.normalisers import ObservationNormaliser, normalised
from retorno.ops.objectives import masked_mean, masked_variance
from retorno.ops.optimisers import SGD, Adam, Optimiser, descend


@runtime_checkable
class Utility(Protocol):
    """What a pair's noise weighs in a step."""

    def weights(
        self, plus: Float[Array, " N"], minus: Float[Array, " N"], complete: Bool[Array, " N"]
    ) -> Float[Array, " N"]:
        """Of pairs that earned so much with ε and with −ε; those that are not complete count for nothing."""
        ...


@hyperparameters
class CentredRanks:
    """(u(ε) − u(−ε)) / 2k, where u is a return's rank among all 2k of them, from −½ to ½. Salimans et al. 2017.

    So no return, however large, moves the policy further than the best one does.
    """

    def weights(
        self, plus: Float[Array, " N"], minus: Float[Array, " N"], complete: Bool[Array, " N"]
    ) -> Float[Array, " N"]:
        pairs, earned = complete.sum(), jnp.concatenate([plus, minus])
        ordered = jnp.sort(jnp.where(jnp.tile(complete, 2), earned, jnp.inf))
        # Equal returns share the mean of their ranks.
        rank = (jnp.searchsorted(ordered, earned) + jnp.searchsorted(ordered, earned, side="right") - 1) / 2
        utility = rank / jnp.maximum(2 * pairs - 1, 1) - 0.5
        better, worse = jnp.split(utility, 2)
        return jnp.where(complete, better - worse, 0.0) / jnp.maximum(2 * pairs, 1)


@hyperparameters
class TopDirections:
    """(r(ε) − r(−ε)) / b σ_R, of the b pairs in which the better one earned most. Mania et al. 2018, algorithm 2.

    σ_R is the standard deviation of their returns.
    """

    share: UnitInterval = 1.0
    """b / N, how many of the pairs count."""

    def weights(
        self, plus: Float[Array, " N"], minus: Float[Array, " N"], complete: Bool[Array, " N"]
    ) -> Float[Array, " N"]:
        best = jnp.where(complete, jnp.maximum(plus, minus), -jnp.inf)
        used = jnp.maximum(jnp.round(self.share * complete.sum()), 1)
        chosen = complete & (jnp.argsort(jnp.argsort(-best)) < used)
        earned, counted = jnp.concatenate([plus, minus]), jnp.tile(chosen, 2)
        spread = jnp.sqrt(masked_variance(earned, counted)) + 1e-6
        return jnp.where(chosen, plus - minus, 0.0) / (used * spread)


UTILITIES = Registry((CentredRanks, TopDirections), of=Utility)
"""What returns weigh, by the name that the command line gives it."""


class Member(NamedTuple):
    """With which noise an environment acts."""

    place: Int[Array, ""]
    """Where it begins in the table."""
    sign: Float[Array, ""]
    """1, and in the next episode −1."""


class Held(NamedTuple):
    """What the environments have earned, [B]."""

    open: Float[Array, " B"]
    """In the episode under way."""
    weight: Float[Array, " B"]
    """γᵗ, what the next reward is worth in it."""
    plus: Float[Array, " B"]
    """In the last one with ε."""


class ESLearner(NamedTuple):
    """Everything that changes while ES learns, and the noise."""

    network: Policy
    optimiser: optax.OptState
    observations: ObservationNormaliser | None
    noise: Float[Array, " N"]
    held: Held
    clock: Clock


@hyperparameters
class ES:
    """Evolution strategies (Salimans et al. 2017). Actions: Discrete, MultiDiscrete, MultiBinary, Box."""

    SMALL: ClassVar[dict[str, Any]] = {"table": 1024}

    network: NetworkConfig = field(default_factory=MLP)
    """The policy's network. It acts by its best action: what explores is the noise on its weights."""
    num_envs: Count = 64
    """Environments that act side by side, each with noise of its own."""
    rollout: Count = 250
    """Interactions of each environment between two updates, which use all pairs that were completed in them."""
    utility: Utility = field(default_factory=CentredRanks)
    """What a pair's noise weighs."""
    deviation: Positive = 0.1
    """σ, of the noise on each weight."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(0.02))
    """How the weighted sum of the noise becomes a step. A plain one's size is α / σ of Salimans et al. where ranks are
    the utility, and α of Mania et al. where it is theirs."""
    discount: UnitInterval = 1.0
    """γ, of an episode's return."""
    factored: bool = False
    """Whether the noise on a layer's weights is the product of two vectors; else each weight has its own. A step takes
    half the time then, with a thousand environments a quarter; on CartPole as much is learnt, of Pendulum's published
    settings one of three seeds did not (−825 for −191)."""
    table: Count = 1_000_000
    """Places from which noise is read."""
    normalise_observations: bool = False
    """Standardise Box observations by their running mean and variance."""

    def init(self, key: Key[Array, ""], spec: Spec) -> ESLearner:
        require_one_player(spec, "ES", "it would add the opponent's returns to the player's")
        for_network, for_noise = jax.random.split(key)
        network = self.network.build(for_network, spec.observation_space, {"policy": policy_head(spec.action_space)})
        zeros = jnp.zeros(spec.num_envs)
        return ESLearner(
            network=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            observations=ObservationNormaliser.start(spec.observation_space) if self.normalise_observations else None,
            noise=jax.random.normal(for_noise, (self.table + sum(map(_numbers, self._parts(network)[0])),)),
            held=Held(zeros, zeros + 1, zeros),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: ESLearner) -> Carry:
        return learner.network.initial_carry(), Member(jnp.int32(0), jnp.float32(-1))

    def act(
        self, learner: ESLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        memory, member = carry
        drawn = (jax.random.bits(key) % self.table).astype(jnp.int32)  # Half of what `randint` takes, at every step.
        other = Member(jnp.where(member.sign > 0, member.place, drawn), -member.sign)
        member = jax.tree.map(lambda new, old: jnp.where(row.first, new, old), other, member)
        scale = self.deviation * member.sign
        policy = normalised(self._with_noise(learner, member.place, scale), learner.observations)
        heads, memory = policy.step(row.obs, row.first, memory)
        return heads["policy"].masked(row.legal).mode(), {"place": member.place, "sign": member.sign}, (memory, member)

    def policy(self, learner: ESLearner) -> Policy:
        return normalised(learner.network, learner.observations)

    def update(
        self, learner: ESLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[ESLearner, Metrics]:
        held, (plus, minus, complete) = self._earned(learner.held, trajectory, reward(trajectory))
        place, plus, minus, complete = one_after_another((trajectory.extras["place"], plus, minus, complete))
        uphill = self._uphill(learner, place, self.utility.weights(plus, minus, complete), complete)
        downhill = jax.tree.map(jnp.negative, uphill)
        moved = descend(self.optimiser, learner.network, downhill, learner.optimiser, learner.clock.progress)
        old = (learner.network, learner.optimiser)
        network, optimiser = jax.tree.map(lambda x, y: jnp.where(complete.any(), x, y), moved, old)
        observations = learner.observations
        if observations is not None:
            observations = observations.update(before_and_after(trajectory.steps)[0].obs)
        told = {"pairs": complete.sum().astype(jnp.float32), "fitness": masked_mean((plus + minus) / 2, complete)}
        clock = learner.clock.advance(trajectory)
        return learner._replace(
            network=network, optimiser=optimiser, observations=observations, held=held, clock=clock
        ), told

    def _earned(
        self, held: Held, lived: Trajectory, reward: Float[Array, "T B"]
    ) -> tuple[Held, tuple[Float[Array, "T B"], Float[Array, "T B"], Bool[Array, "T B"]]]:
        """What was earned with ε and with −ε, and on which transitions such a pair was completed."""

        def step(held: Held, row: tuple[Array, Array, Array, Array]) -> tuple[Held, Any]:
            reward, counts, last, sign = row
            earned = held.open + jnp.where(counts, held.weight * reward, 0.0)
            ends = counts & last
            following = Held(
                open=jnp.where(ends, 0.0, earned),
                weight=jnp.where(ends, 1.0, jnp.where(counts, self.discount * held.weight, held.weight)),
                plus=jnp.where(ends & (sign > 0), earned, held.plus),
            )
            return following, (held.plus, earned, ends & (sign < 0))

        rows = (reward, lived.transitions, lived.steps.last[1:], lived.extras["sign"])
        return jax.lax.scan(step, held, rows)

    def _uphill(
        self, learner: ESLearner, place: Int[Array, " N"], weight: Float[Array, " N"], complete: Bool[Array, " N"]
    ) -> Policy:
        """Σ wᵢ εᵢ over the pairs that are complete: the rest, most of all rows, is not looked at."""
        found = jnp.argsort(~complete)

        def add(i: Array, total: Policy) -> Policy:
            noise = self._noise(learner, place[found[i]])
            return jax.tree.map(lambda sum, each: sum + weight[found[i]] * each, total, noise)

        return jax.lax.fori_loop(0, complete.sum(), add, jax.tree.map(jnp.zeros_like, learner.network))

    def _parts(self, network: Policy) -> tuple[list[Any], Any]:
        """What has noise of its own: layers, or arrays."""
        return jax.tree.flatten(network, is_leaf=lambda x: self.factored and isinstance(x, Linear))

    def _drawn(self, learner: ESLearner, place: Int[Array, ""]) -> tuple[list[tuple[Any, Array]], Any]:
        """Each part with its numbers from the table."""
        parts, structure = self._parts(learner.network)
        ends = list(accumulate(map(_numbers, parts)))
        numbers = jax.lax.dynamic_slice(learner.noise, (place,), (ends[-1],))
        return list(zip(parts, jnp.split(numbers, ends[:-1]), strict=True)), structure

    def _with_noise(self, learner: ESLearner, place: Int[Array, ""], scale: Float[Array, ""]) -> Policy:
        """The network with σε on its weights."""
        drawn, structure = self._drawn(learner, place)
        return jax.tree.unflatten(
            structure,
            [
                Leaning(part, *_factors(part, scale, numbers))
                if isinstance(part, Linear)
                else part + scale * numbers.reshape(part.shape)
                for part, numbers in drawn
            ],
        )

    def _noise(self, learner: ESLearner, place: Int[Array, ""]) -> Policy:
        """ε, in the network's shape."""
        drawn, structure = self._drawn(learner, place)

        def whole(part: Any, numbers: Array) -> Any:
            if not isinstance(part, Linear):
                return numbers.reshape(part.shape)
            left, right, bias = _factors(part, jnp.float32(1), numbers)
            return Linear(jnp.outer(left, right), bias)

        return jax.tree.unflatten(structure, [whole(*each) for each in drawn])


class Leaning(eqx.Module):
    """A layer with noise on its weights: x(W + abᵀ) and what is added."""

    layer: Linear
    left: Float[Array, " in"]
    """a"""
    right: Float[Array, " out"]
    """b"""
    shift: Float[Array, " out"] | None

    def __call__(self, x: Float[Array, "*rows in"]) -> Float[Array, "*rows out"]:
        y = self.layer(x) + (x @ self.left)[..., None] * self.right
        return y if self.shift is None else y + self.shift

    @property
    def weight(self) -> Float[Array, "in out"]:
        """What stands for the layer's own, to whoever looks up a row of it or asks for its type."""
        return self.layer.weight + jnp.outer(self.left, self.right)

    @property
    def bias(self) -> Float[Array, " out"] | None:
        """What stands for the layer's own."""
        return self.layer.bias if self.layer.bias is None or self.shift is None else self.layer.bias + self.shift


def _numbers(part: Any) -> int:
    """How many numbers its noise is made of."""
    if not isinstance(part, Linear):
        return part.size
    return sum(part.weight.shape) + (0 if part.bias is None else part.bias.size)


def _factors(layer: Linear, scale: Float[Array, ""], numbers: Float[Array, " N"]) -> tuple[Array, Array, Array | None]:
    """Of a layer's noise: the two vectors, and what is added."""
    left, right, bias = jnp.split(numbers, np.cumsum(layer.weight.shape))
    return scale * left, right, None if layer.bias is None else scale * bias


def ARS(**settings: Any) -> ES:
    """Augmented random search (Mania, Guy & Recht 2018): a linear policy of standardised observations, plain steps."""
    own = {"network": Features(), "normalise_observations": True, "deviation": 0.05}
    return preset(ES, settings, **own, utility=TopDirections(), optimiser=SGD(0.02))
