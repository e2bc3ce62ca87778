"""What is drawn in one call is what JAX draws, to the bit."""

import draws
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry2x32_p

# Random123 1.14, tests/kat_vectors: "threefry2x32 20". Keys, counts, words.
KNOWN = np.array(
    [
        [0, 0, 0, 0, 0x6B200159, 0x99BA4EFE],
        [0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x1CB996FC, 0xBB002BE7],
        [0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3, 0xC4923A9C, 0x483DF7A0],
    ],
    np.uint32,
)


def test_known_words() -> None:
    program = jax.jit(lambda *x: threefry2x32_p.bind(*x))
    given, words = KNOWN.T[:4], KNOWN.T[4:]
    assert draws.NAME in program.lower(*given).as_text()
    assert np.array_equal(program(*given), words)


def drawn(key: jax.Array) -> list[jax.Array]:
    """By one key and by many, of several shapes."""
    keys = jax.random.split(jax.random.fold_in(key, 2**32 - 1), 3)
    several = jax.vmap(lambda key: jax.random.bits(key, (2, 3)))(keys)
    return [jax.random.bits(key), several, jax.random.bits(keys[1], (7,), "uint8"), jax.random.normal(key, (4,))]


@pytest.mark.patient
def test_one_call_draws_the_bits_of_jax() -> None:
    key = jax.random.key(7)
    program = jax.jit(drawn).lower(key)
    assert draws.NAME not in program.as_text()
    theirs = program.compile()(key)
    jax.clear_caches()
    with draws.in_one_call():
        program = jax.jit(drawn).lower(key)
        assert program.as_text().count(f"@{draws.NAME}") >= 4
        ours = program.compile()(key)
    jax.clear_caches()
    assert all(jnp.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
