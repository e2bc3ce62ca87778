"""The loop over environments that live in Python: one compiled `act` for each step, one compiled `learn` a rollout.

What crosses between Python and the compiled programs is one array of words each way: every array that is handed over
by itself costs about 3 µs, a step of CartPole not much more. Where every step is learnt from, all that is small goes
to and fro in one array, and the program is one loop of a single round, which XLA compiles whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import PyTree, UInt32

from retorno.core import constants
from retorno.core.constants import Given, arrays_of, with_constants
from retorno.core.counter import Counter
from retorno.core.environment import HostedEnvironments, HostedWorld
from retorno.core.policy import Algorithm, Carry, RelabelConfig
from retorno.core.runtime import IN_HASTE
from retorno.core.spaces import Spec, Units, policy_space
from retorno.core.time_step import Only, TimeStep, Trajectory, blank
from retorno.run.collect import CollectState, choose, initial_carries, read, what_is_left
from retorno.run.loop import (
    Advanced,
    Iteration,
    Observer,
    Run,
    all_finite,
    fresh,
    initial_learner,
    keys_of,
    learn,
    nothing_seen,
)

SMALL = 256
"""Of so many numbers at most are the arrays that go to and fro together with others."""
WORDS = ("float32", "int32", "uint32", "bool")


class Layout(NamedTuple):
    """How a pytree of arrays lies in one array of words of 32 bits, leaf after leaf, each where it is read in place."""

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
        """At which words each leaf begins and ends."""
        spans, end = [], 0
        for dtype, shape in zip(self.dtypes, self.shapes, strict=True):
            start, end = end, end - (-dtype.itemsize * math.prod(shape) // 4)
            spans.append((start, end))
        return spans

    @property
    def size(self) -> int:
        """In words."""
        return self.spans[-1][1] if self.dtypes else 0

    def views(self, rows: UInt32[np.ndarray, "N size"]) -> list[np.ndarray]:
        """The leaves [N, ...] of N such trees, in place."""
        return [
            rows[:, start:end].view(dtype)[:, : math.prod(shape)].reshape(len(rows), *shape)
            for (start, end), dtype, shape in zip(self.spans, self.dtypes, self.shapes, strict=True)
        ]

    def unpack(self, packed: UInt32[Array, "*N size"]) -> PyTree[Array]:
        """The tree, or N of them, inside of a compiled program."""
        leaves, axes = [], packed.shape[:-1]
        for (start, end), dtype, shape in zip(self.spans, self.dtypes, self.shapes, strict=True):
            plain = jnp.dtype("uint8") if dtype.kind == "b" else dtype
            part = jax.lax.bitcast_convert_type(packed[..., start:end], plain)
            part = part.reshape(*axes, -1)[..., : math.prod(shape)].reshape(*axes, *shape)
            leaves.append(part != 0 if dtype.kind == "b" else part)
        return jax.tree.unflatten(self.structure, leaves)

    def pack(self, tree: PyTree[Array]) -> UInt32[Array, " size"]:
        """The words of one tree, inside of a compiled program."""
        parts = []
        for leaf in jax.tree.leaves(tree):
            plain = leaf.astype(jnp.uint8) if leaf.dtype.kind == "b" else leaf
            several = 4 // plain.dtype.itemsize
            if several > 1:
                filled = jnp.pad(plain.reshape(-1), (0, -plain.size % several))
                plain = filled.reshape(-1, several)
            parts.append(jax.lax.bitcast_convert_type(plain, jnp.uint32).reshape(-1))
        # Apart from what computes them: together with that, XLA would compute a sum anew for each word.
        return jnp.concatenate(jax.lax.optimization_barrier(parts) or [jnp.zeros(0, jnp.uint32)])


class Reading(NamedTuple):
    """How rows that leave no choice are passed: they are followed, and a stretch of them is read at once."""

    read: Callable[[UInt32[np.ndarray, "P size"], Carry], tuple[Any, Carry]]
    """`read_packed`, compiled."""
    units: Units

    def left(self, row: TimeStep) -> Any:
        """What is left to do, as the world takes it; None where an environment has a choice."""
        action = np.asarray(what_is_left(row))
        return self.units.to_world(action) if (action >= 0).all() else None


class Rollout:
    """Where T interactions with B hosted environments are written: T + 1 rows and T choices, each as words."""

    def __init__(self, layouts: tuple[Layout, Layout], rollout: int, state: int = 0) -> None:
        """`layouts` of a row with its number, and of a choice ([B]: action, the action as the world takes it, extras).

        All lies in one `line` of words, behind `state` words for what is learnt, and before a one.
        """
        rows, choices = layouts
        after = state + (rollout + 1) * rows.size
        self.line = np.zeros(after + rollout * choices.size + 1, np.uint32)
        self.line[-1] = 1
        self.state = self.line[:state]
        self.rows = self.line[state:after].reshape(rollout + 1, rows.size)
        self.choices = self.line[after:-1].reshape(rollout, choices.size)
        *self._row_views, numbers = rows.views(self.rows)
        numbers[:] = np.arange(rollout + 1)
        self._last = jax.tree.unflatten(rows.structure, [*self._row_views, numbers])[0].last
        _, given, _ = jax.tree.unflatten(choices.structure, choices.views(self.choices))
        self.given = [jax.tree.map(lambda view, t=t: view[t], given) for t in range(rollout)]
        """The actions as the world takes them."""

    def collect(
        self,
        act: Callable[[UInt32[np.ndarray, " size"], Carry], tuple[Any, Carry]],
        step: Callable[[np.ndarray], TimeStep],
        row: TimeStep,
        carry: Carry,
        reading: Reading | None = None,
    ) -> tuple[TimeStep, Carry]:
        """Live T interactions: on each row `act(row with its number, carry)`, and the environments' step.

        Args:
            act: the compiled choice.
            step: of B environments.
            row: [B], where they stand.
            carry: [B], the policy's memory of them.
            reading: how rows that leave no choice are passed, where they are not acted on one by one.

        Returns:
            Where the environments stand, and the memory of them.
        """
        self.write(0, row)
        unread = 0
        for t in range(len(self.choices)):
            given = None if reading is None else reading.left(row)
            if given is not None:
                unread += 1
            else:
                carry, unread = self._read(reading, t - unread, t, carry), 0
                self.choices[t], carry = act(self.rows[t], carry)
                given = self.given[t]
            row = step(given)
            self.write(t + 1, row)
        return row, self._read(reading, len(self.choices) - unread, len(self.choices), carry)

    def _read(self, reading: Reading | None, start: int, end: int, carry: Carry) -> Carry:
        """Read rows `start` to `end`, by powers of two, so that few lengths are compiled."""
        while reading is not None and start < end:
            after = start + 2 ** ((end - start).bit_length() - 1)
            self.choices[start:after], carry = reading.read(self.rows[start:after], carry)
            start = after
        return carry

    def write(self, t: int, row: TimeStep) -> None:
        """Set a row."""
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
    units: Units,
    layouts: tuple[Layout, Layout],
    row: UInt32[Array, " row_size"],
    carry: Carry,
) -> tuple[UInt32[Array, " choice_size"], Carry]:
    """`choose` on a row of words, which ends in its number in the rollout."""
    rows, choices = layouts
    time_step, t = rows.unpack(row)
    choice = choose(algorithm, run.learner, units, time_step, carry, keys_of(run).collect, t)
    return choices.pack((choice.action, choice.given, choice.extras)), choice.carry


def read_packed(
    algorithm: Algorithm,
    run: Run,
    units: Units,
    layouts: tuple[Layout, Layout],
    rows: UInt32[Array, "P row_size"],
    carry: Carry,
) -> tuple[UInt32[Array, "P choice_size"], Carry]:
    """`read` of rows of words."""
    action, extras, carry = read(algorithm, run.learner, layouts[0].unpack(rows)[0], carry)
    return jax.vmap(layouts[1].pack)((action, units.to_world(action), extras)), carry


def lived_in(
    layouts: tuple[Layout, Layout],
    rows: UInt32[Array, "R row_size"],
    choices: UInt32[Array, "R-1 choice_size"],
    carry: Carry,
) -> Trajectory:
    """The trajectory that a rollout's words hold."""
    steps, _ = layouts[0].unpack(rows)
    action, _, extras = layouts[1].unpack(choices)
    return Trajectory(steps, action, extras, carry)


