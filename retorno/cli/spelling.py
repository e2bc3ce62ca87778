"""What people type, and what it is called here: other libraries' names of options, American spelling, `--world.KEY`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from retorno.cli.options import UsageError

ALIASES: dict[str, tuple[str, ...]] = {
    "gamma": ("discount",),
    "discount_factor": ("discount",),
    "lr": ("learning_rate", "step_size"),
    "alpha": ("step_size", "learning_rate"),
    "learning_rate": ("step_size",),
    "step_size": ("learning_rate",),
    "lam": ("lambda_",),
    "gae_lambda": ("lambda_",),
    "eps_greedy": ("epsilon",),
    "total_timesteps": ("steps",),
    "timesteps": ("steps",),
    "total_steps": ("steps",),
    "num_steps": ("steps",),
    "max_steps": ("steps",),
    "n_envs": ("num_envs",),
    "envs": ("num_envs",),
    "nenvs": ("num_envs",),
    "n_seeds": ("seeds",),
    "num_seeds": ("seeds",),
    "random_seed": ("seed",),
    "n_steps": ("n", "rollout"),
    "rollout_length": ("rollout",),
    "n_epochs": ("epochs",),
    "update_epochs": ("epochs",),
    "num_minibatches": ("minibatches",),
    "n_minibatches": ("minibatches",),
    "clip_range": ("clip",),
    "clip_coef": ("clip",),
    "clip_epsilon": ("clip",),
    "ent_coef": ("entropy_coefficient",),
    "entropy_coef": ("entropy_coefficient",),
    "vf_coef": ("value_coefficient",),
    "value_coef": ("value_coefficient",),
    "max_grad_norm": ("max_gradient_norm",),
    "normalise_advantage": ("normalise_advantages",),
    "norm_obs": ("normalise_observations",),
    "norm_reward": ("normalise_rewards",),
    "buffer_size": ("capacity",),
    "replay_size": ("capacity",),
    "target_update_interval": ("target_period",),
    "target_network_frequency": ("target_period",),
    "exploration_final_eps": ("epsilon_end",),
    "exploration_initial_eps": ("epsilon",),
    "final_epsilon": ("epsilon_end", "end"),
    "net_arch": ("hidden",),
    "hidden_sizes": ("hidden",),
    "tau": ("temperature",),
    "n_planning": ("planning_steps",),
    "n_eval_episodes": ("episodes",),
    "eval_episodes": ("episodes",),
    "num_episodes": ("episodes",),
    "save_freq": ("every",),
    "out": ("folder",),
    "output": ("folder",),
    "logdir": ("folder",),
    "log_dir": ("folder",),
    "run_dir": ("folder",),
    "tb": ("tensorboard",),
    "processes": ("parallel",),
    "num_workers": ("parallel",),
}
"""Names that other libraries, books and papers have for an option, and which one is meant: the first that there is."""

WORLD = "world."
PLACES = {"algorithm": "algorithm", "algo": "algorithm", "world": "world", "env": "world", "env_id": "world"}
"""What stands in the first two places, where it is given as an option instead."""


def meant(name: str, known: Collection[str]) -> str:
    """The option that is meant by a name, of those that there are; the name itself where none is.

    Args:
        name: as typed, without its dashes, with `_` for `-`.
        known: the options that there are.

    >>> meant("gamma", {"discount"}), meant("normalize_rewards", {"normalise_rewards"}), meant("lr", {"step_size"})
    ('discount', 'normalise_rewards', 'step_size')
    """
    british = name.replace("ize", "ise").replace("behavior", "behaviour")
    for spelt in (name, british):
        for candidate in (spelt, f"{spelt}_", *ALIASES.get(spelt, ())):
            if candidate in known:
                return candidate
    negated = name.removeprefix("no_")
    return name if negated == name else f"no_{meant(negated, known)}"


def named(name: str, known: Iterable[str]) -> str:
    """A registered name in whatever case and with whatever dashes it was typed; itself where there is none.

    >>> named("PPO", ["ppo", "q_learning"]), named("Q-Learning", ["q_learning"]), named("QLearning", ["q_learning"])
    ('ppo', 'q_learning', 'q_learning')
    """
    plain = {_plain(each): each for each in known}
    return plain.get(_plain(name), name)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace("prioritized", "prioritised")


def without_places(arguments: list[str]) -> list[str]:
    """The same with the algorithm and the world in the first two places, where they are given as options.

    >>> without_places(["--env", "cliff", "--algo=ppo", "--steps", "9"])
    ['ppo', 'cliff', '--steps', '9']
    >>> without_places(["ppo", "--env", "cliff"])
    ['ppo', 'cliff']
    """
    found: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        place = PLACES.get(option.removeprefix("--").replace("-", "_")) if option.startswith("--") else None
        if place is None:
            rest.append(word)
        else:
            found[place] = value if equals else next(words, "")
    if not found:
        return arguments
    for place in ("algorithm", "world"):
        if place not in found and rest and not rest[0].startswith("-"):
            found[place] = rest.pop(0)
    return [found[place] for place in ("algorithm", "world") if place in found] + rest


def with_bare(arguments: list[str], spelled: dict[str, str]) -> list[str]:
    """Options that may stand without a value, with the value that this means.

    >>> with_bare(["--watch", "--steps", "9"], {"--watch": "live"})
    ['--watch', 'live', '--steps', '9']
    """
    whole: list[str] = []
    for place, argument in enumerate(arguments):
        whole.append(argument)
        ends = place + 1 == len(arguments) or _is_option(arguments[place + 1])
        if argument in spelled and ends:
            whole.append(spelled[argument])
    return whole


def world_settings(arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """What the world is to be made with, of `--world.KEY VALUE`, and the other arguments.

    A value is read as JSON where it is JSON: numbers, true, false, null, lists. Without a value it is true.

    Raises:
        UsageError: when a name is no name, or is given twice.

    >>> world_settings(["--world.is_slippery", "false", "--world.map-name=8x8", "--seed", "1"])
    ({'is_slippery': False, 'map_name': '8x8'}, ['--seed', '1'])
    """
    settings: dict[str, Any] = {}
    rest: list[str] = []
    place = 0
    while place < len(arguments):
        argument = arguments[place]
        place += 1
        negative = argument.startswith(f"--no-{WORLD}")
        if not negative and not argument.startswith(f"--{WORLD}"):
            rest.append(argument)
            continue
        option, equals, value = argument.partition("=")
        key = option.removeprefix("--no-" if negative else "--").removeprefix(WORLD).replace("-", "_")
        if not key.isidentifier() or key in settings:
            raise UsageError(f"{option}: expected --{WORLD}NAME VALUE, once for each name that the world is made with")
        if not equals and not negative and place < len(arguments) and not _is_option(arguments[place]):
            equals, value, place = "=", arguments[place], place + 1
        settings[key] = value_of(value) if equals else not negative
    return settings, rest


def value_of(text: str) -> Any:
    """JSON where it is JSON, Python's words for true, false and nothing too; else the text itself.

    >>> value_of("3"), value_of("[1, 2]"), value_of("True"), value_of("8x8")
    (3, [1, 2], True, '8x8')
    """
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return json.loads(text if not text.startswith(".") else f"0{text}")
    except ValueError:
        return text


def _is_option(word: str) -> bool:
    return word.startswith("-") and not word[1:2].isdigit() and word[1:2] != "."
