"""A command's options from a dataclass: its fields are the options, their docstrings the help."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
import sys
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from retorno.cli.main import COMMANDS
from retorno.core.errors import RetornoError
from retorno.core.names import did_you_mean, meant
from retorno.environments.formats.numbers import exact_number, number
from retorno.environments.formats.reading import Reading

if TYPE_CHECKING:
    from retorno.run.policy_folder import Step
    from retorno.run.training import Keep

T = TypeVar("T")

Rows = tuple[tuple[float, ...], ...]

_RULES = tyro.constructors.ConstructorRegistry()
"""How values are read where tyro alone would read them less kindly."""
Spec = tyro.constructors.PrimitiveConstructorSpec
Info = tyro.constructors.PrimitiveTypeInfo


@_RULES.primitive_rule
def _table(info: Info) -> Spec[Rows] | None:
    """A table of numbers: `0.2,0.8 0.5,0.5` is two rows, `0.2 0.8` is one."""
    if info.type != Rows:
        return None

    def read(given: list[str]) -> Rows:
        if any("," in row for row in given):
            return tuple(tuple(float(number) for number in row.split(",")) for row in given)
        return (tuple(map(float, given)),) if given else ()

    return Spec(
        nargs="*",
        metavar="NUMBER … | ROW,ROW …",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(row, tuple) for row in value),
        str_from_instance=spelled,
    )


def whole(text: str) -> int:
    """A whole number as people write it: 100000, 100_000, 100,000, 1e5, 100k.

    >>> whole("1e5"), whole("2.5k"), whole("1_000")
    (100000, 2500, 1000)
    """
    plain = text.strip().replace("_", "").replace(",", "")
    factor = {"k": 1_000, "m": 1_000_000}.get(plain[-1:].lower(), 1)
    try:
        number = Fraction(plain[:-1] if factor > 1 else plain) * factor
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"expected a whole number, got {text!r}") from None
    if number.denominator != 1:
        raise ValueError(f"expected a whole number, got {text!r}")
    return int(number)


@_RULES.primitive_rule
def _whole(info: Info) -> Spec[int] | None:
    if info.type is not int:
        return None
    return Spec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda given: whole(given[0]),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


def real(text: str) -> float:
    """A number as people write it: 0.25, 1e-3, 1/3.

    >>> real("1e-3"), real("1/4"), real("inf")
    (0.001, 0.25, inf)
    """
    try:
        return float(text)
    except ValueError:
        return number(text)


def path_of(text: str) -> Path:
    """A path; `~` is the user's home, as in `--folder=~/runs/x`, where the shell leaves it standing.

    >>> path_of("~/runs") == Path.home() / "runs"
    True
    """
    return Path(text).expanduser()


@_RULES.primitive_rule
def _path(info: Info) -> Spec[Path] | None:
    if info.type is not Path:
        return None
    return Spec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda given: path_of(given[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


READERS: dict[Any, tuple[str, Callable[[str], Any]]] = {
    int: ("INT", whole),
    float: ("FLOAT", real),
    Fraction: ("NUMBER", exact_number),
    str: ("TEXT", str),
    Path: ("PATH", path_of),
}


@_RULES.primitive_rule
def _real(info: Info) -> Spec[Any] | None:
    if info.type not in (float, Fraction):
        return None
    metavar, read = READERS[info.type]
    return Spec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda given: read(given[0]),
        is_instance=lambda value: isinstance(value, float | int | Fraction) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


@_RULES.primitive_rule
def _or_none(info: Info) -> Spec[Any] | None:
    """A value that may be left out: it is shown by its kind alone, and typed as `none` where it has to be."""
    kinds = [_bare(each) for each in typing.get_args(info.type)]
    if type(None) not in kinds or len(kinds) != 2:
        return None
    kind = next(each for each in kinds if each is not type(None))
    choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    if kind not in READERS and not choices:
        return None
    metavar, read = READERS.get(kind, ("{" + ",".join(map(str, choices)) + "}", str))

    def chosen(given: list[str]) -> Any:
        if given[0].lower() == "none" and kind is not str:
            return None
        if choices and given[0] not in choices:
            raise ValueError(f"expected one of {', '.join(map(str, choices))}, got {given[0]!r}")
        return read(given[0])

    return Spec(
        nargs=1,
        metavar=metavar,
        instance_from_str=chosen,
        is_instance=lambda value: value is None or isinstance(value, float | int | Fraction | str | Path),
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )


@_RULES.primitive_rule
def _several(info: Info) -> Spec[Any] | None:
    """Values of one kind, one after another: a wrong one is named."""
    kinds = typing.get_args(info.type) if typing.get_origin(info.type) is tuple else ()
    if len(kinds) != 2 or kinds[1] is not ... or tyro.conf.UseAppendAction in info.markers:
        return None
    kind = _bare(kinds[0])
    if kind not in READERS:
        return None
    metavar, read = READERS[kind]
    return Spec(
        nargs="*",
        metavar=f"{metavar} …",
        instance_from_str=lambda given: tuple(map(read, given)),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [str(each) for each in value],
    )


def _bare(kind: Any) -> Any:
    """A type without what is annotated to it."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


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


