"""One shard's approximate index on disk: FAISS inverted lists of product-quantised vectors, memory-mapped.

ann.faiss   what FAISS trained: the centres of the lists and the quantiser, without the codes
ann.lists   int64 sizes of the lists, padded to a multiple of 64 bytes; then of each list its codes, in the blocks of
            32 that fast scan reads, and its row numbers, int64, as many as fill the last block (−1 behind the end)
ann.json    checksums of both, and of the vectors that they are made of

FAISS writes such lists within the index and copies them into memory when it reads them. But its search asks a list
only where its codes and row numbers begin, and FAISS has lists that answer with places in a memory-mapped file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reread.datastore.layout import VECTORS, is_signed_rightly, signed
from reread.datastore.shard import Shard
from reread.errors import DatastoreError, MissingExtra
from reread.runs import atomic_file, content_seed, file_sha256, write_bytes_atomically, write_json_atomically

if TYPE_CHECKING:
    import faiss

Array = npt.NDArray[Any]

ANN_INDEX = "ann.faiss"
ANN_LISTS = "ann.lists"
ANN_FILE = "ann.json"
FORMAT = 2

MIN_PASSAGES = 10_000
"""Below this, scanning everything takes under a millisecond."""
TRAIN_PER_LIST = 40
"""Vectors that k-means sees for each list (FAISS warns below 39)."""
TRAIN_ROUNDS = 10
ADD_ROWS = 1 << 16
ALIGNED = 64
"""Bytes; fast scan reads codes from addresses that are multiples of 32."""


def sound_ann_facts(shard: Shard) -> dict[str, Any] | None:
    """The shard's ann.json where it and its index are whole and of these vectors."""
    try:
        entry = ann_facts(shard.folder)
    except DatastoreError:
        return None
    if entry is None or entry["vectors_sha256"] != shard.facts["files"][VECTORS]["sha256"]:
        return None
    for name, facts in entry["files"].items():
        path = shard.folder / name
        if not path.is_file() or path.stat().st_size != facts["bytes"]:
            return None
    return entry


def ann_facts(folder: Path) -> dict[str, Any] | None:
    """ann.json's content, None where there is none. Raises DatastoreError where it is damaged, or of another format."""
    path = folder / ANN_FILE
    if not path.exists():
        return None
    entry = read_facts(path, {"format": int, "index": str | None, "vectors_sha256": str, "files": dict})
    if entry["format"] != FORMAT:
        raise DatastoreError(
            f"{folder} has an approximate index of format {entry['format']}, this version reads {FORMAT}; make it "
            "again with the reread build command with --ann"
        )
    return entry


