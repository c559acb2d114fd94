"""What Wikipedia's common templates write.

Templates are programs of the wiki; a dump holds only their calls. Those that articles use most to write text inside
sentences, infoboxes and tables are written out here as their documentation says they show; ages, which depend on the
day of reading, are left out.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

BREAK = "\ue004"
"""A line break inside a value; the private use area is free of the page's own characters when templates are read."""
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arguments:
    """A template's arguments, already text: positional in order, named by name; edges trimmed."""

    positional: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)

    def get(self, *keys: str | int) -> str:
        """The first that is not empty, by name or by place from 1."""
        for key in keys:
            if isinstance(key, int) and key <= len(self.positional) and self.positional[key - 1]:
                return self.positional[key - 1]
            if self.named.get(str(key)):
                return self.named[str(key)]
        return ""

    @property
    def filled(self) -> list[str]:
        """The positional arguments that are not empty, and those numbered by hand (1=...)."""
        numbered = [self.named[key] for key in sorted((k for k in self.named if k.isdecimal() and len(k) < 4), key=int)]
        return [value for value in (*self.positional, *numbered) if value]


def template_name(text: str) -> str:
    """The name as MediaWiki compares it: no namespace, spaces for underscores, first letter small, as all here."""
    name = " ".join(text.replace("_", " ").split()).lower()
    return name.removeprefix("template:").removeprefix("subst:").strip()


def render_template(name: str, arguments: Arguments, *, is_value: bool) -> str:
    """What the template shows, "" where it shows nothing that is text.

    is_value: whether it stands in an infobox or a table; there the positional arguments of a template not known here
    are kept (`2,100` of an odd unit template), while in prose they would read as noise.
    """
    write = WRITERS.get(name)
    if write is not None:
        return write(arguments)
    for prefix in DROPPED_PREFIXES:
        if name.startswith(prefix):
            return ""
    if name.startswith(("lang-", "langx-", "transl-")):
        return arguments.get(1)
    if name.startswith("formatnum:"):
        return name.removeprefix("formatnum:").strip()
    if not is_value or name in DROPPED or ":" in name or name.startswith("{"):
        return ""
    return " ".join(value for value in arguments.filled if _is_readable(value))


def _is_readable(value: str) -> bool:
    return any(char.isalnum() for char in value) and not re.fullmatch(
        r"\d+(?:\.\d+)?(?:px|em|%)|#[0-9a-fA-F]{3,6}|[a-z-]+:[^ ].*;?", value
    )


def _first(arguments: Arguments) -> str:
    return arguments.get(1, "content")


def _last(arguments: Arguments) -> str:
    return next((value for value in reversed(arguments.filled)), "")


def _second(arguments: Arguments) -> str:
    return arguments.get(2, 1)


def _constant(text: str) -> Callable[[Arguments], str]:
    return lambda _: text


def _or_first(text: str) -> Callable[[Arguments], str]:
    return lambda arguments: arguments.get(1) or text


def _before(mark: str) -> Callable[[Arguments], str]:
    return lambda arguments: f"{mark}{arguments.get(1)}" if arguments.get(1) else mark


def _joined(arguments: Arguments) -> str:
    return BREAK.join(arguments.filled)


def _comma_list(arguments: Arguments) -> str:
    return ", ".join(value.replace(BREAK, " ") for value in arguments.filled)


def _bullets(arguments: Arguments) -> str:
    return "".join(f"\n* {value}" for value in arguments.filled)


def _block(arguments: Arguments) -> str:
    value = arguments.get(1, "content", "list")
    return f"\n{value}\n" if value else ""


def _quote(arguments: Arguments) -> str:
    said = " ".join(filter(None, (arguments.get(2, "author", "sign"), arguments.get(3, "source"))))
    return "\n\n" + arguments.get(1, "quote") + (f"{BREAK}— {said}" if said else "") + "\n\n"


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) <= 4 else None


