"""Bytes that are no local file but read like one: an object on a store, a member of an archive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeAlias


@dataclass(frozen=True, slots=True)
class Blob:
    """What a reader needs of a Path: its name and its bytes from the start, as often as they are asked for."""

    name: str
    opener: Callable[[], BinaryIO]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def suffixes(self) -> list[str]:
        return PurePosixPath(self.name).suffixes

    def open(self, mode: str = "rb") -> BinaryIO:
        """The bytes, buffered. Raises OSError where they cannot be had, and ValueError for a mode other than rb."""
        if mode != "rb":
            raise ValueError(f"a blob is only read (mode rb), not opened as {mode}")
        return self.opener()


Openable: TypeAlias = Path | Blob
