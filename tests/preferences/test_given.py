"""Labels that were given before: written, read, learnt from, and asked for again by nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from gymnasium import spaces
from test_learnt_reward import ALGORITHM, small

from retorno.cli import labels as command
from retorno.core.counter import Counter
from retorno.core.errors import RetornoError
from retorno.environments.recordings import Recorded, episode, recorded_episodes
from retorno.environments.registry import native
from retorno.labels import Labels, shown_order, write_records
from retorno.preferences import (
    FunctionJudge,
    LearntReward,
    People,
    Preferences,
    TrueReward,
    ranked_demonstrations,
)
from retorno.preferences.given import known_labels, shares_of
from retorno.preferences.written import as_rows, as_written
from retorno.run.loop import native_spec
from retorno.run.train import train


def settings(**changed: Any) -> Preferences:
    # This world pays for actions as well.
    return small(gradient_steps=20, sees_action=True, **changed)


def lived(folder: Path | None = None, steps: int = 800, **changed: Any) -> Any:
    return train(ALGORITHM, "garnet", steps, folder=folder, relabel=settings(**changed))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LearntReward, str]:
    """A run, its relabel and digest, judged by the true reward, and its labels in a file beside it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    # Of a judge who errs a file cannot tell which of two answers to the same pair was the first.
    with lived(folder, judge=TrueReward(mistakes=0)) as training:
        training.run_to_end()
        assert isinstance(training.relabel, LearntReward)
        command.run(["export", str(folder), str(folder / "labels.jsonl")])
        return folder, training.relabel, training.digest