def _date(year: str, month: str, day: str, *, day_first: bool) -> str:
    """As Wikipedia writes it: May 1, 1900, or 1 May 1900 where the template asks for it (df=)."""
    number = _number(month)
    named = MONTHS[number - 1] if number is not None and 1 <= number <= 12 else month
    if not named:
        return year
    if not day:
        return f"{named} {year}".strip()
    day = day.lstrip("0") or day
    return f"{day} {named} {year}".strip() if day_first else (f"{named} {day}, {year}" if year else f"{named} {day}")


def _day_first(arguments: Arguments) -> bool:
    return arguments.get("df").lower() in ("y", "yes", "true", "1")


def _date_of_first_three(arguments: Arguments) -> str:
    first = arguments.get(1)
    if first and _number(first) is None:
        return first
    return _date(first, arguments.get(2), arguments.get(3), day_first=_day_first(arguments))


def _death_date_and_age(arguments: Arguments) -> str:
    date = _date_of_first_three(arguments)
    values = [_number(value) for value in arguments.positional[:6]]
    if len(values) == 6 and None not in values:
        year, month, day, born, born_month, born_day = (value or 0 for value in values)
        return f"{date} (aged {year - born - ((month, day) < (born_month, born_day))})"
    return date


def _death_year_and_age(arguments: Arguments) -> str:
    died, born = _number(arguments.get(1)), _number(arguments.get(2))
    if died is None or born is None:
        return arguments.get(1)
    return f"{died} (aged {died - born - 1}–{died - born})"


def _film_date(arguments: Arguments) -> str:
    shown = []
    for start in range(0, len(arguments.positional), 4):
        year, month, day, place = (*arguments.positional[start : start + 4], "", "", "", "")[:4]
        date = _date(year, month, day, day_first=_day_first(arguments))
        if date:
            shown.append(f"{date} ({place})" if place else date)
    return BREAK.join(shown)


def _as_of(arguments: Arguments) -> str:
    date = _date(arguments.get(1), arguments.get(2), arguments.get(3), day_first=True)
    return f"{'as' if arguments.get('lc') else 'As'} of {date}"


RANGE_WORDS = {
    "-": "–", "–": "–", "to": " to ", "and": " and ", "or": " or ", "x": " × ", "×": " × ", "by": " by ", "+/-": " ± ",
    "±": " ± ", "to(-)": " to ", "and(-)": " and ", "&": " & ", "*": " × ",
}  # fmt: skip


SMALLER_UNITS = frozenset(("in", "ft", "yd", "oz", "lb", "m", "cm", "mi", "ch", "min", "s", "d", "pt"))


def _convert(arguments: Arguments) -> str:
    """{{convert|5|to|7|km|mi}}: the quantity as the article gives it, not its conversion."""
    shown = ""
    values = deque(arguments.positional)
    while values:
        shown += values.popleft()
        if values and values[0] in RANGE_WORDS:
            shown += RANGE_WORDS[values.popleft()]
            continue
        if values:
            shown += f" {values.popleft()}"
        # {{convert|5|ft|11|in|m}}: a second amount, of a smaller unit.
        if len(values) >= 2 and values[0][:1].isdecimal() and values[1] in SMALLER_UNITS:
            shown += " "
            continue
        break
    return shown


def _fraction(arguments: Arguments) -> str:
    parts = arguments.filled
    if len(parts) == 1:
        return f"1/{parts[0]}"
    return "/".join(parts) if len(parts) == 2 else " ".join((parts[0], "/".join(parts[1:3]))) if parts else ""


def _value(arguments: Arguments) -> str:
    """{{val|1.23|(5)|e=6|u=m/s}}"""
    shown = arguments.get(1)
    if arguments.get(2):
        shown += arguments.get(2) if arguments.get(2).startswith("(") else f"±{arguments.get(2).lstrip('±')}"
    if arguments.get("e"):
        shown += f"×10^{arguments.get('e')}"
    unit = arguments.get("ul", "u")
    return f"{arguments.get('p')}{shown} {unit}".strip() if unit else f"{arguments.get('p')}{shown}{arguments.get('s')}"


def _chemistry(arguments: Arguments) -> str:
    return "".join(arguments.positional)


