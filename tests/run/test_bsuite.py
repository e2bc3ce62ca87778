"""The behaviour suite: its experiments as worlds, its scores, a suite that is killed in the middle."""

import functools
from concurrent.futures import ThreadPoolExecutor

import gymnasium as gym
import numpy as np
import pytest

import retorno as rt
from retorno.cli.main import main
from retorno.core.errors import WorldError
from retorno.environments.hosted import bsuite
from retorno.environments.hosted.bsuite import Experiment, experiments
from retorno.environments.registry import UnknownNameError
from retorno.run import bsuite as suites
from retorno.run.bsuite import SuiteError, beats_dithering, longest, suite


def test_all_experiments_are_there():
    found = experiments()
    assert len(found) == 23 and sum(map(len, found.values())) == 468
    assert [longest(each) for each in ("bandit/0", "catch/0", "deep_sea/5", "umbrella_length/5")] == [1, 9, 20, 6]


def test_an_experiment_is_a_world_that_follows_its_seed():
    env = rt.make("bsuite/catch_noise/3").source()
    assert env.observation_space.shape == (10, 5) and env.action_space == gym.spaces.Discrete(3)

    def lived(seed):
        rows = [env.reset(seed=seed)[0]]
        steps = [env.step(1) for _ in range(9)]
        assert [step[2] for step in steps] == [False] * 8 + [True]
        return np.concatenate([*rows, *(step[0] for step in steps)]), [step[1] for step in steps]

    first, again, other = lived(1), lived(1), lived(2)
    np.testing.assert_array_equal(first[0], again[0])
    # The noise on rewards too, which a wrapper of the package draws.
    assert first[1] == again[1] != other[1]


def known(setting, episodes, choose):
    """What is written down of so many episodes."""
    env = Experiment(setting)
    env.episodes = episodes
    while not env.over:
        obs, _ = env.reset()
        ended = False
        while not ended:
            obs, _, ended, _, _ = env.step(choose(env, obs))
    return env.rows


class Player:
    """Stands for a run: lives as `choose` says."""

    def __init__(self, choose):
        self.choose = choose

    def __call__(self, algorithm, setting, seed):
        return known(setting, Experiment(setting).episodes, self.choose)


@pytest.mark.parametrize(("choose", "score"), [(lambda env, obs: np.argmax(env._made._rewards), 1), (None, 0)])
def test_the_best_gets_1_and_chance_0(choose, score, tmp_path, monkeypatch):
    """Of the bandit by the package's own score, from what was written down; the arms are those of its setting."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(suites, "live", Player(choose or (lambda env, obs: rng.integers(11))))
    found = suite("x", rt.DQN(), tmp_path, ["bandit"], settings=1)
    assert found.scores[0].score == pytest.approx(score, abs=0.03) and found.by_tag == {"basic": found.scores[0].score}
    assert (found.scores[0].lived, found.scores[0].settings) == (1, 20)


def test_several_settings_at_a_time_find_the_same(tmp_path, monkeypatch):
    """As if in processes of their own, of which one cannot make its world."""

    def lived(algorithm, setting, seed):
        assert algorithm == rt.DQN(epsilon=0.5)
        if setting == "mnist/0":
            raise WorldError("no network")
        return once(setting)

    once = functools.cache(lambda setting: known(setting, 10, lambda env, obs: 0))
    monkeypatch.setattr(suites, "live", lived)
    monkeypatch.setattr(suites, "workers", lambda number, files: ThreadPoolExecutor(number))
    asked = {"algorithm": rt.DQN(epsilon=0.5), "chosen": ["bandit", "mnist", "catch"], "settings": 1}
    one = suite("x", folder=tmp_path / "one", **asked)
    assert str(suite("x", folder=tmp_path / "two", parallel=2, **asked)) == str(one)
    assert [each.lived for each in one.scores] == [1, 0, 1] and one.scores[1].why == "no network"


def test_deep_sea_by_hand():
    """Of size 4 the treasure has to be found before episode 2⁴ + 100: in less than .9 of them it was not."""
    pandas = pytest.importorskip("pandas")

    def sea(size, bad):
        told = zip((10, 100, 200), bad, strict=True)
        return [{"bsuite_id": size, "size": size, "episode": e, "total_bad_episodes": b} for e, b in told]

    for bad, found in (((9, 89, 100), 1), ((10, 91, 100), 0), ((10, 91, 190), 0)):
        assert beats_dithering(pandas.DataFrame(sea(4, bad))) == found
    # 200 < 2⁸ + 100.
    assert beats_dithering(pandas.DataFrame(sea(4, (10, 91, 100)) + sea(8, (10, 91, 100)))) == 0.5


def test_a_suite_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    """From the command line, with an agent that learns: what was lived is not lived again."""
    monkeypatch.setattr(Experiment, "episodes", property(lambda env: 200, lambda env, n: None), raising=False)
    line = ["bsuite", "dqn", "--experiments", "umbrella_length", "--folder", str(tmp_path), "--learning-starts", "10"]
    assert main([*line, "--settings", "1"]) == 0
    file = tmp_path / "umbrella_length-0.json"
    before = file.stat().st_mtime_ns
    assert main([*line, "--settings", "1", "--json"]) == 0
    assert '"lived": 1' in capsys.readouterr().out and file.stat().st_mtime_ns == before
    assert main([*line[:-1], "20"]) == 2 and "holds the suite of another algorithm" in capsys.readouterr().err
    with pytest.raises(SuiteError):
        suite("ppo", rt.PPO(), tmp_path)


def test_what_cannot_be_is_said(monkeypatch, tmp_path):
    with pytest.raises(UnknownNameError, match="no experiment 'deepsea'; did you mean deep_sea"):
        rt.make("bsuite/deepsea/0")
    with pytest.raises(UnknownNameError, match="no setting 'catch/20': catch has 20"):
        rt.make("bsuite/catch/20")

    def refused(name, kwargs):
        raise OSError("no network")

    monkeypatch.setattr(bsuite.package("bsuite").bsuite, "load", refused)
    with pytest.raises(WorldError, match="bsuite/mnist/0 cannot be made: no network"):
        Experiment("mnist/0")
    # What cannot be lived is told in its line, and the others go on.
    assert "–" in str(suite("x", rt.DQN(), tmp_path, ["mnist"], settings=1))
