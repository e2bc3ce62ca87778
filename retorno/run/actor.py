"""What was learnt, without its training: `retorno.load(folder).act(obs)`.

An `Actor` stands between an environment and a policy: observations as the environment gives them, actions as it takes
them, and the policy's memory in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Key, PyTree

from retorno.core.constants import Given, arrays_of, given
from retorno.core.policy import Policy
from retorno.core.spaces import action_units, in_short
from retorno.core.time_step import Legal, restart
from retorno.environments.hosted.legality import as_legal, legal_in
from retorno.environments.hosted.sync_environments import as_taken, row_dtype
from retorno.run import policy_folder
from retorno.run.episodes import decide
from retorno.run.numpy_program import numpy_program
from retorno.run.policy_folder import SavedPolicy, Step
from retorno.search import SearchPolicy
from retorno.search.trees import evaluator_of

Program = Callable[[list[Any], Any, list[Any], Any], list[Any]]
"""(an observation's arrays, first, the memory's arrays, legal) → the action's arrays and the memory's."""


class Actor:
    """A policy that acts outside: NumPy in and out, one observation at a time or a batch of them.

    One observation is answered in NumPy where the policy has such a form (tables, linear functions, multilayer
    perceptrons, small recurrent networks), by a compiled call otherwise; batches always are.
    """

    def __init__(
        self,
        policy: Policy,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        masked: bool = False,
        *,
        key: int = 0,
        step: int = 0,
        seed: int = 0,
        algorithm: str = "",
        world: dict[str, Any] | None = None,
    ) -> None:
        """Take a policy.

        Args:
            policy: its heads hold "policy", a distribution over actions.
            observation_space: what it sees.
            action_space: what the environment takes.
            masked: whether the world says on each row what is legal.
            key: what `sample=True` draws from.
            step: how many environment steps it was trained for.
            seed: with which.
            algorithm: by which.
            world: what the run's settings say of its world.
        """
        self.policy = policy
        self.observation_space, self.action_space = observation_space, action_space
        self.masked, self.step, self.world = masked, step, world or {}
        self.seed, self.algorithm = seed, algorithm
        self._arrays = tuple(_arrays_of(observation_space))
        self._structure = jax.tree.structure(_skeleton(observation_space))
        self._units, self._taken = action_units(action_space), jax.tree.structure(_skeleton(action_space))
        self._acting = policy.select("policy")
        self._leaves, self._treedef = jax.tree.flatten(self._acting)
        self._empty, self._memory = jax.tree.flatten(self._acting.initial_carry())
        self._programs: dict[tuple[bool, bool, type], Program] = {}
        self._key, self._draws = np.uint32(key), 0
        self.reset()

    def __repr__(self) -> str:
        name = self.world.get("name") or "its world"
        spaces = f"{in_short(self.observation_space)} → {in_short(self.action_space)}"
        return f"<policy for {name}, learnt in {self.step:,} steps: act({spaces})>"

    @property
    def saved(self) -> SavedPolicy:
        """What `actor_of` makes it from, and an export writes."""
        return SavedPolicy(
            (self.policy,),
            (self.seed,),
            self.observation_space,
            self.action_space,
            self.masked,
            self.step,
            self.algorithm,
            self.world,
        )

    def reset(self) -> None:
        """Forget: the next observation is an episode's first, in every environment."""
        self._shape: tuple[int, ...] | None = None
        self._carry: list[Any] = []

    def act(
        self,
        obs: Any,
        info: dict[str, Any] | None = None,
        *,
        legal: Any = None,
        first: Any = None,
        sample: bool = False,
    ) -> Any:
        """The action on an observation, or the actions on a batch of them.

        Args:
            obs: an element of the observation space, or B of them stacked (each array has an axis [B] in front).
            info: what the environment gave beside it: its "action_mask" or "only_action" says what is legal.
            legal: what is legal, a mask [A] ([B, A] for a batch), one for each component of a MultiDiscrete action,
                or `Only` one action, instead of `info`.
            first: whether it is an episode's first observation ([B] for a batch): there the memory is empty.
                By default the first one after `reset()` is.
            sample: draw from the policy instead of taking its best action.

        Returns:
            An element of the action space, or B of them stacked.

        Raises:
            ValueError: for an observation that is not of the space or holds NaN, for another number of them than
                before without a `reset()` where the policy has a memory, and where the world says what is legal and
                nothing was said.
        """
        leaves = self.arrays_of(obs)
        if self._empty:  # A memory may hold what was seen, which the environment may write over.
            leaves = [np.array(leaf) for leaf in leaves]
        shape = leaves[0].shape[: leaves[0].ndim - len(self._arrays[0].shape)]
        told = legal_in(info) if legal is None and info is not None else legal
        if told is None and self.masked:
            raise ValueError("where this policy was trained not every action is legal: pass info, or legal=a mask")
        if self._shape is None or not self._empty:  # Who remembers nothing can be asked of any number at any time.
            self._shape, first = shape, True
            self._carry = [np.broadcast_to(x, (*shape, *np.shape(x))) for x in self._empty]
        elif shape != self._shape:
            raise ValueError(f"{shape or 'one'} observations after {self._shape or 'one'}: call reset() in between")
        begins = np.broadcast_to(False if first is None else first, shape) if shape else bool(first)
        legal = as_legal(told, self.action_space)
        program = self._program(bool(shape), sample, leaves, begins, legal)
        decided = program(leaves, begins, self._carry, legal)
        self._carry = decided[self._taken.num_leaves :]
        action = jax.tree.unflatten(self._taken, decided[: self._taken.num_leaves])
        return jax.tree.map(lambda x: x[()], as_taken(self.action_space, action))

    def arrays_of(self, obs: Any) -> list[np.ndarray]:
        """An observation's arrays, in the order of `program().inputs`.

        Raises:
            ValueError: for one that is not of the space, or holds NaN.
        """
        return [array.of(obs) for array in self._arrays]

    def program(self) -> ActorProgram:
        """What it computes on one row: for whoever writes that down in another form."""
        obs, names = self._example()
        every = as_legal(_everything(self.action_space), self.action_space) if self.masked else None
        masks = jax.tree.leaves(every)
        memory = [f"memory.{i}" for i in range(len(self._empty))]
        legal_names = ["legal"] if len(masks) == 1 else [f"legal.{i}" for i in range(len(masks))]
        choose = partial(self._choose, key=None, sample=False)
        carried: list[Any] = [np.bool_(True), self._empty] if memory else []

        def function(policy: Policy, obs: list[Array], legal: Legal, *carried: Any) -> list[Array]:
            first, carry = carried if carried else (jnp.array(True), [])
            return choose(policy, obs, jnp.asarray(first), carry, legal)

        return ActorProgram(
            function=function,
            module=self._acting,
            arguments=(obs, every, *carried),
            inputs=(*names, *legal_names, *(["first"] if memory else []), *memory),
            outputs=(*_names("action", self.action_space), *(f"next_{name}" for name in memory)),
        )

    def network_program(self) -> ActorProgram:
        """What the network of a policy that looks ahead thinks of one row before it does.

        These are logits of the actions (those that are not legal have some too) and the value for whoever moves.
        """
        assert isinstance(self.policy, SearchPolicy)

        def function(network: Policy, obs: list[Array]) -> list[Array]:
            return [*evaluator_of(network)(jax.tree.unflatten(self._structure, obs))]

        obs, names = self._example()
        return ActorProgram(function, self.policy.network, (obs,), inputs=names, outputs=("logits", "value"))

    def _example(self) -> tuple[list[np.ndarray], tuple[str, ...]]:
        """An observation's arrays, and their names."""
        obs = [np.zeros(array.shape, array.dtype) for array in self._arrays]
        return obs, tuple(_names("obs", self.observation_space))

    def _program(self, batched: bool, sample: bool, *example: Any) -> Program:
        """What decides, made when it is first needed."""
        kind = (batched, sample, type(example[-1]))
        if kind not in self._programs:
            in_numpy = None if batched or sample else self._in_numpy(*example)
            self._programs[kind] = in_numpy or self._compiled(batched, sample)
        return self._programs[kind]

    def _in_numpy(self, obs: list[np.ndarray], first: Any, legal: Any) -> Program | None:
        choose = partial(self._choose, key=None, sample=False)
        program = numpy_program(choose, self._acting, obs, np.bool_(first), self._empty, legal)
        if program is None:
            return None
        if legal is None:
            return lambda obs, first, carry, legal: program(*obs, first, *map(np.asarray, carry))
        return lambda obs, first, carry, legal: program(*obs, first, *map(np.asarray, carry), *jax.tree.leaves(legal))

    def _compiled(self, batched: bool, sample: bool) -> Program:
        held = arrays_of(self._acting)

        @jax.jit
        def program(
            leaves: list[Array], held: Given, obs: Any, first: Any, carry: Any, legal: Any, draws: Any
        ) -> list[Array]:
            choose = partial(self._choose, jax.tree.unflatten(self._treedef, leaves), sample=sample)
            key = jax.random.fold_in(jax.random.key(self._key), draws)
            with given(held):
                if not batched:
                    return choose(obs, first, carry, legal, key)
                return jax.vmap(choose)(obs, first, carry, legal, jax.random.split(key, len(first)))

        def decided(obs: list[Any], first: Any, carry: list[Any], legal: Any) -> list[Any]:
            self._draws += 1
            return program(self._leaves, held, obs, first, carry, legal, np.uint32(self._draws))

        return decided

    def _choose(
        self,
        policy: Policy,
        obs: list[Array],
        first: Array,
        carry: list[Array],
        legal: Legal,
        key: Key[Array, ""] | None,
        sample: bool,
    ) -> list[Array]:
        row = restart(jax.tree.unflatten(self._structure, obs), legal)._replace(first=first)
        memory = jax.tree.unflatten(self._memory, carry)
        return jax.tree.leaves(decide(policy, row, memory, self._units, key, not sample))


