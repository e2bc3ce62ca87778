"""What a page shows is what its code prints, and its pictures are there."""

import difflib
from pathlib import Path

import pytest
from pages import DOCS, EXACT, PICTURE, alike, comparable, executed, runnable

SEEN = ("images/page-", "images/preferences-", "images/self-play-", "images/tune", "images/which")
"""How pictures begin that show what a browser showed, and what a command of the page made."""


@pytest.mark.parametrize("page", runnable(), ids=lambda page: page.name)
def test_a_page_shows_what_its_code_prints(page, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    told = executed(text, str(page), tmp_path)
    same = comparable(told) == comparable(text) if page.name in EXACT else alike(told, text)
    other = "\n".join(difflib.unified_diff(text.splitlines(), told.splitlines(), "shown", "printed", "", "", 0, ""))
    assert same, f"run: python tests/docs/pages.py --write docs/{page.name}\n{other}"
    for name in PICTURE.findall(text):
        assert (DOCS / name).exists(), name
        assert (tmp_path / name).exists() or name.startswith(SEEN), f"{name}: no code of the page makes it"


def test_learnt_figures_may_be_near_and_words_not() -> None:
    page = "| α | 0.50 |\nSARSA −26.97 of 1,000\n"
    assert alike(page, "| α | 0.51  |\nSARSA −27.4 of 1,001\n")
    assert not alike(page, "| α | 0.70 |\nSARSA −26.97 of 1,000\n")
    assert not alike(page, "| α | 0.50 |\nSARSA 26.97 of 1,000\n")
    assert not alike(page, "| α | 0.50 |\nQ-learning −26.97 of 1,000\n")
    assert not alike(page, page + "more\n")


def test_there_are_pages() -> None:
    assert runnable()


def test_outputs_are_written_once(tmp_path: Path) -> None:
    page = "Text.\n\n```python\nx = 2\nprint(x)\n```\n\n```python\nx += 1\n```\n\nand\n\n```python\nprint(x)\n```\n"
    once = executed(page, "page", tmp_path)
    assert once.count("```text") == 2 and "```text\n2\n```" in once and "```text\n3\n```" in once
    assert executed(once, "page", tmp_path) == once


def test_an_error_has_the_pages_line(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as error:
        executed("# A page\n\n```python\n\n1 / 0\n```\n", "page.md", tmp_path)
    assert error.traceback[-1].lineno == 4  # from 0


def test_only_retorno_is_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a page runs retorno alone, got"):
        executed("```console\n$ rm x\n```\n", "page", tmp_path)


def test_rounding_is_not_compared() -> None:
    assert comparable("loses 1.1e-12") == comparable("loses 8e-13") != comparable("loses 1.1e-09")
