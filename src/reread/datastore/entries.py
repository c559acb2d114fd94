"""The builds that a store is made of, as datastore.json lists them: one begins, ends, and what the store then holds.

Used by all that makes stores: build, subset, merge.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reread.corpus import CorpusFile
from reread.datastore.assembly import Assembly
from reread.datastore.inputs import Stamp, check_stamps, fingerprint
from reread.datastore.layout import (
    REJECTS,
    SHARD_FILE,
    SHARDS,
    STORE_FILE,
    read_store_file,
    shard_folder,
    shard_name,
    write_store_file,
)
from reread.datastore.lexical import check_analyser
from reread.datastore.shard import shard_facts
from reread.errors import DatastoreError
from reread.runs import canonical_json, file_sha256


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What the store holds after a build."""

    store: Path
    n_documents: int
    n_passages: int
    n_shards: int
    n_new_shards: int
    """Shards that this call wrote; 0 where everything was finished before."""
    n_split: int = 0
    """Passages over the embedder's token limit that became several."""
    rejects: Mapping[str, int] = field(default_factory=dict)
    """Records (and dropped passages) not in the store, by reason, over all of its builds."""
    flops: float = 0.0
    """Embedding FLOPs of all shards, those of earlier calls too; 0 where the embedder does not count them."""


def begin(
    store: Path,
    settings: dict[str, Any],
    inputs: dict[str, Any],
    *,
    append: bool = False,
    files: Sequence[CorpusFile] = (),
    now: Sequence[Stamp] = (),
) -> tuple[dict[str, Any], int]:
    """datastore.json's content, and which of its builds is of these inputs; a new, unfinished one where none was.

    now: the files' stamps.
    """
    entry = {**inputs, "finished": False, "first_shard": 0, "rejects_start": 0, "stamps": list(now)}
    # Of an atomic write that was cut off.
    for path in store.glob(f".{STORE_FILE}.*.part") if store.exists() else ():
        path.unlink()
    if not (store / STORE_FILE).exists():
        if store.exists() and any(store.iterdir()):
            raise DatastoreError(f"{store} is not empty and is no datastore; choose another folder")
        content: dict[str, Any] = {**settings, "builds": [entry], "shards": []}
        write_store_file(store, content)
        return content, 0
    content = read_store_file(store)
    # First, as stores of earlier versions describe other settings in other words too.
    check_analyser(store, content)
    for key, value in settings.items():
        if content.get(key) != value:
            raise DatastoreError(
                f"{store} was built with {key} = {_show(content.get(key))}, not {_show(value)}; "
                "use the same setting, or build into another folder"
            )
    last = len(content["builds"]) - 1
    same = [number for number, other in enumerate(content["builds"]) if fingerprint(other) == fingerprint(inputs)]
    damaged = [number for number in same if missing_shards(store, content["builds"][number])]
    if damaged:
        return content, damaged[0]
    if not content["builds"][last]["finished"]:
        if last not in same:
            raise DatastoreError(
                f"{store} holds an unfinished build of {_show(content['builds'][last]['corpora'])}, not of what is "
                "given now (or it has changed since); finish it with its own corpus, or delete the folder"
            )
        check_stamps(files, inputs["files"], content["builds"][last]["stamps"], now)
        return content, last
    # Documents that come as a stream have no checksum, so a second stream of one name may hold others.
    if same and (not append or inputs["files"]):
        return content, same[-1]
    if not append:
        built = ", then ".join(_show(other["corpora"]) for other in content["builds"])
        raise DatastoreError(
            f"{store} was built from {built}, not from what is given now (or it has changed since); "
            "add to it with --append, or build into another folder"
        )
    # Counted before anything is written: a damaged list must not be added to.
    _count_reasons(store)
    content["builds"].append({**entry, "first_shard": len(content["shards"]), "rejects_start": _size(store / REJECTS)})
    write_store_file(store, content)
    return content, last + 1


def missing_shards(store: Path, entry: Mapping[str, Any]) -> list[int]:
    """The shards of a finished build that are not there, as where one was deleted to have it made again."""
    if not entry["finished"] or "n_shards" not in entry:
        return []
    numbers = range(entry["first_shard"], entry["first_shard"] + entry["n_shards"])
    return [number for number in numbers if not (shard_folder(store, number) / SHARD_FILE).is_file()]


def is_whole(store: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a build is finished and all of its shards are there."""
    return bool(entry["finished"]) and not missing_shards(store, entry)


def finish(store: Path, content: dict[str, Any], number: int, assembly: Assembly) -> None:
    """Write into datastore.json that this build is finished and what it made; nothing where it was a repair."""
    entry = content["builds"][number]
    if entry["finished"]:
        return
    entry.pop("stamps", None)
    content["shards"] = [shard_name(shard) for shard in range(assembly.n_shards)]
    entry["finished"] = True
    entry["n_shards"] = assembly.n_shards - entry["first_shard"]
    entry["rejects"] = dict(sorted(_count_reasons(store).items()))
    entry["rejects_bytes"] = _size(store / REJECTS)
    entry["rejects_sha256"] = file_sha256(store / REJECTS) if entry["rejects_bytes"] else None
    write_store_file(store, content)


def _show(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _count_reasons(store: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    if (store / REJECTS).exists():
        with (store / REJECTS).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    counts[json.loads(line)["reason"]] += 1
                except (ValueError, KeyError, TypeError) as error:
                    raise DatastoreError(
                        f"{store / REJECTS} line {number} is damaged; delete the folder {store}, then build it again"
                    ) from error
    return counts


def remove_empty(store: Path) -> None:
    """Leave no half-made store behind where the corpus held nothing."""
    shutil.rmtree(store / SHARDS, ignore_errors=True)
    for name in (REJECTS, STORE_FILE):
        (store / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        store.rmdir()


def report_of(store: Path, content: Mapping[str, Any], n_new_shards: int) -> BuildReport:
    """What the store holds, from its shards."""
    report = BuildReport(store, 0, 0, len(content["shards"]), n_new_shards)
    # After a repair, shards of another build may still be missing.
    for name in (name for name in content["shards"] if (store / SHARDS / name / SHARD_FILE).is_file()):
        facts = shard_facts(store / SHARDS / name)
        report = replace(
            report,
            n_documents=report.n_documents + facts["n_documents"],
            n_passages=report.n_passages + facts["n_passages"],
            n_split=report.n_split + facts.get("n_split", 0),
            flops=report.flops + facts.get("embed_flops", 0),
        )
    return replace(report, rejects=content["builds"][-1].get("rejects", {}))
