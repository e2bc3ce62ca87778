"""The page of one or several runs: what came out, how they went there, and in which settings they differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from retorno import bellman
from retorno.core.errors import RetornoError
from retorno.core.names import as_typed
from retorno.environments.registry import WorldName
from retorno.ops.intervals import interquartile_mean, interval95
from retorno.plots.curves import learning_curve, metric_curves
from retorno.plots.learnt import learnt_sections, model_of, optimum, predicts
from retorno.plots.page import Cell, Picture, Section, Table, save_page
from retorno.plots.preferences import preference_sections
from retorno.plots.progress import Over, Row, by_steps, final_returns, return_curve, smoothing, spent_seconds
from retorno.plots.records import VERSIONS, Group, Record, common_folder, differing, grouped, read_all
from retorno.plots.style import PICTURES, PlotError, number, save, save_pages
from retorno.run.report import clock

FEW = 4
"""Seeds from which on the mean of their middle half is told as well."""
BRIEFLY = (
    "In brackets 95% intervals of the mean (Student’s t): over seeds where there are several, else over the episodes "
    "of the one that was evaluated. IQM: interquartile mean over seeds. Steps a second: the median."
)
BESIDE = 4
"""Columns of settings that stand side by side; more things than these have a line each."""


def report(folders: Sequence[str | Path], path: str | Path, *, over: Over = "steps", alone: bool = False) -> list[Path]:
    """Write one HTML page about one or several runs; or their pictures alone.

    Runs whose settings are equal but for the seed are shown as one mean with its band.

    Args:
        folders: of the runs, which may be under way.
        path: of the page; or of a .pdf with a picture a page, or of the pictures as .svg or .png, where those after
            the first are named by what they show.
        over: what curves stand over.
        alone: each seed as a line of its own, instead of their mean and its band.

    Returns:
        The files that were written.

    Raises:
        PlotError: when no folder is given, one is given twice, or there is nothing to draw.
        FolderError: when one is not the folder of a run, or the page cannot be written.
    """
    path = Path(path)
    groups = grouped(read_all(folders))
    sections = run_sections(groups, over=over, alone=alone)
    if path.suffix.lower() not in PICTURES:
        alike = len({group.world for group in groups}) == 1
        several = f"{len(groups)} settings compared" if alike else f"{len(folders)} runs"
        title = groups[0].label if len(groups) == 1 else several
        return [save_page(path, title, sections, subtitle=_subtitle(groups))]
    drawn = [(section.heading, picture.figure) for section in sections for picture in section.pictures]
    if not drawn:
        raise PlotError("no figures yet: there is nothing to draw; try again in a while")
    if path.suffix.lower() == ".pdf":
        return [save_pages([figure for _, figure in drawn], path)]
    names = [path, *(path.with_stem(f"{path.stem}-{_slug(heading)}") for heading, _ in drawn[1:])]
    return [save(figure, name) for name, (_, figure) in zip(_different(names), drawn, strict=True)]


def run_sections(groups: Sequence[Group], *, over: Over = "steps", alone: bool = False) -> list[Section]:
    """The parts of a page about runs: results, for each world curves and what was learnt, settings and versions.

    Args:
        groups: of runs that are seeds of one thing.
        over: what curves stand over.
        alone: each seed as a line of its own.
    """
    sections = [Section("Results", tables=[_results(groups)])]
    worlds = list(dict.fromkeys(group.world for group in groups))
    for world in worlds:
        own = [group for group in groups if group.world == world]
        of = f": {world}" if len(worlds) > 1 else ""
        sections += _world_sections(own, of, over, alone)
    return [*sections, *_settings(groups)]


def _world_sections(groups: Sequence[Group], of: str, over: Over, alone: bool) -> Iterator[Section]:
    """How runs of one world went, and what they have learnt."""
    runs = {group.label: group.rows for group in groups if group.rows}
    exact = learnt_sections(groups, alone)
    judged = {group.label for group in groups if predicts(group)}
    returns = {name: each for name, each in runs.items() if name not in judged and len(return_curve(each, over).x)}
    if not runs:
        waiting = any(record.under_way for group in groups for record in group.records)
        told = "Nothing has been reported yet: the first figures come after compiling." if waiting else "No figures."
        yield Section(f"Learning{of}", told)
    elif not returns and len(judged) < len(groups):
        yield _endless(groups, {name: each for name, each in runs.items() if name not in judged}, of, over, alone)
    elif returns:
        references, most, about = _references(groups)
        caption = f"Returns of the training episodes, exploration included; {smoothing(returns, over)}"
        if any(len(return_curve(each, over).mean) and return_curve(each, over).seeds > 1 for each in returns.values()):
            caption += "; each seed is a line" if alone else "; bands are 95% intervals of the mean over seeds"
        if any(row.get("evaluation") for each in runs.values() for rows in each for row in rows):
            caption += "; dots are evaluations of the learnt policy, with their 95% intervals"
        title = f"Return of an episode{of}"
        draw = partial(learning_curve, returns, references, over=over, most=most, alone=alone, title=title)
        yield Section(f"Learning{of}", pictures=[Picture.of(draw, f"{caption}{about}.")])
    for section in exact:
        yield _under(section, of)
    for section in preference_sections(groups):
        yield _under(section, of)
    if any(row.get("metrics") for each in runs.values() for rows in each for row in rows):
        draw = partial(metric_curves, runs, over=over)
        caption = "The algorithm’s own metrics, each point a mean over updates and seeds in 1% of the run"
        yield Section(f"Metrics{of}", pictures=[Picture.of(draw, caption)], folded=bool(of))


def _endless(
    groups: Sequence[Group], runs: dict[str, list[Sequence[Row]]], of: str, over: Over, alone: bool
) -> Section:
    """How runs went in which no episode has ended: the reward of a step."""
    told = {name: by_steps(each) for name, each in runs.items()}
    if not any(len(return_curve(each, over).x) for each in told.values()):
        return Section(f"Learning{of}", "No episode has ended yet, so there is no return to draw.")
    references, about = _best_average(groups)
    caption = (
        "No episode has ended, so there is no return: the mean reward of a step, exploration included; "
        f"{smoothing(told, over, 'steps')}{about}."
    )
    draw = partial(learning_curve, told, references, over=over, alone=alone, title=f"Reward of a step{of}")
    return Section(f"Learning{of}", pictures=[Picture.of(draw, caption)])


def _best_average(groups: Sequence[Group]) -> tuple[dict[str, float], str]:
    """The best average reward of the groups' world as a line, and what the caption says of it."""
    try:
        model = model_of(groups[0])
        if model is None or not (model.discount > 0).all():  # Of what ends the average is 0.
            return {}, ""
        found = bellman.average_reward(model)
    except (RetornoError, ValueError, OSError):
        return {}, ""
    if not found.converged:
        return {}, ""
    return {"best average": found.start_gain}, "; the dashed line is the best average reward there is"


