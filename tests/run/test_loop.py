"""The loop: counts do not end, what is not finite is found and named, and what the user was given stays."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import retorno
from retorno.core.counter import WORD, Countdown, Counter, counts
from retorno.core.environment import Episodes, episode_seed, step_key
from retorno.core.errors import WorldError
from retorno.core.time_step import Clock
from retorno.environments import student
from retorno.environments.games.game import Game, Moved
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.registry import make
from retorno.environments.sampled_world import sampled
from retorno.networks import MLP, Table
from retorno.policies.exploration import Epsilon
from retorno.run.hosted import Layout
from retorno.run.loop import Iteration, Observer
from retorno.run.train import train
from retorno.run.training import Training, TrainingError


def arrays(count: int) -> Counter:
    return jax.tree.map(jnp.asarray, Counter.of(count))


@pytest.mark.parametrize("count", [0, WORD - 3, WORD - 1, 5 * WORD - 2, 2**45 + 7])
@pytest.mark.parametrize("more", [0, 1, 3, 2**31])
def test_a_counter_carries(count: int, more: int) -> None:
    after = jax.jit(lambda c, n: c.plus(n))(arrays(count), jnp.uint32(more))
    assert int(after) == int(counts(after)) == count + more
    for there, reached in ((count, True), (count + more, True), (count + more + 1, False)):
        assert bool(after.reaches(there)) == reached


@pytest.mark.parametrize("period", [1, 7, 250])
@pytest.mark.parametrize("stride", [1, 3, 64, 600])
def test_a_countdown_comes_when_a_multiple_is_reached_or_passed(period: int, stride: int) -> None:
    countdown, step = Countdown.start(period), 0
    for _ in range(40):
        due, countdown = countdown.advance(jnp.int32(stride), period)
        assert bool(due) == ((step + stride) // period > step // period)
        step += stride
        assert int(countdown.left) == period - step % period


@pytest.mark.parametrize("budget", [100, 2**24 + 1, 2**33, 2**40])
def test_progress_is_exact_to_a_floats_rounding(budget: int) -> None:
    for step in (0, 1, budget // 3, budget // 2, budget - 1, budget, budget + 5):
        clock = Clock(arrays(step), arrays(budget))
        np.testing.assert_allclose(clock.progress, min(step / budget, 1), rtol=3e-7)
    assert float(Clock(arrays(budget), arrays(budget)).progress) == 1


def test_episodes_and_steps_are_numbered_past_a_word() -> None:
    """Each of them draws its own numbers, in JAX as in NumPy, and the first 2³² as they always did."""
    numbers = [3, WORD - 1, WORD, WORD + 3, 2 * WORD + 3]
    seeds = [int(episode_seed(5, 1, number)) for number in numbers]
    assert seeds == [int(episode_seed(jnp.uint32(5), jnp.uint32(1), arrays(number))) for number in numbers]
    keys = {tuple(jax.random.key_data(step_key(jnp.uint32(9), arrays(n))).tolist()) for n in numbers}
    assert len(set(seeds)) == len(keys) == len(numbers)


def moved(training: Training, by: int) -> None:
    """A run that has counted `by` more of everything, by construction."""
    run = training.run
    far = lambda like: jax.tree.map(lambda word, x: jnp.full_like(x, word), Counter.of(by), like)  # noqa: E731
    stage, clock = run.stage, run.learner.clock
    if stage.episodes is not None:
        state, episode, age = stage.episodes.state, stage.episodes.episode, stage.episodes.age
        stage = stage._replace(episodes=Episodes(state, far(episode), far(age)))
    learner = run.learner._replace(clock=clock._replace(step=far(clock.step)))
    training.run = run._replace(step=far(run.step), updates=far(run.updates), learner=learner, stage=stage)


@pytest.mark.parametrize("hosted", [False, True])
def test_a_run_goes_on_past_a_word(hosted: bool) -> None:
    native = sampled(student())
    world: Any = retorno.gymnasium(lambda: to_gymnasium(native)) if hosted else native
    start, budget = WORD - 200, WORD + 200
    with train(retorno.QLearning(), world, budget, every=100, seed=3) as training:
        moved(training, start)
        reports = [*training]
    assert reports[-1].step >= budget and reports[-1].finished
    assert next(r.step for r in reports if r.boundary) == WORD - 196  # The next multiple of 100.
    steps = [start, *(r.step for r in reports)]
    assert steps == sorted(steps) and len(set(steps)) == len(steps)
    assert int(training.run.learner.clock.step) == training.step
    assert counts(training.run.updates) >= training.step, "an update takes a step, or none where an episode begins"


def test_counts_of_episodes_begin_again_and_reports_do_not_notice() -> None:
    world, algorithm = sampled(student()), retorno.QLearning()
    plain, late = (train(algorithm, world, 4000, seed=1) for _ in range(2))
    scores = late.run.scores
    scores = scores._replace(
        episodes=jnp.uint32(WORD - 5), length_sum=jnp.uint32(WORD - 7), return_sum=jnp.float32(3e7)
    )
    late.run = late.run._replace(scores=scores)
    found = [[(r.episodes, r.mean_length, r.mean_return) for r in training] for training in (plain, late)]
    np.testing.assert_allclose(found[0][:1], found[1][:1], rtol=1e-5)


@pytest.mark.parametrize("hosted", [False, True])
def test_what_is_not_finite_is_found_and_named(hosted: bool) -> None:
    native = retorno.make("CartPole-v1", hosted=False)
    world: Any = retorno.gymnasium(lambda: to_gymnasium(native)) if hosted else native  # type: ignore[arg-type]
    algorithm, told = retorno.QLearning(network=MLP(hidden=(4,)), step_size=1e30), "NaN or infinity in .*tensor"
    with train(algorithm, world, 10_000) as training, pytest.raises(TrainingError, match=told):
        training.run_to_end()
    assert training.step < 10_000


class Stuck(Game):
    """A game that goes on though nothing is legal any more."""

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(4)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def start(self, key: Any) -> Any:
        return jnp.int32(0)

    def legal(self, position: Any) -> Any:
        return jnp.full(2, position < 3)

    def move(self, position: Any, action: Any, key: Any) -> Moved:
        return Moved(jnp.minimum(position + 1, 3))


def test_a_world_that_allows_nothing_is_to_blame() -> None:
    with train(retorno.QLearning(), Stuck(), 100) as training, pytest.raises(TrainingError, match="nothing is legal"):
        training.run_to_end()


def test_nothing_is_read_to_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a healthy run only counters, sums and a flag come to the host, whatever its learner holds."""
    read: list[int] = []
    real = jax.device_get

    def watched(tree: Any) -> Any:
        read.extend(x.size for x in jax.tree.leaves(tree))
        return real(tree)

    monkeypatch.setattr(jax, "device_get", watched)
    train(retorno.QLearning(), sampled(student()), 2000).run_to_end()
    assert read and max(read) == 1


