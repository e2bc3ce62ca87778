"""`retorno play RUN|WORLD`: an episode in the terminal, in a window, or in a file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from retorno.cli.board import shown_map
from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.runs import learnt, members, recorded_world
from retorno.cli.terminal import note
from retorno.core import constants
from retorno.core.environment import Environment, World, advance, begin
from retorno.core.errors import RetornoError
from retorno.core.mdp import MDP
from retorno.core.policy import Policy
from retorno.core.runtime import IN_HASTE
from retorno.core.spaces import action_units
from retorno.core.time_step import TimeStep
from retorno.environments.hosted.gymnasium import GymnasiumWorld
from retorno.environments.hosted.legality import sample
from retorno.environments.registry import WorldName, make
from retorno.environments.sampled_world import Sampled
from retorno.environments.wrappers import Limited, Wrapper
from retorno.plots.graph import readable
from retorno.plots.stages import Arms, InGraph, Moment, OnMap, Rendered, Stage, Words, caption, picture
from retorno.run.episodes import decide

FOLLOWED, SMOOTH = 4, 30
"""Pictures a second: of steps that are read one by one, and of motion."""
REPEATED, LONGEST_PERIOD = 30, 20
"""So many steps that repeat, in circles of up to so many, end the film of a policy."""
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
    episodes: int = 1
    """How many episodes, one after another."""
    step: int | None = None
    """Of which step's policy; the newest where it is not said."""
    seed: int = 1_000_000
    """Of the episodes; `retorno evaluate` begins with the same one."""
    sampled: Flag = False
    """Draw actions from the policy instead of taking its best one."""
    fps: int | None = None
    """Pictures a second; 4 where steps are followed one by one, 30 where something moves."""
    longest: int = 1000
    """Steps after which an episode is shown no further."""


class CannotShow(RetornoError):
    """A film that cannot be written, or no place to show one."""


class Row(NamedTuple):
    """What a world gives to be shown."""

    row: TimeStep
    action: Any
    """That led here; None on a first row."""
    state: int | None
    picture: Any
    """The world's own, where it is asked for."""


class Scene(NamedTuple):
    """A world, and how its rows are shown."""

    world: World
    model: MDP | None
    stage: Stage
    draws: bool = False
    """Whether the world draws itself, in colours or in letters."""
    fps: int = FOLLOWED

    @property
    def windowed(self) -> bool:
        """Whether it is to be seen in a window alone."""
        return isinstance(self.stage, Rendered)


class Player:
    """Lives episodes in a world, by a policy or (None) at random, and tells every row."""

    def __init__(self, scene: Scene, policy: Policy | None, given: Play) -> None:
        self.scene, self.policy, self.given = scene, policy, given
        self.fps = given.fps or scene.fps
        self.returns: list[float] = []
        """Of the episodes that are over."""
        self.remarks: list[str] = []
        """Why they were shown no further."""
        self._carry = None if policy is None else policy.initial_carry()
        self._actions = scene.world.action_space
        deciding = partial(decide, units=action_units(self._actions), greedy=not given.sampled)
        self._decide = constants.jit(deciding, compiler_options=IN_HASTE)
        self._key = jax.random.key(given.seed)
        self._actions.seed(given.seed)

    def moments(self) -> Iterator[Moment]:
        """Every row, episode after episode. One that does not end is shown no further when it only repeats itself."""
        world = self.scene.world
        rows = self._native(world) if isinstance(world, Environment) else self._hosted(world)
        total, length = 0.0, 0
        lately = Repetition()
        for shown in rows:
            row = shown.row
            total, length = (0.0, 0) if row.first else (total + float(row.reward), length + 1)
            if row.first:
                lately = Repetition()
            remark = self._remark(row, length, lately.seen(row.obs, shown.action) if self.policy else 0)
            yield self._moment(shown, length, total, remark)
            if remark:
                self.returns.append(total)
                self.remarks.append(remark)
                if len(self.returns) == self.given.episodes or not row.last:
                    return

    def _remark(self, row: TimeStep, length: int, period: int) -> str:
        """Why an episode is shown no further, or "" where it goes on."""
        if row.last:
            return "the episode ends" if row.discount == 0 else "cut by the time limit"
        if period == 1:
            return f"stands still: the same for {REPEATED} steps, and is shown no further"
        if period:
            return f"goes in circles: the same {period} steps again and again, and is shown no further"
        return f"not over after {length:,} steps (--longest), and is shown no further" * (length >= self.given.longest)

    def _moment(self, shown: Row, length: int, total: float, remark: str) -> Moment:
        model, action = self.scene.model, shown.action
        number = None if action is None or not isinstance(self._actions, spaces.Discrete) else int(action)
        if model is not None and shown.state is not None:
            place = model.state_names[shown.state]
            told = "" if number is None else model.action_names[number]
        else:
            place, told = _numbers(shown.row.obs), "" if action is None else _numbers(action)
        told = f"action {told}" if told.isdigit() else told
        place = f"state {place}" if place.isdigit() else place
        drawn = shown.picture if isinstance(shown.picture, np.ndarray) else None
        letters = shown.picture if isinstance(shown.picture, str) else ""
        return Moment(length, told, float(shown.row.reward), total, place, shown.state, number, drawn, letters, remark)

    def _native(self, world: Environment) -> Iterator[Row]:
        seed, env = jnp.uint32(self.given.seed), jnp.uint32(0)
        forward = jax.jit(partial(advance, world), compiler_options=IN_HASTE)
        standing, row = begin(world, seed, env)
        action = None
        while True:
            state = jax.tree.map(np.asarray, standing.state)
            drawn = world.render(state) if self.scene.draws else None
            yield Row(row, None if row.first else action, state_of(world, state), drawn)
            action = self._act(row)
            standing, row = forward(standing, row, action, seed, env)

    def _hosted(self, world: Any) -> Iterator[Row]:
        environments = world.open(1, self.given.seed)
        try:
            rows = environments.reset()
            action = None
            while True:
                row = jax.tree.map(lambda x: x[0], rows)
                drawn = _picture(environments, world.name) if self.scene.draws else None
                yield Row(row, None if row.first else action, None, drawn)
                action = self._act(row)
                rows = environments.step(jax.tree.map(lambda x: np.asarray(x)[None], action))
        finally:
            environments.close()

    def _act(self, row: TimeStep) -> Any:
        if self.policy is None:
            return sample(self._actions, row.legal)
        self._key, key = jax.random.split(self._key)
        action, self._carry = self._decide(self.policy, row, self._carry, key=key)
        return action


