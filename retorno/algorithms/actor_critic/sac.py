"""Soft actor–critic.

Haarnoja, Zhou, Abbeel & Levine 2018; with the automatic temperature of Haarnoja et al. 2018, "Soft actor–critic
algorithms and applications"; over finitely many actions Christodoulou 2019, whose expectations are sums. What we do
differently: windows of rows are replayed from a ring that stores each observation once; one `update` learns from
single transitions and, with a memory, from sequences; of finitely many actions only the legal ones' entropy is asked.

What came after it is the same method with other critics, and stands at the end of this file: TQC, REDQ, DroQ, CrossQ,
QR-SAC, SimBa.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces
from jax import Array
from jaxtyping import Float, Key, PyTree

from retorno.core.counter import Countdown
from retorno.core.hyperparameters import (
    BatchSize,
    Count,
    Discount,
    Finite,
    Positive,
    TargetStep,
    UnitInterval,
    Whole,
    hyperparameters,
    preset,
)
from retorno.core.policy import Carry, Metrics, Policy, Reward, unroll_batch
from retorno.core.scalar import Scalar
from retorno.core.spaces import SpaceError, Spec, require_bounded, require_one_player, require_windows
from retorno.core.time_step import Clock, Legal, TimeStep, Trajectory, before_and_after, one_after_another
from retorno.networks import (
    MLP,
    Activation,
    BatchRenormMLP,
    CategoricalHead,
    Critics,
    NetworkConfig,
    SimBa,
    SquashedGaussianHead,
    StateDependentHead,
    critics,
    with_spread,
)
from retorno.networks.batch_renorm import follow, learning, still
from retorno.networks.chance import drawn
from retorno.networks.critics import Valued
from retorno.networks.ensembles import Ensemble, Least, LeastQuantiles, Truncated
from retorno.networks.network import longest_context
from retorno.networks.normalisers import ObservationNormaliser, normalised
from retorno.ops.distributions import Categorical, Distribution, evenly, uniform_sample
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, AdamW, Optimiser, descend, polyak
from retorno.ops.returns import backup, expectation
from retorno.policies.acting import noise_beside
from retorno.replay import Replay, ReplayConfig, UniformReplay, ring, sequence_priority
from retorno.replay.learning import (
    Lesson,
    actor_memory,
    critics_memory,
    gradient_steps,
    lesson,
    next_heads,
    recorded,
)

FINITE_SHARE = 0.89
"""Of the entropy of choosing evenly, what is asked of finitely many actions: Huang et al. 2022 (CleanRL); .98 in
Christodoulou 2019, which leaves little to learn."""


class SACLearner(NamedTuple):
    """Everything that changes while SAC learns."""

    actor: Policy
    critics: Critics
    target: Critics
    log_temperature: Float[Array, ""]
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState
    temperature_optimiser: optax.OptState
    observations: ObservationNormaliser | None
    replay: Replay
    actor_due: Countdown
    clock: Clock


class _Acting(NamedTuple):
    """What a step of the actor changes."""

    actor: Policy
    actor_optimiser: optax.OptState
    log_temperature: Float[Array, ""]
    temperature_optimiser: optax.OptState


@hyperparameters
class SAC:
    """Soft actor–critic (Haarnoja et al. 2018), with automatic temperature. Actions: Box with bounds, Discrete."""

    SMALL: ClassVar[dict[str, Any]] = {"batch_size": 4, "capacity": 64, "learning_starts": 8, "gradient_steps": 1}

    network: NetworkConfig = field(
        default_factory=lambda: MLP(hidden=(256, 256), activation=Activation.relu, orthogonal=False)
    )
    """The actor's network."""
    critic_network: NetworkConfig | None = None
    """Each critic's network; None for one like the actor's."""
    ensemble: Ensemble = field(default_factory=Least)
    """How many critics there are, and what they say together."""
    num_envs: Count = 1
    """Environments that act side by side."""
    rollout: Count = 1
    """Interactions of each environment between two updates."""
    gradient_steps: Count = 1
    """Gradient steps in each update."""
    actor_period: Count = 1
    """Gradient steps of the critics to one of the actor and the temperature."""
    batch_size: BatchSize = 256
    """Windows in each gradient step."""
    length: Count = 1
    """Rows of a window that are learnt from: for a network with a memory more than one."""
    burn_in: Whole = 0
    """Rows before those that a network with a memory reads first, without learning from them."""
    stored_carry: bool = True
    """Keep the actor's memory beside each row for a window to begin with; else, as the critics', an empty one."""
    replay: ReplayConfig = field(default_factory=UniformReplay)
    """Which windows are drawn."""
    capacity: Count = 1_000_000
    """Transitions that the replay holds."""
    learning_starts: Whole = 100
    """Environment steps before the first gradient step, with actions drawn evenly."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(3e-4))
    """How a gradient becomes a step, of the actor and the temperature."""
    critic_optimiser: Optimiser | None = None
    """The same of the critics; None for as the actor's."""
    target_step: TargetStep = 0.005
    """τ, how far the target follows the critics after each gradient step."""
    target_network: bool = True
    """Learn from critics that follow slowly; else from the very critics, which judge what was done and what comes next
    in one batch (Bhatt et al. 2024): for networks with batch renormalisation."""
    moments_step: UnitInterval = 0.01
    """How far running moments of batch renormalisation follow those of each batch."""
    discount: Discount = 0.99
    """γ"""
    temperature: Positive = 1.0
    """α, what a unit of entropy is worth in rewards, at first."""
    automatic: bool = True
    """Move the temperature so that the entropy becomes the target entropy."""
    target_entropy: float | None = None
    """The entropy to become; None for −1 in each component of a Box, .89 of the most that finitely many can have."""
    normalise_observations: bool = False
    """Standardise Box observations by their running mean and variance."""
    state_dependent: bool = False
    """Draw real numbers with noise that is a linear function of what the actor's network makes of the row (Raffin et
    al. 2022, gSDE), not from a spread that it says."""
    initial_log_std: Finite | None = None
    """log σ of each weight of that noise before learning; None for −2."""
    noise_period: Count = 1
    """Steps for which the actor draws from the same noise: so long the same state gets the same action."""

    def init(self, key: Key[Array, ""], spec: Spec) -> SACLearner:
        require_windows(spec, "SAC")
        require_one_player(spec, "SAC", "it would give the opponent's entropy to the player")
        space, observed = spec.action_space, spec.observation_space
        if isinstance(space, spaces.Discrete):
            head, action = CategoricalHead(int(space.n)), jnp.int32(0)
        else:
            action = jnp.zeros(require_bounded(space, "SAC").shape)
            own = SquashedGaussianHead(action.size)
            head = StateDependentHead(action.size, squashed=True, learn_features=True) if self.state_dependent else own
        for_actor, for_critics = jax.random.split(key)
        actor = self.network.build(for_actor, observed, {"policy": head})
        if self.initial_log_std is not None:
            actor = with_spread(actor, self.initial_log_std)
        members, judges = self.ensemble.members, self.critic_network or self.network
        judging = critics(for_critics, judges, members, self.ensemble.head(space), observed, space)
        if not self.target_network:
            _require_one_batch(judging, actor)
        read = self._read(actor, judging)
        rows = ring(
            spec.row,
            action,
            num_envs=spec.num_envs,
            capacity=self.capacity,
            rollout=self.rollout,
            extras=recorded(actor, spec, self.stored_carry),
            length=read + self.length,
            learnt=range(read, read + self.length),
        )
        log_temperature = jnp.log(jnp.float32(self.temperature))
        begin = lambda optimiser, of: optimiser.build().init(of)  # noqa: E731
        return SACLearner(
            actor=actor,
            critics=judging,
            target=judging,
            log_temperature=log_temperature,
            actor_optimiser=begin(self.optimiser, actor),
            critic_optimiser=begin(self.critic_optimiser or self.optimiser, judging),
            temperature_optimiser=begin(self.optimiser, log_temperature),
            observations=ObservationNormaliser.start(observed) if self.normalise_observations else None,
            replay=self.replay.over(rows),
            actor_due=Countdown.start(self.actor_period),
            clock=Clock.start(spec.steps),
        )

    def initial_carry(self, learner: SACLearner) -> Carry:
        return noise_beside(learner.actor.initial_carry(), self.noise_period)

    def act(
        self, learner: SACLearner, row: TimeStep, carry: Carry, key: Key[Array, ""]
    ) -> tuple[Any, PyTree[Any], Carry]:
        for_policy, for_start = jax.random.split(key)
        noise = None
        if self.noise_period > 1:
            carry, held = carry
            noise = held.on(row.first, self.noise_period, for_policy)
            for_policy = noise.key
        heads, after = normalised(learner.actor, learner.observations).step(row.obs, row.first, carry)
        policy = heads["policy"].masked(row.legal)
        learnt, evenly = policy.sample_and_log_prob(for_policy), uniform_sample(policy, for_start)
        started = learner.clock.step.reaches(self.learning_starts)
        action, log_prob = jax.tree.map(lambda x, y: jnp.where(started, x, y), learnt, evenly)
        extras = {"carry": carry, "log_prob": log_prob}
        kept = {name: extras[name] for name in learner.replay.ring.extras}
        return action, kept, after if noise is None else (after, noise)

    def policy(self, learner: SACLearner) -> Policy:
        actor = learner.actor
        if learner.critics.finite:
            actor = Valued(actor, learner.critics, self.ensemble)
        return normalised(actor, learner.observations)

    def update(
        self, learner: SACLearner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[SACLearner, Metrics]:
        observations, clock = learner.observations, learner.clock.advance(trajectory)
        if observations is not None:
            observations = observations.update(jax.tree.map(lambda x: x[:-1], trajectory.steps.obs))
        learner = learner._replace(observations=observations, replay=learner.replay.add(trajectory), clock=clock)
        step = lambda learner, key: self._gradient_step(learner, reward, key)  # noqa: E731
        return gradient_steps(step, learner, self.gradient_steps, clock.step.reaches(self.learning_starts), key)

    def _gradient_step(self, learner: SACLearner, reward: Reward, key: Key[Array, ""]) -> tuple[SACLearner, Metrics]:
        for_window, for_target, for_actor, for_critics = jax.random.split(key, 4)
        progress = learner.clock.progress
        window = learner.replay.sample(for_window, self.batch_size, progress)
        rows = lesson(window.trajectory, self._read(learner.actor, learner.critics), reward, learner.observations)
        memory = actor_memory(learner.actor, window, rows, learner.observations)

        if self.target_network:
            target, entropy = self._target(learner, rows, memory, for_target)
            carry = critics_memory(learner.critics, rows)
            judge = lambda critics: (self._taken(critics, rows, carry), target, entropy)  # noqa: E731
        else:
            judge = lambda critics: self._now_and_next(critics, learner, rows, for_target)  # noqa: E731

        def loss(critics: Critics) -> tuple[Float[Array, ""], tuple[Array, Array, Array]]:
            q, target, entropy = judge(learning(drawn(critics, for_critics)))
            error_loss, told = self._critic_loss(q, target, rows, window.weight)
            return error_loss, (*told, entropy)

        (error_loss, (q, priority, entropy)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.critics)
        optimiser = self.critic_optimiser or self.optimiser
        improved, state = descend(optimiser, learner.critics, still(gradient), learner.critic_optimiser, progress)
        improved = follow(improved, gradient, self.moments_step)
        due, countdown = learner.actor_due.advance(jnp.int32(1), self.actor_period)
        learner = learner._replace(
            critics=improved,
            target=polyak(learner.target, improved, self.target_step) if self.target_network else improved,
            critic_optimiser=state,
            replay=learner.replay.update(window.index, priority),
            actor_due=countdown,
        )
        changed = _Acting(
            learner.actor, learner.actor_optimiser, learner.log_temperature, learner.temperature_optimiser
        )
        improve = lambda: self._actor_step(learner, rows, memory, for_actor)  # noqa: E731
        changed = improve() if self.actor_period == 1 else jax.lax.cond(due, improve, lambda: changed)
        told = {
            "loss": error_loss,
            "q": q,
            "entropy": masked_mean(entropy, rows.transitions),
            "temperature": jnp.exp(changed.log_temperature),
        }
        return learner._replace(**changed._asdict()), told

    def _target(
        self, learner: SACLearner, rows: Lesson, memory: Carry, key: Key[Array, ""]
    ) -> tuple[Float[Array, "L N m"], Float[Array, "L N"]]:
        """The target r + γ (Q′ + α H) of each transition, and the entropy H; Haarnoja et al. 2018, eq. 2 and 3."""
        for_rows, for_critics, for_layers = jax.random.split(key, 3)
        steps, (_, after) = rows.steps, before_and_after(rows.steps)
        policy = next_heads(learner.actor, steps, memory)["policy"]
        target = drawn(learner.target, for_layers)
        carry = target.before(steps.obs, steps.first, rows.padded_action, critics_memory(target, rows))
        together = lambda q: self.ensemble.target(q, for_critics)  # noqa: E731
        q, entropy = _judged(target, together, policy, after, jax.tree.map(lambda x: x[1:], carry), for_rows)
        return self._backed_up(learner, rows, q, entropy), entropy

    def _backed_up(
        self, learner: SACLearner, rows: Lesson, q: Float[Array, "L N m"], entropy: Float[Array, "L N"]
    ) -> Float[Array, "L N m"]:
        value = q + jnp.exp(learner.log_temperature) * entropy[..., None]
        of_each = jax.vmap(backup, (None, None, -1), -1)
        return jax.lax.stop_gradient(of_each(rows.reward, self.discount * rows.steps.discount[1:], value))

    def _now_and_next(
        self, critics: Critics, learner: SACLearner, rows: Lesson, key: Key[Array, ""]
    ) -> tuple[Float[Array, "K L N *M"], Float[Array, "L N m"], Float[Array, "L N"]]:
        """What was done and what comes next in one batch, and the target of it: Bhatt et al. 2024, eq. 3."""
        for_rows, for_critics = jax.random.split(key)
        now, after = before_and_after(rows.steps)
        policy = unroll_batch(learner.actor, after.obs, after.first, ())["policy"]
        keys = jax.random.split(for_rows, after.last.shape)
        action, log_prob = jax.vmap(jax.vmap(lambda policy, key: policy.sample_and_log_prob(key)))(policy, keys)
        both = lambda x, y: jax.tree.map(lambda x, y: jnp.concatenate([x, y], 1), x, y)  # noqa: E731
        (obs, first), taken = both((now.obs, now.first), (after.obs, after.first)), both(rows.action, action)
        q = critics.taken(obs, first, taken)
        q, next_q = jnp.split(q, 2, axis=2)
        together = lambda q: jnp.atleast_1d(self.ensemble.target(q, for_critics))  # noqa: E731
        value = jax.vmap(jax.vmap(together, 1), 1)(next_q)
        return q, self._backed_up(learner, rows, value, -log_prob), -log_prob

    def _taken(self, critics: Critics, rows: Lesson, carry: Carry) -> Float[Array, "K L N *M"]:
        now, _ = before_and_after(rows.steps)
        return critics.taken(now.obs, now.first, rows.action, carry)

    def _critic_loss(
        self, q: Float[Array, "K L N *M"], target: Float[Array, "L N m"], rows: Lesson, weight: Float[Array, " N"]
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Float[Array, " N"]]]:
        """The mean loss; the mean of what they say, and how much there was to learn from each window."""
        losses = jax.vmap(jax.vmap(self.ensemble.loss, (1, 0)), (1, 0))(q, target)
        q = q.reshape(*q.shape[:3], -1).mean((0, -1))
        priority = jax.vmap(sequence_priority, in_axes=1)(q - target.mean(-1), rows.transitions)
        return masked_mean(weight * losses, rows.transitions), (masked_mean(q, rows.transitions), priority)

    def _actor_step(self, learner: SACLearner, rows: Lesson, memory: Carry, key: Key[Array, ""]) -> _Acting:
        """One step of the actor up Q + α H (eq. 7), and one of the temperature (2018b, eq. 18)."""
        progress, temperature = learner.clock.progress, jnp.exp(learner.log_temperature)
        for_rows, for_layers = jax.random.split(key)
        critics, (now, _) = drawn(learner.critics, for_layers), before_and_after(rows.steps)
        carry = critics.before(now.obs, now.first, rows.action, critics_memory(critics, rows))

        def loss(actor: Policy) -> tuple[Float[Array, ""], Float[Array, ""]]:
            policy = unroll_batch(learning(actor), now.obs, now.first, memory)["policy"]
            q, entropy = _judged(critics, self.ensemble.judgement, policy, now, carry, for_rows)
            excess = entropy - jax.vmap(jax.vmap(self._target_entropy))(policy, now.legal)
            return -masked_mean(q.mean(-1) + temperature * entropy, rows.choices), masked_mean(excess, rows.choices)

        gradient, excess = jax.grad(loss, has_aux=True)(learner.actor)
        actor, state = descend(self.optimiser, learner.actor, still(gradient), learner.actor_optimiser, progress)
        actor = follow(actor, gradient, self.moments_step)
        log_temperature, temperature_state = learner.log_temperature, learner.temperature_optimiser
        if self.automatic:
            # Of log α: its slope is the entropy beyond what is asked for, whatever α.
            log_temperature, temperature_state = descend(
                self.optimiser, log_temperature, excess, temperature_state, progress
            )
        return _Acting(actor, state, log_temperature, temperature_state)

    def _target_entropy(self, policy: Distribution, legal: Legal) -> Scalar:
        """What the entropy is to become on one row."""
        if self.target_entropy is not None:
            return jnp.float32(self.target_entropy)
        if isinstance(policy, Categorical):
            return FINITE_SHARE * evenly(policy.masked(legal)).entropy()
        return jnp.float32(-policy.mode().size)

    def _read(self, actor: Policy, critics: Critics) -> int:
        """Rows of a window that are only read."""
        context = longest_context(actor, *critics.members)
        return self.burn_in if context is None else context


