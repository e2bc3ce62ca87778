"""How long a loaded policy takes to answer one observation: `python benchmarks/act.py`.

For each kind of policy the median of many single calls of `act`, and beside it the compiled call alone that it stands
in for, one after the other on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import retorno as rt
from retorno.core.spaces import action_units
from retorno.networks import GRU, LSTM, MLP, Transformer
from retorno.run.actor import Actor
from retorno.run.episodes import decide

CALLS = 3000

PPO = rt.PPO
WORKS: dict[str, tuple[Any, str]] = {
    "table": (rt.QLearning(), "cliff"),
    "MLP 2 × 64": (PPO(network=MLP((64, 64))), "CartPole-v1"),
    "the same, normalised": (PPO(network=MLP((64, 64)), normalise_observations=True), "CartPole-v1"),
    "MLP 2 × 1,024": (PPO(network=MLP((1024, 1024))), "CartPole-v1"),
    "GRU 64": (PPO(network=GRU()), "CartPole-v1"),
    "LSTM 64": (PPO(network=LSTM()), "CartPole-v1"),
    "transformer 2 × 64": (PPO(network=Transformer()), "CartPole-v1"),
}


def median_us(call: Callable[[], Any]) -> float:
    """The median of many calls, in microseconds."""
    call()
    seconds = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1e6 * float(np.median(seconds))


def main() -> None:
    """Print one line for each kind of policy."""
    print(f"{'policy':<22} {'act':>9} {'compiled call':>14}   (microseconds, median of {CALLS} calls)")
    for name, (algorithm, world) in WORKS.items():
        run = rt.train(algorithm, world, steps=1)
        row = jax.tree.map(lambda x: np.asarray(x)[0], run.run.stage.row)
        policy, actor = run.policy, Actor(run.policy, run.world.observation_space, run.world.action_space)
        units = action_units(run.world.action_space)
        step = jax.jit(lambda row, carry, policy=policy, units=units: decide(policy, row, carry, units, None, True))
        carry = policy.initial_carry()
        acting = median_us(lambda actor=actor, row=row: actor.act(row.obs))
        compiled = median_us(lambda step=step, row=row, carry=carry: jax.block_until_ready(step(row, carry)))
        print(f"{name:<22} {acting:>9.1f} {compiled:>14.1f}")


if __name__ == "__main__":
    main()
