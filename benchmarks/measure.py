"""Fair timing: two processes stand ready, and take turns."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
ROOT = HERE.parent

Results = dict[str, Any]

BY_PROCESSOR = "MEASURED_BY_PROCESSOR"
"""Set for workers where rates are by the processor's time."""


def clock() -> float:
    """Seconds: of the clock, or of this process on the processor, where other work would take its turns away."""
    return time.process_time() if BY_PROCESSOR in os.environ else time.perf_counter()


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


WIDTHS = {"avx512f": "AVX-512", "avx2": "AVX2"}
"""Flags of a processor that say how many numbers it multiplies at once, on which products depend most."""


def processor() -> str:
    """What measures."""
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    told = {name.strip(): value.strip() for name, _, value in lines}
    width = next((f" with {name}" for flag, name in WIDTHS.items() if flag in told.get("flags", "").split()), "")
    return told.get("model name", platform.machine()) + width


def commit() -> str:
    """What is measured."""
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    return told.stdout.strip()


def publish(
    about: str | None,
    parts: Mapping[str, tuple[str, str, Callable[..., dict[str, Any]]]],
    render: Callable[[Results], str],
    page: str,
    peers: str | None = None,
    needed: bool = False,
) -> None:
    """A benchmark's main: measure the parts that are named, or all, and write what is known of all of them.

    Args:
        about: what the benchmark says of itself.
        parts: by name: a title, its bar, and what measures it.
        render: results as docs/PAGE.md; they are kept in docs/PAGE.json.
        page: PAGE.
        peers: what the Python has that is handed to what measures; None where there is no other.
        needed: whether it has to be named, or is this one by default.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *parts], help="parts to measure; all where none is named")
    if peers is not None:
        parser.add_argument("--peers", required=needed, default=sys.executable, help=f"the Python that has {peers}")
    parser.add_argument(
        "--processor", action="store_true", help="rates by the time of one core: where other work runs beside"
    )
    asked = parser.parse_args()
    if asked.processor:
        os.environ[BY_PROCESSOR] = "1"
        os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
    given = () if peers is None else (asked.peers,)
    measured = commit()
    for name in asked.names or parts:
        title, bar, measure = parts[name]
        result = measure(*given)
        keep(page, render, lambda results, name=name, result=result: {**results, name: result | here(measured)})
        print(f"{title} (bar {bar}): {json.dumps(result)}", flush=True)


def here(measured: str) -> dict[str, Any]:
    """What is told of where something was measured: the machine, the commit, what else it did, and by which clock."""
    load = round(os.getloadavg()[0], 1)
    by = {"by": "processor"} if BY_PROCESSOR in os.environ else {}
    return by | {"machine": f"{processor()}, {os.cpu_count()} cores", "commit": measured, "load": load}


def keep(page: str, render: Callable[[Results], str], add: Callable[[Results], Results]) -> None:
    """Write docs/PAGE.json with what was measured now, and the page that tells it.

    Args:
        page: PAGE.
        render: results as docs/PAGE.md.
        add: makes of all that was kept what is kept from now on.
    """
    kept = ROOT / "docs" / f"{page}.json"
    results = add(json.loads(kept.read_text()) if kept.exists() else {})
    kept.write_text(json.dumps(results, indent=1) + "\n")
    kept.with_suffix(".md").write_text(render(results))
