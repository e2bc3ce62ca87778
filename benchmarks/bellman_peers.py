"""The same models in QuantEcon, mdpsolver, pymdptoolbox and Storm; run by bellman.py with the peers' own Python."""

from __future__ import annotations

import itertools
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from bellman_models import ACCURACY, MODELS, Arrays, Solve, absorbing, garnet, load, solving
from measure import serve

LIMIT = 120
"""Seconds that one solve may take."""
ENDLESS = 10**7
"""More iterations than any of them makes."""


def _pairs(arrays: Arrays) -> Any:
    from scipy.sparse import csr_matrix

    shape = (len(arrays.reward), arrays.num_states)
    return csr_matrix((arrays.probability, arrays.next_state, arrays.row_ptr), shape=shape)


def quantecon(method: str, arrays: Arrays) -> Solve:
    """DiscreteDP over sparse state–action pairs."""
    from quantecon.markov import DiscreteDP

    arrays = absorbing(arrays)
    problem = DiscreteDP(arrays.reward, _pairs(arrays), float(arrays.discount), arrays.state, arrays.action)

    def solve() -> tuple[np.ndarray, dict[str, Any]]:
        found = problem.solve(method, epsilon=ACCURACY, max_iter=ENDLESS)
        return found.v, {"sweeps": int(found.num_iter)}

    return solve


def mdpsolver_lists(arrays: Arrays) -> dict[str, Any]:
    """The nested lists that mdpsolver reads."""
    pairs, transitions = arrays.state_ptr.tolist(), arrays.row_ptr.tolist()

    def nested(flat: list[Any]) -> list[list[list[Any]]]:
        rows = [flat[i:j] for i, j in itertools.pairwise(transitions)]
        return [rows[i:j] for i, j in itertools.pairwise(pairs)]

    reward = arrays.reward.tolist()
    return {
        "discount": float(arrays.discount),
        "rewards": [reward[i:j] for i, j in itertools.pairwise(pairs)],
        "tranMatProbs": nested(arrays.probability.tolist()),
        "tranMatColumns": nested(arrays.next_state.tolist()),
    }


def mdpsolver(algorithm: str, update: str, arrays: Arrays) -> Solve:
    """Mdpsolver from nested lists."""
    import mdpsolver as package

    problem = package.model()
    problem.mdp(**mdpsolver_lists(absorbing(arrays)))
    nothing = [0.0] * arrays.num_states  # or it would begin with its last answer

    def solve() -> tuple[np.ndarray, dict[str, Any]]:
        problem.solve(algorithm=algorithm, tolerance=ACCURACY, update=update, initValueVector=nothing)
        return np.array(problem.getValueVector()), {}

    return solve


def pymdptoolbox(arrays: Arrays) -> Solve:
    """Modified policy iteration over a sparse matrix for each action."""
    from mdptoolbox import mdp

    arrays = absorbing(arrays)
    actions = int(arrays.action.max()) + 1
    # Every state needs every action here: where it has but one, that stands for all.
    rows = arrays.state_ptr[:-1, None] + np.minimum(np.arange(actions), np.diff(arrays.state_ptr)[:, None] - 1)
    transition, reward = _pairs(arrays), arrays.reward[rows]
    matrices = [transition[rows[:, a]] for a in range(actions)]
    discount = float(arrays.discount)

    def solve() -> tuple[np.ndarray, dict[str, Any]]:
        problem = mdp.PolicyIterationModified(matrices, reward, discount, epsilon=ACCURACY, max_iter=ENDLESS)
        problem.run()
        return np.array(problem.V), {"sweeps": int(problem.iter)}

    return solve


