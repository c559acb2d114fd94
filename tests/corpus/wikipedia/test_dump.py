"""A Wikipedia dump gives its articles whatever its compression, and goes on behind damage."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from reread.corpus import read_documents
from reread.corpus.find import CorpusFile
from reread.corpus.rejects import Rejects, Unreadable
from reread.corpus.wikipedia.dump import MAX_PAGE_CHARS, read_wikipedia_dump
from reread.types import Document

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">
  <siteinfo>
    <sitename>Testpedia</sitename>
    <dbname>testwiki</dbname>
    <base>https://test.example/wiki/Main_Page</base>
    <case>first-letter</case>
    <namespaces>
      <namespace key="-1" case="first-letter">Special</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">Datei</namespace>
      <namespace key="14" case="first-letter">Kategorie</namespace>
    </namespaces>
  </siteinfo>
"""
TAIL = "</mediawiki>\n"


def page(
    number: int, text: str = "", *, title: str = "", ns: int = 0, redirect: str = "", model: str = "wikitext"
) -> str:
    text = text or f"'''Page {number}''' is about [[thing {number}]]."
    mark = f'\n    <redirect title="{redirect}" />' if redirect else ""
    return f"""  <page>
    <title>{escape(title or f"Page {number}")}</title>
    <ns>{ns}</ns>
    <id>{number}</id>{mark}
    <revision>
      <id>{number + 1000}</id>
      <parentid>{number + 900}</parentid>
      <timestamp>2026-01-0{number % 9 + 1}T00:00:00Z</timestamp>
      <contributor><username>Someone</username><id>7</id></contributor>
      <comment>a comment</comment>
      <origin>{number + 1000}</origin>
      <model>{model}</model>
      <format>text/x-wiki</format>
      <text bytes="{len(text)}" sha1="x" xml:space="preserve">{escape(text)}</text>
      <sha1>x</sha1>
    </revision>
  </page>
"""


def multistream(n_streams: int = 5, pages_each: int = 3) -> list[bytes]:
    """The compressed streams of a dump: its head, pages from number 1 on, its tail."""
    pages = ["".join(page(stream * pages_each + n + 1) for n in range(pages_each)) for stream in range(n_streams)]
    return [bz2.compress(part.encode()) for part in (HEAD, *pages, TAIL)]


def read(path: Path, skip: int = 0) -> tuple[list[tuple[int, Document]], list[str], Rejects]:
    rejects = Rejects(path.with_suffix(".rejects"))
    found = list(read_wikipedia_dump(CorpusFile(path.name, path), path, rejects, skip))
    documents = [(number, value) for number, value in found if isinstance(value, Document)]
    return documents, [value.reason for _, value in found if isinstance(value, Unreadable)], rejects


def numbers(path: Path) -> list[int]:
    return [int(document.id) for _, document in read(path)[0]]


def test_an_article_has_its_id_title_address_and_revision(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(HEAD + page(7, "Text & [[x|more]].", title="Straße & Café (1)") + TAIL, encoding="utf-8")
    [(number, document)], reasons, rejects = read(path)
    assert (number, reasons, rejects.total) == (1, [], 0)
    assert document == Document(
        "7",
        "Text & more.",
        "a.xml",
        "Straße & Café (1)",
        "https://test.example/wiki/Stra%C3%9Fe_%26_Caf%C3%A9_(1)",
        {"revision": "1007", "timestamp": "2026-01-08T00:00:00Z"},
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress], ids=["plain", "gzip", "bzip2"])
def test_the_same_pages_come_out_of_every_compression(tmp_path: Path, pack: type) -> None:
    path = tmp_path / "dump"
    path.write_bytes(pack((HEAD + "".join(page(n) for n in range(1, 9)) + TAIL).encode()))
    assert numbers(path) == list(range(1, 9))
    assert read(path)[2].total == 0


