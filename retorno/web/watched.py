"""Runs below some folders, as they stand now: what has grown is read again, and nothing else."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retorno.core.errors import RetornoError
from retorno.run.folder import CONFIG, METRICS

if TYPE_CHECKING:  # Matplotlib is imported where runs are looked at.
    from retorno.plots.page import Table
    from retorno.plots.records import Record

RECENT = 120.0
"""Seconds for which a run that does not grow is still looked after: whether it is under way."""
WIDE = 9.5
"""Inches of a picture."""
SHOWN = {".gif": "image/gif", ".png": "image/png", ".mp4": "video/mp4", ".html": "text/html", ".svg": "image/svg+xml"}
"""Kinds of files of a run that are shown: films, pictures, reports."""
MOST_FILES = 24
ADDRESS = "-page"
"""What the name of a file in a run's folder ends with that holds the address of pages which are served just now."""
PAGE = re.compile(r"http://127\.0\.0\.1:(\d{1,5})/(rank|write|chat|compare|play)\?token=[\w-]+", re.ASCII)


@dataclass
class Watched:
    """The runs below some folders."""

    folders: Sequence[Path]
    _known: dict[Path, tuple[Any, Record | None]] = field(default_factory=dict, repr=False)
    _told: dict[Path, tuple[Record, dict[str, Any]]] = field(default_factory=dict, repr=False)
    _drawing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _scanning: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def records(self) -> dict[str, Record]:
        """All runs by what they are called here: their folders, from those that were given on. The newest first."""
        with self._scanning:
            found = {}
            for top in self.folders:
                for folder in runs_below(top):
                    if (record := self._read(folder)) is not None:
                        inside = folder.relative_to(top).as_posix()
                        name = inside if inside != "." else folder.resolve().name
                        found[name if name not in found else str(folder)] = record
        return dict(sorted(found.items(), key=lambda each: -_touched(each[1].folder)))

    def line(self, name: str, record: Record) -> dict[str, Any]:
        """A run as a line of a table; it is worked out once for each reading."""
        if (before := self._told.get(record.folder)) is None or before[0] is not record:
            before = self._told[record.folder] = record, summary(name, record)
        return {**before[1], "name": name}

    def _read(self, folder: Path) -> Record | None:
        """A run; None where it is damaged, or gone."""
        try:
            config, metrics = (folder / CONFIG).stat(), _stat(folder / METRICS)
        except OSError:
            return None
        looked_after = int(time.time() / 3) if time.time() - metrics[0] < RECENT else 0
        key = (config.st_mtime_ns, metrics, looked_after)
        if folder in self._known and self._known[folder][0] == key:
            return self._known[folder][1]
        from retorno.plots.records import read

        try:
            record = read(folder)
            summary("", record)
        except (RetornoError, ValueError, TypeError, LookupError, AttributeError):
            record = None  # JSON, but not what a run writes: the other runs are shown all the same.
        self._known[folder] = key, record
        return record

    def drawn(self, records: Sequence[Record], narrow: bool = False) -> tuple[list[str], Table | None]:
        """Curves of some runs as SVG, returns first, and the settings in which they differ.

        Args:
            records: seeds of one thing are one curve with its interval.
            narrow: for a phone.
        """
        from retorno.plots.curves import learning_curve, metric_curves
        from retorno.plots.page import Table
        from retorno.plots.records import differing, grouped, of_one_run
        from retorno.plots.style import NARROW, PlotError, inline_svg

        begun = [record for record in records if record.rows]
        if not begun:
            return [], None
        groups = grouped(begun)
        runs = {group.label: group.rows for group in groups}
        pictures = []
        with self._drawing:  # Matplotlib's settings are everybody's.
            for name, draw in (("returns", learning_curve), ("metrics", metric_curves)):
                try:
                    pictures.append(inline_svg(draw(runs, width=NARROW if narrow else WIDE), name))
                except PlotError:
                    continue
        if len(groups) == 1:
            return pictures, None
        flats = [group.settings for group in groups]
        apart = [name for name in differing(flats) if not of_one_run(name)]
        rows = [[name, *(flat.get(name, "–") for flat in flats)] for name in apart]
        return pictures, Table(["", *(group.label for group in groups)], rows) if rows else None


def _stat(file: Path) -> tuple[float, int]:
    """When a file was changed and how large it is; of none the beginning of time."""
    try:
        found = file.stat()
    except OSError:
        return 0.0, 0
    return found.st_mtime, found.st_size


def _touched(folder: Path) -> float:
    return max(_stat(folder / METRICS)[0], _stat(folder / CONFIG)[0])


def runs_below(top: Path) -> Iterator[Path]:
    """Folders of runs, this one or below it; what lies within a run is not looked at."""
    if (top / CONFIG).is_file():
        yield top
        return
    try:
        inside = sorted((each for each in os.scandir(top) if each.is_dir(follow_symlinks=False)), key=lambda x: x.name)
    except OSError:
        return
    for each in inside:
        yield from runs_below(Path(each.path))


def summary(name: str, record: Record) -> dict[str, Any]:
    """A run in a line: a dictionary of what a table shows."""
    from retorno.plots.records import flat_to_show, world_of

    (flat,), last = flat_to_show([record.config]), record.rows[-1] if record.rows else {}
    return {
        "name": name,
        "algorithm": flat.get("algorithm", ""),
        "world": world_of(flat),
        "step": last.get("step", 0),
        "share": _share(record),
        "state": "under_way" if record.under_way else "stopped" if unfinished(record) else "done",
        "return": _return(record),
        "rate": last.get("rate"),
    }


def _share(record: Record) -> float:
    """How much of the budget is lived, 1 at most."""
    last = record.rows[-1] if record.rows else {}
    steps = last.get("steps") or record.config.get("steps")
    return min(last.get("step", 0) / steps, 1.0) if isinstance(steps, int) and steps else 0.0


def unfinished(record: Record) -> bool:
    """Whether a run stopped before its end."""
    return not record.under_way and (bool(record.failure) or _share(record) < 1)


def _return(record: Record) -> float | None:
    """The mean return at the end of what was lived."""
    from retorno.plots.progress import return_curve
    from retorno.plots.style import PlotError

    rows = record.rows[-30:]
    if not rows:
        return None
    try:
        curve = return_curve([rows])
    except PlotError:
        return None
    return float(np.mean(curve.returns[-1])) if len(curve.x) else None


def told(value: float | None, digits: int = 4) -> str:
    """A number, or a dash where it is not known."""
    from retorno.plots.style import number

    return "–" if value is None else number(value, digits)


def files(folder: Path) -> list[str]:
    """Films, pictures and reports of a run, by their paths in it."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SHOWN and path.is_file()]
    return sorted(path.relative_to(folder).as_posix() for path in found)[:MOST_FILES]


def file_of(folder: Path, name: str) -> Path | None:
    """A file of a run that may be shown; None where it is none, or lies elsewhere."""
    path = (folder / name).resolve()
    inside = folder.resolve() in path.parents
    return path if inside and path.suffix.lower() in SHOWN and path.is_file() else None


def open_pages(folder: Path) -> dict[str, str]:
    """Pages about a run that are served just now: their addresses, by their names.

    Args:
        folder: the run's. What else is written there is no address.
    """
    found = {}
    for file in sorted(folder.glob(f"*{ADDRESS}")):
        try:
            written = PAGE.fullmatch(file.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError):
            continue
        if written is not None and _listens(int(written[1])):
            found[written[2]] = written[0]
    return found


def _listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine: who served the page may have been killed."""
    with socket.socket() as there:
        return port < 2**16 and there.connect_ex(("127.0.0.1", port)) == 0
