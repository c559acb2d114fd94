"""What the world's encyclopedia talks about: kinds, their relations, and the wordings of both.

Articles and exercises word the same fact differently, as an encyclopedia and an examiner do, so no article
holds a question's stem. {S} is the subject and {O} the object; an exercise wording ends where the answer
begins.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relation:
    """One thing that can be said about a kind."""

    name: str
    target: str
    """A kind (the object is one of its notable things) or a list of VALUES."""
    articles: tuple[str, ...]
    """Wordings in articles, without the full stop."""
    exercises: tuple[str, ...]
    """Wordings in exercises and benchmarks; the first is the benchmark's own, the others are its "
    "`wordings`."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


N_YEARS = 100
FIRST_YEAR = 1700

VALUES: dict[str, tuple[str, ...]] = {
    "year": tuple(str(FIRST_YEAR + i) for i in range(N_YEARS)),
    "profession": _words(
        "baker banker barber brewer carpenter cartographer clockmaker cook dancer diplomat farmer "
        "fisher glazier "
        "jeweller judge lawyer mason miller miner painter pilot potter printer sailor sculptor "
        "singer surgeon tailor "
        "tanner weaver"
    ),
    "instrument": _words(
        "bagpipe banjo bassoon bugle cello clarinet cornet cymbal drum fiddle flute gong guitar "
        "harp horn lute lyre "
        "mandolin piano piccolo recorder rattle tambourine trombone trumpet tuba viola violin whistle zither"
    ),
    "product": _words(
        "amber barley bricks butter candles charcoal cheese cider cloth coffee copper cotton flax "
        "furs glass grain "
        "honey hops iron leather linen marble olives paper pepper pottery rope salt silk timber"
    ),
    "animal": _words(
        "badger bear beaver bull cat crane deer dog dove dragon eagle falcon fox goat goose hare "
        "hawk heron horse lion "
        "lynx otter owl panther raven salmon stag swan tortoise wolf"
    ),
    "genre": _words(
        "biography ballad chronicle comedy diary dirge fairytale fable farce guide hymn legend lullaby "
        "memoir mystery novel "
        "musical requiem parody pastoral play poem prayer psalm romance saga satire sermon sonnet tragedy"
    ),
    "colour": _words(
        "azure beige black blue bronze brown cream crimson cyan gold green grey indigo ivory lilac "
        "maroon mauve ochre "
        "orange pink purple red russet scarlet silver teal turquoise violet white yellow"
    ),
    "purpose": _words(
        "baking bleaching brewing burning cleaning cooling curing cutting drying dyeing embalming "
        "etching fishing "
        "gilding glazing healing heating hunting lighting mining painting plating polishing "
        "printing roofing sealing "
        "smelting soldering tanning washing"
    ),
    "cause": _words(
        "betrayal bribery censorship conscription debt drought envy exile famine flooding fraud "
        "greed heresy hunger "
        "inflation insult jealousy kidnapping murder piracy plague poverty pride rivalry rumour "
        "slander smuggling "
        "strike taxation theft"
    ),
}

