"""Exact answers from a model: what a policy is worth, what the best one is, and how sure that is."""

from retorno.bellman.average import (
    average_reward,
    evaluate_average,
    multichain_policy_iteration,
    relative_value_iteration,
)
from retorno.bellman.comparison import compare
from retorno.bellman.control import auto, best_soft, evaluate, solve
from retorno.bellman.derivatives import sensitivity
from retorno.bellman.entropy import EntropySolution, maximum_entropy
from retorno.bellman.evaluation import closed_form, iterative, krylov, uniform
from retorno.bellman.explanation import explain
from retorno.bellman.horizon import evaluate_horizon, finite_horizon
from retorno.bellman.improvement import policy_iteration
from retorno.bellman.linear_programs import linear_programming, occupancy_program
from retorno.bellman.matrix_free import MatrixFree, solve_matrix_free
from retorno.bellman.minimax import is_for_two, minimax
from retorno.bellman.occupancy_measure import occupancy
from retorno.bellman.policy_gradients import policy_gradient, softmax_policy
from retorno.bellman.rational import evaluate_exactly, solve_exactly
from retorno.bellman.rational_average import average_exactly, evaluate_average_exactly
from retorno.bellman.rational_reachability import reach_exactly
from retorno.bellman.reachability import reach
from retorno.bellman.returns import return_distribution, return_variance
from retorno.bellman.semi_markov import discounted_by_time
from retorno.bellman.sweeping import (
    asynchronous,
    gauss_seidel,
    interval_iteration,
    modified_policy_iteration,
    partitioned,
    prioritised_sweeping,
    topological,
    value_iteration,
)

METHODS = (
    value_iteration,
    modified_policy_iteration,
    gauss_seidel,
    asynchronous,
    topological,
    prioritised_sweeping,
    partitioned,
    interval_iteration,
    policy_iteration,
    linear_programming,
)
"""Every method of `solve`, `auto` aside."""

__all__ = [
    "METHODS",
    "EntropySolution",
    "MatrixFree",
    "asynchronous",
    "auto",
    "average_exactly",
    "average_reward",
    "best_soft",
    "closed_form",
    "compare",
    "discounted_by_time",
    "evaluate",
    "evaluate_average",
    "evaluate_average_exactly",
    "evaluate_exactly",
    "evaluate_horizon",
    "explain",
    "finite_horizon",
    "gauss_seidel",
    "interval_iteration",
    "is_for_two",
    "iterative",
    "krylov",
    "linear_programming",
    "maximum_entropy",
    "minimax",
    "modified_policy_iteration",
    "multichain_policy_iteration",
    "occupancy",
    "occupancy_program",
    "partitioned",
    "policy_gradient",
    "policy_iteration",
    "prioritised_sweeping",
    "reach",
    "reach_exactly",
    "relative_value_iteration",
    "return_distribution",
    "return_variance",
    "sensitivity",
    "softmax_policy",
    "solve",
    "solve_exactly",
    "solve_matrix_free",
    "topological",
    "uniform",
    "value_iteration",
]
