"""One look for every picture: colours that colour-blind readers tell apart, thin axes, digits in groups of three.

Matplotlib is used through its objects alone (no pyplot), so nothing here has a global state or
opens a window.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.axes
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from retorno.core.errors import RetornoError

INK = "#22262d"
MUTED = "#767c86"
RULE = "#d9dce1"
PAPER = "#fefefe"
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe & Ito 2008, without black and yellow."""
PICTURES = (".png", ".svg", ".pdf")
"""What pictures are written as."""
WIDE, NARROW = 7.2, 3.7
"""Inches: of a picture on a page, and on a phone."""

_LOOK: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "normal",
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,  # TrueType, embedded; Type 3 is refused by some printers and journals.
    "svg.fonttype": "none",
    "svg.hashsalt": "retorno",
    "text.color": INK,
    "text.parse_math": False,  # A name may hold dollars.
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "xtick.major.size": 3,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
    "ytick.major.size": 0,
}


class InlineFigure(Figure):
    """A figure that a notebook shows where it is the last thing of a cell."""

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        with style():
            self.savefig(drawn, format="png", bbox_inches="tight")
        return drawn.getvalue()


class PlotError(RetornoError):
    """Something that cannot be drawn."""


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's settings for what is drawn or saved inside."""
    with matplotlib.rc_context(_LOOK), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes in a PNG, and well in a browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def panels(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, np.ndarray]:
    """A figure of `width` × `height` inches and its axes, [rows × columns] in reading order."""
    figure = InlineFigure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes.reshape(-1)


def number(x: float, digits: int = 4) -> str:
    """A number for people: `digits` significant digits, groups of three, a true minus sign."""
    if not np.isfinite(x):
        return "–" if np.isnan(x) else "∞" if x > 0 else "−∞"
    if x != 0 and not 1e-4 <= abs(x) < 1e15:
        return f"{x:.{digits - 1}e}".replace("-", "−")
    decimals = max(0, digits - 1 - (int(np.floor(np.log10(abs(x)))) if x else 0))
    text = f"{x:z,.{decimals}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def decimals(shown: Float[np.ndarray, " n"]) -> int:
    """How many of them give three significant digits of numbers side by side; none where all are whole."""
    largest = float(np.abs(shown).max(initial=0.0))
    if np.allclose(shown, np.round(shown), atol=1e-6):
        return 0
    return 3 if largest <= 1 else 2 if largest < 10 else 1 if largest < 1000 else 0


def number_axes(axes: matplotlib.axes.Axes, x_ticks: int = 6, y_ticks: int = 6) -> None:
    """Few ticks with readable numbers on both axes."""
    for axis, ticks in ((axes.xaxis, x_ticks), (axes.yaxis, y_ticks)):
        axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda x, _: number(x, 6)))


def log_x_axis(axes: matplotlib.axes.Axes) -> None:
    """Powers of x at equal distances, with readable numbers at the powers of ten."""
    axes.set_xscale("log")
    _powers_of_ten(axes.xaxis)


def log_y_axis(axes: matplotlib.axes.Axes) -> None:
    """The same for y."""
    axes.set_yscale("log")
    _powers_of_ten(axes.yaxis)


def _powers_of_ten(axis: Any) -> None:
    axis.set_major_locator(LogLocator(10, numticks=4))  # More, and their numbers run into each other.
    axis.set_major_formatter(FuncFormatter(lambda x, _: number(x, 6)))
    axis.set_minor_formatter(NullFormatter())


def mark_expected(axes: matplotlib.axes.Axes, points: Sequence[tuple[float, float]], source: str) -> None:
    """Diamonds at the values that are expected; the legend says where they come from."""
    if points:
        axes.plot(
            *zip(*points, strict=True),
            "D",
            color=INK,
            markersize=4.5,
            label=f"expected ({source})",
            zorder=4,
            clip_on=False,
        )


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG (160 dots an inch), SVG or PDF, by the path's suffix; folders are made.

    Nothing beside the file is needed to show it: a PDF holds its fonts, an SVG its letters as outlines (as text where
    the font lacks one, which a browser finds elsewhere).

    Raises:
        PlotError: for another suffix.
    """
    path = Path(path)
    kind = require_picture(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(kind)
    with style():
        letters: Any = {} if kind != ".svg" or _lacks_letters(figure) else {"svg.fonttype": "path"}
        with matplotlib.rc_context(letters):
            figure.savefig(path, dpi=160, metadata=metadata)
    return path


def require_picture(path: Path) -> str:
    """The suffix of a picture's name, in small letters.

    Raises:
        PlotError: when it is none that is written.
    """
    if (kind := path.suffix.lower()) not in PICTURES:
        raise PlotError(f"pictures are written as {' or '.join(PICTURES)}, got {path.name!r}: name the file so")
    return kind


def save_pages(figures: Sequence[Figure], path: str | Path) -> Path:
    """Write figures as one PDF with a page for each; folders are made.

    Args:
        figures: at least one.
        path: of the file.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with style(), PdfPages(path, metadata={"CreationDate": None}) as pages:
        for figure in figures:
            pages.savefig(figure)
    return path


def _lacks_letters(figure: Figure) -> bool:
    """Whether a text holds a letter that is not in the font."""
    known = get_font(findfont(FontProperties(family=_LOOK["font.family"]))).get_charmap()
    texts = (text.get_text() for text in figure.findobj(Text))  # type: ignore[attr-defined]
    return any(ord(letter) not in known for text in texts for letter in text if letter != "\n")


def inline_svg(figure: Figure, prefix: str) -> str:
    """A figure as an `<svg>` element for a page, in the page's own type and colours.

    Inks and papers become the page's CSS variables (`INK` is `--c22262d`), so that the picture
    follows its light or dark scheme; `prefix` keeps the identifiers of several pictures apart.
    """
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", text)
    for colour in (INK, MUTED, RULE, PAPER, *LINES):
        text = text.replace(colour, f"var(--c{colour[1:]})")
    return text.strip()


@lru_cache
def font(size: float) -> Any:
    """Letters of a size in pixels for pictures that Pillow draws, the minus sign among them, which its own lack."""
    from PIL import ImageFont

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
