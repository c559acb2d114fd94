"""The first day: a folder of one's own files and a question."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reread.ask import at_hand, cache_folder
from reread.cli import run


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of notes, a cache of its own, and no model served on the usual ports."""
    monkeypatch.setenv("REREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(at_hand, "LOCAL_PORTS", {})
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "review.md").write_text("# Review\n\nThe harbour plan's review is due on 14 March.\n", encoding="utf-8")
    (folder / "lunch.txt").write_text("Lunch is at noon in the green room.\n", encoding="utf-8")
    return folder


class Chat(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that answers with what stands behind "due on" in the prompt."""

    def do_GET(self) -> None:
        self.reply({"object": "list", "data": [{"id": "parrot", "object": "model"}]})

    def do_POST(self) -> None:
        if not self.path.endswith("/chat/completions"):
            self.send_error(404)
            return
        self.keys.append(self.headers.get("Authorization"))
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = asked["messages"][-1]["content"]
        said = prompt.partition("due on ")[2].partition(".")[0] or "unknown"
        choice = {"index": 0, "message": {"role": "assistant", "content": f"Answer: {said}"}, "finish_reason": "stop"}
        self.reply({"id": "x", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}})

    keys: ClassVar[list[str | None]] = []
    """The Authorization header of every request."""

    def reply(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["ask", *arguments, "--json"]) == 0
    record: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return record


def test_without_a_reader_the_passages_are_shown(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = asked(capsys, str(notes), "When is the review due?")
    assert (record["answer"], record["reader"]) == (None, None)
    assert record["hits"][0]["source"] == "review.md"
    assert "14 March" in record["hits"][0]["text"]
    assert run(["ask", str(notes), "When is the review due?"]) == 0
    shown = capsys.readouterr()
    assert "14 March" in shown.out
    assert "No reader" in shown.err


def test_a_link_to_nothing_and_a_name_that_is_not_utf8_do_not_keep_a_folder_from_being_asked(
    notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (notes / "gone.txt").symlink_to("nowhere.txt")
    with contextlib.suppress(OSError):  # macOS refuses such names
        Path(os.fsdecode(os.fsencode(notes) + b"/caf\xe9.txt")).write_text("The caf\u00e9 opens at nine.")
    assert run(["ask", str(notes), "When does it open?", "--reader", "none"]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_answers_with_its_sources(notes: Path, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    reader = f"openai:parrot@http://127.0.0.1:{port}/v1"
    record = asked(capsys, str(notes), "When is the review due?", "--reader", reader)
    assert record["answer"] == "14 March"
    assert record["hits"][0]["source"] == "review.md"
    assert record["samples"][0]["n_prompt_tokens"] == 9
    assert run(["ask", str(notes), "When is the review due?", "--reader", reader]) == 0
    assert "14 March" in capsys.readouterr().out


def test_a_model_on_a_usual_port_is_found(
    notes: Path, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(at_hand, "LOCAL_PORTS", {1: "nobody", port: "a server"})
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    Chat.keys.clear()
    assert asked(capsys, str(notes), "When is the review due?")["answer"] == "14 March"
    assert set(Chat.keys) == {None}, "a server that was not named gets no key"
    reader = f"openai:parrot@http://127.0.0.1:{port}/v1"
    asked(capsys, str(notes), "When is the review due?", "--reader", reader)
    assert "Bearer sk-secret" in Chat.keys


def test_docs_and_votes_work_on_ones_own_files(notes: Path, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    reader = f"openai:parrot@http://127.0.0.1:{port}/v1"
    record = asked(
        capsys, str(notes), "When is the review due?", "--reader", reader, "--arm", "retrieval+sc", "--samples", "3"
    )
    assert record["votes"] == {"14 March": 3.0}
    assert asked(capsys, str(notes), "When is the review due?", "--reader", reader, "--arm", "docs")["answer"]


def test_a_folder_is_read_once_and_again_when_it_changes(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(capsys, str(notes), "review")
    (built,) = (cache_folder() / "stores").iterdir()
    stamp = (built / "datastore.json").stat().st_mtime_ns
    asked(capsys, str(notes), "lunch")
    assert (built / "datastore.json").stat().st_mtime_ns == stamp
    (notes / "review.md").write_text("The review is off.", encoding="utf-8")
    assert asked(capsys, str(notes), "review")["hits"][0]["text"] == "The review is off."
    assert len(list((cache_folder() / "stores").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["NOWHERE", "x"], "NOWHERE"),
        (["NOTES", "  "], "question is empty"),
        (["NOTES", "x", "--arm", "retreival"], "did you mean 'retrieval'"),
        (["NOTES", "x", "--arm", "rerank"], "needs a reranker"),
        (["NOTES", "x", "--arm", "oracle"], "is a control"),
        (["NOTES", "x", "--reader", "lexical"], "cannot write"),
        (["NOTES", "x", "--reader", "gpt"], "is not known"),
        (["EMPTY", "x"], "EMPTY"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence_and_exit_2(
    notes: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    empty = notes.parent / "EMPTY"
    empty.mkdir()
    places = {"NOTES": str(notes), "EMPTY": str(empty), "NOWHERE": str(notes / "NOWHERE")}
    assert run(["ask", *(places.get(argument, argument) for argument in arguments)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("reread: ")
    assert sentence in error


def test_a_dead_endpoint_is_one_sentence_and_exit_1(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", str(notes), "x review", "--reader", "openai:m@http://127.0.0.1:9/v1"]) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_questions_are_taken_from_a_pipe_too(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("When is lunch?\nWhen is the review due?\n"))
    assert run(["ask", str(notes), "--json"]) == 0
    sources = [json.loads(line)["hits"][0]["source"] for line in capsys.readouterr().out.splitlines()]
    assert sources == ["lunch.txt", "review.md"]
