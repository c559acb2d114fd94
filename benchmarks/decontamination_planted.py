"""Recall and precision of decontamination on benchmark questions planted into real corpora, beside datatrove's
filter and a plain 13-gram rule on the same texts.

Each planted text is a piece of a real document with one question in it; its twin is the same piece without. Told for
every form and tool:

- recall: planted texts that were flagged (for reread: with the planted question, or one of equal words, named);
- precision: of the texts flagged among planted texts and twins, the share that are planted texts;
- right (reread): of all (text, question) pairs found in planted texts, the share that name the planted question or
  one of equal words. For hard negatives, where nothing is to be found: the share flagged.

Example: python benchmarks/decontamination_planted.py /data --n 400 --datatrove VENV/bin/python --out planted.json
(how to make that VENV: decontamination_datatrove.py)
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import decontamination_forms as forms
from decontamination_forms import Item, item_of, normal_words

from reread.benchmarks import load_benchmark
from reread.corpus import Rejects, read_documents
from reread.decontaminate import QuestionIndex
from reread.evaluation.statistics import wilson
from reread.questions import accepted_texts
from reread.types import Question

BENCHMARKS = {
    "mmlu": "mmlu_test_a", "math500": "math500_a", "arc_challenge": "arc_challenge", "arc_easy": "arc_easy",
    "boolq": "boolq_dev", "covidqa": "covidqa", "gsm8k": "gsm8k_test", "humaneval": "humaneval", "mbpp": "mbpp",
    "nq_open": "nq_open", "openbookqa": "openbookqa", "qed": "qed_nq_dev", "simpleqa": "simpleqa_test",
    "squad": "squad_dev_a", "triviaqa": "triviaqa", "truthfulqa": "truthfulqa", "webquestions": "webquestions_test",
}  # fmt: skip
"""Every benchmark of the folder; its scored split."""
LIKE_THEM = {"gsm8k": ("gsm8k_train", "train"), "mmlu": ("mmlu_val", "val"), "arc_easy": ("arc_easy", "train"),
             "arc_challenge": ("arc_challenge", "train"), "openbookqa": ("openbookqa", "train"),
             "mbpp": ("mbpp", "train"), "nq_open": ("nq_open", "train_sample")}  # fmt: skip
"""Questions of the same makers that are not scored: hard negatives of the same topics and templates."""
HOSTS = ("d2l", "medquad", "openstax_math", "openstax_science", "openstax_social", "owasp", "planetmath",
         "world_factbook")  # fmt: skip
"""Corpora that pieces are taken from (those made of the benchmarks' own problems or paragraphs are left out)."""
PIECE, LONG = 4000, 60_000
"""Characters of a piece, and at least of a long document."""
N_GRAM = 13


@dataclass
class Case:
    """One text, what was planted into it, and the same text without."""

    form: str
    text: str
    twin: str
    planted: frozenset[str] = frozenset()
    """Ids (benchmark and question) that are right to find; none for a hard negative."""
    length: str = ""
    """"long" (the stem has n words or more), "short" or "tiny" (under 8)."""


@dataclass
class Made:
    cases: list[Case] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)


def pieces(folder: Path, rng: random.Random, least: int, most: int) -> list[str]:
    """Pieces of real documents, cut at paragraphs."""
    found = []
    names = [str(folder / "corpora" / f"{name}.jsonl.gz") for name in HOSTS]
    for document in read_documents(names, rejects=Rejects()):
        if len(document.text) >= least:
            start = max(0, document.text.rfind("\n\n", 0, rng.randrange(max(1, len(document.text) - least + 1))))
            found.append(document.text[start : start + most].strip())
    rng.shuffle(found)
    return found


def plant(piece: str, text: str, rng: random.Random) -> str:
    """The piece with the text as a paragraph of its own."""
    place = piece.find("\n", rng.randrange(len(piece)))
    place = len(piece) if place < 0 else place
    return f"{piece[:place]}\n\n{text}\n\n{piece[place:]}"


