"""`retorno model FILE|NAME`: what a model is made of, and from one file format to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.terminal import note, print_json
from retorno.core.mdp import MDP
from retorno.environments.formats import explicit, save
from retorno.environments.registry import model
from retorno.environments.summary import summarise


@dataclass(frozen=True)
class Model:
    """What a model is made of: its size, which states are reached, whether it ends; and conversion between formats."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE|NAME")]
    """A model's file (.json, .yaml, .npz, or .tra with what lies beside it), or a world with an exact model."""
    out: Path | None = None
    """Write the model into this file as well; its suffix says in which format."""
    storm: Flag = False
    """Write a .tra file and those beside it as Storm reads them, and not PRISM."""
    terminal: str | None = None
    """Of a .tra file: episodes end in the states with this label."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    given = parse(Model, arguments, "retorno model")
    if given.storm and (given.out is None or given.out.suffix != ".tra"):
        raise UsageError("--storm is for writing: --out MODEL.tra --storm")
    found = opened(given.name, given.terminal)
    if given.out is not None:
        explicit.write(found, given.out, storm=True) if given.storm else save(found, given.out)
        note(f"written to {given.out}")
    summary = summarise(found)
    if given.json:
        print_json(summary.as_row())
    else:
        print(summary)
    return 0


def opened(name: str, terminal: str | None) -> MDP:
    """The model of a file or name, with the states of a label as terminal ones."""
    if terminal is None:
        return model(name)
    if not name.endswith(".tra"):
        raise UsageError(f"--terminal is for the labels of a .tra file, got {name}")
    return explicit.read(Path(name), terminal)
