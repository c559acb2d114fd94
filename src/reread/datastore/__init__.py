"""Shards of passages with their indexes: build, open, search, verify."""

from reread.datastore.build import DEFAULT_SHARD_PASSAGES, BuildReport, build
from reread.datastore.layout import indexed_text
from reread.datastore.merge import merge
from reread.datastore.store import Datastore, Found, SearchKind, fuse
from reread.datastore.subset import subset
from reread.datastore.verify import verify

__all__ = [
    "DEFAULT_SHARD_PASSAGES",
    "BuildReport",
    "Datastore",
    "Found",
    "SearchKind",
    "build",
    "fuse",
    "indexed_text",
    "merge",
    "subset",
    "verify",
]
