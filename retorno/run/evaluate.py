"""How good a policy is: episodes lived with it, their mean return and its 95% interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key, UInt32

from retorno.core.environment import Environment, Episodes, HostedEnvironments, World, advance, begin
from retorno.core.errors import RetornoError
from retorno.core.policy import Carry, Policy
from retorno.core.runtime import prepare
from retorno.core.spaces import Bounds, action_bounds, clip_action
from retorno.core.time_step import TimeStep

LONGEST_EPISODE = 100_000


class EvaluationError(RetornoError):
    """Episodes that do not end."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns of whole episodes, [seeds, episodes]."""

    returns: np.ndarray
    lengths: np.ndarray

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
        """The mean's 95% interval: over seeds where there are several, else over the episodes (Student's t)."""
        return interval95(self.returns.mean(1) if self.seeds > 1 else self.returns[0])

    @property
    def mean_length(self) -> float:
        return float(self.lengths.mean())

    def as_row(self) -> dict[str, Any]:
        """What a run's figures and `--json` hold."""
        return {
            "mean": self.mean,
            "ci95": list(self.ci95),
            "episodes": self.episodes,
            "seeds": self.seeds,
            "mean_length": self.mean_length,
            "returns": [float(x) for x in self.returns.mean(1)],
        }

    def __str__(self) -> str:
        low, high = self.ci95
        over = f"{self.seeds} seeds × {self.episodes} episodes" if self.seeds > 1 else f"{self.episodes} episodes"
        return (
            f"return {self.mean:.2f}, 95% interval {low:.2f} to {high:.2f} ({over}, mean length {self.mean_length:.1f})"
        )


def interval95(samples: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of independent samples [N], by Student's t; NaN for fewer than two."""
    if len(samples) < 2:
        return (float("nan"), float("nan"))
    mean, reach = samples.mean(), reach95(samples)
    return (float(mean - reach), float(mean + reach))


def reach95(samples: np.ndarray) -> np.ndarray:
    """Half the width of `interval95` for each column [K] of at least two samples [N, K]."""
    from scipy.special import stdtrit

    return stdtrit(len(samples) - 1, 0.975) * samples.std(0, ddof=1) / np.sqrt(len(samples))


class _Play(NamedTuple):
    """One episode in each environment [B], under way."""

    standing: Episodes
    row: TimeStep
    carry: Carry
    returns: Float[Array, " B"]
    lengths: Int[Array, " B"]
    over: Bool[Array, " B"]


def decide(policy: Policy, row: TimeStep, carry: Carry, key: Key[Array, ""], greedy: bool) -> tuple[Any, Carry]:
    """One action of a learnt policy: its best, or one drawn from it."""
    heads, carry = policy.step(row.obs, row.first, carry)
    choice = heads["policy"].masked(row.legal)
    return choice.mode() if greedy else choice.sample(key), carry


def _empty_memories(policy: Policy, num_envs: int) -> Carry:
    return jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x)[None], num_envs, 0), policy.initial_carry())


def _decide_all(
    policy: Policy, row: TimeStep, carry: Carry, bounds: Bounds, key: Key[Array, ""], t: Any, greedy: bool
) -> tuple[Any, Carry]:
    """`decide` for B environments; the actions are ready for the world."""
    keys = jax.random.split(jax.random.fold_in(key, t), row.last.shape[0])
    action, carry = jax.vmap(partial(decide, policy, greedy=greedy))(row, carry, keys)
    return clip_action(action, bounds), carry


