"""How often retrieval finds the passage, and the answer: recall@k of the gold passage and of the answer string."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reread.evaluation.statistics import wilson
from reread.questions import accepted_texts, gold_doc_ids
from reread.retrieval import Retriever
from reread.runs import JsonLines
from reread.types import Hit, Question

QUESTIONS_AT_ONCE = 64
MIN_SHARED_CHARS = 60
"""A gold paragraph may be cut into passages, or stand inside one; a shared run this long counts as found."""

_WORD = re.compile(r"\w+")


def measure_recall(
    lines: JsonLines,
    questions: Sequence[Question],
    retriever: Retriever,
    depth: int,
    progress: Callable[[int, int | None], None] | None = None,
) -> None:
    """Append, for every question not measured yet, the ranks at which gold passage and answer were found."""
    measured = {(row["benchmark"], row["question_id"]) for row in lines.read()}
    pending = [q for q in questions if (q.benchmark, q.id) not in measured]
    with lines:
        for start in range(0, len(pending), QUESTIONS_AT_ONCE):
            batch = pending[start : start + QUESTIONS_AT_ONCE]
            for question, found in zip(batch, retriever.retrieve(batch, depth), strict=True):
                lines.append(
                    {
                        "benchmark": question.benchmark,
                        "question_id": question.id,
                        "has_gold": has_gold(question),
                        "gold_rank": gold_rank(question, found.hits),
                        "answer_rank": answer_rank(question, found.hits),
                    }
                )
            if progress is not None:
                progress(len(questions) - len(pending) + start + len(batch), len(questions))


def recall_table(rows: Iterable[dict[str, Any]], depths: Sequence[int]) -> dict[str, Any]:
    """For each depth: share of questions whose answer string (and, where named, gold passage) is that near the top."""
    rows = list(rows)
    with_gold = [row for row in rows if row["has_gold"]]
    return {
        "answer": {str(depth): _share([row["answer_rank"] for row in rows], depth) for depth in depths},
        "gold": {str(depth): _share([row["gold_rank"] for row in with_gold], depth) for depth in depths}
        if with_gold
        else {},
    }


def _share(ranks: Sequence[int | None], depth: int) -> dict[str, Any]:
    found = sum(rank is not None and rank <= depth for rank in ranks)
    interval = wilson(found, len(ranks))
    return {
        "n": len(ranks),
        "recall": found / len(ranks) if ranks else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }


def has_gold(question: Question) -> bool:
    """Whether the benchmark names the passage or document that holds the answer."""
    return bool(gold_doc_ids(question) or question.meta.get("gold_text"))


def gold_rank(question: Question, hits: Sequence[Hit]) -> int | None:
    """Rank of the first hit that is the gold passage: of a named document, or sharing the gold paragraph's text."""
    doc_ids, paragraph = gold_doc_ids(question), words_of(str(question.meta.get("gold_text") or ""))
    for hit in hits:
        if hit.passage.doc_id in doc_ids:
            return hit.rank
        if paragraph and _same_text(paragraph, words_of(hit.passage.text)):
            return hit.rank
    return None


def answer_rank(question: Question, hits: Sequence[Hit]) -> int | None:
    """Rank of the first hit whose title or text holds an accepted answer as whole words."""
    wanted = [f" {words} " for text in accepted_texts(question) if (words := words_of(text))]
    for hit in hits:
        text = f" {words_of(hit.passage.title)} {words_of(hit.passage.text)} "
        if any(words in text for words in wanted):
            return hit.rank
    return None


def words_of(text: str) -> str:
    """Lower-case words with one space between: spelling without case, accents, punctuation and line breaks."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return " ".join(_WORD.findall("".join(c for c in plain if not unicodedata.combining(c))))


def _same_text(paragraph: str, passage: str) -> bool:
    """Whether one holds the other, or one's beginning or end; short texts must be equal."""
    if min(len(paragraph), len(passage)) < MIN_SHARED_CHARS:
        return paragraph == passage
    head, tail = passage[:MIN_SHARED_CHARS], passage[-MIN_SHARED_CHARS:]
    return paragraph in passage or passage in paragraph or head in paragraph or tail in paragraph
