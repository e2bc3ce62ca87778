"""Rewards for looking like an expert: generative adversarial imitation.

Ho & Ermon 2016 (GAIL). A discriminator learns to tell what an expert did from what is lived now, and what it takes for
the expert's is paid. Here it is a relabel, so that any algorithm imitates: `--relabel gail --relabel.demonstrations
FILE`.
"""

from __future__ import annotations

from dataclasses import field, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from gymnasium import spaces
from jax import Array, vmap
from jaxtyping import Float, Key, PyTree

from retorno.core.hyperparameters import Count, Finite, as_arrays, settings
from retorno.core.policy import Metrics, Policy, Relabel, unroll_batch
from retorno.core.spaces import SpaceError, Spec, action_units, misfit
from retorno.core.time_step import Trajectory, before_and_after
from retorno.environments.datasets import dataset
from retorno.networks import MLP, NetworkConfig, ValueHead, require_no_context
from retorno.networks.normalisers import ObservationNormaliser
from retorno.ops.objectives import masked_mean
from retorno.ops.optimisers import Adam, Optimiser, descend

LOGIT = "value"


@settings
class GAIL:
    """Generative adversarial imitation learning (Ho & Ermon 2016): pays what looks like an expert's doing."""

    demonstrations: str = ""
    """What the expert did: a data set, as `retorno.environments.dataset` reads it."""
    world: Finite = 0.0
    """How much of the world's own reward is paid as well."""
    network: NetworkConfig = field(default_factory=MLP)
    """The discriminator's network."""
    optimiser: Optimiser = field(default_factory=lambda: Adam(3e-4))
    """How a gradient becomes a step."""
    gradient_steps: Count = 5
    """Of the discriminator, on each rollout."""
    batch_size: Count = 256
    """Of the expert's transitions in each of them, beside all of the rollout's."""

    def __post_init__(self) -> None:
        if self.demonstrations:  # Wherever the run is gone on with.
            object.__setattr__(self, "demonstrations", str(Path(self.demonstrations).absolute()))

    def build(self, key: Key[Array, ""], spec: Spec) -> Imitated:
        if not self.demonstrations:
            raise ValueError("GAIL imitates an expert: say what that did, demonstrations=FILE.npz, or Minari's folder")
        with jax.ensure_compile_time_eval():  # Whoever asks may be in the middle of tracing a program.
            shown = dataset(self.demonstrations)
            taken = shown.action_space if spec.world is None else spec.world.action_space
            counted = np.flatnonzero(np.asarray(shown.lived.transitions))
            lived = (before_and_after(shown.lived.steps)[0].obs, shown.lived.action)
            obs, action = jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:])[counted], lived)
            for name, space, x in (("observations", spec.observation_space, obs), ("actions", taken, action)):
                if why := misfit(space, x):
                    raise SpaceError(
                        f"{self.demonstrations} holds {name} {why}: demonstrations must be of what is learnt"
                    )
            action = action_units(taken).to_policy(action)
        seen = spaces.Tuple([spec.observation_space, spec.action_space])
        network = require_no_context(self.network.build(key, seen, {LOGIT: ValueHead()}), "GAIL")
        return Imitated(
            network=network,
            state=self.optimiser.build().init(network),  # pyright: ignore[reportArgumentType]
            observations=ObservationNormaliser.start(spec.observation_space),
            shown=jax.tree.map(jnp.asarray, (obs, action)),
            world=jnp.float32(self.world),
            optimiser=as_arrays(self.optimiser),
            gradient_steps=self.gradient_steps,
            batch_size=self.batch_size,
        )


class Imitated(Relabel):
    """Pays −log of the chance that what was done was the learner's own, as the discriminator sees it."""

    network: Policy
    state: optax.OptState
    observations: ObservationNormaliser
    shown: tuple[PyTree[Any], PyTree[Any]]
    """[M], the expert's observations and actions."""
    world: Float[Array, ""]
    optimiser: Optimiser
    gradient_steps: int = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        now, _ = before_and_after(trajectory.steps)
        paid = jax.nn.softplus(self.logit(self.network, now.obs, trajectory.action))
        return self.world * trajectory.steps.reward[1:] + paid * trajectory.transitions

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[Imitated, Metrics]:
        now, _ = before_and_after(trajectory.steps)
        own, counted = (now.obs, trajectory.action), trajectory.transitions
        seeing = replace(self, observations=self.observations.update(now.obs))

        def step(state: tuple[Policy, optax.OptState], key: Key[Array, ""]) -> tuple[Any, Metrics]:
            drawn = jax.random.randint(key, (1, self.batch_size), 0, len(jax.tree.leaves(self.shown)[0]))
            theirs = jax.tree.map(lambda x: x[drawn], self.shown)

            def loss(network: Policy) -> tuple[Float[Array, ""], Metrics]:
                """Ho & Ermon 2016, eq. 17: the learner's are to be told from the expert's."""
                mine, experts = seeing.logit(network, *own), seeing.logit(network, *theirs)
                taken = {"own": masked_mean(jnp.float32(mine > 0), counted), "expert": (experts > 0).mean()}
                told = masked_mean(jax.nn.softplus(mine), counted) + jax.nn.softplus(-experts).mean()
                return told, {"discriminator_loss": told} | {f"{name}_as_expert": x for name, x in taken.items()}

            gradient, told = jax.grad(loss, has_aux=True)(state[0])
            return descend(self.optimiser, state[0], gradient, state[1]), told

        keys = jax.random.split(key, self.gradient_steps)
        (network, state), told = jax.lax.scan(step, (self.network, self.state), keys)
        return replace(seeing, network=network, state=state), jax.tree.map(jnp.mean, told)

    def logit(self, network: Policy, obs: PyTree[Any], action: PyTree[Any]) -> Float[Array, "T B"]:
        """Log D / (1 − D), where D is the chance that rows [T, B] are the expert's."""
        seen = vmap(vmap(self.observations))(obs)
        return unroll_batch(network, (seen, action), jnp.zeros(jax.tree.leaves(action)[0].shape[:2], bool), ())[LOGIT]
