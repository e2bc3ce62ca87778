"""Segments to look at: pictures of their rows, drawn when somebody is asked and never while an agent learns."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np

from retorno.core.environment import Environment, World, episode_seed
from retorno.core.errors import RetornoError
from retorno.core.spaces import CHANNELS, action_units, channels_first, is_picture, policy_space
from retorno.environments.canvas import one_in
from retorno.environments.hosted.gymnasium import GymnasiumWorld
from retorno.environments.hosted.sync_environments import ActionLayout, reader
from retorno.environments.wrappers import TimeLimit, Waiting, Wrapper
from retorno.preferences.lives import Life
from retorno.preferences.written import as_rows

LINES = 8
"""Numbers of an observation that are drawn as lines, at most."""
USUAL = 60
"""Milliseconds of each picture where a world does not say how quickly it goes."""


class Film(NamedTuple):
    """Pictures one after another."""

    frames: list[np.ndarray]
    """[height, width, 3] each."""
    milliseconds: float
    """Of each, at the world's own speed."""


class Clips:
    """Draws what a world showed: the world itself where an observation tells its state, pictures that are observed as
    they are, or as the world draws them, a world that lives in Python by living its episode again, and else the numbers
    as lines over time.
    """

    def __init__(self, world: World, seed: int = 0) -> None:
        """Draw segments of a world.

        Args:
            world: any.
            seed: of the run that lived there: its episodes follow from it.
        """
        # What neither shows nor hides anything is not drawn.
        while isinstance(world, TimeLimit | Waiting):
            world = world.world
        self.world = world
        self._lived = None
        if isinstance(world, GymnasiumWorld) and not is_picture(world.observation_space):
            self._lived = LivedAgain(world, seed)

    @property
    def lives_again(self) -> bool:
        """Whether pictures take what led to a segment, and nothing else tells them."""
        return self._lived is not None

    @cached_property
    def why_numbers(self) -> str | None:
        """Why clips show numbers and no pictures, where they do."""
        if is_picture(self.world.observation_space) or self._pictures:
            return None
        if self._lived is not None:
            why = self._lived.trouble
            return None if why is None else f"clips show the world's numbers as lines: {why}"
        if not isinstance(self.world, Environment):
            return "clips of a hosted world show its numbers as lines: what it looks like is not in its observations"
        inner = self.world
        while isinstance(inner, Wrapper):
            inner = inner.world
        kind = type(inner)
        lacking = [name for name in ("enter", "render") if getattr(kind, name) is getattr(Environment, name)]
        if not lacking:
            return None
        return f"clips of {kind.__name__} show its numbers as lines: drawing it takes {' and '.join(lacking)}"

    @property
    def _pictures(self) -> bool:
        """Whether the world draws an observation by itself, as of planes of marks."""
        return isinstance(self.world, Environment) and type(self.world).picture is not Environment.picture

    def film(self, segment: Mapping[str, Any]) -> Film:
        """A segment at the world's own speed, without pictures that would follow each other too quickly.

        Args:
            segment: as it was asked about.
        """
        step = USUAL if self._lived is None else self._lived.milliseconds
        every = one_in(step)
        rows = len(jax.tree.leaves(as_rows(segment["obs"], self.world.observation_space))[0])
        # The last row is where it ends: it is shown.
        return Film(self.frames(segment, range((rows - 1) % every, rows, every)), every * step)

    def frames(self, segment: Mapping[str, Any], which: Sequence[int]) -> list[np.ndarray]:
        """A picture [height, width, 3] of each of some rows.

        Args:
            segment: as it was asked about: "obs" and "action" as `as_written` has them, "lived" where that is known.
            which: of its rows.
        """
        space = self.world.observation_space
        rows = as_rows(segment["obs"], space)
        if is_picture(space):
            last = np.moveaxis(rows, 1, -1) if channels_first(space) else rows
            return [_as_picture(last[t]) for t in which]
        if self._lived is not None and (drawn := self._lived.frames(segment, rows, which)) is not None:
            return drawn
        if isinstance(self.world, Environment):
            if self._pictures:
                return [self.world.picture(jax.tree.map(lambda x, t=t: x[t], rows)) for t in which]
            try:
                return _drawn(self.world, jax.tree.map(lambda x: x[np.asarray(which)], rows))
            except NotImplementedError:
                pass
        return _lines(rows, which)


