"""What runs have learnt of a world that has an exact model: values and policy beside the exact ones, and the regret."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure

from retorno import bellman
from retorno.core import constants
from retorno.core.errors import RetornoError
from retorno.core.mdp import MDP
from retorno.core.policy import Policy
from retorno.core.runtime import IN_HASTE
from retorno.core.solution import Solution
from retorno.environments.registry import WorldName
from retorno.environments.wrappers import TimeLimit
from retorno.ops.intervals import interval95
from retorno.plots.answers import Answer, Greedy, greedy
from retorno.plots.curves import seed_bands
from retorno.plots.graph import model_graph, readable
from retorno.plots.maps import value_map
from retorno.plots.page import Cell, Picture, Section, Table
from retorno.plots.pictures import answer_picture
from retorno.plots.records import Group
from retorno.plots.style import WIDE, PlotError, number
from retorno.policies.decision_time_planning import PlannedPolicy
from retorno.run import policy_folder
from retorno.run.oracle import action_chances, entered, observes_states, policy_value, regret
from retorno.run.policy_folder import SavedPolicy
from retorno.run.prediction import prediction
from retorno.run.prediction import predicts as given

LARGEST = 5_000
"""States up to which policies are held against the exact answer."""
MOST_POLICIES = 5_000_000
"""States times policies that are evaluated for a regret curve; of more only the newest policies are."""
MOST_LIMIT, MOST_LIVED = 1_000, 5_000_000
"""Time limits, and these times the model's pairs, up to which the best return within the limit is worked out."""
MOST_LINES = 300
"""Lines of a table; of more, those that are furthest off."""
MOST_DRAWN = 6
"""Things of one world whose policies and tables are shown."""
MOST_OPEN = 60
"""Lines of a table that the reader need not open."""
ALIKE = 1e-6
"""Values within this share of the largest are equal."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """What the seeds of one thing have learnt, at each step of which policies were kept, held against the exact one."""

    label: str
    best: Solution
    """The optimum at the algorithm's γ; of prediction the policy's own exact values."""
    steps: Int[np.ndarray, " K"]
    errors: Float[np.ndarray, "S K"]
    """The exact regret of each seed's policy, infinite where it never ends; of prediction the root of the mean squared
    error of its values."""
    newest: Sequence[Policy]
    """Of each seed."""
    seeds: Sequence[int]
    predicts: bool
    """Whether the policy was given, and its values are what was learnt."""
    q: Float[np.ndarray, "S P"] | None
    """Each seed's value of each pair, where it has one."""
    value: Float[np.ndarray, "S N"]
    """Each seed's value of each state; NaN where it has none."""
    chosen: Bool[np.ndarray, "S P"]
    """Each seed's best pairs, all that tie; none in a state where all do, which was not learnt."""

    @property
    def model(self) -> MDP:
        """The world's."""
        return self.best.model

    def answer(self, seed: int) -> Greedy:
        """What a picture shows of a seed, by its place among them."""
        return Greedy(self.model, self.value[seed], self.chosen[seed])

    def visited(self, seed: int) -> Bool[np.ndarray, " N"]:
        """States in which a seed's policy acts."""
        chances = action_chances(self.newest[seed], self.model, greedy=not self.predicts)
        return entered(self.model, chances) & ~self.model.terminal


def predicts(group: Group) -> bool:
    """Whether what acts was given, and its values are what a group's runs learn: returns say nothing of them.

    Args:
        group: whose newest policies are looked at.
    """
    try:
        folders = [record.folder for record in group.records if policy_folder.steps(record.folder)]
        newest = [
            policy for folder in folders[:1] for policy in policy_folder.read(policy_folder.find(folder)).policies
        ]
    except (RetornoError, OSError):
        return False
    return bool(newest) and given(newest)


