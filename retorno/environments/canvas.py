"""A small drawing board in a world's own units, for pictures of states: by Pillow, or inside of a compiled program."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, UInt8

from retorno.core.environment import Environment

Point = tuple[Any, Any]
"""Two numbers."""
Colour = tuple[int, int, int]

PAPER: Colour = (252, 252, 250)
INK: Colour = (40, 44, 52)
BLUE: Colour = (58, 110, 165)
ORANGE: Colour = (221, 132, 62)
GREEN: Colour = (76, 153, 102)
GREY: Colour = (176, 180, 186)

SMOOTHING = 2
"""Pictures are drawn this much larger and then reduced, which smooths their edges."""
SHORTEST = 40
"""Milliseconds of a picture in a film that browsers show at its own speed."""


def one_in(milliseconds: float) -> int:
    """One in how many pictures a film shows, where they follow each other so quickly.

    >>> one_in(1000 / 60), one_in(60)
    (2, 1)
    """
    return max(1, round(SHORTEST / milliseconds))


@runtime_checkable
class Board(Protocol):
    """What can be drawn on."""

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A line through points, `width` units thick, with round ends."""

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""

    def box(self, centre: Point, width: float, height: float, colour: Colour) -> None:
        """A filled rectangle."""

    def circle(self, centre: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""


class Drawn(Environment):
    """A world that draws its states, on whatever board."""

    view: ClassVar[tuple[float, float, float, float]]
    """What is shown of it: left, right, bottom and top."""

    @abc.abstractmethod
    def draw(self, state: Any, board: Board) -> None:
        """Draw a state, in JAX's numbers."""

    def render(self, state: Any) -> np.ndarray:
        canvas = Canvas(*self.view)
        self.draw(jax.tree.map(jnp.asarray, state), canvas)
        return canvas.picture()


class Canvas:
    """A picture of the rectangle [left, right] × [bottom, top], `width` pixels wide, y upwards."""

    def __init__(self, left: float, right: float, bottom: float, top: float, width: int = 400) -> None:
        from PIL import Image, ImageDraw

        self.size = size(left, right, bottom, top, width)
        self.origin = (left, top)
        self.scale = SMOOTHING * width / (right - left)
        self.image = Image.new("RGB", (self.size[0] * SMOOTHING, self.size[1] * SMOOTHING), PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        left, top = self.origin
        return [((float(x) - left) * self.scale, (top - float(y)) * self.scale) for x, y in points]

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A line through points, `width` units thick, with round ends."""
        self.pen.line(self._pixels(points), fill=colour, width=max(1, round(width * self.scale)), joint="curve")
        for end in (points[0], points[-1]):
            self.circle(end, width / 2, colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self.pen.polygon(self._pixels(points), fill=colour)

    def box(self, centre: Point, width: float, height: float, colour: Colour) -> None:
        (x, y), w, h = centre, width / 2, height / 2
        self.polygon([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)], colour)

    def circle(self, centre: Point, radius: float, colour: Colour) -> None:
        ((x, y),) = self._pixels([centre])
        r = radius * self.scale
        self.pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def picture(self) -> np.ndarray:
        """The picture, [height, width, 3] uint8."""
        from PIL.Image import Resampling

        return np.asarray(self.image.resize(self.size, Resampling.BOX))


class Sketch:
    """The same rectangle in grey, as a compiled program draws it: an edge that moves by less than a pixel is seen to.

    A pixel is covered by as much of a shape as its centre is inside of the shape's edge, in pixels. What is where it
    always is, in plain numbers, is drawn once, while the program is made.

    >>> sketch = Sketch(0, 2, 0, 1, 4)
    >>> sketch.box((1, 0.5), 1, 1, (0, 0, 0))
    >>> sketch.picture()[..., 0]
    Array([[252,   0,   0, 252],
           [252,   0,   0, 252]], dtype=uint8)
    """

    def __init__(self, left: float, right: float, bottom: float, top: float, width: int) -> None:
        columns, rows = size(left, right, bottom, top, width)
        self._pixel = (right - left) / width
        x = left + (np.arange(columns) + 0.5) * self._pixel
        y = top - (np.arange(rows) + 0.5) * self._pixel
        self._x, self._y = np.meshgrid(x, y)
        self._grey: Any = np.full((rows, columns), _grey(PAPER), np.float32)

    def _cover(self, outside: Float[Array | np.ndarray, "H W"], colour: Colour) -> None:
        """Lay a colour on what is inside: where the distance from a shape's edge is negative."""
        share = _numbers(outside).clip(0.5 - outside / self._pixel, 0, 1)
        self._grey = self._grey + share * (_grey(colour) - self._grey)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A line through points, `width` units and no less than a pixel thick, with round ends."""
        parts = [self._to_segment(*ends) for ends in pairwise(points)]
        self._cover(reduce(_numbers(points).minimum, parts) - max(width, self._pixel) / 2, colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        edges = list(zip(points, [*points[1:], points[0]], strict=True))
        numbers = _numbers(points)
        inside = reduce(numbers.logical_xor, [self._crosses(*ends) for ends in edges])
        distance = reduce(numbers.minimum, [self._to_segment(*ends) for ends in edges])
        self._cover(numbers.where(inside, -distance, distance), colour)

    def box(self, centre: Point, width: float, height: float, colour: Colour) -> None:
        """A filled rectangle."""
        across, along = abs(self._x - centre[0]) - width / 2, abs(self._y - centre[1]) - height / 2
        self._cover(_numbers(centre).maximum(across, along), colour)

    def circle(self, centre: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self._cover(_numbers(centre).hypot(self._x - centre[0], self._y - centre[1]) - radius, colour)

    def picture(self) -> UInt8[Array, "H W 1"]:
        """The picture."""
        return jnp.round(jnp.asarray(self._grey)).astype(jnp.uint8)[..., None]

    def _to_segment(self, start: Point, end: Point) -> Float[Array | np.ndarray, "H W"]:
        """How far each pixel is from what lies between two points."""
        (x, y), along, up = start, end[0] - start[0], end[1] - start[1]
        numbers = _numbers((start, end))
        share = ((self._x - x) * along + (self._y - y) * up) / numbers.maximum(along**2 + up**2, 1e-9)
        share = numbers.clip(share, 0, 1)
        return numbers.hypot(self._x - x - share * along, self._y - y - share * up)

    def _crosses(self, start: Point, end: Point) -> Bool[Array | np.ndarray, "H W"]:
        """Whether a ray from each pixel to the right goes through the edge between two points."""
        between = (start[1] > self._y) != (end[1] > self._y)
        rise = _numbers((start, end)).where(between, end[1] - start[1], 1.0)
        return between & (self._x < start[0] + (self._y - start[1]) / rise * (end[0] - start[0]))


def size(left: float, right: float, bottom: float, top: float, width: int) -> tuple[int, int]:
    """Columns and rows of a picture that is so wide.

    >>> size(0, 2, 0, 1, 84)
    (84, 42)
    """
    return width, round(width * (top - bottom) / (right - left))


def _numbers(told: Any) -> Any:
    """What reckons with these: JAX where one of them is its own, else NumPy."""
    return jnp if any(isinstance(x, Array) for x in jax.tree.leaves(told)) else np


def _grey(colour: Colour) -> float:
    """How bright a colour is seen (ITU-R BT.601)."""
    return float(np.dot((0.299, 0.587, 0.114), colour))
