"""In what forms a benchmark question is planted, and what only looks like one: for decontamination_planted.py.

Every form is made by rule from a random generator, so that a run is repeated by its seed.
"""

from __future__ import annotations

import html
import random
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reread.questions import LETTERS, accepted_texts
from reread.types import Question

WORD = re.compile(r"\w+")
NUMBER = re.compile(r"(?<![\w\\])\d+(?:\.\d+)?(?!\w)")


@dataclass(frozen=True)
class Item:
    """A question as text: what an exam page would have."""

    stem: str
    options: str
    answer: str

    @property
    def text(self) -> str:
        return "\n".join(part for part in (self.stem, self.options, self.answer) if part)


def item_of(question: Question, rng: random.Random) -> Item:
    """Stem, lettered options, and the answer: always of an open question, of every second one with options."""
    meta_stem = question.meta.get("stem")
    stem = meta_stem if isinstance(meta_stem, str) else question.text
    answers = accepted_texts(question)
    if question.choices is None:
        return Item(stem, "", f"Answer: {answers[0]}" if answers else "")
    options = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, question.choices, strict=False))
    return Item(stem, options, f"Answer: {question.answers[0]}" if rng.random() < 0.5 else "")


def normal_words(text: str) -> tuple[str, ...]:
    """Lower-case words, by one regular expression: what decides that two items are the same, apart from the tool."""
    return tuple(WORD.findall(text.lower()))


# Forms of a copy


def edited(share: float, foreign: Sequence[str]) -> Callable[[Item, random.Random], str]:
    """That share of the words of stem and options (at least one) replaced by foreign words (half), dropped,
    doubled by a foreign word, or swapped with the next (a sixth each); the answer line stays."""

    def edit(item: Item, rng: random.Random) -> str:
        words = re.split(r"(\s+)", "\n".join(part for part in (item.stem, item.options) if part))
        places = [i for i, word in enumerate(words) if WORD.search(word)]
        # Options' letters are no words of the item.
        places = [i for i in places if not re.fullmatch(r"[A-Z]\.", words[i])] or places
        n_edits = max(1, round(share * len(places)))
        for place in rng.sample(places, min(n_edits, len(places))):
            kind = rng.choice(("replace", "replace", "replace", "drop", "insert", "swap"))
            if kind == "replace":
                words[place] = rng.choice(foreign)
            elif kind == "drop":
                words[place] = ""
            elif kind == "insert":
                words[place] += f" {rng.choice(foreign)}"
            elif place + 2 < len(words):
                words[place], words[place + 2] = words[place + 2], words[place]
        return "".join(words) + (f"\n{item.answer}" if item.answer else "")

    return edit


def rewrapped(item: Item, rng: random.Random) -> str:
    """Other line breaks: 24 to 70 columns, quoted, indented or neither."""
    mark = rng.choice(("", "    ", "> ", "\t"))
    lines = [textwrap.fill(part, rng.randint(24, 70), break_long_words=False) for part in item.text.split("\n")]
    return textwrap.indent("\n".join(lines), mark, lambda _: True)


def latex_variant(item: Item, rng: random.Random) -> str:
    r"""Spacing, \frac as \dfrac, \left and \right dropped or added, $ as \( \), x^2 as x^{2}, x_1 as x_{1}."""
    text = item.text
    text = text.replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac")
    text = text.replace(r"\frac", rng.choice((r"\dfrac", r"\tfrac", r"\frac")))
    if r"\left" in text:
        text = re.sub(r"\\(?:left|right)(?![a-zA-Z])\s*", "", text)
    else:
        text = re.sub(r"(?<!\\)\((?=[^()$]*\))", lambda _: r"\left(", text)
        text = re.sub(r"(\\left\([^()$]*)(?<!\\)\)", lambda match: match[1] + r"\right)", text)
    text = re.sub(r"([\^_])(\w)", r"\1{\2}", text)
    text = re.sub(r"\s*([=+<>])\s*", r" \1\\, ", text)
    text = text.replace(r"\,", rng.choice((r"\,", " ", r"\;"))).replace(r"\cdot", r"\times")
    if rng.random() < 0.5:
        text = re.sub(r"\$([^$]+)\$", r"\\(\1\\)", text)
    return text


