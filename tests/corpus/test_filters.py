"""What each filter rule objects to, and how rules are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reread.corpus.filters import make_filter
from reread.errors import UsageError
from reread.types import Document

SENTENCES = [
    "The river rises in the hills and flows to the sea through seven quiet towns.",
    "Farmers along its banks have grown barley, beans and flax for many hundreds of years.",
    "In spring the water is high, so that boats can reach the old mill with their loads.",
    "A stone bridge, which replaced an earlier ferry, carries the only road of the valley.",
    "Visitors come to see the herons that nest on a small island below the weir.",
    "The museum holds a collection of tools, maps and letters from the first settlers.",
]
GOOD = "\n\n".join(SENTENCES)


def problem(rule: str, text: str, url: str = "") -> str | None:
    reason = make_filter([rule])(Document("d", text, "f", url=url))
    return None if reason is None else reason.removeprefix("filtered (").removesuffix(")").partition(": ")[2]


@pytest.mark.parametrize("rule", ["gopher", "c4", "fineweb", "min-words=50", "max-words=100", "min-letters=0.7"])
def test_ordinary_prose_passes(rule: str) -> None:
    assert problem(rule, GOOD) is None


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ("gopher-quality", "Only a few words.", "too_few_words"),
        ("gopher-quality", "the of " * 50_001, "too_many_words"),
        ("gopher-quality", "a the of be I x y " * 20, "mean_word_length"),
        ("gopher-quality", GOOD.replace(" the ", " the # "), None),
        ("gopher-quality", GOOD.replace(" ", " # ", 20), "symbols"),
        ("gopher-quality", GOOD.replace(" ", "... ", 20), "symbols"),
        ("gopher-quality", "- " + GOOD.replace("\n\n", "\n- "), "bullet_lines"),
        ("gopher-quality", GOOD.replace(".\n", "...\n"), "ellipsis_lines"),
        ("gopher-quality", GOOD.replace(" ", " 1234 ", 30), "words_without_letters"),
        ("gopher-quality", "some words without any stopping ones among them here " * 8, "stop_words"),
        ("gopher-repetition", "\n\n".join(SENTENCES[:2] * 2), "repeated_paragraphs"),
        ("gopher-repetition", "\n".join(SENTENCES[:2] * 2), "repeated_lines"),
        ("gopher-repetition", "\n".join([*"abcdefgh", SENTENCES[0], SENTENCES[0]]), "repeated_line_characters"),
        ("gopher-repetition", GOOD + " buy now" * 40, "top_2gram"),
        ("gopher-repetition", f"{GOOD} {' '.join(SENTENCES[:2])}", "repeated_5grams"),
        ("c4", GOOD + " Lorem ipsum dolor.", "lorem_ipsum"),
        ("c4", GOOD + " function() { return }", "curly_bracket"),
        ("c4", "One sentence. Two sentences.", "too_few_sentences"),
        ("fineweb", GOOD.replace(".", ""), "lines_without_punctuation"),
        ("fineweb", "\n".join([*SENTENCES, SENTENCES[0]]), "repeated_line_characters"),
        ("fineweb", "\n".join(["Short line.", "Another.", "Third one.", SENTENCES[0]]), "short_lines"),
        ("min-words=5", "one two three four", "too_few_words"),
        ("max-words=3", "one two three four", "too_many_words"),
        ("min-letters=0.5", "12 34 56 ab", "too_few_letters"),
    ],
)
def test_a_rule_objects_for_its_own_reason(rule: str, text: str, expected: str | None) -> None:
    assert problem(rule, text) == expected


@given(st.text(alphabet=st.sampled_from("ab \n.#…1字"), max_size=200))
def test_no_text_is_trouble(text: str) -> None:
    chosen = make_filter(["gopher", "c4", "fineweb", "min-letters=0.5"])
    assert chosen(Document("d", text, "f")) == chosen(Document("e", text, "g"))


def test_limits_are_inclusive() -> None:
    assert problem("min-words=3", "a b c") is None
    assert problem("max-words=3", "a b c") is None


def test_the_language_of_plain_sentences_is_told() -> None:
    pytest.importorskip("py3langid")
    german = "Die Katze saß auf der Matte, während draußen den ganzen Abend der Regen fiel."
    assert problem("language=en", german) == "de"
    assert problem("language=en,de", german) is None
    assert problem("language=en", SENTENCES[0]) is None


def test_a_blocked_host_blocks_what_is_below_it(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.txt"
    hosts.write_text("# bad\nExample.com\nhttps://spam.test/path  # why\n")
    rule = f"blocklist={hosts}"
    assert problem(rule, GOOD, "https://www.example.com/page") == "host"
    assert problem(rule, GOOD, "http://spam.test:8080/") == "host"
    for url in ("https://example.com.org/", "https://notexample.com", "", "http://[broken"):
        assert problem(rule, GOOD, url) is None


def test_the_description_is_the_same_however_rules_are_written(tmp_path: Path) -> None:
    one = make_filter(["min_words=050", "gopher", "c4"]).description
    assert one == make_filter(["C4", "gopher-repetition", "gopher-quality", "min-words=50", "c4"]).description
    assert one == ("min-words=50", "c4", "gopher-quality", "gopher-repetition")
    for name in ("a", "b"):
        (tmp_path / name).write_text("x.test\n")
    described = {make_filter([f"blocklist={tmp_path / name}"]).description for name in ("a", "b")}
    assert len(described) == 1 and str(tmp_path) not in str(described)


def test_no_rules_keep_everything() -> None:
    assert make_filter([]).description == ()
    assert make_filter([])(Document("d", "", "f")) is None


@pytest.mark.parametrize(
    "spec", ["nonsense", "min-words", "min-words=x", "min-words=2.5", "max-words=1e30",
             "min-letters=2", "gopher-quality=3", "gopher=3",
             "blocklist=", "blocklist=/no/such/file", "language=", "language=qq"]
)  # fmt: skip
def test_a_wrong_rule_is_refused_by_name(spec: str) -> None:
    with pytest.raises(UsageError, match=spec.partition("=")[2] if spec.endswith("qq") else spec.partition("=")[0]):
        make_filter([spec])
