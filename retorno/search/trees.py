"""Monte Carlo tree search with a network, as in AlphaGo Zero (Silver et al. 2017).

Here stand what a tree asks of a world (what an action leads to, whose move it is then, what may be done, what chance
may do) and two ways to search: PUCT with Dirichlet noise at the root, and Gumbel's sequential halving. Both choose as
mctx does (Danihelka et al. 2022), move by move. All of it is for one row: whoever has many vmaps.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree, UInt32

from retorno.core.environment import Environment, ListsChances
from retorno.core.hyperparameters import Count, Positive, UnitInterval, hyperparameters
from retorno.core.memory import ensure_fits
from retorno.core.policy import Carry, Heads, Policy, WithoutMemory
from retorno.core.scalar import Scalar
from retorno.core.spaces import SpaceError
from retorno.core.time_step import Legal, TimeStep, Trajectory, legal_mask
from retorno.environments.wrappers import TimeLimit
from retorno.models.tabular import SampleModel, WorldModel
from retorno.ops.distributions import Categorical, dirichlet
from retorno.ops.returns import lambda_returns
from retorno.search.tree import LEAST, TINY, Evaluated, Seen, Tree, best, grow, size

Evaluator = Callable[[PyTree[Any]], tuple[Float[Array, " A"], Float[Array, ""]]]
"""A network: of what is observed, logits of the actions and the value for whoever moves."""
LINE = 6
"""Moves of a line that is told."""
BASE = 19_652.0
"""c₂ of PUCT's bound, in visits."""


class Found(NamedTuple):
    """What a search of one row comes to."""

    action: Int[Array, ""]
    """What the search itself would do."""
    policy: Float[Array, " A"]
    """The improved policy: what a network learns."""
    value: Float[Array, ""]
    """Of the row, for whoever moves as the improved policy does."""
    q: Float[Array, " A"]
    """Of each action; 0 for those that were not looked at."""
    visits: Int[Array, " A"]
    """How many simulations went through each."""
    lines: Int[Array, "A L"]
    """Of each action what the tree looked at most behind it, move by move; −1 where it ends."""


class Node(NamedTuple):
    """What is gone on with from a place in the tree."""

    state: PyTree[Any]
    over: Bool[Array, ""]
    """Whether nothing comes after it: the tree may still look there, and finds nothing."""


class Undecided(NamedTuple):
    """The same in a world where chance has a say: whoever acts chooses, or chance does what follows on an action."""

    state: PyTree[Any]
    over: Bool[Array, ""]
    action: Int[Array, ""]
    """What was chosen; −1 where that is still to come."""


Step = Callable[[Any, Int[Array, ""], Key[Array, ""]], Evaluated]
Grown = tuple[Tree, Int[Array, ""], Float[Array, " A"]]
"""A tree, what it would do, and the improved policy."""


@runtime_checkable
class SearchConfig(Protocol):
    """A way to search: a frozen dataclass of hyperparameters."""

    @property
    def simulations(self) -> int:
        """How many places the tree gets."""
        ...

    def search(
        self,
        model: SampleModel,
        evaluator: Evaluator,
        row: TimeStep,
        key: Key[Array, ""],
        discount: Scalar = 1.0,
        exploring: bool = False,
    ) -> Found:
        """Look ahead from one row.

        Args:
            model: what is looked ahead in: the world itself, or what was learnt of it.
            evaluator: what is thought of a place before anything is tried there.
            row: where to begin.
            key: what chance and noise follow from.
            discount: γ
            exploring: with noise at the root, as in training.
        """
        ...


