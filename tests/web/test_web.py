"""The pages' parts without a browser: what stands before them, what they say, who works at them."""

from __future__ import annotations

import asyncio
import string
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from retorno.labels import Labels, Query
from retorno.web import Address, Questions, Site
from retorno.web.answering import streamed
from retorno.web.desk import Desk
from retorno.web.guard import LARGEST, Guard
from retorno.web.serving import ServingError, kept_token
from retorno.web.shown import harmless
from retorno.web.site import Status, Visit
from retorno.web.words import WORDS


class Model:
    """It answers with what it was given, a word at a time."""

    def __init__(self, name: str, answers: Sequence[str]) -> None:
        self.name, self.answers = name, answers

    def answer(self, prompt: Any, seed: int) -> Iterator[str]:
        said = self.answers[seed % len(self.answers)]
        if said == "fail":
            raise RuntimeError("out of words")
        yield from said


class Judge:
    def scores(self, prompt: Any, answers: Sequence[str]) -> list[float]:
        return [len(each) for each in answers]


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels.open(tmp_path / "labels.db")


def test_every_language_says_everything() -> None:
    fields = {
        language: {what: sorted(f for _, f, *_ in string.Formatter().parse(said) if f) for what, said in words.items()}
        for language, words in WORDS.items()
    }
    assert fields["es"] == fields["en"]


def test_hostile_text_is_spelled_out_and_other_scripts_are_not() -> None:
    assert harmless("a\u202eb\u2066c\x1b[2J\x00\ud800") == "a\\u202eb\\u2066c\\x1b[2J\\x00\\ud800"
    kind = "<b>שלום</b> नमस्ते 👨‍👩‍👧 a\tb\nñ"
    assert harmless(kind) == kind


def asked(path: str, *, method: str = "GET", kind: str = "http", query: str = "", **headers: str) -> dict[str, Any]:
    named = {"host": "127.0.0.1:8420", **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    return {"type": kind, "path": path, "method": method, "query_string": query.encode(), "headers": raw}


def answered(scope: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """What a guard with the token `secret` answers; 200 where it lets through."""
    said: list[dict[str, Any]] = []

    async def through(scope: Any, receive: Any, send: Any) -> None:
        said.append({"status": 200, "headers": []})

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    asyncio.run(Guard(through, "secret")(scope, None, send))
    headers = said[0].get("headers", [])
    status = said[0].get("status", said[0].get("code"))
    return status, {name.decode(): value.decode() for name, value in headers}


MINE = "retorno_token_8420=secret"


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (asked("/rank"), 403),
        (asked("/rank", query="token=wrong"), 403),
        (asked("/rank", cookie="retorno_token_8420=wrong"), 403),
        (asked("/rank", cookie="retorno_token_9999=secret"), 403),
        (asked("/rank", cookie=MINE), 200),
        (asked("/rank", cookie='bad "one; {"a": 1}; ' + MINE), 200),
        (asked("/rank", host="evil.example:8420", cookie=MINE), 400),
        (asked("/rank", host="localhost:8420", cookie=MINE), 200),
        (asked("/x", origin="http://evil.example", cookie=MINE), 403),
        (asked("/x", origin="http://127.0.0.1:8420", cookie=MINE), 200),
        (asked("/x", kind="websocket"), 1008),
        (asked("/x", kind="websocket", cookie=MINE), 200),
        (asked("/x", kind="websocket", origin="http://evil.example", cookie=MINE), 1008),
        (asked("/x", method="POST", content_length=str(LARGEST + 1), cookie=MINE), 413),
        (asked("/x", method="POST", content_length="-1", cookie=MINE), 413),
        (asked("/x", method="POST", transfer_encoding="chunked", cookie=MINE), 413),
    ],
)
def test_who_is_let_through(scope: dict[str, Any], status: int) -> None:
    assert answered(scope)[0] == status


def test_the_token_goes_from_the_address_into_a_cookie() -> None:
    status, headers = answered(asked("/rank", query="token=secret&name=Ana%20B&x=1"))
    assert status == 303 and headers["location"] == "/rank?x=1"
    assert "retorno_token_8420=secret; HttpOnly" in headers["set-cookie"]
    assert answered(asked("//evil.example/x", query="token=secret"))[1]["location"] == "/evil.example/x"


def test_a_token_is_kept_for_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "labels.db-token"
    token = kept_token(file)
    assert kept_token(file) == token and file.stat().st_mode & 0o777 == 0o600 and len(token) >= 20
    file.write_text("short")
    assert kept_token(file) != "short"


