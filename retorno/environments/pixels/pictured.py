"""A world that is seen as it is drawn: what its numbers tell at once has to be read off a picture."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Key, PyTree

from retorno.core.time_step import TimeStep
from retorno.environments.canvas import Drawn, Sketch, size
from retorno.environments.wrappers import Wrapper


class Pictured(Wrapper):
    """Shows a grey picture of the state, a byte for each pixel, drawn inside the compiled program.

    One picture shows no velocity: a network needs several (`Stack`) or a memory.

    Raises:
        ValueError: when the picture would have fewer than eight rows or columns.
    """

    world: Drawn
    pixels: int = eqx.field(static=True)
    """Columns; rows follow from what the world shows of itself."""

    def __check_init__(self) -> None:
        if not isinstance(self.world, Drawn):
            raise ValueError(f"a world is seen as a picture where it draws itself (`Drawn`), got {self.world!r}")
        if min(size(*self.world.view, self.pixels)) < 8:
            raise ValueError(f"a picture needs eight rows and columns or more, got pixels={self.pixels}: try 42")

    @property
    def observation_space(self) -> spaces.Box:
        columns, rows = size(*self.world.view, self.pixels)
        return spaces.Box(0, 255, (rows, columns, 1), np.uint8)

    def _seen(self, state: PyTree[Any], row: TimeStep) -> tuple[PyTree[Any], TimeStep]:
        sketch = Sketch(*self.world.view, self.pixels)
        self.world.draw(state, sketch)
        return state, row._replace(obs=sketch.picture())

    def reset(self, key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        return self._seen(*self.world.reset(key))

    def restart(self, state: PyTree[Any], key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        return self._seen(*self.world.restart(state, key))

    def step(self, state: PyTree[Any], action: Any, key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        return self._seen(*self.world.step(state, action, key))
