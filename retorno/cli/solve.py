"""`retorno solve NAME|FILE`: the exact answer of a model, with bounds and all ties."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import tyro

from retorno import bellman
from retorno.bellman.control import advised
from retorno.bellman.evaluation import Policy
from retorno.bellman.matrix_free import MatrixFree, MatrixFreeSolution
from retorno.bellman.solve_monitor import RELATIVE, Progress
from retorno.cli.analyses import FINDINGS, Explained, Finding, comparison, explanation
from retorno.cli.inputs import durations_in, policy_in
from retorno.cli.options import Flag, FromFile, UsageError, parse
from retorno.cli.reaching import reach_json, reach_text
from retorno.cli.rendering import WRITERS, Answer, as_json, as_text, finite, fits, sweeps_text, text_map, write
from retorno.cli.spelling import world_settings
from retorno.cli.terminal import note, print_json
from retorno.core.mdp import MDP
from retorno.core.numerals import as_fraction, plain
from retorno.core.solution import Solution
from retorno.environments.formats.reading import USUAL

Criterion = Literal["discounted", "total", "reach", "horizon", "average"]
SWEPT = ("discounted", "total", "reach")
"""The criteria that methods sweep or solve for."""
Method = Literal[
    "auto",
    "policy-iteration",
    "modified-policy-iteration",
    "value-iteration",
    "gauss-seidel",
    "prioritised-sweeping",
    "topological",
    "asynchronous",
    "partitioned",
    "interval-iteration",
    "linear-programming",
    "closed-form",
    "iterative",
    "krylov",
    "relative-value-iteration",
    "multichain-policy-iteration",
]
EVALUATIONS: tuple[Method, ...] = ("closed-form", "iterative", "krylov")
AVERAGES: tuple[Method, ...] = ("relative-value-iteration", "multichain-policy-iteration")
METHODS: dict[str, Any] = {name: getattr(bellman, name.replace("-", "_")) for name in get_args(Method)[:-5]}
"""Those that find the best policy of the criteria discounted and total."""
QUIET, LINE_SECONDS = 1.0, 5.0
"""Seconds before progress is told, and between two lines of it where no terminal is looking."""
MOST_MAPPED = 1000
"""States of a map that is drawn as text."""
MOST_EXACT = 2000
"""States beyond which fractions take too long."""


@dataclass(frozen=True)
class Solve:
    """The best value of each state of a model, with bounds, and all actions that reach it."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|FILE")]
    """A world with an exact model (`retorno list worlds` marks them); the file of one: .json, .yaml, .npz, .tra, .drn,
    .POMDP; a .csv of recorded transitions; or Python's FILE.py:NAME. What it is made with: --world.KEY VALUE."""
    read: FromFile = USUAL
    discount: Fraction | None = None
    """γ, in [0, 1], such as 0.9 or 1/3; 0.99 if not given, and 1 for a horizon."""
    criterion: Criterion | None = None
    """discounted; total: undiscounted (as --discount 1), staying for ever and earning nothing is an end too; reach:
    undiscounted, among policies that are sure to reach the end; horizon: so many steps; average: reward per step,
    for ever."""
    horizon: int | None = None
    """Steps of a finite horizon."""
    policy: str = "best"
    """Whose values: those of the best policy, of choosing at random (uniform), or of a policy in a .json FILE: each
    state's action, or the probabilities of several; what --out writes holds one."""
    method: Method = "auto"
    """How; auto chooses by the model's size and shape, and says why. The last five are for evaluating a --policy and
    for the average."""
    durations: Path | None = None
    """How long steps take (a semi-Markov model): a .csv with the columns state,action,duration, 1 where not listed.
    The average is then per unit of time, and a step of time t is discounted by γ^t."""
    reach: str | None = None
    """How probably the states with this label (or of this name) are reached, at the most and at the least or by the
    --policy, and what is earned until then."""
    accuracy: float = 1e-6
    """The width of the bounds at which the answer counts as converged."""
    relative_accuracy: float = RELATIVE
    """Or their width as a part of the largest value, whichever is more."""
    initial: str | None = None
    """The state whose value is the start value; the model's own start without."""
    minimise: Flag = False
    """Rewards are costs: the least return is the best."""
    exact: Flag = False
    """In fractions, without any rounding; models of up to 2,000 states."""
    sweeps: int | None = None
    """Stop after so many, with the bounds reached."""
    seconds: float | None = None
    """Stop after this time, with the bounds reached. Ctrl-C does the same."""
    explain: str | None = None
    """Show how this state's value comes about: each action's backup, term by term."""
    time: int = 0
    """Of a horizon: explain the state at this time."""
    sensitivity: Flag = False
    """Show the derivatives of the start value to every reward and probability and to the discount."""
    visits: Flag = False
    """Show how often each state is visited from the start, discounted."""
    compare: Flag = False
    """Show the --policy beside the best one: what each is worth, where they differ, what it loses."""
    returns: Flag = False
    """Show how the return from the start is distributed: deviation and quantiles."""
    trace: Flag = False
    """Show the values after each sweep."""
    json: Flag = False
    """Print one JSON object and nothing else."""
    out: Path | None = None
    """Write the answer for all states into this .json, .csv or .npz."""
    picture: Path | None = None
    """Draw values and policy into this .png or .svg: a map where the model has one, else a graph, of a large model
    all states in a row. Of an average reward the values are the bias. A .gif shows the sweeps (with --trace)."""
    bounds: Path | None = None
    """Draw the bounds closing over the sweeps into this .png or .svg."""


