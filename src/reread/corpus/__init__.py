"""From files to documents, and from documents to passages."""

from reread.corpus.chunk import DEFAULT_CHUNK_WORDS, check_chunking, chunk
from reread.corpus.documents import Position, no_documents, read_documents, read_from
from reread.corpus.find import CorpusFile, find_files
from reread.corpus.rejects import Rejects

__all__ = [
    "DEFAULT_CHUNK_WORDS",
    "CorpusFile",
    "Position",
    "Rejects",
    "check_chunking",
    "chunk",
    "find_files",
    "no_documents",
    "read_documents",
    "read_from",
]
