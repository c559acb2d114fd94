"""MATH-500: 500 problems of MATH, the test split of PRM800K.

Hendrycks, Burns, Kadavath, et al., arXiv 2103.03874; Lightman et al., arXiv 2305.20050; MIT.
Convention: the answer stands in \\boxed{}; equivalence by math-verify.
"""

from __future__ import annotations

from reread.benchmarks.spec import BenchmarkSpec, Hub

SPEC = BenchmarkSpec(
    name="math500",
    title="Measuring Mathematical Problem Solving with the MATH Dataset; Let's Verify Step by Step",
    authors="Hendrycks et al.; Lightman et al.",
    arxiv="2103.03874",
    licence="MIT",
    kind="latex",
    hub=Hub("HuggingFaceH4/MATH-500"),
    n_shots=4,
    forms=("short", "chat"),
    templates={"short": "Problem: {question}\nSolution:"},
)