class Kept(NamedTuple):
    """How all that acting and learning need is held: what is small in one array of words, what is large by itself."""

    structure: Any
    small: tuple[bool, ...]
    """Which of the leaves go together."""
    layout: Layout
    """Of those."""

    @classmethod
    def of(cls, tree: PyTree[Any]) -> Kept:
        """How such a tree is held."""
        leaves, structure = jax.tree.flatten(tree)
        small = tuple(map(_is_small, leaves))
        return cls(structure, small, Layout.of([x for x, goes in zip(leaves, small, strict=True) if goes]))

    def split(self, tree: PyTree[Any]) -> tuple[list[Any], list[Any]]:
        """The leaves that are small, and the others."""
        leaves = list(zip(jax.tree.leaves(tree), self.small, strict=True))
        return [x for x, goes in leaves if goes], [x for x, goes in leaves if not goes]

    def pack(self, tree: PyTree[Array]) -> Packed:
        """Such a tree, inside of a compiled program."""
        small, large = self.split(tree)
        return Packed(self.layout.pack(small), large)

    def unpack(self, packed: Packed) -> PyTree[Array]:
        """The tree again, inside of a compiled program."""
        return self.join(self.layout.unpack(packed.words), packed.large)

    def join(self, small: list[Any], large: list[Any]) -> PyTree[Any]:
        """The tree of the leaves that are small, and the others."""
        each, other = iter(small), iter(large)
        return jax.tree.unflatten(self.structure, [next(each if goes else other) for goes in self.small])


