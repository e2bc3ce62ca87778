"""What a run begins with when it begins with what another has learnt: read once, from one of its checkpoints.

Taken is what was *learnt*: networks and tables, target networks, what an optimiser remembers, normalisers, counts of
visits, counted models. What was *lived* begins anew, for it belongs to the other run's episodes: rows that are held or
replayed, and all that there is once for each environment, such as traces and memories. So do the clocks by which
schedules run. What was *given*, such as the policy that prediction judges or the world that is planned in, is this
run's own.

Of networks alone (`network_only`) what both runs have is taken: a clone of demonstrations has no critic, so that of a
PPO that goes on from there begins anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from retorno.core.counter import Countdown
from retorno.core.environment import World
from retorno.core.errors import RetornoError
from retorno.core.policy import Algorithm, Learner, Policy
from retorno.core.spaces import Spec
from retorno.core.time_step import Clock, TimeStep
from retorno.models.tabular import LatestModel, WorldModel
from retorno.networks.critics import Critics
from retorno.networks.normalisers import ObservationNormaliser
from retorno.policies.schedules import Lived
from retorno.policies.target_and_behaviour import FixedPolicy, Followed
from retorno.run import checkpoint, policy_folder
from retorno.run.config import to_json
from retorno.run.folder import CONFIG, SEED, best_step, read_config
from retorno.run.learnt import require_same_spaces
from retorno.run.policy_folder import PolicyError, Step

ANEW = (Clock, Countdown, Lived, Followed, FixedPolicy, WorldModel, LatestModel)
"""What of a learner counts, remembers when, or was given."""


PART = re.compile(r".*?/(?:trunks|last)/[^/]+")
"""A trunk or a head: what one network may have and another not."""


class OriginError(RetornoError):
    """A run that another cannot begin with: the message says which leaf, shape or space is in the way."""


@dataclass(frozen=True)
class Origin:
    """A run with whose learner another one begins."""

    run: str | Path
    """Its folder, or the one that holds a run for each seed."""
    step: Step = None
    """Of which step's checkpoint; "best" for the one with the highest return, None for the newest whole one."""
    network_only: bool = False
    """Take its networks, and the normaliser of what they see, and nothing of the optimiser or of what is counted. Heads
    that it lacks, or that say other things, as quantiles do, begin anew, and so does what stands on another trunk."""


class Taken(NamedTuple):
    """What was read of another run."""

    learner: Learner
    """The leaves that are taken, None in the place of the others; of several seeds with an axis [seeds]."""
    record: dict[str, Any]
    """What `config.json` says of it."""

    def into(self, fresh: Learner) -> Learner:
        """A fresh learner with what was learnt in its places."""
        return eqx.combine(self.learner, fresh)


def read(origin: Origin, algorithm: Algorithm, spec: Spec, seeds: Sequence[int], world: World) -> Taken:
    """What a run begins with.

    Args:
        origin: where to begin.
        algorithm: of the run that begins.
        spec: what it has to know of its world.
        seeds: its seeds: each takes what the same seed has learnt, or all of them what the only one has.
        world: where it will act.

    Raises:
        OriginError: when spaces, settings or seeds differ, or there is no such checkpoint.
        CheckpointError: when it is damaged, or a leaf has another shape: the message names it.
        FolderError: when there is no run.
    """
    folder = Path(origin.run).expanduser()
    found = {path: list(read_config(path).get("seeds", [])) for path in _members(folder)}
    known = [(path, place) for path, held in found.items() for place in range(len(held))]
    numbers = [number for held in found.values() for number in held]
    if len(known) != 1 and not set(seeds) <= set(numbers):
        raise OriginError(
            f"{folder} has learnt with the seeds {', '.join(map(str, numbers))}, and this run begins with "
            f"{', '.join(map(str, seeds))}: choose seeds among those, or a run of one seed, with which all begin"
        )
    places = [known[0] if len(known) == 1 else known[numbers.index(seed)] for seed in seeds]

    def read_all(origin: Origin) -> dict[Path, tuple[Learner, checkpoint.Manifest, list[str]]]:
        return {path: _read_one(origin, path, len(found[path]), algorithm, spec, world) for path, _ in places}

    try:
        read = read_all(origin)
    except checkpoint.MismatchError as error:
        if origin.network_only:
            raise
        try:
            read_all(replace(origin, network_only=True))
        except RetornoError:
            raise error from None
        raise OriginError(f"{error}; its network alone fits: --network-only, Origin(network_only=True)") from error

    def one(path: Path, place: int) -> Learner:
        return read[path][0] if len(found[path]) == 1 else jax.tree.map(lambda x: x[place], read[path][0])

    each = [one(path, place) for path, place in places]
    first = places[0][0]
    _, manifest, anew = read[first]
    record = {
        "run": str((folder if len(places) > 1 else first).resolve()),
        "step": manifest.step,
        "digest": manifest.digest,
        "network_only": origin.network_only,
        **({"anew": anew} if anew else {}),
    }
    return Taken(each[0] if len(seeds) == 1 else jax.tree.map(lambda *x: jnp.stack(x), *each), record)


