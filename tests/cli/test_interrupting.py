"""Ctrl-C, heard by Python or not: processes of their own, since one of them has to end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

IN_C = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
"""Minutes of work that hears no signal, and lets other threads go on, as a compiled program."""


@pytest.mark.parametrize(("waits", "told"), [(IN_C, "ended"), ("time.sleep(60)", "raised")])
def test_a_command_ends_though_it_hears_nothing(waits: str, told: str) -> None:
    code = f"""
import hashlib, time
from retorno.cli.interrupting import interruptible
try:
    with interruptible(lambda: print("ended", flush=True)):
        print("begun", flush=True)
        {waits}
except KeyboardInterrupt:
    print("raised")
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        time.sleep(0.05)  # It is in there by now.
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == f"{told}\n"
        assert process.wait(30) == (0 if told == "raised" else 130)


def test_the_programs_that_play_end_with_it() -> None:
    """One that does not look at what it is told lives on otherwise."""
    code = f"""
import hashlib, sys
from retorno.cli.interrupting import interruptible
from retorno.environments.games.connect_four import ConnectFour
from retorno.run.engines import GTP
deaf = "import time; print('= \\n', flush=True); time.sleep(300)"
engine = GTP([sys.executable, "-c", deaf], ConnectFour())
with interruptible(lambda: None):
    engine._start()
    print(engine.process.pid, flush=True)
    {IN_C}
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        program = int(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    for _ in range(100):
        try:
            with open(f"/proc/{program}/stat") as stat:
                if stat.read().split()[2] == "Z":  # Nobody asked how it ended.
                    break
        except FileNotFoundError:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the program lives on")
