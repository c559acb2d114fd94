"""A shard's lexical index: raw postings on disk, memory-mapped, scored by BM25 with statistics given at query time.

Nothing that depends on the other shards is stored, so a finished shard never changes. The files of lexical/:

    terms.bin      the shard's terms in byte order, UTF-8, one after the other
    term_ends.npy  uint64 (V,): where each term ends in terms.bin
    ends.npy       uint64 (V,): where each term's postings end
    rows.npy       uint32 (P,): the passages of each term, ascending
    tfs.npy        uint8 or uint16 (P,): how often the term occurs in the passage (65535 at most)
    lengths.npy    uint32 (N,): tokens of each passage
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.datastore.layout import load_array, save_array

Array = npt.NDArray[Any]

ANALYSER = "lower-case, words of two letters or more, Lucene's stop words out, Snowball English (PyStemmer)"
"""Named in datastore.json: an index of another analyser is another index."""

K1 = 0.9
B = 0.4
"""Anserini's defaults for passages (Yang, Fang and Lin 2017)."""

TOKEN = re.compile(r"\w\w+")
_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was
will with
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Lucene's English set. Without it, and with single letters, nDCG@10 is lower on Cranfield, CACM and Vaswani."""
MAX_TF = 0xFFFF
NO_TERM = -1
ROW_BITS = 24
TF_BITS = 16
MAX_ROWS = 1 << ROW_BITS
GROUP_PASSAGES = 2048
"""Passages counted together while indexing: bounds the memory of raw tokens."""


class _TermNumbers(dict[str, int]):
    """Token → number of its stem; each distinct token is stemmed once."""

    def __init__(self) -> None:
        super().__init__()
        import Stemmer

        self.stem = Stemmer.Stemmer("english").stemWord
        self.stems: dict[str, int] = {}
        self.update(dict.fromkeys(STOP_WORDS, NO_TERM))

    def __missing__(self, token: str) -> int:
        number = self.stems.setdefault(self.stem(token), len(self.stems))
        self[token] = number
        return number


def stems_of(text: str) -> list[str]:
    """The text's index terms in order, repeats kept."""
    import Stemmer

    tokens = [token for token in TOKEN.findall(text.lower()) if token not in STOP_WORDS]
    return list(Stemmer.Stemmer("english").stemWords(tokens))


class LexicalWriter:
    """Takes a shard's passages one by one and writes their postings."""

    def __init__(self) -> None:
        self._numbers = _TermNumbers()
        self._tokens: list[int] = []
        self._group_lengths: list[int] = []
        self._lengths: list[int] = []
        self._postings: list[Array] = []

    def add(self, text: str) -> None:
        before = len(self._tokens)
        self._tokens.extend(map(self._numbers.__getitem__, TOKEN.findall(text.lower())))
        self._group_lengths.append(len(self._tokens) - before)
        if len(self._group_lengths) == GROUP_PASSAGES:
            self._count_group()

    def _count_group(self) -> None:
        """Packs the group's (term, row, tf) into one sorted uint64 each: the sort of plain integers is vectorised."""
        tokens = np.fromiter(self._tokens, dtype=np.int64, count=len(self._tokens))
        first_row = len(self._lengths)
        n_rows = len(self._group_lengths)
        rows = np.repeat(np.arange(n_rows, dtype=np.int64), self._group_lengths)
        is_term = tokens != NO_TERM
        tokens, rows = tokens[is_term], rows[is_term]
        lengths = np.bincount(rows, minlength=n_rows)
        keys = np.sort((tokens.astype(np.uint64) << np.uint64(ROW_BITS)) | (rows + first_row).astype(np.uint64))
        starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if keys.size else np.empty(0, np.int64)
        tfs = np.minimum(np.diff(starts, append=keys.size), MAX_TF).astype(np.uint64)
        self._postings.append((keys[starts] << np.uint64(TF_BITS)) | tfs)
        self._lengths.extend(lengths.tolist())
        self._tokens, self._group_lengths = [], []

    def write(self, folder: Path) -> int:
        """Writes the files; returns the shard's number of tokens."""
        if self._group_lengths:
            self._count_group()
        stems = sorted((stem.encode("utf-8", "replace"), number) for stem, number in self._numbers.stems.items())
        place = np.empty(len(stems), dtype=np.uint64)
        place[[number for _, number in stems]] = np.arange(len(stems), dtype=np.uint64)
        packed = np.concatenate(self._postings) if self._postings else np.empty(0, np.uint64)
        self._postings = []
        row_and_tf = packed & np.uint64((1 << (ROW_BITS + TF_BITS)) - 1)
        packed = (place[packed >> np.uint64(ROW_BITS + TF_BITS)] << np.uint64(ROW_BITS + TF_BITS)) | row_and_tf
        packed.sort()
        terms = packed >> np.uint64(ROW_BITS + TF_BITS)
        tfs = packed & np.uint64(MAX_TF)
        small = tfs.size == 0 or int(tfs.max()) < 256
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "terms.bin").write_bytes(b"".join(stem for stem, _ in stems))
        lengths = np.asarray(self._lengths, dtype=np.uint32)
        arrays = {
            "term_ends": np.cumsum([len(stem) for stem, _ in stems], dtype=np.uint64),
            "ends": np.searchsorted(terms, np.arange(len(stems), dtype=np.uint64), side="right").astype(np.uint64),
            "rows": ((packed >> np.uint64(TF_BITS)) & np.uint64(MAX_ROWS - 1)).astype(np.uint32),
            "tfs": tfs.astype(np.uint8 if small else np.uint16),
            "lengths": lengths,
        }
        for name, values in arrays.items():
            save_array(folder / f"{name}.npy", values)
        return int(lengths.sum(dtype=np.uint64))


class LexicalShard:
    """One shard's postings, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self.term_ends = load_array(folder / "term_ends.npy")
        self.ends = load_array(folder / "ends.npy")
        self.rows = load_array(folder / "rows.npy")
        self.tfs = load_array(folder / "tfs.npy")
        self.lengths = load_array(folder / "lengths.npy")
        self._terms: mmap.mmap | bytes = b""
        if self.term_ends.size:
            with (folder / "terms.bin").open("rb") as file:
                self._terms = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._ranges: dict[str, tuple[int, int]] = {}
        self._norms: tuple[float, Array] | None = None

    def postings(self, term: str) -> tuple[int, int]:
        """Where the term's postings begin and end in rows and tfs; (0, 0) for a term that the shard does not hold."""
        found = self._ranges.get(term)
        if found is None:
            if len(self._ranges) >= 1 << 16:
                self._ranges.clear()
            found = self._ranges[term] = self._find(term.encode("utf-8", "replace"))
        return found

    def _find(self, term: bytes) -> tuple[int, int]:
        low, high = 0, self.term_ends.size
        while low < high:
            middle = (low + high) // 2
            start = int(self.term_ends[middle - 1]) if middle else 0
            here = self._terms[start : int(self.term_ends[middle])]
            if here == term:
                return (int(self.ends[middle - 1]) if middle else 0), int(self.ends[middle])
            if here < term:
                low = middle + 1
            else:
                high = middle
        return 0, 0

    def norms(self, average_length: float) -> Array:
        """k1·(1 − b + b·length/average) of every passage, float32."""
        if self._norms is None or self._norms[0] != average_length:
            norms = np.float32(K1 * (1 - B)) + np.float32(K1 * B / average_length) * self.lengths.astype(np.float32)
            self._norms = (average_length, norms)
        return self._norms[1]
