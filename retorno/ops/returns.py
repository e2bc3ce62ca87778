"""The Bellman backup and the returns built from it.

Time runs along the leading axis. `reward[t]`, `discount[t]` and `next_value[t]` belong to the
transition out of row t, that is, to row t + 1; `discount` already holds γ (γ · the row's discount).
`cut[t]` says that the sequence ends after transition t (row t + 1 is `last`): what lies behind it
belongs to another episode, so a return goes on from `next_value[t]` there.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from retorno.core.scalar import Scalar
from retorno.core.time_step import Legal, allowed


def backup(
    reward: Float[Array, "*N"], discount: Float[Array, "*N"], next_value: Float[Array, "*N"]
) -> Float[Array, "*N"]:
    r"""The Bellman backup of one outcome (Sutton & Barto 2018, eq. 3.14 without its expectation).

    .. math:: y = r_{t+1} + \gamma_{t+1} v(s_{t+1})

    Args:
        reward: r, paid on the way into row t + 1. Shape [], or any that all three share.
        discount: γ times what the world says of that row: 0 where the episode terminated, −γ where an opponent
            moves next. The same shape.
        next_value: v of row t + 1, for whoever moves there. The same shape.

    Returns:
        y, what row t is worth by this outcome. The same shape.

    >>> backup(jnp.float32(1), jnp.float32(0.5), jnp.float32(4))
    Array(3., dtype=float32)
    >>> backup(jnp.float32(1), jnp.float32(-0.5), jnp.float32(4))  # The opponent gets 4 next.
    Array(-1., dtype=float32)
    """
    return reward + discount * next_value


def lambda_returns(
    reward: Float[Array, " T"],
    discount: Float[Array, " T"],
    next_value: Float[Array, " T"],
    cut: Bool[Array, " T"],
    lambda_: Scalar,
) -> Float[Array, " T"]:
    r"""The λ-return of every transition (Sutton & Barto 2018, eq. 12.2 in recursive form).

    .. math:: G^\lambda_t = r_{t+1} + \gamma_{t+1} \left[ (1 - \lambda)\, v_{t+1} + \lambda\, G^\lambda_{t+1} \right],
              \qquad G^\lambda_t = r_{t+1} + \gamma_{t+1} v_{t+1} \text{ where the sequence is cut}

    Args:
        reward: r, paid on the way into rows 1 … T. Shape [T].
        discount: γ times what the world says of those rows: 0 where the episode terminated, −γ where an opponent
            moves next. Shape [T].
        next_value: v of rows 1 … T, an episode's final row included. Shape [T].
        cut: whether rows 1 … T are `last`: the return goes on from their value, whatever lies behind. Shape [T].
        lambda_: λ in [0, 1]; 0 is the one-step target, 1 the Monte Carlo return, bootstrapped where it is cut.

    Returns:
        G of rows 0 … T−1. Shape [T].

    >>> reward, discount, value = jnp.array([1.0, 2.0]), jnp.array([0.5, 0.5]), jnp.array([20.0, 8.0])
    >>> lambda_returns(reward, discount, value, jnp.array([False, True]), 0.5)
    Array([7.5, 6. ], dtype=float32)
    """

    def step(after: Float[Array, ""], x: tuple[Array, ...]) -> tuple[Array, Array]:
        r, d, v, ends = x
        target = backup(r, d, jnp.where(ends, v, (1 - lambda_) * v + lambda_ * after))
        return target, target

    return jax.lax.scan(step, next_value[-1], (reward, discount, next_value, cut), reverse=True)[1]


def n_step_returns(
    reward: Float[Array, " T"],
    discount: Float[Array, " T"],
    next_value: Float[Array, " T"],
    cut: Bool[Array, " T"],
    n: int,
) -> Float[Array, " T"]:
    r"""The n-step return of every transition, shorter where the sequence is cut or ends (Sutton & Barto 2018, eq. 7.1).

    .. math:: G_{t:t+n} = r_{t+1} + \gamma_{t+1} r_{t+2} + \dots
              + \gamma_{t+1} \cdots \gamma_{t+n-1} (r_{t+n} + \gamma_{t+n} v_{t+n})

    Args:
        reward: r, paid on the way into rows 1 … T. Shape [T].
        discount: γ times what the world says of those rows: 0 where the episode terminated. Shape [T].
        next_value: v of rows 1 … T, an episode's final row included. Shape [T].
        cut: whether rows 1 … T are `last`: the return goes on from their value, whatever lies behind. Shape [T].
        n: how many rewards a return has at most; 1 is the target of one-step methods.

    Returns:
        G of rows 0 … T−1. Shape [T]. Only the first T − n + 1 may look n steps ahead.

    >>> n_step_returns(jnp.ones(3), jnp.ones(3), jnp.array([5.0, 6.0, 7.0]), jnp.array([False, True, False]), n=2)
    Array([8., 7., 8.], dtype=float32)
    """
    target = jax.vmap(backup)(reward, discount, next_value)
    for _ in range(n - 1):
        # One more reward in front of the target that starts a step later.
        later = jnp.concatenate([target[1:], next_value[-1:]])
        target = jax.vmap(backup)(reward, discount, jnp.where(cut, next_value, later))
    return target


def horizon(cut: Bool[Array, " n"]) -> Int[Array, ""]:
    r"""Behind which transition the first one's n-step return goes on from an estimate (Sutton & Barto 2018, chapter 7).

    .. math:: h = \min(\{k : \text{cut}_k\} \cup \{n - 1\})

    Args:
        cut: whether rows 1 … n are `last`. Shape [n].

    Returns:
        h, the first cut, or n − 1 where there is none: the value of row h + 1 is needed. Shape [].

    >>> horizon(jnp.array([False, True, True])), horizon(jnp.array([False, False, False]))
    (Array(1, dtype=int32), Array(2, dtype=int32))
    """
    return jnp.where(cut.any(), jnp.argmax(cut), cut.shape[0] - 1)


def n_step_return(
    reward: Float[Array, " n"], discount: Float[Array, " n"], value: Float[Array, ""], cut: Bool[Array, " n"]
) -> Float[Array, ""]:
    r"""The n-step return of the first transition alone (Sutton & Barto 2018, eq. 7.1).

    .. math:: G_{0:n} = r_1 + \gamma_1 r_2 + \dots + \gamma_1 \cdots \gamma_h (r_{h+1} + \gamma_{h+1} v_{h+1})

    Args:
        reward: r, paid on the way into rows 1 … n. Shape [n].
        discount: γ times what the world says of those rows: 0 where the episode terminated, −γ where an opponent
            moves next. Shape [n].
        value: v of the one row that is asked: behind the `horizon` h. Shape [].
        cut: whether rows 1 … n are `last`: the return goes on from the value there. Shape [n].

    Returns:
        G of row 0. Shape [].

    >>> n_step_return(jnp.ones(3), jnp.ones(3), jnp.float32(6), jnp.array([False, True, False]))
    Array(8., dtype=float32)
    """

    def step(after: Float[Array, ""], x: tuple[Array, Array, Array]) -> tuple[Array, None]:
        r, d, ends = x
        return backup(r, d, jnp.where(ends, value, after)), None

    return jax.lax.scan(step, value, (reward, discount, cut), reverse=True)[0]


def gae(
    reward: Float[Array, " T"],
    discount: Float[Array, " T"],
    value: Float[Array, " T"],
    next_value: Float[Array, " T"],
    cut: Bool[Array, " T"],
    lambda_: Scalar,
) -> Float[Array, " T"]:
    r"""Generalised advantage estimates (Schulman et al. 2016, eq. 16).

    .. math:: \hat A_t = \delta_t + \gamma_{t+1} \lambda\, (1 - \text{cut}_{t+1})\, \hat A_{t+1},
              \qquad \delta_t = r_{t+1} + \gamma_{t+1} v_{t+1} - v_t

    Args:
        reward: r, paid on the way into rows 1 … T. Shape [T].
        discount: γ times what the world says of those rows: 0 where the episode terminated, −γ where an opponent
            moves next. Shape [T].
        value: v of rows 0 … T−1. Shape [T].
        next_value: v of rows 1 … T, an episode's final row included. Shape [T].
        cut: whether rows 1 … T are `last`: nothing is carried over them. Shape [T].
        lambda_: λ in [0, 1]; 0 is one TD error, 1 the return minus the value.

    Returns:
        The advantages of rows 0 … T−1. Shape [T].

    >>> gae(jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0]), jnp.zeros(2), jnp.zeros(2), jnp.array([False, True]), 1.0)
    Array([1., 1.], dtype=float32)
    """
    delta = backup(reward, discount, next_value) - value
    decay = discount * lambda_ * ~cut

    def step(after: Float[Array, ""], x: tuple[Array, Array]) -> tuple[Array, Array]:
        d, k = x
        advantage = d + k * after
        return advantage, advantage

    return jax.lax.scan(step, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)[1]


class VTrace(NamedTuple):
    """What V-trace says of T rows."""

    value: Float[Array, " T"]
    """v, what the values of rows 0 … T−1 are to become."""
    advantage: Float[Array, " T"]
    """What the policy's gradient is weighed with."""


