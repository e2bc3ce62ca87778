"""Classic control against Gymnasium's own environments, transition by transition."""

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.core.time_step import TimeStep
from retorno.environments.control import classic

WORLDS = {
    "CartPole-v1": classic.cart_pole,
    "MountainCar-v0": classic.mountain_car,
    "MountainCarContinuous-v0": classic.mountain_car_continuous,
    "Acrobot-v1": classic.acrobot,
    "Pendulum-v1": classic.pendulum,
}
TRANSITIONS = 4000


def states_of(name: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """States [n, D] all over the world, those near termination and at the bounds included."""
    uniform = rng.uniform
    match name:
        case "CartPole-v1":
            return uniform([-2.5, -3, -0.25, -3], [2.5, 3, 0.25, 3], (n, 4))
        case "MountainCar-v0" | "MountainCarContinuous-v0":
            states = uniform([-1.25, -0.07], [0.6, 0.07], (n, 2))
            return np.clip(states, [-1.2, -0.07], [0.6, 0.07])
        case "Acrobot-v1":
            return uniform([-np.pi, -np.pi, -12.5, -28], [np.pi, np.pi, 12.5, 28], (n, 4))
    return uniform([-np.pi, -8], [np.pi, 8], (n, 2))


def actions_of(space: gym.Space, rng: np.random.Generator, n: int) -> np.ndarray:
    if isinstance(space, gym.spaces.Discrete):
        return rng.integers(0, space.n, n).astype(np.int32)
    return rng.uniform(1.5 * space.low, 1.5 * space.high, (n, 1)).astype(np.float32)


@pytest.mark.parametrize("name", WORLDS)
def test_matches_gymnasium_transition_by_transition(name):
    rng = np.random.default_rng(0)
    limited = WORLDS[name]()
    env = gym.make(name).unwrapped
    states = states_of(name, rng, TRANSITIONS).astype(np.float32)
    actions = actions_of(limited.action_space, rng, TRANSITIONS)
    step = jax.jit(jax.vmap(limited.world.step, in_axes=(0, 0, None)))
    rows: TimeStep = step(states, actions, jax.random.key(0))[1]

    env.reset(seed=0)
    expected = []
    for state, action in zip(states.astype(np.float64), actions, strict=True):
        env.state = state
        if name == "CartPole-v1":
            env.steps_beyond_terminated = None
        expected.append(env.step(action)[:3])
    obs, reward, terminated = (np.array(x) for x in zip(*expected, strict=True))

    calm = np.ones(TRANSITIONS, bool)
    if name == "Acrobot-v1":
        # At its greatest speeds a step of 0.2 s is so coarse that it magnifies rounding a thousandfold.
        calm = (abs(states[:, 2]) < 4) & (abs(states[:, 3]) < 6)
        np.testing.assert_allclose(rows.obs[~calm], obs[~calm], rtol=1e-2, atol=1e-2)
        assert calm.sum() > 200
    np.testing.assert_allclose(rows.obs[calm], obs[calm], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(rows.reward, reward, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(rows.discount, 1 - terminated)
    np.testing.assert_array_equal(rows.last, terminated)
    assert not np.asarray(rows.first).any()
    if name != "Pendulum-v1":
        assert 0 < terminated.mean() < 1


@pytest.mark.parametrize("name", WORLDS)
def test_lives_whole_episodes_as_gymnasium_does(name):
    """Side by side with the same actions: every row agrees up to the limit, which cuts both at once."""
    world, env = WORLDS[name](), gym.make(name)
    assert (world.observation_space, world.action_space) == (env.observation_space, env.action_space)
    limit = env.spec.max_episode_steps
    assert world.limit == limit
    rng = np.random.default_rng(1)
    state, first = jax.jit(world.reset)(jax.random.key(3))
    actions = actions_of(world.action_space, rng, limit)
    if name == "CartPole-v1":
        # A policy that balances, so that the episode reaches its limit.
        actions = None

    step = jax.jit(world.step)
    env.reset(seed=0)
    env.unwrapped.state = np.asarray(state.state, np.float64)
    obs, row = np.asarray(first.obs), first
    for t in range(limit):
        action = np.int32(3 * obs[2] + obs[3] + 0.1 * obs[1] + 0.05 * obs[0] > 0) if actions is None else actions[t]
        state, row = step(state, action, jax.random.key(0))
        obs, reward, terminated, truncated, _ = env.step(action)
        np.testing.assert_allclose(row.obs, obs, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(row.reward, reward, rtol=1e-4, atol=1e-4)
        # Or chaos would let float32 and float64 part.
        env.unwrapped.state = np.asarray(state.state, np.float64)
        assert bool(row.last) == (terminated or truncated)
        assert float(row.discount) == 1 - terminated
        if row.last:
            break
    assert t == limit - 1 and truncated and not terminated


@pytest.mark.parametrize("name", WORLDS)
def test_begins_where_gymnasium_begins(name):
    """The means, spreads and bounds of 20,000 first observations agree with 500 of Gymnasium's."""
    world, env = WORLDS[name](), gym.make(name).unwrapped
    obs = np.asarray(jax.jit(jax.vmap(lambda k: world.reset(k)[1].obs))(jax.random.split(jax.random.key(0), 20_000)))
    theirs = np.array([env.reset(seed=s)[0] for s in range(500)])
    stderr = theirs.std(0) / np.sqrt(500) + 1e-6
    assert (abs(obs.mean(0) - theirs.mean(0)) < 4.5 * stderr).all()
    assert (abs(obs.std(0) - theirs.std(0)) < 0.15 * theirs.std(0) + 1e-6).all()
    assert (obs.min(0) <= theirs.min(0) + 1e-3).all() and (obs.max(0) >= theirs.max(0) - 1e-3).all()
    span = theirs.max(0) - theirs.min(0)
    assert (obs.min(0) >= theirs.min(0) - 0.02 * span - 1e-6).all()


def test_the_acrobot_swings_freely_without_torque_lost():
    """Without torque its energy is kept, as closely as a step of 0.2 s keeps it."""
    world = classic.Acrobot()

    def energy(s):
        first, second, spin, elbow_spin = s
        both = spin + elbow_spin
        # Two links of mass 1 with inertia 1 about their centres, 0.5 from their joints.
        speed = spin**2 + 0.25 * both**2 + 2 * 0.5 * spin * both * jnp.cos(second)
        kinetic = 0.5 * (0.25 * spin**2 + spin**2) + 0.5 * (speed + both**2)
        return kinetic - 9.8 * (0.5 * jnp.cos(first) + jnp.cos(first) + 0.5 * jnp.cos(first + second))

    def swing(state, _):
        state = world.step(state, jnp.int32(1), jax.random.key(0))[0]
        return state, energy(state)

    start = jnp.array([0.3, -0.2, 0.0, 0.0])
    energies = jax.lax.scan(swing, start, None, length=20)[1]
    np.testing.assert_allclose(energies, energy(start), rtol=2e-3)


@pytest.mark.parametrize("name", WORLDS)
def test_is_drawn(name):
    """A picture, and another one where the state is another."""
    world = WORLDS[name]()
    state, _ = world.reset(jax.random.key(0))
    picture = world.render(state)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3 and picture.std() > 5
    moved = state._replace(state=state.state + 0.3)
    assert (world.render(moved) != picture).any()
