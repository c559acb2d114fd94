"""Scoring and sampling with the hf reader beside lm-evaluation-harness' and transformers' own, in one run.

The same local model (random weights, Qwen3 architecture, a byte-level BPE tokenizer trained on the corpora), the same
float32, the same threads; CPU seconds count, as other jobs may hold the cores. Requests: real questions with about a
thousand tokens of passages that BM25 finds in the textbooks. `texts`: options' own texts are scored; `letters`:
lettered options behind the passages; `5-shot letters`: solved examples in front. lm-evaluation-harness runs with the
fastest of several batch sizes. Both sides run in turn; log-likelihoods must agree, and the largest difference is
printed. Sampling: 8 samples of a prompt against 1, and against transformers' generate(num_return_sequences=8).

Example: python benchmarks/reading.py                  (smaller: --questions 8 --width 256 --layers 6 --rounds 1)
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("REREAD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
CORPORA = ("openstax_science", "openstax_social")
CHUNK_WORDS, PASSAGES, PROMPT_TOKENS = 128, 8, 1000
VOCABULARY = 32_000
PEER_BATCHES = (1, 4, 16, "auto")
N_SAMPLES, NEW_TOKENS = 8, 32
TOLERANCE = 1e-3
"""Nats: float32 sums over some thousand tokens in another order."""

Request = tuple[str, tuple[str, ...]]


def make_model(folder: Path, width: int, layers: int) -> None:
    """Writes a checkpoint with random weights and a trained tokenizer."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from reread.corpus import Rejects, read_documents
    from reread.ladder.tokenizer import save_tokenizer, train_bpe

    files = [str(DATA / "corpora" / f"{name}.jsonl.gz") for name in CORPORA]
    texts = (document.text for document in itertools.islice(read_documents(files, rejects=Rejects()), 1500))
    save_tokenizer(train_bpe(texts, VOCABULARY), folder, 4096)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 128,
        head_dim=64,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)


def make_requests(reader: Any, store: Path, n: int) -> dict[str, list[Request]]:
    """Row of the table → requests of n questions each."""
    from reread.benchmarks import load_benchmark
    from reread.datastore import Datastore
    from reread.reading.prompts import build_prompt
    from reread.retrieval import Retriever

    retriever = Retriever(Datastore.open(store))

    def requests(benchmark: str, file: str, form: str, shots: int = 0) -> list[Request]:
        loaded = load_benchmark(f"{benchmark}:{DATA / 'benchmarks' / file}")
        subject = loaded.questions[0].subject if shots else None
        questions = [q for q in loaded.questions if subject is None or q.subject == subject][:n]
        exemplars = [e for e in loaded.exemplars if e.subject == subject][:shots] if shots else []
        made = []
        for question, found in zip(questions, retriever.retrieve(questions, PASSAGES), strict=True):
            budget = PROMPT_TOKENS + (reader.count_tokens(_solved(exemplars)) if exemplars else 0)
            prompt = build_prompt(
                question,
                found.hits,
                form=form,
                exemplars=exemplars,
                budget_tokens=budget,
                count_tokens=reader.count_tokens,
                control_tokens=reader.control_tokens,
            )
            made.append((prompt.text, prompt.continuations))
        return made

    return {
        "ARC-Challenge, texts": requests("arc_challenge", "arc_challenge.jsonl.gz", "cloze"),
        "OpenBookQA, texts": requests("openbookqa", "openbookqa.jsonl.gz", "cloze"),
        "MMLU, letters": requests("mmlu", "mmlu_*.jsonl.gz", "letters"),
        "MMLU of one subject, 5-shot letters": requests("mmlu", "mmlu_*.jsonl.gz", "letters", shots=5),
    }


def _solved(exemplars: Sequence[Any]) -> str:
    return "\n\n".join(f"{e.text}\n" + "\n".join(e.choices or ()) for e in exemplars)


def peer_scores(peer: Any, requests: Sequence[Request]) -> list[tuple[float, ...]]:
    from lm_eval.api.instance import Instance

    flat = [(prefix, continuation) for prefix, continuations in requests for continuation in continuations]
    instances = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(flat)]
    values = iter(logprob for logprob, _ in peer.loglikelihood(instances, disable_tqdm=True))
    return [tuple(next(values) for _ in continuations) for _, continuations in requests]


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """CPU seconds (per thread, as other jobs may hold the cores) and the result."""
    import torch

    begun = time.process_time()
    result = work(*arguments)
    return (time.process_time() - begun) / torch.get_num_threads(), result


