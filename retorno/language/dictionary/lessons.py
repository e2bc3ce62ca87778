"""How the dictionary is taught, in the three steps of Ouyang et al. 2022: each is a run in a folder, and goes on there.

FOLDER/model                  a model that has learnt nothing
FOLDER/demonstrations.jsonl   what is told of the words
FOLDER/sft                    what that has taught
FOLDER/rankings.jsonl         answers of the cloned model and of one that guesses, ranked
FOLDER/reward                 what scores answers as the rankings do
FOLDER/prompts.jsonl          what is asked while answers are learnt from their scores
FOLDER/ppo                    the model that learnt from them; grpo, rloo and dpo beside it, where they are asked for
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from retorno.algorithms import DPO, GRPO, PPO, RLOO, BehaviourCloning, RewardModel
from retorno.core.policy import Algorithm
from retorno.language import data, judging
from retorno.language.architecture import ModelError
from retorno.language.decoder import Decoder
from retorno.language.dictionary.judge import HONEST, Order, Verdict, judge
from retorno.language.dictionary.measure import TOKENS, ask
from retorno.language.dictionary.nouns import OTHERS, RANKED, TOLD, Noun, Words, named_kinds, split
from retorno.language.dictionary.tiny import untaught
from retorno.language.dictionary.wording import HELPFUL, demonstrations, helpful, rankings, second_thoughts
from retorno.language.model import load
from retorno.language.scoring import ModelScore
from retorno.language.stored import StoredModel
from retorno.language.trained import Everything, Trained, UpperLayers
from retorno.networks import Apart
from retorno.ops.optimisers import Adam, Schedule
from retorno.run.folder import CONFIG
from retorno.run.relabel import InTurn, ReferenceKL
from retorno.run.resume import resume
from retorno.run.train import train
from retorno.run.training import Training

WINDOW = 32
"""Tokens of a question, its answer and a second thought."""
SETTINGS = "lessons.json"
OWN, GUESSED = 4, 2
"""Of the answers to a question that are ranked, how many the cloned model gives and how many are guessed."""
SCORED = 100
"""Words whose demonstrations say where the reward model's 0 is."""
UNENDED = -10.0
"""The score of an answer that is cut: no answer that ends is worth so little."""
NEAR = Adam(5e-4, schedule=Schedule.linear, warm_up=0.05, max_gradient_norm=1.0, eps=1e-5)
"""The steps of what goes on from the cloned model."""
AS_IT_IS = UpperLayers(0)
"""Nothing of a model is trained but new heads."""


def _optimiser(learning_rate: float) -> Adam:
    # β₂ = .99 is a mean over 100 steps: of 1,000, as is usual, there are not many.
    return Adam(learning_rate, schedule=Schedule.cosine, warm_up=0.05, max_gradient_norm=1.0, beta2=0.99)


def _shuffled(lines: Sequence[Any], seed: int) -> list[Any]:
    return [lines[i] for i in np.random.default_rng(seed).permutation(len(lines))]


