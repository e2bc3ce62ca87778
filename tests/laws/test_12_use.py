"""Law 12: a policy that was loaded takes the actions that `evaluate` takes, for every algorithm, network and space."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from cases import main
from gymnasium import spaces
from small import ALGORITHMS, NETWORK, PLANNING, busy_world, small

from retorno.algorithms import ALGORITHMS as REGISTERED
from retorno.core.environment import Environment
from retorno.core.policy import Policy
from retorno.core.spaces import Spec, action_units, policy_space
from retorno.core.time_step import TimeStep, restart
from retorno.environments.hosted.gymnasium import gymnasium
from retorno.environments.hosted.sync_environments import as_taken
from retorno.environments.text.recall import Recall
from retorno.models.tabular import Exact
from retorno.networks import MLP, NETWORKS
from retorno.ops.distributions import Categorical
from retorno.run import policy_folder
from retorno.run.actor import Actor, load
from retorno.run.episodes import decide_all, empty_memories
from retorno.run.evaluate import evaluate
from retorno.run.export import onnx_model
from retorno.run.onnx_program import OnnxError
from retorno.run.policy_folder import SavedPolicy
from retorno.run.train import train
from retorno.search import SearchPolicy
from retorno.search.trees import evaluator_of

ENVS, ROWS = 4, 10
SEARCHING = ("rollout", "uct", "alpha_zero", "mu_zero")
"""They think in a model before they act."""
SESSION = onnxruntime.SessionOptions()
SESSION.intra_op_num_threads = 1


class Anything(gym.Env):
    """Observations drawn from a space; every third action is illegal where it is masked."""

    def __init__(self, observation_space: Any, action_space: Any, masked: bool = False) -> None:
        self.observation_space, self.action_space, self.masked = observation_space, action_space, masked

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self._seen(), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        ended = bool(self.np_random.random() < 0.2)
        return self._seen(), float(self.np_random.normal()), ended, False, self._info()

    def _seen(self) -> Any:
        return self.observation_space.sample()

    def _info(self) -> dict[str, Any]:
        if not self.masked:
            return {}
        mask = self.np_random.random(self.action_space.n) < 0.6  # type: ignore
        mask[self.np_random.integers(len(mask))] = True
        return {"action_mask": mask.astype(np.int8)}


class Setting(NamedTuple):
    """Where an algorithm is to act."""

    observation_space: Any
    action_space: Any
    masked: bool = False
    world: Environment | None = None

    @property
    def row(self) -> TimeStep:
        """An example, of zeros."""
        legal = jnp.ones(self.action_space.n, bool) if self.masked else None
        return jax.tree.map(jnp.zeros_like, restart(self.seen(), legal))

    def seen(self) -> Any:
        """Some observation, as rows hold it."""
        return jax.tree.map(lambda x: np.asarray(jnp.asarray(x)), self.observation_space.sample())


def learnt(algorithm: Any, setting: Setting, compiled: bool = False) -> Policy:
    """What an algorithm of some numbers makes; `compiled` where these have to fit together."""
    spec = Spec(*setting[:2], ENVS, 100, setting.row, setting.world)
    init, rng = partial(algorithm.init, spec=spec), np.random.default_rng(0)

    def some(path: Any, x: Any) -> Any:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return jnp.zeros(x.shape, x.dtype)
        numbers = rng.uniform(-1, 2, x.shape)
        positive = "var" in jax.tree_util.keystr(path)  # Its root would be NaN, of which any action is the best.
        return jnp.asarray(np.abs(numbers) if positive else numbers, x.dtype)

    if compiled:
        return algorithm.policy(jax.jit(init)(jax.random.key(0)))
    return jax.tree_util.tree_map_with_path(
        some, jax.eval_shape(lambda key: algorithm.policy(init(key)), jax.random.key(0))
    )


def recorded(setting: Setting) -> list[TimeStep]:
    """Rows [B] in which episodes begin now and then, and some actions are illegal."""
    rng, rows = np.random.default_rng(1), []
    setting.observation_space.seed(1)
    for t in range(ROWS):
        obs = jax.tree.map(lambda *x: np.stack(x), *(setting.seen() for _ in range(ENVS)))
        first = rng.random(ENVS) < 0.3 if t else np.ones(ENVS, bool)
        legal = None
        if setting.masked:
            legal = rng.random((ENVS, setting.action_space.n)) < 0.6
            legal[np.arange(ENVS), rng.integers(setting.action_space.n, size=ENVS)] = True
        zeros = np.zeros(ENVS, np.float32)
        rows.append(TimeStep(obs, zeros, zeros + 1, first, np.zeros(ENVS, bool), legal))  # type: ignore[arg-type]
    return rows


decide = jax.jit(decide_all, static_argnames="greedy")
"""Policies of one kind are one program, whoever learnt them."""


def check_use(
    policy: Policy,
    setting: Setting,
    folder: Path,
    mistaken: Callable[[Actor], Actor] = lambda actor: actor,
    act: Callable[..., Any] = Actor.act,
    exported: bool = True,
) -> None:
    """On recorded rows, one at a time and as a batch: the actions are those of evaluation, in the world's units."""
    policy_folder.save(folder, SavedPolicy((policy,), (0,), *setting[:3], 7, "", {}))
    actor, rows = mistaken(load(folder)), recorded(setting)
    units = action_units(setting.action_space)
    carry, expected = empty_memories(policy, ENVS), []
    for t, row in enumerate(rows):
        action, carry = decide(policy, row, carry, units, jax.random.key(0), np.int32(t), greedy=True)
        expected.append(as_taken(setting.action_space, action))
    for row, wanted in zip(rows, expected, strict=True):
        assert_alike(act(actor, row.obs, legal=row.legal, first=row.first), wanted)
    actor.reset()
    for row, wanted in zip(rows, expected, strict=True):
        one = jax.tree.map(lambda x: x[0], row)
        seen = jax.tree.map(np.array, one.obs)
        given = act(actor, seen, legal=one.legal, first=one.first)
        for array in jax.tree.leaves(seen):
            array[...] = 0  # An environment may write the next observation into the same array.
        assert setting.action_space.contains(given)
        assert_alike(given, jax.tree.map(lambda x: x[0], wanted))
    if exported:
        ones = [jax.tree.map(lambda x: x[0], row) for row in rows]
        check_export_of_rows(actor, list(zip(rows, expected, strict=True)))
        check_export(actor, list(zip(ones, [jax.tree.map(lambda x: x[0], wanted) for wanted in expected], strict=True)))


