"""JSON over HTTP with servers that may be slow, busy or broken: bounded retries, bounded size, plain errors."""

from __future__ import annotations

import datetime
import email.utils
import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reread.errors import MissingExtra, ReaderError, UsageError
from reread.runs import content_hash, write_text_atomically

logger = logging.getLogger(__name__)

RETRIED_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 60.0
"""No wait is longer, whatever the server's Retry-After says."""
CONTENT_FIELDS = ("choices", "data", "results")
"""Where completions, embeddings and rerank scores stand in a reply."""
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
API_KEY_VARIABLE = "OPENAI_API_KEY"


class Refused(ReaderError):
    """The server answered with an error status that trying again does not mend."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


def split_endpoint(spec: str) -> tuple[str, str]:
    """(model, URL without a final slash) of openai:MODEL@URL. Raises UsageError where one of them is missing."""
    model, _, url = spec.removeprefix("openai:").rpartition("@")
    if not model or not url.startswith(("http://", "https://")):
        raise UsageError(f"{spec} lacks a model or an address; write openai:MODEL@http://HOST:PORT/v1")
    return model, url.rstrip("/")


class JsonClient:
    """Posts JSON to one server. Thread-safe. The API key comes from the environment and is never logged.

    cache: a folder where replies are kept by the content of their request, so that a rerun costs nothing. use_key:
    False sends no key, as to a server that was found on a port and that nobody named.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 120.0,
        attempts: int = 5,
        cache: str | Path | None = None,
        use_key: bool = True,
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtra("httpx", "endpoint", f"the endpoint {url}") from error
        self.url = url.rstrip("/")
        self.timeout_s = timeout_s
        self.attempts = max(1, attempts)
        self.cache = Path(cache).expanduser() if cache is not None else None
        self._key = os.environ.get(API_KEY_VARIABLE, "") if use_key else ""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(timeout=timeout_s, headers=headers, follow_redirects=False)

    def post(self, path: str, body: Mapping[str, Any], *, attempts: int | None = None) -> dict[str, Any]:
        """The server's reply as an object. Raises Refused or ReaderError in one sentence."""
        file = self._cache_file(path, body)
        if file is not None and file.is_file():
            try:
                kept = json.loads(file.read_text(encoding="utf-8"))
                if isinstance(kept, dict):
                    return kept
            except ValueError:
                logger.warning("%s is damaged; asking the server again", file)
        reply = self._post(path, body, attempts or self.attempts)
        if file is not None:
            write_text_atomically(file, json.dumps(reply, ensure_ascii=False))
        return reply

    def look(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the server says at a path of its own beside /v1 (GET, or POST where there is a body), in one try.

        The JSON value, or None where the server has no such path or does not answer: what an OpenAI-compatible
        server need not offer.
        """
        import httpx

        try:
            status, _, data = self._once(self.url.removesuffix("/v1") + path, body)
            return json.loads(data) if status < 300 else None
        except (httpx.HTTPError, httpx.InvalidURL, ReaderError, ValueError, RecursionError):
            return None

    def _cache_file(self, path: str, body: Mapping[str, Any]) -> Path | None:
        if self.cache is None:
            return None
        name = content_hash({"url": self.url, "path": path, "body": body})
        return self.cache / name[:2] / f"{name}.json"

    def _post(self, path: str, body: Mapping[str, Any], attempts: int) -> dict[str, Any]:
        import httpx

        problem, status = "", 0
        for attempt in range(attempts):
            wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2**attempt)
            try:
                status, headers, data = self._once(self.url + path, body)
            except httpx.TimeoutException:
                problem, status = f"did not answer within {self.timeout_s:g} s", 0
            except httpx.TransportError as error:
                problem, status = f"broke the connection ({self._clean(str(error)) or type(error).__name__})", 0
            except httpx.InvalidURL as error:
                raise ReaderError(f"{self.url} is no address: {error}") from error
            else:
                if status < 300:
                    return self._parsed(path, headers, data)
                problem = f"answered {status}: {self._reason(data)}"
                if status not in RETRIED_STATUSES:
                    raise Refused(f"{self.url}{path} {problem}", status, self._reason(data))
                wait_s = _retry_after(headers, wait_s)
            if attempt + 1 < attempts:
                logger.info("%s%s %s; trying again in %.1f s", self.url, path, problem, wait_s)
                time.sleep(wait_s)
        tries = "once" if attempts == 1 else f"{attempts} times"
        message = f"{self.url}{path} {problem} (tried {tries}); is the server up, and the address right?"
        raise Refused(message, status, problem) if status else ReaderError(message)

    def _once(self, url: str, body: Mapping[str, Any] | None) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of one exchange, within the time limit as a whole (a slow drip is a hang)."""
        import httpx

        ends_at = time.monotonic() + self.timeout_s
        method, content = ("GET", None) if body is None else ("POST", dict(body))
        with self._client.stream(method, url, json=content) as response:
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_RESPONSE_BYTES:
                    limit = MAX_RESPONSE_BYTES // 1024**2
                    raise ReaderError(f"{url} answered more than {limit} MiB to one request; ask for less at once")
                if time.monotonic() > ends_at:
                    raise httpx.ReadTimeout("the reply as a whole took too long")
            return response.status_code, response.headers, bytes(data)

    def _parsed(self, path: str, headers: Mapping[str, str], data: bytes) -> dict[str, Any]:
        try:
            reply = json.loads(data)
        except (ValueError, RecursionError) as error:
            kind = headers.get("content-type", "").split(";")[0] or "no type"
            start = self._clean(data[:60].decode("utf-8", "replace"))
            raise ReaderError(
                f"{self.url}{path} answered {kind}, not JSON ({start!r}); the address should end in /v1"
            ) from error
        if not isinstance(reply, dict):
            raise ReaderError(f"{self.url}{path} answered JSON that is no object; is it an OpenAI-compatible server?")
        if reply.get("error") and not any(reply.get(field) for field in CONTENT_FIELDS):
            raise Refused(f"{self.url}{path} answered: {self._reason(data)}", 200, self._reason(data))
        return reply

    def _reason(self, data: bytes) -> str:
        """The server's own words in one short line, the key blotted out."""
        text = data[:4000].decode("utf-8", "replace")
        try:
            found: Any = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            found = found.get("error", found.get("detail", found.get("message", text)))
            found = found.get("message", found) if isinstance(found, dict) else found
            text = str(found)
        return self._clean(text)

    def _clean(self, text: str) -> str:
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join(text.split())
        return text if len(text) <= 200 else text[:197] + "..."


def _retry_after(headers: Mapping[str, str], default_s: float) -> float:
    """Seconds that the server asks to wait, as a number or until a date, capped; the default where it gives none."""
    asked = retry_after_s(headers.get("retry-after", ""))
    return default_s if asked is None else min(MAX_WAIT_S, asked)


def retry_after_s(value: str) -> float | None:
    """Seconds that a Retry-After header asks to wait, as a number or until a date; None where it says neither."""
    try:
        asked = float(value)
    except ValueError:
        try:
            until = email.utils.parsedate_to_datetime(value)
            # "-0000": a date that names no zone is in UTC.
            asked = (until if until.tzinfo else until.replace(tzinfo=datetime.UTC)).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(asked) else max(0.0, asked)
