"""Published values of small models. Those that the books print with fewer digits are held to their digits."""

from itertools import pairwise

import gymnasium
import numpy as np
import pytest

from retorno import bellman
from retorno.bellman.backup import backup_of
from retorno.core.mdp import mdp
from retorno.environments.grids import gridworlds as grids
from retorno.environments.grids import lakes
from retorno.environments.textbook.lecture import random_walk, student, student_process
from retorno.environments.textbook.toy_text import toy_text

PROCESS = ("C1", "C2", "C3", "Pass", "Pub", "Facebook")
PROCESS_VALUES = {
    0.0: (-2, -2, -2, 10, 1, -1),
    0.9: (-5.012729, 0.942655, 4.087021, 10, 1.908392, -7.637608),
    1.0: (-12.543210, 1.456790, 4.320988, 10, 0.802469, -22.543210),
}
DECISIONS = ("Facebook", "C1", "C2", "C3")


def values(solution, names):
    return [solution.value[solution.model.state(name)] for name in names]


@pytest.mark.parametrize("method", [bellman.closed_form, bellman.iterative])
@pytest.mark.parametrize("discount", PROCESS_VALUES)
def test_student_process(discount, method):
    answer = bellman.evaluate(student_process(), bellman.uniform, discount, method=method)
    assert values(answer, PROCESS) == pytest.approx(PROCESS_VALUES[discount], abs=1e-6)
    assert answer.value[answer.model.state("Sleep")] == 0
    assert answer.converged


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("C1 C2 C3 Pass Sleep", -2.25),
        ("C1 Facebook Facebook C1 C2 Sleep", -3.125),
        ("C1 C2 C3 Pub C2 C3 Pass Sleep", -3.40625),
    ],
)
def test_student_returns(path, expected):
    """The rewards that the model pays along the lecture's episodes, at γ = ½."""
    model = student_process()
    states = [model.state(name) for name in path.split()]
    total = 0.0
    for k, (here, there) in enumerate(pairwise(states)):
        row = slice(model.row_ptr[model.state_ptr[here]], model.row_ptr[model.state_ptr[here] + 1])
        reached = model.next_state[row] == there
        assert reached.any(), f"the model has no step {here} → {there}"
        total += 0.5**k * model.reward[row][reached][0]
    assert total == expected


def test_student_uniform():
    answer = bellman.evaluate(student(), bellman.uniform, 1.0)
    assert values(answer, DECISIONS) == pytest.approx((-2.307692, -1.307692, 2.692308, 7.384615), abs=1e-6)


@pytest.mark.parametrize("method", [bellman.policy_iteration, bellman.value_iteration])
@pytest.mark.parametrize(("discount", "expected"), [(0, (0, -1, 0, 10)), (0.9, (3.87, 4.3, 7, 10)), (1, (6, 6, 8, 10))])
def test_student_optimum(discount, expected, method):
    answer = bellman.solve(student(), discount, method=method)
    assert values(answer, DECISIONS) == pytest.approx(expected, abs=1e-6)


def test_student_best_actions():
    answer = bellman.solve(student(), 1.0)
    assert [answer.actions(name) for name in DECISIONS] == [("quit",), ("study",), ("study",), ("study",)]
    assert answer.actions("Sleep") == ()
    model = answer.model
    pub = [*model.action].index(model.action_names.index("pub"))  # only C3 has it
    assert answer.q[pub] == pytest.approx(9.4, abs=1e-6)


def test_random_walks():
    five = bellman.evaluate(random_walk(5), bellman.uniform, 1.0)
    assert values(five, "ABCDE") == pytest.approx(np.arange(1, 6) / 6, abs=1e-9)
    nineteen = bellman.evaluate(random_walk(19), bellman.uniform, 1.0)
    assert nineteen.value[:19] == pytest.approx(np.arange(-18, 19, 2) / 20, abs=1e-9)
    assert five.start_value == pytest.approx(0.5) and nineteen.start_value == pytest.approx(0)


def test_example_3_5():
    model = grids.example_3_5()
    random = bellman.evaluate(model, bellman.uniform, 0.9).value.reshape(5, 5)
    assert random[0] == pytest.approx([3.3090, 8.7893, 4.4276, 5.3224, 1.4922], abs=5e-5)
    best = bellman.solve(model, 0.9)
    assert best.value.reshape(5, 5)[0] == pytest.approx([21.9775, 24.4194, 21.9775, 19.4194, 17.4775], abs=5e-5)
    assert set(best.actions("0,1")) == {"left", "down", "right", "up"}
    assert set(best.actions("2,2")) == {"left", "up"}


