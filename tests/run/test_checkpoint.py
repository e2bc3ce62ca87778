"""A checkpoint is whole or not there: exact round trips, then every fault that a file can have."""

import contextlib
import hashlib
import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from retorno.run import checkpoint
from retorno.run.checkpoint import CheckpointError, MismatchError, digest, load, load_newest, newest, save, verify


class Layer(eqx.Module):
    weight: jax.Array
    bias: jax.Array


class State(NamedTuple):
    layers: list[Layer]
    replay: dict[str, Any]
    nothing: None
    key: jax.Array


def some_state(step: int = 0) -> State:
    return State(
        layers=[Layer(jnp.arange(6, dtype=jnp.float32).reshape(2, 3) + step, jnp.zeros((), jnp.bfloat16) + 1.5)],
        replay={
            "full": jnp.array(True),
            "mask": jnp.array([True, False, True]),
            "empty": jnp.zeros((0, 4), jnp.uint8),
            "seed": jnp.uint32(4_000_000_000),
            "half": jnp.array([jnp.nan, -jnp.inf, -0.0], jnp.float16),
            "wave": jnp.array([1 + 2j], jnp.complex64),
            "row": np.array([2**40, -1]),
            "score": np.float64(0.1),
        },
        nothing=None,
        key=jax.random.split(jax.random.key(step, impl="rbg"), 2),
    )


