"""A learnt policy on disk: `policy/<step>/` with `policy.json` and `policy.safetensors`, usable alone.

It holds the network, its normaliser, the spaces (so the actions' bounds and where they count from) and nothing of
the training. One is written beside each checkpoint; of those, the first of each of the run's stretches stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from retorno.core.errors import RetornoError
from retorno.core.policy import Policy
from retorno.core.runtime import prepare
from retorno.run.checkpoint import HEAD_BYTES, put_in_place, sync_folder
from retorno.run.folder import SEED, best_step
from retorno.run.structure import StructureError, from_structure, space_from_json, space_to_json, to_structure

FORMAT = 1
POLICY, STRUCTURE, TENSORS = "policy", "policy.json", "policy.safetensors"
PARTIAL = ".partial"


class PolicyError(RetornoError):
    """A policy that cannot be written or read: the message says why and what to do."""


@dataclass(frozen=True)
class SavedPolicy:
    """What a policy's folder holds."""

    policies: tuple[Policy, ...]
    """One for each seed."""
    seeds: tuple[int, ...]
    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    masked: bool
    """Whether the world says on each row what is legal."""
    step: int
    """Environment steps of training."""
    algorithm: str
    world: dict[str, Any]
    """What `config.json` says of the world."""


def save(folder: Path, saved: SavedPolicy, every: int | None = None) -> Path:
    """Write `folder/policy/<step>`, whole and synced, and drop those before it that are not the first of a stretch.

    Args:
        folder: the run's folder.
        saved: what to write; a policy of the same step is replaced.
        every: the length of a stretch, in environment steps; None keeps all.

    Raises:
        PolicyError: when the policy holds what cannot be written down, or the disk refuses.
    """
    final = folder / POLICY / str(saved.step)
    try:
        write(final, saved)
    except OSError as error:
        raise PolicyError(
            f"{final} cannot be written: {error.strerror}; the policies before it and the last good checkpoint stand"
        ) from error
    if every is not None:
        earlier = [step for step in steps(folder) if step < saved.step]
        firsts = {step // every: step for step in sorted(earlier, reverse=True)}
        for step in set(earlier) - set(firsts.values()):
            shutil.rmtree(folder / POLICY / str(step), ignore_errors=True)
    return final


def write(final: Path, saved: SavedPolicy) -> None:
    """Write the policies of some seeds as a folder, whole or not at all; what was there is replaced.

    Args:
        final: the folder.
        saved: what to write.

    Raises:
        PolicyError: when the policy holds what cannot be written down.
        OSError: when the disk refuses.
    """
    written = [to_structure(policy) for policy in saved.policies]
    structure, arrays = written[0][0], [tensors for _, tensors in written]
    stacked = {name: np.stack([np.asarray(one[name]) for one in arrays]) for name in arrays[0]}
    tensors = save_tensors(stacked)
    facts = {
        "format": FORMAT,
        "step": saved.step,
        "seeds": list(saved.seeds),
        "algorithm": saved.algorithm,
        "world": saved.world,
        "observation_space": space_to_json(saved.observation_space),
        "action_space": space_to_json(saved.action_space),
        "masked": saved.masked,
        "policy": structure,
        "sha256": hashlib.sha256(tensors).hexdigest(),
    }
    text = json.dumps(facts, indent=1, allow_nan=False).encode() + b"\n"
    beside = final.parent / f".{final.name}{PARTIAL}"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for name, content in ((TENSORS, tensors), (STRUCTURE, text)):
            with open(beside / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(beside)
        put_in_place(beside, final)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def stored_size(policy: Policy, spaces: Iterable[gymnasium.Space[Any]], seeds: int = 1) -> int:
    """The bytes that a policy takes on a disk, but for some hundred; 0 where it cannot be written down.

    Args:
        policy: of one seed, or its shapes.
        spaces: those that it observes and acts in.
        seeds: how many there are of it.
    """
    try:
        structure, tensors = to_structure(policy)
    except StructureError:
        return 0
    arrays = seeds * sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in tensors.values())
    text = json.dumps([structure, *map(space_to_json, spaces)], indent=1)
    return arrays + len(text) + sum(len(name) + HEAD_BYTES for name in tensors)


def steps(folder: Path) -> list[int]:
    """The steps of a run's policies, newest first."""
    place = folder / POLICY
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    return sorted((int(name) for name in names if name.isascii() and name.isdigit()), reverse=True)


def rewind(folder: Path, step: int) -> None:
    """Drop the policies after `step`: what follows will be learnt again."""
    for later in steps(folder):
        if later > step:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder / POLICY / str(later))


