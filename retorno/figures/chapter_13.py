"""Policy gradients, in tables. Sutton & Barto 2018, chapter 13.

The short corridor's states all look alike and in one of them the actions are the wrong way round, so the
best policy is random: right with probability 2 − √2. REINFORCE is made in constant memory, by
`ActorCritic(at_the_end=True)` with λ = 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from retorno.algorithms import ActorCritic
from retorno.bellman import evaluate, policy_gradient, softmax_policy
from retorno.core.scalar import Scalar
from retorno.core.time_step import Trajectory
from retorno.environments.registry import native
from retorno.environments.sampled_world import sampled
from retorno.environments.textbook.chains import short_corridor
from retorno.environments.textbook.lecture import student
from retorno.figures.exhibit import Check, Exhibit, Source, measured
from retorno.networks import Head, Table, TableNetwork
from retorno.plots.curves import mean_reach, seed_curves
from retorno.plots.policies import estimates_picture, value_over_probability
from retorno.run.loop import Run
from retorno.run.probe import by_episode, lived, probe

ALIKE = (0, 0, 0, 0)
BEST, BEST_VALUE = 2 - math.sqrt(2), -11.656854
EPISODES = 1000
STEPS = 40_000
"""So that every seed lives so many episodes, also where it learns slowly."""


def corridor_value(right: float) -> float:
    """J of going right with this probability in every state, exactly."""
    exact = short_corridor()
    theta = np.where(np.array(exact.action_names) == "right", math.log(right), math.log(1 - right))[None]
    return evaluate(exact, softmax_policy(exact, theta, ALIKE), 1.0).start_value


def corridor(seeds: int) -> Exhibit:
    """Example 13.1: the value of the corridor's start over the probability of going right."""
    right = np.linspace(0.03, 0.97, 95)
    value = np.array([corridor_value(p) for p in right])
    marked = {"ε-greedy left": 0.05, "ε-greedy right": 0.95, "best": BEST}
    checks = (
        Check("the best probability's value", BEST_VALUE, corridor_value(BEST), 0.0, 1e-5),
        Check("the gradient there", 0.0, float(np.abs(gradient_at(BEST)).max()), 0.0, 1e-9),
        Check("ε-greedy right, ε = .1", -44.0, corridor_value(0.95), 0.0, 1.0, Source.BOOK),
        Check("ε-greedy left, ε = .1", -82.0, corridor_value(0.05), 0.0, 1.0, Source.BOOK),
    )
    return Exhibit(
        picture=value_over_probability(
            right, value, {name: (p, corridor_value(p)) for name, p in marked.items()}, "The short corridor"
        ),
        columns=("probability of right", "value of the start"),
        rows=np.column_stack([right, value]).tolist(),
        checks=checks,
    )


def gradient_at(right: float) -> Float[np.ndarray, "1 A"]:
    """The exact gradient of the corridor's value."""
    exact = short_corridor()
    theta = np.where(np.array(exact.action_names) == "right", math.log(right), math.log(1 - right))[None]
    return policy_gradient(exact, theta, 1.0, observed=ALIKE).gradient


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Begin:
    """A table that begins with these preferences and values, a row for each observation. Its numbers are leaves."""

    preferences: tuple[tuple[Scalar, ...], ...]
    """θ"""
    value: tuple[Scalar, ...]
    """v"""

    def build(
        self, key: Key[Array, ""], observation_space: gymnasium.Space[Any], heads: dict[str, Head]
    ) -> TableNetwork:
        """A new table; `key` is not used."""
        network = Table().build(key, observation_space, heads)
        return replace(network, tables={"policy": jnp.array(self.preferences), "value": jnp.array(self.value)[:, None]})


LEFT = Begin(((math.log(0.95), math.log(0.05)),), (0.0,))
"""Right with probability .05, as the book's runs begin; actions are left and right."""


def reinforce(step_size: float, baseline_step_size: float = 0.0) -> ActorCritic:
    """REINFORCE, with a baseline where its step size is not 0."""
    return ActorCritic(
        network=LEFT,
        step_size=step_size,
        critic_step_size=baseline_step_size,
        discount=1.0,
        actor_lambda=1.0,
        critic_lambda=1.0,
        at_the_end=True,
    )


def returns(method: ActorCritic, seeds: int) -> Float[np.ndarray, "S E"]:
    """The return of each episode on the corridor, where nothing is seen."""
    seen = probe(method, native("short_corridor_dark"), STEPS, lived, seeds=range(seeds))
    reward, last = (seen[x].reshape(seeds, -1) for x in ("reward", "last"))
    return by_episode(reward, last, EPISODES)


