"""Multi-armed bandits. Sutton & Barto 2018, chapter 2.

Each seed is another bandit, so intervals are over bandits. All of the book's methods but the gradient
bandit are Q-learning that looks no further than the next reward (γ = 0), with a choice of exploration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from retorno.algorithms import EXP3, BernoulliThompson, GradientBandit, LinUCB, QLearning
from retorno.core.environment import Environment, Episodes
from retorno.core.policy import Algorithm
from retorno.core.time_step import Trajectory
from retorno.environments.bandits.testbed import AlternatingBandit, BernoulliTestbed, ContextualBandit, Testbed
from retorno.figures.exhibit import Exhibit, Source, measured
from retorno.networks import Table
from retorno.plots.bandits import arms_picture, parameter_curves, regret_panels, reward_and_choice
from retorno.plots.curves import mean_reach
from retorno.policies import UCB, Epsilon, Softmax
from retorno.policies.schedules import Decay
from retorno.run.loop import Run
from retorno.run.probe import probe

PULLS = 1000
LATE = slice(950, 1000)
"""Steps 951–1000."""


def averaging(exploration: Any) -> QLearning:
    """Sample averages."""
    return QLearning(discount=0.0, step_size=None, exploration=exploration)


def stepping(step_size: float, exploration: Any, initial: float = 0.0) -> QLearning:
    """A constant step size, from any initial value."""
    return QLearning(Table(initial), discount=0.0, step_size=step_size, exploration=exploration)


class Played(NamedTuple):
    """What S bandits paid, and what was lost against their best arms."""

    reward: Float[np.ndarray, "S K"]
    regret: Float[np.ndarray, "S K"]

    @property
    def best(self) -> Bool[np.ndarray, "S K"]:
        """Where the best arm was pulled."""
        return self.regret == 0


def pull(run: Run, trajectory: Trajectory) -> tuple[Array, Array]:
    """The last reward, and its regret, which the world's state holds."""
    assert isinstance(run.stage.episodes, Episodes)
    return trajectory.steps.reward[1, 0], run.stage.episodes.state.regret[0]


def play(algorithm: Algorithm, world: Environment, seeds: int, pulls: int = PULLS, every: int = 1) -> Played:
    """So many bandits, one a seed."""
    return Played(*probe(algorithm, world, pulls, pull, seeds=range(seeds), every=every))


def compared(
    methods: Mapping[str, Algorithm],
    seeds: int,
    title: str,
    noted: Mapping[str, tuple[float, float]],
    world: Environment | None = None,
    notes: tuple[str, ...] = (),
) -> Exhibit:
    """Average reward and how often the best arm is pulled, of several methods on the same bandits.

    `noted` has values at steps 951–1000, the reward and the percentage, that the book does not print.
    """
    played = {name: play(method, world or Testbed(), seeds) for name, method in methods.items()}
    checks = []
    for name, (reward, percent) in noted.items():
        # They are of other bandits: two draws of 2,000 differ.
        mean = lambda x: x[:, LATE].mean(1, dtype=np.float64)  # noqa: E731
        one, other = mean(played[name].reward), 100 * mean(played[name].best)
        checks += [
            measured(f"{name}: reward, steps 951–1000", reward, one, 4 * one.std() / math.sqrt(2000), Source.UNSOURCED),
            measured(f"{name}: % best arm", percent, other, 4 * other.std() / math.sqrt(2000), Source.UNSOURCED),
        ]
    return Exhibit(
        picture=reward_and_choice(
            {n: (p.reward, 100.0 * p.best) for n, p in played.items()}, title, expected=noted, source=Source.UNSOURCED
        ),
        columns=("step", *(f"{name} {part}" for name in methods for part in ("reward", "± 95%", "% best arm"))),
        rows=np.column_stack(
            [
                np.arange(1, PULLS + 1),
                *(x for p in played.values() for x in (p.reward.mean(0), mean_reach(p.reward), 100 * p.best.mean(0))),
            ]
        ).tolist(),
        checks=tuple(checks),
        notes=notes,
    )


def testbed(seeds: int) -> Exhibit:
    """Figure 2.1: the arms of one bandit, and what each pays."""
    states, _ = jax.vmap(Testbed().reset)(jax.vmap(jax.random.key)(np.arange(seeds, dtype=np.uint32)))
    means = np.asarray(states.means)
    best = means.max(1)
    # The largest of ten normal numbers is 1.53875 on average (Teichroew 1956).
    return Exhibit(
        picture=arms_picture(means[0], 1.0, f"One bandit of {seeds:,}: each arm's rewards have variance 1"),
        columns=("arm", "mean reward"),
        rows=[(arm + 1, float(mean)) for arm, mean in enumerate(means[0])],
        checks=(
            measured("mean of an arm", 0.0, means.mean(1)),
            measured("variance of the arms", 1.0, means.var(1, ddof=1)),
            measured("the best arm's mean", 1.53875, best),
        ),
    )


