"""Hindsight: what was reached is taken for what was wanted. Andrychowicz et al. 2017 (hindsight experience replay).

Where a goal is seldom reached there is little to learn from its reward. But whatever was lived did reach something: in
a share of the windows that are drawn the goal is exchanged for one achieved in the same episode, and reward and
discount are asked again. What we do differently: raw rows are stored once and goals are exchanged as they are drawn,
so each draw has a goal of its own; and a relabel of rewards is asked about the exchanged rows, as about any window.
"""

from __future__ import annotations

import enum
from dataclasses import field
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.core.hyperparameters import UnitInterval, hyperparameters
from retorno.core.scalar import Scalar
from retorno.core.time_step import TimeStep, Trajectory
from retorno.replay.goals import ACHIEVED, DESIRED, OBSERVATION, Goal, GoalReward, Sparse
from retorno.replay.ring import Replay, ReplayConfig, Ring, Rows, Window
from retorno.replay.uniform import UniformReplay


def _future(key: Key[Array, ""], behind: Int[Array, " N"], ahead: Int[Array, " N"]) -> Int[Array, " N"]:
    return jax.random.randint(key, ahead.shape, 1, ahead + 1)


def _final(key: Key[Array, ""], behind: Int[Array, " N"], ahead: Int[Array, " N"]) -> Int[Array, " N"]:
    return ahead


def _episode(key: Key[Array, ""], behind: Int[Array, " N"], ahead: Int[Array, " N"]) -> Int[Array, " N"]:
    return jax.random.randint(key, ahead.shape, -behind, ahead + 1)


class Goals(enum.Enum):
    """Which row of a window's episode lends its achieved goal (Andrychowicz et al. 2017, section 4.5).

    A member is called with how many of the episode's rows are stored behind a window's first row and ahead of it, and
    says how many rows further on the goal is.
    """

    future = enum.member(_future)
    """One of those after the window's first row."""
    final = enum.member(_final)
    """The episode's last row; of an episode that still goes on, the newest."""
    episode = enum.member(_episode)
    """Any one."""

    def __call__(self, key: Key[Array, ""], behind: Int[Array, " N"], ahead: Int[Array, " N"]) -> Int[Array, " N"]:
        return self.value(key, behind, ahead)