def learning(methods: Mapping[str, ActorCritic], seeds: int, title: str, checked: tuple[str, ...]) -> Exhibit:
    """Returns of the methods while they learn."""
    found = {name: returns(method, seeds) for name, method in methods.items()}
    x = np.arange(1, EPISODES + 1)
    return Exhibit(
        picture=seed_curves(
            x.reshape(-1, 10).mean(1),
            {name: np.maximum(values, -90.0).reshape(seeds, -1, 10).mean(2) for name, values in found.items()},
            xlabel="episode",
            ylabel="return",
            title=f"{title}: mean of {seeds} seeds, ten episodes a point, none below −90",
            references={"best: −11.66": BEST_VALUE},
        ),
        columns=("episode", *(f"{name} {part}" for name in methods for part in ("mean", "± 95%"))),
        rows=np.column_stack([x, *(part for v in found.values() for part in (v.mean(0), mean_reach(v)))]).tolist(),
        # The book's curves come within a step of the best value; a policy that still moves cannot reach it.
        checks=tuple(
            measured(f"{name[:13]}, episodes 901–1000", BEST_VALUE, found[name][:, 900:].mean(1), 1.0)
            for name in checked
        ),
        notes=(
            "an episode's steps are taken at once, so the step sizes are 2⁻¹¹ and 2⁻¹⁰ for the book's 2⁻⁹ and 2⁻⁶: "
            "with hundreds of steps in an episode those would overshoot",
        )
        if len(checked) < len(methods) == 2
        else (),
    )


def step_sizes(seeds: int) -> Exhibit:
    """Figure 13.1: REINFORCE with three step sizes."""
    methods = {f"α = 2⁻¹{digit}": reinforce(2.0 ** -(10 + n)) for n, digit in ((2, "²"), (3, "³"), (4, "⁴"))}
    return learning(methods, seeds, "REINFORCE on the short corridor", ("α = 2⁻¹³",))


def baseline(seeds: int) -> Exhibit:
    """Figure 13.2: a baseline makes REINFORCE faster."""
    methods = {
        "with baseline: α = 2⁻¹¹, baseline 2⁻¹⁰": reinforce(2.0**-11, 2.0**-10),
        "without: α = 2⁻¹³": reinforce(2.0**-13),
    }
    return learning(methods, seeds, "REINFORCE on the short corridor", tuple(methods)[:1])


DISCOUNT = 0.9
UPDATES = 2000
"""Of each seed: some hundreds of episodes."""


def summed(run: Run, trajectory: Trajectory) -> tuple[Array, Array]:
    """The episode's estimate of the gradient, where it has just ended."""
    return run.learner.traces.actor_sum.tables["policy"][0], trajectory.steps.last[1, 0]


def estimates(seeds: int) -> Exhibit:
    """What one episode says of the gradient: each estimator's mean beside the exact gradient, and its spread."""
    exact = student()
    theta = np.zeros((exact.num_states, exact.num_actions))
    truth = policy_gradient(exact, theta, DISCOUNT)
    value = evaluate(exact, truth.policy, DISCOUNT).value
    rows = tuple(map(tuple, theta.tolist()))
    known, unknown = Begin(rows, tuple(value.tolist())), Begin(rows, (0.0,) * exact.num_states)
    fixed = ActorCritic(discount=DISCOUNT, step_size=0.0, critic_step_size=0.0, at_the_end=True)
    estimators = {
        "REINFORCE": replace(fixed, network=unknown, actor_lambda=1.0),
        "with baseline v": replace(fixed, network=known, actor_lambda=1.0),
        "one-step actor–critic, v known": replace(fixed, network=known),
        "one-step, v taken for 0": replace(fixed, network=unknown),
        "with baseline, γᵗ left out": replace(fixed, network=known, actor_lambda=1.0, discount_gradient=False),
    }
    cells = exact.pair_state, exact.action
    found: dict[str, Float[np.ndarray, "N P"]] = {}
    for name, method in estimators.items():
        sums, last = probe(method, sampled(exact), UPDATES, summed, seeds=range(seeds))
        found[name] = sums[last][:, *cells]
    names = [
        f"{exact.state_names[s]}: {exact.action_names[a]}" for s, a in zip(*map(np.ndarray.tolist, cells), strict=True)
    ]
    truth_at = truth.gradient[cells]
    unbiased = tuple(estimators)[:3]
    return Exhibit(
        picture=estimates_picture(
            names, truth_at, found, f"The student, γ = .9, uniform policy: estimates of {seeds} seeds' episodes"
        ),
        columns=("pair", "exact", *(f"{name} {part}" for name in estimators for part in ("mean", "s.d."))),
        rows=[
            (pair, float(truth_at[p]), *(float(f(v[:, p])) for v in found.values() for f in (np.mean, np.std)))
            for p, pair in enumerate(names)
        ],
        checks=tuple(
            measured(f"{name}, {names[p]}", float(truth_at[p]), found[name][:, p])
            for name in unbiased
            for p in (0, 2, 4)
        ),
        notes=(
            "the mean of the last two is not the gradient: a wrong value biases the one-step estimate, and without γᵗ "
            "late steps count too much",
        ),
    )
