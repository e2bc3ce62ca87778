"""How good a policy is: episodes lived with it, their mean return and its 95% interval."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, UInt32

from retorno.core import constants
from retorno.core.environment import Environment, Episodes, HostedWorld, World, advance, begin
from retorno.core.names import says_what_is_meant
from retorno.core.notebook import as_text
from retorno.core.policy import Carry, Policy
from retorno.core.runtime import IN_HASTE, prepare
from retorno.core.spaces import action_units, given_units
from retorno.core.time_step import TimeStep
from retorno.core.waiting import waiting
from retorno.environments.games.pairs import next_sign
from retorno.environments.recordings import Recorded
from retorno.ops.intervals import (
    interquartile_interval95,
    interquartile_mean,
    interval95,
    interval95_within,
    proportion95,
)
from retorno.run.episodes import (
    LONGEST_EPISODE,
    EvaluationError,
    Lived,
    decide_all,
    decide_hosted,
    empty_memories,
    endless,
    live_hosted,
    told_episodes,
)
from retorno.run.learnt import Learnt, learnt_and_world, policies_of, require_fitting
from retorno.run.match import Match, meet
from retorno.run.prediction import predicts

FEW = 4
"""Seeds from which on the mean of their middle half is told as well."""
BRIEF = 5_000_000
"""Weights times episodes up to which to compile an evaluation takes longer than to run it: CartPole's 1,000."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns of whole episodes, [seeds, episodes]."""

    returns: np.ndarray
    lengths: np.ndarray
    cut: np.ndarray | None = None
    """Whether each was cut by a time limit and did not end by itself, where that was seen."""
    success: np.ndarray | None = None
    """Whether each was a success, 1 or 0, NaN where nothing was said; None where the world never says so."""
    info: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Numbers that were asked of the info of each one's last step (`info_keywords`), by their names."""

    @property
    def seeds(self) -> int:
        """Policies that were evaluated, one for each seed of training."""
        return self.returns.shape[0]

    @property
    def episodes(self) -> int:
        """Episodes of each."""
        return self.returns.shape[1]

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """The mean's 95% interval: over seeds where there are several, else over the episodes of the one seed.

        Student's t, within the returns that were seen: no interval goes beyond what is possible.
        """
        return self._interval(self.returns)

    def _interval(self, each: np.ndarray) -> tuple[float, float]:
        """Of a number of each episode the mean's interval, as that of their returns."""
        return interval95_within(each.mean(1) if self.seeds > 1 else each[0], each)

    @property
    def interquartile_mean(self) -> float:
        """The mean over the middle half of the seeds, which one lucky or unlucky seed does not move."""
        return interquartile_mean(self.returns.mean(1))

    @property
    def interquartile_ci95(self) -> tuple[float, float]:
        """Its 95% interval over seeds, by the bootstrap; NaN for one seed."""
        return interquartile_interval95(self.returns.mean(1))

    @property
    def success_rate(self) -> float | None:
        """The share of successes among the episodes of which the world said it; None where it never does."""
        return None if self._judged is None else float(np.nanmean(self._judged))

    @property
    def success_ci95(self) -> tuple[float, float]:
        """Its 95% interval: over seeds (Student's t) where there are several, else over episodes (Wilson's)."""
        if self._judged is None:
            return (math.nan, math.nan)
        if self.seeds == 1:
            return proportion95(float(np.nansum(self._judged)), int(np.isfinite(self._judged).sum()))
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # A seed of which nothing was said.
            each = np.nanmean(self._judged, 1)
        low, high = interval95(each[np.isfinite(each)])
        return (max(low, 0.0), min(high, 1.0)) if low == low else (low, high)

    @property
    def _judged(self) -> np.ndarray | None:
        return None if self.success is None or np.isnan(self.success).all() else self.success

    @property
    def mean_length(self) -> float:
        return float(self.lengths.mean())

    def as_row(self) -> dict[str, Any]:
        """What a run's figures and `--json` hold."""
        return {
            "mean": self.mean,
            "ci95": list(self.ci95),
            "over": "seeds" if self.seeds > 1 else "episodes",
            "interquartile_mean": self.interquartile_mean,
            "interquartile_ci95": list(self.interquartile_ci95),
            "episodes": self.episodes,
            "seeds": self.seeds,
            "mean_length": self.mean_length,
            **({} if self.cut is None else {"cut": int(self.cut.sum())}),
            "returns": [float(x) for x in self.returns.mean(1)],
            **({} if (rate := self.success_rate) is None else self._success_row(rate)),
            **({"info": {name: self._info_row(each) for name, each in self.info.items()}} if self.info else {}),
        }

    def _info_row(self, each: np.ndarray) -> dict[str, Any]:
        return {"mean": float(each.mean()), "ci95": list(self._interval(each)), "of_seeds": each.mean(1).tolist()}

    def _success_row(self, rate: float) -> dict[str, Any]:
        assert self._judged is not None
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            each = [None if math.isnan(x) else float(x) for x in np.nanmean(self._judged, 1)]
        return {"success_rate": rate, "success_ci95": list(self.success_ci95), "successes": each}

    def __repr__(self) -> str:
        return f"<evaluation: {self}>"

    def _repr_html_(self) -> str:
        return as_text(self)

    def __str__(self) -> str:
        return f"{self._told_return()}{self._told_success()}{''.join(starmap(self._told_info, self.info.items()))}"

    def _told_info(self, name: str, each: np.ndarray) -> str:
        """What was asked of an episode's last info."""
        low, high = self._interval(each)
        over = "" if math.isnan(low) or np.ptp(each) == 0 else f", 95% interval {low:z.4g} to {high:z.4g}"
        return f"; {name} {each.mean():z.4g}{over}"

    def _told_success(self) -> str:
        """The success rate, where the world says what a success is."""
        if self._judged is None or self.success_rate is None:
            return ""
        low, high = self.success_ci95
        told = int(np.isfinite(self._judged).sum())
        some = "" if told == self._judged.size else f" of the {told:,} episodes that say so"
        if self.returns.size == 1:
            return "; a success" if self.success_rate else "; no success"
        over = "" if math.isnan(low) else f", 95% interval {low:.1%} to {high:.1%}"
        return f"; success {self.success_rate:.1%}{over}{some}"

    def _told_return(self) -> str:
        if self.returns.size == 1:
            return f"return {self.mean:z.2f} (one episode of {int(self.lengths[0, 0]):,} steps{self._told_cut()})"
        low, high = self.ci95
        one = f"{self.episodes} episodes of one seed"
        over = f"{self.seeds} seeds × {self.episodes} episodes" if self.seeds > 1 else one
        about = f"mean length {self.mean_length:.1f}{self._told_cut()}"
        if np.ptp(self.returns) == 0:
            return f"return {self.mean:z.2f} in each of {over} ({about})"
        middle = ""
        if self.seeds >= FEW:
            least, most = self.interquartile_ci95
            middle = f", interquartile mean {self.interquartile_mean:z.2f}, bootstrap {least:z.2f} to {most:z.2f}"
        return f"return {self.mean:z.2f}, 95% interval {low:z.2f} to {high:z.2f}{middle} (over {over}, {about})"

    def _told_cut(self) -> str:
        """How many episodes the time limit cut, where it did."""
        if self.cut is None or not self.cut.any():
            return ""
        lengths = self.lengths[self.cut]
        at = f"{lengths.min():,}" if lengths.min() == lengths.max() else f"{lengths.min():,} to {lengths.max():,}"
        many = "all" if self.cut.all() and self.cut.size > 1 else "" if self.cut.size == 1 else f"{self.cut.sum():,}"
        return f"; {many} cut by the time limit at {at} steps".replace(";  ", "; ")


