"""From text to index terms, in plain Python: what the compiled loops of lexical_kernels.py must equal.

1. Every character is folded on its own: case folding, compatibility forms (ﬁ → fi, ２ → 2), accents dropped from
   letters and as characters of their own, so that "Beyoncé" in either encoding is "beyonce". Marks that carry
   meaning (the vowels of Indic scripts, Thai tones, the Japanese voicing mark) stay.
2. Words are runs of letters, digits, marks and underscores, cut at 64 characters. Of one letter they are left out.
3. Scripts written without spaces (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese) give the overlapping pairs
   of characters of each run, or the single character of a run of one: the convention of Lucene's CJKAnalyzer.
4. Lucene's English stop words are left out, the rest is stemmed (Snowball English, which touches Latin words only).
"""

from __future__ import annotations

import re
import threading
import unicodedata
from itertools import groupby
from typing import TypeVar

ANALYSER = (
    "case, compatibility forms and accents folded, words of two letters or more (cut at 64), pairs of characters in "
    "scripts without spaces, Lucene's stop words out, Snowball English (PyStemmer)"
)
"""Named in datastore.json: an index of another analyser is another index."""

_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was
will with
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Lucene's English set. Without it, and with single letters, nDCG@10 is lower on Cranfield, CACM and Vaswani."""
MAX_WORD = 64
"""Characters of a word that count: longer ones are encoded data, whose beginnings tell them apart."""

BREAK, WORD, SPACELESS = range(3)
"""What a folded character does: ends a word, continues one, belongs to a run of pairs."""

DROPPED_MARKS = (
    *((0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F), (0x0670, 0x0670)),
    *((0x06D6, 0x06ED), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F)),
    *((0x00AD, 0x00AD), (0x0640, 0x0640), (0x200B, 0x200D), (0x2060, 0x2060), (0xFEFF, 0xFEFF)),
)
"""Accents of Latin, Greek, Cyrillic, Hebrew and Arabic, the soft hyphen, the tatweel, joiners and byte-order marks."""

SPACELESS_SCRIPTS = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007)),
    *((0x3031, 0x3035), (0x303B, 0x303B), (0x3041, 0x312F), (0x3130, 0x318F), (0x31A0, 0x31BF), (0x31F0, 0x31FF)),
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA960, 0xA97F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0xAC00, 0xD7FF)),
    *((0xF900, 0xFAFF), (0x1AFF0, 0x1B16F), (0x20000, 0x323AF)),
)
"""Thai and Lao, Burmese, Hangul, Khmer, kana, Bopomofo and Han."""

_PLAIN_LETTERS = {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i", "ŋ": "n"}
"""Latin letters that are no base letter with a mark, as Lucene's ASCIIFolding writes them."""

Word = TypeVar("Word", str, bytes)

_ASCII_WORD = re.compile(r"\w\w+")


def _within(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= code <= high for low, high in ranges)


def fold(character: str) -> str:
    """What a character counts as; no character, one or several. Does not depend on its neighbours."""
    spelled = "".join(_PLAIN_LETTERS.get(c, c) for c in character.casefold())
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", spelled).casefold())
    kept = "".join(_PLAIN_LETTERS.get(c, c) for c in parts if not _within(ord(c), DROPPED_MARKS))
    return unicodedata.normalize("NFC", kept)


def kind_of(character: str) -> int:
    """BREAK, WORD or SPACELESS, of a folded character."""
    if character == "_" or character.isalnum() or unicodedata.category(character) in ("Mn", "Mc"):
        return SPACELESS if _within(ord(character), SPACELESS_SCRIPTS) else WORD
    return BREAK


class _Folding(dict[int, str]):
    def __missing__(self, code: int) -> str:
        folded = self[code] = fold(chr(code))
        return folded


class _Kinds(dict[str, int]):
    def __missing__(self, character: str) -> int:
        kind = self[character] = kind_of(character)
        return kind


_folding = _Folding()
_kinds = _Kinds()


def words_of(text: str) -> list[str]:
    """The text's words and pairs of characters in order, stop words among them, not stemmed."""
    if text.isascii():
        return [word[:MAX_WORD] for word in _ASCII_WORD.findall(text.lower())]
    words = []
    for kind, run in groupby(text.translate(_folding), _kinds.__getitem__):
        characters = "".join(run)
        if kind == WORD and len(characters) > 1:
            words.append(characters[:MAX_WORD])
        elif kind == SPACELESS:
            words.extend(characters[i : i + 2] for i in range(max(len(characters) - 1, 1)))
    return words


class _Stemmers(threading.local):
    """A stemmer is not to be used by two threads at once."""

    def __init__(self) -> None:
        import Stemmer

        self.english = Stemmer.Stemmer("english", maxCacheSize=0)


_stemmers: _Stemmers | None = None


def stem_words(words: list[Word]) -> list[Word]:
    global _stemmers
    if _stemmers is None:
        _stemmers = _Stemmers()
    stems: list[Word] = _stemmers.english.stemWords(words)
    return stems


def stems_of(text: str) -> list[str]:
    """The text's index terms in order, repeats kept."""
    return stem_words([word for word in words_of(text) if word not in STOP_WORDS])