def assert_alike(given: Any, wanted: Any) -> None:
    """The same action, but for rounding."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-4, 1e-4), given, wanted)


def check_export_of_rows(actor: Actor, rows: list[tuple[TimeStep, Any]]) -> None:
    """The graph of any number of rows takes the actions of B environments, row after row."""
    session = onnxruntime.InferenceSession(onnx_model(actor, batched=True).SerializeToString(), SESSION)
    taken = [each.name for each in session.get_inputs()]
    outputs = [each.name for each in session.get_outputs()]
    arguments = dict(zip(actor.program().inputs, jax.tree.leaves(actor.program().arguments), strict=True))
    memory = {x: np.repeat(np.asarray(arguments[x])[None], ENVS, 0) for x in taken if x.startswith("memory.")}
    for row, wanted in rows:
        legal = [] if row.legal is None else [row.legal]
        values = [*actor.arrays_of(row.obs), *legal, *([row.first] if memory else [])]
        given = dict(zip([name for name in taken if name not in memory], map(np.asarray, values), strict=True))
        memory = check_outputs([*session.run(outputs, given | memory)], wanted, memory)


def check_outputs(given: list[Any], wanted: Any, memory: dict[str, Any]) -> dict[str, Any]:
    """The graph's action is the one that is wanted; what it remembers then."""
    action = jax.tree.leaves(wanted)
    assert_alike(given[: len(action)], action)
    return dict(zip(memory, given[len(action) :], strict=True))


