"""The loop as its user sees it: `train(...)` is iterated and yields reports.

With a folder the run is recorded and can be gone on with by `resume`: to the bit, because all randomness follows from
the seed and the run's counters.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from retorno.algorithms import ALGORITHMS, published
from retorno.core.environment import Environment, World
from retorno.core.names import did_you_mean, named, says_what_is_meant
from retorno.core.policy import Algorithm, RelabelConfig
from retorno.core.runtime import exchanges_in_one_order, prepare
from retorno.core.spaces import unbounded_note
from retorno.core.waiting import waiting
from retorno.environments.recordings import Recorded
from retorno.environments.registry import WorldName, as_world
from retorno.networks import Table
from retorno.run import data
from retorno.run.folder import RunFolder
from retorno.run.origin import Origin
from retorno.run.training import NEWEST, Keep, Training, TrainingError, settings_of, world_settings
from retorno.run.until import Until

USUAL_STEPS = 100_000
"""The budget where none is given, nor published."""


@says_what_is_meant
def train(
    algorithm: Algorithm | type[Algorithm] | str,
    world: Any,
    steps: float | None = None,
    *,
    seed: float | Sequence[int] = 0,
    hosted: bool | None = None,
    every: float | None = None,
    relabel: RelabelConfig | None = None,
    init_from: str | Path | Origin | None = None,
    folder: str | Path | None = None,
    keep: Keep = NEWEST,
    until: Until | None = None,
    tensorboard: bool = False,
    devices: int = 1,
    ready: Callable[[Training], Any] = lambda training: None,
) -> Training:
    """Prepare a run; iterate what comes back to train.

    Args:
        algorithm: a frozen dataclass of hyperparameters; or its name, as on the command line, where the published
            settings for the world are the defaults.
        world: a name, or whatever `retorno.environments.registry.as_world` takes: an `Environment`, a Gymnasium
            environment, a class or function that makes one, a model. Of what learns from recordings also the file or
            folder of a data set, read as by the command: cut into pieces for who remembers nothing.
        steps: the budget in environment steps, over all environments of one seed. Without it the published one, else
            100,000; of a data set that is given by its place at least forty times what it holds.
        seed: one seed, or several, which are trained in one call over a native world.
        hosted: of a world given by name, whether it is Gymnasium's; None takes the native one where there is one.
        every: report exactly at each multiple of so many steps as well (`Report.boundary`); with a
            folder a checkpoint is written there. A tenth of the budget where there is a folder.
        relabel: where rewards come from, when not from the world alone.
        init_from: a run with whose learner this one begins: its folder, or an `Origin` that says which step's, and
            whether its network alone. Steps are counted from 0 again, and schedules begin anew. With a folder, what was
            taken is this run's own from then on.
        folder: where the run is recorded; it must not hold one yet.
        keep: with a folder, how many of the newest checkpoints stay; "all", or "best" for the newest three and the one
            of the boundary with the highest score (as `until` has it; of equal ones the earlier; of answers that are
            scored, their score less what the KL costs). The policies of all boundaries stay in any case.
        until: when it ends before its budget: at a score, at no progress, at a time; and whether the greedy policy is
            tested at each boundary. Where `every` is not given, boundaries are at each tenth of the budget.
        tensorboard: with a folder, write figures for TensorBoard as well.
        devices: over how many devices the environments of one seed are spread. Several seeds are spread
            over as many as divide their number.
        ready: is called with the run once nothing can be refused any more and its folder is there, and before anything
            is compiled.

    Raises:
        ValueError: for a budget or frequency that is not positive, or a seed out of range.
        UnknownNameError: when no world has the name.
        SpaceError: when the algorithm cannot take the world's spaces.
        TrainingError: for several seeds over a hosted world, or devices that cannot be used.
        OriginError, CheckpointError: when the run cannot begin with the other one.
        FolderError: when the folder cannot be used.

    Returns:
        A generator of reports, with the run, its policy and its checkpoints.

    >>> from retorno.algorithms import QLearning
    >>> with train(QLearning(), "student", steps=40, every=20, folder="run") as training:
    ...     [report.step for report in training if report.boundary]
    [20, 40]
    """
    prepare()
    chosen, usual = meant_algorithm(algorithm, world)
    if (source := data.source_of(chosen, world)) is not None:
        world, _ = data.fitted(chosen, {"source": source})
        usual = max(usual, data.EPOCHS * world.transitions)
    require_step_size(chosen)
    budget = positive("steps", usual if steps is None else steps, "it is a number of environment steps, as 100_000")
    require_keep(keep)
    pause = None if every is None else positive("every", every, "it is a number of environment steps")
    seeds = (seed,) if isinstance(seed, int | float | str | np.number) else tuple(seed)
    if not seeds or not all(_is_seed(each) for each in seeds) or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different integers in [0, 2³²), got {seeds}")
    seeds = tuple(map(int, seeds))
    opened = as_world(world, hosted)
    if isinstance(algorithm, str) or not chosen.num_envs:  # Nobody has said how many columns.
        chosen = data.within(chosen, opened)
    if keep == "best" and isinstance(opened, Recorded):
        raise ValueError('keep="best" is by returns, and of a recording none are lived: keep a number, or "all"')
    if len(seeds) > 1 and not isinstance(opened, Environment):
        raise TrainingError("a hosted world is trained one seed at a time: start a run for each seed")
    if devices > jax.local_device_count() or chosen.num_envs % devices:
        raise TrainingError(
            f"{chosen.num_envs} environments cannot be spread evenly over {devices} devices, of which there are "
            f"{jax.local_device_count()}: choose num_envs as a multiple, and set JAX_NUM_CPU_DEVICES for more devices"
        )
    if devices > 1 and not exchanges_in_one_order():
        raise TrainingError(
            f"{devices} devices need JAX_NUM_CPU_DEVICES={devices} in the environment before Python starts: without "
            "it XLA may let them wait for each other for ever"
        )
    if note := unbounded_note(opened.action_space):
        warnings.warn(note, stacklevel=2)
    until = until or Until()
    if until.at_boundaries and isinstance(opened, Recorded):
        raise ValueError("of a recording no episodes are lived that could be scored: of `until` it takes minutes alone")
    if until.tests and (texts := WorldName.of(world)) is not None and texts.of_texts:
        raise ValueError("a world of texts pays nothing: answers are scored by what pays them, without tests")
    if folder is not None or until.at_boundaries:
        pause = pause or max(budget // 10, 1)
    origin = init_from if isinstance(init_from, Origin | None) else Origin(init_from)
    if folder is None:
        training = Training(chosen, opened, budget, seeds, pause, relabel, devices, keep, origin, ready, until)
        training.called = WorldName.of(world)
        return training
    if not isinstance(opened, Environment) and opened.why_not_resumable is not None:
        warnings.warn(opened.why_not_resumable, stacklevel=2)

    astray = _why_not_repeated(opened, min(seeds))
    if astray is not None:
        warnings.warn(astray, stacklevel=2)

    def record(training: Training) -> None:
        settings = settings_of(training, world_settings(world, training.world, hosted), devices)
        if astray is not None:
            settings["not_repeated"] = astray
        training.folder = RunFolder.create(Path(folder).expanduser(), settings, tensorboard)
        ready(training)

    training = Training(chosen, opened, budget, seeds, pause, relabel, devices, keep, origin, record, until)
    if origin is not None:
        training.save()  # From now on the other run is not needed.
    return training


def _why_not_repeated(world: World, seed: int) -> str | None:
    """What to say of a world that does not live an episode again as it was; None where nothing is known of that."""
    repeats = getattr(world, "why_not_repeated", None)
    if repeats is None or isinstance(world, Environment) or world.why_not_resumable is not None:
        return None
    with waiting("trying whether an episode can be lived again"):
        differed = repeats(seed)
    return differed and (
        f"{getattr(world, 'name', type(world).__name__)} does not live an episode again as it was: {differed}. What is "
        "learnt is kept and used all the same; but where the run is stopped, it cannot be promised to go on to the "
        "same bits, and perhaps goes on with fresh episodes only: retorno resume RUN --inexact"
    )


def meant_algorithm(algorithm: Any, world: Any) -> tuple[Any, int]:
    """The algorithm that is meant by itself, its class or its name; and the usual budget for the world.

    Raises:
        ValueError: when there is none of that name, or it is none.

    Args:
        algorithm: it, its class, or its name in any case.
        world: where it will act.

    >>> meant_algorithm("Q-Learning", "cliff")[0].step_size
    0.5
    """
    steps = USUAL_STEPS
    first = "the algorithm comes first, then the world, as in train(retorno.PPO(), 'CartPole-v1', steps=100_000)"
    if hasattr(world, "update") and hasattr(world, "act"):
        raise ValueError(f"{world!r} stands where the world does: {first}")
    if isinstance(algorithm, str):
        name = named(algorithm, ALGORITHMS)
        if name not in ALGORITHMS:
            near = did_you_mean(algorithm, ALGORITHMS) or "; retorno.algorithms.ALGORITHMS lists all"
            raise ValueError(f"no algorithm {algorithm!r}{near}")
        known = published.settings(name, world if isinstance(world, str) else getattr(world, "name", ""))
        return (known.algorithm, known.steps) if known else (ALGORITHMS[name](), steps)
    made = algorithm() if isinstance(algorithm, type) and is_dataclass(algorithm) else algorithm
    if not (hasattr(made, "init") and hasattr(made, "act") and hasattr(made, "update")):
        raise ValueError(f"{made!r} is no algorithm: {first}")
    return made, steps


def require_step_size(algorithm: Any) -> None:
    """Refuse step sizes by which a table overshoots what it is to learn.

    Raises:
        ValueError: for one above 1.

    Args:
        algorithm: any.
    """
    for name in ("step_size", "step_size_end"):
        size = getattr(algorithm, name, None)
        if size is not None and size > 1 and isinstance(getattr(algorithm, "network", None), Table):
            raise ValueError(f"{name} {size:g} overshoots what a table is to learn: choose one in (0, 1]")


def require_keep(keep: Any) -> None:
    """Refuse what does not say which checkpoints stay.

    Raises:
        ValueError: it says what can be said.

    Args:
        keep: what was given.

    >>> require_keep("some")
    Traceback (most recent call last):
    ValueError: keep is how many of the newest checkpoints stay, "best" or "all", got 'some'
    """
    if keep not in ("best", "all") and not (isinstance(keep, int) and not isinstance(keep, bool) and keep > 0):
        raise ValueError(f'keep is how many of the newest checkpoints stay, "best" or "all", got {keep!r}')


def positive(name: str, value: Any, what: str) -> int:
    """A positive whole number, as an integer.

    Raises:
        ValueError: when it is none.

    Args:
        name: of the argument.
        value: what was given.
        what: it is: the end of the message.

    >>> positive("steps", 1e5, "of the environment")
    100000
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive, got {value!r}: {what}")
    if value != int(value):
        raise ValueError(f"{name} must be whole, got {value!r}: {what}")
    return int(value)


def _is_seed(seed: Any) -> bool:
    whole = isinstance(seed, int | float | np.number) and not isinstance(seed, bool) and seed == int(seed)
    return bool(whole and 0 <= seed < 2**32)
