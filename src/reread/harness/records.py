"""From lm-eval's requests to questions: which record a request belongs to, and what is searched with for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reread.benchmarks.parse import CHOICE_FIELDS
from reread.errors import UsageError
from reread.types import Question

QUERY_FIELDS = (
    *("question", "problem", "query", "question_stem", "Question", "prompt", "goal", "instruction", "ctx"),
    *("sentence", "premise", "input"),
)
"""Fields of records that hold what is asked, the first that a record has. `text` is none of them: in lambada and its
like it holds the answer."""

Key = tuple[str, Any]
"""A record: its task, and its number there (without one, the request's own text)."""


class Request(Protocol):
    """lm-eval's Instance, as far as it is used."""

    doc: Any
    task_name: str | None
    doc_id: int | None

    @property
    def args(self) -> tuple[Any, ...]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's prompt, and where passages go in it."""

    key: Key
    context: str
    at: int
    """Character of the context before which passages stand."""
    is_turn: bool
    """That is within a chat model's turn."""
    query: str
    """The part of the context that is searched with where the record names no question."""


def key_of(request: Request) -> Key:
    """What tells the request's record from others: the options of one question share it."""
    task = request.task_name or ""
    return (task, request.args[0]) if request.doc_id is None else (task, request.doc_id)


def last_block(context: str) -> str:
    """What follows the context's last blank line: solved examples and instructions stand above it."""
    return context.rstrip().rsplit("\n\n", 1)[-1].strip()


def questions_of(
    requests: Sequence[Request], asked: Sequence[Asked], query_field: str | None = None
) -> dict[Key, Question]:
    """Each record's question, whose text is what is searched with; empty where nothing is asked.

    The text is the record's own question (query_field, else the first of QUERY_FIELDS), else the last block of its
    contexts, as far as they agree (some tasks put each option into a context of its own). Raises UsageError for a
    query_field that a record lacks.
    """
    contexts: dict[Key, list[str]] = {}
    continuations: dict[Key, list[str]] = {}
    docs: dict[Key, Any] = {}
    for request, one in zip(requests, asked, strict=True):
        contexts.setdefault(one.key, []).append(one.query)
        docs.setdefault(one.key, request.doc)
        if len(request.args) > 1 and isinstance(request.args[1], str):
            continuations.setdefault(one.key, []).append(request.args[1])
    return {
        key: Question(
            id=f"{key[0]}/{key[1]}",
            benchmark=key[0],
            subject="",
            text=_field(doc, key, query_field) or last_block(_common([c for c in contexts[key] if c.strip()])),
            choices=_options(doc, continuations.get(key, ())),
            answers=(),
        )
        for key, doc in docs.items()
    }


def _field(doc: Any, key: Key, query_field: str | None) -> str:
    record = doc if isinstance(doc, Mapping) else {}
    if query_field is not None:
        value = record.get(query_field)
        if not isinstance(value, str):
            there = ", ".join(name for name, other in record.items() if isinstance(other, str)) or "none"
            raise UsageError(
                f"query_field {query_field!r} is no text in record {key[1]} of {key[0]}; its text fields are {there}"
            )
        return value.strip()
    return next((value.strip() for name in QUERY_FIELDS if isinstance(value := record.get(name), str)), "")


def _common(contexts: Sequence[str]) -> str:
    """The beginning that all of them have."""
    if not contexts:
        return ""
    first, last = min(contexts), max(contexts)
    n = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:n]


def _options(doc: Any, continuations: Iterable[str]) -> tuple[str, ...] | None:
    """The options' texts, for the query makings that use them: the record's, else what is scored, but for letters."""
    record = doc if isinstance(doc, Mapping) else {}
    value = next((record[name] for name in CHOICE_FIELDS if name in record), None)
    if isinstance(value, Mapping):
        value = value.get("text")
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value):
        return tuple(value) or None
    texts = tuple(dict.fromkeys(text.strip() for text in continuations))
    return texts if len(texts) > 1 and all(len(text) > 1 for text in texts) else None
