"""Games, search and self-play beside pgx, mctx and OpenSpiel, in one run.

    make bench                                                        # with the others
    .venv/bin/python benchmarks/self_play.py --peers PYTHON [NAME …]  # the named parts

Ratios are medians of pairs measured in turn (A B A B …), both sides warmed up, of rates by seconds of CPU, so that what
else runs on the machine weighs on both alike. Results go to docs/self-play-speed.json and docs/self-play-speed.md with
the machine and the commit.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from measure import Worker, in_turn, publish, ratio

PAIRS = 5
MINE, PEERS = "self_play_works.py", "self_play_peers.py"
Measure = Callable[[str], dict[str, Any]]


def against(work: str, peer: str) -> Measure:
    """The ratio of rates, ours over the peer's."""

    def measure(python: str) -> dict[str, Any]:
        with Worker(sys.executable, MINE, work) as mine, Worker(python, PEERS, peer) as theirs:
            return ratio(*in_turn(mine.measure, theirs.measure, PAIRS))

    return measure


def over(part: str, whole: str) -> Measure:
    """How many times as long the whole takes as a part of it."""

    def measure(python: str) -> dict[str, Any]:
        with Worker(sys.executable, MINE, part) as less, Worker(sys.executable, MINE, whole) as more:
            return ratio(*in_turn(less.measure, more.measure, PAIRS))

    return measure


def two_devices(python: str) -> dict[str, Any]:
    """What a second host device brings, by the clock: of use on a machine that does nothing else."""
    one = Worker(sys.executable, MINE, "one_device", JAX_NUM_CPU_DEVICES="1")
    two = Worker(sys.executable, MINE, "two_devices", JAX_NUM_CPU_DEVICES="2")
    with one, two:
        return ratio(*in_turn(two.measure, one.measure, PAIRS))


def timed(act: Callable[[Any], Any], given: list[Any]) -> dict[str, Any]:
    """The median of seconds of CPU over what is given, the first of which is a warm-up."""
    seconds = []
    for each in given:
        began = time.process_time()
        act(each)
        seconds.append(time.process_time() - began)
    seconds = sorted(seconds[1:])
    return {"seconds": statistics.median(seconds), "low": seconds[0], "high": seconds[-1], "runs": len(seconds)}


