"""A server with every fault that could be thought of: prompts end with their own samples, a counted absence, or a
clear error."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reading.conftest import send
from reread import http
from reread.errors import ReaderError
from reread.reading import make_reader
from reread.reading.endpoint import EndpointReader
from reread.reading.replies import samples_of, usage_of

if TYPE_CHECKING:
    from conftest import Misbehaving

Reply = Callable[[BaseHTTPRequestHandler, str, dict[str, Any]], None]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT_S", 0.002)


def prompt_of(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"])


def texts_for(body: dict[str, Any], n: int | None = None) -> list[str]:
    """What an honest server answers: the prompt, and the request's own seed, so that no text occurs twice."""
    return [f"{prompt_of(body)}|{body.get('seed', 0)}|{i}" for i in range(body["n"] if n is None else n)]


def answer(
    handler: BaseHTTPRequestHandler,
    body: dict[str, Any],
    n: int | None = None,
    kind: str = "application/json",
    **more: Any,
) -> None:
    choices = [
        {"index": i, "message": {"content": text}, "finish_reason": "stop"} for i, text in enumerate(texts_for(body, n))
    ]
    usage = {"prompt_tokens": 7, "completion_tokens": 3 * len(choices)}
    send(handler, json.dumps({"choices": choices, "usage": usage, **more}).encode(), kind=kind)