def _under(section: Section, of: str) -> Section:
    return replace(section, heading=f"{section.heading}{of}") if of else section


def _references(groups: Sequence[Group]) -> tuple[dict[str, float], float, str]:
    """The optimum of the groups' world as a line, what is above it, and what the caption says of it."""
    try:
        model = model_of(groups[0])
        given = groups[0].records[0].config.get("world")
        best = None if model is None else optimum(WorldName.recorded(given), model)
    except (RetornoError, ValueError, OSError):
        return {}, math.inf, ""
    if best is None:
        return {}, math.inf, ""
    low, high = best
    about = "; the dashed line is the best expected return there is, certified "
    return {"optimum": (low + high) / 2}, high, f"{about}within {number(max(high - low, 0.0), 2)}"


def _results(groups: Sequence[Group]) -> Table:
    """Of one thing a line for each measure, of several a line for each thing."""
    brief = len(groups) > 1
    measures: dict[str, Callable[[Group], str]] = {
        "environment steps": partial(_steps, brief=brief),
        "seeds": _seeds,
        "return in training, at the end": partial(_final, brief=brief),
        "evaluation": partial(_evaluation, brief=brief),
        "success": partial(_success, brief=brief),
        **{name: partial(_info, name=name, brief=brief) for name in _asked(groups)},
        "steps a second": _speed,
        "time": _time,
    }
    cells = {name: [measure(group) for group in groups] for name, measure in measures.items()}
    cells = {name: row for name, row in cells.items() if any(cell != "–" for cell in row)}
    if not brief:
        return Table(["", groups[0].label], [[name, *row] for name, row in cells.items()])
    lines: list[list[Cell]] = [[group.label, *(row[i] for row in cells.values())] for i, group in enumerate(groups)]
    return Table(["", *cells], lines, caption=BRIEFLY)


