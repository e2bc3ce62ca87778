"""The loop over environments that live in Python: one compiled `act` for each step, one compiled `learn` a rollout.

What crosses between Python and the compiled programs is one array of bytes each way: every array that is handed over
by itself costs about 3 µs, a step of CartPole not much more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import PyTree, UInt8, UInt32

from retorno.core import constants
from retorno.core.constants import arrays_of, with_constants
from retorno.core.counter import Counter
from retorno.core.environment import HostedEnvironments, HostedWorld
from retorno.core.policy import Algorithm, Carry, RelabelConfig
from retorno.core.runtime import IN_HASTE
from retorno.core.spaces import ActionUnits, Spec, policy_space
from retorno.core.time_step import Only, TimeStep, Trajectory, blank
from retorno.run.collect import CollectState, choose, initial_carries, read, what_is_left
from retorno.run.loop import (
    Advanced,
    Iteration,
    Observer,
    Run,
    Seen,
    all_finite,
    fresh,
    initial_learner,
    keys_of,
    learn,
    nothing_seen,
)


class Layout(NamedTuple):
    """How a pytree of arrays lies in one array of bytes, leaf after leaf, each where it can be read in place."""

    structure: Any
    dtypes: tuple[np.dtype, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, tree: PyTree[Any]) -> Layout:
        """The layout of such a tree, of arrays or of their shapes."""
        leaves, structure = jax.tree.flatten(tree)
        return cls(structure, tuple(np.dtype(x.dtype) for x in leaves), tuple(tuple(x.shape) for x in leaves))

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where each leaf begins and ends."""
        spans, end = [], 0
        for dtype, shape in zip(self.dtypes, self.shapes, strict=True):
            start = -(-end // 8) * 8
            end = start + dtype.itemsize * int(np.prod(shape))
            spans.append((start, end))
        return spans

    @property
    def size(self) -> int:
        """In bytes."""
        return -(-self.spans[-1][1] // 8) * 8

    def views(self, rows: UInt8[np.ndarray, "N size"]) -> list[np.ndarray]:
        """The leaves [N, ...] of N such trees, in place."""
        return [
            rows[:, start:end].view(dtype).reshape(len(rows), *shape)
            for (start, end), dtype, shape in zip(self.spans, self.dtypes, self.shapes, strict=True)
        ]

    def unpack(self, packed: UInt8[Array, "*N size"]) -> PyTree[Array]:
        """The tree, or N of them, inside of a compiled program."""
        leaves = []
        for (start, end), dtype, shape in zip(self.spans, self.dtypes, self.shapes, strict=True):
            part, whole = packed[..., start:end], (*packed.shape[:-1], *shape)
            if dtype.kind == "b":
                leaves.append(part.reshape(whole) != 0)
            elif dtype.itemsize == 1:
                leaves.append(jax.lax.bitcast_convert_type(part.reshape(whole), dtype))
            else:
                leaves.append(jax.lax.bitcast_convert_type(part.reshape(*whole, dtype.itemsize), dtype))
        return jax.tree.unflatten(self.structure, leaves)

    def pack(self, tree: PyTree[Array]) -> UInt8[Array, " size"]:
        """The bytes of one tree, inside of a compiled program."""
        parts, at = [], 0
        for (start, end), leaf in zip(self.spans, jax.tree.leaves(tree), strict=True):
            plain = leaf.astype(jnp.uint8) if leaf.dtype.kind == "b" else jax.lax.bitcast_convert_type(leaf, jnp.uint8)
            parts += [jnp.zeros(start - at, jnp.uint8), plain.reshape(-1)]
            at = end
        return jnp.concatenate([*parts, jnp.zeros(self.size - at, jnp.uint8)])


class Reading(NamedTuple):
    """How rows that leave no choice are passed: they are followed, and a stretch of them is read at once."""

    read: Callable[[UInt8[np.ndarray, "P size"], Carry], tuple[Any, Carry]]
    """`read_packed`, compiled."""
    units: ActionUnits

    def left(self, row: TimeStep) -> Any:
        """What is left to do, as the world takes it; None where an environment has a choice."""
        action = np.asarray(what_is_left(row))
        return self.units.to_world(action) if (action >= 0).all() else None


class Rollout:
    """Where T interactions with B hosted environments are written: T + 1 rows and T choices, each as bytes."""

    def __init__(self, row: TimeStep, choice: PyTree[Any], rollout: int) -> None:
        """`row` and `choice` ([B]: action, the action as the world takes it, extras) are examples or their shapes."""
        self.row_layout = Layout.of((row, np.int32(0)))
        self.choice_layout = Layout.of(choice)
        self.rows = np.zeros((rollout + 1, self.row_layout.size), np.uint8)
        self.choices = np.zeros((rollout, self.choice_layout.size), np.uint8)
        *self._row_views, numbers = self.row_layout.views(self.rows)
        numbers[:] = np.arange(rollout + 1)
        made = jax.tree.unflatten(self.choice_layout.structure, self.choice_layout.views(self.choices))
        self._given, self._given_structure = jax.tree.flatten(made[1])
        self._last = jax.tree.unflatten(jax.tree.structure(row), self._row_views).last

    def collect(
        self,
        act: Callable[[UInt8[np.ndarray, " size"], Carry], tuple[Any, Carry]],
        environments: HostedEnvironments,
        row: TimeStep,
        carry: Carry,
        chosen: tuple[Any, Carry] | None = None,
        reading: Reading | None = None,
    ) -> tuple[TimeStep, Carry]:
        """Live T interactions: on each row `act(row with its number, carry)`, and the environments' step.

        Args:
            act: the compiled choice.
            environments: B of them.
            row: [B], where they stand.
            carry: [B], the policy's memory of them.
            chosen: what `act` gives on the first row, where it is known already.
            reading: how rows that leave no choice are passed, where they are not acted on one by one.

        Returns:
            Where the environments stand, and the memory of them.
        """
        self._write(0, row)
        unread = 0
        for t in range(len(self.choices)):
            given = None if reading is None else reading.left(row)
            if given is not None:
                unread += 1
            else:
                carry, unread = self._read(reading, t - unread, t, carry), 0
                self.choices[t], carry = (chosen if t == 0 else None) or act(self.rows[t], carry)
                given = jax.tree.unflatten(self._given_structure, [view[t] for view in self._given])
            row = environments.step(given)
            self._write(t + 1, row)
        return row, self._read(reading, len(self.choices) - unread, len(self.choices), carry)

    def _read(self, reading: Reading | None, start: int, end: int, carry: Carry) -> Carry:
        """Read rows `start` to `end`, by powers of two, so that few lengths are compiled."""
        while reading is not None and start < end:
            after = start + 2 ** ((end - start).bit_length() - 1)
            self.choices[start:after], carry = reading.read(self.rows[start:after], carry)
            start = after
        return carry

    def _write(self, t: int, row: TimeStep) -> None:
        for view, leaf in zip(self._row_views, jax.tree.leaves(row), strict=True):
            view[t] = leaf

    @property
    def transitions(self) -> int:
        """How many of the interactions were steps."""
        last = self._last[:-1]
        return last.size - int(np.count_nonzero(last))


def choose_packed(
    algorithm: Algorithm,
    run: Run,
    units: ActionUnits,
    layouts: tuple[Layout, Layout],
    row: UInt8[Array, " row_size"],
    carry: Carry,
) -> tuple[UInt8[Array, " choice_size"], Carry]:
    """`choose` on a row of bytes, which ends in its number in the rollout."""
    rows, choices = layouts
    time_step, t = rows.unpack(row)
    choice = choose(algorithm, run.learner, units, time_step, carry, keys_of(run).collect, t)
    return choices.pack((choice.action, choice.given, choice.extras)), choice.carry


def read_packed(
    algorithm: Algorithm,
    run: Run,
    units: ActionUnits,
    layouts: tuple[Layout, Layout],
    rows: UInt8[Array, "P row_size"],
    carry: Carry,
) -> tuple[UInt8[Array, "P choice_size"], Carry]:
    """`read` of rows of bytes."""
    action, extras, carry = read(algorithm, run.learner, layouts[0].unpack(rows)[0], carry)
    return jax.vmap(layouts[1].pack)((action, units.to_world(action), extras)), carry


def lived_in(
    layouts: tuple[Layout, Layout],
    rows: UInt8[Array, "R row_size"],
    choices: UInt8[Array, "R-1 choice_size"],
    carry: Carry,
) -> Trajectory:
    """The trajectory that a rollout's bytes hold."""
    steps, _ = layouts[0].unpack(rows)
    action, _, extras = layouts[1].unpack(choices)
    return Trajectory(steps, action, extras, carry)


class Programs(NamedTuple):
    """What is compiled for an algorithm of such settings, on the leaves of (run without its stage, what was seen).

    Plain lists of arrays go in and out: to flatten modules at every call costs more than to act.
    """

    act: Callable[..., tuple[Array, Carry]]
    read: Callable[..., tuple[Array, Carry]]
    learn: Callable[..., list[Array]]
    learn_and_act: Callable[..., tuple[list[Array], tuple[Array, Carry]]]
    """Learning, and acting on the next rollout's first row: where every step is learnt from, one call a step."""


@lru_cache
def programs(settings: Any, structure: Any, layouts: tuple[Layout, Layout]) -> Programs:
    """The programs for an algorithm without its numbers, a run's structure and what crosses to and fro."""

    def whole(leaves: list[Array], numbers: list[Array]) -> tuple[Algorithm, Run, Seen]:
        return jax.tree.unflatten(settings, numbers), *jax.tree.unflatten(structure, leaves)

    def act(
        leaves: list[Array], numbers: list[Array], units: ActionUnits, row: UInt8[Array, " size"], carry: Carry
    ) -> tuple[Array, Carry]:
        algorithm, run, _ = whole(leaves, numbers)
        return choose_packed(algorithm, run, units, layouts, row, carry)

    def read(
        leaves: list[Array], numbers: list[Array], units: ActionUnits, rows: UInt8[Array, "P size"], carry: Carry
    ) -> tuple[Array, Carry]:
        algorithm, run, _ = whole(leaves, numbers)
        return read_packed(algorithm, run, units, layouts, rows, carry)

    def learn_and_see(
        leaves: list[Array], numbers: list[Array], carry: Carry, rows: Array, choices: Array
    ) -> list[Array]:
        algorithm, before, seen = whole(leaves, numbers)
        trajectory = lived_in(layouts, rows, choices, carry)
        after, metrics = learn(algorithm, before, trajectory)
        return jax.tree.leaves((after, seen.see(Iteration(before, trajectory, metrics, after))))

    def learn_and_act(
        leaves: list[Array],
        numbers: list[Array],
        units: ActionUnits,
        before: Carry,
        after: Carry,
        rows: Array,
        choices: Array,
    ) -> tuple[list[Array], tuple[Array, Carry]]:
        learnt = learn_and_see(leaves, numbers, before, rows, choices)
        time_step, _ = layouts[0].unpack(rows[-1])
        first = layouts[0].pack((time_step, jnp.int32(0)))
        return learnt, act(learnt, numbers, units, first, after)

    kept, donated = (
        [jax.jit(with_constants(fun), donate_argnums=donate) for fun in funs]
        for funs, donate in (((act, read), ()), ((learn_and_see, learn_and_act), 0))
    )
    return Programs(*kept, *donated)


_finite = jax.jit(all_finite, compiler_options=IN_HASTE)


class HostedLoop:
    """A run's loop over hosted environments: `advance` is what the fused one is."""

    def __init__(self, algorithm: Algorithm, environments: HostedEnvironments, units: ActionUnits, run: Run) -> None:
        self.environments = environments
        self.numbers, self.settings = jax.tree.flatten(algorithm)
        self.units, self._host_units = jax.tree.map(jnp.asarray, units), units
        stage = run.stage
        self.reads = hasattr(algorithm, "read") and isinstance(stage.row.legal, Only) and algorithm.rollout > 1
        shapes = jax.eval_shape(
            lambda run, row, carry: choose(
                algorithm, run.learner, units, row, carry, keys_of(run).collect, jnp.int32(0)
            ),
            run,
            stage.row,
            stage.carry,
        )
        choice = (shapes.action, shapes.given, shapes.extras)
        self.rollout = Rollout(stage.row, choice, algorithm.rollout)
        self.layouts = (self.rollout.row_layout, self.rollout.choice_layout)
        rows = jax.ShapeDtypeStruct(self.rollout.rows.shape, jnp.uint8)
        choices = jax.ShapeDtypeStruct(self.rollout.choices.shape, jnp.uint8)
        self.metrics = jax.eval_shape(
            lambda run, rows, choices: learn(algorithm, run, lived_in(self.layouts, rows, choices, run.stage.carry))[1],
            run,
            rows,
            choices,
        )

    def advance(self, run: Run, observer: Observer | None, steps: int, most: int) -> Advanced:
        """Go on for `steps` steps or `most` updates."""
        row, carry = run.stage.row, run.stage.carry
        leaves, structure = jax.tree.flatten((run._replace(stage=None), nothing_seen(self.metrics, observer)))  # type: ignore[arg-type]
        changing = next(i for i, leaf in enumerate(leaves) if leaf is run.updates.low)
        compiled, rollout = programs(self.settings, structure, self.layouts), self.rollout
        lived, updates, chosen, held = 0, 0, None, arrays_of(run)
        while lived < steps and updates < most:
            leaves[changing].block_until_ready()  # What was learnt last has read the rollout: it may be written anew.
            act, read = (
                partial(program, leaves, self.numbers, self.units, constants=held)
                for program in (compiled.act, compiled.read)
            )
            reading = Reading(read, self._host_units) if self.reads else None
            before = carry
            row, carry = rollout.collect(act, self.environments, row, carry, chosen, reading)
            lived += rollout.transitions
            updates += 1
            if len(rollout.choices) == 1:
                leaves, chosen = compiled.learn_and_act(
                    leaves, self.numbers, self.units, before, carry, rollout.rows, rollout.choices, constants=held
                )
            else:
                leaves = compiled.learn(leaves, self.numbers, before, rollout.rows, rollout.choices, constants=held)
        run, seen = jax.tree.unflatten(structure, leaves)
        return Advanced(run._replace(stage=CollectState(None, row, carry)), seen, _finite((run.learner, seen.sums)))


class Spaces:
    """A world's spaces, and who plays, as what programs are kept by: equal where Gymnasium says that they are."""

    def __init__(self, world: HostedWorld) -> None:
        self.observation, self.action = world.observation_space, world.action_space
        self.two_players = world.two_players

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spaces) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self.observation), self.observation.shape, type(self.action), self.action.shape))


