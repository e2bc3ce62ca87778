"""Law 11: an algorithm learns from what it is told that a transition is worth, each transition once, as of now.

A relabel that gives each row its own reward is the same program. One that doubles rewards is a world that pays double:
to the bit, because doubling is exact, and whatever is held between rollouts or replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from annotations import unlooked
from cases import Case, main
from jax import Array
from jaxtyping import Float
from small import ALGORITHMS, ASKING, FAMILIES, Judged, Scaled, bits, busy_world, small

from retorno.core.environment import Environment
from retorno.core.hyperparameters import hyperparameters
from retorno.core.policy import Algorithm, Relabel, Reward, world_reward
from retorno.core.spaces import SpaceError
from retorno.core.time_step import Trajectory
from retorno.models import Exact
from retorno.networks import Table
from retorno.run.loop import Run, begin_runs, iterate
from retorno.run.relabel import CountBonus
from retorno.run.train import train

ITERATIONS = 6


class Same(Relabel):
    """Gives each row its own reward."""

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        return trajectory.steps.reward[1:]


def paying(world: Environment, factor: float) -> Environment:
    """The world, with rewards multiplied by it."""
    rewards: Any = lambda world: world.world.reward  # noqa: E731
    return eqx.tree_at(rewards, world, factor * rewards(world))


def begun(algorithm: Algorithm, world: Environment, relabel: Relabel | None) -> Run:
    run = begin_runs(algorithm, world, None, jnp.uint32(3), jnp.int32(500), algorithm.num_envs)
    return run._replace(relabel=relabel)


def check_that_its_own_reward_changes_nothing(algorithm: Algorithm, world: Environment | None = None) -> None:
    """It is the same program: of what is said of its rewards nothing else is seen."""
    world = world or busy_world()

    def program(relabel: Relabel | None) -> str:
        run = jax.eval_shape(partial(begun, algorithm, world, relabel))
        return str(jax.make_jaxpr(partial(iterate, algorithm, world))(run))

    with unlooked():
        assert program(Same()) == program(None)


def lived(algorithm: Algorithm, world: Environment) -> Callable[[float, float, float], list[bytes]]:
    """The policy after a few iterations in a world that pays so much, judged so much, and in the second half so.

    All of it is done by programs that other laws use.
    """
    half = ITERATIONS // 2 * algorithm.num_envs * algorithm.rollout

    def policy(paid: float, judged: float, later: float) -> list[bytes]:
        with train(algorithm, paying(world, paid), 2 * half, seed=3, relabel=Judged(), every=half) as training:
            training.relabel = Scaled(jnp.float32(judged))
            for told in training:
                if told.boundary:
                    training.relabel = Scaled(jnp.float32(later))
            return bits(training.policy)

    return policy


def check_that_twice_the_reward_is_twice_the_reward(algorithm: Algorithm, world: Environment | None = None) -> None:
    """Said by a relabel or paid by the world."""
    after = lived(algorithm, world or busy_world())
    told, paid = after(1, 2, 2), after(2, 1, 1)
    assert told == paid
    # Who only asks which of two is better learns the same from twice the reward, but not from its opposite.
    assert told != after(1, -1, -1)


def check_that_rewards_are_those_of_now(algorithm: Algorithm) -> None:
    """Nothing is learnt in the first half, and then all of it by what is said then."""
    after = lived(algorithm, busy_world())
    assert after(1, 1, 2) == after(1, 2, 2) != after(1, 1, 1)


def tabular(name: str, **settings: Any) -> Algorithm:
    return small(name, network=Table(), **settings)


@pytest.mark.parametrize("case", [main(name) for name in FAMILIES], ids=str)
def test_its_own_reward_changes_nothing(case: Case) -> None:
    check_that_its_own_reward_changes_nothing(case.method(), case.place())


@pytest.mark.parametrize("case", [main(name) for name in ALGORITHMS if name not in ASKING], ids=str)
def test_twice_the_reward_is_twice_the_reward(case: Case) -> None:
    check_that_twice_the_reward_is_twice_the_reward(case.method(), case.place())


@pytest.mark.parametrize("name", ["sarsa", "dqn", "q_sigma"])
def test_however_short_the_rollouts(name: str) -> None:
    """The first row of a rollout repeats the last one of the rollout before: here each is one."""
    check_that_twice_the_reward_is_twice_the_reward(tabular(name, rollout=1, learning_starts=4, n=2))


def replaying() -> dict[str, Any]:
    """The first half ends within the iteration that reaches it: only the one after that learns."""
    return {"rollout": 2, "learning_starts": 4 * 2 * (ITERATIONS // 2 + 1), "capacity": 64, "batch_size": 32}


def test_what_is_replayed_is_judged_as_of_now() -> None:
    check_that_rewards_are_those_of_now(tabular("dqn", **replaying()))


def test_a_run_with_its_own_rewards_is_the_run_without() -> None:
    def digest(relabel: Relabel | None) -> str:
        training = train(tabular("q_learning"), busy_world(), 64, relabel=relabel)
        training.run_to_end()
        return training.digest

    assert digest(Same()) == digest(None)


def mistaken(name: str, update: Callable[..., Any], **settings: Any) -> Algorithm:
    """An algorithm with another `update`, which is given the right one first."""
    kind: Any = ALGORITHMS[name]
    rightly_but = {"update": lambda self, *rest: update(partial(kind.update, self), *rest)}
    wrong: Any = hyperparameters(type("Mistaken", (kind,), rightly_but))
    right = tabular(name, **settings)
    return wrong(**{field.name: getattr(right, field.name) for field in fields(cast(Any, right))})


def never_asked(update: Any, learner: Any, trajectory: Trajectory, reward: Reward, key: Any) -> Any:
    return update(learner, trajectory, world_reward, key)


def asked_twice(update: Any, learner: Any, trajectory: Trajectory, reward: Reward, key: Any) -> Any:
    return update(learner, trajectory.rewarded(reward), reward, key)


def asked_before_it_is_held(update: Any, learner: Any, trajectory: Trajectory, reward: Reward, key: Any) -> Any:
    """What is held is what was said then; and the first row's reward was never said."""
    return update(learner, trajectory.rewarded(reward), world_reward, key)


