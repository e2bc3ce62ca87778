"""A study is what its seeds live one by one; it survives its process, and refuses what cannot be asked."""

import csv
import dataclasses
import os
import signal

import gymnasium as gym
import numpy as np
import pytest

import retorno as rt
from retorno.algorithms import QLearning
from retorno.algorithms.prediction.td import TD
from retorno.core.errors import RetornoError
from retorno.environments.registry import WorldName, native
from retorno.networks import MLP, NETWORKS
from retorno.policies import EXPLORATIONS
from retorno.run import study as module
from retorno.run.folder import FolderError
from retorno.run.grid import grid, settled
from retorno.run.prediction import prediction
from retorno.run.probe import by_episode, lived, probe
from retorno.run.report import Counters
from retorno.run.stopping import Interrupted
from retorno.run.study import StudyError, question_in, study
from retorno.run.train import train
from retorno.run.tune import ask

ASKED = {"over": {"step_size": [0.1, 0.5]}, "seeds": 2, "episodes": 12, "points": 12, "steps": 400}
WORLD = "student"


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch):
    """Stretches of a hundredth of what is expected, so that a small study has several."""
    monkeypatch.setattr(module, "FEWEST_SEEN", 0)


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FEWEST_SEEN", 0)
        return study("q_learning", WORLD, **ASKED)


def test_each_seed_of_each_setting_is_what_it_lives_alone(found) -> None:
    published = rt.train("q_learning", WORLD, 1).algorithm
    assert [s.algorithm for s in found.settings] == [dataclasses.replace(published, step_size=x) for x in (0.1, 0.5)]
    seen = probe(published, WORLD, 400, lived, seeds=(0, 1), steps=400, over={"step_size": [0.1, 0.5]})
    for m in range(2):
        paid = np.where(seen["counts"][m], seen["reward"][m], 0).reshape(2, -1)
        np.testing.assert_array_equal(found.values[m], by_episode(paid, seen["last"][m].reshape(2, -1), 12))
    assert (found.diverged == -1).all() and found.optimum == 6.0 and found.axis == "episode"


def test_it_is_written_tidily_and_told_with_intervals(found, tmp_path) -> None:
    with open(found.save(tmp_path / "out.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["algorithm", "step_size", "seed", "episode", "return"] and len(rows) == 2 * 2 * 12
    last = rows[-1]
    assert (last["algorithm"], last["step_size"], last["seed"], last["episode"]) == ("q_learning", "0.5", "1", "12")
    assert float(last["return"]) == pytest.approx(found.values[1, 1, -1])
    told = str(found)
    assert "the exact optimum is 6" in told and f"{found.seed_means()[0].mean():.6g}" in told
    assert found._repr_html_().count("<tr>") == 3 and "algorithm" in found._repr_html_()
    with pytest.raises(StudyError, match=r"written as \.csv"):
        found.save(tmp_path / "out.txt")


@pytest.mark.parametrize("how", ["killed", "signalled"])
def test_one_that_was_stopped_goes_on_to_the_same_numbers(found, tmp_path, monkeypatch, how) -> None:
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0 if how == "killed" else 1e9)
    looks = []

    def stop(share, told):
        looks.append(share)
        if len(looks) == 6 and how == "killed":
            raise KeyError("killed")
        if len(looks) == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyError if how == "killed" else Interrupted):
        study("q_learning", WORLD, **ASKED, folder=tmp_path / "kept", progress=stop)
    assert 0 < looks[-1] < 1 and not (tmp_path / "kept/results.csv").exists()
    with pytest.raises(FolderError, match="another study"):
        study("q_learning", WORLD, **{**ASKED, "seeds": 3}, folder=tmp_path / "kept")
    again = []
    finished = study("q_learning", WORLD, **ASKED, folder=tmp_path / "kept", progress=lambda x, _: again.append(x))
    np.testing.assert_array_equal(finished.values, found.values)
    assert (
        again[0] > looks[2]
        and (tmp_path / "kept/results.csv").read_text() == found.save(tmp_path / "whole.csv").read_text()
    )
    monkeypatch.setattr(module, "Lives", None)  # Nothing is lived a second time, nor through its folder alone.
    np.testing.assert_array_equal(study("q_learning", WORLD, **ASKED, folder=tmp_path / "kept").values, found.values)
    asked = question_in(tmp_path / "kept")
    assert [str(s) for s in asked.settings] == [str(s) for s in found.settings]
    assert asked.settings[1].algorithm == found.settings[1].algorithm


