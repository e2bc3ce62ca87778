"""Prediction methods against twins: the same experience, learnt from as the textbooks write it.

It is lived in a game of two, whose discounts have either sign.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
from turns import in_turn

from retorno.algorithms import (
    GTD2,
    LSTD,
    TD,
    TDC,
    BatchMonteCarlo,
    BatchTD,
    EmphaticTD,
    LambdaReturn,
    MonteCarloPrediction,
    TDLambda,
    Trace,
    TrueOnlineTD,
    Weighing,
)
from retorno.core.mdp import mdp
from retorno.core.spaces import SpaceError
from retorno.environments.registry import model, native
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.figures.chapter_11 import expected_emphasis, expected_sweeps
from retorno.networks import MLP, TileCoding
from retorno.policies import Tabulated, Uniform
from retorno.run.prediction import prediction, predicts
from retorno.run.probe import probe
from retorno.run.train import train

GAMMA, ALPHA, LAMBDA = 0.75, 0.25, 0.5
TARGET = Tabulated(((0.4, 0.3, 0.2, 0.1),))
ON: dict[str, Any] = {"discount": GAMMA, "target": TARGET}
OFF: dict[str, Any] = ON | {"behaviour": Uniform()}
UPDATES = 120


def watch(run, trajectory):
    """All that a twin needs, and what was learnt."""
    steps = trajectory.steps
    kept = {name: getattr(steps, name)[:, 0] for name in ("obs", "reward", "discount", "first", "last")}
    return kept | {"action": trajectory.action[:, 0], "value": run.learner.network.tables["value"][:, 0]}


def lived(algorithm: Any) -> tuple[list[list[tuple[int, float, float, float, int]]], np.ndarray]:
    """Whole episodes of (state, ρ, reward, γ of what comes after, next state), and the table after every update."""
    world = TimeLimit(sampled(in_turn(model("garnet"))), 7)
    seen = probe(algorithm, world, UPDATES // algorithm.rollout, watch, seeds=[3])
    obs, reward, discount, last, action = (
        np.concatenate([seen[name][0, 0, :1], seen[name][0, :, 1:].reshape(-1)])
        if name != "action"
        else seen[name][0].reshape(-1)
        for name in ("obs", "reward", "discount", "last", "action")
    )
    ratios = np.array(TARGET.probabilities[0]) / 0.25 if getattr(algorithm, "behaviour", None) else np.ones(4)
    episodes: list[list[Any]] = [[]]
    for t in range(len(action)):
        if last[t]:
            episodes.append([])
        else:
            gamma = GAMMA * discount[t + 1]
            episodes[-1].append((obs[t], ratios[action[t]], reward[t + 1], gamma, obs[t + 1]))
    return episodes, seen["value"][0]


def close(learnt: np.ndarray, twin: np.ndarray) -> None:
    assert np.abs(twin).max() > 0.05
    np.testing.assert_allclose(learnt, twin, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("settings", [ON, OFF], ids=["on", "off"])
def test_td(settings: dict[str, Any]) -> None:
    episodes, learnt = lived(TD(**settings, step_size=ALPHA))
    v = np.zeros(20)
    for s, rho, r, gamma, after in chain.from_iterable(episodes):
        v[s] += ALPHA * rho * (r + gamma * v[after] - v[s])
    close(learnt[-1], v)


def test_n_step_td_off_policy() -> None:
    n = 3
    episodes, learnt = lived(TD(**OFF, step_size=ALPHA, n=n))
    v, rows = np.zeros(20), []
    for episode in episodes:
        for t in range(len(episode)):
            rows.append((episode, t))
    lags = [v.copy()]
    for episode, t in rows:
        window = episode[t : t + n]
        target = v[window[-1][4]]
        for _, _, r, gamma, _ in reversed(window):
            target = r + gamma * target
        v[episode[t][0]] += ALPHA * np.prod([x[1] for x in window]) * (target - v[episode[t][0]])
        lags.append(v.copy())
    # It learns n − 1 interactions late: what it knows at the end is among the twin's last tables.
    assert min(np.abs(learnt[-1] - lag).max() for lag in lags[-2 * n :]) < 1e-4


@pytest.mark.parametrize("trace", [Trace.accumulating, Trace.replacing, Trace.dutch])
def test_td_lambda(trace: Trace) -> None:
    episodes, learnt = lived(TDLambda(**ON, step_size=ALPHA, lambda_=LAMBDA, trace=trace))
    v = np.zeros(20)
    for episode in episodes:
        z, old, decay = np.zeros(20), 0.0, 0.0
        for i, (s, _, r, gamma, after) in enumerate(episode):
            x = np.eye(20)[s]
            z = decay * z
            if trace is Trace.accumulating:
                z = z + x
            elif trace is Trace.replacing:
                z[s] = 1
            else:
                z = z + (1 - ALPHA * z[s]) * x
            now, then = v[s], v[after]
            delta = r + gamma * then - now
            v = v + ALPHA * delta * z
            if trace is Trace.dutch and i:
                v = v + ALPHA * (now - old) * (z - x)
            old, decay = then, gamma * LAMBDA
    close(learnt[-1], v)


def test_true_online_td_has_dutch_traces() -> None:
    assert TrueOnlineTD().trace is Trace.dutch


def test_emphatic_td() -> None:
    episodes, learnt = lived(EmphaticTD(**OFF, step_size=0.1, lambda_=LAMBDA))
    v = np.zeros(20)
    for episode in episodes:
        z, follow, before, gamma_before = np.zeros(20), 0.0, 0.0, 0.0
        for s, rho, r, gamma, after in episode:
            follow = before * abs(gamma_before) * follow + 1
            z = rho * (gamma_before * LAMBDA * z + (LAMBDA + (1 - LAMBDA) * follow) * np.eye(20)[s])
            v = v + 0.1 * (r + gamma * v[after] - v[s]) * z
            before, gamma_before = rho, gamma
    close(learnt[-1], v)


@pytest.mark.parametrize("method", [TDC, GTD2])
def test_gradient_td(method: Any) -> None:
    episodes, learnt = lived(method(**OFF, step_size=ALPHA, second_step_size=0.5))
    w, h = np.zeros(20), np.zeros(20)
    for s, rho, r, gamma, after in chain.from_iterable(episodes):
        x, x2 = np.eye(20)[s], np.eye(20)[after]
        delta, guess = r + gamma * w @ x2 - w @ x, h @ x
        w = w + ALPHA * rho * ((delta * x if method is TDC else guess * x) - gamma * x2 * guess)
        h = h + 0.5 * rho * (delta - guess) * x
    close(learnt[-1], w)


@pytest.mark.parametrize("lambda_", [0.0, LAMBDA])
def test_lstd(lambda_: float) -> None:
    episodes, learnt = lived(LSTD(**OFF, lambda_=lambda_, regularisation=0.1))
    a, b = 0.1 * np.eye(20), np.zeros(20)
    for episode in episodes:
        z, decay = np.zeros(20), 0.0
        for s, rho, r, gamma, after in episode:
            z = rho * (decay * z + np.eye(20)[s])
            a += np.outer(z, np.eye(20)[s] - gamma * np.eye(20)[after])
            b += z * r
            decay = gamma * lambda_
    np.testing.assert_allclose(learnt[-1], np.linalg.solve(a, b), rtol=5e-3, atol=5e-4)


@pytest.mark.parametrize(
    ("way", "first_visit"),
    [
        (None, True),
        (Weighing.ordinary, False),
        (Weighing.weighted, True),
        pytest.param(None, False, marks=pytest.mark.only_all),
        pytest.param(Weighing.ordinary, True, marks=pytest.mark.only_all),
        pytest.param(Weighing.weighted, False, marks=pytest.mark.only_all),
    ],
)
def test_monte_carlo(way: Weighing | None, first_visit: bool) -> None:
    """Episodes that the limit cuts end in an estimate, which a mean cannot be told of: they are left out by γ = 0."""
    settings = ON if way is None else OFF | {"weighing": way}
    method = MonteCarloPrediction(**settings, first_visit=first_visit, rollout=8, longest_episode=8)
    episodes, learnt = lived(method)
    sums, weights = np.zeros(20), np.zeros(20)
    cut_values = np.concatenate([np.zeros((1, 20)), learnt])
    time, count = 0, np.zeros(20)
    for episode in episodes:
        end = time + len(episode)
        if end >= UPDATES:
            break
        value, weight, returns = cut_values[(end - 1) // 8][episode[-1][4]], 1.0, []
        for s, rho, r, gamma, _ in reversed(episode):
            value, weight = r + gamma * value, weight * rho
            returns.append((s, weight, value))
        seen: set[int] = set()
        for s, weight, value in reversed(returns):
            if not (first_visit and s in seen):
                sums[s] += weight * value
                weights[s] += weight
                count[s] += 1
            seen.add(s)
        time = end + 1
    by = weights if way is Weighing.weighted else count
    close(learnt[-1], np.divide(sums, by, out=np.zeros(20), where=by > 0))


def test_the_offline_lambda_return() -> None:
    """Targets by the values from before the update, learnt from one after another."""
    episodes, learnt = lived(LambdaReturn(**ON, step_size=ALPHA, lambda_=LAMBDA, rollout=1, longest_episode=8))
    v, time = np.zeros(20), 0
    for episode in episodes:
        time += len(episode)
        if time > UPDATES:
            break
        target, targets = 0.0, []
        for i, (_, _, r, gamma, after) in enumerate(reversed(episode)):
            target = r + gamma * (v[after] if i == 0 else (1 - LAMBDA) * v[after] + LAMBDA * target)
            targets.append(target)
        if time == UPDATES and episode is episodes[-1]:
            break  # It may be under way.
        for (s, *_), target in zip(episode, reversed(targets), strict=True):
            v[s] += ALPHA * (target - v[s])
        time += 1
        np.testing.assert_allclose(learnt[time - 2], v, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(("method", "lambda_"), [(BatchTD, 0.0), (BatchMonteCarlo, 1.0)])
def test_batches_settle_on_the_least_squares_answer(method: Any, lambda_: float) -> None:
    """Batch TD(0) on certainty equivalence, batch Monte Carlo on the mean return: LSTD(0)'s and LSTD(1)'s answer."""
    settings: dict[str, Any] = {"discount": 1.0, "rollout": 400}
    world = native("random_walk")
    look = watch
    batch = probe(method(**settings, capacity=400, sweeps=3000, step_size=2.0), world, 1, look, seeds=[0])
    once = probe(LSTD(**settings, lambda_=lambda_, regularisation=1e-4), world, 1, look, seeds=[0])
    np.testing.assert_allclose(batch["value"][0, 0, :5], once["value"][0, 0, :5], atol=0.02)


# What theory says of Baird's star


def test_the_expected_update_diverges_as_the_book_says() -> None:
    final = expected_sweeps(0.01, 1000)[-1]
    np.testing.assert_allclose(final, [*[114.434] * 6, 6.850, 335.001], atol=5e-4)


def test_emphatic_expected_updates_converge() -> None:
    assert np.abs(expected_emphasis(0.03, 1000)[-1] @ np.array([0, 0, 0, 0, 0, 0, 1, 2])) < 1e-6


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TD(n=0), "n must be at least 1"),
        (lambda: TD(step_size=-0.1), "at least 0 and finite"),
        (lambda: TDLambda(lambda_=1.5), r"lambda_ must be in \[0, 1\]"),
        (lambda: TrueOnlineTD(behaviour=Uniform()), "on-policy"),
        (lambda: LambdaReturn(behaviour=Uniform()), "on-policy"),
        (lambda: MonteCarloPrediction(weighing=Weighing.weighted, step_size=0.1), "step size is None"),
        (lambda: LSTD(regularisation=0.0), "positive"),
        (lambda: Tabulated(((0.5, 0.6),)), "sum to 1"),
        (lambda: TileCoding(tiles=0), "at least 1 tile"),
    ],
)
def test_bad_settings(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("method", "world", "message"),
    [
        (TD(), "MountainCar-v0", "discretise"),
        (TD(network=TileCoding()), "CartPole-v1", "without finite bounds"),
        (TD(network=TileCoding(tiles=100, tilings=8)), "Acrobot-v1", "weights"),
        (TD(target=Tabulated(((0.5, 0.5),))), "garnet", "each of the 4 actions"),
        (TD(target=Tabulated(((0.5, 0.5),) * 3)), "random_walk", "3 rows"),
        (MonteCarloPrediction(network=MLP(), step_size=0.1, first_visit=True), "MountainCar-v0", "first_visit=False"),
        (LSTD(network=MLP()), "random_walk", "linear"),
    ],
)
def test_what_does_not_fit(method: Any, world: str, message: str) -> None:
    with pytest.raises((SpaceError, ValueError), match=message):
        train(method, native(world), 100, seed=0)


def test_a_target_that_leaves_nothing_to_chance() -> None:
    """Sutton & Barto 2018, example 5.5: `left` for ever is worth 1, and weighted returns say so at once."""
    example = mdp({"s": {"left": [(0.9, "s", 0.0), (0.1, "end", 1.0)], "right": [(1.0, "end", 0.0)]}}, initial="s")
    world = sampled(example)
    left = Tabulated(((1.0, 0.0),))
    method = MonteCarloPrediction(target=left, behaviour=Uniform(), weighing=Weighing.weighted, discount=1.0)
    run = train(method, world, 4000)
    run.run_to_end()
    assert float(run.learners[0].network.tables["value"][0, 0]) == pytest.approx(1.0)
    found = prediction(run.policies, example, 1.0)
    assert predicts(run.policies) and found.exact[0] == pytest.approx(1) and found.asked.tolist() == [True, False]
    assert found.mean == pytest.approx(0, abs=1e-6)
    assert "the start is worth 1.000000" in str(found) and found.as_row()["exact"] == {"s": pytest.approx(1.0)}
    sure = left.build(world.observation_space, world.action_space)
    assert np.isfinite(sure.log_prob).all()  # as all must be that a run holds