@hyperparameters
class TreeSearch(abc.ABC):
    """What the searches share: what a tree asks of a world."""

    WEIGHS_CHANCE: ClassVar[bool] = True
    """Whether it knows what to do where chance has a say."""

    simulations: Count = 32
    """Places that the tree gets, each evaluated by the network once."""

    @abc.abstractmethod
    def grown(self, root: Evaluated, step: Step, key: Key[Array, ""], exploring: bool) -> Grown:
        """The tree, and what follows from it."""

    def search(
        self,
        model: SampleModel,
        evaluator: Evaluator,
        row: TimeStep,
        key: Key[Array, ""],
        discount: Scalar = 1.0,
        exploring: bool = False,
    ) -> Found:
        """Look ahead from one row, as `SearchConfig` says."""
        world = imagined(model)
        logits, value = evaluator(row.obs)
        actions, state, over = len(logits), world.enter(row.obs)[0], row.discount == 0
        if isinstance(world, ListsChances) and world.chances > 1:
            if not self.WEIGHS_CHANCE:
                raise SpaceError(
                    f"{type(self).__name__} is for worlds in which chance has no say, and in this one it does: "
                    "search=PUCT()"
                )
            step, node = _step_by_chance(world, evaluator, discount), Undecided(state, over, jnp.int32(-1))
            logits = jnp.pad(logits, (0, max(0, world.chances - actions)))
        else:
            step, node = _step(world, evaluator, discount), Node(state, over)
        root = Evaluated(node, masked(logits, _allowed(row.legal, actions)), value, jnp.float32(0), jnp.float32(0))
        ensure_fits(size(root, self.simulations + 1), f"a search with {self.simulations:,} simulations")
        tree, action, weights = self.grown(root, step, key, exploring)
        seen = tree.seen(0)
        policy, visits, q = (x[:actions] for x in (weights, seen.visits, seen.q))
        visits = visits.astype(jnp.int32)
        lines = jnp.full((actions, LINE), -1) if isinstance(node, Undecided) else _lines(tree)
        return Found(action, policy, _value(policy, q, visits), q, visits, lines)


@hyperparameters
class PUCT(TreeSearch):
    """AlphaZero's search (Silver et al. 2018): prior, visits and values in one bound, Dirichlet noise at the root.

    Values are stretched to [0, 1] between the least and the largest (Schrittwieser et al. 2020, eq. 5).
    Where a world lists what chance may do (`ListsChances`), the tree has a place for each outcome (Antonoglou et al.
    2022), visited as often as it is likely.
    """

    exploration: Positive = 1.25
    """c₁ of the bound: how much a prior weighs against values."""
    noise: UnitInterval = 0.25
    """The share of Dirichlet noise in the root's prior while learning."""
    concentration: Positive = 10.0
    """Of the Dirichlet noise, over the actions that may be chosen: each has this divided by their number."""
    whole_tree: bool = False
    """Stretch values between the least and the largest of the tree, as MuZero's does, and not of each place and what
    follows on it, as mctx's. What makes little difference there, perhaps by a model's error alone, then counts little
    beside priors."""

    def grown(self, root: Evaluated, step: Step, key: Key[Array, ""], exploring: bool) -> Grown:
        stepping, disturbing, choosing = jax.random.split(key, 3)
        if exploring:
            legal = root.prior > LEAST
            noise = noise_over(legal, disturbing, self.concentration)
            likely = (1 - self.noise) * jax.nn.softmax(root.prior) + self.noise * noise
            root = root._replace(prior=masked(jnp.log(jnp.maximum(likely, TINY)), legal))
        # Of two that are alike the same one is taken in the whole tree, but not always the one with the lower number.
        ties = 1e-7 * jax.random.uniform(choosing, root.prior.shape)

        def select(seen: Seen) -> Int[Array, ""]:
            return best(or_chance(seen, jnp.where(seen.probability > 0, self._bound(seen) + ties, -jnp.inf)))

        tree = grow(root, step, lambda seen, _: select(seen), select, stepping, self.simulations)
        visits = tree.seen(0).visits
        # Beside so large numbers as visits the lots would count for nothing.
        return tree, best(jnp.where(visits == visits.max(), ties, -1.0)), visits / self.simulations

    def _bound(self, seen: Seen) -> Float[Array, " A"]:
        """Schrittwieser et al. 2020, eq. 2."""
        count = 1 + seen.visits.sum()
        weight = self.exploration + jnp.log((count + BASE + 1) / BASE)
        return _stretched(seen, self.whole_tree) + jnp.sqrt(count) * weight * seen.probability / (seen.visits + 1)