def optimum(name: WorldName, model: MDP) -> tuple[float, float] | None:
    """The best expected return of an episode, certified from below and above; None where it has no bound.

    Within the world's time limit where that is short enough to matter, and else of episodes that end by themselves.

    Args:
        name: of the world.
        model: its own.

    Returns:
        Its bounds.

    >>> from retorno.environments.registry import model
    >>> low, high = optimum(WorldName("student"), model("student"))
    >>> low <= 6 <= high < 6.001
    True
    """
    limit = _time_limit(name)
    if limit is not None and limit <= MOST_LIMIT and limit * model.num_pairs <= MOST_LIVED:
        found = bellman.finite_horizon(model, limit)
        value, error = found.start_value, float(found.error[0])
        return value - error, value + error
    try:
        best = bellman.solve(model, 1.0)
    except ValueError:
        return None
    possible = model.initial > 0
    low, high = (float(model.initial[possible] @ bound[possible]) for bound in (best.lower, best.upper))
    return (low, high) if np.isfinite(low + high) else None


def _time_limit(name: WorldName) -> int | None:
    """After how many steps the world cuts an episode, where that is known."""
    if name.hosted or name.wrappers:
        limit = name.settings.get("max_episode_steps")
        return limit if isinstance(limit, int) else None
    made = name.make()
    return made.limit if isinstance(made, TimeLimit) else None


def learnt(group: Group, model: MDP) -> Learnt:
    """What the seeds of one thing have learnt.

    Args:
        group: whose runs have kept policies.
        model: of its world.

    Raises:
        PlotError: when there is nothing to hold against the model; it says why.
        PolicyError: when a policy cannot be read.
    """
    if model.num_states > LARGEST:
        raise PlotError(f"a model of {model.num_states:,} states is too large for it: up to {LARGEST:,} are not")
    steps, saved = _kept(group)
    newest = [policy for each in saved[-1] for policy in each.policies]
    if not observes_states(saved[-1][0], model) or any(policy.context != 0 for policy in newest):
        raise PlotError("its policies do not see the model's states alone")
    seeds = [seed for each in saved[-1] for seed in each.seeds]
    if isinstance(newest[0], PlannedPolicy) or model.num_states * len(seeds) * len(steps) > MOST_POLICIES:
        steps, saved = steps[-1:], saved[-1:]
    policies = [[policy for each in at for policy in each.policies] for at in saved]
    discount = float(group.records[0].config["algorithm"].get("discount", 1.0))
    best = _solved(model, discount)
    judged = given(newest)
    if judged:
        found = [prediction(at, model, discount) for at in policies]
        exact = policy_value(newest[0], best, greedy=False)
        errors = np.array([each.errors for each in found]).T
        chosen = np.repeat(exact.policy[None] > 0, len(newest), 0)
        return Learnt(group.label, exact, np.array(steps), errors, newest, seeds, True, None, found[-1].learnt, chosen)
    errors = np.array([[_regret(policy, best) for policy in at] for at in policies]).T
    q, value, chosen = _values_of(newest, model)
    return Learnt(group.label, best, np.array(steps), errors, newest, seeds, False, q, value, chosen)


def _kept(group: Group) -> tuple[list[int], list[list[SavedPolicy]]]:
    """The steps of which every run has a policy, and these; the newest of each where there is no such step."""
    folders = [record.folder for record in group.records if policy_folder.steps(record.folder)]
    if not folders:
        raise PlotError("no policy has been kept yet")
    common = set.intersection(*(set(policy_folder.steps(folder)) for folder in folders))
    if not common:
        newest = max(policy_folder.steps(folder)[0] for folder in folders)
        return [newest], [[policy_folder.read(policy_folder.find(folder)) for folder in folders]]
    steps = sorted(common)
    return steps, [[policy_folder.read(policy_folder.find(folder, step)) for folder in folders] for step in steps]


def _solved(model: MDP, discount: float) -> Solution:
    try:
        return bellman.solve(model, discount)
    except ValueError as error:
        raise PlotError(str(error)) from error


def _regret(policy: Policy, best: Solution) -> float:
    try:
        return float(regret([policy], best).regrets[0])
    except ValueError:
        return np.inf


