"""Monte Carlo tree search with a network, as in AlphaGo Zero (Silver et al. 2017), on mctx (Danihelka et al. 2022).

The tree itself is mctx's. Here stand what it asks of a world (what an action leads to, whose move it is then, what may
be done, what chance may do) and two ways to search: PUCT with Dirichlet noise at the root, and Gumbel's sequential
halving. All of it is for one row: whoever has many vmaps, which runs as fast as a batch of mctx's own.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree, UInt32

from retorno.core.environment import Environment, ListsChances
from retorno.core.hyperparameters import Count, Positive, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Heads, Policy, WithoutMemory
from retorno.core.scalar import Scalar
from retorno.core.spaces import SpaceError
from retorno.core.time_step import Legal, TimeStep, Trajectory, legal_mask
from retorno.environments.wrappers import TimeLimit
from retorno.models.tabular import SampleModel, WorldModel
from retorno.ops.distributions import Categorical
from retorno.ops.returns import lambda_returns
from retorno.search.errors import SearchError

Evaluator = Callable[[PyTree[Any]], tuple[Float[Array, " A"], Float[Array, ""]]]
"""A network: of what is observed, logits of the actions and the value for whoever moves."""
LINE = 6
"""Moves of a line that is told."""
LEAST = jnp.finfo(jnp.float32).min
"""The logit of what may not be done: minus infinity would be no number where nothing may be."""


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
    """A place in the tree."""

    state: PyTree[Any]
    over: Bool[Array, ""]
    """Whether nothing comes after it: the tree may still look there, and finds nothing."""


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
class Tree(abc.ABC):
    """What the searches share: the tree's place and its steps."""

    simulations: Count = 32
    """Places that the tree gets, each evaluated by the network once."""

    @abc.abstractmethod
    def grown(self, mctx: Any, key: Any, root: Any, step: Any, illegal: Bool[Array, "1 A"], exploring: bool) -> Any:
        """Mctx's answer."""

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
        mctx, world = _mctx(), imagined(model)
        logits, value = evaluator(row.obs)
        illegal = ~_allowed(row.legal, len(logits))[None]
        start = Node(world.enter(row.obs)[0], row.discount == 0)
        root = mctx.RootFnOutput(
            prior_logits=logits[None], value=value[None], embedding=jax.tree.map(lambda x: x[None], start)
        )
        steps = _Steps(mctx, world, evaluator, discount)
        if isinstance(world, ListsChances) and world.chances > 1:
            output = self._with_chance(mctx, key, root, steps, illegal, exploring)
        else:
            output = self.grown(mctx, key, root, steps.step, illegal, exploring)
        seen = output.search_tree.summary()
        visits = seen.visit_counts[0].astype(jnp.int32)
        lines = _lines(output.search_tree)
        policy, q = output.action_weights[0], seen.qvalues[0]
        return Found(output.action[0], policy, _value(policy, q, visits), q, visits, lines)

    def _with_chance(
        self, mctx: Any, key: Any, root: Any, steps: _Steps, illegal: Bool[Array, "1 A"], exploring: bool
    ) -> Any:
        raise SpaceError(
            f"{type(self).__name__} is for worlds in which chance has no say, and in this one it does: search=PUCT()"
        )


@hyperparameters
class PUCT(Tree):
    """AlphaZero's search (Silver et al. 2018): prior, visits and values in one bound, Dirichlet noise at the root.

    Where a world lists what chance may do (`ListsChances`), the tree has a place for each outcome (Antonoglou et al.
    2022), visited as often as it is likely.
    """

    exploration: Positive = 1.25
    """c₁ of the bound: how much a prior weighs against values."""
    noise: UnitInterval = 0.25
    """The share of Dirichlet noise in the root's prior while learning."""
    concentration: Positive = 10.0
    """Of the Dirichlet noise, over all actions: each has this divided by their number."""

    def _settings(self, actions: int, exploring: bool) -> dict[str, Any]:
        return {
            "dirichlet_fraction": jnp.float32(self.noise) if exploring else 0.0,
            "dirichlet_alpha": jnp.float32(self.concentration) / actions,
            "pb_c_init": self.exploration,
            "temperature": 0.0,
        }

    def grown(self, mctx: Any, key: Any, root: Any, step: Any, illegal: Bool[Array, "1 A"], exploring: bool) -> Any:
        settings = self._settings(illegal.shape[1], exploring)
        return mctx.muzero_policy((), key, root, step, self.simulations, illegal, **settings)

    def _with_chance(
        self, mctx: Any, key: Any, root: Any, steps: _Steps, illegal: Bool[Array, "1 A"], exploring: bool
    ) -> Any:
        settings = self._settings(illegal.shape[1], exploring)
        return mctx.stochastic_muzero_policy(
            (), key, root, steps.decide, steps.happen, self.simulations, illegal, **settings
        )


@hyperparameters
class Gumbel(Tree):
    """Gumbel's search (Danihelka et al. 2022): a few actions drawn without replacement, halved again and again.

    Its policy is an improvement with any number of simulations. For worlds without chance.
    """

    considered: Count = 16
    """Actions that are looked at first, at most."""

    def grown(self, mctx: Any, key: Any, root: Any, step: Any, illegal: Bool[Array, "1 A"], exploring: bool) -> Any:
        return mctx.gumbel_muzero_policy(
            (),
            key,
            root,
            step,
            self.simulations,
            illegal,
            max_num_considered_actions=self.considered,
            gumbel_scale=1.0 if exploring else 0.0,
        )


