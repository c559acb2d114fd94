"""A corpus without its duplicates, from files into a folder; resumable, parallel by corpus file.

Three stages. Every corpus file is read and gives, in work/, the content key, sketch, record number and id of each of
its documents; from these alone it is decided which documents repeat an earlier one (dedup.cluster); then every file is
read again and written to clean/ without those. Each file of each stage is finished on its own and marked, so a killed
run goes on where it was, and the result has the same bytes for any number of workers and interruptions.

On disk, while it runs, a document takes 2 bytes a permutation twice over, 8 a band, 40 and its id: about 1.3 KB with
the settings as they come.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reread.corpus.dedup.cluster import DECISION, READ_AT_ONCE, decide
from reread.corpus.dedup.sketch import SketchSettings, band_keys, check_rensa, content_key, normalise, sketch
from reread.corpus.documents import START, no_documents, read_from
from reread.corpus.filters import make_filter
from reread.corpus.find import CorpusFile, find_files
from reread.corpus.output import (
    atomic_zstd,
    check_outside,
    claim_folder,
    full_disk,
    join_files,
    output_names,
    record_line,
    remove_unfinished,
)
from reread.corpus.rejects import Rejects
from reread.corpus.workers import Tick, over_files
from reread.errors import CorpusError, UsageError
from reread.runs import atomic_file, write_json_atomically

SETTINGS = "dedup.json"
WORK = "work"
FILES = "files.json"
"""In work/: every corpus file's name and the number of its first document."""
BATCH = 256
"""Documents sketched together."""

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class _Job:
    """One corpus file of one stage, as it is handed to a worker."""

    number: int
    file: CorpusFile
    out: Path
    settings: SketchSettings
    filters: tuple[str, ...]
    clean_name: str
    first: int = 0
    """The number of the file's first document in the corpus."""

    def work(self, suffix: str) -> Path:
        return self.out / WORK / f"{self.number:05d}.{suffix}"


def dedup_corpus(
    corpora: Sequence[str],
    out: Path,
    *,
    settings: SketchSettings | None = None,
    filters: Sequence[str] = (),
    workers: int = 1,
    stage: Callable[[str], Progress] | None = None,
) -> dict[str, Any]:
    """Write the corpora without exact and near duplicates to the folder `out`, and return the summary.

    Writes clean/ (the same records, one jsonl.zst for each corpus file), duplicates.jsonl (one object a dropped
    document: doc_id, source, record, kept_doc_id, kept_source, kept_record, kind "exact" or "near", similarity),
    rejects.jsonl (what could not be read, and what `filters` dropped, by reason) and summary.json. `source` is the
    file's name below its CORPUS, `record` its number in it, so ids may repeat. The document that stays is the first in
    corpus order. filters: rules of corpus.filters, applied before. workers: processes; the result has the same bytes
    for any number. stage: opens a titled progress report, called with (done, total).

    Raises CorpusError for a corpus without a readable document or changed while it was read, RunFolderError where
    `out` holds something else, MissingExtra without rensa.
    """
    settings = settings or SketchSettings()
    if workers < 1:
        raise UsageError(f"the number of workers must be at least 1, not {workers}")
    if not settings.exact_only:
        check_rensa()
    accepted = make_filter(filters)
    check_outside(out, corpora)
    files = find_files(corpora)
    opened = stage or (lambda _title: lambda _done, _total: None)
    with full_disk(out):
        return _dedup(corpora, files, out, settings, accepted.description, tuple(filters), workers, opened)


