"""Verbs, openings and vocabulary of the instructions, in bounded memory."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.checks import diversity
from edgetune.data.checks.diversity import Diversity, opening, root_verb


@pytest.mark.parametrize(
    ("instruction", "verb"),
    [
        ("Write a poem about the sea.", "write"),
        ("Please list three fruits.", "list"),
        ("Could you please explain gravity?", "explain"),
        ("Hello! Can you tell me a joke?", "tell"),
        ("I want you to translate this into French.", "translate"),
        ("Given a sentence, identify the verb.", "identify"),
        ("Given the name, the age and the town, write a letter.", "write"),
        ("You are a helpful expert. Summarize the text below:\nIt rained.", "summarize"),
        ("1. Name two rivers", "name"),
        ("What is the capital of France?", ""),
        ("The list of fruits", ""),
        ("Writers live long", ""),
        ("Schreibe ein Gedicht.", ""),
        ("", ""),
    ],
)
def test_the_root_verb_is_what_an_instruction_tells_one_to_do(instruction: str, verb: str) -> None:
    assert root_verb(instruction) == verb


def test_an_opening_is_the_first_three_words() -> None:
    assert opening("  What's  the\nCapital, of France?") == "what's the capital"
    assert opening("你好吗？") == "你 好 吗"


def test_counts_and_shares() -> None:
    found = Diversity()
    for text in ["Write a poem.", "Write a poem now!", "List it.", "Why is that so?", "  "]:
        found.add(text)
    result = found.result()
    assert result["instructions"] == 4
    assert result["root_verbs"] == [
        {"verb": "write", "count": 2, "share": 0.5},
        {"verb": "list", "count": 1, "share": 0.25},
    ]
    assert (result["distinct_root_verbs"], result["with_root_verb_share"]) == (2, 0.75)
    assert result["question_share"] == 0.25
    assert result["openings"][0] == {"text": "write a poem", "count": 2, "share": 0.5}
    assert result["top10_openings_share"] == 1
    # write a poem write a poem now list it why is that so
    assert result["words_measured"] == 13
    assert result["type_token_ratio"] == pytest.approx(10 / 13)


def test_no_instructions_have_no_ratio() -> None:
    result = Diversity().result()
    assert (result["instructions"], result["type_token_ratio"], result["distinct_2"]) == (
        0,
        None,
        None,
    )


def _varied(rows: int) -> list[str]:
    choose = random.Random(0)
    words = [f"word{n}" for n in range(500)]
    return [" ".join(choose.choices(words, k=20)) for _ in range(rows)]


def test_the_ratio_depends_neither_on_the_size_of_the_data_nor_on_its_order() -> None:
    rows = _varied(2_000)
    ratios = []
    for part in (rows[:200], rows, sorted(rows)):
        found = Diversity()
        for row in part:
            found.add(row)
        ratios.append(found.result()["type_token_ratio"])
    assert ratios == pytest.approx([ratios[0]] * 3, abs=0.01)


def test_repetitive_instructions_have_a_lower_ratio() -> None:
    varied, alike = Diversity(), Diversity()
    for n, row in enumerate(_varied(300)):
        varied.add(row)
        alike.add(f"Say the number {n % 7} in the words of the town, please.")
    for measure in ("type_token_ratio", "distinct_2"):
        assert alike.result()[measure] < 0.2 * varied.result()[measure]
    assert alike.result()["top10_openings_share"] > varied.result()["top10_openings_share"]


def test_memory_is_bounded_and_common_openings_keep_their_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diversity, "_MOST_OPENINGS", 100)
    monkeypatch.setattr(diversity, "_SAMPLE", 50)
    found = Diversity()
    for n in range(5_000):
        found.add("Write a poem about it." if n % 3 == 0 else f"unique{n} first{n} words{n}")
        assert len(found._openings) <= 101
    assert len(found._sample) == 50
    best = found.result()["openings"][0]
    assert (best["text"], best["count"]) == ("write a poem", 1_667)


def test_the_result_is_the_same_every_time() -> None:
    def measured() -> object:
        found = Diversity()
        for row in _varied(500):
            found.add(row)
        return found.result()

    assert measured() == measured()


@given(st.text(st.characters(), max_size=200))
def test_any_text_is_survived(text: str) -> None:
    found = Diversity()
    found.add(text)
    result = found.result()
    assert result["instructions"] == bool(text.strip())


@pytest.mark.parametrize("unit", ["a", "a ", ". ", "please ", "given ", "1) ", ", ", "\ud800"])
def test_a_megabyte_of_one_thing_is_survived(unit: str) -> None:
    found = Diversity()
    found.add(unit * (1_000_000 // len(unit)))
    assert found.result()["instructions"] == 1
