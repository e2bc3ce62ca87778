"""A learnt policy for other programs: an ONNX file, or a folder of safetensors and JSON, without its training."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from retorno.core.errors import RetornoError
from retorno.run import policy_folder
from retorno.run.actor import Actor, load
from retorno.run.policy_folder import Step
from retorno.run.structure import space_to_json

ONNX = ".onnx"


class ExportError(RetornoError):
    """A policy that cannot be written as asked."""


def export(folder: str | Path, out: str | Path, step: Step = None, seed: int | None = None) -> Path:
    """Write what a run has learnt for other programs.

    Args:
        folder: of a run, of a run with several seeds, or of a policy alone.
        out: `NAME.onnx` for a graph (see `onnx_model`); else a new folder with `policy.json` and
            `policy.safetensors`, which `retorno.load` reads, and whoever reads safetensors.
        step: of which step's policy; None for the newest.
        seed: of which seed's; None for the first.

    Raises:
        PolicyError: when there is no policy, or it cannot be read.
        ExportError: when the file's name says another format, the folder is there already, or onnx is not installed.
        OnnxError: when the policy computes what has no form in ONNX.

    Returns:
        The path that was written.
    """
    out = Path(out)
    if out.suffix.lower() == ONNX:
        model = onnx_model(load(folder, step, seed))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(model.SerializeToString())
        return out
    if out.suffix:
        raise ExportError(
            f"policies are written as {ONNX}, or into a folder of safetensors and JSON, got {out.name!r}: name it so"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is there already: choose another folder")
    actor = load(folder, step, seed)
    found = policy_folder.SavedPolicy(
        policies=(actor.policy,),
        seeds=(seed or 0,),
        observation_space=actor.observation_space,
        action_space=actor.action_space,
        masked=actor.masked,
        step=actor.step,
        algorithm="",
        world=actor.world,
    )
    written = policy_folder.save(out, found)
    for file in written.iterdir():
        file.rename(out / file.name)
    shutil.rmtree(out / policy_folder.POLICY)
    return out


def onnx_model(actor: Actor) -> Any:
    """A policy as an ONNX graph: one row in, its best action out, as the environment takes it.

    Inputs are `obs` (or `obs.KEY` for each array of a dictionary), as the environment gives it; `legal`, a mask, where
    the world says what is legal; and of a policy with a memory `first`, whether an episode begins, and `memory.0`, …
    Outputs are `action`, in the world's bounds, and `next_memory.0`, …: next time's memory. At an episode's first row
    `first` is true, and zeros will do for the memory.

    Args:
        actor: what `retorno.load` gives.

    Raises:
        ExportError: when onnx is not installed.
        OnnxError: when the policy computes what has no form in ONNX, such as a search.
    """
    if find_spec("onnx") is None:
        raise ExportError("ONNX files need onnx: pip install 'retorno[onnx]'")
    from retorno.run import onnx_program

    program = actor.program()
    facts = {
        "observation_space": json.dumps(space_to_json(actor.observation_space)),
        "action_space": json.dumps(space_to_json(actor.action_space)),
        "world": json.dumps(actor.world),
        "step": str(actor.step),
    }
    with program.constants():
        return onnx_program.onnx_model(
            program.function, program.module, program.arguments, program.inputs, program.outputs, facts
        )
