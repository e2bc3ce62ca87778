"""`retorno evaluate RUN…`: how good the learnt policies are, and how far from the exact optimum."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from retorno import bellman
from retorno.cli.options import Flag, Runs, UsageError, parse, step_of
from retorno.cli.runs import learnt, members, predicted, settings_of, told_fits, world_for_all
from retorno.cli.spelling import world_settings
from retorno.cli.terminal import note, print_json
from retorno.core.environment import World
from retorno.core.mdp import MDP
from retorno.core.policy import Policy
from retorno.core.runtime import prepare
from retorno.core.waiting import waiting
from retorno.environments.recordings import Recorded
from retorno.environments.registry import WorldName
from retorno.run.evaluate import Evaluation, evaluate
from retorno.run.fit import fit
from retorno.run.oracle import Regret, observes_states, regret
from retorno.run.prediction import predicts
from retorno.run.report import told_fit
from retorno.run.resume import restore


@dataclass(frozen=True)
class Evaluate:
    """Live whole episodes with what was learnt: the mean return and its 95% interval.

    With an exact model of the world also the regret: what the policy's exact start value lacks of the optimum. Of
    prediction, which learns the values of a policy that is given, these beside the exact ones.
    """

    runs: Runs
    """Folders of runs of one world; each seed in them counts as one."""
    episodes: int = 100
    """Episodes for each seed."""
    step: str | None = None
    """Of which step's policy: a number, or best for the one with the best score while it was learnt. The newest where
    it is not said."""
    world: str | None = None
    """Another world with the same spaces; the run's own where it is not said. What either is made with: --world.KEY
    VALUE."""
    info_keywords: tuple[str, ...] = ()
    """Numbers in the info of a hosted episode's last step, as crashed, beside those that the run asked for."""
    seed: int = 1_000_000
    """Of the episodes; all policies see the same ones."""
    sampled: Flag = False
    """Draw actions from the policy instead of taking its best one."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    settings, rest = world_settings(arguments)
    given = parse(Evaluate, rest, "retorno evaluate")
    if not given.runs:
        raise UsageError("which run? Give its folder, as in `retorno evaluate runs/ppo-CartPole-v1-1`")
    prepare()
    name = world_for_all(given.runs, given.world, settings, "evaluate")
    asked = tuple(dict.fromkeys((*name.info_keywords, *given.info_keywords)))
    name = replace(name, info_keywords=asked)
    world = name.make()
    if isinstance(world, Recorded):
        fits(list(given.runs), world, given)
        whose = world.named.settings.get("world") if world.named else None
        if whose is None or given.json:
            return 0
        name = WorldName(whose)
        world = name.make()
    actors, greedy = learnt(list(given.runs), step_of(given.step)), not given.sampled
    policies = [actor.policy for actor in actors]
    given_policy = predicts(policies)  # The same one with every seed.
    result = evaluate(actors[:1] if given_policy else actors, world, given.episodes, seed=given.seed, greedy=greedy)
    discount = settings_of(members(given.runs[0])[0])["algorithm"].get("discount", 1.0)
    if given_policy:
        found = predicted(policies, world, name.model(), discount)
        if given.json:
            print_json({**result.as_row(), **({"prediction": found.as_row()} if found else {})})
        else:
            print(result)
            print(found or "there is no exact model to hold the learnt values against")
        return 0
    lacking = against_optimum(policies, world, discount, name.model(), greedy, result)
    if given.json:
        print_json({**result.as_row(), **({"regret": lacking.as_row()} if lacking else {})})
    else:
        print(result)
        if lacking:
            print(lacking)
    return 0


def fits(folders: list[Path], world: Recorded, asked: Evaluate) -> None:
    """How well what was learnt from recordings fits them, or others: nothing can be lived in those."""
    for folder in (member for given in folders for member in members(given)):
        with closing(restore(folder, warn=note)) as training:
            if asked.json:
                print_json({"run": str(folder), **fit(training, world)})
            else:
                told = told_fits(training) if asked.world is None else told_fit(fit(training, world))
                print(f"{folder}: {told}")


def against_optimum(
    policies: list[Policy], world: World, discount: float, model: MDP | None, greedy: bool, result: Evaluation
) -> Regret | None:
    """The regret, where the world has an exact model.

    It is exact for policies that see the model's states and nothing else. For others the undiscounted optimum is
    compared with the mean returns.
    """
    if model is None:
        return None
    try:
        with waiting("solving the model, for the regret"):
            if observes_states(world, model) and all(policy.context == 0 for policy in policies):
                return regret(policies, bellman.solve(model, discount), greedy)
            optimum = bellman.solve(model, 1.0).start_value
        if not math.isfinite(optimum):
            raise ValueError(f"the best undiscounted return is {optimum}")
        return Regret(1.0, optimum, tuple(map(float, result.returns.mean(1))), exact=False)
    except ValueError as error:
        note(f"no regret: {error}")
        return None
