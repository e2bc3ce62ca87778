"""Worlds of one's own on the command line: from files and modules, with settings and wrappers; and runs of them."""

import json
import re
import runpy
import sys
from pathlib import Path

import gymnasium
import pytest

from retorno.cli.main import main
from retorno.cli.runs import next_steps
from retorno.cli.train import choose
from retorno.core.environment import Environment
from retorno.core.errors import WorldError
from retorno.environments import own_code
from retorno.environments.datasets import DATASET
from retorno.environments.hosted.gymnasium import gymnasium as hosted
from retorno.environments.own_code import OwnCodeError, run_file
from retorno.environments.registry import UnknownNameError, WorldName, as_world, make
from retorno.run.folder import read_config

SHOP = """\
import gymnasium as gym
from retorno.core.mdp import mdp
from retorno.environments import random_walk

class Shop(gym.Env):
    observation_space, action_space = gym.spaces.Discrete(5), gym.spaces.Discrete(2)

    def __init__(self, demand=2):
        self.demand = demand

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        print("the shop opens")
        self.stock, self.time = 0, 0
        return 0, {}

    def step(self, action):
        self.stock, self.time = min(4, self.stock + 2 * int(action)), self.time + 1
        sold = min(self.stock, int(self.np_random.integers(0, self.demand + 1)))
        self.stock -= sold
        return self.stock, sold - 0.5 * int(action), False, self.time >= 20, {}

def built(demand=1):
    return Shop(demand)

def walk(states=3):
    return random_walk(states)

class Half(gym.RewardWrapper):
    def __init__(self, env, share=0.5):
        super().__init__(env)
        self.share = share

    def reward(self, reward):
        return self.share * reward

table = {"a": {"go": [(1.0, "end", 2.0)]}}
number = 3
gym.register("OwnShop-v0", Shop)
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with shop.py in it, to stand in; what was named in other tests is forgotten, and this after it."""
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("shop", None)
    monkeypatch.setattr(own_code, "_modules", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "shop.py").write_text(SHOP)
    yield tmp_path
    sys.modules.pop("shop", None)
    gymnasium.registry.pop("OwnShop-v0", None)


def spaces_of(world):
    return int(world.observation_space.n), int(world.action_space.n)


@pytest.mark.parametrize(
    ("name", "spaces"),
    [
        ("shop.py:Shop", (5, 2)),
        ("shop:Shop", (5, 2)),
        ("shop:built", (5, 2)),
        ("shop.py:OwnShop-v0", (5, 2)),
        ("shop:OwnShop-v0", (5, 2)),
        ("shop.py:walk", (5, 2)),
        ("shop.py:table", (2, 1)),
        ("gymnasium.envs.toy_text:FrozenLakeEnv", (16, 4)),
        ("gymnasium:FrozenLake-v1", (16, 4)),
    ],
)
def test_classes_functions_models_and_ids_of_ones_own(shop, name, spaces):
    assert spaces_of(make(name)) == spaces
    assert isinstance(make(name), Environment) == (name in ("shop.py:walk", "shop.py:table"))


def test_what_worlds_are_made_with(shop):
    assert make("shop:Shop", demand=3).kwargs == {"demand": 3}
    assert spaces_of(make("shop:walk", states=7)) == spaces_of(make("random_walk", states=7)) == (9, 2)
    assert spaces_of(make("FrozenLake-v1", map_name="8x8"))[0] == 64
    # What the native world cannot be made with makes it Gymnasium's.
    assert not isinstance(make("CartPole-v1", sutton_barto_reward=True), Environment)
    assert isinstance(make("CartPole-v1", max_episode_steps=9), Environment)
    halved = make("shop:Shop", wrappers=["TimeLimit(3)", "shop.py:Half(share=0.25)"], parallel=2)
    assert halved.parallel == 2
    env = halved._makers(1)[0]()
    env.reset(seed=0)
    rows = [env.step(1) for _ in range(3)]
    assert [row[3] for row in rows] == [False, False, True]
    assert all((4 * row[1]) % 0.5 == 0 and 4 * row[1] >= -0.5 for row in rows)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: make("shop.py:Shp"), "defines no 'Shp'; did you mean Shop"),
        (lambda: make("shop:number"), "is no world: pass a name"),
        (lambda: make("shp:Shop"), "needs the module shp, which is not found"),
        (lambda: make("shop:Shop", demnd=3), "could not be made with demnd=3"),
        (lambda: make("shop:walk", size=3), "walk cannot be called with size=3"),
        (lambda: make("shop:table", size=3), "takes no settings, got size=3"),
        (lambda: make("cliff", size=3), "takes no 'size'; it takes max_episode_steps"),
        (lambda: make("random_walk", stats=3), "did you mean states"),
        (lambda: make("cliff", wrappers=["TimeLimit(3)"]), "takes no 'wrappers'"),
        (lambda: make("shop:Shop", wrappers=["TimeLmit"]), "no 'TimeLmit'; did you mean TimeLimit"),
        (lambda: make("shop:Shop", wrappers=["TimeLimit(3"]), "cannot be read"),
        (lambda: make("shop:Shop", wrappers=[3]), "a wrapper is a function"),
    ],
)
def test_one_line_says_what_is_wrong(shop, call, told):
    with pytest.raises((OwnCodeError, WorldError, UnknownNameError, ValueError), match=told):
        call().observation_space  # noqa: B018