def _steps(group: Group, brief: bool) -> str:
    """How far the runs have come, and whether they go on."""
    alike: dict[str, list[Record]] = {}
    for record in group.records:
        alike.setdefault(_left(record), []).append(record)
    parts = []
    for left, records in alike.items():
        alone = f"{len(records)} of {len(group.records)} runs " if len(alike) > 1 else ""
        reached = sorted({_step(record) for record in records})
        far = f"{reached[0]:,}" if len(reached) == 1 else f"{reached[0]:,} to {reached[-1]:,}"
        stopped = "stopped" in left and not brief
        again = f"; go on with: retorno resume {as_typed(common_folder([each.folder for each in records]))}"
        parts.append(f"{alone}{far}{left}{again if stopped else ''}")
    return "; ".join(parts)


def _step(record: Record) -> int:
    return record.rows[-1]["step"] if record.rows else 0


def _left(record: Record) -> str:
    """What of its budget a run has not lived yet, and why; nothing where it has lived all."""
    budget = record.rows[-1].get("steps") if record.rows else None
    budget = budget or record.config.get("steps")
    if isinstance(budget, int) and _step(record) < budget:
        return f" of {budget:,}, {'under way' if record.under_way else _stopped(record)}"
    return ""


def _stopped(record: Record) -> str:
    return f"stopped: {record.failure}" if record.failure else "stopped"


def _seeds(group: Group) -> str:
    counts = [len(record.rows[-1]["returns"]) if record.rows else len(record.seeds) for record in group.records]
    return str(sum(counts))


def _final(group: Group, brief: bool) -> str:
    if not group.rows:
        return "no figures"
    if predicts(group):
        return "–"
    curve = return_curve(group.rows)
    if not len(curve.x):
        curve = return_curve(by_steps(group.rows))
        reward = f"; a step earned {told_mean(final_returns(curve), brief)}" if len(curve.x) else ""
        return f"no episode ended{reward}"
    return told_mean(final_returns(curve), brief)


def told_mean(seeds: np.ndarray, brief: bool = False) -> str:
    """A mean over seeds with its 95% interval and its middle half, as far as there are enough of them.

    Args:
        seeds: a value for each. Shape [S].
        brief: in brackets.

    >>> told_mean(np.array([1.0])), told_mean(np.array([1.0, 3.0])), told_mean(np.array([1.0, 3.0]), brief=True)
    ('1', '2, 95% interval −10.71 to 14.71 over 2 seeds', '2 [−10.71, 14.71]')
    """
    if len(seeds) == 1:
        return number(float(seeds[0]))
    middle = interquartile_mean(seeds) if len(seeds) >= FEW else math.nan
    return told_interval(float(seeds.mean()), *interval95(seeds), f"{len(seeds)} seeds", middle, brief)


def told_interval(
    mean: float, low: float, high: float, over: str, middle: float = math.nan, brief: bool = False
) -> str:
    """A mean with its 95% interval: over what it is, and the mean of the middle half where it is known."""
    if low == high:
        return f"{number(mean)} in each" if brief else f"{number(mean)} in each of {over}"
    if brief:
        return f"{number(mean)} [{number(low)}, {number(high)}]" + f", IQM {number(middle)}" * (middle == middle)
    told = f"; interquartile mean {number(middle)}" if middle == middle else ""
    return f"{number(mean)}, 95% interval {number(low)} to {number(high)} over {over}{told}"


