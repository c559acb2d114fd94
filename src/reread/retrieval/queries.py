"""The strings a question is searched with."""

from __future__ import annotations

from typing import Literal, get_args

from reread.errors import UsageError
from reread.types import Question

QueryMaking = Literal["question", "options"]


def queries_for(question: Question, making: QueryMaking = "question") -> list[str]:
    """`question`: the question's text alone. `options`: one query per option, the text with the option behind it.

    A question without options is searched by its text under either.
    """
    if making not in get_args(QueryMaking):
        raise UsageError(f"unknown query making {making!r}; use one of {', '.join(get_args(QueryMaking))}")
    if making == "options" and question.choices:
        return [f"{question.text} {option}" for option in question.choices]
    return [question.text]
