"""Lists of URLs are read whatever stands around them, and the pages that lie here are found by them."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest

from reread.corpus.rejects import Rejects
from reread.corpus.web.local_pages import LocalPage, find_pages, page_addresses
from reread.corpus.web.urls import normal_url, read_urls
from reread.errors import UsageError


def read(path: Path, content: str | bytes) -> tuple[list[str], dict[str, int]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rejects = Rejects()
    return read_urls(path, rejects), dict(rejects.counts)


def test_one_url_a_line_with_notes_and_blank_lines(tmp_path: Path) -> None:
    text = "\ufeff# notes\nhttps://a.test/x\n\nhttp://b.test/y?q=1\nhttps://a.test/x#part\n"
    assert read(tmp_path / "urls.txt", text) == (["https://a.test/x", "http://b.test/y?q=1"], {})


def test_json_lines_name_one_url_or_many(tmp_path: Path) -> None:
    rows = [{"url": "https://a.test/1"}, {"urls": ["https://a.test/2", "https://a.test/1"]}, {"id": 3}, {"urls": [7]}]
    content = gzip.compress("\n".join(json.dumps(row) for row in rows).encode() + b"\n{broken\n\xff\xfe\n")
    urls, reasons = read(tmp_path / "urls.jsonl.gz", content)
    assert urls == ["https://a.test/1", "https://a.test/2"]
    assert reasons == {"no_url": 2, "not_json": 1, "not_utf8": 1}


@pytest.mark.parametrize(
    ("entry", "urls"),
    [
        ("1. https://a.test/x", ["https://a.test/x"]),
        ("'https://a.test/x'", ["https://a.test/x"]),
        ('"https://a.test/x", https://b.test/y.', ["https://a.test/x", "https://b.test/y"]),
        ("see (https://a.test/b_(c)) and [https://a.test/d]", ["https://a.test/b_(c)", "https://a.test/d"]),
        ("chrome-extension://abc/https://a.test/x.pdf", ["https://a.test/x.pdf"]),
        ("HTTPS://A.test/x", ["HTTPS://A.test/x"]),
    ],
)
def test_urls_are_found_inside_other_text(tmp_path: Path, entry: str, urls: list[str]) -> None:
    assert read(tmp_path / "urls.txt", entry)[0] == urls


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("a sentence", "no_url"),
        ("ftp://a.test/x", "url_scheme_ftp"),
        ("mailto:a@b.test", "url_scheme_mailto"),
        ("https://user:pw@a.test/", "url_with_credentials"),
        ("https://a.test@b.test/", "url_with_credentials"),
        ("http:///x", "url_without_host"),
        ("http://[::1/", "url_malformed"),
        ("http://a.test:99999/", "url_malformed"),
        ("http://a.test/" + "x" * 5000, "url_too_long"),
    ],
)
def test_unusable_entries_are_counted_with_their_reason(tmp_path: Path, entry: str, reason: str) -> None:
    assert read(tmp_path / "urls.txt", f"https://a.test/\n{entry}\n") == (["https://a.test/"], {reason: 1})


def test_a_list_without_urls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no usable URL in 1 lines \(1 × no_url\)"):
        read(tmp_path / "urls.txt", "nothing\n")
    with pytest.raises(UsageError, match="is no file"):
        read_urls(tmp_path / "missing", Rejects())


SAME = [
    ("http://a.test/x", "https://a.test/x"),
    ("https://A.Test:443/x/", "https://a.test/x"),
    ("https://a.test", "https://a.test/"),
    ("https://a.test/x#:~:text=y", "https://a.test/x"),
    ("https://a.test/caf%C3%A9", "https://a.test/café"),
    ("https://a.test/caf%c3%a9", "https://a.test/caf%C3%A9"),
    ("https://a.test/%41", "https://a.test/A"),
    ("https://a.test/Shun%27ichi", "https://a.test/Shun'ichi"),
    ("https://bücher.test/", "https://xn--bcher-kva.test/"),
    ("https://a.test./x?", "https://a.test/x"),
]
DIFFERENT = [
    ("https://a.test/x", "https://a.test/X"),
    ("https://a.test/a%2Fb", "https://a.test/a/b"),
    ("https://a.test/?a=1", "https://a.test/?a=2"),
    ("https://a.test:8080/", "https://a.test/"),
    ("https://a.test/%25", "https://a.test/%"),
    ("https://a.test/a%3Fb", "https://a.test/a?b"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_urls_of_one_page_are_equal(one: str, other: str) -> None:
    assert normal_url(one) == normal_url(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_urls_of_two_pages_differ(one: str, other: str) -> None:
    assert normal_url(one) != normal_url(other)


@pytest.mark.parametrize("url", [url for pair in (*SAME, *DIFFERENT) for url in pair])
def test_the_normal_form_is_its_own(url: str) -> None:
    assert normal_url(f"https://{normal_url(url)}") == normal_url(url)


@pytest.mark.realdata
def test_the_simpleqa_links_are_read(realdata: Path) -> None:
    rejects = Rejects()
    urls = read_urls(realdata / "benchmarks" / "simpleqa_test.jsonl.gz", rejects)
    assert len(urls) == 11_214
    assert dict(rejects.counts) == {"no_url": 26}
    assert len({normal_url(url) for url in urls}) == len(urls)
    assert not [url for url in urls if any(mark in url for mark in ' \n"<>') or not url.lower().startswith("http")]


# Pages that lie here.


def found(urls: list[str], corpus: Path) -> tuple[dict[str, LocalPage], dict[str, int]]:
    rejects = Rejects()
    return {page.url: page for page in find_pages(urls, [str(corpus)], rejects)}, dict(rejects.counts)


@pytest.mark.parametrize(
    "head",
    [
        '<link rel="canonical" href="https://a.test/wiki/It%27s">',
        "<LINK href='https://a.test/wiki/It%27s' REL='nofollow canonical'>",
        "<link href=//a.test/wiki/It's rel=canonical>",
        '<meta property="og:url" content="https://a.test/wiki/It\'s/">',
        "<!-- saved from url=(0029)https://a.test/wiki/It%27s -->",
        "<!--\n Page saved with SingleFile \n url: https://a.test/wiki/It%27s \n saved date: x -->",
    ],
)
def test_a_saved_page_is_found_by_the_address_it_gives(tmp_path: Path, head: str) -> None:
    (tmp_path / "other.html").write_text("<html><link rel=canonical href=https://a.test/else>else")
    (tmp_path / "page.html").write_text(f"<!doctype html><html><head>{head}</head>text")
    url = "http://a.test/wiki/It's#x"
    pages, reasons = found([url], tmp_path)
    assert pages[url].source == "page.html" and b"text" in pages[url].content and reasons == {}


@pytest.mark.parametrize("name", ["a.test/b/c.html", "a.test/b/c/index.html", "a.test/b/c"])
def test_a_mirrors_page_is_found_by_its_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mirror" / name
    path.parent.mkdir(parents=True)
    path.write_text("<html>text")
    assert "https://a.test/b/c" in found(["https://a.test/b/c"], tmp_path / "mirror")[0]


def test_pages_are_found_in_warc_files_whatever_their_encoding(tmp_path: Path) -> None:
    content = io.BytesIO()
    responses = [
        ("https://a.test/1", "200 OK", "Content-Encoding: gzip\r\n", gzip.compress(b"<p>one")),
        ("https://a.test/2", "404 Not Found", "", b"<p>gone"),
        ("https://a.test/3/", "200 OK", "Transfer-Encoding: chunked\r\n", b"3\r\n<p>\r\n5\r\nthree\r\n0\r\n\r\n"),
    ]
    for url, status, header, body in responses:
        block = f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=latin-1\r\n{header}\r\n".encode() + body
        head = (
            f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nContent-Type: application/http\r\n"
            f"Content-Length: {len(block)}\r\n\r\n"
        )
        content.write(gzip.compress(head.encode() + block + b"\r\n\r\n"))
    (tmp_path / "a.warc.gz").write_bytes(content.getvalue())
    urls = [url.rstrip("/") for url, *_ in responses]
    pages, reasons = found(urls, tmp_path)
    assert {url: page.content for url, page in pages.items()} == {urls[0]: b"<p>one", urls[2]: b"<p>three"}
    assert pages[urls[0]].encoding == "iso8859-1" and reasons == {"not_in_corpus": 1}


def test_what_is_no_page_is_not_found_as_one(tmp_path: Path) -> None:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n%PDF-1.4 \xff\xfe"
    head = "WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: https://a.test/1\r\nContent-Type: application/http\r\n"
    (tmp_path / "a.warc").write_bytes(head.encode() + b"Content-Length: %d\r\n\r\n" % len(block) + block + b"\r\n\r\n")
    assert found(["https://a.test/1"], tmp_path) == ({}, {"not_in_corpus": 1})


def test_the_first_page_of_a_url_is_taken_and_each_once(tmp_path: Path) -> None:
    rows = [{"url": "https://a.test/x", "html": "<p>first"}, {"url": "http://a.test/x/", "html": "<p>second"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"url": "https://a.test/y"}, 3])))
    pages, reasons = found(["https://a.test/x", "https://a.test/x#z", "https://a.test/y"], tmp_path)
    assert {url: page.content for url, page in pages.items()} == {"https://a.test/x": b"<p>first"}
    assert reasons == {"not_in_corpus": 1}


def test_a_tag_of_one_long_name_is_read_once() -> None:
    assert page_addresses((b"<link " + b"a" * 4000 + b">") * 60 + b"<link rel=canonical href=https://a.test/>") == [
        "https://a.test/"
    ]


def test_addresses_far_into_a_page_or_broken_are_none() -> None:
    assert page_addresses(b"<html>" + b"x" * 300_000 + b"<link rel=canonical href=https://a.test/>") == []
    assert page_addresses(b'<link rel=canonical><link rel="canonical" href="/relative"><meta property=og:url>') == []


@pytest.mark.realdata
def test_the_real_wikipedia_pages_are_found_by_their_links(realdata: Path) -> None:
    path = realdata / "extraction" / "wikipedia_html.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        urls = [url for line in file if (url := json.loads(line)["url"])]
    pages, reasons = found([url.replace("https:", "http:") + "#x" for url in urls], path)
    assert len(pages) == len({normal_url(url) for url in urls}) >= 3 and reasons == {}
