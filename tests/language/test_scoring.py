"""What answers are worth: where it is paid, what is said of a reward that fails, and that a run can be gone on with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import retorno as rt
from retorno import language
from retorno.core.spaces import SpaceError, Spec
from retorno.core.time_step import Only, TimeStep, Trajectory
from retorno.environments import own_code
from retorno.environments.own_code import OwnCodeError, attribute
from retorno.environments.text.prompts import Prompts
from retorno.language.scoring import Scorer, answered
from retorno.networks import GRU, MLP, Stack
from retorno.run.resume import resume
from retorno.run.training import TrainingError

WORLD = Prompts([[3, 1], [4]], vocabulary=8, ends=[0], answer=3).together()
REWARD = """
CALLS = []
def reward(prompts, answers):
    CALLS.append((prompts, answers))
    return [prompt[-1] + 10 * len(answer) for prompt, answer in zip(prompts, answers)]
def fewer(prompts, answers):
    return [1.0]
def nothing(prompts, answers):
    return [float("nan")] * len(answers)
def words(prompts, answers):
    return ["good"] * len(answers)
def fails(prompts, answers):
    return {}[answers[0]]
number = 3
"""

# Two texts, by columns: 4 alone after one row that waits, then 5 and the end; 3 and 1, then 2, 2, 2, cut.
OBS = np.array([[0, 3], [4, 1], [5, 2], [0, 2], [0, 2], [0, 3]])
FIRST = np.array([[0, 1], [1, 0], [0, 0], [0, 0], [0, 0], [0, 1]], bool)
LAST = np.array([[1, 0], [0, 0], [0, 0], [1, 0], [1, 1], [1, 0]], bool)
LEFT = np.array([[4, 1], [-1, -1], [-1, -1], [-1, -1], [-1, -1], [3, 1]])
ZEROS: Any = jnp.zeros((6, 2))
LIVED = Trajectory(
    TimeStep(jnp.asarray(OBS), ZEROS, ZEROS + 1, jnp.asarray(FIRST), jnp.asarray(LAST), Only(jnp.asarray(LEFT))),
    jnp.asarray(OBS[1:]),
    {},
    (),
)


def spec(world: Any = WORLD) -> Spec:
    row = TimeStep(*[jnp.int32(0)] * 5)
    return Spec(world.observation_space, world.action_space, 2, 100, row, world=world)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "judge.py").write_text(REWARD)
    return tmp_path / "judge.py"


def test_a_function_is_given_each_answer_once_and_its_score_is_paid_with_the_last_token(file: Path) -> None:
    relabel: Any = language.FunctionScore(f"{file}:reward").build(jax.random.key(0), spec())
    told = relabel.learn(LIVED, jax.random.key(0))[1]
    calls = relabel.scorer.reward.__globals__["CALLS"]
    expected = np.zeros((5, 2))
    expected[2, 0], expected[3, 1] = 4 + 10, -1  # An answer that was cut has the fixed low score.
    np.testing.assert_array_equal(relabel.reward(LIVED), expected)
    assert calls == [([(4,), (3, 1)], [(5,), (2, 2, 2)])], "once for both, without the token that ended one"
    assert {name: float(x) for name, x in told.items()} == {"score": 6.5, "ended": 0.5, "length": 2.5}
    own: Any = language.FunctionScore(f"{file}:reward", unended=None).build(jax.random.key(0), spec())
    assert own.reward(LIVED)[3, 1] == 1 + 30
    assert answered(OBS, FIRST, LEFT, LAST[1:] & ~LAST[:-1], OBS[1:] == 0).places == [(2, 0), (3, 1)]


def test_a_reward_model_s_score_is_that_of_the_last_row(file: Path) -> None:
    network = GRU(4, (4,))
    relabel: Any = language.ModelScore(network, shift=0.25).build(jax.random.key(0), spec())
    scores = []
    for env, begin, end in ((0, 1, 3), (1, 0, 4)):
        reader, value = relabel.members[0].network, None
        carry = reader.initial_carry()
        for t in range(begin, end + 1):
            heads, carry = reader.step(jnp.int32(OBS[t, env]), jnp.array(t == begin), carry)
            value = float(heads["value"])
        scores.append(value)
    paid = np.asarray(relabel.reward(LIVED))
    assert paid[2, 0] == pytest.approx(scores[0] - 0.25, abs=1e-6) and paid[3, 1] == -1
    assert np.count_nonzero(paid) == 2
    own: Any = language.ModelScore(network, unended=None).build(jax.random.key(0), spec())
    assert own.reward(LIVED)[3, 1] == pytest.approx(scores[1], abs=1e-6)


def test_of_several_reward_models_the_least_is_paid_each_with_its_own_zero() -> None:
    alone = language.ModelScore(GRU(4, (4,)), unended=None)
    for shift in (-5.0, 5.0):  # The one beside likes everything, or nothing, whatever it says.
        both: Any = replace(alone, beside=(replace(alone, shift=shift),)).build(jax.random.key(0), spec())
        each = [np.asarray(replace(both, members=(member,)).reward(LIVED)) for member in both.members]
        paid = np.asarray(both.reward(LIVED))
        np.testing.assert_array_equal(paid, np.minimum(*each))
        np.testing.assert_array_equal(paid, each[shift > 0])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fewer", r"gave 1 scores for 2 answers: expected a list of 2 numbers"),
        ("nothing", r"gave nan for the answer \(5,\) to \(4,\)"),
        ("words", r"gave \['good', 'good'\]: expected a list of 2 numbers"),
        ("fails", r"failed: judge.py, line 13: KeyError: \(5,\)"),
    ],
)
def test_a_reward_that_fails_is_told_with_its_answer_or_line(file: Path, name: str, said: str) -> None:
    scorer = Scorer(f"{file}:{name}", attribute(f"{file}:{name}"), None)
    scores = scorer(OBS, FIRST, LEFT, LAST[1:] & ~LAST[:-1], OBS[1:] == 0)
    assert np.isnan(scores).all()
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(scorer.trouble)


NETWORK = Stack(2, network=MLP((8,)))


def ppo(rollout: int = WORLD.rows) -> rt.PPO:
    return rt.PPO(network=NETWORK, num_envs=4, rollout=rollout, epochs=1, minibatches=1)


def test_a_run_is_recorded_with_its_reward_and_stops_where_that_fails(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder may come from anywhere: its file is run only if somebody names it."""
    folder = tmp_path / "run"
    score = language.FunctionScore(f"{file}:reward")
    with rt.train(ppo(), WORLD, 40, relabel=score, folder=folder) as run:
        told = list(run)[-1].metrics
    assert 0 <= told["relabel/ended"] <= 1 and told["relabel/score"] >= -1
    assert told["relabel/objective"] == told["relabel/score"], "what its best checkpoint is chosen by"
    assert json.loads((folder / "config.json").read_text())["relabel"]["function"] == f"{file}:reward"
    with resume(folder, world=WORLD, steps=80) as run:
        run.run_to_end()
    file.write_text(REWARD.replace("return [prompt", "return [float('nan') + prompt"))
    with (
        resume(folder, world=WORLD, steps=120, relabel=language.FunctionScore(f"{file}:reward")) as run,
        pytest.raises(TrainingError, match=r"reward .*judge.py:reward gave nan for the answer .* stopped at step"),
    ):
        run.run_to_end()
    monkeypatch.setattr(own_code, "_modules", {})
    with pytest.raises(OwnCodeError, match=r"this run's reward is reward in .*judge.py, and no file is run because"):
        resume(folder, world=WORLD, steps=120)


def test_what_cannot_be_judged_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match=r"as FILE.py:NAME or MODULE:NAME, got 'reward'"):
        language.FunctionScore("reward")
    with pytest.raises(OwnCodeError, match="is no function, but of type int"):
        language.FunctionScore(f"{file}:number").build(jax.random.key(0), spec())
    with pytest.raises(SpaceError, match="give it prompts that are answered together"):
        language.ModelScore(MLP((4,))).build(jax.random.key(0), spec(WORLD.world))
    with pytest.raises(ValueError, match="a rollout of 6 rows cuts through some: choose rollout=5 or a multiple"):
        rt.train(ppo(6), WORLD, 40, relabel=language.ModelScore(NETWORK))
