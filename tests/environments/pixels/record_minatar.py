"""Records MinAtar's own package, or compares our games with it over many steps.

    pip install --no-deps --target /tmp/minatar MinAtar==1.0.15
    PYTHONPATH=/tmp/minatar:. python tests/environments/pixels/record_minatar.py record
    PYTHONPATH=/tmp/minatar:. python tests/environments/pixels/record_minatar.py compare 100000

What the package draws at random is recorded as what it means (`MinAtar.chance`), so that ours can be played alike.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

GOLDENS = Path(__file__).parent / "minatar.npz"
GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
STEPS = 600
NAMES = "nlurdf"


class Recorder(np.random.RandomState):
    """Remembers what was drawn since it was last asked."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.drawn: list[Any] = []

    def rand(self, *shape: int) -> Any:
        self.drawn.append(super().rand(*shape))
        return self.drawn[-1]

    def randint(self, low: Any, high: Any = None, size: Any = None, **_: Any) -> Any:
        number = super().randint(low, high, size)
        # One of so many free rows: the middle of its share of them. A copy: the game goes on to change its own.
        self.drawn.append(np.copy(number) if high is not None else (number + 0.5) / low)
        return number

    def taken(self) -> list[Any]:
        drawn, self.drawn = self.drawn, []
        return drawn


def chance(game: str, drawn: list[Any], spawned: bool) -> tuple[Any, ...]:
    """What was drawn at random, as `MinAtar.chance` of ours gives it."""
    match game:
        case "breakout":
            return (np.array(bool(drawn) and drawn[0] > 0.5),)
        case "freeway":
            return (np.int32(drawn[0] * np.sign(drawn[1] - 0.5)) if drawn else np.ones(8, np.int32),)
        case "asterix":
            side, gold, free = [*drawn, 0.5][:3] if drawn else (0, 0, 0.5)
            return np.array(side < 1 / 2), np.array(gold < 1 / 3), np.float32(free)
        case "seaquest":
            enemy = drawn[:3] if spawned else (0, 0, 1)
            diver = (drawn[3:] if spawned else drawn) or (0, 1)
            left, kind, row = enemy
            return (
                np.array(left < 1 / 2),
                np.array(kind < 1 / 3),
                np.int32(row),
                np.array(diver[0] < 1 / 2),
                np.int32(diver[1]),
            )
    return ()


def player(game: str, env: Any, random: np.random.RandomState) -> int:
    """An action that leads far into the game, mostly."""
    if random.rand() < 0.3:
        return random.randint(6)
    match game:
        case "breakout":
            return NAMES.index("l" if env.ball_x < env.pos else "r" if env.ball_x > env.pos else "n")
        case "freeway":
            return NAMES.index("u")
        case "space_invaders":
            return NAMES.index(random.choice(list("fflr")))
        case "asterix":
            near = [x for x in env.entities if x is not None and abs(x[0] - env.player_x) < 3]
            danger = [x for x in near if not x[3] and abs(x[1] - env.player_y) < 2]
            return NAMES.index("u" if danger and danger[0][1] >= env.player_y else "d" if danger else "n")
        case "seaquest":
            if env.sub_y == 0 or (env.diver_count >= 3 + 3 * (env.ramp_index % 2) or env.oxygen < 20):
                return NAMES.index("d" if env.sub_y == 0 else "u")
            if env.divers and env.diver_count < 6 and random.rand() < 0.7:
                x, y = env.divers[0][:2]
                if y != env.sub_y:
                    return NAMES.index("u" if y < env.sub_y else "d")
                return NAMES.index("l" if x < env.sub_x else "r")
            return NAMES.index("f")
    raise ValueError(game)


def played(game: str, steps: int, seed: int, ramping: bool = True) -> Iterator[tuple[Any, ...]]:
    """(chance, begins, action, screen, reward, over) of each row."""
    logging.disable(logging.WARNING)
    made, random = import_module(f"minatar.environments.{game}").Env(ramping=ramping), np.random.RandomState(seed)
    made.random = recorder = Recorder(seed)
    over = True
    for _ in range(steps):
        if over:
            made.reset()
            over = False
            yield chance(game, recorder.taken(), False), True, 0, made.state(), 0.0, False
            continue
        action = player(game, made, random)
        spawned = game == "seaquest" and made.e_spawn_timer == 0
        reward, over = made.act(action)
        yield chance(game, recorder.taken(), spawned), False, action, made.state(), float(reward), bool(over)


def recorded(game: str, steps: int, seed: int, ramping: bool = True) -> dict[str, Any]:
    """Rows as arrays [steps, …]."""
    chances, *columns = zip(*played(game, steps, seed, ramping), strict=True)
    names = ("begins", "action", "screen", "reward", "over")
    told = {f"chance{k}": np.stack(each) for k, each in enumerate(zip(*chances, strict=True))}
    return told | {name: np.stack(each) for name, each in zip(names, columns, strict=True)}


def main() -> None:
    if sys.argv[1] == "record":
        kept = {}
        for game in GAMES:
            for name, rows in recorded(game, STEPS, 0).items():
                kept[f"{game}/{name}"] = np.packbits(rows, axis=0) if name == "screen" else rows
        np.savez_compressed(GOLDENS, **kept)
        return
    from replayed import difference

    for game in GAMES:
        for ramping in (True, False):
            rows = recorded(game, int(sys.argv[2]), seed=1, ramping=ramping)
            told = f"{rows['over'].sum()} ends, {rows['reward'].sum():.0f} paid, {rows['reward'].max():.0f} at most"
            found = difference(game, rows, ramping=ramping)
            print(f"{game}, ramping {ramping}: {len(rows['over'])} rows, {told}: {found or 'equal'}", flush=True)


if __name__ == "__main__":
    main()
