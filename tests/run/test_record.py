"""What a policy lives is recorded row by row, and read back from each format as it was lived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import retorno as rt
from retorno.core.environment import begin
from retorno.core.errors import RetornoError
from retorno.environments import dataset, save_dataset
from retorno.environments.recordings import Recorded
from retorno.policies import Uniform


class Counted(gym.Env):
    """Shows the step; pays what was chosen, times ten, and the step. The third step ends it, or its fourth cuts it."""

    def __init__(self, ends: bool = True) -> None:
        self.ends = ends
        self.observation_space = spaces.Dict({"step": spaces.Box(0, 9, (1,)), "odd": spaces.Discrete(2)})
        self.action_space = spaces.Tuple([spaces.Discrete(4), spaces.Box(0, 2, (1,))])

    def _seen(self) -> dict[str, Any]:
        return {"step": np.array([self.step_number], np.float32), "odd": self.step_number % 2}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.step_number = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.step_number += 1
        paid = 10 * float(action[0]) + float(action[1][0]) + 100 * self.step_number
        return self._seen(), paid, self.ends and self.step_number == 3, self.step_number == 4, {}


def random_policy(world: Any) -> Any:
    return Uniform().build(world.observation_space, world.action_space)


def untaught(world: Any) -> Any:
    with rt.train(rt.PPO(network=rt.networks.MLP((4,)), num_envs=2, rollout=8, minibatches=1), world, 1) as training:
        return training.policy


def alike(one: Recorded, other: Recorded) -> None:
    """The same episodes, in whatever columns they stand."""
    a, b = (sorted(each.episodes(), key=lambda x: jax.tree.leaves(x.steps.obs)[-1].tobytes()) for each in (one, other))
    assert len(a) == len(b)
    for mine, theirs in zip(a, b, strict=True):
        jax.tree.map(np.testing.assert_array_equal, (mine.steps, mine.action), (theirs.steps, theirs.action))


def test_a_native_world_lives_the_same_again_when_it_is_given_what_was_done() -> None:
    world = rt.make("CartPole-v1")
    recorded = rt.record(random_policy(world), world, 6, seed=3)
    lived = list(recorded.episodes())
    assert len(lived) == 6 and all(x.steps.first[0] and x.steps.last[-1] for x in lived)
    assert all(x.steps.first.sum() == x.steps.last.sum() == 1 for x in lived)
    opened, row = begin(world, jnp.uint32(3), jnp.uint32(2))
    state, step = opened.state, jax.jit(world.step)
    (again,) = (x for x in lived if (x.steps.obs[0] == row.obs).all())
    for action, seen in zip(again.action, again.steps.obs[1:], strict=True):
        state, row = step(state, action, jax.random.key(0))
        np.testing.assert_allclose(row.obs, seen, atol=1e-5)


@pytest.mark.parametrize("ends", [True, False])
def test_rewards_stand_beside_what_was_done_for_them(ends: bool, tmp_path: Path) -> None:
    world = rt.gymnasium(lambda: Counted(ends))
    recorded = rt.record(untaught(world), world, 5)
    for each in recorded.episodes():
        steps = 3 if ends else 4
        np.testing.assert_array_equal(each.steps.obs["step"][:, 0], np.arange(steps + 1))
        choice, number = each.action
        paid = 10.0 * choice + number[:, 0] + 100 * np.arange(1, steps + 1)
        np.testing.assert_allclose(each.steps.reward[1:], paid, rtol=1e-5)
        assert each.steps.discount[-1] == (0 if ends else 1)
    alike(recorded, dataset(save_dataset(tmp_path / "theirs", recorded)))
    with pytest.raises(RetornoError, match="several parts"):
        save_dataset(tmp_path / "flat.npz", recorded)
    assert not list(tmp_path.glob("flat*"))


def test_each_format_is_read_back_and_learnt_from(tmp_path: Path) -> None:
    recorded = rt.record(random_policy(rt.make("CartPole-v1")), "CartPole-v1", 6)
    for name in ("data.npz", "folder"):
        again = dataset(save_dataset(tmp_path / name, recorded), world="CartPole-v1")
        alike(recorded, again)
        with pytest.raises(RetornoError, match="is there"):
            save_dataset(tmp_path / name, recorded)
    method = rt.algorithms.BehaviourCloning(num_envs=2, network=rt.networks.MLP((8,)))
    rt.train(method, recorded, steps=200).run_to_end()


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    game, world = rt.make("tic_tac_toe_for_two"), rt.make("CartPole-v1")
    with pytest.raises(RetornoError, match="for two players"):
        rt.record(random_policy(game), game, 1)
    with pytest.raises(ValueError, match="episodes must be positive"):
        rt.record(random_policy(world), world, 0)
    recorded = rt.record(random_policy(world), world, 1)
    with pytest.raises(RetornoError, match="recorded already"):
        rt.record(random_policy(world), recorded, 1)
    with pytest.raises(RetornoError, match=r"not as \.csv"):
        save_dataset(tmp_path / "data.csv", recorded)
