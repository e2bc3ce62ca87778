"""A search finds what is better, gives up what is worse, survives its process, and refuses what cannot be searched."""

import csv
from concurrent.futures import Future

import numpy as np
import pytest

from retorno.algorithms import A2C, DQN, PPO, QLearning
from retorno.cli.train import choose
from retorno.cli.tune import command, range_of
from retorno.core.hyperparameters import Among, Between, declared
from retorno.environments import own_code
from retorno.plots.tuning import tuning
from retorno.run import tune as module
from retorno.run.folder import FolderError, asked_before
from retorno.run.grid import GridError, UnknownHyperparameter, replaced
from retorno.run.places import Here, Lives
from retorno.run.train import TrainingError
from retorno.run.tune import QUESTION, TuneError, answer_in, ask, tune

WORLD = "student"
WIDE = {"step_size": Between(0.01, 1.0, log=True), "epsilon": Between(0.0, 0.5)}


class Told:
    """A place where nothing is learnt: what is returned follows from the settings."""

    def __init__(self, worth):
        self.worth, self.lived = worth, {}

    def go_on(self, life):
        told = Future()
        step = min(self.lived.get(life.folder, 0) + life.every, life.steps)
        self.lived[life.folder] = step
        try:
            told.set_result((step, self.worth(life, step)))
        except Exception as error:
            told.set_exception(error)
        return told

    def close(self):
        pass


def searched(monkeypatch, tmp_path, worth, trials=25, **asked):
    place = Told(worth)
    monkeypatch.setattr(module, "places", lambda number: [place])
    question = ask("q_learning", WORLD, WIDE, steps=100, evaluations=5)
    return answer_in(tmp_path / "search", question, trials, **asked), place


def near_a_tenth(life, step):
    """Best at a step size of .1; ε means nothing."""
    off = abs(np.log10(life.algorithm["step_size"]) + 1)
    return step / 100 - off + 0.001 * life.seed


def test_it_finds_what_is_best_and_says_what_matters(monkeypatch, tmp_path) -> None:
    found, _place = searched(monkeypatch, tmp_path, near_a_tenth, seeds=2)
    assert abs(np.log10(found.best.values["step_size"]) + 1) < 0.1
    assert next(iter(found.importance)) == "step_size" and found.importance["step_size"] > 0.7
    assert sum(found.importance.values()) == pytest.approx(1.0)
    assert found.algorithm.step_size == found.best.values["step_size"]
    # The first is what one has without a search; the best are lived again with the seeds that come next.
    assert found.trials[0].values["step_size"] == found.question.algorithm.step_size == 0.2  # Published.
    ranked = sorted((t for t in found.trials if t.state == "complete"), key=lambda t: -t.score)
    assert set(found.repeated) == {t.number for t in ranked[:3]}
    scores = {t.number: t.score for t in ranked}
    for number, returns in found.repeated.items():
        np.testing.assert_allclose(returns, scores[number] - 1 + np.array([0.2 + 0.801, 0.2 + 0.802]), atol=1e-6)
    assert tuning(found).axes


def test_what_lies_below_the_median_is_given_up_and_costs_no_further_steps(monkeypatch, tmp_path) -> None:
    found, place = searched(monkeypatch, tmp_path, near_a_tenth, trials=12, seeds=0)
    given_up = [t for t in found.trials if t.state == "pruned"]
    assert given_up and all(t.number >= module.FIRST and t.step < 100 for t in given_up)
    for trial in given_up:
        others = [t for t in found.trials if t.number < trial.number and t.state == "complete"]
        at_that_step = [near_a_tenth_of(t, trial.step) for t in others]
        assert trial.score < np.median(at_that_step)
        assert place.lived[tmp_path / "search" / f"trial-{trial.number}"] == trial.step


def near_a_tenth_of(trial, step):
    return step / 100 - abs(np.log10(trial.values["step_size"]) + 1)


def test_a_trial_that_fails_is_told_and_the_search_goes_on(monkeypatch, tmp_path) -> None:
    def worth(life, step):
        if life.algorithm["step_size"] > 0.3:
            raise ValueError("too hasty")
        return near_a_tenth(life, step)

    found, _ = searched(monkeypatch, tmp_path, worth, trials=12, seeds=0)
    failed = [t for t in found.trials if t.state == "fail"]
    assert failed and all(t.values["step_size"] > 0.3 and t.why == "too hasty" for t in failed)
    assert "failed" in str(found) and len(found.trials) == 12

    def never(life, step):
        raise ValueError("it never learns")

    with pytest.raises(TuneError, match=r"all of the first 5 trials failed.*it never learns"):
        searched(monkeypatch, tmp_path / "other", never)


def test_one_trial_is_what_there_is_without_a_search(monkeypatch, tmp_path) -> None:
    found, _ = searched(monkeypatch, tmp_path, near_a_tenth, trials=1, seeds=0)
    assert [(t.state, t.values["step_size"]) for t in found.trials] == [("complete", 0.2)]


def test_the_best_diverges_with_another_seed_and_another_is_taken(monkeypatch, tmp_path) -> None:
    def worth(life, step):
        if life.seed == 2 and life.algorithm["step_size"] == 0.2:
            raise TrainingError("NaN or infinity in the weights")
        return -abs(np.log10(life.algorithm["step_size"] / 0.2))

    found, _ = searched(monkeypatch, tmp_path, worth, trials=3, seeds=2)
    assert [int(np.isnan(found.repeated[number]).sum()) for number in range(3)] == [1, 0, 0]
    best = found.best
    assert best.number != 0 and best.score == max(t.score for t in found.trials[1:]) < found.trials[0].score
    assert "1 of 2 diverged" in str(found)


