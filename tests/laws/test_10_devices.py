"""Law 10: spread over several devices a run gives the same answer, within rounding."""

from __future__ import annotations

from typing import Any

import jax
import pytest
from small import FAMILIES, NETWORK, assert_close, busy_world, small

from retorno.algorithms import ALGORITHMS
from retorno.core.policy import Algorithm
from retorno.environments.text.recall import Recall
from retorno.networks import Table
from retorno.run.train import Training, train


def trained(algorithm: Algorithm, world: Any, **spread: Any) -> Training:
    training = train(algorithm, world, 32, **spread)
    training.run_to_end()
    return training


def check_devices(algorithm: Algorithm, world: Any = None, other: Algorithm | None = None) -> None:
    """A run of two updates or more on one device equals one whose environments are spread over two."""
    one = trained(algorithm, world or busy_world(), devices=1)
    two = trained(other or algorithm, world or busy_world(), devices=2)
    assert len(two.run.stage.row.last.sharding.device_set) == 2
    assert_close(one.run, two.run, 1e-4)


def test_there_are_two_devices() -> None:
    assert jax.local_device_count() == 2


@pytest.mark.parametrize("name", ALGORITHMS)
def test_environments_over_two_devices(name: str) -> None:
    check_devices(small(name, num_envs=4, rollout=4, learning_starts=0))


@pytest.mark.parametrize("network", ["gru", "transformer"])
def test_memories_over_two_devices(network: str) -> None:
    check_devices(small("ppo", num_envs=4, rollout=4, network=NETWORK[network]), Recall(delay=3))


@pytest.mark.parametrize(
    ("network", "name"), [*(("table", name) for name in ALGORITHMS), *(("mlp", name) for name in FAMILIES)]
)
def test_seeds_over_two_devices(name: str, network: str) -> None:
    """Four seeds are spread over two devices, three stay on one."""
    algorithm = small(name, network=NETWORK[network], learning_starts=0)
    two, one = trained(algorithm, busy_world(), seed=range(4)), trained(algorithm, busy_world(), seed=range(3))
    assert [len(t.run.step.low.sharding.device_set) for t in (two, one)] == [2, 1]
    assert_close(jax.tree.map(lambda x: x[:3], two.run), one.run, 1e-4)


def test_the_law_sees_another_answer() -> None:
    with pytest.raises(AssertionError):
        algorithm = small("q_learning", num_envs=4, network=Table())
        check_devices(algorithm, other=small("q_learning", num_envs=4, network=Table(), discount=0.5))