def _coordinates(arguments: Arguments) -> str:
    """{{coord|57|18|22|N|4|27|32|W|...}} and {{coord|44.1|-87.9|...}}."""
    values = [value for value in arguments.positional if value and ":" not in value]
    halves: list[list[str]] = [[]]
    for value in values:
        if value.upper() in ("N", "S", "E", "W"):
            halves[-1].append(value.upper())
            if len(halves) == 2:
                break
            halves.append([])
        elif re.fullmatch(r"[-+−]?\d+(?:\.\d+)?", value):
            halves[-1].append(value)
    if len(halves) == 2 and len(halves[0]) > 1 and len(halves[1]) > 1:
        return " ".join(
            "".join(f"{n}{mark}" for n, mark in zip(half[:-1], "°′″", strict=False)) + half[-1] for half in halves
        )
    if len(halves[0]) >= 2:
        latitude, longitude = (value.replace("−", "-") for value in halves[0][:2])
        return (
            f"{latitude.lstrip('+-')}°{'S' if latitude.startswith('-') else 'N'} "
            f"{longitude.lstrip('+-')}°{'W' if longitude.startswith('-') else 'E'}"
        )
    return ""


def _url(arguments: Arguments) -> str:
    return arguments.get(2) or re.sub(r"^https?://", "", arguments.get(1)).rstrip("/")


def _name(arguments: Arguments) -> str:
    return " ".join(filter(None, (arguments.get(1, "first"), arguments.get(2, "last"))))


def _nihongo(arguments: Arguments) -> str:
    rest = ", ".join(filter(None, (arguments.get(2), arguments.get(3), arguments.get(4))))
    return f"{arguments.get(1)} ({rest})" if arguments.get(1) and rest else arguments.get(1) or rest


def _many_scripts(arguments: Arguments) -> str:
    return ", ".join(dict.fromkeys((*arguments.filled, *(v for k, v in arguments.named.items() if k in SCRIPTS and v))))


SCRIPTS = ("t", "s", "c", "p", "hangul", "hanja", "rr", "l", "w", "j", "y", "hp", "first")


def _marriage(arguments: Arguments) -> str:
    years = "–".join(filter(None, (arguments.get(2), arguments.get(3, "end"))))
    return f"{arguments.get(1)} (married {years})" if years else arguments.get(1)


def _height(arguments: Arguments) -> str:
    units = ("m", "cm", "ft", "in")
    return " ".join(f"{arguments.get(unit)} {unit}" for unit in units if arguments.get(unit))


def _rating(arguments: Arguments) -> str:
    return f"{arguments.get(1)}/{arguments.get(2)}" if arguments.get(2) else arguments.get(1)


def _circa(arguments: Arguments) -> str:
    return "–".join(f"c. {value}" for value in arguments.filled[:2]) or "c."


def _reign(arguments: Arguments) -> str:
    return "r. " + "–".join(arguments.filled[:2])


WRITERS: dict[str, Callable[[Arguments], str]] = {}


def split_names(names: str) -> list[str]:
    """Names written in one string, with bars between them."""
    return [" ".join(name.split()) for name in names.split("|")]


def _register(write: Callable[[Arguments], str], names: str) -> None:
    for name in split_names(names):
        WRITERS[name] = write


