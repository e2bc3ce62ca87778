"""The tree of a search: a place for each simulation, in a few arrays that are written at one known index.

What is counted belongs to places, not to the actions between them: of an action it is what the place that it leads to
says. A new place's index is the simulation's, the same for every row of a batch, so that all but one number is written
as a slice and nothing is copied; a simulation's gain reaches the places on its way by one masked sum over all places;
and no loop carries the tree, which a `vmap` would have to select from at each step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, PyTree

TINY = jnp.finfo(jnp.float32).tiny
LEAST = jnp.finfo(jnp.float32).min
"""The logit of what may not be done: minus infinity would be no number where nothing may be."""


class Evaluated(NamedTuple):
    """A place that is looked at for the first time."""

    state: PyTree[Any]
    """What is gone on with from here."""
    prior: Float[Array, " A"]
    """Logits of what may be chosen here, the largest of them 0; `LEAST` for what may not be."""
    value: Float[Array, ""]
    reward: Float[Array, ""]
    """Of the way here from the place before."""
    discount: Float[Array, ""]
    """Of the same: what the value here counts there."""


class Seen(NamedTuple):
    """What one place knows of itself and of what lies behind each choice."""

    prior: Float[Array, " A"]
    """Logits."""
    probability: Float[Array, " A"]
    """The same, as probabilities: 0 for what may not be chosen, and for nothing else."""
    raw: Float[Array, ""]
    """What was thought of the place at first, …"""
    value: Float[Array, ""]
    """… and the mean of that and of all that came of going on."""
    visits: Float[Array, " A"]
    """How many simulations went each way."""
    q: Float[Array, " A"]
    """What came of it; 0 where nobody went."""
    least: Float[Array, ""]
    """Of the values in the whole tree: of its first place, and of each other one as it counts in the place before."""
    most: Float[Array, ""]
    state: PyTree[Any]


class Tree(NamedTuple):
    """N places, of which the first is where the search begins, and one more, for whatever nobody has looked at."""

    children: Int[Array, "N A"]
    """Which place each choice leads to: N where nobody went."""
    prior: Float[Array, "N A"]
    probability: Float[Array, "N A"]
    raw: Float[Array, " N"]
    value: Float[Array, " N"]
    visits: Float[Array, " N+1"]
    """Simulations through each place."""
    worth: Float[Array, " N+1"]
    """What each is worth in the place before."""
    before: Int[Array, " N"]
    """The place before; −1 of the first."""
    reward: Float[Array, " N"]
    """Of the way from there, …"""
    discount: Float[Array, " N"]
    """… as this."""
    states: PyTree[Any]

    def seen(self, place: Int[Array, ""] | int) -> Seen:
        """What one place knows."""
        behind = self.children[place]
        visits, q = self.visits[behind], self.worth[behind]
        values = jnp.where((self.visits[:-1] > 0) & (self.before >= 0), self.worth[:-1], self.value[0])
        least, most = values.min(), values.max()
        state = jax.tree.map(lambda x: x[place], self.states)
        return Seen(
            self.prior[place],
            self.probability[place],
            self.raw[place],
            self.value[place],
            visits,
            q,
            least,
            most,
            state,
        )


def best(score: Float[Array, " A"]) -> Int[Array, ""]:
    """The first of the largest, by two plain reductions: on a CPU they are quicker than one over pairs."""
    return jnp.where(score == score.max(), jnp.arange(len(score)), len(score) - 1).min()


Select = Callable[[Seen], Int[Array, ""]]
"""Which way a simulation goes on from a place."""


def grow(
    root: Evaluated,
    step: Callable[[PyTree[Any], Int[Array, ""], Key[Array, ""]], Evaluated],
    first: Callable[[Seen, Int[Array, ""]], Int[Array, ""]],
    then: Select,
    key: Key[Array, ""],
    simulations: int,
) -> Tree:
    """Simulations from a place, each of which adds one to the tree.

    Args:
        root: where to begin.
        step: what a choice in a state leads to.
        first: the choice at the root in a simulation, of which the first has number 0.
        then: the choice at each place further on.
        key: what chance follows from.
        simulations: how many.
    """

    def simulate(tree: Tree, given: tuple[Int[Array, ""], Key[Array, ""]]) -> tuple[Tree, None]:
        number, key = given
        place, choice = _descend(tree, then, first(tree.seen(0), number))
        state = jax.tree.map(lambda x: x[place], tree.states)
        return _updated(tree, number + 1, place, choice, step(state, choice, key)), None

    each = (jnp.arange(simulations), jax.random.split(key, simulations))
    return jax.lax.scan(simulate, _planted(root, simulations + 1), each)[0]


def size(root: Evaluated, places: int) -> int:
    """Bytes of a tree of so many places."""
    kept = sum(jnp.size(x) * jnp.result_type(x).itemsize for x in jax.tree.leaves(root.state))
    return places * (kept + 12 * len(root.prior) + 28)


def _planted(root: Evaluated, places: int) -> Tree:
    """A tree of its root."""
    actions = len(root.prior)
    tree = Tree(
        children=jnp.full((places, actions), places),
        prior=jnp.zeros((places, actions)),
        probability=jnp.zeros((places, actions)),
        raw=jnp.zeros(places),
        value=jnp.zeros(places),
        visits=jnp.zeros(places + 1),
        worth=jnp.zeros(places + 1),
        before=jnp.zeros(places, jnp.int32),
        reward=jnp.zeros(places),
        discount=jnp.zeros(places),
        states=jax.tree.map(lambda x: jnp.zeros((places, *jnp.shape(x)), jnp.result_type(x)), root.state),
    )
    return _with_place(tree, jnp.int32(0), jnp.int32(-1), root)


def _with_place(tree: Tree, number: Int[Array, ""], before: Int[Array, ""], found: Evaluated) -> Tree:
    """The tree with one place more, which was visited once."""
    write = lambda array, value: jax.lax.dynamic_update_index_in_dim(array, value, number, 0)  # noqa: E731
    worth = found.reward + found.discount * found.value
    likely = jnp.maximum(jax.nn.softmax(found.prior), TINY)
    return tree._replace(
        prior=write(tree.prior, found.prior),
        probability=write(tree.probability, jnp.where(found.prior > LEAST, likely, 0)),
        raw=write(tree.raw, found.value),
        value=write(tree.value, found.value),
        visits=write(tree.visits, jnp.float32(1)),
        worth=write(tree.worth, worth),
        before=write(tree.before, before),
        reward=write(tree.reward, found.reward),
        discount=write(tree.discount, found.discount),
        states=jax.tree.map(write, tree.states, found.state),
    )


def _descend(tree: Tree, then: Select, choice: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """From the root's choice on, to one that nobody has made: the place, and the choice there."""
    nowhere = len(tree.children)

    def on(way: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        place = way[2]
        choice = then(tree.seen(place))
        return place, choice, tree.children[place, choice]

    begun = (jnp.int32(0), choice, tree.children[0, choice])
    place, choice, _ = jax.lax.while_loop(lambda way: way[2] < nowhere, on, begun)
    return place, choice


def _updated(tree: Tree, number: Int[Array, ""], place: Int[Array, ""], choice: Int[Array, ""], new: Evaluated) -> Tree:
    """The tree with a new place, and what it says of all places before it."""
    places = jnp.arange(len(tree.children))

    def back(way: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        at, gain, gains, passed = way
        here = places == at
        onward = tree.reward[at] + tree.discount[at] * gain
        return tree.before[at], onward, jnp.where(here, gain, gains), passed | here

    begun = (place, new.reward + new.discount * new.value, jnp.zeros(len(places)), places < 0)
    _, _, gains, passed = jax.lax.while_loop(lambda way: way[0] >= 0, back, begun)
    visits = tree.visits[:-1]
    value = jnp.where(passed, (tree.value * visits + gains) / (visits + 1), tree.value)
    worth = tree.reward + tree.discount * value
    tree = tree._replace(
        value=value, visits=tree.visits.at[:-1].set(visits + passed), worth=tree.worth.at[:-1].set(worth)
    )
    return _with_place(tree, number, place, new)._replace(children=tree.children.at[place, choice].set(number))
