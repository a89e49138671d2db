"""What the report says about rows, with and without a model."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.config import DataConfig, RunConfig, SourceConfig
from edgetune.data import reading, report
from edgetune.data.checks.contents import control_texts, missing_values, placeholders
from edgetune.data.checks.lengths import histogram, summarize
from edgetune.data.conversation import Conversation, Finding, Message, ToolCall
from edgetune.data.inspection import inspect


def row(line: int, *turns: tuple[str, str], **more: Any) -> Conversation:
    messages = tuple(Message(role, said) for role, said in turns)
    return Conversation(messages, file="rows.jsonl", line=line, **more)


ROWS = [
    row(1, ("user", "Say fox."), ("assistant", "fox"), task="say"),
    row(2, ("user", "Say dog."), ("assistant", "dogs"), task="say"),
    row(
        3,
        ("system", "Be kind."),
        ("user", "Hi!"),
        ("assistant", "Hello."),
        ("user", "Who?"),
        ("assistant", "Me."),
    ),
    Conversation((), text="Once upon a time.", file="rows.jsonl", line=4),
]


def kinds(found: dict[str, Any]) -> list[tuple[str, int]]:
    return [(item["kind"], item["line"]) for item in found["findings"]]


def test_rows_roles_turns_and_tasks_are_counted() -> None:
    found = report.examine(ROWS, ROWS[:1])
    assert (found["rows"], found["usable"]) == (5, 5)
    assert {name: part["rows"] for name, part in found["parts"].items()} == {"train": 4, "valid": 1}
    assert found["roles"] == {"system": 1, "user": 5, "assistant": 5, "tool": 0}
    assert found["turns"] == {"1": 3, "2": 1}
    assert found["with"]["system"] == found["with"]["text"] == 1
    assert found["tasks"] == [
        {"task": "say", "part": "train", "rows": 2, "share": 0.5},
        {"task": "", "part": "train", "rows": 2, "share": 0.5},
        {"task": "say", "part": "valid", "rows": 1, "share": 0.0},
    ]
    assert found["duplicates"]["leaks"] == 1
    assert kinds(found) == [("leak", 1)]
    json.dumps(found)


def test_lengths_are_in_characters_without_a_model() -> None:
    lengths = report.examine(ROWS)["lengths"]
    assert lengths["unit"] == "characters"
    assert (lengths["prompt"]["max"], lengths["answer"]["max"], lengths["row"]["max"]) == (
        15,
        9,
        24,
    )
    assert lengths["answer"]["median"] == 4


def test_findings_and_files_of_the_reader_are_taken_over_and_the_worst_comes_first(
    tmp_path: Path,
) -> None:
    file = tmp_path / "rows.jsonl"
    good = {"instruction": "Say when the tea is ready.", "output": "The tea is ready now."}
    file.write_text(json.dumps(good) + "\n" + json.dumps(good) + '\n{"instruction": "Say\n')
    found = report.examine(reading.read(SourceConfig(path=str(file))))
    assert (found["rows"], found["usable"]) == (3, 2)
    [read] = found["files"]
    assert (read["use"], read["left_out"], read["formats"]) == ("train", 1, {"alpaca": 2})
    assert [(item["grade"], item["line"]) for item in found["findings"]] == [
        ("error", 3),
        ("warning", 2),
    ]
    assert found["counts"] == {"error": 1, "warning": 1, "note": 0}


def test_a_second_line_is_never_hidden_among_many_repeats() -> None:
    found = report.examine(
        row(line, ("user", "Say fox."), ("assistant", "fox")) for line in range(1, 501)
    )
    assert [item["line"] for item in found["findings"]] == list(range(2, 501))
    assert found["duplicates"]["exact"] == 499


def test_nothing_is_examined_where_there_is_nothing() -> None:
    found = report.examine([])
    assert (found["rows"], found["usable"], found["findings"]) == (0, 0, [])
    assert found["lengths"]["row"] == {}


def test_secrets_are_reported_once_a_row_and_never_shown_whole() -> None:
    key = "AKIAQ3EGRCJ5XNVT7PLM"
    call = ToolCall("send", {"to": "marta.kowalska87@gmail.com"})
    item = Conversation(
        (
            Message("user", f"My key is {key}, again {key}."),
            Message("assistant", tool_calls=(call,)),
        ),
        file="rows.jsonl",
        line=7,
    )
    found = report.examine([item])
    assert sorted(kinds(found)) == [("personal", 7), ("secret", 7)]
    text = json.dumps(found)
    assert key not in text
    assert "kowalska87" not in text


def test_an_answer_in_the_rejected_half_is_looked_at_too() -> None:
    item = row(
        1,
        ("user", "Hi!"),
        ("assistant", "Hello."),
        rejected=(Message("assistant", "I am {{name}}."),),
    )
    assert kinds(report.examine([item])) == [("placeholder", 1)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, I am {{name}} of {{ company }}.", ["{{name}}", "{{ company }}"]),
        ("Dear [INSERT NAME], thank you.", ["[INSERT NAME]"]),
        ("In Jinja, {{ name }} prints a variable.", []),
        ("run: echo ${{ secrets.TOKEN }}", []),
        (r"The set \mathbf{{x}} is open.", []),
        ("Dear [Your Name], use arr[INSERTED] instead.", []),
    ],
)
def test_placeholders_are_told_from_templates(text: str, expected: list[str]) -> None:
    assert placeholders(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("That is all.<|im_end|>", ["<|im_end|>"]),
        ("Done.</s>", ["</s>"]),
        ("[INST] Hi [/INST]", ["[INST]", "[/INST]"]),
        ("It costs <s>nine</s> seven euros.", []),
        ("f |> g <| h", []),
        ("a[0] < b and c > d", []),
    ],
)
def test_control_tokens_are_told_from_other_brackets(text: str, expected: list[str]) -> None:
    assert control_texts(text) == expected


@given(st.lists(st.integers(0, 10**7), min_size=1))
def test_a_histogram_counts_every_length_in_buckets_that_follow_each_other(
    lengths: list[int],
) -> None:
    buckets = histogram(np.array(lengths))
    assert sum(bucket["count"] for bucket in buckets) == len(lengths)
    assert buckets[0]["from"] <= min(lengths)
    assert buckets[-1]["to"] == max(lengths)
    for bucket, following in pairwise(buckets):
        assert following["from"] == bucket["to"] + 1
    for bucket in buckets:
        within = [bucket["from"] <= length <= bucket["to"] for length in lengths]
        assert bucket["count"] == sum(within)
    assert len(buckets) <= 20


def test_quantiles_are_lengths_that_occur() -> None:
    found = summarize([1, 2, 3, 1000])
    assert (found["median"], found["p90"], found["max"]) == (2, 1000, 1000)


def test_with_a_model_lengths_and_shares_are_in_tokens(tmp_path: Path, tiny_model: Path) -> None:
    file = tmp_path / "rows.jsonl"
    words = ["red", "blue", "green", "one", "two", "three", "dog", "cat"]
    rows = [
        {"instruction": f"Say {word}.", "output": f"{word} it is.", "task": f"t{number % 2}"}
        for number, word in enumerate(words)
    ]
    rows.append({"instruction": "Say much.", "output": "much " * 100})
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    data = DataConfig(train=[SourceConfig(path=str(file))], max_length=60, valid_fraction=0.2)
    found = inspect(RunConfig(model=str(tiny_model), data=data))
    assert found["lengths"]["unit"] == "tokens"
    assert found["limit"] == {"max_length": 60, "over": 1, "lose_answer": 1}
    assert found["lengths"]["row"]["max"] > 60
    assert (found["rows"], found["usable"]) == (9, 8)
    assert [item["line"] for item in found["findings"] if item["kind"] == "overlong"] == [9]
    train = [task for task in found["tasks"] if task["part"] == "train"]
    assert sum(task["share"] for task in train) == pytest.approx(1)
    for part in ("train", "valid"):
        figures = found["parts"][part]
        assert 0 < figures["trained_tokens"] < figures["tokens"]
        of_tasks = [task["tokens"] for task in found["tasks"] if task["part"] == part]
        assert sum(of_tasks) == figures["tokens"]


def test_progress_goes_through_both_stages_to_the_end() -> None:
    told: list[tuple[str, float]] = []
    rows = (
        row(n, ("user", f"Say {n} and then nothing more at all."), ("assistant", str(n)))
        for n in range(1000)
    )
    report.examine(rows, total=1000, progress=lambda stage, share: told.append((stage, share)))
    stages = list(dict.fromkeys(stage for stage, _ in told))
    assert stages == ["looking at the rows", "looking for repeated rows"]
    for stage in stages:
        shares = [share for name, share in told if name == stage]
        assert shares == sorted(shares)
        assert shares[-1] == 1


def test_findings_given_beside_the_rows_are_in_the_report() -> None:
    given = Finding("note", "bom", "it begins with a byte order mark", "rows.jsonl")
    found = report.examine(ROWS, findings=[given], files=[{"use": "train", "rows": 9}])
    assert kinds(found) == [("bom", 0)]
    assert found["rows"] == 9


@pytest.mark.parametrize(
    ("asked", "answered", "number"),
    [
        ("Say it.", "nan", 1),
        ("Say it.", "None", 1),
        ("Say it.", "None of them.", 0),
        ("Is there one?", "none", 0),
        ("Sum it up.\n<noinput>", "Fine.", 1),
        ("Sum it up.\n\nNoinput", "Fine.", 1),
        ("What does nan mean?", "Not a number.", 0),
    ],
)
def test_missing_values_written_as_text_are_found(asked: str, answered: str, number: int) -> None:
    said = row(1, ("user", asked), ("assistant", answered))
    assert len(missing_values(said)) == number
    assert kinds(report.examine([said])) == [("no-value", 1)] * number
