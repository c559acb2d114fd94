"""Numbers: the last one after the mark that announces it, compared by value."""

from __future__ import annotations

import re
from fractions import Fraction

from reread.scoring.text import after_answer_marks, after_answer_sentences, last_boxed, spoken_part
from reread.types import Question

_IN_TEXT = re.compile(r"(?<![\w.])[-−]?\$?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+|/[1-9]\d*)?")
MAX_DIGITS = 60


class NumberScorer:
    """Reads the number after `####`, in \\boxed{}, after `Answer:` or "the answer is", else the last one."""

    kind = "number"

    def extract(self, text: str, question: Question) -> str | None:
        """The number without thousands separators and units ("1234.5"), or None."""
        text = spoken_part(text)
        boxed = last_boxed(text)
        places = [
            *([text.rsplit("####", 1)[1]] if "####" in text else []),
            *([boxed] if boxed is not None else []),
            *after_answer_marks(text),
            *after_answer_sentences(text),
        ]
        for place in places:
            found = numbers_in(place)
            if found:
                return found[-1] if "=" in place else found[0]
        found = numbers_in(text)
        return found[-1] if found else None

    def score(self, answer: str | None, question: Question) -> float:
        """1.0 where the values are equal, else 0.0."""
        return float(answer is not None and any(self.same(answer, gold) for gold in question.answers))

    def same(self, a: str, b: str) -> bool:
        """Whether both name the same value: 1,000 = 1000.0, 1/2 = 0.5."""
        first, second = value_of(a), value_of(b)
        return first == second if first is not None and second is not None else a.strip() == b.strip()


def numbers_in(text: str) -> list[str]:
    """The numbers of a text in order, without thousands separators and units."""
    found = (match[0].replace(",", "").replace("$", "").replace("−", "-") for match in _IN_TEXT.finditer(text))
    return [number for number in found if len(number) <= MAX_DIGITS]


def value_of(text: str) -> Fraction | None:
    """The value of a text that is one number ("1,000", "$3.50", "1/2", "20%" as 20); None for any other."""
    cleaned = text.strip().replace(",", "").replace("$", "").replace("−", "-").removesuffix("%").strip()
    if len(cleaned) > MAX_DIGITS or not re.fullmatch(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:/[1-9]\d*)?", cleaned):
        return None
    if "/" in cleaned and "." in cleaned:
        return None
    return Fraction(cleaned)