def learnt(algorithm: Algorithm, spec: Spec, network_only: bool = False) -> Learner:
    """Which leaves of an algorithm's learner are what it has learnt: a tree of booleans like it.

    Args:
        algorithm: whose.
        spec: of any world that it can take.
        network_only: count its networks alone, with the normaliser of what they see.

    >>> from retorno.algorithms import SARSALambda
    >>> from retorno.core.counter import Counter
    >>> from retorno.environments.registry import native
    >>> from retorno.run.loop import native_spec
    >>> found = learnt(SARSALambda(), native_spec(native("student"), Counter.of(100), 1))
    >>> [field for field in found._fields if any(jax.tree.leaves(getattr(found, field)))]
    ['network']
    """
    learner, wider = _shapes(algorithm, spec), _shapes(algorithm, replace(spec, num_envs=2 * spec.num_envs))
    flat, kinds = jax.tree_util.tree_leaves_with_path, (TimeStep, *ANEW)
    sizes = {path: x.shape for path, x in flat(wider)}
    lived: set[Any] = {path for path, x in flat(learner) if sizes.get(path) != x.shape}
    for path, node in flat(learner, is_leaf=lambda node: isinstance(node, kinds)):
        if isinstance(node, kinds):
            # What holds rows also knows how many, and where the oldest stands: it begins anew as a whole.
            lived.add(path[:1] if isinstance(node, TimeStep) else path)
    if network_only:
        parts = flat(learner, is_leaf=lambda node: node is not learner)
        lived |= {path for path, part in parts if not isinstance(part, Policy | Critics | ObservationNormaliser)}

    def takes(path: tuple[Any, ...], _: Any) -> bool:
        return not any(path[: len(before)] == before for before in lived)

    return jax.tree_util.tree_map_with_path(takes, learner)


def _shapes(algorithm: Algorithm, spec: Spec) -> Learner:
    """The shapes of a fresh learner."""
    return jax.eval_shape(lambda key: algorithm.init(key, spec), jax.random.key(0))


def _members(folder: Path) -> list[Path]:
    """The runs that a folder stands for."""
    inside = [path.parent for path in folder.glob(f"{SEED}*/{CONFIG}")]
    return inside if inside and not (folder / CONFIG).exists() else [folder]