def make_cases(folder: Path, n: int, seed: int) -> tuple[list[Question], Made]:
    rng = random.Random(seed)
    questions: list[Question] = []
    for name, file in BENCHMARKS.items():
        questions.extend(load_benchmark(f"{name}:{folder}/benchmarks/{file}.jsonl.gz").questions)
    by_benchmark: dict[str, list[Question]] = defaultdict(list)
    same: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for question in questions:
        by_benchmark[question.benchmark].append(question)
        same[normal_words(item_of(question, rng).stem)].add(key_of(question))
    hosts, long_hosts = pieces(folder, rng, PIECE // 2, PIECE), pieces(folder, rng, LONG, 10 * LONG)
    foreign = sorted({word for host in hosts[:200] for word in forms.WORD.findall(host)})
    foreign = [word for word in foreign if word.isalpha() and len(word) > 2]
    made = Made()
    turn = 0

    def add(form: str, text: str, planted: Iterable[str], n_words: int, hosts_: Sequence[str]) -> None:
        nonlocal turn
        twin = hosts_[turn % len(hosts_)]
        turn += 1
        length = "long" if n_words >= N_GRAM else "short" if n_words >= 8 else "tiny"
        made.cases.append(Case(form, plant(twin, text, rng), twin, frozenset(planted), length))

    def sample(wanted: Callable[[Question], bool]) -> list[Question]:
        pools = [[q for q in pool if wanted(q)] for pool in by_benchmark.values()]
        for pool in pools:
            rng.shuffle(pool)
        chosen: list[Question] = []
        while len(chosen) < n and any(pools):
            chosen.extend(pool.pop() for pool in pools if pool)
        return chosen[:n]

    def everything(question: Question) -> bool:
        return True

    copies: dict[str, tuple[Callable[[Item, random.Random], str], Callable[[Question], bool]]] = {
        "verbatim": (lambda item, _: item.text, everything),
        "re-wrapped": (forms.rewrapped, everything),
        "in a long document": (lambda item, _: item.text, everything),
        "markup": (forms.markup_variant, everything),
        "latex": (forms.latex_variant, lambda q: "$" in q.text),
        "edits 1 %": (forms.edited(0.01, foreign), everything),
        "edits 5 %": (forms.edited(0.05, foreign), everything),
        "edits 10 %": (forms.edited(0.10, foreign), everything),
        "edits 20 %": (forms.edited(0.20, foreign), everything),
        "stem alone": (lambda item, _: item.stem, everything),
        "options alone": (lambda item, _: item.options, lambda q: n_option_words(q) >= N_GRAM),
        "options alone, under 13 words": (lambda item, _: item.options, lambda q: 0 < n_option_words(q) < N_GRAM),
        "solution alone": (lambda item, _: item.stem, lambda q: isinstance(q.meta.get("solution"), str)),
        "reworded by rule": (forms.reworded, everything),
    }
    for form, (change, wanted) in copies.items():
        shares = []
        for question in sample(wanted):
            item = item_of(question, rng)
            if form == "solution alone":
                item = Item(str(question.meta["solution"]), "", "")
            text = change(item, rng)
            hosts_ = long_hosts if form == "in a long document" else hosts
            stem = normal_words(item_of(question, rng).stem)
            add(form, text, same[stem] | {key_of(question)}, len(stem), hosts_)
            before, after = Counter(normal_words(item.text)), Counter(normal_words(text))
            shares.append((before - after).total() / max(1, before.total()))
        made.notes[form] = {"mean share of words lost": round(sum(shares) / max(1, len(shares)), 3)}
    for question in sample(numbers_matter):
        item = item_of(question, rng)
        add("NEGATIVE other numbers", forms.other_numbers(item, rng), (), len(normal_words(item.stem)), hosts)
    _add_negatives(folder, questions, same, n, rng, lambda form, text, n_words: add(form, text, (), n_words, hosts))
    return questions, made


def _add_negatives(
    folder: Path,
    questions: Sequence[Question],
    same: dict[tuple[str, ...], set[str]],
    n: int,
    rng: random.Random,
    add: Callable[[str, str, int], None],
) -> None:
    """Questions that the benchmarks' makers wrote too, openings alone, and moral scenarios of other splits."""
    others: list[list[Question]] = []
    for name, (file, split) in LIKE_THEM.items():
        loaded = load_benchmark(f"{name}:{folder}/benchmarks/{file}.jsonl.gz", split=split).questions
        # Benchmarks repeat items; those are copies, not negatives.
        own = [q for q in loaded if normal_words(item_of(q, rng).stem) not in same]
        rng.shuffle(own)
        others.append(own)
    chosen: list[Question] = []
    while len(chosen) < n and any(others):
        chosen.extend(pool.pop() for pool in others if pool)
    for question in chosen[:n]:
        item = item_of(question, rng)
        add("NEGATIVE same makers' other questions", item.text, len(normal_words(item.stem)))
    openings = forms.shared_openings(questions)
    for opening in rng.sample(openings, min(n, len(openings))):
        add("NEGATIVE shared openings", opening, len(normal_words(opening)))
    for file, split in (("mmlu_val", "val"), ("mmlu_dev", "dev")):
        for question in load_benchmark(f"mmlu:{folder}/benchmarks/{file}.jsonl.gz", split=split).questions:
            if question.subject == "moral_scenarios":
                add("NEGATIVE moral_scenarios", item_of(question, rng).text, len(normal_words(question.text)))


def numbers_matter(question: Question) -> bool:
    """Whether other numbers make it another question: its stem has one, and so have all options. Answers that are
    programs of N_GRAM words or more are left out: with few numbers in them, they would still be copies."""
    item = item_of(question, random.Random(0))
    if question.choices is None and len(normal_words(item.answer)) > N_GRAM:
        return False
    has_number = forms.NUMBER.search
    return bool(has_number(item.stem)) and all(has_number(option) for option in question.choices or ())


def n_option_words(question: Question) -> int:
    return sum(len(normal_words(option)) for option in question.choices or ())


def key_of(question: Question) -> str:
    return f"{question.benchmark}/{question.id}"


# Tools: from texts to the questions named in each, apart: as copies and as made after the same template


Named = tuple[set[str], set[str]]


def by_reread(questions: Sequence[Question], **settings: Any) -> Callable[[Sequence[str]], list[Named]]:
    index = QuestionIndex(questions, **settings)

    def flag(texts: Sequence[str]) -> list[Named]:
        found = []
        for text in texts:
            findings = index.find(text)
            copies = {f"{f.benchmark}/{f.question_id}" for f in findings if f.is_copy}
            found.append((copies, {f"{f.benchmark}/{f.question_id}" for f in findings} - copies))
        return found

    return flag


def by_plain_grams(questions: Sequence[Question], n: int) -> Callable[[Sequence[str]], list[Named]]:
    """Any shared run of n lower-case words of stem and options; what is shorter cannot be found."""
    owners: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for question in questions:
        words = normal_words("\n".join((item_of(question, random.Random(0)).stem, *(question.choices or ()))))
        for i in range(len(words) - n + 1):
            owners[words[i : i + n]].append(key_of(question))

    def flag(texts: Sequence[str]) -> list[Named]:
        found: list[Named] = []
        for text in texts:
            words = normal_words(text)
            grams = (words[i : i + n] for i in range(len(words) - n + 1))
            found.append(({key for gram in grams for key in owners.get(gram, ())}, set()))
        return found

    return flag


def by_datatrove(python: str, questions: Sequence[Question], stems: bool) -> Callable[[Sequence[str]], list[Named]]:
    def flag(texts: Sequence[str]) -> list[Named]:
        # It says that a text is contaminated, not by which question.
        flags = run_datatrove(python, questions, texts, stems)["flags"]
        return [({"any"} if flagged else set(), set()) for flagged in flags]

    return flag


def run_datatrove(python: str, questions: Sequence[Question], texts: Sequence[str], stems: bool) -> dict[str, Any]:
    """What decontamination_datatrove.py prints for these texts: flags, and the filter's processor seconds."""
    items = []
    for question in questions:
        item = item_of(question, random.Random(0))
        query = "\n".join(part for part in (item.stem, item.options) if part)
        items += [[query, answer] for answer in accepted_texts(question)[:1]]
    asked = json.dumps({"items": items, "texts": list(texts), "stems": stems})
    worker = Path(__file__).with_name("decontamination_datatrove.py")
    done = subprocess.run([python, str(worker)], input=asked, capture_output=True, text=True, check=True)
    answered: dict[str, Any] = json.loads(done.stdout)
    return answered


def judge(
    cases: Sequence[Case], named: Sequence[Named], twins: Sequence[Named], names_questions: bool
) -> dict[str, Any]:
    """Counts of one form and tool, as the table and the file have them."""
    n_planted = len(cases)
    flagged = sum(bool(copies) for copies, _ in named)
    templated = sum(bool(templates) and not copies for copies, templates in named)
    false = sum(bool(copies) for copies, _ in twins)
    row: dict[str, Any] = {"n": n_planted, "templated": templated, "twins flagged": false}
    if not any(case.planted for case in cases):
        return {**row, "flagged": flagged, "flagged interval": interval(flagged, n_planted)}
    pairs = list(zip(cases, named, strict=True))
    found = sum(bool(copies & case.planted) if names_questions else bool(copies) for case, (copies, _) in pairs)
    row |= {
        "found": found,
        "recall interval": interval(found, n_planted),
        "precision": flagged / (flagged + false) if flagged + false else None,
        "precision interval": interval(flagged, flagged + false),
    }
    if names_questions:
        n_pairs = sum(len(copies) for _, (copies, _) in pairs)
        right = sum(len(copies & case.planted) for case, (copies, _) in pairs)
        row |= {"pairs": n_pairs, "right": right, "right interval": interval(right, n_pairs)}
        for length in ("long", "short", "tiny"):
            own = [(case, copies) for case, (copies, _) in pairs if case.length == length]
            row[length] = [sum(bool(copies & case.planted) for case, copies in own), len(own)]
    return row


def interval(successes: int, n: int) -> list[float] | None:
    bounds = wilson(successes, n)
    return None if bounds is None else [round(bounds.low, 4), round(bounds.high, 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with benchmarks/ and corpora/")
    parser.add_argument("--n", type=int, default=400, help="texts of each form")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--datatrove", help="a Python that has datatrove; left out without")
    parser.add_argument("--tools", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, help="JSON file for all counts")
    parser.add_argument("--misses", type=Path, help="JSON lines: what reread's fuzzy search missed or named wrongly")
    asked = parser.parse_args()
    questions, made = make_cases(asked.data, asked.n, asked.seed)
    tools: dict[str, Callable[[], Callable[[Sequence[str]], list[Named]]]] = {
        "reread": lambda: by_reread(questions),
        "reread fuzzy": lambda: by_reread(questions, fuzzy=True),
        "reread rule any": lambda: by_reread(questions, rule="any"),
        "plain 13-grams": lambda: by_plain_grams(questions, N_GRAM),
    }
    if asked.datatrove:
        tools["datatrove"] = lambda: by_datatrove(asked.datatrove, questions, stems=False)
        tools["datatrove, stems too"] = lambda: by_datatrove(asked.datatrove, questions, stems=True)
    texts = [text for case in made.cases for text in (case.text, case.twin)]
    print(
        f"{len(questions)} questions; {len(made.cases)} texts with as many twins, {sum(map(len, texts)) / 1e6:.0f} MB"
    )
    results: dict[str, dict[str, Any]] = {}
    for tool, make in tools.items():
        if asked.tools and tool not in asked.tools:
            continue
        flag = make()
        began = time.perf_counter()
        named = flag(texts)
        print(f"\n{tool} ({time.perf_counter() - began:.0f} s)")
        results[tool] = {}
        for form in dict.fromkeys(case.form for case in made.cases):
            own = [i for i, case in enumerate(made.cases) if case.form == form]
            cases = [made.cases[i] for i in own]
            row = judge(cases, [named[2 * i] for i in own], [named[2 * i + 1] for i in own], "datatrove" not in tool)
            results[tool][form] = row
            print(line_of(form, row))
        if asked.misses and tool == "reread fuzzy":
            write_misses(asked.misses, made.cases, named)
    if asked.out:
        asked.out.write_text(json.dumps({"notes": made.notes, "tools": results}, indent=1, ensure_ascii=False))


def line_of(form: str, row: dict[str, Any]) -> str:
    if "flagged" in row:
        share, bounds = row["flagged"] / row["n"], row["flagged interval"]
        return f"  {form:40s} n {row['n']:4d}  flagged {share:.3f} {bounds}  templated {row['templated']}"
    text = f"  {form:40s} n {row['n']:4d}  recall {row['found'] / row['n']:.3f} {row['recall interval']}"
    text += f"  precision {row['precision'] or 0:.3f} {row['precision interval']}"
    if "pairs" in row:
        by_length = " ".join(f"{name} {row[name][0]}/{row[name][1]}" for name in ("long", "short", "tiny"))
        text += f"  right {row['right']}/{row['pairs']}  templated {row['templated']}  {by_length}"
    return text


def write_misses(path: Path, cases: Sequence[Case], named: Sequence[Named]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for i, case in enumerate(cases):
            copies, templates = named[2 * i]
            if (case.planted and not copies & case.planted) or copies - case.planted or named[2 * i + 1][0]:
                planted = {"form": case.form, "planted": sorted(case.planted), "copies": sorted(copies)}
                more = {"templated": sorted(templates), "twin": sorted(named[2 * i + 1][0])}
                around = "" if case.form == "in a long document" else case.text
                file.write(json.dumps({**planted, **more, "text": around}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
