"""A law stands on cases: an algorithm, a kind of world and a network."""

import pytest
from cases import covering, everything


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    own = any("case" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "case" in metafunc.fixturenames and not own:
        every = metafunc.config.getoption("all")
        metafunc.parametrize("case", everything() if every else covering(), ids=str)
