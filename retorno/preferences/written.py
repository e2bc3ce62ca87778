"""Segments as they are written, in JSON, and as they are learnt from.

Numbers are nested lists. Pictures, which would be megabytes of digits, are text: their bytes row after row, made small
by zlib (RFC 1950), in base64.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from gymnasium import spaces

PICTURES = ("uint8", "bool")
"""Of what pictures are made."""


def as_written(rows: Any) -> Any:
    """Rows of observations or actions as JSON: nested lists, or a picture's bytes as text.

    Args:
        rows: arrays [R, …]. Those of bytes or marks in two dimensions or more are pictures.

    >>> as_written(np.array([1, 2]))
    [1, 2]
    """
    return jax.tree.map(lambda x: _packed(x) if x.ndim > 2 and x.dtype.name in PICTURES else x.tolist(), rows)


def as_rows(written: Any, space: spaces.Space[Any]) -> Any:
    """Observations or actions as their space has them, from what `as_written` made of them, or nested lists.

    Raises:
        ValueError: where a picture's text is damaged.
    """
    match space:
        case spaces.Dict():
            return {name: as_rows(written[name], part) for name, part in space.spaces.items()}
        case spaces.Tuple():
            return tuple(as_rows(each, part) for each, part in zip(written, space.spaces, strict=True))
    plain = _unpacked(written) if isinstance(written, Mapping) else written
    return np.asarray(plain, jax.dtypes.canonicalize_dtype(space.dtype))


def _packed(x: np.ndarray) -> dict[str, Any]:
    text = base64.b64encode(zlib.compress(np.ascontiguousarray(x).tobytes())).decode()
    return {"dtype": x.dtype.name, "shape": list(x.shape), "zlib": text}


def _unpacked(written: Mapping[str, Any]) -> np.ndarray:
    dtype, shape = written["dtype"], written["shape"]
    if dtype not in PICTURES or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"a picture is of {' or '.join(PICTURES)} and has a shape, got {dtype!r} and {shape!r}")
    size = math.prod(shape)
    try:
        # No more than is told: a little text can hold any number of bytes.
        held = zlib.decompressobj().decompress(base64.b64decode(written["zlib"], validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(f"a picture's bytes cannot be read: {error}") from error
    if len(held) != size:
        raise ValueError(f"a picture of shape {shape} has {size:,} bytes, got {len(held):,} or more")
    return np.frombuffer(held, np.uint8).reshape(shape).astype(dtype)
