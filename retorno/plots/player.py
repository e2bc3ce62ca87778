"""Episodes to be looked at: lived in any world, told row by row, and shown no further where they get nowhere."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator

from retorno.core import constants
from retorno.core.environment import Environment, World, advance, begin
from retorno.core.errors import RetornoError
from retorno.core.mdp import MDP
from retorno.core.policy import Policy
from retorno.core.runtime import IN_HASTE
from retorno.core.spaces import action_units, as_given
from retorno.core.time_step import TimeStep
from retorno.environments.games.game import Game
from retorno.environments.hosted.gymnasium import GymnasiumWorld
from retorno.environments.hosted.legality import sample
from retorno.environments.registry import WorldName, make
from retorno.environments.sampled_world import Sampled
from retorno.environments.wrappers import Limited, Wrapper
from retorno.plots.graph import readable
from retorno.plots.pixels import BLOCKS, enlarged, saliency, values_of, with_saliency, with_values
from retorno.plots.stages import Arms, InGraph, Moment, OnMap, Rendered, Stage, Words, picture
from retorno.plots.style import PlotError
from retorno.run.engines import Engine
from retorno.run.episodes import decide
from retorno.run.played import Mover, Played

FOLLOWED, SMOOTH = 4, 30
"""Pictures a second: of steps that are read one by one, and of motion."""
REPEATED, LONGEST_PERIOD = 30, 20
"""So many steps that repeat, in circles of up to so many, end the film of a policy."""


class Row(NamedTuple):
    """What a world gives to be shown."""

    row: TimeStep
    action: Any
    """That led here; None on a first row."""
    state: int | None
    picture: Any
    """The world's own, where it is asked for."""


class Scene(NamedTuple):
    """A world, and how its rows are shown."""

    world: World
    model: MDP | None
    stage: Stage
    draws: bool = False
    """Whether the world draws itself, in colours or in letters."""
    fps: int = FOLLOWED
    why: str = ""
    """Why it is told in words, where that is not plain."""

    @property
    def windowed(self) -> bool:
        """Whether it is to be seen in a window alone."""
        return isinstance(self.stage, Rendered)


