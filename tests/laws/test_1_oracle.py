"""Law 1: on models that can be solved exactly every algorithm finds the exact answer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import main, mostly, paired
from grid import (
    ENDLESS,
    LIMIT,
    SMALL,
    VISITABLE,
    best_minus_uniform,
    certain,
    decisive,
    exploring,
    in_one_shape,
    learners,
    learners_in,
    lived_in,
    models,
    worlds,
)
from jaxtyping import Float
from small import (
    ALGORITHMS,
    COMPARING,
    DISCOUNTED,
    EVOLVING,
    PLANNING,
    PREDICTION,
    Deadly,
    having,
    horizon,
    rewritten,
    small,
    table,
)
from worlds import Dial

from retorno.algorithms import BANDITS, SARSA, DifferentialSARSA, QLearning, RLearning
from retorno.bellman import average_reward, best_soft, evaluate, solve, uniform
from retorno.bellman.average import evaluate_average
from retorno.core.environment import Environment
from retorno.core.hyperparameters import hyperparameters
from retorno.core.mdp import MDP
from retorno.core.policy import Algorithm, Learner, Policy
from retorno.core.runtime import IN_HASTE
from retorno.core.spaces import HashableSpace
from retorno.environments.sampled_world import sampled
from retorno.environments.wrappers import TimeLimit
from retorno.models import Exact
from retorno.networks import MLP, Table
from retorno.networks.layers import Activation
from retorno.ops.optimisers import Adam, Schedule
from retorno.policies import Epsilon, Uniform
from retorno.policies.target_and_behaviour import FixedPolicy, tabulated
from retorno.run.oracle import regret
from retorno.search import PUCT, Gumbel

DISCOUNT = 0.8
EPSILON = 0.3
DROWNED = ("river_swim", "FrozenLake-v1")
"""Rewards of 10,000, which small gradient steps do not reach (DQN leaves .84 of the share), and rewards so rare that
at this discount noise is as large as what can be earned (Dyna-Q leaves .45 of it)."""
DECISIVE = [name for name in SMALL if decisive(name, DISCOUNT) and name not in DROWNED]
SEEDS, TEN = range(20), range(10)
EACH = 4
"""Worlds that a method is met with; `pytest --all` takes all."""
VISITS = 400
"""Of each pair, on average."""


def limit(world: Environment) -> Environment:
    """Short episodes, so that many states are begun in."""
    return TimeLimit(world, LIMIT)


def deadly(world: Environment) -> Environment:
    return Deadly(TimeLimit(world, 4))


def largest(exact: MDP) -> float:
    """The largest reward, beside which noise is small or large."""
    return float(np.abs(exact.reward).max())


def check_mean(
    learnt: Float[np.ndarray, "seeds N"],
    exact: Float[np.ndarray, " N"],
    scale: float = 0.0,
    biased: bool = True,
    noisiest: float = 0.25,
) -> None:
    """The mean over seeds is the exact answer within four standard errors and the estimator's bias.

    A target that takes a maximum over noisy values, or follows them, is `biased`: off by no more than their
    noise, whose size is the standard deviation between seeds; a thousandth of the scale, which is the largest
    value or what is given, is for what is left of the first values. Where there is no bias the largest
    of the states' standard errors holds for all of them, since many are looked at. `noisiest` is how large the
    noise may be beside the scale, and with it how large an error may pass.
    """
    noise, scale = learnt.std(0, ddof=1), max(scale, np.abs(exact).max())
    assert noise.max() < noisiest * scale + 1e-9, "too noisy to say anything"
    error = 4 * (noise if biased else noise.max()) / np.sqrt(len(learnt))
    bound = error + biased * noise.max() + 1e-3 * scale + 1e-9
    np.testing.assert_array_less(np.abs(learnt.mean(0) - exact), bound)


def check_q_learning(name: str, limited: Callable[[Environment], Environment] = limit) -> None:
    """Random behaviour, the best values. A model that is certain needs no small steps: α = 1 is value iteration."""
    exact = exploring(name)
    step_sizes = {"step_size": 1.0} if certain(name) else {"step_size": 0.5, "step_size_end": 0.0}
    algorithm = QLearning(discount=DISCOUNT, exploration=Epsilon(1.0), **step_sizes)
    # Of many pairs many errors are looked at, which are as precise with half the seeds.
    seeds = range(2) if certain(name) else SEEDS if exact.num_pairs < 100 else TEN
    found = learners_in(algorithm, limited(lived_in(name)), max(20_000, VISITS * exact.num_pairs), seeds)
    q = table(found, "q")[:, exact.pair_state, exact.action]
    check_mean(q, solve(exact, DISCOUNT).q)


def check_sarsa(name: str, algorithm: Algorithm, limited: Callable[[Environment], Environment] = limit) -> None:
    exact = exploring(name)
    found = learners_in(algorithm, limited(sampled(exact)), max(10_000, VISITS * exact.num_pairs), SEEDS)
    q = table(found, "q")[:, exact.pair_state, exact.action]
    check_mean(q, best_soft(exact, DISCOUNT, EPSILON).q)


@pytest.mark.slow
@pytest.mark.parametrize("name", VISITABLE)
def test_q_learning_finds_the_best_values(name: str) -> None:
    check_q_learning(name)


SARSAS = {
    name: SARSA(discount=DISCOUNT, exploration=Epsilon(EPSILON), step_size=0.5, step_size_end=0.0, expected=expected)
    for name, expected in (("sarsa", False), ("expected", True))
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "world"), paired([*SARSAS], SMALL, 8))
def test_sarsa_finds_the_best_soft_policys_values(kind: str, world: str) -> None:
    exact = models()[world]
    q = table(learners(SARSAS[kind], 40_000, TEN, world), "q")[:, exact.pair_state, exact.action]
    check_mean(q, best_soft(exact, DISCOUNT, EPSILON).q, largest(exact), noisiest=0.12)


def deep(name: str, **changed: Any) -> Algorithm:
    """Any algorithm over a table, for small models."""
    usual = dict(
        network=Table(),
        num_envs=4,
        rollout=32,
        gradient_steps=16,
        batch_size=32,
        capacity=4096,
        # Dyna-Q remembers of each pair what followed last, which where that is noise should not weigh much.
        planning_steps=1,
        target_period=64,
        minibatches=4,
        epochs=4,
        longest_episode=LIMIT,
        group=4,
        # A mean over an episode's choices weighs those of long ones less: a bias of GRPO's (Liu et al. 2025).
        average_steps=False,
        discount=DISCOUNT,
        lambda_=0.5,
        step_size=0.5,
        step_size_end=0.0,
        critic_step_size=0.5,
        critic_step_size_end=0.0,
        lowest=-2.0,
        highest=10.0,
        optimiser=Adam(0.15, Schedule.linear, max_gradient_norm=0.5),
        entropy_coefficient=0.01,
        automatic=False,
        temperature=0.1,
        target_step=0.1,
        exploration=Epsilon(0.5),
        epsilon=0.5,
        epsilon_end=0.5,
        # Huber's loss has no minimum at the mean of noisy targets, but between it and their median.
        huber=math.inf,
        model=Exact(),
        simulations=100,
        depth=40,
    )
    # Whole returns are noisy: each is learnt from once, as in the paper.
    own = {"epochs": 1, "minibatches": 1} if name == "grpo" else {}
    # Many policies are compared, unlike enough that a choice of theirs differs.
    own |= {"num_envs": 64, "deviation": 1.0, "optimiser": Adam(0.2, Schedule.linear)} if name in EVOLVING else {}
    return small(name, **(usual | own | changed))


def enough(name: str, steps: int) -> int:
    """Steps of training; what plans in the exact model learns nothing from any, and a whole policy is one example."""
    return 40 if name in PLANNING else 10 * steps if name in EVOLVING else steps


APART = (
    "psrl",
    "prioritised_sweeping",
    "off_policy_monte_carlo",
    "natural_actor_critic",
    "thompson_gaussian",
    "thompson_bernoulli",
    "expert_iteration",
    "sac",
    "cma_es",
)
"""Too slow for the many models at once, or the settings that fit one model do not fit the others; or it clones what
turned out best, and where chance has a part in that, or in where an episode began, chance is cloned; or it values
entropy beside rewards, as SAC does, and has an optimum of its own: tests/algorithms/test_off_policy.py; or it learns
how each pair of so many weights goes together, as CMA-ES does."""
SHARE = 0.2
"""What may be left of what the best policy earns more than the uniform one."""
FINITE = [name for name in DISCOUNTED if main(name).world == "finite"]
"""The others act by real numbers."""
SEARCHING = ("alpha_zero", "mu_zero")
"""They look ahead before each choice and learn more from fewer steps, which take longer: held below, in two models."""
CONTROL = [name for name in FINITE if name not in (*PREDICTION, *PLANNING, *APART, *SEARCHING)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "world"), paired(CONTROL, DECISIVE, EACH))
def test_every_control_method_finds_a_good_policy(name: str, world: str) -> None:
    """The greedy policy's exact value, a mean of six seeds."""
    check_control(policies_of(deep(name), found_by(name, world)), world)


