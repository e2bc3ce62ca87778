"""What the usual cases cover, and that a combination which cannot be is left out."""

import os

import pytest
from cases import ALIKE, Case, covering, main, of_the_loop
from small import ALGORITHMS, FAMILIES, NETWORK
from worlds import KINDS


def test_each_algorithm_world_and_network_stands_under_the_laws() -> None:
    for cases, algorithms in ((covering(), ALGORITHMS), (of_the_loop(), FAMILIES)):
        assert {case.algorithm for case in cases} >= set(algorithms)
        assert {case.world for case in cases} == set(KINDS)
        assert {case.network for case in cases} == set(NETWORK) - set(ALIKE)


def test_an_algorithm_lives_where_its_spaces_allow() -> None:
    assert main("q_learning").world == "finite" and main("box_only").world == "box"
    assert not Case("q_learning", "box", "table").possible
    assert not Case("q_learning", "hidden", "gru").possible and Case("dqn", "hidden", "gru").possible
    assert Case("ppo", "hidden", "gru").possible


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there are no workers")
def test_groups_reach_the_workers(request: pytest.FixtureRequest) -> None:
    """Else each worker compiles what the other does."""
    (mark,) = request.node.iter_markers("xdist_group")
    assert request.node.nodeid.endswith(f"@{mark.args[0]}")
