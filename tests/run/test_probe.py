"""Many seeds side by side live what `train` lives; sums by episode."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pytest

from retorno.algorithms import PPO, REINFORCE, MonteCarloControl, QLearning, SARSALambda
from retorno.environments.registry import native
from retorno.environments.wrappers import TimeLimit
from retorno.networks import MLP
from retorno.ops.optimisers import Adam
from retorno.run.loop import seeds_batch
from retorno.run.probe import by_episode, lived, probe
from retorno.run.train import train

ALGORITHM = QLearning()
WAITING = MonteCarloControl(rollout=1, longest_episode=20)
"""Learns at an episode's end alone."""
UPDATES, SEEDS, WORLD = 60, (3, 11), native("student")
METHODS = pytest.mark.parametrize("method", [ALGORITHM, WAITING], ids=["side by side", "one after another"])


def seen(run, trajectory):
    return {"table": run.learner.network.tables["q"], "counts": trajectory.transitions}


def studied(method: Any, seeds: Sequence[int] = SEEDS, every: int = 1, **more: Any) -> Any:
    """What the methods of this page have learnt; the same sizes are one program."""
    return probe(method, WORLD, UPDATES, seen, seeds=seeds, every=every, **more)


@METHODS
def test_a_probe_ends_where_training_ends_to_the_bit(method) -> None:
    found = studied(method)
    assert found["table"].shape[:2] == (2, UPDATES)
    for i, seed in enumerate(SEEDS):
        training = train(method, WORLD, int(found["counts"][i].sum()), seed=seed)
        training.run_to_end()
        np.testing.assert_array_equal(found["table"][i, -1], training.run.learner.network.tables["q"])


def test_every_so_many_updates_gives_those_points() -> None:
    np.testing.assert_array_equal(studied(ALGORITHM)["table"][:, 19::20], studied(ALGORITHM, every=20)["table"])


def test_seeds_are_spread_over_devices_without_a_difference() -> None:
    assert jax.local_device_count() == 2
    np.testing.assert_array_equal(studied(ALGORITHM)["table"][1], studied(ALGORITHM, seeds=SEEDS[1:])["table"][0])


@METHODS
def test_settings_side_by_side_are_a_probe_of_each_to_the_bit(method) -> None:
    compared = studied(method, over={"step_size": [0.125, 0.5]})
    alone = studied(dataclasses.replace(method, step_size=0.5))
    np.testing.assert_array_equal(compared["table"][1], alone["table"])
    assert (compared["table"][0] != alone["table"]).any()


def test_learning_rates_under_one_map_are_single_studies_to_the_bit() -> None:
    """Networks are learnt one after another; what differs in more than numbers is another program."""
    rates = [1e-4 * 2**i for i in range(8)]
    settings = [REINFORCE(MLP((8,)), 2, 8, 12, optimiser=Adam(rate, max_gradient_norm=0.5)) for rate in rates]

    def weights(run, trajectory):
        return jax.tree.leaves(run.learner.network)

    world = TimeLimit(native("CartPole-v1"), 7)
    together = probe(settings, world, 3, weights, seeds=(5,), every=3)
    for i, one in enumerate(settings):
        for leaf, alone in zip(together, probe(one, world, 3, weights, seeds=(5,), every=3), strict=True):
            np.testing.assert_array_equal(leaf[i], alone)
    assert np.unique(together[0][:, 0, -1], axis=0).shape[0] == 8
    with pytest.raises(ValueError, match="differ in numbers alone"):
        probe([PPO(), PPO(num_envs=4)], world, 3, weights, seeds=(5,))


def test_only_who_waits_for_an_episodes_end_is_lived_one_after_another() -> None:
    assert not seeds_batch(WAITING) and seeds_batch(ALGORITHM) and seeds_batch(MonteCarloControl())


def test_settings_that_the_method_refuses_are_refused_before_anything_is_lived() -> None:
    with pytest.raises(ValueError, match="step_size must be at least 0"):
        probe(SARSALambda(), native("student"), 10, lived, seeds=(0,), over={"step_size": [0.5, -1.0]})


@pytest.mark.parametrize(("updates", "every", "seeds"), [(10, 3, (0,)), (0, 1, (0,)), (10, 1, ())])
def test_a_probe_without_points_or_seeds_is_refused(updates: int, every: int, seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"positive multiple|have to be seeds"):
        probe(ALGORITHM, native("student"), updates, lived, seeds=seeds, every=every)


def test_sums_by_episode_by_hand() -> None:
    values = np.array([[1.0, 2.0, 4.0, 8.0, 16.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    last = np.array([[False, True, False, True, False], [True, False, False, False, True]])
    np.testing.assert_array_equal(by_episode(values, last, 2), [[3, 12], [1, 4]])
    with pytest.raises(ValueError, match="only 2 of 3 episodes"):
        by_episode(values, last, 3)
