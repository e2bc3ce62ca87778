"""MinAtar's games of ours, against what their own package does."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from record_minatar import GAMES, GOLDENS
from replayed import difference

from retorno.environments.canvas import INK
from retorno.environments.pixels.minatar import FIRE, NOTHING
from retorno.environments.registry import make


def golden(game: str) -> dict[str, Any]:
    with np.load(GOLDENS) as kept:
        rows = {name.split("/")[1]: kept[name] for name in kept.files if name.startswith(f"{game}/")}
    return rows | {"screen": np.unpackbits(rows["screen"], axis=0, count=len(rows["over"])).astype(bool)}


@pytest.mark.parametrize("game", GAMES)
def test_every_transition_is_the_packages(game: str) -> None:
    rows = golden(game)
    assert rows["reward"].sum() > 0
    assert difference(game, rows) is None


def test_a_difference_is_found() -> None:
    rows = golden("breakout")
    rows["screen"][300, 0, 0, 0] ^= True
    assert difference("breakout", rows) == "1 of 600 rows differ in screen, the first is number 300"


def test_actions_stick_as_often_as_they_should() -> None:
    """By the cannon's shots: of 2,000 environments that fire at once, a tenth does nothing."""
    game: Any = make("minatar/space_invaders", sticky=0.1)
    keys = jax.random.split(jax.random.key(0), 2000)
    fire = game.action_space.n - 1
    state, _ = jax.vmap(game.reset)(keys)
    after, _ = jax.jit(jax.vmap(game.step, in_axes=(0, None, 0)))(state, jnp.int32(fire), keys)
    shots = after.state.game.bullets.any((1, 2))
    stuck = after.state.action == NOTHING
    assert ((after.state.action == FIRE) == shots).all() and (stuck == ~shots).all()
    assert abs(float(stuck.mean()) - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 2000)


def test_all_actions_are_the_packages_six() -> None:
    few: Any = make("minatar/breakout", sticky=0)
    all_six: Any = make("minatar/breakout", all_actions=True, sticky=0)
    assert (few.action_space.n, all_six.action_space.n) == (3, 6)
    key = jax.random.key(0)
    paddles = [
        int(world.step(world.reset(key)[0], jnp.int32(right), key)[0].state.game.paddle)
        for world, right in ((few, 2), (all_six, 3))
    ]
    assert paddles == [5, 5]


def test_a_probability_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"sticky is a probability, in \[0, 1\], got 2"):
        make("minatar/breakout", sticky=2)


@pytest.mark.parametrize("game", GAMES)
def test_what_is_seen_is_drawn(game: str) -> None:
    """What lies on a cell has a colour that no empty cell has."""
    world: Any = make(f"minatar/{game}")
    state, row = world.reset(jax.random.key(1))
    picture, seen = world.render(state), np.asarray(row.obs).any(-1)
    assert picture.shape == (320, 320, 3)
    centres = picture[16::32, 16::32]
    assert ((centres == np.array(INK)).all(-1) == ~seen).all()
