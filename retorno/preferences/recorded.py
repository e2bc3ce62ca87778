"""The learnt reward of a recorded run, as it stands at its newest checkpoint: to look at, and not to go on with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from retorno.core.counter import Counter
from retorno.core.errors import RetornoError
from retorno.core.spaces import Spec, policy_space
from retorno.core.time_step import TimeStep
from retorno.environments.registry import WorldName
from retorno.preferences.given import said_by
from retorno.preferences.judges import TrueReward, as_json, each_of
from retorno.preferences.learnt_reward import LearntReward, Preferences
from retorno.run import checkpoint
from retorno.run.config import from_json, to_json
from retorno.run.folder import read_config
from retorno.run.known import known

NEWEST_ROW = "state/relabel/recent/steps/last"
"""The leaf that tells of how many environments rows are kept."""


def learnt_rewards(folder: Path) -> list[LearntReward]:
    """What a run has learnt to pay, for each of its seeds; none where it learns no reward from preferences.

    Args:
        folder: the run's.

    Raises:
        RetornoError: when it cannot be read, or its world has no name.
    """
    config = read_config(folder)
    relabel = config.get("relabel") or {}
    if relabel.get("type") != Preferences.__name__ or not checkpoint.steps(folder):
        return []
    if not (config.get("world") or {}).get("name"):
        raise RetornoError("the run's world was made in Python, and cannot be made again by its name")
    # Nobody is asked any more, and no code of one's own is run because a folder says so.
    nobody = to_json(TrueReward(worst=0.0, best=1.0))
    settings = from_json({**relabel, "judge": nobody}, known())
    world = WorldName.recorded(config["world"]).make()
    path = checkpoint.newest(folder)
    leaves = {leaf.name: leaf.shape for leaf in checkpoint.verify(path).leaves}
    observed = world.observation_space
    obs = jax.tree.map(jnp.asarray, observed.sample())
    obs = jax.tree.map(lambda x: x.astype(jax.dtypes.canonicalize_dtype(x.dtype)), obs)
    row = TimeStep(obs, jnp.float32(0), jnp.float32(1), jnp.array(False), jnp.array(False))
    spec = Spec(observed, policy_space(world.action_space), leaves[NEWEST_ROW][-1], Counter.of(config["steps"]), row)
    shape = jax.eval_shape(partial(settings.build, spec=spec), jax.random.key(0))
    seeds = len(config["seeds"])
    if seeds > 1:
        shape = jax.tree.map(lambda x: jax.ShapeDtypeStruct((seeds, *x.shape), x.dtype), shape)
    found, _, _ = checkpoint.load(path, {"relabel": shape}, part=True)
    if seeds == 1:
        return [found["relabel"]]
    # By NumPy: of JAX's arrays each shape would be cut by a program of its own.
    each = jax.device_get(found["relabel"])
    return [jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), each) for i in range(seeds)]


def records(rewards: Iterable[LearntReward], labeller: str) -> Iterator[dict[str, Any]]:
    """All that members have learnt from, as `retorno.preferences.given` reads it.

    Args:
        rewards: of the seeds of a run.
        labeller: who judged.
    """
    for reward in rewards:
        held, levels = reward.labelled, reward.settings.levels
        asked, shares = jax.tree.map(np.asarray, held.asked), np.asarray(held.share)
        for i in range(int(held.count)):
            segments = [as_json(each) for each in each_of(asked, i)]
            yield {"segments": segments, **said_by(shares[i].tolist(), levels), "labeller": labeller}
