"""`retorno train ALGORITHM WORLD`: the algorithm's own fields are the options."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import types
import typing
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from gymnasium import spaces

from retorno.algorithms import ALGORITHMS, register
from retorno.algorithms.published import PUBLISHED, Published, settings
from retorno.cli.options import Flag, UsageError, keep_of, parse, spelled, step_of
from retorno.cli.runs import complete, finish, next_steps, use_cores
from retorno.cli.spelling import with_bare, without_places, world_settings
from retorno.cli.terminal import note
from retorno.cli.texts import USUAL_KL, of_language
from retorno.cli.watch import LIVE, watch, watched_model
from retorno.core.environment import Environment
from retorno.core.mdp import MDP
from retorno.core.memory import readable
from retorno.core.names import did_you_mean, meant, named
from retorno.core.policy import Algorithm, RelabelConfig
from retorno.core.registry import REGISTERED, folder_of, snake_case
from retorno.core.spaces import CHANNELS, PICTURE_FROM, as_tree, channels_first, is_picture
from retorno.environments.datasets import DATASET
from retorno.environments.own_code import attribute
from retorno.environments.recordings import Recorded
from retorno.environments.registry import UnknownNameError, WorldName
from retorno.language import Decoder
from retorno.networks import GRU, LSTM, MLP, NETWORKS, Transformer
from retorno.networks.network import NetworkConfig
from retorno.networks.residual import board
from retorno.preferences.clips import Clips
from retorno.preferences.learnt_reward import Preferences
from retorno.run.data import EPOCHS, fitted, source_of, within
from retorno.run.folder import SEED
from retorno.run.known import register_further
from retorno.run.of_run import OfRun
from retorno.run.origin import Origin
from retorno.run.relabel import RELABELS, InTurn
from retorno.run.table_monitor import require_watchable
from retorno.run.train import train
from retorno.run.training import NEWEST, Training
from retorno.run.until import Until

register_further()

COMMAND = "retorno train"
DEFAULT_STEPS = 100_000
MOST_SEEDS = 100_000
"""Seeds of one call: more would fill the memory before anything is told."""

MUCH_MB = 100
"""Megabytes of checkpoints from which on they are told."""

OFFERED: dict[Any, Mapping[str, Any]] = {NetworkConfig: {"decoder": Decoder, "of_run": OfRun}}
"""What the command line offers of a kind beside what is registered."""
REMEMBERING = (GRU, LSTM, Transformer)
"""Networks with a memory, which stands on what reads one observation."""
NONE: Mapping[str, Any] = {"none": type(None)}
RELABEL = ChainMap(dict(NONE), RELABELS)
"""Where rewards come from."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What belongs to the run and not to the algorithm."""

    steps: int = DEFAULT_STEPS
    """The budget in environment steps, over all environments of one seed."""
    seed: int = 0
    """All randomness follows from it."""
    seeds: int = 1
    """Train so many seeds in one call: `seed`, `seed` + 1, …"""
    folder: Path | None = None
    """Where the run is recorded. By default the next free runs/ALGORITHM-WORLD-NUMBER."""
    every: int | None = None
    """Write a checkpoint at each multiple of so many steps. By default ten over the run."""
    keep: str = "3"
    """Which checkpoints stay: so many of the newest; best for the newest three and the one with the best score; or all.
    It is scored by the mean return of the episodes lived since the one before, or of its --tests; of answers that are
    paid, by their score less what the KL costs."""
    tests: int = 0
    """Episodes in which the greedy policy is tested at each checkpoint; 0 for none."""
    until_score: float | None = None
    """End before the budget, at the first checkpoint with such a score."""
    patience: int | None = None
    """End before it, after so many checkpoints without a better score."""
    minutes: float | None = None
    """End before it, after so many minutes; a run that is resumed has them again."""
    episodes: int = 100
    """Episodes of the evaluation at the end; 0 for none."""
    from_: Path | None = None
    """Begin with what another run has learnt, here or in another world like its own; steps are counted from 0."""
    from_step: str | None = None
    """Of which step's checkpoint: a number, or best; the newest where it is not said."""
    network_only: Flag = False
    """Of that run take the network alone, not what its optimiser remembers nor what was counted."""
    hosted: Flag = False
    """Use Gymnasium's environment where a native one has the same name."""
    fused: Flag = False
    """Insist on a native world, compiled into one program with the update."""
    parallel: int | None = None
    """Spread hosted environments over so many processes; without a number over one for each core. Environments that
    wait gain from as many as there are of them."""
    wrappers: tuple[str, ...] = ()
    """Wrap hosted environments, the innermost first: of gymnasium.wrappers, or FILE.py:NAME, with arguments as in
    'TimeLimit(200)'."""
    info_keywords: tuple[str, ...] = ()
    """Numbers in the info of a hosted episode's last step, as crashed: they are recorded beside its return."""
    watch: str | None = None
    """Watch a table learn on a map: alone in the terminal, or as a file in .gif or .html (with a slider)."""
    tensorboard: Flag = False
    """Write figures for TensorBoard as well."""


