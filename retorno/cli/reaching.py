"""`retorno solve … --reach LABEL`: the probability to come to some states, and what is earned until then."""

from __future__ import annotations

from typing import Any

import numpy as np

from retorno.bellman.reachability import Bounded, Reachability
from retorno.cli.rendering import ALL, FIRST, aligned


def reach_text(found: Reachability, label: str, start: str) -> str:
    """A table of all states of a small model, of the first ones of a large one, and what holds of the start."""
    model, one = found.model, found.most is found.least
    earned = bool(model.reward.any())
    columns = {"probability" if one else "most": found.most.value} | ({} if one else {"least": found.least.value})
    columns |= {"reward until then": found.reward.value} if earned else {}
    shown = model.num_states if model.num_states <= ALL else FIRST
    rows = [["state", *columns, *([] if one else ["most by"])]]
    for s in range(shown):
        does = [] if one else [_action(found, s) or "(there)" * bool(found.target[s]) or "(terminal)"]
        rows.append([str(model.state_names[s]), *(f"{x[s]:z.6f}" for x in columns.values()), *does])
    lines = aligned(rows, names=(0,) if one else (0, len(rows[0]) - 1))
    if shown < model.num_states:
        lines.append(f"… and {model.num_states - shown:,} more states; --json prints all of them")
    most = f"with probability {_bounded(found.most, model)}"
    lines.append(f"{label!r} is reached from {start} {most}" + ("" if one else " at the most,"))
    if not one:
        lines.append(f"and with probability {_bounded(found.least, model)} at the least, whatever is done")
    value = found.reward.start(model)[0]
    if earned and np.isfinite(value):
        best = "what is earned" if one else "the least cost" if found.minimise else "the most earned"
        sure = "" if one else ", by policies that are sure to come there"
        lines.append(f"{best} until then{sure}: {_bounded(found.reward, model)}")
    elif earned and (value > 0) != found.minimise:
        lines.append("and until then as much as one likes can be collected")
    elif earned:
        who = "it is not" if one else "no policy is"
        lines.append(f"{who} sure to come there, so what is earned until then has no value")
    if not found.converged:
        lines.append("NOT converged to the accuracy that was asked for; the bounds hold")
    return "\n".join(lines)


def reach_json(found: Reachability, label: str) -> dict[str, Any]:
    """Everything by the states' names."""
    model = found.model
    names = [str(name) for name in model.state_names]

    def told(numbers: Bounded) -> dict[str, Any]:
        start = dict(zip(("value", "lower", "upper"), numbers.start(model), strict=True))
        by_name = {x: dict(zip(names, map(float, getattr(numbers, x)), strict=True)) for x in Bounded._fields}
        return {"start": start, **by_name}

    return {
        "reach": label,
        "most": told(found.most),
        "least": told(found.least),
        "reward": told(found.reward),
        "policy": {name: _action(found, s) for s, name in enumerate(names)},
        "minimise": found.minimise,
        "converged": found.converged,
    }


def _action(found: Reachability, state: int) -> str | None:
    """What the policy that reaches them most probably does; None where it is there or nothing can be done."""
    model = found.model
    begin, end = model.state_ptr[state : state + 2]
    if begin == end or found.target[state]:
        return None
    return str(model.action_names[int(model.action[begin + np.argmax(found.policy[begin:end])])])


def _bounded(numbers: Bounded, model: Any) -> str:
    value, lower, upper = numbers.start(model)
    return f"{value:z.6f}" if upper - lower < 1e-9 else f"{value:z.6f}, in [{lower:z.6f}, {upper:z.6f}]"
