"""Which of two models answers better, and what is paid for it: win rates, and reward against distance.

A judge is a reward model, by its run, or a function of texts, `reward(prompts, answers) -> scores`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Float

from retorno.algorithms.preferences.dpo import log_probs
from retorno.algorithms.preferences.reward_model import SCORE, scores
from retorno.core import constants
from retorno.core.errors import RetornoError
from retorno.core.policy import Policy
from retorno.core.runtime import prepare
from retorno.core.time_step import Trajectory
from retorno.environments.own_code import attribute, guarded
from retorno.environments.recordings import recorded_episodes
from retorno.language.data import Piece, Writer, text_episode
from retorno.language.decoder import POLICY, network_of, temperature_of, with_window
from retorno.language.generation import Answer, Sampling, generate
from retorno.language.model import LanguageModel, load
from retorno.language.records import Text
from retorno.language.scoring import numbers
from retorno.language.stored import StoredModel
from retorno.networks.composed import AtTemperature
from retorno.ops.best_of_n import best_of_n_kl, best_of_n_weights
from retorno.ops.intervals import interval95, proportion95
from retorno.run import policy_folder

ROOM = 32
"""Rows are made for multiples of so many: answers of about one length share a program."""
BATCH = 64
"""Answers that are read at once."""

Judge = Callable[[Sequence[str], Sequence[str]], Sequence[float]]


class JudgeError(RetornoError, ValueError):
    """A judge that cannot judge: the message says what it did, and what was expected."""


@dataclass(frozen=True)
class WinRate:
    """How often the one of two models was preferred, over prompts; a tie counts for both by half."""

    wins: int
    ties: int
    losses: int
    rate: float
    low: float
    """Of the 95% interval over prompts."""
    high: float
    prompts: int

    def __str__(self) -> str:
        return (
            f"preferred in {self.rate:.1%}, 95% interval {self.low:.1%} to {self.high:.1%} (over {self.prompts:,} "
            f"prompts: {self.wins:,} won, {self.ties:,} tied, {self.losses:,} lost)"
        )


@dataclass(frozen=True)
class Point:
    """Where a policy stands between its reference and what judges prefer."""

    step: int
    """Of training."""
    kl: tuple[float, float, float]
    """Mean distance from the reference over an answer, in nats, and its 95% interval."""
    scores: dict[str, tuple[float, float, float]]
    """Mean score by each judge, and its 95% interval."""
    ended: float
    """The share of answers that were ended, not cut."""
    best_of: int | None = None
    """Of how many answers the first judge took the best; None for a policy that was learnt."""


def judge(given: Judge | str | Path, what: str = "judge") -> Judge:
    """A judge by what plainly means it: a function, FILE.py:NAME, or the run of a reward model.

    Raises:
        JudgeError: when a run holds no reward model.
        OwnCodeError: when there is no such function.
    """
    prepare()
    if callable(given):
        return checked(given, what)
    if ":" in str(given):
        return checked(attribute(str(given), "judge"), str(given))
    return ModelJudge.of(given)


def checked(function: Judge, name: str) -> Judge:
    """A function of texts that gives one finite number for each answer, or is told what it gave."""

    def judged(prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        given = guarded(name, lambda: function(list(prompts), list(answers)), "score")
        try:
            return numbers(given, prompts, answers).tolist()
        except ValueError as error:
            raise JudgeError(f"{name} {error}") from error

    return judged


@dataclass(frozen=True, eq=False)
class ModelJudge:
    """A reward model: what scores answers as it learnt to from rankings."""

    writer: Writer
    policy: Policy

    @classmethod
    def of(cls, run: str | Path) -> ModelJudge:
        """That of a run.

        Raises:
            JudgeError: when the run has learnt no scores.
        """
        stored = StoredModel(str(run))
        policy = policy_folder.read_each(Path(run))[0].policies[0]
        if SCORE not in network_of(policy).last:
            raise JudgeError(f"{run} has learnt no scores: expected a run of reward_model, or a function FILE.py:NAME")
        return cls(Writer.of(stored, None), policy)

    def __call__(self, prompts: Sequence[Text], answers: Sequence[Text]) -> list[float]:
        found = (_scores(policy, lived) for policy, lived in _read(self.policy, self.writer, prompts, answers))
        return np.concatenate([np.asarray(each) for each in found])[: len(prompts)].tolist()


def win_rate(
    one: LanguageModel,
    other: LanguageModel,
    prompts: Sequence[Text],
    by: Judge,
    *,
    answers: int = 1,
    tokens: int | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 (it cannot change)
    seed: int = 0,
) -> WinRate:
    """How often a judge prefers what one model answers to what another does.

    Args:
        one: whose rate it is.
        other: with whom it is compared.
        prompts: to be answered by both.
        by: the judge.
        answers: of each model to each prompt, which are compared pair by pair.
        tokens: how many an answer has at most; None for 64, or as many as there is room for.
        sampling: how each token is drawn.
        seed: what is drawn follows from it.

    Raises:
        JudgeError: when the judge gives something else than one finite number for each answer.
    """
    asked = [prompt for prompt in prompts for _ in range(answers)]
    each = []
    for number, model in enumerate((one, other)):
        said = _answered(model, asked, tokens, sampling, seed + number)
        each.append(np.asarray(by(_shown(asked), [answer.text for answer in said])))
    apart = np.sign(each[0] - each[1])
    share = ((1 + apart) / 2).reshape(len(prompts), answers).mean(axis=1)
    low, high = proportion95(float(share.sum()), len(share))
    wins, ties, losses = (int((apart == sign).sum()) for sign in (1, 0, -1))
    return WinRate(wins, ties, losses, float(share.mean()), low, high, len(prompts))


def mean_score(
    model: LanguageModel,
    prompts: Sequence[Text],
    by: Judge,
    *,
    tokens: int | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 (it cannot change)
    seed: int = 0,
) -> tuple[float, float, float]:
    """What a judge gives a model's answers: the mean over prompts and its 95% interval.

    Args:
        model: which answers.
        prompts: to be answered.
        by: the judge.
        tokens: how many an answer has at most; None for 64, or as many as there is room for.
        sampling: how each token is drawn.
        seed: what is drawn follows from it.
    """
    said = _answered(model, prompts, tokens, sampling, seed)
    return _mean(by(_shown(prompts), [answer.text for answer in said]))


def best_of(
    model: LanguageModel,
    prompts: Sequence[Text],
    by: Judge,
    n: int,
    *,
    tokens: int | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 (it cannot change)
    seed: int = 0,
) -> list[Answer]:
    """The best of n answers to each prompt: what no training is needed for, and n times the writing.

    It goes log n − (n−1)/n nats from the model, or less: `retorno.ops.best_of_n` has its law.

    Args:
        model: which answers.
        prompts: to be answered.
        by: who says which is the best; of equals the first is taken.
        n: how many are written to each prompt.
        tokens: how many an answer has at most; None for 64, or as many as there is room for.
        sampling: how each token is drawn.
        seed: what is drawn follows from it.

    Raises:
        JudgeError: when n is none, or the judge gives something else than one finite number for each answer.
    """
    said, scores = _several(model, prompts, {"by": by}, n, tokens, sampling, seed)
    return [answers[int(np.argmax(own))] for answers, own in zip(said, scores["by"], strict=True)]


def best_of_frontier(
    model: LanguageModel,
    prompts: Sequence[Text],
    judges: Mapping[str, Judge],
    numbers: Sequence[int],
    *,
    tokens: int | None = None,
    seed: int = 0,
) -> Iterator[Point]:
    """What each judge gives the best of n answers by the first of them, and how far that is from the model.

    As many answers are written to each prompt as the largest n says; for a smaller one all that can be drawn of them
    count (Nakano et al. 2021, appendix I).

    Args:
        model: which answers.
        prompts: to be answered.
        judges: by name; the first one chooses.
        numbers: each n.
        tokens: how many an answer has at most; None for 64, or as many as there is room for.
        seed: what is drawn follows from it.

    Raises:
        JudgeError: when an n is none, or a judge gives something else than one finite number for each answer.
    """
    said, scores = _several(model, prompts, judges, max(numbers), tokens, Sampling(), seed)
    ended = np.array([[answer.ended for answer in answers] for answers in said])
    choosing = next(iter(scores.values()))
    for n in sorted(numbers):
        weights = np.array([best_of_n_weights(own, n) for own in choosing])
        told = {name: _mean((weights * own).sum(1)) for name, own in scores.items()}
        kl = best_of_n_kl(n)
        yield Point(0, (kl, kl, kl), told, float((weights * ended).sum(1).mean()), n)


def _several(
    model: LanguageModel,
    prompts: Sequence[Text],
    judges: Mapping[str, Judge],
    n: int,
    tokens: int | None,
    sampling: Sampling,
    seed: int,
) -> tuple[list[list[Answer]], dict[str, Float[np.ndarray, "N n"]]]:
    """N answers to each prompt, and what each judge gives them; as many are written side by side as are read."""
    if n < 1:
        raise JudgeError(f"the best of {n} answers: expected 1 or more")
    asked = [prompt for prompt in prompts for _ in range(n)]
    written = _written(model, asked)
    tokens, said = model.room(written, tokens), list[Answer]()
    for start in range(0, len(asked), BATCH):
        part = written[start : start + BATCH]
        filled = part + part[:1] * (min(BATCH, len(asked)) - len(part))
        said += generate(model, filled, tokens, sampling, seed + start)[: len(part)]
    texts, shown = [answer.text for answer in said], _shown(asked)
    scores = {
        name: np.asarray(judge(shown, texts), np.float64).reshape(len(prompts), n) for name, judge in judges.items()
    }
    return [said[i : i + n] for i in range(0, len(said), n)], scores


def frontier(
    run: str | Path,
    prompts: Sequence[Text],
    judges: Mapping[str, Judge],
    *,
    reference: str | Path | None = None,
    tokens: int | None = None,
    seed: int = 0,
    newest: int | None = None,
) -> Iterator[Point]:
    """What each judge gives the policies that a run kept, and how far they are from where it began.

    Where the reward that was learnt (the proxy) rises on while another that is meant (the gold) falls, the policy has
    learnt the reward model's mistakes: Gao, Schulman & Hilton 2022, "Scaling laws for reward model overoptimization".

    Args:
        run: its folder; it keeps a policy for each of its stretches.
        prompts: to be answered by each.
        judges: by name.
        reference: the model from which distance is measured; None for the one with which the run began.
        tokens: how many an answer has at most; None for 64, or as many as there is room for.
        seed: what is drawn follows from it.
        newest: how many of them, the newest ones; None for all.

    Returns:
        A point for each step, the first one first.

    Raises:
        JudgeError: when a judge gives something else than one finite number for each answer.
        ModelError: when the run is none over a language model, or its reference is gone.
    """
    stored = StoredModel(str(run))
    begun = load(reference) if reference is not None else load(stored.begun_with)
    writer, before = Writer.of(stored, None), begun.policy
    for step in sorted(policy_folder.steps(Path(run))[:newest]):
        policy = policy_folder.read_each(Path(run), step)[0].policies[0].select(POLICY)
        model = LanguageModel(stored.architecture, stored.tokenizer, policy)
        said = _answered(model, prompts, tokens, Sampling(), seed)
        if reference is None and (temperature := temperature_of(policy)) != 1:
            before = AtTemperature(begun.policy, temperature)
        own, theirs = (
            _log_probs_of(each, writer, prompts, [x.tokens for x in said], False) for each in (policy, before)
        )
        texts = [answer.text for answer in said]
        told = {name: _mean(judge(_shown(prompts), texts)) for name, judge in judges.items()}
        yield Point(step, _mean(own - theirs), told, sum(answer.ended for answer in said) / len(said))


def answer_log_probs(model: LanguageModel, prompts: Sequence[Text], answers: Sequence[Text]) -> Float[np.ndarray, " N"]:
    """How likely a model gives each answer, and ends it: the log of its probability, in nats.

    Args:
        model: whose answers they might be.
        prompts: what is asked.
        answers: to each.
    """
    return _log_probs_of(model.policy, Writer.of(model, None), prompts, answers)


def _mean(samples: Sequence[float] | Float[np.ndarray, " N"]) -> tuple[float, float, float]:
    found = np.asarray(samples, np.float64)
    low, high = interval95(found)
    return float(found.mean()), low, high


def _written(model: LanguageModel, prompts: Sequence[Text]) -> list[list[int]]:
    writer = Writer.of(model, None)
    return [writer.prompt(prompt, f"prompt {number}") for number, prompt in enumerate(prompts)]


def _answered(
    model: LanguageModel, prompts: Sequence[Text], tokens: int | None, sampling: Sampling, seed: int
) -> list[Answer]:
    written = _written(model, prompts)
    return generate(model, written, model.room(written, tokens), sampling, seed)


def _shown(prompts: Sequence[Any]) -> list[str]:
    """Prompts as judges read them: of a conversation what was said last."""
    return [prompt if isinstance(prompt, str) else _last(prompt) for prompt in prompts]


def _last(prompt: Sequence[Any]) -> str:
    said = prompt[-1] if prompt else ""
    return said["content"] if isinstance(said, Mapping) else " ".join(map(str, prompt))


def _log_probs_of(
    policy: Policy, writer: Writer, prompts: Sequence[Text], answers: Sequence[Any], ended: bool = True
) -> Float[np.ndarray, " N"]:
    """Log π of each answer."""
    found = (_log_probs(each, lived) for each, lived in _read(policy, writer, prompts, answers, ended))
    return np.concatenate([np.asarray(each) for each in found])[: len(prompts)]


def _read(
    policy: Policy, writer: Writer, prompts: Sequence[Text], answers: Sequence[Any], ended: bool = True
) -> Iterator[tuple[Policy, Trajectory]]:
    """Answers as columns, a batch at a time; of the last one the first answer fills up what is left."""
    texts = []
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        where = f"answer {number}"
        said = writer.answer(answer, where) if ended else writer.tokens(answer, where)
        texts.append(text_episode([Piece(writer.prompt(prompt, where), False), Piece(said, True)], writer))
    lengths = [len(text.steps.last) for text in texts]
    longest = max(lengths)
    if longest > writer.longest:
        raise JudgeError(
            f"answer {lengths.index(longest)} is {longest} tokens long with its prompt, and who judges it reads "
            f"{writer.longest} at most: let answers be shorter (--tokens), or judge by a model that reads more"
        )
    rows = min(math.ceil(longest / ROOM) * ROOM, writer.longest)
    texts += [texts[0]] * (-len(texts) % BATCH)
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        yield (
            with_window(policy, rows),
            recorded_episodes(batch, writer.space, writer.space, rows=rows, packed=False).lived,
        )


@constants.jit
def _scores(policy: Policy, lived: Trajectory) -> Float[Array, " B"]:
    return scores(policy, lived.steps)


@constants.jit
def _log_probs(policy: Policy, lived: Trajectory) -> Float[Array, " B"]:
    return log_probs(policy.select(POLICY), lived)
