"""Search on Ray actors is search in one process, also when actors and a whole node die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpora import HashEmbedder, random_documents, random_queries

from reread.cli import run
from reread.datastore import Datastore, SearchKind, build
from reread.datastore.cluster_search import ClusterDatastore
from reread.errors import DatastoreError, UsageError
from reread.types import Document

ray = pytest.importorskip("ray")

DOCUMENTS = random_documents(400)
QUERIES = random_queries(30, DOCUMENTS)


# A dead node is noticed after a second, not half a minute.
HEALTH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
HEAD = {"num_cpus": 1, "include_dashboard": False, "_system_config": HEALTH}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=HEAD)
    made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "store"
    copies = [Document(id=f"copy-{d.id}", text=d.text, source=d.source, title=d.title) for d in DOCUMENTS[:40]]
    build([], folder, documents=[*DOCUMENTS, *copies], embedder=HashEmbedder(), chunk_words=30, shard_passages=120)
    local = Datastore.open(folder, HashEmbedder())
    local.hide([local.search(QUERIES[:1], 1)[0][0].passage.id], "test")
    return folder


@pytest.fixture(scope="module")
def remote(cluster: Any, store: Path) -> Iterator[ClusterDatastore]:
    with ClusterDatastore.open(store, HashEmbedder(), 2) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["bm25", "exact", "hybrid"])
def test_actors_find_what_one_process_finds(remote: ClusterDatastore, store: Path, kind: SearchKind) -> None:
    local = Datastore.open(store, HashEmbedder())
    assert remote.find(QUERIES, 15, kind) == local.find(QUERIES, 15, kind)
    assert len(remote) == len(local)


def test_a_killed_actor_and_a_killed_node_change_nothing(cluster: Any, store: Path) -> None:
    node = cluster.add_node(num_cpus=1)
    local = Datastore.open(store, HashEmbedder())
    with ClusterDatastore.open(store, HashEmbedder(), 3) as remote:
        ray.kill(remote._actors[0], no_restart=False)
        assert remote.find(QUERIES, 5, "hybrid") == local.find(QUERIES, 5, "hybrid")
        cluster.remove_node(node, allow_graceful=False)
        assert remote.find(QUERIES, 5, "hybrid") == local.find(QUERIES, 5, "hybrid")


def test_refusals_are_those_of_one_process(remote: ClusterDatastore, store: Path, tmp_path: Path) -> None:
    with pytest.raises(DatastoreError, match="no datastore"):
        ClusterDatastore.open(tmp_path)
    with pytest.raises(UsageError, match="0"):
        ClusterDatastore.open(store, n_actors=0)
    with pytest.raises(DatastoreError, match="--ann"):
        remote.search(QUERIES[:1], 3, "ann")
    with pytest.raises(UsageError, match="0"):
        remote.search(QUERIES[:1], 0)


def test_the_search_command_runs_on_ray(cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build([], tmp_path / "store", documents=DOCUMENTS[:50], shard_passages=20)
    outputs = []
    for engine in ("local", "ray"):
        assert run(["search", str(tmp_path / "store"), QUERIES[0], "--json", "--engine", engine]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] and '"rank": 1' in outputs[0]
