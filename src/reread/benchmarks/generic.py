"""A user's own questions: `choice:PATH` and `short:PATH`.

One object a row: question, answer; for `choice` also choices (a list, or columns A, B, C, ...). Optional:
id, split, subject, answers (every accepted string), context and title (the passage that holds the answer),
gold_doc_id.
"""

from __future__ import annotations

from reread.benchmarks.spec import BenchmarkSpec

CHOICE = BenchmarkSpec(
    name="choice",
    title="A user's own multiple-choice questions",
    authors="the user",
    arxiv="",
    licence="the user's",
    kind="letter",
    forms=("letters", "cloze", "chat"),
    templates={"cloze": "Question: {question}\nAnswer:"},
)
SHORT = BenchmarkSpec(
    name="short",
    title="A user's own short-answer questions",
    authors="the user",
    arxiv="",
    licence="the user's",
    kind="short",
    forms=("short", "chat"),
    templates={"short": "Question: {question}\nAnswer:"},
)
