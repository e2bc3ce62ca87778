"""A process with several runs, native and hosted, in turns, that may be killed at any moment; again, it goes on.

    python survivor.py FOLDER KILL_AT "ALGORITHM KIND" …

At the KILL_ATth time that something is to be synced to the disk, in the middle of a checkpoint or
of a run's settings, it kills itself (SIGKILL); 0 for never. At the end it prints the digests as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import cases
import draws
from box_only import BoxOnly
from small import Judged

from retorno.algorithms import register
from retorno.core.environment import World
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.run.relabel import RELABELS
from retorno.run.resume import resume
from retorno.run.train import train
from retorno.run.training import Training

STEPS, EVERY = 200, 20
KINDS = ("native", "hosted")


def place(name: str, kind: str) -> World:
    """The world that an algorithm lives in."""
    world = cases.main(name).place()
    return world if kind == "native" else gymnasium(lambda: to_gymnasium(world))


def begin(name: str, kind: str, folder: Path | None = None) -> Training:
    """A new run; with a folder it is recorded."""
    given: Any = {"seed": 11, "every": EVERY, "relabel": Judged(), "folder": folder}
    return train(cases.main(name).method(), place(name, kind), STEPS, **given)


def fail_at(sync: int) -> None:
    """Be killed at the nth sync from now on."""
    synced, real = itertools.count(1), os.fsync

    def fsync(file: int) -> None:
        if next(synced) == sync:
            os.kill(os.getpid(), signal.SIGKILL)
        real(file)

    os.fsync = fsync


def open_or_begin(folder: Path, name: str, kind: str) -> Training:
    """The run in a folder, as it stands."""
    if (folder / "config.json").exists():
        return resume(folder, world=place(name, kind), warn=print)
    return begin(name, kind, folder)


def main(folder: Path, kill_at: int, runs: list[str]) -> None:
    """Train to the end, a report of each in turn."""
    register(BoxOnly)
    RELABELS.register(Judged)
    fail_at(kill_at)
    opened = {run: open_or_begin(folder / run.replace(" ", "-"), *run.split()) for run in runs}
    under_way = {run: iter(training) for run, training in opened.items()}
    while under_way:
        for run in [*under_way]:
            if next(under_way[run], None) is None:
                del under_way[run]
        print("under way", flush=True)
    print(json.dumps({run: training.digest for run, training in opened.items()}))


if __name__ == "__main__":
    with draws.in_one_call():  # As in the process of the test, whose runs it is held against.
        main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
