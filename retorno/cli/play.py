"""`retorno play RUN|WORLD`: an episode in a window, or in a file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from retorno.cli.options import Flag, UsageError, parse, step_of
from retorno.cli.runs import learnt, members, world_for
from retorno.cli.spelling import world_settings
from retorno.cli.terminal import note
from retorno.core import constants
from retorno.core.environment import Environment, World, advance, begin
from retorno.core.errors import RetornoError
from retorno.core.policy import Policy
from retorno.core.runtime import IN_HASTE
from retorno.core.spaces import action_units
from retorno.core.time_step import TimeStep
from retorno.environments.hosted.gymnasium import GymnasiumWorld
from retorno.environments.hosted.legality import sample
from retorno.environments.registry import make
from retorno.run.episodes import decide
from retorno.run.learnt import require_fitting

LONGEST = 10_000


@dataclass(frozen=True)
class Play:
    """Show an episode of what a run has learnt, or of random actions in a world, in a window or as a file."""

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|WORLD")]
    """A run's folder, or the name of a world: there actions are random."""
    out: Path | None = None
    """Write a .gif or .mp4 instead of opening a window."""
    episodes: int = 1
    """How many episodes, one after another."""
    step: str | None = None
    """Of which step's policy: a number, or best for the one whose return was the highest while it was learnt. The
    newest where it is not said."""
    world: str | None = None
    """Of a run: another world with the same spaces than its own. What either is made with: --world.KEY VALUE."""
    seed: int = 1_000_000
    """Of the episodes; `retorno evaluate` begins with the same one."""
    sampled: Flag = False
    """Draw actions from the policy instead of taking its best one."""
    fps: int = 30
    """Pictures a second."""


class CannotShow(RetornoError):
    """A world that cannot be drawn, or no place to show it."""


class Player:
    """Lives episodes in a world, by a policy or (None) at random, and draws every row."""

    def __init__(self, world: World, policy: Policy | None, given: Play) -> None:
        self.world, self.policy, self.given = world, policy, given
        self.returns: list[float] = []
        """Of the episodes that are over."""
        self._carry = None if policy is None else policy.initial_carry()
        self._actions = world.action_space
        deciding = partial(decide, units=action_units(self._actions), greedy=not given.sampled)
        self._decide = constants.jit(deciding, compiler_options=IN_HASTE)
        self._key = jax.random.key(given.seed)
        self._actions.seed(given.seed)

    def pictures(self) -> Iterator[np.ndarray]:
        """The pictures [height, width, 3] of every row, episode after episode."""
        rows = self._native(self.world) if isinstance(self.world, Environment) else self._hosted(self.world)
        total, length = 0.0, 0
        for picture, row in rows:
            total, length = (0.0, 0) if row.first else (total + float(row.reward), length + 1)
            yield picture
            if row.last or length >= LONGEST:
                self.returns.append(total)
                if len(self.returns) == self.given.episodes or length >= LONGEST:
                    return

    def _native(self, world: Environment) -> Iterator[tuple[np.ndarray, TimeStep]]:
        seed, env = jnp.uint32(self.given.seed), jnp.uint32(0)
        forward = jax.jit(partial(advance, world), compiler_options=IN_HASTE)
        standing, row = begin(world, seed, env)
        while True:
            yield world.render(jax.tree.map(np.asarray, standing.state)), row
            standing, row = forward(standing, row, self._act(row), seed, env)

    def _hosted(self, world: Any) -> Iterator[tuple[np.ndarray, TimeStep]]:
        environments = world.open(1, self.given.seed)
        try:
            rows = environments.reset()
            while True:
                row = jax.tree.map(lambda x: x[0], rows)
                yield _picture(environments, world.name), row
                rows = environments.step(jax.tree.map(lambda x: np.asarray(x)[None], self._act(row)))
        finally:
            environments.close()

    def _act(self, row: TimeStep) -> Any:
        if self.policy is None:
            return sample(self._actions, row.legal)
        self._key, key = jax.random.split(self._key)
        action, self._carry = self._decide(self.policy, row, self._carry, key=key)
        return action


