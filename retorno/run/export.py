"""A learnt policy for other programs: an ONNX file, or a folder of safetensors and JSON, without its training."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from retorno.core.constants import thaw
from retorno.core.errors import RetornoError
from retorno.core.names import without_folders
from retorno.environments.formats.files import write_whole
from retorno.run import policy_folder
from retorno.run.actor import Actor, actor_of
from retorno.run.policy_folder import SavedPolicy, Step
from retorno.run.structure import space_to_json
from retorno.run.training import Training
from retorno.search import SearchPolicy

ONNX = ".onnx"


class ExportError(RetornoError):
    """A policy that cannot be written as asked."""


def export(
    learnt: str | Path | Actor | Training,
    out: str | Path,
    step: Step = None,
    seed: int | None = None,
    batched: bool = False,
) -> Path:
    """Write what a run has learnt for other programs, and other machines: it says nothing of where things lie here.

    Args:
        learnt: the folder of a run, of a run with several seeds, or of a policy alone; a run; or what `load` gives.
        out: `NAME.onnx` for a graph (see `onnx_model`); else a new folder with `policy.json` and
            `policy.safetensors`, which `retorno.load` reads, and whoever reads safetensors.
        step: of which step's policy in a folder; None for the newest.
        seed: of which seed's; None for the first.
        batched: whether a graph takes any number of rows at once; see `onnx_model`.

    Raises:
        PolicyError: when there is no policy, or it cannot be read.
        ExportError: when it is nothing of these, the file's name says another format, a folder is to be batched or is
            there already, onnx is not installed, or the disk refuses.
        OnnxError: when the policy computes what has no form in ONNX.

    Returns:
        The path that was written.
    """
    out = Path(out)
    if out.suffix and out.suffix.lower() != ONNX:
        raise ExportError(
            f"policies are written as {ONNX}, or into a folder of safetensors and JSON, got {out.name!r}: name it so"
        )
    if not out.suffix and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is there already: choose another folder")
    if batched and not out.suffix:
        raise ExportError(f"a graph takes batches, a folder holds arrays: name {out} as a file, {out}{ONNX}")
    saved = _saved(learnt, step, seed)
    try:
        if out.suffix:
            content = onnx_model(actor_of(saved), batched).SerializeToString()
            out.parent.mkdir(parents=True, exist_ok=True)
            write_whole({out: lambda file: file.write(content)})
        else:
            alone = tuple(map(thaw, saved.policies))  # Frozen layers too: what they were read from lies here.
            policy_folder.write(out, replace(saved, policies=alone, world=without_folders(saved.world)))
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error.strerror}") from error
    return out


def _saved(learnt: Any, step: Step, seed: int | None) -> SavedPolicy:
    """What is to be written."""
    if isinstance(learnt, str | Path):
        return policy_folder.read_each(Path(learnt).expanduser(), step, seed)[0]
    if not isinstance(learnt, Actor | Training):
        raise ExportError(
            f"{learnt!r:.80} is nothing that can be written: give the folder of a run, a run (train(...), iterated to "
            "its end), or what load(...) gives"
        )
    if step is not None:
        raise ExportError(f"{learnt!r} holds no policy of step {step}: give the run's folder, where others are kept")
    return policy_folder.of_seeds([learnt.saved], seed, repr(learnt))[0]


def onnx_model(actor: Actor, batched: bool = False) -> Any:
    """A policy as an ONNX graph: one row in, its best action out, as the environment takes it.

    Of one that looks ahead in a model before it acts, as AlphaZero's, it is the network that is asked there: outputs
    are `logits` of all actions, those that are not legal too, and `value`, for whoever moves.

    Inputs are `obs` (or `obs.KEY` for each array of a dictionary), as the environment gives it; `legal`, a mask, where
    the world says what is legal; and of a policy with a memory `first`, whether an episode begins, and `memory.0`, …
    Outputs are `action`, in the world's bounds, and `next_memory.0`, …: next time's memory. At an episode's first row
    `first` is true, and zeros will do for the memory.

    Args:
        actor: what `retorno.load` gives.
        batched: any number B of rows in instead, B actions out: each array has an axis [B] in front. The graph goes
            through them one after another, so the numbers are those of one row to the bit.

    Raises:
        ExportError: when onnx is not installed.
        OnnxError: when the policy computes what has no form in ONNX, such as a search without a network.
    """
    if find_spec("onnx") is None:
        raise ExportError("ONNX files need onnx: pip install 'retorno[onnx]'")
    from retorno.run import onnx_program

    program = actor.network_program() if isinstance(actor.policy, SearchPolicy) else actor.program()
    facts = {
        "observation_space": json.dumps(space_to_json(actor.observation_space)),
        "action_space": json.dumps(space_to_json(actor.action_space)),
        "world": json.dumps(without_folders(actor.world)),
        "step": str(actor.step),
    }
    with program.constants():
        return onnx_program.onnx_model(
            program.function, program.module, program.arguments, program.inputs, program.outputs, facts, batched
        )
