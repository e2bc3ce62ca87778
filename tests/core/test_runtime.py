"""How JAX is set up, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

CALLS = """
import resource
import jax
import jax.numpy as jnp
from retorno.core.runtime import prepare

prepare()
program = jax.jit(lambda x: jnp.sin(x @ x[:4]).sum())  # 64 MB for a while, at each call
x = jnp.ones((2**22, 4))
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fetched = lambda: -faults() + (program(x).block_until_ready(), faults())[1]
print(min(fetched() for _ in range(12)))  # the least: now and then a call finds its room taken
"""
PAGES = 2**26 // 4096


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' memory is left alone")
@pytest.mark.parametrize("chosen", [False, True], ids=["ours", "the user's"])
def test_what_a_program_gives_back_is_there_at_its_next_call(chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if chosen:
        monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(2**20))
    told = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True).stdout
    assert (int(told) > PAGES // 2) == chosen
