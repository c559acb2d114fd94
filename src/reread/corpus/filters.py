"""Filters: a document's text and address in, a reason to leave it out (or None) out. None is on by default.

A rule is `NAME` or `NAME=VALUE`; those that are published sets keep their authors' limits:

gopher        gopher-quality and gopher-repetition
gopher-quality     Rae et al. 2021 (arXiv 2112.11446), A.1.1: 50 to 100,000 words; mean word length 3 to 10; at most
              0.1 `#` or ellipses a word; at most 90 % of lines begin with a bullet, 30 % end with an ellipsis; at least
              80 % of words have a letter; at least two of the, be, to, of, and, that, have, with
gopher-repetition  the same, table A1: shares of repeated lines, paragraphs, and of characters in repeated lines,
              paragraphs and n-grams (a first occurrence is no repetition; characters are those of words)
c4            Raffel et al. 2020 (arXiv 1910.10683), 2.2, what concerns whole pages: "lorem ipsum", a curly bracket,
              fewer than 3 sentences (their rules for single lines change the text and are not applied)
fineweb       Penedo et al. 2024 (arXiv 2406.17557), 3.6: at most 12 % of lines end in punctuation; at least 10 % of
              characters are in repeated lines; at least 67 % of lines have fewer than 30 characters
min-words=N, max-words=N     words, as white space divides them
min-letters=SHARE            letters among the characters that are no white space
language=en,de               py3langid's first guess is one of these (ISO 639-1); pip install 'reread[language]'
blocklist=FILE               the address' host is none of the file's (one a line, # comments) nor below one

The reason says the rule and what it met: `filtered (gopher: too_few_words)`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from reread.errors import MissingExtra, UsageError
from reread.runs import content_hash
from reread.types import Document

Rule = Callable[[Document], str | None]
"""What is wrong with the document, in a word or two, or None."""

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
BULLETS = ("•", "‣", "▶", "◀", "◦", "■", "□", "▪", "▫", "–", "-", "*", "●")
ELLIPSES = ("…", "...", ". . .")
ENDS = (".", "?", "!", '"', "'", "”", "’", "。", "？", "！", ":", ";", "…")
SENTENCE_END = re.compile(r"[.!?。！？](?:[\"'”’)\]]*)(?:\s|$|(?<=[。！？]))")

REPEATED = {"line": 0.30, "paragraph": 0.30}
REPEATED_CHARS = {"line": 0.20, "paragraph": 0.20}
TOP_NGRAM = {2: 0.20, 3: 0.18, 4: 0.16}
REPEATED_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""Rae et al. 2021, table A1."""

MAX_WORDS = 10**9
LANGUAGE_CHARS = 2000
"""How much of a document its language is told from."""


@dataclass(frozen=True)
class Filter:
    """Rules in order; the first that objects gives the reason."""

    rules: tuple[tuple[str, Rule], ...]
    description: tuple[str, ...]
    """The rules in canonical form, equal for equal behaviour: what a build records and compares."""

    def __call__(self, document: Document) -> str | None:
        """The reason to leave the document out, or None."""
        for name, rule in self.rules:
            problem = rule(document)
            if problem is not None:
                return f"filtered ({name}: {problem})"
        return None


def make_filter(specs: Sequence[str]) -> Filter:
    """The filter of rules such as ["gopher", "min-words=50", "language=en"]; none of them keeps everything.

    Raises UsageError for a rule that does not exist or a value that it cannot take, MissingExtra for a language
    without py3langid.
    """
    rules: dict[str, Rule] = {}
    for spec in specs:
        name, _, value = spec.partition("=")
        name = name.strip().lower().replace("_", "-")
        for part in ("gopher-quality", "gopher-repetition") if name == "gopher" else (name,):
            canonical, rule = _make_rule(part, value.strip(), spec)
            rules[canonical] = rule
    ordered = sorted(rules, key=_cost)
    return Filter(
        tuple((name.partition("=")[0], rules[name]) for name in ordered),
        tuple(ordered),
    )


def _cost(canonical: str) -> tuple[int, str]:
    """Cheap rules first, so that dear ones see fewer documents; the order is the same however they are written."""
    order = ("blocklist", "min-words", "max-words", "min-letters", "c4", "fineweb", "gopher-quality", "language")
    name = canonical.partition("=")[0]
    return (order.index(name) if name in order else len(order), canonical)


