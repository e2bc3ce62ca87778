"""AlphaZero: learn from a search what it makes of one's own play.

Silver et al. 2017 ("Mastering the game of Go without human knowledge") and 2018; Gumbel's search of Danihelka et al.
2022 as a choice. A network evaluates positions, a tree search with it evaluates them better, and the network is moved
towards what the search found: its policy, and the value of the games that follow.

What we do differently: the value's target is a λ-return over the search's own values (λ = 1 is the game's outcome,
λ = 0 the search's value one move on), taken within each rollout, so that no game has to be over before it is learnt
from; and what is searched may be any world that can be entered, for one player or two, or a model that is learnt.
"""

from __future__ import annotations

from dataclasses import field, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree, UInt32

from retorno.algorithms.self_play.gating import Gate, points_of
from retorno.algorithms.self_play.resignation import Bound, Hopes, Judged
from retorno.core.hyperparameters import Count, NonNegative, Positive, UnitInterval, Whole, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward
from retorno.core.spaces import SpaceError, Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory, allowed, before_and_after
from retorno.environments.games.game import GIVE_UP, Game
from retorno.models.tabular import Counted, Exact, ModelConfig, SampleModel
from retorno.networks import MLP, CategoricalHead, NetworkConfig, ValueHead, require_no_context
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import AdamW, Optimiser, descend
from retorno.replay import Replay, ReplayConfig, UniformReplay, Window, ring
from retorno.search import PUCT, Found, SearchConfig, SearchPolicy
from retorno.search.trees import evaluator_of, imagined, value_targets


class AlphaZeroLearner(NamedTuple):
    """Everything that changes while AlphaZero learns, and what it looks ahead in."""

    network: Policy
    optimiser: optax.OptState
    replay: Replay
    model: SampleModel
    seed: UInt32[Array, ""]
    """What the policy searches with after training."""
    clock: Clock
    judged: Judged | None
    """Of games that were given up, where any are."""
    gate: Gate | None
    """Where not the newest network plays, but the best."""

    @property
    def player(self) -> Policy:
        """The network that plays."""
        return self.network if self.gate is None else self.gate.best


class _Episode(NamedTuple):
    """What acting remembers of an episode."""

    moves: Int[Array, ""]
    """Since it began."""
    opening: Int[Array, ""]
    """How many of them are drawn at random."""
    hopes: Hopes | None
    """Where games are given up."""