def storm(arrays: Arrays) -> Solve:
    """Storm's discounted total reward."""
    import stormpy
    from stormpy.datastructures import SparseMatrixBuilder
    from stormpy.models import SparseMdp, SparseModelComponents, SparseRewardModel, StateLabeling

    arrays = absorbing(arrays)
    matrix = _pairs(arrays).copy()
    matrix.sum_duplicates()
    pairs, states = matrix.shape
    builder = SparseMatrixBuilder[float](pairs, states, matrix.nnz, True, True, states)
    entries = (np.repeat(np.arange(pairs), np.diff(matrix.indptr)), matrix.indices, matrix.data, arrays.state_ptr[:-1])
    builder.add_next_values(*(x.tolist() for x in entries))
    labels = StateLabeling(states)
    labels.add_label("init")
    labels.add_label_to_state("init", 0)
    reward = SparseRewardModel[float](optional_state_action_reward_vector=arrays.reward.tolist())
    parts = SparseModelComponents[float](builder.build(), labels, {"r": reward})
    model = SparseMdp[float](parts)
    question = stormpy.parse_properties(f'R{{"r"}}max=? [Cdiscount={float(arrays.discount)!r}]')[0]
    environment = stormpy.Environment()
    iteration = environment.solver().min_max()
    iteration.precision, iteration.relative_termination_criterion = stormpy.Rational(ACCURACY), False

    def solve() -> tuple[np.ndarray, dict[str, Any]]:
        found = stormpy.model_checking(model, question, only_initial_states=False, environment=environment)
        return np.array(found.get_value_vector()), {}

    return solve


SOLVERS: dict[str, Callable[[Arrays], Solve]] = {
    "quantecon_mpi": partial(quantecon, "modified_policy_iteration"),
    "quantecon_vi": partial(quantecon, "value_iteration"),
    "quantecon_pi": partial(quantecon, "policy_iteration"),
    "mdpsolver_mpi": partial(mdpsolver, "mpi", "standard"),
    "mdpsolver_gs": partial(mdpsolver, "mpi", "gs"),
    "pymdptoolbox": pymdptoolbox,
    "storm": storm,
}


def tiny() -> Callable[[], float]:
    """Seconds of solving ten states in QuantEcon, by its quickest way: the median of 200 calls."""
    from quantecon.markov import DiscreteDP

    arrays = garnet(10)
    transition, reward = _pairs(arrays).toarray().reshape(10, 4, 10), arrays.reward.reshape(10, 4)
    problem = DiscreteDP(reward, transition, float(arrays.discount))

    def measure() -> float:
        times = []
        for _ in range(200):
            began = time.perf_counter()
            problem.solve("policy_iteration")
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    return measure


def memory(name: str) -> dict[str, float]:
    """QuantEcon's memory, in MB: before, with the model, and at most."""
    folder = Path(os.environ["BELLMAN_FOLDER"])
    SOLVERS["quantecon_mpi"](load(folder / f"{name} warm.npz"))()
    base = _resident()
    solve = SOLVERS["quantecon_mpi"](load(folder / f"{name}.npz"))
    loaded = _resident()
    solve()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"base_mb": base, "loaded_mb": loaded, "peak_mb": peak}


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def build(peer: str, name: str) -> dict[str, float]:
    """Seconds of a peer's construction from the arrays that it reads; mdpsolver's are lists, made before."""
    arrays = load(Path(os.environ["BELLMAN_FOLDER"]) / f"{name}.npz")
    if peer == "mdpsolver":
        import mdpsolver as package

        began = time.perf_counter()
        lists = mdpsolver_lists(arrays)
        made = time.perf_counter()
        package.model().mdp(**lists)
        return {"lists": made - began, "seconds": time.perf_counter() - made}
    from quantecon.markov import DiscreteDP

    state, action, discount = arrays.state, arrays.action, float(arrays.discount)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        DiscreteDP(arrays.reward, _pairs(arrays), discount, state, action)
        times.append(time.perf_counter() - began)
    return {"seconds": statistics.median(times)}


def answers_only() -> IO[str]:
    """Standard output for our answers; whatever a package prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


REPORTS: dict[str, Callable[..., dict[str, float]]] = {"memory": memory, "build": build}

if __name__ == "__main__":
    if sys.argv[1] in REPORTS:
        print(json.dumps(REPORTS[sys.argv[1]](*sys.argv[2:])))
    else:
        works = {
            f"{solver} {name}": partial(solving, solver, prepare, name, LIMIT)
            for solver, prepare in SOLVERS.items()
            for name in MODELS
        }
        serve({"tiny": tiny, **works}, answers_only())
