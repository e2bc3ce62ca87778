"""A run's folder: one writer, rows that are never doubled, settings that are whole."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import retorno as rt
from retorno.run import folder
from retorno.run.folder import FolderError, RunFolder, read_config, read_metrics, write_atomic
from retorno.run.report import Report

CONFIG = {"algorithm": {"type": "PPO", "rate": 1e-3}, "name": "é"}


@pytest.fixture
def run(tmp_path: Path):
    with RunFolder.create(tmp_path / "deep" / "run", CONFIG) as made:
        yield made


def steps(path: Path) -> list[int]:
    return [row["step"] for row in read_metrics(path)]


def test_settings_come_back(run):
    assert run.config == read_config(run.path) == CONFIG
    assert sorted(entry.name for entry in run.path.iterdir()) == ["config.json", "lock"]


def test_a_row_is_on_the_disk_at_once(run):
    row = {"step": np.int64(3), "return": np.float32(0.5), "loss": jnp.array(2.0), "seeds": np.array([1.0, np.nan])}
    run.append({**row, "none": None, "worst": -np.inf, "parts": {"policy": float("nan")}, "note": "é"})
    assert (run.path / "metrics.jsonl").read_text() == (
        '{"step": 3, "return": 0.5, "loss": 2.0, "seeds": [1.0, "nan"], "none": null, "worst": "-inf", '
        '"parts": {"policy": "nan"}, "note": "\\u00e9"}\n'
    )
    (back,) = read_metrics(run.path)
    assert back["worst"] == -np.inf
    assert np.isnan([back["seeds"][1], back["parts"]["policy"]]).all()


def test_a_row_needs_its_step(run):
    for row in ({}, {"step": "3"}, {"step": 1.5}):
        with pytest.raises(FolderError, match="needs an integer 'step'"):
            run.append(row)
    assert steps(run.path) == []


@pytest.mark.parametrize(("back_to", "kept"), [(0, []), (9, []), (10, [10]), (25, [10, 20]), (99, [10, 20, 30])])
def test_rewinding_drops_later_rows(run, back_to, kept):
    for step in (10, 20, 30):
        run.append({"step": step})
    run.rewind(back_to)
    assert steps(run.path) == kept
    run.append({"step": 40})
    assert steps(run.path) == [*kept, 40]


@pytest.mark.parametrize("torn", range(1, len('{"step": 30}') + 1))
def test_a_torn_last_line_is_left_out(run, torn):
    for step in (10, 20):
        run.append({"step": step})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30}'[:torn])
    assert steps(run.path) == [10, 20]
    run.rewind(20)
    run.append({"step": 30})
    assert steps(run.path) == [10, 20, 30]


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"step": "x"}', "[" * 100_000])
def test_a_damaged_line_between_others_is_named(run, line):
    (run.path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    for read in (run.rewind, lambda step: read_metrics(run.path)):
        with pytest.raises(FolderError, match=r"metrics\.jsonl, line 2 is not a row"):
            read(5)


def test_a_run_is_never_begun_over_another(run):
    run.close()
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(FolderError, match=r"holds a run already .*retorno resume .* or choose another folder"):
        RunFolder.create(run.path, {})
    assert (run.path / "config.json").read_bytes() == before
    RunFolder.open(run.path).close()  # the refusal left no lock behind


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints"])
def test_what_a_run_left_is_a_run(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(FolderError, match=f"holds a run already \\({name}"):
        RunFolder.create(tmp_path, {})


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(FolderError, match=r"is not the folder of a run: config\.json: No such file"):
        RunFolder.open(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FolderError, match=r"config\.json is damaged"):
        RunFolder.open(tmp_path)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(FolderError, match="run is there already and no folder"):
        RunFolder.create(tmp_path / "run", {})


def test_a_second_opening_closes_the_first(run):
    with pytest.raises(FolderError, match=f"is in use by process {os.getpid()} on "):
        RunFolder.create(run.path, {})
    with RunFolder.open(run.path) as again:
        assert run.closed and not again.closed
        for write in (lambda: run.append({"step": 1}), lambda: run.change(1, {"steps": 2})):
            with pytest.raises(FolderError, match="was opened anew since: go on with what `resume` gave"):
                write()
        again.append({"step": 1})
    run.close()
    with pytest.raises(FolderError, match="is closed to this run"):
        again.append({"step": 2})
    RunFolder.open(run.path).close()


HOLD = """
import os, sys, time
from pathlib import Path
from retorno.run.folder import RunFolder
run = RunFolder.open(Path(sys.argv[1]))
if os.fork() == 0:
    print("open", flush=True)  # said by the child: it has let go of its copy of the lock by now
