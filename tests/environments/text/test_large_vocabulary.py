"""A language model in small, on the usual parts: prompts read at once, half of it frozen, held near where it began.

Log-probabilities over the vocabulary are computed of some rows at a time: no more of them are there at once.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import retorno as rt
from retorno.core.constants import constants_of
from retorno.environments.text.tokens import Tokens
from retorno.environments.wrappers import Together
from retorno.networks import MLP, Pretrained, Transformer, ValueHead, policy_head, save_weights
from retorno.ops.distributions import CHUNK
from retorno.run import collect as collecting
from retorno.run.loop import begin_runs, learn

WORDS = 4096
PROMPTS = ((3, 2, 5), (4,))
TRANSFORMER = Transformer(width=8, layers=1, num_heads=2, window=16, shared=True)


def texts(words: int) -> Together:
    return Tokens(pattern=(3, 1, 4), vocabulary=words, prompts=PROMPTS, limit=6).together()


def ppo(world: Together, network: Any = TRANSFORMER, num_envs: int = 4, minibatches: int = 2) -> Any:
    return rt.PPO(network=network, num_envs=num_envs, rollout=2 * world.rows, epochs=1, minibatches=minibatches)


def test_ppo_over_a_frozen_lower_half_near_a_reference(tmp_path: Any) -> None:
    world = texts(WORDS)
    heads = {"policy": policy_head(world.action_space), "value": ValueHead()}
    weights = save_weights(tmp_path / "lm", TRANSFORMER.build(jax.random.key(7), world.observation_space, heads))
    lower = ("trunks/*/input/*", "trunks/*/query_key_value/*")
    kl = rt.relabel.ReferenceKL(0.1, Pretrained(weights, network=TRANSFORMER))
    training = rt.train(ppo(world, Pretrained(weights, lower, TRANSFORMER)), world, 120, relabel=kl)
    told = [float(report.metrics["relabel/kl"]) for report in training]
    assert abs(told[0]) < 1e-6 < abs(told[-1]), "it begins at the reference, and leaves it"
    run: Any = training.run
    assert constants_of(run.learner) and not jax.tree.leaves(run.relabel.reference)
    # The head's weights and what Adam keeps of them: no embedding, which is frozen, and nothing [rows, words].
    assert sum(leaf.size >= TRANSFORMER.width * WORDS for leaf in jax.tree.leaves(run)) == 3


def update_bytes(words: int, num_envs: int) -> int:
    """What PPO's update on so many environments takes beside what it is given."""
    world = texts(words)
    algorithm = ppo(world, MLP((8,), shared=True), num_envs, minibatches=1)
    run: Any = jax.eval_shape(lambda: begin_runs(algorithm, world, None, jnp.uint32(0), jnp.int32(1000), num_envs))
    lived = jax.eval_shape(
        lambda run: collecting.collect(algorithm, run.learner, world, run.stage, run.seed, jax.random.key(0))[1], run
    )
    update = jax.jit(lambda run, lived: learn(algorithm, run, lived))
    used = update.lower(run, lived).compile().memory_analysis()
    assert used is not None
    return used.temp_size_in_bytes


def test_the_update_s_memory_does_not_grow_with_the_vocabulary() -> None:
    num_envs, more = 256, 8 * CHUNK
    few, many = (update_bytes(words, num_envs) for words in (more, 2 * more))
    weights, logits = 4 * 9 * more, 4 * 2 * 10 * num_envs * more
    assert many - few < 4 * weights < logits / 100
