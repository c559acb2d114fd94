"""Every arm of the stack, with n, interval, paired p and cost: on the demo's upper rung and on a rung of real text.

`world`: the demo's upper rung on the demo's own questions (500 of four options, 500 with short answers).
`textbooks`: a rung that was trained on the science textbooks of the data folder, less what prints a question
(reread decontaminate, then reread pretrain: docs/results.md has the commands), on ARC with the same books to read.
Interrupt it and run it again: it goes on where it stopped.

Example: python benchmarks/arms.py world --out runs/arms      (or: textbooks --reader hf:FOLDER)
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from reread.cli.progress import stages
from reread.demo import CHUNK_WORDS, N_SAMPLES, PASSAGES
from reread.probe import run_probe
from reread.recipe import Recipe, parse_recipe
from reread.world import World, stored_rungs

DATA = Path(os.environ.get("REREAD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
CONTROLS = ["random", "shuffled", "oracle"]
OPTION_ARMS = [
    *("baseline", "sc", "retrieval", "retrieval+sc", "retrieval+mmr", "retrieval+bag", "retrieval+sc+vr"),
    *("retrieval+options", "retrieval+joined", "rerank", "rerank+sc", "rerank+sc+vr"),
    *("docs", "docs+k6", "docs+k6+g2", "retrieval+k1", "rerank+k1", *CONTROLS),
]
SHORT_ARMS = [
    *("baseline", "sc", "retrieval", "retrieval+sc", "retrieval+mmr", "retrieval+bag", "retrieval+sc+vr"),
    *("retrieval+rewrite", "retrieval+hyde", "retrieval+decompose", "rerank", "rerank+sc", "rerank+sc+vr"),
    *("docs", "docs+k6", "docs+k6+g2", "retrieval+k1", "rerank+k1", *CONTROLS),
]


def world_recipe() -> Recipe:
    upper = stored_rungs()[-1]
    return parse_recipe(
        {
            "name": "arms-world",
            "corpus": {
                "world": {"n_articles": World.DEMO_ARTICLES, "n_questions": World.DEMO_QUESTIONS},
                "chunk_words": CHUNK_WORDS,
            },
            "retrieval": {"rerank": "consistency"},
            "readers": [{"name": upper.name, "spec": f"hf:{upper}"}],
            "benchmarks": [
                {"benchmark": "world", "form": "cloze", "arms": OPTION_ARMS},
                {"benchmark": "world-short", "form": "short", "shots": 0, "arms": SHORT_ARMS},
            ],
            "reading": {"k": PASSAGES, "n_samples": N_SAMPLES, "max_tokens": 8},
            "curve": {"ceiling": 1.0},
        }
    )


def textbooks_recipe(reader: str, limit: int) -> Recipe:
    # Options of the same prompt differ in length: cloze, per byte.
    benchmarks = [f"{name}:{DATA / 'benchmarks' / name}.jsonl.gz" for name in ("arc_easy", "arc_challenge")]
    return parse_recipe(
        {
            "name": "arms-textbooks",
            "corpus": {"paths": [str(DATA / "corpora" / "openstax_science.jsonl.gz")], "chunk_words": 80},
            "retrieval": {"rerank": "consistency"},
            "readers": [{"name": Path(reader).name, "spec": reader}],
            "benchmarks": [
                {"benchmark": name, "split": "test", "limit": limit, "form": "cloze", "arms": OPTION_ARMS}
                for name in benchmarks
            ],
            "reading": {"k": PASSAGES, "n_samples": N_SAMPLES, "consistency_k": 6},
            "curve": {"ceiling": "free"},
        }
    )


def table(scores: dict[str, Any]) -> str:
    """Markdown, a row an arm: accuracy and F1, the paired difference from baseline, cost a question."""
    lines = []
    for name, benchmark in scores["benchmarks"].items():
        (rung,) = benchmark["rungs"]
        compared = {c["b"]: c for c in rung["comparisons"] if c["a"] == "baseline"}
        lines += [
            f"\n{name}, {rung['name']}\n",
            "| arm | n | accuracy | F1 | against baseline | p | tokens | FLOPs |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for arm, score in rung["arms"].items():
            f1 = f"{score['f1']:.3f}" if "f1" in score else ""
            change = compared.get(arm)
            gain = f"{change['difference']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]" if change else ""
            p = f"{change['p_holm']:.2g}" if change else ""
            lines.append(
                f"| `{arm}` | {score['n']} | {score['accuracy']:.3f} [{score['low']:.3f}, {score['high']:.3f}] | {f1} "
                f"| {gain} | {p} | {score['tokens_per_question']:.0f} | {score['flops_per_question']:.2g} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["world", "textbooks"])
    parser.add_argument("--reader", help="the rung of textbooks: hf:FOLDER")
    parser.add_argument("--out", type=Path, default=Path("runs/arms"))
    parser.add_argument("--limit", type=int, default=1000, help="questions of each benchmark of textbooks")
    given = parser.parse_args()
    if given.what == "textbooks" and not given.reader:
        parser.error("textbooks needs --reader hf:FOLDER")
    recipe = world_recipe() if given.what == "world" else textbooks_recipe(given.reader, given.limit)
    with stages() as stage:
        found = run_probe(recipe, given.out / recipe.folder_name(), stages=stage)
    print(table(found))
