"""`retorno judge MODEL [MODEL]`: how good answers are by a reward model or a function, and whose are preferred."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from retorno.cli.options import Flag, UsageError, parse
from retorno.cli.terminal import note, print_json
from retorno.core.hyperparameters import Count, NonNegative


@dataclass(frozen=True)
class Judging:
    """The mean score of a model's answers, or with two models how often the first one's are preferred.

    The judge is a function of your own, FILE.py:NAME, that gets a list of prompts and one of answers and gives a score
    for each, or the run of a reward model. With --frontier every policy that a run kept is judged, and how far each is
    from the model with which the run began.
    """

    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER|RUN|FILE.gguf|smollm2")]
    """One model or two: a model folder, a run over one, a GGUF file, smollm2 or tiny."""
    prompts: Path | None = None
    """The file of prompts (JSONL, CSV, JSON); of demonstrations and rankings their prompts are taken."""
    by: tuple[str, ...] = ()
    """The judge; with --frontier there may be several, as the one that was trained by and the one that is meant."""
    frontier: Flag = False
    """Judge every policy that a run kept."""
    best_of: tuple[int, ...] = ()
    """Judge the best of so many answers as well, each number of them: with --frontier of the model with which the run
    began, which the first judge chooses by."""
    picture: Path | None = None
    """Where the frontier is drawn: .png, .svg or .pdf."""
    limit: Count | None = None
    """Take so many of the prompts."""
    answers: Count = 1
    """Of each model to each prompt."""
    tokens: Count | None = None
    """How many an answer may have; 64, or as many as there is room for, where it is not said."""
    temperature: NonNegative = 1.0
    """Below 1 the likely becomes likelier; at 0 the likeliest token is taken."""
    seed: int = 0
    """Of what is drawn."""
    json: Flag = False
    """Print one JSON object and nothing else."""


def run(arguments: list[str]) -> int:
    given = parse(Judging, arguments, "retorno judge")
    if given.prompts is None or not given.by:
        raise UsageError("which prompts, and who judges? Give --prompts FILE and --by RUN, or --by FILE.py:NAME")
    if len(given.models) not in ((1,) if given.frontier else (1, 2)):
        raise UsageError(f"give one model, or two to compare (one run for --frontier), got {len(given.models)}")
    if len(given.by) > 1 and not given.frontier:
        raise UsageError(f"--by names {len(given.by)} judges: several are for --frontier")
    if given.best_of and (min(given.best_of) < 1 or not given.frontier):
        raise UsageError(f"--best-of says of how many answers the best is taken, for --frontier; got {given.best_of}")
    from retorno import language

    prompts = language.prompts_of(given.prompts)[: given.limit]
    judges = {by: language.judge(by) for by in given.by}
    if given.frontier:
        return _frontier(given, prompts, judges)
    name, by = next(iter(judges.items()))
    sampling = language.Sampling(temperature=given.temperature)
    drawn: Any = {"tokens": given.tokens, "sampling": sampling, "seed": given.seed}
    models = [language.load(model) for model in given.models]
    if len(models) == 2:
        rate = language.win_rate(models[0], models[1], prompts, by, answers=given.answers, **drawn)
        if given.json:
            print_json({"models": given.models, "by": name, **asdict(rate)})
        else:
            print(f"{given.models[0]} against {given.models[1]}: {rate}")
        return 0
    asked = [prompt for prompt in prompts for _ in range(given.answers)]
    mean, low, high = language.mean_score(models[0], asked, by, **drawn)
    if given.json:
        print_json({"model": given.models[0], "by": name, "mean": mean, "low": low, "high": high})
    else:
        print(f"{given.models[0]}: {mean:.3f}, 95% interval {low:.3f} to {high:.3f} (over {len(asked):,} answers)")
    return 0


def _frontier(given: Judging, prompts: list[Any], judges: dict[str, Any]) -> int:
    from retorno import language

    if given.picture is not None:
        from retorno.plots.style import require_picture

        require_picture(given.picture)
    points: list[language.Point] = []
    drawn: Any = {"tokens": given.tokens, "seed": given.seed}
    each = language.frontier(given.models[0], prompts, judges, **drawn)
    if given.best_of:
        begun = language.load(language.StoredModel(given.models[0]).begun_with)
        each = itertools.chain(each, language.best_of_frontier(begun, prompts, judges, given.best_of, **drawn))
    for point in each:
        points.append(point)
        if not given.json:
            told = ", ".join(
                f"{name} {mean:.3f} ({low:.3f} to {high:.3f})" for name, (mean, low, high) in point.scores.items()
            )
            what = f"best of {point.best_of}" if point.best_of else f"step {point.step:,}"
            print(f"{what}  KL {point.kl[0]:.2f} nats, {told}, ended {point.ended:.0%}", flush=True)
    if given.json:
        print_json({"run": given.models[0], "points": [asdict(point) for point in points]})
    if given.picture is not None:
        from retorno.plots.frontier import frontier
        from retorno.plots.style import save

        note(f"drawn in {save(frontier(points), given.picture)}")
    return 0
