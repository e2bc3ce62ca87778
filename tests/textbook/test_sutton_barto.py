"""What Sutton & Barto's examples are worth, exactly; stochastic results of learning are tested with the algorithms."""

import itertools
from functools import partial

import numpy as np
import pytest

from retorno import bellman
from retorno.bellman.average import average_reward
from retorno.environments.bandits import models as bandits
from retorno.environments.games.blackjack import CASINO, LEGACY, PLAIN, SUTTON_BARTO, blackjack
from retorno.environments.games.tic_tac_toe import perfect_opponent, tic_tac_toe
from retorno.environments.grids import gridworlds as grids
from retorno.environments.grids import mazes
from retorno.environments.grids.ascii_map import ascii_map
from retorno.environments.grids.racetrack import LEFT_TRACK, RIGHT_TRACK, racetrack
from retorno.environments.textbook import chains, counterexamples, exploration
from retorno.environments.textbook.access_control import access_control
from retorno.environments.textbook.car_rental import car_rental
from retorno.environments.textbook.gambler import gambler


def values(solution, names):
    return [solution.value[solution.model.state(name)] for name in names]


def best_pairs(model, q):
    """The first best pair of each state."""
    return np.array([a + int(np.argmax(q[a:b])) for a, b in zip(model.state_ptr, model.state_ptr[1:], strict=False)])


@pytest.fixture(scope="module")
def rental():
    return car_rental()


def test_car_rental(rental):
    answer = bellman.solve(rental, 0.9)
    assert values(answer, ["0,0", "10,10", "20,20"]) == pytest.approx([421.4141, 574.9483, 636.9896], abs=5e-5)
    moves = {int(move) for s in range(rental.num_states) for move in answer.actions(s)}
    assert (min(moves), max(moves)) == (-4, 5)


def test_car_rental_takes_four_improvements(rental):
    """Figure 4.2: from the policy that never moves a car, four improvements lead to one that stays."""
    policy = np.flatnonzero(np.array(rental.action_names)[rental.action] == "0")
    policies = [policy]
    for _ in range(5):
        chosen = np.zeros(rental.num_pairs)
        chosen[policies[-1]] = 1
        policies.append(best_pairs(rental, bellman.evaluate(rental, chosen, 0.9).q))
    changes = [(a != b).sum() for a, b in itertools.pairwise(policies)]
    assert all(changes[:4]) and changes[4] == 0


def test_car_rental_with_a_free_move_and_parking():
    """Exercise 4.7: a free move is worth something, parking costs something, and 2 a day is the most it can save."""
    plain, free, both = (bellman.solve(car_rental(*o), 0.9).value for o in [(), (1, 0.0), (1, 4.0)])
    assert (free > plain).all() and (both < free).all()
    assert (free - plain).max() <= 2 / (1 - 0.9) + 1e-6


def test_gambler():
    answer = bellman.solve(gambler(0.4), 1.0)
    names = ["1", "25", "50", "51", "75", "99"]
    book = [0.00206562, 0.16, 0.4, 0.403098, 0.64, 0.964333]
    assert values(answer, names) == pytest.approx(book, abs=1e-6)
    assert answer.actions("51") == ("1", "49") and answer.actions("50") == ("50",)


def test_a_fair_or_favourable_coin():
    """A fair coin's gambler wins with capital / goal, however he plays; the ruin formula for a favourable one."""
    fair = bellman.solve(gambler(0.5), 1.0)
    assert fair.value[:99] == pytest.approx(np.arange(1, 100) / 100, abs=1e-6)
    assert all(len(fair.actions(str(c))) == min(c, 100 - c) for c in range(1, 100))
    ratio = 0.45 / 0.55
    timid = bellman.solve(gambler(0.55), 1.0)
    assert timid.value[:99] == pytest.approx((1 - ratio ** np.arange(1, 100)) / (1 - ratio**100), abs=1e-6)
    assert timid.actions("37") == ("1",)


@pytest.mark.parametrize(
    ("rules", "value"), [(SUTTON_BARTO, -0.043113), (PLAIN, -0.046556), (CASINO, -0.020565), (LEGACY, -0.025729)]
)
def test_blackjack(rules, value):
    assert bellman.solve(blackjack(rules), 1.0).start_value == pytest.approx(value, abs=1e-6)


