"""Settings: what is read equals what was written, and what cannot be read is named."""

import enum
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import equinox as eqx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retorno.algorithms import ALGORITHMS
from retorno.networks import NETWORKS
from retorno.run import config
from retorno.run.config import ConfigError, differences, from_json, parts_of, to_json
from retorno.run.known import known


class Mode(enum.Enum):
    HARD = 1
    SOFT = "s"


@dataclass(frozen=True)
class Adam:
    rate: float = 1e-3
    clip: float | None = None


@dataclass(frozen=True)
class Learner:
    optimiser: Adam = Adam()
    hidden: tuple[int, ...] = (64, 64)
    mode: Mode = Mode.HARD
    kind: Literal["a", "b"] = "a"
    any: Any = None
    pair: tuple[int, str] = (1, "x")
    flag: bool = False
    make: Callable[[], int] | None = None
    derived: int = field(init=False, default=3)

    def __post_init__(self) -> None:
        if self.optimiser.rate <= 0:
            raise ValueError(f"rate must be positive, got {self.optimiser.rate}")


class World(eqx.Module):
    size: int = eqx.field(static=True, default=3)


KNOWN: dict[str, type] = {cls.__name__: cls for cls in (Mode, Adam, Learner, World)}


def through(obj: Any) -> Any:
    return from_json(json.loads(json.dumps(to_json(obj), allow_nan=False)), KNOWN)


def test_the_json_by_hand():
    assert to_json(Learner(optimiser=Adam(clip=math.inf), any=[1, {"x": (2,)}], mode=Mode.SOFT)) == {
        "type": "Learner",
        "optimiser": {"type": "Adam", "rate": 1e-3, "clip": {"float": "inf"}},
        "hidden": [64, 64],
        "mode": {"enum": "Mode", "name": "SOFT"},
        "kind": "a",
        "any": {"list": [1, {"dict": {"x": [2]}}]},
        "pair": [1, "x"],
        "flag": False,
        "make": None,
    }


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(Mode)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.sampled_from(["type", "enum", "list", "dict", "float"]), inner)
        | st.builds(Learner, any=inner, optimiser=st.builds(Adam, st.floats(min_value=1e-9)))
    ),
)


@given(values)
def test_what_is_read_equals_what_was_written(value):
    back = through(value)
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value)  # tells 1 from 1.0 and True, and −0.0 from 0.0
    assert differences(to_json(back), to_json(value)) == []


def test_nan_modules_and_numpy_numbers():
    assert math.isnan(through(math.nan))
    assert through(World(5)) == World(5)
    assert through((np.float64(0.1), np.int32(3), np.bool_(True))) == (0.1, 3, True)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (Learner(make=lambda: 3), r"settings\.make is <function .*a function, which cannot be written"),
        (Learner(any=(1, {"x": np.zeros(2)})), r"settings\.any\[1\]\.x is array"),
        (Adam, "settings is <class .*Adam'>"),
        ({1: 2}, "settings is {1: 2}, a dict"),
        ({1, 2}, "a set, which cannot be written"),
    ],
)
def test_what_cannot_be_written(obj, message):
    with pytest.raises(ConfigError, match=message):
        to_json(obj)


def test_a_field_named_type_is_refused():
    @dataclass
    class Clash:
        type: int = 1

    with pytest.raises(ConfigError, match="Clash has a field named 'type'"):
        to_json(Clash())


