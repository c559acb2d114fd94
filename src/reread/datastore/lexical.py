"""A shard's lexical index: raw postings on disk, memory-mapped, scored by BM25 with statistics given at query time.

Nothing that depends on the other shards is stored, so a finished shard never changes. The files of lexical/:

    terms.bin      the shard's terms in byte order, UTF-8, one after the other
    term_ends.npy  uint32 or uint64 (V,): where each term ends in terms.bin
    ends.npy       uint32 or uint64 (V, B): where each term's postings of each block of 65,536 passages end
    rows.npy       uint16 (P,): the passages of each term and block, ascending, numbered within the block
    tfs.npy        uint8 or uint16 (P,): how often the term occurs in the passage (65535 at most)
    lengths.npy    uint16 or uint32 (N,): tokens of each passage
"""

from __future__ import annotations

import functools
import mmap
import os
import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reread.datastore.analyser import ANALYSER, STOP_WORDS, fold, kind_of, stem_words, stems_of
from reread.datastore.layout import load_array, save_array
from reread.datastore.lexical_kernels import BLOCK_BITS, BLOCK_ROWS, DONE, MAX_TOKEN_BYTES, NO_PAGE, compiled
from reread.errors import DatastoreError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ANALYSER", "K1", "MAX_ROWS", "B", "LexicalShard", "LexicalWriter", "check_analyser", "stems_of"]

Array = npt.NDArray[Any]

K1 = 0.9
B = 0.4
"""Anserini's defaults for passages (Yang, Fang and Lin 2017)."""

MAX_ROWS = 1 << 24
BATCH_BYTES = 1 << 20
"""Text counted together while indexing: bounds the memory of raw tokens."""
PAGE = 256
N_PAGES = 1 << 13
"""Pages of characters that four bytes of UTF-8, sound or not, can name."""


def check_analyser(store: Path, facts: Mapping[str, Any]) -> None:
    """Raises DatastoreError where a store's postings are of another analyser, as those of earlier versions are.

    facts: the content of its datastore.json.
    """
    if facts["analyser"] != ANALYSER:
        raise DatastoreError(
            f"{store} was indexed with the analyser '{facts['analyser']}', this reread has '{ANALYSER}'; "
            f"delete the folder {store}, then build it again"
        )


class _Characters:
    """What every character folds to, as arrays; pages of 256 characters are filled when they are met.

    arrays: page_of, kinds, folds, expansion_start, expansion_length, expansion_codes, expansion_kinds. They are
    replaced together and never changed, so that another thread's stay whole.
    """

    def __init__(self) -> None:
        codes, kinds = np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.uint8)
        self.arrays: tuple[Array, ...] = (
            np.full(N_PAGES, -1, dtype=np.int32),
            kinds,
            codes,
            codes,
            kinds,
            codes,
            kinds,
        )
        self._lock = threading.Lock()
        self.fill(0)

    def fill(self, character: int) -> None:
        """Fill the page that this character is on."""
        page = character // PAGE
        with self._lock:
            page_of, *columns = self.arrays
            if page_of[page] >= 0:
                return
            # Beyond Unicode there is what only damaged text names: it ends words.
            codes = range(page * PAGE, (page + 1) * PAGE)
            folded = [fold(chr(code)) if code < 0x110000 else " " for code in codes]
            parts = "".join(folded)
            lengths = np.array([len(part) for part in folded], dtype=np.uint8)
            starts = np.cumsum(lengths, dtype=np.uint32) - lengths + np.uint32(len(columns[4]))
            added = (
                np.array([kind_of(part[0]) if part else 0 for part in folded], dtype=np.uint8),
                np.array([ord(part[0]) if part else 0 for part in folded], dtype=np.uint32),
                starts.astype(np.uint32),
                lengths,
                np.array([ord(part) for part in parts], dtype=np.uint32),
                np.array([kind_of(part) for part in parts], dtype=np.uint8),
            )
            page_of = page_of.copy()
            page_of[page] = len(columns[0]) // PAGE
            joined = (np.concatenate([old, new]) for old, new in zip(columns, added, strict=True))
            self.arrays = (page_of, *joined)


