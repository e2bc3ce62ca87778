"""All figures of the textbooks in one process: how long each takes and how many of its values agree with the book's.

    python docs/figures.py           # all of them: minutes on two cores
    python docs/figures.py 7.2 12.6  # the named ones again
    python docs/figures.py --shared  # the same while the machine does other work, which the page then says
    python docs/figures.py --render  # only write docs/figures.md again

What is found is kept in docs/figures.json with the machine and the commit; docs/figures.md is made from it. The
pictures and their numbers go to the folder runs/figures, those that a page shows to docs/images as well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count() or 1))

from results import processor

from retorno.figures import FIGURES

HERE = Path(__file__).parent
KEPT = HERE / "figures.json"
SHOWN = {"self_play": "self-play-parts"}
"""Figures that a page shows, and the name of their picture there."""


def measure(name: str) -> dict[str, Any]:
    """Make one figure."""
    entry, began = FIGURES[name], time.perf_counter()
    exhibit = entry.make(entry.seeds or 0)
    picture, _ = exhibit.save(Path("runs/figures"), name, ".png")
    if name in SHOWN:
        shutil.copy(picture, HERE / "images" / f"{SHOWN[name]}.png")
    seconds = time.perf_counter() - began
    differing = [check.what for check in exhibit.checks if not check.agrees]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    print(f"{name}: {seconds:.1f} s, {len(exhibit.checks)} values", *differing, flush=True)
    return {
        "seeds": entry.seeds,
        "seconds": round(seconds, 1),
        "values": len(exhibit.checks),
        "sources": dict(Counter(str(check.source) for check in exhibit.checks)),
        "differing": differing,
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "commit": commit.stdout.strip(),
        "shared": "--shared" in sys.argv,
    }


def render(kept: dict[str, Any]) -> None:
    """Write docs/figures.md from what is kept."""
    there = {name: kept[name] for name in FIGURES if name in kept}
    minutes = sum(found["seconds"] for found in there.values()) / 60
    marks = {f"{found['commit']} on {found['machine']}" for found in there.values()}
    lines = [
        "# The figures of the textbooks",
        "",
        "`retorno figure NAME` repeats a figure with intervals, `retorno figure --all` all of them in one process.",
        "What is expected is held against what is found: a value agrees within four standard errors. Made by",
        "`python docs/figures.py`; seconds include compilation. The last column says where expected values come from:",
        "",
        "- *book*: printed in the book, or on the lecture's slides;",
        "- *read off*: read off the book's figure, which prints no number;",
        "- *exact*: worked out exactly, from the model or from theory;",
        "- *unsourced*: a mean of the book's experiment, of which the book prints no number; where it was measured is",
        "  not on record, so these are no more than a second opinion.",
        "",
        "| figure | what | seeds | seconds | values that agree | expected values |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {FIGURES[name].about} | {found['seeds'] or 'exact'} | "
            f"{found['seconds']:.1f}{'*' * found['shared']} | "
            f"{found['values'] - len(found['differing'])} of {found['values']} | "
            f"{', '.join(f'{count} {source}' for source, count in found['sources'].items()) or '–'} |"
            for name, found in there.items()
        ),
        f"| **all {len(there)}** | | | **{minutes:.1f} minutes** | | |",
        "",
        f"Measured at commit {'; '.join(sorted(marks))}. *: the machine did other work as well.",
        "",
    ]
    (HERE / "figures.md").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Make the named figures, or all of them, and write the page."""
    names = [name for name in sys.argv[1:] if not name.startswith("--")]
    unknown = set(names) - set(FIGURES)
    if unknown:
        sys.exit(f"no figure {', '.join(sorted(unknown))}: `retorno figure --list` says which there are")
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    if "--render" not in sys.argv:
        for name in names or FIGURES:
            kept[name] = measure(name)
            KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    render(kept)


if __name__ == "__main__":
    main()
