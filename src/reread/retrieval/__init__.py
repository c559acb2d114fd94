"""From a question to the passages put before the reader: queries, search, fusion, reranking, diversity."""

from reread.datastore import fuse
from reread.retrieval.mmr import mmr, passage_similarity
from reread.retrieval.queries import QueryMaking, queries_for, read_queries
from reread.retrieval.rerank import RememberingReranker, make_reranker, rerank
from reread.retrieval.retriever import SEARCH_KINDS, Retrieval, Retriever

__all__ = [
    "SEARCH_KINDS",
    "QueryMaking",
    "RememberingReranker",
    "Retrieval",
    "Retriever",
    "fuse",
    "make_reranker",
    "mmr",
    "passage_similarity",
    "queries_for",
    "read_queries",
    "rerank",
]
