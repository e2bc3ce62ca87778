"""What can be asked, in which forms, what the answer carries, and what is refused."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from models import random_kind, random_model

from retorno import bellman
from retorno.core.mdp import MDP, ModelError, mdp, model_of
from retorno.environments.formats import from_gymnasium, from_rows
from retorno.environments.grids import gridworlds as grids
from retorno.environments.grids import lakes
from retorno.environments.textbook.garnet import garnet
from retorno.environments.textbook.lecture import random_walk, student


def test_a_policy_may_be_probabilities_actions_or_a_function():
    model = random_walk(5)
    as_actions = bellman.evaluate(model, np.array([1, 1, 1, 0, 0, -1, -1]), 0.9)
    chances = np.array([0, 1, 0, 1, 0, 1, 1, 0, 1, 0], float)  # pairs: left, right of A … E
    as_chances = bellman.evaluate(model, chances, 0.9)
    assert as_actions.value == pytest.approx(as_chances.value) and (as_actions.policy == chances).all()
    function = bellman.evaluate(model, bellman.uniform, 0.9)
    assert (function.value == bellman.evaluate(model, bellman.uniform(model), 0.9).value).all()
    assert (bellman.uniform(model) == 0.5).all()


@pytest.mark.parametrize("time", ["1", "2", "2.5", "1000"])
def test_a_discount_of_time_near_one_stands_for_its_decimal(time):
    """1/(1 − γ^τ), whose float of γ^τ has lost the digits of what is missing from 1."""
    ring = mdp({"a": {"on": [(1.0, "a", 1.0)]}}, initial="a")
    found = bellman.solve(bellman.discounted_by_time(ring, 0.9999999, [float(time)]), 1.0)
    with localcontext(Context(prec=50)):
        value = Fraction(1 / (1 - Decimal("0.9999999") ** Decimal(time)))
    assert Fraction(found.lower[0]) <= value <= Fraction(found.upper[0])
    with pytest.raises(ValueError, match="closer to 1 than float64 holds"):
        bellman.discounted_by_time(ring, Fraction(10**17 - 1, 10**17), [1.0])


def test_right_first_from_every_state():
    """Worked by hand: C right → D left → C …, for ever and for nothing, so at γ = 1 all are worth 0."""
    assert (bellman.evaluate(random_walk(5), [1, 1, 1, 0, 0, 0, 0], 1.0).value == 0).all()
    right = bellman.evaluate(random_walk(5), [1] * 7, 0.5)
    assert right.value == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 0, 0])


def test_loops_that_cost_do_not_disturb():
    """Facebook for ever costs 1 a step: the first policy must not be that one, and bounds hold beside it."""
    for method in (bellman.policy_iteration, bellman.value_iteration):
        answer = bellman.solve(student(), 1.0, method=method)
        assert answer.converged and answer.policy_loss_bound < 1e-9
        assert (answer.upper - answer.lower).max() < 1e-9


def test_loops_that_gain_nothing_are_certified():
    """On dry ice all walks that avoid the holes tie: value 1 everywhere, and no bound may be infinite."""
    for method in (bellman.policy_iteration, bellman.value_iteration):
        answer = bellman.solve(lakes.frozen_lake(is_slippery=False), 1.0, method=method)
        assert answer.lower[~answer.model.terminal] == pytest.approx(1)
        assert answer.upper[~answer.model.terminal] == pytest.approx(1)
        assert set(answer.actions("0,0")) == {"down", "right"}  # Who always bumps into the wall stays there.
        assert set(answer.actions("0,1")) == {"left", "right"}
        assert "right" not in answer.actions("1,0")  # a hole


def test_loops_whose_rewards_cancel_are_certified():
    model = mdp({"a": {"go": [(1, "b", 1.0)], "stop": [(1, "end", 0.0)]}, "b": {"back": [(1, "a", -1.0)]}})
    for method in (bellman.policy_iteration, bellman.value_iteration):
        answer = bellman.solve(model, 1.0, method=method)
        assert answer.value == pytest.approx([0, -1, 0]) and answer.converged


def test_going_round_for_nothing_counts_as_the_end_however_it_is_rounded():
    # Six outcomes of 1/6 that pay 0 in all: their sum in floating point is not 0.
    rewards = (-2.0, -2.0, -2.0, 2.0, 1.0, 3.0)
    model = mdp({"a": {"go": [(1 / 6, "a", r) for r in rewards]}, "b": {"to": [(1, "a", 1.0)]}})
    assert bellman.evaluate(model, bellman.uniform, 1.0).value == pytest.approx([0, 1])
    either = mdp({"a": {str(i): [(1, "a", r)] for i, r in enumerate(rewards)}})
    assert bellman.evaluate(either, bellman.uniform, 1.0).value == pytest.approx([0])
    with pytest.raises(ValueError, match="never terminates, and what is earned"):
        bellman.evaluate(mdp({"a": {"go": [(1, "a", 1e-300)]}}), bellman.uniform, 1.0)


def test_rewards_that_cancel_as_they_were_written_pay_nothing():
    """A tenth and two tenths less three tenths are nothing, whatever float64 makes of their sum."""
    round_trip = {"a": {"on": [(1, "b", 0.1)]}, "b": {"on": [(1, "c", 0.2)]}, "c": {"on": [(1, "a", -0.3)]}}
    model = mdp({**round_trip, "c": {**round_trip["c"], "end": [(1, "over", 1.0)]}})
    for answer in (bellman.solve(model, 1.0), bellman.solve_exactly(model, 1)):
        assert [float(v) for v in answer.value[:3]] == pytest.approx([1.3, 1.2, 1])
        assert answer.told("c") == "end"


def test_policy_iteration_does_not_go_round_in_circles():
    """A model in which rounding once made two policies each look better than the other."""
    generator = np.random.default_rng(103_350)
    model = random_model(generator, random_kind(generator, 14, 6))
    for discount in (0.5, 0.9, 0.99, 0.999_999_9):
        answer = bellman.solve(model, discount, method=bellman.policy_iteration, sweeps=1000)
        assert answer.sweeps < 100


def test_at_discount_one_the_best_is_among_the_policies_that_end():
    """Waiting for ever would cost nothing; ending costs 1. Two questions, each with its answer and its actions."""
    model = mdp({"a": {"wait": [(1, "a", 0.0)], "stop": [(1, "end", -1.0)]}})
    waits, stops = {"a": "wait"}, {"a": {"stop": 1}}
    for method in bellman.METHODS:
        total = bellman.solve(model, 1.0, method=method)
        ending = bellman.solve(model, 1.0, method=method, must_end=True)
        assert (total.value[0], total.told("a")) == (pytest.approx(0, abs=1e-12), "wait")
        assert (ending.value[0], ending.told("a")) == (pytest.approx(-1), "stop")
        assert bellman.evaluate(model, total.policy, 1.0).value[0] == 0
    assert bellman.solve(model, 0.99).value[0] == pytest.approx(0)
    exact = bellman.solve_exactly(model, 1), bellman.solve_exactly(model, 1, must_end=True)
    assert [(answer.value[0], answer.told("a")) for answer in exact] == [(0, "wait"), (-1, "stop")]
    compared = bellman.compare(model, {"waits": waits, "stops": stops}, 1.0)
    assert [compared.most_lost(name) for name in ("waits", "stops")] == pytest.approx([0, 1], abs=1e-12)
    with pytest.raises(ValueError, match="policy 'waits': state 'a' never terminates"):
        bellman.compare(model, {"stops": stops, "waits": waits}, 1.0, must_end=True)
    assert bellman.compare(model, {"stops": stops}, 1.0, must_end=True).most_lost("stops") == pytest.approx(
        0, abs=1e-12
    )


@pytest.mark.parametrize("method", [bellman.policy_iteration, bellman.value_iteration, bellman.topological])
def test_who_need_not_end_rests_where_that_is_best(method):
    """From a and b every end costs, and between them nothing does: whoever is there stays."""
    model = mdp(
        {
            "a": {"to b": [(1, "b", 0)], "end": [(1, "end", -2)]},
            "b": {"to a": [(0.5, "a", 0), (0.5, "b", 0)], "to c": [(1, "c", 1)]},
            "c": {"to b": [(1, "b", -1)], "end": [(1, "end", -4)]},
        },
        initial="a",
    )
    answer = bellman.solve(model, 1.0, method=method)
    assert answer.value == pytest.approx([0, 0, -1, 0], abs=1e-9)
    assert bellman.evaluate(model, answer.policy, 1.0).value == pytest.approx([0, 0, -1, 0], abs=1e-9)
    assert answer.actions("a") == ("to b",) and answer.actions("c") == ("to b",) and "to a" in answer.actions("b")
    exact = bellman.solve_exactly(model, 1)
    assert exact.value == [0, 0, -1, 0] and (exact.optimal == answer.optimal).all()
    assert bellman.evaluate_exactly(model, exact.policy, 1).value == exact.value


@pytest.mark.parametrize("method", [bellman.policy_iteration, bellman.value_iteration])
def test_the_discount_of_a_transition_multiplies(method):
    """A semi-Markov loop: v = 1 + γ · ½ · v."""
    model = mdp({"a": {"go": [(1, "a", 1.0)]}})
    model.discount[:] = 0.5
    assert bellman.solve(model, 1.0, method=method).value[0] == pytest.approx(2, abs=1e-6)
    assert bellman.solve(model, 0.5, method=method).value[0] == pytest.approx(4 / 3, abs=1e-6)


def test_methods_agree_on_random_models():
    for seed in range(3):
        model = garnet(60, 3, 4, seed, termination=0.1)
        for discount in (0.5, 0.95, 1.0):
            policies, values = (
                bellman.solve(model, discount, method=bellman.policy_iteration),
                bellman.solve(model, discount, method=bellman.value_iteration),
            )
            assert policies.converged and values.converged
            assert (policies.lower <= values.upper).all() and (values.lower <= policies.upper).all()
            assert values.upper - values.lower == pytest.approx(0, abs=1e-6)
            closed = bellman.evaluate(model, policies.policy, discount)
            precise = {"relative_accuracy": 0.0, "method": bellman.iterative}
            swept = bellman.evaluate(model, policies.policy, discount, **precise)
            assert closed.value == pytest.approx(swept.value, abs=1e-8)
            assert closed.value == pytest.approx(policies.value, abs=1e-8)


def test_against_a_dense_linear_solve():
    model = garnet(200, 2, 5, seed=7)
    policy = np.random.default_rng(0).dirichlet([1, 1], 200).reshape(-1)
    transition, reward = np.zeros((200, 200)), np.zeros(200)
    state = model.pair_state[model.transition_pair]
    weight = policy[model.transition_pair] * model.probability
    np.add.at(transition, (state, model.next_state), weight)
    np.add.at(reward, state, weight * model.reward)
    answer = bellman.evaluate(model, policy, 0.97)
    assert answer.value == pytest.approx(np.linalg.solve(np.eye(200) - 0.97 * transition, reward), abs=1e-9)


def test_the_answer_says_how_it_was_reached():
    model = lakes.frozen_lake()
    answer = bellman.solve(model, 0.9, accuracy=1e-3, method=bellman.value_iteration)
    assert answer.method == "value iteration" and answer.sweeps == len(answer.residuals)
    assert (np.diff(answer.residuals) <= 1e-15).all(), "the residual of a contraction never grows"
    assert (answer.upper - answer.lower).max() <= 1e-3 and answer.policy_loss_bound <= 1e-3
    assert answer.policy.reshape(-1, 4).sum(axis=1) == pytest.approx(1)
    assert (answer.optimal[answer.policy > 0]).all()
    assert bellman.solve(model, 0.9).method == "policy iteration"
    assert bellman.evaluate(model, bellman.uniform, 0.9).method == "closed form"
    assert "discount 0.9, policy iteration, converged" in str(bellman.solve(model, 0.9))


def test_what_rounding_forbids_is_not_called_converged():
    for method in (bellman.policy_iteration, bellman.value_iteration):
        answer = bellman.solve(lakes.frozen_lake(), 0.9, accuracy=1e-18, relative_accuracy=0.0, method=method)
        assert not answer.converged and (answer.upper - answer.lower).max() < 1e-12
    precise = {"accuracy": 1e-18, "relative_accuracy": 0.0, "method": bellman.iterative}
    assert not bellman.evaluate(student(), bellman.uniform, 1.0, **precise).converged


def test_many_states_are_solved_by_sweeps():
    model = garnet(2_001, 2, 3, seed=0, termination=0.1)
    for discount in (0.9, 1.0):
        answer = bellman.solve(model, discount)
        assert answer.method == "modified policy iteration" and answer.converged
        again = bellman.evaluate(model, answer.policy, discount)
        assert discount == 1 or again.method == "iterative"
        assert again.value == pytest.approx(answer.value, abs=1e-6)
        solved = bellman.evaluate(model, answer.policy, discount, method=bellman.closed_form)
        assert solved.value == pytest.approx(again.value, abs=1e-8)


def slow(forest: bool, states: int = 2_000) -> MDP:
    """A forest that burns once in 10,000 years, or a ring of which one place pays: values spread slowly."""
    here = np.arange(states)
    waits = [np.zeros(states, int), np.minimum(here + 1, states - 1)] if forest else [here, (here + 1) % states]
    leads = [np.zeros(states, int), np.zeros(states, int)] if forest else [here, (here - 1) % states]
    paid = np.where(here == states - 1, 4.0, 0.0), np.where(here == 0, 0.0, 1.0) if forest else (here == 0) * 1.0
    return from_rows(
        np.arange(0, 2 * states + 1, 2),
        np.arange(0, 4 * states + 1, 2),
        np.stack([*waits, *leads], axis=1).ravel(),
        np.tile([1e-4, 1 - 1e-4, 0.5, 0.5] if forest else [0.1, 0.9] * 2, states),
        pair_reward=np.stack(paid, axis=1).ravel(),
    )


@pytest.mark.parametrize("forest", [True, False])
def test_where_values_spread_slowly_systems_are_solved_by_elimination(forest):
    """Sweeps would need hundreds of thousands; what leads where says that elimination is quick."""
    model = slow(forest)
    waiting = np.tile([1.0, 0.0], model.num_states)
    known = bellman.evaluate(model, waiting, 0.9999)
    best, howard = bellman.solve(model, 0.9999), bellman.solve(model, 0.9999, method=bellman.policy_iteration)
    assert known.method == "closed form" and known.converged
    assert best.method == "policy iteration" and best.converged and howard.converged
    assert "linear systems of this shape fill little" in best.reason
    assert best.value == pytest.approx(howard.value) and (best.value >= known.lower).all()
    # The equation itself, to what rounding leaves of it.
    wait = model.probability.reshape(-1, 2, 2)[:, 0] * known.value[model.next_state.reshape(-1, 2, 2)[:, 0]]
    assert model.reward[::4] + 0.9999 * wait.sum(1) == pytest.approx(known.value, rel=1e-12)
    assert bellman.evaluate_average(model, waiting).converged
    assert bellman.occupancy(model, waiting, 0.9999).total == pytest.approx(10_000)


def test_a_relative_accuracy_beside_the_absolute_one():
    """Values of three million, known to nine digits, are known."""
    large = mdp({"a": {"go": [(1, "b", 3.0)]}, "b": {"back": [(1, "a", 3.0000001)]}})
    assert bellman.solve(large, 1 - 1e-6).converged and bellman.evaluate(large, bellman.uniform, 1 - 1e-6).converged
    model = garnet(60, 3, 4, seed=1)
    close, rough = (
        bellman.solve(model, 0.999, method=bellman.value_iteration, relative_accuracy=x) for x in (0.0, 1e-3)
    )
    assert close.converged and rough.converged and rough.sweeps < close.sweeps
    assert (rough.upper - rough.lower).max() <= 1e-3 * np.abs(rough.value).max()
    with pytest.raises(ValueError, match="relative accuracy is a width of bounds"):
        bellman.solve(model, 0.9, relative_accuracy=-1.0)


@pytest.mark.parametrize("discount", [-0.1, 1.5, float("nan")])
def test_a_discount_outside_the_unit_interval_is_refused(discount):
    with pytest.raises(ValueError, match=r"discount must lie in \[0, 1\], got"):
        bellman.solve(student(), discount)
    with pytest.raises(ValueError, match=r"discount must lie in \[0, 1\], got"):
        bellman.evaluate(student(), bellman.uniform, discount)


@pytest.mark.parametrize("method", bellman.METHODS)
def test_what_has_no_finite_value_is_infinite_and_the_rest_is_solved(method):
    model = mdp(
        {
            "a": {"go": [(1, "trap", 1.0)], "stop": [(1, "end", 0.0)]},
            "trap": {"stay": [(1, "trap", -1.0)]},
            "risky": {"try": [(0.5, "trap", 9.0), (0.5, "end", 9.0)]},
            "rich": {"stay": [(1, "rich", 1.0)], "stop": [(1, "a", 0.0)]},
            "poor": {"stop": [(1, "end", 1.0)], "dare": [(0.1, "rich", 0.0), (0.9, "end", 0.0)]},
            "rest": {"stay": [(1, "rest", 0.0)]},
            "tired": {"work": [(1, "rest", 3.0)]},
        }
    )
    answer = bellman.solve(model, 1.0, method=method, must_end=True)
    assert answer.value == pytest.approx([0, -np.inf, -np.inf, np.inf, np.inf, 0, 3, 0])
    assert answer.actions("trap") == () and (bellman.solve(model, 1.0, method=method).value == answer.value).all()
    assert answer.converged and answer.actions("a") == ("stop",) and answer.actions("poor") == ("dare",)
    assert (answer.lower <= answer.value).all() and (answer.value <= answer.upper).all()
    costs = bellman.solve(model, 1.0, method=method, minimise=True, must_end=True)
    assert costs.value.tolist() == pytest.approx([0, np.inf, np.inf, 0, 0, 0, 3, 0])
    losing = [-np.inf] * 5 + [0, 3, 0]
    assert bellman.solve(model, 1.0, method=method, minimise=True).value.tolist() == pytest.approx(losing)
    assert bellman.evaluate(model, bellman.uniform, 1.0).value.tolist() == pytest.approx(losing)


def test_nothing_finite_is_refused():
    endless = mdp({"a": {"go": [(1, "trap", 1.0)]}, "trap": {"stay": [(1, "trap", -1.0)]}}, initial="a")
    with pytest.raises(ValueError, match=r"state 'a' \(with 1 more: 'trap'\) never terminates.*criterion average"):
        bellman.solve(endless, 1.0)


@pytest.mark.parametrize("method", bellman.METHODS)
def test_a_loop_that_pays_is_refused(method):
    tempting = mdp({"a": {"again": [(1, "b", 0.1)], "stop": [(1, "end", 100.0)]}, "b": {"back": [(1, "a", 0.0)]}})
    with pytest.raises(ValueError, match=r"state '[ab]' can reach a loop that pays for ever"):
        bellman.solve(tempting, 1.0, method=method)
    assert bellman.solve(tempting, 0.9, method=method).converged


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([0, 0], r"one per state \[5\], got \(2,\)"),
        ([0.5, 0.5], r"one per pair \[8\], got \(2,\)"),
        ([1, 1, 1, 1, 0], "state 'C1': got 1, expected the number of one of its actions"),
        ([0.5, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], "state 'Facebook'.*sum to 1"),
        ([0.5, 0.5, 1.5, -0.5, 0.5, 0.5, 0.5, 0.5], "state 'C1'.*not negative"),
        ([0.5, 0.5, 0.5, 0.5, float("nan"), 0.5, 0.5, 0.5], "state 'C2'"),
    ],
)
def test_a_policy_of_another_model_is_refused(policy, message):
    with pytest.raises(ValueError, match=message):
        bellman.evaluate(student(), policy, 0.9)


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, float("nan")])
def test_epsilon_outside_the_unit_interval_is_refused(epsilon):
    with pytest.raises(ValueError, match=r"epsilon must lie in \[0, 1\]"):
        bellman.best_soft(student(), 0.9, epsilon)


def test_games_are_solved_by_minimax_alone():
    """Of each payment the other gets the next: v = 1 − .9 v. Undiscounted it has no value."""
    game = mdp({"a": {"go": [(1, "a", 1.0)]}})
    game.discount[:] = -1
    answer = bellman.solve(game, 0.9)
    assert answer.lower[0] <= 1 / 1.9 <= answer.upper[0] and answer.policy_loss_bound < 1e-6
    with pytest.raises(ModelError, match="go round for ever"):
        bellman.solve(game, 1)
    with pytest.raises(ModelError, match=r"state 'a', action 'go'.*negative discount"):
        bellman.evaluate(game, bellman.uniform, 0.9)


def test_a_model_without_actions_is_refused():
    with pytest.raises(ModelError, match="no state with an action"):
        bellman.solve(mdp({"a": {}}, initial="a"), 0.9)


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ([(0.5, "a", 0.0), (0.4, "a", 0.0)], "state 'a', action 'go': probabilities sum to 0.9"),
        ([(float("nan"), "a", 0.0)], "state 'a', action 'go': probability nan"),
        ([(1.0, "a", float("inf"))], "state 'a', action 'go': reward inf"),
        ([(1.5, "a", 0.0), (-0.5, "a", 0.0)], "probability -0.5"),
    ],
)
def test_a_model_that_is_none_is_refused(outcomes, message):
    with pytest.raises(ModelError, match=message):
        mdp({"a": {"go": outcomes}})


def test_the_best_soft_policy_keeps_away_from_the_cliff():
    """With ε = .1 the greedy path along the edge falls too often: the first move up is followed by another."""
    model = grids.cliff()
    soft, greedy = bellman.best_soft(model, 1.0, 0.1), bellman.solve(model, 1.0)
    assert soft.start_value < greedy.start_value - 1
    assert soft.actions("2,0") == ("up",) and greedy.actions("2,0") == ("right",)
    edge = (1 - 0.1) * greedy.policy + 0.1 / 4
    assert bellman.evaluate(model, edge, 1.0).start_value < soft.start_value
    assert bellman.best_soft(model, 1.0, 0.0).value == pytest.approx(greedy.value)
    assert bellman.best_soft(model, 0.9, 1.0).value == pytest.approx(
        bellman.evaluate(model, bellman.uniform, 0.9).value
    )


def test_a_model_is_what_is_plainly_meant():
    import gymnasium

    lake = bellman.solve(gymnasium.make("FrozenLake-v1"), 0.99)
    assert lake.start_value == pytest.approx(bellman.solve(lakes.frozen_lake(), 0.99).start_value)
    once = {"a": {"go": [(1, "end", 2.0)]}}
    answers = bellman.solve(once, 1), bellman.evaluate(once, {"a": "go"}, 1), bellman.finite_horizon(once, 3)
    assert [answer.start_value for answer in answers] == pytest.approx([2, 2, 2])
    assert bellman.average_reward(once).start_gain == 0
    for wrong, said in (("student", "rt.solve"), (student, "call it first"), (3, "enumerated")):
        with pytest.raises(TypeError, match=rf"expected a model \(an MDP\), got .*{said}"):
            model_of(wrong)
    with pytest.raises(TypeError, match="BlackjackEnv carries no table P"):
        from_gymnasium(gymnasium.make("Blackjack-v1"))


def test_a_policy_by_name():
    known = bellman.evaluate(
        student(), {"Facebook": "quit", "C1": {"study": 0.5, "facebook": 0.5}, "C2": "study", "C3": "pub"}, 0.9
    )
    assert known.value == pytest.approx(bellman.evaluate(student(), np.array([0, 1, 0.5, 0.5, 0, 1, 0, 1]), 0.9).value)
    for wrong, said in (
        ({"C9": "study"}, "no state 'C9' in the model; did you mean C"),
        ({"C1": "pub"}, "state 'C1' has no action 'pub'; it has facebook, study"),
        ({"C1": "study"}, "policy in state 'Facebook': no action is given"),
        ({"C1": {"study": "half"}}, "'half' is no probability"),
    ):
        with pytest.raises(ValueError, match=said):
            bellman.evaluate(student(), wrong, 0.9)


def test_both_kinds_of_solution_hold_their_policy_alike():
    best, exact = bellman.solve(student(), 1), bellman.solve_exactly(student(), 1)
    assert (best.policy == exact.policy).all()
    chances = bellman.uniform(student())
    assert (
        bellman.evaluate(student(), chances, 1).policy == bellman.evaluate_exactly(student(), chances, 1).policy
    ).all()
    assert bellman.average_exactly(student()).policy.shape == bellman.average_reward(student()).policy.shape
