"""How a model's file is read where the file leaves that open, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from retorno.core.mdp import MDP, PROBABILITY_TOLERANCE, ModelError
from retorno.core.numerals import Number, divided

ROUNDED = 1e-6 * (1 + 1e-9)
"""How far the probabilities of a pair may be from 1 in all to be normalised: PRISM and Storm write six digits."""

CONTINUOUS = (
    "a continuous-time model, whose lines hold rates, is not read: retorno's models take steps. Export the embedded "
    "or the uniformised chain"
)
OBSERVED = (
    "what is observed is left out: the answer is for one who sees the state, and no policy that only observes can do "
    "better"
)


class ModelWarning(UserWarning):
    """What a file says and the model does not."""


@dataclass(frozen=True)
class Reading:
    """What is asked of a model's file beside its name."""

    reward: tuple[str, ...] = ()
    """Of a .tra or .drn file with several rewards: the one that is meant, by its name or number, or a file of
    rewards. Given several times, they are added."""
    terminal: str | None = None
    """Episodes end in the states with this label (or of this name)."""
    normalise: bool = False
    """Take probabilities that sum to 1 within 1e-6 only, divided by their sum; how far they were off is told."""
    columns: str | None = None
    """Of recorded transitions: which column is what, as state=s,action=a,reward=r,next_state=sp,terminated=end, or in
    this order as s,a,r,sp,end; by their numbers from 1 where the file has no header. A state or action of several
    columns is x+y."""
    prior: Fraction = Fraction(0)
    """Of recorded transitions: pseudo-count of each next state (a Dirichlet prior); 0 for the most likely model."""
    unseen: Fraction | None = None
    """Of recorded transitions: what an action that was never tried pays a step; without, such actions are left out."""

    def refuse(self, but: tuple[str, ...], why: str) -> None:
        """Raise where something is asked that this kind of file has no answer to.

        Args:
            but: what it has an answer to.
            why: the end of the message, about the others.

        Raises:
            ModelError: with what was asked.
        """
        for field in fields(self):
            if field.name not in but and getattr(self, field.name) != field.default:
                raise ModelError(f"{field.name} (--{field.name}) {why}")


USUAL = Reading()
"""Nothing is asked of a file beside its name."""


class Loaded(NamedTuple):
    """A model from a file."""

    model: MDP
    notes: tuple[str, ...] = ()
    """What was found in the file and does not stand in the model, in sentences."""
    discount: Number | None = None
    """The γ that the file asks with, where it does."""


def normalised(
    probability: Float[np.ndarray, " N"],
    row_ptr: Int[np.ndarray, " ends"],
    asked: bool,
    fractions: dict[float, Fraction],
) -> tuple[Float[np.ndarray, " N"], tuple[str, ...]]:
    """Probabilities divided by the sum of their pair where that is off by rounding, if asked, and what to tell of it.

    What is off by more is left as it is, for `MDP` to refuse.
    """
    if not asked or len(row_ptr) < 2 or (np.diff(row_ptr) == 0).any():
        return probability, ()
    total = np.add.reduceat(probability, row_ptr[:-1])
    off = np.abs(total - 1)
    rounded = (off > PROBABILITY_TOLERANCE) & (off <= ROUNDED)
    if not rounded.any():
        return probability, ()
    count = int(rounded.sum())
    pairs = "one pair's probabilities" if count == 1 else f"the probabilities of {count:,} pairs"
    told = f"{pairs} did not sum to 1, by up to {off[rounded].max():.2g}: normalised"
    return divided(probability, row_ptr, rounded, fractions), (told,)


def ending(model: MDP, label: str) -> Loaded:
    """The model whose episodes end in the states with a label.

    Raises:
        ModelError: when there is no such label.
    """
    try:
        ended = model.labelled(label) | model.terminal
    except KeyError as error:
        raise ModelError(error.args[0]) from None
    kept = ~ended[model.pair_state]
    lines = np.repeat(kept, np.diff(model.row_ptr))
    counts = np.diff(model.row_ptr)[kept]
    cut = replace(
        model,
        state_ptr=np.searchsorted(model.pair_state[kept], np.arange(model.num_states + 1)),
        action=model.action[kept],
        row_ptr=np.append(0, np.cumsum(counts)),
        next_state=model.next_state[lines],
        probability=model.probability[lines],
        reward=model.reward[lines],
        discount=np.where(ended[model.next_state[lines]], 0.0, model.discount[lines]),
    )
    unread = np.flatnonzero(~lines & (model.reward != 0))
    if not len(unread):
        return Loaded(cut)
    state, reward = int(model.pair_state[model.transition_pair[unread[0]]]), model.reward[unread[0]]
    told = (
        f"episodes end on the way into the states labelled {label!r}, so what is paid on leaving them is not earned "
        f"({reward:g} in state {model.state_names[state]!r})"
    )
    return Loaded(cut, (told,))
