"""What lies on a map as a terminal shows it: four characters a cell."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from retorno.plots.places import Cell, Kind, Place

SIGNS = {
    Kind.GOAL: (" ★  ", "bold green"), Kind.PIT: (" ×  ", "bold red"), Kind.CLIFF: (" ×  ", "bold red"),
    Kind.END: (" ■  ", "dim"), Kind.WALL: ("████", "bright_black"), Kind.NEVER: ("    ", ""),
}  # fmt: skip
"""Of the cells that no one acts in: characters and their style."""
WORDS = {Kind.GOAL: "★ goal", Kind.PIT: "× pit", Kind.CLIFF: "× cliff", Kind.END: "■ end", Kind.WALL: "█ wall"}


def shown_map(whole: Mapping[Cell, Place], agent: int | None) -> Text:
    """The map with the agent as a disc, one line a row: free cells are dots, those where episodes start S."""
    rows, columns = (1 + max(at[i] for at in whole) for i in (0, 1))
    text = Text()
    for row in range(rows):
        for column in range(columns):
            one = whole.get((row, column))
            if one is not None and one.state is not None and one.state == agent:
                text.append(" ●  ", "bold yellow")
            elif one is None or one.kind is not Kind.ACTING:
                text.append(*(("    ", "") if one is None else SIGNS[one.kind]))
            else:
                text.append(" S  " if one.start else " ·  ", "" if one.start else "dim")
        text.append("\n")
    there = {one.kind for one in whole.values()}
    return text.append(
        "  ".join(["● agent", "S start", *(word for kind, word in WORDS.items() if kind in there)]), "dim"
    )
