"""PQN: one update by hand, over an episode's end and a mask; what cannot be split is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.algorithms import PQN
from retorno.core.counter import Counter
from retorno.core.policy import world_reward
from retorno.core.spaces import Spec
from retorno.core.time_step import TimeStep, Trajectory, blank
from retorno.environments.registry import make
from retorno.networks import GRU, Table
from retorno.ops.optimisers import SGD
from retorno.run.train import train

DISCOUNT, LAMBDA = 0.5, 0.25
STATES, ACTIONS = [0, 1, 2, 0, 1], [1, 0, 0, 0]  # 2 is cut by a time limit; what is done there counts for nothing.
REWARDS, LEGAL = [0.0, 1.0, 2.0, 0.0, 4.0], [[True, True], [False, True], [True, True], [True, True], [True, True]]


def test_one_update_by_hand() -> None:
    table = np.array([[0.0, 1.0], [9.0, 2.0], [5.0, 4.0]], np.float32)
    settings = {"num_envs": 1, "rollout": 4, "epochs": 1, "minibatches": 1, "discount": DISCOUNT, "lambda_": LAMBDA}
    method = PQN(network=Table(), optimiser=SGD(1.0), **settings)
    column = lambda x, dtype: jnp.asarray(x, dtype)[:, None]  # noqa: E731
    rows = TimeStep(
        obs=column(STATES, jnp.int32),
        reward=column(REWARDS, jnp.float32),
        discount=jnp.ones((5, 1)),
        first=column([True, False, False, True, False], bool),
        last=column([False, False, True, False, False], bool),
        legal=column(LEGAL, bool),
    )
    one = blank(jax.tree.map(lambda x: x[0, 0], rows))
    spec = Spec(spaces.Discrete(3), spaces.Discrete(2), 1, Counter.of(8), one)
    learner = method.init(jax.random.key(0), spec)
    network = jax.tree.map(lambda _: jnp.asarray(table), learner.network)
    acted_by = {"q": column(table[STATES[:-1]], jnp.float32)}
    trajectory = Trajectory(rows, column(ACTIONS, jnp.int32), acted_by, ())
    after, metrics = method.update(learner._replace(network=network), trajectory, world_reward, jax.random.key(1))

    best = [table[s][np.asarray(legal)].max() for s, legal in zip(STATES, LEGAL, strict=True)]
    target, later = np.zeros(4), best[-1]
    for t in reversed(range(4)):
        ahead = best[t + 1] if STATES[t + 1] == 2 else (1 - LAMBDA) * best[t + 1] + LAMBDA * later
        target[t] = later = REWARDS[t + 1] + DISCOUNT * ahead
    wanted, counted = table.astype(float), [0, 1, 3]
    for t in counted:
        wanted[STATES[t], ACTIONS[t]] += (target[t] - table[STATES[t], ACTIONS[t]]) / len(counted)
    np.testing.assert_allclose(after.network.tables["q"], wanted, rtol=1e-6)
    assert float(metrics["q"]) == pytest.approx(np.mean([table[STATES[t], ACTIONS[t]] for t in counted]))


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ValueError, match="8 transitions cannot be split into 3 equal minibatches"):
        train(PQN(network=Table(), num_envs=2, rollout=4, minibatches=3), make("cliff"), 10)
    with pytest.raises(ValueError, match=r"2 sequences .* cannot be split into 4"):
        train(PQN(network=GRU(8, (8,)), num_envs=2, rollout=4, minibatches=4), make("CartPole-v1"), 10)
