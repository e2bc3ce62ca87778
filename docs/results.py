"""Does it learn? Every result of docs/results.md, over ten seeds, from one command.

    python docs/results.py                 # all of them: hours on two cores
    python docs/results.py ppo-CartPole-v1 # the named ones
    python docs/results.py --render        # only write docs/results.md again
    python docs/results.py --film ppo-Hopper-v5-backflip  # the first seed's film of what a rule taught, in docs/images

Each seed is a recorded run in runs/results/, as many at once as there are cores: a result whose measuring is stopped,
however it is, goes on where it was, so that one can be made over days. Once it is there its runs are taken away. Each
result is kept in docs/results/<name>.json with the machine and the commit it was measured on (all of them where its
seeds were lived at several); docs/results.md is made from those files.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import as_completed
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import dictionary_results
import equinox as eqx
import gymnasium as gym
import jax.numpy as jnp
import numpy as np
from jax import Array

import retorno as rt
from retorno.algorithms.published import settings
from retorno.cli.arena import with_simulations
from retorno.cli.play import write
from retorno.cli.runs import learnt
from retorno.cli.train import as_options, part_name
from retorno.core.environment import Environment
from retorno.core.time_step import TimeStep
from retorno.environments.registry import WorldName, make, model
from retorno.environments.wrappers import Wrapper
from retorno.figures.judged import Judged, connect_four, critical_positions, every_position
from retorno.labels import write_records
from retorno.networks import CNN, GRU, LSTM, MLP, NETWORKS, Stack, Transformer
from retorno.ops.intervals import interval95
from retorno.plots.player import Player, staged
from retorno.policies import EpsilonGreedyPolicy
from retorno.preferences import Centre, FunctionJudge, Preferences, StateEntropy, TrueReward, ranked_demonstrations
from retorno.replay import REPLAYS, UniformReplay
from retorno.run import checkpoint
from retorno.run.config import to_json
from retorno.run.evaluate import Evaluation, evaluate
from retorno.run.match import meet
from retorno.run.oracle import ROUNDING, regret
from retorno.run.processes import workers
from retorno.run.resume import restore
from retorno.run.training import Training
from retorno.search.hex import HexSolver
from retorno.search.othello import OthelloSolver
from retorno.search.perfect import Perfect

SEEDS = 10
EPISODES = 100
HERE = Path(__file__).parent
KEPT = HERE / "results"
GROWING = HERE.parent / "runs" / "results"
FILMED, LONGEST = 1_000_000, 250
"""The seed of the episode that is filmed, and how many of its steps."""


KINDS = {"network": NETWORKS, "replay": REPLAYS}
"""By what names an algorithm's parts are chosen."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of the page: what is trained, and what is asked of it."""

    algorithm: str
    world: str
    asked: str
    steps: int | None = None
    network: Any = None
    replay: Any = None
    seeds: int = SEEDS
    first_seed: int = 0
    """Others than those on which settings were chosen."""
    episodes: int = EPISODES
    """Of each policy. All seeds see the same ones: where returns differ much by how an episode begins, as Pendulum's,
    the interval over seeds says nothing of that, and there have to be many."""
    changed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Of the algorithm's published settings."""
    taught: Preferences | None = None
    """Where a reward is learnt from comparisons, one answer in ten of them wrong."""
    of_world: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """How the world is made."""
    judge: Callable[[Result], dict[str, Any]] = dataclasses.field(default=lambda result: returns(result))
    called: str = ""
    """What its name ends with, where nothing else in it tells it from another."""
    begun: Callable[[Result], Result] | None = None
    """What has to be there first: makes it, and gives the result as it is measured then."""

    @property
    def name(self) -> str:
        world = self.world.replace("/", "-")
        parts = (part_name(KINDS[part], made) for part, made in self.parts.items())
        preferred = [] if self.taught is None else [self.rule or f"{self.taught.labels}-labels"]
        clips = 2 if self.taught is None else self.taught.clips
        preferred += [f"{clips}-clips"] if clips > 2 else []
        return "-".join([self.algorithm, world, *parts, *preferred, *([self.called] if self.called else [])])

    @property
    def rule(self) -> str | None:
        """By which of docs/rules.py it is taught, if by one."""
        judge = None if self.taught is None else self.taught.judge
        return judge.function.partition(":")[2] if isinstance(judge, FunctionJudge) else None

    @property
    def parts(self) -> dict[str, Any]:
        """What the algorithm is made of in place of what is published."""
        return {part: made for part in ("network", "replay") if (made := getattr(self, part)) is not None}

    @property
    def command(self) -> str:
        """The same training from the command line."""
        parts = "".join(
            f" {option}"
            for part, made in self.parts.items()
            for option in (f"--{part} {part_name(KINDS[part], made)}", *as_options(made, type(made)(), f"--{part}."))
        )
        steps = f" --steps {self.steps}" if self.steps is not None else ""
        steps += "".join(f" --world.{name} {str(value).lower()}" for name, value in self.of_world.items())
        usual = _usual(self)
        parts += "".join(f" {option}" for option in as_options(dataclasses.replace(usual, **self.changed), usual))
        seeds = f" --seed {self.first_seed}" if self.first_seed else ""
        seeds += f" --seeds {self.seeds}"
        if self.taught is not None:
            own = as_options(self.taught, Preferences(labels=self.taught.labels, judge=self.taught.judge), "--relabel.")
            who = f"docs/rules.py:{self.rule}" if self.rule else "reward"
            own = [*own, *([] if self.rule else as_options(self.taught.judge, TrueReward(), "--relabel.judge."))]
            own = [option.replace(f"{HERE.parent}/", "") for option in own]
            judged = " ".join([f"--judge {who} --labels {self.taught.labels}", *own])
            return f"retorno prefer {self.algorithm} {self.world} {judged}{parts}{steps}{seeds}"
        return f"retorno train {self.algorithm} {self.world}{parts}{steps}{seeds}"

    @property
    def each_seed(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def budget(self) -> int:
        published = settings(self.algorithm, self.world)
        assert self.steps is not None or published is not None
        return self.steps if self.steps is not None else published.steps  # type: ignore[union-attr]


def _usual(result: Result) -> Any:
    published = settings(result.algorithm, result.world)
    return published.algorithm if published else rt.algorithms.ALGORITHMS[result.algorithm]()


def _algorithm(result: Result) -> Any:
    return dataclasses.replace(_usual(result), **result.parts, **result.changed)


def _world(result: Result) -> Any:
    return make(result.world, **result.of_world)


def _grown(result: Result) -> Path:
    """Where the seeds of a result lie that is under way: others where its settings are."""
    if result.taught is not None:
        result.taught.judge.begin()  # A rule that was called in this process may be gone on with.
    parts = [to_json(_algorithm(result)), result.world, dict(result.of_world), to_json(result.taught), result.budget]
    return GROWING / f"{result.name}-{sha256(json.dumps(parts).encode()).hexdigest()[:8]}"


def _seed(result: Result, seed: int) -> None:
    """Train one seed to its end, from where it was stopped."""
    folder, world = _grown(result) / str(seed), _world(result)
    if folder.exists():
        training = rt.resume(folder, world=world, warn=print)
    else:
        made = _algorithm(result), world, result.budget
        training = rt.train(*made, seed=seed, relabel=result.taught, folder=folder, keep=1)
    with training:
        if training.step < training.steps:
            with folder.with_suffix(".commits").open("a") as commits:
                commits.write(f"{commit()}\n")
            training.run_to_end(progress=False)


def _trained(result: Result) -> Iterator[Training]:
    """The finished run of each seed."""
    with workers(len(os.sched_getaffinity(0)), ()) as pool:
        alone = dataclasses.replace(result, judge=returns)  # Other judges cannot be sent to another process.
        seeds = {pool.submit(_seed, alone, seed): seed for seed in result.each_seed}
        for ended in as_completed(seeds):
            ended.result()
            print(f"  seed {seeds[ended]} trained", flush=True)
    for seed in result.each_seed:
        with restore(_grown(result) / str(seed), world=_world(result), warn=lambda line: None) as training:
            yield training


def _train(result: Result) -> list[Any]:
    """The final policies of all seeds."""
    return [training.policy for training in _trained(result)]


def returns(result: Result) -> dict[str, Any]:
    """The final policies' mean return over episodes, greedy."""
    evaluation: Evaluation = evaluate(_train(result), _world(result), result.episodes)
    low, high = evaluation.ci95
    each = [round(float(x), 3) for x in evaluation.returns.mean(1)]
    return {"mean": evaluation.mean, "low": low, "high": high, "each": each, "unit": _unit(result)}


def _unit(result: Result) -> str:
    return "mean return" if result.episodes == EPISODES else f"mean return of {result.episodes:,} episodes"


def share_of_gain(result: Result) -> dict[str, Any]:
    """The share that is gained of what the same algorithm gains, over its untaught policy, where the world pays it.

    What a share comes from is kept beside it, of each seed: what the taught policy gets, what the paid one gets, and
    how often the reward model was right, after its newest labels, on those that it did not learn from.
    """
    world = _world(result)
    paid = evaluate(_train(dataclasses.replace(result, taught=None)), world, result.episodes)
    untaught = []
    for seed in result.each_seed:
        with rt.train(_algorithm(result), world, result.budget, seed=seed) as begun:
            untaught.append(begun.policy)
    random = evaluate(untaught, world, result.episodes, greedy=False).mean
    accuracy_of = lambda training: float(cast(Any, training.run.relabel).told.accuracy)  # noqa: E731
    learnt = [(training.policy, accuracy_of(training)) for training in _trained(result)]
    policies, accuracies = zip(*learnt, strict=True)
    taught = evaluate(policies, world, result.episodes).returns.mean(1)
    shares = (taught - random) / (paid.mean - random)
    low, high = interval95(shares)
    rounded = lambda numbers, places: [round(float(x), places) for x in numbers]  # noqa: E731
    return {
        "mean": float(shares.mean()),
        "low": low,
        "high": high,
        "each": rounded(shares, 4),
        "taught": rounded(taught, 3),
        "paid": rounded(paid.returns.mean(1), 3),
        "accuracy": rounded(accuracies, 4),
        "unit": f"share of what is gained on the true reward ({random:.4g} untaught, {paid.mean:.4g} then)",
    }


DEMONSTRATED, STARTS = 10_500, 8
"""Steps of a run after which its policies demonstrate no more, and from how many starts each of them does."""


def demonstrated(result: Result) -> Result:
    """The same, taught by demonstrations in order: what the first policies of a run do from the same starts."""
    assert result.taught is not None
    world, folder = _world(result), _grown(result) / "shown"
    if not folder.exists():
        shown = rt.train(_algorithm(result), world, 30_000, seed=100, folder=folder, every=1_000, keep=30)
        with shown as training:
            training.run_to_end(progress=False)
    steps = sorted(step for step in checkpoint.steps(folder) if step < DEMONSTRATED)
    recorded = [rt.record(learnt([folder], step), world, STARTS, seed=7) for step in steps]
    write_records(folder / "ranked.jsonl", ranked_demonstrations(recorded))
    got = [np.array([each.steps.reward[1:].sum() for each in episodes.episodes()]) for episodes in recorded]

    def beyond(taught: Result) -> dict[str, Any]:
        measured = returns(taught)
        best, mean = max(each.max() for each in got), max(each.mean() for each in got)
        told = f"the best of {len(got) * STARTS} demonstrations got {best:.4g}, who gave the last {STARTS} {mean:.4g}"
        return measured | {"unit": f"{measured['unit']}; {told}"}

    taught = dataclasses.replace(result.taught, known=str(folder / "ranked.jsonl"))
    return dataclasses.replace(result, taught=taught, judge=beyond)


class TurnsOver(gym.Wrapper):
    """Pays 1 each time that a hopper has turned over backwards, whole, since its body was last lower than that."""

    LOWEST = 0.5
    """Metres; it stands at 1.25, and on its back is lower than .1."""

    def reset(self, **given: Any) -> Any:
        obs, info = self.env.reset(**given)
        self.begun = obs[1]
        return obs, info

    def step(self, action: Any) -> Any:
        obs, _, *over = self.env.step(action)
        # What it turns forwards does not count against it: it begins anew there.
        self.begun = obs[1] if obs[0] < self.LOWEST else max(self.begun, obs[1])
        turned = self.begun - obs[1] >= 2 * np.pi
        self.begun = obs[1] if turned else self.begun
        return obs, float(turned), *over


class Shown(Wrapper):
    """Pays what a row shows, instead of what its world pays."""

    worth: Callable[[Array], Array] = eqx.field(static=True)

    def step(self, state: Any, action: Any, key: Any) -> tuple[Any, TimeStep]:
        after, row = self.world.step(state, action, key)
        return after, row._replace(reward=jnp.asarray(self.worth(row.obs), jnp.float32))


@dataclasses.dataclass(frozen=True)
class Done:
    """In which share of episodes what a rule taught is done: at least so much of it."""

    worth: Callable[[Array], Array] | type[gym.Wrapper]
    """What a row shows, or of a world that lives in Python what pays for it."""
    least: float
    what: str

    def __call__(self, result: Result) -> dict[str, Any]:
        world = _world(result)
        shown = (
            Shown(world, cast(Callable[[Array], Array], self.worth))
            if isinstance(world, Environment)
            else dataclasses.replace(world, wrappers=(self.worth,))
        )
        evaluation = evaluate(_train(result), shown, result.episodes)
        shares = (evaluation.returns >= self.least).mean(1)
        low, high = interval95(shares)
        bounds = {"low": max(low, 0.0), "high": min(high, 1.0)}
        return {
            "mean": float(shares.mean()),
            **bounds,
            "each": shares.tolist(),
            "unit": f"episodes in which {self.what}",
        }


def share_of_optimum(result: Result) -> dict[str, Any]:
    """The mean return as a share of the exact optimum."""
    exact = rt.bellman.solve(model(result.world), discount=1.0).start_value
    measured = returns(result)
    for name in ("mean", "low", "high"):
        measured[name] /= exact
    return {
        **measured,
        "each": [round(x / exact, 4) for x in measured["each"]],
        "unit": f"share of the optimum {exact:g}",
    }


def against_optimum(result: Result) -> dict[str, Any]:
    """How much less than the optimum the learnt greedy policies are worth at the start, both exactly."""
    best = rt.bellman.solve(model(result.world), _algorithm(result).discount)
    policies = [result_algorithm.policy(learner) for result_algorithm, learner in _learners(result)]
    return _regrets(best, policies, greedy=True, unit="exact regret at the start against the optimum")


def against_soft(result: Result) -> dict[str, Any]:
    """How much less than the best ε-soft policy the learnt ε-greedy policies are worth at the start, both exactly."""
    epsilon = _algorithm(result).exploration.epsilon
    best = rt.bellman.best_soft(model(result.world), _algorithm(result).discount, epsilon)
    policies = [EpsilonGreedyPolicy(learner.network, jnp.float32(epsilon)) for _, learner in _learners(result)]
    return _regrets(best, policies, greedy=False, unit="exact regret at the start against the best ε-soft policy")


def _learners(result: Result) -> list[tuple[Any, Any]]:
    """The algorithm and the learner of each of ten seeds."""
    return [(training.algorithm, training.run.learner) for training in _trained(result)]


def given_away(result: Result) -> dict[str, Any]:
    """In tic-tac-toe: positions on which the player, or its network alone, gives away what minimax would get."""
    judge = every_position(_world(result))

    def mistakes(policy: Any) -> int:
        return int((~judge.kept(policy)).sum())

    each = [mistakes(policy) + mistakes(policy.network) for policy in _train(result)]
    low, high = interval95(np.array(each, float))
    unit = f"mistakes of the search and of its network alone on all {len(judge.q):,} positions: with 0 it never loses"
    return {"mean": float(np.mean(each)), "low": max(low, 0.0), "high": high, "each": each, "unit": unit}


CRITICAL = 2_000
"""Positions on which some moves keep the result and others do not."""


def keeps_results(result: Result) -> dict[str, Any]:
    """The share of critical positions on which a move keeps what perfect play would get."""
    return _keeps(connect_four(CRITICAL), _train(result))


def plays_hex(result: Result) -> dict[str, Any]:
    """The same in Hex, and how many of the games that can be won against perfect play are."""
    world, solver = _world(result), HexSolver()
    policies = _train(result)
    found = _keeps(critical_positions(world, solver, CRITICAL, plies=4), policies)
    # Who begins has won an opening, or who does not: of two games from it one can be won.
    pairs = 50
    won = [meet(with_simulations(p, 64), Perfect(solver), world, 2 * pairs, openings=4).wins / pairs for p in policies]
    told = f"; of {pairs} openings that can be won against the perfect player {np.mean(won):.2f} are"
    return found | {"unit": f"{found['unit']}{told} ({min(won):.2f} to {max(won):.2f})"}


def plays_othello(result: Result) -> dict[str, Any]:
    """The same in Othello, in the part of the game that is solved."""
    world = _world(result)
    found = _keeps(critical_positions(world, OthelloSolver(world), CRITICAL, plies=18), _train(result))
    return found | {"unit": f"{found['unit']}; all of them after 18 moves or more, from where the game is solved"}


def _keeps(judge: Judged, policies: list[Any]) -> dict[str, Any]:
    alone = [judge.kept(policy.network).mean() for policy in policies]
    each = np.array([judge.kept(with_simulations(policy, 64)).mean() for policy in policies])
    (low, high), (low_alone, high_alone) = interval95(each), interval95(np.array(alone))
    unit = (
        f"share of {CRITICAL:,} critical positions on which a move keeps the result, with 64 simulations; the network "
        f"alone {np.mean(alone):.3f} ({low_alone:.3f} to {high_alone:.3f})"
    )
    return {"mean": float(each.mean()), "low": low, "high": high, "each": each.round(4).tolist(), "unit": unit}


def _regrets(best: rt.Solution, policies: list[Any], greedy: bool, unit: str) -> dict[str, Any]:
    measured = regret(policies, best, greedy)
    low, high = measured.ci95
    each = [round(float(x), 4) for x in measured.regrets]
    return {"mean": measured.mean, "low": low, "high": high, "each": each, "unit": f"{unit} ({measured.optimum:.4g})"}


RANDOM = {"breakout": 0.4, "freeway": 0.3, "space_invaders": 4.0, "asterix": 0.5, "seaquest": 0.1}
"""What actions at random are paid in MinAtar's games; published are 10 (PQN, PPO) and 5 million steps (DQN)."""

ZOO = {
    ("a2c", "CartPole-v1"): 500.0,
    ("a2c", "Acrobot-v1"): -83.4,
    ("a2c", "MountainCar-v0"): -111.3,
    ("a2c", "LunarLander-v3"): 155.8,
    ("a2c", "Pendulum-v1"): -163.0,
    ("a2c", "MountainCarContinuous-v0"): 91.2,
    ("a2c", "LunarLanderContinuous-v3"): 84.2,
    ("a2c", "BipedalWalker-v3"): 299.8,
    ("dqn", "MountainCar-v0"): -100.8,
    ("ppo", "MountainCar-v0"): -110.4,
    ("ppo", "MountainCarContinuous-v0"): 88.3,
    ("ppo", "BipedalWalker-v3"): 287.9,
    ("ppo", "PendulumNoVel-v1"): -217.9,
    ("ppo", "MountainCarContinuousNoVel-v0"): 91.5,
    ("ppo", "LunarLanderContinuous-v3"): 270.9,
    ("ppo", "HalfCheetah-v5"): 5_819.0,
    ("ppo", "Hopper-v5"): 2_410.0,
    ("ppo", "Walker2d-v5"): 3_479.0,
    ("ppo", "Ant-v5"): 1_327.0,
    ("qrdqn", "CartPole-v1"): 500.0,
    ("qrdqn", "Acrobot-v1"): -69.1,
    ("qrdqn", "MountainCar-v0"): -106.0,
    ("sac", "Pendulum-v1"): -157.0,
    ("sac", "MountainCarContinuous-v0"): 94.7,
    ("sac", "LunarLanderContinuous-v3"): 260.4,
    ("sac", "BipedalWalker-v3"): 297.7,
    ("td3", "MountainCarContinuous-v0"): 93.5,
    ("td3", "LunarLanderContinuous-v3"): 207.5,
    ("td3", "BipedalWalker-v3"): 306.0,
    ("tqc", "Pendulum-v1"): -151.3,
    ("tqc", "MountainCarContinuous-v0"): 63.6,
    ("tqc", "LunarLanderContinuous-v3"): 278.0,
    ("tqc", "BipedalWalker-v3"): 329.8,
    ("trpo", "CartPole-v1"): 500.0,
    ("trpo", "Acrobot-v1"): -83.1,
    ("trpo", "MountainCar-v0"): -107.3,
    ("trpo", "MountainCarContinuous-v0"): 92.5,
    ("trpo", "Pendulum-v1"): -174.6,
    ("trpo", "LunarLander-v3"): 133.2,
    ("trpo", "LunarLanderContinuous-v3"): 262.4,
    ("trpo", "BipedalWalker-v3"): 182.3,
}
"""What RL Baselines3 Zoo's policy of one seed got with the same steps (its benchmark.md at commit 22e3ff2), with LSTM
where velocities are hidden."""

MANY = {("trpo", "CartPole-v1")}
"""Of which the worst of twenty seeds is asked about as well."""
FEW = {("a2c", "Pendulum-v1"), ("a2c", "LunarLanderContinuous-v3")}
"""Whose seeds take long, beside those of off-policy learning and of BipedalWalker: five of each."""


def _zoo(algorithm: str, world: str, score: float) -> Result:
    """Beside the zoo's one seed."""
    few = algorithm in ("sac", "td3", "tqc") or world == "BipedalWalker-v3" or (algorithm, world) in FEW
    asked = f"≥ {score:g}, the zoo's one seed".replace("-", "−")
    many = (algorithm, world) in MANY
    episodes = 5_000 if world.startswith("Pendulum") else EPISODES
    return Result(
        algorithm,
        world,
        f"{asked}; the worst of twenty ≥ 400" if many else asked,
        seeds=20 if many else 5 if few else SEEDS,
        episodes=episodes,
    )


FALLEN_POLE = {"waits": True, "limit": 200}
"""A cart-pole that waits where it has fallen."""
PAID_LESS = {"entropy_coefficient": 0.01, "discount": 0.99, "lambda_": 0.95, "normalise_rewards": True}
"""PPO for it where rewards are learnt: their size is not that of the world's."""

STEADY: dict[str, Any] = {
    "rollout": 128,
    "epochs": 10,
    "minibatches": 8,
    "optimiser": rt.PPO().optimiser,
    "anneal_clip": False,
}
"""PPO with small steps that stay small."""


def _ruled(rule: str) -> Preferences:
    judge = FunctionJudge(f"{HERE / 'rules.py'}:{rule}")
    return Preferences(labels=900, waiting=0.001, gradient_steps=30, judge=judge)


def _side_by_side(**others: Any) -> dict[str, Any]:
    """PPO on sixteen bodies at once, whatever is published for one of them."""
    own = rt.PPO(num_envs=16, rollout=128, normalise_observations=True, normalise_rewards=True, **others)
    return {field.name: getattr(own, field.name) for field in dataclasses.fields(own)}


def _body(world: str, labels: int) -> Result:
    """One of MuJoCo's bodies, whose episodes have no early end."""
    return Result(
        "ppo",
        world,
        "≥ .9",
        episodes=20,
        taught=Preferences(labels=labels, segment=50, gradient_steps=30),
        of_world={} if world == "HalfCheetah-v5" else {"terminate_when_unhealthy": False},
        changed=_side_by_side(),
        steps=200_000,
        judge=share_of_gain,
    )


def _pixels(game: str, segment: int, deviation: float) -> Result:
    """One of MinAtar's games, from pixels, with as many labels as Christiano et al. 2017 had for Atari's.

    Args:
        game: by its name.
        segment: steps of a clip, which lies within an episode.
        deviation: of what is paid, as the game's own rewards have it: PPO's steps are set for these.
    """
    taught = Preferences(
        labels=5_500,
        segment=segment,
        session=100,
        gradient_steps=20,
        batch=64,
        network=CNN((16,), (3,), (1,), (64,)),
        deviation=deviation,
        centre=Centre.median,
    )
    return Result(
        "ppo", f"minatar/{game}", "≥ .9", steps=500_000, seeds=3, first_seed=200, taught=taught, judge=share_of_gain
    )


RESULTS = [
    Result("ppo", "CartPole-v1", "≥ 495"),
    Result("ppo", "Acrobot-v1", "≥ −80"),
    Result("ppo", "LunarLander-v3", "≥ 240"),
    Result("ppo", "Pendulum-v1", "≥ −200", episodes=5_000),
    Result("td3", "Pendulum-v1", "≥ −155 (the zoo's: −152 ± 3)", episodes=5_000, seeds=5),
    *(_zoo(algorithm, world, score) for (algorithm, world), score in ZOO.items()),
    Result("dqn", "LunarLander-v3", "≥ 230 (the zoo's one seed: 154.4)", first_seed=200),
    Result("qrdqn", "LunarLander-v3", "≥ 230 (the zoo's one seed: 70.2)", first_seed=200),
    Result("es", "Pendulum-v1", "≥ −300", episodes=5_000),
    Result("impala", "CartPole-v1", "≥ 400 for each of twenty", seeds=20),
    Result("dqn", "CartPole-v1", "≥ 400 with the worst seed", seeds=20, first_seed=200),
    Result("dqn", "Acrobot-v1", "≥ −85"),
    Result("reinforce", "CartPole-v1", "≥ 400 for each of twenty", seeds=20),
    Result("ppo", "CartPoleNoVel-v1", "≥ 450", network=GRU()),
    Result("ppo", "CartPoleNoVel-v1", "≥ 500, the zoo's one seed", steps=100_000, network=LSTM()),
    Result("ppo", "CartPoleNoVel-v1", "far below", network=MLP()),
    Result("ppo", "CartPoleNoVel-v1", "≥ 450", network=Stack(frames=2, difference=50.0)),
    Result("dqn", "CartPoleNoVel-v1", "≥ 450"),
    Result("dqn", "bit_flip", "≥ −4.5 (best −4)"),
    # Who dithers needs about 2²⁰ episodes of 20 steps.
    Result(
        "bootstrapped_dqn",
        "deep_sea",
        "≥ .98 (best .99)",
        of_world={"size": 20},
    ),
    Result("dqn", "bit_flip", "−10 (no goal reached)", replay=UniformReplay()),
    Result("ppo", "recall", "≥ .98", network=GRU()),
    Result("ppo", "recall", "≥ .98", network=LSTM()),
    Result("ppo", "recall", "≥ .98", network=Transformer()),
    Result("ppo", "recall", ".25 (chance)", network=MLP()),
    Result("ppo", "tokens", "≥ .98", network=Transformer(), judge=share_of_optimum),
    Result("alpha_zero", "tic_tac_toe_for_two", "0", judge=given_away),
    Result("alpha_zero", "connect_four", "", steps=3_000_000, seeds=3, judge=keeps_results, called="quickly"),
    Result(
        "alpha_zero",
        "connect_four",
        "≥ .97; the network alone ≥ .93",
        # Four hours of CPU a seed.
        steps=50_000_000,
        seeds=3,
        judge=keeps_results,
    ),
    Result("alpha_zero", "hex", "", seeds=3, of_world={"size": 5}, judge=plays_hex),
    # Eleven minutes of a core a seed.
    Result("alpha_zero", "othello", "", steps=1_000_000, seeds=3, of_world={"size": 6}, judge=plays_othello),
    Result("mu_zero", "CartPole-v1", "≥ 475 (solved, by Gymnasium)", first_seed=200),
    # A seed of DQN takes nine minutes of a quiet core.
    *(
        Result(algorithm, f"minatar/{game}", f"far above {chance} (at random)", steps=1_000_000, seeds=seeds)
        for algorithm, seeds in (("pqn", 3), ("ppo", 3), ("dqn", 1))
        for game, chance in RANDOM.items()
    ),
    # Two hours of a core a seed, a third of them the console's.
    Result(
        "pqn",
        "ALE/Pong-v5",
        "≥ 18 (of 21)",
        network=Stack(frames=4, network=CNN((16, 32), (8, 4), (4, 2), (256,), layer_norm=True)),
        changed={"num_envs": 32, "rollout": 32, "minibatches": 8},
        of_world={"preset": "mnih"},
        steps=6_000_000,
        seeds=1,
        episodes=20,
    ),
    Result("ppo", "Pendulum-v1", "≥ .95", taught=Preferences(), judge=share_of_gain),
    # Each clip rated by itself, from 1 to 5: with steps that cost 8 as the worst most of an untaught policy's are 1.
    Result(
        "ppo",
        "Pendulum-v1",
        "≥ .95",
        taught=Preferences(clips=1, gradient_steps=30, judge=TrueReward(worst=-16.0, best=0.0)),
        first_seed=200,
        judge=share_of_gain,
        called="rated",
    ),
    # Put in order, from the best one down.
    Result(
        "ppo",
        "Pendulum-v1",
        "≥ .95",
        taught=Preferences(labels=200, clips=4, gradient_steps=30),
        judge=share_of_gain,
    ),
    Result(
        "ppo",
        "CartPole-v1",
        "≥ .95",
        taught=Preferences(labels=2_000, gradient_steps=30),
        # Of ten one may lie down the way that pays most, and stays there.
        seeds=30,
        of_world=FALLEN_POLE,
        changed=PAID_LESS,
        steps=300_000,
        judge=share_of_gain,
    ),
    Result(
        "ppo",
        "Acrobot-v1",
        "≥ .95",
        taught=Preferences(labels=2_000, waiting=0.04, recent=20_000, gradient_steps=30, pretraining=StateEntropy()),
        of_world={"waits": True},
        changed={"entropy_coefficient": 0.01},
        steps=500_000,
        judge=share_of_gain,
    ),
    Result(
        "ppo",
        "MountainCarContinuous-v0",
        "≥ .95",
        # Nobody reaches the hill by chance: what is new is paid first, so that labels are about arriving too.
        taught=Preferences(
            labels=2_000, waiting=0.1, recent=30_000, gradient_steps=30, segment=50, pretraining=StateEntropy()
        ),
        first_seed=200,
        of_world={"waits": True},
        changed={
            "num_envs": 8,
            "rollout": 256,
            "entropy_coefficient": 0.01,
            "discount": 0.99,
            "normalise_observations": True,
            "normalise_rewards": True,
        },
        steps=200_000,
        judge=share_of_gain,
    ),
    *(_body(world, labels) for labels in (700, 1_400) for world in ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5")),
    # Who plays at random loses Breakout within some ten steps: a longer clip would only show who lived on, by a hit.
    _pixels("breakout", segment=5, deviation=0.3),
    _pixels("seaquest", segment=10, deviation=0.1),
    # Nobody is asked: the first policies of a run are ranked by how far it was. A piece of 50 steps each.
    Result(
        "ppo",
        "Pendulum-v1",
        "better than the best demonstration",
        taught=Preferences(labels=320, segment=50, gradient_steps=5),
        begun=demonstrated,
        first_seed=200,
        episodes=1_000,
        called="demonstrated",
    ),
    Result(
        "ppo",
        "Pendulum-v1",
        "≥ .8",
        taught=_ruled("spins"),
        judge=Done(lambda obs: obs[2] * 0.05 / (2 * np.pi), 5, "it goes round five times, one way, in 200 steps"),
    ),
    Result(
        "ppo",
        "CartPole-v1",
        "≥ .8",
        # Most of what an untaught policy shows has fallen: more is asked once it stands.
        taught=dataclasses.replace(_ruled("kept_left"), waiting=0.02, first=0.1, half_rate=1.0),
        first_seed=200,
        of_world=FALLEN_POLE,
        # Paid what the rule says, they learn it with four seeds of four, and the published ones with three.
        changed=PAID_LESS | STEADY,
        steps=500_000,
        judge=Done(
            lambda obs: (jnp.abs(obs[2]) < 0.2) & (jnp.abs(obs[0] + 1) < 0.5),
            100,
            "the pole stands, its cart within .5 of −1, in half of 200 steps",
        ),
    ),
    Result(
        "ppo",
        "MountainCarContinuous-v0",
        "≥ .8",
        taught=_ruled("backwards"),
        of_world={"waits": True},
        changed={"entropy_coefficient": 0.01, "normalise_observations": True, "normalise_rewards": True},
        steps=200_000,
        judge=Done(
            lambda obs: obs[0] <= -1, 50, "the car is up the hill behind it, at −1 or beyond, in 50 of 999 steps"
        ),
    ),
    Result(
        "ppo",
        "Hopper-v5",
        "≥ .8",
        first_seed=200,
        episodes=20,
        taught=dataclasses.replace(_ruled("backflip"), waiting=0.02, segment=50),
        of_world={"terminate_when_unhealthy": False, "max_episode_steps": 250},
        # In minibatches of 64 it turns over on the ground with half of the seeds, and stays there.
        changed=_side_by_side(entropy_coefficient=0.01, minibatches=8),
        steps=1_000_000,
        judge=Done(TurnsOver, 1, "it turns over backwards, its body always above .5 m, in 250 steps"),
    ),
    Result("q_learning", "student", "0", judge=against_optimum),
    Result("q_learning", "FrozenLake-v1", "0", judge=against_optimum),
    Result("q_learning", "cliff", "0", judge=against_optimum),
    Result("sarsa", "student", "0", judge=against_soft),
    Result("sarsa", "FrozenLake-v1", "0", judge=against_soft),
    Result("sarsa", "cliff", "0", judge=against_soft),
]


def measure(asked: Result) -> None:
    """Run one result and keep it."""
    result = asked if asked.begun is None else asked.begun(asked)
    print(f"{result.name}: {result.command}", flush=True)
    measured = result.judge(result)
    grown = [_grown(each) for each in (asked, result, dataclasses.replace(result, taught=None))]
    commits = {line for folder in grown for file in folder.glob("*.commits") for line in file.read_text().split()}
    kept = {
        "name": result.name,
        "command": result.command,
        "asked": result.asked,
        "steps": result.budget,
        "seeds": result.seeds,
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "commit": ", ".join(sorted(commits)),
        **measured,
    }
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{result.name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    if result.rule:
        film(result)
    for folder in grown:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"  {kept['mean']:.3f} [{kept['low']:.3f}, {kept['high']:.3f}] asked {result.asked}", flush=True)


def film(result: Result) -> None:
    """Draw an episode of what a rule has taught with the first seed, which is trained where it is not yet."""
    _seed(dataclasses.replace(result, judge=returns), result.first_seed)
    with restore(_grown(result) / str(result.first_seed), world=_world(result), warn=print) as training:
        scene = staged(WorldName(result.world, settings=dict(result.of_world)))
        player = Player(scene, training.policy, seed=FILMED, longest=LONGEST)
        print(write(player, HERE / "images" / f"preferences-{result.rule}.gif", scene.fps), player.remarks)


def commit() -> str:
    """What is checked out."""
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return asked.stdout.strip()


def processor() -> str:
    names = [
        x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")
    ]
    return names[0] if names else platform.machine()


MOST = {"CartPole-v1": 500.0, "CartPoleNoVel-v1": 500.0}
"""Returns that nothing exceeds."""


def possible(result: Result, kept: dict[str, Any]) -> dict[str, Any]:
    """What was measured, with nothing in its interval that cannot be, and rounding below an exact regret of 0 as 0."""
    numbers = {name: kept[name] for name in ("mean", "low", "high")}
    most = MOST.get(result.world, float("inf"))
    exact = "exact regret" in kept["unit"] and min(kept["each"]) > -ROUNDING
    bounded = {name: max(x, 0.0) if exact else min(x, most) for name, x in numbers.items()}
    return {**kept, **bounded, "each": [max(x, 0.0) + 0.0 for x in kept["each"]] if exact else kept["each"]}


def _right(accuracies: list[float]) -> str:
    return f"; the reward models were right in {min(accuracies):.2f} to {max(accuracies):.2f} of held-out comparisons"


def render() -> None:
    """Write docs/results.md from what is kept."""
    lines = [
        "# What it learns",
        "",
        f"Final policies (never the best of several checkpoints), greedy, {EPISODES} episodes each; mean over as many",
        "seeds as the command says and its 95% interval (Student's t over seeds, within what is possible). Made by",
        "`make results`; `docs/results.py NAME` makes one line. Settings are those that `retorno train` takes.",
        "Exact answers: [what they are](exact.md) and [how fast](bellman-speed.md), with their commands.",
        "",
        "All seeds are asked in the same episodes, so the interval says nothing of how these begin. That matters on",
        "Pendulum, whose returns differ by 86 (their standard deviation) from where the pendulum hangs: one policy of",
        "TD3 (seed 7) got −164.8 in the 100 episodes, −151.9 ± 3.2 in 750 and −148.0 ± 1.2 (standard errors) in 5,000;",
        "the zoo's got −151.9 ± 3.3 in 750.",
        "",
        "The zoo's one seed is no mean over seeds. On MountainCar its own settings in Stable-Baselines3 2.9.2 gave PPO",
        "−119.2 ± .5 and −111.9 ± .1 with two seeds and A2C −115.7 ± .6 with one, in 2,000 episodes each. DQN gave",
        "−104.8 with one there, in 200; here those settings gave −130.2 (−150.4 to −110.0) with ten seeds and the",
        "newest weights, in 100, −161.5 (−187.9 to −135.2) with weights averaged over the last tenth of a run: here",
        "nothing is averaged, and with double targets and a step size that falls the worst seed is −152, not −200. On",
        "LunarLander SB3's A2C got 40.7, −39.6 and 62.4 with three seeds; DQN with the zoo's settings 135 (−17 to 287)",
        "with ten here, of which two ended at −252 and −275: of one of them (with double targets −734) the values had",
        "grown to 360, which nothing there pays, while it fell. Layers that are normalised, double targets and returns",
        "of three steps keep values to what is paid. TRPO of sb3-contrib got 223 on LunarLanderContinuous with the",
        "zoo's settings and one seed; an update from 1,024 steps instead of 2,048, and λ = .98, are no steadier here:",
        "171 (64 to 278) with four seeds.",
        "",
        "ES leaves two of ten seeds on Pendulum behind (of seeds 310 to 319: −764 and −779, the others −164 to",
        "−282): from a quarter of the run on they hardly rise. Steps twice as long that fall to nothing leave seven",
        "at the same −852, steps of .02 that fall are too short (−569), standardised observations with σ = .2 and",
        "steps of .03 got −968. With half as many pairs, with weights that decay (.1), or with both and a step size",
        "that falls one of ten stays below −800.",
        "",
        "TQC ends up on MountainCarContinuous with two seeds of five. Seed 2 drives up from 10,000 steps (93.9) to",
        "25,000 (93.3) and is below again at 40,000 (−20), while the values of what is replayed grow to 100.8, more",
        "than the hill pays. A step size that falls changes which seeds do, not how many: 20.8 (−35.4 to 96).",
        "",
        "Floats are summed in another order on one core than on two, and learning carries the last bits far: seeds 0",
        "to 9 of TRPO on CartPole got 479.9 (456.8 to 500), each trained on one core, and 499.6 (498.9 to 500) on two.",
        "That was with a trust region that stays, whose steps are as long at the end as at the start: ten seeds that",
        "all held the pole at 60,000 steps got 403 to 500 at 100,000. Below it falls to nothing over the run.",
        "",
        "| command | steps | asked | mean | 95% interval | worst and best seed | of what |",
        "|---|---|---|---|---|---|---|",
    ]
    marks = set()
    for result in RESULTS:
        file = KEPT / f"{result.name}.json"
        if not file.exists():
            lines.append(f"| `{result.command}` | {result.budget:,} | {result.asked} | not measured yet | | | |")
            continue
        kept = possible(result, json.loads(file.read_text()))
        right = "" if "accuracy" not in kept else _right(kept["accuracy"])
        interval = f"{kept['low']:.4g} to {kept['high']:.4g}" if kept["seeds"] > 1 else "one seed"
        marks.update(f"{each} on {kept['machine']}" for each in kept["commit"].split(", "))
        lines.append(
            f"| `{kept['command']}` | {kept['steps']:,} | {kept['asked']} | {kept['mean']:.4g} | "
            f"{interval} | {min(kept['each']):g}, {max(kept['each']):g} | {kept['unit']}{right} |"
        )
    lines += ["", f"Measured at commit {'; '.join(sorted(marks))}.", "", *dictionary_results.table()]
    (HERE / "results.md").write_text("\n".join(lines))


def main() -> None:
    """Measure the named results, or all of them, and write the page."""
    names = [name for name in sys.argv[1:] if name not in ("--render", "--film")]
    unknown = set(names) - {result.name for result in RESULTS}
    if unknown:
        sys.exit(f"no result {', '.join(sorted(unknown))}; there are {', '.join(r.name for r in RESULTS)}")
    if "--film" in sys.argv:
        for result in RESULTS:
            if result.rule and (not names or result.name in names):
                film(result)
    elif "--render" not in sys.argv:
        for result in RESULTS:
            if not names or result.name in names:
                measure(result)
                render()
    render()


if __name__ == "__main__":
    main()
