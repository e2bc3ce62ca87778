"""The same models in QuantEcon, mdpsolver, pymdptoolbox and Storm; run by bellman.py with the peers' own Python."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from bellman_models import ACCURACY, MODELS, Arrays, Solve, absorbing, garnet, solving
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
        rows = [flat[i:j] for i, j in zip(transitions[:-1], transitions[1:], strict=True)]
        return [rows[i:j] for i, j in zip(pairs[:-1], pairs[1:], strict=True)]

    reward = arrays.reward.tolist()
    return {
        "discount": float(arrays.discount),
        "rewards": [reward[i:j] for i, j in zip(pairs[:-1], pairs[1:], strict=True)],
        "tranMatProbs": nested(arrays.probability.tolist()),
        "tranMatColumns": nested(arrays.next_state.tolist()),
    }


def mdpsolver(algorithm: str, update: str, arrays: Arrays) -> Solve:
    """mdpsolver from nested lists."""
    import mdpsolver as package

    problem = package.model()
    problem.mdp(**mdpsolver_lists(absorbing(arrays)))

    def solve() -> tuple[np.ndarray, dict[str, Any]]:
        problem.solve(algorithm=algorithm, tolerance=ACCURACY, update=update)
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

    arrays = absorbing(arrays)
    builder = stormpy.SparseMatrixBuilder(0, 0, 0, False, True, 0)
    pairs, transitions = arrays.state_ptr.tolist(), arrays.row_ptr.tolist()
    order = np.lexsort((arrays.next_state, np.repeat(np.arange(len(arrays.reward)), np.diff(arrays.row_ptr))))
    column, probability = arrays.next_state[order].tolist(), arrays.probability[order].tolist()
    for state in range(arrays.num_states):
        builder.new_row_group(pairs[state])
        for pair in range(pairs[state], pairs[state + 1]):
            row: dict[int, float] = {}
            for t in range(transitions[pair], transitions[pair + 1]):
                row[column[t]] = row.get(column[t], 0.0) + probability[t]
            for target, chance in row.items():
                builder.add_next_value(pair, target, chance)
    labels = stormpy.StateLabeling(arrays.num_states)
    labels.add_label("init")
    labels.add_label_to_state("init", 0)
    rewards = {"r": stormpy.SparseRewardModel(optional_state_action_reward_vector=arrays.reward.tolist())}
    parts = stormpy.SparseModelComponents(builder.build(), labels, rewards)
    model = stormpy.SparseMdp(parts)
    question = stormpy.parse_properties(f'R{{"r"}}max=? [Cdiscount={float(arrays.discount)!r}]')[0]
    environment = stormpy.Environment()
    solver = environment.solver_environment.minmax_solver_environment
    solver.precision = stormpy.Rational(ACCURACY)

    def solve() -> tuple[np.ndarray, dict[str, Any]]:
        found = stormpy.model_checking(model, question, only_initial_states=False, environment=environment)
        return np.array(found.get_values()), {}

    return solve


SOLVERS: dict[str, Callable[[Arrays], Solve]] = {
    "quantecon_mpi": partial(quantecon, "modified_policy_iteration"),
    "quantecon_vi": partial(quantecon, "value_iteration"),
    "quantecon_pi": partial(quantecon, "policy_iteration"),
    "mdpsolver_mpi": partial(mdpsolver, "mpi", "standard"),
    "mdpsolver_gs": partial(mdpsolver, "mpi", "gs"),
    "mdpsolver_vi": partial(mdpsolver, "vi", "gs"),
    "pymdptoolbox": pymdptoolbox,
    "storm": storm,
}