class _Steps(NamedTuple):
    """What mctx asks of a world: batches of one."""

    mctx: Any
    world: Any
    evaluator: Evaluator
    discount: Scalar

    def step(self, _: Any, key: Any, action: Int[Array, " 1"], node: Node) -> tuple[Any, Node]:
        """An action, and chance as it falls."""
        (action, node) = jax.tree.map(lambda x: x[0], (action, node))
        state, row = self.world.step(node.state, action, key)
        reward, onward, logits, value, after = self._evaluated(node, state, row)
        output = self.mctx.RecurrentFnOutput(reward=reward, discount=onward, prior_logits=logits, value=value)
        return jax.tree.map(lambda x: x[None], (output, after))

    def decide(self, _: Any, key: Any, action: Int[Array, " 1"], node: Node) -> tuple[Any, tuple[Node, Array]]:
        """An action, before chance: evaluated by one of its outcomes."""
        (action, node) = jax.tree.map(lambda x: x[0], (action, node))
        odds = self.world.odds(node.state, action)
        state, row = self.world.outcome(node.state, action, jax.random.categorical(key, odds))
        reward, onward, _, value, _ = self._evaluated(node, state, row)
        output = self.mctx.DecisionRecurrentFnOutput(chance_logits=odds, afterstate_value=reward + onward * value)
        return jax.tree.map(lambda x: x[None], (output, (node, action)))

    def happen(self, _: Any, key: Any, chance: Int[Array, " 1"], before: tuple[Node, Array]) -> tuple[Any, Node]:
        """One of chance's outcomes."""
        chance, (node, action) = jax.tree.map(lambda x: x[0], (chance, before))
        state, row = self.world.outcome(node.state, action, jnp.clip(chance, 0, self.world.chances - 1))
        reward, onward, logits, value, after = self._evaluated(node, state, row)
        output = self.mctx.ChanceRecurrentFnOutput(action_logits=logits, value=value, reward=reward, discount=onward)
        return jax.tree.map(lambda x: x[None], (output, after))

    def _evaluated(self, node: Node, state: PyTree[Any], row: TimeStep) -> tuple[Array, Array, Array, Array, Node]:
        """Reward, discount, logits and value of what a step led to; nothing of any where all was over before."""
        logits, value = self.evaluator(row.obs)
        logits = jnp.where(_allowed(row.legal, len(logits)), logits, LEAST)
        over = node.over | (row.discount == 0)
        reward = jnp.where(node.over, 0.0, row.reward)
        onward = jnp.where(over, 0.0, self.discount * row.discount)
        return reward, onward, logits, jnp.where(over, 0.0, value), Node(state, over)


def _value(policy: Float[Array, " A"], q: Float[Array, " A"], visits: Int[Array, " A"]) -> Float[Array, ""]:
    """What the improved policy makes of what was looked at.

    The mean of all simulations would count against a row what a search only tries: of Gumbel's, half of it.
    """
    weight = jnp.where(visits > 0, policy, 0.0)
    return (weight * q).sum() / jnp.maximum(weight.sum(), 1e-9)


def _lines(tree: Any) -> Int[Array, "A L"]:
    """What follows most often behind each action of the root. A tree with chance in it has no such lines."""
    children, visits, onward = tree.children_index[0], tree.children_visits[0], tree.children_discounts[0]

    def after(node: Int[Array, ""], action: Int[Array, ""]) -> Int[Array, ""]:
        """The place that a move leads to; −1 where all is over, or nobody looked."""
        return jnp.where((node < 0) | (onward[node, action] == 0), -1, children[node, action])

    def follow(node: Int[Array, ""], _: None) -> tuple[Int[Array, ""], Int[Array, ""]]:
        best = jnp.argmax(visits[node])
        ends = (node < 0) | (visits[node, best] == 0)
        return jnp.where(ends, -1, after(node, best)), jnp.where(ends, -1, best)

    begun = jax.vmap(lambda action: after(jnp.int32(0), action))(jnp.arange(visits.shape[-1]))
    return jax.vmap(lambda node: jax.lax.scan(follow, node, None, length=LINE)[1])(begun)


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


def _mctx() -> Any:
    try:
        import mctx
    except ImportError as error:
        raise SearchError("a tree search with a network needs mctx: pip install 'retorno[search]'") from error
    return mctx


class SearchPolicy(WithoutMemory):
    """A network that looks ahead on each row before it chooses, each time with the same random numbers."""

    network: Policy
    model: SampleModel
    seed: UInt32[Array, ""]
    config: SearchConfig
    discount: Float[Array, ""]

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        row = self.model.enter(obs)
        found = self.config.search(
            self.model, evaluator_of(self.network), row, jax.random.key(self.seed), self.discount, exploring=False
        )
        # The search's own choice is the most likely one, also where several are alike.
        logits = jnp.log(jnp.maximum(found.policy, 1e-9)).at[found.action].add(1e-3)
        return {"policy": Categorical(logits), "value": found.value, "q": found.q}, ()


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
