"""Segments of worlds that live in Python: lived again and drawn from seeds and actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from test_learnt_reward import ALGORITHM, ALONE, small
from test_people import somebody

from retorno.core.environment import episode_seed
from retorno.core.time_step import TimeStep, Trajectory
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.labels import Labels
from retorno.preferences import People
from retorno.preferences.clips import Clips
from retorno.preferences.lives import Life, Lives
from retorno.replay import Ring
from retorno.replay.ring import ring
from retorno.run.train import train


def rows(first: np.ndarray) -> TimeStep:
    flat = jnp.zeros(first.shape)
    return TimeStep(flat, flat, flat, jnp.asarray(first), jnp.zeros(first.shape, bool))


@pytest.mark.parametrize("rollout", [1, 7, 40])
def test_what_is_kept_is_what_was_lived(rollout: int) -> None:
    """Against a list of all of it: more rows than fit, in rollouts shorter and longer than what is kept."""
    rng, steps, envs, slots = np.random.default_rng(0), 120, 3, 25
    first = rng.random((steps + 1, envs)) < 0.1
    first[0] = True
    action = rng.integers(0, 9, (steps, envs))
    kept = Lives.start(slots, envs, jnp.int32(0))
    held = ring(rows(first[0, 0]), jnp.int32(0), num_envs=envs, capacity=36, rollout=1, length=1)
    added, add, of = (jax.jit(one) for one in (Lives.added, Ring.add, Lives.of))
    for t in range(0, steps, rollout):
        end = min(t + rollout, steps)
        lived = Trajectory(rows(first[t : end + 1]), jnp.asarray(action[t:end]), (), ())
        kept, tail = added(kept, lived), max(t, end - held.slots + 1)
        held = add(held, Trajectory(rows(first[tail : end + 1]), jnp.asarray(action[tail:end]), (), ()))
    found = 0
    for back in range(1, held.slots):
        index = (int(held.newest) - back) % held.slots * envs + np.arange(envs)
        for env, place in enumerate(np.asarray(of(kept, held, jnp.asarray(index)))):
            now = steps - back
            begun = int(np.flatnonzero(first[: now + 1, env])[-1])
            assert place.tolist() == [env, int(first[: now + 1, env].sum()) - 1, now - begun]
            actions = jax.tree.map(np.asarray, kept).actions(place)
            if steps - begun < slots:
                assert actions is not None and np.array_equal(actions, action[begun:now, env])
                found += 1
            else:
                assert actions is None
    assert found > 10


def test_a_life_is_written_to_the_bit() -> None:
    actions = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    written = Life(1, 2, 5, actions).as_json()
    env, episode, age, read = Life.read(written, np.zeros((3, 2), np.float32))
    assert (env, episode, age) == (1, 2, 5) and np.array_equal(read, actions)
    for wrong in ({"age": 4}, {"actions": "!"}, {"env": None}):
        with pytest.raises(ValueError, match="no life of a segment"):
            Life.read(written | wrong, actions)


def test_a_clip_shows_the_episode_that_was() -> None:
    """In a world with actions of its own; with another seed it was lived otherwise, and numbers are shown."""
    made: Any = {"max_episode_steps": 50}
    there = gym.make("Pendulum-v1", render_mode="rgb_array", **made)
    obs, _ = there.reset(seed=int(episode_seed(7, 3, 2)))
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 1)).astype(np.float32)
    seen, pictures = [obs], [there.render()]
    for action in actions:
        obs, *_ = there.step(2 * action)
        seen.append(obs)
        pictures.append(there.render())
    segment = {
        "obs": np.array(seen[20:]).tolist(),
        "action": actions[20:].tolist(),
        "lived": Life(3, 2, 20, actions[:20]).as_json(),
    }
    world = gymnasium("Pendulum-v1", **made)
    clips = Clips(world, seed=7)
    assert clips.why_numbers is None
    frames = clips.frames(segment, [0, 4, 10])
    for frame, t in zip(frames, (20, 24, 30), strict=True):
        assert np.array_equal(frame, pictures[t])
    film = clips.film(segment)
    assert film.milliseconds == pytest.approx(1000 / 30 * (1 if len(film.frames) == 11 else 2))
    assert np.array_equal(film.frames[-1], pictures[-1])
    for other in (Clips(world, seed=8).frames(segment, [0]), clips.frames(segment | {"lived": {"env": 3}}, [0])):
        assert other[0].shape != frames[0].shape


def test_a_body_is_lived_again_and_drawn_at_its_own_speed() -> None:
    """A hopper by MuJoCo: what is seen is what was seen, or numbers would be shown."""
    world = gymnasium("Hopper-v5", terminate_when_unhealthy=False)
    clips = Clips(world)
    if clips.why_numbers is not None:
        pytest.skip(clips.why_numbers)
    there = world.open(1, 0)
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 1, 3)).astype(np.float32)
    seen = [there.reset().obs[0], *(there.step(action).obs[0] for action in actions)]
    there.close()
    segment = {
        "obs": np.array(seen[18:]).tolist(),
        "action": actions[18:, 0].tolist(),
        "lived": Life(0, 0, 18, actions[:18, 0]).as_json(),
    }
    film = clips.film(segment)
    assert film.milliseconds == pytest.approx(40) and len(film.frames) == 3
    assert all(frame.shape == (320, 320, 3) for frame in film.frames) and np.any(film.frames[0] != film.frames[-1])


class Dark(gym.Env):
    """Nothing draws it."""

    observation_space, action_space = spaces.Box(0, 1, (2,)), spaces.Discrete(2)
    metadata: Any = {"render_modes": []}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        pass

    def reset(self, **given: Any) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), 0.0, False, False, {}


def test_who_draws_nothing_says_so_and_shows_numbers() -> None:
    clips = Clips(gymnasium(Dark))
    assert "clips show the world's numbers as lines: Dark cannot be drawn" in str(clips.why_numbers)
    film = clips.film({"obs": [[0, 1], [1, 0], [0.5, 0.5]], "action": [1, 1]})
    assert len(film.frames) == 3 and film.milliseconds == 60


def test_people_are_asked_about_what_can_be_lived_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, though pairs are asked again whose episodes are kept no more; and a second time nothing else is."""
    monkeypatch.setattr("retorno.preferences.judges.PATIENCE", 0.01)
    place, world = tmp_path / "labels.db", gymnasium("FrozenLake-v1", is_slippery=True)
    asked = small(judge=People(str(place)), segment=2, repeats=0.5, recent=100, longest=60, **ALONE)
    go = somebody(place, lambda first, second: 1.0)
    try:
        with train(ALGORITHM, world, 800, seed=5, relabel=asked) as training:
            training.run_to_end()
        with train(ALGORITHM, world, 800, seed=5, relabel=asked) as again:
            again.run_to_end()
            assert again.digest == training.digest
    finally:
        go()
    segments = [each for query in Labels.open(place).queries("segments") for each in query.content["segments"]]
    clips = Clips(world, seed=5)
    assert len(segments) == 80 and max(each["lived"]["age"] for each in segments) > 5
    assert max(each["lived"]["episode"] for each in segments) > 5
    assert all(clips.frames(each, [0])[0].shape == (256, 256, 3) for each in segments[::7])