def shapes(state: State) -> State:
    """As `like` may be: no arrays, but NumPy's where NumPy's are wanted."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype) if isinstance(x, jax.Array) else x, state)


def raw_bytes(state: State) -> list[bytes]:
    plain = state._replace(key=jax.random.key_data(state.key))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(plain)]


HOSTED = {"seeds": np.array([3, 2**63 - 1]), "actions": np.ones((2, 0), np.float64)}
SMALL = {"w": jnp.arange(3.0), "k": jax.random.key(1)}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(tmp_path, 7, SMALL, {"seeds": np.arange(2)}, {"note": "é", "rate": 0.1})


def test_the_digest_by_hand():
    record = json.dumps(["state/w", "float32", [2], None, [], None]).encode() + b"\n"
    seeds = json.dumps(["hosted/n", "int64", [], None, [], None]).encode() + b"\n"
    expected = hashlib.sha256(record + struct.pack("<2f", 1, 2) + seeds + struct.pack("<q", 5)).hexdigest()
    assert digest({"w": jnp.array([1.0, 2.0])}, {"n": np.array(5)}) == expected


@pytest.mark.parametrize("like", [some_state(1), shapes(some_state(1))], ids=["arrays", "shapes"])
def test_every_kind_of_leaf_comes_back(tmp_path, like):
    state = some_state(5)
    path = save(tmp_path, 5, state, HOSTED, {"code": "1.0"})
    back, hosted, manifest = load(path, like)
    assert path == tmp_path / "checkpoints" / "5"
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for new, old in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
        assert (new.dtype, new.shape, isinstance(new, jax.Array)) == (old.dtype, old.shape, isinstance(old, jax.Array))
    assert raw_bytes(back) == raw_bytes(state)
    assert jax.random.key_impl(back.key) == "rbg"
    assert {name: array.tolist() for name, array in hosted.items()} == {n: a.tolist() for n, a in HOSTED.items()}
    assert all(hosted[name].dtype == HOSTED[name].dtype for name in HOSTED)
    assert manifest.step == 5
    assert manifest.facts == {"code": "1.0"}
    assert manifest.digest == digest(state, HOSTED) == digest(back, hosted) == verify(path).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"w": np.zeros(4, np.float32)}, {"w": np.zeros(4, np.int32)}),
        ({"w": np.zeros((2, 2))}, {"w": np.zeros(4)}),
        ({"w": np.zeros(2)}, {"v": np.zeros(2)}),
        ({"w": np.array(0.0)}, {"w": np.array(-0.0)}),
        ({"k": jax.random.key(0)}, {"k": jax.random.key_data(jax.random.key(0))}),
        ({"a": np.zeros(1), "b": np.ones(1)}, {"a": np.ones(1), "b": np.zeros(1)}),
    ],
)
def test_the_digest_tells_states_apart(one, other):
    assert digest(one) != digest(other)


def test_the_digest_is_of_values_not_of_their_layout():
    columns = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert digest({"w": columns}) == digest({"w": np.ascontiguousarray(columns)})
    assert digest({"w": columns.astype(">f8")}) == digest({"w": columns})
    assert digest({}, {"b": columns, "a": columns}) == digest({}, {"a": columns, "b": columns})


def test_a_big_endian_array_keeps_its_values(tmp_path):
    _, hosted, _ = load(save(tmp_path, 1, {}, {"w": np.array([1, 2], ">i4")}), {})
    assert hosted["w"].tolist() == [1, 2]


def test_other_tools_read_the_tensors(saved):
    assert load_file(saved / "state.safetensors")["state/w"].tolist() == [0, 1, 2]


def test_loaded_leaves_own_their_buffers(saved):
    state, _, _ = load(saved, SMALL)
    moved = jax.jit(lambda s: {**s, "w": s["w"] + 1}, donate_argnums=0)(state)
    assert state["w"].is_deleted()
    assert moved["w"].tolist() == [1, 2, 3]
    assert verify(saved).digest == digest(SMALL, {"seeds": np.arange(2)})


def test_leaves_take_the_sharding_that_is_asked_for(saved):
    mesh = jax.make_mesh((1,), ("seed",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seed"))
    state, _, _ = load(saved, {**SMALL, "w": jax.device_put(SMALL["w"], sharding)})
    assert state["w"].sharding == sharding


def test_a_bare_array_is_a_state(tmp_path):
    assert load(save(tmp_path, 0, jnp.arange(2)), jnp.zeros(2, jnp.int32))[0].tolist() == [0, 1]


# Which checkpoints there are


def test_the_newest_three_are_kept_by_number(tmp_path):
    for step in (5, 90, 100, 1000):
        save(tmp_path, step, SMALL)
    assert checkpoint.steps(tmp_path) == [1000, 100, 90]
    assert newest(tmp_path).name == "1000"


def test_a_save_after_going_back_is_not_the_one_dropped(tmp_path):
    for step in (10, 20, 30, 5):
        save(tmp_path, step, SMALL)
    assert checkpoint.steps(tmp_path) == [30, 20, 10, 5]


def test_the_same_step_again(tmp_path):
    first = save(tmp_path, 1, SMALL)
    inode = first.stat().st_ino
    assert save(tmp_path, 1, SMALL).stat().st_ino == inode  # nothing new: nothing at risk
    assert verify(save(tmp_path, 1, SMALL, facts={"new": 1})).facts == {"new": 1}
    (first / "state.safetensors").write_bytes(b"gone")
    assert verify(save(tmp_path, 1, SMALL, facts={"new": 1})).step == 1
    assert [entry.name for entry in first.parent.iterdir()] == ["1"]


def test_leftovers_of_a_crash_are_no_checkpoints_and_go(tmp_path):
    save(tmp_path, 1, SMALL)
    leftover = tmp_path / "checkpoints" / ".2.partial"
    leftover.mkdir()
    (leftover / "state.safetensors").write_bytes(b"half")
    assert newest(tmp_path).name == "1"
    save(tmp_path, 2, SMALL)
    assert sorted(entry.name for entry in leftover.parent.iterdir()) == ["1", "2"]


def test_a_damaged_newest_is_passed_over_with_one_warning(tmp_path):
    for step in (1, 2):
        save(tmp_path, step, {"w": jnp.full(3, step)})
    (tmp_path / "checkpoints" / "2" / "state.safetensors").write_bytes(b"")
    (tmp_path / "checkpoints" / "notes").mkdir()
    warnings: list[str] = []
    state, _, manifest = load_newest(tmp_path, {"w": jnp.zeros(3, jnp.int32)}, warnings.append)
    assert (manifest.step, state["w"].tolist()) == (1, [1, 1, 1])
    assert len(warnings) == 1
    assert "2/state.safetensors is damaged: it has 0 bytes" in warnings[0]
    assert "that of step 1" in warnings[0]
    assert newest(tmp_path, warnings.append).name == "1"


def test_where_none_is_whole_the_newest_fault_is_raised(tmp_path):
    for step in (1, 2):
        (save(tmp_path, step, SMALL) / "manifest.json").unlink()
    warnings: list[str] = []
    with pytest.raises(CheckpointError, match=r"checkpoints/2 is not a whole checkpoint: manifest\.json"):
        load_newest(tmp_path, SMALL, warnings.append)
    assert not warnings


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        newest(tmp_path / "nowhere")


def test_settings_that_differ_are_no_damage(tmp_path):
    for step in (1, 2):
        save(tmp_path, step, SMALL)
    warnings: list[str] = []
    with pytest.raises(MismatchError, match=r"checkpoints/2"):
        load_newest(tmp_path, {"w": jnp.zeros(4), "k": SMALL["k"]}, warnings.append)
    assert not warnings


# Large arrays


@pytest.fixture
def small_pieces(monkeypatch):
    """Arrays of more than 64 bytes are large."""
    monkeypatch.setattr(checkpoint, "PIECE_BYTES", 64)


def ring_of(filled: int) -> dict[str, Any]:
    """A ring of 100 rows of 16 bytes, 25 pieces, of which some are filled; and something small."""
    rows = np.arange(1, 401, dtype=np.float32).reshape(100, 4)
    return {"rows": jnp.asarray(np.where(np.arange(100)[:, None] < filled, rows, 0)), "filled": jnp.int32(filled)}


def pieces(path: Path) -> dict[str, int]:
    """The files of a checkpoint's pieces and their inodes."""
    return {file.name: file.stat().st_ino for file in (path / "pieces").iterdir()}


