"""Many runs side by side, looked at after every update: what learning curves of the textbooks are made of.

`train` is for runs that matter one by one: they report, are saved and resume. Here a method is lived with several
settings and hundreds of seeds at once: numbers are leaves and seeds an axis, so that all of it is one compiled program,
which goes round the same loop, and only what a probe picks out is kept. A study (`retorno.run.study`) is made of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Bool, Float, Int, PyTree, Shaped

from retorno.core import constants
from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.hyperparameters import as_arrays
from retorno.core.policy import Algorithm, RelabelConfig
from retorno.core.runtime import IN_HASTE, SIDE_BY_SIDE, prepare
from retorno.core.time_step import Trajectory
from retorno.environments.registry import native
from retorno.run.loop import Iteration, Run, begin_native, iterate, own_buffers, repeat, seeds_batch

Probe = Callable[[Run, Trajectory], PyTree[Array]]
"""What to keep of one seed after an update: of its run as it now is, and of the trajectory just learnt from."""


def lived(run: Run, trajectory: Trajectory) -> dict[str, Array]:
    """What is mostly looked at: each interaction's reward [T, B], whether it ended an episode and was a step."""
    steps = trajectory.steps
    return {"reward": steps.reward[1:], "last": steps.last[1:], "counts": trajectory.transitions}


class Lives:
    """M settings of one algorithm with S seeds each, in one native world: begun here, and lived on as far as one likes.

    Seeds and settings are lanes [M · S] of one program. They are spread over as many devices as divide their number;
    on each, tables are learnt from side by side and networks one after another.
    """

    def __init__(
        self,
        settings: Sequence[Algorithm],
        world: Environment,
        *,
        seeds: Sequence[int],
        steps: int,
        relabel: RelabelConfig | None = None,
        side_by_side: bool = False,
    ) -> None:
        """`steps` is the budget that schedules run over; `side_by_side` says that `world` is several of one shape.

        Raises:
            ValueError: when there are no seeds, or settings differ in more than numbers, which is another program.
        """
        if isinstance(seeds, int):
            raise ValueError(f"seeds are a sequence of them, got {seeds}: pass seeds=range({seeds})")
        if not len(seeds):
            raise ValueError("there have to be seeds: pass for instance seeds=range(100)")
        prepare()
        self.world, self.side_by_side = world, side_by_side
        self.shape = (len(settings), len(seeds))
        twins = [as_arrays(algorithm) for algorithm in settings]
        for other, twin in zip(settings, twins, strict=True):
            if jax.tree.structure(twin) != jax.tree.structure(twins[0]):
                raise ValueError(f"what is compared may differ in numbers alone, unlike {settings[0]} and {other}")
        lanes = len(settings) * len(seeds)
        devices = next(n for n in range(jax.local_device_count(), 0, -1) if lanes % n == 0)
        self.mesh = jax.make_mesh((devices,), ("shares",), axis_types=(AxisType.Auto,))
        numbers, budget = jnp.asarray(np.asarray(seeds), jnp.uint32), Counter.of(steps)
        worlds = [jax.tree.map(lambda x, i=i: x[i], world) for i in range(_leading(world))] if side_by_side else [world]
        begun = [[begin_native(twin, one, relabel, numbers, budget, twin.num_envs) for twin in twins] for one in worlds]
        self.algorithm = twins[0] if len(twins) == 1 else _lanes_of(len(seeds), *twins)
        self.runs = self.placed(own_buffers(_joined(side_by_side, begun)))

    def placed(self, runs: Run) -> Run:
        """Runs [M · S] as they lie over the devices."""
        where = PartitionSpec(*[None] * self.side_by_side, "shares")
        return jax.device_put(runs, NamedSharding(self.mesh, where))

    def live(self, points: int, every: int, look: Probe) -> PyTree[Shaped[np.ndarray, "_ _ ..."]]:
        """Go on for `points` · `every` updates of every lane, and look at each after every `every` of them.

        Returns:
            What was found: [M, S, points, …]; with the worlds' axis in front, where they are several.
        """
        many = _live_side_by_side if seeds_batch(self.algorithm) else _live_in_turn
        self.runs, found = many(
            self.algorithm,
            self.world,
            self.runs,
            jnp.int32(every),
            look,
            points,
            self.mesh,
            self.side_by_side,
            self.shape[0] > 1,
        )
        axis = int(self.side_by_side)
        shaped = lambda x: x.reshape(*x.shape[:axis], *self.shape, *x.shape[axis + 1 :])  # noqa: E731
        return jax.tree.map(shaped, jax.device_get(found))


