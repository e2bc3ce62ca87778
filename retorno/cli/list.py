"""`retorno list`: what there is to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from retorno.algorithms import ALGORITHMS
from retorno.algorithms.published import PUBLISHED
from retorno.cli.options import parse
from retorno.cli.solve import METHODS
from retorno.cli.train import first_line, groups
from retorno.environments.registry import WORLDS, Entry
from retorno.networks import NETWORKS
from retorno.run.relabel import RELABELS


@dataclass(frozen=True)
class List:
    """Algorithms, worlds, networks, relabels and the methods of `retorno solve`, with one line each."""

    what: tyro.conf.Positional[Literal["algorithms", "worlds", "networks", "relabels", "methods", "all"]] = "all"
    """Which of them."""


def run(arguments: list[str]) -> int:
    given = parse(List, arguments, "retorno list")
    tables = {
        **{f"algorithms: {title}": algorithms(kinds) for title, kinds in groups(ALGORITHMS).items()},
        "worlds": worlds(),
        "networks": classes(NETWORKS),
        "relabels": classes(RELABELS),
        "methods": classes(METHODS),
    }
    for title, rows in tables.items():
        if given.what in (title.partition(":")[0], "all"):
            width = max(map(len, rows))
            print(title)
            print("".join(f"  {name:<{width}}  {about}\n" for name, about in rows.items()))
    if given.what in ("worlds", "all"):
        print(
            "Any other Gymnasium id is a world too, a hosted one; pgx/GAME is a native one, a game of pgx,\n"
            "and bsuite/EXPERIMENT/NUMBER a setting of the behaviour suite."
        )
    return 0


def algorithms(kinds: Mapping[str, Any]) -> dict[str, str]:
    """Each with its source and the worlds that it has published settings for."""
    rows = {}
    for name, kind in kinds.items():
        known = [f"{world} ({found.source})" for (algorithm, world), found in PUBLISHED.items() if algorithm == name]
        rows[name] = "\n      ".join([first_line(kind), *(f"published settings for {one}" for one in known)])
    return rows


def worlds() -> dict[str, str]:
    return {name: entry.about + _has_model(entry) for name, entry in WORLDS.items()}


def _has_model(entry: Entry) -> str:
    return " [exact model]" if entry.model else " [exact model where it is small]" if entry.positions else ""


def classes(found: Mapping[str, Any]) -> dict[str, str]:
    """What their docstrings say first."""
    return {name: first_line(kind) for name, kind in found.items()}
