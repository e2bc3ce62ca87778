"""Planning at decision time: searches by hand, beside a plain twin, and against the exact answers."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from retorno import bellman
from retorno.algorithms import UCT, Rollout
from retorno.core.environment import Environment
from retorno.core.mdp import mdp
from retorno.core.spaces import SpaceError, Spec
from retorno.core.time_step import blank
from retorno.environments.hosted.gymnasium import gymnasium as hosted
from retorno.environments.registry import model, native
from retorno.environments.sampled_world import sampled
from retorno.environments.text.recall import Recall
from retorno.environments.wrappers import TimeLimit
from retorno.models import Counted, Exact
from retorno.ops.bandits import upper_confidence
from retorno.policies import Epsilon, Tabulated, Uniform
from retorno.run.oracle import regret
from retorno.run.probe import lived, probe
from retorno.run.train import train


def spec_of(world: Environment) -> Spec:
    row = blank(jax.eval_shape(world.reset, jax.random.key(0))[1])
    return Spec(world.observation_space, world.action_space, 1, 1, row, world)


def begun(algorithm: Any, world: Environment) -> Any:
    """A learner, and the row on which an episode begins."""
    return algorithm.init(jax.random.key(0), spec_of(world)), world.reset(jax.random.key(1))[1]


def planned(algorithm: Any, world: Environment, seed: int = 0) -> Any:
    """What is found on an episode's first row."""
    learner, row = begun(algorithm, world)
    return jax.jit(algorithm.plan)(learner.model, learner.base, row, jax.random.key(seed))


ARMS = mdp({"arms": {"none": [(1.0, "end", 0.0)], "one": [(1.0, "end", 1.0)]}})


def test_the_upper_confidence_bound() -> None:
    """Three pulls of one arm, one of the other, none of the third: q + c √(ln 4 / n)."""
    found = upper_confidence(jnp.array([0.5, 1.0, 9.0]), jnp.array([3, 1, 0]), 2.0)
    expected = [0.5 + 2 * math.sqrt(math.log(4) / 3), 1 + 2 * math.sqrt(math.log(4)), math.inf]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("simulations", "visits"), [(2, [1, 1]), (6, [1, 5]), (7, [2, 5])])
def test_a_bandit_by_hand(simulations: int, visits: list[int]) -> None:
    """Arms that pay 0 and 1. After 1 and 5 pulls the bounds are √2 √ln 6 = 1.893 and 1 + √2 √(ln 6 / 5) = 1.847."""
    found = planned(UCT(simulations=simulations), sampled(ARMS))
    assert found.visits.tolist() == visits and found.q.tolist() == [0, 1]
    assert int(jnp.argmax(found.preference)) == 1
    np.testing.assert_allclose(found.policy, np.array(visits) / simulations, rtol=1e-6)


def test_the_size_of_rewards_does_not_matter() -> None:
    large = mdp({"arms": {"none": [(1.0, "end", -300.0)], "one": [(1.0, "end", 700.0)]}})
    assert planned(UCT(simulations=7), sampled(large)).visits.tolist() == [2, 5]


CORRIDOR = mdp(
    {
        "a": {"on": [(1.0, "b", 0.0)], "out": [(1.0, "end", 1.0)]},
        "b": {"on": [(1.0, "c", 0.0)], "out": [(1.0, "end", 0.0)]},
        "c": {"on": [(1.0, "end", 8.0)], "out": [(1.0, "end", 0.0)]},
    },
    initial="a",
)
"""At γ = ½ the way on is worth 2, and 1 where it is gone uniformly half of the time: 8/4 · 1/4."""


def test_the_tree_sees_further_than_a_rollout() -> None:
    """On from a: the uniform policy's return is 2 with chance 1/4, so ½ < 1; the best is 2 > 1."""
    rollouts = planned(Rollout(discount=0.5, simulations=4000), sampled(CORRIDOR)).q
    assert float(rollouts[1]) == 1 and abs(float(rollouts[0]) - 0.5) < 4 * math.sqrt(2**2 * 3 / 16 / 4000)
    found = planned(UCT(discount=0.5, simulations=400), sampled(CORRIDOR))
    assert int(jnp.argmax(rollouts)) == 1 and int(jnp.argmax(found.preference)) == 0
    assert 1.5 < float(found.q[0]) <= 2


@pytest.mark.parametrize("algorithm", [UCT(discount=0.5, depth=5), Rollout(discount=0.5, depth=5)])
def test_a_search_looked_at_on_the_way_is_the_shorter_search(algorithm: Any) -> None:
    learner, row = begun(algorithm, sampled(CORRIDOR))
    after, key = (3, 8, 20), jax.random.key(5)
    looks = jax.jit(algorithm.plans, static_argnums=4)(learner.model, learner.base, row, key, after)
    for i, simulations in enumerate(after):
        shorter = planned(dataclasses.replace(algorithm, simulations=simulations), sampled(CORRIDOR), 5)
        jax.tree.map(lambda x, one, i=i: np.testing.assert_allclose(x[i], one, rtol=1e-6), looks, shorter)