def probe(
    algorithm: Algorithm | Sequence[Algorithm],
    world: Environment | str,
    updates: int,
    look: Probe,
    *,
    seeds: Sequence[int],
    every: int = 1,
    relabel: RelabelConfig | None = None,
    steps: int | None = None,
    over: Mapping[str, Sequence[float]] | None = None,
    side_by_side: bool = False,
) -> PyTree[Shaped[np.ndarray, "_ _ ..."]]:
    """What `look` finds in every seed after every `every` updates.

    Args:
        algorithm: its hyperparameters, or several that differ in numbers alone: they are lived in one compiled
            program, and what is found has their axis in front.
        world: a native world, or its name.
        updates: K · every, how many iterations each seed lives: `rollout` · `num_envs` interactions each.
        look: a function of (run, trajectory); one object for all calls, so that it is compiled once.
        seeds: the S seeds.
        every: look only after so many updates.
        relabel: where rewards come from, when not from the world alone.
        steps: the budget that schedules run over; all interactions by default.
        over: the same as several algorithms, by the names of the algorithm's own fields: lists of one length.
        side_by_side: `world` is several of one shape, with their axis in front (`environments.stacked`); so has
            what is found, before the settings'.

    Raises:
        ValueError: when `updates` is not a positive multiple of `every`, there are no seeds, a setting is
            refused by the algorithm, the lists have several lengths, or algorithms differ in more than numbers.

    Returns:
        What was found: [settings, S, K, …], without an axis where there is one setting.

    >>> from retorno.algorithms import QLearning
    >>> probe(QLearning(), "random_walk", 20, lambda run, lived: run.step.low, seeds=(0, 1), every=10).shape
    (2, 2)
    """
    if over:
        names, values = tuple(over), zip(*over.values(), strict=True)
        algorithm = [dataclasses.replace(algorithm, **dict(zip(names, x, strict=True))) for x in values]  # type: ignore[type-var]
    compared = isinstance(algorithm, Sequence)
    settings = list(algorithm) if compared else [algorithm]
    one = settings[0]
    if updates < 1 or every < 1 or updates % every:
        raise ValueError(f"updates must be a positive multiple of every, got {updates} and {every}")
    world = native(world) if isinstance(world, str) else world
    budget = updates * one.rollout * one.num_envs if steps is None else steps
    lives = Lives(settings, world, seeds=seeds, steps=budget, relabel=relabel, side_by_side=side_by_side)
    found = lives.live(updates // every, every, look)
    return found if compared else jax.tree.map(lambda x: x.squeeze(int(side_by_side)), found)


def _leading(tree: PyTree[Array]) -> int:
    return jax.tree.leaves(tree)[0].shape[0]


@partial(jax.jit, static_argnums=0, compiler_options=IN_HASTE)
def _lanes_of(seeds: int, *twins: Algorithm) -> Algorithm:
    """Several settings of one algorithm as one, each of whose numbers has an axis [M · S] in front."""
    return jax.tree.map(lambda *numbers: jnp.repeat(jnp.stack(numbers), seeds, axis=0), *twins)


@partial(jax.jit, static_argnums=0, compiler_options=IN_HASTE)
def _joined(side_by_side: bool, begun: list[list[Run]]) -> Run:
    """Runs [S] of M settings as lanes [M · S]; of several worlds with their axis in front."""
    worlds = [jax.tree.map(lambda *x: jnp.concatenate(x), *settings) for settings in begun]
    return jax.tree.map(lambda *x: jnp.stack(x), *worlds) if side_by_side else worlds[0]


def _live(
    algorithm: Algorithm,
    world: Environment,
    runs: Run,
    every: Int[Array, ""],
    look: Probe,
    points: int,
    mesh: jax.sharding.Mesh,
    side_by_side: bool,
    compared: bool,
) -> tuple[Run, PyTree[Array]]:
    def point(method: Any, world: Environment, run: Run, nothing: None) -> tuple[Run, PyTree[Array]]:
        def see(seen: tuple[Array, Trajectory], lived: Iteration) -> tuple[Array, Trajectory]:
            return seen[0] + 1, lived.trajectory

        # Only the last iteration of a point is looked at; one loop for all is half as much to compile.
        one = jax.jit(partial(iterate, method, world))
        nothing_yet = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, run).trajectory)
        seen = (jnp.int32(0), nothing_yet)
        run, (_, trajectory) = repeat(one, see, run, seen, lambda run, seen: seen[0] < every)
        return run, look(run, trajectory)

    def each(one: Callable[..., Any], *many: Any) -> Any:
        return jax.vmap(one)(*many) if seeds_batch(algorithm) else jax.lax.map(lambda x: one(*x), many)

    def several(runs: Run, algorithm: Algorithm, world: Environment) -> tuple[Run, PyTree[Array]]:
        def live(world: Environment, run: Run, method: Algorithm) -> tuple[Run, PyTree[Array]]:
            return jax.lax.scan(partial(point, method, world), run, None, length=points)

        def within(world: Environment, runs: Run) -> tuple[Run, PyTree[Array]]:
            if compared:
                return each(partial(live, world), runs, algorithm)
            return each(lambda run: live(world, run, algorithm), runs)

        return jax.vmap(within)(world, runs) if side_by_side else within(world, runs)

    split, same = PartitionSpec(*[None] * side_by_side, "shares"), PartitionSpec()
    settings = PartitionSpec("shares") if compared else same
    whole = jax.shard_map(several, mesh=mesh, in_specs=(split, settings, same), out_specs=split, check_vma=False)
    return whole(runs, algorithm, world)


