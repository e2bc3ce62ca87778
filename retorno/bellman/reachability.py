"""How probably some states are reached, and what is earned until then.

The largest probability over all policies is the best value of a model that ends where the states are entered, for 1,
and where no policy can reach them, for nothing; the smallest likewise, where some policy is sure to stay away. Then all
that is compared ends with probability one, and the bounds are those of `solve`.

Sources: Baier & Katoen 2008, section 10.6 (reachability, the sets of states with probability 0 and 1); Forejt et al.
2011, "Automated verification techniques for probabilistic systems", section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from retorno.bellman.control import evaluate, solve
from retorno.bellman.evaluation import Policy, probabilities
from retorno.bellman.proper_policies import PaysForEverError
from retorno.bellman.solve_monitor import Progress
from retorno.core.graph import drawn, predecessors, reached, rooted
from retorno.core.mdp import MDP, ModelError
from retorno.core.solution import Solution


class Bounded(NamedTuple):
    """A number of each state with its bounds."""

    value: Float[np.ndarray, " S"]
    lower: Float[np.ndarray, " S"]
    upper: Float[np.ndarray, " S"]

    def start(self, model: MDP) -> tuple[float, float, float]:
        """Its mean over the model's initial distribution, with bounds."""
        possible = model.initial > 0
        value, lower, upper = (float(model.initial[possible] @ x[possible]) for x in self)
        return value, lower, upper


@dataclass(frozen=True, eq=False)
class Reachability:
    """The probability to reach some states, and what is earned until then. A state that is meant is reached at once."""

    model: MDP = field(repr=False)
    target: Bool[np.ndarray, " S"]
    """The states that are to be reached."""
    most: Bounded
    """The largest probability that any policy has; that of the policy, where one was asked about."""
    least: Bounded
    """The smallest one; the same, where a policy was asked about or nothing is to be chosen."""
    reward: Bounded
    """What is earned until then, best among the policies that are sure to reach it; −∞ where none is (∞ for costs), and
    ∞ (−∞ for costs) where they can collect as much as they like before."""
    policy: Float[np.ndarray, " P"]
    """One of those that reach it with the largest probability."""
    minimise: bool = False
    """Whether rewards are costs."""
    converged: bool = True
    """Whether all bounds came as close as was asked."""


def reach(
    model: MDP,
    target: str | Bool[np.ndarray, " S"],
    policy: Policy | None = None,
    *,
    minimise: bool = False,
    accuracy: float = 1e-6,
    seconds: float | None = None,
    watch: Callable[[Progress], object] | None = None,
) -> Reachability:
    r"""The probability to reach some states, over all policies or under one, and what is earned on the way.

    .. math:: P_{\max}(s) = \max_\pi \Pr_\pi(\exists t: S_t \in T \mid S_0 = s)

    Args:
        model: with S states and P state–action pairs.
        target: T: a label, the name of a state, or a mask. Shape [S].
        policy: as in `evaluate`; None for the best and the worst of all.
        minimise: whether rewards are costs, of which the least are best.
        accuracy: the width of the bounds at which the answer counts as `converged`.
        seconds: stop each of the at most three solves after this time, with the bounds reached.
        watch: as in `solve`.

    Raises:
        KeyError: when there is neither a label nor a state of that name.
        ModelError: when a discount of the model is neither 0 nor 1, so that there is no telling what it means to
            come somewhere.
        ValueError: when the policy is not one of this model, or the mask has another shape.

    >>> import retorno as rt
    >>> reach(rt.environments.random_walk(5), "right end", rt.bellman.uniform).most.value.round(3)
    array([0.167, 0.333, 0.5  , 0.667, 0.833, 0.   , 1.   ])
    """
    question = ReachQuestion.of(model, target, None if policy is None else probabilities(model, policy))
    limits: dict[str, Any] = {"accuracy": accuracy, "seconds": seconds, "watch": watch}
    most, taken, certain = _probability(question, question.most(), limits, minimise=False)
    taken = question.towards_it(taken)
    least, sure = most, certain
    if question.chooses:
        least, _, sure = _probability(question, question.least(), limits, minimise=True)
    reward, counted = _reward(question, limits, minimise)
    return Reachability(model, question.meant, most, least, reward, taken, minimise, certain and sure and counted)


def _probability(
    question: ReachQuestion, sets: Decided, limits: dict[str, Any], minimise: bool
) -> tuple[Bounded, Float[np.ndarray, " P"], bool]:
    """The probability to come to what is meant, with a policy, and whether the bounds are close enough."""
    cut, kept = question.probability(sets)
    fixed = sets.certain.astype(float)
    policy = np.zeros(question.model.num_pairs)
    policy[question.model.state_ptr[:-1][~question.model.terminal]] = 1.0
    if cut is None:
        return Bounded(fixed, fixed, fixed), policy, True
    answer = _answer(question, cut, kept, limits, minimise)
    policy[kept] = answer.policy
    within = (np.clip(x, 0, 1) for x in (answer.value, answer.lower, answer.upper))
    return Bounded(*(np.where(cut.terminal, fixed, x) for x in within)), policy, answer.converged


