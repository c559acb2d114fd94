"""Corpora on object stores, through fsspec: listed, and streamed without a copy of the whole object."""

from __future__ import annotations

import errno
import importlib.util
import io
import re
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar, cast

from reread.corpus.blob import Blob
from reread.errors import CorpusError, MissingExtra

URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*(::|://)")
PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
    "memory": "fsspec",
}  # fmt: skip
"""Object stores, and the package that reads each; memory:// is fsspec's own, for tests."""
RETRY_WAITS_S = (0.5, 2.0, 8.0)
"""Before each new try of a read that failed; the packages try again on their own before that."""
READ_BYTES = 8 << 20
"""Fetched at once."""
GLOB_SIGNS = "*?["
NOT_WORTH_A_RETRY = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError)
Result = TypeVar("Result")


class StoreError(OSError):
    """What a store's package raised: its kind as `strerror`, the whole sentence as `sentence`."""

    def __init__(self, url: str, cause: Exception) -> None:
        super().__init__(errno.EIO, type(cause).__name__)
        self.sentence = f"{public_url(url)} cannot be read ({_reason(cause)})"


def public_url(url: str) -> str:
    """The URL without user, password, query and fragment: what may be shown and stored."""
    scheme, mark, rest = url.partition("://")
    rest = re.sub(r"^[^/]*@", "", rest)
    # A ? may be a glob's; with a = behind it, it begins a query.
    return scheme + mark + re.sub(r"[?#][^/]*=.*$", "", rest)


def list_objects(url: str) -> list[tuple[str, str]]:
    """(name, URL) of the object, or of all below the prefix or matching the glob, sorted.

    Names are relative to the prefix, and base names for an object or a glob. Raises CorpusError for a URL that holds
    credentials, an unknown scheme and what cannot be listed, MissingExtra where the scheme's package is missing.
    """
    if public_url(url) != url:
        raise CorpusError(
            f"the URL of {public_url(url)} holds a user, password or query, which would end up in files; "
            "give credentials through the environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, …)"
        )
    scheme = url.partition("://")[0].lower()
    root = url.partition("://")[2].strip("/")
    if any(sign in root for sign in GLOB_SIGNS):
        paths = _try(url, lambda: [path for path, facts in _files(_filesystem(url).glob(root, detail=True))])
        return [(path.rpartition("/")[2], f"{scheme}://{path.lstrip('/')}") for path in sorted(paths)]
    paths = _try(url, lambda: [path for path, _ in _files(_filesystem(url).find(root, detail=True))])
    listed = []
    for path in sorted(path.lstrip("/") for path in paths):
        is_itself = path == root
        if is_itself or path.startswith(f"{root}/"):
            listed.append((path.rpartition("/")[2] if is_itself else path[len(root) + 1 :], f"{scheme}://{path}"))
    return listed


def _files(found: Any) -> list[tuple[str, Any]]:
    # Some stores mark folders by empty objects with a slash at the end.
    return [
        (path, facts) for path, facts in found.items() if facts.get("type") != "directory" and not path.endswith("/")
    ]


def object_facts(url: str) -> dict[str, Any]:
    """ "bytes" and "etag" (else "changed", the time of the last change) as the store states them, or "unreadable"."""
    try:
        facts = _facts(url)
    except OSError as error:
        return {"unreadable": error.strerror}
    described: dict[str, Any] = {"bytes": facts.get("size")}
    for key in ("ETag", "etag", "md5Hash", "generation"):
        if facts.get(key):
            return {**described, "etag": str(facts[key]).strip('"')}
    for key in ("LastModified", "last_modified", "updated", "mtime", "created"):
        if facts.get(key):
            return {**described, "changed": str(facts[key])}
    return described


def open_object(url: str) -> Blob:
    """The object's bytes; nothing is asked of the store before they are opened."""
    return Blob(url.rpartition("/")[2], lambda: cast(BinaryIO, io.BufferedReader(_RemoteObject(url), 1 << 20)))


class _RemoteObject(io.RawIOBase):
    """An object read in ranges. A read that fails is tried again; an object that ends early is a failed read."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._size = int(_facts(url)["size"] or 0)
        self._at = 0
        self._file: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        n = min(len(buffer), self._size - self._at)
        if n <= 0:
            return 0
        data = _retried(self._url, lambda: self._read(n))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, n: int) -> bytes:
        try:
            if self._file is None:
                fs = _filesystem(self._url)
                self._file = fs.open(self._url.partition("://")[2], "rb", block_size=READ_BYTES, cache_type="readahead")
            if self._file.tell() != self._at:
                self._file.seek(self._at)
            data = bytes(self._file.read(n))
        except BaseException:
            self._file = None
            raise
        if not data:
            self._file = None
            raise EOFError(f"the object ends at byte {self._at} of {self._size}")
        return data

    def close(self) -> None:
        self._file = None
        super().close()


def _facts(url: str) -> dict[str, Any]:
    return _retried(url, lambda: cast(dict[str, Any], _filesystem(url).info(url.partition("://")[2])))


def _retried(url: str, read: Callable[[], Result]) -> Result:
    """What `read` returns, tried anew where it fails. Raises OSError, whatever the store's package raises."""
    for wait_s in (*RETRY_WAITS_S, None):
        try:
            return read()
        except (CorpusError, MissingExtra):
            raise
        except Exception as error:  # every store's package has its own kinds of errors
            if wait_s is None or isinstance(error, NOT_WORTH_A_RETRY):
                raise StoreError(url, error) from error
            time.sleep(wait_s)
    raise AssertionError("the last try returns or raises")


def _try(url: str, ask: Callable[[], Result]) -> Result:
    try:
        return _retried(url, ask)
    except StoreError as error:
        raise CorpusError(
            f"{error.sentence}; check the URL, the network and the credentials in the environment"
        ) from error


def _reason(error: BaseException) -> str:
    """The error in one line, without what a URL in it may hold."""
    text = " ".join(str(error).split())[:200]
    text = re.sub(r"://[^/\s]*@", "://", text)
    text = re.sub(r"\?\S*=\S*", "", text)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _filesystem(url: str) -> Any:
    scheme = url.partition("://")[0].lower()
    if scheme in ("http", "https", "ftp"):
        raise CorpusError(f"{public_url(url)} is a web address; fetch pages with `reread extract --urls`")
    if scheme not in PACKAGES:
        known = ", ".join(f"{name}://" for name in PACKAGES if name != "memory")
        raise CorpusError(f"{public_url(url)} has a scheme that is not read; object stores are {known}")
    for package in ("fsspec", PACKAGES[scheme]):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "cloud", f"the corpus {public_url(url)}")
    import fsspec

    return fsspec.filesystem(scheme)
