"""The behaviour suite's experiments as worlds (Osband et al. 2020, "Behaviour suite for reinforcement learning").

`bsuite/deep_sea/10` is setting 10 of its experiment `deep_sea`, as the package makes it. An experiment is lived in one
environment for as many episodes as it says; what its score reads is written down along the way, as the package does.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from retorno.core.errors import WorldError
from retorno.core.names import did_you_mean
from retorno.environments.hosted.gymnasium import GymnasiumWorld, gymnasium
from retorno.environments.registry import BSUITE, UnknownNameError


def package(name: str) -> Any:
    """A module of the package, by its name there.

    Raises:
        WorldError: when it is not installed.
    """
    import importlib
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It was written for older versions of what it stands on.
            return importlib.import_module(name)
    except ImportError as error:
        raise WorldError(f"the behaviour suite is not installed ({error}): pip install 'retorno[bsuite]'") from error


def settings_of(experiment: str) -> tuple[str, ...]:
    """The ids of an experiment's settings: deep_sea/0, deep_sea/1 and so on.

    Raises:
        UnknownNameError: when there is no such experiment.
    """
    known = experiments()
    if experiment not in known:
        raise UnknownNameError(
            f"the behaviour suite has no experiment {experiment!r}{did_you_mean(experiment, known)}; it has "
            f"{', '.join(known)}"
        )
    return known[experiment]


def experiments() -> dict[str, tuple[str, ...]]:
    """The ids of the settings of each experiment."""
    found: dict[str, tuple[str, ...]] = {}
    for known in package("bsuite.sweep").SWEEP:
        experiment = known.partition("/")[0]
        found[experiment] = (*found.get(experiment, ()), known)
    return found


class Experiment(gym.Env):
    """One setting of an experiment, and what is written down of all episodes lived in it."""

    def __init__(self, setting: str) -> None:
        """It is made as the package makes it.

        Args:
            setting: its id, as deep_sea/10.

        Raises:
            WorldError: when it cannot be made; those of mnist need a data set from the network.
        """
        suite, wrappers = package("bsuite"), package("bsuite.utils.wrappers")
        self.rows: list[dict[str, Any]] = []
        """At the episodes that a score may ask for: what was returned by then."""
        try:
            made = suite.bsuite.load(*_named(setting))
        except (OSError, ImportError) as error:
            raise WorldError(f"{BSUITE}{setting} cannot be made: {error}") from error
        self.episodes: int = made.bsuite_num_episodes
        """Of the experiment."""
        self._made, self._lived = made, wrappers.Logging(made, self)
        seen = made.observation_spec()
        self.observation_space = spaces.Box(-np.inf, np.inf, seen.shape, np.float32)
        self.action_space = spaces.Discrete(int(made.action_spec().num_values))

    def write(self, row: dict[str, Any]) -> None:
        """Called by the package's own wrapper."""
        self.rows.append({name: float(x) for name, x in row.items()})

    @property
    def over(self) -> bool:
        """Whether all episodes are lived."""
        return bool(self.rows) and self.rows[-1]["episode"] >= self.episodes

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            layer = self._made
            while layer is not None:  # What it is wrapped in makes noise of its own.
                if "_rng" in vars(layer):
                    layer._rng = np.random.RandomState(seed)
                layer = vars(layer).get("_env")
        return self._seen(self._lived.reset()), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        step = self._lived.step(int(action))
        ended = step.last() and step.discount == 0
        return self._seen(step), float(step.reward), bool(ended), bool(step.last() and not ended), {}

    def _seen(self, step: Any) -> np.ndarray:
        return np.asarray(step.observation, np.float32)


def _named(setting: str) -> tuple[str, dict[str, Any]]:
    """An experiment and what its setting is made with."""
    experiment = setting.partition("/")[0]
    if setting not in settings_of(experiment):
        raise UnknownNameError(
            f"no setting {setting!r}: {experiment} has {len(settings_of(experiment))}, {experiment}/0 and so on"
        )
    return experiment, package("bsuite.sweep").SETTINGS[setting]


def world(setting: str, **kwargs: Any) -> GymnasiumWorld:
    """A setting as a hosted world.

    Args:
        setting: its id, as deep_sea/10.
        **kwargs: as `gymnasium` takes them.
    """
    _named(setting)
    maker = partial(Experiment, setting)
    return gymnasium(maker, **kwargs)
