"""Duplicates are found, nothing else is dropped, and kills, workers and order of discovery change no byte."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reread.corpus import Rejects, read_documents
from reread.corpus.dedup import SketchSettings, dedup_corpus, files
from reread.corpus.dedup.cluster import decide
from reread.corpus.dedup.sketch import band_keys, content_key, found_share, normalise, shingles, sketch
from reread.errors import CorpusError, RunFolderError, UsageError

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnpr" for b in "aeiou" for c in ("ta", "ro", "ni", "sel", "mu", "dok")]


def text(seed: int, n_words: int = 200) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choices(WORDS, k=n_words))


def edited(original: str, share: float, seed: int) -> str:
    """The text with a share of its words replaced."""
    draw = random.Random(seed)
    words = original.split()
    for place in draw.sample(range(len(words)), round(share * len(words))):
        words[place] = "changed"
    return " ".join(words)


def jaccard(a: str, b: str) -> float:
    sets = [{gram for grams in shingles(normalise(t), 5) for gram in grams} for t in (a, b)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def write(path: Path, texts: list[str]) -> Path:
    rows = [
        json.dumps({"id": f"{path.stem}{n}", "title": f"T{n}", "text": t, "lang": "x"}) for n, t in enumerate(texts)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def kept_texts(out: Path) -> list[str]:
    return [document.text for document in read_documents([str(out / "clean")], rejects=Rejects())]


def tree(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[str]:
    """Three files with exact and near copies within and across them."""
    write(tmp_path / "in/a.jsonl", [text(1), text(2), "too short", edited(text(1), 0.01, 0), text(3)])
    write(tmp_path / "in/b.jsonl", [text(2).upper().replace(" ", "\n"), text(4), "Too  short", text(5)])
    write(tmp_path / "in/c.jsonl", [edited(text(4), 0.02, 1), *(text(seed) for seed in range(10, 60))])
    yield str(tmp_path / "in")


def test_the_first_of_every_cluster_stays_and_the_others_are_named(corpus: str, tmp_path: Path) -> None:
    summary = dedup_corpus([corpus], tmp_path / "out")
    found = rows(tmp_path / "out/duplicates.jsonl")
    assert [(r["doc_id"], r["source"], r["record"], r["kept_doc_id"], r["kept_source"], r["kind"]) for r in found] == [
        ("a3", "a.jsonl", 4, "a0", "a.jsonl", "near"),
        ("b0", "b.jsonl", 1, "a1", "a.jsonl", "exact"),
        ("b2", "b.jsonl", 3, "a2", "a.jsonl", "exact"),
        ("c0", "c.jsonl", 1, "b1", "b.jsonl", "near"),
    ]
    assert all(0.8 <= float(str(r["similarity"])) <= 1 for r in found)
    assert (summary["n_documents"], summary["n_kept"], summary["n_exact"], summary["n_near"]) == (60, 56, 2, 2)
    assert json.loads((tmp_path / "out/summary.json").read_text()) == summary
    assert len(kept_texts(tmp_path / "out")) == 56
    assert not (tmp_path / "out/work").exists()


def test_records_that_stay_keep_their_fields(corpus: str, tmp_path: Path) -> None:
    dedup_corpus([corpus], tmp_path / "out")
    first = next(read_documents([str(tmp_path / "out/clean")], rejects=Rejects()))
    assert (first.id, first.title, first.text, first.meta["lang"]) == ("a0", "T0", text(1), "x")


def test_workers_change_no_byte(corpus: str, tmp_path: Path) -> None:
    dedup_corpus([corpus], tmp_path / "one")
    dedup_corpus([corpus], tmp_path / "two", workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_cleaned_corpus_has_nothing_left_to_drop(corpus: str, tmp_path: Path) -> None:
    dedup_corpus([corpus], tmp_path / "one")
    again = dedup_corpus([str(tmp_path / "one/clean")], tmp_path / "two")
    assert again["n_kept"] == again["n_documents"]


@pytest.mark.parametrize("function", ["sketch", "_decide", "atomic_zstd", "join_files", "_summary"])
def test_a_run_that_broke_off_anywhere_ends_with_the_same_bytes(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    dedup_corpus([corpus], tmp_path / "whole")
    calls = 0
    real = getattr(files, function)

    def breaks(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2 or function in ("_decide", "_summary"):
            raise KeyboardInterrupt
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(files, function, breaks)
        with pytest.raises(KeyboardInterrupt):
            dedup_corpus([corpus], tmp_path / "broken")
    (tmp_path / "broken/clean").mkdir(exist_ok=True)
    (tmp_path / "broken/clean/.a.jsonl.zst.1.part").write_bytes(b"left by a kill")
    dedup_corpus([corpus], tmp_path / "broken")
    assert tree(tmp_path / "broken") == tree(tmp_path / "whole")


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / f"in/{number}.jsonl", [text(seed, 200) for seed in range(number * 70, number * 70 + 100)])
    command = [sys.executable, "-m", "reread", "dedup", str(tmp_path / "in"), "--out"]
    assert subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, check=False).returncode == 0
    draw = random.Random(0)
    for _ in range(2):
        process = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.4, 1.2))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run([*command, str(tmp_path / "killed")], capture_output=True, check=False).returncode == 0
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


def test_near_duplicates_are_those_that_brute_force_finds(tmp_path: Path) -> None:
    texts = [text(seed, 300) for seed in range(30)]
    texts += [edited(texts[n], share, n) for n in range(30) for share in (0.005, 0.01, 0.1, 0.3)]
    write(tmp_path / "in.jsonl", texts)
    dedup_corpus([str(tmp_path / "in.jsonl")], tmp_path / "out")
    dropped = {int(str(r["record"])) - 1 for r in rows(tmp_path / "out/duplicates.jsonl")}
    best = {n: max(jaccard(texts[n], texts[m]) for m in range(30) if m != n) for n in range(30, len(texts))}
    # Three standard deviations of the estimate either side of the threshold.
    assert {n for n, similarity in best.items() if similarity >= 0.875} <= dropped
    assert not {n for n in dropped if best.get(n, 0) < 0.725}


def test_what_shares_only_boilerplate_stays(tmp_path: Path) -> None:
    header, footer = text(1, 40), text(2, 40)
    write(tmp_path / "in.jsonl", [f"{header} {text(seed, 150)} {footer}" for seed in range(10, 60)])
    summary = dedup_corpus([str(tmp_path / "in.jsonl")], tmp_path / "out")
    assert summary["n_kept"] == 50


def test_a_chain_of_small_changes_keeps_its_far_end(tmp_path: Path) -> None:
    chain = [text(0, 300)]
    for step in range(12):
        words = chain[-1].split()
        words[step * 20 : step * 20 + 8] = [f"new{step}w{n}" for n in range(8)]
        chain.append(" ".join(words))
    write(tmp_path / "in.jsonl", chain)
    dedup_corpus([str(tmp_path / "in.jsonl")], tmp_path / "out")
    kept = kept_texts(tmp_path / "out")
    assert 1 < len(kept) < len(chain)
    for link in chain:
        assert max(jaccard(link, other) for other in kept) > 0.7


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.randoms())
def test_decisions_rest_on_kept_documents_and_not_on_sorting_in_parts(numbers: list[int], draw: random.Random) -> None:
    texts = [normalise(edited(text(number, 60), 0.02 * (number % 3), place)) for place, number in enumerate(numbers)]
    keys = np.array([np.frombuffer(content_key(t), dtype="<u8") for t in texts])
    chosen = SketchSettings()
    sketches = sketch(texts, chosen)
    found = decide(keys, sketches, band_keys(sketches, *chosen.bands), 0.8)
    for document, (kept, similarity, exact) in enumerate(found.tolist()):
        if kept < 0:
            continue
        assert kept < document and found["kept"][kept] == -1
        agreement = float((sketches[document] == sketches[kept]).mean())
        assert agreement >= 0.8 and similarity == pytest.approx(agreement)
        assert exact == (texts[document] == texts[kept])
    assert len({texts[d] for d in np.flatnonzero(found["kept"] < 0)}) == int((found["kept"] < 0).sum())
    from reread.corpus.dedup import cluster

    before, cluster.SORTED_AT_ONCE = cluster.SORTED_AT_ONCE, 4
    try:
        assert decide(keys, sketches, band_keys(sketches, *chosen.bands), 0.8).tolist() == found.tolist()
    finally:
        cluster.SORTED_AT_ONCE = before


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_find_at_least_95_percent_at_the_threshold(threshold: float) -> None:
    bands, n_rows = SketchSettings(threshold).bands
    assert bands * n_rows <= 256
    assert found_share(threshold, bands, n_rows) >= 0.95


def test_sketches_estimate_the_jaccard_similarity() -> None:
    pairs = [(text(seed, 300), edited(text(seed, 300), 0.01 * (1 + seed % 8), seed)) for seed in range(80)]
    sketches = [sketch([normalise(a), normalise(b)], SketchSettings()) for a, b in pairs]
    errors = [float((s[0] == s[1]).mean()) - jaccard(a, b) for s, (a, b) in zip(sketches, pairs, strict=True)]
    # Standard deviation of one estimate at most 0.032, of the mean of 80 0.0035.
    assert abs(float(np.mean(errors))) < 0.015
    assert float(np.std(errors)) < 0.04


def test_a_huge_document_is_shingled_in_pieces_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from reread.corpus.dedup import sketch as module

    whole, grams = normalise(text(5, 900)), [g for grams in shingles(text(5, 900), 5) for g in grams]
    monkeypatch.setattr(module, "BLOCK_CHARS", 100)
    assert normalise(text(5, 900)) == whole
    assert [g for part in shingles(whole, 5) for g in part] == grams


def test_documents_without_words_or_with_lone_surrogates_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    odd = ["one", "one", "a b c d", "\ud800 " + text(3, 50), "\ud800 " + text(3, 50), "字" * 500, "字" * 499]
    path.write_text("".join(json.dumps({"id": str(n), "text": t}) + "\n" for n, t in enumerate(odd)))
    summary = dedup_corpus([str(path)], tmp_path / "out")
    assert summary["n_exact"] >= 1
    assert summary["n_kept"] + summary["n_exact"] + summary["n_near"] == summary["n_documents"]


def test_ids_may_repeat_across_and_within_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps({"id": "same", "text": text(seed)}) + "\n" for seed in (1 if name == "a" else 2, 3))
        )
    summary = dedup_corpus([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")], tmp_path / "out")
    (found,) = rows(tmp_path / "out/duplicates.jsonl")
    assert summary["n_kept"] == 3
    assert (found["source"], found["record"], found["kept_source"], found["kept_record"]) == (
        "b.jsonl",
        2,
        "a.jsonl",
        2,
    )


def test_filtered_and_unreadable_records_are_rejected_with_their_reasons(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", [text(1), "few words"])
    path.write_text(path.read_text() + "not json\n")
    summary = dedup_corpus([str(path)], tmp_path / "out", filters=["min-words=10"])
    assert summary["n_kept"] == 1
    reasons = {str(row["reason"]) for row in rows(tmp_path / "out/rejects.jsonl")}
    assert "filtered (min-words: too_few_words)" in reasons and len(reasons) == 2


def test_exact_only_leaves_near_duplicates(corpus: str, tmp_path: Path) -> None:
    summary = dedup_corpus([corpus], tmp_path / "out", settings=SketchSettings(exact_only=True))
    assert (summary["n_exact"], summary["n_near"]) == (2, 0)


def test_a_folder_of_another_run_is_refused_naming_the_setting(corpus: str, tmp_path: Path) -> None:
    dedup_corpus([corpus], tmp_path / "out")
    with pytest.raises(RunFolderError, match=r"threshold = 0\.8, not 0\.7"):
        dedup_corpus([corpus], tmp_path / "out", settings=SketchSettings(0.7))
    with pytest.raises(RunFolderError, match="other corpus files"):
        dedup_corpus([corpus + "/a.jsonl"], tmp_path / "out")
    with pytest.raises(RunFolderError, match="not empty"):
        dedup_corpus([corpus], tmp_path)


def test_a_folder_inside_the_corpus_is_refused(corpus: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lies in the corpus folder"):
        dedup_corpus([corpus], tmp_path / "in" / "out")


def test_a_finished_run_is_left_as_it_is(corpus: str, tmp_path: Path) -> None:
    first = dedup_corpus([corpus], tmp_path / "out")
    before = tree(tmp_path / "out")
    assert dedup_corpus([corpus], tmp_path / "out") == first
    assert tree(tmp_path / "out") == before


def test_a_file_that_changes_during_the_run_is_an_error(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files._decide

    def meanwhile(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        path = Path(corpus) / "a.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))

    monkeypatch.setattr(files, "_decide", meanwhile)
    with pytest.raises(CorpusError, match="changed while it was read"):
        dedup_corpus([corpus], tmp_path / "out")


def test_a_corpus_with_nothing_readable_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(CorpusError, match="no readable document"):
        dedup_corpus([str(tmp_path / "empty.jsonl")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.0}, {"threshold": 1.2}, {"ngram": 0}, {"permutations": 3}], ids=lambda w: str(w)
)
def test_impossible_settings_are_refused_with_the_value(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        SketchSettings(**wrong)  # type: ignore[arg-type]


def test_an_error_in_a_worker_is_the_same_sentence(corpus: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.txt").write_text("example.com\n")
    with pytest.raises(UsageError, match="knows no 'xx'"):
        dedup_corpus([corpus], tmp_path / "out", filters=["language=xx"], workers=2)


def test_a_full_disk_is_one_sentence(corpus: str, tmp_path: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"from reread.cli import run; sys.exit(run(['dedup', {corpus!r}, '--out', {str(tmp_path / 'out')!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "disk" in result.stderr.splitlines()[-1] and "Traceback" not in result.stderr


@pytest.mark.realdata
def test_near_duplicates_of_real_passages_are_those_that_brute_force_finds(realdata: Path, tmp_path: Path) -> None:
    source = realdata / "corpora" / "wikipedia_passages.jsonl.gz"
    texts = [document.text for document in read_documents([str(source)], rejects=Rejects())][:5000]
    write(tmp_path / "in.jsonl", texts)
    sets = [{gram for grams in shingles(normalise(t), 5) for gram in grams} for t in texts]
    holders: dict[str, list[int]] = {}
    dropped: set[int] = set()
    for number, grams in enumerate(sets):
        rivals = {other for gram in grams for other in holders.get(gram, ())}
        if any(len(grams & sets[o]) >= 0.8 * len(grams | sets[o]) for o in rivals):
            dropped.add(number)
            continue
        for gram in grams:
            holders.setdefault(gram, []).append(number)
    dedup_corpus([str(tmp_path / "in.jsonl")], tmp_path / "out")
    found = {int(str(r["record"])) - 1 for r in rows(tmp_path / "out/duplicates.jsonl")}
    assert len(dropped) > 100
    assert len(found & dropped) >= 0.94 * max(len(found), len(dropped))