def test_when_to_stick_in_blackjack():
    """Figure 5.2."""
    answer = bellman.solve(blackjack(), 1.0)
    for shown in range(1, 11):
        hard = 13 if shown in (2, 3) else 12 if shown in (4, 5, 6) else 17
        soft = 19 if shown in (1, 9, 10) else 18
        for kind, least, lowest in (("hard", hard, 4), ("soft", soft, 12)):
            for total in range(lowest, 22):
                best = ("stick",) if total >= least else ("hit",)
                assert answer.actions(f"{total} {kind}, {shown}") == best


def test_a_state_of_blackjack():
    """Example 5.4: sticking on 20 and 21 only, from 13 with a usable ace against a deuce."""
    model = blackjack()
    stick = np.array([name.split()[0] in ("20", "21", "natural,") for name in model.state_names])
    chosen = np.array(model.action_names)[model.action] == np.where(stick, "stick", "hit")[model.pair_state]
    answer = bellman.evaluate(model, chosen.astype(float), 1.0)
    assert values(answer, ["13 soft, 2"]) == pytest.approx([-0.27720], abs=5e-6)


def test_walk_of_a_thousand_states():
    """Example 9.1, against a dense solve of its definition."""
    answer = bellman.evaluate(chains.jumping_walk(), bellman.uniform, 1.0)
    steps, ends = np.zeros((1000, 1000)), np.zeros(1000)
    for s in range(1000):
        for to in [*range(s - 100, s), *range(s + 1, s + 101)]:
            if 0 <= to < 1000:
                steps[s, to] += 1 / 200
            else:
                ends[s] += np.sign(to) / 200
    assert answer.value[:1000] == pytest.approx(np.linalg.solve(np.eye(1000) - steps, ends), abs=1e-9)
    assert answer.value[:1000] == pytest.approx(-answer.value[:1000][::-1], abs=1e-9)
    assert answer.start_value == pytest.approx(answer.value[499])


@pytest.mark.parametrize(("moves", "steps"), [(4, 15), (8, 7), (9, 7)])
def test_windy_gridworld(moves, steps):
    assert bellman.solve(mazes.windy_gridworld(moves), 1.0).start_value == pytest.approx(-steps, abs=1e-6)


MAZES = [
    (mazes.dyna_maze, 14),
    (mazes.blocking_maze, 10),
    (partial(mazes.blocking_maze, True), 16),
    (mazes.shortcut_maze, 16),
    (partial(mazes.shortcut_maze, True), 10),
]


@pytest.mark.parametrize(("make", "steps"), MAZES)
def test_mazes(make, steps):
    assert bellman.solve(make(), 0.95).start_value == pytest.approx(0.95 ** (steps - 1), abs=1e-6)


def test_maximisation_bias():
    """Example 6.7: right is best, and left is worth what B's actions are."""
    answer = bellman.solve(chains.maximisation_bias(), 1.0)
    assert answer.actions("A") == ("right",) and answer.start_value == 0
    assert answer.q[:2] == pytest.approx([-0.1, 0], abs=1e-9)


def test_access_control():
    answer = average_reward(access_control())
    assert answer.gain == pytest.approx(np.full(44, 2.74764), abs=5e-6)


def test_short_corridor():
    """Example 13.1: the best of the policies that cannot tell the states apart goes right with 2 − √2."""
    model = chains.short_corridor()
    right = np.array(model.action_names)[model.action] == "right"

    def value(p):
        return bellman.evaluate(model, np.where(right, p, 1 - p), 1.0).start_value

    best = 2 - np.sqrt(2)
    assert value(best) == pytest.approx(-11.6569, abs=5e-5)
    assert best == pytest.approx(0.585786, abs=1e-6)
    assert value(best) > max(value(best - 1e-3), value(best + 1e-3))
    # The book's ε-greedy policies, ε = .1: below −44 going left, −82 going right.
    assert value(0.05) == pytest.approx(-82, abs=1) and value(0.95) == pytest.approx(-44, abs=1)
    assert bellman.solve(model, 1.0).start_value == pytest.approx(-3)


def expected_updates(model, features, policy, discount, step_size, sweeps, weights):
    """Semi-gradient expected updates, all states at once. Sutton & Barto 2018, eq. 11.9."""
    probability = model.probability * policy[model.transition_pair]
    owner = model.pair_state[model.transition_pair]
    for _ in range(sweeps):
        value = features @ weights
        target = np.bincount(owner, probability * (model.reward + discount * model.discount * value[model.next_state]))
        weights = weights + step_size / len(features) * features.T @ (target - value)
    return weights


