"""Passages within an embedder's token limit: what is too long for it becomes several passages, and nothing is lost.

An embedder that is handed more than its limit reads the beginning and says nothing about the rest. Here a passage is
counted with the embedder's own tokenizer, as it will be embedded (title, prompt and special tokens included), and cut
at the ends of sentences; a sentence that is over the limit by itself is cut between words, a word between characters.
Counts of parts do not add up to the count of the whole, so every part is counted again before it counts as fitting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from reread.corpus.chunk import word_spans
from reread.corpus.sentences import sentence_spans
from reread.errors import UsageError
from reread.types import Passage

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""The tokens that an embedder would make of each text, prompt and special tokens included; one call, many texts."""

IndexedText = Callable[[Passage], str]
"""A passage as it is indexed: title and text."""


def fit_passages(
    passages: Sequence[Passage], count_tokens: CountTokens, max_tokens: int, indexed_text: IndexedText
) -> list[Passage]:
    """The same passages in order, those whose indexed text is over the limit as several that are not.

    Parts are exact slices with ids "DOC_ID:START", like the passages themselves, and hold all of the text but white
    space between them. Where a passage's title takes more than half of the limit, its parts are made to fit without
    the title, which is then left out of what is embedded (see `embedded_texts`). A part that a neighbour, overlapping,
    repeats from the same place on is kept once, in its longer form, so that ids stay unique: hand over a document's
    passages together. Tokens are counted in few calls: one for all passages; for those over the limit, one for the
    titles, one for their sentences, one for the parts, and one more a round while parts are still over.
    Raises UsageError where not even one character fits.
    """
    if not passages:
        return []
    counts = count_tokens([indexed_text(passage) for passage in passages])
    over = [number for number, count in enumerate(counts) if count > max_tokens]
    if not over:
        return list(passages)
    titled = _with_titles([passages[number] for number in over], count_tokens, max_tokens, indexed_text)
    parts = dict(zip(over, _cut(titled, count_tokens, max_tokens), strict=True))
    fitted: list[Passage] = []
    for number, passage in enumerate(passages):
        fitted.extend(parts.get(number, [passage]))
    return _without_repeats(fitted)


def split_to_fit(
    passage: Passage, count_tokens: CountTokens, max_tokens: int, indexed_text: IndexedText
) -> list[Passage]:
    """One passage as several within the limit, or as it is where it fits; see `fit_passages`."""
    return fit_passages([passage], count_tokens, max_tokens, indexed_text)


def embedded_texts(
    passages: Sequence[Passage], count_tokens: CountTokens, max_tokens: int | None, indexed_text: IndexedText
) -> list[str]:
    """What to embed of each passage: its indexed text, or its text alone where the title would push it over the limit.

    The titles left out are those of passages that `fit_passages` made to fit without one. Needs no record of that:
    the rule gives the same text in every run. max_tokens None: no limit is known.
    """
    texts = [indexed_text(passage) for passage in passages]
    if max_tokens is None or not texts:
        return texts
    counts = count_tokens(texts)
    return [
        text if count <= max_tokens else passage.text
        for text, count, passage in zip(texts, counts, passages, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Titled:
    """A passage over the limit and how a part of it is embedded."""

    passage: Passage
    indexed_text: IndexedText | None
    """None: without the title."""
    fixed: int
    """Tokens of every text: prompt and special tokens."""
    room: int
    """Tokens that the limit leaves for the text, by the title's own count: an estimate, at least 1."""

    def part(self, start: int, end: int) -> Passage:
        """The slice of the passage's text as a passage of its own; offsets are within the passage's text."""
        passage = self.passage
        place = passage.start + start
        return replace(passage, id=f"{passage.doc_id}:{place}", start=place, text=passage.text[start:end])

    def embedded(self, start: int, end: int) -> str:
        part = self.part(start, end)
        return part.text if self.indexed_text is None else self.indexed_text(part)


def _with_titles(
    passages: Sequence[Passage], count_tokens: CountTokens, max_tokens: int, indexed_text: IndexedText
) -> list[_Titled]:
    titles = sorted({"", *(passage.title for passage in passages)})
    tokens = dict(zip(titles, count_tokens(titles), strict=True))
    # The prompt and the special tokens come with every text.
    fixed = tokens[""]
    titled = []
    for passage in passages:
        alone = tokens[passage.title] - fixed
        has_room = 2 * alone <= max_tokens
        room = max_tokens - fixed - (alone if has_room else 0)
        titled.append(_Titled(passage, indexed_text if has_room else None, fixed, max(1, room)))
    return titled


Span = tuple[int, int]
Part = list[Span]
"""A part of a passage: the neighbouring sentences, words or characters (offsets in its text) that it is made of."""


def _cut(passages: Sequence[_Titled], count_tokens: CountTokens, max_tokens: int) -> list[list[Passage]]:
    """The parts of each passage, those of all passages counted together."""
    sentences = [list(sentence_spans(titled.passage.text)) for titled in passages]
    texts = [t.passage.text[start:end] for t, spans in zip(passages, sentences, strict=True) for start, end in spans]
    counts = iter(count_tokens(texts))
    waiting = [
        (number, part)
        for number, (titled, spans) in enumerate(zip(passages, sentences, strict=True))
        for part in _pack(spans, [next(counts) - titled.fixed for _ in spans], titled.room)
    ]
    fitting: list[list[Span]] = [[] for _ in passages]
    while waiting:
        found = count_tokens([passages[number].embedded(part[0][0], part[-1][1]) for number, part in waiting])
        smaller = []
        for (number, part), count in zip(waiting, found, strict=True):
            if count <= max_tokens:
                fitting[number].append((part[0][0], part[-1][1]))
            else:
                smaller += [(number, piece) for piece in _smaller(passages[number], part, count)]
        waiting = smaller
    return [
        [titled.part(*span) for span in sorted(spans)] or [titled.passage]
        for titled, spans in zip(passages, fitting, strict=True)
    ]


def _pack(spans: Sequence[Span], tokens: Sequence[int], room: int) -> Iterator[Part]:
    """Neighbouring sentences together as far as their own tokens say that they fit."""
    part: Part = []
    used = 0
    for span, n in zip(spans, tokens, strict=True):
        if part and used + n > room:
            yield part
            part, used = [], 0
        part.append(span)
        used += n
    if part:
        yield part


def _smaller(titled: _Titled, part: Part, count: int) -> Iterator[Part]:
    """The part in several: between its sentences, or its words, or its characters, whichever it still has."""
    text = titled.passage.text
    start, end = part[0][0], part[-1][1]
    if len(part) == 1:
        part = list(word_spans(text, start, end))
    if len(part) == 1:
        part = [(place, place + 1) for place in range(start, end)]
    if len(part) == 1:
        raise UsageError(
            f"the embedder's token limit leaves no room for text: one character of {titled.passage.doc_id} makes "
            f"{count} tokens with its prompt and special tokens; use an embedder with a longer input"
        )
    n_pieces = min(len(part), max(2, -(-(count - titled.fixed) // titled.room)))
    for piece in range(n_pieces):
        yield part[piece * len(part) // n_pieces : (piece + 1) * len(part) // n_pieces]


def _without_repeats(passages: Sequence[Passage]) -> list[Passage]:
    kept: dict[tuple[str, int], Passage] = {}
    for passage in passages:
        key = (passage.doc_id, passage.start)
        if key not in kept or len(passage.text) > len(kept[key].text):
            kept[key] = passage
    return list(kept.values())