def run(arguments: list[str]) -> int:
    settings, rest = world_settings(arguments)
    parsed = parse(Solve, rest, "retorno solve")
    given = checked(parsed)
    from retorno.cli.model_source import loaded

    found = loaded(given.name, given.read, settings)
    if isinstance(found, MatrixFree):
        return tell(solved_unstored(found, given), given, [])
    if found.discount is not None and parsed.discount is None and given.criterion == "discounted":
        given = dataclasses.replace(given, discount=as_fraction(found.discount))
        note(f"discount {plain(float(found.discount))}, as {Path(given.name).name} says")
    if bellman.is_for_two(found.model):
        given = for_two(parsed)
    asked = starting(found.model, given.initial)
    if not asked.reward.any():
        note(f"no reward was found in {given.name}" + (": every value is 0" if given.reach is None else ""))
    if given.reach is not None:
        return tell_reach(asked, given.reach, given)
    if given.explain is not None:
        asked.state(given.explain)  # An unknown state is told now, not after a long solve.
    answer = solved(asked, given)
    return tell(answer, given, findings(answer, given) if isinstance(answer, Explained) else [])


def tell_reach(model: MDP, label: str, given: Solve) -> int:
    """Print how probably some states are reached."""
    policy = None if given.policy == "best" else policy_of(model, given)
    question: dict[str, Any] = {"minimise": given.minimise, "seconds": given.seconds}
    with watching() as watch:
        if given.exact:
            require_few(model)
            found = bellman.reach_exactly(model, label, policy, watch=watch, **question)
        else:
            found = bellman.reach(model, label, policy, accuracy=given.accuracy, watch=watch, **question)
    if given.json:
        print_json(finite(reach_json(found, label)))
    else:
        print(reach_text(found, label, given.initial or "the start"))
    return 0


def tell(answer: Answer, given: Solve, told: list[Finding]) -> int:
    """Print, write and draw what was asked for."""
    more = {finding.name: finding.data for finding in told}
    if given.json:
        print_json(finite(as_json(answer) | more))
    else:
        print(text(answer, given, told))
    if given.out is not None:
        write(answer, given.out, more)
        note(f"written to {given.out}")
    draw(answer, given)
    return 0