def TQC(**settings: Any) -> SAC:
    """Truncated quantile critics (Kuznetsov et al. 2020): without the largest of the quantiles of all. Actions: Box."""
    return preset(SAC, settings, ensemble=Truncated())


def QRSAC(**settings: Any) -> SAC:
    """Quantile-regression SAC (Wurman et al. 2022): critics learn how returns are distributed. Actions: Box."""
    return preset(SAC, settings, ensemble=LeastQuantiles())


def REDQ(**settings: Any) -> SAC:
    """Randomised ensembled double Q-learning (Chen et al. 2021): ten critics, twenty gradient steps to one lived."""
    return preset(SAC, settings, ensemble=Least(10, subset=2), gradient_steps=20, actor_period=20)


def DroQ(**settings: Any) -> SAC:
    """Dropout Q-functions (Hiraoka et al. 2022): what REDQ does with ten critics, with two that leave units out."""
    regularised = MLP((256, 256), Activation.relu, orthogonal=False, layer_norm=True, dropout=0.01)
    return preset(SAC, settings, critic_network=regularised, gradient_steps=20, actor_period=20)


def CrossQ(**settings: Any) -> SAC:
    """CrossQ (Bhatt et al. 2024): batch renormalisation in the place of a target network. Actions: Box.

    Critics are half as wide as in the paper, a quarter of the work, as in SBX.
    """
    own = {"network": BatchRenormMLP(), "critic_network": BatchRenormMLP((1024, 1024)), "target_network": False}
    return preset(SAC, settings, **own, optimiser=Adam(1e-3, beta1=0.5), actor_period=3)