def markup_variant(item: Item, rng: random.Random) -> str:
    """Markdown emphasis and lists, or HTML with entities and curly quotes."""
    if rng.random() < 0.5:
        words = item.stem.split(" ")
        for place in rng.sample(range(len(words)), max(1, len(words) // 6)):
            words[place] = f"{mark}{words[place]}{mark}" if (mark := rng.choice(("**", "_", "`"))) else ""
        options = re.sub(r"^([A-Z])\. ", r"- (\1) ", item.options, flags=re.MULTILINE)
        return "\n".join(part for part in ("### " + " ".join(words), options, f"**{item.answer}**") if part)
    text = html.escape(item.text).replace("&#x27;", "&rsquo;").replace("\n", "<br/>\n")
    return "<p>" + re.sub(" ", lambda _: "&nbsp;" if rng.random() < 0.15 else " ", text) + "</p>"


REWORDINGS = {
    "which of the following": "which one of these",
    "what is": "find",
    "is the value of": "does one get for",
    "compute": "work out",
    "calculate": "work out",
    "find": "determine",
    "determine": "work out",
    "evaluate": "compute",
    "how many": "what number of",
    "how much": "what amount of",
    "who was": "name the person who was",
    "who is": "name the person who is",
    "in what year": "when",
    "what year": "when",
    "most likely": "probably",
    "because": "since",
    "would": "will",
    "must": "has to",
    "cannot": "is not able to",
    "begins": "starts",
    "contains": "holds",
    "each": "every",
    "large": "big",
    "small": "little",
    "approximately": "about",
    "total": "overall",
    "also": "as well",
    "often": "frequently",
    "obtain": "get",
    "students": "pupils",
    "person": "individual",
    "show": "demonstrate",
    "help": "assist",
    "used": "employed",
    "called": "known as",
    "best describes": "describes most accurately",
    "example": "instance",
    "result": "outcome",
    "start": "begin",
    "buys": "purchases",
    "make": "produce",
    "write": "give",
    "function": "routine",
}
"""A rule-made paraphrase: these words are exchanged and the clauses of a long first sentence change places."""


def reworded(item: Item, rng: random.Random) -> str:
    """By REWORDINGS; no model. The share of words that it changes is told with the results."""
    pattern = re.compile(r"\b(" + "|".join(sorted(REWORDINGS, key=len, reverse=True)) + r")\b", re.IGNORECASE)
    stem = pattern.sub(lambda match: REWORDINGS[match[0].lower()], item.stem)
    sentences = re.split(r"(?<=[.?!])\s+", stem)
    if len(sentences) > 2:
        sentences = [*sentences[1:-1], sentences[0], sentences[-1]]
    elif ", " in stem and stem.endswith("?"):
        first, _, rest = stem.partition(", ")
        sentences = [f"{rest.rstrip('?')}, {first[:1].lower()}{first[1:]}?"]
    return "\n".join(part for part in (" ".join(sentences), item.options, item.answer) if part)


def other_numbers(item: Item, rng: random.Random) -> str:
    """The same words with every number changed, answer and options too."""

    def change(match: re.Match[str]) -> str:
        old = match[0]
        if "." in old:
            return f"{float(old) + rng.randint(1, 9):.{len(old.partition('.')[2])}f}"
        return str(int(old) + rng.randint(1, 9 if len(old) == 1 else 60))

    return NUMBER.sub(change, item.text)


# What looks like a question of the benchmark


def shared_openings(questions: Sequence[Question], n_words: int = 8, n_stems: int = 3) -> list[str]:
    """The first words that at least `n_stems` different stems share, at least `n_words` of them, as they stand."""
    starts: dict[tuple[str, ...], str] = {}
    counts: Counter[tuple[str, ...]] = Counter()
    for stem in {question.text for question in questions}:
        words = list(WORD.finditer(stem))
        for n in range(n_words, min(len(words), 40)):
            key = tuple(word[0].lower() for word in words[:n])
            counts[key] += 1
            starts.setdefault(key, stem[: words[n - 1].end()])
    shared = {key for key, count in counts.items() if count >= n_stems}
    # Only the longest of those that begin alike.
    inner = {key[:-1] for key in shared}
    return sorted(starts[key] for key in shared - inner)