def epsilons(seeds: int) -> Exhibit:
    """Figure 2.2: average performance of ε-greedy methods."""
    return compared(
        {
            "ε = .1": averaging(Epsilon(0.1)),
            "ε = .01": averaging(Epsilon(0.01)),
            "greedy": averaging(Epsilon(0.0)),
        },
        seeds,
        f"ε-greedy methods on {seeds:,} bandits with ten arms",
        {"greedy": (1.033, 36), "ε = .01": (1.309, 60), "ε = .1": (1.368, 80)},
    )


def optimism(seeds: int) -> Exhibit:
    """Figure 2.3: an optimistic start explores by itself, at first."""
    return compared(
        {
            "optimistic, greedy: Q₁ = 5": stepping(0.1, Epsilon(0.0), 5.0),
            "realistic, ε-greedy: Q₁ = 0, ε = .1": stepping(0.1, Epsilon(0.1)),
        },
        seeds,
        f"Optimistic initial values, α = .1, on {seeds:,} bandits",
        {"optimistic, greedy: Q₁ = 5": (1.504, 86)},
    )


def upper_confidence(seeds: int) -> Exhibit:
    """Figure 2.4: upper confidence bounds."""
    return compared(
        {"UCB, c = 2": averaging(UCB(2.0)), "ε-greedy, ε = .1": averaging(Epsilon(0.1))},
        seeds,
        f"Upper-confidence-bound action selection on {seeds:,} bandits",
        {"UCB, c = 2": (1.489, 86), "ε-greedy, ε = .1": (1.368, 80)},
        notes=("each arm is pulled once before bounds are compared, hence the spike at step 11",),
    )


def gradient(seeds: int) -> Exhibit:
    """Figure 2.5: the gradient bandit with and without a baseline, where all rewards lie near 4."""
    return compared(
        {
            f"α = {alpha}, {'with' if baseline else 'without'} baseline": GradientBandit(
                step_size=alpha, baseline=baseline
            )
            for baseline in (True, False)
            for alpha in (0.1, 0.4)
        },
        seeds,
        f"The gradient bandit on {seeds:,} bandits whose means lie around 4",
        {},
        world=Testbed(centre=4.0),
    )


def parameter_study(seeds: int) -> Exhibit:
    """Figure 2.6: the average reward of the first 1,000 steps, for each method over its parameter."""
    powers: dict[str, tuple[range, Any]] = {
        "ε-greedy: ε": (range(-7, -1), lambda x: averaging(Epsilon(x))),
        "gradient bandit: α": (range(-5, 3), lambda x: GradientBandit(step_size=x)),
        "UCB: c": (range(-4, 3), lambda x: averaging(UCB(x))),
        "optimistic, greedy, α = .1: Q₁": (range(-2, 3), lambda x: stepping(0.1, Epsilon(0.0), x)),
    }
    found = {
        name: (
            [2.0**power for power in span],
            np.stack([play(make(2.0**power), Testbed(), seeds).reward.mean(1) for power in span], 1),
        )
        for name, (span, make) in powers.items()
    }
    return Exhibit(
        picture=parameter_curves(found, f"Average reward of the first 1,000 steps, {seeds:,} bandits"),
        columns=("method", "parameter", "mean reward", "± 95%"),
        rows=[
            (name, x, float(mean), float(reach))
            for name, (xs, values) in found.items()
            for x, mean, reach in zip(xs, values.mean(0), mean_reach(values), strict=True)
        ],
    )


def exercise_2_5(seeds: int) -> Exhibit:
    """Exercise 2.5: arms that walk. A sample average trusts old rewards; a constant step forgets them."""
    pulls, every, world = 10_000, 20, Testbed(spread=0.0, walk=0.01)
    methods = {
        "constant step, α = .1": stepping(0.1, Epsilon(0.1)),
        "sample average": averaging(Epsilon(0.1)),
    }
    played = {name: play(method, world, seeds, pulls, every) for name, method in methods.items()}
    x = np.arange(every, pulls + 1, every)
    return Exhibit(
        picture=reward_and_choice(
            {n: (p.reward, 100.0 * p.best) for n, p in played.items()},
            f"Arms that walk: ε-greedy, ε = .1, on {seeds:,} bandits",
            x,
        ),
        columns=("step", *(f"{name} {part}" for name in methods for part in ("reward", "% best arm"))),
        rows=np.column_stack(
            [x, *(y for p in played.values() for y in (p.reward.mean(0), 100 * p.best.mean(0)))]
        ).tolist(),
    )


