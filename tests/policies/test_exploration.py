"""Ways to explore: what they choose, worked by hand, and what they let go of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import QLearning
from retorno.core.spaces import SpaceError, Spec
from retorno.core.time_step import TimeStep, Trajectory, restart
from retorno.environments.registry import native
from retorno.networks import MLP, Activation, Table
from retorno.ops.optimisers import Adam
from retorno.policies import EXPLORATIONS, UCB, Decay, Epsilon, Softmax
from retorno.policies.exploration import Exploration, Explorer
from retorno.run.probe import lived, probe
from retorno.run.relabel import ICM, RND, CountBonus, HashBonus

ACTIONS = 3
Q = jnp.array([1.0, 3.0, 2.0])


class Exploring(NamedTuple):
    """A way to explore, with what it remembers."""

    exploration: Exploration
    memory: Explorer

    def update(self, trajectory: Trajectory) -> Exploring:
        return Exploring(self.exploration, self.memory.update(trajectory))


def start(exploration: Exploration, space: Any = None) -> Exploring:
    row = restart(jnp.int32(0))
    spec = Spec(space or spaces.Discrete(4), spaces.Discrete(ACTIONS), 1, 100, row)
    return Exploring(exploration, exploration.start(spec, ACTIONS))


def probs(explorer: Exploring, obs: int = 0, progress: float = 0.0, legal: Any = None) -> np.ndarray:
    mask = None if legal is None else jnp.array(legal)
    choice = explorer.exploration.choice(explorer.memory, Q, jnp.int32(obs), jnp.float32(progress))
    return np.asarray(choice.masked(mask).probs())


def seen(obs: list[int], action: list[int], last: list[bool]) -> Trajectory:
    """What was lived in one environment."""
    rows = len(obs)
    steps = TimeStep(
        obs=jnp.array(obs)[:, None],
        reward=jnp.zeros((rows, 1)),
        discount=jnp.ones((rows, 1)),
        first=jnp.zeros((rows, 1), bool),
        last=jnp.array(last)[:, None],
    )
    return Trajectory(steps, jnp.array(action)[:, None], (), ())


THREE_STEPS = seen([0, 0, 2, 0, 1], [1, 1, 0, 2], [False, False, False, True, False])
"""(0, 1) twice, (2, 0) once; what follows the last row is a reset, no visit."""


def test_epsilon_greedy() -> None:
    np.testing.assert_allclose(probs(start(Epsilon(0.3))), [0.1, 0.8, 0.1], rtol=1e-6)
    np.testing.assert_allclose(probs(start(Epsilon(0.3)), legal=[True, False, True]), [0.15, 0, 0.85], rtol=1e-6)


@pytest.mark.parametrize(
    ("decay", "half_way"), [(Decay.linear, (0.4 + 0.1) / 2), (Decay.exponential, np.sqrt(0.4 * 0.1))]
)
def test_falling_over_the_run(decay: Decay, half_way: float) -> None:
    explorer = start(Epsilon(0.4, 0.1, decay))
    for progress, epsilon in ((0.0, 0.4), (0.5, half_way), (1.0, 0.1)):
        np.testing.assert_allclose(probs(explorer, progress=progress)[0], epsilon / 3, rtol=1e-5)


def test_one_over_the_number_of_the_episode() -> None:
    explorer = start(Epsilon(1.0, decay=Decay.episodes))
    for k in range(1, 4):
        np.testing.assert_allclose(probs(explorer)[0], 1 / (3 * k), rtol=1e-5)
        explorer = explorer.update(THREE_STEPS)


def test_one_over_the_visits_of_a_state() -> None:
    explorer = start(Epsilon(1.0, decay=Decay.visits)).update(THREE_STEPS)
    for obs, visits in ((0, 2), (1, 0), (2, 1)):
        np.testing.assert_allclose(probs(explorer, obs)[0], 1 / (3 * (visits + 1)), rtol=1e-5)


@pytest.mark.parametrize("decay", [Decay.episodes, Decay.visits])
def test_greedy_in_the_limit_with_infinite_exploration(decay: Decay) -> None:
    """ε falls to 0 (or to its end), and its sum over visits has no bound: it is harmonic."""
    explorer, drawn = start(Epsilon(1.0, decay=decay)), []
    for _ in range(64):
        drawn.append(3 * probs(explorer)[0])
        explorer = explorer.update(seen([0, 1], [0], [False, True]))
    np.testing.assert_allclose(drawn, 1 / np.arange(1, 65), rtol=1e-4)
    kept = start(Epsilon(1.0, 0.25, decay=decay))
    for _ in range(10):
        kept = kept.update(seen([0, 1], [0], [False, True]))
    np.testing.assert_allclose(probs(kept)[0], 0.25 / 3, rtol=1e-5)


def test_softmax() -> None:
    np.testing.assert_allclose(
        probs(start(Softmax(2.0))), np.exp([0.5, 1.5, 1]) / np.exp([0.5, 1.5, 1]).sum(), rtol=1e-5
    )
    np.testing.assert_allclose(
        probs(start(Softmax(2.0)), legal=[True, False, True]), np.array([1, 0, np.e**0.5]) / (1 + np.e**0.5), rtol=1e-5
    )
    np.testing.assert_allclose(probs(start(Softmax(2.0, 0.0)), progress=1.0), [0, 1, 0], atol=1e-6)


def test_ucb_takes_untried_actions_first() -> None:
    explorer = start(UCB(2.0))
    np.testing.assert_allclose(probs(explorer), np.full(3, 1 / 3), rtol=1e-6)
    explorer = explorer.update(THREE_STEPS)
    np.testing.assert_allclose(probs(explorer), [0.5, 0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(probs(explorer, 1), np.full(3, 1 / 3), rtol=1e-6)
    np.testing.assert_allclose(probs(explorer, legal=[True, True, False]), [1, 0, 0], atol=1e-6)


def test_ucb_weighs_what_is_not_known() -> None:
    """Tried 4, 1 and 1 times: q + c √(ln 6 / n) is 1 + .669c, 3 + 1.339c and 2 + 1.339c."""
    visits = seen([0] * 7, [0, 0, 0, 0, 1, 2], [False] * 7)
    np.testing.assert_allclose(probs(start(UCB(1.0)).update(visits)), [0, 1, 0], atol=1e-6)
    many = seen([0] * 12, [1] * 9 + [0, 2], [False] * 12)
    # Tried 1, 9 and 1 times, ln 11 = 2.398: 1 + 1.548c, 3 + .516c, 2 + 1.548c: the last one from c = .968 on.
    for confidence, best in ((0.95, 1), (0.98, 2)):
        assert probs(start(UCB(confidence)).update(many)).argmax() == best


def test_an_optimistic_start_tries_everything() -> None:
    """Greedy, with values above all rewards: each action of a bandit is tried before one is tried twice."""
    method = QLearning(network=Table(initial=100.0), exploration=Epsilon(0.0), step_size=0.5, discount=0.0)

    def actions(run: Any, trajectory: Trajectory) -> Any:
        return trajectory.action[0, 0]

    taken = probe(method, native("ten_armed"), 10, actions, seeds=range(5))
    assert (np.sort(taken, axis=1) == np.arange(10)).all()


def test_a_bonus_for_arriving_where_one_seldom_was() -> None:
    """β / √n at the nth arrival; a reset is none."""
    spec = Spec(spaces.Discrete(4), spaces.Discrete(2), 1, 100, restart(jnp.int32(0)))
    relabel, bonuses = CountBonus(0.5).build(jax.random.key(0), spec), []
    for before, after, last in [(0, 2, False), (2, 2, False), (2, 1, True), (1, 2, False)]:
        trajectory = seen([before, after], [0], [last, False])
        relabel, _ = relabel.learn(trajectory, jax.random.key(0))
        bonuses.append(relabel.reward(trajectory)[0, 0])
    np.testing.assert_allclose(bonuses, [0.5, 0.5 / 2**0.5, 0, 0.5 / 3**0.5], rtol=1e-6)


def often(relabel: Any, trajectory: Trajectory, times: int) -> Any:
    """A relabel that has lived a trajectory so many times."""
    learn = jax.jit(lambda relabel: relabel.learn(trajectory, jax.random.key(0))[0])
    for _ in range(times):
        relabel = learn(relabel)
    return relabel


SPEC = Spec(spaces.Discrete(4), spaces.Discrete(2), 1, 100, restart(jnp.int32(0)))


def test_what_was_often_seen_surprises_no_longer() -> None:
    """RND's error falls where one has been, and less elsewhere; ICM's where what follows is certain, too."""
    known, new = seen([0, 1], [0], [False, False]), seen([0, 3], [0], [False, False])
    network = MLP((16,), Activation.relu)
    for config in (RND(1.0, network, 8, Adam(1e-2)), ICM(1.0, network, 8, optimiser=Adam(1e-2))):
        before = config.build(jax.random.key(0), SPEC)
        after = often(before, known, 200)
        reward = after.reward(known)[0, 0]
        assert 0 <= reward < 0.05 * after.reward(new)[0, 0]
        reset = seen([1, 0], [0], [True, False])
        assert after.reward(reset)[0, 0] == 0  # No transition.


def test_like_observations_share_a_count() -> None:
    """With a single plane through the middle of a dial, its two halves are one state each; numbers beyond are both."""
    space = spaces.Box(0, 10, (1,))
    relabel = HashBonus(1.0, bits=8).build(jax.random.key(1), replace(SPEC, observation_space=space))
    number = jax.vmap(relabel.numbered)(jnp.linspace(0, 10, 101)[:, None])
    changes = int((np.diff(number) != 0).sum())
    assert 2 <= changes <= 8 and number.min() >= 0 and number.max() < 256
    with pytest.raises(ValueError, match="bits must be from 1 to 24"):
        HashBonus(bits=0)


def test_optimism_finds_the_treasure_of_the_deep_sea_and_dithering_does_not() -> None:
    """A random diver finds it in one of 1,024 dives; an optimist tries each of the 110 pairs before long."""
    dives, seeds = 220, range(6)

    def found(table: Table, exploration: Exploration) -> np.ndarray:
        method = QLearning(network=table, step_size=1.0, exploration=exploration)
        reward = probe(method, native("deep_sea"), 11 * dives, lived, seeds=seeds)["reward"]
        return (reward > 0.5).any((1, 2, 3))

    assert found(Table(initial=1.0), Epsilon(0.0)).all()
    assert not found(Table(), Epsilon(0.1)).any()


@pytest.mark.parametrize("exploration", [UCB(), Epsilon(decay=Decay.visits), Softmax(decay=Decay.visits)])
def test_counting_needs_finite_observations(exploration: Exploration) -> None:
    with pytest.raises(SpaceError, match="finitely many observations"):
        start(exploration, spaces.Box(-1, 1, (2,)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Epsilon(1.5), r"epsilon must be in \[0, 1\]"),
        (lambda: Epsilon(0.5, -0.1), r"end must be in \[0, 1\]"),
        (lambda: Softmax(0.0), "positive"),
        (lambda: UCB(-1.0), "at least 0"),
        (lambda: start(Epsilon(0.5, decay=Decay.exponential)), "give it an end"),
    ],
)
def test_settings_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_every_way_is_listed() -> None:
    assert {type(make()) for make in EXPLORATIONS.values()} == {Epsilon, Softmax, UCB}
