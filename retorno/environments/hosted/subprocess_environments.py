"""Gymnasium environments in processes of their own, several to each, in lockstep.

A process is a fresh Python that is told what to make through a pipe: not a fork, which JAX's
threads forbid, and not multiprocessing's spawn, which runs the user's script again. It lives
until the pipe closes, so none is left behind however a run ends, and leaves Ctrl-C and SIGTERM to
the run, which still has to take its snapshot. (Pipes that are passed on by number exist on Linux
and macOS.)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import gymnasium as gym
import jax
import numpy as np

from retorno.core.errors import WorldError
from retorno.core.time_step import TimeStep
from retorno.environments.hosted.endings import Endings
from retorno.environments.hosted.sync_environments import Keepers

PATIENCE = 5.0
"""Seconds that a process has for closing its environments."""


class Processes:
    """The same environments as `Keepers`, with the same rows and snapshots, spread over processes.

    Args:
        makers: one function for each environment that makes it.
        seed: the run's.
        name: what messages call the environments.
        processes: how many; as many as there are cores if None.
        late: as of `Keepers`.
        group: as of `Keepers`.
    """

    why_not_resumable: str | None = None

    def __init__(
        self,
        makers: Sequence[Callable[[], gym.Env]],
        seed: int,
        name: str,
        processes: int | None = None,
        late: str = "",
        group: int = 1,
        info_keywords: Sequence[str] = (),
    ) -> None:
        self.num_envs, self.name = len(makers), name
        self.endings = Endings(len(makers), info_keywords)
        count = min(processes or os.cpu_count() or 1, self.num_envs)
        self._groups = np.array_split(np.arange(self.num_envs), count)
        self._bounds = np.cumsum([len(group) for group in self._groups])[:-1]
        self._calls = 0
        """How many were made: answers carry their number. Ctrl-C may have left one that nobody waits for any more."""
        self._pipes, self._processes = zip(*(_launch() for _ in self._groups), strict=True)
        self._finish = weakref.finalize(self, _finish, self._pipes, self._processes)
        for pipe, part in zip(self._pipes, self._groups, strict=True):
            told = ([makers[i] for i in part], part.tolist(), seed, name, late, group, info_keywords)
            pipe.send_bytes(cloudpickle.dumps(told))
        self._receive()

    def reset(self) -> TimeStep:
        return self._join(self._call("reset"))

    def step(self, action: np.ndarray) -> TimeStep:
        lived = self._call("step_and_tell", np.split(np.asarray(action), self._bounds))
        for group, (row, newest) in zip(self._groups, lived, strict=True):
            self.endings.add(group, newest, row.last)
        return self._join([row for row, _ in lived])

    def snapshot(self) -> dict[str, np.ndarray]:
        return self._join(self._call("snapshot"))

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        ages = snapshot["age"]
        if ages.shape != (self.num_envs,):
            raise WorldError(f"the snapshot is of {len(ages)} environments, these are {self.num_envs}")
        steps = np.cumsum([part.sum() for part in np.split(ages, self._bounds)])[:-1]
        parts = {name: np.split(x, steps if name == "actions" else self._bounds) for name, x in snapshot.items()}
        self._call("restore", [{name: parts[name][k] for name in parts} for k in range(len(self._groups))])

    def close(self) -> None:
        self._finish()

    def _join(self, parts: list[Any]) -> Any:
        return jax.tree.map(lambda *x: np.concatenate(x), *parts)

    def _call(self, method: str, arguments: Sequence[Any] | None = None) -> list[Any]:
        """Call a method of every group at once: their answers, in order."""
        self._calls += 1
        for k, pipe in enumerate(self._pipes):
            try:
                pipe.send((self._calls, method, () if arguments is None else (arguments[k],)))
            except (BrokenPipeError, OSError) as error:
                raise self._lost(k) from error
        return self._receive()

    def _receive(self) -> list[Any]:
        answers = []
        for k, pipe in enumerate(self._pipes):
            try:
                number, good, answer = pipe.recv()
                while number < self._calls:
                    number, good, answer = pipe.recv()
                answers.append((good, answer))
            except (EOFError, OSError) as error:
                raise self._lost(k) from error
        for good, answer in answers:
            if not good:
                raise answer
        return [answer for _, answer in answers]

    def _lost(self, k: int) -> WorldError:
        if not self._finish.alive:
            return WorldError(f"the environments of {self.name} are closed: open them again")
        group = self._groups[k]
        return WorldError(
            f"the process of environments {group[0]} to {group[-1]} ({self.name}) ended with exit code "
            f"{self._processes[k].wait(PATIENCE)}: it crashed or was killed, perhaps for want of memory"
        )


def _launch() -> tuple[Connection, subprocess.Popen[bytes]]:
    ours, theirs = Pipe()
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({theirs.fileno()})"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    theirs.close()
    return ours, process


def _finish(pipes: Sequence[Connection], processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for pipe in pipes:
        pipe.close()
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve(descriptor: int) -> None:
    """A process's whole life: make environments, answer calls until the pipe closes."""
    for told in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told, signal.SIG_IGN)
    pipe = Connection(descriptor)
    makers, numbers, *told = cloudpickle.loads(pipe.recv_bytes())
    keepers = None
    try:
        seed, name, *more = told
        keepers = _answer(pipe, 0, lambda: Keepers([make() for make in makers], numbers, seed, name, True, *more))
        while keepers is not None:
            number, method, arguments = pipe.recv()
            _answer(pipe, number, lambda: getattr(keepers, method)(*arguments))  # noqa: B023
    except (EOFError, OSError):
        pass
    finally:
        if keepers is not None:
            keepers.close()


def _answer(pipe: Connection, number: int, call: Callable[[], Any]) -> Any:
    """Send what a call of this number returns, or the error that it raises as one that surely pickles."""
    try:
        answer = call()
    except Exception as error:
        told = error if isinstance(error, WorldError | ValueError) else f"{type(error).__name__}: {error}"
        pipe.send((number, False, type(error)(str(error)) if told is error else WorldError(told)))
        return None
    pipe.send((number, True, None if isinstance(answer, Keepers) else answer))
    return answer
