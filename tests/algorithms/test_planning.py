"""Planning: backups worked by hand, what planners find that others do not, and the book's maze."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno import bellman
from retorno.algorithms import (
    PSRL,
    CertaintyEquivalence,
    DifferentialSARSA,
    DynaQ,
    PrioritisedSweeping,
    QLearning,
    RLearning,
    RMax,
)
from retorno.core.policy import world_reward
from retorno.core.spaces import SpaceError, Spec, element, index
from retorno.core.time_step import Trajectory, restart, transition
from retorno.environments import ascii_map
from retorno.environments.registry import native
from retorno.environments.sampled_world import sampled
from retorno.environments.textbook.exploration import deep_sea, river_swim
from retorno.environments.wrappers import TimeLimit
from retorno.models.tabular import counted_model
from retorno.policies import Epsilon
from retorno.run.oracle import regret
from retorno.run.train import train

GAMMA = 0.5
SPEC = Spec(spaces.Discrete(3), spaces.Discrete(2), 1, 100, restart(jnp.int32(0))._replace(last=jnp.array(True)))


def learnt(algorithm: Any, lived: list[tuple[int, int, float, int, bool]], turns: float = 1.0) -> Any:
    """A learner after these transitions (state, action, reward, next state, terminated), one update each.

    `turns` is −1 where an opponent moves next, each time.
    """
    learner = algorithm.init(jax.random.key(0), SPEC)
    update = jax.jit(algorithm.update, static_argnums=2)
    for i, (s, a, r, after, ends) in enumerate(lived):
        rows = [restart(jnp.int32(s)), transition(jnp.int32(after), r, ends)]
        rows[1] = rows[1]._replace(discount=turns * rows[1].discount)
        steps = jax.tree.map(lambda *x: jnp.stack(x)[:, None], *rows)
        learner, _ = update(learner, Trajectory(steps, jnp.array([[a]]), (), ()), world_reward, jax.random.key(i))
    return learner


CHAIN = [(0, 1, 0.0, 1, False), (1, 0, 0.0, 2, False), (2, 1, 8.0, 0, True)]
"""Three states in a row, and 8 at the end."""


def test_without_planning_only_the_last_step_is_learnt() -> None:
    q = learnt(DynaQ(step_size=1.0, discount=GAMMA, planning_steps=0), CHAIN).network.tables["q"]
    np.testing.assert_array_equal(q, [[0, 0], [0, 0], [0, 8]])


PLANNERS = [
    DynaQ(step_size=1.0, discount=GAMMA, planning_steps=60),
    PrioritisedSweeping(discount=GAMMA, planning_steps=6),
    CertaintyEquivalence(discount=GAMMA, sweeps=3),
]


@pytest.mark.parametrize("algorithm", PLANNERS, ids=["dyna", "sweeping", "certainty"])
def test_planning_carries_the_reward_back(algorithm: Any) -> None:
    """8 at the end is worth 4 a step before and 2 two before; what was not tried stays 0."""
    q = learnt(algorithm, CHAIN).network.tables["q"]
    np.testing.assert_allclose(q, [[0, 2], [4, 0], [0, 8]])


@pytest.mark.parametrize("algorithm", PLANNERS, ids=["dyna", "sweeping", "certainty"])
def test_an_opponent_takes_the_reward(algorithm: Any) -> None:
    """−5 is better than nothing for who gets it, if what the other then gets, −8, is worth −½ as much: 4 − 5."""
    lived = [(0, 1, -5.0, 1, False), (1, 0, 0.0, 2, False), (1, 1, -8.0, 2, True), (2, 0, 16.0, 0, True)]
    q = learnt(algorithm, lived * 2, turns=-1.0).network.tables["q"]
    # In state 2 one gets 16, so 1's first action is worth −8 as its second; hence 0's −5 + ½ · 8.
    np.testing.assert_allclose(q, [[0, -1], [-8, -8], [16, 0]])


def test_a_counted_game_is_played_as_it_was_lived() -> None:
    """Of four tries one ended, three gave the opponent the move: so does the model, and so does one drawn from it."""
    lived = [(0, 0, 0.0, 1, False)] * 3 + [(0, 0, 4.0, 2, True), (1, 0, 8.0, 2, True)]
    learner = learnt(
        PSRL(discount=GAMMA, period=1, sweeps=8, concentration=1e-3, reward_noise=0.01), lived * 8, turns=-1.0
    )
    model, keys = learner.model, jax.random.split(jax.random.key(0), 400)
    rows = jax.vmap(lambda key: model.step(jnp.int32(0), jnp.int32(0), key))(keys)
    assert (np.asarray(rows.discount) == np.where(rows.last, 0, -1)).all()
    assert (np.asarray(rows.obs)[~np.asarray(rows.last)] == 1).all()
    assert 0.15 < np.asarray(rows.last).mean() < 0.35
    # 1 on average, and three of four times half of the other's 8.
    np.testing.assert_allclose(learner.network.tables["q"][0, 0], 1 - 0.75 * 4, rtol=1e-5)
    np.testing.assert_allclose(learner.played.tables["q"][0, 0], -2, atol=1.2)


def test_sweeping_makes_only_the_backups_that_matter() -> None:
    """No priority until the reward is found; then one backup for each of the three states and no more."""
    algorithm = PrioritisedSweeping(discount=GAMMA, planning_steps=10)
    assert int(learnt(algorithm, CHAIN[:2]).backups) == 0
    learner = learnt(algorithm, CHAIN)
    assert int(learner.backups) == 3
    np.testing.assert_array_equal(learner.priority, np.zeros((3, 2)))


def test_sweeping_by_expectation() -> None:
    """One half 8, one half nothing: 4, whichever came last."""
    q = learnt(PrioritisedSweeping(discount=GAMMA), [(0, 0, 8.0, 1, True), (0, 0, 0.0, 1, True)]).network.tables["q"]
    assert q[0, 0] == 4


def test_the_bonus_grows_with_the_root_of_time() -> None:
    """Action 0 of state 0 was tried at time 1 of 5: κ√4 = 2κ. The other leads nowhere: κ√5 + γ max q."""
    algorithm = DynaQ(step_size=1.0, discount=0.0, planning_steps=40, bonus=1.0)
    q = learnt(algorithm, [(0, 0, 0.0, 1, False), *[(1, 0, 0.0, 1, False)] * 4]).network.tables["q"]
    np.testing.assert_allclose(q[0], [2, 5**0.5], rtol=1e-6)
    np.testing.assert_allclose(q[2], [0, 0])


def test_what_is_not_known_is_paradise() -> None:
    """R-max 3 at γ = ½ is worth 6 everywhere; tried twice, action 0 pays 1 and goes on: 1 + 6/2."""
    algorithm = RMax(discount=GAMMA, reward_max=3.0, known=2, sweeps=1)
    once = learnt(algorithm, [(0, 0, 1.0, 1, False)]).network.tables["q"]
    np.testing.assert_array_equal(once, np.full((3, 2), 6))
    twice = learnt(algorithm, [(0, 0, 1.0, 1, False)] * 2).network.tables["q"]
    np.testing.assert_array_equal(twice, [[4, 6], [6, 6], [6, 6]])


def test_a_drawn_model_comes_close_to_what_was_seen() -> None:
    """A thousand times the same: the posterior is narrow, and the sampled values those of the counts."""
    lived = [(s, a, float(s + a), (s + 1) % 3, False) for s in range(3) for a in range(2)]
    algorithm = PSRL(discount=GAMMA, period=1, reward_noise=0.01, concentration=0.01)
    learner = learnt(algorithm, lived * 20)
    np.testing.assert_allclose(learner.played.tables["q"], learner.network.tables["q"], atol=0.1)
    sampled_again = learnt(algorithm, lived)
    assert (np.asarray(sampled_again.played.tables["q"]) != np.asarray(learner.played.tables["q"])).any()


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5, start=2),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(3),
        spaces.Tuple((spaces.Discrete(2), spaces.MultiDiscrete([2, 2]))),
        spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Discrete(2, start=-1)}),
    ],
    ids=str,
)
def test_elements_and_their_numbers(space: Any) -> None:
    from retorno.core.spaces import cardinality

    for number in range(cardinality(space)):
        assert int(index(space, element(space, jnp.int32(number)))) == number


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DynaQ(planning_steps=-1), "planning_steps must be at least 0"),
        (lambda: DynaQ(bonus=-0.1), "bonus must be at least 0"),
        (lambda: PrioritisedSweeping(planning_steps=0), "planning_steps must be at least 1"),
        (lambda: CertaintyEquivalence(sweeps=0), "sweeps must be at least 1"),
        (lambda: RMax(discount=1.0), "R-max needs a discount below 1"),
        (lambda: PSRL(reward_noise=0.0), "reward_noise must be positive"),
    ],
)
def test_settings_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_tables_that_cannot_be() -> None:
    continuous = Spec(spaces.Box(0, 1, (2,)), spaces.Discrete(2), 1, 100, SPEC.row)
    for algorithm in (DynaQ(), PrioritisedSweeping(), RMax(), PSRL(), CertaintyEquivalence()):
        with pytest.raises(SpaceError, match="a table needs finitely many observations"):
            algorithm.init(jax.random.key(0), continuous)
    game = dataclasses.replace(SPEC, two_players=True)
    for method in (RMax(), DifferentialSARSA(), RLearning()):
        with pytest.raises(SpaceError, match="two move in turn"):
            method.init(jax.random.key(0), game)
    large = Spec(spaces.Discrete(100_000), spaces.Discrete(2), 1, 100, SPEC.row)
    with pytest.raises(SpaceError, match=r"20,000,000,000 numbers \(160\.0 GB\).*DynaQ keeps one outcome"):
        counted_model(large, 2, "R-max")


def regrets(method: Any, world: Any, steps: int, best: Any, seeds: int) -> np.ndarray:
    """Of each seed, one after another: one program, small and soon compiled."""
    trainings = [train(method, world, steps, seed=seed) for seed in range(seeds)]
    for training in trainings:
        training.run_to_end()
    return np.concatenate([regret(training.policies, best).regrets for training in trainings])


def test_what_explores_finds_the_way_up_the_river() -> None:
    """Optimism and posterior sampling reach the optimum with every seed; ε-greedy Q-learning with none."""
    model, settings = river_swim(), {"discount": 0.95}
    best, world = bellman.solve(model, 0.95), TimeLimit(sampled(model), 1000)
    optimistic = RMax(**settings, reward_max=1e4, known=20)
    posterior = PSRL(**settings, rollout=20, reward_deviation=1e4, reward_noise=1e3)
    for method in (optimistic, posterior):
        np.testing.assert_allclose(regrets(method, world, 4000, best, 4) / best.start_value, 0, atol=1e-6)
    assert (regrets(QLearning(**settings), world, 4000, best, 4) > 0.9 * best.start_value).all()


@pytest.mark.slow
def test_what_explores_dives_to_the_treasure() -> None:
    """A random diver finds it in one of 1,024 dives; here are 450. R-max tries each of 110 pairs once."""
    training = train(RMax(known=1), native("deep_sea"), 4500, seed=range(6))
    training.run_to_end()
    assert (regret(training.policies, bellman.solve(deep_sea(), 0.99)).regrets < 1e-6).all()


@pytest.mark.parametrize(
    "method",
    [
        DynaQ(discount=0.9, step_size=1.0, exploration=Epsilon(0.5)),
        DynaQ(discount=0.9, step_size=1.0, exploration=Epsilon(0.5), trajectories=True),
        PrioritisedSweeping(discount=0.9, exploration=Epsilon(0.5)),
        CertaintyEquivalence(discount=0.9, exploration=Epsilon(0.5)),
        RMax(discount=0.9, known=1),
    ],
    ids=["dyna_q", "dyna_q_along_walks", "prioritised_sweeping", "certainty_equivalence", "rmax"],
)
def test_planners_find_the_shortest_way_through_the_maze(method: Any) -> None:
    maze = ascii_map("S..#\n.#..\n...G")
    lost = regrets(method, TimeLimit(sampled(maze), 200), 1500, bellman.solve(maze, 0.9), 5)
    np.testing.assert_allclose(lost, 0, atol=1e-6)
