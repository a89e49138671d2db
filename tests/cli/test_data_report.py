"""The report reads well in a terminal, in a pipe, and where the data is hostile."""

import copy
import io
from typing import Any

import pytest
from rich.console import Console

from edgetune.cli.data_report import bar, brief, histogram, render
from edgetune.data.checks.findings import KINDS, counted, visible


def found(grade: str, kind: str, line: int, message: str = "it is so", **more: Any) -> dict:
    return {
        "grade": grade,
        "kind": kind,
        "message": message,
        "file": "rows.jsonl" if line else "",
        "line": line,
        "left_out": False,
        "related": "",
    } | more


def figures(most: int) -> dict[str, Any]:
    buckets = [{"from": 1, "to": 7, "count": 12}, {"from": 8, "to": most, "count": 1100}]
    return {"median": 9, "p90": 40, "p99": 70, "max": most, "histogram": buckets}


REPORT: dict[str, Any] = {
    "files": [
        {
            "use": "train",
            "file": "rows.jsonl",
            "sha256": "0",
            "rows": 1200,
            "conversations": 1198,
            "formats": {"alpaca": 700, "chat": 498},
            "ranges": {"alpaca": "1–700", "chat": "701–1200"},
            "ignored_keys": ["id", "url"],
            "left_out": 2,
        },
        {
            "use": "valid",
            "file": "valid.csv",
            "sha256": "1",
            "rows": 100,
            "conversations": 100,
            "formats": {"question": 100},
            "ranges": {},
            "ignored_keys": [],
            "left_out": 0,
        },
    ],
    "rows": 1300,
    "usable": 1298,
    "parts": {
        "train": {"rows": 1198, "characters": 9, "tokens": 200000, "trained_tokens": 50000},
        "valid": {"rows": 100, "characters": 9, "tokens": 1000, "trained_tokens": 500},
    },
    "tasks": [
        {"task": "sums", "part": "train", "rows": 798, "share": 0.75, "trained_tokens": 9},
        {"task": "", "part": "train", "rows": 400, "share": 0.25, "trained_tokens": 9},
        {"task": "held", "part": "valid", "rows": 100, "share": 0.0, "trained_tokens": 9},
    ],
    "sources": [{"source": "rows.jsonl", "part": "train", "rows": 1198, "share": 1.0}],
    "roles": {"system": 0, "user": 1300, "assistant": 1299, "tool": 2},
    "turns": {"1": 1290, "2": 8},
    "with": {"system": 0, "tools": 2, "tool_calls": 1, "reasoning": 0, "rejected": 0, "text": 0},
    "lengths": {
        "unit": "tokens",
        "prompt": figures(80),
        "answer": figures(1500),
        "row": figures(1600),
    },
    "limit": {"max_length": 1024, "over": 3, "lose_answer": 2},
    "duplicates": {"exact": 4, "near": 1, "threshold": 0.8, "leaks": 2, "near_leaks": 0},
    "diversity": {
        "root_verbs": [{"verb": "write", "count": 90, "share": 0.3}],
        "distinct_root_verbs": 17,
        "type_token_ratio": 0.5,
        "openings": [{"text": "what is the", "count": 9, "share": 0.1}],
        "top10_openings_share": 0.25,
    },
    "languages": {
        "sampled": 1298,
        "found": [{"language": "en", "rows": 1298, "share": 1.0}],
    },
    "odd_characters": [
        {"kind": "zero-width", "rows": 3, "example_file": "rows.jsonl", "example_line": 17}
    ],
    "model": {"name": "nano", "template": "plain", "max_length": 1024},
    "plan": {
        "epochs": 3.0,
        "steps": 450,
        "steps_per_epoch": 150,
        "trained_tokens": 150000,
        "tokens": 600000,
        "batch_size": 8,
    },
    "findings": [
        found("error", "broken", 17, "this is not JSON", left_out=True),
        *(
            found("warning", "duplicate", n, related=f"rows.jsonl, line {n + 900}")
            for n in range(1, 6)
        ),
        found("note", "brand-new", 0, "all of it is so"),
    ],
    "counts": {"error": 1, "warning": 5, "note": 1},
}  # fmt: skip


def drawn(report: dict[str, Any], width: int = 80, **options: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(render(report, width, **options))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line.rstrip()) for line in drawn(REPORT, width).splitlines()) <= width


def test_it_says_what_the_data_holds() -> None:
    text = drawn(REPORT)
    for words in (
        "alpaca in lines 1–700",
        "not used: id, url",
        "1,298 of 1,300 usable: 1,198 to train on, 100 for validation",
        "201,000, of them 50,500 trained (25%); nano, plain template",
        "3 rows are longer than 1,024 tokens; cut there, 2 would lose part of an answer",
        "450 steps of 8 rows",
        "150,000 trained tokens",
        "4 exact, 1 near; of the validation rows 2 are trained on, 0 nearly",
        "17 root verbs in requests, the commonest write 30%",
        "type/token ratio 0.50",
        "en 100%",
        "zero-width in 3 rows (first in rows.jsonl, line 17)",
        " 75.0% █████████",
    ):
        assert " ".join(words.split()) in " ".join(text.split()), words


