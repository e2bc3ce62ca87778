"""What is legal may be told to a loaded policy in every form in which environments tell it."""

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from retorno.core.time_step import Only
from retorno.networks import MLP, policy_head
from retorno.run.actor import Actor

SEEN = spaces.Box(-1, 1, (3,))
MASKS = (np.array([1, 0], np.int8), np.array([0, 1, 1], np.int8))


def actor(space):
    network = MLP((8,)).build(jax.random.key(0), SEEN, {"policy": policy_head(space)})
    return Actor(network, SEEN, space, masked=True)


def test_masks_over_multi_discrete():
    policy, obs = actor(spaces.MultiDiscrete([2, 3], start=[0, 5])), np.zeros(3, np.float32)
    legal = [policy.act(obs, info={"action_mask": told}) for told in (MASKS, np.concatenate(MASKS))]
    np.testing.assert_array_equal(legal[0], legal[1])
    assert legal[0][0] == 0 and legal[0][1] in (6, 7)
    policy.reset()
    batch = policy.act(np.zeros((4, 3), np.float32), legal=tuple(np.tile(mask, (4, 1)) for mask in MASKS))
    np.testing.assert_array_equal(batch, np.tile(legal[0], (4, 1)))


def test_one_action_alone():
    policy, obs = actor(spaces.Discrete(9)), np.zeros(3, np.float32)
    assert policy.act(obs, info={"only_action": 7}) == 7
    assert policy.act(obs, legal=Only(jnp.int32(4))) == 4
    free = policy.act(obs, info={"only_action": -1})
    assert free == policy.act(obs, legal=np.ones(9, bool))
    policy.reset()
    assert policy.act(np.zeros((2, 3), np.float32), legal=Only(np.array([3, -1]))).tolist() == [3, free]
