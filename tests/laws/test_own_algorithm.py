"""The algorithm of docs/own-algorithm.md: one file, and it is in the command and under the laws."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

LAWS = Path(__file__).parent
PAGE = LAWS.parents[1] / "docs" / "own-algorithm.md"
NAME = "hysteretic"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Its file, as the page shows it."""
    code = re.search(rf"^```python\n(# {NAME}\.py\n.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert code is not None and code[1].count("\n") <= 120
    file = tmp_path / f"{NAME}.py"
    file.write_text(code[1], encoding="utf-8")
    return file


def called(*command: str, **environment: str) -> str:
    run = subprocess.run(command, capture_output=True, text=True, timeout=900, env=os.environ | environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_it_is_in_the_command(own: Path, tmp_path: Path) -> None:
    retorno = (sys.executable, "-m", "retorno.cli.main")
    folder = tmp_path / "run"
    options = ["--steps", "300", "--bad-step-size", "0.05", "--relabel", "count_bonus", "--relabel.weight", "0.5"]
    called(*retorno, "train", f"{own}:Hysteretic", "cliff", *options, "--folder", str(folder), "--episodes", "0")
    config = json.loads((folder / "config.json").read_text())
    assert config["algorithm"]["bad_step_size"] == 0.05
    assert config["relabel"] == {"type": "CountBonus", "weight": 0.5}
    assert "own" in (listed := called(*retorno, str(own), "list", "algorithms")) and NAME in listed
    assert json.loads(called(*retorno, str(own), "inspect", str(folder), "--json"))["finished"]


TWO_ARE_TRIED = """
import sys, pytest

def tried(config, items):
    names = [item.nodeid for item in items if NAME in item.nodeid]
    print(*names, sep="\\n")
    items[:] = [item for item in items if item.nodeid in names and item.path.name in TRIED]

NAME, TRIED = sys.argv[1], sys.argv[2].split()
plugin = type("Tried", (), {"pytest_collection_modifyitems": staticmethod(tried)})
sys.exit(pytest.main(sys.argv[3:], [plugin]))
"""


def test_it_is_under_the_laws(own: Path) -> None:
    """Under each that every algorithm is under (law 6 names groups of them); two are tried here."""
    expected = {3, 5, 7, 8, 9, 11}
    laws = [str(file) for law in expected for file in LAWS.glob(f"test_{law}_*.py")]
    plain = ("-s", "-o", "addopts=--strict-markers -q", "-p", "no:cacheprovider", *laws)
    tried = (NAME, "test_8_steps.py test_11_rewards.py")
    found = called(sys.executable, "-c", TWO_ARE_TRIED, *tried, *plain, RETORNO_OWN=str(own))
    assert {int(number) for number in re.findall(r"test_(\d+)_\w+\.py::\S*" + NAME, found)} == expected
    assert int(re.search(r"(\d+) passed", found)[1]) >= 2  # type: ignore[index]
