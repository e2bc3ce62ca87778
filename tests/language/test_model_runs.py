"""Runs over a language model: what they hold, how they go on, and that they may be spread over devices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from safetensors.numpy import load_file

import retorno as rt
from retorno import language
from retorno.core.constants import arrays_of
from retorno.language import Decoder, StoredModel, UpperLayers
from retorno.language.decoder import network_of, with_window
from retorno.networks import Apart, Tempered, ValueHead, policy_head
from retorno.networks.layers import Rows
from retorno.networks.pretrained import named
from retorno.run import policy_folder
from retorno.run.config import to_json

QWEN3 = Path(__file__).with_name("models") / "qwen3"
WORLD = rt.environments.Tokens(vocabulary=40, limit=8)
STEPS = 4 * 7 * 4
"""Four updates of four texts of eight tokens."""


def training(folder: Path | None = None, **settings: Any) -> Any:
    network = Decoder(StoredModel(str(QWEN3)), UpperLayers(1), window=8, stop_gradient=("value",))
    algorithm = rt.PPO(network=network, num_envs=4, rollout=8, epochs=1, minibatches=1)
    return rt.train(algorithm, WORLD, STEPS, folder=folder, **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run in four stretches, and its folder as it stood after the second, as a SIGKILL would have left it."""
    folder = tmp_path_factory.mktemp("runs") / "words"
    killed = folder.with_name("killed")
    with training(folder, every=STEPS // 4) as whole:
        for report in whole:
            if report.boundary and whole.step >= STEPS // 2 and not killed.exists():
                shutil.copytree(folder, killed)
    (killed / "lock").unlink(missing_ok=True)
    return whole, folder, killed


def test_it_goes_on_to_the_same_bits(run: Any) -> None:
    whole, _, killed = run
    with rt.resume(killed, world=WORLD) as again:
        assert again.step < whole.step
        again.run_to_end()
    assert again.digest == whole.digest


def test_a_checkpoint_holds_what_is_trained_three_times_and_no_constants(run: Any) -> None:
    """The weights and the two moments of Adam; beside them the caches of the texts under way, and numbers."""
    whole, folder, _ = run
    trained = sum(x.nbytes for x in jax.tree.leaves(whole.run.learner.network))
    caches = sum(x.nbytes for x in jax.tree.leaves(whole.run.stage.carry))
    constants = {name for _, name, _ in arrays_of(whole.run.learner.network).places}
    assert "input/tokens/weight" in constants and not any(name.startswith("blocks/1") for name in constants)
    newest = max((folder / "checkpoints").iterdir(), key=lambda each: int(each.name))
    files = [*newest.glob("*.safetensors"), *(newest / "pieces").glob("*")]
    held = sum(x.nbytes for file in newest.glob("*.safetensors") for x in load_file(file).values())
    held += sum(file.stat().st_size for file in files if file.parent.name == "pieces")
    assert 3 * trained < held < 1.1 * (3 * trained) + caches


def test_a_run_of_an_actor_at_a_temperature_beside_a_critic_is_a_model(tmp_path: Path) -> None:
    """Its logits are those that were drawn from, so what is saved has a last layer of its own."""
    alone = Decoder(StoredModel(str(QWEN3)), UpperLayers(1), window=8)
    algorithm = rt.PPO(network=Apart(Tempered(0.5, alone), alone))
    heads = {"policy": policy_head(WORLD.action_space), "value": ValueHead()}
    policy: Any = algorithm.network.build(jax.random.key(0), WORLD.observation_space, heads)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps({"algorithm": to_json(algorithm)}))
    space = WORLD.observation_space
    policy_folder.save(tmp_path / "run", policy_folder.SavedPolicy((policy,), (0,), space, space, False, 5, "PPO", {}))
    text = [3, 1, 4, 1, 5]
    own = np.asarray(language.log_probs(language.LanguageModel(alone.weights.architecture, None, policy), text))
    before = language.log_probs(language.load(QWEN3), text)
    assert np.abs(own - before).max() > 0.1
    model = language.load(tmp_path / "run")
    model.save(tmp_path / "saved")
    for each in (model, language.load(tmp_path / "saved")):
        np.testing.assert_allclose(language.log_probs(each, text), own, atol=1e-5)
    policy_folder.save(tmp_path / "run", policy_folder.SavedPolicy((policy,), (0,), space, space, False, 3, "PPO", {}))
    judges = {"own": lambda prompts, answers: [1.0]}
    (point,) = language.frontier(tmp_path / "run", [text], judges, tokens=3, newest=1)
    assert point.step == 5
    assert point.kl[0] == pytest.approx(0, abs=1e-5), "nothing was learnt: its reference has its temperature"


def test_environments_may_be_spread_over_devices() -> None:
    one, two = (training(devices=devices) for devices in (1, 2))
    for each in (one, two):
        each.run_to_end()
    assert len(two.run.stage.row.last.sharding.device_set) == 2
    learnt = [dict(named(each.run.learner.network)) for each in (one, two)]
    for name, array in learnt[0].items():
        np.testing.assert_allclose(learnt[1][name], array, atol=1e-4, err_msg=name)


def test_matrices_may_be_spread_over_devices() -> None:
    """By outputs where they widen, by inputs where they narrow, as Megatron does (Shoeybi et al. 2020, section 3)."""
    mesh = Mesh(np.array(jax.devices()[:2]), ("tensor",))
    network: Any = network_of(with_window(rt.language.load(QWEN3).policy, 24))
    tokens = jnp.array(json.loads((QWEN3 / "golden.json").read_text())["tokens"])

    def spread(path: Any, node: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        halves = PartitionSpec(None, "tensor") if name.endswith(("/out", "/down")) else PartitionSpec("tensor")
        place = lambda x: NamedSharding(mesh, halves if isinstance(node, Rows) and x.ndim == 2 else PartitionSpec())  # noqa: E731
        return jax.tree.map(lambda x: jax.device_put(x, place(x)), node)

    parted = jax.tree_util.tree_map_with_path(spread, network, is_leaf=lambda node: isinstance(node, Rows))
    weight = parted.trunks["shared"].blocks[0].up.weight
    assert weight.addressable_shards[0].data.shape[0] * 2 == weight.shape[0]

    @jax.jit
    def logits(network: Any) -> Any:
        return network.unroll(tokens, jnp.arange(len(tokens)) == 0, network.initial_carry())["policy"].logits

    np.testing.assert_allclose(logits(parted), logits(network), atol=1e-4)
