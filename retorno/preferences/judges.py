"""Who says which of two segments is better: the world's own reward, for experiments, a function, or people."""

from __future__ import annotations

import abc
import contextlib
import random
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

from retorno.core.hyperparameters import NonNegative, UnitInterval, settings
from retorno.core.registry import Registry
from retorno.core.waiting import waiting
from retorno.environments.own_code import OwnCodeError, OwnFunction, guarded, located
from retorno.preferences.habits import SAME, Habits, told
from retorno.preferences.lives import Life, Lives, known_lives
from retorno.preferences.segments import Pairs
from retorno.run.stopping import asked_to_stop

if TYPE_CHECKING:
    from retorno.labels import Labels

QUERY = "segments"
"""The kind of query that people are asked."""
PATIENCE = 0.2
"""Seconds between two looks at what people have said."""


def shown_swapped(query: int, labeller: str) -> bool:
    """Whether a person sees the second segment at the left: by chance, but the same whenever the page is loaded.

    So nobody prefers a side for ever.
    """
    return random.Random(f"{query} {labeller}").random() < 0.5


@runtime_checkable
class Judge(Protocol):
    """Settings of somebody who says which of two segments is better."""

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

    def answer(self, pairs: Pairs, key: Key[Array, ""], lives: Lives | None) -> Float[Array, " N"]:
        """How much of the preference goes to the first of each pair.

        Args:
            pairs: N pairs.
            key: what is said by chance follows from it.
            lives: what leads to them, where that is kept.

        Returns:
            1, ½ where both are alike, 0; NaN: cannot tell; infinite where something went wrong. Shape [N].
        """
        ...


@settings
class TrueReward:
    """Prefers what the world paid more for, as a labeller would who errs sometimes: for experiments and benchmarks.

    Christiano et al. 2017, section 3.1 ("synthetic labels"); mistakes and indifference as Lee et al. 2021 (B-Pref).
    """

    mistakes: UnitInterval = 0.1
    """The share of answers that say the opposite."""
    indifference: NonNegative = 0.0
    """Where two sums of rewards differ by no more, both are said to be alike."""

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

    def answer(self, pairs: Pairs, key: Key[Array, ""], lives: Lives | None = None) -> Float[Array, " N"]:
        """Which paid more."""
        apart = pairs.returns[:, 0] - pairs.returns[:, 1]
        wrong = jax.random.bernoulli(key, self.mistakes, apart.shape)
        share = jnp.where((apart > 0) ^ wrong, 1.0, 0.0)
        return jnp.where(jnp.abs(apart) <= self.indifference, 0.5, share)


@settings
class FunctionJudge(OwnFunction):
    """Asks a Python function: a rule, a model of one's own, a program that shows both to somebody.

    `judge(first, second)` gets two segments, each a dictionary of arrays: "obs" [L + 1, …], "action" [L, …] and
    "reward" [L], what the world paid. It gives 1 where the first is better, 0 where the second is, ½ where both are
    alike, None where it cannot tell.
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

    def answer(self, pairs: Pairs, key: Key[Array, ""], lives: Lives | None = None) -> Float[Array, " N"]:
        leaves, structure = jax.tree.flatten((pairs, lives))

        def ask(*leaves: Any) -> np.ndarray:
            held, lives = jax.tree.unflatten(structure, [np.asarray(x) for x in leaves])
            return np.asarray(self.shares([both(held, i, lives) for i in range(len(held.reward))]), np.float32)

        like = jax.ShapeDtypeStruct(pairs.reward.shape[:1], jnp.float32)
        return jax.pure_callback(ask, like, *leaves, vmap_method="sequential")

    def _notice(self, who: str, said: str) -> None:
        """Tell, once each time, where somebody says the same again and again."""
        if self._habits.again(who, said) == SAME:
            warnings.warn(told(who, said), stacklevel=2)

    @abc.abstractmethod
    def shares(self, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Sequence[float]:
        """As `answer` gives them, of pairs as a function is given them."""


@dataclass(frozen=True)
class _Function(_OnTheHost):
    """A function that is called."""

    name: str
    function: Callable[[dict[str, Any], dict[str, Any]], Any]

    def shares(self, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Sequence[float]:
        shares = [self._share(*each) for each in pairs]
        for share in shares:
            self._notice(f"the judge {self.name}", _in_a_word(share, "first", "second"))
        return shares

    def _share(self, first: dict[str, Any], second: dict[str, Any]) -> float:
        file, module, _ = located(self.name)
        try:
            said = guarded(str(file or module), lambda: self.function(first, second), "judgement")
            if said is None:
                return np.nan
            if isinstance(said, int | float | np.number | np.ndarray) and np.ndim(said) == 0 and 0 <= said <= 1:
                return float(said)
            problem = f"gave {said!r:.60}: expected 1 (the first is better), 0, .5 for alike, or None"
        except (OwnCodeError, OSError) as error:
            problem = f"failed: {error}"
        self._failed.append(f"the judge {self.name} {problem}")
        return np.inf


def both(pairs: Pairs, i: int, lives: Lives | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pair as a function is given it; with what was done before, where that is kept and found, as "lived"."""

    def segment(side: int) -> dict[str, Any]:
        named = {name: x for name, x in pairs._asdict().items() if x is not None}
        held = {name: jax.tree.map(lambda x: x[i, side], x) for name, x in named.items()}
        if lives is not None and (actions := lives.actions(held["place"])) is not None:
            env, episode, age = map(int, held["place"])
            held["lived"] = Life(env, episode, age, actions)
        return held

    return segment(0), segment(1)


