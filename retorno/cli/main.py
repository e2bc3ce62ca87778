"""The command `retorno`: which command was meant, and what its user reads when something goes wrong.

Nothing heavy is imported here, so that `retorno --help` answers at once.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from retorno.cli.interrupting import interruptible

COMMANDS = {
    "solve": ("NAME|FILE", "the exact answer of a model, with bounds and all ties"),
    "model": ("FILE|NAME", "what a model is made of, and conversion between file formats"),
    "train": ("ALGORITHM WORLD", "train an agent, recorded so that it can be resumed"),
    "study": ("ALGORITHM… --world WORLD", "compare algorithms and settings over many seeds: curves, CSV, picture"),
    "tune": ("ALGORITHM WORLD", "search for the settings with which an algorithm learns a world best"),
    "bsuite": ("ALGORITHM", "what an algorithm can do: the behaviour suite's experiments, scores and star"),
    "resume": ("RUN", "go on with a run to its own budget"),
    "evaluate": ("RUN…", "mean return with its 95% interval, and the regret where the optimum is known"),
    "record": ("RUN… --out data.npz", "episodes that learnt policies live, as a data set from which others learn"),
    "arena": ("PLAYER PLAYER… --world GAME", "let players of a game meet: runs, search, perfect play; ratings"),
    "play": ("RUN|WORLD", "show an episode in the terminal or a window, or write a GIF or MP4"),
    "export": ("RUN --out policy.onnx", "a learnt policy for other programs: ONNX, or safetensors and JSON"),
    "sample": ("MODEL", "what a language model makes of a prompt"),
    "chat": ("MODEL [MODEL]", "talk to a language model, or compare two"),
    "judge": ("MODEL [MODEL] --by JUDGE", "how good a model's answers are, and whose are preferred"),
    "language": ("demo", "how ChatGPT was made, in three minutes: demonstrations, rankings, PPO"),
    "rank": ("FILE|RUN|MODEL", "pages in a browser: people rank answers and write demonstrations"),
    "prefer": ("ALGORITHM WORLD", "train an agent by what people or a judge prefer, instead of a reward"),
    "compare": ("RUN", "a page in a browser: people compare clips of an agent that learns from it"),
    "labels": ("export|import|statistics", "what people said in the pages, as files; how far they agree"),
    "figure": ("NAME…", "repeat figures and tables of the textbooks, beside what is expected of them"),
    "web": ("RUN…", "a page in a browser: runs, their curves, metrics and films, as they grow"),
    "report": ("RUN…", "one HTML page about one or several runs"),
    "inspect": ("RUN", "what is in a run's folder: step, digest, checkpoints, settings"),
    "list": ("[WHAT]", "algorithms, worlds and networks, with one line each"),
    "completion": ("SHELL", "tab completion for bash, zsh and fish"),
    "demo": ("", "all of it in about a minute: solve, learn, kill, resume, draw"),
}

USER, DEFECT, PIPE = 2, 1, 141
"""Exit codes: something its user can mend, something we have to mend, and a reader that went away."""


def top_help() -> str:
    """What `retorno --help` says."""
    calls = {f"{name} {operands}".strip(): about for name, (operands, about) in COMMANDS.items()}
    width = max(map(len, calls))
    lines = "\n".join(f"  {call:<{width}}   {about}" for call, about in calls.items())
    return f"""\
retorno: reinforcement learning with answers you can check

usage: retorno COMMAND …

{lines}

help:
  retorno COMMAND --help                  what a command takes
  retorno train ppo CartPole-v1 --help    every setting of an algorithm, with its default for a world

  retorno FILE.py COMMAND …               the same with what a file of your own registers

first steps:
  retorno demo
  retorno solve FrozenLake-v1 --discount 0.99
  retorno train ppo CartPole-v1 --seed 0
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command: its exit code. Errors are one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with (
            interruptible(lambda: _fail("interrupted", 130)),
            _told_as_notes(),
            _only_json() if "--json" in given else contextlib.nullcontext(),
        ):
            code = _run(given)
            sys.stdout.flush()
            return code
    except SystemExit as stop:  # tyro's help
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # Whoever read has enough. Python would complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE
    except Exception as error:
        return _explain(error)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(top_help(), end="")
        return 0
    if arguments[0] == "--version":
        from retorno import __version__

        print(f"retorno {__version__}")
        return 0
    name, *rest = arguments
    if name.endswith(".py"):
        from retorno.environments.own_code import run_file

        run_file(name)
        return _run(rest)
    if ":" in name:
        from retorno.environments.own_code import attribute

        attribute(name)
        return _run(rest)
    if name not in COMMANDS:
        from retorno.core.names import did_you_mean

        meant = did_you_mean(name, COMMANDS) or f"; commands: {', '.join(COMMANDS)}"
        return _fail(f"no command {name!r}{meant}", USER)
    from retorno.cli.waiting import told
    from retorno.core.waiting import listening, waiting

    # JSON is for machines: they are told what is waited for where a person looks on.
    quiet = "--json" in rest and not sys.stderr.isatty()
    with contextlib.nullcontext() if quiet else listening(told):
        with waiting("loading"):
            command = importlib.import_module(f"retorno.cli.{name}")
        return command.run(rest)


