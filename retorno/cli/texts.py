"""Training on texts: `--model` says whose tokens a file is read as, `--reward` what answers are paid for."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from retorno.algorithms import ALGORITHMS
from retorno.algorithms.imitation.mixing import Demonstrations, Mix
from retorno.cli.options import UsageError
from retorno.core.policy import Algorithm, RelabelConfig
from retorno.core.waiting import waiting
from retorno.environments.registry import WorldName
from retorno.language import Decoder, Everything, FunctionScore, LoRA, ModelScore, StoredModel, UpperLayers
from retorno.language.records import DataError
from retorno.language.stored import SMOLLM2, TINY
from retorno.language.trained import Trained
from retorno.networks import Apart, Tempered
from retorno.run.relabel import InTurn, ReferenceKL

MODEL = "--model"
"""The option that makes the world one of texts: whose tokens they are, and with what learning begins."""
REWARD = "--reward"
"""What pays answers: the run of a reward model, the least of several that stand behind commas, or a function of
texts."""
KL = "--kl"
"""β: what is taken off for each nat away from the model with which learning began."""
USUAL_KL = 0.05
UNENDED = "--unended"
"""The score of an answer that is cut before it has ended; none for what it would be worth."""
USUAL_UNENDED = -1.0
CENTRE = 0.01
"""How much a reward model's scores are held around 0, so that an answer that is cut is worth less than a usual one."""
SMALL = 10_000_000
"""A model of fewer weights in its blocks, about, is trained as a whole where nothing else is said."""
DEMONSTRATIONS = "--demonstrations"
"""A file of them, from which each gradient step learns as well (PPO-ptx)."""
CRITIC = "--critic"
"""A model or run with which a critic of its own begins, as with the reward model's; else it stands on the policy's."""
AT_TEMPERATURE = "--answer-temperature"
"""By which the model's logits are divided, while it learns and in what it becomes: below 1 the likely is likelier."""
LINES = (".jsonl", ".ndjson")
"""How files end that hold nothing but texts."""


@dataclasses.dataclass(frozen=True)
class Texts:
    """What `--model`, `--reward` and `--kl` make of a command."""

    world: Any
    """Demonstrations, rankings or prompts, with its name."""
    algorithm: Algorithm
    """The algorithm over that model."""
    relabel: RelabelConfig | None
    """Where `--reward` or `--kl` is given."""
    model: StoredModel
    critic: StoredModel | None = None
    """With what a critic of its own begins."""
    temperature: float = 1.0
    """Of its answers."""

    def completed(self, algorithm: Any) -> Any:
        """The algorithm as it was chosen, its policy at the temperature and beside the critic that were asked for."""
        network = own = algorithm.network
        if self.temperature != 1:
            network = Tempered(self.temperature, network)
        if self.critic is not None:
            network = Apart(network, dataclasses.replace(own, weights=self.critic))
        return dataclasses.replace(algorithm, network=network)

    def rewarded(self, chosen: RelabelConfig | None) -> RelabelConfig | None:
        """The rewards of a run, where `--relabel` chose others, or none.

        Raises:
            UsageError: when both ways are gone.
        """
        if self.relabel is None:
            return _with_texts(chosen, self.model)
        if chosen is not None:
            raise UsageError(f"--relabel says where rewards come from, and so do {REWARD} and {KL}: give one of them")
        return self.relabel


def of_language(
    name: str, source: str | None, settings: dict[str, Any], arguments: list[str]
) -> tuple[Texts | None, list[str]]:
    """What a command says of texts, and its other arguments; None where it says nothing of them.

    The file of texts is read as what the algorithm learns from: demonstrations, rankings, or else prompts.

    Raises:
        DataError, ModelError: when texts or model cannot be read.
        UsageError: when it is not said whose tokens a file of texts holds, or a reward cannot be.
    """
    usual = ALGORITHMS[name]()
    model, rest = _taken(MODEL, arguments)
    texts = source is not None and (
        Path(source).suffix in LINES or (hasattr(usual, "RECORDED") and Path(source).exists())
    )
    if texts and model is None:
        raise UsageError(
            f"{source} is read as texts, but whose tokens are they? Say it, as in {MODEL} smollm2, {MODEL} FOLDER"
            f" or {MODEL} runs/sft"
        )
    if model is None or source is None or not hasattr(usual, "network") or hasattr(usual, "model"):
        return None, arguments
    reward, rest = _taken(REWARD, rest)
    kl, rest = _taken(KL, rest)
    unended, rest = _taken(UNENDED, rest)
    shown, rest = _taken(DEMONSTRATIONS, rest)
    critic, rest = _taken(CRITIC, rest)
    temperature, rest = _taken(AT_TEMPERATURE, rest)
    judges = "value_coefficient" in _fields(usual)
    if critic is not None and not judges:
        raise UsageError(f"{CRITIC} is for what learns a critic, as ppo does; {name} learns none")
    kind = f"retorno.language:{getattr(usual, 'RECORDED', 'prompts')}"
    with waiting(f"reading {source}"):
        try:
            world: Any = WorldName(kind, settings={"source": source, "model": model} | settings).make()
        except DataError as error:
            # What Python calls `answer` is an option here.
            raise UsageError(re.sub(r"`(\w+)`", r"--world.\1", str(error))) from error
    if world.named is None:
        raise UsageError(f"{source} and {model} cannot be named in a run's folder")
    stored = StoredModel(world.named.settings["model"])
    rows = world.lockstep.rows if world.lockstep else world.lived.steps.last.shape[0]
    window = min(rows, stored.architecture.longest)
    # On the policy's trunk its gradient would drown the policy's.
    stopped = ("value",) if judges and critic is None else ()
    network = Decoder(stored, _usually_trained(stored), window, stop_gradient=stopped)
    # Answers are scored as a whole: a rollout is one of each environment.
    whole: dict[str, Any] = {"rollout": rows} if world.lockstep and "rollout" in _fields(usual) else {}
    if shown is not None:
        if "mix" not in _fields(usual):
            raise UsageError(f"{DEMONSTRATIONS} are mixed into what ppo learns; {name} takes none")
        whole["mix"] = Mix(Demonstrations(str(Path(shown).absolute()), stored.model))
    if "centre" in _fields(usual):
        whole["centre"] = CENTRE
    algorithm: Any = dataclasses.replace(usual, network=network, **whole)
    if unended is not None and reward is None:
        raise UsageError(f"{UNENDED} says what {REWARD} gives an answer that is cut: give {REWARD} as well")
    relabel = _relabel(reward, kl, _unended(unended), stored, window, bool(world.lockstep))
    beside = None if critic is None else _reading_as(stored, critic)
    return Texts(world, algorithm, relabel, stored, beside, _temperature(temperature)), rest


