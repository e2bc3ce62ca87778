"""Hyperparameters: what is a leaf, what is refused, and that their user keeps plain numbers."""

import dataclasses
import math
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import ALGORITHMS, DQN, PPO, EmphaticTD, QLearning, RMax
from retorno.algorithms.published import PUBLISHED
from retorno.core.hyperparameters import Count, UnitInterval, as_arrays, hyperparameters, preset
from retorno.ops.optimisers import OPTIMISERS, SGD, Adam
from retorno.policies import EXPLORATIONS, Epsilon
from retorno.preferences import Preferences
from retorno.run.config import from_json, to_json
from retorno.run.known import known

EVERY = [*ALGORITHMS.values(), *OPTIMISERS.values(), *EXPLORATIONS.values()]


@hyperparameters
class Method:
    """One of each kind of field."""

    discount: UnitInterval = 0.9
    bound: float = -1.0
    clip: float | None = None
    optimiser: SGD | Adam = SGD()
    num_envs: Count = 1
    name: str = "method"


def test_numbers_are_leaves_and_the_rest_shapes_the_program():
    leaves = jax.tree_util.tree_leaves_with_path(Method(clip=2.0))
    assert {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in leaves} == {
        "discount": 0.9,
        "bound": -1.0,
        "clip": 2.0,
        "optimiser.learning_rate": 0.01,
        "optimiser.learning_rate_end": 0.0,
        "optimiser.warm_up": 0.0,
    }
    same = jax.tree.structure(Method())
    assert jax.tree.structure(Method(0.5, 2.0, optimiser=SGD(0.3))) == same
    for other in (Method(clip=1.0), Method(num_envs=2), Method(name="other"), Method(optimiser=SGD(accumulation=2))):
        assert jax.tree.structure(other) != same


@pytest.mark.parametrize("make", EVERY, ids=lambda make: make.__name__)
def test_the_users_object_is_an_ordinary_frozen_dataclass(make):
    one, other = make(), make()
    assert one == other and hash(one) == hash(other) and repr(one) == repr(other)
    assert from_json(to_json(one), known()) == one
    assert all(type(x) is float for x in jax.tree.leaves(one))
    twin = as_arrays(one)
    assert type(twin) is type(one)
    assert all(x.dtype == jnp.float32 and x.shape == () and not x.weak_type for x in jax.tree.leaves(twin))
    assert [float(x) for x in jax.tree.leaves(twin)] == [float(np.float32(x)) for x in jax.tree.leaves(one)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(one, dataclasses.fields(one)[0].name, None)


def test_whole_numbers_become_floats_and_numpys_become_pythons():
    given: Any = {"discount": 1, "clip": np.float32(2), "num_envs": np.int64(3)}
    made = Method(**given)
    assert [type(x) for x in (made.discount, made.clip, made.num_envs)] == [float, float, int]
    assert dataclasses.replace(made, **dict(num_envs=2.0)) == dataclasses.replace(made, num_envs=2)
    assert QLearning(step_size=1) == QLearning(step_size=1.0)


@pytest.mark.parametrize(
    ("nonsense", "message"),
    [
        (lambda: PPO(discount=1.5), r"PPO: discount must be in \[0, 1\], got 1.5"),
        (lambda: PPO(discount=math.nan), r"PPO: discount must be in \[0, 1\], got nan"),
        (lambda: PPO(lambda_=2), r"PPO: lambda_ must be in \[0, 1\], got 2"),
        (lambda: PPO(clip=-0.1), "PPO: clip must be positive, got -0.1"),
        (lambda: PPO(value_clip=0), "PPO: value_clip must be positive, got 0"),
        (lambda: PPO(num_envs=0), "PPO: num_envs must be at least 1, got 0"),
        (lambda: PPO(epochs=0), "PPO: epochs must be at least 1, got 0"),
        (lambda: preset(PPO, {"rollout": 2.5}), "PPO: rollout must be at least 1 and whole, got 2.5"),
        (lambda: DQN(rollout=0), "DQN: rollout must be at least 1, got 0"),
        (lambda: DQN(batch_size=0), "DQN: batch_size must be at least 1, got 0"),
        (lambda: DQN(target_period=0), "DQN: target_period must be at least 1, got 0"),
        (lambda: Adam(-1), "Adam: learning_rate must be at least 0 and finite, got -1"),
        (
            lambda: preset(Adam, {"learning_rate": "fast"}),
            "Adam: learning_rate must be at least 0 and finite, got 'fast'",
        ),
        (lambda: Adam(True), "Adam: learning_rate must be at least 0 and finite, got True"),
        (lambda: Epsilon(2), r"Epsilon: epsilon must be in \[0, 1\], got 2"),
        (lambda: QLearning(step_size=math.inf), "QLearning: step_size must be at least 0 and finite, got inf"),
        (lambda: EmphaticTD(step_size_end=-1), "EmphaticTD: step_size_end must be at least 0"),
        (lambda: RMax(discount=1), "needs a discount below 1"),
    ],
)
def test_nonsense_is_refused(nonsense, message):
    with pytest.raises(ValueError, match=message):
        nonsense()


def test_programs_put_what_they_like_in_the_places_of_numbers():
    """Unflattening checks nothing: there are tracers, shapes and None in there."""
    assert jax.tree.map(lambda x: None, Method()).discount is None
    found = jax.jit(lambda method: (method.discount * 2, method.num_envs))(as_arrays(Method(0.25)))
    assert found == (0.5, 1)
    swept = jax.vmap(lambda method: method.optimiser.rate(0.0))(
        jax.tree.map(lambda *x: jnp.stack(x), *(as_arrays(Method(optimiser=SGD(rate))) for rate in (1.0, 2.0)))
    )
    np.testing.assert_array_equal(swept, [1.0, 2.0])


def test_settings_go_to_another_process() -> None:
    """Where seeds are lived side by side; functions that JAX wraps, as activations are, go by their names."""
    for made in (*(each.algorithm for each in PUBLISHED.values()), Preferences()):
        assert pickle.loads(pickle.dumps(made)) == made
