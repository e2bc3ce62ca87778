"""Everything registered, small: what is registered later is under the laws by itself."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import isfunction
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from box_only import BoxOnly
from jax import Array
from jaxtyping import Bool, Float, Key

from retorno.algorithms import ALGORITHMS as REGISTERED
from retorno.algorithms import BANDITS
from retorno.core.environment import Environment
from retorno.core.hyperparameters import hyperparameters
from retorno.core.mdp import MDP, mdp
from retorno.core.policy import Algorithm, Learner, Relabel, Reward
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep, Trajectory
from retorno.environments.own_code import run_file
from retorno.environments.registry import WORLDS
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit, Wrapper
from retorno.networks import CNN, GRU, LSTM, MLP, NETWORKS, BatchRenormMLP, Residual, SimBa, Table, Transformer

for own in filter(None, os.environ.get("RETORNO_OWN", "").split(os.pathsep)):
    run_file(own)

PRESETS = [name for name, kind in REGISTERED.items() if isfunction(kind)]
"""Each is a class under the laws with other settings: what is its own is held beside it, in tests/algorithms."""
RECORDED = [name for name, kind in REGISTERED.items() if getattr(kind, "RECORDED", False)]
"""They learn from what was recorded, and live nothing: test_recordings.py."""
ACTING = {name: kind for name, kind in REGISTERED.items() if name not in (*PRESETS, *RECORDED)}
ALGORITHMS = {**ACTING, "box_only": BoxOnly}
SETTINGS: dict[str, Any] = {
    "network": MLP((8,)),
    "num_envs": 4,
    "rollout": 4,
    "step_size": 0.1,
}
"""For whichever of these an algorithm has; what else is small stands in its file, as `SMALL`. Laws that use the same
ones share compiled programs."""

NETWORK: dict[str, Any] = {
    "table": Table(),
    "mlp": MLP((8,)),
    "simba": SimBa(8),
    "batch_renorm": BatchRenormMLP((8,)),
    "residual": Residual(4, blocks=1, planes=2, hidden=8),
    "cnn": CNN((2,), (3,), (2,), (8,)),
    "gru": GRU(8, (8,)),
    "lstm": LSTM(8, (8,)),
    "transformer": Transformer(8, layers=1, num_heads=2, window=8),
}
NETWORK |= {name: config() for name, config in NETWORKS.items() if name not in NETWORK}


def having(field: str) -> list[str]:
    """The algorithms that have a setting."""
    return [name for name, make in ALGORITHMS.items() if field in {f.name for f in dataclasses.fields(make())}]


DISCOUNTED = having("discount")
"""The others maximise the average reward."""
EPISODIC = having("longest_episode")
"""They learn from episodes that have ended."""
COMPARING = having("group")
"""They compare whole episodes, and learn no values."""
EVOLVING = [name for name in having("deviation") if name not in BANDITS]
"""They compare whole policies, and learn no values either."""
PREDICTION = having("target")
"""They learn the value of a policy that they do not change."""
PLANNING = having("simulations")
"""They plan before each choice, in a model that is given or learnt, and keep no values."""
LINEAR = [name for name, kind in ALGORITHMS.items() if "network" in getattr(kind(), "SMALL", {})]
"""They are for values that are linear in the weights."""

SELF_PLAY = having("search")
"""They learn from what a search in a game found."""
ASKING = having("expert")
"""They read no rewards: an expert says what is right."""
FAMILIES = list(
    {
        kind.__module__.rpartition(".")[0]: name
        for name, kind in reversed(ALGORITHMS.items())
        if name not in (*SELF_PLAY, *ASKING)
    }.values()
)
"""One algorithm of each folder: for what is the loop's work more than the algorithm's. To the loop a search is one more
way to plan, which takes thrice as long to compile, and who asks an expert replays as DQN does."""

MODELS = [name for name in WORLDS if WORLDS[name].model is not None]


def small(name: str, **settings: Any) -> Algorithm:
    """A registered algorithm with small settings, or these."""
    algorithm = ALGORITHMS[name]()
    known = {field.name for field in dataclasses.fields(algorithm)}
    own = getattr(algorithm, "SMALL", {})
    if name in LINEAR:
        settings.pop("network", None)
    return dataclasses.replace(algorithm, **{k: v for k, v in (SETTINGS | own | settings).items() if k in known})


def horizon(name: str, discount: float) -> float:
    """The discount of the question that an algorithm answers: bandits look no further than the next reward."""
    return 0.0 if name in BANDITS else discount


def busy_world(limit: int = 7) -> Environment:
    """A random model with rewards everywhere, with ends and a time limit that cuts often."""
    return TimeLimit(sampled(model("garnet")), limit)


@functools.cache
def model(name: str) -> MDP:
    """A registered model."""
    make = WORLDS[name].model
    assert make is not None
    return make()


def one_of_each(names: Iterable[str]) -> list[str]:
    """Of worlds that are made of the same classes one: most of the others are models, which differ in numbers alone."""
    return list({made_of(name): name for name in names}.values())


@functools.cache
def made_of(name: str) -> tuple[str, ...]:
    """The classes of a world and of those that it wraps."""
    world: Any = WORLDS[name].world()
    classes = [type(world).__name__]
    while isinstance(world, Wrapper):
        world = world.world
        classes.append(type(world).__name__)
    return tuple(classes)


def constant_reward() -> MDP:
    """One state that pays 1 for ever: its value is 1 / (1 − γ)."""
    return mdp({"here": {"stay": [(1.0, "here", 1.0)]}})


class Deadly(Wrapper):
    """The classic mistake: a time limit is taken as death. With and without the mistake it is one program."""

    mistaken: Bool[Array, ""] = eqx.field(converter=jnp.asarray, default=True)

    def step(self, state: Any, action: Any, key: Key[Array, ""]) -> tuple[Any, TimeStep]:
        state, row = self.world.step(state, action, key)
        return state, row._replace(discount=row.discount * ~(row.last & self.mistaken))


class Scaled(Relabel):
    """Multiplies rewards."""

    factor: Float[Array, ""]

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        return self.factor * trajectory.steps.reward[1:]


@dataclass(frozen=True)
class Judged:
    """Leaves rewards as they are: laws of runs are asked of runs that are judged, and law 11 judges otherwise."""

    def build(self, key: Key[Array, ""], spec: Spec) -> Scaled:
        return Scaled(jnp.float32(1))


def bits(tree: Any) -> list[bytes]:
    """Every array of a pytree, to the bit."""
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def assert_close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    """Two pytrees: discrete arrays equal, floats to `tolerance`, relative where they are above one."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        exact = not np.issubdtype(np.asarray(x).dtype, np.floating)
        near = 0.0 if exact else tolerance
        np.testing.assert_allclose(x, y, rtol=near, atol=near, err_msg=jax.tree_util.keystr(path))


def table(learner: Learner, head: str) -> Float[np.ndarray, "... S outputs"]:
    """What a learner's table holds under one head."""
    return np.asarray(learner.network.tables[head])


def rewritten(cls: type, rewrite: Callable[[Trajectory], Trajectory]) -> type:
    """An algorithm that sees trajectories rewritten: for mistakes that the laws have to see."""

    @hyperparameters
    class Mistaken(cls):
        def update(self, learner: Learner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]) -> Any:
            return super().update(learner, rewrite(trajectory), reward, key)

    return Mistaken
