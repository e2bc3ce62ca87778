"""Classic control as JAX-native worlds: the equations of Gymnasium's environments, step for step, in float32.

Cart–pole (Barto, Sutton & Anderson 1983), the mountain car (Moore 1990) with a discrete and a
continuous engine, the acrobot (Sutton 1996; Sutton & Barto 2018, section 11.3's equations of
motion) and the pendulum. The classes have no time limit; the functions at the end are what
Gymnasium registers, limit included.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Int, Key

from retorno.core.time_step import TimeStep, restart, transition
from retorno.environments.canvas import BLUE, GREEN, GREY, INK, ORANGE, Board, Drawn
from retorno.environments.pixels.pictured import Pictured
from retorno.environments.wrappers import TimeLimit, Waiting

GRAVITY = 9.8

CART_MASS, POLE_MASS = 1.0, 0.1
HALF_POLE = 0.5
"""Half the pole's length, in metres."""
PUSH = 10.0
CART_SECONDS = 0.02
CART_EDGE = 2.4
POLE_EDGE = 12 * 2 * math.pi / 360

CAR_LEFT, CAR_RIGHT = -1.2, 0.6
CAR_SPEED = 0.07
CAR_SLOPE = 0.0025
CAR_ENGINE = 0.001
CAR_GOAL = 0.5
CAR_POWER = 0.0015
CAR_CONTINUOUS_GOAL = 0.45
CAR_VIEW = (CAR_LEFT, CAR_RIGHT, -0.05, 1.2)

LINK, LINK_CENTRE, LINK_MASS, LINK_INERTIA = 1.0, 0.5, 1.0, 1.0
ACROBOT_SECONDS = 0.2
ACROBOT_SPEEDS = (4 * math.pi, 9 * math.pi)

PENDULUM_GRAVITY = 10.0
PENDULUM_SECONDS = 0.05
PENDULUM_SPEED = 8.0
PENDULUM_TORQUE = 2.0


class CartPole(Drawn):
    """Balance a pole on a cart that is pushed left (0) or right (1).

    Observes position, velocity, angle, angular velocity; the reward is 1 a step; the episode
    terminates where the cart leaves ±2.4 m or the pole leans more than 12°.
    """

    @property
    def observation_space(self) -> spaces.Box:
        high = np.array([2 * CART_EDGE, np.inf, 2 * POLE_EDGE, np.inf], np.float32)
        return spaces.Box(-high, high)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def reset(self, key: Key[Array, ""]) -> tuple[Float[Array, " 4"], TimeStep]:
        state = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        return state, restart(state)

    def step(
        self, state: Float[Array, " 4"], action: Int[Array, ""], key: Key[Array, ""]
    ) -> tuple[Float[Array, " 4"], TimeStep]:
        x, velocity, angle, spin = state
        force = jnp.where(action == 1, PUSH, -PUSH)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        mass = CART_MASS + POLE_MASS
        moment = POLE_MASS * HALF_POLE
        thrust = (force + moment * spin**2 * sin) / mass
        spin_up = (GRAVITY * sin - cos * thrust) / (HALF_POLE * (4 / 3 - POLE_MASS * cos**2 / mass))
        speed_up = thrust - moment * spin_up * cos / mass
        x = x + CART_SECONDS * velocity
        angle = angle + CART_SECONDS * spin
        state = jnp.stack([x, velocity + CART_SECONDS * speed_up, angle, spin + CART_SECONDS * spin_up])
        return state, transition(state, 1.0, terminated=(abs(x) > CART_EDGE) | (abs(angle) > POLE_EDGE))

    def enter(self, obs: Float[Array, " 4"]) -> tuple[Float[Array, " 4"], TimeStep]:
        return obs, restart(obs)

    action_names: ClassVar = ("left", "right")
    view: ClassVar = (-CART_EDGE, CART_EDGE, -0.7, 1.7)

    def draw(self, state: Float[Array, " 4"], board: Board) -> None:
        x, _, angle, _ = state
        board.line([(-CART_EDGE, -0.12), (CART_EDGE, -0.12)], 0.02, GREY)
        board.box((x, 0), 0.5, 0.24, INK)
        tip = (x + 2 * HALF_POLE * jnp.sin(angle), 2 * HALF_POLE * jnp.cos(angle))
        board.line([(x, 0), tip], 0.09, ORANGE)
        board.circle((x, 0), 0.04, BLUE)