@hyperparameters
class AlphaZero:
    """AlphaZero (Silver et al. 2018): a network learns from its own search, against itself where two play."""

    SMALL: ClassVar[dict[str, Any]] = {
        "model": Counted(),
        "search": PUCT(simulations=4),
        "batch_size": 4,
        "capacity": 64,
        "gradient_steps": 1,
    }

    network: NetworkConfig = field(default_factory=lambda: MLP(hidden=(128, 128), shared=True))
    """Policy and value. For boards: Residual."""
    model: ModelConfig = field(default_factory=Exact)
    """What is looked ahead in."""
    search: SearchConfig = field(default_factory=PUCT)
    """How to look ahead before each choice."""
    num_envs: Count = 64
    """Games that are played side by side."""
    rollout: Count = 16
    """Moves of each game between two updates."""
    gradient_steps: Count = 8
    """Gradient steps in each update."""
    batch_size: Count = 256
    """Rows in each gradient step."""
    replay: ReplayConfig = field(default_factory=UniformReplay)
    """Which rows are drawn."""
    capacity: Count = 30_000
    """Rows that are kept."""
    optimiser: Optimiser = field(default_factory=lambda: AdamW(2e-3, max_gradient_norm=5.0, weight_decay=1e-4))
    """How a gradient becomes a step."""
    discount: UnitInterval = 1.0
    """γ"""
    lambda_: UnitInterval = 0.9
    """λ of the value's targets: 1 for what really came, less for what the search thought of it on the way."""
    value_coefficient: NonNegative = 1.0
    """How much the value's squared error weighs beside the policy's cross-entropy."""
    drawn_moves: Whole = 12
    """Moves from an episode's start on that are drawn from the search's policy; later ones are its best."""
    temperature: Positive = 1.0
    """Of the policy that these are drawn from: less makes the best one likelier."""
    openings: Whole = 4
    """Moves at an episode's start that are drawn evenly: 0 to so many, another number in each episode."""
    symmetries: bool = True
    """Learn from each row turned in one of the ways that leave the game what it is."""
    quick_simulations: Whole = 0
    """Simulations of quick searches, without noise, which teach values alone: games go on sooner, and more outcomes are
    seen for each policy that is searched in full (playout-cap randomisation, Wu 2019, section 3.1). 0 for none."""
    full_share: UnitInterval = 0.25
    """How many searches are full ones where there are quick ones: a whole rollout of all games at a time, because of
    searches that run side by side none is done before the longest."""
    resign_below: Bound | None = None
    """The value below which whoever moves gives the game up, −1 for a sure loss; None to play all to their end."""
    played_on: UnitInterval = 0.1
    """The share of games in which nobody gives up, which tell how often that would be wrong."""
    gate_period: Whole = 0
    """Updates between matches of the network that learns with the one that plays, whose place it takes where it makes
    enough points (AlphaGo Zero). 0: the newest network plays (AlphaZero)."""
    gate_games: Count = 64
    """Games of such a match, rounded up to an even number."""
    gate_points: UnitInterval = 0.55
    """The share of its points that is enough."""
    reanalysed: Whole = 0
    """Rows of each batch whose policy is searched anew, with today's network (Schrittwieser et al. 2021)."""

    def __post_init__(self) -> None:
        if self.reanalysed > self.batch_size:
            raise ValueError(f"reanalysed={self.reanalysed} rows of a batch of {self.batch_size}: give fewer")
        if self.quick_simulations >= self.search.simulations:
            raise ValueError(
                f"quick searches of {self.quick_simulations} simulations (quick_simulations) are no quicker than full "
                f"ones of {self.search.simulations}: give fewer"
            )

    def init(self, key: Key[Array, ""], spec: Spec) -> AlphaZeroLearner:
        name = type(self).__name__
        actions = num_actions(spec.action_space, name)
        weights, searching = jax.random.split(key)
        heads = {"policy": CategoricalHead(actions), "value": ValueHead()}
        network = require_no_context(self.network.build(weights, spec.observation_space, heads), name)
        rows = ring(
            spec.row,
            jnp.int32(0),
            num_envs=spec.num_envs,
            capacity=self.capacity,
            rollout=self.rollout,
            extras={"policy": jnp.zeros(actions), "target": jnp.float32(0), "full": jnp.bool_(True)},
        )
        model = self.model.build(spec, actions, name)
        for_two = isinstance(game := imagined(model), Game) and game.two_players
        for setting, given in (("resign_below", self.resign_below is not None), ("gate_period", self.gate_period > 0)):
            if given and not for_two:
                raise SpaceError(
                    f"{setting} is for native games of two that are searched themselves: leave it out here"
                )
        return AlphaZeroLearner(
            network=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            replay=self.replay.over(rows),
            model=model,
            seed=jax.random.bits(searching),
            clock=Clock.start(spec.steps),
            judged=None if self.resign_below is None else Judged.none(),
            gate=Gate.closed(network, self.gate_period) if self.gate_period else None,
        )

    def initial_carry(self, learner: AlphaZeroLearner) -> Carry:
        return self._begun(jax.random.key(0))

    def act(
        self, learner: AlphaZeroLearner, row: TimeStep, carry: _Episode, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        searching, drawing, opening, anything = jax.random.split(key, 4)
        episode = jax.tree.map(partial(jnp.where, row.first), self._begun(opening), carry)
        found, full = self._searched(learner, row, searching)
        drawn = jax.random.categorical(drawing, jnp.log(found.policy) / self.temperature)
        searched = jnp.where(episode.moves < self.drawn_moves, drawn, found.action)
        evenly = jax.random.categorical(anything, allowed(row.legal, jnp.zeros_like(found.policy)))
        opens = episode.moves < episode.opening
        extras = {"policy": found.policy, "value": found.value, "opens": opens, "full": full}
        action, episode = jnp.where(opens, evenly, searched), episode._replace(moves=episode.moves + 1)
        if self.resign_below is None or episode.hopes is None:
            return action, extras, episode
        hopeless = (found.value < self.resign_below) & ~opens & ~row.last
        hopes = episode.hopes.turn(row).see(hopeless)
        gives_up = hopeless & ~hopes.played_on
        extras["judged"] = hopes.judged(row)
        return jnp.where(gives_up, GIVE_UP, action), extras, episode._replace(hopes=hopes)

    def _begun(self, key: Key[Array, ""]) -> _Episode:
        """What is drawn for an episode when it begins."""
        opening = jax.random.randint(key, (), 0, self.openings + 1)
        hopes = None if self.resign_below is None else Hopes.begun(jax.random.fold_in(key, 1), self.played_on)
        return _Episode(jnp.int32(0), opening, hopes)

    def _searched(self, learner: AlphaZeroLearner, row: TimeStep, key: Key[Array, ""]) -> tuple[Found, Bool[Array, ""]]:
        """What a search found, and whether it was a full one."""

        def search(config: SearchConfig, exploring: bool) -> Found:
            evaluator = evaluator_of(learner.player)
            return config.search(learner.model, evaluator, row, key, self.discount, exploring)

        if self.quick_simulations == 0:
            return search(self.search, True), jnp.bool_(True)
        quick = replace(self.search, simulations=self.quick_simulations)  # type: ignore[type-var]
        full = jax.random.bernoulli(
            jax.random.fold_in(jax.random.key(learner.seed), learner.clock.step.low), self.full_share
        )
        return jax.lax.cond(full, lambda: search(self.search, True), lambda: search(quick, False)), full

    def policy(self, learner: AlphaZeroLearner) -> Policy:
        return SearchPolicy(learner.player, learner.model, learner.seed, self.search, jnp.float32(self.discount))

    def update(
        self, learner: AlphaZeroLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[AlphaZeroLearner, Metrics]:
        target = self._targets(learner.player, trajectory, reward)
        kept = {name: trajectory.extras[name] for name in ("policy", "full")} | {"target": target}
        learner = learner._replace(
            replay=learner.replay.add(trajectory._replace(extras=kept)),
            model=learner.model.update(trajectory.rewarded(reward)),
            clock=learner.clock.advance(trajectory),
        )
        told: Metrics = {}
        if learner.judged is not None:
            judged = learner.judged.after(trajectory.extras["judged"])
            learner, told = learner._replace(judged=judged), judged.metrics

        def step(learner: AlphaZeroLearner, key: Key[Array, ""]) -> tuple[AlphaZeroLearner, Metrics]:
            return self._gradient_step(learner, key)

        learner, metrics = jax.lax.scan(step, learner, jax.random.split(key, self.gradient_steps))
        if learner.gate is not None:
            match = partial(self._match, learner.model, key=jax.random.fold_in(key, 1))
            gate = learner.gate.after(learner.network, self.gate_period, self.gate_points, match)
            learner, told = learner._replace(gate=gate), told | gate.metrics
        return learner, jax.tree.map(jnp.mean, metrics) | told

    def _match(self, model: SampleModel, one: Policy, other: Policy, key: Key[Array, ""]) -> Float[Array, ""]:
        """The share of points that one network makes against another."""

        def player(network: Policy, row: TimeStep, key: Key[Array, ""]) -> Int[Array, ""]:
            return self.search.search(model, evaluator_of(network), row, key, self.discount).action

        players = (partial(player, network) for network in (one, other))
        return points_of(*players, imagined(model), (self.gate_games + 1) // 2, key)  # type: ignore[arg-type]

    def _targets(self, network: Policy, trajectory: Trajectory, reward: Reward) -> Float[Array, "T B"]:
        """λ-returns over the search's values. What was drawn at random tells nothing of how well one plays on."""
        steps, found = trajectory.steps, trajectory.extras
        opens = jnp.concatenate([found["opens"][1:], jnp.zeros_like(found["opens"][:1])])
        returns = value_targets(
            network, trajectory, reward(trajectory), self.discount, self.lambda_, steps.last[1:] | opens
        )
        return jnp.where(found["opens"], found["value"], returns)

    def _gradient_step(self, learner: AlphaZeroLearner, key: Key[Array, ""]) -> tuple[AlphaZeroLearner, Metrics]:
        progress, (drawing, turning, searching) = learner.clock.progress, jax.random.split(key, 3)
        window = self._searched_anew(learner, learner.replay.sample(drawing, self.batch_size, progress), searching)
        obs, policy = self._turned(learner.model, window, turning)
        loss = lambda network: self._loss(network, obs, policy, window)  # noqa: E731
        (_, (metrics, error)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.network)
        network, optimiser = descend(self.optimiser, learner.network, gradient, learner.optimiser, progress)
        replay = learner.replay.update(window.index, error)
        return learner._replace(network=network, optimiser=optimiser, replay=replay), metrics

    def _searched_anew(self, learner: AlphaZeroLearner, window: Window, key: Key[Array, ""]) -> Window:
        """Some of the window's rows with the policies that the search finds there now."""
        if self.reanalysed == 0:
            return window
        count = self.reanalysed
        rows = jax.tree.map(lambda x: x[0, :count], window.trajectory.steps)
        search = partial(self.search.search, learner.model, evaluator_of(learner.network), discount=self.discount)
        found = jax.vmap(lambda row, key: search(row, key, exploring=True))(rows, jax.random.split(key, count))
        extras = window.trajectory.extras
        policy = extras["policy"].at[0, :count].set(found.policy)
        extras = extras | {"policy": policy, "full": extras["full"].at[0, :count].set(True)}
        return window._replace(trajectory=window.trajectory._replace(extras=extras))

    def _turned(
        self, model: SampleModel, window: Window, key: Key[Array, ""]
    ) -> tuple[PyTree[Any], Float[Array, "N A"]]:
        """The rows' observations and policies, each turned in some way."""
        rows, _ = before_and_after(window.trajectory.steps)
        obs, policy = jax.tree.map(lambda x: x[0], (rows.obs, window.trajectory.extras["policy"]))
        game = imagined(model)
        if not self.symmetries or not isinstance(game, Game) or game.symmetries == 1:
            return obs, policy
        numbers = jax.random.randint(key, (len(policy),), 0, game.symmetries)
        return jax.vmap(game.turned)(obs, policy, numbers)

    def _loss(
        self, network: Policy, obs: PyTree[Any], policy: Float[Array, "N A"], window: Window
    ) -> tuple[Float[Array, ""], tuple[Metrics, Float[Array, " N"]]]:
        """Silver et al. 2017, eq. 1: (z − v)² − πᵀ ln p; the weights' decay is the optimiser's."""
        logits, value = jax.vmap(evaluator_of(network))(obs)
        valid: Bool[Array, " N"] = window.trajectory.transitions[0]
        error = window.trajectory.extras["target"][0] - value
        entropy = -(policy * jax.nn.log_softmax(logits)).sum(-1)
        squared = masked_mean(window.weight * error**2, valid)
        crossed = masked_mean(window.weight * entropy, valid & window.trajectory.extras["full"][0])
        metrics = {"value_loss": squared, "policy_loss": crossed}
        return self.value_coefficient * squared + crossed, (metrics, jnp.abs(error) * valid)
