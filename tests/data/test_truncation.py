"""Answers that are cut off are found; answers that end in other ways than a full stop are not."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.checks.truncation import Truncation, certain

PROSE = [
    f"The town number {n} lies on a river, and its people have built {n + 2} bridges over it."
    for n in range(30)
]


def cut_off(answers: list[str], group: str = "") -> dict[int, str]:
    """Position -> reason."""
    truncation = Truncation()
    for position, answer in enumerate(answers):
        truncation.add(answer, position, group)
    return {found.key: found.reason for found in truncation.result()}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("The capital of France is the", "ends in the middle of a sentence"),
        ("The three primary colours are red, yellow and", "ends in the middle of a sentence"),
        ("He has worked for many years as a", "ends in the middle of a sentence"),
        ("Die Stadt liegt an einem Fluss und", "ends in the middle of a sentence"),
        ("You will need eggs, flour, butter, milk,", "ends with a comma"),
        ("This can be done in the following ways:", "ends with a colon"),
        ("It was sold for a high price (", "ends with an opening bracket"),
        ("He looked at the sea and the moun-", "ends in the middle of a word"),
        ("Here it is:\n```python\ndef add(a, b):\n    return", "ends inside a code block"),
        ('{"name": "Ann", "town": "Par', "is JSON that ends too early"),
        ('[{"name": "Ann"}, {"name":', "is JSON that ends too early"),
        ("<!DOCTYPE html>\n<html><body><p>Hello, you are", "is an HTML page without its end"),
        ("<think>Let me see. The number", "opens <think> and does not close it"),
        ("1. Apples\n2. Pears\n3.", "ends with an empty list item"),
        ("So we have \\begin{align} x = 3", "opens a LaTeX environment"),
        ("Half of 48 clips is 48/2 = <<48/2=", "ends inside a calculation"),
        ("She sold 48 clips and then 24, so 48 + ", "ends in the middle of a calculation"),
        ("She sold 72 clips in all and earned 72 * 2 = $", "ends in the middle of a calculation"),
        (
            "1. Eat well every single day.\n2. Sleep for eight hours or more.\n"
            "3. Walk to work in the morning.\n4. Regularly drink",
            "ends in the middle of a list item",
        ),
    ],
)
def test_an_ending_that_is_never_whole_is_found_without_any_other_answer(
    answer: str, reason: str
) -> None:
    assert cut_off([answer])[0].startswith(reason)


WHOLE = [
    "Paris",
    "4",
    "yes",
    "The answer is a",
    "SELECT name FROM people WHERE age > 30 ORDER BY name",
    "select name from people order by name;",
    "The article before the noun is an",
    "def add(a, b):\n    return a + b",
    "```\nfor i in range(3):\n    print(i)\n```",
    "- apples\n- pears\n- the red plums of the south side of the town",
    "1. Apple\n2. Banana and another fruit of the same kind and colour",
    "The sea was dark, the moon was low\nThe wind had nowhere else to go",
    "A Tale of Two Cities and One Very Old House on the Hill",
    "Dear Ann,\n\nthank you for all of it.\n\nYours sincerely,\nBob Miller of the town council",
    "It was a good day :(",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    '{"name": "Ann", "towns": ["Paris", "Rome"]}',
    "[Your Name]",
    "The sum is 3 + 4 = 7",
    "“Be yourself; everyone else is already taken.” – Oscar Wilde",
    "See the page at https://example.com/a/b",
    "Have a great day in the sun with all your friends 😊",
    "What a day with my dog at the wide blue sea #sun #sea",
    "今天天气很好",
    "....",
    "",
    "   ",
]


@pytest.mark.parametrize("answer", WHOLE)
def test_an_answer_that_needs_no_full_stop_is_left_alone_among_prose(answer: str) -> None:
    assert cut_off([*PROSE, answer]) == {}


def test_prose_without_its_full_stop_is_found_where_all_other_prose_has_it() -> None:
    answers = [*PROSE, "The town number 31 lies on a river, and its people have built many bri"]
    assert list(cut_off(answers)) == [30]
    assert "ends in the middle of a sentence" in cut_off(answers)[30]


def test_prose_without_full_stops_is_nobodys_fault_where_that_is_the_habit() -> None:
    assert cut_off([answer.rstrip(".") for answer in PROSE[:10]] + PROSE[10:]) == {}


def test_one_answer_alone_has_no_habit_to_break() -> None:
    assert cut_off(["The town lies on a river, and its people have built many bri"]) == {}


def test_each_group_has_its_own_habit() -> None:
    truncation = Truncation()
    for n in range(30):
        truncation.add(f"a picture of {n} boats on a wide river near some old town", n, "captions")
        truncation.add(PROSE[n], 100 + n, "answers")
    truncation.add("The town lies on a river, and its people have built many bri", 200, "answers")
    assert [found.key for found in truncation.result()] == [200]


def test_a_list_whose_items_end_with_full_stops_is_prose() -> None:
    answer = "1. Wash the apples in cold water.\n2. Cut them into pieces and put them into the larg"
    assert list(cut_off([*PROSE, "Do it as follows.\n" + answer])) == [30]


def test_a_cap_on_the_length_in_characters_is_noticed() -> None:
    long_ones = [f"{n} {'many words and more words ' * 20}"[:300] for n in range(5)]
    found = cut_off(["x y z", "yes", *long_ones])
    assert list(found) == [2, 3, 4, 5, 6]
    assert "exactly 300 characters" in found[2]


def test_a_cap_on_longer_answers_does_not_become_a_habit() -> None:
    """A third of all answers end openly, but only long ones: a limit on tokens."""
    long_ones = [PROSE[n] * 12 + " In the end the people of the town bought" for n in range(15)]
    assert list(cut_off(PROSE + long_ones)) == list(range(30, 45))


def test_a_missing_last_line_that_all_others_have_is_found() -> None:
    answers = [f"First there are {n}. Then 2 more come.\n#### {n + 2}" for n in range(60)]
    answers.append("First there are 7. Then 2")
    assert cut_off(answers) == {60: "lacks the last line of all others, which begins with ####"}


def test_a_reason_quotes_nothing_that_might_be_secret() -> None:
    assert "“… is a wonderful”" not in certain("It is sk-12ab34cd56ef a b the")
    reason = certain("The key of the house is sk-12ab34cd56ef and the")
    assert "sk-" not in reason
    assert "“… red, yellow and”" in certain("The three primary colours are red, yellow and")


@given(st.lists(st.text(st.characters(), max_size=100), max_size=5))
def test_any_text_is_survived_and_the_result_in_order(answers: list[str]) -> None:
    found = list(cut_off(answers))
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    "unit",
    ["a", "\n", "```\n", " ", "[", '{"a":', '["\\"', "<think>", "a b ", "- a\n", "\ud800", "A, "],
)
def test_a_megabyte_of_one_thing_is_survived(unit: str) -> None:
    answer = unit * (1_000_000 // len(unit))
    assert len(cut_off([answer, answer + "x"])) <= 2


def _alpaca(shared_data: Path, name: str) -> list[str]:
    rows = json.loads((shared_data / "instruct" / name).read_text("utf-8"))
    return [row["output"] for row in rows]


def test_real_answers_that_are_whole_are_left_alone(shared_data: Path) -> None:
    assert cut_off(_alpaca(shared_data, "rasbt/instruction-data.json")) == {}


def test_real_answers_that_are_cut_off_are_found(shared_data: Path) -> None:
    """Each looked at: these ten of the 999 stop in the middle of something."""
    answers = _alpaca(shared_data, "llama_factory/alpaca_en_demo.json")
    found = cut_off(answers)
    assert len(found) == 10
    assert all(answers[at].rstrip()[-1] not in "!?\"'" for at in found)


def test_most_real_answers_cut_in_the_middle_are_found(shared_data: Path) -> None:
    answers = _alpaca(shared_data, "llama_factory/alpaca_en_demo.json")
    long_ones = [at for at, answer in enumerate(answers) if len(answer.split()) > 30]
    cut = long_ones[::20]
    for at in cut:
        words = answers[at].split(" ")
        answers[at] = " ".join(words[: len(words) // 2])
    found = cut_off(answers)
    assert sum(at in found for at in cut) >= 0.5 * len(cut)


@pytest.mark.parametrize(
    "answer",
    [
        "The film is meant for people who are 18+",
        "1. 3 + 4 =\n2. 5 + 6 =\n3. And what is 7 + 8 =",
        "1. Eat well.\n2. Sleep.\n3. Walk.\n4. Rest",
        "So 48/2 = <<48/2=24>>24",
    ],
)
def test_sums_to_fill_in_and_short_items_are_whole(answer: str) -> None:
    assert cut_off([answer]) == {}


def test_a_sentence_behind_a_label_is_a_sentence() -> None:
    cut = "Rationale: the town wanted to be reached by more of the people who live near that river"
    assert 30 in cut_off([*PROSE, cut])


def test_a_last_line_that_all_have_is_asked_of_answers_of_their_own_group_only() -> None:
    truncation = Truncation()
    for number in range(40):
        truncation.add(f"It is {number}.\n#### {number}", number, "sums")
        truncation.add("Yes, it is.", 100 + number, "talk")
    truncation.add("It is 7.", 999, "sums")
    assert [found.key for found in truncation.result()] == [999]
