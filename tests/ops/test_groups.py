"""Groups of episodes: what baselines say, against plain loops and exact expectations."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from retorno.algorithms import GRPO, RLOO
from retorno.algorithms.policy_gradient.grpo import _Rows
from retorno.core.counter import Counter
from retorno.core.policy import Policy
from retorno.environments.text.prompts import Prompts
from retorno.networks import MLP
from retorno.ops.distributions import Categorical
from retorno.ops.groups import (
    best_of_group,
    episode_return,
    group_relative_advantage,
    kl_estimate,
    leave_one_out_advantage,
)
from retorno.run.loop import native_spec

rng = np.random.default_rng(0)
REWARD = rng.normal(size=(6, 3)).astype(np.float32)
LAST = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]], bool)


def test_the_return_of_the_whole_episode_stands_beside_each_transition() -> None:
    expected = np.zeros_like(REWARD)
    for env in range(3):
        start = 0
        for t in range(6):
            if LAST[t, env] or t == 5:
                whole = sum(0.9 ** (k - start) * REWARD[k, env] for k in range(start, t + 1))
                expected[start : t + 1, env] = whole
                start = t + 1
    found = jax.vmap(episode_return, in_axes=(1, 1, None), out_axes=1)(jnp.asarray(REWARD), jnp.asarray(LAST), 0.9)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_baselines_against_plain_loops() -> None:
    """Episodes of different lengths count once each."""
    returns = jnp.asarray(REWARD)
    ended = REWARD[LAST]
    others = [(REWARD - (ended.sum() - REWARD) / (len(ended) - 1))]
    np.testing.assert_allclose(leave_one_out_advantage(returns, jnp.asarray(LAST)), others[0], atol=1e-6)
    centred = REWARD - ended.mean()
    np.testing.assert_allclose(group_relative_advantage(returns, jnp.asarray(LAST), False), centred, atol=1e-6)
    np.testing.assert_allclose(
        group_relative_advantage(returns, jnp.asarray(LAST)), centred / ended.std(), rtol=1e-5, atol=1e-6
    )
    assert (np.asarray(best_of_group(returns, jnp.asarray(LAST))) == (ended.max() <= REWARD)).all()


def test_who_has_none_beside_it_is_neither_better_nor_worse() -> None:
    alone = jnp.array([3.0, 4.0]), jnp.array([False, True])
    assert not leave_one_out_advantage(*alone).any() and not group_relative_advantage(alone[0][1:], alone[1][1:]).any()


def test_leaving_one_out_has_no_bias() -> None:
    """All groups of two answers of a bandit, each with its probability: the mean is the policy's own gradient."""
    logits, worth = jnp.array([0.3, -0.2, 0.1]), np.array([1.0, 5.0, -2.0], np.float32)
    probs = np.asarray(jax.nn.softmax(logits))
    exact = jax.grad(lambda x: jax.nn.softmax(x) @ worth)(logits)
    score = np.eye(3) - probs
    mean = np.zeros(3)
    for pair in itertools.product(range(3), repeat=2):
        both = worth[list(pair)]
        advantage = np.asarray(leave_one_out_advantage(jnp.asarray(both), jnp.ones(2, bool)))
        mean += probs[list(pair)].prod() * (advantage[:, None] * score[list(pair)]).mean(0)
    np.testing.assert_allclose(mean, exact, atol=1e-6)


def test_the_weighted_estimate_of_a_kl_has_its_gradient_and_the_plain_one_the_other_kl_s() -> None:
    """What the docstring of GRPO says: exact, at a policy that is not the reference."""
    logits, reference = jnp.array([0.5, -1.0, 0.3]), jax.nn.log_softmax(jnp.array([-0.4, 0.2, 0.9]))
    probs = jax.nn.softmax(logits)

    def mean(x: jax.Array, weighted: bool) -> jax.Array:
        log_probs = jax.nn.log_softmax(x)
        ratio = jnp.exp(log_probs - jnp.log(probs)) if weighted else 1.0
        return (probs * ratio * jax.vmap(kl_estimate)(log_probs - reference)).sum()

    def kl(x: jax.Array, forward: bool) -> jax.Array:
        p, q = (jax.nn.log_softmax(x), reference) if forward else (reference, jax.nn.log_softmax(x))
        return (jnp.exp(p) * (p - q)).sum()

    assert mean(logits, True) == pytest.approx(float(kl(logits, True)), abs=1e-6)
    for weighted in (True, False):
        gradient = jax.grad(mean)(logits, weighted)
        np.testing.assert_allclose(gradient, jax.grad(kl)(logits, weighted), atol=1e-6)