@contextlib.contextmanager
def _told_as_notes() -> Iterator[None]:
    """What a warning says is one line to the user, without the code that gave it."""
    usual = warnings.showwarning

    def tell(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, UserWarning):
            return usual(message, category, *place, **more)
        from retorno.cli.terminal import note

        note(f"note: {' '.join(str(message).split())}")

    warnings.showwarning = tell
    try:
        yield
    finally:
        warnings.showwarning = usual


@contextlib.contextmanager
def _only_json() -> Iterator[None]:
    """Whatever prints, an environment of the user's or what it has compiled, prints on stderr: JSON stands alone."""
    from retorno.cli import terminal

    sys.stdout.flush()
    own = terminal.answers = sys.stdout
    try:
        number = own.fileno()
        kept = os.dup(number)
    except (OSError, ValueError):  # No file, as in a notebook.
        kept = None
    if kept is not None:
        os.dup2(sys.stderr.fileno(), number)
        terminal.answers = os.fdopen(kept, "w", encoding="utf-8")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
        terminal.answers.flush()
    finally:
        if kept is not None:
            os.dup2(kept, number)
            terminal.answers.close()
        terminal.answers = None


def _explain(error: Exception) -> int:
    """One line about an error, and the exit code that says whose it is."""
    from retorno.core.errors import RetornoError

    if isinstance(error, RetornoError):
        number = getattr(error, "number", None)  # the signal that interrupted a run
        return _fail(str(error), USER if number is None else 128 + number)
    # These are for the user where our own code raised them; from elsewhere they are defects.
    if isinstance(error, ValueError | KeyError | NotImplementedError) and _raised_here(error):
        return _fail(str(error.args[0] if error.args else error), USER)
    if isinstance(error, OSError):
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), USER)
    if isinstance(error, MemoryError):
        return _fail(f"out of memory: {error}", USER)
    # JAX's own error, which is not imported for being looked for.
    if type(error).__name__ == "JaxRuntimeError" and "RESOURCE_EXHAUSTED" in str(error):
        wanted = re.search(r"allocating (\d+) bytes", str(error))
        much = f"{int(wanted[1]) / 1e9:,.1f} GB are needed at once, and are not there" if wanted else str(error)
        hint = "take a smaller --capacity of a replay, or fewer or smaller environments, minibatches or networks"
        return _fail(f"out of memory: {much}: {hint}", USER)
    with tempfile.NamedTemporaryFile("w", prefix="retorno-", suffix=".log", delete=False, encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    if (own := _in_own_code(error)) is not None:
        place = f"{Path(own.filename).name}, line {own.lineno}, in {own.name}"
        return _fail(f"{place}: {type(error).__name__}: {error}; the traceback is in {file.name}", USER)
    return _fail(
        f"a defect in retorno ({type(error).__name__}: {error}); please report it with the traceback in {file.name}",
        DEFECT,
    )


def _in_own_code(error: Exception) -> traceback.FrameSummary | None:
    """Where a file that was named on the command line failed, or what it called that is not ours."""
    from retorno.environments.own_code import named_files

    ours, named = Path(__file__).parents[1], named_files()
    files = [(frame, Path(frame.filename)) for frame in traceback.extract_tb(error.__traceback__)]
    known = [(frame, file) for frame, file in files if file in named or file.is_relative_to(ours)]
    return known[-1][0] if known and known[-1][1] in named else None


def _raised_here(error: Exception) -> bool:
    """Whether our own code raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parents[1])


def _fail(message: str, code: int) -> int:
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    begin, end = ("\033[1;31m", "\033[0m") if colour else ("", "")
    print(f"{begin}retorno:{end} {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