def test_example_4_1():
    model = grids.example_4_1()
    answer = bellman.evaluate(model, bellman.uniform, 1.0)
    assert values(answer, ["0,1", "0,2", "0,3", "1,2"]) == pytest.approx([-14, -20, -22, -20], abs=1e-6)
    assert values(answer, ["1,1"]) == pytest.approx([-18], abs=1e-6)
    backup = backup_of(model, 1.0).under(bellman.uniform(model))
    value = np.zeros(backup.num_states)
    for _ in range(10):
        value = backup.q(value)
    assert value[:3] == pytest.approx([-6.14, -8.35, -8.97], abs=5e-3)
    assert values(bellman.solve(model, 1.0), ["0,1", "0,3", "1,2"]) == pytest.approx([-1, -3, -3], abs=1e-6)


def test_russell_and_norvig_4_by_3():
    """Russell & Norvig 2020, figure 17.3."""
    answer = bellman.solve(grids.grid("...G .#.X S...", slip=0.2, step_reward=-0.04), 1.0)
    names = ["0,0", "0,1", "0,2", "1,0", "1,2", "2,0", "2,1", "2,2", "2,3"]
    book = [0.812, 0.868, 0.918, 0.762, 0.660, 0.705, 0.655, 0.611, 0.388]
    assert values(answer, names) == pytest.approx(book, abs=5e-4)


LAKE = {1.0: 14 / 17, 0.99: 0.542026, 0.95: 0.180472, 0.9: 0.068891}


@pytest.mark.parametrize("make", [lakes.frozen_lake, lambda: toy_text("FrozenLake-v1")])
@pytest.mark.parametrize("discount", LAKE)
def test_frozen_lake(make, discount):
    answer = bellman.solve(make(), discount)
    assert answer.start_value == pytest.approx(LAKE[discount], abs=1e-6)
    assert answer.converged and answer.policy_loss_bound < 1e-6


@pytest.mark.parametrize("make", [lambda: lakes.frozen_lake("8x8"), lambda: toy_text("FrozenLake8x8-v1")])
def test_frozen_lake_8x8(make):
    assert bellman.solve(make(), 0.99).start_value == pytest.approx(0.414640, abs=1e-6)


@pytest.mark.parametrize(("lake", "cap", "success"), [("4x4", 100, 0.7402), ("8x8", 200, 0.8630)])
def test_success_on_the_lake_within_the_cap(lake, cap, success):
    """The chance to reach the goal in time with the policy that is best at γ = .99: `cap` backups from 0."""
    model = lakes.frozen_lake(lake)
    backup = backup_of(model, 1.0).under(bellman.solve(model, 0.99).policy)
    value = np.zeros(backup.num_states)
    for _ in range(cap):
        value = backup.q(value)
    assert value[0] == pytest.approx(success, abs=5e-5)


@pytest.mark.parametrize("make", [grids.cliff, lambda: toy_text("CliffWalking-v1")])
def test_cliff(make):
    assert bellman.solve(make(), 1.0).start_value == pytest.approx(-13, abs=1e-6)
    assert bellman.solve(make(), 1.0, method=bellman.value_iteration).start_value == pytest.approx(-13, abs=1e-6)
    assert bellman.solve(make(), 0.99).start_value == pytest.approx(-12.2479, abs=5e-5)


def test_slippery_cliff():
    assert bellman.solve(toy_text("CliffWalkingSlippery-v1"), 1.0).start_value == pytest.approx(-64.7092, abs=5e-5)


def test_taxi():
    model = toy_text("Taxi-v4")
    answer = bellman.solve(model, 1.0)
    starts = answer.value[model.initial > 0]
    assert len(starts) == 300 and starts.min() == pytest.approx(3) and starts.max() == pytest.approx(15)
    assert answer.start_value == pytest.approx(7.93, abs=1e-6)
    assert bellman.solve(model, 0.99).start_value == pytest.approx(6.32746, abs=1e-5)
    assert bellman.solve(model, 0.9).start_value == pytest.approx(-1.26332, abs=1e-5)
    assert bellman.solve(toy_text("Taxi-v4", is_rainy=True), 1.0).start_value == pytest.approx(3.95457, abs=1e-5)


def test_the_terminated_flag_of_taxi_matters():
    """The published trap: without the flag the optimum at γ = .9 would be 22.19."""
    with gymnasium.make("Taxi-v4") as env:
        table, start = env.unwrapped.P, env.unwrapped.initial_state_distrib
        endless = {s: {a: [o[:3] for o in row] for a, row in choices.items()} for s, choices in table.items()}
    trapped = mdp(endless, initial={s: p for s, p in enumerate(start) if p})
    assert bellman.solve(trapped, 0.9).start_value == pytest.approx(22.19, abs=0.005)
