"""Which rows count as repeated, and which only look like it."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.checks.duplicates import Duplicates
from edgetune.data.checks.similarity import words
from edgetune.data.checks.sketch import Sketch, pairs_within
from edgetune.data.conversation import Conversation, Finding, Message

Pair = tuple[str, str]

TEA = (
    "Describe how green tea should be made for two guests.",
    "Warm the pot first, pour in water that no longer boils, and let the leaves rest for two "
    "minutes before you fill the cups.",
)
BREAD = (
    "Describe how a plain loaf of bread is baked at home.",
    "Knead flour, water, salt and yeast into a dough, let it rise in a warm corner and bake it "
    "until the crust turns brown.",
)


def row(pair: Pair, line: int, system: str = "") -> Conversation:
    messages = [Message("system", system)] if system else []
    messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    return Conversation(tuple(messages), file="rows.jsonl", line=line)


def found(train: list[Pair], valid: list[Pair] | None = None) -> list[Finding]:
    """Lines are counted through the training rows and on through the validation rows."""
    with Duplicates() as duplicates:
        for line, pair in enumerate(train, 1):
            duplicates.add(row(pair, line))
        for line, pair in enumerate(valid or [], len(train) + 1):
            duplicates.add(row(pair, line), valid=True)
        findings, counts = duplicates.find()
    assert len(findings) == sum(counts[name] for name in ("exact", "near", "leaks", "near_leaks"))
    return findings


def said(train: list[Pair], valid: list[Pair] | None = None) -> list[tuple[str, int, str]]:
    return sorted(
        (item.kind, item.line, item.related.removeprefix("rows.jsonl, line "))
        for item in found(train, valid)
    )


def test_a_repeated_row_is_reported_at_every_later_place() -> None:
    assert said([TEA, BREAD, TEA, TEA]) == [("duplicate", 3, "1"), ("duplicate", 4, "1")]


def test_short_rows_are_duplicates_only_if_equal_but_for_case_space_and_punctuation() -> None:
    rows = [("Say hi.", "hi"), ("say  HI", "Hi!"), ("Say ho.", "ho"), ("Say hi.", "ho")]
    assert said(rows) == [("near-duplicate", 2, "1")]


@pytest.mark.parametrize(
    "change",
    [
        lambda asked, answered: (asked.lower(), answered.upper()),
        lambda asked, answered: (f"{asked}\n", answered.replace(",", ";")),
        lambda asked, answered: (asked.replace("Describe", "Explain"), answered),
        lambda asked, answered: (f"Please {asked[0].lower()}{asked[1:]}", answered),
        lambda asked, answered: (asked, f"{answered} Enjoy!"),
        lambda asked, answered: (asked, answered.replace("water", "watre")),
        lambda asked, answered: (asked.replace("made", "prepared"), answered),
        lambda asked, answered: (asked, answered.replace("the pot", "a pot")),
        lambda asked, answered: (asked, answered.replace("Warm ", "")),
    ],
)
def test_a_reworded_row_is_a_near_duplicate(change: Callable[[str, str], Pair]) -> None:
    assert said([TEA, BREAD, change(*TEA)]) == [("near-duplicate", 3, "1")]


def test_rows_of_one_template_are_no_near_duplicates() -> None:
    cities = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Peru": "Lima"}
    rows = [
        (f"What is the capital of {land}?", f"The capital of {land} is the city of {city}.")
        for land, city in cities.items()
    ]
    rows += [
        (
            f"Is {n} an even number or an odd one?",
            f"{n} is {'odd' if n % 2 else 'even'}, of course.",
        )
        for n in range(40)
    ]
    same = "It is used every day, it lasts for many years, and it is easy to clean afterwards."
    rows += [
        (
            f"Write a sentence or two about the {thing} in the kitchen.",
            f"This is the {thing}. {same}",
        )
        for thing in ("kettle", "ladle", "grater", "sieve", "whisk", "skillet")
    ]
    assert said(rows) == []


def test_two_rows_that_differ_in_a_name_or_a_number_are_different_rows() -> None:
    answer = "It is a quiet place by the sea with old houses, a long pier and very good cake."
    assert (
        said(
            [
                ("Tell me what people like about Bergen when they visit.", answer),
                ("Tell me what people like about Lagos when they visit.", answer),
                ("Which town had 4000 people in it a hundred years ago?", answer),
                ("Which town had 5000 people in it a hundred years ago?", answer),
            ]
        )
        == []
    )


def test_one_answer_to_many_questions_is_no_near_duplicate() -> None:
    sorry = "I am sorry, but I cannot help with that request, since it might harm someone else."
    questions = ["How do I pick a lock?", "Where is poison sold?", "Who lives at this address?"]
    assert said([(question, sorry) for question in questions]) == []


def test_a_near_duplicate_is_found_among_many_rows_of_its_template() -> None:
    same = "One adds them from right to left, carries what is above nine, and checks the result."
    rows = [
        (f"Explain how to add {n} and {n + 5} on paper.", f"{n + n + 5}. {same}")
        for n in range(3000)
    ]
    rows.append((rows[1234][0], rows[1234][1].replace("right to left", "the right to the left")))
    assert said(rows) == [("near-duplicate", 3001, "1235")]


def test_leaks_are_told_from_duplicates_and_name_the_training_row() -> None:
    reworded = TEA[0], TEA[1].replace("the leaves", "leaves")
    other_answer = BREAD[0], "Buy one, since it is cheaper."
    assert said([TEA, BREAD], [TEA, reworded, other_answer, ("Go on.", "Well, no.")]) == [
        ("leak", 3, "1"),
        ("near-leak", 4, "1"),
        ("near-leak", 5, "2"),
    ]


def test_a_reworded_prompt_is_a_near_leak_whatever_is_answered() -> None:
    prompt = "Name the three things that a sailor has to check before the boat leaves the harbour."
    train = [(prompt, "The weather, the ropes and the fuel.")]
    valid = [(prompt.replace("that a sailor", "a sailor"), "Maybe.")]
    assert said(train, valid) == [("near-leak", 2, "1")]
    assert "prompt" in found(train, valid)[0].message


def test_equal_rows_under_different_system_messages_are_different_rows() -> None:
    with Duplicates() as duplicates:
        duplicates.add(row(TEA, 1, "Answer like a pirate."))
        duplicates.add(row((TEA[0], TEA[1].replace("first", "at first")), 2, "Answer briefly."))
        assert duplicates.find()[0] == []


def test_no_rows_and_rows_without_words_are_no_trouble() -> None:
    assert found([]) == []
    assert said([("?", "!"), ("…", "—"), ("\ud800", "\x00")]) == []


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), max_size=8))
def test_any_text_is_compared_and_equal_rows_are_always_found(rows: list[Pair]) -> None:
    kinds = {line: kind for kind, line, _ in said(rows + rows)}
    for line in range(len(rows) + 1, 2 * len(rows) + 1):
        assert kinds[line] == "duplicate"


@given(st.text())
def test_words_do_not_change_with_case_and_space(text: str) -> None:
    assert words(f" {text}\n") == words(text)
    assert words(text.upper().casefold()) == words(text.upper())


def test_the_sketch_proposes_nearly_all_reworded_rows_and_few_others() -> None:
    source = random.Random(0)
    vocabulary = [f"w{number}" for number in range(2000)]
    sketch = Sketch()
    for _ in range(300):
        text = source.choices(vocabulary, k=25)
        reworded = list(text)
        reworded[source.randrange(25)] = "other"
        sketch.add(text[:8], text[8:])
        sketch.add(reworded[:8], reworded[8:])
    signatures = sketch.signatures(np.ones(600, bool), lambda share: None)
    earlier, later = pairs_within(signatures, lambda first, _: np.ones(len(first), bool), most=9)
    sketch.close()
    pairs = set(zip(earlier.tolist(), later.tolist(), strict=True))
    wanted = {(at, at + 1) for at in range(0, 600, 2)}
    assert len(wanted & pairs) >= 297
    assert len(pairs - wanted) < 30
