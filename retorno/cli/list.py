"""`retorno list`: what there is to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tyro

from retorno.algorithms import ALGORITHMS
from retorno.algorithms.published import PUBLISHED
from retorno.cli.options import parse
from retorno.cli.solve import METHODS
from retorno.cli.train import first_line
from retorno.environments.registry import WORLDS
from retorno.networks import NETWORKS


@dataclass(frozen=True)
class List:
    """Algorithms, worlds, networks and the methods of `retorno solve`, with one line each."""

    what: tyro.conf.Positional[Literal["algorithms", "worlds", "networks", "methods", "all"]] = "all"
    """Which of them."""


def run(arguments: list[str]) -> int:
    given = parse(List, arguments, "retorno list")
    tables = {"algorithms": algorithms(), "worlds": worlds(), "networks": networks(), "methods": methods()}
    for title, rows in tables.items():
        if given.what in (title, "all"):
            width = max(map(len, rows))
            print(title)
            print("".join(f"  {name:<{width}}  {about}\n" for name, about in rows.items()))
    if given.what in ("worlds", "all"):
        print("Any other Gymnasium id is a world too, a hosted one.")
    return 0


def algorithms() -> dict[str, str]:
    """Each with its source and the worlds that it has published settings for."""
    rows = {}
    for name, kind in ALGORITHMS.items():
        known = [f"{world} ({found.source})" for (algorithm, world), found in PUBLISHED.items() if algorithm == name]
        rows[name] = "\n      ".join([first_line(kind), *(f"published settings for {one}" for one in known)])
    return rows


def worlds() -> dict[str, str]:
    return {name: entry.about + (" [exact model]" if entry.model else "") for name, entry in WORLDS.items()}


def networks() -> dict[str, str]:
    return {name: first_line(kind) for name, kind in NETWORKS.items()}


def methods() -> dict[str, str]:
    """How a model can be solved."""
    return {name: first_line(method) for name, method in METHODS.items()}
