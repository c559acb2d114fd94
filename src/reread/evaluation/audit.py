"""The per-question audit of a run folder: did the passages hold the answer, and what came of it?

From answers.jsonl, passages.jsonl, questions.jsonl and findings.jsonl alone. Every question of every arm that shows
passages falls into one of four groups:

contaminated   the question itself was found: in the corpus (findings.jsonl), or by n-grams in a passage that was read
cannot tell    its accepted answer is too cheap to be looked for (golds.py)
hit            the answer stands in a passage that the reader saw
no hit         it does not

Hits say that the answer *stands* there, not that the passage answers the question. How often it would by chance is
measured: `by_chance` looks for each question's answer in what another question of the arm was shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from reread.errors import RunFolderError
from reread.evaluation.golds import PassageText, gold_of
from reread.evaluation.matched import known_arm
from reread.evaluation.scores import BASELINE, RANDOM
from reread.evaluation.statistics import Interval, newcombe, paired_bootstrap, wilson
from reread.runs import JsonLines, RunFolder, content_seed
from reread.types import Document, Question

HIT, NO_HIT, CONTAMINATED, CANNOT_TELL = "hit", "no hit", "contaminated", "cannot tell"
GROUPS = (HIT, NO_HIT, CONTAMINATED, CANNOT_TELL)


@dataclass(frozen=True, slots=True)
class Audited:
    """One question under one arm."""

    question_id: str
    group: str
    rank: int | None
    """Rank of the first passage that holds the accepted answer, whatever the group; None where none does."""
    score: float
    before: float | None
    """The score under the reference arm; None where that did not answer it."""
    answer: str | None
    answer_before: str | None
    passages: tuple[str, ...]
    """Ids of the passages that the reader saw, best first."""

    @property
    def change(self) -> str:
        """mended, broken, right (before and after), wrong, or "" where there is nothing to compare with."""
        if self.before is None:
            return ""
        if self.score != self.before:
            return "mended" if self.score > self.before else "broken"
        return "right" if self.score >= 1 else "wrong"


@dataclass(frozen=True, slots=True)
class Group:
    """The questions of one arm that fall into one group."""

    n: int
    accuracy: float | None
    low: float | None
    high: float | None
    n_paired: int
    """Those that the reference arm answered too; what follows is over them."""
    accuracy_before: float | None
    difference: float | None
    difference_low: float | None
    """Paired bootstrap."""
    difference_high: float | None
    mended: int
    broken: int


@dataclass(frozen=True, slots=True)
class ArmAudit:
    """One arm of one reader on one benchmark."""

    arm: str
    reference: str | None
    n: int
    ranks: Mapping[int, int]
    """Rank → hits whose answer stands there first."""
    by_chance: float | None
    """Share of the questions whose answer can be looked for that find it in another question's passages."""
    n_by_chance: int
    groups: Mapping[str, Group]
    gain_of_hits: float | None
    """Accuracy on hits less that on no hits: of different questions, so it is no effect of the hit alone."""
    gain_low: float | None
    gain_high: float | None
    questions: tuple[Audited, ...]

    def changed(self, change: str) -> tuple[Audited, ...]:
        return tuple(one for one in self.questions if one.change == change)


@dataclass(frozen=True, slots=True)
class ReaderAudit:
    """The arms of one reader on one benchmark that show passages."""

    benchmark: str
    rung: str
    arms: tuple[ArmAudit, ...]
    searched: bool
    """Whether the corpus was searched for the questions; the passages that were read always are."""


@dataclass(frozen=True, slots=True)
class _Row:
    """What the audit keeps of a line of answers.jsonl."""

    answer: str | None
    score: float
    passages: tuple[tuple[str, int], ...]
    """(id, rank) of what the reader saw."""


_Rows = dict[tuple[str, str, str], dict[str, _Row]]


