"""What retorno's annotations say is held while the tests run: `tests/annotations.py`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from annotations import Place, held_class, held_function, meant
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation, BeartypeCallHintViolation
from jax import Array
from jaxtyping import Float, Int

from retorno.core.mdp import mdp
from retorno.core.time_step import transition
from retorno.environments.registry import native
from retorno.ops.returns import gae, td_error


@held_function
def product(x: Float[Array, "T D"], y: Float[Array, " D"], scale: float = 1.0) -> Float[Array, " T"]:
    if not isinstance(scale, float | int):
        raise ValueError("scale must be a number")
    return x @ y if scale else x


def test_shapes_are_held_within_a_call() -> None:
    x = jnp.ones((3, 2))
    assert product(x, jnp.ones(2), 2).shape == (3,)
    with pytest.raises(BeartypeCallHintParamViolation, match="parameter y"):
        product(x, jnp.ones((2, 1)))
    with pytest.raises(BeartypeCallHintParamViolation, match="parameter x"):
        product(jnp.ones((3, 2), int), jnp.ones(2))
    with pytest.raises(BeartypeCallHintReturnViolation):
        product(x, jnp.ones(2), 0)
    assert product(jnp.ones((5, 4)), jnp.ones(4)).shape == (5,), "an axis has another length in another call"


def test_shapes_are_held_while_a_program_is_traced() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        jax.eval_shape(jax.vmap(product, in_axes=(None, 0)), jnp.ones((3, 2)), jnp.ones((4, 2, 1)))
    assert jax.eval_shape(jax.vmap(product), jnp.ones((4, 3, 2)), jnp.ones((4, 2))).shape == (4, 3)


def test_what_a_function_refuses_it_refuses_in_its_own_words() -> None:
    with pytest.raises(ValueError, match="scale must be a number"):
        product(jnp.ones((3, 2)), jnp.ones(2), "2")  # type: ignore[arg-type]


def test_functions_within_functions_share_a_check_and_keep_their_own_variables() -> None:
    def outer(more: Any) -> Callable[..., Any]:
        @held_function
        def inner(x: Int[Array, " N"], *rest: int, last: int = 0, **others: int) -> Int[Array, " N"]:
            return x + more

        return inner

    one, two, places = outer(1), outer(jnp.ones((2, 1), int)), len(Place.every)
    assert one(jnp.arange(2)).tolist() == [1, 2] and len(Place.every) == places
    with pytest.raises(BeartypeCallHintReturnViolation):
        two(jnp.arange(2))
    for wrong in [((jnp.arange(2), "1"), {}), ((jnp.arange(2),), {"last": "1"}), ((jnp.arange(2),), {"other": "1"})]:
        with pytest.raises(BeartypeCallHintParamViolation):
            one(*wrong[0], **wrong[1])


def test_a_dataclass_is_looked_at_when_it_is_made() -> None:
    @held_class
    @dataclass(frozen=True)
    class Pair:
        ends: Int[Array, " N+1"]
        values: Float[Array, " N"]
        name: str = ""

        def __post_init__(self) -> None:
            if not self.name.islower():
                raise ValueError("a name is written small")

    Pair(jnp.arange(3), jnp.ones(2), "a")
    for wrong in [(jnp.arange(2), jnp.ones(2), "a"), (jnp.arange(3), [1.0, 1.0], "a")]:
        with pytest.raises(BeartypeCallHintParamViolation):
            Pair(*wrong)
    with pytest.raises(ValueError, match="written small"):
        Pair(jnp.arange(2), jnp.ones(2), "A")


def test_retorno_is_held() -> None:
    with pytest.raises(BeartypeCallHintParamViolation, match=r"retorno\.ops\.returns\.td_error\(\) parameter q"):
        td_error(jnp.ones((1, 2)), jnp.int32(0), jnp.float32(1))
    x = jnp.ones(3)
    with pytest.raises(BeartypeCallHintParamViolation, match="parameter next_value"):
        gae(x, x, x, jnp.ones(1), jnp.zeros(3, bool), 0.9)
    with pytest.raises(BeartypeCallHintParamViolation, match="parameter terminated"):
        transition(0, 0.0, terminated=jnp.zeros(2, bool))
    assert "__held_function__" in vars(__import__("retorno.run.loop").run.loop)


def test_what_is_imported_for_checkers_of_types_is_known() -> None:
    assert "Environment" in repr(meant(native.__annotations__, native.__module__)["return"])
    assert native.__wrapped__.__code__.co_filename.endswith("registry.py") and Path(mdp.__code__.co_filename).is_file()


def test_to_be_looked_at_draws_no_random_numbers() -> None:
    before = random.getstate()
    held_function(everyone)(["a"] * 100)
    assert random.getstate() == before


def everyone(names: list[str]) -> None: ...
