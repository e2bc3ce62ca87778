"""Law 9: nothing is compiled after the first update, nor for another seed, budget or learning rate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import pytest
from cases import Case, main, mostly
from gymnasium import spaces
from small import ALGORITHMS, Judged, busy_world, small

from retorno.core.environment import Environment
from retorno.core.policy import Algorithm
from retorno.core.time_step import TimeStep, restart, transition
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.networks import Table
from retorno.run.loop import advance
from retorno.run.train import train

judged = partial(train, relabel=Judged())


@contextlib.contextmanager
def compiled() -> Iterator[list[str]]:
    """The programs that are compiled (or loaded, if kept from before) meanwhile."""
    names: list[str] = []

    def listen(event: str, duration_secs: float, **facts: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(str(facts.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def check_recompilation(training: Iterable[Any]) -> None:
    """The second report and all after it need no new program."""
    reports = iter(training)
    for _ in range(2):
        next(reports)
    with compiled() as names:
        rest = [*reports]
    assert names == []
    assert len(rest) > 2


def test_fused(case: Case) -> None:
    check_recompilation(judged(case.method(), case.place(), 400, every=50))
    with compiled() as names:
        again = judged(case.method(), case.place(), 700, seed=9, every=100)
        again.run_to_end()
    assert names == []


class Plain(Environment):
    """A world of Python's own numbers, whose types are weak: of one of them from the second step on not, and so on."""

    observation_space, action_space = spaces.Discrete(5), spaces.Discrete(2)

    def reset(self, key: Any) -> tuple[Any, TimeStep]:
        return (0, 0, 0.5), restart(0)

    def step(self, state: Any, action: Any, key: Any) -> tuple[Any, TimeStep]:
        at = (state[0] + jnp.int32(action)) % 5
        return (at, state[0], 0.5 * state[1]), transition(at, state[2], terminated=at == 4)


def test_numbers_of_weak_types_are_compiled_for_once() -> None:
    with compiled() as names:
        train(small("q_learning"), Plain(), 400, every=50).run_to_end()
    assert names.count("jit(advance)") == 1


def changed(algorithm: Algorithm) -> Algorithm:
    """Another value of each number: of an algorithm's own, its optimiser's, its exploration's."""
    other = jax.tree.map(lambda x: 0.875 * x + 0.003, algorithm)
    assert all(x != y for x, y in zip(jax.tree.leaves(algorithm), jax.tree.leaves(other), strict=True))
    return other


@pytest.mark.parametrize("name", ALGORITHMS)
def test_another_value_of_each_number(name: str) -> None:
    method, place = main(name).method(), main(name).place()
    judged(method, place, 40).run_to_end()
    with compiled() as names:
        judged(changed(method), place, 40, seed=1).run_to_end()
    assert names == []


@pytest.mark.parametrize("name", mostly(["differential_sarsa", "bootstrapped_dqn", "actor_critic"], ALGORITHMS))
def test_another_value_of_each_number_hosted(name: str) -> None:
    """Of three families, which law 6 lets live in Python with the same programs."""
    hosted, method = gymnasium(lambda: to_gymnasium(main(name).place())), main(name).method()
    with contextlib.closing(judged(method, hosted, 40)) as training:
        training.run_to_end()
    with compiled() as names, contextlib.closing(judged(changed(method), hosted, 40)) as training:
        training.run_to_end()
    assert names == []


@pytest.mark.parametrize("name", mostly(["ppo"], ALGORITHMS))
def test_what_is_compiled_while_a_run_begins_is_what_runs(name: str) -> None:
    with compiled() as names:
        train(main(name).method(num_envs=3, minibatches=1), main(name).place(), 40).run_to_end()
    assert [names.count(program) for program in ("jit(_begin_learners)", "jit(advance)")] == [1, 1]


@pytest.mark.loop
def test_hosted(case: Case) -> None:
    hosted = gymnasium(lambda: to_gymnasium(case.place()))
    with contextlib.closing(judged(case.method(), hosted, 100, every=20)) as training:
        check_recompilation(training)


@pytest.mark.parametrize("spread", [{"devices": 2}, {"seed": (0, 1)}, {"seed": (0, 1, 2)}], ids=str)
def test_spread_over_devices(spread: Any) -> None:
    with compiled() as names:
        # No other test has rollouts of 5 rows: nothing has been compiled for them.
        check_recompilation(train(small("q_learning", rollout=5), busy_world(), 400, every=50, **spread))
    assert sum("advance" in program for program in names) == 1


def test_the_law_sees_what_is_compiled_again() -> None:
    class Forgetful:
        """A run whose program is thrown away after the third report."""

        def __iter__(self) -> Iterator[Any]:
            training = train(small("q_learning", network=Table()), busy_world(), 400, every=50)
            for i, told in enumerate(training, start=1):
                yield told
                if i == 3:
                    advance.program.clear_cache()

    with pytest.raises(AssertionError):
        check_recompilation(Forgetful())


def test_the_law_sees_a_program_for_each_budget() -> None:
    with compiled() as names:
        for budget in (3, 4):
            jax.jit(lambda x, n: x * n, static_argnums=1)(1.0, budget)
    assert len(names) == 2
