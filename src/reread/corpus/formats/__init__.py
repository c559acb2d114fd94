"""One reader a format, told by content first and by name where that does not say."""

from reread.corpus.formats.readers import READERS, detect_format

__all__ = ["READERS", "detect_format"]