def test_a_search_that_was_killed_goes_on_to_the_same_trials(monkeypatch, tmp_path) -> None:
    asked = {"over": {"step_size": Between(0.01, 1.0)}, "steps": 200, "evaluations": 2, "episodes": 2}
    question = ask("q_learning", WORLD, **asked)
    whole = answer_in(tmp_path / "whole", question, 3, seeds=1, best=1)
    calls, killed, go_on = [0], [1, 4], Lives.go_on

    class Killed(BaseException):
        pass

    def dies(self, life):
        calls[0] += 1
        told = go_on(self, life)
        if calls[0] in killed:  # After what was lived is on the disk, before anybody was told.
            raise Killed
        return told

    monkeypatch.setattr(Lives, "go_on", dies)
    for _ in killed:
        with pytest.raises(Killed):
            answer_in(tmp_path / "killed", question, 3, seeds=1, best=1)
    found = answer_in(tmp_path / "killed", question, 3, seeds=1, best=1)
    assert [(t.number, t.values, t.state, t.score) for t in found.trials] == [
        (t.number, t.values, t.state, t.score) for t in whole.trials
    ]
    assert found.repeated == whole.repeated and len(found.trials) == 3
    with open(tmp_path / "killed" / "trials.csv") as one, open(tmp_path / "whole" / "trials.csv") as other:
        assert list(csv.reader(one)) == list(csv.reader(other))
    # With more trials it goes on; asked again, nothing is lived.
    monkeypatch.setattr(Here, "go_on", lambda *_: pytest.fail("lived again"))
    assert answer_in(tmp_path / "killed", question, 3, seeds=1, best=1).trials == found.trials
    with pytest.raises(FolderError, match="holds another search"):
        answer_in(tmp_path / "killed", ask("q_learning", WORLD, steps=300), 3)


def test_ranges_are_declared_beside_fields_and_hold_what_is_there() -> None:
    for algorithm in (PPO(), DQN(), QLearning()):
        for place, told in declared(algorithm).items():
            for value in told.values if isinstance(told, Among) else (told.low, told.high):
                replaced(algorithm, {place: value})  # Its field accepts it.
    ranges = ask("ppo", "CartPole-v1").ranges
    assert 1 in ranges["minibatches"].values  # Published, and no range that is declared.
    # A preset stays what it is: A2C has one epoch, and its rollouts are short.
    assert {"epochs", "rollout", "clip"}.isdisjoint(ask("a2c", "CartPole-v1").ranges) and A2C().epochs == 1
    fixed = ask("q_learning", WORLD, {"step_size": 0.3, "discount": [0.9, 0.99]})
    assert fixed.algorithm.step_size == 0.3 and list(fixed.ranges) == ["exploration.epsilon", "discount"]


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"step_sice": Between(0.1, 1)}, "no hyperparameter 'step_sice'; did you mean step_size"),
        ({"step_size": Between(1.0, 0.1)}, "step_size: nothing lies between 1.0 and 0.1"),
        ({"step_size": Between(0.0, 0.1, log=True)}, "step_size: orders of magnitude begin above 0"),
        ({"step_size": Between(-1.0, 0.1)}, "step_size must be at least 0"),
        ({"step_size": Between(0.1, 50.0)}, "step_size: step_size 50 overshoots"),
        ({"step_size": [0.1, 0.1]}, "step_size: 0.1 is given twice"),
        ({"step_size": []}, "step_size: nothing to choose from"),
    ],
)
def test_what_cannot_be_searched_is_refused(over, told) -> None:
    with pytest.raises((GridError, UnknownHyperparameter), match=told):
        ask("q_learning", WORLD, over)


def test_nothing_to_search_a_world_without_a_name_and_a_bad_database_are_told(tmp_path) -> None:
    with pytest.raises(TuneError, match="declares no ranges"):
        ask("td", WORLD)
    from retorno.environments import sampled, student

    with pytest.raises(TuneError, match="made in Python"):
        tune(QLearning(), sampled(student()), 2, steps=100, parallel=2)
    with pytest.raises(TuneError, match=r"database cannot be used: [^\[]*$"):
        tune("q_learning", WORLD, 2, steps=100, storage="sqlite:////nowhere/at/all.db")


def test_the_command_that_is_told_has_the_best_settings(monkeypatch, tmp_path) -> None:
    over = dict(map(range_of, ["lr=1e-4..1e-2:log", "epochs=1..9", "discount=.9,.99"]))
    monkeypatch.setattr(module, "places", lambda number: [Told(lambda life, step: life.algorithm["epochs"])])
    monkeypatch.setattr(own_code, "_modules", {})  # Files that other tests named.
    found = answer_in(tmp_path / "search", ask("ppo", "CartPole-v1", over, steps=100), 6, seeds=0)
    line = command(found, "ppo", "CartPole-v1", {}).split()
    assert line[:4] == ["retorno", "train", "ppo", "CartPole-v1"]
    options, algorithm, _, _ = choose("ppo", "CartPole-v1", line[4:])
    assert algorithm == found.algorithm and options.steps == 100


def test_a_search_is_found_beside_what_is_damaged(tmp_path) -> None:
    for name, text in (("a", "{"), ("b", '{"steps": 2}'), ("c", '{"steps": 1}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / QUESTION).write_text(text)
    assert asked_before(tmp_path, QUESTION, {"steps": 1}) == tmp_path / "c"
    assert asked_before(tmp_path, QUESTION, {"steps": 3}) is None
