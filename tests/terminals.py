"""A real terminal for tests: a command on the far end of a pty."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

_SEQUENCES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>()][0-9A-B]?)")


class Terminal:
    """`reread …` at a terminal of so many columns."""

    def __init__(self, arguments: Sequence[str], columns: int, environment: Mapping[str, str], first: str) -> None:
        self._near, far = os.openpty()
        self.resize(columns)
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{first}\nimport sys, reread.cli as c; sys.exit(c.run(sys.argv[1:]))", *arguments],
            stdin=far,
            stdout=far,
            stderr=far,
            env={**os.environ, "TERM": "xterm-256color", **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C reaches it as a signal
        )
        os.close(far)
        self.seen = ""
        """All that was printed, escape sequences among it."""
        self._read = 0

    def resize(self, columns: int, rows: int = 24) -> None:
        fcntl.ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._near, text.encode())

    def interrupt(self) -> None:
        self.type("\x03")

    def until(self, pattern: str, timeout_s: float = 30.0) -> str:
        """What was printed (without escape sequences) since the last call, up to the pattern's end."""
        ends_at = time.monotonic() + timeout_s
        while True:
            shown = _SEQUENCES.sub("", self.seen[self._read :]).replace("\r", "")
            if found := re.search(pattern, shown):
                self._read = len(self.seen)
                return shown[: found.end()]
            left = ends_at - time.monotonic()
            if left <= 0 or not self._take(left):
                raise AssertionError(f"{pattern!r} did not come; there is:\n{shown[-2000:]}")

    def screen(self) -> list[str]:
        """The lines as they stand after all that was printed, those scrolled away among them."""
        lines, row = [""], 0
        for part in re.split(r"(\x1b\[\d*[AK]|\r|\n)", self.seen):
            if part == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif part.endswith("A") and part.startswith("\x1b["):
                row -= int(part[2:-1] or 1)
            elif part.startswith("\x1b[") and part.endswith("K"):
                lines[row] = ""
            elif part != "\r":
                lines[row] += _SEQUENCES.sub("", part)
        return lines

    def end(self, timeout_s: float = 20.0) -> int:
        """The exit code, once the command has ended by itself."""
        ends_at = time.monotonic() + timeout_s
        while self._take(ends_at - time.monotonic()):
            pass
        return self.process.wait(max(0.1, ends_at - time.monotonic()))

    def _take(self, timeout_s: float) -> bool:
        """Read more; False at the end, or where nothing came."""
        if not select.select([self._near], [], [], max(0.0, timeout_s))[0]:
            return False
        try:
            more = os.read(self._near, 65536)
        except OSError:  # Linux: the far end is closed
            return False
        self.seen += more.decode("utf-8", "replace")
        return bool(more)


@contextmanager
def terminal(
    arguments: Sequence[str], columns: int = 80, environment: Mapping[str, str] | None = None, first: str = ""
) -> Iterator[Terminal]:
    """The command is killed at the end, should it still run. first: Python that its process runs before."""
    opened = Terminal(arguments, columns, environment or {}, first)
    try:
        yield opened
    finally:
        if opened.process.poll() is None:
            os.killpg(opened.process.pid, signal.SIGKILL)
            opened.process.wait()
        os.close(opened._near)
