"""People who are asked while a program waits, and what they are shown."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from test_learnt_reward import ALGORITHM, ALONE, small, world

from retorno.cli import prefer
from retorno.cli import train as command
from retorno.cli.compare import asked_in
from retorno.cli.options import UsageError
from retorno.core.environment import Environment
from retorno.core.errors import RetornoError
from retorno.core.waiting import listening
from retorno.environments.own_code import named_files
from retorno.environments.registry import native
from retorno.labels import Labels, shown_order
from retorno.preferences import FunctionJudge, People
from retorno.preferences.clips import Clips
from retorno.preferences.judges import as_json
from retorno.preferences.written import as_written
from retorno.run.resume import resume
from retorno.run.stopping import Interrupted, StopSignals, asked_to_stop
from retorno.run.train import train
from retorno.run.training import TrainingError

RULE = """
def by_rule(first, second):
    worth = [sum(s in (3, 4) for s in each["obs"]) for each in (first, second)]
    return None if worth[0] == worth[1] else float(worth[0] > worth[1])
"""


def somebody(place: Path, share: Callable[[Any, Any], float | None]) -> Callable[[], None]:
    """Answers what is asked there, in another thread, until told to go."""
    gone = threading.Event()

    def work() -> None:
        labels = Labels.open(place)
        while not gone.is_set():
            if (query := labels.lend("segments", "Ana")) is not None:
                labels.save(query.id, "Ana", {"share": share(*query.content["segments"])})
            else:
                time.sleep(0.05)
        labels.close()

    thread = threading.Thread(target=work)
    thread.start()

    def go() -> None:
        gone.set()
        thread.join()

    return go


def lived(judge: Any, **more: Any) -> Any:
    made = small(labels=20, judge=judge, **ALONE)
    return train(ALGORITHM, world(), 800, relabel=made, **more)


def test_what_people_say_is_what_counts_and_not_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as a function that says it at once; and a run that is lived again with the labels asks nobody."""
    monkeypatch.setattr("retorno.preferences.judges.PATIENCE", 0.01)
    (tmp_path / "rule.py").write_text(RULE)
    rule: dict[str, Any] = {}
    exec(RULE, rule)
    place = tmp_path / "labels.db"
    go = somebody(place, rule["by_rule"])
    with lived(People(str(place))) as asked:
        asked.run_to_end()
    go()
    with lived(FunctionJudge(f"{tmp_path}/rule.py:by_rule")) as at_once:
        at_once.run_to_end()
    with lived(People(str(place))) as again:
        again.run_to_end()
    assert asked.digest == at_once.digest == again.digest
    shown = Labels.open(place).queries("segments")
    assert 10 < len(shown) <= 20, "what was asked before is not asked again"
    assert all(set(each) == {"obs", "action"} for query in shown for each in query.content["segments"])