def _values_of(
    policies: Sequence[Policy], model: MDP
) -> tuple[Float[np.ndarray, "S P"] | None, Float[np.ndarray, "S N"], Bool[np.ndarray, "S P"]]:
    """Values of pairs and states, and the best pairs, of each seed."""
    heads = [_heads(policy, model.num_states) for policy in policies]
    pairs = np.bincount(model.pair_state, minlength=model.num_states)
    if all("q" in each for each in heads):
        tables = [np.asarray(each["q"], float) for each in heads]
        answers = [greedy(model, table, ALIKE) for table in tables]
        q = np.array([table[model.pair_state, model.action] for table in tables])
        chosen = np.array([answer.optimal for answer in answers])
        tied = np.array([np.bincount(model.pair_state, each, minlength=model.num_states) for each in chosen])
        unlearnt = (tied == pairs) & (pairs > 1)
        return q, np.array([answer.value for answer in answers]), chosen & ~unlearnt[:, model.pair_state]
    chosen = np.array([action_chances(policy, model) > 0.5 for policy in policies])
    nothing = np.full(model.num_states, np.nan)
    values = [np.asarray(each["value"], float) if "value" in each else nothing for each in heads]
    return None, np.where(model.terminal, 0.0, np.array(values)), chosen


@partial(constants.jit, static_argnames="states", compiler_options=IN_HASTE)
def _heads(policy: Policy, states: int) -> dict[str, Array]:
    """The values that a policy's heads hold, of every state."""

    def of_state(state: Array) -> dict[str, Array]:
        heads = policy.step(state, jnp.array(False), policy.initial_carry())[0]
        return {name: heads[name] for name in ("q", "value") if name in heads}

    return jax.vmap(of_state)(jnp.arange(states))


def learnt_sections(groups: Sequence[Group], alone: bool = False) -> list[Section]:
    """The parts of a page about what groups of runs in one world have learnt, beside the exact answer.

    Args:
        groups: of one world.
        alone: each seed as a line of its own.
    """
    found: list[Learnt] = []
    reasons: dict[str, str] = {}
    model = None
    for group in groups:
        try:
            model = model or model_of(group)
            if model is None:
                return []
            found.append(learnt(group, model))
        except (RetornoError, ValueError, OSError) as error:
            reasons[group.label] = str(error)
    text = "\n\n".join(f"{label}: nothing is held against the exact answer: {why}." for label, why in reasons.items())
    if not found:
        return [Section("Against the exact answer", text)] if text else []
    sections = []
    for predicts in (False, True):
        alike = [each for each in found if each.predicts is predicts]
        if any(len(each.steps) > 1 for each in alike):
            sections.append(_error_section(alike, predicts, alone))
    for each in found[:MOST_DRAWN]:
        sections += _value_sections(each) if len(groups) == 1 else [_together(each.label, _value_sections(each))]
    if len(found) > MOST_DRAWN:
        text += f"\n\nPolicies and tables are those of the first {MOST_DRAWN} of {len(found)}."
    return [*sections, *([Section("Against the exact answer", text)] if text else [])]


def model_of(group: Group) -> MDP | None:
    """The exact model of a group's world, where it has one and a name.

    Args:
        group: whose settings are read.

    Raises:
        RetornoError: when it stands in a file that is not there.
    """
    given = group.records[0].config.get("world")
    if not isinstance(given, Mapping) or not given.get("name"):
        return None
    return WorldName.recorded(given).model()


def _error_section(found: Sequence[Learnt], predicts: bool, alone: bool) -> Section:
    """How the regret fell, or the values' error."""
    discounts = {each.best.discount for each in found}
    gamma = f" at γ = {number(discounts.pop())}" if len(discounts) == 1 else ""
    if predicts:
        heading, ylabel = "Error of the values", f"root mean square error{gamma}"
        caption = (
            "The root of the mean squared error of the learnt values, over the states that the policy enters, against "
            "the exact ones"
        )
    else:
        heading, ylabel = "Regret", f"exact regret{gamma}"
        caption = (
            "What the exact value of the greedy policy lacks of the optimum, from the start; 0 is optimal. Each point "
            "is a policy that was kept, one at each multiple of --every"
        )
    series = {each.label: (each.steps.astype(float), each.errors) for each in found}
    many = [each for each in found if len(each.seeds) > 1]
    if many:
        caption += "; bands are 95% intervals of the mean over seeds"
    endless = [each.label for each in found if np.isinf(each.errors).any()]
    if endless:
        caption += ". A gap is where the policy of a seed goes on for ever and its value has no bound"
    draw = partial(seed_bands, series, xlabel="environment steps", ylabel=ylabel, title=heading, least=0.0, alone=alone)
    last = "error at the end" if predicts else "regret at the end"
    rows: list[list[Cell]] = [
        [each.label, len(each.seeds), _told_mean(each.errors[:, -1]), *([] if gamma else [_told_start(each)])]
        for each in found
    ]
    text = f"From the start {_told_start(found[0])}." if gamma else ""
    table = Table(["", "seeds", last, *([] if gamma else ["value of the start"])], rows)
    drawn = [Picture.of(draw, caption)] if any(np.isfinite(each.errors).all(0).any() for each in found) else []
    return Section(heading, text, pictures=drawn, tables=[table])


