"""What is kept of a run: every array of its state, written so that it is either whole or not there.

A checkpoint is a folder `checkpoints/<step>/`. `state.safetensors` holds the arrays and `manifest.json` says
which arrays there must be, with checksums of the other file and of itself. A large array, such as a replay's
frames, is cut into pieces, each a file in `pieces/` that is named by its SHA-256: of one checkpoint to the next
only the pieces that changed are written, the others are hard links to those that are there, and what is still
all zeros has no file; those that are known to be unchanged are not looked at (`run/written.py`). Of constants it
says the digest alone. It is written beside, synced, and renamed into place, so a crash at any moment leaves the
checkpoints before it as they were. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from retorno.core.constants import Constant
from retorno.core.errors import RetornoError

FORMAT = 3
CHECKPOINTS, MANIFEST, TENSORS, PIECES = "checkpoints", "manifest.json", "state.safetensors", "pieces"
PARTIAL = ".partial"
MOST_MANIFEST_BYTES = 2**26
PIECE_BYTES = 2**22
"""Larger arrays are cut into pieces of this size."""
MOST_FACTS_BYTES, MOST_DIGITS, HEAD_BYTES, HEX = 4096, 18, 90, "0" * 64
"""What is reckoned with before anything is written: for the facts, for numbers, and for a tensor beside its name."""

DTYPES = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bfloat16": "BF16",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
}
"""The dtypes that are stored, and what safetensors calls them."""

T = TypeVar("T")


class CheckpointError(RetornoError):
    """A checkpoint that cannot be written or read: the message names the file, leaf or field."""


class MismatchError(CheckpointError):
    """A whole checkpoint of another run: its leaves are not the ones that were asked for."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """What an array must look like."""

    name: str
    """`state/<path in the pytree>` or `hosted/<name>`."""
    dtype: str
    shape: tuple[int, ...]
    key: str | None = None
    """For a random key its implementation; dtype and shape are then those of the key's data."""
    pieces: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    """Of a large array: the SHA-256 of each piece of its bytes, "" for zeros alone."""
    constant: str | None = None
    """For a constant the digest of its source, and its name there; the array is not stored."""

    @property
    def whole(self) -> bool:
        """Whether the array is stored in one piece."""
        return not self.pieces and self.constant is None

    @property
    def bytes(self) -> int:
        """The size of the array."""
        return math.prod(self.shape) * jnp.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        if self.constant is not None:
            return f"the constant {self.constant}"
        kind = f"{self.dtype}{list(self.shape)}"
        return kind if self.key is None else f"{self.key} key ({kind})"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a checkpoint says about itself."""

    step: int
    digest: str
    """One SHA-256 over every array's name, dtype, shape and bytes, or pieces' SHA-256, in order."""
    facts: dict[str, Any]
    """What the writer noted beside the arrays."""
    sha256: str
    """Of the whole file of tensors."""
    bytes: int
    """Its size."""
    leaves: tuple[Leaf, ...]


def save(
    folder: Path,
    step: int,
    state: PyTree[Any],
    hosted: Mapping[str, np.ndarray] | None = None,
    facts: Mapping[str, Any] | None = None,
    keep: int | None = 3,
    spare: Collection[int] = (),
    unchanged: Mapping[str, Sequence[str | None]] = MappingProxyType({}),
) -> Path:
    """Write `folder/checkpoints/<step>`, whole and synced to the disk, and drop all but the newest `keep` up to it.

    Args:
        folder: the run's folder.
        step: environment steps taken, not negative; a checkpoint of the same step is replaced.
        state: a pytree of JAX or NumPy arrays (typed random keys included).
        hosted: arrays that are not in the state, by name: of hosted environments, or on the disk.
        facts: JSON values to note in the manifest.
        keep: how many checkpoints to keep, at least 1; None for all.
        spare: steps whose checkpoints stay, however old they are.
        unchanged: of large arrays, by their leaf: the SHA-256 of each piece where it is known, else None.

    Raises:
        CheckpointError: when a leaf cannot be stored, or the disk is full, read-only or broken.
            What was there before still stands.

    >>> path = save(Path("one"), 10, {"w": np.ones(2)})
    >>> load(path, {"w": np.zeros(2)})[0]["w"]
    array([1., 1.])
    """
    if step < 0 or (keep is not None and keep < 1):
        raise CheckpointError(f"step must not be negative and keep at least 1, got step={step}, keep={keep}")
    leaves, arrays = _arrays(state, hosted, unchanged)
    try:
        noted = json.loads(json.dumps(dict(facts or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"facts must be JSON values, got {facts!r}: {error}") from error
    checkpoints = Path(folder) / CHECKPOINTS
    final = checkpoints / str(int(step))
    manifest = Manifest(int(step), _digest(zip(leaves, arrays, strict=True)), noted, "", 0, leaves)
    try:
        if not checkpoints.is_dir():
            checkpoints.mkdir(parents=True)
            sync_folder(checkpoints.parent)
        for leftover in checkpoints.glob(f".*{PARTIAL}"):
            _remove(leftover)
        if not _holds(final, manifest):
            _write(final, manifest, {leaf.name: array for leaf, array in zip(leaves, arrays, strict=True)})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(_cannot_write(final, manifest, error)) from error
    # The new one is safe. A disk that refuses to forget will refuse the next one too, and be heard then.
    with contextlib.suppress(OSError):
        older = [] if keep is None else [s for s in steps(folder) if s <= step][keep:]
        for old in (s for s in older if s not in spare):
            hidden = _retired(checkpoints / str(old))
            os.rename(checkpoints / str(old), hidden)
            _remove(hidden)
    return final


OTHER_RUN = (
    "it was written by a run of other settings or code: resume with those, or begin another run with what was learnt "
    "(retorno train … --from RUN)"
)


def load(
    path: Path,
    like: PyTree[Any],
    into: Mapping[str, np.ndarray] | None = None,
    *,
    part: bool = False,
    advice: str = OTHER_RUN,
) -> tuple[PyTree[Any], dict[str, np.ndarray], Manifest]:
    """Read a checkpoint into the structure of `like`: (state, hosted arrays, manifest).

    Args:
        path: `<run>/checkpoints/<step>`.
        like: a pytree of arrays or `jax.ShapeDtypeStruct`s. Leaves come back as JAX arrays, each
            with a buffer of its own and with the sharding that `like` commits to; as NumPy
            arrays where `like` holds those.
        into: where hosted arrays of some names are to be read into, for those that do not fit memory.
        part: read those leaves alone and let others be; no hosted arrays then.
        advice: what to do where leaves are others: the end of the message.

    Raises:
        MismatchError: when leaves are missing, unexpected, or of another dtype or shape.
        CheckpointError: when the checkpoint is not whole, or not one at all.
    """
    manifest = read_manifest(Path(path))
    wanted, treedef = jax.tree.flatten(like)
    leaves = described(like)
    into = {f"hosted/{name}": array for name, array in (into or {}).items()}
    _compare(Path(path), manifest, [*leaves, *(_leaf(name, array) for name, array in into.items())], part, advice)
    expected = dict(zip((leaf for leaf in leaves if leaf.constant is None), wanted, strict=True))
    named = {leaf.name: leaf for leaf in expected}
    values, hosted = {}, {}
    for leaf, array in _read(Path(path), manifest, into):
        if leaf.constant is not None:
            continue
        if leaf.name in named:
            values[leaf.name] = _restore(leaf, array, expected[named[leaf.name]])
        elif not part:
            hosted[leaf.name.removeprefix("hosted/")] = array
    return jax.tree.unflatten(treedef, [values[name] for name in named]), hosted, manifest


def verify(path: Path) -> Manifest:
    """The manifest of a checkpoint, after every byte of it has been checked.

    Raises:
        CheckpointError: when it is not whole.

    Args:
        path: `<run>/checkpoints/<step>`.
    """
    manifest = read_manifest(Path(path))
    for _ in _read(Path(path), manifest):
        pass
    return manifest


def digest(state: PyTree[Any], hosted: Mapping[str, np.ndarray] | None = None) -> str:
    """The digest that a checkpoint of these arrays has: SHA-256 in hexadecimal.

    Raises:
        CheckpointError: when a leaf cannot be stored.

    Args:
        state: a pytree of arrays.
        hosted: arrays of hosted environments beside it.

    >>> digest({"w": np.ones(2)}) == digest({"w": np.ones(2)}) != digest({"w": np.zeros(2)})
    True
    """
    return _digest(zip(*_arrays(state, hosted), strict=True))


def steps(folder: Path) -> list[int]:
    """The steps of a run's checkpoints, newest first, whole or not.

    Raises:
        CheckpointError: when the folder cannot be read.

    Args:
        folder: of the run.

    >>> steps(Path("nowhere"))
    []
    """
    checkpoints = Path(folder) / CHECKPOINTS
    try:
        names = os.listdir(checkpoints)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CheckpointError(f"{checkpoints} cannot be read: {error.strerror}") from error
    return sorted((int(name) for name in names if name.isascii() and name.isdigit()), reverse=True)


def size(state: PyTree[Any]) -> int:
    """The bytes of a state's arrays.

    Args:
        state: a pytree of arrays, or of their shapes.

    >>> size({"w": np.ones(2, np.float32)})
    8
    """
    return sum(leaf.bytes for leaf in described(state) if leaf.constant is None)


def stored_size(state: PyTree[Any], hosted: Mapping[str, Any] = MappingProxyType({})) -> int:
    """The bytes that a checkpoint takes on a disk at most: arrays, manifest and the head of the file of tensors.

    Args:
        state: as of `save`, or its shapes.
        hosted: as of `save`, or their shapes.

    >>> size({"w": np.ones(2)}), 16 < stored_size({"w": np.ones(2)}) < 6000
    (16, True)
    """
    leaves = (*described(state), *(_leaf(f"hosted/{name}", array) for name, array in hosted.items()))
    leaves = tuple(dataclasses.replace(leaf, pieces=(HEX,) * _pieces_of(leaf)) for leaf in leaves)
    stored = [leaf for leaf in leaves if leaf.constant is None]
    arrays = sum(leaf.bytes for leaf in stored)
    told = Manifest(10**MOST_DIGITS, HEX, {}, HEX, 10**MOST_DIGITS, leaves)
    head = 8 + sum(len(json.dumps(leaf.name)) + HEAD_BYTES + len(str(leaf.shape)) for leaf in stored if leaf.whole)
    return arrays + head + len(_text(told).encode()) + MOST_FACTS_BYTES


def _pieces_of(leaf: Leaf) -> int:
    """Into how many pieces an array is cut: none where it is stored whole."""
    return -(-leaf.bytes // PIECE_BYTES) if leaf.constant is None and leaf.bytes > PIECE_BYTES else 0


def facts(folder: Path) -> dict[str, Any]:
    """What was noted in the newest checkpoint whose manifest can be read; nothing where there is none.

    Args:
        folder: of the run.
    """
    for step in steps(folder):
        with contextlib.suppress(CheckpointError):
            return read_manifest(Path(folder) / CHECKPOINTS / str(step)).facts
    return {}


def newest(folder: Path, warn: Callable[[str], Any] = lambda line: None) -> Path:
    """The newest whole checkpoint of a run; see `load_newest` for `warn` and what is raised.

    Args:
        folder: of the run.
        warn: is told, one line each, of damaged checkpoints that were passed over.
    """
    return _newest(folder, lambda path: (verify(path), path)[1], warn)


def load_newest(
    folder: Path, like: PyTree[Any], warn: Callable[[str], Any], into: Mapping[str, np.ndarray] | None = None
) -> tuple[PyTree[Any], dict[str, np.ndarray], Manifest]:
    """`load` the newest whole checkpoint of a run.

    Args:
        folder: the run's folder.
        like: as for `load`.
        warn: is told, one line each, of damaged checkpoints that were passed over.
        into: as for `load`.

    Raises:
        MismatchError: when the newest whole checkpoint has other leaves than `like`.
        CheckpointError: when there is none, or none is whole (then the newest one's fault).
    """
    return _newest(folder, lambda path: load(path, like, into), warn)


def _newest(folder: Path, attempt: Callable[[Path], T], warn: Callable[[str], Any]) -> T:
    faults: list[CheckpointError] = []
    for step in steps(folder):
        try:
            found = attempt(Path(folder) / CHECKPOINTS / str(step))
        except MismatchError:
            raise
        except CheckpointError as fault:
            faults.append(fault)
        else:
            for fault in faults:
                warn(f"a damaged checkpoint was passed over for that of step {step}: {fault}")
            return found
    if faults:
        raise faults[0]
    raise CheckpointError(f"{folder} has no checkpoint: expected folders named by their step in {CHECKPOINTS}/")


# The arrays


def described(tree: PyTree[Any]) -> tuple[Leaf, ...]:
    """The leaves and constants of a state, by the names that they have in a checkpoint.

    Args:
        tree: arrays, or their shapes.

    >>> described({"w": np.ones(2)})[0].name
    'state/w'
    """
    found = []
    for path, value in jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: isinstance(node, Constant)):
        name = "/".join(["state", *([jax.tree_util.keystr(path, simple=True, separator="/")] if path else [])])
        found.append(_leaf(name, value))
    return tuple(found)


def _leaf(name: str, value: Any) -> Leaf:
    if not _harmless(name):
        raise CheckpointError(f"leaf {name!r} cannot be stored: a name may not hold '..', an empty part or a backslash")
    if isinstance(value, Constant):
        array = value.array
        return Leaf(name, array.dtype.name, array.shape, constant=f"{value.digest} {value.name}")
    if not isinstance(value, jax.Array | jax.ShapeDtypeStruct | np.ndarray | np.generic):
        raise CheckpointError(f"leaf {name!r} is {value!r}, a {type(value).__name__}: a state is made of arrays")
    key = None
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        key, value = _key_data(value)
    dtype = np.dtype(value.dtype).name
    if dtype not in DTYPES:
        raise CheckpointError(f"leaf {name!r} has dtype {dtype}, which cannot be stored: {', '.join(DTYPES)} can")
    return Leaf(name, dtype, tuple(map(int, value.shape)), key)


def _key_data(keys: Any) -> tuple[str, jax.ShapeDtypeStruct]:
    """The implementation of random keys and what their data look like, for shapes without arrays too."""
    implementation = []

    def data(keys: Any) -> jax.Array:
        implementation.append(str(jax.random.key_impl(keys)))
        return jax.random.key_data(keys)

    like = jax.eval_shape(data, keys)
    return implementation[0], like


def _harmless(name: str) -> bool:
    """Whether a name stays within the checkpoint, whatever reads it as a path."""
    parts = name.split("/")
    return parts[0] in ("state", "hosted") and not {"", ".", ".."} & set(parts) and not set("\\\0") & set(name)


def _arrays(
    state: PyTree[Any],
    hosted: Mapping[str, np.ndarray] | None,
    unchanged: Mapping[str, Sequence[str | None]] = MappingProxyType({}),
) -> tuple[tuple[Leaf, ...], list[np.ndarray]]:
    """Every leaf and its contiguous, little-endian NumPy array, empty for constants; on a CPU no copy is made."""
    outside = {f"hosted/{name}": array for name, array in sorted((hosted or {}).items())}
    leaves = (*described(state), *(_leaf(name, array) for name, array in outside.items()))
    seen = set[str]()
    for leaf in leaves:
        if leaf.name in seen:
            raise CheckpointError(f"two leaves are named {leaf.name!r}: give dictionaries keys without '/'")
        seen.add(leaf.name)
    stored = iter([*jax.tree.leaves(state), *outside.values()])
    values = [next(stored) if leaf.constant is None else np.zeros(0, np.uint8) for leaf in leaves]
    plain = [x if leaf.key is None else jax.random.key_data(x) for leaf, x in zip(leaves, values, strict=True)]
    arrays = [np.asarray(x, order="C") for x in jax.device_get(plain)]
    arrays = [a.astype(a.dtype.newbyteorder("<")) if a.dtype.byteorder == ">" else a for a in arrays]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        named = [
            tuple(threads.map(_piece_name, pieces, unchanged.get(leaf.name, [None] * len(pieces))))
            for leaf, pieces in zip(leaves, map(_pieces, arrays), strict=True)
        ]
    return tuple(dataclasses.replace(leaf, pieces=n) for leaf, n in zip(leaves, named, strict=True)), arrays


def _pieces(array: np.ndarray) -> list[np.ndarray]:
    """The bytes of an array that is too large to be written whole at each checkpoint."""
    raw = array.reshape(-1).view(np.uint8)
    return [raw[i : i + PIECE_BYTES] for i in range(0, len(raw), PIECE_BYTES)] if len(raw) > PIECE_BYTES else []


def _piece_name(piece: np.ndarray, known: str | None = None) -> str:
    return known if known is not None else hashlib.sha256(piece.data).hexdigest() if piece.any() else ""


def _digest(arrays: Iterable[tuple[Leaf, np.ndarray]]) -> str:
    total = hashlib.sha256()
    for leaf, array in arrays:
        _add(total, leaf, array)
    return total.hexdigest()


def _add(total: Any, leaf: Leaf, array: np.ndarray) -> None:
    total.update(json.dumps(dataclasses.astuple(leaf)).encode() + b"\n")
    if not leaf.pieces:
        total.update(array.reshape(-1).view(np.uint8))


def _restore(leaf: Leaf, array: np.ndarray, like: Any) -> Any:
    if isinstance(like, np.ndarray | np.generic):
        return array
    value = jnp.array(array, copy=True)
    if value.dtype != array.dtype:
        raise MismatchError(f"leaf {leaf.name!r} is {leaf}, which JAX holds only with jax_enable_x64")
    if leaf.key is not None:
        value = jax.random.wrap_key_data(value, impl=leaf.key)
    committed = getattr(like, "committed", True)
    return jax.device_put(value, like.sharding) if committed and like.sharding is not None else value


def _compare(path: Path, manifest: Manifest, expected: Iterable[Leaf], part: bool, advice: str) -> None:
    """Raise unless a checkpoint's state has exactly the expected leaves, or these among others."""
    wanted = {leaf.name: leaf for leaf in expected}
    saved = {leaf.name: leaf for leaf in manifest.leaves if leaf.name in wanted or not leaf.name.startswith("hosted/")}
    for name in (name for name in wanted if name not in saved):
        raise MismatchError(f"{path} has no leaf {name!r}, expected {wanted[name]}: {advice}")
    for name in () if part else (name for name in saved if name not in wanted):
        raise MismatchError(f"{path} has a leaf {name!r} of {saved[name]} that is not expected: {advice}")
    for name, leaf in wanted.items():
        before, now = saved[name].constant, leaf.constant
        if before and now and before != now:
            raise MismatchError(
                f"{path}: the constant {name!r} is not what it was: its source held {before[:12]}… when the checkpoint "
                f"was written, and {now[:12]}… now (SHA-256): put back what was there, or begin another run"
            )
        if saved[name] != leaf:
            raise MismatchError(f"{path}: leaf {name!r} is {saved[name]}, expected {leaf}: {advice}")


# Writing


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_synced(path: Path, text: str) -> None:
    """Write a text file and wait until it is on the disk."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _write(final: Path, manifest: Manifest, arrays: dict[str, np.ndarray]) -> None:
    """Write beside, sync, rename."""
    beside = final.parent / f".{final.name}{PARTIAL}"
    try:
        beside.mkdir()
        _write_pieces(beside, manifest, arrays)
        save_file({leaf.name: arrays[leaf.name] for leaf in manifest.leaves if leaf.whole}, beside / TENSORS)
        with open(beside / TENSORS, "rb") as file:
            os.fsync(file.fileno())
            whole = dataclasses.replace(
                manifest, sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=os.fstat(file.fileno()).st_size
            )
        write_synced(beside / MANIFEST, _text(whole))
        sync_folder(beside)
        put_in_place(beside, final)
    finally:
        _remove(beside)


def put_in_place(beside: Path, final: Path) -> None:
    """Give a folder its name, also where another has it: at any moment one of the two has, whole.

    Where a system cannot exchange names, for an instant none has.

    Args:
        beside: the folder; what had the name before lies there afterwards, or is gone.
        final: the name.
    """
    if not os.path.lexists(final):
        os.rename(beside, final)
    elif not _exchanged(beside, final):
        hidden = _retired(final)
        os.rename(final, hidden)
        os.rename(beside, final)
        _remove(hidden)
    sync_folder(final.parent)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two names could be exchanged at once, by Linux's `renameat2`."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE.
    return call is not None and call(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _write_pieces(beside: Path, manifest: Manifest, arrays: dict[str, np.ndarray]) -> None:
    """Link the pieces that another checkpoint has, write the others."""
    pieces = {
        name: piece
        for leaf in manifest.leaves
        for name, piece in zip(leaf.pieces, _pieces(arrays[leaf.name]) if leaf.pieces else (), strict=True)
        if name
    }
    if not pieces:
        return
    (beside / PIECES).mkdir()
    others = [beside.parent / str(step) / PIECES for step in steps(beside.parent.parent) if step != manifest.step]
    for name, piece in pieces.items():
        file = beside / PIECES / name
        if not any(_linked(other / name, file, piece.nbytes) for other in others):
            with open(file, "wb") as stream:
                stream.write(piece.data)
                stream.flush()
                os.fsync(stream.fileno())
    sync_folder(beside / PIECES)


def _linked(there: Path, file: Path, size: int) -> bool:
    """Whether a file of this size could be given another name."""
    try:
        if os.lstat(there).st_size != size:
            return False
        os.link(there, file, follow_symlinks=False)
    except OSError:
        return False
    return True


def _retired(path: Path) -> Path:
    """Where a checkpoint goes out of sight before it is deleted, so that a half-deleted one is never seen."""
    return path.parent / f".{path.name}-retired{PARTIAL}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _holds(path: Path, manifest: Manifest) -> bool:
    """Whether a whole checkpoint of the same arrays and facts is there already."""
    try:
        there = verify(path)
    except CheckpointError:
        return False
    return (there.digest, there.facts) == (manifest.digest, manifest.facts)


def _cannot_write(final: Path, manifest: Manifest, error: Exception) -> str:
    folder, step = final.parent.parent, manifest.step
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    before = [s for s in steps(folder) if s != step]
    stands = f"the last checkpoint, of step {before[0]}, stands" if before else "there is none before it"
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    return (
        f"the checkpoint of step {step} cannot be written to {folder}: {why} (it needs "
        f"{_needed(final, manifest) / 1e6:.1f} MB, {free / 1e6:.1f} MB are free); {stands}. Make room or make the "
        "folder writable, then resume"
    )


def _needed(final: Path, manifest: Manifest) -> int:
    """The bytes that have to be written: pieces that no other checkpoint has, and all else."""
    others = [final.parent / str(step) / PIECES for step in steps(final.parent.parent) if step != manifest.step]
    pieces = {
        piece: min(PIECE_BYTES, leaf.bytes - i * PIECE_BYTES)
        for leaf in manifest.leaves
        for i, piece in enumerate(leaf.pieces)
        if piece and not any((other / piece).exists() for other in others)
    }
    whole = sum(leaf.bytes for leaf in manifest.leaves if leaf.whole)
    return sum(pieces.values()) + whole + len(_text(manifest))


# Reading


def _text(manifest: Manifest) -> str:
    """The one text that a manifest has, its own checksum included."""
    content = {"format": FORMAT, "file": TENSORS, **dataclasses.asdict(manifest)}
    return _dump({**content, "checksum": hashlib.sha256(_dump(content).encode()).hexdigest()})


def _dump(content: Any) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _plain_file(path: Path, name: str) -> Path:
    """A regular file in a checkpoint; a link could lead anywhere, a pipe could wait for ever."""
    try:
        if stat.S_ISLNK(os.lstat(path).st_mode):
            raise CheckpointError(f"{path} is a link: a checkpoint is a folder of its own, copy it into place")
        mode = os.lstat(path / name).st_mode
    except OSError as error:
        raise CheckpointError(f"{path} is not a whole checkpoint: {name}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "not a file"
        raise CheckpointError(f"{path / name} is {kind}: expected a regular file, copy it into place")
    return path / name


def _refuse_pickle(file: Path, head: bytes) -> None:
    pickled = head[:1] == b"\x80" and head[1:2] <= b"\x05" and head[8:9] != b"{"
    if pickled or head.startswith((b"PK\x03\x04", b"\x93NUMPY")):
        raise CheckpointError(
            f"{file} is a pickle or an archive that can hold one: nothing is unpickled here, since a pickle runs "
            "the code in it; expected " + ("JSON" if file.name == MANIFEST else "safetensors")
        )


def read_manifest(path: Path) -> Manifest:
    """What a checkpoint says of itself; of its arrays nothing is read.

    Args:
        path: `<run>/checkpoints/<step>`.

    Raises:
        CheckpointError: when there is none, or it is damaged.
    """
    file = _plain_file(path, MANIFEST)
    try:
        with open(file, "rb") as stream:
            raw = stream.read(MOST_MANIFEST_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    _refuse_pickle(file, raw[:9])
    if len(raw) > MOST_MANIFEST_BYTES:
        raise CheckpointError(f"{file} is damaged: it has more than {MOST_MANIFEST_BYTES} bytes")
    try:
        content = json.loads(raw)
        manifest = _manifest(content)
        whole = raw == _text(manifest).encode()
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CheckpointError(f"{file} is damaged: {why}") from error
    if not whole:
        raise CheckpointError(f"{file} is damaged: it is not what its checksum says, so it was changed after writing")
    if path.name.isdigit() and int(path.name) != manifest.step:
        raise CheckpointError(f"{file} is of step {manifest.step}, expected {path.name} as its folder says")
    return manifest


def _manifest(content: Any) -> Manifest:
    """A manifest from JSON; `ValueError` says what is wrong with it."""
    kinds = {"step": int, "digest": str, "facts": dict, "sha256": str, "bytes": int, "leaves": list}
    _check_fields(content, {"format": int, "file": str, **kinds, "checksum": str}, "the manifest")
    if content["format"] != FORMAT:
        raise ValueError(f"it has format {content['format']}, expected {FORMAT}: another version of retorno wrote it")
    if content["file"] != TENSORS:
        raise ValueError(f"it names the file {content['file']!r}, expected {TENSORS!r} and nothing else")
    leaves = tuple(map(_leaf_record, content["leaves"]))
    return Manifest(**{name: content[name] for name in kinds if name != "leaves"}, leaves=leaves)


def _leaf_record(record: Any) -> Leaf:
    kinds = {"name": str, "dtype": str, "shape": list, "key": str | None, "pieces": list, "constant": str | None}
    _check_fields(record, kinds, "a leaf")
    name, shape, pieces = record["name"], tuple(record["shape"]), tuple(record["pieces"])
    if not _harmless(name):
        raise ValueError(f"it names a leaf {name!r}, expected a name below 'state' or 'hosted' without '..'")
    if record["dtype"] not in DTYPES:
        raise ValueError(f"leaf {name!r} has dtype {record['dtype']!r}, expected one of {', '.join(DTYPES)}")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"leaf {name!r} has shape {record['shape']}, expected sizes that are not negative")
    if not all(type(piece) is str and re.fullmatch("([0-9a-f]{64})?", piece) for piece in pieces):
        raise ValueError(f"leaf {name!r} has pieces that are not named by a SHA-256")
    leaf = Leaf(**record | {"shape": shape, "pieces": pieces})
    if leaf.pieces and len(leaf.pieces) != -(-leaf.bytes // PIECE_BYTES):
        raise ValueError(f"leaf {leaf.name!r} has {len(leaf.pieces)} pieces of {PIECE_BYTES} bytes, not {leaf.bytes}")
    return leaf


def _check_fields(record: Any, kinds: dict[str, Any], what: str) -> None:
    if type(record) is not dict or record.keys() != kinds.keys():
        given = sorted(map(str, record)) if type(record) is dict else type(record).__name__
        raise ValueError(f"{what} must have exactly the fields {', '.join(kinds)}, got {given}")
    for name, kind in kinds.items():
        if not isinstance(record[name], kind) or isinstance(record[name], bool):
            raise ValueError(f"field {name!r} of {what} is a {type(record[name]).__name__}")


def _read(
    path: Path, manifest: Manifest, into: Mapping[str, np.ndarray] = MappingProxyType({})
) -> Iterator[tuple[Leaf, np.ndarray]]:
    """Every array of a checkpoint, one at a time, in order; the digest is checked after the last."""
    file = _plain_file(path, TENSORS)
    try:
        with open(file, "rb") as stream:
            _refuse_pickle(file, stream.read(9))
            size = os.fstat(stream.fileno()).st_size
            if size != manifest.bytes:
                raise CheckpointError(f"{file} is damaged: it has {size} bytes, expected {manifest.bytes}")
            stream.seek(0)
            if hashlib.file_digest(stream, "sha256").hexdigest() != manifest.sha256:
                raise CheckpointError(f"{file} is damaged: its bytes are not those that were written (SHA-256 differs)")
        total = hashlib.sha256()
        with safe_open(file, framework="numpy") as tensors:
            if set(tensors.keys()) != {leaf.name for leaf in manifest.leaves if leaf.whole}:
                raise CheckpointError(f"{file} is damaged: its tensors are not the leaves that its manifest names")
            for leaf in manifest.leaves:
                room = into.get(leaf.name)
                if leaf.constant is not None:
                    array = np.zeros(0, np.uint8)
                else:
                    array = _read_pieces(path, leaf, room) if leaf.pieces else _read_tensor(file, tensors, leaf)
                if room is not None and not leaf.pieces:
                    room[...] = array
                _add(total, leaf, array)
                yield leaf, array
    except (OSError, SafetensorError, ValueError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if total.hexdigest() != manifest.digest:
        raise CheckpointError(f"{path} is damaged: the digest of its arrays is not that of its manifest")


def _read_tensor(file: Path, tensors: Any, leaf: Leaf) -> np.ndarray:
    tensor = tensors.get_slice(leaf.name)
    if (tensor.get_dtype(), tuple(tensor.get_shape())) != (DTYPES[leaf.dtype], leaf.shape):
        raise CheckpointError(f"{file} is damaged: leaf {leaf.name!r} is not {leaf}")
    return tensors.get_tensor(leaf.name)


def _read_pieces(path: Path, leaf: Leaf, room: np.ndarray | None) -> np.ndarray:
    """A large array from its pieces, each checked against its name; where there is no room for it, in memory."""
    array = np.zeros(leaf.shape, jnp.dtype(leaf.dtype)) if room is None else room
    for name, piece in zip(leaf.pieces, _pieces(array), strict=True):
        if not name:
            if piece.any():
                piece[:] = 0
            continue
        file = _plain_file(path, f"{PIECES}/{name}")
        with open(file, "rb") as stream:
            whole = os.fstat(stream.fileno()).st_size == stream.readinto(piece.data) == len(piece)
        if not whole or _piece_name(piece) != name:
            raise CheckpointError(f"{file} is damaged: its bytes are not those that were written (SHA-256 differs)")
    return array
