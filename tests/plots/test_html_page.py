"""Pages and reports: nothing from elsewhere, nothing unescaped, and the right figures in the tables."""

import re
from html.parser import HTMLParser

import pytest

from retorno.core.mdp import mdp
from retorno.plots import Picture, PlotError, Section, Table, learning_curve, model_graph, page, report
from retorno.plots.records import flatten, grouped, read, read_all, told_seeds
from retorno.plots.report import run_sections
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
    figure = learning_curve(
        {HOSTILE: [[row(1, [1.0, 2.0]), row(2, [2.0, 3.0])]], "b": [[row(1, [1.0]), row(2, [0.0])]]}
    )
    graph = model_graph(mdp({HOSTILE: {HOSTILE: [(1, "end", 1.0)]}}))
    table = Table([HOSTILE, "x"], [[HOSTILE, 1], [HOSTILE, HOSTILE]], caption=HOSTILE)
    pictures = [Picture(figure, HOSTILE), Picture(figure, "again"), Picture(graph, "graph")]
    text = page(HOSTILE, [Section(HOSTILE, HOSTILE, pictures, [table], HOSTILE)], HOSTILE)
    seen = check_contained(text)
    assert seen.text.count(HOSTILE) >= 10
    assert text.count("<svg") == 3


def test_pictures_follow_the_pages_colours():
    text = page("t", [Section("s", pictures=[Picture(learning_curve({"a": [[row(1, [1.0]), row(2, [2.0])]]}), "c")])])
    used = set(re.findall(r"var\((--\w+)\)", text))
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    assert used <= set(re.findall(r"(--\w+):", light))
    assert {"--c22262d", "--cfefefe", "--c0072b2"} <= used & set(re.findall(r"(--\w+):", dark))


def test_numbers_in_tables_have_groups_and_stand_right():
    text = page("t", [Section("s", tables=[Table(["name", "n"], [["a", 1234567], ["b", -0.25]], marked={1})])])
    assert '<td class="n" data-of="n">1,234,567</td>' in text and 'data-of="n">−0.25</td>' in text
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
    assert cells(run_sections(grouped([record]))[0].tables[0]) == {
        "environment steps": [f"75 of 100, stopped; go on with: retorno resume {tmp_path / 'a'}"],
        "seeds": ["2"],
        "return in training, at the end": ["2.667, 95% interval −14.27 to 19.61 over 2 seeds"],
        "evaluation": ["9, 95% interval 8 to 10 over 2 seeds × 50 episodes, at step 50"],
        "steps a second": ["200"],
        "time": ["1:15"],
    }


def config(rate=0.1, **more):
    return {"algorithm": {"type": "PPO", "learning_rate": rate, "clip": 0.2}, "version": "0.1.0", "steps": 100, **more}


ROWS = [row(50, [1.0, 2.0]), row(100, [2.0, 3.0])]
ONE = [row(50, [1.0]), row(100, [2.0])]


def test_a_report_shows_where_settings_differ(tmp_path):
    folders = [run(tmp_path / name, config(rate), ROWS) for name, rate in [("a", 0.1), ("<b>&", 0.2)]]
    groups = grouped(read_all(folders))
    assert [group.label for group in groups] == ["learning rate 0.1", "learning rate 0.2"]
    sections = {s.heading: s for s in run_sections(groups)}
    assert cells(sections["Settings that differ"].tables[0]) == {"algorithm.learning_rate": ["0.1", "0.2"]}
    assert cells(sections["Settings in common"].tables[0]) == {
        "algorithm": ["PPO"],
        "algorithm.clip": ["0.2"],
        "steps": ["100"],
    }
    assert cells(sections["Versions"].tables[0]) == {"version": ["0.1.0"]}

    seen = check_contained(report(folders, tmp_path / "out" / "page.html")[0].read_text())
    assert seen.tags.count("svg") == 4 and "2 settings compared" in seen.text  # Each for a page and for a phone.
    seen = check_contained(report(folders[1:], tmp_path / "one.html")[0].read_text())
    assert "<b>&" in seen.text


def test_runs_that_differ_in_their_seed_alone_are_one_thing(tmp_path):
    """A seed that is there twice is not counted twice."""
    # Several environments do not end on the same step.
    rows = lambda k: [row(50, [1.0]), row(100 + 2 * k, [2.0])]  # noqa: E731
    folders = [run(tmp_path / "r" / f"seed-{k}", config(seeds=[k], every=10 * k), rows(k)) for k in range(3)]
    (group,) = grouped(read_all(folders))
    assert group.label == "r" and len(group.records) == 3 and group.settings["seeds"] == "0 to 2"
    table = cells(run_sections([group])[0].tables[0])
    assert table["seeds"] == ["3"] and table["environment steps"] == ["100 to 104"]
    again = run(tmp_path / "again", config(seeds=[1]), ONE)
    assert [len(each.records) for each in grouped(read_all([*folders, again]))] == [3, 1]
    other = run(tmp_path / "other", config(seeds=[3]) | {"version": "0.2.0"}, ONE)
    assert [each.label for each in grouped(read_all([*folders, other]))] == ["version 0.1.0", "version 0.2.0"]