def test_no_wrapper_is_run_because_a_run_names_it(shop):
    """Beside a world of Gymnasium's as well."""
    named = WorldName("CartPole-v1", True, wrappers=("shop.py:Half()",)).as_json()
    assert named["wrappers"] == [f"{shop}/shop.py:Half()"]
    with pytest.raises(OwnCodeError, match=r"this run's wrapper is Half in .*shop.py, and no file is run because"):
        WorldName.recorded(named)
    assert "shop" not in sys.modules
    run_file("shop.py")
    assert WorldName.recorded(named).wrappers == (f"{shop}/shop.py:Half()",)


@pytest.mark.parametrize(
    "world",
    [
        {"name": "os:mkdir", "settings": {"path": "made"}},
        {"name": "retorno.environments.own_code:run_file", "settings": {"file": "shop.py"}},
        {"name": DATASET, "settings": {"source": "data.npz", "world": "os:getpid"}},
        {"name": "CartPole-v1", "wrappers": ["os:mkdir('made')"]},
        {"name": "CartPole-v1", "wrappers": ["./shop.py:Half()"]},
    ],
)
def test_no_function_is_called_because_a_run_names_it(shop, monkeypatch, world):
    """Of modules that are installed as little as of files: some do whatever they are told."""
    monkeypatch.setattr(own_code, "_asked_for", {})
    with pytest.raises(OwnCodeError, match=r"because a run's folder names it: name it yourself before the command"):
        WorldName.recorded(world).make()
    assert "shop" not in sys.modules and not Path("made").exists()
    # Classes of worlds are no functions, and what was asked for here is known.
    for name in ("gymnasium.envs.toy_text:FrozenLakeEnv", "retorno.environments.text.recall:Recall"):
        assert WorldName.recorded({"name": name}).name == name
    with pytest.raises(ValueError, match="is no world"):
        make("os:getpid")
    assert WorldName.recorded({"name": "os:getpid"}).name == "os:getpid" and own_code.named_functions() == ["os:getpid"]


def test_a_file_that_is_called_as_a_module(shop):
    (shop / "json.py").write_text("x = 1\n")
    with pytest.raises(OwnCodeError, match="called as the module 'json', which is in use: rename"):
        make("json.py:x")
    (shop / "shop.py").write_text(SHOP.replace("number = 3", "1 / 0"))
    with pytest.raises(OwnCodeError, match=r"shop.py, line \d+: ZeroDivisionError"):
        make("shop.py:Shop")
    assert "shop" not in sys.modules
    (shop / "shop.py").write_text(SHOP)  # Mended, it is read anew.
    assert spaces_of(make("shop.py:Shop")) == (5, 2)


