"""Web pages into text: tables, formulas, code, what is left out, odd bytes and hostile pages."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reread.corpus.tables import rows_to_text
from reread.corpus.web.html import extracting, html_text
from reread.corpus.web.reader_extraction import page_pieces, reader_prompt
from reread.errors import UsageError
from reread.types import Sample

SENTENCE = "The mill by the river was built in the year of the great flood, and it still grinds barley today."


def wiki(body: str) -> bytes:
    return f'<html><body><nav>Menu</nav><div class="mw-parser-output">{body}</div></body></html>'.encode()


def text_of(content: bytes, **settings: Any) -> str:
    return html_text(content, **settings)[0]


def test_an_infobox_becomes_rows_of_header_and_value() -> None:
    page = wiki(
        '<table class="infobox"><caption>Ostrava Mill</caption><tr><th colspan="2">Location</th></tr>'
        "<tr><th>River</th><td>Odra</td></tr><tr><th>Built</th><td>1787<br>1803</td></tr></table><p>Text.</p>"
    )
    assert text_of(page) == "Ostrava Mill\nLocation\n| River | Odra |\n| Built | 1787 1803 |\n\nText."


def test_a_cell_over_two_rows_stands_in_both() -> None:
    page = wiki(
        '<table class="wikitable"><tr><th>Year</th><th>Film</th></tr><tr><td rowspan="2">1993</td><td>One</td></tr>'
        "<tr><td>Two</td></tr></table>"
    )
    assert text_of(page).splitlines() == ["| Year | Film |", "| 1993 | One |", "| 1993 | Two |"]


def test_cells_of_nested_tables_and_lists_are_kept_in_their_row() -> None:
    inner = "<table><tr><td>inner a</td><td>inner b</td></tr></table>"
    page = wiki(f'<table class="wikitable"><tr><th>H</th><td><ul><li>x</li><li>y</li></ul>{inner}</td></tr></table>')
    (line,) = text_of(page).splitlines()
    assert line.startswith("| H | x y")
    assert "inner a inner b" in line


def test_a_layout_table_is_read_as_text() -> None:
    page = wiki('<table role="presentation"><tr><td><p>Left column.</p></td><td><p>Right column.</p></td></tr></table>')
    assert text_of(page) == "Left column.\n\nRight column."


@pytest.mark.parametrize(
    ("math", "tex"),
    [
        ('<math><semantics><mi>x</mi><annotation encoding="application/x-tex">{\\displaystyle x^{2}}</annotation>'
         "</semantics></math>", "$x^{2}$"),
        ('<span class="mwe-math-element"><img class="mwe-math-fallback-image-inline" alt="a_1"></span>', "$a_1$"),
        ('<script type="math/tex">y = 3</script>', "$y = 3$"),
        ('<span class="katex"><span class="katex-mathml"><math><annotation encoding="application/x-tex">z</annotation>'
         '</math></span><span class="katex-html" aria-hidden="true">zz</span></span>', "$z$"),
    ],
)  # fmt: skip
def test_formulas_are_kept_as_tex_once(math: str, tex: str) -> None:
    assert text_of(wiki(f"<p>Let {math} be.</p>")) == f"Let {tex} be."


def test_code_keeps_its_lines_and_indentation() -> None:
    assert text_of(wiki("<p>Run:</p><pre>for x in y:\n    print(x)\n</pre>")).endswith(
        "```\nfor x in y:\n    print(x)\n```"
    )


def test_headings_lists_and_captions_are_told_apart() -> None:
    page = wiki("<h2>Use</h2><ul><li>one</li><li>two</li></ul><dl><dt>Odra</dt><dd>a river</dd></dl>")
    assert text_of(page) == "## Use\n\n- one\n- two\nOdra\n: a river"


def test_navigation_hidden_text_and_citation_numbers_are_left_out() -> None:
    page = wiki(
        f'<div class="hatnote navigation-not-searchable">For others, see X.</div><p>{SENTENCE}<sup class="reference">'
        '[1]</sup><span class="mw-editsection">[edit]</span><span style="display: none">secret</span></p>'
        '<table class="navbox"><tr><td>Other mills</td></tr></table><div id="catlinks">Categories: Mills</div>'
    )
    assert text_of(page) == SENTENCE


def test_an_article_is_told_from_what_surrounds_it_and_keeps_its_table() -> None:
    links = "".join(f'<li><a href="/{n}">Other story {n}</a></li>' for n in range(30))
    paragraphs = "".join(f"<p>{SENTENCE} Paragraph {n} says more, and more again.</p>" for n in range(6))
    table = "<table><tr><th>Year</th><th>Barley, tons</th></tr><tr><td>1787</td><td>41</td></tr></table>"
    page = (
        f"<html><head><title>The mill | The Odra Times</title></head><body><ul class='menu'>{links}</ul><article><h1>"
        f"The mill</h1>{paragraphs}{table}{paragraphs}</article><footer>Imprint and cookies</footer></body></html>"
    )
    text, title = html_text(page.encode())
    assert title == "The mill"
    assert text.count(SENTENCE) == 12
    assert "| 1787 | 41 |" in text
    assert "Other story" not in text
    assert "cookies" not in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252", None, "no-such-charset", "ascii"])
def test_text_is_read_whatever_the_server_says_of_its_encoding(encoding: str | None) -> None:
    written = "utf-8" if encoding in (None, "no-such-charset", "ascii") else encoding
    content = f"<html><body><p>{SENTENCE} Café Zürich.</p></body></html>".encode(written)
    assert "Café Zürich" in text_of(content, encoding=encoding)


HOSTILE = {
    "nested elements": b"<html><body>" + b"<div>" * 100_000 + SENTENCE.encode(),
    "nested tables": b"<html><body>" + b"<table><tr><td>" * 10_000 + SENTENCE.encode(),
    "many attributes": b"<html><body><div " + b" ".join(b'a%d="x"' % n for n in range(100_000)) + b">"
    + SENTENCE.encode(),
    "a huge attribute": b'<html><body><div data-x="' + b"a" * 5_000_000 + b'">' + SENTENCE.encode(),
    "spans that multiply": wiki('<table class="wikitable">' + '<tr><td rowspan="65534" colspan="1000">x' * 3000
                                + f"</table><p>{SENTENCE}</p>"),
    "external entities": b'<!DOCTYPE html [<!ENTITY a SYSTEM "file:///etc/passwd">]><html><body>&a;<p>'
    + SENTENCE.encode(),
    "NUL bytes": b"<html><body><p>" + SENTENCE.encode().replace(b" ", b"\x00 "),
    "an XML declaration": b'<?xml version="1.0" encoding="ascii"?><html><body><p>' + SENTENCE.encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_gives_its_text(name: str) -> None:
    text = text_of(HOSTILE[name])
    assert SENTENCE in text
    assert "root:" not in text


@pytest.mark.parametrize("content", [b"", b" \n", b"<!-- only -->", b"<frameset><frame src=x></frameset>", b"<" * 999])
def test_a_page_without_text_is_no_error(content: bytes) -> None:
    text, title = html_text(content)
    assert isinstance(text, str)
    assert title == ""


class Echo:
    """A reader that answers with a fenced copy of what was asked."""

    spec = "echo"
    can = frozenset({"generate"})
    n_params = None

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def generate(self, prompts: Sequence[str], **settings: Any) -> list[list[Sample]]:
        assert settings["temperature"] == 0.0
        self.prompts.extend(prompts)
        return [[Sample("```markdown\n# Mill\n```", None, 1, 1)] for _ in prompts]

    def loglikelihood(self, requests: Any) -> Any:
        raise NotImplementedError


def test_readerlm_is_asked_by_its_convention_and_its_fence_is_taken_off() -> None:
    reader = Echo()
    with extracting("readerlm", reader):
        text = text_of(f"<html><body><script>x()</script><p>{SENTENCE}</p><!-- note --></body></html>".encode())
    assert text == "# Mill"
    (prompt,) = reader.prompts
    assert prompt.startswith(
        "Extract the main content from the given HTML and convert it to Markdown format.\n```html\n"
    )
    assert SENTENCE in prompt
    assert "x()" not in prompt
    assert "note" not in prompt
    assert prompt == reader_prompt(prompt.split("```html\n")[1].removesuffix("\n```"))


def test_a_long_page_is_split_between_elements_for_a_reader() -> None:
    import lxml.html

    tree = lxml.html.document_fromstring("<html><body>" + f"<p>{SENTENCE}</p>" * 50 + "</body></html>")
    pieces = page_pieces(tree, max_chars=1000)
    assert max(map(len, pieces)) <= 1000
    assert sum(piece.count(SENTENCE) for piece in pieces) == 50


def test_an_unknown_engine_and_readerlm_without_a_reader_are_refused() -> None:
    for engine in ("magic", "readerlm"):
        with pytest.raises(UsageError), extracting(engine):
            pass


def test_rows_keep_their_columns_and_drop_empty_ends() -> None:
    assert (
        rows_to_text([["a", "", "c", ""], ["", ""], ["one\ncell", ""]], "Caption") == "Caption\n| a |  | c |\none cell"
    )


@pytest.fixture(scope="module")
def measures() -> ModuleType:
    """The benchmark's own measures."""
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "extraction.py"
    specification = importlib.util.spec_from_file_location("extraction_benchmark", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.realdata
def test_real_news_pages_keep_their_text(realdata: Path, measures: ModuleType) -> None:
    pages = _rows(realdata / "extraction" / "articles_a.jsonl.gz")[1::4]
    ours = [text_of(page["html"].encode()) for page in pages]
    assert measures.f1([page["gold_text"] for page in pages], ours, 4) > 0.955


@pytest.mark.slow
@pytest.mark.realdata
def test_real_news_pages_are_extracted_better_than_by_the_best_library(realdata: Path, measures: ModuleType) -> None:
    """Of all pages: on parts of them either may be ahead by chance."""
    import trafilatura

    pages = _rows(realdata / "extraction" / "articles_a.jsonl.gz")
    golds = [page["gold_text"] for page in pages]
    ours = [text_of(page["html"].encode()) for page in pages]
    best = [trafilatura.extract(page["html"], fast=True, include_comments=False) or "" for page in pages]
    for n in (4, 1):
        assert measures.f1(golds, ours, n) >= measures.f1(golds, best, n)


@pytest.mark.realdata
def test_real_wikipedia_pages_keep_their_cells_and_drop_navigation(realdata: Path, measures: ModuleType) -> None:
    kept = n_cells = 0
    for page in _rows(realdata / "extraction" / "wikipedia_html.jsonl.gz"):
        text, title = html_text(page["html"].encode())
        found, n = measures.cells_kept(page["html"], text)
        kept, n_cells = kept + found, n_cells + n
        assert title.lower() == page["title"].lower().removesuffix(" - wikipedia")
        # The strings were chosen on a text without formulas.
        plain = " ".join(re.sub(r"\$[^$]*\$", " ", text).split())
        assert all(wanted in plain for wanted in page.get("must_contain") or [])
        assert not any(unwanted in text for unwanted in page.get("must_not_contain") or [])
    assert n_cells > 100
    assert kept / n_cells >= 0.98