class MountainCar(Drawn):
    """Rock an underpowered car out of a valley: engine left (0), off (1) or right (2).

    Observes position and velocity; the reward is −1 a step; terminates at the flag, 0.5.
    """

    @property
    def observation_space(self) -> spaces.Box:
        return _car_space()

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(3)

    def reset(self, key: Key[Array, ""]) -> tuple[Float[Array, " 2"], TimeStep]:
        return _car_start(key)

    def step(
        self, state: Float[Array, " 2"], action: Int[Array, ""], key: Key[Array, ""]
    ) -> tuple[Float[Array, " 2"], TimeStep]:
        state = _drive(state, (action - 1) * CAR_ENGINE)
        return state, transition(state, -1.0, terminated=(state[0] >= CAR_GOAL) & (state[1] >= 0))

    def enter(self, obs: Float[Array, " 2"]) -> tuple[Float[Array, " 2"], TimeStep]:
        return obs, restart(obs)

    view: ClassVar = CAR_VIEW

    def draw(self, state: Float[Array, " 2"], board: Board) -> None:
        _draw_car(state[0], CAR_GOAL, board)


class MountainCarContinuous(Drawn):
    """The mountain car with an engine that takes any force in [−1, 1].

    The reward is −0.1 force² a step and 100 at the flag, 0.45, where it terminates.
    """

    @property
    def observation_space(self) -> spaces.Box:
        return _car_space()

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (1,))

    def reset(self, key: Key[Array, ""]) -> tuple[Float[Array, " 2"], TimeStep]:
        return _car_start(key)

    def step(
        self, state: Float[Array, " 2"], action: Float[Array, " 1"], key: Key[Array, ""]
    ) -> tuple[Float[Array, " 2"], TimeStep]:
        state = _drive(state, jnp.clip(action[0], -1, 1) * CAR_POWER)
        arrived = (state[0] >= CAR_CONTINUOUS_GOAL) & (state[1] >= 0)
        return state, transition(state, 100.0 * arrived - 0.1 * action[0] ** 2, terminated=arrived)

    def enter(self, obs: Float[Array, " 2"]) -> tuple[Float[Array, " 2"], TimeStep]:
        return obs, restart(obs)

    view: ClassVar = CAR_VIEW

    def draw(self, state: Float[Array, " 2"], board: Board) -> None:
        _draw_car(state[0], CAR_CONTINUOUS_GOAL, board)


def _car_space() -> spaces.Box:
    low, high = np.array([[CAR_LEFT, -CAR_SPEED], [CAR_RIGHT, CAR_SPEED]], np.float32)
    return spaces.Box(low, high)


def _car_start(key: Key[Array, ""]) -> tuple[Float[Array, " 2"], TimeStep]:
    state = jnp.stack([jax.random.uniform(key, minval=-0.6, maxval=-0.4), 0.0])
    return state, restart(state)


def _drive(state: Float[Array, " 2"], push: Float[Array, ""]) -> Float[Array, " 2"]:
    """One step of the mountain car. Sutton & Barto 2018, example 10.1."""
    x, velocity = state
    velocity = jnp.clip(velocity + push - CAR_SLOPE * jnp.cos(3 * x), -CAR_SPEED, CAR_SPEED)
    x = jnp.clip(x + velocity, CAR_LEFT, CAR_RIGHT)
    stopped = (x == np.float32(CAR_LEFT)) & (velocity < 0)
    return jnp.stack([x, jnp.where(stopped, 0.0, velocity)])


def _draw_car(x: Float[Array, ""], goal: float, board: Board) -> None:
    def ground(x: Any) -> Any:
        return 0.45 * jnp.sin(3 * x) + 0.55

    hill = [(at, 0.45 * math.sin(3 * at) + 0.55) for at in np.linspace(CAR_LEFT, CAR_RIGHT, 100).tolist()]
    board.polygon([*hill, (CAR_RIGHT, -0.1), (CAR_LEFT, -0.1)], (226, 229, 224))
    board.line(hill, 0.008, INK)
    foot = 0.45 * math.sin(3 * goal) + 0.55
    board.line([(goal, foot), (goal, foot + 0.16)], 0.008, INK)
    board.polygon([(goal, foot + y) for y in (0.16, 0.1)] + [(goal + 0.08, foot + 0.13)], GREEN)
    slope = jnp.arctan(1.35 * jnp.cos(3 * x))
    cos, sin = jnp.cos(slope), jnp.sin(slope)

    def on_car(along: float, up: float) -> Any:
        return x + along * cos - up * sin, ground(x) + along * sin + up * cos

    board.polygon([on_car(*at) for at in ((-0.07, 0.02), (0.07, 0.02), (0.06, 0.08), (-0.06, 0.08))], BLUE)
    for along in (-0.04, 0.04):
        board.circle(on_car(along, 0.02), 0.022, INK)


