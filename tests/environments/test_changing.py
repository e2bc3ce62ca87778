"""Worlds that change: the old one before, the new one after, and life goes on where a task ends."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.environments import drawn
from retorno.environments.changing import Changing, changing
from retorno.environments.mazes import blocking_maze
from retorno.environments.sampled import sampled

LEFT, RIGHT = 0, 2
OPEN, SHUT = "S.G", "S#G\n..."


def test_the_second_world_takes_over() -> None:
    """Two cells to the goal, again and again; after five steps the goal pays twice as much."""
    world = changing(drawn(OPEN), drawn("goal: 2\nS.G"), at=5)
    state, row = world.reset(jax.random.key(0))
    seen = []
    for t in range(8):
        state, row = world.step(state, jnp.int32(RIGHT), jax.random.key(t))
        seen.append((int(row.obs), float(row.reward), float(row.discount), bool(row.last)))
    goal, twice, on = (0, 1.0, 0.0, False), (0, 2.0, 0.0, False), (1, 0.0, 1.0, False)
    assert seen == [on, goal, on, goal, on, twice, on, twice]


def test_a_wall_where_one_stands_is_a_dead_end() -> None:
    world = changing(drawn(OPEN + "\n..."), drawn(SHUT), at=1)
    state, row = world.reset(jax.random.key(0))
    state, row = world.step(state, jnp.int32(RIGHT), jax.random.key(1))
    assert int(row.obs) == 1
    state, row = world.step(state, jnp.int32(RIGHT), jax.random.key(2))
    assert (int(row.obs), float(row.reward), float(row.discount)) == (0, 0.0, 0.0)
    state, row = world.step(state, jnp.int32(RIGHT), jax.random.key(3))
    assert (int(row.obs), float(row.discount)) == (0, 1.0)


def test_states_are_known_by_their_names() -> None:
    world = changing(blocking_maze(), blocking_maze(True), at=1)
    names = {*blocking_maze().state_names, *blocking_maze(True).state_names}
    assert world.observation_space.n == len(names)  # type: ignore[attr-defined]
    assert np.asarray(world.before.start).tolist() == np.asarray(world.after.start).tolist()  # type: ignore[attr-defined]


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="positive number of steps, got 0"):
        changing(drawn(OPEN), drawn(OPEN), 0)
    with pytest.raises(ValueError, match="same actions"):
        changing(drawn(OPEN), drawn("moves: 8\n" + OPEN), 5)
    with pytest.raises(ValueError, match="same observation_space"):
        Changing(sampled(drawn(OPEN)), sampled(drawn(SHUT)), 5)
