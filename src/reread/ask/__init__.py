"""A folder, a question, and what the folder says to it: the first day."""

from reread.ask.at_hand import cache_folder, find_reader, open_or_build
from reread.ask.session import KINDS, Asked, Session

__all__ = ["KINDS", "Asked", "Session", "cache_folder", "find_reader", "open_or_build"]
