"""The same by `imitation`, with what its tutorial takes for Pendulum; run by preferences.py with the peers' own Python.

It is given a world, steps, labels, iterations and a seed, and prints mean return and CPU seconds, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from imitation.algorithms import preference_comparisons as preferences
from imitation.policies.base import FeedForward32Policy, NormalizeFeaturesExtractor
from imitation.rewards.reward_nets import BasicRewardNet
from imitation.util.networks import RunningNorm
from imitation.util.util import make_vec_env
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

MISTAKES = 0.1
EPISODES = 100


class Errs(preferences.SyntheticGatherer):
    """Says the opposite in one answer of ten."""

    def __call__(self, fragment_pairs: Any) -> Any:
        said = super().__call__(fragment_pairs)
        return np.where(self.rng.random(said.shape) < MISTAKES, 1 - said, said).astype(np.float32)


def main() -> None:
    world, (steps, labels, iterations, seed) = sys.argv[1], map(int, sys.argv[2:6])
    rng = np.random.default_rng(seed)
    venv = make_vec_env(world, rng=rng)
    reward = BasicRewardNet(venv.observation_space, venv.action_space, normalize_input_layer=RunningNorm)
    agent = PPO(
        policy=FeedForward32Policy,
        policy_kwargs={
            "features_extractor_class": NormalizeFeaturesExtractor,
            "features_extractor_kwargs": {"normalize_class": RunningNorm},
        },
        env=venv,
        seed=seed,
        n_steps=2048 // venv.num_envs,
        batch_size=64,
        ent_coef=0.01,
        learning_rate=2e-3,
        clip_range=0.1,
        gae_lambda=0.95,
        gamma=0.97,
        n_epochs=10,
    )
    trainer = preferences.BasicRewardTrainer(
        preference_model=preferences.PreferenceModel(reward),
        loss=preferences.CrossEntropyRewardLoss(),
        epochs=3,
        rng=rng,
    )
    comparisons = preferences.PreferenceComparisons(
        preferences.AgentTrainer(algorithm=agent, reward_fn=reward, venv=venv, exploration_frac=0.05, rng=rng),
        reward,
        num_iterations=iterations,
        fragmenter=preferences.RandomFragmenter(warning_threshold=0, rng=rng),
        preference_gatherer=Errs(rng=rng, temperature=0),
        reward_trainer=trainer,
        fragment_length=25,
        transition_oversampling=1,
        initial_comparison_frac=0.1,
        allow_variable_horizon=False,
        initial_epoch_multiplier=4,
        query_schedule="hyperbolic",
    )
    began = time.process_time()
    comparisons.train(total_timesteps=steps, total_comparisons=labels)
    seconds = time.process_time() - began
    mean, _ = evaluate_policy(agent, venv, EPISODES)
    print(json.dumps({"return": float(mean), "seconds": seconds}))


if __name__ == "__main__":
    main()