GROUPS = {
    "run": ("steps", "seed", "seeds", "folder", "every", "keep", "episodes", "watch", "tensorboard"),
    "ending before the budget": ("until-score", "patience", "minutes", "tests"),
    "another run": ("from", "from-step", "network-only"),
    "world": ("hosted", "fused", "parallel", "wrappers", "info-keywords"),
}
"""The options of a run in the help; those of the algorithm follow."""
BARE = {"--watch": LIVE, "--parallel": "0"}
"""Options that may stand alone, and what they mean then."""


def run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview(), end="")
        return 0
    name, *rest = without_places(arguments)
    if name.startswith("-"):
        raise UsageError(f"algorithm and world come first, as in `{COMMAND} ppo CartPole-v1 {name} …`")
    name = known_algorithm(name)
    world, rest = (rest[0], rest[1:]) if rest and not rest[0].startswith("-") else (None, rest)
    if world is None and not {"-h", "--help"} & set(rest):
        raise UsageError(f"which world? Write it after the algorithm, as in `{COMMAND} {name} CartPole-v1`")
    settings, rest = world_settings(rest)
    texts = None
    if (source := source_of(ALGORITHMS[name](), world)) is not None:
        world, settings = DATASET, {"source": source, **settings}
    else:
        texts, rest = of_language(name, world, settings, rest)
    if texts is not None:
        world, settings = texts.world.named.name, texts.world.named.settings
    usual = None if texts is None else texts.algorithm
    options, algorithm, relabel, published = choose(name, world, with_bare(rest, BARE), usual)
    assert world is not None, "the help has exited"
    read = None
    if world == DATASET:
        read, settings = fitted(algorithm, settings, note)
        if asked("steps", rest) is None:
            options = dataclasses.replace(options, steps=max(options.steps, EPOCHS * read.transitions))
    elif texts is not None:
        algorithm, relabel, read = texts.completed(algorithm), texts.rewarded(relabel), texts.world
    if asked("num_envs", rest) is None:
        algorithm = within(algorithm, read, note)
    return start(name, world, settings, options, algorithm, relabel, published, read)


def known_algorithm(name: str) -> str:
    """The name under which an algorithm is registered, from what was typed: in any case, or as code of one's own.

    Raises:
        UnknownNameError: when there is none of that name.
        UsageError: when one's own is no algorithm.
    """
    if ":" in name:
        return own_algorithm(name)
    found = named(name, ALGORITHMS)
    if found not in ALGORITHMS:
        near = did_you_mean(name, ALGORITHMS) or f"; algorithms: {', '.join(ALGORITHMS)}"
        raise UnknownNameError(f"no algorithm {name!r}{near}")
    return found


def overview() -> str:
    """What `retorno train --help` says."""
    algorithms = "".join(
        f"\n{title}:\n" + "".join(f"  {name:<22} {first_line(kind)}\n" for name, kind in kinds.items())
        for title, kinds in groups(ALGORITHMS).items()
    )
    known = ", ".join(f"{algorithm} {world}" for algorithm, world in PUBLISHED)
    return f"""\
usage: {COMMAND} ALGORITHM WORLD [options]

Trains an agent and records it in a folder, from which it can be resumed.

algorithms, by what they do:
{algorithms}
ALGORITHM may also be one of your own, as FILE.py:NAME or MODULE:NAME.
For a language model WORLD is a file of texts, and --model whose: a model's folder, a run's, FILE.gguf, smollm2, or
tiny, which has learnt nothing yet.
Its answers are paid by --reward: a reward model's run, RUN,RUN for the least of what several say, or your own
function of texts, FILE.py:NAME; and --kl WEIGHT ({USUAL_KL} where it is not said) holds them near that model; an answer
that is cut gets --unended SCORE; ppo mixes --demonstrations FILE in, and its critic may begin as a reward model:
--critic RUN; --answer-temperature divides its logits, while it learns and after.
WORLD is a native world (`retorno list worlds`), any Gymnasium id (MODULE:Id-v0 imports the module first), the file of a
model or map, or your own class or function that makes one: FILE.py:NAME, MODULE:NAME.
--world.KEY VALUE   what the world is made with, as in --world.is_slippery false
Published settings are the defaults of: {known}

  {COMMAND} ppo --help                every option with its default
  {COMMAND} ppo CartPole-v1 --help    the same with the defaults for that world

examples:
  {COMMAND} ppo CartPole-v1 --seed 0
  {COMMAND} ppo recall --network gru --steps 200000
  {COMMAND} q_learning FrozenLake-v1 --seeds 10 --step-size 0.2
  {COMMAND} q_learning cliff --watch
  {COMMAND} ppo LunarLander-v3 --folder runs/lander
  {COMMAND} sft demonstrations.jsonl --model smollm2 --trained upper_layers --folder runs/sft
  {COMMAND} ppo prompts.jsonl --model runs/sft --reward runs/scorer --kl 0.05
  {COMMAND} ppo LunarLander-v3 --world.enable_wind true --from runs/lander
"""


