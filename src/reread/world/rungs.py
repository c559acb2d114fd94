"""The demo's ladder: its recipes, the stored rungs, and how to train them afresh."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reread.ladder import RungConfig, train_rungs
from reread.ladder.train import MODEL_FILE, RUNG_FILE, Documents
from reread.runs import write_bytes_atomically, write_json_atomically
from reread.world.encyclopedia import World

LADDER = (
    RungConfig("r0-64x2-400k", width=64, n_layers=2, n_tokens=400_000),
    RungConfig("r1-64x2-1.5M", width=64, n_layers=2, n_tokens=1_500_000),
    RungConfig("r2-96x2-4M", width=96, n_layers=2, n_tokens=4_000_000),
    RungConfig("r3-96x2-8M", width=96, n_layers=2, n_tokens=8_000_000),
    RungConfig("r4-128x2-10M", width=128, n_layers=2, n_tokens=10_000_000),
)
"""Width, layers and tokens, chosen by trial (docs/log.md): closed-book accuracy rises all the way, and
reading sets in between the second and the third rung."""

VOCABULARY = 4096
N_THREADS = 1
"""Threads the stored rungs were trained with: sums in another order would end in other weights."""

STORED = Path(__file__).parent / "rungs"


def stored_rungs() -> list[Path]:
    """The checkpoint folders of the rungs that come with the package, by training FLOPs."""
    folders = [path.parent for path in STORED.glob(f"*/{RUNG_FILE}")]
    return sorted(folders, key=lambda folder: float(json.loads((folder / RUNG_FILE).read_text())["train_flops"]))


def store_rung(rung: Path, folder: Path = STORED) -> Path:
    """Copy a trained rung into a ladder's folder with its weights in float16, half the size; returns the
    copy.

    Readers compute in float32 all the same: config.json says so. The rounding is far below what an answer
    hangs on.
    """
    from safetensors.torch import load_file, save

    record = json.loads((rung / RUNG_FILE).read_text())
    target = folder / record["name"]
    target.mkdir(parents=True, exist_ok=True)
    halves = {name: weight.half() for name, weight in load_file(str(rung / MODEL_FILE)).items()}
    write_bytes_atomically(target / MODEL_FILE, save(halves, metadata={"format": "pt"}))
    for path in sorted(rung.glob("*.json")):
        if path.name != RUNG_FILE:
            write_bytes_atomically(target / path.name, path.read_bytes())
    write_json_atomically(target / RUNG_FILE, record | {"stored_as": "float16"})
    return target


def stream_checksum(documents: Documents) -> str:
    """Hex SHA-256 over the ids, titles and texts of a stream of documents."""
    digest = hashlib.sha256()
    for document in documents():
        digest.update(f"{document.id}\x1f{document.title}\x1f{document.text}\x1e".encode())
    return digest.hexdigest()


def train_ladder(
    out: Path,
    world: World | None = None,
    stage: Callable[[str], Callable[[int, int | None], None]] | None = None,
    *,
    rungs: tuple[RungConfig, ...] = LADDER,
    documents: Documents | None = None,
    corpus_checksum: str | None = None,
) -> list[dict[str, Any]]:
    """Train the demo's rungs under `out`, one folder each; returns their records, smallest first.

    world: the demo's by default. documents: what to train on, where it is not the world's own clean stream
    (with `corpus_checksum` to tell it apart). stage: opens a progress report for a title. Resumes after a
    kill.
    """
    world = world or World()
    if documents is None:
        documents = world.clean_documents
        corpus_checksum = stream_checksum(documents)
    return train_rungs(
        documents,
        rungs,
        out,
        tokenizer="words",
        vocabulary=VOCABULARY,
        corpus_checksum=corpus_checksum,
        n_threads=N_THREADS,
        stage=stage,
    )