@functools.cache
def _characters() -> _Characters:
    return _Characters()


class _Tokens:
    """The distinct tokens met so far, numbered; and the stem of each."""

    def __init__(self) -> None:
        # Nobody can choose texts whose tokens all collide; the files do not depend on the numbers.
        self.seed = np.uint64(int.from_bytes(os.urandom(8), "little"))
        self.slots = np.zeros(1 << 12, dtype=np.uint64)
        self.hashes = np.empty(1 << 11, dtype=np.uint64)
        self.bytes = np.empty(1 << 14, dtype=np.uint8)
        self.ends = np.zeros((1 << 11) + 1, dtype=np.int64)
        self.state = np.zeros(3, dtype=np.int64)
        self.word = np.empty(MAX_TOKEN_BYTES + 16, dtype=np.uint8)
        self.out = np.empty(0, dtype=np.int32)
        self.stem_of = np.empty(1 << 11, dtype=np.int32)
        self.stems: dict[bytes, int] = {}
        self._n_stemmed = 0
        self._stop_words = {word.encode() for word in STOP_WORDS}

    def read(self, titles: tuple[Array, Array], texts: tuple[Array, Array]) -> tuple[Array, Array]:
        """(token numbers, how many each text gave) of the texts with their titles; bytes and ends of each."""
        lengths = np.empty(len(texts[1]) - 1, dtype=np.int64)
        n_bytes = int(titles[1][-1] - titles[1][0] + texts[1][-1] - texts[1][0])
        if len(self.out) < 2 * n_bytes:
            self.out = np.empty(2 * n_bytes, dtype=np.int32)
        self.state[2] = 0
        text = 0
        while True:
            text, status, code = compiled().tokenise(
                *(*titles, *texts, text, *_characters().arrays, self.seed, self.slots, self.hashes),
                *(self.bytes, self.ends, self.state, self.word, self.out, lengths),
            )
            if status == DONE:
                break
            if status == NO_PAGE:
                _characters().fill(code)
            else:
                self._grow()
        self._stem()
        return self.out[: self.state[2]], lengths

    def _grow(self) -> None:
        n, n_bytes = int(self.state[0]), int(self.state[1])
        if n == len(self.hashes):
            self.slots = np.zeros(2 * len(self.slots), dtype=np.uint64)
            self.hashes = _longer(self.hashes, 2 * n)
            self.ends = _longer(self.ends, 2 * n + 1)
            self.stem_of = _longer(self.stem_of, 2 * n)
            compiled().refill(self.hashes[:n], self.slots)
        if len(self.bytes) - n_bytes < MAX_TOKEN_BYTES:
            self.bytes = _longer(self.bytes, 2 * len(self.bytes))

    def _stem(self) -> None:
        first, last = self._n_stemmed, int(self.state[0])
        if first == last:
            return
        ends = self.ends[first : last + 1].tolist()
        joined = self.bytes[ends[0] : ends[-1]].tobytes()
        words = [joined[a - ends[0] : b - ends[0]] for a, b in pairwise(ends)]
        stems, stop_words = self.stems, self._stop_words
        for number, (word, stem) in enumerate(zip(words, stem_words(words), strict=True), first):
            self.stem_of[number] = -1 if word in stop_words else stems.setdefault(stem, len(stems))
        self._n_stemmed = last


def _longer(values: Array, length: int) -> Array:
    grown = np.empty(length, dtype=values.dtype)
    grown[: len(values)] = values
    return grown


