"""The strings a question is searched with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args

from reread.corpus import Rejects
from reread.corpus.streams import read_lines
from reread.errors import UsageError
from reread.types import Question

QueryMaking = Literal["question", "options", "joined", "rewrite", "hyde", "decompose"]


def queries_for(question: Question, making: QueryMaking = "question") -> list[str]:
    """`question`: the question's text alone. `options`: one query per option, the text with the option behind it.
    `joined`: one query, the text with all options behind it.

    A question without options is searched by its text under each. The other makings are written by a reader: see
    written.write_queries.
    """
    if making not in get_args(QueryMaking):
        raise UsageError(f"unknown query making {making!r}; use one of {', '.join(get_args(QueryMaking))}")
    if making == "options" and question.choices:
        return [f"{question.text} {option}" for option in question.choices]
    if making == "joined" and question.choices:
        return [" ".join([question.text, *question.choices])]
    return [question.text]


def read_queries(path: Path) -> list[tuple[str, str]]:
    """(id, text) of every line of a JSON lines file with these fields, compressed or not.

    Raises UsageError for a file that is missing, empty or damaged, and names the line of a query without them.
    """
    if not path.is_file():
        raise UsageError(f"no such file {path}; give JSON lines with the fields id and text")
    rejects = Rejects()
    queries = []
    for number, line in read_lines(path, path.name, rejects):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or "id" not in record or not isinstance(record.get("text"), str):
            raise UsageError(
                f"queries file {path} line {number}: needs the fields id and text in one JSON object, text a string"
            )
        query_id, text = str(record["id"]), record["text"]
        queries.append((query_id, text))
    if rejects.total or not queries:
        raise UsageError(
            f"queries file {path} holds no queries or is damaged; give JSON lines with the fields id and text"
        )
    return queries
