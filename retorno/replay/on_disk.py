"""Rows on the disk, for what does not fit memory: a ring whose observations lie in memory-mapped files.

All else of a ring stays where it is. Compiled programs call the host to write and to read observations, so JAX does not
keep them in its compilation cache, and each call costs some microseconds: it pays where observations are images. What
is on the disk is part of a run: a checkpoint has it in its own pieces, and the files themselves are but working space.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import math
import os
import shutil
import zlib
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import io_callback
from jaxtyping import Int, PyTree, Shaped, UInt32

from retorno.core.errors import RetornoError
from retorno.core.hyperparameters import hyperparameters
from retorno.core.memory import available, readable
from retorno.replay.ring import Replay, ReplayConfig, Ring, Rows
from retorno.replay.uniform import UniformReplay

ROOM = 2**26
"""Bytes by which a file grows at a time."""


class DiskError(RetornoError):
    """Rows on the disk that belong to another run, or that the disk has no room for."""


class DiskRows(Rows):
    """An array [C, B, …] in a file."""

    stamp: UInt32[Array, ""]
    """The checksum of all that was written, one after another; 0 of nothing. The file's own must agree."""
    file: str = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def put(self, slots: Int[Array, " T"], rows: Shaped[Array, "T B ..."]) -> DiskRows:
        like = jax.ShapeDtypeStruct((), jnp.uint32)
        stamp = io_callback(partial(_write, self.file, self.shape, self.dtype), like, self.stamp, slots, rows)
        return eqx.tree_at(lambda r: r.stamp, self, stamp)

    def __getitem__(self, place: tuple[Int[Array, "*N"], Int[Array, " N"]]) -> Shaped[Array, "*rest"]:
        slots, env = jnp.broadcast_arrays(*place)
        like = jax.ShapeDtypeStruct((*slots.shape, *self.shape[2:]), self.dtype)
        # Given the stamp of the last `put` it is read after that; the next `put` comes in another turn of a loop.
        return jax.pure_callback(partial(_read, self.file), like, self.stamp, slots, env, vmap_method="sequential")


class _Open(NamedTuple):
    rows: np.memmap
    lock: IO[bytes]
    """Held open: other processes keep out."""
    stamp: int
    room: int
    """Bytes, from the first on, that the disk has promised. To write others could kill the process."""

    def with_room(self, end: int) -> _Open:
        """The same with room for the bytes before `end`."""
        if end <= self.room:
            return self
        room = min(max(end, self.room + ROOM), self.rows.nbytes)
        try:
            os.posix_fallocate(self.lock.fileno(), self.room, room - self.room)
        except OSError as error:
            raise DiskError(
                f"{self.lock.name} cannot grow to {readable(room)}: {error.strerror}. The last good checkpoint stands: "
                "make room, or give the replay a smaller capacity, and go on with retorno resume"
            ) from error
        return self._replace(room=room)

    def close(self) -> None:
        """Let other runs have the file."""
        self.lock.close()


class _Told(logging.Filter):
    """JAX writes the traceback of a call to the host that fails: what is told as an error is told once."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], DiskError))


logging.getLogger("jax._src.callback").addFilter(_Told())

_OPEN: dict[str, _Open] = {}
_failed: list[DiskError] = []
"""What JAX hides in an error of its own, when a program's call to the host fails."""


