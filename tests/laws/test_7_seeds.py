"""Law 7: the same seed gives the same bits, another seed others, and many seeds at once what each gives alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case, main, mostly
from gymnasium import spaces
from small import (
    ALGORITHMS,
    FAMILIES,
    LINEAR,
    MODELS,
    NETWORK,
    Judged,
    assert_close,
    bits,
    busy_world,
    model,
    one_of_each,
    small,
)

from retorno.algorithms import QLearning
from retorno.core.environment import Environment, advance, begin
from retorno.core.hyperparameters import hyperparameters
from retorno.core.policy import Algorithm
from retorno.core.spaces import action_units
from retorno.core.time_step import several
from retorno.environments.games.chance import ChanceGame
from retorno.environments.games.game import Game
from retorno.environments.registry import WORLDS
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.networks import Table
from retorno.ops.distributions import Categorical
from retorno.policies import Epsilon
from retorno.run.collect import choose
from retorno.run.loop import begin_native
from retorno.run.train import train

SEEDS = (4, 7, 1, 2)
"""As many as law 10 spreads over two devices, whose programs these are."""
STEPS = 200


def learnt(algorithm: Algorithm, seed: Any, world: Environment | None = None, steps: int = STEPS) -> Any:
    training = train(algorithm, world or busy_world(), steps, seed=seed, relabel=Judged())
    training.run_to_end()
    return training.run


def check_batch(algorithm: Algorithm, world: Environment, alone: Sequence[int]) -> None:
    """What seeds learn in one update of all is what each of `alone` learns by itself."""
    together = jax.device_get(learnt(algorithm, SEEDS, world, steps=1).learner)
    for i, seed in enumerate(alone):
        one = learnt(algorithm, seed, world, steps=1).learner
        assert_close(jax.tree.map(lambda x, i=i: x[i], together), one, 1e-4)


def fresh(algorithm: Algorithm, world: Environment, seed: int) -> Any:
    """A run before its first step."""
    return begin_native(algorithm, world, None, jnp.uint32(seed), jnp.int32(STEPS), algorithm.num_envs)


def check_choices(algorithm: Algorithm, world: Environment | None = None) -> None:
    """What is chosen on a row with a choice depends on the key, the step and the environment, and on nothing else."""
    world = world or busy_world()
    run, units = train(algorithm, world, STEPS, relabel=Judged()).run, action_units(world.action_space)
    stage = jax.device_get(run.stage)
    free = 0 if stage.row.legal is None else int(np.argmax(jax.vmap(several)(stage.row.legal)))
    row, carry = (jax.tree.map(lambda x: np.repeat(x[free][None], 16, 0), x) for x in (stage.row, stage.carry))
    chosen = jax.jit(lambda seed, t: choose(algorithm, run.learner, units, row, carry, jax.random.key(seed), t).action)
    actions = np.array([[chosen(seed, t) for t in range(8)] for seed in range(4)])
    np.testing.assert_array_equal(chosen(2, 5), actions[2, 5])
    for axis in range(3):
        assert (np.diff(actions, axis=axis) != 0).any()


def check_worlds(world: Environment) -> None:
    """The same seed lives the same episode, and of several seeds, environments and episodes some differ."""

    @jax.jit
    def live(seed: Any, env: Any) -> Any:
        def step(state: Any, key: Any) -> Any:
            after = advance(world, *state, some_action(world, state[1], key), seed, env)
            return after, after[1]

        start = begin(world, seed, env)
        return start[1], jax.lax.scan(step, start, jax.random.split(jax.random.key(0), 64))[1]

    def lived(seed: int, env: int) -> list[bytes]:
        return bits(live(jnp.uint32(seed), jnp.uint32(env)))

    assert lived(0, 0) == lived(0, 0)
    assert len({tuple(lived(seed, 0)) for seed in range(8)}) > 1, "the seed is ignored"
    assert len({tuple(lived(0, env)) for env in range(8)}) > 1, "the environment's number is ignored"


def some_action(world: Environment, row: Any, key: Any) -> Any:
    """A legal action, whatever the seed."""
    space: Any = world.action_space
    if not isinstance(space, spaces.Discrete):
        return jnp.zeros(space.shape)
    return Categorical(jnp.zeros(int(space.n))).masked(row.legal).sample(key)


def test_the_same_seed_gives_the_same_bits_and_another_others(case: Case) -> None:
    first, second, other = (bits(learnt(case.method(), seed, case.place())) for seed in (0, 0, 1))
    assert first == second
    assert first != other


def test_choices_follow_their_keys(case: Case) -> None:
    check_choices(case.method(exploration=Epsilon(0.5), epsilon=0.5, epsilon_end=0.5), case.place())


DRAWN = ("mlp", "gru", "lstm", "transformer")
"""Networks that start from random weights; tables and linear ones start from one number."""


@pytest.mark.parametrize("name", DRAWN)
def test_networks_start_from_their_seed(name: str) -> None:
    weights = [bits(fresh(small("ppo", network=NETWORK[name]), busy_world(), seed).learner) for seed in (0, 0, 1)]
    assert weights[0] == weights[1] != weights[2]


def certain(name: str) -> bool:
    """Whether a world has one way to begin and draws nothing."""
    if name not in MODELS:
        world = WORLDS[name].world()
        if isinstance(world, Game):
            return not isinstance(world, ChanceGame)
        return name in ("short_corridor_dark", "blocking_maze_change", "shortcut_maze_change")
    return not ((np.diff(model(name).row_ptr) > 1).any() or (model(name).initial > 0).sum() > 1)


DRAWING = [name for name in WORLDS if not certain(name)]


@pytest.mark.parametrize("name", mostly(one_of_each(DRAWING), DRAWING))
def test_worlds_follow_their_seed(name: str) -> None:
    check_worlds(WORLDS[name].world())


TABULAR = [name for name in ALGORITHMS if main(name) == Case(name, "finite", "table") and name not in LINEAR]


@pytest.mark.patient  # In haste, one seed and several are rounded otherwise.
@pytest.mark.parametrize("name", mostly(["q_learning"], TABULAR))
def test_a_batch_of_tables_equals_them_one_by_one_to_the_bit(name: str) -> None:
    algorithm = small(name, network=Table())
    together = jax.device_get(learnt(algorithm, SEEDS).learner)
    for i, seed in enumerate(SEEDS):
        assert bits(jax.tree.map(lambda x, i=i: x[i], together)) == bits(learnt(algorithm, seed).learner)


@pytest.mark.parametrize("name", mostly(FAMILIES, ALGORITHMS))
def test_a_batch_equals_them_one_by_one_after_an_update(name: str) -> None:
    """Means and products of several at once are rounded in another order, so only the first update is near."""
    check_batch(main(name).method(), main(name).place(), SEEDS)


@hyperparameters
class Deaf(QLearning):
    """Every seed is 0, though one is asked for."""

    def act(self, learner: Any, row: Any, carry: Any, key: Any) -> Any:
        return super().act(learner, row, carry, jax.random.key(0))


class Stuck(TimeLimit):
    """Every episode is the same."""

    def reset(self, key: Any) -> Any:
        return super().reset(jax.random.key(0))

    def restart(self, state: Any, key: Any) -> Any:
        return super().restart(state, jax.random.key(0))

    def step(self, state: Any, action: Any, key: Any) -> Any:
        return super().step(state, action, jax.random.key(0))


def test_the_law_sees_another_seeds_answer() -> None:
    with pytest.raises(AssertionError):
        check_batch(small("q_learning", network=Table()), busy_world(), SEEDS[::-1])


def test_the_law_sees_an_ignored_key() -> None:
    with pytest.raises(AssertionError):
        check_choices(Deaf(exploration=Epsilon(0.5)))
    with pytest.raises(AssertionError, match="seed is ignored"):
        check_worlds(Stuck(sampled(model("garnet")), 7))