def _reward(question: ReachQuestion, limits: dict[str, Any], minimise: bool) -> tuple[Bounded, bool]:
    """What is earned until then, of the policies that are sure to come there."""
    cut, kept = question.reward()
    fixed = np.where(question.surely, 0.0, np.inf if minimise else -np.inf)
    if cut is None:
        return Bounded(fixed, fixed, fixed), True
    try:
        answer = _answer(question, cut, kept, limits, minimise)
    except PaysForEverError:  # From every state.
        fixed = np.where(cut.terminal, fixed, -np.inf if minimise else np.inf)
        return Bounded(fixed, fixed, fixed), True
    bounds = (np.where(cut.terminal, fixed, x) for x in (answer.value, answer.lower, answer.upper))
    return Bounded(*bounds), answer.converged


def _answer(
    question: ReachQuestion, cut: MDP, kept: Bool[np.ndarray, " P"], limits: dict[str, Any], minimise: bool
) -> Solution:
    if question.chances is None:
        return solve(cut, 1.0, minimise=minimise, must_end=True, **limits)
    return evaluate(cut, question.chances[kept], 1.0, must_end=True, **limits)


class Decided(NamedTuple):
    """The states of which the probability is known without arithmetic."""

    none: Bool[np.ndarray, " S"]
    """It is 0."""
    certain: Bool[np.ndarray, " S"]
    """It is 1."""