def noise_over(legal: Bool[Array, " A"], key: Key[Array, ""], concentration: float | Array) -> Float[Array, " A"]:
    """Dirichlet noise over the actions that may be chosen: over all of them few would keep any.

    Args:
        legal: which may be.
        key: what is drawn follows from it.
        concentration: of all of them together.
    """
    # Of gamma variables over their sum, some over theirs.
    drawn = jnp.where(legal, dirichlet(key, jnp.full(legal.shape, concentration / legal.sum(), jnp.float32)), 0.0)
    return drawn / jnp.maximum(drawn.sum(), TINY)


@hyperparameters
class Gumbel(TreeSearch):
    """Gumbel's search (Danihelka et al. 2022): a few actions drawn without replacement, halved again and again.

    Its policy is an improvement with any number of simulations. For worlds without chance.
    """

    considered: Count = 16
    """Actions that are looked at first, at most."""

    WEIGHS_CHANCE: ClassVar[bool] = False

    def grown(self, root: Evaluated, step: Step, key: Key[Array, ""], exploring: bool) -> Grown:
        stepping, drawing = jax.random.split(key)
        drawn = jax.random.gumbel(drawing, root.prior.shape) if exploring else jnp.zeros_like(root.prior)
        rounds = jnp.asarray(halvings(self.considered, self.simulations))
        turn = rounds[jnp.minimum(self.considered, (root.prior > LEAST).sum())]

        def halved(seen: Seen, visits: Float[Array, ""] | Int[Array, ""]) -> Int[Array, ""]:
            """Of those that were visited so often."""
            likely = (seen.visits == visits) & (seen.prior > LEAST)
            return best(jnp.where(likely, jnp.maximum(-1e9, drawn + seen.prior + _completed(seen)), -jnp.inf))

        def interior(seen: Seen) -> Int[Array, ""]:
            """So that visits come to be as the improved policy has it."""
            improved = jax.nn.softmax(seen.prior + _completed(seen))
            return best(improved - seen.visits / (1 + seen.visits.sum()))

        tree = grow(root, step, lambda seen, i: halved(seen, turn[i]), interior, stepping, self.simulations)
        seen = tree.seen(0)
        improved = jax.nn.softmax(jnp.where(seen.prior > LEAST, seen.prior + _completed(seen), LEAST))
        return tree, halved(seen, seen.visits.max()), improved


def or_chance(seen: Seen, bound: Float[Array, " A"]) -> Float[Array, " A"]:
    """A bound where somebody chooses; where chance does, the more the rarer an outcome was for how likely it is."""
    if not isinstance(seen.state, Undecided):
        return bound
    likely = jnp.where(seen.probability > 0, seen.probability / (seen.visits + 1), -jnp.inf)
    return jnp.where(seen.state.action < 0, bound, likely)


def _stretched(seen: Seen, whole_tree: bool) -> Float[Array, " A"]:
    """Values in [0, 1], between the least and the largest of a place and its children, or of the whole tree.

    Of what nobody looked at 0.
    """
    tried = seen.visits > 0
    q = jnp.where(tried, seen.q, seen.value)
    of_place = jnp.minimum(seen.value, q.min()), jnp.maximum(seen.value, q.max())
    least, most = (seen.least, seen.most) if whole_tree else of_place
    return jnp.where(tried, seen.q - least, 0.0) / jnp.maximum(most - least, 1e-8)


def _completed(seen: Seen) -> Float[Array, " A"]:
    """σ(q) of all actions, those that nobody looked at included (Danihelka et al. 2022, section 4 and appendix D)."""
    tried = seen.visits > 0
    count, weight = seen.visits.sum(), jnp.where(tried, jnp.maximum(seen.probability, TINY), 0.0)
    known = (weight * seen.q / jnp.maximum(weight.sum(), TINY)).sum()
    q = jnp.where(tried, seen.q, (seen.raw + count * known) / (count + 1))
    stretched = (q - q.min()) / jnp.maximum(q.max() - q.min(), 1e-8)
    return (50 + seen.visits.max()) * 0.1 * stretched


