"""Queries that a reader writes: rewriting, a hypothetical passage, sub-questions. All prompts for them stand here.

- `rewrite`: search queries in place of the question (Ma et al. 2023, arXiv 2305.14283).
- `hyde`: a passage that could answer the question, searched with beside it (Gao et al. 2022, arXiv 2212.10496).
- `decompose`: simpler questions, searched with beside it.

Departures: Gao et al. average the vectors of several sampled passages and of the question; here one passage is
written without sampling, and its ranking is fused with the question's by reciprocal rank, which serves BM25 as well.
Ma et al. also train the rewriter; here it is the reader as it is.

What a reader writes is untrusted: it is cut, stripped of list marks and labels, and where nothing is left the question
itself is searched with, and that is counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from reread.errors import UsageError
from reread.inert import neutralise
from reread.protocols import Reader
from reread.types import Question, Sample

Writing = Literal["rewrite", "hyde", "decompose"]
WRITINGS: tuple[Writing, ...] = get_args(Writing)

MAX_QUERIES = 3
"""Rewritten queries, or sub-questions, of one question; further ones are dropped."""
MAX_QUERY_CHARS = 300
MAX_PASSAGE_CHARS = 1500
MAX_QUESTION_CHARS = 4000
"""Of a question put into these prompts; a longer one loses its end."""
MAX_TOKENS = MappingProxyType({"rewrite": 48, "hyde": 128, "decompose": 80})
CHAT_MAX_TOKENS = 256
"""A chat model may introduce its reply before it says what was asked for; one that thinks longer falls back."""
TEMPLATE_TOKENS = 64
"""Left free for a chat template's own tokens where the room is counted."""
_MAX_OUTPUT_CHARS = 8000


@dataclass(frozen=True, slots=True)
class Written:
    """What a reader wrote for one question, and what it cost."""

    queries: tuple[str, ...]
    """What to search with; the question alone where nothing usable was written."""
    flops: float = 0.0
    fallback: bool = False
    """Nothing usable was written."""


def check_writer(making: str, reader: object) -> None:
    """Raise UsageError where `making` needs a reader that writes and `reader` is none."""
    if making not in WRITINGS:
        return
    if reader is None:
        raise UsageError(f"the query making {making} is written by a language model; give a reader, or leave it out")
    if not isinstance(reader, Reader) or "generate" not in reader.can:
        spec = getattr(reader, "spec", type(reader).__name__)
        raise UsageError(f"the query making {making} needs a reader that can generate, and {spec} cannot; leave it out")


def write_queries(
    questions: Sequence[Question | str], making: Writing, reader: Reader, *, seed: int = 0
) -> list[Written]:
    """For each question (or bare query) what the reader wrote to search with; all asked in one batch, temperature 0.

    `rewrite` gives the written queries alone; `hyde` and `decompose` the question first. Raises UsageError for a
    reader that cannot generate.
    """
    check_writer(making, reader)
    chat = bool(getattr(reader, "chat", False))
    max_tokens = _max_tokens(making, reader, chat)
    prompts = [_prompt(question, making, reader, chat, max_tokens) for question in questions]
    wanted = list(dict.fromkeys(prompt for prompt in prompts if prompt is not None))
    given: dict[str, list[Sample]] = {}
    if wanted:
        samples = reader.generate(
            wanted, n=1, temperature=0.0, max_tokens=max_tokens, seed=seed, stop=() if chat else ("\n",)
        )
        given = dict(zip(wanted, samples, strict=True))
    return [
        _written(question, making, given.get(prompt or "", [])[:1], reader)
        for question, prompt in zip(questions, prompts, strict=True)
    ]


def _written(question: Question | str, making: Writing, samples: Sequence[Sample], reader: Reader) -> Written:
    text = _text(question)
    output = samples[0].text if samples else ""
    queries = parse_passage(output) if making == "hyde" else parse_queries(output)
    own = [query for query in queries if query != " ".join(text.split())]
    fallback = not own and not (making == "rewrite" and queries)
    kept = (text,) if fallback else tuple(queries) if making == "rewrite" else (text, *own)
    return Written(kept, math.fsum(_sample_flops(sample, reader) for sample in samples), fallback)


# Reading what was written ---------------------------------------------------------------------------------------------

_MARK = re.compile(r"^(?:[-*•·]|\(?\d{1,2}[.):])\s*")
_LABEL = re.compile(r"^(?:search |rewritten )?(?:quer(?:y|ies)|sub-?questions?|questions?)\s*\d{0,2}\s*:\s*", re.I)
_PASSAGE_LABEL = re.compile(r"^(?:here is (?:a|the) passage|passage)\s*:\s*", re.I)
_QUOTES = "\"'`“”‘’«»* "


def parse_queries(output: str) -> list[str]:
    """The queries in a reader's output: one a line or between semicolons, at most MAX_QUERIES, each once."""
    found: dict[str, None] = {}
    for part in re.split(r"[\n;]", _reply(output)):
        query = " ".join(part.split())
        query = _LABEL.sub("", _MARK.sub("", query)).strip(_QUOTES)[:MAX_QUERY_CHARS].strip()
        if re.search(r"\w", query) and not query.endswith(":"):
            found[query] = None
    return list(found)[:MAX_QUERIES]


def parse_passage(output: str) -> list[str]:
    """The passage in a reader's output, at most MAX_PASSAGE_CHARS; none where there is no word in it."""
    passage = _PASSAGE_LABEL.sub("", " ".join(_reply(output).split()).strip(_QUOTES))[:MAX_PASSAGE_CHARS].strip()
    return [passage] if re.search(r"\w", passage) else []