_program = partial(
    constants.jit,
    _live,
    static_argnames=("look", "points", "mesh", "side_by_side", "compared"),
    donate_argnames=("runs",),
)
_live_in_turn, _live_side_by_side = _program(), _program(compiler_options=SIDE_BY_SIDE)


def at_episodes(
    values: Shaped[np.ndarray, "*settings S K"], last: Bool[np.ndarray, "*settings S K"], episodes: int
) -> Shaped[np.ndarray, "*settings S E"]:
    """What stood at the ends of the first `episodes` episodes of every seed.

    Args:
        values: after every interaction, in the order lived.
        last: whether it ended an episode, or whatever else is counted.
        episodes: E.

    Raises:
        ValueError: when a seed lived fewer episodes: give the study more updates.
    """
    fewest = int(last.sum(-1).min())
    if fewest < episodes:
        raise ValueError(f"a seed lived only {fewest} of {episodes} episodes: give the study more updates")
    ends = np.argsort(~last, axis=-1, kind="stable")[..., :episodes]
    return np.take_along_axis(values, ends, -1)


def by_episode(
    values: Float[np.ndarray, "S K"], last: Bool[np.ndarray, "S K"], episodes: int
) -> Float[np.ndarray, "S E"]:
    """Sums over each of the first `episodes` episodes of every seed: of rewards their return, of ones their length.

    Args:
        values: of every interaction, in the order lived.
        last: whether it ended an episode.
        episodes: E.

    Raises:
        ValueError: when a seed lived fewer episodes: give the study more updates.
    """
    fewest = int(last.sum(1).min())
    if fewest < episodes:
        raise ValueError(f"a seed lived only {fewest} of {episodes} episodes: give the study more updates")
    sums = np.zeros((len(values), episodes))
    episode = np.cumsum(last, 1) - last
    inside = episode < episodes
    rows = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
    np.add.at(sums, (rows[inside], episode[inside]), values[inside])
    return sums