def _told_mean(errors: Float[np.ndarray, " S"]) -> str:
    """A mean over seeds, with its interval, within what is possible."""
    never = int(np.isinf(errors).sum())
    if never:
        return "the policy goes on for ever" if len(errors) == 1 else f"{never} of {len(errors)} seeds go on for ever"
    if len(errors) == 1 or np.ptp(errors) == 0:
        return number(errors[0]) + ", in each seed" * (len(errors) > 1)
    low, high = interval95(errors)
    return f"{number(errors.mean())}, 95% interval over seeds {number(max(low, 0.0))} to {number(high)}"


def _told_start(found: Learnt) -> str:
    possible = found.model.initial > 0
    weight = found.model.initial[possible]
    low, high = (float(weight @ bound[possible]) for bound in (found.best.lower, found.best.upper))
    what = "the policy’s exact value" if found.predicts else "the optimum"
    within = number(max(high - low, 0.0), 2)
    return f"{number(found.best.start_value, 6)} is {what}, certified within {within}"


def _together(label: str, sections: Sequence[Section]) -> Section:
    """One part to be opened, where several things are compared."""
    first, *others = sections
    tables = [
        replace(table, caption=". ".join(filter(None, [other.heading, other.text])))
        for other in others
        for table in other.tables
    ]
    return replace(first, heading=f"{first.heading}: {label}", tables=tables, folded=True)


def _value_sections(found: Learnt) -> list[Section]:
    """Picture and tables of one thing's values and policy beside the exact ones."""
    model, many = found.model, len(found.seeds) > 1
    if found.predicts:
        title = f"learnt, mean of {len(found.seeds)} seeds" if many else "learnt"
        answers: dict[str, Answer] = {title: Greedy(model, found.value.mean(0), found.chosen[0]), "exact": found.best}
        return [Section("Values", pictures=_pictures(found, answers)), *_tables(found, found.visited(0))]
    answers = {f"learnt, seed {found.seeds[0]}" if many else "learnt": found.answer(0), "optimal": found.best}
    visited = found.visited(0)
    acts, agrees, states = (int(x.sum()) for x in (visited, _agreeing(found, 0) & visited, ~model.terminal))
    of_seed = f" of seed {found.seeds[0]}" * many
    text = f"The greedy policy{of_seed} acts in {acts:,} of {states:,} states, and in {agrees:,} of these optimally."
    return [Section("Policy and values", text, _pictures(found, answers)), *_tables(found, visited)]


def _agreeing(found: Learnt, seed: int) -> Bool[np.ndarray, " N"]:
    """States in which a seed's policy takes an optimal action."""
    chances = action_chances(found.newest[seed], found.model)
    wrong = (chances > 0) & ~found.best.optimal
    return np.bincount(found.model.pair_state, wrong, minlength=found.model.num_states) == 0


def _pictures(found: Learnt, answers: Mapping[str, Answer]) -> list[Picture]:
    """Side by side on a map or as a graph, where the model can be drawn so; values alone where they were predicted."""
    model, (own, exact) = found.model, answers
    if not np.isfinite(found.value).all():
        return []
    if model.has_map:
        marks = "arrows: the policy" if found.predicts else "arrows: all best actions"
        caption = f"Values and policy, {own} and {exact}, in one scale of colours; {marks}"
        return [Picture.of(partial(_maps, answers), caption)]
    if readable(model):
        return [Picture.of(partial(_graphs, model, answers), f"Values and best actions, {own} and {exact}")]
    return [Picture(answer_picture(answer), f"Values and actions, {title}") for title, answer in answers.items()]


