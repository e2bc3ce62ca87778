"""Models in NumPy's .npz: the arrays to the bit, no pickle.

A file's own claims are checked against its size before anything is allocated.
"""

from __future__ import annotations

import json
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from retorno.core.mdp import MDP, MapKey, ModelError, Numbered
from retorno.core.memory import ensure_fits
from retorno.environments.checked_arrays import are_numbers, check_pointer
from retorno.environments.formats import map_keys
from retorno.environments.formats.files import naming, write_whole
from retorno.environments.formats.numbers import number
from retorno.environments.formats.reading import USUAL, Loaded, Reading, normalised

VERSION = 1
ARRAYS = {
    "state_ptr": "i",
    "action": "i",
    "row_ptr": "i",
    "next_state": "i",
    "probability": "f",
    "reward": "f",
    "discount": "f",
    "initial": "f",
}
"""Those of the model, and whether they hold integers or floats."""
KINDS = {"i": ("<i4", "<i8"), "f": ("<f8",), "u": ("|u1",), "b": ("|b1",)}
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
    OSError,  # A member's place before the beginning.
)
"""What the zip and npy readers raise for bytes that they cannot make sense of."""
CHUNK = 1 << 24
DEFLATE_AT_MOST = 1040
"""Bytes that one compressed byte can become; zlib's limit is 1,032."""


def write(model: MDP, path: Path) -> None:
    """Write a model; a discount that is one number for all transitions is stored once."""
    arrays: dict[str, np.ndarray | np.int64] = {
        "version": np.int64(VERSION),
        **{name: getattr(model, name) for name in ARRAYS},
    }  # type: ignore[dict-item]
    if model.num_transitions and model.discount.strides == (0,):
        arrays["discount"] = model.discount[0]
    for kind in ("state", "action"):
        arrays |= _packed(f"{kind}_names", getattr(model, f"{kind}_names"))
    if model.grid is not None:
        arrays["on_grid"] = np.array([place is not None for place in model.grid])
        arrays["grid"] = np.array([place or (0, 0) for place in model.grid], np.int64).reshape(-1)
    if model.labels:
        arrays |= _packed("label_names", tuple(model.labels))
        arrays["labelled"] = np.concatenate([np.asarray(own, np.int64) for own in model.labels.values()])
        arrays["labelled_end"] = np.cumsum([len(own) for own in model.labels.values()])
    if model.fractions:
        arrays |= _packed("fraction_names", tuple(map(str, model.fractions.values())))
    if model.map_key is not None:
        arrays |= _packed("map_key", (json.dumps(map_keys.written(model.map_key)),))
    write_whole({path: lambda file: np.savez(file, allow_pickle=False, **arrays)})  # type: ignore[arg-type]


def read(path: Path, how: Reading = USUAL) -> Loaded:
    """Read a model.

    Raises:
        ModelError: for anything but a whole file that `write` could have written.
        OSError: when it cannot be read.
    """
    with naming(path), path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                arrays = _arrays(archive, path.stat().st_size)
        except ModelError:
            raise
        except DAMAGE as error:
            raise ModelError(f"not a whole .npz file ({error or type(error).__name__})") from None
        return _model(arrays, how.normalise)


