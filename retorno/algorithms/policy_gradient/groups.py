"""What GRPO, RLOO and expert iteration ask of the groups whose episodes they compare."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax import Array
from jaxtyping import Bool, Float

from retorno.core.spaces import Spec


def require_groups(algorithm: str, spec: Spec, group: int, rollout: int) -> None:
    """Refuse what leaves nothing to compare, and rollouts that would mix prompts.

    Raises:
        ValueError: it says what would do.

    Args:
        algorithm: for the message.
        spec: of the world.
        group: K
        rollout: T
    """
    if group < 2 or spec.num_envs % group:
        raise ValueError(
            f"{algorithm} compares the episodes of {group} neighbouring environments, and there are {spec.num_envs}: "
            "group must be 2 or more, and num_envs a multiple of it"
        )
    together = None if spec.world is None else spec.world.lockstep
    if together is not None and rollout % together.rows == 0 and rollout != together.rows:
        raise ValueError(
            f"{algorithm} compares the episodes that end in one rollout, and {rollout} rows hold "
            f"{rollout // together.rows}, one after another, of which each begins otherwise: choose "
            f"rollout={together.rows}, and more environments instead"
        )


def over_groups(compare: Callable[[Array, Array], Array], group: int) -> Callable[[Array, Array], Array]:
    """`compare(returns, ends)` of each group of neighbours by itself, of rows [R, B].

    Args:
        compare: of a group's episodes; see `retorno.ops.groups`.
        group: K
    """

    def compared(returns: Float[Array, "R B"], ends: Bool[Array, "R B"]) -> Array:
        rows, environments = returns.shape
        apart = lambda x: x.reshape(rows, environments // group, group)  # noqa: E731
        return jax.vmap(compare, in_axes=1, out_axes=1)(apart(returns), apart(ends)).reshape(rows, environments)

    return compared