time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_lets_go(run):
    """Even while a forked child of the killed process (a worker of an environment, say) lives on."""
    run.close()
    holder = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLD, run.path],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(FolderError, match=f"in use by process {holder.pid} on .*: wait until it ends"):
            RunFolder.open(run.path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        os.killpg(holder.pid, 0)  # the child is there still
        RunFolder.open(run.path).close()
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()


def test_a_folder_that_was_moved_under_its_run_is_told_and_nothing_is_made_in_its_old_place(tmp_path):
    with rt.train("q_learning", "cliff", 400, every=100, folder=tmp_path / "run") as training:
        with pytest.raises(FolderError, match=r"run was moved or removed while its run was under way"):
            for told in training:
                if told.step >= 200 and (tmp_path / "run").exists():
                    os.rename(tmp_path / "run", tmp_path / "moved")
        (tmp_path / "run").mkdir()  # Another one of that name is not this run's.
        with pytest.raises(FolderError, match="was moved"):
            training.save()
    assert not [*(tmp_path / "run").iterdir()]
    with rt.resume(tmp_path / "moved") as training:
        assert training.step >= 100


def test_where_nothing_can_be_written_it_is_told(tmp_path, monkeypatch):
    """A disk that is read-only refuses to take away what is not there, too."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr("retorno.run.folder.write_synced", refuse)
    with pytest.raises(FolderError, match=r"page.html cannot be written: Read-only file system"):
        write_atomic(tmp_path / "page.html", "new")


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "config.json"
    write_atomic(file, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FolderError, match=r"config\.json cannot be written: No space left on device"):
            write_atomic(file, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.json"]
    assert file.read_text() == "old"


def test_a_disk_that_takes_no_more_rows(run):
    """The kernel's limit on file sizes stands for a full disk: the last row is torn, the others stand."""
    run.append({"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(FolderError, match=r"metrics\.jsonl cannot be written: File too large"):
            run.append({"step": 2, "return": 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert steps(run.path) == [1]
    run.rewind(1)
    run.append({"step": 2})
    assert steps(run.path) == [1, 2]


def test_a_run_whose_log_is_refused_saves_what_it_learnt(tmp_path, monkeypatch):
    """It goes on to the same bits; where nothing at all can be written, both are told."""
    whole = rt.train("q_learning", "student", 400)
    whole.run_to_end()
    training = rt.train("q_learning", "student", 400, folder=tmp_path / "run", every=400)
    log = tmp_path / "run" / "metrics.jsonl"
    log.mkdir()
    with pytest.raises(FolderError, match=r"metrics\.jsonl cannot be written: Is a directory; the checkpoint of step"):
        training.run_to_end()
    log.rmdir()
    with rt.resume(tmp_path / "run") as again, monkeypatch.context() as patch:
        assert again.step == training.step > 0
        log.mkdir()
        patch.setattr("os.rename", refused)
        with pytest.raises(FolderError, match=r"Is a directory; the checkpoint of .* Read-only .*step \d+, stands"):
            again.run_to_end()
    log.rmdir()
    with rt.resume(tmp_path / "run") as again:
        assert again.step == training.step
        again.run_to_end()
        assert again.digest == whole.digest


def refused(*paths):
    raise OSError(30, "Read-only file system")


def test_a_disk_that_takes_nothing_at_all(tmp_path):
    """Who holds a folder cannot even be noted: what could not be written is named, and a second try finds no run."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(FolderError, match=r"run/config\.json cannot be written: File too large"):
            RunFolder.create(tmp_path / "run", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    RunFolder.create(tmp_path / "run", {}).close()


def test_tensorboard_that_is_missing_is_said_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    RunFolder.create(tmp_path, {}).close()
    with pytest.raises(FolderError, match=r"pip install 'retorno\[tensorboard\]'"):
        RunFolder.open(tmp_path, tensorboard=True)
    RunFolder.open(tmp_path).close()


def test_tensorboard_gets_the_numbers(tmp_path, monkeypatch):
    """Against a stand-in, so that the figures given to TensorBoard are seen exactly."""
    seen: list[tuple] = []

    class Writer:
        def __init__(self, where: str, purge_step: int | None, filename_suffix: str) -> None:
            seen.append((Path(where).name, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            seen.append((name, value, step))

        def flush(self) -> None: ...

        def close(self) -> None:
            seen.append(("closed",))

    monkeypatch.setattr(folder, "_summary_writer", lambda: Writer)
    with RunFolder.create(tmp_path, {}, tensorboard=True) as run:
        run.rewind(4)
        run.append({"step": 5, "return": np.float32(1.5), "seeds": [1, 2], "note": "x", "none": None, "loss": np.nan})
    assert seen == [
        ("tensorboard", 5),
        *((name, value, 5) for name, value in (("return", 1.5), ("seeds/mean", 1.5), ("seeds/0", 1), ("seeds/1", 2))),
        ("closed",),
    ]


def test_tensorboard_reads_it(tmp_path):
    pytest.importorskip("tensorboardX")
    with RunFolder.create(tmp_path, {}) as run:
        run.append({"step": 1, "early": 0.5})
    told = {"returns": [1.5], "metrics": {"policy_loss": 0.5, "entropy": 0.6}}
    with RunFolder.open(tmp_path, tensorboard=True) as run:  # What was written before it was asked for is there too.
        run.append({"step": 5, **told})
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert all(name in events.read_bytes() for name in (b"early", b"returns", b"metrics/policy_loss", b"entropy"))
    with RunFolder.open(tmp_path) as run:  # It goes on through a resume without being asked for again.
        run.rewind(5)
        run.append({"step": 9, "evaluation": {"mean": 2.0, "ci95": [1.0, 3.0]}})
    rest = b"".join(file.read_bytes() for file in (tmp_path / "tensorboard").iterdir() if file != events)
    assert b"evaluation/mean" in rest and b"evaluation/ci95/1" in rest


def test_all_that_a_run_tells_is_told_to_tensorboard():
    """The rows that training writes, flattened: no number of them is left out."""
    row = Report(
        step=4, steps=8, updates=2, ended=np.array([1]), returns=np.array([1.0]), lengths=np.array([3.0]),
        rewards=np.array([0.5]), metrics={"td_error": 0.25}, seconds=1.0, rate=4.0, boundary=True,
    ).as_row()  # fmt: skip
    names = {name for name, _ in folder.scalars(row)}
    assert names == {
        "steps",
        "updates",
        "episodes",
        "ended",
        "returns",
        "lengths",
        "rewards",
        "metrics/td_error",
        "seconds",
        "rate",
    }


def test_rows_of_a_run_under_way_can_be_read(run):
    assert read_metrics(run.path) == []
    run.append({"step": 1})
    assert json.loads((run.path / "metrics.jsonl").read_text()) == {"step": 1}
    assert steps(run.path) == [1]
