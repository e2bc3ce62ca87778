"""Returns: worked by hand, then against a twin that sums term by term."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.ops.returns import (
    backup,
    double_q_learning_target,
    expected_sarsa_target,
    gae,
    horizon,
    importance_weight,
    lambda_returns,
    n_step_return,
    n_step_returns,
    q_learning_target,
    sarsa_target,
    td_error,
)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def arrays(*columns):
    return tuple(jnp.array(column) for column in columns)


# Two episodes of γ = ½: the first is cut by a time limit after two steps, the second terminates after one.
REWARD, DISCOUNT, VALUE, NEXT_VALUE, CUT = arrays(
    [1.0, 2.0, 3.0], [0.5, 0.5, 0.0], [10.0, 20.0, 30.0], [20.0, 8.0, 99.0], [False, True, True]
)


def test_one_backup_by_hand():
    close(backup(jnp.float32(1), jnp.float32(0.5), jnp.float32(4)), 3)


@pytest.mark.parametrize(
    ("lambda_", "expected"),
    # λ = ½: the second is 2 + ½ · 8 = 6 (cut), so the first is 1 + ½(½ · 20 + ½ · 6) = 7.5.
    [(0.0, [11, 6, 3]), (0.5, [7.5, 6, 3]), (1.0, [4, 6, 3])],
)
def test_lambda_returns_by_hand(lambda_, expected):
    close(lambda_returns(REWARD, DISCOUNT, NEXT_VALUE, CUT, lambda_), expected)


@pytest.mark.parametrize(("n", "expected"), [(1, [11, 6, 3]), (2, [4, 6, 3]), (9, [4, 6, 3])])
def test_n_step_returns_by_hand(n, expected):
    close(n_step_returns(REWARD, DISCOUNT, NEXT_VALUE, CUT, n), expected)


def test_gae_by_hand():
    # δ = (1 + 10 − 10, 2 + 4 − 20, 3 − 30) = (1, −14, −27); Â₀ = 1 + ½ · ½ · (−14).
    close(gae(REWARD, DISCOUNT, VALUE, NEXT_VALUE, CUT, 0.5), [-2.5, -14, -27])


def test_a_sequence_under_way_bootstraps_from_its_last_value():
    going = jnp.zeros(3, bool)
    reward, discount, value = arrays([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    next_value = jnp.array([0.0, 0.0, 7.0])
    close(lambda_returns(reward, discount, next_value, going, 1.0), [10, 9, 8])
    close(n_step_returns(reward, discount, next_value, going, 2), [2, 9, 8])
    close(gae(reward, discount, value, next_value, going, 1.0), [10, 9, 8])


def lived(seed, length=12):
    """A random sequence: discounts of γ, −γ or 0, cuts where it ended and at time limits."""
    rng = np.random.default_rng(seed)
    ended, limit = rng.random(length) < 0.2, rng.random(length) < 0.2
    discount = np.where(ended, 0.0, 0.9 * rng.choice([-1, 1], length))
    value, next_value, reward = rng.normal(size=(3, length))
    going_on = ~(ended | limit)
    # Within an episode the next row's value is the next transition's own.
    next_value[:-1] = np.where(going_on[:-1], value[1:], next_value[:-1])
    return reward, discount, value, next_value, ended | limit


def n_step_twin(reward, discount, next_value, cut, t, n):
    """Gₜ:ₜ₊ₙ as a sum, S&B eq. 7.1; n is cut short by the episode's and the sequence's end."""
    total, weight = 0.0, 1.0
    for k in range(t, t + n):
        total += weight * reward[k]
        weight *= discount[k]
        if cut[k] or k == len(reward) - 1 or k == t + n - 1:
            return total + weight * next_value[k]
    raise AssertionError


def lambda_twin(reward, discount, next_value, cut, t, lambda_):
    """(1 − λ) Σₙ λⁿ⁻¹ Gₜ:ₜ₊ₙ with the rest of the weight on the longest, S&B eq. 12.3."""
    longest = next(k for k in range(t, len(reward)) if cut[k] or k == len(reward) - 1) - t + 1
    steps = [n_step_twin(reward, discount, next_value, cut, t, n) for n in range(1, longest + 1)]
    weights = [(1 - lambda_) * lambda_ ** (n - 1) for n in range(1, longest)] + [lambda_ ** (longest - 1)]
    return np.dot(weights, steps)


@pytest.mark.parametrize("seed", range(5))
def test_returns_equal_their_sums(seed):
    reward, discount, value, next_value, cut = lived(seed)
    given = arrays(reward, discount, next_value, cut)
    for n in (1, 2, 5, 20):
        twin = [n_step_twin(reward, discount, next_value, cut, t, n) for t in range(len(reward))]
        close(n_step_returns(*given, n), twin)
    for lambda_ in (0.0, 0.3, 0.95, 1.0):
        twin = np.array([lambda_twin(reward, discount, next_value, cut, t, lambda_) for t in range(len(reward))])
        close(lambda_returns(*given, lambda_), twin)
        close(gae(*arrays(reward, discount, value, next_value, cut), lambda_), twin - value)


first_return = jax.jit(lambda r, d, v, ends: n_step_return(r, d, v[horizon(ends)], ends))


@pytest.mark.parametrize("n", [1, 4])
def test_the_first_ones_return_needs_one_value(n):
    for seed in range(3):
        reward, discount, _, next_value, cut = lived(seed)
        for t in range(len(reward) - n + 1):
            window = arrays(*(x[t : t + n] for x in (reward, discount, next_value, cut)))
            close(first_return(*window), n_step_twin(reward, discount, next_value, cut, t, n))


def test_targets_by_hand():
    q, other, legal = arrays([1.0, 5.0, 3.0], [7.0, 2.0, 4.0], [True, False, True])
    reward, discount = jnp.float32(1), jnp.float32(0.5)
    close(q_learning_target(reward, discount, q), 3.5)
    close(q_learning_target(reward, discount, q, legal), 2.5)
    close(double_q_learning_target(reward, discount, q, other), 2)  # q chooses action 1, which other judges 2
    close(double_q_learning_target(reward, discount, q, other, legal), 3)
    close(sarsa_target(reward, discount, q, jnp.int32(0)), 1.5)
    close(expected_sarsa_target(reward, discount, q, jnp.array([0.5, 0.25, 0.25])), 2.25)
    close(td_error(q, jnp.int32(2), jnp.float32(10)), 7)
    close(importance_weight(jnp.log(0.5), jnp.log(0.25)), 2)


def test_expected_sarsa_is_the_mean_of_sarsa():
    rng = np.random.default_rng(0)
    q, probs = jnp.asarray(rng.normal(size=4)), jnp.asarray(rng.dirichlet(np.ones(4)))
    each = [sarsa_target(jnp.float32(1), jnp.float32(0.9), q, jnp.int32(a)) for a in range(4)]
    close(expected_sarsa_target(jnp.float32(1), jnp.float32(0.9), q, probs), np.dot(probs, each))