class LivedAgain:
    """Draws segments of a world that lives in Python: their episodes are lived again, from their seeds and actions.

    All of it in a thread of its own, as what draws keeps to the one in which it began.
    """

    def __init__(self, world: GymnasiumWorld, seed: int) -> None:
        """Nothing is opened yet.

        Args:
            world: where they were lived.
            seed: of the run.
        """
        self.world, self.seed = world, seed
        self._units, self._layout = action_units(world.action_space), ActionLayout(world.action_space)
        self._read = reader(world.observation_space)
        self._thread = ThreadPoolExecutor(1, "clips")

    @property
    def trouble(self) -> str | None:
        """Why nothing can be drawn, if so."""
        opened = self._opened
        return opened if isinstance(opened, str) else None

    @property
    def milliseconds(self) -> float:
        """Of each step of the world, as it says itself."""
        opened = self._opened
        told = None if isinstance(opened, str) else opened.metadata.get("render_fps")
        return 1000 / told if told else USUAL

    def frames(self, segment: Mapping[str, Any], rows: Any, which: Sequence[int]) -> list[np.ndarray] | None:
        """Pictures of some of a segment's rows; None where it is not known how it was lived, or it was otherwise.

        Args:
            segment: as it was asked about.
            rows: what was observed. Shapes [L + 1, …].
            which: of them.
        """
        env, action = self._opened, np.asarray(segment["action"], self._acted)
        if isinstance(env, str) or "lived" not in segment:
            return None
        try:
            life = Life.read(segment["lived"], action)
            return self._thread.submit(self._again, env, life, action, rows, which).result()
        except Exception:  # Code of others, and what was written by others.
            return None

    def _again(
        self, env: gym.Env, life: Life, action: np.ndarray, rows: Any, which: Sequence[int]
    ) -> list[np.ndarray] | None:
        obs, _ = env.reset(seed=int(episode_seed(self.seed, life.env, life.episode)))
        sent = self._layout.decode(self._units.to_world(np.concatenate([life.actions, action])))
        frames = []
        for t in range(len(sent) + 1):
            if (row := t - life.age) >= 0:
                seen, then = self._read([obs]), jax.tree.map(lambda x, row=row: x[row : row + 1], rows)
                if not all(map(_alike, jax.tree.leaves(seen), jax.tree.leaves(then))):
                    return None
                frames += [_picture_of(env)] if row in which else []
            if t < len(sent):
                obs = env.step(sent[t])[0]
        return frames

    @cached_property
    def _acted(self) -> Any:
        """The type of a policy's actions."""
        return jax.dtypes.canonicalize_dtype(policy_space(self.world.action_space).dtype)

    @cached_property
    def _opened(self) -> gym.Env | str:
        """An environment that draws itself, or why there is none."""

        def opened() -> gym.Env:
            env = self.world.drawing()
            env.reset(seed=0)
            _picture_of(env)
            return env

        try:
            return self._thread.submit(opened).result()
        except RetornoError as error:
            return str(error)
        except Exception as error:  # Code of others.
            return f"{self.world.name} cannot be drawn: {type(error).__name__}: {error}"


def _picture_of(env: gym.Env) -> np.ndarray:
    drawn = env.render()
    if not isinstance(drawn, np.ndarray) or drawn.ndim != 3:
        raise RetornoError(f"its render gave {type(drawn).__name__}, and an array of colours is expected")
    return drawn.copy()  # The next one may be drawn into the same array.


def _alike(x: np.ndarray, y: np.ndarray) -> bool:
    return np.allclose(x, y, rtol=1e-3, atol=1e-3)


def _drawn(world: Environment, rows: Any) -> list[np.ndarray]:
    """The states that show these observations."""
    states = jax.device_get(jax.vmap(lambda obs: world.enter(obs)[0])(jax.tree.map(jnp.asarray, rows)))
    count = len(jax.tree.leaves(rows)[0])
    return [np.asarray(world.render(jax.tree.map(lambda x, t=t: x[t], states))) for t in range(count)]


def _as_picture(obs: np.ndarray) -> np.ndarray:
    """An observed picture in three colours; stacked frames by their newest."""
    if obs.shape[-1] not in CHANNELS:
        obs = obs[..., -1:]
    return np.repeat(obs, 3, -1) if obs.shape[-1] == 1 else obs[..., :3]


def _lines(rows: Any, which: Sequence[int]) -> list[np.ndarray]:
    """The first numbers of each row as lines over time, with a mark that moves."""
    from retorno.environments.canvas import BLUE, GREEN, GREY, INK, ORANGE, Canvas

    count = len(jax.tree.leaves(rows)[0])
    flat = [np.asarray(x, float).reshape(count, -1) for x in jax.tree.leaves(rows)]
    numbers = np.concatenate(flat, axis=1)[:, :LINES]
    low, high = numbers.min(0), numbers.max(0)
    scaled = (numbers - low) / np.where(high > low, high - low, 1)
    frames = []
    for now in which:
        canvas = Canvas(-0.5, count - 0.5, -0.3, 1.2 * scaled.shape[1] + 0.1, width=320)
        canvas.line([(now, -0.2), (now, 1.2 * scaled.shape[1])], 0.1, GREY)
        for i, line in enumerate(scaled.T):
            colour = (BLUE, ORANGE, GREEN, INK)[i % 4]
            canvas.line([(t, 1.2 * i + y) for t, y in enumerate(line)], 0.12, colour)
        frames.append(canvas.picture())
    return frames


def as_addresses(frames: list[np.ndarray]) -> list[str]:
    """Pictures as addresses that hold them, for a page."""
    from PIL import Image

    made = []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(frame, np.uint8)).save(file, "WEBP", lossless=True, method=0)
        made.append("data:image/webp;base64," + base64.b64encode(file.getvalue()).decode())
    return made
