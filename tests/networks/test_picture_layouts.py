"""However a picture is laid out, the same network reads the same of it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import retorno
from retorno.cli.train import told_picture
from retorno.core.spaces import SpaceError, channels_first
from retorno.networks import CNN, GRU, Residual, Stack
from retorno.networks.heads import ValueHead
from retorno.networks.residual import board

KEY = jax.random.key(0)


def value(config: Any, seen: np.ndarray) -> np.ndarray:
    """What a new network says of two rows."""
    space = spaces.Box(0, 255, seen.shape[1:], seen.dtype.type)
    network = config.build(KEY, space, {"value": ValueHead()})
    return np.asarray(network.unroll(jnp.asarray(seen), jnp.array([True, False]), network.initial_carry())["value"])


@pytest.mark.parametrize("config", [CNN(), Residual(channels=4, blocks=1), Stack(frames=2, network=CNN())])
def test_channels_that_come_first_are_no_rows(config: Any) -> None:
    """Of floats, and as many as stacked frames have, as of bytes."""
    picture = np.random.default_rng(0).random((2, 13, 14, 6), np.float32)
    np.testing.assert_allclose(value(config, picture), value(config, np.moveaxis(picture, -1, 1)), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("config", [CNN(), Residual(channels=4, blocks=1)])
def test_frames_along_an_axis_of_their_own_are_channels_more(config: Any, dtype: Any) -> None:
    """As Gymnasium's `FrameStackObservation` gives them, of colours last or first."""
    frames = np.random.default_rng(0).integers(0, 255, (2, 4, 9, 8, 3)).astype(dtype)
    beside = np.concatenate(list(np.moveaxis(frames, 1, 0)), axis=-1)
    for seen in (frames, np.moveaxis(frames, -1, 2)):
        np.testing.assert_allclose(value(config, seen), value(config, beside), rtol=1e-5)
    stacked = Stack(2, network=config)
    np.testing.assert_allclose(value(stacked, frames), value(stacked, beside), rtol=1e-5)


def test_a_board_of_two_rows_is_no_picture() -> None:
    """Of large pictures any shape is likely, of small ones that are planes as squares."""
    shapes = {(4, 10, 10): True, (12, 40, 60): True, (2, 8, 12): False, (2, 6, 42): False, (3, 9, 8): True}
    assert {shape: channels_first(spaces.Box(0, 1, shape)) for shape in shapes} == shapes


@pytest.mark.parametrize("config", [CNN(), Residual(channels=4, blocks=1)])
def test_what_is_normalised_is_not_scaled_as_bytes_are(config: Any) -> None:
    def said(dtype: Any) -> float:
        network = config.build(KEY, spaces.Box(0, 255, (6, 8, 3), dtype), {"value": ValueHead()})
        standardised = jax.random.normal(KEY, (6, 8, 3))
        return float(network.step(standardised, jnp.array(True), network.initial_carry())[0]["value"])

    assert said(np.uint8) == pytest.approx(said(np.float32), rel=1e-6)


def test_pictures_of_large_floats_and_networks_that_see_no_place_are_told() -> None:
    floats, small, frames = spaces.Box(0, 255, (1, 20, 30)), spaces.Box(0, 255, (3, 4, 5)), (4, 20, 30, 3)
    no_place, large = told_picture(retorno.DQN(), floats)
    assert "--network cnn" in no_place
    assert "reach 255" in large
    assert told_picture(retorno.DQN(network=CNN()), floats) == [large]
    assert not told_picture(retorno.DQN(network=CNN(), normalise_observations=True), floats)
    assert told_picture(retorno.DQN(), spaces.Box(0, 255, frames, np.uint8)) == [no_place]
    assert not told_picture(retorno.DQN(), small)
    assert "--network.reader cnn" in told_picture(retorno.PPO(network=GRU()), floats)[0]
    assert told_picture(retorno.PPO(network=GRU(reader=CNN())), floats) == [large]
    (guessed,) = told_picture(retorno.DQN(network=CNN()), spaces.Box(0, 1, (2, 19, 17)))
    assert "read as 2 channels of 19 × 17" in guessed

    beside = spaces.Dict(camera=spaces.Box(0, 255, (20, 30, 3), np.uint8), speed=spaces.Box(-1, 1, (2,)))
    (part,) = told_picture(retorno.SAC(), beside)
    assert part.startswith("part of what is observed is a picture, of which --network cnn")
    assert not told_picture(retorno.SAC(network=CNN()), beside)


def planes_of(**parts: tuple[int, ...]) -> tuple[int, int, int]:
    """Rows, columns and planes of several parts."""
    return board(spaces.Dict({name: spaces.Box(0, 1, shape) for name, shape in parts.items()}))


def test_the_largest_of_several_boards_is_the_one_that_is_read() -> None:
    """A small table that comes before the picture by its name lies beside it, on each place; not the other way."""
    assert planes_of(a_table=(3, 4), camera=(20, 30, 3)) == planes_of(camera=(20, 30, 3), table=(3, 4)) == (20, 30, 15)
    with pytest.raises(SpaceError, match=r"are of one size, got 40 × 40 and 20 × 30: show them in one"):
        planes_of(hand=(20, 30, 3), head=(40, 40, 3))
    with pytest.raises(SpaceError, match=r"got one of shape \[2, 4, 20, 30, 3\]: show fewer axes"):
        planes_of(film=(2, 4, 20, 30, 3))
