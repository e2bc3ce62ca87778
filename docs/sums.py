"""The reward of docs/verifiable.md, which anybody can check: `--reward docs/sums.py:right`."""

from __future__ import annotations

import re
from collections.abc import Sequence


def right(prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    r"""1 for an answer whose first number is the sum with which its prompt ends.

    >>> right(["23 + 58 = 81\n17 + 25 =", "23 + 58 = 81\n17 + 25 ="], [" 42\n6", " 43"])
    [1.0, 0.0]
    """
    return [float(_first(answer) == _sum(prompt)) for prompt, answer in zip(prompts, answers, strict=True)]


def _first(answer: str) -> str | None:
    number = re.search(r"\d+", answer)
    return None if number is None else number[0]


def _sum(prompt: str) -> str:
    one, other = re.findall(r"\d+", prompt)[-2:]
    return str(int(one) + int(other))
