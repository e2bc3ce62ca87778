"""Every method, criterion and representation against exact arithmetic on a thousand models of every kind."""

import pytest
from truth import checks, control

MODELS = 60
"""Of each check; `truth.py` runs as many as one likes."""


def test_a_thousand_models():
    assert all([control(seed) for seed in range(1_000)])


@pytest.mark.filterwarnings("ignore:.*no reward was found")
@pytest.mark.parametrize("name", checks(None))  # type: ignore[arg-type]
def test_no_bound_is_violated(name, tmp_path):
    check = checks(tmp_path)[name]
    for seed in range(20_000, 20_000 + MODELS):
        check(seed)