def test_a_label_says_what_differs_and_nothing_else(tmp_path):
    def labels(*configs):
        folders = [run(tmp_path / str(len(configs)) / str(i), each, ONE) for i, each in enumerate(configs)]
        return [group.label for group in grouped(read_all(folders))]

    def made(kind, world, **fields):
        return {"algorithm": {"type": kind, **fields}, "world": {"name": world, "hosted": None}}

    assert labels(made("PPO", "a", clip=0.1), made("DQN", "a", rate=1)) == ["PPO", "DQN"]
    assert labels(made("PPO", "a"), made("PPO", "b"), made("DQN", "/x/c.txt")) == [
        "PPO on a",
        "PPO on b",
        "DQN on c.txt",
    ]
    bases = {"clip": 0.1, "a": {"type": "E", "end": 1}, "b": {"type": "F", "end": 1}}
    ends = [
        bases,
        bases | {"b": {"type": "F", "end": 2}},
        bases | {"a": {"type": "E", "end": 3}},
        bases | {"clip": 0.3},
    ]
    assert labels(*(made("PPO", "a", **each) for each in ends)) == [
        "clip 0.1, a end 1, b end 1",
        "clip 0.1, a end 1, b end 2",
        "clip 0.1, a end 3, b end 1",
        "clip 0.3, a end 1, b end 1",
    ]


def test_seeds_are_told_briefly():
    assert told_seeds(list(range(100))) == "0 to 99" and told_seeds([0, 2, 3]) == "0, 2, 3" and told_seeds([5]) == "5"


def test_a_page_does_not_say_where_files_lie_but_for_what_tells_them_apart(tmp_path):
    def group_of(*worlds, less="/home/ada/shop/less.py:Less(share=0.5)"):
        told = [{"name": world, "wrappers": [less], "settings": {"map": "/home/ada/m/a.txt"}} for world in worlds]
        return [run(tmp_path / str(len(told)) / str(i), config(world=each), ONE) for i, each in enumerate(told)]

    (one,) = group_of("/home/ada/shop/shop.py:Shop")
    assert "ada" not in report([one], tmp_path / "page.html")[0].read_text()
    groups = grouped(read_all([one, *group_of("/home/ada/new/shop.py:Shop", "/home/ada/old/shop.py:Shop")]))
    named = [group.settings["world.name"] for group in groups]
    assert named == ["shop/shop.py:Shop", "new/shop.py:Shop", "old/shop.py:Shop"]


def test_thirty_runs_of_different_worlds_have_a_page(tmp_path):
    names = [HOSTILE, *(f"world {i}" for i in range(29))]
    folders = [
        run(tmp_path / f"r{i}", config(world={"name": None, "description": n}), ONE) for i, n in enumerate(names)
    ]
    groups = grouped(read_all(folders))
    assert [group.label for group in groups[1:]] == names[1:]
    sections = run_sections(groups[:2])
    assert [s.heading for s in sections if s.heading.startswith("Learning")] == [f"Learning: {n}" for n in names[:2]]
    (lines,) = next(s for s in run_sections(groups[:1] + groups[5:9]) if s.heading == "Settings that differ").tables
    assert len(lines.rows) == 5
    seen = check_contained(report(folders[:2], tmp_path / "page.html")[0].read_text())
    assert HOSTILE in seen.text


def test_pictures_alone(tmp_path):
    folder = run(tmp_path / "a", config(), ROWS)
    (pdf,) = report([folder], tmp_path / "new" / "slides.pdf")
    assert pdf.read_bytes().count(b"/Type /Page ") == 2
    files = report([folder], tmp_path / "slides.svg", over="updates", alone=True)
    assert [file.name for file in files] == ["slides.svg", "slides-metrics.svg"] and all(f.exists() for f in files)
    with pytest.raises(PlotError, match="nothing to draw"):
        report([run(tmp_path / "b", {}, [])], tmp_path / "b.pdf")


def test_a_run_under_way_and_one_that_was_killed(tmp_path):
    with RunFolder.create(tmp_path / "a", config(seeds=[0])) as opened:
        assert "no figures" in report([opened.path], tmp_path / "page.html")[0].read_text()
        opened.append(row(50, [1.0]))
        assert cells(run_sections(grouped(read_all([opened.path])))[0].tables[0])["environment steps"] == [
            "50 of 100, under way"
        ]
    told = cells(run_sections(grouped(read_all([tmp_path / "a"])))[0].tables[0])["environment steps"][0]
    assert told == f"50 of 100, stopped; go on with: retorno resume {tmp_path / 'a'}"


def test_why_a_run_stopped_is_told(tmp_path):
    rows = [row(50, [1.0]), {"step": 60, "failure": "NaN or infinity in metric 'kl'"}]
    folder = run(tmp_path / "a", config(), rows)
    told = cells(run_sections(grouped(read_all([folder])))[0].tables[0])["environment steps"][0]
    assert told == f"50 of 100, stopped: NaN or infinity in metric 'kl'; go on with: retorno resume {folder}"


def test_numbers_that_are_none_leave_gaps(tmp_path):
    rows = [row(50, [float("nan")], metrics={"loss": float("nan")}), row(100, [float("inf")], metrics={"loss": 1.0})]
    text = check_contained(report([run(tmp_path / "a", config(), rows)], tmp_path / "p.html")[0].read_text()).text
    assert "no episode ended" in text and "nan" not in text


def test_runs_of_one_name_are_told_apart(tmp_path):
    folders = [run(tmp_path / part / "run", {}, [row(10, [1.0])]) for part in ("x", "y")]
    text = report(folders, tmp_path / "page.html")[0].read_text()
    assert str(folders[0]) in text and str(folders[1]) in text
    with pytest.raises(PlotError, match="twice"):
        report([folders[0], folders[0]], tmp_path / "page.html")


def test_a_run_in_which_no_episode_ended_has_a_page(tmp_path):
    folder = run(tmp_path / "a", {}, [row(10, [None])])
    assert "No episode has ended yet" in check_contained(report([folder], tmp_path / "p.html")[0].read_text()).text


def test_what_is_not_a_run_is_said(tmp_path):
    with pytest.raises(PlotError, match="at least one run"):
        report([], tmp_path / "page.html")
    with pytest.raises(FolderError, match="not the folder of a run"):
        report([tmp_path], tmp_path / "page.html")