def test_a_run_in_a_world_of_ones_own(shop, cli, monkeypatch):
    line = ["train", "Q-Learning", "shop:Shop", "--steps", "40", "--episodes", "0", "--folder", "run"]
    code, _, err = cli(*line, "--world.demand", "3", "--wrappers", "TimeLimit(7)", "shop:Half(share=1)", "--alpha=.2")
    assert code == 0 and "q_learning on shop:Shop with demand 3" in err and "--step-size 0.2" in err, err
    assert err.splitlines()[-1].startswith("next: retorno shop.py evaluate run · retorno shop.py play run")
    assert "retorno shop.py play 'my run' · " in next_steps((shop / "run").rename(Path("my run")))
    Path("my run").rename("run")
    assert read_config(shop / "run")["world"] == {
        "name": f"{shop}/shop.py:Shop",
        "hosted": None,
        "wrappers": ["TimeLimit(7)", f"{shop}/shop.py:Half(share=1)"],
        "settings": {"demand": 3},
    }
    # Another process, in another folder: no file is run because a run's folder names it.
    (shop / "elsewhere").mkdir()
    monkeypatch.chdir(shop / "elsewhere")
    own_code._modules.clear()
    del sys.modules["shop"], gymnasium.registry["OwnShop-v0"]
    code, out, err = cli("evaluate", "../run", "--episodes", "2")
    assert (code, out) == (2, "") and "`retorno shop.py COMMAND …`" in err
    assert "shop" not in sys.modules
    # Moved, and named: what it prints does not stand in the JSON.
    (shop / "shop.py").rename(shop / "elsewhere" / "shop.py")
    code, out, err = cli("shop.py", "evaluate", "../run", "--episodes", "2", "--json")
    assert code == 0, err
    assert json.loads(out)["mean_length"] == 7 and "the shop opens" in err and out.count("\n") == 1
    assert cli("resume", "../run", "--steps", "41", "--episodes", "0")[0] == 0


def test_a_run_made_in_python_with_an_id_is_one_of_the_command_line():
    world = hosted("CartPole-v1", num_envs=2, wrappers=["TimeLimit(9)"], sutton_barto_reward=True)
    name = WorldName.of(world)
    assert name is not None and WorldName.recorded(json.loads(json.dumps(name.as_json()))).make() == world
    assert WorldName.of(hosted(lambda: gymnasium.make("CartPole-v1"))) is None
    assert WorldName.of(hosted("CartPole-v1", render_mode=None, something=object())) is None


def test_models_of_named_worlds(shop):
    assert WorldName("random_walk", settings={"states": 7}).model().num_states == 9
    assert WorldName("shop:walk", settings={"states": 4}).model().num_states == 6
    assert WorldName("shop:table").model().num_states == 2
    for other in (WorldName("shop:Shop"), WorldName("CartPole-v1"), WorldName("cliff", wrappers=("TimeLimit(3)",))):
        assert other.model() is None


def test_whatever_plainly_means_a_world_is_one(shop):
    from retorno.environments import Recall, cliff, student

    assert all(isinstance(as_world(given), Environment) for given in (student(), cliff, Recall, Recall(), "student"))
    env = gymnasium.make("FrozenLake-v1")
    assert all(spaces_of(as_world(given)) == (16, 4) for given in (env, env.spec, type(env.unwrapped)))
    for given in (3, None, lambda: None, lambda: lambda: None):
        with pytest.raises(ValueError, match=r"is no world|gives another function"):
            as_world(given)


# Names that people type


@pytest.mark.parametrize(
    "line",
    [
        "--gamma .9 --lr 1e-3 --n-envs 4 --gae-lambda .8 --clip-range=.1 --n-epochs 2",
        "--discount .9 --learning_rate 1e-3 --num_envs 4 --lambda .8 --clip .1 --epochs 2",
    ],
)
def test_names_of_other_libraries(line):
    made = choose("ppo", None, line.split())[1]
    assert (made.discount, made.optimiser.learning_rate, made.num_envs) == (0.9, 1e-3, 4)
    assert (made.lambda_, made.clip, made.epochs) == (0.8, 0.1, 2)


