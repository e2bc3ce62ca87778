"""How runs went, in numbers: the return with its interval over seeds, and metrics, over steps or something else.

A run is the rows of its `metrics.jsonl`: `step`, `returns` and `ended` (one per seed; null where no episode ended),
`metrics`, and now and then an `evaluation`. Runs that are seeds of one thing are drawn as one mean with its band.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int

from retorno.ops.intervals import interval95
from retorno.plots.style import PlotError

Row = Mapping[str, Any]
Rows = Sequence[Row]
"""The rows of one run."""
Runs = Mapping[str, Sequence[Rows]]
"""By name, the runs that are seeds of one thing."""
Over = Literal["steps", "episodes", "seconds", "updates"]
"""What a curve stands over."""
LABELS: dict[Over, str] = {
    "steps": "environment steps",
    "episodes": "episodes of each seed",
    "seconds": "seconds",
    "updates": "updates",
}

POINTS = 100
"""A curve has at most so many points: each is a mean over one of so many equal spans."""
LAST = 10
"""Points that are averaged for the return at the end."""


class Curve(NamedTuple):
    """The return over K points of runs that are seeds of one thing: its mean and the mean's 95% interval."""

    x: Float[np.ndarray, " K"]
    returns: Float[np.ndarray, "K S"]
    """Of each seed."""
    low: Float[np.ndarray, " K"]
    """NaN with one seed, as is `high`."""
    high: Float[np.ndarray, " K"]

    @property
    def mean(self) -> Float[np.ndarray, " K"]:
        """Over seeds."""
        return self.returns.mean(1)

    @property
    def seeds(self) -> int:
        """In which an episode ended."""
        return self.returns.shape[1]


def return_curve(runs: Sequence[Rows], over: Over = "steps", most: float = math.inf) -> Curve:
    """The return of runs that are seeds of one thing, with Student's t interval over seeds.

    Each point is the mean over the episodes that ended in one of 100 equal spans of the axis, at most. A seed in which
    none did keeps the return that it had. The curve begins where every seed has one, and goes as far as every run does;
    seeds in which no episode ever ends are left out. It is empty where none did.

    Args:
        runs: the rows of each run, which may itself have several seeds.
        over: the axis.
        most: what no mean is above, and so no interval.

    Raises:
        PlotError: when a run has no rows, or its rows tell of different numbers of seeds.
    """
    ordered = [in_order(rows) for rows in runs]
    for rows in ordered:
        if len({len(row["returns"]) for row in rows}) != 1:
            raise PlotError("the rows of one run need one return per seed each: they are not of one run")
    limit = _limit(ordered, over)
    found = [_spans(_places(rows, over), *_returns(rows), limit) for rows in ordered]
    x = np.array([at for at, _ in found])
    returns = np.concatenate([_kept(at, values) for at, values in found], axis=1)
    returns = returns[:, np.isfinite(returns).any(0)]
    known = np.isfinite(returns).all(1) & np.isfinite(x).any(0)
    if not known.any() or not returns.shape[1]:
        return Curve(np.empty(0), np.empty((0, 0)), np.empty(0), np.empty(0))
    returns = returns[known]
    low, high = np.array([interval95(seeds) for seeds in returns]).T
    return Curve(np.nanmax(x[:, known], axis=0), returns, low, np.fmax(np.minimum(high, most), returns.mean(1)))


def by_steps(runs: Sequence[Rows]) -> list[list[Row]]:
    """The rows of runs, with the mean reward of a step in the place of the return: of worlds that never end.

    Args:
        runs: the rows of each run.

    >>> by_steps([[{"step": 8, "returns": [None], "rewards": [0.5]}]])
    [[{'step': 8, 'returns': [0.5], 'rewards': [0.5], 'ended': [8]}]]
    """
    found = []
    for rows in map(in_order, runs):
        steps = np.diff([row["step"] for row in rows], prepend=0).tolist()
        none = [None] * len(rows[0]["returns"])
        found.append(
            [
                {**row, "returns": row.get("rewards", none), "ended": [lived] * len(none)}
                for row, lived in zip(rows, steps, strict=True)
            ]
        )
    return found


def final_returns(curve: Curve) -> Float[np.ndarray, " S"]:
    """The return of each seed at the end: the mean of its last ten points.

    Args:
        curve: with one point or more.
    """
    return curve.returns[-LAST:].mean(0)


def in_order(rows: Rows) -> list[Row]:
    """The reports among a run's rows by rising step, an evaluation joined to the one before it.

    Where a resumed run went over steps again, the later rows count.

    Args:
        rows: as they were written.

    Raises:
        PlotError: when there are none.
    """
    kept: list[Row] = []
    for row in rows:
        if "returns" in row:
            while kept and kept[-1]["step"] >= row["step"]:
                kept.pop()
            kept.append(row)
        elif evaluation := row.get("evaluation"):
            nothing = {"step": row["step"], "returns": [None] * evaluation.get("seeds", 1)}
            kept = [*kept[:-1], {**(kept[-1] if kept else nothing), "evaluation": evaluation}]
    if not kept:
        raise PlotError("the run has no rows yet: train it for a while first")
    return kept


def spent_seconds(rows: Rows) -> Float[np.ndarray, " R"]:
    """The seconds that each row was written after, over all stretches: the clock begins again with each resume.

    Args:
        rows: R, in order.
    """
    clock = [row.get("seconds") or 0.0 for row in rows]
    return np.cumsum(
        [now - before if now >= before else now for before, now in zip([0.0, *clock], clock, strict=False)]
    )


