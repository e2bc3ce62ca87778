"""Files that are written whole or not at all, and read with one kind of error."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from retorno.core.mdp import ModelError
from retorno.core.memory import ensure_fits

LARGEST_GROWTH = 40
"""Bytes that a byte of text may become while it is parsed: a digit and a comma are an object and its place."""


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        ModelError: when it is no UTF-8, or too large to be parsed in memory.
        OSError: when it cannot be read.
    """
    ensure_fits(path.stat().st_size * LARGEST_GROWTH, f"reading {path}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not a text file (byte {error.start} is no UTF-8)") from None


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors about a model say which file it is in."""
    try:
        yield
    except ModelError as error:
        if not str(error).startswith(str(path)):
            error.args = (f"{path}: {error}",)
        raise


def write_whole(contents: Mapping[Path, Callable[[BinaryIO], object] | None]) -> None:
    """Write files beside their places, each by its function, then rename them; the last one is what the others are of.

    None removes a file that an earlier model left. While the others are renamed the last one is
    away, so that no reader meets parts of two models.
    """
    writers = {path: write for path, write in contents.items() if write is not None}
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in writers}
    try:
        for path, write in writers.items():
            with parts[path].open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
        *others, last = contents
        if others:
            last.unlink(missing_ok=True)
        for path in others:
            if path in parts:
                parts[path].replace(path)
            else:
                path.unlink(missing_ok=True)
        parts[last].replace(last)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def lines_to(lines: Iterable[str]) -> Callable[[BinaryIO], None]:
    """What writes these lines into a file."""

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        text.writelines(f"{line}\n" for line in lines)
        text.detach()

    return write
