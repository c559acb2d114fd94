"""A whole ladder on a corpus: one tokenizer, then rung after rung."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from reread.corpus import Rejects, find_files, read_documents
from reread.errors import CorpusError, RunFolderError
from reread.ladder.config import RungConfig, rungs_from_dial
from reread.ladder.tokenizer import load_tokenizer, make_tokenizer
from reread.ladder.train import TOKENIZER_FILE, Documents, Progress, pretrain
from reread.runs import content_hash, file_sha256, write_json_atomically
from reread.types import Document

LADDER_FILE = "ladder.json"
"""What the tokenizer in the folder was made from."""


def pretrain_ladder(
    corpora: Sequence[str],
    out: Path,
    *,
    n_rungs: int = 5,
    span: float = 60.0,
    smallest_width: int = 64,
    smallest_tokens: int = 1_000_000,
    context: int = 256,
    tokenizer: str = "bpe",
    vocabulary: int = 8192,
    seed: int = 0,
    stage: Callable[[str], Progress] | None = None,
) -> list[dict[str, Any]]:
    """Pre-train a ladder on files; returns every rung's record, smallest first. See rungs_from_dial for the
    dial.

    What cannot be read is passed over and listed in out/rejects.jsonl. stage: opens a progress report by its
    title.
    """
    rungs = rungs_from_dial(
        n_rungs,
        span=span,
        smallest_width=smallest_width,
        smallest_tokens=smallest_tokens,
        context=context,
        seed=seed,
    )
    checksum = corpus_checksum(corpora)
    out.mkdir(parents=True, exist_ok=True)
    with Rejects(out / "rejects.jsonl") as rejects:
        for _ in read_documents(corpora, rejects=rejects):
            break  # an unreadable corpus ends the run here, before anything is trained

    def documents() -> Iterator[Document]:
        return read_documents(corpora, rejects=Rejects())

    return train_rungs(
        documents,
        rungs,
        out,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        corpus_checksum=checksum,
        stage=stage,
    )


def train_rungs(
    documents: Documents,
    rungs: Sequence[RungConfig],
    out: Path,
    *,
    tokenizer: str = "bpe",
    vocabulary: int = 8192,
    corpus_checksum: str | None = None,
    n_threads: int | None = None,
    stage: Callable[[str], Progress] | None = None,
) -> list[dict[str, Any]]:
    """Train the rungs one after the other under out/<rung's name>, all with one tokenizer, kept in `out`.

    Raises RunFolderError when `out` holds the tokenizer of another corpus or of other settings.
    """
    path, made_from = out / TOKENIZER_FILE, out / LADDER_FILE
    settings = {"tokenizer": tokenizer, "vocabulary": vocabulary, "corpus_checksum": corpus_checksum}
    if path.exists() and made_from.exists():
        found = json.loads(made_from.read_text())
        if found != settings:
            changed = ", ".join(name for name in settings if found.get(name) != settings[name])
            raise RunFolderError(f"{out} holds a ladder with another {changed}; give another --out")
        shared = load_tokenizer(path)
    else:
        if stage is not None:
            stage("Training the tokenizer")
        shared = make_tokenizer(documents, tokenizer, vocabulary)
        out.mkdir(parents=True, exist_ok=True)
        shared.save(str(path))
        write_json_atomically(made_from, settings)
    records = []
    for rung in rungs:
        progress = None if stage is None else stage(f"Training {rung.name}")
        records.append(
            pretrain(
                documents,
                rung,
                out / rung.name,
                tokenizer=shared,
                corpus_checksum=corpus_checksum,
                n_threads=n_threads,
                progress=progress,
            )
        )
    return records


def corpus_checksum(corpora: Sequence[str]) -> str:
    """Identifies the corpus files by their content; a hub dataset by its name."""
    files = find_files(corpora)
    if not files:
        raise CorpusError(f"no files in {' '.join(corpora)}")
    return content_hash([[f.source, f.name if f.path is None else file_sha256(f.path)] for f in files])