def test_a_policy_taken_on_the_way_stays() -> None:
    training = train(retorno.QLearning(), sampled(student()), 3000, every=1000)
    taken = []
    for _ in training:
        taken.append(training.policy)
    first = np.asarray(taken[0].network.tables["q"])
    assert len(taken) >= 3 and (first != np.asarray(taken[-1].network.tables["q"])).any()
    assert retorno.evaluate(taken[0], training.world, 2).episodes == 2


class Lived(Observer):
    """How many transitions there were."""

    steps: jax.Array

    def see(self, lived: Iteration) -> Lived:
        return Lived(self.steps + lived.trajectory.transitions.sum())


@pytest.mark.parametrize("hosted", [False, True])
def test_an_observer_sees_every_iteration_and_changes_nothing(hosted: bool) -> None:
    native = sampled(student())
    world: Any = retorno.gymnasium(lambda: to_gymnasium(native)) if hosted else native
    watched, plain = (train(retorno.QLearning(), world, 300, every=50) for _ in range(2))
    watched.observer = Lived(jnp.int32(0))
    for training in (watched, plain):
        training.run_to_end()
    assert isinstance(watched.observer, Lived) and int(watched.observer.steps) == watched.step
    assert watched.digest == plain.digest


class FailsLate(gymnasium.Env):
    """Two places; the 300th step fails."""

    observation_space, action_space = spaces.Discrete(2), spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == 300:
            raise RuntimeError("the world is broken")
        return int(action), float(action), self.steps % 5 == 0, False, {}


