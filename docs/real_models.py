"""What the commands that measure a real model have in common: its runs, its answers, and the tables of a page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retorno import language
from retorno.ops.intervals import interval95

MODEL = "smollm2"


class Runs:
    """Files of texts and the runs that learn from them, in one folder: each is made once, or gone on with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """A file of texts, which is written as a whole."""
        file = self.folder / f"{name}.jsonl"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            beside = file.with_suffix(".part")
            beside.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
            beside.rename(file)

    def train(self, name: str, algorithm: str, texts: str, *options: str, own: Sequence[Path] = ()) -> None:
        """Train by the command that anybody has; a run that asks files of one's own goes on where these are named."""
        command = ["train", algorithm, self.path(f"{texts}.jsonl"), "--model", MODEL, "--folder", self.path(name)]
        if (self.folder / name / "config.json").exists():
            command, options = [*map(str, own), "resume", self.path(name)], ()
        subprocess.run([sys.executable, "-m", "retorno", *command, *options], check=True)


def said(model: language.LanguageModel, prompts: Sequence[str], tokens: int, seed: int, at: float = 1.0) -> list[str]:
    """One answer to each, at a temperature."""
    answers = language.generate(model, prompts, tokens, language.Sampling(temperature=at), seed)
    return [answer.text for answer in answers]


def commit() -> str:
    """Of the checkout that measures."""
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return head.stdout.strip()


def share(scores: Sequence[float] | np.ndarray) -> str:
    """A mean share, with its 95% interval."""
    held = np.asarray(scores, np.float64)
    low, high = interval95(held)
    return f"{held.mean():.2f} ({max(low, 0):.2f} to {min(high, 1):.2f})"


def write_tables(page: Path, command: str, tables: Mapping[str, Sequence[str]]) -> None:
    """Put each table between the comment that names it and the next `<!-- end -->`."""
    text = page.read_text(encoding="utf-8")
    for name, lines in tables.items():
        mark = f"<!-- {command}: {name} -->\n"
        begin, rest = text.split(mark)
        text = "\n".join((begin + mark, *lines, "", "<!-- end -->" + rest.split("<!-- end -->", 1)[1]))
    page.write_text(text, encoding="utf-8")