def check_export(actor: Actor, rows: list[tuple[TimeStep, Any]]) -> None:
    """The exported graph takes the same actions, in onnxruntime: its inputs are what an environment gives."""
    model = onnx_model(actor)
    session = onnxruntime.InferenceSession(model.SerializeToString(), SESSION)
    taken = {each.name: each for each in session.get_inputs()}
    kinds = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(bool)": bool}
    memory = {x: np.zeros(each.shape, kinds[each.type]) for x, each in taken.items() if x.startswith("memory.")}
    outputs = [each.name for each in session.get_outputs()]
    actions = actor.program().outputs[: len(outputs) - len(memory)]
    assert outputs == [*actions, *(f"next_{name}" for name in memory)]
    for row, wanted in rows:
        legal = [] if row.legal is None else [row.legal]
        values = [*actor.arrays_of(row.obs), *legal, *([row.first] if memory else [])]
        given = dict(zip([name for name in taken if name not in memory], map(np.asarray, values), strict=True))
        memory = check_outputs([*session.run(outputs, given | memory)], wanted, memory)


def on(world: Environment) -> Setting:
    return Setting(world.observation_space, world.action_space, False, world)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_is_used_as_it_is_evaluated(name: str, tmp_path: Path) -> None:
    setting = on(main(name).place() if main(name).world == "box" else busy_world())
    # In a model of nothing all actions are alike, and rounding would choose among them.
    policy = learnt(small(name, model=Exact()), setting, compiled=name in (*PLANNING, *SEARCHING))
    check_use(policy, setting, tmp_path, exported=name not in SEARCHING)


@pytest.mark.parametrize("name", ["iqn", "rainbow"])
def test_what_learns_with_noise_is_used_without(name: str, tmp_path: Path) -> None:
    """Presets of DQN with layers of their own, which draw fractions or noise while they learn."""
    setting = on(busy_world())
    method = REGISTERED[name](network=MLP((8,)), num_envs=4, capacity=64, learning_starts=8, batch_size=4)
    check_use(learnt(method, setting), setting, tmp_path)


@pytest.mark.parametrize("name", ["rollout", "uct"])
def test_a_search_without_a_network_is_no_graph(name: str) -> None:
    setting = on(busy_world())
    actor = Actor(learnt(small(name), setting, compiled=True), *setting[:3])
    with pytest.raises(OnnxError, match="a search in a model has none"):
        onnx_model(actor)


@pytest.mark.parametrize("name", ["alpha_zero", "mu_zero"])
def test_the_network_of_a_search_is_a_graph(name: str) -> None:
    """Its logits and its value, one row at a time and as a batch; so what it would do without the search."""
    setting = on(busy_world())
    policy = learnt(small(name), setting, compiled=True)
    assert isinstance(policy, SearchPolicy)
    actor = Actor(policy, *setting[:3])
    one, rows = (
        onnxruntime.InferenceSession(onnx_model(actor, batched).SerializeToString(), SESSION)
        for batched in (False, True)
    )
    names = [each.name for each in rows.get_inputs()]
    for row in recorded(setting):
        arrays = actor.arrays_of(row.obs)
        logits, value = rows.run(["logits", "value"], dict(zip(names, arrays, strict=True)))
        wanted = jax.vmap(evaluator_of(policy.network))(row.obs)
        assert_alike((logits, value), wanted)
        first = dict(zip(names, (np.asarray(array[0]) for array in arrays), strict=True))
        assert_alike(one.run(["logits", "value"], first), [x[0] for x in wanted])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_used_as_it_is_evaluated(name: str, tmp_path: Path) -> None:
    setting = on(Recall(delay=3))
    check_use(learnt(small("ppo", network=NETWORK[name]), setting), setting, tmp_path)


