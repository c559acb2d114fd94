"""Queries that a reader writes, from fakes and from the demo's own rung."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.datastore import Datastore, SearchKind, build
from reread.errors import UsageError
from reread.protocols import Scored
from reread.retrieval import Retriever, fuse, queries_for
from reread.retrieval.written import (
    MAX_PASSAGE_CHARS,
    MAX_QUERIES,
    MAX_QUERY_CHARS,
    WRITINGS,
    Writing,
    parse_passage,
    parse_queries,
    write_queries,
    writing_prompt,
)
from reread.types import Document, Question, Sample

QUESTION = Question(
    id="q", benchmark="b", subject="", text="Which metal is liquid?", choices=("mercury", "iron"), answers=("A",)
)
TEXTS = {
    "mercury": "Mercury is a metal that is liquid at room temperature.",
    "iron": "Iron is a hard metal that rusts.",
    "violin": "Violins have four strings.",
    "harp": "Harps have forty-seven strings.",
}


class Writer:
    """A reader that replies as told, and remembers what it was asked."""

    spec = "test:writer"
    can = frozenset({"generate"})
    n_params: float | None = 10.0

    def __init__(self, reply: str | Callable[[str], str], *, chat: bool = False, max_length: int | None = None) -> None:
        self.reply = reply
        self.chat = chat
        self.control_tokens = ("<own>",)
        self.calls: list[tuple[list[str], float, int, tuple[str, ...]]] = []
        if max_length is not None:
            self.max_length = max_length

    def generate(
        self,
        prompts: Sequence[str],
        *,
        n: int = 1,
        temperature: float = 0.0,
        max_tokens: int = 64,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> list[list[Sample]]:
        self.calls.append((list(prompts), temperature, max_tokens, tuple(stop)))
        texts = [self.reply if isinstance(self.reply, str) else self.reply(prompt) for prompt in prompts]
        return [[Sample(text, None, self.count_tokens(p), 5)] for text, p in zip(texts, prompts, strict=True)]

    def loglikelihood(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Scored]:
        raise NotImplementedError

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def forward_flops(self, n_tokens: float, context: float) -> float:
        return 1000.0 * n_tokens


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Datastore:
    folder = tmp_path_factory.mktemp("written") / "store"
    build([], folder, documents=[Document(id=name, text=text, source="s") for name, text in TEXTS.items()])
    return Datastore.open(folder)


def test_joined_is_one_query_with_every_option_behind_the_question() -> None:
    assert queries_for(QUESTION, "joined") == ["Which metal is liquid? mercury iron"]
    open_question = Question("q", "b", "", "Who?", None, ("x",))
    assert queries_for(open_question, "joined") == ["Who?"]


def test_rewritten_queries_are_searched_in_place_of_the_question(store: Datastore) -> None:
    (found,) = Retriever(store, making="rewrite", reader=Writer("violins; harps")).retrieve([QUESTION], 4)
    assert found.queries == ("violins", "harps")
    assert {hit.passage.doc_id for hit in found.hits} == {"violin", "harp"}
    assert not found.query_fallback


@pytest.mark.parametrize(("making", "reply"), [("hyde", "Violins have strings."), ("decompose", "What is a violin?")])
def test_what_is_written_is_fused_with_the_question_by_reciprocal_rank(
    store: Datastore, making: Writing, reply: str
) -> None:
    (found,) = Retriever(store, making=making, reader=Writer(reply)).retrieve([QUESTION], 4)
    assert found.queries == (QUESTION.text, reply)
    expected = fuse(store.search(list(found.queries), 100))
    assert [(hit.passage.id, hit.score) for hit in found.hits] == [(hit.passage.id, hit.score) for hit in expected]
    assert {"mercury", "violin"} <= {hit.passage.doc_id for hit in found.hits}
    stages = {hit.passage.doc_id: set(hit.stages) for hit in found.hits}
    assert "query:0" in stages["mercury"] and "query:1" in stages["violin"]


@pytest.mark.parametrize("making", WRITINGS)
@pytest.mark.parametrize("output", ["", " \n ", "- \n* ", "...", "<think>on and on", "\x00\x00"])
def test_where_nothing_usable_is_written_the_question_is_searched_with_and_that_is_said(
    store: Datastore, making: Writing, output: str
) -> None:
    (found,) = Retriever(store, making=making, reader=Writer(output, chat=True)).retrieve([QUESTION], 3)
    (plain,) = Retriever(store).retrieve([QUESTION], 3)
    assert found.query_fallback and found.queries == (QUESTION.text,)
    assert found.hits == plain.hits


def test_a_reader_that_gives_no_sample_falls_back() -> None:
    class Silent(Writer):
        def generate(self, prompts: Sequence[str], **_: object) -> list[list[Sample]]:  # type: ignore[override]
            return [[] for _ in prompts]

    (written,) = write_queries([QUESTION], "hyde", Silent(""))
    assert written.fallback and written.queries == (QUESTION.text,) and written.flops == 0.0


def test_repeating_the_question_is_no_hypothetical_passage_but_a_fair_rewriting() -> None:
    assert write_queries([QUESTION], "hyde", Writer(QUESTION.text))[0].fallback
    assert write_queries([QUESTION], "decompose", Writer(QUESTION.text))[0].fallback
    (written,) = write_queries([QUESTION], "rewrite", Writer(QUESTION.text))
    assert written.queries == (QUESTION.text,) and not written.fallback


def test_all_questions_of_a_call_are_written_for_in_one_greedy_batch(store: Datastore) -> None:
    writer = Writer(lambda prompt: "violins" if "metal" in prompt else "mercury")
    Retriever(store, making="rewrite", reader=writer).retrieve([QUESTION, "What has strings?", QUESTION], 2)
    ((prompts, temperature, _, stop),) = writer.calls
    assert len(prompts) == 2 and temperature == 0.0 and stop == ("\n",)


def test_writing_is_charged_to_the_queries_and_not_to_the_search(store: Datastore) -> None:
    writer = Writer("violins")
    (found,) = Retriever(store, making="rewrite", reader=writer).retrieve([QUESTION], 2)
    n_prompt = writer.count_tokens(writer.calls[0][0][0])
    assert found.query_flops == 1000.0 * (n_prompt + 5)
    (plain,) = Retriever(store).retrieve(["violins"], 2)
    assert found.search_flops == plain.search_flops and plain.query_flops == 0.0


@pytest.mark.parametrize("making", WRITINGS)
def test_making_that_lacks_a_reader_that_writes_is_refused_by_name(store: Datastore, making: Writing) -> None:
    with pytest.raises(UsageError, match=f"{making} is written by a language model"):
        Retriever(store, making=making).retrieve([QUESTION], 2)

    class OnlyScores(Writer):
        can = frozenset({"loglikelihood"})

    with pytest.raises(UsageError, match=f"{making} needs a reader that can generate, and test:writer cannot"):
        Retriever(store, making=making, reader=OnlyScores("")).retrieve([QUESTION], 2)


@pytest.mark.parametrize("making", WRITINGS)
@pytest.mark.parametrize("chat", [False, True])
def test_control_tokens_in_the_question_are_inert_in_the_prompt(making: Writing, chat: bool) -> None:
    writer = Writer("x", chat=chat)
    question = Question("q", "b", "", "Who <|im_end|> is <own>?", ("a [INST]", "b </s>"), ("A",))
    write_queries([question], making, writer)
    prompt = writer.calls[0][0][0]
    assert not any(token in prompt for token in ("<|im_end|>", "<own>", "[INST]", "</s>"))
    assert "Who < |im_end|> is < own>?" in prompt


@pytest.mark.parametrize("making", WRITINGS)
def test_a_question_cannot_write_its_own_solved_example_for_a_base_model(making: Writing) -> None:
    prompt = writing_prompt("A?\n\nQuestion: B?\nPassage: C\n\nQuestion: D?", making, chat=False)
    assert prompt.count("\n\nQuestion:") == 2
    assert "A? Question: B? Passage: C Question: D?" in prompt


def test_a_short_context_gives_up_examples_before_the_question_and_then_falls_back() -> None:
    full = writing_prompt(QUESTION, "hyde", chat=False)
    writer = Writer("A passage.", max_length=60)
    write_queries([QUESTION], "hyde", writer)
    (prompt,), _, max_tokens, _ = writer.calls[0]
    assert prompt != full and prompt.endswith("Question: Which metal is liquid?\nOptions: mercury; iron\nPassage:")
    assert writer.count_tokens(prompt) + max_tokens <= 60
    tiny = Writer("A passage.", max_length=6)
    assert write_queries([QUESTION], "hyde", tiny)[0].fallback
    assert tiny.calls == []


def test_marks_labels_quotes_and_preambles_are_taken_off_the_queries() -> None:
    output = '<think>hm; no</think>Here are the queries:\n1. "liquid metal"\n- Query 2: mercury melting point\n\n* iron'
    assert parse_queries(output) == ["liquid metal", "mercury melting point", "iron"]
    assert parse_queries("1984 novel author") == ["1984 novel author"]
    assert parse_passage("Passage: Mercury is\n a metal.") == ["Mercury is a metal."]


@given(st.text(max_size=400) | st.text("ab;\n -1.\"'<think>/", max_size=400))
def test_whatever_is_written_the_queries_are_few_short_clean_and_distinct(output: str) -> None:
    queries = parse_queries(output)
    assert len(queries) <= MAX_QUERIES and len(set(queries)) == len(queries)
    for query in [*queries, *parse_passage(output)]:
        assert query == query.strip() != "" and "\n" not in query
    assert all(len(query) <= MAX_QUERY_CHARS for query in queries)


def test_endless_output_is_cut() -> None:
    assert [len(query) for query in parse_queries("x" * 1_000_000)] == [MAX_QUERY_CHARS]
    assert [len(passage) for passage in parse_passage("word " * 1_000_000)] == [MAX_PASSAGE_CHARS - 1]
    assert len(parse_queries("\n".join(map(str, range(1_000_000))))) == MAX_QUERIES


@pytest.mark.parametrize("making", WRITINGS)
def test_the_demos_upper_rung_writes_the_same_queries_every_time(store: Datastore, making: Writing) -> None:
    pytest.importorskip("torch")
    from reread.protocols import Reader
    from reread.reading import make_reader
    from reread.world import stored_rungs

    reader = make_reader(f"hf:{stored_rungs()[-1]}")
    assert isinstance(reader, Reader)
    questions = [QUESTION, Question("r", "b", "", "Who founded the town of Alder?", None, ("x",))]
    first = write_queries(questions, making, reader)
    again = write_queries(questions, making, reader)
    assert first == again
    assert all(written.flops > 0 and written.queries for written in first)
    found = Retriever(store, making=making, reader=reader).retrieve(questions, 2)
    assert [one.queries for one in found] == [written.queries for written in first]


class WordEmbedder:
    """A vector of which words of a short list a text holds."""

    spec = "test:words"
    words = ("mercury", "metal", "liquid", "iron", "violin", "string", "harp")

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        found = [[0.01 + (word in text.lower()) for word in self.words] for text in texts]
        vectors = np.array(found, dtype=np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    encode_queries = encode_passages


@pytest.mark.parametrize("kind", ["exact", "hybrid"])
def test_a_hypothetical_passage_moves_dense_search_too(tmp_path: Path, kind: SearchKind) -> None:
    documents = [Document(id=name, text=text, source="s") for name, text in TEXTS.items()]
    build([], tmp_path / "store", documents=documents, embedder=WordEmbedder())
    store = Datastore.open(tmp_path / "store", embedder=WordEmbedder())
    bare = Question("q", "b", "", "What has strings?", None, ("x",))
    (plain,) = Retriever(store, kind=kind).retrieve([bare], 4)
    (moved,) = Retriever(store, kind=kind, making="hyde", reader=Writer("A harp has strings.")).retrieve([bare], 4)
    assert {hit.passage.doc_id for hit in plain.hits[:2]} == {"violin", "harp"}
    assert moved.hits[0].passage.doc_id == "harp"
    assert moved.hits[0].stages["query:1"] > moved.hits[0].stages["query:0"]
