"""Atari's games as agents see them: two published ways to prepare what the console shows, each choice a setting.

Mnih et al. 2015, "Human-level control through deep reinforcement learning", methods; Machado et al. 2018, "Revisiting
the Arcade Learning Environment". Frames are those of Gymnasium's `AtariPreprocessing`, to the pixel, made in less
time; one is a row: what a network sees side by side it stacks itself (`Stack`), so that a replay stores each once.
Rewards are the game's own: learners clip
them by a relabel, so that evaluation shows the score. The loss of a life ends what is learnt (discount 0) where that
is asked for, and never the game, nor the episode. What we do differently from the papers: images are made smaller by
areas, and grey by the console's own palette, as Gymnasium does it.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from retorno.core.names import did_you_mean, meant, near

PREFIX = "ALE/"
"""How names of the games begin."""
RAW = "raw"
"""Asks for the game as Gymnasium makes it, with its own settings."""


GENERATOR = re.compile(rb"\d+(?: \d+){624}")
"""A Mersenne twister as C++ writes it: 624 words, and how many of them are used."""
LENGTH = 24
"""Where the console writes how long it is that follows."""


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

    def __post_init__(self) -> None:
        for name, least in (("frame_skip", 1), ("noop_max", 0), ("max_frames", 1), ("screen", 8)):
            told = getattr(self, name)
            if isinstance(told, bool) or not isinstance(told, int) or told < least:
                raise ValueError(f"{name} is a whole number of {least} or more, got {told!r}")
        if not 0 <= self.sticky <= 1:
            raise ValueError(f"sticky is a probability, in [0, 1], got {self.sticky}: Machado et al. have .25")


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
        ValueError: when there is no such preset or choice (near names are given), or it cannot be so much.

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
            close = [one for one in (meant(name, usual),) if one != name] or near(name, usual, most=1)
            hint = f", did you mean {close[0]}?" if close else f"; what Gymnasium itself takes goes with preset={RAW!r}"
            raise ValueError(f"a game is shown by {', '.join(usual)}, got {name!r}{hint}")
    told = usual | settings
    Choices(**{name: told[name] for name in usual})
    return told


def atari(name: str, preset: str = "machado", render_mode: str | None = None, **settings: Any) -> gym.Env:
    """One game, as agents see it.

    Args:
        name: as "ALE/Pong-v5".
        preset: whose choices.
        render_mode: as Gymnasium's; pictures are the console's own.
        **settings: choices of one's own.
    """
    import ale_py  # In a fresh process too: it registers the games.

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
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
    seen: gym.Env = Frames(game.unwrapped, chosen)
    if chosen.fire and "FIRE" in game.unwrapped.get_action_meanings():  # pyright: ignore[reportAttributeAccessIssue]
        seen = Fire(seen)
    return Lives(seen) if chosen.lives else seen


def games_like(name: str) -> list[str]:
    """The id of the game that is called so, in whatever case, version or older fashion; nothing where there is none.

    Args:
        name: as somebody typed it.

    >>> games_like("pong"), games_like("SpaceInvadersNoFrameskip-v4"), games_like("CartPole-v1")
    (['ALE/Pong-v5'], ['ALE/SpaceInvaders-v5'], [])
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("ale_py")
    plain = re.sub(r"(noframeskip|deterministic)?(-v\d+)?$", "", name.lower().removeprefix(PREFIX.lower()))
    plain = re.sub("[-_ ]", "", plain)
    return [game for game in gym.registry if game.startswith(PREFIX) and game[4:-3].lower() == plain]


class Frames(gym.Wrapper):
    """What Gymnasium's `AtariPreprocessing` shows of a game, on the console itself.

    An episode that is seeded is begun by Gymnasium with the cartridge read anew (63 ms); all that the seed changes is
    what sticks, so the console is put to an episode's start with the generator of that seed instead (3 ms). It is put
    there by what it writes of itself, so the second seed tells first whether the cartridge would have led to the same.
    """

    _starts: ClassVar[dict[str, bytes | None]] = {}
    """By game what the console writes of itself at a start; None where a seed changes more than its generator."""

    def __init__(self, game: Any, chosen: Choices) -> None:
        super().__init__(game)
        self._game, self._console, self._chosen = game, game.ale, chosen
        self._actions = game._action_set
        shape = game.observation_space.shape[: 2 if chosen.grey else 3]
        self._screens = [np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)]
        self._shown = self._console.getScreenGrayscale if chosen.grey else self._console.getScreenRGB
        size = (chosen.screen, chosen.screen, 1 if chosen.grey else 3)
        self.observation_space = gym.spaces.Box(0, 255, size, np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """The first observation of an episode, after what is done at its start."""
        self._begin(seed)
        chosen = self._chosen
        generator = self._game.np_random
        for _ in range(generator.integers(1, chosen.noop_max + 1) if chosen.noop_max else 0):
            self._console.act(self._actions[0])
            if self._console.game_over():
                self._begin(seed)
        self._shown(self._screens[0])
        self._screens[1].fill(0)
        return self._seen(), self._told()

    def step(self, action: Any) -> Any:
        """The action, for as many frames as are chosen."""
        console, chosen, paid = self._console, self._chosen, 0.0
        done, frames = self._actions[action], chosen.frame_skip
        terminated = truncated = False
        for frame in range(frames):
            paid += console.act(done)
            terminated, truncated = console.game_over(with_truncation=False), console.game_truncated()
            if terminated or truncated:
                break
            if frame >= frames - 2:
                self._shown(self._screens[frames - 1 - frame])
        return self._seen(), paid, terminated, truncated, self._told()

    def _seen(self) -> np.ndarray:
        import cv2

        larger, other = self._screens
        if self._chosen.frame_skip > 1:
            np.maximum(larger, other, out=larger)
        size = self._chosen.screen
        return cv2.resize(larger, (size, size), interpolation=cv2.INTER_AREA).reshape(self.observation_space.shape)

    def _told(self) -> dict[str, Any]:
        return {"lives": self._console.lives()}

    def _begin(self, seed: int | None) -> None:
        """Put the console to an episode's start."""
        if seed is None:
            return self._console.reset_game()
        name = self._game.spec.id
        if name not in self._starts:
            start, other = self._written(1), self._written(2)
            self._starts[name] = start if _reseeded(start, 2) == other else None
        _, of_console = self._game.seed_game(seed)
        if (start := self._starts[name]) is None:
            self._game.load_game()
            return self._console.reset_game()
        self._console.reset_game()  # What sticks is to do nothing: that is not written.
        self._console.restoreState(type(self._console.cloneState())(_reseeded(start, int(of_console))))

    def _written(self, seed: int) -> bytes:
        """What the console writes of itself at the start by a seed."""
        self._console.setInt("random_seed", seed)
        self._game.load_game()
        self._console.reset_game()
        return self._console.cloneState(include_rng=True).serialize()


def _reseeded(written: bytes, seed: int) -> bytes:
    """What the console writes of itself, with another seed of the generator of what sticks: the last one in it."""
    *_, last = [None, *GENERATOR.finditer(written)]
    if last is None:
        return b""
    state: Any = np.random.RandomState(seed).get_state()
    words = state[1]
    generator = " ".join(map(str, [*words, len(words)])).encode()
    changed = bytearray(written[: last.start()] + generator + written[last.end() :])
    for at in (LENGTH, last.start() - 4):
        length = int.from_bytes(written[at : at + 4], "little") + len(generator) - len(last.group())
        changed[at : at + 4] = length.to_bytes(4, "little")
    return bytes(changed)


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
