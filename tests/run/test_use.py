"""What was learnt is whole even where its episodes cannot be lived again."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import retorno as rt
from retorno.cli.runs import joined
from retorno.core.errors import WorldError
from retorno.environments.registry import WorldName
from retorno.networks import MLP
from retorno.plots.report import report
from retorno.run import checkpoint, policy_folder
from retorno.run.folder import best_step, read_config, read_metrics, returns_at
from retorno.run.numpy_program import numpy_program
from retorno.run.origin import Origin
from retorno.run.policy_folder import PolicyError
from retorno.run.training import Training, TrainingError


class Forgetful(gym.Env):
    """Follows no seed, so that its episodes cannot be lived again."""

    observation_space, action_space = spaces.Box(-1, 1, (2,)), spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.age = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.age += 1
        return self._seen(), float(action), self.age == 7, False, {}

    def _seen(self) -> np.ndarray:
        return np.random.default_rng().uniform(-1, 1, 2).astype(np.float32)


class Keeping(gym.Env):
    """Follows its seed, and pays on its second row more with every reset: a row later nothing of it is seen."""

    observation_space, action_space = spaces.Box(-1, 1, (2,)), spaces.Discrete(2)
    resets = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.age, self.resets = 0, self.resets + 1
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.age += 1
        return np.zeros(2, np.float32), float(self.resets * (self.age == 2)), self.age == 100, False, {}


class Endless(gym.Env):
    """Never ends, and pays what is done."""

    observation_space, action_space = spaces.Box(-1, 1, (2,)), spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(2, np.float32), 1.0 + action, False, False, {}


class Judging(Endless):
    """Ends after two steps, which is a success if the last one paid 2; the info says what they paid."""

    def reset(self, **told: Any) -> tuple[Any, dict[str, Any]]:
        self.age = 0
        return super().reset(**told)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.age += 1
        obs, paid, *_ = super().step(action)
        self.sold = paid if self.age == 1 else self.sold + paid
        return obs, paid, self.age == 2, False, {"is_success": bool(action), "sold": np.float32(self.sold)}


PPO = rt.PPO(network=MLP((8,)), num_envs=2, rollout=8, epochs=1, minibatches=2)
WORLD = rt.gymnasium(Forgetful)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with pytest.warns(UserWarning, match="does not live an episode again"):
        training = rt.train(PPO, WORLD, steps=100, every=20, folder=tmp_path / "run")
    with training:
        for told in training:
            if told.step >= 40:
                break
    return tmp_path / "run"


def test_it_is_used_and_gone_on_with_inexactly_when_asked(run: Path) -> None:
    policy = rt.load(run)
    assert WORLD.action_space.contains(policy.act(np.zeros(2)))
    assert rt.evaluate(policy, WORLD, episodes=4).episodes == 4
    with pytest.raises(TrainingError, match="--inexact"):
        rt.resume(run, world=WORLD, warn=lambda line: None)
    said: list[str] = []
    with rt.resume(run, world=WORLD, inexact=True, warn=said.append) as training:
        left = training.step
        training.run_to_end()
    assert any("fresh episodes" in line for line in said) and any("perhaps not the same" in line for line in said)
    assert read_config(run)["fresh_episodes_from"] == left
    assert rt.load(run).step >= 100


def test_a_world_that_never_ends_tells_what_a_step_earns(tmp_path: Path) -> None:
    with rt.train(PPO, rt.gymnasium(Endless), steps=64, every=32, folder=tmp_path / "run") as training:
        told = list(training)
    assert all(1 < each.mean_reward < 2 for each in told)  # Either action now and then.
    assert f"no episode ended, reward {told[-1].mean_reward:.4g} a step" in str(told[-1])
    rows = [row["rewards"][0] for row in read_metrics(tmp_path / "run") if "rewards" in row]
    assert rows == [each.mean_reward for each in told]
    page = report([tmp_path / "run"], tmp_path / "page.html")[0].read_text()
    assert "the mean reward of a step" in page and "no episode ended; a step earned 1." in page


def test_the_rate_of_success_is_told_and_what_is_asked(tmp_path: Path) -> None:
    with rt.train(
        PPO, rt.gymnasium(Judging, info_keywords=["sold"]), steps=64, every=32, folder=tmp_path / "run"
    ) as training:
        reports = list(training)
        told = [each.metrics["success_rate"] for each in reports]
        training.note(found := rt.evaluate(training, episodes=6, greedy=False))
    assert all(0 < each < 1 for each in told) and ", success " in str(training.last)
    assert found.success is not None and np.isin(found.returns - 2 - found.success, (0, 1)).all()  # The first paid one.
    assert 0 < found.success.mean() < 1 and found.success_rate == found.success.mean()
    page = report([tmp_path / "run"], tmp_path / "page.html")[0].read_text()
    assert "success rate" in page and f"{found.success_rate:.1%}" in page
    assert [each.metrics["info/sold"] for each in reports] == pytest.approx([each.mean_return for each in reports])
    np.testing.assert_array_equal(found.info["sold"], found.returns)
    row, low = found.as_row()["info"]["sold"], found.ci95[0]
    assert (row["mean"], row["ci95"]) == (found.mean, [*found.ci95])
    assert f"; sold {found.mean:.4g}, 95% interval {low:.4g}" in str(found)
    assert '<th scope="row">sold</th>' in page and "info/sold" in page and "over 6 episodes of one seed" in page
    both = joined([found, replace(found, info={"sold": found.info["sold"] + 1, "other": found.returns})])
    assert [*both.info] == ["sold"] and both.info["sold"].mean() == found.mean + 0.5
    named = WorldName("CartPole-v1", True, info_keywords=("sold",))
    assert WorldName.recorded(named.as_json()) == WorldName.of(named.make()) == named


def test_a_policy_is_found_wherever_it_lies(run: Path, tmp_path: Path) -> None:
    steps = policy_folder.steps(run)
    assert len(steps) >= 2
    shutil.copytree(run / "policy", tmp_path / "robot")
    for folder in (run, run / "policy", tmp_path / "robot", run / "policy" / str(steps[0])):
        assert rt.load(folder).step == steps[0]
    assert rt.load(run, step=steps[-1]).step == steps[-1]
    with pytest.raises(PolicyError, match="holds no policy of step 3: it holds those of steps"):
        rt.load(run, step=3)
    with pytest.raises(PolicyError, match="holds no policy"):
        rt.load(tmp_path)
    with pytest.raises(PolicyError, match="of seed 5"):
        rt.load(run, seed=5)


def test_a_damaged_or_foreign_policy_is_refused(run: Path) -> None:
    folder = policy_folder.find(run)
    text = (folder / "policy.json").read_text()
    (folder / "policy.json").write_text(text.replace("retorno.networks.network:Network", "subprocess:Popen"))
    with pytest.raises(PolicyError, match="no class 'Popen'"):
        rt.load(folder)
    assert "subprocess" in sys.modules, "else the refusal would have another reason"
    (folder / "policy.json").write_text(text)
    tensors = bytearray((folder / "policy.safetensors").read_bytes())
    tensors[-1] ^= 1
    (folder / "policy.safetensors").write_bytes(tensors)
    with pytest.raises(PolicyError, match="SHA-256"):
        rt.load(folder)


def test_who_is_evaluated_where_is_told(run: Path) -> None:
    for one in (run, [rt.load(run), run]):
        with pytest.raises(ValueError, match="that this was learnt with are Box"):
            rt.evaluate(one, "cliff")
    with pytest.raises(ValueError, match="in which world"):
        rt.evaluate(rt.load(run).policy)
    with pytest.raises(ValueError, match="made in Python"):
        rt.evaluate(run)
    with pytest.raises(ValueError, match="nothing that was learnt"):
        rt.evaluate(PPO, WORLD)  # type: ignore[call-overload]


def test_a_disk_that_is_full_while_a_policy_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One error; the policy and the checkpoint before it are whole, and the run goes on to the same bits."""
    whole, synced = rt.train(rt.QLearning(), "student", 60, every=20), os.fsync
    whole.run_to_end()

    def fsync(file: int) -> None:
        if "/policy/.40" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synced(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with rt.train(rt.QLearning(), "student", 60, every=20, folder=tmp_path / "run") as training:
        with pytest.raises(PolicyError, match=r"policy/40 cannot be written: No space left.*good checkpoint stand"):
            training.run_to_end()
    assert [entry.name for entry in (tmp_path / "run" / "policy").iterdir()] == ["20"]
    assert policy_folder.read(policy_folder.find(tmp_path / "run")).step == 20
    monkeypatch.undo()
    with rt.resume(tmp_path / "run") as training:
        assert training.step == 40
        training.run_to_end()
        assert training.digest == whole.digest


def returned(training: Training, scores: list[int]) -> None:
    """Play that the episodes between boundaries returned so much."""
    told = iter(scores)
    training._score = lambda: {"return": next(told), "episodes": 1}  # type: ignore[method-assign]
    training.run_to_end()


@pytest.mark.parametrize(
    ("keep", "kept"),
    [(3, [120, 100, 80]), (1, [120]), ("best", [120, 100, 80, 40]), ("all", [120, 100, 80, 60, 40, 20])],
)
def test_the_checkpoints_that_are_asked_for_stay(tmp_path: Path, keep: Any, kept: list[int]) -> None:
    """The best is that of step 40: as good as that of 60, and earlier."""
    folder = tmp_path / "run"
    with rt.train(rt.QLearning(), "student", 120, every=20, folder=folder, keep=keep) as training:
        returned(training, [1, 5, 5, 3, 4, 2])
    assert checkpoint.steps(folder) == kept
    assert policy_folder.steps(folder) == [120, 100, 80, 60, 40, 20]
    assert rt.load(folder, step="best").step == 40 and rt.load(folder).step == 120
    with rt.train(rt.QLearning(), "student", 20, init_from=Origin(folder, "best")) as training:
        assert (training.begun_from or {})["step"] == (40 if 40 in kept else 100 if 100 in kept else 120)
    with rt.resume(folder, steps=140, keep=1) as training:
        training.run_to_end()
    assert checkpoint.steps(folder) == [140]
    assert read_config(folder)["keep"] == 1


def test_the_return_of_a_boundary_is_that_of_the_episodes_before_it(tmp_path: Path) -> None:
    """However the run was cut up: reports come when they like, and it was stopped between two boundaries."""
    folder, whole = tmp_path / "run", tmp_path / "whole"
    with rt.train(rt.QLearning(), "student", 120, every=40, folder=whole) as training:
        training.run_to_end()
    with rt.train(rt.QLearning(), "student", 120, every=40, folder=folder) as training:
        training.pauses = (50,)
        for told in training:
            if told.step == 50:
                training.save()
                break
    with rt.resume(folder) as training:
        assert training.step == 50
        training.run_to_end()
    found = returns_at(whole)
    assert list(found) == [40, 80, 120] and found == returns_at(folder)
    counted = sum(row["boundary"]["episodes"] for row in read_metrics(whole) if "boundary" in row)
    assert counted == sum(row["episodes"] for row in read_metrics(whole))


def test_a_run_that_is_tested_and_ends_early_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Tests choose the best policy, and neither they nor an end before the budget change anything learnt."""
    with rt.train(rt.QLearning(), "student", 120, every=40, folder=tmp_path / "whole") as whole:
        whole.run_to_end()
    folder, until = tmp_path / "ends", rt.Until(score=-1e9, tests=2)
    with rt.train(rt.QLearning(), "student", 120, every=40, folder=folder, until=until) as training:
        training.run_to_end()
        assert training.step == 40 and "reaches" in (training.ended or "")
    with rt.resume(folder) as training:  # As if it had never stopped: it would have ended here.
        assert training.run_to_end() is None and training.until == until
    with rt.resume(folder, until=rt.Until(tests=2)) as training:
        training.run_to_end()
        assert training.step == 120 and training.digest == whole.digest
    tested = {row["step"]: row["evaluation"]["mean"] for row in read_metrics(folder) if "evaluation" in row}
    assert list(tested) == [40, 80, 120] and returns_at(folder) == tested
    assert rt.load(folder, step="best").step == max(tested, key=lambda step: (tested[step], -step))


def test_a_run_ends_where_nothing_gets_better_or_its_time_is_over() -> None:
    with rt.train(rt.QLearning(), "student", 1_000, every=40, until=rt.Until(patience=1)) as training:
        training.run_to_end()
        scores = list(training.scores.values())
        assert training.step < 1_000 and scores[-1] <= max(scores[:-1]) and sorted(scores[:-1]) == scores[:-1]
    with rt.train(rt.QLearning(), "student", 10**9, until=rt.Until(minutes=1e-9)) as training:
        training.run_to_end()
        assert training.step < 10**9 and "minutes" in (training.ended or "")


def test_what_a_relabel_says_is_to_be_large_chooses_the_best(tmp_path: Path) -> None:
    """A world that pays nothing returns as much at any boundary: by its returns the first would always be the best."""
    told = [(2, 1.0), (6, 3.5), (8, 2.0), (10, 2.0)]
    rows: list[dict[str, Any]] = [
        {"step": step, "updates": step, "metrics": {"relabel/objective": paid}} for step, paid in told
    ]
    for row in rows[1::2]:
        row["boundary"] = {"return": 0.0, "episodes": 4}
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert returns_at(tmp_path) == pytest.approx({6: (2 * 1.0 + 4 * 3.5) / 6, 10: 2.0})
    assert best_step(tmp_path, [6, 10]) == 6


def test_which_are_kept_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="how many of the newest"):
        rt.train(rt.QLearning(), "student", 120, folder=tmp_path / "run", keep=0)
    with rt.train(rt.QLearning(), "student", 120, every=20, folder=tmp_path / "run") as training:
        returned(training, [None] * 6)  # type: ignore[list-item]
    with pytest.raises(PolicyError, match=r"no return is recorded.*it holds those of steps 20, 40, 60, 80, 100, 120"):
        rt.load(tmp_path / "run", step="best")


def test_what_cannot_be_restored_is_said_before_training(tmp_path: Path) -> None:
    """And when it is gone on with, though the present row is what it was."""
    kept = rt.gymnasium(Keeping)
    with pytest.warns(UserWarning, match=r"Keeping does not live .*: the reward of row 2 was 1.0, and 2.0"):
        training = rt.train(PPO, kept, steps=40, folder=tmp_path / "run")
    with training:
        assert "reward of row 2" in read_config(tmp_path / "run")["not_repeated"]
    with pytest.warns(UserWarning, match="number 0 of the observation of row 0 was"):
        rt.train(PPO, WORLD, steps=40, folder=tmp_path / "forgetful").close()


def test_more_than_the_present_row_is_looked_at() -> None:
    world, action = rt.gymnasium(Keeping), np.zeros(1, int)
    for steps, noticed in ((10, True), (30, False)):  # Of the last sixteen rows one is another, or it lies before them.
        environments = world.open(1, 0)
        environments.reset()
        for _ in range(steps):
            environments.step(action)
        left = environments.snapshot()
        again = world.open(1, 0)
        again.reset()
        with pytest.raises(WorldError, match="did not return") if noticed else contextlib.nullcontext():
            again.restore(left)
            assert all((left[name] == x).all() for name, x in again.snapshot().items())
        with contextlib.closing(environments), contextlib.closing(again):
            fresh = world.open(1, 0)
            fresh.restore(left)
            assert all((left[name] == x).all() for name, x in fresh.snapshot().items())


def test_a_slow_world_is_tried_by_few_steps() -> None:
    class Slow(Keeping):
        steps = 0

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            Slow.steps += 1
            time.sleep(0.02)
            return super().step(action)

    began = time.perf_counter()
    assert "reward of row 2" in (rt.gymnasium(Slow).why_not_repeated(0) or "")
    assert time.perf_counter() - began < 1 and Slow.steps < 32


def test_large_products_are_compiled() -> None:
    """Those that NumPy's library would share out among threads, which wait for each other on a busy machine."""
    of = lambda size: numpy_program(jnp.matmul, np.zeros((3, size), np.float32), np.zeros((size, size), np.float32))  # noqa: E731
    assert of(8) is not None and of(700) is None
