"""The exact figures agree with the book to its last digit, and planning's with what it says."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno import bellman
from retorno.core.counter import Counter
from retorno.core.time_step import Trajectory
from retorno.environments.grids.mazes import dyna_maze
from retorno.figures import FIGURES, chapter_8_focus
from retorno.figures.chapter_8_focus import GOES_ON, POINTS, Task, _leads_to_goal, _planned, _so_far, _task
from retorno.run.loop import Run


@pytest.mark.parametrize("name", ["3.2", "3.5", "4.1", "4.2", "4.3"])
def test_exact_figures_agree_with_the_book(name: str) -> None:
    exhibit = FIGURES[name].make(0)
    assert exhibit.checks and all(check.agrees and check.error == 0 for check in exhibit.checks), exhibit.told()
    assert len({len(row) for row in exhibit.rows}) == 1 and len(exhibit.rows[0]) == len(exhibit.columns)


def test_greedy_policies_are_best_from_the_third_sweep_on() -> None:
    """Sutton & Barto 2018, figure 4.1: after the third sweep all greedy policies are optimal."""
    assert FIGURES["4.1"].make(0).notes == ("the greedy policy takes best actions only from k = 3 on",)


@pytest.mark.slow
def test_planning_knows_more_halfway() -> None:
    """Without planning one state is known in the second episode, with 50 steps of it many."""
    exhibit = FIGURES["8.3"].make(3)
    rows = np.array(exhibit.rows)
    assert (rows[rows[:, 0] == 0][:, 2] == 1).all() and rows[rows[:, 0] == 50][:, 2].min() > 3
    assert all(check.agrees for check in exhibit.checks)


@pytest.mark.parametrize(("scale", "fewest"), [(1, 14), (2, 27)])
def test_a_way_is_near_when_it_leads_to_the_goal_in_time(scale: int, fewest: int, monkeypatch) -> None:
    """By the best actions it does, by the worst and by one alone it does not, nor where it should be shorter still."""
    maze = dyna_maze(scale)
    table = np.full((maze.num_states, maze.num_actions), -1.0)
    table[maze.pair_state, maze.action] = bellman.solve(maze, 0.95).q
    table = table.astype(np.float32)
    best = np.stack([table.argmax(1), (-table).argmax(1), np.zeros(maze.num_states, int)]).astype(np.int8)
    np.testing.assert_array_equal(_leads_to_goal(maze, best), [True, False, False])
    for steps in (fewest, fewest - 1):
        monkeypatch.setattr(chapter_8_focus, "NEAR", steps / fewest)
        assert _leads_to_goal(maze, best[0]) == (steps == fewest)
    network = SimpleNamespace(tables={"q": jnp.asarray(table)})
    none, seven = Counter.of(0), Counter.of(7)
    run = Run(SimpleNamespace(network=network), None, None, None, jnp.uint32(0), none, seven)  # type: ignore[arg-type]
    told = _so_far(run, Trajectory(None, None, (), ()))  # type: ignore[arg-type]
    assert told["updates"] == 6 * 7 and (told["best"] == best[0]).all()


def test_uniform_updates_come_to_the_optimum() -> None:
    """A small task of figure 8.8, by both ways of updating, beside value iteration in NumPy."""
    key = jax.random.key(3)
    task: Task = _task(key, 12, 2)
    after, reward = np.asarray(task.after), np.asarray(task.reward, float)
    q = np.zeros(reward.shape[:2])
    for _ in range(400):
        q = (reward + GOES_ON * q.max(1)[after]).mean(2)
    for follows in (True, False):
        values = jax.jit(_planned, static_argnames="every")(task, key, follows, every=200)
        assert values.shape == (POINTS,) and float(values[0]) <= q[0].max() + 1e-3
        np.testing.assert_allclose(values[-1], q[0].max(), rtol=1e-3)
