"""Recorded runs, read to be shown: which of them are seeds of one thing, and what to call each thing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from retorno.core.names import without_folders
from retorno.plots.progress import Row, in_order
from retorno.plots.style import PlotError
from retorno.run.folder import RunFolder, read_config, read_metrics

VERSIONS = ("version", "versions", "code", "commit", "platform")
"""Settings by these names tell what ran, not how."""
OF_ONE_RUN = ("seeds", "every", "keep", "until", "devices")
"""Settings in which seeds of one thing may differ."""
LONGEST_NAME = 80
MOST_NAMED = 3
"""Settings that a label names; where more differ, the runs' folder is the better name."""


class Record(NamedTuple):
    """What a run's folder tells: its settings and its figures by rising step, none at first."""

    name: str
    config: Any
    rows: Sequence[Row]
    folder: Path
    under_way: bool = False
    failure: str = ""
    """Why it stopped, where that is known."""

    @property
    def seeds(self) -> list[int]:
        """Those that it trains."""
        told = self.config.get("seeds")
        return list(told) if isinstance(told, list) else []


class Group(NamedTuple):
    """Runs that are seeds of one thing, under a name that says in what it differs from others."""

    label: str
    records: Sequence[Record]
    flat: dict[str, str]
    """The first one's settings, as `flat_to_show` has them."""

    @property
    def settings(self) -> dict[str, str]:
        """Those that all have, flat; the seeds of all."""
        seeds = sorted(seed for record in self.records for seed in record.seeds)
        return {**self.flat, "seeds": told_seeds(seeds)} if seeds else self.flat

    @property
    def rows(self) -> list[Sequence[Row]]:
        """The figures of each run that has some."""
        return [record.rows for record in self.records if record.rows]

    @property
    def algorithm(self) -> str:
        """The algorithm's name."""
        return self.settings.get("algorithm", "")

    @property
    def world(self) -> str:
        """The world's name, short."""
        return world_of(self.settings)


def read(folder: str | Path, name: str | None = None) -> Record:
    """A run's record; the run may be under way, or have reported nothing yet.

    Args:
        folder: of the run.
        name: instead of the folder's own.

    Raises:
        FolderError: when this is not the folder of a run, or it is damaged.
    """
    folder = Path(folder)
    config, rows = read_config(folder), read_metrics(folder)
    if not isinstance(config, dict):
        config = {"settings": config}
    kept = in_order(rows) if any("returns" in row or row.get("evaluation") for row in rows) else []
    failure = str(rows[-1].get("failure", "")) if rows else ""
    return Record(name or folder.resolve().name, config, kept, folder, RunFolder.in_use(folder), failure)


def read_all(folders: Sequence[str | Path]) -> list[Record]:
    """The records of several runs, each under a name of its own.

    Args:
        folders: of the runs.

    Raises:
        PlotError: when there is none, or one is given twice.
        FolderError: when one is not the folder of a run, or it is damaged.
    """
    if not folders:
        raise PlotError("a report needs at least one run: give the folder of one, for instance runs/cartpole")
    if len({Path(folder).resolve() for folder in folders}) < len(folders):
        raise PlotError("a folder is given twice: give each run once")
    names = [Path(folder).resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    return [read(folder, name) for folder, name in zip(folders, names, strict=True)]


def grouped(records: Sequence[Record]) -> list[Group]:
    """The runs in groups that differ in their seeds alone; a seed that is there twice is another group.

    Args:
        records: in any order; groups stand in the order of their first runs.
    """
    found: list[list[Record]] = []
    for record in records:
        own = _identity(record.config)
        for group in found:
            seeds = {seed for each in group for seed in each.seeds}
            if record.seeds and _identity(group[0].config) == own and not seeds & set(record.seeds):
                group.append(record)
                break
        else:
            found.append([record])
    names = [_common_name(group) for group in found]
    flats = flat_to_show([group[0].config for group in found])
    return [Group(*each) for each in zip(_labels(flats, names), found, flats, strict=True)]


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
            case list() if path == "seeds" and all(type(item) is int for item in value):
                flat[path] = told_seeds(value)
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


def flat_to_show(configs: Sequence[Any]) -> list[dict[str, str]]:
    """Settings of several things, flat; files without the folders in which they lie here, but for what tells two apart.

    Args:
        configs: the settings of each.
    """
    whole, kept = _kinds(map(flatten, configs)), 1
    while _kinds(flats := [flatten(without_folders(config, kept)) for config in configs]) != whole:
        kept += 1
    return flats


def _kinds(flats: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """How many values each setting has among several things."""
    found: dict[str, set[str]] = {}
    for flat in flats:
        for name, value in flat.items():
            found.setdefault(name, set()).add(value)
    return {name: len(values) for name, values in found.items()}


def told_seeds(seeds: Sequence[int]) -> str:
    """Seeds as text, those in a row by their first and last.

    >>> told_seeds([0, 1, 2, 3]), told_seeds([3, 7]), told_seeds([])
    ('0 to 3', '3, 7', 'none')
    """
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds)) or "none"


