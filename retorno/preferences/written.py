"""Segments as they are written, nested lists of numbers, and as they are learnt from."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from gymnasium import spaces


def as_rows(written: Any, space: spaces.Space[Any]) -> Any:
    """Observations or actions that were written as nested lists, as their space has them."""
    match space:
        case spaces.Dict():
            return {name: as_rows(written[name], part) for name, part in space.spaces.items()}
        case spaces.Tuple():
            return tuple(as_rows(each, part) for each, part in zip(written, space.spaces, strict=True))
    return np.asarray(written, jax.dtypes.canonicalize_dtype(space.dtype))
