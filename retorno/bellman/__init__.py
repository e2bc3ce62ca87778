"""Exact answers from a model: what a policy is worth, what the best one is, and how sure that is."""

from retorno.bellman.control import best_soft, policy_iteration, solve, value_iteration
from retorno.bellman.evaluation import closed_form, evaluate, iterative, uniform

__all__ = [
    "best_soft",
    "closed_form",
    "evaluate",
    "iterative",
    "policy_iteration",
    "solve",
    "uniform",
    "value_iteration",
]
