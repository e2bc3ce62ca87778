"""Names that people type: what they may have meant, and what other libraries, books and papers call a thing."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import shlex
from collections.abc import Callable, Collection, Iterable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

ALIASES: dict[str, tuple[str, ...]] = {
    "gamma": ("discount",),
    "discount_factor": ("discount",),
    "lr": ("learning_rate", "step_size"),
    "alpha": ("step_size",),
    "learning_rate": ("step_size",),
    "step_size": ("learning_rate",),
    "lam": ("lambda_",),
    "gae_lambda": ("lambda_",),
    "eps_greedy": ("epsilon",),
    "total_timesteps": ("steps",),
    "timesteps": ("steps",),
    "total_steps": ("steps",),
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
    "tau": ("target_step", "temperature"),
    "policy_delay": ("actor_period",),
    "policy_freq": ("actor_period",),
    "policy_frequency": ("actor_period",),
    "policy_noise": ("target_noise",),
    "target_policy_noise": ("target_noise",),
    "noise_clip": ("target_noise_clip",),
    "action_noise": ("noise",),
    "exploration_noise": ("noise",),
    "use_sde": ("state_dependent",),
    "log_std_init": ("initial_log_std",),
    "clip_range_vf": ("value_clip",),
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
    "algo": ("algorithm",),
    "game": ("world",),
    "env": ("world",),
    "env_id": ("world",),
    "num_workers": ("parallel",),
    "frameskip": ("frame_skip",),
    "repeat_action_probability": ("sticky",),
    "full_action_space": ("full_actions",),
}
"""Names that other libraries, books and papers have for an option, and which one is meant: the first that there is."""

NEARLY: dict[str, tuple[tuple[str, str], ...]] = {
    "alpha": (("temperature", "what entropy is worth"), ("learning_rate", "how far a gradient goes")),
    "ent_coef": (("temperature", "what entropy is worth, learnt where `automatic` is on"),),
    "batch_size": (("minibatches", "into how many parts what was lived is cut"),),
    "minibatch_size": (("minibatches", "into how many parts what was lived is cut"),),
    "train_freq": (("rollout", "steps of each environment from one update to the next, which takes `gradient_steps`"),),
    "num_steps": (("rollout", "steps of each environment from one update to the next; `steps` is the whole budget"),),
    "anneal_lr": (("schedule", "of the learning rate, for instance linear"),),
    "lr_schedule": (("schedule", "of the learning rate, for instance linear"),),
    "actor_lr": (("learning_rate", "the actor's; the critics' is that of their own optimiser"),),
    "policy_lr": (("learning_rate", "the actor's; the critics' is that of their own optimiser"),),
    "critic_lr": (("critic_optimiser", "with a learning rate of its own"),),
    "q_lr": (("critic_optimiser", "with a learning rate of its own"),),
    "polyak": (("target_step", "1 − polyak"),),
    "use_sde": (("box", "state_dependent for noise that is a function of the state"),),
    "device": (("", "JAX takes the first accelerator that it finds; JAX_PLATFORMS=cpu keeps to the processor"),),
    "verbose": (("", "what a run does is told as it goes; 2> /dev/null is silence"),),
    "progress_bar": (("", "what a run does is told as it goes; 2> /dev/null is silence"),),
}
"""Names whose like is said otherwise here: what there is, where there is, and what it says; the value differs."""

LONGEST, MOST = 80, 10_000
"""How much of a name, and of how many names, is compared: an error message may not take seconds."""


def near(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """The names that look like `name` in any case of letters, the likest first; where none does, those that begin so.

    >>> near("sarsa_lamda", ["sarsa", "sarsa_lambda", "ppo"], most=1), near("verbose", ["over"])
    (['sarsa_lambda'], [])
    >>> near("clip", ["clip_rewards", "scale"])
    ['clip_rewards']
    >>> near("C9", ["C1", "C2", "Pub"])
    ['C2', 'C1']
    """
    lower = {known.lower(): known for known in list(names)[:MOST]}
    asked = name.lower()[:LONGEST]
    # Of two letters one may be another.
    alike = difflib.get_close_matches(asked, lower, most, 0.5 if len(asked) < 4 else 0.6)
    return [lower[each] for each in alike or [each for each in lower if each.startswith(asked)][:most]]


def did_you_mean(name: str, names: Iterable[str], before: str = "") -> str:
    """'; did you mean …?', the end of a message about an unknown name; empty where none looks like it.

    Args:
        name: that is unknown.
        names: that are known.
        before: each that is offered, as the dashes of an option.

    >>> did_you_mean("PPO2", ["ppo", "dqn"])
    '; did you mean ppo?'
    >>> did_you_mean("polyak", ["target-step"], "--")
    '; there is --target-step: 1 − polyak'
    """
    names = list(names)
    for like, said in NEARLY.get(name.replace("-", "_"), ()):
        if not like:
            return f"; {said}"
        for each in names:
            if each.replace("-", "_").rpartition(".")[2] == like:
                return f"; there is {before}{each}: {said}"
    close = [f"{before}{each}" for each in near(name, names)]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def meant(name: str, known: Collection[str]) -> str:
    """The option that is meant by a name, of those that there are; the name itself where none is.

    Args:
        name: as typed, without its dashes, with `_` for `-`.
        known: the options that there are.

    >>> meant("gamma", {"discount"}), meant("normalize_rewards", {"normalise_rewards"}), meant("lr", {"step_size"})
    ('discount', 'normalise_rewards', 'step_size')
    >>> meant("game", {"games", "world"})
    'world'
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


