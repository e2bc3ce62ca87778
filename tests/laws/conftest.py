"""Laws that compile much and run little have their programs compiled in haste: they hold of those as well."""

from collections.abc import Iterator

import jax
import pytest
from cases import covering, everything


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    own = any("case" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "case" in metafunc.fixturenames and not own:
        every = metafunc.config.getoption("all")
        metafunc.parametrize("case", everything() if every else covering(), ids=str)


PATIENT = ("test_1_oracle", "test_2_table")
"""They run for longer than they compile."""


@pytest.fixture(autouse=True)
def compiled_in_haste(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """XLA's backend does not optimise, in this process and in those that it starts."""
    if request.path.stem in PATIENT or request.node.get_closest_marker("patient"):
        yield
        return
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
