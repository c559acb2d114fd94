"""Exact and near-duplicate documents: found by content key and MinHash, dropped but for the first of each."""

from reread.corpus.dedup.files import dedup_corpus
from reread.corpus.dedup.sketch import SketchSettings

__all__ = ["SketchSettings", "dedup_corpus"]
