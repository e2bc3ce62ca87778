"""A reward that is learnt from comparisons: what it is asked, what it makes of the answers, what is told of it."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import retorno as rt
from retorno import bellman
from retorno.algorithms import PPO, QLearning
from retorno.cli.train import choose
from retorno.core.counter import Counter
from retorno.core.mdp import MDP, mdp
from retorno.core.spaces import SpaceError
from retorno.core.time_step import TimeStep, Trajectory
from retorno.environments.control.classic import cart_pole
from retorno.environments.own_code import OwnCodeError, run_file
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.networks import GRU, MLP
from retorno.preferences import (
    Compared,
    Disagreement,
    FunctionJudge,
    InformationGain,
    LearntReward,
    People,
    Preferences,
    Random,
    StateEntropy,
    TrueReward,
)
from retorno.preferences.learnt_reward import Centre, Seen, _changes, flat
from retorno.preferences.segments import draw_segments
from retorno.replay import Ring
from retorno.replay.ring import ring as empty_ring
from retorno.run.loop import native_spec
from retorno.run.resume import resume
from retorno.run.train import train
from retorno.run.training import TrainingError

STATES = 5
PAID = [0.0, -1.0, 0.0, 2.0, 1.0]
"""For being on each state of a ring from which it goes on to the left or to the right."""


def merry_go_round() -> MDP:
    return mdp(
        {
            s: {
                name: [(0.9, (s + step) % STATES, PAID[s]), (0.1, s, PAID[s])]
                for name, step in (("left", -1), ("right", 1))
            }
            for s in range(STATES)
        },
        initial={0: 1.0},
    )


def world() -> TimeLimit:
    return TimeLimit(sampled(merry_go_round()), 100)


ALGORITHM = QLearning(num_envs=4, rollout=10)
SMALL: dict[str, Any] = {
    "labels": 40,
    "segment": 5,
    "session": 10,
    "recent": 400,
    "network": MLP((16,)),
    "members": 2,
    "gradient_steps": 100,
    "batch": 32,
}


def small(**changed: Any) -> Preferences:
    return Preferences(**(SMALL | changed))


ALONE: dict[str, Any] = {"members": 1, "gradient_steps": 1}
"""Where what is asked counts and not what is learnt from it: each member has programs of its own."""


def learnt(steps: int = 2_000, judge: Any = TrueReward(mistakes=0), **changed: Any) -> LearntReward:  # noqa: B008
    with train(ALGORITHM, world(), steps, relabel=small(judge=judge, **changed)) as training:
        training.run_to_end()
        relabel = training.relabel
    assert isinstance(relabel, LearntReward)
    return relabel


def everywhere(relabel: LearntReward) -> np.ndarray:
    """What is paid for leaving each state by each action to where it leads mostly, [S, A]."""
    state, action = (x.reshape(-1) for x in np.meshgrid(range(STATES), range(2), indexing="ij"))
    after = (state + np.where(action, 1, -1)) % STATES
    row = lambda obs: TimeStep(  # noqa: E731
        jnp.asarray(obs), jnp.zeros(len(obs)), jnp.ones(len(obs)), jnp.zeros(len(obs), bool), jnp.zeros(len(obs), bool)
    )
    steps = jax.tree.map(lambda *x: jnp.stack(x), row(state), row(after))
    paid = jax.jit(LearntReward.reward)(relabel, Trajectory(steps, jnp.asarray(action)[None], (), ()))
    return np.asarray(paid).reshape(STATES, 2)


RATES = TrueReward(mistakes=0, worst=-1.0, best=2.0)


@pytest.mark.parametrize(("labels", "clips"), [(100, 1), (100, 2), (50, 4)])
def test_what_is_best_by_what_was_learnt_is_best_by_what_the_world_pays(labels: int, clips: int) -> None:
    """From answers that never say a number. The exact optimum of the learnt reward is the model's own."""
    relabel = learnt(labels=labels, clips=clips, session=25, gradient_steps=200, judge=RATES)
    model = merry_go_round()
    if clips == 1:
        assert 0.8 < float(relabel.told.accuracy) <= 1, "of two that were rated otherwise the better one"
    paid = everywhere(relabel)
    assert np.corrcoef(paid.mean(1), PAID)[0, 1] > 0.95
    believed = dataclasses.replace(model, reward=np.repeat(paid.reshape(-1), 2))
    best, thought = (bellman.solve(each, discount=0.9).policy for each in (model, believed))
    assert np.array_equal(best, thought)


