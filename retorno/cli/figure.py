"""`retorno figure NAME…`: figures and tables of the textbooks, from one command."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from retorno.cli.options import Flag, UsageError, parse
from retorno.core.errors import RetornoError


@dataclass(frozen=True)
class Figures:
    """Repeat figures and tables of the textbooks, with intervals, beside what is expected of them."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which, for instance 2.2 or student."""
    list: Flag = False
    """Only say which there are."""
    all: Flag = False
    """Make all of them."""
    seeds: int | None = None
    """Independent runs of each, instead of the figure's own number."""
    out: Path = Path("figures")
    """The folder for NAME.png and NAME.csv."""
    format: Literal["png", "svg"] = "png"
    """Of the pictures."""


def run(arguments: list[str]) -> int:
    given = parse(Figures, arguments, "retorno figure")
    # Seeds are spread over the cores; JAX reads this when it starts.
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count() or 1))
    from retorno.core.names import did_you_mean
    from retorno.figures.registry import FIGURES

    if given.list:
        width = max(map(len, FIGURES))
        print("".join(f"{name:<{width}}  {entry.about} ({entry.source})\n" for name, entry in FIGURES.items()), end="")
        return 0
    names = tuple(FIGURES) if given.all else given.names
    if not names:
        raise UsageError("which figure? Name one or several, as in `retorno figure 2.2`; `--list` says which there are")
    if given.seeds is not None and given.seeds < 2:
        raise UsageError(f"--seeds must be at least 2, so that there is an interval, got {given.seeds}")
    for name in names:
        if name not in FIGURES:
            raise UsageError(
                f"no figure {name!r}{did_you_mean(name, FIGURES)}; `retorno figure --list` says which there are"
            )
    differing = [name for name in names if not _make(name, given)]
    if differing:
        raise RetornoError(f"values differ from what is expected in {', '.join(differing)}: see above")
    return 0


def _make(name: str, given: Figures) -> bool:
    """Make one, and say whether its values agree with what is expected."""
    from retorno.figures.registry import FIGURES

    entry, began = FIGURES[name], time.perf_counter()
    seeds = entry.seeds if given.seeds is None or entry.seeds is None else given.seeds
    exhibit = entry.make(seeds or 0)
    picture, table = exhibit.save(given.out, name, f".{given.format}")
    repeated = "exact" if entry.seeds is None else f"{seeds} seed{'s' * (seeds != 1)}"
    print(f"{name}  {entry.about} ({repeated}, {time.perf_counter() - began:.1f} s)")
    print(exhibit.told())
    print(f"  {picture}  {table}")
    return all(check.agrees for check in exhibit.checks)
