"""`retorno play RUN|WORLD`: an episode in the terminal, in a window, or in a file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from retorno.cli.options import Flag, UsageError, parse, step_of
from retorno.cli.pages import Port
from retorno.cli.runs import members, of_first_seed, world_for
from retorno.cli.spelling import world_settings
from retorno.cli.terminal import note
from retorno.core.errors import RetornoError
from retorno.core.hyperparameters import Count, Seed
from retorno.core.waiting import waiting
from retorno.environments.canvas import one_in
from retorno.environments.games.game import Game
from retorno.environments.registry import UnknownNameError, WorldName
from retorno.run.learnt import require_fitting

if TYPE_CHECKING:
    from rich.text import Text

    from retorno.core.mdp import MDP
    from retorno.core.policy import Policy
    from retorno.plots.player import Player, Scene
    from retorno.plots.stages import Moment, Stage

SHOWN = dict.fromkeys(("out", "episodes", "sampled", "saliency", "fps", "longest"), "for episodes that are shown")
"""Options that say nothing where somebody plays, and what they are for."""
ALIKE = {"seed": "for games that are alike, and no two of a page are"}
"""Those that say nothing on the page besides."""
TOLD = 12
"""Lines of an episode that stay in the terminal."""


@dataclass(frozen=True)
class Play:
    """Show an episode of what a run has learnt, or of random actions in a world: maps, graphs, bandits and words in the
    terminal, motion in a window, everything in a file.
    """

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|WORLD")]
    """A run's folder, or the name of a world: there actions are random."""
    out: Path | None = None
    """Write a .gif or .mp4 instead."""
    episodes: Count = 1
    """How many episodes, one after another."""
    step: str | None = None
    """Of which step's policy: a number, or best for the one whose return was the highest while it was learnt. The
    newest where it is not said."""
    world: str | None = None
    """Of a run: another world with the same spaces than its own. What either is made with: --world.KEY VALUE."""
    seed: Seed = 1_000_000
    """Of the episodes; `retorno evaluate` begins with the same one."""
    sampled: Flag = False
    """Draw actions from the policy instead of taking its best one."""
    saliency: Flag = False
    """Lay over each picture what the best action's value hangs on, or the state's, of a policy that sees images."""
    fps: Count | None = None
    """Pictures a second; 4 where steps are followed one by one, 30 where something moves."""
    longest: Count = 1000
    """Steps after which an episode is shown no further."""
    opponent: Literal["me"] | None = None
    """me: play yourself, in a game of two, against the run, or against whoever is named with --against."""
    against: str | None = None
    """Whom the run plays in a game of two, and whom you play instead of the run: random, exact, uct:SIMULATIONS,
    alpha_beta:DEPTH, RUN or RUN:SIMULATIONS."""
    second: Flag = False
    """Let the other begin."""
    page: Flag = False
    """Play yourself, in a page in the browser, with what is thought of each move."""
    port: Port = None
    """Of the page; 8420 or one after it where it is not said."""


class CannotShow(RetornoError):
    """A film that cannot be written, or no place to show one."""


def run(arguments: list[str]) -> int:
    settings, rest = world_settings(arguments)
    given = parse(Play, rest, "retorno play")
    if given.out is not None and given.out.suffix not in (".gif", ".mp4"):
        raise UsageError(f"--out must end in .gif or .mp4, got {given.out.name!r}")
    if given.port is not None and not given.page:
        raise UsageError("--port is the page's: give --page as well")
    if given.opponent is not None or given.page:
        return _against_me(given, settings)
    with _neither_run_nor_world(given.what):
        scene, policy = _what(given, settings)
    game = scene.world if isinstance(scene.world, Game) and scene.world.two_players else None
    if (given.against is not None or given.second) and game is None:
        raise UsageError(f"--against and --second are for a game of two, got {given.what}")
    if given.second and given.against is None:
        raise UsageError("--second lets the other begin: say who that is, with --against or --opponent me")
    from retorno.cli.arena import player_of
    from retorno.plots.player import Player

    if given.saliency and (policy is None or len(scene.world.observation_space.shape or ()) not in (2, 3)):
        seen = "random actions" if policy is None else f"a policy that sees {scene.world.observation_space}"
        raise UsageError(f"--saliency is for a run that learnt values from images, got {seen}")
    other = None if given.against is None or game is None else player_of(given.against, game)
    player = Player(
        scene, policy, given.seed, given.episodes, given.longest, not given.sampled, given.saliency, other, given.second
    )
    if given.against is not None:
        sides = ["random" if policy is None else given.what, given.against]
        note("{} begins against {}".format(*sides[::-1] if given.second else sides))
    fps = given.fps or scene.fps
    if scene.why:
        note(scene.why)
    if given.out is not None:
        with waiting("drawing", lambda: f"{len(player.returns):,} of {given.episodes:,} episodes are over"):
            told = write(player, given.out, fps)
        print(given.out)
        note(told)
    elif scene.windowed and _display():
        _window(player, given.what, fps)
    else:
        if scene.windowed:
            note("there is no display to open a window on: told in words; --out episode.gif draws it")
        _tell(player, fps)
        return 0
    for total, remark in zip(player.returns, player.remarks, strict=True):
        note(f"{remark}; return {total:.2f}")
    return 0