def _places(rows: Rows, over: Over) -> Float[np.ndarray, " R"]:
    """Where rows stand on an axis."""
    match over:
        case "steps":
            return np.array([row["step"] for row in rows], float)
        case "updates":
            return np.array([row.get("updates", 0) for row in rows], float)
        case "episodes":
            return np.cumsum([row.get("episodes", 0) / max(len(row["returns"]), 1) for row in rows])
        case "seconds":
            return spent_seconds(rows)
    raise PlotError(f"a curve stands over {', '.join(get_args(Over))}, got {over!r}")


def _limit(runs: Sequence[Rows], over: Over) -> float:
    """The end of the axis: the budget, where it is known."""
    reached = max(float(_places(rows, over)[-1]) for rows in runs)
    budget = max(rows[-1].get("steps") or 0 for rows in runs) if over == "steps" else 0.0
    return max(reached, float(budget)) or 1.0


def _returns(rows: Rows) -> tuple[Float[np.ndarray, "R S"], Float[np.ndarray, "R S"]]:
    """The mean returns of each row, and over how many episodes; where that is not told they count alike."""
    returns = _finite([row["returns"] for row in rows])
    ended = np.array([row.get("ended", [1] * returns.shape[1]) for row in rows], float)
    return returns, ended


def _finite(values: Sequence[Any]) -> Float[np.ndarray, "..."]:  # noqa: UP037
    """Numbers, and NaN for whatever is not finite or not there."""
    found = np.array(values, float)  # None becomes NaN.
    found[~np.isfinite(found)] = np.nan
    return found


def _spans(
    x: Float[np.ndarray, " R"], values: Float[np.ndarray, "R N"], weights: Float[np.ndarray, "R N"], limit: float
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "K N"]]:
    """Where the last row of each of `POINTS` equal spans stands, and weighted means over each; NaN without one."""
    span = np.clip(np.ceil(x * POINTS / limit - 1e-9).astype(int), 1, POINTS) - 1
    weights = np.where(np.isfinite(values), weights, 0.0)
    sums, total = np.zeros((POINTS, values.shape[1])), np.zeros((POINTS, values.shape[1]))
    np.add.at(sums, span, np.nan_to_num(values) * weights)
    np.add.at(total, span, weights)
    last = np.full(POINTS, np.nan)
    np.fmax.at(last, span, x)
    with np.errstate(invalid="ignore"):
        return last, np.where(total > 0, sums / total, np.nan)


def _kept(x: Float[np.ndarray, " K"], values: Float[np.ndarray, "K S"]) -> Float[np.ndarray, "K S"]:
    """Each seed keeps what it had, as far as its run goes."""
    there = np.isfinite(values)
    before = np.maximum.accumulate(np.where(there, np.arange(len(values))[:, None], -1), axis=0)
    kept = np.where(before >= 0, np.take_along_axis(values, np.maximum(before, 0), 0), np.nan)
    reached = np.flatnonzero(np.isfinite(x))
    kept[reached[-1] + 1 :] = np.nan
    return kept


def smoothing(runs: Runs, over: Over = "steps", what: str = "episodes that ended") -> str:
    """What a caption has to say of the points of a `learning_curve`.

    Args:
        runs: as it takes them.
        over: its axis.
        what: is averaged.

    >>> smoothing({"a": [[{"step": 500, "steps": 1000, "returns": [1.0]}]]})
    'each point is the mean over the episodes that ended in 1% of the run (10 environment steps)'
    """
    limits = {_limit([in_order(rows) for rows in each], over) for each in runs.values()}
    span = f" ({limits.pop() / POINTS:,.4g} {LABELS[over]})" if len(limits) == 1 else ""
    return f"each point is the mean over the {what} in 1% of the run{span}"


class Dot(NamedTuple):
    """An evaluation: where it stands, the mean, and its interval."""

    x: float
    mean: float
    low: float
    high: float


def evaluations(runs: Sequence[Rows], over: Over) -> Iterator[Dot]:
    """The evaluations of one run; of several runs as one over all their seeds, where each was evaluated.

    Args:
        runs: the rows of each.
        over: the axis.
    """
    ordered = [in_order(rows) for rows in runs]
    by_place = [
        [(at, row["evaluation"]) for at, row in zip(_places(rows, over), rows, strict=True) if row.get("evaluation")]
        for rows in ordered
    ]
    if len(runs) == 1:
        for at, evaluation in by_place[0]:
            yield Dot(float(at), evaluation["mean"], *_finite(evaluation["ci95"]))
        return
    for each in zip(*by_place, strict=False):
        seeds = np.concatenate([evaluation.get("returns", [evaluation["mean"]]) for _, evaluation in each])
        yield Dot(max(float(at) for at, _ in each), float(seeds.mean()), *interval95(seeds))


def metric_curve(
    runs: Sequence[Rows], name: str, over: Over
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """A metric's mean over runs, each row counting by its updates; NaN where it is not finite.

    Args:
        runs: the rows of each.
        name: of the metric.
        over: the axis.

    Returns:
        The places of K points, and the means there.
    """
    limit, found = _limit(runs, over), []
    for rows in runs:
        values = _finite([row.get("metrics", {}).get(name) for row in rows])
        updates = _updates(rows)
        found.append(_spans(_places(rows, over), values[:, None], updates[:, None].astype(float), limit))
    x = np.array([at for at, _ in found])
    there = np.isfinite(x).any(0)
    values = np.array([values[:, 0] for _, values in found])[:, there]
    known = np.isfinite(values)
    means = np.where(known.any(0), np.nan_to_num(values).sum(0) / np.maximum(known.sum(0), 1), np.nan)
    return np.nanmax(x[:, there], axis=0), means


def _updates(rows: Rows) -> Int[np.ndarray, " R"]:
    """How many updates each row tells of; one where that is not told."""
    counts = [row.get("updates", i + 1) for i, row in enumerate(rows)]
    return np.maximum(np.diff(counts, prepend=0), 1)