def found_by(name: str, world: str) -> Learner:
    """What six seeds of a control method have learnt in a small model: for its choices or for its values.

    Adam moves an entry by no more than its step size, on average .075, an update: 156 are enough for the largest, 10.
    """
    return learners(deep(name), enough(name, 20_000), range(6), world)


def policies_of(method: Algorithm, found: Learner) -> list[Policy]:
    """Of each seed."""
    seeds = len(jax.tree.leaves(found)[0])
    return [method.policy(jax.tree.map(lambda x, seed=seed: x[seed], found)) for seed in range(seeds)]


def check_control(policies: Sequence[Policy], world: str) -> None:
    """At most a share of what the best policy earns more than the uniform one is left."""
    lost = regret(policies, solve(models()[world], DISCOUNT)).mean
    assert lost <= SHARE * best_minus_uniform(world, DISCOUNT) + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("world", ["student", "garnet"])
def test_who_searches_while_learning_finds_a_good_policy(world: str) -> None:
    """AlphaZero alone against chance, its search and its network; 32 simulations weigh up to six outcomes."""
    method = deep(
        "alpha_zero", search=PUCT(simulations=32, noise=0.5), optimiser=Adam(0.1, Schedule.linear), gradient_steps=32
    )
    found = learners_in(method, worlds(SMALL)[world], 2_000, range(2), IN_HASTE)
    policies: list[Any] = policies_of(method, found)
    check_control(policies, world)
    check_control([policy.network for policy in policies], world)


