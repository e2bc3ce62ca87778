"""`retorno report RUN…`: one HTML page that needs nothing beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retorno.cli.options import Runs, UsageError, parse
from retorno.cli.runs import members


@dataclass(frozen=True)
class Report:
    """Write one HTML page about one or several runs: results, learning curves, metrics, settings."""

    runs: Runs
    """Folders of runs."""
    out: Path | None = None
    """The page. By default report.html in the run's folder, or here for several."""


def run(arguments: list[str]) -> int:
    given = parse(Report, arguments, "retorno report")
    if not given.runs:
        raise UsageError("which run? Give its folder, as in `retorno report runs/ppo-CartPole-v1-1`")
    from retorno.plots import report

    folders = [path for folder in given.runs for path in members(folder)]
    out = given.out or (given.runs[0] if len(given.runs) == 1 else Path()) / "report.html"
    print(report(folders, out))
    return 0
