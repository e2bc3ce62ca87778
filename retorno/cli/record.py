"""`retorno record RUN… --out data.npz`: what learnt policies do, as a data set from which others learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retorno.cli.options import Flag, Runs, UsageError, parse, step_of
from retorno.cli.runs import learnt, world_for_all
from retorno.cli.spelling import world_settings
from retorno.cli.terminal import note
from retorno.core.names import as_typed
from retorno.environments.datasets import require_new, save_dataset
from retorno.run.record import record


@dataclass(frozen=True)
class Record:
    """Live whole episodes with what was learnt, and keep each step: a data set from which others learn without acting.

    Actions are drawn from the policies, unless --best is said. Behaviour cloning, IQL, TD3+BC and CQL take the file in
    the place of a world, as do other libraries.
    """

    runs: Runs
    """Folders of runs of one world; each seed in them lives as many episodes."""
    out: Path = Path("data.npz")
    """NAME.npz, or a new folder as Minari's, which holds observations and actions of several parts as well."""
    episodes: int = 100
    """Episodes for each seed."""
    best: Flag = False
    """Take each policy's best action instead of drawing one."""
    step: str | None = None
    """Of which step's policy: a number, or best for the one with the best score while it was learnt. The newest where
    it is not said."""
    world: str | None = None
    """Another world with the same spaces; the run's own where it is not said. What either is made with: --world.KEY
    VALUE."""
    seed: int = 0
    """Of the episodes and of what is drawn."""


def run(arguments: list[str]) -> int:
    settings, rest = world_settings(arguments)
    given = parse(Record, rest, "retorno record")
    if not given.runs:
        raise UsageError("which run? Give its folder, as in `retorno record runs/ppo-CartPole-v1-1 --out data.npz`")
    require_new(given.out)
    name = world_for_all(given.runs, given.world, settings, "record")
    if name.of_texts:
        raise UsageError(f"{given.runs[0]} writes texts: `retorno sample` shows them, `retorno rank` asks about them")
    actors = learnt(list(given.runs), step_of(given.step))
    recorded = record(actors, name.make(), given.episodes, seed=given.seed, greedy=given.best)
    save_dataset(given.out, recorded)
    returns = [float(each.steps.reward.sum()) for each in recorded.episodes()]
    print(
        f"{given.out}: {len(returns):,} episodes, {recorded.transitions:,} steps, "
        f"mean return {sum(returns) / len(returns):z.2f}"
    )
    named = f" --world.world {as_typed(name.name)}" if given.out.suffix and not name.settings else ""
    note(f"next: retorno train behaviour_cloning {as_typed(given.out)}{named}")
    return 0
