"""What a training run tells: one report, about twice a second and at every exact boundary."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from retorno.core.counter import counts
from retorno.run.loop import Run, Seen


@dataclasses.dataclass(frozen=True)
class Report:
    """What happened since the report before."""

    step: int
    """Environment steps taken; of several seeds, by the one that has taken fewest."""
    steps: int
    """The budget."""
    updates: int
    ended: np.ndarray
    """[seeds] episodes that ended since the report before."""
    returns: np.ndarray
    """[seeds] mean undiscounted return of those episodes; NaN where none ended."""
    lengths: np.ndarray
    """[seeds] their mean length in steps."""
    rewards: np.ndarray
    """[seeds] mean reward of a step since the report before: all there is to say of a world that never ends."""
    metrics: dict[str, float]
    """The algorithm's metrics, averaged over updates and seeds."""
    seconds: float
    """Since the loop began."""
    rate: float
    """Environment steps a second over all seeds, since the report before."""
    boundary: bool
    """Whether the run stands at a multiple of `every`, or at its end."""
    recorded: bool = False
    """Whether nothing is lived, and all is learnt from what was recorded: then its returns say nothing of learning."""

    @property
    def episodes(self) -> int:
        """Episodes that ended since the report before, over all seeds."""
        return int(self.ended.sum())

    @property
    def mean_return(self) -> float:
        return _mean(self.returns)

    @property
    def mean_reward(self) -> float:
        return _mean(self.rewards)

    @property
    def mean_length(self) -> float:
        return _mean(self.lengths)

    @property
    def finished(self) -> bool:
        return self.step >= self.steps

    @property
    def seconds_left(self) -> float:
        return max(self.steps - self.step, 0) * len(self.returns) / self.rate if self.rate else math.inf

    def as_row(self) -> dict[str, Any]:
        """One line of `metrics.jsonl`."""
        known = lambda x: [None if math.isnan(v) else float(v) for v in x]  # noqa: E731
        return {
            "step": self.step,
            "steps": self.steps,
            "updates": self.updates,
            "episodes": self.episodes,
            "ended": [int(n) for n in self.ended],
            "returns": known(self.returns),
            "lengths": known(self.lengths),
            "rewards": known(self.rewards),
            "metrics": self.metrics,
            "seconds": round(self.seconds, 3),
            "rate": round(self.rate, 1),
        }

    def __str__(self) -> str:
        score = f"return {self.mean_return:9.2f}{told_success(self.metrics)}"
        if self.recorded:
            score = told_fit(self.metrics)
        elif (answers := told_answers(self.metrics)) is not None:
            score = answers
        elif math.isnan(self.mean_return):
            score = f"no episode ended, reward {self.mean_reward:z.4g} a step"
        return (
            f"step {self.step:>10,} of {self.steps:,}  {score}  "
            f"{self.rate:>10,.0f} steps/s  {clock(self.seconds_left):>7} left"
        )


class Counters(NamedTuple):
    """A run's counters [seeds], read at one moment."""

    step: np.ndarray
    updates: np.ndarray
    episodes: np.ndarray
    """Modulo 2³², as `lengths` is."""
    returns: np.ndarray
    lengths: np.ndarray

    @classmethod
    def read(cls, run: Run) -> Counters:
        scores = run.scores
        counters = (run.step, run.updates, scores.episodes, scores.return_sum, scores.lost, scores.length_sum)
        step, updates, episodes, returns, lost, lengths = jax.device_get(counters)
        read = (counts(step), counts(updates), episodes, np.asarray(returns, np.float64) + lost, lengths)
        # Copies: the buffers are given away to the next compiled call.
        return cls(*(np.atleast_1d(np.array(x)) for x in read))


def report(
    before: Counters,
    after: Counters,
    seen: Seen,
    *,
    steps: int,
    seconds: float,
    elapsed: float,
    boundary: bool,
    recorded: bool = False,
) -> Report:
    """What happened between two moments that lie `seconds` apart, and was `seen` between them."""
    spent = Counters(*(a - b for a, b in zip(after, before, strict=True)))
    with np.errstate(invalid="ignore"):
        returns, lengths = spent.returns / spent.episodes, spent.lengths / spent.episodes
        rewards = np.atleast_1d(np.asarray(seen.rewards, np.float64)) / spent.step
    return Report(
        step=int(after.step.min()),
        steps=steps,
        updates=int(after.updates.min()),
        ended=spent.episodes,
        returns=returns,
        lengths=lengths,
        rewards=rewards,
        metrics={name: float(np.sum(x) / max(spent.updates.sum(), 1)) for name, x in jax.device_get(seen.sums).items()},
        seconds=elapsed,
        rate=float(spent.step.sum() / seconds),
        boundary=boundary,
        recorded=recorded,
    )


def told_success(metrics: dict[str, float]) -> str:
    """The share of episodes that ended in success, behind their return; empty where the world says nothing of it.

    Args:
        metrics: of a report.

    >>> told_success({"success_rate": 0.25})
    ', success 25%'
    """
    return f", success {metrics['success_rate']:.0%}" if "success_rate" in metrics else ""


def told_answers(metrics: dict[str, float]) -> str | None:
    """What is paid for answers, which their world itself pays nothing for; None where no relabel scores any.

    Args:
        metrics: of a report.

    >>> told_answers({"relabel/score": 0.42, "relabel/ended": 0.97, "relabel/episode_kl": 3.14})
    'score 0.420, 97% ended, KL 3.1 nats an answer'
    """
    if "relabel/score" not in metrics:
        return None
    told = [f"score {metrics['relabel/score']:z.3f}"]
    told += [f"{metrics['relabel/ended']:.0%} ended"] if "relabel/ended" in metrics else []
    kl = [f"KL {metrics['relabel/episode_kl']:z.1f} nats an answer"] if "relabel/episode_kl" in metrics else []
    return ", ".join([*told, *kl])


def told_fit(metrics: dict[str, float]) -> str:
    """How well what was recorded is fitted.

    Args:
        metrics: of a report.

    >>> told_fit({"loss": 0.3567, "accuracy": 0.9})
    'loss 0.357, accuracy 90%'
    >>> told_fit({"critic_loss": 0.25, "q": 3.0, "actor_loss": -1.5})
    'critic loss 0.250, actor loss -1.500'
    """
    losses = {name: x for name, x in metrics.items() if name.endswith("loss")}
    told = [f"{name.replace('_', ' ')} {x:.3f}" for name, x in losses.items()]
    return ", ".join([*told, f"accuracy {metrics['accuracy']:.0%}"] if "accuracy" in metrics else told)


def clock(seconds: float) -> str:
    """A time for people, hours:minutes:seconds.

    Args:
        seconds: how long; "?" where that is not known.

    >>> clock(59.6), clock(185_358), clock(math.inf), clock(-0.2)
    ('1:00', '51:29:18', '?', '0:00')
    """
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _mean(x: np.ndarray) -> float:
    known = x[~np.isnan(x)]
    return float(known.mean()) if len(known) else math.nan
