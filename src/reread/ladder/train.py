"""Pre-training one rung: the page to read first. Streams, resumes after a kill, saves an ordinary
checkpoint."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reread.errors import MissingExtra, RunFolderError, UsageError
from reread.ladder.config import RungConfig
from reread.ladder.data import batches
from reread.ladder.tokenizer import END, make_tokenizer, save_tokenizer
from reread.protocols import Progress
from reread.runs import content_hash, write_bytes_atomically, write_json_atomically
from reread.types import Document

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from reread.ladder.optimiser import Optimiser

Documents = Callable[[], Iterable[Document]]

log = logging.getLogger(__name__)

CHECKPOINT = ".checkpoint"
CHECKPOINT_EVERY_S = 60.0
MODEL_FILE = "model.safetensors"
RUNG_FILE = "rung.json"
TOKENIZER_FILE = "tokenizer.json"
LOSS_MEMORY = 0.99
"""Weight of the past in the running loss that rung.json reports."""


def learning_rate_scale(done_frac: float, config: RungConfig) -> float:
    """Linear warm-up, a plateau, linear decay to zero."""
    rising = done_frac / config.warmup_frac if config.warmup_frac else 1.0
    falling = (1 - done_frac) / config.decay_frac if config.decay_frac else 1.0
    return max(0.0, min(1.0, rising, falling))


def pretrain(
    documents: Documents,
    rung: RungConfig,
    out: Path,
    *,
    tokenizer: Tokenizer | str | None = None,
    vocabulary: int = 8192,
    corpus_checksum: str | None = None,
    progress: Progress | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    n_threads: int | None = None,
) -> dict[str, Any]:
    """Train one rung on a corpus and save it under `out`; returns what rung.json holds.

    documents: gives the corpus anew each time it is called; it is read as often as the rung's tokens need.
    tokenizer: a tokenizers.Tokenizer, or "bpe" (default) or "words" to train one on the corpus.
    progress: called with (tokens done, tokens in all). n_threads: torch's while it trains; as before afterwards.
    A finished rung of the same recipe is returned as it is; an unfinished one goes on from its last
    checkpoint and ends with the weights that an uninterrupted run has (same threads and library versions).
    Raises RunFolderError when `out` holds a rung of another recipe.
    """
    finished = _finished(out, rung, corpus_checksum)
    if finished is not None:
        return finished
    with _threads(n_threads):
        return _train(
            documents, rung, out, tokenizer or "bpe", vocabulary, corpus_checksum, progress, checkpoint_every_s
        )


def _train(
    documents: Documents,
    rung: RungConfig,
    out: Path,
    tokenizer: Tokenizer | str,
    vocabulary: int,
    corpus_checksum: str | None,
    progress: Progress | None,
    checkpoint_every_s: float,
) -> dict[str, Any]:
    """Train from the last checkpoint, or from the start, to the end; see `pretrain`."""
    torch = _torch()
    if isinstance(tokenizer, str):
        tokenizer = make_tokenizer(documents, tokenizer, vocabulary)
    end = tokenizer.token_to_id(END)
    if end is None:
        raise UsageError(f"the tokenizer has no {END} token; train it with reread.ladder.tokenizer")

    from reread.ladder.model import initial_weights, loss_sum, rotations
    from reread.ladder.optimiser import Optimiser

    n_vocabulary = tokenizer.get_vocab_size()
    weights = initial_weights(rung, n_vocabulary)
    for weight in weights.values():
        weight.requires_grad_(True)
    optimiser = Optimiser(weights, rung.weight_decay)
    recipe_hash = content_hash([rung.as_dict(), n_vocabulary, corpus_checksum])
    n_steps, n_tokens, loss = _resume(out, recipe_hash, weights, optimiser)
    stream = batches(documents, tokenizer, end=end, context=rung.context, batch_rows=rung.batch_rows, seed=rung.seed)
    for _ in range(n_steps):
        next(stream)
    rotation = rotations(rung.context, rung.head_size, rung.rope_theta)
    started = saved = time.monotonic()
    while n_tokens < rung.n_tokens:
        inputs, targets = next(stream)
        n_here = int((targets >= 0).sum())
        total = loss_sum(weights, torch.from_numpy(inputs), torch.from_numpy(targets), rung, rotation)
        (total / n_here).backward()
        scale = learning_rate_scale(n_tokens / rung.n_tokens, rung)
        optimiser.step(rung.matrix_lr * scale, rung.other_lr * scale)
        n_steps, n_tokens = n_steps + 1, n_tokens + n_here
        here = float(total.detach()) / n_here
        loss = here if loss is None else LOSS_MEMORY * loss + (1 - LOSS_MEMORY) * here
        if not here < float("inf"):
            raise UsageError(f"rung {rung.name}: the loss is {here} at step {n_steps}; lower matrix_lr or other_lr")
        if progress is not None:
            progress(min(n_tokens, rung.n_tokens), rung.n_tokens)
        if time.monotonic() - saved > checkpoint_every_s:
            _save_checkpoint(out, recipe_hash, weights, optimiser, n_steps, n_tokens, loss)
            saved = time.monotonic()
    record = {
        "name": rung.name,
        "train_flops": rung.train_flops(n_vocabulary, n_tokens),
        "n_tokens": n_tokens,
        "n_steps": n_steps,
        "n_params": rung.n_params(n_vocabulary),
        "n_weights": rung.n_weights(n_vocabulary),
        "n_vocabulary": n_vocabulary,
        "loss": loss,
        "train_s": round(time.monotonic() - started, 1),
        "seed": rung.seed,
        "corpus_checksum": corpus_checksum,
        "recipe": rung.as_dict(),
        "versions": {"torch": torch.__version__},
    }
    save_rung(out, weights, tokenizer, end, rung, record)
    return record


def save_rung(
    out: Path,
    weights: dict[str, Any],
    tokenizer: Tokenizer,
    end: int,
    rung: RungConfig,
    record: dict[str, Any],
) -> None:
    """Write the transformers checkpoint; rung.json comes last and marks the rung as finished."""
    from safetensors.torch import save

    from reread.ladder.model import transformers_config

    out.mkdir(parents=True, exist_ok=True)
    config = transformers_config(rung, tokenizer.get_vocab_size(), end)
    tensors = {name: weight.detach().contiguous() for name, weight in weights.items()}
    write_bytes_atomically(out / MODEL_FILE, save(tensors, metadata={"format": "pt"}))
    save_tokenizer(tokenizer, out, config["max_position_embeddings"])
    write_json_atomically(out / "config.json", config)
    write_json_atomically(out / RUNG_FILE, record)
    shutil.rmtree(out / CHECKPOINT, ignore_errors=True)


def _finished(out: Path, rung: RungConfig, corpus_checksum: str | None) -> dict[str, Any] | None:
    path = out / RUNG_FILE
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    if record.get("recipe") != rung.as_dict() or record.get("corpus_checksum") != corpus_checksum:
        raise RunFolderError(f"{out} holds a finished rung of another recipe or corpus; give another --out")
    return record


def _resume(
    out: Path, recipe_hash: str, weights: dict[str, Any], optimiser: Optimiser
) -> tuple[int, int, float | None]:
    """Load the last checkpoint where there is one; returns (steps, tokens, running loss)."""
    import torch
    from safetensors.torch import load_file

    state_file = out / CHECKPOINT / "state.json"
    if not state_file.exists():
        return 0, 0, None
    state = json.loads(state_file.read_text())
    if state["recipe_hash"] != recipe_hash:
        raise RunFolderError(f"{out} holds an unfinished rung of another recipe or corpus; give another --out")
    tensors = load_file(str(out / CHECKPOINT / state["file"]))
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[f"weight.{name}"])
        for name, moment in optimiser.state.items():
            moment.copy_(tensors[f"state.{name}"])
    optimiser.n_steps = state["n_steps"]
    log.info("%s: going on from step %d", out, state["n_steps"])
    return state["n_steps"], state["n_tokens"], state["loss"]


def _save_checkpoint(
    out: Path,
    recipe_hash: str,
    weights: dict[str, Any],
    optimiser: Optimiser,
    n_steps: int,
    n_tokens: int,
    loss: float,
) -> None:
    """The tensors go to a new file first; state.json then points to it, so a kill leaves a whole
    checkpoint."""
    from safetensors.torch import save

    folder = out / CHECKPOINT
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"weight.{name}": weight.detach() for name, weight in weights.items()}
    tensors |= {f"state.{name}": moment for name, moment in optimiser.state.items()}
    file = f"step-{n_steps:09d}.safetensors"
    write_bytes_atomically(folder / file, save(tensors))
    write_json_atomically(
        folder / "state.json",
        {"recipe_hash": recipe_hash, "file": file, "n_steps": n_steps, "n_tokens": n_tokens, "loss": loss},
    )
    for old in folder.glob("step-*.safetensors"):
        if old.name != file:
            old.unlink()


@contextmanager
def _threads(n_threads: int | None) -> Iterator[None]:
    """Torch at this many threads, and afterwards at as many as before; None leaves them alone."""
    torch = _torch()
    n_before = torch.get_num_threads()
    try:
        if n_threads is not None:
            torch.set_num_threads(n_threads)
        yield
    finally:
        torch.set_num_threads(n_before)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "models", "pre-training") from error
    return torch