def test_labels_are_asked_early_and_then_ever_more_seldom() -> None:
    told, asked = [], []
    made = small(session=1, waiting=0.1, **ALONE)
    with train(ALGORITHM, world(), 2_000, relabel=made) as training:
        training.pauses = range(40, 2_000, 40)
        for report in training:
            told.append(report.step)
            assert isinstance(training.relabel, LearntReward)
            asked.append(int(training.relabel.labelled.count))
    progress = np.array(told) / 2_000
    due = 40 * (0.25 + 0.75 * np.log1p(progress / 0.1) / np.log1p(10))
    assert np.array_equal(asked, np.where(progress < 0.1, 0, np.floor(due + 1e-3)))
    assert asked[-1] == 40


@pytest.fixture(scope="module")
def half() -> LearntReward:
    """Which pays with half the deviation, and before the first label what is new."""
    return learnt(deviation=0.5, pretraining=StateEntropy(among=50))


def test_nothing_is_paid_before_the_first_label_and_then_what_has_the_deviation_that_was_asked_for(
    half: LearntReward,
) -> None:
    fresh = small().build(jax.random.key(0), spec())
    assert not everywhere(fresh).any()
    relabel = half
    held = relabel.labelled.asked
    paid = relabel.normal.scale * jnp.mean(
        (relabel._said(flat(held.obs), flat(held.action)) - relabel.normal.middle) / relabel.normal.deviation, axis=-1
    )
    assert abs(float(paid.mean())) < 0.1 and abs(float(paid.std()) - 0.5) < 0.1


def test_after_the_last_session_a_step_is_paid_the_same() -> None:
    """Whatever is seen since: members read by what observations were like when they learnt."""
    made, waiting = small(labels=20, first=1.0, gradient_steps=5), cart_pole(limit=50, waits=True)
    with train(PPO(num_envs=2, rollout=20), waiting, 400, relabel=made) as training:
        training.run_to_end()
        relabel = training.relabel
    assert isinstance(relabel, LearntReward) and int(relabel.labelled.count) == 20
    lived = relabel.recent.sample(jax.random.key(0), 2).trajectory
    far = lived._replace(steps=lived.steps._replace(obs=100 + 9 * lived.steps.obs))
    after, reward = relabel.learn(far, jax.random.key(1))[0], jax.jit(LearntReward.reward)
    assert float(np.std(reward(relabel, lived))) > 0.01
    assert np.array_equal(reward(relabel, lived), reward(after, lived))


def spec() -> Any:
    return native_spec(world(), Counter.of(1_000), 4)


@pytest.fixture(scope="module")
def asked_again() -> LearntReward:
    """Of a judge who errs in one of five, with some pairs asked again; it pays the median step nothing."""
    again = {"repeats": 0.5, "centre": pickle.loads(pickle.dumps(Centre.median))}  # As seeds in processes are given it.
    return learnt(judge=TrueReward(mistakes=0.2), labels=600, session=100, gradient_steps=1, **again)


def test_members_are_validated_on_what_they_did_not_learn_from(asked_again: LearntReward) -> None:
    """A Poisson number of times: of e labels each member leaves one out, and no two the same ones."""
    held = asked_again.labelled
    assert int(held.count) == 600
    left_out = np.asarray(held.times)[np.asarray(held.again) < 0] == 0
    assert len(left_out) >= 300
    assert np.all(np.abs(left_out.mean(0) - 1 / np.e) < 4 * np.sqrt(0.25 / len(left_out)))
    # Mean and variance of a Poisson number with mean 1 are 1; its square's deviation about the mean is √3.
    drawn = np.asarray(held.times)[np.asarray(held.again) < 0]
    assert np.all(np.abs(drawn.mean(0) - 1) < 4 / np.sqrt(len(drawn)))
    assert np.all(np.abs(((drawn - 1.0) ** 2).mean(0) - 1) < 4 * np.sqrt(3 / len(drawn)))
    assert not np.array_equal(left_out[:, 0], left_out[:, 1])