_register(
    _first,
    """
    nowrap | nobr | nowraplinks | small | smaller | big | larger | large | nobold | math | mvar | var | sc |
    smallcaps | smallcaps all | abbr | abbrlink | tooltip | vanchor | visible anchor | linktext | ill |
    interlanguage link | center | centre | native name list | flag | flagu | flagcountry | flagdeco | flag country |
    flagathlete | flagcu | fb | fbw | fb-rt | cr | cr-rt | ru | ih | flagioc | flagiocmedalist | birth-date |
    birth-date and age | death-date | death-date and age | start-date | end-date | birth year and age | birth based
    on age as of date | strong | em | strike | sub | overline | underline | italic | bold | ' | code | samp | kbd |
    tt | mono | monospace | tmath | as written | not a typo | sic | proper name | nts | ntsh | number | formatnum |
    format number | age | lino | angbr | angle bracket | script | unicode | transl | party name with color | iata |
    allow wrap | normal | no italic | no bold | avoid wrap | midsize | notatypo | font
    """,
)
_register(
    _second,
    """
    lang | langx | rtl-lang | native name | native phrase | color | colour | font color | fontcolor | resize | font
    size | sort | hs | transliteration | tlit | script/hebrew | diff | wikt-lang | legend | color box | colorbox |
    legend0 | bg | background color
    """,
)
_register(_last, "ipa | ipa-all | audio")
_register(
    _date_of_first_three,
    """
    birth date | birth date and age | dob | bda | death date | start date | end date | start date and age | date |
    dts | birth date and age2 | release date | launch date | opening date | end date and age
    """,
)
_register(_death_date_and_age, "death date and age | dda")
_register(_death_year_and_age, "death year and age")
_register(_film_date, "film date | television film date | video game release date")
_register(_as_of, "as of")
_register(_convert, "convert | cvt | conv")
_register(_fraction, "frac | sfrac | fraction | vulgar fraction | 1/")
_register(_value, "val")
_register(_chemistry, "chem | chem2 | chemical formula | auto chem | ce")
_register(_coordinates, "coord | coords | coordinates")
_register(_url, "url | official website | official url | official site | homepage | website")
_register(_name, "sortname | sort name")
_register(_nihongo, "nihongo | nihongo2 | nihongo3 | nihongo foot | nihongo krt")
_register(_many_scripts, "zh | zh-hans | zh-hant | korean | ko-hhrm | linktext korean | lang-zh")
_register(_marriage, "marriage | married")
_register(_height, "height | infobox height")
_register(_rating, "rating | stars")
_register(_circa, "circa | c. | ca | approx")
_register(_reign, "reign | r.")
_register(_joined, "ubl | unbulleted list | ublist | plain unbulleted list | br separated entries | pbr")
_register(_comma_list, "hlist | horizontal list | cslist | comma separated entries | csv")
_register(_bullets, "bulleted list | ordered list | unordered list | bulletlist | collapsible list")
_register(
    _block,
    """
    plainlist | plain list | flatlist | columns-list | startplainlist | indented plainlist | collapse | columns |
    columnslist | col-list | endplainlist | block indent | indent | poem
    """,
)
_register(
    _quote,
    """
    quote | blockquote | cquote | quotation | bquote | quote box | quotebox | rquote | centered pull quote |
    poemquote | verse translation | quote frame | pull quote
    """,
)
for _mark, _names in {
    "US$": "usd | us$ | united states dollar",
    "£": "gbp | £ | pound sterling",
    "€": "euro | eur | €",
    "₹": "inr | indian rupee | ₹ | rs",
    "¥": "jpy | yen | ¥ | jpy sign | cny",
    "A$": "aud | a$",
    "C$": "cad | c$",
    "₩": "krw | won sign",
    "CHF ": "chf",
    "^": "sup | exp",
    "× 10^": "e | e notation",
    "ISBN ": "isbn | isbnt",
    "ISSN ": "issn",
    "OCLC ": "oclc",
    "doi:": "doi",
    "arXiv:": "arxiv",
    "#": "no. | numero sign",
    "NZ$": "nzd | nz$",
    "R$": "brl",
    "₽": "rub | ruble",
    "₱": "php | peso",
    "fl. ": "fl. | floruit",
    "d. ": "d.",
    "b. ": "b.",
}.items():
    _register(_before(_mark), _names)
