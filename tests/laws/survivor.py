"""A process that trains every algorithm in turns and may be killed at any moment; started again it goes on.

    python survivor.py FOLDER HOSTED KILL_AT

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

import small

from retorno.algorithms import ALGORITHMS
from retorno.run.train import Training, resume, train

WORLD, STEPS, EVERY = "FrozenLake-v1", 300, 20


def begin(name: str, hosted: bool, folder: Path | None = None) -> Training:
    """A new run; with a folder it is recorded."""
    return train(small.small(name), WORLD, STEPS, seed=11, hosted=hosted, every=EVERY, folder=folder)


def fail_at(sync: int) -> None:
    """Be killed at the nth sync from now on."""
    synced, real = itertools.count(1), os.fsync

    def fsync(file: int) -> None:
        if next(synced) == sync:
            os.kill(os.getpid(), signal.SIGKILL)
        real(file)

    os.fsync = fsync


def main(folder: Path, hosted: bool, kill_at: int) -> None:
    fail_at(kill_at)
    runs = {
        name: resume(folder / name, warn=print)
        if (folder / name / "config.json").exists()
        else begin(name, hosted, folder / name)
        for name in ALGORITHMS
    }
    under_way = {name: iter(run) for name, run in runs.items()}
    while under_way:
        for name in [*under_way]:
            if next(under_way[name], None) is None:
                del under_way[name]
        print("under way", flush=True)
    print(json.dumps({name: run.digest for name, run in runs.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "hosted", int(sys.argv[3]))
