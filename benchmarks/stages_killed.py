"""The stages that teach a language model are killed again and again and gone on with: the final bits have to be equal.

    python benchmarks/stages_killed.py [KILLS]    # 90 where it is not said, shared among the stages

Demonstrations, rankings, PPO, GRPO and DPO on a few of the dictionary's words with a model of a few hundred weights,
as `retorno language demo` has them. Each is learnt once undisturbed; then again in a process that gets a SIGKILL, goes
on in another that is killed as well, and so on until it has come to its end, when its digest (of weights, optimiser,
worlds and counters) is compared. Of five kills four come at a moment drawn within half of what learning took the
undisturbed one, from when it is under way, and one before that, while the run is made or read.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

STAGES = {"fine_tuned": "sft", "reward_model": "reward", "ppo": "ppo", "grpo": "grpo", "dpo": "dpo"}
"""By what teaches it, where it lies."""
SAID = ("it is a bird.", "i do not know.", "it is a stone.", "who cares?")
"""Who has learnt so little says nothing that could be ranked."""


def learn(folder: Path, stage: str, under_way: Any) -> None:
    """Begin a stage, or go on with it, to its end; its digest is written beside it.

    Args:
        folder: of all stages.
        stage: which.
        under_way: an event, set once it learns.
    """
    from retorno.language import Answer
    from retorno.language.dictionary import lessons, tiny

    tiny.TINY = replace(tiny.TINY, width=8, layers=1, num_heads=1, key_heads=1, head_width=8, hidden=8)
    lessons.SCORED = 4
    lessons.ask = lambda model, nouns, count, seed: [[Answer(text, (), True) for text in SAID]] * len(nouns)
    taught = lessons.Lessons(folder, told=64, ranked=32, others=32, readings=12, comparisons=24, answers=8000)
    taught.begin()
    with getattr(taught, stage)() as run:
        for _ in run:
            under_way.set()
        (folder / f"{stage}.digest").write_text(run.digest)


def main() -> None:
    kills, rng = int(sys.argv[1]) if sys.argv[1:] else 90, random.Random(0)
    # Forked before JAX has begun: a process of its own for the disk, without Python's start.
    forked, began = multiprocessing.get_context("fork"), time.monotonic()
    import retorno.language.dictionary.lessons  # noqa: F401

    folder, fallen, repeats = Path(tempfile.mkdtemp()), dict.fromkeys(STAGES, 0), dict.fromkeys(STAGES, 0)
    whole, learning = folder / "whole", dict[str, float]()

    def started(at: Path, stage: str) -> tuple[Any, Any]:
        under_way = forked.Event()
        process = forked.Process(target=learn, args=(at, stage, under_way))
        process.start()
        return process, under_way

    for stage in STAGES:
        undisturbed, under_way = started(whole, stage)
        under_way.wait()
        start = time.monotonic()
        undisturbed.join()
        assert undisturbed.exitcode == 0, stage
        learning[stage] = time.monotonic() - start
    while sum(fallen.values()) < kills:
        stage = min(STAGES, key=lambda stage: fallen[stage])
        again = Path(tempfile.mkdtemp(dir=folder))
        for held in (*whole.glob("*.jsonl"), whole / "lessons.json"):
            shutil.copy(held, again)
        for before in ("model", "sft", "reward"):
            if before != STAGES[stage]:
                (again / before).symlink_to(whole / before)
        while True:
            process, under_way = started(again, stage)
            if rng.random() < 0.2:
                process.join(rng.uniform(0, 3))
            else:
                while process.exitcode is None and not under_way.wait(0.01):
                    pass
                process.join(rng.uniform(0, learning[stage] / 2))
            if process.exitcode is None:
                process.kill()
                process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL, f"{stage} failed"
            fallen[stage] += 1
            print(
                f"{stage}: kill {fallen[stage]}, {'under way' if under_way.is_set() else 'before it was'}", flush=True
            )
        repeats[stage] += 1
        digests = [(at / f"{stage}.digest").read_text() for at in (whole, again)]
        assert digests[0] == digests[1], f"{stage} ends with other bits"
        print(f"{stage}: the bits are those of the undisturbed run", flush=True)
        shutil.rmtree(again)
    told = ", ".join(f"{stage} {fallen[stage]} in {repeats[stage]} runs" for stage in STAGES)
    print(f"{sum(fallen.values())} SIGKILLs in {time.monotonic() - began:.0f} s ({told}): all ended with the same bits")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
