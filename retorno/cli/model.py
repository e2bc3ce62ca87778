"""`retorno model FILE|NAME`: what a model is made of, and from one file format to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from retorno.bellman.matrix_free import MatrixFree
from retorno.cli.model_source import loaded
from retorno.cli.options import Flag, FromFile, UsageError, parse
from retorno.cli.spelling import world_settings
from retorno.cli.terminal import note, print_json
from retorno.environments.empirical_models import EmpiricalModel
from retorno.environments.formats import explicit, recorded, save
from retorno.environments.formats.reading import USUAL
from retorno.environments.model_analysis import summarise


@dataclass(frozen=True)
class Model:
    """What a model is made of: its size, which states are reached, whether it ends; and conversion between formats."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE|NAME")]
    """A model's file (.json, .yaml, .npz, .tra with what lies beside it, .drn, .POMDP), recorded transitions (a .csv
    with the columns state,action,reward,next_state,terminated), Python's FILE.py:NAME, or a world with an exact
    model; what that is made with: --world.KEY VALUE."""
    out: Path | None = None
    """Write the model into this file as well; its suffix says in which format."""
    storm: Flag = False
    """Write a .tra file and those beside it as Storm reads them, and not PRISM."""
    read: FromFile = USUAL
    confidence: float = 0.95
    """Of recorded transitions: of each interval."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    settings, rest = world_settings(arguments)
    given = parse(Model, rest, "retorno model")
    if given.storm and (given.out is None or given.out.suffix != ".tra"):
        raise UsageError("--storm is for writing: --out MODEL.tra --storm")
    known, found = None, loaded(given.name, given.read, settings)
    if Path(given.name).suffix.lower() in (".csv", ".tsv"):
        known = recorded.estimated(Path(given.name), given.read, confidence=given.confidence)[0]
    elif given.confidence != Model.confidence:
        raise UsageError(f"--confidence is for recorded transitions in a .csv file, got {given.name}")
    if isinstance(found, MatrixFree):
        raise UsageError(f"{given.name} is not stored, so there is nothing to summarise: retorno solve {given.name}")
    found = found.model
    if given.out is not None:
        explicit.write(found, given.out, storm=True) if given.storm else save(found, given.out)
        note(f"written to {given.out}")
    summary = summarise(found)
    if given.json:
        print_json(summary.as_row() | ({} if known is None else {"estimated": intervals(known)}))
    else:
        print(summary)
        if known is not None:
            print(knowledge(known))
    return 0


def knowledge(known: EmpiricalModel) -> str:
    """What the estimate rests on, and how far the truth may be."""
    tried = known.visits[known.visits > 0]
    width = known.upper - known.lower
    wide, model = int(np.argmax(width)), known.model
    pair = int(model.transition_pair[wide])
    untried = len(known.visits) - len(tried)
    lines = [
        f"estimated from {known.counts.sum():,} transitions: {len(tried):,} pairs tried {tried.min():,} to "
        f"{tried.max():,} times" + (f", {untried:,} never" if untried else ""),
        f"least sure, with confidence {known.confidence:g}: from {model.state_names[int(model.pair_state[pair])]} by "
        f"{model.action_names[int(model.action[pair])]} to {model.state_names[int(model.next_state[wide])]} with "
        f"probability {model.probability[wide]:.3g}, in [{known.lower[wide]:.3g}, {known.upper[wide]:.3g}]",
    ]
    return "\n".join(lines)


def intervals(known: EmpiricalModel) -> dict[str, Any]:
    """Every pair and transition with its interval."""
    model = known.model
    owner = model.transition_pair

    def pair(p: int) -> dict[str, Any]:
        return {
            "state": model.state_names[int(model.pair_state[p])],
            "action": model.action_names[int(model.action[p])],
        }

    return {
        "confidence": known.confidence,
        "pairs": [
            {
                **pair(p),
                "visits": int(known.visits[p]),
                "l1_radius": float(known.l1_radius[p]),
                "reward_error": float(known.reward_error[p]),
            }
            for p in range(model.num_pairs)
        ],
        "transitions": [
            {
                **pair(int(owner[n])),
                "next_state": model.state_names[int(model.next_state[n])],
                "count": int(known.counts[n]),
                "probability": float(model.probability[n]),
                "lower": float(known.lower[n]),
                "upper": float(known.upper[n]),
            }
            for n in range(model.num_transitions)
        ],
    }
