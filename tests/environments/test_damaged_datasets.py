"""Files of recordings that were cut short, or hold more than is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from gymnasium import spaces

from retorno.core.spaces import action_units
from retorno.environments.datasets import DatasetError, dataset


def written(folder: Path, **more: Any) -> Path:
    steps = {"observations": np.arange(5), "actions": np.zeros(5, int), "rewards": np.ones(5)}
    np.savez(folder / "data.npz", **(steps | {"terminals": np.arange(5) == 4} | more))
    return folder / "data.npz"


@pytest.mark.parametrize("kept", [0, 300, 900])
def test_a_file_that_was_cut_short_is_told(tmp_path: Path, kept: int) -> None:
    file = written(tmp_path)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DatasetError, match=r"data\.npz cannot be read as"):
        dataset(file)


def test_one_number_for_all_steps_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="got 5 of observations, 5 of actions, 1 of rewards"):
        dataset(written(tmp_path, rewards=np.float32(1)))


def test_what_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    """Objects beside the arrays of the steps, as `infos` often are."""
    beside = dataset(written(tmp_path, infos=np.array([{}] * 5, object))).lived
    assert jax.tree.all(jax.tree.map(np.array_equal, beside, dataset(written(tmp_path)).lived))


def test_actions_beyond_the_bounds_are_what_the_world_made_of_them() -> None:
    """As whoever drew them from a Gaussian recorded them."""
    units = action_units(spaces.Box(np.array([-2, 0], np.float32), np.array([10, 1], np.float32)))
    np.testing.assert_allclose(units.to_policy(np.array([[50.0, 0.5], [-3.0, -9.0]])), [[1, 0], [-1, -1]])
    endless = action_units(spaces.Box(-np.inf, np.inf, (1,)))
    np.testing.assert_allclose(endless.to_policy(np.array([50.0])), [50])