def vtrace(
    reward: Float[Array, " T"],
    discount: Float[Array, " T"],
    value: Float[Array, " T"],
    next_value: Float[Array, " T"],
    cut: Bool[Array, " T"],
    ratio: Float[Array, " T"],
    most: Scalar = 1.0,
    most_carried: Scalar = 1.0,
) -> VTrace:
    r"""Values and advantages of a policy from what a somewhat older one lived (Espeholt et al. 2018, eq. 1).

    .. math:: v_t = V_t + \rho_t \delta_t + \gamma_{t+1} c_t\, (1 - \text{cut}_{t+1})\, (v_{t+1} - V_{t+1}),
              \qquad \delta_t = r_{t+1} + \gamma_{t+1} V_{t+1} - V_t

    with :math:`\rho_t = \min(\bar\rho, \pi/\mu)` and :math:`c_t = \min(\bar c, \pi/\mu)`; the advantage is
    :math:`\rho_t (r_{t+1} + \gamma_{t+1} v_{t+1} - V_t)`. The fixed point is the value of
    :math:`\pi_{\bar\rho} \propto \min(\bar\rho \mu, \pi)`, which is π where ρ̄ is infinite.

    Args:
        reward: r, paid on the way into rows 1 … T. Shape [T].
        discount: γ times what the world says of those rows: 0 where the episode terminated, −γ where an opponent
            moves next. Shape [T].
        value: V of rows 0 … T−1. Shape [T].
        next_value: V of rows 1 … T, an episode's final row included. Shape [T].
        cut: whether rows 1 … T are `last`: nothing is carried over them. Shape [T].
        ratio: π/μ of the actions on rows 0 … T−1; see `importance_weight`. Shape [T].
        most: ρ̄: it decides which policy's values are learnt.
        most_carried: c̄, no larger: it decides how fast.

    Returns:
        Both, of rows 0 … T−1. Shapes [T].

    >>> one, none = jnp.ones(2), jnp.zeros(2)
    >>> vtrace(one, one * 0.5, none, none, jnp.array([False, True]), jnp.array([0.5, 4.0])).value
    Array([0.75, 1.  ], dtype=float32)
    """
    rho = jnp.minimum(most, ratio)
    delta = rho * (backup(reward, discount, next_value) - value)
    carried = discount * jnp.minimum(most_carried, ratio) * ~cut

    def step(after: Float[Array, ""], x: tuple[Array, Array]) -> tuple[Array, Array]:
        d, k = x
        beyond = d + k * after
        return beyond, beyond

    beyond = jax.lax.scan(step, jnp.zeros_like(delta[0]), (delta, carried), reverse=True)[1]
    next_beyond = jnp.where(cut, 0.0, jnp.append(beyond[1:], 0.0))
    return VTrace(value + beyond, rho * (backup(reward, discount, next_value + next_beyond) - value))


