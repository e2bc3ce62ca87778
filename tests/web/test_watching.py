"""The page of runs, in a real browser: what is recorded is shown, as it grows, and nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retorno.cli import web as command
from retorno.core.errors import RetornoError
from retorno.web import Site
from retorno.web.serving import Address, kept_token
from retorno.web.watched import Watched, file_of, open_pages, runs_below

EVIL = "<img src=x onerror=alert(1)>"


def record(folder: Path, steps: int, step: float = 0.1, algorithm: str = "PPO", world: str = "CartPole-v1") -> None:
    """A run of 1,000 steps that has come so far."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"type": algorithm, "learning_rate": step}
    config = {"algorithm": settings, "world": {"name": world}, "steps": 1_000, "seeds": [0], "every": 100}
    (folder / "config.json").write_text(json.dumps(config))
    rows = [
        {
            "step": at,
            "steps": 1_000,
            "updates": 1,
            "seconds": 0.5,
            "returns": [at / 10],
            "lengths": [10.0],
            "episodes": [3],
            "rate": 200.0,
            "metrics": {"loss": 1 / at},
        }
        for at in range(100, steps + 1, 100)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    record(tmp_path / "runs" / "one", 1_000)
    record(tmp_path / "runs" / "deep" / EVIL, 500, 0.2, world=EVIL)
    return tmp_path / "runs"


def test_runs_are_listed_drawn_and_followed(visit: Callable[..., Any], runs: Path) -> None:
    """One is chosen after the other; a run that goes on and one that begins appear by themselves."""
    page = visit(Site("runs", pages=("runs",), watched=Watched([runs])), "runs")
    page.set_default_timeout(60_000)
    page.get_by_text("2 runs, 0 under way").wait_for()
    lines = page.locator("table.q-table tbody tr")
    told = " ".join(lines.all_inner_texts())
    assert "1,000 (100%)" in told and "500 (50%)" in told and "stopped" in told and EVIL in told
    page.locator(".chart svg").nth(1).wait_for()
    differ = page.locator(".plain").first.inner_text()
    assert "learning_rate" in differ and "0.2" in differ and page.get_by_text("Settings that differ").count() == 1

    record(runs / "deep" / EVIL, 900, 0.2, world=EVIL)
    record(runs / "later", 300)
    page.get_by_text("3 runs, 0 under way").wait_for()
    page.get_by_text("900 (90%)").wait_for()

    page.locator(".finder input").fill("later")
    page.wait_for_function("document.querySelectorAll('table.q-table tbody tr').length == 1")
    later = page.locator(".details").get_by_text("later", exact=True)
    later.wait_for()
    for state in ("detached", "visible"):
        page.locator("table.q-table thead .q-checkbox").click()
        later.wait_for(state=state)


def test_pages_of_a_run_that_are_served_are_a_link_away(visit: Callable[..., Any], runs: Path) -> None:
    """While somebody serves them; what else is written in a folder is no link."""
    page = visit(Site("runs", pages=("runs",), watched=Watched([runs])), "runs")
    page.get_by_text("2 runs").wait_for()
    (runs / "one" / "evil-page").write_text("http://127.0.0.1:1/compare?token=x\njavascript:alert(1)")
    (runs / "one" / "gone-page").write_text("http://127.0.0.1:1/rank?token=x")
    address = Address(0, runs / "one" / "labels.db")
    with address.told("compare"):
        link = page.get_by_role("link", name="one: Compare")
        link.wait_for()
        assert link.get_attribute("href") == address.url("compare")
        assert open_pages(runs / "one") == {"compare": address.url("compare")}
        file = runs / "one" / "labels.db-page"
        assert file.stat().st_mode & 0o777 == 0o600
    address.socket.close()
    link.wait_for(state="detached")
    assert not file.exists() and kept_token(runs / "one" / "labels.db-token") == address.token


def test_only_films_pictures_and_reports_of_a_run_are_given(visit: Callable[..., Any], runs: Path) -> None:
    (runs / "one" / "film.gif").write_bytes(b"GIF89a")
    (runs / "secret.png").write_bytes(b"secret")
    (runs / "one" / "away.png").symlink_to(runs / "secret.png")
    page = visit(Site("runs", pages=("runs",), watched=Watched([runs])), "runs")
    page.get_by_text("2 runs").wait_for()
    home = page.url.rsplit("/", 1)[0]
    ask = lambda name, run="one": page.request.get(f"{home}/file", params={"run": run, "file": name})  # noqa: E731
    film = ask("film.gif")
    assert film.status == 200 and film.headers["content-type"] == "image/gif" and film.body() == b"GIF89a"
    for name in ("../secret.png", "away.png", "config.json", "", "/etc/passwd", "film.gif\0.png", "%2e%2e/secret.png"):
        assert ask(name).status == 404
    assert ask("film.gif", "..").status == 404 and ask("film.gif", "nothing").status == 404


def test_what_lies_within_a_run_is_no_run_and_what_is_damaged_is_left_out(runs: Path) -> None:
    record(runs / "one" / "checkpoints" / "inner", 100)
    (runs / "broken").mkdir()
    (runs / "broken" / "config.json").write_text("{")
    for name, line in (("told", {"step": 100, "evaluation": "good"}), ("worded", {"step": 100, "returns": "many"})):
        record(runs / name, 100)
        (runs / name / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    watched = Watched([runs])
    assert sorted(path.name for path in runs_below(runs)) == sorted([EVIL, "broken", "one", "told", "worded"])
    assert set(watched.records()) == {"one", f"deep/{EVIL}"}
    assert watched.records()["one"] is watched.records()["one"], "what did not grow is not read again"
    assert file_of(runs / "one", "config.json") is None
    assert set(Watched([runs / "one"]).records()) == {"one"}
    (runs / "one" / "metrics.jsonl").unlink()
    assert watched.drawn([watched.records()["one"]]) == ([], None), "what has no figures yet is no picture"


def test_the_command_refuses_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RetornoError, match="is no folder: give that of a run"):
        command.run([str(tmp_path / "nothing")])
