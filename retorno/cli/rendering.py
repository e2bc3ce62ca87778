"""Exact answers as people and programs read them: tables, maps, JSON, CSV and NumPy's archives.

What differs between the criteria is only which numbers a state has: a value, or a gain and a bias;
of a finite horizon those with all steps to go.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from retorno.bellman.average import AverageSolution
from retorno.bellman.explanation import sweep_rows, widest
from retorno.bellman.horizon import HorizonSolution
from retorno.bellman.matrix_free import MatrixFreeSolution
from retorno.bellman.rational import RationalSolution
from retorno.core.mdp import MDP
from retorno.core.solution import Solution, asked, names_of
from retorno.environments.formats.files import write_whole

Answer = Solution | HorizonSolution | AverageSolution | RationalSolution | MatrixFreeSolution
Stored = Solution | HorizonSolution | AverageSolution | RationalSolution
"""Answers about models that are tables."""

ARROWS = {"left": "←", "down": "↓", "right": "→", "up": "↑", "west": "←", "south": "↓", "east": "→", "north": "↑"}
ALL, FIRST = 50, 20
"""A table shows this many states whole, and of more states the first few."""


# What an answer holds


def columns(answer: Answer) -> dict[str, np.ndarray]:
    """The numbers [S] that an answer gives every state, the foremost first."""
    match answer:
        case AverageSolution():
            return {"gain": answer.gain, "lower": answer.lower, "upper": answer.upper, "bias": answer.bias}
        case HorizonSolution():
            return {"value": answer.value[0], "lower": answer.lower[0], "upper": answer.upper[0]}
        case RationalSolution():
            return {"value": np.array([float(x) for x in answer.value])}
        case _:
            return {"value": answer.value, "lower": answer.lower, "upper": answer.upper}


def optimal(answer: Stored) -> np.ndarray:
    """All pairs [P] that tie for the best; of a finite horizon, with all steps to go."""
    if isinstance(answer, HorizonSolution):
        return answer.optimal[0] if answer.horizon else np.zeros(answer.model.num_pairs, bool)
    return answer.optimal


def pairs(answer: Stored) -> np.ndarray:
    """The pair [S] that the answer's policy takes in each state, −1 where it takes none, or several at random."""
    model = answer.model
    if isinstance(answer, HorizonSolution):
        return answer.policy[0] if answer.horizon else np.full(model.num_states, -1)
    taken = np.full(model.num_states, -1)
    acting = np.flatnonzero(~model.terminal)
    first = model.state_ptr[acting]
    most = np.maximum.reduceat(answer.policy, first) if len(acting) else np.zeros(0)
    hits = np.flatnonzero(answer.policy == np.repeat(most, np.diff(model.state_ptr)[acting]))
    taken[acting] = np.where(most > 1 - 1e-9, hits[np.searchsorted(hits, first)], -1)
    if not answer.evaluated and len(acting):
        none = np.add.reduceat(answer.optimal, first, dtype=np.int64) == 0
        taken[acting[none]] = -1  # Nothing that could be done there answers the question.
    return taken


def action(model: MDP, pair: int) -> str | None:
    return None if pair < 0 else model.action_names[int(model.action[pair])]


def chosen(answer: Answer) -> Callable[[int], str | None]:
    """The action that the answer's policy takes in a state; None where it takes none, or several at random."""
    if isinstance(answer, MatrixFreeSolution):
        names = answer.model.action_names
        return lambda state: None if answer.action[state] < 0 else names[int(answer.action[state])]
    taken = pairs(answer)
    return lambda state: action(answer.model, int(taken[state]))


def told(answer: Answer, state: int) -> str:
    """What a table says of a state's actions: what the evaluated policy does, or all that tie for the best."""
    if isinstance(answer, MatrixFreeSolution):
        return " or ".join(ties(answer, state)) or "(terminal)"
    return answer.told(0, state) if isinstance(answer, HorizonSolution) else answer.told(state)


def ties(answer: Answer, state: int) -> list[str]:
    """The names of all best actions of a state."""
    if isinstance(answer, MatrixFreeSolution):
        return [answer.model.action_names[a] for a in answer.actions(state)]
    model, best = answer.model, optimal(answer)
    owned = range(int(model.state_ptr[state]), int(model.state_ptr[state + 1]))
    return [model.action_names[int(model.action[p])] for p in owned if best[p]]


