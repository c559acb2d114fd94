"""Which documents repeat an earlier one, from keys and sketches on disk, in memory that is a few bytes a document.

Exact: documents are sorted by content key. Near: for each band in turn they are sorted by the band's hash; in a group
of equal hashes each document is compared with the group's earlier ones that it is not already joined to, and a pair
whose sketches agree on the threshold's share of functions joins two clusters (union-find). In every cluster the
documents are then gone through in corpus order: one that is similar enough to one kept is dropped, any other is kept.
So what is dropped has a measured neighbour that stays, chains of small changes do not carry far, the first of equals
stays, and nothing depends on the order in which pairs are found.

Sorting takes about 2²⁴ documents at a time (those whose hash begins alike), in about 0.7 GB; beside that stand 8 bytes
a document for the clusters, 13 for the decisions and at most 20 while clusters are gone through, so about 40 GB for
10⁹ documents. Keys, sketches and band hashes are memory-mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.corpus.dedup.sketch import NO_SKETCH, Sketches

SORTED_AT_ONCE = 1 << 24
LEADERS = 1000
"""Unlike documents of one group that a further one is compared with at most: a template shared by a million pages
that are otherwise unlike would take 10¹² comparisons."""

GROUPS_AT_ONCE = 1 << 14
"""Groups compared between two chances to be interrupted."""

READ_AT_ONCE = 1 << 17
"""Sketches read at a time."""

DECISION = np.dtype([("kept", "<i8"), ("similarity", "<f4"), ("exact", "?")])
"""Of each document: the number of the document kept in its place, or −1 where it stays; how alike the two are."""

Integers = npt.NDArray[np.int64]


def decide(
    keys: npt.NDArray[np.uint64],
    sketches: Sketches | None,
    band_hashes: npt.NDArray[np.uint64] | None,
    threshold: float,
    progress: Callable[[int, int | None], None] | None = None,
) -> npt.NDArray[Any]:
    """A DECISION for each document.

    keys: (documents, 2), the content keys. sketches: (documents, permutations), band_hashes: (bands, documents), or
    None to look for exact duplicates only. progress: (bands done, bands).
    """
    decisions = np.zeros(len(keys), dtype=DECISION)
    decisions["kept"] = -1
    for documents, starts in _groups(keys[:, 0], np.ones(len(keys), dtype=bool), SORTED_AT_ONCE):
        for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            _drop_equal(documents[first:last], keys, decisions)
    if sketches is None or band_hashes is None:
        return decisions
    alive = (decisions["kept"] < 0) & _has_sketch(sketches)
    clusters = np.arange(len(keys), dtype=np.int64)
    least = _least_agreement(threshold, sketches.shape[1])
    from reread.corpus.dedup import kernels

    plain = np.asarray(sketches)
    for band, hashes in enumerate(band_hashes):
        if progress is not None:
            progress(band, len(band_hashes))
        for documents, starts in _groups(hashes, alive, SORTED_AT_ONCE):
            for part in range(0, len(starts) - 1, GROUPS_AT_ONCE):
                some = starts[part : part + GROUPS_AT_ONCE + 1]
                kernels.join(documents, some, plain, clusters, least, LEADERS)
    _elect(clusters, alive, plain, least, decisions)
    # What repeats a dropped document exactly repeats the one kept in that one's place.
    copies = np.flatnonzero(decisions["exact"])
    originals = decisions["kept"][copies]
    moved = decisions["kept"][originals] >= 0
    decisions["similarity"][copies[moved]] = decisions["similarity"][originals[moved]]
    decisions["kept"][copies[moved]] = decisions["kept"][originals[moved]]
    decisions["exact"][copies[moved]] = False
    if progress is not None:
        progress(len(band_hashes), len(band_hashes))
    return decisions


def _least_agreement(threshold: float, permutations: int) -> int:
    return int(np.ceil(threshold * permutations - 1e-9))


def _has_sketch(sketches: Sketches) -> npt.NDArray[np.bool_]:
    has = np.empty(len(sketches), dtype=bool)
    for first in range(0, len(sketches), READ_AT_ONCE):
        has[first : first + READ_AT_ONCE] = (sketches[first : first + READ_AT_ONCE] != NO_SKETCH).any(axis=1)
    return has


def _groups(
    hashes: npt.NDArray[np.uint64], alive: npt.NDArray[np.bool_], at_once: int
) -> Iterator[tuple[Integers, Integers]]:
    """(documents, starts): documents that share a hash with another lie together, in order; group g is
    documents[starts[g] : starts[g + 1]]. Those whose hash begins alike are sorted together, about `at_once` a time."""
    bits = max(0, int(np.ceil(np.log2(max(1, len(hashes)) / at_once))))
    for prefix in range(1 << bits):
        chosen = []
        values = []
        for first in range(0, len(hashes), at_once):
            block = np.asarray(hashes[first : first + at_once])
            mask = alive[first : first + at_once]
            if bits:
                mask = mask & (block >> np.uint64(64 - bits) == np.uint64(prefix))
            inside = np.flatnonzero(mask)
            chosen.append(inside + first)
            values.append(block[inside])
        if not chosen:
            return
        documents, value = np.concatenate(chosen), np.concatenate(values)
        order = np.argsort(value, kind="stable")
        documents, value = documents[order], value[order]
        edges = np.flatnonzero(np.concatenate(([True], value[1:] != value[:-1], [True])) if len(value) else [])
        sizes = np.diff(edges)
        kept = np.repeat(sizes > 1, sizes)
        sizes = sizes[sizes > 1]
        if len(sizes):
            yield documents[kept], np.concatenate(([0], np.cumsum(sizes)))


def _drop_equal(documents: Integers, keys: npt.NDArray[np.uint64], decisions: npt.NDArray[Any]) -> None:
    """Documents share the first half of their keys: those that share the second too are one."""
    first_of: dict[int, int] = {}
    for document, half in zip(documents.tolist(), keys[documents, 1].tolist(), strict=True):
        first = first_of.setdefault(half, document)
        if first != document:
            decisions[document] = (first, 1.0, True)


def _elect(
    clusters: Integers, alive: npt.NDArray[np.bool_], sketches: Sketches, least: int, decisions: npt.NDArray[Any]
) -> None:
    from reread.corpus.dedup import kernels

    kernels.flatten(clusters)
    heads = np.zeros(len(clusters), dtype=bool)
    heads[clusters[clusters != np.arange(len(clusters))]] = True
    members = np.flatnonzero(alive & heads[clusters])
    members = members[np.argsort(clusters[members], kind="stable")]
    roots = clusters[members]
    if not len(members):
        return
    starts = np.flatnonzero(np.concatenate(([True], roots[1:] != roots[:-1], [True])))
    kept, agreement = kernels.elect(members, starts, sketches, least)
    dropped = kept >= 0
    decisions["kept"][members[dropped]] = kept[dropped]
    decisions["similarity"][members[dropped]] = agreement[dropped] / sketches.shape[1]
