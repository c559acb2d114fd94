"""Exact inner-product search: blocked matrix product with a running top k over memory-mapped float16 vectors.

The product is the fastest the machine has: bfloat16 where the processor multiplies it natively (AVX512-BF16, AMX),
else float32; on a GPU float32. Its scores only select. Each comes with a bound on its error, from the Cauchy-Schwarz
inequality over the actual rounding errors, and a passage is left out only where even its highest possible score is
below the k-th best lowest possible one. What remains is scored again in float64, exactly and in one order of
summation. So the hits are those of an exact product, and a passage's score is the same however the store is cut.

|q·x − q̂·x̂| ≤ ‖q‖·‖x − x̂‖ + ‖q − q̂‖·‖x̂‖ for the rounded inputs q̂, x̂; float32 accumulation of d products adds at
most γ·‖q̂‖·‖x̂‖ with γ = d·2⁻²⁴ (Higham 2002, section 3.1; doubled here, as hardware sums pairs in its own way); a
bfloat16 result adds 2⁻⁸ of itself.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.errors import DatastoreError

Array = npt.NDArray[Any]
Best = tuple[Array, Array]
"""Of one query: global row numbers (int64), their scores (float64)."""

BLOCK_ROWS = 2048
QUERY_ROWS = 256
"""2048 × 384 bfloat16 numbers and 256 × 2048 scores stay in a core's cache between the passes over them."""
DEVICE_ROWS = 65536
STATE_BYTES = 64 << 20
"""Candidates kept at once, a thread: more queries than fit are searched in several rounds."""
MAX_QUERIES = 2048
SLACK = 1.001
"""Covers the rounding in computing the bounds themselves."""
BFLOAT16_UNIT = 2.0**-8