def halvings(considered: int, simulations: int) -> Int[np.ndarray, "M S"]:
    """Sequential halving (Karnin et al. 2013): how often an action was visited whose turn it is.

    Row m is for m actions. Each simulation goes to the best of those that were visited so often.

    >>> halvings(4, 8)[4].tolist()
    [0, 0, 0, 0, 1, 1, 2, 2]
    """

    def turns(actions: int) -> list[int]:
        if actions <= 1:
            return list(range(simulations))
        rounds, visits, left, found = math.ceil(math.log2(actions)), [0] * actions, actions, []
        while len(found) < simulations:
            for _ in range(max(1, int(simulations / (rounds * left)))):
                found.extend(visits[:left])
                visits[:left] = [count + 1 for count in visits[:left]]
            left = max(2, left // 2)
        return found[:simulations]

    return np.array([turns(actions) for actions in range(considered + 1)])


def _step(world: Any, evaluator: Evaluator, discount: Scalar) -> Step:
    """What an action leads to, and chance as it falls."""

    def step(node: Node, action: Int[Array, ""], key: Key[Array, ""]) -> Evaluated:
        state, row = world.step(node.state, action, key)
        prior, value, reward, onward, over = _evaluated(evaluator, discount, node.over, row)
        return Evaluated(Node(state, over), prior, value, reward, onward)

    return step


def _step_by_chance(world: Any, evaluator: Evaluator, discount: Scalar) -> Step:
    """An action leads to a place where chance has the choice; this one is evaluated by one of its outcomes."""

    def step(node: Undecided, choice: Int[Array, ""], key: Key[Array, ""]) -> Evaluated:
        acts = node.action < 0
        action = jnp.where(acts, choice, node.action)
        odds = world.odds(node.state, action)
        chance = jnp.where(acts, jax.random.categorical(key, odds), choice)
        state, row = world.outcome(node.state, action, chance)
        prior, value, reward, onward, over = _evaluated(evaluator, discount, node.over, row)
        arity = max(len(prior), len(odds))
        prior, odds = (jnp.pad(x, (0, arity - len(x)), constant_values=LEAST) for x in (prior, odds))
        happened = Evaluated(Undecided(state, over, jnp.int32(-1)), prior, value, reward, onward)
        waiting = Undecided(node.state, node.over, action)
        before = Evaluated(waiting, masked(odds, odds > LEAST), reward + onward * value, jnp.float32(0), jnp.float32(1))
        return jax.tree.map(partial(jnp.where, acts), before, happened)

    return step


def _evaluated(
    evaluator: Evaluator, discount: Scalar, over: Bool[Array, ""], row: TimeStep
) -> tuple[Array, Array, Array, Array, Array]:
    """Prior, value, reward, discount of what a step led to, and whether all is over there; nothing where it was."""
    logits, value = evaluator(row.obs)
    ends = over | (row.discount == 0)
    reward = jnp.where(over, 0.0, row.reward)
    onward = jnp.where(ends, 0.0, discount * row.discount)
    return masked(logits, _allowed(row.legal, len(logits))), jnp.where(ends, 0.0, value), reward, onward, ends


def masked(logits: Float[Array, " A"], allowed: Bool[Array, " B"]) -> Float[Array, " A"]:
    """Logits of which the largest is 0; `LEAST` for what may not be, or lies beyond what is known to be allowed."""
    allowed = jnp.pad(allowed, (0, len(logits) - len(allowed)))
    return jnp.where(allowed, jnp.maximum(logits - logits.max(where=allowed, initial=LEAST), LEAST / 2), LEAST)


def _value(policy: Float[Array, " A"], q: Float[Array, " A"], visits: Int[Array, " A"]) -> Float[Array, ""]:
    """What the improved policy makes of what was looked at.

    The mean of all simulations would count against a row what a search only tries: of Gumbel's, half of it.
    """
    weight = jnp.where(visits > 0, policy, 0.0)
    return (weight * q).sum() / jnp.maximum(weight.sum(), 1e-9)


def _lines(tree: Tree) -> Int[Array, "A L"]:
    """What follows most often behind each action of the root, in a tree without chance in it."""
    places = len(tree.children)

    def after(place: Int[Array, ""], action: Int[Array, ""]) -> Int[Array, ""]:
        """The place that a move leads to; −1 where all is over, or nobody looked."""
        child = jnp.where(place < 0, places, tree.children[place, action])
        return jnp.where((child < places) & (tree.discount[child] != 0), child, -1)

    def follow(place: Int[Array, ""], _: None) -> tuple[Int[Array, ""], Int[Array, ""]]:
        visits = tree.visits[tree.children[place]]
        best = jnp.argmax(visits)
        ends = (place < 0) | (visits[best] == 0)
        return jnp.where(ends, -1, after(place, best)), jnp.where(ends, -1, best)

    begun = jax.vmap(lambda action: after(jnp.int32(0), action))(jnp.arange(tree.children.shape[1]))
    return jax.vmap(lambda place: jax.lax.scan(follow, place, None, length=LINE)[1])(begun)


def _allowed(legal: Legal, actions: int) -> Bool[Array, " A"]:
    mask = legal_mask(legal, actions)
    return jnp.ones(actions, bool) if mask is None else mask


class Imagined(eqx.Module):
    """A model that answers as a world does: its states are what its rows show."""

    model: SampleModel

    def enter(self, obs: PyTree[Any]) -> tuple[PyTree[Any], TimeStep]:
        """Begin an episode with an observation."""
        row = self.model.enter(obs)
        return row.obs, row

    def step(self, state: PyTree[Any], action: Int[Array, ""], key: Key[Array, ""]) -> tuple[PyTree[Any], TimeStep]:
        """One outcome."""
        row = self.model.step(state, action, key)
        return row.obs, row


def imagined(model: SampleModel) -> Environment | Imagined:
    """What is stepped in thought. The world itself is, where it is the model, but no clock cuts its episodes there."""
    if not isinstance(model, WorldModel):
        return Imagined(model)
    world = model.world
    while isinstance(world, TimeLimit):
        world = world.world
    return world


class SearchPolicy(WithoutMemory):
    """A network that looks ahead on each row before it chooses, each time with the same random numbers."""

    network: Policy
    model: SampleModel
    seed: UInt32[Array, ""]
    config: SearchConfig
    discount: Float[Array, ""]

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        return self._heads(self.model.enter(obs)), ()

    def choice(self, row: TimeStep, carry: Carry) -> tuple[Categorical, Carry]:
        # What is legal a world that can be entered says by itself; a model that was learnt does not.
        entered = self.model.enter(row.obs)
        legal = row.legal if entered.legal is None else entered.legal
        return self._heads(entered._replace(legal=legal))["policy"].masked(row.legal), ()

    def _heads(self, row: TimeStep) -> Heads:
        found = self.config.search(
            self.model, evaluator_of(self.network), row, jax.random.key(self.seed), self.discount, exploring=False
        )
        # Where several are alike the search's own choice is the most likely one.
        logits = jnp.log(jnp.maximum(found.policy, 1e-9)).at[found.action].add(1e-3)
        return {"policy": Categorical(logits), "value": found.value, "q": found.q}


def evaluator_of(network: Policy) -> Evaluator:
    """A network of context 0 with the heads "policy" and "value", as a search asks it."""

    def evaluator(obs: PyTree[Any]) -> tuple[Float[Array, " A"], Float[Array, ""]]:
        heads, _ = network.step(obs, jnp.bool_(False), ())
        return heads["policy"].logits, heads["value"]

    return evaluator


def value_targets(
    network: Policy,
    trajectory: Trajectory,
    reward: Float[Array, "T B"],
    discount: Scalar,
    lambda_: Scalar,
    ends: Bool[Array, "T B"],
) -> Float[Array, "T B"]:
    """λ-returns over the values that searches found on the way, `extras["value"]`; of the newest row the network's.

    Args:
        network: of context 0, with a head "value".
        trajectory: what was lived. Shapes [T + 1, B].
        reward: what its transitions are worth.
        discount: γ, beside the transitions' own.
        lambda_: 1 for what really came, less for what was thought of it.
        ends: after which rows nothing counts but the value of the next.
    """
    steps = trajectory.steps
    newest = jax.vmap(lambda obs: evaluator_of(network)(obs)[1])(jax.tree.map(lambda x: x[-1], steps.obs))
    next_value = jnp.concatenate([trajectory.extras["value"][1:], newest[None]])
    returns = jax.vmap(partial(lambda_returns, lambda_=lambda_), in_axes=1, out_axes=1)
    return returns(reward, discount * steps.discount[1:], next_value, ends)
