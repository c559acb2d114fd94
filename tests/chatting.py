"""An OpenAI-compatible server for tests that says what stands in its prompt, or does what servers do on a bad day."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Say = Callable[[str, int], str | None]
"""From the user's turn and the number of the reply among those given so far to a reply; None is a refusal."""


def what_is_due(prompt: str, number: int) -> str:
    """What stands behind "due on" in the prompt."""
    return f"Answer: {prompt.partition('due on ')[2].partition('.')[0] or 'unknown'}"


class Chat:
    """say: what is answered; may be set anew between questions. hangs: while set, requests wait."""

    def __init__(self, say: Say = what_is_due) -> None:
        self.say = say
        self.hangs = threading.Event()
        self.released = threading.Event()
        self.keys: list[str | None] = []
        """The Authorization header of every request."""
        self.prompts: list[str] = []
        self.reports_usage = True
        self.refusal: tuple[int, str] | None = None
        """Status and reason of the answer to every prompt."""
        self.finish_reason = "stop"
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply({"object": "list", "data": [{"id": "parrot", "object": "model"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not self.path.endswith("/chat/completions"):
                    self.send_error(404)
                    return
                chat.keys.append(self.headers.get("Authorization"))
                prompt = body["messages"][-1]["content"]
                said: str | None = "Hello"
                if prompt != "Hi":  # which only asks whether there is a chat
                    if chat.hangs.is_set():
                        chat.released.wait(30)
                    chat.prompts.append(prompt)
                    if chat.refusal is not None:
                        status, reason = chat.refusal
                        self.reply({"error": {"message": reason}}, status)
                        return
                    said = chat.say(prompt, len(chat.prompts))
                if said is None:
                    self.send_error(401)
                    return
                message = {"role": "assistant", "content": said}
                choice = {"index": 0, "message": message, "finish_reason": chat.finish_reason}
                usage = {"usage": {"prompt_tokens": 9, "completion_tokens": 3}} if chat.reports_usage else {}
                self.reply({"id": "x", "choices": [choice], **usage})

            def reply(self, body: dict[str, Any], status: int = 200) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except OSError:  # the asker is gone
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port: int = self.server.server_address[1]
        self.reader = f"openai:parrot@http://127.0.0.1:{self.port}/v1"

    def die(self) -> None:
        """From now on connections are refused."""
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def chatting(say: Say = what_is_due) -> Iterator[Chat]:
    chat = Chat(say)
    threading.Thread(target=chat.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield chat
    finally:
        chat.die()
