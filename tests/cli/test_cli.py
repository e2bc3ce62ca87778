"""The command line as its user meets it: what is printed where, exit codes, and bad days."""

import dataclasses
import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno import bellman
from retorno.algorithms import DQN, LSTD, PPO, TD, UCT, QLearning, Rollout, TDLambda
from retorno.algorithms.published import settings
from retorno.cli.arena import player_of
from retorno.cli.main import COMMANDS, main
from retorno.cli.options import UsageError, parse
from retorno.cli.runs import complete
from retorno.cli.train import choose, few_starts, free_folder, typed, with_settings
from retorno.core.errors import WorldError
from retorno.core.mdp import mdp
from retorno.environments import save, student
from retorno.environments.registry import WORLDS, make, model
from retorno.models import Counted
from retorno.networks import GRU, MLP, Activation, Features
from retorno.ops.minibatches import equal_parts
from retorno.ops.optimisers import SGD, RMSprop, Schedule
from retorno.policies import Epsilon, EpsilonGreedyPolicy, Tabulated, Uniform
from retorno.run import checkpoint
from retorno.run.actor import load
from retorno.run.folder import read_config, read_metrics
from retorno.run.oracle import entered, regret
from retorno.run.policy_folder import PolicyError
from retorno.run.resume import restore
from retorno.run.stopping import Interrupted
from retorno.run.train import train

