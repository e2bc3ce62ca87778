"""What is said beside expected values, and what the command does with it."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from retorno.cli.main import main
from retorno.figures import FIGURES, Entry
from retorno.figures.exhibit import Check, Exhibit, measured
from retorno.plots.curves import mean_reach, seed_curves


def exhibit(found: float) -> Exhibit:
    values = found + np.linspace(-1, 1, 5)[:, None] * np.ones(3)
    picture = seed_curves(np.arange(3), {"values": values}, xlabel="x", ylabel="y")
    return Exhibit(picture, ("x", "y"), [(0, 1.5), (1, 2.5)], (measured("mean", 2.0, values[:, 0]),), ("a note",))


def test_a_check_counts_the_errors_of_both_sides() -> None:
    samples = [1.0, 2.0, 3.0, 4.0]  # mean 2.5, standard error √(5/3)/2 = .645
    assert measured("x", 2.5 + 4 * 0.64, samples).agrees
    assert not measured("x", 2.5 + 4 * 0.65, samples).agrees
    assert measured("x", 2.5 + 4 * 0.65, samples, tolerance=0.1).agrees
    assert Check("x", 1.0, 1.0, 0.0).agrees and not Check("x", 1.0, 1.0 + 1e-9, 0.0).agrees


def test_bands_are_the_means_intervals() -> None:
    # Student's t with two degrees of freedom: 4.303 standard errors.
    np.testing.assert_allclose(mean_reach(np.array([[1.0], [2.0], [3.0]])), 4.3027 / np.sqrt(3), rtol=1e-4)


def test_powers_of_ten_are_numbers_and_what_is_expected_is_in_the_legend() -> None:
    x, values = np.array([1.0, 10.0, 1000.0]), {"values": np.ones((2, 3))}
    picture = seed_curves(x, values, xlabel="x", ylabel="y", expected=[(10, 1.0)], source="book", log_x=True)
    picture.draw_without_rendering()
    (axes,) = picture.axes
    assert {"1", "10", "1,000"} <= {label.get_text() for label in axes.get_xticklabels()}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["values", "expected (book)"]


def test_the_command_writes_picture_and_numbers(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(FIGURES, "mine", Entry("a line", "nobody", 5, lambda seeds: exhibit(2.0)))
    monkeypatch.setitem(FIGURES, "other", Entry("a line", "nobody", 5, lambda seeds: exhibit(9.0)))
    assert main(["figure", "mine", "--out", str(tmp_path), "--format", "svg"]) == 0
    told = capsys.readouterr().out
    assert "a line (5 seeds" in told and "note: a note" in told and "differs" not in told
    head, line = told.splitlines()[1:3]
    assert head.split() == ["expected", "found", "±", "s.e."] and line.split()[:3] == ["mean", "2", "exact"]
    assert (tmp_path / "mine.svg").stat().st_size > 1000
    with (tmp_path / "mine.csv").open() as file:
        assert list(csv.reader(file)) == [["x", "y"], ["0", "1.5"], ["1", "2.5"]]
    assert main(["figure", "mine", "other", "--out", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert "differs" in told.out and "values differ from what is expected in other" in told.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "which figure"), (["6.44"], "did you mean 6.4"), (["6.4", "--seeds", "1"], "at least 2")],
)
def test_a_figure_that_cannot_be_made_is_one_line(arguments, message, capsys) -> None:
    assert main(["figure", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_the_list_names_every_figure(capsys) -> None:
    assert main(["figure", "--list"]) == 0
    assert all(name in capsys.readouterr().out for name in list(FIGURES)[:1])
