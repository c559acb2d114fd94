"""Find benchmark questions in text: the index of their n-grams, and the rules that turn shared n-grams into
findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from reread.decontaminate import patterns
from reread.decontaminate.patterns import Pattern, Target
from reread.decontaminate.tables import Tables
from reread.decontaminate.tokens import Tokens, tokenize
from reread.errors import UsageError
from reread.types import Document, Question

Rule = Literal["containment", "any"]
RULES: tuple[Rule, ...] = ("containment", "any")
KINDS = ("stem+answer", "stem", "short", "statement")
"""Kinds of findings, the surest first."""
DEFAULT_THRESHOLD = 0.8
"""Below it lie, in the MATH corpus, problems that share a diagram or a long definition with a MATH-500
item."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A question found in a text."""

    question_id: str
    benchmark: str
    kind: str
    """"stem" (n-grams of the stem), "stem+answer" (and an accepted answer after it), "short" (a short stem,
    whole, with its answer), "statement" (a cloze with its answer directly after it; see patterns.py)."""
    score: float
    """Share of the question's n-grams found here, in (0, 1]."""
    start: int
    end: int
    """Character offsets into the text searched."""
    text: str
    """The matched span as it stands there."""
    field: str = "text"
    """"text", or "title" where the span begins in the document's title; offsets are the field's own."""


class QuestionIndex:
    """The n-grams of a set of questions, ready to be looked up in any amount of text.

    ngram: tokens per n-gram; None takes each benchmark's own (`ngram_for`). rule: "containment" (a question
    is found where at least `threshold` of its n-grams stand close together; short questions by the rules of
    patterns.py) or "any" (the paper's plain rule: one shared n-gram is enough, nothing is discounted, and a
    stem shorter than n can never be found). Memory: about 40 bytes an n-gram. Raises UsageError for a rule,
    threshold or n out of range.
    """

    def __init__(
        self,
        questions: Iterable[Question],
        *,
        ngram: int | None = None,
        rule: Rule = "containment",
        threshold: float = DEFAULT_THRESHOLD,
    ) -> None:
        if rule not in RULES:
            raise UsageError(f"no decontamination rule {rule!r}; choose one of {', '.join(RULES)}")
        if not 0 < threshold <= 1:
            raise UsageError(f"the containment threshold is {threshold}; it must lie in (0, 1]")
        if ngram is not None and not patterns.MIN_NGRAM <= ngram <= patterns.MAX_NGRAM:
            raise UsageError(
                f"n-grams of {ngram} tokens are not possible; choose {patterns.MIN_NGRAM} to {patterns.MAX_NGRAM}"
            )
        self.rule, self.threshold, self.ngram = rule, threshold, ngram
        self.targets: list[Target] = []
        self._patterns: list[Pattern] = []
        stem_keys: list[int] = []
        for question in questions:
            n_tokens = self.ngram_of(question.benchmark)
            target, own = patterns.describe(question, len(self.targets), n_tokens, threshold, rule)
            stem_keys.append(int(tokenize(patterns.stem_of(question)).prefix[-1]))
            self.targets.append(target)
            self._patterns.extend(own)
        if rule == "containment":
            self._patterns = patterns.discount_templates(self._patterns, self.targets, stem_keys)
        self._tables = Tables(self._patterns)
        self._subjects = {(target.benchmark, target.question_id): target.subject for target in self.targets}

    def __len__(self) -> int:
        return len(self.targets)

    def ngram_of(self, benchmark: str) -> int:
        """Tokens per n-gram used for a benchmark."""
        return self.ngram or patterns.ngram_for(benchmark)

    def coverage(self) -> dict[str, Counter[str]]:
        """For each benchmark, how many questions can be found by n-grams, as short ones, or not at all."""
        covered: dict[str, Counter[str]] = {}
        for target in self.targets:
            covered.setdefault(target.benchmark, Counter())[target.coverage] += 1
        return covered

    def subject_of(self, benchmark: str, question_id: str) -> str:
        """The subject of a question of this index."""
        return self._subjects[benchmark, question_id]

    def find(self, text: str) -> list[Finding]:
        """Every question found in the text, by position; a question that stands there twice is found
        twice."""
        tokens = tokenize(text)
        positions, grams = self._tables.scan(tokens)
        if not len(positions):
            return []
        findings = [
            finding
            for row, places in self._tables.by_pattern(positions, grams).items()
            for finding in self._judge(self._patterns[row], places, tokens, text)
        ]
        return _without_overlaps(findings)

    def find_in(self, document: Document) -> list[Finding]:
        """`find` over a document's title and text: a question may be the title and its answer the text."""
        if not document.title:
            return self.find(document.text)
        offset = len(document.title) + 2
        found = []
        for finding in self.find(f"{document.title}\n\n{document.text}"):
            in_title = finding.start < len(document.title)
            start = finding.start if in_title else finding.start - offset
            end = min(finding.end, len(document.title)) if in_title else finding.end - offset
            text = (document.title if in_title else document.text)[start:end]
            found.append(
                Finding(
                    finding.question_id,
                    finding.benchmark,
                    finding.kind,
                    finding.score,
                    start,
                    end,
                    text,
                    "title" if in_title else "text",
                )
            )
        return found

    def _judge(
        self, pattern: Pattern, places: Sequence[tuple[int, int]], tokens: Tokens, text: str
    ) -> Iterator[Finding]:
        """The findings that one pattern's matched windows (token position, window) amount to."""
        target = self.targets[pattern.target]
        for cluster in _clusters(places, max(pattern.length, target.n_stem)):
            score = len({gram for _, gram in cluster}) / len(pattern.grams)
            if score < pattern.threshold and self.rule == "containment":
                continue
            first, last = cluster[0][0], cluster[-1][0] + pattern.length
            kind, answer_end = self._answer(pattern, target, tokens, last, text)
            if pattern.needs_answer and answer_end is None:
                continue
            start, end = int(tokens.starts[first]), int(tokens.ends[max(last, answer_end or 0) - 1])
            yield Finding(target.question_id, target.benchmark, kind, round(score, 4), start, end, text[start:end])

    def _answer(
        self, pattern: Pattern, target: Target, tokens: Tokens, after: int, text: str
    ) -> tuple[str, int | None]:
        """The finding's kind, and the token after the answer that follows token `after` (None: no answer)."""
        if pattern.kind == "joined":
            return "stem+answer", None
        if not pattern.needs_answer:
            window = patterns.ANSWER_WINDOW + target.n_options_tokens
            end = _first_occurrence(tokens, target.answers, after, after + window)
            return ("stem" if end is None else "stem+answer"), end
        if pattern.ending != "open":
            n_stem = max(target.n_stem, pattern.length)
            window = max(patterns.WINDOW_PER_STEM_TOKEN * n_stem, target.n_options_tokens)
            if pattern.ending == "mark" and not _has_mark(tokens, after, text):
                return "short", None
            return "short", _first_occurrence(tokens, target.answers, after, after + window)
        list_end = after + target.n_options_tokens
        listed = [_first_occurrence(tokens, [option], after, list_end) for option in target.wrong_options]
        wrong = [end for end in listed if end is not None]
        answer = _first_occurrence(tokens, target.answers, after, list_end)
        if answer is not None and wrong and 2 * len(wrong) >= len(listed):
            return "short", max(answer, *wrong)
        ends = [
            after + gap + length
            for gap in range(patterns.TOKENS_BEFORE_ANSWER + 1)
            for length, key in target.answers
            if np.uint64(key) in tokens.windows(length, after + gap, after + gap + length)
        ]
        return "statement", min(ends, default=None)


