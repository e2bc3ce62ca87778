"""What answers are worth: by a reward model, or by a Python function of the texts. Relabels, as any reward is.

A score is paid with an answer's last token. One that no token ended gets a fixed low score instead: else what scores
well would be drawn out until it is cut (Ouyang et al. 2022; the field's usual −1).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Key

from retorno.algorithms.preferences.reward_model import SCORE
from retorno.core.policy import Metrics, Policy, Relabel, unroll_batch
from retorno.core.spaces import SpaceError, Spec
from retorno.core.time_step import Only, Trajectory
from retorno.environments.own_code import OwnCodeError, OwnFunction, guarded, located
from retorno.environments.text.prompts import Prompts
from retorno.environments.wrappers import Wrapper
from retorno.language.stored import StoredModel
from retorno.networks import MLP, NetworkConfig, ValueHead
from retorno.ops.objectives import masked_mean
from retorno.run.relabel import register


@register
@dataclass(frozen=True)
class ModelScore:
    """Pays each answer what a reward model says of it, on its last token."""

    network: NetworkConfig = field(default_factory=MLP)
    """The reward model, whose head "value" scores: `Decoder(StoredModel("runs/reward"), UpperLayers(0))`, or
    `Pretrained`."""
    shift: float = 0.0
    """Taken off each score: what demonstrations score on average, so that these are worth 0."""
    unended: float | None = -1.0
    """The score of an answer that was cut; None for the model's own."""
    beside: tuple[ModelScore, ...] = ()
    """Others, each learnt apart, best from models that were cloned apart: the least of what all say of an answer is
    paid, so that what pleases some of them by chance is worth nothing (Coste et al. 2024, worst-case optimisation)."""

    def build(self, key: Key[Array, ""], spec: Spec) -> ScoredByModel:
        texts = Texts.of(spec, "ModelScore")
        members = tuple(
            Member(each.network.build(k, spec.observation_space, {SCORE: ValueHead()}), jnp.float32(each.shift))
            for each, k in zip((self, *self.beside), jax.random.split(key, 1 + len(self.beside)), strict=True)
        )
        return ScoredByModel(texts, self.unended, members)


@register
@dataclass(frozen=True)
class FunctionScore(OwnFunction):
    """Pays each answer what a Python function of the texts says of it: a verifier, a judge, a rule.

    `reward(prompts, answers)` is called once for all that was written in a rollout and gives one number for each. Both
    are lists: of texts where there is a tokenizer, else of tuples of tokens; without the token that ended the answer.
    """

    WHAT: ClassVar[str] = "reward"

    model: StoredModel | None = None
    """Whose tokenizer makes texts of tokens; None for tokens as they are."""
    unended: float | None = -1.0
    """The score of an answer that was cut; None for what the function says of it."""

    def build(self, key: Key[Array, ""], spec: Spec) -> ScoredByFunction:
        reward = self.found()
        tokenizer = None if self.model is None else self.model.tokenizer
        if self.model is not None and tokenizer is None:
            raise SpaceError(
                f"{self.model.model} has no tokenizer, so that a function would be given tokens: model=None"
            )
        texts = Texts.of(spec, "FunctionScore")
        return ScoredByFunction(texts, self.unended, Scorer(self.function, reward, tokenizer))


