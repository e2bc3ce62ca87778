"""How well what was learnt from recordings fits others, for instance those that were held out."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from retorno.core import constants
from retorno.core.policy import Algorithm, Learner, Metrics, world_reward
from retorno.environments.recordings import Reading, Recorded
from retorno.run.collect import initial_carries
from retorno.run.training import Training


def fit(training: Training, world: Recorded) -> dict[str, float]:
    """An algorithm's metrics on recordings, each column counted once, with nothing learnt from them.

    Args:
        training: a run that learns from recordings.
        world: those to be looked at.

    Returns:
        The metrics by name, averaged over columns and seeds.

    Raises:
        ValueError: when the run does not learn from recordings.
    """
    if not getattr(training.algorithm, "RECORDED", False):
        raise ValueError(f"{type(training.algorithm).__name__} does not learn from recordings: evaluate it in a world")
    size = max(min(training.algorithm.num_envs, world.columns) // world.group, 1) * world.group
    batches = [size] * (world.columns // size)
    batches += [rest] if (rest := world.columns % size) else []
    found = []
    for learner in training.learners:
        reading = world.opening(size)
        for count in batches:
            metrics, reading = _fit(training.twin, learner, world, reading, count)
            found.append((count, jax.device_get(metrics)))
    total = sum(count for count, _ in found)
    return {name: float(np.sum([count * x[name] for count, x in found]) / total) for name in found[0][1]}


@partial(constants.jit, static_argnums=4)
def _fit(algorithm: Algorithm, learner: Learner, world: Recorded, reading: Reading, count: int) -> tuple[Metrics, Any]:
    after, lived = world.draw(reading, jnp.uint32(0), count)
    lived = lived._replace(carry=initial_carries(algorithm, learner, count))
    return algorithm.update(learner, lived, world_reward, jax.random.key(0))[1], after
