"""What a CPU draws, in one call: the bits of JAX's own Threefry in two fifths of the time that its programs compile in.

JAX lays the twenty rounds out as a loop, again for each place of a program where something is drawn; of what tests
compile in haste these loops were two fifths. Here all places call one function, which Numba has compiled, by the
interface of XLA for functions of others (xla/ffi/api/c_api.h, which jaxlib brings along): a call's frame leads to its
operands and results, and is asked once for the version of the interface instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax._src.random.threefry2x32 import _threefry2x32_cpu_lowering_rule as as_jax_draws
from jax.extend.random import threefry2x32_p
from jax.interpreters import mlir
from llvmlite import ir
from numba import cfunc, intp, types, uint32
from numba.extending import intrinsic

NAME = "retorno_tests_threefry"
# Places in the frame, in words of eight bytes.
EXTENSION, OPERANDS, RESULTS = 1, 9, 14
METADATA = 3
"""In the extension that asks for the version."""
VERSION = 6
"""In the metadata, in words of four bytes: major, then minor."""
DATA = 3
"""In a buffer, in words of eight bytes."""
PARITY = np.uint32(0x1BD11BDA)


def _at(typing: Any, address: Any, kind: Any) -> Any:
    def cast(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.inttoptr(given[0], ir.IntType(kind.bitwidth).as_pointer())

    return types.CPointer(kind)(types.intp), cast


@intrinsic
def words(typing: Any, address: Any) -> Any:
    """What stands at an address, in words of eight bytes."""
    return _at(typing, address, types.intp)


@intrinsic
def halves(typing: Any, address: Any) -> Any:
    """The same in words of four bytes."""
    return _at(typing, address, types.uint32)


def _version() -> tuple[int, int]:
    """Of the interface, as jaxlib was built with it."""
    told = Path(jax.ffi.include_dir(), "xla/ffi/api/c_api.h").read_text()
    major, minor = (re.search(rf"#define XLA_FFI_API_{part} (\d+)", told) for part in ("MAJOR", "MINOR"))
    assert major and minor
    return int(major[1]), int(minor[1])


MAJOR, MINOR = _version()


@cfunc(intp(intp), cache=True)
def threefry(frame: Any) -> Any:
    """Threefry-2x32 with twenty rounds (Salmon et al. 2011) of so many keys and counts."""
    call = words(frame)
    if call[EXTENSION] != 0:
        version = halves(words(call[EXTENSION])[METADATA])
        version[VERSION], version[VERSION + 1] = MAJOR, MINOR
        return 0
    given, found = words(call[OPERANDS]), words(call[RESULTS])
    count = halves(words(given[0])[DATA])[0]
    key, second = halves(words(given[1])[DATA]), halves(words(given[2])[DATA])
    counts, more = halves(words(given[3])[DATA]), halves(words(given[4])[DATA])
    first, other = halves(words(found[0])[DATA]), halves(words(found[1])[DATA])
    for i in range(count):
        a, b = key[i], second[i]
        c = a ^ b ^ PARITY
        x, y = uint32(counts[i] + a), uint32(more[i] + b)
        for turn in range(5):
            for shift in (13, 15, 26, 6) if turn % 2 == 0 else (17, 29, 16, 24):
                x = uint32(x + y)
                y = x ^ uint32(uint32(y << uint32(shift)) | (y >> uint32(32 - shift)))
            a, b, c = b, c, a
            x, y = uint32(x + a), uint32(y + b + uint32(turn + 1))
        first[i], other[i] = x, y
    return 0


def called(*given: Array) -> list[Array]:
    """The words of two keys and two counts, of one shape or of none, as one call."""
    shape = jnp.broadcast_shapes(*(x.shape for x in given))
    each = [jnp.broadcast_to(x, shape) for x in given]
    like = jax.ShapeDtypeStruct(shape, jnp.uint32)
    return jax.ffi.ffi_call(NAME, (like, like))(np.uint32(np.prod(shape, dtype=int)), *each)


@functools.cache
def _known() -> None:
    place = jax.ffi.pycapsule(ctypes.cast(threefry.address, ctypes.c_void_p))
    jax.ffi.register_ffi_target(NAME, place, platform="cpu")


@contextlib.contextmanager
def in_one_call() -> Iterator[None]:
    """Programs that are compiled meanwhile draw so."""
    _known()
    mlir.register_lowering(threefry2x32_p, mlir.lower_fun(called, multiple_results=True), platform="cpu")
    try:
        yield
    finally:
        mlir.register_lowering(threefry2x32_p, as_jax_draws, platform="cpu")
