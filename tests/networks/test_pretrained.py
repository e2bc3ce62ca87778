"""Constants: frozen layers are held once, and are in no gradient, optimiser, program, checkpoint or policy's file."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import retorno as rt
from retorno.core import constants
from retorno.core.constants import Constant, ConstantsError, arrays_of, constants_of, thaw
from retorno.environments.registry import native
from retorno.networks import MLP, CategoricalHead, Pretrained, ValueHead, WeightsFile, save_weights
from retorno.networks.initialisation import orthonormal_columns
from retorno.run.checkpoint import MismatchError, load
from retorno.run.loop import advance, advance_in_turn
from retorno.run.probe import _live_in_turn, probe

FROZEN_RUN = str(Path(__file__).with_name("frozen_run.py"))

STATES, HIDDEN = 16, 256
OBSERVED = spaces.Discrete(STATES)
HEADS = {"policy": CategoricalHead(4), "value": ValueHead()}
PLAIN = MLP((HIDDEN, HIDDEN), shared=True)
FROZEN_BYTES = 4 * (HIDDEN * HIDDEN + HIDDEN)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: Any) -> WeightsFile:
    network = PLAIN.build(jax.random.key(7), OBSERVED, HEADS)
    return save_weights(tmp_path_factory.mktemp("weights") / "weights.safetensors", network)


def half_frozen(weights: WeightsFile) -> Pretrained:
    return Pretrained(weights, ("trunks/*/hidden/*",), PLAIN)


def ppo(weights: WeightsFile) -> Any:
    return rt.PPO(network=half_frozen(weights), num_envs=2, rollout=4, epochs=1, minibatches=2)


def largest(tree: Any) -> int:
    return max(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def run(weights: WeightsFile, tmp_path_factory: Any) -> Any:
    folder = tmp_path_factory.mktemp("frozen") / "run"
    with rt.train(ppo(weights), "FrozenLake-v1", 40, every=16, folder=folder) as training:
        training.run_to_end()
    return folder, training


def test_what_is_frozen_stays_and_the_rest_learns(weights: WeightsFile, run: Any) -> None:
    network: Any = thaw(run[1].run.learner.network.policy)
    source: Any = PLAIN.build(jax.random.key(7), OBSERVED, HEADS)
    learnt, begun = (x.trunks["shared"] for x in (network, source))
    np.testing.assert_array_equal(learnt.hidden[0].weight, begun.hidden[0].weight)
    moved = np.abs(learnt.input.linear.weight - np.asarray(begun.input.linear.weight))
    assert 0 < moved.max() < 0.1, "it began elsewhere"


def test_frozen_layers_are_in_no_state_no_optimiser_and_no_program(run: Any) -> None:
    training = run[1]
    assert constants_of(training.run) and largest(training.run) < HIDDEN * HIDDEN
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), training.run)
    lowered = advance.lower(training.twin, training.world, like, None, np.uint32(1), 1)
    # A literal is spelled in hexadecimal digits, two for a byte.
    assert len(lowered.as_text()) < 2 * FROZEN_BYTES
    assert lowered.compile().memory_analysis().argument_size_in_bytes > FROZEN_BYTES


def test_neither_a_checkpoint_nor_the_policy_s_file_holds_them(run: Any) -> None:
    folder, training = run
    learnt = sum(leaf.nbytes for leaf in jax.tree.leaves(jax.tree.map(np.asarray, training.run.learner)))
    step = training.step
    for file in (f"checkpoints/{step}/state.safetensors", f"policy/{step}/policy.safetensors"):
        assert (folder / file).stat().st_size < learnt + 10_000 < FROZEN_BYTES


def test_a_fresh_process_goes_on_to_the_same_bits_and_acts_the_same(
    run: Any, tmp_path: Path, weights: WeightsFile
) -> None:
    folder = tmp_path / "run"
    with rt.train(ppo(weights), "FrozenLake-v1", 40, every=16, folder=folder) as training:
        for report in training:
            if report.boundary:
                break
    command = [sys.executable, FROZEN_RUN, str(folder)]
    digest, *actions = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    assert digest == run[1].digest
    with patch.object(rt.Actor, "_compiled", side_effect=AssertionError("it has a form in NumPy")):
        actor = rt.load(run[0])
        assert [int(actor.act(state)) for state in range(STATES)] == list(map(int, actions))
    assert len(set(actions)) > 1


def test_hosted_and_in_batches_they_are_the_same(run: Any, weights: WeightsFile) -> None:
    actor = rt.load(run[0])
    alone = [int(actor.act(state)) for state in range(STATES)]
    actor.reset()
    assert actor.act(np.arange(STATES)).tolist() == alone
    hosted = rt.gymnasium(lambda: rt.to_gymnasium(run[1].world))
    with rt.train(ppo(weights), hosted, 40) as training:
        training.run_to_end()
        learners = (jax.tree.leaves(each.run.learner) for each in (training, run[1]))
        for ours, native in zip(*learners, strict=True):
            np.testing.assert_allclose(ours, native, rtol=1e-4, atol=1e-4)


def test_programs_of_several_seeds_do_not_hold_them(run: Any) -> None:
    training = run[1]
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), training.run)
    lowered = advance_in_turn.lower(training.twin, training.world, like, np.ones(2, np.uint32), 1, training._mesh)
    assert len(lowered.as_text()) < 2 * FROZEN_BYTES


def test_the_program_of_a_probe_does_not_hold_them(weights: WeightsFile) -> None:
    look = lambda run, lived: lived.steps.reward.sum()  # noqa: E731
    programs = []

    def lowered(*args: Any) -> Any:
        programs.append(_live_in_turn.lower(*args).as_text())
        return _live_in_turn(*args)

    settings = {"seeds": (0, 1), "over": {"discount": (0.9, 0.99)}}
    world = native("FrozenLake-v1")
    with patch("retorno.run.probe._live_in_turn", lowered):
        found = probe(ppo(weights), world, 4, look, **settings)
    assert found.shape == (2, 2, 4) and len(programs[0]) < 2 * FROZEN_BYTES


def test_all_references_hold_one_copy(weights: WeightsFile) -> None:
    def live() -> int:
        gc.collect()
        return sum(x.nbytes for x in jax.live_arrays() if x.size == HIDDEN * HIDDEN)

    constants.forget()
    before = live()
    build = lambda key: replace(half_frozen(weights), frozen=("*",)).build(jax.random.key(key), OBSERVED, HEADS)  # noqa: E731
    policies = [build(key) for key in range(3)]
    act = constants.jit(lambda policies, obs: [p.step(obs, jnp.array(True), ())[0]["value"] for p in policies])
    values = act(policies, jnp.int32(3))
    assert values[0] == values[1] == values[2] and not jax.tree.leaves(policies)
    assert live() - before == 4 * HIDDEN * HIDDEN


def test_the_same_program_with_other_constants_gives_their_answer() -> None:
    @dataclass(frozen=True)
    class Drawn:
        seed: int

        def read(self) -> dict[str, np.ndarray]:
            return {"w": np.random.default_rng(self.seed).normal(size=(8, 8)).astype(np.float32)}

    @constants.jit
    def product(tree: Any, x: Any) -> Any:
        return jax.lax.fori_loop(0, 3, lambda _, x: jax.grad(lambda x: (x @ thaw(tree)).sum())(x), x)

    for seed in (0, 1):
        source = Drawn(seed)
        digest, arrays = constants.read(source)
        constant = Constant(source, digest, "w")
        np.testing.assert_array_equal(product(constant, jnp.ones(8)), product(arrays["w"], jnp.ones(8)))
        assert arrays_of([constant, constant]).held == {digest: {"w": arrays["w"]}}


def test_what_two_sources_hold_alike_is_held_and_given_once() -> None:
    @dataclass(frozen=True)
    class Trained:
        upper: float

        def read(self) -> dict[str, np.ndarray]:
            return {"lower": np.arange(8, dtype=np.float32), "upper": np.full(8, self.upper, np.float32)}

    both = [
        Constant(source, constants.read(source)[0], n) for source in map(Trained, (1, 2)) for n in Trained(1).read()
    ]
    given = arrays_of(both)
    assert len(given.arrays) == 3 and both[0].array is both[2].array
    total = constants.jit(lambda tree, x: sum((x * thaw(node)).sum() for node in tree))
    assert total(both, jnp.float32(1)) == 2 * 28 + 8 + 16


def test_what_is_exported_holds_them_and_does_not_say_where_they_lay(
    run: Any, weights: WeightsFile, tmp_path: Path
) -> None:
    for out in ("robot", "robot.onnx"):
        written = rt.export(run[0], tmp_path / out)
        files = [*written.iterdir()] if written.is_dir() else [written]
        assert not any(str(Path(weights.path).parent).encode() in file.read_bytes() for file in files)
    there, alone = rt.load(run[0]), rt.load(tmp_path / "robot")
    assert not constants_of(alone.policy) and constants_of(there.policy)
    assert [alone.act(s) for s in range(16)] == [there.act(s) for s in range(16)]


def test_constants_that_changed_or_are_gone_are_refused(run: Any, weights: WeightsFile) -> None:
    file = Path(weights.path)
    kept = file.read_bytes()
    try:
        save_weights(file, PLAIN.build(jax.random.key(8), OBSERVED, HEADS))
        constants.forget()
        digest, _ = constants.read(weights)
        isconstant = lambda node: isinstance(node, Constant)  # noqa: E731
        renewed = lambda node: replace(node, digest=digest) if isconstant(node) else node  # noqa: E731
        with pytest.raises(MismatchError, match=r"is not what it was.*put back what was there"):
            load(run[0] / "checkpoints" / str(run[1].step), jax.tree.map(renewed, run[1].run, is_leaf=isconstant))
        with pytest.raises(ConstantsError, match="holds other arrays than when they were first used"):
            rt.load(run[0]).act(0)
        file.unlink()
        constants.forget()
        with pytest.raises(ConstantsError, match="are gone: put the file back"):
            rt.load(run[0]).act(0)
        # It may lie elsewhere by now: what counts is what it holds.
        moved = file.with_name("moved.safetensors")
        moved.write_bytes(kept)
        constants.read(WeightsFile(str(moved)))
        assert 0 <= rt.load(run[0]).act(0) < 4
    finally:
        file.write_bytes(kept)
        constants.forget()


def test_only_what_the_weights_lack_is_drawn(weights: WeightsFile, tmp_path: Path) -> None:
    build = lambda weights: replace(half_frozen(weights)).build(jax.random.key(3), OBSERVED, HEADS)  # noqa: E731
    own, arrays = PLAIN.build(jax.random.key(3), OBSERVED, HEADS), dict(weights.read())
    lacking = WeightsFile(str(tmp_path / "lacking.npz"))
    np.savez(lacking.path, **{name: x for name, x in arrays.items() if not name.startswith("last/value")})
    drawn, draw = [], orthonormal_columns
    with patch("retorno.networks.initialisation.orthonormal_columns", lambda x: drawn.append(x.shape) or draw(x)):
        whole, partly = build(weights), build(lacking)
    assert drawn == [(HIDDEN, 1)]
    ours, theirs = thaw(whole.policy), thaw(partly.policy)
    np.testing.assert_array_equal(theirs.last["value"].weight, own.last["value"].weight)
    np.testing.assert_array_equal(ours.last["value"].weight, arrays["last/value/weight"])
    np.testing.assert_array_equal(theirs.trunks["shared"].hidden[0].weight, ours.trunks["shared"].hidden[0].weight)


def test_weights_that_do_not_fit_are_refused(weights: WeightsFile, tmp_path: Path) -> None:
    def build(source: Any, frozen: tuple[str, ...] = (), network: Any = PLAIN) -> Any:
        return Pretrained(source, frozen, network).build(jax.random.key(0), OBSERVED, HEADS)

    with pytest.raises(ValueError, match=r"no array of the network is called as 'blocks/\*'"):
        build(weights, ("blocks/*",))
    with pytest.raises(ValueError, match="has shape"):
        build(weights, network=MLP((8, 8), shared=True))
    with pytest.raises(ConstantsError, match="which is to stay frozen"):
        build(weights, ("*",), MLP((HIDDEN, HIDDEN, HIDDEN), shared=True))
    pickled = tmp_path / "objects.npz"
    np.savez(pickled, w=np.array([{}], object))
    with pytest.raises(ConstantsError, match=r"expected safetensors, or \.npz without objects"):
        build(WeightsFile(str(pickled)))
