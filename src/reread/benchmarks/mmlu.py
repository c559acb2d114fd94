"""MMLU: Measuring Massive Multitask Language Understanding.

Hendrycks, Burns, Basart, Zou, Mazeika, Song, Steinhardt; arXiv 2009.03300; MIT.
Convention: 57 subjects, 14 042 test questions; base models see five dev exemplars of the same subject and
are scored by the likelihood of the letters; instruct models reason first and end with `Answer: LETTER`.
"""

from __future__ import annotations

from reread.benchmarks.spec import BenchmarkSpec, Hub

_OF_CATEGORY = {
    "STEM": "abstract_algebra astronomy college_biology college_chemistry college_computer_science college_mathematics"
    " college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics"
    " high_school_biology high_school_chemistry high_school_computer_science high_school_mathematics"
    " high_school_physics high_school_statistics machine_learning",
    "humanities": "formal_logic high_school_european_history high_school_us_history high_school_world_history"
    " international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory"
    " professional_law world_religions",
    "social sciences": "econometrics high_school_geography high_school_government_and_politics"
    " high_school_macroeconomics high_school_microeconomics high_school_psychology human_sexuality"
    " professional_psychology public_relations security_studies sociology us_foreign_policy",
    "other": "anatomy business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing"
    " medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology",
}
CATEGORIES = {subject: category for category, subjects in _OF_CATEGORY.items() for subject in subjects.split()}
"""As the authors sort them (categories.py of their repository); lm-evaluation-harness counts anatomy as STEM."""

SPEC = BenchmarkSpec(
    name="mmlu",
    title="Measuring Massive Multitask Language Understanding",
    authors="Hendrycks et al.",
    arxiv="2009.03300",
    licence="MIT",
    kind="letter",
    hub=Hub("cais/mmlu", "all", {"test": "test", "dev": "dev", "validation": "validation"}),
    n_shots=5,
    forms=("letters", "cloze", "chat"),
    templates={
        "intro": "The following are multiple choice questions (with answers) about {subject}.",
        "cloze": "Question: {question}\nAnswer:",
    },
    categories=CATEGORIES,
)