def test_a_run_that_waits_is_stopped_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the compiled program waits for somebody who is away: no label is lost, and no bit is another, though
    the run and its labels lie elsewhere by then.
    """
    monkeypatch.setattr("retorno.preferences.judges.PATIENCE", 0.01)
    place, folder = tmp_path / "labels.db", tmp_path / "run"

    def left(first: Any, second: Any) -> float:
        if len(Labels.open(place).said_of(range(1, 100))) == 7:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        return 1.0

    go = somebody(place, left)
    with pytest.raises(Interrupted, match=r"stopped by SIGTERM before the next report; go on with: retorno resume"):
        with lived(People(str(place)), folder=folder) as unfinished:
            unfinished.run_to_end()
    go()
    kept = len(Labels.open(place).said_of(range(1, 100)))
    assert 7 <= kept < 20
    folder, place = folder.rename(tmp_path / "moved"), place.rename(tmp_path / "moved" / "labels.db")
    go = somebody(place, lambda first, second: 1.0)
    with resume(folder, world=world()) as on, lived(People(str(place))) as whole:
        on.run_to_end()
        whole.run_to_end()
        assert on.digest == whole.digest
    go()
    assert asked_in(folder) == str(place) and not (tmp_path / "labels.db").exists()


def test_a_signal_is_heard_by_all_threads_before_the_main_one_notes_it() -> None:
    heard: list[int | None] = [asked_to_stop()]
    with StopSignals() as stop:
        heard.append(asked_to_stop())
        signal.raise_signal(signal.SIGTERM)
        thread = threading.Thread(target=lambda: heard.append(asked_to_stop()))
        thread.start()
        thread.join()
        assert stop.received == signal.SIGTERM
    assert [*heard, asked_to_stop()] == [None, None, signal.SIGTERM, None]


def test_what_waits_for_signals_is_left_in_any_order() -> None:
    first, second = StopSignals(), StopSignals()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    signal.set_wakeup_fd(signal.set_wakeup_fd(-1))
    signal.raise_signal(signal.SIGTERM)
    assert asked_to_stop() == signal.SIGTERM
    second.__exit__(None, None, None)
    assert signal.set_wakeup_fd(-1) == -1


CONFIG = {"algorithm": {}, "world": {}, "steps": 10, "seeds": [0], "every": 10}


def test_a_page_is_about_the_labels_that_its_run_looks_for(tmp_path: Path) -> None:
    """Wherever they are; a run that asks nobody has none."""
    for name, relabel, said in (
        ("people", {"type": "Preferences", "judge": {"type": "People", "labels": "elsewhere.db"}}, "elsewhere.db"),
        ("reward", {"type": "Preferences", "judge": {"type": "TrueReward", "mistakes": 0.1}}, None),
        ("world", None, None),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(CONFIG | {"relabel": relabel}))
        if said is not None:
            assert asked_in(tmp_path / name) == said
        else:
            with pytest.raises(RetornoError, match="asks nobody: `retorno prefer"):
                asked_in(tmp_path / name)


def test_who_waits_is_told_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retorno.preferences.judges.PATIENCE", 0.01)
    told: list[str] = []

    @contextlib.contextmanager
    def tell(what: str, so_far: Callable[[], str]) -> Iterator[None]:
        yield
        told.append(f"{what}: {so_far()}")

    go = somebody(tmp_path / "labels.db", lambda first, second: 1.0)
    segments = [{"obs": np.array([i, i]), "action": np.array([0]), "reward": np.zeros(1)} for i in range(4)]
    with listening(tell):
        pairs = [segments[:2], segments[2:]]
        assert People(str(tmp_path / "labels.db")).begin().shares(pairs) == [[1, 0], [1, 0]]
    go()
    assert told == ["people compare 2 pairs of clips: 2 done"]


def test_who_says_the_same_again_and_again_is_told_of(tmp_path: Path) -> None:
    """The side, and not the segment, is what somebody presses; a rule knows no sides."""
    (tmp_path / "mine.py").write_text("def nothing(first, second):\n    return None\n")
    each = [{"obs": np.array([i, i]), "action": np.array([0]), "reward": np.zeros(1)} for i in range(48)]
    pairs = [each[2 * i : 2 * i + 2] for i in range(24)]
    place = tmp_path / "labels.db"
    labels = Labels.open(place)
    for query in labels.add("segments", [{"segments": [as_json(one) for one in pair]} for pair in pairs]):
        labels.save(query, "Lefty", {"share": 1.0 - shown_order(query, "Lefty", 2)[0]})
    with pytest.warns(UserWarning, match="Lefty said 'left' 20 times in a row, and it is by chance which"):
        assert {(0, 1), (1, 0)} == set(map(tuple, People(str(place)).begin().shares(pairs)))
    with pytest.warns(UserWarning, match=r"the judge .*mine.py:nothing said 'cannot tell' 20 times in a row: nothing"):
        assert np.isnan(FunctionJudge(f"{tmp_path}/mine.py:nothing").begin().shares(pairs)).all()


def test_who_always_rates_alike_is_told_of(tmp_path: Path) -> None:
    clips = [[{"obs": np.array([i, i]), "action": np.array([0]), "reward": np.zeros(1)}] for i in range(24)]
    place = tmp_path / "labels.db"
    labels = Labels.open(place)
    for query in labels.add("segments", [{"segments": [as_json(one) for one in each]} for each in clips]):
        labels.save(query, "Ana", {"ratings": [4], "of": 5})
    with pytest.warns(UserWarning, match=r"Ana said '0.7' 20 times in a row, of 1 for the best clips"):
        assert People(str(place)).begin().shares(clips) == [[0.7]] * 24


def test_observations_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    judge = People(str(tmp_path / "labels.db")).begin()
    segment = {"obs": np.array([[np.inf]]), "action": np.zeros((0, 1)), "reward": np.zeros(0)}
    assert judge.shares([[segment, segment]]) == [[np.inf, np.inf]]
    assert "cannot be asked about observations that are NaN or infinite" in str(judge.trouble)


def test_labels_that_cannot_be_kept_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "labels.db").write_text("these are no labels")
    with pytest.raises(TrainingError, match=r"labels.db"):
        with lived(People(str(tmp_path / "labels.db"))) as run:
            run.run_to_end()
    with pytest.raises(ValueError, match="people's labels need a place"):
        People().begin()


@pytest.mark.parametrize(
    "name", ["CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1", "Pendulum-v1"]
)
def test_a_clip_shows_the_states_that_were(name: str) -> None:
    """Drawn from observations, after a detour over text, as it is from the states themselves."""
    place = native(name)
    state, row = place.reset(jax.random.key(3))
    action = np.asarray(place.action_space.sample())
    after, then = place.step(state, jnp.asarray(action), jax.random.key(4))
    segment = {"obs": [np.asarray(each.obs).tolist() for each in (row, then)], "action": [action.tolist()]}
    clips = Clips(place)
    frames = clips.frames(segment, range(2))
    assert clips.why_numbers is None and len(frames) == 2
    for frame, truth in zip(frames, (state, after), strict=True):
        assert np.mean(np.any(frame != place.render(truth), axis=-1)) < 0.001


def test_a_clip_of_planes_of_marks_is_drawn_as_the_game_is() -> None:
    """Where an observation does not tell the state, but all that is drawn."""
    place = native("minatar/breakout")
    state, row = place.reset(jax.random.key(3))
    clips = Clips(place)
    [frame] = clips.frames({"obs": as_written(np.asarray(row.obs)[None]), "action": []}, [0])
    assert clips.why_numbers is None and np.array_equal(frame, place.render(state))


class Seen(Environment):
    """What is observed is a picture."""

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0, 255, (8, 8, 1), np.uint8)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def reset(self, key: Any) -> Any:
        raise AssertionError

    def step(self, state: Any, action: Any, key: Any) -> Any:
        raise AssertionError


def test_what_cannot_be_drawn_is_shown_by_its_numbers() -> None:
    clips = Clips(world())
    assert clips.why_numbers == "clips of Sampled show its numbers as lines: drawing it takes render"
    frames = clips.frames({"obs": [0, 1, 2, 3], "action": [1, 1, 1]}, range(4))
    assert len(frames) == 4 and frames[0].shape == frames[3].shape and np.any(frames[0] != frames[3])

    picture = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    [frame] = Clips(Seen()).frames({"obs": [picture.tolist()], "action": []}, [0])
    assert np.array_equal(frame, np.repeat(picture, 3, -1))


PAGE = """
import multiprocessing, time
from pathlib import Path
from retorno.cli.prefer import beside_a_run
def page():
    print("up", flush=True)
    beside_a_run(Path("no-run-yet"), "labels.db", "", None)
