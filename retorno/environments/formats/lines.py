"""Files of lines with words: what stands in which line, and errors that name it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

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


class Words(NamedTuple):
    """All words of a file, and which stand in which line. Reading line by line takes several times as long."""

    words: list[str]
    begin: Int[np.ndarray, " ends"]
    """The first word of each line that says something, and how many words there are."""

    @staticmethod
    def of(text: str) -> Words | None:
        r"""The words of a text; None where lines end or words are parted in other than the usual ways.

        >>> Words.of("1 2\n# nothing\n\n3").begin
        array([0, 2, 3])
        """
        if "#" in text:
            text = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
        if not text.isascii():
            return None
        data = np.frombuffer(text.encode(), np.uint8)
        blank = data <= ord(" ")
        starts = np.flatnonzero(~blank & np.append(True, blank[:-1])[: len(blank)])
        line = np.searchsorted(np.flatnonzero(data == ord("\n")), starts)
        words = text.split()
        if len(words) != len(starts):
            return None
        return Words(words, np.append(np.flatnonzero(np.diff(line, prepend=-1)), len(words)))

    def line(self, number: int) -> list[str]:
        """The words of a line; none behind the last one."""
        return self.words[slice(*self.begin[number : number + 2].tolist())] if number < len(self.begin) - 1 else []

    def columns(
        self, first: int, whole: int, most: int
    ) -> tuple[list[Int[np.ndarray, " N"]], list[list[str | None]]] | None:
        r"""The columns of lines that are alike: whole numbers from 0, then words; None where they are not.

        Args:
            first: the line from which on they are.
            whole: so many words are whole numbers, and at least one more follows.
            most: words of a line; where one has fewer, None stands in its column.

        >>> Words.of("0 0.5\n1 1 go").columns(0, 1, 3)
        ([array([0, 1])], [['0.5', '1'], [None, 'go']])
        """
        begin, width = self.begin[first:-1], np.diff(self.begin[first:])
        if not len(width) or width.min() <= whole or width.max() > most:
            return None
        numbers, columns = [], list[list[str | None]]()
        for k in range(int(width.max())):
            if (width == width[0]).all():
                column = self.words[begin[0] + k :: int(width[0])]
            else:
                places = np.where(width > k, begin + k, -1).tolist()
                column = [self.words[i] if i >= 0 else None for i in places]
            if k >= whole:
                columns.append(column)  # type: ignore[arg-type]
                continue
            together = "".join(column)  # type: ignore[arg-type]
            if not (together.isdigit() and max(map(len, column)) <= 18):  # type: ignore[arg-type]
                return None
            numbers.append(np.array([*map(int, column)], np.int64))  # type: ignore[arg-type]
        return numbers, columns


def values_of(words: Sequence[str], fractions: dict[float, Fraction]) -> Float[np.ndarray, " N"]:
    """Finite numbers, each that occurs read once.

    Args:
        words: the numbers' texts.
        fractions: what floats stand for, to which it is added.

    Raises:
        ValueError: where one is none.
    """
    try:
        made = [*map(float, words)]
    except ValueError:  # A fraction is among them, or what is no number.
        known = {word: number(word, fractions) for word in set(words)}
        return np.array([known[word] for word in words])
    # What Python would write for a float stands for it; every other way to write one is read with care, once.
    odd = {word for word, text in zip(words, map(repr, made), strict=True) if word != text or word in ("inf", "nan")}
    known = {word: number(word, fractions) for word in odd}
    return np.array([known.get(word, x) for word, x in zip(words, made, strict=True)] if odd else made)


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