def _is_small(x: Any) -> bool:
    return x.size <= SMALL and x.dtype in WORDS


class Packed(NamedTuple):
    """All that acting and learning need, but for where environments stand: few arrays, for each costs."""

    words: UInt32[Array, " W"]
    large: list[Array]


class Programs(NamedTuple):
    """What is compiled for an algorithm of such settings, on (algorithm, units, run without its stage, what was seen).

    It goes in and out packed: to flatten modules at every call costs more than to act.
    """

    pack: Callable[[list[Array]], Array]
    unpack: Callable[[Array], list[Array]]
    """The small leaves alone: what a program only hands on it copies, gigabytes of a replay too."""
    act: Callable[..., tuple[Array, Carry]]
    read: Callable[..., tuple[Array, Carry]]
    learn: Callable[..., Packed]
    learn_and_act: Callable[..., tuple[Array, list[Array], Carry]]
    """Learning from one step, and acting on the row after it: where every step is learnt from, one call a step."""


@lru_cache
def programs(kept: Kept, layouts: tuple[Layout, Layout]) -> Programs:
    """The programs for a run that is held so, and what crosses to and fro."""
    rows = layouts[0]

    def act(packed: Packed, row: UInt32[Array, " size"], carry: Carry) -> tuple[Array, Carry]:
        algorithm, units, run, _ = kept.unpack(packed)
        return choose_packed(algorithm, run, units, layouts, row, carry)

    def read(packed: Packed, rows: UInt32[Array, "P size"], carry: Carry) -> tuple[Array, Carry]:
        algorithm, units, run, _ = kept.unpack(packed)
        return read_packed(algorithm, run, units, layouts, rows, carry)

    def learn_and_see(packed: Packed, carry: Carry, rows: Array, choices: Array) -> Packed:
        algorithm, units, before, seen = kept.unpack(packed)
        trajectory = lived_in(layouts, rows, choices, carry)
        after, metrics = learn(algorithm, before, trajectory)
        return kept.pack((algorithm, units, after, seen.see(Iteration(before, trajectory, metrics, after))))

    def learn_and_act(
        line: UInt32[Array, " L"], large: list[Array], before: Carry, after: Carry
    ) -> tuple[UInt32[Array, " L"], list[Array], Carry]:
        words, row, next_row, choice = jnp.split(line, np.cumsum([kept.layout.size, rows.size, rows.size]))
        learnt = learn_and_see(Packed(words, large), before, jnp.stack([row, next_row]), choice[None])
        time_step, _ = rows.unpack(next_row)
        choice, carry = act(learnt, rows.pack((time_step, jnp.int32(0))), after)
        return jnp.concatenate([learnt.words, next_row, next_row, choice]), learnt.large, carry

    def in_one(
        line: UInt32[Array, " L"], large: list[Array], before: Carry, after: Carry
    ) -> tuple[UInt32[Array, " L"], list[Array], Carry]:
        """The same as a loop that goes round once: XLA compiles one that is small as a whole.

        All that it reads goes round with it, or a part of it would be done before the loop, by itself.
        """

        def once(state: tuple[Array, list[Array], Carry, Carry]) -> tuple[Array, list[Array], Carry, Carry]:
            line, large, before, after = state
            learnt, large, carry = learn_and_act(line[:-1], large, before, after)
            return jnp.append(learnt, line[-1] - 1), large, after, carry

        line, large, _, carry = jax.lax.while_loop(lambda state: state[0][-1] > 0, once, (line, large, before, after))
        return line, large, carry

    kept_programs = [jax.jit(with_constants(fun)) for fun in (act, read)]
    donated = [jax.jit(with_constants(fun), donate_argnums=at) for fun, at in ((learn_and_see, 0), (in_one, 1))]
    once = [jax.jit(fun, compiler_options=IN_HASTE) for fun in (kept.layout.pack, kept.layout.unpack)]
    return Programs(*once, *kept_programs, *donated)


