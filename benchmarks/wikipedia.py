"""Wikipedia dumps: pages and megabytes a second, memory, and the share of cell values kept.

    python benchmarks/wikipedia.py

Generates a multistream bzip2 dump in MediaWiki's export schema with articles of prose, infoboxes and tables, reads it
through `read_wikipedia_dump`, and prints Markdown. mwparserfromhell, the usual library, does the wikitext of the same
pages in the same run, ours and it in turns, the best of three rounds each; both are also given broken markup.
"""

from __future__ import annotations

import bz2
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from reread.corpus.find import CorpusFile
from reread.corpus.rejects import Rejects
from reread.corpus.wikipedia.dump import read_wikipedia_dump
from reread.corpus.wikipedia.wikitext import wikitext_text

PAGES_PER_STREAM = 100
N_PAGES = 2_000
N_WIKITEXT_PAGES = 60
ROUNDS = 3
HOSTILE_LIMIT_S = 20
HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">
  <siteinfo><base>https://example.org/wiki/Main_Page</base></siteinfo>
"""
WRAPPERS = (
    "{}", "{}", "[[{}]]", "[[Other page|{}]]", "{{{{nowrap|{}}}}}", "'''{}'''", "{{{{flag|{}}}}}", "{{{{odd one|{}}}}}",
    "{}<ref>{{{{cite web|url=http://x.test|title=note}}}}</ref>", "{{{{lang|fr|{}}}}}", "<span class='x'>{}</span>",
    "{{{{sort|0|{}}}}}", "[http://x.test {}]", "{{{{small|{}}}}}",
)  # fmt: skip


class Page:
    """A made-up article, and the values that a reader of the page sees in its infobox and tables."""

    def __init__(self, number: int) -> None:
        self._rng = random.Random(number)
        self.values: list[str] = []
        self.wikitext = self._infobox() + self._prose(20) + self._table() + self._prose(12) + self._table()
        self.wikitext += "\n== References ==\n{{reflist}}\n[[Category:Made up]]\n"

    def _value(self) -> str:
        shown = f"{self._rng.choice('bcdfghklm')}{self._rng.randrange(10**7)}"
        self.values.append(shown)
        return self._rng.choice(WRAPPERS).format(shown)

    def _infobox(self) -> str:
        rows = "".join(f"| field_{n} = {self._value()}<br />{self._value()}\n" for n in range(12))
        return "{{Infobox settlement\n| name = N\n| image_size = 200px\n" + rows + "}}\n"

    def _prose(self, n_sentences: int) -> str:
        rng = self._rng
        sentences = [
            f"The '''{rng.choice(WORDS)}''' {rng.choice(WORDS)} of [[{rng.choice(WORDS)} page|{rng.choice(WORDS)}]] is "
            f"{{{{convert|{rng.randrange(999)}|km|mi}}}} long and {' '.join(rng.choices(WORDS, k=12))}."
            + ("<ref>{{cite book|title=A title|year=1999|isbn=1}}</ref>" if n % 3 == 0 else "")
            for n in range(n_sentences)
        ]
        return "\n== Section ==\n" + "\n\n".join(" ".join(sentences[n : n + 5]) for n in range(0, n_sentences, 5))

    def _table(self) -> str:
        rows = []
        for _ in range(12):
            glue = self._rng.choice([" || ", "\n| "])
            span = self._rng.choice(["", "", 'colspan="2" | ', "rowspan=2 | ", 'style="color:red" | '])
            rows.append(f"| {span}{self._value()}{glue}{self._value()}{glue}{self._value()}")
        caption = f"|+ {self._value()}\n|-\n! Year !! Title !! Note\n|-\n"
        return '\n{| class="wikitable sortable"\n' + caption + "\n|-\n".join(rows) + "\n|}\n"


WORDS = [
    f"{a}{b}" for a in ("ba", "ke", "lo", "mi", "nu", "sta", "tre") for b in ("n", "rd", "ling", "der", "t", "sso")
]


def page_xml(number: int, wikitext: str) -> str:
    return (
        f"  <page><title>Page {number}</title><ns>0</ns><id>{number}</id><revision><id>{number}</id>"
        f"<timestamp>2026-01-01T00:00:00Z</timestamp><model>wikitext</model><format>text/x-wiki</format>"
        f'<text xml:space="preserve">{escape(wikitext)}</text></revision></page>\n'
    )


def write_dump(path: Path, pages: list[Page], n_pages: int) -> int:
    """The dump's size in bytes before compression."""
    n_bytes = 0
    with path.open("wb") as file:

        def add(text: str) -> None:
            nonlocal n_bytes
            n_bytes += len(text.encode())
            file.write(bz2.compress(text.encode()))

        add(HEAD)
        for start in range(0, n_pages, PAGES_PER_STREAM):
            numbers = range(start, min(start + PAGES_PER_STREAM, n_pages))
            add("".join(page_xml(n, pages[n % len(pages)].wikitext) for n in numbers))
        add("</mediawiki>\n")
    return n_bytes


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def read(path: Path, skip: int = 0) -> Iterator[object]:
    return read_wikipedia_dump(CorpusFile(path.name, path), path, Rejects(), skip)