BOX = spaces.Box(-1, 1, (3,))
OBSERVATIONS = {
    "box": BOX,
    "image": spaces.Box(0, 255, (2, 2, 1), np.uint8),
    "unbounded": spaces.Box(np.array([-np.inf, -1], np.float64), np.array([1, np.inf], np.float64), dtype=np.float64),
    "discrete": spaces.Discrete(4, start=3),
    "multi_discrete": spaces.MultiDiscrete([2, 3], start=[1, 5]),
    "multi_binary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"place": BOX, "mark": spaces.Discrete(3), "both": spaces.Tuple((BOX, spaces.MultiBinary(2)))}),
}
ACTIONS = {
    "discrete": spaces.Discrete(3, start=-1),
    "multi_discrete": spaces.MultiDiscrete([2, 3], start=[4, -2]),
    "box": spaces.Box(np.array([-2, 0.1], np.float32), np.array([0.3, 0.4], np.float32)),
    "dict": spaces.Dict({"place": BOX, "mark": spaces.Discrete(3, start=2), "bits": spaces.MultiBinary(2)}),
}


def seen_and_done(observations: str, actions: str, masked: bool = False) -> Setting:
    return Setting(OBSERVATIONS[observations], ACTIONS[actions], masked)


def normalising(setting: Setting, **settings: Any) -> Policy:
    return learnt(small("ppo", normalise_observations=True, **settings), setting)


@pytest.mark.parametrize(
    ("observations", "actions"),
    [*((name, "discrete") for name in OBSERVATIONS), *(("box", name) for name in ACTIONS if name != "discrete")],
)
def test_every_space_is_used_as_it_is_evaluated(observations: str, actions: str, tmp_path: Path) -> None:
    setting = seen_and_done(observations, actions)
    check_use(normalising(setting), setting, tmp_path)


def test_frames_are_normalised_one_by_one(tmp_path: Path) -> None:
    where = seen_and_done("box", "discrete")
    for name in ("ppo", "dqn"):
        algorithm = small(name, normalise_observations=True, network=NETWORK["stack"])
        check_use(learnt(algorithm, where), where, tmp_path / name)


def test_masks_are_kept_to(tmp_path: Path) -> None:
    setting = seen_and_done("box", "discrete", masked=True)
    check_use(normalising(setting), setting, tmp_path)
    with pytest.raises(ValueError, match="not every action is legal"):
        load(tmp_path).act(np.zeros(3))