def _arrays(archive: zipfile.ZipFile, size: int) -> dict[str, np.ndarray]:
    """Every known array of an archive of `size` bytes."""
    kinds = {"version": "i", **ARRAYS, "grid": "i", "on_grid": "b", "labelled": "i", "labelled_end": "i"}
    kinds |= {
        f"{kind}{part}": dtype
        for kind in ("state_names", "action_names", "label_names", "fraction_names", "map_key")
        for part, dtype in [("", "u"), ("_end", "i")]
    }
    infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    for name in [*ARRAYS, "version"]:
        if name not in infos:
            raise ModelError(
                f"has no array {name!r}: expected a model that `save` has written; arrays of another kind are read "
                "with numpy.load and passed to from_matrices or from_rows, recordings by `datasets.dataset`"
            )
    if strange := sorted(infos.keys() - kinds.keys()):
        raise ModelError(f"has the array {strange[0]!r}, which no model has")
    for name, info in infos.items():
        if info.compress_size > size or info.file_size > DEFLATE_AT_MOST * info.compress_size:
            raise ModelError(f"{name} claims {info.file_size:,} bytes, and the file has {size:,}: truncated or forged")
    ensure_fits(2 * sum(info.file_size for info in infos.values()), "the model")
    return {name: _array(archive, info, name, kinds[name]) for name, info in infos.items()}


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, kind: str) -> np.ndarray:
    """One array, whose header must agree with its size."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)  # type: ignore[arg-type]
        if version != (1, 0):
            raise ModelError(f"{name} is stored in version {version} of the npy format, expected (1, 0)")
        with warnings.catch_warnings(action="ignore"):  # Of headers that Python 2 wrote.
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)  # type: ignore[arg-type]
        if dtype.str not in KINDS[kind] or len(shape) > 1:
            raise ModelError(f"{name} is {dtype.str}{list(shape)}, expected one axis of {' or '.join(KINDS[kind])}")
        count = int(np.prod(shape, dtype=object))
        if count < 0 or count * dtype.itemsize != info.file_size - member.tell():
            raise ModelError(f"{name} claims {count:,} entries, and has {info.file_size - member.tell():,} bytes")
        array = np.empty(count, dtype)
        view, begin = memoryview(array.view(np.uint8)), 0  # type: ignore[arg-type]
        while begin < len(view):
            got = member.read(min(CHUNK, len(view) - begin))
            if not got:
                raise ModelError(f"{name} ends after {begin:,} of {len(view):,} bytes")
            view[begin : begin + len(got)] = got
            begin += len(got)
        if member.read(1):  # Reading to the end checks the sum as well.
            raise ModelError(f"{name} goes on after its end")
    return array.reshape(shape)


def _model(arrays: dict[str, np.ndarray], normalise: bool) -> Loaded:
    version = arrays.pop("version")
    if version.shape or version != VERSION:
        raise ModelError(f"written in version {version} of the format, expected {VERSION}")
    for name in ARRAYS:
        if not arrays[name].ndim and name != "discount":
            raise ModelError(f"{name} is one number, expected an axis")
    states, transitions = len(arrays["state_ptr"]) - 1, len(arrays["next_state"])
    check_pointer(arrays["state_ptr"], "state_ptr", len(arrays["action"]))
    check_pointer(arrays["row_ptr"], "row_ptr", transitions)
    if not arrays["discount"].ndim:
        arrays["discount"] = np.broadcast_to(arrays["discount"], transitions)
    actions = int(arrays["action"].max(initial=-1)) + 1
    grid = None
    if "grid" in arrays or "on_grid" in arrays:
        on, places = arrays.get("on_grid", np.zeros(0)), arrays.get("grid", np.zeros(0))
        if on.shape != (states,) or places.shape != (2 * states,):
            raise ModelError(f"grid and on_grid have {len(places)} and {len(on)} entries for {states} states")
        pairs = zip(places[::2].tolist(), places[1::2].tolist(), on.tolist(), strict=True)
        grid = tuple((row, column) if known else None for row, column, known in pairs)
    notes: tuple[str, ...] = ()
    fractions = _fractions(arrays)
    if len(arrays["probability"]) == transitions:
        arrays["probability"], notes = normalised(arrays["probability"], arrays["row_ptr"], normalise, fractions)
    own: dict[str, Any] = {name: arrays[name] for name in ARRAYS}
    model = MDP(
        **own,
        state_names=_unpacked(arrays, "state_names", states),
        action_names=_unpacked(arrays, "action_names", actions),
        grid=grid,
        labels=_labels(arrays),
        fractions=fractions,
        map_key=_map_key(arrays),
    )
    return Loaded(model, notes)


def _map_key(arrays: dict[str, np.ndarray]) -> MapKey | None:
    """How the map is read."""
    if "map_key_end" not in arrays:
        return None
    try:
        (text,) = _unpacked(arrays, "map_key", 1)
        return map_keys.read(json.loads(text))
    except ValueError as error:
        raise ModelError(f"map_key: {error}") from None


def _labels(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if "labelled" not in arrays and "labelled_end" not in arrays and "label_names_end" not in arrays:
        return {}
    own, ends = arrays.get("labelled", np.zeros(0)), arrays.get("labelled_end", np.zeros(0, np.int64))
    check_pointer(np.append(0, ends), "labelled_end", len(own))
    names = _unpacked(arrays, "label_names", len(ends))
    if len(names) != len(ends) or len(set(names)) < len(names) or own.ndim != 1:
        raise ModelError(f"label_names has {len(names)} different names for {len(ends)} labels")
    return dict(zip(names, np.split(own, ends[:-1]), strict=True))


def _fractions(arrays: dict[str, np.ndarray]) -> dict[float, Fraction]:
    """What some of the numbers stand for."""
    if "fraction_names_end" not in arrays:
        return {}
    found: dict[float, Fraction] = {}
    for text in _unpacked(arrays, "fraction_names", arrays["fraction_names_end"].size):
        number(text, found)
    return found


def _packed(name: str, names: Sequence[str]) -> dict[str, np.ndarray | np.int64]:
    """UTF-8 side by side, and where each one ends. Numbers in order take only their number."""
    if are_numbers(names):
        return {f"{name}_end": np.int64(len(names))}
    encoded = [given.encode("utf-8", "surrogatepass") for given in names]
    return {name: np.frombuffer(b"".join(encoded), np.uint8), f"{name}_end": np.cumsum([len(x) for x in encoded])}


def _unpacked(arrays: dict[str, np.ndarray], name: str, least: int) -> Any:
    ends, text = arrays.get(f"{name}_end"), arrays.get(name)
    if ends is None:
        raise ModelError(f"has no array '{name}_end'")
    if not ends.ndim:
        count = int(ends)
        if not least <= count <= least + 1_000_000:
            raise ModelError(f"{name} claims {count:,} names, expected {least:,}")
        return Numbered(count)
    if text is None or text.ndim != 1:
        raise ModelError(f"{name} has lengths and no text")
    check_pointer(np.append(0, ends), f"{name}_end", len(text))
    data = text.tobytes()
    try:
        return tuple(
            data[a:b].decode("utf-8", "surrogatepass") for a, b in zip([0, *ends.tolist()], ends.tolist(), strict=False)
        )
    except UnicodeDecodeError as error:
        raise ModelError(f"{name} are no UTF-8: {error.reason}") from None