@settings
class People:
    """Asks people, who see both segments in a page (`retorno compare RUN`), and waits for what they say.

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

    def shares(self, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Sequence[float]:
        from retorno.labels import Labels, LabelsError

        contents = [{"segments": [as_json(each) for each in pair]} for pair in pairs]
        unanswered = [np.inf] * len(pairs)
        try:
            with contextlib.closing(Labels.open(self.place)) as labels:
                _as_before(labels, pairs, contents)
                ids = labels.add(QUERY, contents)
                said: Mapping[int, Any] = {}
                asked = len(set(ids))
                with waiting(f"people compare {asked} pairs of clips", lambda: f"{len(said)} done"):
                    while len(said := labels.said_of(ids)) < asked:
                        if asked_to_stop() is not None:
                            return unanswered
                        time.sleep(PATIENCE)
        except LabelsError as error:
            self._failed.append(str(error))
            return unanswered
        except ValueError as error:  # JSON has no infinity.
            self._failed.append(f"people cannot be asked about observations that are NaN or infinite ({error})")
            return unanswered
        for number, label in sorted(said.items(), key=lambda each: each[1].id):
            sides = ("right", "left") if shown_swapped(number, label.labeller) else ("left", "right")
            self._notice(label.labeller, _in_a_word(label.content["share"], *sides))
        shares = [said[number].content["share"] for number in ids]
        return [np.nan if share is None else share for share in shares]


def _in_a_word(share: float | None, first: str, second: str) -> str:
    """What was said, where the first of two was `first`."""
    if share is None or not np.isfinite(share):
        return "cannot tell"
    return "alike" if share == 0.5 else first if share > 0.5 else second


def as_json(segment: dict[str, Any]) -> dict[str, Any]:
    """A segment as it is asked about: observations and actions, and how it can be lived again, where that is known.

    What the world paid is nobody's business.
    """
    written = {name: jax.tree.map(lambda x: x.tolist(), segment[name]) for name in ("obs", "action")}
    return written if (lived := segment.get("lived")) is None else {**written, "lived": lived.as_json()}


def _as_before(labels: Labels, pairs: list[tuple[dict[str, Any], dict[str, Any]]], contents: list[Any]) -> None:
    """What is asked again is asked with what led to it, though that is kept here no more: it is with the old query."""
    lost = [
        (segment["place"].tolist(), written)
        for pair, content in zip(pairs, contents, strict=True)
        for segment, written in zip(pair, content["segments"], strict=True)
        if "place" in segment and "lived" not in written and segment["place"][2] >= 0
    ]
    if lost:
        known = known_lives(each for query in labels.queries(QUERY) for each in query.content["segments"])
        for (env, episode, age), written in lost:
            if (lived := known.get((env, episode, age))) is not None:
                written["lived"] = lived


JUDGES = Registry((TrueReward, FunctionJudge, People), of=Judge)
"""Every judge by the name that the command line gives it."""
