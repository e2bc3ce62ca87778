"""Runs that were recorded: to be looked at as they stand, and to be gone on with, to the bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.errors import WorldError
from retorno.core.names import as_typed, says_what_is_meant
from retorno.core.policy import Algorithm, RelabelConfig
from retorno.core.time_step import Clock
from retorno.core.waiting import waiting
from retorno.environments.registry import WorldName, as_world
from retorno.environments.wrappers import InStep
from retorno.replay import on_disk as disk
from retorno.run import checkpoint, policy_folder
from retorno.run.collect import reads
from retorno.run.config import code_version, differences, from_json, to_json
from retorno.run.folder import RunFolder, read_config, returns_at
from retorno.run.known import known
from retorno.run.loop import (
    Run,
)
from retorno.run.origin import Origin
from retorno.run.relabel import as_recorded
from retorno.run.train import require_keep, require_step_size
from retorno.run.training import NEWEST, Keep, Training, TrainingError, world_settings
from retorno.run.until import Until
from retorno.run.written import Written


@says_what_is_meant
def restore(
    folder: str | Path,
    *,
    algorithm: Algorithm | None = None,
    steps: int | None = None,
    world: Any = None,
    relabel: RelabelConfig | None = None,
    keep: Keep | None = None,
    until: Until | None = None,
    inexact: bool = False,
    warn: Callable[[str], Any] = warnings.warn,
) -> Training:
    """A recorded run as it stands at its newest whole checkpoint, to look at; `resume` to go on with it.

    Args:
        folder: the run's folder.
        algorithm: instead of the recorded settings; the difference is told.
        steps: another budget than the recorded one; schedules go on over it from the step that was reached.
        world: another one, or where the run's was not given by name: as for `train`.
        relabel: instead of the recorded one's settings.
        keep: other checkpoints than until now; as for `train`.
        until: when it ends before its budget, by other rules than until now; as for `train`.
        inexact: begin fresh episodes where environments do not return to the rows at which they were left.
        warn: is told, one line each, of damaged checkpoints and of code or settings that differ.

    Raises:
        FolderError, ConfigError, CheckpointError: when the folder, its settings or its checkpoints cannot be read.
        TrainingError: when the world has to be given again, or environments do not return to where they were.

    Returns:
        The run, to be asked and not to be iterated.

    >>> from retorno.algorithms import QLearning
    >>> from retorno.run.train import train
    >>> with train(QLearning(), "student", steps=40, folder="looked at") as training:
    ...     report = training.run_to_end()
    >>> restore("looked at").step
    40
    """
    folder = Path(folder).expanduser()
    if keep is not None:
        require_keep(keep)
    settings = read_config(folder)
    given = settings.get("world") or {}
    if world is None and not given.get("name"):
        raise TrainingError(
            f"the world of {folder} was made in Python ({given.get('description')}): resume it there with "
            "retorno.resume(folder, world=...)"
        )
    if relabel is None:
        relabel = from_json(checkpoint.facts(folder).get("relabel", settings["relabel"]), known())
        relabel = as_recorded(relabel, folder)
    recorded = from_json(settings["algorithm"], known())
    if algorithm is not None:
        if not algorithm.num_envs:
            algorithm = replace(algorithm, num_envs=recorded.num_envs)  # pyright: ignore[reportArgumentType, reportCallIssue]
        require_step_size(algorithm)
        for line in differences(settings["algorithm"], to_json(algorithm)):
            warn(f"settings differ from the recorded ones: {line}")
    if settings.get("version") != code_version():
        warn(f"the code differs: the run was started with retorno {settings.get('version')}, this is {code_version()}")
    if not checkpoint.steps(folder) and (learnt := policy_folder.steps(folder)):
        raise checkpoint.CheckpointError(
            f"the checkpoints of {folder} are gone, which was at step {learnt[0]:,}: to go on would begin it anew. Put "
            f"{folder / checkpoint.CHECKPOINTS} back. What was learnt is whole: retorno.load({str(folder)!r})"
        )
    named = WorldName.recorded(given) if world is None else WorldName.of(world)
    begun_from = settings.get("init_from")
    begins = None if begun_from is None or checkpoint.steps(folder) else begun_from
    training = Training(
        algorithm or recorded,
        as_world(named if world is None else world),
        settings["steps"] if steps is None else steps,
        tuple(settings["seeds"]),
        settings["every"],
        relabel,
        settings.get("devices", 1),
        settings.get("keep", NEWEST) if keep is None else keep,
        None if begins is None else Origin(begins["run"], begins["step"], begins["network_only"]),
        until=from_json(settings.get("until"), {"Until": Until}) if until is None else until,
    )
    if begins is not None and training.begun_from != begins:
        raise TrainingError(
            f"{folder} was to begin with step {begins['step']:,} of {begins['run']} and was stopped before it did: "
            "there lies another checkpoint now, so begin it anew"
        )
    training.begun_from, training.called = begun_from, named
    if checkpoint.steps(folder):
        rows = disk.on_disk(training.run, whole=True)
        with waiting("reading the checkpoint"):
            training.run, hosted, manifest = checkpoint.load_newest(folder, training.run, warn, rows)
        training.written = Written.of(manifest, training.run)
        training.rescore(manifest.facts.get("scored"))
        training.scores = {at: score for at, score in returns_at(folder).items() if at <= training.step}
        training.ended = training.until.reached(training.scores)
        disk.returned(training.run)
        if training.why_not_resumable is not None:
            warn(f"not the same bits: {training.why_not_resumable}")
            training.run = training.hosted_loop.begin_anew(training.run)
        elif training.environments is not None:
            if (astray := settings.get("not_repeated")) is not None:
                warn(f"perhaps not the same bits: {astray.split('. ')[0]}")
            steps_again = int(hosted["age"].sum()) if "age" in hosted else 0
            try:
                with waiting(f"living the {steps_again:,} steps of the open episodes again"):
                    training.environments.restore({name: x for name, x in hosted.items() if name not in rows})
            except WorldError as error:
                if not inexact:
                    raise TrainingError(
                        f"{error}. What was learnt is whole: retorno.load({str(folder)!r}); and `retorno resume "
                        f"{as_typed(folder)} --inexact` goes on with fresh episodes, not to the same bits"
                    ) from error
                warn(f"not the same bits, fresh episodes begin: {error}")
                training.run = training.hosted_loop.begin_anew(training.run)
                training.fresh_episodes_from = training.step
        _refuse_to_read_midway(folder, training)
    if steps is not None:
        if steps < training.step:
            raise ValueError(f"{folder} has taken {training.step:,} steps already, its budget cannot be {steps:,}")
        training.run = _with_budget(training.run, steps)
    return training


def _refuse_to_read_midway(folder: Path, training: Training) -> None:
    """Prompts are read where rollouts begin, which another rollout before may have left within an episode."""
    world, rollout = training.world, training.algorithm.rollout
    if not (isinstance(world, Environment) and reads(training.algorithm, world)):
        return
    stage = training.run.stage
    state = getattr(stage.episodes, "state", None)
    # Where it is an episode's turn it may be held back for some rows.
    if not (state.steps == 0 if isinstance(state, InStep) else stage.row.first).all():
        raise TrainingError(
            f"{folder} was left in the middle of an episode, and rollouts of {rollout} rows, whole episodes, have to "
            "begin with one: go on with the recorded rollout, or another that is no whole number of episodes"
        )


@says_what_is_meant
def resume(
    folder: str | Path,
    *,
    algorithm: Algorithm | None = None,
    steps: int | None = None,
    world: Any = None,
    relabel: RelabelConfig | None = None,
    keep: Keep | None = None,
    until: Until | None = None,
    inexact: bool = False,
    tensorboard: bool = False,
    warn: Callable[[str], Any] = warnings.warn,
) -> Training:
    """`restore` a recorded run and go on with it to its own budget, or another: iterate what comes back.

    `config.json` says from then on what really runs, and under `changes` what was before, up to which step.

    Raises:
        FolderError: also when another process has the folder open.

    Args:
        folder: the run's folder.
        algorithm: as for `restore`, and so all that follow.
        steps: another budget than the recorded one.
        world: another one, or where the run's was not given by name: as for `train`.
        relabel: instead of the recorded one's settings.
        keep: other checkpoints than until now; as for `train`.
        until: when it ends before its budget, by other rules than until now; as for `train`.
        inexact: begin fresh episodes where environments do not return to the rows at which they were left.
        tensorboard: write figures for TensorBoard as well.
        warn: is told, one line each, of what differs.

    >>> from retorno.algorithms import QLearning
    >>> from retorno.run.train import train
    >>> with train(QLearning(), "student", steps=40, folder="cut") as training:
    ...     report = training.run_to_end()
    >>> with resume("cut", steps=60, warn=lambda line: None) as training:
    ...     training.run_to_end().step
    60
    """
    folder = Path(folder).expanduser()
    opened = RunFolder.open(folder, tensorboard)
    try:
        training = restore(
            folder,
            algorithm=algorithm,
            steps=steps,
            world=world,
            relabel=relabel,
            keep=keep,
            until=until,
            inexact=inexact,
            warn=warn,
        )
        opened.rewind(training.step)
        settings = {"algorithm": to_json(training.algorithm), "steps": training.steps}
        if keep is not None:
            settings["keep"] = keep
        if until is not None:
            settings["until"] = to_json(until)
        if world is not None:
            settings["world"] = world_settings(world, training.world)
        if training.fresh_episodes_from is not None:
            settings["fresh_episodes_from"] = training.fresh_episodes_from
        opened.change(training.step, settings)
        policy_folder.rewind(opened.path, training.step)
    except BaseException:
        opened.close()
        raise
    training.folder = opened
    return training


def _with_budget(run: Run, steps: int) -> Run:
    """The same run with schedules that end at another step."""

    def lengthened(node: Any) -> Any:
        if not isinstance(node, Clock):
            return node
        return node._replace(
            budget=jax.tree.map(lambda word, x: jnp.full_like(x, word), Counter.of(steps), node.budget)
        )

    return jax.tree.map(lengthened, run, is_leaf=lambda node: isinstance(node, Clock))
