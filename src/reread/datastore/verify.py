"""Is every byte of a store still what was written?"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reread.corpus.find import HUB_PREFIX
from reread.datastore.analyser import ANALYSER
from reread.datastore.ann_shard import ANN_FILE
from reread.datastore.layout import (
    CHECKSUM,
    REJECTS,
    SHARD_FILE,
    SHARDS,
    STORE_FILE,
    TOMBSTONES,
    is_signed_rightly,
    read_store_file,
)
from reread.datastore.shard import shard_facts
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
    if not is_signed_rightly(facts):
        problems.append(f"{STORE_FILE} is damaged (its checksum differs); {_build_all_again(store, facts)}")
    if facts["analyser"] != ANALYSER:
        problems.append(f"the store was indexed by another version of reread; {_build_all_again(store, facts)}")
    for build_entry in facts["builds"]:
        if not build_entry["finished"]:
            command = _run(_command(store, facts, build_entry))
            problems.append(f"the build of {_called(build_entry)} is not finished; to finish it, {command}")
    for done, name in enumerate(facts["shards"], 1):
        problems.extend(_shard_problems(store, name, facts))
        if progress is not None:
            progress(done, len(facts["shards"]))
    if (store / ANN_FILE).is_file() and not _is_sound_json(store / ANN_FILE):
        problems.append(
            f"{ANN_FILE} is damaged; delete it, then run again with --ann the reread build command that made {store}"
        )
    problems.extend(_reject_problems(store, facts))
    problems.extend(_tombstone_problems(store, shards_are_sound=not problems))
    return problems


def _shard_problems(store: Path, name: str, facts: dict[str, Any]) -> list[str]:
    remedy = _remedy(store, name, facts)
    folder = store / SHARDS / name
    if not (folder / SHARD_FILE).is_file():
        return [f"shard {name} is missing or unfinished; {remedy}"]
    try:
        files = shard_facts(folder)["files"]
    except (DatastoreError, KeyError):
        return [f"shard {name} has a damaged shard.json; {remedy}"]
    problems = [f"shard {name}{problem}; {remedy}" for problem in _file_problems(folder, files)]
    return problems + [f"shard {name}{problem}" for problem in _ann_problems(store, folder)]


def _ann_problems(store: Path, folder: Path) -> Iterator[str]:
    """Of the approximate index, which is made of the shard's vectors and can be made again from them."""
    path = folder / ANN_FILE
    if not path.is_file():
        return
    remedy = f"delete it and {path}, then run again with --ann the reread build command that made {store}"
    if not _is_sound_json(path):
        yield f" has a damaged {ANN_FILE}; {remedy}"
        return
    files = json.loads(path.read_bytes()).get("files", {})
    yield from (f"{problem}; {remedy}" for problem in _file_problems(folder, files))


def _is_sound_json(path: Path) -> bool:
    """Whether a file that holds its own checksum is what was written."""
    try:
        facts = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(facts, dict) and CHECKSUM in facts and is_signed_rightly(facts)


def _file_problems(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with files of which size and checksum were written down."""
    for relative, expected in files.items():
        path = folder / relative
        if not path.is_file():
            yield f" lacks {relative}"
        elif path.stat().st_size != expected["bytes"]:
            yield f": {relative} has {path.stat().st_size} bytes instead of {expected['bytes']}"
        elif file_sha256(path) != expected["sha256"]:
            yield f": {relative} is damaged (its checksum differs)"


def _remedy(store: Path, name: str, facts: dict[str, Any]) -> str:
    """What to do about a damaged shard: it alone is made again, where it is known which build made it."""
    for entry in facts["builds"]:
        first = entry.get("first_shard")
        if first is not None and first <= int(name) < first + entry.get("n_shards", 0):
            return f"delete the folder {store / SHARDS / name}, then {_run(_command(store, facts, entry))}"
    return _build_all_again(store, facts)


def _build_all_again(store: Path, facts: dict[str, Any]) -> str:
    commands = [
        _command(store, facts, entry) + (" --append" if number and entry["files"] else "")
        for number, entry in enumerate(facts["builds"])
    ]
    return f"delete the folder {store}, then {_run('; then '.join(commands))}"


def _called(entry: Mapping[str, Any]) -> str:
    return " ".join(map(shlex.quote, entry["corpora"])) or "its documents"


def _run(command: str) -> str:
    return f"run again (PATH stands for the folder, which the store does not keep): {command}"


def _command(store: Path, facts: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """The command that made one build."""
    made_from = entry["made_from"]
    corpora = " ".join(
        shlex.quote(name if name.startswith(HUB_PREFIX) else f"PATH/{name}") for name in entry["corpora"]
    )
    place = shlex.quote(str(store))
    if "subset" in made_from:
        drawn = made_from["subset"]
        return f"reread store subset {corpora} --fraction {drawn['fraction']} --seed {drawn['seed']} --out {place}"
    if "merge" in made_from:
        return f"reread store merge {corpora} --out {place}"
    chunking = facts["chunking"]
    options = [str(word) for word in made_from.get("options", ())]
    if facts["embedder"]:
        options += ["--embedder", facts["embedder"]]
    if chunking.get("unit", "words") != "words":
        options += ["--chunk-by", chunking["unit"]]
    for name in ("chunk_words", "overlap_words"):
        options += [f"--{name.replace('_', '-')}", str(chunking[name])]
    options += ["--shard-passages", str(facts["shard_passages"])]
    command = f"reread build {corpora or 'PATH'} --store {place} {shlex.join(options)}"
    if entry["files"]:
        return command
    return f"what made it (documents of {corpora or 'a program'}, with the settings of: {command})"


def _reject_problems(store: Path, facts: dict[str, Any]) -> list[str]:
    """Of rejects.jsonl: lines that are none, or others than were counted when the last build ended."""
    counts: Counter[str] = Counter()
    remedy = f"search is not touched by it; to have the list again, {_build_all_again(store, facts)}"
    for number, record in _records(store / REJECTS):
        if record is None or not isinstance(record.get("reason"), str):
            return [f"{REJECTS} line {number} is damaged; {remedy}"]
        counts[record["reason"]] += 1
    last = facts["builds"][-1]
    if last["finished"] and last.get("rejects_bytes"):
        path = store / REJECTS
        if (
            not path.exists()
            or path.stat().st_size != last["rejects_bytes"]
            or file_sha256(path) != last["rejects_sha256"]
        ):
            return [f"{REJECTS} is damaged (its checksum differs); {remedy}"]
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
