"""What is kept of a document to tell whether another is the same: a content key and a MinHash sketch.

The key is a 128-bit hash of the text in Unicode's NFKC form, in lower case, each run of white space as one space:
documents with equal keys are exact duplicates. The sketch (Broder 1997, "On the resemblance and containment of
documents") holds, for each of 256 random functions, the least value over the document's word 5-grams; the share of
functions on which two sketches agree estimates the Jaccard similarity J of the two sets of 5-grams, with standard
deviation √(J(1 − J)/256), 0.025 at J = 0.8. The functions are rensa's RMinHash (Rust), of whose 32-bit values the low
16 are kept: unlike values then look alike once in 65,536 times.

Candidates are pairs that agree on all r functions of one of b bands, which happens with probability 1 − (1 − Jʳ)ᵇ.
r is the largest that finds at least 95 % of the pairs at the threshold; with 256 functions and threshold 0.8 that is
r = 9, b = 28:

    J        0.5    0.6    0.7    0.75   0.8    0.85   0.9    1
    found    0.053  0.247  0.684  0.887  0.982  0.999  1.000  1

Every candidate is then compared sketch to sketch, so that what is found below the threshold is not dropped.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.errors import MissingExtra, UsageError

DEFAULT_THRESHOLD = 0.8
NGRAM = 5
PERMUTATIONS = 256
SEED = 42
FOUND_AT_THRESHOLD = 0.95
NO_SKETCH = 0xFFFF
"""Every value of the sketch of a document too short for one n-gram; such documents have exact duplicates only."""

BLOCK_CHARS = 1 << 20
_SPACE = re.compile(r"\s")

Sketches = npt.NDArray[np.uint16]
"""(n documents, n permutations)."""


@dataclass(frozen=True, slots=True)
class SketchSettings:
    """What decides which documents count as near-duplicates."""

    threshold: float = DEFAULT_THRESHOLD
    """Least similarity, in (0, 1]."""
    ngram: int = NGRAM
    """Words of a shingle."""
    permutations: int = PERMUTATIONS
    exact_only: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UsageError(f"the threshold must be above 0 and at most 1, not {self.threshold}")
        if self.ngram < 1:
            raise UsageError(f"an n-gram has at least 1 word, not {self.ngram}")
        if not 16 <= self.permutations <= 4096:
            raise UsageError(f"the number of permutations must be from 16 to 4096, not {self.permutations}")

    def as_dict(self) -> dict[str, Any]:
        bands, rows = self.bands
        return {**asdict(self), "bands": bands, "rows": rows, "seed": SEED}

    @property
    def bands(self) -> tuple[int, int]:
        """(bands, rows): the most rows whose bands still find 95 % of the pairs at the threshold."""
        for rows in range(self.permutations, 0, -1):
            bands = self.permutations // rows
            if found_share(self.threshold, bands, rows) >= FOUND_AT_THRESHOLD:
                return bands, rows
        return self.permutations, 1


def found_share(jaccard: float, bands: int, rows: int) -> float:
    """The probability that two documents of this similarity become candidates: 1 − (1 − Jʳ)ᵇ."""
    return 1 - (1 - jaccard**rows) ** bands


def normalise(text: str) -> str:
    """Unicode's NFKC form, lower case, white space as single spaces."""
    return " ".join(normal for block in _blocks(text) if (normal := _normalise(block)))


def _normalise(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.lower().split())


def _blocks(text: str) -> Iterator[str]:
    """The text in pieces that end at white space, so that a huge document's words are never all in memory at once."""
    start = 0
    while len(text) - start > BLOCK_CHARS:
        space = _SPACE.search(text, start + BLOCK_CHARS)
        if space is None:
            break
        yield text[start : space.start()]
        start = space.start()
    yield text[start:] if start else text


def content_key(normalised: str) -> bytes:
    """16 bytes that two texts share when they are the same but for case, white space and Unicode form."""
    return hashlib.blake2b(normalised.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def shingles(normalised: str, ngram: int) -> Iterator[list[str]]:
    """The word n-grams of a normalised text, in order, in lists of bounded length; none where it has fewer words."""
    words: list[str] = []
    for block in _blocks(normalised):
        words = words[max(0, len(words) - ngram + 1) :] + block.split()
        if len(words) >= ngram:
            yield list(map(" ".join, zip(*[words[first:] for first in range(ngram)], strict=False)))


def check_rensa() -> None:
    """Raises MissingExtra where near-duplicates cannot be looked for."""
    try:
        import rensa  # noqa: F401
    except ImportError:
        raise MissingExtra("rensa", "dedup", "looking for near-duplicates") from None


def sketch(normalised_texts: Sequence[str], settings: SketchSettings) -> Sketches:
    """The sketches of normalised texts, shape (texts, permutations)."""
    from rensa import RMinHash

    rows = np.full((len(normalised_texts), settings.permutations), NO_SKETCH, dtype=np.uint16)
    for number, text in enumerate(normalised_texts):
        signature = None
        # rensa takes no lone surrogates.
        for grams in shingles(text if text.isascii() else text.encode("utf-8", "replace").decode(), settings.ngram):
            signature = signature or RMinHash(settings.permutations, SEED)
            signature.update(grams)
        if signature is not None:
            # The cast keeps the low 16 bits.
            rows[number] = np.array(signature.digest(), dtype=np.uint32).astype(np.uint16)
    return rows


def band_keys(sketches: Sketches, bands: int, rows: int) -> npt.NDArray[np.uint64]:
    """(bands, documents): a 64-bit hash of each band of each sketch."""
    keys = np.zeros((bands, len(sketches)), dtype=np.uint64)
    for band in range(bands):
        key = keys[band]
        for column in range(band * rows, (band + 1) * rows):
            # The multiply and shift of splitmix64 (Steele and others 2014).
            key ^= sketches[:, column]
            key += np.uint64(0x9E3779B97F4A7C15)
            key *= np.uint64(0xBF58476D1CE4E5B9)
            key ^= key >> np.uint64(29)
    return keys
