"""Random games by our rules and by OpenSpiel's, many more than the tests have time for.

    .venv/bin/python benchmarks/games_alike.py --peers PYTHON                       # 100,000 of each: hours
    .venv/bin/python benchmarks/games_alike.py --peers PYTHON --games 20000 Go Hex  # the named ones

Of each game its length, its result and a digest of all masks, actions and what chance did have to be the same on both
sides, as in tests/environments/games. How many are is kept in docs/results/games-alike.json; the first that is not is
told with its number.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator

from measure import ROOT, commit, processor

RULES = ROOT / "tests" / "environments" / "games"
KEPT = ROOT / "docs" / "results" / "games-alike.json"
sys.path.insert(0, str(RULES))

from goldens import GAMES  # noqa: E402  # pyright: ignore[reportMissingImports]
from test_rules import SIDE, side_by_side  # noqa: E402  # pyright: ignore[reportMissingImports]

THEIRS = """
import json, sys
import pyspiel
from goldens import GAMES, play
name, settings = GAMES[sys.argv[1]]
made = pyspiel.load_game(name, settings)
for game in range(int(sys.argv[2])):
    print(json.dumps(play(name, made.new_initial_state, game)))
"""


def ours(name: str, games: int) -> Iterator[list[float]]:
    """Length, result and digest of each game."""
    for start in range(0, games, SIDE):
        yield from side_by_side(name, range(start, start + SIDE))[: games - start]


def compare(python: str, name: str, games: int) -> dict[str, int]:
    """How many games are alike, and how many moves they have."""
    found = {"games": 0, "moves": 0}
    with subprocess.Popen(
        [python, "-c", THEIRS, name, str(games)], stdout=subprocess.PIPE, text=True, cwd=RULES
    ) as theirs:
        assert theirs.stdout
        for mine, line in zip(ours(name, games), theirs.stdout, strict=True):
            if mine != (other := json.loads(line)):
                theirs.kill()
                raise SystemExit(f"{name}: game {found['games']} is {mine} by our rules and {other} by OpenSpiel's")
            found["games"] += 1
            found["moves"] += int(mine[0])
    return found


def main() -> None:
    """Compare the named games, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *GAMES], help="games; all where none is named")
    parser.add_argument("--peers", required=True, help="the Python that has open_spiel")
    parser.add_argument("--games", type=int, default=100_000)
    asked = parser.parse_args()
    for name in asked.names or GAMES:
        alike = compare(asked.peers, name, asked.games)
        print(f"{name}: {alike['games']:,} games alike, {alike['moves']:,} moves", flush=True)
        everything = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        everything[name] = {**alike, "machine": processor(), "commit": commit()}
        KEPT.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