def test_who_tells_all_apart_that_the_judge_does_is_right_whatever_else_is_alike() -> None:
    judge = TrueReward(mistakes=0, indifference=2.0)
    relabel = learnt(labels=100, session=25, gradient_steps=200, judge=judge)
    alike = np.asarray(relabel.labelled.share[:, 0]) == 0.5
    assert 0.3 < alike.mean() < 0.9
    assert float(relabel.told.accuracy) > 0.9


def test_the_median_step_is_paid_nothing_where_that_is_asked_for(asked_again: LearntReward) -> None:
    held = asked_again.labelled.asked
    said = asked_again._said(flat(held.obs), flat(held.action))
    paid = jnp.mean((said - asked_again.normal.middle) / asked_again.normal.deviation, axis=-1)
    assert abs(float(jnp.median(paid))) < 0.1 < abs(float(paid.mean()))


def test_screens_are_read_as_they_are_and_by_what_comes_and_goes_on_them() -> None:
    """A pixel that is hardly ever lit counts as one that often is."""
    screen = np.zeros((3, 1, 2, 2, 1), bool)
    screen[1, 0, 0, 1] = True
    seen = Seen.start(spaces.Box(0, 1, (2, 2, 1), bool)).updated(jnp.asarray(screen), jnp.ones((2, 1), bool))
    assert np.array_equal(seen.observed(screen[1, 0]), screen[1, 0])
    bits, picture = _changes((jnp.asarray(screen), jnp.asarray(np.uint8(102) * screen)))
    assert bits[:, 0, 0, 1, 0].tolist() == [1, -1]
    np.testing.assert_allclose(picture[:, 0, 0, 1, 0], [0.4, -0.4], rtol=1e-6)


def test_pairs_that_are_asked_again_tell_how_far_a_judge_is_to_be_believed(asked_again: LearntReward) -> None:
    """Who errs in one of five says the same twice in .8² + .2² of them; who learnt from a pair does so again."""
    held = asked_again.labelled
    repeated = np.flatnonzero(np.asarray(held.again) >= 0)
    old = np.asarray(held.again)[repeated]
    assert 200 < len(repeated) < 300 and np.all(old < repeated)
    assert len({*old, *repeated}) == 2 * len(old), "a third time it would be the first query again"
    assert np.array_equal(held.asked.obs[repeated], np.asarray(held.asked.obs)[old][:, ::-1])
    assert np.array_equal(held.times[repeated], np.asarray(held.times)[old])
    ties = np.ptp(np.asarray(held.asked.returns)[repeated], axis=1) == 0
    said = np.asarray(held.share)[:, 0]
    same = (said[repeated] == 1 - said[old])[~ties]
    assert abs(same.mean() - 0.68) < 4 * np.sqrt(0.68 * 0.32 / len(same))
    assert float(asked_again.told.consistency) == pytest.approx(np.mean(said[repeated] == 1 - said[old]))


def test_what_is_asked_is_what_members_do_not_agree_on() -> None:
    """Of four pairs one on which the members differ, and one that all find as likely as not."""
    chance = jnp.array([[0.5, 0.5], [0.1, 0.9], [0.9, 0.9], [0.4, 0.6]])
    for chosen in (Disagreement(), InformationGain()):
        assert np.argsort(-chosen.interest(chance, jax.random.key(0)))[:2].tolist() == [1, 3]
    assert len(set(np.asarray(Random().interest(chance, jax.random.key(0))).tolist())) == 4


def test_before_the_first_label_what_is_new_is_paid_and_then_what_was_said(half: LearntReward) -> None:
    """On a ring of five states all but one are known well: that one is paid most, until somebody has judged."""
    made = small(pretraining=StateEntropy(neighbour=3, among=50), waiting=0.5)
    relabel = made.build(jax.random.key(0), spec())
    assert relabel.novelty is not None
    seen = jax.nn.one_hot(jnp.array([0] * 16 + [1] * 16 + [2] * 16 + [3, 4]), STATES)
    new = dataclasses.replace(relabel, novelty=dataclasses.replace(relabel.novelty, known=seen))
    paid = everywhere(new)
    arrived = {(s + step) % STATES: paid[s, i] for s in range(STATES) for i, step in enumerate((-1, 1))}
    assert arrived == pytest.approx({0: 0, 1: 0, 2: 0, 3: np.log1p(np.sqrt(2)), 4: np.log1p(np.sqrt(2))})
    assert np.array_equal(everywhere(half), everywhere(dataclasses.replace(half, novelty=None)))


