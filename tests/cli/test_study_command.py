"""`retorno study` as a teacher meets it."""

import csv
import json

import pytest

from retorno.run import study as module

LINE = ["study", "q_learning", "--world", "student", "--over", "step_size=.1,.5", "--seeds", "2", "--episodes", "12"]


@pytest.fixture
def study(cli, tmp_path, monkeypatch):
    """Run `retorno study` in an empty folder, with several stretches in a small study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "FEWEST_SEEN", 0)
    return lambda *more: cli(*LINE, "--steps", "400", *more)


def test_the_line_gives_a_table_a_picture_and_every_point_and_again_the_same(study, tmp_path, monkeypatch):
    code, out, err = study("--picture", "out.pdf", "--csv", "out.csv")
    assert code == 0, err
    assert "the exact optimum is 6" in out and out.count("q_learning") == 2 and "kept in runs/study-student-1" in err
    assert (tmp_path / "out.pdf").read_bytes()[:4] == b"%PDF"
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = tmp_path / "runs/study-student-1/results.csv"
    assert len(rows) == 2 * 2 * 12 and kept.read_text() == (tmp_path / "out.csv").read_text()
    monkeypatch.setattr(module, "Lives", None)  # The same line lives nothing again, and neither does `resume`.
    assert study()[:2] == (0, out) and not (tmp_path / "runs/study-student-2").exists()
    code, told, _ = study("--json", "--picture", "again.svg")
    assert code == 0 and json.loads(told)["settings"][1]["values"] == {"step_size": 0.5}
    assert "<svg" in (tmp_path / "again.svg").read_text()


def test_resume_goes_on_with_a_study(study, cli, monkeypatch):
    def killed(share, told):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("retorno.cli.study.Lines", lambda: killed)
        assert study("--folder", "kept")[0] == 130
    code, out, err = cli("resume", "kept")
    assert code == 0 and "q_learning  0.5" in out, err
    assert cli("resume", "kept", "--steps", "9")[0] == 2
    assert "it holds a study, which `retorno resume kept` shows" in cli("evaluate", "kept")[2]


@pytest.mark.parametrize(
    "line",
    [["study", "dqn", "CartPole-v1"], ["tune", "dqn", "CartPole-v1"], ["bsuite", "dqn"]],
    ids=lambda line: line[0],
)
def test_an_option_of_another_kind_of_part_is_told_whose_it_is(cli, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    for option, of in (("--network.channels", "not of mlp"), ("--channels", "not of mlp"), ("--lerning-rate", "mean")):
        code, out, err = cli(*line, option, "3")
        assert (code, out) == (2, "") and f"no option or hyperparameter {option}; " in err and of in err, err
    # Of a part that is chosen in the same line it is known.
    code, _, err = cli(*line, "--replay.colour", "3", "--network", "cnn", "--network.channels", "[3]")
    assert code == 2 and "hyperparameter --replay.colour" in err, err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["q_learning"], "which world?"),
        (["--world", "cliff"], "which algorithms?"),
        (["q_learning", "sarsaa", "--world", "cliff"], "did you mean sarsa"),
        (["q_learning", "cliff", "--episodse", "9"], "did you mean --episodes"),
        (["q_learning", "cliff", "--epsilom", ".1,.2"], "did you mean --epsilon"),
        (["q_learning", "cliff", "--over", "step_size"], "expected NAME=VALUE"),
        (["q_learning", "cliff", "--picture", "out.doc"], ".png or .svg or .pdf"),
        (["q_learning", "cliff", "--csv", "out.xlsx"], "written as .csv"),
        (["q_learning", "cliff", "--seeds", "0"], "--seeds is how many"),
        (["q_learning", "cliff", "--alpha", "2"], "overshoots"),
        (["q_learning", "cliff", "--measure", "retrun"], "did you mean return"),
    ],
)
def test_nonsense_is_one_line_and_nothing_is_lived(cli, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "Lives", None)
    code, out, err = cli("study", *arguments)
    assert (code, out) == (2, "") and told in err and not list(tmp_path.iterdir()), err
