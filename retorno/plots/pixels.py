"""What a network sees in an image, and what it makes of it: action values, saliency, kernels, its last hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Float

from retorno.core import constants
from retorno.core.policy import Policy
from retorno.core.spaces import channels_first
from retorno.environments.canvas import BLUE, GREY, INK, ORANGE, Canvas
from retorno.networks.cnn import Convolved
from retorno.plots.style import PlotError, font

BAR = 0.62
"""How much of its place a bar fills."""
SMALLEST = 8
"""Letters of fewer pixels are not written."""
STEPS = 200
"""Of how many steps the value is drawn."""
READABLE = 300
"""Rows or columns of a picture beside which there is room for names and numbers."""
BLOCKS = 12
"""Into how many rows and columns an image is cut, at most, to find what counts in it."""
LIT, LAID = (235, 64, 20), 0.75
"""The colour of what counts, and how much of a picture it covers at most."""


def enlarged(picture: np.ndarray) -> np.ndarray:
    """A small picture by whole pixels, so that what is drawn and written beside it can be read.

    Args:
        picture: the game. Shape [height, width, 3].

    >>> enlarged(np.zeros((210, 160, 3), np.uint8)).shape, enlarged(np.zeros((400, 600, 3), np.uint8)).shape
    ((420, 320, 3), (400, 600, 3))
    """
    times = -(-READABLE // max(picture.shape[:2]))
    return picture.repeat(times, 0).repeat(times, 1)


def with_values(
    picture: np.ndarray, values: Sequence[float] | np.ndarray, names: Sequence[str] = (), past: Sequence[float] = ()
) -> np.ndarray:
    """A picture of a game, and beside it a bar for the value of each action: the best in another colour.

    Args:
        picture: the game. Shape [height, width, 3].
        values: of each action. Shape [A].
        names: of the actions, written on their bars before their values; nothing for their numbers.
        past: the best action's value until now, drawn below as a curve; nothing for none.

    >>> with_values(np.zeros((60, 80, 3), np.uint8), [0.5, 1.0]).shape
    (60, 110, 3)
    """
    height, width = picture.shape[:2]
    values = np.asarray(values, float)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    span = max(high - low, 1e-6)
    wide = max(30, width // 3)
    # An action's place is one unit high; a value of `span` is as wide as the board.
    rows = len(values)
    canvas = Canvas(0, rows * wide / height, 0, rows, wide)
    right = rows * wide / height
    zero = 0.06 * right + 0.88 * right * -low / span
    for action, value in enumerate(values):
        length = 0.88 * right * value / span
        colour = ORANGE if action == int(values.argmax()) else BLUE
        canvas.box((zero + length / 2, rows - action - 0.5), max(abs(length), 0.01 * right), BAR, colour)
    canvas.line([(zero, 0), (zero, rows)], 0.01 * right, GREY if low < 0 else INK)
    bars = canvas.picture()
    bars = np.concatenate([bars, np.full((max(0, height - len(bars)), wide, 3), 255, np.uint8)])[:height]
    said = [
        f"{name.lower()}  {_in_short(value)}"
        for name, value in zip(names or map(str, range(rows)), values, strict=True)
    ]
    shown = np.concatenate([picture, _named(bars, said)], 1)
    return np.concatenate([shown, _curve(past, shown.shape[1], max(24, height // 5))]) if len(past) else shown


def _named(bars: np.ndarray, said: Sequence[str]) -> np.ndarray:
    """Bars with what is said of each above it, where there is room."""
    from PIL import Image, ImageDraw

    place = len(bars) / max(len(said), 1)
    if place < SMALLEST / (1 - BAR):
        return bars
    image = Image.fromarray(bars)
    pen, letters = ImageDraw.Draw(image), font(min(14, place * (1 - BAR)))
    for k, words in enumerate(said):
        pen.text((0.06 * bars.shape[1], k * place), words, fill=INK, font=letters)
    return np.asarray(image)


def _in_short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _curve(past: Sequence[float], wide: int, high: int) -> np.ndarray:
    """The value of each step until now, the newest at the right."""
    lately = np.asarray(past, float)[-STEPS:]
    low, high_value = float(lately.min()), float(lately.max())
    level = (lately - low) / max(high_value - low, 1e-6)
    canvas = Canvas(0, wide, 0, high, wide)
    across = np.linspace(0.02 * wide, 0.98 * wide, len(lately))
    up = high * (0.1 + 0.6 * level)  # Below what is written at the top.
    canvas.line([*zip(across, up, strict=True)] if len(lately) > 1 else [(across[0], up[0])] * 2, 1.2, ORANGE)
    image = canvas.picture()
    if high < 2 * SMALLEST:
        return image
    from PIL import Image, ImageDraw

    written = Image.fromarray(image)
    pen, letters = ImageDraw.Draw(written), font(SMALLEST + 3)
    pen.text((2, 0), f"value {_in_short(lately[-1])}", fill=INK, font=letters)
    return np.asarray(written)


def with_saliency(picture: np.ndarray, changes: Float[np.ndarray, "R S"]) -> np.ndarray:
    """A picture over which is laid, in a warm colour, what the best action's value hangs on.

    Args:
        picture: the game, of which an observation shows all. Shape [height, width, 3].
        changes: as `saliency` gives them: the largest covers most.
    """
    from PIL import Image

    share = np.asarray(changes, np.float32) / max(float(changes.max()), 1e-9)
    height, width = picture.shape[:2]
    share = np.asarray(Image.fromarray(share).resize((width, height), Image.Resampling.BILINEAR))[..., None] * LAID
    return (picture * (1 - share) + np.array(LIT) * share).round().astype(np.uint8)


def values_of(policy: Policy, obs: Any, first: Any, carry: Any) -> Any:
    """The action values on a row, where the policy has any; None where it has none."""
    return policy.step(obs, first, carry)[0].get("q")


def saliency(
    policy: Policy, obs: np.ndarray, block: int = 1, first: Any = True, carry: Any = None
) -> Float[np.ndarray, "R S"]:
    """How much the best action's value changes when a block of the image is emptied (as Greydanus et al. 2018 blur it).

    Of a policy without action values it is the state's.

    Args:
        policy: of action values, or with a value.
        obs: one image. Shape [H, W, C], or [C, H, W] where the policy's pictures have their channels first.
        block: rows and columns of what is emptied at a time.
        first: whether it is an episode's first.
        carry: what the policy remembers of what came before; None for nothing.

    Raises:
        PlotError: when the policy has no values, or sees no image.

    Returns:
        Absolute changes, one for each block. Shape [H / block, W / block].
    """
    if np.ndim(obs) not in (2, 3):
        raise PlotError(f"saliency is of images, got an observation of shape {np.shape(obs)}")
    carry = policy.initial_carry() if carry is None else carry
    image = jnp.asarray(obs)
    most = 255 if image.dtype == jnp.uint8 else 1
    turned = channels_first(spaces.Box(0, most, image.shape, image.dtype.type))
    changed = _changes(policy, image, jnp.asarray(first), carry, block=block, turned=turned)
    if changed is None:
        raise PlotError("saliency is of values: this policy has none, DQN's, PQN's and PPO's have")
    return np.asarray(changed)


@partial(constants.jit, static_argnames=("block", "turned"))
def _changes(policy: Policy, image: Any, first: Any, carry: Any, block: int, turned: bool) -> Any:
    """What `saliency` says, of an image whose channels are turned to the front or not; None without values."""
    height, width = image.shape[1:] if turned else image.shape[:2]
    rows, columns = -(-height // block), -(-width // block)

    def judged(image: Any) -> Any:
        heads = policy.step(image, first, carry)[0]
        return heads.get("q", heads.get("value"))

    value = judged(image)
    if value is None:
        return None
    best = jnp.argmax(value)
    place = jnp.arange(height)[:, None] // block * columns + jnp.arange(width) // block

    def without(number: Any) -> Any:
        emptied = place == number
        if not turned:
            emptied = emptied.reshape(place.shape + (1,) * (image.ndim - 2))
        return judged(jnp.where(emptied, jnp.zeros_like(image), image)).reshape(-1)[best]

    return abs(jax.lax.map(without, jnp.arange(rows * columns)) - value.reshape(-1)[best]).reshape(rows, columns)


def convolved(policy: Policy) -> Convolved:
    """The convolutions of a policy.

    Raises:
        PlotError: when it has none.
    """
    parts = jax.tree.leaves(policy, is_leaf=lambda x: isinstance(x, Convolved))
    found = next((part for part in parts if isinstance(part, Convolved)), None)
    if found is None:
        raise PlotError("this policy has no convolutions: one that was learnt with --network cnn has")
    return found


def hidden(policy: Policy, obs: np.ndarray) -> Float[np.ndarray, "N D"]:
    """The last hidden layer of a policy on N images, [N, H, W, C] as its network sees them (frames side by side)."""
    return np.asarray(jax.lax.map(convolved(policy), jnp.asarray(obs)))


def on_a_plane(features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N 2"]:
    """The first two principal components of N rows (Pearson 1901).

    >>> on_a_plane(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 0, 0]])).round(3)[:2, 0].tolist() in ([1, -1], [-1, 1])
    True
    """
    centred = features - features.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    return centred @ axes[:2].T
