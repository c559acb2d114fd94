"""PopQA: When Not to Trust Language Models.

Mallen, Asai, Zhong, Das, Khashabi, Hajishirzi; arXiv 2212.10511; MIT.
Convention: exact match over the possible answers; the relation is the subject column here.
"""

from __future__ import annotations

from reread.benchmarks.spec import BenchmarkSpec, Hub

SPEC = BenchmarkSpec(
    name="popqa",
    title="When Not to Trust Language Models: Investigating Effectiveness of Parametric and Non-Parametric Memories",
    authors="Mallen et al.",
    arxiv="2212.10511",
    licence="MIT",
    kind="short",
    hub=Hub("akariasai/PopQA"),
    n_shots=5,
    forms=("short", "chat"),
    templates={"short": "Question: {question}\nAnswer:"},
)
