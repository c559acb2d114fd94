"""The first day: a folder, a question, and what the folder says to it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reread.answering.answer import Stack, answer
from reread.answering.arms import parse_arm
from reread.answering.passages import PassageFinder
from reread.answering.settings import Settings
from reread.corpus import find_files
from reread.corpus.records import clean
from reread.datastore import Datastore, build
from reread.datastore.inputs import stamps
from reread.errors import CorpusError, UsageError
from reread.protocols import Reader
from reread.reading import make_reader
from reread.retrieval import make_reranker
from reread.runs import content_hash
from reread.scoring import scorer_for
from reread.types import Answer, Hit, Question

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
Stage = Callable[[str], Callable[[int, int | None], None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of one question."""

    question: str
    hits: tuple[Hit, ...]
    answer: Answer | None
    """None where there is no reader."""
    reader: str | None


class Session:
    """A store with, perhaps, a reader: ask it any number of questions.

    reader: a spec, or None for the first that answers on a usual local port, or "none" for the passages alone.
    Raises UsageError for an arm that needs what is missing.
    """

    def __init__(
        self,
        store: Datastore,
        *,
        reader: str | None = None,
        arm: str = "retrieval",
        k: int = 5,
        n_samples: int = 8,
        rerank: str | None = None,
    ) -> None:
        self.arm = parse_arm(arm)
        if self.arm.passages in ("oracle", "shuffled"):
            raise UsageError(f"the arm {arm} is a control for benchmarks; ask with retrieval, docs or baseline")
        if self.arm.rerank and rerank is None:
            raise UsageError(f"the arm {arm} needs a reranker: --rerank ce:MODEL")
        self.spec = find_reader() if reader is None else None if reader == "none" else reader
        self.settings = Settings(form="chat", k=k, n_samples=n_samples)
        self.finder = PassageFinder(store, self.settings, reranker=make_reranker(rerank) if rerank else None)
        if self.spec is None and self.arm.passages == "none":
            raise UsageError(f"the arm {arm} shows no passages, so it needs a reader: --reader SPEC")
        self.reader: Reader | None = None
        if self.spec is not None:
            # A server that merely answered on a port was never named by the user: it gets no key.
            made = make_reader(self.spec, **({"use_key": False} if reader is None else {}))
            if not isinstance(made, Reader):
                raise UsageError(f"the reader {self.spec} cannot write an answer; name a language model")
            self.reader = made
            if not getattr(made, "chat", True):
                self.settings = Settings(form="short", k=k, n_samples=n_samples)
                self.finder.settings = self.settings

    def ask(self, text: str) -> Asked:
        """The answer with the passages it rests on, or the passages alone."""
        text = text.encode("utf-8", "replace").decode()  # a terminal may hand over bytes that are no text
        if not text.strip():
            raise UsageError("the question is empty")
        question = Question(f"ask:{content_hash(text)[:12]}", "ask", "", text, None, ())
        if self.reader is None:
            found = self.finder.find([question], self.arm)[0]
            return Asked(text, found.hits, None, None)
        stack = Stack(self.reader, self.finder, self.settings, scorer_for("short"), {})
        given = answer([question], self.arm, stack)[0]
        return Asked(text, given.hits, given, self.spec)


def open_or_build(target: str, stages: Stage, *, chunk_words: int = CHUNK_WORDS) -> Datastore:
    """The datastore at `target`, or one of the files there, built once and kept in the cache folder."""
    if (Path(target) / "datastore.json").is_file():
        return Datastore.open(Path(target))
    files = find_files([target])
    described = [[file.name, *(stamp or (None, None))] for file, stamp in zip(files, stamps(files), strict=True)]
    place = content_hash(clean(str(Path(target).resolve())))[:12]
    cached = cache_folder() / "stores" / f"{place}-{content_hash([described, chunk_words])[:12]}"
    if not cached.exists():
        for stale in cached.parent.glob(f"{place}-*") if cached.parent.exists() else ():
            shutil.rmtree(stale, ignore_errors=True)
    try:
        build([target], cached, chunk_words=chunk_words, progress=stages(f"Reading {target}"))
    except CorpusError:
        shutil.rmtree(cached, ignore_errors=True)
        raise
    return Datastore.open(cached)


def cache_folder() -> Path:
    """REREAD_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("REREAD_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reread"


def find_reader() -> str | None:
    """The spec of the first model served on a usual local port; None where nobody answers."""
    for port in LOCAL_PORTS:
        base = f"http://localhost:{port}/v1"
        try:
            with urllib.request.urlopen(f"{base}/models", timeout=PORT_TIMEOUT_S) as response:
                served = json.loads(response.read(1_000_000))
            return f"openai:{served['data'][0]['id']}@{base}"
        except (OSError, ValueError, KeyError, IndexError, TypeError, http.client.HTTPException):
            continue
    return None
