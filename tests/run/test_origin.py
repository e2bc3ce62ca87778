"""A run begins with what another has learnt, and needs it no more."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import retorno as rt
from retorno.algorithms import ALGORITHMS, DQN, PPO, TD, UCT, QLearning
from retorno.core.counter import Counter
from retorno.core.environment import Environment
from retorno.core.errors import RetornoError
from retorno.core.policy import Learner
from retorno.environments.hosted.export import to_gymnasium
from retorno.environments.registry import make, native
from retorno.networks import MLP
from retorno.ops.optimisers import SGD
from retorno.policies import Tabulated, Uniform
from retorno.run.folder import read_config
from retorno.run.loop import native_spec
from retorno.run.origin import Origin, learnt
from retorno.run.resume import resume
from retorno.run.train import train
from retorno.run.training import Training

DEEP = PPO(network=MLP((8,)), num_envs=2, rollout=8, epochs=1, minibatches=2)


def trained(folder: Path, algorithm: Any = None, world: Any = "student", **more: Any) -> Path:
    """A run that has reached its budget."""
    with train(algorithm or QLearning(), world, 40, folder=folder, **more) as training:
        training.run_to_end()
    return folder


def learner_of(training: Training) -> Learner:
    with training:
        return jax.tree.map(np.asarray, training.run.learner)


def same(one: Any, other: Any) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), one, other)))


@pytest.mark.parametrize(
    ("name", "fields", "network_only"),
    [
        ("ppo", {"network", "optimiser"}, {"network"}),
        ("dqn", {"network", "target", "average", "optimiser"}, {"network", "target", "average"}),
        ("q_learning", {"network"}, {"network"}),
        (
            "sac",
            {"actor", "critics", "target", "log_temperature"}
            | {f"{part}_optimiser" for part in ("actor", "critic", "temperature")},
            {"actor", "critics", "target"},
        ),
        ("double_q_learning", {"network", "twin"}, {"network", "twin"}),
        ("sarsa_lambda", {"network"}, {"network"}),
        ("actor_critic", {"network"}, {"network"}),
        ("td", {"network"}, {"network"}),
        ("lstd", {"network", "inverse", "rewards"}, {"network"}),
        ("dyna_q", {"network"}, {"network"}),
        ("certainty_equivalence", {"network", "model"}, {"network"}),
        ("differential_sarsa", {"network", "average"}, {"network"}),
        ("thompson_bernoulli", {"network", "visited"}, {"network"}),
        ("uct", {"seed"}, set()),
    ],
)
def test_what_is_learnt_is_told_from_what_is_lived_and_given(
    name: str, fields: set[str], network_only: set[str]
) -> None:
    world = make("student")
    assert isinstance(world, Environment)
    algorithm = ALGORITHMS[name]()
    for only, expected in ((False, fields), (True, network_only)):
        found = learnt(algorithm, native_spec(world, Counter.of(100), algorithm.num_envs), only)
        assert {field for field in found._fields if any(jax.tree.leaves(getattr(found, field)))} == expected


def test_it_goes_on_when_the_other_is_gone(tmp_path: Path) -> None:
    first = trained(tmp_path / "first")
    began = learner_of(rt.restore(first))
    folder = tmp_path / "second"
    with train(QLearning(), "student", 40, every=20, init_from=first, folder=folder) as training:
        assert training.step == 0 and float(training.run.learner.clock.progress) == 0
        assert same(training.run.learner.network, began.network)
    assert not same(began.network, learner_of(train(QLearning(), "student", 40)).network), "something was learnt"
    told = read_config(folder)["init_from"]
    assert (told["run"], told["step"], told["network_only"]) == (str(first), 40, False) and len(told["digest"]) == 64
    with train(QLearning(), "student", 40, every=20, init_from=Origin(first, 40)) as whole:
        whole.run_to_end()
    shutil.rmtree(first)
    with resume(folder) as training:
        training.run_to_end()
        assert training.digest == whole.digest


def test_stopped_before_it_has_begun_it_begins_when_it_is_resumed(tmp_path: Path) -> None:
    """Ctrl-C while programs are compiled: from the line on that says where it is recorded it is a run."""

    def interrupt(training: Training) -> None:
        raise KeyboardInterrupt

    first = trained(tmp_path / "first")
    for folder, origin in ((tmp_path / "plain", None), (tmp_path / "second", first)):
        with pytest.raises(KeyboardInterrupt):
            train(QLearning(), "student", 40, init_from=origin, folder=folder, ready=interrupt)
        with train(QLearning(), "student", 40, init_from=origin) as whole, resume(folder) as training:
            assert training.step == 0
            training.run_to_end()
            whole.run_to_end()
            assert training.digest == whole.digest
    with pytest.raises(KeyboardInterrupt):
        train(QLearning(), "student", 40, init_from=first, folder=tmp_path / "third", ready=interrupt)
    shutil.rmtree(first)
    trained(first, seed=3)
    with pytest.raises(RetornoError, match="lies another checkpoint now"):
        resume(tmp_path / "third")


def test_what_cannot_be_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RetornoError):
        train(PPO(), "student", 40, init_from=tmp_path / "nowhere", folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_each_seed_begins_with_its_own_or_with_the_only_one(tmp_path: Path) -> None:
    two, one = trained(tmp_path / "two", seed=(3, 4)), trained(tmp_path / "one", seed=9)
    both, alone = (learner_of(rt.restore(folder)).network for folder in (two, one))
    part = lambda tree, k: jax.tree.map(lambda x: x[k], tree)  # noqa: E731
    assert same(learner_of(train(QLearning(), "student", 40, seed=4, init_from=two)).network, part(both, 1))
    found = learner_of(train(QLearning(), "student", 40, seed=(4, 3), init_from=two)).network
    assert same(part(found, 0), part(both, 1)) and same(part(found, 1), part(both, 0))
    found = learner_of(train(QLearning(), "student", 40, seed=(0, 1), init_from=one)).network
    assert same(part(found, 0), alone) and same(part(found, 1), alone)
    with pytest.raises(RetornoError, match="learnt with the seeds 3, 4, and this run begins with 3, 5"):
        train(QLearning(), "student", 40, seed=(3, 5), init_from=two)
    # Where each seed has a folder of its own.
    for seed in (3, 4):
        trained(tmp_path / "apart" / f"seed-{seed}", seed=seed)
    apart = learner_of(train(QLearning(), "student", 40, seed=4, init_from=tmp_path / "apart")).network
    assert same(apart, learner_of(rt.restore(tmp_path / "apart" / "seed-4")).network)


@pytest.mark.parametrize("hosted", [False, True])
def test_networks_go_over_with_or_without_their_optimiser(tmp_path: Path, hosted: bool) -> None:
    world: Any = "student"
    first = trained(tmp_path / "first", DEEP, world)
    before = learner_of(rt.restore(first))
    there = rt.gymnasium(lambda: to_gymnasium(native("student"))) if hosted else world
    whole = learner_of(train(DEEP, there, 40, init_from=first))
    assert same((whole.network, whole.optimiser), (before.network, before.optimiser))
    alone = learner_of(train(DEEP, there, 40, init_from=Origin(first, network_only=True)))
    fresh = learner_of(train(DEEP, there, 40))
    assert same((alone.network, alone.optimiser), (before.network, fresh.optimiser))
    assert not same(before.optimiser, fresh.optimiser) and not same(before.network, fresh.network)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"algorithm": PPO(network=MLP((9,)))}, r"input/linear/weight' is float32\[5, 8\], expected float32\[5, 9\]"),
        ({"algorithm": PPO(network=MLP((8, 8)))}, "has no leaf 'state/learner/network/.*hidden"),
        ({"algorithm": dataclasses.replace(DEEP, network=MLP((8,), shared=True))}, "has no leaf|no place here"),
        ({"algorithm": dataclasses.replace(DEEP, normalise_observations=True)}, "sees other numbers"),
        ({"algorithm": DQN()}, "is a run of PPO, this one is of DQN"),
        ({"algorithm": UCT()}, "UCT has nothing that is learnt"),
        ({"world": "cliff"}, r"observations that this was learnt with are Discrete\(5\)"),
        ({"init_step": 3}, "no checkpoint of step 3: it has those of steps"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path_factory: Any, given: dict[str, Any], told: str) -> None:
    first = tmp_path_factory.getbasetemp() / "deep"
    if not first.exists():
        trained(first, DEEP)
    origin = Origin(first, given.get("init_step"))
    with pytest.raises(RetornoError, match=told):
        train(given.get("algorithm", DEEP), given.get("world", "student"), 40, init_from=origin)


def test_where_the_network_alone_fits_it_is_said(tmp_path: Path) -> None:
    first = trained(tmp_path / "first", DEEP)
    with pytest.raises(RetornoError, match="its network alone fits"):
        train(dataclasses.replace(DEEP, optimiser=SGD(0.1, momentum=0.9)), "student", 40, init_from=first)


def test_a_head_that_says_something_else_begins_anew_on_the_trunk_that_was_learnt(tmp_path: Path) -> None:
    """Quantiles for values; but no head stands on another trunk than its own."""
    small: Any = {"network": MLP((8,)), "capacity": 64, "learning_starts": 8, "batch_size": 4}
    first = trained(tmp_path / "first", DQN(**small))
    before = learner_of(rt.restore(first)).network
    with pytest.raises(RetornoError, match="network alone fits"):
        train(rt.algorithms.QRDQN(**small), "student", 40, init_from=first)
    begun = train(rt.algorithms.QRDQN(**small), "student", 40, init_from=Origin(first, network_only=True))
    assert same(learner_of(begun).network.trunks, before.trunks)
    assert begun.begun_from is not None and "network/last/q" in begun.begun_from["anew"]
    with pytest.raises(RetornoError, match=r"float32\[5, 8\], expected float32\[5, 9\]"):
        other = DQN(**{**small, "network": MLP((9,))})
        train(other, "student", 40, init_from=Origin(first, network_only=True))


def test_what_was_learnt_from_recordings_goes_on_in_a_world(tmp_path: Path) -> None:
    """IQL's actor and critics as SAC's; what it values rows at SAC has no place for."""
    observed, acted = native("student").observation_space, native("student").action_space
    recorded = rt.record(Uniform().build(observed, acted), "student", 4)
    first = trained(tmp_path / "first", rt.algorithms.IQL(network=MLP((8,)), num_envs=1), recorded)
    before = learner_of(rt.restore(first, world=recorded))
    method = rt.algorithms.SAC(network=MLP((8,)), capacity=64, learning_starts=8, batch_size=4)
    with pytest.raises(RetornoError, match="network alone fits: --network-only"):
        train(method, "student", 40, init_from=first)
    begun = learner_of(train(method, "student", 40, init_from=Origin(first, network_only=True)))
    assert same((begun.actor, begun.critics, begun.target), (before.actor, before.critics, before.target))


def test_the_policy_that_is_judged_is_the_new_runs_own(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(5), 5)
    own, other = TD(), TD(target=Tabulated(tuple(map(tuple, rows.tolist()))))
    first = trained(tmp_path / "first", own)
    found = learner_of(train(other, "student", 40, init_from=first))
    assert same(found.followed, learner_of(train(other, "student", 40)).followed)
    assert same(found.network, learner_of(rt.restore(first)).network)


def test_a_clone_goes_on_with_a_critic_of_its_own(tmp_path: Path) -> None:
    recorded = rt.record(
        Uniform().build(native("student").observation_space, native("student").action_space), "student", 4
    )
    cloned = trained(tmp_path / "clone", rt.algorithms.BehaviourCloning(network=MLP((8,)), num_envs=1), recorded)
    clone, fresh = (
        learner_of(rt.restore(cloned, world=recorded)).network,
        learner_of(train(DEEP, "student", 40)).network,
    )
    with pytest.raises(RetornoError, match="network alone fits: --network-only"):
        train(DEEP, "student", 40, init_from=cloned)
    begun = train(DEEP, "student", 40, init_from=Origin(cloned, network_only=True))
    network = learner_of(begun).network
    assert same(network.select("policy"), clone) and same(network.select("value"), fresh.select("value"))
    assert begun.begun_from is not None and begun.begun_from["anew"] == ["network/last/value", "network/trunks/value"]
    # And back: a critic is not asked for.
    deep = trained(tmp_path / "deep", DEEP)
    method = rt.algorithms.BehaviourCloning(network=MLP((8,)), num_envs=1)
    back = learner_of(train(method, recorded, 40, init_from=Origin(deep, network_only=True))).network
    assert same(back, learner_of(rt.restore(deep)).network.select("policy"))