class Player:
    """Lives episodes in a world, by a policy or (None) at random, and tells every row.

    Args:
        scene: the world, and how it is shown.
        policy: what acts; None draws legal actions evenly.
        seed: of the episodes.
        episodes: how many.
        longest: steps after which an episode is shown no further, and the film ends.
        greedy: take the policy's best action, or draw one from it.
        salient: lay over each picture what the best action's value hangs on, where an image is observed.
        other: who plays the other side of a game of two; None for the policy itself.
        second: whether the other begins.
    """

    def __init__(
        self,
        scene: Scene,
        policy: Policy | None,
        seed: int = 0,
        episodes: int = 1,
        longest: int = 1000,
        greedy: bool = True,
        salient: bool = False,
        other: Policy | Engine | None = None,
        second: bool = False,
    ) -> None:
        self._salient, self._other, self._second = salient, other, second
        self._names: tuple[str, ...] = action_names(scene.world)
        self._past: list[float] = []
        """The best action's value on each row of the episode."""
        self.scene, self.policy = scene, policy
        self.seed, self.episodes, self.longest = seed, episodes, longest
        self.returns: list[float] = []
        """Of the episodes that are over."""
        self.remarks: list[str] = []
        """Why they were shown no further."""
        self._carry = None if policy is None else policy.initial_carry()
        self._actions = scene.world.action_space
        deciding = partial(decide, units=action_units(self._actions), greedy=greedy)
        self._decide = constants.jit(deciding, compiler_options=IN_HASTE)
        self._value = constants.jit(values_of, compiler_options=IN_HASTE)
        self._values = isinstance(self._actions, spaces.Discrete)
        """Whether the policy is asked for action values: until it is found to have none."""
        self._key = jax.random.key(seed)
        self._actions.seed(seed)

    def moments(self) -> Iterator[Moment]:
        """Every row, episode after episode. One that does not end is shown no further when it only repeats itself."""
        world = self.scene.world
        if isinstance(world, Game) and world.two_players:
            yield from self._games(world)
            return
        rows = self._native(world) if isinstance(world, Environment) else self._hosted(world)
        total, length = 0.0, 0
        lately = Repetition()
        for shown in rows:
            row = shown.row
            total, length = (0.0, 0) if row.first else (total + float(row.reward), length + 1)
            if row.first:
                lately = Repetition()
            remark = self._remark(row, length, lately.seen(row.obs, shown.action) if self.policy else 0)
            yield self._moment(shown, length, total, remark)
            if remark:
                self.returns.append(total)
                self.remarks.append(remark)
                if len(self.returns) == self.episodes or not row.last:
                    return

    def _games(self, world: Game) -> Iterator[Moment]:
        """The positions of games of two; what is got is the first player's."""
        draws = np.random.default_rng(self.seed)
        other = self._other
        if other is not None and not isinstance(other, Engine):
            other = Mover(other, world, draws)
        with contextlib.ExitStack() as ending:
            if isinstance(other, Engine):
                ending.callback(other.end)
            for number in range(self.episodes):
                yield from self._game(Played(world, self.seed + number), other)

    def _game(self, game: Played, other: Mover | Engine | None) -> Iterator[Moment]:
        said, remark = "", ""
        self._carry = None if self.policy is None else self.policy.initial_carry()
        if isinstance(other, Mover):
            other.begin()
        while not remark:
            reward = float(game.row.reward) * (-1 if game.moves and game.movers()[-1] else 1)
            remark = _outcome(game) or self._remark(game.row, len(game.moves), 0)
            drawn = self._beside(game.world.render(game.standing), game.row) if self.scene.draws else None
            yield Moment(len(game.moves), said, reward, game.result, "", None, None, drawn, game.text(), remark)
            if not remark:
                action = self._move(game, other)
                said = game.world.say(action, game.second)
                game.play(action)
        self.returns.append(game.result)
        self.remarks.append(remark)

    def _move(self, game: Played, other: Mover | Engine | None) -> int:
        """Of whoever's turn it is; a memory sees the rows of both."""
        if other is None or game.second == self._second:
            if isinstance(other, Mover):
                other.watch(game.row)
            return int(self._act(game.row))
        if jax.tree.leaves(self._carry):
            self._act(game.row)
        return other.move(game.row) if isinstance(other, Mover) else other.move(game)

    def _remark(self, row: TimeStep, length: int, period: int) -> str:
        """Why an episode is shown no further, or "" where it goes on."""
        if row.last:
            return "the episode ends" if row.discount == 0 else "cut by the time limit"
        if period == 1:
            return f"stands still: the same for {REPEATED} steps, and is shown no further"
        if period:
            return f"goes in circles: the same {period} steps again and again, and is shown no further"
        return f"not over after {length:,} steps (--longest), and is shown no further" * (length >= self.longest)

    def _moment(self, shown: Row, length: int, total: float, remark: str) -> Moment:
        model, action = self.scene.model, shown.action
        number = None if action is None or not isinstance(self._actions, spaces.Discrete) else int(action)
        if model is not None and shown.state is not None:
            place = model.state_names[shown.state]
            told = "" if number is None else model.action_names[number]
        else:
            place, told = _numbers(shown.row.obs), "" if action is None else _numbers(action)
        if number is not None and told.isdigit() and number < len(self._names):
            told = self._names[number].lower()
        told = f"action {told}" if told.isdigit() else told
        place = f"state {place}" if place.isdigit() else place
        drawn = shown.picture if isinstance(shown.picture, np.ndarray) else None
        letters = shown.picture if isinstance(shown.picture, str) else ""
        return Moment(length, told, float(shown.row.reward), total, place, shown.state, number, drawn, letters, remark)

    def _native(self, world: Environment) -> Iterator[Row]:
        seed, env = jnp.uint32(self.seed), jnp.uint32(0)
        forward = jax.jit(partial(advance, world), compiler_options=IN_HASTE)
        standing, row = begin(world, seed, env)
        action = None
        while True:
            state = jax.tree.map(np.asarray, standing.state)
            drawn = self._beside(world.render(state), row) if self.scene.draws else None
            yield Row(row, None if row.first else action, state_of(world, state), drawn)
            action = self._act(row)
            standing, row = forward(standing, row, action, seed, env)

    def _hosted(self, world: Any) -> Iterator[Row]:
        environments = world.open(1, self.seed)
        try:
            rows = environments.reset()
            self._names = self._names or tuple(getattr(environments, "action_names", ()))
            action = None
            while True:
                row = jax.tree.map(lambda x: x[0], rows)
                drawn = self._beside(_picture(environments, world.name), row) if self.scene.draws else None
                yield Row(row, None if row.first else action, None, drawn)
                action = self._act(row)
                rows = environments.step(np.asarray(as_given(self._actions, action))[None])
        finally:
            environments.close()

    def _beside(self, picture: Any, row: TimeStep) -> Any:
        """A picture of a row with the values of its actions beside it, where the policy has such values."""
        if not isinstance(picture, np.ndarray):
            return picture
        picture = enlarged(picture)
        if self.policy is None:
            return picture
        if self._salient:
            block = -(-max(np.shape(row.obs)) // BLOCKS)
            picture = with_saliency(picture, saliency(self.policy, row.obs, block, row.first, self._carry))
        values = self._value(self.policy, row.obs, row.first, self._carry) if self._values else None
        if values is None or np.ndim(values) != 1:
            self._values = False
            return picture
        self._past = [*([] if row.first else self._past), float(np.max(values))]
        return with_values(picture, np.asarray(values), self._names, self._past)

    def _act(self, row: TimeStep) -> Any:
        if self.policy is None:
            return sample(self._actions, row.legal)
        self._key, key = jax.random.split(self._key)
        action, self._carry = self._decide(self.policy, row, self._carry, key=key)
        return action


def _outcome(game: Played) -> str:
    """Who won, of a game that is over; "" while it is not."""
    if not game.over:
        return ""
    return "the first player wins" if game.result > 0 else "the second player wins" if game.result < 0 else "a draw"


class Repetition:
    """Notices that what is seen and done repeats itself."""

    def __init__(self) -> None:
        self._last: deque[bytes] = deque(maxlen=max(REPEATED, 3 * LONGEST_PERIOD) + LONGEST_PERIOD)

    def seen(self, obs: Any, action: Any) -> int:
        """The length of the circle that the last steps went round, three times or more; 0 where they did not."""
        self._last.append(b"|".join(np.asarray(x).tobytes() for x in jax.tree.leaves((obs, action))))
        lately = list(self._last)
        for period in range(1, LONGEST_PERIOD + 1):
            length = max(REPEATED, 3 * period)
            if len(lately) >= length + period and lately[-length:] == lately[-length - period : -period]:
                return period
        return 0


def action_names(world: Any) -> tuple[str, ...]:
    """What a world calls its actions, through the worlds around it; nothing where it does not say."""
    while isinstance(world, Wrapper):
        world = world.world
    return tuple(getattr(world, "action_names", ()))


def state_of(world: Environment, state: Any) -> int | None:
    """The number of a model's state within the worlds around it; None where no model is lived in."""
    while isinstance(world, Wrapper):
        state = state.state if isinstance(state, Limited) else state
        world = world.world
    return int(state) if isinstance(world, Sampled) else None


def staged(name: WorldName, letters: bool = False) -> Scene:
    """How a world is shown: on its map, by its own pictures, among arms, in the graph of its model, or in words.

    Args:
        name: of the world.
        letters: take what Gymnasium draws in letters where there is no place for pictures.
    """
    world = name.make()
    if isinstance(world, GymnasiumWorld):
        return _hosted_scene(world, letters)
    if not isinstance(world, Environment):
        return Scene(world, None, Words())
    start = jax.tree.map(np.asarray, world.reset(jax.random.key(0))[0])
    model = replace(name, wrappers=()).model() if state_of(world, start) is not None else None
    if model is not None and _placed(model):
        return Scene(world, model, OnMap(model))
    if isinstance(world.observation_space, spaces.Discrete) and isinstance(world.action_space, spaces.Discrete):
        if world.observation_space.n == 1 or (model is not None and np.count_nonzero(~model.terminal) == 1):
            names = model.action_names if model is not None else range(int(world.action_space.n))
            return Scene(world, model, Arms({i: f"arm {a}" for i, a in enumerate(names)}))
    with contextlib.suppress(NotImplementedError):
        world.render(start)
        return Scene(world, model, Rendered(), draws=True, fps=FOLLOWED if isinstance(world, Game) else SMOOTH)
    if model is not None and readable(model):
        return Scene(world, model, InGraph(model))
    if name.name in gymnasium.registry and not name.settings:
        hosted = make(name.name, hosted=True)
        assert isinstance(hosted, GymnasiumWorld)
        return _hosted_scene(hosted, letters)
    return Scene(world, model, Words())


def _hosted_scene(world: GymnasiumWorld, letters: bool) -> Scene:
    """Gymnasium's own pictures, or letters, where there are some."""
    plain = replace(world, num_envs=1, parallel=False, native=False)
    said = _metadata(world)
    fps = int(said.get("render_fps") or SMOOTH)
    if letters and "ansi" in said.get("render_modes", ()):
        return Scene(replace(plain, kwargs={**world.kwargs, "render_mode": "ansi"}), None, Words(), True, fps)
    drawing = plain.drawn()
    try:
        environments = drawing.open(1, 0)
        try:
            environments.reset()
            _picture(environments, drawing.name)
            fps = int(getattr(environments, "fps", None) or fps)
        finally:
            environments.close()
    except RetornoError as error:
        return Scene(plain, None, Words(), why=f"told in words: {error}")
    return Scene(drawing, None, Rendered(), True, fps)


def _metadata(world: GymnasiumWorld) -> Mapping[str, Any]:
    """What an environment's class says of its pictures, where it has a class that says it."""
    try:
        entry = gymnasium.spec(str(world.source)).entry_point
        made: Any = load_env_creator(entry) if isinstance(entry, str) else entry
        return made.metadata
    except Exception:  # Code of others: without it, pictures are tried and found.
        return {}


def _placed(model: MDP) -> bool:
    """Whether episodes can be followed on the map: it shows places, of most states."""
    if model.grid is None or not model.has_map or (model.map_key is not None and model.map_key.rows):
        return False
    on = np.array([at is not None for at in model.grid])
    return bool(on[~model.terminal].mean() > 0.9)


def _numbers(values: Any) -> str:
    """What is observed or done, shortly."""
    flat = np.concatenate([np.ravel(np.asarray(x)).astype(float) for x in jax.tree.leaves(values)] or [np.zeros(0)])
    told = [f"{x:.3g}".replace("-", "−") for x in flat[:8]]
    return " ".join(told) + (f" … ({len(flat):,} numbers)" if len(flat) > 8 else "")


def _picture(environments: Any, name: str) -> np.ndarray | str:
    try:
        drawn = environments.render()
    except Exception as error:
        raise PlotError(f"{name} cannot be drawn: {type(error).__name__}: {error}") from error
    if isinstance(drawn, str):
        return drawn
    if not isinstance(drawn, np.ndarray) or drawn.ndim != 3:
        raise PlotError(f"{name} cannot be drawn: its render gave {type(drawn).__name__}, expected an array of RGB")
    return drawn.copy()  # The next one may be drawn into the same array.


def pictures(player: Player) -> Iterator[np.ndarray]:
    """The pictures [height, width, 3] of every row, with its numbers below."""
    return (picture(player.scene.stage, moment) for moment in player.moments())
