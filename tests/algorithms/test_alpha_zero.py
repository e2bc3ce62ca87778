"""AlphaZero: what its targets are, by hand, and what it records of its own play."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from jax import Array

from retorno.algorithms import AlphaZero
from retorno.algorithms.self_play.gating import Gate, points_of
from retorno.algorithms.self_play.resignation import Hopes, Judged
from retorno.core.counter import Counter
from retorno.core.hyperparameters import as_arrays
from retorno.core.policy import WithoutMemory, world_reward
from retorno.core.runtime import IN_HASTE
from retorno.core.spaces import SpaceError
from retorno.core.time_step import TimeStep, Trajectory
from retorno.environments.games.game import GIVE_UP, Game, Moved
from retorno.environments.games.tic_tac_toe_for_two import TicTacToe
from retorno.environments.registry import native
from retorno.networks import MLP, Table
from retorno.ops.distributions import Categorical
from retorno.ops.optimisers import Adam
from retorno.replay import Window
from retorno.run.collect import collect
from retorno.run.loop import begin_native, begin_runs, iterate, native_spec
from retorno.search import PUCT

WORLD = TicTacToe()
KEY = jax.random.key(0)


class Constant(WithoutMemory):
    """A network that thinks .5 of everything."""

    def step(self, obs: Any, first: Any, carry: Any) -> Any:
        return {"policy": Categorical(jnp.zeros(9)), "value": jnp.float32(0.5)}, ()


def test_targets_by_hand() -> None:
    """Five moves: two by chance, then a game that the mover of row 4 wins; λ = ½."""
    values = jnp.array([0.1, 0.2, 0.4, -0.6, 0.8])[:, None]
    opens = jnp.array([True, True, False, False, False])[:, None]
    shape = (6, 1)
    steps = TimeStep(
        obs=jnp.zeros((*shape, 3, 3), jnp.int8),
        reward=jnp.zeros(shape).at[5].set(1.0),
        discount=jnp.full(shape, -1.0).at[0].set(1.0).at[5].set(0.0),
        first=jnp.zeros(shape, bool).at[0].set(True),
        last=jnp.zeros(shape, bool).at[5].set(True),
        legal=jnp.ones((*shape, 9), bool),
    )
    lived = Trajectory(steps, jnp.zeros((5, 1), jnp.int32), {"value": values, "opens": opens}, ())
    target = AlphaZero(lambda_=0.5)._targets(Constant(), lived, world_reward)
    # Row 4 wins: 1. Row 3: −(½ · .8 + ½ · 1). Row 2: −(½ · −.6 + ½ · −.9). Chance's rows keep the search's value.
    np.testing.assert_allclose(target[:, 0], [0.1, 0.2, 0.75, -0.9, 1.0], rtol=1e-6)


@pytest.mark.parametrize("world", ["recall", "CartPoleNoVel-v1"])
def test_a_world_that_cannot_be_entered_is_refused(world: str) -> None:
    place = native(world)
    method = AlphaZero(network=MLP((8,)), search=PUCT(simulations=4))
    with pytest.raises(SpaceError, match="plans in the world itself"):
        method.init(KEY, native_spec(place, Counter.of(1), 4))


def test_a_high_temperature_draws_nothing_that_is_not_legal() -> None:
    method = AlphaZero(network=Table(), search=PUCT(simulations=4), openings=0, temperature=50.0)
    learner = method.init(KEY, native_spec(Nim(), Counter.of(1), 2))
    _, row = Nim().enter(jnp.int32(1))
    acting = lambda key: method.act(learner, row, method.initial_carry(learner), key)[0]  # noqa: E731
    assert (jax.jit(jax.vmap(acting))(jax.random.split(KEY, 64)) == 0).all()


class Nim(Game):
    """Take one, two or three of the matches; who takes the last one wins: leave the other a multiple of four."""

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(11)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(3)

    def start(self, key: Any) -> Any:
        return jnp.int32(10)

    def legal(self, position: Any) -> Any:
        return jnp.arange(1, 4) <= position

    def move(self, position: Any, action: Any, key: Any) -> Moved:
        left = position - 1 - action
        return Moved(left, reward=left == 0, over=left == 0)


def test_reanalysis_gives_some_rows_todays_policies() -> None:
    """Two of four rows get what the search finds with a network that knows the move; the others keep theirs."""
    method = AlphaZero(network=Table(), search=PUCT(simulations=16), num_envs=2, batch_size=4, reanalysed=2)
    learner = method.init(KEY, native_spec(Nim(), Counter.of(1), 2))
    rows = jax.vmap(lambda left: Nim().enter(left)[1])(jnp.array([[3, 3, 3, 3]] * 2).reshape(-1))
    steps = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), rows)
    extras = {"policy": jnp.full((1, 4, 3), 1 / 3), "target": jnp.zeros((1, 4)), "full": jnp.zeros((1, 4), bool)}
    window = Window(
        Trajectory(steps, jnp.zeros((1, 4), jnp.int32), extras, ()), steps, (), jnp.zeros(4, int), jnp.ones(4)
    )
    after = jax.jit(method._searched_anew)(learner, window, KEY).trajectory.extras
    # Who takes all three has won, which the search finds though the network knows nothing.
    assert (after["policy"][0, :2].argmax(1) == 2).all() and (after["policy"][0, :2, 2] > 0.5).all()
    np.testing.assert_array_equal(after["policy"][0, 2:], extras["policy"][0, 2:])
    np.testing.assert_array_equal(after["target"], extras["target"])
    np.testing.assert_array_equal(after["full"][0], [True, True, False, False])


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="reanalysed=5 rows of a batch of 4"):
        AlphaZero(batch_size=4, reanalysed=5)
    with pytest.raises(ValueError, match=r"quick searches of 16 simulations .* are no quicker than full ones of 16"):
        AlphaZero(search=PUCT(simulations=16), quick_simulations=16)


def test_quick_searches_teach_values_alone() -> None:
    method = AlphaZero(
        network=MLP((8,), shared=True), search=PUCT(simulations=9), quick_simulations=3, full_share=0.5, rollout=4
    )
    run = begin_native(method, WORLD, None, jnp.uint32(0), Counter.of(4096), 4)

    def act(learner: Any, key: Any) -> Any:
        rows = jax.vmap(WORLD.reset)(jax.random.split(key, 4))[1]
        acting = lambda row, key: method.act(learner, row, method.initial_carry(learner), key)  # noqa: E731
        return jax.vmap(acting)(rows, jax.random.split(key, 4))[1]

    def at(step: int) -> Any:
        learner = run.learner
        return learner._replace(clock=learner.clock._replace(step=Counter.of(jnp.uint32(step))))

    played = jax.jit(jax.vmap(act, (None, 0)), compiler_options=IN_HASTE)
    kinds = set()
    for extras in (played(at(16 * n), jax.random.split(KEY, 2)) for n in range(6)):
        full = np.asarray(extras["full"])
        kinds.add(bool(full.any()))
        assert full.all() or not full.any(), "one rollout is of one kind"
        # PUCT's policy counts simulations.
        whole = np.asarray(extras["policy"]) * (9 if full.all() else 3)
        np.testing.assert_allclose(whole, np.round(whole), atol=1e-5)
    assert kinds == {True, False}
    # Of two rows one was searched in full: the policy's loss is that row's alone, the value's that of both.
    rows = jax.vmap(WORLD.reset)(jax.random.split(KEY, 2))[1]
    steps = jax.tree.map(lambda x: jnp.stack([x, x]), rows)
    policy = jnp.stack([jax.nn.one_hot(0, 9), jnp.full(9, 5.0)])[None]
    extras = {"policy": policy, "target": jnp.array([[0.5, 1.5]]), "full": jnp.array([[True, False]])}
    lived = Trajectory(steps, jnp.zeros((1, 2), jnp.int32), extras, ())
    window = Window(lived, steps, (), jnp.zeros(2, int), jnp.ones(2))
    _, (metrics, _) = method._loss(Constant(), rows.obs, policy[0], window)
    np.testing.assert_allclose([metrics["policy_loss"], metrics["value_loss"]], [np.log(9), 0.5], rtol=1e-5)


def test_who_gives_up_has_lost() -> None:
    state, row = WORLD.reset(KEY)
    state, row = WORLD.step(state, jnp.int32(4), KEY)
    _, after = WORLD.step(state, jnp.int32(GIVE_UP), KEY)
    assert (after.reward, after.discount, after.last) == (-1, 0, True) and after.legal.all()
    np.testing.assert_array_equal(after.obs, row.obs)
    alone = native("2048")
    assert np.isnan(alone.step(alone.reset(KEY)[0], jnp.int32(GIVE_UP), KEY)[1].reward)


@pytest.mark.parametrize(
    ("reward", "discounts", "hopeless", "expected"),
    [
        # The first player thought it lost and has: it moved, the second wins with the next move.
        (1.0, [1, -1, 0], [True, False], (1, 0, 1, 0)),
        # It wins with its second move, which the other had thought too, rightly.
        (1.0, [1, -1, -1, 0], [True, True, False], (1, 0, 2, 1)),
        # A draw is no loss for either.
        (0.0, [1, -1, 0], [True, True], (1, 0, 2, 2)),
        # Whoever loses by their own move; the first moved twice.
        (-1.0, [1, 1, 0], [False, True], (1, 0, 1, 0)),
    ],
)
def test_who_would_have_given_up_wrongly(reward: float, discounts: list[int], hopeless: Any, expected: Any) -> None:
    """Rows of a game that is played on; its last one pays."""
    hopes, found = Hopes.begun(KEY, 1.0), Judged.none()
    for number, discount in enumerate(discounts):
        ends = number == len(discounts) - 1
        row = TimeStep(None, jnp.float32(reward * ends), jnp.float32(discount), number == 0, jnp.bool_(ends))
        hopes = hopes.turn(row).see(jnp.bool_(not ends and hopeless[number]))
        found = jax.tree.map(jnp.add, found, hopes.judged(row))
    assert tuple(map(float, found)) == expected


def test_it_gives_up_below_a_bound_but_not_in_games_that_are_played_on() -> None:
    """A network that thinks well of 9, 8 and 7 matches: so who has 10 gives up at once, which is often wrong."""

    class Gloomy(WithoutMemory):
        def step(self, obs: Any, first: Any, carry: Any) -> Any:
            return {"policy": Categorical(jnp.zeros(3)), "value": jnp.where((obs > 6) & (obs < 10), 0.9, 0.0)}, ()

    method = AlphaZero(
        network=Table(),
        search=PUCT(simulations=3, noise=0.0),
        num_envs=8,
        rollout=16,
        openings=0,
        resign_below=-0.8,
        played_on=0.5,
        lambda_=1.0,
    )
    run = begin_native(method, Nim(), None, jnp.uint32(0), Counter.of(4096), 8)
    learner = run.learner._replace(network=Gloomy())
    lived = jax.jit(lambda run: collect(method, learner, Nim(), run.stage, run.seed, KEY)[1])(run)
    first, gave, after = lived.steps.first[:-1], lived.action == GIVE_UP, jax.tree.map(lambda x: x[1:], lived.steps)
    assert gave.any() and (gave <= first).all() and (first & ~gave).any()
    assert (after.last[gave]).all() and (after.reward[gave] == -1).all() and (after.discount[gave] == 0).all()
    target = method._targets(learner.network, lived, world_reward)
    assert (target[gave] == -1).all() and np.isfinite(np.asarray(target)).all()
    told = lived.extras["judged"]
    assert told.given_up.sum() == (gave[:-1] & lived.steps.last[1:-1]).sum() > 0
    # Rows that end a game that was played on tell of the first player alone whether it was wrong to despair.
    assert told.hopeless.sum() == (told.games - told.given_up).sum()
    moved_last_first = (lived.steps.last[:-1] & (told.given_up == 0)).sum()
    assert 0 < told.wrongly.sum() < moved_last_first
    with pytest.raises(SpaceError, match="games of two"):
        AlphaZero(resign_below=-0.9).init(KEY, native_spec(native("CartPole-v1"), Counter.of(1), 4))


class ForThree(Nim):
    """Who wins gets three: it is still one point."""

    def move(self, position: Any, action: Any, key: Any) -> Moved:
        led = super().move(position, action, key)
        return led._replace(reward=3 * led.reward)


def test_a_match_gives_both_the_same_beginnings() -> None:
    """Who leaves a multiple of four beats who always takes one; anyone is as strong as themselves."""
    perfect = lambda row, key: jnp.maximum(row.obs % 4 - 1, 0)  # noqa: E731
    careless = lambda row, key: jnp.int32(0)  # noqa: E731
    match = jax.jit(partial(points_of, world=ForThree(), pairs=16, key=KEY), static_argnums=(0, 1))
    assert match(perfect, perfect) == match(careless, careless) == 0.5
    # With two moves at random 4 to 8 of ten are left to who began: of two players one wins a beginning, or both do.
    assert match(perfect, careless) + match(careless, perfect) == 1 and match(perfect, careless) > 0.7


class Weighed(Constant):
    """One that can be told from others."""

    weight: Array


def test_a_network_plays_once_it_has_beaten_the_one_that_does() -> None:
    new = Weighed(jnp.float32(1))
    gate = Gate.closed(Weighed(jnp.float32(0)), 3)
    for points, best in ((0.5, 0), (0.55, 1)):
        for made in (1.0, 1.0, points):
            assert gate.best.weight == 0  # type: ignore[attr-defined]
            gate = gate.after(new, 3, 0.55, lambda one, other, made=made: jnp.float32(made))
        assert gate.best.weight == best == gate.taken and gate.points == jnp.float32(points)  # type: ignore[attr-defined]
    with pytest.raises(SpaceError, match="gate_period is for native games of two"):
        AlphaZero(gate_period=2).init(KEY, native_spec(native("CartPole-v1"), Counter.of(1), 4))


def test_behind_a_gate_the_best_network_plays() -> None:
    """Two updates, a match after each: the network that learns is another one, and plays only where that is enough."""
    method = AlphaZero(
        network=Table(),
        search=PUCT(simulations=2),
        num_envs=2,
        rollout=4,
        gradient_steps=2,
        batch_size=8,
        optimiser=Adam(1.0),
        gate_period=1,
        gate_games=2,
    )
    begun = begin_native(method, Nim(), None, jnp.uint32(0), Counter.of(4096), 2)
    once = jax.jit(lambda method, run: iterate(method, Nim(), run).after, compiler_options=IN_HASTE)
    same = lambda one, other: bool(jax.tree.all(jax.tree.map(jnp.array_equal, one, other)))  # noqa: E731
    for needed, plays in ((0.0, True), (1.1, False)):
        settings = as_arrays(replace(method, gate_points=0.5))
        object.__setattr__(settings, "gate_points", jnp.float32(needed))
        after = once(settings, once(settings, begun)).learner
        player: Any = method.policy(after)
        assert not same(after.network, begun.learner.network)
        assert same(player.network, after.network if plays else begun.learner.network)


def test_playing_against_itself_it_finds_minimax() -> None:
    """Its network alone: the perfect move wherever there is one, and who wins, with each of three seeds."""
    world, method = (
        Nim(),
        AlphaZero(
            network=Table(),
            search=PUCT(simulations=16),
            num_envs=8,
            gradient_steps=16,
            batch_size=64,
            capacity=2048,
            optimiser=Adam(0.05),
            openings=6,
        ),
    )
    steps = Counter.of(4_000)

    @partial(jax.jit, compiler_options=IN_HASTE)
    def learnt(seed: Any) -> Any:
        run = begin_runs(method, world, None, seed, steps, method.num_envs)
        going = lambda run: run.step.low < steps.low  # noqa: E731
        return jax.lax.while_loop(going, lambda run: iterate(method, world, run).after, run).learner.network

    matches = np.arange(1, 11)
    won = matches % 4 != 0
    for seed in range(3):
        network = learnt(np.uint32(seed))
        heads = jax.vmap(lambda left, network=network: network.step(left, jnp.bool_(True), ())[0])(jnp.asarray(matches))
        logits = np.where(np.arange(1, 4) <= matches[:, None], heads["policy"].logits, -np.inf)
        assert (logits.argmax(1) + 1)[won].tolist() == (matches % 4)[won].tolist()
        assert (np.sign(heads["value"]) == np.where(won, 1, -1)).all()
