"""A stream of plain bytes seen through a window: peek, take, put back, find the next mark."""

from __future__ import annotations

import re

from reread.corpus.streams import BLOCK_BYTES, DamagedStream, Stream, resync, stream_errors

READ_BYTES = 64 << 10
"""Asked for at once: a frame holds one record, mostly of some kilobytes, and a larger buffer is made for each."""


class Window:
    """The bytes of a web archive from the front. Where the stream is damaged it seems to end: see `damage`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._held = b""
        self._at = 0
        self._is_over = False
        self.damage: Exception | None = None
        """Why the bytes end here; None where the file does."""
        self.n_put_back = 0
        """Bytes that were taken and given back, all together."""

    @property
    def is_doubtful(self) -> bool:
        """Whether the last bytes before the damage may be wrong."""
        return isinstance(self.damage, DamagedStream) and self.damage.is_doubtful

    def peek(self, n: int) -> bytes:
        """Up to n next bytes, fewer at the end alone."""
        while len(self._held) - self._at < n and not self._is_over:
            try:
                block = self._stream.read1(READ_BYTES)
            except stream_errors() as error:
                self.damage, block = error, b""
            if block:
                self._held, self._at = self._held[self._at :] + block, 0
            else:
                self._is_over = True
        return self._held[self._at : self._at + n]

    def take(self, n: int) -> bytes:
        """Up to n next bytes, which are then behind."""
        data = self.peek(min(n, BLOCK_BYTES))
        if len(data) == min(n, BLOCK_BYTES):
            self._at += len(data)
            parts, n_left = [data], n - len(data)
            while n_left > 0 and (part := self.peek(min(n_left, BLOCK_BYTES))):
                self._at += len(part)
                parts.append(part)
                n_left -= len(part)
            return data if len(parts) == 1 else b"".join(parts)
        self._at += len(data)
        return data

    def pass_over(self, n: int) -> int:
        """Leave up to n bytes behind unread; returns how many there were."""
        n_left = n
        while n_left > 0 and (part := self.peek(min(n_left, BLOCK_BYTES))):
            self._at += len(part)
            n_left -= len(part)
        return n - n_left

    def put_back(self, data: bytes) -> None:
        self.n_put_back += len(data)
        self._held, self._at = data + self._held[self._at :], 0

    def line(self, max_bytes: int) -> bytes:
        """The next line with its end, or its first max_bytes, or what there is of it at the end."""
        for n in (512, 8192, max_bytes):
            head = self.peek(min(n, max_bytes))
            end = head.find(b"\n") + 1
            if end or len(head) < n:
                break
        self._at += end or len(head)
        return head[: end or len(head)]

    def pass_blank_lines(self) -> bool:
        """Leave line ends behind; whether anything follows."""
        while head := self.peek(64):
            rest = head.lstrip(b"\r\n")
            self._at += len(head) - len(rest)
            if rest:
                return True
        return False

    def take_until(self, mark: re.Pattern[bytes], max_mark_bytes: int, max_bytes: int) -> bytes:
        """The bytes before the next match of `mark`, or before the end; of over-long ones the first max_bytes + 1."""
        parts: list[bytes] = []
        n_bytes = 0
        while head := self.peek(BLOCK_BYTES):
            found = mark.search(head)
            is_last = len(head) < BLOCK_BYTES
            # A mark may begin in one block and end in the next.
            end = found.start() if found else len(head) if is_last else len(head) - max_mark_bytes
            if n_bytes <= max_bytes:
                parts.append(head[:end])
            n_bytes += end
            self._at += end
            if found or is_last:
                break
        return b"".join(parts)[: max_bytes + 1]

    def resync(self, starts: bytes = b"") -> bool:
        """Go on behind the damage, at the next compressed frame that begins with `starts`; False where none is."""
        if self.damage is None or not resync(self._stream, starts):
            return False
        self._held, self._at, self._is_over, self.damage = b"", 0, False, None
        return True
