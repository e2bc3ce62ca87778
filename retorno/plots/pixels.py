"""What a network sees in an image, and what it makes of it: action values, saliency, kernels, its last hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from retorno.core.policy import Policy
from retorno.environments.canvas import BLUE, GREY, INK, ORANGE, Canvas
from retorno.networks.cnn import Convolved
from retorno.plots.style import PlotError

BAR = 0.62
"""How much of its place a bar fills."""


def with_values(picture: np.ndarray, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """A picture of a game, and beside it a bar for the value of each action: the best in another colour.

    Args:
        picture: the game. Shape [height, width, 3].
        values: of each action. Shape [A].

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
    return np.concatenate([picture, bars], 1)


def values_of(policy: Policy, obs: Any, first: Any, carry: Any) -> Any:
    """The action values on a row, where the policy has any; None where it has none."""
    return policy.step(obs, first, carry)[0].get("q")


def saliency(policy: Policy, obs: np.ndarray, block: int = 1) -> Float[np.ndarray, "R S"]:
    """How much the best action's value changes when a block of the image is emptied (as Greydanus et al. 2018 blur it).

    Args:
        policy: of action values, without a memory.
        obs: one image. Shape [H, W, C].
        block: rows and columns of what is emptied at a time.

    Raises:
        PlotError: when the policy has no action values.

    Returns:
        Absolute changes, one for each block. Shape [H / block, W / block].
    """
    image = jnp.asarray(obs)
    rows, columns = -(-image.shape[0] // block), -(-image.shape[1] // block)

    def best(obs: Any) -> Any:
        q = values_of(policy, obs, jnp.array(True), policy.initial_carry())
        if q is None:
            raise PlotError("saliency is of action values: this policy has none, DQN's and PQN's have")
        return q

    q = best(image)
    action = int(jnp.argmax(q))
    place = jnp.arange(image.shape[0])[:, None] // block * columns + jnp.arange(image.shape[1]) // block

    def without(number: Any) -> Any:
        return best(jnp.where((place == number)[..., None], jnp.zeros_like(image), image))[action]

    changed = jax.lax.map(without, jnp.arange(rows * columns))
    return np.asarray(abs(changed - q[action])).reshape(rows, columns)


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
