"""`retorno report RUN…`: one HTML page that needs nothing beside it, or its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retorno.cli.options import Flag, Runs, UsageError, parse
from retorno.cli.runs import members
from retorno.run.folder import CONFIG


@dataclass(frozen=True)
class Report:
    """Write one HTML page about one or several runs: results, learning curves, what was learnt beside the exact
    answer where there is one, metrics, settings. Runs that differ in their seed alone are shown as one mean with its
    95% band.
    """

    runs: Runs
    """Folders of runs, or of many of them."""
    out: Path | None = None
    """The page. By default report.html in the run's folder, or here for several. A .pdf holds the pictures alone, one a
    page; .svg and .png are a file for each."""
    x: Literal["steps", "episodes", "seconds", "updates"] = "steps"
    """What learning curves and metrics stand over."""
    alone: Flag = False
    """Draw each seed as a line of its own instead of their mean with its band."""


def run(arguments: list[str]) -> int:
    given = parse(Report, arguments, "retorno report")
    if not given.runs:
        raise UsageError("which run? Give its folder, as in `retorno report runs/ppo-CartPole-v1-1`")
    from retorno.core.runtime import prepare
    from retorno.plots import report

    prepare()

    folders = [path for folder in given.runs for path in runs_in(folder)]
    out = given.out or (given.runs[0] if len(given.runs) == 1 else Path()) / "report.html"
    for path in report(folders, out, over=given.x, alone=given.alone):
        print(path)
    return 0


def runs_in(folder: Path) -> list[Path]:
    """The runs that a folder stands for, or, of a folder of many, all that lie below it.

    Raises:
        FolderError: when there is none, or the settings of one are damaged.
    """
    if (folder / CONFIG).exists() or not (found := sorted({path.parent for path in folder.rglob(CONFIG)})):
        return members(folder)
    return [run for path in found for run in members(path)]
