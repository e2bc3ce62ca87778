"""What is asked of a solve, and what it writes down as it goes: how far it is, and whether to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from retorno.core.memory import available, readable
from retorno.core.solution import Sweep


class Progress(NamedTuple):
    """How far a solve has come."""

    sweeps: int
    width: float
    """The width of the bounds so far; infinity while there are none."""
    seconds: float


class Evaluated(NamedTuple):
    """A policy's value and its bounds, over the states that act."""

    value: Float[np.ndarray, " n"]
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]

    def within(self) -> Evaluated:
        """The same with a value between its bounds, which may be closer than the value was computed."""
        if (self.lower <= self.value).all() and (self.value <= self.upper).all():
            return self
        return self._replace(value=np.clip(self.value, self.lower, self.upper))

    @property
    def width(self) -> float:
        return float((self.upper - self.lower).max())


Best = tuple[Int[np.ndarray, " n"], Evaluated]
"""The pair chosen in each state, and the best value: bounded below by that policy's, above for every policy."""

MOST_SWEEPS = 1_000_000
"""Nearer to 1 a discount may ask for more than anyone waits for: then the bounds reached are the answer."""
RELATIVE = 1e-9
"""The relative accuracy that is asked for unless told: nine digits of the largest value."""
WATCH_EVERY = 0.1
"""Seconds between two calls of `watch`."""


@dataclass
class SolveMonitor:
    """Written to once a sweep (or improvement)."""

    accuracy: float = 1e-6
    """The width of the bounds that is asked for."""
    relative: float = 0.0
    """Or this part of the largest value, whichever is more."""
    most_sweeps: float = MOST_SWEEPS
    most_seconds: float = np.inf
    traced: bool = False
    """Whether to keep values and bounds of every sweep; where memory runs short the solve stops, and says so."""
    watch: Callable[[Progress], object] | None = None
    """Told of the progress about ten times a second; the solve stops where it answers True."""
    method: str = ""
    reason: str = ""
    """The method that was chosen and why, where that was left to the solver."""
    residuals: list[float] = field(default_factory=list)
    trace: list[Sweep] = field(default_factory=list)
    width: float = np.inf
    full: str = ""
    """That the trace fills the memory, where it does."""
    stopped: bool = False
    """Out of sweeps or time, or told to stop: return what is certified so far."""
    whole: SolveMonitor | None = None
    """What this is a part of, where it is: it stops when that does."""
    _began: float = field(default_factory=time.perf_counter)
    _told: float = -np.inf

    def __post_init__(self) -> None:
        for name, given in (("accuracy", self.accuracy), ("relative accuracy", self.relative)):
            if not given >= 0:
                raise ValueError(f"{name} is a width of bounds, 0 or more, got {given}")
        for name, most in (("sweeps", self.most_sweeps), ("seconds", self.most_seconds)):
            if not most >= 0:
                raise ValueError(f"{name} to stop after are 0 or more, got {most}")

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def enough(self, value: Float[np.ndarray, " n"]) -> float:
        """The width of the bounds that is close enough for these values."""
        if not self.relative or not len(value):
            return self.accuracy
        size = float(max(value.max(), -value.min()))
        if not np.isfinite(size):
            size = float(np.abs(value[np.isfinite(value)]).max(initial=0.0))
        return max(self.accuracy, self.relative * size)

    def inside(self, accuracy: float) -> SolveMonitor:
        """One for a part of the work, with sweeps of its own.

        What has to be proved after this one has stopped gets as much time again.
        """
        if self.stopped:
            return SolveMonitor(accuracy, most_seconds=max(self.seconds, 1.0))
        return SolveMonitor(accuracy, whole=self)

    def record(self, residual: float, answer: Evaluated | None = None, width: float = np.inf) -> bool:
        """Write a sweep down, with what it proved, if anything. Whether to stop."""
        self.residuals.append(float(residual))
        if answer is not None and self.traced:
            value, lower, upper = (x.copy() for x in answer.within())
            self.trace.append(Sweep(value, lower, upper, float(residual)))
            self._check_room(4 * 3 * value.nbytes)
        self.width = min(self.width, width)
        return self.pause() or len(self.residuals) >= self.most_sweeps

    def _check_room(self, needed: int) -> None:
        """Stop before the trace fills the memory: a few more sweeps have to fit."""
        free = available()
        if free is not None and needed > free:
            held = len(self.trace) * needed // 4
            self.full = f"the trace of {len(self.trace):,} sweeps fills the memory ({readable(held)})"

    def pause(self) -> bool:
        """Between two passes that belong to one sweep: whether to stop."""
        self.stopped = self._out_of_time() or len(self.residuals) >= self.most_sweeps
        return self.stopped

    def _out_of_time(self) -> bool:
        seconds = self.seconds
        if self.watch is not None and seconds - self._told >= WATCH_EVERY:
            self._told = seconds
            self.stopped = self.watch(Progress(len(self.residuals), self.width, seconds)) is True or self.stopped
        self.stopped = self.stopped or seconds >= self.most_seconds or bool(self.full)
        return self.stopped or (self.whole is not None and self.whole._out_of_time())
