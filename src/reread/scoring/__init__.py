"""Scorers: reading an answer out of a text and comparing it with the accepted ones, by kind of answer.

Voting and evaluation share them: `key` names an answer's equivalence class, so that votes for the same
answer in different words count together. An answer that cannot be read is None: no vote, and wrong.
"""

from reread.scoring.make import KindScorer, kind_of, scorer_for

__all__ = ["KindScorer", "kind_of", "scorer_for"]
