"""Discounts, as environments that live in Python tell them: a game of two comes back as it went out."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import retorno as rt
from retorno.core.errors import WorldError
from retorno.environments.hosted.gymnasium import gymnasium


class Turns(gym.Env):
    """Six rows: its opponent moves on every other, and the third's value counts half. Is cut, or ends."""

    metadata = {"two_players": True}  # noqa: RUF012

    def __init__(self, ends=False, told=(None, -1.0, -1.0, 0.5, -1.0, -1.0), **metadata):
        self.observation_space, self.action_space = spaces.Discrete(6), spaces.Discrete(2)
        self.ends, self.told, self.metadata = ends, told, self.metadata | metadata

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return 0, {}

    def step(self, action):
        self.t += 1
        told = 0.0 if self.ends and self.t == 5 else self.told[self.t]
        return self.t, 1.0, self.ends and self.t == 5, self.t == 5, {} if told is None else {"discount": told}


EXPECTED = {False: [1, -1, -1, 0.5, -1, -1, 1, -1], True: [1, -1, -1, 0.5, -1, 0, 1, -1]}


def rows(environments):
    lived = [environments.reset(), *(environments.step(np.zeros(2, np.int32)) for _ in range(7))]
    return np.stack([row.discount for row in lived]), np.stack([row.last for row in lived])


@pytest.mark.parametrize(("ends", "parallel"), [(False, False), (True, False), (True, True)])
def test_discounts_are_read(ends, parallel):
    world = gymnasium(Turns, 2, ends=ends, parallel=parallel)
    assert world.two_players
    environments = world.open(2, seed=0)
    discount, last = rows(environments)
    environments.close()
    np.testing.assert_array_equal(discount, np.repeat(EXPECTED[ends], 2).reshape(-1, 2))
    np.testing.assert_array_equal(last[:, 0], np.arange(8) == 5)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("ends", [False, True])
def test_discounts_of_vectors_are_read(ends, mode):
    class Own(SyncVectorEnv):
        """Driven through its own step, as no other class of Gymnasium's is."""

    vector = Own([lambda: Turns(ends)] * 2, autoreset_mode=mode)
    vector.metadata = vector.metadata | Turns.metadata
    discount, _ = rows(gymnasium(vector).open(2, seed=0))
    np.testing.assert_array_equal(discount[:, 0], EXPECTED[ends])


@pytest.mark.parametrize(
    ("told", "metadata", "message"),
    [
        (-1.0, {"two_players": False}, r'discount"]=-1.0: in a game of two.*"two_players": True'),
        (-2.0, {}, r'environment 0 .*step 1: gave info\["discount"\]=-2.0, expected a number in \[-1, 1\]'),
        (float("nan"), {}, "expected a number in"),
        ("much", {}, "expected a number in"),
        (0.0, {}, "terminated=False: a discount is 0 just where an episode ends"),
    ],
)
def test_what_cannot_be_is_refused(told, metadata, message):
    environments = gymnasium(lambda: Turns(told=(None, told), **metadata)).open(2, seed=0)
    environments.reset()
    with pytest.raises(WorldError, match=message):
        environments.step(np.zeros(2, np.int32))


def test_a_hosted_game_is_evaluated_by_who_began():
    """Each of five steps pays its mover 1: to who began +1 −1 +1 +1 −1."""
    from retorno.policies.target_and_behaviour import Uniform

    world = gymnasium(Turns)
    policy = Uniform().build(world.observation_space, world.action_space)
    assert (rt.evaluate(policy, world, episodes=3).returns == 1).all()
    with pytest.raises(ValueError, match="two move in turn"):
        rt.train(rt.algorithms.RLearning(), world, steps=10)
