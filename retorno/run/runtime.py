"""How JAX is set up: compiled programs are kept in the user's cache folder, and small loops are one kernel."""

from __future__ import annotations

import os
from pathlib import Path

import jax


def cache_folder() -> Path:
    """Where compiled programs are kept: `RETORNO_CACHE`, else `retorno/` in the user's cache folder."""
    given = os.environ.get("RETORNO_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retorno"


def keep_compiled_programs() -> None:
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
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


IN_ONE_ORDER = "--xla_cpu_enable_concurrency_optimized_scheduler=false"


def exchange_in_one_order() -> None:
    """Where the processor is split into several devices, let what they exchange come in one order on all of them.

    Scheduled concurrently, as XLA does on CPUs, two devices wait for each other in different exchanges
    until XLA aborts the process. The flag is read when JAX starts its devices.
    """
    devices = os.environ.get("JAX_NUM_CPU_DEVICES") or getattr(jax.config, "jax_num_cpu_devices", 1)
    if int(devices) > 1 and IN_ONE_ORDER not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {IN_ONE_ORDER}".strip()


def exchanges_in_one_order() -> bool:
    """Whether programs may be spread over several devices: always but on CPUs without the flag."""
    return jax.default_backend() != "cpu" or IN_ONE_ORDER in os.environ.get("XLA_FLAGS", "")


SMALL_LOOP_BYTES = 2**24
SMALL_LOOPS = "xla_backend_extra_options"


def compile_small_loops_whole() -> None:
    """Let XLA turn a loop that touches little memory into one kernel, as it does with tiny ones anyway.

    Otherwise each operation of its body is dispatched by itself, forty to a step of Q-learning, which
    then takes fifteen times as long. The flag is read when JAX starts its devices; an own one is left alone.
    """
    if SMALL_LOOPS not in os.environ.get("XLA_FLAGS", ""):
        flag = f"--{SMALL_LOOPS}=xla_cpu_small_while_loop_byte_threshold={SMALL_LOOP_BYTES}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
