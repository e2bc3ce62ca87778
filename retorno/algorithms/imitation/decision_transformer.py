"""Decision transformer: what was done becomes likelier, given what was earned from there on.

Chen et al. 2021, "Decision transformer: reinforcement learning via sequence modeling". Nothing is bootstrapped and no
value is learnt: a sequence model that is told what was still earned when something was done knows, once it is asked
for more than most have earned, what those did who have. What it earns is no more than it has seen.

What we do differently: a row is one token, which holds what is seen and what is still to be earned, where theirs are
three; so the action before is not among them.
"""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from gymnasium import spaces
from jax import Array
from jaxtyping import Key

from retorno.algorithms.imitation.behaviour_cloning import Cloner, begin_cloning, clone
from retorno.algorithms.offline import Offline
from retorno.core.hyperparameters import Whole, hyperparameters
from retorno.core.policy import Metrics, Policy, Reward
from retorno.core.spaces import SpaceError, Spec
from retorno.core.time_step import Trajectory
from retorno.environments.desired_returns import TO_GO
from retorno.networks import NetworkConfig, Transformer
from retorno.ops.optimisers import AdamW, Optimiser


@hyperparameters
class DecisionTransformer(Offline):
    """Decision transformer (Chen et al. 2021). Worlds: recorded ones, told what was earned (`told_returns`)."""

    COLUMNS: ClassVar[int] = 64

    network: NetworkConfig = field(default_factory=lambda: Transformer(window=20))
    """The policy's network: what it reads is `window` rows of an episode, each with what is still to be earned."""
    num_envs: Whole = 0
    """Columns of what was recorded in each gradient step: each is an episode, or several short ones; 0 for
    64, or all where there are fewer."""
    optimiser: Optimiser = field(default_factory=lambda: AdamW(1e-3, weight_decay=1e-4, max_gradient_norm=0.25))
    """How a gradient becomes a step."""

    def init(self, key: Key[Array, ""], spec: Spec) -> Cloner:
        space = spec.observation_space
        if not (isinstance(space, spaces.Dict) and TO_GO in space.spaces):
            raise SpaceError(
                f"DecisionTransformer is told what is still to be earned, and {space} does not say it: give it "
                "recordings by retorno.environments.told_returns(…), and live with what it learnt in "
                "retorno.environments.desired(world, returned)"
            )
        return begin_cloning(self.network, self.optimiser, key, spec, "DecisionTransformer")

    def policy(self, learner: Cloner) -> Policy:
        return learner.network

    def update(
        self, learner: Cloner, trajectory: Trajectory, reward: Reward, key: Key[Array, ""]
    ) -> tuple[Cloner, Metrics]:
        return clone(self.optimiser, learner, trajectory)
