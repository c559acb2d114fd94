"""Ids are found however many shards there are, and one hash of two ids does not make them one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from corpora import random_documents

from reread.datastore import build
from reread.datastore.known_ids import KnownIds
from reread.datastore.layout import id_hash
from reread.types import Document


def test_every_id_of_seventy_shards_is_known_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["reread.datastore.known_ids"], "MERGED_AT_ONCE", 50)
    documents = random_documents(280, n_words=5)
    report = build([], tmp_path / "s", documents=documents, shard_passages=4)
    assert report.n_shards >= 65
    ids = [d.id for d in documents] + [f"stranger-{n}" for n in range(50)]
    hashes = np.array([id_hash(i) for i in ids], dtype=np.uint64)
    with KnownIds(tmp_path / "s") as known:
        for number in range(report.n_shards):
            known.add_shard(number)
        assert known.holds(ids, hashes, before=report.n_shards) == [True] * 280 + [False] * 50
        # Four documents a shard: what comes again is known behind its first place alone.
        assert known.holds(ids[:12], hashes[:12], before=2) == [True] * 8 + [False] * 4
        # Two levels of merged runs, and few files whatever the number of shards.
        assert 1 <= len(list((tmp_path / "s" / ".ids").iterdir())) <= 2 * 8
    assert not (tmp_path / "s" / ".ids").exists()


def test_two_ids_of_one_hash_are_two_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("build", "cut", "shard"):
        monkeypatch.setattr(sys.modules[f"reread.datastore.{module}"], "id_hash", lambda doc_id: 7)
    documents = [Document(id=f"{n}", text=f"text {n}", source="s") for n in range(40)]
    report = build([], tmp_path / "s", documents=[*documents, *documents[::3]], shard_passages=4)
    assert report.n_documents == 40 and report.rejects == {"duplicate_id": 14}
