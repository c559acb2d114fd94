"""Errors that a person can act on: each message says what was wrong, the value, and what to do.

The command line prints the message alone and exits with `exit_code`: 2 when the call or its input is at fault,
1 when something failed on the way (what was finished stays on disk).
"""

from __future__ import annotations

from collections.abc import Sequence


class RereadError(Exception):
    """Anything reread refuses or could not finish."""

    exit_code = 1


class UsageError(RereadError):
    """The call cannot be carried out as written."""

    exit_code = 2


class MissingExtra(UsageError):
    """An optional package is needed and is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}: pip install 'reread[{extra}]'")


class RecipeError(UsageError):
    """A recipe that cannot be read, or says something that no part understands."""


class CorpusError(UsageError):
    """A corpus that is missing, empty or unreadable."""


class BenchmarkError(UsageError):
    """A benchmark file with a wrong, missing or repeated field."""


class DatastoreError(UsageError):
    """A datastore that is not one, is unfinished, or was built in another way than it is opened."""


class RunFolderError(UsageError):
    """A run folder that belongs to another recipe."""


class ReaderError(RereadError):
    """A reader, embedder or reranker that did not answer as its protocol says."""


class BadVectors(ReaderError):
    """An embedder gave NaN, infinity or nothing but zeros for some of its texts, by their place in the call."""

    def __init__(self, message: str, indices: Sequence[int]) -> None:
        super().__init__(message)
        self.indices = tuple(indices)

    def __reduce__(self) -> tuple[type, tuple[str, tuple[int, ...]]]:
        # From a build's worker to the build itself.
        return type(self), (str(self), self.indices)


class FitError(RereadError):
    """Points on which no curve can be fitted."""
