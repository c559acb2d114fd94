"""Tokenizers of our own: byte-level BPE for any corpus, whole words for the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reread.errors import CorpusError, MissingExtra, UsageError
from reread.ladder.data import document_text
from reread.types import Document

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = "<|end|>"
UNKNOWN = "<|unknown|>"
WORD_PATTERN = r"\n|\w+|[^\w\s]"
"""A line break, a word or a punctuation mark is a token; other white space only separates."""
SAMPLE_DOCUMENTS = 200_000
"""Documents a tokenizer is trained on at most: enough for any vocabulary here, and bounded work on any
corpus."""


def train_bpe(texts: Iterable[str], vocabulary: int = 8192) -> Tokenizer:
    """Byte-level BPE (no unknown tokens), trained on the first SAMPLE_DOCUMENTS texts."""
    tokenizers = _tokenizers()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(texts), trainer)
    return tokenizer


def train_words(texts: Iterable[str], vocabulary: int = 4096) -> Tokenizer:
    """A word-level tokenizer with the most frequent words; every other word is one unknown token."""
    tokenizers = _tokenizers()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token=UNKNOWN))
    pattern = tokenizers.Regex(WORD_PATTERN)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(pattern, behavior="removed", invert=True)
    trainer = tokenizers.trainers.WordLevelTrainer(
        vocab_size=vocabulary, special_tokens=[END, UNKNOWN], show_progress=False
    )
    tokenizer.train_from_iterator(_sample(texts), trainer)
    return tokenizer


def make_tokenizer(documents: Callable[[], Iterable[Document]], kind: str, vocabulary: int) -> Tokenizer:
    """Train a tokenizer of a kind ("bpe" or "words") on a corpus."""
    train = {"bpe": train_bpe, "words": train_words}.get(kind)
    if train is None:
        raise UsageError(f"there is no tokenizer kind {kind!r}; take bpe or words")
    return train((document_text(document) for document in documents()), vocabulary)


def load_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer from the file that its `save` wrote."""
    loaded: Tokenizer = _tokenizers().Tokenizer.from_file(str(path))
    return loaded


def save_tokenizer(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """Save as a transformers fast tokenizer, which AutoTokenizer loads.

    Encoding puts the end token in front, as every document has it in training.
    """
    from transformers import PreTrainedTokenizerFast

    end = tokenizer.token_to_id(END)
    tokenizer.post_processor = _tokenizers().processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A $B", special_tokens=[(END, end)]
    )
    unknown = UNKNOWN if tokenizer.token_to_id(UNKNOWN) is not None else None
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        unk_token=unknown,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(str(folder))


def _sample(texts: Iterable[str]) -> Iterator[str]:
    number = -1
    for number, text in enumerate(texts):
        if number >= SAMPLE_DOCUMENTS:
            return
        yield text
    if number < 0:
        raise CorpusError("the corpus holds no documents, so there is nothing to train a tokenizer on")


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.processors
        import tokenizers.trainers
    except ImportError as error:
        raise MissingExtra("tokenizers", "models", "training a tokenizer") from error
    return tokenizers
