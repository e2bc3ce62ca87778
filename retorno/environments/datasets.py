"""Data sets of interaction on disk, as worlds of recorded episodes: `.npz`, and Minari's folders of HDF5.

An `.npz` holds flat arrays, one entry for each step, under the names that people give them (D4RL's among them):

```
observations [N, …]   actions [N, …]   rewards [N]   terminals [N]
timeouts [N]             optional: where an episode was cut; what is called dones says only that it ended
next_observations [N, …] optional: else the final observation of a cut episode is not known, and its last step left out
```

Minari's hold episodes with one observation more than actions, beside a `metadata.json` that tells the spaces. Nothing
is downloaded, and nothing unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
from gymnasium import spaces
from gymnasium.spaces import Space

from retorno.core.errors import RetornoError
from retorno.core.spaces import as_tree, misfit
from retorno.environments.recordings import Episode, Recorded, episode, recorded_episodes
from retorno.environments.registry import WorldName, make

NAMES = {
    "observations": ("observations", "observation", "obs", "states", "state"),
    "actions": ("actions", "action", "acts", "act"),
    "rewards": ("rewards", "reward", "rews", "rew"),
    "terminals": ("terminals", "terminal", "terminations", "terminated", "dones", "done"),
    "timeouts": ("timeouts", "timeout", "truncations", "truncated"),
    "next_observations": (
        "next_observations",
        "next_observation",
        "next_obs",
        "obs_next",
        "next_states",
        "next_state",
    ),
}
"""What arrays are called by those who record them."""
ENDS = ("dones", "done")
"""Names that tell of any end: where it was cut as well, it was not terminated."""
OPTIONAL = ("timeouts", "next_observations")
BESIDE = ("infos", "metadata")
"""What nobody expects to be learnt from: these, and arrays whose names begin so, as in infos/qpos."""
HDF5 = (".hdf5", ".h5")
MINARI = "0.5.3"
"""The version of its format that is written."""
OF_TUPLE = "_index_"
"""How Minari names the parts of a tuple."""
DATASET = "retorno.environments.datasets:dataset"
"""By which a run records it."""


class DatasetError(RetornoError, ValueError):
    """A data set that is not there, or does not hold what is expected."""


def dataset(
    source: str | Path, *, world: str | None = None, cut: int | None = None, digest: str | None = None
) -> Recorded:
    """A data set as a world that behaviour cloning, IQL, TD3+BC and CQL learn from.

    Args:
        source: an `.npz`, a Minari data set's folder, or its `main_data.hdf5`.
        world: whose observations and actions these are; None for what the data set says or, where it says nothing,
            for spaces that hold what was recorded.
        cut: longer episodes are cut into pieces of at most so many steps, each of which ends like a time limit. What
            is learnt from single transitions is the same, from smaller batches.
        digest: of the recordings as they were, where that is known: others are refused.

    Raises:
        DatasetError: when it cannot be read, lacks an array, or holds NaN, arrays that do not fit together, or what
            the world does not show or take.
    """
    if cut is not None and cut < 1:
        raise DatasetError(f"episodes are cut into pieces of one step or more, got cut={cut}")
    path = Path(source)
    path = next((file for file in (path / "main_data.hdf5", path / "data" / "main_data.hdf5") if file.exists()), path)
    if not path.exists():
        raise DatasetError(
            f"no data set at {source}: expected an .npz, or a folder with data/main_data.hdf5 (Minari's)"
        )
    if path.is_dir():
        raise DatasetError(f"{source} holds no main_data.hdf5: of Minari's formats HDF5 is read, and .npz")
    read = _minari if path.suffix in HDF5 else _flat
    episodes, told = read(path)
    if not episodes:
        raise DatasetError(f"{source} holds no episode of one step or more")
    for number, each in enumerate(episodes):
        for name, x in zip(
            ("observations", "actions", "rewards"), (each.steps.obs, each.action, each.steps.reward), strict=True
        ):
            if not all(map(_held_in_32_bits, jax.tree.leaves(x))):
                raise DatasetError(
                    f"{source}: {name} of episode {number} hold NaN, infinity or more than 32 bits do: leave it out"
                )
    if world is not None:
        made = make(world)
        told = (made.observation_space, made.action_space)
    observed, acted = told or (
        _space([each.steps.obs for each in episodes]),
        _space([each.action for each in episodes], taken=True),
    )
    told_of = "its metadata's" if world is None else f"{world}'s"
    for number, each in enumerate(episodes):
        episodes[number] = _fitting(each, observed, acted, f"episode {number} are not {told_of}", source)
    found = hashlib.sha256(
        b"".join(np.ascontiguousarray(x).tobytes() for x in jax.tree.leaves(list(episodes)))
    ).hexdigest()
    if digest not in (None, found[:16]):
        raise DatasetError(f"{source} is not what it was when the run began (digest {found[:16]}, then {digest})")
    pieces = [piece for each in episodes for piece in _pieces(each, cut)]
    made = recorded_episodes(pieces, observed, acted)
    whose = None if world is None else WorldName(world).as_json()["name"]
    settings = {"source": str(path.absolute()), "world": whose, "cut": cut, "digest": found[:16]}
    name = WorldName(
        "retorno.environments.datasets:dataset", settings={k: x for k, x in settings.items() if x is not None}
    )
    return replace(made, named=name)


def _held_in_32_bits(x: np.ndarray) -> bool:
    """Whether numbers stay what they are in 32 bits, NaN being none."""
    kind = {"f": np.float32, "i": np.int32, "u": np.uint32}.get(x.dtype.kind)
    if kind is None or x.dtype.itemsize < 4:
        return bool(np.isfinite(x).all())
    ends = np.finfo(kind) if kind is np.float32 else np.iinfo(kind)
    return bool(((x >= ends.min) & (x <= ends.max)).all())


def _fitting(lived: Episode, observed: Space[Any], acted: Space[Any], where: str, source: Any) -> Episode:
    """An episode whose observations and actions are these spaces', whole numbers as such."""
    found = []
    for name, space, x in (("observations", observed, lived.steps.obs), ("actions", acted, lived.action)):
        if why := misfit(space, x):
            raise DatasetError(f"{source}: {name} of {where}: {why}")
        found.append(jax.tree.map(_typed, x, as_tree(space)))
    return lived._replace(steps=lived.steps._replace(obs=found[0]), action=found[1])