class LexicalWriter:
    """Takes a shard's passages in order and writes their postings."""

    def __init__(self) -> None:
        self._tokens = _Tokens()
        self._counts = np.zeros(1 << 11, dtype=np.int32)
        self._waiting: list[str] = []
        self._waiting_length = 0
        self._chunks: list[tuple[Array, Array, Array, Array]] = []

    def add(self, text: str) -> None:
        """The next passage, its title in front (layout.indexed_text)."""
        self._waiting.append(text)
        self._waiting_length += len(text)
        if self._waiting_length >= BATCH_BYTES:
            self._add_waiting()

    def add_many(self, texts: Sequence[str]) -> None:
        """The next passages, as add takes them."""
        for text in texts:
            self.add(text)

    def add_arrow(self, titles: pa.Array, texts: pa.Array) -> None:
        """The next passages from two string columns, without making Python strings: as indexed_text joins them."""
        self._add_waiting()
        title_bytes, title_ends = _string_buffers(titles)
        text_bytes, text_ends = _string_buffers(texts)
        n_bytes = (title_ends[1:] - title_ends[:-1]) + (text_ends[1:] - text_ends[:-1])
        batches = (np.cumsum(n_bytes) - n_bytes) // BATCH_BYTES
        bounds = [0, *(np.flatnonzero(np.diff(batches)) + 1).tolist(), len(texts)]
        for first, last in pairwise(bounds):
            if first < last:
                self._count(
                    (title_bytes, title_ends[first : last + 1]),
                    (text_bytes, text_ends[first : last + 1]),
                )

    def _add_waiting(self) -> None:
        if not self._waiting:
            return
        # Surrogates are no letters: whatever stands for them ends a word.
        encoded = [text.encode("utf-8", "replace") for text in self._waiting]
        ends = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in encoded], out=ends[1:])
        data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._waiting, self._waiting_length = [], 0
        self._count((_NO_BYTES, np.zeros_like(ends)), (data, ends))

    def _count(self, titles: tuple[Array, Array], texts: tuple[Array, Array]) -> None:
        tokens, n_tokens = self._tokens.read(titles, texts)
        n_stems = len(self._tokens.stems)
        if len(self._counts) < n_stems:
            self._counts = np.zeros(2 * n_stems, dtype=np.int32)
        terms, tfs = np.empty(len(tokens), dtype=np.uint32), np.empty(len(tokens), dtype=np.uint16)
        lengths, n_terms = np.empty(len(n_tokens), dtype=np.uint32), np.empty(len(n_tokens), dtype=np.uint32)
        n = compiled().count(tokens, n_tokens, self._tokens.stem_of, self._counts, terms, tfs, lengths, n_terms)
        self._chunks.append((n_terms, terms[:n].copy(), _narrow(tfs[:n]), lengths))

    def write(self, folder: Path) -> int:
        """Writes the files; returns the shard's number of tokens."""
        self._add_waiting()
        stems = sorted(self._tokens.stems.items())
        place = np.empty(len(stems), dtype=np.uint32)
        place[[number for _, number in stems]] = np.arange(len(stems), dtype=np.uint32)
        lengths = np.concatenate([_NO_LENGTHS, *(lengths for *_, lengths in self._chunks)])
        first_rows = np.cumsum([0, *(len(lengths) for *_, lengths in self._chunks)]).tolist()
        n_blocks = max(1, (len(lengths) + BLOCK_ROWS - 1) >> BLOCK_BITS)
        sizes = np.zeros(len(stems) * n_blocks, dtype=np.int64)
        for first_row, (n_terms, terms, _, _) in zip(first_rows, self._chunks, strict=False):
            compiled().tally(first_row, n_terms, terms, place, n_blocks, sizes)
        ends = np.cumsum(sizes) - sizes
        n_postings = int(sizes.sum())
        rows = np.empty(n_postings, dtype=np.uint16)
        tfs = np.empty(n_postings, dtype=np.result_type(np.uint8, *{tfs.dtype for _, _, tfs, _ in self._chunks}))
        chunks, self._chunks = self._chunks[::-1], []
        for first_row in first_rows[:-1]:
            n_terms, terms, chunk_tfs, _ = chunks.pop()
            compiled().scatter(first_row, n_terms, terms, chunk_tfs, place, n_blocks, ends, rows, tfs)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "terms.bin").write_bytes(b"".join(stem for stem, _ in stems))
        arrays = {
            "term_ends": _narrow_ends(np.cumsum([len(stem) for stem, _ in stems], dtype=np.int64)),
            "ends": _narrow_ends(ends).reshape(len(stems), n_blocks),
            "rows": rows,
            "tfs": tfs,
            "lengths": lengths.astype(np.uint16 if lengths.max(initial=0) < 1 << 16 else np.uint32),
        }
        for name, values in arrays.items():
            save_array(folder / f"{name}.npy", values)
        return int(lengths.sum(dtype=np.uint64))