def test_pieces_by_hand(tmp_path, small_pieces):
    rows = np.zeros((5, 8), np.float32)
    rows[3, 1] = 1
    path = save(tmp_path, 1, {"rows": jnp.asarray(rows)})
    raw = rows.tobytes()
    name = hashlib.sha256(raw[64:128]).hexdigest()
    (leaf,) = verify(path).leaves
    assert (leaf.bytes, leaf.pieces) == (160, ("", name, ""))
    assert [(file.name, file.read_bytes()) for file in (path / "pieces").iterdir()] == [(name, raw[64:128])]
    record = json.dumps(["state/rows", "float32", [5, 8], None, ["", name, ""], None]).encode() + b"\n"
    assert verify(path).digest == hashlib.sha256(record).hexdigest()


def test_only_what_is_filled_and_what_changed_is_written(tmp_path, small_pieces):
    paths = [save(tmp_path, step, ring_of(step)) for step in (8, 16, 19)]
    first, second, third = map(pieces, paths)
    assert [len(first), len(second), len(third)] == [2, 4, 5]
    assert first.items() < second.items() < third.items()  # the same names for the same files
    for step, path in zip((8, 16, 19), paths, strict=True):
        state, _, _ = load(path, ring_of(0))
        assert raw_bytes(State([], state, None, jax.random.key(0))) == raw_bytes(
            State([], ring_of(step), None, jax.random.key(0))
        )


def test_arrays_outside_are_read_into_the_room_given_for_them(tmp_path, small_pieces):
    """Also where they are zero and the room is not, and where they are small."""
    outside = {"rows": np.asarray(ring_of(8)["rows"]), "few": np.arange(3.0)}
    room = {name: np.full_like(array, 7) for name, array in outside.items()}
    path = save(tmp_path, 8, {"x": jnp.zeros(2)}, outside)
    _, hosted, _ = load(path, {"x": jnp.zeros(2)}, room)
    assert hosted["rows"] is room["rows"]
    for name, array in outside.items():
        np.testing.assert_array_equal(room[name], array)
    with pytest.raises(MismatchError, match="'hosted/other'"):
        load(path, {"x": jnp.zeros(2)}, {"other": np.zeros(3)})