class _Play(NamedTuple):
    """One episode in each environment [B], under way."""

    standing: Episodes
    row: TimeStep
    carry: Carry
    sign: Float[Array, " B"]
    """−1 where rewards go to the one who did not begin; in a world without an opponent always 1."""
    returns: Float[Array, " B"]
    lengths: Int[Array, " B"]
    over: Bool[Array, " B"]
    cut: Bool[Array, " B"]
    """Whether it was over by a time limit, and not by itself."""


def _play(policy: Policy, world: Environment, seed: UInt32[Array, ""], episodes: int, greedy: bool) -> _Play:
    numbers = jnp.arange(episodes, dtype=jnp.uint32)
    units = action_units(world.action_space)
    standing, row = jax.vmap(lambda n: begin(world, seed, n))(numbers)
    zeros = jnp.zeros(episodes)
    memories = empty_memories(policy, episodes)
    play = _Play(standing, row, memories, zeros + 1, zeros, zeros.astype(jnp.int32), zeros > 0, zeros > 0)

    def going(state: tuple[_Play, Array]) -> Array:
        return ~state[0].over.all() & (state[1] < LONGEST_EPISODE)

    def step(state: tuple[_Play, Array]) -> tuple[_Play, Array]:
        play, t = state
        action, carry = decide_all(policy, play.row, play.carry, units, jax.random.key(seed), t, greedy)
        standing, row = jax.vmap(lambda e, r, a, n: advance(world, e, r, a, seed, n))(
            play.standing, play.row, action, numbers
        )
        # An episode may be held back on rows that wait, which are `last` too.
        lives = ~play.over & ~play.row.last
        return _Play(
            standing=standing,
            row=row,
            carry=carry,
            sign=next_sign(play.sign, row),
            returns=play.returns + jnp.where(lives, play.sign * row.reward, 0.0),
            lengths=play.lengths + lives,
            over=play.over | lives & row.last,
            cut=jnp.where(lives, row.last & (row.discount != 0), play.cut),
        ), t + 1

    return jax.lax.while_loop(going, step, (play, jnp.int32(0)))[0]