def _read_one(
    origin: Origin, run: Path, seeds: int, algorithm: Algorithm, spec: Spec, world: World
) -> tuple[Learner, checkpoint.Manifest, list[str]]:
    """What is taken of one run's folder, with an axis [seeds] where it has several, and which parts it lacks."""
    settings, own = read_config(run)["algorithm"], to_json(algorithm)
    try:
        path = policy_folder.find(run)
        require_same_spaces(policy_folder.read(path), world)
    except PolicyError:  # It cannot be used alone; its leaves are compared all the same.
        pass
    except ValueError as error:
        raise OriginError(f"{run} cannot be begun from: {error}") from error
    normalises = "normalise_observations"
    if settings.get(normalises, False) != own.get(normalises, False):
        raise OriginError(
            f"{run} cannot be begun from: its {normalises} is {settings.get(normalises, False)}, this run's is "
            f"{own.get(normalises, False)}, and a network that sees other numbers is worth nothing; give both the same"
        )
    place = find(run, origin.step)
    shapes = _shapes(algorithm, spec)
    stacked = jax.tree.map(lambda x: jax.ShapeDtypeStruct((seeds, *x.shape) if seeds > 1 else x.shape, x.dtype), shapes)
    wanted = eqx.filter(stacked, learnt(algorithm, spec, origin.network_only))
    names = _names(wanted)
    lacking = _lacking(checkpoint.read_manifest(place), {"learner": wanted}) if origin.network_only else set()
    if lacking:
        leaves, structure = jax.tree.flatten(wanted)
        kept = [None if _part(name) in lacking else x for name, x in zip(names, leaves, strict=True)]
        wanted = jax.tree.unflatten(structure, kept)
    if not any(jnp.issubdtype(x.dtype, jnp.inexact) for x in jax.tree.leaves(wanted)):
        what = "no network" if origin.network_only else "nothing that is learnt"
        raise OriginError(f"{type(algorithm).__name__} has {what}, with which a run could begin")
    kinds = [each["type"] for each in (settings, own)]
    other = "" if kinds[0] == kinds[1] else f" ({run} is a run of {kinds[0]}, this one is of {kinds[1]})"
    advice = f"begin with settings like those of {run}{other}"
    found, _, manifest = checkpoint.load(place, {"learner": wanted}, advice=advice, part=True)
    fields, places = {name.split("/")[2] for name in names}, _names(shapes)
    own_parts = {_part(name) for name in places}
    for leaf in manifest.leaves:
        inside, _, name = leaf.name.partition("state/learner/")
        beside = origin.network_only and _part(leaf.name) not in own_parts
        if not inside and name.split("/")[0] in fields and leaf.name not in places and not beside:
            raise checkpoint.MismatchError(
                f"{place} has a leaf {leaf.name!r} of {leaf}, which has no place here: {advice}"
            )
    return found["learner"], manifest, sorted(part.removeprefix("state/learner/") for part in lacking)


def _lacking(manifest: checkpoint.Manifest, wanted: Any) -> set[str]:
    """Which trunks and heads a checkpoint lacks, or has of other shapes, and the heads on such trunks.

    None where no trunk would be left.
    """
    held = {leaf.name: (leaf.dtype, leaf.shape) for leaf in manifest.leaves}
    leaves = checkpoint.described(wanted)
    parts = {_part(leaf.name) for leaf in leaves}
    lacking = {_part(leaf.name) for leaf in leaves if held.get(leaf.name) != (leaf.dtype, leaf.shape)}
    for head in parts:
        network, _, name = head.partition("/last/")
        trunks = {part for part in parts if part.startswith(f"{network}/trunks/")}
        if (trunks & {f"{network}/trunks/{name}"} or trunks) & lacking:
            lacking.add(head)
    return lacking if any("/trunks/" in part for part in parts - lacking) else set()


def _names(learner: Learner) -> list[str]:
    """What the leaves of a learner are called in a checkpoint."""
    return [leaf.name for leaf in checkpoint.described({"learner": learner})]


def _part(leaf: str) -> str:
    """Of which trunk or head a leaf is; of none, itself."""
    found = PART.match(leaf)
    return found[0] if found else leaf


def find(run: Path, step: Step) -> Path:
    """Where a run's checkpoint of a step lies; of None, of the newest whole one; of "best", the best that is kept.

    Raises:
        OriginError: when there is none of that step: it says which there are.
        CheckpointError: when there is none at all.

    Args:
        run: its folder.
        step: which.
    """
    if step is None:
        return checkpoint.newest(run)
    there = checkpoint.steps(run)
    chosen = best_step(run, there) if step == "best" else step
    if chosen not in there:
        told = f"those of steps {', '.join(f'{each:,}' for each in sorted(there))}" if there else "none"
        what = "whose return is known" if chosen is None else f"of step {chosen:,}"
        raise OriginError(
            f"{run} has no checkpoint {what}: it has {told}; trained with --keep all it would have every one"
        )
    return run / checkpoint.CHECKPOINTS / str(chosen)
