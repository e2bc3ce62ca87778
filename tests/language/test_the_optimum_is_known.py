"""What is learnt from rewards, near a reference, is π* ∝ π_ref exp(r/β): of a small world all answers are counted.

8 tokens, answers of 4: 4,096 answers. What one is worth depends on which tokens stand beside each other and where, so
that no token is good by itself, and is paid with the last one. All begin as the reference does.

Run as a program it tells KL(π‖π*) over ten seeds, which the bar has to hold for: docs/language.md has them.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float, Key

import retorno as rt
from retorno.algorithms import GRPO, PPO, REINFORCE, RLOO, ExpertIteration
from retorno.core.policy import Policy, Relabel, initial_carries, unroll_batch
from retorno.core.spaces import Spec
from retorno.core.time_step import Trajectory
from retorno.environments.text.prompts import Prompts
from retorno.networks import MLP, Pretrained, Stack, WeightsFile, policy_head, save_weights
from retorno.ops.intervals import interval95
from retorno.ops.optimisers import Adam, Schedule
from retorno.run.relabel import InTurn, ReferenceKL

WORDS, LONG, PROMPT, BETA, TEXTS = 8, 4, (1, 2), 0.5, 256
WORLD = Prompts([PROMPT], vocabulary=WORDS, ends=[], answer=LONG).together()
NETWORK = Stack(5, network=MLP((64,)))
HEADS = {"policy": policy_head(WORLD.action_space)}
ANSWERS = np.array(list(itertools.product(range(WORDS), repeat=LONG)), np.int32)
BEFORE = np.concatenate([np.full((len(ANSWERS), 1), PROMPT[-1]), ANSWERS[:, :-1]], 1)
PAIRS = np.random.default_rng(0).normal(size=(LONG, WORDS, WORDS)) / 2
SCORES = PAIRS[np.arange(LONG), BEFORE, ANSWERS].sum(1).astype(np.float32)


@dataclass(frozen=True)
class Scores:
    """What an answer is worth, with its last token."""

    def build(self, key: Key[Array, ""], spec: Spec) -> Scored:
        return Scored(jnp.asarray(SCORES))


class Scored(Relabel):
    worth: Float[Array, " answers"]

    @property
    def context(self) -> None:
        return None

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        begun = len(PROMPT) - 1
        number = jnp.tensordot(WORDS ** jnp.arange(LONG)[::-1], trajectory.action[begun : begun + LONG], 1)
        return jnp.zeros(trajectory.transitions.shape).at[begun + LONG - 1].set(self.worth[number])


@jax.jit
def answers_log_prob(policy: Policy) -> Float[Array, " answers"]:
    """Log π of every answer."""
    texts = jnp.asarray(np.concatenate([np.tile(PROMPT, (len(ANSWERS), 1)), ANSWERS], 1).T)
    first = jnp.zeros(texts.shape, bool).at[0].set(True)
    heads = unroll_batch(policy, texts[:-1], first[:-1], initial_carries(policy, len(ANSWERS)))
    chosen = jax.vmap(jax.vmap(lambda policy, token: policy.log_prob(token)))(heads["policy"], texts[1:])
    return chosen[len(PROMPT) - 1 :].sum(0)


def normal(log_weight: Any) -> Float[np.ndarray, " answers"]:
    return np.asarray(jax.nn.log_softmax(jnp.asarray(log_weight)))


def kl(log_prob: Any, other: Any) -> float:
    return float((np.exp(log_prob) * (log_prob - other)).sum())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> WeightsFile:
    return reference_weights(tmp_path_factory.mktemp("reference"))


def reference_weights(folder: Path) -> WeightsFile:
    """Of the reference: it prefers some answers to others."""
    network: Any = NETWORK.build(
        jax.random.key(5), WORLD.observation_space, {"policy": policy_head(WORLD.action_space)}
    )
    last = lambda stacked: stacked.network.last["policy"].weight  # noqa: E731
    return save_weights(folder / "weights", eqx.tree_at(last, network, 60 * last(network)))


@pytest.fixture(scope="module")
def reference(weights: WeightsFile) -> Float[np.ndarray, " answers"]:
    return reference_of(weights)


def reference_of(weights: WeightsFile) -> Float[np.ndarray, " answers"]:
    """Its log π of every answer."""
    found = Pretrained(weights, (), NETWORK).build(jax.random.key(0), WORLD.observation_space, HEADS)
    return np.asarray(answers_log_prob(found))


def learnt(
    algorithm: Any, weights: WeightsFile, updates: int, near: bool = True, seeds: int = 1
) -> Float[np.ndarray, "seeds answers"]:
    """Log π of every answer after so many updates, of each seed."""
    method = replace(algorithm, network=Pretrained(weights, (), NETWORK), num_envs=TEXTS, rollout=WORLD.rows)
    kl = (ReferenceKL(BETA, Pretrained(weights, network=NETWORK)),) if near else ()
    steps = updates * TEXTS * (len(PROMPT) - 1 + LONG)
    with rt.train(method, WORLD, steps, seed=range(seeds), relabel=InTurn((Scores(), *kl))) as training:
        training.run_to_end()
        return np.array([answers_log_prob(policy.select("policy")) for policy in training.policies])


def falling(learning_rate: float) -> Adam:
    return Adam(learning_rate, Schedule.linear, max_gradient_norm=1.0)


OPTIMISERS = {
    "ppo": (PPO(epochs=2, minibatches=4, discount=1.0, value_clip=0.2, optimiser=falling(1e-2)), 300),
    "grpo": (GRPO(scale_advantages=False, optimiser=falling(3e-2)), 500),
    "rloo": (RLOO(group=8, optimiser=falling(3e-2)), 500),
    "reinforce": (REINFORCE(discount=1.0, optimiser=falling(3e-2)), 500),
}
"""Each with its updates: half as many miss the bar (.09 to .14 on average)."""
BAR = 0.05
"""Over ten seeds the mean KL is .016 to .023, the largest of all .039, and a seed's standard deviation .003 to .008."""


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_optimum_is_reached(name: str, weights: WeightsFile, reference: Any) -> None:
    algorithm, updates = OPTIMISERS[name]
    best = normal(reference + SCORES / BETA)
    assert kl(reference, best) > 1 and kl(best, reference) > 1, "it is far from where they begin"
    assert kl(learnt(algorithm, weights, updates)[0], best) <= BAR


def test_who_clones_the_best_again_and_again_gets_further_than_the_best_of_so_many(
    weights: WeightsFile, reference: Any
) -> None:
    """Of 4 answers of the reference the best is worth so much: exactly, since they are drawn independently."""
    order = np.argsort(SCORES)
    below = np.cumsum(np.exp(reference)[order])
    best_of_4 = (np.diff(below**4, prepend=0.0) * SCORES[order]).sum()
    found = learnt(ExpertIteration(group=4, optimiser=falling(1e-2)), weights, 100, near=False)[0]
    assert (np.exp(found) * SCORES).sum() > best_of_4 > (np.exp(reference) * SCORES).sum() + SCORES.std() / 2


def main() -> None:
    weights = reference_weights(Path(tempfile.mkdtemp()))
    best = normal(reference_of(weights) + SCORES / BETA)
    for name, (algorithm, updates) in OPTIMISERS.items():
        found = np.array([kl(each, best) for each in learnt(algorithm, weights, updates, seeds=10)])
        low, high = interval95(found)
        print(f"{name}, {updates} updates: {found.mean():.4f}, {low:.4f} to {high:.4f}, largest {found.max():.4f}")


if __name__ == "__main__":
    main()
