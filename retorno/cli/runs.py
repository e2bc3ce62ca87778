"""Runs as the command line knows them: a recorded run's folder, or a folder of one for each seed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from retorno.cli.options import UsageError
from retorno.cli.terminal import follow, note
from retorno.core.environment import World
from retorno.core.errors import WorldError
from retorno.core.mdp import MDP
from retorno.core.names import as_typed
from retorno.core.policy import Algorithm, Policy
from retorno.core.waiting import waiting
from retorno.environments.datasets import DATASET
from retorno.environments.own_code import named_files, named_functions
from retorno.environments.recordings import Recorded
from retorno.environments.registry import WorldName
from retorno.language.records import SUFFIXES
from retorno.run import checkpoint
from retorno.run.actor import Actor, load_all
from retorno.run.config import from_json
from retorno.run.episodes import EvaluationError
from retorno.run.evaluate import Evaluation, evaluate
from retorno.run.fit import fit
from retorno.run.folder import CONFIG, SEED, FolderError, or_a_study, read_config, returns_at
from retorno.run.known import known
from retorno.run.oracle import observes_states
from retorno.run.policy_folder import Step
from retorno.run.prediction import Prediction, prediction, predicts
from retorno.run.report import Report, told_answers, told_fit
from retorno.run.resume import resume
from retorno.run.stopping import Interrupted
from retorno.run.training import Keep, Training, TrainingError
from retorno.run.until import Until


def members(folder: Path) -> list[Path]:
    """The runs that a folder stands for: itself, or its `seed-…` folders.

    Raises:
        FolderError: when there is no run, or the settings of one are damaged.
    """
    around = next((path for path in folder.absolute().parents if (path / CONFIG).exists()), None)
    instead = "" if around is None else f"; it lies in that of the run {os.path.relpath(around)}: give that"
    if not folder.exists():
        raise FolderError(f"{folder} does not exist: expected the folder of a run{instead}")
    found = [folder] if (folder / CONFIG).exists() else [path.parent for path in folder.glob(f"{SEED}*/{CONFIG}")]
    if not found:
        inside = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
        if inside:
            instead = f"; there are runs in it: give one, as {folder / inside[0]}"
        raise FolderError(f"{folder} is not the folder of a run: it has no {CONFIG}{or_a_study(folder)}{instead}")
    for path in found:
        settings_of(path)
    return sorted(found, key=lambda path: (len(path.name), path.name))


def settings_of(folder: Path) -> dict[str, Any]:
    """What a run's `config.json` holds.

    Raises:
        FolderError: when it is not what `train` writes.
    """
    config = read_config(folder)
    kinds = {"algorithm": dict, "world": dict, "steps": int, "seeds": list, "every": int}
    for name, kind in kinds.items():
        if not isinstance(config, dict) or not isinstance(config.get(name), kind):
            raise FolderError(f"{folder / CONFIG} is damaged: {name!r} is missing or of the wrong kind")
    return config


def learnt(folders: list[Path], step: Step = None) -> list[Actor]:
    """The policies of recorded runs, one for each seed; one of a run that had not reached its budget is told."""
    actors = []
    for path in [path for folder in folders for path in members(folder)]:
        with waiting(f"loading {path}"):
            found, budget = load_all(path, step), settings_of(path)["steps"]
        if step is None and found[0].step < budget:
            note(f"note: the policy of {path} was learnt in {found[0].step:,} steps of {budget:,}")
        if step == "best":
            score = returns_at(path)[found[0].step]
            note(f"the best policy of {path}: step {found[0].step:,}, whose score was {score:z.2f}")
        actors += found
    return actors


def of_first_seed(folder: Path, step: Step = None) -> Actor:
    """The policy of a recorded run where only one can act; of several seeds it is told whose."""
    runs = members(folder)
    actors = learnt(runs[:1], step)
    if (seeds := max(len(runs), len(actors))) > 1:
        note(f"{folder} has {seeds} seeds: what acts is seed {actors[0].seed}'s policy")
    return actors[0]


def recorded_world(folder: Path) -> WorldName:
    """The world of a run, by its name.

    Raises:
        FolderError: when it was made in Python.
        OwnCodeError: when it stands in a file that was not named.
    """
    recorded = settings_of(members(folder)[0])["world"]
    if not recorded.get("name"):
        raise FolderError(
            f"the world of {folder} was made in Python ({recorded.get('description')}): go on there, with "
            f"retorno.evaluate({str(folder)!r}, world)"
        )
    return WorldName.recorded(recorded)


def world_for(folder: Path, other: str | None, settings: dict[str, Any]) -> WorldName:
    """Where what a run has learnt is to act: in its own world, in that made otherwise, or in another one.

    Raises:
        FolderError, OwnCodeError: when it is the run's own and has no name, or stands in a file that was not named.
    """
    if other is not None and Path(other).suffix.lower() in SUFFIXES and (own := recorded_world(folder)).of_texts:
        kept = {key: value for key, value in own.settings.items() if key in ("model", "longest")}
        return WorldName(own.name, settings={"source": other, **kept, **settings})
    if other is not None:
        return WorldName(other, settings=settings)
    own = recorded_world(folder)
    return replace(own, settings={**own.settings, **settings}) if settings else own


def world_for_all(folders: Sequence[Path], other: str | None, settings: dict[str, Any], what: str) -> WorldName:
    """Where what several runs have learnt is to act: `world_for` of each, and one and the same.

    Raises:
        UsageError: when they are of different worlds.
        FolderError, OwnCodeError: as of one.

    Args:
        folders: the runs'.
        other: another world; None for their own.
        settings: what it is made with.
        what: is done with them, in the message.
    """
    names = [world_for(folder, other, settings) for folder in folders]
    asked = tuple(dict.fromkeys(each for name in names for each in name.info_keywords))
    names = [replace(name, info_keywords=asked) for name in names]
    if any(name != names[0] for name in names):
        told = ", ".join(dict.fromkeys(name.name for name in names))
        raise UsageError(f"the runs are of different worlds ({told}): {what} them one by one, or all in one --world")
    return names[0]


def next_steps(folder: Path) -> str:
    """What can be done with a run, as it is typed: files with code of the user's own are named again."""
    own = "".join(f"{as_typed(each)} " for each in [*map(os.path.relpath, named_files()), *named_functions()])
    world = settings_of(members(folder)[0])["world"]
    commands, where, named = ("evaluate", "play", "report"), "", world.get("name")
    if named == DATASET:  # In which nothing is lived.
        commands, where = ("evaluate", "play"), f" --world {as_typed(world['settings'].get('world', 'WORLD'))}"
    elif named and WorldName(named).of_texts:
        commands = ("sample", "report")
    return "next: " + " · ".join(f"retorno {own}{command} {as_typed(folder)}{where}" for command in commands)