def importance_weight(log_prob: Float[Array, ""], behaviour_log_prob: Float[Array, ""]) -> Float[Array, ""]:
    r"""How much more likely the target policy takes an action than the behaviour (Sutton & Barto 2018, eq. 5.3).

    .. math:: \rho_t = \frac{\pi(a_t \mid s_t)}{b(a_t \mid s_t)}

    Args:
        log_prob: log π of the action on row t. Shape [].
        behaviour_log_prob: log b of it, as it was when it was drawn. Shape [].

    Returns:
        ρ, at least 0. Shape [].

    >>> importance_weight(jnp.log(jnp.float32(0.5)), jnp.log(jnp.float32(0.25)))
    Array(2., dtype=float32)
    """
    return jnp.exp(log_prob - behaviour_log_prob)


def weights_to_end(ratio: Float[Array, " T"], cut: Bool[Array, " T"]) -> Float[Array, " T"]:
    r"""How much more likely the rest of an episode is under the target policy (Sutton & Barto 2018, eq. 5.3).

    .. math:: \rho_{t:e} = \prod_{k=t}^{e-1} \rho_k \text{ with the first } e > t \text{ whose row is cut, or } T

    Args:
        ratio: ρ of the actions on rows 0 … T−1. Shape [T].
        cut: whether rows 1 … T are `last`. Shape [T].

    Returns:
        The products of rows 0 … T−1. Shape [T].

    >>> weights_to_end(jnp.array([2.0, 3.0, 5.0]), jnp.array([False, True, False]))
    Array([6., 3., 5.], dtype=float32)
    """

    def step(after: Float[Array, ""], x: tuple[Array, Array]) -> tuple[Array, Array]:
        rho, ends = x
        weight = rho * jnp.where(ends, 1.0, after)
        return weight, weight

    return jax.lax.scan(step, jnp.ones_like(ratio[0]), (ratio, cut), reverse=True)[1]


