"""reread: let a language model re-read its pre-training data at test time, and measure what that is worth."""

__version__ = "0.1.0"