class ActorProgram(NamedTuple):
    """`function(module, *arguments)`: what an actor computes on one row."""

    function: Callable[..., list[Array]]
    module: Policy
    arguments: tuple[Any, ...]
    """Examples: of an observation's arrays, of what is legal, and of a memory `first` and its arrays."""
    inputs: tuple[str, ...]
    """A name for each array in the arguments."""
    outputs: tuple[str, ...]

    def constants(self) -> AbstractContextManager[None]:
        """Within this the program may be traced."""
        return given(arrays_of(self.module))


def _everything(space: gymnasium.Space[Any]) -> Any:
    """A mask that leaves all actions of a space."""
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(np.ones(int(n), bool) for n in space.nvec)
    assert isinstance(space, spaces.Discrete), "only discrete actions are masked"
    return np.ones(int(space.n), bool)


@dataclass(frozen=True)
class _Array:
    """One array of an observation: where it lies in it, and what it looks like."""

    path: tuple[Any, ...]
    shape: tuple[int, ...]
    dtype: Any
    low: int | None
    """Where a Discrete one counts from."""
    high: int

    @property
    def place(self) -> str:
        """How it is written behind the name of an observation."""
        return "".join(f"[{part!r}]" for part in self.path)

    def of(self, obs: Any) -> np.ndarray:
        """It, of one observation or of B of them."""
        for part in self.path:
            try:
                obs = obs[part]
            except (KeyError, IndexError, TypeError):
                raise ValueError(f"an observation without {self.place}, got {obs!r:.80}") from None
        try:
            told = np.asarray(obs)
            array = told.astype(self.dtype, copy=False)
        except (TypeError, ValueError):
            raise ValueError(f"an observation{self.place} that is no number: {obs!r:.80}") from None
        if array.shape != self.shape and array.shape[1:] != self.shape:
            raise ValueError(f"an observation{self.place} of shape {array.shape}, expected {self.shape}, or B of them")
        if array.dtype.kind == "f":
            if math.isnan(np.vdot(array, array)):  # A third of the time of looking at each.
                raise ValueError(f"an observation{self.place} that holds NaN: {obs!r:.80}")
        elif array is not told and (array != told).any():
            raise ValueError(f"observation{self.place} {obs!r:.80}, expected whole numbers of {array.dtype}")
        if self.low is not None and not (self.low <= array.min() and array.max() < self.high):
            raise ValueError(f"observation {array}, expected {self.low} to {self.high - 1}")
        return array


