"""A question to a solver may be taken back while it is thought about: an early position may take it hours."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from retorno.search.errors import SearchError


class Stopped(SearchError):
    """A question that was taken back."""


class Stop:
    """By which a question is taken back, from another thread."""

    def __init__(self) -> None:
        self.asked: UInt8[np.ndarray, " flags"] = np.zeros(1, np.uint8)
        """One flag, 1 once it is. The compiled searches look here at each position, and raise `Stopped`."""

    def ask(self) -> None:
        """Nobody waits for the answer any more."""
        self.asked[0] = 1
