"""Text that somebody else wrote, on a page: as text alone, whatever it holds."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from nicegui import ui

from retorno.web.words import say

Prompt = str | Sequence[Mapping[str, str]]
"""A text, or messages of a conversation."""
AT_FIRST = 3000
"""Characters of a long text that are shown before somebody asks for all of them."""
TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""What turns the direction of writing and may run on into what follows."""


def harmless(text: str) -> str:
    r"""Text as it may stand on a page: control characters, turns of direction and half characters are spelled out.

    HTML needs no care here: pages set text as text.

    >>> harmless("a\u202eb\x00\ud800\n")
    'a\\u202eb\\x00\\ud800\n'
    """
    return "".join(
        letter.encode("unicode_escape").decode()
        if ord(letter) in TURNING or (unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t")
        else letter
        for letter in text
    )


def show_text(text: str, language: str) -> ui.element:
    """A text in a box of its own; of a long one the beginning, and a button for the rest."""
    safe = harmless(text)
    with ui.element("div").classes("text") as box:
        box.props('dir="auto"')
        if len(safe) <= AT_FIRST * 1.2:
            ui.label(safe).classes("words")
        else:
            words = ui.label(safe[:AT_FIRST] + " …").classes("words")

            def more() -> None:
                words.set_text(safe)
                button.delete()

            said = say(language, "show_all", count=f"{len(safe):,}")
            button = ui.button(said, on_click=more).props("flat dense no-caps").classes("more")
            button.on("click", js_handler="(event) => event.stopPropagation()")
    return box


def show_prompt(prompt: Prompt, language: str) -> None:
    """A prompt; of a conversation each message, under who says it."""
    with ui.element("section").classes("prompt"):
        if isinstance(prompt, str):
            show_text(prompt, language)
            return
        for message in prompt:
            role = message["role"]
            known = role in ("system", "user", "assistant", "tool")
            ui.label(say(language, role) if known else harmless(role)).classes("role")
            show_text(message["content"], language)
