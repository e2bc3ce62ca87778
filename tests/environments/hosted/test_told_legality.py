"""Legal actions, as environments that live in Python tell them."""

import gymnasium as gym
import jax
import numpy as np
import pytest
from gymnasium import spaces

import retorno as rt
from retorno.core.errors import WorldError
from retorno.core.time_step import Only
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.hosted.legality import sample
from retorno.environments.text.tokens import Tokens

MASKS = (np.array([1, 0], np.int8), np.array([0, 1, 1], np.int8))


class Masked(gym.Env):
    """Tells what it is made to tell, and ends after three steps."""

    def __init__(self, at_reset, at_step=None, space=None, method=None):
        self.observation_space = spaces.Discrete(4)
        self.action_space = spaces.MultiDiscrete([2, 3]) if space is None else space
        self.at_reset, self.at_step, self.taken = at_reset, at_reset if at_step is None else at_step, []
        if method is not None:
            self.action_masks = lambda: method

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return 0, dict(self.at_reset)

    def step(self, action):
        self.taken.append(np.array(action))
        self.t += 1
        return self.t, float(np.sum(action)), False, self.t == 3, dict(self.at_step)


def opened(*args, **kwargs):
    return gymnasium(lambda: Masked(*args, **kwargs)).open(2, seed=0)


@pytest.mark.parametrize(
    "told",
    [
        {"at_reset": {"action_mask": MASKS}},
        {"at_reset": {"action_mask": np.concatenate(MASKS)}},
        {"at_reset": {}, "method": np.concatenate(MASKS).astype(bool)},
    ],
    ids=["a mask for each component", "one behind the other", "action_masks()"],
)
def test_masks_over_multi_discrete(told):
    environments = opened(**told)
    row = environments.reset()
    for _ in range(4):
        assert [mask.shape for mask in row.legal] == [(2, 2), (2, 3)]
        for mask, expected in zip(row.legal, MASKS, strict=True):
            np.testing.assert_array_equal(mask, np.tile(expected.astype(bool), (2, 1)))
        row = environments.step(np.array([[0, 1], [0, 2]], np.int32))


def test_what_is_learnt_with_masks_over_multi_discrete_is_legal():
    env = Masked({"action_mask": MASKS})
    for _ in rt.train(rt.PPO(rollout=8, minibatches=2, epochs=1), gymnasium(env), steps=24, seed=0):
        pass
    assert len(env.taken) >= 24
    assert all(action[0] == 0 and action[1] in (1, 2) for action in env.taken)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"at_reset": {"action_mask": MASKS}, "at_step": {}}, "action_mask is None, expected 2 and 3 entries"),
        ({"at_reset": {"action_mask": MASKS[0]}}, "expected 2 and 3 entries with at least one legal"),
        ({"at_reset": {"action_mask": (MASKS[0], np.zeros(3))}}, "expected 2 and 3 entries with at least one legal"),
        ({"at_reset": {"action_mask": MASKS[0]}, "space": spaces.Box(-1, 1, (2,))}, "gives action_mask for .*Box"),
        ({"at_reset": {"only_action": 0}}, "gives only_action for .*MultiDiscrete"),
        ({"at_reset": {"only_action": 5}, "space": spaces.Discrete(5)}, "only_action is 5, expected one of -1 to 4"),
        ({"at_reset": {"only_action": 1}, "at_step": {}, "space": spaces.Discrete(5)}, "only_action is nan"),
    ],
)
def test_what_cannot_be_is_refused(told, message):
    environments = opened(**told)
    with pytest.raises(WorldError, match=message):
        row = environments.reset()
        action = environments._envs[0].action_space.sample()
        environments.step(np.stack([action, action]))
        assert row is not None


@pytest.mark.parametrize(
    ("space", "told", "everything"),
    [
        (spaces.Discrete(3), {"action_mask": [0, 1, 1]}, [[True, True, True]]),
        (None, {"action_mask": MASKS}, [[True, True], [True, True, True]]),
        (spaces.Discrete(3), {"only_action": 2}, [-1]),
    ],
)
def test_what_is_told_with_steps_alone_holds_from_the_first_of_them(space, told, everything):
    for given in (lambda: Masked({}, told, space), Masked({}, told, space)):
        world = gymnasium(given)
        environments = world.open(1, seed=0)
        rows = [environments.reset()]
        for _ in range(4):
            rows.append(environments.step(np.ones((1, *world.action_space.shape), np.int32)))
        said = [[leaf[0].tolist() for leaf in jax.tree.leaves(row.legal)] for row in rows]
        limited = [np.ravel(part).tolist() for part in (MASKS if space is None else [*told.values()])]
        assert [np.array(x).tolist() for x in said[0]] == everything and said[4] == said[0], "an episode's first row"
        assert all([np.ravel(x).tolist() for x in said[t]] == limited for t in (1, 2))
        environments.close()


def test_what_comes_later_still_is_refused():
    class Late(Masked):
        def step(self, action):
            *outcome, _ = super().step(action)
            return *outcome, {"action_mask": MASKS} if self.t == 2 else {}

    environments = gymnasium(lambda: Late({})).open(2, seed=0)
    environments.reset()
    environments.step(np.zeros((2, 2), np.int32))
    with pytest.raises(
        WorldError, match=r"environment 0 .*step 2: action_mask came first with a step: .*from reset on"
    ):
        environments.step(np.zeros((2, 2), np.int32))


def test_one_action_alone_goes_out_and_comes_back():
    """A prompt, exported and hosted again, is one number a row."""
    world = Tokens(prompts=((3, 5),), vocabulary=8)
    exported = to_gymnasium(world)
    assert exported.reset(seed=0)[1] == {"only_action": 3}
    environments = gymnasium(lambda: to_gymnasium(world)).open(2, seed=0)
    row, seen = environments.reset(), []
    for action in (3, 5, 1):
        assert isinstance(row.legal, Only) and row.legal.action.dtype == np.int32
        seen.append(row.legal.action.tolist())
        row = environments.step(np.full(2, action, np.int32))
    assert seen == [[3, 3], [5, 5], [-1, -1]]


def test_random_actions_are_legal():
    space, grid = spaces.MultiDiscrete([2, 3], seed=0), spaces.MultiDiscrete([[2, 3], [2, 3]], seed=0)
    drawn = np.array([sample(space, MASKS) for _ in range(50)])
    assert set(drawn[:, 0]) == {0} and set(drawn[:, 1]) == {1, 2}
    drawn = np.array([sample(grid, (*MASKS, MASKS[0][::-1], MASKS[1])) for _ in range(50)])
    assert set(drawn[:, 0, 0]) == {0} and set(drawn[:, 1, 0]) == {1} and set(drawn[:, 1, 1]) == {1, 2}
    number = spaces.Discrete(5, start=10, seed=0)
    assert sample(number, Only(np.int32(2))) == 12
    assert len({int(sample(number, Only(np.int32(-1)))) for _ in range(100)}) == 5
