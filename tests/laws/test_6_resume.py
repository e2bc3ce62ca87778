"""Law 6: a run that is killed and gone on with in a fresh process ends as if nothing had happened, to the bit."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import survivor
from cases import ALIKE, main, mostly
from small import ALGORITHMS, FAMILIES, NETWORK, Judged, busy_world, small

from retorno.algorithms import ALGORITHMS as REGISTERED
from retorno.core.environment import World
from retorno.core.policy import Algorithm, RelabelConfig
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.hosted.sync_environments import Keepers
from retorno.environments.registry import make
from retorno.environments.text.recall import Recall
from retorno.models.tabular import Exact
from retorno.networks import MLP, NETWORKS
from retorno.run import checkpoint
from retorno.run.relabel import ICM, RELABELS, RND, ClipRewards, CountBonus, HashBonus, InTurn
from retorno.run.resume import resume
from retorno.run.train import train

PATIENCE = 900
"""Seconds for one process, which takes a few minutes on a busy machine with nothing compiled yet."""


def live(folder: Path, runs: Sequence[str], kill_at: int = 0, kill_after: float | None = None) -> dict[str, str] | None:
    """One process: the digests that it ends with, or None where it was killed."""
    command = [sys.executable, survivor.__file__, str(folder), str(kill_at), *runs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if kill_after is not None:
            while process.stdout.readline() not in ("under way\n", ""):
                pass
            time.sleep(kill_after)
            process.kill()
        out, _ = process.communicate(timeout=PATIENCE)
    if process.returncode == -signal.SIGKILL:
        return None
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def killed_again_and_again(folder: Path, runs: Sequence[str]) -> tuple[int, dict[str, str]]:
    """How often it was killed, and the digests of all runs at the end."""
    rng, killed = random.Random(runs[0]), 0
    # At a random sync of the first hundred, then at a random moment.
    for kill in ({"kill_at": rng.randint(1, 100)}, {"kill_after": rng.uniform(0, 0.3)}):
        ended = live(folder, runs, **kill)
        if ended is not None:
            return killed, ended
        killed += 1
    ended = live(folder, runs)
    assert ended is not None
    return killed, ended


def uninterrupted(run: str) -> str:
    """The digest of a run that nothing stops."""
    with contextlib.closing(survivor.begin(*run.split())) as training:
        training.run_to_end()
        return training.digest


A_FEW = [f"{name} {kind}" for name, kind in zip(FAMILIES[:4], cycle(survivor.KINDS), strict=False)]
"""A fresh process reads all that is learnt in the same way: by a few families each collector is met. That the state of
each algorithm goes on, and of each family with both collectors, is seen in one process, below."""
OTHERS = [f"{name} {kind}" for name, kind in product(ALGORITHMS, survivor.KINDS)]
ABREAST = 8
"""Runs that are killed together: a process for each would mostly import."""


def abreast(runs: Sequence[str]) -> list[Sequence[str]]:
    return [runs[i : i + ABREAST] for i in range(0, len(runs), ABREAST)]


@pytest.mark.parametrize(
    "runs",
    mostly(
        [A_FEW],
        [A_FEW, *abreast([run for run in OTHERS if run not in A_FEW])],
    ),
    ids=lambda runs: runs[0],
)
def test_runs_survive_sigkill(tmp_path: Path, runs: Sequence[str]) -> None:
    """Those that nothing stops come first: their compiled programs are kept for the others."""
    whole = {run: uninterrupted(run) for run in runs}
    killed, ended = killed_again_and_again(tmp_path, runs)
    assert killed
    assert ended == whole


def check_resume(
    folder: Path, algorithm: Algorithm, world: World, relabel: RelabelConfig | None = None, steps: int = 160
) -> None:
    """Left half-way, perhaps after a report that no checkpoint followed, and gone on with: as without a stop."""

    def digest(training: Any) -> str:
        with contextlib.closing(training):
            training.run_to_end()
            return training.digest

    given: Any = {"seed": 5, "relabel": relabel, "every": 50}
    with contextlib.closing(train(algorithm, world, steps, folder=folder, **given)) as left:
        for told in left:
            if told.step > steps / 2:
                break
    assert not left.step >= steps
    resumed = digest(resume(folder, world=world))
    assert resumed == digest(train(algorithm, world, steps, **given))


HOSTED = [(name, "hosted") for name in FAMILIES]


@pytest.mark.parametrize(
    ("name", "kind"), mostly([(name, "native") for name in ALGORITHMS] + HOSTED, product(ALGORITHMS, survivor.KINDS))
)
def test_every_algorithm_goes_on(tmp_path: Path, name: str, kind: str) -> None:
    """Read back in the same process, where its programs are compiled already."""
    with patch.dict(REGISTERED, {name: ALGORITHMS[name]}), patch.dict(RELABELS, judged=Judged):
        check_resume(tmp_path / "run", main(name).method(), survivor.place(name, kind), Judged())


@pytest.mark.parametrize(
    ("name", "kind"),
    mostly(
        [*((name, "native") for name in NETWORKS if name not in ALIKE), ("gru", "hosted")],
        product(NETWORKS, survivor.KINDS),
    ),
)
def test_every_network_goes_on(tmp_path: Path, name: str, kind: str) -> None:
    world = Recall(delay=3)
    check_resume(
        tmp_path / "run",
        small("reinforce", network=NETWORK[name]),
        world if kind == "native" else gymnasium(lambda: to_gymnasium(world)),
    )


SMALL = MLP((8,))
CURIOUS = InTurn((HashBonus(bits=4), RND(network=SMALL, features=4), ICM(network=SMALL, features=4)))


@pytest.mark.parametrize("relabel", [ClipRewards(0.5), CountBonus(), CURIOUS], ids=["clip", "count", "curious"])
def test_relabelling_goes_on(tmp_path: Path, relabel: RelabelConfig) -> None:
    check_resume(tmp_path / "run", small("q_learning"), busy_world(), relabel)


def test_games_that_may_be_given_up_go_on(tmp_path: Path) -> None:
    """What a game's players hoped, who was wrong to despair, and the network that plays until another one beats it."""
    algorithm = small(
        "alpha_zero",
        network=MLP((8,)),
        model=Exact(),
        resign_below=-0.1,
        played_on=0.5,
        gate_period=3,
        gate_games=2,
    )
    check_resume(tmp_path / "run", algorithm, make("tic_tac_toe_for_two"))


def test_normalisers_go_on(tmp_path: Path) -> None:
    algorithm = small("ppo", normalise_observations=True, normalise_rewards=True)
    check_resume(tmp_path / "run", algorithm, make("CartPole-v1"))


def test_the_law_sees_environments_that_start_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keepers, "restore", lambda self, snapshot: None)
    with pytest.raises(AssertionError):
        check_resume(tmp_path / "run", small("q_learning"), gymnasium(lambda: to_gymnasium(busy_world())))


@pytest.mark.parametrize("forgotten", ["updates", "stage", "scores", "learner"])
def test_the_law_sees_what_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: str) -> None:
    real = checkpoint.load_newest

    def forgetful(folder: Path, like: Any, *how: Any) -> Any:
        run, hosted, manifest = real(folder, like, *how)
        return run._replace(**{forgotten: getattr(like, forgotten)}), hosted, manifest

    monkeypatch.setattr(checkpoint, "load_newest", forgetful)
    with pytest.raises(AssertionError):
        check_resume(tmp_path / "run", small("reinforce", network=NETWORK["gru"]), Recall(delay=3))