def test_segments_lie_within_an_episode() -> None:
    """Those that are drawn are all that there are, found by hand: two environments, one of which has gone round the
    ring, and in which an episode ends here and there.
    """
    row = TimeStep(jnp.int32(0), jnp.float32(0), jnp.float32(1), jnp.array(False), jnp.array(False))
    ring = empty_ring(row, jnp.int32(0), num_envs=2, capacity=20, rollout=10, length=3)
    ends = np.zeros((19, 2), bool)
    ends[8, 0] = ends[[6, 12, 14], 1] = True
    times = jnp.arange(19)[:, None] + 100 * jnp.arange(2)
    steps = TimeStep(times, times * 1.0, jnp.ones((19, 2)), jnp.zeros((19, 2), bool), jnp.asarray(ends))
    for since in (0, 9):
        rows = jax.tree.map(lambda x, since=since: x[since : since + 10], steps)
        ring = jax.jit(Ring.add)(ring, Trajectory(rows, rows.obs[:-1], (), ()))
    pairs = jax.jit(draw_segments, static_argnums=(2, 3))(ring, jax.random.key(0), 500, 2)
    assert pairs.obs.shape == (500, 2, 4) and pairs.action.shape == pairs.reward.shape == (500, 2, 3)
    oldest = 19 - ring.slots
    whole = {100 * env + t for env in range(2) for t in range(oldest, 16) if not ends[t : t + 3, env].any()}
    assert set(np.asarray(pairs.obs[..., 0]).reshape(-1).tolist()) == whole and len(whole) == 11
    assert np.array_equal(pairs.obs[..., :1] + np.arange(4), pairs.obs)
    assert np.array_equal(pairs.returns, (pairs.obs[..., 1:]).sum(-1))


def test_labels_that_cannot_be_asked_yet_are_asked_later() -> None:
    """While episodes are shorter than a segment nothing can be compared, and what is due then is owed."""
    relabel = small(waiting=0.1, recent=80, **ALONE).build(jax.random.key(0), spec())
    learn, asked = jax.jit(lambda relabel, lived, key: relabel.learn(lived, key)), []
    for i in range(12):
        time = 25 * i + np.arange(26)[:, None] + np.zeros(4, int)
        short = (time % 4 == 3) & (time < 100)
        rows = TimeStep(time % STATES, time * 1.0, jnp.ones((26, 4)), jnp.zeros((26, 4), bool), jnp.asarray(short))
        relabel, told = learn(relabel, Trajectory(rows, time[:-1] % 2, (), ()), jax.random.key(i))
        assert np.isfinite(told["labels"]) or i < 4
        asked.append(int(relabel.labelled.count))
    assert asked[3] == 0 < asked[5] and asked[-1] == 40


def test_a_judge_prefers_what_paid_more_and_errs_as_often_as_it_says() -> None:
    reward = jnp.stack([jnp.full((4_000, 2), 1.0), jnp.full((4_000, 2), 0.8)], 1)
    pairs = Compared(jnp.zeros((4_000, 2, 3)), jnp.zeros((4_000, 2, 2)), reward)
    said = TrueReward(mistakes=0.1).answer(pairs, jax.random.key(0))
    assert np.all(np.asarray(said.sum(axis=1)) == 1)
    assert abs(float(said[:, 0].mean()) - 0.9) < 4 * np.sqrt(0.09 / 4_000)
    assert np.all(np.asarray(TrueReward(indifference=0.5).answer(pairs, jax.random.key(0))) == 0.5)


