"""Languages of a sample of the rows, and characters that should not be there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.checks.characters import Languages, OddCharacters, language_of, odd_characters

TEXTS = {
    "en": "What is the capital of France? The capital of France is Paris, on the river Seine.",
    "de": "Was ist die Hauptstadt von Frankreich? Die Hauptstadt heißt Paris und liegt dort.",
    "fr": "Quelle est la capitale de la France ? C'est Paris, une ville au bord de la Seine.",
    "zh": "法国的首都是哪里？法国的首都是巴黎，位于塞纳河畔。",
    "ja": "フランスの首都はどこですか。フランスの首都はパリです。",
    "hi": "फ़्रांस की राजधानी क्या है? फ़्रांस की राजधानी पेरिस है।",
    "ru": "Какая столица Франции? Столица Франции — Париж, город на реке Сене.",
}


@pytest.mark.parametrize(("code", "text"), TEXTS.items())
def test_a_sentence_tells_its_language(code: str, text: str) -> None:
    assert language_of(text) == code


@pytest.mark.parametrize("text", ["", "  ", "ok", "Bistra"])
def test_too_little_text_has_no_language(text: str) -> None:
    assert language_of(text) == "und"


def test_numbers_are_no_language() -> None:
    assert language_of("12 + 30 = 42") == "zxx"


def test_shares_are_those_of_the_rows() -> None:
    languages = Languages()
    for text in [TEXTS["en"]] * 6 + [TEXTS["de"]] * 3 + ["ok"]:
        languages.add(text)
    result = languages.result()
    assert (result["sampled"], result["every"]) == (10, 1)
    assert [(f["language"], f["rows"], f["share"]) for f in result["found"]] == [
        ("English", 6, 0.6),
        ("German", 3, 0.3),
        ("undetermined", 1, 0.1),
    ]


def test_many_rows_are_sampled_evenly_and_said_so() -> None:
    languages = Languages(sample=20)
    for row in range(1_000):
        # The second half of the data is in another language.
        languages.add(TEXTS["en" if row < 500 else "ru"])
    result = languages.result()
    assert 20 <= result["sampled"] <= 40
    assert result["sampled"] == -(-1_000 // result["every"])
    shares = {found["code"]: found["share"] for found in result["found"]}
    assert shares == pytest.approx({"en": 0.5, "ru": 0.5}, abs=0.05)


def test_no_rows_have_no_language() -> None:
    assert Languages().result() == {"sampled": 0, "every": 1, "found": []}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a \ufffd b", "replacement characters (U+FFFD)"),
        ("FranÃ§oise l'a dit", "mojibake (é read as Ã©)"),
        ("itâ€™s", "mojibake (é read as Ã©)"),
        ("РїСЂРёРІРµС‚", "mojibake (é read as Ã©)"),
        ("a\x1b[0m", "control characters"),
        ("a\x00b", "control characters"),
        ("a\x93b", "control characters (C1)"),
        ("in\u200bvisible", "zero-width spaces"),
        ("in\u200dvisible", "zero-width joiners"),
        ("a\ufeffb", "byte order marks inside"),
        ("hy\u00adphen", "soft hyphens"),
        ("user \u202egnp.exe", "bidirectional controls"),
        ("a\u2028b", "line separators (U+2028)"),
        ("who\u00a0is", "non-breaking spaces"),
        ("hello\U000e0068\U000e0069", "invisible tag characters"),
        ("\ue123", "private-use characters"),
        ("\ufdd0", "noncharacters"),
        ("\ud83d", "lone surrogates"),
        ("Tom &amp; Jerry", "HTML entities (&amp;)"),
        ("one<br>two", "HTML tags (<br>)"),
    ],
)
def test_an_odd_character_is_found(text: str, kind: str) -> None:
    assert odd_characters(text) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "plain\ttext\r\nwith lines",
        "👨‍👩‍👧 ❤️‍🔥 👩🏽‍💻 🏳️‍🌈 ☺️ 🫨",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "می‌خواهم",
        "क्‍ष न्‌",
        "שלום\u200f! \u202bאבג\u202c",
        "ภาษา\u200bไทย",
        "naïve Über Čeština « à la carte », CAFÉ» voilà…»",
        "Привет, мир. СССР и Россия",
        "Việt Nam đẹp",
        "5\u00a0km, 10\u00a0000, Quoi\u00a0?",
        "Write an HTML page: <p>Tom &amp; Jerry</p>",
        "```\n<br>&amp;\n```",
        "R&D; AT&T; a < b > c",
        "中文，没有问题。",
    ],
)
def test_what_belongs_there_is_not_odd(text: str) -> None:
    assert odd_characters(text) == []


def test_rows_are_counted_with_the_first_of_them() -> None:
    odd = OddCharacters()
    for line, text in enumerate(["fine", "a\x1bb\x1bc", "\ufffd", "a\x1b"], start=1):
        odd.add(text, "rows.jsonl", line)
    assert odd.result() == [
        {
            "kind": "control characters",
            "rows": 2,
            "example_file": "rows.jsonl",
            "example_line": 2,
        },
        {
            "kind": "replacement characters (U+FFFD)",
            "rows": 1,
            "example_file": "rows.jsonl",
            "example_line": 3,
        },
    ]


@given(st.text(st.characters(), max_size=200))
def test_any_text_is_survived(text: str) -> None:
    kinds = odd_characters(text)
    assert len(kinds) == len(set(kinds))
    assert language_of(text)
    if any("\ud800" <= c <= "\udfff" for c in text):
        assert "lone surrogates" in kinds


@pytest.mark.parametrize(
    "unit", ["a", "\u200d", "é", "Ã©", "<", "&#", "<br", "\u202e", "ก\u200b", "\ud800"]
)
def test_a_megabyte_of_one_thing_is_survived(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    assert len(odd_characters(text)) <= 2
    assert language_of(text)