def test_a_run_that_is_lived_again_from_the_file_ends_with_the_same_bits(
    judged: tuple[Path, LearntReward, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported from a run and taken into a database, they answer for people who are not there."""
    folder, relabel, digest = judged
    place = tmp_path / "labels.db"
    command.run(["import", str(place), str(folder / "labels.jsonl")])
    labels = Labels.open(place)
    assert 30 < labels.progress("segments", "TrueReward").mine <= int(relabel.labelled.count)
    monkeypatch.setattr("retorno.preferences.judges._Waiting.shares", only_known(labels))
    with lived(judge=People(str(place))) as again:
        again.run_to_end()
        assert again.digest == digest


@pytest.mark.parametrize(("clips", "said"), [(3, {"ranks"}), (1, {"ratings", "of"})])
def test_orders_and_ratings_are_lived_again_with_the_same_bits(
    clips: int, said: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported, taken into a database, and said again by people, as a run that was killed finds them."""
    place, made = tmp_path / "labels.db", {"clips": clips, "labels": 20, "levels": 7, "members": 1}
    paid = TrueReward(mistakes=0, worst=-1.0, best=1.0)
    with lived(tmp_path / "run", judge=paid, **made) as first:
        first.run_to_end()
    command.run(["export", str(tmp_path / "run"), str(tmp_path / "labels.jsonl")])
    command.run(["import", str(place), str(tmp_path / "labels.jsonl")])
    labels = Labels.open(place)
    assert all(set(one.label.content) == said for one in labels.labelled("segments"))
    monkeypatch.setattr("retorno.preferences.judges._Waiting.shares", only_known(labels))
    with lived(judge=People(str(place)), **made) as again:
        again.run_to_end()
        assert again.digest == first.digest
    # Where all are known a run begins with all that it ends with.
    spec = native_spec(native("garnet"), Counter.of(800), ALGORITHM.num_envs)
    taught = settings(judge=paid, known=str(tmp_path / "labels.jsonl"), **made).build(jax.random.key(0), spec)
    assert int(taught.labelled.count) == 20 and np.array_equal(taught.labelled.share, again.relabel.labelled.share)


def only_known(labels: Labels) -> Any:
    """As people answer, but nobody is waited for."""
    from retorno.preferences.judges import as_json

    def shares(_: Any, asked: Any) -> list[list[float]]:
        ids = labels.add("segments", [{"segments": [as_json(each) for each in several]} for several in asked])
        said = labels.said_of(ids)
        return [shares_of(said[each].content, range(len(asked[0]))) for each in ids]

    return shares


def test_a_model_is_trained_tomorrow_by_the_labels_of_today(
    judged: tuple[Path, LearntReward, str], tmp_path: Path
) -> None:
    """Nobody is asked any more, and what was held out is told right."""
    folder, relabel, _ = judged
    (tmp_path / "nobody.py").write_text("def asked(first, second):\n    raise AssertionError('somebody is asked')\n")
    nobody = FunctionJudge(f"{tmp_path}/nobody.py:asked")
    with lived(labels=40, known=str(folder / "labels.jsonl"), judge=nobody, members=2) as training:
        training.run_to_end()
        taught = training.relabel
    assert isinstance(taught, LearntReward) and int(taught.labelled.count) == int(relabel.labelled.count) == 40
    assert np.array_equal(taught.labelled.asked.obs, relabel.labelled.asked.obs)
    assert float(taught.told.accuracy) > 0.6


def test_known_labels_that_are_no_whole_sessions_are_learnt_and_nobody_is_asked_for_what_has_no_room(
    judged: tuple[Path, LearntReward, str], tmp_path: Path
) -> None:
    known = tmp_path / "known.jsonl"
    known.write_text("".join((judged[0] / "labels.jsonl").read_text().splitlines(keepends=True)[:15]))
    asked: list[int] = []
    (tmp_path / "judge.py").write_text("def of(first, second):\n    asked.append(1)\n    return len(asked) % 2\n")
    judge = FunctionJudge(f"{tmp_path}/judge.py:of")
    judge.found().__globals__["asked"] = asked
    with lived(labels=40, known=str(known), judge=judge, members=1) as training:
        training.run_to_end()
        assert int(training.relabel.labelled.count) == 15 + len(asked) == 35
    with lived(labels=15, known=str(known), judge=judge, members=1) as taught:
        taught.run_to_end()
        assert len(asked) == 20 and float(taught.relabel.normal.scale) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"labels": 39}, "40 labels are known already, and 39 are to be had in all"),
        ({"segment": 6}, r"labels.jsonl, line 1 has segments of 5 steps, and 6 are expected"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    judged: tuple[Path, LearntReward, str], change: dict[str, Any], why: str
) -> None:
    with pytest.raises(RetornoError, match=why):
        lived(known=str(judged[0] / "labels.jsonl"), **change)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"segments": [{"obs": [0], "action": []}], "share": 1}', "is no comparison: expected two segments"),
        ('{"segments": [{"obs": [0], "action": []}, {"obs": [0], "action": []}], "share": 2}', "has the share 2"),
        ('{"segments": [', "cannot be read as lines of JSON"),
        ('{"segments": [{"obs": [0], "action": []}], "ranks": [0]}', "has ranks that are none"),
        ('{"segments": [{"obs": [0]}, {"obs": [0]}], "ratings": [1, 2]}', "has ratings that are none"),
        ('{"segments": [{"obs": [0], "action": []}], "ratings": [1]}', "has ratings that are none"),
        (
            '{"segments": [{"obs": [0], "action": []}], "ratings": [6], "of": 5}',
            r"has ratings \[6\] of 5: expected whole",
        ),
    ],
)
def test_a_file_with_something_else_is_refused_as_a_whole(tmp_path: Path, line: str, why: str) -> None:
    good = {"segments": [{"obs": [0, 1], "action": [1]}] * 2, "share": 0.5}
    (tmp_path / "given.jsonl").write_text(f"{json.dumps(good)}\n{line}\n")
    with pytest.raises(RetornoError, match=why):
        command.run(["import", str(tmp_path / "labels.db"), str(tmp_path / "given.jsonl")])
    assert Labels.open(tmp_path / "labels.db").progress("segments", "").labels == 0
    with pytest.raises(ValueError, match="known labels cannot be read"):
        small(known=str(tmp_path / "nothing.jsonl"))


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        ({"obs": [0, 1]}, r"observations and actions as \[2\] of \[2\]; \[3\] of \[2\]: a segment has"),
        ({"obs": {"dtype": "bool"}}, "line 1 is not of this world: it has no 'shape'"),
    ],
)
def test_what_a_segment_lacks_is_told(tmp_path: Path, damaged: dict[str, Any], why: str) -> None:
    whole = {"obs": [0, 1, 2], "action": [0, 1]}
    (tmp_path / "given.jsonl").write_text(json.dumps({"segments": [whole | damaged, whole], "share": 1}))
    with pytest.raises(RetornoError, match=why):
        known_labels(tmp_path / "given.jsonl", 2, 2, spaces.Discrete(9), spaces.Discrete(2))


def test_rankings_and_ratings_say_as_much_as_their_pairs(tmp_path: Path) -> None:
    segments = [{"obs": [i, i + 1, i + 2], "action": [0, 1]} for i in range(4)]
    ranked, rated = {"segments": segments, "ranks": [2, 0, 0, None]}, {"segments": segments[:3], "ratings": [5, 2, 5]}
    (tmp_path / "given.jsonl").write_text(f"{json.dumps(ranked)}\n{json.dumps(rated)}\n")
    found, share = known_labels(tmp_path / "given.jsonl", 2, 2, spaces.Discrete(9), spaces.Discrete(2))
    assert np.asarray(found.obs)[:, :, 0].tolist() == [[0, 1], [0, 2], [0, 1], [0, 2], [1, 2]]
    assert share[:, 0].tolist() == [0, 0, 1, 0.5, 0] and np.asarray(found.action).tolist() == [[[0, 1]] * 2] * 5
    command.run(["import", str(tmp_path / "labels.db"), str(tmp_path / "given.jsonl")])
    command.run(["export", str(tmp_path / "labels.db"), str(tmp_path / "again.jsonl"), "--kind", "segments"])
    again = known_labels(tmp_path / "again.jsonl", 2, 2, spaces.Discrete(9), spaces.Discrete(2))
    assert np.array_equal(again[0].obs, found.obs) and np.array_equal(again[1], share)


