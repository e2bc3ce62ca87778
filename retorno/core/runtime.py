"""How JAX is set up: compiled programs are kept in the user's cache folder, and small loops are one kernel.

Memory that a program gives back is kept as well, for its next call.

Importing retorno sets nothing. Where JAX is first needed, by a run or by a world that is made, `prepare` is called.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from functools import cache
from pathlib import Path

import jax
from jax._src.xla_bridge import backends_are_initialized

IN_ONE_ORDER = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
SMALL_LOOPS = "xla_backend_extra_options"
SMALL_LOOP_BYTES = 2**24
SIDE_BY_SIDE: dict[str, bool] = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}
"""XLA's options for a program in which many tables learn side by side: they learn twice as fast by the older of its two
ways to compile what is fused, to the same bits; networks learn half as fast by it, and take half the time to compile.
From JAX 0.11 on there is the newer way alone, and XLA refuses options that it does not know."""

KEPT_BYTES = 2**30
"""So much memory that was given back stays with the process, where the rest goes back to the system."""
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""What `mallopt` of the C library calls them (malloc.h)."""

IN_HASTE: dict[str, bool | int] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    **SIDE_BY_SIDE,
}
"""XLA's options for programs that run once or for a moment: a fifth of the time to compile, four times that to run."""


@cache
def prepare() -> None:
    """Set up JAX for this process, once: the cache of compiled programs, in whose thread they run, two of XLA's flags.

    Beside it how memory is taken from the system.

    What the user has set is left alone. XLA reads its flags when JAX starts its devices: where that has happened
    before, a warning says what is lost and how to have it.
    """
    _keep_compiled_programs()
    _keep_memory()
    # A program of a CPU runs in the thread that calls it: to hand a small one over to another takes ten times its time,
    # and nothing here goes on without the answer.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    missing = [flag for flag in _wanted_flags() if flag.split("=")[0] not in os.environ.get("XLA_FLAGS", "")]
    if not missing:
        return
    if backends_are_initialized():
        if jax.default_backend() == "cpu":
            warnings.warn(
                "JAX was used before retorno, so that XLA cannot be told any more to compile small loops whole: "
                "tables learn up to twenty times slower. Make retorno's worlds before other arrays, or start Python "
                f'with XLA_FLAGS="{" ".join(missing)}"',
                stacklevel=3,
            )
        return
    # In front: XLA reads no further than to a word that is no flag.
    os.environ["XLA_FLAGS"] = " ".join([*missing, os.environ.get("XLA_FLAGS", "")]).strip()


def _wanted_flags() -> list[str]:
    # Otherwise each operation of a small loop's body is dispatched by itself, forty to a step of Q-learning,
    # which then takes fifteen times as long. XLA does the same with tiny loops anyway.
    flags = [f"--{SMALL_LOOPS}=xla_cpu_small_while_loop_byte_threshold={SMALL_LOOP_BYTES}"]
    devices = os.environ.get("JAX_NUM_CPU_DEVICES") or getattr(jax.config, "jax_num_cpu_devices", 1)
    if int(devices) > 1:
        # Scheduled concurrently, as XLA does on CPUs, two devices wait for each other in different exchanges
        # until XLA aborts the process.
        flags.append(IN_ONE_ORDER)
    return flags


def exchanges_in_one_order() -> bool:
    """Whether programs may be spread over several devices: always but on CPUs without the flag."""
    return jax.default_backend() != "cpu" or IN_ONE_ORDER in os.environ.get("XLA_FLAGS", "")


def cache_folder() -> Path:
    """Where compiled programs are kept: `RETORNO_CACHE`, else `retorno/` in the user's cache folder."""
    given = os.environ.get("RETORNO_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retorno"


def _keep_compiled_programs() -> None:
    """Turn on XLA's persistent cache, unless JAX was told of another one or the folder cannot be written.

    The folder is the user's own: whoever can write to it can run code as its reader.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    folder = cache_folder() / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        from jax.experimental.compilation_cache import compilation_cache

        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        # JAX looks once whether there is a cache: at the first program, which may have been before.
        compilation_cache.reset_cache()


def _keep_memory() -> None:
    """Have what a program needs for a while, some dozens of MB at each call, come from what the last call gave back.

    The C library of Linux hands allocations of more than 32 MB back to the system at once, and gets them again page by
    page, each set to zeros first: a third of the time of a transformer's gradient. Other systems are left alone, and
    a process for which the user has chosen (`GLIBC_TUNABLES`, `MALLOC_…_`).
    """
    if any(name == "GLIBC_TUNABLES" or (name.startswith("MALLOC_") and name.endswith("_")) for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    for option, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, KEPT_BYTES), (TOP_PAD, 2**26)):
        mallopt(option, value)
