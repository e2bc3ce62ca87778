"""Language models side by side with transformers, PyTorch and TRL, in one run.

    python3 -m venv LM && LM/bin/pip install torch==2.13.0
    LM/bin/pip install transformers accelerate trl==1.16.0
    .venv/bin/python benchmarks/language.py --peers LM/bin/python [NAME …]

For `ppo`, which later ones lack, TRL is 1.12.0, in an environment of its own.

On a machine that others use as well, `--cpu` tells tokens a second of CPU time instead of the clock's, which waits for
the others; it does not see how well two cores are used.

Every figure is the median of ratios of pairs measured in turn (A B A B …), both sides warmed up. Results go to
docs/language-speed.json and docs/language-speed.md with the machine and the commit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from measure import ROOT, Worker, commit, in_turn, ratio

SPEED = ROOT / "docs" / "language-speed.json"
WORKS = {
    "small": ("decoding, 4 layers of 256 and 1,024 tokens, 16 texts of 16 + 48 tokens", "transformers", 7),
    "smollm2": ("decoding, SmolLM2-135M, 16 texts of 16 + 48 tokens", "transformers", 5),
    "gradient": ("loss and its gradient, 4 layers of 128, 16 texts of 64 tokens", "torch", 7),
    "gradient_smollm2": ("loss and its gradient, SmolLM2-135M, all layers, 16 texts of 64 tokens", "torch", 3),
    "sft": ("supervised step, 4 layers of 128, 16 texts of 32 tokens", "trl", 7),
    "reward": ("reward model's step, 16 pairs of 32 tokens", "trl", 7),
    "dpo": ("DPO's step, 16 pairs of 32 tokens", "trl", 7),
    "ppo": ("PPO's iteration, 64 answers of 24 tokens, 4 epochs, a reward model and a reference", "trl 1.12", 5),
    "loop": ("the same, over what it writes and learns as one bare program", "retorno", 5),
    "grpo": ("GRPO's iteration, 64 answers of 24 tokens, a function's scores", "trl", 7),
    "ppo_smollm2": ("PPO's iteration, the same with SmolLM2-135M, upper 4 layers, 16 answers", "trl 1.12", 3),
    "grpo_smollm2": ("GRPO's iteration, the same with SmolLM2-135M, upper 4 layers, 16 answers", "trl", 3),
}
"""By name: what is done, beside whom, and how many pairs are measured."""


def environment(folder: Path, large: bool) -> dict[str, str]:
    """Where the models lie, SmolLM2 where it is wanted."""
    import tokenizers

    from retorno import language
    from retorno.networks import Activation

    small = language.Architecture(
        vocabulary=1024, width=256, layers=4, num_heads=4, key_heads=4, head_width=64, hidden=1024, longest=256,
        rotary=None, activation=Activation.gelu, tied=True,
        projection_bias=True, out_bias=True, forward_bias=True, begin=0, ends=(0,),
    )  # fmt: skip
    language.new(small).save(folder / "small")
    tiny = replace(small, width=128, head_width=32, hidden=512)
    words = {"<end>": 0, "<pad>": 1, **{f"w{i}": i for i in range(2, 1024)}}
    rules = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<pad>"))
    rules.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = language.Tokenizer(rules, None, {"eos_token": "<end>", "pad_token": "<pad>"})
    language.new(tiny, tokenizer).save(folder / "tiny")
    if large:
        language.smollm2().save(folder / "smollm2")
    models = {name.upper(): str(folder / name) for name in ("small", "tiny", "smollm2")}
    return {**models, "HF_HUB_OFFLINE": "1", "OUT": str(folder / "out")}


def page(results: dict[str, dict[str, object]]) -> str:
    lines = [
        "# Speed of language models",
        "",
        "Retorno's rate over another's: tokens a second, where they are drawn from the whole distribution, else steps",
        "of learning a second. Medians of pairs measured in turn, with the least and the largest ratio, by",
        "`python benchmarks/language.py --peers PYTHON --cpu`; its head says what that PYTHON needs. TRL is 1.16, and",
        "1.12 for PPO, which later ones lack; its trainers ran without logs and checkpoints. The load is that of the",
        "machine over five minutes, with its other users; where it is more than the cores, seconds of CPU time are the",
        "fairer ones.",
        "",
        "| work | beside | ratio | from, to | retorno | the other | seconds of | load | pairs | commit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (about, beside, _) in WORKS.items():
        if (r := results.get(name)) is not None:
            lines.append(
                f"| {about} | {beside} | {r['ratio']:.2f} | {r['low']:.2f}, {r['high']:.2f} | {r['mine']:,.4g} | "
                f"{r['theirs']:,.4g} | {r['by']} | {r.get('load', '')} | {r['pairs']} | {r['commit']} |"
            )
    machine = next(iter(results.values()))["machine"]
    return "\n".join([*lines, "", f"Machine: {machine}.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the Python that has transformers")
    parser.add_argument("names", nargs="*", default=list(WORKS))
    parser.add_argument("--pairs", type=int, help="how many are measured; by default as many as each work says")
    parser.add_argument("--cpu", action="store_true", help="by seconds of CPU time instead of the clock's")
    given = parser.parse_args()
    results = json.loads(SPEED.read_text()) if SPEED.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        models = {
            **environment(Path(folder), any("smollm2" in name for name in given.names)),
            "CLOCK": "cpu" if given.cpu else "wall",
        }
        for name in given.names:
            peer = sys.executable if WORKS[name][1] == "retorno" else given.peers
            with (
                Worker(sys.executable, "language_works.py", f"retorno_{name}", **models) as mine,
                Worker(peer, "language_works.py", f"peer_{name}", **models) as theirs,
            ):
                measured = ratio(*in_turn(mine.measure, theirs.measure, given.pairs or WORKS[name][2]))
            machine = f"{platform.machine()}, {os.cpu_count()} cores"
            by = ("CPU time" if given.cpu else "the clock") + ", one core" * (len(os.sched_getaffinity(0)) == 1)
            load = round(os.getloadavg()[1], 1)
            told = {"commit": commit(), "machine": machine, "by": by, "load": load}
            results[name] = {**measured, **told}
            print(f"{name}: {measured}")
            SPEED.write_text(json.dumps(results, indent=2) + "\n")
            SPEED.with_suffix(".md").write_text(page(results))


if __name__ == "__main__":
    main()
