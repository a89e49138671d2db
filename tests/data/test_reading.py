"""Sources are read row by row, with everything that there is to say about them."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edgetune.config import SourceConfig
from edgetune.data import reading
from edgetune.data.conversation import Conversation, Finding, Message
from edgetune.errors import RequestError

HI_HO = {"instruction": "Hi", "output": "Ho"}
CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}


def write(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def read(file: Path, **source: Any) -> list[Any]:
    return list(reading.read(SourceConfig(path=str(file), **source)))


def findings(items: list[Any]) -> list[Finding]:
    return [item for item in items if isinstance(item, Finding)]


def summary(items: list[Any]) -> reading.FileSummary:
    [found] = [item for item in items if isinstance(item, reading.FileSummary)]
    return found


def test_a_file_gives_its_conversations_and_then_its_summary(tmp_path: Path) -> None:
    file = write(tmp_path, HI_HO, {**HI_HO, "task": "greet"})
    first, second, last = read(file)
    assert isinstance(first, Conversation)
    assert (first.task, first.file, first.line) == ("", str(file), 1)
    assert (second.task, second.file, second.line) == ("greet", str(file), 2)
    assert last == reading.FileSummary(
        str(file), hashlib.sha256(file.read_bytes()).hexdigest(), 2, 2, {"alpaca": 2}
    )


def test_a_column_that_no_row_has_is_refused_with_what_they_have(tmp_path: Path) -> None:
    file = write(tmp_path, HI_HO, HI_HO)
    with pytest.raises(RequestError, match="has the key `contxt`") as caught:
        read(file, columns={"input": "contxt"})
    assert "`instruction`, `output`" in caught.value.hint
    file = write(tmp_path, HI_HO, {**HI_HO, "extra": "x"})
    assert summary(read(file, columns={"input": "extra"})).conversations == 2


def test_reading_streams(tmp_path: Path) -> None:
    stream = reading.read(SourceConfig(path=str(write(tmp_path, *[HI_HO] * 100))))
    assert isinstance(next(stream), Conversation)


def test_findings_stand_before_their_row(tmp_path: Path) -> None:
    odd = {"messages": [{"role": "user", "content": "So?"}, *CHAT["messages"]]}
    items = read(write(tmp_path, CHAT, odd, {"messages": 3}))
    assert [type(item).__name__ for item in items] == [
        "Conversation",
        "Finding",
        "Conversation",
        "Finding",
        "FileSummary",
    ]
    assert [(item.kind, item.line) for item in findings(items)] == [
        ("two-users", 2),
        ("malformed", 3),
    ]
    assert summary(items).left_out == 1


def test_a_mixed_file_says_which_rows_are_which(tmp_path: Path) -> None:
    rows = [HI_HO, HI_HO, CHAT, HI_HO, {"what": 1}, CHAT, CHAT]
    items = read(write(tmp_path, *rows))
    assert summary(items).formats == {"alpaca": 3, "chat": 3}
    assert summary(items).ranges == {"alpaca": "1–2, 4", "chat": "3, 6–7"}
    [note] = [item for item in findings(items) if item.kind == "mixed-formats"]
    assert note.grade == "note"
    assert note.message.endswith("alpaca in lines 1–2, 4; chat in lines 3, 6–7")


def test_formats_that_take_turns_all_through_a_file_do_not_fill_the_report(tmp_path: Path) -> None:
    items = read(write(tmp_path, *[HI_HO, CHAT] * 100))
    ranges = summary(items).ranges["alpaca"]
    assert ranges.startswith("1, 3, 5,")
    assert ranges.endswith(", 39, …")


def test_keys_without_a_meaning_are_said_once_and_those_about_a_row_only_listed(
    tmp_path: Path,
) -> None:
    rows = [HI_HO, {**HI_HO, "extra": "x", "id": 3}, {**HI_HO, "extra": "y", "more": "z"}]
    items = read(write(tmp_path, *rows))
    [note] = findings(items)
    assert (note.grade, note.kind, note.line) == ("note", "ignored-keys", 2)
    assert "`extra`, `more`" in note.message
    assert summary(items).ignored_keys == ["extra", "id", "more"]


def test_a_note_that_many_rows_give_comes_once(tmp_path: Path) -> None:
    rows = [HI_HO, *[{"question": "How many?", "answer": 3}] * 3]
    noted = [item for item in findings(read(write(tmp_path, *rows))) if item.line]
    assert [(item.kind, item.line) for item in noted] == [("number-as-text", 2)]
    assert noted[0].message == "`answer` is a number and was read as text, also in 2 other rows"


def test_broken_rows_are_counted_with_the_others(tmp_path: Path) -> None:
    file = write(tmp_path, HI_HO, HI_HO)
    file.write_text(file.read_text() + '{"instruction": \n' + json.dumps(HI_HO) + "\n")
    items = read(file)
    assert [(item.kind, item.line) for item in findings(items)] == [("broken", 3)]
    found = summary(items)
    assert (found.rows, found.conversations, found.left_out) == (4, 3, 1)


def test_a_source_says_format_columns_system_and_task(tmp_path: Path) -> None:
    file = write(tmp_path, {"ask": "Hi", "reply": "Ho"})
    columns = {"prompt": "ask", "completion": "reply"}
    options = {"columns": columns, "system": "Be brief.", "task": "greet"}
    [one, found] = read(file, **options)
    assert one.messages[0] == Message("system", "Be brief.")
    assert one.task == "greet"
    assert found.formats == {"completion": 1}
    with pytest.raises(RequestError, match="`anser`"):
        read(file, columns={"anser": "reply"})


def test_groups_come_from_a_key_of_the_rows(tmp_path: Path) -> None:
    file = write(tmp_path, {**HI_HO, "user": "ann"})
    [one, _] = reading.read(SourceConfig(path=str(file)), group="user")
    assert isinstance(one, Conversation)
    assert one.group == "ann"


def test_a_directory_gives_a_summary_for_each_file(tmp_path: Path) -> None:
    write(tmp_path, HI_HO, name="a.jsonl")
    write(tmp_path, CHAT, CHAT, name="b.jsonl")
    items = read(tmp_path)
    found = [item for item in items if isinstance(item, reading.FileSummary)]
    assert [(Path(item.file).name, item.formats) for item in found] == [
        ("a.jsonl", {"alpaca": 1}),
        ("b.jsonl", {"chat": 2}),
    ]


def test_task_files_are_read_as_such(tmp_path: Path) -> None:
    task = {
        "task": "greet",
        "templates": [{"prompt": "Say {x}.", "answer": "{y}"}],
        "rows": [{"x": "hi", "y": "Hi!"}],
    }
    file = tmp_path / "greet.json"
    file.write_text(json.dumps(task, indent=1))
    items = read(file)
    [one] = [item for item in items if isinstance(item, Conversation)]
    assert (one.task, one.messages[-1].content) == ("greet", "Hi!")
    assert summary(items).conversations == 1


def test_progress_rises_to_one(tmp_path: Path) -> None:
    write(tmp_path, *[HI_HO] * 50, name="a.jsonl")
    write(tmp_path, *[HI_HO] * 50, name="b.jsonl")
    told: list[tuple[str, float]] = []
    list(reading.read(SourceConfig(path=str(tmp_path)), progress=lambda *now: told.append(now)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {what for what, _ in told} == {"reading a.jsonl", "reading b.jsonl"}


def test_sources_of_all_kinds_load_together(tmp_path: Path) -> None:
    one = write(tmp_path, HI_HO, name="one.jsonl")
    two = write(tmp_path, CHAT, name="two.jsonl")
    loaded = reading.load([one, str(two), SourceConfig(path=str(one), task="again")])
    expected = (Message("user", "Hi"), Message("assistant", "Ho"))
    assert [item.messages for item in loaded.conversations] == [expected] * 3
    assert [item.task for item in loaded.conversations] == ["", "", "again"]
    assert len(loaded.files) == 3


def test_rows_with_errors_refuse_the_data_with_the_first_few(tmp_path: Path) -> None:
    file = write(tmp_path, HI_HO, *[{"instruction": "Hi"}] * 9)
    with pytest.raises(RequestError) as caught:
        reading.load([file])
    assert caught.value.message.startswith(f"{file}, line 2: `output` is missing; {file}, line 3: ")
    assert caught.value.message.endswith("; and 4 more such rows.")
    assert "line 7" not in caught.value.message
    assert "data.bad_rows=leave_out" in caught.value.hint
    assert '"messages"' in caught.value.hint
    loaded = reading.load([file], bad_rows="leave_out")
    assert len(loaded.conversations) == 1
    assert len(loaded.findings) == 9


def test_data_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, {"messages": []})
    with pytest.raises(RequestError, match=r"no usable row.*line 1: it has no assistant message"):
        reading.load([file])


# Rows as the publishers count them, conversations, and the format.
PUBLISHED: list[tuple[str, int, int, str]] = [
    ("instruct/llama_factory/alpaca_en_demo.json", 999, 999, "alpaca"),
    ("instruct/llama_factory/identity.json", 91, 91, "alpaca"),
    ("instruct/llama_factory/glaive_toolcall_en_demo.json", 300, 300, "sharegpt"),
    ("instruct/llama_factory/dpo_en_demo.json", 300, 300, "preference"),
    ("instruct/llama_factory/kto_en_demo.json", 300, 300, "kto"),
    ("instruct/llama_factory/v1_sft_demo.jsonl", 500, 500, "chat"),
    ("instruct/llama_factory/reason_tool_use_demo_50.jsonl", 50, 50, "chat"),
    ("instruct/rasbt/instruction-data.json", 1100, 1100, "alpaca"),
    ("instruct/rasbt/instruction-data-with-preference.json", 1100, 1100, "preference"),
    ("instruct/gsm8k/train.jsonl", 7473, 7473, "question"),
    ("instruct/gsm8k/test.jsonl", 1319, 1319, "question"),
    ("instruct/wikisql/train.jsonl", 1000, 1000, "text"),
    ("instruct/wikisql/valid.jsonl", 100, 100, "text"),
    ("instruct/wikisql/test.jsonl", 100, 100, "text"),
    ("instruct/self_instruct/seed_tasks.jsonl", 175, 175, "seed-tasks"),
    ("instruct/sharegpt/dummy_conversation.json", 500, 500, "sharegpt"),
    # In four of its dialogues the chosen answer is empty.
    ("instruct/hh_rlhf/test.jsonl.gz", 2312, 2308, "preference"),
    ("eval/xstest/xstest_v2_completions_gpt4.csv", 450, 450, "completion"),
    ("eval/xstest/xstest_v2_completions_gpt4_gpteval.csv", 450, 450, "completion"),
]


@pytest.mark.parametrize(("name", "rows", "conversations", "row_format"), PUBLISHED)
def test_published_files_are_recognized_whole(
    shared_data: Path, name: str, rows: int, conversations: int, row_format: str
) -> None:
    items = read(shared_data / name)
    found = summary(items)
    assert (found.rows, found.formats) == (rows, {row_format: rows})
    assert found.conversations == conversations
    assert found.left_out == rows - conversations
    assert not [item for item in findings(items) if item.grade == "error"]


def test_every_published_file_is_accounted_for(shared_data: Path) -> None:
    known = {shared_data / name for name, *_ in PUBLISHED}
    known.add(shared_data / "eval/xstest/xstest_prompts.csv")
    patterns = ("instruct/*/*.json*", "eval/xstest/*.csv")
    assert {file for pattern in patterns for file in shared_data.glob(pattern)} == known


def test_prompts_without_answers_are_refused_for_that(shared_data: Path) -> None:
    items = read(shared_data / "eval/xstest/xstest_prompts.csv")
    found = summary(items)
    assert (found.rows, found.conversations, found.left_out) == (450, 0, 450)
    assert {(item.kind, item.message.split(";")[0]) for item in findings(items)} == {
        ("format", "it has `prompt` but no answer to it")
    }


def test_published_preferences_keep_the_worse_answer(shared_data: Path) -> None:
    with gzip.open(shared_data / "instruct/hh_rlhf/test.jsonl.gz", "rt") as file:
        first = json.loads(next(file))
    one = next(
        item
        for item in reading.read(
            SourceConfig(path=str(shared_data / "instruct/hh_rlhf/test.jsonl.gz"))
        )
        if isinstance(item, Conversation)
    )
    assert first["chosen"].endswith(one.messages[-1].content)
    assert first["rejected"].endswith(one.rejected[-1].content)
    assert one.messages[-1] != one.rejected[-1]


def test_published_reasoning_calls_and_weights_are_kept(shared_data: Path) -> None:
    folder = shared_data / "instruct/llama_factory"
    reasoned = [
        message
        for item in read(folder / "reason_tool_use_demo_50.jsonl")
        if isinstance(item, Conversation)
        for message in item.messages
        if message.role == "assistant"
    ]
    assert all(message.reasoning for message in reasoned)
    assert sum(len(message.tool_calls) for message in reasoned) == 68
    weights = {
        (message.role, message.weight)
        for item in read(folder / "v1_sft_demo.jsonl")
        if isinstance(item, Conversation)
        for message in item.messages
    }
    assert weights == {("user", 0.0), ("assistant", 1.0)}
    labels = [
        item.label for item in read(folder / "kto_en_demo.json") if isinstance(item, Conversation)
    ]
    assert set(labels) == {True, False}
