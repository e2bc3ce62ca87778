"""RLOO: REINFORCE whose baseline is the mean of the other answers to the same prompt.

Kool, van Hoof & Welling 2019, "Buy 4 REINFORCE samples, get a baseline for free!"; Ahmadian et al. 2024, "Back to
basics". Each episode is one action, so to speak: its log-probability is that of all its choices together, and its
advantage is its return less the mean return of the others of its group. No value is learnt. What we do differently:
a group is the episodes of `group` neighbouring environments that ended in the rollout. Where environments keep
together, as texts do, and a rollout is one episode of each, these began with the same prompt, as in the paper; in a
world whose episodes all begin alike they need not.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.algorithms.policy_gradient.groups import over_groups, require_groups
from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory, several
from retorno.networks import MLP, NetworkConfig, policy_head
from retorno.ops.distributions import log_probs_and_entropies
from retorno.ops.groups import episode_return, leave_one_out_advantage
from retorno.ops.objectives import masked_mean, policy_gradient
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.policies.acting import choose_and_record, read_and_record, recorded_by
from retorno.replay.held_rows import HeldRows, episodes_batch


class RLOOLearner(NamedTuple):
    """Everything that changes while RLOO learns."""

    network: Policy
    optimiser: optax.OptState
    held: HeldRows
    clock: Clock


@hyperparameters
class RLOO:
    """REINFORCE, leave one out (Ahmadian et al. 2024). Actions: Discrete, MultiDiscrete, Box."""

    SMALL: ClassVar[dict[str, Any]] = {"longest_episode": 12, "group": 2}

    network: NetworkConfig = field(default_factory=MLP)
    """The policy's network."""
    num_envs: Count = 32
    """Environments that act side by side."""
    group: Count = 4
    """K, of how many neighbouring environments the episodes are compared."""
    rollout: Count = 128
    """Interactions of each environment between two updates, which use all episodes that ended in them."""
    longest_episode: Count = 500
    """Rows of an episode under way that are held; of a longer episode only the last so many are learnt from. None are
    held where environments keep together and each rollout is of whole episodes."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3, max_gradient_norm=0.5))
    """How a gradient becomes a step."""
    discount: UnitInterval = 1.0
    """γ, of an episode's return."""
    entropy_coefficient: NonNegative = 0.0
    """Weight of the entropy bonus."""

    @property
    def seeds_batch(self) -> bool:
        return episodes_batch(self.network, self.longest_episode, self.rollout)

    def init(self, key: Key[Array, ""], spec: Spec) -> RLOOLearner:
        require_groups("RLOO", spec, self.group, self.rollout)
        network = self.network.build(key, spec.observation_space, {"policy": policy_head(spec.action_space)})
        return RLOOLearner(
            network=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            held=HeldRows.for_episodes(spec, self.longest_episode, self.rollout, recorded_by(network, spec)),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: RLOOLearner) -> Carry:
        return learner.network.initial_carry()

    def act(
        self, learner: RLOOLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return choose_and_record(learner.network, row, carry, key)

    def read(self, learner: RLOOLearner, rows: TimeStep, carry: Carry) -> tuple[PyTree[Any], Carry]:
        return read_and_record(learner.network, rows, carry)

    def policy(self, learner: RLOOLearner) -> Policy:
        return learner.network

    def update(
        self, learner: RLOOLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[RLOOLearner, Metrics]:
        lived, counts = learner.held.whole_episodes(trajectory, reward)
        last = lived.steps.last[1:]
        returns = jax.vmap(episode_return, in_axes=(1, 1, None), out_axes=1)(
            lived.steps.reward[1:], last, self.discount
        )
        advantage = over_groups(leave_one_out_advantage, self.group)(returns, counts & last)
        (_, metrics), gradient = jax.value_and_grad(self._loss, has_aux=True)(learner.network, lived, advantage, counts)
        network, optimiser = descend(
            self.optimiser, learner.network, gradient, learner.optimiser, learner.clock.progress
        )
        keep = lambda new, old: jax.tree.map(lambda n, o: jnp.where(counts.any(), n, o), new, old)  # noqa: E731
        return RLOOLearner(
            network=keep(network, learner.network),
            optimiser=keep(optimiser, learner.optimiser),
            held=learner.held.after(trajectory),
            clock=learner.clock.advance(trajectory),
        ), metrics | {"forgotten": learner.held.forgotten(trajectory)}

    def _loss(
        self, network: Policy, lived: Trajectory, advantage: Float[Array, "R B"], counts: Bool[Array, "R B"]
    ) -> tuple[Float[Array, ""], Metrics]:
        rows = jax.tree.map(lambda x: x[:-1], lived.steps)
        heads = unroll_batch(network, rows.obs, rows.first)
        over_rows = lambda f: jax.vmap(jax.vmap(f))  # noqa: E731
        log_prob, entropy = log_probs_and_entropies(heads["policy"], rows.legal, lived.action)
        choices = counts & several(rows.legal)
        episodes = jnp.maximum((counts & lived.steps.last[1:]).sum(), 1)
        # −Σₜ Â log π(aₜ): an episode's log-probability is the sum over its choices.
        losses = over_rows(policy_gradient)(log_prob, advantage)
        policy_loss = jnp.where(choices, losses, 0.0).sum() / episodes
        mean_entropy = masked_mean(entropy, choices)
        return policy_loss - self.entropy_coefficient * mean_entropy, {
            "policy_loss": policy_loss,
            "entropy": mean_entropy,
        }
