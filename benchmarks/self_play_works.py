"""retorno's side of self_play.py: each work prepares itself and answers with its rate by seconds of CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from measure import serve

from retorno.algorithms import AlphaZero
from retorno.core.counter import Counter
from retorno.core.hyperparameters import as_arrays
from retorno.core.policy import world_reward
from retorno.environments.registry import native
from retorno.networks import MLP, NetworkConfig, Residual
from retorno.run.collect import collect
from retorno.run.loop import begin_runs, iterate, keys_of
from retorno.run.train import train
from retorno.search import PUCT
from retorno.search.trees import evaluator_of

BOARDS, STEPS = 1024, 128
BATCH, GRADIENTS = 512, 8
GAMES, MOVES, SIMULATIONS = 64, 16, 32
PLAIN: NetworkConfig = MLP(hidden=(128, 128), shared=True)
RESIDUAL: NetworkConfig = Residual()


def repeated(step: Callable[[Any], Any], state: Any, amount: float, times: int = 1) -> Callable[[], float]:
    """The rate at which a compiled step goes on, by CPU seconds."""
    held = {"state": jax.block_until_ready(step(state))}

    def measure() -> float:
        began = time.process_time()
        for _ in range(times):
            held["state"] = jax.block_until_ready(step(held["state"]))
        return amount * times / (time.process_time() - began)

    return measure


def random_steps(name: str, boards: int = BOARDS) -> Callable[[], float]:
    """Random legal moves on many boards at once; where a game is over the next one begins."""
    world = native(name)

    def step(state: Any, key: Any) -> tuple[Any, None]:
        def one(state: Any, key: Any) -> Any:
            choosing, stepping = jax.random.split(key)
            position, row = state
            action = jax.random.categorical(choosing, jnp.where(row.legal, 0.0, -jnp.inf))
            after, fresh = world.step(position, action, stepping), world.reset(stepping)
            return jax.tree.map(partial(jnp.where, after[1].last), fresh, after)

        return jax.vmap(one)(state, jax.random.split(key, boards)), None

    @jax.jit
    def many(state: Any) -> Any:
        boards, key = state
        key, onward = jax.random.split(key)
        return jax.lax.scan(step, boards, jax.random.split(key, STEPS))[0], onward

    begun = jax.vmap(world.reset)(jax.random.split(jax.random.key(0), boards))
    return repeated(many, (begun, jax.random.key(1)), boards * STEPS, times=4)


def _alpha_zero(network: NetworkConfig) -> tuple[Any, Any, Any]:
    """The algorithm, the world, a run that begins."""
    method = AlphaZero(
        network=network, search=PUCT(simulations=SIMULATIONS), num_envs=GAMES, rollout=MOVES, symmetries=False
    )
    world = native("connect_four")
    run = begin_runs(method, world, None, jnp.uint32(0), Counter.of(2**30), GAMES)
    return as_arrays(method), world, run


def evaluations(network: NetworkConfig) -> Callable[[], float]:
    """The network alone, asked as often as self-play needs it: a root and its simulations for each move."""
    _, world, run = _alpha_zero(network)
    asked = jax.vmap(evaluator_of(run.learner.network))
    boards = jax.vmap(world.reset)(jax.random.split(jax.random.key(0), GAMES))[1].obs

    @jax.jit
    def ask(value: Any) -> Any:
        def once(value: Any, _: None) -> tuple[Any, None]:
            # What is asked depends on what was answered, or it would be answered once.
            seen = jnp.where(value[:, None, None] > 2, 1, boards).astype(boards.dtype)
            logits, new = asked(seen)
            return new + 0 * logits.sum(1), None

        return jax.lax.scan(once, value, None, length=MOVES * (SIMULATIONS + 1))[0]

    return repeated(ask, jnp.zeros(GAMES), GAMES * MOVES)


def gradients() -> Callable[[], float]:
    """Gradient steps of AlphaZero in a compiled loop, residual network, symmetries off; rows are drawn from replay."""
    method = AlphaZero(network=RESIDUAL, search=PUCT(simulations=2), batch_size=BATCH, symmetries=False)
    world = native("connect_four")
    method, run = as_arrays(method), begin_runs(method, world, None, jnp.uint32(0), Counter.of(2**30), GAMES)
    learner = jax.jit(lambda run: iterate(method, world, run).after)(run).learner

    @jax.jit
    def step(state: Any) -> Any:
        learner, key = state
        key, drawing = jax.random.split(key)
        keys = jax.random.split(drawing, GRADIENTS)
        return jax.lax.scan(lambda learner, key: (method._gradient_step(learner, key)[0], None), learner, keys)[0], key

    return repeated(step, (learner, jax.random.key(1)), GRADIENTS)


def whole(network: NetworkConfig) -> Callable[[], float]:
    """Moves of self-play that are learnt from: eight gradient steps for every 1,024."""
    method, world, run = _alpha_zero(network)
    return repeated(jax.jit(lambda run: iterate(method, world, run).after), run, GAMES * MOVES)


def parts(network: NetworkConfig) -> Callable[[], float]:
    """The same by a loop of two programs that do nothing but search and play, and learn."""
    method, world, run = _alpha_zero(network)
    play = jax.jit(lambda run: collect(method, run.learner, world, run.stage, run.seed, keys_of(run).collect))
    update = jax.jit(lambda learner, lived, run: method.update(learner, lived, world_reward, keys_of(run).update)[0])

    def step(run: Any) -> Any:
        stage, lived = play(run)
        return run._replace(stage=stage, learner=update(run.learner, lived, run), updates=run.updates.plus(1))

    return repeated(step, run, GAMES * MOVES)


def self_play(network: NetworkConfig) -> Callable[[], float]:
    """Moves of self-play, nothing learnt from them."""
    method, world, run = _alpha_zero(network)

    @jax.jit
    def play(run: Any) -> Any:
        stage, _ = collect(method, run.learner, world, run.stage, run.seed, keys_of(run).collect)
        return run._replace(stage=stage, updates=run.updates.plus(1))

    return repeated(play, run, GAMES * MOVES)


def spread(devices: int) -> Callable[[], float]:
    """Moves that are played and learnt from, by the clock, the games spread over host devices."""
    method = AlphaZero(network=PLAIN, search=PUCT(simulations=SIMULATIONS), num_envs=GAMES, rollout=MOVES)
    training = train(method, "connect_four", 2**40, devices=devices)
    reports = iter(training)
    next(reports)

    def measure(seconds: float = 4.0) -> float:
        began, step = time.perf_counter(), training.step
        while time.perf_counter() - began < seconds:
            next(reports)
        return (training.step - step) / (time.perf_counter() - began)

    return measure


WORKS: dict[str, Callable[[], Callable[[], float]]] = {
    **{f"steps_{name}": partial(random_steps, name) for name in ("connect_four", "othello", "go")},
    "play_mlp": partial(self_play, PLAIN),
    "play_residual": partial(self_play, RESIDUAL),
    "asked_mlp": partial(evaluations, PLAIN),
    "asked_residual": partial(evaluations, RESIDUAL),
    "gradient": gradients,
    "whole_mlp": partial(whole, PLAIN),
    "parts_mlp": partial(parts, PLAIN),
    "one_device": partial(spread, 1),
    "two_devices": partial(spread, 2),
}

if __name__ == "__main__":
    serve(WORKS)
