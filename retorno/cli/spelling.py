"""What people type, and what it is called here: other libraries' names of options, American spelling, `--world.KEY`."""

from __future__ import annotations

import json
from typing import Any

from retorno.cli.options import UsageError
from retorno.core.names import meant

WORLD = "world."
PLACES = ("algorithm", "world")
"""What stands in the first two places, where it is given as an option instead."""


def without_places(arguments: list[str]) -> list[str]:
    """The same with the algorithm and the world in the first two places, where they are given as options.

    >>> without_places(["--env", "cliff", "--algo=ppo", "--steps", "9"])
    ['ppo', 'cliff', '--steps', '9']
    >>> without_places(["ppo", "--env", "cliff"]), without_places(["--algo", "alpha_zero", "--game", "hex"])
    (['ppo', 'cliff'], ['alpha_zero', 'hex'])
    """
    found: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        place = meant(option.removeprefix("--").replace("-", "_"), PLACES) if option.startswith("--") else ""
        if place not in PLACES:
            rest.append(word)
        else:
            found[place] = value if equals else next(words, "")
    if not found:
        return arguments
    for place in PLACES:
        if place not in found and rest and not rest[0].startswith("-"):
            found[place] = rest.pop(0)
    return [found[place] for place in PLACES if place in found] + rest


def with_bare(arguments: list[str], spelled: dict[str, str]) -> list[str]:
    """Options that may stand without a value, with the value that this means.

    >>> with_bare(["--watch", "--steps", "9"], {"--watch": "live"})
    ['--watch', 'live', '--steps', '9']
    """
    whole: list[str] = []
    for place, argument in enumerate(arguments):
        whole.append(argument)
        ends = place + 1 == len(arguments) or _is_option(arguments[place + 1])
        if argument in spelled and ends:
            whole.append(spelled[argument])
    return whole


def world_settings(arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """What the world is to be made with, of `--world.KEY VALUE`, and the other arguments.

    A value is read as JSON where it is JSON: numbers, true, false, null, lists. Without a value it is true.

    Raises:
        UsageError: when a name is no name, or is given twice.

    >>> world_settings(["--world.is_slippery", "false", "--world.map-name=8x8", "--seed", "1"])
    ({'is_slippery': False, 'map_name': '8x8'}, ['--seed', '1'])
    """
    settings: dict[str, Any] = {}
    rest: list[str] = []
    place = 0
    while place < len(arguments):
        argument = arguments[place]
        place += 1
        negative = argument.startswith(f"--no-{WORLD}")
        if not negative and not argument.startswith(f"--{WORLD}"):
            rest.append(argument)
            continue
        option, equals, value = argument.partition("=")
        key = option.removeprefix("--no-" if negative else "--").removeprefix(WORLD).replace("-", "_")
        if not key.isidentifier() or key in settings:
            raise UsageError(f"{option}: expected --{WORLD}NAME VALUE, once for each name that the world is made with")
        if not equals and not negative and place < len(arguments) and not _is_option(arguments[place]):
            equals, value, place = "=", arguments[place], place + 1
        settings[key] = value_of(value) if equals else not negative
    return settings, rest


def value_of(text: str) -> Any:
    """JSON where it is JSON, other words for true, false and nothing too; else the text itself.

    "no" as a text would be true to whoever asks `if is_slippery`.

    >>> value_of("3"), value_of("[1, 2]"), value_of("True"), value_of("no"), value_of("8x8")
    (3, [1, 2], True, False, '8x8')
    """
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return json.loads(text if not text.startswith(".") else f"0{text}")
    except ValueError:
        return text


def _is_option(word: str) -> bool:
    return word.startswith("-") and not word[1:2].isdigit() and word[1:2] != "."
