"""What `retorno export` writes; that a graph takes the same actions is part of law 12."""

import json
import sys

import numpy as np
import onnx
import pytest

import retorno as rt
from retorno.core.errors import RetornoError
from retorno.run.export import export, onnx_model


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
