"""What many lanes lived, summed by points: each a stretch of so many episodes, or so many environment steps."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class Points:
    """Where a curve has its points."""

    by_episode: bool
    """Whether they count episodes; else environment steps."""
    total: int
    """How many of them there are."""
    width: int
    """How many make a point."""

    @property
    def count(self) -> int:
        """P."""
        return -(-self.total // self.width)

    @property
    def x(self) -> Int[np.ndarray, " P"]:
        """The last episode or step of each point, counted from 1."""
        return np.minimum(np.arange(1, self.count + 1) * self.width, self.total)


class Tally:
    """Sums over L lanes of B environments, which are told, stretch after stretch, what was lived.

    All of it stands in `arrays`, by name, so that it can be saved and gone on with.
    """

    def __init__(self, lanes: int, num_envs: int, points: Points) -> None:
        self.points = points
        by_point, by_environment = (lanes, points.count), (lanes, num_envs)
        self.arrays: dict[str, np.ndarray] = {
            "steps": np.zeros(lanes, np.int64),
            "episodes": np.zeros(lanes, np.int64),
            "open_return": np.zeros(by_environment),
            "open_length": np.zeros(by_environment),
            "open_sign": np.ones(by_environment),
            "returns": np.zeros(by_point),
            "lengths": np.zeros(by_point),
            "ended": np.zeros(by_point),
            "rewards": np.zeros(by_point),
            "lived": np.zeros(by_point),
            "error": np.full(by_point, np.nan),
        }

    def progress(self) -> Float[np.ndarray, " L"]:
        """Which share of all points each lane has lived through."""
        told = self.arrays["episodes" if self.points.by_episode else "steps"]
        return np.minimum(told / self.points.total, 1.0)

    def add(
        self,
        reward: Float[np.ndarray, "L K T B"],
        last: Bool[np.ndarray, "L K T B"],
        counts: Bool[np.ndarray, "L K T B"],
        turns: Bool[np.ndarray, "L K T B"] | None = None,
        error: Float[np.ndarray, "L K"] | None = None,
        going: Bool[np.ndarray, " L"] | None = None,
    ) -> None:
        """K more updates of T interactions each.

        Args:
            reward: of each interaction.
            last: whether it ended an episode.
            counts: whether it was an environment step, and no reset.
            turns: whether it gave the move to the other player: a return is that of the one who moved first.
            error: a value error after each update.
            going: the lanes that count: of others it is only noted how far they lived.
        """
        from retorno.run.kernels import add  # Numba takes a while to come.

        no_turns, no_error = np.zeros((0, 0, 0, 0), bool), np.zeros((0, 0), np.float32)
        add(
            np.asarray(reward, np.float32),
            last,
            counts,
            no_turns if turns is None else turns,
            no_error if error is None else np.asarray(error, np.float32),
            np.ones(len(reward), bool) if going is None else going,
            self.points.by_episode,
            self.points.total,
            self.points.width,
            *self.arrays.values(),
        )

    def means(self, measure: str) -> Float[np.ndarray, "L P"]:
        """What is asked of each point: a mean over its episodes or steps; NaN where there was none."""
        total, number = {
            "return": ("returns", "ended"),
            "length": ("lengths", "ended"),
            "reward": ("rewards", "lived"),
        }.get(measure, ("error", ""))
        if not number:
            return self.arrays[total]
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.arrays[total] / self.arrays[number]
