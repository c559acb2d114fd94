"""How well questions in other words are found, and what is taken for one that is none.

Two tests, with the threshold that is calibrated from the questions alone (reread.decontaminate.paraphrase):

- real: benchmarks ask the same thing twice in their own words ("what language do australians speak?"). Every question
  is held against all others of the index; of the pairs told as paraphrases, the share that have an accepted answer in
  common is the precision (a lower bound: answers are spelt in several ways), and the pairs go to --pairs for eyes;
- by rule: questions reworded by rule (decontamination_forms.reworded), and hard negatives, as paragraphs of real text.
  Recall is told for those that neither n-grams nor fuzzy search find, too.

Example: python benchmarks/decontamination_paraphrase.py /data st:sentence-transformers/all-MiniLM-L6-v2 --n 100
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import decontamination_forms as forms
import decontamination_planted as planted
from decontamination_forms import normal_words

from reread.benchmarks import load_benchmark
from reread.decontaminate import ParaphraseIndex, QuestionIndex
from reread.embed import make_embedder
from reread.questions import accepted_texts
from reread.types import Question

BENCHMARKS = ("webquestions", "nq_open", "simpleqa", "triviaqa", "gsm8k", "arc_challenge")
"""Whose questions are questions, short and long, with numbers and with names."""
PIECE = 800
"""Characters of real text around a planted paragraph."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with benchmarks/ and corpora/")
    parser.add_argument("embedder", help="such as st:sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--n", type=int, default=100, help="texts of each form")
    parser.add_argument("--each", type=int, default=400, help="questions of each benchmark")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", type=Path, help="JSON lines: the real pairs")
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    questions: list[Question] = []
    for name in BENCHMARKS:
        path = f"{asked.data}/benchmarks/{planted.BENCHMARKS[name]}.jsonl.gz"
        own = list(load_benchmark(f"{name}:{path}").questions)
        questions += rng.sample(own, min(asked.each, len(own)))
    began = time.perf_counter()
    index = ParaphraseIndex(questions, make_embedder(asked.embedder))
    print(
        f"{len(questions)} questions; threshold {index.threshold:.3f}, {time.perf_counter() - began:.0f} s", flush=True
    )
    real_pairs(questions, index, asked.pairs)
    by_rule(asked.data, questions, index, asked.n, rng)


def real_pairs(questions: list[Question], index: ParaphraseIndex, path: Path | None) -> None:
    by_key = {planted.key_of(question): question for question in questions}
    pairs = {}
    for question in questions:
        # With its answer, as a text would have it: some pairs have neither names nor numbers.
        text = "\n".join((question.text, *accepted_texts(question)[:1]))
        for finding in index.find(text):
            other = by_key[f"{finding.benchmark}/{finding.question_id}"]
            if normal_words(other.text) != normal_words(question.text):
                key = tuple(sorted((planted.key_of(question), planted.key_of(other))))
                pairs[key] = (finding.score, question, other)
    n_same = sum(shares_an_answer(one, other) for _, one, other in pairs.values())
    bounds = planted.interval(n_same, len(pairs))
    print(f"real: {len(pairs)} pairs told as paraphrases, {n_same} with an answer in common {bounds}", flush=True)
    if path is not None:
        with path.open("w", encoding="utf-8") as file:
            for score, one, other in pairs.values():
                row = {"score": score, "same answer": shares_an_answer(one, other), "texts": [one.text, other.text]}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def shares_an_answer(one: Question, other: Question) -> bool:
    return not {normal_words(a) for a in accepted_texts(one)}.isdisjoint(map(normal_words, accepted_texts(other)))


def by_rule(folder: Path, questions: list[Question], index: ParaphraseIndex, n: int, rng: random.Random) -> None:
    hosts = planted.pieces(folder, rng, PIECE, PIECE)
    own = {normal_words(question.text) for question in questions}
    others = [
        question
        for name, (file, split) in planted.LIKE_THEM.items()
        if name in BENCHMARKS
        for question in load_benchmark(f"{name}:{folder}/benchmarks/{file}.jsonl.gz", split=split).questions
        if normal_words(question.text) not in own
    ]
    numbered = [question for question in questions if planted.numbers_matter(question)]
    changed = [q for q in questions if normal_words(reworded(q, rng)) != normal_words(forms.item_of(q, rng).text)]
    cases = {
        "reworded by rule": [(reworded(q, rng), q) for q in rng.sample(changed, min(n, len(changed)))],
        "other numbers": [
            (forms.other_numbers(forms.item_of(q, rng), rng), None) for q in rng.sample(numbered, min(n, len(numbered)))
        ],
        "same makers' other questions": [
            (forms.item_of(q, rng).text, None) for q in rng.sample(others, min(n, len(others)))
        ],
    }
    literal = QuestionIndex(questions, fuzzy=True)
    for form, texts in cases.items():
        n_found, n_flagged, n_new, n_missed = 0, 0, 0, 0
        for text, question in texts:
            whole = planted.plant(rng.choice(hosts), text, rng)
            named = {planted.key_of(question)} if question else set()
            found = {f"{f.benchmark}/{f.question_id}" for f in index.find(whole)}
            copies = {f"{f.benchmark}/{f.question_id}" for f in literal.find(whole) if f.is_copy}
            n_flagged += bool(found)
            n_found += bool(found & named)
            n_missed += not copies & named
            n_new += bool(found & named) and not copies & named
        line = f"{form:30s} n {len(texts):4d}  flagged {n_flagged} {planted.interval(n_flagged, len(texts))}"
        if texts and texts[0][1] is not None:
            line += f"  named {n_found}; of {n_missed} that n-grams and fuzzy search miss {n_new}"
        print(line, flush=True)


def reworded(question: Question, rng: random.Random) -> str:
    return forms.reworded(forms.item_of(question, rng), rng)


if __name__ == "__main__":
    main()