@pytest.mark.parametrize(
    ("observations", "obs", "told"),
    [
        ("dict", {"place": np.zeros(3), "mark": 1}, r"without \['both'\]\[0\], got \{'place'"),
        ("dict", np.zeros(3), r"without \['both'\]\[0\], got array"),
        ("box", [0, np.nan, 1], "that holds NaN: "),
        ("box", np.zeros(4), r"of shape \(4,\), expected \(3,\)"),
        ("box", "left", "that is no number: 'left'"),
        ("box", None, r"of shape \(\), expected \(3,\), or B of them"),
        ("image", np.full((2, 2, 1), 300), "expected whole numbers of uint8"),
        ("image", np.full((2, 2, 1), -1), "expected whole numbers of uint8"),
        ("discrete", 4.5, "observation 4.5, expected whole numbers of int32"),
        ("discrete", 2, "observation 2, expected 3 to 6"),
    ],
)
def test_what_is_no_observation_is_refused(observations: str, obs: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        loaded(seen_and_done(observations, "discrete"), tmp_path).act(obs)


@pytest.mark.parametrize("network", ["mlp", "gru"])
def test_who_remembers_nothing_is_asked_of_any_number(network: str, tmp_path: Path) -> None:
    actor = loaded(seen_and_done("box", "discrete"), tmp_path, network=NETWORK[network])
    assert actor.act(np.zeros((3, 3))).shape == (3,)
    if network == "mlp":
        assert actor.act(np.zeros((2, 3))).shape == (2,) and actor.act(np.zeros(3)).shape == ()
    else:
        with pytest.raises(ValueError, match=r"one observations after \(3,\): call reset"):
            actor.act(np.zeros(3))


def loaded(setting: Setting, folder: Path, **settings: Any) -> Actor:
    policy_folder.save(folder, SavedPolicy((normalising(setting, **settings),), (0,), *setting[:3], 7, "", {}))
    return load(folder)


def test_a_run_is_evaluated_as_what_was_loaded_from_it(tmp_path: Path) -> None:
    """The whole way: train, write, load, live episodes; and by hand, in an environment of one's own."""
    make = lambda: Anything(OBSERVATIONS["box"], ACTIONS["discrete"], masked=True)  # noqa: E731
    world = gymnasium(make, num_envs=1)
    with train(
        small("ppo", network=NETWORK["gru"], num_envs=1, minibatches=1), world, 60, folder=tmp_path / "run"
    ) as training:
        training.run_to_end()
        judged = evaluate(training.policy, world, 8, seed=3)
        assert (evaluate(load(tmp_path / "run"), world, 8, seed=3).returns == judged.returns).all()
    environments = world.open(1, 3)
    row, actor, returns = environments.reset(), load(tmp_path / "run" / "policy"), []
    total, acting = 0.0, actor.policy.select("policy").initial_carry()
    while len(returns) < 8:
        assert row.legal is not None
        action = actor.act(row.obs[0], {"action_mask": row.legal[0]}, first=row.first[0])
        assert jax.tree.structure(actor._carry) == jax.tree.structure(jax.tree.leaves(acting))  # The critic rests.
        row = environments.step(np.array([action]))
        total = 0.0 if row.first[0] else total + float(row.reward[0])
        returns += [total] if row.last[0] else []
    np.testing.assert_allclose(returns, judged.returns[0], 1e-5)


class Yesterday(Policy):
    """Does what it saw on the row before."""

    @property
    def context(self) -> int:
        return 1

    def initial_carry(self) -> Any:
        return jnp.zeros(2)

    def step(self, obs: Any, first: Any, carry: Any) -> tuple[Any, Any]:
        return {"policy": Categorical(jnp.where(first, jnp.arange(2.0), carry))}, obs

    def select(self, *heads: str) -> Policy:
        return self


@pytest.mark.parametrize("sample", [False, True])
def test_a_memory_of_what_was_seen_is_its_own(sample: bool) -> None:
    actor = Actor(Yesterday(), spaces.Box(-1e3, 1e3, (2,)), spaces.Discrete(2))
    seen, done = np.zeros(2, np.float32), []
    for t in range(4):
        seen[:] = [[0, 99], [99, 0]][t % 2]
        done.append(int(actor.act(seen, sample=sample)))
    assert done[1:] == [1, 0, 1]


def unnormalised(actor: Actor) -> Actor:
    bare = dataclasses.replace(actor.policy, normaliser=None)  # type: ignore[call-overload]
    return Actor(bare, actor.observation_space, actor.action_space, actor.masked)


def in_its_own_units(actor: Actor) -> Actor:
    actor._units = action_units(policy_space(actor.action_space))
    return actor


def stale(actor: Actor, obs: Any, legal: Any, first: Any) -> Any:
    return actor.act(obs, legal=legal, first=np.zeros_like(first))


def careless(actor: Actor, obs: Any, legal: Any, first: Any) -> Any:
    return actor.act(obs, legal=np.ones_like(legal), first=first)


@pytest.mark.parametrize(
    ("setting", "network", "mistake"),
    [
        (("box", "box"), "mlp", {"mistaken": unnormalised}),
        (("box", "box"), "mlp", {"mistaken": in_its_own_units}),
        (("box", "discrete"), "mlp", {"mistaken": in_its_own_units}),
        (("box", "box"), "gru", {"act": stale}),
        (("box", "discrete", True), "mlp", {"act": careless}),
    ],
    ids=["lost normaliser", "lost units", "lost start", "stale carry", "ignored mask"],
)
def test_the_law_sees(setting: Any, network: str, mistake: Any, tmp_path: Path) -> None:
    where = seen_and_done(*setting)
    policy = normalising(where, network=NETWORK[network])
    check_use(policy, where, tmp_path)
    with pytest.raises(AssertionError):
        check_use(policy, where, tmp_path, **mistake)