@pytest.mark.parametrize("rollout", [1, 4])
def test_a_replay_stays_where_it_is_and_what_was_learnt_outlives_a_world_that_fails(rollout: int) -> None:
    """No report copies a replay of hosted environments, which may be gigabytes."""
    method = retorno.DQN(network=Table(), capacity=4096, rollout=rollout, learning_starts=8)
    with train(method, retorno.gymnasium(FailsLate), 1000) as training:
        reports, places = iter(training), []
        for _ in range(3):
            next(reports)
            places.append(training.run.learner.replay.ring.steps.obs.unsafe_buffer_pointer())
        with pytest.raises(WorldError, match="the world is broken"):
            list(reports)
        assert len(set(places)) == 1
        assert 200 < training.step <= 300, "steps lived are fewer than interactions, of which a fifth only begins"
        assert int(training.policy.step(jnp.int32(0), jnp.array(False), ())[0]["policy"].mode()) == 1


def test_what_is_packed_is_what_is_unpacked() -> None:
    tree = {
        "mask": np.array([True, False, True]),
        "image": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "small": np.int8(-3),
        "half": np.array([1.5, -2], np.float16),
        "number": np.float32(np.pi),
        "count": np.array([-7, 2**30], np.int32),
        "none": np.zeros((0, 4), np.float32),
    }
    layout = Layout.of(tree)  # Of bytes in the middle of others: they are filled up.
    packed = jax.jit(layout.pack)(tree)
    assert packed.shape == (layout.size,) and packed.dtype == jnp.uint32
    rows = np.stack([packed, packed])
    for leaf, view in zip(jax.tree.leaves(tree), layout.views(rows), strict=True):
        np.testing.assert_array_equal(view[1], leaf)
    once, twice = jax.jit(layout.unpack)(packed), jax.jit(layout.unpack)(rows)
    jax.tree.map(np.testing.assert_array_equal, once, tree)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[1], y), twice, tree)


def test_a_finished_run_is_lengthened_and_the_record_says_what_ran(tmp_path: Path) -> None:
    first = retorno.QLearning(exploration=Epsilon(1.0, 0.0))
    with train(first, "windy_king", 500, folder=tmp_path / "run") as training:
        training.run_to_end()
    slower = dataclasses.replace(first, step_size=0.05)
    told: list[str] = []
    with retorno.resume(tmp_path / "run", algorithm=slower, steps=1000, warn=told.append) as training:
        assert float(training.run.learner.clock.progress) == 0.5
        training.run_to_end()
        assert training.step == 1000
    assert len(told) == 1 and "step_size" in told[0]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["algorithm"]["step_size"] == 0.05 and config["steps"] == 1000
    (change,) = config["changes"]
    assert change["step"] == 500 and change["before"]["steps"] == 500
    assert change["before"]["algorithm"]["step_size"] == 0.1
    with retorno.resume(tmp_path / "run", warn=told.append) as again:
        assert again.algorithm == slower and again.steps == 1000
    assert len(told) == 1
    with pytest.raises(ValueError, match="1,000 steps already"):
        retorno.resume(tmp_path / "run", steps=700)
    with retorno.resume(tmp_path / "run", steps=1001, world="windy_gusts", warn=told.append):
        pass
    with retorno.resume(tmp_path / "run", warn=told.append) as elsewhere:
        assert repr(elsewhere.world) == repr(make("windy_gusts"))