def test_a_port_that_is_taken_is_told() -> None:
    first = Address(0)
    with pytest.raises(ServingError, match=f"port {first.port} is taken"):
        Address(first.port)
    first.socket.close()
    assert first.url("rank", name="Ana").startswith(f"http://127.0.0.1:{first.port}/rank?token=")


def test_questions_are_made_ahead_and_no_prompt_is_asked_twice(labels: Labels) -> None:
    models = [Model("a", ["one", "three", "fifteen"]), Model("b", ["two", "four", "sixteen"])]
    made = Questions([f"word {i}?" for i in range(5)], models, answers=3, judge=Judge(), ahead=2)
    assert made.fill(labels) == 2 and made.fill(labels) == 0
    query = labels.lend("ranking", "Ana")
    assert query is not None and len(set(query.content["answers"])) == 3
    assert set(query.content["models"]) == {"a", "b"}
    assert query.content["scores"] == [len(each) for each in query.content["answers"]]
    labels.save(query.id, "Ana", {"ranks": [0, 1, 2]})
    again = Questions(made.prompts, models, answers=3, ahead=9)  # Of another process, on another day.
    assert again.fill(labels) == 3 and again.used_up
    assert [each.content["prompt"] for each in labels.queries("ranking")] == list(made.prompts)
    Questions(made.prompts[3:], models).keep(labels)
    assert labels.progress("ranking", "Ana").open == 2, "prompts that are gone are not asked"


def test_a_model_that_fails_or_repeats_itself(labels: Labels) -> None:
    alike = Questions(["a?", "b?"], [Model("m", ["the same"])], answers=4)
    assert alike.fill(labels) == 2 and alike.used_up and labels.lend("ranking", "Ana") is None
    failing = Questions(["c?"], [Model("m", ["fail"])])
    worker = threading.Thread(target=failing.work, args=(labels, 0.01))
    worker.start()
    while failing.failure is None:
        time.sleep(0.005)
    assert failing.failure == "out of words"
    failing.models = [Model("m", ["yes", "no"])]
    while not failing.used_up:
        time.sleep(0.005)
    failing.asleep.set()
    worker.join()
    assert failing.failure is None and labels.progress("ranking", "").open == 1


def test_an_answer_streams_and_stops() -> None:
    shown: list[str] = []
    said = asyncio.run(streamed(Model("m", ["heron\x00s"]), "?", 0, shown.append))
    assert said.text == "heron\x00s" and shown[-1] == "heron\\x00s" and said.failure is None
    said = asyncio.run(streamed(Model("m", ["fail"]), "?", 0, shown.append))
    assert said.failure == "out of words"


def test_fifteen_people_at_their_desks(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a page's own desk, all at once: nobody is stuck, nothing is labelled twice, each sees all as saved."""
    count = 40
    labels.add("ranking", [{"prompt": f"{i}?", "answers": ["a", "b"]} for i in range(count)])
    site, saved, shown = Site("x", labels), Counter[str](), Counter[int]()

    async def beside(act: Any, *given: Any) -> Any:
        return await asyncio.to_thread(act, *given)

    monkeypatch.setattr("retorno.web.desk.run.io_bound", beside)

    class Told(Status):
        def __init__(self, who: str) -> None:
            self.who = who

        def saved(self) -> None:
            saved[self.who] += 1

        def hint(self, what: str) -> None: ...

        def failed(self, error: Exception) -> None:
            raise error

    def show(query: Query | None, said: Any) -> None:
        shown[query.id if query else 0] += 1

    async def nothing() -> None: ...

    async def work(number: int) -> None:
        who = f"person {number}"
        desk = Desk(Visit(site, who, "en", None), "ranking", Told(who), show, nothing)
        await desk.next()
        for turn in range(200):
            if desk.query is None:
                if labels.progress("ranking", who).open == 0:
                    return
                await desk.wait()
            elif (turn + number) % 7 == 6:
                await desk.skip()
            elif (turn + number) % 11 == 10:
                await desk.undo()
            else:
                await asyncio.gather(desk.save({"ranks": [0, 1]}), desk.save({"ranks": [0, 1]}))  # A double click.
        raise AssertionError(f"{who} is stuck")

    async def all_of_them() -> None:
        await asyncio.gather(*(work(number) for number in range(15)))

    asyncio.run(all_of_them())
    given = Counter(each.query.id for each in labels.labelled("ranking"))
    assert len(given) == count and set(given.values()) == {1}
    assert saved.total() >= count
