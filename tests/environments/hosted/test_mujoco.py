"""Bodies that are stepped together live what Gymnasium's live one by one, to the bit."""

import gymnasium as gym
import numpy as np
import pytest

from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.hosted.mujoco import Bodies
from retorno.environments.hosted.sync_environments import Keepers

B, STEPS, LIMIT = 3, 60, 25
WORLDS = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5")


def lived(envs, actions):
    rows = [envs.reset(), *map(envs.step, actions)]
    return [(row.obs, row.reward, row.discount, row.first, row.last) for row in rows]


@pytest.mark.parametrize("name", WORLDS)
def test_rows_are_gymnasiums_step_by_step_and_a_run_returns_to_them(name) -> None:
    world = gymnasium(name, max_episode_steps=LIMIT)
    envs = world.open(B, seed=3)
    plain = Keepers([gym.make(name, max_episode_steps=LIMIT) for _ in range(B)], range(B), 3, name)
    assert isinstance(envs, Bodies)
    space = world.action_space
    actions = np.random.default_rng(0).uniform(space.low, space.high, (STEPS, B, *space.shape)).astype(np.float32)
    together, apart = lived(envs, actions), lived(plain, actions)
    for t, (ours, theirs) in enumerate(zip(together, apart, strict=True)):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=f"row {t}")
    cut, ends = np.array([row[4] & (row[2] > 0) for row in together]), np.array([row[2] == 0 for row in together])
    assert cut.any() and (ends.any() or name in ("HalfCheetah-v5", "Ant-v5"))

    again = world.open(B, seed=3)
    again.restore(envs.snapshot())  # Gymnasium's own steps lead back to the same bits.
    for action in actions[:LIMIT]:
        for one, other in zip(lived_row(again.step(action)), lived_row(envs.step(action)), strict=True):
            np.testing.assert_array_equal(one, other)
    for each in (envs, plain, again):
        each.close()


def lived_row(row):
    return row.obs, row.reward, row.discount, row.first, row.last


def test_what_is_wrapped_or_alone_is_stepped_as_any_other() -> None:
    for world, number in ((gymnasium("Hopper-v5", wrappers=["FlattenObservation"]), 2), (gymnasium("Hopper-v5"), 1)):
        envs = world.open(number, seed=0)
        assert not isinstance(envs, Bodies)
        envs.close()