def checked(given: Solve) -> Solve:
    """The same with its criterion and discount filled in.

    Raises:
        UsageError: when options contradict each other, or a file has a suffix that nothing writes.
    """
    if given.reach is not None:
        for setting in dataclasses.fields(Solve):
            if setting.name not in REACHING and getattr(given, setting.name) != setting.default:
                raise UsageError(f"--reach asks how probably, and has no --{setting.name}: leave that out")
    criterion = given.criterion or ("discounted" if given.horizon is None else "horizon")
    if (criterion == "horizon") != (given.horizon is not None):
        raise UsageError("--criterion horizon and --horizon STEPS go together")
    if criterion in ("total", "reach") and given.discount not in (None, 1):
        raise UsageError(
            f"--criterion {criterion} has the discount 1, got {plain(float(given.discount))}: leave --discount out"
        )
    if criterion == "average" and given.discount is not None:
        raise UsageError("the average reward has no discount: leave --discount out")
    swept = criterion in SWEPT and not given.exact
    for name, used in (
        *((name, getattr(given, name)) for name in FINDINGS),
        ("compare", given.compare),
        ("trace", given.trace),
        ("bounds", given.bounds is not None),
    ):
        if used and not swept:
            raise UsageError(f"--{name} goes with the criteria {', '.join(SWEPT)}, and not with --exact")
    if given.explain is not None and given.exact:
        raise UsageError("--explain shows rounded numbers: leave --exact out")
    if given.time and (given.explain is None or given.horizon is None):
        raise UsageError("--time goes with --horizon and --explain")
    if given.explain is not None and given.horizon is not None and not 0 <= given.time < given.horizon:
        raise UsageError(f"--explain needs a --time from 0 to {given.horizon - 1}, got {given.time}")
    if given.exact and criterion not in SWEPT:
        raise UsageError(f"--exact goes with the criteria {', '.join(SWEPT)}")
    if given.durations is not None and (criterion not in ("discounted", "average") or given.exact):
        raise UsageError("--durations goes with the criteria discounted and average, and not with --exact")
    best = given.policy == "best"
    if not best and given.minimise:
        raise UsageError(f"--minimise is for finding the best policy: leave out --policy {given.policy}")
    if not best and given.policy != "uniform" and not given.policy.endswith(".json"):
        raise UsageError(f"--policy is best, uniform or a .json file, got {given.policy!r}")
    if given.compare and best:
        raise UsageError("--compare holds a policy against the best one: give it with --policy uniform or FILE.json")
    fitting = ("auto",)
    if swept:
        fitting += tuple(METHODS)[1:] if best else EVALUATIONS
    elif criterion == "average" and best:
        fitting += AVERAGES
    if given.method not in fitting:
        raise UsageError(f"--method {given.method} does not answer this question; here it is {' or '.join(fitting)}")
    limited = given.sweeps is not None or given.seconds is not None
    exact = given.exact and (given.sweeps is not None or not best)
    if limited and (criterion == "horizon" or exact or (criterion == "average" and not best)):
        raise UsageError("--sweeps and --seconds stop the sweeps of other questions: this one has a number of its own")
    if given.out is not None and given.out.suffix not in WRITERS:
        raise UsageError(f"answers are written as .json, .csv or .npz, got {given.out.name!r}: name the file so")
    moving = given.picture is not None and given.picture.suffix == ".gif" and given.trace
    for path in (None if moving else given.picture, given.bounds):
        if path is not None and path.suffix not in (".png", ".svg"):
            raise UsageError(f"pictures are written as .png or .svg (and as .gif with --trace), got {path.name!r}")
    discount = given.discount
    if discount is None:
        discount = Fraction("0.99") if criterion == "discounted" else Fraction(1)
    return dataclasses.replace(given, criterion=criterion, discount=discount)


OF_TWO = ("name", "read", "discount", "method", "accuracy", "initial", "explain", "json", "out", "picture")
"""The options that go with a game of two."""


def for_two(given: Solve) -> Solve:
    """The question about a game of two; games are not discounted unless it is said.

    Raises:
        UsageError: for what is asked of one player.
    """
    for setting in dataclasses.fields(Solve):
        if setting.name not in OF_TWO and getattr(given, setting.name) != setting.default:
            raise UsageError(
                f"{given.name} is a game of two, whose perfect play has no --{setting.name}: leave that out"
            )
    discount = Fraction(1) if given.discount is None else given.discount
    return checked(dataclasses.replace(given, discount=discount))