_NO_BYTES = np.frombuffer(b"", dtype=np.uint8)
_NO_LENGTHS = np.empty(0, dtype=np.uint32)


def _narrow(tfs: Array) -> Array:
    return tfs.astype(np.uint8 if tfs.size == 0 or tfs.max() < 256 else np.uint16)


def _narrow_ends(ends: Array) -> Array:
    return ends.astype(np.uint32 if ends.size == 0 or ends[-1] < 1 << 32 else np.uint64)


def _string_buffers(column: pa.Array) -> tuple[Array, Array]:
    """(bytes, ends int64 (n + 1,)) of a string column, a slice of a longer one too."""
    import pyarrow as pa

    if pa.types.is_large_string(column.type):
        offset_type: Any = np.int64
    elif pa.types.is_string(column.type):
        offset_type = np.int32
    else:
        raise TypeError(f"a column of strings is needed, not of {column.type}")
    if column.null_count:
        raise TypeError(f"the column has {column.null_count} nulls; fill them with empty strings")
    _, ends, data = column.buffers()
    if len(column) == 0:
        return _NO_BYTES, np.zeros(1, dtype=np.int64)
    offsets = np.frombuffer(ends, dtype=offset_type)[column.offset : column.offset + len(column) + 1]
    return (np.frombuffer(data, dtype=np.uint8) if data is not None else _NO_BYTES), offsets.astype(np.int64)


class LexicalShard:
    """One shard's postings, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self.term_ends = _mapped(folder / "term_ends.npy")
        self.ends = _mapped(folder / "ends.npy")
        self.rows = _mapped(folder / "rows.npy")
        self.tfs = _mapped(folder / "tfs.npy")
        self.lengths = _mapped(folder / "lengths.npy")
        self.terms = _NO_BYTES
        if self.term_ends.size:
            with (folder / "terms.bin").open("rb") as file:
                self.terms = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
        self._norms: tuple[float, Array] | None = None

    def find(self, terms: Sequence[str]) -> Array:
        """int64 (T,): the number of each term in this shard, −1 for a term that it does not hold."""
        data, ends = joined_terms(terms)
        return self.find_joined(data, ends)

    def find_joined(self, data: Array, ends: Array) -> Array:
        """As find, of terms given as joined_terms gives them."""
        found: Array = compiled().find(self.terms, self.term_ends, data, ends)
        return found

    def dfs(self, numbers: Array) -> Array:
        """int64 (T,): in how many passages these terms occur, 0 for −1."""
        if not self.ends.size:
            return np.zeros(len(numbers), dtype=np.int64)
        end = self.ends[numbers, -1].astype(np.int64)
        start = np.where(numbers > 0, self.ends[numbers - 1, -1], 0).astype(np.int64)
        return np.where(numbers >= 0, end - start, 0)

    def norms(self, average_length: float) -> Array:
        """k1·(1 − b + b·length/average) of every length up to the shard's greatest, float32."""
        if self._norms is None or self._norms[0] != average_length:
            lengths = np.arange(int(self.lengths.max(initial=0)) + 1, dtype=np.float32)
            norms = np.float32(K1 * (1 - B)) + np.float32(K1 * B / average_length) * lengths
            self._norms = (average_length, norms)
        return self._norms[1]


def _mapped(path: Path) -> Array:
    """Memory-mapped, as a plain array: compiled loops take those much faster."""
    return np.asarray(load_array(path))


def joined_terms(terms: Sequence[str]) -> tuple[Array, Array]:
    """(UTF-8 of all terms, where each ends with a 0 in front)."""
    encoded = [term.encode("utf-8", "replace") for term in terms]
    ends = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(term) for term in encoded], out=ends[1:])
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), ends
