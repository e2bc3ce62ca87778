"""Worlds that are seen as they are drawn: the picture is their own, and an edge that moves a little is seen to move."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from retorno.environments.canvas import INK, Sketch
from retorno.environments.control.classic import Acrobot, CartPole, MountainCar, Pendulum
from retorno.environments.pixels.pictured import Pictured
from retorno.environments.registry import make

STATES = (
    (CartPole, [0.7, 0.0, 0.15, 0.0]),
    (MountainCar, [-0.9, 0.0]),
    (Acrobot, [0.8, 1.1, 0.0, 0.0]),
    (Pendulum, [2.0, 0.0]),
)


@pytest.mark.parametrize(("kind", "state"), STATES)
def test_what_is_seen_is_what_is_drawn(kind: Any, state: list[float]) -> None:
    """Next to it a picture of the state a quarter of a unit further is far off."""
    world = kind()
    seen = Pictured(world, 84)

    def sketched(state: list[float]) -> Any:
        sketch = Sketch(*world.view, 84)
        world.draw(jnp.array(state), sketch)
        return np.asarray(sketch.picture())[..., 0]

    columns, rows = seen.observation_space.shape[1], seen.observation_space.shape[0]
    drawn = Image.fromarray(world.render(jnp.array(state))).convert("L").resize((columns, rows), Image.Resampling.BOX)
    off = np.abs(sketched(state) - np.asarray(drawn, float)).mean()
    other = np.abs(sketched([state[0] + 0.25, *state[1:]]) - np.asarray(drawn, float)).mean()
    assert off < 4 and other > off + 1


def test_a_motion_of_a_tenth_of_a_pixel_is_seen_in_its_size() -> None:
    def column(x: float) -> np.ndarray:
        sketch = Sketch(0, 10, 0, 10, 10)
        sketch.box((x, 5.0), 4.0, 10.0, INK)
        return np.asarray(sketch.picture())[5, :, 0].astype(float)

    before, after = column(5.0), column(5.1)
    full = column(6.0) - before
    np.testing.assert_allclose((after - before)[[3, 7]], 0.1 * full[[3, 7]], atol=1)


def test_rows_hold_bytes_of_the_state_that_is_lived() -> None:
    """Through the world's limit, at the start, in a step, and after an episode."""
    world: Any = make("CartPole-v1", pixels=24)
    plain: Any = make("CartPole-v1")
    (state, row), (same, _) = world.reset(jax.random.key(3)), plain.reset(jax.random.key(3))
    assert row.obs.dtype == jnp.uint8 and row.obs.shape == world.observation_space.shape == (12, 24, 1)
    for t in range(3):
        sketch = Sketch(*CartPole.view, 24)
        CartPole().draw(same.state, sketch)
        np.testing.assert_array_equal(row.obs, sketch.picture())
        (state, row), (same, _) = (
            w.step(s, jnp.int32(1), jax.random.key(t)) for w, s in ((world, state), (plain, same))
        )
    assert world.restart(state, jax.random.key(9))[1].obs.shape == (12, 24, 1)


def test_too_small_a_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="eight rows and columns or more, got pixels=12"):
        make("CartPole-v1", pixels=12)