def world_of(flat: Mapping[str, str]) -> str:
    """The world's name among flat settings, of a file without its folders, with what it was made with."""
    name = flat.get("world.name", flat.get("world", ""))
    if name == "none":
        return textwrap.shorten(flat.get("world.description", "a world made in Python"), LONGEST_NAME, placeholder=" …")
    name = Path(name).name if "/" in name else name
    made_with = [
        f"{key.split('.')[-1]} {x}" for key, x in flat.items() if key.startswith(("world.settings.", "world.wrap"))
    ]
    return f"{name} ({', '.join(made_with)})" if made_with else name


def differing(flats: Sequence[Mapping[str, str]]) -> list[str]:
    """Names of settings in which runs differ, in order.

    Args:
        flats: the settings of each, flat.
    """
    names = dict.fromkeys(name for flat in flats for name in flat)
    return [name for name in names if len({flat.get(name) for flat in flats}) > 1]


def of_one_run(name: str) -> bool:
    """Whether a setting, or what it is a field of, is one in which seeds of one thing may differ.

    >>> of_one_run("until.score"), of_one_run("algorithm.clip")
    (True, False)
    """
    return name.partition(".")[0] in OF_ONE_RUN


def _identity(config: Any) -> dict[str, str]:
    return {name: value for name, value in flatten(config).items() if not of_one_run(name)}


def common_folder(folders: Sequence[Path]) -> Path:
    """What stands for several runs on the command line: the folder that they are the seeds in, else the first.

    >>> common_folder([Path("runs/a/seed-0"), Path("runs/a/seed-1")]), common_folder([Path("runs/b")])
    (PosixPath('runs/a'), PosixPath('runs/b'))
    """
    parents = {folder.parent for folder in folders}
    seeds = all(folder.name.startswith("seed-") for folder in folders)
    return parents.pop() if seeds and len(folders) > 1 and len(parents) == 1 else folders[0]


def _common_name(group: Sequence[Record]) -> str:
    common = common_folder([record.folder for record in group])
    return group[0].name if common == group[0].folder else common.resolve().name


def _labels(flats: Sequence[Mapping[str, str]], names: Sequence[str]) -> list[str]:
    """What to call each: algorithm and world where these differ, and the few settings in which those alike do."""
    if len(flats) == 1:
        return list(names)
    heads = [(flat.get("algorithm", ""), world_of(flat)) for flat in flats]
    algorithms, worlds = (len(set(each)) > 1 for each in zip(*heads, strict=True))
    labels = []
    for i, (flat, (algorithm, world)) in enumerate(zip(flats, heads, strict=True)):
        alike = [other for other, head in zip(flats, heads, strict=True) if head == heads[i]]
        named = [name for name in differing(alike) if not of_one_run(name) and name not in VERSIONS and name in flat]
        parts = [f"{algorithm} on {world}"] if algorithms and worlds else [algorithm] * algorithms + [world] * worlds
        if len(named) <= MOST_NAMED:
            parts += [f"{_short(name, named)} {flat[name]}" for name in named]
        labels.append(", ".join(filter(None, parts)))
    versions = [f"version {flat['version']}" if "version" in flat else "" for flat in flats]
    for more in (versions, names) if len(set(versions)) > 1 else (names,):
        unclear = {label for label in labels if not label or labels.count(label) > 1}
        labels = [
            ", ".join(filter(None, [label, added])) if label in unclear else label
            for label, added in zip(labels, more, strict=True)
        ]
    return labels if len(set(labels)) == len(labels) else [f"{label} ({i})" for i, label in enumerate(labels, 1)]


def _short(name: str, others: Sequence[str]) -> str:
    """The last part of a dotted name, with the one before it where another setting ends alike."""
    parts = name.split(".")
    taken = 1
    while taken < len(parts) and sum(other.split(".")[-taken:] == parts[-taken:] for other in others) > 1:
        taken += 1
    return " ".join(parts[-taken:]).replace("_", " ")
