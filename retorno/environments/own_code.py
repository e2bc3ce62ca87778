"""What code of one's own defines, by its name: FILE.py:NAME, or MODULE:NAME.

Only a file that was named in this process is run: on the command line, or in a call. What a run's folder says of the
file in which its world stands is not enough, since a folder may come from anywhere. So it is with functions of modules
that are installed, of which some do whatever they are told; classes of worlds may be made because a folder names them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar

from retorno.core.errors import RetornoError
from retorno.core.names import did_you_mean

Made = TypeVar("Made")
Named = TypeVar("Named", bound="OwnFunction")


class OwnCodeError(RetornoError):
    """Code of the user's own that is not there, fails, or was not named."""


_modules: dict[Path, tuple[int, ModuleType]] = {}
"""The files that were named in this process, in order: when they were written, and what they are as modules."""


_asked_for: dict[str, Any] = {}
"""What was asked for in this process by MODULE:NAME of a module that is installed."""
MAKERS = (
    "retorno.environments.datasets:dataset",
    *(f"retorno.language:{kind}" for kind in ("prompts", "demonstrations", "rankings")),
)
"""What makes worlds here, and only reads."""


def located(name: str) -> tuple[Path | None, str, str]:
    """(file, module, NAME) of FILE.py:NAME or MODULE:NAME; the file is None where the module is an installed one.

    A module is looked for in the present folder first, but for retorno's own.

    Args:
        name: with a colon.

    >>> located("gymnasium.envs.toy_text:FrozenLakeEnv")
    (None, 'gymnasium.envs.toy_text', 'FrozenLakeEnv')
    """
    where, _, inside = name.rpartition(":")
    if where.endswith(".py"):
        return Path(where).resolve(), "", inside
    if where.startswith("retorno."):
        return None, where, inside
    for beside in (Path(f"{where.replace('.', '/')}.py"), Path(where.replace(".", "/"), "__init__.py")):
        if beside.exists():
            return beside.resolve(), where, inside
    return None, where, inside


def attribute(name: str, what: str = "world") -> Any:
    """What NAME stands for in a file or module: FILE.py:NAME, MODULE:NAME.

    Raises:
        OwnCodeError: when it fails, with its line, or has no such name.
        OSError: when the file cannot be read.

    Args:
        name: with a colon.
        what: is looked for: for messages.

    >>> attribute("gymnasium.envs.toy_text:FrozenLakeEnv").__name__
    'FrozenLakeEnv'
    """
    module, inside = opened(name, what)
    found = vars(module)
    if inside not in found:
        own = [known for known in found if not known.startswith("_")]
        raise OwnCodeError(f"{name.rpartition(':')[0]} defines no {inside!r}{did_you_mean(inside, own)}")
    if located(name)[0] is None:
        _asked_for[name] = found[inside]
    return found[inside]


def function(name: str, what: str) -> Callable[..., Any]:
    """`attribute`, which is to be called.

    Raises:
        OwnCodeError, OSError: as `attribute`, and where it cannot be called.

    Args:
        name: with a colon.
        what: it is: for messages.
    """
    found = attribute(name, what)
    if not callable(found):
        raise OwnCodeError(f"{name} is no function, but of type {type(found).__name__}")
    return found


def placed(name: str, what: str) -> tuple[str, int]:
    """The name of a function wherever one stands later, and when its file was written: another is another function.

    Args:
        name: with a colon.
        what: it is: for messages.

    Raises:
        ValueError: when the name has no colon.

    >>> placed("math:hypot", "reward")
    ('math:hypot', 0)
    """
    if ":" not in name:
        raise ValueError(f"function must say where the {what} is, as FILE.py:NAME or MODULE:NAME, got {name!r}")
    file, _, inside = located(name)
    if file is None:
        return name, 0
    return f"{file}:{inside}", file.stat().st_mtime_ns if file.exists() else 0


@dataclass(frozen=True)
class OwnFunction:
    """Settings that name a function, which is looked for when it is needed."""

    WHAT: ClassVar[str]
    """It is: for messages."""

    function: str = ""
    """FILE.py:NAME or MODULE:NAME."""
    written: int = field(init=False, repr=False, default=0)
    """When its file was: once it is another, programs that call the function as it was are not used again."""

    def __post_init__(self) -> None:
        if self.function:  # On the command line it is said later.
            name, written = placed(self.function, self.WHAT)
            object.__setattr__(self, "function", name)
            object.__setattr__(self, "written", written)

    def recorded(self: Named, folder: Path) -> Named:
        """As a run recorded it.

        Raises:
            OwnCodeError: when it stands in a file that was not named in this process: then it is not run.

        Args:
            folder: the run's.
        """
        return replace(self, function=require_named(self.function, self.WHAT))

    def found(self) -> Callable[..., Any]:
        """The function itself.

        Raises:
            ValueError, OwnCodeError, OSError: as `placed` and `function`.
        """
        placed(self.function, self.WHAT)
        return function(self.function, self.WHAT)


