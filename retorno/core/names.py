"""Names that people type: what they may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST, MOST = 80, 10_000
"""How much of a name, and of how many names, is compared: an error message may not take seconds."""


def near(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """The names that look like `name` in any case of letters, the likest first.

    >>> near("sarsa_lamda", ["sarsa", "sarsa_lambda", "ppo"], most=1)
    ['sarsa_lambda']
    """
    lower = {known.lower(): known for known in list(names)[:MOST]}
    return [lower[match] for match in difflib.get_close_matches(name.lower()[:LONGEST], lower, most, 0.5)]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """'; did you mean …?', the end of a message about an unknown name; empty where none looks like it.

    >>> did_you_mean("PPO2", ["ppo", "dqn"])
    '; did you mean ppo?'
    """
    close = near(name, names)
    return f"; did you mean {' or '.join(close)}?" if close else ""
