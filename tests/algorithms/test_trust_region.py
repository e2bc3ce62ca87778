"""TRPO's step against a dense solve, V-trace against its fixed point, the beta policy against sums."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import TRPO
from retorno.bellman import evaluate
from retorno.core.spaces import SpaceError
from retorno.environments.registry import model
from retorno.networks import BoxPolicy, Table, policy_head
from retorno.ops.distributions import Beta, Categorical
from retorno.ops.returns import vtrace
from retorno.run.train import train

STATES, ACTIONS = 4, 3


def test_the_step_is_the_natural_gradients_up_to_the_trust_region() -> None:
    """In float64, where enough conjugate steps solve Fx = g exactly; δ is small, so that the KL is its square."""
    rng = np.random.default_rng(0)
    with jax.enable_x64():
        theta = jnp.asarray(rng.normal(size=(STATES, ACTIONS)))
        advantage, weight = jnp.asarray(rng.normal(size=(STATES, ACTIONS))), jnp.asarray(rng.dirichlet(np.ones(STATES)))
        old = jax.vmap(lambda x: Categorical(x).probs())(theta)

        def surrogate(theta: jax.Array) -> jax.Array:
            return jnp.sum(weight[:, None] * jax.nn.softmax(theta) * advantage)

        def kl(other: jax.Array) -> jax.Array:
            return weight @ jax.vmap(lambda p, q: Categorical(p).kl(Categorical(q)))(theta, other)

        method = TRPO(trust=1e-6, conjugate_steps=40, damping=1e-3)
        moved, told = method.step(theta, surrogate, kl)
        # Brute force: the Fisher matrix from its definition E[ψψᵀ], ψ = ∇log π.
        fisher = np.zeros((STATES * ACTIONS, STATES * ACTIONS))
        for s, a in np.ndindex(STATES, ACTIONS):
            score = np.zeros((STATES, ACTIONS))
            score[s] = np.eye(ACTIONS)[a] - old[s]
            fisher += float(weight[s] * old[s, a]) * np.outer(score, score)
        metric = fisher + 1e-3 * np.eye(STATES * ACTIONS)
        gradient = np.asarray(jax.grad(surrogate)(theta)).reshape(-1)
        natural = np.linalg.solve(metric, gradient)
        natural *= np.sqrt(2e-6 / (natural @ metric @ natural))
        np.testing.assert_allclose(np.asarray(moved - theta).reshape(-1), natural, rtol=1e-5, atol=1e-10)
        assert told["tries"] == 1 and 0.9e-6 < float(kl(moved)) <= 1e-6
        # A quarter of δ is left after three quarters of a run: half as far.
        nearer, _ = dataclasses.replace(method, anneal_trust=True).step(theta, surrogate, kl, 0.75)
        np.testing.assert_allclose(nearer - theta, (moved - theta) / 2, rtol=1e-5, atol=1e-10)
        # θ − 10θ² from 0 with the KL θ²/2 and δ = ½: 1 is as far as one may go, and of 1, ½, ¼, … only 1/16 gains.
        plain = TRPO(trust=0.5, shorter=0.5, damping=0.0)
        moved, told = plain.step(jnp.zeros(1), lambda x: (x - 10 * x**2)[0], lambda x: (x**2)[0] / 2)
        assert told["tries"] == 5 and float(moved[0]) == pytest.approx(1 / 16)
        # Nothing can be gained where nothing is better than anything else: nothing moves.
        still, told = method.step(theta, lambda x: 0.0 * jnp.sum(x), kl)
        assert jnp.array_equal(still, theta)


def test_the_critic_takes_as_many_steps_as_there_are_minibatches() -> None:
    method = TRPO(network=Table(), num_envs=2, rollout=8, critic_epochs=3, critic_minibatches=4, backtracks=1)
    training = train(method, "student", 64)
    training.run_to_end(progress=False)
    counts = [x for x in jax.tree.leaves(training.run.learner.critic_optimiser) if jnp.issubdtype(x.dtype, jnp.integer)]
    assert [int(x) for x in counts] == [5 * 12]  # Five updates: a row between two episodes is no step.
    with pytest.raises(ValueError, match="cannot be split into 3 equal minibatches"):
        train(dataclasses.replace(method, critic_minibatches=3), "student", 64)


@pytest.mark.parametrize("most", [1.0, 1.5, 100.0])
def test_v_trace_stands_still_at_its_fixed_point(most: float) -> None:
    """Expected over all that may happen in two steps, it changes nothing of the value of π_ρ̄ ∝ min(ρ̄μ, π)."""
    exact, discount = model("example_3_5"), 0.9
    rng = np.random.default_rng(1)
    pairs, owner = exact.num_pairs, exact.pair_state
    shares = [rng.uniform(0.2, 1, pairs) for _ in range(2)]
    target, behaviour = (x / np.bincount(owner, x)[owner] for x in shares)
    between = np.minimum(most * behaviour, target)
    between /= np.bincount(owner, between)[owner]
    value = jnp.asarray(evaluate(exact, between, discount).value, jnp.float32)
    ratio = jnp.asarray(target / behaviour, jnp.float32)
    # Each pair leads to one place for certain: of every two steps one path.
    follows, paid = exact.next_state[exact.row_ptr[:-1]], exact.reward[exact.row_ptr[:-1]]
    first = np.repeat(np.arange(pairs), 4)
    second = np.concatenate([np.flatnonzero(owner == follows[p]) for p in range(pairs)])
    path = np.stack([first, second], 1)

    def change(pair: jax.Array) -> jax.Array:
        states = jnp.asarray(owner)[pair]
        nexts = jnp.asarray(follows)[pair]
        found = vtrace(
            jnp.asarray(paid, jnp.float32)[pair],
            jnp.full(2, discount),
            value[states],
            value[nexts],
            jnp.array([False, False]),
            ratio[pair],
            most,
            1.0,
        )
        return found.value[0] - value[states[0]]

    changes = np.asarray(jax.vmap(change)(jnp.asarray(path)))
    chance = behaviour[path].prod(1)
    expected = np.bincount(owner[path[:, 0]], chance * changes, exact.num_states)
    np.testing.assert_allclose(expected, 0, atol=1e-4 * np.abs(value).max())
    wrong = evaluate(exact, target, discount).value if most == 1.0 else evaluate(exact, behaviour, discount).value
    assert np.abs(np.asarray(value) - wrong).max() > 0.01  # It is another policy's value that stands still.


def test_beta_is_a_density_within_the_bounds() -> None:
    one, other = Beta(jnp.array([1.5]), jnp.array([3.0])), Beta(jnp.array([2.5]), jnp.array([1.2]))
    y = (np.arange(20_000) + 0.5) / 10_000 - 1
    log = {
        name: np.asarray(jax.vmap(p.log_prob)(jnp.asarray(y[:, None], jnp.float32)))
        for name, p in (("one", one), ("other", other))
    }
    density = np.exp(log["one"]) / 10_000
    assert density.sum() == pytest.approx(1, abs=1e-3)
    assert float(one.entropy()) == pytest.approx(-(density * log["one"]).sum(), abs=1e-3)
    assert float(one.kl(other)) == pytest.approx((density * (log["one"] - log["other"])).sum(), abs=2e-3)
    assert float(one.mode()[0]) == pytest.approx(y[density.argmax()], abs=1e-3)
    even = jnp.ones(1)  # What a head says from softplus(−17) on.
    assert float(Beta(even, even).mode()[0]) == 0
    drawn = np.asarray(jax.vmap(one.sample)(jax.random.split(jax.random.key(0), 4096)))
    assert abs(drawn.mean() - (density * y).sum()) < 4 * drawn.std() / 64
    with pytest.raises(SpaceError, match="a beta policy acts between bounds"):
        policy_head(spaces.Box(-np.inf, np.inf, (1,)), BoxPolicy.beta)
