"""Any model as a game of two: what holds of one player's returns has to hold whoever moves next."""

from __future__ import annotations

import dataclasses

import numpy as np

from retorno.core.mdp import MDP


def in_turn(model: MDP) -> MDP:
    """The same, in which an opponent moves next after some transitions, drawn once: their discount is negated."""
    turns = np.random.default_rng(0).choice([-1.0, 1.0], model.discount.size)
    return dataclasses.replace(model, discount=model.discount * turns)
