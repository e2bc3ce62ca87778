"""The notebooks of docs/ are run, in this process, by IPython's own shell: what a cell shows is what it gives.

python tests/docs/notebooks.py --write docs/first-steps.ipynb     # write what the cells show into the notebook
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pages import DOCS


def notebooks() -> list[Path]:
    return sorted(DOCS.glob("*.ipynb"))


@contextlib.contextmanager
def a_shell() -> Iterator[Any]:
    """A shell of IPython's that remembers nothing on the disk."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    settings = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell.instance(config=settings)
    try:
        yield shell
    finally:
        InteractiveShell.clear_instance()


def executed(notebook: dict[str, Any]) -> dict[str, Any]:
    """The same notebook with what its cells print and show.

    Raises:
        Exception: what a cell raises.
    """
    from IPython.utils.capture import capture_output

    cells = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), a_shell() as shell:
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                cells.append(cell)
                continue
            with shell.display_trap, capture_output() as caught:
                shell.run_cell("".join(cell["source"])).raise_error()
            printed = [
                {"output_type": "stream", "name": name, "text": text.splitlines(keepends=True)}
                for name, text in (("stdout", caught.stdout), ("stderr", caught.stderr))
                if text
            ]
            shown = [_shown(output, len(cells)) for output in caught.outputs]  # pyright: ignore[reportAttributeAccessIssue]
            cells.append({**cell, "execution_count": len(cells), "outputs": [*printed, *shown]})
    return {**notebook, "cells": cells}


def _shown(output: Any, count: int) -> dict[str, Any]:
    bundle = {kind: x.splitlines(keepends=True) if kind.startswith("text/") else x for kind, x in output.data.items()}
    if isinstance(png := bundle.get("image/png"), bytes):
        bundle["image/png"] = base64.b64encode(png).decode()
    return {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": bundle}


def write(path: Path) -> None:
    told = executed(json.loads(path.read_text(encoding="utf-8")))
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] != ["--write"] or len(sys.argv) < 3:
        sys.exit("usage: python tests/docs/notebooks.py --write docs/NAME.ipynb …")
    for each in sys.argv[2:]:
        write(Path(each))
