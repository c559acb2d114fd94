"""LexicalSolver: picks the option that the retrieved passages support best, by words alone."""

from __future__ import annotations

from collections.abc import Sequence

from reread.types import Hit, Question

OPTION_STAGE = "option:"
"""Hit.stages["option:2"] is the score of the search for the question with its third option."""


class LexicalSolver:
    """A reader without weights. It needs query making `options`: one search an option."""

    spec = "lexical"

    def choose(self, question: Question, hits: Sequence[Hit]) -> list[float]:
        """Support for every option, in the options' order; all equal where the hits say nothing."""
        n_options = len(question.choices or ())
        support = [0.0] * n_options
        for hit in hits:
            for stage, score in hit.stages.items():
                option = stage.removeprefix(OPTION_STAGE)
                if option != stage and option.isdecimal() and int(option) < n_options:
                    support[int(option)] = max(support[int(option)], score)
        return support