def _typed(x: np.ndarray, space: Space[Any]) -> np.ndarray:
    return x.astype(space.dtype) if np.issubdtype(space.dtype, np.integer) and x.dtype.kind == "f" else x


def save_dataset(path: str | Path, recorded: Recorded) -> Path:
    """Write recordings where `dataset`, and others, read them.

    Args:
        path: an `.npz` that is not there yet, for observations and actions that are one array each; or else a new
            folder as Minari's, with data/main_data.hdf5 and the spaces beside it.
        recorded: what was lived, as `retorno.record` gives it.

    Raises:
        DatasetError: when something is there, or it cannot be written so.
    """
    path = Path(path)
    require_new(path)
    beside = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        (_save_flat if path.suffix else _save_minari)(beside, recorded, path.name)
        os.replace(beside, path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        with contextlib.suppress(OSError):  # Where nothing can be written, nothing can be taken away.
            beside.unlink(missing_ok=True)
    return path


def require_new(path: Path) -> None:
    """Refuse a place where no data set can be written.

    Raises:
        DatasetError: when something is there, or it is called otherwise.
    """
    if path.exists():
        raise DatasetError(f"{path} is there: name another file or folder, or remove it first")
    if path.suffix not in ("", ".npz"):
        raise DatasetError(
            f"{path}: data sets are written as NAME.npz, or as a folder (Minari's), not as {path.suffix}"
        )


def _save_minari(folder: Path, recorded: Recorded, name: str) -> None:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise DatasetError("Minari's format is written by h5py, which is not installed: pip install h5py") from error
    about = {
        "dataset_id": name,
        "data_format": "hdf5",
        "minari_version": MINARI,
        "observation_space": json.dumps(told_space(recorded.observation_space)),
        "action_space": json.dumps(told_space(recorded.action_space)),
        "total_episodes": 0,
        "total_steps": recorded.transitions,
    }
    # In memory first: where a disk is full HDF5 itself kills the process.
    whole = io.BytesIO()
    with h5py.File(whole, "w") as file:
        for number, lived in enumerate(recorded.episodes()):
            group = file.create_group(f"episode_{number}")
            group.attrs.update({"id": number, "total_steps": len(lived.steps.last) - 1})
            for what, x in {"observations": lived.steps.obs, "actions": lived.action, **_ends(lived)}.items():
                _put(group, what, x)
            about["total_episodes"] = number + 1
        file.attrs.update({what: about[what] for what in ("total_episodes", "total_steps")})
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "main_data.hdf5").write_bytes(whole.getbuffer())
    (folder / "data" / "metadata.json").write_text(json.dumps(about, indent=2), encoding="utf-8")


