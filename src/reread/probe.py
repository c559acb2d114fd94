"""The whole experiment: corpus → datastore → answers → scores → multiplier → report.

run_probe(recipe, folder)      does what is not done yet, in this order; kill it and call it again
finish(folder)                 scores and report from the files alone, without a model
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reread import __version__
from reread.analysis.curve import MMLU_CEILING, rise_z
from reread.answering.answer import Stack
from reread.answering.arms import parse_arms
from reread.answering.passages import PassageFinder
from reread.answering.settings import Settings
from reread.benchmarks import Benchmark, get_spec, load_benchmark
from reread.corpus import Rejects, find_files, read_documents
from reread.datastore import Datastore, build
from reread.decontaminate import DEFAULT_THRESHOLD, ContaminationFilter, QuestionIndex
from reread.embed import make_embedder
from reread.errors import FitError, RecipeError, RunFolderError, UsageError
from reread.evaluation.recall import has_gold, measure_recall, recall_table
from reread.evaluation.run import evaluate, question_row
from reread.evaluation.scores import benchmark_scores, cells
from reread.protocols import Embedder, Reader, Solver
from reread.reading import make_reader
from reread.recipe import BenchmarkRecipe, CorpusRecipe, ReaderRecipe, Recipe
from reread.retrieval import SEARCH_KINDS, Retriever, make_reranker
from reread.runs import (
    JsonLines,
    RunFolder,
    content_hash,
    file_sha256,
    write_json_atomically,
    write_text_atomically,
)
from reread.scoring import scorer_for
from reread.types import Document, Question

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
Stages = Callable[[str], Progress]
"""Given a stage's title, where to report its progress."""

RUNG_FILE = "rung.json"
MIN_RISE_Z = 3.0
"""A baseline's rise over the ladder, in standard errors, below which a benchmark gets no curve."""
BUILD_FACTS = ("corpus", "build", "decontamination")
"""What the manifest says of a store that this run built."""


def run_probe(recipe: Recipe, out: Path, *, stages: Stages | None = None) -> dict[str, Any]:
    """Run a recipe in the folder `out` and return its scores (scores.json).

    Whatever `out` already holds of this recipe is kept; RunFolderError where it holds another one.
    """
    stages = stages or _silent
    run = RunFolder(out)
    _check(recipe, out)
    run.claim(recipe.model_dump(mode="json"))
    world = _world_files(recipe, out, stages)
    benchmarks = {entry.benchmark: _load(entry, recipe, world) for entry in recipe.benchmarks}
    _keep_questions(run, benchmarks)
    datastore, indexed = _datastore(recipe, run, benchmarks, world, stages)
    rungs = [_rung(reader, out) for reader in recipe.readers]
    _keep_manifest(run, recipe, benchmarks, rungs, indexed)
    if datastore is not None:
        _recall(recipe, run, benchmarks, datastore, stages)
    for entry, rung in zip(recipe.readers, rungs, strict=True):
        _answer(recipe, run, entry, rung["name"], benchmarks, datastore, stages)
    return finish(out)


def finish(out: Path) -> dict[str, Any]:
    """Scores, figures and report of a run folder, rebuilt from its answers; returns the scores."""
    from reread.report import write_report

    run = RunFolder(out)
    recipe = Recipe.model_validate(_yaml(run.recipe_path))
    manifest = _manifest(run)
    scores = _scores(run, recipe, manifest)
    write_json_atomically(run.scores_path, scores)
    for name in scores["benchmarks"]:
        _add_multipliers(run, recipe, name, scores)
    _add_bill(scores, manifest)
    write_json_atomically(run.scores_path, scores)
    write_report(out, out / "report.html")
    return scores


# Before anything is spent --------------------------------------------------------------------------------------------


