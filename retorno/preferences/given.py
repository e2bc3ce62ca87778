"""Labels that were given before, as lines of JSON: `{"segments": [{"obs": …, "action": …}, …], "share": …}`.

`retorno labels export` writes such files, whoever the judge was, and `import` takes them; a run may begin with one.
A line may hold more than two segments, with "ranks" (0 the best, equal ones tie) or "ratings" (the more the better): it
says as much as all its pairs. What is longer than a segment is cut into pieces, so that ranked demonstrations teach a
reward as in Brown, Goo, Nagarajan & Niekum 2019 ("Extrapolating beyond suboptimal demonstrations", T-REX).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from retorno.core.errors import RetornoError
from retorno.preferences.segments import Pairs
from retorno.preferences.written import as_rows

if TYPE_CHECKING:
    from retorno.labels import Taken

IMPORTED = "imported"
"""The labeller of records that name none."""


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
        for asked, share in comparisons(record, where):
            yield Taken("segments", {"segments": asked}, who, {"share": share}, known)


def comparisons(record: Mapping[str, Any], where: str) -> list[tuple[list[Mapping[str, Any]], float | None]]:
    """What a record says of two segments each: which, and how much of the preference went to the first.

    Raises:
        RetornoError: when it is something else; it says where and what.

    Args:
        record: a line of a file.
        where: that stands.

    >>> a, b, c = ({"obs": [i, i + 1], "action": [1]} for i in range(3))
    >>> [share for _, share in comparisons({"segments": [a, b, c], "ranks": [1, 0, 1]}, "line 1")]
    [0.0, 1.0]
    >>> [share for _, share in comparisons({"segments": [a, b], "ratings": [4, 4]}, "line 2")]
    [0.5]
    """
    for name, better in (("ranks", -1), ("ratings", 1)):
        if (said := record.get(name)) is None:
            continue
        segments = record.get("segments")
        if not (
            isinstance(segments, list)
            and isinstance(said, list)
            and len(said) == len(segments) >= 2
            and all(_is_segment(each) for each in segments)
            and all(x is None or (isinstance(x, int | float) and not isinstance(x, bool)) for x in said)
        ):
            raise RetornoError(
                f"{where} has {name} that are none: expected a number, or null, for each of two segments or more, each "
                "with obs and action"
            )
        worth = [(segment, better * x) for segment, x in zip(segments, said, strict=True) if x is not None]
        pairs = [([a, b], (1.0 + (x > y) - (x < y)) / 2) for (a, x), (b, y) in itertools.combinations(worth, 2)]
        # Equal ranks say nothing of the two, equal ratings that both are alike.
        return [(both, share) for both, share in pairs if name == "ratings" or share != 0.5]
    return [checked(record, where)]


def _is_segment(each: Any) -> bool:
    return isinstance(each, Mapping) and {"obs", "action"} <= set(each)


def checked(record: Mapping[str, Any], where: str) -> tuple[list[Mapping[str, Any]], float | None]:
    """Both segments of a record, and how much of the preference went to the first.

    >>> checked({"segments": [{"obs": [0, 1], "action": [1]}, {"obs": [1, 2], "action": [0]}], "share": 1}, "line 1")[1]
    1.0
    """
    both, share = record.get("segments"), record.get("share", "nothing")
    if not (isinstance(both, list) and len(both) == 2 and all(_is_segment(each) for each in both)):
        raise RetornoError(f"{where} is no comparison: expected two segments, each with obs and action")
    if share is not None and (not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1):
        raise RetornoError(
            f"{where} has the share {share!r}: expected 1 (the first is better), 0 (the second), .5 (alike) or null"
        )
    return both, None if share is None else float(share)


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


def _pieces(steps: Sequence[int], length: int, share: float, seed: int) -> list[tuple[int, int]]:
    """Where pieces begin that two segments are cut into, as many as the shorter one has in a row.

    Whole ones where they are no longer. That of the better one begins no earlier than the other's: most demonstrations
    end better than they begin, and whoever comes later is then not worse for it (Brown et al. 2019, section 4.1).
    """
    drawn = np.random.default_rng(seed)
    found = []
    for _ in range(min(steps) // length):
        first, second = (int(drawn.integers(0, each - length + 1)) for each in steps)
        if (share > 0.5 and first < second) or (share < 0.5 and second < first):
            most = [each - length for each in steps]
            first, second = min(second, most[0]), min(first, most[1])
        found.append((first, second))
    return found


def pairs(file: Path, length: int, observed: spaces.Space[Any], acted: spaces.Space[Any]) -> tuple[Pairs, np.ndarray]:
    """All comparisons of a file as arrays, and how much of each preference went to the first; no others' rewards.

    What is longer than a segment is cut into pieces.

    Raises:
        RetornoError: when the file cannot be read, or its segments are shorter or of another world.

    Args:
        file: as `retorno labels export` writes it.
        length: steps of a segment.
        observed: what is observed.
        acted: how the policy acts.
    """
    obs: list[Any] = []
    action: list[Any] = []
    shares: list[float] = []
    for where, record in lines(file):
        for both, share in comparisons(record, where):
            if share is None:
                continue
            try:
                rows = [as_rows(each["obs"], observed) for each in both]
                acts = [as_rows(each["action"], acted) for each in both]
                steps = [{len(x) for x in jax.tree.leaves(each)} for each in (*acts, *rows)]
            except (ValueError, KeyError, TypeError) as error:
                raise RetornoError(f"{where} is not of this world: {error}") from error
            lived = [max(each) for each in steps[:2]]
            if steps != [{lived[0]}, {lived[1]}, {lived[0] + 1}, {lived[1] + 1}] or min(lived) < length:
                raise RetornoError(
                    f"{where} has segments of {min(lived)} steps, and {length} are expected: see `segment`"
                )
            for start in _pieces(lived, length, share, len(shares)):
                for kept, part, more in ((obs, rows, 1), (action, acts, 0)):
                    cut = [_rows(each, at, length + more) for each, at in zip(part, start, strict=True)]
                    kept.append(jax.tree.map(lambda *x: np.stack(x), *cut))
                shares.append(share)
    if not shares:
        raise RetornoError(f"{file} holds no comparisons")
    stacked = lambda of: jax.tree.map(lambda *x: np.stack(x), *of)  # noqa: E731
    unknown = jnp.zeros((len(shares), 2, length))
    return Pairs(stacked(obs), stacked(action), unknown), np.asarray(shares, np.float32)
