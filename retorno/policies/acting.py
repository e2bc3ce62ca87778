"""What learning from one's own choices needs of them: how likely each was when it was taken."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int, Key, PyTree, UInt32

from retorno.core.policy import Carry, Policy
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep


class HeldNoise(NamedTuple):
    """What an actor's noise is drawn from, again and again for some steps: it stands beside the memory."""

    seed: UInt32[Array, ""]
    steps: Int[Array, ""]
    """For how many it was."""

    @classmethod
    def start(cls) -> HeldNoise:
        """Before an episode's first row, which renews it."""
        return cls(jnp.uint32(0), jnp.int32(0))

    def on(self, first: Bool[Array, ""], period: int, key: Key[Array, ""]) -> HeldNoise:
        """On the next row: as it was, or after `period` steps, and where an episode begins, another one."""
        renews = first | (self.steps >= period)
        return HeldNoise(jnp.where(renews, jax.random.bits(key), self.seed), jnp.where(renews, 1, self.steps + 1))

    @property
    def key(self) -> Key[Array, ""]:
        """From which a choice is drawn."""
        return jax.random.key(self.seed)


def noise_beside(memory: Carry, period: int) -> Carry:
    """What an actor carries into an episode: its memory, and beside it the noise that is held, where any is.

    Args:
        memory: before the first row.
        period: the steps for which noise is held; with 1 there is nothing to hold.
    """
    return (memory, HeldNoise.start()) if period > 1 else memory


def memory_alone(carry: Carry, period: int) -> Carry:
    """An actor's memory without the noise that `noise_beside` put there; of None, nothing, there is none."""
    return carry[0] if period > 1 and carry is not None else carry


def choose_and_record(
    policy: Policy,
    row: TimeStep,
    carry: Carry,
    key: Key[Array, ""],
    *,
    period: int = 1,
    beside: tuple[str, ...] = (),
) -> tuple[Any, PyTree[Any], Carry]:
    """An action drawn from the head "policy", its log-probability as an extra, and the memory after the row.

    Args:
        policy: what acts.
        row: one row.
        carry: the memory before it; where noise is held, that too, as `noise_beside` has it.
        key: of the choice, or of the noise where that is renewed.
        period: for how many steps noise is held.
        beside: other heads that are recorded as well, by their names.
    """
    held = carry[1].on(row.first, period, key) if period > 1 else None
    heads, memory = policy.step(row.obs, row.first, memory_alone(carry, period))
    chosen = heads["policy"].masked(row.legal)
    action, log_prob = chosen.sample_and_log_prob(key if held is None else held.key)
    extras = {"log_prob": log_prob} | {name: heads[name] for name in beside}
    return action, extras, memory if held is None else (memory, held)


def read_and_record(
    policy: Policy, rows: TimeStep, carry: Carry, beside: tuple[str, ...] = ()
) -> tuple[PyTree[Any], Carry]:
    """The same of a stretch of rows on which there was nothing to choose: what is certain has a log-probability of 0.

    Args:
        policy: what acts.
        rows: that leave one action. Shapes [P].
        carry: the memory before them.
        beside: as above.

    Returns:
        Extras [P], and the memory after them.
    """
    heads = policy.unroll(rows.obs, rows.first, carry) if beside else {}
    extras = {"log_prob": jnp.zeros(rows.last.shape)} | {name: heads[name] for name in beside}
    return extras, policy.read(rows.obs, rows.first, carry)


def recorded_by(policy: Policy, spec: Spec) -> tuple[Any, PyTree[Any]]:
    """What one action, and what `choose_and_record` tells beside it, look like: zeros.

    Args:
        policy: what will act.
        spec: of the world.
    """
    acting = policy.select("policy")
    made = jax.eval_shape(
        lambda key: choose_and_record(acting, spec.row, acting.initial_carry(), key)[:2], jax.random.key(0)
    )
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), made)
