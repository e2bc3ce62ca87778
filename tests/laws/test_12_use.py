"""Law 12: a policy that was loaded takes the actions that `evaluate` takes, for every algorithm, network and space."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import jax
import numpy as np
import pytest
from gymnasium import spaces
from small import NETWORK, busy_world, small

from retorno.algorithms import ALGORITHMS
from retorno.core.policy import Policy
from retorno.core.spaces import action_bounds
from retorno.core.time_step import TimeStep
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.hosted.sync_environments import ActionLayout
from retorno.environments.text.recall import Recall
from retorno.networks import NETWORKS
from retorno.run import policy_folder
from retorno.run.actor import Actor, load
from retorno.run.episodes import decide_all, empty_memories
from retorno.run.evaluate import evaluate
from retorno.run.policy_folder import SavedPolicy
from retorno.run.train import Training, train

ENVS, ROWS = 3, 10

decide_once = jax.jit(decide_all, static_argnames=("bounds", "greedy"))


class Anything(gym.Env):
    """Observations drawn from a space; every third action is illegal where it is masked."""

    def __init__(self, observation_space: Any, action_space: Any, masked: bool = False) -> None:
        self.observation_space, self.action_space, self.masked = observation_space, action_space, masked

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self._seen(), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        ended = bool(self.np_random.random() < 0.2)
        return self._seen(), float(self.np_random.normal()), ended, False, self._info()

    def _seen(self) -> Any:
        return self.observation_space.sample()

    def _info(self) -> dict[str, Any]:
        if not self.masked:
            return {}
        mask = self.np_random.random(self.action_space.n) < 0.6
        mask[self.np_random.integers(len(mask))] = True
        return {"action_mask": mask.astype(np.int8)}


def shaken(policy: Policy) -> Policy:
    """A policy with other numbers, as if it had learnt: each is moved by something in [0, 1)."""
    rng = np.random.default_rng(0)

    def move(x: Any) -> Any:
        return x + rng.random(x.shape, np.float32) if np.issubdtype(x.dtype, np.floating) else x

    return jax.tree.map(move, policy)


def written(training: Training, folder: Path) -> tuple[Policy, Actor]:
    """What the algorithm made, shaken, and what comes back from a folder."""
    policy, world = shaken(training.policy), training.world
    masked = training.run.stage.row.legal is not None
    saved = SavedPolicy((policy,), (0,), world.observation_space, world.action_space, masked, 7, "", {})
    policy_folder.save(folder, saved)
    return policy, load(folder)


def check_use(
    training: Training,
    folder: Path,
    mistaken: Callable[[Actor], Actor] = lambda actor: actor,
    act: Callable[..., Any] = Actor.act,
) -> None:
    """On recorded rows, one at a time and as a batch: the actions are those of evaluation, in the world's units."""
    policy, actor = written(training, folder)
    actor = mistaken(actor)
    rows, world = recorded(training), training.world
    layout, bounds, key = ActionLayout(world.action_space), action_bounds(world.action_space), jax.random.key(0)
    carry, expected = empty_memories(policy, len(rows[0].first)), []
    for t, row in enumerate(rows):
        action, carry = jax.jit(partial(decide_all, bounds=bounds, greedy=True))(policy, row, carry, key=key, t=t)
        expected.append(layout.decode(np.asarray(action)))
    for row, wanted in zip(rows, expected, strict=True):
        given = act(actor, row.obs, legal=row.legal, first=row.first)
        np.testing.assert_allclose(given, wanted, 1e-4, 1e-4)
    actor.reset()
    for row, wanted in zip(rows, expected, strict=True):
        one = jax.tree.map(lambda x: x[0], row)
        given = act(actor, one.obs, legal=one.legal, first=one.first)
        assert world.action_space.contains(given)
        np.testing.assert_allclose(given, wanted[0], 1e-4, 1e-4)


def recorded(training: Training) -> list[TimeStep]:
    """Rows [B] of the world, in which episodes begin now and then."""
    rng = np.random.default_rng(1)
    space = training.world.observation_space
    space.seed(1)
    like = jax.tree.map(np.asarray, training.run.stage.row)
    rows = []
    for t in range(ROWS):
        obs = [space.sample() for _ in like.first]
        stacked = jax.tree.map(lambda *x: np.stack(x), *obs)
        legal = None if like.legal is None else rng.random(like.legal.shape) < 0.6
        if legal is not None:
            legal[np.arange(len(legal)), rng.integers(legal.shape[1], size=len(legal))] = True
        first = rng.random(len(like.first)) < 0.3 if t else np.ones(len(like.first), bool)
        obs = jax.tree.map(lambda x, leaf: x.astype(leaf.dtype), stacked, like.obs)
        rows.append(like._replace(obs=obs, first=first, last=np.zeros_like(first), legal=legal))
    return rows


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_is_used_as_it_is_evaluated(name: str, tmp_path: Path) -> None:
    check_use(train(small(name), busy_world(), 100), tmp_path)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_used_as_it_is_evaluated(name: str, tmp_path: Path) -> None:
    check_use(train(small("ppo", network=NETWORK[name]), Recall(delay=3), 100), tmp_path)


