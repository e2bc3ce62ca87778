"""Testbeds of bandits: each episode is another bandit, drawn from the episode's key. Sutton & Barto 2018, section 2.3.

So a study of 2,000 seeds plays 2,000 bandits. A bandit never ends by itself. Its state tells what the
player cannot see: what each arm pays on average, and the regret of the last pull.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Int, Key

from retorno.core.environment import Environment
from retorno.core.time_step import TimeStep, restart, transition


class Arms(NamedTuple):
    """What each arm pays on average, and what the last pull lost against the best arm."""

    means: Float[Array, " k"]
    regret: Float[Array, ""]

    def pulled(self, action: Int[Array, ""], means: Float[Array, " k"] | None = None) -> Arms:
        """After a pull, when the means may have changed."""
        lost = self.means.max() - self.means[action]
        return Arms(self.means if means is None else means, lost)


def fresh(means: Float[Array, " k"]) -> tuple[Arms, TimeStep]:
    """A bandit that has not been played."""
    return Arms(means, jnp.float32(0)), restart(jnp.int32(0))


class Bandit(Environment):
    """One state, in which each of `arms` can be pulled for ever."""

    endless: ClassVar[bool] = True
    arms: int = eqx.field(static=True, default=10)

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(1)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.arms)


class Testbed(Bandit):
    """Rewards N(mean, deviation²) with means drawn from N(centre, spread²); they may walk by N(0, walk²) a pull.

    `Testbed(spread=0, walk=0.01)` is exercise 2.5's: the means begin equal and walk apart.
    """

    __test__: ClassVar[bool] = False  # Not a test, whatever pytest makes of its name.
    centre: float = eqx.field(static=True, default=0.0)
    spread: float = eqx.field(static=True, default=1.0)
    deviation: float = eqx.field(static=True, default=1.0)
    walk: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        if self.arms < 1 or min(self.spread, self.deviation, self.walk) < 0:
            raise ValueError(
                "a testbed needs at least 1 arm and deviations of at least 0, got "
                f"arms={self.arms}, spread={self.spread}, deviation={self.deviation}, walk={self.walk}"
            )

    def reset(self, key: Key[Array, ""]) -> tuple[Arms, TimeStep]:
        return fresh(self.centre + self.spread * jax.random.normal(key, (self.arms,)))

    def step(self, state: Arms, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Arms, TimeStep]:
        means = state.means
        if self.walk:
            key, walking = jax.random.split(key)
            means = means + self.walk * jax.random.normal(walking, (self.arms,))
        reward = state.means[action] + self.deviation * jax.random.normal(key)
        return state.pulled(action, means), transition(jnp.int32(0), reward)


class BernoulliTestbed(Bandit):
    """Arms that pay 1 or nothing, with probabilities drawn uniformly, or with those of `chances` in another order."""

    chances: tuple[float, ...] | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.arms < 1 or not all(0 <= p <= 1 for p in self.chances or ()):
            raise ValueError(
                f"a bandit needs at least 1 arm and probabilities in [0, 1], got {self.arms} and {self.chances}"
            )
        if self.chances is not None and len(self.chances) != self.arms:
            raise ValueError(f"each of {self.arms} arms needs its probability, got {len(self.chances)}")

    def reset(self, key: Key[Array, ""]) -> tuple[Arms, TimeStep]:
        if self.chances is None:
            return fresh(jax.random.uniform(key, (self.arms,)))
        return fresh(jax.random.permutation(key, jnp.asarray(self.chances, jnp.float32)))

    def step(self, state: Arms, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Arms, TimeStep]:
        return state.pulled(action), transition(jnp.int32(0), jax.random.bernoulli(key, state.means[action]))


class Swinging(NamedTuple):
    """Which arm is best, how many pulls were made, and what the last one lost."""

    best: Int[Array, ""]
    pulls: Int[Array, ""]
    regret: Float[Array, ""]


class AlternatingBandit(Bandit):
    """Good times and bad times: arms that pay 1 or nothing, where one is always better by `gap`, and all swing.

    In phases of 1, growth, growth², … pulls the best arm pays with probability 1 and the others with 1 − gap;
    in the phases between with gap and 0. A method that takes rewards for draws of one distribution blames
    the arms that it pulled in bad times. The "stochastically constrained adversary" of Zimmert & Seldin
    2021 (Tsallis-INF), section 5.
    """

    gap: float = eqx.field(static=True, default=0.125)
    growth: float = eqx.field(static=True, default=1.6)

    def __check_init__(self) -> None:
        if self.arms < 2 or not 0 < self.gap <= 1 or self.growth <= 1:
            raise ValueError(
                "an alternating bandit needs 2 arms, a gap in (0, 1] and a growth above 1, got "
                f"{self.arms}, {self.gap} and {self.growth}"
            )

    def reset(self, key: Key[Array, ""]) -> tuple[Swinging, TimeStep]:
        best = jax.random.randint(key, (), 0, self.arms)
        return Swinging(best, jnp.int32(0), jnp.float32(0)), restart(jnp.int32(0))

    def step(self, state: Swinging, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Swinging, TimeStep]:
        ends = np.floor(np.cumsum(self.growth ** np.arange(int(np.log(2**31) / np.log(self.growth)))))
        good = jnp.searchsorted(jnp.asarray(ends, jnp.float32), state.pulls, side="right") % 2 == 0
        lost = self.gap * (action != state.best)
        reward = jax.random.bernoulli(key, jnp.where(good, 1.0, self.gap) - lost)
        return Swinging(state.best, state.pulls + 1, lost), transition(jnp.int32(0), reward)


class Offers(NamedTuple):
    """Each arm's weights, the context that is shown, and what the last pull lost."""

    weights: Float[Array, "k d"]
    context: Float[Array, " d"]
    regret: Float[Array, ""]


