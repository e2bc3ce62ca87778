"""Hindsight: exchanged goals by hand, then against a list of everything that was lived."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.core.time_step import TimeStep, Trajectory, blank
from retorno.replay import Goals, Hindsight, HindsightReplay, Proportional, ReplayConfig, Sparse, UniformReplay, ring

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
    replay = config.over(ring(example, jnp.int32(0), extras={}, **sizes))
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
