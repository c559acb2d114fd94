"""Shards of passages with their indexes: build, open, search, verify."""

from reread.datastore.build import DEFAULT_SHARD_PASSAGES, build
from reread.datastore.entries import BuildReport
from reread.datastore.layout import indexed_text
from reread.datastore.merge import merge
from reread.datastore.search import Found, Searcher, SearchKind, fuse
from reread.datastore.store import Datastore
from reread.datastore.subset import subset
from reread.datastore.verify import verify

__all__ = [
    "DEFAULT_SHARD_PASSAGES",
    "BuildReport",
    "Datastore",
    "Found",
    "SearchKind",
    "Searcher",
    "build",
    "fuse",
    "indexed_text",
    "merge",
    "subset",
    "verify",
]
