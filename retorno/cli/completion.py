"""`retorno completion SHELL`: a script by which the Tab key completes commands, options, names and files.

The script holds all that there is, so that Tab waits for no Python. shtab writes it (bash, zsh, fish), from a parser of
argparse's that is made of the same dataclasses as the commands.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import importlib
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import shtab
import tyro

from retorno.algorithms import ALGORITHMS
from retorno.cli.main import COMMANDS
from retorno.cli.options import options, parse
from retorno.cli.train import RELABEL, first_line, parts_of
from retorno.environments.registry import WORLDS

Shell = Literal["bash", "zsh", "fish"]


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print a script by which the Tab key completes commands, options, algorithms, worlds and files.

    bash:  retorno completion bash > ~/.local/share/bash-completion/completions/retorno
    zsh:   retorno completion zsh > ~/.zfunc/_retorno    (with fpath+=~/.zfunc before compinit in ~/.zshrc)
    fish:  retorno completion fish > ~/.config/fish/completions/retorno.fish
    """

    shell: Annotated[Shell, tyro.conf.Positional]
    """For which shell."""


def run(arguments: list[str]) -> int:
    given = parse(Completion, arguments, "retorno completion")
    print(shtab.complete(whole(), given.shell))
    return 0


def whole() -> argparse.ArgumentParser:
    """The command as a parser, which is never used to parse."""
    parser = argparse.ArgumentParser("retorno")
    commands = parser.add_subparsers()
    for name, (_, about) in COMMANDS.items():
        added = commands.add_parser(name, help=about)
        module = importlib.import_module(f"retorno.cli.{name}")
        kind = next(each for each in vars(module).values() if _stands_in(each, module.__name__))
        if name == "train":
            _algorithms(added, kind)
        else:
            _fields(added, kind)
    return parser


def _stands_in(kind: Any, module: str) -> bool:
    """Whether something is a dataclass of a module: a command's options are its first."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module


def _algorithms(parser: argparse.ArgumentParser, run_options: type) -> None:
    """Each algorithm with the worlds, the run's options and its own."""
    algorithms = parser.add_subparsers()
    for name, make in ALGORITHMS.items():
        added = algorithms.add_parser(name, help=first_line(make))
        added.add_argument("world", choices=list(WORLDS))
        _fields(added, run_options)
        usual = make()
        parts = {**parts_of(usual), "relabel": RELABEL}
        for part, choices in parts.items():
            added.add_argument(f"--{part}", choices=list(choices))
        held = {option for option in options(usual) if option[2:] not in parts}
        _add(added, sorted(held - {each for action in added._actions for each in action.option_strings}))


def _add(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    for name in names:
        parser.add_argument(name)


def _fields(parser: argparse.ArgumentParser, kind: Any) -> None:
    """A dataclass's fields as options and operands."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        told = getattr(hints[field.name], "__metadata__", ())
        value = _value(hints[field.name])
        name = f"--{field.name.strip('_').replace('_', '-')}"
        if isinstance(value, type) and dataclasses.is_dataclass(value):  # Its options carry their own names alone.
            _fields(parser, value)
            continue
        if tyro.conf.Positional in told:
            nargs = "*" if typing.get_origin(_plain(hints[field.name])) is tuple else "?"
            action = parser.add_argument(field.name, nargs=nargs, choices=_choices(value, field.name))
        elif value is bool:
            action = parser.add_argument(name, action="store_true")
        else:
            action = parser.add_argument(name, choices=_choices(value, field.name))
        if action.choices is None and value is not bool and value in (Path, str):
            action.complete = shtab.FILE  # type: ignore[attr-defined]


def _choices(value: Any, field: str) -> list[str] | None:
    """What an option's or operand's value is one of, where there is a list of that."""
    if typing.get_origin(value) is Literal:
        return [str(each) for each in typing.get_args(value)]
    if isinstance(value, type) and issubclass(value, enum.Enum):
        return [each.name for each in value]
    return [name for name, entry in WORLDS.items() if entry.model is not None] if field == "name" else None


def _plain(hint: Any) -> Any:
    """A type without what is annotated to it."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _value(hint: Any) -> Any:
    """The type of one value: of several, of one that may be left out."""
    plain = _plain(hint)
    inside = [_plain(each) for each in typing.get_args(plain) if each not in (type(None), ...)]
    several = typing.get_origin(plain) is not Literal and inside
    return _value(inside[0]) if several else plain
