"""retorno's side of bellman.py: solves that answer with their seconds, and single reports in JSON."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numba
import numpy as np
from bellman_models import ACCURACY, MODELS, Arrays, Solve, garnet, holes_of, load, solving
from measure import serve

from retorno import bellman
from retorno.bellman.backup import Backup, backup_of
from retorno.bellman.bounds import tails
from retorno.bellman.sweeping import rows_of, sweep
from retorno.core.mdp import MDP, Numbered
from retorno.environments.formats import from_rows
from retorno.environments.grids.lakes import frozen_lake, random_lake

PAIRS = 7


def model_of(arrays: Arrays) -> MDP:
    """The model, of the same memory where the layout allows."""
    rows = (arrays.state_ptr, arrays.row_ptr, arrays.next_state, arrays.probability)
    return from_rows(*rows, pair_reward=arrays.reward)


def retorno(arrays: Arrays) -> Solve:
    """The front door, with everything left to it."""
    model, discount = model_of(arrays), float(arrays.discount)

    def solve() -> tuple[np.ndarray, dict[str, Any]]:
        found = bellman.solve(model, discount, ACCURACY)
        assert found.converged
        width = float((found.upper - found.lower).max())
        return found.value, {"sweeps": found.sweeps, "method": found.method, "width": width}

    return solve


def tiny() -> Callable[[], float]:
    """Seconds of solving ten states: the median of 200 calls."""
    model = model_of(garnet(10))
    return lambda: statistics.median(seconds(lambda: bellman.solve(model, 0.99, ACCURACY)) for _ in range(200))


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def resident() -> float:
    """Resident memory now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def forget_peak() -> None:
    """Count the peak from now on (Linux; see proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """The most that resident memory was since then, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def stored(array: np.ndarray) -> int:
    """Bytes that an array takes: one number stands for all where it is repeated without being stored."""
    return array.itemsize if array.strides == (0,) else array.nbytes


def size_of(model: MDP) -> float:
    """MB of a model's own arrays."""
    names = ("state_ptr", "action", "row_ptr", "next_state", "probability", "reward", "discount", "initial")
    return sum(stored(getattr(model, name)) for name in names) / 2**20


def memory(name: str) -> dict[str, float]:
    """Memory of loading and solving a model, beyond that of a process that has solved its small twin."""
    folder = Path(os.environ["BELLMAN_FOLDER"])
    retorno(load(folder / f"{name} warm.npz"))()
    base = resident()
    forget_peak()
    model = model_of(load(folder / f"{name}.npz"))
    discount = float(MODELS[name](1e3).discount)
    loaded, model_mb = resident(), size_of(model)
    found = bellman.solve(model, discount, ACCURACY)
    assert found.converged
    beyond = peak() - base
    return {"ratio": beyond / model_mb, "model_mb": model_mb, "base_mb": base, "loaded_mb": loaded, "peak_mb": peak()}


def matrix_free(less: float, holes: float, cost: float) -> dict[str, Any]:
    """A lake of ten million states that is computed and never stored: the whole call, compiling included."""
    side = int((10_000_000 / less) ** 0.5) + 1
    ended = holes_of(side, holes)
    ended[-1] = True
    goal = side * side - 1

    def transition(state: int, action: int, k: int) -> tuple[int, float, float, float]:
        row, column = state // side, state % side
        way = (action + k - 1) % 4
        if way == 0:
            column = max(column - 1, 0)
        elif way == 1:
            row = min(row + 1, side - 1)
        elif way == 2:
            column = min(column + 1, side - 1)
        else:
            row = max(row - 1, 0)
        target = row * side + column
        chance = 0.0 if ended[state] else 1 / 3
        return target, chance, (1.0 if target == goal else 0.0) - cost, 0.0 if ended[target] else 1.0

    began = time.perf_counter()
    found = bellman.solve_matrix_free(bellman.MatrixFree(transition, side * side, 4, 3), 0.99, ACCURACY)
    whole = time.perf_counter() - began
    assert found.converged
    return {"seconds": whole, "states": side * side, "mb": peak(), "sweeps": found.sweeps}