class HindsightReplay(eqx.Module):
    """A replay whose windows have other goals than those that they were lived with: a `Replay`."""

    replay: Replay
    """What decides which windows are drawn."""
    episode: Int[Array, "C B"]
    """The number of each row's episode, counted from 0 to C − 1 and from 0 again: fewer than that are stored."""
    age: Int[Array, "C B"]
    """How many rows of its episode come before each row: C where it is more."""
    newest: Int[Array, "C B"]
    """The slot of the newest row of each episode, by its number."""
    share: Float[Array, ""]
    reward: GoalReward
    goals: Goals = eqx.field(static=True)

    @property
    def ring(self) -> Ring:
        return self.replay.ring

    def add(self, trajectory: Trajectory) -> HindsightReplay:
        """Store a trajectory [T+1, B] that begins with the newest row."""
        ring, first = self.ring, trajectory.steps.first
        slots = (ring.newest + jnp.arange(len(first))) % ring.slots
        # Of row 0 it is known already: it begins an episode only where it is not the row that was awaited.
        begins = first.at[0].set(first[0] & (self.age[ring.newest] > 0))

        def follow(before: Array, begins: Bool[Array, " B"]) -> tuple[Array, Array]:
            age = jnp.where(begins, 0, jnp.minimum(before + 1, ring.slots))
            return age, age

        episode = (self.episode[ring.newest] + jnp.cumsum(begins, 0)) % ring.slots
        age = jax.lax.scan(follow, self.age[ring.newest] - 1, begins)[1]
        newest = jnp.concatenate([begins[1:], jnp.ones_like(begins[:1])])
        return HindsightReplay(
            replay=self.replay.add(trajectory),
            episode=self.episode.at[slots].set(episode),
            age=self.age.at[slots].set(age),
            newest=self.newest.at[jnp.where(newest, episode, ring.slots), jnp.arange(ring.num_envs)].set(
                jnp.broadcast_to(slots[:, None], first.shape), mode="drop"
            ),
            share=self.share,
            reward=self.reward,
            goals=self.goals,
        )

    def sample(self, key: Key[Array, ""], size: int, progress: Scalar = 0.0) -> Window:
        """Draw windows, and exchange the goals of a share of them in all rows of the episode that they begin in."""
        which, whether, where = jax.random.split(key, 3)
        window, ring = self.replay.sample(which, size, progress), self.ring
        start, env = window.index // ring.num_envs, window.index % ring.num_envs
        number = self.episode[start, env]
        ahead = (self.newest[number, env] - start) % ring.slots
        behind = jnp.minimum(self.age[start, env], ring.filled - (ring.newest - start) % ring.slots)
        away = self.goals(where, jnp.maximum(behind, 0), ahead)
        goal = ring.steps.obs[ACHIEVED][(start + away) % ring.slots, env]
        # Out of an episode's last row nothing leads anywhere.
        exchanged = jax.random.bernoulli(whether, self.share, (size,)) & (ahead > 0)
        slots = (start + jnp.arange(-ring.context, ring.length + 1)[:, None]) % ring.slots
        exchanged &= self.episode[slots, env] == number

        def wanted(rows: TimeStep, exchanged: Bool[Array, "T N"]) -> TimeStep:
            other = jax.vmap(jax.vmap(self._with_goal), (0, None))(rows, goal)
            pick = lambda new, old: jnp.where(exchanged.reshape(*exchanged.shape, *[1] * (old.ndim - 2)), new, old)  # noqa: E731
            return jax.tree.map(pick, other, rows)

        steps = wanted(window.trajectory.steps, exchanged[ring.context :])
        before = wanted(window.before, exchanged[: ring.context])
        return window._replace(trajectory=window.trajectory._replace(steps=steps), before=before)

    def update(self, index: Int[Array, " N"], priority: Float[Array, " N"]) -> HindsightReplay:
        """Say how much there was to learn from these windows, with whatever goals they were drawn."""
        return eqx.tree_at(lambda r: r.replay, self, self.replay.update(index, priority))

    def doubt(self, several: bool = False) -> str | None:
        """What the world has lately paid for its own goals where the reward says another thing: a `Doubting`."""
        wrong, said, row = jax.device_get(_contradicted(self, several))
        if not wrong:
            return None
        return (
            f"hindsight's reward says {said:zg} where the world paid {row.reward:zg} (achieved "
            f"{row.obs[ACHIEVED]}, desired {row.obs[DESIRED]}), so exchanged goals are paid otherwise than its "
            "own: say what is paid elsewhere and at the goal, and how near that is (--replay.reward.missed, .reached "
            "and .tolerance), or give a GoalReward of your own"
        )

    def _with_goal(self, row: TimeStep, goal: Goal) -> TimeStep:
        """A row as it would have been with another goal. An episode that only its own goal has ended is cut there."""
        achieved, own = row.obs[ACHIEVED], row.obs[DESIRED]
        ended, ends = (self.reward.terminated(achieved, wanted) & ~row.first for wanted in (own, goal))
        return row._replace(
            obs={**row.obs, DESIRED: goal.astype(own.dtype)},
            reward=jnp.where(row.first, row.reward, self.reward.reward(achieved, goal)),
            discount=jnp.where(ends, 0.0, jnp.where(ended, 1.0, row.discount)),
            last=row.last | ends,
        )


LATELY = 256
"""Rows of each environment that are looked at to see whether the world pays as is said."""
NEARLY = 1e-3
"""How much further or nearer a goal may be before another reward is another opinion: the world may count in 64 bits."""


