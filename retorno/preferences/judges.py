"""Who says which segment is better, or how good one is: the world's reward, for experiments, a function, or people."""

from __future__ import annotations

import abc
import contextlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from retorno.core.hyperparameters import Finite, NonNegative, UnitInterval, settings
from retorno.core.registry import Registry
from retorno.core.waiting import waiting
from retorno.environments.own_code import OwnCodeError, OwnFunction, guarded, located
from retorno.preferences.given import shares_of, won
from retorno.preferences.habits import SAME, Habits, in_a_word, told
from retorno.preferences.lives import Life, Lives, known_lives
from retorno.preferences.segments import Compared
from retorno.preferences.written import as_written
from retorno.run.stopping import asked_to_stop

if TYPE_CHECKING:
    from retorno.labels import Labels

QUERY = "segments"
"""The kind of query that people are asked."""
PATIENCE = 0.2
"""Seconds between two looks at what people have said."""


@runtime_checkable
class Judge(Protocol):
    """Settings of somebody who says which segment is better."""

    def begin(self) -> Asked:
        """Ready to be asked.

        Raises:
            OwnCodeError: when it is code of one's own that cannot be used.
        """
        ...


@runtime_checkable
class Asked(Protocol):
    """Somebody who is asked; equal ones are asked by the same program."""

    @property
    def trouble(self) -> str | None:
        """What went wrong in an answer, if anything."""
        ...

    @property
    def looks(self) -> bool:
        """Whether segments are looked at, so that what leads to them has to be kept where they are not seen else."""
        ...

    def answer(self, asked: Compared, key: Key[Array, ""], lives: Lives | None) -> Float[Array, "N K"]:
        """How much of the preference goes to each.

        Args:
            asked: N times K segments.
            key: what is said by chance follows from it.
            lives: what leads to them, where that is kept.

        Returns:
            Of two 1, ½ where both are alike, 0; of more to how many of the others it is preferred, half to those that
            are alike; of one how good it is, from 0, the worst, to 1; NaN: cannot tell; infinite where something went
            wrong. Shape [N, K].
        """
        ...


@settings
class TrueReward:
    """Prefers what the world paid more for, as a labeller would who errs sometimes: for experiments and benchmarks.

    Christiano et al. 2017, section 3.1 ("synthetic labels"); mistakes and indifference as Lee et al. 2021 (B-Pref).
    """

    mistakes: UnitInterval = 0.1
    """The share of answers that say the opposite; where several are put in order, of neighbours that change places;
    where one is rated, of ratings that are given by chance."""
    indifference: NonNegative = 0.0
    """Where two sums of rewards differ by no more, both are said to be alike."""
    worst: Finite | None = None
    """What a step of a clip that is rated worst pays at most, on average; of several nobody asks for it."""
    best: Finite | None = None
    """What a step of a clip that is rated best pays at least; ratings between are spread evenly."""

    def __post_init__(self) -> None:
        if self.worst is None and self.best is None:
            return
        if self.worst is None or self.best is None or not self.worst < self.best:
            raise ValueError(
                f"ratings go from worst to best, which pays more; got worst {self.worst}, best {self.best}"
            )

    @property
    def trouble(self) -> None:
        """Nothing can."""

    @property
    def looks(self) -> bool:
        """It knows what was paid."""
        return False

    def begin(self) -> TrueReward:
        """Itself."""
        return self

    def answer(self, asked: Compared, key: Key[Array, ""], lives: Lives | None = None) -> Float[Array, "N K"]:
        """Which paid more; of one how much it paid."""
        paid = asked.returns
        if paid.shape[1] == 1:
            return self._rated(asked.reward.mean(-1), key)
        order = jnp.argsort(paid, axis=1, descending=True)
        best_first = jnp.take_along_axis(paid, order, axis=1)
        less = best_first[:, :-1] - best_first[:, 1:] > self.indifference
        tier = jnp.cumsum(jnp.pad(less, ((0, 0), (1, 0))), axis=1)
        wrong = jax.random.bernoulli(key, self.mistakes, less.shape)
        for i in range(wrong.shape[1]):
            exchanged = [*range(i), i + 1, i, *range(i + 2, paid.shape[1])]
            order = jnp.where(wrong[:, i : i + 1], order[:, np.array(exchanged)], order)
        tier = jnp.take_along_axis(tier, jnp.argsort(order, axis=1), axis=1)
        others = tier[:, None, :] - tier[:, :, None]
        # Each is alike to itself.
        return (others > 0).sum(axis=2) + (others == 0).sum(axis=2) / 2 - 0.5

    def _rated(self, paid: Float[Array, "N 1"], key: Key[Array, ""]) -> Float[Array, "N 1"]:
        assert self.worst is not None and self.best is not None
        which, what = jax.random.split(key)
        good = jnp.clip((paid - self.worst) / (self.best - self.worst), 0, 1)
        blind = jax.random.uniform(what, paid.shape)
        return jnp.where(jax.random.bernoulli(which, self.mistakes, paid.shape), blind, good)


