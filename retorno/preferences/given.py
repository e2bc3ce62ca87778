"""Labels that were given before, as lines of JSON: `{"segments": [{"obs": …, "action": …}, …], "share": …}`.

`retorno labels export` writes such files, whoever the judge was, and `import` takes them; a run may begin with one.
Observations are nested lists, or the text of pictures (`written`).
A line may hold more than two segments, with "ranks" (0 the best, equal ones tie) or "ratings" (the more the better). A
run that asks about as many at a time learns from it as from its own; one that asks about fewer learns as much as all
choices of so many say: of two, all pairs. One that has clips rated, each by itself, learns from ratings that say of how
many levels they are ("of": 5), which may be of one segment. What is longer than a segment is cut into pieces, so that
ranked demonstrations teach a reward as in Brown, Goo, Nagarajan & Niekum 2019 ("Extrapolating beyond suboptimal
demonstrations", T-REX).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from retorno.core.errors import RetornoError
from retorno.preferences.segments import Compared
from retorno.preferences.written import as_rows

if TYPE_CHECKING:
    from retorno.labels import Taken

IMPORTED = "imported"
"""The labeller of records that name none."""
LEVELS = 5
"""From 1 to which a clip is rated, where nothing else is said (Likert 1932)."""


def taken(records: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[Taken]:
    """Records as labels that a database takes.

    Raises:
        RetornoError: when one is something else; it says where and what.

    Args:
        records: each with where it stands.
    """
    from retorno.labels import Taken

    for where, record in records:
        seconds = record.get("seconds")
        known = seconds if isinstance(seconds, int | float) else None
        who = str(record.get("labeller") or IMPORTED)
        asked, said = checked(record, where)
        yield Taken("segments", {"segments": asked}, who, said, known)


def checked(record: Mapping[str, Any], where: str) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:
    """The segments of a record, and what was said of them: "share", "ranks" or "ratings", which may be "of" levels.

    Raises:
        RetornoError: when it is something else; it says where and what.

    Args:
        record: a line of a file.
        where: that stands.

    >>> checked({"segments": [{"obs": [0, 1], "action": [1]}, {"obs": [1, 2], "action": [0]}], "share": 1}, "line 1")[1]
    {'share': 1.0}
    """
    segments: Any = record.get("segments")
    known = isinstance(segments, list) and bool(segments) and all(map(_is_segment, segments))
    several = known and len(segments) >= 2
    levels = record.get("of")
    for name in ("ranks", "ratings"):
        if (said := record.get(name)) is None:
            continue
        of_levels = name == "ratings" and levels is not None
        if not (
            (known if of_levels else several)
            and isinstance(said, list)
            and len(said) == len(segments)
            and all(map(_is_worth, said))
        ):
            raise RetornoError(
                f"{where} has {name} that are none: expected a number, or null, for each of two segments or more, each "
                'with obs and action; or ratings "of" so many levels'
            )
        if not of_levels:
            return segments, {name: said}
        if not (_is_whole(levels, 2) and all(x is None or (_is_whole(x, 1) and x <= levels) for x in said)):
            raise RetornoError(
                f"{where} has ratings {said} of {levels!r}: expected whole numbers from 1 to that many, two or more"
            )
        return segments, {name: said, "of": levels}
    if not (several and len(segments) == 2):
        raise RetornoError(f"{where} is no comparison: expected two segments, each with obs and action")
    share = record.get("share", "nothing")
    if share is not None and (not _is_worth(share) or not 0 <= share <= 1):
        raise RetornoError(
            f"{where} has the share {share!r}: expected 1 (the first is better), 0 (the second), .5 (alike) or null"
        )
    return segments, {"share": None if share is None else float(share)}


def _is_segment(each: Any) -> bool:
    return isinstance(each, Mapping) and {"obs", "action"} <= set(each)


def _is_worth(x: Any) -> bool:
    return x is None or (isinstance(x, int | float) and not isinstance(x, bool))


def _is_whole(x: Any, least: int) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and x >= least


def won(worth: Sequence[float]) -> list[float]:
    """Than how many of the others each is better, half of those that are alike; of what is NaN nothing is said.

    >>> won([3, 1, 1]), won([2, math.nan, 5])
    ([2.0, 0.5, 0.5], [0.0, nan, 1.0])
    """
    known = [x for x in worth if not math.isnan(x)]
    points = lambda x: sum((x > y) + (x == y) / 2 for y in known) - 0.5  # noqa: E731 (each is alike to itself)
    return [math.nan if math.isnan(x) else points(x) for x in worth]


def shares_of(said: Mapping[str, Any], which: Sequence[int]) -> list[float]:
    """How much of the preference goes to each of some segments, as judges say it (`Labelled.share`).

    Args:
        said: of all of them: "share", "ranks" or "ratings".
        which: of them; of one it is how good that is by itself, where it was rated so.

    >>> shares_of({"ranks": [2, 0, None, 1]}, range(4)), shares_of({"ratings": [7, 3, 3]}, [1, 2])
    ([0.0, 2.0, nan, 1.0], [0.5, 0.5])
    >>> shares_of({"ratings": [4], "of": 5}, [0])
    [0.7]
    """
    if len(which) == 1:
        rating = said["ratings"][which[0]] if "of" in said else None
        return [math.nan if rating is None else (rating - 0.5) / said["of"]]
    if "share" in said:
        first = math.nan if said["share"] is None else float(said["share"])
        both = [first, 1 - first]
        return [both[i] for i in which]
    name, better = ("ranks", -1) if "ranks" in said else ("ratings", 1)
    return won([math.nan if (x := said[name][i]) is None else better * float(x) for i in which])


def said_by(shares: Sequence[float], levels: int = LEVELS) -> dict[str, Any]:
    """What a label says of segments that were preferred so, as it is written.

    Args:
        shares: as judges say it.
        levels: from 1 to which one segment is rated.

    >>> said_by([0.5, 0.5]), said_by([0.0, 2.0, math.nan, 1.0]), said_by([0.7])
    ({'share': 0.5}, {'ranks': [2, 0, None, 1]}, {'ratings': [4], 'of': 5})
    """
    if len(shares) == 1:
        return {"ratings": [None if math.isnan(shares[0]) else math.ceil(shares[0] * levels) or 1], "of": levels}
    if len(shares) == 2:
        return {"share": shares[0]}
    tiers = sorted({x for x in shares if not math.isnan(x)}, reverse=True)
    return {"ranks": [None if math.isnan(x) else tiers.index(x) for x in shares]}


def lines(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The records of a file, each with where it stands.

    Raises:
        RetornoError: when it cannot be read.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            for number, line in enumerate(opened, start=1):
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise ValueError("expected an object")
                    yield f"{file}, line {number}", record
    except (OSError, ValueError) as error:
        raise RetornoError(f"{file} cannot be read as lines of JSON: {error}") from error


def _rows(held: Any, start: int, count: int) -> Any:
    """Some rows of observations or actions."""
    return jax.tree.map(lambda x: x[start : start + count], held)


def _choices(said: Mapping[str, Any], count: int, clips: int) -> Iterator[tuple[list[int], list[float]]]:
    """So many segments of a record, in all ways, and how much of the preference goes to each.

    Where fewer were judged, the first of them stands for those that lack, of which nothing is said. What tells none of
    them apart is left out, unless two are said to be alike: equal ranks say nothing of the two, equal ratings do.
    """
    if clips == 1:
        for i in range(count):
            share = shares_of(said, [i])
            if not math.isnan(share[0]):
                yield [i], share
        return
    known = [i for i, share in enumerate(shares_of(said, range(count))) if not math.isnan(share)]
    if len(known) < 2:
        return
    for some in itertools.combinations(known, min(clips, len(known))):
        shares, lacking = shares_of(said, some), clips - len(some)
        if len(set(shares)) > 1 or (clips == 2 and "ranks" not in said):
            yield [*some, *[some[0]] * lacking], [*shares, *[math.nan] * lacking]


def _pieces(steps: Sequence[int], length: int, shares: Sequence[float], seed: int) -> list[list[int]]:
    """Where pieces begin that segments are cut into, as many as the shortest one has in a row.

    Whole ones where they are no longer. That of a better one begins no earlier than those of worse ones: most
    demonstrations end better than they begin, and whoever comes later is then not worse for it (Brown et al. 2019,
    section 4.1).
    """
    drawn = np.random.default_rng(seed)
    judged = [i for i, share in enumerate(shares) if not math.isnan(share)]
    worst_first = sorted(judged, key=lambda i: shares[i])
    apart = len({shares[i] for i in judged}) > 1
    found = []
    for _ in range(min(steps) // length):
        begins = [int(drawn.integers(0, each - length + 1)) for each in steps]
        if apart:
            for i, begin in zip(worst_first, sorted(begins[i] for i in judged), strict=True):
                begins[i] = min(begin, steps[i] - length)
        found.append(begins)
    return found


def known_labels(
    file: Path, clips: int, length: int, observed: spaces.Space[Any], acted: spaces.Space[Any]
) -> tuple[Compared, np.ndarray]:
    """All labels of a file as arrays, and how much of the preference went to each segment; no others' rewards.

    What is longer than a segment is cut into pieces.

    Raises:
        RetornoError: when the file cannot be read, or its segments are shorter or of another world.

    Args:
        file: as `retorno labels export` writes it.
        clips: how many segments are compared at once.
        length: steps of a segment.
        observed: what is observed.
        acted: how the policy acts.
    """
    obs: list[Any] = []
    action: list[Any] = []
    found: list[list[float]] = []
    for where, record in lines(file):
        segments, said = checked(record, where)
        for some, shares in _choices(said, len(segments), clips):
            try:
                rows = [as_rows(segments[i]["obs"], observed) for i in some]
                acts = [as_rows(segments[i]["action"], acted) for i in some]
                steps = [{len(x) for x in jax.tree.leaves(each)} for each in (*acts, *rows)]
            except KeyError as error:
                raise RetornoError(f"{where} is not of this world: it has no {error}") from error
            except (ValueError, TypeError) as error:
                raise RetornoError(f"{where} is not of this world: {error}") from error
            lived = [max(each) for each in steps[:clips]]
            if steps != [*({n} for n in lived), *({n + 1} for n in lived)]:
                told = "; ".join(
                    f"{sorted(of_obs)} of {sorted(of_acts)}"
                    for of_acts, of_obs in zip(steps[:clips], steps[clips:], strict=True)
                )
                raise RetornoError(
                    f"{where} has as many observations and actions as {told}: a segment has an observation before each "
                    "action, and one after the last"
                )
            if min(lived) < length:
                raise RetornoError(
                    f"{where} has segments of {min(lived)} steps, and {length} are expected: see `segment`"
                )
            for start in _pieces(lived, length, shares, len(found)):
                for kept, part, more in ((obs, rows, 1), (action, acts, 0)):
                    cut = [_rows(each, at, length + more) for each, at in zip(part, start, strict=True)]
                    kept.append(jax.tree.map(lambda *x: np.stack(x), *cut))
                found.append(shares)
    if not found and clips == 1:
        raise RetornoError(f'{file} holds no ratings: expected lines with "ratings", each "of" so many levels')
    if not found:
        raise RetornoError(f"{file} holds no comparisons: clips that were rated one by one teach a run with clips=1")
    stacked = lambda of: jax.tree.map(lambda *x: np.stack(x), *of)  # noqa: E731
    unknown = jnp.zeros((len(found), clips, length))
    return Compared(stacked(obs), stacked(action), unknown), np.asarray(found, np.float32)
