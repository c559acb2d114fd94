"""From files to documents, and from documents to passages."""

from reread.corpus.chunk import DEFAULT_CHUNK_WORDS, ChunkUnit, check_chunking, chunk
from reread.corpus.documents import Position, no_documents, read_documents, read_from
from reread.corpus.find import CorpusFile, find_files
from reread.corpus.fit import embedded_texts, fit_passages, split_to_fit
from reread.corpus.rejects import Rejects

__all__ = [
    "DEFAULT_CHUNK_WORDS",
    "ChunkUnit",
    "CorpusFile",
    "Position",
    "Rejects",
    "check_chunking",
    "chunk",
    "embedded_texts",
    "find_files",
    "fit_passages",
    "no_documents",
    "read_documents",
    "read_from",
    "split_to_fit",
]
