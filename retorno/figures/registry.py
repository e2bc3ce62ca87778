"""Every figure by its name. A chapter is imported only when one of its figures is made."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retorno.figures.exhibit import Exhibit

BOOK = "Sutton & Barto 2018"
BANDITS = "Auer et al. 2002; Zimmert & Seldin 2021; Li et al. 2010"
EXACT = "Sutton & Barto 2018, chapters 5 to 12"
SILVER = "Silver 2015, lecture 2"


@dataclass(frozen=True)
class Entry:
    """A figure that can be repeated."""

    about: str
    source: str
    seeds: int | None
    """Independent runs by default; None where the answer is exact."""
    make: Callable[[int], Exhibit]
    """Repeats it with so many seeds."""


def _late(path: str) -> Callable[[int], Exhibit]:
    """A call of "module:name", imported only then."""
    module, name = path.split(":")
    return lambda seeds: getattr(importlib.import_module(f"retorno.figures.{module}"), name)(seeds)


FIGURES: dict[str, Entry] = {
    "student": Entry("the student's tables, and learners", SILVER, 40, _late("student:tables_and_learners")),
    "2.1": Entry("the ten-armed testbed: one of its bandits", BOOK, 2000, _late("chapter_2:testbed")),
    "2.2": Entry("ε-greedy methods on the testbed", BOOK, 2000, _late("chapter_2:epsilons")),
    "2.3": Entry("optimistic initial values", BOOK, 2000, _late("chapter_2:optimism")),
    "2.4": Entry("upper-confidence-bound action selection", BOOK, 2000, _late("chapter_2:upper_confidence")),
    "2.5": Entry("the gradient bandit with and without a baseline", BOOK, 2000, _late("chapter_2:gradient")),
    "exercise_2.5": Entry(
        "arms that walk: averages against a constant step", BOOK, 500, _late("chapter_2:exercise_2_5")
    ),
    "2.6": Entry("a parameter study of the bandit methods", BOOK, 2000, _late("chapter_2:parameter_study")),
    "bandits": Entry("regret of all bandit methods, beside theory", BANDITS, 100, _late("chapter_2:regrets")),
    "3.2": Entry("a gridworld: values of the random policy", BOOK, None, _late("chapter_3:random_policy")),
    "3.5": Entry("the same: best values and all best actions", BOOK, None, _late("chapter_3:best_policy")),
    "4.1": Entry("iterative evaluation of the random policy", BOOK, None, _late("chapter_4:iterative_evaluation")),
    "4.2": Entry("Jack's car rental: the policies of policy iteration", BOOK, None, _late("chapter_4:rental")),
    "4.3": Entry("the gambler: values and all best stakes", BOOK, None, _late("chapter_4:gamblers_problem")),
    "5.1": Entry("blackjack, sticking on 20 and 21", BOOK, 4, _late("chapter_5:blackjack")),
    "5.2": Entry("blackjack by Monte Carlo with exploring starts", BOOK, 10, _late("blackjack:exploring_starts")),
    "5.3": Entry("ordinary and weighted importance sampling", BOOK, 100, _late("chapter_5:weighing")),
    "5.4": Entry("importance sampling of infinite variance", BOOK, 10, _late("chapter_5:infinite_variance")),
    "example_6.2": Entry("TD(0) and Monte Carlo on a random walk", BOOK, 100, _late("random_walks:example")),
    "6.2": Entry("batch TD and batch Monte Carlo", BOOK, 100, _late("random_walks:batch")),
    "6.3": Entry(
        "the cliff: what a step size is worth, at first and in the long run",
        BOOK,
        100,
        _late("chapter_6_control:interim_and_asymptotic"),
    ),
    "example_6.5": Entry("Sarsa in the windy gridworld", BOOK, 200, _late("chapter_6_control:windy")),
    "6.4": Entry("the cliff: Sarsa and Q-learning, return while learning", BOOK, 200, _late("chapter_6:cliff")),
    "6.5": Entry(
        "example 6.7, maximisation bias: Q-learning and double Q-learning",
        BOOK,
        5_000,
        _late("chapter_6_control:maximisation_bias"),
    ),
    "7.2": Entry("n-step TD on nineteen states", BOOK, 100, _late("random_walks:n_step")),
    "prediction": Entry(
        "every prediction method against exact values: bias, deviation, steps", EXACT, 16, _late("prediction:table")
    ),
    "8.2": Entry("the maze of Dyna: steps an episode by planning", BOOK, 60, _late("chapter_8:dyna_maze")),
    "8.3": Entry("the same: what is known in the second episode", BOOK, 10, _late("chapter_8:halfway")),
    "8.4": Entry("Dyna-Q+ where the way is blocked", BOOK, 50, _late("chapter_8:blocking_maze")),
    "8.5": Entry("Dyna-Q+ where a shortcut opens", BOOK, 50, _late("chapter_8:shortcut_maze")),
    "example_8.4": Entry(
        "prioritised sweeping and Dyna-Q in mazes of growing size", BOOK, 10, _late("chapter_8_focus:mazes")
    ),
    "8.8": Entry("updates that follow the policy, or are uniform", BOOK, 100, _late("chapter_8_focus:trajectories")),
    "uct": Entry(
        "rollouts and tree search beside the exact optimum",
        "Tesauro & Galperin 1997; Kocsis & Szepesvári 2006",
        10,
        _late("chapter_8:decision_time"),
    ),
    "9.1": Entry("a thousand states in ten groups, by Monte Carlo", BOOK, 10, _late("chapter_9:aggregated")),
    "9.2": Entry("the same by TD, and by n-step TD", BOOK, 10, _late("chapter_9:bootstrapped")),
    "9.5": Entry("Fourier bases against polynomials", BOOK, 30, _late("chapter_9:bases")),
    "9.10": Entry("one tiling against fifty", BOOK, 30, _late("chapter_9:tilings")),
    "10.1": Entry("mountain car: the cost to go", BOOK, 10, _late("chapter_10:mountain_car_values")),
    "10.2": Entry("mountain car: steps an episode", BOOK, 100, _late("chapter_10:mountain_car_learning")),
    "10.3": Entry("mountain car: one step and eight", BOOK, 100, _late("chapter_10:mountain_car_n_steps")),
    "10.4": Entry("mountain car: n and the step size", BOOK, 30, _late("chapter_10:mountain_car_sweep")),
    "10.5": Entry("access control by differential Sarsa", BOOK, 8, _late("chapter_10:access")),
    "11.2": Entry("Baird's counterexample: off-policy TD diverges", BOOK, 100, _late("chapter_11:baird")),
    "11.5": Entry("TD with gradient correction on it", BOOK, 100, _late("chapter_11:corrected")),
    "11.6": Entry("emphatic TD on it", BOOK, None, _late("chapter_11:emphatic")),
    "12.3": Entry("the off-line λ-return algorithm", BOOK, 100, _late("random_walks:offline_lambda_return")),
    "12.6": Entry("TD(λ) on nineteen states", BOOK, 100, _late("random_walks:td_lambda")),
    "12.8": Entry("true online TD(λ)", BOOK, 100, _late("random_walks:true_online")),
    "example_13.1": Entry("the short corridor's value over its policy", BOOK, None, _late("chapter_13:corridor")),
    "13.1": Entry("REINFORCE on the short corridor", BOOK, 100, _late("chapter_13:step_sizes")),
    "13.2": Entry("REINFORCE with and without a baseline", BOOK, 100, _late("chapter_13:baseline")),
    "policy_gradient": Entry(
        "estimates of the gradient beside the exact one", "Sutton et al. 2000", 200, _late("chapter_13:estimates")
    ),
    "self_play": Entry(
        "AlphaZero on tic-tac-toe: its searches, and one part left out",
        "Silver et al. 2018; Danihelka et al. 2022",
        3,
        _late("self_play:parts"),
    ),
    "pixels": Entry(
        "MinAtar's Breakout learnt from pixels, and what is seen", "Young & Tian 2019", 1, _late("pixels:film")
    ),
    "deep_q_network": Entry(
        "what the deep Q-network's replay, target network and clipped rewards are worth, on MinAtar's Breakout",
        "Mnih et al. 2015, extended data table 3",
        3,
        _late("deep_q_network:parts"),
    ),
    "which": Entry(
        "which deep algorithm to take: return over steps and over seconds, on four worlds",
        "each algorithm's paper, as docs/actor-critic.md names them",
        3,
        _late("which:which"),
    ),
    "preferences": Entry(
        "what learning from preferences loses where a part is left out",
        "Christiano et al. 2017",
        5,
        _late("preferences:ablations"),
    ),
    "preferences_offline": Entry(
        "what labels are worth that are all asked before anything is learnt",
        "Christiano et al. 2017",
        3,
        _late("preferences:offline"),
    ),
}
"""In the order of the book; the student's come first."""