_finite = jax.jit(all_finite, compiler_options=IN_HASTE)


class HostedLoop:
    """A run's loop over hosted environments: `advance` is what the fused one is."""

    def __init__(self, algorithm: Algorithm, environments: HostedEnvironments, units: Units, run: Run) -> None:
        self.environments, self.algorithm = environments, algorithm
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
        self.layouts = (Layout.of((stage.row, np.int32(0))), Layout.of(choice))
        self.rollout = Rollout(self.layouts, algorithm.rollout)
        self.kept: Kept | None = None
        self.packed: Packed | None = None
        """What was learnt last by the present `advance`, and how it is held."""
        self.learnt_to = stage.row, stage.carry
        """The newest rows that were learnt from, and the memory of them."""
        self.begins_anew = False
        """Whether the next rows are the first ones of fresh episodes."""
        rows = jax.ShapeDtypeStruct(self.rollout.rows.shape, jnp.uint32)
        choices = jax.ShapeDtypeStruct(self.rollout.choices.shape, jnp.uint32)
        self.lived: Trajectory = jax.eval_shape(partial(lived_in, self.layouts), rows, choices, stage.carry)
        """The shapes of what is lived between two updates."""
        self.metrics = jax.eval_shape(lambda run, lived: learn(algorithm, run, lived)[1], run, self.lived)

    @property
    def interactions(self) -> int:
        """Between two updates; not all of them are steps."""
        return self.algorithm.rollout * self.environments.num_envs

    def advance(self, run: Run, observer: Observer | None, steps: int, most: int) -> Advanced:
        """Go on for `steps` steps or `most` updates. The run's arrays are given away; `left` has what became of them.

        Args:
            run: where it stands.
            observer: what sees each update.
            steps: at most, but for those of the last rollout.
            most: updates.
        """
        self.packed = None
        row, carry = self.learnt_to = run.stage.row, run.stage.carry
        ours = jax.tree.map(lambda x: x if _is_small(x) else jnp.copy(x), (self.algorithm, self.units, observer))
        whole = (*ours[:2], run._replace(stage=None), nothing_seen(self.metrics, ours[2]))  # type: ignore[arg-type]
        kept = Kept.of(whole)
        compiled = programs(kept, self.layouts)
        live = self._every_step if self.algorithm.rollout == 1 else self._every_rollout
        small, large = kept.split(whole)
        self.kept, self.packed = kept, Packed(compiled.pack(small), large)
        packed, row, carry = live(compiled, self.packed, arrays_of(run), row, carry, steps, most)
        _, _, run, seen = kept.join(compiled.unpack(packed.words), packed.large)
        return Advanced(run._replace(stage=CollectState(None, row, carry)), seen, _finite((run.learner, seen.sums)))

    def left(self, run: Run) -> Run:
        """What was learnt by an `advance` of this run that was broken off, which goes on with fresh episodes.

        Args:
            run: as it was handed over.
        """
        if self.kept is None or self.packed is None:
            return run
        small = programs(self.kept, self.layouts).unpack(self.packed.words)
        learnt = self.kept.join(small, self.packed.large)[2]
        return self.begin_anew(learnt._replace(stage=CollectState(None, *self.learnt_to)))

    def begin_anew(self, run: Run) -> Run:
        """Go on with fresh episodes, where the environments do not stand at the rows that were learnt from last.

        What was open is cut there, as by a time limit: no transition leads from it into an episode that it is not of.
        """
        self.begins_anew = True
        cut = run.stage.row._replace(last=np.ones_like(run.stage.row.last))
        return run._replace(stage=run.stage._replace(row=cut))

    def _step(self, action: np.ndarray) -> TimeStep:
        """The environments' next rows."""
        row = self.environments.reset() if self.begins_anew else self.environments.step(action)
        self.begins_anew = False
        return row

    def _every_rollout(
        self, compiled: Programs, packed: Packed, held: Given, row: TimeStep, carry: Carry, steps: int, most: int
    ) -> tuple[Packed, TimeStep, Carry]:
        """Learn from rollouts, one after another."""
        rollout, lived, updates = self.rollout, 0, 0
        while lived < steps and updates < most:
            packed.words.block_until_ready()  # What was learnt last has read the rollout: it may be written anew.
            act, read = (partial(program, packed, constants=held) for program in (compiled.act, compiled.read))
            reading = Reading(read, self._host_units) if self.reads else None
            before = carry
            row, carry = rollout.collect(act, self._step, row, carry, reading)
            lived += rollout.transitions
            updates += 1
            self.packed = packed = compiled.learn(packed, before, rollout.rows, rollout.choices, constants=held)
            self.learnt_to = row, carry
        return packed, row, carry

    def _every_step(
        self, compiled: Programs, packed: Packed, held: Given, row: TimeStep, carry: Carry, steps: int, most: int
    ) -> tuple[Packed, TimeStep, Carry]:
        """Learn from each step before the next one is chosen."""
        rollout = Rollout(self.layouts, 1, len(packed.words))
        rollout.state[:] = packed.words
        rollout.write(0, row)
        rollout.choices[0], after = compiled.act(packed, rollout.rows[0], carry, constants=held)
        large, lived, updates = packed.large, 0, 0
        try:
            while lived < steps and updates < most:
                lived += rollout.transitions
                updates += 1
                row = self._step(rollout.given[0])
                rollout.write(1, row)
                before, carry = carry, after
                learnt, large, after = compiled.learn_and_act(rollout.line, large, before, carry, constants=held)
                rollout.line[:-1] = np.asarray(learnt)[:-1]
                self.learnt_to = row, carry
        finally:
            self.packed = packed = Packed(jnp.array(rollout.state), large)
        return packed, row, carry


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
def begin_hosted(
    algorithm: Algorithm,
    spaces: Spaces,
    relabel: RelabelConfig | None,
    seed: UInt32[Array, ""],
    steps: Counter,
    row: TimeStep,
) -> Run:
    """A fresh run over hosted environments that stand at their first rows [B]."""
    num_envs = len(row.last)
    learner, built = initial_learner(algorithm, hosted_spec(spaces, steps, row), relabel, seed)
    stage = CollectState(None, row, initial_carries(algorithm, learner, num_envs))
    return fresh(learner, stage, built, seed, num_envs)