def _check(recipe: Recipe, out: Path) -> None:
    """Everything that can be known to be wrong before the first minute is spent."""
    stored = recipe.corpus is not None or recipe.datastore.path is not None
    for entry in recipe.benchmarks:
        get_spec(entry.benchmark.partition(":")[0])
        for arm in parse_arms(entry.arms or recipe.arms):
            if arm.passages != "none" and not stored:
                raise RecipeError(f"the arm {arm.name} needs passages; give the recipe a corpus or datastore.path")
            if arm.rerank and recipe.retrieval.rerank is None:
                raise RecipeError(f"the arm {arm.name} needs a reranker; set retrieval.rerank, such as ce:MODEL")
    if recipe.retrieval.retriever != "bm25" and recipe.datastore.embedder is None:
        raise RecipeError(f"the retriever {recipe.retrieval.retriever} needs vectors; set datastore.embedder")
    names = [_reader_name(reader) for reader in recipe.readers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise RecipeError(f"two readers are called {twice!r}; give each its own name")
    rungs = [rung for reader in recipe.readers if (rung := _rung(reader, out))["train_flops"]]
    headline = recipe.benchmarks[0].benchmark.partition(":")[0]
    if len(rungs) > 1 and recipe.curve.ceiling is None and headline not in ("mmlu", "mmlu_redux"):
        raise RecipeError(
            f"the curve needs a ceiling for {headline}: set curve.ceiling to a number, or to `free` "
            f"(only MMLU has a default, {MMLU_CEILING})"
        )


def _reader_name(reader: ReaderRecipe) -> str:
    if reader.name:
        return reader.name
    return reader.spec.partition("@")[0].rpartition(":")[2].rstrip("/").rpartition("/")[2] or reader.spec


def _rung(reader: ReaderRecipe, out: Path) -> dict[str, Any]:
    """Name, spec and training FLOPs (the recipe's, else those of the checkpoint's rung.json)."""
    train_flops = reader.train_flops
    kind, _, where = _located(reader.spec, out).partition(":")
    path = Path(where).expanduser() / RUNG_FILE
    if train_flops is None and kind == "hf" and path.is_file():
        try:
            train_flops = float(json.loads(path.read_text(encoding="utf-8"))["train_flops"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecipeError(f"{path} gives no training FLOPs ({error!r}); set train_flops in the recipe") from None
    return {"name": _reader_name(reader), "spec": reader.spec, "train_flops": train_flops}


def _located(spec: str, out: Path) -> str:
    """A reader's spec with its checkpoint found: a relative path may lie in the run folder (the demo's ladder does)."""
    kind, _, where = spec.partition(":")
    return f"hf:{out / where}" if kind == "hf" and (out / where / "config.json").is_file() else spec


# Corpus and questions ------------------------------------------------------------------------------------------------


def _world_files(recipe: Recipe, out: Path, stages: Stages) -> Path | None:
    """The generated encyclopedia and its questions as files in the run folder."""
    if recipe.corpus is None or recipe.corpus.world is None:
        return None
    from reread.world import write_world

    made = recipe.corpus.world
    folder = out / "world"
    if not (folder / "world.json").exists():
        write_world(
            folder,
            seed=made.seed,
            n_articles=made.n_articles,
            n_questions=made.n_questions,
            progress=stages("Writing the encyclopedia"),
        )
    return folder


def _load(entry: BenchmarkRecipe, recipe: Recipe, world: Path | None) -> Benchmark:
    name, _, path = entry.benchmark.partition(":")
    where = entry.benchmark if path or world is None else f"{name}:{world / f'{name}.jsonl'}"
    return load_benchmark(where, split=entry.split, limit=entry.limit, seed=recipe.seed)


def _questions(entry: BenchmarkRecipe, benchmark: Benchmark) -> list[Question]:
    questions = [q for q in benchmark.questions if not entry.gold_only or has_gold(q)]
    if not questions:
        raise RecipeError(f"{entry.benchmark}: no question names the passage that holds its answer; drop gold_only")
    return questions


def _keep_questions(run: RunFolder, benchmarks: Mapping[str, Benchmark]) -> None:
    if not run.questions.path.exists():
        rows = [question_row(q) for benchmark in benchmarks.values() for q in benchmark.questions]
        write_text_atomically(run.questions.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


# Datastore -----------------------------------------------------------------------------------------------------------


def _datastore(
    recipe: Recipe, run: RunFolder, benchmarks: Mapping[str, Benchmark], world: Path | None, stages: Stages
) -> tuple[Datastore | None, dict[str, Any]]:
    """The store, built (and decontaminated) where it is not there yet, with what is to be known of it."""
    embedder: Embedder | None = None
    if recipe.datastore.embedder is not None:
        embedder = make_embedder(recipe.datastore.embedder)
    path = Path(recipe.datastore.path) if recipe.datastore.path else run.path / "store"
    if recipe.corpus is None:
        return (Datastore.open(path, embedder=embedder), {}) if recipe.datastore.path else (None, {})
    facts = {key: value for key, value in _manifest(run).items() if key in BUILD_FACTS}
    if not facts:
        facts = _build(recipe.corpus, path, run, benchmarks, world, embedder, stages)
    return Datastore.open(path, embedder=embedder), facts


def _build(
    corpus: CorpusRecipe,
    path: Path,
    run: RunFolder,
    benchmarks: Mapping[str, Benchmark],
    world: Path | None,
    embedder: Embedder | None,
    stages: Stages,
) -> dict[str, Any]:
    """Build the store from the clean stream; returns what the manifest says of it."""
    corpora = [str(world / "corpus.jsonl")] if world else list(corpus.paths)
    files = [
        {"name": file.name, "sha256": file_sha256(file.path) if file.path else None} for file in find_files(corpora)
    ]
    (run.path / "rejects.jsonl").unlink(missing_ok=True)
    contamination = None
    questions = [question for benchmark in benchmarks.values() for question in benchmark.questions]
    if corpus.decontaminate is not None:
        rule = corpus.decontaminate
        contamination = ContaminationFilter(
            QuestionIndex(questions, ngram=rule.ngram, rule=rule.rule, threshold=rule.threshold or DEFAULT_THRESHOLD)
        )

    def documents(rejects: Rejects) -> Iterator[Document]:
        read = read_documents(corpora, rejects=rejects)
        return contamination.watch(read) if contamination else read

    with Rejects(run.path / "rejects.jsonl") as rejects:
        report = build(
            corpora,
            path,
            documents=documents(rejects),
            drop=contamination,
            made_from={
                "files": files,
                "decontaminate": corpus.decontaminate and corpus.decontaminate.model_dump(),
                "against": content_hash([[q.benchmark, q.id, q.text] for q in questions]) if contamination else None,
            },
            embedder=embedder,
            chunk_words=corpus.chunk_words,
            overlap_words=corpus.overlap_words,
            progress=stages("Building the datastore"),
        )
    if contamination is not None and contamination.summary.n_documents == 0:
        # The store was finished by a run that was killed before it could say what it had found.
        for _ in documents(Rejects()):
            pass
    return {
        "corpus": files,
        "build": {
            "n_documents": report.n_documents,
            "n_passages": report.n_passages,
            "n_shards": report.n_shards,
            "rejects": dict(report.rejects),
            "index_flops": report.flops,
        },
        "decontamination": None if contamination is None else contamination.summary.as_dict(),
    }


def _recall(
    recipe: Recipe, run: RunFolder, benchmarks: Mapping[str, Benchmark], datastore: Datastore, stages: Stages
) -> None:
    retriever = Retriever(
        datastore,
        kind=SEARCH_KINDS[recipe.retrieval.retriever],
        making="question",
        fetch_k=max(recipe.retrieval.recall_at),
    )
    for entry in recipe.benchmarks:
        questions = _questions(entry, benchmarks[entry.benchmark])
        if not any(has_gold(question) for question in questions):
            continue
        measure_recall(
            JsonLines(run.path / "recall.jsonl"),
            questions,
            retriever,
            max(recipe.retrieval.recall_at),
            stages(f"Searching for {questions[0].benchmark}"),
        )


# Reading -------------------------------------------------------------------------------------------------------------


def _answer(
    recipe: Recipe,
    run: RunFolder,
    entry: ReaderRecipe,
    name: str,
    benchmarks: Mapping[str, Benchmark],
    datastore: Datastore | None,
    stages: Stages,
) -> None:
    """Everything that one reader has not answered yet."""
    reader = make_reader(_located(entry.spec, run.path), **({"api": entry.api} if entry.api else {}))
    reranker = make_reranker(recipe.retrieval.rerank) if recipe.retrieval.rerank else None
    for chosen in recipe.benchmarks:
        benchmark = benchmarks[chosen.benchmark]
        arms = parse_arms(chosen.arms or recipe.arms)
        settings = _settings(recipe, chosen, benchmark, reader)
        finder = PassageFinder(
            datastore, settings, retriever=SEARCH_KINDS[recipe.retrieval.retriever], reranker=reranker
        )
        stack = Stack(reader, finder, settings, scorer_for(benchmark.kind), _exemplars(chosen, benchmark, settings))
        evaluate(
            run,
            name,
            _questions(chosen, benchmark),
            arms,
            stack,
            grade=_grader(recipe, benchmark),
            progress=stages(f"{name} · {benchmark.name}"),
        )


def _settings(recipe: Recipe, entry: BenchmarkRecipe, benchmark: Benchmark, reader: Reader | Solver) -> Settings:
    reading, retrieval = recipe.reading, recipe.retrieval
    return Settings(
        form=entry.form if entry.form != "auto" else _form(benchmark, reader),
        k=reading.k,
        fetch_k=retrieval.fetch_k,
        n_samples=reading.n_samples,
        temperature=reading.temperature,
        max_tokens=reading.max_tokens,
        budget_tokens=reading.budget_tokens,
        bag_frac=reading.bag_frac,
        mmr_lambda=retrieval.mmr_lambda,
        query=retrieval.query,
        seed=recipe.seed,
    )


def _form(benchmark: Benchmark, reader: Reader | Solver) -> str:
    """The benchmark's usual form that this reader can do: chat where it has a template, else a base model's."""
    if isinstance(reader, Solver):
        return "cloze"
    chats = getattr(reader, "chat", False)
    for form in benchmark.forms:
        if form == "chat" and not chats:
            continue
        if chats and form != "chat" and "chat" in benchmark.forms:
            continue
        if form in ("cloze", "letters") and "loglikelihood" not in reader.can:
            continue
        return form
    raise RecipeError(
        f"{benchmark.name} is asked as {', '.join(benchmark.forms)}, and the reader {reader.spec} can do none of them"
    )


def _exemplars(entry: BenchmarkRecipe, benchmark: Benchmark, settings: Settings) -> dict[str, list[Question]]:
    """The first exemplars of each subject, as the benchmark's convention has it; of all where subjects have none."""
    n_shots = benchmark.spec.n_shots if entry.shots is None else entry.shots
    if not n_shots or settings.form == "chat":
        return {}
    by_subject: dict[str, list[Question]] = {"": list(benchmark.exemplars[:n_shots])}
    for exemplar in benchmark.exemplars:
        own = by_subject.setdefault(exemplar.subject, [])
        if exemplar.subject and len(own) < n_shots:
            own.append(exemplar)
    return by_subject


def _grader(recipe: Recipe, benchmark: Benchmark) -> Callable[[Question, str], tuple[float, str]] | None:
    if benchmark.spec.grader != "simpleqa":
        return None
    if recipe.grader is None:
        return None
    from reread.scoring.simpleqa import SimpleQAGrader

    grader = make_reader(recipe.grader)
    if not isinstance(grader, Reader):
        raise RecipeError(f"the grader {recipe.grader} cannot write; name a language model")
    return SimpleQAGrader(grader).grade_answer


# After the answers ---------------------------------------------------------------------------------------------------


def _keep_manifest(
    run: RunFolder,
    recipe: Recipe,
    benchmarks: Mapping[str, Benchmark],
    rungs: Sequence[Mapping[str, Any]],
    indexed: Mapping[str, Any],
) -> None:
    packages = ("numpy", "pyarrow", "scipy", "torch", "transformers", "tokenizers", "sentence-transformers")
    versions = {name: found for name in packages if (found := _version(name))}
    manifest = {
        "reread": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": versions,
        "seed": recipe.seed,
        "readers": list(rungs),
        "benchmarks": {
            benchmark.name: {
                "kind": benchmark.kind,
                "chance": benchmark.chance,
                "split": benchmark.split,
                "n_questions": len(benchmark.questions),
                "title": benchmark.spec.title,
                "licence": benchmark.spec.licence,
            }
            for benchmark in benchmarks.values()
        },
        **indexed,
    }
    if _manifest(run) != manifest:
        write_json_atomically(run.manifest_path, manifest)


def _manifest(run: RunFolder) -> dict[str, Any]:
    """What manifest.json holds; empty where the run has none yet."""
    if not run.manifest_path.exists():
        return {}
    try:
        found = json.loads(run.manifest_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderError(f"{run.manifest_path} is damaged ({error}); delete it and run the recipe again") from None
    return found if isinstance(found, dict) else {}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _scores(run: RunFolder, recipe: Recipe, manifest: Mapping[str, Any]) -> dict[str, Any]:
    subject_of = {(row["benchmark"], row["question_id"]): row["subject"] for row in run.questions.read()}
    train_flops = {reader["name"]: reader["train_flops"] for reader in manifest["readers"]}
    answered = cells(run.answers.read())
    recall_rows = list(JsonLines(run.path / "recall.jsonl").read())
    scores: dict[str, Any] = {}
    for name, facts in manifest["benchmarks"].items():
        entry = benchmark_scores(
            answered.get(name, {}),
            train_flops,
            {question_id: subject for (benchmark, question_id), subject in subject_of.items() if benchmark == name},
            kind=facts["kind"],
            chance=facts["chance"] or 0.0,
            seed=recipe.seed,
        )
        own = [row for row in recall_rows if row["benchmark"] == name]
        if own:
            entry["retrieval"] = recall_table(own, recipe.retrieval.recall_at)
        if len(entry["rungs"]) == 1:
            entry["arms"], entry["comparisons"] = entry["rungs"][0]["arms"], entry["rungs"][0]["comparisons"]
        scores[name] = entry
    headline = get_spec(recipe.benchmarks[0].benchmark.partition(":")[0]).name
    return {
        "name": recipe.name,
        "headline": headline,
        "published": recipe.published,
        "rungs": scores[headline]["rungs"],
        "curve": None,
        "benchmarks": scores,
        "ledger": {},
        "decontamination": manifest.get("decontamination"),
    }


def _add_multipliers(run: RunFolder, recipe: Recipe, name: str, scores: dict[str, Any]) -> None:
    """The curve through the rungs' baselines, and every arm's multiplier, where there is a ladder."""
    from reread.analysis.measure import curve_json, measure, multiplier_json, sensitivity_json

    entry = scores["benchmarks"][name]
    rungs = {rung["name"]: rung for rung in entry["rungs"]}
    with_baseline = [rung for rung in rungs.values() if rung["train_flops"] and "baseline" in rung["arms"]]
    if len(with_baseline) < 2:
        return
    z = rise_z(
        [rung["train_flops"] for rung in with_baseline],
        [rung["arms"]["baseline"]["accuracy"] for rung in with_baseline],
        [rung["arms"]["baseline"]["n"] for rung in with_baseline],
    )
    if z < MIN_RISE_Z:
        entry["curve_error"] = (
            f"the baseline does not surely rise with compute here (trend {z:.1f} standard errors, "
            f"{MIN_RISE_Z:g} wanted), so no multiplier can be read off it"
        )
        return
    curve = recipe.curve
    try:
        analysis = measure(
            [run.path],
            benchmark=name,
            kind=curve.fit,
            floor=curve.floor if curve.floor is not None else entry["chance"],
            ceiling=curve.ceiling,
            weights=curve.weights,
            seed=recipe.seed,
        )
    except (FitError, UsageError) as error:
        entry["curve_error"] = str(error)
        return
    entry["curve"] = curve_json(analysis.measured.curve)
    entry["sensitivity"] = sensitivity_json(analysis.points, analysis.choice)
    by_flops = {rung["train_flops"]: rung for rung in with_baseline}
    for point in analysis.measured.multipliers:
        rung = by_flops.get(point.train_flops) if point.train_flops else rungs.get(point.reader)
        if rung is not None:
            rung["multipliers"][point.arm] = multiplier_json(point)
    if name == scores["headline"]:
        scores["curve"], scores["rungs"] = entry["curve"], entry["rungs"]


def _add_bill(scores: dict[str, Any], manifest: Mapping[str, Any]) -> None:
    """What everything cost, by stage, and after how many questions training more would have been cheaper."""
    from reread.analysis.ledger import Charge, bill, break_even

    index_flops = float((manifest.get("build") or {}).get("index_flops") or 0.0)
    headline = scores["benchmarks"][scores["headline"]]
    charges = [Charge("index", index_flops)] if index_flops else []
    even = []
    for rung in headline["rungs"]:
        if rung["train_flops"]:
            charges.append(Charge("train", rung["train_flops"], rung["name"]))
        baseline = rung["arms"].get("baseline")
        for arm, score in rung["arms"].items():
            for stage, flops in score["flops_by_stage"].items():
                charges.append(Charge(stage, flops * score["n"], rung["name"], arm))
            multiplier = rung["multipliers"].get(arm)
            if multiplier and baseline and rung["train_flops"]:
                found = break_even(
                    rung["name"],
                    arm,
                    train_flops=rung["train_flops"],
                    equivalent_flops=multiplier["equivalent_flops"],
                    index_flops=index_flops if score["flops_by_stage"]["search"] else 0.0,
                    flops_per_question=score["flops_per_question"],
                    baseline_flops_per_question=baseline["flops_per_question"],
                )
                even.append(asdict(found))
    scores["ledger"] = {
        "benchmark": scores["headline"],
        "stages": [asdict(charge) for charge in charges],
        "bill": [asdict(row) for row in bill(charges)],
        "break_even": even,
    }


def _yaml(path: Path) -> Any:
    import yaml

    if not path.exists():
        raise RunFolderError(f"{path.parent} is no run folder: it has no {path.name}")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _silent(title: str) -> Progress:
    logger.info("%s", title)
    return lambda done, total: None
