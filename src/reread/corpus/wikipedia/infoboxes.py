"""Wikipedia's boxes of facts as labelled rows."""

from __future__ import annotations

import re

from reread.corpus.wikipedia.templates import Arguments, one_line, split_names

INFOBOXES = frozenset(
    split_names(
        """
        taxobox | speciesbox | automatic taxobox | subspeciesbox | chembox | drugbox | geobox | protein | gnf
        protein box | starbox begin | starbox character | starbox astrometry | starbox detail | planetbox begin |
        mycomorphbox | enzyme | elementbox | hybridbox | virusbox | ichnobox | oobox | medal count | football squad
        player | fs player | nat fs g player | track listing | tracklist | historical populations | us census
        population | weather box | election box candidate with party link | football box | footballbox | single
        chart | album chart | certification table entry | episode list | episode list/sublist | music ratings |
        album ratings | video game reviews | medaltemplates
        """
    )
)
"""Templates besides those named infobox whose named arguments are what a reader sees."""
_PRESENTATION = re.compile(
    r"(?:.*[_ -])?(?:image|img|photo|logo|picture|flag|seal|coat|map|shield|emblem|icon|cover|poster)"
    r"(?:\d*|[_ -](?:file|name|upright))$"
    r"|.*(?:_size|size|width|height_px|_alt|_upright|color|colour|style|class|_map|mapframe.*|map_.*|pushpin.*"
    r"|marker.*|zoom|bgcolor|_link)\d*$"
    r"|alt\d*|upright|ref\d*|refs|references|label_position|embed|embedded|nocat|demo|autoheaders|italic title"
    r"|collapsed|collapsible|state|decat|fetchwikidata|onlysourced|noicon|child|signature|sound|audio.*|parens|df|mf"
    r"|name_lang|native_name_lang|short_description|coordinates_(?:ref|footnotes|type|display|region)"
    r"|(?:.*_)?footnotes?|.*_ref|subbox|templatestyles|suppressfields",
    re.IGNORECASE,
)
MAX_FIELD_CHARS = 100
"""A longer name is no field's, but a value with an equals sign or broken markup."""
MERGED = {
    "birth_name": "Born", "birth_date": "Born", "birth_place": "Born", "death_date": "Died", "death_place": "Died",
    "death_cause": "Cause of death", "resting_place": "Resting place",
}  # fmt: skip
"""Fields that the boxes for people show in one row."""
TITLE_FIELDS = ("name", "title", "above", "official_name", "conventional_long_name", "common_name", "taxon", "headline")


def is_infobox(name: str) -> bool:
    """Whether a template (template_name) is a box of facts whose named arguments are shown."""
    return name.startswith(("infobox", "geobox")) or name.endswith(" infobox") or name in INFOBOXES


def render_infobox(arguments: Arguments) -> str:
    """The box as lines: its title, then `Label: value` for every filled field that is not about its looks."""
    rows: dict[str, list[str]] = {}
    title = ""
    numbered = {key: value for key, value in arguments.named.items() if value}
    for key, value in numbered.items():
        field_name = key.strip().lower()
        if field_name in TITLE_FIELDS and not title:
            title = one_line(value)
            continue
        is_named = len(field_name) <= MAX_FIELD_CHARS
        if is_named and (_PRESENTATION.fullmatch(field_name) or re.fullmatch(r"label\d+", field_name)):
            continue
        number = re.fullmatch(r"(data|header)(\d+)", field_name)
        if number:
            label = numbered.get(f"label{number.group(2)}", "") if number.group(1) == "data" else ""
        else:
            label = MERGED.get(field_name) or _label(field_name)
        rows.setdefault(one_line(label) or f"\n{len(rows)}", []).append(one_line(value))
    lines = [title] if title else []
    for label, values in rows.items():
        shown = ", ".join(filter(None, values))
        if shown:
            lines.append(shown if label.startswith("\n") else f"{label}: {shown}")
    lines.extend(one_line(value) for value in arguments.positional if "\n" in value and value.strip())
    return "\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def _label(key: str) -> str:
    words = key.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