class Auditor:
    """A run folder's answers, read once, and what the passages in it hold, looked for as it is asked for.

    Raises RunFolderError where the folder has no answers.
    """

    def __init__(self, run: RunFolder) -> None:
        self._rows, questions, passages = _read(run)
        if not self._rows:
            raise RunFolderError(f"{run.path} has no answers to audit; run its recipe first")
        kinds = {name: facts.get("kind") for name, facts in (run.manifest().get("benchmarks") or {}).items()}
        with_titles = _shows_titles(run)
        self._texts = {
            key: PassageText(str(row.get("title") or "") if with_titles else "", str(row.get("text") or ""))
            for key, row in passages.items()
        }
        self._golds = {key: gold_of(row, kinds.get(key[0]) or _kind(row)) for key, row in questions.items()}
        self._in_corpus, self._searched = _found_in_corpus(run, questions)
        self._copies = _copies(questions, passages)
        self._holds: dict[tuple[str, str, str], bool] = {}

    @property
    def arms(self) -> list[tuple[str, str, str]]:
        """(benchmark, reader, arm) of all answers, in their order."""
        return list(self._rows)

    def audit(self, benchmark: str, rung: str, arms: Sequence[str] | None = None) -> ReaderAudit | None:
        """The arms of one reader (or those named) that show passages; None where none does."""
        own = {arm: found for (b, r, arm), found in self._rows.items() if (b, r) == (benchmark, rung)}
        reference = next((arm for arm in (BASELINE, RANDOM) if arm in own), None)
        audited = []
        for arm, answered in own.items():
            if (arms and arm not in arms) or not any(row.passages for row in answered.values()):
                continue
            before = own[reference] if reference is not None and reference != arm else {}
            listed = [self._one(benchmark, q, row, before.get(q)) for q, row in answered.items()]
            chance = self._by_chance(benchmark, answered)
            audited.append(_arm_audit(arm, reference if before else None, listed, chance))
        return ReaderAudit(benchmark, rung, tuple(audited), self._searched) if audited else None

    def _one(self, benchmark: str, question_id: str, row: _Row, before: _Row | None) -> Audited:
        rank = self._rank(benchmark, question_id, row)
        key = (benchmark, question_id)
        if key in self._in_corpus or any((*key, passage_id) in self._copies for passage_id, _ in row.passages):
            group = CONTAMINATED
        elif self._golds.get(key) is None:
            group = CANNOT_TELL
        else:
            group = NO_HIT if rank is None else HIT
        return Audited(
            question_id,
            group,
            rank,
            row.score,
            before.score if before else None,
            row.answer,
            before.answer if before else None,
            tuple(passage_id for passage_id, _ in row.passages),
        )

    def _rank(self, benchmark: str, question_id: str, row: _Row) -> int | None:
        gold = self._golds.get((benchmark, question_id))
        if gold is None:
            return None
        for passage_id, rank in row.passages:
            key = (benchmark, question_id, passage_id)
            if key not in self._holds:
                self._holds[key] = passage_id in self._texts and self._texts[passage_id].holds(gold)
            if self._holds[key]:
                return rank
        return None

    def _by_chance(self, benchmark: str, answered: Mapping[str, _Row]) -> tuple[int, int]:
        """(answers found in the passages of another question, answers looked for). Each question has the passages of
        the next one in an order by hash."""
        golds = {q: gold for q in answered if (gold := self._golds.get((benchmark, q))) is not None}
        order = sorted((q for q in golds if answered[q].passages), key=lambda q: content_seed("by chance", q))
        if len(order) < 2:
            return 0, 0
        found = 0
        for place, question_id in enumerate(order):
            other = answered[order[(place + 1) % len(order)]]
            found += any(self._texts[p].holds(golds[question_id]) for p, _ in other.passages if p in self._texts)
        return found, len(order)