def facts(answer: Answer) -> dict[str, Any]:
    """What is said of the answer as a whole."""
    match answer:
        case AverageSolution():
            return {
                "start_gain": answer.start_gain,
                "criterion": "average",
                "unichain": answer.unichain,
                "method": answer.method,
                "converged": answer.converged,
                "policy_loss_bound": answer.policy_loss_bound,
                "sweeps": answer.sweeps,
            }
        case HorizonSolution():
            return {
                "start_value": answer.start_value,
                "criterion": "horizon",
                "horizon": answer.horizon,
                "discount": answer.question_discount,
                "method": "backward induction",
                "converged": True,
                "error": float(answer.error.max()),
            }
        case RationalSolution():
            return {
                "start_value": float(answer.start_value),
                "exact_start_value": str(answer.start_value),
                "criterion": _criterion(float(answer.discount), answer.must_end),
                "discount": float(answer.discount),
                "minimise": answer.minimise,
                "method": "rational policy iteration",
                "converged": True,
                "policy_loss_bound": 0.0,
            }
        case MatrixFreeSolution():
            return {
                "start_value": answer.start_value,
                "discount": answer.question_discount,
                "minimise": answer.minimise,
                "method": "sweeps over blocks, not stored",
                "converged": answer.converged,
                "width": float((answer.upper - answer.lower).max()),
                "policy_loss_bound": answer.policy_loss_bound,
                "sweeps": answer.sweeps,
            }
        case _:
            return {
                "start_value": answer.start_value,
                "criterion": _criterion(answer.discount, answer.must_end),
                "discount": answer.discount,
                "minimise": answer.minimise,
                "method": answer.method,
                "reason": answer.reason,
                "stopped": answer.stopped,
                "converged": answer.converged,
                "width": widest(answer),
                "policy_loss_bound": answer.policy_loss_bound,
                "sweeps": answer.sweeps,
            }


def _criterion(discount: float, must_end: bool) -> str:
    return "discounted" if discount < 1 else "reach" if must_end else "total"


# For people


def as_text(answer: Answer) -> str:
    """The whole table of a small model; of a large one a summary and its first states."""
    count = answer.model.num_states
    if isinstance(answer, HorizonSolution) or (count <= ALL and not isinstance(answer, MatrixFreeSolution)):
        return "\n".join([str(answer), *_endless(answer)])
    shown = columns(answer)
    rows = [["state", *shown, "policy"]]
    for s in range(min(FIRST, count)):
        numbers = (f"{x[s]:z.6f}" for x in shown.values())
        rows.append([answer.model.state_names[s], *numbers, told(answer, s)])
    lines = aligned(rows, names=(0, len(rows[0]) - 1))
    if count > FIRST:
        lines.append(f"… and {count - FIRST:,} more states; --out FILE.csv, .npz or .json writes all of them")
    foremost = next(iter(shown.values()))
    finite = foremost[np.isfinite(foremost)]
    if len(finite):
        lines.append(f"smallest {finite.min():z.6f}, largest {finite.max():z.6f}")
    if isinstance(answer, MatrixFreeSolution):
        lines.append(f"{count:,} states, up to {answer.model.num_actions:,} actions each, not stored")
        return "\n".join([*lines, summary(answer)])
    lines += _endless(answer)
    first = answer.model.state_ptr[:-1][~answer.model.terminal]
    several = np.add.reduceat(optimal(answer), first, dtype=np.int64) > 1
    lines.append(
        f"{answer.model.num_states:,} states, {answer.model.num_pairs:,} pairs; ties in {several.sum():,} states"
    )
    return "\n".join([*lines, summary(answer)])


def summary(answer: Answer) -> str:
    """The last line of an answer."""
    told = facts(answer)
    state = "converged" if told["converged"] else "NOT converged"
    if isinstance(answer, AverageSolution):
        return f"average reward, {told['method']}, {state}; start gain {told['start_gain']:z.6f}"
    start = f"start value {told['start_value']:z.6f}"
    loss = f"policy loses at most {told['policy_loss_bound']:.1e}"
    sweeps = f" after {told['sweeps']:,} sweeps, bounds {told['width']:.1e} wide" if "sweeps" in told else ""
    question = asked(told["discount"], told.get("criterion") == "reach")
    return f"{question}, {told['method']}, {state}{sweeps}; {start}, {loss}"


def _endless(answer: Stored) -> list[str]:
    """What to say where values are infinite, if they are."""
    if not isinstance(answer, Solution | RationalSolution):
        return []
    count = int((~np.isfinite(columns(answer)["value"])).sum())
    if not count:
        return []
    states = "1 state" if count == 1 else f"{count:,} states"
    if answer.must_end:
        return [f"infinite in {states}: no policy is sure to end there, or one can collect without limit first"]
    return [f"infinite in {states}, where earning never ends: --criterion average tells the reward of a step"]