def first_line(kind: Any) -> str:
    """The first line of a docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0]


def groups(kinds: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Classes by the folders that their files lie in, as a lecture has them; somebody's own are "own"."""
    found: dict[str, dict[str, Any]] = {}
    for name, kind in kinds.items():
        title = folder_of(kind).replace("_", " ") if kind.__module__.startswith("retorno.") else "own"
        found.setdefault(title, {})[name] = kind
    return found


def own_algorithm(path: str) -> str:
    """The name of an algorithm of the user's own: FILE.py:NAME, MODULE:NAME. From now on it is registered.

    Raises:
        UsageError: when there is none.
    """
    kind = attribute(path, "algorithm")
    if kind not in ALGORITHMS.values() and not (isinstance(kind, type) and hasattr(kind, "update")):
        raise UsageError(f"{path} is {kind!r}: expected an algorithm, a frozen dataclass with init, act and update")
    if kind not in ALGORITHMS.values():
        register(kind)
    return next(name for name, known in ALGORITHMS.items() if known is kind)


def choose(
    name: str, world: str | None, arguments: list[str], given: Algorithm | None = None
) -> tuple[Options, Algorithm, RelabelConfig | None, Published | None]:
    """The run's options, the algorithm and relabel with their settings, and the published defaults that were taken.

    Where an algorithm is given, its settings are the defaults.

    Raises:
        UsageError: for options that do not exist or have the wrong values.
    """
    published = None if given else settings(name, world or "")
    usual: Any = given or (published.algorithm if published else ALGORITHMS[name]())
    for part in parts_of(usual):
        usual = with_part(usual, part, asked(part, arguments))
        held = getattr(usual, part)
        for inner in parts_of(held):
            bare = None if inner in parts_of(usual) else asked(inner, arguments)
            held = with_part(held, inner, asked(f"{part}.{inner}", arguments) or bare)
        usual = dataclasses.replace(usual, **{part: held})
    options = Options(steps=published.steps if published else DEFAULT_STEPS)
    usually = (published and published.relabel) or "none"
    relabel = RELABEL.get(asked("relabel", arguments) or usually, type(None))()
    for inner in parts_of(relabel):
        relabel = with_part(relabel, inner, asked(f"relabel.{inner}", arguments))
    shown, judged = with_known_parts(usual), with_known_parts(relabel)
    kind = dataclasses.make_dataclass(
        "Arguments",
        [
            *part_options(usual),
            *(option for part in parts_of(usual) for option in part_options(getattr(usual, part), f"{part}.")),
            *(
                (part, Annotated[type(default), tyro.conf.arg(name="")], dataclasses.field(default=default))
                for part, default in (("options", options), ("algorithm", shown))
            ),
            name_option("relabel", RELABEL, relabel),
            *part_options(relabel, "relabel."),
            *([] if relabel is None else [("relabel", type(judged), dataclasses.field(default=judged))]),
        ],
    )
    described = first_line(ALGORITHMS[name])
    if published:
        described += f"\n\nThe defaults for {world} are published: {published.source}."
    described += "\n\nA part's option needs its name only where another is called alike: --learning-rate, --hidden."
    described += "\nWhat the world itself is made with: --world.KEY VALUE, as in --world.is_slippery false."
    command = " ".join(part for part in (COMMAND, name, world) if part)
    own = {each.strip("_").replace("_", "-") for each in fields_of(usual)} | {*parts_of(usual), "relabel"}
    groups = {**GROUPS, "algorithm": own | {f"no-{each}" for each in own}}
    asked_for = [python_name(each, usual) for each in arguments]
    made: Any = parse(kind, asked_for, command, described, groups, functools.partial(of_another_kind, usual))
    return (
        made.options,
        with_own_types(made.algorithm, usual),
        with_own_types(getattr(made, "relabel", None), relabel),
        published,
    )


