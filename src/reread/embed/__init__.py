"""Text into unit vectors: sentence-transformers models and OpenAI-compatible endpoints."""

from reread.embed.make import make_embedder

__all__ = ["make_embedder"]
