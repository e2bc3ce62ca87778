"""`retorno labels export|import|statistics WHERE`: what people said, as files, from files, and how far they agree."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.pages import LABELS, is_run, opened_labels
from retorno.cli.runs import settings_of
from retorno.cli.terminal import note, print_json
from retorno.core.errors import RetornoError

if TYPE_CHECKING:
    from retorno.labels import Labelled, Labels, Taken


@dataclass(frozen=True)
class LabelsCommand:
    """Write the labels of a database as JSONL that training reads, take such files into one, or count them."""

    do: Annotated[Literal["export", "import", "statistics"], tyro.conf.Positional]
    """What to do."""
    where: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE.db|URL")]
    """A run that people labelled for, or a database."""
    file: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")] = None
    """What is written or taken."""
    kind: Literal["rankings", "demonstrations", "segments"] | None = None
    """What is written; where it is not said, rankings, or segments where such were compared."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    given = parse(LabelsCommand, arguments, "retorno labels")
    path = Path(given.where).expanduser()
    if given.do != "statistics" and given.file is None:
        raise UsageError(f"retorno labels {given.do}: give the file, as rankings.jsonl")
    # People may have been asked before a run has learnt anything.
    own = path / LABELS if (path / LABELS).is_file() else path
    place: str | Path = given.where if "://" in given.where else place_of(path) if is_run(path) else own
    if given.do != "import" and isinstance(place, Path) and not place.exists():
        return _judged(path, given)
    # What cannot be read leaves no database behind.
    taken = _read(given.file) if given.do == "import" and given.file is not None else []
    labels = opened_labels(place)
    from retorno import labels as people
    from retorno.preferences.judges import QUERY

    if given.do == "export":
        assert given.file is not None
        kind = given.kind or ("segments" if labels.progress(QUERY, "").labels else "rankings")
        count = people.write_records(given.file, getattr(people, kind)(labels))
        note(f"{given.file}: {kind}, {count:,}")
    elif given.do == "import":
        labels.take(taken)
        counts = Counter(each.kind for each in taken)
        note(f"taken into {given.where}: {', '.join(f'{kind} {count:,}' for kind, count in counts.items())}")
    else:
        _count(labels, given.json)
    return 0


def place_of(run: Path) -> str | Path:
    """Where the labels of a run are: where it looks for them, or in its folder."""
    judge = (settings_of(run).get("relabel") or {}).get("judge") or {}
    if not judge.get("labels"):
        return run / LABELS
    from retorno.preferences.judges import labels_of

    said = labels_of(run, judge["labels"])
    return said if "://" in said else Path(said)


def _judged(run: Path, given: LabelsCommand) -> int:
    """Of a run whose judge was no person: the labels that it has learnt from.

    Raises:
        RetornoError: when there are none.
    """
    none = RetornoError(f"there are no labels in {given.where}: `retorno rank` and `retorno prefer` make them")
    if not is_run(run):
        raise none
    from retorno.labels import write_records
    from retorno.preferences.recorded import learnt_rewards, records

    rewards = learnt_rewards(run)
    if not rewards:
        raise none
    if given.do == "statistics":
        return _told_of_judge(rewards, given.json)
    assert given.file is not None
    judge = (settings_of(run)["relabel"] or {}).get("judge") or {}
    count = write_records(given.file, records(rewards, str(judge.get("type", "judge"))))
    note(f"{given.file}: segments, {count:,}")
    return 0


def _told_of_judge(rewards: list[Any], as_json: bool) -> int:
    """How many labels, and in how many pairs that were asked again the same was said."""
    held = [each.labelled for each in rewards]
    again = sum(int((each.again >= 0).sum()) for each in held)
    same = sum(float(each.consistency) * int((each.again >= 0).sum()) for each in held)
    count = sum(int(each.count) for each in held)
    told = {"labels": count, "asked_again": again, "same": same / again if again else None}
    if as_json:
        print_json(told)
    else:
        alike = f"; of {again:,} that were asked again {same / again:.2f} were answered alike" if again else ""
        print(f"{count:,} labels{alike}")
    return 0