def require_few(model: MDP) -> None:
    """Refuse to ask for fractions of a large model."""
    if model.num_states > MOST_EXACT:
        raise UsageError(
            f"fractions of {model.num_states:,} states take too long: {MOST_EXACT:,} do not; leave --exact out"
        )


def starting(model: MDP, state: str | None) -> MDP:
    """The model, begun in a state."""
    if state is None:
        return model
    return dataclasses.replace(model, initial=np.eye(1, model.num_states, model.state(state))[0])


def solved(model: MDP, given: Solve) -> Answer:
    """The answer to the question that was asked."""
    assert given.discount is not None
    times = None if given.durations is None else durations_in(given.durations, model)
    policy = None if given.policy == "best" else policy_of(model, given)
    must_end = given.criterion == "reach"
    if given.exact:
        require_few(model)
        if policy is not None:
            return bellman.evaluate_exactly(model, policy, given.discount, must_end=must_end)
        with watching() as watch:
            asked: dict[str, Any] = {"minimise": given.minimise, "must_end": must_end, "watch": watch}
            return bellman.solve_exactly(model, given.discount, **asked, **limits(given))
    if given.criterion == "horizon":
        assert given.horizon is not None
        if policy is not None:
            return bellman.evaluate_horizon(model, policy, given.horizon, given.discount)
        return bellman.finite_horizon(model, given.horizon, given.discount, minimise=given.minimise)
    if given.criterion == "average":
        if policy is not None:
            return bellman.evaluate_average(model, policy, accuracy=given.accuracy, duration=times)
        how = None if given.method == "auto" else getattr(bellman, given.method.replace("-", "_"))
        question: dict[str, Any] = {"minimise": given.minimise, "duration": times, "method": how}
        with watching() as watch:
            return bellman.average_reward(model, accuracy=given.accuracy, watch=watch, **question, **limits(given))
    if times is not None:
        timed = bellman.discounted_by_time(model, given.discount, times)
        answer = solved(timed, dataclasses.replace(given, discount=Fraction(1), durations=None))
        assert isinstance(answer, Solution)
        return dataclasses.replace(answer, time_discount=float(given.discount))
    discount = given.discount
    with watching() as watch:
        traced = given.trace or given.bounds is not None
        trace: dict[str, Any] = {
            "relative_accuracy": given.relative_accuracy,
            "must_end": must_end,
            "trace": traced,
            "watch": watch,
            **limits(given),
        }
        if policy is None:
            how = METHODS[given.method]
            return bellman.solve(model, discount, given.accuracy, method=how, minimise=given.minimise, **trace)
        how = getattr(bellman, given.method.replace("-", "_")) if given.method != "auto" else None
        if trace["trace"]:
            how = how or bellman.iterative  # Elimination has no sweeps to show.
        return bellman.evaluate(model, policy, discount, accuracy=given.accuracy, method=how, **trace)


REACHING = ("name", "read", "reach", "policy", "minimise", "accuracy", "exact", "seconds", "initial", "json")
"""The options that go with --reach."""
KEPT = ("name", "discount", "criterion", "accuracy", "minimise", "sweeps", "seconds", "initial", "json", "out", "time")
"""The options that go with a model that is not stored."""


def solved_unstored(model: MatrixFree, given: Solve) -> MatrixFreeSolution:
    """The answer about a model that is a compiled function.

    Raises:
        UsageError: for what needs the model as a table.
    """
    for setting in dataclasses.fields(Solve):
        if setting.name not in KEPT and getattr(given, setting.name) != setting.default:
            raise UsageError(f"--{setting.name} needs a model that is stored, and {given.name} is not")
    if given.criterion not in ("discounted", "total"):
        raise UsageError(f"--criterion {given.criterion} needs a model that is stored, and {given.name} is not")
    first = given.initial or "0"
    if not first.isdigit() or int(first) >= model.num_states:
        raise UsageError(f"--initial is one of the states 0 to {model.num_states - 1:,} of {given.name}, got {first}")
    assert given.discount is not None
    with watching() as watch:
        return bellman.solve_matrix_free(
            dataclasses.replace(model, start=int(first)),
            given.discount,
            given.accuracy,
            minimise=given.minimise,
            watch=watch,
            **limits(given),
        )


