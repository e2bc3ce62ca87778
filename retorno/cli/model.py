"""`retorno model FILE|NAME`: what a model is made of, and from one file format to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from retorno.bellman.matrix_free import MatrixFree
from retorno.cli.model_source import opened as opened_source
from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.terminal import note, print_json
from retorno.core.mdp import MDP
from retorno.environments.empirical_models import EmpiricalModel
from retorno.environments.formats import explicit, recorded, save
from retorno.environments.model_analysis import summarise


@dataclass(frozen=True)
class Model:
    """What a model is made of: its size, which states are reached, whether it ends; and conversion between formats."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE|NAME")]
    """A model's file (.json, .yaml, .npz, or .tra with what lies beside it), recorded transitions (a .csv with the
    columns state,action,reward,next_state,terminated), Python's FILE.py:NAME, or a world with an exact model."""
    out: Path | None = None
    """Write the model into this file as well; its suffix says in which format."""
    storm: Flag = False
    """Write a .tra file and those beside it as Storm reads them, and not PRISM."""
    terminal: str | None = None
    """Of a .tra file: episodes end in the states with this label."""
    prior: float = 0.0
    """Of a .csv file: pseudo-count of each next state (a Dirichlet prior); 0 for the most likely model."""
    unseen: float | None = None
    """Of a .csv file: what an action that was never tried pays a step; without, such actions are left out."""
    confidence: float = 0.95
    """Of a .csv file: of each interval."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    given = parse(Model, arguments, "retorno model")
    if given.storm and (given.out is None or given.out.suffix != ".tra"):
        raise UsageError("--storm is for writing: --out MODEL.tra --storm")
    known = estimated(given)
    found = opened(given.name, given.terminal) if known is None else known.model
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


def estimated(given: Model) -> EmpiricalModel | None:
    """What recorded transitions tell, where they are given."""
    settings = {"prior": given.prior, "unseen": given.unseen, "confidence": given.confidence}
    if Path(given.name).suffix.lower() == ".csv":
        return recorded.estimate(Path(given.name), **settings)
    for name, value in settings.items():
        if value != getattr(Model, name):
            raise UsageError(f"--{name} is for recorded transitions in a .csv file, got {given.name}")
    return None


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


def opened(name: str, terminal: str | None) -> MDP:
    """The model of a file or name, with the states of a label as terminal ones."""
    if terminal is None:
        found = opened_source(name)
        if isinstance(found, MatrixFree):
            raise UsageError(f"{name} is not stored, so there is nothing to summarise: retorno solve {name}")
        return found
    if not name.endswith(".tra"):
        raise UsageError(f"--terminal is for the labels of a .tra file, got {name}")
    return explicit.read(Path(name), terminal)
