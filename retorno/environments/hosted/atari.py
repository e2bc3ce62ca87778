"""Atari's games as agents see them: two published ways to prepare what the console shows, each choice a setting.

Mnih et al. 2015, "Human-level control through deep reinforcement learning", methods; Machado et al. 2018, "Revisiting
the Arcade Learning Environment". Frames are made by Gymnasium's `AtariPreprocessing`, one a row: what a network sees
side by side it stacks itself (`Stack`), so that a replay stores each once. Rewards are the game's own: learners clip
them by a relabel, so that evaluation shows the score. The loss of a life ends what is learnt (discount 0) where that
is asked for, and never the game, nor the episode. What we do differently from the papers: images are made smaller by
areas, and grey by the console's own palette, as Gymnasium does it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym

from retorno.core.names import did_you_mean, near

PREFIX = "ALE/"
"""How names of the games begin."""
RAW = "raw"
"""Asks for the game as Gymnasium makes it, with its own settings."""


@dataclass(frozen=True)
class Choices:
    """How a game is shown, and when it ends."""

    frame_skip: int = 4
    """Frames for which an action is done; what is seen is the larger of the last two, pixel by pixel."""
    noop_max: int = 0
    """At an episode's start nothing is done for up to so many frames, at random; 0 for none."""
    sticky: float = 0.0
    """How likely it is that the console goes on with the action before, in each frame."""
    lives: bool = False
    """Whether the loss of a life ends what is learnt."""
    fire: bool = False
    """Whether FIRE is pressed at an episode's start, where the game has that action."""
    full_actions: bool = False
    """Whether all eighteen actions may be chosen, or only those that do something in this game."""
    max_frames: int = 108_000
    """After so many frames an episode is cut: at sixty a second, thirty minutes."""
    screen: int = 84
    """Rows and columns of what is seen."""
    grey: bool = True
    """Whether it is seen without colours."""


PRESETS: dict[str, Choices] = {
    "machado": Choices(sticky=0.25, full_actions=True, max_frames=18_000),
    "mnih": Choices(noop_max=30, lives=True),
}


def choices(preset: str = "machado", **settings: Any) -> dict[str, Any]:
    """What a game is made with, every choice told.

    Args:
        preset: whose; `raw` for the game as Gymnasium makes it.
        **settings: choices of one's own; with `raw`, what Gymnasium takes.

    Raises:
        ValueError: when there is no such preset or choice; near names are given.

    >>> choices("mnih", sticky=0.25)["lives"]
    True
    """
    if preset == RAW:
        return {"preset": RAW, **settings}
    if preset not in PRESETS:
        known = [*PRESETS, RAW]
        raise ValueError(f"no preset {preset!r}{did_you_mean(preset, known)}: there are {', '.join(known)}")
    usual = asdict(PRESETS[preset])
    for name in settings:
        if name not in (*usual, "render_mode"):
            close = near(name, usual, most=1)
            hint = f", did you mean {close[0]}?" if close else ""
            raise ValueError(f"a game is shown by {', '.join(usual)}, got {name!r}{hint}")
    return usual | settings


def atari(name: str, preset: str = "machado", render_mode: str | None = None, **settings: Any) -> gym.Env:
    """One game, as agents see it.

    Args:
        name: as "ALE/Pong-v5"; `ale_py` is to be imported before.
        preset: whose choices.
        render_mode: as Gymnasium's; pictures are the console's own.
        **settings: choices of one's own.
    """
    told = choices(preset, **settings)
    if told.pop("preset", None) == RAW:
        return gym.make(name, disable_env_checker=True, render_mode=render_mode, **told)
    chosen = Choices(**told)
    game = gym.make(
        name,
        disable_env_checker=True,
        render_mode=render_mode,
        frameskip=1,
        repeat_action_probability=chosen.sticky,
        full_action_space=chosen.full_actions,
        max_num_frames_per_episode=chosen.max_frames,
    )
    seen: gym.Env = gym.wrappers.AtariPreprocessing(
        game,
        noop_max=chosen.noop_max,
        frame_skip=chosen.frame_skip,
        screen_size=chosen.screen,
        grayscale_obs=chosen.grey,
        grayscale_newaxis=True,
    )
    if chosen.fire and "FIRE" in game.unwrapped.get_action_meanings():  # pyright: ignore[reportAttributeAccessIssue]
        seen = Fire(seen)
    return Lives(seen) if chosen.lives else seen


class Fire(gym.Wrapper):
    """Presses FIRE at an episode's start: some games wait for it."""

    def reset(self, **kwargs: Any) -> Any:
        """The first observation after it."""
        obs, info = self.env.reset(**kwargs)
        fire = self.env.unwrapped.get_action_meanings().index("FIRE")  # pyright: ignore[reportAttributeAccessIssue]
        obs, _, terminated, truncated, told = self.env.step(fire)
        return self.env.reset(**kwargs) if terminated or truncated else (obs, info | told)


class Lives(gym.Wrapper):
    """Tells that a life was lost, as a discount of 0; the game goes on."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.metadata = {**env.metadata, "lives": True}
        self._left = 0

    def reset(self, **kwargs: Any) -> Any:
        """As the game's."""
        obs, info = self.env.reset(**kwargs)
        self._left = info["lives"]
        return obs, info

    def step(self, action: Any) -> Any:
        """As the game's, with what is told."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        lost, self._left = info["lives"] < self._left, info["lives"]
        return obs, float(reward), terminated, truncated, info | {"discount": 0.0} if lost else info