def test_what_lies_beyond_the_depth_counts_for_nothing() -> None:
    for algorithm in (UCT(discount=0.5, depth=2, simulations=50), Rollout(discount=0.5, depth=2)):
        assert planned(algorithm, sampled(CORRIDOR)).q.tolist() == [0, 1]


def twin(algorithm: UCT, world: Environment, seed: int) -> tuple[list[int], list[float]]:
    """UCT with dictionaries and loops, drawing the same numbers."""
    learner, root = begun(algorithm, world)
    key, base = jax.random.key(seed), learner.base.step(root.obs, root.first, ())[0]["policy"]
    step = jax.jit(lambda obs, action, key: learner.model.step(obs, action, key))
    drawn = jax.jit(lambda legal, key: base.masked(legal).sample(key))
    keys = jax.jit(lambda n, d: jax.random.split(jax.random.fold_in(jax.random.fold_in(key, n), d)))
    actions, nodes, returns = int(world.action_space.n), {(int(root.obs), 0): []}, []  # type: ignore[attr-defined]

    def chosen(passed: list[tuple[int, float]], legal: np.ndarray) -> int:
        low, high = (min(returns), max(returns)) if returns else (0.0, 0.0)
        best, score = -1, -math.inf
        for a in np.flatnonzero(legal):
            own = [g for action, g in passed if action == a]
            if not own:
                return int(a)
            scaled = (sum(own) / len(own) - low) / (high - low) if high > low else 0.0
            bound = scaled + algorithm.confidence * math.sqrt(math.log(len(passed)) / len(own))
            if bound > score + 1e-6:
                best, score = int(a), bound
        return best

    for n in range(algorithm.simulations):
        row, path, inside, leaf, rewards = root, [], True, None, []
        for d in range(algorithm.depth):
            legal = np.ones(actions, bool) if row.legal is None else np.asarray(row.legal)
            happening, choosing = keys(n, d)
            node = (int(row.obs), d)
            action = chosen(nodes[node], legal) if inside else int(drawn(row.legal, choosing))
            path += [(node, action)] if inside else []
            row = step(row.obs, jnp.int32(action), happening)
            rewards.append((float(row.reward), algorithm.discount * float(row.discount)))
            if row.discount == 0:
                break
            if inside and (int(row.obs), d + 1) not in nodes:
                inside, leaf = False, (int(row.obs), d + 1)
        total, after = 0.0, []
        for reward, discount in reversed(rewards):
            total = reward + discount * total
            after.append(total)
        for (node, action), g in zip(path, after[::-1], strict=False):
            nodes[node].append((action, g))
            returns.append(g)
        if leaf:
            nodes[leaf] = []
    at_root = nodes[int(root.obs), 0]
    own = [[g for action, g in at_root if action == a] for a in range(actions)]
    return [len(x) for x in own], [sum(x) / max(len(x), 1) for x in own]


@pytest.mark.parametrize(("name", "depth"), [("FrozenLake-v1", 12), ("tic_tac_toe", 9), ("example_3_5", 10)])
def test_the_plain_twin_searches_alike(name: str, depth: int) -> None:
    world = sampled(model(name))
    algorithm = UCT(simulations=60, depth=depth, discount=0.9)
    for seed in range(2):
        found = planned(algorithm, world, seed)
        visits, means = twin(algorithm, world, seed)
        assert found.visits.tolist() == visits
        np.testing.assert_allclose(found.q, means, atol=1e-5)


@pytest.mark.parametrize("base", [Uniform(), Tabulated(((0.7, 0.1, 0.1, 0.1),))], ids=["uniform", "tabulated"])
def test_rollouts_are_worth_what_the_base_policy_is(base: Any) -> None:
    """Q̂ is the base policy's exact q within four standard errors; of what lies beyond 60 steps .9⁶⁰ is left."""
    exact, simulations = model("garnet"), 400
    followed = bellman.uniform if base == Uniform() else np.resize(base.probabilities[0], exact.num_pairs)
    q = bellman.evaluate(exact, followed, 0.9).q.reshape(-1, exact.num_actions)
    algorithm = Rollout(discount=0.9, base=base, simulations=simulations, depth=60)
    learner, _ = begun(algorithm, sampled(exact))
    policies = jax.vmap(lambda seed: algorithm.policy(learner._replace(seed=seed)))(jnp.arange(12, dtype=jnp.uint32))
    found = jax.jit(jax.vmap(lambda p: jax.vmap(lambda s: p.step(s, jnp.array(False), ())[0]["q"])(jnp.arange(4))))(
        policies
    )
    error = found.std(0, ddof=1) / math.sqrt(len(found))
    # A single standard error of 12 samples is itself off by a fifth: the bound has the mean one.
    np.testing.assert_array_less(np.abs(found.mean(0) - q[:4]), 4 * error.mean() + 0.9**60 * np.abs(q).max())


