"""What repeating a textbook's figure gives: a picture, its numbers, and its values beside the book's."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from retorno.plots.style import number, save

SIGMAS = 4
"""A measured mean agrees with the book's value within so many standard errors of both."""


class Source(StrEnum):
    """Where an expected value comes from."""

    BOOK = "book"
    """Printed in the book, or on the lecture's slides."""
    FIGURE = "read off"
    """Read off the book's figure, which prints no number."""
    UNSOURCED = "unsourced"
    """A mean of the book's experiment, of which the book prints no number; where it was measured is not on record."""
    EXACT = "exact"
    """Worked out exactly, from the model or from theory."""


@dataclass(frozen=True)
class Check:
    """One number that is expected, where it comes from, and what was found."""

    what: str
    expected: float
    found: float
    error: float
    """Standard error of `found`; 0 for an exact answer."""
    tolerance: float = 0.0
    """How far the expected value may itself be off: its own standard error, or what reading it off a figure allows."""
    source: Source = Source.EXACT

    @property
    def agrees(self) -> bool:
        return bool(abs(self.found - self.expected) <= SIGMAS * self.error + self.tolerance)


@dataclass(frozen=True)
class Exhibit:
    """A figure, repeated."""

    picture: Figure
    columns: tuple[str, ...]
    rows: Sequence[Sequence[float | str]]
    """The numbers behind the picture, one row a point."""
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """What was done otherwise than in the book, or what its reader should know."""

    def save(self, folder: Path, name: str, suffix: str) -> tuple[Path, Path]:
        """Write NAME.png or NAME.svg, and NAME.csv."""
        picture = save(self.picture, folder / f"{name}{suffix}")
        table = folder / f"{name}.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows(self.rows)
        return picture, table

    def told(self) -> str:
        """What was found beside what is expected, and where that comes from, as lines."""
        lines = [f"  {'':<44} {'expected':>10} {'':<9} {'found':>10} {'± s.e.':>9}"] if self.checks else []
        for check in self.checks:
            error = number(check.error, 2) if check.error else "exact"
            verdict = "" if check.agrees else "   differs"
            lines.append(
                f"  {check.what:<44} {number(check.expected):>10} {check.source:<9} {number(check.found):>10} "
                f"{error:>9}{verdict}"
            )
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def measured(
    what: str,
    expected: float,
    samples: Sequence[float] | np.ndarray,
    tolerance: float = 0.0,
    source: Source = Source.EXACT,
) -> Check:
    """A check of the mean of independent samples, one a seed."""
    values = np.asarray(samples, float)
    return Check(
        what, expected, float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))), tolerance, source
    )
