"""MuZero: its targets and losses by hand, and a game whose rules it is not told."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from test_alpha_zero import KEY, Nim

from retorno.algorithms import MuZero
from retorno.algorithms.self_play.mu_zero import Imagination, MuZeroNetwork
from retorno.core.counter import Counter
from retorno.core.policy import WithoutMemory
from retorno.core.runtime import IN_HASTE
from retorno.core.time_step import TimeStep, Trajectory, restart
from retorno.networks import MLP
from retorno.networks.layers import Activation
from retorno.ops.distributions import Categorical
from retorno.ops.estimates import squashed
from retorno.ops.optimisers import Adam
from retorno.replay import Window
from retorno.run.loop import begin_runs, iterate
from retorno.search import PUCT, Gumbel, SearchPolicy
from retorno.search.trees import evaluator_of


class Says(WithoutMemory):
    """Heads that are always the same."""

    heads: dict[str, Any]

    def step(self, obs: Any, first: Any, carry: Any) -> Any:
        return self.heads, ()


def test_losses_by_hand_end_where_the_episode_does() -> None:
    """Three transitions: one, one that terminates, and a reset, of which nothing is learnt."""
    even = Categorical(jnp.zeros(2))
    network = MuZeroNetwork(
        Says({"hidden": jnp.zeros(3)}),
        Says({"hidden": jnp.zeros(3), "reward": jnp.float32(0.5), "turn": Categorical(jnp.zeros(3))}),
        Says({"policy": even, "value": jnp.float32(0)}),
    )
    column = lambda *numbers: jnp.array(numbers)[:, None]  # noqa: E731
    steps = TimeStep(
        obs=jnp.zeros((4, 1), jnp.int32),
        reward=column(0.0, 0.0, 3.0, 0.0),
        discount=column(1.0, -1.0, 0.0, 1.0),
        first=column(True, False, False, True),
        last=column(False, False, True, False),
    )
    extras = {"policy": jnp.array([[[0.25, 0.75]]] * 3), "target": column(0.0, 3.0, 100.0)}
    lived = Trajectory(steps, jnp.zeros((3, 1), jnp.int32), extras, ())
    window = Window(lived, jax.tree.map(lambda x: x[:0], steps), (), jnp.zeros(1, int), jnp.ones(1))
    _, (metrics, error) = MuZero()._loss(network, window, steps.reward[1:])
    three = float(squashed(jnp.float32(3)))
    expected = {
        "value_loss": three**2 / 2,
        "reward_loss": (0.5**2 + (three - 0.5) ** 2) / 2,
        "policy_loss": np.log(2),
        "turn_loss": np.log(3),
    }
    for name, loss in metrics.items():
        np.testing.assert_allclose(loss, expected[name], rtol=1e-5, err_msg=name)
    assert error.tolist() == [0.0]


def test_what_is_not_legal_is_not_searched_where_it_plays() -> None:
    """The prior wants what is not legal, and half of the simulations went there: of what is, nothing was looked at."""
    network = MuZeroNetwork(
        Says({"hidden": jnp.zeros(3)}),
        Says({"hidden": jnp.zeros(3), "reward": jnp.float32(0), "turn": Categorical(jnp.zeros(3))}),
        Says({"policy": Categorical(jnp.array([9.0, 9.0, 0.0, 1.0])), "value": jnp.float32(0)}),
    )
    policy = SearchPolicy(network, Imagination(network), jnp.uint32(0), PUCT(simulations=8), jnp.float32(1))
    row = restart(jnp.int32(0), jnp.array([False, False, True, True]))
    choice, _ = jax.jit(lambda row: policy.choice(row, ()))(row)
    weights = policy.config.search(policy.model, evaluator_of(network), row, KEY, policy.discount).policy
    assert weights[:2].sum() == 0 and (weights[2:] > 0).all()
    np.testing.assert_allclose(choice.probs(), weights, atol=1e-2)


def test_a_game_whose_rules_it_is_not_told() -> None:
    """Of Nim it learns whose turn it is, when it ends, what that pays, and the perfect move wherever there is one."""
    world = Nim()
    wide = MLP(hidden=(64,), activation=Activation.relu, shared=True)
    method = MuZero(
        network=wide,
        inner=wide,
        hidden=32,
        search=Gumbel(simulations=16),
        rollout=16,
        batch_size=64,
        unroll=4,
        capacity=4096,
        optimiser=Adam(3e-3),
        discount=1.0,
        temperature=2.0,
        temperature_end=2.0,
    )
    steps = Counter.of(12_000)

    @partial(jax.jit, compiler_options=IN_HASTE)
    def learnt(seed: Any) -> Any:
        run = begin_runs(method, world, None, seed, steps, method.num_envs)
        going = lambda run: run.step.low < steps.low  # noqa: E731
        return jax.lax.while_loop(going, lambda run: iterate(method, world, run).after, run).learner

    matches = np.arange(1, 11)
    won = matches % 4 != 0
    pairs = [(left, take) for left in matches for take in range(min(left, 3))]
    left, take = map(jnp.array, zip(*pairs, strict=True))
    for seed in range(2):
        network = learnt(np.uint32(seed)).network
        heads = jax.vmap(lambda left, network=network: network.step(left, jnp.bool_(True), ())[0])(jnp.asarray(matches))
        logits = np.where(np.arange(1, 4) <= matches[:, None], heads["policy"].logits, -np.inf)
        model = Imagination(network)
        rows = jax.vmap(lambda left, take, model=model: model.step(left, take, KEY))(left, take)
        ends = np.asarray(left == take + 1)
        assert (logits.argmax(1) + 1)[won].tolist() == (matches % 4)[won].tolist()
        assert (np.sign(heads["value"]) == np.where(won, 1, -1)).all()
        # Moves that nobody makes any more are known less well.
        assert np.abs(rows.reward - ends).mean() < 0.1
        assert np.abs(rows.discount - (ends - 1.0)).mean() < 0.1