@contextlib.contextmanager
def _neither_run_nor_world(what: str) -> Iterator[None]:
    """While a world is made: where there is none of a name that is no folder's either, both are said."""
    try:
        yield
    except UnknownNameError as error:
        if Path(what).is_dir():
            raise
        raise UsageError(f"no run's folder {what}, and {error}") from error


def _what(given: Play, settings: dict[str, Any]) -> tuple[Scene, Policy | None]:
    """A world with how it is shown, and the policy of a run's first seed."""
    from retorno.plots.player import staged

    letters = given.out is None and not _display()
    name, policy = _named(given, settings)
    return staged(name, letters), policy


def _named(given: Play, settings: dict[str, Any]) -> tuple[WorldName, Policy | None]:
    """A world by its name; or a run's, and what its first seed has learnt."""
    if not Path(given.what).is_dir():
        if given.world is not None:
            raise UsageError(f"--world is for the policy of a run, and {given.what} is a world: play {given.world}")
        if given.step is not None:
            raise UsageError(f"--step is of a run's policy, and {given.what} is a world")
        return WorldName(given.what, settings=settings), None
    run = Path(given.what)
    name, actor = world_for(members(run)[0], given.world, settings), of_first_seed(run, step_of(given.step))
    require_fitting(actor, name.make())
    return name, actor.policy


def _against_me(given: Play, settings: dict[str, Any]) -> int:
    """A game against what a run has learnt, or against somebody else."""
    from retorno.cli.against import play_against, play_on_page
    from retorno.cli.arena import player_of
    from retorno.run.played import game_of_two

    for name, meant in (SHOWN | ALIKE if given.page else SHOWN).items():
        if getattr(given, name) != getattr(Play, name):
            raise UsageError(f"--{name} is {meant}: leave it out to play yourself")
    if given.page and given.second:
        raise UsageError("--second is for the terminal: on the page you choose who begins")
    name, policy = _named(given, settings)
    with _neither_run_nor_world(given.what):
        world = game_of_two(name.make())
    if given.against is not None:
        policy = player_of(given.against, world)
    if given.page:
        return play_on_page(given.what, policy, given.against, world, given.port)
    if policy is None:
        raise UsageError(f"{given.what} is no run's folder: say who plays, as in --against uct:1000")
    return play_against(policy, world, given.seed, given.second)