def _reply(output: str) -> str:
    """The output behind a model's thinking; nothing where it never ended."""
    _, end, reply = output.rpartition("</think>")
    if not end and "<think>" in output:
        return ""
    return reply[:_MAX_OUTPUT_CHARS].replace("\x00", " ")


# Prompts --------------------------------------------------------------------------------------------------------------

CHAT_TASKS = MappingProxyType(
    {
        "rewrite": f"Write search queries that find the passages of an encyclopedia or textbook needed to answer the "
        f"question below. Write at most {MAX_QUERIES} queries, one a line, and nothing else. Do not answer the "
        "question.",
        "hyde": "Write a passage of about 80 words, in the style of an encyclopedia or textbook, that answers the "
        "question below. Write the passage and nothing else.",
        "decompose": f"Split the question below into simpler questions that can be looked up one by one. Write at most "
        f"{MAX_QUERIES} questions, one a line, each complete in itself, and nothing else. Do not answer them.",
    }
)
LABELS = MappingProxyType({"rewrite": "Queries:", "hyde": "Passage:", "decompose": "Simpler questions:"})
EXEMPLARS = MappingProxyType(
    {
        "rewrite": (
            (
                "My grandmother says that the ship Darwin sailed on was named after a dog. Is that so?",
                "HMS Beagle name origin; ship of Darwin's voyage",
            ),
            (
                "Which gas do plants take in to make sugar?\nOptions: oxygen; carbon dioxide; nitrogen",
                "gas taken in by plants in photosynthesis",
            ),
        ),
        "hyde": (
            (
                "Why does the Moon show phases?",
                "The phases of the Moon arise because the Sun lights one half of it at a time. As the Moon orbits the "
                "Earth about once a month, the lit half turns toward us by degrees, from new Moon to full Moon and "
                "back.",
            ),
            (
                "Which gas do plants take in to make sugar?\nOptions: oxygen; carbon dioxide; nitrogen",
                "In photosynthesis plants take in carbon dioxide from the air through small openings in their leaves "
                "and, with water and the energy of light, turn it into sugar, giving off oxygen.",
            ),
        ),
        "decompose": (
            (
                "Is the river that flows through Vienna longer than the Rhine?",
                "Which river flows through Vienna?; How long is the Danube?; How long is the Rhine?",
            ),
            (
                "In which country was the author of Faust born?",
                "Who wrote Faust?; In which country was Goethe born?",
            ),
        ),
    }
)
"""Solved examples for base models, written for this purpose: what is asked, what is written."""


def writing_prompt(question: Question | str, making: Writing, *, chat: bool, n_exemplars: int = 2) -> str:
    """The prompt with which a reader is asked to write: one user turn, or solved examples for a base model to go on
    from. Control tokens in the question are not broken yet (neutralise)."""
    asked = _asked(question, one_line=not chat)
    if chat:
        return f"{CHAT_TASKS[making]}\n\nQuestion: {asked}"
    label = LABELS[making]
    solved = [f"Question: {text}\n{label} {reply}" for text, reply in EXEMPLARS[making][:n_exemplars]]
    return "\n\n".join([*solved, f"Question: {asked}\n{label}"])


def _prompt(question: Question | str, making: Writing, reader: Reader, chat: bool, max_tokens: int) -> str | None:
    """The longest prompt that fits the reader, giving up exemplars; None where the bare question does not fit."""
    count, context = getattr(reader, "count_tokens", None), getattr(reader, "max_length", None)
    for n_exemplars in (0,) if chat else range(len(EXEMPLARS[making]), -1, -1):
        prompt = writing_prompt(question, making, chat=chat, n_exemplars=n_exemplars)
        prompt = neutralise(prompt, getattr(reader, "control_tokens", ()))
        if count is None or context is None:
            return prompt
        if count(prompt) + max_tokens + (TEMPLATE_TOKENS if chat else 0) <= context:
            return prompt
    return None


def _asked(question: Question | str, *, one_line: bool) -> str:
    """The question with its options; on one line each where a line's end would close a solved example."""
    text = _text(question)[:MAX_QUESTION_CHARS]
    options = [] if isinstance(question, str) else [" ".join(choice.split()) for choice in question.choices or ()]
    text = " ".join(text.split()) if one_line else text.strip()
    return f"{text}\nOptions: {'; '.join(options)[:MAX_QUESTION_CHARS]}" if options else text


def _text(question: Question | str) -> str:
    return question if isinstance(question, str) else question.text


def _max_tokens(making: Writing, reader: Reader, chat: bool) -> int:
    """Tokens to write; at most a quarter of a short context."""
    wanted = CHAT_MAX_TOKENS if chat else MAX_TOKENS[making]
    context = getattr(reader, "max_length", None)
    return wanted if context is None else max(1, min(wanted, context // 4))


def _sample_flops(sample: Sample, reader: Reader) -> float:
    """FLOPs of reading the prompt and writing the sample; 0 where the reader's size is not known (an endpoint)."""
    forward = getattr(reader, "forward_flops", None)
    if forward is None:
        return 0.0
    n_prompt, n_written = sample.n_prompt_tokens, sample.n_tokens
    read = forward(n_prompt, n_prompt / 2) if n_prompt else 0.0
    return float(read + (forward(n_written, n_prompt + n_written / 2) if n_written else 0.0))
