"""UCT: Monte Carlo tree search that treats each choice in the tree as a bandit.

Kocsis & Szepesvári 2006; Coulom 2006; Sutton & Barto 2018, section 8.11. Before each choice come `simulations`
walks through a model, out of the present state. In the tree each takes the action with the highest upper confidence
bound; where it leaves the tree one node is added, and a base policy goes on to the end. The returns are
averaged in the nodes that were passed. A node is a state at a depth, as in the paper, so walks that come together
share what they learn. Values are scaled by the least and the greatest return of the search to [0, 1], where
UCB1's bound holds (Schrittwieser et al. 2020, eq. 5 of the appendix); the action that was taken most often is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.algorithms.planning.planner import Planner, PlanningLearner
from retorno.core.hyperparameters import NonNegative, hyperparameters
from retorno.core.policy import Policy
from retorno.core.spaces import Spec, cardinality
from retorno.core.time_step import TimeStep, allowed
from retorno.models.tabular import Counted, SampleModel
from retorno.ops.bandits import upper_confidence
from retorno.ops.returns import lambda_returns


class Tree(NamedTuple):
    """Nodes in a table of N places, of which half are free at least, by hashes of their states and depths."""

    state: Int[Array, " N"]
    depth: Int[Array, " N"]
    """−1 where no node is yet."""
    visits: Int[Array, "N A"]
    total: Float[Array, "N A"]
    """Sums of returns."""
    least: Float[Array, ""]
    most: Float[Array, ""]
    """Of all returns so far, from wherever in the tree."""

    def place(self, state: Int[Array, ""], depth: Int[Array, ""] | int) -> Int[Array, ""]:
        """Where a node is, or the free place where it would be: from its hash on (Knuth 1973, section 6.4)."""
        size = len(self.state)
        mixed = (jnp.uint32(31) * jnp.uint32(depth) + state.astype(jnp.uint32)) * jnp.uint32(0x9E3779B1)
        hashed = (mixed >> jnp.uint32(33 - size.bit_length())).astype(jnp.int32)

        def another(place: Int[Array, ""]) -> Bool[Array, ""]:
            same = (self.state[place] == state) & (self.depth[place] == depth)
            return (self.depth[place] >= 0) & ~same

        return jax.lax.while_loop(another, lambda place: (place + 1) % size, hashed)

    def added(self, place: Int[Array, ""], state: Int[Array, ""], depth: Int[Array, ""]) -> Tree:
        """With one more node, or none where its place is beyond the table."""
        return self._replace(
            state=self.state.at[place].set(state, mode="drop"), depth=self.depth.at[place].set(depth, mode="drop")
        )

    def mean(self, node: Int[Array, ""]) -> Float[Array, " A"]:
        """Mean returns of a node's actions; 0 for those that were never taken."""
        return self.total[node] / jnp.maximum(self.visits[node], 1)

    def scaled(self, mean: Float[Array, " A"]) -> Float[Array, " A"]:
        """Means of returns in [0, 1]."""
        width = self.most - self.least
        return jnp.where(width > 0, (mean - self.least) / jnp.where(width > 0, width, 1.0), 0.0)


class Walk(NamedTuple):
    """One simulation, under way."""

    row: TimeStep
    step: Int[Array, ""]
    node: Int[Array, ""]
    """Where it is in the tree; N beyond it."""
    leaf: tuple[Int[Array, ""], Int[Array, ""], Int[Array, ""]]
    """Place, state and depth of the node to be added, where it left the tree; the place is N if it did not."""
    nodes: Int[Array, " D"]
    """Where each step was taken."""
    actions: Int[Array, " D"]
    rewards: Float[Array, " D"]
    discounts: Float[Array, " D"]


class Search(NamedTuple):
    """What was found at the root."""

    visits: Int[Array, " A"]
    q: Float[Array, " A"]
    """Mean returns."""
    scaled: Float[Array, " A"]
    """The same in [0, 1]."""

    @property
    def preference(self) -> Float[Array, " A"]:
        """The visits; where they tie, the mean return."""
        return self.visits + self.scaled / 2

    @property
    def policy(self) -> Float[Array, " A"]:
        """The share of simulations that took each action."""
        return self.visits / self.visits.sum(-1, keepdims=True)

    @property
    def extras(self) -> dict[str, Array]:
        return {"search_policy": self.policy, "q": self.q, "value": (self.policy * self.q).sum()}


