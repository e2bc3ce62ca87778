"""The folder of a run: its settings, its figures as they come, and the lock of who is writing.

`config.json` says what runs, and what ran before a resume that changed it; `metrics.jsonl` grows by one JSON object
a line. One process at a time may have the folder open; the lock goes with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import math
import os
import warnings
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from retorno.core.errors import RetornoError
from retorno.core.names import as_typed
from retorno.run.checkpoint import CHECKPOINTS, sync_folder, write_synced

CONFIG, METRICS, LOCK, TENSORBOARD = "config.json", "metrics.jsonl", "lock", "tensorboard"
QUESTION = "study.json"
"""What a study's folder holds in its place."""
SEED = "seed-"
"""What the folders of several seeds' runs are called by, where each has its own."""


class FolderError(RetornoError):
    """A run's folder that cannot be used: the message says why and what to do."""


class RunFolder:
    """A run's folder, open for writing and locked: a context manager.

    `RunFolder.create` begins a run, `RunFolder.open` goes on with one. Both raise `FolderError`
    when another process has it open, and when the disk refuses. What this process opened before is closed by opening
    it anew: in a notebook the run that was interrupted is still there, and nobody will go on with it.
    """

    def __init__(self, path: Path, tensorboard: bool = False) -> None:
        self.path = Path(path)
        self._writer_class = _summary_writer() if tensorboard else None
        self._writer: Any = None
        self._purge: int | None = None
        self._metrics: io.FileIO | None = None
        self._lock = locked(self.path)
        self._opened = os.stat(self.path)
        # A run that nobody holds any more gives its folder free.
        weakref.finalize(self, self._lock.close)
        _opened[self.path.resolve()] = self

    @classmethod
    def create(cls, path: Path, config: Any, tensorboard: bool = False) -> RunFolder:
        """Make a new run's folder and write its settings.

        Args:
            path: where; folders above it are made.
            config: a JSON value.
            tensorboard: write figures for TensorBoard as well, in `tensorboard/`.

        Raises:
            FolderError: when a run is there already, in use or not, or nothing can be written.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise FolderError(f"{path} is there already and no folder: choose another one") from error
        except OSError as error:
            raise FolderError(f"{path} cannot be made: {error.strerror}; choose another folder") from error
        folder = cls(path, tensorboard)
        try:
            if found := [name for name in (CONFIG, METRICS, CHECKPOINTS) if (path / name).exists()]:
                raise FolderError(
                    f"{path} holds a run already ({found[0]}): go on with it by `retorno resume {as_typed(path)}`, or "
                    "choose another folder"
                )
            write_atomic(path / CONFIG, json.dumps(config, indent=2, allow_nan=False) + "\n")
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def open(cls, path: Path, tensorboard: bool = False) -> RunFolder:
        """Open the folder of a run that was begun before; its settings are in `config`.

        Figures for TensorBoard go on where there are some.

        Raises:
            FolderError: when there is no run, or another process has it open.
        """
        read_config(path)
        before = _opened.get(Path(path).resolve())
        if before is not None:
            before.close()
        begun = (Path(path) / TENSORBOARD).exists()
        if begun and not tensorboard:
            try:
                _summary_writer()
            except FolderError as error:
                warnings.warn(f"what TensorBoard shows of {path} ends here: {error}", stacklevel=2)
                begun = False
        return cls(path, tensorboard or begun)

    def require_open(self) -> None:
        """Refuse to write where another may be writing, or where the run's folder lies no more.

        Raises:
            FolderError: when it is closed, was opened anew, or was moved.
        """
        if self.closed:
            raise FolderError(
                f"{self.path} is closed to this run, or was opened anew since: go on with what `resume` gave"
            )

        if not self.in_place:
            raise FolderError(
                f"{self.path} was moved or removed while its run was under way: what came after its last checkpoint is "
                "lost. Where it lies now, go on with it by `retorno resume`"
            )

    @property
    def in_place(self) -> bool:
        """Whether the folder lies where it was opened."""
        try:
            return os.path.samestat(os.stat(self.path), self._opened)
        except OSError:
            return False

    @staticmethod
    def in_use(path: Path) -> bool:
        """Whether a process has the folder open: its run is under way."""
        try:
            with open(Path(path) / LOCK, encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    @property
    def config(self) -> Any:
        """The JSON value in `config.json`."""
        return read_config(self.path)

    def change(self, step: int, settings: Mapping[str, Any]) -> None:
        """Write down other settings from `step` on; what they were before is kept in `changes`.

        Raises:
            FolderError: when the disk refuses; the old ones stand.
        """
        self.require_open()
        config = self.config
        before = {name: config.get(name) for name, value in settings.items() if config.get(name) != value}
        if before:
            changes = [*config.get("changes", []), {"step": step, "before": before}]
            text = json.dumps({**config, **settings, "changes": changes}, indent=2, allow_nan=False)
            write_atomic(self.path / CONFIG, text + "\n")

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one line to `metrics.jsonl` and hand it to the system at once.

        Append what belongs to a step before its checkpoint is saved, so that a resumed run has it.

        Args:
            row: figures by name, with the environment `step` among them: numbers, strings, None,
                arrays and dictionaries of these. What is not finite is spelled as a string.

        Raises:
            FolderError: when the line cannot be written, or the folder is closed.
        """
        self.require_open()
        plain = _plain(row)
        if not isinstance(plain.get("step"), int):
            raise FolderError(f"a row of figures needs an integer 'step', got {plain.get('step')!r}")
        try:
            self._metrics = self._metrics or (self.path / METRICS).open("ab", buffering=0)
            line = json.dumps(plain, allow_nan=False).encode() + b"\n"
            while line:
                line = line[self._metrics.write(line) :]
        except OSError as error:
            raise FolderError(f"{self.path / METRICS} cannot be written: {error.strerror}") from error
        self._show(plain)

    def rewind(self, step: int) -> None:
        """Drop the rows after `step`, and a last line that was torn: what follows will be appended again.

        Raises:
            FolderError: when a line other than the last is not a row, or the file cannot be cut.
        """
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        self._purge = step + 1
        file = self.path / METRICS
        if not file.exists():
            return
        kept = 0
        for line, row in _rows(file):
            if row["step"] > step:
                break
            kept += len(line)
        try:
            os.truncate(file, kept)
        except OSError as error:
            raise FolderError(f"{file} cannot be cut back to step {step}: {error.strerror}") from error

    def close(self) -> None:
        """Close the files and give the folder free. Closing twice does nothing."""
        for file in (self._writer, self._metrics):
            if file is not None:
                file.close()
        self._writer = self._metrics = None
        self._lock.close()

    @property
    def closed(self) -> bool:
        """Whether it was given free."""
        return self._lock.closed

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _show(self, row: Mapping[str, Any]) -> None:
        """The same figures for TensorBoard; those that were written before it was asked for are its first."""
        if self._writer_class is None:
            return
        rows = [row]
        if self._writer is None:
            where = self.path / TENSORBOARD
            before = len([*where.iterdir()]) if where.exists() else 0
            rows = rows if before else read_metrics(self.path)
            # Two files of one second would else be one, and the first be lost.
            self._writer = self._writer_class(str(where), purge_step=self._purge, filename_suffix=f".{before}")
        for each in rows:
            for name, value in scalars(each):
                self._writer.add_scalar(name, value, int(each["step"]))
        self._writer.flush()


