"""Every record that was not read, with its reason: one JSON line each, counted by reason."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

MAX_REASONS = 1000
MAX_REASON_CHARS = 120
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a reader yields in a record's place, with the reason code."""

    reason: str


class Rejects:
    """Collects rejected records. With a path they are appended to that file as {"source", "record", "reason"}.

    Only the counts are held in memory, so a corpus of any size may be rejected.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Rejects:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, source: str, record: str | int, reason: str) -> None:
        """Count one record that was not read; `record` is its id or its number in the file, from 1.

        A reason may name what the record held (a type, a status): it is kept short and free of control characters,
        and beyond MAX_REASONS different ones it is counted, though not written, as "other".
        """
        reason = reason[:MAX_REASON_CHARS] if reason.isprintable() else _printable(reason)
        self.counts[reason if reason in self.counts or len(self.counts) < MAX_REASONS else OTHER] += 1
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        # ASCII escapes keep even file names that are not UTF-8 writable.
        line = json.dumps({"source": source, "record": record, "reason": reason})
        self._file.write(line.encode() + b"\n")

    def flush(self) -> int:
        """Hand what was added to the operating system; returns the file's size in bytes (0 without a file)."""
        if self._file is not None:
            self._file.flush()
        if self.path is None or not self.path.exists():
            return 0
        return self.path.stat().st_size

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:MAX_REASON_CHARS])
