"""reread as a model of lm-evaluation-harness: all of its tasks, with retrieval. Open model.py first.

lm-eval builds the prompts, extracts the answers and computes the metrics; reread finds passages for each record, puts
them before the prompt, and reads it with its own readers. The parts that import lm-eval are imported where they are
used.
"""