def greedy_value(q: Float[Array, " A"], legal: Legal = None) -> Float[Array, ""]:
    r"""What a state is worth to who takes its best action (Sutton & Barto 2018, eq. 3.18).

    .. math:: v(s) = \max_a q(s, a)

    Args:
        q: of each action. Shape [A].
        legal: which may be taken; None for all.

    Returns:
        v. Shape [].

    >>> greedy_value(jnp.array([1.0, 5.0, 3.0]), jnp.array([True, False, True]))
    Array(3., dtype=float32)
    """
    return jnp.max(allowed(legal, q))


def double_value(choosing: Float[Array, " A"], judging: Float[Array, " A"], legal: Legal = None) -> Float[Array, ""]:
    r"""What the best action by one estimate is worth by another of other noise (van Hasselt et al. 2016, eq. 4).

    .. math:: v(s) = q_2(s, \arg\max_a q_1(s, a))

    Args:
        choosing: q₁ of each action. Shape [A].
        judging: q₂ of each action. Shape [A].
        legal: which may be taken; None for all.

    Returns:
        v. Shape [].

    >>> double_value(jnp.array([1.0, 5.0, 3.0]), jnp.array([7.0, 2.0, 4.0]))
    Array(2., dtype=float32)
    """
    return judging[jnp.argmax(allowed(legal, choosing))]


def q_learning_target(
    reward: Float[Array, ""],
    discount: Float[Array, ""],
    next_q: Float[Array, " A"],
    legal: Legal = None,
) -> Float[Array, ""]:
    r"""What Q-learning moves q(s, a) towards (Watkins 1989; Sutton & Barto 2018, eq. 6.8).

    .. math:: y = r_{t+1} + \gamma_{t+1} \max_a q(s_{t+1}, a)

    Args:
        reward: r, paid on the way into row t + 1. Shape [].
        discount: γ times what the world says of that row. Shape [].
        next_q: of each action on row t + 1. Shape [A].
        legal: which may be taken there; None for all.

    Returns:
        y. Shape [].

    >>> q_learning_target(jnp.float32(1), jnp.float32(0.5), jnp.array([1.0, 5.0, 3.0]))
    Array(3.5, dtype=float32)
    """
    return backup(reward, discount, greedy_value(next_q, legal))