def ucb_bound(gaps: Float[np.ndarray, " k"], pulls: int) -> float:
    """Σ 8 ln n/Δ + (1 + π²/3) Σ Δ: UCB1's regret is less, for rewards in [0, 1]. Auer et al. 2002, theorem 1."""
    gaps = gaps[gaps > 0]
    return float((8 * math.log(pulls) / gaps).sum() + (1 + math.pi**2 / 3) * gaps.sum())


def exp3_bound(arms: int, pulls: int) -> float:
    """2 √(e − 1) √(T K ln K), for any rewards in [0, 1] and the best γ. Auer et al. 2002b, corollary 3.2."""
    return 2 * math.sqrt((math.e - 1) * pulls * arms * math.log(arms))


def lai_robbins(chances: Sequence[float]) -> float:
    """Σ Δ/KL(p, p*): no method that is good on all bandits has a regret below this times ln n. Lai & Robbins 1985."""
    top = max(chances)

    def divergence(p: float) -> float:
        return sum(a * math.log(a / b) for a, b in ((p, top), (1 - p, 1 - top)) if a)

    return sum((top - p) / divergence(p) for p in chances if p < top)


CHANCES = (0.9, 0.6, 0.6, 0.6, 0.6)
LONG = 5000


SWUNG = ("EXP3", "ε-greedy, ε = .1", "UCB1", "Thompson sampling")
"""Methods that meet good and bad times as well."""


def regrets(seeds: int, among: Sequence[str] | None = None) -> Exhibit:
    """What all methods lose against the best arm: on arms that stay, arms that swing, and arms in a context.

    `among` names those that are shown on arms that stay; all of them by default.
    """
    still = BernoulliTestbed(len(CHANCES), CHANCES)
    stationary = {
        "EXP3": EXP3(),
        "ε-greedy, ε = .1": averaging(Epsilon(0.1)),
        "softmax, τ = .1": averaging(Softmax(0.1)),
        "gradient bandit": GradientBandit(step_size=0.1),
        "UCB1": averaging(UCB(math.sqrt(2))),
        "ε-greedy, ε = 1/n": averaging(Epsilon(1.0, decay=Decay.visits)),
        "optimistic, greedy": stepping(0.1, Epsilon(0.0), 5.0),
        "Thompson sampling": BernoulliThompson(),
    }
    swinging = {name: stationary[name] for name in SWUNG}
    stationary = {name: method for name, method in stationary.items() if among is None or name in among}
    linear = {
        "LinUCB, α = 0: greedy": LinUCB(confidence=0.0),
        "LinUCB, α = .2": LinUCB(confidence=0.2),
        "LinUCB, α = 1": LinUCB(confidence=1.0),
    }
    worlds = {
        "five arms, .9 against .6": (still, stationary),
        "two arms in good and bad times": (AlternatingBandit(2), swinging),
        "five arms in a context": (ContextualBandit(), linear),
    }
    lost = {
        title: {name: play(method, world, seeds, LONG).regret.cumsum(1) for name, method in methods.items()}
        for title, (world, methods) in worlds.items()
    }
    first, second, _ = worlds
    pulls = np.arange(1, LONG + 1)
    gaps = max(CHANCES) - np.array(CHANCES)
    theory = {
        first: {"Lai & Robbins's limit, × ln n": lai_robbins(CHANCES) * np.log(pulls)},
        second: {"EXP3's bound at the end": np.full(LONG, exp3_bound(2, LONG))},
    }
    columns = tuple(f"{title}: {name}" for title, curves in lost.items() for name in curves)
    at = np.arange(49, LONG, 50)
    return Exhibit(
        picture=regret_panels(lost, theory, f"What is lost against the best arm: means of {seeds} bandits"),
        columns=("pulls", *(f"{name} {part}" for name in columns for part in ("regret", "± 95%"))),
        rows=np.column_stack(
            [
                pulls[at],
                *(
                    part
                    for curves in lost.values()
                    for values in curves.values()
                    for part in (values[:, at].mean(0), mean_reach(values[:, at]))
                ),
            ]
        ).tolist(),
        notes=(
            f"{first}: UCB1 lost {lost[first]['UCB1'][:, -1].mean():.0f} and its bound is {ucb_bound(gaps, LONG):.0f}",
            f"{second}: EXP3 lost {lost[second]['EXP3'][:, -1].mean():.0f} and its bound is {exp3_bound(2, LONG):.0f}",
        ),
    )
