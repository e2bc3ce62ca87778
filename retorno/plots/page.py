"""One self-contained page: headings, text, tables and pictures, with nothing that is loaded from elsewhere.

All text is escaped, and the page's own policy forbids scripts and foreign content. A page is made to be given away, so
files are named without the folders in which they lie here. It follows the reader's light or dark scheme and is readable
on a phone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from retorno.plots.style import NARROW, WIDE, inline_svg, number
from retorno.run.folder import write_atomic

Cell = str | int | float | None

_FOLDERS = re.compile(r"(?<![\w:/.~])/(?:[\w.~+@-]+/)+(?=\w)")
"""Of whole paths, all but the last name."""

SMALLEST = 0.46
"""A picture shrinks to this share of its size on a narrow screen; beyond it scrolls."""


@dataclass(frozen=True)
class Table:
    """Rows of cells. Numbers are set with groups of three digits and to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: Set[int] = frozenset()
    """Numbers of the rows that stand out."""
    caption: str = ""
    narrow: bool = False
    """Whether it stays a table on a narrow screen, where others become a card for each row."""


@dataclass(frozen=True)
class Picture:
    """A figure and what it shows; the caption is read aloud where the figure cannot be seen."""

    figure: Figure
    caption: str
    narrow: Figure | None = None
    """The same for a narrow screen."""

    @classmethod
    def of(cls, draw: Callable[..., Figure], caption: str) -> Picture:
        """The picture that a function of its `width` draws, for a page and for a phone.

        Args:
            draw: is called as `draw(width=inches)`.
            caption: what is to be seen.
        """
        return cls(draw(width=WIDE), caption, draw(width=NARROW))


@dataclass(frozen=True)
class Section:
    """A part of a page: its text, then its pictures, its tables and what a computer wrote."""

    heading: str
    text: str = ""
    """Paragraphs, with blank lines between."""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    output: str = ""
    """Lines as a terminal shows them."""
    folded: bool = False
    """Whether the reader has to open it."""


def page(title: str, sections: Sequence[Section], subtitle: str = "") -> str:
    """The page as HTML."""
    body = "\n".join(_section(section, f"s{i}") for i, section in enumerate(sections))
    under = f'<p class="subtitle">{_shown(subtitle)}</p>' if subtitle else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{_shown(title)}</title>
<style>{_CSS}</style>
</head>
<body>
<header><h1>{_shown(title)}</h1>{under}</header>
<main>
{body}
</main>
</body>
</html>
"""


def save_page(path: str | Path, title: str, sections: Sequence[Section], subtitle: str = "") -> Path:
    """Write the page; folders are made, and a reader never sees half of it.

    Raises:
        FolderError: when the disk refuses.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, page(title, sections, subtitle))
    return path


def _section(section: Section, name: str) -> str:
    parts = [f"<p>{_shown(text.strip())}</p>" for text in section.text.split("\n\n") if text.strip()]
    parts += [_picture(picture, f"{name}p{i}") for i, picture in enumerate(section.pictures)]
    parts += [_table(table) for table in section.tables]
    if section.output:
        parts.append(f'<pre tabindex="0">{_shown(section.output.rstrip())}</pre>')
    inside = "\n".join(parts)
    if section.folded:
        return (
            f"<section><details><summary><h2>{_shown(section.heading)}</h2></summary>\n{inside}\n</details></section>"
        )
    return f"<section><h2>{_shown(section.heading)}</h2>\n{inside}\n</section>"


def _picture(picture: Picture, name: str) -> str:
    caption = f"<figcaption>{_shown(picture.caption)}</figcaption>" if picture.caption else ""
    if picture.narrow is None:
        return f"<figure>{_drawn(picture.figure, picture.caption, name)}{caption}</figure>"
    drawn = _drawn(picture.figure, picture.caption, name, "desk")
    return f"<figure>{drawn}{_drawn(picture.narrow, picture.caption, f'{name}n', 'phone')}{caption}</figure>"


def _drawn(figure: Figure, caption: str, name: str, where: str = "") -> str:
    least = round(96 * SMALLEST * figure.get_figwidth())
    svg = inline_svg(figure, name)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{_shown(caption)}" style="min-width:{least}px"', 1)
    return f'<div class="{f"wide {where}".strip()}" tabindex="0">{svg}</div>'