def test_a_checkpoint_stands_without_those_before_it(tmp_path, small_pieces):
    for step in (50, 60, 70, 80, 90):
        save(tmp_path, step, ring_of(step))
    assert checkpoint.steps(tmp_path) == [90, 80, 70]
    for step in (80, 70):
        shutil.rmtree(tmp_path / "checkpoints" / str(step))
    assert load(tmp_path / "checkpoints" / "90", ring_of(0))[0]["rows"].tolist() == ring_of(90)["rows"].tolist()


def test_where_no_file_can_have_two_names_pieces_are_copied(tmp_path, small_pieces, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    one, two = (save(tmp_path, step, ring_of(step)) for step in (8, 16))
    assert not set(pieces(one).values()) & set(pieces(two).values())
    assert verify(two).digest == digest(ring_of(16))


@pytest.mark.parametrize("damage", ["flip", "short", "long", "gone", "link"])
def test_a_damaged_piece_is_found(tmp_path, small_pieces, damage):
    path = save(tmp_path, 8, ring_of(8))
    file = next((path / "pieces").iterdir())
    raw = file.read_bytes()
    file.unlink()
    match damage:
        case "flip":
            file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        case "short":
            file.write_bytes(raw[:-1])
        case "long":
            file.write_bytes(raw + b"0")
        case "link":
            (tmp_path / "elsewhere").write_bytes(raw)
            file.symlink_to(tmp_path / "elsewhere")
    for read in (verify, lambda path: load(path, ring_of(0))):
        with pytest.raises(CheckpointError, match=file.name):
            read(path)
    assert verify(save(tmp_path, 8, ring_of(8))).digest == digest(ring_of(8))  # written anew


def test_pieces_are_synced_before_they_are_named(tmp_path, small_pieces, monkeypatch):
    save(tmp_path, 4, ring_of(4))
    events: list[str] = []
    fsync, rename = os.fsync, os.rename
    where = lambda handle: Path(os.readlink(f"/proc/self/fd/{handle}")).name  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(where(handle)), fsync(handle)))
    monkeypatch.setattr(os, "rename", lambda old, new: (events.append("rename"), rename(old, new)))
    (new,) = pieces(path := save(tmp_path, 8, ring_of(8))).keys() - pieces(tmp_path / "checkpoints" / "4").keys()
    assert events == [new, "pieces", "state.safetensors", "manifest.json", ".8.partial", "rename", "checkpoints"]
    assert path.name == "8"


# Other leaves than expected


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({**SMALL, "w": jnp.zeros((3, 2))}, r"leaf 'state/w' is float32\[3\], expected float32\[3, 2\]"),
        ({**SMALL, "w": jnp.zeros(3, jnp.int32)}, r"leaf 'state/w' is float32\[3\], expected int32\[3\]"),
        ({"w": SMALL["w"]}, r"has a leaf 'state/k' of threefry2x32 key .* that is not expected"),
        ({**SMALL, "b": jnp.zeros(1)}, r"has no leaf 'state/b', expected float32\[1\]"),
        (
            {**SMALL, "k": jax.random.key_data(SMALL["k"])},
            r"leaf 'state/k' is threefry2x32 key .*, expected uint32\[2\]",
        ),
        ({**SMALL, "k": jax.random.key(0, impl="rbg")}, r"'state/k' is threefry2x32 key .*, expected rbg key"),
    ],
)
def test_leaves_of_another_run(saved, like, message):
    with pytest.raises(MismatchError, match=message):
        load(saved, like)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"f": print}, "leaf 'state/f' is <built-in function print>, a builtin_function_or_method"),
        ({"f": 3}, "leaf 'state/f' is 3, a int: a state is made of arrays"),
        ({"f": np.array(["a"])}, "leaf 'state/f' has dtype str"),
        ({"f": np.array([{}], object)}, "leaf 'state/f' has dtype object"),
        ({"../../etc/x": np.zeros(1)}, "leaf 'state/../../etc/x' cannot be stored"),
        ({"/etc/x": np.zeros(1)}, "leaf 'state//etc/x' cannot be stored"),
        ({"a/b": np.zeros(1), "a": {"b": np.zeros(1)}}, "two leaves are named 'state/a/b'"),
    ],
)
def test_what_cannot_be_stored(tmp_path, state, message):
    with pytest.raises(CheckpointError, match=message):
        save(tmp_path, 1, state)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": {1, 2}}])