def _usually_trained(model: StoredModel) -> Trained:
    """All of a small model; of a large one narrow layers beside its own."""
    of = model.architecture
    return Everything() if of.layers * of.width * (of.width + of.hidden) < SMALL else LoRA()


def _relabel(
    reward: str | None, kl: str | None, unended: float | None, model: StoredModel, window: int, answered: bool
) -> InTurn | None:
    """The score of answers, and what leads away from the model taken off it."""
    if reward is None and kl is None:
        return None
    if not answered:
        raise UsageError(f"{REWARD} and {KL} are for answers that a model writes, and here it learns from a recording")
    fixed = lambda stored: Decoder(stored, UpperLayers(0), window=window)  # noqa: E731
    parts: list[Any] = []
    if reward is not None and ":" in reward:
        parts.append(_with_texts(FunctionScore(reward, unended=unended), model))
    elif reward is not None:
        runs = [reward] if Path(reward).exists() else reward.split(",")
        first, *beside = (ModelScore(fixed(_reading_as(model, run)), unended=unended) for run in runs)
        parts.append(dataclasses.replace(first, beside=tuple(beside)))
    if (weight := _number(kl)) > 0:
        parts.append(ReferenceKL(weight, fixed(model)))
    return InTurn(tuple(parts))


def _reading_as(model: StoredModel, run: str) -> StoredModel:
    """A run or a model's folder, that reads the same tokens as a model.

    Raises:
        UsageError: when it does not.
    """
    stored = _named(run)
    if stored.model not in (SMOLLM2, TINY) and not Path(stored.model).exists():
        return stored  # Whoever reads it says so.
    own, theirs = model.tokenizer, stored.tokenizer
    if own is not None and theirs is not None and (token := own.differs(theirs)) is not None:
        raise UsageError(
            f"{run} reads other tokens than {model.model}: number {token} is {theirs.written(token)!r} there and "
            f"{own.written(token)!r} here. Give one that began with the same model"
        )
    return stored


def _named(run: str) -> StoredModel:
    """A run or a model's folder, from wherever it is used."""
    return StoredModel(run if run in (SMOLLM2, TINY) else str(Path(run).absolute()))


def _with_texts(relabel: Any, model: StoredModel) -> Any:
    """A function's score is of texts where the model has a tokenizer."""
    if isinstance(relabel, FunctionScore) and relabel.model is None and model.tokenizer is not None:
        return dataclasses.replace(relabel, model=model)
    return relabel


def _number(kl: str | None) -> float:
    if kl is None:
        return USUAL_KL
    try:
        weight = float(kl)
    except ValueError:
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise UsageError(f"{KL} is the weight of the distance in nats, 0 for none, got {kl!r}: try {KL} {USUAL_KL}")
    return weight


def _unended(score: str | None) -> float | None:
    if score is None or score == "none":
        return USUAL_UNENDED if score is None else None
    try:
        return float(score)
    except ValueError:
        raise UsageError(
            f"{UNENDED} is the score of an answer that is cut, a number or none, got {score!r}: try {UNENDED} -1"
        ) from None


def _temperature(given: str | None) -> float:
    try:
        temperature = 1.0 if given is None else float(given)
    except ValueError:
        temperature = 0.0
    if not 0 < temperature < float("inf"):
        raise UsageError(
            f"{AT_TEMPERATURE} is what logits are divided by, a positive number, 1 for none, got {given!r}: try 0.7"
        )
    return temperature


def _taken(option: str, arguments: list[str]) -> tuple[str | None, list[str]]:
    """An option's value and the other arguments.

    >>> _taken("--kl", ["--steps", "3", "--kl=.1"])
    ('.1', ['--steps', '3'])
    """
    for place, argument in enumerate(arguments):
        name, given, value = argument.partition("=")
        if name == option:
            after = place + (1 if given else 2)
            return value if given else next(iter(arguments[place + 1 :]), None), arguments[:place] + arguments[after:]
    return None, arguments


def _fields(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]
