"""Actions as policies choose them, and as worlds take them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno.core.spaces import Mixed, SpaceError, action_units, encode, index, policy_space, unbounded_note, width

INF = np.inf
MIXED = spaces.Box(np.array([100, -0.01, 0, -INF, 2], np.float32), np.array([200, 0.01, INF, INF, 2], np.float32))

PLACE, LEVER, BITS = spaces.Box(100, 200, (2,)), spaces.Discrete(3, start=5), spaces.MultiBinary(2)
SPACES = {
    "number": (spaces.Discrete(5, start=3), spaces.Discrete(5)),
    "numbers": (spaces.MultiDiscrete([2, 3], start=[4, -1]), spaces.MultiDiscrete([2, 3])),
    "a grid of numbers": (spaces.MultiDiscrete([[2, 3], [4, 5]]), spaces.MultiDiscrete([2, 3, 4, 5])),
    "bits": (spaces.MultiBinary((2, 3)), spaces.MultiBinary(6)),
    "a vector": (spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (3,))),
    "one float": (spaces.Box(0, 255, ()), spaces.Box(-1, 1, (1,))),
    "a matrix": (spaces.Box(100, 200, (2, 3)), spaces.Box(-1, 1, (6,))),
    "bytes": (spaces.Box(0, 255, (2,), np.uint8), spaces.Box(-1, 1, (2,))),
    "all kinds of bounds": (
        MIXED,
        spaces.Box(np.array([-1, -1, 0, -INF, -1], np.float32), np.array([1, 1, INF, INF, 1], np.float32)),
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_policies_act_in_a_flat_space_that_starts_from_nothing(name):
    space, expected = SPACES[name]
    assert policy_space(space) == expected and policy_space(expected) == expected


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("xp", [np, jnp])
def test_there_and_back(name, xp):
    """What a policy chooses is an element of the world's space, in batches too, and is found again."""
    space, own = SPACES[name]
    own.seed(0)
    units = action_units(space)
    chosen = [np.asarray(own.sample()) for _ in range(6)]
    for action in chosen:
        taken = units.to_world(xp.asarray(action))
        assert isinstance(taken, np.ndarray | np.generic) == (xp is np)
        assert space.contains(np.asarray(taken).astype(space.dtype)), (action, taken)
        back = units.to_policy(taken)
        if name == "bytes":
            assert np.abs(back - action).max() <= 1 / 255 + 1e-6
        else:
            np.testing.assert_allclose(back, np.where(own_is_one(space), 0, action), rtol=1e-5, atol=1e-5)
    batch = units.to_world(xp.asarray(np.stack(chosen).reshape(2, 3, *chosen[0].shape)))
    assert batch.shape == (2, 3, *(space.shape or ()))
    np.testing.assert_allclose(batch[1, 2], units.to_world(xp.asarray(chosen[5])), rtol=1e-6)


@pytest.mark.parametrize(
    ("space", "own", "action", "taken"),
    [
        (
            spaces.Dict(lever=LEVER, bits=BITS),
            spaces.MultiDiscrete([2, 2, 3]),
            np.int32([1, 0, 2]),
            {"bits": [1, 0], "lever": 7},
        ),
        (
            spaces.Tuple([PLACE, spaces.Dict(x=spaces.Box(-3, 3, ()))]),
            spaces.Box(-1, 1, (3,)),
            np.float32([0, 1, -1]),
            ([150, 200], {"x": -3}),
        ),
        (spaces.Dict(lever=LEVER), spaces.Discrete(3), np.int32(1), {"lever": 6}),
        (
            spaces.Tuple([PLACE, LEVER, spaces.Tuple([BITS])]),
            Mixed((3, 2, 2), spaces.Box(-1, 1, (2,))),
            np.float32([2, 0, 1, 0, -1]),
            ([150, 100], 7, ([0, 1],)),
        ),
    ],
    ids=["choices", "real numbers", "one part", "both"],
)
@pytest.mark.parametrize("xp", [np, jnp])
def test_parts_of_an_action_are_one_vector(space, own, action, taken, xp):
    """There and back, alone and in batches."""
    assert policy_space(space) == own and policy_space(own) == own and own.contains(action)
    units = action_units(space)
    given = units.to_world(xp.asarray(action))
    assert jax.tree.map(lambda x: np.asarray(x).tolist(), given) == taken
    many = units.to_world(xp.asarray(np.stack([action, action])))
    np.testing.assert_array_equal(units.to_policy(many), np.stack([action, action]))
    np.testing.assert_array_equal(units.to_policy(given), action)