def with_settings(algorithm: Algorithm, changes: Sequence[str]) -> Algorithm:
    """An algorithm with other values of its own or of its parts, each as NAME=VALUE.

    Raises:
        UsageError: for a name that it has not, and a value that is none.
    """
    if strange := [change for change in changes if not re.fullmatch(r"[A-Za-z][\w.-]*=.*", change)]:
        raise UsageError(f"--set {strange[0]}: expected NAME=VALUE, as in --set learning_rate=1e-4")
    shown = with_known_parts(algorithm)
    kept = ("algorithm", Annotated[type(shown), tyro.conf.arg(name="")], dataclasses.field(default=shown))
    arguments = [python_name(switched(f"--{change}"), algorithm) for change in changes]
    try:
        kind, elsewhere = dataclasses.make_dataclass("Settings", [kept]), functools.partial(of_another_kind, algorithm)
        made: Any = parse(kind, arguments, "retorno resume", "Settings.", elsewhere=elsewhere)
    except UsageError as error:
        known = re.sub(r"--(?=\w)", "", str(error).removesuffix(" (see retorno resume --help)"))
        raise UsageError(f"--set {' '.join(changes)}: {known}") from None
    return with_own_types(made.algorithm, algorithm)


def switched(option: str) -> str:
    """`--double=false` as `--no-double`, `--double=true` as `--double`: what is on or off has no value.

    >>> switched("--replay.double=False"), switched("--double=true"), switched("--step-size=0.1")
    ('--replay.no-double', '--double', '--step-size=0.1')
    """
    name, _, value = option.partition("=")
    match value.lower():
        case "true":
            return name
        case "false":
            return re.sub(r"(\w[\w-]*)$", r"no-\1", name)
    return option


def with_known_parts(algorithm: Any) -> Any:
    """The algorithm as one whose parts have the types that they have here: a part that is None has no options."""
    nothing = Annotated[None, tyro.conf.Suppress, tyro.conf.arg(name="nothing")]
    parts = {part: with_known_parts(getattr(algorithm, part)) for part in parts_of(algorithm)}
    if not parts:
        return algorithm
    types = [
        (part, nothing if value is None else type(value), dataclasses.field(default=value))
        for part, value in parts.items()
    ]
    kind: Any = dataclasses.make_dataclass(type(algorithm).__name__, types, bases=(type(algorithm),), frozen=True)
    return kind(**values_of(algorithm) | parts)


def with_own_types(made: Any, usual: Any) -> Any:
    """What `with_known_parts` gave other types, in those of `usual` again."""
    parts = {part: with_own_types(getattr(made, part), getattr(usual, part)) for part in parts_of(usual)}
    return type(usual)(**values_of(made) | parts) if parts else made


def values_of(made: Any) -> dict[str, Any]:
    """What a dataclass is made with, by name."""
    return {field.name: getattr(made, field.name) for field in dataclasses.fields(made) if field.init}


def fields_of(kind: Any) -> list[str]:
    """The names of a dataclass's fields; none of what is no dataclass."""
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def parts_of(made: Any) -> dict[str, Mapping[str, Any]]:
    """What settings are made of that is chosen by name, each with options of its own: the choices by field.

    Such a field is annotated by a kind that is registered, or by classes of settings; it may be optional.
    """
    return {
        part: kinds for part, kinds in _choices(type(made)).items() if type(getattr(made, part, 0)) in kinds.values()
    }


@functools.cache
def _choices(cls: type) -> dict[str, Mapping[str, Any]]:
    hints = typing.get_type_hints(cls) if dataclasses.is_dataclass(cls) else {}
    found = {name: _kinds(hint) for name, hint in hints.items() if name in fields_of(cls)}
    return {name: kinds for name, kinds in found.items() if len(kinds) > 1}