class Acrobot(Drawn):
    """Swing the tip of two hinged links above the bar, with torque −1, 0 or 1 at the elbow.

    The state is the two angles (the second relative to the first) and their velocities; observed
    are cosine and sine of each angle and the velocities. The reward is −1 a step and 0 where the
    tip rises over the line, which terminates.
    """

    @property
    def observation_space(self) -> spaces.Box:
        high = np.array([1, 1, 1, 1, *ACROBOT_SPEEDS], np.float32)
        return spaces.Box(-high, high)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(3)

    def reset(self, key: Key[Array, ""]) -> tuple[Float[Array, " 4"], TimeStep]:
        state = jax.random.uniform(key, (4,), minval=-0.1, maxval=0.1)
        return state, restart(_acrobot_obs(state))

    def step(
        self, state: Float[Array, " 4"], action: Int[Array, ""], key: Key[Array, ""]
    ) -> tuple[Float[Array, " 4"], TimeStep]:
        torque = action - 1.0
        # One step of the classic fourth-order Runge–Kutta method, on numbers and not on a vector of
        # them, which the compiler would take apart again and again.
        x, h = tuple(state), ACROBOT_SECONDS
        k1 = _acrobot_slope(x, torque)
        k2 = _acrobot_slope(_along(x, k1, h / 2), torque)
        k3 = _acrobot_slope(_along(x, k2, h / 2), torque)
        k4 = _acrobot_slope(_along(x, k3, h), torque)
        slope = tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        first, second, *speeds = _along(x, slope, h)
        spin, elbow_spin = (jnp.clip(v, -most, most) for v, most in zip(speeds, ACROBOT_SPEEDS, strict=True))
        state = jnp.stack([_wrap(first), _wrap(second), spin, elbow_spin])
        up = -jnp.cos(state[0]) - jnp.cos(state[0] + state[1]) > 1.0
        return state, transition(_acrobot_obs(state), up - 1.0, terminated=up)

    def enter(self, obs: Float[Array, " 6"]) -> tuple[Float[Array, " 4"], TimeStep]:
        angles = jnp.arctan2(obs[1], obs[0]), jnp.arctan2(obs[3], obs[2])
        return jnp.stack([*angles, obs[4], obs[5]]), restart(obs)

    view: ClassVar = (-2.3, 2.3, -2.3, 2.3)

    def draw(self, state: Float[Array, " 4"], board: Board) -> None:
        first, second = state[0], state[0] + state[1]
        elbow = (LINK * jnp.sin(first), -LINK * jnp.cos(first))
        tip = (elbow[0] + LINK * jnp.sin(second), elbow[1] - LINK * jnp.cos(second))
        board.line([(-2.3, LINK), (2.3, LINK)], 0.02, GREY)
        board.line([(0, 0), elbow], 0.16, BLUE)
        board.line([elbow, tip], 0.16, ORANGE)
        for joint in ((0.0, 0.0), elbow):
            board.circle(joint, 0.11, INK)


def _acrobot_obs(state: Float[Array, " 4"]) -> Float[Array, " 6"]:
    first, second, spin, elbow_spin = state
    return jnp.stack([jnp.cos(first), jnp.sin(first), jnp.cos(second), jnp.sin(second), spin, elbow_spin])


def _along(x: tuple[Array, ...], slope: tuple[Array, ...], seconds: float) -> tuple[Array, ...]:
    return tuple(a + seconds * b for a, b in zip(x, slope, strict=True))


def _acrobot_slope(x: tuple[Array, ...], torque: Float[Array, ""]) -> tuple[Array, ...]:
    """The time derivative of the acrobot's state. Sutton & Barto 2018, section 11.3 (the book's equations)."""
    first, second, spin, elbow_spin = x
    m, length, centre, inertia = LINK_MASS, LINK, LINK_CENTRE, LINK_INERTIA
    cos, sin = jnp.cos(second), jnp.sin(second)
    d1 = m * centre**2 + m * (length**2 + centre**2 + 2 * length * centre * cos) + 2 * inertia
    d2 = m * (centre**2 + length * centre * cos) + inertia
    phi2 = m * centre * GRAVITY * jnp.sin(first + second)
    phi1 = (
        -m * length * centre * elbow_spin * sin * (elbow_spin + 2 * spin)
        + (m * centre + m * length) * GRAVITY * jnp.sin(first)
        + phi2
    )
    elbow_spin_up = (torque + d2 / d1 * phi1 - m * length * centre * spin**2 * sin - phi2) / (
        m * centre**2 + inertia - d2**2 / d1
    )
    spin_up = -(d2 * elbow_spin_up + phi1) / d1
    return spin, elbow_spin, spin_up, elbow_spin_up