def aligned(rows: list[list[str]], names: tuple[int, ...] = ()) -> list[str]:
    """Rows as lines: the columns of names to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(c.ljust(w) if i in names else c.rjust(w) for i, (c, w) in enumerate(parts)).rstrip()
        for row in rows
        for parts in [list(zip(row, widths, strict=True))]
    ]


def sweeps_text(answer: Solution) -> str:
    """The table sweeps × states."""
    head, rows = sweep_rows(answer)
    shown = [[str(row[0]), *(f"{x:z.4f}" for x in row[1:-2]), *(f"{x + 0.0:.1e}" for x in row[-2:])] for row in rows]
    return "\n".join(aligned([head, *shown]))


def text_map(answer: Solution) -> str:
    """The value of each state where it lies on the map, and what is done there; terminal states show none."""
    cells = {}
    for s, place in enumerate(answer.model.grid or ()):
        if place is not None:
            arrows = "".join(ARROWS.get(name, name) for name in names_of(answer.model, s, answer.shown))
            cells[place] = f"{answer.value[s]:z.3f} {arrows}" if arrows else "·"
    height, width = (max(place[axis] for place in cells) + 1 for axis in (0, 1))
    size = max(map(len, cells.values()))
    rows = ("   ".join(cells.get((row, column), "").ljust(size) for column in range(width)) for row in range(height))
    return "\n".join(row.rstrip() for row in rows)


def fits(text: str) -> bool:
    """Whether no line is wider than the terminal."""
    return max(map(len, text.splitlines())) <= shutil.get_terminal_size().columns


# For programs


def as_json(answer: Answer) -> dict[str, Any]:
    """Everything by the states' names; `policy` is one best action, `optimal` all that tie."""
    model = answer.model
    names = [str(name) for name in model.state_names]
    told: dict[str, Any] = {name: dict(zip(names, map(float, x), strict=True)) for name, x in columns(answer).items()}
    if isinstance(answer, RationalSolution):
        told["exact"] = {name: str(x) for name, x in zip(names, answer.value, strict=True)}
    takes = chosen(answer)
    told["policy"] = {name: takes(s) for s, name in enumerate(names)}
    told["optimal"] = {name: ties(answer, s) for s, name in enumerate(names)}
    if isinstance(answer, HorizonSolution):
        told["times"] = [
            {
                "time": t,
                "value": dict(zip(names, map(float, answer.value[t]), strict=True)),
                "policy": {name: action(answer.model, int(p)) for name, p in zip(names, answer.policy[t], strict=True)},
            }
            for t in range(answer.horizon)
        ]
    told.update(facts(answer))
    if isinstance(answer, Solution) and answer.trace:
        told["trace"] = [
            {
                "sweep": k,
                "value": dict(zip(names, map(float, sweep.value), strict=True)),
                "lower": dict(zip(names, map(float, sweep.lower), strict=True)),
                "upper": dict(zip(names, map(float, sweep.upper), strict=True)),
                "residual": float(sweep.residual),
            }
            for k, sweep in enumerate(answer.trace, start=1)
        ]
    return told


def finite(value: Any) -> Any:
    """The same for JSON, which knows no infinity: "inf", "-inf" and "nan" in its place, which `float` reads."""
    match value:
        case dict():
            return {key: finite(x) for key, x in value.items()}
        case list() | tuple():
            return [finite(x) for x in value]
        case float():
            return value if math.isfinite(value) else str(value)
    return value


def _json(answer: Answer, more: dict[str, Any]) -> Callable[[BinaryIO], object]:
    text = json.dumps(finite(as_json(answer) | more), allow_nan=False, ensure_ascii=False, indent=1)
    return lambda file: file.write(text.encode() + b"\n")


def _csv(answer: Answer, more: dict[str, Any]) -> Callable[[BinaryIO], object]:
    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        out = csv.writer(text, lineterminator="\n")
        shown, takes = columns(answer), chosen(answer)
        out.writerow(["state", *shown, "policy", "optimal"])
        for s, name in enumerate(answer.model.state_names):
            numbers = (repr(float(x[s])) for x in shown.values())
            out.writerow([name, *numbers, takes(s) or "", "|".join(ties(answer, s))])
        text.detach()

    return write


def _npz(answer: Answer, more: dict[str, Any]) -> Callable[[BinaryIO], object]:
    about = np.array(json.dumps(finite(facts(answer)), ensure_ascii=False))
    arrays: dict[str, Any] = {**columns(answer)}
    if isinstance(answer, MatrixFreeSolution):
        return lambda file: np.savez(file, about=about, policy=answer.action, **arrays)
    model = answer.model
    taken = pairs(answer)
    policy = np.where(taken >= 0, model.action[taken], -1) if model.num_pairs else taken
    arrays |= {"policy": policy, "optimal": optimal(answer)}
    if isinstance(answer, HorizonSolution):
        arrays |= {"value": answer.value, "lower": answer.lower, "upper": answer.upper}
        arrays |= {"policy": answer.action, "optimal": answer.optimal}
    arrays["action_names"] = np.array([str(name) for name in model.action_names])
    if isinstance(model.state_names, tuple):
        arrays["state_names"] = np.array([str(name) for name in model.state_names])
    return lambda file: np.savez(file, about=about, **arrays)


WRITERS = {".json": _json, ".csv": _csv, ".npz": _npz}


def write(answer: Answer, path: Path, more: dict[str, Any]) -> None:
    """Write an answer into a file by its suffix, whole or not at all; `more` stands in the JSON beside it."""
    write_whole({path: WRITERS[path.suffix](answer, more)})
