"""A reward learnt from which of two segments somebody preferred, while an agent learns from it. Christiano et al. 2017.

It is a relabel, so that any algorithm learns from it and knows nothing of it. Each time that a few labels are due
(often at first, then ever more seldom) segments are drawn from what was lived lately, two of which are compared, more
put in order or each rated by itself; those that tell most are judged; the members learn from all labels so far. What
is paid is their mean, each normalised over all that was judged; replayed rows are paid what is thought of them now.
Between two sessions, and after the last, nobody thinks otherwise: a step is paid the same, whatever was seen since.

What we do differently: rewards are of observations alone unless asked otherwise; bootstrap samples are drawn as labels
arrive, by a Poisson number for each (Oza & Russell 2001), whose zeros, 1/e of them, are what a member is validated on;
gradient steps are few and large, as a label is asked once and the reward learnt from it all the time. Ratings (White et
al. 2024, "Rating-based reinforcement learning") are levels between cuts on the sum of what a segment is paid, which
each member learns (ordered logistic, `ops.preferences.ordered_logistic`), and no classes by the distance from bounds
that are read off each batch: it is the likelihood of two that are compared, with a cut in place of the other one.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import field, replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree

from retorno.core.errors import RetornoError
from retorno.core.hyperparameters import Count, NonNegative, Positive, UnitInterval, settings
from retorno.core.policy import Metrics, Policy, Relabel, unroll_batch
from retorno.core.spaces import SpaceError, Spec, is_picture
from retorno.core.time_step import Clock, Trajectory
from retorno.networks import MLP, NetworkConfig, ValueHead
from retorno.networks.layers import Activation
from retorno.networks.normalisers import ObservationNormaliser
from retorno.ops.optimisers import Adam, Optimiser, decays, descend
from retorno.ops.preferences import comparison, ordered_logistic, plackett_luce, ranks
from retorno.preferences.given import LEVELS, known_labels
from retorno.preferences.judges import Asked, Judge, People, TrueReward
from retorno.preferences.lives import Lives
from retorno.preferences.novelty import Novelty, StateEntropy
from retorno.preferences.queries import Disagreement, Queries
from retorno.preferences.segments import Compared, apart, chosen, draw_segments, taken, turned, within_episodes
from retorno.replay import Ring
from retorno.replay.ring import ring as empty_ring
from retorno.run.relabel import register

REWARD = "value"
"""The head that says what a step is worth."""
CHECKED = 128
"""Labels at most on which members are validated after each session."""
TASTED = 32
"""Segments over which what is paid is compared with what the world paid."""
VALIDATION = (1.1, 1.5)
"""Between which multiples of the training loss the validation loss is held, by the weights' decay."""
AT_MOST = np.cumsum(np.exp(-1) / np.cumprod([1, *range(1, 12)])).astype(np.float32)
"""How likely a Poisson number with mean 1 is at most 0, 1, … 11; of more nobody hears in 10⁹ labels."""


class Centre(enum.Enum):
    """Which step is paid nothing."""

    mean = "mean"
    """The mean one, as in the paper, which takes the ends of episodes away."""
    median = "median"
    """The median one: where few steps pay and episodes end. Under the mean all others cost, and living on is worth
    nothing."""

    def __call__(self, said: Float[Array, "L S M"]) -> Float[Array, " M"]:
        return (jnp.median if self is Centre.median else jnp.mean)(said, (0, 1))


