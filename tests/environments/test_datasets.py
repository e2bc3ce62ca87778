"""Data sets on disk: the same episodes from each format, and one clear error where something is amiss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from gymnasium import spaces

import retorno as rt
from retorno.algorithms import BehaviourCloning
from retorno.cli.runs import next_steps
from retorno.environments.datasets import DatasetError, dataset, space_of, told_space
from retorno.environments.registry import WorldName
from retorno.networks import MLP
from retorno.run.data import fitted, within

OBS = np.arange(14, dtype=np.float32).reshape(7, 2)
FLAT = {
    "observations": OBS[[0, 1, 2, 4, 5]],
    "next_observations": OBS[[1, 2, 3, 5, 6]],
    "actions": np.array([0, 1, 0, 1, 1]),
    "rewards": np.array([1.0, 2.0, 3.0, 4.0, 5.0], np.float32),
    "terminals": np.array([0, 0, 1, 0, 0]),
    "timeouts": np.array([0, 0, 0, 0, 1]),
}
"""Two episodes: rows 0 to 3, which ended, and rows 4 to 6, which were cut."""


def written(folder: Path, **changed: Any) -> Path:
    held = {name: x for name, x in (FLAT | changed).items() if x is not None}
    np.savez(folder / "data.npz", **held)
    return folder / "data.npz"


def minari(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    with h5py.File(folder / "data" / "main_data.hdf5", "w") as file:
        for number, (rows, steps, ended) in enumerate((((0, 4), (0, 3), True), ((4, 7), (3, 5), False))):
            group = file.create_group(f"episode_{number}")
            group["observations"] = OBS[slice(*rows)]
            group["actions"], group["rewards"] = FLAT["actions"][slice(*steps)], FLAT["rewards"][slice(*steps)]
            group["terminations"] = np.array([*[False] * (steps[1] - steps[0] - 1), ended])
            group["truncations"] = ~group["terminations"][()]
            group.create_group("infos")
    box = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-np.inf, 0.0], "high": [20.0, 20.0]}
    about = {"observation_space": json.dumps(box), "action_space": json.dumps({"type": "Discrete", "n": 3, "start": 0})}
    (folder / "data" / "metadata.json").write_text(json.dumps(about))
    return folder


def check(world: Any) -> None:
    """Both in one column: the final row is that of the episode, and only the one that ended has discount 0."""
    steps = world.lived.steps
    order = np.argsort(np.asarray(steps.obs)[0, :, 0]) if steps.last.shape[1] > 1 else [0]
    rows = [np.asarray(x)[:, order].T.reshape(-1, *x.shape[2:]) for x in (steps.obs, steps.discount, steps.reward)]
    lived = np.asarray(steps.obs)[:, order].transpose(1, 0, 2).reshape(-1, 2)
    np.testing.assert_array_equal(lived[:7], OBS)
    np.testing.assert_array_equal(rows[1][:7], [1, 1, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(rows[2][:7], [0, 1, 2, 3, 0, 4, 5])
    assert world.transitions == 5


def test_each_format_holds_the_same(tmp_path: Path) -> None:
    flat = dataset(written(tmp_path))
    check(flat)
    assert flat.action_space == spaces.Discrete(2) and flat.observation_space.shape == (2,)
    world = dataset(minari(tmp_path / "minari"))
    check(world)
    assert world.action_space == spaces.Discrete(3) and world.observation_space.high.tolist() == [20.0, 20.0]
    check(dataset(written(tmp_path, terminals=None, dones=FLAT["terminals"])))


def test_what_came_after_a_cut_has_to_be_known(tmp_path: Path) -> None:
    """Without next observations the last step of the second episode leads nowhere: it is left out."""
    assert dataset(written(tmp_path, next_observations=None)).transitions == 4


def test_long_episodes_in_pieces(tmp_path: Path) -> None:
    world = dataset(written(tmp_path), cut=2)
    steps, counted = world.lived.steps, np.asarray(world.lived.transitions)
    assert world.transitions == 5 and np.asarray(steps.first).sum() == 3
    assert (counted & (np.asarray(steps.discount)[1:] == 0)).sum() == 1


def test_what_ended_and_was_cut_did_not_terminate_where_dones_say_it(tmp_path: Path) -> None:
    """As replay buffers keep it; who tells of terminals may have had both at once."""
    both = {"terminals": None, "timeouts": np.arange(5) == 2}

    def terminated(**more: Any) -> int:
        lived = dataset(written(tmp_path, **both | more)).lived
        return int((np.asarray(lived.transitions) & (np.asarray(lived.steps.discount)[1:] == 0)).sum())

    assert terminated(dones=both["timeouts"]) == 0 and terminated(terminated=both["timeouts"]) == 1


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    masks = {"action_masks": np.ones((5, 2)), "infos/qpos": np.ones(5)}
    with pytest.warns(UserWarning, match="nothing is learnt from action_masks, which"):
        dataset(written(tmp_path, **masks))
    with h5py.File(tmp_path / "groups.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.ones(3)
    with pytest.raises(DatasetError, match=r"has no observations .* it holds data/demo_0/actions"):
        dataset(tmp_path / "groups.hdf5")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rewards": None}, r"has no rewards \(nor reward, rews, rew\): it holds observations"),
        ({"actions": np.zeros(4, int)}, "one entry for each step, got 5 of observations, 4 of actions"),
        ({"rewards": np.array([0, np.nan, 0, 0, 0])}, "rewards of episode 0 hold NaN"),
        ({"rewards": np.ones((5, 2))}, r"rewards are one number for each step, got an array of shape \[5, 2\]"),
        ({"rewards": np.full(5, 1e300)}, "rewards of episode 0 hold .* more than 32 bits do"),
        ({"observations": OBS[:5].astype(float) * 1e300}, "observations of episode 0 hold .* more than 32 bits do"),
        ({"actions": np.arange(5) + 2**40}, "actions of episode 0 hold .* more than 32 bits do"),
        ({"terminals": np.full(5, 0.5)}, r"terminals are true or false, 1 or 0, got 0\.5 to 0\.5"),
        ({"observations": np.array([{}] * 5, object)}, "cannot be read as .npz without objects"),
    ],
)
def test_what_is_amiss_is_told(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        dataset(written(tmp_path, **changed))


def test_what_another_world_shows_or_takes_is_refused(tmp_path: Path) -> None:
    """An action that is not there would be learnt as the last one, in silence."""
    with pytest.raises(DatasetError, match=r"observations of episode 0 are not CartPole-v1's: shape \[2\] where Box"):
        dataset(written(tmp_path), world="CartPole-v1")
    four = {"observations": np.zeros((5, 4)), "next_observations": np.zeros((5, 4)), "actions": np.arange(5)}
    with pytest.raises(DatasetError, match=r"actions of episode 0 are not CartPole-v1's: from 0 to 2 where Discrete"):
        dataset(written(tmp_path, **four), world="CartPole-v1")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"actions": [5, 6, 7]}, r"actions of episode 0 are not its metadata's: from 5 to 7 where Discrete\(3\)"),
        ({"actions": [0.5, 1, 2]}, r"from 0\.5 to 2 where Discrete\(3\)"),
        ({"observations": np.zeros((4, 3))}, r"observations of episode 0 are not its metadata's: shape \[3\]"),
    ],
)
def test_what_a_data_set_says_of_itself_is_held_against_what_it_holds(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    folder = minari(tmp_path / "minari")
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        for name, x in changed.items():
            del file["episode_0"][name]
            file["episode_0"][name] = x
    with pytest.raises(DatasetError, match=message):
        dataset(folder)


def test_what_others_write_in_columns_and_as_floats_is_read_as_it_is_meant(tmp_path: Path) -> None:
    floats = {"actions": FLAT["actions"].astype(np.float32), "rewards": FLAT["rewards"][:, None]}
    four = {
        "observations": np.zeros((5, 4)),
        "next_observations": np.zeros((5, 4)),
        "terminals": FLAT["terminals"][:, None],
    }
    world = dataset(written(tmp_path, **floats, **four), world="CartPole-v1")
    assert np.issubdtype(world.lived.action.dtype, np.integer) and world.transitions == 5


@pytest.mark.parametrize(
    ("name", "recorded", "space"),
    [
        ("actions", np.array([[0], [2], [1], [0], [1]]), spaces.MultiDiscrete([3])),
        ("actions", np.array([-1, 0, 1, 0, 1]), spaces.Discrete(3, start=-1)),
        ("actions", np.array([True, False, False, True, True]), spaces.Discrete(2)),
        ("observations", np.zeros((5, 4, 3), np.uint8), spaces.Box(0, 255, (4, 3), np.uint8)),
    ],
)
def test_spaces_are_told_from_what_was_recorded(tmp_path: Path, name: str, recorded: Any, space: Any) -> None:
    seen = {} if name == "actions" else {"next_observations": recorded}
    world = dataset(written(tmp_path, **{name: recorded}, **seen))
    assert space == (world.action_space if name == "actions" else world.observation_space)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no data set at"):
        dataset(tmp_path / "none.npz")
    with pytest.raises(DatasetError, match=r"holds no main_data\.hdf5"):
        dataset(tmp_path)


def test_a_run_finds_its_data_again_or_says_that_it_changed(tmp_path: Path) -> None:
    data = written(tmp_path)
    method = BehaviourCloning(network=MLP((8,)), num_envs=1)
    with rt.train(method, dataset(data), 40, folder=tmp_path / "run", every=20) as training:
        next(told for told in training if told.boundary)
    with rt.resume(tmp_path / "run") as training:
        training.run_to_end()
        assert training.step >= 40
    written(tmp_path, rewards=FLAT["rewards"] + 1)
    with pytest.raises(Exception, match="is not what it was when the run began"):
        rt.resume(tmp_path / "run")


SLOWER = BehaviourCloning(optimiser=rt.Adam(1e-4, max_gradient_norm=1.0))
"""Settings in which nobody says how many columns are learnt from at once."""


def test_a_data_set_is_given_by_its_place_in_python_too(tmp_path: Path) -> None:
    """As by the command: cut, no more columns than there are, and the run finds it again."""
    data = written(tmp_path)
    with rt.train("behaviour_cloning", data, 40, folder=tmp_path / "run", every=40) as training:
        training.run_to_end()
        assert training.algorithm.num_envs == training.world.columns == 2
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["world"]["settings"]["source"] == str(data) and config["world"]["settings"]["digest"]
    # Files with code of one's own, of other tests, would stand in between.
    assert f"evaluate {tmp_path / 'run'} --world WORLD" in next_steps(tmp_path / "run")
    with rt.resume(tmp_path / "run", steps=80) as training:
        assert training.run_to_end() is not None
    for given in (BehaviourCloning, BehaviourCloning()):
        assert rt.train(given, str(data), 40).algorithm.num_envs == 2
    assert rt.train(BehaviourCloning(), dataset(data), 40).algorithm.num_envs == 2
    # The usual number is refused as another one is where it was said, then as by `resume` later.
    for said in (BehaviourCloning.COLUMNS, 64):
        with pytest.raises(ValueError, match=f"num_envs={said} columns are drawn at once, and only 2 were recorded"):
            rt.train(BehaviourCloning(num_envs=said), str(data), 40)
    assert rt.train("sft", str(data), 40).algorithm.num_envs == 2
    with pytest.warns(UserWarning, match=r"settings differ"), rt.resume(tmp_path / "run", algorithm=SLOWER) as training:
        assert training.algorithm.num_envs == 2
    with pytest.raises(DatasetError, match=r"is a run, .*: give it what that run does, retorno\.record\('.*run'\)"):
        rt.train("iql", tmp_path / "run")
    with pytest.raises(DatasetError, match="no data set at"):
        rt.train("iql", tmp_path / "none.npz")


@pytest.mark.parametrize("compare", [rt.study, rt.tune])
def test_where_nothing_is_lived_there_are_no_returns_to_compare(tmp_path: Path, compare: Any) -> None:
    """Whether recordings are given by their place, as in Python and by the command, or as a world."""
    data = written(tmp_path)
    for world in (data, WorldName(str(data)), dataset(data)):
        with pytest.raises(DatasetError, match=r"holds recordings: nothing is lived .* retorno\.evaluate"):
            compare("iql", world)


def test_spaces_are_read_as_they_are_written() -> None:
    parts = [spaces.Discrete(3, start=2), spaces.MultiBinary(4), spaces.Box(-1, np.inf, (2, 3), np.float64)]
    whole = spaces.Dict({"all": spaces.Tuple(parts), "many": spaces.MultiDiscrete([2, 5], start=[1, -1])})
    assert space_of(json.loads(json.dumps(told_space(whole)))) == whole


def test_episodes_are_cut_for_who_remembers_nothing(tmp_path: Path) -> None:
    steps = 40
    held = {
        "observations": np.zeros((steps, 2), np.float32),
        "next_observations": np.zeros((steps, 2), np.float32),
        "actions": np.arange(steps) % 2,
        "rewards": np.ones(steps, np.float32),
        "terminals": np.arange(steps) == steps - 1,
    }
    np.savez(tmp_path / "long.npz", **held)
    source = {"source": str(tmp_path / "long.npz")}
    rows = lambda network, **more: fitted(  # noqa: E731
        BehaviourCloning(num_envs=32, network=network), source | more
    )[0].lived.steps.last.shape[0]
    assert rows(MLP()) == 256 // 32 + 1
    assert rows(rt.networks.GRU()) == steps + 1
    assert rows(MLP(), cut=20) == 21


def test_of_little_data_no_more_columns_are_drawn_than_there_are(tmp_path: Path) -> None:
    few = dataset(written(tmp_path), cut=1)
    assert within(BehaviourCloning(), few).num_envs == few.columns == 5
    assert within(BehaviourCloning(num_envs=4), few).num_envs == 4
    assert within(BehaviourCloning(), rt.make("student")).num_envs == BehaviourCloning.COLUMNS
