"""Which pieces of a run's replays are what they were in its last checkpoint: all but those of the rows stored since.

To look through gigabytes at every checkpoint costs more than to write what is new of them. A ring grows at one place
and counts its rows, so that it is known where to look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from retorno.replay import Ring
from retorno.replay import on_disk as disk
from retorno.replay.on_disk import DiskRows
from retorno.run import checkpoint
from retorno.run.checkpoint import Manifest
from retorno.run.loop import Run


class Written(NamedTuple):
    """A checkpoint of a run that has gone on since."""

    pieces: Mapping[str, tuple[str, ...]]
    """The SHA-256 of each piece of a large array, by its leaf."""
    stored: Mapping[str, int]
    """How many rows the ring had stored that an array is of, by its leaf."""

    @classmethod
    def of(cls, manifest: Manifest, run: Run) -> Written:
        """What a checkpoint holds.

        Args:
            manifest: of the checkpoint.
            run: as it was written, or read.
        """
        pieces = {leaf.name: leaf.pieces for leaf in manifest.leaves if leaf.pieces}
        return cls(pieces, {name: int(ring.stored) for name, _, ring in _arrays(run) if name in pieces})

    def unchanged(self, run: Run) -> dict[str, list[str | None]]:
        """The SHA-256 of the pieces that no row was stored in since, and None for the others, by leaf.

        Args:
            run: the same one, as it is now.
        """
        found: dict[str, list[str | None]] = {}
        for name, row_bytes, ring in _arrays(run):
            if name not in self.stored:
                continue
            pieces = found[name] = [*self.pieces[name]]
            for slots in _rewritten(ring, self.stored[name]):
                first = slots.start * row_bytes // checkpoint.PIECE_BYTES
                beyond = -(-slots.stop * row_bytes // checkpoint.PIECE_BYTES)
                pieces[first:beyond] = [None] * (beyond - first)
        return found


def _rewritten(ring: Ring, stored: int) -> list[range]:
    """The slots that are other than when so many rows were stored: from the row on that was the newest then."""
    count = min((int(ring.stored) - stored) % 2**32 + 1, ring.slots)
    first = (int(ring.newest) + 1 - count) % ring.slots
    beyond = max(first + count - ring.slots, 0)
    return [slots for slots in (range(first, first + count - beyond), range(beyond)) if slots]


def _arrays(run: Run) -> Iterator[tuple[str, int, Ring]]:
    """Every array of a learner's rings: its leaf, the bytes of a slot, its ring. A relabel may be exchanged at will.

    Several seeds' rings do not keep step with each other: they are looked through whole.
    """
    files = {rows.file: name for name, rows in disk.named(run).items()}
    is_ring, is_rows = (lambda x, kind=kind: isinstance(x, kind) for kind in (Ring, DiskRows))
    for above, ring in jax.tree_util.tree_leaves_with_path(run._replace(relabel=None), is_leaf=is_ring):
        if not isinstance(ring, Ring) or np.ndim(ring.stored):
            continue
        for below, x in jax.tree_util.tree_leaves_with_path(ring, is_leaf=is_rows):
            if isinstance(x, DiskRows):
                name = f"hosted/{files[x.file]}"
            else:
                name = f"state/{jax.tree_util.keystr((*above, *below), simple=True, separator='/')}"
            if x.shape[:1] == (ring.slots,):
                yield name, math.prod(x.shape[1:]) * np.dtype(x.dtype).itemsize, ring
