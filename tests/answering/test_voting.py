from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from reread.answering.consistency import agreement, document_scores, most_consistent
from reread.answering.voting import classes_of, elect, tally
from reread.types import Sample

votes_lists = st.lists(st.one_of(st.none(), st.sampled_from("ABCD")), max_size=12)


def samples(votes: list[str | None], logprob: float | None = None) -> list[Sample]:
    return [Sample(text=vote or "", vote=vote, n_prompt_tokens=1, n_tokens=1, logprob=logprob) for vote in votes]


@given(votes_lists)
def test_the_winner_is_a_most_common_vote(votes: list[str | None]) -> None:
    counted = Counter(vote for vote in votes if vote is not None)
    winner, share = elect(tally(samples(votes)), samples(votes))
    if not counted:
        assert (winner, share) == (None, None)
    else:
        assert winner is not None and share is not None
        assert counted[winner] == max(counted.values())
        assert share == counted[winner] / sum(counted.values())


@given(votes_lists)
def test_unparsed_samples_change_nothing(votes: list[str | None]) -> None:
    with_none = samples([*votes, None, None])
    assert elect(tally(with_none), with_none) == elect(tally(samples(votes)), samples(votes))


def test_a_tie_goes_to_the_likelier_answer_and_then_to_the_first() -> None:
    unsure, sure = samples(["B"], logprob=-2.0), samples(["C"], logprob=-0.5)
    assert elect(tally(unsure + sure), unsure + sure)[0] == "C"
    assert elect(tally(samples(["B", "C"])), samples(["B", "C"]))[0] == "B"


def test_equivalent_answers_vote_together() -> None:
    def same(a: str, b: str) -> bool:
        return float(a) == float(b)

    cast = samples(["2", "0.5", ".5", "0.50"])
    names = classes_of(["2", "0.5", ".5", "0.50"], same)
    assert tally(cast, names) == {"2": 1.0, "0.5": 3.0}
    assert elect(tally(cast, names), cast, names) == ("0.5", 0.75)


distributions = st.lists(
    st.dictionaries(st.sampled_from("ABCD"), st.floats(0.01, 0.25), max_size=4), min_size=1, max_size=6
)


@given(distributions)
def test_consistency_equals_the_probability_of_agreeing_draws(documents: list[dict[str, float]]) -> None:
    for index, score in enumerate(document_scores(documents)):
        own = documents[index]
        itself = sum(p * q for a, p in own.items() for b, q in own.items() if a == b)
        others = [
            sum(p * q for a, p in own.items() for b, q in other.items() if a == b)
            for place, other in enumerate(documents)
            if place != index
        ]
        expected = (itself + sum(others) / len(others)) / 2 if others else itself
        assert abs(score - expected) < 1e-12
        assert -1e-12 <= score <= 1 + 1e-12


def test_the_document_that_the_others_agree_with_is_trusted() -> None:
    lone, pair = {"A": 1.0}, {"B": 0.9}
    assert most_consistent([lone, pair, pair]) == 1
    assert most_consistent([lone, {"B": 1.0}]) == 0
    assert most_consistent([{}, {"B": 0.1}]) == 1
    assert most_consistent([{}, {}]) is None
    assert agreement({}, {"A": 1.0}) == 0.0
