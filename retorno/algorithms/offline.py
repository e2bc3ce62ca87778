"""What all algorithms have in common that learn from recordings: nothing is lived, and who has learnt can act."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

from jax import Array
from jaxtyping import Key, PyTree

from retorno.core.policy import Carry, Learner, Policy
from retorno.core.time_step import TimeStep


class Offline(abc.ABC):
    """Learns from what was recorded. An algorithm of this kind adds its settings, `init`, `update` and `policy`."""

    RECORDED: ClassVar[str] = "demonstrations"
    """What was recorded: these, or "rankings"."""
    COLUMNS: ClassVar[int] = 32
    """What `num_envs` is where it is 0 and so many columns were recorded."""

    @property
    def rollout(self) -> int:
        """Nothing is lived: the rows of a column are those that were recorded."""
        return 1

    @abc.abstractmethod
    def policy(self, learner: Learner) -> Policy:
        """The policy that is learnt."""

    def initial_carry(self, learner: Learner) -> Carry:
        return self._actor(learner).initial_carry()

    def act(self, learner: Learner, row: TimeStep, carry: Carry, key: Key[Array, ""]) -> tuple[Any, PyTree[Any], Carry]:
        heads, carry = self._actor(learner).step(row.obs, row.first, carry)
        return heads["policy"].masked(row.legal).sample(key), (), carry

    def _actor(self, learner: Learner) -> Policy:
        """Without what acting does not need, as a reward model's score."""
        return self.policy(learner).select("policy")