def _read(file: Path) -> list[Taken]:
    """What a file holds: comparisons of segments, or what was said of texts."""
    from retorno.language import labelled
    from retorno.preferences import given

    if file.suffix == ".jsonl" and file.is_file() and "segments" in next((x for _, x in given.lines(file)), {}):
        return list(given.taken(given.lines(file)))
    return list(labelled.taken(file))


def _count(labels: Labels, as_json: bool) -> None:
    """Labels of each person, how long they took, and how far people agree with each other and with reward models."""
    from retorno.labels import between_labellers, with_scores

    said = list(labels.labelled())
    ranked = [one for one in said if "ranks" in one.label.content]
    by_person: dict[str, list[float | None]] = defaultdict(list)
    for one in said:
        by_person[one.label.labeller].append(one.label.seconds)
    compared = _compared(said)
    figures = [
        {
            "labeller": who,
            "labels": len(seconds),
            "seconds": statistics.median(known) if (known := [x for x in seconds if x is not None]) else None,
            "with_others": between_labellers(ranked, who).share,
            "with_scores": with_scores(ranked, who).share,
            **compared.get(who, {}),
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
    for who, told in compared.items():
        console.print(f"{who}: {_in_words(told)}")
    for what, agreement in (("people agree in", people), ("the reward model agrees in", model)):
        if agreement.share is not None:
            console.print(f"{what} {agreement.share:.2f} of {agreement.pairs:,} pairs")


def _compared(said: list[Labelled]) -> dict[str, dict[str, Any]]:
    """Of each person who judged segments: which side they chose, how they rated, whether they said the same twice."""
    from retorno.labels import shown_order
    from retorno.preferences.given import said_by, shares_of
    from retorno.preferences.habits import in_a_word
    from retorno.preferences.judges import QUERY

    found: dict[str, dict[str, Any]] = {}
    before: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in said:
        if one.query.kind != QUERY:
            continue
        who, segments = one.label.labeller, one.query.content["segments"]
        shares = shares_of(one.label.content, range(len(segments)))
        nothing = {"left": 0, "right": 0, "ordered": 0, "alike": 0, "cannot_tell": 0, "asked_again": 0, "same": 0}
        told = found.setdefault(who, {**nothing, "rated": {}})
        if len(segments) == 1 and not math.isnan(shares[0]):
            rating = one.label.content["ratings"][0]
            told["rated"][rating] = told["rated"].get(rating, 0) + 1
            continue
        word = in_a_word([shares[i] for i in shown_order(one.query.id, who, len(segments))], ("left", "right"))
        told[name if (name := word.replace(" ", "_")) in told else "ordered"] += 1
        asked = [json.dumps(each) for each in segments]
        turned = before[who].get(json.dumps(asked[::-1]))
        if turned is not None and word != "cannot tell":
            told["asked_again"] += 1
            told["same"] += turned == said_by(shares[::-1])
        before[who][json.dumps(asked)] = None if word == "cannot tell" else said_by(shares)
    return found


def _in_words(told: dict[str, Any]) -> str:
    sides = [name for name in ("left", "right", "ordered") if told[name] or not (name == "ordered" or told["ordered"])]
    rated = [f"rated {rating} {count:,}" for rating, count in sorted(told["rated"].items())]
    sides = [] if rated and not any(told[name] for name in (*sides, "alike")) else [*sides, "alike"]
    counts = ", ".join([*rated, *(f"{name.replace('_', ' ')} {told[name]:,}" for name in (*sides, "cannot_tell"))])
    again = f"; of {told['asked_again']:,} asked again the same said of {told['same']:,}" if told["asked_again"] else ""
    chosen = (told["left"], told["right"])
    from retorno.preferences.habits import SAME

    always = "; always the same side: are the clips looked at?" if min(chosen) == 0 and max(chosen) >= SAME else ""
    if len(rated) == 1 and max(told["rated"].values()) >= SAME:
        always += "; always the same rating: nothing is learnt from that"
    nothing = not rated and sum(chosen) + told["ordered"] + told["alike"] == 0 and told["cannot_tell"] >= SAME
    unclear = "; nothing is learnt from these: is it said what is wanted?" if nothing else ""
    return counts + again + always + unclear