@pytest.mark.slow
@pytest.mark.parametrize("world", mostly(["example_4_1"], ["example_4_1", "random_walk_19"]))
def test_who_searches_in_what_it_learns_finds_a_good_policy(world: str) -> None:
    """MuZero where nothing is left to chance: its hidden states have no place for it."""
    method = deep(
        "mu_zero",
        search=Gumbel(simulations=16),
        network=MLP(hidden=(64,), activation=Activation.relu),
        inner=MLP(hidden=(64,), activation=Activation.relu, shared=True),
        optimiser=Adam(3e-3),
        gradient_steps=64,
        batch_size=64,
        unroll=4,
        hidden=32,
        temperature=1.0,
    )
    found = learners_in(method, worlds(SMALL)[world], 8_000, range(2), IN_HASTE)
    policies: list[Any] = policies_of(method, found)
    check_control(policies, world)
    check_control([policy.network for policy in policies], world)


PROCESS = "student_process"
"""Where there is no choice, what is learnt is the process's value."""
TWO = ("student", "random_walk")
PLACES = dict(zip((*TWO, PROCESS), in_one_shape((*TWO, PROCESS)), strict=True))
"""Worlds and their models, in one shape: a method is compiled once for all."""
ALONE = [name for name in [*BANDITS, *FINITE] if name not in (*PREDICTION, *CONTROL, *SEARCHING, "expert_iteration")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("world", TWO)
def test_every_algorithm_finds_the_best_policy(name: str, world: str) -> None:
    """What it learnt, taken greedily and evaluated exactly, loses nothing, with any of five seeds.

    On these models one improvement of the uniform policy, which is what rollouts give, is the best policy as well.
    """
    place, exact = PLACES[world]
    found = learners_in(deep(name), TimeLimit(place, LIMIT), enough(name, 20_000), range(5))
    best = solve(exact, horizon(name, DISCOUNT))
    for policy in policies_of(deep(name), found):
        assert regret([policy], best).mean == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["box_only", "ppo"])
