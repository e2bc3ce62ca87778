"""Exact answers from a model: what a policy is worth, what the best one is, and how sure that is."""

from retorno.bellman.control import auto, best_soft, evaluate, solve
from retorno.bellman.evaluation import closed_form, iterative, krylov, uniform
from retorno.bellman.improvement import policy_iteration
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

__all__ = [
    "asynchronous",
    "auto",
    "best_soft",
    "closed_form",
    "evaluate",
    "gauss_seidel",
    "interval_iteration",
    "iterative",
    "krylov",
    "modified_policy_iteration",
    "partitioned",
    "policy_iteration",
    "prioritised_sweeping",
    "solve",
    "topological",
    "uniform",
    "value_iteration",
]