@settings
class FunctionJudge(OwnFunction):
    """Asks a Python function: a rule, a model of one's own, a program that shows both to somebody.

    `judge(first, second)` gets two segments, each a dictionary of arrays: "obs" [L + 1, …], "action" [L, …] and
    "reward" [L], what the world paid. It gives 1 where the first is better, 0 where the second is, ½ where both are
    alike, None where it cannot tell. Of more than two, `judge(first, second, third, …)` gives a number of each, the
    more the better, None where it cannot tell; of one, `judge(clip)` says how good it is, from 0, the worst, to 1.
    """

    WHAT: ClassVar[str] = "judge"

    def begin(self) -> _Function:
        """The function itself."""
        return _Function(self.function, self.found())


@dataclass(frozen=True)
class _OnTheHost(abc.ABC):
    """Who is asked outside of the compiled program, which waits for the answers."""

    _failed: list[str] = field(default_factory=list, compare=False, kw_only=True)
    _habits: Habits = field(default_factory=Habits, compare=False, kw_only=True)

    @property
    def trouble(self) -> str | None:
        return self._failed[-1] if self._failed else None

    @property
    def looks(self) -> bool:
        return False

    def answer(self, asked: Compared, key: Key[Array, ""], lives: Lives | None = None) -> Float[Array, "N K"]:
        leaves, structure = jax.tree.flatten((asked, lives))

        def ask(*leaves: Any) -> np.ndarray:
            held, lives = jax.tree.unflatten(structure, [np.asarray(x) for x in leaves])
            return np.asarray(self.shares([each_of(held, i, lives) for i in range(len(held.reward))]), np.float32)

        like = jax.ShapeDtypeStruct(asked.reward.shape[:2], jnp.float32)
        return jax.pure_callback(ask, like, *leaves, vmap_method="sequential")

    def _notice(self, who: str, said: str, clips: int) -> None:
        """Tell, once each time, where somebody says the same of so many clips again and again."""
        if self._habits.again(who, said) == SAME:
            warnings.warn(told(who, said, clips), stacklevel=2)

    @abc.abstractmethod
    def shares(self, asked: list[list[dict[str, Any]]]) -> Sequence[Sequence[float]]:
        """As `answer` gives them, of segments as a function is given them."""


@dataclass(frozen=True)
class _Function(_OnTheHost):
    """A function that is called."""

    name: str
    function: Callable[..., Any]

    def shares(self, asked: list[list[dict[str, Any]]]) -> Sequence[Sequence[float]]:
        found = [self._shares(each) for each in asked]
        for shares in found:
            self._notice(f"the judge {self.name}", in_a_word(shares, ("first", "second")), len(shares))
        return found

    def _shares(self, segments: list[dict[str, Any]]) -> Sequence[float]:
        file, module, _ = located(self.name)
        count = len(segments)
        try:
            said = guarded(str(file or module), lambda: self.function(*segments), "judgement")
            if said is None:
                return [np.nan] * count
            if count == 1:
                if _is_number(said) and 0 <= said <= 1:
                    return [float(said)]
                problem = f"gave {said!r:.60}: expected how good it is, from 0 to 1, or None"
            elif count == 2:
                if _is_number(said) and 0 <= said <= 1:
                    return [float(said), 1 - float(said)]
                problem = f"gave {said!r:.60}: expected 1 (the first is better), 0, .5 for alike, or None"
            elif isinstance(said, Sequence | np.ndarray) and len(said) == count and all(map(_is_worth, said)):
                return won([np.nan if x is None else float(x) for x in said])
            else:
                problem = f"gave {said!r:.60}: expected {count} numbers, the more the better, or None"
        except (OwnCodeError, OSError) as error:
            problem = f"failed: {error}"
        self._failed.append(f"the judge {self.name} {problem}")
        return [np.inf] * count


def _is_number(said: Any) -> bool:
    return isinstance(said, int | float | np.number | np.ndarray) and np.ndim(said) == 0


def _is_worth(said: Any) -> bool:
    return said is None or (_is_number(said) and not np.isinf(said))


