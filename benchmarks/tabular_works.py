"""Both sides of tabular.py: each work prepares itself and answers with its rate in environment steps a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from measure import serve

ALPHA, GAMMA, EPSILON = 0.1, 0.99, 0.1
LOOP_STEPS = 50_000


HOSTED_STEPS = 10_000
Clock = Callable[[], float]


def python_loop(name: str, clock: Clock = time.perf_counter) -> Callable[[], float]:
    """Q-learning as a beginner writes it well: a NumPy table, Gymnasium's environment, one step after another."""
    import gymnasium

    env = gymnasium.make(name)
    actions = int(env.action_space.n)  # type: ignore[attr-defined]
    parts = getattr(env.observation_space, "spaces", [env.observation_space])
    q = np.zeros((*(int(part.n) for part in parts), actions))
    rng = np.random.default_rng(0)
    state, _ = env.reset(seed=0)

    def measure() -> float:
        nonlocal state
        began = clock()
        for _ in range(LOOP_STEPS):
            row = q[state]
            action = int(rng.integers(actions)) if rng.random() < EPSILON else int(row.argmax())
            after, reward, terminated, truncated, _ = env.step(action)
            target = reward if terminated else reward + GAMMA * q[after].max()
            row[action] += ALPHA * (target - row[action])
            state = env.reset()[0] if terminated or truncated else after
        return LOOP_STEPS / (clock() - began)

    return measure


def retorno(name: str, seeds: int, steps: int) -> Callable[[], float]:
    """The same settings: one seed, or many in one call."""
    from works import running

    from retorno.algorithms import QLearning
    from retorno.policies import Epsilon

    method = QLearning(step_size=ALPHA, discount=GAMMA, exploration=Epsilon(EPSILON))
    return running(method, name, steps, seed=0 if seeds == 1 else range(seeds))


def hosted(name: str, num_envs: int) -> Callable[[], float]:
    """The same settings over Gymnasium's own environments, by seconds of CPU."""
    import retorno as rt
    from retorno.policies import Epsilon

    method = rt.QLearning(step_size=ALPHA, discount=GAMMA, exploration=Epsilon(EPSILON), num_envs=num_envs)
    training = rt.train(method, rt.gymnasium(name), 10**9, seed=0)
    reports = iter(training)

    def measure() -> float:
        before, began = training.step, time.process_time()
        while training.step - before < HOSTED_STEPS:
            next(reports)
        return (training.step - before) / (time.process_time() - began)

    return measure


WORLDS = {"lake": "FrozenLake-v1", "cliff": "CliffWalking-v1"}
WORKS = {
    f"{work}_{short}": made
    for short, name in WORLDS.items()
    for work, made in {
        "python": partial(python_loop, name),
        "one": partial(retorno, name, 1, 2_000_000),
        "hundred": partial(retorno, name, 100, 200_000),
    }.items()
}

HOSTED = {"lake": "FrozenLake-v1", "blackjack": "Blackjack-v1", "taxi": "Taxi-v4"}
WORKS |= {
    f"{work}_{short}": made
    for short, name in HOSTED.items()
    for work, made in {
        "loop": partial(python_loop, name, time.process_time),
        "hosted_1": partial(hosted, name, 1),
        "hosted_16": partial(hosted, name, 16),
    }.items()
}

if __name__ == "__main__":
    serve(WORKS)
