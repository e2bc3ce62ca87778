"""Proximal policy optimisation.

Schulman, Wolski, Dhariwal, Radford & Klimov 2017, with the details of Huang et al. 2022 ("The 37
implementation details of PPO"). What we do differently: values are computed in one batched pass at
the update where acting would have to compute them for that alone; a time limit's final row is bootstrapped with its own
memory; and one `update` shuffles single transitions for a network of finite context and whole sequences for any other.
A2C (Mnih et al. 2016) is a special case of it (Huang et al. 2022b) and stands at the end.
"""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, Key, PyTree

from retorno.algorithms.imitation.behaviour_cloning import cloning_loss
from retorno.algorithms.imitation.mixing import Mix, Mixed, begin
from retorno.core.hyperparameters import (
    Among,
    Between,
    Count,
    Discount,
    Finite,
    Lambda,
    NonNegative,
    Positive,
    UnitInterval,
    hyperparameters,
    preset,
)
from retorno.core.policy import (
    Carry,
    Metrics,
    Policy,
    Reward,
    foresee_batch,
    initial_carries,
    sequences,
    unroll_batch,
    unroll_in_parts,
    with_newest,
)
from retorno.core.spaces import Spec
from retorno.core.time_step import AnyTree, Clock, Legal, TimeStep, Trajectory
from retorno.networks import MLP, BoxPolicy, NetworkConfig, ValueHead, policy_head, with_spread
from retorno.networks.normalisers import ObservationNormaliser, RewardNormaliser, normalised
from retorno.ops.distributions import log_probs_and_entropies
from retorno.ops.minibatches import equal_parts, in_parts, shuffled, subset
from retorno.ops.objectives import (
    clipped_policy_gradient,
    clipped_value_error,
    dual_clipped_policy_gradient,
    linear,
    masked_mean,
    masked_standardise,
    masked_variance,
)
from retorno.ops.optimisers import Adam, Optimiser, RMSprop, descend, polyak
from retorno.ops.returns import gae, importance_weight
from retorno.policies.acting import choose_and_record, memory_alone, noise_beside, read_and_record

VALUE = "value"
"""The critic's head."""


class PPOLearner(NamedTuple):
    """Everything that changes while PPO learns."""

    network: Policy
    optimiser: optax.OptState
    observations: ObservationNormaliser | None
    rewards: RewardNormaliser | None
    clock: Clock
    memory: Carry
    """[B], the whole network's memory before the next rollout, where acting carries a part of it alone; () where acting
    carries all of it, None where each rollout begins all episodes anew."""
    average: Policy | None
    """The network with its weights averaged over updates; None where none is asked for."""
    mixed: Mixed | None
    """How far demonstrations are read; None where none are mixed in."""


class _Rows(NamedTuple):
    """What the loss reads, [T, B]."""

    obs: PyTree[Any]
    first: Bool[Array, "T B"]
    legal: Legal
    action: PyTree[Any]
    log_prob: Float[Array, "T B"]
    value: Float[Array, "T B"]
    advantage: Float[Array, "T B"]
    transitions: Bool[Array, "T B"]
    choices: Bool[Array, "T B"]


