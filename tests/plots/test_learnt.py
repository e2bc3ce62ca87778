"""What a report shows of worlds with an exact model: regret, optimum, policy and values, by the models themselves."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

import retorno as rt
from retorno import bellman
from retorno.algorithms import TD
from retorno.core.mdp import mdp
from retorno.environments.registry import WorldName, model
from retorno.plots import learnt as module
from retorno.plots.learnt import learnt, learnt_sections, optimum
from retorno.plots.records import grouped, read_all
from retorno.plots.report import run_sections


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of Q-learning on the student, one run of TD on the random walk."""
    folder = tmp_path_factory.mktemp("runs")
    for name, made, world, seed in (
        ("seed-0", rt.QLearning(), "student", 0),
        ("seed-1", rt.QLearning(), "student", 1),
        ("walk", TD(), "random_walk", 0),
    ):
        with rt.train(made, world, 60, every=20, seed=seed, folder=folder / name) as training:
            training.run_to_end()
    return folder


def of(*folders):
    return grouped(read_all(folders))


def test_values_and_regret_are_those_of_the_tables(runs):
    (group,) = of(runs / "seed-0", runs / "seed-1")
    found, best = learnt(group, model("student")), bellman.solve(model("student"), 0.99)
    assert found.steps.tolist() == [20, 40, 60] and found.errors.shape == (2, 3) and list(found.seeds) == [0, 1]
    for seed, policy in enumerate(found.newest):
        q = np.array([policy.step(jnp.int32(s), jnp.array(False), ())[0]["q"] for s in range(5)])
        made = found.model
        assert found.q is not None
        np.testing.assert_allclose(found.q[seed], q[made.pair_state, made.action])
        greedy = {
            made.state_names[s]: max(
                (p for p in range(made.state_ptr[s], made.state_ptr[s + 1])), key=lambda p: q[s, made.action[p]]
            )
            for s in np.flatnonzero(~made.terminal)
        }
        own = bellman.evaluate(made, {s: made.action_names[made.action[p]] for s, p in greedy.items()}, 0.99)
        assert found.errors[seed, -1] == pytest.approx(best.start_value - own.start_value, abs=1e-9)


def test_a_report_of_tables_shows_them_beside_the_exact_answer(runs):
    groups = of(runs / "seed-0", runs / "seed-1")
    sections = {section.heading: section for section in run_sections(groups)}
    assert [*sections][:4] == ["Results", "Learning", "Regret", "Policy and values"]
    assert "the dashed line is the best expected return" in sections["Learning"].pictures[0].caption
    legend = sections["Learning"].pictures[0].figure.legends[0]
    assert "optimum: 6" in {text.get_text() for text in legend.get_texts()}
    assert "is the optimum, certified within" in sections["Regret"].text
    assert [axes.get_ylim()[0] <= 0 for axes in sections["Regret"].pictures[0].figure.axes] == [True]
    lines = [line for name, part in sections.items() if name.startswith("Table") for line in part.tables[0].rows]
    made, exact = model("student"), bellman.solve(model("student"), 0.99)
    assert len(lines) == made.num_pairs and {line[1] for line in lines} == set(made.action_names)
    assert {line[0] for line in lines} - {""} == {"Facebook", "C1", "C2", "C3"}
    np.testing.assert_allclose(sorted(line[3] for line in lines), sorted(exact.q), atol=1e-4)
    np.testing.assert_allclose([line[2] - line[3] - line[4] for line in lines], 0, atol=1e-4)
    assert {line[5] for line in lines} <= {"", "1 of 2", "2 of 2"}
    marked = [
        part.tables[0].rows[i] for n, part in sections.items() if n.startswith("Table") for i in part.tables[0].marked
    ]
    assert len(marked) == int(exact.optimal.sum())


def test_prediction_is_not_judged_as_control(runs):
    groups = of(runs / "walk")
    sections = {section.heading: section for section in run_sections(groups)}
    assert "Learning" not in sections and "Regret" not in sections
    assert not any(line[0].startswith("return in training") for line in sections["Results"].tables[0].rows)
    found = learnt(groups[0], model("random_walk"))
    exact = bellman.evaluate(model("random_walk"), bellman.uniform, 0.99).value
    lines = sections["Table of the states that the policy enters"].tables[0].rows
    assert [line[0] for line in lines] == list("ABCDE")
    np.testing.assert_allclose([line[2] for line in lines], exact[~found.model.terminal], atol=1e-5)
    np.testing.assert_allclose([line[3] for line in lines], [line[1] - line[2] for line in lines], atol=2e-5)
    off = np.array([line[3] for line in lines])
    assert found.errors[0, -1] == pytest.approx(math.sqrt((off**2).mean()), abs=1e-4)
    assert [pane.get_title(loc="left") for pane in sections["Values"].pictures[0].figure.axes] == ["learnt", "exact"]


def test_several_things_are_compared_in_one_regret_curve(runs, tmp_path, monkeypatch):
    other = tmp_path / "other"
    with rt.train(rt.QLearning(step_size=0.25), "student", 60, every=20, folder=other) as training:
        training.run_to_end()
    groups = of(runs / "seed-0", runs / "seed-1", other)
    monkeypatch.setattr(module, "MOST_DRAWN", 1)
    regret, drawn, left_out = learnt_sections(groups)
    (legend,) = regret.pictures[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["step size 0.1 (2 seeds)", "step size 0.25 (1 seed)"]
    assert drawn.heading == "Policy and values: step size 0.1" and drawn.folded
    assert "first 1 of 2" in left_out.text


def test_the_best_return_is_that_within_a_short_time_limit():
    waits = mdp({"s": {"wait": [(1, "s", 1.0)], "stop": [(1, "end", 5.0)]}}, initial="s")
    name = WorldName("student", settings={"max_episode_steps": 2})
    low, high = optimum(name, model("student")) or pytest.fail("no optimum")
    within = bellman.finite_horizon(model("student"), 2).start_value
    assert low <= within <= high and within != 6.0
    assert optimum(WorldName("FrozenLake-v1", hosted=True), waits) is None  # What is earned has no bound.


def test_what_cannot_be_held_against_the_exact_answer_is_said(runs, tmp_path):
    (group,) = of(runs / "seed-0")
    for damaged, told in (
        ({"name": str(tmp_path / "gone.json"), "hosted": None}, "gone.json"),
        ({"name": "cliff", "hosted": None}, "do not see the model's states"),
    ):
        config = {**group.records[0].config, "world": damaged}
        other = group._replace(records=[group.records[0]._replace(config=config)])
        (section,) = learnt_sections([other])
        assert section.heading == "Against the exact answer" and told in section.text
    json.dumps(group.records[0].config)
    unnamed = {**group.records[0].config, "world": {"name": None, "description": "made in Python"}}
    assert learnt_sections([group._replace(records=[group.records[0]._replace(config=unnamed)])]) == []