@pytest.mark.slow
def test_a_learnt_model_is_as_good_when_it_is_known() -> None:
    """For UCT the page on planning shows it."""
    method = Rollout(
        model=Counted(), discount=0.8, simulations=30, depth=20, num_envs=4, rollout=25, exploration=Epsilon(0.5)
    )
    training = train(method, native("student"), 600, seed=range(3))
    training.run_to_end()
    best = bellman.solve(model("student"), 0.8)
    np.testing.assert_allclose(regret(training.policies, best).regrets, 0, atol=1e-6)


def test_a_counted_model_answers_with_what_it_saw() -> None:
    """Of four trials two led to state 1, one to state 2 and one to the end; they paid 8 in all."""
    world = sampled(mdp({0: {"a": [(1.0, 1, 0.0)], "b": [(1.0, 2, 0.0)]}, 1: {"a": [(1.0, 2, 0.0)]}}))
    counted = Counted().build(spec_of(world), 2, "it")
    counted = replace(
        counted,
        count=counted.count.plus_at((0, 0), jnp.float32(4)),
        reward=counted.reward.plus_at((0, 0), jnp.float32(8)),
        onward=counted.onward.plus_at((jnp.zeros(3, int), jnp.zeros(3, int), jnp.array([1, 1, 2])), jnp.ones(3)),
        legal=jnp.array([[True, True], [True, False], [True, True]]),
    )
    keys = jax.random.split(jax.random.key(0), 4000)
    rows = jax.vmap(lambda key: counted.step(jnp.int32(0), jnp.int32(0), key))(keys)
    assert (rows.reward == 2).all() and (rows.last == (rows.discount == 0)).all()
    for seen, chance in (((rows.obs == 1), 0.5), ((rows.obs == 2), 0.25), (rows.last, 0.25)):
        assert abs(float(seen.mean()) - chance) < 4 * math.sqrt(chance * (1 - chance) / 4000)
    np.testing.assert_array_equal(rows.legal[rows.obs == 1][0], [True, False])
    never = counted.step(jnp.int32(0), jnp.int32(1), keys[0])
    assert (int(never.obs), float(never.reward), float(never.discount)) == (0, 0, 1)


@pytest.mark.slow
def test_tic_tac_toe_is_never_lost() -> None:
    """Against a perfect opponent the best is a draw: 40 games of 20 seeds."""
    seen: Any = probe(
        UCT(discount=1.0, simulations=500, depth=5), native("tic_tac_toe_perfect"), 12, lived, seeds=range(20)
    )
    reward, last = seen["reward"].reshape(20, -1), seen["last"].reshape(20, -1)
    assert last.sum() >= 40 and (reward >= 0).all()


# That rollouts come to one improvement of the uniform policy in blackjack, and the tree to the best, is held by figure
# "uct" on the page on planning.


def test_what_is_recorded() -> None:
    algorithm = UCT(simulations=20, depth=9)
    learner, row = begun(algorithm, native("tic_tac_toe"))
    action, extras, _ = algorithm.act(learner, row, (), jax.random.key(0))
    np.testing.assert_allclose(extras["search_policy"].sum(), 1, rtol=1e-6)
    assert extras["search_policy"][action] == extras["search_policy"].max() and extras["q"].shape == (9,)


class Veiled(TimeLimit):
    """Does not tell its states."""

    def enter(self, obs: Any) -> Any:
        return Environment.enter(self, obs)


@pytest.mark.parametrize("algorithm", [UCT(), Rollout()])
def test_what_cannot_be_planned_in(algorithm: Any) -> None:
    with pytest.raises(SpaceError, match=r"Recall does not tell its state: plan in a learnt model, model=Counted\(\)"):
        train(algorithm, Recall(), 10)
    with pytest.raises(SpaceError, match="a hosted one cannot be asked"):
        train(algorithm, hosted(lambda: gymnasium.make("FrozenLake-v1")), 10)
    with pytest.raises(SpaceError, match="does not tell its state"):
        train(algorithm, Veiled(native("student"), 5), 10)


def test_settings_out_of_range() -> None:
    for make in (lambda: UCT(simulations=0), lambda: Rollout(depth=0)):
        with pytest.raises(ValueError, match="must be at least 1"):
            make()
    with pytest.raises(SpaceError, match="finitely many"):
        UCT(model=Counted()).init(
            jax.random.key(0), Spec(spaces.Box(0, 1, (2,)), spaces.Discrete(2), 1, 1, spec_of(Recall()).row)
        )
    assert isinstance(UCT().model, Exact)
