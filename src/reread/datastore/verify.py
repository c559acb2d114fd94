"""Is every byte of a store still what was written?"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reread.datastore.layout import REJECTS, SHARD_FILE, SHARDS, TOMBSTONES, read_store_file
from reread.datastore.shard import Shard
from reread.datastore.store import Datastore
from reread.errors import DatastoreError
from reread.runs import file_sha256


def verify(store: Path, progress: Callable[[int, int | None], None] | None = None) -> list[str]:
    """One sentence for every problem of the store, naming the shard and what to do; empty where all is well.

    Reads every file. Raises DatastoreError where `store` is no datastore at all. progress: (shards done, all).
    """
    store = Path(store)
    facts = read_store_file(store)
    problems = []
    for build_entry in facts["builds"]:
        if not build_entry["finished"]:
            problems.append(
                f"the build of {_called(build_entry)} is not finished; run the same reread build command again"
            )
    for done, name in enumerate(facts["shards"], 1):
        problems.extend(_shard_problems(store, name, facts))
        if progress is not None:
            progress(done, len(facts["shards"]))
    problems.extend(_reject_problems(store, facts))
    problems.extend(_tombstone_problems(store, shards_are_sound=not problems))
    return problems


def _shard_problems(store: Path, name: str, facts: dict[str, Any]) -> list[str]:
    remedy = _remedy(store, name, facts)
    folder = store / SHARDS / name
    if not (folder / SHARD_FILE).is_file():
        return [f"shard {name} is missing or unfinished; {remedy}"]
    try:
        shard = Shard(folder)
        files = shard.facts["files"]
    except (DatastoreError, KeyError) as error:
        return [f"shard {name} has a damaged shard.json ({error}); {remedy}"]
    problems = []
    for relative, expected in files.items():
        path = folder / relative
        if not path.is_file():
            problems.append(f"shard {name} lacks {relative}; {remedy}")
        elif path.stat().st_size != expected["bytes"]:
            problems.append(
                f"shard {name}: {relative} has {path.stat().st_size} bytes instead of {expected['bytes']}; {remedy}"
            )
        elif file_sha256(path) != expected["sha256"]:
            problems.append(f"shard {name}: {relative} is damaged (its checksum differs); {remedy}")
    return problems


def _remedy(store: Path, name: str, facts: dict[str, Any]) -> str:
    """What to do about a damaged shard. The store keeps no folders of its corpora, so no whole command is printed."""
    if len(facts["builds"]) > 1:
        return _build_all_again(store, facts)
    return (
        f"delete the folder {store / SHARDS / name}, then run the same reread build command again that made the store "
        f"(its corpora were called {_called(facts['builds'][0])}; its settings: {_settings(facts)})"
    )


def _build_all_again(store: Path, facts: dict[str, Any]) -> str:
    first, *later = map(_called, facts["builds"])
    added = "".join(f", then {corpora} with --append" for corpora in later)
    return (
        f"delete the folder {store}, then build it again with the same reread build commands that made it "
        f"(its corpora were called {first}{added}; its settings: {_settings(facts)})"
    )


def _called(build_entry: Mapping[str, Any]) -> str:
    return " ".join(map(shlex.quote, build_entry["corpora"])) or "its documents"


def _settings(facts: Mapping[str, Any]) -> str:
    chunking = facts["chunking"]
    embedder = f"--embedder {shlex.quote(facts['embedder'])} " if facts["embedder"] else ""
    return (
        f"{embedder}--chunk-words {chunking['chunk_words']} --overlap-words {chunking['overlap_words']} "
        f"--shard-passages {facts['shard_passages']}"
    )


def _reject_problems(store: Path, facts: dict[str, Any]) -> list[str]:
    """Of rejects.jsonl: lines that are none, or others than were counted when the last build ended."""
    counts: Counter[str] = Counter()
    remedy = f"search is not touched by it; to have the list again, {_build_all_again(store, facts)}"
    for number, record in _records(store / REJECTS):
        if record is None or not isinstance(record.get("reason"), str):
            return [f"{REJECTS} line {number} is damaged; {remedy}"]
        counts[record["reason"]] += 1
    last = facts["builds"][-1]
    if last["finished"] and counts != Counter(last.get("rejects", {})):
        expected = sum(last.get("rejects", {}).values())
        return [f"{REJECTS} has other rejects ({counts.total()}) than the build counted ({expected}); {remedy}"]
    return []


def _tombstone_problems(store: Path, *, shards_are_sound: bool) -> list[str]:
    """Of tombstones.jsonl: lines that are none, and ids that the store lacks (looked up in sound shards alone)."""
    problems = []
    hidden: list[tuple[int, str]] = []
    for number, record in _records(store / TOMBSTONES):
        if record is None or not isinstance(record.get("passage_id"), str):
            problems.append(
                f"{TOMBSTONES} line {number} is damaged, so it is not known which passage it hid; delete that line, "
                "and hide the passage again (Datastore.hide)"
            )
        else:
            hidden.append((number, record["passage_id"]))
    if problems or not shards_are_sound or not hidden:
        return problems
    opened = Datastore.open(store)
    return [
        f"{TOMBSTONES} line {number} hides the passage {passage_id}, which is not in the store; delete that line, "
        "and hide the passage that was meant (Datastore.hide)"
        for number, passage_id in hidden
        if passage_id not in opened
    ]


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(line number from 1, object) of a JSON lines file, None for a line that is no object or has no end."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            yield number, record if isinstance(record, dict) and line.endswith(b"\n") else None