def SimBaSAC(**settings: Any) -> SAC:
    """SAC with SimBa's networks (Lee et al. 2025), whose critics are four times as wide as the actor."""
    own = {"network": SimBa(), "critic_network": SimBa(width=512, blocks=2), "normalise_observations": True}
    return preset(SAC, settings, **own, optimiser=AdamW(1e-4))


SimBaSAC.NAME = "simba_sac"
CrossQ.NAME = "crossq"
DroQ.NAME = "droq"
QRSAC.NAME = "qr_sac"


def _require_one_batch(critics: Critics, actor: Policy) -> None:
    """Refuse critics that cannot judge what was done and what comes next in one batch.

    Raises:
        SpaceError: which says what can.
    """
    if critics.finite or longest_context(actor, *critics.members) != 0:
        raise SpaceError(
            "without a target network critics judge real numbers (Box) and networks without a memory: set "
            "target_network=True for anything else"
        )


def _judged(
    critics: Critics,
    together: Callable[[Array], Array],
    policy: Distribution,
    rows: TimeStep,
    carry: Carry,
    key: Key[Array, ""],
) -> tuple[Float[Array, "L N m"], Float[Array, "L N"]]:
    """What the policy's action is worth on rows [L, N], and −log π of it: of finitely many the expectations of both."""

    def judge(policy: Distribution, row: TimeStep, carry: Carry, key: Key[Array, ""]) -> tuple[Array, Array]:
        policy = policy.masked(row.legal)
        if isinstance(policy, Categorical):
            return expectation(policy.probs(), together(critics(row.obs, row.first, None, carry)))[
                None
            ], policy.entropy()
        action, log_prob = policy.sample_and_log_prob(key)
        return jnp.atleast_1d(together(critics(row.obs, row.first, action, carry))), -log_prob

    keys = jax.random.split(key, rows.last.size)
    q, entropy = jax.vmap(judge)(*one_after_another((policy, rows, carry)), keys)
    return q.reshape(*rows.last.shape, -1), entropy.reshape(rows.last.shape)
