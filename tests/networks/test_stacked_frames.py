"""Stacked frames: what is shown by hand, and that a window shows what acting saw, to the bit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import SAC, TD3
from retorno.core.counter import Counter
from retorno.core.policy import Policy, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep, Trajectory, blank
from retorno.networks import GRU, MLP, ActionValueHead, Activation, Stack
from retorno.networks.normalisers import ObservationNormaliser, normalised, shown
from retorno.networks.stacked import stacked_space
from retorno.replay import ring

KEY = jax.random.key(0)


class Seen(Policy):
    """Says what it sees."""

    @property
    def context(self) -> int:
        return 0

    def initial_carry(self) -> Any:
        return ()

    def step(self, obs: Any, first: Any, carry: Any) -> Any:
        return {"seen": obs}, ()


class Looking:
    """The settings of `Seen`."""

    def build(self, key: Any, observation_space: Any, heads: Any) -> Policy:
        return Seen()


def seen(stack: Stack, space: spaces.Space[Any], obs: Any, first: list[bool]) -> Any:
    policy = stack.build(jax.random.key(0), space, {})
    return policy.unroll(obs, jnp.array(first), policy.initial_carry())["seen"]


def test_frames_by_hand():
    obs = jnp.array([[1.0], [2.0], [3.0], [10.0], [20.0]])
    first = [True, False, False, True, False]
    shown = seen(Stack(3, network=Looking()), spaces.Box(-1, 1, (1,)), obs, first)
    assert shown[..., 0].tolist() == [[1, 1, 1], [1, 1, 2], [1, 2, 3], [10, 10, 10], [10, 10, 20]]
    shown = seen(Stack(3, 0.5, Looking()), spaces.Box(-1, 1, (1,)), obs, first)
    assert shown[..., 0].tolist() == [[0, 0, 1], [0, 0.5, 2], [0.5, 0.5, 3], [0, 0, 10], [0, 5, 20]]


def test_whole_numbers_have_no_difference():
    shown = seen(Stack(2, 9.0, Looking()), spaces.Discrete(5), jnp.array([3, 4]), [True, False])
    assert shown.tolist() == [[3, 3], [3, 4]]


def test_bytes_in_rows_and_columns_are_an_image():
    space = spaces.Box(0, 255, (4, 5), np.uint8)
    obs = jnp.arange(2 * 20, dtype=jnp.uint8).reshape(2, 4, 5)
    shown = seen(Stack(2, network=Looking()), space, obs, [True, False])
    np.testing.assert_array_equal(shown[1], jnp.stack([obs[0], obs[1]], -1))
    assert stacked_space(space, 2).shape == (4, 5, 2)


def test_an_image_has_its_frames_as_channels():
    space = spaces.Box(0, 255, (4, 5, 3), np.uint8)
    obs = jnp.arange(2 * 60, dtype=jnp.uint8).reshape(2, 4, 5, 3)
    shown = seen(Stack(2, network=Looking()), space, obs, [True, False])
    assert shown.shape == (2, 4, 5, 6) and shown.dtype == jnp.uint8
    np.testing.assert_array_equal(shown[1, ..., :3], obs[0])
    np.testing.assert_array_equal(shown[1, ..., 3:], obs[1])
    assert stacked_space(space, 2).shape == (4, 5, 6)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (2,)),
        spaces.Discrete(4, start=2),
        spaces.MultiDiscrete([3, 4]),
        spaces.MultiBinary(3),
        spaces.MultiBinary((2, 3, 2)),
        spaces.MultiBinary((2, 3)),
        spaces.MultiDiscrete(np.full((2, 3, 2), 4)),
        spaces.Box(0, 255, (2, 4, 5, 3), np.uint8),
        spaces.Dict(a=spaces.Box(0, 255, (2, 2, 1), np.uint8), b=spaces.Tuple([spaces.Discrete(2)])),
    ],
    ids=lambda space: type(space).__name__,
)
@pytest.mark.parametrize("difference", [None, 50.0])
def test_what_is_shown_lies_in_the_stacked_space(space, difference):
    space.seed(0)
    obs = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *[space.sample() for _ in range(8)])
    shown = seen(Stack(3, difference, Looking()), space, obs, [True] + [False] * 7)
    stacked = stacked_space(space, 3, difference)
    for t in range(8):
        one = jax.tree.map(lambda x, t=t: np.asarray(x[t]), shown)
        assert jax.tree.all(jax.tree.map(lambda x, y: np.shape(x) == np.shape(y), one, stacked.sample()))
        if isinstance(space, spaces.Box):
            assert stacked.contains(one), one


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="frames must be positive, got 0"):
        Stack(0).build(jax.random.key(0), spaces.Discrete(2), {})


@pytest.mark.parametrize("normalising", [False, True])
def test_a_window_shows_what_acting_saw_to_the_bit(normalising):
    """Values while acting, row by row, against those of every window of a ring in which each frame is stored once.

    Where observations are normalised the moments move from row to row, and those of a window's last row count.
    """
    space, frames, steps, num_envs = spaces.Box(-1, 1, (3,)), 3, 40, 2
    config = Stack(frames, 50.0, MLP((16,), Activation.relu))
    network = config.build(jax.random.key(0), space, {"q": ActionValueHead(2)})
    rng = np.random.default_rng(0)
    obs = jnp.asarray(rng.uniform(-1, 1, (steps + 1, num_envs, 3)), jnp.float32)
    last = jnp.asarray(rng.random((steps + 1, num_envs)) < 0.2)
    first = jnp.concatenate([jnp.ones((1, num_envs), bool), last[:-1]])
    rows = TimeStep(obs, jnp.zeros((steps + 1, num_envs)), jnp.ones((steps + 1, num_envs)), first, last)

    def moved(normaliser: ObservationNormaliser, seen: jax.Array) -> Any:
        return (after := normaliser.update(seen[None])), after

    moments = jax.lax.scan(moved, ObservationNormaliser.start(space), obs)[1] if normalising else None

    @jax.jit
    def acting() -> jax.Array:
        def act(carry: Any, row: Any) -> Any:
            obs, first, moments = row
            heads, carry = jax.vmap(normalised(network, moments).step)(obs, first, carry)
            return carry, heads["q"]

        empty = jax.tree.map(lambda x: jnp.repeat(x[None], num_envs, 0), network.initial_carry())
        return jax.lax.scan(act, empty, (obs, first, moments))[1]

    sizes = {"num_envs": num_envs, "capacity": num_envs * steps, "rollout": steps, "context": network.context}
    example = blank(jax.tree.map(lambda x: x[0, 0], rows))
    replay = ring(example, jnp.int32(0), **sizes)
    replay = replay.add(Trajectory(rows, jnp.zeros((steps, num_envs), jnp.int32), (), ()))
    assert replay.steps.obs.shape == (steps + network.context + 1, num_envs, 3)

    def replayed(row: Any) -> jax.Array:
        index, moments = row
        network = normalised(plain, moments)
        window = replay.windows(index)
        steps = window.trajectory.steps
        return unroll_batch(network, steps.obs[:1], steps.first[:1], window.carry(network))["q"][0]

    plain = network
    # As many at once as act at once: products of other shapes are rounded otherwise.
    windows = jnp.arange(steps * num_envs).reshape(steps, num_envs)
    before = jax.tree.map(lambda x: x[:-1], moments)
    np.testing.assert_array_equal(acting()[:-1], jax.jit(lambda: jax.lax.map(replayed, (windows, before)))())


def test_a_memory_of_raw_frames_is_shown_as_rows_are():
    """What SAC and TD3 store while acting, read where learning shows rows standardised."""
    space, rng = spaces.Box(-1, 1, (3,)), np.random.default_rng(0)
    policy = Stack(3, network=GRU(8, (8,))).build(jax.random.key(0), space, {"q": ActionValueHead(2)})
    rows = jnp.asarray(rng.normal(5.0, 3.0, (6, 3)), jnp.float32)
    moments = ObservationNormaliser.start(space).update(rows[:, None])
    acts, first = normalised(policy, moments), jnp.arange(6) == 0
    carry = acts.read(rows[:3], first[:3], policy.initial_carry())
    np.testing.assert_array_equal(carry[0], rows[1:3])
    several = jax.tree.map(lambda x: x[None], carry)
    before = jax.tree.map(lambda x: x[0], shown(policy, several, moments))
    learns = policy.unroll(jax.vmap(moments)(rows[3:]), first[3:], before)["q"]
    np.testing.assert_allclose(acts.unroll(rows[3:], first[3:], carry)["q"], learns, atol=1e-6)
    assert shown(policy, carry, None) is carry


@pytest.mark.parametrize("algorithm", [SAC, TD3])
def test_the_memory_that_acts_holds_frames_as_they_were(algorithm):
    space = spaces.Box(-1, 1, (3,))
    settings = algorithm(network=Stack(2, network=MLP((8,))), normalise_observations=True, capacity=16)
    row = TimeStep(jnp.full(3, 5.0), jnp.float32(0), jnp.float32(1), jnp.array(True), jnp.array(False))
    learner = settings.init(jax.random.key(0), Spec(space, space, num_envs=1, steps=Counter.of(64), row=row))
    many = ObservationNormaliser.start(space).update(jnp.arange(30.0).reshape(10, 1, 3))
    _, _, carry = settings.act(learner._replace(observations=many), row, settings.initial_carry(learner), KEY)
    memory = carry[0] if algorithm is TD3 else carry  # TD3 keeps its noise beside it.
    np.testing.assert_array_equal(memory[0], row.obs[None])