class Repetition:
    """Notices that what is seen and done repeats itself."""

    def __init__(self) -> None:
        self._last: deque[bytes] = deque(maxlen=max(REPEATED, 3 * LONGEST_PERIOD) + LONGEST_PERIOD)

    def seen(self, obs: Any, action: Any) -> int:
        """The length of the circle that the last steps went round, three times or more; 0 where they did not."""
        self._last.append(b"|".join(np.asarray(x).tobytes() for x in jax.tree.leaves((obs, action))))
        lately = list(self._last)
        for period in range(1, LONGEST_PERIOD + 1):
            length = max(REPEATED, 3 * period)
            if len(lately) >= length + period and lately[-length:] == lately[-length - period : -period]:
                return period
        return 0


def state_of(world: Environment, state: Any) -> int | None:
    """The number of a model's state within the worlds around it; None where no model is lived in."""
    while isinstance(world, Wrapper):
        state = state.state if isinstance(state, Limited) else state
        world = world.world
    return int(state) if isinstance(world, Sampled) else None


def run(arguments: list[str]) -> int:
    given = parse(Play, arguments, "retorno play")
    if given.episodes < 1 or given.longest < 1 or (given.fps is not None and given.fps < 1):
        raise UsageError("--episodes, --fps and --longest must be positive")
    if given.out is not None and given.out.suffix not in (".gif", ".mp4"):
        raise UsageError(f"--out must end in .gif or .mp4, got {given.out.name!r}")
    scene, policy = _what(given)
    player = Player(scene, policy, given)
    if given.out is not None:
        count = _write(player, given.out)
        print(given.out)
        note(f"{count:,} pictures, {player.fps} a second (--fps)")
    elif scene.windowed and _display():
        _window(player, given.what)
    else:
        if scene.windowed:
            note("there is no display to open a window on: told in words; --out episode.gif draws it")
        _tell(player)
        return 0
    for total, remark in zip(player.returns, player.remarks, strict=True):
        note(f"{remark}; return {total:.2f}")
    return 0


def _what(given: Play) -> tuple[Scene, Policy | None]:
    """A world with how it is shown, and the policy of a run's first seed."""
    letters = given.out is None and not _display()
    if not Path(given.what).is_dir():
        return staged(WorldName(given.what), letters), None
    run = members(Path(given.what))[0]
    return staged(recorded_world(run), letters), learnt([run], given.step)[0].policy


def staged(name: WorldName, letters: bool = False) -> Scene:
    """How a world is shown: on its map, by its own pictures, among arms, in the graph of its model, or in words.

    Args:
        name: of the world.
        letters: take what Gymnasium draws in letters where there is no place for pictures.
    """
    world = name.make()
    if isinstance(world, GymnasiumWorld):
        return _hosted_scene(world, letters)
    if not isinstance(world, Environment):
        return Scene(world, None, Words())
    start = jax.tree.map(np.asarray, world.reset(jax.random.key(0))[0])
    model = replace(name, wrappers=()).model() if state_of(world, start) is not None else None
    if model is not None and _placed(model):
        return Scene(world, model, OnMap(model))
    if isinstance(world.observation_space, spaces.Discrete) and isinstance(world.action_space, spaces.Discrete):
        if world.observation_space.n == 1 or (model is not None and np.count_nonzero(~model.terminal) == 1):
            names = model.action_names if model is not None else range(int(world.action_space.n))
            return Scene(world, model, Arms({i: f"arm {a}" for i, a in enumerate(names)}))
    with contextlib.suppress(NotImplementedError):
        world.render(start)
        return Scene(world, model, Rendered(), draws=True, fps=SMOOTH)
    if model is not None and readable(model):
        return Scene(world, model, InGraph(model))
    if name.name in gymnasium.registry and not name.settings:
        hosted = make(name.name, hosted=True)
        assert isinstance(hosted, GymnasiumWorld)
        return _hosted_scene(hosted, letters)
    return Scene(world, model, Words())


