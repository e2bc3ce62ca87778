"""What an environment that lives in Python promises by its spaces is looked at."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from retorno.core.errors import WorldError
from retorno.environments.hosted.gymnasium import gymnasium


class Says(gym.Env):
    """Returns what it is made to return."""

    def __init__(self, space, good, reset=None, step=None):
        self.observation_space, self.action_space = space, spaces.Discrete(2)
        self.good, self.begun, self.outcome = good, reset, step

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return (self.good, {}) if self.begun is None else self.begun

    def step(self, action):
        return (self.good, 0.0, False, False, {}) if self.outcome is None else self.outcome


NUMBERS, PIXELS = spaces.MultiDiscrete([3, 4]), spaces.Box(0, 255, (2,), np.uint8)
UNIT, BITS = spaces.Box(0, 1, (2,)), spaces.MultiBinary(2)
NESTED = spaces.Dict(a=spaces.Tuple([UNIT, spaces.Discrete(3)]))


@pytest.mark.parametrize(
    ("space", "good", "bad"),
    [
        (NUMBERS, np.array([2, 3]), np.array([3, 0])),
        (NUMBERS, [2, 3], [2, -1]),
        (PIXELS, np.array([0, 255], np.uint8), np.array([300, 0])),
        (PIXELS, [0, 255], [0, -1]),
        (spaces.Discrete(3, start=1), 3, 0),
        (spaces.Discrete(3), np.int64(2), 1.9),
        (BITS, np.array([0, 1], np.int8), np.array([0, 2], np.int8)),
        (UNIT, np.array([0, 1.00001]), np.array([0, 1.5])),
        (UNIT, [0, 1], [0, np.nan]),
        (UNIT, np.zeros(2, np.float32), np.zeros((2, 1), np.float32)),
        (NESTED, {"a": (np.zeros(2), 2)}, {"a": (np.zeros(2), 3)}),
        (NESTED, {"a": (np.zeros(2), 2)}, {"a": (np.array([-0.5, 0]), 2)}),
        (NESTED, {"a": (np.zeros(2), 2)}, {"a": (np.zeros(2), 2), "more": 1}),
        (NESTED, {"a": (np.zeros(2), 2)}, {"a": (np.zeros(2), 2, 2)}),
        (NESTED, {"a": (np.zeros(2), 2)}, {"a": (np.zeros(2),)}),
        (UNIT, np.array([0, 1.0], object), np.array(["0", "1"])),
        (UNIT, [0, 1], [0, 1j]),
        (spaces.Box(-np.inf, np.inf, (1,), np.float64), np.array([1e30]), np.array([1e300])),
        (spaces.Box(0, 2**40, (1,), np.int64), np.array([2**30]), np.array([2**33 + 5])),
        (spaces.Box(0, 2**64 - 1, (1,), np.uint64), np.array([2**31], np.uint64), np.array([2**40], np.uint64)),
        (spaces.Discrete(2**40), 2**30, 2**33 + 1),
    ],
)
def test_an_observation_outside_of_its_space(space, good, bad):
    environments = gymnasium(lambda: Says(space, good)).open(2, seed=0)
    environments.reset()
    environments.step(np.zeros(2, np.int32))
    for fault in ({"reset": (bad, {})}, {"step": (bad, 0.0, False, False, {})}):
        makers = gymnasium(lambda fault=fault: Says(space, good, **fault)).open(2, seed=0)
        with pytest.raises(WorldError, match=r"environment 0 \(.*\), episode 0, step [01]: returned"):
            makers.reset()
            makers.step(np.zeros(2, np.int32))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"reset": 1}, r"reset returned 1, expected \(observation, info\)"),
        ({"reset": (1, 2)}, r"reset returned \(1, 2\), expected \(observation, info\)"),
        ({"step": (1, 0.0, False, {})}, "step returned 4 things, expected observation, reward, terminated"),
        ({"step": None or 7}, "step returned 7, expected"),
        ({"step": (1, 0.0, None, False, {})}, "terminated=None, expected True or False"),
        ({"step": (1, 0.0, False, "no", {})}, "truncated='no', expected True or False"),
        ({"step": (1, None, False, False, {})}, "reward None, expected a finite number"),
        ({"step": (1, np.nan, False, False, {})}, "reward nan, expected a finite number"),
        ({"step": (1, 1e300, False, False, {})}, r"reward 1e\+300, expected a finite number, in 32 bits"),
        ({"step": (1, np.zeros(2), False, False, {})}, r"reward array\(\[0., 0.\]\), expected a finite number"),
        ({"step": (1, np.ones(1), False, False, {})}, r"in an array of shape \[1\], return reward.item\(\)"),
        ({"step": (1, "1", False, False, {})}, "reward '1', expected a finite number"),
        ({"step": (1, 0.0, np.array([True, False]), False, {})}, "terminated=array.*, expected True or False"),
        ({"step": (1, 0.0, False, float("nan"), {})}, "truncated=nan, expected True or False"),
        ({"step": (1, 0.0, False, False, None)}, "info=None, expected a dictionary"),
        ({"step": (1, 0.0, False, False, [("a", 1)])}, "info=.*, expected a dictionary"),
        ({"reset": np.array([1, 2])}, r"reset returned array\(\[1, 2\]\), expected \(observation, info\)"),
        ({"reset": (1, None)}, r"reset returned \(1, None\), expected \(observation, info\)"),
        ({"step": (1 + 0.9, 0.0, False, False, {})}, r"observation 1.9, expected an element of Discrete\(3\)"),
        ({"step": (np.array([1]), 0.0, False, False, {})}, r"an observation of shape \(1,\)"),
        ({"step": (np.nan, 0.0, False, False, {})}, "nan, expected an element"),
        ({"step": ("one", 0.0, False, False, {})}, "'one', expected an element of"),
        ({"step": (None, 0.0, False, False, {})}, "None, expected an element of"),
    ],
)
def test_what_is_returned_besides(fault, message):
    environments = gymnasium(lambda: Says(spaces.Discrete(3), 1, **fault)).open(2, seed=0)
    with pytest.raises(WorldError, match=rf"environment 0 .*{message}"):
        environments.reset()
        environments.step(np.zeros(2, np.int32))


@pytest.mark.parametrize("flag", [np.True_, 1, np.array([True]), np.array(True)], ids=repr)
def test_what_is_as_good_as_yes(flag):
    environments = gymnasium(lambda: Says(spaces.Discrete(3), 1, step=(1, 0.0, flag, np.False_, {}))).open(2, seed=0)
    environments.reset()
    row = environments.step(np.zeros(2, np.int32))
    assert row.last.tolist() == [True, True] and row.discount.tolist() == [0, 0]