def test_ratings_of_clips_by_themselves_teach_whoever_has_clips_rated(tmp_path: Path) -> None:
    """Of one segment, and of each of several that say of how many levels; of what is longer each piece."""
    segments = [{"obs": [i, i + 1, i + 2], "action": [0, 1]} for i in range(3)]
    lines = [
        {"segments": segments[:1], "ratings": [4], "of": 5},
        {"segments": segments, "ratings": [9, None, 1], "of": 9},
    ]
    lines += [{"segments": segments, "ratings": [3, 2, 1]}, {"segments": segments, "ranks": [0, 1, 2]}]
    file = tmp_path / "given.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines[:2]))
    command.run(["import", str(tmp_path / "labels.db"), str(file)])
    command.run(["export", str(tmp_path / "labels.db"), str(file), "--kind", "segments"])
    found, share = known_labels(file, 1, 1, spaces.Discrete(9), spaces.Discrete(2))
    assert sorted(share[:, 0]) == pytest.approx(sorted([0.7] * 2 + [8.5 / 9] * 2 + [0.5 / 9] * 2))
    assert found.obs.shape == (6, 1, 2)
    pairs, _ = known_labels(file, 2, 2, spaces.Discrete(9), spaces.Discrete(2))
    assert np.asarray(pairs.obs)[:, :, 0].tolist() == [[0, 2]]
    for clips, some, why in (
        (1, lines[2:], "holds no ratings: expected lines"),
        (2, lines[:1], "no comparisons: clips that"),
    ):
        file.write_text("".join(json.dumps(each) + "\n" for each in some))
        with pytest.raises(RetornoError, match=why):
            known_labels(file, clips, 2, spaces.Discrete(9), spaces.Discrete(2))


def test_demonstrations_are_ranked_against_those_that_begin_alike(tmp_path: Path) -> None:
    """Later ones are better; in which order a recording holds its episodes does not count, nor do its units."""

    def shown(*begins: int) -> Recorded:
        lived = [episode(np.array([[x], [x + 1], [x + 2]], np.float32), np.full((2, 1), x, np.float32)) for x in begins]
        return recorded_episodes(lived, observed, spaces.Box(0, 10, (1,)))

    observed, acts = spaces.Box(-99, 99, (1,)), spaces.Box(-1, 1, (1,))
    file = tmp_path / "ranked.jsonl"
    assert write_records(file, ranked_demonstrations([shown(3, 5), shown(5, 3, 9)])) == 2
    found, share = known_labels(file, 2, 2, observed, acts)
    assert np.asarray(found.obs)[:, :, 0, 0].tolist() == [[3, 3], [5, 5]] and share[:, 1].tolist() == [1, 1]
    assert np.asarray(found.action)[:, :, 0, 0] == pytest.approx(np.array([[-0.4, -0.4], [0, 0]]))
    with pytest.raises(RetornoError, match="expected two recordings, got 1"):
        list(ranked_demonstrations([shown(3)]))


def test_a_run_that_asks_about_three_learns_from_orders_of_more_and_of_fewer(tmp_path: Path) -> None:
    """All choices of three; where one lacks nothing is said of it, and what tells none apart is left out."""
    segments = [{"obs": [i, i + 1], "action": [0]} for i in range(4)]
    lines = [
        {"segments": segments, "ranks": [1, 0, 1, 2]},
        {"segments": segments[:2], "share": 0},
        {"segments": segments[:2], "share": 0.5},
        {"segments": segments[:3], "ratings": [1, None, 7]},
    ]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found, share = known_labels(tmp_path / "given.jsonl", 3, 1, spaces.Discrete(9), spaces.Discrete(2))
    assert np.asarray(found.obs)[:, :, 0].tolist() == [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3], [0, 1, 0], [0, 2, 0]]
    nan = np.nan
    assert np.array_equal(
        share,
        [[0.5, 2, 0.5], [1, 2, 0], [1.5, 1.5, 0], [2, 1, 0], [0, 1, nan], [0, 1, nan]],
        equal_nan=True,
    )


