"""A run under way: what `train` and `resume` hand out, to be iterated for reports.

A `Report` comes about twice a second and at every exact boundary (evaluation, checkpoint, end), of a recorded run also
at each hundredth of its budget, so that its curves are the same on every machine.
All budgets and frequencies count environment steps, whatever the number of environments, and
none of them changes what is learnt.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from retorno.core.contract import breaches
from retorno.core.counter import Counter, counts
from retorno.core.environment import Environment, HostedEnvironments, World
from retorno.core.errors import RetornoError
from retorno.core.hyperparameters import as_arrays
from retorno.core.names import as_typed
from retorno.core.notebook import as_table
from retorno.core.policy import Algorithm, Learner, Policy, Relabel, RelabelConfig
from retorno.core.runtime import IN_HASTE, prepare
from retorno.core.spaces import Spec, given_units
from retorno.core.time_step import AnyTree, TimeStep
from retorno.core.waiting import waiting
from retorno.environments.recordings import Recorded
from retorno.environments.registry import WorldName
from retorno.replay import on_disk as disk
from retorno.replay.ring import doubt
from retorno.run import checkpoint, policy_folder
from retorno.run.collect import group_of
from retorno.run.config import code_version, to_json
from retorno.run.evaluate import Evaluation, evaluate
from retorno.run.folder import FolderError, RunFolder, best_step, returns_at
from retorno.run.hosted import HostedLoop, Spaces, begin_hosted, hosted_spec
from retorno.run.loop import (
    Advanced,
    Observer,
    Run,
    advance,
    advance_seeds,
    bad_leaf,
    begin_beside,
    begin_native,
    begun_shapes,
    build_relabel,
    native_spec,
    own_buffers,
    require_extras,
)
from retorno.run.origin import Origin
from retorno.run.origin import read as read_origin
from retorno.run.policy_folder import SavedPolicy
from retorno.run.progress import Progress, telling
from retorno.run.report import Counters, Report, report, told_answers
from retorno.run.stopping import Interrupted, StopSignals, asked_to_stop
from retorno.run.structure import StructureError
from retorno.run.until import TEST_EPISODES, Until
from retorno.run.written import Written

REPORT_SECONDS = 0.5
CHECKPOINT_SECONDS = 60.0
CHECKPOINT_SHARE = 0.01
"""Between boundaries: of the time, writing checkpoints takes at most this share; they are rarer where it is slow."""
SPANS = 100
"""Of a recorded run's budget: it reports at the end of each."""
NEWEST = 3
"""Checkpoints that stay where nothing else is asked for: should the newest be damaged, there is another."""
Keep = int | Literal["best", "all"]
"""Which checkpoints stay: so many of the newest, the newest three and the one with the best return, or all."""
FURTHEST = 2**31
"""Steps of one advance: the loop counts them in one word."""


class TrainingError(RetornoError):
    """A run that cannot start or go on; the last good checkpoint stands."""