@numba.njit(nogil=True, cache=True, fastmath=True)
def read(column: Any, weight: Any, reward: Any, value: Any) -> float:
    """Every byte that a sweep reads, once and in order."""
    total = 0.0
    for i in range(len(column)):
        total += weight[i] * column[i]
    return total + reward.sum() + value.sum()


@numba.njit(nogil=True, cache=True, fastmath=True)
def gather(column: Any, weight: Any, value: Any) -> float:
    """The same with each value where its column says: the least that any sweep over such rows does."""
    total = 0.0
    for i in range(len(column)):
        total += weight[i] * value[np.uint64(column[i])]
    return total


@contextmanager
def threads(count: int) -> Iterator[Callable[[Any, np.ndarray], object]]:
    """So many for the sweeps inside, and a `read` with as many."""
    with patch("os.cpu_count", lambda: count), ThreadPoolExecutor(count) as pool:

        def share(model: Any, value: np.ndarray) -> object:
            if count == 1:
                return read(model.column, model.weight, model.reward, value)
            parts = [np.array_split(x, count) for x in (model.column, model.weight, model.reward, value)]
            return list(pool.map(read, *parts))

        yield share


def against_reading(backup: Backup, count: int, pairs: int = PAIRS) -> dict[str, float]:
    """One synchronous sweep over the time to read its bytes once, with so many threads each."""
    model, value = rows_of(backup), np.random.default_rng(1).random(backup.num_states)
    new, choice = np.empty_like(value), np.empty(backup.num_states, np.int64)
    swept, read_in, gathered = [], [], []
    with threads(count) as share:
        for _ in range(pairs + 1):
            swept.append(seconds(lambda: sweep(backup, value, new, choice)))
            read_in.append(seconds(lambda: share(model, value)))
            gathered.append(seconds(lambda: gather(model.column, model.weight, value)))
    swept, read_in, gathered = swept[1:], read_in[1:], gathered[1:]  # The first warms up.
    ratios = [a / b for a, b in zip(swept, read_in, strict=True)]
    read_bytes = sum(x.nbytes for x in (model.column, model.weight, model.reward, model.begin, model.ptr, value))
    return {
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "sweep": statistics.median(swept),
        "read": statistics.median(read_in),
        "gather": statistics.median(gathered),
        "gb": read_bytes / 1e9,
        "pairs": pairs,
    }


def sweeps(name: str) -> dict[str, Any]:
    """The same with one thread and with two."""
    arrays = load(Path(os.environ["BELLMAN_FOLDER"]) / f"{name}.npz")
    backup = backup_of(model_of(arrays), float(arrays.discount))
    # Two first: the pool that sweeps share is made once, for as many threads as there are cores then.
    two, one = against_reading(backup, 2), against_reading(backup, 1)
    return {"one": one, "two": two, "gain": one["sweep"] / two["sweep"]}


def build(name: str) -> dict[str, float]:
    """Seconds of making a checked model from arrays: as rows with r(s, a), and from the very arrays it stores."""
    arrays = load(Path(os.environ["BELLMAN_FOLDER"]) / f"{name}.npz")
    made = model_of(arrays)
    own = [made.state_ptr, made.action, made.row_ptr, made.next_state, made.probability, made.reward, made.discount]
    names = (Numbered(made.num_states), Numbered(made.num_actions))
    rows = [seconds(lambda: model_of(arrays)) for _ in range(5)]
    whole = [seconds(lambda: MDP(*own, made.initial, *names)) for _ in range(5)]
    shared = made.probability is arrays.probability or np.shares_memory(made.probability, arrays.probability)
    return {"seconds": statistics.median(rows), "arrays": statistics.median(whole), "copied": float(not shared)}


