"""The same work by pgx and mctx, and by OpenSpiel; run by self_play.py with the peers' own Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from measure import serve

BOARDS, STEPS = 1024, 128
BATCH, GRADIENTS = 512, 8
GAMES, MOVES, SIMULATIONS = 64, 16, 32
HIDDEN = (128, 128)


def repeated(step: Callable[[Any], Any], state: Any, amount: float, times: int = 1) -> Callable[[], float]:
    """The rate at which a compiled step goes on, by CPU seconds."""
    import jax

    held = {"state": jax.block_until_ready(step(state))}

    def measure() -> float:
        began = time.process_time()
        for _ in range(times):
            held["state"] = jax.block_until_ready(step(held["state"]))
        return amount * times / (time.process_time() - began)

    return measure


def random_steps(name: str) -> Callable[[], float]:
    """Random legal moves on many boards at once, by pgx's environment with its automatic reset."""
    import jax
    import jax.numpy as jnp
    import pgx
    from pgx.experimental import auto_reset

    env = pgx.make(name)
    stepped = jax.vmap(auto_reset(env.step, env.init))

    def step(state: Any, key: Any) -> tuple[Any, None]:
        choosing, stepping = jax.random.split(key)
        action = jax.random.categorical(choosing, jnp.where(state.legal_action_mask, 0.0, -jnp.inf))
        return stepped(state, action, jax.random.split(stepping, BOARDS)), None

    @jax.jit
    def many(state: Any) -> Any:
        boards, key = state
        key, onward = jax.random.split(key)
        return jax.lax.scan(step, boards, jax.random.split(key, STEPS))[0], onward

    begun = jax.vmap(env.init)(jax.random.split(jax.random.key(0), BOARDS))
    return repeated(many, (begun, jax.random.key(1)), BOARDS * STEPS, times=4)


def self_play(residual: bool) -> Callable[[], float]:
    """Pgx's own example of AlphaZero, with the same network and PUCT in the place of Gumbel's search."""
    import jax
    import jax.numpy as jnp
    import mctx
    import pgx
    from pgx.experimental import auto_reset

    env = pgx.make("connect_four")
    stepped = jax.vmap(auto_reset(env.step, env.init))
    network = _residual if residual else _mlp
    weights = _weights(residual)

    def recurrent(weights: Any, key: Any, action: Any, state: Any) -> tuple[Any, Any]:
        mover = state.current_player
        state = jax.vmap(env.step)(state, action)
        logits, value = network(weights, state.observation)
        logits = jnp.where(state.legal_action_mask, logits, jnp.finfo(logits.dtype).min)
        reward = state.rewards[jnp.arange(GAMES), mover]
        value = jnp.where(state.terminated, 0.0, value)
        discount = jnp.where(state.terminated, 0.0, -1.0)
        return mctx.RecurrentFnOutput(reward=reward, discount=discount, prior_logits=logits, value=value), state

    def move(state: Any, key: Any) -> tuple[Any, Any]:
        searching, drawing, stepping = jax.random.split(key, 3)
        logits, value = network(weights, state.observation)
        root = mctx.RootFnOutput(prior_logits=logits, value=value, embedding=state)
        found = mctx.muzero_policy(
            weights,
            searching,
            root,
            recurrent,
            SIMULATIONS,
            ~state.legal_action_mask,
            dirichlet_fraction=0.25,
            dirichlet_alpha=10 / 7,
            pb_c_init=1.25,
            temperature=0.0,
        )
        action = jax.random.categorical(drawing, jnp.log(jnp.maximum(found.action_weights, 1e-9)))
        lived = (state.observation, found.action_weights, found.search_tree.summary().value)
        return stepped(state, action, jax.random.split(stepping, GAMES)), lived

    @jax.jit
    def play(state: Any) -> Any:
        boards, key, _ = state
        key, onward = jax.random.split(key)
        boards, lived = jax.lax.scan(move, boards, jax.random.split(key, MOVES))
        return boards, onward, lived

    begun = jax.vmap(env.init)(jax.random.split(jax.random.key(0), GAMES))
    empty = (np.zeros((MOVES, GAMES, 6, 7, 2), bool), np.zeros((MOVES, GAMES, 7), np.float32))
    return repeated(play, (begun, jax.random.key(1), (*empty, np.zeros((MOVES, GAMES), np.float32))), GAMES * MOVES)


def _weights(residual: bool, inputs: int = 84) -> list[Any]:
    rng = np.random.default_rng(0)
    normal = lambda *shape: (rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)  # noqa: E731
    if not residual:
        sizes = (inputs, *HIDDEN)
        return [normal(a, b) for a, b in zip(sizes, HIDDEN, strict=False)] + [normal(HIDDEN[-1], 7), normal(128, 1)]
    blocks = [normal(3, 3, 32, 32) for _ in range(6)]
    return [normal(3, 3, 2, 32), *blocks, normal(1, 1, 32, 8), normal(336, 64), normal(400, 7), normal(400, 1)]


def _mlp(weights: list[Any], obs: Any) -> tuple[Any, Any]:
    import jax.numpy as jnp

    x = obs.reshape(len(obs), -1).astype(jnp.float32)
    for layer in weights[:2]:
        x = jnp.tanh(x @ layer)
    return x @ weights[2], (x @ weights[3])[:, 0]


