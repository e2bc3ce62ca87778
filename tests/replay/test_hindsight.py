"""Hindsight: exchanged goals by hand, then against a list of everything that was lived."""

import functools
import warnings
from dataclasses import replace
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import DQN
from retorno.core.hyperparameters import hyperparameters
from retorno.core.time_step import TimeStep, Trajectory, blank
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.textbook.bit_flip import BitFlip
from retorno.networks import Table
from retorno.ops.optimisers import SGD
from retorno.replay import Goals, Hindsight, HindsightReplay, Proportional, ReplayConfig, Sparse, UniformReplay, ring
from retorno.replay.goals import ACHIEVED, DESIRED, OBSERVATION
from retorno.run.train import train

ENDS = (3, 5, 12, 14, 20, 31, 33, 40)
"""Rows that end an episode of the first environment; those of the second end one row later."""
NUM_ENVS, ROLLOUT, LENGTH, CONTEXT, CAPACITY = 2, 3, 3, 2, 24
SLOTS = CAPACITY // NUM_ENVS + LENGTH + CONTEXT
WANTED = -1.0
"""The goal that is lived with. It is reached on the rows that end an episode, whatever is achieved there."""
EXACT = Sparse(tolerance=0.0, terminates=True)

add, sample = jax.jit(HindsightReplay.add), jax.jit(HindsightReplay.sample, static_argnums=2)


def rows(start: int, length: int) -> TimeStep:
    """Rows numbered 1000 · env + t; their numbers are what is achieved, but for some ends that achieve the goal."""
    t = np.arange(start, start + length)[:, None] - np.arange(NUM_ENVS)
    last = np.isin(t, ENDS)
    number = (t + 1001 * np.arange(NUM_ENVS)).astype(np.float32)
    reached = last & (t % 2 == 0)
    obs = {
        "observation": jnp.asarray(number)[..., None],
        "achieved_goal": jnp.asarray(np.where(reached, WANTED, number))[..., None],
        "desired_goal": jnp.full((*t.shape, 1), WANTED),
    }
    first = np.isin(t - 1, ENDS) | (np.arange(start, start + length)[:, None] == 0)
    reward, discount = jnp.asarray(reached - 1.0, jnp.float32), jnp.asarray(1.0 - reached, jnp.float32)
    return TimeStep(obs, reward, discount, jnp.asarray(first), jnp.asarray(last))


@functools.cache
def lived(goals: Goals, rounds: int, drawn: type[ReplayConfig] = UniformReplay) -> HindsightReplay:
    config = Hindsight(goals, share=1.0, reward=EXACT, replay=drawn())
    example = blank(jax.tree.map(lambda x: x[0, 0], rows(0, 1)))
    sizes = {"num_envs": NUM_ENVS, "capacity": CAPACITY, "rollout": ROLLOUT, "length": LENGTH, "context": CONTEXT}
    replay = jax.jit(lambda: config.over(ring(example, jnp.int32(0), extras={}, **sizes)))()
    for i in range(rounds):
        steps = rows(i * ROLLOUT, ROLLOUT + 1)
        replay = add(replay, Trajectory(steps, jnp.zeros((ROLLOUT, NUM_ENVS), jnp.int32), {}, ()))
    return replay


@functools.cache
def everything(total: int) -> TimeStep:
    """All rows lived, in NumPy."""
    return jax.tree.map(np.asarray, rows(0, total + 1))


@functools.cache
def episode(number: int, total: int) -> range:
    """The rows lived of the episode that a row belongs to."""
    env, t = divmod(number, 1000)
    whole = everything(total)
    begins, ends = np.flatnonzero(whole.first[:, env]), np.flatnonzero(whole.last[:, env])
    begin = begins[begins <= t].max()
    end = min([*ends[ends >= t], total])
    return range(1000 * env + begin, 1000 * env + end + 1)


