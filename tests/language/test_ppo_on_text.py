"""Details that decide whether PPO works on text, each seen to matter.

That a token which ends answers is none in a prompt is tested with `Prompts`, scores at an answer's end with the scoring
relabels, the KL of each token and its weight with `ReferenceKL`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import retorno as rt
from retorno.algorithms.actor_critic.ppo import _Rows
from retorno.algorithms.imitation.behaviour_cloning import cloning_loss
from retorno.algorithms.imitation.mixing import Demonstrations, Mix
from retorno.core.hyperparameters import as_arrays
from retorno.core.policy import initial_carries, unroll_batch
from retorno.core.spaces import SpaceError
from retorno.environments.text.prompts import Prompts
from retorno.networks import GRU, MLP, Apart, Pretrained, Stack, Tempered, ValueHead, policy_head, save_weights
from retorno.networks.layers import Rows
from retorno.ops.distributions import Categorical, LinearCategorical
from retorno.ops.optimisers import SGD
from retorno.run.collect import collect
from retorno.run.loop import begin_native

WORLD = Prompts([[3, 1], [4]], vocabulary=8, ends=[0], answer=3).together()
HEADS = {"policy": policy_head(WORLD.action_space), "value": ValueHead()}


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network that scores, with weights that nobody draws by chance."""
    network = GRU(4, (4,)).build(jax.random.key(9), WORLD.observation_space, {"value": ValueHead()})
    return save_weights(tmp_path_factory.mktemp("reward") / "weights", jax.tree.map(lambda w: w + 0.5, network))


def test_what_decides(reward_model: Any) -> None:
    """One update of an actor at a temperature beside a critic that begins as the reward model, its weights averaged."""
    critic = Pretrained(reward_model, (), GRU(4, (4,)))
    network = Apart(Tempered(0.5, Stack(2, network=MLP((8,)))), critic)
    algorithm = rt.PPO(
        network, num_envs=4, rollout=WORLD.rows, epochs=2, minibatches=2, average=0.75, optimiser=SGD(0.1)
    )
    run: Any = begin_native(algorithm, WORLD, None, jnp.uint32(0), jnp.int32(1000), 4)
    learner = run.learner
    assert not jax.tree.leaves(learner.memory)  # All texts are over where a rollout is.

    @jax.jit
    def update(learner: Any, lived: Any) -> Any:
        return algorithm.update(learner, lived, lambda lived: lived.steps.reward[1:] + 1, jax.random.key(1))

    _, lived = jax.jit(lambda run: collect(algorithm, run.learner, WORLD, run.stage, run.seed, jax.random.key(0)))(run)
    after, metrics = update(learner, lived)
    actor, judge = learner.network.parts
    # The critic scores as the reward model does.
    rows = jax.tree.map(lambda x: x[:-1], lived.steps)
    given = Pretrained(reward_model, network=GRU(4, (4,))).build(
        jax.random.key(3), WORLD.observation_space, {"value": ValueHead()}
    )
    scores = [unroll_batch(each, rows.obs, rows.first, initial_carries(each, 4))["value"] for each in (judge, given)]
    np.testing.assert_allclose(*scores, atol=1e-6)
    # What was recorded is the probability at the temperature, and what is learnt from it begins at a ratio of 1.
    cold = unroll_batch(actor, rows.obs, rows.first, initial_carries(actor, 4))["policy"].logits
    warm = unroll_batch(actor.policy, rows.obs, rows.first, initial_carries(actor, 4))["policy"].logits
    np.testing.assert_allclose(cold, 2 * warm, rtol=1e-5, atol=1e-6)
    chosen = np.take_along_axis(np.asarray(jax.nn.log_softmax(cold)), np.asarray(lived.action)[..., None], -1)[..., 0]
    free = np.asarray(lived.choices)
    np.testing.assert_allclose(lived.extras["log_prob"][free], chosen[free], atol=1e-5)
    assert float(metrics["first_ratio"]) == pytest.approx(1, abs=1e-5)
    # The averaged weights stand between the old ones and the new, and are those of the policy that is kept.
    for old, new, mean in zip(*map(jax.tree.leaves, (learner.network, after.network, after.average)), strict=True):
        np.testing.assert_allclose(mean, 0.75 * old + 0.25 * new, atol=1e-6)
    kept, newest = (jax.tree.leaves(each) for each in (algorithm.policy(after), after.network))
    assert any((a != b).any() for a, b in zip(kept, newest, strict=True))

    # Advantages are whitened over real choices: what is paid within a prompt moves the critic, and the actor not a bit.
    prompt = (lived.steps.legal.action[:-1] >= 0) & lived.transitions
    assert prompt.any() and not prompt.all()
    steps = lived.steps._replace(reward=lived.steps.reward.at[1:].add(jnp.where(prompt, 5.0, 0.0)))
    paid, _ = update(learner, lived._replace(steps=steps))
    for part, moved in zip(zip(paid.network.parts, after.network.parts, strict=True), (False, True), strict=True):
        pairs = zip(*map(jax.tree.leaves, part), strict=True)
        assert any((one != other).any() for one, other in pairs) == moved

    # A log-probability that was recorded without the temperature is seen in the first ratio.
    wrong = lived._replace(extras={"log_prob": lived.extras["log_prob"] + 0.1})
    _, seen = update(learner, wrong)
    assert abs(float(seen["first_ratio"]) - 1) > 0.05