STEPS = 3_000
TRAIN = ["train", "q_learning", "student", "--steps", str(STEPS), "--episodes", "20"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run that has reached its budget; look only."""
    folder = tmp_path_factory.mktemp("runs") / "student"
    assert main([*TRAIN, "--folder", str(folder)]) == 0
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of that run to break."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def one_line(text):
    assert text.startswith("retorno: ") and text.count("\n") == 1 and "Traceback" not in text, text
    return text


def spawn(*arguments, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "retorno.cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def wait_for(condition, child, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert child.poll() is None and time.monotonic() < until, child.communicate()[1]
        time.sleep(0.02)


# Help


def test_help_names_every_command_and_imports_nothing_heavy():
    code = "import sys; from retorno.cli.main import main; main(['--help']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name}" in out for name in COMMANDS)
    loaded = set(out.splitlines()[-1].split())
    assert not loaded & {"jax", "numpy", "tyro", "rich", "gymnasium", "matplotlib", "equinox"}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "train"])
def test_each_command_has_help(cli, command):
    code, out, err = cli(command, "--help")
    assert (code, err) == (0, "") and f"usage: retorno {command}" in out


def test_help_of_training_shows_the_worlds_published_defaults(cli):
    assert "q_learning" in cli("train", "--help")[1]
    own = cli("train", "ppo", "--help")[1]
    published = " ".join(cli("train", "ppo", "CartPole-v1", "--help")[1].split())
    assert "RL Baselines3 Zoo" in published and "RL Baselines3 Zoo" not in own
    discount = settings("ppo", "CartPole-v1").algorithm.discount
    assert "--network.hidden" in published and discount != PPO().discount and f"γ (default: {discount})" in published
    assert "--network.window" in cli("train", "ppo", "--network", "transformer", "--help")[1]


# Options


def test_options_make_the_algorithm():
    options, algorithm, relabel, published = choose(
        "ppo", "CartPole-v1", "--network gru --network.width 16 --network.activation relu --lambda .9 --seed 3".split()
    )
    assert algorithm.network == GRU(width=16, activation=Activation.relu)
    assert (algorithm.lambda_, options.seed, relabel) == (0.9, 3, None)
    assert published is not None and algorithm.rollout == published.algorithm.rollout != PPO().rollout
    assert choose("ppo", "CartPole-v1", [])[1] == published.algorithm


def test_a_network_with_memory_gets_minibatches_that_fit():
    for world in (None, "LunarLander-v3"):  # whose published settings split 16,384 transitions into 256.
        algorithm = choose("ppo", world, ["--network", "lstm"])[1]
        assert equal_parts(algorithm.minibatches, None, algorithm.rollout, algorithm.num_envs) == algorithm.num_envs
    assert choose("ppo", None, ["--network", "lstm", "--minibatches", "2"])[1].minibatches == 2
    assert equal_parts(PPO().minibatches, 0, 256, 8) == 32


def test_told_settings_can_be_typed_again():
    made = PPO(network=GRU(width=3, embed=(5, 6), orthogonal=False), lambda_=0.5, anneal_clip=True, num_envs=64)
    assert choose("ppo", None, " ".join(typed(made, PPO())).split())[1] == made
    assert list(typed(PPO(network=MLP(hidden=(1,))), PPO())) == ["--network.hidden 1"]


@pytest.mark.parametrize(
    ("name", "line", "made"),
    [
        ("td", "--target uniform --behaviour none", TD()),
        ("td", "--behaviour uniform", TD(behaviour=Uniform())),
        (
            "td_lambda",
            "--target tabulated --target.probabilities 0.4 0.6 --behaviour tabulated "
            "--behaviour.probabilities 0.1,0.9 0.5,0.5",
            TDLambda(target=Tabulated(((0.4, 0.6),)), behaviour=Tabulated(((0.1, 0.9), (0.5, 0.5)))),
        ),
        ("lstd", "--network features --network.rows 1,0 0,1 1,1", LSTD(network=Features(((1, 0), (0, 1), (1, 1))))),
        ("uct", "--model counted --exploration.epsilon 0.2", UCT(model=Counted(), exploration=Epsilon(0.2))),
        ("rollout", "--base tabulated --base.probabilities 1 0", Rollout(base=Tabulated(((1, 0),)))),
    ],
)
def test_parts_of_every_kind(name, line, made):
    """What is typed makes the settings, and the settings tell what to type."""
    assert choose(name, None, line.split())[1] == made
    assert choose(name, None, " ".join(typed(made, type(made)())).split())[1] == made


def test_a_parts_option_needs_its_name_only_where_another_is_called_alike():
    made = choose("ppo", None, "--learning-rate 1e-3 --schedule cosine --hidden 8 8 --lambda .9".split())[1]
    assert made == PPO(
        network=MLP((8, 8)), optimiser=usual(PPO, learning_rate=1e-3, schedule=Schedule.cosine), lambda_=0.9
    )
    assert choose("dqn", None, "--optimiser rmsprop --eps=.02".split())[1] == DQN(optimiser=RMSprop(eps=0.02))
    assert list(typed(PPO(optimiser=SGD(0.1)), PPO())) == ["--optimiser sgd", "--optimiser.learning-rate 0.1"]


def usual(kind, **settings):
    """An algorithm's own optimiser with other settings."""
    return dataclasses.replace(kind().optimiser, **settings)


def test_a_part_that_is_none_can_be_left_out_again():
    assert list(typed(TD(), TD(behaviour=Uniform()))) == ["--behaviour none"]


def test_the_help_shows_the_options_of_what_is_asked_for(cli):
    shown = cli("train", "td", "--behaviour", "tabulated", "--help")[1]
    assert "--behaviour.probabilities" in shown and "--behaviour {none,uniform,tabulated}" in shown
    assert "--behaviour.probabilities" not in cli("train", "td", "--help")[1] and "--nothing" not in shown


def test_the_next_free_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert free_folder("dqn", "ALE/Pong-v5") == Path("runs/dqn-ALE-Pong-v5-1")
    Path("runs/dqn-ALE-Pong-v5-1").mkdir(parents=True)
    assert free_folder("dqn", "ALE/Pong-v5") == Path("runs/dqn-ALE-Pong-v5-2")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "did you mean train"),
        (["train", "pppo", "CartPole-v1"], "did you mean ppo"),
        (["train", "ppo"], "which world?"),
        (["train", "--steps", "9", "ppo", "CartPole-v1"], "come first"),
        (["train", "ppo", "CartPol-v1"], "did you mean CartPole-v1"),
        (["train", "sac", "FetchReach-v4"], "another package registers is called PACKAGE:FetchReach-v4"),
        (["train", "ppo", "CartPole-v1", "--lerning-rate", "1"], "did you mean --learning-rate"),
        (
            ["train", "dqn", "CartPole-v1", "--network.channels", "8"],
            "no option --network.channels; it is of --network ",
        ),
        (["train", "ppo", "CartPole-v1", "--xyzzy", "1"], "no option --xyzzy (see"),  # Nothing is like it.
        (["train", "ppo", "CartPole-v1", "--relabel", "clip"], "did you mean clip_rewards"),
        (["train", "ppo", "CartPole-v1", "--network", "my.py:Net"], "registers has a name: retorno my.py train …"),
        (["train", "ppo", "CartPole-v1", "--learning-rate", "fast"], "--optimiser.learning-rate"),
        (["train", "ppo", "CartPole-v1", "--network", "mpl"], "'mlp'"),
        (["train", "ppo", "CartPole-v1", "--steps", "0"], "--steps must be positive, got 0"),
        (["train", "ppo", "CartPole-v1", "--hosted", "--fused"], "exclude each other"),
        (["train", "ppo", "CartPole-v1", "--minibatches", "7"], "minibatches"),
        (["train", "ppo", "LunarLander-v3", "--fused"], "no native world"),
        (["train", "dqn", "Pendulum-v1"], "PPO takes it"),
        (["train", "q_learning", "CartPole-v1"], "network=MLP()"),
        (["train", "td", "student", "--target", "tabulated", "--target.probabilities", ".4", ".5"], "sum to 1"),
        (["train", "td", "student", "--target", "tabulated", "--target.probabilities", ".4", "x"], "to float: 'x'"),
        (["train", "td", "student", "--behaviour", "tabulated"], "0 rows of probabilities"),
        (["train", "uct", "recall"], "plan in a learnt model"),
        (["solve"], "needs NAME"),
        (["solve", "studen"], "did you mean student"),
        (["solve", "student", "--discount", "1.5"], "discount must lie in [0, 1]"),
        (["solve", "student", "--picture", "x.gif"], ".png or .svg"),
        (["evaluate"], "which run?"),
        (["evaluate", "nowhere"], "does not exist"),
        (["record"], "which run?"),
        (["inspect", "."], "not the folder of a run"),
        (["resume", "nowhere"], "does not exist"),
        (["play", "CartPole-v1", "--out", "x.png"], ".gif or .mp4"),
        (["play", "connect_four", "--page", "--port", "70000"], "--port must be from 1 to 65535, got 70000"),
        (["arena", "random", "exact", "--most", "-3"], "--most must be at least 1, got -3"),
        (
            ["train", "ppo", "CartPole-v1", "--network", "lstm", "--network.reader", "mlp", "--network.hidden", "8"],
            "no option --network.hidden; did you mean --network.reader.hidden",
        ),
        (["list", "everything"], "algorithms"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(cli, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(*arguments)
    assert code == 2 and expected in one_line(err.splitlines(keepends=True)[-1]), err
    assert "Traceback" not in err


# Solving


def test_solve_prints_exactly_one_json_object(cli):
    code, out, err = cli("solve", "student", "--discount", "1", "--json")
    answer = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    states = {"Facebook", "C1", "C2", "C3", "Sleep"}
    assert all(set(answer[name]) == states for name in ("value", "lower", "upper", "policy", "optimal"))
    assert answer["value"]["C1"] == pytest.approx(6) and answer["start_value"] == pytest.approx(6)
    assert all(answer["lower"][s] <= answer["value"][s] <= answer["upper"][s] for s in states)
    assert (answer["policy"]["C3"], answer["policy"]["Sleep"]) == ("study", None)


def test_solve_shows_ties_on_a_map_and_in_json(cli):
    _, out, _ = cli("solve", "FrozenLake-v1")
    assert out.splitlines()[1].split()[-3:] == ["0.358", "←→", "·"]
    answer = json.loads(cli("solve", "FrozenLake-v1", "--json", "--method", "value-iteration")[1])
    assert answer["optimal"]["6"] == ["left", "right"] and answer["method"] == "value iteration"


def test_solve_draws(cli, tmp_path):
    for name, file in (("FrozenLake-v1", "map.png"), ("student", "graph.svg")):
        code, out, _ = cli("solve", name, "--json", "--picture", tmp_path / file)
        assert code == 0 and json.loads(out) and (tmp_path / file).stat().st_size > 1000


# A run's life


def test_training_is_recorded_evaluated_and_told(cli, tmp_path):
    code, out, err = cli(*TRAIN, "--seed", "4", "--folder", tmp_path / "run")
    assert code == 0 and re.search(r"return -?\d.* in each of 20 episodes", out)
    assert "fused" in err and "seed 4" in err and f"step {STEPS:,} of {STEPS:,}" in err and "retorno evaluate" in err
    assert read_config(tmp_path / "run")["seeds"] == [4]
    assert read_metrics(tmp_path / "run")[-1]["evaluation"]["episodes"] == 20


def test_inspect_tells_the_digest_of_the_run(cli, finished):
    code, out, err = cli("inspect", finished, "--json")
    found = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert (found["step"], found["budget"], found["finished"]) == (STEPS, STEPS, True)
    assert found["digest"] == restore(finished).digest
    told = cli("inspect", finished)[1]
    assert found["digest"] in told and re.search(r"^finished +yes$", told, re.M)


def test_resume_at_the_budget_changes_nothing(cli, run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    code, out, err = cli("resume", run)
    assert (code, out) == (0, "") and "nothing to do" in err
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}


def test_a_run_goes_on_with_other_settings_and_the_record_says_so(cli, run):
    further = ["resume", run, "--steps", STEPS + 100, "--episodes", "0"]
    code, _, err = cli(*further, "--set", "step_size=0.05", "--set", "epsilon=0.3")
    assert code == 0 and "step_size: 0.2 → 0.05" in err and "epsilon: " in err
    config = read_config(run)
    assert (config["algorithm"]["step_size"], config["algorithm"]["exploration"]["epsilon"]) == (0.05, 0.3)
    assert [change["step"] for change in config["changes"]] == [STEPS]
    assert cli("resume", run, "--steps", STEPS + 200, "--episodes", "0")[0] == 0
    assert read_config(run)["algorithm"] == config["algorithm"], "they stay"


@pytest.mark.parametrize(
    ("change", "steps", "told"),
    [
        ("step_size", STEPS + 100, "--set step_size: expected NAME=VALUE"),
        ("stepsize=1", STEPS + 100, "did you mean step-size"),
        ("exploration.temperature=1", STEPS + 100, "it is of exploration softmax, not of epsilon"),
        ("step_size=fast", STEPS + 100, "'fast' is no finite number"),
        ("step_size=7", STEPS + 100, "overshoots what a table is to learn"),
        ("step_size=0.1", STEPS, f"has reached its budget of {STEPS:,} steps"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_nothing_is_lost(cli, run, change, steps, told):
    before = read_config(run)
    code, _, err = cli("resume", run, "--steps", steps, "--set", change)
    assert code == 2 and told in one_line(err.splitlines()[-1] + "\n")
    assert read_config(run) == before


def test_what_is_kept_on_the_disk_is_announced(cli, tmp_path):
    """Checkpoints, one more while it is written, and the policies that stay; a map of 3,000 numbers for each."""
    (tmp_path / "m.txt").write_text("\n".join(["S" + "." * 29, *["." * 30] * 24, "." * 29 + "G"]))
    line = ("train", "q_learning", tmp_path / "m.txt", "--steps", 400, "--every", 40, "--episodes", 0)
    code, _, err = cli(*line, "--keep", 4, "--folder", tmp_path / "r")
    (told,) = re.findall(r"every 40 steps, .* each at most; the newest 4 stay, .*: up to ([\d.]+) MB", err)
    assert code == 0 and len(checkpoint.steps(tmp_path / "r")) == 4
    taken = {folder: sum(each.stat().st_size for each in (tmp_path / "r" / folder).rglob("*") if each.is_file())
             for folder in ("checkpoints", "policy")}  # fmt: skip
    assert sum(taken.values()) / 1e6 < float(told) < (1.5 * taken["checkpoints"] + 1.3 * taken["policy"]) / 1e6 + 0.05


def test_what_is_on_or_off_is_set_by_a_word():
    assert with_settings(DQN(), ["double=False", "learning_rate=1e-3"]) == DQN(
        double=False, optimiser=dataclasses.replace(DQN().optimiser, learning_rate=1e-3)
    )
    assert with_settings(PPO(), ["network.hidden=64", "lambda=0.9"]) == PPO(network=MLP((64,)), lambda_=0.9)


def test_evaluate_prints_exactly_one_json_object(cli, finished):
    code, out, err = cli("evaluate", finished, "--json", "--episodes", "30")
    found = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert (found["episodes"], found["seeds"]) == (30, 1) and found["ci95"][0] <= found["mean"] <= found["ci95"][1]
    assert found["regret"]["exact"]
    assert found["regret"]["optimum"] == pytest.approx(
        bellman.solve(student(), found["regret"]["discount"]).start_value
    )
    assert json.loads(cli("evaluate", finished, "--json", "--episodes", "1")[1])["ci95"] == [None, None]
    human = cli("evaluate", finished, "--episodes", "30")[1]
    assert "in each of 30 episodes" in human and "regret" in human


def test_what_a_run_does_is_recorded_for_others(cli, finished, tmp_path):
    code, out, err = cli("record", finished, "--episodes", "5", "--out", tmp_path / "data.npz")
    assert code == 0 and "data.npz: 5 episodes" in out and "next: retorno train behaviour_cloning" in err
    of = ["--world.world", "student", "--world.cut", "2", "--num-envs", "2", "--steps", "50"]
    code, out, err = cli("train", "behaviour_cloning", tmp_path / "data.npz", *of, "--folder", tmp_path / "cloned")
    assert code == 0 and "loss" in out, err
    out = cli("evaluate", tmp_path / "cloned", "--episodes", "5")[1]
    assert "on what was learnt from" in out and "5 episodes" in out
    code, _, err = cli("record", finished, "--out", tmp_path / "data.npz")
    assert code == 2 and "is there" in err


def test_many_seeds_native_and_hosted(cli, tmp_path):
    assert cli(*TRAIN, "--seeds", "3", "--seed", "5", "--folder", tmp_path / "native")[0] == 0
    assert read_config(tmp_path / "native")["seeds"] == [5, 6, 7]
    call = ["train", "q_learning", "FrozenLake-v1", "--hosted", "--steps", "300", "--episodes", "2", "--seeds", "2"]
    code, out, err = cli(*call, "--folder", tmp_path / "hosted")
    assert code == 0 and "hosted" in err and "2 seeds × 2 episodes" in out
    assert [read_config(tmp_path / "hosted" / f"seed-{k}")["seeds"] for k in (0, 1)] == [[0], [1]]
    digests = {json.loads(cli("inspect", tmp_path / "hosted" / f"seed-{k}", "--json")[1])["digest"] for k in (0, 1)}
    assert len(digests) == 2
    for folder, seeds in (("native", 3), ("hosted", 2)):
        out = cli("evaluate", tmp_path / folder, "--json", "--episodes", "3")[1]
        assert json.loads(out)["seeds"] == seeds
    assert "different worlds" in cli("evaluate", tmp_path / "native", tmp_path / "hosted")[2]
    assert "holds 2 runs" in cli("inspect", tmp_path / "hosted")[2]
    assert cli("resume", tmp_path / "hosted")[2].count("nothing to do") == 2
    # The folder that holds them stands for all; seeds of one thing are one curve.
    code, out, _ = cli("report", tmp_path, "--x", "updates", "--out", tmp_path / "slides.pdf")
    assert code == 0 and out.strip() == str(tmp_path / "slides.pdf") and (tmp_path / "slides.pdf").exists()
    assert "--x" in cli("report", tmp_path, "--x", "days")[2]


def test_list_names_everything(cli):
    out = cli("list")[1]
    assert all(f"  {name}  " in out or f"  {name} " in out for name in ("q_learning", "ppo", "gru", *WORLDS))
    assert "RL Baselines3 Zoo" in out and cli("list", "networks")[1].startswith("networks")


# Bad days of the disk


def test_a_disk_that_fills_up_is_one_line_and_the_run_goes_on_from_its_last_checkpoint(cli, tmp_path, monkeypatch):
    folder, rename, calls = tmp_path / "run", os.rename, iter(range(100))

    def full(*arguments, **options):
        if next(calls) >= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        code, _, err = cli(*TRAIN, "--every", "1000", "--folder", folder)
        assert code == 2 and "No space left on device" in err.splitlines()[-1] and "Traceback" not in err
    kept = json.loads(cli("inspect", folder, "--json")[1])
    assert 0 < kept["step"] < STEPS
    assert cli("resume", folder)[0] == 0
    whole = tmp_path / "whole"
    assert cli(*TRAIN, "--every", "1000", "--folder", whole)[0] == 0
    digests = [json.loads(cli("inspect", path, "--json")[1])["digest"] for path in (folder, whole)]
    assert digests[0] == digests[1]


def test_a_file_that_cannot_grow_is_one_line(cli, tmp_path, finished):
    """The kernel's own limit on file sizes stands for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        code, _, err = cli(*TRAIN, "--folder", tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2 and "File too large" in err.splitlines()[-1] and "Traceback" not in err


def test_a_folder_that_cannot_be_written_is_one_line(cli, tmp_path, monkeypatch):
    """As root may write anywhere, the system's refusal is played."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refuse)
        code, _, err = cli(*TRAIN, "--folder", tmp_path / "run")
    assert code == 2 and "Read-only file system" in err.splitlines()[-1] and "Traceback" not in err
    assert not (tmp_path / "run").exists()


# Against the optimum


def test_regret_is_exact_by_hand():
    """A table that prefers `facebook` in C1 for ever loses all of C1's value and the distraction's."""
    model = student()
    best = bellman.solve(model, 0.9)
    algorithm = QLearning()
    learner = train(algorithm, "student", 10).learners[0]

    def policy(choices):
        q = np.zeros((model.num_states, model.num_actions), np.float32)
        for state, action in choices.items():
            q[model.state(state), model.action_names.index(action)] = 1
        return algorithm.policy(eqx.tree_at(lambda x: x.network.tables["q"], learner, jnp.asarray(q)))

    loop = policy({"C1": "facebook", "Facebook": "facebook", "C2": "study", "C3": "study"})
    good = policy({"C1": "study", "C2": "study", "C3": "study", "Facebook": "facebook"})
    found = regret([loop, good], best)
    # −1 now and −1 for ever after: −1 / (1 − .9) = −10.
    np.testing.assert_allclose(found.values, [-10, best.start_value])
    np.testing.assert_allclose(found.regrets, [best.start_value + 10, 0], atol=1e-12)
    anything = EpsilonGreedyPolicy(loop.network, jnp.float32(1))
    expected = bellman.evaluate(model, bellman.uniform, 0.9).start_value
    np.testing.assert_allclose(regret([anything], best, greedy=False).values, [expected], rtol=1e-6)


def test_a_policy_that_does_not_see_the_models_states_is_compared_by_its_returns(cli, tmp_path):
    assert (
        cli("train", "q_learning", "tokens", "--steps", "500", "--episodes", "0", "--folder", tmp_path / "run")[0] == 0
    )
    found = json.loads(cli("evaluate", tmp_path / "run", "--episodes", "5", "--json")[1])
    assert not found["regret"]["exact"] and found["regret"]["optimum"] == pytest.approx(5 * 0.9 - 0.1)
    assert found["regret"]["mean"] == pytest.approx(found["regret"]["optimum"] - found["mean"])
    assert "estimated regret" in cli("evaluate", tmp_path / "run", "--episodes", "5")[1]


def test_entered_states_are_those_a_policy_acts_in():
    model = student()
    study = np.array([model.action_names[a] == "study" for a in model.action], float)
    assert {model.state_names[s] for s in np.flatnonzero(entered(model, study))} == {"C1", "C2", "C3"}


# Bad days


def newest(folder):
    return folder / "checkpoints" / str(checkpoint.steps(folder)[0]) / "state.safetensors"


def truncate(file):
    file.write_bytes(file.read_bytes()[:-7])


def flip(file):
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 1
    file.write_bytes(raw)


def pickle(file):
    file.write_bytes(b"\x80\x04\x95cos\nsystem\n")


@pytest.mark.parametrize("damage", [truncate, flip, pickle])
def test_a_damaged_checkpoint_is_named_and_the_last_good_one_resumes(cli, run, damage):
    whole = json.loads(cli("inspect", run, "--json")[1])
    damage(newest(run))
    code, out, err = cli("inspect", run, "--json")
    assert code == 0 and "damaged" in err and json.loads(out)["step"] < STEPS
    code, _, err = cli("resume", run, "--episodes", "0")
    assert code == 0 and "damaged checkpoint was passed over" in err
    assert json.loads(cli("inspect", run, "--json")[1])["digest"] == whole["digest"]


@pytest.mark.parametrize("damage", [truncate, flip, pickle])
def test_without_a_whole_checkpoint_nothing_goes_on_but_the_policy_is_there(cli, run, damage):
    for step in checkpoint.steps(run):
        damage(run / "checkpoints" / str(step) / "state.safetensors")
    for command in ("inspect", "resume"):
        code, _, err = cli(command, run)
        assert code == 2 and re.search("damaged|pickle", one_line(err))
    assert cli("evaluate", run, "--episodes", "2")[0] == 0


def test_damaged_settings_exit_2(cli, run):
    (run / "config.json").write_text("{")
    assert cli("resume", run)[0] == 2 and "damaged" in one_line(cli("inspect", run)[2])
    for value in ([], {"steps": "many"}):
        (run / "config.json").write_text(json.dumps(value))
        for command in ("resume", "inspect", "evaluate"):
            code, _, err = cli(command, run)
            assert code == 2 and "'algorithm' is missing" in one_line(err)


def test_a_folder_that_cannot_be_used(cli, run, tmp_path):
    assert "holds a run already" in cli(*TRAIN, "--folder", run)[2]
    (tmp_path / "file").write_text("")
    code, _, err = cli(*TRAIN, "--folder", tmp_path / "file" / "run")
    assert code == 2 and "cannot be made" in err
    if os.geteuid():  # root writes everywhere
        (tmp_path / "shut").mkdir(mode=0o500)
        code, _, err = cli(*TRAIN, "--folder", tmp_path / "shut" / "run")
        assert code == 2 and "cannot be made" in err


def test_an_interrupted_call_for_several_hosted_seeds_is_resumed_whole(cli, tmp_path, monkeypatch):
    calls = []

    def interrupted(training, title, episodes):
        calls.append(title)
        if len(calls) == 2:
            raise Interrupted("stopped", signal.SIGINT)
        return complete(training, title, episodes)

    folder = tmp_path / "run"
    call = ["train", "q_learning", "FrozenLake-v1", "--hosted", "--steps", "50", "--episodes", "0", "--seeds", "3"]
    with monkeypatch.context() as patch:
        patch.setattr("retorno.cli.runs.complete", interrupted)
        code, _, err = cli(*call, "--folder", folder)
    assert code == 130 and f"with all seeds: retorno resume {folder}" in err
    steps = lambda: [json.loads(cli("inspect", folder / f"seed-{k}", "--json")[1])["step"] for k in range(3)]  # noqa: E731
    assert steps() == [50, 0, 0]
    assert cli("resume", folder, "--episodes", "0")[0] == 0 and steps() == [50, 50, 50]

    def failing(training, title, episodes):
        if training.seeds == (0,):
            raise WorldError("the camera is unplugged")
        return complete(training, title, episodes)

    with monkeypatch.context() as patch:  # The others are trained all the same.
        patch.setattr("retorno.cli.runs.complete", failing)
        code, _, err = cli("resume", folder, "--episodes", "0", "--steps", "90")
    assert (
        code == 2
        and "camera is unplugged" in err
        and "of 3 runs 1 failed (seed-0), whose last checkpoints stand" in err
    )
    assert steps() == [50, 90, 90]


def test_an_environment_that_raises_is_named(cli, tmp_path):
    class Raises(gymnasium.Env):
        observation_space = action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return 0, {}

        def step(self, action):
            raise ZeroDivisionError("the world has ended")

    gymnasium.register("Raises-v0", Raises)
    try:
        code, _, err = cli("train", "q_learning", "Raises-v0", "--folder", tmp_path / "run")
    finally:
        del gymnasium.registry["Raises-v0"]
    assert code == 2 and "ZeroDivisionError: the world has ended" in err and "Traceback" not in err


def test_not_a_number_stops_the_run(cli, tmp_path):
    features = ["--network", "features", "--network.rows", *["1,1"] * 5]
    code, _, err = cli(*TRAIN, *features, "--step-size", "1e38", "--folder", tmp_path / "run")
    assert code == 2 and "NaN or infinity" in err and "Traceback" not in err
    assert "NaN or infinity" in read_metrics(tmp_path / "run")[-1]["failure"]  # So that a report says why it stopped.
    code, _, err = cli(*TRAIN, "--step-size", "1.5", "--folder", tmp_path / "other")
    assert code == 2 and "overshoots" in one_line(err)


def test_what_does_not_fit_the_memory_is_no_defect(cli, monkeypatch):
    class JaxRuntimeError(RuntimeError):
        """As jax.errors has it, which cannot be raised here without allocating so much."""

    def starved(arguments):
        raise JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 63504028224 bytes.")

    monkeypatch.setattr("retorno.cli.list.run", starved)
    code, _, err = cli("list")
    assert code == 2 and "63.5 GB" in err and "--capacity" in err


def test_a_defect_leaves_its_traceback_in_a_file(cli, monkeypatch):
    def broken(*_):
        raise TypeError("no such thing")

    monkeypatch.setattr("retorno.cli.list.run", broken)
    code, _, err = cli("list")
    file = Path(re.search(r"traceback in (\S+)", one_line(err))[1])
    assert code == 1 and "no such thing" in file.read_text()
    file.unlink()


def test_an_error_from_elsewhere_is_not_blamed_on_the_user(cli, monkeypatch):
    monkeypatch.setattr("retorno.cli.list.run", lambda _: np.zeros(2).reshape(3))
    code, _, err = cli("list")
    assert code == 1 and "a defect" in err
    Path(re.search(r"traceback in (\S+)", err)[1]).unlink()


def test_a_reader_that_goes_away_is_no_error():
    with spawn("list") as child:
        child.stdout.close()
        told = [line for line in child.stderr.read().splitlines() if "…" not in line]  # What is waited for.
        assert not told and child.wait(60) == 141


def test_signals_save_and_say_how_to_go_on_and_a_folder_has_one_writer(cli, tmp_path):
    """Real processes: SIGINT and SIGTERM while training, and a second process on the same folder."""
    cases = {signal.SIGINT: 130, signal.SIGTERM: 143}
    endless = ["train", "q_learning", "student", "--steps", 2_000_000_000, "--every", 1_000_000]
    children = {number: spawn(*endless, "--folder", tmp_path / number.name) for number in cases}
    for number, child in children.items():
        folder = tmp_path / number.name
        wait_for(lambda folder=folder: (folder / "metrics.jsonl").exists(), child)
        if number == signal.SIGINT:
            for command in (["resume", folder], [*TRAIN, "--folder", folder]):
                code, _, err = cli(*command)
                assert code == 2 and f"in use by process {child.pid}" in err
        child.send_signal(number)
    for number, child in children.items():
        out, err = child.communicate(timeout=60)
        last = one_line(err.splitlines(keepends=True)[-1])
        assert child.returncode == cases[number] and out == ""
        assert number.name in last and f"retorno resume {tmp_path / number.name}" in last
        found = json.loads(cli("inspect", tmp_path / number.name, "--json")[1])
        assert 0 < found["step"] < found["budget"] and found["digest"]


@pytest.mark.slow
def test_the_demo_keeps_its_promises(cli, tmp_path):
    code, out, err = cli("demo", "--folder", tmp_path / "demo")
    assert code == 0, err
    assert "30 of 30 seeds found a policy that is exactly optimal" in out
    assert "equal to the last bit" in out and len(set(re.findall(r"[0-9a-f]{64}", out))) == 1
    page = (tmp_path / "demo" / "index.html").read_text()
    assert "equal to the last bit" in page and page.count("<svg") == 4 and "<script" not in page
    assert {f.name for f in (tmp_path / "demo").glob("*.png")} == {
        "lake.png", "lake-learnt.png", "cartpole.png", "student.png"
    }  # fmt: skip


def test_usage_errors_keep_their_gist():
    @dataclasses.dataclass(frozen=True)
    class Options:
        """Some."""

        count: int = 1
        """How many."""

    assert parse(Options, ["--count", "3"], "retorno solve") == Options(3)
    with pytest.raises(UsageError, match=r"--count: expected a whole number, got .x. .see retorno solve --help"):
        parse(Options, ["--count", "x"], "retorno solve")
    with pytest.raises(UsageError, match="one argument too many"):
        parse(Options, ["x"], "retorno solve")


def test_prediction_shows_its_values_and_what_it_could_not_learn(cli, tmp_path):
    """A corridor of 40 steps, of which 16 are held: the first states are never learnt, and the run says so."""
    save(mdp({i: {"on": [(1.0, i + 1, -1.0)]} for i in range(40)}, initial=0), tmp_path / "corridor.json")
    call = ["train", "monte_carlo_prediction", tmp_path / "corridor.json", "--discount", "1", "--steps", "800"]
    short = ["--longest-episode", "16", "--rollout", "8", "--episodes", "2", "--folder", tmp_path / "run"]
    code, out, err = cli(*call, *short)
    assert code == 0 and "lies more than 16 steps before the end of its episode, and no return was learnt" in err
    assert "the start is worth -40.000000, learnt 0.000000, at γ = 1" in out and "regret" not in out
    assert out.splitlines()[2].split() == ["0", "0.000000", "-40.000000", "40.000000"]
    told = json.loads(cli("evaluate", tmp_path / "run", "--episodes", "2", "--json")[1])
    assert told["mean"] == -40 and told["prediction"]["exact"]["39"] == -1 == told["prediction"]["learnt"]["39"]
    assert "and 20 more states that are nearer" in cli("evaluate", tmp_path / "run", "--episodes", "2")[1]


def test_exploring_starts_say_where_episodes_begin():
    assert "but in 1 of 37 states only" in few_starts(model("cliff"))
    assert few_starts(None) == few_starts(model("example_4_1")) == ""


def test_a_policy_acts_in_another_world_with_the_same_spaces(cli, finished, tmp_path):
    """A file of a model with as many states, and one with other actions."""
    other, strange = tmp_path / "other.yaml", tmp_path / "strange.yaml"
    save(student(), other)
    save(mdp({"a": {"go": [(1.0, "end", -7.0)]}}, initial="a"), strange)
    code, out, err = cli("evaluate", finished, "--world", other, "--episodes", "20", "--json")
    own = cli("evaluate", finished, "--episodes", "20", "--json")[1]
    assert (code, err) == (0, "") and json.loads(out)["returns"] == json.loads(own)["returns"]
    code, out, err = cli("evaluate", finished, "--world.max_episode_steps", "1", "--episodes", "20", "--json")
    assert code == 0 and json.loads(out)["mean_length"] == 1
    for command in ("evaluate", "play"):
        code, _, err = cli(command, finished, "--world", strange)
        assert code == 2 and "that this was learnt with are Discrete(5)" in one_line(err)
    assert "is a world" in cli("play", "CartPole-v1", "--world", "Acrobot-v1")[2]


def test_who_points_beside_a_run_is_told_where_it_is(cli, run, monkeypatch):
    """Into it, above it, at its file; and a home that the shell left standing is found."""
    monkeypatch.chdir(run.parent)
    for inside in ("checkpoints", "policy", "config.json", "checkpoints/17"):
        for command in ("resume", "evaluate", "inspect"):
            assert "lies in that of the run run: give that" in one_line(cli(command, f"run/{inside}")[2])
    assert "there are runs in it: give one, as run" in one_line(cli("evaluate", ".")[2])
    monkeypatch.setenv("HOME", str(run.parent))
    assert cli("inspect", "~/run")[0] == 0
    assert cli(*TRAIN[:3], "--steps", "10", "--episodes", "0", "--folder=~/home")[0] == 0 and Path("home").is_dir()
    Path("file").write_text("")
    assert "no folder" in one_line(cli(*TRAIN, "--folder", "file")[2])


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(cli, run):
    shutil.rmtree(run / "checkpoints")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    code, _, err = cli("resume", run)
    assert code == 2 and f"which was at step {STEPS:,}" in one_line(err) and "retorno.load(" in err
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    assert cli("evaluate", run, "--episodes", "2")[0] == 0


def test_a_run_is_copied_while_it_is_trained(cli, tmp_path):
    """What was half written is passed over, and the copy goes on to the same bits."""
    folder, copy = tmp_path / "run", tmp_path / "copy"
    with train(QLearning(), "student", 90, every=30, folder=folder) as training:
        for report in training:
            if report.step == 60:
                training.save()
                shutil.copytree(folder, copy)
                newest(copy).with_name("half").touch()
                shutil.copytree(copy / "checkpoints" / "60", copy / "checkpoints" / ".90.partial")
                with open(copy / "metrics.jsonl", "ab") as figures:
                    figures.write(b'{"step": 9')
        digest = training.digest
    assert cli("resume", copy, "--episodes", "0")[0] == 0
    assert json.loads(cli("inspect", copy, "--json")[1])["digest"] == digest


def test_a_player_is_a_run_at_one_of_its_steps_and_of_several_seeds_it_is_told_whose(tmp_path, capsys):
    folder = tmp_path / "run"
    with train(QLearning(), "student", steps=40, every=20, seed=(3, 4), folder=folder) as training:
        training.run_to_end(False)
    world = make("student")
    first, newest, best = (player_of(f"{folder}{which}", world) for which in ("@20", "", "@best"))
    told = capsys.readouterr().err
    assert told.count(f"{folder} has 2 seeds: what acts is seed 3's policy") == 3 and "the best policy of" in told
    tables = [np.asarray(jax.tree.leaves(each)[0]) for each in (load(folder, 20).policy, first, newest, best)]
    assert (tables[0] == tables[1]).all() and (tables[1] != tables[2]).any()
    with pytest.raises(PolicyError, match="step 30"):
        player_of(f"{folder}@30", world)
    with pytest.raises(UsageError, match="a number of steps or the word best, got 'worst'"):
        player_of(f"{folder}@worst", world)