def _make_rule(name: str, value: str, spec: str) -> tuple[str, Rule]:
    """The rule and its canonical name."""
    if name in _SETS:
        if value:
            raise UsageError(f"the filter {name} takes no value, so not {spec!r}")
        return name, _SETS[name]
    if name in ("min-words", "max-words"):
        limit = _number(name, value, spec)
        if not limit.is_integer() or not 1 <= limit <= MAX_WORDS:
            raise UsageError(f"the filter {name} takes a whole number from 1 to 10⁹, such as {name}=50, not {value!r}")
        return f"{name}={int(limit)}", _words_rule(name, int(limit))
    if name == "min-letters":
        share = _number(name, value, spec)
        if not 0 < share <= 1:
            raise UsageError(f"the filter min-letters takes a share above 0 and at most 1, not {value!r}")
        return f"{name}={share:g}", _letters_rule(share)
    if name == "language":
        languages = sorted({code.strip().lower() for code in value.split(",") if code.strip()})
        return f"{name}={','.join(languages)}", _language_rule(languages)
    if name == "blocklist":
        hosts = _read_blocklist(value)
        # The content decides, not where the file lies.
        return f"{name}={content_hash(sorted(hosts))[:16]}", _blocklist_rule(hosts)
    known = ", ".join(
        ["gopher", *_SETS, "min-words=N", "max-words=N", "min-letters=SHARE", "language=CODES", "blocklist=FILE"]
    )
    raise UsageError(f"no filter {spec!r}; choose from {known}")


def _number(name: str, value: str, spec: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"the filter {name} takes a number, such as {name}=50, not {spec!r}")
    return number


def _words_rule(name: str, limit: int) -> Rule:
    def min_words(document: Document) -> str | None:
        return "too_few_words" if len(document.text.split(None, limit)) < limit else None

    def max_words(document: Document) -> str | None:
        return "too_many_words" if len(document.text.split(None, limit)) > limit else None

    return min_words if name == "min-words" else max_words


def _letters_rule(share: float) -> Rule:
    def letters(document: Document) -> str | None:
        characters = "".join(document.text.split())
        n_letters = sum(map(str.isalpha, characters))
        return "too_few_letters" if n_letters < share * len(characters) or not characters else None

    return letters


def gopher_quality(document: Document) -> str | None:
    """Rae et al. 2021, A.1.1."""
    words = document.text.split()
    if len(words) < 50:
        return "too_few_words"
    if len(words) > 100_000:
        return "too_many_words"
    if not 3 <= sum(map(len, words)) / len(words) <= 10:
        return "mean_word_length"
    n_ellipses = document.text.count("…") + document.text.count("...")
    if max(document.text.count("#"), n_ellipses) > 0.1 * len(words):
        return "symbols"
    lines = [line.strip() for line in document.text.splitlines() if line.strip()]
    if sum(line.startswith(BULLETS) for line in lines) > 0.9 * len(lines):
        return "bullet_lines"
    if sum(line.endswith(ELLIPSES) for line in lines) > 0.3 * len(lines):
        return "ellipsis_lines"
    if sum(any(map(str.isalpha, word)) for word in words) < 0.8 * len(words):
        return "words_without_letters"
    if len(STOP_WORDS.intersection(map(str.lower, words))) < 2:
        return "stop_words"
    return None


def gopher_repetition(document: Document) -> str | None:
    """Rae et al. 2021, table A1."""
    text = document.text
    parts = {
        "paragraph": [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()],
        "line": [line.strip() for line in text.splitlines() if line.strip()],
    }
    for name, pieces in parts.items():
        n_repeated, n_repeated_chars = _repeated(pieces)
        if n_repeated > REPEATED[name] * len(pieces):
            return f"repeated_{name}s"
        if n_repeated_chars > REPEATED_CHARS[name] * sum(map(len, pieces)):
            return f"repeated_{name}_characters"
    words = text.split()
    if not words:
        return None
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(word, len(numbers) + 1) for word in words], dtype=np.uint64)
    lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
    ends = np.concatenate(([0], np.cumsum(lengths)))
    hashes = ids
    for n in range(2, 11):
        if len(words) < n:
            break
        # Wrapping products of odd numbers: two n-grams of one document collide about never.
        hashes = (hashes[:-1] * np.uint64(0x9E3779B97F4A7C15)) ^ (ids[n - 1 :] * np.uint64(0xC2B2AE3D27D4EB4F))
        hashes = hashes ^ (hashes >> np.uint64(31))
        order = np.argsort(hashes, kind="stable")
        in_order = hashes[order]
        same = in_order[1:] == in_order[:-1]
        if not same.any():
            # Nor can a longer one be repeated.
            break
        if n in TOP_NGRAM and _top_ngram_chars(order, same, ends, n) > TOP_NGRAM[n] * ends[-1]:
            return f"top_{n}gram"
        if n in REPEATED_NGRAMS and _repeated_ngram_chars(order[1:][same], lengths, n) > REPEATED_NGRAMS[n] * ends[-1]:
            return f"repeated_{n}grams"
    return None


