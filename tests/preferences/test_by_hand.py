"""Comparing in a terminal or a notebook says the same as the page, and nothing is lost when somebody leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retorno.labels import Labels, shown_order
from retorno.preferences.by_hand import BELOW, GAP, beside, compare, in_notebook, in_terminal
from retorno.preferences.clips import Clips, Film
from retorno.preferences.judges import QUERY


class Drawn(Clips):
    """Draws a segment as one picture of its number."""

    def __init__(self) -> None:
        pass

    def film(self, segment: Any) -> Film:
        return Film([np.full((24, 24, 3), segment["number"], np.uint8)], 40.0)


@pytest.fixture
def labels(tmp_path: Path) -> Any:
    opened = Labels.open(tmp_path / "labels.db")
    opened.add(QUERY, [{"segments": [{"number": 2 * n}, {"number": 2 * n + 1}]} for n in range(4)])
    yield opened
    opened.close()


def answering(*typed: str) -> Any:
    left = iter(typed)

    def ask(_: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return ask


def test_who_is_asked_sees_what_their_answer_is_about(labels: Labels) -> None:
    shown: list[np.ndarray] = []
    keep = lambda frames, _: shown.append(frames[-1])  # noqa: E731
    assert compare(labels, Drawn(), "Ana", ask=answering("1", "2", "oh", "=", "?"), show=keep) == 4
    said = {one.query.id: one.label.content["share"] for one in labels.labelled(QUERY)}
    for (query, share), picture, chosen in zip(sorted(said.items()), shown, (1.0, 0.0, 0.5, None), strict=True):
        left, right = int(picture[0, 0, 0]), int(picture[0, -1, 0])
        assert [left % 2, right % 2] == shown_order(query, "Ana", 2)
        first = chosen if chosen is None or left < right else 1 - chosen
        assert share == first


def test_an_answer_is_taken_back_and_what_is_left_is_asked_of_others(labels: Labels) -> None:
    typed = ("1", "u", "2", "s", "r", "=", "q")
    assert compare(labels, Drawn(), "Ana", ask=answering(*typed), show=lambda *_: None) == 2
    held = list(labels.labelled(QUERY))
    assert len(held) == 2
    assert held[0].label.content["share"] == float(shown_order(held[0].query.id, "Ana", 2)[0])
    # Ana left before the last one; it is nobody's.
    assert compare(labels, Drawn(), "Bea", ask=answering("1", "1"), show=lambda *_: None) == 2


def test_what_is_skipped_comes_again_after_all_others(labels: Labels) -> None:
    """A run waits for all that it has asked: who labels alone would keep it for ever."""
    asked: list[int] = []
    order = lambda frames, _: asked.append(int(frames[0][0, [0, -1], 0].min()) // 2)  # noqa: E731
    assert compare(labels, Drawn(), "Ana", ask=answering("s", "1", "s", "1", "s", "1", "1"), show=order) == 4
    assert asked == [0, 1, 2, 3, 0, 2, 0]


def test_who_is_interrupted_leaves_what_was_asked_to_others(labels: Labels) -> None:
    def interrupted(_: str) -> str:
        raise KeyboardInterrupt

    assert compare(labels, Drawn(), "Ana", ask=interrupted, show=lambda *_: None, wait=True) == 0
    lent = [labels.lend(QUERY, "Bea"), labels.lend(QUERY, "Cai"), labels.lend(QUERY, "Dan"), labels.lend(QUERY, "Eva")]
    assert len({each.id for each in lent if each is not None}) == 4


def test_several_are_put_in_order_by_the_numbers_at_which_they_are_shown(labels: Labels) -> None:
    [query] = labels.add(QUERY, [{"segments": [{"number": n} for n in range(3)]}])
    labels.keep_only(QUERY, [query])
    shown: list[np.ndarray] = []
    typed = answering("2 2", "3", "2 1=3")
    assert compare(labels, Drawn(), "Ana", ask=typed, show=lambda frames, _: shown.append(frames[0])) == 1
    [one] = labels.labelled(QUERY)
    order = shown[0][-1, 23 :: 24 + GAP, 0].tolist()
    assert order == shown_order(query, "Ana", 3)
    assert [one.label.content["ranks"][each] for each in order] == [1, 0, 1]


def test_one_is_rated(labels: Labels) -> None:
    [query] = labels.add(QUERY, [{"segments": [{"number": 7}]}])
    labels.keep_only(QUERY, [query])
    shown: list[np.ndarray] = []
    asked: list[str] = []
    typed = answering("8", "0", "6")
    ask = lambda text: asked.append(text) or typed(text)  # noqa: E731
    assert compare(labels, Drawn(), "Ana", ask=ask, show=lambda frames, _: shown.append(frames[0]), levels=7) == 1
    [one] = labels.labelled(QUERY)
    assert one.label.content == {"ratings": [6], "of": 7} and "from 1 to 7" in asked[0]
    assert np.all(shown[0] == 7), "no number stands on it"


def test_two_clips_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    short, long = (
        Film([np.zeros((4, 6, 3), np.uint8)], 40.0),
        Film([np.full((6, 5, 3), n, np.uint8) for n in (1, 2)], 40.0),
    )
    both = beside([short, long])
    assert [frame.shape for frame in both.frames] == [(6, 6 + GAP + 5, 3)] * 2
    assert both.frames[1][0, 0, 0] == 0 and both.frames[1][0, -1, 0] == 2 and both.frames[1][5, 0, 0] == 255
    in_terminal(*both)
    lines = capsys.readouterr().out.splitlines()
    assert all("▀" in line for line in lines) and "2;2;2" in lines[0]
    in_notebook(*both)
    capsys.readouterr()
    in_terminal([np.zeros((60, 20, 3), np.uint8)], 40.0)
    assert len(capsys.readouterr().out.splitlines()) <= 24 - BELOW, "what is taller than a terminal is not drawn over"