def _dedup(
    corpora: Sequence[str],
    files: Sequence[CorpusFile],
    out: Path,
    settings: SketchSettings,
    described: Sequence[str],
    filters: tuple[str, ...],
    workers: int,
    opened: Callable[[str], Progress],
) -> dict[str, Any]:
    asked = {
        **settings.as_dict(),
        "filters": list(described),
        "files": [[file.name, file.n_bytes] for file in files],
    }
    claim_folder(out, out / SETTINGS, asked, "a dedup run")
    summary_path = out / "summary.json"
    if summary_path.exists():
        return dict(json.loads(summary_path.read_bytes()))
    names = output_names(files)
    jobs = [_Job(n, file, out, settings, filters, names[n]) for n, file in enumerate(files)]
    over_files(_read, [job for job in jobs if not job.work("read.json").exists()], workers, opened("documents read"))
    states = [json.loads(job.work("read.json").read_bytes()) for job in jobs]
    firsts = np.cumsum([0, *(state["n_documents"] for state in states)]).tolist()
    rejected = Rejects()
    for state in states:
        rejected.counts.update(state["rejects"])
    if firsts[-1] == 0:
        _clear(out)
        raise no_documents(corpora, rejected)
    jobs = [_Job(n, j.file, out, settings, j.filters, j.clean_name, firsts[n]) for n, j in enumerate(jobs)]
    write_json_atomically(out / WORK / FILES, {"names": [file.name for file in files], "firsts": firsts})
    decisions_path = out / WORK / "decisions.npy"
    if not decisions_path.exists():
        _decide(jobs, states, decisions_path, opened("bands compared"))
    unwritten = [job for job in jobs if not job.work("written.json").exists()]
    n_unwritten = sum(states[job.number]["n_documents"] for job in unwritten)
    over_files(_write, unwritten, workers, opened("documents written"), n_unwritten)
    written = [json.loads(job.work("written.json").read_bytes()) for job in jobs]
    join_files([job.work("duplicates.jsonl") for job in jobs], out / "duplicates.jsonl")
    join_files([job.work("rejects.jsonl") for job in jobs], out / "rejects.jsonl")
    remove_unfinished(out)
    summary = _summary(settings, described, states, written, rejected)
    write_json_atomically(summary_path, summary)
    shutil.rmtree(out / WORK, ignore_errors=True)
    return summary


def _clear(out: Path) -> None:
    """Leave no half-made folder behind where the corpus held nothing."""
    shutil.rmtree(out / WORK, ignore_errors=True)
    (out / SETTINGS).unlink(missing_ok=True)
    try:
        out.rmdir()
    except OSError:
        pass


def _documents(job: _Job, rejects: Rejects) -> Iterator[tuple[int, Any]]:
    """(record number, document) of every document that is read and not filtered out."""
    accepted = make_filter(job.filters)
    for position, document in read_from([job.file], START, rejects=rejects):
        reason = accepted(document)
        if reason is None:
            yield position.record, document
        else:
            rejects.add(job.file.name, document.id or position.record, reason)


def _read(job: _Job, tick: Tick) -> None:
    """Keys, sketches, record numbers and ids of one corpus file; its state, written last, marks it finished."""
    job.work("rejects.jsonl").unlink(missing_ok=True)
    n_documents = n_bytes = 0
    batch: list[str] = []
    with (
        Rejects(job.work("rejects.jsonl")) as rejects,
        atomic_file(job.work("keys")) as keys,
        atomic_file(job.work("sketches")) as sketches,
        atomic_file(job.work("records")) as records,
        atomic_file(job.work("ids")) as ids,
        atomic_file(job.work("id_ends")) as id_ends,
    ):

        def flush() -> None:
            if not job.settings.exact_only:
                sketches.write(sketch(batch, job.settings).tobytes())
            batch.clear()

        id_end = 0
        for record, document in _documents(job, rejects):
            normal = normalise(document.text)
            keys.write(content_key(normal))
            records.write(record.to_bytes(8, "little"))
            name = document.id.encode("utf-8", "surrogatepass")
            id_end += ids.write(name)
            id_ends.write(id_end.to_bytes(8, "little"))
            n_documents += 1
            n_bytes += len(document.text.encode("utf-8", "surrogatepass"))
            batch.append(normal)
            if len(batch) == BATCH or len(normal) > BATCH * 4096:
                flush()
            tick(1)
        flush()
    state = {"n_documents": n_documents, "n_bytes": n_bytes, "rejects": dict(sorted(rejects.counts.items()))}
    write_json_atomically(job.work("read.json"), state)


def _decide(jobs: Sequence[_Job], states: Sequence[Mapping[str, Any]], path: Path, progress: Progress) -> None:
    settings = jobs[0].settings
    work = path.parent
    join_files([job.work("keys") for job in jobs], work / "all.keys")
    keys = _array(work / "all.keys", np.dtype("<u8"), 2)
    sketches = hashes = None
    if not settings.exact_only:
        bands, rows = settings.bands
        join_files([job.work("sketches") for job in jobs], work / "all.sketches")
        sketches = _array(work / "all.sketches", np.dtype("<u2"), settings.permutations)
        hashes = np.lib.format.open_memmap(work / "bands.npy", mode="w+", dtype=np.uint64, shape=(bands, len(keys)))
        for first in range(0, len(keys), READ_AT_ONCE):
            hashes[:, first : first + READ_AT_ONCE] = band_keys(sketches[first : first + READ_AT_ONCE], bands, rows)
    decisions = decide(keys, sketches, hashes, settings.threshold, progress)
    with atomic_file(path) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(decisions))
        file.write(decisions.view(np.uint8).data)
    for name in ("all.keys", "all.sketches", "bands.npy"):
        (work / name).unlink(missing_ok=True)


