"""Expert iteration: take the best of several answers, and learn to give it at once.

Anthony, Tian & Barber 2017, with the expert of Dong et al. 2023 ("RAFT") and of every best-of-n: to choose the best of
K. The apprentice clones it, −log π of the best episode's choices, and so the next K are better. No value, no
advantage, no ratio; and no KL either: it goes as far from where it began as the best of K is, again and again. What
we do differently: of equals all are the best, each update is one pass over what was just lived, and nothing is learnt
from a group in which all are equal.
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
from retorno.core.hyperparameters import Count, UnitInterval, hyperparameters
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep, Trajectory, several
from retorno.networks import MLP, NetworkConfig, policy_head
from retorno.ops.distributions import log_probs_and_entropies
from retorno.ops.groups import best_of_group, episode_return
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend
from retorno.policies.acting import choose_and_record, read_and_record, recorded_by
from retorno.replay.held_rows import HeldRows, episodes_batch


class ExpertIterationLearner(NamedTuple):
    """Everything that changes while expert iteration learns."""

    network: Policy
    optimiser: optax.OptState
    held: HeldRows
    clock: Clock


@hyperparameters
class ExpertIteration:
    """Expert iteration on the best of K (Dong et al. 2023). Actions: Discrete, MultiDiscrete, Box."""

    SMALL: ClassVar[dict[str, Any]] = {"longest_episode": 12, "group": 2}

    network: NetworkConfig = field(default_factory=MLP)
    """The policy's network."""
    num_envs: Count = 32
    """Environments that act side by side."""
    group: Count = 4
    """K, of how many neighbouring environments' episodes the best is cloned."""
    rollout: Count = 128
    """Interactions of each environment between two updates, which use all episodes that ended in them."""
    longest_episode: Count = 500
    """Rows of an episode under way that are held; of a longer episode only the last so many are learnt from. None are
    held where environments keep together and each rollout is of whole episodes."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(1e-3, max_gradient_norm=0.5))
    """How a gradient becomes a step."""
    discount: UnitInterval = 1.0
    """γ, of an episode's return."""

    @property
    def seeds_batch(self) -> bool:
        return episodes_batch(self.network, self.longest_episode, self.rollout)

    def init(self, key: Key[Array, ""], spec: Spec) -> ExpertIterationLearner:
        require_groups("ExpertIteration", spec, self.group, self.rollout)
        network = self.network.build(key, spec.observation_space, {"policy": policy_head(spec.action_space)})
        return ExpertIterationLearner(
            network=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            held=HeldRows.for_episodes(spec, self.longest_episode, self.rollout, recorded_by(network, spec)),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: ExpertIterationLearner) -> Carry:
        return learner.network.initial_carry()

    def act(
        self, learner: ExpertIterationLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        return choose_and_record(learner.network, row, carry, key)

    def read(self, learner: ExpertIterationLearner, rows: TimeStep, carry: Carry) -> tuple[PyTree[Any], Carry]:
        return read_and_record(learner.network, rows, carry)

    def policy(self, learner: ExpertIterationLearner) -> Policy:
        return learner.network

    def update(
        self, learner: ExpertIterationLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[ExpertIterationLearner, Metrics]:
        lived, counts = learner.held.whole_episodes(trajectory, reward)
        last = lived.steps.last[1:]
        ends = counts & last
        returns = jax.vmap(episode_return, in_axes=(1, 1, None), out_axes=1)(
            lived.steps.reward[1:], last, self.discount
        )
        best = counts & over_groups(_expert, self.group)(returns, ends)
        (_, metrics), gradient = jax.value_and_grad(_loss, has_aux=True)(learner.network, lived, best)
        network, optimiser = descend(
            self.optimiser, learner.network, gradient, learner.optimiser, learner.clock.progress
        )
        keep = lambda new, old: jax.tree.map(lambda n, o: jnp.where(best.any(), n, o), new, old)  # noqa: E731
        return ExpertIterationLearner(
            network=keep(network, learner.network),
            optimiser=keep(optimiser, learner.optimiser),
            held=learner.held.after(trajectory),
            clock=learner.clock.advance(trajectory),
        ), metrics | {
            "best_return": masked_mean(returns, best & ends),
            "forgotten": learner.held.forgotten(trajectory),
        }


def _expert(returns: Float[Array, "R K"], ends: Bool[Array, "R K"]) -> Bool[Array, "R K"]:
    """The best of a group, where there is a difference."""
    worst = jnp.where(ends, returns, jnp.inf).min()
    return best_of_group(returns, ends) & (returns > worst)


def _loss(network: Policy, lived: Trajectory, best: Bool[Array, "R B"]) -> tuple[Float[Array, ""], Metrics]:
    """Minus the mean log-probability of the best episodes' choices."""
    rows = jax.tree.map(lambda x: x[:-1], lived.steps)
    heads = unroll_batch(network, rows.obs, rows.first)
    log_prob, entropy = log_probs_and_entropies(heads["policy"], rows.legal, lived.action)
    choices = best & several(rows.legal)
    loss = -masked_mean(log_prob, choices)
    return loss, {"loss": loss, "entropy": masked_mean(entropy, choices)}
