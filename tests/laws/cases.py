"""Which algorithms, kinds of worlds and networks stand together under the laws.

By default each algorithm stands under every law with a network and a world of the kind that it is for, and each
kind of world and of network with one algorithm; `pytest --all` takes every combination that the spaces allow. What is
the loop's work more than the algorithm's (hosted worlds, two devices, SIGKILL, a batch of seeds to the bit) is asked of
one algorithm of each family by default, and of each kind of world and of network.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, product, repeat
from typing import Any

import jax
import pytest
from small import ALGORITHMS, FAMILIES, LINEAR, NETWORK, small
from worlds import KINDS

from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.policy import Algorithm
from retorno.core.spaces import Spec
from retorno.networks import Table
from retorno.run.loop import native_spec

WIDEST = "ppo"
"""Takes every kind of world and of network."""


@dataclass(frozen=True)
class Case:
    """One combination, by names."""

    algorithm: str
    world: str
    network: str

    def __str__(self) -> str:
        return f"{self.algorithm}-{self.world}-{self.network}"

    def method(self, **settings: Any) -> Algorithm:
        return small(self.algorithm, **{"network": NETWORK[self.network]} | settings)

    def place(self) -> Environment:
        return KINDS[self.world]()

    @property
    def group(self) -> str:
        """Tests of one group share programs: an algorithm's own case stands with all others of the algorithm."""
        return self.algorithm if self == main(self.algorithm) else str(self)

    @property
    def possible(self) -> bool:
        """Whether the algorithm takes the spaces and the network."""
        method = self.method()
        spec = seen_in(self.world, method.num_envs)
        try:
            jax.eval_shape(lambda key: method.init(key, spec), jax.random.key(0))
        except ValueError:
            return False
        return True


@functools.cache
def seen_in(world: str, num_envs: int) -> Spec:
    """What an algorithm is told of a kind of world."""
    return native_spec(KINDS[world](), Counter.of(1), num_envs)


def own_network(algorithm: str) -> str:
    """The kind of network that an algorithm is for."""
    tabular = isinstance(getattr(ALGORITHMS[algorithm](), "network", Table()), Table)
    return "table" if tabular or algorithm in LINEAR else "mlp"


@functools.cache
def main(algorithm: str) -> Case:
    """The first kind of world that an algorithm takes, with its own network."""
    cases = (Case(algorithm, world, own_network(algorithm)) for world in KINDS)
    return next(case for case in cases if case.possible)


@functools.cache
def mains() -> list[Case]:
    """Each algorithm's own case, and its own with real numbers for actions, which some take as well."""
    cases = [main(name) for name in ALGORITHMS]
    return [*cases, *(real for case in cases if (real := dataclasses.replace(case, world="box")).possible)]


@functools.cache
def covering() -> list[Case]:
    """Each algorithm, each kind of world and each network but those that are `ALIKE` in one case at least."""
    return list(dict.fromkeys([*mains(), *of_the_loop()]))


ALIKE = ("residual", "simba", "batch_renorm", "lstm", "aggregation", "tile_coding", "fourier", "polynomial")
"""To the loop, a network is what it remembers: these remember as a GRU does, or nothing, as features do."""


@functools.cache
def of_the_loop(but: tuple[str, ...] = ()) -> list[Case]:
    """One algorithm of each family, each kind of world and a network of each kind of memory, in as few cases as can be.

    Each algorithm in turn is given the world and the network that most of is new; what is left is `WIDEST`'s.

    Args:
        but: the algorithms whose cases are left out again.
    """
    if but:
        return [case for case in of_the_loop() if case.algorithm not in but]
    kinds = [(world, network) for world in KINDS for network in NETWORK if network not in ALIKE]
    new, cases = {value for kind in kinds for value in kind}, []
    for algorithm in chain(FAMILIES, repeat(WIDEST)):
        if algorithm == WIDEST and not new:
            return cases
        possible = (Case(algorithm, *kind) for kind in sorted(kinds, key=lambda kind: -len(new & {*kind})))
        cases.append(next(case for case in possible if case.possible))
        new -= {cases[-1].world, cases[-1].network}
    raise AssertionError


def everything() -> list[Case]:
    """Every combination that is possible."""
    cases = [Case(*parts) for parts in ((a, w, n) for a in ALGORITHMS for w in KINDS for n in NETWORK)]
    return [case for case in cases if case.possible]


def paired(names: Sequence[str], worlds: Sequence[str], each: int) -> list[Any]:
    """All pairs, of which usually each name is met with so many worlds, in turn: so each world is met as well."""
    turn = {name: i * each for i, name in enumerate(names)}
    usual = [(name, worlds[(turn[name] + i) % len(worlds)]) for name in names for i in range(each)]
    return mostly(usual, product(names, worlds))


def mostly(usual: Sequence[Any], every: Iterable[Any]) -> list[Any]:
    """The usual values of a parameter, and those that `pytest --all` adds."""
    extra = pytest.mark.only_all
    values = [value if isinstance(value, tuple) else (value,) for value in every]
    return [pytest.param(*value, marks=() if value in usual or value[0] in usual else extra) for value in values]
