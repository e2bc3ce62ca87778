"""Every kind of action is learnt, in whatever units the world has it."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import retorno as rt
from retorno.algorithms.actor_critic.actor_critic import ActorCritic
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.networks import MLP
from retorno.ops.optimisers import Adam


class Target(gym.Env):
    """One step long: the best action pays 0, any other less. Bounds, kind and shape of the action are free."""

    def __init__(self, space, best):
        self.observation_space, self.action_space = spaces.Discrete(1), space
        self.best = np.array(best)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action)), action
        apart = np.abs(np.asarray(action, float) - self.best)
        if isinstance(self.action_space, spaces.Box):
            apart = apart / (self.action_space.high - self.action_space.low)
        return 0, -float(np.mean(apart != 0 if apart.dtype == int else apart)), True, False, {}


KINDS = {
    "around 0": (spaces.Box(-1, 1, (2,)), [0.5, -0.5]),
    "far from 0": (spaces.Box(100, 200, (2,)), [175, 125]),
    "tiny": (spaces.Box(-0.01, 0.01, (2,)), [0.005, -0.005]),
    "one float": (spaces.Box(100, 200, ()), 175),
    "a matrix": (spaces.Box(-1, 1, (2, 2)), [[0.5, -0.5], [0, 0.5]]),
    "bytes": (spaces.Box(0, 255, (2,), np.uint8), [191, 64]),
    "bits": (spaces.MultiBinary((2, 2)), [[1, 0], [0, 1]]),
    "a grid of numbers": (spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[1, 0], [0, 5]]), [[2, 1], [3, 5]]),
    "numbers from elsewhere": (spaces.Discrete(4, start=-2), 1),
}
HEADS = MLP((16,))
PPO = rt.PPO(num_envs=8, rollout=16, epochs=4, minibatches=2, network=HEADS, optimiser=Adam(3e-3))
REINFORCE = rt.REINFORCE(num_envs=8, rollout=16, longest_episode=2, network=HEADS, optimiser=Adam(0.02))
ACTOR_CRITIC = ActorCritic(network=HEADS)


def regret(algorithm, space, best, steps=4000):
    """What is left after training, of the best policy's action."""
    world = gymnasium(lambda: Target(space, best))
    run = rt.train(algorithm, world, steps=steps, seed=0)
    for _ in run:
        pass
    return -rt.evaluate(run.policy, world, 8).mean


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        *((PPO, kind) for kind in ("tiny", "one float", "a matrix", "bytes", "bits")),
        *((REINFORCE, kind) for kind in ("bits", "a grid of numbers", "numbers from elsewhere")),
    ],
)
def test_every_kind_of_action_is_learnt(algorithm, kind):
    """A policy that does not learn is .25 off for Box in the mean, and half of the numbers are wrong."""
    assert regret(algorithm, *KINDS[kind]) < 0.06


class Parts(gym.Env):
    """Takes a Dict and says at once whether it was one. Episodes of three steps."""

    observation_space = spaces.Dict(bits=spaces.MultiBinary(2))
    action_space = spaces.Dict(lever=spaces.Discrete(2, start=1), dial=spaces.Tuple([spaces.Box(100, 200, (1,))]))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3
        return {"bits": np.zeros(2, np.int8)}, {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.left -= 1
        return {"bits": np.ones(2, np.int8)}, float(action["lever"]), self.left == 0, False, {}


@pytest.mark.parametrize("mode", gym.vector.AutoresetMode)
def test_vector_environments_take_parts(mode, tmp_path):
    world = gym.vector.SyncVectorEnv([Parts] * 8, autoreset_mode=mode)
    with rt.train(PPO, world, steps=256, seed=0, folder=tmp_path / "run") as run:
        run.run_to_end()
    # Not refused for being written as MultiBinary(2) where it was MultiBinary((2,)), or the other way round.
    assert 3 <= rt.evaluate(rt.load(tmp_path / "run"), gymnasium(Parts), 8).mean <= 6


def test_bounds_change_nothing():
    """The same task in other units is the same run, to rounding."""
    found = [regret(PPO, *KINDS[kind], steps=512) for kind in ("around 0", "far from 0", "tiny")]
    np.testing.assert_allclose(found, found[0], atol=2e-3)


@pytest.mark.parametrize(
    ("algorithm", "kind"), [(REINFORCE, "a matrix"), (ACTOR_CRITIC, "a matrix"), (ACTOR_CRITIC, "bits")]
)
def test_what_reads_scores_takes_every_kind(algorithm, kind):
    assert np.isfinite(regret(algorithm, *KINDS[kind], steps=100))


def test_what_has_no_bounds_is_said_once_when_a_run_starts():
    space = spaces.Box(-np.inf, np.inf, (1,))
    with pytest.warns(UserWarning, match="no bounds: there policies act in the world's own units"):
        rt.train(PPO, gymnasium(lambda: Target(space, [0])), steps=10).close()