_play_long = constants.jit(_play, static_argnames=("episodes", "greedy"))
_play_briefly = constants.jit(_play, static_argnames=("episodes", "greedy"), compiler_options=IN_HASTE)


def _play_native(policy: Policy, world: Environment, seed: UInt32[Array, ""], episodes: int, greedy: bool) -> _Play:
    """Compiled in haste where it is over in a moment: where few weights are read in few episodes."""
    brief = episodes * sum(leaf.size for leaf in jax.tree.leaves(policy)) < BRIEF
    return (_play_briefly if brief else _play_long)(policy, world, seed, episodes, greedy)


def _play_hosted(policy: Policy, world: HostedWorld, episodes: int, seed: int, greedy: bool) -> Lived:
    units = given_units(world.action_space)

    def choose(row: TimeStep, memory: Carry, sign: np.ndarray, t: int) -> tuple[Any, Carry]:
        return decide_hosted(policy, row, memory, units, jax.random.key(seed), np.int32(t), greedy)

    return live_hosted(choose, lambda number: empty_memories(policy, number), world, episodes, seed)


@overload
def evaluate(
    policy: Learnt | Sequence[Learnt],
    world: World | str | None = None,
    episodes: int = 100,
    *,
    seed: int = 1_000_000,
    greedy: bool = True,
) -> Evaluation: ...
@overload
def evaluate(
    *,
    policies: tuple[Learnt, Learnt],
    world: World | str | None = None,
    episodes: int = 100,
    seed: int = 1_000_000,
    greedy: bool = True,
) -> Match: ...
@says_what_is_meant
def evaluate(
    policy: Learnt | Sequence[Learnt] | None = None,
    world: World | str | None = None,
    episodes: int = 100,
    *,
    policies: tuple[Learnt, Learnt] | None = None,
    seed: int = 1_000_000,
    greedy: bool = True,
) -> Evaluation | Match:
    """Live whole episodes with a learnt policy, or with one for each seed of training; or let two players meet.

    Args:
        policy: its heads hold "policy", a distribution over actions; or what `load` gives, a run, or its folder.
        world: the world or its name; a hosted one is opened and closed here. None for the one that it was trained in.
        episodes: how many episodes for each policy.
        policies: the two players of a game instead: each moves first in half of the episodes.
        seed: of the episodes; all policies see the same ones.
        greedy: take the policy's best action, or draw from it. One whose value was predicted is always drawn from: it
            is given, not learnt.

    Raises:
        ValueError: when `episodes` is not positive, or it is not clear who is to live where.
        EvaluationError: when an episode does not end, or the world is one of recordings.
    """
    if not isinstance(episodes, int | np.integer) or episodes < 1:
        raise ValueError(f"episodes must be positive and whole, got {episodes!r}: pass for instance episodes=100")
    if (policy is None) == (policies is None):
        raise ValueError("pass one policy (or one for each seed), or two players as policies=(one, other)")
    prepare()
    learnt, where = learnt_and_world(policies or policy, world)
    if isinstance(where, Recorded):
        raise EvaluationError(
            "in a world of recordings all happens as it was recorded, whatever a policy chooses: evaluate it in "
            "another, or see how well it fits other recordings: retorno.run.fit.fit(training, recordings)"
        )
    whole = [each for one in learnt for each in policies_of(one)]
    greedy = greedy and not predicts(whole)
    found = [each.select("policy") for each in whole]
    for each in learnt:
        require_fitting(each, where)
    if policies is None:
        results = [_evaluate_one(each, where, episodes, seed, greedy) for each in found]
        *told, infos = zip(*results, strict=True)
        whole: list[Any] = [None if each[0] is None else np.stack(each) for each in told]
        return Evaluation(*whole, info={name: np.stack([each[name] for each in infos]) for name in infos[0]})
    if len(found) != 2:
        raise ValueError(f"a game has two players, got {len(found)} policies: pass policies=(one, other)")
    if not where.two_players:
        raise ValueError(f"{where!r} is for one player: two meet in a game, for instance tic_tac_toe_for_two")
    return meet(found[0], found[1], where, episodes, seed, greedy)


def _evaluate_one(policy: Policy, world: World, episodes: int, seed: int, greedy: bool) -> Lived:
    """One policy's episodes."""
    if isinstance(world, Environment):
        with waiting(f"evaluating: compiling, then living {told_episodes(episodes)}"):
            play = _play_native(policy, world, jnp.uint32(seed), episodes, greedy)
            over = np.asarray(play.over)
        if not over.all():
            earned = np.asarray(play.returns, np.float64)[~over].sum() / np.asarray(play.lengths)[~over].sum()
            raise endless(earned)
        return Lived(np.asarray(play.returns), np.asarray(play.lengths), np.asarray(play.cut))
    return _play_hosted(policy, world, episodes, seed, greedy)
