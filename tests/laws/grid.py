"""All small models in one shape: a method is compiled once and lives in all of them, so each is held against each."""

from __future__ import annotations

import dataclasses
import functools
from functools import partial
from typing import Any

import jax
import numpy as np
from small import MODELS, model

from retorno.bellman import evaluate, solve, uniform
from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.hyperparameters import as_arrays
from retorno.core.mdp import MDP
from retorno.core.policy import Algorithm, Learner
from retorno.core.runtime import SIDE_BY_SIDE
from retorno.environments.sampled_world import Sampled
from retorno.environments.stacked import of_one_shape, padded
from retorno.environments.wrappers import TimeLimit
from retorno.run.loop import begin_runs, iterate

LIMIT = 20
"""Short episodes, so that many states are begun in."""
SMALL = tuple(name for name in MODELS if model(name).num_states <= 25)
ENDLESS = tuple(name for name in MODELS if model(name).num_states <= 50 and (model(name).discount != 0).all())
"""Small ones that go on for ever: they have a gain."""


@functools.cache
def exploring(name: str) -> MDP:
    """A model whose episodes begin in any state, so that every pair is visited. Sutton & Barto 2018, section 5.3."""
    plain = model(name)
    return dataclasses.replace(plain, initial=~plain.terminal / (~plain.terminal).sum())


@functools.cache
def models(names: tuple[str, ...] = SMALL) -> dict[str, MDP]:
    """The models that episodes begin anywhere in, padded to the size of the largest."""
    return dict(zip(names, padded([exploring(name) for name in names]), strict=True))


VISITABLE = tuple(name for name in MODELS if model(name).num_pairs <= 600)
"""Larger models take too long to visit often."""


@functools.cache
def certain(name: str) -> bool:
    """Whether nothing is left to chance but where an episode begins."""
    return bool((np.diff(model(name).row_ptr) == 1).all())


@functools.cache
def lived_in(name: str) -> Sampled:
    """A model in the shape of all that are certain, or of all that are not: a method is compiled twice for all."""
    alike = [other for other in VISITABLE if certain(other) == certain(name)]
    return of_one_shape([exploring(other) for other in alike])[alike.index(name)]


def in_one_shape(names: tuple[str, ...]) -> list[tuple[Sampled, MDP]]:
    """Worlds that one program is for, with their models as they are padded."""
    exact = padded([exploring(name) for name in names])
    return list(zip(of_one_shape(exact), exact, strict=True))


@functools.cache
def decisive(name: str, discount: float) -> bool:
    """Whether it matters what is done: a model on which every policy is the best one says nothing."""
    return best_minus_uniform(name, discount) > 1e-9


def best_minus_uniform(name: str, discount: float) -> float:
    """What the best policy earns more than the uniform one, where episodes begin anywhere."""
    exact = exploring(name)
    return solve(exact, discount).start_value - evaluate(exact, uniform, discount).start_value


@functools.cache
def worlds(names: tuple[str, ...]) -> dict[str, Environment]:
    """The models as worlds of one shape."""
    alike = of_one_shape([*models(names).values()])
    return {name: TimeLimit(world, LIMIT) for name, world in zip(names, alike, strict=True)}


@functools.cache
def learners(algorithm: Algorithm, steps: int, seeds: range, name: str, names: tuple[str, ...] = SMALL) -> Learner:
    """What each of the seeds [S] has learnt in one of the worlds that have one shape."""
    return learners_in(algorithm, worlds(names)[name], steps, seeds)


def learners_in(
    algorithm: Algorithm, world: Environment, steps: int, seeds: range, options: dict[str, Any] = SIDE_BY_SIDE
) -> Learner:
    """What each of the seeds [S] has learnt in a world; tables are compiled for many lanes, others in haste."""
    learner = partial(_compiled(tuple(options.items())), as_arrays(algorithm), world, Counter.of(steps))
    return jax.tree.map(lambda *x: np.stack(x), *(jax.device_get(learner(np.uint32(seed))) for seed in seeds))


@functools.cache
def _compiled(options: tuple[tuple[str, Any], ...]) -> Any:
    return jax.jit(_learner, compiler_options=dict(options))


def _learner(algorithm: Algorithm, world: Environment, steps: Counter, seed: Any) -> Learner:
    """Of one seed: many seeds and worlds side by side take three times as long to compile, and run for seconds."""
    run = begin_runs(algorithm, world, None, seed, steps, algorithm.num_envs)
    going = lambda run: run.step.low < steps.low  # noqa: E731
    return jax.lax.while_loop(going, lambda run: iterate(algorithm, world, run).after, run).learner
