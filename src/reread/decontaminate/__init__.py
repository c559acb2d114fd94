"""Find benchmark questions in a corpus, and take them out.

    index = QuestionIndex(questions)
    for cleaned in decontaminate(documents, index, action="mask"):
        cleaned.left, cleaned.findings

Which tokens are counted: tokens.py. What is looked for, and what becomes of short questions: patterns.py.
"""

from reread.decontaminate.clean import (
    ACTIONS,
    Action,
    Cleaned,
    ContaminationFilter,
    Summary,
    decontaminate,
)
from reread.decontaminate.files import decontaminate_corpus
from reread.decontaminate.index import DEFAULT_THRESHOLD, RULES, Finding, QuestionIndex, Rule
from reread.decontaminate.patterns import ngram_for

__all__ = [
    "ACTIONS",
    "DEFAULT_THRESHOLD",
    "RULES",
    "Action",
    "Cleaned",
    "ContaminationFilter",
    "Finding",
    "QuestionIndex",
    "Rule",
    "Summary",
    "decontaminate",
    "decontaminate_corpus",
    "ngram_for",
]
