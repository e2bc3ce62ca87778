"""What AlphaZero's parts are worth, on tic-tac-toe, where every position is solved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from retorno.algorithms import AlphaZero
from retorno.algorithms.published import settings
from retorno.core.environment import Environment
from retorno.environments.registry import make
from retorno.figures.exhibit import Exhibit
from retorno.figures.judged import Judged, every_position
from retorno.plots.curves import mean_reach, seed_panels
from retorno.run.train import train
from retorno.search import PUCT, Gumbel

WORLD = "tic_tac_toe_for_two"
STEPS = 12_000
SIMULATIONS = (2, 8, 32, 128)
USUAL = "Gumbel, as published"
POINTS = 4
"""At which a run is judged."""


def parts(seeds: int) -> Exhibit:
    """Mistakes of the network alone: over the simulations of both searches, and over moves with one part left out."""
    published, world = settings("alpha_zero", WORLD), make(WORLD)
    assert published is not None and isinstance(published.algorithm, AlphaZero) and isinstance(world, Environment)
    usual, judge = published.algorithm, every_position(world).critical

    def learnt(**changed: Any) -> Float[np.ndarray, "S K"]:
        """The share of positions on which each seed's network errs, after each part of its budget."""
        run = train(replace(usual, **changed), world, STEPS, seed=range(seeds), every=STEPS // POINTS)
        with run as training:
            return np.stack([_mistakes(judge, training.policies) for report in training if report.boundary], 1)

    # A search that counts visits needs choices that are drawn, Gumbel's draws by itself.
    searches = {
        USUAL: {n: learnt(search=Gumbel(simulations=n)) for n in SIMULATIONS},
        "PUCT": {n: learnt(search=PUCT(simulations=n), drawn_moves=9) for n in SIMULATIONS},
    }
    left_out = {
        USUAL: learnt(),
        "λ = .9, not the outcome": learnt(lambda_=0.9),
        "λ = 0: the search's value": learnt(lambda_=0.0),
        "no symmetries": learnt(symmetries=False),
        "no random openings": learnt(openings=0),
    }
    ends = {name: np.stack([by[n][:, -1] for n in SIMULATIONS], 1) for name, by in searches.items()}
    moves = np.arange(1, POINTS + 1) * STEPS // POINTS
    figure = seed_panels(
        {
            f"after {STEPS:,} moves": (np.log2(SIMULATIONS), ends),
            f"with {usual.search.simulations} simulations": (moves, left_out),
        },
        xlabel="",
        ylabel="positions where the network alone errs",
    )
    by_simulations, by_moves = figure.axes
    by_simulations.set_xlabel("simulations")
    by_simulations.set_xticks(np.log2(SIMULATIONS), [str(n) for n in SIMULATIONS])
    by_moves.set_xlabel("moves")
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
    rows = [
        (name, simulations, STEPS, *_told(values[:, -1]))
        for name, by in searches.items()
        for simulations, values in by.items()
    ]
    rows += [
        (name, usual.search.simulations, int(step), *_told(values[:, k]))
        for name, values in left_out.items()
        for k, step in enumerate(moves)
    ]
    return Exhibit(
        figure,
        ("what", "simulations", "moves", "mistakes", "reach"),
        rows,
        notes=(
            f"the share of the {len(judge.q):,} positions of tic-tac-toe on which some moves keep the result and "
            "others do not; bands are 95% intervals over seeds",
            "PUCT's moves are drawn from its visits; what else is published for tic-tac-toe is the same",
        ),
    )


def _mistakes(judge: Judged, policies: list[Any]) -> Float[np.ndarray, " S"]:
    return np.array([1 - judge.kept(policy.network).mean() for policy in policies])


def _told(values: Float[np.ndarray, " S"]) -> tuple[float, float]:
    """The mean over seeds, and how far its 95% interval reaches."""
    return float(values.mean()), float(mean_reach(values[:, None])[0])