def audit(
    run: RunFolder,
    *,
    benchmarks: Sequence[str] | None = None,
    readers: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
) -> list[ReaderAudit]:
    """Every benchmark, reader and arm with passages of a run folder (or those named), in the order of its answers.

    Raises RunFolderError where the folder has no answers, or none under the names given.
    """
    auditor = Auditor(run)
    for what, wanted, place in (("benchmark", benchmarks, 0), ("reader", readers, 1), ("arm", arms, 2)):
        known = dict.fromkeys(key[place] for key in auditor.arms)
        for name in wanted or ():
            if name not in known:
                raise RunFolderError(f"{run.path} has no answers of the {what} {name!r}; it has {', '.join(known)}")
    pairs = dict.fromkeys((benchmark, rung) for benchmark, rung, _ in auditor.arms)
    audits = (
        auditor.audit(benchmark, rung, arms)
        for benchmark, rung in pairs
        if benchmark in (benchmarks or [benchmark]) and rung in (readers or [rung])
    )
    return [one for one in audits if one is not None]


def audit_json(audits: Iterable[ReaderAudit]) -> dict[str, Any]:
    """The stable output of `reread audit --json`: every arm's table, and every question under every arm."""
    return {
        "readers": [
            {
                "benchmark": one.benchmark,
                "reader": one.rung,
                "corpus_searched": one.searched,
                "arms": [
                    {
                        **{key: value for key, value in asdict(arm).items() if key not in ("questions", "ranks")},
                        "ranks": {str(rank): n for rank, n in arm.ranks.items()},
                        "questions": [{**asdict(q), "change": q.change or None} for q in arm.questions],
                    }
                    for arm in one.arms
                ],
            }
            for one in audits
        ]
    }


def _arm_audit(arm: str, reference: str | None, questions: Sequence[Audited], chance: tuple[int, int]) -> ArmAudit:
    by_group = {name: [q for q in questions if q.group == name] for name in GROUPS}
    hits, others = by_group[HIT], by_group[NO_HIT]
    gain = newcombe(_sum(others), len(others), _sum(hits), len(hits))
    interval = gain[1] if gain else None
    n_found, n_looked = chance
    return ArmAudit(
        arm=arm,
        reference=reference,
        n=len(questions),
        ranks=dict(sorted(Counter(q.rank for q in hits if q.rank is not None).items())),
        by_chance=n_found / n_looked if n_looked else None,
        n_by_chance=n_looked,
        groups={name: _group(own) for name, own in by_group.items()},
        gain_of_hits=gain[0] if gain else None,
        gain_low=interval.low if interval else None,
        gain_high=interval.high if interval else None,
        questions=tuple(questions),
    )


def _group(questions: Sequence[Audited]) -> Group:
    n = len(questions)
    correct = _sum(questions)
    interval = wilson(correct, n)
    paired = [(q.before, q.score) for q in questions if q.before is not None]
    before, after = [a for a, _ in paired], [b for _, b in paired]
    of_difference: Interval | None = paired_bootstrap(before, after) if paired else None
    return Group(
        n=n,
        accuracy=correct / n if n else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n_paired=len(paired),
        accuracy_before=sum(before) / len(paired) if paired else None,
        difference=(sum(after) - sum(before)) / len(paired) if paired else None,
        difference_low=of_difference.low if of_difference else None,
        difference_high=of_difference.high if of_difference else None,
        mended=sum(q.change == "mended" for q in questions),
        broken=sum(q.change == "broken" for q in questions),
    )


def _sum(questions: Sequence[Audited]) -> float:
    return sum(q.score for q in questions)


# Reading the folder --------------------------------------------------------------------------------------------------


def _read(
    run: RunFolder,
) -> tuple[_Rows, dict[tuple[str, str], dict[str, Any]], dict[str, dict[str, Any]]]:
    """Answers by (benchmark, rung, arm), questions by (benchmark, id), passages by id.

    Rows that carry their question and the text of their passages inline are read as well.
    """
    questions = {(row["benchmark"], row["question_id"]): row for row in run.questions.read("benchmark", "question_id")}
    passages = {row["passage_id"]: row for row in run.passages.read("passage_id")}
    rows: _Rows = {}
    for row in run.answers.read("benchmark", "arm", "question_id", "answer", "score"):
        if row["score"] is None:
            continue
        key = (row["benchmark"], row["question_id"])
        if key not in questions and "question" in row:
            gold = row.get("gold")
            answers = gold if isinstance(gold, list) else [] if gold is None else [gold]
            questions[key] = {"text": row["question"], "choices": row.get("choices"), "answers": answers}
        for hit in row.get("hits") or ():
            if "text" in hit:
                passages.setdefault(hit["passage_id"], hit)
        own = rows.setdefault((row["benchmark"], row.get("rung", ""), row["arm"]), {})
        own.setdefault(row["question_id"], _Row(row["answer"], float(row["score"]), tuple(_seen(row))))
    return rows, questions, passages


