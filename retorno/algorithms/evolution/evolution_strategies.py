"""Evolution strategies: a policy moves towards those of its perturbations that earn more. No gradient is asked for.

Salimans, Ho, Chen, Sidor & Sutskever 2017 (OpenAI's); Mania, Guy & Recht 2018 (ARS) is the same search with other
weights, and stands at the end of this file. Each environment lives one episode with θ + σε and the next with θ − σε
("mirrored"); a pair that is complete weighs its ε by how much more the one earned than the other. Noise is read from a
table at a random place, so that a place is all that must be remembered of it.

What we do differently: nobody waits for the longest episode. An update uses the pairs that were completed in the
rollout, of which some began under an earlier θ, in an order of time alone: long episodes count as short ones do.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.hyperparameters import Count, Positive, UnitInterval, hyperparameters, preset
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.registry import Registry
from retorno.core.spaces import Spec, require_one_player
from retorno.core.time_step import Clock, TimeStep, Trajectory, before_and_after, one_after_another
from retorno.networks import MLP, Features, NetworkConfig, policy_head
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
    """How the weighted sum of the noise becomes a step. A plain step is in units of σ: α / σ in the papers."""
    discount: UnitInterval = 1.0
    """γ, of an episode's return."""
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
            noise=jax.random.normal(for_noise, (self.table + ravel_pytree(network)[0].size,)),
            held=Held(zeros, zeros + 1, zeros),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: ESLearner) -> Carry:
        return learner.network.initial_carry(), Member(jnp.int32(0), jnp.float32(-1))

    def act(
        self, learner: ESLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        memory, member = carry
        other = Member(
            jnp.where(member.sign > 0, member.place, jax.random.randint(key, (), 0, self.table)), -member.sign
        )
        member = jax.tree.map(lambda new, old: jnp.where(row.first, new, old), other, member)
        weights, as_network = ravel_pytree(learner.network)
        noise = self.deviation * member.sign * _noise(learner, member.place, weights.size)
        policy = normalised(as_network(weights + noise), learner.observations)
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
        moved = descend(
            self.optimiser,
            learner.network,
            ravel_pytree(learner.network)[1](-uphill),
            learner.optimiser,
            learner.clock.progress,
        )
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
    ) -> Float[Array, " W"]:
        """Σ wᵢ εᵢ over the pairs that are complete: the rest, most of all rows, is not looked at."""
        size = ravel_pytree(learner.network)[0].size
        found = jnp.argsort(~complete)

        def add(i: Array, total: Float[Array, " W"]) -> Float[Array, " W"]:
            return total + weight[found[i]] * _noise(learner, place[found[i]], size)

        return jax.lax.fori_loop(0, complete.sum(), add, jnp.zeros(size))


def ARS(**settings: Any) -> ES:
    """Augmented random search (Mania, Guy & Recht 2018): a linear policy of standardised observations, plain steps."""
    own = {"network": Features(), "normalise_observations": True, "deviation": 0.05}
    return preset(ES, settings, **own, utility=TopDirections(), optimiser=SGD(0.02))


def _noise(learner: ESLearner, place: Int[Array, ""], size: int) -> Float[Array, " W"]:
    return jax.lax.dynamic_slice(learner.noise, (place,), (size,))