def test_facts_are_json(tmp_path, facts):
    with pytest.raises(CheckpointError, match="facts must be JSON values"):
        save(tmp_path, 1, SMALL, facts=facts)


# Damage


@pytest.mark.parametrize("name", ["manifest.json", "state.safetensors"])
def test_any_flipped_byte_is_found(saved, name):
    whole = (saved / name).read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= (1, 0x20, 0xFF)[position % 3]  # 0x20 turns a letter into its other case
        (saved / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=name):
            verify(saved)
    (saved / name).write_bytes(whole)
    assert verify(saved).step == 7


@pytest.mark.parametrize("name", ["manifest.json", "state.safetensors"])
def test_any_other_length_is_found(saved, name):
    whole = (saved / name).read_bytes()
    for changed in [*(whole[:length] for length in range(len(whole))), whole + b"\n", whole + b"\0" * 8]:
        (saved / name).write_bytes(changed)
        with pytest.raises(CheckpointError, match=name):
            load(saved, SMALL)


def test_white_space_in_a_manifest_is_a_change(saved):
    file = saved / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text())))
    with pytest.raises(CheckpointError, match="it is not what its checksum says"):
        verify(saved)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize("name", ["manifest.json", "state.safetensors"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_not_opened(saved, name, protocol, monkeypatch):
    monkeypatch.chdir(saved.parent)
    (saved / name).write_bytes(pickle.dumps(Bomb(), protocol))
    with pytest.raises(CheckpointError, match=f"{name} is (a pickle.*nothing is unpickled|damaged)") as error:
        load(saved, SMALL)
    assert protocol < 2 or "nothing is unpickled" in str(error.value)
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("name", ["manifest.json", "state.safetensors"])
def test_an_archive_of_pickles_is_not_opened(saved, name):
    np.savez(saved / "x.npz", x=np.array([Bomb()], object), allow_pickle=True)
    os.replace(saved / "x.npz", saved / name)
    with pytest.raises(CheckpointError, match="nothing is unpickled"):
        verify(saved)


def test_a_header_that_begins_like_a_pickle_is_read(tmp_path):
    """A header of 0x380 bytes begins with the bytes 80 03, as a pickle of protocol 3 does."""
    for length in range(800, 900, 8):
        path = save(tmp_path, length, {}, {"n" * length: np.zeros(1)}, keep=1)
        if (path / "state.safetensors").read_bytes().startswith(b"\x80\x03"):
            assert verify(path).step == length
            return
    pytest.fail("no such header came up")


# Hostile checkpoints: every checksum is right


def forge(path: Path, tensors: bytes | None = None, **changes: Any) -> None:
    """Change a checkpoint as one would who knows how it is made."""
    if tensors is not None:
        (path / "state.safetensors").write_bytes(tensors)
        changes |= {"sha256": hashlib.sha256(tensors).hexdigest(), "bytes": len(tensors)}
    content = {**json.loads((path / "manifest.json").read_text()), **changes}
    del content["checksum"]
    content["checksum"] = hashlib.sha256((json.dumps(content, indent=1) + "\n").encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(content, indent=1) + "\n")


def record(**changes: Any) -> dict[str, Any]:
    return {"name": "state/w", "dtype": "float32", "shape": [3], "key": None, "pieces": [], "constant": None, **changes}


def test_a_forgery_without_harm_passes(saved):
    forge(saved, facts={"x": 1})
    assert verify(saved).facts == {"x": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "../../etc/x"}, r"names the file '../../etc/x', expected 'state.safetensors'"),
        ({"file": "/etc/passwd"}, "names the file '/etc/passwd'"),
        ({"leaves": [record(name="../../etc/x")]}, r"names a leaf '../../etc/x'"),
        ({"leaves": [record(name="state/../../x")]}, r"names a leaf 'state/../../x'"),
        ({"leaves": [record(name="/etc/x")]}, "names a leaf '/etc/x'"),
        ({"leaves": [record(dtype="object")]}, "leaf 'state/w' has dtype 'object'"),
        ({"leaves": [record(shape=[-1])]}, r"leaf 'state/w' has shape \[-1\]"),
        ({"leaves": [record(shape=[1.5])]}, r"leaf 'state/w' has shape \[1.5\]"),
        ({"leaves": [record(shape=[True])]}, r"leaf 'state/w' has shape \[True\]"),
        ({"leaves": [record(shape=3)]}, "field 'shape' of a leaf is a int"),
        ({"leaves": [record(key=3)]}, "field 'key' of a leaf is a int"),
        ({"leaves": [record(pieces=["../../etc/x"])]}, "has pieces that are not named by a SHA-256"),
        ({"leaves": [record(pieces=[3])]}, "has pieces that are not named by a SHA-256"),
        ({"leaves": [record(pieces=["", ""])]}, "has 2 pieces of 4194304 bytes, not 12"),
        ({"leaves": [record(pieces=None)]}, "field 'pieces' of a leaf is a NoneType"),
        ({"leaves": [{"name": "state/w"}]}, "a leaf must have exactly the fields"),
        ({"leaves": {}}, "field 'leaves' of the manifest is a dict"),
        ({"leaves": []}, "its tensors are not the leaves"),
        ({"step": "7"}, "field 'step' of the manifest is a str"),
        ({"step": True}, "field 'step' of the manifest is a bool"),
        ({"step": 8}, "is of step 8, expected 7"),
        ({"digest": None}, "field 'digest' of the manifest is a NoneType"),
        ({"digest": "0" * 64}, "the digest of its arrays is not that of its manifest"),
        ({"format": 1}, "it has format 1, expected 3"),
        ({"extra": 1}, "must have exactly the fields"),
    ],
)
def test_a_hostile_manifest(saved, changes, message):
    forge(saved, **changes)
    with pytest.raises(CheckpointError, match=message):
        verify(saved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is damaged"),
        (b"[]", "the manifest must have exactly the fields .* got list"),
        (b"3", "got int"),
        (b"{", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"facts":' * 50_000, "nested too deeply"),
        (b"9" * 5_000, "is damaged"),
        (b" " * (2**26 + 1), "it has more than"),
    ],
    ids=["empty", "list", "number", "brace", "bytes", "deep list", "deep object", "long number", "huge"],
)
def test_a_manifest_that_is_none(saved, text, message):
    (saved / "manifest.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=message):
        verify(saved)


def header(content: Any, data: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "tensors",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 99_999_999) + b"{}",
        header([]),
        header({"state/w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 2**62]}}, b"\0" * 12),
        header({"state/w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 12]}}, b"\0" * 12),
        header({"state/w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, b"\0" * 8),
        header({"state/w": {"dtype": "I32", "shape": [3], "data_offsets": [0, 12]}}, b"\0" * 12),
        header({"state/w": {"dtype": "F32", "shape": [1, 3], "data_offsets": [0, 12]}}, b"\0" * 12),
        header({"../../x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}, b"\0" * 12),
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
)
def test_hostile_tensors(saved, tensors):
    forge(saved, tensors, leaves=[record()])
    with pytest.raises(CheckpointError, match=r"state\.safetensors is damaged"):
        load(saved, {"w": SMALL["w"]})


def test_a_shape_beyond_all_numbers(saved, tmp_path):
    save_file({"state/w": np.zeros((0, 3), np.float32)}, tmp_path / "x")
    forge(saved, (tmp_path / "x").read_bytes(), leaves=[record(shape=[0, 10**30])])
    with pytest.raises(CheckpointError, match="is damaged"):
        verify(saved)


@pytest.mark.parametrize("name", ["manifest.json", "state.safetensors"])
def test_links_and_pipes_are_not_followed(saved, name, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    os.replace(saved / name, elsewhere)
    (saved / name).symlink_to(elsewhere)
    with pytest.raises(CheckpointError, match=f"{name} is a link"):
        verify(saved)
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(CheckpointError, match=f"{name} is not a file"):
        verify(saved)


def test_a_linked_checkpoint_is_not_followed(saved):
    os.rename(saved, saved.parent.parent / "outside")
    saved.symlink_to(saved.parent.parent / "outside")
    with pytest.raises(CheckpointError, match="is a link"):
        newest(saved.parent.parent)


# Bad days of the disk


def test_a_disk_that_refuses_more_bytes(tmp_path):
    """The kernel's own limit on file sizes stands for a full disk: the write breaks off half-way."""
    save(tmp_path, 1, SMALL)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            CheckpointError, match=r"step 2 cannot be written .*: .*File too large.* \(it needs 0\.4 MB"
        ):
            save(tmp_path, 2, {"w": jnp.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["1"]
    assert newest(tmp_path).name == "1"


def test_what_a_checkpoint_takes_is_known_before_and_what_it_lacks_is_told(tmp_path):
    """Of a large array only the pieces that no other checkpoint has are written."""
    rows = np.random.default_rng(0).integers(256, size=(3, checkpoint.PIECE_BYTES), dtype=np.uint8)
    state, hosted = some_state(), {"rows": rows}
    path = save(tmp_path, 1, state, hosted, {"why": "x" * 1000})
    taken = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    like = {"rows": jax.ShapeDtypeStruct(rows.shape, rows.dtype)}
    assert 0 <= checkpoint.stored_size(shapes(state), like) - taken < checkpoint.MOST_FACTS_BYTES + 500
    rows[1] += 1
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CheckpointError, match=r"\(it needs 4\.2 MB"):
            save(tmp_path, 2, state, hosted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="names are exchanged by renameat2")
def test_the_only_checkpoint_is_replaced_at_once(tmp_path, monkeypatch):
    """Killed in the middle, there is the old one or the new one; a policy is put in place by the same function."""
    renamed = []

    def killed_at_the_second(*names, rename=os.rename):
        renamed.append(names)
        if len(renamed) > 1:
            raise SystemExit
        rename(*names)

    save(tmp_path, 1, SMALL, facts={"n": 1}, keep=1)
    monkeypatch.setattr(os, "rename", killed_at_the_second)
    with contextlib.suppress(SystemExit):
        save(tmp_path, 1, SMALL, facts={"n": 2}, keep=1)
    assert newest(tmp_path).name == "1" and checkpoint.facts(tmp_path)["n"] in (1, 2)


@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_a_disk_that_fails_at_any_call(tmp_path, monkeypatch, call):
    """No space, at the n-th call of each kind: what stood stands, and nothing half-written is seen."""
    original, failures = getattr(os, call), 0
    for nth in range(20):
        folder = tmp_path / str(nth)
        for step in (1, 2, 3):
            save(folder, step, {"w": jnp.full(3, step)})
        calls = iter(range(100))

        def full(*arguments: Any, nth: int = nth, calls: Any = calls, **options: Any) -> Any:
            if next(calls) == nth:
                raise OSError(28, "No space left on device")
            return original(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            try:
                save(folder, 4, {"w": jnp.full(3, 4)})
            except CheckpointError as error:
                failures += 1
                assert "step 4 cannot be written" in str(error)
                assert "No space left on device" in str(error)
                assert "of step 3, stands" in str(error)
            else:
                break
        assert not list((folder / "checkpoints").glob(".*.partial"))
        for step in checkpoint.steps(folder):
            state, _, _ = load(folder / "checkpoints" / str(step), {"w": jnp.zeros(3, jnp.int32)})
            assert state["w"].tolist() == [step] * 3
        assert checkpoint.steps(folder)[0] >= 3
    assert failures == {"fsync": 4, "rename": 1, "mkdir": 1}[call]


def test_a_checkpoint_is_saved_even_where_old_ones_cannot_be_dropped(tmp_path, monkeypatch):
    rename = os.rename

    def stuck(old: Path, new: Path) -> None:
        if new.name.startswith("."):
            raise OSError(30, "Read-only file system")
        rename(old, new)

    save(tmp_path, 1, SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", stuck)
        save(tmp_path, 2, SMALL, keep=1)
    assert checkpoint.steps(tmp_path) == [2, 1]
    save(tmp_path, 3, SMALL, keep=1)
    assert checkpoint.steps(tmp_path) == [3]


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"cannot be written .* there is none before it"):
        save(tmp_path, 1, SMALL)


def test_everything_is_synced_before_it_is_named(tmp_path, monkeypatch):
    """A power cut may undo a name's change only together with what it names."""
    events: list[str] = []
    fsync, rename = os.fsync, os.rename
    where = lambda handle: os.path.relpath(os.readlink(f"/proc/self/fd/{handle}"), tmp_path)  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(f"sync {where(handle)}"), fsync(handle)))
    monkeypatch.setattr(os, "rename", lambda old, new: (events.append(f"rename to {Path(new).name}"), rename(old, new)))
    save(tmp_path, 1, SMALL)
    assert events == [
        "sync .",
        "sync checkpoints/.1.partial/state.safetensors",
        "sync checkpoints/.1.partial/manifest.json",
        "sync checkpoints/.1.partial",
        "rename to 1",
        "sync checkpoints",
    ]


# SIGKILL

KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from retorno.run import checkpoint

def state_of(step):
    return {f"leaf{i}": np.full((50, 200), step + i, np.float32) for i in range(5)}

def save_for_ever(folder, first, pipe):
    for step in range(first, 10**9):
        checkpoint.save(folder, step, state_of(step))
        os.write(pipe, b"%d\\n" % step)

folder, chance, first, torn = Path(sys.argv[1]), random.Random(int(sys.argv[2])), 1, 0
for _ in range(int(sys.argv[3])):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        save_for_ever(folder, first, writer)
    os.close(writer)
    os.read(reader, 1)
    time.sleep(chance.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    said = b""
    while more := os.read(reader, 65536):
        said += more
    os.close(reader)
    told = int(said.split()[-1]) if said.split() else first
    torn += any((folder / "checkpoints").glob(".*.partial"))
    for step in checkpoint.steps(folder):  # every one that is seen is whole
        manifest = checkpoint.verify(folder / "checkpoints" / str(step))
        assert manifest.digest == checkpoint.digest(state_of(step)), step
    newest = int(checkpoint.newest(folder).name)
    assert newest >= told, (newest, told)  # what was said to be saved is saved
    first = newest + 1
print("torn", torn)
"""


@pytest.mark.parametrize(
    "kills", [KILLS, KILLS.replace("def state_of", "checkpoint.PIECE_BYTES = 2**14\n\ndef state_of")]
)
def test_sigkill_while_saving(tmp_path, kills):
    """A real process, killed at random moments of its saving: every checkpoint seen is whole and right."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", kills, tmp_path, "1", "40"], capture_output=True, text=True, timeout=100
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-1]) >= 5, "the kills did not hit a write half-way"


def test_the_kills_find_a_writer_that_does_not_rename(tmp_path):
    """The test of the test: written straight into place, half a checkpoint is soon seen."""
    careless = KILLS.replace(
        "def state_of",
        "def write(final, manifest, arrays):\n"
        "    import dataclasses, hashlib\n"
        "    final.mkdir()\n"
        "    checkpoint.save_file(arrays, final / checkpoint.TENSORS)\n"
        "    raw = (final / checkpoint.TENSORS).read_bytes()\n"
        "    whole = dataclasses.replace(manifest, sha256=hashlib.sha256(raw).hexdigest(), bytes=len(raw))\n"
        "    (final / checkpoint.MANIFEST).write_text(checkpoint._text(whole))\n"
        "checkpoint._write = write\n\n"
        "def state_of",
        1,
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", careless, tmp_path, "1", "40"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode != 0
    assert "CheckpointError" in result.stderr