@pytest.mark.parametrize("rounds", [3, 12, 15])
@pytest.mark.parametrize("goals", Goals)
def test_goals_are_those_achieved_in_the_same_episode(goals: Goals, rounds: int) -> None:
    """All that a choice of goals may lend come, and no others; what belongs to another episode stays as it was."""
    total = ROLLOUT * rounds
    whole = everything(total)
    window = sample(lived(goals, rounds), jax.random.key(rounds), 3000)
    number = np.concatenate([window.before.obs["observation"], window.trajectory.steps.obs["observation"]])[..., 0]
    shown = jax.tree.map(lambda *x: np.concatenate(x), window.before, window.trajectory.steps)
    newest_filled = max(0, total - min(total, SLOTS - 1 - CONTEXT))
    lent: dict[int, set[float]] = {}
    for start, wanted in zip(number[CONTEXT], shown.obs["desired_goal"][CONTEXT, :, 0], strict=True):
        lent.setdefault(int(start), set()).add(float(wanted))
    for start, wanted in lent.items():
        own = episode(start, total)
        ahead = range(start + 1, own.stop)
        stored = range(max(own.start, start // 1000 * 1000 + newest_filled), own.stop)
        lenders = {Goals.future: ahead, Goals.final: own[-1:], Goals.episode: stored}[goals] if ahead else ()
        achieved = {float(whole.obs["achieved_goal"][i % 1000, i // 1000, 0]) for i in lenders}
        assert wanted == (achieved or {WANTED}), (start, wanted)
    for n in range(100):
        own, goal = episode(int(number[CONTEXT, n]), total), shown.obs["desired_goal"][CONTEXT, n, 0]
        for k in range(CONTEXT + LENGTH + 1):
            env, t = divmod(int(number[CONTEXT, n]) + k - CONTEXT, 1000)
            if t > 900:
                continue  # before a run's first row nothing was lived
            assert number[k, n] == 1000 * env + t
            row = jax.tree.map(lambda x, env=env, t=t: x[t, env], whole)
            exchanged = int(number[k, n]) in own and len(range(int(number[CONTEXT, n]) + 1, own.stop)) > 0
            wanted = goal if exchanged else WANTED
            there = not row.first and float(row.obs["achieved_goal"][0]) == wanted
            assert shown.obs["desired_goal"][k, n, 0] == wanted
            assert shown.discount[k, n] == (0 if there else 1)
            assert shown.last[k, n] == (row.last or there)
            assert row.first or shown.reward[k, n] == (0 if there else -1)


def test_an_exchanged_goal_by_hand() -> None:
    """Rows 15 … 20 are an episode that reached its goal at its end; here row 16 is wanted in its place."""
    replay = lived(Goals.future, 12)
    row = jax.tree.map(lambda x: x[20, 0], rows(0, 37))
    assert (float(row.reward), float(row.discount), bool(row.last)) == (0, 0, True)
    there = jax.tree.map(lambda x: x[16, 0], rows(0, 37))
    begin = jax.tree.map(lambda x: x[15, 0], rows(0, 37))
    goal = there.obs["achieved_goal"]
    told = [replay._with_goal(r, goal) for r in (begin, there, row)]
    assert [float(r.reward) for r in told] == [-1, 0, -1]
    assert [float(r.discount) for r in told] == [1, 0, 1]
    assert [bool(r.last) for r in told] == [False, True, True]  # where its own goal ended it, it is cut
    assert [float(r.obs["desired_goal"][0]) for r in told] == [16, 16, 16]
    # An episode that begins where it should end is not over before a step.
    assert float(replay._with_goal(begin, begin.obs["achieved_goal"]).discount) == 1


def test_the_share_of_exchanged_goals() -> None:
    """As it is said, and of those whose first row ends an episode none."""
    replay = lived(Goals.future, 12)
    window = sample(HindsightReplay(**{**vars(replay), "share": jnp.float32(0.5)}), jax.random.key(0), 8000)
    kept = np.asarray(window.trajectory.steps.obs["desired_goal"][0, :, 0]) == WANTED
    leads = np.asarray(window.trajectory.transitions[0])
    raw = sample(HindsightReplay(**{**vars(replay), "share": jnp.float32(0)}), jax.random.key(0), 8000)
    ends = np.asarray(raw.trajectory.steps.last[0])
    assert kept[ends].all() and leads[~ends].mean() > 0.9
    assert abs(kept[~ends].mean() - 0.5) < 0.03  # 3.9 standard errors, and ends that achieve the goal lend it


def test_priorities_are_those_of_what_draws() -> None:
    replay = lived(Goals.future, 12, Proportional)
    index = replay.ring.newest_window[None]
    replay = jax.jit(HindsightReplay.update)(replay, index, jnp.array([1e6]))
    assert (np.asarray(sample(replay, jax.random.key(0), 50).index) == int(index[0])).mean() > 0.9


def test_a_run_gone_on_with_elsewhere_begins_another_episode() -> None:
    """Where the row that was awaited is not the one that comes, no goal is lent across."""
    replay = lived(Goals.final, 3)  # row 9 is in mid-episode
    steps = rows(0, ROLLOUT + 1)
    steps = steps._replace(first=steps.first.at[0].set(True))
    replay = add(replay, Trajectory(steps, jnp.zeros((ROLLOUT, NUM_ENVS), jnp.int32), {}, ()))
    assert int(replay.episode[9, 0]) == int(replay.episode[8, 0]) + 1


@pytest.mark.parametrize(
    ("obs", "extras", "says"),
    [
        (jnp.zeros(2), {}, "got one without parts"),
        ({"observation": jnp.zeros(2), "goal": jnp.zeros(2)}, {}, r"got Dict\(goal, observation\)"),
        ({"achieved_goal": jnp.zeros(2), "desired_goal": jnp.zeros(3)}, {}, "must have one shape"),
        ({"achieved_goal": jnp.zeros(2), "desired_goal": jnp.zeros(2)}, {"carry": jnp.zeros(1)}, "stored_carry=False"),
    ],
)
def test_what_has_no_goals_to_exchange_is_refused(obs, extras, says) -> None:
    row = blank(TimeStep(obs, jnp.float32(0), jnp.float32(0), jnp.array(False), jnp.array(False)))
    with pytest.raises(ValueError, match=says):
        Hindsight().over(ring(row, jnp.int32(0), num_envs=1, capacity=4, rollout=1, extras=extras))


@hyperparameters
class Spread:
    """Compares goals part by part, and forgets to say whether all are there."""

    terminates: bool = False

    def reward(self, achieved: Any, desired: Any) -> Any:
        return (achieved == desired) - 1.0

    def terminated(self, achieved: Any, desired: Any) -> Any:
        return achieved == desired if self.terminates else jnp.array(False)


def test_a_reward_that_says_more_than_one_number_is_refused() -> None:
    obs = {"achieved_goal": jnp.zeros(2), "desired_goal": jnp.zeros(2)}
    row = blank(TimeStep(obs, jnp.float32(0), jnp.float32(0), jnp.array(False), jnp.array(False)))
    empty = ring(row, jnp.int32(0), num_envs=1, capacity=4, rollout=1, extras={})
    with pytest.raises(ValueError, match=r"Spread is asked about one goal \[2\].*got float32 \[2\] and bool \[\]"):
        Hindsight(reward=Spread()).over(empty)
    with pytest.raises(ValueError, match=r"got float32 \[2\] and bool \[2\]"):
        Hindsight(reward=Spread(terminates=True)).over(empty)


class Corridor(gym.Env):
    """A goal environment as Gymnasium-Robotics has them: cells in a row, one of which is wanted."""

    CELLS = 7
    observation_space = spaces.Dict({part: spaces.Discrete(7) for part in (OBSERVATION, ACHIEVED, DESIRED)})
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.goal, self.age = self.CELLS // 2, int(self.np_random.integers(self.CELLS)), 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place, self.age = min(max(self.place + 2 * int(action) - 1, 0), self.CELLS - 1), self.age + 1
        return self._seen(), self.compute_reward(self.place, self.goal), self.place == self.goal, self.age == 8, {}

    def compute_reward(self, achieved: Any, desired: Any) -> Any:
        return np.where(achieved == desired, 0.0, -1.0)[()]

    def _seen(self) -> dict[str, Any]:
        return {OBSERVATION: self.place, ACHIEVED: self.place, DESIRED: self.goal}


@pytest.mark.parametrize(("missed", "seed"), [(-1.0, 0), (-2.0, 0), (-2.0, (0, 1))])
def test_a_reward_that_is_not_the_worlds_is_told(missed: float, seed: Any) -> None:
    hindsight = Hindsight(reward=Sparse(tolerance=0.0, terminates=True, missed=missed))
    algorithm = DQN(network=Table(), capacity=64, replay=hindsight, learning_starts=32, num_envs=2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with train(algorithm, BitFlip(2), 40, seed=seed) as training:
            training.run_to_end()
    said = [str(each.message) for each in told if "hindsight's reward" in str(each.message)]
    assert len(said) == (missed != -1)
    assert all("says -2 where the world paid -1" in each for each in said)


def test_a_hosted_goal_environment_is_learnt_by_what_was_reached() -> None:
    """Goals that were never wanted in an episode, as its rewards would have been; and the way to every one."""
    hindsight = Hindsight(reward=Sparse(tolerance=0.0, terminates=True))
    algorithm = DQN(network=Table(), optimiser=SGD(16.0), capacity=2000, replay=hindsight, epsilon_end=0.3)
    world = gymnasium(Corridor)
    with train(replace(algorithm, num_envs=2, learning_starts=50, target_period=20), world, 2000, seed=0) as training:
        training.run_to_end()
    replay = training.run.learner.replay
    window = jax.jit(lambda key: replay.sample(key, 2000))(jax.random.key(0))
    rows, lived = jax.tree.map(np.asarray, (window.trajectory.steps, replay.ring.steps))
    raw = lived.obs[DESIRED].reshape(-1)[np.asarray(window.index)]
    assert 0.1 < (rows.obs[DESIRED][0] != raw).mean() < 0.8, "the way to a goal lends that very goal too"
    paid = Corridor().compute_reward(rows.obs[ACHIEVED], rows.obs[DESIRED])
    np.testing.assert_array_equal(rows.reward[~rows.first], paid[~rows.first])
    assert (rows.discount[~rows.first] == (paid[~rows.first] < 0)).all()
    choose = jax.jit(lambda obs: training.policy.step(obs, jnp.array(False), ())[0]["policy"].mode())
    env = Corridor()
    for goal in range(env.CELLS):
        obs, _ = env.reset(seed=0)
        env.goal, ended = goal, env.place == goal
        while not ended and env.age < 8:
            obs, _, ended, *_ = env.step(choose({**obs, DESIRED: goal}))
        assert ended, goal
