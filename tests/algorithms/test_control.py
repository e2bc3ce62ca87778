"""Control methods against twins: the same experience, learnt from as the textbooks write it, one step after another.

It is lived in a game of two, whose discounts have either sign.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium import spaces
from turns import in_turn

from retorno.algorithms import (
    SARSA,
    DifferentialSARSA,
    DoubleQLearning,
    ExpectedSARSA,
    MonteCarloControl,
    MonteCarloES,
    NStepSARSA,
    OffPolicyMonteCarlo,
    QLambda,
    QSigma,
    RLearning,
    SARSALambda,
    Trace,
    TreeBackup,
)
from retorno.core.policy import Algorithm
from retorno.core.spaces import SpaceError
from retorno.environments.registry import model as registered
from retorno.environments.registry import native
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.networks import MLP
from retorno.policies import Epsilon
from retorno.run.probe import probe
from retorno.run.train import train

GAMMA, ALPHA, EPSILON = 0.75, 0.25, 0.5
UPDATES = 200
"""One number for all, so that tests of one method share its program."""
SETTINGS: dict[str, Any] = {"discount": GAMMA, "step_size": ALPHA, "exploration": Epsilon(EPSILON)}


def watch(run, trajectory):
    """All that a twin needs, and what was learnt."""
    steps, learner = trajectory.steps, run.learner
    kept = {name: getattr(steps, name)[:, 0] for name in ("obs", "reward", "discount", "first", "last", "legal")}
    more = {name: getattr(learner, name) for name in ("average",) if hasattr(learner, name)}
    twin = {"twin": learner.twin.tables["q"]} if hasattr(learner, "twin") else {}
    return kept | {"action": trajectory.action[:, 0], "q": learner.network.tables["q"]} | more | twin


class Step(NamedTuple):
    """One interaction; a reset where `last`."""

    obs: int
    action: int
    reward: float
    discount: float
    """γ of what comes after."""
    next_obs: int
    last: bool
    """Whether the row acted on was the episode's last: then this is no transition."""
    next_last: bool
    next_action: int
    legal: np.ndarray
    next_legal: np.ndarray


def lived(algorithm: Algorithm, limit: int = 5, two: bool = True) -> tuple[list[Step], dict[str, Any]]:
    """The interactions of one seed on a model with ends and a time limit, and what was watched."""
    model = in_turn(registered("student")) if two else registered("student")
    world = TimeLimit(sampled(model), limit)
    seen = probe(algorithm, world, UPDATES, watch, seeds=(3,))
    seen = {name: x[0] for name, x in seen.items()}
    flat = {
        name: seen[name][:, :-1].reshape(UPDATES * algorithm.rollout, *seen[name].shape[2:])
        for name in ("obs", "last", "legal")
    }
    then = {
        name: seen[name][:, 1:].reshape(UPDATES * algorithm.rollout, *seen[name].shape[2:])
        for name in ("obs", "reward", "discount", "last", "legal")
    }
    action = seen["action"].reshape(-1)
    steps = [
        Step(
            int(flat["obs"][t]),
            int(action[t]),
            float(then["reward"][t]),
            GAMMA * float(then["discount"][t]),
            int(then["obs"][t]),
            bool(flat["last"][t]),
            bool(then["last"][t]),
            int(action[t + 1]) if t + 1 < len(action) else 0,
            flat["legal"][t],
            then["legal"][t],
        )
        for t in range(len(action))
    ]
    assert sum(step.last for step in steps) > 5
    assert any(step.discount < 0 for step in steps) == two
    return steps, seen


