"""Processes end with the one that made them, however that ends."""

import pickle
import signal
import subprocess
import sys

import pytest

from retorno.run.stopping import Interrupted

POOL = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from retorno.run.processes import end_with_parent

if __name__ == "__main__":
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=end_with_parent) as pool:
        pool.submit(os.getpid).result()
        print("under way", flush=True)
        pool.submit(time.sleep, 600).result()
"""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_ends_with_who_made_it(tmp_path, told) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    maker = subprocess.Popen([sys.executable, tmp_path / "pool.py"], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None and maker.stdout.readline() == "under way\n"
    maker.send_signal(told)
    # What is printed ends when nobody is left who could print: the worker has the same output.
    assert maker.communicate(timeout=30)[0] == ""


def test_a_stop_comes_back_from_another_process_as_it_was() -> None:
    """One that cannot be read would be taken for a process that broke, and its trial for failed."""
    stopped = pickle.loads(pickle.dumps(Interrupted("all is saved", signal.SIGTERM)))
    assert (str(stopped), stopped.number) == ("all is saved", signal.SIGTERM)
