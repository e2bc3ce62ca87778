"""Distributions over actions against SciPy, by integration and by counting."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import digamma

from retorno.core.time_step import Only
from retorno.networks.layers import Rows
from retorno.ops import distributions
from retorno.ops.distributions import (
    CHUNK,
    EDGE,
    MANY,
    Bernoulli,
    Categorical,
    Distribution,
    EpsilonGreedy,
    Gaussian,
    Joint,
    LinearCategorical,
    MultiCategorical,
    SquashedGaussian,
    StateDependentGaussian,
    dirichlet,
    log_prob_and_entropy,
    log_probs_and_entropies,
)

SAMPLES = 40_000
LOGITS = jnp.array([0.5, -1.0, 2.0, 0.0])
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum()


def draw(distribution: Any, samples: int = SAMPLES) -> np.ndarray:
    """[samples, …] independent draws."""
    keys = jax.random.split(jax.random.key(0), samples)
    return np.asarray(jax.jit(jax.vmap(distribution.sample))(keys))


def assert_frequencies(actions: np.ndarray, probs: np.ndarray) -> None:
    """Counts within four standard errors of their probabilities; what has none never occurs."""
    share = np.bincount(actions, minlength=len(probs)) / len(actions)
    stderr = np.sqrt(probs * (1 - probs) / len(actions))
    assert (np.abs(share - probs) <= 4 * stderr + 1e-9).all(), (share, probs)


def test_categorical_by_hand() -> None:
    fair = Categorical(jnp.log(jnp.array([0.5, 0.25, 0.25])) + 3)
    np.testing.assert_allclose(fair.log_prob(jnp.array(1)), np.log(0.25), rtol=1e-6)
    np.testing.assert_allclose(fair.entropy(), 1.5 * np.log(2), rtol=1e-6)
    assert int(fair.mode()) == 0


def test_categorical_against_scipy() -> None:
    categorical = Categorical(LOGITS)
    np.testing.assert_allclose(jax.vmap(categorical.log_prob)(jnp.arange(4)), np.log(PROBS), rtol=1e-5)
    np.testing.assert_allclose(categorical.entropy(), stats.entropy(PROBS), rtol=1e-5)
    assert_frequencies(draw(categorical), PROBS)


def test_masked_categorical_is_the_renormalised_rest() -> None:
    legal = jnp.array([True, True, False, True])
    masked = Categorical(LOGITS).masked(legal)
    rest = np.where(legal, PROBS, 0) / PROBS[np.asarray(legal)].sum()
    np.testing.assert_allclose(jnp.exp(masked.log_probs()), rest, atol=1e-6)
    np.testing.assert_allclose(masked.entropy(), stats.entropy(rest), rtol=1e-5)
    assert int(masked.mode()) == 0
    assert_frequencies(draw(masked), rest)


def test_an_action_is_judged_among_the_legal_ones() -> None:
    """Two of three equal actions are legal: each has probability 1/2, entropy log 2; without a mask, 1/3 and log 3."""
    thirds = Categorical(jnp.zeros(3))
    masked = log_prob_and_entropy(thirds, jnp.array([True, False, True]), jnp.int32(2))
    assert np.allclose(masked, (-np.log(2), np.log(2)))
    assert np.allclose(log_prob_and_entropy(thirds, None, jnp.int32(2)), (-np.log(3), np.log(3)))


@pytest.mark.parametrize("what", ["log_prob", "entropy"])
def test_masked_gradients_are_finite_and_leave_illegal_actions_alone(what: str) -> None:
    legal = jnp.array([True, False, False, False])

    def answer(logits: jax.Array) -> jax.Array:
        masked = Categorical(logits).masked(legal)
        return masked.log_prob(jnp.array(0)) if what == "log_prob" else masked.entropy()

    np.testing.assert_array_equal(jax.grad(answer)(LOGITS), np.zeros(4))


def test_the_gradient_of_a_choice_is_what_its_formulas_give() -> None:
    """Of the log-probability and the entropy, once and twice, by JAX of the softmax written out."""
    pull = jnp.array([0.7, -0.4])

    def ours(logits: Any) -> Any:
        return jnp.stack(Categorical(logits).log_prob_and_entropy(jnp.int32(2))) @ pull

    def written_out(logits: Any) -> Any:
        probs = jnp.exp(logits) / jnp.exp(logits).sum()
        return jnp.stack([jnp.log(probs[2]), -(probs * jnp.log(probs)).sum()]) @ pull

    for of in (jax.grad, lambda f: jax.jacfwd(jax.grad(f))):
        np.testing.assert_allclose(of(ours)(LOGITS), of(written_out)(LOGITS), rtol=1e-5, atol=1e-6)
    only = lambda left: log_prob_and_entropy(Categorical(LOGITS), Only(jnp.int32(left)), jnp.int32(2))  # noqa: E731
    np.testing.assert_allclose(only(2), (0, 0))
    assert only(1)[0] < -1e8 and only(1)[1] == 0
    np.testing.assert_allclose(only(-1), Categorical(LOGITS).log_prob_and_entropy(jnp.int32(2)))


@pytest.mark.parametrize("actions", [MANY - 1, MANY])
def test_rows_are_judged_one_by_one_however_many_actions_there_are(actions: int) -> None:
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(2, 3, actions)), jnp.float32)
    action = jnp.asarray(rng.integers(0, actions, (2, 3)))
    legal = Only(jnp.where(jnp.eye(2, 3) > 0, action, -1))
    told = log_probs_and_entropies(Categorical(logits), legal, action)
    for t, b in np.ndindex(2, 3):
        one = log_prob_and_entropy(Categorical(logits[t, b]), Only(legal.action[t, b]), action[t, b])
        np.testing.assert_allclose([x[t, b] for x in told], one, rtol=1e-6)


@pytest.mark.parametrize("rows", [0.5, 1, 2, 5])
def test_rows_that_choose_from_a_vocabulary_are_judged_some_at_a_time(
    rows: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one by one, in the gradient too, of the layer or of features alone; prompts of all lengths stand between."""
    monkeypatch.setattr(distributions, "LOGITS", int(rows * 2) * (CHUNK + 1))
    rng = np.random.default_rng(0)
    numbers = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    layer, features = Rows(numbers(CHUNK + 1, 3), numbers(CHUNK + 1)), numbers(5, 2, 3)
    action = jnp.asarray(rng.integers(0, CHUNK + 1, (5, 2)))
    free = np.array([[0, 0], [1, 0], [0, 1], [1, 0], [1, 0]], bool)
    legal = Only(jnp.where(free, -1, action))

    def of(together: bool, layer: Any, features: Any) -> Any:
        policy = jax.vmap(jax.vmap(lambda x: LinearCategorical(x, layer)))(features)
        one_by_one = jax.vmap(jax.vmap(log_prob_and_entropy))
        told = (log_probs_and_entropies if together else one_by_one)(policy, legal, action)
        return jnp.sin(told[0]).sum() + jnp.cos(told[1]).sum(), told

    for of_what in (1, 2, (1, 2)):
        slope = jax.jit(jax.grad(of, of_what, has_aux=True), static_argnums=0)
        for ours, theirs in zip(*(jax.tree.leaves(slope(x, layer, features)) for x in (True, False)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_multi_categorical_is_a_product() -> None:
    parts = MultiCategorical((LOGITS, jnp.array([0.0, 1.0])))
    second = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
    np.testing.assert_allclose(parts.log_prob(jnp.array([2, 0])), np.log(PROBS[2] * second[0]), rtol=1e-5)
    np.testing.assert_allclose(parts.entropy(), stats.entropy(np.outer(PROBS, second).ravel()), rtol=1e-5)
    np.testing.assert_array_equal(parts.mode(), [2, 1])
    actions = draw(parts)
    assert_frequencies(actions[:, 0] * 2 + actions[:, 1], np.outer(PROBS, second).ravel())


def test_multi_categorical_has_a_mask_for_each_component() -> None:
    parts = MultiCategorical((LOGITS, jnp.array([0.0, 1.0])))
    legal = (jnp.array([True, False, False, True]), jnp.array([True, False]))
    first, second = (np.exp(Categorical(logits).log_probs()) for logits in parts.masked(legal).logits)
    np.testing.assert_allclose(first, PROBS * [1, 0, 0, 1] / PROBS[[0, 3]].sum(), atol=1e-6)
    np.testing.assert_allclose(second, [1, 0], atol=1e-6)


def test_noise_that_is_linear_in_features() -> None:
    """φ = (3, −4) and σ: variances 9 σ₁² + 16 σ₂²; with one key two rows follow one θ."""
    scale = jnp.array([[0.1, 1.0], [0.2, 0.5]])
    policy = StateDependentGaussian(jnp.array([1.0, -2.0]), jnp.array([3.0, -4.0]), jnp.log(scale))
    std = np.sqrt(np.square([3.0, 4.0]) @ np.square(np.asarray(scale)))
    for sample, m, s in zip(draw(policy).T, (1.0, -2.0), std, strict=True):
        assert stats.kstest(sample, stats.norm(m, s).cdf).pvalue > 1e-4
    action = jnp.array([0.3, 1.0])
    exact = stats.norm([1.0, -2.0], std)
    np.testing.assert_allclose(policy.log_prob(action), exact.logpdf(np.asarray(action)).sum(), rtol=1e-4)
    np.testing.assert_allclose(policy.entropy(), exact.entropy().sum(), rtol=1e-4)
    rows = [policy._replace(mean=jnp.zeros(2), features=jnp.array(phi)) for phi in ([1.0, 0.0], [0.0, 1.0], [2.0, 5.0])]
    one, other, both = (row.sample(jax.random.key(3)) for row in rows)
    np.testing.assert_allclose(2 * one + 5 * other, both, rtol=1e-5)


def test_gaussian_against_scipy() -> None:
    mean, std, action = np.array([1.0, -2.0]), np.array([0.5, 3.0]), np.array([0.3, 1.0])
    gaussian = Gaussian(jnp.asarray(mean), jnp.log(jnp.asarray(std)))
    np.testing.assert_allclose(
        gaussian.log_prob(jnp.asarray(action)), stats.norm(mean, std).logpdf(action).sum(), rtol=1e-5
    )
    np.testing.assert_allclose(gaussian.entropy(), stats.norm(mean, std).entropy().sum(), rtol=1e-5)
    np.testing.assert_array_equal(gaussian.mode(), mean)
    for sample, m, s in zip(draw(gaussian).T, mean, std, strict=True):
        assert stats.kstest(sample, stats.norm(m, s).cdf).pvalue > 1e-4


def squashed(mean: float, std: float) -> SquashedGaussian:
    return SquashedGaussian(Gaussian(jnp.array([mean]), jnp.log(jnp.array([std]))))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.3), (0.7, 0.5), (-1.0, 1.0), (4.0, 1.5)])
