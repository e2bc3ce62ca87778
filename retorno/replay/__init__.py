"""Experience to learn from again: rings of rows, sampled as windows that are trajectories."""

from retorno.core.registry import REGISTERED
from retorno.replay.goals import GOAL_REWARDS, Dense, GoalReward, Sparse
from retorno.replay.hindsight import Goals, Hindsight, HindsightReplay
from retorno.replay.on_disk import DiskError, OnDisk
from retorno.replay.prioritised import Prioritised, Proportional, Ranked, sequence_priority
from retorno.replay.ring import Replay, ReplayConfig, Ring, Window, ring
from retorno.replay.uniform import UniformReplay

REPLAYS: dict[str, type[ReplayConfig]] = {
    "uniform": UniformReplay,
    "proportional": Proportional,
    "ranked": Ranked,
    "hindsight": Hindsight,
    "on_disk": OnDisk,
}
"""How windows are drawn, by the name that the command line gives it."""
REGISTERED[ReplayConfig] = REPLAYS

__all__ = [
    "GOAL_REWARDS",
    "REPLAYS",
    "Dense",
    "DiskError",
    "GoalReward",
    "Goals",
    "Hindsight",
    "HindsightReplay",
    "OnDisk",
    "Prioritised",
    "Proportional",
    "Ranked",
    "Replay",
    "ReplayConfig",
    "Ring",
    "Sparse",
    "UniformReplay",
    "Window",
    "ring",
    "sequence_priority",
]