def changed(**fields: Any) -> dict[str, Any]:
    return {**to_json(Learner()), **fields}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"type": "Adm", "rate": 1.0}, "settings: unknown type 'Adm'; did you mean Adam?"),
        ({"type": "os.system"}, "unknown type 'os.system'; there is Adam, Learner, Mode, World"),
        ({"type": "Mode"}, "Mode is not a dataclass"),
        ({"type": "Adam", "rate": 1.0, "clipp": None}, "Adam has no field 'clipp'; did you mean clip?"),
        ({"type": "Adam", "rate": 1.0}, "settings: Adam lacks the field 'clip'"),
        (changed(derived=4), "Learner has no field 'derived'"),
        (changed(optimiser={"type": "Adam", "rate": "fast", "clip": None}), "settings.optimiser.rate is 'fast', a str"),
        (changed(optimiser={"type": "Adam", "rate": True, "clip": None}), "settings.optimiser.rate is True, a bool"),
        (changed(optimiser={"type": "Adam", "rate": -1, "clip": None}), "Learner refuses its settings: rate must be"),
        (
            changed(optimiser={"type": "World", "size": 3}),
            "settings.optimiser is World(), a World: Learner expects Adam",
        ),
        (changed(optimiser=None), "settings.optimiser is None, a NoneType: Learner expects Adam"),
        (changed(hidden=[64, "64"]), "settings.hidden is (64, '64'), a tuple: Learner expects tuple[int, ...]"),
        (changed(hidden={"list": [64]}), "settings.hidden is [64], a list"),
        (changed(pair=[1]), "settings.pair is (1,), a tuple"),
        (changed(kind="c"), "settings.kind is 'c', a str"),
        (changed(flag=0), "settings.flag is 0, a int: Learner expects bool"),
        (changed(mode={"enum": "Mode", "name": "SOFTER"}), "Mode has no member 'SOFTER'; did you mean SOFT?"),
        (changed(mode={"enum": "Mode", "name": ["SOFT"]}), "settings.mode is {"),
        (changed(mode={"enum": "Adam", "name": "SOFT"}), "settings.mode: Adam is not an enum"),
        ({"float": "1"}, "settings is {'float': '1'}"),
        ({"list": [], "dict": {}}, "expected a number"),
        ({"type": 3}, "settings is {'type': 3}"),
        ({}, "settings is {}"),
    ],
)
def test_what_cannot_be_read(value, message):
    with pytest.raises(ConfigError) as error:
        from_json(value, KNOWN)
    assert message in str(error.value)


def test_a_nest_without_end():
    value: Any = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(ConfigError, match="settings are nested too deeply"):
        from_json(value, KNOWN)


def test_an_integer_is_a_float():
    assert from_json({"type": "Adam", "rate": 1, "clip": None}, KNOWN) == Adam(1)


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (Adam(1e-3), Adam(3e-4), ["rate: 0.001 → 0.0003"]),
        (Adam(), to_json(Adam()), []),
        (
            Learner(hidden=(64,), any={"size": 4, "type": [1]}),
            Learner(Adam(clip=math.inf), (64, 32), Mode.SOFT, any={"type": [2], "slippery": "no"}),
            [
                "optimiser.clip: None → inf",
                "hidden: (64,) → (64, 32)",
                "mode: Mode.HARD → Mode.SOFT",
                "any.size: 4 → absent",
                "any.type: [1] → [2]",
                "any.slippery: absent → 'no'",
            ],
        ),
        (Learner(any=World()), Learner(any=Adam(2.0)), ["any: World(size=3) → Adam(rate=2.0, clip=None)"]),
        (Learner(any={"a": 1}), Learner(any=None), ["any: {'a': 1} → None"]),
        (Adam(math.inf), Adam(-math.inf), ["rate: inf → -inf"]),
        ({"type": "Adam", "rate": 1}, {"type": "Adam", "rate": 1, "clip": 2}, ["clip: absent → 2"]),
        (Adam(1), World(), ["settings: Adam(rate=1, clip=None) → World(size=3)"]),
    ],
)
def test_differences(before, after, lines):
    assert differences(before, after) == lines


def test_the_version_follows_the_sources(tmp_path, monkeypatch):
    package = tmp_path / "retorno"
    (package / "run").mkdir(parents=True)
    (package / "run" / "config.py").write_text("x = 1\n")
    monkeypatch.setattr(config, "__file__", str(package / "run" / "config.py"))
    compute = config.code_version.__wrapped__
    first = compute()
    version, digest = first.split("+")
    assert version[0].isdigit()
    assert len(digest) == 12
    with monkeypatch.context() as bare:
        bare.setattr(config.metadata.Distribution, "discover", lambda **how: iter(()))
        assert compute() == f"source+{digest}"
    (package / "notes.txt").write_text("not code")
    assert compute() == first
    (package / "run" / "other.py").write_text("")
    second = compute()
    (package / "run" / "other.py").rename(package / "other.py")
    third = compute()
    (package / "other.py").write_text("y = 1\n")
    assert len({first, second, third, compute()}) == 4


@pytest.mark.parametrize("registered", [ALGORITHMS, NETWORKS], ids=["algorithms", "networks"])
def test_what_is_registered_is_read_as_it_was_written(registered: dict[str, Any]) -> None:
    for make in registered.values():
        assert from_json(to_json(make()), known()) == make()


@dataclass(frozen=True)
class Course:
    teachers: tuple[Learner | None, ...] = ()


def test_what_settings_name_can_be_made_of_them() -> None:
    assert set(parts_of(Course)) == {Learner, Adam, Mode}


def test_what_the_preset_of_preferences_pays_at_first_is_read_back() -> None:
    from retorno.preferences import Preferences, StateEntropy

    paid = Preferences(pretraining=StateEntropy(neighbour=3))
    assert from_json(to_json(paid), known()) == paid
