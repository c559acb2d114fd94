"""Is the accepted answer in a passage? By the scorer's own equivalence where a text can be searched for it.

Short answers and options: as whole words, in either of two normal forms of both texts: the scorer's (lower case,
without punctuation and articles: "U.S.A." is "usa") and word by word (punctuation parts words, accents are dropped:
"Barcelona-based" holds "Barcelona"). Numbers: by value ("1,000" is 1000.0). Mathematics: the same LaTeX, spelled in one
way, within a formula of the passage; math-verify's equivalences beyond that are not looked for.

What may stand anywhere tells nothing. An answer is *too cheap to tell* where it is a number of fewer than three
significant digits (2, 100), has no word of more than two letters ("a", "pH"), is made of yes, no, true, false, none,
all, both and the like ("none of the above", "both A and B"), is LaTeX of fewer than four signs, or is a program. Such
questions are counted apart. Longer answers stand in passages by chance too: audit.py measures how often.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from reread.evaluation.recall import words_of
from reread.questions import LETTERS
from reread.scoring.latex import squeeze
from reread.scoring.number import numbers_in, value_of
from reread.scoring.short import normalise

MIN_DIGITS = 3
"""Significant digits of a number that can tell."""
MIN_LETTERS = 3
"""Letters of the longest word of a text that can tell."""
MIN_SIGNS = 4
"""Signs of a formula that can tell."""

_EVERYWHERE = frozenset(
    {
        *("a", "an", "the", "yes", "no", "not", "true", "false", "none", "all", "both", "neither", "either", "only"),
        *("of", "above", "below", "these", "those", "and", "or", "is", "are", "it", "be", "cannot", "determined"),
        *("answer", "answers", "correct", "incorrect", "right", "wrong", "option", "options", "choice"),
        *("statement", "statements", "i", "ii", "iii", "iv", "b", "c", "d", "e", "f"),
    }
)
"""Words that name no fact: an answer made of them alone stands anywhere, or nowhere."""
_FORMULA = re.compile(r"\$\$(.{1,500}?)\$\$|\$([^$\n]{1,500})\$|\\\((.{1,500}?)\\\)|\\\[(.{1,500}?)\\\]", re.S)
"""Formulas of up to 500 signs: a passage may open thousands and close none."""


@dataclass(frozen=True, slots=True)
class Gold:
    """What a passage must hold: one of these."""

    words: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()
    """Short answers in the scorer's normal form."""
    values: tuple[Fraction, ...] = ()
    formulas: tuple[str, ...] = ()


class PassageText:
    """A passage's text in the normal forms that are looked into, each made once, when first asked for."""

    def __init__(self, title: str, text: str) -> None:
        self._parts = (title, text)

    @cached_property
    def words(self) -> str:
        return " \n ".join(("", *map(words_of, self._parts), ""))

    @cached_property
    def scored(self) -> str:
        return " \n ".join(("", *map(normalise, self._parts), ""))

    @cached_property
    def values(self) -> frozenset[Fraction]:
        found = (value_of(number) for part in self._parts for number in numbers_in(part))
        return frozenset(value for value in found if value is not None)

    @cached_property
    def formulas(self) -> tuple[str, ...]:
        spans = (span for part in self._parts for found in _FORMULA.findall(part) for span in found if span)
        return tuple(squeeze(span) for span in spans)

    def holds(self, gold: Gold) -> bool:
        """Whether any of the answer's forms stands in it."""
        return (
            any(f" {words} " in self.words for words in gold.words)
            or any(f" {scored} " in self.scored for scored in gold.scored)
            or (bool(gold.values) and not self.values.isdisjoint(gold.values))
            or (bool(gold.formulas) and any(_within(own, span) for own in gold.formulas for span in self.formulas))
        )


def gold_of(question: Mapping[str, Any], kind: str) -> Gold | None:
    """What to look for, of a row of questions.jsonl; None where its answers are too cheap to tell, or are programs.

    Of several accepted answers those that tell are looked for; a letter that names no option is passed over.
    """
    if kind == "code":
        return None
    answers = [str(answer) for answer in question.get("answers") or ()]
    choices = question.get("choices")
    texts = _options(answers, choices) if choices else answers
    words: list[str] = []
    scored: list[str] = []
    values: list[Fraction] = []
    formulas: list[str] = []
    for text in texts:
        value = value_of(text)
        if value is not None:
            if _significant_digits(text) >= MIN_DIGITS:
                values.append(value)
        elif kind == "latex" or _is_formula(text):
            formula = squeeze(text)
            if len(re.sub(r"\\[A-Za-z]+", "x", formula)) >= MIN_SIGNS:
                formulas.append(formula)
        elif _tells(plain := words_of(text)):
            words.append(plain)
            if normal := normalise(text):
                scored.append(normal)
    if not (words or scored or values or formulas):
        return None
    return Gold(tuple(words), tuple(scored), tuple(values), tuple(formulas))


def _options(answers: Sequence[str], choices: Sequence[Any]) -> list[str]:
    places = (LETTERS.find(letter) if len(letter) == 1 else -1 for letter in answers)
    return [str(choices[place]) for place in places if 0 <= place < len(choices)]


def _tells(words: str) -> bool:
    own = [word for word in words.split() if word not in _EVERYWHERE]
    letters = max((len(re.sub(r"[\W\d_]", "", word)) for word in own), default=0)
    digits = sum(character.isdigit() for word in own for character in word)
    return letters >= MIN_LETTERS or digits >= MIN_DIGITS


def _is_formula(text: str) -> bool:
    return "\\" in text and bool(re.search(r"\\[A-Za-z]+", text))


def _significant_digits(number: str) -> int:
    """Digits less the zeros before and, of whole numbers, behind: 100 has one, 3.10 three, 0.05 one."""
    digits = "".join(c for c in number if c.isdigit() or c == ".").lstrip("0.")
    return len((digits if "." in number else digits.rstrip("0")).replace(".", ""))


def _within(formula: str, span: str) -> bool:
    """Whether the formula stands in the span and is no part of a longer number or name there."""
    return re.search(rf"(?<![0-9A-Za-z.]){re.escape(formula)}(?![0-9A-Za-z])", span) is not None
