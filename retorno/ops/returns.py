"""The Bellman backup and the returns built from it.

Time runs along the leading axis. `reward[t]`, `discount[t]` and `next_value[t]` belong to the
transition out of row t, that is, to row t + 1; `discount` already holds γ (γ · the row's discount).
`cut[t]` says that the sequence ends after transition t (row t + 1 is `last`): what lies behind it
belongs to another episode, so a return goes on from `next_value[t]` there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from retorno.core.time_step import Legal, allowed


def backup(reward: Float[Array, ""], discount: Float[Array, ""], next_value: Float[Array, ""]) -> Float[Array, ""]:
    """R + γ v(s′).  Sutton & Barto 2018, eq. 3.14 for one outcome."""
    return reward + discount * next_value


def lambda_returns(
    reward: Float[Array, " T"],
    discount: Float[Array, " T"],
    next_value: Float[Array, " T"],
    cut: Bool[Array, " T"],
    lambda_: Float[Array, ""] | float,
) -> Float[Array, " T"]:
    """Gᵗ = r + γ[(1 − λ) v(s′) + λ Gᵗ⁺¹].  Sutton & Barto 2018, eq. 12.2 in recursive form.

    λ = 0 gives the one-step target, λ = 1 the Monte Carlo return (bootstrapped where it is cut).
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
    """The transition behind which the first one's n-step return goes on from an estimate: the first cut, or the nth."""
    return jnp.where(cut.any(), jnp.argmax(cut), cut.shape[0] - 1)


