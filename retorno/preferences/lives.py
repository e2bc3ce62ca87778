"""Which step of which episode each recent row is, and what was done before it: enough to live a segment again.

An episode of a world that lives in Python follows from its seed and its actions, so that a segment of it can be drawn
when somebody wants to look at it, and no picture is kept while an agent learns. Held against what was observed it is
known to be the same one.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

from retorno.core.time_step import Trajectory
from retorno.replay import Ring


class Lives(eqx.Module):
    """The newest C rows of each of B environments."""

    place: Int[Array, "C B 2"]
    """The number of the episode in its environment, and the steps since that began."""
    action: Array
    """[C, B], what was done on each row, as the policy acts."""
    newest: Int[Array, ""]
    """The slot of the newest row."""

    @classmethod
    def start(cls, slots: int, num_envs: int, action: Array) -> Lives:
        """Environments that stand at their first rows.

        Args:
            slots: C.
            num_envs: B.
            action: one of them.
        """
        empty = jnp.zeros((slots, num_envs, *action.shape), action.dtype)
        # A row that was not lived is none of any episode.
        place = jnp.full((slots, num_envs, 2), -1).at[0].set(0)
        return cls(place, empty, jnp.int32(0))

    def added(self, lived: Trajectory) -> Lives:
        """With a trajectory [T + 1, B] that begins with the newest row."""
        first = lived.steps.first[1:]
        count, slots = first.shape[0], self.action.shape[0]
        begun = jnp.cumsum(first, axis=0)
        time = jnp.arange(count)[:, None]
        # The newest row that began an episode, if any did since; else the age goes on.
        since = jax.lax.cummax(jnp.where(first, time, -1), axis=0)
        old = self.place[self.newest]
        age = jnp.where(since < 0, old[:, 1] + time + 1, time - since)
        place = jnp.stack([old[:, 0] + begun, age], axis=-1)
        kept = min(count, slots)
        now = (self.newest + count - kept + jnp.arange(kept)) % slots
        after = (now + 1) % slots
        return Lives(
            self.place.at[after].set(place[count - kept :]),
            self.action.at[now].set(lived.action[count - kept :]),
            (self.newest + count) % slots,
        )

    def of(self, ring: Ring, index: Int[Array, " N"]) -> Int[Array, "N 3"]:
        """The environment, episode and age of rows of a ring, whose newest row is the newest here as well.

        Args:
            ring: where they are.
            index: slot · B + environment.
        """
        env = index % ring.num_envs
        back = (ring.newest - index // ring.num_envs) % ring.slots
        slot = (self.newest - back) % self.action.shape[0]
        return jnp.concatenate([env[:, None], self.place[slot, env]], axis=-1).astype(jnp.int32)

    def actions(self, place: np.ndarray) -> np.ndarray | None:
        """What was done in an episode before one of its steps; None where not all of it is kept any more.

        Args:
            place: environment, episode and age.
        """
        env, episode, age = (int(x) for x in place)
        slots = len(self.action)
        found = np.flatnonzero((np.asarray(self.place)[:, env] == (episode, age)).all(-1))
        if not len(found) or age >= slots:
            return None
        slot = (int(found[0]) - age) % slots
        if tuple(np.asarray(self.place)[slot, env]) != (episode, 0):
            return None
        return np.asarray(self.action)[(slot + np.arange(age)) % slots, env]


class Life(NamedTuple):
    """Where in which episode a segment begins, and what was done there before."""

    env: int
    episode: int
    age: int
    actions: np.ndarray
    """[age], as the policy acts."""

    def as_json(self) -> dict[str, Any]:
        """To be written: actions as the words of their numbers, to the bit and a third of what digits would take."""
        words = np.ascontiguousarray(self.actions).astype(self.actions.dtype.newbyteorder("<")).tobytes()
        told = {"env": self.env, "episode": self.episode, "age": self.age}
        return {**told, "actions": base64.b64encode(words).decode()}

    @classmethod
    def read(cls, written: Any, like: np.ndarray) -> Life:
        """What was written.

        Raises:
            ValueError: when it is something else.

        Args:
            written: by `as_json`.
            like: actions of the same kind, [L].
        """
        try:
            env, episode, age = (int(written[name]) for name in ("env", "episode", "age"))
            words = base64.b64decode(written["actions"], validate=True)
            actions = np.frombuffer(words, like.dtype.newbyteorder("<")).astype(like.dtype)
            return cls(env, episode, age, actions.reshape(age, *like.shape[1:]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no life of a segment: {error}") from error


def known_lives(segments: Iterable[Mapping[str, Any]]) -> dict[tuple[int, int, int], dict[str, Any]]:
    """Of segments that were written, those that tell how they can be lived again, by where they begin."""
    found = (each.get("lived") for each in segments)
    return {(each["env"], each["episode"], each["age"]): each for each in found if each}
