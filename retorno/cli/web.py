"""`retorno web RUNS…`: a page in a browser that shows runs and follows them as they grow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retorno.cli.options import Runs, parse
from retorno.cli.pages import Port, require_web
from retorno.cli.terminal import note
from retorno.core.errors import RetornoError


@dataclass(frozen=True)
class Web:
    """Open a page of all runs below some folders: curves with intervals, metrics, settings that differ, films.

    It reads what runs record, and follows it: runs that begin later appear by themselves.
    """

    runs: Runs = ()
    """Folders of runs, or of many of them; runs/ where none is named."""
    port: Port = None
    """Of this machine; 8420 or one after it where it is not said."""


def run(arguments: list[str]) -> int:
    given = parse(Web, arguments, "retorno web")
    folders = [folder.expanduser() for folder in given.runs or (Path("runs"),)]
    for folder in folders:
        if not folder.is_dir():
            raise RetornoError(f"{folder} is no folder: give that of a run, or one with runs in it")
    require_web()
    from retorno.core.runtime import prepare
    from retorno.web import Site
    from retorno.web.serving import Address, serve
    from retorno.web.watched import Watched

    prepare()
    name = folders[0].resolve().name if len(folders) == 1 else f"{len(folders)} folders"
    watched = Watched(folders)
    watched.records()  # Whoever opens the page does not wait for it.
    address = Address(given.port)
    print(address.url("runs"), flush=True)
    note("Ctrl-C ends the page, and no run")
    serve(Site(name, pages=("runs",), watched=watched), address)
    return 0