def hosted_spec(spaces: Spaces, steps: Counter, row: TimeStep) -> Spec:
    """What an algorithm has to know of hosted environments that stand at these rows [B]."""
    example = blank(jax.tree.map(lambda x: x[0], row))
    return Spec(
        observation_space=spaces.observation,
        action_space=policy_space(spaces.action),
        num_envs=len(row.last),
        steps=steps,
        row=example,
        two_players=spaces.two_players,
    )


@partial(constants.jit, static_argnames=("spaces", "relabel"), compiler_options=IN_HASTE)
def _begin(
    algorithm: Algorithm,
    spaces: Spaces,
    relabel: RelabelConfig | None,
    seed: UInt32[Array, ""],
    steps: Counter,
    row: TimeStep,
) -> Run:
    num_envs = len(row.last)
    learner, built = initial_learner(algorithm, hosted_spec(spaces, steps, row), relabel, seed)
    stage = CollectState(None, row, initial_carries(algorithm, learner, num_envs))
    return fresh(learner, stage, built, seed, num_envs)


def begin_hosted(
    algorithm: Algorithm,
    world: HostedWorld,
    relabel: RelabelConfig | None,
    seed: UInt32[Array, ""],
    steps: Counter,
    row: TimeStep,
) -> Run:
    """A fresh run over hosted environments that stand at their first rows [B]."""
    return _begin(algorithm, Spaces(world), relabel, seed, steps, row)


def hosted_shapes(
    algorithm: Algorithm,
    world: HostedWorld,
    relabel: RelabelConfig | None,
    seed: UInt32[Array, ""],
    steps: Counter,
    row: TimeStep,
) -> Run:
    """The shapes of what `begin_hosted` gives; it refuses the same, before anything is compiled."""
    return _begin.eval_shape(algorithm, Spaces(world), relabel, seed, steps, row)