def _array(path: Path, dtype: np.dtype[Any], columns: int) -> npt.NDArray[Any]:
    """A raw file of rows, memory-mapped."""
    n = path.stat().st_size // (dtype.itemsize * columns)
    if n == 0:
        return np.zeros((0, columns), dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r", shape=(n, columns))


class _Names:
    """The file, record number and id of a document by its number in the corpus."""

    def __init__(self, work: Path) -> None:
        self._work = work
        table = json.loads((work / FILES).read_bytes())
        self._files = table["names"]
        self._firsts = np.array(table["firsts"])

    def __call__(self, document: int) -> tuple[str, int, str]:
        number = int(np.searchsorted(self._firsts, document, side="right")) - 1
        row = document - int(self._firsts[number])
        stem = self._work / f"{number:05d}"
        with stem.with_suffix(".id_ends").open("rb") as file:
            file.seek(max(0, row - 1) * 8)
            first = int.from_bytes(file.read(8), "little") if row else 0
            last = int.from_bytes(file.read(8), "little")
        with stem.with_suffix(".ids").open("rb") as file:
            file.seek(first)
            name = file.read(last - first).decode("utf-8", "surrogatepass")
        with stem.with_suffix(".records").open("rb") as file:
            file.seek(row * 8)
            record = int.from_bytes(file.read(8), "little")
        return self._files[number], record, name


def _write(job: _Job, tick: Tick) -> None:
    """The file's documents that stay, and those that do not with what stays in their place."""
    decisions = np.load(job.out / WORK / "decisions.npy", mmap_mode="r", allow_pickle=False)
    assert decisions.dtype == DECISION
    records = _array(job.work("records"), np.dtype("<u8"), 1)[:, 0]
    names = _Names(job.out / WORK)
    counts = {"exact": 0, "near": 0}
    n_kept = n_bytes = place = 0
    changed = CorpusError(f"{job.file.name} changed while it was read; let it rest, then start over in another --out")
    with (
        atomic_zstd(job.out / "clean" / job.clean_name) as clean,
        atomic_file(job.work("duplicates.jsonl")) as duplicates,
    ):
        for record, document in _documents(job, Rejects()):
            if place >= len(records) or records[place] != record:
                raise changed
            kept, similarity, exact = decisions[job.first + place].tolist()
            place += 1
            tick(1)
            if kept < 0:
                clean.write(record_line(document))
                n_kept += 1
                n_bytes += len(document.text.encode("utf-8", "surrogatepass"))
                continue
            kept_source, kept_record, kept_id = names(kept)
            kind = "exact" if exact else "near"
            counts[kind] += 1
            row = {
                "doc_id": document.id,
                "source": job.file.name,
                "record": record,
                "kept_doc_id": kept_id,
                "kept_source": kept_source,
                "kept_record": kept_record,
                "kind": kind,
                "similarity": round(similarity, 4),
            }
            duplicates.write(json.dumps(row).encode() + b"\n")
        if place != len(records):
            raise changed
    write_json_atomically(job.work("written.json"), {"n_kept": n_kept, "n_bytes": n_bytes, **counts})


def _summary(
    settings: SketchSettings,
    filters: Sequence[str],
    states: Sequence[Mapping[str, Any]],
    written: Sequence[Mapping[str, Any]],
    rejected: Rejects,
) -> dict[str, Any]:
    def total(rows: Sequence[Mapping[str, Any]], key: str) -> int:
        return int(sum(row[key] for row in rows))

    return {
        **settings.as_dict(),
        "filters": list(filters),
        "n_documents": total(states, "n_documents"),
        "n_kept": total(written, "n_kept"),
        "n_exact": total(written, "exact"),
        "n_near": total(written, "near"),
        "bytes": total(states, "n_bytes"),
        "kept_bytes": total(written, "n_bytes"),
        "rejects": dict(sorted(rejected.counts.items())),
    }