def test_the_best_real_number_is_found(name: str) -> None:
    """Of what the best action earns more than one drawn evenly, a mean over five seeds."""
    world = Dial((0.5,))
    slowly = Adam(0.01, Schedule.linear, max_gradient_norm=0.5)
    method = deep(name, optimiser=slowly)
    policies = jax.vmap(method.policy)(learners_in(method, TimeLimit(world, LIMIT), 40_000, range(5)))
    heads = jax.vmap(lambda p: p.step(jnp.int32(0), jnp.array(False), p.initial_carry())[0])(policies)
    action = np.asarray(heads["policy"].mode())
    assert np.square(action - 0.5).mean() <= SHARE * (1 / 3 + 0.5**2)


def check_prediction(name: str, limited: Callable[[Environment], Environment] = limit) -> None:
    """A method that lives there alone."""
    place, exact = PLACES[PROCESS]
    check_values(name, learners_in(deep(name), limited(place), enough(name, 40_000), TEN), exact)


def check_values(name: str, learner: Learner, exact: MDP) -> None:
    """The values that several seeds [S] have learnt of the process."""
    policies, states = jax.vmap(deep(name).policy)(learner), np.flatnonzero(~exact.terminal)
    heads = jax.vmap(lambda p: jax.vmap(lambda s: p.step(s, jnp.array(False), ())[0])(states))(policies)
    value = np.asarray(heads["q"][..., 0] if "q" in heads else heads["value"])
    check_mean(value, evaluate(exact, uniform, horizon(name, DISCOUNT)).value[states])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in (*CONTROL, *ALONE) if name not in ("exp3", *COMPARING, *EVOLVING)])
def test_every_algorithm_predicts_the_value(name: str) -> None:
    """Where there is no choice; those that learn the value of a policy are asked for it everywhere, below."""
    if name in CONTROL:
        check_values(name, found_by(name, PROCESS), models()[PROCESS])
    else:
        check_prediction(name)


WEIGHTS = np.random.default_rng(0).uniform(0.5, 1.5, (25, 12))
CHANCES = WEIGHTS / WEIGHTS.sum(1, keepdims=True)
TARGET = tabulated(CHANCES)
"""A policy for every small model: of what a state lacks nothing is said."""


@hyperparameters
class Between:
    """The target, or the uniform policy, or something between: one program for all."""

    uniform: float = 0.0

    def build(self, observation_space: Any, action_space: Any) -> FixedPolicy:
        chances = self.uniform / CHANCES.shape[1] + (1 - self.uniform) * CHANCES
        return FixedPolicy(jnp.log(chances), HashableSpace(observation_space))


OWN: dict[str, dict[str, Any]] = {
    "batch_td": {"rollout": 256, "step_size": 1.5, "sweeps": 800},
    "batch_monte_carlo": {"rollout": 256, "step_size": 1.5, "sweeps": 200},
    # Products of many ratios are noisy: smaller steps average more of them.
    "monte_carlo_prediction": {"lambda_": 1.0, "step_size": 0.02},
    # Their steps are small at first: the second weights have to be learnt.
    "tdc": {"step_size": 0.2, "second_step_size": 0.2},
    "gtd2": {"step_size": 0.2, "second_step_size": 0.2},
    # An emphasis may be 1 / (1 − γ) and more, by which steps have to be smaller.
    "emphatic_td": {"step_size": 0.02},
}


OFF_POLICY = [name for name in having("behaviour") if name not in ("lambda_return", "true_online_td")]


def evaluating(name: str, **settings: Any) -> Algorithm:
    """A prediction method whose steps fall to nothing, or count."""
    method = ALGORITHMS[name]()
    known = {field.name for field in dataclasses.fields(method)}
    behaviour = Between() if name in OFF_POLICY else None
    usual = {
        "target": TARGET,
        "behaviour": behaviour,
        "num_envs": 4,
        "rollout": 32,
        "longest_episode": LIMIT,
        "discount": DISCOUNT,
        "n": 3,
    }
    usual |= {"step_size": 0.05, "step_size_end": 0.0, "capacity": 512}
    if name not in ("batch_td", "batch_monte_carlo"):
        usual["lambda_"] = 0.5
    given = usual | OWN.get(name, {}) | settings
    return dataclasses.replace(method, **{key: value for key, value in given.items() if key in known})


def check_evaluation(learnt: Learner, exact: MDP) -> None:
    """The values of the target in one world."""
    going = ~exact.terminal
    chances = WEIGHTS[exact.pair_state, exact.action]
    chances = chances / np.bincount(exact.pair_state, chances, minlength=exact.num_states)[exact.pair_state]
    value = evaluate(exact, chances, DISCOUNT).value[going]
    check_mean(table(learnt, "value")[:, going, 0], value, largest(exact), biased=False)


