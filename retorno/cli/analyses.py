"""What else an answer tells of its policy: how often it is where, how its return varies, what its value hangs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from retorno.bellman.average import AverageSolution
from retorno.bellman.comparison import compare
from retorno.bellman.derivatives import sensitivity
from retorno.bellman.explanation import explain
from retorno.bellman.horizon import HorizonSolution
from retorno.bellman.occupancy_measure import occupancy
from retorno.bellman.returns import return_distribution, return_variance
from retorno.cli.rendering import FIRST, aligned
from retorno.core.solution import Solution

Explained = Solution | HorizonSolution | AverageSolution

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the return's quantiles."""


class Finding(NamedTuple):
    """The same for people and for programs."""

    name: str
    text: str
    data: dict[str, Any]


def explanation(answer: Explained, state: str, time: int) -> Finding:
    """Each action's backup of a state; of a finite horizon at a time."""
    match answer:
        case HorizonSolution():
            found = answer.explain(state, time)
        case AverageSolution():
            found = answer.explain(state)
        case Solution():
            found = explain(answer, state)
    return Finding("explanation", str(found), found.as_dict())


def comparison(answer: Solution, name: str) -> Finding:
    """A policy beside the best one."""
    found = compare(answer.model, {name: answer.policy}, answer.given_discount, must_end=answer.must_end)
    data = {
        "best": _named(answer, found.best.value),
        "loses": _named(answer, found.loss(name)),
        "loses_at_most": found.most_lost(name),
        "differs": [answer.model.state_names[int(s)] for s in np.flatnonzero(found.unlike_best(name))],
    }
    return Finding("comparison", str(found), data)


def visits(answer: Solution) -> Finding:
    """Expected discounted visits of each state from the start, under the answer's policy."""
    model = answer.model
    found = occupancy(model, answer.policy, answer.given_discount)
    most = [int(s) for s in np.argsort(-found.state, kind="stable")[:FIRST] if found.state[s] > 0]
    shares = found.state_distribution if found.total else found.state
    rows = [["state", "visits", "share"]]
    rows += [[model.state_names[s], f"{found.state[s]:z.6f}", f"{shares[s]:.2%}"] for s in most]
    lines = aligned(rows, names=(0,))
    left = np.count_nonzero(found.state) - len(most)
    lines += [f"… and {left:,} more states"] if left else []
    lines.append(f"visits in all {found.total:z.6f}, errors sum to at most {found.error:.1e}")
    data = {"state": _named(answer, found.state), "total": found.total, "error": found.error}
    return Finding("visits", "\n".join(lines), data | {"ending": _named(answer, found.ending)})


def returns(answer: Solution) -> Finding:
    """The distribution of the return from the start, under the answer's policy."""
    model, gamma = answer.model, answer.given_discount
    moments = return_variance(model, answer.policy, gamma)
    found = return_distribution(model, answer.policy, gamma)
    quantiles = {f"{share:.0%}": found.quantile(share) for share in SHARES}
    told = ", ".join(f"{share} {x:.6g}" for share, x in quantiles.items())
    deviation = float(np.sqrt(moments.start_variance))
    text = (
        f"return from the start: mean {moments.start_mean:.6g}, standard deviation {deviation:.6g}\n"
        f"quantiles: {told}\n({found.method}, within {found.error:.1e} in Wasserstein distance)"
    )
    data = {
        "mean": moments.start_mean,
        "standard_deviation": deviation,
        "quantiles": quantiles,
        "atoms": found.atom.tolist(),
        "probabilities": found.probability.tolist(),
        "error": found.error,
        "method": found.method,
        "standard_deviation_by_state": _named(answer, moments.standard_deviation),
    }
    return Finding("return", text, data)


def derivatives(answer: Solution) -> Finding:
    """The derivatives of the start value to every reward and probability and to the discount."""
    model = answer.model
    found = sensitivity(answer)
    pair = model.transition_pair
    owner = model.pair_state[pair]
    rows = [
        {
            "state": model.state_names[int(owner[n])],
            "action": model.action_names[int(model.action[pair[n]])],
            "next_state": model.state_names[int(model.next_state[n])],
            "reward": float(found.reward[n]),
            "probability": float(found.probability[n]),
            "discount": float(found.discount[n]),
        }
        for n in map(int, np.flatnonzero(found.reward))
    ]
    ties = [model.state_names[int(s)] for s in np.flatnonzero(found.ties)]
    return Finding("sensitivity", str(found), {"gamma": found.gamma, "transitions": rows, "ties": ties})


FINDINGS: dict[str, Callable[[Solution], Finding]] = {
    "visits": visits,
    "returns": returns,
    "sensitivity": derivatives,
}


def _named(answer: Solution, values: np.ndarray) -> dict[str, float]:
    return dict(zip(map(str, answer.model.state_names), map(float, values), strict=True))
