"""retorno's side of deep.py: each work prepares itself and answers with its rate in environment steps a second."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from functools import partial

from measure import serve

import retorno as rt
from retorno.algorithms.published import settings
from retorno.networks import MLP, Activation

FOREVER = 2**30


def running(algorithm: object, world: object, steps: int, **options: object) -> Callable[[], float]:
    """Go on with one endless run, report by report, for at least `steps` steps at a time."""
    training = rt.train(algorithm, world, FOREVER, **options)  # type: ignore[arg-type]
    reports = iter(training)

    def measure() -> float:
        before, began = training.step, time.perf_counter()
        while training.step - before < steps:
            next(reports)
        return (training.step - before) * len(training.seeds) / (time.perf_counter() - began)

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


def dqn(hosted: bool = False) -> Callable[[], float]:
    """DQN, one gradient step of 64 for each environment step."""
    algorithm = rt.DQN(
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
    return running(algorithm, rt.make("CartPole-v1", hosted=hosted), 2_000)


def bare() -> Callable[[], float]:
    """The same collect and update as `ppo_fused`, compiled as one program of 200 iterations and nothing else."""
    import jax

    from retorno.core.counter import counts
    from retorno.core.hyperparameters import as_arrays
    from retorno.run.loop import iterate

    training = rt.train(_ppo(), "CartPole-v1", FOREVER)
    world, algorithm = training.world, as_arrays(training.algorithm)
    many = jax.jit(
        lambda run: jax.lax.scan(lambda r, _: (iterate(algorithm, world, r).after, None), run, length=200)[0],  # type: ignore[arg-type]
        donate_argnums=0,
    )
    state = {"run": training.run}

    def measure() -> float:
        before, began = int(counts(state["run"].step)), time.perf_counter()
        state["run"] = many(state["run"])
        return (int(counts(state["run"].step)) - before) / (time.perf_counter() - began)

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
                "ten_seeds": ten_seeds,
                **{f"ppo_{n}": partial(ppo_of, n) for n in (1, 4, 16, 64, 256, 1024, 4096)},
            }
        )