for _text, _names in {
    "Yes": "yes | y | tick | aye | ya | check | ya2 | yes2 | tick2",
    "No": "no | n | cross | nay | na2 | no2 | x mark | xmark",
    "N/A": "n/a | na | n/a2",
    "Won": "won | winner",
    "Nominated": "nom | nominated",
    "TBA": "tba | tbd",
    "Unknown": "unknown | dunno",
    "Partial": "partial | some",
    "Pending": "pending",
    "1st": "gold1 | gold medal | gold1 medal",
    "2nd": "silver2 | silver medal",
    "3rd": "bronze3 | bronze medal",
    "Included": "included",
    "Active": "active",
    "Runner-up": "runner-up",
    "Eliminated": "eliminated",
    "Cancelled": "cancelled",
    "Free": "free",
    "none": "none",
    "Proprietary": "proprietary",
    "Draw": "draw",
    "Destroyed": "destroyed",
    "Failure": "failure",
    "Success": "success",
    "Planned": "planned",
    "Any": "any",
    "Maybe": "maybe",
    "Sho": "sho",
    "Vacant": "vacant",
    "Incumbent": "incumbent | inc",
    "present": "present",
}.items():
    _register(_or_first(_text), _names)
for _text, _names in {
    "–": "ndash | en dash | – | nsndns",
    " – ": "snd | spaced ndash | spnd | sndash | dash | spaced en dash",
    "—": "mdash | em dash | — | emdash",
    " ": "nbsp | space | spaces | thinsp | thin space | hair space | nnbsp | pad | gap | spc",
    " · ": "· | dot | • | middot | bullet | bull | interpunct",
    "π": "pi",
    "°": "degree | deg",
    "×": "times | x",
    "'": "apostrophe | single quote | 's",
    "ʻ": "okina | hamza | ʻ",
    "ʼ": "ayin",
    "{": "(",
    "}": ")",
    "[": "bracket",
    "▲": "increase | up | gain | increasepositive | increasenegative",
    "▼": "decrease | down | loss | decreasepositive | decreasenegative",
    "±0": "steady | nochange | same",
    "♯": "sharp | music sharp",
    "♭": "flat",
    "†": "dagger | †",
    "‡": "double-dagger | double dagger | ‡",
    "−": "minus | subtract",
    "/": "slash",
    "∞": "infin | infinity",
    "§": "section sign",
    BREAK: "break | crlf | pb | paragraph break | br",
    "…": "ellipsis | ...",
    "=": "=",
}.items():
    _register(_constant(_text), _names)

DROPPED = frozenset(
    split_names(
        """
        efn | efn-ua | efn-la | notelist | note | ref | refn | reflist | r | rp | sfn | sfnp | sfnm | harvnb | harv
        | harvtxt | citation | cn | fact | dead link | deadlink | webarchive | cbignore | full | who | when | where
        | which | by whom | why | clarify | vague | dubious | better source needed | update inline | page needed |
        main | see also | further | about | distinguish | redirect | for | other uses | hatnote | flagicon | flag
        icon | flagicon image | audio | listen | anchor | clear | clr | - | ipac-en | respell | pronunciation |
        portal | portal bar | commons | commons category | sister project links | authority control | defaultsort |
        short description | good article | featured article | use dmy dates | use mdy dates | italic title | toc |
        toclimit | taxonbar | s-start | s-end | succession box | sortkey | location map | location map many |
        wikidata | wdib | edit at wikidata | ref label | update after | tag | reg polygon
        """
    )
)
"""Left out everywhere, infoboxes and tables included."""
DROPPED_PREFIXES = (
    "cite ", "cite_", "citation ", "#", "efn", "sfn", "use ", "infobox mapframe", "navbox", "flagicon", "pp-",
    "wikidata", "commons", "s-", "defaultsort:", "displaytitle:", "ipac-", "ipa-", "cn-", "audio-", "succession",
    "portal", "stub", "short description",
)  # fmt: skip


_LIST_MARK = re.compile(r"^(?:[*:;]+|#+(?=\s))\s*")


def one_line(value: str) -> str:
    """A value of several lines or items as one, with commas between them."""
    parts = [_LIST_MARK.sub("", part.strip()) for part in re.split(rf"[\n{BREAK}]+", value)]
    shown = ""
    for part in parts:
        if part:
            glue = "" if not shown else (" " if shown[-1] in ",;:(–-" or part[0] in "(,;" else ", ")
            shown += glue + part
    return " ".join(shown.split())