@register
@settings
class Preferences:
    """Pays what somebody prefers, learnt from which of two short segments is better (Christiano et al. 2017).

    Reported are the labels so far, and after each session of them the ensemble's "accuracy" on labels that its members
    did not learn from and that prefer one, its loss, how its rewards of recent steps correlate with what the world
    paid, and of how many that were asked again the judge said the same ("consistency").
    """

    labels: Count = 700
    """How often somebody is asked in all."""
    judge: Judge = field(default_factory=TrueReward)
    """Who judges them."""
    segment: Count = 25
    """Steps of a segment."""
    clips: Count = 2
    """Segments that are asked about at once: of two the better one, or more to be put in order, from the best one down
    (Plackett–Luce, as a model of language learns from rankings); or one, to be rated by itself."""
    levels: Count = LEVELS
    """From 1, the worst, to which one is rated."""
    first: UnitInterval = 0.25
    """The share of the labels that is asked before anything is paid, on what the untaught policy does."""
    waiting: UnitInterval = 0.02
    """The share of the run after which these are asked."""
    half_rate: Positive = 0.1
    """The share of the run after which labels are asked half as often as at first: as T / (T + t)."""
    session: Count = 20
    """Labels that are asked, and then learnt from, at once. Where some are known, what is left of a session is not
    asked."""
    queries: Queries = field(default_factory=Disagreement)
    """Which are asked about, of those that were drawn. Of several segments the mean over all pairs of them counts."""
    repeats: UnitInterval = 0.0
    """The share of the labels that ask again about what was judged before, the other way round: how often the same is
    said tells how far the judge is to be believed."""
    known: str = ""
    """FILE.jsonl of labels that were given before (`retorno labels export`): learnt from before any is asked, and
    counted among the labels."""
    longest: Count = 2_000
    """Where people look at a world that lives in Python: so many steps of an episode are kept for it to be lived again
    and drawn. What comes later in an episode shows its numbers instead."""
    read: str = field(init=False, repr=False, default="")
    """What that file held: programs that learnt from another are not used again."""
    pretraining: StateEntropy | None = None
    """What is paid before the first labels, so that these are about more than first steps; None: nothing."""
    recent: Count = 10_000
    """Steps lived lately, of which segments are drawn."""
    network: NetworkConfig = field(default_factory=lambda: MLP((64,), Activation.relu))
    """What reads a step: observation and how it changes."""
    sees_action: bool = False
    """Whether it reads the action as well. Clips do not show it; and where actions change nothing, as in a world that
    waits, chance makes some of them look better than others, and an agent learns those."""
    sees_change: bool = True
    """Whether it reads how the observation changes, as whoever looks at a clip sees what moves and what waits; of what
    is a choice and no number, what is observed next."""
    members: Count = 3
    """Networks of the ensemble, each on a bootstrap sample of its own."""
    mistakes: UnitInterval = 0.1
    """ε, the share of answers that are taken to be given blindly."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(3e-3))
    """How a gradient becomes a step."""
    gradient_steps: Count = 8
    """After each session."""
    batch: Count = 32
    """Labels in each gradient step."""
    decay: NonNegative = 1e-4
    """L2 regularisation at first; each member's adapts to its validation loss. 0: none."""
    deviation: Positive = 1.0
    """The standard deviation of what is paid; .05 for Atari in the paper."""
    centre: Centre = Centre.mean
    """Which of the steps that were judged is paid nothing: answers about clips of one length do not tell."""

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= 9:
            raise ValueError(f"clips are rated from 1 to at least 2 and at most 9 levels, got {self.levels}")
        if self.clips == 1 and isinstance(self.judge, TrueReward) and self.judge.best is None:
            raise ValueError(
                "a clip is rated by what its steps pay on average: say what the worst and the best pay, as "
                "judge=TrueReward(worst=-8, best=0), or --relabel.judge.worst -8 --relabel.judge.best 0"
            )
        if self.clips == 1 and self.repeats:
            raise ValueError("repeats ask about clips the other way round, and one that is rated has no other")
        if self.clips > 9 and isinstance(self.judge, People):
            raise ValueError(f"people name each clip by one digit: at most 9 are compared at once, got {self.clips}")
        if self.labels % self.session and not self.known:
            fewer = max(self.labels - self.labels % self.session, self.session)
            whole = next(each for each in range(self.session, 0, -1) if self.labels % each == 0)
            raise ValueError(
                f"{self.session} labels are asked at once (session), and {self.labels:,} are not a multiple of it: "
                f"ask for {fewer:,}, or take session={whole}"
            )
        if self.known:
            try:
                digest = hashlib.sha256(Path(self.known).read_bytes()).hexdigest()
            except OSError as error:
                raise ValueError(f"known labels cannot be read: {error}") from error
            object.__setattr__(self, "known", str(Path(self.known).resolve()))
            object.__setattr__(self, "read", digest)

    def recorded(self, folder: Path) -> Preferences:
        """As a run recorded it.

        Raises:
            OwnCodeError: when its judge stands in a file that was not named in this process.

        Args:
            folder: the run's.
        """
        again = getattr(self.judge, "recorded", None)
        return self if again is None else replace(self, judge=again(folder))

    def build(self, key: Key[Array, ""], spec: Spec) -> LearntReward:
        inputs = [spec.observation_space]
        inputs += [spec.action_space] if self.sees_action else []
        inputs += [spec.observation_space] if self.sees_change else []
        keys = jax.random.split(key, self.members)
        members = tuple(self.network.build(k, spaces.Tuple(inputs), {REWARD: ValueHead()}) for k in keys)
        if members[0].context != 0:
            raise SpaceError(
                f"a learnt reward judges single steps, and {type(self.network).__name__} remembers earlier ones: take "
                "MLP, or another network without a memory"
            )
        row = spec.row._replace(legal=None)
        action = jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda: _action(spec.action_space)))
        recent = empty_ring(
            row,
            action,
            num_envs=spec.num_envs,
            capacity=max(self.recent, self.session, 2 * self.segment * spec.num_envs),
            rollout=1,
            length=self.segment,
        )
        # At first as where all levels are as likely.
        share = np.arange(1, self.levels) / self.levels
        level = np.log(share / (1 - share))
        apart = np.append(level[:1], np.log(np.diff(level)))
        cuts = None if self.clips > 1 else tuple(jnp.asarray(apart, jnp.float32) for _ in range(self.members))
        judge = self.judge.begin()
        # A world that lives in Python is not in the spec.
        looked_at = judge.looks and spec.world is None and not is_picture(spec.observation_space)
        lives = Lives.start(recent.slots + self.longest, spec.num_envs, action) if looked_at else None
        each = (self.labels, self.clips)
        asked = Compared(
            obs=jax.tree.map(lambda x: jnp.zeros((*each, self.segment + 1, *x.shape), x.dtype), row.obs),
            action=jax.tree.map(lambda x: jnp.zeros((*each, self.segment, *x.shape), x.dtype), action),
            reward=jnp.zeros((*each, self.segment)),
            place=None if lives is None else jnp.full((*each, 3), -1),
        )
        seen = Seen.start(spec.observation_space)
        labelled = Labelled(
            asked,
            jnp.zeros(each),
            jnp.zeros((self.labels, self.members), jnp.int32),
            jnp.full(self.labels, -1),
            jnp.int32(0),
        )
        if self.known:
            spaces_of = spec.observation_space, spec.action_space
            given, share = known_labels(Path(self.known), self.clips, self.segment, *spaces_of)
            share = jnp.asarray(share) if self.clips > 1 else _as_rating(jnp.asarray(share), self.levels)
            unknown = None if lives is None else jnp.full((*share.shape, 3), -1)
            given = given._replace(place=unknown)
            labelled = labelled.before(given, share, jax.random.fold_in(key, self.members))
            lived = flat(jax.tree.map(jnp.asarray, given.obs))
            seen = seen.updated(lived, jnp.ones(jax.tree.leaves(lived)[0][1:].shape[:2], bool))
        # What is left of one counts as one: nobody is asked for more than there is room for.
        sessions = -(-labelled.count // self.session)
        return LearntReward(
            settings=self,
            judge=judge,
            members=members,
            cuts=cuts,
            optimiser=self.optimiser.build().init((members, cuts)),  # pyright: ignore[reportArgumentType]
            decay=jnp.full(self.members, self.decay),
            labelled=labelled,
            recent=recent,
            lives=lives,
            seen=seen,
            read_by=seen,
            normal=Normal(jnp.zeros(self.members), jnp.ones(self.members), jnp.float32(0)),
            clock=Clock.start(spec.steps),
            sessions=sessions,
            behind=sessions,
            novelty=None if self.pretraining is None else self.pretraining.build(spec.observation_space),
            told=Told(*jnp.zeros(len(Told._fields))),
        )


def _action(space: spaces.Space[Any]) -> Array:
    return jnp.zeros(space.shape or (), jax.dtypes.canonicalize_dtype(space.dtype))


class Labelled(NamedTuple):
    """All labels so far."""

    asked: Compared
    share: Float[Array, "N K"]
    """How much of the preference went to each: of two 1, ½ where both are alike, 0; of more to how many of the others
    it was preferred, half to those that are alike; of one how good it is, from 0 to 1; NaN where nothing was said."""
    times: Int[Array, "N M"]
    """How often each is in each member's bootstrap sample; where it is not, the member is validated on it."""
    again: Int[Array, " N"]
    """Which earlier one asked about the same, the other way round; −1: none."""
    count: Int[Array, ""]
    """How many there are."""

    def before(self, asked: Compared, share: Float[Array, "G K"], key: Key[Array, ""]) -> Labelled:
        """With G that were given before, where there are none yet.

        Raises:
            RetornoError: when there is no room for them.
        """
        if len(share) > len(self.share):
            raise RetornoError(
                f"{len(share):,} labels are known already, and {len(self.share):,} are to be had in all: ask for "
                f"more, or for {len(share)}, and nobody is asked any more"
            )
        put = lambda old, new: old.at[: len(share)].set(new)  # noqa: E731
        times = _times(key, (len(share), self.times.shape[1]))
        return Labelled(
            jax.tree.map(put, self.asked, asked),
            put(self.share, share),
            put(self.times, times),
            self.again,
            jnp.int32(len(share)),
        )

    def asked_once(self, key: Key[Array, ""], count: int) -> tuple[Int[Array, " S"], Bool[Array, " S"]]:
        """Different ones by chance, and which of them were asked once."""
        place = jnp.arange(len(self.share))
        twice = jnp.zeros(len(self.share), bool).at[jnp.where(self.again >= 0, self.again, len(place))].set(True)
        once = (place < self.count) & (self.again < 0) & ~twice
        order = jnp.argsort(jnp.where(once, jax.random.uniform(key, place.shape), -1.0), descending=True)
        drawn = jnp.resize(order, (count,))
        return drawn, once[drawn] & (jnp.arange(count) < len(order))

    @property
    def consistency(self) -> Float[Array, ""]:
        """Of how many that were asked again the same was said; 0 where there is none."""
        repeated = self.again >= 0
        order = jax.vmap(ranks)
        same = (order(self.share) == order(self.share[self.again][:, ::-1])).all(axis=1)
        return (repeated & same).sum() / jnp.maximum(repeated.sum(), 1)


class Seen(NamedTuple):
    """What observations are like, as all that was seen tells."""

    observed: ObservationNormaliser
    changed: ObservationNormaliser
    """Of how observations change: next to what they are it is often little."""

    @classmethod
    def start(cls, space: spaces.Space[Any]) -> Seen:
        """Nothing was seen yet.

        Of a screen nothing has to be known: its pixels are of one kind, and those that hardly ever change would drown
        all others if each were measured by how much it does.
        """
        return cls(*(ObservationNormaliser.start(space, screens=False) for _ in cls._fields))

    def updated(self, obs: PyTree[Array], transitions: Bool[Array, "T B"]) -> Seen:
        """With rows [T + 1, B] after the first, and how they change, where one leads to the next."""
        arrived = jax.tree.map(lambda x: x[1:], obs)
        return Seen(self.observed.update(arrived), self.changed.update(_changes(obs), transitions))


class Normal(NamedTuple):
    """What makes rewards of members alike."""

    middle: Float[Array, " M"]
    deviation: Float[Array, " M"]
    scale: Float[Array, ""]
    """The standard deviation of what is paid; 0 while nothing is known."""


class Told(NamedTuple):
    """How the ensemble was after the newest session."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    correlation: Float[Array, ""]
    consistency: Float[Array, ""]
    failed: Float[Array, ""]
    """Infinite where the judge failed."""


class LearntReward(Relabel):
    """An ensemble that pays, what it learnt from, and what it may be asked about next."""

    members: tuple[Policy, ...]
    cuts: tuple[Float[Array, " C"], ...] | None
    """Where, for each member, one of C + 1 levels ends and the next begins, if clips are rated: the first one, and by
    how much the others are further, as logarithms."""
    optimiser: optax.OptState
    decay: Float[Array, " M"]
    labelled: Labelled
    recent: Ring
    lives: Lives | None
    """What leads to recent rows, where somebody looks at them who cannot see it else."""
    seen: Seen
    """Of known labels, and of what was lived."""
    read_by: Seen
    """As it was when the members learnt last, who read what they are shown by it."""
    normal: Normal
    clock: Clock
    sessions: Int[Array, ""]
    behind: Int[Array, ""]
    """For how many sessions of labels that were known before the members have not learnt yet."""
    novelty: Novelty | None
    told: Told
    settings: Preferences = eqx.field(static=True)
    judge: Asked = eqx.field(static=True)

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        """The members' mean, each normalised; before the first labels what is new, or nothing."""
        said = lambda: self.normal.scale * self._mean(trajectory)  # noqa: E731
        paid = (
            said()
            if self.novelty is None
            else jax.lax.cond(self.labelled.count > 0, said, lambda: self._new(trajectory))
        )
        return jnp.where(trajectory.transitions, paid, 0.0)

    def _mean(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        said = self._said(trajectory.steps.obs, trajectory.action)
        return jnp.mean((said - self.normal.middle) / self.normal.deviation, axis=-1)

    def _new(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        assert self.novelty is not None
        arrived = jax.tree.map(lambda x: x[1:], trajectory.steps.obs)
        return self.settings.deviation * self.novelty.reward(arrived, self.seen.observed)

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[LearntReward, Metrics]:
        sessions, around = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        lived = replace(
            self,
            recent=_added(self.recent, trajectory),
            lives=None if self.lives is None else self.lives.added(trajectory),
            seen=self.seen.updated(trajectory.steps.obs, trajectory.transitions),
            clock=self.clock.advance(trajectory),
        )
        if self.settings.known:
            first = jnp.where(lived.recent.starts > 0, lived.behind, 0)
            study = lambda i, now: now._reading()._studied(jax.random.fold_in(around, i))  # noqa: E731
            lived = jax.lax.fori_loop(0, first, study, lived)
        if lived.novelty is not None:
            novelty = lived.novelty
            look = lambda: novelty.updated(lived.recent, lived.seen.observed, around)  # noqa: E731
            lived = replace(lived, novelty=jax.lax.cond(self.labelled.count > 0, lambda: novelty, look))
        due = jnp.floor(lived._due() / self.settings.session).astype(jnp.int32) - self.sessions
        # Where there is too little to ask about, labels are owed until there is more.
        enough = lambda: within_episodes(lived.recent).sum() >= self.settings.session  # noqa: E731
        able = jax.lax.cond(due > 0, enough, lambda: jnp.array(False))
        # A loop of no turns rather than a branch: what a branch gives back would be copied.
        turns = jnp.where(able, due, 0)
        ask = lambda i, now: now._reading()._session(jax.random.fold_in(sessions, i))  # noqa: E731
        after = jax.lax.fori_loop(0, turns, ask, lived)
        told = after.told
        full = (lived.recent.filled == lived.recent.slots - 1) | (lived.clock.progress >= 1)
        hopeless = (due > 0) & ~able & full & (after.labelled.count == 0)
        return after, {
            "labels": after.labelled.count + jnp.where(hopeless, jnp.inf, told.failed),
            "accuracy": told.accuracy,
            "loss": told.loss,
            "correlation": told.correlation,
            "consistency": told.consistency,
        }

    def trouble(self, metric: str) -> str | None:
        if metric != "labels":
            return None
        if self.judge.trouble is not None:
            return self.judge.trouble
        return (
            f"hardly a segment of {self.settings.segment} steps lies within an episode: choose a shorter one, or a "
            "world whose episodes are longer"
        )

    def _due(self) -> Float[Array, ""]:
        """How many labels should have been asked by now: a rate that falls as T / (T + t), after the first ones."""
        made, progress = self.settings, self.clock.progress
        share = jnp.log1p(progress / made.half_rate) / jnp.log1p(1 / made.half_rate)
        # A little more, so that the last one is not lost to rounding.
        due = made.labels * (made.first + (1 - made.first) * share) + 1e-3
        return jnp.where(progress >= made.waiting, due, 0.0)

    def _of(self, member: Policy, obs: Array, action: Array) -> Float[Array, "T B"]:
        """What a member says of steps: obs [T + 1, B], action [T, B]."""
        shown = jax.vmap(jax.vmap(self.read_by.observed))(jax.tree.map(lambda x: x[:-1], obs))
        inputs = [jax.tree.map(_as_shares, shown)]
        inputs += [action] if self.settings.sees_action else []
        inputs += [jax.vmap(jax.vmap(self.read_by.changed))(_changes(obs))] if self.settings.sees_change else []
        first = jnp.zeros(jax.tree.leaves(obs)[0][1:].shape[:2], bool)
        return unroll_batch(member, tuple(inputs), first, ())[REWARD]

    def _said(self, obs: Array, action: Array) -> Float[Array, "T B M"]:
        """What all members say of them."""
        return jnp.stack([self._of(member, obs, action) for member in self.members], axis=-1)

    def _sum(self, member: Policy, asked: Compared) -> Float[Array, "N K"]:
        """What a member says of whole segments."""
        return self._steps(member, asked).sum(0).reshape(-1, self.settings.clips)

    def _steps(self, member: Policy, asked: Compared) -> Float[Array, "L S"]:
        """What a member says of each step of all segments."""
        return self._of(member, flat(asked.obs), flat(asked.action))

    def _sums(self, asked: Compared) -> Float[Array, "N K M"]:
        """What all members say of them."""
        return jnp.stack([self._sum(member, asked) for member in self.members], axis=-1)

    def _reading(self) -> LearntReward:
        """With members that read what they are shown by all that was seen so far."""
        return replace(self, read_by=self.seen)

    def _studied(self, key: Key[Array, ""]) -> LearntReward:
        """Learn from what is known, without asking."""
        learn, check = jax.random.split(key)
        return replace(self, behind=self.behind - 1)._fitted(learn)._normalised(check, jnp.float32(0))

    def _session(self, key: Key[Array, ""]) -> LearntReward:
        """Ask a few labels, and learn from all."""
        draw, choose, judge, bootstrap, learn, check, again = jax.random.split(key, 7)
        made, held = self.settings, self.labelled
        drawn = draw_segments(self.recent, draw, made.session * made.queries.candidates, made.clips, self.lives)
        chance = self._chances(self._sums(drawn))
        interest = (
            made.queries.interest(chance.reshape(-1, made.members), choose).reshape(chance.shape[:2]).mean(axis=1)
        )
        best = jnp.argsort(interest, descending=True)[: made.session]
        which, earlier = jax.random.split(again)
        # Each once at most: the other way round it is another query, and a second time it would be the first.
        old, fresh = held.asked_once(earlier, made.session)
        repeated = jax.random.bernoulli(which, made.repeats, best.shape) & fresh
        asked = chosen(repeated, turned(taken(held.asked, old)), taken(drawn, best))
        share = self.judge.answer(asked, judge, self.lives)
        share = share if self.cuts is None else _as_rating(share, made.levels)
        count = jnp.isfinite(share).sum(axis=1) >= min(made.clips, 2)
        place = jnp.where(count, held.count + jnp.cumsum(count) - 1, made.labels)
        times = _times(bootstrap, (made.session, made.members))
        put = lambda old, new: old.at[place].set(new, mode="drop")  # noqa: E731
        labelled = Labelled(
            asked=jax.tree.map(put, held.asked, asked),
            share=put(held.share, share),
            # Who has learnt from a label is not validated on its repetition.
            times=put(held.times, jnp.where(repeated[:, None], held.times[old], times)),
            again=put(held.again, jnp.where(repeated, old, -1)),
            count=jnp.minimum(held.count + count.sum(), made.labels),
        )
        failed = jnp.where(jnp.isinf(share).any(), jnp.inf, 0.0)
        asked_so_far = replace(self, labelled=labelled, sessions=self.sessions + 1)
        return asked_so_far._fitted(learn)._normalised(check, failed)

    def _fitted(self, key: Key[Array, ""]) -> LearntReward:
        """The members after some gradient steps, each on labels of its own bootstrap sample."""
        made, held = self.settings, self.labelled
        until = jnp.cumsum(held.times, axis=0)  # [N, M]
        total = until[-1]

        def step(i: Array, now: tuple[Any, optax.OptState]) -> tuple[Any, optax.OptState]:
            taught, state = now
            drawn = jax.random.randint(
                jax.random.fold_in(key, i), (made.members, made.batch), 0, jnp.maximum(total, 1)[:, None]
            )

            def loss(taught: tuple[tuple[Policy, ...], tuple[Array, ...] | None]) -> Float[Array, ""]:
                members, cuts = taught
                losses = []
                for m, member in enumerate(members):
                    index = jnp.searchsorted(until[:, m], drawn[m], side="right")
                    sums = self._sum(member, taken(held.asked, index))
                    fit = self._losses(sums, index, None if cuts is None else cuts[m]).mean()
                    losses.append(fit * (total[m] > 0) + self.decay[m] * _square(member))
                return jnp.stack(losses).sum()

            gradient = jax.grad(loss)(taught)
            return descend(made.optimiser, taught, gradient, state, self.clock.progress)

        begun = (self.members, self.cuts), self.optimiser
        (members, cuts), state = jax.lax.fori_loop(0, made.gradient_steps, step, begun)
        return replace(self, members=members, cuts=cuts, optimiser=state)

    def _chances(self, sums: Float[Array, "N K M"]) -> Float[Array, "N P M"]:
        """What each member says of all that a label would tell: that the first of two is better, for all pairs; of one
        that is rated, that it is better than each level but the best.
        """
        beyond = apart(sums) if self.cuts is None else sums - jnp.stack([_increasing(each) for each in self.cuts], -1)
        return jax.nn.sigmoid(beyond)

    def _losses(
        self, sums: Float[Array, "N K"], index: Int[Array, " N"], cuts: Float[Array, " C"] | None
    ) -> Float[Array, " N"]:
        """How unlikely some labels are by what a member says of their segments, and by its cuts between levels."""
        share, mistakes = self.labelled.share[index], self.settings.mistakes
        if cuts is not None:
            level = jnp.floor(share[:, 0] * self.settings.levels).astype(jnp.int32)
            return jax.vmap(ordered_logistic, (0, None, 0, None))(sums[:, 0], _increasing(cuts), level, mistakes)
        if self.settings.clips == 2:  # Who finds both alike says something as well.
            return jax.vmap(comparison, (0, 0, None))(sums, share[:, 0], mistakes)
        return jax.vmap(plackett_luce, (0, 0, None))(sums, jax.vmap(ranks)(share), mistakes)

    def _normalised(self, key: Key[Array, ""], failed: Float[Array, ""]) -> LearntReward:
        """With members that are validated, and alike over all that was judged."""
        labels, steps = jax.random.split(key)
        held = self.labelled
        index = jax.random.randint(labels, (CHECKED,), 0, jnp.maximum(held.count, 1))
        said = jnp.stack([self._steps(member, taken(held.asked, index)) for member in self.members], axis=-1)
        sums = said.sum(0).reshape(CHECKED, self.settings.clips, -1)
        cuts = self.cuts or (None,) * len(self.members)
        losses = jnp.stack([self._losses(sums[..., m], index, each) for m, each in enumerate(cuts)], -1)
        mean = lambda x, of: (x * of).sum(0) / jnp.maximum(of.sum(0), 1)  # noqa: E731
        learnt = held.times[index] > 0
        # What is rated by itself is held against the one that was drawn before.
        rated, before = self.cuts is not None, lambda x: jnp.roll(x, 1, axis=0)
        against = (lambda x: x - before(x)) if rated else apart
        held_out = ~(learnt | before(learnt)) if rated else ~learnt
        # Of two that are alike, or of which nothing is said, whatever one says is neither right nor wrong.
        preferred = jnp.nan_to_num(jnp.sign(against(held.share[index])))[..., None]
        right = (1 + jnp.sign(against(sums)) * preferred) / 2
        checked = (preferred != 0) & held_out[:, None]
        training, validation = mean(losses, learnt), mean(losses, ~learnt)
        low, high = VALIDATION
        ratio = validation / jnp.maximum(training, 1e-6)
        decay = self.decay * jnp.where(ratio > high, 1.1, jnp.where(ratio < low, 1 / 1.1, 1.0))

        # Over all that was judged: over what is done lately nothing would be left of them where all of it is good.
        middle, deviation = self.settings.centre(said), jnp.maximum(said.std((0, 1)), 1e-6)
        normal = Normal(middle, deviation, jnp.where(held.count > 0, self.settings.deviation, 0.0))
        lived = self.recent.sample(steps, TASTED).trajectory
        paid = jnp.mean((self._said(lived.steps.obs, lived.action) - middle) / deviation, axis=-1)
        told = Told(
            loss=training.mean(),
            accuracy=(right * checked).sum() / jnp.maximum(checked.sum(), 1),
            correlation=_correlation(paid, lived.steps.reward[1:], lived.transitions),
            consistency=held.consistency,
            failed=failed,
        )
        return replace(self, decay=decay, normal=normal, told=told)


def _times(key: Key[Array, ""], shape: tuple[int, ...]) -> Int[Array, "*N"]:
    """How often labels are in bootstrap samples: Poisson numbers with mean 1, by the inverse of what is `AT_MOST`.

    `jax.random.poisson`, which knows any mean, takes three times as long to compile.
    """
    return (jax.random.uniform(key, shape)[..., None] >= AT_MOST).sum(-1, dtype=jnp.int32)


def _as_rating(share: Array, levels: int) -> Array:
    """The middle of the level in which something lies."""
    return jnp.where(jnp.isfinite(share), (jnp.clip(jnp.floor(share * levels), 0, levels - 1) + 0.5) / levels, share)


def _increasing(cuts: Float[Array, " C"]) -> Float[Array, " C"]:
    """The cuts themselves, each further than the one before."""
    return jnp.cumsum(jnp.append(cuts[:1], jnp.exp(cuts[1:])))


def _added(ring: Ring, lived: Trajectory) -> Ring:
    """A ring with what was lived since, or the newest part of it that fits."""
    most = ring.slots - 1
    if lived.transitions.shape[0] > most:
        lived = jax.tree.map(lambda x: x[-most - 1 :], lived._replace(action=(), carry=()))._replace(
            action=jax.tree.map(lambda x: x[-most:], lived.action)
        )
    return ring.add(lived._replace(steps=lived.steps._replace(legal=None), extras=(), carry=()))


def flat(parts: PyTree[Array]) -> PyTree[Array]:
    """Parts [N, K, L] of N times K segments as of windows [L, N · K]."""
    return jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, *x.shape[2:]), 1, 0), parts)