# A batch is gone through so often that little of it has to do.
STEPS = {"batch_td": 1024, "batch_monte_carlo": 1024, "lstd": 12_800, "monte_carlo_prediction": 40_000}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "world"), paired(PREDICTION, SMALL, EACH))
def test_every_prediction_method_finds_the_policys_value(name: str, world: str) -> None:
    check_evaluation(learners(evaluating(name), STEPS.get(name, 20_000), TEN, world), models()[world])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "world"), paired(OFF_POLICY, SMALL, EACH))
def test_off_policy_methods_are_consistent(name: str, world: str) -> None:
    """The uniform policy acts in the target's place, which is seen through its importance ratios."""
    method = evaluating(name, behaviour=Between(1.0))
    check_evaluation(learners(method, STEPS.get(name, 20_000), TEN, world), models()[world])


@pytest.mark.slow
@pytest.mark.parametrize("world", ENDLESS)
@pytest.mark.parametrize("kind", [DifferentialSARSA, RLearning])
def test_the_gain_is_the_exact_one(kind: type, world: str) -> None:
    """What is learnt as the average reward is the gain of the policy learnt, which is near the best."""
    steps = {"step_size": 0.2, "step_size_end": 0.0, "average_step_size": 0.02, "average_step_size_end": 0.0}
    method = kind(exploration=Epsilon(EPSILON), **steps)
    learnt, exact = learners(method, 60_000, TEN, world, ENDLESS), models(ENDLESS)[world]
    q = np.asarray(table(learnt, "q"))[:, exact.pair_state, exact.action]
    best = np.array([np.maximum.reduceat(one, exact.state_ptr[:-1][~exact.terminal]) for one in q])
    owner = np.cumsum(~exact.terminal)[exact.pair_state] - 1
    greedy = (q == best[:, owner]).astype(float)
    greedy /= np.array([np.bincount(owner, one)[owner] for one in greedy])
    soft = (1 - EPSILON) * greedy + EPSILON * uniform(exact)
    followed = greedy if method.greedy else soft
    gains = np.array([evaluate_average(exact, one).start_gain for one in followed])
    off = np.asarray(learnt.average) - gains
    assert abs(off.mean()) < 4 * off.std(ddof=1) / np.sqrt(len(off)) + 0.01 * largest(exact) + 1e-9
    optimum = average_reward(exact).start_gain
    reached = np.array([evaluate_average(exact, one).start_gain for one in greedy])
    assert (optimum - reached).mean() < 0.02 * largest(exact) + 1e-9


Q_LEARNING = deep("q_learning")
OF_THE_WRONG_SIGN = rewritten(
    QLearning, lambda rows: rows._replace(steps=rows.steps._replace(reward=-rows.steps.reward))
)(**{f.name: getattr(Q_LEARNING, f.name) for f in dataclasses.fields(Q_LEARNING)})


@pytest.mark.parametrize("world", DECISIVE)
def test_the_law_sees_rewards_of_the_wrong_sign(world: str) -> None:
    found = learners(OF_THE_WRONG_SIGN, 4_000, range(4), world)
    with pytest.raises(AssertionError):
        check_control(policies_of(OF_THE_WRONG_SIGN, found), world)


def test_the_law_sees_a_behaviour_whose_ratios_are_left_out() -> None:
    found = learners(evaluating("td", target=Uniform()), 40_000, TEN, "garnet")
    with pytest.raises(AssertionError, match="not strictly ordered"):
        check_evaluation(found, models()["garnet"])


def test_the_law_sees_a_time_limit_that_is_taken_as_death() -> None:
    with pytest.raises(AssertionError, match="not strictly ordered"):
        check_q_learning("garnet", deadly)
    with pytest.raises(AssertionError, match="not strictly ordered"):
        check_sarsa("student", SARSAS["sarsa"], deadly)
    with pytest.raises(AssertionError, match="not strictly ordered"):
        check_prediction("td", deadly)


def test_the_law_sees_values_of_another_policy() -> None:
    with pytest.raises(AssertionError, match="not strictly ordered"):
        check_sarsa("student", dataclasses.replace(SARSAS["sarsa"], exploration=Epsilon(0.05)))
