"""Every method against exact arithmetic on thousands of models of every kind: no bound is ever violated."""

from fractions import Fraction
from math import inf

import numpy as np
import pytest
from models import DISCOUNTS, random_kind, random_model, random_policy

from retorno import bellman


def check(seed, method, sweeps=None):
    """Bounds, ties and the policy's loss of one random question; whether the bounds are as close as was asked.

    Where γ is nearly 1, only so many sweeps are made; what is certified after them has to hold as well.
    """
    generator = np.random.default_rng(seed)
    model = random_model(generator, random_kind(generator))
    discount, minimise = DISCOUNTS[generator.integers(len(DISCOUNTS))], bool(generator.random() < 0.5)
    exact = bellman.solve_exactly(model, discount, minimise=minimise)
    finite = [s for s, v in enumerate(exact.value) if isinstance(v, Fraction)]
    try:
        answer = bellman.solve(
            model, discount, method=method, minimise=minimise, sweeps=sweeps if discount > 0.99 else None
        )
    except ValueError:
        assert discount == 1 and len(finite) < model.num_states, seed
        return True
    for s, v in enumerate(exact.value):
        low, high = float(answer.lower[s]), float(answer.upper[s])
        assert low <= answer.value[s] <= high or np.isnan(answer.value[s]), seed
        assert low <= v if low in (-inf, inf) or v in (-inf, inf) else Fraction(low) <= v, seed
        assert v <= high if high in (-inf, inf) or v in (-inf, inf) else v <= Fraction(high), seed
    assert not (exact.optimal & ~answer.optimal)[_pairs(model, finite)].any(), seed
    if len(finite) == model.num_states and np.isfinite(answer.policy_loss_bound):
        own = bellman.evaluate_exactly(model, answer.policy, discount)
        losses = [v - w if not minimise else w - v for v, w in zip(exact.value, own.value, strict=True)]
        assert max(losses) <= answer.policy_loss_bound, seed
    scale = max(1.0, float(np.abs(model.reward).max())) / max(1 - discount, 0.01)
    width = (answer.upper[finite] - answer.lower[finite]).max(initial=0.0)
    return discount > 0.99 or width <= max(1e-6, 1e-9 * scale)


def _pairs(model, states):
    return np.isin(model.pair_state, states)


def test_ten_thousand_models():
    assert all([check(seed, bellman.auto) for seed in range(10_000)])


@pytest.mark.parametrize("method", bellman.METHODS)
def test_every_method(method):
    assert all([check(seed, method, sweeps=5) for seed in range(20_000, 20_300)])


@pytest.mark.parametrize("method", [bellman.closed_form, bellman.iterative, bellman.krylov])
def test_evaluation(method):
    for seed in range(500):
        generator = np.random.default_rng(seed)
        model = random_model(generator, random_kind(generator))
        policy, discount = random_policy(generator, model), DISCOUNTS[generator.integers(len(DISCOUNTS))]
        exact = bellman.evaluate_exactly(model, policy, discount)
        if not all(isinstance(v, Fraction) for v in exact.value):
            with pytest.raises(ValueError, match="never terminates under this policy"):
                bellman.evaluate(model, policy, discount, method=method, sweeps=300)
            continue
        answer = bellman.evaluate(model, policy, discount, method=method, sweeps=300)
        for s, v in enumerate(exact.value):
            low, high = answer.lower[s], answer.upper[s]
            assert not np.isfinite(low) or Fraction(float(low)) <= v, seed
            assert not np.isfinite(high) or v <= Fraction(float(high)), seed