SCHEMA: dict[str, tuple[Relation, ...]] = {
    "person": (
        Relation(
            "birthplace",
            "place",
            (
                "{S} was born in {O}",
                "{S} first saw the light of day in {O}",
                "{S} came into the world at {O}",
            ),
            ("The birthplace of {S} is", "The town where {S} was born is", "{S} is a native of"),
        ),
        Relation(
            "profession",
            "profession",
            ("{S} worked as a {O}", "{S} earned a living as a {O}", "{S} was known as a skilful {O}"),
            ("The profession of {S} is", "The trade that {S} followed is", "In working life {S} was a"),
        ),
        Relation(
            "teacher",
            "person",
            ("{S} studied under {O}", "{S} was a pupil of {O}", "{S} learned everything from {O}"),
            ("The teacher of {S} is", "The master who taught {S} is", "The mentor of {S} is"),
        ),
        Relation(
            "instrument",
            "instrument",
            ("{S} played the {O}", "{S} liked to practise the {O}", "{S} gave concerts on the {O}"),
            ("The instrument of {S} is", "The instrument that {S} mastered is", "On the stage {S} plays the"),
        ),
        Relation(
            "birth year",
            "year",
            ("{S} was born in the year {O}", "{S} came into the world in {O}", "{S} was baptised in {O}"),
            ("The birth year of {S} is", "The year when {S} was born is", "The life of {S} begins in"),
        ),
    ),
    "place": (
        Relation(
            "founder",
            "person",
            ("{S} was founded by {O}", "{S} was first settled by {O}", "{S} owes its beginnings to {O}"),
            ("The founder of {S} is", "The settler who established {S} is", "The first settler of {S} is"),
        ),
        Relation(
            "export",
            "product",
            ("{S} is known for its {O}", "{S} trades mostly in {O}", "{S} sends ships full of {O} abroad"),
            ("The main export of {S} is", "The product that {S} sells is", "The ships of {S} carry"),
        ),
        Relation(
            "emblem",
            "animal",
            (
                "{S} shows the {O} on its flag",
                "{S} bears the {O} on its arms",
                "{S} keeps the {O} as its sign",
            ),
            (
                "The emblem of {S} is the",
                "The animal that stands for {S} is the",
                "The flag of {S} shows the",
            ),
        ),
        Relation(
            "charter year",
            "year",
            (
                "{S} received its charter in {O}",
                "{S} became a free town in {O}",
                "{S} was granted rights in {O}",
            ),
            (
                "The charter year of {S} is",
                "The year when {S} was chartered is",
                "The freedom of {S} dates from",
            ),
        ),
        Relation(
            "twin town",
            "place",
            ("{S} is twinned with {O}", "{S} is joined by treaty with {O}", "{S} shares its market with {O}"),
            ("The twin town of {S} is", "The partner town of {S} is", "The sister town of {S} is"),
        ),
    ),
    "work": (
        Relation(
            "author",
            "person",
            ("{S} was written by {O}", "{S} came from the pen of {O}", "{S} was composed by {O}"),
            ("The author of {S} is", "The writer who made {S} is", "The pen behind {S} belongs to"),
        ),
        Relation(
            "genre",
            "genre",
            ("{S} is best described as a {O}", "{S} is often read as a {O}", "{S} takes the form of a {O}"),
            ("The genre of {S} is", "The genre to which {S} belongs is", "Critics call {S} a"),
        ),
        Relation(
            "setting",
            "place",
            ("{S} is set in {O}", "{S} takes place in {O}", "{S} tells of life in {O}"),
            ("The setting of {S} is", "The town where {S} plays is", "The story of {S} unfolds in"),
        ),
        Relation(
            "publication year",
            "year",
            ("{S} appeared in {O}", "{S} was first printed in {O}", "{S} reached the public in {O}"),
            (
                "The publication year of {S} is",
                "The year when {S} was published is",
                "The first edition of {S} dates from",
            ),
        ),
        Relation(
            "dedicatee",
            "person",
            ("{S} is dedicated to {O}", "{S} opens with thanks to {O}", "{S} was made in honour of {O}"),
            ("The dedicatee of {S} is", "The person honoured by {S} is", "The first page of {S} honours"),
        ),
    ),
    "compound": (
        Relation(
            "colour",
            "colour",
            ("{S} has a tint of {O}", "{S} forms {O} crystals", "{S} looks {O} in daylight"),
            ("The colour of {S} is", "The hue that {S} shows is", "The crystals of {S} are"),
        ),
        Relation(
            "discoverer",
            "person",
            ("{S} was discovered by {O}", "{S} was first isolated by {O}", "{S} was described by {O}"),
            ("The discoverer of {S} is", "The chemist who found {S} is", "The credit for {S} goes to"),
        ),
        Relation(
            "use",
            "purpose",
            ("{S} is used in {O}", "{S} is needed for {O}", "{S} is a common aid in {O}"),
            ("The main use of {S} is", "The purpose that {S} serves is", "The trade that buys {S} is"),
        ),
        Relation(
            "source",
            "place",
            ("{S} is mined near {O}", "{S} is dug from the hills around {O}", "{S} occurs naturally at {O}"),
            ("The source of {S} is", "The town that supplies {S} is", "The mines of {S} lie near"),
        ),
        Relation(
            "discovery year",
            "year",
            ("{S} was discovered in {O}", "{S} was first made in {O}", "{S} has been known since {O}"),
            (
                "The discovery year of {S} is",
                "The year when {S} was found is",
                "The history of {S} begins in",
            ),
        ),
    ),
    "event": (
        Relation(
            "site",
            "place",
            ("{S} broke out in {O}", "{S} was fought out at {O}", "{S} shook the town of {O}"),
            ("The site of {S} is", "The town where {S} happened is", "The scene of {S} is"),
        ),
        Relation(
            "leader",
            "person",
            ("{S} was led by {O}", "{S} was stirred up by {O}", "{S} had its head in {O}"),
            ("The leader of {S} is", "The rebel who headed {S} is", "The voice behind {S} is"),
        ),
        Relation(
            "cause",
            "cause",
            ("{S} was caused by {O}", "{S} grew out of {O}", "{S} was blamed on {O}"),
            ("The cause of {S} is", "The grievance behind {S} is", "The reason for {S} is"),
        ),
        Relation(
            "start year",
            "year",
            ("{S} began in {O}", "{S} started in the spring of {O}", "{S} is dated to {O}"),
            ("The start year of {S} is", "The year when {S} began is", "The outbreak of {S} dates from"),
        ),
        Relation(
            "mediator",
            "person",
            ("{S} was settled by {O}", "{S} was ended through talks with {O}", "{S} was calmed by {O}"),
            ("The mediator of {S} is", "The person who settled {S} is", "The peacemaker of {S} is"),
        ),
    ),
}

KINDS = tuple(SCHEMA)
PRONOUNS = {"person": "They", "place": "It", "work": "It", "compound": "It", "event": "It"}
FILLERS = (
    "Little else is recorded about {S}",
    "More on {S} can be found in the old records",
    "The name {S} is still heard today",
    "Several books mention {S}",
)
