"""Builds on a Ray cluster of several local nodes, one of which is killed while it holds a task."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from corpora import DOCUMENTS, HashEmbedder, settings, tree, write_corpus

from reread.datastore import build, cluster
from reread.errors import DatastoreError, RereadError
from reread.protocols import Embedder, Vectors

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster whose head runs no task, and two nodes with a CPU each."""
    from ray.cluster_utils import Cluster

    # A dead node is noticed within seconds.
    watchful = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    head = {"num_cpus": 0, "object_store_memory": 80_000_000, "_system_config": watchful}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=80_000_000)
    paths = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    ray.init(address=made.address, log_to_driver=False, runtime_env={"env_vars": paths})
    yield made
    ray.shutdown()
    made.shutdown()


class Telling(HashEmbedder):
    """Writes down on which node it works, then takes its time until it is told to go on."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        node = ray.get_runtime_context().get_node_id()
        (self.folder / f"{node}.{os.getpid()}.{time.time_ns()}").touch()
        deadline = time.monotonic() + 60
        while not (self.folder / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return super().encode_passages(texts)


def telling(folder: Path, device: str | None) -> Embedder:
    return Telling(folder)


def test_a_node_killed_with_a_task_in_hand_changes_nothing(nodes: Any, tmp_path: Path) -> None:
    from threading import Thread

    notes = tmp_path / "notes"
    notes.mkdir()
    killed: list[str] = []
    ours = ray.get_runtime_context().get_node_id()

    def kill_a_busy_node() -> None:
        deadline = time.monotonic() + 60
        while len(list(notes.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        # Not the node that this process itself hangs on.
        busy = [path.name.split(".")[0] for path in notes.iterdir() if not path.name.startswith(ours)]
        victim = next(node for node in nodes.worker_nodes if node.node_id == busy[0])
        nodes.remove_node(victim, allow_graceful=False)
        killed.append(busy[0])
        (notes / "go").touch()

    corpus = write_corpus(tmp_path / "c.jsonl", [*DOCUMENTS, *DOCUMENTS[:9]], bad_lines=5)
    common = {**settings(200), "embedder": HashEmbedder()}
    thread = Thread(target=kill_a_busy_node)
    thread.start()
    make = functools.partial(telling, notes)
    told: list[tuple[int, int | None]] = []
    report = build(
        [str(corpus)],
        tmp_path / "ray",
        engine="ray",
        workers=2,
        make_embedder=make,
        progress=lambda done, total: told.append((done, total)),
        **common,
    )  # type: ignore[arg-type]
    thread.join()
    assert told[-1][0] == report.n_passages
    # The node had begun a shard and had not finished it: nothing may go on before the node is dead.
    assert len(killed) == 1 and any(path.name.startswith(killed[0]) for path in notes.iterdir())
    # A build may end before the head has noticed that the node is gone.
    deadline = time.monotonic() + 60
    while killed[0] in {node["NodeID"] for node in ray.nodes() if node["Alive"]} and time.monotonic() < deadline:
        time.sleep(0.1)
    assert killed[0] not in {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    build([str(corpus)], tmp_path / "serial", **common)  # type: ignore[arg-type]
    assert tree(tmp_path / "ray") == tree(tmp_path / "serial")


def refusing(device: str | None) -> Embedder:
    raise DatastoreError("the model is not on this node")


def test_what_a_task_says_is_said_by_the_build_with_its_shard(nodes: Any, tmp_path: Path) -> None:
    with pytest.raises(DatastoreError, match=r"shard 0000\d: the model is not on this node"):
        build(
            [],
            tmp_path / "s",
            documents=DOCUMENTS,
            embedder=HashEmbedder(),
            engine="ray",
            make_embedder=refusing,
            **settings(300),
        )  # type: ignore[arg-type]
    assert not list((tmp_path / "s").glob(".seen-*"))


def test_a_node_that_does_not_see_the_store_says_so(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexer = cluster.RayIndexer(tmp_path, 1, None, lambda shard, n_passages: None)
    with pytest.raises(RereadError, match=r"does not see the store.*same path"), indexer:
        # As where the nodes have another folder at that path.
        indexer._token.unlink()
        indexer.submit(tmp_path / "shards" / "00000")
        indexer.finish()
