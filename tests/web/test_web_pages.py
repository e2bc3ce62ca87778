"""The pages, in a real browser."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorno as rt
from retorno import labels as people
from retorno import language
from retorno.algorithms.preferences.reward_model import scores
from retorno.environments.recordings import rankings as ranks_of
from retorno.labels import Labels, shown_order
from retorno.preferences.clips import Clips
from retorno.web import Questions, Site

LLAMA = str(Path(__file__).parents[1] / "language" / "models" / "llama")
HERONS = {"prompt": "what is a heron?", "answers": ["a bird", "a fish", "a tree"], "scores": [3.0, 2.0, 1.0]}
HOSTILE = [
    '<script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7 * 7 }}',
    "left \u202e right \x00\x07 \ud800 end",
    "<b>" + "x" * 100_000,
]


class Echo:
    """It answers slowly enough to be stopped, and differently each time."""

    def __init__(self, name: str, words: list[str]) -> None:
        self.name, self.words, self.count = name, words, 0

    def answer(self, prompt: Any, seed: int) -> Iterator[str]:
        self.count += 1
        for word in (*self.words, str(self.count)):
            yield word + " "
            time.sleep(0.02)


def texts(page: Any, where: str) -> list[str]:
    return page.locator(f"{where} .card .words").all_inner_texts()


def shows(page: Any, where: str, said: list[str]) -> None:
    """Soon the page says just this: keys and clicks take effect one after the other."""
    page.wait_for_function(
        "([where, said]) => said === JSON.stringify([...document.querySelectorAll(where)].map(x => x.innerText))",
        arg=[where, json.dumps(said, separators=(",", ":"))],
    )


def saved(page: Any, labels: Labels, count: int = 1) -> None:
    """So many labels stand in the database, and the page says so."""
    until = time.monotonic() + 30
    while (found := len(list(labels.labelled()))) != count and time.monotonic() < until:
        page.wait_for_timeout(20)
    assert found == count
    page.locator(".status.good").wait_for()


def key_of(page: Any, answer: str) -> str:
    """The key that an answer has."""
    return page.locator(".card", has=page.get_by_text(answer, exact=True)).locator(".top .key").inner_text()


def test_answers_are_ranked_by_keys_taps_and_drags(visit: Callable[..., Any], labels: Labels) -> None:
    labels.add("ranking", [HERONS, {"prompt": "next?", "answers": ["yes", "no"]}])
    page = visit(Site("herons", labels), "rank")
    page.locator(".card").first.wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("Rank two answers or more").wait_for()
    for answer in ("a tree", "a bird", "a fish"):
        page.keyboard.press(key_of(page, answer))
        page.locator(".ranked .card", has_text=answer).wait_for()
    page.keyboard.press("=")
    page.locator(".ranked .card.tied", has_text="a fish").wait_for()
    page.keyboard.press("Backspace")
    page.locator(".card.tied").wait_for(state="detached")
    page.keyboard.press("Shift+Digit5")
    page.locator(".card.touched", has_text="a fish").wait_for()
    page.locator(".ranked .card", has_text="a fish").drag_to(page.locator(".ranked .card", has_text="a tree"))
    page.wait_for_function("document.querySelector('.ranked .card .words').innerText == 'a fish'")
    page.locator(".ranked .card", has_text="a tree").drag_to(page.locator(".rest .cards"))
    page.locator(".rest .card", has_text="a tree").wait_for()
    assert texts(page, ".ranked") == ["a fish", "a bird"]
    page.get_by_text("Nothing is said of those that are not ranked").wait_for()
    page.keyboard.press("Enter")
    saved(page, labels)
    [one] = labels.labelled("ranking")
    assert one.label.labeller == "Ana" and one.label.content["ranks"] == [1, 0, None]
    assert one.label.content["ratings"] == [None, 5, None] and one.label.seconds is not None
    page.get_by_text("next?").wait_for()
    page.get_by_text("The reward model agrees: 0% of 1 pairs").wait_for()
    page.keyboard.press("z")  # The label before comes back as it was said.
    page.locator(".rest .card", has_text="a tree").wait_for()
    assert texts(page, ".ranked") == ["a fish", "a bird"] and list(labels.labelled()) == []
    page.keyboard.press("0")
    page.get_by_text("none is better").wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("next?").wait_for()
    assert [each["all_bad"] for each in people.rankings(labels)] == [True]
    page.keyboard.press("s")
    page.get_by_text("There is nothing to do here just now").wait_for()
    labels.add("ranking", [{"prompt": "later?", "answers": ["a", "b"]}])
    page.get_by_text("later?").wait_for()


def test_hostile_text_is_shown_and_does_nothing(visit: Callable[..., Any], labels: Labels) -> None:
    """`visit` would see a dialog, a failing script or another host."""
    labels.add("ranking", [{"prompt": HOSTILE[0], "answers": HOSTILE}])
    page = visit(Site(HOSTILE[0], labels), "rank", name="<i>Ana</i>")
    page.locator(".card").first.wait_for()
    shown = "\n".join(texts(page, ".rest"))
    assert HOSTILE[0] in shown and "left \\u202e right \\x00\\x07 \\ud800 end" in shown
    assert page.locator(".page img, .page script, .page b, .bar i.x").count() == 0
    assert len(shown) < 5_000
    page.get_by_role("button", name="Show all 100,003 characters").click()
    page.wait_for_function("document.body.innerText.length > 100000")
    began = time.monotonic()
    page.keyboard.press("1")
    page.locator(".ranked .card").wait_for()
    assert time.monotonic() - began < 5
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    saved(page, labels)
    assert next(people.rankings(labels))["answers"] == HOSTILE


def test_two_people_two_tabs_and_a_query_that_goes(visit: Callable[..., Any], labels: Labels) -> None:
    labels.add("ranking", [{"prompt": f"word {i}?", "answers": ["a", "b"]} for i in range(4)])
    site = Site("words", labels)
    ana, bea = visit(site, "rank", "Ana"), visit(site, "rank", "Bea", locale="es", color_scheme="dark")
    bea.get_by_text("¿Qué respuesta es la mejor?").wait_for()
    assert bea.locator("body.body--dark").count() == 1 and bea.locator("html").get_attribute("lang") == "es"
    ana.get_by_text("word 0?").wait_for()
    bea.get_by_text("word 1?").wait_for()
    tab = ana.context.new_page()
    tab.goto(ana.url)
    tab.get_by_text("word 0?").wait_for()
    for page, ranked in ((ana, "12"), (tab, "21")):
        page.locator(".card").nth(1).wait_for()
        for key in (*ranked, "Enter"):
            page.keyboard.press(key)
        saved(page, labels)
    assert len(list(labels.labelled())) == 1, "said in two tabs, the later one counts"
    bea.get_by_role("link", name="EN", exact=True).click()
    bea.get_by_text("Which answer is best?").wait_for()
    bea.get_by_text("word 1?").wait_for()  # It is still lent to her.
    with sqlite3.connect(labels.where) as connection:
        connection.execute("DELETE FROM query WHERE content LIKE '%word 1?%'")
    for key in ("1", "2", "Enter"):
        bea.keyboard.press(key)
    bea.get_by_text("Not saved").wait_for()
    bea.get_by_text("word 3?").wait_for()


def test_a_demonstration_is_written(visit: Callable[..., Any], labels: Labels) -> None:
    labels.add("demonstration", [{"prompt": "what is an oak?"}, {"prompt": "and a heron?", "draft": "it are a bird"}])
    page = visit(Site("words", labels, [Echo("echo", ["a", "draft"])]), "write")
    page.get_by_text("what is an oak?").wait_for()
    field = page.locator("textarea")
    field.fill("a tree\nwith acorns <b>")
    field.press("Control+Enter")
    page.get_by_text("Mend this answer").wait_for()
    assert field.input_value() == "it are a bird"
    field.press("Escape")
    page.keyboard.press("z")
    page.get_by_text("what is an oak?").wait_for()
    assert field.input_value() == "a tree\nwith acorns <b>"
    page.get_by_role("button", name="Let a model begin").click()
    page.wait_for_function("document.querySelector('textarea').value.startsWith('a draft 1')")
    field.press("Control+Enter")
    page.get_by_text("Mend this answer").wait_for()
    assert [each["answer"] for each in people.demonstrations(labels)] == ["a draft 1"]


def test_a_chat_is_judged(visit: Callable[..., Any], labels: Labels) -> None:
    page = visit(Site("echo", labels, [Echo("echo", ["herons", "<b>wade</b>"])], pages=("chat",)), "")
    field = page.locator("textarea")
    field.fill("what do herons do?")
    field.press("Enter")
    page.get_by_role("button", name="Good").wait_for()
    assert "herons <b>wade</b> 1" in page.locator(".theirs .words").inner_text()
    page.get_by_role("button", name="Bad").click()
    saved(page, labels)
    page.keyboard.press("r")
    page.get_by_text("wade</b> 2").wait_for()
    page.get_by_role("button", name="Good").wait_for()
    page.keyboard.press("+")
    saved(page, labels, 2)
    prompt = [{"role": "user", "content": "what do herons do?"}]
    [ranking] = people.rankings(labels)
    assert ranking["prompt"] == prompt and ranking["ranks"] == [1, 0]
    [demonstration] = people.demonstrations(labels)
    assert demonstration["answer"] == "herons <b>wade</b> 2 "
    field.fill("and then?")
    field.press("Enter")
    page.locator(".theirs .words", has_text="3").wait_for()


def test_clips_are_compared(visit: Callable[..., Any], labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left and right by chance, said of the first; the arrows of the paper; what is taken back comes back."""
    monkeypatch.setattr("retorno.web.comparing.SAME", 2)
    angles = [[np.cos(x), np.sin(x), 0.0] for x in np.linspace(0, 1, 4)]
    segments = [{"obs": rows, "action": [[0.0]] * 3} for rows in (angles, angles[::-1])]
    labels.add("segments", [{"segments": [segments[0], {**segments[1], "action": [[float(i)]] * 3}]} for i in range(4)])
    clips = Clips(rt.make("Pendulum-v1"))
    page = visit(Site("up", labels, clips=clips, task="Hold <b>it</b> up.", pages=("compare",)), "compare")
    page.get_by_text("Hold <b>it</b> up.").wait_for()
    for count, key in enumerate(("ArrowUp", "ArrowDown", "ArrowDown"), start=1):
        page.locator(".clip img").nth(1).wait_for()
        page.keyboard.press(key)
        saved(page, labels, count)
        page.get_by_text(f"{count} by you").wait_for()  # Until then the clips are those that were judged.
    page.get_by_text("The same 2 times in a row").wait_for()
    for left in (2, 1):
        page.locator(".clip img").nth(1).wait_for()
        page.keyboard.press("z")
        page.get_by_text(f"{left} by you").wait_for()
    saved_again = [one.label.content["share"] for one in labels.labelled("segments")]
    page.locator(".clip img").nth(1).wait_for()
    page.get_by_role("button", name="Left is better").click()
    saved(page, labels, 2)
    [alike, better] = [one.label.content["share"] for one in labels.labelled("segments")]
    who = page.get_by_role("button", name="Your name").inner_text().split()[-1]
    assert saved_again[0] == alike == 0.5 and better == 1 - shown_order(2, who, 2)[0]


