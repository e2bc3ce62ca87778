"""Worlds that change: the old one before, the new one after, and episodes that begin and end as ever."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from retorno.core.environment import Environment, advance, begin
from retorno.environments import ascii_map
from retorno.environments.grids.mazes import blocking_maze
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.nonstationary import Nonstationary, nonstationary
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit

LEFT, RIGHT = 0, 2
OPEN, SHUT = "S.G", "S#G\n..."


def lived(world: Environment, steps: int) -> list[tuple[int, float, float, bool, bool]]:
    """Going right: observation, reward, discount, first and last of the first rows."""
    episodes, row = begin(world, jnp.uint32(0), jnp.uint32(0))
    seen = []
    for _ in range(steps):
        seen.append((int(row.obs), float(row.reward), float(row.discount), bool(row.first), bool(row.last)))
        episodes, row = advance(world, episodes, row, jnp.int32(RIGHT), jnp.uint32(0), jnp.uint32(0))
    return seen


FIRST, ON = (0, 0.0, 1.0, True, False), (1, 0.0, 1.0, False, False)


def goal(reward: float) -> tuple[int, float, float, bool, bool]:
    return (2, reward, 0.0, False, True)


@pytest.mark.parametrize("limited", [lambda world: world, lambda world: TimeLimit(world, 9)])
def test_the_second_world_takes_over(limited) -> None:
    """Two cells to the goal, again and again; after five steps, resets not counted, it pays twice as much."""
    world = limited(nonstationary(ascii_map(OPEN), ascii_map("goal: 2\nS.G"), at=5))
    assert lived(world, 12) == [FIRST, ON, goal(1), FIRST, ON, goal(1), FIRST, ON, goal(2), FIRST, ON, goal(2)]


def test_the_export_remembers_as_well() -> None:
    """Through Gymnasium the count goes on over resets, as it does here."""
    env, paid = to_gymnasium(nonstationary(ascii_map(OPEN), ascii_map("goal: 2\nS.G"), at=5)), []
    for seed in range(4):
        env.reset(seed=seed)
        env.step(RIGHT)
        paid.append(env.step(RIGHT)[1])
    assert paid == [1, 1, 2, 2]


def test_a_wall_where_one_stands_is_a_dead_end() -> None:
    dead_end = (1, 0.0, 0.0, False, True)
    assert lived(nonstationary(ascii_map(OPEN + "\n..."), ascii_map(SHUT), at=1), 4) == [FIRST, ON, dead_end, FIRST]


def test_states_are_known_by_their_names() -> None:
    world = nonstationary(blocking_maze(), blocking_maze(True), at=1)
    names = {*blocking_maze().state_names, *blocking_maze(True).state_names}
    assert world.observation_space.n == len(names)  # type: ignore[attr-defined]
    assert np.asarray(world.before.start).tolist() == np.asarray(world.after.start).tolist()  # type: ignore[attr-defined]


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="positive number of steps, got 0"):
        nonstationary(ascii_map(OPEN), ascii_map(OPEN), 0)
    with pytest.raises(ValueError, match="same actions"):
        nonstationary(ascii_map(OPEN), ascii_map("moves: 8\n" + OPEN), 5)
    with pytest.raises(ValueError, match="same observation_space"):
        Nonstationary(sampled(ascii_map(OPEN)), sampled(ascii_map(SHUT)), 5)
