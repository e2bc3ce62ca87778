"""What settings in a file may be made of."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from retorno.algorithms import ALGORITHMS
from retorno.algorithms.imitation.mixing import MIXES
from retorno.core.registry import REGISTERED
from retorno.networks.pretrained import PRETRAINED, SOURCES
from retorno.run import of_run as of_run
from retorno.run.config import parts_of
from retorno.run.relabel import RELABELS

FURTHER = ("retorno.language", "retorno.preferences")
"""Packages above this one that register settings: runs of theirs are gone on with by those who never imported them."""


def register_further() -> None:
    """Have the packages above this one register what they have."""
    for package in FURTHER:
        importlib.import_module(package)


def known() -> dict[str, type]:
    """Everything that settings in a file may be made of, by its class's name: what is registered now."""
    register_further()
    algorithms = [type(make()) for make in ALGORITHMS.values()]
    kinds: list[Mapping[str, Any]] = [*REGISTERED.values(), PRETRAINED, SOURCES, RELABELS, MIXES]
    parts = [kind for each in kinds for kind in each.values()]
    return {kind.__name__: kind for each in (*algorithms, *parts) for kind in (each, *parts_of(each))}