class Pendulum(Drawn):
    """Swing a pendulum up and hold it there with a torque in [−2, 2]. It never terminates.

    The state is the angle (0 is up) and its velocity; observed are cosine and sine of the angle
    and the velocity. The reward is −(angle² + 0.1 velocity² + 0.001 torque²) before the step.
    """

    gravity: float = eqx.field(static=True, default=PENDULUM_GRAVITY)

    @property
    def observation_space(self) -> spaces.Box:
        high = np.array([1, 1, PENDULUM_SPEED], np.float32)
        return spaces.Box(-high, high)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-PENDULUM_TORQUE, PENDULUM_TORQUE, (1,))

    def reset(self, key: Key[Array, ""]) -> tuple[Float[Array, " 2"], TimeStep]:
        state = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0) * np.array([np.pi, 1], np.float32)
        return state, restart(_pendulum_obs(state))

    def step(
        self, state: Float[Array, " 2"], action: Float[Array, " 1"], key: Key[Array, ""]
    ) -> tuple[Float[Array, " 2"], TimeStep]:
        angle, spin = state
        torque = jnp.clip(action[0], -PENDULUM_TORQUE, PENDULUM_TORQUE)
        cost = _wrap(angle) ** 2 + 0.1 * spin**2 + 0.001 * torque**2
        spin = spin + (1.5 * self.gravity * jnp.sin(angle) + 3 * torque) * PENDULUM_SECONDS
        spin = jnp.clip(spin, -PENDULUM_SPEED, PENDULUM_SPEED)
        # Wrapped, so that float32 keeps its precision however often the pendulum turns.
        state = jnp.stack([_wrap(angle + spin * PENDULUM_SECONDS), spin])
        return state, transition(_pendulum_obs(state), -cost)

    def enter(self, obs: Float[Array, " 3"]) -> tuple[Float[Array, " 2"], TimeStep]:
        return jnp.stack([jnp.arctan2(obs[1], obs[0]), obs[2]]), restart(obs)

    view: ClassVar = (-1.4, 1.4, -1.4, 1.4)

    def draw(self, state: Float[Array, " 2"], board: Board) -> None:
        angle = state[0]
        board.line([(0, 0), (-jnp.sin(angle), jnp.cos(angle))], 0.2, ORANGE)
        board.circle((0, 0), 0.06, INK)


def _pendulum_obs(state: Float[Array, " 2"]) -> Float[Array, " 3"]:
    return jnp.stack([jnp.cos(state[0]), jnp.sin(state[0]), state[1]])


def _wrap(angle: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The same angle in [−π, π]."""
    return angle - 2 * math.pi * jnp.round(angle / (2 * math.pi))


def _limited(world: Drawn, limit: int, waits: bool, pixels: int | None) -> TimeLimit:
    seen = world if pixels is None else Pictured(world, pixels)
    return TimeLimit(Waiting(seen) if waits else seen, limit)


def cart_pole(limit: int = 500, waits: bool = False, pixels: int | None = None) -> TimeLimit:
    """CartPole-v1.

    Args:
        limit: steps after which an episode is cut.
        waits: whether it goes on where it is over, and waits there unpaid: so that all are as long (`Waiting`).
        pixels: columns of the picture as which it is seen (`Pictured`); None for its numbers.

    >>> cart_pole().action_space
    Discrete(2)
    """
    return _limited(CartPole(), limit, waits, pixels)


def mountain_car(limit: int = 200, waits: bool = False, pixels: int | None = None) -> TimeLimit:
    """MountainCar-v0.

    Args:
        limit: steps after which an episode is cut.
        waits: whether it goes on where it is over, and waits there unpaid: so that all are as long (`Waiting`).
        pixels: columns of the picture as which it is seen (`Pictured`); None for its numbers.

    >>> mountain_car().action_space
    Discrete(3)
    """
    return _limited(MountainCar(), limit, waits, pixels)


def mountain_car_continuous(limit: int = 999, waits: bool = False, pixels: int | None = None) -> TimeLimit:
    """MountainCarContinuous-v0.

    Args:
        limit: steps after which an episode is cut.
        waits: whether it goes on where it is over, and waits there unpaid: so that all are as long (`Waiting`).
        pixels: columns of the picture as which it is seen (`Pictured`); None for its numbers.

    >>> mountain_car_continuous().action_space.shape
    (1,)
    """
    return _limited(MountainCarContinuous(), limit, waits, pixels)


def acrobot(limit: int = 500, waits: bool = False, pixels: int | None = None) -> TimeLimit:
    """Acrobot-v1.

    Args:
        limit: steps after which an episode is cut.
        waits: whether it goes on where it is over, and waits there unpaid: so that all are as long (`Waiting`).
        pixels: columns of the picture as which it is seen (`Pictured`); None for its numbers.

    >>> acrobot().observation_space.shape
    (6,)
    """
    return _limited(Acrobot(), limit, waits, pixels)


def pendulum(limit: int = 200, pixels: int | None = None) -> TimeLimit:
    """Pendulum-v1.

    Args:
        limit: steps after which an episode is cut.
        pixels: columns of the picture as which it is seen (`Pictured`); None for its numbers.

    >>> pendulum().observation_space.shape
    (3,)
    """
    return _limited(Pendulum(), limit, False, pixels)
