"""How far a Connect Four run is from perfect play, for docs/self-play.md.

    retorno train alpha_zero connect_four --steps 3000000 --every 300000 --keep all --folder runs/four
    python docs/connect_four_results.py runs/four          # its policy of each boundary; again as it goes on
    python docs/connect_four_results.py runs/four 600000   # boundaries that far apart, at least
    python docs/connect_four_results.py runs/four first    # games as first player against the perfect player
    python docs/connect_four_results.py                    # only draw the picture again

What is found is kept in docs/results/connect-four-steps.json, by network, by how many moves at a game's start are drawn
at random at most, and by when the step size is down to 0; steps that were measured are not measured again.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from results import CRITICAL, HERE, KEPT, commit, processor

from retorno.cli.arena import with_simulations
from retorno.environments.games.connect_four import ConnectFour
from retorno.figures.judged import connect_four
from retorno.plots.curves import seed_panels
from retorno.plots.style import save
from retorno.run import policy_folder
from retorno.run.actor import load
from retorno.run.thinking import think
from retorno.search.connect_four import ConnectFourSolver

FOUND = KEPT / "connect-four-steps.json"
PLAYERS = {"the network alone": 0, "with 64 simulations": 64}
ASKED = {"the network alone": 0.93, "with 64 simulations": 0.97}
GAMES, SIMULATIONS = 20, 600
SOLVED_FROM = 5
"""Moves after which the perfect player knows each position in seconds; its two replies before are drawn."""


def kept_steps(run: Path, apart: int) -> list[int]:
    """The steps at which a run's policy is kept, some distance apart."""
    found: list[int] = []
    for step in sorted(policy_folder.steps(run)):
        if step > 0 and step - (found[-1] if found else 0) >= 0.9 * apart:
            found.append(step)
    return found


def measure(run: Path, steps: list[int]) -> None:
    """The share of critical positions on which each player keeps the result, by step."""
    everything, config = _kept(), json.loads((run / "config.json").read_text())
    network, openings = config["algorithm"]["network"]["type"], config["algorithm"]["openings"]
    name = f"{network}, ≤ {openings} at random, {config['steps'] / 1e6:g} million in all"
    kept = everything.setdefault(name, {"shares": {}})
    new = [step for step in steps if str(step) not in kept["shares"]]
    # Read before the positions are made: a run that goes on drops what it keeps between boundaries.
    policies: dict[int, Any] = {step: load(run, step).policy for step in new}
    judge = connect_four(CRITICAL) if new else None
    for step, policy in policies.items():
        shares = {name: float(judge.kept(with_simulations(policy, n)).mean()) for name, n in PLAYERS.items()}  # type: ignore[union-attr]
        kept["shares"][str(step)] = {name: round(share, 4) for name, share in shares.items()}
        kept |= {"positions": CRITICAL, "commit": commit(), "machine": f"{processor()}, {os.cpu_count()} cores"}
        FOUND.write_text(json.dumps(everything, indent=1) + "\n")
        # 95% intervals over positions.
        told = (f"{name} {x:.3f} ± {1.96 * np.sqrt(x * (1 - x) / CRITICAL):.3f}" for name, x in shares.items())
        print(f"step {step:,}", *told, flush=True)


def play_first(run: Path) -> None:
    """Games as first player against a player that is perfect, and loses as late as it can, once that takes seconds."""
    policy: Any = with_simulations(load(run).policy, SIMULATIONS)  # type: ignore[arg-type]
    game, solver, rng = ConnectFour(), ConnectFourSolver(), np.random.default_rng(0)
    step = jax.jit(lambda state, action: game.step(state, action, jax.random.key(0)))
    results, still_won = [], 0
    for _ in range(GAMES):
        (state, row), ply, reward = game.reset(jax.random.key(0)), 0, 0.0
        while not row.last:
            moves = np.flatnonzero(np.asarray(row.legal))
            if ply % 2 == 0:
                action = think(policy, row).action
            else:
                if ply >= SOLVED_FROM:
                    q = solver.scores(np.asarray(row.obs))
                    still_won += ply == SOLVED_FROM and np.nanmax(q) < 0
                    moves = np.flatnonzero(q == np.nanmax(q))
                action = int(rng.choice(moves))
            state, row = step(state, jnp.int32(action))
            reward, ply = float(row.reward), ply + 1
        results.append(reward if ply % 2 == 1 else -reward)
        print(f"game {len(results)}: {results[-1]:+.0f} after {ply} moves", flush=True)
    everything = _kept()
    won, drawn, lost = (sum(r == x for r in results) for x in (1, 0, -1))
    everything["first"] = {
        "simulations": SIMULATIONS,
        "won": won,
        "drawn": drawn,
        "lost": lost,
        "won after the drawn replies": int(still_won),
        "commit": commit(),
        "machine": f"{processor()}, {os.cpu_count()} cores",
    }
    FOUND.write_text(json.dumps(everything, indent=1) + "\n")
    print(f"{won} won, {drawn} drawn, {lost} lost; {still_won} of {GAMES} were won before it played perfectly")


def draw() -> None:
    """The picture of what is kept."""
    everything = {series: kept["shares"] for series, kept in _kept().items() if "shares" in kept}
    steps = {series: np.array(sorted(map(int, shares))) for series, shares in everything.items()}
    millions = np.unique(np.concatenate([np.round(each / 1e6, 1) for each in steps.values()]))
    panels: dict[str, tuple[np.ndarray, dict[str, np.ndarray]]] = {}
    for name in PLAYERS:
        lines = {series: np.full((1, len(millions)), np.nan) for series in everything}
        for series, shares in everything.items():
            at = np.searchsorted(millions, np.round(steps[series] / 1e6, 1))
            lines[series][0, at] = [shares[str(step)][name] for step in steps[series]]
        panels[f"{name} (dashed: asked)"] = (millions, lines)
    figure = seed_panels(
        panels, xlabel="moves of self-play, in millions", ylabel="critical positions where the result is kept"
    )
    for axes, asked in zip(figure.axes, ASKED.values(), strict=True):
        for line in axes.lines:
            at, share = np.array(line.get_data())
            line.set_data(at[known := ~np.isnan(share)], share[known])  # Each is measured at steps of its own.
            line.set_marker("o")
        axes.axhline(asked, color="grey", linestyle="--", linewidth=1.5)
        axes.set_ylim(0.65, 1)
    save(figure, HERE / "images" / "self-play-connect-four.png")


def _kept() -> dict[str, Any]:
    return json.loads(FOUND.read_text()) if FOUND.exists() else {}


def main() -> None:
    """Measure a run, and draw what was found."""
    if sys.argv[2:] == ["first"]:
        return play_first(Path(sys.argv[1]))
    if sys.argv[1:]:
        run, *apart = sys.argv[1:]
        measure(Path(run), kept_steps(Path(run), int(apart[0]) if apart else 0))
    draw()


if __name__ == "__main__":
    main()
