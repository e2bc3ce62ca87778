"""`retorno export RUN --out policy.onnx`: what was learnt, for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retorno.cli.options import Flag, Run, parse, step_of
from retorno.cli.terminal import note
from retorno.run.export import export


@dataclass(frozen=True)
class Export:
    """Write a learnt policy for other programs, without its training: its best action on each row.

    An ONNX file takes what the environment shows (and a mask of what is legal, and the memory, where there are such)
    and gives the action in the world's bounds; of a policy that looks ahead, as AlphaZero's, it is the network: logits
    of all actions, and the value. A folder holds safetensors and a JSON of the architecture, which retorno.load reads.
    """

    run: Run
    """The run's folder."""
    out: Path = Path("policy.onnx")
    """NAME.onnx, or a new folder."""
    step: str | None = None
    """Of which step's policy, or best; the newest where it is not said."""
    seed: int | None = None
    """Of which seed's; the first where it is not said."""
    batched: Flag = False
    """Let the graph take any number of rows at once: each of its arrays has an axis in front for them."""


def run(arguments: list[str]) -> int:
    given = parse(Export, arguments, "retorno export")
    written = export(given.run, given.out, step_of(given.step), given.seed, given.batched)
    size = sum(file.stat().st_size for file in written.iterdir()) if written.is_dir() else written.stat().st_size
    note(f"written: {written} ({size:,} bytes)")
    return 0