if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=page).start()
    time.sleep(600)
"""


def test_a_page_ends_with_the_run_that_was_killed(tmp_path: Path) -> None:
    """Where nobody is left to end it. Who reads what both say reads on until both are gone."""
    (tmp_path / "page.py").write_text(PAGE)
    run = subprocess.Popen([sys.executable, "page.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None and run.stdout.readline() == "up\n"
    run.kill()
    assert run.communicate(timeout=60) == ("", None)


def test_the_page_knows_the_files_that_were_named_and_says_why_it_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A world of one's own is drawn in another process than the one in which it is lived."""
    file, begun = tmp_path / "shown_by_me.py", []
    file.write_text("class Mine:\n    pass\n")
    pages = SimpleNamespace(start=lambda: None, terminate=lambda: None, join=lambda timeout: None)
    process = lambda target, args, daemon: begun.append((target, args)) or pages  # noqa: E731
    monkeypatch.setattr(prefer.multiprocessing, "get_context", lambda how: SimpleNamespace(Process=process))
    monkeypatch.setattr(command, "run", lambda arguments: 0)
    prefer.run(["ppo", f"{file}:Mine", "--folder", str(tmp_path / "run")])
    [(target, args)] = begun
    assert target is prefer.beside_a_run and args[-1][-1] == file

    def taken(*given: Any, patient: bool) -> int:
        assert file in named_files()
        raise RetornoError("port 8420 is taken")

    monkeypatch.setattr(prefer, "end_with_parent", lambda end: None)
    monkeypatch.setattr(prefer, "serve", taken)
    target(*args)
    assert "the page is not there: port 8420 is taken; `retorno compare " in " ".join(capsys.readouterr().err.split())


def test_the_command_chooses_who_judges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(command, "run", lambda arguments: asked.append(arguments) or 0)
    prefer.run(["ppo", "Pendulum-v1", "--labels", "50", "--judge", "reward", "--steps", "1e4"])
    prefer.run(["PPO", "Pendulum-v1", "--judge=mine.py:rule"])
    options = ["--relabel", "preferences", "--relabel.labels"]
    judge = ["--relabel.judge", "function_judge", "--relabel.judge.function", "mine.py:rule"]
    assert asked == [
        ["ppo", "Pendulum-v1", *options, "50", "--steps", "1e4"],
        ["ppo", "Pendulum-v1", *options, "700", *judge],
    ]
    prefer.run(["sac", "Pendulum-v1", "--judge", "reward", "--relabel.waiting", "0.1"])
    pebble = ["--relabel.pretraining", "state_entropy", "--relabel.waiting", "0.1"]
    assert asked[2] == ["sac", "Pendulum-v1", *options, "700", *pebble]
    with pytest.raises(UsageError, match=r"--judge is human, reward, or FILE.py:NAME, got 'me'"):
        prefer.run(["ppo", "Pendulum-v1", "--judge", "me"])
    with pytest.raises(UsageError, match="algorithm and world come first"):
        prefer.run(["--labels", "3"])


def test_people_are_shown_one_seed_of_a_hosted_world_at_a_time(tmp_path: Path) -> None:
    """Seeds of these are runs of their own, and what a page draws follows from one of them."""
    judge = [
        "--relabel",
        "preferences",
        "--relabel.judge",
        "people",
        "--relabel.judge.labels",
        str(tmp_path / "labels.db"),
    ]
    with pytest.raises(UsageError, match="one seed of a hosted world at a time, got --seeds 2: leave it out"):
        command.run(["ppo", "Pendulum-v1", "--hosted", "--seeds", "2", "--folder", str(tmp_path / "run"), *judge])