def test_a_world_that_fails_for_one_seed_is_told_with_it(tmp_path) -> None:
    class Fails(gym.Env):
        observation_space = action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return 0, {}

        def step(self, action):
            raise OSError("unplugged")

    with pytest.raises(RetornoError, match=r"^q_learning, seed 3: environment 0 .*unplugged"):
        study("q_learning", Fails, steps=10, seeds=[3])


def test_a_hosted_world_is_lived_seed_after_seed(tmp_path) -> None:
    """Each as `train` lives it; one that was under way when the study was stopped is lived again."""
    asked = dict(over={"step_size": [0.1, 0.5]}, seeds=2, steps=60, points=1)
    world = rt.gymnasium(gym.make("Blackjack-v1"))
    found = study("q_learning", world, **asked)
    with train(QLearning(step_size=0.5), world, 60, seed=1) as run:
        run.run_to_end()
        lived = Counters.read(run.run)
    assert found.values[1, 1, 0] == pytest.approx(lived.returns.sum() / lived.episodes.sum())

    def stop(share, told):
        if "step_size=0.5" in told:
            raise KeyError("killed")

    with pytest.raises(KeyError):
        study("q_learning", world, **asked, folder=tmp_path / "kept", progress=stop)
    again = []
    kept = study(
        "q_learning", world, **asked, folder=tmp_path / "kept", progress=lambda share, told: again.append(told)
    )
    np.testing.assert_array_equal(kept.values, found.values)
    assert {told for told in again} == {"q_learning step_size=0.5, seed 0", "q_learning step_size=0.5, seed 1"}


def test_a_setting_that_diverges_is_marked_and_the_others_are_kept() -> None:
    method = rt.REINFORCE(MLP((8,)), 2, 8, 12)
    found = study(method, native("CartPole-v1"), over={"lr": [1e-3, 1e30]}, seeds=1, steps=480, points=4)
    assert found.diverged[0] == -1 and found.diverged[1] >= 0
    assert np.isfinite(found.values[0]).any() and "diverged in 1 of 1 seeds" in str(found)
    assert np.isnan(found.seed_means()[1]).all() and found.optimum is None
    assert found.as_row()["settings"][1]["mean"] is None


def test_the_error_of_predicted_values_is_that_of_a_run() -> None:
    found = study(TD(step_size=0.5), "random_walk", seeds=1, steps=60, points=60)
    assert found.measure == "rms"
    with train(TD(step_size=0.5), "random_walk", 60) as run:
        run.run_to_end()
        exact = prediction(run.policies, rt.environments.random_walk(), run.algorithm.discount)
    assert found.values[0, 0, -1] == pytest.approx(exact.errors[0], rel=1e-5)


def test_regret_is_the_optimum_less_the_return(found) -> None:
    lacking = study("q_learning", WORLD, **ASKED, measure="regret")
    np.testing.assert_allclose(lacking.values, 6.0 - found.values)


def test_what_has_one_value_is_no_column_and_names_are_your_own() -> None:
    asked = module.ask({"slow": QLearning(step_size=0.1), "fast": QLearning}, WORLD, {"gamma": 0.9, "alpha": [0.5]})
    assert [s.name for s in asked.settings] == ["slow", "fast"] and asked.settings[0].values == {}
    assert {(s.algorithm.discount, s.algorithm.step_size) for s in asked.settings} == {(0.9, 0.5)}


def test_settings_that_differ_in_more_than_numbers_are_programs_of_their_own() -> None:
    asked = module.ask(
        ["q_learning", "sarsa_lambda"], WORLD, {"lambda": [0.5, 0.9], "exploration": ["epsilon", "softmax"]}
    )
    assert [str(s) for s in asked.settings][1:3] == [
        "q_learning exploration=softmax",
        "sarsa_lambda lambda=0.5 exploration=epsilon",
    ]
    assert asked.batches() == [[0], [1], [2, 4], [3, 5]]


