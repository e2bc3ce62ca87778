"""Watching changes nothing, counts every step, and shows what the table says; what cannot be watched is refused."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retorno.algorithms import PPO, QLearning
from retorno.cli.main import main
from retorno.cli.spelling import with_bare
from retorno.cli.watch import LIVE, Board
from retorno.core.mdp import MDP
from retorno.environments import ascii_map, student
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.plots.film import AGENT, film, shown_values
from retorno.plots.film_page import film_page
from retorno.plots.maps import GOAL, WALL
from retorno.run.table_monitor import Look, Watched, WatchError
from retorno.run.train import train

MAZE = ascii_map("S.G\n.#.")
METHOD = QLearning(step_size=1.0, discount=0.5)
STEPS = 60


@pytest.fixture(scope="module")
def looks() -> list[Look]:
    return [*Watched(train(METHOD, TimeLimit(sampled(MAZE), 50), STEPS, every=25), MAZE, looks=10)]


def test_watching_changes_nothing_and_counts_every_step(looks: list[Look]) -> None:
    world = TimeLimit(sampled(MAZE), 50)
    watched, plain = (train(METHOD, world, STEPS, every=25) for _ in range(2))
    seen = [*Watched(watched, MAZE, looks=10)]
    plain.run_to_end()
    assert watched.digest == plain.digest
    assert [look.step for look in seen] == [0, 1, 3, 6, 10, 15, 22, 30, 39, 49, 60]
    assert all(look.visits.sum() == look.step for look in seen)
    assert all((before.visits <= after.visits).all() for before, after in pairwise(seen))


def test_the_last_look_is_the_answer(looks: list[Look]) -> None:
    """α = 1 is value iteration: the way right is worth ½ then 1, and nothing is left to regret or to learn."""
    last = looks[-1]
    assert last.regret == 0 and last.mean_return == 1
    values, best = shown_values(MAZE, last)
    right = list(MAZE.action_names).index("right")
    for name, value in (("0,0", 0.5), ("0,1", 1.0)):
        assert values[MAZE.state(name)] == value and best[MAZE.state(name)] == [right]


def test_nothing_is_preferred_before_the_first_step(looks: list[Look]) -> None:
    first = looks[0]
    assert first.step == 0 and np.isnan(first.mean_return) and np.isnan(first.error).all()
    assert first.agent == MAZE.state("0,0") and not any(shown_values(MAZE, first)[1])
    assert first.regret in (0.0, 0.5)  # One of the tied actions, wherever it leads.


def test_td_errors_are_worked_by_hand() -> None:
    """One cell beside the goal: 1 is learnt once to the right, and γ · 1 = ½ once for each move that stays."""
    made = ascii_map("SG")
    looks = [*Watched(train(METHOD, TimeLimit(sampled(made), 50), 200), made, looks=200)]
    times = np.diff([look.visits for look in looks], axis=0)
    assert sum(np.nansum(n * look.error) for n, look in zip(times, looks[1:], strict=True)) == pytest.approx(2.5)


def test_the_board_in_a_terminal(looks: list[Look]) -> None:
    lines = Board(MAZE).drawn(looks[-1]).plain.splitlines()
    assert len(lines) == 3 and lines[0][8:12] == " ★  " and "→" in lines[0][:4] and "→" in lines[0][4:8]
    assert lines[1][4:8] == "████" and sum(line.count("●") for line in lines) <= 1
    assert lines[2].startswith("step 60  return 1  regret 0")


def test_a_film(looks: list[Look], tmp_path: Path) -> None:
    path = film(MAZE, looks, tmp_path / "deep" / "maze.gif", "a maze")
    with Image.open(path) as image:
        assert image.n_frames == len(looks) and image.size[0] == 960  # type: ignore[attr-defined]
        image.seek(10)
        colours = {colour for _, colour in image.convert("RGB").getcolors(100_000) or ()}
        assert {tuple(bytes.fromhex(colour[1:])) for colour in (GOAL, WALL, AGENT)} <= colours


def test_a_page_with_a_slider(looks: list[Look]) -> None:
    page = film_page(MAZE, looks, "<b>a maze</b>")
    assert "&lt;b&gt;a maze&lt;/b&gt;" in page and "http-equiv" in page and "src=" not in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [frame["step"] for frame in data["frames"]] == [look.step for look in looks]
    assert data["frames"][0]["return"] is None and data["frames"][-1]["regret"] == 0
    others = {(cell["row"], cell["column"]): cell["kind"] for cell in data["others"]}
    assert others == {(0, 2): "goal", (1, 1): "wall", (1, 2): "never entered"}
    assert [cell["start"] for cell in data["cells"]].count(True) == 1
    arrows = {cell["name"]: best for cell, best in zip(data["cells"], data["frames"][-1]["best"], strict=True)}
    assert arrows["0,0"] == [[0, 1]]


def test_what_cannot_be_watched() -> None:
    def watched(algorithm: object, made: MDP, **more: object) -> Watched:
        return Watched(train(algorithm, sampled(made), 10, **more), made)  # type: ignore[arg-type]

    with pytest.raises(WatchError, match="on a map and show their state"):
        watched(METHOD, student())
    with pytest.raises(WatchError, match="PPO has none here"):
        watched(PPO(num_envs=1, rollout=8, minibatches=1), MAZE)
    with pytest.raises(WatchError, match="one seed over a native world"):
        watched(METHOD, MAZE, seed=(0, 1))


def test_a_bare_watch_means_the_terminal() -> None:
    bare = {"--watch": LIVE}
    assert with_bare(["--watch"], bare) == ["--watch", LIVE]
    assert with_bare(["--watch", "x.gif"], bare) == ["--watch", "x.gif"]
    assert with_bare(["--watch=x.gif"], bare) == ["--watch=x.gif"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("maze.txt").write_text("S.G\n.#.\n")
    options = ["--steps", "400", "--step-size", "1", "--discount", "0.5", "--episodes", "2"]
    for watch in (["--watch"], ["--watch", "maze.html"]):
        assert main(["train", "q_learning", "maze.txt", *options, *watch]) == 0
    told = capsys.readouterr()
    assert "●" in told.err and "step 400  return 1  regret 0" in told.err and "watch it: maze.html" in told.err
    assert Path("maze.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["train", "q_learning", "maze.txt", "--watch", "maze.mp4"]) != 0
    assert main(["train", "q_learning", "CartPole-v1", "--watch"]) != 0
    assert "runs" in {p.name for p in tmp_path.iterdir()} and len([*Path("runs").iterdir()]) == 2
    assert "writes a file in .gif or .html" in capsys.readouterr().err