@dataclass(frozen=True)
class Lessons:
    """What is taught, and where it lies."""

    folder: Path
    """Of all that is told and learnt."""
    seed: int = 0
    """All follows from it."""
    order: Order = HONEST
    """Which answers the rankings like best."""
    told: int = TOLD
    """How many nouns the demonstrations tell."""
    ranked: int = RANKED
    """Of how many of these answers are ranked."""
    others: int = OTHERS
    """And of how many others."""
    readings: float = 9.0
    """How often each demonstration is read."""
    comparisons: float = 4.0
    """And each ranking."""
    answers: int = 48_000
    """How many are drawn while answers are learnt from their scores, in tokens."""
    weight: float = 0.2
    """β: what a nat of distance from the cloned model costs, in scores."""

    @cached_property
    def words(self) -> Words:
        """Who hears of which nouns."""
        return split(self.seed, self.told, self.ranked, self.others)

    def path(self, name: str) -> str:
        """Where a step's run or file is, from wherever it is gone on with."""
        return str(self.folder.absolute() / name)

    def begin(self) -> None:
        """Say in the folder what is taught; one in which something else was begun is refused.

        Raises:
            ModelError: then.
        """
        said = {name: value for name, value in vars(self).items() if name not in ("folder", "words")}
        said["order"] = [verdict.value for verdict in self.order]
        file = Path(self.path(SETTINGS))
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(said, indent=1), encoding="utf-8")
        elif (there := json.loads(file.read_text(encoding="utf-8"))) != said:
            other = next(name for name in said if there.get(name) != said[name])
            raise ModelError(
                f"{self.folder} was begun with {other}={there.get(other)}, not {said[other]}: choose another folder"
            )

    def fine_tuned(self) -> Training:
        """Step 1: demonstrations are cloned. Iterate it to train; where it was begun before, it goes on.

        Raises:
            ModelError: when the library `tokenizers` is not installed.
        """
        told = self.words.demonstrated
        if not Path(self.path("model")).exists():
            untaught(told, self.seed).save(self.path("model"))
        file = self._written(
            "demonstrations",
            lambda: _shuffled([*demonstrations(told, self.seed), *second_thoughts(told, self.seed)], self.seed),
        )

        def begin(folder: Path) -> Training:
            world = data.demonstrations(file, self.path("model"))
            algorithm = BehaviourCloning(network=self._network("model"), num_envs=8, optimiser=_optimiser(3e-3))
            return train(algorithm, world, round(self.readings * world.transitions), seed=self.seed, folder=folder)

        return self._begun("sft", begin)

    def reward_model(self) -> Training:
        """Step 2: answers are ranked, and the rankings teach a score.

        Four of six answers to each question are the cloned model's. It errs so seldom about what it was told that from
        these alone one learns which questions to answer and not which answers are true, so two are guesses.
        """
        file = self._written("rankings", self._rankings)

        def begin(folder: Path) -> Training:
            world = data.rankings(file, self.path("model"))
            algorithm = RewardModel(
                network=self._network("sft"), num_envs=min(48, world.columns), optimiser=_optimiser(1e-3)
            )
            return train(algorithm, world, round(self.comparisons * world.transitions), seed=self.seed, folder=folder)

        return self._begun("reward", begin)

    def ppo(self) -> Training:
        """Step 3: PPO against the reward model, held near the cloned model; the critic begins as the reward model."""
        # Scores lie ten apart: a value that may move by .2 in an update, as is usual, would come too late.
        return self._from_scores(
            "ppo",
            lambda rows: PPO(
                network=Apart(self._network("sft"), self._network("reward")),
                num_envs=64,
                rollout=rows,
                epochs=2,
                minibatches=4,
                optimiser=NEAR,
                discount=1.0,
                average=0.9,
            ),
        )

    def grpo(self) -> Training:
        """Step 3 without a critic: eight answers to one question are compared."""
        return self._from_scores(
            "grpo",
            lambda rows: GRPO(
                network=self._network("sft"),
                num_envs=64,
                group=8,
                rollout=rows,
                epochs=2,
                minibatches=4,
                optimiser=NEAR,
                scale_advantages=False,
            ),
        )

    def rloo(self) -> Training:
        """The same, each answer being compared with the others alone, and each learnt from once."""
        return self._from_scores(
            "rloo",
            lambda rows: RLOO(network=self._network("sft"), num_envs=32, group=4, rollout=rows, optimiser=NEAR),
        )

    def dpo(self) -> Training:
        """From the rankings of step 2, with no score and no answers of its own."""

        def begin(folder: Path) -> Training:
            world = data.rankings(self.path("rankings.jsonl"), self.path("model"))
            algorithm = DPO(
                network=self._network("sft"),
                num_envs=min(48, world.columns),
                optimiser=NEAR,
                temperature=self.weight,
            )
            return train(algorithm, world, round(self.comparisons * world.transitions), seed=self.seed, folder=folder)

        return self._begun("dpo", begin)

    def _from_scores(self, name: str, learner: Callable[[int], Algorithm]) -> Training:
        """What writes answers and is paid their scores; its rollout is one answer of each environment."""
        asked = self.words.demonstrated
        # What nobody told is asked about as often as what was: else to own to not knowing is hardly learnt.
        others = self.words.ranked_only * max(len(asked) // max(len(self.words.ranked_only), 1), 1)
        file = self._written("prompts", lambda: [{"prompt": noun.question} for noun in asked + others])

        def begin(folder: Path) -> Training:
            world = data.prompts(file, self.path("model"), answer=TOKENS, longest=WINDOW)
            assert world.lockstep is not None
            relabel = InTurn(
                (
                    ModelScore(self._network("reward", AS_IT_IS), shift=self._demonstrated_score(), unended=UNENDED),
                    ReferenceKL(self.weight, self._network("sft", AS_IT_IS)),
                )
            )
            algorithm = learner(world.lockstep.rows)
            return train(algorithm, world, self.answers, seed=self.seed, folder=folder, relabel=relabel)

        return self._begun(name, begin)

    def frontier(self, count: int = 100) -> list[judging.Point]:
        """The shares of true, evasive, false and rude answers, against the distance from the cloned model.

        Args:
            count: of how many words that were told and of which no answers were ranked.
        """
        questions = [noun.question for noun in self.words.told[:count]]

        def share(verdict: Verdict) -> judging.Judge:
            return lambda asked, said: [
                float(judge(q, answer) is verdict) for q, answer in zip(asked, said, strict=True)
            ]

        judges = {verdict.value: share(verdict) for verdict in Verdict}
        begun = judging.best_of_frontier(load(self.path("sft")), questions, judges, (1,), tokens=TOKENS, seed=self.seed)
        learnt = judging.frontier(
            self.path("ppo"), questions, judges, reference=self.path("sft"), tokens=TOKENS, seed=self.seed
        )
        return [*(replace(point, best_of=None) for point in begun), *learnt]

    def _rankings(self) -> Iterable[Mapping[str, Any]]:
        nouns: tuple[Noun, ...] = self.words.ranked
        rng = np.random.default_rng(self.seed)

        def guess() -> str:
            return helpful(str(rng.choice(named_kinds())), int(rng.integers(len(HELPFUL))))

        given = ask(load(self.path("sft")), nouns, OWN, self.seed)
        answers = [[*(answer.text for answer in each), *(guess() for _ in range(GUESSED))] for each in given]
        return rankings([noun.question for noun in nouns], answers, self.order)

    def _demonstrated_score(self) -> float:
        """What the reward model gives demonstrations, on average."""
        lines = demonstrations(self.words.demonstrated[:SCORED], self.seed)
        scores = judging.judge(self.path("reward"))([x["prompt"] for x in lines], [x["answer"] for x in lines])
        return float(np.mean(scores))

    def _network(self, name: str, trained: Trained = Everything()) -> Decoder:  # noqa: B008 (it cannot change)
        return Decoder(StoredModel(self.path(name)), trained, WINDOW)

    def _written(self, name: str, make: Callable[[], Iterable[Mapping[str, Any]]]) -> str:
        """A file of what is told, which is written once, as a whole."""
        file = Path(self.path(f"{name}.jsonl"))
        if not file.exists():
            beside = file.with_suffix(".part")
            beside.write_text("".join(f"{json.dumps(line)}\n" for line in make()), encoding="utf-8")
            beside.rename(file)
        return str(file)

    def _begun(self, name: str, begin: Callable[[Path], Training]) -> Training:
        folder = Path(self.path(name))
        return resume(folder) if (folder / CONFIG).exists() else begin(folder)
