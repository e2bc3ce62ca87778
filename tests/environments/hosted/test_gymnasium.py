"""The adapter both ways: rows by hand, every autoreset mode, exact restores, bad environments, and the export."""

import contextlib
import gc
import json
import os
import time
import warnings
from functools import partial

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

import retorno as rt
from retorno.core.environment import Environment, advance, begin, episode_seed
from retorno.core.errors import WorldError
from retorno.core.spaces import SpaceError
from retorno.core.time_step import restart, transition
from retorno.environments.control import classic
from retorno.environments.hosted import sync_environments
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.text.recall import Recall
from retorno.environments.text.tokens import Tokens
from retorno.environments.wrappers import Hidden, TimeLimit


class Counter(gym.Env):
    """Observes (seed, steps since reset, noise); one more than the action is the reward, plus noise."""

    def __init__(self, length=3, terminates=True, start=0):
        self.length, self.terminates = length, terminates
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = spaces.Discrete(3, start=start)

    def observe(self):
        return np.array([self.seed, self.t, self.np_random.normal()])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.t = (seed or 0) % 1000, 0
        return self.observe(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        over = self.t >= self.length
        reward = float(action) + 1 + 0.01 * self.np_random.normal()
        return self.observe(), reward, over and self.terminates, over and not self.terminates, {}


class Overwriting(Counter):
    """A counter whose observations, rewards and masks are one array each, written over in each step."""

    def __init__(self, length=3):
        super().__init__(length)
        self.seen, self.paid, self.mask = np.zeros(3), np.zeros(()), np.ones(3, np.int8)

    def observe(self):
        self.seen[:] = super().observe()
        return self.seen

    def told(self):
        self.mask[:] = np.arange(3) != self.t % 3
        return {"action_mask": self.mask}

    def reset(self, **options):
        return super().reset(**options)[0], self.told()

    def step(self, action):
        obs, self.paid[...], terminated, truncated, _ = super().step(action)
        return obs, self.paid, terminated, truncated, self.told()


class Skip(gym.Wrapper):
    """Each action is taken twice, as in somebody's own Atari wrapper."""

    def step(self, action):
        total = 0.0
        for _ in range(2):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info


def wrapped(make=Overwriting):
    """What people wrap their environments in."""
    return gym.wrappers.TimeLimit(Skip(gym.wrappers.RecordEpisodeStatistics(make(length=9))), 3)


class Walker(gym.Env):
    """Ends by chance, takes Box actions, and observes a Dict with a Tuple inside."""

    observation_space = spaces.Dict(
        {
            "place": spaces.Box(-100, 100, (2,), np.float64),
            "pair": spaces.Tuple((spaces.Discrete(4, start=2), spaces.MultiDiscrete([3, 3]))),
        }
    )
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def observe(self):
        return {
            "place": self.place.copy(),
            "pair": (int(self.np_random.integers(2, 6)), self.np_random.integers(0, 3, 2)),
        }

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.normal(size=2)
        return self.observe(), {}

    def step(self, action):
        self.place += action
        action *= 0  # An environment may do that to what it is given.
        chance = self.np_random.random()
        return self.observe(), float(self.place[0]), chance < 0.15, chance > 0.85, {}


def acts(world, rng, steps, num_envs):
    """Actions [T, B, ...] that count from 0."""
    space = world.action_space
    if isinstance(space, spaces.Discrete):
        return rng.integers(0, space.n, (steps, num_envs)).astype(np.int32)
    return rng.uniform(-1, 1, (steps, num_envs, *space.shape)).astype(np.float32)


def live(environments, actions):
    """Rows [T, B] after each of the actions."""
    return stack([environments.step(action) for action in actions])


def stack(rows):
    return jax.tree.map(lambda *x: np.stack(x), *rows)


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


# Rows


@pytest.mark.parametrize("terminates", [True, False])
def test_rows_by_hand(terminates):
    environments = gymnasium(Counter, terminates=terminates).open(2, seed=5)
    first = environments.reset()
    assert first.obs.dtype == np.float32 and first.reward.dtype == np.float32 and first.first.all()
    rows = live(environments, np.tile(np.array([[0, 2]], np.int32), (8, 1)))
    np.testing.assert_array_equal(rows.obs[:, 0, 1], [1, 2, 3, 0, 1, 2, 3, 0])
    np.testing.assert_array_equal(rows.last[:, 0], [0, 0, 1, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(rows.first[:, 0], [0, 0, 0, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(rows.discount[:, 1], 1 - rows.last[:, 1] * terminates)
    # Actions count from 0, the environment's from 1; resets earn nothing.
    np.testing.assert_array_equal(rows.reward.round(), np.where(rows.first, 0, [[1, 3]]))
    # Each episode is seeded by itself.
    seeds = [[episode_seed(5, env, episode) % 1000 for env in range(2)] for episode in range(3)]
    np.testing.assert_array_equal(first.obs[:, 0], seeds[0])
    np.testing.assert_array_equal(rows.obs[3, :, 0], seeds[1])
    np.testing.assert_array_equal(rows.obs[7, :, 0], seeds[2])
    assert rows.legal is None
    environments.close()


@pytest.mark.parametrize("parallel", [False, True])
def test_arrays_that_an_environment_writes_over_are_copied(parallel):
    actions = np.tile(np.array([[0, 2]], np.int32), (8, 1))
    theirs, ours = gymnasium(Counter).open(2, seed=5), gymnasium(Overwriting, parallel=parallel).open(2, seed=5)
    expected, found = (stack([each.reset(), *live_rows(each, actions)]) for each in (theirs, ours))
    same(expected, found._replace(legal=None))
    np.testing.assert_array_equal(found.legal, np.arange(3) != found.obs[..., 1:2] % 3)
    theirs.close()
    ours.close()


def test_what_people_wrap_their_environments_in():
    environments = gymnasium(wrapped).open(2, seed=5)
    rows = stack([environments.reset(), *live_rows(environments, np.zeros((7, 2), np.int32))])
    np.testing.assert_array_equal(rows.obs[:, 0, 1], [0, 2, 4, 6, 0, 2, 4, 6])  # Two steps in one.
    np.testing.assert_array_equal(rows.last[:, 0], [0, 0, 0, 1, 0, 0, 0, 1])
    assert (rows.discount == 1).all()  # Cut by the limit, three of nine steps done.
    np.testing.assert_array_equal(rows.reward.round(), np.where(rows.first, 0, 2))
    environments.close()


class Judging(Counter):
    """Says with each step whether it is a success so far, which the noise tells; where that is large nothing."""

    def step(self, action):
        obs, *rest, info = super().step(action)
        info = {**info, "noise": obs[2:3]}
        return obs, *rest, info | ({"is_success": np.bool_(obs[2] > 0)} if abs(obs[2]) < 1 else {})


@pytest.mark.parametrize("open_as", ["sync", "processes", *AutoresetMode])
def test_successes_and_what_is_asked_are_read_where_an_episode_ends(open_as):
    if isinstance(open_as, AutoresetMode):
        # A class of its own is driven through its step.
        own = type("Own", (SyncVectorEnv,), {})([Judging] * 2, autoreset_mode=open_as)
        world = gymnasium(own, info_keywords=["noise"])
    else:
        world = gymnasium(Judging, parallel=open_as == "processes", info_keywords=["noise"])
    environments, told, count = world.open(2, seed=5), 0, 0
    environments.reset()
    for _ in range(20):
        row = environments.step(np.zeros(2, np.int32))
        for i in np.flatnonzero(row.last):
            noise = row.obs[i, 2]
            known = abs(noise) < 1
            np.testing.assert_equal(environments.endings.newest[0, i], float(noise > 0) if known else np.nan)
            assert np.float32(environments.endings.newest[1, i]) == noise
            told, count = told + known, count + (known and noise > 0)
    ended = environments.endings
    assert (ended.told[0], ended.total[0]) == (told, count) and ended.told[1] > told > count > 0
    environments.close()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("noize", "has no 'noize', which is asked for as one of info_keywords: it has noise, word"),
        ("word", r"info\['word'\] is 'yes', expected one finite number"),
    ],
)
def test_what_is_asked_and_is_no_number_is_told(name, told):
    class Wordy(Counter):
        def step(self, action):
            return *super().step(action)[:4], {"noise": 1, "word": "yes"}

    environments = gymnasium(Wordy, length=1, info_keywords=name).open(1, seed=0)
    environments.reset()
    with pytest.raises(WorldError, match=told):
        environments.step(np.zeros(1, np.int32))


def test_a_success_is_yes_or_no():
    class Unsure(Counter):
        def step(self, action):
            return *super().step(action)[:4], {"is_success": "perhaps"}

    environments = gymnasium(Unsure, length=1).open(1, seed=0)
    environments.reset()
    with pytest.raises(WorldError, match="is_success is 'perhaps', expected True or False"):
        environments.step(np.zeros(1, np.int32))


def test_reset_returns_to_the_first_rows():
    environments = gymnasium(Counter).open(2, seed=1)
    first = environments.reset()
    live(environments, np.zeros((5, 2), np.int32))
    same(environments.reset(), first)


def test_nested_observations_and_their_types():
    environments = gymnasium(Walker).open(3, seed=0)
    row = environments.reset()
    assert row.obs["place"].shape == (3, 2) and row.obs["place"].dtype == np.float32
    number, digits = row.obs["pair"]
    assert number.dtype == np.int32 and digits.dtype == np.int32 and digits.shape == (3, 2)


def test_masks_come_along():
    environments = gymnasium("Taxi-v4", max_episode_steps=4).open(2, seed=0)
    row, rng = environments.reset(), np.random.default_rng(0)
    for _ in range(12):
        assert row.legal.shape == (2, 6) and row.legal.dtype == bool
        masks = [env.unwrapped.action_mask(int(s)) for env, s in zip(environments._envs, row.obs, strict=True)]
        np.testing.assert_array_equal(row.legal, np.array(masks, bool))
        row = environments.step(np.array([rng.choice(np.flatnonzero(legal)) for legal in row.legal], np.int32))


def test_a_description_is_hashable_and_json():
    world = gymnasium("CartPole-v1", num_envs=4, max_episode_steps=50)
    assert world == gymnasium("CartPole-v1", 4, max_episode_steps=50) and len({world, world}) == 1
    assert json.loads(json.dumps(vars(world))) == {
        "source": "CartPole-v1",
        "num_envs": 4,
        "parallel": False,
        "native": False,
        "kwargs": {"max_episode_steps": 50},
        "wrappers": [],
        "info_keywords": [],
    }
    assert world.observation_space == gym.spec("CartPole-v1").make().observation_space
    assert world.restorable and world.name == "CartPole-v1"
    with pytest.raises(WorldError, match="has 4 environments, 8 were asked for"):
        world.open(8, 0)


# Vector environments


@pytest.mark.parametrize("mode", AutoresetMode)
def test_sync_vectors_give_exact_rows_in_every_mode(mode):
    world = gymnasium(SyncVectorEnv([partial(Counter, length) for length in (2, 3)], autoreset_mode=mode))
    assert world.num_envs == 2 and not world.parallel and world.restorable
    environments = world.open(2, seed=0)
    environments.reset()
    rows = live(environments, np.ones((7, 2), np.int32))
    np.testing.assert_array_equal(rows.obs[:, :, 1].T, [[1, 2, 0, 1, 2, 0, 1], [1, 2, 3, 0, 1, 2, 3]])
    np.testing.assert_array_equal(rows.last.T, [[0, 1, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 1]])
    np.testing.assert_array_equal(rows.first[1:], rows.last[:-1])
    environments.close()


@pytest.mark.parametrize("mode", AutoresetMode)
def test_async_vectors_are_taken_over_as_processes(mode):
    """The processes' rows equal those of the plain loop (see the tests of restoring)."""
    makers = [partial(Counter, length) for length in (2, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # AsyncVectorEnv forks, which JAX warns of; ours do not.
        made = AsyncVectorEnv(makers, autoreset_mode=mode)
    world = gymnasium(made)
    made.close()
    assert world.parallel and world.restorable and world.num_envs == 2 and world.source == tuple(makers)


class CounterVector(VectorEnv):
    """Two environments that count their steps; they end after 2 and 3, the second by a limit.

    Only the action (count mod 2) is legal.
    """

    def __init__(self, mode):
        self.num_envs, self.metadata = 2, {"autoreset_mode": mode}
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self.mode, self.length = mode, np.array([2, 3])
        self.episode = np.zeros(2, int)
        self.buffer = np.zeros((2, 1), np.float32)

    def tell(self):
        self.buffer[:] = self.t[:, None] + 10 * self.episode[:, None]
        return self.buffer

    def info(self):
        return {"action_mask": np.eye(2, dtype=np.int8)[self.t % 2]}

    def begin(self, which):
        self.t[which] = 0
        self.episode[which] += 1
        self.over[which] = False

    def reset(self, *, seed=None, options=None):
        if options is None:
            self.t, self.over = np.zeros(2, int), np.zeros(2, bool)
        mask = (options or {}).get("reset_mask", np.ones(2, bool))
        self.begin(mask)
        obs, info = self.tell(), self.info()
        # Nothing is promised of the others.
        obs[~mask], info["action_mask"][~mask] = -7, 0
        return obs, info

    def step(self, actions):
        reset = self.over & (self.mode is AutoresetMode.NEXT_STEP)
        assert not (self.over & ~reset).any(), "stepped after an end"
        assert (actions == self.t % 2)[~reset].all(), "an illegal action"
        self.t += 1
        self.begin(reset)
        self.over = self.t >= self.length
        over, info = self.over.copy(), {}
        if self.mode is AutoresetMode.SAME_STEP and over.any():
            info["final_obs"] = np.full(2, None, object)
            for i in np.flatnonzero(over):
                info["final_obs"][i] = self.tell()[i].copy()
            self.begin(over)
        return self.tell(), np.ones(2), over & [True, False], over & [False, True], {**info, **self.info()}


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    [
        (AutoresetMode.NEXT_STEP, [10, 11, 12, 20, 21, 22, 30], [10, 11, 12, 13, 20, 21, 22]),
        # A reset more for each end: every other count of tens is of an episode that was thrown away.
        (AutoresetMode.DISABLED, [10, 11, 12, 30, 31, 32, 50], [10, 11, 12, 13, 30, 31, 32]),
        # Rows after an end begin one step late.
        (AutoresetMode.SAME_STEP, [10, 11, 12, 21, 22, 31, 32], [10, 11, 12, 13, 21, 22, 23]),
    ],
)
def test_native_vectors_in_every_mode(mode, first, second):
    world = gymnasium(CounterVector(mode))
    assert not world.restorable and "vector environment" in world.why_not_resumable
    environments = world.open(2, seed=0)
    rows = [environments.reset()]
    for _ in range(6):
        rows.append(environments.step(rows[-1].legal.argmax(1).astype(np.int32)))
    rows = stack(rows)
    np.testing.assert_array_equal(rows.obs[:, :, 0].T, [first, second])
    counts = rows.obs[:, :, 0].astype(int) % 10
    np.testing.assert_array_equal(rows.last, counts == [2, 3])
    np.testing.assert_array_equal(rows.discount, 1 - rows.last * np.array([1, 0]))
    np.testing.assert_array_equal(rows.first[0], [1, 1])
    np.testing.assert_array_equal(rows.first[1:], rows.last[:-1])
    np.testing.assert_array_equal(rows.reward, ~rows.first)
    np.testing.assert_array_equal(rows.legal, np.eye(2, dtype=bool)[counts % 2] | rows.last[:, :, None])
    with pytest.raises(WorldError, match="cannot be resumed exactly"):
        environments.snapshot()


def test_an_ids_own_vector_environment():
    world = gymnasium("CartPole-v1", native=True)
    environments = world.open(3, seed=0)
    rows = stack([environments.reset(), *live_rows(environments, np.ones((25, 3), np.int32))])
    assert rows.obs.shape == (26, 3, 4) and rows.last.any()
    np.testing.assert_array_equal(rows.first[1:], rows.last[:-1])
    # Pushed right for ever the pole falls: rows that follow an end are upright again.
    assert (abs(rows.obs[rows.first]) < 0.05).all() and (abs(rows.obs[rows.last][:, 2]) > 0.2).all()
    with pytest.raises(WorldError, match="no vector environment of its own"):
        gymnasium("Pendulum-v1", native=True)


def live_rows(environments, actions):
    return [environments.step(action) for action in actions]


# Restoring


@pytest.mark.parametrize("make", [Counter, Walker, wrapped, partial(gym.make, "CartPole-v1", max_episode_steps=13)])
def test_restores_bit_for_bit_at_every_cut(make):
    world, rng = gymnasium(make), np.random.default_rng(0)
    actions = acts(world, rng, 40, 3)
    whole, again = world.open(3, seed=9), world.open(3, seed=9)
    rows, snapshots = [whole.reset()], [whole.snapshot()]
    for action in actions:
        rows.append(whole.step(action))
        snapshots.append(whole.snapshot())
    cuts = [0, *(t for t in range(41) if rows[t].last.any() or rows[t].first.any())]
    assert any(rows[t].last.any() for t in cuts) and len(cuts) > 5
    for cut in cuts:
        again.restore(snapshots[cut])
        same(stack([again.snapshot()]), stack([snapshots[cut]]))
        for t in range(cut, min(cut + 6, 40)):
            same(again.step(actions[t]), rows[t + 1])


def test_parallel_equals_serial_and_restores():
    rng = np.random.default_rng(1)
    serial, parallel = gymnasium(Walker).open(3, seed=2), gymnasium(Walker, parallel=True).open(3, seed=2)
    actions = acts(gymnasium(Walker), rng, 30, 3)
    same(parallel.reset(), serial.reset())
    rows = live_rows(parallel, actions)
    same(stack(rows), live(serial, actions))
    # Back by way of the other's snapshot, at a row where some environment waits for its reset.
    cut = next(t for t in range(10, 30) if rows[t].last.any() and not rows[t].last.all())
    serial.reset()
    live(serial, actions[: cut + 1])
    snapshot = serial.snapshot()
    parallel.restore(snapshot)
    same(parallel.snapshot(), snapshot)
    same(stack(live_rows(parallel, actions[cut + 1 :])), stack(rows[cut + 1 :]))
    # A worker that dies is an error that says so, not a hang.
    parallel._processes[0].kill()
    with pytest.raises(WorldError, match="the process of environments 0 to"):
        live_rows(parallel, actions)
    parallel.close()
    assert all(process.poll() is not None for process in parallel._processes)
    with pytest.raises(WorldError, match="closed"):
        parallel.step(actions[0])


class Broken(Counter):
    """Does what `fault` returns instead of a step, at the second step of the second episode."""

    def __init__(self, fault=None, at_reset=None):
        super().__init__(length=3)
        self.fault, self.at_reset, self.episodes = fault, at_reset, 0

    def reset(self, **kwargs):
        self.episodes += 1
        obs, info = super().reset(**kwargs)
        return (self.at_reset(obs), info) if self.at_reset else (obs, info)

    def step(self, action):
        outcome = super().step(action)
        return self.fault(*outcome) if self.fault and self.episodes == 2 and self.t == 2 else outcome


def explode(*outcome):
    raise RuntimeError("the motor burned out")


BURNED = explode.__code__.co_firstlineno + 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (explode, rf"step raised RuntimeError: the motor burned out \(test_gymnasium.py, line {BURNED}\)"),
        (lambda obs, r, te, tr, i: (obs * np.nan, r, te, tr, i), "an observation that is not finite"),
        (lambda obs, r, te, tr, i: (obs, np.inf, te, tr, i), "reward inf, expected a finite number"),
        (lambda obs, r, te, tr, i: (obs, None, te, tr, i), "reward None, expected a finite number"),
        (lambda obs, r, te, tr, i: (obs, np.ones(1), te, tr, i), "expected a finite number"),
        (lambda obs, r, te, tr, i: (obs[:2], r, te, tr, i), r"shape \(2,\), expected \(3,\)"),
        (lambda obs, r, te, tr, i: (None, r, te, tr, i), "expected"),
        (lambda obs, r, te, tr, i: (obs, r, te, i), "step returned 4 things, expected observation, reward"),
    ],
)
def test_a_fault_is_told_with_environment_episode_and_step(fault, told):
    makers = [Counter, partial(Broken, fault), Counter]
    world = gymnasium(SyncVectorEnv(makers))
    environments = world.open(3, seed=0)
    environments.reset()
    with pytest.raises(WorldError, match=rf"environment 1 \(.*\), episode 1, step 2: .*{told}"):
        live(environments, np.zeros((8, 3), np.int32))


def test_a_fault_in_a_process_is_told_alike_and_none_is_left_behind():
    environments = gymnasium(partial(Broken, explode), parallel=True).open(2, seed=0)
    numbers = [process.pid for process in environments._processes]
    environments.reset()
    with pytest.raises(WorldError, match=r"environment 0 .*, episode 1, step 2: step raised RuntimeError: the motor"):
        live(environments, np.zeros((8, 2), np.int32))
    # Dropped without `close`, it takes its processes along.
    del environments
    gc.collect()  # The error's traceback holds them as well.
    for number in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_faults_at_reset_and_out_of_range():
    with pytest.raises(WorldError, match=r"environment 0 .*, episode 0, step 0: .*shape \(6,\), expected \(3,\)"):
        gymnasium(partial(Broken, None, lambda obs: np.tile(obs, 2))).open(2, 0).reset()

    class Outside(gym.Env):
        observation_space, action_space = spaces.Discrete(4), spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return 4, {}

    with pytest.raises(WorldError, match=r"observation 4, expected an element of Discrete\(4\)"):
        gymnasium(Outside).open(1, 0).reset()


def test_an_environment_that_ignores_its_seed_is_not_restored_in_silence():
    class Unseeded(Counter):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=None if self.t else seed)

        t = 0

    environments = gymnasium(Unseeded).open(2, seed=0)
    environments.reset()
    live(environments, np.zeros((2, 2), np.int32))
    snapshot = environments.snapshot()
    with pytest.raises(WorldError, match=r"does not follow reset\(seed="):
        environments.restore(snapshot)


def test_long_episodes_outgrow_the_log():
    """One environment never ends, the other often does: after thousands of steps both come back exactly."""
    makers = [partial(Counter, 10**9), partial(Counter, 7)]
    world = gymnasium(SyncVectorEnv(makers))
    environments, again = world.open(2, seed=0), world.open(2, seed=0)
    environments.reset()
    actions = acts(world, np.random.default_rng(0), 2 * sync_environments.LOG + 10, 2)
    live(environments, actions)
    snapshot = environments.snapshot()
    assert snapshot["age"][0] == len(actions) and snapshot["age"][1] < 7
    again.restore(snapshot)
    same(live(again, actions[:9]), live(environments, actions[:9]))
    # Of short episodes alone the log keeps its size, and what is gone from it is not missed.
    world = gymnasium(partial(Counter, 7))
    short, again = world.open(1, seed=0), world.open(1, seed=0)
    short.reset()
    live(short, actions[: sync_environments.LOG + 3, :1])  # Three steps into an episode that began as the log was full.
    assert len(short._log) == sync_environments.LOG
    again.restore(short.snapshot())
    same(live(again, actions[:9, :1]), live(short, actions[:9, :1]))


# What is given


def test_unknown_ids_have_near_names():
    with pytest.raises(WorldError, match=r"no Gymnasium environment 'CartPoel-v1': did you mean CartPole"):
        gymnasium("CartPoel-v1")
    with pytest.raises(WorldError, match="LunarLander-v3"):
        gymnasium("LunarLander-v99")
    with pytest.raises(WorldError, match=r"lists all"):
        gymnasium("Qqqqqqqq")
    with pytest.raises(WorldError, match=r"module nowhere, which cannot be imported"):
        gymnasium("nowhere:Env-v0")


def test_missing_packages_and_wrong_arguments():
    def lacking():
        raise gym.error.DependencyNotInstalled('pip install "gymnasium[box2d]"')

    with pytest.raises(WorldError, match=r"needs a package that is missing: pip install .retorno\[box2d\]"):
        _ = gymnasium(lacking).observation_space
    with pytest.raises(WorldError, match=r"could not be made with colour='red'"):
        gymnasium("CartPole-v1", colour="red").open(1, 0)
    with pytest.raises(WorldError, match="takes no arguments"):
        gymnasium(Counter(), length=3)
    with pytest.raises(WorldError, match="is expected, got 3"):
        gymnasium(3)
    with pytest.raises(WorldError, match="need the same"):
        sync_environments.Keepers([Counter(), Counter(start=1)], [0, 1], 0, "counters")


def test_spaces_that_cannot_be_taken():
    class Speaker(Counter):
        def __init__(self):
            super().__init__()
            self.action_space = spaces.Text(5)

    with pytest.raises(SpaceError, match="no policy can choose in Text"):
        rt.train(rt.PPO(num_envs=1), Speaker, steps=1000)


def test_what_was_lent_to_a_run_that_is_refused_is_free_again():
    env, kept = Counter(), []
    for _ in range(2):
        with pytest.raises(ValueError) as refused:
            rt.train(rt.PPO(num_envs=1, rollout=7, minibatches=2), env, steps=7)
        kept.append(refused)  # As a notebook keeps the last one, and with it all that it had opened.
        assert "minibatches" in str(refused.value)


def test_what_is_open_is_lent_to_one_at_a_time():
    env = Counter()
    world = gymnasium(env)
    assert world.num_envs == 1
    held = world.open(1, 0)
    with pytest.raises(WorldError, match="in use already"):
        world.open(1, 0)
    held.close()
    world.open(1, 0).reset()


# The export

NATIVE = {
    "CartPole": classic.CartPole(),
    "CartPole-v1": classic.cart_pole(),
    "MountainCar-v0": classic.mountain_car(),
    "MountainCarContinuous-v0": classic.mountain_car_continuous(),
    "Acrobot-v1": classic.acrobot(),
    "Pendulum-v1": classic.pendulum(),
    "veiled": Hidden(classic.cart_pole(), keep=(0, 2)),
    "recall": Recall(delay=2),
    "tokens": Tokens(prompts=((2, 2, 3),)),
}


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.filterwarnings("ignore:.*A Box (action|observation) space", "ignore:.*For Box action spaces")
@pytest.mark.filterwarnings("ignore:.*Not able to test alternative render modes")
def test_the_export_passes_gymnasiums_check(name):
    drawn = name not in ("recall", "tokens")
    check_env(to_gymnasium(NATIVE[name], render_mode="rgb_array" if drawn else None))
    if not drawn:
        with pytest.raises(ValueError, match="render_mode"):
            to_gymnasium(NATIVE[name], render_mode="rgb_array")


class Drift(Environment):
    """A place that moves at random, so that every step's key tells."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, key):
        place = jax.random.normal(key, (1,))
        return place, restart(place)

    def step(self, state, action, key):
        place = state + action + jax.random.normal(key, (1,))
        return place, transition(place, place[0], terminated=place[0] > 4)


@pytest.mark.parametrize("name", ["recall", "tokens", "drift", "limited"])
def test_the_export_lives_the_native_episodes(name):
    """Hosted over the export, a world lives exactly the episodes that the native collector lives."""
    world = {**NATIVE, "drift": TimeLimit(Drift(), 12), "limited": TimeLimit(classic.CartPole(), 9)}[name]
    steps, num_envs, seed = 60, 3, 11
    rng = np.random.default_rng(0)
    actions = rng.integers(0, world.action_space.n, (steps, num_envs)).astype(np.int32)
    numbers = jnp.arange(num_envs, dtype=jnp.uint32)

    @jax.jit
    def native(actions):
        def body(carry, action):
            after = jax.vmap(lambda e, r, a, n: advance(world, e, r, a, jnp.uint32(seed), n))(*carry, action, numbers)
            return after, after[1]

        start = jax.vmap(lambda n: begin(world, jnp.uint32(seed), n))(numbers)
        return start[1], jax.lax.scan(body, start, actions)[1]

    first, rows = native(actions)
    environments = gymnasium(lambda: to_gymnasium(world)).open(num_envs, seed)
    hosted_first, hosted_rows = environments.reset(), live(environments, actions)
    for ours, theirs in [(first, hosted_first), (rows, hosted_rows)]:
        for field in ("first", "last", "discount", "legal"):
            np.testing.assert_array_equal(getattr(theirs, field), getattr(ours, field), err_msg=field)
        np.testing.assert_allclose(theirs.obs, ours.obs, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(theirs.reward, ours.reward, rtol=1e-5, atol=1e-6)
    assert rows.last.sum() > 5


def test_the_export_draws_its_own_seeds():
    env = to_gymnasium(Recall())
    env.reset(seed=0)
    cues = {int(env.reset()[0]) for _ in range(40)}
    assert cues == {0, 1, 2, 3}
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        to_gymnasium(Recall()).step(0)


class Waiting(Counter):
    """Waits as for a simulator elsewhere."""

    def step(self, action):
        time.sleep(0.3)
        return super().step(action)


@pytest.mark.parametrize("processes", [1, 3])
def test_as_many_processes_as_asked_for(processes: int) -> None:
    """Environments that wait do so together, in as many processes as there are to be, whatever the number of cores."""
    environments = gymnasium(Waiting, parallel=processes).open(4, seed=2)
    with contextlib.closing(environments):
        assert len(environments._processes) == processes and environments.reset().last.shape == (4,)
        began = time.perf_counter()
        environments.step(np.zeros(4, np.int32))
        assert (time.perf_counter() - began < 1.1) == (processes == 3), "two wait one after the other, or all four"
