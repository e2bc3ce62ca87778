"""A small drawing board in a world's own units, for pictures of states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Point = tuple[float, float]
Colour = tuple[int, int, int]

PAPER: Colour = (252, 252, 250)
INK: Colour = (40, 44, 52)
BLUE: Colour = (58, 110, 165)
ORANGE: Colour = (221, 132, 62)
GREEN: Colour = (76, 153, 102)
GREY: Colour = (176, 180, 186)

SMOOTHING = 2
"""Pictures are drawn this much larger and then reduced, which smooths their edges."""


class Canvas:
    """A picture of the rectangle [left, right] × [bottom, top], `width` pixels wide, y upwards."""

    def __init__(self, left: float, right: float, bottom: float, top: float, width: int = 400) -> None:
        from PIL import Image, ImageDraw

        self.size = (width, round(width * (top - bottom) / (right - left)))
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