def _repeated(pieces: Sequence[str]) -> tuple[int, int]:
    """(pieces, characters) that came before."""
    counts = Counter(pieces)
    return (
        sum(n - 1 for n in counts.values()),
        sum((n - 1) * len(piece) for piece, n in counts.items()),
    )


def _top_ngram_chars(
    order: npt.NDArray[np.int64], same: npt.NDArray[np.bool_], ends: npt.NDArray[np.int64], n: int
) -> int:
    """Characters of all occurrences of the n-gram that occurs most often, the longest of several.

    order: where the n-grams begin, equal ones together; same: whether each but the first equals the one before.
    """
    first = np.flatnonzero(np.concatenate(([True], ~same)))
    counts = np.diff(np.concatenate((first, [len(order)])))
    most = counts.max()
    starts = order[first[counts == most]]
    return int(most * (ends[starts + n] - ends[starts]).max())


def _repeated_ngram_chars(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], n: int) -> int:
    """Characters of the words in the n-grams that begin at `starts`, each word once."""
    change = np.bincount(starts, minlength=len(lengths) + 1) - np.bincount(starts + n, minlength=len(lengths) + 1)
    return int(lengths[np.cumsum(change[:-1]) > 0].sum())


def c4(document: Document) -> str | None:
    """Raffel et al. 2020, 2.2, the rules on whole pages."""
    if "lorem ipsum" in document.text.lower():
        return "lorem_ipsum"
    if "{" in document.text:
        return "curly_bracket"
    ends = SENTENCE_END.finditer(document.text)
    return "too_few_sentences" if sum(1 for _ in zip(range(3), ends, strict=False)) < 3 else None


def fineweb(document: Document) -> str | None:
    """Penedo et al. 2024, 3.6."""
    lines = [line.strip() for line in document.text.splitlines() if line.strip()]
    if not lines:
        return "empty"
    if sum(line.endswith(ENDS) for line in lines) <= 0.12 * len(lines):
        return "lines_without_punctuation"
    if _repeated(lines)[1] >= 0.1 * sum(map(len, lines)):
        return "repeated_line_characters"
    if sum(len(line) < 30 for line in lines) >= 0.67 * len(lines):
        return "short_lines"
    return None


_SETS: Mapping[str, Rule] = {
    "gopher-quality": gopher_quality,
    "gopher-repetition": gopher_repetition,
    "c4": c4,
    "fineweb": fineweb,
}


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise MissingExtra("py3langid", "language", "the filter language") from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=False)


def _language_rule(languages: Sequence[str]) -> Rule:
    identifier = _identifier()
    known = {str(code) for code in identifier.nb_classes}
    for code in languages:
        if code not in known:
            raise UsageError(f"the filter language knows no {code!r}; it knows {', '.join(sorted(known))}")
    if not languages:
        raise UsageError("the filter language needs one or more codes, such as language=en,de")
    wanted = frozenset(languages)

    def language(document: Document) -> str | None:
        found = str(identifier.classify(document.text[:LANGUAGE_CHARS])[0])
        return None if found in wanted else found

    return language


def _read_blocklist(value: str) -> frozenset[str]:
    if not value:
        raise UsageError("the filter blocklist needs a file of host names, such as blocklist=hosts.txt")
    try:
        lines = Path(value).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"the blocklist {value} cannot be read ({reason})") from None
    hosts = (line.partition("#")[0].strip().lower().strip(".") for line in lines)
    return frozenset(_host(line) if "/" in line else line for line in hosts if line)


def _host(url: str) -> str:
    try:
        return (urlsplit(url if "//" in url else f"//{url}").hostname or "").strip(".")
    except ValueError:
        return ""


def _blocklist_rule(hosts: frozenset[str]) -> Rule:
    def blocklist(document: Document) -> str | None:
        labels = _host(document.url).split(".")
        return "host" if any(".".join(labels[first:]) in hosts for first in range(len(labels))) else None

    return blocklist