def _table(table: Table) -> str:
    columns = list(zip(*table.rows, strict=True))
    right = [all(isinstance(cell, int | float) for cell in column) for column in columns] or [False] * len(table.head)
    shape = [' class="n"' if flag else "" for flag in right]
    head = "".join(f'<th scope="col"{c}>{_shown(cell)}</th>' for cell, c in zip(table.head, shape, strict=True))
    rows = []
    for i, row in enumerate(table.rows):
        first, *rest = (_cell(cell) for cell in row)
        named = zip(rest, shape[1:], table.head[1:], strict=True)
        cells = "".join(f'<td{c} data-of="{_shown(head)}">{cell}</td>' for cell, c, head in named)
        mark = ' class="marked"' if i in table.marked else ""
        rows.append(f'<tr{mark}><th scope="row"{shape[0]}>{first}</th>{cells}</tr>')
    caption = f"<caption>{_shown(table.caption)}</caption>" if table.caption else ""
    cards = "" if table.narrow or len(table.head) < 3 else f' class="cards{" many" * (len(table.head) > 4)}"'
    return (
        f'<div class="wide" tabindex="0"><table{cards}>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return _shown(f"{cell:,}".replace("-", "−") if isinstance(cell, int) else number(cell, 5))
    return _shown(str(cell))


_LIGHT = """
  --c22262d: #22262d; --c767c86: #666c76; --cd9dce1: #d9dce1; --cfefefe: #fefefe;
  --c0072b2: #0072b2; --cd55e00: #d55e00; --c009e73: #009e73; --ccc79a7: #cc79a7; --ce69f00: #e69f00;
  --c56b4e9: #56b4e9; --mark: #fdf1d8; --soft: #f4f5f7;
"""
_CSS = """
:root { LIGHT }
@media (prefers-color-scheme: dark) {
  :root {
    --c22262d: #e4e6ea; --c767c86: #a0a6b1; --cd9dce1: #383d46; --cfefefe: #16181d;
    --c0072b2: #4ba3e0; --cd55e00: #f0803c; --c009e73: #2fc59a; --ccc79a7: #dd93bb; --ce69f00: #f2b33d;
    --mark: #3a321d; --soft: #20242b;
  }
}
* { box-sizing: border-box; }
html { background: var(--cfefefe); color: var(--c22262d); -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 50rem; padding: 2.5rem 1.25rem 4rem;
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
h1, h2 { font-family: "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua", Georgia, "DejaVu Serif", serif;
  font-weight: 600; line-height: 1.2; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: 2rem; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 0 0 .6rem; }
header { border-bottom: 1px solid var(--cd9dce1); padding-bottom: 1.2rem; }
.subtitle { color: var(--c767c86); margin: .4rem 0 0; }
section { margin-top: 2.4rem; }
p { margin: 0 0 .8rem; max-width: 42rem; white-space: pre-line; overflow-wrap: anywhere; }
figure { margin: 1rem 0 1.4rem; }
figcaption, caption { color: var(--c767c86); font-size: .875rem; text-align: left; }
figcaption { margin-top: .4rem; }
caption { padding-bottom: .4rem; }
.wide { overflow-x: auto; }
svg { display: block; max-width: 100%; height: auto; }
svg text { font-family: inherit !important; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; margin: .4rem 0 1rem; font-size: .9rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .38rem 1.6rem .38rem .5rem;
  border-bottom: 1px solid var(--cd9dce1); }
td { min-width: 8rem; overflow-wrap: anywhere; }
thead th { border-bottom: 1.5px solid var(--c767c86); font-weight: 600; }
tbody th { color: var(--c767c86); font-weight: 400; }
.many { font-size: .85rem; }
.many td { min-width: 0; overflow-wrap: break-word; }
.many th, .many td { padding-right: .8rem; }
.n { text-align: right; min-width: 0; }
.marked { background: var(--mark); }
.marked th { color: var(--c22262d); }
.marked td { font-weight: 600; }
pre { background: var(--soft); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto; margin: .4rem 0 1rem;
  font: .82rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
summary { cursor: pointer; }
summary h2 { display: inline; margin: 0; }
details[open] summary { margin-bottom: .6rem; }
.phone { display: none; }
@media (max-width: 34rem) {
  body { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.6rem; }
  th, td { padding-right: .9rem; }
  td { min-width: 0; }
  table:not(.cards) { font-size: .82rem; }
  table:not(.cards) th, table:not(.cards) td { padding: .3rem .55rem .3rem .2rem; }
  .desk { display: none; }
  .phone { display: block; }
  .cards, .cards tbody, .cards tr, .cards th, .cards td { display: block; }
  .cards thead { display: none; }
  .cards tr { border-bottom: 1px solid var(--cd9dce1); padding: .5rem 0; }
  .cards th, .cards td { border: 0; padding: .1rem .5rem; text-align: left; }
  .cards tbody th { color: var(--c22262d); font-weight: 600; overflow-wrap: anywhere; }
  .cards td::before { content: attr(data-of) ": "; color: var(--c767c86); font-weight: 400; }
  .cards td[data-of=""]::before { content: ""; }
}
@media print {
  @page { margin: 16mm; }
  :root { color-scheme: light; LIGHT }
  body { max-width: none; padding: 0; font-size: 10pt; }
  section { margin-top: 1.4rem; }
  figure, tr, h2 { break-inside: avoid; }
  h2, caption { break-after: avoid; }
  .wide { overflow: visible; }
  pre { white-space: pre-wrap; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
""".replace("LIGHT", _LIGHT.strip())


def _shown(text: str) -> str:
    """Text as a page has it: escaped, of files without the folders in which they lie on this machine."""
    return escape(_FOLDERS.sub("", text))