def use_cores(seeds: int) -> None:
    """Let JAX see as many host devices as there are cores to share so many seeds evenly."""
    if seeds < 2 or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    import jax

    shares = max(n for n in range(1, (os.cpu_count() or 1) + 1) if seeds % n == 0)
    with contextlib.suppress(RuntimeError):  # JAX has started already, with the devices that it has.
        jax.config.update("jax_num_cpu_devices", shares)


def finish(
    folder: Path,
    episodes: int,
    steps: int | None = None,
    inexact: bool = False,
    changed: Callable[[Algorithm], Algorithm] | None = None,
    keep: Keep | None = None,
    to_budget: bool = False,
) -> bool:
    """Go on with the runs of a folder to their budgets, or to one of so many steps, evaluate each and note it there.

    `changed` gives the algorithm that goes on from the one that ran. `to_budget` drops the rules by which a run ends
    before its budget.

    Returns whether any of them went on.

    Raises:
        Interrupted: when a signal came; everything is saved.
        TrainingError: when a run failed; of several, once the others have reached their budgets.
        FolderError: when a run that is to be changed has reached its budget: nothing would run as its record says.
    """
    runs = members(folder)
    algorithms = {} if changed is None else {path: _goes_on_as(path, changed, steps) for path in runs}
    use_cores(len(settings_of(runs[0])["seeds"]))
    results: list[Evaluation] = []
    went_on, failed = False, []
    for path in runs:
        tests = (settings_of(path).get("until") or {}).get("tests", 0)
        others = {"keep": keep, "until": Until(tests=tests) if to_budget else None, "inexact": inexact}
        try:
            with resume(path, algorithm=algorithms.get(path), steps=steps, **others, warn=note) as training:
                if training.step >= training.steps:
                    note(f"{path} has reached its budget of {training.steps:,} steps: nothing to do")
                    continue
                if training.ended is not None:
                    note(f"{path} has ended at step {training.step:,}: {training.ended}. To go on: --to-budget")
                    continue
                went_on = True
                if len(runs) > 1:
                    note(str(path))
                result = complete(training, str(path), episodes)
        except Interrupted as stop:
            if len(runs) == 1:
                raise
            raise Interrupted(f"{stop}; with all seeds: retorno resume {as_typed(folder)}", stop.number) from stop
        except (WorldError, TrainingError) as error:
            if len(runs) == 1:
                raise
            note(f"{path} failed: {error}")  # The others wait for their turn.
            failed.append(path.name)
            continue
        results += [] if result is None else [result]
    if len(results) > 1:
        print(f"{folder}: {joined(results)}")
    if failed:
        raise TrainingError(
            f"of {len(runs)} runs {len(failed)} failed ({', '.join(failed)}), whose last checkpoints stand; with all "
            f"seeds: retorno resume {as_typed(folder)}"
        )
    return went_on