def test_neighbours_in_an_order_change_places_as_often_as_a_judge_errs() -> None:
    """First the two best, then whoever is second now and the last one."""
    reward = jnp.broadcast_to(jnp.array([2.0, 3.0, 1.0])[:, None], (4_000, 3, 1))
    asked = Compared(jnp.zeros((4_000, 3, 2)), jnp.zeros((4_000, 3, 1)), reward)
    assert np.all(np.asarray(TrueReward(mistakes=0).answer(asked, jax.random.key(0))) == [1, 2, 0])
    assert np.all(np.asarray(TrueReward(0, indifference=1).answer(asked, jax.random.key(0))) == [1, 1, 1])
    said = np.asarray(TrueReward(mistakes=0.1).answer(asked, jax.random.key(0)))
    chances = {(1, 2, 0): 0.81, (2, 1, 0): 0.09, (0, 2, 1): 0.09, (2, 0, 1): 0.01}
    found = {order: np.mean(np.all(said == order, axis=1)) for order in chances}
    assert sum(found.values()) == pytest.approx(1)
    assert all(abs(found[x] - p) < 4 * np.sqrt(p * (1 - p) / 4_000) for x, p in chances.items())


def test_a_clip_is_rated_by_what_its_steps_pay_and_by_chance_as_often_as_a_judge_errs() -> None:
    paid = jnp.array([-9.0, -1.0, 0.5, 2.0])[:, None, None] + jnp.array([0.25, -0.25])
    asked = Compared(jnp.zeros((4, 1, 3)), jnp.zeros((4, 1, 2)), paid)
    assert np.asarray(RATES.answer(asked, jax.random.key(0)))[:, 0] == pytest.approx([0, 0, 0.5, 1])
    many = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], (4_000, *x.shape[1:])), asked)
    errs = np.asarray(dataclasses.replace(RATES, mistakes=0.2).answer(many, jax.random.key(0)))[:, 0]
    blind = errs[errs > 0]
    assert abs(len(blind) / 4_000 - 0.2) < 4 * np.sqrt(0.16 / 4_000)
    assert abs(blind.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(blind))