def scoring_table(reader: Any, rows: dict[str, list[Request]], rounds: int, peer_batches: Sequence[Any]) -> None:
    from lm_eval.models.huggingface import HFLM

    print("| requests | n | tokens a prompt | reread, questions a CPU second | lm-eval's | its batch | ratio |", end="")
    print(" tokens through the model | largest difference, nats |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    peers = {
        # `auto` finds no limit on a CPU and takes the largest allowed; more than 16 prompts' logits fill the memory.
        size: HFLM(pretrained=reader.model, tokenizer=reader.tokenizer, batch_size=size, max_batch_size=16)
        for size in peer_batches
    }
    for name, requests in rows.items():
        few = requests[: max(4, len(requests) // 4)]
        reader.loglikelihood(few[:1])
        trials = {size: timed(peer_scores, peer, few)[0] for size, peer in peers.items()}
        best = min(trials, key=trials.__getitem__)
        ours: list[float] = []
        theirs: list[float] = []
        n_computed = _n_forwarded(reader, requests) / sum(map(reader.count_tokens, [prefix for prefix, _ in requests]))
        for _ in range(rounds):
            seconds, scored = timed(reader.loglikelihood, requests)
            ours.append(seconds)
            seconds, expected = timed(peer_scores, peers[best], requests)
            theirs.append(seconds)
        largest = max(
            abs(a - b) for s, row in zip(scored, expected, strict=True) for a, b in zip(s.logprobs, row, strict=True)
        )
        if not largest < TOLERANCE:
            raise SystemExit(f"{name}: log-likelihoods differ by {largest}")
        n_prompt = statistics.mean(s.n_prompt_tokens for s in scored)
        mine, other = len(requests) / statistics.median(ours), len(requests) / statistics.median(theirs)
        print(
            f"| {name} | {len(requests)} | {n_prompt:.0f} | {mine:.2f} | {other:.2f} | {best} | {mine / other:.2f} |"
            f" {n_computed:.2f} x prompts' | {largest:.1e} |",
            flush=True,
        )


def _n_forwarded(reader: Any, requests: Sequence[Request]) -> int:
    """Tokens that go through the model, padding among them."""
    n_tokens = []
    hook = reader.model.register_forward_pre_hook(
        lambda _, __, inputs: n_tokens.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    reader.loglikelihood(requests)
    hook.remove()
    return sum(n_tokens)


def sampling_table(reader: Any, prompts: Sequence[str], rounds: int) -> None:
    import torch

    times: dict[str, list[float]] = {}
    for _, prompt in itertools.product(range(rounds), prompts):
        ids = torch.tensor(reader.encode([prompt]))

        def own(n: int, prompt: str) -> Any:
            return reader.generate([prompt], n=n, temperature=1.0, max_tokens=NEW_TOKENS)

        def others(n: int, ids: Any) -> Any:
            # No end token on either side: random weights hardly draw one, and both write every token.
            return reader.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                top_k=0,
                num_return_sequences=n,
                max_new_tokens=NEW_TOKENS,
                eos_token_id=None,
                pad_token_id=0,
            )

        for n in (1, N_SAMPLES):
            times.setdefault(f"reread, {n} samples", []).append(timed(own, n, prompt)[0])
            times.setdefault(f"transformers generate, {n} samples", []).append(timed(others, n, ids)[0])
    print(f"\n| {NEW_TOKENS} new tokens after about {PROMPT_TOKENS} | prompts x rounds | CPU seconds a prompt |")
    print("|---|--:|--:|")
    for name, seconds in times.items():
        print(f"| {name} | {len(seconds)} | {statistics.median(seconds):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=None)
    parser.add_argument("--peer-batches", nargs="*", default=PEER_BATCHES)
    parser.add_argument("--folder", type=Path, default=None, help="keep model and store here for another run")
    parser.add_argument("--rows", default="", help="only rows whose name holds this; 'sampling' for that table alone")
    settings = parser.parse_args()
    import torch

    from reread.datastore import build
    from reread.reading.local import HfReader

    torch.set_num_threads(settings.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.folder or Path(temporary)
        if not (folder / "model" / "model.safetensors").is_file():
            make_model(folder / "model", settings.width, settings.layers)
        build([str(DATA / "corpora" / f"{n}.jsonl.gz") for n in CORPORA], folder / "store", chunk_words=CHUNK_WORDS)
        reader = HfReader(str(folder / "model"), device="cpu", batch_tokens=settings.batch_tokens)
        rows = make_requests(reader, folder / "store", settings.questions)
        n_million = sum(p.numel() for p in reader.model.parameters()) / 1e6
        print(f"{n_million:.0f} M weights, float32, {settings.threads} thread(s), median of {settings.rounds}\n")
        if settings.rows != "sampling":
            wanted = {name: requests for name, requests in rows.items() if settings.rows in name}
            sizes = [size if size == "auto" else int(size) for size in settings.peer_batches]
            scoring_table(reader, wanted, settings.rounds, sizes)
        sampling_table(reader, [prefix for prefix, _ in rows["ARC-Challenge, texts"][:4]], settings.rounds)


if __name__ == "__main__":
    main()
