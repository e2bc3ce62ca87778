"""How far a Connect Four run is from perfect play as it goes on, for docs/self-play.md.

    retorno train alpha_zero connect_four --steps 6000000 --every 300000 --folder runs/four
    python docs/connect_four_results.py runs/four          # its policy of each boundary; again as it goes on
    python docs/connect_four_results.py runs/four 600000   # boundaries that far apart, at least

What is found is kept in docs/results/connect-four-steps.json; steps that were measured are not measured again.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from results import CRITICAL, HERE, KEPT, commit, processor

from retorno.cli.arena import with_simulations
from retorno.figures.judged import connect_four
from retorno.plots.curves import seed_curves
from retorno.plots.style import save
from retorno.run.actor import load

FOUND = KEPT / "connect-four-steps.json"
PLAYERS = {"the network alone": 0, "with 64 simulations": 64}
ASKED = {"asked of the network alone": 0.93, "asked of 64 simulations": 0.97}


def boundaries(run: Path, apart: int) -> list[int]:
    """The steps at which a run's policy is kept, some distance apart."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    found: list[int] = []
    for step in (line["step"] for line in lines if "boundary" in line):
        if step - (found[-1] if found else 0) >= 0.9 * apart:
            found.append(step)
    return found


def measure(run: Path, steps: list[int]) -> dict[str, Any]:
    """The share of critical positions on which each player keeps the result, by step."""
    kept = json.loads(FOUND.read_text()) if FOUND.exists() else {"shares": {}}
    new = [step for step in steps if str(step) not in kept["shares"]]
    judge = connect_four(CRITICAL) if new else None
    for step in new:
        policy: Any = load(run, step).policy
        shares = {name: float(judge.kept(with_simulations(policy, n)).mean()) for name, n in PLAYERS.items()}  # type: ignore[union-attr]
        kept["shares"][str(step)] = {name: round(share, 4) for name, share in shares.items()}
        kept |= {"positions": CRITICAL, "commit": commit(), "machine": f"{processor()}, {os.cpu_count()} cores"}
        FOUND.write_text(json.dumps(kept, indent=1) + "\n")
        print(f"step {step:,}", *(f"{name} {share:.3f}" for name, share in shares.items()), flush=True)
    return kept


def main() -> None:
    """Measure a run, and draw what was found."""
    run, *apart = sys.argv[1:]
    kept = measure(Path(run), boundaries(Path(run), int(apart[0]) if apart else 0))
    steps = sorted(map(int, kept["shares"]))
    series = {name: np.array([[kept["shares"][str(step)][name] for step in steps]]) for name in PLAYERS}
    figure = seed_curves(
        np.array(steps) / 1e6,
        series,
        xlabel="moves of self-play, in millions",
        ylabel="critical positions where the result is kept",
        references=ASKED,
    )
    save(figure, HERE / "images" / "self-play-connect-four.png")


if __name__ == "__main__":
    main()
