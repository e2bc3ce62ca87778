"""What only matters in larger models: compiled passes, blocks, chains, models that are never stored."""

import numpy as np
import pytest
from numba import njit

from retorno import bellman
from retorno.bellman.backup import backup_of
from retorno.bellman.sweeping import components, policy_step, sweep
from retorno.core.mdp import MDP, ModelError, Numbered, Selected
from retorno.environments import garnet
from retorno.environments.grids.lakes import frozen_lake

SIDE = 40
HOLES = np.random.default_rng(1).random((SIDE, SIDE)) < 0.1
HOLES[0, 0] = HOLES[-1, -1] = False


def lake_map() -> list[str]:
    rows = [["H" if hole else "F" for hole in row] for row in HOLES]
    rows[0][0], rows[-1][-1] = "S", "G"
    return ["".join(row) for row in rows]


@njit
def lake_step(state, action, outcome):
    row, column = state // SIDE, state % SIDE
    heading = (action + outcome - 1) % 4
    if heading == 0:
        column = max(column - 1, 0)
    elif heading == 1:
        row = min(row + 1, SIDE - 1)
    elif heading == 2:
        column = min(column + 1, SIDE - 1)
    else:
        row = max(row - 1, 0)
    target = row * SIDE + column
    goal = target == SIDE * SIDE - 1
    here = 0.0 if HOLES[state // SIDE, state % SIDE] or state == SIDE * SIDE - 1 else 1 / 3
    return target, here, 1.0 if goal else 0.0, 0.0 if goal or HOLES[row, column] else 1.0


def chain(states: int) -> MDP:
    """Left or right with probability .9, a little at the left end, a lot at the right one."""
    s = np.arange(states)
    left, right = np.maximum(s - 1, 0), np.minimum(s + 1, states - 1)
    reward = np.zeros(4 * states)
    reward[0], reward[-2] = 0.01, 1.0
    return MDP(
        state_ptr=np.arange(0, 2 * states + 1, 2),
        action=np.tile([0, 1], states),
        row_ptr=np.arange(0, 4 * states + 1, 2),
        next_state=np.stack([left, right, right, left], 1).reshape(-1).astype(np.int32),
        probability=np.tile([0.9, 0.1], 2 * states),
        reward=reward,
        discount=np.broadcast_to(1.0, 4 * states),
        initial=np.full(states, 1 / states),
        state_names=Numbered(states),
        action_names=("left", "right"),
    )


def test_compiled_sweeps_equal_plain_ones():
    for model in (garnet(3_000, 3, 4, seed=0, termination=0.1), frozen_lake(lake_map())):
        backup = backup_of(model, 0.9)
        value = np.random.default_rng(0).normal(size=backup.num_states)
        new, choice = np.empty_like(value), np.empty(backup.num_states, np.int64)
        low, high = sweep(backup, value, new, choice)
        q = backup.q(value)
        assert new == pytest.approx(backup.best(q), rel=1e-12)
        assert q[choice] == pytest.approx(new, rel=1e-12)
        assert (low, high) == pytest.approx(((new - value).min(), (new - value).max()))
        again = np.empty_like(value)
        policy_step(backup, choice)(value, again)
        assert again == pytest.approx(new, rel=1e-12)


@pytest.mark.parametrize("discount", [0.9, 0.99])
def test_methods_agree_where_they_are_compiled(discount):
    model = frozen_lake(lake_map())
    exact = bellman.solve(model, discount, 1e-8, method=bellman.policy_iteration)
    for method in (*bellman.METHODS, bellman.auto):
        answer = bellman.solve(model, discount, 1e-8, method=method)
        assert answer.converged and answer.value == pytest.approx(exact.value, abs=2e-8), method
        own = bellman.evaluate(model, answer.policy, discount, accuracy=1e-10)
        assert (exact.value - own.value).max() <= answer.policy_loss_bound + 1e-9
        assert answer.optimal[answer.policy > 0].all()


def test_a_chain_is_solved_as_a_band():
    answer = bellman.solve(chain(5_000), 0.999)
    assert answer.method == "policy iteration" and "diagonals" in answer.reason and answer.converged
    swept = bellman.solve(chain(5_000), 0.999, method=bellman.interval_iteration, accuracy=1e-6)
    assert answer.value == pytest.approx(swept.value, abs=2e-6)
    assert answer.actions(0) == ("left",) and answer.actions(4_999) == ("right",)


def test_components_come_after_all_that_they_lead_to():
    for seed in range(20):
        backup = backup_of(garnet(60, 1, 2, seed=seed, termination=0.3), 0.9)
        order, starts, alone = components(backup)
        assert sorted(order) == list(range(60))
        component = np.empty(60, int)
        for c in range(len(starts) - 1):
            component[order[starts[c] : starts[c + 1]]] = c
        rows = backup.rows.tocoo()
        source, target = component[backup.owner[rows.coords[0]]], component[rows.coords[1]]
        assert (source >= target).all()
        assert all(not alone[c] for c in source[source == target])
        assert (np.diff(starts)[alone] == 1).all()


def test_work_stops_when_it_is_told_to_with_what_is_certified():
    model, told = garnet(2_000, 3, 4, seed=0, termination=0.0), []
    exact = bellman.solve(model, 0.999, 1e-9)
    for limits in ({"sweeps": 3}, {"seconds": 0.0}, {"watch": lambda progress: told.append(progress) or True}):
        answer = bellman.solve(model, 0.999, method=bellman.value_iteration, **limits)
        assert not answer.converged and answer.sweeps <= 3
        assert (answer.lower <= exact.upper).all() and (exact.lower <= answer.upper).all()
    assert told and told[0].sweeps <= 1


def test_a_model_that_is_not_stored_has_the_same_answer():
    stored = bellman.solve(frozen_lake(lake_map()), 0.95, 1e-9)
    made = bellman.solve_matrix_free(bellman.MatrixFree(costs_and_lake, 3 + SIDE * SIDE, 4, 3, start=3), 0.95, 1e-9)
    assert made.converged and made.value[3:] == pytest.approx(stored.value, abs=2e-9)
    assert (made.lower[3:] <= stored.upper).all() and (stored.lower <= made.upper[3:]).all()
    best = made.action[3:]
    assert ((best < 0) == stored.model.terminal).all()
    ties = stored.model.state_ptr[:-1][best >= 0] + best[best >= 0]
    assert stored.optimal[ties].all()
    for state in (0, 1, 700, SIDE * SIDE - 2):
        names = {str(stored.model.action_names[a]) for a in made.actions(3 + state)}
        assert names == set(stored.actions(state))
    cost = bellman.MatrixFree(costs_and_lake, 3, 2, 1)
    least = bellman.solve_matrix_free(cost, 1.0, minimise=True)
    # v(2) = 2 + v(2)/2 = 4, and v(1) = 2 + v(2)/2 = 4 either way.
    assert least.value == pytest.approx([0, 4, 4], abs=1e-6) and least.actions(1) == (0, 1) and least.actions(0) == ()
    assert (least.lower <= [0, 4, 4]).all() and (least.upper >= [0, 4, 4]).all() and least.minimise
    few = bellman.solve_matrix_free(cost, 1.0, 1e-12, minimise=True, sweeps=1)
    assert not few.converged and (few.lower <= [0, 4, 4]).all() and (few.upper >= [0, 4, 4]).all()


@njit
def _costs(state, action):
    """State 0 is terminal; 1 pays 2 and goes to 2, or 4 and ends; 2 pays 2 or 3 and stays, at half the value."""
    if state == 0:
        return 0, 0.0, 0.0, 0.0
    if state == 1:
        return (2, 1.0, 2.0, 0.5) if action == 0 else (0, 1.0, 4.0, 0.0)
    return 2, 1.0, 2.0 + action, 0.5


@njit
def costs_and_lake(state, action, outcome):
    """Both, side by side: passes are compiled once for a function that is compiled."""
    if state >= 3:
        target, probability, reward, discount = lake_step(state - 3, action, outcome)
        return target + 3, probability, reward, discount
    return _costs(state, action) if outcome == 0 else (0, 0.0, 0.0, 0.0)


def _returns(target, probability, reward, discount):
    def transition(state, action, outcome):
        return target, probability, reward, discount

    return transition


@pytest.mark.parametrize(
    ("transition", "says"),
    [
        (_returns(0, -0.5, 0.0, 1.0), "negative"),
        (_returns(0, 0.7, 0.0, 1.0), "do not sum to one"),
        (_returns(9, 1.0, 0.0, 1.0), "not one of the model's"),
        (_returns(0, 1.0, float("nan"), 1.0), "not finite"),
        (_returns(0, 1.0, 0.0, 1.5), r"outside \[0, 1\]"),
    ],
)
def test_a_wrong_transition_function_is_refused(transition, says):
    with pytest.raises(ModelError, match=rf"state 0, action 0: the transition function returns .*{says}"):
        bellman.solve_matrix_free(bellman.MatrixFree(transition, 3, 1, 1), 0.9)


def test_a_model_that_is_not_stored_has_to_be_discounted():
    loop = bellman.MatrixFree(_returns(0, 1.0, 1.0, 1.0), 3, 1, 1)
    with pytest.raises(ValueError, match="goes on for certain, undiscounted at discount 1"):
        bellman.solve_matrix_free(loop, 1.0)
    with pytest.raises(ValueError, match=r"discount must lie in \[0, 1\], got 1.5"):
        bellman.solve_matrix_free(loop, 1.5)
    with pytest.raises(ModelError, match=r"solving 1,000,000,000,000 states would take 36.0 TB of memory"):
        bellman.solve_matrix_free(bellman.MatrixFree(_returns(0, 1.0, 1.0, 1.0), 10**12, 1, 1), 0.9)


def test_arrays_are_not_copied():
    model = chain(50)
    backup = backup_of(model, 0.9)
    assert np.shares_memory(backup.rows.data, model.probability)
    assert np.shares_memory(backup.rows.indices, model.next_state) and model.discount.strides == (0,)


def test_probabilities_that_sum_to_one_up_to_1e_9_are_normalised():
    model = chain(3)
    rough = model.probability * (1 + 3e-10)
    fields = {name: getattr(model, name) for name in model.__dataclass_fields__}
    made = MDP(**fields | {"probability": rough})
    sums = np.add.reduceat(made.probability, made.row_ptr[:-1])
    assert np.abs(sums - 1).max() < 1e-15 and made.probability == pytest.approx(model.probability, rel=1e-15)
    with pytest.raises(ModelError, match=r"state '0', action 'left': probabilities sum to 1\.0000001, expected 1"):
        MDP(**fields | {"probability": model.probability * (1 + 1e-7)})


def test_numbered_and_selected_names():
    names = Numbered(1_000_000)
    assert names[5] == "5" and names[-1] == "999999" and names[2:4] == ("2", "3") and len(names) == 1_000_000
    assert names.index("77") == 77
    for wrong in ("1000000", "-1", "x", "07", ""):
        with pytest.raises(ValueError, match="not one of the numbers from 0 to 999999"):
            names.index(wrong)
    some = Selected(("a", "b", "c"), np.array([2, 0]))
    assert list(some) == ["c", "a"] and some[0:1] == ("c",) and some.index("a") == 1
