"""A network that is what a run has learnt: an expert to ask, or where another goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
from jax import Array
from jaxtyping import Key

from retorno.core.policy import Policy
from retorno.core.spaces import in_short
from retorno.networks.heads import Head
from retorno.networks.normalisers import Normalised
from retorno.networks.pretrained import PRETRAINED
from retorno.run import policy_folder


@PRETRAINED.register
@dataclass(frozen=True)
class OfRun:
    """The policy that a run has learnt, of its first seed."""

    run: str = ""
    """The run's folder."""

    def __post_init__(self) -> None:
        if self.run:  # Whoever goes on stands elsewhere.
            object.__setattr__(self, "run", str(Path(self.run).expanduser().absolute()))

    def build(self, key: Key[Array, ""], observation_space: gymnasium.Space, heads: dict[str, Head]) -> Policy:
        """What was learnt: the same for any key.

        Raises:
            ValueError: when no run is named, it has learnt in other spaces, or lacks a head.
            PolicyError: when there is none, or it is damaged.
        """
        if not self.run:
            raise ValueError(
                "whose? Name the folder of a run, as in --expert of_run --expert.run runs/ppo-CartPole-v1-1"
            )
        saved = policy_folder.read(policy_folder.find(Path(self.run)))
        if saved.observation_space != observation_space:
            raise ValueError(
                f"{self.run} has learnt with {in_short(saved.observation_space)}, and here "
                f"{in_short(observation_space)} is observed"
            )
        policy = saved.policies[0].select(*heads)
        inner: Any = policy.policy if isinstance(policy, Normalised) else policy
        if lacking := heads.keys() - getattr(inner, "readouts", heads).keys():
            raise ValueError(
                f"{self.run} has learnt no {', '.join(sorted(lacking))}: its policy alone, from which another "
                "algorithm goes on by --from RUN --network-only"
            )
        return policy
