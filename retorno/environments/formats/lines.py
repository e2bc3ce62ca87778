"""Files of lines with words: what stands in which line, and errors that name it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from retorno.core.mdp import ModelError
from retorno.environments.formats.files import read_text
from retorno.environments.formats.numbers import number, shown


def lines_of(path: Path, comment: str = "#") -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers from 1; others are empty or begin with the comment's mark."""
    for i, line in enumerate(read_text(path).split("\n"), 1):
        line = line.strip()
        if line and not line.startswith(comment):
            yield i, line


def wrong(path: Path, line: int, message: str) -> ModelError:
    """What to raise about a line."""
    return ModelError(f"{path}, line {line}: {message}")


def whole_numbers(path: Path, line: int, words: list[str]) -> list[int]:
    """Whole numbers from 0.

    Raises:
        ModelError: with the line.
    """
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= 18):
            raise wrong(path, line, f"expected a whole number from 0, got {shown(word)}")
    return [int(word) for word in words]


def value_of(path: Path, line: int, word: str, fractions: dict[float, Fraction]) -> float:
    """A finite number.

    Args:
        path: of the file.
        line: of the file.
        word: which stands there.
        fractions: what floats stand for, to which it is added.

    Raises:
        ModelError: with the line.
    """
    try:
        return number(word, fractions)
    except ValueError as error:
        raise wrong(path, line, str(error)) from None