class Texts(eqx.Module):
    """Which rows are a text, and whether it was ended."""

    ends: Int[Array, " E"]
    rows: int = eqx.field(static=True)
    """From the turn of one text to the next."""

    @classmethod
    def of(cls, spec: Spec, relabel: str) -> Texts:
        """Of a world of prompts.

        Raises:
            SpaceError: where texts do not begin together, so that one might lie in two rollouts.
        """
        together, world = None if spec.world is None else spec.world.lockstep, spec.world
        while isinstance(world, Wrapper):
            world = world.world
        if together is None or not isinstance(world, Prompts):
            raise SpaceError(
                f"{relabel} scores whole answers: give it prompts that are answered together, as "
                "retorno.language.prompts(…) or retorno.environments.Prompts(…).together()"
            )
        return cls(world.ends, together.rows)

    def closing(self, lived: Trajectory) -> Bool[Array, "T B"]:
        """Which transitions lead to a text's last token.

        Raises:
            ValueError: when the rollout is not of whole texts.
        """
        if len(lived.transitions) % self.rows:
            raise ValueError(
                f"answers are scored as a whole, and a rollout of {len(lived.transitions)} rows cuts through some: "
                f"choose rollout={self.rows} or a multiple"
            )
        return lived.transitions & lived.steps.last[1:]

    def ended(self, lived: Trajectory) -> Bool[Array, "T B"]:
        """Which of them lead to a token that ends one."""
        return self.closing(lived) & (lived.steps.obs[1:, :, None] == self.ends).any(-1)


class _Scored(Relabel):
    """What both have in common: where a score is paid, and what of the answers is told."""

    texts: Texts
    unended: float | None = eqx.field(static=True)

    @property
    def context(self) -> None:
        return None

    def reward(self, trajectory: Trajectory) -> Float[Array, "T B"]:
        return trajectory.steps.reward[1:] + self.paid(trajectory)

    def paid(self, lived: Trajectory) -> Float[Array, "T B"]:
        """The scores, each with its answer's last token."""
        score, closing, ended = self.scores(lived), self.texts.closing(lived), self.texts.ended(lived)
        if self.unended is not None:
            score = jnp.where(ended | ~jnp.isfinite(score), score, self.unended)
        return jnp.where(closing, score, 0.0)

    def scores(self, lived: Trajectory) -> Float[Array, "T B"]:
        """Of each answer, on the transition to its last token."""
        raise NotImplementedError

    def learn(self, trajectory: Trajectory, key: Key[Array, ""]) -> tuple[Relabel, Metrics]:
        closing = self.texts.closing(trajectory)
        answers = jnp.maximum(closing.sum(), 1)
        return self, {
            "score": masked_mean(self.paid(trajectory), closing),
            "ended": self.texts.ended(trajectory).sum() / answers,
            "length": trajectory.choices.sum() / answers,
        }

    def objective(self, metrics: Metrics, before: Float[Array, ""] | None) -> Float[Array, ""]:
        """The mean score: the world of prompts pays nothing."""
        return metrics["score"] + (0.0 if before is None else before)


class ScoredByModel(_Scored):
    """Scores of networks that read the whole text: the least of theirs."""

    members: tuple[Member, ...]

    def scores(self, lived: Trajectory) -> Float[Array, "T B"]:
        return functools.reduce(jnp.minimum, (member.scores(lived) for member in self.members))


class Member(eqx.Module):
    """One reward model, and where its zero is."""

    network: Policy
    shift: Float[Array, ""]

    def scores(self, lived: Trajectory) -> Float[Array, "T B"]:
        """Of each row."""
        rows = lived.steps
        value = unroll_batch(self.network, rows.obs, rows.first)
        return value[SCORE][1:] - self.shift


class ScoredByFunction(_Scored):
    """Scores of a function, which the compiled program calls on the host."""

    scorer: Scorer = eqx.field(static=True)

    def scores(self, lived: Trajectory) -> Float[Array, "T B"]:
        steps = lived.steps
        assert isinstance(steps.legal, Only)
        rows = (steps.obs, steps.first, steps.legal.action, self.texts.closing(lived), self.texts.ended(lived))
        like = jax.ShapeDtypeStruct(lived.transitions.shape, jnp.float32)
        return jax.pure_callback(self.scorer, like, *rows, vmap_method="sequential")

    def trouble(self, metric: str) -> str | None:
        return self.scorer.trouble if metric == "score" else None


class Answered(NamedTuple):
    """Texts of a rollout, as tokens; the place of each in it."""

    prompts: list[tuple[int, ...]]
    answers: list[tuple[int, ...]]
    """Without the token that ended it."""
    places: list[tuple[int, int]]


