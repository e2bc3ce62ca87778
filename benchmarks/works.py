"""retorno's side of deep.py: each work prepares itself and answers with its rate in environment steps a second."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

from measure import clock, serve

import retorno as rt
from retorno.algorithms.published import settings
from retorno.networks import MLP, Activation
from retorno.networks.ensembles import Truncated
from retorno.networks.returns import QuantileRegression

FOREVER = 2**30


def running(algorithm: object, world: object, steps: int, **options: object) -> Callable[[], float]:
    """Go on with one endless run, report by report, for at least `steps` steps at a time."""
    training = rt.train(algorithm, world, FOREVER, **options)  # type: ignore[arg-type]
    reports = iter(training)

    def measure() -> float:
        before, began = training.step, clock()
        while training.step - before < steps:
            next(reports)
        return (training.step - before) * len(training.seeds) / (clock() - began)

    return measure


def _ppo() -> rt.PPO:
    published = settings("ppo", "CartPole-v1")
    assert published is not None
    return published.algorithm  # type: ignore[return-value]


def ppo_hosted() -> Callable[[], float]:
    """PPO over the same Gymnasium environments as the peers'."""
    return running(_ppo(), rt.make("CartPole-v1", hosted=True), 20_480)


def ppo_fused() -> Callable[[], float]:
    """The same settings over the native CartPole."""
    return running(_ppo(), "CartPole-v1", 51_200)


def ppo_many() -> Callable[[], float]:
    """1,024 CartPoles × 32 steps, 4 epochs of 4 minibatches."""
    algorithm = dataclasses.replace(_ppo(), num_envs=1024, rollout=32, epochs=4, minibatches=4)
    return running(algorithm, "CartPole-v1", 655_360)