def scalars(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Every finite number of a row, by a name of its own: what lies inside another thing has its name before.

    Args:
        row: figures, lists and dictionaries of figures.
        before: what all names begin with.

    >>> [*scalars({"step": 5, "returns": [1.0], "lengths": [1.0, 3.0], "metrics": {"loss": 0.5}})]
    [('returns', 1.0), ('lengths/mean', 2.0), ('lengths/0', 1.0), ('lengths/1', 3.0), ('metrics/loss', 0.5)]
    """
    for name, value in row.items():
        match value:
            case Mapping():
                yield from scalars(value, f"{before}{name}/")
            case [one]:
                yield from scalars({name: one}, before)
            case list():
                numbers = [x for x in value if isinstance(x, int | float)]
                mean = {"mean": sum(numbers) / len(numbers)} if numbers else {}
                yield from scalars({**mean, **{str(i): x for i, x in enumerate(value)}}, f"{before}{name}/")
            case int() | float() if f"{before}{name}" != "step" and math.isfinite(value):
                yield f"{before}{name}", float(value)


def or_a_study(path: Path) -> str:
    """The end of a message about a folder that holds no run: what to do where it holds a study."""
    if not (Path(path) / QUESTION).exists():
        return ""
    return f"; it holds a study, which `retorno resume {as_typed(path)}` shows, and results.csv in it has every point"


def read_config(path: Path) -> Any:
    """The settings of a run, as a JSON value; the run may be under way.

    Raises:
        FolderError: when there are none, or they are not JSON.

    Args:
        path: of the run.
    """
    absent = lambda why: f"{path} is not the folder of a run: {CONFIG}: {why}{or_a_study(path)}"  # noqa: E731
    return _read_json(Path(path) / CONFIG, absent)


def read_question(file: Path, what: str) -> Any:
    """What is asked of a study or a search, as a JSON value.

    Raises:
        FolderError: when it is damaged, or there is none.

    Args:
        file: in its folder.
        what: it is: for messages.
    """
    return _read_json(file, lambda why: f"{file.parent} holds no {what}: {file.name}: {why}")


def _read_json(file: Path, absent: Callable[[str | None], str]) -> Any:
    """What a file holds, or a FolderError: `absent` says what it means, and why, that there is none."""
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise FolderError(absent(error.strerror)) from error
    except (ValueError, RecursionError) as error:
        raise FolderError(f"{file} is damaged: {error}") from error


def asked_before(place: Path, name: str, asked: Any) -> Path | None:
    """The folder in a place in which the same is asked, under way or over; None where there is none.

    What is damaged there is nobody's question.

    Args:
        place: whose folders are looked at.
        name: of the file that says what is asked.
        asked: as `read_question` reads it.
    """
    for file in sorted(place.glob(f"*/{name}")):
        with contextlib.suppress(FolderError):
            if read_question(file, "question") == asked:
                return file.parent
    return None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a run's figures in order; the run may be under way. No file is no rows.

    Raises:
        FolderError: when a line other than the last is not a row.

    Args:
        path: of the run.
    """
    file = Path(path) / METRICS
    return [_numbers(row) for _, row in _rows(file)] if file.exists() else []


def returns_at(path: Path) -> dict[int, float]:
    """What was scored on the way to each exact boundary of a run at which an episode had ended, by its step.

    It is the mean return of the episodes that ended since the boundary before; of several seeds the mean over them.
    Where the greedy policy was tested at boundaries, it is what those tests gave.
    Where a relabel says what is to be large, as one that scores answers for which their world pays nothing, it is the
    mean of that since then.

    Args:
        path: of the run.
    """
    scored: dict[int, float] = {}
    tested: dict[int, float] = {}
    total, updates, before = 0.0, 0, 0
    for row in read_metrics(path):
        if (paid := row.get("metrics", {}).get("relabel/objective")) is not None:
            total, updates = total + paid * (row["updates"] - before), updates + row["updates"] - before
            before = row["updates"]
        if (evaluation := row.get("evaluation") or {}).get("test"):
            tested[row["step"]] = evaluation["mean"]
        if "boundary" in row:
            score = total / updates if updates else row["boundary"]["return"]
            scored |= {} if score is None else {row["step"]: score}
            total, updates = 0.0, 0
    return tested or scored


def best_step(path: Path, among: Collection[int]) -> int | None:
    """The step with the highest return, as `returns_at` has it; of equal ones the earlier; None where none is known.

    Args:
        path: of the run.
        among: the steps to choose from.
    """
    scores = {step: score for step, score in returns_at(path).items() if step in among}
    return min(scores, key=lambda step: (-scores[step], step), default=None)


def write_atomic(path: Path, text: str) -> None:
    """Write a file so that at any moment it is the old one or the new one, whole.

    Raises:
        FolderError: when the disk refuses; the old one stands.

    Args:
        path: of the file.
        text: what is to be in it.

    >>> write_atomic(Path("note.txt"), "new")
    >>> Path("note.txt").read_text()
    'new'
    """
    beside = path.parent / f".{path.name}.partial"
    try:
        write_synced(beside, text)
        os.replace(beside, path)
        sync_folder(path.parent)
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # Where nothing can be written, nothing can be taken away.
            beside.unlink(missing_ok=True)


def _rows(file: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """Each line and its row. A last line without its end was torn by a crash: it is left out."""
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise FolderError(f"{file} cannot be read: {error.strerror}") from error
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise FolderError(f"{file}, line {number} is not a row of figures: mend or delete that line")
        rows.append((line, row))
    return rows


def _plain(value: Any) -> Any:
    """A JSON value; numbers that JSON cannot spell become 'nan', 'inf' and '-inf'."""
    if isinstance(value, Mapping):
        return {str(key): _plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def _numbers(value: Any) -> Any:
    """`_plain` undone for what it spelled."""
    if isinstance(value, dict):
        return {key: _numbers(x) for key, x in value.items()}
    if isinstance(value, list):
        return [_numbers(x) for x in value]
    return float(value) if value in ("nan", "inf", "-inf") else value


def _summary_writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise FolderError(
            "TensorBoard's files need tensorboardX: `pip install 'retorno[tensorboard]'`, or train without them"
        ) from error
    return SummaryWriter


_opened: weakref.WeakValueDictionary[Path, RunFolder] = weakref.WeakValueDictionary()
"""What this process has open, or had."""
_locks: weakref.WeakSet[IO[str]] = weakref.WeakSet()


def locked(path: Path) -> IO[str]:
    """The open lock file of a folder, held by this process until it is closed.

    Args:
        path: of the folder.

    Raises:
        FolderError: when another process holds it, or it cannot be written.
    """
    try:
        file = open(path / LOCK, "a+", encoding="utf-8")
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise FolderError(f"{path} is in use by {holder}: wait until it ends, or choose another folder") from error
    except OSError as error:
        file.close()
        raise FolderError(f"{path} cannot be locked: {error.strerror}; choose a folder on another disk") from error
    with contextlib.suppress(OSError):  # Who holds it is a courtesy, which a full disk may refuse.
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"process {os.getpid()} on {os.uname().nodename}\n".encode())
    _locks.add(file)
    return file


def _close_locks() -> None:
    for file in _locks:
        file.close()


# A lock is shared with forked children: one that outlives a killed run would keep its folder locked.
os.register_at_fork(after_in_child=_close_locks)
