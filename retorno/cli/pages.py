"""What the commands that open pages in a browser share: where labels are, models by name, serving."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from retorno.cli.terminal import note
from retorno.core.errors import RetornoError
from retorno.core.hyperparameters import Range
from retorno.run.folder import CONFIG, METRICS

if TYPE_CHECKING:
    from retorno.labels import Labels
    from retorno.web import Site

LABELS = "labels.db"
LabelsPlace = Annotated[str | None, tyro.conf.arg(metavar="FILE|URL")]
PortNumber = Annotated[int, Range(int, lambda x: 1 <= x <= 65535, "from 1 to 65535")]
Port = Annotated[PortNumber | None, tyro.conf.arg(metavar="PORT")]
TAIL = 8192
"""Bytes at the end of a run's figures that are looked at."""


def require_web() -> None:
    """Say what to install where the libraries of pages and of their database are missing."""
    try:
        import alembic  # noqa: F401
        import nicegui  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise RetornoError(f"pages, and the labels of people, need {error.name}: pip install 'retorno[web]'") from error


def is_run(where: str | Path) -> bool:
    """Whether a place is a run's folder."""
    return (Path(where) / CONFIG).exists() and (Path(where) / METRICS).parent.joinpath("policy").exists()


def labels_place(given: str | None, about: Path) -> str | Path:
    """Where labels are kept: where it was said, else in the run's folder, else beside the file or folder."""
    if given is not None:
        return given if "://" in given else Path(given).expanduser()
    return about / LABELS if is_run(about) else about.with_name(f"{about.stem or about.name}.{LABELS}")


def opened_labels(place: str | Path) -> Labels:
    """The labels there; those of a run where its folder is named.

    Raises:
        RetornoError: when they cannot be opened.
    """
    require_web()
    from retorno.labels import Labels

    return Labels.open(place)


def news_of(run: str | Path, judge: str | Path | None = None) -> Callable[[], Mapping[str, float]]:
    """How the training of a run goes, and how often its reward model is right: read anew at each call."""

    def news() -> Mapping[str, float]:
        told = {name: value for name, value in last_record(run).items() if name == "step"}
        accuracy = last_record(judge).get("accuracy") if judge is not None else None
        return told if accuracy is None else {**told, "accuracy": accuracy}

    return news


def last_record(run: str | Path) -> Mapping[str, float]:
    """The newest figures in a run's folder; nothing where there are none yet."""
    try:
        with open(Path(run) / METRICS, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            # A line that is being written has no end yet.
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            return {name: x for name, x in record.items() if isinstance(x, int | float)}
    return {}


def serve_pages(site: Site, port: int | None, page: str) -> int:
    """Serve them until Ctrl-C."""
    from retorno.labels import is_url
    from retorno.labels.opening import shown
    from retorno.web.serving import Address, serve

    place = site.labels.where
    address = Address(port, None if is_url(place) else Path(place))
    print(address.url(page), flush=True)
    note(f"labels are kept in {shown(place)}; Ctrl-C ends the pages")
    serve(site, address)
    return 0
