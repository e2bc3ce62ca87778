"""What a run has learnt to pay from what was preferred: beside what the world paid; what it likes most and least."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from retorno.core.errors import RetornoError
from retorno.core.runtime import IN_HASTE
from retorno.core.time_step import Trajectory
from retorno.environments.registry import WorldName
from retorno.ops.intervals import interval95
from retorno.plots.page import Picture, Section, Table
from retorno.plots.progress import metric_curve
from retorno.plots.records import Group, Record
from retorno.plots.style import LINES, MUTED, number, number_axes, panels, style
from retorno.preferences.clips import Clips
from retorno.preferences.learnt_reward import LearntReward
from retorno.preferences.recorded import learnt_rewards

DOTS = 2_000
"""Steps that are drawn as dots."""
LIKED = 3
"""Segments that are shown of those that are liked most, and least."""
SHOWN = 5
"""Pictures of each."""
SEGMENTS = 300
"""Among which they are chosen."""

_paid = jax.jit(LearntReward.reward, compiler_options=IN_HASTE)
"""What is paid for steps [T, B], in one program: by themselves its operations are some dozens; so are those below."""
_some = jax.jit(lambda ring: ring.sample(jax.random.key(0), SEGMENTS).trajectory, compiler_options=IN_HASTE)
"""Segments lived lately."""
_consistency = jax.jit(lambda held: held.consistency, compiler_options=IN_HASTE)


class Lived(NamedTuple):
    """Steps lived lately, in one environment after another."""

    predicted: Float[np.ndarray, "B T"]
    paid: Float[np.ndarray, "B T"]
    """By the world."""
    counts: Bool[np.ndarray, "B T"]
    """Which of them are steps, and not ends of episodes."""

    @property
    def correlation(self) -> float:
        """Of the two; NaN where one does not vary."""
        predicted, paid = self.predicted[self.counts], self.paid[self.counts]
        return float(np.corrcoef(predicted, paid)[0, 1]) if min(predicted.std(), paid.std()) > 0 else float("nan")


def preference_sections(groups: Sequence[Group]) -> Iterator[Section]:
    """The part of a page about each of several things that learnt a reward from preferences.

    Args:
        groups: of runs that are seeds of one thing.
    """
    for group in groups:
        try:
            rewards = [reward for record in group.records for reward in learnt_rewards(record.folder)]
        except (RetornoError, OSError, KeyError) as error:
            if any((record.config.get("relabel") or {}).get("type") == "Preferences" for record in group.records):
                yield Section(_heading(group, groups), f"What was learnt cannot be read: {error}")
            continue
        rewards = [reward for reward in rewards if int(reward.labelled.count)]
        if rewards:
            yield _section(group, rewards, _heading(group, groups))


def _heading(group: Group, groups: Sequence[Group]) -> str:
    return "The learnt reward" + (f": {group.label}" if len(groups) > 1 else "")


def _section(group: Group, rewards: Sequence[LearntReward], heading: str) -> Section:
    first, lived = rewards[0], [recent(each) for each in rewards]
    of = "" if len(rewards) == 1 else " Of several seeds the pictures show the first."
    pictures = [
        Picture.of(
            partial(_beside_truth, lived[0]),
            "What the ensemble says of steps lived lately, over what the world paid for them; and both over one "
            f"stretch of it, each in standard deviations from its mean.{of}",
        )
    ]
    asked = [record.rows for record in group.records if any("relabel/labels" in _told(row) for row in record.rows)]
    if asked:
        caption = "Labels as they were asked, and how often the ensemble was right on those it did not learn from"
        pictures.append(Picture.of(partial(_asked, asked), caption))
    if (clips := _clips(group.records[0])) is not None:
        why = "of what led to them a run keeps nothing" if clips.lives_again else clips.why_numbers
        caption = (
            f"Segments lived lately that the ensemble likes most (above) and least, each from left to right; of "
            f"{SEGMENTS} segments{'' if why is None else '; ' + why}"
        )
        pictures.append(Picture.of(partial(_liked, first, clips), caption))
    return Section(heading, pictures=pictures, tables=[_facts(rewards, lived)])


def _told(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return row.get("metrics") or {}


def _clips(record: Record) -> Clips | None:
    try:
        return Clips(WorldName.recorded(record.config["world"]).make())
    except (RetornoError, ValueError, KeyError, OSError):
        return None


def _facts(rewards: Sequence[LearntReward], lived: Sequence[Lived]) -> Table:
    """Over seeds: a mean with its interval."""

    def told(values: Sequence[float], unit: str = "") -> str:
        known = np.array([x for x in values if np.isfinite(x)])
        if not len(known):
            return "–"
        shown = (lambda x: f"{x:.2%}") if unit == "%" else (lambda x: number(x, 3))
        if len(known) == 1:
            return shown(float(known[0]))
        low, high = interval95(known)
        return f"{shown(float(known.mean()))}, 95% interval {shown(low)} to {shown(high)} over {len(known)} seeds"

    held = [each.labelled for each in rewards]
    shares = [np.asarray(each.share)[: int(each.count)] for each in held]
    several = [share.shape[1] for share in shares]
    again = [int((np.asarray(each.again) >= 0).sum()) for each in held]
    said = lambda *words: ", ".join(  # noqa: E731
        told([float(np.mean(np.isclose(share[:, 0], word))) for share in shares], "%") for word in words
    )
    levels = rewards[0].settings.levels
    answers = {
        1: [f"rated 1 to {levels}", said(*((np.arange(levels) + 0.5) / levels))],
        2: ["answers: first, second, alike", said(1, 0, 0.5)],
    }
    lived_in_all = [float(each.clock.step.size) for each in rewards]
    rows = [
        ["labels", told([len(share) for share in shares])],
        ["of all steps", told([len(share) / steps for share, steps in zip(shares, lived_in_all, strict=True)], "%")],
        ["right on held-out labels", told([float(each.told.accuracy) for each in rewards], "%")],
        ["correlation with what the world paid", told([each.correlation for each in lived])],
        answers.get(several[0], ["put in order at a time", told(several)]),
    ]
    if any(again):
        alike = [float(_consistency(each)) for each, count in zip(held, again, strict=True) if count]
        rows += [["asked again", told(again)], ["of which answered alike", told(alike, "%")]]
    return Table(["of the labels", ""], rows)


def recent(reward: LearntReward) -> Lived:
    """What an ensemble says of the steps that are kept, oldest first, and what the world paid."""
    ring = jax.device_get(reward.recent)
    length = int(ring.filled)
    slots = (int(ring.newest) - np.arange(length, -1, -1)) % ring.slots
    rows = jax.tree.map(lambda x: x[slots], ring.steps)
    trajectory = Trajectory(rows, jax.tree.map(lambda x: x[slots[:-1]], ring.action), (), ())
    # As `Trajectory.transitions`, which are JAX's: of these rows NumPy has each operation ready.
    lives = ~rows.last[:-1]
    turned = lambda x: np.asarray(x).T  # noqa: E731
    return Lived(turned(_paid(reward, trajectory)), turned(rows.reward[1:]), turned(lives))


def _beside_truth(lived: Lived, width: float) -> Figure:
    """Predicted over paid, as dots and over a stretch of an episode."""
    wide = width > 5
    predicted, paid = lived.predicted[lived.counts], lived.paid[lived.counts]
    some = np.linspace(0, len(paid) - 1, min(DOTS, len(paid))).astype(int)
    counts = lived.counts[0]
    # The longest stretch between two ends, at most 300 steps of it.
    ends = np.flatnonzero(~np.r_[False, counts, False])
    longest = int(np.argmax(np.diff(ends)))
    begin, end = int(ends[longest]), int(ends[longest + 1]) - 1
    stretch = slice(begin, min(end, begin + 300))
    with style():
        figure, (dots, over) = panels(width, 2.9 if wide else 5.2, *((1, 2) if wide else (2, 1)))
        dots.plot(paid[some], predicted[some], ".", color=LINES[0], markersize=3, alpha=0.4, rasterized=True)
        dots.set_title(f"each dot a step; correlation {number(lived.correlation, 2)}", fontsize=9.5)
        dots.set_xlabel("paid by the world")
        dots.set_ylabel("learnt")
        for values, line, colour, name in (
            (lived.paid[0][stretch], "--", MUTED, "paid by the world"),
            (lived.predicted[0][stretch], "-", LINES[1], "learnt"),
        ):
            standard = (values - values.mean()) / (values.std() or 1.0)
            over.plot(np.arange(len(values)), standard, line, color=colour, label=name, linewidth=1.4)
        over.set_title("over an episode", fontsize=9.5)
        over.set_xlabel("steps")
        over.set_ylabel("standard deviations")
        over.legend(fontsize=8.5)
        for axes in (dots, over):
            number_axes(axes, 4, 5)
    return figure


def _asked(runs: Sequence[Any], width: float) -> Figure:
    """Labels and accuracy over steps."""
    wide = width > 5
    with style():
        figure, panes = panels(width, 2.3 if wide else 4.2, *((1, 2) if wide else (2, 1)))
        for pane, metric, title in zip(
            panes, ("relabel/labels", "relabel/accuracy"), ("labels", "right on held-out labels"), strict=True
        ):
            x, values = metric_curve(list(runs), metric, "steps")
            known = np.flatnonzero(values > 0)
            shown = slice(int(known[0]) if len(known) and "accuracy" in metric else 0, None)
            pane.plot(x[shown], values[shown], color=LINES[0], linewidth=1.4)
            pane.set_title(title, fontsize=9.5)
            pane.set_xlabel("environment steps")
            pane.set_xlim(left=0)
            number_axes(pane, 4, 5)
    return figure


def _liked(reward: LearntReward, clips: Clips, width: float) -> Figure:
    """Segments with the largest and the smallest sums of what is paid, as rows of pictures."""
    lived = _some(reward.recent)
    whole = np.asarray(lived.transitions.all(axis=0))
    sums = np.where(whole, np.asarray(_paid(reward, lived)).sum(axis=0), np.nan)
    order = [int(i) for i in np.argsort(sums) if np.isfinite(sums[i])]
    chosen = [*_apart(order[::-1], sums), *_apart(order, sums)]
    length = lived.transitions.shape[0]
    shown = np.linspace(0, length, SHOWN).round().astype(int)
    with style():
        figure, panes = panels(width, width / SHOWN * len(chosen) * 0.82, len(chosen), SHOWN)
        for k, i in enumerate(chosen):
            of = jax.tree.map(lambda x, i=i: np.asarray(x[:, i]).tolist(), (lived.steps.obs, lived.action))
            segment = {"obs": of[0], "action": of[1]}
            for pane, frame in zip(panes[k * SHOWN :], clips.frames(segment, shown.tolist()), strict=False):
                pane.imshow(frame)
                pane.set_axis_off()
            panes[k * SHOWN].set_title(number(float(sums[i]), 3), fontsize=8.5, loc="left")
    return figure


def _apart(order: Sequence[int], sums: Float[np.ndarray, " N"]) -> list[int]:
    """The first few of an order, none of which is worth just what another is."""
    chosen: list[int] = []
    for i in order:
        if all(abs(sums[i] - sums[other]) > 1e-6 for other in chosen):
            chosen.append(i)
        if len(chosen) == LIKED:
            break
    return chosen
