"""What a notebook of docs/ shows is what its cells give, and progress is one line."""

import io
import json

import pytest
from notebooks import executed, notebooks
from pages import alike

from retorno.run.progress import OneLine


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.name)
def test_a_notebook_shows_what_its_cells_give(path) -> None:
    kept = json.loads(path.read_text(encoding="utf-8"))
    told = executed(kept)
    outputs = [
        (a["outputs"], b["outputs"]) for a, b in zip(kept["cells"], told["cells"], strict=True) if "outputs" in a
    ]
    assert all(shown for _, shown in outputs), "a cell of this notebook shows nothing"
    for before, now in outputs:
        assert len(before) == len(now) == 1, f"run: python tests/docs/notebooks.py --write docs/{path.name}"
        (before,), (now,) = before, now
        assert before["data"].keys() == now["data"].keys() and now["data"].keys() & {"text/html", "image/png"}
        for kind in ("text/plain", "text/html"):
            assert alike("".join(before["data"].get(kind, "")), "".join(now["data"].get(kind, ""))), kind


def test_progress_is_one_line_that_is_wiped_out(monkeypatch) -> None:
    shown = io.StringIO()
    line = OneLine(shown)
    monkeypatch.setattr("retorno.run.progress.LINE_SECONDS", 0.0)
    for share in (0.0, 0.5, 1.0):
        line(share, "learning")
    line.wipe()
    assert "\n" not in shown.getvalue() and shown.getvalue().count("\r") == 5
    assert " 50%  learning" in shown.getvalue() and not shown.getvalue().rsplit("\r", 2)[1].strip()