@pytest.mark.parametrize("wrong", [never_asked, asked_twice])
def test_the_law_sees_rewards_that_are_not_asked_for_once(wrong: Any) -> None:
    with pytest.raises(AssertionError):
        check_that_twice_the_reward_is_twice_the_reward(mistaken("q_learning", wrong))


@pytest.mark.parametrize("name", ["sarsa", "dqn"])
def test_the_law_sees_a_first_row_that_is_forgotten(name: str) -> None:
    with pytest.raises(AssertionError):
        check_that_twice_the_reward_is_twice_the_reward(
            mistaken(name, asked_before_it_is_held, rollout=1, learning_starts=4, batch_size=32)
        )


def test_the_law_sees_stale_rewards() -> None:
    with pytest.raises(AssertionError):
        check_that_rewards_are_those_of_now(mistaken("dqn", asked_before_it_is_held, **replaying()))


def test_the_law_sees_a_relabel_that_is_treated_otherwise() -> None:
    def update(right: Any, learner: Any, trajectory: Trajectory, reward: Reward, key: Any) -> Any:
        return right(learner, trajectory if reward is world_reward else trajectory.rewarded(reward), reward, key)

    with pytest.raises(AssertionError):
        check_that_its_own_reward_changes_nothing(mistaken("q_learning", update))


def test_what_would_not_be_heard_is_refused() -> None:
    """Who plans in the world itself would see the world's rewards; who samples single rows cannot judge by others."""

    class Long(Same):
        @property
        def context(self) -> None:
            return None

    with pytest.raises(SpaceError, match="pays its own rewards"):
        train(small("rollout", model=Exact()), busy_world(), 10, relabel=CountBonus())
    with pytest.raises(SpaceError, match="judges them by earlier rows"):
        train(tabular("dqn"), busy_world(), 10, relabel=Long())
    with pytest.raises(TypeError, match="begins with settings"):
        train(tabular("dqn"), busy_world(), 10, relabel=Scaled(jnp.float32(2)))