def _tell(player: Player, fps: int) -> None:
    """The episode as text: live in a terminal, elsewhere a line for each step, and the map at its ends."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from retorno.plots.board import shown_map
    from retorno.plots.stages import Arms, OnMap

    console = Console(highlight=False, soft_wrap=True)
    stage = player.scene.stage
    if not console.is_terminal:
        for moment in player.moments():
            if isinstance(stage, Arms):
                stage.seen(moment)
            console.print(_line(moment, player.scene.model))
            if isinstance(stage, OnMap) and (moment.remark or not moment.step):
                console.print(shown_map(stage.whole, moment.state))
            if moment.drawing and (moment.remark or not moment.step):
                console.print(Text.from_ansi(moment.drawing.strip("\n")))
        return
    lines: deque[Text] = deque(maxlen=TOLD)
    with Live(console=console, auto_refresh=False) as live:
        for moment in player.moments():
            lines.append(_line(moment, player.scene.model))
            told = [lines[-1]] if isinstance(stage, OnMap) or moment.drawing else lines
            live.update(Group(*_shown(stage, moment), *told), refresh=True)
            time.sleep(1 / fps)


def _shown(stage: Stage, moment: Moment) -> list[Text]:
    """A stage as text."""
    from rich.text import Text

    from retorno.plots.board import shown_map
    from retorno.plots.stages import Arms, OnMap

    if isinstance(stage, OnMap):
        return [shown_map(stage.whole, moment.state)]
    if moment.drawing:
        return [Text.from_ansi(moment.drawing.strip("\n"))]
    if isinstance(stage, Arms):
        stage.seen(moment)
        scale = 24 / max(float(np.abs(stage.means).max()), 1e-9)
        return [
            Text(
                f"{name:<10} {mean:>8.3f} {pulls:>7,}  {'█' * round(abs(mean) * scale)}",
                "bold yellow" if i == moment.arm else "",
            )
            for (i, name), mean, pulls in zip(stage.names.items(), stage.means, stage.pulls, strict=True)
        ]
    return []


def _line(moment: Moment, model: MDP | None) -> Text:
    """A moment in one line."""
    from rich.text import Text

    from retorno.plots.stages import caption

    text = Text(caption(moment))
    if moment.place and (model is None or model.num_states > 1):
        text.append(f"   → {moment.place}" if moment.step else f"   {moment.place}", "bold")
    return text.append(f"   {moment.remark}", "yellow") if moment.remark else text


def write(player: Player, out: Path, fps: int) -> str:
    """All pictures into one file, a .gif or an .mp4.

    Args:
        player: what lives them.
        out: the file.
        fps: pictures a second. Of a .gif those are left out that would follow others more quickly than browsers show.

    Returns:
        How many there are, in words.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".mp4":
        return f"{_write_mp4(player, out, fps):,} pictures, {fps} a second (--fps)"
    from PIL import Image

    from retorno.plots.player import pictures

    every = one_in(1000 / fps)
    drawn = pictures(player)
    kept, last = [], None
    for i, last in enumerate(drawn):
        if i % every == 0:
            kept.append(Image.fromarray(last))
    assert last is not None
    if i % every:
        kept.append(Image.fromarray(last))
    each = [round(1000 * every / fps)] * (len(kept) - 1) + [2000]
    kept[0].save(out, save_all=True, append_images=kept[1:], duration=each, loop=0, optimize=True)
    left_out = "" if every == 1 else f"; of {every} one is in a .gif"
    return f"{len(kept):,} pictures, {fps} a second (--fps){left_out}"


def _write_mp4(player: Player, out: Path, fps: int) -> int:
    """H.264 in the colours that every player knows, which want even sizes."""
    from retorno.plots.player import pictures

    try:
        from imageio_ffmpeg import get_ffmpeg_exe  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise CannotShow("an .mp4 needs ffmpeg: `pip install 'retorno[video]'`, or write a .gif") from error
    drawn = pictures(player)
    first, count = next(drawn), 0
    height, width, _ = first.shape
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    target = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-y", str(out)]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            [get_ffmpeg_exe(), "-v", "error", *source, *target], stdin=subprocess.PIPE, stderr=said
        ) as ffmpeg,
    ):
        assert ffmpeg.stdin is not None
        # Where ffmpeg has ended early its own words say why.
        with contextlib.suppress(BrokenPipeError), ffmpeg.stdin as pipe:
            for count, frame in enumerate((first, *drawn), 1):  # noqa: B007
                pipe.write(np.ascontiguousarray(frame, np.uint8))
        if ffmpeg.wait():
            said.seek(0)
            reason = " ".join(said.read().decode(errors="replace").split())
            raise CannotShow(f"{out} cannot be written: {reason}")
    return count


def _display() -> bool:
    """Whether there is a display to open a window on."""
    return not sys.platform.startswith("linux") or bool(
        {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"} & set(os.environ)
    )


def _window(player: Player, title: str, fps: int) -> None:
    """Show the pictures until the episodes are over or the window is closed."""
    from retorno.plots.player import pictures

    elsewhere = "write a file instead, as with --out episode.gif"
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as error:
        raise CannotShow(f"a window needs pygame: `pip install 'retorno[window]'`, or {elsewhere}") from error
    try:
        pygame.display.init()
        screen, clock = None, pygame.time.Clock()
        for frame in pictures(player):
            screen = screen or pygame.display.set_mode((frame.shape[1], frame.shape[0]))
            pygame.display.set_caption(f"retorno: {title}")
            screen.blit(pygame.surfarray.make_surface(frame.swapaxes(0, 1)), (0, 0))
            pygame.display.flip()
            clock.tick(fps)
            if any(event.type == pygame.QUIT for event in pygame.event.get()):
                return
    except pygame.error as error:
        raise CannotShow(f"no window can be opened ({error}): {elsewhere}") from error
    finally:
        pygame.display.quit()
