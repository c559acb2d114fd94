"""Builds in several processes, killed at any moment, end with the bytes of an undisturbed one."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from corpora import DOCUMENTS, HashEmbedder, random_documents, settings, tree, write_corpus

from reread.datastore import build, verify
from reread.errors import RereadError, UsageError
from reread.protocols import Embedder, Vectors
from reread.runs import file_sha256

BUILD = """
import sys
from pathlib import Path
from reread.datastore import build
if __name__ == "__main__":
    build([sys.argv[1]], Path(sys.argv[2]), chunk_words=20, shard_passages=int(sys.argv[3]), workers=int(sys.argv[4]))
"""


def hash_embedder(device: str | None) -> Embedder:
    return HashEmbedder()


def test_several_workers_write_the_same_bytes(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", [*DOCUMENTS, *DOCUMENTS[:30]], bad_lines=7)
    common = {**settings(200), "embedder": HashEmbedder(), "make_embedder": hash_embedder}
    told: list[tuple[int, int | None]] = []
    build([str(corpus)], tmp_path / "one", **common)  # type: ignore[arg-type]
    report = build(
        [str(corpus)],
        tmp_path / "some",
        workers=3,
        progress=lambda *n: told.append(n),
        **common,  # type: ignore[arg-type]
    )
    assert tree(tmp_path / "some") == tree(tmp_path / "one")
    assert told[-1] == (report.n_passages, report.n_passages) and report.n_shards > 4


class KillsItsProcess(HashEmbedder):
    """Dies in the middle of a shard, the first time or always, as a process that takes too much memory does."""

    def __init__(self, marks: Path, always: bool) -> None:
        super().__init__()
        self.marks = marks
        self.always = always

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        place = self.marks / str(zlib.crc32(texts[0].encode()) % 3)
        if self.always or not place.exists():
            place.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_passages(texts)


def make_killing(marks: Path, always: bool, device: str | None) -> Embedder:
    return KillsItsProcess(marks, always)


def test_the_shard_of_a_worker_that_was_killed_is_indexed_again(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    common = {**settings(400), "documents": DOCUMENTS, "embedder": HashEmbedder()}
    make = functools.partial(make_killing, tmp_path / "marks", False)
    build([], tmp_path / "killed", workers=2, make_embedder=make, **common)  # type: ignore[arg-type]
    assert list((tmp_path / "marks").iterdir())
    build([], tmp_path / "whole", **common)  # type: ignore[arg-type]
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


def test_a_shard_that_kills_every_worker_ends_the_build_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    make = functools.partial(make_killing, tmp_path / "marks", True)
    with pytest.raises(RereadError, match=r"shard 0000\d.*SIGKILL.*--workers.*same command again"):
        build(
            [],
            tmp_path / "s",
            documents=DOCUMENTS,
            embedder=HashEmbedder(),
            workers=2,
            make_embedder=make,
            **settings(300),
        )  # type: ignore[arg-type]
    build([], tmp_path / "s", documents=DOCUMENTS, embedder=HashEmbedder(), **settings(300))  # type: ignore[arg-type]
    assert verify(tmp_path / "s") == []


class Broken(HashEmbedder):
    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        vectors = super().encode_passages(texts)
        vectors[-1, 0] = np.nan
        return vectors


def broken(device: str | None) -> Embedder:
    return Broken()


def without_disk(device: str | None) -> Embedder:
    raise OSError(errno.ENOSPC, "No space left on device", "weights")


@pytest.mark.parametrize(
    ("make", "said"), [(broken, r"shard 0000\d: .*NaN.*passage doc-0-"), (without_disk, "is full")]
)
def test_what_goes_wrong_in_a_worker_is_said_by_the_build(tmp_path: Path, make: object, said: str) -> None:
    with pytest.raises(RereadError, match=said):
        build(
            [],
            tmp_path / "s",
            documents=DOCUMENTS,
            embedder=HashEmbedder(),
            workers=2,
            make_embedder=make,
            **settings(),
        )  # type: ignore[arg-type]


def test_an_embedder_that_cannot_be_made_elsewhere_is_refused_for_several_workers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make_embedder"):
        build([], tmp_path / "s", documents=DOCUMENTS, embedder=HashEmbedder(), workers=2)


def start(folder: Path, store: str, workers: int, size: int = 400) -> subprocess.Popen[bytes]:
    (folder / "build.py").write_text(BUILD)
    arguments = [folder / "c.jsonl", folder / store, size, workers]
    return subprocess.Popen(
        [sys.executable, str(folder / "build.py"), *map(str, arguments)],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )


def kill_after(process: subprocess.Popen[bytes], seconds: float, *, group: bool) -> bool:
    """Whether the process still ran when it was killed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return False
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    return True


