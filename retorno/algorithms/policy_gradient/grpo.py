"""GRPO: PPO without a critic, whose advantage compares answers to the same prompt.

Shao et al. 2024, "DeepSeekMath", eq. 3 and algorithm 1. K episodes begin alike; one is better than usual by as much as
its return is above the group's mean, in the group's standard deviations, and all its choices share that advantage.

What we do differently. A group is the episodes of `group` neighbouring environments that ended in the rollout: where
environments keep together, as texts do, and a rollout is one episode of each, these began with the same prompt. The
KL's estimate is weighted with the probability ratio, as in DeepSeek-AI 2025 ("V3.2", eq. 7): only so is the mean of
its gradient the gradient of KL(π‖π_ref); without the weight it is that of KL(π_ref‖π). Even so, in the loss a choice
answers for its own KL alone, not for that of the choices which follow from it, and a return stands in its own baseline,
which leaves (K−1)/K of its gradient: an episode of one choice is led to π ∝ π_ref exp(r / (β K/(K−1))), one of many to
nothing that can be written so. As a reward (`--kl`, `ReferenceKL`), and without `scale_advantages`, the KL leads to
π ∝ π_ref exp(r/β).
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
from retorno.core.hyperparameters import Count, NonNegative, Positive, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward, foresee_batch, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, Legal, TimeStep, Trajectory, several
from retorno.networks import MLP, NetworkConfig, policy_head
from retorno.ops.distributions import log_probs_and_entropies
from retorno.ops.groups import episode_return, group_relative_advantage, kl_estimate
from retorno.ops.minibatches import shuffled
from retorno.ops.objectives import clipped_policy_gradient, masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.ops.returns import importance_weight
from retorno.policies.acting import choose_and_record, read_and_record, recorded_by
from retorno.replay.held_rows import HeldRows, episodes_batch


class GRPOLearner(NamedTuple):
    """Everything that changes while GRPO learns."""

    network: Policy
    optimiser: optax.OptState
    reference: Policy | None
    """π_ref, the policy as it began; None where no KL is asked for."""
    held: HeldRows
    clock: Clock


class _Rows(NamedTuple):
    """What the loss reads, [R, B]."""

    obs: PyTree[Any]
    first: Bool[Array, "R B"]
    legal: Legal
    action: PyTree[Any]
    log_prob: Float[Array, "R B"]
    reference: Float[Array, "R B"]
    """log π_ref of the action."""
    advantage: Float[Array, "R B"]
    share: Float[Array, "R B"]
    """What a choice weighs in the mean over episodes."""
    choices: Bool[Array, "R B"]


@hyperparameters
class GRPO:
    """Group relative policy optimisation (Shao et al. 2024). Actions: Discrete, MultiDiscrete, Box."""

    SMALL: ClassVar[dict[str, Any]] = {"longest_episode": 12, "group": 2, "kl_coefficient": 0.01}

    network: NetworkConfig = field(default_factory=MLP)
    """The policy's network."""
    num_envs: Count = 32
    """Environments that act side by side."""
    group: Count = 8
    """K, of how many neighbouring environments the episodes are compared."""
    rollout: Count = 128
    """Interactions of each environment between two updates, which use all episodes that ended in them."""
    longest_episode: Count = 500
    """Rows of an episode under way that are held; of a longer episode only the last so many are learnt from. None are
    held where environments keep together and each rollout is of whole episodes."""
    epochs: Count = 1
    """Passes over each rollout, μ."""
    minibatches: Count = 1
    """Gradient steps in each pass, each with the episodes of as many environments."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3, max_gradient_norm=0.5))
    """How a gradient becomes a step."""
    discount: UnitInterval = 1.0
    """γ, of an episode's return."""
    clip: Positive = 0.2
    """ε, how far the new policy's probability ratio counts."""
    scale_advantages: bool = True
    """Divide by the group's standard deviation; Dr. GRPO (Liu et al. 2025) does not, and so favours no prompt."""
    average_steps: bool = True
    """Average over an episode's choices; Dr. GRPO adds them up, so that long failures weigh no less than short ones."""
    kl_coefficient: NonNegative | None = None
    """β of the KL to the policy as it began, in the loss; .04 in the paper. None for no such policy to be kept."""
    entropy_coefficient: NonNegative = 0.0
    """Weight of the entropy bonus."""

    @property
    def seeds_batch(self) -> bool:
        return episodes_batch(self.network, self.longest_episode, self.rollout)

    def init(self, key: Key[Array, ""], spec: Spec) -> GRPOLearner:
        require_groups("GRPO", spec, self.group, self.rollout)
        if spec.num_envs % self.minibatches:
            raise ValueError(
                f"the episodes of {spec.num_envs} environments cannot be split into {self.minibatches} equal "
                "minibatches: choose minibatches and num_envs so that they can"
            )
        network = self.network.build(key, spec.observation_space, {"policy": policy_head(spec.action_space)})
        return GRPOLearner(
            network=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            reference=None if self.kl_coefficient is None else network,
            held=HeldRows.for_episodes(spec, self.longest_episode, self.rollout, recorded_by(network, spec)),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: GRPOLearner) -> Carry:
        return learner.network.initial_carry()

    def act(
        self, learner: GRPOLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return choose_and_record(learner.network, row, carry, key)

    def read(self, learner: GRPOLearner, rows: TimeStep, carry: Carry) -> tuple[PyTree[Any], Carry]:
        return read_and_record(learner.network, rows, carry)

    def policy(self, learner: GRPOLearner) -> Policy:
        return learner.network

    def update(
        self, learner: GRPOLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[GRPOLearner, Metrics]:
        lived, counts = learner.held.whole_episodes(trajectory, reward)
        rows = self._rows(learner, lived, counts)
        network, optimiser, metrics = self._optimise(learner, rows, key)
        keep = lambda new, old: jax.tree.map(lambda n, o: jnp.where(counts.any(), n, o), new, old)  # noqa: E731
        return GRPOLearner(
            network=keep(network, learner.network),
            optimiser=keep(optimiser, learner.optimiser),
            reference=learner.reference,
            held=learner.held.after(trajectory),
            clock=learner.clock.advance(trajectory),
        ), metrics | {"forgotten": learner.held.forgotten(trajectory)}

    def _rows(self, learner: GRPOLearner, lived: Trajectory, counts: Bool[Array, "R B"]) -> _Rows:
        """Advantages and weights, before the first step."""
        over_envs = lambda f: jax.vmap(f, in_axes=(1, 1, None), out_axes=1)  # noqa: E731
        before, last = jax.tree.map(lambda x: x[:-1], lived.steps), lived.steps.last[1:]
        ends, choices = counts & last, counts & several(before.legal)
        returns = over_envs(episode_return)(lived.steps.reward[1:], last, self.discount)
        compare = lambda returns, ends: group_relative_advantage(returns, ends, self.scale_advantages)  # noqa: E731
        # As many choices as the episode has: the return of a reward of 1 for each.
        length = over_envs(episode_return)(choices.astype(jnp.float32), last, 1.0)
        log_prob, reference = lived.extras["log_prob"], learner.reference
        return _Rows(
            obs=foresee_batch(learner.network, before.obs, before.first),
            first=before.first,
            legal=before.legal,
            action=lived.action,
            log_prob=log_prob,
            reference=log_prob if reference is None else _likelihood(reference, before, lived.action)[0],
            advantage=over_groups(compare, self.group)(returns, ends),
            share=choices / jnp.maximum(ends.sum(), 1) / (jnp.maximum(length, 1) if self.average_steps else 1.0),
            choices=choices,
        )

    def _optimise(
        self, learner: GRPOLearner, rows: _Rows, key: Key[Array, ""]
    ) -> tuple[Policy, optax.OptState, Metrics]:
        """Epochs of shuffled minibatches; metrics are means over all of them."""
        progress = learner.clock.progress

        def step(state: tuple[Policy, optax.OptState], chosen: Array | None):
            network, optimiser = state
            batch = rows if chosen is None else jax.tree.map(lambda x: x[:, chosen], rows)
            (_, metrics), gradient = jax.value_and_grad(self._loss, has_aux=True)(network, batch)
            return descend(self.optimiser, network, gradient, optimiser, progress), metrics

        chosen = shuffled(key, rows.first.shape[1], self.epochs, self.minibatches)
        state = (learner.network, learner.optimiser)
        (network, optimiser), metrics = jax.lax.scan(step, state, chosen, length=self.epochs * self.minibatches)
        return network, optimiser, {name: x.mean() for name, x in metrics.items()}

    def _loss(self, network: Policy, rows: _Rows) -> tuple[Float[Array, ""], Metrics]:
        over_rows = lambda f: jax.vmap(jax.vmap(f))  # noqa: E731
        log_prob, entropy = _likelihood(network, rows, rows.action)
        ratio = over_rows(importance_weight)(log_prob, rows.log_prob)
        kl = ratio * over_rows(kl_estimate)(log_prob - rows.reference)
        losses = over_rows(lambda r, a: clipped_policy_gradient(r, a, self.clip))(ratio, rows.advantage)
        # A minibatch has its part of all episodes.
        over_episodes = lambda x: self.minibatches * jnp.where(rows.choices, rows.share * x, 0.0).sum()  # noqa: E731
        policy_loss, mean_kl = over_episodes(losses), masked_mean(kl, rows.choices)
        mean_entropy = masked_mean(entropy, rows.choices)
        loss = policy_loss - self.entropy_coefficient * mean_entropy
        if self.kl_coefficient is not None:
            loss = loss + self.kl_coefficient * over_episodes(kl)
        return loss, {
            "policy_loss": policy_loss,
            "entropy": mean_entropy,
            "clip_fraction": masked_mean((jnp.abs(ratio - 1) > self.clip).astype(jnp.float32), rows.choices),
        } | ({} if self.kl_coefficient is None else {"reference_kl": mean_kl})


def _likelihood(policy: Policy, rows: Any, action: PyTree[Any]) -> tuple[Float[Array, "R B"], Float[Array, "R B"]]:
    """How likely a policy finds what was chosen on rows [R, B], and how uncertain it is."""
    heads = unroll_batch(policy, rows.obs, rows.first)
    return log_probs_and_entropies(heads["policy"], rows.legal, action)
