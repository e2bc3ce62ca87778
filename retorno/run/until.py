"""When a run ends before its budget: at a score, at no progress, at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping

from retorno.core.hyperparameters import Count, Positive, Whole, settings

TEST_EPISODES = 2_000_000
"""The seed of the episodes of tests: others than those of the evaluation at the end, which is of what they chose."""


@settings
class Until:
    """By which rules a run ends before its budget; by none where nothing is said.

    What is scored at each boundary is the mean return of the episodes since the boundary before, or of `tests`
    episodes of the greedy policy; of several seeds the mean over them.
    """

    score: float | None = None
    """End at the first boundary with such a score, or a better one."""
    patience: Count | None = None
    """End after so many boundaries without a score better than all before."""
    minutes: Positive | None = None
    """End at the first report after so many minutes. A run that is resumed has them again."""
    tests: Whole = 0
    """Episodes in which the greedy policy is tested at each boundary; 0 to score what was lived while learning."""

    @property
    def at_boundaries(self) -> bool:
        """Whether anything is asked for there."""
        return self.score is not None or self.patience is not None or self.tests > 0

    def told(self, every: int) -> str | None:
        """What is asked for, in words; None where nothing is.

        Args:
            every: how many steps lie between two boundaries.

        >>> Until(score=475, tests=20).told(10_000)
        'tested in 20 episodes every 10,000 steps; ends before its budget at a score of 475'
        """
        ends = [f"at a score of {self.score:g}"] if self.score is not None else []
        patient = f"after {self.patience} boundaries, each {every:,} steps, without a better score"
        ends += [patient] if self.patience is not None else []
        ends += [f"after {self.minutes:g} minutes"] if self.minutes is not None else []
        tested = [f"tested in {self.tests} episodes every {every:,} steps"] if self.tests else []
        return "; ".join([*tested, *([f"ends before its budget {', or '.join(ends)}"] if ends else [])]) or None

    def reached(self, scores: Mapping[int, float], minutes: float = 0.0) -> str | None:
        """Why the run ends now; None where it does not.

        Args:
            scores: of the boundaries so far, by their steps.
            minutes: since it began, or was resumed.

        >>> Until(score=475).reached({10_000: 102.0, 20_000: 480.5})
        'its score of 480.50 at step 20,000 reaches 475'
        >>> Until(patience=2).reached({1: 5.0, 2: 7.0, 3: 6.5, 4: 7.0})
        'no better score than 7.00, of step 2, for 2 boundaries'
        >>> Until(minutes=1).reached({}, 0.9)
        """
        steps = sorted(scores)
        if steps and self.score is not None and scores[steps[-1]] >= self.score:
            return f"its score of {scores[steps[-1]]:z.2f} at step {steps[-1]:,} reaches {self.score:g}"
        if steps and self.patience is not None:
            best = min(steps, key=lambda step: (-scores[step], step))
            if (since := sum(step > best for step in steps)) >= self.patience:
                return f"no better score than {scores[best]:z.2f}, of step {best:,}, for {since} boundaries"
        if minutes >= (self.minutes or math.inf):
            return f"its {self.minutes:g} minutes are over"
        return None