def _arrays_of(space: gymnasium.Space[Any], path: tuple[Any, ...] = ()) -> Iterator[_Array]:
    """The arrays of a space's elements, in a pytree's order (JAX sorts a dictionary's keys)."""
    match space:
        case spaces.Dict():
            for name in sorted(space.spaces):
                yield from _arrays_of(space.spaces[name], (*path, name))
        case spaces.Tuple():
            for place, part in enumerate(space.spaces):
                yield from _arrays_of(part, (*path, place))
        case spaces.Discrete():
            start = int(space.start)
            yield _Array(path, (), row_dtype(space), start, start + int(space.n))
        case _:
            yield _Array(path, tuple(space.shape or ()), row_dtype(space), None, 0)


def _names(of: str, space: gymnasium.Space[Any]) -> list[str]:
    """What the arrays of a space's elements are called."""
    return [".".join([of, *map(str, array.path)]) for array in _arrays_of(space)]


def _skeleton(space: gymnasium.Space[Any]) -> PyTree[int]:
    """A pytree of the structure that the space's elements have."""
    match space:
        case spaces.Dict():
            return {name: _skeleton(part) for name, part in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_skeleton(part) for part in space.spaces)
    return 0


def load(folder: str | Path, step: Step = None, seed: int | None = None) -> Actor:
    """What a run has learnt, without its training: no environment is opened and no episode lived.

    Args:
        folder: of a run, of a run with several seeds, or of a policy alone (`policy/`, wherever it was copied).
        step: of which step's policy; "best" for the one with the best score while it was learnt, None for the
            newest.
        seed: of which seed's; None for the first.

    Raises:
        PolicyError: when there is no policy, or it cannot be read.

    Example:
        policy = retorno.load("runs/lander")
        obs, info = env.reset()
        action = policy.act(obs)
    """
    return load_all(folder, step, seed)[0]


def load_all(folder: str | Path, step: Step = None, seed: int | None = None) -> list[Actor]:
    """`load` for each seed of a run.

    Raises:
        PolicyError: also when no seed is the one that is asked for.

    Args:
        folder: as for `load`.
        step: of which step's policy; "best" for the one with the best score while it was learnt, None for the
            newest.
        seed: of which seed's; None for all.
    """
    return [actor_of(saved) for saved in policy_folder.read_each(Path(folder).expanduser(), step, seed)]


def actor_of(saved: SavedPolicy) -> Actor:
    """The first of the policies that were read, ready to act.

    Args:
        saved: what was read.
    """
    return Actor(
        saved.policies[0],
        saved.observation_space,
        saved.action_space,
        saved.masked,
        step=saved.step,
        seed=saved.seeds[0],
        algorithm=saved.algorithm,
        world=saved.world,
    )