def _kinds(hint: Any) -> Mapping[str, Any]:
    """The classes that an annotation allows, by name; none where it allows something else as well."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    found = {**NONE} if type(None) in options else {}
    for option in (each for each in options if each is not type(None)):
        if option in REGISTERED:
            found |= {**OFFERED.get(option, {}), **REGISTERED[option]}
        elif _is_part(option):
            found[snake_case(option.__name__)] = option
        else:
            return {}
    return found


def _is_part(option: Any) -> bool:
    """Whether it is a class of settings, each of which has a default."""
    if not (isinstance(option, type) and dataclasses.is_dataclass(option)):
        return False
    missing = dataclasses.MISSING
    return all(
        field.default is not missing or field.default_factory is not missing for field in dataclasses.fields(option)
    )


def of_another_kind(made: Any, option: str, of: str = "") -> str:
    """Of which kind of a part an option would be, which settings do not have; empty where it is of none.

    Args:
        made: the settings, as an algorithm's.
        option: as `network.channels`, or its last word.
        of: what stands before the names of its parts, as `network.` of a part of a network.

    >>> from retorno import DQN
    >>> of_another_kind(DQN(), "network.channels")
    '; it is of --network residual or cnn, not of mlp'
    >>> of_another_kind(DQN(), "alpha"), of_another_kind(DQN(), "network.colour")
    ('; it is of --replay proportional or ranked, not of uniform', '')
    """
    before, _, name = option.replace("-", "_").rpartition(".")
    first, _, inner = before.partition(".")
    if inner and first in parts_of(made):
        return of_another_kind(getattr(made, first), f"{inner}.{name}", f"{of}{first}.")
    for part, kinds in parts_of(made).items():
        having = [kind for kind, settings in kinds.items() if name in fields_of(settings)]
        if having and before in ("", part):
            here = part_name(kinds, getattr(made, part))
            return f"; it is of --{(of + part).replace('_', '-')} {' or '.join(having)}, not of {here}"
    return ""


def part_name(kinds: Mapping[str, Any], made: Any) -> str:
    """What the command line calls a part's kind; of one that it does not offer, what Python does."""
    return next((name for name, kind in kinds.items() if type(made) is kind), type(made).__name__)


def name_option(part: str, kinds: Mapping[str, Any], default: Any, of: str = "") -> tuple[str, Any, Any]:
    """The option that chooses a part, as a dataclass's field: `part` stays free for the part's own options."""
    about = tyro.conf.arg(name=of + part, help=f"Which {part}; its own settings, if it has any, follow below.")
    choices: Any = tyro.extras.literal_type_from_choices(tuple(kinds))
    usual = dataclasses.field(default=part_name(kinds, default))
    return f"{of.replace('.', '_')}{part}_name", Annotated[choices, about], usual


def part_options(made: Any, of: str = "") -> list[tuple[str, Any, Any]]:
    """`name_option` for each part of an algorithm, a relabel, or a part of these."""
    return [name_option(part, kinds, getattr(made, part), of) for part, kinds in parts_of(made).items()]


def asked(part: str, arguments: list[str]) -> str | None:
    """The value of `--network`, say: it decides which other options there are, so it is read before them."""
    for place, argument in enumerate(arguments):
        option, given, value = argument.partition("=")
        if option.replace("_", "-") == f"--{part.replace('_', '-')}":
            return value if given else next(iter(arguments[place + 1 :]), None)
    return None


def with_part(algorithm: Any, part: str, name: str | None) -> Any:
    """The algorithm with another network or exploration, if one is asked for.

    Published minibatches of transitions say nothing of a network with a memory, which learns from whole sequences.
    """
    kind = parts_of(algorithm)[part].get(name or "")
    if kind is None or type(getattr(algorithm, part)) is kind:
        return algorithm
    remembers = kind in REMEMBERING and hasattr(algorithm, "minibatches")
    return dataclasses.replace(algorithm, **{part: kind()}, **({"minibatches": None} if remembers else {}))


def python_name(argument: str, algorithm: Any) -> str:
    """`--lambda_` for `--lambda`, `--optimiser.learning-rate` for `--lr`: the option that is meant.

    The option of a part, or of a part's part, may be typed without their names where nothing else is called so.
    """
    option, *value = argument.split("=", 1)
    if not option.startswith("--"):
        return argument
    own = {*fields_of(Options), *fields_of(algorithm), *parts_of(algorithm), "relabel"}
    places = _endings(algorithm)
    name = meant(option[2:].replace("-", "_"), own | set(places))
    bare = name.removeprefix("no_")
    if bare not in own and len(found := places.get(bare, ())) == 1:
        of, dot, field = next(iter(found)).rpartition(".")
        name = f"{of}{dot}{'' if name == bare else 'no_'}{field}"
    return "=".join([f"--{name}".replace("_", "-") if not name.endswith("_") else f"--{name}", *value])


