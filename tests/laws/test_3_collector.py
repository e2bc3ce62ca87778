"""Law 3: the fused and the hosted collector return the same trajectory from the same keys on the same world."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case, mostly
from gymnasium import spaces
from small import NETWORK, Judged, assert_close, busy_world, one_of_each, small

from retorno.core.environment import Environment, episode_seed
from retorno.core.hyperparameters import hyperparameters
from retorno.core.policy import Algorithm
from retorno.core.spaces import Spec, action_units
from retorno.core.time_step import TimeStep, Trajectory
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.registry import WORLDS
from retorno.environments.text.recall import Recall
from retorno.environments.text.tokens import Tokens
from retorno.environments.wrappers import TimeLimit
from retorno.networks import Table, policy_head
from retorno.run.collect import CollectState, choose, collect, initial_carries, no_episodes, reads
from retorno.run.hosted import HostedLoop, Reading, choose_packed, lived_in, read_packed
from retorno.run.loop import begin_native
from retorno.run.resume import restore
from retorno.run.train import train
from retorno.run.training import Training, TrainingError

ROLLOUTS = 3


@hyperparameters
class Wanderer:
    """Acts at random in any world and learns nothing: of a world nothing but the world is compiled."""

    num_envs: int = 2
    rollout: int = 8

    def init(self, key: Any, spec: Spec) -> Any:
        heads = {"policy": policy_head(spec.action_space)}
        return Table().build(key, spaces.Discrete(1), heads)

    def initial_carry(self, learner: Any) -> Any:
        return ()

    def act(self, learner: Any, row: TimeStep, carry: Any, key: Any) -> Any:
        heads, _ = learner.step(jnp.int32(0), row.first, ())
        return heads["policy"].masked(row.legal).sample(key), (), ()

    def update(self, learner: Any, trajectory: Any, reward: Any, key: Any) -> Any:
        return learner, {}

    def policy(self, learner: Any) -> Any:
        return learner


collect_fused = jax.jit(collect, static_argnums=0)


@partial(jax.jit, static_argnums=(0, 1))
def act_outside(algorithm: Algorithm, layouts: Any, learner: Any, units: Any, key: Any, row: Any, carry: Any) -> Any:
    time_step, t = layouts[0].unpack(row)
    choice = choose(algorithm, learner, units, time_step, carry, key, t)
    return layouts[1].pack((choice.action, choice.given, choice.extras)), choice.carry


def collect_outside(training: Training, stage: CollectState, key: Any) -> tuple[CollectState, Trajectory]:
    """A rollout as the hosted loop lives it, drawn from another key."""
    loop, before = training.hosted_loop, stage.carry
    act = partial(act_outside, training.algorithm, loop.layouts, training.run.learner, loop.units, key)
    row, carry = loop.rollout.collect(act, loop.environments.step, stage.row, before)
    lived = lived_in(loop.layouts, jnp.array(loop.rollout.rows), jnp.array(loop.rollout.choices), before)
    return CollectState(None, row, carry), lived


def check_collectors(
    algorithm: Algorithm, world: Environment, exported: Environment | None = None, host: Any = collect_outside
) -> None:
    """Three rollouts in a row, with ends of episodes in them, lived in both ways by one learner."""
    hosted = gymnasium(lambda: to_gymnasium(exported or world))
    native = begin_native(algorithm, world, None, jnp.uint32(3), jnp.int32(10_000), algorithm.num_envs)
    with contextlib.closing(train(algorithm, hosted, 10_000, seed=3)) as outside:
        learner, fused_stage, hosted_stage, ended = native.learner, native.stage, outside.run.stage, 0
        for i in range(ROLLOUTS):
            key = jax.random.key(i)
            fused_stage, fused = collect_fused(algorithm, learner, world, fused_stage, native.seed, key)
            hosted_stage, lived = host(outside, hosted_stage, key)
            assert_close(fused, lived, 1e-4)
            assert (fused.steps.last | (fused.steps.discount != 0)).all(), "a discount of 0 ends an episode"
            ended += np.asarray(fused.steps.last[1:]).sum()
        assert ended >= ROLLOUTS


@pytest.mark.loop
def test_every_algorithm_learns_the_same_in_both_ways(case: Case) -> None:
    """Several updates, each with the keys of its number, acting with what the one before has learnt."""
    algorithm, world = case.method(), case.place()
    native = train(algorithm, world, 60, relabel=Judged())
    with contextlib.closing(train(algorithm, gymnasium(lambda: to_gymnasium(world)), 60, relabel=Judged())) as outside:
        for training in (native, outside):
            training.run_to_end()
        assert int(native.run.updates) > 2
        assert_close(native.run._replace(stage=native.run.stage._replace(episodes=None)), outside.run, 1e-3)


@pytest.mark.parametrize("name", mostly(one_of_each(WORLDS), WORLDS))
@pytest.mark.filterwarnings("ignore:actions of .* have no bounds")
def test_every_world_is_the_same_in_both_ways(name: str) -> None:
    check_collectors(Wanderer(), TimeLimit(WORLDS[name].world(), 5))


PROMPTED = Tokens(vocabulary=8, prompts=((3, 2, 5), (4,)), limit=6).together()


def reading() -> Algorithm:
    """Collects two texts of each environment in a rollout."""
    return small("ppo", network=NETWORK["transformer"], rollout=20)


def test_prompts_that_are_read_at_once_are_as_if_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm = reading()
    assert reads(algorithm, PROMPTED) and not reads(small("ppo", rollout=21), PROMPTED)
    begun = begin_native(algorithm, PROMPTED, None, jnp.uint32(3), jnp.int32(1000), 4)
    assert begun.stage.carry is None, "nothing is remembered between two rollouts"

    def live(carry: Any) -> Any:
        """The second of two rollouts, and what comes after it."""
        once = jax.jit(lambda stage, key: collect(algorithm, begun.learner, PROMPTED, stage, begun.seed, key))
        after, lived = once(once(begun.stage._replace(carry=carry), jax.random.key(0))[0], jax.random.key(1))
        return after._replace(carry=None), lived._replace(carry=None)

    after, lived = live(None)
    monkeypatch.setattr("retorno.run.collect.reads", lambda *_: False)
    assert_close((after, lived), live(initial_carries(algorithm, begun.learner, 4)))
    first, last = (np.asarray(x)[:-1] for x in (lived.steps.first, lived.steps.last))
    assert (first == (np.arange(20) % 10 == 0)[:, None]).all(), "they begin together"
    assert last.sum() > 2 * 4 and not (first & last).any(), "texts that have ended wait"
    assert no_episodes(4).update(lived).episodes == 2 * 4, "and are counted once"
    for env, episode in product(range(4), (2, 3)):
        _, row = PROMPTED.reset(jax.random.key(episode_seed(3, env, episode)))
        assert row.legal == jax.tree.map(lambda x, e=env, k=episode: x[10 * (k - 2), e], lived.steps.legal)


def test_hosted_prompts_that_are_read_at_once_are_as_if_row_by_row() -> None:
    """Texts that begin together in Python too, as often as they end together."""
    world = Tokens(vocabulary=8, prompts=((3, 2, 5), (4, 4, 4)), pattern=(1,), limit=2).together()
    algorithm, hosted = reading(), gymnasium(lambda: to_gymnasium(world))
    with train(algorithm, hosted, 1000, seed=3) as training, train(algorithm, hosted, 1000, seed=3) as other:
        run, loop = training.run, training.hosted_loop
        packed = (algorithm, run, loop.units, loop.layouts)
        act, read = jax.jit(partial(choose_packed, *packed)), jax.jit(partial(read_packed, *packed))

        def live(loop: HostedLoop, reading: Reading | None) -> tuple[int, Any]:
            """How often the policy acted, and what was lived."""
            acted = Mock(side_effect=act)
            after = loop.rollout.collect(acted, loop.environments.step, run.stage.row, run.stage.carry, reading)
            lived = lived_in(loop.layouts, jnp.array(loop.rollout.rows), jnp.array(loop.rollout.choices), ())
            return acted.call_count, (after, lived)

        fewer, at_once = live(loop, Reading(read, action_units(world.action_space)))
        every, row_by_row = live(other.hosted_loop, None)
    assert_close(at_once, row_by_row, 1e-4)
    assert fewer < every == 20


def test_prompts_are_not_read_in_the_middle_of_a_text(tmp_path: Path) -> None:
    """A run that was left within an episode goes on with any rollout but one of whole episodes."""
    method = small("ppo", network=NETWORK["mlp"], rollout=4)
    with train(method, PROMPTED, 1000, every=4, folder=tmp_path / "run") as training:
        next(iter(training))
        training.save()
    again = partial(restore, tmp_path / "run", world=PROMPTED, warn=lambda line: None)
    with pytest.raises(TrainingError, match=r"left in the middle of an episode, and rollouts of 20 rows, whole"):
        again(algorithm=replace(method, rollout=20))
    for rollout in (4, 21):
        assert again(algorithm=replace(method, rollout=rollout)).step == training.step


def test_the_law_sees_a_limit_that_is_off_by_one() -> None:
    with pytest.raises(AssertionError):
        check_collectors(small("ppo"), busy_world(5), busy_world(6))


def test_the_law_sees_keys_that_are_off_by_one() -> None:
    def late(training: Training, stage: CollectState, key: Any) -> Any:
        return collect_outside(training, stage, jax.random.fold_in(key, 1))

    with pytest.raises(AssertionError):
        check_collectors(small("ppo"), busy_world(), host=late)


def test_the_law_sees_a_carry_that_is_lost_between_rollouts() -> None:
    def forgetful(training: Training, stage: CollectState, key: Any) -> Any:
        stage, trajectory = collect_outside(training, stage, key)
        return stage._replace(carry=jax.tree.map(np.zeros_like, stage.carry)), trajectory

    with pytest.raises(AssertionError):
        check_collectors(small("ppo", network=NETWORK["gru"]), Recall(delay=3), host=forgetful)
