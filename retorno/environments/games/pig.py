"""Pig, a race with a die: roll as often as you dare, or hold (Neller & Presser 2004)."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int

from retorno.environments.games.chance import ChanceGame
from retorno.environments.games.game import Moved

SIDES = 6
ROLL, HOLD = 0, 1


class Pig(ChanceGame):
    """Action 0 rolls the die: what it shows counts for this turn, but a one ends the turn with nothing. Action 1 holds.

    Observed are one's own score, the other's, and what the turn has brought. Who holds with the target or more wins;
    with enough for that nobody rolls on. With nothing to hold nobody holds: two who did would play for ever.
    """

    target: int = eqx.field(static=True, default=100)

    def __check_init__(self) -> None:
        if self.target < 2:
            raise ValueError(f"target must be at least 2 points, got {self.target}")

    @property
    def chances(self) -> int:
        return SIDES

    @property
    def observation_space(self) -> spaces.MultiDiscrete:
        return spaces.MultiDiscrete([self.target, self.target, self.target + 1])

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def start(self, key: object) -> Int[Array, " 3"]:
        return jnp.zeros(3, jnp.int32)

    def legal(self, position: Int[Array, " 3"]) -> Bool[Array, " 2"]:
        return jnp.array([position[0] + position[2] < self.target, position[2] > 0])

    def chance_logits(self, position: Int[Array, " 3"], action: Int[Array, ""]) -> Float[Array, " C"]:
        return jnp.where(action == ROLL, 0.0, jnp.where(jnp.arange(SIDES) == 0, 0.0, -jnp.inf))

    def happen(self, position: Int[Array, " 3"], action: Int[Array, ""], chance: Int[Array, ""]) -> Moved:
        mine, theirs, turn = position
        rolled = jnp.stack([mine, theirs, jnp.minimum(turn + chance + 1, self.target)])
        goes_on = (action == ROLL) & (chance > 0)
        kept = mine + jnp.where(action == HOLD, turn, 0)
        won = kept >= self.target
        passed = jnp.stack([theirs, jnp.minimum(kept, self.target - 1), 0])
        return Moved(jnp.where(goes_on, rolled, passed), reward=won, over=won, again=goes_on)

    def say(self, action: int, second: bool = False) -> str:
        return ("roll", "hold")[action]

    def text(self, obs: Int[np.ndarray, " 3"], second: bool = False) -> str:
        mine, theirs, turn = (int(x) for x in np.asarray(obs))
        first, other = (theirs, mine) if second else (mine, theirs)
        return f"X {first}, O {other} of {self.target}; this turn {turn}"
