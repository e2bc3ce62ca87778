"""`retorno labels export|import|statistics WHERE`: what people said, as files, from files, and how far they agree."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.pages import LABELS, is_run, opened_labels
from retorno.cli.terminal import note, print_json
from retorno.core.errors import RetornoError

if TYPE_CHECKING:
    from retorno.labels import Labels


@dataclass(frozen=True)
class LabelsCommand:
    """Write the labels of a database as JSONL that training reads, take such files into one, or count them."""

    do: Annotated[Literal["export", "import", "statistics"], tyro.conf.Positional]
    """What to do."""
    where: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE.db|URL")]
    """A run that people labelled for, or a database."""
    file: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")] = None
    """What is written or taken."""
    kind: Literal["rankings", "demonstrations"] = "rankings"
    """What is written."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    given = parse(LabelsCommand, arguments, "retorno labels")
    path = Path(given.where).expanduser()
    place: str | Path = given.where if "://" in given.where else path / LABELS if is_run(path) else path
    if given.do != "import" and isinstance(place, Path) and not place.exists():
        raise RetornoError(f"there are no labels in {place}: `retorno rank` makes them")
    labels = opened_labels(place)
    from retorno import labels as people
    from retorno.language.labelled import take

    if given.do != "statistics" and given.file is None:
        raise UsageError(f"retorno labels {given.do}: give the file, as rankings.jsonl")
    if given.do == "export":
        assert given.file is not None
        count = people.write_records(given.file, getattr(people, given.kind)(labels))
        note(f"{given.file}: {given.kind}, {count:,}")
    elif given.do == "import":
        assert given.file is not None
        taken = take(labels, given.file)
        note(f"taken into {given.where}: {', '.join(f'{kind} {count:,}' for kind, count in taken.items())}")
    else:
        _count(labels, given.json)
    return 0


def _count(labels: Labels, as_json: bool) -> None:
    """Labels of each person, how long they took, and how far people agree with each other and with reward models."""
    from retorno.labels import between_labellers, with_scores

    said = list(labels.labelled())
    ranked = [one for one in said if "ranks" in one.label.content]
    by_person: dict[str, list[float | None]] = defaultdict(list)
    for one in said:
        by_person[one.label.labeller].append(one.label.seconds)
    figures = [
        {
            "labeller": who,
            "labels": len(seconds),
            "seconds": statistics.median(known) if (known := [x for x in seconds if x is not None]) else None,
            "with_others": between_labellers(ranked, who).share,
            "with_scores": with_scores(ranked, who).share,
        }
        for who, seconds in sorted(by_person.items())
    ]
    people, model = between_labellers(ranked), with_scores(ranked)
    if as_json:
        agreement = {"people": people._asdict(), "scores": model._asdict()}
        return print_json({"labels": len(said), "agreement": agreement, "labellers": figures})
    table = Table("labeller", "labels", "seconds", "agrees with others", "with reward model", box=None)
    for each in figures:
        shares = (each["with_others"], each["with_scores"])
        told = ["–" if share is None else f"{share:.2f}" for share in shares]
        table.add_row(each["labeller"], f"{each['labels']:,}", f"{each['seconds'] or 0:.1f}", *told)
    console = Console(highlight=False, markup=False)
    console.print(table)
    for what, agreement in (("people agree in", people), ("the reward model agrees in", model)):
        if agreement.share is not None:
            console.print(f"{what} {agreement.share:.2f} of {agreement.pairs:,} pairs")
