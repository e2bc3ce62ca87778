"""Two devices on any machine, for what is spread over several; processes that a test starts get them too."""

import os

import jax
import pytest

os.environ["JAX_NUM_CPU_DEVICES"] = "2"
jax.config.update("jax_num_cpu_devices", 2)


def pytest_configure(config: pytest.Config) -> None:
    # A compiled program that another process is just writing is read in part: JAX says so and compiles.
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache")
