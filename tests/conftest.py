"""Two devices on any machine, for what is spread over several; processes that a test starts get them too."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from hypothesis import settings

os.environ["JAX_NUM_CPU_DEVICES"] = "2"
jax.config.update("jax_num_cpu_devices", 2)

# The same examples on every run; `pytest --hypothesis-profile=fresh` draws others, and finds what these do not.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("fresh", derandomize=False)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    # A compiled program that another process is just writing is read in part: JAX says so and compiles.
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache")


MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 30_000
"""Linux lets a process have 65,530, and each compiled program takes some: beyond them XLA crashes."""


@pytest.fixture(autouse=True)
def few_compiled_programs() -> Iterator[None]:
    """Forget compiled programs before there are too many."""
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()