def _evaluation(group: Group, brief: bool) -> str:
    """The newest evaluation; of several runs over all their seeds."""
    found = [_last_evaluation(record.rows) for record in group.records]
    known = [each for each in found if each is not None]
    if not known:
        return "–"
    evaluations = [row["evaluation"] for row in known]
    cut = sum(each.get("cut") or 0 for each in evaluations)
    episodes, count = evaluations[0]["episodes"], sum(each.get("seeds", 1) for each in evaluations)
    where = "" if brief else f", at step {max(row['step'] for row in known):,}"
    where += f"; {cut:,} of {episodes * count:,} episodes cut by the time limit" if cut else ""
    many = f"{count} seeds × {episodes:,} episodes"
    if len(evaluations) > 1:
        seeds = np.concatenate([each["returns"] for each in evaluations])
        middle = interquartile_mean(seeds) if len(seeds) >= FEW else math.nan
        return told_interval(float(seeds.mean()), *interval95(seeds), many, middle, brief) + where
    (each,) = evaluations
    low, high = (math.nan if x is None else x for x in each["ci95"])
    if math.isnan(low):
        return f"{number(each['mean'])}; {episodes:,} episode{'s' * (episodes > 1)}{where}"
    over = many if count > 1 else f"{episodes:,} episodes of one seed"
    middle = each["interquartile_mean"] if count >= FEW else math.nan
    return told_interval(each["mean"], low, high, over, middle, brief) + where


def _success(group: Group, brief: bool) -> str:
    """The share of successes in the newest evaluation, where the world says what a success is."""
    found = [row["evaluation"] for record in group.records if (row := _last_evaluation(record.rows)) is not None]
    judged = [each for each in found if each.get("success_rate") is not None]
    if not judged or len(judged) < len(found):
        return "–"
    (low, high), rate, over = judged[0]["success_ci95"], judged[0]["success_rate"], "episodes of one seed"
    seeds = [x for each in judged for x in each["successes"] if x is not None]
    if len(seeds) > 1:
        (low, high), rate, over = interval95(np.array(seeds)), float(np.mean(seeds)), f"{len(seeds)} seeds"
    if low is None or math.isnan(low):
        return f"{rate:.1%}"
    low, high = max(low, 0.0), min(high, 1.0)
    return (
        f"{rate:.1%} [{low:.1%}, {high:.1%}]"
        if brief
        else f"{rate:.1%}, 95% interval {low:.1%} to {high:.1%} over {over}"
    )


def _asked(groups: Sequence[Group]) -> list[str]:
    """What was asked of the info of episodes' last steps in the newest evaluations."""
    rows = [_last_evaluation(rows) for group in groups for rows in group.rows]
    return [*dict.fromkeys(name for row in rows if row is not None for name in row["evaluation"].get("info", ()))]


def _info(group: Group, name: str, brief: bool) -> str:
    """The mean of what was asked of the info of episodes' last steps, in the newest evaluation."""
    found = [row["evaluation"].get("info", {}) for rows in group.rows if (row := _last_evaluation(rows)) is not None]
    told = [each[name] for each in found if name in each]
    if not told or len(told) < len(found):
        return "–"
    seeds = np.array([x for each in told for x in each["of_seeds"]])
    low, high = interval95(seeds) if len(seeds) > 1 else (math.nan if x is None else x for x in told[0]["ci95"])
    episodes = next(row["evaluation"]["episodes"] for rows in group.rows if (row := _last_evaluation(rows)) is not None)
    over = f"{len(seeds)} seeds" if len(seeds) > 1 else f"{episodes:,} episodes of one seed"
    return told_interval(float(seeds.mean()), low, high, over, brief=brief) if low == low else number(seeds.mean())


