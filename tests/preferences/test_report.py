"""What is shown of a learnt reward: the numbers are those of the run, and those that the world paid."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_learnt_reward import ALGORITHM, small, world

from retorno.core.time_step import Trajectory
from retorno.plots.preferences import recent
from retorno.plots.report import report
from retorno.preferences import LearntReward
from retorno.preferences.recorded import learnt_rewards
from retorno.run.train import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[LearntReward]]:
    """Two seeds in a random model, whose numbers are drawn as lines."""
    folder = tmp_path_factory.mktemp("runs") / "garnet"
    relabel = small(repeats=0.5, gradient_steps=20)
    with train(ALGORITHM, "garnet", 800, folder=folder, relabel=relabel, seed=[3, 5]) as training:
        training.run_to_end()
        both = jax.device_get(training.run.relabel)
    return folder, [jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), both) for i in range(2)]


def test_what_was_learnt_is_read_as_it_was(run: tuple[Path, list[LearntReward]]) -> None:
    folder, rewards = run
    read = learnt_rewards(folder)
    assert len(read) == 2
    for there, here in zip(read, rewards, strict=True):
        leaves = zip(jax.tree.leaves(there), jax.tree.leaves(here), strict=True)
        assert all(np.array_equal(a, b) for a, b in leaves)


def test_what_the_world_paid_stands_beside_what_was_learnt(run: tuple[Path, list[LearntReward]]) -> None:
    """Step by step in the order in which they were lived."""
    lived = recent(run[1][0])
    ring = run[1][0].recent
    assert lived.paid.shape == lived.predicted.shape == (4, int(ring.filled))
    newest = int(ring.newest)
    assert np.array_equal(lived.paid[:, -1], np.asarray(ring.steps.reward)[newest])
    assert np.array_equal(lived.paid[:, -2], np.asarray(ring.steps.reward)[(newest - 1) % ring.slots])
    ends = np.array([(newest - 1) % ring.slots, newest])
    rows, action = (
        jax.tree.map(lambda x, at=at: x[at], of) for of, at in ((ring.steps, ends), (ring.action, ends[:1]))
    )
    step = Trajectory(rows, action, (), ())
    assert lived.predicted[:, -1] == pytest.approx(np.asarray(run[1][0].reward(step))[0], abs=1e-5)


def test_a_page_tells_what_came_of_the_labels(run: tuple[Path, list[LearntReward]]) -> None:
    folder, rewards = run
    [page] = report([folder], folder / "report.html")
    html = page.read_text()
    assert "The learnt reward" in html and "right on held-out labels" in html and "like most" not in html
    assert "ensemble likes most (above) and least" in html and "of which answered alike" in html
    counts = [int((np.asarray(each.labelled.again) >= 0).sum()) for each in rewards]
    assert f"{np.mean(counts):g}, 95% interval" in html


def test_a_run_in_a_world_without_a_name_says_so(run: tuple[Path, list[LearntReward]], tmp_path: Path) -> None:
    """The same run, as if its world had been made in Python."""
    config = Path(shutil.copytree(run[0], tmp_path / "run")) / "config.json"
    nameless = {"name": None, "description": repr(world())}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"world": nameless}))
    [page] = report([tmp_path / "run"], tmp_path / "report.html")
    assert "What was learnt cannot be read: the run&#x27;s world was made in Python" in page.read_text()
