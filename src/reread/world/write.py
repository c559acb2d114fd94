"""The world as files: a corpus and one benchmark file a task, in the shape that published ones have."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from reread.runs import file_sha256, write_json_atomically
from reread.types import Document, Question
from reread.world.encyclopedia import World

CORPUS_FILE = "corpus.jsonl"
MANIFEST_FILE = "world.json"


def write_world(
    folder: Path,
    seed: int = 0,
    n_articles: int = World.DEMO_ARTICLES,
    *,
    n_questions: int = World.DEMO_QUESTIONS,
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Path]:
    """Write corpus.jsonl, <benchmark>.jsonl for every benchmark and world.json (arguments and checksums).

    Returns the path of each by name ("corpus", "world", ...). Equal arguments give equal bytes. A folder that
    holds a finished world of the same arguments is left as it is. progress: called with (documents written,
    of all).
    """
    arguments = {"seed": seed, "n_articles": n_articles, "n_questions": n_questions, "format": 1}
    manifest_path = folder / MANIFEST_FILE
    if manifest_path.exists():
        manifest = json.loads(manifest_path.read_text())
        if manifest["arguments"] == arguments:
            return {name: folder / file for name, file in manifest["files"].items()}
    world = World(seed, n_articles, n_questions=n_questions)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"corpus": folder / CORPUS_FILE}
    _write_lines(paths["corpus"], (document_row(d) for d in world.documents()), progress, len(world))
    for name, questions in world.benchmarks().items():
        paths[name] = folder / f"{name}.jsonl"
        _write_lines(paths[name], (question_row(question) for question in questions))
    write_json_atomically(
        manifest_path,
        {
            "arguments": arguments,
            "files": {name: path.name for name, path in paths.items()},
            "sha256": {name: file_sha256(path) for name, path in paths.items()},
        },
    )
    return paths


def document_row(document: Document) -> dict[str, Any]:
    """A corpus record."""
    return {"id": document.id, "title": document.title, "text": document.text, **document.meta}


def question_row(question: Question) -> dict[str, Any]:
    """A benchmark record, with the field names that the published benchmarks here have."""
    row: dict[str, Any] = {
        "id": question.id,
        "task": question.benchmark,
        "split": question.split,
        "subject": question.subject,
        "question": question.text,
    }
    if question.choices is not None:
        row |= {"choices": list(question.choices), "answer": question.answers[0]}
    else:
        row |= {"answers": list(question.answers), "answer": question.answers[0]}
    return row | dict(question.meta)


def _write_lines(
    path: Path,
    rows: Iterable[Mapping[str, Any]],
    progress: Callable[[int, int | None], None] | None = None,
    total: int | None = None,
) -> None:
    """One JSON object a line, streamed to a file beside the target that takes its place when it is whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            for number, row in enumerate(rows, 1):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                if progress is not None and number % 1000 == 0:
                    progress(number, total)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
