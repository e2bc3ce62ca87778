"""Atari's games, as Gymnasium prepares them, through rows, stacks, lives, and a resume."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.algorithms import DQN
from retorno.core.environment import episode_seed
from retorno.core.errors import WorldError
from retorno.environments.hosted.atari import Frames, atari
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.registry import UnknownNameError, WorldName, make
from retorno.networks import CNN, ActionValueHead, Stack
from retorno.run.resume import resume
from retorno.run.train import train

pytest.importorskip("ale_py")

GAME = "ALE/Breakout-v5"
SMALL = Stack(frames=4, network=CNN((2,), (12,), (12,), (4,)))


def by_gymnasium(**settings: Any) -> gym.Env:
    """The reference: one environment, its frames stacked."""
    gymnasium(GAME)  # registers the games
    game = gym.make(GAME, frameskip=1, repeat_action_probability=settings["sticky"])
    prepared = gym.wrappers.AtariPreprocessing(game, noop_max=settings["noop_max"], grayscale_newaxis=True)
    return gym.wrappers.FrameStackObservation(prepared, 4, padding_type="reset")


def test_rows_and_stacks_are_gymnasiums_over_whole_episodes() -> None:
    """Two environments, two episodes and more: each frame, reward and end, and the four frames that a network sees."""
    world: Any = gymnasium(GAME, preset="mnih", sticky=0.25)
    opened = world.open(2, seed=7)
    rng, rows, actions = np.random.default_rng(0), [opened.reset()], []
    while min(np.sum([row.last for row in rows], 0)) < 2 or not rows[-1].first.any():
        actions.append(rng.integers(0, 4, 2).astype(np.int32))
        rows.append(opened.step(actions[-1]))
    policy = SMALL.build(jax.random.key(0), world.observation_space, {"q": ActionValueHead(4)})
    obs, first = (np.stack([getattr(row, name) for row in rows]) for name in ("obs", "first"))
    before = policy.initial_carry()[0]
    stacks = jax.jit(jax.vmap(lambda o, f: policy._stacks(o, f, before), 1, 1))(jnp.asarray(obs), jnp.asarray(first))
    for env in range(2):
        reference, episode, seen = by_gymnasium(sticky=0.25, noop_max=30), -1, None
        for t, row in enumerate(rows):
            if row.first[env]:
                episode += 1
                seen, _ = reference.reset(seed=int(episode_seed(7, env, episode)))
            else:
                seen, reward, terminated, truncated, _ = reference.step(actions[t - 1][env])
                assert (reward, terminated or truncated) == (row.reward[env], row.last[env])
            np.testing.assert_array_equal(stacks[t, env], seen)
    assert Frames._starts[GAME] is not None, "no cartridge was read anew"


@pytest.mark.parametrize("sticky", [0.0, 0.25])
def test_the_emulators_threads_give_the_rows_of_single_games(sticky: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame by frame: with what sticks by one seed, without it by the frames in which nothing was done at the start."""
    world: Any = gymnasium(GAME, preset="mnih", sticky=sticky, noop_max=0 if sticky else 30, native=True)
    assert "cannot be resumed exactly" in world.why_not_resumable
    opened = world.open(2, seed=7)
    consoles = opened._vector
    told = list[Any]()
    for name in ("reset", "step"):
        call = getattr(consoles, name)
        monkeypatch.setattr(consoles, name, lambda *a, call=call, **b: told.append(call(*a, **b)) or told[-1])
    single: Any = atari(GAME, "mnih", sticky=sticky, noop_max=0, lives=False)
    rng, rows, actions = np.random.default_rng(0), [opened.reset()], []
    while not (episodes := np.sum([row.first for row in rows], 0)).min() > (1 if sticky else 2):
        actions.append(rng.integers(0, 4, 2).astype(np.int32))
        rows.append(opened.step(actions[-1]))
    lost = 0
    for env in range(2):
        for t, (row, (*_, info)) in enumerate(zip(rows, told, strict=True)):
            if row.first[env]:
                single._written(int(episode_seed(7, 0, 0)) % (2**31 - 2) + env)
                seen, left = begun(single, info["episode_frame_number"][env]), 5
                if sticky and t:
                    break
                assert row.discount[env] == 1
            else:
                seen, reward, terminated, _, about = single.step(actions[t - 1][env])
                fewer, left = about["lives"] < left, about["lives"]
                lost += fewer
                assert (reward, terminated, 0 if fewer else 1) == (row.reward[env], row.last[env], row.discount[env])
            if not row.last[env]:
                np.testing.assert_array_equal(row.obs[env], seen)
    assert lost >= 10 and episodes.min() > 1


