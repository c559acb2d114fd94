"""Finding the final answer in a reply: the marks that models put before it."""

from __future__ import annotations

import re

MAX_TAIL = 4000
"""Characters at the end of a reply that are searched: the answer stands there; a runaway reply stays cheap."""

_MARK = re.compile(r"(?:\*\*|__)?\b(?:final answer|answer|ANSWER)(?:\s+is)?(?:\*\*|__)?\s*[:：]\s*(?:\*\*|__)?", re.I)
_SENTENCE = re.compile(
    r"\b(?:the\s+)?(?:final\s+|correct\s+|best\s+)?(?:answer|option|choice)\s+(?:is|would be)\s*:?", re.I
)


def without_thinking(text: str) -> str:
    """A reply without its reasoning block (<think>…</think>); an unfinished block leaves only what stood before."""
    if "</think>" in text:
        return text.rsplit("</think>", 1)[1]
    return text.split("<think>", 1)[0]


def spoken_part(text: str) -> str:
    """The tail of a reply, reasoning left out."""
    return without_thinking(text)[-MAX_TAIL:]


def after_answer_marks(text: str) -> list[str]:
    """What follows each `Answer:`, the last first, up to the end of its line."""
    return [_line_from(text, match.end()) for match in reversed(list(_MARK.finditer(text)))]


def after_answer_sentences(text: str) -> list[str]:
    """What follows each "the answer is", the last first, up to the end of its line."""
    return [_line_from(text, match.end()) for match in reversed(list(_SENTENCE.finditer(text)))]


def last_boxed(text: str) -> str | None:
    """The content of the last \\boxed{} or \\fbox{} with balanced braces; None where there is none."""
    at = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    closes: dict[int, int] | None = None
    while at >= 0:
        brace = at + (6 if text.startswith("\\boxed", at) else 5)
        while brace < len(text) and text[brace] == " ":
            brace += 1
        if brace < len(text) and text[brace] == "{":
            closes = _closing_braces(text) if closes is None else closes
            if brace in closes:
                return text[brace + 1 : closes[brace]].strip()
        elif brace > at + 6 and brace < len(text):  # \boxed 5, \boxed $5$
            words = text[brace:].lstrip("$ ").split("$")[0].split()
            if words:
                return words[0]
        at = max(text.rfind("\\boxed", 0, at), text.rfind("\\fbox", 0, at))
    return None


def _line_from(text: str, start: int) -> str:
    line = text[start:].lstrip(" \t\n")
    return line.split("\n", 1)[0].strip()


def _closing_braces(text: str) -> dict[int, int]:
    """Where each opening brace is closed; found in one pass, as a runaway reply may open thousands. \\{ is no brace."""
    closes = {}
    opened = []
    for place, character in enumerate(text):
        if character in "{}" and text[place - 1 : place] != "\\":
            if character == "{":
                opened.append(place)
            elif opened:
                closes[opened.pop()] = place
    return closes
