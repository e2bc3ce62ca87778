"""Two devices on any machine, for what is spread over several; processes that a test starts get them too.

Laws of one algorithm share its programs: they run one after another on one worker, as do the tests of a file.
What was compiled for them is forgotten after them, and its memory given back.
"""

import ctypes
import dataclasses
import gc
import os
from collections.abc import Iterator

import jax
import pytest
from hypothesis import settings

from retorno.core.runtime import prepare

os.environ["JAX_NUM_CPU_DEVICES"] = "2"
jax.config.update("jax_num_cpu_devices", 2)
prepare()

# The same examples on every run; `pytest --hypothesis-profile=fresh` draws others, and finds what these do not.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("fresh", derandomize=False)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all", action="store_true", help="Put every algorithm with every kind of world and network under each law."
    )


def pytest_configure(config: pytest.Config) -> None:
    # A compiled program that another process is just writing is read in part: JAX says so and compiles.
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Short names that are the same in every process: a function's own name, a dataclass's or module's type."""
    if isinstance(val, type) or (callable(val) and hasattr(val, "__name__")):
        return val.__name__
    return type(val).__name__ if dataclasses.is_dataclass(val) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of one group stand together, in the order of the groups' first tests.

    Before pytest-xdist looks for groups, which it does in the same hook.
    """
    left = [] if config.getoption("all") else [item for item in items if item.get_closest_marker("only_all")]
    config.hook.pytest_deselected(items=left)
    groups: dict[str, list[pytest.Item]] = {}
    for item in items if not left else (item for item in items if not item.get_closest_marker("only_all")):
        groups.setdefault(group(item), []).append(item)
    for name, members in groups.items():
        for item in members:
            item.add_marker(pytest.mark.xdist_group(name))
    items[:] = [item for members in groups.values() for item in members]


def group(item: pytest.Item) -> str:
    """The case or the algorithm of a law, else the test's file; what is patient shares nothing with haste."""
    from retorno.algorithms import ALGORITHMS

    file = item.nodeid.split("::")[0]
    if item.get_closest_marker("patient"):
        return f"{file}, patiently"
    if item.path.parent.name != "laws" or not hasattr(item, "callspec"):
        return file
    given = item.callspec.params  # pyright: ignore[reportAttributeAccessIssue]
    if hasattr(given.get("case"), "group"):
        return given["case"].group
    return given["name"] if given.get("name") in ALGORITHMS else file


PATIENT = ("docs", "figures", "textbook", "test_1_oracle.py", "test_2_table.py", "test_figures_of_control.py")
"""They run for longer than they compile."""


@pytest.fixture(autouse=True)
def compiled_in_haste(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """XLA's backend does not optimise, in this process and in those that it starts: most tests compile and run little.

    What learns until it has learnt (`slow`) and what compares with what users run (`patient`) is compiled as theirs.
    """
    patient = any(request.node.get_closest_marker(mark) for mark in ("slow", "patient"))
    if patient or set(request.path.relative_to(request.config.rootpath).parts) & set(PATIENT):
        yield
        return
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    if nextitem is None or group(item) != group(nextitem):
        forget_compiled_programs()


def forget_compiled_programs() -> None:
    """Compiled programs are large, and Linux lets a process map 65,530 pieces of memory, beyond which XLA crashes."""
    jax.clear_caches()
    gc.collect()
    if trim is not None:
        trim(0)


trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc keeps what is freed until it is asked."""
