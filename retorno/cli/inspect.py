"""`retorno inspect RUN`: what is in a run's folder, after every byte of its newest checkpoint has been checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retorno.cli.options import Flag, Run, UsageError, parse
from retorno.cli.runs import members, settings_of
from retorno.cli.terminal import note, print_json
from retorno.cli.train import typed
from retorno.run import checkpoint, policy_folder
from retorno.run.config import from_json
from retorno.run.folder import best_step
from retorno.run.known import known


@dataclass(frozen=True)
class Inspect:
    """A run's step, budget and settings, and one digest over every array of its newest whole checkpoint."""

    run: Run
    """The run's folder."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    given = parse(Inspect, arguments, "retorno inspect")
    runs = members(given.run)
    if len(runs) > 1:
        raise UsageError(f"{given.run} holds {len(runs)} runs: inspect one, for instance {runs[0]}")
    found = look(runs[0])
    if given.json:
        print_json(found)
        return 0
    width = max(map(len, found))
    settings = found.pop("algorithm")
    made: Any = from_json(settings, known())
    for name, value in found.items():
        print(f"{name:<{width}}  {_in_words(value)}")
    changed = " ".join(typed(made, type(made)())) or "(its own defaults)"
    print(f"{'algorithm':<{width}}  {settings['type']} {changed}")
    return 0


def _in_words(value: Any) -> str:
    match value:
        case None | []:
            return "none yet"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case list():
            return ", ".join(map(str, value))
    return str(value)


def look(folder: Path) -> dict[str, Any]:
    """What there is to say of a run. Before its first checkpoint it stands at step 0 without a digest.

    Raises:
        FolderError, CheckpointError: when its settings or all its checkpoints are damaged.
    """
    config = settings_of(folder)
    steps = checkpoint.steps(folder)
    newest = checkpoint.verify(checkpoint.newest(folder, note)) if steps else None
    world = config["world"]
    return {
        "folder": str(folder),
        "step": newest.step if newest else 0,
        "budget": config["steps"],
        "finished": newest is not None and newest.step >= config["steps"],
        "digest": newest.digest if newest else None,
        "checkpoints": steps,
        "policies": policy_folder.steps(folder),
        "best": best_step(folder, policy_folder.steps(folder)),
        "world": world.get("name") or world.get("description"),
        "seeds": config["seeds"],
        "every": config["every"],
        "version": config.get("version"),
        "algorithm": config["algorithm"],
    }