def positions(plies: int, count: int) -> list[Any]:
    """Rows of Connect Four after so many random moves, the games of which are not over."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from retorno.environments.registry import native

    world, rng, found = native("connect_four"), np.random.default_rng(0), []
    step = jax.jit(lambda state, action: world.step(state, action, jax.random.key(0)))
    while len(found) < count:
        state, row = world.reset(jax.random.key(0))
        for _ in range(plies):
            state, row = step(state, jnp.int32(rng.choice(np.flatnonzero(np.asarray(row.legal)))))
            if row.last:
                break
        else:
            found.append(row)
    return found


def move(python: str) -> dict[str, Any]:
    """What the page asks for each move: a search of 200 simulations, with all that is drawn of it."""
    from retorno.algorithms import AlphaZero
    from retorno.networks import Residual
    from retorno.run.thinking import think
    from retorno.run.train import train
    from retorno.search import Gumbel

    method = AlphaZero(network=Residual(), search=Gumbel(simulations=200))
    policy = train(method, "connect_four", 1024, seed=0).policy
    return timed(lambda row: think(policy, row), positions(8, 12))


def perfect(python: str) -> dict[str, Any]:
    """The solver on positions after eight moves; nothing is remembered from one to the next."""
    import numpy as np

    from retorno.search.connect_four import ConnectFourSolver

    return timed(lambda row: ConnectFourSolver().values(np.asarray(row.obs)), positions(8, 12))


def tic_tac_toe(python: str) -> dict[str, Any]:
    """The exact model and its minimax."""
    from retorno.bellman import minimax
    from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
    from retorno.environments.positions import positions

    model = positions(TicTacToe()).model
    return timed(lambda _: minimax(model), [None] * 6)


PARTS: dict[str, tuple[str, str, Measure]] = {
    "play_spiel": (
        "moves of self-play, Connect Four, 32 simulations, MLP of 2 × 128, over OpenSpiel's search",
        "≥ 10 (goal 20)",
        against("play_mlp", "open_spiel"),
    ),
    "play_mlp": ("the same over a loop of pgx and mctx", "≥ 1 (goal 1.5)", against("play_mlp", "play_mlp")),
    "play_residual": (
        "the same with a residual network of 3 × 32",
        "≥ 1 (goal 1.5)",
        against("play_residual", "play_residual"),
    ),
    "gradient_lax": (
        "a gradient step of the residual network, batch 512, over the same with lax's convolutions",
        "≥ 8 (goal 12)",
        against("gradient", "gradient_lax"),
    ),
    "gradient_torch": ("the same over PyTorch", "≥ 1 (goal 1.5)", against("gradient", "gradient_torch")),
    "search_residual": (
        "self-play over the network's evaluations that it needs, residual network",
        "≤ 1.4 (goal 1.15)",
        over("asked_residual", "play_residual"),
    ),
    "search_mlp": ("the same, MLP", "", over("asked_mlp", "play_mlp")),
    "steps_connect_four": (
        "random moves, Connect Four on 1,024 boards, over pgx's",
        "≥ 1 (goal 2)",
        against("steps_connect_four", "steps_connect_four"),
    ),
    "steps_othello": ("the same, Othello", "", against("steps_othello", "steps_othello")),
    "steps_go": ("the same, Go on 9×9", "≥ 1.5 (goal 3)", against("steps_go", "steps_go")),
    "loop": (
        "the whole loop over its own search and update, MLP",
        "≤ 1.15 (goal 1.05)",
        over("parts_mlp", "whole_mlp"),
    ),
    "devices": ("two host devices over one, the whole loop by the clock, MLP", "≥ 1.7", two_devices),
    "move": ("a move on the page, 200 simulations, residual network, seconds", "≤ .15 (goal .05)", move),
    "tic_tac_toe": ("minimax of tic-tac-toe, seconds", "≤ .2 (goal .05)", tic_tac_toe),
    "perfect": ("a perfect move in Connect Four after 8 plies, seconds", "≤ 1 (goal .1)", perfect),
}


def render(results: dict[str, dict[str, Any]]) -> str:
    """docs/self-play-speed.md."""
    lines = [
        "# How fast self-play is",
        "",
        "Made by `make bench` ([benchmarks/self_play.py](../benchmarks/self_play.py)): retorno beside pgx, mctx and",
        "OpenSpiel in one run, in turn, warmed up; the median of the ratios pair by pair, with the least and the",
        "largest. Rates are moves by seconds of CPU where nothing else is said.",
        "",
        "| work | bar | measured | least to largest | ours | the other's |",
        "|---|---|---|---|---|---|",
    ]
    for name, (title, bar, _) in PARTS.items():
        result = results.get(name)
        if result is None:
            continue
        if "pairs" in result:
            sides = f"{result['mine']:,.4g}/s | {result['theirs']:,.4g}/s"
            spread = f"{result['low']:.3g} to {result['high']:.3g}"
            lines.append(f"| {title} | {bar} | **{result['ratio']:.3g}** | {spread} | {sides} |")
        else:
            spread = f"{result['low']:.3f} to {result['high']:.3f}"
            lines.append(f"| {title} | {bar} | **{result['seconds']:.3f}** | {spread} | | |")
    marks = sorted({f"{r['commit']} on {r['machine']}" for r in results.values()})
    return "\n".join([*lines, "", f"Measured at commit {'; '.join(marks)}.", ""])


if __name__ == "__main__":
    publish(__doc__, PARTS, render, "self-play-speed", peers="pgx, mctx and open_spiel")
