"""What leaves the rows that are held though its episode goes on, against a list in Python."""

import jax.numpy as jnp
import numpy as np
import pytest

from retorno.core.time_step import TimeStep, Trajectory
from retorno.replay.held_rows import HeldRows


def rows(last):
    """Rows [R, 1] of which only this is looked at."""
    zeros, ends = jnp.zeros(last.shape), jnp.asarray(last)
    return TimeStep(obs=zeros, reward=zeros, discount=zeros, first=ends, last=ends, legal=None)


@pytest.mark.parametrize(("held", "length"), [(3, 1), (5, 2), (2, 5)])
def test_forgotten_transitions_are_counted(held, length):
    generator = np.random.default_rng(0)
    last = generator.random(1 + 12 * length) < 0.15
    kept = [True] * held  # Blank rows, which end episodes.
    memory = HeldRows(
        rows(np.ones((held, 1), bool)),
        jnp.zeros((held, 1), jnp.int32),
        (),
        jnp.int32(0) if length == 1 else None,
    )
    lost = 0
    for begin in range(0, 12 * length, length):
        fresh = last[begin : begin + length + 1]
        joined = kept + fresh.tolist()
        gone = sum(not any(joined[place:]) for place in range(length))
        lost += gone
        trajectory = Trajectory(rows(fresh[:, None]), jnp.zeros((length, 1), jnp.int32), (), ())
        share = float(memory.forgotten(trajectory))
        assert share == pytest.approx(gone / max((~fresh[:-1]).sum(), 1))
        kept, memory = joined[length:-1], memory.after(trajectory)
    assert lost
