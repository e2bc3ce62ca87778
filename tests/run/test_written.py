"""What is said to be unchanged since a checkpoint: all that is, but what was stored; never what is not."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from retorno.algorithms import DQN
from retorno.environments.textbook.bit_flip import BitFlip
from retorno.environments.wrappers import TimeLimit
from retorno.networks import Table
from retorno.replay import Hindsight, OnDisk, Sparse, UniformReplay
from retorno.replay import on_disk as disk
from retorno.run import checkpoint, training
from retorno.run.checkpoint import read_manifest, verify
from retorno.run.resume import resume
from retorno.run.train import train
from retorno.run.training import Training
from retorno.run.written import _rewritten

WORLD = TimeLimit(BitFlip(3), 3)
PIECE = 64
METHOD = DQN(network=Table(), capacity=200, learning_starts=8, target_period=16, rollout=4)


@pytest.fixture(params=["memory", "disk"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    """DQN with hindsight, whose ring of some 200 rows is in pieces of 64 bytes."""
    monkeypatch.setattr(checkpoint, "PIECE_BYTES", PIECE)
    replay = OnDisk(str(tmp_path / "rows")) if request.param == "disk" else UniformReplay()
    hindsight = Hindsight(reward=Sparse(terminates=True), replay=replay)
    return train(replace(METHOD, replay=hindsight), WORLD, 600, folder=tmp_path / "run", every=600)


def live(run: Training, until: int) -> None:
    """Go on for so many steps."""
    run.pauses = (until,)
    next(report for report in run._advance_to_end() if report.step >= until)


def of_slots(run: Training) -> dict[int, list[np.ndarray]]:
    """Each slot's bytes, of everything that the ring holds of it."""
    ring = run.run.learner.replay.ring
    arrays = [*disk.on_disk(run.run).values(), *map(np.asarray, jax.tree.leaves((ring.steps, ring.action)))]
    return {slot: [x[slot].copy() for x in arrays if x.shape[:1] == (ring.slots,)] for slot in range(ring.slots)}


def test_what_is_told_unchanged_is_and_only_where_rows_were_stored_is_looked(fresh: Training, tmp_path: Path) -> None:
    """Also where the ring is overwritten, from its end to its beginning, and whole; and by a run that is gone on with,
    in which a piece that cannot be linked, since its file is gone, is written.
    """
    before = None
    with fresh:
        for until in (8, 40, 150, 190, 230, 560):
            live(fresh, until)
            rows, ring = of_slots(fresh), fresh.run.learner.replay.ring
            if before is not None:
                assert fresh.written is not None
                known = fresh.written.unchanged(fresh.run)
                asked = np.mean([piece is None for pieces in known.values() for piece in pieces])
                changed = {s for s in rows if any((a != b).any() for a, b in zip(rows[s], before[1][s], strict=True))}
                told = {slot for span in _rewritten(ring, before[0]) for slot in span}
                assert changed <= told and len(told) == min(int(ring.stored) - before[0] + 1, ring.slots)
                assert -0.02 < asked - len(told) / ring.slots < 0.2, "pieces at the edges hold other rows as well"
            saved = fresh.save()
            assert read_manifest(saved).digest == fresh.digest, "every byte is looked at for the latter"
            before = int(ring.stored), rows
    with resume(tmp_path / "run", world=WORLD) as again:
        assert again.written == fresh.written is not None
        live(again, 570)
        for file in (saved / "pieces").iterdir():
            file.unlink()
        assert verify(again.save()).digest == again.digest


def test_where_writing_is_slow_checkpoints_are_rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes a second is the last one for a hundred."""
    clock, saved = [0.0], []
    monkeypatch.setattr(training, "REPORT_SECONDS", 0.0)

    def tick() -> float:
        clock[0] += 1e-6
        return clock[0]

    monkeypatch.setattr(training.time, "perf_counter", tick)
    with train(METHOD, WORLD, 600, folder=tmp_path / "run", every=600) as run:

        def save() -> Path:
            clock[0] += 1.0
            saved.append(clock[0])
            return tmp_path

        monkeypatch.setattr(run, "save", save)
        for _ in run:
            clock[0] += 10.0
    between = np.diff(saved)[:-1]
    assert len(between) >= 3
    np.testing.assert_allclose([saved[0], *between], [61.0] + [111.0] * len(between), atol=0.01)