def each_of(asked: Compared, i: int, lives: Lives | None = None) -> list[dict[str, Any]]:
    """The segments of one question as a function is given them; with what was done before, where that is kept and
    found, as "lived".
    """

    def segment(which: int) -> dict[str, Any]:
        named = {name: x for name, x in asked._asdict().items() if x is not None}
        held = {name: jax.tree.map(lambda x: x[i, which], x) for name, x in named.items()}
        if lives is not None and (actions := lives.actions(held["place"])) is not None:
            env, episode, age = map(int, held["place"])
            held["lived"] = Life(env, episode, age, actions)
        return held

    return [segment(which) for which in range(asked.reward.shape[1])]


@settings
class People:
    """Asks people, who see the segments in a page (`retorno compare RUN`), and waits for what they say.

    What is asked follows from the run alone, and what was answered is kept: a run that is gone on with asks the same
    again and finds the answers, so that it ends with the same bits, however long somebody took.
    """

    labels: str = ""
    """Where labels are kept: a file, or postgresql://…"""

    def __post_init__(self) -> None:
        if self.labels and "://" not in self.labels:  # A run is gone on with from anywhere.
            object.__setattr__(self, "labels", str(Path(self.labels).expanduser().resolve()))

    def begin(self) -> _Waiting:
        """Nobody is asked yet.

        Raises:
            ValueError: when it is not said where labels are.
        """
        if not self.labels:
            raise ValueError("people's labels need a place: labels=FILE.db, or take `retorno prefer`, which chooses it")
        return _Waiting(self.labels)

    def recorded(self, folder: Path) -> People:
        """As a run recorded it: labels that lie in its folder go with it, wherever that is now.

        Args:
            folder: the run's.
        """
        return replace(self, labels=labels_of(folder, self.labels))


def labels_of(folder: Path, said: str) -> str:
    """Where the labels of a run are: where it says so, or in its folder, when that was moved or copied with them.

    Args:
        folder: the run's.
        said: where they were when it began.
    """
    own = folder.resolve() / Path(said).name
    return str(own) if said and "://" not in said and own.is_file() else said


@dataclass(frozen=True)
class _Waiting(_OnTheHost):
    """People who are waited for."""

    place: str

    @property
    def looks(self) -> bool:
        return True

    def shares(self, asked: list[list[dict[str, Any]]]) -> Sequence[Sequence[float]]:
        from retorno.labels import Labels, LabelsError, shown_order

        contents = [{"segments": [as_json(segment) for segment in each]} for each in asked]
        count = len(asked[0])
        unanswered = [[np.inf] * count] * len(asked)
        try:
            with contextlib.closing(Labels.open(self.place)) as labels:
                _as_before(labels, asked, contents)
                ids = labels.add(QUERY, contents)
                said: Mapping[int, Any] = {}
                wanted = len(set(ids))
                asking = {1: f"rate {wanted} clips", 2: f"compare {wanted} pairs of clips"}
                with waiting(
                    f"people {asking.get(count, f'compare {wanted} times {count} clips')}", lambda: f"{len(said)} done"
                ):
                    while len(said := labels.said_of(ids)) < wanted:
                        if asked_to_stop() is not None:
                            return unanswered
                        time.sleep(PATIENCE)
        except LabelsError as error:
            self._failed.append(str(error))
            return unanswered
        except ValueError as error:  # JSON has no infinity.
            self._failed.append(f"people cannot be asked about observations that are NaN or infinite ({error})")
            return unanswered
        shares = {number: shares_of(label.content, range(count)) for number, label in said.items()}
        for number, label in sorted(said.items(), key=lambda each: each[1].id):
            seen = [shares[number][i] for i in shown_order(number, label.labeller, count)]
            self._notice(label.labeller, in_a_word(seen, ("left", "right")), count)
        return [shares[number] for number in ids]


def as_json(segment: dict[str, Any]) -> dict[str, Any]:
    """A segment as it is asked about: observations and actions, and how it can be lived again, where that is known.

    What the world paid is nobody's business.
    """
    written = {name: as_written(segment[name]) for name in ("obs", "action")}
    return written if (lived := segment.get("lived")) is None else {**written, "lived": lived.as_json()}


def _as_before(labels: Labels, asked: list[list[dict[str, Any]]], contents: list[Any]) -> None:
    """What is asked again is asked with what led to it, though that is kept here no more: it is with the old query."""
    lost = [
        (segment["place"].tolist(), written)
        for each, content in zip(asked, contents, strict=True)
        for segment, written in zip(each, content["segments"], strict=True)
        if "place" in segment and "lived" not in written and segment["place"][2] >= 0
    ]
    if lost:
        known = known_lives(each for query in labels.queries(QUERY) for each in query.content["segments"])
        for (env, episode, age), written in lost:
            if (lived := known.get((env, episode, age))) is not None:
                written["lived"] = lived


JUDGES = Registry((TrueReward, FunctionJudge, People), of=Judge)
"""Every judge by the name that the command line gives it."""