def drop(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.wfile.flush()
    handler.connection.close()


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(20):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(HANG_S / 20)


HANG_S = 2.5
PASSING: dict[str, Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]] = {
    "hangs": lambda h, b: time.sleep(HANG_S),
    "drips": lambda h, b: drip(h),
    "drops half-way": lambda h, b: drop(h),
    "closes at once": lambda h, b: h.connection.close(),
    "answers HTML": lambda h, b: send(h, b"<html>502</html>", 200, "text/html"),
    "invalid JSON": lambda h, b: send(h, b'{"choices": [{"mess'),
    "invalid UTF-8": lambda h, b: send(h, b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
    "a list": lambda h, b: send(h, b"[]"),
    "no body": lambda h, b: send(h, b""),
    "choices no list": lambda h, b: send(h, b'{"choices": "many"}'),
    "choice no object": lambda h, b: send(h, b'{"choices": [null]}'),
    "429": lambda h, b: send(h, b"{}", 429, retry_after="0.01"),
    "429 with a date": lambda h, b: send(h, b"{}", 429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
    "503": lambda h, b: send(h, b"busy", 503, "text/plain"),
    "500": lambda h, b: send(h, b'{"detail": "oh"}', 500),
}
"""Faults that trying again mends."""
HARMLESS: dict[str, Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]] = {
    "n - 1 choices": lambda h, b: answer(h, b, max(1, b["n"] - 1)),
    "one choice": lambda h, b: answer(h, b, 1),
    "a choice too many": lambda h, b: answer(h, b, b["n"] + 1),
    "wrong type": lambda h, b: answer(h, b, kind="text/plain"),
    "closes afterwards": lambda h, b: (answer(h, b), setattr(h, "close_connection", True))[0],
    "absurd usage": lambda h, b: answer(h, b, usage={"prompt_tokens": -3, "completion_tokens": 10**30}),
    "usage of words": lambda h, b: answer(h, b, usage={"prompt_tokens": "many", "completion_tokens": None}),
    "no usage": lambda h, b: answer(h, b, usage=None),
}


@pytest.mark.parametrize("seed", range(3))
def test_prompts_keep_their_own_samples_through_every_fault(server: Misbehaving, seed: int) -> None:
    faults = {**PASSING, **HARMLESS}
    met: Counter[str] = Counter()
    left: dict[str, list[str]] = {}
    lock = threading.Lock()
    rng = random.Random(seed)

    def reply(handler: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> None:
        prompt = prompt_of(body)
        with lock:
            # At most three faults for each prompt, so that five attempts are enough. Hangs are few: each takes time.
            names = [name for name in faults if rng.random() < 0.5 or name not in ("hangs", "drips")]
            drawn = [name for name in rng.choices(names, k=3) if rng.random() < 0.7]
            todo = left.setdefault(prompt, drawn)
            name = todo.pop() if todo and prompt != "Hi" else ""
            met[name] += 1
        faults[name](handler, body) if name else answer(handler, body)

    server.replies = [reply]
    reader = EndpointReader("tiny", server.url, api="chat", timeout_s=1.5, attempts=5, concurrency=32, logprobs=False)
    prompts = [f"prompt {i} of {seed}" for i in range(170)]
    drawn = reader.generate(prompts, n=3, temperature=1.0)
    assert sum(met.values()) > 500 or len(met) == len(faults) + 1
    for prompt, samples in zip(prompts, drawn, strict=True):
        assert len(samples) == 3
        assert {sample.text.split("|")[0] for sample in samples} == {prompt}
        assert len({sample.text for sample in samples}) == 3
        assert all(0 <= sample.n_tokens < 1000 and 0 <= sample.n_prompt_tokens < 1000 for sample in samples)
    assert reader.usage["unanswered"] == reader.usage["missing_samples"] == 0


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_for_good_is_the_prompt_s_own_where_others_are_answered(
    server: Misbehaving, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    def reply(handler: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> None:
        PASSING[fault](handler, body) if prompt_of(body) == "poison" else answer(handler, body)

    server.replies = [reply]
    reader = EndpointReader("tiny", server.url, api="chat", timeout_s=0.3, attempts=2)
    with caplog.at_level(logging.WARNING):
        drawn = reader.generate(["good", "poison", "better"])
    assert [len(samples) for samples in drawn] == [1, 0, 1]
    assert reader.usage["unanswered"] == 1
    assert "no answer to the prompt that begins 'poison'" in caplog.text


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_of_the_whole_server_ends_the_run(server: Misbehaving, fault: str) -> None:
    server.replies = [lambda handler, path, body: PASSING[fault](handler, body)]
    reader = EndpointReader("tiny", server.url, api="chat", timeout_s=0.3, attempts=2)
    with pytest.raises(ReaderError) as caught:
        reader.generate([f"prompt {i}" for i in range(20)])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_that_is_refused_is_counted_and_the_others_are_answered(server: Misbehaving, status: int) -> None:
    def reply(handler: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> None:
        if len(prompt_of(body)) > 100:
            return send(handler, b'{"error": {"message": "context too long"}}', status)
        return answer(handler, body)

    server.replies = [reply]
    reader = EndpointReader("tiny", server.url, api="chat", logprobs=False)
    drawn = reader.generate(["a", "long " * 30, "b", "longer " * 30], n=2, temperature=1.0)
    assert [len(samples) for samples in drawn] == [2, 0, 2, 0]
    assert reader.usage["unanswered"] == 2 and reader.usage["missing_samples"] == 0


@pytest.mark.parametrize(("status", "words"), [(400, "unknown field"), (401, "bad key"), (404, "no such model")])
def test_a_request_that_no_prompt_could_mend_ends_the_run(server: Misbehaving, status: int, words: str) -> None:
    server.replies = [
        lambda handler, path, body: send(handler, json.dumps({"error": {"message": words}}).encode(), status)
    ]
    with pytest.raises(ReaderError, match=words):
        EndpointReader("tiny", server.url, api="chat").generate(["a", "b"])


def test_a_redirect_is_named_and_not_followed(server: Misbehaving) -> None:
    server.replies = [lambda h, p, b: send(h, b"", 308, location="https://elsewhere.example/v1")]
    with pytest.raises(ReaderError, match=r"308.*it redirects to https://elsewhere\.example"):
        EndpointReader("tiny", server.url, api="chat").generate(["a"])


def test_a_gigabyte_is_given_up_after_the_limit(server: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_RESPONSE_BYTES", 2**20)
    sent = [0]

    def endless(handler: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(2**30))
        handler.end_headers()
        for _ in range(2**14):
            sent[0] += handler.wfile.write(b"x" * 2**16)

    server.replies = [endless]
    with pytest.raises(ReaderError, match="MiB"):
        EndpointReader("tiny", server.url, api="chat", attempts=1).generate(["a"])
    assert sent[0] < 2**26


def test_a_server_that_refuses_n_is_asked_for_one_at_a_time_and_not_again(server: Misbehaving, tmp_path: Path) -> None:
    def reply(handler: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> None:
        if body["n"] > 1:
            return send(handler, b'{"error": {"message": "only n = 1"}}', 400)
        return answer(handler, body)

    server.replies = [reply]

    def drawn() -> list[list[str]]:
        reader = EndpointReader("tiny", server.url, api="chat", logprobs=False, cache=tmp_path, concurrency=1)
        return [[s.text for s in samples] for samples in reader.generate(["a", "b", "c"], n=4, temperature=1.0)]

    first = drawn()
    assert [len(set(texts)) for texts in first] == [4, 4, 4]
    # Requests begun before the first refusal came back ask for n as well, and no others.
    assert len(server.seen) <= 12 + 3
    n_asked = len(server.seen)
    assert drawn() == first and len(server.seen) == n_asked


def test_a_busy_server_holds_back_every_request(server: Misbehaving) -> None:
    started = time.monotonic()
    early: list[float] = []

    def reply(handler: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> None:
        since = time.monotonic() - started
        if since < 0.5:
            early.append(since)
            return send(handler, b"{}", 429, retry_after="0.5")
        return answer(handler, body)

    server.replies = [reply]
    drawn = EndpointReader("tiny", server.url, api="chat", concurrency=4).generate([f"{i}" for i in range(40)])
    assert all(len(samples) == 1 for samples in drawn)
    # Those under way when the first said so; without a common wait all 40 would have been sent.
    assert len(early) <= 8


def test_a_request_that_waits_leaves_its_place_to_others(server: Misbehaving) -> None:
    waiting = set()

    def reply(handler: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> None:
        if prompt_of(body) == "slow" and not waiting:
            waiting.add("slow")
            return send(handler, b"{}", 429, retry_after="0.8")
        return answer(handler, body)

    server.replies = [reply]
    done: dict[str, float] = {}
    reader = EndpointReader("tiny", server.url, api="chat", concurrency=1)
    started = time.monotonic()

    def note(prompts: list[str]) -> None:
        reader.generate(prompts)
        done[prompts[0]] = time.monotonic() - started

    threads = [threading.Thread(target=note, args=([prompt],)) for prompt in ("slow", "quick")]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert done["quick"] < 0.7 < 0.8 <= done["slow"]


def test_more_than_a_hundred_requests_are_under_way_at_once(server: Misbehaving) -> None:
    under_way = [0, 0]
    lock = threading.Lock()

    def reply(handler: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> None:
        with lock:
            under_way[0] += 1
            under_way[1] = max(under_way)
        time.sleep(2.0)
        with lock:
            under_way[0] -= 1
        answer(handler, body)

    server.replies = [reply]
    EndpointReader("tiny", server.url, api="chat", concurrency=150).generate([f"{i}" for i in range(150)])
    assert under_way[1] > 110


def test_ctrl_c_ends_at_once(server: Misbehaving) -> None:
    server.replies = [lambda handler, path, body: time.sleep(5.0)]
    code = (
        "from reread.reading.endpoint import EndpointReader\n"
        f"reader = EndpointReader('tiny', {server.url!r}, api='chat')\n"
        "print('asking', flush=True)\n"
        "reader.generate([str(i) for i in range(50)])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "asking\n"
    ends_at = time.monotonic() + 20
    while not server.seen and time.monotonic() < ends_at:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    interrupted = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - interrupted < 3
    assert "KeyboardInterrupt" in errors and "never awaited" not in errors and "was destroyed" not in errors


def test_a_running_event_loop_is_no_hindrance(server: Misbehaving) -> None:
    server.replies = [lambda handler, path, body: answer(handler, body)]

    async def notebook() -> str:
        return EndpointReader("tiny", server.url, api="chat").generate(["q"])[0][0].text

    assert asyncio.run(notebook()).startswith("q|")


def _ask_in_child(url: str, cache: str) -> None:
    reader = EndpointReader("tiny", url, api="chat", cache=cache, concurrency=8)
    drawn = reader.generate([f"{i}" for i in range(40)] * 2)
    os._exit(0 if [s[0].text.split("|")[0] for s in drawn] == [f"{i}" for i in range(40)] * 2 else 3)


def test_a_forked_child_has_an_event_loop_of_its_own_and_shares_the_cache(server: Misbehaving, tmp_path: Path) -> None:
    server.replies = [lambda handler, path, body: answer(handler, body)]
    reader = EndpointReader("tiny", server.url, api="chat", cache=tmp_path)
    reader.generate(["the parent's"])
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_ask_in_child, args=(server.url, str(tmp_path))) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0, 0, 0]
    files = list(tmp_path.rglob("*"))
    assert not [file for file in files if file.name.endswith(".part")]
    assert len([file for file in files if file.suffix == ".json"]) == 41
    n_asked = len(server.seen)
    reader.generate([f"{i}" for i in range(40)])
    assert len(server.seen) == n_asked


@pytest.mark.parametrize("server_is", ["chat", "base"])
def test_a_cached_rerun_makes_no_request_at_all(server: Misbehaving, tmp_path: Path, server_is: str) -> None:
    def reply(handler: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> None:
        if server_is == "base" and "chat" in path:
            return send(handler, b"{}", 404)
        if "stop" in body:
            return send(handler, b"{}", 500)
        if "chat" in path:
            return answer(handler, body)
        texts = [f"{body['prompt']} {body.get('seed')} {i}" for i in range(body.get("n", 1))]
        return send(handler, json.dumps({"choices": [{"index": i, "text": t} for i, t in enumerate(texts)]}).encode())

    server.replies = [reply]

    def run() -> list[Any]:
        reader = make_reader(f"openai:tiny@{server.url}", cache=tmp_path)
        assert isinstance(reader, EndpointReader)
        assert reader.chat is (server_is == "chat")
        assert reader.can == {"generate"} and not reader.takes_choices
        return reader.generate(["a", "b"], n=3, temperature=0.7, seed=1, stop=["\n"])

    first = run()
    n_asked = len(server.seen)
    assert n_asked > 3
    assert run() == first
    assert len(server.seen) == n_asked


def test_what_the_samples_depend_on_is_in_the_key(server: Misbehaving, tmp_path: Path) -> None:
    server.replies = [lambda handler, path, body: answer(handler, body)]
    asked: dict[str, Any] = {"n": 2, "temperature": 0.5, "seed": 1, "max_tokens": 8}

    def n_requests(settings: dict[str, Any], **more: Any) -> int:
        before = len(server.seen)
        reader = EndpointReader("tiny", server.url, api="chat", cache=tmp_path, **{"logprobs": False, **more})
        reader.generate(["a"], **settings)
        return len(server.seen) - before

    assert n_requests(asked) == 1
    assert n_requests(asked) == 0
    for name, value in {"n": 3, "temperature": 0.6, "seed": 2, "max_tokens": 9}.items():
        assert n_requests({**asked, name: value}) == 1, name
    assert n_requests(asked, system="Be brief.") == 1
    assert n_requests(asked, top_p=0.9) == 1
    assert n_requests(asked, extra={"min_p": 0.1}) == 1
    # Log-probabilities change no sample: only whether the server offers them is asked (in two ways).
    assert n_requests(asked, logprobs=True) == 2


def test_an_unreadable_reply_never_reaches_the_cache(server: Misbehaving, tmp_path: Path) -> None:
    bad: list[Reply] = [
        lambda h, p, b: send(h, b'{"id": 1}'),
        lambda h, p, b: send(h, b'{"choices": [3]}'),
        lambda h, p, b: answer(h, b),
    ]
    server.replies = bad
    [[sample]] = EndpointReader("tiny", server.url, api="chat", cache=tmp_path).generate(["q"])
    assert sample.text == "q|0|0"
    [file] = tmp_path.rglob("*.json")
    assert json.loads(file.read_text())["choices"][0]["message"]["content"] == "q|0|0"


def test_odd_choices_are_empty_samples_and_repeated_ones_count_once() -> None:
    reply = {
        "choices": [
            {"index": 0, "message": {"content": None, "reasoning_content": "So, hm"}, "finish_reason": "length"},
            {"index": 1, "message": {"content": None, "tool_calls": [{"function": {}}]}},
            {"index": 2, "message": {"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}},
            {"index": 3, "message": {"content": "twice"}},
            {"index": 3, "message": {"content": "twice"}},
            {"index": 4},
            {"index": 5, "message": {"content": "lone \ud800 surrogate"}},
        ]
    }
    texts = [sample.text for sample in samples_of(reply, "q", "openai:m@http://h/v1")]
    assert texts == ["", "", "in parts", "twice", "", "lone ? surrogate"]
    assert all(sample.vote is None for sample in samples_of(reply, "q", "openai:m@http://h/v1"))


@pytest.mark.parametrize("count", [-1, "7", 10**30, True, None, 1.5, float("nan")])
def test_absurd_usage_is_no_usage(count: Any) -> None:
    assert usage_of({"usage": {"prompt_tokens": count, "completion_tokens": count}}) == (None, None)
    assert usage_of({"usage": {"prompt_tokens": 3, "completion_tokens": 0}}) == (3, 0)