def test_bairds_counterexample():
    model, features = counterexamples.baird(), counterexamples.baird_features()
    solid = (np.array(model.action_names)[model.action] == "solid").astype(float)
    start = np.array([1.0, 1, 1, 1, 1, 1, 10, 1])
    weights = expected_updates(model, features, solid, 0.99, 0.01, 1000, start)
    assert weights == pytest.approx([114.434] * 6 + [6.850, 335.001], abs=5e-4)
    assert bellman.evaluate(model, solid, 0.99).value == pytest.approx(np.zeros(7))


@pytest.mark.parametrize(("discount", "diverges"), [(0.99, True), (0.85, False)])
def test_tsitsiklis_and_van_roys_counterexample(discount, diverges):
    """Example 11.1: each best fit multiplies the weight by γ (6 − 4ε) / 5."""
    model, features = counterexamples.tsitsiklis_van_roy(0.1), counterexamples.two_state_features()
    weight = np.ones(1)
    for _ in range(3):
        next_value = model.discount * (features @ weight)[model.next_state]
        target = np.bincount(model.pair_state[model.transition_pair], model.probability * discount * next_value)
        fitted = np.linalg.lstsq(features[:2], target, rcond=None)[0]
        assert fitted / weight == pytest.approx(discount * 5.6 / 5)
        weight = fitted
    assert (abs(weight[0]) > 1) == diverges


def test_tic_tac_toe():
    assert bellman.solve(tic_tac_toe(), 1.0).start_value == pytest.approx(191 / 192, abs=1e-9)
    for first in (True, False):
        assert bellman.solve(tic_tac_toe(perfect_opponent, first), 1.0).start_value == pytest.approx(0, abs=1e-9)


def test_river_swim():
    """Always right: a birth–death chain, so the shares of steps follow from detailed balance."""
    shares = np.array([1, 3, 9, 27, 81, 243 / 7])
    gain = 0.3 * 10_000 * shares[-1] / shares.sum()
    answer = average_reward(exploration.river_swim())
    assert gain == pytest.approx(729_000 / 1_090)
    assert answer.gain == pytest.approx(np.full(6, gain), abs=1e-6)


@pytest.mark.parametrize("size", [1, 4, 10, 30])
def test_deep_sea(size):
    model = exploration.deep_sea(size)
    assert bellman.solve(model, 1.0).start_value == pytest.approx(0.99, abs=1e-9)
    assert bellman.evaluate(model, bellman.uniform, 1.0).start_value == pytest.approx(2.0**-size - 0.005, abs=1e-9)
    slippery = exploration.deep_sea(size, slippery=True, mapping_seed=None)
    right = (np.array(slippery.action_names)[slippery.action] == "right").astype(float)
    always = bellman.evaluate(slippery, right, 1.0).start_value
    assert always == pytest.approx((1 - 1 / size) ** (size - 1) - 0.01, abs=1e-9)
    # The best diver saves the cost of going right when the treasure is out of reach.
    assert always - 1e-9 <= bellman.solve(slippery, 1.0).start_value <= always + 0.01


def test_bandits():
    for seed in range(3):
        model = bandits.gaussian_testbed(seed)
        best = model.reward.max()
        assert bellman.solve(model, 0.9).start_value == pytest.approx(best / (1 - 0.9))
        assert average_reward(model).gain == pytest.approx([best], abs=1e-6)
    chances = [0.1, 0.7, 0.4]
    assert bellman.solve(bandits.bernoulli_bandit(chances), 0.5).q == pytest.approx(np.array(chances) + 0.7)


@pytest.mark.parametrize(("track", "steps"), [(LEFT_TRACK, 10), (RIGHT_TRACK, 8)])
def test_racetrack(track, steps):
    """Without noise the best start needs so many steps; noise only costs. No lap is faster than 4 cells a step."""
    calm, rough = (bellman.solve(racetrack(track, noise), 1.0) for noise in (0.0, 0.1))
    starts = calm.model.initial > 0
    assert calm.value[starts].max() == pytest.approx(-steps, abs=1e-6)
    assert rough.start_value < calm.start_value
    assert steps >= track.strip().count("\n") / 4


def test_cliff_as_a_drawing():
    text = "step: -1\ngoal: 0\ncliff: -99\n............\n............\n............\nSCCCCCCCCCCG"
    drawn = bellman.solve(ascii_map(text), 1.0)
    assert drawn.start_value == pytest.approx(bellman.solve(grids.cliff(), 1.0).start_value) == pytest.approx(-13)