def _endings(made: Any) -> dict[str, set[str]]:
    """What options of parts may be called, each with the whole names of those that end so.

    >>> from retorno.algorithms import DQN
    >>> _endings(DQN())["learning_rate"]
    {'optimiser.learning_rate'}
    """
    found: dict[str, set[str]] = {}
    for part in parts_of(made):
        held = getattr(made, part)
        for whole in {*fields_of(held), *(place for places in _endings(held).values() for place in places)}:
            names = whole.split(".")
            for begin in range(len(names)):
                found.setdefault(".".join(names[begin:]), set()).add(f"{part}.{whole}")
    return found


def start(
    name: str,
    world: str,
    settings: dict[str, Any],
    options: Options,
    algorithm: Algorithm,
    relabel: RelabelConfig | None,
    published: Published | None,
    read: Any = None,
) -> int:
    """Tell what is about to happen, and do it. What cannot be is refused before anything is told.

    A world of texts or recordings is read already: it is given beside its name.
    """
    hosted = checked(options)
    asked = options.info_keywords
    chosen = WorldName(world, hosted, parallel_of(options), options.wrappers, info_keywords=asked, settings=settings)
    made = read or chosen.make()
    watched = None if options.watch is None else watched_model(world, chosen.model(), options.watch)
    if watched is not None:
        require_watchable(algorithm, made, watched, options.seeds)
    told = {key: value for key, value in settings.items() if key not in ("digest", "source")}
    of_file = isinstance(made, Recorded) or chosen.of_texts
    world = os.path.relpath(settings["source"]) if of_file else world
    folder = options.folder or free_folder(name, Path(world).stem if of_file else world)
    seeds = range(options.seed, options.seed + options.seeds)
    native = isinstance(made, Environment)
    how = (
        "recorded: nothing is lived"
        if isinstance(made, Recorded)
        else "native to JAX, fused: world, policy and update are one compiled program"
        if native
        else "Gymnasium's, hosted: its environments are stepped in Python"
    )
    with_settings = f" with {', '.join(f'{key} {value}' for key, value in told.items())}" if told else ""

    def ready(training: Training) -> None:
        """What is about to happen; nothing is compiled yet, and nothing can be refused any more."""
        note(f"{name} on {world}{with_settings} ({how})")
        note(f"settings: {told_settings(name, algorithm, published)}")
        if relabel is not None:
            note(f"rewards: {told_relabel(relabel)}")
        if isinstance(relabel, Preferences) and relabel.judge.begin().looks and (why := Clips(made).why_numbers):
            note(why)
        if getattr(algorithm, "exploring_starts", False) and (told := few_starts(chosen.model())):
            note(told)
        if type(getattr(algorithm, "expert", None)) in NETWORKS.values():
            note("the expert is a fresh network, which knows nothing: name one, as --expert of_run --expert.run RUN")
        for told in told_picture(algorithm, made.observation_space):
            note(told)
        if (origin := training.begun_from) is not None:
            what = "the network" if origin["network_only"] else "what was learnt"
            anew = f"; {', '.join(origin['anew'])} begin anew" if origin.get("anew") else ""
            note(f"begins with {what} in {origin['step']:,} steps of {origin['run']}{anew}")
        named = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
        note(f"{options.steps:,} steps, {named}, recorded in {folder}")
        if (told := training.until.told(training.every or training.steps)) is not None:
            note(told)
        if training.row_bytes:
            note(f"rows on the disk: up to {readable(training.row_bytes)}")
        if (told := told_keep(training)) is not None:
            note(told)

    more: dict[str, Any] = {
        "relabel": relabel,
        "init_from": origin_of(options),
        "every": options.every,
        "keep": keep_of(options.keep),
        "until": until_of(options),
        "tensorboard": options.tensorboard,
    }
    if native or len(seeds) == 1:
        use_cores(len(seeds))
        seed = seeds[0] if len(seeds) == 1 else seeds
        begun = train(algorithm, read or chosen, options.steps, seed=seed, folder=folder, ready=ready, **more)
        with begun as training:
            if watched is not None and options.watch is not None:
                watch(training, watched, options.watch, f"{name} on {world}")
            complete(training, f"{name} {world}", options.episodes)
    else:
        if isinstance(relabel, Preferences) and relabel.judge.begin().looks:
            raise UsageError(
                f"people are shown one seed of a hosted world at a time, got --seeds {len(seeds)}: leave it out, and "
                f"begin another run beside this one, with --seed {seeds[1]} and a --folder of its own"
            )
        # All of them are begun before the first is trained, so that an interrupted call can be resumed whole.
        for seed in seeds:
            told: dict[str, Any] = {"ready": ready} if seed == seeds[0] else {}
            train(algorithm, chosen, options.steps, seed=seed, folder=folder / f"{SEED}{seed}", **more, **told).close()
        finish(folder, options.episodes)
    note(next_steps(folder))
    return 0


