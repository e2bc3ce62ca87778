"""`retorno solve … --reach LABEL`: the probability to come to some states, and what is earned until then."""

from __future__ import annotations

from typing import Any

import numpy as np

from retorno.bellman.fractional import Exact
from retorno.bellman.rational_reachability import RationalReachability
from retorno.bellman.reachability import Bounded, Reachability
from retorno.cli.rendering import ALL, FIRST, aligned


def reach_text(found: Reachability | RationalReachability, label: str, start: str) -> str:
    """A table of all states of a small model, of the first ones of a large one, and what holds of the start."""
    model, one = found.model, found.most is found.least
    earned, exact = bool(model.reward.any()), isinstance(found, RationalReachability)
    columns = {"probability" if one else "most": found.most} | ({} if one else {"least": found.least})
    columns |= {"reward until then": found.reward} if earned else {}
    shown = model.num_states if model.num_states <= ALL else FIRST
    heads = [head for name in columns for head in ((name, "exactly") if exact else (name,))]
    rows = [["state", *heads, *([] if one else ["most by"])]]
    for s in range(shown):
        does = [] if one else [_action(found, s) or "(there)" * bool(found.target[s]) or "(terminal)"]
        cells = [cell for values in columns.values() for cell in _cells(values, s)]
        rows.append([str(model.state_names[s]), *cells, *does])
    lines = aligned(rows, names=(0,) if one else (0, len(rows[0]) - 1))
    if shown < model.num_states:
        lines.append(f"… and {model.num_states - shown:,} more states; --json prints all of them")
    most = f"with probability {_told(found, found.most)}"
    lines.append(f"{label!r} is reached from {start} {most}" + ("" if one else " at the most,"))
    if not one:
        lines.append(f"and with probability {_told(found, found.least)} at the least, whatever is done")
    value = float(_start(found, found.reward)[0])
    if earned and np.isfinite(value):
        best = "what is earned" if one else "the least cost" if found.minimise else "the most earned"
        sure = "" if one else ", by policies that are sure to come there"
        lines.append(f"{best} until then{sure}: {_told(found, found.reward)}")
    elif earned and (value > 0) != found.minimise:
        lines.append("and until then as much as one likes can be collected")
    elif earned:
        who = "it is not" if one else "no policy is"
        lines.append(f"{who} sure to come there, so what is earned until then has no value")
    if isinstance(found, Reachability) and not found.converged:
        lines.append("NOT converged to the accuracy that was asked for; the bounds hold")
    return "\n".join(lines)


def reach_json(found: Reachability | RationalReachability, label: str) -> dict[str, Any]:
    """Everything by the states' names."""
    model = found.model
    names = [str(name) for name in model.state_names]

    def told(numbers: Bounded | list[Exact]) -> dict[str, Any]:
        kinds = Bounded._fields if isinstance(numbers, Bounded) else ("value", "exact")
        columns = numbers if isinstance(numbers, Bounded) else ([*map(float, numbers)], [*map(str, numbers)])
        start = _start(found, numbers)
        beginning = start if isinstance(numbers, Bounded) else (float(start[0]), str(start[0]))
        by_name = {kind: dict(zip(names, column, strict=True)) for kind, column in zip(kinds, columns, strict=True)}
        return {"start": dict(zip(kinds, beginning, strict=True)), **by_name}

    return {
        "reach": label,
        "most": told(found.most),
        "least": told(found.least),
        "reward": told(found.reward),
        "policy": {name: _action(found, s) for s, name in enumerate(names)},
        "minimise": found.minimise,
        "converged": found.converged if isinstance(found, Reachability) else True,
    }


def _cells(numbers: Bounded | list[Exact], state: int) -> list[str]:
    """A state's number for a table, and the fraction that it is."""
    if isinstance(numbers, Bounded):
        return [f"{numbers.value[state]:z.6f}"]
    return [f"{float(numbers[state]):z.6f}", str(numbers[state])]


def _start(found: Any, numbers: Bounded | list[Exact]) -> tuple[Any, ...]:
    """The number at the start, with its bounds where it has some."""
    return numbers.start(found.model) if isinstance(numbers, Bounded) else (found.start(numbers),)


def _action(found: Reachability | RationalReachability, state: int) -> str | None:
    """What the policy that reaches them most probably does; None where it is there or nothing can be done."""
    model = found.model
    begin, end = model.state_ptr[state : state + 2]
    if begin == end or found.target[state]:
        return None
    return str(model.action_names[int(model.action[begin + np.argmax(found.policy[begin:end])])])


def _told(found: Reachability | RationalReachability, numbers: Bounded | list[Exact]) -> str:
    """The number at the start, in words."""
    if not isinstance(numbers, Bounded):
        (value,) = _start(found, numbers)
        return f"{float(value):z.6f}, exactly {value}"
    value, lower, upper = _start(found, numbers)
    return f"{value:z.6f}" if upper - lower < 1e-9 else f"{value:z.6f}, in [{lower:z.6f}, {upper:z.6f}]"
