# mypy: ignore-errors
# (numba infers the loops' types)
"""The inner loops of lexical indexing, in the subset of Python that numba compiles.

`tokenise` turns UTF-8 into numbers of distinct tokens in one pass (what a token is, analyser.py says), `count` turns
those into postings passage by passage, `scatter` puts the postings of all passages in the order of their terms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from reread.datastore.analyser import BREAK, MAX_WORD, SPACELESS, WORD

DONE, NO_ROOM, NO_PAGE = range(3)
"""What `tokenise` ends with: all texts read; arrays to be made larger; a page of the character table to be filled."""

MAX_TOKEN_BYTES = 4 * MAX_WORD
MAX_TF = 0xFFFF
BLOCK_BITS = 16
BLOCK_ROWS = 1 << BLOCK_BITS
"""Passages are numbered in 16 bits within their block."""

_PRIME = np.uint64(0x100000001B3)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_S32, _ZERO, _ONE = np.uint64(32), np.uint64(0), np.uint64(1)
_HIGH, _LOW = np.uint64(0xFFFFFFFF00000000), np.uint64(0xFFFFFFFF)


class Kernels(NamedTuple):
    """The loops, compiled."""

    tokenise: Callable[..., tuple[int, int, int]]
    refill: Callable[..., None]
    count: Callable[..., int]
    tally: Callable[..., None]
    scatter: Callable[..., None]
    find: Callable[..., Any]


def tokenise(
    title_bytes, title_ends, text_bytes, text_ends, first,
    page_of, kinds, folds, expansion_start, expansion_length, expansion_codes, expansion_kinds,
    seed, slots, hashes, token_bytes, token_ends, state, word, out, lengths,
):  # fmt: skip
    """Reads titles and texts from number `first` on; returns (number of the text it stopped before, status, code).

    A title that its text begins with is passed over. out: token numbers; lengths: how many each text gave. state:
    [distinct tokens, their bytes, tokens in out]. slots: open addressing, high half a tag of the hash, low half the
    token's number + 1; hashes: of every distinct token, to refill larger slots. word: room for one token.
    """
    mask = np.uint64(len(slots) - 1)
    n_texts = len(text_ends) - 1
    for text in range(first, n_texts):
        n_before = state[2]
        title_start, title_end = title_ends[text], title_ends[text + 1]
        text_start, text_end = text_ends[text], text_ends[text + 1]
        # A character gives two tokens for each of its bytes at most (U+3316: six characters in three bytes).
        if n_before + 2 * (title_end - title_start + text_end - text_start) > len(out):
            return text, NO_ROOM, 0
        if title_end - title_start <= text_end - text_start:
            same = 0
            while same < title_end - title_start and title_bytes[title_start + same] == text_bytes[text_start + same]:
                same += 1
            if same == title_end - title_start:
                title_start = title_end
        n_out = n_before
        for piece in range(2):
            if piece == 0:
                data, i, end = title_bytes, title_start, title_end
            else:
                data, i, end = text_bytes, text_start, text_end
            at_end = i == end
            running = BREAK
            n_characters = 0
            n_bytes = 0
            n_last = 0
            part = 0
            n_parts = 0
            entry = 0
            while not at_end:
                if part < n_parts:
                    code = np.int64(expansion_codes[expansion_start[entry] + part])
                    kind = np.int64(expansion_kinds[expansion_start[entry] + part])
                    part += 1
                elif i >= end:
                    at_end = True
                    code = 0
                    kind = BREAK
                else:
                    character = np.int64(data[i])
                    i += 1
                    if character >= 0x80:
                        n_more = 1 if character < 0xE0 else 2 if character < 0xF0 else 3
                        character &= 0x3F >> n_more
                        for _ in range(n_more):
                            if i < end:
                                character = (character << 6) | np.int64(data[i] & 0x3F)
                                i += 1
                    page = np.int64(page_of[character >> 8])
                    if page < 0:
                        return text, NO_PAGE, character
                    entry = (page << 8) | (character & 255)
                    n_parts = np.int64(expansion_length[entry])
                    if n_parts != 1:
                        part = 0
                        continue
                    part = 1
                    code = np.int64(folds[entry])
                    kind = np.int64(kinds[entry])
                if kind == WORD and running == WORD and (code < 0x80 or n_characters >= MAX_WORD):
                    if n_characters < MAX_WORD:
                        word[n_bytes] = code
                        n_bytes += 1
                        n_characters += 1
                    continue
                for stage in range(2):
                    if stage == 0:
                        # The run that ends here.
                        if kind == running:
                            continue
                        is_token = (running == WORD and n_characters > 1) or (
                            running == SPACELESS and n_characters == 1
                        )
                    else:
                        # The run that goes on or begins here.
                        running = kind
                        if kind == BREAK:
                            continue
                        n_characters += 1
                        if code < 0x80:
                            n_last = 1
                            word[n_bytes] = code
                        elif code < 0x800:
                            n_last = 2
                            word[n_bytes] = 0xC0 | (code >> 6)
                        elif code < 0x10000:
                            n_last = 3
                            word[n_bytes] = 0xE0 | (code >> 12)
                        else:
                            n_last = 4
                            word[n_bytes] = 0xF0 | (code >> 18)
                        for more in range(1, n_last):
                            word[n_bytes + more] = 0x80 | ((code >> (6 * (n_last - 1 - more))) & 0x3F)
                        n_bytes += n_last
                        is_token = kind == SPACELESS and n_characters > 1
                    if is_token:
                        token = seed
                        for n in range(n_bytes):
                            token = (token ^ np.uint64(word[n])) * _PRIME
                        token = token * _MIX
                        token = token ^ (token >> _S32)
                        tag = token & _HIGH
                        slot = token & mask
                        number = np.int64(-1)
                        while slots[slot] != _ZERO:
                            if slots[slot] & _HIGH == tag:
                                candidate = np.int64(slots[slot] & _LOW) - 1
                                start = token_ends[candidate]
                                if token_ends[candidate + 1] - start == n_bytes:
                                    n = 0
                                    while n < n_bytes and token_bytes[start + n] == word[n]:
                                        n += 1
                                    if n == n_bytes:
                                        number = candidate
                                        break
                            slot = (slot + _ONE) & mask
                        if number < 0:
                            number = state[0]
                            start = state[1]
                            if number == len(hashes) or start + n_bytes > len(token_bytes):
                                return text, NO_ROOM, 0
                            for n in range(n_bytes):
                                token_bytes[start + n] = word[n]
                            token_ends[number + 1] = start + n_bytes
                            hashes[number] = token
                            slots[slot] = tag | np.uint64(number + 1)
                            state[0] = number + 1
                            state[1] = start + n_bytes
                        out[n_out] = number
                        n_out += 1
                    if stage == 0:
                        n_bytes = 0
                        n_characters = 0
                    elif is_token:
                        # The second of a pair is the first of the next.
                        for n in range(n_last):
                            word[n] = word[n_bytes - n_last + n]
                        n_bytes = n_last
        lengths[text] = n_out - n_before
        state[2] = n_out
    return n_texts, DONE, 0


def refill(hashes, slots):
    """Puts the tokens of these hashes, in order, into empty slots."""
    mask = np.uint64(len(slots) - 1)
    for number in range(len(hashes)):
        slot = hashes[number] & mask
        while slots[slot] != _ZERO:
            slot = (slot + _ONE) & mask
        slots[slot] = (hashes[number] & _HIGH) | np.uint64(number + 1)


def count(tokens, n_tokens, stem_of, counts, terms, tfs, lengths, n_terms):
    """Fills terms and tfs with the postings of each passage, returns how many; n_terms: how many each passage has.

    n_tokens: of each passage, stop words too. stem_of: token → number of its stem, −1 for a stop word. counts: zeros,
    one for every stem, and left so. lengths: tokens of each passage without stop words.
    """
    at = 0
    n_postings = 0
    for passage in range(len(n_tokens)):
        begin = n_postings
        length = 0
        for _ in range(n_tokens[passage]):
            stem = stem_of[tokens[at]]
            at += 1
            if stem >= 0:
                length += 1
                if counts[stem] == 0:
                    terms[n_postings] = stem
                    n_postings += 1
                counts[stem] += 1
        for i in range(begin, n_postings):
            tfs[i] = min(counts[terms[i]], MAX_TF)
            counts[terms[i]] = 0
        lengths[passage] = length
        n_terms[passage] = n_postings - begin
    return n_postings


def scatter(first_row, n_terms, terms, tfs, place, n_blocks, ends, out_rows, out_tfs):
    """Writes the postings of passages first_row, first_row + 1, … behind those there already.

    ends: per term and block, where its postings end so far. place: number of a term in the order of terms.
    """
    i = 0
    for passage in range(len(n_terms)):
        row = first_row + passage
        for _ in range(n_terms[passage]):
            list_number = place[terms[i]] * n_blocks + (row >> BLOCK_BITS)
            to = ends[list_number]
            ends[list_number] = to + 1
            out_rows[to] = row & (BLOCK_ROWS - 1)
            out_tfs[to] = tfs[i]
            i += 1


def tally(first_row, n_terms, terms, place, n_blocks, sizes):
    """Adds to sizes how many postings each term has in each block."""
    i = 0
    for passage in range(len(n_terms)):
        for _ in range(n_terms[passage]):
            sizes[place[terms[i]] * n_blocks + ((first_row + passage) >> BLOCK_BITS)] += 1
            i += 1


def find(term_bytes, term_ends, wanted_bytes, wanted_ends):
    """int64 (n,): the numbers of the wanted terms among terms in byte order, −1 for those that are not there."""
    found = np.full(len(wanted_ends) - 1, -1, dtype=np.int64)
    for i in range(len(found)):
        start, end = wanted_ends[i], wanted_ends[i + 1]
        low = 0
        high = len(term_ends)
        while low < high:
            middle = (low + high) >> 1
            at = np.int64(term_ends[middle - 1]) if middle else np.int64(0)
            last = np.int64(term_ends[middle])
            n = start
            while at < last and n < end and term_bytes[at] == wanted_bytes[n]:
                at += 1
                n += 1
            if at == last and n == end:
                found[i] = middle
                break
            if at == last or (n < end and term_bytes[at] < wanted_bytes[n]):
                low = middle + 1
            else:
                high = middle
    return found


@functools.cache
def compiled() -> Kernels:
    """The loops, compiled on first use (seconds; numba keeps the machine code on disk for the next process)."""
    import numba

    def compile_all(cache: bool) -> Kernels:
        jit = numba.njit(cache=cache, nogil=True)
        return Kernels(jit(tokenise), jit(refill), jit(count), jit(tally), jit(scatter), jit(find))

    try:
        return compile_all(cache=True)
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written: compile for this process alone.
        return compile_all(cache=False)