def test_a_value_that_has_moved_far_is_moved_no_further(reward_model: Any) -> None:
    """On text as anywhere, and only where a text is: rows that wait have no value to learn."""
    network: Any = Pretrained(reward_model, (), GRU(4, (4,))).build(jax.random.key(0), WORLD.observation_space, HEADS)
    obs, waits = jnp.array([[3, 4], [1, 2], [2, 0]]), jnp.array([[False, True], [False, False], [False, False]])
    first = jnp.array([[True, False], [False, True], [False, False]])
    value = unroll_batch(network, obs, first, initial_carries(network, 2))["value"]

    @jax.jit
    def slope(algorithm: Any, moved: Any) -> Any:
        rows = _Rows(
            obs=obs, first=first, legal=None, action=obs, log_prob=jnp.zeros((3, 2)), value=value - moved,
            advantage=10 + moved, transitions=~waits, choices=~waits,
        )  # fmt: skip
        carry = initial_carries(network, 2)

        def loss(network: Any) -> Any:
            return algorithm._loss(network, rows, carry, rows, jnp.float32(0.2), jnp.float32(0))[1]["value_loss"]

        return jnp.stack([jnp.abs(x).max() for x in jax.tree.leaves(jax.grad(loss)(network))]).max()

    clipped, free = (as_arrays(rt.PPO(value_clip=clip)) for clip in (0.2, 100.0))
    far, near, beside = jnp.full((3, 2), 0.5), jnp.full((3, 2), 0.1), jnp.where(waits, 0.1, 0.5)
    assert float(slope(clipped, far)) == 0 < float(slope(free, far))
    assert float(slope(clipped, near)) == pytest.approx(float(slope(free, near))) != 0
    assert float(slope(clipped, beside)) == 0, "what waits would move it"


MODEL = str(Path(__file__).with_name("models") / "qwen3")
PROMPTED = Prompts([[3, 1], [4]], vocabulary=40, ends=[0], answer=3).together()