def _ends(lived: Episode) -> dict[str, Any]:
    """What was paid on each step, and how the episode ended."""
    over = np.asarray(lived.steps.last)[1:]
    terminated = over & (np.asarray(lived.steps.discount)[1:] == 0)
    return {"rewards": lived.steps.reward[1:], "terminations": terminated, "truncations": over & ~terminated}


def _put(group: Any, name: str, x: Any) -> None:
    """An array of HDF5, or a group of them."""
    if not isinstance(x, Mapping | tuple):
        group[name] = x
        return
    parts = x if isinstance(x, Mapping) else {f"{OF_TUPLE}{place}": part for place, part in enumerate(x)}
    for key, part in parts.items():
        _put(group.require_group(name), key, part)


def _save_flat(file: Path, recorded: Recorded, name: str) -> None:
    held: dict[str, list[Any]] = {}
    for lived in recorded.episodes():
        obs, ends = lived.steps.obs, _ends(lived)
        if not (isinstance(obs, np.ndarray) and isinstance(lived.action, np.ndarray)):
            raise DatasetError(
                f"observations or actions have several parts, and {name} would hold one array of each: name a folder, "
                "which is written as Minari's"
            )
        parts = {
            "observations": obs[:-1],
            "next_observations": obs[1:],
            "actions": lived.action,
            "rewards": ends["rewards"],
            "terminals": ends["terminations"],
            "timeouts": ends["truncations"],
        }
        for what, x in parts.items():
            held.setdefault(what, []).append(x)
    arrays: dict[str, Any] = {what: np.concatenate(parts) for what, parts in held.items()}
    with open(file, "wb") as stream:
        np.savez(stream, **arrays)


def _flat(path: Path) -> tuple[list[Episode], None]:
    """Of an `.npz`."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            held = _named(file, path)
    except DatasetError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path} cannot be read as .npz without objects: {error}") from error
    return list(_episodes(held, path)), None


def _named(held: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Arrays under the names of this page."""
    found, read = {}, {}
    for name, known in NAMES.items():
        own = next((each for each in known if each in held), None)
        if own is not None:
            found[name], read[name] = held[own], own
        elif name not in OPTIONAL:
            raise DatasetError(
                f"{path} has no {name} (nor {', '.join(known[1:])}): it holds {', '.join(held) or 'nothing'}"
            )
    sizes = {name: len(np.atleast_1d(x)) for name, x in found.items()}
    if len(set(sizes.values())) != 1:
        raise DatasetError(
            f"{path}: arrays are one entry for each step, got {', '.join(f'{k} of {n}' for n, k in sizes.items())}"
        )
    for name in {"rewards", "terminals", "timeouts"} & set(found):
        found[name] = _one_each(found[name], name, str(path))
    for name in {"terminals", "timeouts"} & set(found):
        if not np.isin(found[name], (0, 1)).all():
            raise DatasetError(
                f"{path}: {read[name]} are true or false, 1 or 0, got {found[name].min():g} to {found[name].max():g}"
            )
        found[name] = found[name].astype(bool)
    if read["terminals"] in ENDS and "timeouts" in found:
        found["terminals"] = found["terminals"] & ~found["timeouts"]
    unread = [name for name in held if name not in read.values() and name.split("/")[0] not in BESIDE]
    if unread:
        warnings.warn(f"{path}: nothing is learnt from {', '.join(unread)}, which stand there as well", stacklevel=2)
    return found


def _one_each(x: Any, name: str, where: str) -> np.ndarray:
    """One number for each step, which others keep in a column."""
    if x.size != len(x):
        raise DatasetError(f"{where}: {name} are one number for each step, got an array of shape {list(x.shape)}")
    return x.reshape(-1)


