"""Fair timing: two processes stand ready, and take turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

HERE = Path(__file__).parent


class Worker:
    """A process that has warmed up and does its work each time it is asked to; it answers with a number."""

    def __init__(self, python: str, script: str, work: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [python, str(HERE / script), work],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self._ask("warm up")

    def measure(self) -> float:
        """Do the work once more: its rate."""
        return self._ask("measure")

    def _ask(self, what: str) -> float:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a worker ended: {self._process.args}")
        return float(answer)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def serve(works: dict[str, Callable[[], Callable[[], float]]], answers: IO[str] = sys.stdout) -> None:
    """A worker's main: prepare the named work, then answer each line with its rate."""
    measure = works[sys.argv[1]]()
    for _ in sys.stdin:
        print(measure(), file=answers, flush=True)


def in_turn(first: Callable[[], float], second: Callable[[], float], pairs: int) -> tuple[list[float], list[float]]:
    """Measure both, A B A B …."""
    results: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        results[0].append(first())
        results[1].append(second())
    return results


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """The median of the ratios pair by pair, with the least and the largest."""
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "mine": statistics.median(mine),
        "theirs": statistics.median(theirs),
        "pairs": len(ratios),
    }


def timed(command: Sequence[str], **environment: str) -> float:
    """Seconds of a whole command."""
    began = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    return time.perf_counter() - began


def peak_memory(command: Sequence[str]) -> float:
    """Peak resident memory of a whole command, in MB."""
    code = (
        "import resource,subprocess,sys; subprocess.run(sys.argv[1:], check=True, stdout=2, stderr=subprocess.DEVNULL)"
    )
    code += "; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return float(done.stdout)