def double_q_learning_target(
    reward: Float[Array, ""],
    discount: Float[Array, ""],
    next_q_choosing: Float[Array, " A"],
    next_q_judging: Float[Array, " A"],
    legal: Legal = None,
) -> Float[Array, ""]:
    r"""What double Q-learning moves q₁(s, a) towards (van Hasselt 2010; van Hasselt et al. 2016, eq. 4).

    .. math:: y = r_{t+1} + \gamma_{t+1}\, q_2(s_{t+1}, \arg\max_a q_1(s_{t+1}, a))

    Args:
        reward: r, paid on the way into row t + 1. Shape [].
        discount: γ times what the world says of that row. Shape [].
        next_q_choosing: q₁ of each action on row t + 1. Shape [A].
        next_q_judging: q₂ of each of them. Shape [A].
        legal: which may be taken there; None for all.

    Returns:
        y. Shape [].

    >>> double_q_learning_target(jnp.float32(1), jnp.float32(0.5), jnp.array([1.0, 5.0]), jnp.array([7.0, 2.0]))
    Array(2., dtype=float32)
    """
    return backup(reward, discount, double_value(next_q_choosing, next_q_judging, legal))


def sarsa_target(
    reward: Float[Array, ""], discount: Float[Array, ""], next_q: Float[Array, " A"], next_action: Int[Array, ""]
) -> Float[Array, ""]:
    r"""What SARSA moves q(s, a) towards: by the action *really* taken next (Sutton & Barto 2018, eq. 6.7).

    .. math:: y = r_{t+1} + \gamma_{t+1}\, q(s_{t+1}, a_{t+1})

    Args:
        reward: r, paid on the way into row t + 1. Shape [].
        discount: γ times what the world says of that row. Shape [].
        next_q: of each action on row t + 1. Shape [A].
        next_action: the one taken there. Shape [].

    Returns:
        y. Shape [].

    >>> sarsa_target(jnp.float32(1), jnp.float32(0.5), jnp.array([1.0, 5.0]), jnp.int32(0))
    Array(1.5, dtype=float32)
    """
    return backup(reward, discount, next_q[next_action])


def expectation(probs: Float[Array, " A"], q: Float[Array, " A"]) -> Float[Array, ""]:
    r"""What a state is worth to a policy (Sutton & Barto 2018, exercise 3.18).

    .. math:: v(s) = \sum_a \pi(a \mid s)\, q(s, a)

    Args:
        probs: π of each action. Shape [A].
        q: of each action. Shape [A].

    Returns:
        v. Shape [].

    >>> expectation(jnp.array([0.5, 0.25, 0.25]), jnp.array([1.0, 5.0, 3.0]))
    Array(2.5, dtype=float32)
    """
    # Not a product of vectors, which is rounded otherwise when many seeds are batched.
    return jnp.sum(probs * q)


def expected_sarsa_target(
    reward: Float[Array, ""],
    discount: Float[Array, ""],
    next_q: Float[Array, " A"],
    next_probs: Float[Array, " A"],
) -> Float[Array, ""]:
    r"""What expected SARSA moves q(s, a) towards: by the mean over the next action (Sutton & Barto 2018, eq. 6.9).

    .. math:: y = r_{t+1} + \gamma_{t+1} \sum_a \pi(a \mid s_{t+1})\, q(s_{t+1}, a)

    Args:
        reward: r, paid on the way into row t + 1. Shape [].
        discount: γ times what the world says of that row. Shape [].
        next_q: of each action on row t + 1. Shape [A].
        next_probs: π of each of them. Shape [A].

    Returns:
        y. Shape [].

    >>> expected_sarsa_target(jnp.float32(1), jnp.float32(0.5), jnp.array([1.0, 5.0]), jnp.array([0.5, 0.5]))
    Array(2.5, dtype=float32)
    """
    return backup(reward, discount, expectation(next_probs, next_q))


def td_error(q: Float[Array, " A"], action: Int[Array, ""], target: Float[Array, ""]) -> Float[Array, ""]:
    r"""How far an action's estimate is from its target (Sutton & Barto 2018, eq. 6.8).

    .. math:: \delta_t = y_t - q(s_t, a_t)

    Args:
        q: of each action on row t. Shape [A].
        action: the one taken there. Shape [].
        target: y. Shape [].

    Returns:
        δ. Shape [].

    >>> td_error(jnp.array([1.0, 5.0, 3.0]), jnp.int32(2), jnp.float32(10))
    Array(7., dtype=float32)
    """
    return target - q[action]