def n_step_return(
    reward: Float[Array, " n"], discount: Float[Array, " n"], value: Float[Array, ""], cut: Bool[Array, " n"]
) -> Float[Array, ""]:
    """Gₜ:ₜ₊ₙ of the first transition alone, with the one `value` that it needs: behind the `horizon`.

    Sutton & Barto 2018, eq. 7.1.
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
    lambda_: float,
) -> Float[Array, " T"]:
    """Âₜ = δₜ + γλ Âₜ₊₁ with δₜ = r + γ v(s′) − v(s).  Schulman et al. 2016, eq. 16."""
    delta = backup(reward, discount, next_value) - value
    decay = discount * lambda_ * ~cut

    def step(after: Float[Array, ""], x: tuple[Array, Array]) -> tuple[Array, Array]:
        d, k = x
        advantage = d + k * after
        return advantage, advantage

    return jax.lax.scan(step, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)[1]


def importance_weight(log_prob: Float[Array, ""], behaviour_log_prob: Float[Array, ""]) -> Float[Array, ""]:
    """ρ = π(a|s) / b(a|s).  Sutton & Barto 2018, eq. 5.3 for one step."""
    return jnp.exp(log_prob - behaviour_log_prob)


def weights_to_end(ratio: Float[Array, " T"], cut: Bool[Array, " T"]) -> Float[Array, " T"]:
    """ρₜ:ₑ: the product of the ratios π/b from each transition to where the sequence is cut or ends.

    Sutton & Barto 2018, eq. 5.3.
    """

    def step(after: Float[Array, ""], x: tuple[Array, Array]) -> tuple[Array, Array]:
        rho, ends = x
        weight = rho * jnp.where(ends, 1.0, after)
        return weight, weight

    return jax.lax.scan(step, jnp.ones_like(ratio[0]), (ratio, cut), reverse=True)[1]


def greedy_value(q: Float[Array, " A"], legal: Legal = None) -> Float[Array, ""]:
    """maxₐ q(s, a).  Sutton & Barto 2018, eq. 3.18."""
    return jnp.max(allowed(legal, q))


def double_value(choosing: Float[Array, " A"], judging: Float[Array, " A"], legal: Legal = None) -> Float[Array, ""]:
    """q₂(s, argmaxₐ q₁(s, a)): no maximum over its own noise.  van Hasselt et al. 2016, eq. 4."""
    return judging[jnp.argmax(allowed(legal, choosing))]


def q_learning_target(
    reward: Float[Array, ""],
    discount: Float[Array, ""],
    next_q: Float[Array, " A"],
    legal: Legal = None,
) -> Float[Array, ""]:
    """R + γ maxₐ q(s′, a).  Sutton & Barto 2018, eq. 6.8."""
    return backup(reward, discount, greedy_value(next_q, legal))


def double_q_learning_target(
    reward: Float[Array, ""],
    discount: Float[Array, ""],
    next_q_choosing: Float[Array, " A"],
    next_q_judging: Float[Array, " A"],
    legal: Legal = None,
) -> Float[Array, ""]:
    """R + γ q₂(s′, argmaxₐ q₁(s′, a)): no maximum over its own noise.  van Hasselt et al. 2016, eq. 4."""
    return backup(reward, discount, double_value(next_q_choosing, next_q_judging, legal))


def sarsa_target(
    reward: Float[Array, ""], discount: Float[Array, ""], next_q: Float[Array, " A"], next_action: Int[Array, ""]
) -> Float[Array, ""]:
    """R + γ q(s′, a′) with the action *really* taken next.  Sutton & Barto 2018, eq. 6.7."""
    return backup(reward, discount, next_q[next_action])


def expectation(probs: Float[Array, " A"], q: Float[Array, " A"]) -> Float[Array, ""]:
    """v(s) = Σₐ π(a|s) q(s, a).  Sutton & Barto 2018, exercise 3.18."""
    # Not a product of vectors, which is rounded otherwise when many seeds are batched.
    return jnp.sum(probs * q)


def expected_sarsa_target(
    reward: Float[Array, ""],
    discount: Float[Array, ""],
    next_q: Float[Array, " A"],
    next_probs: Float[Array, " A"],
) -> Float[Array, ""]:
    """R + γ Σₐ π(a|s′) q(s′, a).  Sutton & Barto 2018, eq. 6.9."""
    return backup(reward, discount, expectation(next_probs, next_q))


def td_error(q: Float[Array, " A"], action: Int[Array, ""], target: Float[Array, ""]) -> Float[Array, ""]:
    """δ = y − q(s, a).  Sutton & Barto 2018, eq. 6.8."""
    return target - q[action]


def q_sigma_return(
    reward: Float[Array, " n"],
    discount: Float[Array, " n"],
    next_q: Float[Array, " n"],
    next_value: Float[Array, " n"],
    next_prob: Float[Array, " n"],
    cut: Bool[Array, " n"],
    sigma: Float[Array, ""] | float,
    ratio: Float[Array, " n"] | None = None,
) -> Float[Array, ""]:
    """Gₜ:ₜ₊ₙ of Q(σ): what follows is sampled with weight σ and expected with weight 1 − σ.

    G = R + γ[σ G′ + (1 − σ)(v̄ + π(A′|S′)(G′ − q(S′, A′)))] on policy (De Asis et al. 2018, eq. 10), where
    σ = 1 is n-step SARSA and σ = 0 the tree backup. With ratios ρ = π/b of another behaviour the sample is
    corrected, v̄ + ρ(G′ − q(S′, A′)) in place of G′: Sutton & Barto 2018, eq. 7.17.

    Args:
        reward: of each of the n transitions.
        discount: γ, 0 where the episode terminated.
        next_q: q(S′, A′) of the actions really taken.
        next_value: v̄(S′) = Σ π(a|S′) q(S′, a).
        next_prob: π(A′|S′) of the actions really taken.
        cut: the episode ends after this transition: the return goes on from q(S′, A′) there, as at the horizon.
        sigma: σ
        ratio: π(A′|S′) / b(A′|S′); None on policy.
    """

    def step(after: Float[Array, ""], x: tuple[Array, ...]) -> tuple[Array, None]:
        r, d, q, v, p, ends, rho = x
        beyond = jnp.where(ends, q, after)
        sampled = beyond if ratio is None else v + rho * (beyond - q)
        return backup(r, d, sigma * sampled + (1 - sigma) * (v + p * (beyond - q))), None

    ratios = jnp.ones_like(reward) if ratio is None else ratio
    steps = (reward, discount, next_q, next_value, next_prob, cut, ratios)
    return jax.lax.scan(step, next_q[-1], steps, reverse=True)[0]


def differential_error(
    q: Float[Array, ""], reward: Float[Array, ""], average: Float[Array, ""], next_value: Float[Array, ""]
) -> Float[Array, ""]:
    """δ = R − R̄ + v(s′) − q(s, a).  Sutton & Barto 2018, eq. 10.10."""
    return reward - average + next_value - q


def ended_since(last: Bool[Array, " T+1"], fresh: int) -> Bool[Array, " T"]:
    """Transitions of episodes that ended in rows `fresh` and later: not before them, and not still under way."""
    after = jnp.arange(last.shape[0]) >= fresh
    ends = jax.lax.cummax(jnp.where(last & after, 1, 0), 0, reverse=True)
    ended_before = jax.lax.cummax(jnp.where(last & ~after, 1, 0), 0, reverse=True)
    return ((ends == 1) & (ended_before == 0))[1:] & ~last[:-1]
