"""What environments that live in Python say of legal actions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import jax
import numpy as np
from gymnasium import spaces
from jaxtyping import Bool

from retorno.core.time_step import Only

LATE = (
    "{} came first with a step: the shape of a row does not change during a run. Give it from reset on (all ones where "
    "everything is legal), or with the first step of each episode already"
)


def told_by_a_step(env: gym.Env) -> str:
    """What an environment says of legal actions with a step and not with a reset: looked at by a reset and one step.

    Args:
        env: an environment, which has to be reset afterwards.

    Returns:
        "action_mask", "only_action", or "" where it says nothing, says it from reset on, or cannot be asked.
    """
    if not isinstance(env.action_space, spaces.Discrete | spaces.MultiDiscrete):
        return ""
    sampler = copy.deepcopy(env.action_space)
    sampler.seed(0)
    try:
        begun = env.reset(seed=0)[1]
        if "action_mask" in begun or "only_action" in begun:
            return ""
        *_, info = env.step(sampler.sample())
        return next((name for name in ("only_action", "action_mask") if name in info), "")
    except Exception:  # Whatever is wrong with it is told when it is used.
        return ""


class LegalReader:
    """Reads the legal actions of B environments, where the first reset said that there are any to read.

    They are read from `info["only_action"]` (one number, −1 where all are free), from
    `info["action_mask"]`, or from a method `action_masks()` as sb3-contrib asks it. A mask over
    MultiDiscrete is one for each component, or all of them one behind the other. Where they come
    with steps alone (`late`), everything is legal on an episode's first row.
    """

    def __init__(self, space: spaces.Space[Any], envs: Sequence[gym.Env] = (), late: str = "") -> None:
        self._space, self._say, self._late = space, "", late
        self._methods: list[Callable[[], Any]] = [
            env.get_wrapper_attr("action_masks") for env in envs if env.has_wrapper_attr("action_masks")
        ]
        match space:
            case spaces.Discrete():
                self._sizes = [int(space.n)]
            case spaces.MultiDiscrete():
                self._sizes = [int(n) for n in space.nvec.reshape(-1)]
            case _:
                self._sizes = []

    def start(self, info: Mapping[str, Any]) -> None:
        """Look into a first reset's info for where legal actions are told.

        Raises:
            ValueError: where there is a mask over actions that are neither Discrete nor MultiDiscrete.
        """
        told = [name for name in ("only_action", "action_mask") if name in info]
        self._say = told[0] if told else "action_masks()" if self._methods else self._late
        takes = spaces.Discrete if self._say == "only_action" else spaces.Discrete | spaces.MultiDiscrete
        if self._say and not isinstance(self._space, takes):
            raise ValueError(f"gives {self._say} for actions of {self._space}: only Discrete and MultiDiscrete can")

    def read(
        self,
        infos: Sequence[Mapping[str, Any]],
        lasts: Sequence[bool] | Bool[np.ndarray, " B"],
        firsts: Sequence[bool] | Bool[np.ndarray, " B"],
    ) -> Any:
        """The legal actions [B] of the present rows. A row that is `last`, where the action is ignored, need not say.

        Raises:
            InfoError: where an environment says nothing of them, or something that cannot be.
        """
        if not self._say:
            for i in [i for i, info in enumerate(infos) if "action_mask" in info or "only_action" in info]:
                raise InfoError(i, LATE.format("only_action" if "only_action" in infos[i] else "action_mask"))
            return None
        if self._late:
            lasts = np.logical_or(lasts, firsts)
        if self._say == "only_action":
            actions: Any = np.array([self._only(i, infos[i], lasts[i]) for i in range(len(infos))], np.int32)
            return Only(actions)
        if isinstance(self._space, spaces.Discrete) and (masks := self._plain(infos)) is not None:
            return masks
        ends = np.cumsum(self._sizes)[:-1]
        masks = np.stack([self._mask(i, infos[i], lasts[i], ends) for i in range(len(infos))])
        return tuple(np.split(masks, ends, axis=1)) if isinstance(self._space, spaces.MultiDiscrete) else masks

    def _told(self, i: int, info: Mapping[str, Any]) -> Any:
        return self._methods[i]() if self._say == "action_masks()" else info.get("action_mask")

    def _plain(self, infos: Sequence[Mapping[str, Any]]) -> Bool[np.ndarray, "B A"] | None:
        """The masks of all environments at once; None where one of them has to be looked at by itself."""
        told = [self._told(i, info) for i, info in enumerate(infos)]
        if not all(isinstance(mask, np.ndarray) and mask.shape == (self._sizes[0],) for mask in told):
            return None
        masks: Any = np.array(told, bool)
        return masks if masks.any(1).all() else None

    def _only(self, i: int, info: Mapping[str, Any], last: bool | np.bool) -> int:
        action: Any = np.array(info.get("only_action", np.nan))[()]
        if isinstance(action, int | np.integer) and -1 <= action < self._sizes[0]:
            return int(action)
        if last:
            return -1
        raise InfoError(i, f"only_action is {action}, expected one of -1 to {self._sizes[0] - 1}")

    def _mask(self, i: int, info: Mapping[str, Any], last: bool | np.bool, ends: np.ndarray) -> np.ndarray:
        told = self._told(i, info)
        parts = [np.ravel(part) for part in told] if isinstance(told, tuple | list) else [np.ravel(np.array(told))]
        mask = np.concatenate(parts) if parts else np.array([])
        if mask.shape == (sum(self._sizes),) and all(part.any() for part in np.split(mask, ends)):
            return mask.astype(bool)
        if last:
            return np.ones(sum(self._sizes), bool)
        what = " and ".join(str(size) for size in self._sizes)
        raise InfoError(i, f"{self._say} is {told!r}, expected {what} entries with at least one legal")


def legal_in(info: Mapping[str, Any]) -> Any:
    """What an info says of legal actions, if anything.

    Args:
        info: of one row.

    >>> legal_in({"action_mask": [1, 0]}), legal_in({})
    ([1, 0], None)
    """
    return Only(info["only_action"]) if "only_action" in info else info.get("action_mask")


def as_legal(told: Any, space: spaces.Space[Any]) -> Any:
    """Legal actions in NumPy, of one row or of a batch, from any of the forms in which they are told.

    Args:
        told: None, a mask, one for each component, or `Only`.
        space: of the actions.

    >>> as_legal([1, 0], spaces.Discrete(2))
    array([ True, False])
    """
    match told:
        case None:
            return None
        case Only():
            return Only(np.asarray(told.action, np.int32))  # pyright: ignore[reportArgumentType]
        case tuple():
            return tuple(np.asarray(mask, bool) for mask in jax.tree.leaves(told))
    mask = np.asarray(told, bool)
    if not isinstance(space, spaces.MultiDiscrete):
        return mask
    return tuple(np.split(mask, np.cumsum(space.nvec.reshape(-1))[:-1], axis=-1))


def sample(space: spaces.Space[Any], legal: Any) -> Any:
    """A random action of a space, a legal one: `legal` of one row.

    Args:
        space: of the actions; its own random numbers are drawn from.
        legal: of one row, as `as_legal` gives it.

    >>> int(sample(spaces.Discrete(3), np.array([False, True, False])))
    1
    """
    match legal:
        case Only():
            return int(legal.action) + getattr(space, "start", 0) if legal.action >= 0 else space.sample()
        case tuple():
            masks = [np.asarray(mask, np.int8) for mask in legal]
            for size in reversed(space.shape[1:]):  # pyright: ignore[reportOptionalSubscript]
                masks = [tuple(masks[k : k + size]) for k in range(0, len(masks), size)]
            return space.sample(mask=tuple(masks))
    return space.sample(mask=None if legal is None else np.asarray(legal, np.int8))


class InfoError(ValueError):
    """What an info says and cannot be, and in which environment."""

    def __init__(self, env: int, what: str) -> None:
        super().__init__(what)
        self.env = env