def test_squashed_gaussian_integrates_to_one(mean: float, std: float) -> None:
    # Substituted y = tanh z, so that the grid is fine where the density is; the ends are intervals of their own.
    z = np.linspace(max(mean - 8 * std, -EDGE), min(mean + 8 * std, EDGE), 20001)
    actions = np.tanh(z).astype(np.float32)
    actions = actions[np.abs(actions) < 1]
    log_prob = jax.jit(jax.vmap(squashed(mean, std).log_prob))
    density = np.exp(np.asarray(log_prob(jnp.asarray(actions[:, None])), np.float64))
    ends = np.exp(np.asarray(log_prob(jnp.array([[-1.0], [1.0]])), np.float64)).sum() * 2.0**-25
    assert np.trapezoid(density, actions.astype(np.float64)) + ends == pytest.approx(1, abs=1e-3)


def reference(action: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Log π(a) in float64, of a float32 action that is not ±1."""
    a = action.astype(np.float64)
    return stats.norm(mean, std).logpdf(np.arctanh(a)) - np.log1p(a) - np.log1p(-a)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (3.0, 0.5), (-8.0, 2.0), (0.1, 0.01)])
def test_the_density_of_a_squashed_action_is_exact_up_to_its_bounds(mean: float, std: float) -> None:
    nearest = np.nextafter(np.float32(1), np.float32(0))
    actions = np.array([0, 1e-8, 0.3, -0.9, 0.9999, -0.9999995, nearest, -nearest], np.float32)
    found = jax.vmap(squashed(mean, std).log_prob)(jnp.asarray(actions[:, None]))
    np.testing.assert_allclose(found, reference(actions, mean, std), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (9.0, 1.0), (10.0, 0.5), (-12.0, 3.0)])
def test_an_action_at_its_bound_is_what_rounds_to_it(mean: float, std: float) -> None:
    """log_prob(±1) is the mean density of all that is ±1 in float32: P(|z| > artanh(1 − 2⁻²⁵)) / 2⁻²⁵."""
    for sign in (-1, 1):
        beyond = stats.norm(sign * mean, std).logsf(np.arctanh(1 - 2.0**-25))
        found = squashed(mean, std).log_prob(jnp.array([float(sign)]))
        assert float(found) == pytest.approx(beyond + 25 * np.log(2), rel=1e-5)


def test_a_squashed_sample_keeps_the_density_that_it_was_drawn_with() -> None:
    """In the tails the action alone does not tell it any more: all of these are 1 or −1 in float32."""
    for mean, std in ((0.3, 0.5), (12.0, 1.0), (-30.0, 4.0)):
        distribution, normal = squashed(mean, std), Gaussian(jnp.array([mean]), jnp.log(jnp.array([std])))
        for i in range(5):
            action, log_prob = distribution.sample_and_log_prob(jax.random.key(i))
            assert action == distribution.sample(jax.random.key(i))
            z = float(normal.sample(jax.random.key(i))[0])
            slope = 2 * (np.log(2) - abs(z) - np.log1p(np.exp(-2 * abs(z))))
            assert float(log_prob) == pytest.approx(stats.norm(mean, std).logpdf(z) - slope, rel=1e-5, abs=1e-5)


def test_what_is_at_a_bound_pulls_the_mean_towards_it() -> None:
    """The specimen: an artanh that clips pushed a mean of 10 down for an action of 1."""
    slope = jax.grad(lambda mean: SquashedGaussian(Gaussian(mean, jnp.zeros(1))).log_prob(jnp.ones(1)))
    for mean in (-3.0, 0.0, 8.0, 10.0):
        expected = np.exp(stats.norm.logpdf(mean - EDGE) - stats.norm.logcdf(mean - EDGE))
        assert float(slope(jnp.array([mean]))[0]) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_of_a_squashed_sample() -> None:
    """∂/∂μ of tanh(μ + σε) and of its log-probability, by hand: 1 − a² and 2a."""
    key = jax.random.key(3)
    drawn = lambda mean: SquashedGaussian(Gaussian(mean, jnp.zeros(1))).sample_and_log_prob(key)  # noqa: E731
    for mean in (-4.0, 0.0, 0.8, 2.0):
        action, _ = drawn(jnp.array([mean]))
        of_action, of_log_prob = jax.jacrev(drawn)(jnp.array([mean]))
        assert float(of_action[0, 0]) == pytest.approx(1 - float(action[0]) ** 2, rel=1e-3, abs=1e-7)
        assert float(of_log_prob[0]) == pytest.approx(2 * float(action[0]), rel=1e-3)


def test_squashed_gaussian_samples_follow_its_density() -> None:
    distribution = squashed(0.7, 0.5)
    actions = draw(distribution)[:, 0]
    assert np.abs(actions).max() <= 1
    assert stats.kstest(np.arctanh(actions.astype(np.float64)), stats.norm(0.7, 0.5).cdf).pvalue > 1e-4
    np.testing.assert_allclose(distribution.mode(), np.tanh([0.7]), rtol=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.02), (0.0, 1.0), (2.0, 1.0), (-10.0, 0.5), (0.0, 3.0)])
def test_squashed_gaussian_entropy(mean: float, std: float) -> None:
    slope = lambda z: stats.norm.pdf(z, mean, std) * 2 * (np.log(2) - abs(z) - np.log1p(np.exp(-2 * abs(z))))  # noqa: E731
    expected, _ = integrate.quad(slope, mean - 10 * std, mean + 10 * std, limit=500)
    expected += stats.norm(mean, std).entropy()
    assert float(squashed(mean, std).entropy()) == pytest.approx(expected, abs=5e-3)


FLOATS = jnp.array([0.5, -1.0, 2.0]), jnp.array([-0.3, 0.0, 0.4])
PAIRS: dict[str, tuple[Any, Any]] = {
    "categorical": (Categorical(LOGITS), Categorical(LOGITS[::-1])),
    "categorical, masked": tuple(Categorical(x).masked(jnp.array([1, 0, 1, 1], bool)) for x in (LOGITS, LOGITS[::-1])),
    "multi-categorical": (MultiCategorical((LOGITS, FLOATS[0])), MultiCategorical((LOGITS[::-1], FLOATS[1]))),
    "bernoulli": (Bernoulli(FLOATS[0]), Bernoulli(FLOATS[1])),
    "gaussian": (Gaussian(*FLOATS), Gaussian(*FLOATS[::-1])),
    "squashed gaussian": (SquashedGaussian(Gaussian(*FLOATS)), SquashedGaussian(Gaussian(*FLOATS[::-1]))),
    "joint": tuple(Joint(MultiCategorical((x, LOGITS)), Gaussian(x, 0.3 * x)) for x in FLOATS),
    "ε-greedy": (EpsilonGreedy(LOGITS, jnp.float32(0.2)), EpsilonGreedy(LOGITS[::-1], jnp.float32(0.4))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_every_distribution_does_what_all_do(name: str) -> None:
    """KL and entropy are the expectations that they are named for, within four standard errors of samples."""
    p, q = PAIRS[name]
    assert isinstance(p, Distribution)

    @jax.jit
    def asked(p: Any, q: Any, keys: Any) -> Any:
        actions, log_probs = jax.vmap(p.sample_and_log_prob)(keys)
        ratios = jax.vmap(p.log_prob)(actions) - jax.vmap(q.log_prob)(actions)
        said = (jax.vmap(p.sample)(keys), jax.vmap(p.log_prob)(actions), ratios)
        slopes = jax.grad(lambda p: p.entropy() + p.kl(q) + p.log_prob(p.mode()))(p)
        return actions, log_probs, said, (p.kl(q), p.kl(p), p.entropy(), p.mode()), slopes

    found = asked(p, q, jax.random.split(jax.random.key(1), 20_000))
    actions, log_probs, (alone, again, ratios), (kl, nothing, entropy, mode), slopes = found
    np.testing.assert_array_equal(actions, alone)
    # Near its bound a squashed action tells less of z than the sample did.
    np.testing.assert_allclose(log_probs, again, atol=0.05)
    assert float(kl) == pytest.approx(np.mean(ratios), abs=4 * np.std(ratios) / np.sqrt(len(ratios)))
    assert float(nothing) == pytest.approx(0, abs=1e-5)
    surprise = -np.asarray(log_probs)
    assert float(entropy) == pytest.approx(surprise.mean(), abs=4 * surprise.std() / np.sqrt(len(ratios)) + 1e-3)
    assert mode.shape == actions.shape[1:] and mode.dtype == actions.dtype
    assert all(np.isfinite(slope).all() for slope in jax.tree.leaves(slopes))


def test_bernoulli_by_hand() -> None:
    coins = Bernoulli(jnp.log(jnp.array([3.0, 1 / 4])))  # 3/4 and 1/5
    np.testing.assert_allclose(coins.log_prob(jnp.array([1, 0])), np.log(3 / 4 * 4 / 5), rtol=1e-6)
    np.testing.assert_allclose(coins.entropy(), sum(map(stats.entropy, ([3, 1], [1, 4]))), rtol=1e-6)
    assert coins.mode().tolist() == [1, 0]
    np.testing.assert_allclose(draw(coins).mean(0), [3 / 4, 1 / 5], atol=0.01)


def test_gaussian_kl_by_hand() -> None:
    """N(0, 1) from N(1, 2²): ln 2 + (1 + 1)/8 − 1/2."""
    one, other = Gaussian(jnp.zeros(1), jnp.zeros(1)), Gaussian(jnp.ones(1), jnp.log(2 * jnp.ones(1)))
    assert float(one.kl(other)) == pytest.approx(np.log(2) - 1 / 4, rel=1e-6)


def test_many_actions_are_drawn_in_two_levels() -> None:
    """Of 1,000 the law is the same, and what has no probability is never drawn."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=1000).astype(np.float32)
    legal = rng.random(1000) < 0.05
    masked = Categorical(jnp.asarray(logits)).masked(jnp.asarray(legal))
    weights = np.where(legal, np.exp(logits), 0)
    assert_frequencies(draw(masked), weights / weights.sum())
    forced = Categorical(jnp.asarray(logits)).masked(Only(jnp.int32(999)))
    assert set(draw(forced, 100).tolist()) == {999}


@pytest.mark.parametrize(("actions", "legality"), [(2 * CHUNK, "all"), (2 * CHUNK, "only"), (CHUNK + 5, "mask")])
def test_chunks_of_a_vocabulary_give_what_all_logits_give(actions: int, legality: str) -> None:
    """Log-probabilities, entropies, divergences and their gradients, over rows of which some are free."""
    rng = np.random.default_rng(0)
    numbers = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    mine, other = (Rows(numbers(actions, 3), numbers(actions)) for _ in range(2))
    chosen = jnp.asarray(rng.integers(0, actions, 4))
    mask = jnp.asarray(rng.random((4, actions)) < 0.3).at[jnp.arange(4), chosen].set(True)
    legal = {"all": None, "only": Only(jnp.where(jnp.arange(4) % 2 == 0, chosen, -1)), "mask": mask}[legality]

    def of(whole: bool, given: Any) -> Any:
        def row(x: Any, legal: Any, action: Any) -> Any:
            policies: Any = [LinearCategorical(y, layer) for y, layer in ((x, given[0]), (x / 2, given[1]))]
            policy, apart = [each.whole() for each in policies] if whole else policies
            said = log_prob_and_entropy(policy, legal, action)
            return jnp.stack([*said, policy.masked(legal).kl(apart.masked(legal))])

        return jax.vmap(row)(given[2], legal, chosen)

    @partial(jax.jit, static_argnums=0)
    def with_slope(whole: bool, given: Any) -> Any:
        return of(whole, given), jax.grad(lambda given: jnp.sin(of(whole, given)).sum())(given)

    given = (mine, other, numbers(4, 3))
    for ours, theirs in zip(*(jax.tree.leaves(with_slope(whole, given)) for whole in (False, True)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("q", "legal", "probs"),
    [
        ([1.0, 3.0, 2.0, 0.0], None, [0.05, 0.85, 0.05, 0.05]),
        ([1.0, 3.0, 3.0, 0.0], None, [0.05, 0.45, 0.45, 0.05]),
        ([1.0, 3.0, 2.0, 2.0], [True, False, True, True], [0.2 / 3, 0.0, 0.4 + 0.2 / 3, 0.4 + 0.2 / 3]),
        ([-5.0, 3.0, 2.0, 0.0], [True, False, False, False], [1.0, 0.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 0.0], None, [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_epsilon_greedy_by_hand(q: list[float], legal: list[bool] | None, probs: list[float]) -> None:
    distribution = EpsilonGreedy(jnp.array(q), jnp.float32(0.2)).masked(None if legal is None else jnp.array(legal))
    np.testing.assert_allclose(distribution.probs(), probs, atol=1e-6)
    np.testing.assert_allclose(distribution.entropy(), stats.entropy(probs), atol=1e-6)
    np.testing.assert_allclose(jnp.exp(jax.vmap(distribution.log_prob)(jnp.arange(4))), probs, atol=1e-6)
    assert probs[int(distribution.mode())] == max(probs)
    assert_frequencies(draw(distribution), np.array(probs))


def test_epsilon_greedy_without_exploration_never_errs() -> None:
    distribution = EpsilonGreedy(jnp.array([0.0, -1.0, 1.0]), jnp.float32(0.0))
    assert set(draw(distribution).tolist()) == {2}


@pytest.mark.parametrize("concentration", [[1.4, 1.4, 1.4], [0.05, 0.3, 4.0]])
def test_what_dirichlet_draws_has_its_moments(concentration: list[float]) -> None:
    draws, given = 20_000, np.array(concentration)
    drawn = jax.vmap(lambda key: dirichlet(key, jnp.array(concentration)))(jax.random.split(jax.random.key(0), draws))
    mean, total = given / given.sum(), given.sum()
    # Of small α the logarithms tell draws apart that have the same mean; of those near 0 they are cut.
    moments = [
        (drawn, mean),
        (drawn**2, mean * (1 - mean) / (total + 1) + mean**2),
        (np.log(np.asarray(drawn)[:, given > 0.1]), (digamma(given) - digamma(total))[given > 0.1]),
    ]
    for found, expected in moments:
        assert (np.abs(found.mean(0) - expected) < 5 * found.std(0) / np.sqrt(draws)).all()