def _seen(row: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """(id, rank) of the passages that the reader saw, best first.

    All hits, but where some did not fit the prompt, or bags showed a part: then those that a vote rests on (`sources`),
    or, where a row does not say, all but the last `n_dropped`.
    """
    hits = sorted(row.get("hits") or (), key=lambda hit: hit["rank"])
    arm = known_arm(row["arm"])
    n_dropped = row.get("n_dropped") or 0
    kept = {hit["passage_id"] for hit in hits}
    if n_dropped or (arm is not None and arm.bag):
        voted = {passage_id for ids in (row.get("sources") or {}).values() for passage_id in ids}
        kept = voted or {hit["passage_id"] for hit in hits[: len(hits) - n_dropped]}
    for hit in hits:
        if hit["passage_id"] in kept:
            yield hit["passage_id"], hit["rank"]


def _shows_titles(run: RunFolder) -> bool:
    """Whether prompts held the passages' titles; they do where the recipe says nothing else."""
    try:
        recipe = yaml.safe_load(run.recipe_path.read_text(encoding="utf-8")) if run.recipe_path.exists() else {}
    except (yaml.YAMLError, UnicodeDecodeError):
        raise RunFolderError(
            f"{run.recipe_path} cannot be read; put it back, or delete it to audit without it"
        ) from None
    reading = recipe.get("reading") if isinstance(recipe, dict) else None
    return not isinstance(reading, dict) or reading.get("titles") is not False


def _kind(question: Mapping[str, Any]) -> str:
    """The kind of answer where no manifest says it."""
    return "letter" if question.get("choices") else "short"


def _found_in_corpus(
    run: RunFolder, questions: Mapping[tuple[str, str], Mapping[str, Any]]
) -> tuple[set[tuple[str, str]], bool]:
    """Questions of which a copy was found in the corpus, and whether it was searched.

    From findings.jsonl; a folder without that has the questions' ids among the manifest's reasons of rejection.
    """
    from reread.decontaminate.index import REPORTED_ONLY

    manifest = run.manifest()
    path = run.path / "findings.jsonl"
    if path.exists():
        rows = JsonLines(path).read("benchmark", "question_id", "kind")
        return {(row["benchmark"], row["question_id"]) for row in rows if row["kind"] not in REPORTED_ONLY}, True
    reasons = ((manifest.get("build") or {}).get("rejects") or {}).keys()
    ids = {reason.removeprefix("contaminated:") for reason in reasons if reason.startswith("contaminated:")}
    return {key for key in questions if key[1] in ids}, bool(manifest.get("decontamination"))


def _copies(
    questions: Mapping[tuple[str, str], Mapping[str, Any]], passages: Mapping[str, Mapping[str, Any]]
) -> set[tuple[str, str, str]]:
    """(benchmark, question, passage) where a passage of the run holds a copy of the question, by the n-gram rule."""
    from reread.decontaminate import QuestionIndex

    asked = [
        Question(
            id=question_id,
            benchmark=benchmark,
            subject=str(row.get("subject") or ""),
            text=str(row.get("text") or ""),
            choices=tuple(map(str, row["choices"])) if row.get("choices") else None,
            answers=tuple(str(answer) for answer in row.get("answers") or ()),
        )
        for (benchmark, question_id), row in questions.items()
    ]
    if not asked or not passages:
        return set()
    index = QuestionIndex(asked)
    return {
        (found.benchmark, found.question_id, passage_id)
        for passage_id, row in passages.items()
        for found in index.find_in(
            Document(id=passage_id, text=str(row.get("text") or ""), source="", title=str(row.get("title") or ""))
        )
        if found.is_copy
    }
