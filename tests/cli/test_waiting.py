"""Nobody waits in silence."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from retorno.cli import waiting as told
from retorno.cli.main import main
from retorno.core.waiting import listening, waiting

SLOW = """
import time
import numpy as np
import gymnasium as gym

class Slow(gym.Env):
    observation_space, action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        self.age = 0
        return 0, {}
    def step(self, action):
        time.sleep(.02)
        self.age += 1
        return self.age % 2, 1.0, self.age == 10, False, {}
"""


def test_what_takes_long_is_named_with_how_far_it_is_and_what_is_brief_is_not(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told, "PATIENCE", 0.05)
    with listening(told.told):
        with waiting("a moment"):
            pass
        with waiting("the whole"), waiting("its part", lambda: "3 of 4"):
            time.sleep(0.08)
    assert capsys.readouterr().err == "its part … · 3 of 4\n"
    with waiting("nobody listens"):
        time.sleep(0.08)
    assert capsys.readouterr().err == ""


def test_a_wait_that_fails_is_over(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "PATIENCE", 0.03)
    with pytest.raises(ValueError), listening(told.told), waiting("it"):
        raise ValueError
    time.sleep(0.05)
    assert capsys.readouterr().err == "" and not told._nested


def test_a_slow_world_is_told_of_while_it_is_trained_restored_and_evaluated(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never silent for longer than half a second where a step takes a fiftieth, patience being a tenth."""
    monkeypatch.setattr(told, "PATIENCE", 0.1)
    monkeypatch.chdir(tmp_path)
    Path("slow.py").write_text(SLOW)
    call = [
        "train",
        "q_learning",
        "slow.py:Slow",
        "--num-envs",
        "2",
        "--rollout",
        "9",
        "--steps",
        "36",
        "--episodes",
        "0",
    ]
    assert main([*call, "--folder", "run"]) == 0
    err = capsys.readouterr().err
    assert "trying whether an episode can be lived again …" in err and "living 18 steps and learning from them …" in err
    assert main(["slow.py", "resume", "run", "--steps", "54", "--episodes", "4"]) == 0
    assert "living the" in (err := capsys.readouterr().err) and "of the open episodes again …" in err
    assert "evaluating …" in err
    assert main(["slow.py", "evaluate", "run", "--episodes", "2", "--json"]) == 0
    assert capsys.readouterr().err == "", "machines are not told"
    sys.modules.pop("slow", None)
