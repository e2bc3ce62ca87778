"""REINFORCE: the Monte Carlo policy gradient.

Williams 1992; Sutton & Barto 2018, sections 13.3–13.4. An episode is learnt from when it has ended, with
the return that really followed each action; the rows of episodes still under way are held until
then. With one environment that is the book's method. With several, one environment's episode may
end while another's is under way, whose first actions then were drawn from a slightly older policy.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.core.hyperparameters import Count, NonNegative, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory, several
from retorno.networks import MLP, NetworkConfig, ValueHead, policy_head
from retorno.ops.distributions import log_probs_and_entropies
from retorno.ops.objectives import masked_mean, masked_standardise, policy_gradient
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.ops.returns import lambda_returns
from retorno.policies.acting import choose_and_record, read_and_record, recorded_by
from retorno.replay.held_rows import HeldRows, episodes_batch


class REINFORCELearner(NamedTuple):
    """Everything that changes while REINFORCE learns."""

    network: Policy
    optimiser: optax.OptState
    held: HeldRows
    clock: Clock


@hyperparameters
class REINFORCE:
    """REINFORCE (Williams 1992). Actions: Discrete, MultiDiscrete, Box."""

    SMALL: ClassVar[dict[str, Any]] = {"longest_episode": 12}

    network: NetworkConfig = field(default_factory=MLP)
    """The policy's network, and the baseline's."""
    num_envs: Count = 8
    """Environments that act side by side."""
    rollout: Count = 128
    """Interactions of each environment between two updates, which use all episodes that ended in them."""
    longest_episode: Count = 500
    """Rows of an episode under way that are held; of a longer episode only the last so many are learnt from. None are
    held where environments keep together and each rollout is of whole episodes."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3, max_gradient_norm=0.5))
    """How a gradient becomes a step."""
    discount: UnitInterval = 0.99
    """γ"""
    discount_gradient: bool = False
    """Weigh the step at time t by γᵗ, as the policy gradient theorem has it and most code leaves out."""
    baseline: bool = True
    """Subtract a learnt state value from the return: less variance, no bias."""
    baseline_coefficient: NonNegative = 0.5
    """Weight of the baseline's loss."""
    entropy_coefficient: NonNegative = 0.0
    """Weight of the entropy bonus."""
    sum_over_episode: bool = False
    """Add up an episode's steps and average over episodes, as the theorem has it, instead of averaging over all steps.

    With a table, one environment, a rollout of 1 and plain gradient steps this is the book's method, an episode's
    steps taken at once; `ActorCritic(at_the_end=True)` does the same without holding rows."""
    normalise_advantages: bool = False
    """Standardise the advantages of each update."""

    @property
    def seeds_batch(self) -> bool:
        return episodes_batch(self.network, self.longest_episode, self.rollout)

    def init(self, key: Key[Array, ""], spec: Spec) -> REINFORCELearner:
        heads = {"policy": policy_head(spec.action_space)}
        if self.baseline:
            heads["value"] = ValueHead()
        network = self.network.build(key, spec.observation_space, heads)
        recorded = recorded_by(network, spec)
        return REINFORCELearner(
            network=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            held=HeldRows.for_episodes(spec, self.longest_episode, self.rollout, recorded),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: REINFORCELearner) -> Carry:
        return learner.network.select("policy").initial_carry()

    def act(
        self, learner: REINFORCELearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return choose_and_record(learner.network.select("policy"), row, carry, key)

    def read(self, learner: REINFORCELearner, rows: TimeStep, carry: Carry) -> tuple[PyTree[Any], Carry]:
        return read_and_record(learner.network.select("policy"), rows, carry)

    def policy(self, learner: REINFORCELearner) -> Policy:
        return learner.network

    def update(
        self, learner: REINFORCELearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[REINFORCELearner, Metrics]:
        lived, counts = learner.held.whole_episodes(trajectory, reward)
        weight = jax.vmap(self._weights, in_axes=1, out_axes=1)(lived.steps.first[:-1])
        learnable = counts.any()
        (_, metrics), gradient = jax.value_and_grad(self._loss, has_aux=True)(
            learner.network, lived.steps, lived.action, weight, counts
        )
        network, optimiser = descend(
            self.optimiser, learner.network, gradient, learner.optimiser, learner.clock.progress
        )
        keep = lambda new, old: jax.tree.map(lambda n, o: jnp.where(learnable, n, o), new, old)  # noqa: E731
        metrics |= {"forgotten": learner.held.forgotten(trajectory)}
        return REINFORCELearner(
            network=keep(network, learner.network),
            optimiser=keep(optimiser, learner.optimiser),
            held=learner.held.after(trajectory),
            clock=learner.clock.advance(trajectory),
        ), metrics

    def _weights(self, first: Bool[Array, " H"]) -> Float[Array, " H"]:
        """γᵗ, or 1."""
        if not self.discount_gradient:
            return jnp.ones(first.shape)
        t = jnp.arange(len(first))
        return self.discount ** (t - jax.lax.cummax(jnp.where(first, t, 0)))

    def _loss(
        self,
        network: Policy,
        rows: TimeStep,
        action: PyTree[Any],
        weight: Float[Array, "R B"],
        counts: Bool[Array, "R B"],
    ) -> tuple[Float[Array, ""], Metrics]:
        heads = unroll_batch(network, rows.obs, rows.first)
        over_rows = lambda f: jax.vmap(jax.vmap(f))  # noqa: E731
        policy, legal = jax.tree.map(lambda x: x[:-1], (heads["policy"], rows.legal))
        choices = counts & several(legal)
        log_prob, entropy = log_probs_and_entropies(policy, legal, action)
        value = heads["value"] if self.baseline else jnp.zeros(rows.last.shape)
        # Behind a time limit's cut stands the baseline's estimate, where there is one.
        returns = jax.vmap(lambda r, d, v, cut: lambda_returns(r, d, v, cut, 1.0), in_axes=1, out_axes=1)(
            rows.reward[1:], self.discount * rows.discount[1:], jax.lax.stop_gradient(value[1:]), rows.last[1:]
        )
        advantage = returns - jax.lax.stop_gradient(value[:-1])
        if self.normalise_advantages:
            advantage = masked_standardise(advantage, choices)
        episodes = jnp.maximum((counts & rows.last[1:]).sum(), 1)
        # The sum over each episode, averaged over episodes, is the mean over steps times the mean length.
        length = lambda counts: counts.sum() / episodes if self.sum_over_episode else 1.0  # noqa: E731
        policy_losses = weight * over_rows(policy_gradient)(log_prob, advantage)
        policy_loss = length(choices) * masked_mean(policy_losses, choices)
        baseline_loss = length(counts) * masked_mean((returns - value[:-1]) ** 2, counts)
        mean_entropy = masked_mean(entropy, choices)
        loss = policy_loss + self.baseline_coefficient * baseline_loss - self.entropy_coefficient * mean_entropy
        return loss, {"policy_loss": policy_loss, "baseline_loss": baseline_loss, "entropy": mean_entropy}
