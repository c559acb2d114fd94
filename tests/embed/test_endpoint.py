"""Endpoints: batches in order, bounded patience, and no vector that would silently ruin a datastore."""

from __future__ import annotations

import base64
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from reread import http
from reread.embed import make_embedder
from reread.embed.endpoint import EndpointEmbedder
from reread.embed.unit import qwen3_query_prompt
from reread.errors import BadVectors, RereadError, UsageError
from reread.retrieval.rerank_endpoint import EndpointReranker
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
        self.facts: dict[str, Any] = {}
        """Answers beside /v1/embeddings: (status, content) of a GET, or a function of the body of a POST."""
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(*outer.facts.get(self.path, (404, b"")))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path in outer.facts:
                    self._send(200, outer.facts[self.path](body))
                    return
                if not self.path.startswith("/v1/"):
                    self._send(404, b"")
                    return
                outer.asked.append((self.path, body))
                self._send(*outer.answer(body))

            def _send(self, status: int, content: Any) -> None:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
    assert sorted(len(body["input"]) for _, body in server.asked) == [1, 2, 2]
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


BAD_OPTIONS = ["st:m?dim=x", "st:m?dim=-1", "st:m?dim", "st:m?size=3", "st:m?dim=2&dim=3", "st:m?backend=jax"]


@pytest.mark.parametrize("spec", ["minilm", "st:", "openai:model", "openai:m@ftp://x", "word2vec:x", *BAD_OPTIONS])
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


# Many texts, at once


def test_requests_overlap_and_the_vectors_keep_the_order(server: Server) -> None:
    meeting = threading.Barrier(4, timeout=20)

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        meeting.wait()
        return 200, {"data": [{"index": 0, "embedding": [1.0, float(body["input"][0])]}]}

    server.answer = answer
    vectors = endpoint(server, batch_size=1).encode_passages([str(n) for n in range(8)])
    assert np.allclose(vectors[:, 1] / vectors[:, 0], range(8), atol=1e-4)


def test_a_batch_that_is_too_large_is_halved_until_it_fits(server: Server) -> None:
    server.answer = lambda body: (413, b"batch too large") if len(body["input"]) > 3 else embeddings(body)
    texts = ["a" * n for n in range(1, 17)]
    vectors = endpoint(server, batch_size=16).encode_passages(texts)
    assert np.array_equal(vectors, endpoint(server, batch_size=1).encode_passages(texts))


def test_a_text_that_is_too_long_is_named_with_the_servers_limit(server: Server) -> None:
    server.facts = {
        "/v1/models": (200, {"data": [{"id": "m", "max_model_len": 512}]}),
        "/tokenize": lambda body: {"count": 3},
    }
    server.answer = lambda body: (400, b"too long") if any(len(t) > 9 for t in body["input"]) else embeddings(body)
    with pytest.raises(RereadError, match=r"too long.*text 2 \('over\\nlong text', 14 characters\).*512 tokens"):
        endpoint(server, batch_size=4).encode_passages(["a", "b", "over\nlong text", "c"])


def test_a_servers_own_count_is_its_limit_and_short_texts_need_no_request(server: Server) -> None:
    counted = []

    def vllm(body: dict[str, Any]) -> dict[str, Any]:
        counted.append(body["prompt"])
        return {"count": len(body["prompt"].split())}

    server.facts = {"/v1/models": (200, {"data": [{"id": "m", "max_model_len": 32}]}), "/tokenize": vllm}
    embedder = endpoint(server)
    assert embedder.max_tokens == 32
    counted.clear()
    long = "many words of a text that is longer than that"
    counts = embedder.count_tokens(["short", long])
    assert counts[0] <= 32 and counts[1] == 10 and counted == [long]


def test_a_text_embeddings_inference_server_says_its_limit_too(server: Server) -> None:
    server.facts = {"/info": (200, {"max_input_length": 16}), "/tokenize": lambda body: [[{"id": 1}] * 7]}
    embedder = endpoint(server)
    assert embedder.max_tokens == 16 and embedder.count_tokens(["x" * 100]) == [7]


def test_a_server_that_does_not_count_has_no_known_limit(server: Server) -> None:
    server.facts = {"/v1/models": (200, {"data": [{"id": "m", "max_model_len": 32}]})}
    assert endpoint(server).max_tokens is None


def test_base64_vectors_are_read_and_tokens_are_summed(server: Server) -> None:
    packed = base64.b64encode(np.array([3, 4], dtype="<f4").tobytes()).decode()
    server.answer = lambda body: (
        200,
        {"data": [{"index": 0, "embedding": packed}], "usage": {"total_tokens": 5}},
    )
    embedder = endpoint(server, batch_size=1)
    assert np.allclose(embedder.encode_passages(["a", "b"]), [[0.6, 0.8]] * 2)
    assert embedder.n_tokens == 10


def test_a_zero_vector_is_an_error_that_has_the_texts_place(server: Server) -> None:
    server.answer = lambda body: (
        200,
        {"data": [{"index": i, "embedding": [0.0 if "x" in t else 1.0]} for i, t in enumerate(body["input"])]},
    )
    with pytest.raises(BadVectors, match=r"length zero for text 3 \('x\\x1b\[0m'\), text 5") as error:
        endpoint(server).encode_passages(["a", "b", "c", "x\x1b[0m", "d", "xx"])
    assert error.value.indices == (3, 5)
    assert pickle.loads(pickle.dumps(error.value)).indices == (3, 5)  # noqa: S301 - our own bytes


def test_a_servers_wait_is_kept_to_but_not_beyond_the_limit(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def note(wait_s: float) -> None:
        if wait_s:
            waits.append(wait_s)

    monkeypatch.setattr(http, "JITTER_FRAC", 0.0)
    monkeypatch.setattr(http.asyncio, "sleep", note)
    server.headers = {"Retry-After": "7"}
    server.answer = lambda body: (429, {}) if len(server.asked) < 2 else embeddings(body)
    endpoint(server).encode_passages(["a"])
    server.headers = {"Retry-After": "Tue, 31 Dec 2999 23:59:59 GMT"}
    server.asked.clear()
    endpoint(server).encode_passages(["a"])
    assert waits == [7.0, http.MAX_WAIT_S]


def test_a_lone_surrogate_reaches_an_endpoint_as_a_replacement_character(server: Server) -> None:
    server.answer = embeddings
    endpoint(server).encode_passages(["a\ud800b"])
    assert server.asked[0][1]["input"] == ["a\ufffdb"]
