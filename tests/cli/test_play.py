"""`retorno play`: what each world is shown as, films and their numbers, and policies that get nowhere."""

import re
import subprocess
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image
from rich.text import Text

from retorno.algorithms import QLearning
from retorno.cli.play import write
from retorno.environments.grids.ascii_map import ascii_map
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.registry import WorldName
from retorno.plots.board import shown_map
from retorno.plots.places import whole_map
from retorno.plots.player import LONGEST_PERIOD, REPEATED, Player, Repetition, _hosted_scene, pictures, staged
from retorno.plots.stages import Arms, InGraph, Moment, OnMap, Rendered, Words, caption, picture
from retorno.run.train import train

MAZE = "step: -1\nS.#G\n....\n"


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")


@pytest.mark.parametrize(
    ("world", "stage"),
    [
        ("cliff", OnMap), ("FrozenLake-v1", OnMap), ("random_walk", OnMap), ("student", InGraph), ("blackjack", Words),
        ("ten_armed", Arms), ("testbed", Arms), ("CartPole-v1", Rendered), ("recall", Words), ("garnet", Words),
        ("racetrack", Words), ("contextual_bandit", Words), ("blocking_maze_change", Words),
    ],
)  # fmt: skip
def test_every_world_is_shown_somehow(world: str, stage: type) -> None:
    scene = staged(WorldName(world))
    assert type(scene.stage) is stage
    assert scene.fps == (30 if stage is Rendered else 4)


def test_worlds_of_ones_own_are_shown(tmp_path: Path) -> None:
    (tmp_path / "maze.txt").write_text(MAZE)
    (tmp_path / "own_play.py").write_text(
        "trade = {'low': {'hold': [(1, 'high', 0)]}, 'high': {'sell': [(1, 'end', 2)]}}"
    )
    assert type(staged(WorldName(str(tmp_path / "maze.txt"))).stage) is OnMap
    assert type(staged(WorldName(f"{tmp_path}/own_play.py:trade")).stage) is InGraph


def test_an_episode_in_the_terminal(cli, tmp_path: Path, no_display: None) -> None:
    (tmp_path / "maze.txt").write_text(MAZE)
    code, out, _ = cli("play", tmp_path / "maze.txt", "--longest", "3")
    lines = out.splitlines()
    assert code == 0 and lines[0] == "step 0   the start   0,0"
    assert lines[1].rstrip() == " ●   ·  ████ ★" and lines[3] == "● agent  S start  ★ goal  █ wall"
    assert [line.split()[:2] for line in lines if line.startswith("step")] == [["step", str(k)] for k in range(4)]
    assert "not over after 3 steps (--longest)" in out


def test_what_moves_is_told_in_words_where_there_is_no_display(cli, no_display: None) -> None:
    code, out, err = cli("play", "CartPole-v1", "--longest", "2")
    assert code == 0 and "--out episode.gif draws it" in err and len(out.splitlines()) == 3


def test_a_game_of_two_is_told_by_its_board_and_its_winner(cli, no_display: None) -> None:
    """Chance begins against who never loses; what is got is the first player's."""
    code, out, _ = cli("play", "tic_tac_toe_for_two", "--against", "exact", "--episodes", "2")
    first, second = re.findall(r"step 0   the start(.+?)(the second player wins|a draw)\n(.+?)a b c", out, re.S)
    assert code == 0 and " 3 . . .\n" in first[0] and "X" in first[2] and "O" in first[2]
    returns = re.findall(r"return (−?\d) +(?:the second|a draw)", out)
    assert [r == "−1" for r in returns] == [each[1] == "the second player wins" for each in (first, second)]
    assert re.search(r"step 1   [abc][123]   reward 0", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cliff", "--against", "random"], "are for a game of two, got cliff"),
        (["tic_tac_toe_for_two", "--second"], "say who that is"),
        (["tic_tac_toe_for_two", "--port", "8500"], "give --page as well"),
        (["tic_tac_toe_for_two", "--step", "3"], "is of a run's policy"),
        (["tic_tac_toe_for_two", "--opponent", "me", "--out", "x.gif"], "leave it out to play yourself"),
        (["tic_tac_toe_for_two", "--page", "--seed", "3"], "no two of a page are: leave it out"),
        (["tic_tac_toe_for_two", "--page", "--second"], "on the page you choose who begins"),
    ],
)
def test_options_that_would_say_nothing_are_refused(cli, arguments: list[str], message: str) -> None:
    code, _, err = cli("play", *arguments)
    assert code == 2 and message in err, err


def test_letters_of_gymnasium_are_shown_where_there_is_no_display(cli, no_display: None) -> None:
    code, out, _ = cli("play", "Taxi-v4", "--longest", "1")
    assert code == 0 and "|R: | : :G|" in out


def test_the_map_holds_everything_that_lies_on_it() -> None:
    model = ascii_map("S.#G\n.C..\n...X\n")
    text = shown_map(whole_map(model), model.state("2,0"))
    assert isinstance(text, Text)
    assert [line.rstrip() for line in text.plain.splitlines()] == [
        " S   ·  ████ ★", " ·   ×   ·   ·", " ●   ·   ·   ×", "● agent  S start  ★ goal  × pit  × cliff  █ wall",
    ]  # fmt: skip


def test_a_caption_tells_step_action_reward_and_return() -> None:
    moment = Moment(12, "left", -1.0, -12.5, "0,1")
    assert caption(moment) == "step 12   left   reward −1   return −12.5"
    assert caption(moment._replace(step=0)) == "step 0   the start"