def policy_of(model: MDP, given: Solve) -> Policy:
    """The policy that is to be evaluated."""
    return bellman.uniform if given.policy == "uniform" else policy_in(Path(given.policy), model)


def limits(given: Solve) -> dict[str, Any]:
    """Where to stop; the solver's own limits where nothing is said."""
    return {name: limit for name in ("sweeps", "seconds") if (limit := getattr(given, name)) is not None}


def findings(answer: Explained, given: Solve) -> list[Finding]:
    """What was asked for beside the values."""
    told = [] if given.explain is None else [explanation(answer, given.explain, given.time)]
    if not isinstance(answer, Solution):
        return told
    if given.compare:
        told.append(comparison(answer, given.policy))
    return told + [find(answer) for name, find in FINDINGS.items() if getattr(given, name)]


def text(answer: Answer, given: Solve, told: list[Finding]) -> str:
    """What is printed for people: what was asked for, or else the table of all values."""
    parts = []
    if given.trace and isinstance(answer, Solution):
        parts.append(sweeps_text(answer) if answer.trace else f"{answer.method} has no sweeps to show")
    if told:
        return "\n\n".join([*parts, *(finding.text for finding in told)])
    small = answer.model.num_states <= MOST_MAPPED
    if isinstance(answer, Solution) and small and answer.model.has_map and fits(drawn := text_map(answer)):
        parts.append(drawn)
    parts.append(as_text(answer))
    if isinstance(answer, Solution) and answer.reason:
        parts[-1] += f"\nauto chose {answer.method}: {answer.reason}"
    if isinstance(answer, Solution) and not (answer.converged or answer.evaluated or given.method == "auto"):
        name, reason = advised(answer.model, answer.given_discount)
        if (quicker := name.replace("_", "-")) != given.method:
            parts[-1] += f"\n--method {quicker} may be quicker: {reason}"
    if isinstance(answer, Solution) and answer.stopped:
        parts[-1] += f"\nstopped early: {answer.stopped}"
    if given.initial is not None:
        parts[-1] += f"\nthe start is {given.initial}"
    return "\n\n".join(parts)


def draw(answer: Answer, given: Solve) -> None:
    """The pictures that were asked for."""
    if isinstance(answer, MatrixFreeSolution) or (given.picture is None and given.bounds is None):
        return
    from retorno.plots import animate, answer_picture, bounds_plot, save

    if given.picture is not None:
        if given.picture.suffix == ".gif" and isinstance(answer, Solution):
            note(f"drawn in {animate(answer, given.picture)}")
        else:
            note(f"drawn in {save(answer_picture(answer), given.picture)}")
    if given.bounds is not None and isinstance(answer, Solution):
        note(f"drawn in {save(bounds_plot(answer), given.bounds)}")


@contextlib.contextmanager
def watching() -> Iterator[Callable[[Progress], bool]]:
    """What tells the progress of a long solve on stderr, and stops it at the first Ctrl-C; the second interrupts."""
    stopped = False
    live, last = sys.stderr.isatty(), QUIET - LINE_SECONDS

    def stop(number: int, frame: Any) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        print(f"{CLEAR * live}stopping with what is certified so far; Ctrl-C again gives up", file=sys.stderr)

    def watch(progress: Progress) -> bool:
        nonlocal last
        if progress.seconds >= QUIET and not stopped and (live or progress.seconds - last >= LINE_SECONDS):
            last = progress.seconds
            width = f"bounds {progress.width:.1e} wide" if np.isfinite(progress.width) else "no bounds yet"
            line = f"{progress.sweeps:,} sweeps · {width} · {progress.seconds:.0f} s"
            print(f"{CLEAR}{line}" if live else line, end="" if live else "\n", file=sys.stderr, flush=True)
        return stopped

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, stop) if main else None
    began = time.monotonic()
    try:
        yield watch
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
        if live and time.monotonic() - began >= QUIET:
            print(CLEAR, end="", file=sys.stderr, flush=True)


CLEAR = "\r\033[K"
"""To the line's beginning, and it is empty."""
