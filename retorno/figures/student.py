"""Silver's student: the lecture's tables, exact, and learners on their way to them."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np
from jax import Array

from retorno import bellman
from retorno.algorithms import SARSA, DoubleQLearning, ExpectedSARSA, QLambda, QLearning, TreeBackup
from retorno.core.time_step import Trajectory
from retorno.environments.sampled_world import sampled
from retorno.environments.textbook.lecture import student, student_process
from retorno.environments.wrappers import TimeLimit
from retorno.figures.exhibit import Check, Exhibit, Source
from retorno.plots.curves import mean_reach, seed_curves
from retorno.policies import Epsilon
from retorno.run.loop import Run
from retorno.run.probe import probe

LECTURE = {
    ("process", 0.0): {"C1": -2, "C2": -2, "C3": -2, "Pass": 10, "Pub": 1, "Facebook": -1},
    ("process", 0.9): {"C1": -5.0, "C2": 0.9, "C3": 4.1, "Pass": 10, "Pub": 1.9, "Facebook": -7.6},
    ("process", 1.0): {"C1": -13, "C2": 1.5, "C3": 4.3, "Pass": 10, "Pub": 0.8, "Facebook": -23},
    ("uniform policy", 1.0): {"Facebook": -2.3, "C1": -1.3, "C2": 2.7, "C3": 7.4},
    ("best policy", 1.0): {"Facebook": 6, "C1": 6, "C2": 8, "C3": 10},
}
"""As the lecture rounds them: below ten to a tenth, else to a whole number."""


def table(run: Run, trajectory: Trajectory) -> Array:
    """The action values."""
    return run.learner.network.tables["q"]


def tables_and_learners(seeds: int) -> Exhibit:
    """The values of the lecture's slides, and how near learners come to the exact action values."""
    model, discount, epsilon, points = student(), 0.9, 0.2, 60
    model = dataclasses.replace(model, initial=~model.terminal / (~model.terminal).sum())
    settings: dict[str, Any] = {"discount": discount, "step_size": 0.1, "exploration": Epsilon(epsilon)}
    greedy = bellman.solve(model, discount).q
    soft = bellman.best_soft(model, discount, epsilon).q
    methods = {
        "Q-learning": (QLearning(**settings), greedy),
        "double Q-learning": (DoubleQLearning(**settings), greedy),
        "Q(λ)": (QLambda(**settings), greedy),
        "tree backup": (TreeBackup(**settings), greedy),
        "Sarsa": (SARSA(**settings), soft),
        "expected Sarsa": (ExpectedSARSA(**settings), soft),
    }
    world, errors = TimeLimit(sampled(model), 50), {}
    for name, (method, exact) in methods.items():
        q = probe(method, world, 50 * points, table, seeds=range(seeds), every=50)
        away = q[:, :, model.pair_state, model.action] - exact
        errors[name] = np.sqrt((away**2).mean(-1))
    x = np.arange(1, points + 1) * 50
    return Exhibit(
        picture=seed_curves(
            x,
            errors,
            xlabel="interactions",
            ylabel="RMS error of the action values",
            title=f"The student, γ = .9, ε = .2: distance from the exact answer, mean of {seeds} seeds",
        ),
        columns=("interactions", *(f"{name} {part}" for name in errors for part in ("RMS error", "± 95%"))),
        rows=np.column_stack([x, *(p for v in errors.values() for p in (v.mean(0), mean_reach(v)))]).tolist(),
        checks=tuple(_slides()),
        notes=("Sarsa and expected Sarsa are held against the best ε-soft policy, the others against the best one",),
    )


def _slides() -> list[Check]:
    """Every value that the slides give, beside the exact one."""
    process, decisions = student_process(), student()
    answers = {
        "process": partial(bellman.evaluate, process, bellman.uniform),
        "uniform policy": partial(bellman.evaluate, decisions, bellman.uniform),
        "best policy": partial(bellman.solve, decisions),
    }
    checks = []
    for (kind, discount), values in LECTURE.items():
        answer = answers[kind](discount)
        for state, value in values.items():
            rounding = 0.5 if abs(value) > 10 else 0.05
            exact = float(answer.value[answer.model.state(state)])
            checks.append(Check(f"{kind}, γ = {discount:g}: {state}", value, exact, 0.0, rounding + 1e-6, Source.BOOK))
    return checks
