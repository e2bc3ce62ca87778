"""A law stands on cases: an algorithm, a kind of world and a network."""

import pytest
from cases import covering, everything, of_the_loop


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    own = any("case" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "case" in metafunc.fixturenames and not own:
        loop = metafunc.definition.get_closest_marker("loop")
        usual = covering() if loop is None else of_the_loop(*loop.args)
        metafunc.parametrize("case", everything() if metafunc.config.getoption("all") else usual, ids=str)
