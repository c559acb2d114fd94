"""Readers: what turns a prompt into an answer, and the one place where passages are put into prompts."""

from reread.reading.make import make_reader
from reread.reading.prompts import Layout, Prompt, build_prompt, option_scores, published_letter

__all__ = ["Layout", "Prompt", "build_prompt", "make_reader", "option_scores", "published_letter"]
