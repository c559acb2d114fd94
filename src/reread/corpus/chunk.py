"""Documents into passages: by words or sentences, never across documents, each an exact slice of its document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, get_args

from reread.corpus.sentences import sentence_spans
from reread.errors import UsageError
from reread.types import Document, Passage

DEFAULT_CHUNK_WORDS = 256
"""CompactDS' and the paper's unit."""

MAX_WORD_CHARS = 64
"""A longer run without spaces (Chinese, base64) counts as several words, so that no passage grows without bound."""

MAX_SPACE_CHARS = 1000
"""Passages end at longer runs of white space, for the same reason."""

_GAP = re.compile(rf"\s{{{MAX_SPACE_CHARS + 1},}}")

MAX_TITLE_CHARS = 1000
MAX_URL_CHARS = 4096
"""Every passage repeats its document's title and URL, so the rest of a longer title, and a longer URL, stay behind."""

ChunkUnit = Literal["words", "sentences"]
"""What passages are made of: `words` fills each to the last word; `sentences` packs whole sentences."""


def check_chunking(chunk_words: int, overlap_words: int, unit: str = "words") -> None:
    """Raises UsageError where the two numbers make no chunks, or the unit is none."""
    if unit not in get_args(ChunkUnit):
        raise UsageError(f"no chunking by {unit!r}; choose words or sentences")
    if chunk_words < 1:
        raise UsageError(f"chunk words must be at least 1, not {chunk_words}")
    if not 0 <= overlap_words < chunk_words:
        raise UsageError(f"overlap words must be from 0 to {chunk_words - 1} (chunk words − 1), not {overlap_words}")


@lru_cache(maxsize=8)
def _chunk_pattern(chunk_words: int) -> re.Pattern[str]:
    word = rf"\S{{1,{MAX_WORD_CHARS}}}"
    return re.compile(rf"{word}(?:\s{{0,{MAX_SPACE_CHARS}}}{word}){{0,{chunk_words - 1}}}")


def word_spans(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """(start, end) of every word between two offsets of the text; a run of more than 64 characters is several."""
    for match in _chunk_pattern(1).finditer(text, start, len(text) if end is None else end):
        yield match.span()


def count_words(text: str) -> int:
    """How many words the text has, as `word_spans` has them."""
    words = text.split()
    if len(text) <= MAX_WORD_CHARS or max(map(len, words), default=0) <= MAX_WORD_CHARS:
        return len(words)
    return sum(-(-len(word) // MAX_WORD_CHARS) for word in words)


def _by_words(text: str, chunk_words: int, overlap_words: int) -> Iterator[tuple[int, int]]:
    if overlap_words == 0:
        # One match a chunk: the regex engine counts the words, which is several times faster than a loop over them.
        for match in _chunk_pattern(chunk_words).finditer(text):
            yield match.span()
        return
    for start, end in _stretches(text):
        words = list(word_spans(text, start, end))
        for first in range(0, len(words), chunk_words - overlap_words):
            last = min(first + chunk_words, len(words)) - 1
            yield words[first][0], words[last][1]
            if last == len(words) - 1:
                break


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of what lies between runs of more than MAX_SPACE_CHARS of white space."""
    start = 0
    for gap in _GAP.finditer(text):
        yield start, gap.start()
        start = gap.end()
    yield start, len(text)


def _by_sentences(text: str, chunk_words: int, overlap_words: int) -> Iterator[tuple[int, int]]:
    for start, end in _stretches(text):
        for first, last in _packed(text[start:end], chunk_words, overlap_words):
            yield start + first, start + last


def _packed(text: str, chunk_words: int, overlap_words: int) -> Iterator[tuple[int, int]]:
    packed: list[tuple[int, int, int]] = []  # (start, end, words) of the sentences of the chunk being filled
    n_words = 0
    for start, end, n in _pieces(text, chunk_words):
        if n_words + n > chunk_words:
            yield packed[0][0], packed[-1][1]
            # What is repeated must leave room for the sentence that comes next.
            room = min(overlap_words, chunk_words - n)
            while packed and n_words > room:
                n_words -= packed.pop(0)[2]
        packed.append((start, end, n))
        n_words += n
    if packed:
        yield packed[0][0], packed[-1][1]


def _pieces(text: str, chunk_words: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, words) of every sentence; one of more than `chunk_words` words comes in several pieces."""
    for start, end in sentence_spans(text):
        n = count_words(text[start:end])
        if n <= chunk_words:
            yield start, end, n
            continue
        for match in _chunk_pattern(chunk_words).finditer(text, start, end):
            yield *match.span(), count_words(match.group())


def chunk(
    document: Document,
    chunk_words: int = DEFAULT_CHUNK_WORDS,
    overlap_words: int = 0,
    unit: ChunkUnit = "words",
) -> Iterator[Passage]:
    """The document's passages, each of at most `chunk_words` words, overlapping by `overlap_words`.

    unit: "words" cuts after every `chunk_words` words and repeats exactly `overlap_words` of them. "sentences" packs
    whole sentences (see corpus.sentences) as long as they fit, and repeats the last whole sentences of the passage
    before, at most `overlap_words` of them and none where the next would not fit; a sentence of more than
    `chunk_words` words is cut between words. `passage.text` is the document's text from `passage.start` on, to the
    letter; together the passages hold all of it but white space. The id is "DOC_ID:START". Title (cut at
    MAX_TITLE_CHARS), url (unless over MAX_URL_CHARS), source and meta are the document's. Raises UsageError for
    impossible numbers.
    """
    check_chunking(chunk_words, overlap_words, unit)
    spans = _by_words if unit == "words" else _by_sentences
    title = document.title[:MAX_TITLE_CHARS]
    url = document.url if len(document.url) <= MAX_URL_CHARS else ""
    for start, end in spans(document.text, chunk_words, overlap_words):
        yield Passage(
            id=f"{document.id}:{start}",
            doc_id=document.id,
            start=start,
            text=document.text[start:end],
            title=title,
            source=document.source,
            url=url,
            meta=document.meta,
        )