def test_demonstrations_are_mixed_in(tmp_path: Path) -> None:
    """PPO-ptx: each gradient step goes towards what was shown as well, by the coefficient, and resumes to the bit."""
    shown = [{"prompt": [3, 1], "answer": [7, 8, 0]}, {"prompt": [4], "answer": [9, 0]}, {"prompt": [4], "answer": [2]}]
    (tmp_path / "shown.jsonl").write_text("".join(json.dumps(each) + "\n" for each in shown))
    mix = Mix(Demonstrations(str(tmp_path / "shown.jsonl"), MODEL), coefficient=0.5, columns=1)
    network, optimiser = Stack(2, network=MLP((8,))), SGD(0.1)
    mixed = rt.PPO(network, num_envs=4, rollout=PROMPTED.rows, epochs=1, minibatches=1, optimiser=optimiser, mix=mix)
    killed = tmp_path / "killed"
    with rt.train(mixed, PROMPTED, 60, folder=tmp_path / "run", every=20) as run:
        for report in run:
            if report.boundary and not killed.exists():
                shutil.copytree(tmp_path / "run", killed)
            assert report.metrics["demonstrations_loss"] > 0
    (killed / "lock").unlink(missing_ok=True)
    with rt.resume(killed, world=PROMPTED) as again:
        assert again.step < again.steps
        again.run_to_end()
    assert again.digest == run.digest

    # One step from the same learner: the two differ by what was shown, times rate and coefficient.
    one: Any = begin_native(mixed, PROMPTED, None, jnp.uint32(0), jnp.int32(1000), 4)
    _, lived = jax.jit(lambda run: collect(mixed, run.learner, PROMPTED, run.stage, run.seed, jax.random.key(0)))(one)
    reward = lambda lived: lived.steps.reward[1:] + 1  # noqa: E731

    @jax.jit
    def update(learner: Any, coefficient: Any) -> Any:
        algorithm = replace(mixed, mix=replace(mix, coefficient=coefficient))
        return algorithm.update(learner, lived, reward, jax.random.key(1))[0].network

    with_them, without = update(one.learner, jnp.float32(0.5)), update(one.learner, jnp.float32(0.0))
    _, drawn = one.learner.mixed.drawn(1)
    slope = jax.jit(jax.grad(lambda network: cloning_loss(network.select("policy"), drawn)[0]))(one.learner.network)
    for a, b, g in zip(*map(jax.tree.leaves, (with_them, without, slope)), strict=True):
        np.testing.assert_allclose(a, b - 0.1 * 0.5 * g, atol=1e-6)
    assert any(g.any() for g in jax.tree.leaves(slope))

    with pytest.raises(ValueError, match=r"fills only 1: choose mix.columns=1 or fewer"):
        begin_native(replace(mixed, mix=replace(mix, columns=9)), PROMPTED, None, jnp.uint32(0), jnp.int32(1000), 4)
    with pytest.raises(SpaceError, match="demonstrations must be of what is learnt"):
        begin_native(mixed, WORLD, None, jnp.uint32(0), jnp.int32(1000), 4)


def test_parts_are_as_they_would_be_alone() -> None:
    """Acting carries the actor's memory alone, and no gradient goes from one to the other."""
    network = Apart(GRU(4, (4,)), MLP((4,))).build(jax.random.key(0), WORLD.observation_space, HEADS)
    assert network.context is None
    assert len(jax.tree.leaves(network.select("value"))) < len(jax.tree.leaves(network))
    assert network.select("value").context == 0 and network.select("value").initial_carry() == ()
    obs, first = jnp.array([3, 1, 2]), jnp.array([True, False, False])
    carry, values = network.initial_carry(), []
    for token, begins in zip(obs, first, strict=True):
        heads, carry = network.step(token, begins, carry)
        values.append(heads["value"])
    np.testing.assert_allclose(network.unroll(obs, first, network.initial_carry())["value"], values, atol=1e-6)
    np.testing.assert_allclose(
        jax.tree.leaves(network.read(obs, first, network.initial_carry()))[0], jax.tree.leaves(carry)[0], atol=1e-6
    )
    slope = jax.grad(lambda n: n.unroll(obs, first, n.initial_carry())["value"].sum())(network)
    assert not any(x.any() for x in jax.tree.leaves(slope.parts[0])) and any(
        x.any() for x in jax.tree.leaves(slope.parts[1])
    )


def test_a_temperature_divides_logits_of_few_words_and_of_many() -> None:
    logits = jnp.arange(1100.0) / 500
    layers = Rows(logits[:, None]), Rows(2 * logits[:, None], -logits)
    many = [LinearCategorical(jnp.ones(1), layer).tempered(2.0).whole() for layer in layers]
    for tempered in (Categorical(logits).tempered(2.0), *many):
        assert float(tempered.log_prob(jnp.int32(0))) == pytest.approx(float(jax.nn.log_softmax(logits / 2)[0]))
    with pytest.raises(ValueError, match="temperature must be positive"):
        Tempered(0.0).build(jax.random.key(0), WORLD.observation_space, HEADS)
    with pytest.raises(SpaceError, match="divides the logits of finitely many"):
        Tempered(2.0).build(
            jax.random.key(0), WORLD.observation_space, {"policy": policy_head(spaces.Box(-1, 1, (2,)))}
        )
