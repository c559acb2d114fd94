"""Questions, texts and passages for the tests of decontamination."""

from __future__ import annotations

import random

from reread.corpus import chunk
from reread.types import Document, Passage, Question

WORDS = [f"{first}{last}" for first in ("bar", "con", "del", "fen", "gor", "hal") for last in
         ("amo", "ber", "cit", "dun", "esk", "fol", "gan", "hip", "ist", "jor", "kel", "lum")]  # fmt: skip


def prose(seed: int, n_words: int) -> str:
    rng = random.Random(seed)
    words = [rng.choice(WORDS) + rng.choice(["", "", "", ",", "."]) for _ in range(n_words)]
    return " ".join(words)


def question(text: str, answers: tuple[str, ...] = ("42",), choices: tuple[str, ...] | None = None,
             number: int = 0, benchmark: str = "test") -> Question:  # fmt: skip
    return Question(f"q{number}", benchmark, "s", text, choices, answers)


LONG = question(
    "A train leaves the northern station at seven and travels at sixty miles an hour toward a town "
    "that lies three hundred miles away; when does it arrive?",
    answers=("noon",),
)


WHO = question("Which ruler rose against Rome?", ("A",), ("Boudica", "Nero", "Caesar", "Hadrian"))
CLOZE = question("The tallest of the moons is", ("B",), ("Arno", "Belt", "Cray", "Dorn"))
OPEN_CLOZE = question("The colour of the moon is", ("mauve",))


def scenario(number: int) -> Question:
    template = (
        "For which of these two scenarios does the main character do something clearly wrong according to "
        "ordinary moral standards in the year of the census?"
    )
    return question(f"{template} Scenario 1: {prose(number, 8)} Scenario 2: {prose(number + 500, 8)}", number=number)


ITEM = Question(
    "mini/1",
    "mini",
    "maps",
    "A cartographer draws a river of nine hundred miles at a scale of one to a million; how many inches does "
    "it take?",
    None, ("57",),
)  # fmt: skip
OTHER = Question("mini/2", "mini", "moons", "Which of the many moons of the seventh planet turns against the "
                 "direction in which all the others turn about it?", None, ("none",))  # fmt: skip
BEFORE, AFTER = "An opening paragraph about rivers.", "A closing paragraph about maps."
DIRTY = Document("dirty", f"{BEFORE}\n\nExercise. {ITEM.text} Take care.\n\n{AFTER}", "a.jsonl", "Rivers")
CLEAN = Document("clean", f"{BEFORE}\n\n{AFTER}", "a.jsonl")


def passages(document: Document, n_words: int) -> list[Passage]:
    return list(chunk(document, n_words, 0))
