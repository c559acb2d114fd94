"""The hash tables of an index: from a window of tokens to the patterns that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.decontaminate import kernels
from reread.decontaminate.patterns import ANCHOR_LENGTHS, Pattern, anchor_length
from reread.decontaminate.tokens import Tokens, UInt64s, powers

FILTER_BITS_PER_ANCHOR = 24
"""Bits of the first filter per stored anchor, at least: four of a hundred windows of foreign text pass it, or fewer."""
FIRST_ROOM = 1024
"""Matches that one scan has room for before it is repeated with more."""

Int64s = npt.NDArray[np.int64]


class Tables:
    """A window is looked up in full only where its first 8 (4, 2) tokens, its anchor, begin some stored window.

    Memory: about 40 bytes a stored window.
    """

    def __init__(self, rows: Sequence[Pattern]) -> None:
        n_windows = [len(row.grams) for row in rows]
        lengths = np.repeat([row.length for row in rows], n_windows).astype(np.uint64)
        hashes = np.concatenate([row.grams for row in rows]) if rows else np.empty(0, np.uint64)
        distinct, first_window, gram_of_window = np.unique(
            hashes ^ (lengths * kernels.LENGTH_SALT), return_index=True, return_inverse=True
        )
        self._lengths = lengths[first_window].astype(np.uint8)
        order = np.argsort(gram_of_window, kind="stable")
        self._owners = np.repeat(np.arange(len(rows)), n_windows)[order]
        self._first_owner = np.searchsorted(gram_of_window[order], np.arange(len(distinct) + 1))
        self._gram_keys, self._gram_ids = hash_table(distinct, np.arange(len(distinct), dtype=np.int64))
        tables = [(length, *_anchor_table(rows, length)) for length in ANCHOR_LENGTHS]
        levels, n_words, n_slots = [], 0, 0
        for length, bits, keys, _ in tables:
            levels.append((length, n_words, len(bits), n_slots, len(keys)))
            n_words += len(bits)
            n_slots += len(keys)
        self._levels = np.array(levels, np.int64)
        self._bits, self._anchor_keys, self._anchor_lengths = (
            np.concatenate([table[part] for table in tables]) for part in (1, 2, 3)
        )

    def length_of(self, gram: int) -> int:
        """Tokens of a stored window."""
        return int(self._lengths[gram])

    def scan(self, tokens: Tokens) -> tuple[Int64s, Int64s]:
        """Token position and number of every stored window in the text."""
        room = FIRST_ROOM
        while True:
            positions, grams = np.empty(room, np.int64), np.empty(room, np.int64)
            n_found = kernels.compiled().scan(
                tokens.prefix,
                len(tokens),
                powers(),
                self._levels,
                self._bits,
                self._anchor_keys,
                self._anchor_lengths,
                self._gram_keys,
                self._gram_ids,
                positions,
                grams,
            )
            if n_found <= room:
                return positions[:n_found], grams[:n_found]
            room = n_found

    def by_pattern(self, positions: Int64s, grams: Int64s) -> dict[int, list[tuple[int, int]]]:
        """For each pattern with a match, its (position, window) pairs in order of position."""
        found: dict[int, list[tuple[int, int]]] = {}
        for place in np.argsort(positions, kind="stable"):
            gram = int(grams[place])
            for owner in self._owners[self._first_owner[gram] : self._first_owner[gram + 1]]:
                found.setdefault(int(owner), []).append((int(positions[place]), gram))
        return found


def _anchor_table(rows: Sequence[Pattern], length: int) -> tuple[UInt64s, UInt64s, UInt64s]:
    """The filter's bits, the anchors of this length, and for each the set (as bits) of the lengths of the windows
    that begin with it."""
    own = [row for row in rows if anchor_length(row.length) == length]
    anchors = np.concatenate([row.anchors for row in own]) if own else np.empty(0, np.uint64)
    lengths = np.repeat(np.array([1 << row.length for row in own], np.uint64), [len(row.anchors) for row in own])
    keys, place = np.unique(anchors, return_inverse=True)
    masks = np.zeros(len(keys), np.uint64)
    np.bitwise_or.at(masks, place, lengths)
    table_keys, table_masks = hash_table(keys, masks)
    return set_bits(keys), table_keys, table_masks


def set_bits(keys: UInt64s) -> UInt64s:
    """A filter in which each key has its bit."""
    n_bits = 1 << max(6, (len(keys) * FILTER_BITS_PER_ANCHOR).bit_length())
    bits = np.zeros(n_bits // 64, np.uint64)
    mixed = keys * kernels.SLOT_MIX
    mixed = (mixed ^ (mixed >> np.uint64(33))) & np.uint64(n_bits - 1)
    np.bitwise_or.at(bits, mixed >> np.uint64(6), np.uint64(1) << (mixed & np.uint64(63)))
    return bits


def hash_table(keys: UInt64s, values: npt.NDArray[Any]) -> tuple[UInt64s, npt.NDArray[Any]]:
    """An open-addressing table at most half full."""
    size = 1 << max(4, (2 * len(keys)).bit_length())
    table_keys, table_values = np.zeros(size, np.uint64), np.zeros(size, values.dtype)
    kernels.compiled().fill_table(keys, values, table_keys, table_values)
    return table_keys, table_values
