"""What may be done on a row: nothing said, a mask, a mask for each component, one action alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno.core.time_step import Only, TimeStep, Trajectory, allowed, legal_mask, restart, several
from retorno.ops.distributions import Categorical, EpsilonGreedy
from retorno.ops.returns import double_q_learning_target, q_learning_target

Q = jnp.array([1.0, 5.0, 3.0])
ONE, ALL = Only(jnp.int32(2)), Only(jnp.int32(-1))
FORMS = [(None, [1, 1, 1]), (jnp.array([True, False, True]), [1, 0, 1]), (ONE, [0, 0, 1]), (ALL, [1, 1, 1])]


@pytest.mark.parametrize(("legal", "shown"), FORMS)
def test_each_form_as_a_mask(legal, shown):
    mask = legal_mask(legal, 3)
    assert mask is None if legal is None else mask.tolist() == [bool(x) for x in shown]
    np.testing.assert_array_equal(allowed(legal, Q), np.where(shown, Q, -np.inf))
    assert bool(several(legal)) == (sum(shown) > 1)


@pytest.mark.parametrize(("legal", "shown"), FORMS)
def test_each_form_leaves_the_same_to_choose(legal, shown):
    """A distribution, a maximum and a double maximum see the same actions, whatever the form."""
    mask = jnp.array(shown, bool)
    probs = np.where(shown, np.exp(Q), 0) / np.where(shown, np.exp(Q), 0).sum()
    np.testing.assert_allclose(Categorical(Q).masked(legal).probs(), probs, atol=1e-6)
    np.testing.assert_array_equal(
        EpsilonGreedy(Q, jnp.float32(0.3)).masked(legal).probs(), EpsilonGreedy(Q, jnp.float32(0.3), mask).probs()
    )
    assert q_learning_target(jnp.float32(1), jnp.float32(0.5), Q, legal) == 1 + 0.5 * np.max(Q[mask])
    best = np.where(shown, [7.0, 2.0, 4.0], -np.inf).argmax()
    found = double_q_learning_target(jnp.float32(1), jnp.float32(0.5), jnp.array([7.0, 2.0, 4.0]), Q, legal)
    assert found == 1 + 0.5 * Q[best]


def test_what_is_forced_has_no_gradient():
    policy = lambda q: Categorical(q).masked(ONE).log_prob(jnp.int32(2))  # noqa: E731
    assert policy(Q) == 0
    np.testing.assert_array_equal(jax.grad(policy)(Q), [0, 0, 0])


def test_choices_by_hand():
    """Of four rows the first is forced, on the second all is free, the third ends the episode: one choice."""
    first, last = jnp.array([[1], [0], [0], [1]], bool), jnp.array([[0], [0], [1], [0]], bool)
    zeros = jnp.zeros((4, 1))

    def choices(legal):
        trajectory = Trajectory(TimeStep(zeros, zeros, zeros, first, last, legal), zeros[:-1], (), ())
        assert trajectory.transitions[:, 0].tolist() == [True, True, False]
        return trajectory.choices[:, 0].tolist()

    assert choices(None) == [True, True, False]
    assert choices(Only(jnp.array([[4], [-1], [-1], [4]]))) == [False, True, False]
    assert choices(jnp.array([[[1, 0]], [[1, 1]], [[1, 1]], [[1, 0]]], bool)) == [False, True, False]
    # Of a MultiDiscrete action it is a choice if one component is.
    one, two = jnp.array([[[1, 0]], [[1, 0]], [[1, 1]], [[1, 0]]], bool), jnp.ones((4, 1, 1), bool)
    assert choices((one, two)) == [False, False, False]
    three = jnp.array([[[0, 1, 0]], [[0, 1, 1]], [[1, 1, 1]], [[1, 0, 0]]], bool)
    assert choices((one, three)) == [False, True, False]


def test_one_action_is_stored_as_one_number():
    row = restart(jnp.int32(0), Only(jnp.int32(17)))
    assert sum(leaf.size for leaf in jax.tree.leaves(row.legal)) == 1