def peak_mib(path: Path) -> float:
    tracemalloc.start()
    for _ in read(path):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def dump_table(folder: Path, pages: list[Page]) -> None:
    path = folder / "dump.xml.bz2"
    n_bytes = write_dump(path, pages, N_PAGES)
    whole_s = min(seconds(lambda: sum(1 for _ in read(path))) for _ in range(ROUNDS))
    passed_s = min(seconds(lambda: sum(1 for _ in read(path, N_PAGES))) for _ in range(ROUNDS))
    peaks = []
    for n_pages in (200, 1000):
        write_dump(path, pages, n_pages)
        peaks.append(peak_mib(path))
    print(f"\nA dump of {N_PAGES:,} pages, {n_bytes / 1e6:.1f} MB of XML, one process:\n")
    print("| | pages/s | MB of XML/s |\n|---|---:|---:|")
    for name, spent_s in (("dump to documents", whole_s), ("passed over (bzip2 and XML alone)", passed_s)):
        print(f"| {name} | {N_PAGES / spent_s:,.0f} | {n_bytes / 1e6 / spent_s:.1f} |")
    print(f"\nPeak Python memory: {peaks[0]:.1f} MiB at 200 pages, {peaks[1]:.1f} MiB at 1,000.")


def wikitext_table(pages: list[Page]) -> None:
    import mwparserfromhell

    runs: dict[str, Callable[[str], object]] = {
        "reread wikitext_text": wikitext_text,
        "mwparserfromhell parse + strip_code": lambda text: mwparserfromhell.parse(text).strip_code(),
    }
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            spent_s = seconds(lambda run=run: [run(page.wikitext) for page in pages])
            best[name] = min(best.get(name, spent_s), spent_s)
    n_values = sum(len(page.values) for page in pages)
    print(f"\nThe wikitext of {len(pages)} pages ({len(pages[0].wikitext):,} characters), {n_values:,} cell values:\n")
    print("| | pages/s | cell values kept |\n|---|---:|---:|")
    for name, run in runs.items():
        kept = sum(value in text for page in pages for text in [str(run(page.wikitext))] for value in page.values)
        print(f"| {name} | {len(pages) / best[name]:,.0f} | {kept / n_values:.1%} |")


HOSTILE = {"`[[` in `{{`, never closed": "{{a|[[b|", "tables never closed": "{|\n|{|\n", "tags never closed": "<ref>"}
TIMED = {
    "ours": "from reread.corpus.wikipedia.wikitext import wikitext_text as run",
    "mwparserfromhell": "from mwparserfromhell import parse as run",
}


def hostile_table(n: int = 20_000) -> None:
    print("\nBroken markup, seconds:\n")
    print("| | characters | reread | mwparserfromhell |\n|---|---:|---:|---:|")
    for name, piece in HOSTILE.items():
        cells = []
        for start in TIMED.values():
            code = (
                f"import time\n{start}\nt = time.perf_counter()\nrun({piece!r} * {n})\nprint(time.perf_counter() - t)"
            )
            try:
                result = subprocess.run(
                    [sys.executable, "-c", code], capture_output=True, text=True, timeout=HOSTILE_LIMIT_S, check=True
                )
                cells.append(f"{float(result.stdout):.2f}")
            except subprocess.TimeoutExpired:
                cells.append(f"> {HOSTILE_LIMIT_S}")
        print(f"| {name} | {len(piece) * n:,} | {' | '.join(cells)} |")


def main() -> None:
    pages = [Page(number) for number in range(N_WIKITEXT_PAGES)]
    with tempfile.TemporaryDirectory() as folder:
        dump_table(Path(folder), pages)
    wikitext_table(pages)
    hostile_table()


if __name__ == "__main__":
    main()
