"""Pages and reports: nothing from elsewhere, nothing unescaped, and the right figures in the tables."""

import re
from html.parser import HTMLParser

import pytest

from retorno.core.mdp import mdp
from retorno.plots import Picture, PlotError, Section, Table, learning_curve, model_graph, page, report
from retorno.plots.report import flatten, read, run_sections
from retorno.run.folder import FolderError, RunFolder

HOSTILE = '<script>alert(1)</script>" onload="x\' & <img src=http://evil.example/x>'
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Reader(HTMLParser):
    """What a browser sees: elements, attributes, text; and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


def check_contained(text):
    """The page loads nothing, runs nothing, and uses each identifier once."""
    seen = Reader(text)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(seen.tags)
    for name, value in seen.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href", "action"):
            assert value.startswith(("#", "data:"))
        for url in re.findall(r"url\(([^)]*)\)", value or ""):
            assert url.startswith("#")
    assert "@import" not in text and "url(" not in text[: text.index("</style>")]
    ids = [value for name, value in seen.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for name, value in seen.attributes if name.endswith("href")}
    targets |= set(re.findall(r"url\(#([^)]*)\)", text))
    assert targets <= set(ids)
    return seen


def row(step, returns, **more):
    return {"step": step, "steps": 100, "returns": returns, "metrics": {"loss": 1.0 / step}, **more}


def run(folder, config, rows):
    with RunFolder.create(folder, config) as opened:
        for figures in rows:
            opened.append(figures)
    return folder


def cells(table):
    return {line[0]: list(line[1:]) for line in table.rows}


def test_a_page_is_self_contained_and_escapes_everything():
    figure = learning_curve({HOSTILE: [row(1, [1.0, 2.0]), row(2, [2.0, 3.0])], "b": [row(1, [1.0]), row(2, [0.0])]})
    graph = model_graph(mdp({HOSTILE: {HOSTILE: [(1, "end", 1.0)]}}))
    table = Table([HOSTILE, "x"], [[HOSTILE, 1], [HOSTILE, HOSTILE]], caption=HOSTILE)
    pictures = [Picture(figure, HOSTILE), Picture(figure, "again"), Picture(graph, "graph")]
    text = page(HOSTILE, [Section(HOSTILE, HOSTILE, pictures, [table], HOSTILE)], HOSTILE)
    seen = check_contained(text)
    assert seen.text.count(HOSTILE) >= 10
    assert text.count("<svg") == 3


def test_pictures_follow_the_pages_colours():
    text = page("t", [Section("s", pictures=[Picture(learning_curve({"a": [row(1, [1.0]), row(2, [2.0])]}), "c")])])
    used = set(re.findall(r"var\((--\w+)\)", text))
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    assert used <= set(re.findall(r"(--\w+):", light))
    assert {"--c22262d", "--cfefefe", "--c0072b2"} <= used & set(re.findall(r"(--\w+):", dark))


def test_numbers_in_tables_have_groups_and_stand_right():
    text = page("t", [Section("s", tables=[Table(["name", "n"], [["a", 1234567], ["b", -0.25]], marked={1})])])
    assert '<td class="n">1,234,567</td>' in text and '<td class="n">−0.25</td>' in text
    assert text.count('class="marked"') == 1 and '<tr class="marked"><th scope="row">b</th>' in text


def test_paragraphs_output_and_folding():
    text = page("t", [Section("s", "one\n\ntwo", output="a  b\nc", folded=True)])
    assert "<p>one</p>\n<p>two</p>" in text and ">a  b\nc</pre>" in text and "<details>" in text


def test_settings_are_flattened_by_hand():
    config = {
        "algorithm": {"type": "PPO", "clip": 0.2, "network": {"type": "MLP", "sizes": [64, 64]}},
        "limit": {"float": "inf"},
        "kind": {"enum": "Kind", "name": "FAST"},
        "options": {"dict": {"a": None, "b": True}},
        "wrappers": [{"type": "Clip", "low": -1}],
        "items": {"list": [1, 2]},
        "none": [],
        "steps": 100000,
        "seed": 123456,
    }
    assert flatten(config) == {
        "algorithm": "PPO",
        "algorithm.clip": "0.2",
        "algorithm.network": "MLP",
        "algorithm.network.sizes": "64, 64",
        "limit": "inf",
        "kind": "FAST",
        "options.a": "none",
        "options.b": "yes",
        "wrappers[0]": "Clip",
        "wrappers[0].low": "−1",
        "items": "1, 2",
        "none": "none",
        "steps": "100,000",
        "seed": "123456",
    }


def test_the_results_of_a_run(tmp_path):
    evaluation = {"mean": 9.0, "ci95": [8.0, 10.0], "episodes": 50, "seeds": 2, "returns": [8.5, 9.5]}
    rows = [
        row(25, [1.0, 3.0], seconds=60.0, rate=100.0),
        row(50, [None, float("nan")], seconds=70.0, rate=float("nan"), evaluation=evaluation),
        row(75, [2.0, 6.0], seconds=5.0, rate=300.0),  # Resumed: the clock began again.
    ]
    record = read(run(tmp_path / "a", {"type": "Settings"}, rows))
    assert cells(run_sections([record])[0].tables[0]) == {
        "environment steps": ["75 of 100, unfinished"],
        "seeds": ["2"],
        "return at the end": ["4, 95% interval −21.41 to 29.41"],
        "evaluation": ["9, 95% interval 8 to 10; 2 seeds × 50 episodes, at step 50"],
        "speed": ["200 steps a second (median)"],
        "time": ["1 min 15 s"],
    }


def test_a_report_shows_where_settings_differ(tmp_path):
    def config(rate):
        return {"algorithm": {"type": "PPO", "learning_rate": rate, "clip": 0.2}, "version": "0.1.0"}

    rows = [row(50, [1.0, 2.0]), row(100, [2.0, 3.0])]
    folders = [run(tmp_path / name, config(rate), rows) for name, rate in [("a", 0.1), ("<b>&", 0.2)]]
    sections = {s.heading: s for s in run_sections([read(folder) for folder in folders])}
    differing = sections["Settings that differ"].tables[0]
    assert cells(differing) == {"algorithm.learning_rate": ["0.1", "0.2"]} and set(differing.marked) == {0}
    assert cells(sections["Settings in common"].tables[0]) == {
        "algorithm": ["PPO", "PPO"],
        "algorithm.clip": ["0.2", "0.2"],
    }
    assert cells(sections["Versions"].tables[0]) == {"version": ["0.1.0", "0.1.0"]}

    seen = check_contained(report(folders, tmp_path / "out" / "page.html").read_text())
    assert seen.tags.count("svg") == 2 and "<b>&" in seen.text and "2 runs compared" in seen.text
    check_contained(report(folders[:1], tmp_path / "one.html").read_text())


def test_runs_of_one_name_are_told_apart(tmp_path):
    folders = [run(tmp_path / part / "run", {}, [row(10, [1.0])]) for part in ("x", "y")]
    text = report(folders, tmp_path / "page.html").read_text()
    assert str(folders[0]) in text and str(folders[1]) in text
    with pytest.raises(PlotError, match="twice"):
        report([folders[0], folders[0]], tmp_path / "page.html")


def test_a_run_in_which_no_episode_ended_has_a_page(tmp_path):
    folder = run(tmp_path / "a", {}, [row(10, [None])])
    assert "No episode has ended yet" in check_contained(report([folder], tmp_path / "p.html").read_text()).text


def test_what_is_not_a_run_is_said(tmp_path):
    with pytest.raises(PlotError, match="at least one run"):
        report([], tmp_path / "page.html")
    with pytest.raises(FolderError, match="not the folder of a run"):
        report([tmp_path], tmp_path / "page.html")
    with pytest.raises(PlotError, match="no figures yet"):
        report([run(tmp_path / "a", {}, [])], tmp_path / "page.html")