def _changes(obs: PyTree[Array]) -> PyTree[Array]:
    """By how much rows [T + 1, B] change, where they are numbers; else what comes next."""

    def change(x: Array) -> Array:
        x = _as_shares(x)
        return x[1:] - x[:-1] if jnp.issubdtype(x.dtype, jnp.floating) else x[1:]

    return jax.tree.map(change, obs)


def _as_shares(x: Array) -> Array:
    """Bytes as shares of 255, and bits as numbers; others as they are."""
    return x / jnp.float32(255 if x.dtype == jnp.uint8 else 1) if x.dtype in (jnp.uint8, jnp.bool_) else x


def _square(member: Policy) -> Float[Array, ""]:
    """The sum of squares of a network's weights."""
    squares = jax.tree.map(lambda x, counts: jnp.sum(x**2) if counts else 0.0, member, decays(member))
    return jnp.sum(jnp.stack(jax.tree.leaves(squares)))


def _correlation(x: Array, y: Array, where: Array) -> Float[Array, ""]:
    """Of two arrays, where it counts; 0 where one does not vary."""
    x, y = (jnp.where(where, a - jnp.mean(a, where=where), 0.0) for a in (x, y))
    return (x * y).sum() / jnp.sqrt(jnp.maximum((x**2).sum() * (y**2).sum(), 1e-12))
