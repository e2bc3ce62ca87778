"""Rewards that are not the world's: begun from settings, recorded, replaced between two reports, restored."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import taught
from gymnasium.spaces import Discrete

from retorno.algorithms import PPO, QLearning
from retorno.core.counter import Counter
from retorno.core.spaces import Spec
from retorno.core.time_step import Only, TimeStep, Trajectory
from retorno.networks import GRU, MLP
from retorno.ops.optimisers import Adam
from retorno.run.folder import read_metrics
from retorno.run.relabel import Arrivals, ClipRewards, CountBonus, InTurn, ReferenceKL
from retorno.run.resume import restore, resume
from retorno.run.train import train
from retorno.run.training import Training, TrainingError


def arrivals(training: Training) -> Arrivals:
    assert isinstance(training.relabel, Arrivals)
    return training.relabel


def process(folder: Path, kill_at: int = 0) -> str | None:
    """What one process ends with, or None where it was killed."""
    command = [sys.executable, taught.__file__, str(folder), str(kill_at)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=900)
    if ended.returncode == -signal.SIGKILL:
        return None
    assert ended.returncode == 0
    return ended.stdout.split()[-1]


def test_a_reward_network_that_is_taught_between_two_reports_survives_sigkill(tmp_path: Path) -> None:
    """Killed in the middle of a checkpoint, at whichever file, and gone on with: as if nothing had happened."""
    assert process(tmp_path / "run", kill_at=14) is None
    assert process(tmp_path / "run") == taught.live(taught.begin())


def test_what_was_taught_is_what_is_learnt_from(tmp_path: Path) -> None:
    def ended(teaches: bool) -> str:
        with train(QLearning(), "student", 60, every=20, relabel=CountBonus(0.5)) as training:
            for report in training:
                if teaches and report.step == 20:
                    training.relabel = jax.tree.map(lambda x: x * 2, arrivals(training))
            return np.asarray(training.run.learner.network.tables["q"]).tobytes().hex()

    assert ended(True) != ended(False)


def test_other_settings_are_recorded_and_restored(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with train(QLearning(), "student", 100, every=20, relabel=ClipRewards(0.5), folder=folder) as training:
        for report in training:
            if report.step == 40:
                training.relabel = CountBonus(0.25)
            if report.step == 80:
                break
    assert json.loads((folder / "config.json").read_text())["relabel"] == {"type": "ClipRewards", "most": 0.5}
    told = [row["relabel"]["settings"] for row in read_metrics(folder) if "relabel" in row]
    assert told == [{"type": "CountBonus", "weight": 0.25}]
    assert float(arrivals(restore(folder)).weight) == 0.25
    with resume(folder) as training:
        training.run_to_end()
        resumed = training.digest
    with train(QLearning(), "student", 100, every=20, relabel=ClipRewards(0.5)) as training:
        for report in training:
            if report.step == 40:
                training.relabel = CountBonus(0.25)
        assert training.digest == resumed


def test_several_seeds_begin_each_its_own() -> None:
    with train(QLearning(), "student", 40, seed=[1, 2], relabel=CountBonus()) as training:
        training.run_to_end()
        assert arrivals(training).counts.low.shape == (2, 5)
        training.relabel = CountBonus(0.5)
        assert arrivals(training).counts.size.sum() == 0 and arrivals(training).weight.tolist() == [0.5, 0.5]


def test_arrays_of_another_kind_are_no_settings() -> None:
    with (
        train(QLearning(), "student", 40, relabel=CountBonus()) as training,
        pytest.raises(TypeError, match="give the frozen dataclass"),
    ):
        training.relabel = Arrivals(Counter.zeros(3), jnp.float32(1), arrivals(training).numbered)


def test_the_distance_from_a_reference_is_that_of_each_row_after_all_before_it() -> None:
    """Over two rollouts, with an episode that ends in the first, and rows that leave no choice."""
    space, actions = Discrete(5), Discrete(3)
    network = GRU(4, (4,))
    spec = Spec(space, actions, 2, 100, TimeStep(*[jnp.int32(0)] * 5))
    relabel: Any = ReferenceKL(0.5, network).build(jax.random.key(1), spec)
    # A policy's head starts near zero: drawn anew it tells one row from another.
    weights = np.random.default_rng(0)
    reference = jax.tree.map(lambda w: jnp.asarray(weights.normal(size=w.shape), jnp.float32), relabel.reference)
    relabel = replace(relabel, reference=reference)

    rng = np.random.default_rng(1)
    obs, action = rng.integers(5, size=(7, 2)), rng.integers(3, size=(6, 2))
    first = np.zeros((7, 2), bool)
    first[[0, 0, 2], [0, 1, 1]] = True
    only: Any = np.full((7, 2), -1)
    only[4, 0] = action[4, 0]
    log_prob = rng.normal(size=(6, 2)).astype(np.float32)
    seen: Any = (obs, np.ones((7, 2), np.float32), np.ones((7, 2)), first, np.roll(first, -1, 0), Only(only))
    rows = TimeStep(*jax.tree.map(jnp.asarray, seen))

    @jax.jit
    def step(obs: Any, first: Any, action: Any, carry: Any) -> Any:
        heads, carry = reference.step(obs, first, carry)
        return heads["policy"].log_prob(action), carry

    @jax.jit
    def judged(relabel: Any, lived: Any) -> Any:
        relabel, told = relabel.learn(lived, jax.random.key(0))
        return relabel, told["kl"], relabel.reward(lived)

    expected = np.ones((6, 2))
    for env in range(2):
        carry = reference.initial_carry()
        for t in range(6):
            its, carry = step(rows.obs[t, env], rows.first[t, env], action[t, env], carry)
            apart = log_prob[t, env] - its
            expected[t, env] -= 0.5 * apart * bool(~rows.last[t, env] & (only[t, env] < 0))

    for start in (0, 3):
        steps = jax.tree.map(lambda x, s=start: x[s : s + 4], rows)
        lived = Trajectory(steps, jnp.asarray(action[start : start + 3]), {"log_prob": log_prob[start : start + 3]}, ())
        relabel, kl, reward = judged(relabel, lived)
        np.testing.assert_allclose(reward, expected[start : start + 3], atol=1e-5)
        apart = (1 - expected[start : start + 3]) / 0.5
        assert float(kl) == pytest.approx(apart[np.asarray(lived.choices)].mean(), abs=1e-5)


def near(**settings: Any) -> Any:
    """A relabel that holds near a policy without memory, and what it learns from: one rollout of two environments."""
    spec = Spec(Discrete(5), Discrete(3), 2, 100, TimeStep(*[jnp.int32(0)] * 5))
    relabel: Any = ReferenceKL(0.5, MLP((4,)), **settings).build(jax.random.key(1), spec)
    last = np.array([[0, 0], [0, 1], [1, 0], [0, 0]], bool)
    rows = TimeStep(
        jnp.ones((4, 2), jnp.int32), jnp.ones((4, 2)), jnp.ones((4, 2)), jnp.roll(last, 1, 0), jnp.array(last)
    )
    return relabel, lambda log_prob: Trajectory(
        rows, jnp.zeros((3, 2), jnp.int32), {"log_prob": jnp.full((3, 2), log_prob)}, ()
    )


def test_the_weight_of_a_kl_adapts_by_hand() -> None:
    """Two episodes have ended; log π − log π_ref of the four choices is added up, 1.1 nats each, 2.2 an episode."""
    relabel, lived = near(target=1.5, horizon=10)
    assert float(relabel.weight) == 0.5
    after, told = relabel.learn(lived(0.0), jax.random.key(0))
    whole = float(told["episode_kl"])
    assert relabel.objective(told, None) is None, "what the world's episodes return is to be large"
    assert float(relabel.objective(told, jnp.float32(3.0))) == pytest.approx(3 - 0.5 * whole)
    assert 2 < whole < 2.4 and float(told["kl"]) == pytest.approx(whole * 2 / 4, rel=1e-5)
    assert float(told["kl_weight"]) == 0.5, "what was just lived is judged as it was before"
    # 2.2 / 1.5 − 1 = .47 is clipped to .2: β (1 + .2 · 2 / 10).
    after, told = after.learn(lived(0.0), jax.random.key(0))
    assert float(told["kl_weight"]) == pytest.approx(0.5 * 1.04)
    after, told = after.learn(lived(-2.0), jax.random.key(0))
    assert float(after.next_weight) == pytest.approx(0.5 * 1.04**2 * 0.96)
    with pytest.raises(ValueError, match="target must be positive"):
        ReferenceKL(target=0.0)


def test_a_kl_that_explodes_stops_the_run_with_what_to_do() -> None:
    relabel, lived = near(limit=3.0)
    assert np.isfinite(relabel.learn(lived(1.0), jax.random.key(0))[1]["kl"])
    assert np.isinf(relabel.learn(lived(9.0), jax.random.key(0))[1]["kl"])
    # Weights so small that rewards drive it away at once: far beyond a limit of nearly nothing.
    hasty = PPO(network=MLP((8,)), num_envs=4, rollout=4, epochs=2, minibatches=2, optimiser=Adam(0.5))
    with (
        train(
            hasty, "student", 4000, relabel=InTurn((ClipRewards(2.0), ReferenceKL(0.0, MLP((8,)), limit=1e-3)))
        ) as run,
        pytest.raises(
            TrainingError, match=r"further from its reference than 0.001 nats .* Training stopped at step \d+"
        ),
    ):
        run.run_to_end()


def test_relabels_in_turn_judge_what_those_before_them_said() -> None:
    spec = Spec(Discrete(5), Discrete(3), 2, 100, TimeStep(*[jnp.int32(0)] * 5))
    _, lived = near()
    told: Any = lived(0.0)._replace(steps=lived(0.0).steps._replace(reward=jnp.full((4, 2), 3.0)))
    clipped, paid = ClipRewards(0.5), CountBonus(2.0)
    for order, expected in (((clipped, paid), 0.5 + 2 / np.sqrt(4)), ((paid, clipped), 0.5), ((), 3.0)):
        relabel = InTurn(order).build(jax.random.key(0), spec)
        after, _ = relabel.learn(told, jax.random.key(1))
        np.testing.assert_allclose(np.asarray(after.reward(told))[np.asarray(told.transitions)], expected, rtol=1e-6)
    both: Any = InTurn((clipped, ReferenceKL(0.5, GRU(4, (4,))))).build(jax.random.key(0), spec)
    assert both.context is None and both.extras == ("log_prob",) and clipped.context == 0