def _hosted_scene(world: GymnasiumWorld, letters: bool) -> Scene:
    """Gymnasium's own pictures, or letters, where there are some."""
    plain = replace(world, num_envs=1, parallel=False, native=False)
    said = _metadata(world)
    fps = int(said.get("render_fps") or SMOOTH)
    if letters and "ansi" in said.get("render_modes", ()):
        return Scene(replace(plain, kwargs={**world.kwargs, "render_mode": "ansi"}), None, Words(), True, fps)
    drawing = replace(plain, kwargs={**world.kwargs, "render_mode": "rgb_array"})
    try:
        environments = drawing.open(1, 0)
        try:
            environments.reset()
            _picture(environments, drawing.name)
        finally:
            environments.close()
    except RetornoError as error:
        note(f"told in words: {error}")
        return Scene(plain, None, Words())
    return Scene(drawing, None, Rendered(), True, fps)


def _metadata(world: GymnasiumWorld) -> Mapping[str, Any]:
    """What an environment's class says of its pictures, where it has a class that says it."""
    try:
        entry = gymnasium.spec(str(world.source)).entry_point
        made: Any = load_env_creator(entry) if isinstance(entry, str) else entry
        return made.metadata
    except Exception:  # Code of others: without it, pictures are tried and found.
        return {}


def _placed(model: MDP) -> bool:
    """Whether episodes can be followed on the map: it shows places, of most states."""
    if model.grid is None or not model.has_map or (model.map_key is not None and model.map_key.rows):
        return False
    on = np.array([at is not None for at in model.grid])
    return bool(on[~model.terminal].mean() > 0.9)


def _numbers(values: Any) -> str:
    """What is observed or done, shortly."""
    flat = np.concatenate([np.ravel(np.asarray(x)).astype(float) for x in jax.tree.leaves(values)] or [np.zeros(0)])
    told = [f"{x:.3g}".replace("-", "−") for x in flat[:8]]
    return " ".join(told) + (f" … ({len(flat):,} numbers)" if len(flat) > 8 else "")


def _picture(environments: Any, name: str) -> np.ndarray | str:
    try:
        drawn = environments.render()
    except Exception as error:
        raise CannotShow(f"{name} cannot be drawn: {type(error).__name__}: {error}") from error
    if isinstance(drawn, str):
        return drawn
    if not isinstance(drawn, np.ndarray) or drawn.ndim != 3:
        raise CannotShow(f"{name} cannot be drawn: its render gave {type(drawn).__name__}, expected an array of RGB")
    return drawn


def pictures(player: Player) -> Iterator[np.ndarray]:
    """The pictures [height, width, 3] of every row, with its numbers below."""
    return (picture(player.scene.stage, moment) for moment in player.moments())


def _tell(player: Player) -> None:
    """The episode as text: live in a terminal, elsewhere a line for each step, and the map at its ends."""
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
            time.sleep(1 / player.fps)


def _shown(stage: Stage, moment: Moment) -> list[Text]:
    """A stage as text."""
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
    text = Text(f"{caption(moment)}   ")
    if model is None or model.num_states > 1:
        text.append(f"→ {moment.place}" if moment.step else moment.place, "bold")
    return text.append(f"   {moment.remark}", "yellow") if moment.remark else text


def _write(player: Player, out: Path) -> int:
    """All pictures into one file; how many there are."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".mp4":
        return _write_mp4(player, out)
    from PIL import Image

    first, *rest = (Image.fromarray(drawn) for drawn in pictures(player))
    each = [round(1000 / player.fps)] * len(rest) + [2000]
    first.save(out, save_all=True, append_images=rest, duration=each, loop=0, optimize=True)
    return 1 + len(rest)


def _write_mp4(player: Player, out: Path) -> int:
    """H.264 in the colours that every player knows, which want even sizes."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise CannotShow("an .mp4 needs ffmpeg: `pip install 'retorno[video]'`, or write a .gif") from error
    drawn = pictures(player)
    first, count = next(drawn), 0
    height, width, _ = first.shape
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(player.fps), "-i", "-"]
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


def _window(player: Player, title: str) -> None:
    """Show the pictures until the episodes are over or the window is closed."""
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
            clock.tick(player.fps)
            if any(event.type == pygame.QUIT for event in pygame.event.get()):
                return
    except pygame.error as error:
        raise CannotShow(f"no window can be opened ({error}): {elsewhere}") from error
    finally:
        pygame.display.quit()
