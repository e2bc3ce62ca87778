"""A command's options from a dataclass: its fields are the options, their docstrings the help."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from retorno.cli.main import COMMANDS
from retorno.core.errors import RetornoError
from retorno.core.names import did_you_mean
from retorno.environments.formats.reading import Reading

T = TypeVar("T")

Rows = tuple[tuple[float, ...], ...]

_TABLES = tyro.constructors.ConstructorRegistry()


@_TABLES.primitive_rule
def _table(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Rows] | None:
    """A table of numbers: `0.2,0.8 0.5,0.5` is two rows, `0.2 0.8` is one."""
    if info.type != Rows:
        return None

    def read(given: list[str]) -> Rows:
        if any("," in row for row in given):
            return tuple(tuple(float(number) for number in row.split(",")) for row in given)
        return (tuple(map(float, given)),) if given else ()

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="NUMBER … | ROW,ROW …",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(row, tuple) for row in value),
        str_from_instance=spelled,
    )


def spelled(rows: Rows) -> list[str]:
    """A table of numbers as it is typed."""
    if len(rows) == 1:
        return [str(number) for number in rows[0]]
    return [",".join(map(str, row)) for row in rows]


Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""An option that is given or not."""

FromFile = Annotated[
    Reading, tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.UseAppendAction, tyro.conf.arg(name="")
]
"""How a model's file is read: its options carry their own names alone, and those of several values stand repeatedly."""

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
Run = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Runs = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN…")]
"""What is typed without an option's name."""


class UsageError(RetornoError):
    """A command line that cannot be understood."""


def parse(kind: type[T], arguments: Sequence[str], command: str, description: str = "") -> T:
    """An instance of a dataclass from command line arguments; `--help` prints and exits.

    Args:
        kind: a dataclass with a docstring under each field.
        arguments: what follows the command.
        command: what was typed before, as "retorno solve".
        description: the help's first lines; the dataclass's own docstring without it.

    Raises:
        UsageError: for unknown options (with near names), missing and wrong values.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), _plain_if_asked(), _TABLES:
            made, unknown = tyro.cli(
                kind,
                args=list(arguments),
                prog=command,
                description=description or inspect.cleandoc(kind.__doc__ or ""),
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(f"{_gist(complaint.getvalue(), command)} (see {command} --help)") from None
    if unknown:
        raise UsageError(f"{_unknown(unknown[0], kind)} (see {command} --help)")
    return made


def options(kind: Any) -> Iterator[str]:
    """The options that a dataclass (or an instance) stands for, as one types them."""
    for field in dataclasses.fields(kind):
        name = field.name.strip("_").replace("_", "-")
        value = getattr(kind, field.name, None)
        yield f"--{name}"
        if dataclasses.is_dataclass(value):  # Its options carry its name, or (an algorithm's) do not.
            nested = list(options(value))
            yield from nested
            yield from (f"--{name}.{option[2:]}" for option in nested)


def _unknown(given: str, kind: type) -> str:
    if not given.startswith("-"):
        return f"{given!r} is one argument too many"
    known = list(options(kind))
    return f"no option {given}{did_you_mean(given.split('=')[0].replace('_', '-'), known)}"


def _gist(box: str, command: str) -> str:
    """The first paragraph of one of tyro's boxes."""
    if "Missing from" in box:
        return f"{command} needs {COMMANDS[command.split()[1]][0]}"
    lines = [re.sub(r"\033\[[0-9;]*m", "", line).strip(" │") for line in box.splitlines()]
    inside = [line for line in lines if not line.startswith(("╭", "╰"))]
    first = inside[: next((i for i, line in enumerate(inside) if line.startswith("─")), len(inside))]
    return " ".join(" ".join(first).split()).rstrip(".") or "the command line cannot be understood"


@contextlib.contextmanager
def _plain_if_asked() -> Iterator[None]:
    """Tyro colours its help by TERM alone; NO_COLOR is honoured here."""
    if "NO_COLOR" not in os.environ or not sys.stdout.isatty():
        yield
        return
    term = os.environ.get("TERM", "dumb")
    os.environ["TERM"] = "dumb"
    try:
        yield
    finally:
        os.environ["TERM"] = term