def _residual(weights: list[Any], obs: Any) -> tuple[Any, Any]:
    import jax
    import jax.numpy as jnp

    def conv(x: Any, kernel: Any) -> Any:
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    x = conv(obs.astype(jnp.float32), weights[0])
    for i in (1, 3, 5):
        x = x + conv(jax.nn.relu(conv(jax.nn.relu(x), weights[i])), weights[i + 1])
    seen = jax.nn.relu(conv(jax.nn.relu(x), weights[7])).reshape(len(obs), -1)
    seen = jnp.concatenate([seen, jax.nn.relu(seen @ weights[8])], 1)
    return seen @ weights[9], (seen @ weights[10])[:, 0]


def gradient_lax() -> Callable[[], float]:
    """Gradient steps with the residual network by lax's convolutions and optax, in a compiled loop."""
    import jax
    import jax.numpy as jnp
    import optax

    optimiser = optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(2e-3, weight_decay=1e-4))

    def loss(weights: Any, obs: Any) -> Any:
        logits, value = _residual(weights, obs)
        return ((value - 0.3) ** 2).mean() - jax.nn.log_softmax(logits).mean()

    @jax.jit
    def step(state: Any) -> Any:
        def once(state: Any, key: Any) -> tuple[Any, None]:
            weights, moments = state
            obs = jax.random.bernoulli(key, 0.3, (BATCH, 6, 7, 2))
            change, moments = optimiser.update(jax.grad(loss)(weights, obs), moments, weights)
            return (optax.apply_updates(weights, change), moments), None

        state, key = state
        key, drawing = jax.random.split(key)
        return jax.lax.scan(once, state, jax.random.split(drawing, GRADIENTS))[0], key

    weights = [jnp.asarray(weight) for weight in _weights(True)]
    return repeated(step, ((weights, optimiser.init(weights)), jax.random.key(1)), GRADIENTS)


def gradient_torch() -> Callable[[], float]:
    """The same by PyTorch."""
    import torch
    from torch import nn

    shapes = [(*weight.shape[::-1][:2], 3, 3) for weight in _weights(True)[:7]]
    convs = [nn.Conv2d(inputs, outputs, 3, padding=1) for outputs, inputs, _, _ in shapes]
    narrow, hidden, policy, value = nn.Conv2d(32, 8, 1), nn.Linear(336, 64), nn.Linear(400, 7), nn.Linear(400, 1)
    network = nn.ModuleList([*convs, narrow, hidden, policy, value])
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-4)

    def once() -> None:
        x = convs[0]((torch.rand(BATCH, 2, 6, 7) < 0.3).float())
        for i in (1, 3, 5):
            x = x + convs[i + 1](torch.relu(convs[i](torch.relu(x))))
        seen = torch.relu(narrow(torch.relu(x))).flatten(1)
        seen = torch.cat([seen, torch.relu(hidden(seen))], 1)
        loss = ((value(seen) - 0.3) ** 2).mean() - torch.log_softmax(policy(seen), 1).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()

    def measure() -> float:
        began = time.process_time()
        for _ in range(GRADIENTS):
            once()
        return GRADIENTS / (time.process_time() - began)

    measure()
    return measure


def open_spiel() -> Callable[[], float]:
    """OpenSpiel's search in Python, its evaluator the same network in NumPy, which is faster there than any other."""
    import pyspiel
    from open_spiel.python.algorithms import mcts

    game = pyspiel.load_game("connect_four")
    first, second, policy, value = _weights(False, 126)

    class Network(mcts.Evaluator):
        def heads(self, state: Any) -> tuple[Any, float]:
            x = np.asarray(state.observation_tensor(), np.float32)
            x = np.tanh(np.tanh(x @ first) @ second)
            return x @ policy, float((x @ value)[0])

        def evaluate(self, state: Any) -> Any:
            found = self.heads(state)[1] * (1 if state.current_player() == 0 else -1)
            return np.array([found, -found])

        def prior(self, state: Any) -> Any:
            logits = self.heads(state)[0]
            legal = state.legal_actions()
            chances = np.exp(logits[legal] - logits[legal].max())
            return list(zip(legal, chances / chances.sum(), strict=True))

    rng = np.random.RandomState(0)
    bot = mcts.MCTSBot(
        game,
        1.25,
        SIMULATIONS,
        Network(),
        solve=False,
        random_state=rng,
        dirichlet_noise=(0.25, 10 / 7),
        child_selection_fn=mcts.SearchNode.puct_value,
    )

    def measure(moves: int = 200) -> float:
        began, state = time.process_time(), game.new_initial_state()
        for _ in range(moves):
            if state.is_terminal():
                state = game.new_initial_state()
            state.apply_action(bot.step(state))
        return moves / (time.process_time() - began)

    return measure


WORKS: dict[str, Callable[[], Callable[[], float]]] = {
    "steps_connect_four": partial(random_steps, "connect_four"),
    "steps_othello": partial(random_steps, "othello"),
    "steps_go": partial(random_steps, "go_9x9"),
    "play_mlp": partial(self_play, False),
    "play_residual": partial(self_play, True),
    "open_spiel": open_spiel,
    "gradient_lax": gradient_lax,
    "gradient_torch": gradient_torch,
}

if __name__ == "__main__":
    serve(WORKS)
