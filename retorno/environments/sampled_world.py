"""Any Markov decision process as a world to act in, native to JAX."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.core.environment import Environment
from retorno.core.mdp import MDP, model_of
from retorno.core.runtime import prepare
from retorno.core.time_step import TimeStep, restart


class Sampled(Environment):
    """A model that is lived in: the observation is the state's number, the action the action's.

    An episode ends where a transition's discount is 0; a discount between 0 and 1 only discounts, a negative one
    gives the move to an opponent.
    Where some state lacks an action that others have, rows carry `legal` (all True in a terminal
    state, where the action is ignored). An illegal action stays in place with the reward NaN, so
    that it is noticed.

    The outcomes of a state and action lie side by side in one list; a uniform number finds its
    own among them by bisection of their cumulative probabilities (inverse transform).
    """

    first_outcome: Int[Array, "S A"]
    last_outcome: Int[Array, "S A"]
    cumulative: Float[Array, " N"]
    next_state: Int[Array, " N"]
    reward: Float[Array, " N"]
    discount: Float[Array, " N"]
    start: Int[Array, " I"]
    """The states in which an episode may begin."""
    start_cumulative: Float[Array, " I"]
    legal: Bool[Array, "S A"] | None
    most_outcomes: int = eqx.field(static=True)
    two_players: bool = eqx.field(static=True, default=False)  # pyright: ignore[reportIncompatibleMethodOverride]

    def __repr__(self) -> str:
        states, actions = self.first_outcome.shape[-2:]
        return f"<world sampled from a model of {states:,} states and {actions} actions>"

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.first_outcome.shape[0])

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.first_outcome.shape[1])

    def reset(self, key: Key[Array, ""]) -> tuple[Int[Array, ""], TimeStep]:
        size = len(self.start)
        return self.enter(self.start[_draw(key, self.start_cumulative, jnp.int32(0), jnp.int32(size - 1), size)])

    def enter(self, obs: Int[Array, ""]) -> tuple[Int[Array, ""], TimeStep]:
        return obs, restart(obs, self._legal(obs))

    def step(
        self, state: Int[Array, ""], action: Int[Array, ""], key: Key[Array, ""]
    ) -> tuple[Int[Array, ""], TimeStep]:
        first, last = self.first_outcome[state, action], self.last_outcome[state, action]
        return self._lived(_draw(key, self.cumulative, first, last, self.most_outcomes))

    @property
    def chances(self) -> int:
        """The most outcomes of any pair."""
        return self.most_outcomes

    def odds(self, state: Int[Array, ""], action: Int[Array, ""]) -> Float[Array, " C"]:
        first, last = self.first_outcome[state, action], self.last_outcome[state, action]
        places = first + jnp.arange(self.most_outcomes)
        # The last one's bound is infinite, whatever rounding left.
        reached = jnp.minimum(self.cumulative[places], 1.0)
        before = jnp.where(places > first, self.cumulative[jnp.maximum(places - 1, 0)], 0.0)
        return jnp.where(places <= last, jnp.log(jnp.maximum(reached - before, 0.0)), -jnp.inf)

    def outcome(
        self, state: Int[Array, ""], action: Int[Array, ""], chance: Int[Array, ""]
    ) -> tuple[Int[Array, ""], TimeStep]:
        return self._lived(self.first_outcome[state, action] + chance)

    def _lived(self, outcome: Int[Array, ""]) -> tuple[Int[Array, ""], TimeStep]:
        state, discount = self.next_state[outcome], self.discount[outcome]
        return state, TimeStep(
            obs=state,
            reward=self.reward[outcome],
            discount=discount,
            first=jnp.array(False),
            last=discount == 0,
            legal=self._legal(state),
        )

    def _legal(self, state: Int[Array, ""]) -> Bool[Array, " A"] | None:
        return None if self.legal is None else self.legal[state]


def sampled(model: MDP) -> Sampled:
    """The world that a model describes: Discrete(S) observations and Discrete(A) actions.

    Probabilities are kept as float32: one below 6e-8 may never occur, one of 0 never does.

    Args:
        model: with S states and A actions; γ is not in it.

    Returns:
        The world; rows carry `legal` where some state lacks an action that others have.

    >>> from retorno.environments.textbook.lecture import random_walk
    >>> world = sampled(random_walk(3))
    >>> state, row = world.reset(jax.random.key(0))
    >>> int(row.obs), bool(row.first)
    (1, True)
    >>> state, row = world.step(state, jnp.int32(0), jax.random.key(0))
    >>> int(row.obs) in (0, 2), float(row.discount)
    (True, 1.0)
    """
    prepare()
    model = model_of(model)
    states = np.arange(model.num_states)
    possible = model.probability > 0
    pair = model.transition_pair[possible]
    ends = np.cumsum(np.bincount(pair, minlength=model.num_pairs))
    firsts = np.append(0, ends)[:-1]
    running = np.cumsum(model.probability[possible])
    cumulative = (running - np.append(0, running)[firsts][pair]).astype(np.float32)
    cumulative[ends - 1] = np.inf

    # After the outcomes, one more for each state: what an action does that the state does not have.
    missing = len(pair) + np.repeat(states[:, None], max(model.num_actions, 1), axis=1)
    first, last = missing, missing.copy()
    first[model.pair_state, model.action] = firsts
    last[model.pair_state, model.action] = ends - 1
    start = np.flatnonzero(model.initial)
    start_cumulative = np.cumsum(model.initial[start]).astype(np.float32)
    start_cumulative[-1] = np.inf
    legal = model.legal | model.terminal[:, None]
    # Rounded by NumPy: JAX would compile a program for each size of each.
    whole, real = (lambda x, dtype=dtype: jax.device_put(np.asarray(x, dtype)) for dtype in (np.int32, np.float32))
    return Sampled(
        first_outcome=whole(first),
        last_outcome=whole(last),
        cumulative=real(np.append(cumulative, np.full(len(states), np.inf))),
        next_state=whole(np.append(model.next_state[possible], states)),
        reward=real(np.append(model.reward[possible], np.where(model.terminal, 0.0, np.nan))),
        discount=real(np.append(model.discount[possible], ~model.terminal)),
        start=whole(start),
        start_cumulative=real(start_cumulative),
        legal=None if legal.all() else jax.device_put(legal),
        most_outcomes=int((ends - firsts).max(initial=1)),
        two_players=bool((model.discount < 0).any()),
    )


def _draw(
    key: Key[Array, ""],
    cumulative: Float[Array, " N"],
    first: Int[Array, ""],
    last: Int[Array, ""],
    most: int,
) -> Int[Array, ""]:
    """The first place in [first, last] whose cumulative probability exceeds a uniform number."""
    u = jax.random.uniform(key)
    for _ in range((most - 1).bit_length()):
        middle = (first + last) // 2
        beyond = cumulative[middle] <= u
        first = jnp.where(beyond, jnp.minimum(middle + 1, last), first)
        last = jnp.where(beyond, last, middle)
    return first