BOX = spaces.Box(-1, 1, (3,))
OBSERVATIONS = {
    "box": BOX,
    "image": spaces.Box(0, 255, (2, 2, 1), np.uint8),
    "unbounded": spaces.Box(np.array([-np.inf, -1], np.float64), np.array([1, np.inf], np.float64), dtype=np.float64),
    "discrete": spaces.Discrete(4, start=3),
    "multi_discrete": spaces.MultiDiscrete([2, 3], start=[1, 5]),
    "multi_binary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"place": BOX, "mark": spaces.Discrete(3), "both": spaces.Tuple((BOX, spaces.MultiBinary(2)))}),
}
ACTIONS = {
    "discrete": spaces.Discrete(3, start=-1),
    "multi_discrete": spaces.MultiDiscrete([2, 3], start=[4, -2]),
    "box": spaces.Box(np.float32([-2, 0.1]), np.float32([0.3, 0.4])),
}
MEMORY = NETWORK["gru"]


def hosted(observations: str, actions: str, masked: bool = False, **settings: Any) -> Training:
    world = gymnasium(lambda: Anything(OBSERVATIONS[observations], ACTIONS[actions], masked), num_envs=ENVS)
    return train(small("ppo", num_envs=ENVS, minibatches=1, normalise_observations=True, **settings), world, 100)


@pytest.mark.parametrize(
    ("observations", "actions"),
    [*((name, "discrete") for name in OBSERVATIONS), *(("box", name) for name in ACTIONS if name != "discrete")],
)
def test_every_space_is_used_as_it_is_evaluated(observations: str, actions: str, tmp_path: Path) -> None:
    with contextlib.closing(hosted(observations, actions)) as training:
        check_use(training, tmp_path)


def test_masks_are_kept_to(tmp_path: Path) -> None:
    with contextlib.closing(hosted("box", "discrete", masked=True)) as training:
        check_use(training, tmp_path)
        _, actor = written(training, tmp_path)
        with pytest.raises(ValueError, match="not every action is legal"):
            actor.act(np.zeros(3))


def test_a_run_is_evaluated_as_what_was_loaded_from_it(tmp_path: Path) -> None:
    """The whole way: train, write, load, live episodes; and by hand, in an environment of one's own."""
    make = lambda: Anything(OBSERVATIONS["box"], ACTIONS["discrete"], masked=True)  # noqa: E731
    world = gymnasium(make, num_envs=1)
    with train(small("ppo", network=MEMORY, num_envs=1, minibatches=1), world, 60, folder=tmp_path / "run") as training:
        training.run_to_end()
        judged = evaluate(training.policy, world, 8, seed=3)
        assert (evaluate(load(tmp_path / "run"), world, 8, seed=3).returns == judged.returns).all()
    environments = world.open(1, 3)
    row, actor, returns = environments.reset(), load(tmp_path / "run" / "policy"), []
    start = world.action_space.start  # type: ignore[attr-defined]
    total = 0.0
    while len(returns) < 8:
        assert row.legal is not None
        action = actor.act(row.obs[0], {"action_mask": row.legal[0]}, first=row.first[0])
        row = environments.step(np.array([action - start]))
        total = 0.0 if row.first[0] else total + float(row.reward[0])
        returns += [total] if row.last[0] else []
    np.testing.assert_allclose(returns, judged.returns[0], 1e-5)


def without(**changes: Any) -> Callable[[Actor], Actor]:
    def mistaken(actor: Actor) -> Actor:
        for name, value in changes.items():
            setattr(actor, name, value)
        return actor

    return mistaken


def unnormalised(actor: Actor) -> Actor:
    import dataclasses

    bare = dataclasses.replace(actor.policy, normaliser=None)  # type: ignore[call-overload]
    return Actor(bare, actor.observation_space, actor.action_space, actor.masked)


def counting_from_0(actor: Actor) -> Actor:
    actor._layout.start = None
    return actor


def stale(actor: Actor, obs: Any, legal: Any, first: Any) -> Any:
    return actor.act(obs, legal=legal, first=np.zeros_like(first))


def careless(actor: Actor, obs: Any, legal: Any, first: Any) -> Any:
    return actor.act(obs, legal=np.ones_like(legal), first=first)


@pytest.mark.parametrize(
    ("world", "mistake"),
    [
        (("box", "box"), {"mistaken": unnormalised}),
        (("box", "box"), {"mistaken": without(_bounds=None)}),
        (("box", "discrete"), {"mistaken": counting_from_0}),
        (("box", "box", False, MEMORY), {"act": stale}),
        (("box", "discrete", True), {"act": careless}),
    ],
    ids=["lost normaliser", "lost bounds", "lost start", "stale carry", "ignored mask"],
)
def test_the_law_sees(world: Any, mistake: Any, tmp_path: Path) -> None:
    *described, network = [*world, None] if len(world) < 4 else world
    settings = {} if network is None else {"network": network}
    with contextlib.closing(hosted(*described, **settings)) as training, pytest.raises(AssertionError):
        check_use(training, tmp_path, **mistake)
