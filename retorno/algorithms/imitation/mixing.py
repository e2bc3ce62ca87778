"""Demonstrations beside rewards: in each gradient step what was shown becomes likelier as well.

Ouyang et al. 2022, eq. 2 ("PPO-ptx"): a policy that is taught by rewards forgets what it could do before; a share of
the gradient that first taught it keeps that. What we do differently: they are columns of recordings, drawn in an order
of the seed's, every one once an epoch, and each gradient step draws its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax import Array
from jaxtyping import Key, UInt32

from retorno.core import constants
from retorno.core.constants import Constant, thaw
from retorno.core.hyperparameters import Count, NonNegative, hyperparameters
from retorno.core.registry import Registry
from retorno.core.spaces import SpaceError, Spec, action_units, in_short
from retorno.core.time_step import Trajectory
from retorno.environments.recordings import Reading, Recorded
from retorno.environments.registry import WorldName
from retorno.networks.pretrained import SOURCES, named, versions


@SOURCES.register
@dataclass(frozen=True)
class Demonstrations:
    """Texts that somebody wrote, in a file."""

    source: str = ""
    """The file, as `retorno.language.demonstrations` reads it."""
    model: str = ""
    """Whose tokens they become."""

    @property
    def version(self) -> tuple[tuple[str, int, int], ...]:
        """Another once the file is."""
        return versions([Path(self.source)])

    def recorded(self) -> Recorded:
        """As a world.

        Raises:
            DataError, ModelError: when texts or model cannot be read.
        """
        made = WorldName("retorno.language:demonstrations", settings={"source": self.source, "model": self.model})
        with jax.ensure_compile_time_eval():  # Whoever asks may be in the middle of tracing a program.
            return made.make()  # pyright: ignore[reportReturnType]

    def read(self) -> dict[str, Any]:
        return dict(named(self.recorded()))


MIXES = Registry()
"""Every way to learn from demonstrations beside what is lived."""


@MIXES.register
@hyperparameters
class Mix:
    """Demonstrations from which a part of each gradient step is learnt."""

    demonstrations: Demonstrations = field(default_factory=Demonstrations)
    """Which."""
    coefficient: NonNegative = 1.0
    """What a step towards them weighs: of the mean log-probability of what was shown."""
    columns: Count = 8
    """Columns of them in each gradient step: each is a text, or several short ones."""


class Mixed(NamedTuple):
    """How far the demonstrations are read."""

    recorded: Recorded
    """Its arrays are constants."""
    reading: Reading
    seed: UInt32[Array, ""]
    """Which the order of each epoch follows from."""

    def drawn(self, columns: int) -> tuple[Mixed, Trajectory]:
        """The next columns of them, as policies choose."""
        world = thaw(self.recorded)
        reading, lived = world.draw(self.reading, self.seed, columns)
        lived = lived._replace(action=action_units(world.action_space).to_policy(lived.action))
        return self._replace(reading=reading), lived


def begin(mix: Mix, spec: Spec, key: Key[Array, ""]) -> Mixed:
    """Before the first of them is read.

    Raises:
        SpaceError: when they were recorded in another world than is learnt in.
        ValueError: when there are fewer than are drawn at once.
    """
    recorded = mix.demonstrations.recorded()
    found = (recorded.observation_space, recorded.action_space)
    if found != (spec.observation_space, spec.action_space):
        raise SpaceError(
            f"{mix.demonstrations.source} holds observations {in_short(found[0])} and actions "
            f"{in_short(found[1])}, and the world has {in_short(spec.observation_space)} and "
            f"{in_short(spec.action_space)}: demonstrations must be of what is learnt"
        )
    if mix.columns > recorded.columns:
        raise ValueError(
            f"mix.columns={mix.columns} are drawn for each gradient step, and {mix.demonstrations.source} fills only "
            f"{recorded.columns}: choose mix.columns={recorded.columns} or fewer"
        )
    reading = recorded.opening(mix.columns)
    digest, _ = constants.read(mix.demonstrations)
    held = [Constant(mix.demonstrations, digest, name) for name, _ in named(recorded)]
    frozen = jax.tree.unflatten(jax.tree.structure(recorded), held)
    return Mixed(frozen, reading, jax.random.bits(key))
