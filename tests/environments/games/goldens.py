"""Random games by OpenSpiel's rules, for ours to be held against: `python goldens.py 64 > games.json`.

OpenSpiel (Lanctot et al. 2019) is not needed by the tests and has an environment of its own: pip install open_spiel.
Each game follows from its number by a generator that both sides have; of each game are kept its length, its result for
the first player, and a digest of all masks and actions. 2048 has a twin of its own in the tests: OpenSpiel 2.0.2 does
not offer every push that merges tiles.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

WORD = 2**32
GAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "TicTacToe": ("tic_tac_toe", {}),
    "ConnectFour": ("connect_four", {}),
    "ConnectFour 5x4, 3": ("connect_four", {"rows": 5, "columns": 4, "x_in_row": 3}),
    "Gomoku": ("gomoku", {"size": 9}),
    "Othello": ("othello", {}),
    "Hex": ("hex", {"board_size": 5}),
    "Breakthrough": ("breakthrough", {"rows": 6, "columns": 5}),
    "Go": ("go", {"board_size": 5, "komi": 0.5}),
    "Pig": ("pig", {"winscore": 20}),
}
"""By our names, OpenSpiel's and their settings."""


def draws(game: int) -> Iterator[int]:
    """Numbers that follow from a game's own (Numerical Recipes' generator)."""
    x = game
    while True:
        x = (1664525 * x + 1013904223) % WORD
        yield x >> 8


def mixed(digest: int, *numbers: int) -> int:
    """A digest with more in it."""
    for number in numbers:
        digest = (31 * digest + number + 1) % WORD
    return digest


def told(actions: list[int]) -> int:
    """A set of actions as one number, whatever their order."""
    return sum((a + 1) * 2654435761 for a in actions) % WORD


def ours(name: str, state: Any, action: int) -> int:
    """An action of OpenSpiel's as we number it."""
    match name:
        case "hex" if state.current_player() == 1:
            size = int(state.get_game().get_parameters()["board_size"])
            return action % size * size + action // size
        case "breakthrough":
            rows, columns = (int(state.get_game().get_parameters()[key]) for key in ("rows", "columns"))
            said = state.action_to_string(action)
            (column, rank), to = (ord(said[0]) - ord("a"), int(said[1])), ord(said[2]) - ord("a")
            row = rank - 1 if state.current_player() == 0 else rows - rank
            return 3 * (row * columns + column) + to - column + 1
    return action


def repeats(state: Any, action: int, cells: int, played: int) -> bool:
    """Whether a move of Go repeats a position: OpenSpiel ends the game with it, by our rules it is not legal.

    The last move that there is time for ends it as well: there a repetition is told by the draw, which komi of half a
    point leaves no other way to.
    """
    after = state.child(action)
    return action != cells and after.is_terminal() and (played + 1 < 2 * cells or after.returns()[0] == 0)


def play(name: str, make: Callable[[], Any], game: int) -> list[float]:
    """One game: length, result, digest."""
    state, random, digest, length = make(), draws(game), 0, 0
    chosen = lambda among: among[next(random) % len(among)]  # noqa: E731
    while not state.is_terminal():
        if state.is_chance_node():
            chance = chosen(sorted(outcome for outcome, _ in state.chance_outcomes()))
            digest = mixed(digest, chance)
            state.apply_action(chance)
            continue
        legal = state.legal_actions()
        if name == "othello" and legal == [64]:
            state.apply_action(64)
            continue
        if name == "go":
            cells = state.num_distinct_actions() - 1
            legal = [action for action in legal if not repeats(state, action, cells, length)]
        if name == "pig" and "Turn total: 0\n" in str(state):
            legal = [0]  # With nothing to hold nobody holds, by our rules.
        by_ours = {ours(name, state, action): action for action in legal}
        action = chosen(sorted(by_ours))
        digest, length = mixed(digest, told(list(by_ours)), action), length + 1
        state.apply_action(by_ours[action])
    return [length, float(state.returns()[0]), digest]


def main(games: int) -> None:
    import pyspiel  # pyright: ignore[reportMissingImports]

    found = {}
    for ours, (name, settings) in GAMES.items():
        made = pyspiel.load_game(name, settings)
        found[ours] = [play(name, made.new_initial_state, game) for game in range(games)]
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items())
    print(f"{{\n{lines}\n}}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
