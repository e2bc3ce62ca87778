"""What is drawn of a network's view, of networks whose answer is known."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.core.policy import Policy
from retorno.networks import CNN, MLP, ActionValueHead
from retorno.plots.pixels import convolved, hidden, on_a_plane, saliency, with_saliency, with_values
from retorno.plots.style import PlotError, font

SCREEN = spaces.Box(0, 255, (6, 6, 1), np.uint8)


class Weighed(Policy):
    """Action 1 is worth a weighted sum of the image, action 0 nothing."""

    weights: Any = eqx.field(converter=jnp.asarray)

    @property
    def context(self) -> int:
        return 0

    def initial_carry(self) -> Any:
        return ()

    def step(self, obs: Any, first: Any, carry: Any) -> Any:
        return {"q": jnp.stack([jnp.float32(0), (self.weights * obs[..., 0]).sum()])}, carry

    def unroll(self, obs: Any, first: Any, carry: Any) -> Any:
        return jax.vmap(lambda o: self.step(o, None, ())[0])(obs)


def test_what_counts_is_what_is_emptied_by_hand() -> None:
    weights = np.arange(16.0).reshape(4, 4)
    image = np.full((4, 4, 1), 2.0, np.float32)
    np.testing.assert_allclose(saliency(Weighed(weights), image), 2 * weights)
    blocks = 2 * weights.reshape(2, 2, 2, 2).sum((1, 3))
    np.testing.assert_allclose(saliency(Weighed(weights), image, block=2), blocks)


def test_an_image_whose_channels_come_first_is_emptied_by_its_own_rows_and_columns() -> None:
    class Turned(Weighed):
        def step(self, obs: Any, first: Any, carry: Any) -> Any:
            return super().step(jnp.moveaxis(obs, 0, -1), first, carry)

    weights = np.arange(40.0).reshape(5, 8)
    image = np.full((3, 5, 8), 2, np.uint8)
    np.testing.assert_allclose(saliency(Turned(weights), image), 2 * weights)


def test_without_action_values_it_is_the_states_value_that_counts() -> None:
    class Valued(Weighed):
        def step(self, obs: Any, first: Any, carry: Any) -> Any:
            return {"value": super().step(obs, first, carry)[0]["q"][1]}, carry

    weights, image = np.arange(16.0).reshape(4, 4), np.full((4, 4, 1), 2.0, np.float32)
    np.testing.assert_allclose(saliency(Valued(weights), image), 2 * weights)


def test_the_best_action_has_the_longest_bar() -> None:
    picture = with_values(np.zeros((90, 90, 3), np.uint8), [0.5, 1.0, 0.25])
    bars = picture[:, 90:]
    coloured = [(np.ptp(bars[at], 1) > 60).sum() for at in (15, 45, 75)]
    assert coloured[1] > 1.7 * coloured[0] > 1.7 * coloured[2] > 0
    below_zero = with_values(np.zeros((90, 90, 3), np.uint8), [-1.0, -2.0])
    assert below_zero.shape == picture.shape


def test_what_counts_is_laid_over_the_picture_where_it_stands() -> None:
    picture = np.full((80, 80, 3), 100, np.uint8)
    changes = np.zeros((4, 4))
    changes[1, 3] = 2.0
    changed = np.abs(with_saliency(picture, changes).astype(int) - picture).sum(-1)
    assert np.unravel_index(changed.argmax(), changed.shape)[0] in range(20, 40)
    assert changed[20:40, 60:].mean() > 10 * changed[60:, :20].mean() == 0


def test_actions_have_their_names_and_the_value_its_past() -> None:
    picture, values = np.zeros((90, 90, 3), np.uint8), [0.0, 0.0, 1.0]
    plain = with_values(picture, values)
    named = with_values(picture, values, ["nothing", "left", "fire"])
    assert named.shape == plain.shape and (named[:, 90:] != plain[:, 90:]).any((1, 2)).reshape(3, 30).any(1).all()
    less = with_values(picture, [0.0, 0.0, 0.9])
    assert (less != plain)[:, 90:].any((1, 2))[60:72].any(), "the value is written on its bar"
    minus, none = (bytes(font(12).getmask(sign)) for sign in ("−", "\uffff"))
    assert minus != none
    below = with_values(picture, values, past=[0.0, 1.0, 0.5])[90:]
    orange = np.ptp(below, -1) > 60
    heights = [np.flatnonzero(column).mean() for column in orange.T if column.any()]
    assert min(heights) < heights[-1] < heights[0], "up, and half of it down"
    assert np.ptp(np.flatnonzero(orange.any(0))) > 0.9 * below.shape[1], "a short episode too is as wide as the picture"


def test_the_last_hidden_layer_is_what_the_head_reads() -> None:
    network = CNN((2,), (3,), (1,), (5,)).build(jax.random.key(0), SCREEN, {"q": ActionValueHead(3)})
    images = np.random.default_rng(0).integers(0, 256, (7, 6, 6, 1)).astype(np.uint8)
    features = hidden(network, images)
    q = jax.vmap(lambda o: network.step(o, jnp.array(True), ())[0]["q"])(jnp.asarray(images))
    np.testing.assert_allclose(features @ np.asarray(network.last["q"].weight) + network.last["q"].bias, q, atol=1e-5)
    plane = on_a_plane(features)
    assert plane.shape == (7, 2) and plane[:, 0].var() >= plane[:, 1].var()


def test_a_policy_without_convolutions_is_told() -> None:
    network = MLP((4,)).build(jax.random.key(0), SCREEN, {"q": ActionValueHead(3)})
    with pytest.raises(PlotError, match="no convolutions"):
        convolved(network)