def test_names_of_books_and_of_america():
    made = choose("q_learning", None, "--alpha .3 --epsilon .05 --gamma 1".split())[1]
    assert (made.step_size, made.exploration.epsilon, made.discount) == (0.3, 0.05, 1)
    made = choose("ppo", None, "--optimizer sgd --no-normalize-advantages --normalize-rewards --lr .1".split())[1]
    assert (made.normalise_advantages, made.normalise_rewards, made.optimiser.learning_rate) == (False, True, 0.1)
    assert choose("dqn", None, "--buffer-size 1e4 --exploration-final-eps .1".split())[1].capacity == 10_000
    sac = choose("sac", None, "--tau .01 --policy-delay 2 --use-sde".split())[1]
    assert (sac.target_step, sac.temperature, sac.actor_period, sac.state_dependent) == (0.01, 1.0, 2, True)
    assert choose("ppo", None, "--total-timesteps 1e5 --num-seeds 3 --out x --parallel 2".split())[0].steps == 100_000


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("train --algo ppo --env CartPol-v1", "did you mean CartPole-v1"),
        ("train PPO CartPole-v1 --steps 1.5", "expected a whole number, got '1.5'"),
        ("train PPO CartPole-v1 --network.hidden 64 x", "--network.hidden: expected a whole number, got 'x'"),
        ("train sac Pendulum-v1 --alpha .2", "no option --alpha; there is --temperature: what entropy is worth"),
        ("train ppo CartPole-v1 --batch-size 64", "no option --batch-size; there is --minibatches: into how many"),
        ("train ppo CartPole-v1 --seed -1", "seeds lie from 0"),
        ("train ppo CartPole-v1 --every 0", "--every is a number of environment steps"),
        ("train ppo CartPole-v1 --fused --parallel", "leave --fused out"),
        ("train ppo CartPole-v1 --parallel -2", "--parallel is a number of processes"),
        ("train ppo CartPole-v1 --world.x=1 --world.x 2", "once for each name"),
        ("train ppo CartPole-v1 --normalise-obs", "did you mean --normalise-observations"),
        ("train q_learning cliff --seeds 1e9", "from 1 to 100,000 seeds in one call"),
        ("train q_learning cliff --episodes -1", "--episodes is a number of episodes"),
        ("solve student --sweeps -3", "sweeps to stop after are 0 or more, got -3"),
        ("solve student --seconds -1", "seconds to stop after are 0 or more, got -1"),
        ("list --jsn", "no option --jsn"),
        ("solve CartPole-v1", "CartPole-v1 has no exact model"),
        ("solve LunarLander-v3", "LunarLander-v3 has no exact model"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_told(cli, tmp_path, monkeypatch, line, told):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*line.split())
    assert (code, out) == (2, "") and told in err and err.count("\n") == 1, err
    assert not (tmp_path / "runs").exists()


def test_a_class_that_is_named_without_its_file_is_offered_with_it(cli, shop):
    code, out, err = cli("shop.py", "train", "ppo", "Shop")
    assert (code, out) == (2, "") and err.endswith("did you mean shop.py:Shop?\n"), err


def test_what_cannot_be_is_refused_before_anything_is_told(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in ("train ppo CartPole-v1 --minibatches 7", "train dqn Pendulum-v1", "train uct recall"):
        code, _, err = cli(*line.split())
        assert code == 2 and err.count("\n") == 1 and not (tmp_path / "runs").exists(), err


def test_the_help_stands_in_groups(cli):
    told = cli("train", "ppo", "CartPole-v1", "--help")[1]
    titles = [line for line in told.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == [
        "run:",
        "ending before the budget:",
        "another run:",
        "world:",
        "algorithm:",
        "options:",
        "network options:",
        "optimiser options:",
    ]
    sections = dict(zip(titles, re.split(r"^\S.*:$", told, flags=re.M)[1:], strict=True))
    assert "--steps INT" in sections["run:"] and "--wrappers TEXT …" in sections["world:"]
    assert "--patience INT" in sections["ending before the budget:"]
    assert "--from PATH" in sections["another run:"]
    assert "--lambda FLOAT" in sections["algorithm:"] and "--network.hidden INT …" in sections["network options:"]
    assert "(default: none)" in told and "{None}" not in told and "(default: )" not in told and "----" not in told


def test_the_module_is_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["retorno", "--version"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("retorno", run_name="__main__")
    assert stop.value.code == 0 and capsys.readouterr().out.startswith("retorno ")
    assert main(["--version"]) == 0


GAME = """\
import jax.numpy as jnp
from retorno.environments import Game, Moved

class Broken(Game):
    board = (1, 3)

    def start(self, key):
        return jnp.zeros((1, 3), jnp.int8)

    def legal(self, position):
        return position[0] == 0

    def move(self, position, action, key):
        return Moved(taken(position), over=True)

class Hiding(Broken):
    def show(self, position):
        return position[:, ::-1]
"""


def test_a_game_that_fails_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What goes wrong in a file of the user's is no defect of ours; nor is what its class leaves out."""
    file = tmp_path / "broken_game.py"
    file.write_text(GAME)
    for name, why in (
        ("Broken", "broken_game.py, line 14, in move: NameError: name 'taken' is not defined; the traceback is in"),
        ("Hiding", "where it has a `show`, it needs `recall`, which undoes that"),
    ):
        assert main(["solve", f"{file}:{name}"]) == 2
        assert why in " ".join(capsys.readouterr().err.split())
