"""Answers of multiple-choice questions: the letter, in the formats models produce, or the option's text."""

from __future__ import annotations

import re

from reread.questions import LETTERS
from reread.scoring.short import normalise
from reread.scoring.text import after_answer_marks, after_answer_sentences, last_boxed, spoken_part
from reread.types import Question

_COMMAND = re.compile(r"^\\(?:text|mathrm|textbf|mathbf|boxed)\s*\{\s*([A-Za-z])\s*\}")

_AFTER_LETTER = ")].:,;*$`\"'”’}<\\"
"""What may follow a letter that is an answer, besides white space."""
_LETTER = re.compile(
    r"(?:(?:option|choice|letter)\s+)?(?P<bracket>\(?)\s*\**(?P<letter>[A-Za-z])\**\s*"
    r"(?=$|\s|[" + re.escape(_AFTER_LETTER) + r"]|[-–—(]\s)",
    re.I,
)


class LetterScorer:
    """Reads a letter. Order of trust: the last `Answer: X`, the last \\boxed{X}, the last "the answer is
    X", a reply that is only a letter (with its option), an option's text after a mark or as the whole
    reply."""

    kind = "letter"

    def extract(self, text: str, question: Question) -> str | None:
        """The letter ("A", "B", ...) of one of the question's options, or None."""
        n = len(question.choices or LETTERS[:26])
        text = spoken_part(text)
        marked = after_answer_marks(text)
        boxed = last_boxed(text)
        for candidate in [*marked, *([boxed] if boxed else []), *after_answer_sentences(text)]:
            letter = _leading_letter(candidate, n) or _option_of(candidate, question)
            if letter is not None:
                return letter
        return _whole_reply(text, question, n)

    def score(self, answer: str | None, question: Question) -> float:
        """1.0 for an accepted letter, else 0.0."""
        return float(answer is not None and answer in question.answers)

    def same(self, a: str, b: str) -> bool:
        """Letters are the same when they are equal."""
        return a == b


class ChoiceTextScorer(LetterScorer):
    """For readers that answer with the option's own text: the option named, else the letter."""

    kind = "choice-text"

    def extract(self, text: str, question: Question) -> str | None:
        """The letter of the option whose text the reply's first line is or contains alone, or None."""
        spoken = spoken_part(text).strip()
        first = spoken.split("\n", 1)[0]
        return _option_of(first, question) or _named_once(first, question) or super().extract(text, question)


def _leading_letter(text: str, n: int) -> str | None:
    """A letter at the start: `B`, `(B)`, `**B**`, `B) Paris`, `$B$`, `\\text{B}`; not the `A` of "A dog"."""
    text = text.lstrip(" *_$`\"'“‘[").removeprefix("\\(")
    text = _COMMAND.sub(r"\1", text)
    match = _LETTER.match(text)
    if match is None or match["letter"].upper() not in LETTERS[:n]:
        return None
    letter, rest = match["letter"], text[match.end() :]
    stands_alone = bool(match["bracket"]) or not rest or rest[0] in _AFTER_LETTER
    # "A dog", "I think", "b or so": a word of a sentence, not a letter.
    if not stands_alone and (letter.islower() or (letter in "AI" and rest.lstrip()[:1].islower())):
        return None
    return letter.upper()


def _option_of(text: str, question: Question) -> str | None:
    """The letter of the only option that equals the text, both normalised."""
    wanted = normalise(text)
    if not wanted or question.choices is None:
        return None
    found = [LETTERS[i] for i, choice in enumerate(question.choices) if normalise(choice) == wanted]
    return found[0] if len(found) == 1 else None


def _named_once(text: str, question: Question) -> str | None:
    """The letter of the only option whose text stands in the given text."""
    spaced = f" {normalise(text)} "
    options = [f" {normalise(choice)} " for choice in question.choices or ()]
    found = [i for i, option in enumerate(options) if option.strip() and option in spaced]
    # An option inside another named one ("iron" in "iron oxide") is not named itself.
    found = [i for i in found if not any(i != j and options[i] in options[j] for j in found)]
    return LETTERS[found[0]] if len(found) == 1 else None


def _whole_reply(text: str, question: Question, n: int) -> str | None:
    lines = [line.strip() for line in text.strip().split("\n") if line.strip()]
    if not lines:
        return None
    only = _option_of(text, question)
    if only is not None:
        return only
    for line in dict.fromkeys((lines[-1], lines[0])):
        bare = line.strip(" *_$`\"'()[].:,")
        if len(bare) == 1 and bare.upper() in LETTERS[:n]:
            return bare.upper()
        match = re.match(r"^[*_(\[]*([A-Z])[*_]*[).\]:][*_]*(?:\s|$)", line)
        if match and match[1] in LETTERS[:n]:
            return match[1]
        named = _option_of(line, question)
        if named is not None:
            return named
    return None