def told_keep(training: Training) -> str | None:
    """What the checkpoints take on the disk, where that is much or another number than usual is kept.

    One more than stay is there while it is written. Beside them the first policy of each stretch stays.
    """
    every = training.every or training.steps
    boundaries = -(-training.steps // every)
    number = {"best": NEWEST + 1, "all": boundaries}.get(str(training.keep), training.keep)
    whole, policy = training.checkpoint_bytes, training.policy_bytes
    most = (int(number) + (training.keep != "all")) * whole + (boundaries + 1) * policy
    if training.keep == NEWEST and most < MUCH_MB * 1e6:
        return None
    which = {"best": f"the newest {NEWEST} and the best", "all": "all"}.get(str(training.keep), f"the newest {number}")
    return (
        f"a checkpoint every {every:,} steps, {whole / 1e6:,.1f} MB each at most; {which} stay, and the policies of "
        f"all, {policy / 1e6:,.1f} MB each: up to {most / 1e6:,.1f} MB"
    )


def origin_of(options: Options) -> Origin | None:
    """The run with which this one begins."""
    if options.from_ is not None:
        return Origin(options.from_, step_of(options.from_step), options.network_only)
    if options.from_step is not None or options.network_only:
        raise UsageError("--from-step and --network-only say what is taken of a run: name it with --from RUN")
    return None


def until_of(options: Options) -> Until:
    """When the run ends before its budget."""
    try:
        return Until(options.until_score, options.patience, options.minutes, options.tests)
    except ValueError as error:
        raise UsageError(str(error).removeprefix("Until: ")) from error


def few_starts(model: MDP | None) -> str:
    """What to say where exploring starts cannot begin with every pair; empty where they can, or nothing is known."""
    if model is None:
        return ""
    begins, acting = int(np.count_nonzero(model.initial[~model.terminal])), int(np.count_nonzero(~model.terminal))
    if begins == acting:
        return ""
    return (
        f"exploring starts: episodes begin with any action, but in {begins:,} of {acting:,} states only, so some pairs "
        "of the others may never be tried, and the best policy not be found"
    )


def told_picture(algorithm: object, space: Any) -> list[str]:
    """What whoever observes pictures, alone or beside other things, should know."""
    parts = jax.tree.leaves(as_tree(space))
    return list(dict.fromkeys(told for part in parts for told in _told_of_one(algorithm, part, alone=len(parts) == 1)))


def _told_of_one(algorithm: object, space: Any, alone: bool) -> list[str]:
    """Of one part of what is observed."""
    if not isinstance(space, spaces.Box) or not (
        is_picture(space) or (len(space.shape) in (3, 4) and min(board(space)[:2]) >= PICTURE_FROM)
    ):
        return []
    told, high, seen = [], float(space.high.max()), "what is observed" if alone else "part of what is observed"
    if channels_first(space) and space.shape[0] not in CHANNELS:
        first, rows, columns = space.shape
        told.append(
            f"{seen} is read as {first} channels of {rows} × {columns}; a board of {first} × {rows} is read "
            "as one where its longer side comes first"
        )
    network = getattr(algorithm, "network", None)
    if type(network) is MLP:
        told.append(f"{seen} is a picture, of which --network cnn makes more than an MLP does")
    if isinstance(network, REMEMBERING) and network.reader is None:
        told.append(f"{seen} is a picture, of which --network.reader cnn makes more than one layer does")
    scaled = getattr(algorithm, "normalise_observations", True)
    if space.dtype.kind == "f" and 1 < high < np.inf and not scaled:
        whose = "its" if alone else "a picture's"
        told.append(
            f"{whose} numbers reach {high:g} and are read so: take --normalise-observations, or show bytes (uint8)"
        )
    return told


def checked(options: Options) -> bool | None:
    """Whether the world is asked to be hosted.

    Raises:
        UsageError: for options that cannot be.
    """
    if options.hosted and options.fused:
        raise UsageError("--hosted and --fused exclude each other: leave both out to have it chosen")
    if not 1 <= options.seeds <= MOST_SEEDS:
        raise UsageError(f"--seeds trains from 1 to {MOST_SEEDS:,} seeds in one call, got {options.seeds:,}")
    if options.episodes < 0:
        raise UsageError(f"--episodes is a number of episodes, or 0 for none, got {options.episodes}")
    if options.steps < 1:
        raise UsageError(f"--steps must be positive, got {options.steps:,}: pass for instance --steps 100000")
    if options.parallel is not None and options.parallel < 0:
        raise UsageError(f"--parallel is a number of processes, got {options.parallel}; alone it is one for each core")
    if not 0 <= options.seed <= 2**32 - options.seeds:
        raise UsageError(f"seeds lie from 0 to 4,294,967,295, got --seed {options.seed:,}")
    if options.every is not None and options.every < 1:
        raise UsageError(f"--every is a number of environment steps, got {options.every:,}")
    hosted = options.hosted or options.parallel is not None or bool(options.wrappers or options.info_keywords)
    if hosted and options.fused:
        raise UsageError("--parallel, --wrappers and --info-keywords are for hosted worlds: leave --fused out")
    return True if options.hosted else False if options.fused else None


def parallel_of(options: Options) -> bool | int:
    """In how many processes hosted environments live: True for one for each core."""
    return False if options.parallel is None else options.parallel or True


def free_folder(algorithm: str, world: str) -> Path:
    """The first of runs/ALGORITHM-WORLD-1, -2, … that is not there."""
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in world)
    number = 1
    while (folder := Path("runs") / f"{algorithm}-{safe}-{number}").exists():
        number += 1
    return folder