def test_clips_are_put_in_order(visit: Callable[..., Any], labels: Labels) -> None:
    """By keys alone, and on a phone by touch alone; what is taken back stands as it was said."""
    angles = [[np.cos(x), np.sin(x), 0.0] for x in np.linspace(0, 1, 4)]
    asked = [[{"obs": angles, "action": [[float(i)]] * 3} for i in range(n, n + 4)] for n in (0, 4)]
    first, second = labels.add("segments", [{"segments": each} for each in asked])
    site = Site("up", labels, clips=Clips(rt.make("Pendulum-v1")), at_once=4, pages=("compare",))
    page = visit(site, "compare")
    page.get_by_text("Put the clips in order, the best first.").wait_for()
    page.locator(".clip img").nth(3).wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("Press the numbers of two clips or more").wait_for()
    for key in ("2", "4", "z", "3", "1", "="):
        page.keyboard.press(key)
    page.get_by_text("Nothing is said of those that are not ranked.").wait_for()
    shows(page, ".clip .rank", ["2. =", "1.", "2. =", ""])
    page.keyboard.press("Enter")
    saved(page, labels)
    told = lambda: {one.query.id: one.label.content["ranks"] for one in labels.labelled("segments")}  # noqa: E731
    shown = lambda query, name="Ana": [told()[query][i] for i in shown_order(query, name, 4)]  # noqa: E731
    assert shown(first) == [1, 0, 1, None]
    page.get_by_text("1 by you").wait_for()
    page.keyboard.press("z")
    page.get_by_text("0 by you").wait_for()
    shows(page, ".clip .rank", ["2. =", "1.", "2. =", ""])

    phone = visit(site, "compare", "Bea", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    phone.locator(".clip img").nth(3).wait_for()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    assert all(each.bounding_box()["y"] < 500 for each in phone.locator(".clip").all())
    for which in (3, 0):
        phone.locator(".clip").nth(which).tap()
        phone.locator(".clip .rank").nth(which).get_by_text(".").wait_for()
    phone.get_by_role("button", name="The rest is worse").tap()
    phone.locator(".clip .rank").nth(1).get_by_text("3. =").wait_for()
    phone.get_by_role("button", name="Save").tap()
    saved(phone, labels)
    assert shown(second, "Bea") == [1, 2, 2, 0]


def test_clips_are_rated(visit: Callable[..., Any], labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    """By keys alone, and on a phone, in another language, by touch alone; what is taken back comes back."""
    monkeypatch.setattr("retorno.web.comparing.SAME", 2)
    angles = [[np.cos(x), np.sin(x), 0.0] for x in np.linspace(0, 1, 4)]
    labels.add("segments", [{"segments": [{"obs": angles, "action": [[float(i)]] * 3}]} for i in range(4)])
    site = Site("up", labels, clips=Clips(rt.make("Pendulum-v1")), at_once=1, pages=("compare",))
    page = visit(site, "compare")
    page.get_by_text("How good is what this clip shows?").wait_for()
    for count, key in enumerate(("ArrowDown", "4", "4"), start=1):
        page.locator(".clip img").wait_for()
        page.keyboard.press("6")  # There are five levels.
        page.keyboard.press(key)
        saved(page, labels, count)
        page.get_by_text(f"{count} by you").wait_for()
    page.get_by_text("The same 2 times in a row: what is always rated alike teaches nothing.").wait_for()
    page.keyboard.press("z")
    page.get_by_text("2 by you").wait_for()

    phone = visit(site, "compare", "Bea", viewport={"width": 360, "height": 740}, has_touch=True, locale="es")
    phone.get_by_text("¿Cómo de bueno es lo que muestra este clip?").wait_for()
    phone.locator(".clip img").wait_for()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    assert phone.get_by_role("button", name="Puntuar con 1 de 5").inner_text() == "1 · mal"
    phone.get_by_role("button", name="Puntuar con 5 de 5").tap()
    saved(phone, labels, 3)
    told = [one.label.content for one in labels.labelled("segments")]
    assert told == [{"ratings": [x], "of": 5} for x in (None, 4, 5)]


def test_two_models_are_compared_blindly(visit: Callable[..., Any], labels: Labels) -> None:
    models = [Echo("herons", ["wade"]), Echo("owls", ["fly"])]
    page = visit(Site("two", labels, models, pages=("chat",)), "chat", viewport={"width": 390, "height": 800})
    field = page.locator("textarea")
    for number in (1, 2):
        field.fill("what do you do?")
        field.press("Enter")
        page.get_by_role("button", name="B is better").wait_for()
        said = page.locator(".pair").last.locator(".words").all_inner_texts()
        assert "herons" not in page.locator(".log").inner_text().split("A was")[0]
        page.keyboard.press("ArrowLeft" if said[0].startswith("fly") else "ArrowRight")
        page.get_by_text(f"Found better so far: herons 0 · owls {number} · equal 0").wait_for()
    records = list(people.rankings(labels))
    assert all(each["answers"][each["ranks"].index(0)].startswith("fly") for each in records) and len(records) == 2
    assert [each["role"] for each in records[1]["prompt"]] == ["user", "assistant", "user"]


def test_a_session_by_a_rule_teaches_a_reward_model(visit: Callable[..., Any], labels: Labels, tmp_path: Path) -> None:
    """Clicks rank the answers to forty prompts by how often they say "heron"; held-out prompts are judged so too."""
    rng = random.Random(0)
    count = 40
    worth = lambda text: text.count("heron")  # noqa: E731

    class Random:
        name = "random"

        def answer(self, prompt: Any, seed: int) -> Iterator[str]:
            yield " ".join(rng.choices(["heron", "owl"], k=4))

    made = Questions([f"bird {i}?" for i in range(count)], [Random()], answers=4, ahead=count)
    made.fill(labels)
    page = visit(Site("birds", labels, questions=made), "rank")
    for number in range(count):
        page.get_by_text(f"bird {number}?", exact=True).wait_for()
        cards = texts(page, ".rest")
        order = sorted(range(len(cards)), key=lambda i: -worth(cards[i]))
        before = None
        for i in order:
            page.keyboard.press(str(i + 1))
            if before is not None and worth(cards[i]) == worth(cards[before]):
                page.keyboard.press("=")
            before = i
        page.keyboard.press("Enter")
    page.get_by_text("There is nothing to do here just now").wait_for()
    records = list(people.rankings(labels))
    assert len(records) == count
    for each in records:
        for i, j in itertools.combinations(range(len(each["answers"])), 2):
            a, b = (worth(each["answers"][k]) for k in (i, j))
            assert np.sign(each["ranks"][i] - each["ranks"][j]) == np.sign(b - a)
    split = {"held_out": 0.3}
    world, held = (language.rankings(str(labels.where), LLAMA, **split, held=held) for held in (False, True))
    algorithm = rt.algorithms.RewardModel(network=rt.networks.GRU(), num_envs=16)
    with rt.train(algorithm, world, steps=6_000) as run:
        run.run_to_end()
    score, rank = np.asarray(scores(run.policy, held.lived.steps)), np.asarray(ranks_of(held.lived))
    right = [
        score.reshape(rank.shape)[p, i] > score.reshape(rank.shape)[p, j]
        for p in range(len(rank))
        for i, j in itertools.permutations(range(rank.shape[1]), 2)
        if 0 <= rank[p, i] < rank[p, j]
    ]
    assert len(right) > 20 and np.mean(right) > 0.8


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
"""Chromium's pipes are closed by its own end."""
