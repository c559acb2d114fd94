"""Wikitext becomes what a reader of the page sees, in time linear in its length."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reread.corpus.wikipedia.wikitext import wikitext_text

CASES = {
    "links leave their labels": (
        "[[Ada]] and [[Bob (poet)|Bob]]s at [http://a.b the site] [http://a.b]",
        "Ada and Bobs at the site",
    ),
    "bold and italics": ("'''Ada''' is ''not'' '''''here'''''.", "Ada is not here."),
    "references and comments go": ('A<ref name="x">r {{cite web|url=u}}</ref><ref name="y" /><!-- c --> b.', "A b."),
    "an open comment reaches to the end": ("a <!-- b", "a"),
    "categories go": ("x [[Category:C|key]] [[:Category:D|d]]", "x d"),
    "captions stay": ("[[File:a.jpg|thumb|left|200px|alt=z|A [[big|small]] cat]]\nText", "A small cat\n\nText"),
    "inline pictures go": ("a [[File:a.svg|20px]] b", "a b"),
    "galleries leave captions": ("<gallery>\nFile:a.jpg|One [[p|two]]\nb.jpg\n</gallery>", "- One two"),
    "formulas stay as TeX": (
        r"so <math display='block'>\frac{a}{b} &lt; [[c]]</math> and",
        r"so $\frac{a}{b} < [[c]]$ and",
    ),
    "code stays as it is": (
        "<syntaxhighlight lang=c>\nif (a[[0]]) {{ x }}\n* p;\n</syntaxhighlight>",
        "if (a[[0]]) {{ x }}\n* p;",
    ),
    "nowiki stays as it is": ("a <nowiki>[[b]] '''c''' {{d}}</nowiki> e<nowiki/>", "a [[b]] '''c''' {{d}} e"),
    "entities": ("a&nbsp;&ndash; b &lt;ref&gt; &#91;", "a – b <ref> ["),
    "superscripts that are exponents": (
        "10<sup>6</sup> m<sup>2</sup>, 1<sup>st</sup>, H<sub>2</sub>O",
        "10^6 m^2, 1st, H2O",
    ),
    "lists": ("* a\n** b\n# c\n# d\n; t : u\n: v", "- a\n  - b\n1. c\n2. d\nt: u\nv"),
    "headings": ("a\n== B ==\nc\n=== D ===\ne", "a\n\nB\n\nc\n\nD\n\ne"),
    "headings with nothing below go": ("a\n== B ==\n=== C ===\n{{reflist}}\n== D ==\nd\n== E ==", "a\n\nD\n\nd"),
    "maintenance and unknown templates go in prose": ("a{{citation needed|date=May 2020}} {{Some box|x|y=z}}b", "a b"),
    "nested templates": ("{{nowrap|{{lang|fr|[[a|b]] {{small|c}}}}}}", "b c"),
    "conversions": (
        "{{convert|10|to|20|km|mi}}, {{cvt|5|ft|11|in|m|2}}, {{convert|1.5|e6acre|km2|0}}",
        "10 to 20 km, 5 ft 11 in, 1.5 e6acre",
    ),
    "languages": ("{{lang|de|Wort}} {{langx|fr|mot}} {{lang-es|palabra}}", "Wort mot palabra"),
    "dates": (
        "{{birth date|1900|5|1}} {{birth date and age|df=yes|1900|05|01}} {{start date|2001|2}}",
        "May 1, 1900 1 May 1900 February 2001",
    ),
    "ages at death": ("{{death date and age|1980|4|30|1900|5|1}}", "April 30, 1980 (aged 79)"),
    "fractions and values": (
        "{{frac|1|2}} {{sfrac|3|4}} {{frac|2|1|2}} {{val|1.5|(2)|e=6|u=m}}",
        "1/2 3/4 2 1/2 1.5(2)×10^6 m",
    ),
    "coordinates": ("{{coord|57|18|N|4|27|W|type:city}} {{coord|44.5|-87.9}}", "57°18′N 4°27′W 44.5°N 87.9°W"),
    "small things": (
        "{{circa|1900}} {{URL|https://a.org/}} {{snd}} {{chem|H|2|O}} {{US$|5}}",
        "c. 1900 a.org – H2O US$5",
    ),
    "flags": ("{{flag|Chile}} {{flagicon|PER}} Peru", "Chile Peru"),
    "numbered arguments": ("{{nowrap|1=a=b}}", "a=b"),
    "switches": ("__NOTOC__a__TOC__", "a"),
    "unclosed brackets are text": ("a {{b [[c d\n\ne", "a b c d\n\ne"),
    "stray closers go": ("a }} b ]] c", "a b c"),
    "a link left open inside a template": ("{{nowrap|a [[b}} c", "a b c"),
    "tags of HTML": ("<div class='x'>a</div><span>b</span> x < y and <nosuch>", "a\nb x < y and <nosuch>"),
    "tables of HTML": ("<table><tr><td>a</td><td>b</td></tr></table>", "| a | b"),
}


@pytest.mark.parametrize("name", CASES)
def test_markup_becomes_what_the_page_shows(name: str) -> None:
    wikitext, text = CASES[name]
    assert wikitext_text(wikitext) == text


def test_a_table_becomes_rows_with_its_caption_and_spans() -> None:
    wikitext = """{| class="wikitable sortable" style="x"
|+ style="y" | The ''caption''
! scope="col" | Year !! Title !! data-sort-value="1" | Notes
|-
| rowspan="2" align=center | 1920 || [[A|The A]] || {{yes}}
|-
| B<br />C
| {{unknown unit|2,100}} [[D|x|y]]
|- style="z"
| colspan=2 | wide || last
|}"""
    assert wikitext_text(wikitext).splitlines() == [
        "The caption",
        "| Year | Title | Notes |",
        "| 1920 | The A | Yes |",
        "| 1920 | B, C | 2,100 x y |",
        "| wide |  | last |",
    ]


def test_a_table_in_a_cell_is_part_of_its_text_and_an_open_one_ends_with_the_page() -> None:
    assert wikitext_text("{|\n| a\n|\n{|\n| b || c\n|-\n| d\n|}\n|}\nend") == "| a | b, c, d |\n\nend"
    assert wikitext_text("x\n{|\n| a || b\n|-\n| c || d") == "x\n\n| a | b |\n| c | d |"


def test_a_table_written_through_template_marks_is_a_table() -> None:
    assert wikitext_text("{{(!}}\n{{!}} a {{!!}} b\n{{!-}}\n{{!}} c {{!!}} d\n{{!)}}") == "| a | b |\n| c | d |"


def test_a_list_mark_or_heading_in_a_cell_stays_in_its_row() -> None:
    assert wikitext_text("{|\n| #1\n|-\n| == x ==\n|-\n| * y || z\n|}") == "#1\n== x ==\n| y | z |"


def test_an_infobox_becomes_labelled_rows() -> None:
    wikitext = """{{Infobox person
| name         = Ada [[Brown (name)|Brown]]
| image        = a.jpg
| image_size   = 200px
| caption      = Ada in 1925
| birth_date   = {{birth date and age|df=y|1900|5|1}}
| birth_place  = [[Paris]], {{flagicon|FRA}} France
| occupation   = {{plainlist|
* [[Writer]]
* Singer
}}
| spouse       = {{marriage|[[Bob]]|1920|1930}}<br />Carl
| height_m     = {{height|m=1.8}}
| children     =
| module       = {{Infobox sportsperson|embed=yes|sport=Chess|club=A=B|rank={{odd rank|3rd|5}}}}
| website      = {{URL|example.org}}
}}
Ada."""
    assert wikitext_text(wikitext).splitlines() == [
        "Ada Brown",
        "Caption: Ada in 1925",
        "Born: 1 May 1900, Paris, France",
        "Occupation: Writer, Singer",
        "Spouse: Bob (married 1920–1930), Carl",
        "Height m: 1.8 m",
        "Module: Sport: Chess, Club: A=B, Rank: 3rd 5",
        "Website: example.org",
        "",
        "Ada.",
    ]


def test_a_plain_infobox_takes_its_labels_from_its_numbers() -> None:
    wikitext = "{{Infobox|title=T|header1=H|label2=L {{small|x}}|data2=[[D]]|data3=E|label4=none|data4=}}"
    assert wikitext_text(wikitext).splitlines() == ["T", "H", "L x: D", "E"]


def generated_page(rng: random.Random, n_fields: int = 20, n_rows: int = 30) -> tuple[str, list[str]]:
    """A page of an infobox and tables with the values that a reader sees in them."""
    values: list[str] = []

    def value() -> str:
        shown = f"{rng.choice('bcdfghklm')}{rng.randrange(10**6)}"
        values.append(shown)
        wrapped = (
            "{}",
            "[[{}]]",
            "[[Other|{}]]",
            "{{{{nowrap|{}}}}}",
            "'''{}'''",
            "{{{{flag|{}}}}}",
            "{{{{odd one|{}}}}}",
            "{}<ref>note</ref>",
            "{{{{lang|fr|{}}}}}",
            "<span style='x'>{}</span>",
            "{{{{sort|0|{}}}}}",
            "[http://x {}]",
        )
        return rng.choice(wrapped).format(shown)

    box = "\n".join(f"| field_{n} = {value()}{'<br>' + value() if n % 3 == 0 else ''}" for n in range(n_fields))
    text = "{{Infobox settlement\n| name = N\n" + box + "\n}}\nIntro.\n"
    for _ in range(3):
        rows = []
        for _ in range(n_rows):
            mark = rng.choice(["|", "|", "!"])
            glue = rng.choice([f" {mark}{mark} ", f"\n{mark} "])
            spans = rng.choice(["", "", 'colspan="2" | ', "rowspan=2 | ", 'style="color:red" | '])
            rows.append(f"{mark} {spans}{value()}{glue}{value()}{glue}{value()}")
        text += '{| class="wikitable"\n|+ ' + value() + "\n|-\n" + "\n|-\n".join(rows) + "\n|}\n"
    return text, values


def test_every_value_of_infoboxes_and_tables_is_kept() -> None:
    for seed in range(5):
        wikitext, values = generated_page(random.Random(seed))
        rows = [line for line in wikitext_text(wikitext).splitlines() if line]
        text = "\n".join(rows)
        kept = [value for value in values if value in text]
        assert len(kept) == len(values) > 250
        assert not [row for row in rows if any(mark in row for mark in ("[[", "{{", "''", "<", "colspan"))]


MARKUP = (
    "{{",
    "}}",
    "[[",
    "]]",
    "|",
    "\n{|\n",
    "\n|}\n",
    "\n|-\n",
    "\n| ",
    "!!",
    "||",
    "=",
    "==",
    "'''",
    "<ref>",
    "</ref>",
    "<math>",
    "</math>",
    "<br>",
    "<div ",
    "\n* ",
    "\n# ",
    "infobox",
    "File:",
    "thumb",
    "a",
    "b c",
    "[http://x ",
    "]",
    "&amp;",
    "<!--",
    "-->",
    "rowspan=9 ",
    "\ue000",
    "1\ue001",
    "{{!}}",
    "convert",
    "1",
    "coord",
    "N",
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(MARKUP), max_size=60))
def test_any_soup_of_markup_becomes_text(pieces: list[str]) -> None:
    text = wikitext_text("".join(pieces))
    assert text == text.strip() and not any("\ue000" <= char <= "\ue00f" for char in text)


HOSTILE = {
    "templates": "{{",
    "links": "[[",
    "both": "{{a|[[b|",
    "tables": "{|\n|{|\n",
    "tags": "<b><ref><math>",
    "attributes": '<b a="',
    "open references": "<ref ",
    "external links": "[http://a ",
    "comments": "<!--",
    "arguments": "{{a|{{{b|",
    "infoboxes": "{{infobox|a=",
    "spans": "\n{|\n|rowspan=200 colspan=200|a||b",
    "quotes": "'''''a''",
    "spaces": " ",
    "digits": "[[File:x|" + "1" * 500,
    "equals": "==",
    "indents": ":*#",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_work_grows_with_length_alone_on_hostile_markup(name: str) -> None:
    """Counted in function calls, which no other load on the machine changes; and its output stays in proportion."""
    import cProfile
    import pstats

    def calls(n: int) -> int:
        profile = cProfile.Profile()
        text = profile.runcall(wikitext_text, HOSTILE[name] * n)
        assert len(text) <= 8 * len(HOSTILE[name]) * n + 20_000
        return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]

    assert calls(4000) <= 6 * calls(1000) + 1000


@pytest.mark.parametrize(
    ("before", "unit", "behind", "shown"),
    [
        ("[http:", "a", "", "[http:aaaa"),
        ("{{infobox x|", "map_", "\nz = word}}", "word"),
        ("{|\n|-\n| colspan=", "  ", "| word\n|}", "word"),
        ("{{convert|", "1|to|", "2|km}}", "1 to 1 to 1"),
    ],
    ids=["address", "field name", "blanks", "amounts"],
)
def test_a_run_of_one_unit_is_read_once(before: str, unit: str, behind: str, shown: str) -> None:
    """No count of calls sees what a pattern tries again and again: read anew from each place, this takes minutes."""
    assert shown in wikitext_text(before + unit * 60_000 + behind)


def test_templates_nested_too_deep_are_read_without_recursion() -> None:
    text = wikitext_text("{{nowrap|" * 5000 + "deep" + "}}" * 5000 + " after")
    assert "after" in text


def test_whole_templates_and_links_are_read_as_mwparserfromhell_reads_them() -> None:
    mwparserfromhell = pytest.importorskip("mwparserfromhell")
    rng = random.Random(7)

    def markup(depth: int) -> str:
        kind = rng.randrange(5) if depth else 0
        if kind in (0, 1):
            return rng.choice(["word", "two words", "Ünï", "1920"])
        if kind == 2:
            return "[[" + rng.choice(["Page", "Page (x)"]) + "|" + markup(0) + "]]"
        if kind == 3:
            return "{{nowrap|" + markup(depth - 1) + " and " + markup(depth - 1) + "}}"
        return "{{lang|fr|" + markup(depth - 1) + "}}"

    def rival(node: object) -> str:
        shown = ""
        for child in mwparserfromhell.parse(str(node)).nodes:
            if type(child).__name__ == "Template":
                shown += rival(child.params[-1].value)
            elif type(child).__name__ == "Wikilink":
                shown += rival(child.text)
            else:
                shown += str(child)
        return shown

    for _ in range(300):
        wikitext = " ".join(markup(4) for _ in range(4))
        assert wikitext_text(wikitext) == rival(wikitext)


def test_the_same_page_gives_the_same_text_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    wikitext, _ = generated_page(random.Random(1))
    before = wikitext_text(wikitext)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert wikitext_text(wikitext) == before
