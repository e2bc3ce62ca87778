"""Every gradient that an algorithm descends is the slope of its loss, by differences in float64.

An update is traced as it is, but that whoever asks for a gradient is also told the loss a little to either side, along
a direction drawn at random. What a loss holds still (`stop_gradient`) is held still there as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from annotations import unlooked
from cases import main, mostly
from jax._src.interpreters.batching import BatchTracer
from small import COMPARING, EVOLVING, RECORDED, SELF_PLAY, Judged, having
from test_recordings import begin

from retorno.core.counter import Counter
from retorno.core.hyperparameters import as_arrays
from retorno.core.policy import world_reward
from retorno.run.collect import collect
from retorno.run.loop import Run, begin_native

STEP = 1e-5


def in_float64(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, tree)


class Held:
    """Numbers that a loss holds still: as they are where its gradient is asked for."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.place: int | None = None

    def __call__(self, x: Any) -> Any:
        # Out of a `vmap` within the loss nothing can be kept: what is held there does not follow from the weights.
        if any(isinstance(leaf, BatchTracer) for leaf in jax.tree.leaves(x)):
            return plain_stop(x)
        if self.place is None:
            self.seen.append(x)
            return plain_stop(x)
        self.place += 1
        return self.seen[self.place - 1]


plain_stop, plain_gradient = jax.lax.stop_gradient, jax.value_and_grad


@contextlib.contextmanager
def slopes() -> Iterator[list[tuple[float, float]]]:
    """Of each gradient that is computed its product with a direction, and the difference of losses along it."""
    found: list[tuple[float, float]] = []

    def checked(loss: Callable[..., Any], has_aux: bool = False, **rest: Any) -> Callable[..., Any]:
        value = lambda *given: loss(*given)[0] if has_aux else loss(*given)  # noqa: E731

        def both(weights: Any, *given: Any) -> Any:
            held = Held()
            keys = iter(jax.random.split(jax.random.key(len(jax.tree.leaves(weights))), 1000))
            way = jax.tree.map(lambda x: jax.random.normal(next(keys), x.shape, x.dtype), weights)
            at = lambda step: jax.tree.map(lambda x, d: x + step * d, weights, way)  # noqa: E731
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(jax.lax, "stop_gradient", held)
                value(weights, *given)
                sides = []
                for step in (STEP, -STEP):
                    held.place = 0
                    sides.append(value(at(step), *given))
            answer, gradient = plain_gradient(loss, has_aux=has_aux, **rest)(weights, *given)
            along = sum(jax.tree.leaves(jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, way)))
            jax.debug.callback(lambda *x: found.append(tuple(map(float, x))), along, (sides[0] - sides[1]) / (2 * STEP))
            return answer, gradient

        return both

    def alone(loss: Callable[..., Any], has_aux: bool = False, **rest: Any) -> Callable[..., Any]:
        def gradient(*given: Any) -> Any:
            answer, slope = checked(loss, has_aux, **rest)(*given)
            return (slope, answer[1]) if has_aux else slope

        return gradient

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "value_and_grad", checked)
        patch.setattr(jax, "grad", alone)
        yield found


def check(method: Any, run: Run, world: Any) -> None:
    """Of two updates, since of some methods the actor learns at the second one."""
    live = jax.jit(lambda run: collect(method, run.learner, world, run.stage, run.seed, jax.random.key(0))[1])
    trajectory = live(run)
    with slopes() as found, jax.enable_x64(True), unlooked():
        update = jax.jit(lambda learner, lived: method.update(learner, lived, world_reward, jax.random.key(1))[0])
        learner, lived = in_float64((run.learner, trajectory))
        for _ in range(2):
            learner = update(learner, lived)
        jax.block_until_ready(learner)
        jax.effects_barrier()
    assert any(gradient != 0 for gradient, _ in found)
    for gradient, slope in found:
        assert gradient == pytest.approx(slope, rel=1e-5, abs=1e-7)


DESCENDING = [name for name in having("optimiser") if name not in (*EVOLVING, *SELF_PLAY, *COMPARING)]
"""What searches in a game takes too long to compile for what is seen, and what compares whole episodes adds up their
returns as float32: their losses are those of the others."""


@pytest.mark.parametrize("name", mostly(["ppo", "impala", "dqn", "sac"], DESCENDING))
def test_gradients_are_slopes(name: str) -> None:
    """The losses of TD3 are looked at with TD3+BC, below."""
    method, world = main(name).method(), main(name).place()
    begun = begin_native(as_arrays(method), world, Judged(), jnp.uint32(3), Counter.of(500), method.num_envs)
    check(method, begun, world)


@pytest.mark.parametrize("name", mostly(["td3_bc"], RECORDED))
def test_gradients_from_recordings_are_slopes(name: str) -> None:
    with contextlib.closing(begin(name)) as training:
        check(training.algorithm, training.run, training.world)


def test_a_wrong_gradient_is_seen() -> None:
    @jax.custom_gradient
    def square(x: Any) -> Any:
        return x**2, lambda g: 2.1 * g * x

    def update(loss: Callable[..., Any]) -> list[tuple[float, float]]:
        with slopes() as found, jax.enable_x64(True):
            jax.jit(lambda x: jax.grad(loss)(x))(jnp.float64(3))
            jax.effects_barrier()
        return found

    # What is held still is no part of the slope: that of x · stop(x) is x.
    (right,) = update(lambda x: x * jax.lax.stop_gradient(x))
    assert right[0] == pytest.approx(right[1], rel=1e-6)
    (wrong,) = update(square)
    assert wrong[0] != pytest.approx(wrong[1], rel=1e-2)