JUDGE = """
import numpy as np
seen = []
def by_rule(first, second):
    seen.append((first, second))
    worth = [np.isin(each["obs"][:-1], (3, 4)).sum() for each in (first, second)]
    return None if worth[0] == worth[1] else float(worth[0] > worth[1])
def broken(first, second):
    return first["nothing"]
def odd(first, second):
    return "left"
def good(clip):
    return clip["obs"].mean() / 4
def several(*segments):
    return [None if each["obs"][0] == 9 else each["obs"].sum() for each in segments]
def few(*segments):
    return [1.0]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "my_judge.py").write_text(JUDGE)
    return tmp_path / "my_judge.py"


def test_a_function_of_ones_own_judges(file: Path) -> None:
    """It likes two neighbouring states, which the world does not pay alike; what it cannot tell is no label."""
    with pytest.warns(UserWarning, match="said 'cannot tell' 20 times in a row"):
        relabel = learnt(judge=FunctionJudge(f"{file}:by_rule"))
    seen = run_file(file).seen
    first, second = seen[0]
    assert first["obs"].shape == (6,) and second["action"].shape == second["reward"].shape == (5,)
    assert [PAID[s] for s in first["obs"][:-1]] == first["reward"].tolist()
    assert len(seen) == 40 and 0 < int(relabel.labelled.count) < 40
    paid = everywhere(relabel).mean(1)
    assert min(paid[3:]) > max(paid[:3])


def test_a_function_says_how_good_each_of_several_is(file: Path) -> None:
    segments = [{"obs": np.array([x, x])} for x in (1, 3, 9, 1)]
    shares = FunctionJudge(f"{file}:several").begin().shares([segments, segments[:3]])
    assert np.array_equal(np.concatenate(shares), [0.5, 2, np.nan, 0.5, 0, 1, np.nan], equal_nan=True)
    wrong = FunctionJudge(f"{file}:few").begin()
    assert np.isinf(wrong.shares([segments])).all()
    assert wrong.trouble is not None and "gave [1.0]: expected 4 numbers, the more the better" in wrong.trouble
    assert FunctionJudge(f"{file}:good").begin().shares([segments[:1]]) == [[0.25]]
    wrong = FunctionJudge(f"{file}:good").begin()
    assert np.isinf(wrong.shares([segments[2:3]])).all()
    assert wrong.trouble is not None and "expected how good it is, from 0 to 1, or None" in wrong.trouble
    with pytest.raises(
        ValueError, match=r"say what the worst and the best pay, as judge=TrueReward\(worst=-8, best=0\)"
    ):
        small(clips=1)
    with pytest.raises(ValueError, match=r"from worst to best, which pays more; got worst 1\.0, best 0\.0"):
        TrueReward(worst=1, best=0)
    with pytest.raises(ValueError, match="one that is rated has no other"):
        small(clips=1, judge=RATES, repeats=0.1)
    with pytest.raises(ValueError, match="at least 2 and at most 9 levels, got 10"):
        small(clips=1, judge=RATES, levels=10)
    with pytest.raises(ValueError, match="at most 9 are compared at once, got 10"):
        small(clips=10, judge=People())


def test_a_judge_that_fails_stops_the_run_with_its_line(file: Path) -> None:
    with pytest.raises(TrainingError, match=r"broken failed: my_judge.py, line 9: KeyError: 'nothing'"):
        learnt(judge=FunctionJudge(f"{file}:broken"), **ALONE)
    segments = [{"obs": np.array([x, x])} for x in (1, 3)]
    odd = FunctionJudge(f"{file}:odd").begin()
    assert np.isinf(odd.shares([segments])).all()
    assert odd.trouble is not None
    assert "odd gave 'left': expected 1 (the first is better), 0, .5 for alike, or None" in odd.trouble


def test_a_judge_is_named_by_place(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ValueError, match=r"FILE.py:NAME or MODULE:NAME, got 'by_rule'"):
        FunctionJudge("by_rule")
    with pytest.raises(OwnCodeError, match=r"math:pi is no function"):
        FunctionJudge("math:pi").begin()
    with pytest.raises(OwnCodeError, match="no file is run because a run's folder names it"):
        FunctionJudge(f"{tmp_path}/elsewhere.py:by_rule").recorded(tmp_path)


def test_segments_that_no_episode_holds_stop_the_run() -> None:
    with pytest.raises(TrainingError, match=r"hardly a segment of 150 steps lies within an episode"):
        learnt(segment=150, steps=4_000, **ALONE)


def test_labels_of_which_some_would_not_be_asked_are_refused() -> None:
    with pytest.raises(ValueError, match=r"50 are not a multiple of it: ask for 40, or take session=10"):
        Preferences(labels=50)


def test_networks_with_a_memory_are_refused() -> None:
    with pytest.raises(SpaceError, match="judges single steps, and GRU remembers earlier ones: take MLP"):
        train(ALGORITHM, world(), 10, relabel=small(network=GRU()))


def test_it_is_gone_on_with_to_the_bit(tmp_path: Path) -> None:
    given: Any = {"relabel": small(gradient_steps=5), "every": 400}
    with train(ALGORITHM, world(), 1_200, folder=tmp_path / "run", **given) as left:
        next(report for report in left if report.step >= 500)
    with resume(tmp_path / "run", world=world()) as again, train(ALGORITHM, world(), 1_200, **given) as whole:
        again.run_to_end()
        whole.run_to_end()
        assert again.digest == whole.digest


def test_it_pays_actions_that_are_numbers_in_a_hosted_world() -> None:
    made = small(labels=10, first=1.0, waiting=0.5, **ALONE)
    algorithm = PPO(network=MLP((8,)), num_envs=2, rollout=32, epochs=1, minibatches=1)
    with train(algorithm, rt.gymnasium("Pendulum-v1"), 256, relabel=made) as training:
        training.run_to_end()
        assert isinstance(training.relabel, LearntReward) and int(training.relabel.labelled.count) == 10


def test_the_command_line_chooses_a_judge() -> None:
    options = ["--relabel.judge", "function_judge", "--relabel.judge.function", "math:hypot", "--relabel.labels", "80"]
    relabel = choose("ppo", "Pendulum-v1", ["--relabel", "preferences", *options])[2]
    assert relabel == Preferences(labels=80, judge=FunctionJudge("math:hypot"))
