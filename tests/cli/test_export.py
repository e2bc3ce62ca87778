"""What `retorno export` writes; that a graph takes the same actions is part of law 12."""

import json
import sys

import numpy as np
import onnx
import pytest

import retorno as rt
from retorno.core.errors import RetornoError
from retorno.run.export import export, onnx_model
from retorno.run.policy_folder import STRUCTURE, TENSORS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "cliff"
    with rt.train(rt.QLearning(), "cliff", 200, seed=[3, 4], folder=folder) as training:
        training.run_to_end()
    return folder


def test_the_command_writes_a_graph_that_says_what_it_is_for(run, tmp_path, cli):
    code, out, err = cli("export", run, "--out", tmp_path / "new/policy.onnx", "--seed", "4")
    assert (code, out) == (0, "") and "policy.onnx" in err
    model = onnx.load(tmp_path / "new/policy.onnx")
    facts = {each.key: each.value for each in model.metadata_props}
    assert json.loads(facts["world"])["name"] == "cliff" and facts["step"] == str(rt.load(run).step)
    assert [each.name for each in model.graph.input] == ["obs"] and [x.name for x in model.graph.output] == ["action"]
    assert model.SerializeToString() == onnx_model(rt.load(run, seed=4)).SerializeToString()


def test_what_is_exported_says_whose_it_is(run, tmp_path):
    export(run, tmp_path / "robot")  # Of the first seed, which is 3.
    facts = json.loads((tmp_path / "robot/policy.json").read_text())
    assert (
        facts["seeds"] == [3]
        and facts["algorithm"] == json.loads((run / "config.json").read_text())["algorithm"]["type"]
    )
    assert rt.load(tmp_path / "robot", seed=3).step == 200


def test_what_is_given_away_does_not_say_where_files_lie_here(run, tmp_path):
    actor = rt.load(run)
    actor.world = {"name": "/home/ada/shop.py:Shop", "hosted": None, "wrappers": ["/home/ada/less.py:Less(a='x/y')"]}
    wanted = {"name": "shop.py:Shop", "hosted": None, "wrappers": ["less.py:Less(a='x/y')"]}
    facts = {each.key: each.value for each in onnx.load(export(actor, tmp_path / "policy.onnx")).metadata_props}
    assert json.loads(facts["world"]) == rt.load(export(actor, tmp_path / "robot")).world == wanted


def test_a_full_disk_leaves_no_part_of_a_file(run, tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for out in ("policy.onnx", "robot"):
        with pytest.raises(RetornoError, match=f"{out} cannot be written: No space left"):
            export(run, tmp_path / out)
    assert not [*tmp_path.iterdir()]


def test_a_folder_is_read_back_and_is_the_policy_alone(run, tmp_path):
    export(run, tmp_path / "robot", seed=4)
    assert {file.name for file in (tmp_path / "robot").iterdir()} == {"policy.json", "policy.safetensors"}
    ours, there = rt.load(tmp_path / "robot"), rt.load(run, seed=4)
    assert [ours.act(s) for s in range(38)] == [there.act(s) for s in range(38)]
    np.testing.assert_array_equal(ours.policy.network.tables["q"], there.policy.network.tables["q"])


def test_what_was_loaded_and_a_run_are_exported_as_their_folder_is(run, tmp_path):
    rt.export(run, tmp_path / "folder", seed=4)
    rt.export(rt.load(run, seed=4), tmp_path / "loaded")
    with rt.restore(run) as training:
        rt.export(training, tmp_path / "training", seed=4)
        with pytest.raises(RetornoError, match=r"no policy of step 100: give the run's folder"):
            rt.export(training, tmp_path / "earlier", step=100)
    for name in (STRUCTURE, TENSORS):
        wanted = (tmp_path / "folder" / name).read_bytes()
        assert all((tmp_path / other / name).read_bytes() == wanted for other in ("loaded", "training")), name
    rt.export(rt.load(run), tmp_path / "graph.onnx")
    with pytest.raises(RetornoError, match="the folder of a run, a run"):
        rt.export(rt.load(run).policy, tmp_path / "other")
    with pytest.raises(RetornoError, match="no policy of seed 4"):
        rt.export(rt.load(run), tmp_path / "other", seed=4)


def test_a_run_without_a_folder_is_exported_with_its_world(tmp_path):
    with rt.train("q_learning", "cliff", 100) as training:
        training.run_to_end()
        rt.export(training, tmp_path / "robot")
    assert rt.load(tmp_path / "robot").world["name"] == "cliff"


@pytest.mark.parametrize(
    ("out", "more", "told"),
    [
        ("policy.pt", {}, "written as .onnx, or into a folder"),
        ("policy.onnx", {"seed": 7}, "no policy of seed 7"),
        ("there", {}, "is there already"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(run, tmp_path, out, more, told):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine").write_text("")
    with pytest.raises(RetornoError, match=told):
        export(run, tmp_path / out, **more)
    assert [file.name for file in tmp_path.rglob("*")] == ["there", "mine"]


def test_without_onnx_it_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setattr("retorno.run.export.find_spec", lambda name: None)
    with pytest.raises(RetornoError, match=r"pip install 'retorno\[onnx\]'"):
        export(run, tmp_path / "policy.onnx")
    assert "onnx" in sys.modules  # Of this test, not of retorno's.