def test_findings_are_grouped_and_shortened_unless_all_are_wanted() -> None:
    text = drawn(REPORT)
    assert "error   1 × broken: cannot be read, left out" in text
    assert "rows.jsonl, line 17: this is not JSON" in text
    assert "warning 5 × duplicate" in text
    assert "rows.jsonl, line 3: it is so (line 903)" in text
    assert "line 4:" not in text
    assert "and 2 more" in text
    assert text.index("broken") < text.index("duplicate") < text.index("brand-new")
    everything = drawn(REPORT, everything=True)
    assert "rows.jsonl, line 5: it is so" in everything
    assert "more" not in everything


def test_files_are_named_shortly_where_that_is_clear() -> None:
    report = copy.deepcopy(REPORT)
    report["files"][0]["file"], report["files"][1]["file"] = "a/one.jsonl", "b/two.jsonl"
    report["findings"] = [
        found("warning", "leak", 4, file="b/two.jsonl", related="a/one.jsonl, line 7")
    ]
    assert "two.jsonl, line 4: it is so (one.jsonl, line 7)" in drawn(report)
    report["files"][1]["file"] = "b/one.jsonl"
    report["findings"][0]["file"] = "b/one.jsonl"
    assert "b/one.jsonl, line 4: it is so (a/one.jsonl, line 7)" in drawn(report)


def test_it_needs_no_model_and_little_data() -> None:
    report = copy.deepcopy(REPORT)
    report |= {"model": None, "plan": None, "limit": None, "tasks": [], "findings": []}
    report |= {"diversity": {}, "languages": {"sampled": 0, "found": []}, "odd_characters": []}
    report["counts"] = {"error": 0, "warning": 0, "note": 0}
    report["parts"] = {"train": {"rows": 1, "characters": 4, "longest": 4}}
    report["lengths"]["unit"] = "characters"
    text = drawn(report)
    assert "trained" not in text
    assert "lengths in characters" in text
    assert "Findings  none" in text


def test_nothing_of_the_data_reaches_the_terminal_as_a_command() -> None:
    report = copy.deepcopy(REPORT)
    report["findings"] = [found("error", "broken", 3, "has \x1b[2J\x9b31m and \u202e\nin it")]
    report["files"][0]["file"] = "evil\x1b]0;title\x07.jsonl"
    text = drawn(report)
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(text)
    assert "␛[2J<U+009B>31m and <U+202E>␊in it" in text


def test_markup_in_the_data_is_text() -> None:
    report = copy.deepcopy(REPORT)
    report["findings"] = [found("note", "odd", 3, "has [bold]this[/bold] and :cat: in it")]
    assert "has [bold]this[/bold] and :cat: in it" in drawn(report)


def test_bars_are_as_long_as_their_share() -> None:
    assert str(bar(0.5, 10)) == "█████"
    assert str(bar(1.0, 10)) == "█" * 10
    assert str(bar(0.0001, 10)) == "▏"
    assert str(bar(0.0, 10)) == ""
    assert str(bar(0.0001, 10, ascii_only=True)) == "#"


def test_a_histogram_has_a_line_for_each_bucket() -> None:
    lines = str(histogram("answer", figures(40)["histogram"], 40)).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(" 1–7 ▍") and lines[1].endswith(" 12")
    assert lines[2].startswith("8–40 ███") and lines[2].endswith(" 1,100")
    assert {len(line) for line in lines[1:]} == {40}


def test_the_short_form_names_the_first_of_each_serious_kind() -> None:
    lines = [f"{about}: {text}" for about, text in brief(REPORT)]
    assert lines[0] == (
        "data: 1,198 rows to train on (alpaca, chat, question); 100 for validation; "
        "50,000 of 200,000 tokens trained; 2 left out; 3 over 1,024 tokens"
    )
    assert lines[1] == "findings: 1 error, 5 warnings, 1 note"
    assert lines[2] == "  error: rows.jsonl, line 17: this is not JSON"
    assert lines[3] == (
        "  warning: rows.jsonl, line 1: it is so (line 901); 5 such findings (duplicate)"
    )
    assert len(lines) == 4


def test_counts_are_said_in_words() -> None:
    assert counted({"error": 2, "warning": 1, "note": 0}) == "2 errors, 1 warning"
    assert counted({"error": 0, "warning": 0, "note": 0}) == "none"


def test_text_is_made_visible_and_otherwise_kept() -> None:
    assert visible("Zürich 東京 👩‍🔬 a\tb", keep="\t") == "Zürich 東京 👩‍🔬 a\tb"
    assert visible("\x00\x7f\ud800\ufeff") == "␀␡<U+D800><U+FEFF>"
    assert all(title == visible(title) for title in KINDS.values())
