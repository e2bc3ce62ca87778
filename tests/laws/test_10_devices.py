"""Law 10: spread over several devices a run gives the same answer, within rounding."""

from __future__ import annotations

from typing import Any

import jax
import pytest
from cases import Case, main, mostly
from small import ALGORITHMS, Judged, assert_close, busy_world, small

from retorno.core.policy import Algorithm
from retorno.networks import Table
from retorno.run.train import train
from retorno.run.training import Training


def trained(algorithm: Algorithm, world: Any, **spread: Any) -> Training:
    training = train(algorithm, world, 32, relabel=Judged(), **spread)
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


ALIKE = ("box_only", "differential_sarsa", "batch_td")
"""What is spread of these, their rows and what they remember of an episode, is spread of the others too."""


@pytest.mark.loop(ALIKE)
def test_environments_over_two_devices(case: Case) -> None:
    check_devices(case.method(), case.place())


@pytest.mark.parametrize("name", mostly(["actor_critic", "bootstrapped_dqn"], ALGORITHMS))
def test_seeds_over_two_devices(name: str) -> None:
    """Four seeds, side by side or in turn, are spread over two devices, where each learns what it learns alone.

    Those of law 7, one algorithm of each family, are spread likewise.
    """
    algorithm, world = main(name).method(), main(name).place()
    two = trained(algorithm, world, seed=range(4))
    assert len(two.run.step.low.sharding.device_set) == 2
    # What is done with a policy is done once, and not on each device.
    assert {len(x.sharding.device_set) for x in jax.tree.leaves(two.policies)} == {1}
    together = jax.device_get(two.run.learner)
    for seed in (0, 3):
        alone = trained(algorithm, world, seed=seed).run.learner
        assert_close(jax.tree.map(lambda x, seed=seed: x[seed], together), alone, 1e-4)


def test_three_seeds_stay_on_one_device() -> None:
    three = train(small("q_learning"), busy_world(), 32, seed=range(3))
    assert len(three.run.step.low.sharding.device_set) == 1


def test_the_law_sees_another_answer() -> None:
    with pytest.raises(AssertionError):
        algorithm = small("q_learning", num_envs=4, network=Table())
        check_devices(algorithm, other=small("q_learning", num_envs=4, network=Table(), discount=0.5))
