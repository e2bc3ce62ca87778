"""The return as a random variable: by hand, against simulation, and within its own error bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from models import models, random_policy

from retorno.bellman import evaluate, solve, uniform
from retorno.bellman.returns import return_distribution, return_variance
from retorno.core.mdp import MDP, mdp
from retorno.environments.textbook.garnet import garnet
from retorno.environments.textbook.lecture import random_walk, student, student_process

COIN = mdp({"a": {"toss": [(0.5, "a", 1.0), (0.5, "end", 0.0)]}})
"""Its return is the number of heads before the first tail."""


def simulate(model: MDP, policy: np.ndarray, discount: float, count: int, steps: int, seed: int = 0) -> np.ndarray:
    """Returns of `count` episodes from the model's initial distribution, cut after `steps`."""
    rng = np.random.default_rng(seed)
    chance = model.probability * policy[model.transition_pair]
    owner = model.pair_state[model.transition_pair]
    total = np.append(0, np.cumsum(chance))
    first = np.searchsorted(owner, np.arange(model.num_states + 1))
    state = rng.choice(model.num_states, count, p=model.initial)
    returns, weight = np.zeros(count), np.where(model.terminal[state], 0.0, 1.0)
    for _ in range(steps):
        going = np.flatnonzero(weight > 1e-12)
        if not len(going):
            break
        low, high = total[first[state[going]]], total[first[state[going] + 1]]
        row = np.searchsorted(total, low + rng.random(len(going)) * (high - low), side="right") - 1
        row = np.clip(row, first[state[going]], first[state[going] + 1] - 1)
        returns[going] += weight[going] * model.reward[row]
        weight[going] *= discount * model.discount[row]
        state[going] = model.next_state[row]
    return returns


def check_against(sample: np.ndarray, found) -> None:
    """Mean within 4 standard errors, and the distribution function within 4 of its own and the bounds."""
    assert abs(sample.mean() - found.mean) <= 4 * sample.std() / np.sqrt(len(sample)) + found.error
    for x in np.quantile(sample, [0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97]) + 1e-9:
        low, high = found.cdf_bounds(float(x))
        share = float((sample <= x).mean())
        slack = 4 * np.sqrt(max(share * (1 - share), 1 / len(sample)) / len(sample))
        assert low - slack <= share <= high + slack


def test_a_coin_by_hand() -> None:
    moments = return_variance(COIN, uniform, 1.0)
    assert moments.mean[0] == pytest.approx(1) and moments.variance == pytest.approx([2, 0])
    found = return_distribution(COIN, uniform, 1.0)
    assert found.atom[:5] == pytest.approx([0, 1, 2, 3, 4])
    assert found.probability[:5] == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32])
    assert found.error <= 1.1e-9 and found.mean == pytest.approx(1) and found.variance == pytest.approx(2, abs=1e-6)
    assert (found.quantile(0.5), found.quantile(0.9)) == (0, 3)


def test_returns_of_the_lecture() -> None:
    # γ = ½: C1 C2 Sleep −2 − 1 = −3; C1 C2 C3 Pass Sleep −2.25; C1 Facebook Facebook C1 C2 Sleep −3.125.
    found = return_distribution(student_process(), uniform, 0.5, accuracy=1e-3)
    for atom, at_least in ((-2.25, 0.5 * 0.8 * 0.6), (-3.0, 0.5 * 0.2), (-3.125, 0.5 * 0.9 * 0.1 * 0.5 * 0.2)):
        near = np.abs(found.atom - atom) < 1e-12
        assert found.probability[near].sum() >= at_least - 1e-12
    assert found.mean == pytest.approx(evaluate(student_process(), uniform, 0.5).start_value, abs=1e-9)


def test_an_episode_that_ends_is_followed_to_its_end() -> None:
    # A binomial: three tosses, the second paid at γ, the third at γ².
    def toss(then: str):
        return {"toss": [(0.25, then, 1.0), (0.75, then, 0.0)]}

    model = mdp({"a": toss("b"), "b": toss("c"), "c": toss("end")}, initial="a")
    found = return_distribution(model, uniform, 1.0)
    assert found.method == "all trajectories" and found.error < 1e-13 and found.sweeps == 3
    assert found.atom.tolist() == [0, 1, 2, 3]
    assert found.probability == pytest.approx([27 / 64, 27 / 64, 9 / 64, 1 / 64])
    halved = return_distribution(model, uniform, 0.5)
    assert halved.atom == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]) and halved.error < 1e-13
    assert halved.probability[-1] == pytest.approx(1 / 64)


def test_what_is_certain_has_no_variance() -> None:
    best = solve(student(), 0.9)
    assert return_variance(student(), best.policy, 0.9).variance == pytest.approx(np.zeros(5), abs=1e-12)
    found = return_distribution(student(), best.policy, 0.9)
    assert found.atom == pytest.approx([4.3]) and found.probability.tolist() == [1]