def _goes_on_as(folder: Path, changed: Callable[[Algorithm], Algorithm], steps: int | None) -> Algorithm:
    """What goes on in the place of the algorithm that ran."""
    settings = settings_of(folder)
    budget = settings["steps"] if steps is None else steps
    if (step := max(checkpoint.steps(folder), default=0)) >= budget:
        raise FolderError(
            f"{folder} has reached its budget of {budget:,} steps: give it another, --steps N beyond {step:,}"
        )
    return changed(from_json(settings["algorithm"], known()))


def complete(training: Training, title: str, episodes: int) -> Evaluation | None:
    """Train to the budget with everything shown, evaluate the greedy policy and note it in the run's folder."""
    if training.step < training.steps:
        forgotten = Forgotten()
        follow(forgotten.seen(training), training.step, training.steps)
        if told := forgotten.told(getattr(training.algorithm, "longest_episode", 0)):
            note(told)
        if training.ended is not None:
            note(f"ended at step {training.step:,} of {training.steps:,}: {training.ended}")
    if isinstance(training.world, Recorded):
        print(f"{title}: {told_fits(training)}")
        return None
    if episodes == 0:
        return None
    if training.last is not None and (told := told_answers(training.last.metrics)) is not None:
        print(f"{title}: {told} (while learning, at the end)")
        return None
    given = predicts(training.policies)  # The same policy with every seed.
    try:
        result = evaluate(training.policies[:1] if given else training.policies, training.world, episodes)
    except EvaluationError as error:  # What was learnt is recorded, and other seeds wait for their turn.
        note(f"{title} cannot be evaluated: {error}")
        return None
    training.note(result)
    print(f"{title}: {result}")
    if training.folder is not None and (training.keep == "best" or training.until.tests):
        print(_told_best(training, training.folder.path, episodes))
    if given:
        made_in = None if training.folder is None else settings_of(training.folder.path)["world"]
        model = WorldName.recorded(made_in).model() if made_in and made_in.get("name") else None
        found = predicted(training.policies, training.world, model, discount_of(training.algorithm))
        print(found or "there is no exact model to hold the learnt values against")
    return result


def _told_best(training: Training, folder: Path, episodes: int) -> str:
    """How good the policy with the best score is, beside the final one."""
    scores = returns_at(folder)
    if not scores:
        return "which policy was the best is not known: no episode had ended at a checkpoint"
    best = load_all(folder, "best")
    step = best[0].step
    if step == training.step:
        return f"the final policy is also the best of {len(scores)}, by its score of {scores[step]:z.2f}"
    result = evaluate(best, training.world, episodes)
    return f"the best of {len(scores)} policies, of step {step:,} (--step best), in the same episodes: {result}"


def told_fits(training: Training) -> str:
    """How well what was learnt from recordings fits them, and those of their kind that were held out."""
    assert isinstance(training.world, Recorded)
    told = f"{told_fit(fit(training, training.world))} on what was learnt from"
    named = training.world.named
    if named is None or not named.settings.get("held_out"):
        return told
    shown = {name: value for name, value in named.settings.items() if name != "digest"}
    held: Any = replace(named, settings=shown | {"held": True}).make()
    return f"{told}; {told_fit(fit(training, held))} on what was held out"


class Forgotten:
    """How much of what was lived no return was learnt for, because episodes were longer than what is held of them."""

    def __init__(self) -> None:
        self.updates, self.total = 0, 0.0

    def seen(self, reports: Iterable[Report]) -> Iterator[Report]:
        """The same reports, looked at on their way."""
        before = None
        for report in reports:
            updates = report.updates - (before or 0)
            before, self.updates = report.updates, self.updates + updates
            self.total += updates * report.metrics.get("forgotten", 0.0)
            yield report

    def told(self, held: int) -> str:
        """What to say of it; empty where nothing is to be said."""
        share = self.total / max(self.updates, 1)
        if not share:
            return ""
        return (
            f"{share:.1%} of what was lived lies more than {held:,} steps before the end of its episode, and no return "
            f"was learnt for it: pass a --longest-episode above {held:,}, as long as episodes are"
        )


def predicted(policies: list[Policy], world: World, model: MDP | None, discount: float) -> Prediction | None:
    """The learnt values beside the exact ones, where the world has an exact model and shows its states."""
    if model is None or not observes_states(world, model):
        return None
    try:
        return prediction(policies, model, discount)
    except ValueError as error:
        note(f"no exact values: {error}")
        return None


def discount_of(algorithm: Any) -> float:
    """γ of what an algorithm learns; 1 where it has none."""
    return float(getattr(algorithm, "discount", 1.0))


def joined(results: list[Evaluation]) -> Evaluation:
    """Evaluations of several runs as one over all their seeds."""
    *told, infos = [[getattr(result, field.name) for result in results] for field in fields(Evaluation)]
    whole: list[Any] = [None if any(each is None for each in part) else np.concatenate(part) for part in told]
    asked = [name for name in infos[0] if all(name in each for each in infos)]
    return Evaluation(*whole, info={name: np.concatenate([each[name] for each in infos]) for name in asked})