def told_settings(name: str, algorithm: Any, published: Published | None) -> str:
    """Which defaults were taken, and what was changed in them, spelled as options."""
    own = ALGORITHMS[name]()
    if published is None:
        changes = " ".join(typed(algorithm, own))
        return f"the algorithm's own defaults (none are published for this world){changes and ' with '}{changes}"
    taken, yours = typed(published.algorithm, own), " ".join(typed(algorithm, published.algorithm))
    return f"{published.source}: {' '.join(taken)}{yours and '; changed: '}{yours}"


def told_relabel(relabel: Any) -> str:
    """What pays, and how it differs from its defaults; of several one after the other."""
    if isinstance(relabel, InTurn):
        return ", then ".join(map(told_relabel, relabel.relabels))
    return " ".join([part_name(RELABEL, relabel), *as_options(relabel, defaults_of(type(relabel)), "--relabel.")])


def defaults_of(made: type[Any]) -> types.SimpleNamespace:
    """The value that each field of a dataclass has where nothing is said; of one that has to be said, `MISSING`."""
    usual = lambda field: (  # noqa: E731
        field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    )
    return types.SimpleNamespace(**{field.name: usual(field) for field in dataclasses.fields(made)})


def typed(made: Any, usual: Any) -> Iterator[str]:
    """What has to be typed to get from an algorithm's defaults to other settings."""
    adapted = usual
    for part, kinds in parts_of(made).items():
        adapted = with_part(adapted, part, part_name(kinds, getattr(made, part)))
    return as_options(made, dataclasses.replace(adapted, **{part: getattr(usual, part) for part in parts_of(made)}))


def as_options(made: Any, usual: Any, before: str = "--") -> Iterator[str]:
    """Each field in which two dataclasses differ, as an option."""
    for field in dataclasses.fields(made):
        value, other = getattr(made, field.name), getattr(usual, field.name)
        name = field.name.strip("_").replace("_", "-")
        if value == other or not field.init:
            continue
        kinds = parts_of(made).get(field.name)
        if kinds is not None and value is None:
            yield f"{before}{name} {part_name(kinds, value)}"
        elif dataclasses.is_dataclass(value):
            if type(value) is not type(other):
                if kinds is not None or dataclasses.is_dataclass(other):
                    yield f"{before}{name} {part_name(kinds or {}, value)}"
                other = defaults_of(type(value))
            yield from as_options(value, other, f"{before}{name}.")
        elif isinstance(value, bool):
            yield f"{before}{'' if value else 'no-'}{name}"
        elif isinstance(value, tuple) and value and isinstance(value[0], tuple):
            yield " ".join([f"{before}{name}", *spelled(value)])
        else:
            values = value if isinstance(value, tuple) else (value,)
            yield " ".join([f"{before}{name}", *(str(getattr(v, "name", v)) for v in values)])