def opened(name: str, what: str = "world") -> tuple[ModuleType, str]:
    """The module of FILE.py:NAME or MODULE:NAME after it has run, and NAME.

    Raises:
        OwnCodeError, OSError: as `attribute`.

    Args:
        name: with a colon.
        what: is looked for: for messages.
    """
    file, module, inside = located(name)
    if file is not None:
        return run_file(file, what), inside
    try:
        return guarded(module, lambda: importlib.import_module(module), what), inside
    except ModuleNotFoundError as error:
        raise OwnCodeError(
            f"{name} needs the module {module}, which is not found ({error}): install it, or stand in its folder"
        ) from None


def run_file(file: str | Path, what: str = "class") -> ModuleType:
    """A Python file of the user's as a module, after it has run: what it registers is known from now on.

    Raises:
        OwnCodeError: when it fails, with its line, or is called as a module that is there already.
        OSError: when it cannot be read.

    Args:
        file: its path.
        what: is looked for: for messages.
    """
    path = Path(file).resolve()
    written = path.stat().st_mtime_ns
    if path not in _modules or _modules[path][0] != written:
        held = sys.modules.get(path.stem)
        if held is None or path in _modules or held in (module for _, module in _modules.values()):
            module = guarded(str(path), lambda: _module(path), what)
        elif getattr(held, "__file__", None) == str(path):
            module = held  # It is imported already.
        else:
            raise OwnCodeError(f"{file} is called as the module {path.stem!r}, which is in use: rename the file")
        _modules[path] = written, module
    return _modules[path][1]


def named_files() -> list[Path]:
    """The files that were named in this process."""
    return list(_modules)


def defined_by_a_named_file(name: str) -> str | None:
    """FILE.py:NAME where a file that was named in this process defines NAME, None where none does.

    Args:
        name: without a colon.
    """
    for file, (_, module) in _modules.items():
        if callable(vars(module).get(name)):
            beside = file.parent == Path.cwd()
            return f"{file.name if beside else file}:{name}"
    return None


def named_functions() -> list[str]:
    """What was asked for in this process by MODULE:NAME and is no class of worlds: a run that records it is used so."""
    return sorted(name for name, it in _asked_for.items() if name not in MAKERS and not _is_class_of_worlds(it))


def require_named(name: str, what: str = "world") -> str:
    """FILE.py:NAME or MODULE:NAME as a run recorded it, in the file that was named: it may have moved since.

    Raises:
        OwnCodeError: when no such file or function was named in this process: then it is not run.

    Args:
        name: as recorded.
        what: it is: for messages.
    """
    file, _, inside = located(name)
    if file is None:
        known = name in _asked_for or name in MAKERS
        if known or _is_class_of_worlds(vars(opened(name, what)[0]).get(inside)):
            return name
        in_python = f"retorno.make({name!r})" if what == "world" else f"{__name__}.attribute({name!r})"
        raise OwnCodeError(
            f"this run's {what} is {name}, and no function is called because a run's folder names it: name it yourself "
            f"before the command, `retorno {name} COMMAND …`, or in Python as {in_python}"
        )
    if file in _modules:
        return name
    moved = [known for known in _modules if known.name == file.name]
    if not moved:
        in_python = f"retorno.make('{file}:{inside}')" if what == "world" else f"{__name__}.run_file('{file}')"
        raise OwnCodeError(
            f"this run's {what} is {inside} in {file}, and no file is run because a run's folder names it: name it "
            f"yourself before the command, `retorno {file.name} COMMAND …`, or in Python as {in_python}"
        )
    return f"{moved[-1]}:{inside}"


def _is_class_of_worlds(kind: Any) -> bool:
    """Whether it is a class of environments, or of what wraps them."""
    import gymnasium

    from retorno.core.environment import Environment

    return isinstance(kind, type) and issubclass(kind, gymnasium.Env | gymnasium.vector.VectorEnv | Environment)


def guarded(where: str, call: Callable[[], Made], what: str) -> Made:
    """What a call of the user's own code gives; what goes wrong there is told with its line.

    Raises:
        OwnCodeError: when it fails or ends itself.

    Args:
        where: the file, or the module's name.
        call: runs the code.
        what: it is to make: for messages.
    """
    shown = Path(where).name
    try:
        return call()
    except (OSError, OwnCodeError):
        raise
    except SystemExit as stop:
        raise OwnCodeError(f"{shown} ended itself ({stop.code}) before it made a {what}") from None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame.lineno for frame in frames if Path(frame.filename).resolve() == Path(where).resolve()]
        if isinstance(error, ModuleNotFoundError) and error.name is not None and where.startswith(error.name):
            raise
        line = getattr(error, "lineno", None) or (own[-1] if own else None)
        place = shown if line is None else f"{shown}, line {line}"
        raise OwnCodeError(f"{place}: {type(error).__name__}: {error}") from None


def _module(path: Path) -> ModuleType:
    """The file as a module, which finds those that lie beside it."""
    if b"jax" in path.read_bytes():  # What it makes at once is made after JAX was set up.
        from retorno.core.runtime import prepare

        prepare()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        if before is not None:
            sys.modules[path.stem] = before
        raise
    return module
