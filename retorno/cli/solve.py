"""`retorno solve NAME`: the exact answer of a model, with bounds and all ties."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from retorno import bellman
from retorno.cli.options import Flag, Name, parse
from retorno.cli.terminal import note, print_json
from retorno.core.mdp import Solution
from retorno.environments.registry import model

METHODS = {
    "auto": bellman.solve,
    "policy-iteration": bellman.policy_iteration,
    "value-iteration": bellman.value_iteration,
}


ARROWS = {"left": "←", "down": "↓", "right": "→", "up": "↑", "west": "←", "south": "↓", "east": "→", "north": "↑"}


@dataclass(frozen=True)
class Solve:
    """The best value of each state of a model, with bounds, and all actions that reach it."""

    name: Name
    """A world with an exact model: `retorno list worlds` marks them."""
    discount: float = 0.99
    """γ, in [0, 1]."""
    method: Literal["auto", "policy-iteration", "value-iteration"] = "auto"
    """auto takes policy iteration up to 5,000 states and value iteration above."""
    accuracy: float = 1e-6
    """The width of the bounds at which the answer counts as converged."""
    json: Flag = False
    """Print one JSON object and nothing else."""
    picture: Path | None = None
    """Draw values and policy into this .png or .svg: a map where the model has one, else a graph."""


def run(arguments: list[str]) -> int:
    given = parse(Solve, arguments, "retorno solve")
    answer = METHODS[given.method](model(given.name), given.discount, given.accuracy)
    if given.json:
        print_json(as_json(answer))
    else:
        if on_map(answer) and fits(drawn := text_map(answer)):
            print(f"{drawn}\n")
        print(answer)
    if given.picture is not None:
        from retorno.plots import save

        note(f"drawn in {save(picture(answer), given.picture)}")
    return 0


def picture(answer: Solution) -> Any:
    """A map of values and best actions where the model lies on one, else its graph."""
    from retorno.plots import model_graph, value_map

    return value_map(answer) if on_map(answer) else model_graph(answer.model, answer)


def on_map(answer: Solution) -> bool:
    """Whether the model's states lie on a map."""
    return answer.model.grid is not None and any(answer.model.grid)


def text_map(answer: Solution) -> str:
    """The value and all best actions of each state where it lies on the map; terminal states show none."""
    grid = answer.model.grid or ()
    cells = {}
    for s, place in enumerate(grid):
        if place is not None:
            arrows = "".join(ARROWS.get(action, action) for action in answer.actions(s))
            cells[place] = f"{answer.value[s]:.3f} {arrows}" if arrows else "·"
    height, width = (max(place[axis] for place in cells) + 1 for axis in (0, 1))
    size = max(map(len, cells.values()))
    rows = ("   ".join(cells.get((row, column), "").ljust(size) for column in range(width)) for row in range(height))
    return "\n".join(row.rstrip() for row in rows)


def fits(text: str) -> bool:
    """Whether no line is wider than the terminal."""
    return max(map(len, text.splitlines())) <= shutil.get_terminal_size().columns


def as_json(answer: Solution) -> dict[str, Any]:
    """Everything by the states' names; `policy` is one best action, `optimal` all that tie."""
    names = answer.model.state_names
    ties = {name: list(answer.actions(s)) for s, name in enumerate(names)}
    return {
        "value": named(names, answer.value),
        "lower": named(names, answer.lower),
        "upper": named(names, answer.upper),
        "policy": {name: chosen(answer, s) for s, name in enumerate(names)},
        "optimal": ties,
        "start_value": answer.start_value,
        "discount": answer.question_discount,
        "method": answer.method,
        "converged": answer.converged,
        "policy_loss_bound": answer.policy_loss_bound,
        "sweeps": answer.sweeps,
    }


def named(names: tuple[str, ...], values: Any) -> dict[str, float]:
    return dict(zip(names, map(float, values), strict=True))


def chosen(answer: Solution, state: int) -> str | None:
    """The action that the answer's policy takes; None in a terminal state."""
    begin, end = answer.model.state_ptr[state : state + 2]
    if begin == end:
        return None
    return answer.model.action_names[answer.model.action[begin + answer.policy[begin:end].argmax()]]