def soft(q: np.ndarray, legal: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """ε-greedy probabilities."""
    best = legal & (q == np.where(legal, q, -np.inf).max())
    return (1 - epsilon) * best / best.sum() + epsilon * legal / legal.sum()


def episodes(steps: list[Step]) -> list[list[Step]]:
    """Those that ended, without resets."""
    found: list[list[Step]] = [[]]
    for step in steps:
        if not step.last:
            found[-1].append(step)
            if step.next_last:
                found.append([])
    return found[:-1]


# One step


def test_n_step_methods_of_one_step_are_sarsa_and_expected_sarsa() -> None:
    for one, other in [
        (SARSA(**SETTINGS), NStepSARSA(n=1, **SETTINGS)),
        (ExpectedSARSA(**SETTINGS), TreeBackup(n=1, greedy=False, **SETTINGS)),
    ]:
        (_, a), (_, b) = lived(one), lived(other)
        np.testing.assert_array_equal(a["action"], b["action"])
        np.testing.assert_allclose(a["q"], b["q"], rtol=1e-6, atol=1e-6)


def test_sarsa_lambda_without_traces_is_sarsa() -> None:
    _, plain = lived(SARSA(**SETTINGS))
    for trace in Trace:
        _, traced = lived(SARSALambda(lambda_=0.0, trace=trace, **SETTINGS))
        np.testing.assert_allclose(traced["q"], plain["q"], rtol=1e-5, atol=1e-5)


# n steps


@pytest.mark.parametrize(("sigma", "greedy"), [(1.0, False), (0.0, True), (0.5, False), (0.5, True)])
def test_q_sigma_as_a_sum_of_errors(sigma: float, greedy: bool) -> None:
    """De Asis et al. 2018, eq. 10: G = q(S, A) + Σₖ δₖ Πᵢ γ(σ + (1 − σ)πᵢ); off-policy Sutton & Barto 2018, 7.16."""
    n = 3
    algorithm = QSigma(n=n, sigma=sigma, greedy=greedy, **SETTINGS)
    steps, seen = lived(algorithm)
    q = np.zeros(seen["q"].shape[1:])
    probs = []
    for t in range(UPDATES):
        # What the behaviour thought of its choice, when it chose.
        before = seen["q"][t - 1] if t else np.zeros_like(q)
        probs.append(soft(before[steps[t].obs], steps[t].legal)[steps[t].action])
        start = t - n
        if start >= 0 and not steps[start].last:
            total, trace = 0.0, 1.0
            for k in range(start, t):
                step = steps[k]
                next_q = q[step.next_obs]
                policy = soft(next_q, step.next_legal, 0.0 if greedy else EPSILON)
                value, taken = policy @ next_q, next_q[step.next_action]
                sampled = value if greedy else taken
                error = step.reward + step.discount * (sigma * sampled + (1 - sigma) * value)
                total += trace * (error - q[step.obs, step.action])
                if step.next_last:
                    break
                chance = policy[step.next_action]
                behaviour = probs[k + 1] if k + 1 < len(probs) else 1.0
                ratio = chance / behaviour if greedy else 1.0
                trace *= step.discount * (sigma * ratio + (1 - sigma) * chance)
            q[steps[start].obs, steps[start].action] += ALPHA * total
        np.testing.assert_allclose(seen["q"][t], q, rtol=1e-4, atol=1e-4)


# Traces


def lambda_return(steps: list[Step], q: list[np.ndarray], t: int, horizon: int, lambda_: float) -> float:
    """Gᵗ:ʰ of actions, from n-step returns; `q[i]` are the values that were held when row i was chosen on."""

    def n_step(n: int) -> float:
        total, discount = 0.0, 1.0
        for k in range(t, t + n):
            total += discount * steps[k].reward
            discount *= steps[k].discount
        last = steps[t + n - 1]
        return total + discount * q[t + n - 1][last.next_obs, last.next_action]

    longest = horizon - t
    mixed = sum((1 - lambda_) * lambda_ ** (n - 1) * n_step(n) for n in range(1, longest))
    return mixed + lambda_ ** (longest - 1) * n_step(longest)


def test_dutch_traces_are_the_online_lambda_return_algorithm() -> None:
    """All updates of an episode done again for each further row. Sutton & Barto 2018, section 12.4."""
    lambda_ = 0.8
    steps, seen = lived(SARSALambda(lambda_=lambda_, trace=Trace.dutch, **SETTINGS))
    q, position = np.zeros(seen["q"].shape[1:]), 0
    for episode in episodes(steps)[:-1]:
        held, first = [], q
        for horizon in range(1, len(episode) + 1):
            held.append(q)
            q = first.copy()
            for t in range(horizon):
                step = episode[t]
                target = lambda_return(episode, held, t, horizon, lambda_)
                q[step.obs, step.action] += ALPHA * (target - q[step.obs, step.action])
            position += 1
            np.testing.assert_allclose(seen["q"][position], q, rtol=1e-3, atol=1e-3)
        position += 1  # The reset.


@pytest.mark.parametrize(
    ("kind", "trace"),
    [
        (SARSALambda, Trace.accumulating),
        (SARSALambda, Trace.replacing),
        (SARSALambda, Trace.clearing),
        (QLambda, Trace.replacing),
        pytest.param(QLambda, Trace.accumulating, marks=pytest.mark.only_all),
        pytest.param(QLambda, Trace.clearing, marks=pytest.mark.only_all),
    ],
)
def test_traces_as_the_book_writes_them(kind: type, trace: Trace) -> None:
    """Sutton & Barto 1998, figures 7.11, 7.14 and 7.17."""
    lambda_ = 0.8
    algorithm = kind(lambda_=lambda_, trace=trace, **SETTINGS)
    steps, seen = lived(algorithm)
    q = np.zeros(seen["q"].shape[1:])
    z = np.zeros_like(q)
    for t, step in enumerate(steps[:-1]):
        if step.last:
            z[:] = 0
        else:
            next_q = q[step.next_obs]
            best = np.where(step.next_legal, next_q, -np.inf).max()
            error = step.reward + step.discount * (best if algorithm.greedy else next_q[step.next_action])
            error -= q[step.obs, step.action]
            if trace is Trace.clearing:
                z[step.obs] = 0
            z[step.obs, step.action] = 1 + (z[step.obs, step.action] if trace is Trace.accumulating else 0)
            followed = not algorithm.greedy or next_q[step.next_action] == best
            q = q + ALPHA * error * z
            z *= step.discount * lambda_ * followed
        np.testing.assert_allclose(seen["q"][t + 1], q, rtol=1e-4, atol=1e-4)


# Whole episodes


def tail(episode: list[Step], q: np.ndarray, greedy: bool) -> float:
    """What stands behind an episode's end: nothing, or at a time limit the present estimate."""
    end = episode[-1]
    policy = soft(q[end.next_obs], end.next_legal, 0.0 if greedy else EPSILON)
    return float(policy @ q[end.next_obs]) if end.discount else 0.0


@pytest.mark.parametrize("first_visit", [True, False])
def test_monte_carlo_is_the_mean_of_returns(first_visit: bool) -> None:
    algorithm = MonteCarloControl(
        rollout=1, longest_episode=8, first_visit=first_visit, discount=GAMMA, exploration=Epsilon(EPSILON)
    )
    steps, seen = lived(algorithm)
    q, count = np.zeros(seen["q"].shape[1:]), np.zeros(seen["q"].shape[1:])
    ends = [t for t, step in enumerate(steps) if step.next_last]
    for end, episode in zip(ends, episodes(steps), strict=True):
        value, returns = tail(episode, q, greedy=False), []
        for step in reversed(episode):
            value = step.reward + step.discount * value
            returns.insert(0, value)
        seen_pairs = set()
        for step, value in zip(episode, returns, strict=True):
            pair = (step.obs, step.action)
            if first_visit and pair in seen_pairs:
                continue
            seen_pairs.add(pair)
            count[pair] += 1
            q[pair] += (value - q[pair]) / count[pair]
        np.testing.assert_allclose(seen["q"][end], q, rtol=1e-4, atol=1e-4)


def test_off_policy_monte_carlo_weighs_returns() -> None:
    """Sutton & Barto 2018, section 5.7."""
    algorithm = OffPolicyMonteCarlo(rollout=1, longest_episode=8, discount=GAMMA, exploration=Epsilon(EPSILON))
    steps, seen = lived(algorithm)
    q, total = np.zeros(seen["q"].shape[1:]), np.zeros(seen["q"].shape[1:])
    ends = [t for t, step in enumerate(steps) if step.next_last]
    for end, episode in zip(ends, episodes(steps), strict=True):
        behaviour = q.copy()
        value, weight = tail(episode, q, greedy=True), 1.0
        for step in reversed(episode):
            pair = (step.obs, step.action)
            value = step.reward + step.discount * value
            total[pair] += weight
            q[pair] += weight / total[pair] * (value - q[pair])
            if np.where(step.legal, q[step.obs], -np.inf).argmax() != step.action:
                break
            weight /= soft(behaviour[step.obs], step.legal)[step.action]
        np.testing.assert_allclose(seen["q"][end], q, rtol=1e-4, atol=1e-4)


def test_exploring_starts_take_any_action_first_and_the_best_ones_then() -> None:
    steps, seen = lived(MonteCarloES(rollout=8, longest_episode=8, discount=GAMMA))
    held = np.repeat(np.concatenate([np.zeros_like(seen["q"][:1]), seen["q"][:-1]]), 8, axis=0)
    begins = [True, *(step.last for step in steps[:-1])]
    best = [step.action in np.flatnonzero(soft(held[t][step.obs], step.legal, 0.0)) for t, step in enumerate(steps)]
    later = [good for good, begin, step in zip(best, begins, steps, strict=True) if not begin and not step.last]
    first = [step for begin, step in zip(begins, steps, strict=True) if begin]
    assert all(later) and len(later) > 100
    counts = [sum(step.action == a for step in first) for a in np.flatnonzero(first[0].legal)]
    assert min(counts) > 0.5 * len(first) / len(counts) - 2 * np.sqrt(len(first))


# Two tables, and no discount


def test_double_q_learning_judges_with_the_other_table() -> None:
    steps, seen = lived(DoubleQLearning(**SETTINGS))
    tables = np.stack([seen["q"], seen["twin"]], 1).astype(float)
    before, turns = np.zeros_like(tables[0]), []
    for step, after in zip(steps, tables, strict=True):
        changed = np.abs(after - before).reshape(2, -1).max(1) > 0
        assert not changed.all()
        expected = []
        for i in range(2):
            choice = np.where(step.next_legal, before[i][step.next_obs], -np.inf).argmax()
            target = step.reward + step.discount * before[1 - i][step.next_obs, choice]
            learnt = before.copy()
            learnt[i, step.obs, step.action] += ALPHA * (target - before[i, step.obs, step.action])
            expected.append(before if step.last else learnt)
        near = [np.allclose(after, each, atol=1e-5) for each in expected]
        assert any(near)
        turns += [near.index(True)] if changed.any() else []
        before = after
    # Both learn, each about half of the time: five standard deviations.
    assert abs(np.mean(turns) - 0.5) < 2.5 / np.sqrt(len(turns))


@pytest.mark.parametrize("kind", [DifferentialSARSA, RLearning])
def test_differential_values_as_the_book_writes_them(kind: type) -> None:
    settings = {name: value for name, value in SETTINGS.items() if name != "discount"}
    algorithm = kind(average_step_size=0.125, **settings)
    steps, seen = lived(algorithm, two=False)
    q, average = np.zeros(seen["q"].shape[1:]), 0.0
    for t, step in enumerate(steps[:-1]):
        if not step.last:
            best = np.where(step.next_legal, q[step.next_obs], -np.inf).max()
            value = best if algorithm.greedy else q[step.next_obs, step.next_action]
            error = step.reward - average + step.discount / GAMMA * value - q[step.obs, step.action]
            followed = q[step.obs, step.action] == np.where(step.legal, q[step.obs], -np.inf).max()
            if followed or not algorithm.greedy:
                average += 0.125 * error
            q[step.obs, step.action] += ALPHA * error
        np.testing.assert_allclose(seen["q"][t + 1], q, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(seen["average"][t + 1], average, rtol=1e-4, atol=1e-4)


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QSigma(n=0), "n must be at least 1"),
        (lambda: QSigma(sigma=1.5), "sigma must be in"),
        (lambda: SARSALambda(lambda_=-0.1), "lambda_ must be in"),
        (lambda: SARSALambda(step_size=-1.0), "step_size must be"),
        (lambda: OffPolicyMonteCarlo(step_size=float("nan")), "step_size must be"),
        (lambda: DifferentialSARSA(average_step_size=float("inf")), "step_size must be"),
    ],
)
def test_settings_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        (SARSA(), "discretise"),
        (MonteCarloControl(network=MLP((4,))), "first_visit=False"),
        (OffPolicyMonteCarlo(network=MLP((4,))), "tree backup"),
    ],
)
def test_continuous_observations_given_to_what_counts(algorithm: Algorithm, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        train(algorithm, native("CartPole-v1"), 100)


def test_every_visit_takes_any_observation() -> None:
    algorithm = MonteCarloControl(network=MLP((4,)), first_visit=False, step_size=1e-3, rollout=16, longest_episode=16)
    assert isinstance(native("CartPole-v1").observation_space, spaces.Box)
    train(algorithm, native("CartPole-v1"), 64).run_to_end()