def read_facts(path: Path, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """A file that holds its own checksum and at least these values. Raises DatastoreError where it is damaged."""
    try:
        content = json.loads(path.read_bytes())
        if all(isinstance(content[name], kind) for name, kind in kinds.items()) and is_signed_rightly(content):
            return dict(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise DatastoreError(f"{path} is damaged; delete it, then run the reread build command with --ann again")


# Making


def n_lists_for(n: int) -> int:
    """The power of two nearest to 1.6·√n."""
    return int(2 ** round(np.log2(1.6 * np.sqrt(n))))


def n_subquantisers_for(dimension: int) -> int:
    """As many as divide the dimensions, up to half: of 4 bits each, two bits a dimension."""
    return next(m for m in range(max(dimension // 2, 1), 0, -1) if dimension % m == 0)


def index_shard(shard: Shard) -> dict[str, Any]:
    """Writes the index' two files, then ann.json; returns the latter's content."""
    faiss = import_faiss()
    vectors_sha256 = shard.facts["files"][VECTORS]["sha256"]
    content: dict[str, Any] = {"format": FORMAT, "vectors_sha256": vectors_sha256, "index": None, "files": {}}
    if shard.n_passages < MIN_PASSAGES:
        content["reason"] = f"fewer than {MIN_PASSAGES} passages: searched exactly"
    else:
        index = train_index(shard.vectors, content_seed("ann", vectors_sha256))
        write_index(index, shard.folder)
        paths = [shard.folder / name for name in (ANN_INDEX, ANN_LISTS)]
        content |= {
            "index": ANN_INDEX,
            "n_lists": index.nlist,
            "n_subquantisers": index.pq.M,
            "faiss": faiss.__version__,
            "files": {path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in paths},
        }
    write_json_atomically(shard.folder / ANN_FILE, signed(content))
    return content


def train_index(vectors: Array, seed: int) -> faiss.IndexIVFPQFastScan:
    """An index of the vectors, float16 (n, d), trained on a sample of them; memory is bounded by sample and codes."""
    faiss = import_faiss()
    n, dimension = vectors.shape
    n_lists, m = n_lists_for(n), n_subquantisers_for(dimension)
    index = faiss.index_factory(dimension, f"IVF{n_lists},PQ{m}x4fs", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.seed = TRAIN_ROUNDS, seed % (1 << 31)
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(n, size=min(n, TRAIN_PER_LIST * n_lists), replace=False))
    index.train(vectors[sample].astype(np.float32))
    for first in range(0, n, ADD_ROWS):
        index.add(np.asarray(vectors[first : first + ADD_ROWS], dtype=np.float32))
    return index


def write_index(index: faiss.IndexIVFPQFastScan, folder: Path) -> None:
    """ann.lists and ann.faiss, atomically. Empties the index."""
    faiss = import_faiss()
    lists = faiss.downcast_InvertedLists(index.invlists)
    sizes = np.array([lists.list_size(number) for number in range(index.nlist)], dtype=np.int64)
    capacities = _capacities(sizes, lists.n_per_block)
    with atomic_file(folder / ANN_LISTS) as file:
        file.write(sizes.tobytes())
        file.write(bytes(-sizes.nbytes % ALIGNED))
        for number, (size, capacity) in enumerate(zip(sizes.tolist(), capacities.tolist(), strict=True)):
            if size:
                n_bytes = capacity // lists.n_per_block * lists.block_size
                file.write(faiss.rev_swig_ptr(lists.get_codes(number), n_bytes).tobytes())
                rows = np.full(capacity, -1, dtype=np.int64)
                rows[:size] = faiss.rev_swig_ptr(lists.get_ids(number), size)
                file.write(rows.tobytes())
    index.reset()
    write_bytes_atomically(folder / ANN_INDEX, faiss.serialize_index(index).tobytes())


def _capacities(sizes: Array, n_per_block: int) -> Array:
    """Rows of each list, those that fill its last block counted."""
    return -(-sizes // n_per_block) * n_per_block


# Opening


def open_index(folder: Path, entry: Mapping[str, Any], dimension: int, n_passages: int) -> Any:
    """The shard's index, an IndexIVFPQFastScan over the memory-mapped lists. Raises DatastoreError for a damaged one.

    Anonymous memory holds the centres alone; no file stays open.
    """
    faiss = import_faiss()
    try:
        # FAISS trusts its files; a cut or swapped one must not reach it.
        for name, facts in entry["files"].items():
            n_bytes = (folder / name).stat().st_size
            if n_bytes != facts["bytes"]:
                raise RuntimeError(f"{name} has {n_bytes} bytes instead of {facts['bytes']}")
        index = faiss.read_index(str(folder / ANN_INDEX))
        if not isinstance(index, faiss.IndexIVFPQFastScan) or index.d != dimension:
            raise RuntimeError(f"{type(index).__name__} of {index.d} dimensions")
        empty = faiss.downcast_InvertedLists(index.invlists)
        lists = _mapped_lists(folder / ANN_LISTS, index.nlist, empty.n_per_block, empty.block_size, n_passages)
    except (OSError, KeyError, RuntimeError) as error:
        raise damaged_index(folder) from error
    index.replace_invlists(lists, False)
    index.ntotal = n_passages
    # As FAISS's own Python layer keeps alive what an index points to.
    index.referenced_objects = [lists]
    return index


def _mapped_lists(
    path: Path, n_lists: int, n_per_block: int, block_size: int, n_passages: int
) -> faiss.OnDiskInvertedLists:
    faiss = import_faiss()
    sizes = np.fromfile(path, dtype=np.int64, count=n_lists)
    capacities = _capacities(sizes, n_per_block)
    code_size = block_size // n_per_block
    n_bytes = capacities * (code_size + sizes.itemsize)
    first = sizes.nbytes + -sizes.nbytes % ALIGNED
    total = path.stat().st_size
    if len(sizes) != n_lists or (sizes < 0).any() or sizes.sum() != n_passages or first + n_bytes.sum() != total:
        raise RuntimeError(f"{path} is not what its list sizes say")
    places = first + np.cumsum(n_bytes) - n_bytes
    places_of = faiss.OnDiskOneListVector()
    for numbers in zip(sizes.tolist(), capacities.tolist(), places.tolist(), strict=True):
        one = faiss.OnDiskOneList()
        one.size, one.capacity, one.offset = numbers
        places_of.push_back(one)
    lists = faiss.OnDiskInvertedLists(n_lists, code_size, str(path))
    lists.lists = places_of
    lists.read_only, lists.totsize = True, total
    # Else FAISS starts up to 32 threads a search to read the lists ahead: 2.4 ms a query instead of 0.3 on 100,000.
    lists.prefetch_nthread = 0
    lists.do_mmap()
    return lists


def damaged_index(folder: Path) -> DatastoreError:
    return DatastoreError(
        f"{folder / ANN_INDEX} or {ANN_LISTS} beside it is missing or damaged; delete both and {folder / ANN_FILE}, "
        "then run the reread build command with --ann again"
    )


def import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtra("faiss", "ann", "approximate search") from error
    return faiss
