"""Is every byte of a store still what was written?"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reread.datastore.layout import SHARD_FILE, SHARDS, read_store_file
from reread.datastore.shard import Shard
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
            corpora = " ".join(build_entry["corpora"]) or "its documents"
            problems.append(f"the build of {corpora} is not finished; run the same reread build command again")
    for done, name in enumerate(facts["shards"], 1):
        problems.extend(_shard_problems(store, name, facts))
        if progress is not None:
            progress(done, len(facts["shards"]))
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
    builds = facts["builds"]
    chunking = facts["chunking"]
    command = ["reread build", *map(shlex.quote, builds[0]["corpora"]), "--store", shlex.quote(str(store))]
    if facts["embedder"]:
        command += ["--embedder", shlex.quote(facts["embedder"])]
    command += ["--chunk-words", str(chunking["chunk_words"]), "--overlap-words", str(chunking["overlap_words"])]
    command += ["--shard-passages", str(facts["shard_passages"])]
    if len(builds) > 1:
        return f"the store was added to since, so build all of it again, beginning with: {' '.join(command)}"
    return f"delete the folder {store / SHARDS / name} and run: {' '.join(command)}"