def growth(states: int) -> dict[str, float]:
    """A garnet of so many states: a sweep, its read floor, the whole solve and its memory."""
    retorno(garnet(5_000))()
    base = resident()
    forget_peak()
    arrays = garnet(states)
    model = model_of(arrays)
    discount, model_mb = float(arrays.discount), size_of(model)
    del arrays
    solves = []
    while not solves or (sum(solves) < 2 and len(solves) < 5):
        solves.append(seconds(lambda: bellman.solve(model, discount, ACCURACY)))
    solve_peak = peak()
    result = against_reading(backup_of(model, discount), os.cpu_count() or 1, 3)
    return {
        "solve": statistics.median(solves),
        "sweep": result["sweep"],
        "read": result["read"],
        "model_mb": model_mb,
        "beyond_mb": max(solve_peak - base, 0.0),
        "transitions": float(model.num_transitions),
    }


def anderson(backup: Backup, memory: int = 5) -> int:
    """Value iteration with Anderson acceleration (Geist & Scherrer 2018) to `ACCURACY`: the sweeps that it takes.

    The next value is the mix of the last `memory` + 1 backups whose residuals come nearest to nothing; it
    forgets them all where a residual doubles. The same bounds tell when it is done.
    """
    value, new = np.zeros((2, backup.num_states))
    choice = np.empty(backup.num_states, np.int64)
    moves: list[np.ndarray] = []
    backups: list[np.ndarray] = []
    sweeps, before = 0, np.inf
    while True:
        low, high = sweep(backup, value, new, choice)
        sweeps += 1
        below, above = tails(backup.least_leak, backup.most_leak, low, high, backup.noise(value))
        if above - below <= ACCURACY:
            return sweeps
        residual = max(-low, high)
        if residual > 2 * before:
            moves, backups = [], []
        before = min(before, residual)
        kept = len(moves) - memory if memory else len(moves)
        moves, backups = [*moves[max(kept, 0) :], new - value], [*backups[max(kept, 0) :], new.copy()]
        mix = np.linalg.lstsq(np.diff(np.stack(moves, 1)), moves[-1], rcond=1e-12)[0]
        value = backups[-1] - np.diff(np.stack(backups, 1)) @ mix


def acceleration() -> dict[str, Any]:
    """Plain and accelerated value iteration beside what `auto` chooses: seconds and sweeps."""
    lakes = {holes: frozen_lake(random_lake(200, 200, holes)) for holes in (0.2, 0.0)}
    models = {
        "Garnet, 10k states": model_of(garnet(10_000)),
        "lake 200 × 200, a fifth holes": lakes[0.2],
        "lake 200 × 200, no holes": lakes[0.0],
    }
    rows = [[name, discount, *_accelerated(m, discount)] for name, m in models.items() for discount in (0.99, 0.999)]
    return {"rows": rows}


def _accelerated(model: MDP, discount: float) -> list[float]:
    """Seconds and sweeps of value iteration, of the same accelerated, and seconds of what `auto` chooses."""
    backup = backup_of(model, discount)
    told: list[float] = []
    for memory in (0, 5):
        swept = anderson(backup, memory)
        told += [min(seconds(partial(anderson, backup, memory)) for _ in range(3)), swept]
    return [*told, min(seconds(partial(bellman.solve, model, discount, ACCURACY)) for _ in range(3))]


REPORTS: dict[str, Callable[..., dict[str, Any]]] = {
    "memory": memory,
    "matrix_free": lambda less, holes, cost: matrix_free(float(less), float(holes), float(cost)),
    "sweeps": sweeps,
    "acceleration": acceleration,
    "build": build,
    "growth": lambda states: growth(int(states)),
}

if __name__ == "__main__":
    if sys.argv[1] in REPORTS:
        print(json.dumps(REPORTS[sys.argv[1]](*sys.argv[2:])))
    else:
        serve({"tiny": tiny, **{f"retorno {name}": partial(solving, "retorno", retorno, name) for name in MODELS}})
