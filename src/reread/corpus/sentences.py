"""Where sentences end: one pass of one regular expression over the text, then a few checks at each candidate.

A sentence ends at `.`, `!`, `?` or `…` (with closing quotes and brackets) before white space and a word that does not
begin in lower case; at `。！？` wherever they stand; and at the ends of lines that are no hard wraps: before a blank
line, before a list item, heading or table row, after a heading, and after a line that is not of a hard wrap's width.
A full stop behind an abbreviation, an initial or an acronym ends none unless what follows says so.

The rules are those that rule-based splitters share (Sadvilkar and Neumann 2020, "PySBD", lists the cases); they are
written for passages, where a missed end costs little and speed counts: `benchmarks/chunking.py` measures both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

CLOSERS = "\"'”’»)\\]}*_"
"""What may stand between a sentence's last mark and the white space: quotes, brackets, Markdown emphasis."""

OPENERS = "\"'“‘«([{*_¿¡"

_CANDIDATE = re.compile(
    rf"[.!?…\n。！？]"
    rf"(?:(?<=\n)\s*"
    rf"|(?<=[。！？])[。！？]*[”’」』）》]*\s*"
    rf"|(?<=[.!?…])(?<![.!?…].)[.!?…]*+[{CLOSERS}]*+\s+)"
)
# Only the first mark of a run begins a candidate, and nothing backtracks: a megabyte of dots is read once.

_LINE_MARK = re.compile(r"(?:[-*+•‣◦·–—]\s|#{1,6}\s|\||>|\(?\d{1,3}[.)]\s|\(?[a-zA-Z][.)]\s|```|\$\$)")
"""What begins a list item, a heading, a table row, a quotation or a block."""

_BEFORE = re.compile(rf"[^\s{OPENERS}\-–—/]*\Z")

HARD_WRAP = range(50, 101)
"""Widths of a line (characters) after which a single line break reads as a hard wrap, not as an end."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEVER_ENDS = _words(
    "mr mrs ms dr prof rev fr hon gen col maj capt lt sgt sen rep gov pres st ste mt messrs mme mlle herr "
    "v vs cf viz e.g i.e eg ie approx ca resp fig figs eq eqs eqn sec ch chap vol ed eds pp ref refs thm prop def "
    "jan feb mar apr jun jul aug sep sept oct nov dec univ dept assn bros op cit nat proc bzw z.b d.h u.a"
)
"""Abbreviations, in lower case and without their last full stop, that do not end a sentence."""

ENDS_BEFORE_WORDS = _words("no nos p art al jr sr inc ltd co corp etc est tel ext")
"""Abbreviations that end a sentence where a word follows, and do not where a digit or bracket does (`No. 5`)."""

STARTERS = _words(
    "the a an this that these those it its he she they we you i his her their our my in on at for from by with as if "
    "when while after before since although though however but and or so then there here what which who why how where "
    "all some many most several each every both no not one two such other another"
)
"""Words that begin a sentence when they stand in upper case behind an acronym or an initial (`the U.S. The`)."""

_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]\Z")
_WORD = re.compile(r"[\w']*")


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of every sentence, in order, without the white space around it; together all text that is not space.

    A sentence here is never empty. Text with no sentence ends is one sentence.
    """
    start = len(text) - len(text.lstrip())
    for match in _CANDIDATE.finditer(text, start):
        after = match.end()
        if after == len(text):
            break
        if _ends(text, match.start(), after):
            end = start + len(text[start:after].rstrip())
            if end > start:
                yield start, end
            start = after
    end = len(text.rstrip())
    if end > start:
        yield start, end


def _ends(text: str, mark: int, after: int) -> bool:
    """Whether a sentence ends at the candidate from `mark` to `after`, the first character of what follows."""
    kind = text[mark]
    if kind == "\n":
        return _line_ends(text, mark, after)
    follows = text[after]
    if kind in "。！？":
        return True
    if follows in ".!?…" or (follows == "|" and "\n" not in text[mark:after]):
        # Dots with spaces between them; a cell of a table row.
        return False
    if follows.islower():
        # "What?" he asked. But a list item may begin in lower case.
        return "\n" in text[mark:after] and (text.count("\n", mark, after) > 1 or bool(_LINE_MARK.match(text, after)))
    if kind != ".":
        return True
    return text[mark + 1] == "." or _full_stop_ends(text, mark, after, follows)


def _full_stop_ends(text: str, mark: int, after: int, follows: str) -> bool:
    word = _BEFORE.search(text, max(0, mark - 24), mark).group()  # type: ignore[union-attr]  # \Z always matches
    if len(word) > 6 or not word:
        return True
    if text.count("\n", mark, after) > 1:
        return True
    lower = word.lower()
    if lower in NEVER_ENDS:
        return False
    if lower in ENDS_BEFORE_WORDS:
        return not (follows.isdigit() or follows in "(#§")
    if word.isdigit():
        # "1. Introduction": an item's number at the start of a line, or of the text.
        before = text[max(0, mark - len(word) - 9) : mark - len(word)].rstrip(" \t")
        return bool(before) and before[-1] != "\n"
    if _INITIALS.match(word) and (len(word) > 1 or word.isupper()):
        return _WORD.match(text, after).group().lower() in STARTERS  # type: ignore[union-attr]  # may match nothing
    return True


def _line_ends(text: str, mark: int, after: int) -> bool:
    """Whether the line break at `mark`, with no sentence mark before it, ends a sentence."""
    if text.find("\n", mark + 1, after) >= 0 or _LINE_MARK.match(text, after):
        return True
    line = text.rfind("\n", 0, mark) + 1
    if text[line : line + 1] in "#|":
        return True
    return not text[after].islower() and mark - line not in HARD_WRAP
