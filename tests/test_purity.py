"""Importing retorno changes nothing in its user's process: what a run needs it sets when it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import retorno

HOME = Path(retorno.__file__).parent
MODULES = sorted(
    ".".join(file.relative_to(HOME.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in HOME.rglob("*.py")
    if file.name != "__main__.py"
)

EVERY_OTHER = """
import importlib, json, sys
for name in {modules!r}:
    importlib.import_module(name)
print(json.dumps([name for name in sys.modules if name.split(".")[0] not in ("retorno", "__main__")]))
"""
"""What comes with retorno's modules changes what it will: those are there before we look."""

LOOK = """
import contextlib, importlib, jax, logging, os, signal, sys, warnings
with contextlib.redirect_stdout(None):
    for name in {others!r}:
        with contextlib.suppress(Exception):
            importlib.import_module(name)

def look():
    loggers = [logging.getLogger(), *(x for x in logging.Logger.manager.loggerDict.values() if hasattr(x, "handlers"))]
    return {{
        "environment": dict(os.environ),
        "JAX": {{name: str(value) for name, value in jax.config.values.items()}},
        "devices": jax._src.xla_bridge.backends_are_initialized(),
        "warnings": [str(x) for x in warnings.filters],
        "signals": {{str(x): str(signal.getsignal(x)) for x in signal.valid_signals()}},
        "logging": {{x.name: (x.level, x.disabled, x.propagate, str(x.handlers)) for x in loggers}},
        "path": list(sys.path),
        "hooks": [str(x) for x in (sys.excepthook, sys.displayhook, sys.unraisablehook)],
        "recursion": sys.getrecursionlimit(),
    }}

before = look()
for name in {modules!r}:
    importlib.import_module(name)
    after = look()
    changed = [what for what in before if before[what] != after[what]]
    assert not changed, (name, {{what: (before[what], after[what]) for what in changed}})
"""


@pytest.mark.parametrize("modules", [["retorno"], MODULES], ids=["retorno", "every module"])
def test_importing_changes_nothing(modules: list[str], tmp_path: Path) -> None:
    environ = {name: x for name, x in os.environ.items() if name not in ("XLA_FLAGS", "RETORNO_CACHE")}
    environ |= {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(tmp_path / "plots")}

    def python(code: str, environ: dict[str, str]) -> str:
        done = subprocess.run([sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    writing = {name: x for name, x in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # Read by the next one.
    others = json.loads(python(EVERY_OTHER.format(modules=modules), writing).splitlines()[-1])
    here = {file for file in tmp_path.rglob("*")}
    python(LOOK.format(others=others, modules=modules), environ)
    assert {file for file in tmp_path.rglob("*")} == here
    assert not (tmp_path / ".cache" / "retorno").exists()


def test_what_comes_too_late_is_said(tmp_path: Path) -> None:
    code = """
import warnings, jax.numpy as jnp
jnp.zeros(3)
import retorno as rt
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    world = rt.environments.sampled(rt.environments.student())
    run = rt.train(rt.QLearning(), world, steps=10)
    run.run_to_end()
assert [x.category for x in told] == [UserWarning], told
assert "XLA_FLAGS=" in str(told[0].message) and __file__ == told[0].filename, told[0]
import jax
assert jax.config.jax_compilation_cache_dir.startswith(str(__import__("pathlib").Path.cwd()))
"""
    file = tmp_path / "late.py"
    file.write_text(code)
    environ = {name: x for name, x in os.environ.items() if name not in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")}
    environ |= {"RETORNO_CACHE": str(tmp_path / "cache"), "JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run([sys.executable, file], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert any((tmp_path / "cache" / "xla").iterdir()), "a cache that is set late is used all the same"


@pytest.mark.parametrize(
    "begin",
    [
        'rt.train(rt.QLearning(network=rt.networks.MLP()), "CartPole-v1", steps=2)',
        'rt.train(rt.QLearning(network=rt.networks.MLP()), rt.gymnasium("Blackjack-v1"), steps=2)',
        'rt.load("run"), rt.make("CartPole-v1")',
    ],
    ids=["native", "hosted", "learnt"],
)
def test_what_comes_first_is_in_time(begin: str, tmp_path: Path) -> None:
    """Nothing of a run, or of what one learnt, touches JAX before it is set up: no warning, and XLA's flag is there.

    It stands before what the user says: XLA reads no further than to a word that is no flag.
    """
    if "load" in begin:
        with retorno.train(retorno.QLearning(), "student", steps=10, folder=tmp_path / "run") as training:
            training.run_to_end()
    code = f"import os, retorno as rt; {begin}; assert 'small_while_loop' in os.environ['XLA_FLAGS'].split()[0]"
    environ = os.environ | {"XLA_FLAGS": "intra_op_parallelism_threads=1", "JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