def test_pictures_have_room_for_their_numbers() -> None:
    for world in ("student", "cliff", "ten_armed", "blackjack"):
        scene = staged(WorldName(world))
        drawn = picture(scene.stage, Moment(0, "", 0.0, 0.0, "here", state=0))
        assert drawn.shape[1] >= 420 and not any(side % 2 for side in drawn.shape[:2])
        later = picture(scene.stage, Moment(1, "go", 1.0, 1.0, "there", state=0, arm=0))
        assert (later[-58:] != drawn[-58:]).any()


def test_arms_are_counted_anew_in_each_episode() -> None:
    arms = Arms({0: "arm 0", 1: "arm 1"})
    for step, arm, reward in ((0, None, 0.0), (1, 1, 2.0), (2, 1, 4.0)):
        arms.seen(Moment(step, "", reward, 0.0, "", arm=arm))
    assert arms.pulls.tolist() == [0, 2] and arms.means.tolist() == [0, 3]
    arms.seen(Moment(0, "", 0.0, 0.0, ""))
    assert arms.pulls.sum() == 0


@pytest.mark.parametrize("period", [1, 2, 7, LONGEST_PERIOD])
def test_circles_are_noticed_after_three_rounds(period: int) -> None:
    lately = Repetition()
    found = [lately.seen(np.int32(k % period), 0) for k in range(200)]
    first = next(k for k, x in enumerate(found) if x)
    assert found[first] == period and first + 1 == max(REPEATED, 3 * period) + period
    lately = Repetition()
    assert not any(lately.seen(np.int32(k % (LONGEST_PERIOD + 1)), 0) for k in range(200))


def test_a_policy_that_stands_still_is_a_short_film() -> None:
    """Untrained, all actions tie and the first one is taken: into the wall to the left."""
    scene = staged(WorldName("cliff"))
    run = train(QLearning(), scene.world, 1)
    run.run_to_end()
    player = Player(scene, run.policy)
    moments = list(player.moments())
    assert len(moments) <= REPEATED + 3 and moments[-1].remark == player.remarks[0]
    assert "stands still: the same for 30 steps" in player.remarks[0]
    assert player.returns == [-(len(moments) - 1.0)]


@pytest.mark.parametrize("arguments", [["--fps", "0"], ["--longest", "0"], ["--episodes", "0"], ["--out", "x.png"]])
def test_bad_settings_are_one_line(cli, arguments: list[str]) -> None:
    code, _, err = cli("play", "cliff", *arguments)
    assert code == 2 and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("more", [[], ["--opponent", "me"]], ids=["shown", "played"])
def test_what_is_neither_run_nor_world_is_said_to_be_neither(cli, more: list[str]) -> None:
    code, _, err = cli("play", "runs/clif", *more)
    assert code == 2 and "no run's folder runs/clif, and there is no world 'runs/clif'" in err


def test_a_gif_has_a_picture_for_each_row(cli, tmp_path: Path) -> None:
    code, _, err = cli("play", "CartPole-v1", "--out", tmp_path / "a.gif", "--seed", "3")
    length = float(err.split()[-1])
    with Image.open(tmp_path / "a.gif") as film:
        assert code == 0 and film.n_frames == length + 1 > 8  # type: ignore[attr-defined]
    assert f"{length + 1:.0f} pictures, 30 a second (--fps)" in err
    # Browsers hold back what follows too quickly: of a hundred a second they would make ten.
    told = write(Player(staged(WorldName("CartPole-v1")), None, seed=3), tmp_path / "b.gif", 100)
    with Image.open(tmp_path / "b.gif") as film:
        assert film.n_frames == -(-length // 4) + 1 and film.info["duration"] == 40  # type: ignore[attr-defined]
    assert told.endswith("of 4 one is in a .gif")


def test_a_world_that_knows_its_speed_once_it_is_made_is_shown_at_it() -> None:
    """As MuJoCo's bodies do, whose class says nothing."""

    def body(render_mode: str) -> gym.Env:
        env = gym.make("Pendulum-v1", render_mode=render_mode).unwrapped
        env.metadata = {**env.metadata, "render_fps": 125}
        return env

    assert _hosted_scene(gymnasium(body), False).fps == 125


def test_an_mp4_has_a_picture_for_each_row(cli, tmp_path: Path) -> None:
    """Each the one that was drawn, as far as compression leaves it."""
    exe = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    code, _, err = cli("play", "CartPole-v1", "--out", tmp_path / "a.mp4", "--seed", "3")
    length = float(err.split()[-1])
    decode = [exe, "-v", "error", "-i", tmp_path / "a.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(decode, check=True, stdout=subprocess.PIPE).stdout
    drawn = np.stack([*pictures(Player(staged(WorldName("CartPole-v1")), None, seed=3))])
    assert code == 0 and len(raw) == drawn.size and len(drawn) == length + 1
    film = np.frombuffer(raw, np.uint8).reshape(drawn.shape)
    far = np.abs(film.astype(int) - drawn) > 60
    assert far.mean() < 0.004 < (np.abs(film[0].astype(int) - drawn[-1]) > 60).mean()


def test_an_mp4_that_cannot_be_written_is_one_line(cli, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    (tmp_path / "a.mp4").mkdir()
    code, _, err = cli("play", "CartPole-v1", "--out", tmp_path / "a.mp4")
    assert code == 2 and "a.mp4 cannot be written: " in err and len(err.strip().splitlines()) == 1