@pytest.mark.parametrize("group", [2, 3])
def test_the_temperature_to_which_a_kl_in_the_loss_leads(group: int) -> None:
    """Where an answer is one choice. A return stands in its own baseline, so that of its gradient (K−1)/K is left, and
    of the KL's all: in all groups of K answers the mean gradient is none where π ∝ π_ref exp(r / (β K/(K−1))).
    """
    worth, reference, beta = jnp.array([1.0, 0.2, -0.6]), jax.nn.log_softmax(jnp.array([-0.4, 0.2, 0.9])), 0.5
    algorithm = GRPO(group=group, num_envs=group, scale_advantages=False, kl_coefficient=beta)
    groups = jnp.array(list(itertools.product(range(3), repeat=group)))

    class Bandit(Policy):
        logits: Array

        @property
        def context(self) -> int:
            return 0

        def initial_carry(self) -> tuple[()]:
            return ()

        def step(self, obs: Any, first: Any, carry: Any) -> Any:
            return {"policy": Categorical(self.logits)}, carry

        def unroll(self, obs: Any, first: Any, carry: Any) -> Any:
            return {"policy": Categorical(jnp.broadcast_to(self.logits, (*first.shape, 3)))}

        def select(self, *heads: str) -> Bandit:
            return self

    @jax.jit
    def mean_gradient(temperature: Array) -> Array:
        logits = reference + worth / temperature
        log_probs = jax.nn.log_softmax(logits)

        def of(chosen: Array) -> Array:
            ends = jnp.ones((1, group), bool)
            rows = _Rows(
                obs=jnp.zeros((1, group)), first=ends, legal=None, action=chosen[None],
                log_prob=log_probs[chosen][None], reference=reference[chosen][None],
                advantage=group_relative_advantage(worth[chosen][None], ends, scale=False),
                share=jnp.full((1, group), 1 / group), choices=ends,
            )  # fmt: skip
            return jax.grad(lambda network: algorithm._loss(network, rows)[0])(Bandit(logits)).logits

        return (jnp.exp(log_probs[groups].sum(1))[:, None] * jax.vmap(of)(groups)).sum(0)

    np.testing.assert_allclose(mean_gradient(jnp.float32(beta * group / (group - 1))), 0, atol=1e-6)
    assert np.abs(mean_gradient(jnp.float32(beta))).max() > 0.01


def test_groups_that_cannot_be_are_refused() -> None:
    world = Prompts([[1]], vocabulary=4, answer=2).together()

    def init(algorithm: GRPO | RLOO) -> None:
        spec = native_spec(world, Counter.of(1), algorithm.num_envs)
        jax.eval_shape(lambda key: algorithm.init(key, spec), jax.random.key(0))

    network = MLP((8,))
    with pytest.raises(ValueError, match="group must be 2 or more, and num_envs a multiple"):
        init(GRPO(network, num_envs=6, group=4, rollout=3))
    with pytest.raises(ValueError, match="RLOO compares the episodes of 1 neighbouring"):
        init(RLOO(network, num_envs=6, group=1, rollout=3))
    with pytest.raises(ValueError, match=r"6 rows hold 2, one after another, .* choose rollout=3"):
        init(GRPO(network, num_envs=6, group=2, rollout=6))
    with pytest.raises(ValueError, match="cannot be split into 4 equal"):
        init(GRPO(network, num_envs=6, group=2, rollout=3, minibatches=4))