def q_sigma_return(
    reward: Float[Array, " n"],
    discount: Float[Array, " n"],
    next_q: Float[Array, " n"],
    next_value: Float[Array, " n"],
    next_prob: Float[Array, " n"],
    cut: Bool[Array, " n"],
    sigma: Scalar,
    ratio: Float[Array, " n"] | None = None,
) -> Float[Array, ""]:
    r"""The n-step return of Q(σ): what follows is sampled with weight σ and expected with weight 1 − σ.

    .. math:: G_t = r_{t+1} + \gamma_{t+1} \left[ \sigma\, G_{t+1} + (1 - \sigma) \left( \bar v_{t+1}
              + \pi_{t+1} (G_{t+1} - q_{t+1}) \right) \right]

    on policy (De Asis et al. 2018, eq. 10), where σ = 1 is n-step SARSA and σ = 0 the tree backup. With ratios
    ρ = π/b of another behaviour the sample is corrected, v̄ + ρ(G − q) in the place of G: Sutton & Barto 2018, eq. 7.17.

    Args:
        reward: r, paid on the way into rows 1 … n. Shape [n].
        discount: γ times what the world says of those rows: 0 where the episode terminated, −γ where an opponent
            moves next. Shape [n].
        next_q: q of the actions really taken on rows 1 … n. Shape [n].
        next_value: v̄ of those rows, Σ π(a|s) q(s, a). Shape [n].
        next_prob: π of the actions really taken there. Shape [n].
        cut: whether rows 1 … n are `last`: the return goes on from q there, as at the horizon. Shape [n].
        sigma: σ in [0, 1]. Shape [].
        ratio: ρ of the actions really taken there; None on policy. Shape [n].

    Returns:
        G of row 0. Shape [].

    >>> reward, discount, cut = jnp.array([1.0, 2.0]), jnp.array([0.5, 0.5]), jnp.array([False, False])
    >>> q, value, prob = jnp.array([4.0, 8.0]), jnp.array([3.0, 6.0]), jnp.array([0.25, 0.5])
    >>> q_sigma_return(reward, discount, q, value, prob, cut, 1.0)
    Array(4., dtype=float32)
    """

    def step(after: Float[Array, ""], x: tuple[Array, ...]) -> tuple[Array, None]:
        r, d, q, v, p, ends, rho = x
        beyond = jnp.where(ends, q, after)
        sampled = beyond if ratio is None else v + rho * (beyond - q)
        return backup(r, d, sigma * sampled + (1 - sigma) * (v + p * (beyond - q))), None

    ratios = jnp.ones_like(reward) if ratio is None else ratio
    steps = (reward, discount, next_q, next_value, next_prob, cut, ratios)
    return jax.lax.scan(step, next_q[-1], steps, reverse=True)[0]


def differential_error(q: Scalar, reward: Scalar, average: Scalar, next_value: Scalar) -> Scalar:
    r"""The error of a differential value: how much more than the average follows (Sutton & Barto 2018, eq. 10.10).

    .. math:: \delta_t = r_{t+1} - \bar r + v(s_{t+1}) - q(s_t, a_t)

    Args:
        q: q(s, a) of row t. Shape [].
        reward: r, paid on the way into row t + 1. Shape [].
        average: r̄, the average reward of a step. Shape [].
        next_value: v of row t + 1, 0 where the episode terminated. Shape [].

    Returns:
        δ. Shape [].

    >>> differential_error(jnp.float32(3), jnp.float32(2), jnp.float32(0.5), jnp.float32(4))
    Array(2.5, dtype=float32)
    """
    return reward - average + next_value - q


def ended_since(last: Bool[Array, " R"], fresh: int) -> Bool[Array, " R-1"]:
    """Which transitions belong to episodes that have ended lately: neither before, nor still under way.

    Args:
        last: whether each row is an episode's final one. Shape [R].
        fresh: the first of the rows that are new.

    Returns:
        Of the transitions out of each but the last. Shape [R−1].

    >>> ended_since(jnp.array([True, False, False, True, False]), fresh=2)
    Array([False,  True,  True, False], dtype=bool)
    """
    after = jnp.arange(last.shape[0]) >= fresh
    ends = jax.lax.cummax(jnp.where(last & after, 1, 0), 0, reverse=True)
    ended_before = jax.lax.cummax(jnp.where(last & ~after, 1, 0), 0, reverse=True)
    return ((ends == 1) & (ended_before == 0))[1:] & ~last[:-1]