def test_several_starts() -> None:
    moments = return_variance(COIN, uniform, 1.0)
    found = return_distribution(COIN, uniform, 1.0, [0.5, 0.5])
    assert found.cdf(0.0) == pytest.approx(0.75)
    assert moments.start_variance == pytest.approx(2)  # It starts in a.
    walk = random_walk()
    spread = MDP(**{**vars(walk), "initial": np.isin(walk.state_names, ("A", "E")) / 2})
    # It ends right with 1/6 or 5/6, half the time each: a fair coin.
    assert return_variance(spread, uniform, 1.0).start_variance == pytest.approx(0.25)
    ends = return_distribution(spread, uniform, 1.0)
    assert ends.cdf(np.array([-0.1, 0.1, 0.9, 1.0])) == pytest.approx([0, 0.5, 0.5, 1], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(models())
def test_the_variance_is_the_second_moment_less_the_squared_mean(model: MDP) -> None:
    policy = random_policy(np.random.default_rng(2), model)
    for discount in (0.0, 0.9):
        moments = return_variance(model, policy, discount)
        # Sobel's equation as he writes it, m₂ = E R² + 2 γ D R v + (γ D)² m₂, by enough sweeps.
        factor = discount * model.discount
        after = moments.mean[model.next_state]
        weight = model.probability * policy[model.transition_pair]
        owner = model.pair_state[model.transition_pair]
        second = np.zeros(model.num_states)
        for _ in range(400):
            terms = model.reward**2 + 2 * factor * model.reward * after + factor**2 * second[model.next_state]
            second = np.bincount(owner, weight * terms, minlength=model.num_states)
        scale = max(float(second.max()), float((moments.mean**2).max()), 1e-300)
        assert np.abs(moments.variance - (second - moments.mean**2)).max() <= 1e-9 * scale
        assert (moments.lower <= moments.variance).all() and (moments.variance <= moments.upper).all()
        paid = np.abs(model.reward[weight > 0]).max()
        assert (moments.upper - moments.lower).max() <= 1e-9 * max(scale, paid**2)


@pytest.mark.parametrize(
    ("model", "discount", "steps"),
    [
        (student(), 1.0, 400),
        (student(), 0.9, 300),
        (student_process(), 0.9, 300),
        (garnet(12, 3, 3, seed=3, termination=0.1), 0.95, 600),
        (garnet(12, 3, 3, seed=4), 0.9, 300),
    ],
)
def test_against_simulation(model: MDP, discount: float, steps: int) -> None:
    policy = uniform(model)
    sample = simulate(model, policy, discount, 40_000, steps)
    moments = return_variance(model, policy, discount)
    # The standard error of a sample variance: √(m₄ − σ⁴) / √n.
    fourth = ((sample - sample.mean()) ** 4).mean()
    error = np.sqrt((fourth - sample.var() ** 2) / len(sample))
    assert abs(sample.var() - moments.start_variance) <= 4 * error
    check_against(sample, return_distribution(model, policy, discount))


@pytest.mark.parametrize("discount", [0.5, 0.9, 0.99])
def test_the_programme_keeps_the_mean_and_its_bound(monkeypatch, discount: float) -> None:
    model = random_walk(5)
    exact = return_distribution(model, uniform, discount, accuracy=1e-10)
    assert exact.error < 1e-9
    monkeypatch.setattr("retorno.bellman.returns.MOST_TRAJECTORIES", 0)
    last = np.inf
    for atoms in (11, 101, 1001):
        rough = return_distribution(model, uniform, discount, atoms=atoms)
        assert "dynamic programming" in rough.method
        x = np.union1d(exact.atom, rough.atom)
        distance = float(np.abs(exact.cdf(x) - rough.cdf(x))[:-1] @ np.diff(x))
        assert distance <= rough.error + exact.error and rough.error < last
        assert rough.mean == pytest.approx(exact.mean, abs=1e-9 + rough.error / 100)
        last = rough.error
    for y in np.linspace(-0.2, 1.1, 27):
        low, high = rough.cdf_bounds(float(y))
        assert low - 1e-12 <= exact.cdf(float(y)) <= high + 1e-12


def test_whole_returns_are_kept_whole(monkeypatch) -> None:
    monkeypatch.setattr("retorno.bellman.returns.MOST_TRAJECTORIES", 0)
    found = return_distribution(COIN, uniform, 1.0)
    assert found.atom[:4] == pytest.approx([0, 1, 2, 3]) and found.error < 1e-3
    assert found.probability[:4] == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 16], abs=1e-6)


def test_mistakes(monkeypatch) -> None:
    with pytest.raises(ValueError, match="atoms must be at least 2"):
        return_distribution(COIN, uniform, 1.0, atoms=1)
    with pytest.raises(ValueError, match="never terminates"):
        return_distribution(mdp({"a": {"stay": [(1, "a", 1.0)]}}), uniform, 1.0)
    monkeypatch.setattr("retorno.bellman.returns.MOST_TRAJECTORIES", 0)
    with pytest.raises(ValueError, match="ask for at most"):
        return_distribution(garnet(100, 3, 3, seed=0), uniform, 0.9, atoms=100_000)
