"""Rows on the disk: the same windows and the same runs as in memory, to the bit, whatever became of the files."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from test_ring import EXAMPLE, trajectory

from retorno.algorithms import DQN
from retorno.core.time_step import Trajectory
from retorno.environments.textbook.bit_flip import BitFlip
from retorno.environments.wrappers import TimeLimit
from retorno.networks import Table
from retorno.replay import DiskError, Hindsight, OnDisk, Replay, Sparse, UniformReplay, Window, on_disk, ring
from retorno.run.resume import resume
from retorno.run.train import train
from retorno.run.training import Training

WORLD = TimeLimit(BitFlip(3), 3)


def windows(config: OnDisk | UniformReplay) -> Window:
    """Of a ring that is overwritten several times, in one compiled program."""
    sizes = {"num_envs": 2, "capacity": 10, "rollout": 3, "length": 2, "context": 1}

    lived = [trajectory(3 * i, 3, 2)._replace(extras=()) for i in range(9)]

    def learn(replay: Replay, each: tuple[Trajectory, Array]) -> tuple[Replay, Window]:
        replay = replay.add(each[0])
        return replay, replay.sample(each[1], 8)

    @jax.jit
    def program(lived: Trajectory) -> Window:
        empty = config.over(ring(EXAMPLE, jnp.int32(0), **sizes))
        return jax.lax.scan(learn, empty, (lived, jax.random.split(jax.random.key(0), 9)))[1]

    return program(jax.tree.map(lambda *x: np.stack(x), *lived))


def test_windows_are_those_of_a_ring_in_memory(tmp_path: Path) -> None:
    jax.tree.map(np.testing.assert_array_equal, windows(OnDisk(str(tmp_path))), windows(UniformReplay()))
    assert [file.name for file in tmp_path.iterdir()] == ["obs.rows"]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    on_disk.release_all()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder is part of a program, so all runs here use one, one after another."""
    return tmp_path_factory.mktemp("disk")


def run(disk: Path | None, folder: Path | None = None, seed: int = 0, capacity: int = 64) -> Training:
    """DQN with hindsight, its rows on the disk or in memory."""
    replay = UniformReplay() if disk is None else OnDisk(str(disk))
    hindsight = Hindsight(reward=Sparse(terminates=True), replay=replay)
    algorithm = DQN(network=Table(), capacity=capacity, learning_starts=8, target_period=16, replay=hindsight)
    return train(algorithm, WORLD, 480, seed=seed, folder=folder, every=240)


def weights(training: Training) -> np.ndarray:
    return np.asarray(training.run.learner.network.tables["q"])


def test_a_run_is_that_of_a_ring_in_memory_and_survives_its_files(disk: Path, tmp_path: Path) -> None:
    """It is stopped, another run takes the files, and it is gone on with from its checkpoint."""
    with run(disk) as whole, run(None) as memory:
        whole.run_to_end()
        memory.run_to_end()
        digest = whole.digest
        np.testing.assert_array_equal(weights(whole), weights(memory))
    with run(disk, tmp_path / "run") as training:
        for report in training:
            if report.boundary:
                break
    with run(disk, seed=1) as thief:
        next(iter(thief))
    with resume(tmp_path / "run", world=WORLD) as training:
        assert training.step == report.step < 480
        training.run_to_end()
        assert weights(training).any() and training.digest == digest
    np.testing.assert_array_equal(weights(training), weights(memory))


def test_another_runs_rows_are_not_taken_for_ones_own(disk: Path) -> None:
    with run(disk) as first, run(disk, seed=1) as other:
        reports = iter(first)
        next(reports)
        next(iter(other))
        with pytest.raises(DiskError, match="give each run a folder of its own"):
            list(reports)


def test_a_closed_run_holds_no_file_and_leaves_another_its_own(disk: Path) -> None:
    with run(disk) as first:
        next(iter(first))
        assert len(on_disk._OPEN) == len(first.run.learner.replay.ring.steps.obs) == 3
        with run(disk, seed=1) as other:
            next(iter(other))
            first.close()
            assert len(on_disk._OPEN) == 3
            list(other)
    assert not on_disk._OPEN


def test_a_full_disk_is_told_and_what_was_saved_stands(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The rows' files grow until there is no room: one clear error, and the run goes on from its checkpoint."""
    with run(disk, capacity=400) as whole:
        whole.run_to_end()
        digest = whole.digest
    folder, allocate = tmp_path / "run", os.posix_fallocate

    def refuse_once_saved(file: int, start: int, size: int) -> None:
        if any((folder / "checkpoints").glob("[0-9]*")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(file, start, size)

    monkeypatch.setattr(on_disk, "ROOM", 1)
    monkeypatch.setattr(os, "posix_fallocate", refuse_once_saved)
    with (
        run(disk, folder, capacity=400) as training,
        pytest.raises(DiskError, match=r"No space left.*checkpoint stands"),
    ):
        training.run_to_end()
    assert not caplog.records, "JAX's own traceback"
    with pytest.raises(DiskError, match=r"cannot grow to .*\. The last good"):
        resume(folder, world=WORLD)
    monkeypatch.undo()
    with resume(folder, world=WORLD) as training:
        assert 240 <= training.step < 244, "a rollout ends behind the boundary"
        training.run_to_end()
        assert training.digest == digest


def test_what_does_not_fit_is_refused_before_it_is_allocated(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it takes, what there is, and the disk as the place for what is too much for the memory."""
    monkeypatch.setattr(on_disk, "available", lambda: 1_000)
    with pytest.raises(DiskError, match=r"takes .* kB of memory, and 1\.0 kB are free: .* bytes of that, on the disk"):
        run(None)
    monkeypatch.undo()
    usage = on_disk.shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(on_disk.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(DiskError, match=r"take up to 9.0 MB, and .* are free there: make room"):
        run(disk, capacity=1_000_000)


def test_several_seeds_in_one_folder_are_refused(tmp_path: Path) -> None:
    algorithm = DQN(network=Table(), capacity=64, replay=OnDisk(str(tmp_path)))
    with pytest.raises(DiskError, match="for one run on one device, not for 2 seeds"):
        train(algorithm, WORLD, 480, seed=range(2))