def _last_evaluation(rows: Sequence[Row]) -> Row | None:
    return next((row for row in reversed(rows) if row.get("evaluation")), None)


def _speed(group: Group) -> str:
    rates = [row["rate"] for rows in group.rows for row in rows if math.isfinite(row.get("rate") or math.nan)]
    return f"{number(float(np.median(rates)), 3)}" if rates else "–"


def _time(group: Group) -> str:
    spent = [float(spent_seconds(rows)[-1]) for rows in group.rows if any(row.get("seconds") for row in rows)]
    if not spent:
        return "–"
    return f"{number(sum(spent), 2)} s" if sum(spent) < 60 else clock(sum(spent))


def _settings(groups: Sequence[Group]) -> list[Section]:
    flats = [group.settings for group in groups]
    names = list(dict.fromkeys(name for flat in flats for name in flat))
    what_ran = [name for name in names if name.split(".")[0] in VERSIONS]
    how = [name for name in names if name not in what_ran]
    unlike = set(differing(flats))
    heads = ["setting", *(group.label for group in groups)]

    def table(chosen: Sequence[str]) -> Table:
        """A setting that all have alike has one column."""
        if not set(chosen) & unlike:
            return Table(["setting", "value"], [[name, flats[0][name]] for name in chosen])
        return Table(heads, [[name, *(flat.get(name, "–") for flat in flats)] for name in chosen])

    sections = []
    if len(groups) > 1:
        apart = [name for name in how if name in unlike]
        many = len(groups) > BESIDE
        contested = [name for name in apart if len({flat[name] for flat in flats if name in flat}) > 1]
        told = [_lines(groups, flats, contested) if many else table(apart)] if apart else []
        sections.append(Section("Settings that differ", "" if apart else "The runs have equal settings.", tables=told))
        if many and len(contested) < len(apart):
            every = _lines(groups, flats, [name for name in apart if name not in contested])
            sections.append(Section("Settings that not all have", tables=[every], folded=True))
        alike = [name for name in how if name not in unlike]
        sections.append(Section("Settings in common", tables=[table(alike)], folded=True))
    else:
        sections.append(Section("Settings", tables=[table(how)]))
    if what_ran:
        versions = _versions(groups, flats, what_ran) if len(groups) > BESIDE else table(what_ran)
        sections.append(Section("Versions", tables=[versions]))
    return sections


def _versions(groups: Sequence[Group], flats: Sequence[dict[str, str]], names: Sequence[str]) -> Table:
    """For each version of what ran, the things that it ran."""
    found: dict[str, list[str]] = {}
    for group, flat in zip(groups, flats, strict=True):
        found.setdefault(", ".join(f"{name} {flat[name]}" for name in names if name in flat), []).append(group.label)
    return Table(["version", "of"], [[version, "; ".join(labels)] for version, labels in found.items()])


def _lines(groups: Sequence[Group], flats: Sequence[dict[str, str]], names: Sequence[str]) -> Table:
    """For each of many groups one line with the settings in which it may differ."""
    rows = [
        [group.label, " · ".join(f"{name} {flat[name]}" for name in names if name in flat)]
        for group, flat in zip(groups, flats, strict=True)
    ]
    return Table(["", "settings"], rows)


def _subtitle(groups: Sequence[Group]) -> str:
    """The algorithms and worlds, and how many seeds."""
    parts = []
    for values in ([group.algorithm for group in groups], [group.world for group in groups]):
        told = list(dict.fromkeys(filter(None, values)))
        parts.append(", ".join(told) if len(told) <= 6 else f"{', '.join(told[:5])} and {len(told) - 5} more")
    return " on ".join(filter(None, parts))


def _slug(text: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def _different(paths: Sequence[Path]) -> list[Path]:
    """The same, numbered where two are alike."""
    return [
        path if path not in paths[:i] else path.with_stem(f"{path.stem}-{paths[: i + 1].count(path)}")
        for i, path in enumerate(paths)
    ]
