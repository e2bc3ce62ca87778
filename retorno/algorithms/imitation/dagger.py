"""DAgger: the learner goes where it goes, and an expert is asked what to do there.

Ross, Gordon & Bagnell 2011. A clone of demonstrations is lost where its own mistakes have led it, for nobody was ever
there. So the learner acts, the expert says on each row what it would have done, and all of that is one growing data
set to clone from (algorithm 3.1). At first the expert acts in a share β of the steps, which falls to nothing.

What we do differently: after each rollout the clone takes some gradient steps, where the paper trains another one from
the beginning; and the oldest rows are forgotten, beyond `capacity`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, UnitInterval, Whole, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec, require_windows
from retorno.core.time_step import Clock, TimeStep, Trajectory
from retorno.networks import MLP, NetworkConfig, policy_head
from retorno.ops.distributions import log_probs_and_entropies
from retorno.ops.objectives import linear, masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.replay import Replay, ReplayConfig, UniformReplay, Window, ring
from retorno.replay.learning import gradient_steps, recorded


class DAggerLearner(NamedTuple):
    """Everything that changes while DAgger learns, and the expert."""

    network: Policy
    expert: Policy
    optimiser: optax.OptState
    replay: Replay
    """Rows with what the expert would have done on them in the place of what was done."""
    clock: Clock


@hyperparameters
class DAgger:
    """Dataset aggregation (Ross et al. 2011): an expert is asked where the learner goes. No rewards are read."""

    NAME: ClassVar[str] = "dagger"
    SMALL: ClassVar[dict[str, Any]] = {"batch_size": 4, "capacity": 64, "gradient_steps": 1, "expert_share": 0.5}

    expert: NetworkConfig = field(default_factory=MLP)
    """Who is asked: `Pretrained` where it was learnt before, or code of your own. A fresh network knows nothing."""
    network: NetworkConfig = field(default_factory=MLP)
    """The policy's network."""
    num_envs: Count = 8
    """Environments that act side by side."""
    rollout: Count = 32
    """Interactions of each environment between two updates."""
    gradient_steps: Count = 16
    """Gradient steps in each update."""
    batch_size: Count = 64
    """Windows in each gradient step."""
    length: Count = 1
    """Rows of a window that are learnt from: for a network with a memory more than one."""
    burn_in: Whole = 0
    """Rows before those that a network with a memory reads first, without learning from them."""
    stored_carry: bool = True
    """Keep the memory beside each row for a window to begin with; else it begins with an empty one."""
    replay: ReplayConfig = field(default_factory=UniformReplay)
    """Which windows are drawn."""
    capacity: Count = 100_000
    """Transitions that are remembered."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3))
    """How a gradient becomes a step."""
    expert_share: UnitInterval = 1.0
    """β, in how many of the first steps the expert acts."""
    expert_fraction: UnitInterval = 0.1
    """The share of the run in which β falls to 0, in a straight line."""

    def init(self, key: Key[Array, ""], spec: Spec) -> DAggerLearner:
        require_windows(spec, "DAgger")
        for_network, for_expert = jax.random.split(key)
        heads = {"policy": policy_head(spec.action_space)}
        network = self.network.build(for_network, spec.observation_space, heads)
        expert = self.expert.build(for_expert, spec.observation_space, heads)
        rows = ring(
            spec.row,
            _shape_of_choice(expert, spec),
            num_envs=spec.num_envs,
            capacity=self.capacity,
            rollout=self.rollout,
            extras=recorded(network, spec, self.stored_carry),
            length=self.length,
            context=self.burn_in if network.context is None else network.context,
        )
        return DAggerLearner(
            network=network,
            expert=expert,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            replay=self.replay.over(rows),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: DAggerLearner) -> Carry:
        return learner.network.initial_carry(), learner.expert.initial_carry()

    def act(
        self, learner: DAggerLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        for_choice, for_who = jax.random.split(key)
        own, expert = (
            policy.step(row.obs, row.first, memory)
            for policy, memory in zip((learner.network, learner.expert), carry, strict=True)
        )
        shown = expert[0]["policy"].masked(row.legal).mode()
        policy = own[0]["policy"].masked(row.legal)
        gone = jnp.minimum(learner.clock.progress / jnp.maximum(self.expert_fraction, 1e-9), 1.0)
        asked = jax.random.bernoulli(for_who, linear(self.expert_share, 0.0, gone))
        action = jax.tree.map(lambda x, y: jnp.where(asked, x, y), shown, policy.sample(for_choice))
        extras = {"carry": carry[0], "log_prob": policy.log_prob(action)}
        kept = {name: extras[name] for name in learner.replay.ring.extras}
        return action, kept | {"shown": shown}, (own[1], expert[1])

    def policy(self, learner: DAggerLearner) -> Policy:
        return learner.network

    def update(
        self, learner: DAggerLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[DAggerLearner, Metrics]:
        shown = trajectory.extras["shown"]
        kept = {name: x for name, x in trajectory.extras.items() if name != "shown"}
        asked = trajectory._replace(action=shown, extras=kept)
        learner = learner._replace(replay=learner.replay.add(asked), clock=learner.clock.advance(trajectory))
        always = jnp.array(True)
        return gradient_steps(self._gradient_step, learner, self.gradient_steps, always, key)

    def _gradient_step(self, learner: DAggerLearner, key: Key[Array, ""]) -> tuple[DAggerLearner, Metrics]:
        progress = learner.clock.progress
        window = learner.replay.sample(key, self.batch_size, progress)
        (_, metrics), gradient = jax.value_and_grad(_loss, has_aux=True)(learner.network, window)
        network, optimiser = descend(self.optimiser, learner.network, gradient, learner.optimiser, progress)
        return learner._replace(network=network, optimiser=optimiser), metrics


def _loss(network: Policy, window: Window) -> tuple[Float[Array, ""], Metrics]:
    """Minus the mean log-probability of what the expert would have done."""
    lived = window.trajectory
    rows = jax.tree.map(lambda x: x[:-1], lived.steps)
    policy = unroll_batch(network, rows.obs, rows.first, window.carry(network))["policy"]
    log_prob, entropy = log_probs_and_entropies(policy, rows.legal, lived.action)
    loss = -masked_mean(window.weight * log_prob, lived.choices)
    return loss, {"loss": loss, "entropy": masked_mean(entropy, lived.choices)}


def _shape_of_choice(policy: Policy, spec: Spec) -> PyTree[Any]:
    """What one action looks like: zeros."""
    row = spec.row
    said = jax.eval_shape(lambda: policy.choice(row, policy.initial_carry())[0].mode())
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), said)