def answered(obs: Any, first: Any, left: Any, closing: Any, ended: Any) -> Answered:
    """The texts that end in a rollout, on the host.

    Args:
        obs: the token on each row. Shape [T+1, B].
        first: whether a text begins there. Shape [T+1, B].
        left: which token alone may follow; −1 where any may. Shape [T+1, B].
        closing: whether a text ends on the next row. Shape [T, B].
        ended: whether it does with a token that ends one. Shape [T, B].
    """
    obs, first, left, closing, ended = (np.asarray(x) for x in (obs, first, left, closing, ended))
    found = Answered([], [], [])
    for t, env in np.argwhere(closing):
        begin = int(np.flatnonzero(first[: t + 1, env])[-1])
        free = begin + int(np.argmax(left[begin : t + 1, env] < 0))
        said = obs[free + 1 : t + 2, env]
        found.prompts.append(tuple(obs[begin : free + 1, env].tolist()))
        found.answers.append(tuple((said[:-1] if ended[t, env] else said).tolist()))
        found.places.append((int(t), int(env)))
    return found


class Scorer:
    """A reward function of the user's, asked once about each rollout, and what went wrong in it."""

    def __init__(self, name: str, reward: Callable[[list[Any], list[Any]], Any], tokenizer: Any) -> None:
        self.name, self.reward, self.tokenizer = name, reward, tokenizer
        self.trouble: str | None = None
        self._newest: tuple[bytes, np.ndarray] = (b"", np.zeros(0))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scorer) and (self.name, self.reward, self.tokenizer) == (
            other.name,
            other.reward,
            other.tokenizer,
        )

    def __hash__(self) -> int:
        return hash((self.name, self.reward))

    def __call__(self, *rows: Any) -> Float[np.ndarray, "T B"]:
        """The scores of a rollout's texts [T, B]; NaN where the function did not give them."""
        held = [np.asarray(x) for x in rows]
        told = b"".join(x.tobytes() for x in held)
        # A program asks twice: for the rewards, and for what is reported of them.
        if told != self._newest[0]:
            self._newest = (told, self._scores(answered(*held), held[3].shape))
        return self._newest[1]

    def _scores(self, texts: Answered, shape: tuple[int, ...]) -> Float[np.ndarray, "T B"]:
        paid = np.zeros(shape, np.float32)
        if not texts.places:
            return paid
        decode = (lambda tokens: tokens) if self.tokenizer is None else self.tokenizer.decode
        prompts, answers = [decode(said) for said in texts.prompts], [decode(said) for said in texts.answers]
        file, module, _ = located(self.name)
        try:
            scores = guarded(str(file or module), lambda: self.reward(list(prompts), list(answers)), "reward")
            paid[tuple(np.array(texts.places).T)] = numbers(scores, prompts, answers)
        except (OwnCodeError, OSError) as error:
            self.trouble, paid = f"the reward {self.name} failed: {error}", np.full(shape, np.nan, np.float32)
        except ValueError as error:
            self.trouble, paid = f"the reward {self.name} {error}", np.full(shape, np.nan, np.float32)
        return paid


def numbers(scores: Any, prompts: Sequence[Any], answers: Sequence[Any]) -> Float[np.ndarray, " N"]:
    """What a function gave for answers, as numbers.

    Raises:
        ValueError: when there are too many, too few, or others than finite numbers; it says for which answer.

    Args:
        scores: what it gave.
        prompts: what was asked.
        answers: what was scored.
    """
    expected = f"expected a list of {len(answers)} numbers, one for each answer"
    try:
        found = np.asarray(scores, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"gave {scores!r:.60}: {expected}") from None
    if found.shape != (len(answers),):
        given = f"{len(found)} scores" if found.ndim == 1 else f"scores of shape {found.shape}"
        raise ValueError(f"gave {given} for {len(answers)} answers: {expected}")
    if not np.isfinite(found).all():
        wrong = int(np.argmin(np.isfinite(found)))
        raise ValueError(
            f"gave {found[wrong]} for the answer {answers[wrong]!r:.60} to {prompts[wrong]!r:.60}: {expected}"
        )
    return found