def test_a_multistream_dump_is_read_through_all_its_streams(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml.bz2"
    path.write_bytes(b"".join(multistream()))
    assert numbers(path) == list(range(1, 16))
    assert read(path)[2].total == 0


def test_what_is_no_article_is_left_out_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    pages = [
        page(1),
        page(2, "#REDIRECT [[Page 1]]", redirect="Page 1"),
        page(3, title="Template:X", ns=10),
        page(4, "{}", model="json"),
        page(5, "{{stub}} <!-- nothing -->"),
        page(6, "'''Mercury''' may be:\n* [[Mercury (planet)]]\n{{disambiguation}}"),
    ]
    path.write_text(HEAD + "".join(pages) + TAIL)
    documents, reasons, rejects = read(path)
    assert [document.id for _, document in documents] == ["1", "6"]
    assert reasons == ["redirect", "namespace_10", "content_model_json", "empty_text"]
    assert [number for number, _ in documents] == [1, 6] and rejects.total == 0


@pytest.mark.parametrize("skip", [0, 1, 4, 14, 15, 99])
def test_reading_goes_on_behind_the_pages_that_were_read(tmp_path: Path, skip: int) -> None:
    path = tmp_path / "dump.xml.bz2"
    path.write_bytes(b"".join(multistream()))
    assert read(path, skip)[0] == read(path)[0][skip:]


def test_a_dump_cut_anywhere_gives_its_whole_pages_and_one_damage(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml"
    whole = (HEAD + page(1) + page(2) + page(3) + TAIL).encode()
    ends = [whole.index(page(n).encode()) + len(page(n).encode()) - 1 for n in (1, 2, 3)]
    for cut in range(len(HEAD), len(whole) - 1, 37):
        path.write_bytes(whole[:cut])
        documents, _, rejects = read(path)
        assert len(documents) == sum(cut >= end for end in ends), cut
        assert rejects.counts["damaged_file"] == 1, cut


def test_a_multistream_dump_cut_anywhere_gives_the_pages_of_its_whole_streams(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml.bz2"
    streams = multistream(4)
    content = b"".join(streams)
    for cut in range(len(streams[0]), len(content) - 1, 61):
        path.write_bytes(content[:cut])
        n_whole = sum(cut >= len(b"".join(streams[: n + 1])) for n in range(1, 5))
        documents, _, rejects = read(path)
        assert [int(document.id) for _, document in documents][: 3 * n_whole] == list(range(1, 3 * n_whole + 1))
        assert rejects.counts["damaged_file"] == 1, cut


def test_damage_in_a_stream_costs_its_pages_and_the_next_streams_are_read(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml.bz2"
    for place in (12, 40, 200, -8):
        streams = multistream()
        broken = bytearray(streams[2])
        broken[place] ^= 0x10
        path.write_bytes(b"".join([*streams[:2], bytes(broken), *streams[3:]]))
        found = numbers(path)
        assert [n for n in found if n not in (4, 5, 6)] == [1, 2, 3, *range(7, 16)], place
        assert read(path)[2].counts == {"damaged_file": 1}, place


def test_bytes_lost_between_streams_are_one_damage(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml.bz2"
    streams = multistream()
    path.write_bytes(b"".join([*streams[:2], streams[2][30:], *streams[3:]]))
    assert numbers(path) == [1, 2, 3, *range(7, 16)]
    assert read(path)[2].counts == {"damaged_file": 1}


def test_a_page_that_is_no_xml_is_counted_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml"
    path.write_text(HEAD + page(1) + page(2).replace("</title>", "</titel>") + page(3) + page(4) + TAIL)
    assert numbers(path) == [1, 3, 4]
    assert read(path)[2].counts == {"not_xml": 1}


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xml"
    (tmp_path / "secret").write_text("the secret")
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(9))
    doctype = f'<!DOCTYPE mediawiki [{entities}<!ENTITY s SYSTEM "{tmp_path / "secret"}">]>'
    path.write_text(doctype + HEAD + page(1, "x").replace(">x<", ">&e8;&s;<") + page(2) + TAIL)
    documents, _, rejects = read(path)
    assert [document.id for _, document in documents] == ["2"]
    assert set(rejects.counts) == {"not_xml"}


def test_a_page_over_the_limit_is_rejected_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml.gz"
    path.write_bytes(gzip.compress((HEAD + page(1) + page(2, "x" * (MAX_PAGE_CHARS + 1)) + page(3) + TAIL).encode()))
    documents, reasons, _ = read(path)
    assert [document.id for _, document in documents] == ["1", "3"] and reasons == ["record_too_large"]


def test_elements_nested_without_end_are_no_dump(tmp_path: Path) -> None:
    page = b"<page><title>A</title><ns>0</ns><id>1</id><revision><text>words</text></revision></page>"
    (tmp_path / "a.xml").write_bytes(b"<mediawiki>" + b"<a>" * 100_000 + page + b"</mediawiki>")
    rejects = Rejects()
    (document,) = read_documents([str(tmp_path / "a.xml")], rejects=rejects)
    assert document.text == "words" and rejects.counts["not_xml"] == 1


def test_memory_stays_flat_over_a_long_dump(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "dump.xml.bz2"
    stream = bz2.compress("".join(page(n, "word " * 2000) for n in range(100)).encode())
    peaks = []
    for n_streams in (2, 20):
        path.write_bytes(b"".join([bz2.compress(HEAD.encode()), *[stream] * n_streams, bz2.compress(TAIL.encode())]))
        tracemalloc.start()
        n_pages = sum(1 for _ in read_wikipedia_dump(CorpusFile("d", path), path, Rejects(), 10**9))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert n_pages == 0
    assert peaks[1] < 1.2 * peaks[0]


def test_the_wikis_own_names_of_file_and_category_are_known(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml"
    path.write_text(HEAD + page(1, "A [[Datei:x.jpg|mini|b]] [[Kategorie:C]] [[Category:D]]end.") + TAIL)
    [(_, document)], _, _ = read(path)
    assert document.text == "A end."


def test_a_history_dump_gives_each_pages_last_revision(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml"
    old, new = page(1, "old text"), page(1, "new text")
    revision = new[new.index("    <revision>") : new.index("  </page>")]
    path.write_text(HEAD + old.replace("  </page>", revision + "  </page>") + TAIL)
    assert [document.text for _, document in read(path)[0]] == ["new text"]


def test_a_file_without_pages_says_so(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml"
    path.write_text(HEAD + TAIL)
    assert read(path)[2].counts == {"no_pages": 1}


def test_a_dump_is_known_by_its_content_and_read_as_a_corpus(tmp_path: Path) -> None:
    path = tmp_path / "dump.bin"
    path.write_bytes(b"".join(multistream()))
    rejects = Rejects()
    documents = list(read_documents([str(path)], rejects=rejects))
    assert [document.id for document in documents] == [str(n) for n in range(1, 16)] and rejects.total == 0
