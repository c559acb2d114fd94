"""The lexical index: its compiled analyser equals the plain one, and hostile texts are counted as they are."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from corpora import tree
from hypothesis import given, settings
from hypothesis import strategies as st

from reread.datastore.analyser import fold, kind_of, stems_of, words_of
from reread.datastore.bm25 import best_rows, weigh_queries
from reread.datastore.lexical import LexicalShard, LexicalWriter
from reread.datastore.lexical_kernels import BLOCK_ROWS

SAMPLES = [
    "The cats sat on the mat; don't miss the cat's Beyoncé café cafe\u0301",
    "東京大学は日本の大学です。ガ 2020年 x² ﬁne ½ ㌔㍿ ﷺ",
    "हिन्दी भाषा ภาษาไทย ဗမာ ភាសាខ្មែរ 한국어 서울",
    "İstanbul ΣΊΣΥΦΟΣ straße Łódź الْعَرَبِيَّة soft\u00adhyphen",
    "snake_case x86-64 3.14 COVID-19 a b c",
    "\ud800ab\x00cd\ufeffef 𝒜𝓁𝓅𝒽𝒶 𠀀𠀁𠀂",
]

# Words, spaces and every kind of character, next to each other.
texts = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.text(alphabet="aAbBzZ09_ é\u0301ßИй東京日ガカ한ไทยहि\u200d\x00.-'", max_size=30),
        st.sampled_from(SAMPLES),
        st.sampled_from(["the", "running", "x" * 70, "é" * 70, ""]),
    ),
    max_size=8,
).map(" ".join)


def write(folder: Path, passages: list[str]) -> LexicalShard:
    writer = LexicalWriter()
    writer.add_many(passages)
    writer.write(folder)
    return LexicalShard(folder)


def postings(shard: LexicalShard) -> Counter[tuple[str, int]]:
    """(term, row) → tf, read from the arrays as lexical.py describes them."""
    found: Counter[tuple[str, int]] = Counter()
    term_ends = [0, *shard.term_ends.tolist()]
    ends = [0, *shard.ends.reshape(-1).tolist()]
    n_blocks = shard.ends.shape[1]
    for i in range(len(ends) - 1):
        term, block = divmod(i, n_blocks)
        name = shard.terms[term_ends[term] : term_ends[term + 1]].tobytes().decode()
        for p in range(ends[i], ends[i + 1]):
            found[name, block * BLOCK_ROWS + int(shard.rows[p])] = int(shard.tfs[p])
    return found


def expected(passages: list[str]) -> Counter[tuple[str, int]]:
    return Counter((stem, row) for row, text in enumerate(passages) for stem in stems_of(text))


@settings(max_examples=100, deadline=None)
@given(passages=st.lists(texts, max_size=6))
def test_the_compiled_analyser_equals_the_plain_one(
    tmp_path_factory: pytest.TempPathFactory, passages: list[str]
) -> None:
    shard = write(tmp_path_factory.mktemp("lexical"), passages)
    assert postings(shard) == expected(passages)
    assert shard.lengths.tolist() == [len(stems_of(text)) for text in passages]


@settings(max_examples=30, deadline=None)
@given(pairs=st.lists(st.tuples(st.text(alphabet="abé 東", max_size=6), texts), min_size=1, max_size=6))
def test_arrow_columns_and_python_strings_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("lexical")
    pairs = [(title, text.encode("utf-8", "replace").decode()) for title, text in pairs]
    joined = LexicalWriter()
    joined.add_many([text if text.startswith(title) else f"{title}\n{text}" for title, text in pairs])
    joined.write(folder / "strings")
    # Slices, as a column of a longer table is.
    titles = pa.array(["x", *(title for title, _ in pairs)])[1:]
    for kind in (pa.string(), pa.large_string()):
        column = pa.array(["y", *(text for _, text in pairs)], type=kind)[1:]
        writer = LexicalWriter()
        writer.add_arrow(titles[:1], column[:1])
        writer.add_arrow(titles[1:], column[1:])
        writer.write(folder / str(kind))
        assert tree(folder / str(kind)) == tree(folder / "strings")


def test_every_character_folds_to_what_folds_to_itself() -> None:
    for code in [*range(0x3000), *range(0xF900, 0x10000), *range(0x1D400, 0x1D800)]:
        folded = fold(chr(code))
        assert "".join(map(fold, folded)) == folded, hex(code)


def test_accents_widths_and_ligatures_do_not_part_equal_words() -> None:
    assert set(words_of("Beyoncé BEYONCE\u0301 beyonce Ｂｅｙｏｎｃｅ")) == {"beyonce"}
    assert words_of("ﬁnance Straße ΣΊΣΥΦΟΣ σίσυφος") == ["finance", "strasse", "σισυφοσ", "σισυφοσ"]


def test_scripts_without_spaces_are_pairs_and_keep_vowels() -> None:
    assert words_of("東京大学 2020年") == ["東京", "京大", "大学", "2020", "年"]
    assert words_of("हिन्दी") == ["हिन्दी"]
    assert kind_of("한") == kind_of("ท") == kind_of("東") != kind_of("a")


def test_a_word_within_a_chinese_sentence_is_found(tmp_path: Path) -> None:
    shard = write(tmp_path, ["我在東京大学学习", "今天天气很好", "北京是中国的首都"])
    assert rows_found([shard], "大学", 5) == [0]
    assert rows_found([shard], "中国首都", 5) == [2]


def rows_found(shards: list[LexicalShard], query: str, k: int) -> list[int]:
    n = sum(len(shard.lengths) for shard in shards)
    average = sum(int(shard.lengths.sum()) for shard in shards) / n
    (best,) = best_rows(shards, weigh_queries([query], shards, n), average, k)
    return [int(best.rows[i]) for i in np.argsort(-best.scores, kind="stable")]


def test_hostile_texts_are_indexed_as_they_are(tmp_path: Path) -> None:
    passages = [
        "x" * 1_000_000,
        "",
        "the of and to",
        "stone " * 70_000,
        "nul\x00nul \ud800 nul",
        "x" * 64,
        *["same words here"] * 50,
    ]
    shard = write(tmp_path, passages)
    found = postings(shard)
    assert found["x" * 64, 0] == found["x" * 64, 5] == 1, "a long word counts by its beginning"
    assert found["stone", 3] == 65_535, "the greatest count there is room for"
    assert shard.lengths.tolist()[:5] == [1, 0, 0, 70_000, 3]
    assert found["nul", 4] == 3
    assert sorted(rows_found([shard], "same", 3)) == list(range(6, 56)), "all that tie with the third"
    assert rows_found([shard], " ".join(["stone"] * 100_000), 3) == [3]
    assert sorted(rows_found([shard], " ".join(f"none{n}" for n in range(100_000)) + " same", 3)) == list(range(6, 56))


def test_many_distinct_tokens_stay_distinct(tmp_path: Path) -> None:
    words = [f"q{n:x}z" for n in range(200_000)]
    shard = write(tmp_path, [" ".join(words[i : i + 100]) for i in range(0, len(words), 100)])
    terms = sorted(set(words))
    numbers = shard.find(terms)
    assert numbers.tolist() == list(range(len(terms)))
    assert shard.dfs(numbers).tolist() == [1] * len(terms)


def test_nothing_gives_an_index_of_nothing(tmp_path: Path) -> None:
    shard = write(tmp_path, [])
    assert shard.find(["word"]).tolist() == [-1]
    assert shard.dfs(np.array([-1])).tolist() == [0]


@pytest.mark.parametrize("k", [1, 100])
def test_search_over_blocks_and_shards_equals_adding_everything_up(tmp_path: Path, k: int) -> None:
    """More passages than a block and many windows; the rival adds up float64 in Python."""
    rng = np.random.default_rng(k)
    words = np.array([f"w{n}z" for n in range(60)])
    weights = 1 / np.arange(1, 61)
    drawn = rng.choice(words, size=(70_000, 6), p=weights / weights.sum())
    passages = [" ".join(row[: 2 + i % 5]) for i, row in enumerate(drawn)]
    whole = [write(tmp_path / "whole", passages)]
    cut = [write(tmp_path / str(n), passages[a : a + 7001]) for n, a in enumerate(range(0, 70_000, 7001))]
    counts = [Counter(text.split()) for text in passages]
    average = sum(map(Counter.total, counts)) / len(counts)
    df = Counter(word for count in counts for word in count)
    queries = ["w0z w1z w59z", "w40z w3z w3z w2z w0z", "w58z", "w0z w1z w2z w3z w4z w5z w6z w7z unknown"]
    hidden = {0: rng.random(70_000) < 0.1}
    for query, best, parts, seen in zip(
        queries,
        best_rows(whole, weigh_queries(queries, whole, 70_000), average, k),
        best_rows(cut, weigh_queries(queries, cut, 70_000), average, k, n_threads=2),
        best_rows(whole, weigh_queries(queries, whole, 70_000), average, k, hidden),
        strict=True,
    ):
        wanted = Counter(query.split())
        scores = np.array(
            [
                sum(
                    n * math.log(1 + (70_000 - df[w] + 0.5) / (df[w] + 0.5)) * c[w] / (c[w] + norm)
                    for w, n in wanted.items()
                    if c[w]
                )
                for c in counts
                for norm in [0.9 * (0.6 + 0.4 * c.total() / average)]
            ]
        )
        assert np.sort(best.scores)[::-1][:k] == pytest.approx(np.sort(scores)[::-1][:k], rel=1e-5)
        assert scores[best.rows] == pytest.approx(best.scores, rel=1e-5)
        whole_hits = sorted(zip(best.rows.tolist(), best.scores.tolist(), strict=True))
        cut_rows = (parts.shards * 7001 + parts.rows).tolist()
        assert sorted(zip(cut_rows, parts.scores.tolist(), strict=True)) == whole_hits, "to the last bit"
        assert not hidden[0][seen.rows].any()
        visible = np.where(hidden[0], 0, scores)
        assert np.sort(seen.scores)[::-1][:k] == pytest.approx(np.sort(visible)[::-1][:k], rel=1e-5)