@hyperparameters
class UCT(Planner):
    """UCT (Kocsis & Szepesvári 2006): searches a tree before each choice. Observations: finite. Actions: Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"model": Counted(), "simulations": 6, "depth": 5}

    confidence: NonNegative = 1.4142135
    """c of the upper confidence bound, for returns in [0, 1]: √2 is UCB1's."""

    def init(self, key: Key[Array, ""], spec: Spec) -> PlanningLearner:
        cardinality(spec.observation_space)  # Refuses what is not finite.
        return super().init(key, spec)

    def plans(
        self, model: SampleModel, base: Policy, row: TimeStep, key: Key[Array, ""], after: Sequence[int]
    ) -> Search:
        """Search from one row, and what has been found after each of so many simulations, which rise: [looks, …]."""
        actions = base.step(row.obs, row.first, ())[0]["policy"].logits.shape[0]
        size = 2 ** (2 * after[-1] + 1).bit_length()
        empty = Tree(
            state=jnp.zeros(size, jnp.int32),
            depth=jnp.full(size, -1),
            visits=jnp.zeros((size, actions), jnp.int32),
            total=jnp.zeros((size, actions)),
            least=jnp.float32(jnp.inf),
            most=jnp.float32(-jnp.inf),
        )
        here = model.number(row.obs)
        root = empty.place(here, 0)

        def simulate(number: Int[Array, ""], tree: Tree) -> Tree:
            walk = self._walk(tree, root, model, base, row, jax.random.fold_in(key, number))
            returns = lambda_returns(walk.rewards, walk.discounts, *_nothing_beyond(self.depth), 1.0)
            inside = walk.nodes < size
            return tree.added(*walk.leaf)._replace(
                visits=tree.visits.at[walk.nodes, walk.actions].add(1, mode="drop"),
                total=tree.total.at[walk.nodes, walk.actions].add(returns, mode="drop"),
                least=jnp.minimum(tree.least, jnp.min(returns, where=inside, initial=jnp.inf)),
                most=jnp.maximum(tree.most, jnp.max(returns, where=inside, initial=-jnp.inf)),
            )

        def look(tree: Tree, between: tuple[Array, Array]) -> tuple[Tree, Search]:
            tree = jax.lax.fori_loop(*between, simulate, tree)
            mean = tree.mean(root)
            return tree, Search(tree.visits[root], mean, tree.scaled(mean))

        between = jnp.array((0, *after[:-1])), jnp.array(after)
        return jax.lax.scan(look, empty.added(root, here, jnp.int32(0)), between)[1]

    def _walk(
        self,
        tree: Tree,
        root: Int[Array, ""],
        model: SampleModel,
        base: Policy,
        row: TimeStep,
        key: Key[Array, ""],
    ) -> Walk:
        """One simulation."""
        beyond = jnp.int32(len(tree.state))

        def going(walk: Walk) -> Bool[Array, ""]:
            return (walk.row.discount != 0) & (walk.step < self.depth)

        def step(walk: Walk) -> Walk:
            row, depth, node = walk.row, walk.step, walk.node
            happening, choosing = jax.random.split(jax.random.fold_in(key, depth))
            bound = upper_confidence(tree.scaled(tree.mean(node)), tree.visits[node], self.confidence)
            by_tree = jnp.argmax(allowed(row.legal, bound))
            by_base = base.step(row.obs, row.first, ())[0]["policy"].masked(row.legal).sample(choosing)
            inside = node < beyond
            action = jnp.where(inside, by_tree, by_base)
            after = model.step(row.obs, action, happening)
            state = model.number(after.obs)
            place = tree.place(state, depth + 1)
            known = tree.depth[place] >= 0
            leaves = inside & ~known & (after.discount != 0)
            return Walk(
                row=after,
                step=depth + 1,
                node=jnp.where(inside & known, place, beyond),
                leaf=jax.tree.map(lambda a, b: jnp.where(leaves, a, b), (place, state, depth + 1), walk.leaf),
                nodes=walk.nodes.at[depth].set(node),
                actions=walk.actions.at[depth].set(action),
                rewards=walk.rewards.at[depth].set(after.reward),
                discounts=walk.discounts.at[depth].set(self.discount * after.discount),
            )

        zeros = jnp.zeros(self.depth)
        nowhere = zeros.astype(jnp.int32)
        start = Walk(
            row=row._replace(discount=jnp.float32(1), last=jnp.array(False)),
            step=jnp.int32(0),
            node=root,
            leaf=(beyond, jnp.int32(0), jnp.int32(0)),
            nodes=nowhere + beyond,
            actions=nowhere,
            rewards=zeros,
            discounts=zeros,
        )
        return jax.lax.while_loop(going, step, start)


def _nothing_beyond(steps: int) -> tuple[Float[Array, " D"], Bool[Array, " D"]]:
    """No value behind any step, and no cut between them."""
    return jnp.zeros(steps), jnp.zeros(steps, bool)
