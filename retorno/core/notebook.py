"""What a notebook shows of an object: its `_repr_html_`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

MOST_ROWS = 60
"""Rows of a table; of more, the first are shown and the others counted."""


def as_text(shown: object) -> str:
    """Text as it stands, in letters of one width.

    >>> as_text("a < b")
    '<pre>a &lt; b</pre>'
    """
    return f"<pre>{html.escape(str(shown))}</pre>"


def as_table(head: Sequence[str], rows: Iterable[Sequence[Any]], caption: str) -> str:
    """A table with a line over it.

    Args:
        head: the names of the columns.
        rows: what stands in them.
        caption: the line.

    >>> as_table(["s"], [["<end>"]], "one state")
    '<table><caption>one state</caption><tr><th>s</th></tr><tr><td>&lt;end&gt;</td></tr></table>'
    """
    rows = list(rows)
    lines = [_line("th", head), *(_line("td", row) for row in rows[:MOST_ROWS])]
    if len(rows) > MOST_ROWS:
        lines.append(_line("td", [f"… and {len(rows) - MOST_ROWS:,} more"]))
    return f"<table><caption>{html.escape(caption)}</caption>{''.join(lines)}</table>"


def _line(tag: str, cells: Sequence[Any]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(str(cell))}</{tag}>' for cell in cells)}</tr>"
