"""README's own code runs as it stands, in order, with smaller budgets; its commands are commands."""

import re
import shlex
from pathlib import Path

import pytest

from retorno.algorithms import ALGORITHMS
from retorno.cli.main import COMMANDS
from retorno.cli.spelling import with_bare, world_settings
from retorno.cli.train import BARE, choose
from retorno.environments.registry import WORLDS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.M | re.S)


# Box2D's types say no module, and Python ends where that warning is made an error.
@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")
def test_the_python_block_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = (text for kind, text in BLOCKS if kind == "python")
    space = {}
    exec(re.sub(r"steps=(\d[\d_]*)", "steps=500", code), space)
    assert "start value" in capsys.readouterr().out and space["action"] in (0, 1)
    space["run"].close()


def commands():
    """The lines of README that begin with `retorno`."""
    lines = [line for _, text in BLOCKS for line in text.splitlines() if line.startswith("retorno ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_command_is_one(command):
    name, *rest = command
    assert name in COMMANDS
    if name == "train":
        algorithm, world, *more = rest
        choose(algorithm, world, with_bare(world_settings(more)[1], BARE))
        assert world in WORLDS or world.startswith("shop.py:")
    else:
        known = (*WORLDS, *ALGORITHMS, "algorithms", "bash")
        assert all(word in known or not word.isidentifier() for word in rest)


def test_the_number_of_algorithms_is_the_number_there_are():
    tens = {4: "forty", 5: "fifty", 6: "sixty", 7: "seventy", 8: "eighty"}
    assert f"more than {tens[(len(ALGORITHMS) - 1) // 10]} of them" in README