@hyperparameters
class PPO:
    """Proximal policy optimisation (Schulman et al. 2017). Actions of every kind."""

    SMALL: ClassVar[dict[str, Any]] = {"epochs": 2, "minibatches": 2}

    network: NetworkConfig = field(default_factory=MLP)
    """The policy's and the value's network."""
    num_envs: Count = 8
    """Environments that act side by side."""
    rollout: Annotated[Count, Among((32, 64, 128, 256, 512, 1024))] = 256
    """Interactions of each environment between two updates."""
    epochs: Annotated[Count, Between(1, 20)] = 10
    """Passes over each rollout."""
    minibatches: Annotated[Count | None, Among((4, 8, 16, 32, 64, 128))] = None
    """Gradient steps in each pass. None for 32, or as many as divide what a network with a memory learns from: one
    sequence for each environment."""
    at_once: Count | None = None
    """Of how many of a minibatch (transitions, or sequences with a memory) the gradient is computed at once; None for
    all. It needs less memory, and on a CPU convolutions are faster where what they make stays in its cache."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(3e-4, max_gradient_norm=0.5, eps=1e-5))
    """How a gradient becomes a step. This clipping and this ε matter (Huang et al. 2022): give them to another too."""
    discount: Discount = 0.99
    """γ"""
    lambda_: Lambda = 0.95
    """λ of generalised advantage estimation."""
    clip: Annotated[Positive, Among((0.1, 0.2, 0.3, 0.4))] = 0.2
    """ε, how far the new policy's probability ratio counts."""
    anneal_clip: bool = False
    """Let the clip fall to 0 over the run."""
    dual_clip: Positive | None = None
    """c, how much more than usual a bad action that became likelier may weigh, 3 in Ye et al. 2020; None for any."""
    target_kl: Positive | None = None
    """An update ends where the policy has moved this far, in nats; None to take all gradient steps. From OpenAI's
    Spinning Up, half as much again being allowed."""
    box: BoxPolicy = BoxPolicy.gaussian
    """How real numbers are drawn."""
    initial_log_std: Finite | None = None
    """log σ before learning, of a gaussian policy or of each weight of a state-dependent one's noise; None for 0 there,
    for −2 here."""
    noise_period: Count = 1
    """Steps for which an actor draws from the same noise: with `state_dependent` the same state gets the same action
    so long, and what is done is smooth."""
    value_clip: Positive | None = None
    """How far a value may move in one update; None for any distance."""
    value_coefficient: NonNegative = 0.5
    """Weight of the value's loss."""
    entropy_coefficient: Annotated[NonNegative, Among((0.0, 1e-4, 1e-3, 0.01, 0.03, 0.1))] = 0.0
    """Weight of the entropy bonus."""
    anneal_entropy: bool = False
    """Let that weight fall to 0 over the run."""
    normalise_advantages: bool = True
    """Standardise the advantages of each minibatch."""
    normalise_observations: bool = False
    """Standardise Box observations by their running mean and variance."""
    average: UnitInterval | None = None
    """How much of the averaged weights stays at each update, .992 at OpenAI: the policy after training has these. None
    for the newest ones."""
    mix: Mix | None = None
    """Demonstrations from which each gradient step learns as well ("PPO-ptx", Ouyang et al. 2022, eq. 2); None for
    none."""
    normalise_rewards: bool = False
    """Divide rewards by the running standard deviation of the discounted return."""

    def init(self, key: Key[Array, ""], spec: Spec) -> PPOLearner:
        heads = {"policy": policy_head(spec.action_space, self.box), VALUE: ValueHead()}
        network = self.network.build(key, spec.observation_space, heads)
        equal_parts(self.minibatches, network.context, self.rollout, spec.num_envs)
        if self.initial_log_std is not None:
            network = with_spread(network, self.initial_log_std)
        return PPOLearner(
            network=network,
            optimiser=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            observations=ObservationNormaliser.start(spec.observation_space) if self.normalise_observations else None,
            rewards=RewardNormaliser.start(spec.num_envs) if self.normalise_rewards else None,
            clock=Clock.start(spec.steps),
            memory=_memory_beside(network, spec),
            average=None if self.average is None else network,
            mixed=None if self.mix is None else begin(self.mix, spec, jax.random.fold_in(key, 1)),
        )

    def initial_carry(self, learner: PPOLearner) -> Carry:
        return noise_beside(learner.network.select("policy").initial_carry(), self.noise_period)

    def act(
        self, learner: PPOLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        policy, beside = _acting(learner)
        return choose_and_record(policy, row, carry, key, period=self.noise_period, beside=beside)

    def read(self, learner: PPOLearner, rows: TimeStep, carry: Carry) -> tuple[PyTree[Any], Carry]:
        policy, beside = _acting(learner)
        extras, memory = read_and_record(policy, rows, memory_alone(carry, self.noise_period), beside)
        if carry is None or self.noise_period == 1:
            return extras, noise_beside(memory, self.noise_period)
        return extras, (memory, carry[1])

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Hyperparameters that change nothing with these: before a first gradient step no ratio is clipped."""
        return ("clip",) if self.epochs == self.minibatches == 1 else ()

    def policy(self, learner: PPOLearner) -> Policy:
        return normalised(learner.network if learner.average is None else learner.average, learner.observations)

    def update(
        self, learner: PPOLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[PPOLearner, Metrics]:
        steps, transitions = trajectory.steps, trajectory.transitions
        normaliser = learner.observations
        network: Policy = normalised(learner.network, normaliser)
        paid, rewards = reward(trajectory), learner.rewards
        if rewards is not None:
            paid, rewards = rewards(trajectory, paid, self.discount)

        memory = learner.memory
        carry = memory_alone(trajectory.carry, self.noise_period) if memory == () else memory
        if VALUE in trajectory.extras:
            value = with_newest(network, VALUE, trajectory.extras[VALUE], steps.obs, steps.first, carry)
        else:
            value = unroll_in_parts(network, steps.obs, steps.first, carry, self.at_once)[VALUE]
        advantage = jax.vmap(gae, in_axes=(1, 1, 1, 1, 1, None), out_axes=1)(
            paid, self.discount * steps.discount[1:], value[:-1], value[1:], steps.last[1:], self.lambda_
        )
        rows = _Rows(
            obs=jax.tree.map(lambda x: x[:-1], steps.obs),
            first=steps.first[:-1],
            legal=jax.tree.map(lambda x: x[:-1], steps.legal),
            action=trajectory.action,
            log_prob=trajectory.extras["log_prob"],
            value=value[:-1],
            advantage=advantage,
            transitions=transitions,
            choices=trajectory.choices,
        )
        if jax.tree.leaves(memory):
            memory = jax.vmap(network.read, in_axes=(1, 1, 0))(rows.obs, rows.first, memory)
        rows, carry = sequences(network, rows, carry)
        rows = rows._replace(obs=foresee_batch(network, rows.obs, rows.first, carry))
        progress = learner.clock.progress
        network, optimiser, mixed, metrics = self._optimise(learner, rows, carry, progress, key)

        if normaliser is not None:
            normaliser = normaliser.update(jax.tree.map(lambda x: x[:-1], steps.obs))
        target = advantage + value[:-1]
        metrics["explained_variance"] = 1 - masked_variance(advantage, transitions) / (
            masked_variance(target, transitions) + 1e-8
        )
        average = learner.average
        if average is not None and self.average is not None:
            average = polyak(average, network, 1 - self.average)
        clock = learner.clock.advance(trajectory)
        return PPOLearner(network, optimiser, normaliser, rewards, clock, memory, average, mixed), metrics

    def _optimise(
        self, learner: PPOLearner, rows: _Rows, carry: Carry, progress: Float[Array, ""], key: Key[Array, ""]
    ) -> tuple[Policy, optax.OptState, Mixed | None, Metrics]:
        """Epochs of shuffled minibatches; metrics are means over all of them."""
        clip = linear(self.clip, 0.0 if self.anneal_clip else None, progress)
        entropy = linear(self.entropy_coefficient, 0.0 if self.anneal_entropy else None, progress)

        def step(state: tuple[Policy, optax.OptState, Mixed | None, Bool[Array, ""]], chosen: Array | None):
            network, optimiser, mixed, going = state
            batch, memory = subset(rows, carry, chosen)

            def of_part(part: Array | None) -> Any:
                def loss(network: Policy) -> tuple[Float[Array, ""], Metrics]:
                    network = normalised(network, learner.observations)
                    return self._loss(network, *subset(batch, memory, part), batch, clip, entropy)

                return jax.value_and_grad(loss, has_aux=True)(network)

            (_, metrics), gradient = in_parts(of_part, batch.first.shape[1], self.at_once)
            if self.mix is not None and mixed is not None:
                mixed, shown = mixed.drawn(self.mix.columns)

                def beside(network: Policy) -> Float[Array, ""]:
                    return cloning_loss(normalised(network, learner.observations).select("policy"), shown)[0]

                metrics["demonstrations_loss"], more = jax.value_and_grad(beside)(network)
                weight = self.mix.coefficient
                gradient = jax.tree.map(lambda own, more: own + weight * more, gradient, more)
            before = network, optimiser
            network, optimiser = descend(self.optimiser, network, gradient, optimiser, progress)
            if self.target_kl is not None:
                going &= metrics["kl"] <= 1.5 * self.target_kl
                network, optimiser = _where(going, (network, optimiser), before)
            return (network, optimiser, mixed, going), metrics

        minibatches = equal_parts(self.minibatches, learner.network.context, *rows.first.shape)
        chosen = shuffled(key, rows.first.shape[1], self.epochs, minibatches)
        state = (learner.network, learner.optimiser, learner.mixed, jnp.array(True))
        (network, optimiser, mixed, _), metrics = jax.lax.scan(step, state, chosen, length=self.epochs * minibatches)
        # Before the first step the policy is the one that acted: the ratio is 1, or log-probabilities differ.
        first = metrics.pop("ratio")[0]
        return network, optimiser, mixed, {name: x.mean() for name, x in metrics.items()} | {"first_ratio": first}

    def _loss(
        self,
        network: Policy,
        rows: _Rows,
        carry: Carry,
        whole: _Rows,
        clip: Float[Array, ""],
        entropy_coefficient: Float[Array, ""],
    ) -> tuple[Float[Array, ""], Metrics]:
        """Of some rows of a whole minibatch, their share of its losses and metrics, which are means over all of it."""
        heads = unroll_batch(network, rows.obs, rows.first, carry)
        over_rows = lambda f: jax.vmap(jax.vmap(f))  # noqa: E731
        log_prob, entropy = log_probs_and_entropies(heads["policy"], rows.legal, rows.action)
        ratio = over_rows(importance_weight)(log_prob, rows.log_prob)
        advantage = rows.advantage
        if self.normalise_advantages:
            advantage = masked_standardise(advantage, rows.choices, (whole.advantage, whole.choices))
        clipped = clipped_policy_gradient
        if self.dual_clip is not None:
            clipped = partial(dual_clipped_policy_gradient, most=self.dual_clip)
        policy_losses = over_rows(lambda r, a: clipped(r, a, clip))(ratio, advantage)

        target = rows.value + rows.advantage
        value_clip = jnp.inf if self.value_clip is None else self.value_clip
        value_losses = over_rows(lambda v, old, y: clipped_value_error(v, old, y, value_clip))(
            heads[VALUE], rows.value, target
        )
        over_choices = lambda x: masked_mean(x, rows.choices, whole.choices)  # noqa: E731
        policy_loss, mean_entropy = over_choices(policy_losses), over_choices(entropy)
        value_loss = masked_mean(value_losses, rows.transitions, whole.transitions)
        loss = policy_loss + self.value_coefficient * value_loss - entropy_coefficient * mean_entropy
        return loss, {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": mean_entropy,
            "ratio": over_choices(ratio),
            # Schulman 2020, "Approximating KL divergence": never negative, low variance.
            "kl": over_choices(ratio - 1 - (log_prob - rows.log_prob)),
            "clip_fraction": over_choices((jnp.abs(ratio - 1) > clip).astype(jnp.float32)),
        }


def _where(condition: Bool[Array, ""], new: AnyTree, old: AnyTree) -> AnyTree:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), new, old)


def A2C(**settings: Any) -> PPO:
    """Advantage actor–critic (Mnih et al. 2016): one gradient step on each rollout, where no ratio is clipped yet."""
    # Under the root this ε holds back what makes small gradients: MountainCar's stayed with a worse policy.
    step = RMSprop(7e-4, decay=0.99, eps=1e-5, eps_under_root=False, centred=False, max_gradient_norm=0.5)
    own = {"rollout": 5, "epochs": 1, "minibatches": 1, "lambda_": 1.0, "normalise_advantages": False}
    return preset(PPO, settings, **own, optimiser=step)


def _acting(learner: PPOLearner) -> tuple[Policy, tuple[str, ...]]:
    """What chooses, with the newest weights, and what is recorded beside its choices: values, where they cost nothing.

    That is where the critic has but its last layer for itself. Else it rests; so it does where a memory has no end, as
    the value of the newest row needs the memory before it, which would have to be read again.
    """
    network = learner.network
    chooses, weights = network.select("policy"), lambda of: sum(x.size for x in jax.tree.leaves(of))
    shares = network.context is not None and 4 * (weights(network) - weights(chooses)) < weights(chooses)
    return normalised(network if shares else chooses, learner.observations), (VALUE,) if shares else ()


def _memory_beside(network: Policy, spec: Spec) -> Carry:
    """What a learner keeps of a network's memory; see `PPOLearner.memory`."""
    if spec.whole:
        return None
    return () if _acts_with_all(network) else initial_carries(network, spec.num_envs)


def _acts_with_all(network: Policy) -> bool:
    """Whether acting remembers all that the network does: no critic has a memory of its own."""
    acting = network.select("policy").initial_carry()
    return jax.tree.structure(acting) == jax.tree.structure(network.initial_carry())