@partial(jax.jit, static_argnames="several")
def _contradicted(replay: HindsightReplay, several: bool) -> tuple[Bool[Array, ""], Float[Array, ""], TimeStep]:
    """Whether a row contradicts the reward, what that says of it, and the row."""
    replay = jax.tree.map(lambda x: x[0], replay) if several else replay
    ring = replay.ring
    back, env = (jnp.ravel(x) for x in jnp.indices((LATELY, ring.num_envs)))
    place = (ring.newest - back) % ring.slots, env
    rows = jax.tree.map(lambda x: x[place], ring.steps, is_leaf=lambda x: isinstance(x, Rows))
    achieved, desired = rows.obs[ACHIEVED], rows.obs[DESIRED]

    def says(scale: float) -> Float[Array, " N"]:
        moved = desired + scale * (achieved - desired) if scale != 1 else achieved
        return jax.vmap(replay.reward.reward)(moved, desired)

    scales = (1 - NEARLY, 1, 1 + NEARLY) if jnp.issubdtype(achieved.dtype, jnp.floating) else (1,)
    near = lambda said: jnp.abs(said - rows.reward) <= NEARLY * (1 + jnp.abs(rows.reward))  # noqa: E731
    lived = (back < ring.filled) & ~rows.first
    wrong = lived & ~jnp.any(jnp.stack([near(says(scale)) for scale in scales]), 0)
    one = jnp.argmax(wrong)
    return wrong.any(), says(1)[one], jax.tree.map(lambda x: x[one], rows)


@hyperparameters
class Hindsight:
    """Goals exchanged for what was achieved. Observations: Dict(observation, achieved_goal, desired_goal)."""

    goals: Goals = Goals.future
    """Which row of the episode lends its achieved goal."""
    share: UnitInterval = 0.8
    """How many of the windows have their goal exchanged: k / (k + 1) for k of them beside each with its own."""
    reward: GoalReward = field(default_factory=Sparse)
    """What the world pays, which is asked again of exchanged goals."""
    replay: ReplayConfig = field(default_factory=UniformReplay)
    """Which windows are drawn."""

    def over(self, ring: Ring) -> HindsightReplay:
        """A replay with hindsight over an empty ring.

        Raises:
            ValueError: when the observations have no goals, the memory beside each row was read with its own goal, or
                `reward` does not say one number of one row.
        """
        obs = ring.steps.obs
        if not isinstance(obs, dict) or not {ACHIEVED, DESIRED} <= obs.keys():
            parts = f"Dict({', '.join(obs)})" if isinstance(obs, dict) else "one without parts"
            raise ValueError(
                f"hindsight exchanges the goals in an observation, Dict({OBSERVATION}, {ACHIEVED}, {DESIRED}) as in "
                f"Gymnasium-Robotics' GoalEnv, got {parts}: choose another replay"
            )
        if obs[ACHIEVED].shape != obs[DESIRED].shape:
            raise ValueError(
                f"goals are exchanged for what was achieved, so both must have one shape, got {ACHIEVED} "
                f"{obs[ACHIEVED].shape[2:]} and {DESIRED} {obs[DESIRED].shape[2:]}"
            )
        self._require_of_one_row(jax.ShapeDtypeStruct(obs[ACHIEVED].shape[2:], obs[ACHIEVED].dtype))
        if "carry" in ring.extras:
            raise ValueError(
                "a memory that was recorded with one goal tells nothing of another: with hindsight leave it out "
                "(stored_carry=False) and let windows begin with a burn_in"
            )
        numbers = jnp.zeros((ring.slots, ring.num_envs), jnp.int32)
        return HindsightReplay(
            replay=self.replay.over(ring),
            episode=numbers,
            age=numbers,
            newest=numbers,
            share=jnp.asarray(self.share, jnp.float32),
            reward=jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), self.reward),
            goals=self.goals,
        )

    def _require_of_one_row(self, goal: jax.ShapeDtypeStruct) -> None:
        """Refuse a reward that says more than one number of a row, which would be spread over others unseen."""
        asked = lambda goal: (self.reward.reward(goal, goal), self.reward.terminated(goal, goal))  # noqa: E731
        reward, ends = jax.eval_shape(asked, goal)
        if reward.shape != () or ends.shape != () or ends.dtype != bool:
            raise ValueError(
                f"{type(self.reward).__name__} is asked about one goal {list(goal.shape)} achieved and one desired: it "
                "must say one number [] and one truth value [], got "
                f"{reward.dtype.name} {list(reward.shape)} and {ends.dtype.name} {list(ends.shape)}"
            )