def step_of(text: str | None) -> Step:
    """Which step's policy or checkpoint is meant: a number, the best, or (None) the newest.

    Raises:
        UsageError: for another word.

    >>> step_of("20_000"), step_of("best"), step_of(None)
    (20000, 'best', None)
    """
    if text in (None, "best"):
        return text
    try:
        return whole(text)
    except ValueError as error:
        raise UsageError(f"--step: expected a number of steps or the word best, got {text!r}") from error


def keep_of(text: str) -> Keep:
    """Which checkpoints are to stay.

    Raises:
        UsageError: for another word.

    >>> keep_of("5"), keep_of("best")
    (5, 'best')
    """
    if text in ("best", "all"):
        return text
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise UsageError(f"--keep: expected how many of the newest checkpoints stay, or the word best or all, got {text!r}")


def parse(
    kind: type[T],
    arguments: Sequence[str],
    command: str,
    description: str = "",
    groups: Mapping[str, Collection[str]] | None = None,
    elsewhere: Callable[[str], str] = lambda name: "",
) -> T:
    """An instance of a dataclass from command line arguments; `--help` prints and exits.

    Args:
        kind: a dataclass with a docstring under each field.
        arguments: what follows the command.
        command: what was typed before, as "retorno solve".
        description: the help's first lines; the dataclass's own docstring without it.
        groups: in the help, the title over each group of fields, and their names.
        elsewhere: says of an option that there is not, without its dashes, where there would be one; or nothing.

    Raises:
        UsageError: for unknown options (with near names), missing and wrong values.
    """
    arguments = [understood(each, kind) for each in arguments]
    if twice := [option for option in repeated(arguments) if option not in _appended(kind)]:
        raise UsageError(
            f"{twice[0]} is given twice: give it once, and several values one after another (see {command} --help)"
        )
    complaint, help_text = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(help_text), _RULES:
            made, unknown = tyro.cli(
                kind,
                args=arguments,
                prog=command,
                description=description or inspect.cleandoc(kind.__doc__ or ""),
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:
            print(readable(help_text.getvalue(), groups or {}), end="")
            raise
        # Where a choice is wrong, it may be the value of an option that does not exist.
        strange = [each for each in arguments if each.startswith("--") and not _known(each, kind)]
        told = _unknown(strange[0], kind, elsewhere) if strange else _gist(complaint.getvalue(), command)
        raise UsageError(f"{told} (see {command} --help)") from None
    if unknown:
        raise UsageError(f"{_unknown(unknown[0], kind, elsewhere)} (see {command} --help)")
    for name, asked in _out_of_range(made).items():
        raise UsageError(
            f"--{name.replace('_', '-')} must be {asked}, got {getattr(made, name)} (see {command} --help)"
        )
    return made


def _out_of_range(made: Any) -> dict[str, str]:
    """What is asked of numbers that do not lie where their annotations say, by the fields' names.

    Whoever annotates ranges has imported what knows them; for others it, and JAX with it, need not be.
    """
    ranges = sys.modules.get("retorno.core.hyperparameters")
    return {} if ranges is None else ranges.out_of_range(made)


def _appended(kind: Any) -> set[str]:
    """The options of a dataclass that may stand repeatedly."""
    hints = typing.get_type_hints(kind, include_extras=True) if isinstance(kind, type) else {}
    marked = {name for name, hint in hints.items() if tyro.conf.UseAppendAction in typing.get_args(hint)[1:]}
    names = marked | {field.name for field in dataclasses.fields(Reading)}
    return {f"--{name.replace('_', '-')}" for name in names}


def repeated(arguments: Sequence[str]) -> list[str]:
    """The options that stand more than once.

    >>> repeated(["--prompt", "a", "--tokens=9", "--prompt=b"])
    ['--prompt']
    """
    options = [argument.split("=")[0] for argument in arguments if re.match(r"--[a-zA-Z]", argument)]
    return list(dict.fromkeys(option for option in options if options.count(option) > 1))


WORDS = {
    r"\(default:\s+\)": "(default: none)",
    r"\s+\(default:\s+False\)": "",
    r"\[(\w+) \[\w+ \.\.\.\]\]": r"\1 …",
    r"\bSTR\b": "TEXT",
    "--lambda_": "--lambda",
    "--from_": "--from",
}
"""How tyro says a thing, and how it reads better."""


def readable(text: str, groups: Mapping[str, Collection[str]]) -> str:
    """Tyro's help (as it is where no terminal is) with its options in groups, and defaults in words.

    Args:
        text: the help.
        groups: the title over each group of options, and their names; what is in none stays under "options".
    """
    head, *boxes = re.split(r"^ (\S.*?) *\n -+ *\n", text, flags=re.M)
    sections: dict[str, str] = dict.fromkeys(groups, "")
    for title, box in zip(boxes[::2], boxes[1::2], strict=True):
        title = {"positional arguments": "arguments"}.get(title, title)
        about, *entries = re.split(r"^(?=  --?\w)", re.sub(r" +$", "", box, flags=re.M).strip("\n") + "\n", flags=re.M)
        kept = sections[title] = re.sub(r"^ +-+\n", "", about, flags=re.M).replace("\n", "", about == "\n")
        for entry in entries:
            names = {each.rstrip("_") for each in re.findall(r"--([\w.-]+)", entry.splitlines()[0])}
            where = next((group for group, own in groups.items() if names & set(own)), title)
            sections[where] = sections.get(where, "") + entry
        if sections[title] == kept == "":
            del sections[title]
    told = "".join(f"\n{title}:\n{lines}" for title, lines in sections.items() if lines)
    for shown, words in WORDS.items():
        told = re.sub(shown, words, told)
    return head.rstrip() + "\n" + told


def options(kind: Any, whole: bool = False) -> Iterator[str]:
    """The options that a dataclass (or an instance) stands for, as one types them: their whole names, and endings.

    Args:
        kind: the dataclass.
        whole: leave the endings out: what is typed behind a name of its own has no other name between.
    """
    for field in dataclasses.fields(kind):
        told = (getattr(each, "name", None) for each in getattr(field.type, "__metadata__", ()))
        name = next(filter(None, told), field.name.strip("_")).replace("_", "-")
        value = getattr(kind, field.name, None)
        yield f"--{name}"
        if dataclasses.is_dataclass(value):  # Its options carry its name, or (an algorithm's) do not.
            yield from () if whole else options(value)
            yield from (f"--{name}.{option[2:]}" for option in options(value, whole=True))


def understood(argument: str, kind: Any) -> str:
    """`--discount` for `--gamma`: the option that is meant, of those of a dataclass.

    >>> @dataclasses.dataclass
    ... class Asked:
    ...     discount: float = 1.0
    >>> understood("--gamma=0.9", Asked), understood("--beta", Asked), understood("0.9", Asked)
    ('--discount=0.9', '--beta', '0.9')
    """
    option, equals, value = argument.partition("=")
    if not option.startswith("--") or _known(option, kind):
        return argument
    names = {each[2:].replace("-", "_") for each in options(kind)}
    found = meant(option[2:].replace("-", "_"), names)
    return f"--{found.replace('_', '-')}{equals}{value}" if found in names else argument


def _known(given: str, kind: type) -> bool:
    option = given.split("=")[0].replace("_", "-").rstrip("-").replace("--no-", "--").replace(".no-", ".")
    return option == "--help" or any(option == each or option.endswith(f".{each[2:]}") for each in options(kind))


def _unknown(given: str, kind: type, elsewhere: Callable[[str], str]) -> str:
    if not given.startswith("-"):
        return f"{given!r} is one argument too many"
    # Without their dashes, in which all are alike.
    name, known = given.split("=")[0].replace("_", "-").lstrip("-"), [each[2:] for each in options(kind)]
    near = did_you_mean(name, known, before="--")
    whole = "." in name and not any(each.rpartition(".")[2] == name.rpartition(".")[2] for each in known)
    return f"no option {given}{(elsewhere(name) or near) if whole else (near or elsewhere(name))}"


def _gist(complaint: str, command: str) -> str:
    """What one of tyro's complaints says first, under its title."""
    if "Missing from" in complaint:
        return f"{command} needs {COMMANDS[command.split()[1]][0]}"
    _title, *paragraphs = re.split(r"^\s*-+\s*$", complaint, flags=re.M)
    told = " ".join("".join(paragraphs[:1]).split()).rstrip(".") or "the command line cannot be understood"
    if choice := re.search(r"invalid choice '(.*?)' .* one of \((.*)\)", told):
        told += did_you_mean(choice[1], [each.strip("' ") for each in choice[2].split(",")])
        if file := re.match(r".*\.py(?=:|$)", choice[1]):
            told += f"; what {file[0]} registers has a name: retorno {file[0]} {command.split()[1]} …"
    return told
