"""Labels that were given before, as lines of JSON: `{"segments": [{"obs": …, "action": …}, …], "share": …}`.

`retorno labels export` writes such files, whoever the judge was, and `import` takes them; a run may begin with one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
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
        asked, share = checked(record, where)
        seconds = record.get("seconds")
        known = seconds if isinstance(seconds, int | float) else None
        yield Taken("segments", {"segments": asked}, str(record.get("labeller") or IMPORTED), {"share": share}, known)


def checked(record: Mapping[str, Any], where: str) -> tuple[list[Mapping[str, Any]], float | None]:
    """Both segments of a record, and how much of the preference went to the first.

    >>> checked({"segments": [{"obs": [0, 1], "action": [1]}, {"obs": [1, 2], "action": [0]}], "share": 1}, "line 1")[1]
    1.0
    """
    both, share = record.get("segments"), record.get("share", "nothing")
    if not (
        isinstance(both, list)
        and len(both) == 2
        and all(isinstance(each, Mapping) and {"obs", "action"} <= set(each) for each in both)
    ):
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


def pairs(file: Path, length: int, observed: spaces.Space[Any], acted: spaces.Space[Any]) -> tuple[Pairs, np.ndarray]:
    """All comparisons of a file as arrays, and how much of each preference went to the first; no others' rewards.

    Raises:
        RetornoError: when the file cannot be read, or its segments are of another length or world.

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
        both, share = checked(record, where)
        if share is None:
            continue
        try:
            rows = [
                [as_rows(each[name], space) for each in both] for name, space in (("obs", observed), ("action", acted))
            ]
            count = {len(x) for each in rows[1] for x in jax.tree.leaves(each)}
            rows = [jax.tree.map(lambda *x: np.stack(x), *each) for each in rows]
            fits = jax.tree.leaves(rows[0])[0].shape[1] == length + 1
        except (ValueError, KeyError, TypeError) as error:
            raise RetornoError(f"{where} is not of this world: {error}") from error
        if count != {length} or not fits:
            raise RetornoError(f"{where} has segments of {max(count)} steps, and {length} are expected: see `segment`")
        obs.append(rows[0])
        action.append(rows[1])
        shares.append(share)
    if not shares:
        raise RetornoError(f"{file} holds no comparisons")
    stacked = lambda of: jax.tree.map(lambda *x: np.stack(x), *of)  # noqa: E731
    unknown = jnp.zeros((len(shares), 2, length))
    return Pairs(stacked(obs), stacked(action), unknown), np.asarray(shares, np.float32)