def test_choices_and_reals_are_read_as_what_they_are():
    own = Mixed((3, 2), spaces.Box(-1, 1, (2,)))
    assert width(own) == 7
    np.testing.assert_allclose(encode(own, jnp.array([2, 0, 0.5, -1])), [0, 0, 1, 1, 0, 0.5, -1])
    assert own.contains(own.sample()) and not own.contains([3, 0, 0, 0]) and not own.contains([0.5, 0, 0, 0])


def own_is_one(space):
    """Where a Box leaves nothing to choose."""
    return (space.low == space.high).reshape(-1) if isinstance(space, spaces.Box) else False


def test_bounds_by_hand():
    units = action_units(MIXED)
    np.testing.assert_allclose(units.to_world(np.float32([0, 1, 3, -7, 0.5])), [150, 0.01, 3, -7, 2])
    # A Gaussian's action leaves [−1, 1]: it is clipped, never beyond a bound by a rounding.
    np.testing.assert_array_equal(units.to_world(np.float32([9, -9, -3, 1e9, 5])), np.float32([200, -0.01, 0, 1e9, 2]))
    # What is within [−1, 1] already stays as it is, to the bit.
    actions = np.float32([1e-9, -0.123456789, 1])
    np.testing.assert_array_equal(action_units(spaces.Box(-1, 1, (3,))).to_world(actions), actions)
    assert action_units(spaces.Box(0, 255, (2,), np.uint8)).to_world(np.float32([0.999, -0.1])).tolist() == [255, 115]


def test_units_are_arguments_of_compiled_programs():
    """Another world of the same shape compiles nothing anew."""
    to_world = jax.jit(lambda units, action: units.to_world(action))
    for low, high in ((100, 200), (-0.01, 0.01)):
        units = action_units(spaces.Box(low, high, (2,)))
        np.testing.assert_allclose(to_world(units, jnp.array([1.0, 0.0])), [high, (low + high) / 2], atol=1e-7)
    assert to_world._cache_size() == 1


def test_what_has_no_bounds_is_said():
    assert unbounded_note(spaces.Discrete(3)) is None and unbounded_note(spaces.Box(-2, 2, (3,))) is None
    assert "no bounds: there policies act in the world's own units" in unbounded_note(spaces.Box(-INF, INF, (2,)))
    assert "no bounds in the components 2, 3:" in unbounded_note(MIXED)


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Dict(), spaces.Tuple([spaces.Text(3)])], ids=str)
def test_other_spaces_are_refused(space):
    with pytest.raises(SpaceError, match="Discrete, MultiDiscrete, MultiBinary and Box can be taken"):
        action_units(space)


def test_what_cannot_be_numbered_in_32_bits_is_refused():
    """The specimen: 2³² elements were numbered modulo 2³², so that different ones shared an entry."""
    largest = spaces.MultiDiscrete([2**15, 2**16 - 1])
    assert int(index(largest, jnp.array([2**15 - 1, 2**16 - 2]))) == 2**15 * (2**16 - 1) - 1
    for space in (spaces.MultiDiscrete([2**15, 2**16]), spaces.MultiBinary(31), spaces.Tuple([largest, largest])):
        with pytest.raises(SpaceError, match="at most 2,147,483,647"):
            index(space, jax.tree.map(jnp.asarray, space.sample()))
