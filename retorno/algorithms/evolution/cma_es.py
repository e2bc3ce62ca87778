"""CMA-ES: a normal distribution over policies learns where better ones lie, how far, and along which directions.

Hansen & Ostermeier 2001, in the form of Beyer & Sendhoff 2017 (`ops/adaptation.py`). Each environment lives with a
policy of its own, drawn as m + σ M z; once each has earned a return, m moves to the better half of the draws, and σ
and M to where they lay. M holds a number for each pair of weights, so the policies are small: by default linear.

What we do differently: who is ready before the others lives on with the same policy, whose fitness is then the mean of
its episodes. An episode that began before the last generation ended counts for nothing.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Key, PyTree, UInt32

from retorno.core.hyperparameters import Count, Positive, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import Spec, require_one_player
from retorno.core.time_step import Clock, TimeStep, Trajectory, before_and_after
from retorno.networks import Features, NetworkConfig, policy_head
from retorno.networks.normalisers import ObservationNormaliser, normalised
from retorno.ops.adaptation import Search, adapted, search_from

MOST_WEIGHTS = 5_000
"""Of a policy: M then takes 100 MB."""


class Draw(NamedTuple):
    """With which policy an environment acts."""

    generation: UInt32[Array, ""]
    seed: UInt32[Array, ""]
    """From which its z is drawn."""


class Judged(NamedTuple):
    """What the draws of this generation have earned, [B]."""

    open: Float[Array, " B"]
    """In the episode under way."""
    weight: Float[Array, " B"]
    """γᵗ, what the next reward is worth in it."""
    earned: Float[Array, " B"]
    """In all episodes that have ended."""
    episodes: Float[Array, " B"]
    """How many these are."""
    seed: UInt32[Array, " B"]
    """Of the draw."""


class CMAESLearner(NamedTuple):
    """Everything that changes while CMA-ES learns."""

    network: Policy
    """Its weights are where the search began."""
    search: Search
    observations: ObservationNormaliser | None
    judged: Judged
    generation: UInt32[Array, ""]
    clock: Clock


@hyperparameters
class CMAES:
    """Covariance matrix adaptation (Hansen & Ostermeier 2001). Actions: Discrete, MultiDiscrete, MultiBinary, Box."""

    NAME: ClassVar[str] = "cma_es"

    network: NetworkConfig = field(default_factory=Features)
    """The policy's network. It acts by its best action: what explores is the draw of its weights."""
    num_envs: Count = 32
    """Environments that act side by side: the draws of a generation."""
    rollout: Count = 50
    """Interactions of each environment between two updates, after which a generation may end."""
    deviation: Positive = 0.5
    """σ at the start, of each weight."""
    discount: UnitInterval = 1.0
    """γ, of an episode's return."""
    normalise_observations: bool = True
    """Standardise Box observations by their running mean and variance."""

    def init(self, key: Key[Array, ""], spec: Spec) -> CMAESLearner:
        require_one_player(spec, "CMAES", "it would add the opponent's returns to the player's")
        if spec.num_envs < 4:
            raise ValueError(f"CMAES compares the policies of {spec.num_envs} environments: choose num_envs=4 or more")
        network = self.network.build(key, spec.observation_space, {"policy": policy_head(spec.action_space)})
        weights = ravel_pytree(network)[0]
        if weights.size > MOST_WEIGHTS:
            raise ValueError(
                f"CMAES holds a number for each pair of weights, and this {type(self.network).__name__} has "
                f"{weights.size:,}: choose a network of at most {MOST_WEIGHTS:,}, as Features() or MLP(hidden=(16,)), "
                "or ES, which holds none"
            )
        return CMAESLearner(
            network=network,
            search=search_from(weights, self.deviation),
            observations=ObservationNormaliser.start(spec.observation_space) if self.normalise_observations else None,
            judged=_nothing_yet(spec.num_envs),
            generation=jnp.uint32(1),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: CMAESLearner) -> Carry:
        return learner.network.initial_carry(), Draw(jnp.uint32(0), jnp.uint32(0))

    def act(
        self, learner: CMAESLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        memory, draw = carry
        renews = row.first & (draw.generation != learner.generation)
        other = Draw(learner.generation, jax.random.bits(key))
        draw = jax.tree.map(lambda new, old: jnp.where(renews, new, old), other, draw)
        policy = self._policy(learner, learner.search.at(_noise(learner, draw.seed)))
        heads, memory = policy.step(row.obs, row.first, memory)
        return heads["policy"].masked(row.legal).mode(), draw._asdict(), (memory, draw)

    def policy(self, learner: CMAESLearner) -> Policy:
        return self._policy(learner, learner.search.mean)

    def _policy(self, learner: CMAESLearner, weights: Float[Array, " n"]) -> Policy:
        return normalised(ravel_pytree(learner.network)[1](weights), learner.observations)

    def update(
        self, learner: CMAESLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[CMAESLearner, Metrics]:
        judged = self._judge(learner, trajectory, reward(trajectory))
        complete = (judged.episodes > 0).all()
        fitness = judged.earned / jnp.maximum(judged.episodes, 1)
        z = jax.vmap(lambda seed: _noise(learner, seed))(judged.seed)
        observations = learner.observations
        if observations is not None:
            observations = observations.update(before_and_after(trajectory.steps)[0].obs)
        after = (adapted(learner.search, z, fitness), _nothing_yet(len(fitness)), learner.generation + 1)
        before = (learner.search, judged, learner.generation)
        search, judged, generation = jax.tree.map(lambda x, y: jnp.where(complete, x, y), after, before)
        learner = learner._replace(
            search=search,
            observations=observations,
            judged=judged,
            generation=generation,
            clock=learner.clock.advance(trajectory),
        )
        return learner, {"generation": generation.astype(jnp.float32), "deviation": search.deviation}

    def _judge(self, learner: CMAESLearner, lived: Trajectory, reward: Float[Array, "T B"]) -> Judged:
        """With what this generation's draws earned in a rollout."""

        def step(judged: Judged, row: tuple[Array, Array, Array, Array]) -> tuple[Judged, None]:
            reward, counts, last, seed = row
            earned = judged.open + jnp.where(counts, judged.weight * reward, 0.0)
            ends = counts & last
            following = Judged(
                open=jnp.where(ends, 0.0, earned),
                weight=jnp.where(ends, 1.0, jnp.where(counts, self.discount * judged.weight, judged.weight)),
                earned=judged.earned + jnp.where(ends, earned, 0.0),
                episodes=judged.episodes + ends,
                seed=jnp.where(counts, seed, judged.seed),
            )
            return following, None

        counts = lived.transitions & (lived.extras["generation"] == learner.generation)
        return jax.lax.scan(step, learner.judged, (reward, counts, lived.steps.last[1:], lived.extras["seed"]))[0]


def _nothing_yet(num_envs: int) -> Judged:
    zeros = jnp.zeros(num_envs)
    return Judged(zeros, zeros + 1, zeros, zeros, zeros.astype(jnp.uint32))


def _noise(learner: CMAESLearner, seed: UInt32[Array, ""]) -> Float[Array, " n"]:
    return jax.random.normal(jax.random.key(seed), learner.search.mean.shape)
