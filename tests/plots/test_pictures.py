"""What pictures of answers hold: what lies on a map, charts of what is no map, bars, and graphs that stay readable."""

import numpy as np
import pytest

from retorno.core.mdp import MapKey, mdp
from retorno.environments.games.blackjack import blackjack
from retorno.environments.grids.ascii_map import ascii_map
from retorno.environments.grids.racetrack import racetrack
from retorno.environments.textbook.access_control import access_control
from retorno.environments.textbook.car_rental import car_rental
from retorno.environments.textbook.exploration import deep_sea
from retorno.environments.textbook.toy_text import toy_text
from retorno.plots import answer_picture, model_graph, value_map
from retorno.plots.answers import Greedy
from retorno.plots.places import Kind, directions, headings, whole_map

ROOMS = """
step: -1
A: 4
S..#A
.....
.#..G
....X
"""


def first_actions(model):
    """An answer of zeros whose first action of each state is the best."""
    optimal = np.zeros(model.num_pairs, bool)
    optimal[model.state_ptr[:-1][~model.terminal]] = True
    return Greedy(model, np.zeros(model.num_states), optimal)


def kinds(model):
    return {at: one.kind for at, one in whole_map(model).items() if one.kind is not Kind.ACTING}


def said(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def gids(axes):
    return {drawn.get_gid() for drawn in axes.collections}


def test_goals_are_goals_by_their_label_and_pits_pits() -> None:
    model = ascii_map(ROOMS)
    assert kinds(model) == {
        (0, 3): Kind.WALL, (2, 1): Kind.WALL,
        (0, 4): Kind.GOAL, (2, 4): Kind.GOAL, (3, 4): Kind.PIT,
    }  # fmt: skip
    assert whole_map(model)[0, 0].start
    assert model.labels["goal"].tolist() == [model.state("2,4")]
    assert said(value_map(first_actions(model))) == [
        "best move", "start", "goal", "pit", "wall", "value, below a sign the reward",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pays", "expected"),
    [((1.0, 0.0), ["goal", "end"]), ((1.0, -1.0), ["goal", "pit"]), ((0.0, 0.0), ["end", "end"])],
)
def test_ends_without_labels_are_told_by_what_they_pay(pays, expected) -> None:
    table = {
        "a": {"left": [(1, "good", pays[0])], "right": [(1, "b", 0.0)]},
        "b": {"left": [(1, "a", 0.0)], "right": [(1, "bad", pays[1])]},
    }
    model = mdp(table, "a", {"good": (0, 0), "a": (0, 1), "b": (0, 2), "bad": (0, 3)})
    whole = whole_map(model)
    assert [whole[0, column].kind.value for column in (0, 3)] == expected


def test_where_steps_cost_the_end_is_the_goal() -> None:
    model = mdp({"a": {"left": [(1, "end", -1.0)], "right": [(1, "a", -1.0)]}}, "a", {"end": (0, 0), "a": (0, 1)})
    assert whole_map(model)[0, 0].kind is Kind.GOAL


def test_cliffs_lead_back_to_the_start_whether_the_table_has_them_or_not() -> None:
    drawn = ascii_map("step: -1\n...\nSCG\n")
    assert kinds(drawn) == {(1, 1): Kind.CLIFF, (1, 2): Kind.GOAL}
    assert whole_map(drawn)[1, 1].reward == -101
    listed = toy_text("CliffWalking-v1")
    assert {at for at, kind in kinds(listed).items() if kind is Kind.CLIFF} == {(3, column) for column in range(1, 11)}
    assert "cliff: back to the start" in said(value_map(first_actions(listed)))


def test_holes_of_a_lake_are_pits_though_they_pay_nothing() -> None:
    found = kinds(toy_text("FrozenLake-v1", map_name="4x4"))
    assert sorted(found.values(), key=str) == [Kind.GOAL, *[Kind.PIT] * 4]


def test_nothing_is_walled_that_no_move_runs_into() -> None:
    assert Kind.WALL not in kinds(deep_sea(4)).values()
    assert Kind.WALL not in kinds(blackjack()).values()


def test_actions_that_change_their_meaning_have_no_direction_but_where_they_are_taken() -> None:
    model = deep_sea(6, mapping_seed=1)
    assert np.isnan(directions(model)).all()
    inner = headings(model)[model.pair_state == model.state("3,2")]
    assert sorted(map(tuple, inner.tolist())) == [(1.0, 0.0), (1.0, 1.0)] or len(inner) == 2
    shown = answer_picture(first_actions(model))
    assert {"best move", "best action"} <= set(said(shown))


def test_accelerations_are_arrows_of_their_own() -> None:
    model = racetrack(".F\nS#", noise=0.0)
    way = dict(zip(model.action_names, model.map_key.headings, strict=True))
    assert way["+1,+0"] == (-1, 0) and way["+0,+1"] == (0, 1)
    legend = said(value_map(first_actions(model)))
    assert legend[0] == "best acceleration" and "at rest" in legend[-1]


def test_cars_are_numbers() -> None:
    model = car_rental()
    figure = answer_picture(first_actions(model))
    policy, value, *bars = figure.axes
    assert (policy.get_title("left"), value.get_title("left")) == ("Best action", "Value")
    assert (policy.get_xlabel(), policy.get_ylabel()) == ("cars at the second location", "cars at the first location")
    assert len(policy.texts) == model.num_states and not value.texts
    # With cars on neither side none is moved; the first action is to move as many from the second as there are.
    assert {text.get_text() for text in policy.texts} == {"0", "−1", "−2", "−3", "−4", "−5"}
    assert "cars moved to the second location over night" in {bar.get_ylabel() for bar in bars}


def test_hit_and_stick_are_regions_of_two_panels() -> None:
    model = blackjack()
    answer = first_actions(model)
    hard = model.state("12 hard, 2")
    answer.optimal[model.state_ptr[hard] : model.state_ptr[hard + 1]] = True
    figure = answer_picture(answer)
    titles = [axes.get_title("left") for axes in figure.axes[:4]]
    assert titles == [
        "no usable ace: best action", "no usable ace: value", "usable ace: best action", "usable ace: value",
    ]  # fmt: skip
    assert said(figure) == ["stick", "stick or hit"]
    assert gids(figure.axes[0]) == {"stick", "stick or hit"}
    assert figure.axes[2].get_ylim() == (11, 0)  # No empty rows below a sum of 12.
    assert [tick.get_text() for tick in figure.axes[2].get_xticklabels()] == ["A", *map(str, range(2, 11))]


def test_customers_are_taken_or_not() -> None:
    figure = answer_picture(first_actions(access_control(4)))
    assert said(figure) == ["reject"]
    assert figure.axes[1].get_xlabel() == "free servers"


def test_a_map_whose_actions_lead_nowhere_says_their_names() -> None:
    model = mdp(
        {s: {a: [(1, "end", 0.0)] for a in ("hold", "sell")} for s in ("low", "high")},
        grid={"low": (0, 0), "high": (0, 1)},
    )
    figure = value_map(first_actions(model))
    assert [text.get_text() for text in figure.axes[0].texts].count("hold") == 2
    assert said(figure) == ["best action", "value"]


def test_a_map_key_needs_no_names() -> None:
    model = mdp(
        {(n, m): {"keep": [(1, (n, m), 1.0)]} for n in range(2) for m in range(3)},
        grid={(n, m): (n, m) for n in range(2) for m in range(3)},
        map_key=MapKey(rows="stock", columns="orders"),
    )
    assert answer_picture(first_actions(model)).axes[0].get_ylabel() == "stock"


def test_what_is_too_large_for_a_graph_is_drawn_in_a_row() -> None:
    model = mdp({n: {k: [(1, (n + k) % 40, 1.0)] for k in (1, 2, 3)} for n in range(40)})
    above, below = answer_picture(first_actions(model)).axes
    assert len(above.lines[0].get_xdata()) == 40 and below.get_xlabel() == "state"
    assert set(below.lines[0].get_ydata()) == {1.0}
    words = mdp({f"s{n}": {a: [(1, f"s{(n + 1) % 20}", 1.0)] for a in ("go", "run")} for n in range(20)})
    _, actions = answer_picture(first_actions(words)).axes
    assert [tick.get_text() for tick in actions.get_yticklabels()] == ["go", "run"]


def test_one_state_is_drawn_as_bars() -> None:
    model = mdp({"bandit": {a: [(0.5, "end", float(a)), (0.5, "end", 0.0)] for a in range(5)}})
    (axes,) = answer_picture(first_actions(model)).axes
    assert [bar.get_height() for bar in axes.patches] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert axes.get_legend().get_texts()[0].get_text() == "best action"


def test_actions_that_do_the_same_share_an_arrow() -> None:
    model = mdp({"a": {n: [(1, "b", 0.0)] for n in range(8)}, "b": {0: [(1, "end", 1.0)]}})
    answer = first_actions(model)
    labels = {text.get_text() for text in model_graph(model, answer).axes[0].texts}
    assert {"action 0, 0", "actions 1–7, 0", "action 0, +1"} <= labels


def test_states_in_which_an_action_does_the_same_share_its_dot() -> None:
    outcomes = [(0.5, "a", 0.0), (0.5, "b", 0.0)]
    model = mdp({s: {"mix": outcomes, "stop": [(1, "end", 0.0)]} for s in "ab"})
    labels = [text.get_text() for text in model_graph(model).axes[0].texts]
    assert labels.count("mix, 0") == 1