def _clusters(places: Sequence[tuple[int, int]], gap: int) -> Iterator[Sequence[tuple[int, int]]]:
    """Runs of matched windows no further than `gap` tokens apart."""
    begin = 0
    for i, (before, after) in enumerate(pairwise(places), 1):
        if after[0] - before[0] > gap:
            yield places[begin:i]
            begin = i
    yield places[begin:]


def _has_mark(tokens: Tokens, after: int, text: str) -> bool:
    """Whether a question mark stands between token `after` and the one before it."""
    stop = int(tokens.starts[after]) if after < len(tokens) else len(text)
    return any(mark in text[int(tokens.ends[after - 1]) : stop] for mark in patterns.QUESTION_MARKS)


def _first_occurrence(tokens: Tokens, wanted: Sequence[tuple[int, int]], start: int, stop: int) -> int | None:
    """The end (token) of whichever wanted sequence stands first within tokens [start, stop), or None."""
    best: tuple[int, int] | None = None
    for length, key in wanted:
        places = np.flatnonzero(tokens.windows(length, start, stop) == np.uint64(key))
        if len(places) and (best is None or places[0] < best[0]):
            best = int(places[0]), start + int(places[0]) + length
    return None if best is None else best[1]


def _without_overlaps(findings: list[Finding]) -> list[Finding]:
    """By position; of one question's findings that overlap, the best scored, surest and longest stays."""
    kept: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda f: (-f.score, KINDS.index(f.kind), f.start - f.end, f.start)):
        others = kept.setdefault(f"{finding.benchmark}\x1f{finding.question_id}", [])
        if all(finding.end <= other.start or finding.start >= other.end for other in others):
            others.append(finding)
    return sorted((f for own in kept.values() for f in own), key=lambda f: (f.start, f.end, f.question_id))
