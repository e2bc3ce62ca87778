"""Two devices on any machine, for what is spread over several; processes that a test starts get them too.

Laws of one algorithm share its programs: they run one after another on one worker, as do the tests of a file.
What was compiled is forgotten between groups that compile otherwise, and once it fills much memory.
"""

import contextlib
import ctypes
import dataclasses
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import annotations
import draws
import jax
import pytest
from hypothesis import settings
from jax._src import compiler

annotations.hold()
annotations.Looking.on = False  # Until the first test: what files make while they are collected is made by tests too.

from retorno.cli import waiting  # noqa: E402
from retorno.core.runtime import SIDE_BY_SIDE, prepare  # noqa: E402

# What a command says does not depend on how fast the machine is.
waiting.PATIENCE = 1e6

# Traces make many objects that live for long.
gc.set_threshold(50_000, 20, 50)

COMPILED_SOONER = "".join(f" --{option}={str(value).lower()}" for option, value in SIDE_BY_SIDE.items())
IN_ONE_PIECE = "--xla_cpu_parallel_codegen_split_count=1"
"""Otherwise XLA splits each program into pieces that several threads compile, where here each core has its own test."""

# Processes that tests start read what an earlier one compiled, whoever asked that nothing be written.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ["JAX_NUM_CPU_DEVICES"] = "2"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')}{COMPILED_SOONER} {IN_ONE_PIECE}".strip()
jax.config.update("jax_num_cpu_devices", 2)
prepare()
# The smallest programs are kept as well: they are compiled again and again, in each process and after each forgetting.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

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
    """Tests of one group stand together: first what learns, then in the order of the groups' first tests.

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
    # What learns comes first: at the end one worker would still be at it and the others idle.
    learning = lambda members: not any(item.get_closest_marker("slow") for item in members)  # noqa: E731
    items[:] = [item for members in sorted(groups.values(), key=learning) for item in members]


def pytest_collection_finish() -> None:
    """What is collected stays to the end: the garbage collector need not look at it."""
    gc.collect()
    gc.freeze()


def group(item: pytest.Item) -> str:
    """The case or the algorithm of a law, else the test's file; what is patient shares nothing with haste."""
    from retorno.algorithms import ALGORITHMS

    file = item.nodeid.split("::")[0]
    if (how := pace(item)) is not in_haste:
        return f"{file}, {how.__name__}"
    if item.path.parent.name != "laws" or not hasattr(item, "callspec"):
        return file
    given = item.callspec.params  # pyright: ignore[reportAttributeAccessIssue]
    if hasattr(given.get("case"), "group"):
        return given["case"].group
    return given["name"] if given.get("name") in ALGORITHMS else file


NOT_HELD = ("docs", "test_1_oracle.py", "test_2_table.py", "test_6_resume.py")
"""What these call, and what the processes that tests start call, is not held to its annotations."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Whether all that is called is held to its annotations: `tests/annotations.py`."""
    annotations.Looking.begin(not set(item.path.relative_to(item.config.rootpath).parts) & set(NOT_HELD))


PATIENT = ("test_1_oracle.py",)
"""They run for longer than they compile."""
LEARNING = ("test_pages.py", "test_notebooks.py", "figures", "textbook", "test_figures_of_control.py")
"""They compile for as long as they run."""


def pace(item: pytest.Item) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """How XLA compiles for a test, and for all that it shares with the tests of its group.

    What compares with what users run is `patient`. What learns until it has learnt is optimised, but no more than pays.
    Most tests compile and run little: the backend does not optimise, here and in processes that they start.
    """
    parts = set(item.path.relative_to(item.config.rootpath).parts)
    if parts & set(PATIENT) or item.get_closest_marker("patient"):
        return as_users_compile
    if parts & set(LEARNING) or item.get_closest_marker("slow"):
        return half_optimised
    return in_haste


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    with pace(item)():
        return (yield)


@contextlib.contextmanager
def in_haste() -> Iterator[None]:
    with draws.in_one_call(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", True)
        try:
            yield
        finally:
            jax.config.update("jax_disable_most_optimizations", False)


@contextlib.contextmanager
def half_optimised() -> Iterator[None]:
    """Pages take a seventh less time to compile and run so than with all that the backend does."""
    with compiled_with(xla_backend_optimization_level=1), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} --xla_backend_optimization_level=1")
        yield


@contextlib.contextmanager
def as_users_compile() -> Iterator[None]:
    """This process was started in haste."""
    with compiled_with(**dict.fromkeys(SIDE_BY_SIDE, True)), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"].replace(COMPILED_SOONER.strip(), ""))
        yield


@contextlib.contextmanager
def compiled_with(**given: bool | int) -> Iterator[None]:
    """Options of XLA for every program, which come before this process's flags and after the program's own."""

    def options(*args: Any, **kwargs: Any) -> Any:
        made = get_compile_options(*args, **kwargs)
        made.env_option_overrides = [*given.items(), *made.env_option_overrides]
        return made

    get_compile_options = compiler.get_compile_options
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "get_compile_options", options)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    Patched.one |= "monkeypatch" in item.fixturenames  # pyright: ignore[reportAttributeAccessIssue]
    if nextitem is None or group(item) != group(nextitem):
        if nextitem is None or pace(item) is not pace(nextitem) or Patched.one or crowded():
            forget_compiled_programs()
        Patched.one, Threads.before = False, threading.active_count()
    elif crowded(TOO_MUCH) and threading.active_count() <= Threads.before:
        # While the group's own server is up, one of its threads may be in the middle of a program.
        forget_compiled_programs()


class Patched:
    """Whether a test of this group put something in another's place, of which programs may have been made."""

    one = False


class Threads:
    """How many there were when this group of tests began."""

    before = threading.active_count()


class Looked:
    """When it was looked how full the memory is, in seconds of this process's work."""

    last = 0.0


MUCH = 1.7e9
"""Bytes of a process's memory: to forget and trace anew takes as long as a law of an algorithm."""
TOO_MUCH = 2.3e9
"""Of these no group may wait for its end, unless it has threads of its own."""
MANY = 30_000
"""Pieces of it. Linux lets a process map 65,530, beyond which XLA crashes."""


def crowded(much: float = MUCH) -> bool:
    """Whether compiled programs, which are large, fill much of the memory, or nobody can tell.

    One looks no more than once in a second of work: Linux takes up to 45 ms to list the pieces.
    """
    if time.process_time() < Looked.last + 1:
        return False
    Looked.last = time.process_time()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        pieces = Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return True
    return pages * os.sysconf("SC_PAGE_SIZE") > much or pieces > MANY


def forget_compiled_programs() -> None:
    """And give their memory back."""
    jax.clear_caches()
    gc.collect()
    if trim is not None:
        trim(0)


trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc keeps what is freed until it is asked."""


def keep_memory() -> None:
    """Let glibc give memory back when it is asked alone: a compiler takes and frees it all the time.

    By one heap for all threads, which grows by 64 MB, from which larger pieces are taken too, and 512 MB of which may
    lie free at its end: the options M_ARENA_MAX, M_TOP_PAD, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for option, value in ((-8, 1), (-2, 2**26), (-3, 2**26), (-1, 2**29)):
            mallopt(option, value)


keep_memory()