class ContextualBandit(Environment):
    """A context x is seen, and arm a pays N(θ_a·x, deviation²). Contexts and weights are drawn from the unit sphere.

    Li, Chu, Langford & Schapire 2010, eq. 2 (disjoint linear models).
    """

    endless: ClassVar[bool] = True
    arms: int = eqx.field(static=True, default=5)
    size: int = eqx.field(static=True, default=5)
    deviation: float = eqx.field(static=True, default=0.1)

    def __check_init__(self) -> None:
        if min(self.arms, self.size) < 1 or self.deviation < 0:
            raise ValueError(
                "a contextual bandit needs at least 1 arm, contexts of at least 1 number and a deviation of at "
                f"least 0, got {self.arms}, {self.size} and {self.deviation}"
            )

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-1, 1, (self.size,))

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.arms)

    def reset(self, key: Key[Array, ""]) -> tuple[Offers, TimeStep]:
        arms, first = jax.random.split(key)
        context = _direction(first, (self.size,))
        return Offers(_direction(arms, (self.arms, self.size)), context, jnp.float32(0)), restart(context)

    def step(self, state: Offers, action: Int[Array, ""], key: Key[Array, ""]) -> tuple[Offers, TimeStep]:
        noise, following = jax.random.split(key)
        means = state.weights @ state.context
        context = _direction(following, (self.size,))
        reward = means[action] + self.deviation * jax.random.normal(noise)
        return Offers(state.weights, context, means.max() - means[action]), transition(context, reward)


def _direction(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "*k d"]:
    """Unit vectors."""
    x = jax.random.normal(key, shape)
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


class Target(NamedTuple):
    """The best action, and what the last one lost."""

    best: Float[Array, " d"]
    regret: Float[Array, ""]


class ContinuousBandit(Environment):
    """Any real vector is an arm: it pays −|a − a*|² + N(0, deviation²), with a* drawn uniformly from [−2, 2]^size.

    Sutton & Barto 2018, section 13.7, for the kind of problem.
    """

    endless: ClassVar[bool] = True
    size: int = eqx.field(static=True, default=1)
    deviation: float = eqx.field(static=True, default=0.1)

    def __check_init__(self) -> None:
        if self.size < 1 or self.deviation < 0:
            raise ValueError(
                f"a continuous bandit needs actions of at least 1 number and a deviation of at least 0, got "
                f"{self.size} and {self.deviation}"
            )

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(1)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (self.size,))

    def reset(self, key: Key[Array, ""]) -> tuple[Target, TimeStep]:
        best = jax.random.uniform(key, (self.size,), minval=-2.0, maxval=2.0)
        return Target(best, jnp.float32(0)), restart(jnp.int32(0))

    def step(self, state: Target, action: Float[Array, " d"], key: Key[Array, ""]) -> tuple[Target, TimeStep]:
        lost = jnp.sum((action - state.best) ** 2)
        return Target(state.best, lost), transition(jnp.int32(0), -lost + self.deviation * jax.random.normal(key))
