"""Documents into passages: by words, never across documents, each an exact slice of its document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from reread.errors import UsageError
from reread.types import Document, Passage

DEFAULT_CHUNK_WORDS = 256
"""CompactDS' and the paper's unit."""

MAX_WORD_CHARS = 64
"""A longer run without spaces (Chinese, base64) counts as several words, so that no passage grows without bound."""


def check_chunking(chunk_words: int, overlap_words: int) -> None:
    """Raises UsageError where the two numbers make no chunks."""
    if chunk_words < 1:
        raise UsageError(f"chunk words must be at least 1, not {chunk_words}")
    if not 0 <= overlap_words < chunk_words:
        raise UsageError(f"overlap words must be from 0 to {chunk_words - 1} (chunk words − 1), not {overlap_words}")


@lru_cache(maxsize=8)
def _chunk_pattern(chunk_words: int) -> re.Pattern[str]:
    word = rf"\S{{1,{MAX_WORD_CHARS}}}"
    return re.compile(rf"{word}(?:\s*{word}){{0,{chunk_words - 1}}}")


def _spans(text: str, chunk_words: int, overlap_words: int) -> Iterator[tuple[int, int]]:
    if overlap_words == 0:
        # One match a chunk: the regex engine counts the words, which is several times faster than a loop over them.
        for match in _chunk_pattern(chunk_words).finditer(text):
            yield match.span()
        return
    words = [match.span() for match in _chunk_pattern(1).finditer(text)]
    for first in range(0, len(words), chunk_words - overlap_words):
        last = min(first + chunk_words, len(words)) - 1
        yield words[first][0], words[last][1]
        if last == len(words) - 1:
            return


def chunk(document: Document, chunk_words: int = DEFAULT_CHUNK_WORDS, overlap_words: int = 0) -> Iterator[Passage]:
    """The document's passages, each of at most `chunk_words` words, overlapping by `overlap_words`.

    `passage.text` is the document's text from `passage.start` on, to the letter. The id is "DOC_ID:START".
    Title, source, url and meta are the document's. Raises UsageError for impossible numbers.
    """
    check_chunking(chunk_words, overlap_words)
    for start, end in _spans(document.text, chunk_words, overlap_words):
        yield Passage(
            id=f"{document.id}:{start}",
            doc_id=document.id,
            start=start,
            text=document.text[start:end],
            title=document.title,
            source=document.source,
            url=document.url,
            meta=document.meta,
        )
