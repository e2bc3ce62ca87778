"""The page of one or several runs: what came out, how they went there, and in which settings they differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from retorno.plots.curves import Row, in_order, learning_curve, metric_curves, return_curve
from retorno.plots.page import Picture, Section, Table, save_page
from retorno.plots.style import PlotError, number
from retorno.run.folder import read_config, read_metrics

VERSIONS = ("version", "versions", "code", "commit", "platform")
"""Settings by these names tell what ran, not how."""


class Record(NamedTuple):
    """What a run's folder tells: its settings and its figures by rising step."""

    name: str
    config: Any
    rows: Sequence[Row]


def read(folder: str | Path, name: str | None = None) -> Record:
    """A run's record; the run may be under way.

    Raises:
        FolderError: when this is not the folder of a run, or it is damaged.
        PlotError: when nothing has been recorded yet.
    """
    folder = Path(folder)
    config, rows = read_config(folder), read_metrics(folder)
    if not rows:
        raise PlotError(f"{folder} has no figures yet: its run has not reported; try again in a while")
    return Record(name or folder.resolve().name, config, in_order(rows))


def report(folders: Sequence[str | Path], path: str | Path) -> Path:
    """Write one HTML page about one or several runs.

    Args:
        folders: of the runs.
        path: of the page.

    Raises:
        PlotError: when no folder is given, or one has no figures yet.
        FolderError: when one is not the folder of a run, or the page cannot be written.
    """
    if not folders:
        raise PlotError("a report needs at least one run: give the folder of one, for instance runs/cartpole")
    names = [Path(folder).resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise PlotError("a folder is given twice: give each run once")
    records = [read(folder, name) for folder, name in zip(folders, names, strict=True)]
    title = records[0].name if len(records) == 1 else f"{len(records)} runs compared"
    return save_page(path, title, run_sections(records), subtitle=_subtitle(records))


def run_sections(records: Sequence[Record]) -> list[Section]:
    """The parts of a page about runs: results, learning curve, metrics, settings and versions."""
    sections = [Section("Results", tables=[_results(records)])]
    runs = {record.name: record.rows for record in records}
    if any(len(return_curve(rows).step) for rows in runs.values()):
        evaluated = any(row.get("evaluation") for rows in runs.values() for row in rows)
        caption = f"Returns of the training episodes, exploration included{'; dots are evaluations' * evaluated}"
        sections.append(Section("Learning", pictures=[Picture(learning_curve(runs), caption)]))
    else:
        sections.append(Section("Learning", "No episode has ended yet, so there is no return to draw."))
    if any(row.get("metrics") for rows in runs.values() for row in rows):
        caption = "The algorithm’s own metrics over environment steps, averaged over updates and seeds"
        sections.append(Section("Metrics", pictures=[Picture(metric_curves(runs), caption)]))
    return [*sections, *_settings(records)]


def flatten(config: Any) -> dict[str, str]:
    """Settings as text by dotted name; an object of type T under `a` is `a: T` and `a.field: …`."""
    flat: dict[str, str] = {}

    def visit(value: Any, path: str) -> None:
        match value:
            case {"type": kind, **fields}:
                flat[path or "type"] = str(kind)
                visit(fields, path)
            case {"enum": _, "name": str(member), **rest} if not rest:
                flat[path] = member
            case {"float": str(text), **rest} if not rest:
                flat[path] = text
            case {"list": list(items), **rest} if not rest:
                visit(items, path)
            case {"dict": dict(items), **rest} if not rest:
                visit(items, path)
            case dict():
                for key, inner in value.items():
                    visit(inner, f"{path}.{key}" if path else str(key))
            case list() if any(isinstance(item, dict | list) for item in value):
                for i, inner in enumerate(value):
                    visit(inner, f"{path}[{i}]")
            case list():
                flat[path] = ", ".join(map(str, value)) or "none"
            case None | bool():
                flat[path] = {None: "none", True: "yes", False: "no"}[value]
            case int() if "seed" not in path:
                flat[path] = f"{value:,}".replace("-", "−")
            case _:
                flat[path] = str(value)

    visit(config, "")
    return flat


def _results(records: Sequence[Record]) -> Table:
    measures = {
        "environment steps": _steps,
        "seeds": lambda rows: str(len(rows[-1]["returns"])),
        "return at the end": _final,
        "evaluation": _evaluation,
        "speed": _speed,
        "time": _time,
    }
    rows = [[name, *(measure(record.rows) for record in records)] for name, measure in measures.items()]
    head = ["", *(record.name for record in records)]
    return Table(head, [row for row in rows if any(cell != "–" for cell in row[1:])])


def _steps(rows: Sequence[Row]) -> str:
    step, steps = rows[-1]["step"], rows[-1].get("steps")
    return f"{step:,}" if steps is None or step >= steps else f"{step:,} of {steps:,}, unfinished"


def _final(rows: Sequence[Row]) -> str:
    curve = return_curve(rows)
    return _interval(curve.mean[-1], curve.low[-1], curve.high[-1]) if len(curve.step) else "no episode ended"


def _evaluation(rows: Sequence[Row]) -> str:
    for row in reversed(rows):
        if evaluation := row.get("evaluation"):
            low, high = (math.nan if x is None else x for x in evaluation["ci95"])
            over = f"{evaluation['episodes']:,} episodes"
            if evaluation.get("seeds", 1) > 1:
                over = f"{evaluation['seeds']} seeds × {over}"
            return f"{_interval(evaluation['mean'], low, high)}; {over}, at step {row['step']:,}"
    return "–"


def _interval(mean: float, low: float, high: float) -> str:
    if math.isnan(low):
        return number(mean)
    return f"{number(mean)}, 95% interval {number(low)} to {number(high)}"


def _speed(rows: Sequence[Row]) -> str:
    rates = [row["rate"] for row in rows if row.get("rate") is not None and math.isfinite(row["rate"])]
    return f"{number(float(np.median(rates)), 3)} steps a second (median)" if rates else "–"


def _time(rows: Sequence[Row]) -> str:
    """The clock begins again where a run was resumed."""
    clock = [0.0, *(row["seconds"] for row in rows if row.get("seconds") is not None)]
    spent = sum(now - before if now >= before else now for before, now in pairwise(clock))
    minutes, seconds = divmod(round(spent), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{number(spent, 2)} s"


def _settings(records: Sequence[Record]) -> list[Section]:
    flats = [flatten(record.config) for record in records]
    names = list(dict.fromkeys(name for flat in flats for name in flat))
    rows = {name: [name, *(flat.get(name, "–") for flat in flats)] for name in names}
    what_ran = [name for name in names if name.split(".")[0] in VERSIONS]
    how = [name for name in names if name not in what_ran]
    head = ["setting", *(record.name for record in records)]

    def table(chosen: Sequence[str]) -> Table:
        differing = {i for i, name in enumerate(chosen) if len(set(rows[name][1:])) > 1}
        return Table(head, [rows[name] for name in chosen], marked=differing)

    differing = [name for name in how if len(set(rows[name][1:])) > 1]
    equal = [name for name in how if name not in differing]
    sections = []
    if len(records) > 1:
        text = "" if differing else "The runs have equal settings."
        sections.append(Section("Settings that differ", text, tables=[table(differing)] if differing else []))
        sections.append(Section("Settings in common", tables=[table(equal)], folded=True))
    else:
        sections.append(Section("Settings", tables=[table(how)]))
    if what_ran:
        sections.append(Section("Versions", tables=[table(what_ran)]))
    return sections


def _subtitle(records: Sequence[Record]) -> str:
    """The algorithm and the world, where the settings name them."""
    flats = [flatten(record.config) for record in records]
    parts = []
    for name in ("algorithm", "world"):
        values = list(dict.fromkeys(flat.get(f"{name}.name", flat.get(name, "")) for flat in flats))
        parts.append(", ".join(filter(None, values)))
    return " on ".join(filter(None, parts))