class Training:
    """A run under way: iterate it for reports; its `run` and `policy` may be used between two of them."""

    def __init__(
        self,
        algorithm: Algorithm,
        world: World,
        steps: int,
        seeds: tuple[int, ...],
        every: int | None,
        relabel: RelabelConfig | None,
        devices: int = 1,
        keep: Keep = NEWEST,
        origin: Origin | None = None,
        ready: Callable[[Training], None] | None = None,
        until: Until | None = None,
    ) -> None:
        """`ready` is called once nothing can be refused any more, and before anything is compiled.

        With it the run will be trained at once: the program for that is compiled early.
        """
        prepare()
        require_settings(relabel)
        self.algorithm = algorithm
        self.twin = as_arrays(algorithm)
        """The algorithm as programs get it."""
        self._relabel = relabel
        self.world = world
        self.steps = steps
        self.seeds = seeds
        self.every = every
        self.keep: Keep = keep
        self.until = until or Until()
        """When it ends before its budget."""
        self.ended: str | None = None
        """Why it has; None where it has not."""
        self.scores: dict[int, float] = {}
        """Of each boundary at which something could be scored, by its step."""
        self.folder: RunFolder | None = None
        self.begun_from: dict[str, Any] | None = None
        """With which other run's learner it began, as `config.json` says it."""
        self.fresh_episodes_from: int | None = None
        """The step at which the run was gone on with inexactly; None where it goes on to the same bits."""
        self.environments: HostedEnvironments | None = None
        self.last: Report | None = None
        """The newest report."""
        self.called: WorldName | None = None
        """The name by which the world was given, if it was."""
        self.pauses: Sequence[int] = ()
        """Rising steps at which to report as well, beside `every`; no checkpoint is written there."""
        self.written: Written | None = None
        """What its last checkpoint holds: the next one is told what has not changed."""
        self._doubted = False
        """Whether it was told what a replay doubts."""
        self.observer: Observer | None = None
        """Sees every iteration of one seed; it may be read and replaced between two reports."""
        try:
            start, shapes, row = self._ready_to_begin(relabel, devices, at_once=ready is not None)
            in_memory, self.row_bytes = checkpoint.size(shapes), disk.size(shapes)
            """What rows take in files of their own, beside checkpoints."""
            rows = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in disk.named(shapes).items()}
            self.checkpoint_bytes = checkpoint.stored_size(shapes, rows)
            """What a checkpoint takes on the disk at most, beside what hosted environments lived since their reset."""
            self.policy_bytes = self._policy_size(shapes.learner)
            """What the policy takes that stays beside it."""
            disk.require_room(shapes, in_memory)
            taken = None if origin is None else read_origin(origin, algorithm, self._spec(row), seeds, world)
            self.begun_from = None if taken is None else taken.record
            if ready is not None:
                ready(self)
            with waiting("compiling"):
                run = start()
        except BaseException:  # A world that was lent is free for another try.
            self.close()
            raise
        if taken is not None:
            run = run._replace(learner=taken.into(run.learner))
        if len(seeds) * devices > 1:
            disk.require_memory(run, f"{len(seeds)} seeds over {devices} devices")
        self._mesh, self.run = _spread(own_buffers(run), len(seeds), devices)
        self._scored = Counters.read(self.run)
        """What was counted at the boundary before: the return of a boundary is that of the episodes since."""
        if self.environments is not None:
            self.hosted_loop = self._loop()

    def _ready_to_begin(
        self, relabel: RelabelConfig | None, devices: int, at_once: bool
    ) -> tuple[Callable[[], Run], Run, TimeStep | None]:
        """What makes the run, its shapes, and the rows at which hosted environments stand; nothing is compiled."""
        world, seeds, budget = self.world, self.seeds, Counter.of(self.steps)
        if isinstance(world, Environment):
            numbers = jnp.asarray(seeds, jnp.uint32)
            numbers = numbers if len(seeds) > 1 else numbers[0]
            begun = (self.twin, world, relabel, numbers, budget, self.algorithm.num_envs)
            beside = at_once and len(seeds) == devices == 1
            return partial(begin_beside if beside else begin_native, *begun), begun_shapes(*begun), None
        number, group = world.num_envs or self.algorithm.num_envs, group_of(self.algorithm)
        with waiting(f"opening {number:,} environment{'s' * (number > 1)}"):
            self.environments = world.open(number, seeds[0], **({} if group == 1 else {"group": group}))
            row = self.environments.reset()
        begun = (self.twin, Spaces(world), relabel, jnp.uint32(seeds[0]), budget, row)
        return partial(begin_hosted, *begun), begin_hosted.eval_shape(*begun), row

    def _policy_size(self, learner: Learner) -> int:
        """The bytes of a policy that is written, of a learner's shapes."""
        several = len(self.seeds)
        if several > 1:
            learner = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), learner)
        policy = jax.eval_shape(self.algorithm.policy, learner)
        return policy_folder.stored_size(policy, (self.world.observation_space, self.world.action_space), several)

    def _spec(self, row: TimeStep | None = None) -> Spec:
        """What an algorithm has to know of the world; of hosted environments, that stand at these rows."""
        budget = Counter.of(self.steps)
        if isinstance(self.world, Environment):
            return native_spec(self.world, budget, self.algorithm.num_envs, self.algorithm.rollout)
        return hosted_spec(Spaces(self.world), budget, self.run.stage.row if row is None else row)

    def _loop(self) -> HostedLoop:
        assert self.environments is not None
        return HostedLoop(self.twin, self.environments, given_units(self.world.action_space), self.run)

    def __repr__(self) -> str:
        called = self.called and self.called.name
        name = called or getattr(self.world, "name", None) or (self.folder and self.folder.config["world"]["name"])
        world = name or type(getattr(self.world, "world", self.world)).__name__
        seeds = f"seed {self.seeds[0]}" if len(self.seeds) == 1 else f"{len(self.seeds)} seeds"
        where = f", recorded in {self.folder.path}" if self.folder else ""
        step = f"step {self.step:,} of {self.steps:,}"
        return f"<training of {type(self.algorithm).__name__} on {world}: {step}, {seeds}{where}>"

    def _repr_html_(self) -> str:
        told, algorithm = self.last, self.algorithm
        rows = [("algorithm", type(algorithm).__name__)]
        if is_dataclass(algorithm):
            rows += [(each.name.strip("_"), getattr(algorithm, each.name)) for each in fields(algorithm)]
        if told is not None and told.episodes:
            rows += [("return", f"{told.mean_return:.2f}, the mean of {told.episodes:,} episodes while learning")]
        elif told is not None:
            rows += [("reward of a step", f"{told.mean_reward:z.4g}, while learning; no episode has ended")]
        return as_table(["run", ""], rows, repr(self).strip("<>"))

    @property
    def step(self) -> int:
        """Environment steps taken; of several seeds, by the one that has taken fewest."""
        return int(counts(self.run.step).min())

    @property
    def learners(self) -> list[Learner]:
        """The learner of each seed."""
        if len(self.seeds) == 1:
            return [self.run.learner]
        return [_one_of(self.run.learner, np.int32(i)) for i in range(len(self.seeds))]

    @property
    def policies(self) -> list[Policy]:
        """The learnt policy of each seed as it now is: training goes on without it."""
        return [_alone(self.algorithm.policy(learner)) for learner in self.learners]

    @property
    def policy(self) -> Policy:
        """The learnt policy of the only seed.

        Raises:
            ValueError: when there are several seeds.
        """
        if len(self.seeds) != 1:
            raise ValueError(f"this run has {len(self.seeds)} seeds: use `policies`, one for each seed")
        return self.policies[0]

    @property
    def relabel(self) -> Relabel | None:
        """Where rewards come from, when not from the world alone; with several seeds its arrays have an axis [seeds].

        It may be replaced between two reports, as when labels have arrived from people: by one like it (what was
        taught outside), or by other settings, with which it begins anew. A recorded run notes that, and a resumed
        one goes on with it.
        """
        return self.run.relabel

    @relabel.setter
    def relabel(self, relabel: Relabel | RelabelConfig | None) -> None:
        alike = _alike(relabel, self.run.relabel)
        if not alike:
            require_settings(relabel)
            self._relabel, relabel = relabel, self._built(relabel)
        fresh = _copied(relabel)
        self.run = _placed(self.run._replace(relabel=fresh), len(self.seeds), self._mesh)
        if self.environments is not None and not alike:
            self.hosted_loop = self._loop()
        if self.folder is not None:
            told = {"settings": _relabel_settings(self._relabel), "digest": checkpoint.digest(fresh)}
            self._log({"step": self.step, "relabel": told})

    def _built(self, relabel: RelabelConfig | None) -> Relabel | None:
        """A relabel of other settings, for the seeds of this run; an algorithm that cannot take it says so."""
        spec = self._spec()

        def build(seed: jax.Array) -> Relabel | None:
            return build_relabel(relabel, seed, spec)

        built = jax.lax.map(build, self.run.seed) if len(self.seeds) > 1 else build(self.run.seed)
        one = jax.eval_shape(build, jnp.uint32(0))
        jax.eval_shape(lambda key: self.algorithm.init(key, replace(spec, relabel=one)), jax.random.key(0))
        require_extras(self.algorithm, self.learners[0], spec, one)
        return built

    @property
    def digest(self) -> str:
        """One SHA-256 over every array of the run: equal for equal runs."""
        return checkpoint.digest(self.run, self._hosted())

    def save(self) -> Path:
        """Write a checkpoint into the run's folder.

        Raises:
            CheckpointError: when the disk refuses; the last good checkpoint stands.
        """
        assert self.folder is not None, "a run without a folder cannot be saved: train(..., folder=...)"
        self.folder.require_open()
        scored = {"episodes": self._scored.episodes.tolist(), "returns": self._scored.returns.tolist()}
        facts = {
            "version": code_version(),
            "steps": self.steps,
            "relabel": _relabel_settings(self._relabel),
            "scored": scored,
        }
        path, newest = self.folder.path, NEWEST if self.keep == "best" else None if self.keep == "all" else self.keep
        best = best_step(path, [*checkpoint.steps(path), self.step]) if self.keep == "best" else None
        spare = () if best is None else (best,)
        with waiting(f"writing the checkpoint of step {self.step:,}"):
            unchanged = {} if self.written is None else self.written.unchanged(self.run)
            saved = checkpoint.save(path, self.step, self.run, self._hosted(), facts, newest, spare, unchanged)
            self.written = Written.of(checkpoint.read_manifest(saved), self.run)
            self._save_policy(self.folder)
        return saved

    @property
    def saved(self) -> SavedPolicy:
        """What is learnt by now, as it is written so that it can be used without its training."""
        world, folder = self.world, self.folder
        return SavedPolicy(
            policies=tuple(self.policies),
            seeds=self.seeds,
            observation_space=world.observation_space,
            action_space=world.action_space,
            masked=self.run.stage.row.legal is not None,
            step=self.step,
            algorithm=type(self.algorithm).__name__,
            world=world_settings(self.called or world, world) if folder is None else folder.config["world"],
        )

    def _save_policy(self, folder: RunFolder) -> None:
        """Write what was learnt so that it can be used without its training."""
        try:
            policy_folder.save(folder.path, self.saved, None if self.keep == "all" else self.every)
        except StructureError as error:
            warnings.warn(f"the policy cannot be used without its training: {error}", stacklevel=2)

    def note(self, evaluation: Evaluation, test: bool = False) -> None:
        """Record an evaluation at the present step in the run's folder; a test is one by which policies are chosen."""
        if self.folder is not None:
            told = evaluation.as_row() | ({"test": True} if test else {})
            self._log({"step": self.step, "evaluation": told})

    def _log(self, row: dict[str, Any]) -> None:
        """Add a line to the run's log; where that cannot be, what was learnt is saved before the run ends.

        Raises:
            FolderError: when it cannot be: it says what was saved.
        """
        assert self.folder is not None
        try:
            self.folder.append(row)
        except FolderError as error:
            if self.folder.closed or not self.folder.in_place:
                raise
            try:
                self.save()
            except RetornoError as refused:
                raise FolderError(f"{error}; {refused}") from error
            raise FolderError(
                f"{error}; the checkpoint of step {self.step:,} is written all the same. Make room or make the folder "
                f"writable, then go on with: retorno resume {as_typed(self.folder.path)}"
            ) from error

    def close(self) -> None:
        """Close hosted environments, the folder, and what the run has on the disk beside it."""
        if hasattr(self, "run"):
            disk.release(self.run)
        for opened in (self.environments, self.folder):
            if opened is not None:
                opened.close()

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Report]:
        began = saved = time.perf_counter()
        pause = CHECKPOINT_SECONDS
        if self.folder is None:
            for told in self._advance_to_end():
                self._judge(told, self._score() if told.boundary else None, time.perf_counter() - began)
                yield told
            return
        with StopSignals() as stop:
            for told in self._advance_to_end():
                scored = self._score() if told.boundary else None
                self._log(told.as_row() | ({} if scored is None else {"boundary": scored}))
                self._judge(told, scored, time.perf_counter() - began)
                if stop.received and not told.finished:
                    self.save()
                    raise Interrupted(
                        f"stopped by {signal.Signals(stop.received).name} at step {told.step:,} of {self.steps:,}, "
                        f"with everything saved; go on with: retorno resume {as_typed(self.folder.path)}",
                        stop.received,
                    )
                try:
                    yield told
                finally:
                    # Only now, so that what was done between two reports (a relabel taught, an evaluation noted) is
                    # either in the checkpoint with all before it, or done again by a run that is resumed.
                    at = time.perf_counter()
                    due = told.boundary or self.ended or at - saved > pause
                    if due and not self.folder.closed:
                        self.save()
                        saved = time.perf_counter()
                        pause = max(CHECKPOINT_SECONDS, (saved - at) / CHECKPOINT_SHARE)

    def run_to_end(self, progress: Progress | bool | None = None) -> Report | None:
        """Iterate to the end: the last report, None where the budget was used up before.

        Args:
            progress: as for `retorno.study`: one line where somebody looks; False for nothing.
        """
        last = None
        with telling(progress) as told:
            for last in self:
                if told is not None:
                    endless = f"reward {last.mean_reward:z.4g} a step"
                    score = endless if math.isnan(last.mean_return) else f"return {last.mean_return:.2f}"
                    told(min(last.step / last.steps, 1.0), told_answers(last.metrics) or score)
        return last

    def _advance_to_end(self) -> Iterator[Report]:
        began, most, told_once = time.perf_counter(), 1, False
        while self.step < self.steps and self.ended is None:
            boundary = self.steps if self.every is None else (self.step // self.every + 1) * self.every
            until = min(boundary, next((pause for pause in self.pauses if pause > self.step), self.steps), self.steps)
            if self.folder is not None:
                span = max(self.steps // SPANS, 1)
                until = min(until, (self.step // span + 1) * span)
            start, before = time.perf_counter(), Counters.read(self.run)
            ended = self._endings()
            try:
                with waiting(self._under_way(first=not told_once)):
                    advanced = self._advance(until, most)
                self.run, self.observer = advanced.run, advanced.seen.observer
                after, seconds = Counters.read(self.run), time.perf_counter() - start
            except jax.errors.JaxRuntimeError:
                if (why := disk.failure()) is None:
                    raise
                raise why from None
            except BaseException:
                # A world that fails, or Ctrl-C: what was learnt until then can be looked at.
                if self.environments is not None:
                    with contextlib.suppress(RuntimeError):  # What a program was given that did not end is gone.
                        self.run = self.hosted_loop.left(self.run)
                raise
            most, told_once = _next_pace(most, seconds), True
            if not np.asarray(advanced.finite).all():
                if self.folder is not None and (number := asked_to_stop()) is not None:
                    raise Interrupted(
                        f"stopped by {signal.Signals(number).name} before the next report; go on with: retorno resume "
                        f"{self.folder.path}",
                        number,
                    )
                error = self._not_finite(advanced)
                if self.folder is not None:
                    with contextlib.suppress(FolderError):
                        self.folder.append({"step": self.step, "failure": str(error)})
                raise error
            elapsed, reached = time.perf_counter() - began, self.step >= min(boundary, self.steps)
            self.last = report(
                before,
                after,
                advanced.seen,
                steps=self.steps,
                seconds=seconds,
                elapsed=elapsed,
                boundary=reached,
                recorded=isinstance(self.world, Recorded),
            )
            if not self._doubted and (why := doubt(self.run.learner, len(self.seeds) > 1)) is not None:
                self._doubted = True
                warnings.warn(why, stacklevel=2)
            for name, (told, total) in self._endings().items():
                episodes = told - ended[name][0]
                if episodes:
                    self.last.metrics[name] = (total - ended[name][1]) / episodes
            yield self.last

    def _endings(self) -> dict[str, tuple[int, float]]:
        """By the name of each metric that hosted environments tell where an episode ends: of how many, and the sum."""
        if self.environments is None:
            return {}
        said = self.environments.endings
        names = ("success_rate", *(f"info/{name}" for name in said.names[1:]))
        return dict(zip(names, zip(said.told.tolist(), said.total.tolist(), strict=True), strict=True))

    def _under_way(self, first: bool) -> str:
        """What is waited for until the next report."""
        if self.environments is None:
            return "compiling" if first else "training"
        rows = self.environments.num_envs * self.algorithm.rollout
        lived = f"{rows:,} steps" if rows > 1 else "the next steps"
        return f"{'compiling, then ' * first}living {lived} and learning from them"

    def _advance(self, until: int, most: int) -> Advanced:
        """Go on to `until` steps or for `most` updates, whichever comes first."""
        steps = np.clip(until - counts(self.run.step), 0, FURTHEST).astype(np.uint32)
        if self.environments is not None:
            return self.hosted_loop.advance(self.run, self.observer, int(steps), most)
        assert isinstance(self.world, Environment)
        if len(self.seeds) == 1:
            advanced = advance(self.twin, self.world, self.run, self.observer, steps[()], most)
            # XLA lays out what comes back as it likes, for which the next call would be compiled once more.
            return advanced._replace(run=_placed(advanced.run, 1, self._mesh))
        return advance_seeds(self.twin, self.world, self.run, steps, most, self._mesh)

    def rescore(self, scored: dict[str, Any] | None) -> None:
        """Count on from what was counted at the boundary before, as a checkpoint has it; else from now."""
        now = Counters.read(self.run)
        if scored is not None:
            told = (
                np.asarray(scored[name], was.dtype)
                for name, was in (("episodes", now.episodes), ("returns", now.returns))
            )
            now = now._replace(**dict(zip(("episodes", "returns"), told, strict=True)))
        self._scored = now

    def _score(self) -> dict[str, Any]:
        """The mean return of the episodes that ended since the boundary before; what was recorded tells of none."""
        now = Counters.read(self.run)
        episodes, returns = now.episodes - self._scored.episodes, now.returns - self._scored.returns
        each = returns[episodes > 0] / episodes[episodes > 0]
        self._scored = now
        told = len(each) and not isinstance(self.world, Recorded)
        return {"return": float(each.mean()) if told else None, "episodes": int(episodes.sum())}

    def _judge(self, told: Report, scored: dict[str, Any] | None, seconds: float) -> None:
        """Test what was learnt where that is asked for, and see whether the run ends here."""
        if scored is not None:
            score = scored["return"]
            if self.until.tests and not isinstance(self.world, Recorded):
                result = evaluate(self.policies, self.world, self.until.tests, seed=TEST_EPISODES)
                self.note(result, test=True)
                score = result.mean
            if self.folder is not None:
                self.scores = returns_at(self.folder.path)
            elif score is not None:
                self.scores[self.step] = score
        if not told.finished:
            self.ended = self.until.reached(self.scores, seconds / 60)

    def _hosted(self) -> dict[str, np.ndarray]:
        """What belongs to the run and is not among its arrays: on the disk, and of hosted environments."""
        if self.environments is None or self.why_not_resumable is not None:
            return disk.on_disk(self.run)
        return self.environments.snapshot() | disk.on_disk(self.run)

    @property
    def why_not_resumable(self) -> str | None:
        """Why the run could not be resumed exactly; None where it can."""
        return None if isinstance(self.world, Environment) else self.world.why_not_resumable

    def _not_finite(self, advanced: Advanced) -> TrainingError:
        """What is NaN or infinite; the arrays are looked at only now."""
        sums = jax.device_get(advanced.seen.sums)
        bad = next((f"metric {name!r}" for name, x in sums.items() if not np.isfinite(x).all()), None)
        leaf = bad_leaf(advanced.run.learner)
        where = " and ".join(x for x in (bad, leaf and f"tensor {leaf!r}") if x)
        told = [why for why, found in breaches(advanced.run.stage.row).items() if np.asarray(found).any()]
        if not np.isfinite(advanced.seen.rewards).all():
            told.append("pays what is no finite number")
        if told:
            return TrainingError(
                f"a row of the world, by step {self.step:,}, {told[0]}. Training stopped and nothing was saved from "
                "it; the last good checkpoint stands"
            )
        for name, x in sums.items():
            own = name.removeprefix("relabel/")
            if advanced.run.relabel is None or own == name or np.isfinite(x).all():
                continue
            if (trouble := advanced.run.relabel.trouble(own)) is not None:
                return TrainingError(
                    f"{trouble}. Training stopped at step {self.step:,} and nothing was saved from it; the last good "
                    "checkpoint stands"
                )
        return TrainingError(
            f"NaN or infinity in {where} at step {self.step:,}: training stopped and nothing was saved from it; "
            "the last good checkpoint stands. A smaller learning rate or clipped rewards often mend this"
        )


def _spread(run: Run, seeds: int, devices: int) -> tuple[Mesh, Run]:
    """Lay a run over devices: several seeds side by side, else the environments of the only one."""
    shares = math.gcd(seeds, jax.local_device_count()) if seeds > 1 else devices
    mesh = jax.make_mesh((shares,), ("shares",), axis_types=(AxisType.Auto,))
    return mesh, _placed(run, seeds, mesh)


def _placed(run: Run, seeds: int, mesh: Mesh) -> Run:
    """A run as it lies over its devices."""
    split, whole = NamedSharding(mesh, PartitionSpec("shares")), NamedSharding(mesh, PartitionSpec())
    if seeds > 1:
        return jax.device_put(run, split)
    if mesh.size == 1:
        return run
    everywhere = partial(jax.tree.map, lambda _: whole)
    shared = partial(jax.tree.map, lambda x: split if jnp.ndim(x) else whole)
    scores, where = run.scores, everywhere(run)
    shared_scores = {name: split for name in scores._fields if jnp.ndim(getattr(scores, name))}
    where = where._replace(stage=shared(run.stage), scores=where.scores._replace(**shared_scores))
    return jax.device_put(run, where)


@partial(jax.jit, compiler_options=IN_HASTE)
def _one_of(several: AnyTree, number: Int[Array, ""]) -> AnyTree:
    """That of one seed: one program, where a slice of each array would be one for each shape."""
    return jax.tree.map(lambda x: x[number], several)


def _copied(tree: AnyTree) -> AnyTree:
    """The same in buffers of its own, by the device alone: nothing is compiled for it."""
    return jax.tree.map(lambda x: jax.device_put(x, may_alias=False), tree)


def _alone(tree: AnyTree) -> AnyTree:
    """The same in buffers of its own on one device: what stands whole on several would be worked out on each."""

    def whole(x: Any) -> Any:
        held = isinstance(x, Array) and not isinstance(x, Tracer)  # Not where somebody's program asks.
        return x.addressable_data(0) if held and x.is_fully_replicated else x

    return _copied(jax.tree.map(whole, tree))


def _alike(given: Any, held: Relabel | None) -> bool:
    """Whether one relabel can stand in another's place: the same structure, shapes and dtypes."""
    shapes = lambda tree: [(jnp.shape(x), jnp.result_type(x)) for x in jax.tree.leaves(tree)]  # noqa: E731
    return jax.tree.structure(given) == jax.tree.structure(held) and shapes(given) == shapes(held)


def require_settings(relabel: Any) -> None:
    """Refuse a relabel that a run could not be begun with, nor restored from.

    Raises:
        TypeError: when it holds arrays; it says what to give.
    """
    if isinstance(relabel, Relabel) and jax.tree.leaves(relabel):
        raise TypeError(
            f"{type(relabel).__name__} holds arrays, and a run begins with settings: give the frozen dataclass whose "
            "build(key, spec) makes it, and then set training.relabel to what was taught"
        )


def _relabel_settings(relabel: RelabelConfig | None) -> Any:
    """A relabel's settings as JSON."""
    return to_json(relabel, "relabel")


def _next_pace(most: int, seconds: float) -> int:
    """Updates for the next report, so that it comes after about `REPORT_SECONDS`."""
    if seconds < REPORT_SECONDS / 2:
        return min(4 * most, 2**30)
    return max(most // 2, 1) if seconds > 2 * REPORT_SECONDS else most


def world_settings(given: Any, opened: World, hosted: bool | None = None) -> dict[str, Any]:
    """What `config.json` says of a world: its name, or what it looks like where it was made in Python."""
    name = WorldName(given, hosted) if isinstance(given, str) else WorldName.of(given)
    return name.as_json() if name else {"name": None, "description": repr(opened)}


def settings_of(training: Training, world: dict[str, Any], devices: int) -> dict[str, Any]:
    """What `config.json` holds."""
    return {
        "algorithm": to_json(training.algorithm),
        "world": world,
        "steps": training.steps,
        "seeds": list(training.seeds),
        "every": training.every,
        "relabel": _relabel_settings(training._relabel),
        "keep": training.keep,
        "until": to_json(training.until),
        "devices": devices,
        "version": code_version(),
        **({} if training.begun_from is None else {"init_from": training.begun_from}),
    }