class ExactIndex:
    """Searches the vectors of several shards as one list of rows, numbered through in the shards' order.

    lengths: rows of every shard. vectors_of: a shard's vectors, float16 (n, d), memory-mapped; asked for when they
    are needed. device: a torch device to search on; None takes a GPU where there is one, else the CPU's own loops.
    """

    def __init__(
        self, lengths: Sequence[int], vectors_of: Callable[[int], Array], dimension: int, device: str | None = None
    ) -> None:
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        self.dimension = dimension
        self._vectors_of = vectors_of
        self._device = device
        self._facts = np.full((-(-len(self) // BLOCK_ROWS), 2), np.nan)
        """Of every block seen: its longest row, and the farthest that a row is from its bfloat16 form."""
        self._on_device: dict[int, Any] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def search(
        self, queries: Array, k: int, hidden: Mapping[int, Array] | None = None, n_threads: int | None = None
    ) -> list[Best]:
        """For each query its k best rows, in no order, and all that tie with the k-th; fewer where fewer exist.

        queries: float32 (q, d). hidden: by shard, bool (n,), the rows to pass over. n_threads: torch's setting where
        torch is installed, else numpy's own. Raises DatastoreError for stored vectors of a wrong shape or with NaN.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        hidden = {number: rows for number, rows in (hidden or {}).items() if rows.any()}
        room = min(4 * k + 256, len(self) + 256)
        at_once = min(max(STATE_BYTES // (room * 24), 1), MAX_QUERIES)
        device = self._device if self._device is not None else _gpu()
        found: list[Best] = []
        for first in range(0, len(queries), at_once):
            some = queries[first : first + at_once]
            scaled = _scaled(some)
            if device is None:
                candidates = self._scan(scaled, k, hidden, room, n_threads)
            else:
                candidates = self._scan_on(device, scaled, k, hidden)
            found.extend(self.score(some, candidates, k))
        return found

    # Scanning on the CPU

    def _scan(
        self, queries: Array, k: int, hidden: Mapping[int, Array], room: int, n_threads: int | None
    ) -> list[Array]:
        """The rows that may be among each query's k best."""
        make, default_threads = _product()
        n_threads = max(1, min(n_threads or default_threads, len(self._facts)))
        floors = np.full(len(queries), -np.inf)
        blocks = _shared(range(len(self._facts)))

        def work() -> _Kept:
            kept = _Kept(len(queries), k, room, floors)
            product = make(queries, self.dimension)
            for block in blocks:
                self._scan_block(block, product, kept, hidden)
            return kept

        parts = [work()] if n_threads == 1 else _in_threads(work, n_threads)
        return [_survivors([part.of(query) for part in parts], k) for query in range(len(queries))]

    def _scan_block(self, block: int, product: _Product, kept: _Kept, hidden: Mapping[int, Array]) -> None:
        first, last = block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, len(self))
        for number, rows, place in self._pieces(first, last):
            product.load(self._halves(number)[rows], place)
        if np.isnan(self._facts[block, 0]):
            self._facts[block] = self._block_facts(first, last)
        longest, farthest = self._facts[block]
        mask = self._hidden_rows(first, last, hidden)
        for start in range(0, len(product.lengths), QUERY_ROWS):
            some = slice(start, start + QUERY_ROWS)
            errors = product.errors(some, longest, farthest)
            kept.add(product.scores(some, last - first), product, some, first, mask, errors)

    def _block_facts(self, first: int, last: int) -> tuple[float, float]:
        from reread.datastore.vector_kernels import block_facts

        singles, brains = np.empty(self.dimension, np.uint32), np.empty(self.dimension, np.uint16)
        facts = []
        for number, rows, _ in self._pieces(first, last):
            facts.append(block_facts(self._halves(number)[rows], singles, brains))
            if not np.isfinite(facts[-1][0]):
                raise DatastoreError(
                    f"shard {number} (counted from 0) holds a vector with NaN or infinity; run: reread verify STORE"
                )
        return max(fact[0] for fact in facts), max(fact[1] for fact in facts)

    def _pieces(self, first: int, last: int) -> Iterator[tuple[int, slice, int]]:
        """(shard, its rows, place in the block) that make up the global rows first … last."""
        number, begin = int(np.searchsorted(self.starts, first, side="right")) - 1, first
        while first < last:
            start, end = int(self.starts[number]), min(int(self.starts[number + 1]), last)
            if end > first:
                yield number, slice(first - start, end - start), first - begin
            number, first = number + 1, max(first, end)

    def _halves(self, number: int) -> Array:
        """A shard's vectors as the bits of their float16 numbers."""
        vectors = self._vectors_of(number)
        n_rows = int(self.starts[number + 1] - self.starts[number])
        if vectors.shape != (n_rows, self.dimension) or vectors.dtype != np.float16:
            raise DatastoreError(
                f"shard {number} (counted from 0) has {vectors.dtype} vectors of shape {vectors.shape} instead of "
                f"float16 {(n_rows, self.dimension)}; run: reread verify STORE"
            )
        return vectors.view(np.uint16)

    def _hidden_rows(self, first: int, last: int, hidden: Mapping[int, Array]) -> Array:
        """bool (last − first,), or empty where nothing is hidden."""
        if not hidden:
            return _NOTHING
        mask = np.zeros(last - first, np.bool_)
        for number, rows, place in self._pieces(first, last):
            if number in hidden:
                part = hidden[number][rows]
                mask[place : place + len(part)] = part
        return mask if mask.any() else _NOTHING

    # Scanning on a device

    def _scan_on(self, device: str, queries: Array, k: int, hidden: Mapping[int, Array]) -> list[Array]:
        """As `_scan`, by torch alone: float32 products on the device, with the same kind of bound."""
        import torch

        queries_on = torch.from_numpy(queries).to(device)
        lengths = queries_on.norm(dim=1)
        unit = _float32_unit(torch, self.dimension)
        best = torch.full((len(queries), 1), -torch.inf, device=device)
        parts: list[list[tuple[Array, Array, Array]]] = [[] for _ in queries]
        for block, first in enumerate(range(0, len(self), DEVICE_ROWS)):
            last = min(first + DEVICE_ROWS, len(self))
            vectors = self._block_on(device, block, first, last).float()
            longest = vectors.norm(dim=1).max()
            if not bool(torch.isfinite(longest)):
                raise DatastoreError(f"rows {first} to {last} hold a vector with NaN; run: reread verify STORE")
            mask = self._hidden_rows(first, last, hidden)
            for start in range(0, len(queries), QUERY_ROWS):
                some = slice(start, start + QUERY_ROWS)
                scores = queries_on[some] @ vectors.T
                if mask.size:
                    scores[:, torch.from_numpy(mask).to(device)] = -torch.inf
                errors = (SLACK * unit * lengths[some] * longest)[:, None]
                here = scores.topk(min(k, last - first), dim=1).values - errors
                known = torch.cat([best[some], here], dim=1).topk(min(k, best.shape[1] + here.shape[1]), dim=1).values
                floors = known[:, -1:] if known.shape[1] >= k else torch.full_like(known[:, :1], -torch.inf)
                if start == 0:
                    raised = torch.full((len(queries), known.shape[1]), -torch.inf, device=device)
                raised[some] = known
                which, rows = torch.nonzero((scores + errors >= floors) & (scores > -torch.inf), as_tuple=True)
                kept, off = scores[which, rows].double().cpu().numpy(), errors[which, 0].double().cpu().numpy()
                which_cpu, rows_cpu = which.cpu().numpy(), rows.cpu().numpy() + first
                cuts = np.searchsorted(which_cpu, np.arange(scores.shape[0] + 1))
                for i, (a, b) in enumerate(itertools.pairwise(cuts)):
                    parts[start + i].append((rows_cpu[a:b], kept[a:b] - off[a:b], kept[a:b] + off[a:b]))
            best = raised
        return [_survivors(part, k) for part in parts]

    def _block_on(self, device: str, block: int, first: int, last: int) -> Any:
        """The rows as a float16 tensor on the device; kept there while half of its free memory is left."""
        import torch

        tensor = self._on_device.get(block)
        if tensor is None:
            host = np.empty((last - first, self.dimension), np.uint16)
            for number, rows, place in self._pieces(first, last):
                part = self._halves(number)[rows]
                host[place : place + len(part)] = part
            tensor = torch.from_numpy(host.view(np.float16)).to(device)
            if tensor.is_cuda:
                free, total = torch.cuda.mem_get_info(tensor.device)
                if free > total // 2:
                    self._on_device[block] = tensor
        return tensor

    # Scoring what remains

    def score(self, queries: Array, candidates: Sequence[Array], k: int, in_memory: bool = True) -> list[Best]:
        """For each query the k best of its candidate rows, ties at the k-th included.

        in_memory: the vectors' pages are there already; else the rows are read one by one, which keeps the file out
        of this process' memory.
        """
        from reread.datastore.vector_kernels import exact_scores

        counts = np.array([len(rows) for rows in candidates], dtype=np.int64)
        all_rows = np.concatenate([*candidates, _NO_ROWS])
        order = np.argsort(all_rows, kind="stable")
        rows, whose = all_rows[order], np.repeat(np.arange(len(queries)), counts)[order]
        in_order, exact_queries = np.empty(len(rows)), queries.astype(np.float64)
        for number, part, local in self._by_shard(rows):
            if in_memory:
                halves = self._halves(number)
            else:
                local, places = np.unique(local, return_inverse=True)
                halves, local = self._read(number, local), places
            exact_scores(halves, local, exact_queries, whose[part], in_order[part])
        scores = np.empty(len(rows))
        scores[order] = in_order
        ends = np.cumsum(counts).tolist()
        return [
            best_of(candidates[i], scores[end - count : end], k)
            for i, (end, count) in enumerate(zip(ends, counts.tolist(), strict=True))
        ]

    def vectors(self, rows: Array) -> Array:
        """float16 (m, d), the vectors of these rows, which must be in ascending order."""
        parts = [self._read(number, local) for number, _, local in self._by_shard(rows)]
        return np.concatenate([*parts, np.empty((0, self.dimension), np.uint16)]).view(np.float16)

    def _by_shard(self, rows: Array) -> Iterator[tuple[int, slice, Array]]:
        """(shard, where its rows stand, their numbers in the shard) of ascending rows."""
        place = 0
        while place < len(rows):
            number = int(np.searchsorted(self.starts, rows[place], side="right")) - 1
            end = int(np.searchsorted(rows, self.starts[number + 1]))
            yield number, slice(place, end), rows[place:end] - self.starts[number]
            place = end

    def _read(self, number: int, rows: Array) -> Array:
        """Some rows' bits, from the file itself where the vectors are memory-mapped."""
        halves, mapped = self._halves(number), self._vectors_of(number)
        if not isinstance(mapped, np.memmap) or mapped.filename is None or not hasattr(os, "pread"):
            return np.ascontiguousarray(halves[rows])
        size = self.dimension * 2
        file = os.open(mapped.filename, os.O_RDONLY)
        try:
            data = b"".join([os.pread(file, size, mapped.offset + row * size) for row in rows.tolist()])
        finally:
            os.close(file)
        return np.frombuffer(data, np.uint16).reshape(len(rows), self.dimension)


def _scaled(queries: Array) -> Array:
    """The queries times powers of two that bring their largest numbers to [½, 1): the same order of passages, and no
    product that overflows, or is so small that processors count it as 0."""
    _, exponents = np.frexp(np.abs(queries).max(axis=1, initial=0.0))
    return np.ldexp(queries, -exponents[:, None])


def best_of(rows: Array, scores: Array, k: int) -> Best:
    """Those that score at least the k-th best."""
    if rows.size > k:
        best = scores >= np.partition(scores, rows.size - k)[rows.size - k]
        rows, scores = rows[best], scores[best]
    return rows, scores


def _survivors(parts: Sequence[tuple[Array, Array, Array]], k: int) -> Array:
    """Of rows with the bounds of their scores, those that may be among the k best."""
    rows, lows, highs = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else (_NO_ROWS,) * 3
    if rows.size <= k:
        return rows.astype(np.int64)
    kept: Array = rows[highs >= np.partition(lows, rows.size - k)[rows.size - k]]
    return kept


class _Kept:
    """The rows that one thread keeps for each query, with bounds of their scores, in arrays of fixed room."""

    def __init__(self, n_queries: int, k: int, room: int, floors: Array) -> None:
        self.k = k
        self.floors = floors
        """Shared between threads: each only raises it to a score that k rows are known to reach. A raise that
        another thread's write undoes costs time and no hit."""
        self.rows = np.empty((n_queries, room), np.int64)
        self.lows = np.empty((n_queries, room))
        self.highs = np.empty((n_queries, room))
        self.counts = np.zeros(n_queries, np.int64)
        self.spilled: dict[int, list[tuple[Array, Array, Array]]] = {}

    def add(self, bits: Array, product: _Product, some: slice, first: int, mask: Array, errors: Array) -> None:
        from reread.datastore.vector_kernels import keep_best

        arrays = (self.floors[some], self.rows[some], self.lows[some], self.highs[some], self.counts[some])
        place, n = 0, bits.shape[0] * bits.shape[1]
        while True:
            place = keep_best(bits, product.shift, product.unit, first, mask, errors, self.k, *arrays, place)
            if place >= n:
                return
            query = some.start + place // bits.shape[1]
            # Only a great many nearly equal scores fill the room.
            self.spilled.setdefault(query, []).append(self._taken(query))
            self.counts[query] = 0

    def _taken(self, query: int) -> tuple[Array, Array, Array]:
        count = self.counts[query]
        return self.rows[query, :count].copy(), self.lows[query, :count].copy(), self.highs[query, :count].copy()

    def of(self, query: int) -> tuple[Array, Array, Array]:
        parts = [*self.spilled.get(query, []), self._taken(query)]
        rows, lows, highs = (np.concatenate(column) for column in zip(*parts, strict=True))
        return rows, lows, highs


@dataclass(slots=True)
class _Product:
    """The matrix product of one thread: a block is loaded, then multiplied with some of the queries."""

    lengths: Array
    """‖q̂‖ of every query, float64."""
    distances: Array
    """‖q − q̂‖ of every query."""
    gamma: float
    unit: float
    """Relative rounding of the result."""
    shift: int
    """The result's bits are float32's, shifted right by this."""
    load: Callable[[Array, int], None]
    """Takes the float16 bits of some rows to their place in the block."""
    scores: Callable[[slice, int], Array]
    """Of some queries with the block's first n rows: the bits (q, n)."""

    def errors(self, some: slice, longest: float, farthest: float) -> Array:
        """How far the scores may be off, before the result's own rounding."""
        if self.shift == 0:
            farthest = 0.0
        lengths, distances = self.lengths[some], self.distances[some]
        away = longest + farthest
        errors: Array = SLACK * ((lengths + distances) * farthest + distances * away + self.gamma * lengths * away)
        return errors


def _product() -> tuple[Callable[[Array, int], _Product], int]:
    """(maker of a thread's product, threads to use): the fastest that is here."""
    if importlib.util.find_spec("torch") is None:
        return _numpy_product, 1
    import torch

    native: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if native.get("avx512_bf16") or native.get("amx_bf16"):
        return _bfloat16_product, torch.get_num_threads()
    return _torch_product, torch.get_num_threads()


def _bfloat16_product(queries: Array, dimension: int) -> _Product:
    import torch

    from reread.datastore.vector_kernels import to_bfloat16

    block = np.empty((BLOCK_ROWS, dimension), np.uint16)
    block_t = torch.from_numpy(block.view(np.int16)).view(torch.bfloat16)
    queries_t = torch.from_numpy(queries).bfloat16()
    rounded = queries_t.double().numpy()

    def load(halves: Array, place: int) -> None:
        to_bfloat16(halves.reshape(-1), block[place : place + len(halves)].reshape(-1))

    def scores(some: slice, n: int) -> Array:
        bits: Array = (queries_t[some] @ block_t[:n].T).view(torch.int16).numpy()
        return bits

    return _Product(
        lengths=np.linalg.norm(rounded, axis=1),
        distances=np.linalg.norm(queries - rounded, axis=1),
        gamma=2 * dimension * 2.0**-24,
        unit=BFLOAT16_UNIT,
        shift=16,
        load=load,
        scores=scores,
    )


def _float32_product(
    queries: Array, dimension: int, unit: float, multiply: Callable[[Array, Array], Array]
) -> _Product:
    from reread.datastore.vector_kernels import to_float32

    block = np.empty((BLOCK_ROWS, dimension), np.float32)

    def load(halves: Array, place: int) -> None:
        to_float32(halves.reshape(-1), block[place : place + len(halves)].view(np.uint32).reshape(-1))

    def scores(some: slice, n: int) -> Array:
        return multiply(queries[some], block[:n]).view(np.int32)

    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    return _Product(lengths, np.zeros(len(queries)), unit, 0.0, 0, load, scores)


def _torch_product(queries: Array, dimension: int) -> _Product:
    import torch

    def multiply(some: Array, block: Array) -> Array:
        scores: Array = (torch.from_numpy(some) @ torch.from_numpy(block).T).numpy()
        return scores

    return _float32_product(queries, dimension, _float32_unit(torch, dimension), multiply)


def _numpy_product(queries: Array, dimension: int) -> _Product:
    return _float32_product(queries, dimension, 2 * dimension * 2.0**-24, lambda some, block: some @ block.T)


def _float32_unit(torch: Any, dimension: int) -> float:
    """The relative error of torch's float32 product: where it was allowed to round its inputs, bfloat16's."""
    gamma = 2 * dimension * 2.0**-24
    exact = torch.get_float32_matmul_precision() == "highest" and not torch.backends.cuda.matmul.allow_tf32
    return gamma if exact else gamma + 3 * BFLOAT16_UNIT


def _gpu() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


def _in_threads(work: Callable[[], _Kept], n_threads: int) -> list[_Kept]:
    """Every thread multiplies alone on its blocks, which scales better than all of them on each block."""
    import torch

    saved = torch.get_num_threads()
    try:
        # Torch's number of threads belongs to the calling thread; new threads begin with the last one set.
        with ThreadPoolExecutor(n_threads, initializer=lambda: torch.set_num_threads(1)) as pool:
            return [future.result() for future in [pool.submit(work) for _ in range(n_threads)]]
    finally:
        torch.set_num_threads(saved)


def _shared(numbers: range) -> Iterator[int]:
    """An iterator that several threads may draw from."""
    lock, source = threading.Lock(), iter(numbers)

    def draw() -> int:
        with lock:
            return next(source, -1)

    return iter(draw, -1)


_NOTHING = np.empty(0, dtype=np.bool_)
_NO_ROWS = np.empty(0, dtype=np.int64)