def _maps(answers: Mapping[str, Answer], *, width: float = WIDE) -> Figure:
    return value_map(answers, **({} if width >= WIDE else {"across": 1, "width": width}))


def _graphs(model: MDP, answers: Mapping[str, Answer], *, width: float = WIDE) -> Figure:
    return model_graph(model, answers, across=None if width >= WIDE else 1)


def _tables(found: Learnt, visited: Bool[np.ndarray, " N"]) -> list[Section]:
    """The values in lines: first of the states that the policy enters, then of the others."""
    rest = ~visited & ~found.model.terminal
    parts = (("Table of the states that the policy enters", visited), ("Table of the other states", rest))
    return [_table(found, heading, states, states is rest) for heading, states in parts if states.any()]


def _table(found: Learnt, heading: str, states: Bool[np.ndarray, " N"], folded: bool) -> Section:
    write = _state_lines if found.q is None else _pair_lines
    head, lines, marked, off = write(found, states)
    told = []
    if len(lines) > MOST_LINES:
        kept = np.sort(np.argsort(-np.abs(off), kind="stable")[:MOST_LINES]).tolist()
        told.append(f"The {MOST_LINES} lines that are furthest off, of {len(lines):,}.")
        marked, lines = {i for i, k in enumerate(kept) if k in marked}, [lines[k] for k in kept]
    if len(found.seeds) > 1:
        told.append(f"Learnt values are means over {len(found.seeds)} seeds.")
    if marked:
        told.append("The best actions by the exact answer are marked.")
    folded = folded or len(lines) > MOST_OPEN
    return Section(heading, " ".join(told), tables=[Table(head, lines, marked, narrow=True)], folded=folded)


Lines = tuple[list[str], list[list[Cell]], set[int], Float[np.ndarray, " L"]]


def _state_lines(found: Learnt, states: Bool[np.ndarray, " N"]) -> Lines:
    """A line for each state."""
    model, mean, numbers = found.model, found.value.mean(0), np.flatnonzero(states).tolist()
    off, rounded = mean - found.best.value, _rounded(found)
    head = ["state", *([] if found.predicts else ["action", "best"]), "learnt", "exact", "off by"]
    lines: list[list[Cell]] = []
    for s in numbers:
        own = range(model.state_ptr[s], model.state_ptr[s + 1])
        acts = [
            " or ".join(_action(model, p) for p in own if marks[p]) for marks in (found.chosen[0], found.best.optimal)
        ]
        values = [rounded(x[s]) for x in (mean, found.best.value, off)]
        lines.append([str(model.state_names[s]), *([] if found.predicts else acts), *values])
    return head, lines, set(), np.nan_to_num(off[numbers])


def _pair_lines(found: Learnt, states: Bool[np.ndarray, " N"]) -> Lines:
    """A line for each action of each state."""
    assert found.q is not None
    model, mean, seeds, rounded = found.model, found.q.mean(0), len(found.seeds), _rounded(found)
    pairs = np.flatnonzero(states[model.pair_state]).tolist()
    off = mean - found.best.q
    lines: list[list[Cell]] = []
    before = -1
    for p in pairs:
        s, count = int(model.pair_state[p]), int(found.chosen[:, p].sum())
        chosen = "" if not count else "yes" if seeds == 1 else f"{count} of {seeds}"
        name = str(model.state_names[s]) if s != before else ""
        lines.append([name, _action(model, p), *(rounded(x[p]) for x in (mean, found.best.q, off)), chosen])
        before = s
    marked = {i for i, p in enumerate(pairs) if found.best.optimal[p]}
    return ["state", "action", "learnt", "exact", "off by", "chosen"], lines, marked, off[pairs]


def _rounded(found: Learnt) -> Callable[[float], float | None]:
    """Values to six digits of the largest, below which float32 tells nothing; None for what is not known."""
    known = found.best.value[np.isfinite(found.best.value)]
    largest = float(np.abs(known).max(initial=0.0)) or 1.0
    digits = 5 - int(np.floor(np.log10(largest)))
    return lambda x: None if np.isnan(x) else round(float(x), digits)


def _action(model: MDP, pair: int) -> str:
    return str(model.action_names[int(model.action[pair])])
