"""Worlds that each ask one thing: whoever fails says by that where to look.

After the probe environments of rejax (Liesen et al. 2024). All are one program with other numbers: an algorithm is
compiled once, and learns in all of them side by side.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from jax import Array
from jaxtyping import Float

from retorno.algorithms import (
    A2C,
    ARS,
    C51,
    CMAES,
    DDPG,
    DQN,
    ES,
    IMPALA,
    IQN,
    PPO,
    PQN,
    QRDQN,
    QRSAC,
    R2D2,
    REDQ,
    REINFORCE,
    SAC,
    TD3,
    TQC,
    TRPO,
    BootstrappedDQN,
    CrossQ,
    DroQ,
    Rainbow,
    SimBaSAC,
)
from retorno.core.environment import Environment
from retorno.core.policy import Algorithm
from retorno.core.time_step import TimeStep, Trajectory, restart, transition
from retorno.environments.stacked import stacked
from retorno.networks import GRU, MLP, Activation, BatchRenormMLP, SimBa
from retorno.networks.ensembles import Least, LeastQuantiles, Truncated
from retorno.networks.returns import Categorical, QuantileRegression
from retorno.ops.optimisers import SGD, Adam, Schedule
from retorno.run.loop import Run
from retorno.run.probe import probe

LIGHTS = jnp.array([-1.0, 1.0])
CHOICES = 3
DISCOUNT = 0.8


def numbers(x: Any) -> Array:
    return jnp.asarray(x, jnp.float32)


class Probe(Environment):
    """A light, −1 or 1, which the first row alone shows, and up to three choices of a side, or of a real number.

    Choice t pays `pays[t]` (`constant` + `by_light` · light + c). How good it is, c, is of the sides −1 and 1 k · side,
    of a real number a |k| (1 − (a − k/2)²), with k = `by_action` + `by_both` · light: |k| where it is best.
    """

    pays: Float[Array, " 3"] = eqx.field(converter=numbers, default=(1, 0, 0))
    choices: Float[Array, ""] = eqx.field(converter=numbers, default=1)
    """How many an episode has."""
    constant: Float[Array, ""] = eqx.field(converter=numbers, default=0)
    by_light: Float[Array, ""] = eqx.field(converter=numbers, default=0)
    by_action: Float[Array, ""] = eqx.field(converter=numbers, default=0)
    by_both: Float[Array, ""] = eqx.field(converter=numbers, default=0)
    tempts: Float[Array, ""] = eqx.field(converter=numbers, default=0)
    """What is paid at once for the side −1, or a number below 0, which then ends the episode; 0 for no such thing."""
    real: bool = eqx.field(static=True, default=False)

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-1, 1, (1 + CHOICES,))

    @property
    def action_space(self) -> spaces.Space[Any]:
        return spaces.Box(-1, 1, (1,)) if self.real else spaces.Discrete(2)

    def reset(self, key: Any) -> tuple[Any, TimeStep]:
        light = jax.random.choice(key, LIGHTS)
        return (light, jnp.int32(0)), restart(shown(light, 0))

    def step(self, state: Any, action: Any, key: Any) -> tuple[Any, TimeStep]:
        light, t = state
        side = action[0] if self.real else 2.0 * action - 1
        k = self.by_action + self.by_both * light
        good = jnp.abs(k) * (1 - jnp.square(side - k / 2)) if self.real else k * side
        tempted = (self.tempts > 0) & (side < 0)
        paid = jnp.where(tempted, self.tempts, self.pays[t] * (self.constant + self.by_light * light + good))
        state = (light, jnp.minimum(t + 1, CHOICES - 1))
        return state, transition(shown(*state), paid, terminated=tempted | (t + 1 >= self.choices))


def shown(light: Any, t: Any) -> Float[Array, " 4"]:
    """A row: the light on the first one, and which choice it is."""
    return jnp.concatenate([jnp.where(t == 0, light, 0.0)[None], jnp.arange(CHOICES) == t])


ROWS = jax.vmap(lambda light: jax.vmap(lambda t: shown(light, t))(jnp.arange(CHOICES)))(LIGHTS)
"""All that an episode can show, [lights, choices, 4]."""

QUESTIONS: dict[str, dict[str, Any]] = {
    "constant": {"constant": 1},
    "light": {"by_light": 1},
    "delayed": {"constant": 1, "pays": (0, 1, 0), "choices": 2},
    "action": {"by_action": 1},
    "both": {"by_both": 1},
    "exploration": {"by_action": 1, "pays": (0, 0, 1), "choices": 3, "tempts": 0.1},
}
VALUES = {
    "constant": lambda q: (q[:, 0], 1.0),
    "light": lambda q: (q[:, 0], LIGHTS.reshape(-1, *[1] * (q.ndim - 2))),
    "delayed": lambda q: (q[:, :2], numbers([DISCOUNT, 1.0]).reshape(-1, *[1] * (q.ndim - 2))),
}
"""Where no action matters: which of the values of rows [lights, choices, …] are known, and what they are."""
ASKING_FOR_MEMORY: dict[str, dict[str, Any]] = {
    "both": QUESTIONS["both"],
    "memory": {"by_both": 1, "pays": (0, 1, 0), "choices": 2},
}


class Answer(eqx.Module):
    """What was learnt of all rows, in each world."""

    action: Array
    """[worlds, lights, choices, …], the best one."""
    value: Array | None
    """The same, of the row or of each action; None where no values are learnt."""


def learnt(method: Algorithm, questions: dict[str, dict[str, Any]], real: bool, updates: int) -> tuple[Any, Answer]:
    worlds = stacked([Probe(**asked, real=real) for asked in questions.values()])

    def look(run: Run, lived: Trajectory) -> Answer:
        policy, learner = method.policy(run.learner), run.learner
        first = jnp.arange(CHOICES) == 0
        heads = jax.vmap(lambda rows: policy.unroll(rows, first, policy.initial_carry()))(ROWS)
        action = jax.vmap(jax.vmap(lambda policy: policy.mode()))(heads["policy"])
        value = heads.get("q", heads.get("value"))
        if real and hasattr(learner, "critics"):
            value = jax.vmap(jax.vmap(lambda row: judged(method, learner, row)))(ROWS)
        return Answer(action, value)

    found = probe(method, worlds, updates, look, seeds=(0,), every=updates, side_by_side=True)
    return worlds, jax.tree.map(lambda x: x[:, 0, 0], found)


def judged(method: Any, learner: Any, row: Array) -> Array:
    """What the critics say together of some actions."""
    memory = tuple(member.initial_carry() for member in learner.critics.members)
    said = [learner.critics(row, jnp.array(True), jnp.array([a]), memory) for a in (-0.5, 0.0, 0.5)]
    return jnp.stack([method.ensemble.judgement(q) if hasattr(method, "ensemble") else q.min(0) for q in said])


@jax.jit
def earned(worlds: Probe, action: Array) -> Float[Array, "worlds lights"]:
    """The returns of actions [worlds, lights, choices, …]."""

    def episode(world: Probe, light: Array, action: Array) -> Array:
        state, total, going = (light, jnp.int32(0)), 0.0, True
        for t in range(CHOICES):
            state, row = world.step(state, action[t], None)
            total, going = total + going * row.reward, going & ~row.last
        return total

    return jax.vmap(lambda world, action: jax.vmap(lambda *x: episode(world, *x))(LIGHTS, action))(worlds, action)


def check(method: Any, questions: dict[str, dict[str, Any]], real: bool, updates: int, valued: bool = True) -> None:
    """What is done is the best that can be, a number within .3 of it, and the values that are known are learnt.

    Of numbers where a nearer reward tempts it is asked that the farther one is found.
    """
    worlds, answer = learnt(dataclasses.replace(method, discount=DISCOUNT), questions, real, updates)
    returns = dict(zip(questions, np.asarray(earned(worlds, answer.action)), strict=True))
    for place, name in enumerate(questions):
        lost = 0.5 if real and name == "exploration" else 0.1 if real else 1e-6
        best = np.asarray(LIGHTS) if name == "light" else 1.0
        assert np.all(returns[name] >= best - lost), (name, returns[name])
        if valued and answer.value is not None and name in VALUES:
            value, exact = VALUES[name](answer.value[place])
            np.testing.assert_allclose(value, jnp.broadcast_to(exact, value.shape), atol=0.1, err_msg=name)


NETWORK = MLP((16,))
FRESH: dict[str, Any] = {
    "network": NETWORK,
    "num_envs": 16,
    "rollout": 16,
    "optimiser": Adam(0.02, Schedule.linear, max_gradient_norm=0.5),
}
REPLAYED: dict[str, Any] = {
    "network": NETWORK,
    "num_envs": 8,
    "rollout": 4,
    "gradient_steps": 4,
    "batch_size": 32,
    "capacity": 2048,
    "learning_starts": 128,
    "optimiser": Adam(0.01, Schedule.linear),
}
VALUED = REPLAYED | {"target_period": 64, "epsilon_end": 0.2, "exploration_fraction": 0.5, "average": None}
ACTED = REPLAYED | {"target_step": 0.05}
SOFT = ACTED | {"temperature": 0.02, "automatic": False, "actor_period": 1}
SEARCHED: dict[str, Any] = {"network": MLP((8,)), "num_envs": 32, "rollout": 8}

OF_SIDES: dict[str, tuple[Any, int]] = {
    "ppo": (PPO(**FRESH, epochs=4, minibatches=4), 40),
    "a2c": (A2C(**FRESH), 160),
    "trpo": (TRPO(**FRESH), 40),
    "impala": (IMPALA(**FRESH), 160),
    "reinforce": (REINFORCE(**FRESH, longest_episode=4), 160),
    "dqn": (DQN(**VALUED), 150),
    "c51": (C51(**VALUED, returns=Categorical(atoms=21, support=(-2.0, 2.0))), 150),
    "qrdqn": (QRDQN(**VALUED, returns=QuantileRegression(8)), 150),
    "iqn": (IQN(**VALUED), 150),
    "rainbow": (Rainbow(**VALUED | {"returns": Categorical(21, (-2.0, 2.0)), "duelling": 8}), 150),
    "bootstrapped_dqn": (
        BootstrappedDQN(**{k: v for k, v in VALUED.items() if k in REPLAYED}, members=3, target_period=64),
        150,
    ),
    "pqn": (PQN(**FRESH, epochs=2, minibatches=4), 40),
    "sac": (SAC(**SOFT), 150),
    "es": (ES(**SEARCHED, optimiser=Adam(0.1), table=10_000), 80),
    "ars": (ARS(**SEARCHED | {"network": ARS().network, "deviation": 0.5, "optimiser": SGD(0.1)}, table=10_000), 80),
    "cma_es": (CMAES(**SEARCHED), 80),
}
OF_NUMBERS: dict[str, tuple[Any, int]] = {
    "ppo": (PPO(**FRESH, epochs=4, minibatches=4), 40),
    "sac": (SAC(**SOFT), 150),
    "td3": (TD3(**ACTED, noise=0.3), 150),
    "ddpg": (DDPG(**ACTED, noise=0.3), 150),
    "tqc": (TQC(**SOFT, ensemble=Truncated(2, 5, 1)), 150),
    "qr_sac": (QRSAC(**SOFT, ensemble=LeastQuantiles(2, 5)), 150),
    "redq": (REDQ(**SOFT, ensemble=Least(3, subset=2)), 150),
    "droq": (DroQ(**SOFT, critic_network=MLP((16,), Activation.relu, layer_norm=True, dropout=0.02)), 150),
    "crossq": (CrossQ(**SOFT, critic_network=BatchRenormMLP((16,), warm_up=200)), 150),
    "simba_sac": (SimBaSAC(**SOFT | {"network": SimBa(8), "critic_network": SimBa(8)}), 150),
}
ALIKE = ("impala", "pqn", "a2c", "c51", "qrdqn", "iqn", "ddpg", "qr_sac", "redq", "droq", "simba_sac")
"""PPO, DQN, TD3 and SAC with other settings, of which others are asked in their place: Rainbow has C51's values, TQC
those of quantiles. IMPALA and PQN are asked with a memory. Of every run with `--all`."""
REMEMBERING: dict[str, Any] = {"network": GRU(8, (8,))}
WINDOWS: dict[str, Any] = REMEMBERING | {"length": 2, "burn_in": 1}
OF_MEMORY: dict[str, tuple[Any, int]] = {
    "ppo": (PPO(**FRESH | REMEMBERING, epochs=4, minibatches=4), 40),
    "impala": (IMPALA(**FRESH | REMEMBERING), 160),
    "pqn": (PQN(**FRESH | REMEMBERING, epochs=2, minibatches=4), 40),
    "r2d2": (R2D2(**VALUED | WINDOWS | {"n": 1, "duelling": 8}), 150),
    "sac": (SAC(**SOFT | WINDOWS), 150),
}


def asked_of(methods: dict[str, Any]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.only_all] if name in ALIKE else []) for name in methods]


@pytest.mark.parametrize("name", asked_of(OF_SIDES))
def test_of_two_sides_the_right_one_is_taken(name: str) -> None:
    method, updates = OF_SIDES[name]
    # ARS follows the mean of its directions, which from where it begins leads to the nearer reward.
    asked = {question: told for question, told in QUESTIONS.items() if (name, question) != ("ars", "exploration")}
    check(method, asked, real=False, updates=updates)


@pytest.mark.parametrize("name", asked_of(OF_NUMBERS))
def test_the_best_number_is_found(name: str) -> None:
    method, updates = OF_NUMBERS[name]
    # SimBa's values of so few rows are up to a third off when its actions are the best ones.
    check(method, QUESTIONS, real=True, updates=updates, valued=name != "simba_sac")


@pytest.mark.parametrize("name", OF_MEMORY)
def test_what_was_shown_is_remembered(name: str) -> None:
    method, updates = OF_MEMORY[name]
    check(method, ASKING_FOR_MEMORY, real=False, updates=updates)
