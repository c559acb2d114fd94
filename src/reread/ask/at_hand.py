"""What is there to ask with: the store of a folder, and a model that is served on this machine."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reread.ask.watched import Stages
from reread.corpus import find_files
from reread.corpus.records import clean
from reread.datastore import Datastore, build
from reread.datastore.inputs import stamps
from reread.datastore.layout import read_store_file
from reread.embed import make_embedder
from reread.errors import CorpusError, DatastoreError, UsageError
from reread.protocols import Embedder
from reread.runs import content_hash

LOCAL_PORTS = {
    8000: "vLLM or transformers serve",
    8080: "llama.cpp",
    11434: "Ollama",
    30000: "SGLang",
    1234: "LM Studio",
}
"""Where the common servers of language models listen unless told otherwise."""

PORT_TIMEOUT_S = 0.5
CHUNK_WORDS = 256
READ_ATTEMPTS = 3
"""How often a folder is read that changes meanwhile."""


def open_or_build(
    target: str,
    stages: Stages,
    *,
    embedder: str | None = None,
    retriever: str | None = None,
    chunk_words: int = CHUNK_WORDS,
) -> Datastore:
    """The datastore at `target`, or one of the files there, built once and kept in the cache folder.

    embedder: the one that the store was built with (it is known) or that a folder's passages are to get vectors by.
    retriever: bm25 needs no embedder, so none is loaded.
    """
    if (Path(target) / "datastore.json").is_file():
        spec = None if retriever == "bm25" else embedder or read_store_file(Path(target))["embedder"]
        return Datastore.open(Path(target), _embedder(spec, stages))
    made = _embedder(embedder, stages)
    for attempt in range(READ_ATTEMPTS):
        files = find_files([target])
        described = [[file.name, *(stamp or (None, None))] for file, stamp in zip(files, stamps(files), strict=True)]
        place = content_hash(clean(str(Path(target).resolve())))[:12]
        content = [described, chunk_words] if made is None else [described, chunk_words, made.spec]
        cached = cache_folder() / "stores" / f"{place}-{content_hash(content)[:12]}"
        try:
            with _one_at_a_time(cache_folder() / "locks" / place, stages):
                build([target], cached, chunk_words=chunk_words, embedder=made, progress=stages(f"Reading {target}"))
                for stale in cached.parent.glob(f"{place}-*"):
                    if stale != cached:
                        shutil.rmtree(stale, ignore_errors=True)
            return Datastore.open(cached, made)
        except CorpusError:
            shutil.rmtree(cached, ignore_errors=True)
            raise
        except DatastoreError:
            # The files changed while they were read, or an earlier version left a store that this one cannot use.
            shutil.rmtree(cached, ignore_errors=True)
            if attempt + 1 == READ_ATTEMPTS:
                raise
    raise AssertionError("every attempt returns or raises")


def _embedder(spec: str | None, stages: Stages) -> Embedder | None:
    if spec is None:
        return None
    stages(f"Loading {spec}")
    return make_embedder(spec)


@contextmanager
def _one_at_a_time(lock: Path, stages: Stages) -> Iterator[None]:
    """Two that ask the same folder at once read it once: the second waits. Not where the system has no such locks."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    except OSError as error:
        raise UsageError(
            f"the cache folder {cache_folder()} cannot be written to ({error.strerror}); set REREAD_CACHE to another"
        ) from error
    with file:
        try:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stages("Waiting for another process that reads the folder")
                fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            pass
        yield


def cache_folder() -> Path:
    """REREAD_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("REREAD_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reread"


def find_reader() -> str | None:
    """The spec of the first model served on a usual local port; None where nobody answers."""
    # A proxy would be asked for its own localhost.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for port in LOCAL_PORTS:
        base = f"http://localhost:{port}/v1"
        try:
            with direct.open(f"{base}/models", timeout=PORT_TIMEOUT_S) as response:
                served = json.loads(response.read(1_000_000))
            return f"openai:{served['data'][0]['id']}@{base}"
        except (OSError, ValueError, KeyError, IndexError, TypeError, http.client.HTTPException):
            continue
    return None