def _begin(file: str, shape: tuple[int, ...], dtype: str) -> _Open:
    """A file of zeros, which take no room before they are written."""
    if file in _OPEN:
        _OPEN.pop(file).close()
    if not _OPEN:
        atexit.register(release_all)
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = open(path, "ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise DiskError(f"{path} is in use by another process: give each run a folder of its own") from error
    _OPEN[file] = _Open(np.memmap(path, np.dtype(dtype), "w+", shape=shape), lock, 0, 0)
    return _OPEN[file]


def _of(file: str, stamp: int) -> _Open:
    found = _OPEN.get(file)
    if found is None or found.stamp != stamp:
        raise DiskError(
            f"{file} does not hold the rows of this run but of another one, begun since: give each run a folder of "
            "its own"
        )
    return found


def _write(file: str, shape: tuple[int, ...], dtype: str, stamp: Array, slots: Array, rows: Array) -> np.ndarray:
    before, places = int(stamp), np.asarray(slots)
    try:
        held = _begin(file, shape, dtype) if before == 0 else _of(file, before)
        held = held.with_room((int(places.max()) + 1) * held.rows[0].nbytes)
    except DiskError as error:
        _failed[:] = [error]
        raise
    new = np.ascontiguousarray(rows)
    held.rows[places] = new
    _OPEN[file] = held._replace(stamp=zlib.crc32(new.view(np.uint8).data, before) or 1)
    return np.asarray(_OPEN[file].stamp, np.uint32)


def _read(file: str, stamp: Array, slots: Array, env: Array) -> np.ndarray:
    return np.asarray(_of(file, int(stamp)).rows[np.asarray(slots), np.asarray(env)])


def failure() -> DiskError | None:
    """Why a program's last call to the disk failed, where it did and that was not told yet."""
    return _failed.pop() if _failed else None


def on_disk(tree: PyTree[Any], whole: bool = False) -> dict[str, np.ndarray]:
    """What lies in the files of a run's rows, by the names of `named`.

    Args:
        tree: the run.
        whole: with room for all of them, so that they may be written to.

    Raises:
        DiskError: when they are not that run's any more, or the disk has no room.
    """

    def rows(x: DiskRows) -> np.ndarray:
        stamp = int(x.stamp)
        held = _of(x.file, stamp) if stamp else _begin(x.file, x.shape, x.dtype)
        if whole:
            held = _OPEN[x.file] = held.with_room(held.rows.nbytes)
        return held.rows

    return {name: rows(x) for name, x in named(tree).items()}


def named(tree: PyTree[Any]) -> dict[str, DiskRows]:
    """The arrays that a run has on the disk, by a name for each.

    Args:
        tree: the run, or its shapes.
    """
    return {f"replay/{i}": x for i, x in enumerate(_found(tree))}


def size(tree: PyTree[Any]) -> int:
    """The bytes of a run's rows on the disk once all of them are written.

    Args:
        tree: the run, or its shapes.
    """
    return sum(_bytes(x) for x in _found(tree))


def require_room(tree: PyTree[Any], in_memory: int) -> None:
    """Refuse a run that does not fit, before anything of it is allocated.

    Args:
        tree: its shapes.
        in_memory: the bytes of its arrays.

    Raises:
        DiskError: with what it takes, what is free, and where a replay's observations may lie instead.
    """
    free = available() if jax.default_backend() == "cpu" else None
    if free is not None and in_memory > free:
        rings = [x for x in jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Ring)) if isinstance(x, Ring)]
        seen = [x for ring in rings for x in jax.tree.leaves(ring.steps.obs) if not isinstance(x, Rows)]
        much = sum(math.prod(x.shape) * x.dtype.itemsize for x in seen)
        offer = f", or keep its observations, {readable(much)} of that, on the disk (--replay on_disk)" if much else ""
        smaller = "a smaller --capacity of its replay" if rings else "fewer environments or a smaller network"
        raise DiskError(
            f"this run takes {readable(in_memory)} of memory, and {readable(free)} are free: take {smaller}{offer}"
        )
    for folder in {Path(x.file).parent for x in _found(tree)}:
        rows = [x for x in _found(tree) if Path(x.file).parent == folder]
        place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        # What lies there of an earlier run is written over.
        there = sum(Path(x.file).stat().st_blocks * 512 for x in rows if Path(x.file).exists())
        wanted, free = sum(map(_bytes, rows)), shutil.disk_usage(place).free + there
        if wanted > free:
            raise DiskError(
                f"rows in {folder} take up to {readable(wanted)}, and {readable(free)} are free there: make room, name "
                "another --replay.folder, or give the replay a smaller --capacity"
            )


def _bytes(x: DiskRows) -> int:
    return math.prod(x.shape) * np.dtype(x.dtype).itemsize


def returned(tree: PyTree[Any]) -> None:
    """Say that what lies on the disk is now this run's: its arrays were read back from a checkpoint."""
    for x in _found(tree):
        _OPEN[x.file] = _OPEN[x.file]._replace(stamp=int(x.stamp))


def release(tree: PyTree[Any]) -> None:
    """Close the files of a run, where they are still its own."""
    for x in _found(tree):
        try:
            own = x.file in _OPEN and _OPEN[x.file].stamp == int(x.stamp)
        except RuntimeError:  # What failed in the middle of a program cannot be read any more.
            own = x.file in _OPEN
        if own:
            _OPEN.pop(x.file).close()


def release_all() -> None:
    """Close the files of all runs."""
    while _OPEN:
        _OPEN.popitem()[1].close()


def require_memory(tree: PyTree[Any], what: str) -> None:
    """Refuse rows on the disk for what works on several runs or devices at once.

    Raises:
        DiskError: when there are any.
    """
    if _found(tree):
        raise DiskError(f"rows on the disk are for one run on one device, not for {what}: train each seed by itself")


def _found(tree: PyTree[Any]) -> list[DiskRows]:
    leaves = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, DiskRows))
    return [x for x in leaves if isinstance(x, DiskRows)]


@hyperparameters
class OnDisk:
    """Observations on the disk instead of in memory: for one run and seed at a time."""

    folder: str = "rows"
    """Where their files are made anew: a run's working space, of no use after it. A fast disk with enough room."""
    replay: ReplayConfig = field(default_factory=UniformReplay)
    """Which windows are drawn."""

    def over(self, ring: Ring) -> Replay:
        """A replay over an empty ring whose observations lie on the disk."""

        def moved(path: Any, x: Array) -> DiskRows:
            name = jax.tree_util.keystr(path, simple=True, separator="-") or "obs"
            return DiskRows(jnp.uint32(0), str(Path(self.folder) / f"{name}.rows"), x.shape, x.dtype.name)

        obs = jax.tree_util.tree_map_with_path(moved, ring.steps.obs)
        return self.replay.over(eqx.tree_at(lambda r: r.steps, ring, ring.steps._replace(obs=obs)))