def test_of_several_demonstrations_pieces_of_better_ones_begin_no_earlier(tmp_path: Path) -> None:
    three = [{"obs": list(range(n + 1)), "action": [0] * n} for n in (20, 31, 25)]
    (tmp_path / "given.jsonl").write_text(json.dumps({"segments": three, "ranks": [1, 0, 2]}) + "\n")
    found, share = known_labels(tmp_path / "given.jsonl", 3, 3, spaces.Discrete(40), spaces.Discrete(2))
    begins = np.asarray(found.obs)[:, :, 0]
    assert np.array_equal(share, [[1, 2, 0]] * 6) and np.all(np.diff(begins[:, [2, 0, 1]], axis=1)[:, 1] >= 0)
    assert np.all((begins[:, 2] <= begins[:, 0]) | (begins[:, 0] == 17)) and np.all(begins <= [17, 28, 22])


def test_ranked_demonstrations_are_cut_into_pieces(tmp_path: Path) -> None:
    """As many as the shorter has in a row, and that of the better one begins no earlier."""
    short, long = ({"obs": list(range(n + 1)), "action": [0] * n} for n in (20, 31))
    for ranks, better in (([1, 0], 1), ([0, 1], 0)):
        (tmp_path / "given.jsonl").write_text(json.dumps({"segments": [short, long], "ranks": ranks}) + "\n")
        found, share = known_labels(tmp_path / "given.jsonl", 2, 3, spaces.Discrete(40), spaces.Discrete(2))
        begins = np.asarray(found.obs)[:, :, 0]
        assert len(share) == 6 and np.all(share == [1 - better, better])
        assert np.array_equal(found.obs, begins[:, :, None] + np.arange(4))
        assert np.all(begins[:, better] >= begins[:, 1 - better]) and np.all(begins <= [17, 28])
        assert len(np.unique(begins, axis=0)) > 3


def test_statistics_tell_who_presses_one_side_and_who_contradicts_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = Labels.open(tmp_path / "labels.db")
    both = [[{"obs": [i], "action": []}, {"obs": [-i - 1], "action": []}] for i in range(30)]
    ids = labels.add("segments", [{"segments": pair} for pair in [*both, *(pair[::-1] for pair in both[:10])]])
    for i in ids:
        labels.save(i, "Lefty", {"share": 1 - shown_order(i, "Lefty", 2)[0]})
        labels.save(i, "Mute", {"share": None})
        if i in ids[:8] + ids[30:]:
            labels.save(i, "Ana", {"share": float(i in ids[:8])})
    command.run(["statistics", str(tmp_path)])
    told = " ".join(capsys.readouterr().out.split())
    assert "Lefty: left 40, right 0, alike 0, cannot tell 0" in told and told.count("always the same side") == 1
    assert "cannot tell 40; nothing is learnt from these" in told and told.count("nothing is learnt") == 1
    assert "of 8 asked again the same said of 8" in told
    [three] = labels.add("segments", [{"segments": [{"obs": [i], "action": []} for i in range(3)]}])
    labels.save(three, "Cai", {"ranks": [1, 0, None]})
    command.run(["statistics", str(tmp_path)])
    assert "Cai: ordered 1, alike 0, cannot tell 0" in capsys.readouterr().out
    command.run(["export", str(tmp_path / "labels.db"), str(tmp_path / "all.jsonl")])
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 99


def test_pictures_are_written_as_text_and_read_again() -> None:
    screens = np.random.default_rng(0).integers(0, 256, (3, 12, 10, 1), np.uint8)
    marks, seen = screens[..., 0] > 250, {"screen": screens, "marks": screens[..., 0] > 250, "held": np.arange(3)}
    space = spaces.Dict(
        held=spaces.Discrete(3), marks=spaces.MultiBinary((12, 10)), screen=spaces.Box(0, 255, (12, 10, 1), np.uint8)
    )
    written = json.loads(json.dumps(as_written(seen)))
    assert written["held"] == [0, 1, 2] and len(json.dumps(written["marks"])) < marks.size / 2
    again = as_rows(written, space)
    for name, rows in seen.items():
        np.testing.assert_array_equal(again[name], rows)
    # Files of others may hold lists.
    np.testing.assert_array_equal(as_rows(screens.tolist(), space["screen"]), screens)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shape": [3, 12, 11, 1]}, "has 396 bytes, got 360"),
        ({"shape": [1, 2, 2, 1]}, "has 4 bytes, got 5 or more"),
        ({"shape": [-3, 12, -10, 1]}, "has a shape"),
        ({"dtype": "object"}, "of uint8 or bool"),
        ({"zlib": "AAAA"}, "cannot be read"),
        ({"zlib": "no base64!"}, "base64|Only"),
    ],
)
def test_text_that_is_no_picture_is_refused(changed: dict[str, Any], message: str) -> None:
    written = as_written(np.zeros((3, 12, 10, 1), np.uint8)) | changed
    with pytest.raises(ValueError, match=message):
        as_rows(written, spaces.Box(0, 255, (12, 10, 1), np.uint8))
