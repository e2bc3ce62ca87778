"""Segments to look at: a picture of each row, drawn when somebody is asked and never while an agent learns."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from retorno.core.environment import Environment, World
from retorno.environments.wrappers import TimeLimit, Waiting, Wrapper
from retorno.preferences.written import as_rows

COLOURS = (1, 3, 4)
"""Channels of a picture."""
LINES = 8
"""Numbers of an observation that are drawn as lines, at most."""


class Clips:
    """Draws what a world showed: the world itself where an observation tells its state, pictures that are observed as
    they are, and else the numbers as lines over time.
    """

    def __init__(self, world: World) -> None:
        """Draw segments of a world."""
        # What neither shows nor hides anything is not drawn.
        while isinstance(world, TimeLimit | Waiting):
            world = world.world
        self.world = world

    @property
    def why_numbers(self) -> str | None:
        """Why clips show numbers and no pictures, where they do."""
        if _is_picture(self.world.observation_space):
            return None
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

    def frames(self, segment: Mapping[str, Any]) -> list[np.ndarray]:
        """A picture [height, width, 3] of each row.

        Args:
            segment: as it was asked about: "obs" and "action", as nested lists.
        """
        space = self.world.observation_space
        rows = as_rows(segment["obs"], space)
        count = len(jax.tree.leaves(rows)[0])
        row = lambda t: jax.tree.map(lambda x: x[t], rows)  # noqa: E731
        if _is_picture(space):
            return [_as_picture(row(t)) for t in range(count)]
        if isinstance(self.world, Environment):
            try:
                return _drawn(self.world, rows, count)
            except NotImplementedError:
                pass
        return _lines(rows, count)


def _is_picture(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


def _drawn(world: Environment, rows: Any, count: int) -> list[np.ndarray]:
    """The states that show these observations."""
    states = jax.device_get(jax.vmap(lambda obs: world.enter(obs)[0])(jax.tree.map(jnp.asarray, rows)))
    return [np.asarray(world.render(jax.tree.map(lambda x, t=t: x[t], states))) for t in range(count)]


def _as_picture(obs: np.ndarray) -> np.ndarray:
    """An observed picture in three colours; stacked frames by their newest."""
    if obs.shape[-1] not in COLOURS:
        obs = obs[..., -1:]
    return np.repeat(obs, 3, -1) if obs.shape[-1] == 1 else obs[..., :3]


def _lines(rows: Any, count: int) -> list[np.ndarray]:
    """The first numbers of each row as lines over time, with a mark that moves."""
    from retorno.environments.canvas import BLUE, GREEN, GREY, INK, ORANGE, Canvas

    flat = [np.asarray(x, float).reshape(count, -1) for x in jax.tree.leaves(rows)]
    numbers = np.concatenate(flat, axis=1)[:, :LINES]
    low, high = numbers.min(0), numbers.max(0)
    scaled = (numbers - low) / np.where(high > low, high - low, 1)
    frames = []
    for now in range(count):
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
