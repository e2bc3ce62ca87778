"""Gymnasium's MuJoCo bodies side by side: physics by threads of native code, observations and rewards as whole arrays.

Each environment stays Gymnasium's own: it resets itself, and it is what lives an episode again when a run is resumed.
Only the steps of all of them are taken together, to the same bits: `mj_step` lets go of Python's lock, so threads
share the cores, and what Gymnasium computes of one body after another is computed of all at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import OrderEnforcing, TimeLimit
from jaxtyping import Bool, Float

from retorno.core.time_step import TimeStep
from retorno.environments.hosted.sync_environments import Keepers

SMALL = {"width": 320, "height": 320}
"""How large pictures are that have to be drawn at once, without a graphics card."""

Seen = tuple[Float[np.ndarray, "B obs"], Float[np.ndarray, " B"], Bool[np.ndarray, " B"]]
"""Observations, rewards, and whether episodes terminated."""


def make_body(spec: EnvSpec, **kwargs: Any) -> gym.Env:
    """As `gym.make`, without what MuJoCo finds deprecated in Gymnasium's own models, once for each environment.

    Args:
        spec: of one of them.
        **kwargs: as of `gym.make`.
    """
    mujoco: Any = importlib.import_module("mujoco")

    def tell(message: str) -> None:
        if "deprecated" not in message:
            print(f"MuJoCo: {message}", file=sys.stderr)

    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(tell)
    draws = kwargs.get("render_mode") is not None
    if draws and sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        # Without a screen Gymnasium would take what needs one, and fail only where it draws. Only who draws says so:
        # where that is not installed, MuJoCo itself could not be imported any more.
        os.environ.setdefault("MUJOCO_GL", "egl")
    env = gym.make(spec, **kwargs)
    if draws and not {"camera_id", "camera_name"} & kwargs.keys():
        body: Any = env.unwrapped
        track = mujoco.mj_name2id(body.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
        # Gymnasium 1.4 looks at where the body begins, and it soon is elsewhere; the models' own camera goes along.
        body.mujoco_renderer.camera_id = track
    return env


def graphics_card() -> bool:
    """Whether there is one to draw with; where that is not known, it is taken to be there."""
    return sys.platform != "linux" or any(Path("/dev").glob("dri/renderD*")) or Path("/dev/nvidia0").exists()


def draw_plainly(env: gym.Env) -> gym.Env:
    """Leave out shadows and smooth edges: without a graphics card they take six sevenths of a picture's time.

    Args:
        env: a body, that has drawn nothing yet.
    """
    body: Any = env.unwrapped
    body.model.vis.quality.offsamples = body.model.vis.quality.shadowsize = 0
    return env


def made_here(spec: EnvSpec) -> bool:
    """Whether an environment is one of Gymnasium's bodies.

    Args:
        spec: its registration.
    """
    return str(spec.entry_point).startswith("gymnasium.envs.mujoco")


def together(envs: Sequence[gym.Env]) -> bool:
    """Whether these environments are bodies that can be stepped together, as `gym.make` makes them.

    Args:
        envs: all alike.
    """
    if len(envs) < 2 or _kind(envs[0]) is None:
        return False
    env = envs[0]
    while isinstance(env, gym.Wrapper):
        if type(env) not in (TimeLimit, OrderEnforcing):
            return False
        env = env.env
    return env.render_mode is None


class Bodies(Keepers):
    """Environments of one body, whose steps are taken together."""

    def __init__(self, envs: Sequence[gym.Env], *args: Any, **kwargs: Any) -> None:
        """As `Keepers`."""
        mujoco: Any = importlib.import_module("mujoco")
        super().__init__(envs, *args, **kwargs)
        self._bodies: list[Any] = [env.unwrapped for env in envs]
        self._data = [body.data for body in self._bodies]
        kind = _kind(envs[0])
        assert kind is not None
        self._look: Callable[[Any, list[Any], np.ndarray], Callable[[], Seen]] = kind
        spec = envs[0].spec
        self._longest = (spec and spec.max_episode_steps) or np.inf
        model, skip = self._bodies[0].model, self._bodies[0].frame_skip
        threads = min(os.cpu_count() or 1, len(envs))
        self._threads = ThreadPoolExecutor(threads)
        self._chunks = np.array_split(np.arange(len(envs)), threads)

        def simulate(which: np.ndarray, action: np.ndarray, still: list[bool]) -> None:
            for i in which:
                if not still[i]:
                    data = self._data[i]
                    data.ctrl[:] = action[i]
                    mujoco.mj_step(model, data, nstep=skip)
                    mujoco.mj_rnePostConstraint(model, data)

        self._simulate = simulate

    def step(self, action: np.ndarray) -> TimeStep:
        """The next rows [B]."""
        sent, ended = self._layout.decode(self._remember(action)), self._last
        look = self._look(self._bodies[0], self._data, sent)
        for each in [self._threads.submit(self._simulate, which, sent, ended) for which in self._chunks]:
            each.result()
        obs, reward, terminated = look()
        infos: list[dict[str, Any]] = [{}] * self.num_envs
        ages = self._cursor - self._start
        lasts = terminated | (ages >= self._longest)
        if True in ended:
            for i in np.flatnonzero(ended):
                obs[i], infos[i] = self._begin(int(i))
            reward[ended], terminated[ended], lasts[ended] = 0.0, False, False
        if lasts.any():
            self.endings.see(lasts.tolist(), infos)
        return self._gather(obs, reward.tolist(), terminated.tolist(), lasts.tolist(), ended, infos)

    def close(self) -> None:
        self._threads.shutdown()
        super().close()


def _kind(env: gym.Env) -> Any:
    """What is seen of a body of this kind; None for any other environment."""
    module, _, name = type(env.unwrapped).__module__.rpartition(".")
    return KINDS.get(name) if module == "gymnasium.envs.mujoco" else None


def _runner(clipped: bool, healthy: Callable[[Any, Any, Any], Any] | None) -> Any:
    """A body in a plane: paid for how fast it runs and, where it may fall, for not having fallen."""

    def look(body: Any, data: list[Any], action: np.ndarray) -> Callable[[], Seen]:
        before = np.array([each.qpos[0] for each in data])

        def after() -> Seen:
            position, velocity = np.array([each.qpos for each in data]), np.array([each.qvel for each in data])
            paid = body._forward_reward_weight * ((position[:, 0] - before) / body.dt)
            stands = np.ones(len(data), bool)
            if healthy is not None:
                stands = healthy(body, position, velocity)
                paid = paid + stands * body._healthy_reward
            paid = paid - body._ctrl_cost_weight * np.square(action).sum(1)
            seen = position[:, 1:] if body._exclude_current_positions_from_observation else position
            speeds = np.clip(velocity, -10, 10) if clipped else velocity
            fallen = ~stands & (healthy is not None and body._terminate_when_unhealthy)
            return np.concatenate((seen, speeds), 1), paid, fallen

        return after

    return look


def _within(x: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    return (ends[0] < x) & (x < ends[1])


def _walks(body: Any, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    return _within(position[:, 1], body._healthy_z_range) & _within(position[:, 2], body._healthy_angle_range)


def _hops(body: Any, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    state = np.concatenate((position, velocity), 1)[:, 2:]
    return _walks(body, position, velocity) & _within(state, body._healthy_state_range).all(1)


def _ant(body: Any, data: list[Any], action: np.ndarray) -> Callable[[], Seen]:
    """A body in space: paid for how fast it runs along x and for standing, less what it and the ground press."""
    main = body.model.body(body._main_body).id
    before = np.array([each.xpos[main, 0] for each in data])

    def after() -> Seen:
        position, velocity = np.array([each.qpos for each in data]), np.array([each.qvel for each in data])
        speed = (np.array([each.xpos[main, 0] for each in data]) - before) / body.dt
        state = np.concatenate((position, velocity), 1)
        low, high = body._healthy_z_range
        stands = np.isfinite(state).all(1) & (low <= state[:, 2]) & (state[:, 2] <= high)
        forces = np.clip(np.array([each.cfrc_ext for each in data]), *body._contact_force_range)
        paid = speed * body._forward_reward_weight + stands * body._healthy_reward
        pressed = body._contact_cost_weight * np.square(forces).sum((1, 2))
        paid = paid - (body._ctrl_cost_weight * np.square(action).sum(1) + pressed)
        seen = position[:, 2:] if body._exclude_current_positions_from_observation else position
        told = [forces[:, 1:].reshape(len(data), -1)] if body._include_cfrc_ext_in_observation else []
        return np.concatenate((seen, velocity, *told), 1), paid, ~stands & body._terminate_when_unhealthy

    return after


KINDS = {
    "half_cheetah_v5": _runner(False, None),
    "hopper_v5": _runner(True, _hops),
    "walker2d_v5": _runner(True, _walks),
    "ant_v5": _ant,
}
"""What is seen of bodies, by the module in which Gymnasium has them."""
