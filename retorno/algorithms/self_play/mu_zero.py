"""MuZero: AlphaZero's search in a model of the world that is learnt for it (Schrittwieser et al. 2020).

Three networks: a representation makes a hidden state of what is observed, dynamics lead from one hidden state and an
action to the next and say what is paid on the way, a prediction tells policy and value of each. Nothing asks a hidden
state to look like the world: it has to tell, so many actions on, what the search found and what was paid there.

What we do differently: how a transition goes on is learnt as its reward is (0 where the episode terminates, −1 where
the opponent moves next), so that neither ends nor turns need be known; rewards and values are regressed on squashed,
not on a categorical's atoms; value targets are λ-returns over the search's values, as AlphaZero's here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from gymnasium import spaces
from jax import Array
from jaxtyping import Bool, Float, Int, Key, PyTree, UInt32

from retorno.core.hyperparameters import Count, NonNegative, Positive, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Heads, Metrics, Policy, Reward, WithoutMemory
from retorno.core.spaces import Spec, num_actions
from retorno.core.time_step import Clock, TimeStep, Trajectory, before_and_after, restart
from retorno.models.tabular import SampleModel
from retorno.networks import MLP, CategoricalHead, NetworkConfig, ValueHead, require_no_context
from retorno.networks.layers import Activation
from retorno.ops.distributions import Categorical
from retorno.ops.estimates import squashed, stretched
from retorno.ops.objectives import linear, masked_mean
from retorno.ops.optimisers import AdamW, Optimiser, descend
from retorno.replay import Replay, ReplayConfig, UniformReplay, Window, ring
from retorno.search import PUCT, SearchConfig, SearchPolicy
from retorno.search.trees import evaluator_of, value_targets

TURNS = (-1.0, 0.0, 1.0)
"""How a transition goes on: the opponent's move, an end, one's own move."""

LEAST_RANGE = 0.1
"""Of the numbers that become a hidden state: to stretch less than that to [0, 1] would stretch gradients endlessly."""


@dataclass(frozen=True)
class HiddenHead:
    """A hidden state: numbers in [0, 1], the least of them 0 and the largest 1 (appendix G) unless all are alike."""

    size: int
    gain: ClassVar[float] = 1.0

    @property
    def outputs(self) -> int:
        return self.size

    def parameters(self) -> dict[str, Array]:
        return {}

    def read(self, x: Float[Array, " D"], parameters: dict[str, Array]) -> Float[Array, " D"]:
        return (x - x.min()) / jnp.maximum(x.max() - x.min(), LEAST_RANGE)


class Hidden(NamedTuple):
    """A hidden state, where a network is asked what it thinks of one, and not of what is observed."""

    numbers: Float[Array, " D"]


class MuZeroNetwork(WithoutMemory):
    """The three networks."""

    representation: Policy
    dynamics: Policy
    prediction: Policy

    def represent(self, obs: PyTree[Any]) -> Hidden:
        """h: what is observed as a hidden state; one that is given is one already."""
        if isinstance(obs, Hidden):
            return obs
        return Hidden(self.representation.step(obs, jnp.bool_(False), ())[0]["hidden"])

    def predict(self, hidden: Hidden) -> tuple[Float[Array, " A"], Float[Array, ""]]:
        """f: logits of the policy, and the squashed value."""
        heads = self.prediction.step(hidden.numbers, jnp.bool_(False), ())[0]
        return heads["policy"].logits, heads["value"]

    def lead(self, hidden: Hidden, action: Int[Array, ""]) -> tuple[Hidden, Float[Array, ""], Float[Array, " 3"]]:
        """g: the next hidden state, the squashed reward on the way, and logits of how it goes on."""
        heads = self.dynamics.step((hidden.numbers, action), jnp.bool_(False), ())[0]
        return Hidden(heads["hidden"]), heads["reward"], heads["turn"].logits

    def step(self, obs: PyTree[Any], first: Bool[Array, ""], carry: Carry) -> tuple[Heads, Carry]:
        logits, value = self.predict(self.represent(obs))
        return {"policy": Categorical(logits), "value": stretched(value)}, ()


class Imagination(SampleModel):
    """What was learnt of a world: its rows show hidden states."""

    network: MuZeroNetwork

    def enter(self, obs: PyTree[Any]) -> TimeStep:
        return restart(self.network.represent(obs))

    def step(self, obs: PyTree[Any], action: Int[Array, ""], key: Key[Array, ""]) -> TimeStep:
        after, reward, turn = self.network.lead(self.network.represent(obs), action)
        onward = jax.nn.softmax(turn) @ jnp.array(TURNS)
        return TimeStep(after, stretched(reward), onward, jnp.bool_(False), jnp.bool_(False))

    def number(self, obs: PyTree[Any]) -> Int[Array, ""]:
        raise NotImplementedError("hidden states have no numbers")


class MuZeroLearner(NamedTuple):
    """Everything that changes while MuZero learns."""

    network: MuZeroNetwork
    optimiser: optax.OptState
    replay: Replay
    seed: UInt32[Array, ""]
    """What the policy searches with after training."""
    clock: Clock


@hyperparameters
class MuZero:
    """MuZero (Schrittwieser et al. 2020): search in a model that is learnt for it, in any world, alone or for two."""

    SMALL: ClassVar[dict[str, Any]] = {
        "search": PUCT(simulations=4),
        "inner": MLP((8,), shared=True),
        "hidden": 8,
        "unroll": 3,
        "batch_size": 4,
        "capacity": 64,
        "gradient_steps": 1,
    }

    network: NetworkConfig = field(default_factory=lambda: MLP(hidden=(128,), activation=Activation.relu))
    """The representation."""
    inner: NetworkConfig = field(default_factory=lambda: MLP(hidden=(128,), activation=Activation.relu, shared=True))
    """Dynamics and prediction: what sees hidden states."""
    hidden: Count = 64
    """D, numbers of a hidden state."""
    search: SearchConfig = field(default_factory=lambda: PUCT(whole_tree=True))
    """How to look ahead before each choice."""
    num_envs: Count = 8
    """Episodes that are lived side by side."""
    rollout: Count = 32
    """Steps of each between two updates."""
    gradient_steps: Count = 32
    """Gradient steps in each update."""
    batch_size: Count = 128
    """Windows in each gradient step."""
    unroll: Count = 5
    """K, transitions of a window, which the dynamics follow."""
    replay: ReplayConfig = field(default_factory=UniformReplay)
    """Which windows are drawn."""
    capacity: Count = 100_000
    """Rows that are kept."""
    optimiser: Optimiser = field(default_factory=lambda: AdamW(1e-3, max_gradient_norm=5.0, weight_decay=1e-4))
    """How a gradient becomes a step."""
    discount: UnitInterval = 0.99
    """γ"""
    lambda_: UnitInterval = 0.95
    """λ of the value's targets: 1 for what really came, less for what the search thought of it on the way."""
    value_coefficient: NonNegative = 0.25
    """How much the value's squared error weighs beside the policy's cross-entropy (Schrittwieser et al. 2021)."""
    temperature: Positive = 1.0
    """Of the search's policy that choices are drawn from, as the run begins, …"""
    temperature_end: Positive = 0.25
    """… and as it ends."""

    def init(self, key: Key[Array, ""], spec: Spec) -> MuZeroLearner:
        name = type(self).__name__
        actions = num_actions(spec.action_space, name)
        representing, leading, predicting, searching = jax.random.split(key, 4)
        hidden, place = HiddenHead(self.hidden), spaces.Box(0, 1, (self.hidden,), np.float32)
        onward = {"hidden": hidden, "reward": ValueHead(), "turn": CategoricalHead(len(TURNS))}
        here = {"policy": CategoricalHead(actions), "value": ValueHead()}
        pair = spaces.Tuple((place, spaces.Discrete(actions)))
        network = MuZeroNetwork(
            require_no_context(self.network.build(representing, spec.observation_space, {"hidden": hidden}), name),
            require_no_context(self.inner.build(leading, pair, onward), name),
            require_no_context(self.inner.build(predicting, place, here), name),
        )
        rows = ring(
            spec.row,
            jnp.int32(0),
            num_envs=spec.num_envs,
            capacity=self.capacity,
            rollout=self.rollout,
            extras={"policy": jnp.zeros(actions), "target": jnp.float32(0)},
            length=self.unroll,
            learnt=range(1),  # Without the first nothing is: what follows is predicted from it.
        )
        return MuZeroLearner(
            network=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            replay=self.replay.over(rows),
            seed=jax.random.bits(searching),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: MuZeroLearner) -> Carry:
        return ()

    def act(
        self, learner: MuZeroLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        searching, drawing = jax.random.split(key)
        model, evaluator = Imagination(learner.network), evaluator_of(learner.network)
        found = self.search.search(model, evaluator, row, searching, self.discount, exploring=True)
        temperature = linear(self.temperature, self.temperature_end, learner.clock.progress)
        action = jax.random.categorical(drawing, jnp.log(found.policy) / temperature)
        return action, {"policy": found.policy, "value": found.value}, ()

    def policy(self, learner: MuZeroLearner) -> Policy:
        network = learner.network
        return SearchPolicy(network, Imagination(network), learner.seed, self.search, jnp.float32(self.discount))

    def update(
        self, learner: MuZeroLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[MuZeroLearner, Metrics]:
        kept = {
            "policy": trajectory.extras["policy"],
            "target": value_targets(
                learner.network,
                trajectory,
                reward(trajectory),
                self.discount,
                self.lambda_,
                trajectory.steps.last[1:],
            ),
        }
        learner = learner._replace(
            replay=learner.replay.add(trajectory._replace(extras=kept)), clock=learner.clock.advance(trajectory)
        )

        def step(learner: MuZeroLearner, key: Key[Array, ""]) -> tuple[MuZeroLearner, Metrics]:
            return self._gradient_step(learner, reward, key)

        learner, metrics = jax.lax.scan(step, learner, jax.random.split(key, self.gradient_steps))
        return learner, jax.tree.map(jnp.mean, metrics)

    def _gradient_step(
        self, learner: MuZeroLearner, reward: Reward, key: Key[Array, ""]
    ) -> tuple[MuZeroLearner, Metrics]:
        progress = learner.clock.progress
        window = learner.replay.sample(key, self.batch_size, progress)
        loss = lambda network: self._loss(network, window, reward(window.trajectory))  # noqa: E731
        (_, (metrics, error)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.network)
        network, optimiser = descend(self.optimiser, learner.network, gradient, learner.optimiser, progress)
        replay = learner.replay.update(window.index, error)
        return learner._replace(network=network, optimiser=optimiser, replay=replay), metrics

    def _loss(
        self, network: MuZeroNetwork, window: Window, paid: Float[Array, "K N"]
    ) -> tuple[Float[Array, ""], tuple[Metrics, Float[Array, " N"]]]:
        """Schrittwieser et al. 2020, eq. 1, over the rows of a window until its episode ends."""
        lived = window.trajectory
        rows, after = before_and_after(lived.steps)
        logits, value, reward, turn = jax.vmap(partial(_imagined, network), in_axes=(1, 1), out_axes=1)(
            jax.tree.map(lambda x: x[:1], rows.obs), lived.action
        )
        alive = jnp.cumprod(lived.transitions, 0).astype(bool)
        error = squashed(lived.extras["target"]) - value
        losses = {
            "value_loss": error**2,
            "reward_loss": (squashed(paid) - reward) ** 2,
            "policy_loss": -(lived.extras["policy"] * jax.nn.log_softmax(logits)).sum(-1),
            "turn_loss": -jnp.take_along_axis(
                jax.nn.log_softmax(turn), jnp.sign(after.discount).astype(int)[..., None] + 1, -1
            )[..., 0],
        }
        metrics = {name: masked_mean(window.weight * loss, alive) for name, loss in losses.items()}
        others = metrics["reward_loss"] + metrics["policy_loss"] + metrics["turn_loss"]
        return self.value_coefficient * metrics["value_loss"] + others, (metrics, jnp.abs(error[0]) * alive[0])


def _imagined(
    network: MuZeroNetwork, obs: PyTree[Any], action: Int[Array, " K"]
) -> tuple[Float[Array, "K A"], Float[Array, " K"], Float[Array, " K"], Float[Array, "K 3"]]:
    """What is predicted of K rows of which only the first is seen, and of the transitions out of them."""

    def step(hidden: Hidden, action: Array) -> tuple[Hidden, tuple[Array, Array, Array, Array]]:
        logits, value = network.predict(hidden)
        (after,), reward, turn = network.lead(hidden, action)
        # Half of the gradient goes on to the step before (appendix G).
        return Hidden((after + jax.lax.stop_gradient(after)) / 2), (logits, value, reward, turn)

    return jax.lax.scan(step, network.represent(jax.tree.map(lambda x: x[0], obs)), action)[1]
