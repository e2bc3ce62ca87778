"""The pages of docs/ are run: what a page shows is what its code prints.

Python blocks run in order in one namespace; the text block right after one is what it prints. In console
blocks each line `$ retorno …` is followed by what the command says. All of it happens in an empty folder,
where a page saves its pictures under images/.

    python tests/docs/pages.py --write docs/exact.md     # write the outputs into the page, and its pictures
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

DOCS = Path(__file__).parents[2] / "docs"
RUN = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n?```text\n.*?^```\n)?|^```console\n(?P<lines>.*?)^```\n", re.M | re.S
)
NAMED = re.compile(r"# (\w+\.py)\n")
"""A block that begins so is a file of that name as well."""
PICTURE = re.compile(r"!\[[^\]]*\]\((images/[^)]+)\)")
ROUNDING = re.compile(r"\b\d(?:\.\d+)?e-1\d\b")
"""Figures of the size of rounding: other processors and libraries round otherwise."""


NUMBER = re.compile(r"(?:(?<=[\s|(])[-−])?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")
NEAR = 0.1
"""How far a figure that was learnt may be off, of itself or of one: rounding differs, and with it what is chosen."""
EXACT = ("exact.md",)
"""Pages on which nothing is learnt."""


def runnable() -> list[Path]:
    """The pages with code to run."""
    return sorted(page for page in DOCS.glob("*.md") if RUN.search(page.read_text(encoding="utf-8")))


def executed(text: str, name: str, folder: Path) -> str:
    """The same page with the outputs that its code has when it is run in a folder."""
    space: dict[str, Any] = {"__name__": "__main__"}

    def run(block: re.Match[str]) -> str:
        line = text.count("\n", 0, block.start()) + 2
        if (commands := block["lines"]) is not None:
            asked = [each for each in commands.splitlines() if each.startswith("$ ")]
            told = "\n".join(f"{each}\n{command(each)}" for each in asked)
            return f"```console\n{told}```\n"
        if (named := NAMED.match(block["code"])) is not None:
            Path(named[1]).write_text(block["code"], encoding="utf-8")
        # Line numbers of an error are those of the page.
        code = compile("\n" * (line - 1) + block["code"], name, "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, space)
        told = out.getvalue()
        shown = f"```text\n{told}```\n" if told else ""
        return f"```python\n{block['code']}```\n{shown}"

    with contextlib.chdir(folder):
        return RUN.sub(run, text)


def command(line: str) -> str:
    """What a line `$ retorno …` prints, notes included; but for what is waited for, on a slow machine."""
    from retorno.cli import waiting
    from retorno.cli.main import main

    program, *arguments = shlex.split(line.removeprefix("$ "), comments=True)
    if program != "retorno":
        raise ValueError(f"a page runs retorno alone, got {line!r}")
    patient = mock.patch.object(waiting, "PATIENCE", 1e6)
    with patient, contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        main(arguments)
    return out.getvalue()


def comparable(text: str) -> list[str]:
    """The lines of a page, without the figures that differ between machines."""
    return ROUNDING.sub("ROUNDING", text).splitlines()


def skeleton(line: str) -> tuple[str, list[float]]:
    """A line without its numbers and the spaces that align them, and the numbers."""
    numbers = [float(x.replace(",", "").replace("−", "-")) for x in NUMBER.findall(line)]
    return "".join(NUMBER.sub("#", line).split()), numbers


def alike(text: str, other: str) -> bool:
    """Whether two pages say the same, with figures that learning on another processor may give."""
    lines, others = ([skeleton(line) for line in page.splitlines()] for page in (text, other))
    return len(lines) == len(others) and all(
        a == b and all(math.isclose(x, y, rel_tol=NEAR, abs_tol=NEAR) for x, y in zip(xs, ys, strict=True))
        for (a, xs), (b, ys) in zip(lines, others, strict=True)
    )


def write(page: Path) -> None:
    """Run a page, and write it with its outputs and pictures."""
    with tempfile.TemporaryDirectory() as folder:
        told = executed(page.read_text(encoding="utf-8"), str(page), Path(folder))
        page.write_text(told, encoding="utf-8")
        for name in PICTURE.findall(told):
            if (made := Path(folder, name)).exists():
                shutil.copyfile(made, page.parent / name)


if __name__ == "__main__":
    if sys.argv[1:2] != ["--write"] or len(sys.argv) < 3:
        sys.exit("usage: python tests/docs/pages.py --write docs/PAGE.md …")
    for each in sys.argv[2:]:
        write(Path(each))