def begun(single: Any, frames: int) -> np.ndarray:
    """What a game shows after so many frames in which nothing was done."""
    for _ in range(frames):
        single._console.act(0)
    single._shown(single._screens[0])
    single._screens[1].fill(0)
    return single._seen()


def test_a_lost_life_ends_what_is_learnt_and_not_the_game() -> None:
    opened = make(GAME, preset="mnih").open(1, seed=0)  # pyright: ignore[reportAttributeAccessIssue]
    opened.reset()
    lived = [opened.step(np.array([1 if t % 7 == 0 else 0], np.int32)) for t in range(200)]
    end = next(t for t, row in enumerate(lived) if row.last[0])
    told = [row.discount[0] for row in lived[: end + 1]]
    assert told.count(0) == 5 and told[-1] == 0
    whole = make(GAME, preset="machado").open(1, seed=0)  # pyright: ignore[reportAttributeAccessIssue]
    whole.reset()
    rows = [whole.step(np.array([1], np.int32)) for _ in range(200)]
    assert all((row.discount[0] == 0) == row.last[0] for row in rows)


def test_games_in_processes_of_their_own_are_the_same_games() -> None:
    alone, spread = (gymnasium(GAME, preset="mnih", parallel=count).open(2, seed=7) for count in (False, 1))
    for _ in range(3):
        np.testing.assert_array_equal(alone.reset().obs, spread.reset().obs)
    spread.close()


def test_every_choice_is_told_and_made_again() -> None:
    told = WorldName.of(make(GAME, preset="mnih", sticky=0.1))
    assert told is not None and told.settings["sticky"] == 0.1 and told.settings["noop_max"] == 30
    assert WorldName.recorded(told.as_json()).make() == make(GAME, preset="mnih", sticky=0.1)


def test_a_run_goes_on_from_where_it_was(tmp_path: Path) -> None:
    """In mid-episode, with a replay that has gone round: every array of it is that of a run that nothing stopped."""
    method = DQN(network=SMALL, num_envs=2, capacity=100, learning_starts=50, batch_size=4, target_period=40)
    world, given = make(GAME, preset="mnih"), dict[str, Any](seed=5, every=80)

    def digest(training: Any) -> str:
        with contextlib.closing(training):
            training.run_to_end()
            return training.digest

    with contextlib.closing(train(method, world, 240, folder=tmp_path / "run", **given)) as left:
        next(told for told in left if told.step > 120)
    assert digest(resume(tmp_path / "run", world=world)) == digest(train(method, world, 240, **given))


def test_what_is_missing_or_misspelt_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorldError, match="got 'stiky', did you mean sticky"):
        gymnasium(GAME, stiky=0.1)
    with pytest.raises(WorldError, match="got 'repeat_action_probability', did you mean sticky"):
        gymnasium(GAME, repeat_action_probability=0.0)
    with pytest.raises(WorldError, match="got 'obs_type'; what Gymnasium itself takes goes with preset='raw'"):
        gymnasium(GAME, obs_type="ram")
    with pytest.raises(WorldError, match=r"no preset 'mnigh'.*mnih"):
        gymnasium(GAME, preset="mnigh")
    with pytest.raises(WorldError, match="presses it for one frame"):
        gymnasium(GAME, fire=True, native=True).open(1, seed=0)
    with pytest.raises(WorldError, match="leave out preset='raw'"):
        gymnasium(GAME, preset="raw", native=True)
    for wrong, said in (({"screen": 0}, "screen is a whole number of 8"), ({"sticky": 2}, "sticky is a probability")):
        with pytest.raises(WorldError, match=said):
            gymnasium(GAME, **wrong)
    with pytest.raises(WorldError, match=r"ALE/Breakot-v5.*did you mean ALE/Breakout-v5"):
        gymnasium("ALE/Breakot-v5")
    for typed in ("pong", "Pong-v5"):
        with pytest.raises((WorldError, UnknownNameError), match="did you mean ALE/Pong-v5"):
            make(typed)
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(WorldError, match=r"pip install 'retorno\[atari\]'"):
        gymnasium(GAME)