def _episodes(held: dict[str, np.ndarray], path: Path) -> Iterator[Episode]:
    """Cut where they ended; what follows the last end is an episode that was cut."""
    obs, action, reward = held["observations"], held["actions"], held["rewards"]
    terminal = held["terminals"]
    ends = np.flatnonzero(terminal | held["timeouts"] if "timeouts" in held else terminal)
    bounds = [0, *(ends + 1).tolist()]
    if bounds[-1] < len(obs):
        bounds.append(len(obs))
    for begin, end in pairwise(bounds):
        terminated = bool(terminal[end - 1])
        if "next_observations" in held:
            final = held["next_observations"][end - 1 : end]
        elif terminated:  # Nobody asks what it was worth.
            final = obs[end - 1 : end]
        else:
            final, end = obs[end - 1 : end], end - 1
        if end > begin:
            seen = np.concatenate([obs[begin:end], final])
            yield episode(seen, action[begin:end], reward[begin:end], terminated)


def _minari(path: Path) -> tuple[list[Episode], tuple[Space[Any], Space[Any]] | None]:
    """Of a Minari data set's HDF5."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise DatasetError("HDF5 is read by h5py, which is not installed: pip install h5py") from error
    try:
        with h5py.File(path, "r") as file:
            about = {name: x for name, x in file.attrs.items() if isinstance(x, str)}
            groups = sorted((str(name) for name in file if str(name).startswith("episode_")), key=lambda x: int(x[8:]))
            if not groups:
                held = _flattened(file)
                return list(_episodes(_named(held, path), path)), None  # As D4RL has them.
            episodes = [_of_group(_read(file[name]), f"{path}: {name}") for name in groups]
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as HDF5: {error}") from error
    beside = path.parent / "metadata.json"
    try:
        about |= json.loads(beside.read_text()) if beside.exists() else {}
    except ValueError as error:
        raise DatasetError(f"{beside} cannot be read as JSON: {error}") from error
    if not {"observation_space", "action_space"} <= about.keys():
        return episodes, None
    told = (about["observation_space"], about["action_space"])
    observed, acted = (space_of(json.loads(x) if isinstance(x, str) else x) for x in told)
    return episodes, (observed, acted)


def is_dataset(name: str) -> bool:
    """Whether a name is that of a data set on the disk, for what learns from recordings.

    Args:
        name: as one types it.
    """
    path = Path(name)
    held = (path / "main_data.hdf5", path / "data" / "main_data.hdf5")
    return path.suffix in (".npz", *HDF5) or any(file.exists() for file in held)


def _flattened(node: Any, before: str = "") -> dict[str, np.ndarray]:
    """Arrays of groups by their whole names, without those beside them."""
    found: dict[str, np.ndarray] = {}
    for name, x in node.items():
        if name not in BESIDE:
            found |= _flattened(x, f"{before}{name}/") if hasattr(x, "items") else {f"{before}{name}": x[()]}
    return found


def _read(node: Any) -> Any:
    """Arrays as they lie in groups."""
    if not hasattr(node, "keys"):
        return node[()]
    parts = {name: _read(node[name]) for name in node if name != "infos"}
    if parts and all(name.startswith(OF_TUPLE) for name in parts):
        return tuple(parts[f"{OF_TUPLE}{place}"] for place in range(len(parts)))
    return parts


def _of_group(held: dict[str, Any], where: str) -> Episode:
    if missing := [name for name in ("observations", "actions", "rewards", "terminations") if name not in held]:
        raise DatasetError(f"{where} has no {', '.join(missing)}: it holds {', '.join(held) or 'nothing'}")
    obs, action, reward = held["observations"], held["actions"], _one_each(held["rewards"], "rewards", where)
    steps, rows = len(reward), {len(x) for x in jax.tree.leaves(obs)}
    if rows != {steps + 1} or {len(x) for x in jax.tree.leaves(action)} != {steps}:
        raise DatasetError(
            f"{where} has {steps} rewards: expected as many actions, and one observation more, got {rows}"
        )
    return episode(obs, action, reward, bool(np.ravel(held["terminations"])[-1]))


def space_of(told: Mapping[str, Any]) -> Space[Any]:
    """A Gymnasium space as Minari writes it down.

    Raises:
        DatasetError: when it is of another kind than those that retorno takes.

    >>> space_of({"type": "Discrete", "n": 3, "start": 0})
    Discrete(3)
    """
    match told.get("type"):
        case "Discrete":
            return spaces.Discrete(told["n"], start=told.get("start", 0))
        case "MultiDiscrete":
            return spaces.MultiDiscrete(told["nvec"], start=told.get("start"))
        case "MultiBinary":
            return spaces.MultiBinary(told["n"])
        case "Box":
            low, high = (np.array(told[side], told["dtype"]).reshape(told["shape"]) for side in ("low", "high"))
            return spaces.Box(low, high, dtype=np.dtype(told["dtype"]).type)
        case "Dict":
            return spaces.Dict({name: space_of(part) for name, part in told["subspaces"].items()})
        case "Tuple":
            return spaces.Tuple([space_of(part) for part in told["subspaces"]])
    raise DatasetError(f"spaces of type {told.get('type')} are not taken: name the world instead, world=…")


def told_space(space: Space[Any]) -> dict[str, Any]:
    """A Gymnasium space as Minari writes it down: what `space_of` reads.

    Raises:
        DatasetError: when it is of another kind than those that retorno takes.

    >>> told_space(spaces.Discrete(3))
    {'type': 'Discrete', 'dtype': 'int64', 'n': 3, 'start': 0}
    """
    match space:
        case spaces.Discrete():
            return {"type": "Discrete", "dtype": "int64", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            parts = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
            return {"type": "MultiDiscrete", "dtype": str(space.dtype), **parts}
        case spaces.MultiBinary():
            return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
        case spaces.Box():
            ends = {"low": space.low.tolist(), "high": space.high.tolist()}
            return {"type": "Box", "dtype": str(space.dtype), "shape": list(space.shape), **ends}
        case spaces.Dict():
            return {"type": "Dict", "subspaces": {name: told_space(part) for name, part in space.spaces.items()}}
        case spaces.Tuple():
            return {"type": "Tuple", "subspaces": [told_space(part) for part in space.spaces]}
    raise DatasetError(f"spaces of type {type(space).__name__} are not written")


def _space(recorded: list[Any], taken: bool = False) -> Space[Any]:
    """One that holds what was recorded: whole numbers from 0 or below on, one or, of actions, several; bytes in rows;
    numbers within [−1, 1] where all of them are; any.
    """
    first = recorded[0]
    if isinstance(first, dict):
        return spaces.Dict({name: _space([each[name] for each in recorded], taken) for name in first})
    if isinstance(first, tuple):
        return spaces.Tuple([_space(list(part), taken) for part in zip(*recorded, strict=True)])
    if first.dtype.kind in "iub" and (first.ndim == 1 or (taken and first.ndim == 2)):
        low = np.minimum(np.min([each.min(0) for each in recorded], 0).astype(int), 0)
        count = np.max([each.max(0) for each in recorded], 0).astype(int) - low + 1
        one = first.ndim == 1
        return spaces.Discrete(count, start=low) if one else spaces.MultiDiscrete(count, start=low)
    shape = first.shape[1:]
    if first.dtype == np.uint8:
        return spaces.Box(0, 255, shape, np.uint8)
    most = max(float(np.abs(each).max()) for each in recorded)
    return spaces.Box(-1.0, 1.0, shape) if most <= 1 else spaces.Box(-np.inf, np.inf, shape)


def _pieces(lived: Episode, cut: int | None) -> Iterator[Episode]:
    """An episode, or parts of it."""
    steps = len(lived.steps.last) - 1
    if cut is None or steps <= cut:
        yield lived
        return
    for begin in range(0, steps, cut):
        end = min(begin + cut, steps)
        part = lambda tree, more=0, a=begin, b=end: jax.tree.map(lambda x: x[a : b + more], tree)  # noqa: E731
        terminated = end == steps and lived.steps.discount[-1] == 0
        paid = lived.steps.reward[begin + 1 : end + 1]
        yield episode(part(lived.steps.obs, 1), part(lived.action), paid, bool(terminated))
