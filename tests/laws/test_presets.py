"""Every preset, which is another method with settings of its own, goes one round and is recorded as what it is.

The method itself stands under all laws; here nothing is compiled: a round is traced, so that what cannot be built, or
comes out of a round in another shape than it went in, is seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from inspect import signature
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from small import PRESETS, REGISTERED
from test_recordings import answers
from worlds import KINDS

from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.hyperparameters import as_arrays
from retorno.core.policy import Algorithm
from retorno.core.spaces import SpaceError
from retorno.run.config import from_json, to_json
from retorno.run.known import known
from retorno.run.loop import begun_shapes, iterate

SIZES = {"num_envs": 6, "batch_size": 4, "capacity": 256, "learning_starts": 8}


def begun(method: Algorithm) -> Iterator[tuple[Environment, Any]]:
    """The worlds in which it can begin, and the shapes of a run there."""
    for make in (*KINDS.values(), answers):
        world = make()
        try:
            yield world, begun_shapes(method, world, None, jnp.uint32(0), Counter.of(100), method.num_envs)
        except SpaceError:
            continue


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_goes_one_round_and_is_recorded(name: str) -> None:
    method: Any = REGISTERED[name]()
    assert from_json(to_json(method), known()) == method != type(method)()
    fields = {field.name for field in dataclasses.fields(method)}
    method = dataclasses.replace(method, **{field: x for field, x in SIZES.items() if field in fields})
    world, before = next(begun(method))
    after = jax.eval_shape(lambda run: iterate(as_arrays(method), world, run).after, before)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), before)


TAKING = [name for name in PRESETS if signature(REGISTERED[name]).parameters]
"""The others are what they are."""


@pytest.mark.parametrize("name", TAKING)
def test_what_is_given_goes_before_what_a_preset_says(name: str) -> None:
    own: Any = REGISTERED[name]()
    usual = type(own)()
    changed = [
        field.name for field in dataclasses.fields(own) if getattr(own, field.name) != getattr(usual, field.name)
    ]
    for field in changed:
        given = REGISTERED[name](**{field: getattr(usual, field)})
        assert dataclasses.replace(own, **{field: getattr(usual, field)}) == given