def test_what_would_not_fit_memory_is_lived_in_turn(monkeypatch) -> None:
    asked = module.ask("q_learning", WORLD, {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5]}, seeds=2)
    monkeypatch.setattr(module, "MOST_BYTES", 2 * module.MOST_BYTES // (module.MOST_BYTES // 900))
    assert [len(batch) for batch in asked.batches()] in ([2, 2, 1], [3, 2], [1] * 5)


REFUSED = [
    (dict(algorithms="q_lerning"), "did you mean q_learning"),
    (dict(algorithms=[]), "which algorithm"),
    (dict(algorithms=["sarsa", "SARSA"]), "sarsa is given twice"),
    (dict(world="nowhere"), "nowhere"),
    (dict(world=WorldName("CartPole-v1", hosted=True)), "observations"),
    (dict(over={"lambada": [0.1, 0.2]}), "no hyperparameter 'lambada'"),
    (dict(over={"step_size": [0.1, 0.1]}), "given twice"),
    (dict(over={"step_size": []}), "no values"),
    (dict(over={"step_size": [0.1, 2.0]}), "overshoots"),
    (dict(over={"step_size": [0.1, -1.0]}), "step_size must be"),
    (dict(over={"step_size": ["fast", 0.1]}), "no value of its kind"),
    (dict(over={"exploration": ["epsilon", "softmx"]}), "did you mean softmax"),
    (dict(seeds=0), "seeds must be positive"),
    (dict(seeds=[1, 1]), "different integers"),
    (dict(steps=0), "steps must be positive"),
    (dict(episodes=1.5), "episodes must be whole"),
    (dict(points=0), "points must be positive"),
    (dict(measure="retrun"), "did you mean return"),
    (dict(measure="rms"), "not all of these algorithms predict"),
    (dict(world="river_swim", measure="regret"), "regret needs the exact optimum"),
    (dict(algorithms="reinforce", world="Pendulum-v1", measure="regret"), "no exact model"),
    (dict(algorithms="q_learning", world="CartPole-v1"), "observations"),
]  # fmt: skip


def test_values_of_a_part_that_is_chosen_beside_them_are_its_own() -> None:
    """One that lacks a value goes without it, and is there once; what belongs together is set together."""
    parts = [EXPLORATIONS, NETWORKS]
    made = grid({"q": QLearning()}, {"epsilon": [0.1, 0.3], "exploration": ["epsilon", "softmax"]}, parts)
    assert [str(each)[2:] for each in made] == [
        "exploration.epsilon=0.1 exploration=epsilon",
        "exploration=softmax",
        "exploration.epsilon=0.3 exploration=epsilon",
    ]
    asked = {"network.channels": (8,), "network.sizes": (2,), "network": "cnn", "network.strides": (1,)}
    network = settled({"dqn": rt.DQN()}, asked, parts)["dqn"].network
    assert (network.channels, network.sizes, network.strides) == ((8,), (2,), (1,))
    searched = ask("q_learning", WORLD, {"exploration.temperature": 2.0, "exploration": "softmax"})
    assert searched.algorithm.exploration.temperature == 2 and "exploration.epsilon" not in searched.ranges


@pytest.mark.parametrize(("given", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_cannot_be_asked_is_refused_before_anything_is_lived(given, told, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(module, "Lives", None)
    with pytest.raises((ValueError, RetornoError), match=told):
        study(**{"algorithms": "q_learning", "world": WORLD, **given}, folder=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FolderError, match="holds a run"):
        study("q_learning", WORLD, **ASKED, folder=tmp_path)


def test_a_grid_is_every_combination_and_goes_without_what_an_algorithm_lacks() -> None:
    made = grid({"q": QLearning(), "td": TD()}, {"epsilon": [0.1, 0.2], "alpha": [0.3, 0.4]})
    assert len(made) == 4 + 2 and made[-1].values == {"step_size": 0.4}
    assert made[0].algorithm.exploration.epsilon == 0.1 and made[3].algorithm.step_size == 0.4
