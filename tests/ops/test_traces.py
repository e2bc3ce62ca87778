"""Traces and n-step returns, worked by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from retorno.ops import traces
from retorno.ops.returns import differential_error, ended_since, q_sigma_return

FADED = {"w": jnp.array([[0.5, 0.25], [0.0, 1.0]])}
GRADIENT = {"w": jnp.array([[1.0, 0.0], [0.0, 0.0]])}


def test_traces() -> None:
    both = {"w": jnp.array([[1.0, 1.0], [0.0, 0.0]])}
    found = {
        "accumulating": traces.accumulating(FADED, GRADIENT),
        "replacing": traces.replacing(FADED, GRADIENT),
        "clearing": traces.clearing(FADED, GRADIENT, both),
        # .5 + (1 − .4 · .5) · 1
        "dutch": traces.dutch(FADED, GRADIENT, 0.4),
    }
    first_rows = {"accumulating": [1.5, 0.25], "replacing": [1, 0.25], "clearing": [1, 0], "dutch": [1.3, 0.25]}
    for name, row in first_rows.items():
        np.testing.assert_allclose(found[name]["w"], [row, [0, 1]], rtol=1e-6)


def test_a_dutch_trace_of_overlapping_features() -> None:
    """zᵀx = 2·1 + 4·.5 = 4, so x is added 1 − .1 · 4 = .6 times."""
    grown = traces.dutch(jnp.array([2.0, 4.0, 1.0]), jnp.array([1.0, 0.5, 0.0]), 0.1)
    np.testing.assert_allclose(grown, [2.6, 4.3, 1.0], rtol=1e-6)


N_STEPS = {
    "reward": jnp.array([1.0, 2.0]),
    "discount": jnp.array([0.5, 0.5]),
    "next_q": jnp.array([4.0, 8.0]),
    "next_value": jnp.array([3.0, 6.0]),
    "next_prob": jnp.array([0.25, 0.5]),
    "cut": jnp.array([False, False]),
}


@pytest.mark.parametrize(
    ("sigma", "expected"),
    [
        # 1 + ½(2 + ½·8)
        (1.0, 4.0),
        # G′ = 2 + ½·6 = 5, then 1 + ½(3 + ¼(5 − 4))
        (0.0, 2.625),
        # G′ = 2 + ½(½·8 + ½·6) = 5.5, then 1 + ½(½·5.5 + ½(3 + ¼(5.5 − 4)))
        (0.5, 1 + 0.5 * (2.75 + 0.5 * 3.375)),
    ],
)
def test_q_sigma_return(sigma: float, expected: float) -> None:
    assert q_sigma_return(**N_STEPS, sigma=sigma) == pytest.approx(expected)


def test_an_off_policy_sample_is_corrected() -> None:
    """At the horizon the correction is v̄: G′ = 2 + ½·6 = 5; then 1 + ½(3 + 2(5 − 4))."""
    assert q_sigma_return(**N_STEPS, sigma=1.0, ratio=jnp.array([2.0, 9.0])) == pytest.approx(3.5)
    assert q_sigma_return(**N_STEPS, sigma=0.0, ratio=jnp.array([2.0, 9.0])) == pytest.approx(2.625)


def test_a_return_goes_on_from_the_estimate_at_a_cut_and_from_nothing_at_an_end() -> None:
    cut = N_STEPS | {"cut": jnp.array([True, False])}
    assert q_sigma_return(**cut, sigma=1.0) == pytest.approx(1 + 0.5 * 4)
    assert q_sigma_return(**cut, sigma=0.0) == pytest.approx(1 + 0.5 * 3)
    assert q_sigma_return(**cut | {"discount": jnp.array([0.0, 0.5])}, sigma=1.0) == pytest.approx(1)


def test_differential_error() -> None:
    assert differential_error(1.0, 5.0, 2.0, 4.0) == 6.0


def test_which_episodes_have_ended_since() -> None:
    last = jnp.array([False, True, False, False, True, False, True, False, False])
    # Rows 3 and later are fresh: the second and the third episode ended in them, the fourth is under way.
    expected = [False, False, True, True, False, True, False, False]
    np.testing.assert_array_equal(ended_since(last, 3), expected)