def says_what_is_meant(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, which says how an argument is called here that it does not have.

    >>> solve = says_what_is_meant(lambda model, discount=0.9: discount)
    >>> solve("student", gamma=0.5)
    Traceback (most recent call last):
    TypeError: <lambda> has no argument 'gamma': here it is called 'discount'
    """
    known = list(inspect.signature(function).parameters)
    of_algorithm = "; an algorithm's own settings are given to it, as in PPO(discount=0.9)"

    @functools.wraps(function)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                raise TypeError(f"{function.__name__} has no argument {name!r}{_instead(name)}")
        return function(*args, **kwargs)

    def _instead(name: str) -> str:
        if (found := meant(name, known)) in known:
            return f": here it is called {found!r}"
        own = of_algorithm if known[0].startswith("algorithm") else ""
        return f"{did_you_mean(name, known)}; it has {', '.join(known)}{own}"

    return asked


def absent(package: str, name: str, names: Iterable[str], shelves: Iterable[str] = ()) -> AttributeError:
    """The error for a name that a package does not have: near ones, or where it stands.

    Args:
        package: the package.
        name: what was looked for.
        names: what it has.
        shelves: packages in it that may have the name.

    >>> absent("retorno", "Ppo", ["PPO", "DQN"])
    AttributeError("retorno has no 'Ppo'; did you mean PPO?")
    """
    if (found := named(name, names := list(names))) in names:
        return AttributeError(f"{package} has no {name!r}; did you mean {found}?", name=name)
    for shelf in shelves:
        inside = dir(importlib.import_module(f"{package}.{shelf}"))
        if (found := named(name, [each for each in inside if not each.startswith("_")])) in inside:
            return AttributeError(f"{package} has no {name!r}: it is {package}.{shelf}.{found}", name=name)
    return AttributeError(f"{package} has no {name!r}{did_you_mean(name, names)}", name=name)


def as_typed(path: object) -> str:
    """A path as it is typed on a command line: quoted where it has to be.

    Args:
        path: of a file or folder.

    >>> as_typed("runs/pole"), as_typed("my runs/pole")
    ('runs/pole', "'my runs/pole'")
    """
    return shlex.quote(str(path))


def without_folders(told: Any, kept: int = 1) -> Any:
    """A JSON value as it is given away: of a file or an address its name alone, not where it lies on this machine.

    Args:
        told: text, or lists and dictionaries of it; what else there is stays.
        kept: how many of a path's last names stay: more where one does not tell two files apart.

    >>> without_folders({"name": "/home/ada/shop.py:Shop", "wrappers": ["/home/ada/less.py:Less(share='a/b')"]})
    {'name': 'shop.py:Shop', 'wrappers': ["less.py:Less(share='a/b')"]}
    >>> without_folders(["/home/ada/a/x.csv", "ALE/Pong-v5", "../x.csv", 3], kept=2)
    ['a/x.csv', 'ALE/Pong-v5', '../x.csv', 3]
    """
    match told:
        case str():
            place, bracket, inside = told.partition("(")
            whole = place.startswith("/") or "://" in place
            return "/".join(place.split("/")[-kept:]) + bracket + inside if whole else told
        case list():
            return [without_folders(each, kept) for each in told]
        case dict():
            return {key: without_folders(each, kept) for key, each in told.items()}
    return told