def members(folder: Path) -> list[Path]:
    """The runs in a folder that holds one for each seed."""
    found = [path.parent for path in folder.glob(f"{SEED}*/{POLICY}")]
    return sorted(found, key=lambda path: (len(path.name), path.name))


Step = int | Literal["best"] | None
"""Which of the steps of which something is kept: one by its number, the one with the best score, or the newest."""


def read_each(folder: Path, step: Step = None, seed: int | None = None) -> list[SavedPolicy]:
    """The policies of a run's seeds, each by itself.

    Args:
        folder: of a run, of a run with several seeds, or of a policy alone.
        step: of which step.
        seed: of which seed; None for all.

    Raises:
        PolicyError: when there is none, it cannot be read, or no seed is the one that is asked for.
    """
    return of_seeds((read(find(run, step)) for run in members(folder) or [folder]), seed, str(folder))


def of_seeds(several: Iterable[SavedPolicy], seed: int | None, whose: str) -> list[SavedPolicy]:
    """The policies of each seed by itself.

    Args:
        several: of one seed or more each.
        seed: of which; None for all.
        whose: they are, for the message.

    Raises:
        PolicyError: when no seed is the one that is asked for.
    """
    each = {
        number: replace(saved, policies=(policy,), seeds=(number,))
        for saved in several
        for number, policy in zip(saved.seeds, saved.policies, strict=True)
    }
    if seed is None:
        return [*each.values()]
    if seed not in each:
        raise PolicyError(f"{whose} holds no policy of seed {seed}: it holds {', '.join(map(str, each))}")
    return [each[seed]]


def find(folder: Path, step: Step = None) -> Path:
    """Where a policy lies: of a run's folder, its `policy/`, or one of those in it, wherever it was copied.

    Raises:
        PolicyError: when there is none, or none of that step: it says which there are.
    """
    if (folder / STRUCTURE).exists():
        return folder
    place = folder / POLICY if (folder / POLICY).is_dir() else folder
    found = {int(path.parent.name): path.parent for path in place.glob(f"*/{STRUCTURE}") if path.parent.name.isdigit()}
    if not found:
        raise PolicyError(
            f"{folder} holds no policy: expected the folder of a run with {POLICY}/ in it, which training writes at "
            f"each checkpoint, or a folder with {STRUCTURE}"
        )
    if step is None:
        return found[max(found)]
    there = f"it holds those of steps {', '.join(f'{each:,}' for each in sorted(found))}"
    if step == "best":
        best = best_step(folder, found)
        if best is None:
            raise PolicyError(
                f"which of {folder}'s policies is the best is not known: no return is recorded at their steps, as "
                f"where no episode had ended; {there}"
            )
        return found[best]
    if step not in found:
        raise PolicyError(f"{folder} holds no policy of step {step:,}: {there}")
    return found[step]


def read(path: Path) -> SavedPolicy:
    """What `save` wrote into one folder.

    Raises:
        PolicyError: when it is damaged, or of a class that is not there.
    """
    try:
        facts, tensors = json.loads((path / STRUCTURE).read_bytes()), (path / TENSORS).read_bytes()
    except OSError as error:
        raise PolicyError(f"{path} holds no whole policy: {error.filename}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{path / STRUCTURE} is damaged: {error}") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise PolicyError(f"{path / STRUCTURE} is not a policy of format {FORMAT}: another version of retorno wrote it")
    if hashlib.sha256(tensors).hexdigest() != facts.get("sha256"):
        raise PolicyError(f"{path / TENSORS} is damaged: its bytes are not those that were written (SHA-256 differs)")
    prepare()  # Before its arrays are made.
    try:
        arrays = load_tensors(tensors)
        seeds = tuple(map(int, facts["seeds"]))
        if any(len(array) != len(seeds) for array in arrays.values()):
            raise PolicyError(
                f"{path / TENSORS} is damaged: not every tensor has one entry for each of {len(seeds)} seeds"
            )
        return SavedPolicy(
            policies=tuple(_policy(facts["policy"], arrays, i, path) for i in range(len(seeds))),
            seeds=seeds,
            observation_space=space_from_json(facts["observation_space"]),
            action_space=space_from_json(facts["action_space"]),
            masked=bool(facts["masked"]),
            step=int(facts["step"]),
            algorithm=str(facts["algorithm"]),
            world=dict(facts["world"]),
        )
    except (SafetensorError, StructureError, KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"{path} cannot be read: {error}") from error


def _policy(structure: Any, arrays: dict[str, np.ndarray], seed: int, path: Path) -> Policy:
    policy = from_structure(structure, {name: jnp.asarray(array[seed]) for name, array in arrays.items()})
    if not isinstance(policy, Policy):
        raise PolicyError(f"{path / STRUCTURE} holds a {type(policy).__name__}, expected a policy")
    return policy