@pytest.mark.parametrize(
    ("workers", "n_kills"),
    [(1, 3), (2, 3), pytest.param(1, 20, marks=pytest.mark.slow), pytest.param(2, 20, marks=pytest.mark.slow)],
)
def test_killed_again_and_again_a_build_ends_with_the_same_bytes(tmp_path: Path, workers: int, n_kills: int) -> None:
    """Of two workers, every other time the parent alone is killed."""
    write_corpus(tmp_path / "c.jsonl", random_documents(2000 if n_kills < 9 else 12_000, seed=3), bad_lines=40)
    begun = time.monotonic()
    assert start(tmp_path, "whole", 1).wait() == 0
    whole_s = time.monotonic() - begun
    rng = np.random.default_rng(0)
    n_killed = 0
    for n in range(n_kills):
        process = start(tmp_path, "killed", workers)
        n_killed += kill_after(
            process, float(rng.uniform(0.3, 0.8)) * whole_s / (1 if n_kills < 9 else 4), group=n % 2 == 0
        )
    assert n_killed >= min(n_kills, 8) // 2
    assert start(tmp_path, "killed", workers).wait() == 0
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


def test_what_was_cut_is_not_cut_again_and_what_was_indexed_not_indexed_again(tmp_path: Path) -> None:
    """A parent that is killed leaves shards of both kinds; their files stay those that are there."""
    make = functools.partial(make_killing, tmp_path, True)
    common = {**settings(150), "documents": DOCUMENTS, "embedder": HashEmbedder()}
    build([], tmp_path / "whole", **common)  # type: ignore[arg-type]
    with pytest.raises(RereadError):
        build([], tmp_path / "s", workers=2, make_embedder=make, **common)  # type: ignore[arg-type]
    cut = sorted((tmp_path / "s").rglob("cut.json"))
    assert cut and not list((tmp_path / "s").rglob("shard.json"))
    before = {
        path: path.stat().st_mtime_ns for c in cut for path in (c.parent / "passages.arrow", c.parent / "documents.npy")
    }
    build([], tmp_path / "s", **common)  # type: ignore[arg-type]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert tree(tmp_path / "s") == tree(tmp_path / "whole")


def test_control_c_stops_every_process_and_the_build_goes_on_later(tmp_path: Path) -> None:
    write_corpus(tmp_path / "c.jsonl", random_documents(3000, seed=3))
    process = start(tmp_path, "s", 2)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "s").rglob("shard.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) != 0
    deadline = time.monotonic() + 20
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.05)
    assert start(tmp_path, "s", 2).wait() == 0
    assert verify(tmp_path / "s") == []


def test_a_damaged_cut_is_named_when_the_build_goes_on(tmp_path: Path) -> None:
    make = functools.partial(make_killing, tmp_path, True)
    common = {**settings(150), "documents": DOCUMENTS, "embedder": HashEmbedder()}
    with pytest.raises(RereadError):
        build([], tmp_path / "s", workers=2, make_embedder=make, **common)  # type: ignore[arg-type]
    cut = min((tmp_path / "s").rglob("cut.json"))
    facts = json.loads(cut.read_text())
    cut.write_text(json.dumps({**facts, "n_passages": facts["n_passages"] + 1}))
    with pytest.raises(RereadError, match=r"cut\.json is damaged; delete the folder"):
        build([], tmp_path / "s", **common)  # type: ignore[arg-type]


def test_a_long_file_is_known_by_its_size_and_samples_of_it(tmp_path: Path) -> None:
    corpus = tmp_path / "long.txt"
    corpus.write_bytes(b"word " * 5_000_000)
    build([str(corpus)], tmp_path / "s", chunk_words=100_000)
    (file,) = json.loads((tmp_path / "s" / "datastore.json").read_text())["builds"][0]["files"]
    assert file["bytes"] == 25_000_000 and file_sha256(corpus) not in file.values()
    with corpus.open("r+b") as content:
        content.seek(-5, os.SEEK_END)
        content.write(b"last ")
    with pytest.raises(RereadError, match="changed since"):
        build([str(corpus)], tmp_path / "s", chunk_words=100_000)


class Killed(Exception):
    """Stands for a kill at a chosen moment."""


@pytest.mark.parametrize("touched", [False, True])
def test_an_unfinished_build_does_not_go_on_with_a_long_file_that_was_touched(tmp_path: Path, touched: bool) -> None:
    corpus = tmp_path / "long.jsonl"
    corpus.write_text("".join(json.dumps({"id": n, "text": "word " * 200_000}) + "\n" for n in range(20)))

    def stop(passage: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        build([str(corpus)], tmp_path / "s", chunk_words=100_000, drop=stop)
    if touched:
        os.utime(corpus, ns=(1, 1))
        with pytest.raises(RereadError, match="time stamp"):
            build([str(corpus)], tmp_path / "s", chunk_words=100_000)
    else:
        assert build([str(corpus)], tmp_path / "s", chunk_words=100_000).n_documents == 20
        assert "stamps" not in (tmp_path / "s" / "datastore.json").read_text()


def test_what_a_killed_atomic_write_leaves_behind_goes(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".datastore.json.123.part").write_text("{")
    build([], tmp_path / "s", documents=DOCUMENTS[:20])
    make = functools.partial(make_killing, tmp_path, True)
    common = {**settings(150), "documents": DOCUMENTS, "embedder": HashEmbedder()}
    with pytest.raises(RereadError):
        build([], tmp_path / "t", workers=2, make_embedder=make, **common)  # type: ignore[arg-type]
    (next((tmp_path / "t").rglob("cut.json")).parent / ".shard.json.123.part").write_text("{")
    build([], tmp_path / "t", **common)  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("*.part"))
