"""gymnax's side of pixels.py: PPO on its MinAtar Breakout in one compiled program, as in PureJaxRL (Lu et al. 2022).

It needs gymnax, flax and distrax beside jax. The loop is that of PureJaxRL's ppo.py with the settings of its MinAtar
example; its network there is two layers of 64 on the flattened screen, and `cnn` is the one of sixteen 3×3 kernels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import distrax  # pyright: ignore[reportMissingImports]
import flax.linen as nn  # pyright: ignore[reportMissingImports]
import gymnax  # pyright: ignore[reportMissingImports]
import jax
import jax.numpy as jnp
import optax
from flax.linen.initializers import constant, orthogonal  # pyright: ignore[reportMissingImports]
from flax.training.train_state import TrainState  # pyright: ignore[reportMissingImports]
from gymnax.wrappers.purerl import LogWrapper  # pyright: ignore[reportMissingImports]
from measure import serve

ENVS, STEPS, EPOCHS, MINIBATCHES = 64, 128, 4, 8
GAMMA, LAMBDA, CLIP, ENTROPY, VALUE = 0.99, 0.95, 0.2, 0.01, 0.5


class ActorCritic(nn.Module):
    """A policy and a value, each with a trunk of its own; with `cnn` they share one."""

    actions: int
    cnn: bool

    @nn.compact
    def __call__(self, x: Any) -> tuple[Any, Any]:
        dense = lambda units, gain: nn.Dense(units, kernel_init=orthogonal(gain), bias_init=constant(0.0))  # noqa: E731
        x = x.astype(jnp.float32)

        def hidden(x: Any) -> Any:
            if self.cnn:
                x = nn.relu(nn.Conv(16, (3, 3), padding="VALID", kernel_init=orthogonal(2**0.5))(x))
                return nn.relu(dense(128, 2**0.5)(x.reshape((x.shape[0], -1))))
            x = x.reshape((x.shape[0], -1))
            return nn.relu(dense(64, 2**0.5)(nn.relu(dense(64, 2**0.5)(x))))

        under_policy = hidden(x)
        under_value = under_policy if self.cnn else hidden(x)
        return distrax.Categorical(logits=dense(self.actions, 0.01)(under_policy)), dense(1, 1.0)(under_value)[..., 0]


class Transition(NamedTuple):
    """What one step of all environments leaves."""

    done: Any
    action: Any
    value: Any
    reward: Any
    log_prob: Any
    obs: Any


def ppo(cnn: bool, updates: int) -> Callable[[], float]:
    """Steps of the game a second of CPU, measured over so many updates in one call."""
    basic, params = gymnax.make("Breakout-MinAtar")
    env = LogWrapper(basic)
    network = ActorCritic(basic.action_space(params).n, cnn)
    seen = jnp.zeros((1, *basic.observation_space(params).shape))
    schedule = optax.linear_schedule(5e-3, 0.0, 10_000_000 // ENVS // STEPS * EPOCHS * MINIBATCHES)
    optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(schedule, eps=1e-5))
    weights = network.init(jax.random.key(0), seen)
    learner = TrainState.create(apply_fn=network.apply, params=weights, tx=optimiser)
    obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(1), ENVS), params)

    def interact(carry: Any, _: None) -> Any:
        learner, state, obs, key = carry
        key, for_action, for_step = jax.random.split(key, 3)
        policy, value = network.apply(learner.params, obs)
        action = policy.sample(seed=for_action)
        each = jax.random.split(for_step, ENVS)
        step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
        after, state, reward, terminated, truncated, _info = step(each, state, action, params)
        over, log_prob = terminated | truncated, policy.log_prob(action)
        return (learner, state, after, key), Transition(over, action, value, reward, log_prob, obs)

    def advantages(lived: Transition, last_value: Any) -> Any:
        def back(carry: Any, row: Transition) -> Any:
            gae, next_value = carry
            delta = row.reward + GAMMA * next_value * (1 - row.done) - row.value
            gae = delta + GAMMA * LAMBDA * (1 - row.done) * gae
            return (gae, row.value), gae

        return jax.lax.scan(back, (jnp.zeros_like(last_value), last_value), lived, reverse=True, unroll=16)[1]

    def loss(params: Any, rows: Transition, gae: Any, target: Any) -> Any:
        policy, value = network.apply(params, rows.obs)
        ratio = jnp.exp(policy.log_prob(rows.action) - rows.log_prob)
        gae = (gae - gae.mean()) / (gae.std() + 1e-8)
        actor = -jnp.minimum(ratio * gae, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * gae).mean()
        clipped = rows.value + (value - rows.value).clip(-CLIP, CLIP)
        critic = 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
        return actor + VALUE * critic - ENTROPY * policy.entropy().mean()

    def epoch(carry: Any, _: None) -> Any:
        learner, batch, key = carry
        key, shuffled = jax.random.split(key)
        order = jax.random.permutation(shuffled, ENVS * STEPS)
        shape = lambda x: x.reshape(-1, *x.shape[2:])[order].reshape(MINIBATCHES, -1, *x.shape[2:])  # noqa: E731

        def minibatch(learner: Any, rows: Any) -> Any:
            return learner.apply_gradients(grads=jax.grad(loss)(learner.params, *rows)), None

        return (jax.lax.scan(minibatch, learner, jax.tree.map(shape, batch))[0], batch, key), None

    def update(carry: Any, _: None) -> Any:
        carry, lived = jax.lax.scan(interact, carry, None, STEPS)
        learner, state, obs, key = carry
        gae = advantages(lived, network.apply(learner.params, obs)[1])
        learnt, _told = jax.lax.scan(epoch, (learner, (lived, gae, gae + lived.value), key), None, EPOCHS)
        learner, key = learnt[0], learnt[-1]
        return (learner, state, obs, key), lived.reward.sum()

    go_on = jax.jit(lambda carry: jax.lax.scan(update, carry, None, updates)[0])
    carry = go_on((learner, state, obs, jax.random.key(2)))

    def measure() -> float:
        nonlocal carry
        began = time.process_time()
        carry = jax.block_until_ready(go_on(carry))
        return updates * ENVS * STEPS / (time.process_time() - began)

    return measure


if __name__ == "__main__":
    # XLA's gradient of a convolution takes so long within a loop that one update is measured, and not four.
    serve({"gymnax_mlp": lambda: ppo(False, 4), "gymnax_cnn": lambda: ppo(True, 1)})