def ppo_of(num_envs: int) -> Callable[[], float]:
    """`num_envs` CartPoles × 32 steps, 4 epochs of 4 minibatches."""
    algorithm = dataclasses.replace(_ppo(), num_envs=num_envs, rollout=32, epochs=4, minibatches=4)
    return running(algorithm, "CartPole-v1", 32 * num_envs * max(20, 1280 // num_envs))


def _dqn() -> rt.DQN:
    return rt.DQN(
        network=MLP(hidden=(256, 256), activation=Activation.relu, orthogonal=False),
        optimiser=rt.Adam(2.3e-3, max_gradient_norm=10.0),
        batch_size=64,
        capacity=100_000,
        learning_starts=100,
        target_period=250,
        rollout=1,
        gradient_steps=1,
        double=False,
    )


def dqn(hosted: bool = False) -> Callable[[], float]:
    """DQN, one gradient step of 64 for each environment step."""
    return running(_dqn(), rt.make("CartPole-v1", hosted=hosted), 2_000)


def pqn_many() -> Callable[[], float]:
    """PQN with the environments, rows, epochs and minibatches of `ppo_many`, and networks of the same size."""
    network = MLP(hidden=(64, 64), activation=Activation.relu, layer_norm=True)
    algorithm = rt.algorithms.PQN(network=network, num_envs=1024, rollout=32, epochs=4, minibatches=4)
    return running(algorithm, "CartPole-v1", 655_360)


def _a2c() -> rt.PPO:
    published = settings("a2c", "CartPole-v1")
    assert published is not None
    return published.algorithm  # type: ignore[return-value]


def a2c(hosted: bool = False) -> Callable[[], float]:
    """A2C with the zoo's settings: 8 environments, 5 steps."""
    return running(_a2c(), rt.make("CartPole-v1", hosted=hosted), 4_000 if hosted else 40_000)


def _qrdqn() -> rt.DQN:
    return dataclasses.replace(_dqn(), returns=QuantileRegression(25))


def qrdqn() -> Callable[[], float]:
    """QR-DQN, one gradient step of 64 and 25 quantiles for each environment step."""
    return running(_qrdqn(), "CartPole-v1", 1_000)


def recurrent() -> Callable[[], float]:
    """PPO with an LSTM of 256 units for the policy and one for the value, 8 × 128 steps, 10 epochs of one batch.

    A layer of 64 before each, where the peer has two behind it.
    """
    network = rt.networks.LSTM(width=256)
    algorithm = rt.PPO(network=network, num_envs=8, rollout=128, epochs=10, minibatches=1)
    return running(algorithm, rt.make("CartPole-v1", hosted=True), 1_024)


OFF_POLICY = {
    "sac": rt.SAC,
    "td3": partial(rt.TD3, network=MLP(hidden=(256, 256), activation=Activation.relu, orthogonal=False)),
    "tqc": partial(rt.algorithms.TQC, ensemble=Truncated(members=2)),
    "crossq": rt.algorithms.CrossQ,
    "droq": rt.algorithms.DroQ,
}
"""One update of 256 a step, or as many as the kind asks for; networks of 2 × 256, or the kind's own."""


def _off_policy(kind: str) -> Any:
    return OFF_POLICY[kind](learning_starts=10, capacity=100_000)


def off_policy(kind: str, world: str = "Pendulum-v1", steps: int = 400) -> Callable[[], float]:
    """One of these."""
    return running(_off_policy(kind), world, steps)


def ppo_of_bodies() -> Callable[[], float]:
    """PPO on 16 HalfCheetahs × 128 steps, 10 epochs in batches of 64."""
    return running(rt.PPO(num_envs=16, rollout=128, epochs=10, minibatches=32), "HalfCheetah-v5", 4_096)


def evolution() -> Callable[[], float]:
    """Evolution strategies on CartPole: 64 perturbed policies of 2 × 64 side by side."""
    return running(rt.algorithms.ES(factored=True), "CartPole-v1", 64_000)


def evolution_in_python() -> Callable[[], float]:
    """The same perturbations of the same network by a Python loop over Gymnasium and NumPy, on one core."""
    import gymnasium
    import numpy as np

    env, rng, sizes = gymnasium.make("CartPole-v1"), np.random.default_rng(0), ((4, 64), (64, 64), (64, 2))
    centre = [rng.normal(size=size).astype(np.float32) / size[0] ** 0.5 for size in sizes]

    def measure() -> float:
        steps, began = 0, clock()
        while steps < 4_000:
            first, second, last = (w + 0.1 * rng.normal(size=w.shape).astype(np.float32) for w in centre)
            (obs, _), over = env.reset(), False
            while not over:
                action = int(np.argmax(np.tanh(np.tanh(obs @ first) @ second) @ last))
                obs, _, terminated, truncated, _ = env.step(action)
                steps, over = steps + 1, terminated or truncated
        return steps / (clock() - began)

    return measure


def draws(prioritised: bool, judged: bool = False) -> Callable[[], float]:
    """Draws a second of the processor's time, 256 windows of a million each; after each they may be judged anew."""
    import jax
    import jax.numpy as jnp

    from retorno.replay import Proportional, UniformReplay

    replay = Proportional() if prioritised else UniformReplay()
    method = rt.DQN(replay=replay, capacity=1_000_000, num_envs=16, rollout=1_000, learning_starts=2**30)
    training = rt.train(method, "CartPole-v1", 1_100_000)
    training.run_to_end()

    @partial(jax.jit, donate_argnums=0)
    def many(replay: Any, keys: Any) -> Any:
        def one(replay: Any, key: Any) -> Any:
            window = replay.sample(key, 256)
            obs = window.trajectory.steps.obs
            return replay.update(window.index, jnp.abs(obs[0, :, 0])) if judged else replay, obs.sum()

        return jax.lax.scan(one, replay, keys)

    state = {"replay": training.run.learner.replay, "key": jax.random.key(0)}

    def measure() -> float:
        state["key"], key = jax.random.split(state["key"])
        began = time.process_time()
        state["replay"], _ = jax.block_until_ready(many(state["replay"], jax.random.split(key, 2_000)))
        return 2_000 / (time.process_time() - began)

    return measure


def bare() -> Callable[[], float]:
    """The same collect and update as `ppo_fused`, compiled as one program of 200 iterations and nothing else."""
    return iterations(_ppo(), 200)


def bare_dqn() -> Callable[[], float]:
    """The same of DQN."""
    return iterations(_dqn(), 2_000)


def iterations(method: Any, number: int) -> Callable[[], float]:
    """So many iterations, compiled as one program."""
    import jax

    from retorno.core.counter import counts
    from retorno.core.hyperparameters import as_arrays
    from retorno.run.loop import iterate

    training = rt.train(method, "CartPole-v1", FOREVER)
    world, algorithm = training.world, as_arrays(training.algorithm)
    many = jax.jit(
        lambda run: jax.lax.scan(lambda r, _: (iterate(algorithm, world, r).after, None), run, length=number)[0],  # type: ignore[arg-type]
        donate_argnums=0,
    )
    state = {"run": training.run}

    def measure() -> float:
        before, began = int(counts(state["run"].step)), clock()
        state["run"] = many(state["run"])
        return (int(counts(state["run"].step)) - before) / (clock() - began)

    return measure


def operations(method: Any, world: str) -> Callable[[], float]:
    """Floating-point operations of what is done for one environment step, by XLA's analysis of the program.

    It counts a loop's turn once, so each update has to be one gradient step, or several alike; and of two branches the
    dearer one, so what is done in some steps alone is counted with and without it.
    """
    import jax

    from retorno.core.hyperparameters import as_arrays
    from retorno.run.loop import iterate

    training = rt.train(method, world, FOREVER)
    world_, algorithm = training.world, as_arrays(training.algorithm)

    def counted() -> float:
        lowered = jax.jit(lambda run: iterate(algorithm, world_, run).after).lower(training.run)  # type: ignore[arg-type]
        return lowered.cost_analysis()["flops"]  # pyright: ignore[reportOptionalSubscript, reportIndexIssue]

    with patch("jax.lax.cond", lambda due, does, stays, *given: does(*given)):
        with_all = counted()
    with patch("jax.lax.cond", lambda due, does, stays, *given: stays(*given)):
        without = counted()
    each = without + (with_all - without) / getattr(method, "actor_period", 1)
    return lambda: each * getattr(method, "gradient_steps", 1) / (method.num_envs * method.rollout)


def product() -> Callable[[], float]:
    """Floating-point operations a second of a product of two matrices of 1,024 × 1,024, the best of some."""
    import jax
    import jax.numpy as jnp

    size = 1_024
    matrix, multiply = jax.random.normal(jax.random.key(0), (size, size)), jax.jit(jnp.dot)
    multiply(matrix, matrix).block_until_ready()

    def measure() -> float:
        def once() -> float:
            began = clock()
            multiply(matrix, matrix).block_until_ready()
            return clock() - began

        return 2 * size**3 / min(once() for _ in range(20))

    return measure


def ten_seeds() -> Callable[[], float]:
    """Ten seeds in one call, over as many host devices as there are."""
    return running(_ppo(), "CartPole-v1", 10_240, seed=range(10))


def fill_replay(capacity: int) -> None:
    """Fill a replay of CartPole rows; print its arrays' size in MB."""
    import jax

    algorithm = rt.DQN(capacity=capacity, rollout=1000, gradient_steps=1, learning_starts=2**30)
    training = rt.train(algorithm, "CartPole-v1", 1_100_000)
    print(sum(x.nbytes for x in jax.tree.leaves(training.run.learner.replay)) / 2**20, flush=True)
    training.run_to_end()


if __name__ == "__main__":
    if sys.argv[1].endswith("replay"):
        fill_replay(1_000_000 if sys.argv[1] == "replay" else 1_000)
    else:
        serve(
            {
                "ppo_hosted": ppo_hosted,
                "ppo_fused": ppo_fused,
                "ppo_many": ppo_many,
                "dqn": dqn,
                "dqn_hosted": partial(dqn, True),
                "bare": bare,
                "loop": ppo_fused,
                "bare_dqn": bare_dqn,
                "pqn_many": pqn_many,
                "a2c_fused": a2c,
                "a2c_hosted": partial(a2c, True),
                "qrdqn": qrdqn,
                "recurrent": recurrent,
                **{kind: partial(off_policy, kind) for kind in OFF_POLICY},
                "crossq": partial(off_policy, "crossq", steps=200),
                "droq": partial(off_policy, "droq", steps=40),
                "sac_hosted": partial(off_policy, "sac", "HalfCheetah-v5"),
                "ppo_bodies": ppo_of_bodies,
                "evolution": evolution,
                "evolution_in_python": evolution_in_python,
                "draws_uniform": partial(draws, False),
                "draws_prioritised": partial(draws, True),
                "draws_judged": partial(draws, True, judged=True),
                "ten_seeds": ten_seeds,
                "product": product,
                **{f"operations_{kind}": partial(operations, _off_policy(kind), "Pendulum-v1") for kind in OFF_POLICY},
                "operations_dqn": partial(operations, _dqn(), "CartPole-v1"),
                "operations_qrdqn": partial(operations, _qrdqn(), "CartPole-v1"),
                "operations_a2c": partial(operations, _a2c(), "CartPole-v1"),
                **{f"ppo_{n}": partial(ppo_of, n) for n in (1, 4, 16, 64, 256, 1024, 4096)},
            }
        )
