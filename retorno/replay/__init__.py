"""Experience to learn from again: rings of rows, sampled as windows that are trajectories."""

from retorno.replay.prioritised import Prioritised, Proportional, Ranked, sequence_priority
from retorno.replay.ring import Replay, ReplayConfig, Ring, Window, ring
from retorno.replay.uniform import UniformReplay

REPLAYS: dict[str, type[ReplayConfig]] = {"uniform": UniformReplay, "proportional": Proportional, "ranked": Ranked}
"""How windows are drawn, by the name that the command line gives it."""

__all__ = [
    "REPLAYS",
    "Prioritised",
    "Proportional",
    "Ranked",
    "Replay",
    "ReplayConfig",
    "Ring",
    "UniformReplay",
    "Window",
    "ring",
    "sequence_priority",
]