@dataclass(frozen=True, eq=False)
class ReachQuestion:
    """What is asked, with all that follows from what may lead where, whatever the probabilities are."""

    model: MDP
    meant: Bool[np.ndarray, " S"]
    """The states that are to be reached."""
    chances: Float[np.ndarray, " P"] | None
    """The policy; None for all."""
    chooses: bool
    """Whether there is anything to choose."""
    moves: _Moves
    hopeless: Bool[np.ndarray, " S"]
    """From where nothing leads to what is meant."""
    surely: Bool[np.ndarray, " S"]
    """From where a policy is sure to come there; these among them."""
    towards: Float[np.ndarray, " P"]
    """Such a policy."""

    @staticmethod
    def of(model: MDP, target: str | Bool[np.ndarray, " S"], chances: Float[np.ndarray, " P"] | None) -> ReachQuestion:
        """The question about a label, the name of a state or a mask.

        Raises:
            KeyError: as `reach`.
            ModelError: as `reach`.
            ValueError: as `reach`.
        """
        meant = model.labelled(target) if isinstance(target, str) else np.asarray(target, bool)
        if meant.shape != (model.num_states,):
            raise ValueError(f"target needs one truth for each of {model.num_states} states, got {list(meant.shape)}")
        if ((model.discount != 0) & (model.discount != 1)).any():
            n = int(np.argmax((model.discount != 0) & (model.discount != 1)))
            raise ModelError(
                f"{model.describe(int(model.transition_pair[n]))}: the discount {model.discount[n]:g} is neither 0 nor "
                "1: what is reached is asked of models that go on or end"
            )
        chooses = chances is None and model.num_pairs > int(np.count_nonzero(~model.terminal))
        if not chooses and chances is None:
            chances = np.ones(model.num_pairs)
        moves = _Moves.of(model, meant, chances)
        hopeless = ~moves.may_reach(meant)
        surely, towards = moves.can_be_sure()
        if chances is not None:
            surely, towards = ~moves.may_reach(hopeless, moves.ends_elsewhere) | meant, chances
        return ReachQuestion(model, meant, chances, chooses, moves, hopeless, surely, towards)

    def most(self) -> Decided:
        """Of the largest probability."""
        return Decided(self.hopeless, self.surely)

    def least(self) -> Decided:
        """Of the smallest one."""
        none = self.moves.may_avoid()
        return Decided(none, ~self.moves.may_reach(none, self.moves.ends_elsewhere) | self.meant)

    def towards_it(self, taken: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
        """A policy that reaches it most probably: one that does so surely where one does, else `taken`."""
        if self.chances is not None:
            return self.chances
        return np.where((self.surely & ~self.meant)[self.model.pair_state], self.towards, taken)

    def probability(self, sets: Decided) -> tuple[MDP | None, Bool[np.ndarray, " P"]]:
        """The model whose value is the probability where it is not decided, and its pairs; None where all is."""
        model = self.model
        arrives = self.meant[model.next_state] | (sets.certain[model.next_state] & (model.discount != 0))
        return _ending(model, sets.certain | sets.none, np.ones(model.num_pairs, bool), arrives.astype(float))

    def reward(self) -> tuple[MDP | None, Bool[np.ndarray, " P"]]:
        """The model whose value is what is earned by policies that are sure to come there, and its pairs."""
        model, elsewhere = self.model, (self.model.discount == 0) & ~self.meant[self.model.next_state]
        leads = (model.probability > 0) & (~self.surely[model.next_state] | elsewhere)
        safe = np.bincount(model.transition_pair[leads], minlength=model.num_pairs) == 0
        if self.chances is not None:
            safe |= self.chances == 0
        return _ending(model, self.meant | ~self.surely, safe, model.reward)


class _Moves(NamedTuple):
    """The possible transitions of the pairs that may be taken, out of states that are not meant."""

    states: int
    meant: Bool[np.ndarray, " S"]
    acting: Bool[np.ndarray, " S"]
    owner: Int[np.ndarray, " P"]
    taken: Bool[np.ndarray, " P"]
    pair: Int[np.ndarray, " M"]
    to: Int[np.ndarray, " M"]
    ends_elsewhere: Bool[np.ndarray, " M"]

    @staticmethod
    def of(model: MDP, meant: Bool[np.ndarray, " S"], chances: Float[np.ndarray, " P"] | None) -> _Moves:
        owner, pair = model.pair_state, model.transition_pair
        taken = ~meant[owner] & (np.ones(model.num_pairs, bool) if chances is None else chances > 0)
        kept = taken[pair] & (model.probability > 0)
        to = model.next_state[kept].astype(np.int64)
        elsewhere = (model.discount[kept] == 0) & ~meant[to]
        return _Moves(model.num_states, meant, ~model.terminal & ~meant, owner, taken, pair[kept], to, elsewhere)

    def may_reach(
        self, goal: Bool[np.ndarray, " S"], also: Bool[np.ndarray, " M"] | None = None
    ) -> Bool[np.ndarray, " S"]:
        """The states from which these may be come to, themselves among them, or one of `also` be gone through."""
        goes = ~self.ends_elsewhere
        source = self.owner[self.pair]
        more = np.zeros(0, np.int64) if also is None else source[also]
        return reached(self.to[goes], source[goes], np.append(np.flatnonzero(goal), more), self.states)

    def may_avoid(self) -> Bool[np.ndarray, " S"]:
        """The states from which some policy is sure never to reach what is meant."""
        return ~self._drawn_in(self.meant, self.taken)

    def can_be_sure(self) -> tuple[Bool[np.ndarray, " S"], Float[np.ndarray, " P"]]:
        """The states from which some policy is sure to reach what is meant, these among them, and such a policy."""
        lost = ~self.acting & ~self.meant
        usable = self.taken.copy()
        usable[self.pair[self.ends_elsewhere]] = False
        while True:
            lost = self._drawn_in(lost, usable)
            safe = self.taken.copy()
            safe[self.pair[lost[self.to] | self.ends_elsewhere]] = False
            inside = self._replace(
                pair=self.pair[safe[self.pair]],
                to=self.to[safe[self.pair]],
                ends_elsewhere=self.ends_elsewhere[safe[self.pair]],
            )
            stuck = ~inside.may_reach(self.meant) & ~lost
            if not stuck.any():
                return ~lost, inside.nearer()
            lost = lost | stuck

    def nearer(self) -> Float[np.ndarray, " P"]:
        """A policy that may take a shortest way to what is meant from wherever there is one."""
        source = self.owner[self.pair]
        backwards = rooted(self.to, source, np.flatnonzero(self.meant), self.states)
        next_state = predecessors(backwards, self.states)[source]
        chosen = np.zeros(len(self.taken))
        places = np.flatnonzero(self.to == next_state)
        _, first = np.unique(source[places], return_index=True)
        chosen[self.pair[places[first]]] = 1.0
        return chosen

    def _drawn_in(self, begin: Bool[np.ndarray, " S"], usable: Bool[np.ndarray, " P"]) -> Bool[np.ndarray, " S"]:
        """The states in which every usable pair, if there is any, may lead to such a state or to `begin`; these too."""
        stuck = self.acting & (np.bincount(self.owner[usable], minlength=self.states) == 0)
        goes = ~self.ends_elsewhere
        return drawn(self.owner, self.pair[goes], self.to[goes], begin | stuck, usable)


def _ending(
    model: MDP, ended: Bool[np.ndarray, " S"], pairs: Bool[np.ndarray, " P"], reward: Float[np.ndarray, " N"]
) -> tuple[MDP | None, Bool[np.ndarray, " P"]]:
    """The model that ends in these states, with some of its pairs and other rewards, and which pairs those are.

    None where no state is left that acts.
    """
    kept = pairs & ~ended[model.pair_state]
    if not kept.any():
        return None, kept
    lines = np.repeat(kept, np.diff(model.row_ptr))
    to = model.next_state[lines]
    state_ptr = np.searchsorted(model.pair_state[kept], np.arange(model.num_states + 1))
    cut = replace(
        model,
        state_ptr=state_ptr,
        action=model.action[kept],
        row_ptr=np.append(0, np.cumsum(np.diff(model.row_ptr)[kept])),
        next_state=to,
        probability=model.probability[lines],
        reward=np.asarray(reward[lines], float),
        discount=np.where((np.diff(state_ptr) == 0)[to], 0.0, model.discount[lines]),
    )
    return cut, kept