def run(arguments: list[str]) -> int:
    settings, rest = world_settings(arguments)
    given = parse(Play, rest, "retorno play")
    if given.episodes < 1 or given.fps < 1:
        raise UsageError("--episodes and --fps must be positive")
    if given.out is not None and given.out.suffix not in (".gif", ".mp4"):
        raise UsageError(f"--out must end in .gif or .mp4, got {given.out.name!r}")
    player = Player(*_what(given, settings), given)
    if given.out is None:
        _window(player, given.what)
    else:
        _write(player, given.out)
        print(given.out)
    if player.returns:
        note(f"return {', '.join(f'{r:.2f}' for r in player.returns)}")
    return 0


def _what(given: Play, settings: dict[str, Any]) -> tuple[World, Policy | None]:
    """A world that can be drawn, and the policy of a run's first seed."""
    if not Path(given.what).is_dir():
        if given.world is not None:
            raise UsageError(
                f"--world is for the policy of a run, and {given.what} is a world: play {given.world} itself"
            )
        return _drawable(make(given.what, **settings), given.what, settings), None
    run = members(Path(given.what))[0]
    name = world_for(run, given.world, settings)
    world, actor = name.make(), learnt([run], step_of(given.step))[0]
    require_fitting(actor, world)
    return _drawable(world, name.name, name.settings), actor.policy


def _drawable(world: World, name: str | None, settings: dict[str, Any]) -> World:
    """The world itself where it can be drawn, else Gymnasium's of the same name, which has the same observations."""
    if isinstance(world, GymnasiumWorld):
        drawing = {**world.kwargs, "render_mode": "rgb_array"}
        return replace(world, num_envs=1, parallel=False, native=False, kwargs=drawing)
    if not isinstance(world, Environment):
        raise CannotShow(f"{name} cannot be drawn from the command line: it was made in Python")
    try:
        world.render(jax.tree.map(np.asarray, world.reset(jax.random.key(0))[0]))
    except NotImplementedError as error:
        import gymnasium

        if name not in gymnasium.registry:
            raise CannotShow(f"{name} cannot be drawn: {error}; `retorno evaluate` tells its returns") from error
        return _drawable(make(name, hosted=True, **settings), name, settings)
    return world


def _picture(environments: Any, name: str) -> np.ndarray:
    try:
        picture = environments.render()
    except Exception as error:
        raise CannotShow(f"{name} cannot be drawn: {type(error).__name__}: {error}") from error
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        raise CannotShow(f"{name} cannot be drawn: its render gave {type(picture).__name__}, expected an array of RGB")
    return picture


def _write(player: Player, out: Path) -> None:
    """All pictures into one file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".gif":
        from PIL import Image

        first, *rest = (Image.fromarray(picture) for picture in player.pictures())
        first.save(out, save_all=True, append_images=rest, duration=1000 / player.given.fps, loop=0, optimize=True)
        return
    _write_mp4(player, out)


def _write_mp4(player: Player, out: Path) -> None:
    """H.264 in the colours that every player knows, which want even sizes."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise CannotShow("an .mp4 needs ffmpeg: `pip install 'retorno[video]'`, or write a .gif") from error
    pictures = player.pictures()
    first = next(pictures)
    height, width, _ = first.shape
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(player.given.fps), "-i", "-"]
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
            for picture in (first, *pictures):
                pipe.write(np.ascontiguousarray(picture, np.uint8))
        if ffmpeg.wait():
            said.seek(0)
            reason = " ".join(said.read().decode(errors="replace").split())
            raise CannotShow(f"{out} cannot be written: {reason}")


def _window(player: Player, title: str) -> None:
    """Show the pictures until the episodes are over or the window is closed."""
    elsewhere = "write a file instead, as with --out episode.gif"
    if sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"} & set(os.environ):
        raise CannotShow(f"there is no display to open a window on: {elsewhere}")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as error:
        raise CannotShow(f"a window needs pygame: `pip install 'retorno[window]'`, or {elsewhere}") from error
    try:
        pygame.display.init()
        screen, clock = None, pygame.time.Clock()
        for picture in player.pictures():
            screen = screen or pygame.display.set_mode((picture.shape[1], picture.shape[0]))
            pygame.display.set_caption(f"retorno: {title}")
            screen.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
            pygame.display.flip()
            clock.tick(player.given.fps)
            if any(event.type == pygame.QUIT for event in pygame.event.get()):
                return
    except pygame.error as error:
        raise CannotShow(f"no window can be opened ({error}): {elsewhere}") from error
    finally:
        pygame.display.quit()
