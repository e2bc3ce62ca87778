"""A process in which DQN learns, through replay, from a reward network that is taught between two reports.

    python taught.py FOLDER KILL_AT

At the KILL_ATth time that something is to be synced to the disk it kills itself (SIGKILL); 0 for never. Started again
it goes on. At the end it prints the run's digest.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import retorno as rt
from retorno.core.policy import unroll_batch
from retorno.run.training import Training


class RewardNetwork(rt.Relabel):
    """What people are thought to want, in the place of what the world pays."""

    network: Any

    def reward(self, trajectory: Any) -> Any:
        steps = trajectory.steps
        return unroll_batch(self.network, steps.obs, steps.first, ())["value"][1:]


@rt.relabel.register
@dataclass(frozen=True)
class TaughtReward:
    """A reward network before it was taught anything."""

    def build(self, key: Any, spec: Any) -> RewardNetwork:
        network = rt.networks.MLP((8,)).build(key, spec.observation_space, {"value": rt.networks.ValueHead()})
        return RewardNetwork(network)


@jax.jit
def taught(relabel: RewardNetwork, label: Any) -> RewardNetwork:
    """After one label: what the last state is worth."""

    def loss(relabel: RewardNetwork) -> Any:
        return (relabel.network.step(jnp.int32(15), jnp.array(True), ())[0]["value"] - label) ** 2

    return jax.tree.map(lambda w, g: w - 0.01 * g, relabel, jax.grad(loss)(relabel))


def begin(folder: Path | None = None) -> Training:
    algorithm = rt.DQN(num_envs=2, learning_starts=16, capacity=64, batch_size=4, network=rt.networks.MLP((8,)))
    return rt.train(algorithm, "FrozenLake-v1", 200, every=40, relabel=TaughtReward(), folder=folder)


def live(training: Training) -> str:
    with training:
        for report in training:
            if report.boundary:
                training.relabel = taught(training.relabel, report.step / 100)
        return training.digest


def fail_at(sync: int) -> None:
    """Be killed at the nth sync from now on."""
    synced, real = itertools.count(1), os.fsync

    def fsync(file: int) -> None:
        if next(synced) == sync:
            os.kill(os.getpid(), signal.SIGKILL)
        real(file)

    os.fsync = fsync


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    fail_at(int(sys.argv[2]))
    print(live(rt.resume(folder) if (folder / "config.json").exists() else begin(folder)))
