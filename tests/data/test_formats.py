"""Rows become conversations; what is malformed is an error with its line, what is empty is left
out with its reason."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edgetune.data import formats
from edgetune.data.formats import Message
from edgetune.errors import RequestError


def write(folder: Path, *rows: Any) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def messages(folder: Path, row: dict[str, Any]) -> list[tuple[str, str]]:
    [conversation] = formats.load([write(folder, row)]).conversations
    return [(message.role, message.content) for message in conversation.messages]


def test_alpaca_input_follows_the_instruction_on_a_line_of_its_own(tmp_path: Path) -> None:
    row = {"instruction": "Add.", "input": "1 2", "output": "3"}
    assert messages(tmp_path, row) == [("user", "Add.\n1 2"), ("assistant", "3")]
    for absent in ({"input": ""}, {"input": None}, {}):
        row = dict({"instruction": "Hi", "output": "Ho"}, **absent)
        assert messages(tmp_path, row) == [("user", "Hi"), ("assistant", "Ho")]


def test_alpaca_system_text_becomes_a_system_message(tmp_path: Path) -> None:
    row = {"instruction": "Hi", "output": "Ho", "system": "Be brief."}
    assert messages(tmp_path, row)[0] == ("system", "Be brief.")


def test_chat_rows_keep_all_turns(tmp_path: Path) -> None:
    turns = [("system", ""), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    assert messages(tmp_path, row) == turns


def test_conversations_know_task_file_and_line(tmp_path: Path) -> None:
    row = {"instruction": "Hi", "output": "Ho"}
    file = write(tmp_path, row, {**row, "task": "greet"})
    loaded = formats.load([file])
    assert [(c.task, c.file, c.line) for c in loaded.conversations] == [
        ("", str(file), 1),
        ("greet", str(file), 2),
    ]
    [source] = loaded.sources
    assert (source.format, source.rows) == ("alpaca", 2)
    assert source.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_keys_without_a_meaning_are_listed(tmp_path: Path) -> None:
    file = write(tmp_path, {"instruction": "Hi", "output": "Ho", "chosen": "x", "task": "t"})
    assert formats.load([file]).sources[0].ignored_keys == ("chosen",)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "Hi"}, "`output` is missing"),
        ({"instruction": "Hi", "output": None}, "`output` is nothing, not text"),
        ({"instruction": "Hi", "output": 3}, "`output` is a number, not text"),
        ({"instruction": "Hi", "output": "x", "input": ["y"]}, "`input` is a list, not text"),
        ({"instruction": "Hi", "output": "x", "history": [["a", "b"]]}, "`history` is not read"),
        ({"instruction": "\ud800", "output": "x"}, "half a character"),
        ({"instruction": "Hi", "output": "x", "task": 1}, "`task` is a number"),
        ("text", "the row is text, not an object"),
    ],
)
def test_malformed_alpaca_rows_are_errors_with_their_line(
    tmp_path: Path, row: Any, reason: str
) -> None:
    file = write(tmp_path, {"instruction": "Hi", "output": "Ho"}, row)
    with pytest.raises(RequestError) as caught:
        formats.load([file])
    assert f"{file}, line 2: " in caught.value.message
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("hello", "`messages` is text, not a list"),
        (["hello"], "message 1 is text, not an object"),
        ([{"role": "tool", "content": "x"}], "message 1 has the role 'tool'"),
        ([{"role": ["user"], "content": "x"}], "message 1 has the role ['user']"),
        ([{"role": "user"}], "message 1 (user): `content` is missing"),
        ([{"role": "user", "content": [{"type": "text"}]}], "`content` is a list, not text"),
        (
            [{"role": "assistant", "content": "x", "tool_calls": [{}]}],
            "message 1 has `tool_calls`, which is not read",
        ),
    ],
)
def test_malformed_chat_rows_are_errors_with_their_line(
    tmp_path: Path, value: Any, reason: str
) -> None:
    with pytest.raises(RequestError) as caught:
        formats.load([write(tmp_path, {"messages": value})])
    assert "line 1: " in caught.value.message
    assert reason in caught.value.message


def test_only_the_first_few_malformed_rows_are_written_out(tmp_path: Path) -> None:
    file = write(tmp_path, *({"instruction": "Hi"} for _ in range(9)))
    with pytest.raises(RequestError, match=r"line 5: .*; and 4 more such rows\.") as caught:
        formats.load([file])
    assert "line 6" not in caught.value.message


def test_rows_without_an_answer_are_dropped_with_a_reason(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {"instruction": "Hi", "output": "Ho"},
        {"instruction": "Hi", "output": " \n"},
        {"instruction": "", "output": "Ho"},
    )
    loaded = formats.load([file])
    assert len(loaded.conversations) == 1
    assert [(drop.line, drop.reason) for drop in loaded.drops] == [
        (2, "message 2 (assistant) is empty"),
        (3, "message 1 (user) is empty"),
    ]


def test_a_chat_that_nobody_answers_is_dropped(tmp_path: Path) -> None:
    question = {"role": "user", "content": "Hi"}
    rows = [{"messages": [question]}, {"messages": []}]
    with pytest.raises(RequestError, match=r"no usable row.*line 1: it has no assistant message"):
        formats.load([write(tmp_path, *rows)])


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"question": "a", "answer": "b"}, "its keys are `question`, `answer`"),
        ({}, "its keys are none at all"),
        ([1], "it is a list, not an object"),
    ],
)
def test_an_unknown_format_says_what_was_found_and_what_is_accepted(
    tmp_path: Path, row: Any, found: str
) -> None:
    # A list on the first line would be the file's list of rows.
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([row]))
    with pytest.raises(RequestError) as caught:
        formats.load([file])
    assert found in caught.value.message
    assert '"instruction"' in caught.value.hint
    assert '"messages"' in caught.value.hint


def test_files_of_different_formats_load_together(tmp_path: Path) -> None:
    one = write(tmp_path, {"instruction": "Hi", "output": "Ho"})
    two = tmp_path / "chat.json"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    two.write_text(json.dumps([{"messages": turns}], indent=1))
    loaded = formats.load([one, two])
    assert [source.format for source in loaded.sources] == ["alpaca", "chat"]
    expected = (Message("user", "Hi"), Message("assistant", "Ho"))
    assert [c.messages for c in loaded.conversations] == [expected] * 2


def test_published_alpaca_files_load_whole(shared_data: Path) -> None:
    files = ["rasbt/instruction-data.json", "llama_factory/alpaca_en_demo.json"]
    loaded = formats.load([shared_data / "instruct" / name for name in files])
    assert [source.rows for source in loaded.sources] == [1100, 999]
    assert len(loaded.conversations) == 2099
    assert not loaded.drops
