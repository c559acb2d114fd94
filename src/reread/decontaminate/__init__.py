"""Find benchmark questions in a corpus, and take them out.

    index = QuestionIndex(questions)
    for document, findings in decontaminate(documents, index, action="mask"):
        ...

Which tokens are counted: tokens.py. What is looked for, and what becomes of short questions: patterns.py.
"""

from reread.decontaminate.clean import (
    ACTIONS,
    Action,
    ContaminationFilter,
    Summary,
    contamination_filter,
    decontaminate,
)
from reread.decontaminate.index import DEFAULT_THRESHOLD, RULES, Finding, QuestionIndex, Rule
from reread.decontaminate.patterns import ngram_for

__all__ = [
    "ACTIONS",
    "DEFAULT_THRESHOLD",
    "RULES",
    "Action",
    "ContaminationFilter",
    "Finding",
    "QuestionIndex",
    "Rule",
    "Summary",
    "contamination_filter",
    "decontaminate",
    "ngram_for",
]