@partial(jax.jit, static_argnames=("episodes", "greedy"))
def _play_native(policy: Policy, world: Environment, seed: UInt32[Array, ""], episodes: int, greedy: bool) -> _Play:
    numbers = jnp.arange(episodes, dtype=jnp.uint32)
    bounds = action_bounds(world.action_space)
    standing, row = jax.vmap(lambda n: begin(world, seed, n))(numbers)
    zeros = jnp.zeros(episodes)
    play = _Play(standing, row, _empty_memories(policy, episodes), zeros, zeros.astype(jnp.int32), zeros > 0)

    def going(state: tuple[_Play, Array]) -> Array:
        return ~state[0].over.all() & (state[1] < LONGEST_EPISODE)

    def step(state: tuple[_Play, Array]) -> tuple[_Play, Array]:
        play, t = state
        action, carry = _decide_all(policy, play.row, play.carry, bounds, jax.random.key(seed), t, greedy)
        standing, row = jax.vmap(lambda e, r, a, n: advance(world, e, r, a, seed, n))(
            play.standing, play.row, action, numbers
        )
        return _Play(
            standing=standing,
            row=row,
            carry=carry,
            returns=play.returns + jnp.where(play.over, 0.0, row.reward),
            lengths=play.lengths + ~play.over,
            over=play.over | row.last,
        ), t + 1

    return jax.lax.while_loop(going, step, (play, jnp.int32(0)))[0]


_decide_hosted = jax.jit(_decide_all, static_argnames=("greedy",))


def _play_hosted(
    policy: Policy, environments: HostedEnvironments, bounds: Bounds, seed: int, episodes: int, greedy: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Each of B environments lives ⌈episodes / B⌉ episodes, so that short ones are not preferred."""
    num_envs = environments.num_envs
    share = -(-episodes // num_envs)
    ended: list[list[tuple[float, int]]] = [[] for _ in range(num_envs)]
    row, carry = environments.reset(), _empty_memories(policy, num_envs)
    total, length, t = np.zeros(num_envs), np.zeros(num_envs, int), 0
    while min(map(len, ended)) < share:
        if length.max() >= LONGEST_EPISODE:
            raise _endless()
        action, carry = _decide_hosted(policy, row, carry, bounds, jax.random.key(seed), np.int32(t), greedy)
        row = environments.step(jax.tree.map(np.asarray, action))
        total = np.where(row.first, 0.0, total + row.reward)
        length = np.where(row.first, 0, length + 1)
        for env in np.flatnonzero(row.last):
            ended[env].append((float(total[env]), int(length[env])))
        t += 1
    # The first round of episodes, then the second, …: the first `episodes` of them in that order.
    rounds = [ended[env][i] for i in range(share) for env in range(num_envs)][:episodes]
    return np.array([r for r, _ in rounds]), np.array([n for _, n in rounds])


def _endless() -> EvaluationError:
    return EvaluationError(
        f"an episode did not end within {LONGEST_EPISODE:,} steps: give the world a time limit, "
        "for instance TimeLimit(world, 1000)"
    )


def evaluate(
    policy: Policy | Sequence[Policy],
    world: World,
    episodes: int = 100,
    *,
    seed: int = 1_000_000,
    greedy: bool = True,
) -> Evaluation:
    """Live whole episodes with a learnt policy, or with several, one for each seed of training.

    Args:
        policy: its heads hold "policy", a distribution over actions.
        world: the world; a hosted one is opened and closed here.
        episodes: how many episodes for each policy.
        seed: of the episodes; all policies see the same ones.
        greedy: take the policy's best action, or draw from it.

    Raises:
        ValueError: when `episodes` is not positive.
        EvaluationError: when an episode does not end.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be positive, got {episodes}: pass for instance episodes=100")
    prepare()
    policies = [policy] if isinstance(policy, Policy) else list(policy)
    results = [_evaluate_one(p, world, episodes, seed, greedy) for p in policies]
    return Evaluation(np.stack([r for r, _ in results]), np.stack([n for _, n in results]))


def _evaluate_one(
    policy: Policy, world: World, episodes: int, seed: int, greedy: bool
) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(world, Environment):
        play = _play_native(policy, world, jnp.uint32(seed), episodes, greedy)
        if not play.over.all():
            raise _endless()
        return np.asarray(play.returns), np.asarray(play.lengths)
    environments = world.open(world.num_envs or min(episodes, 8), seed)
    try:
        return _play_hosted(policy, environments, action_bounds(world.action_space), seed, episodes, greedy)
    finally:
        environments.close()
