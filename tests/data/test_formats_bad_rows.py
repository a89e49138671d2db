"""Every kind of bad row has its outcome: an error, a warning, or a note; with or without it."""

import json
from typing import Any

import pytest

from edgetune.config import SourceConfig
from edgetune.data import formats
from edgetune.data.readers.rows import Row

Q, A = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}
S = {"role": "system", "content": "Be brief."}
T = {"role": "tool", "content": "3"}
HI = {"instruction": "Hi"}


def read(value: Any) -> formats.RowRead:
    return formats.read_row(Row(value, "rows.jsonl", 7), SourceConfig(path="rows.jsonl"))


def call(**call_of: Any) -> dict[str, Any]:
    return {"messages": [Q, {"role": "assistant", "tool_calls": [call_of]}]}


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}, A]}


LEFT_OUT = [
    # grade, kind, reason, row
    ("error", "malformed", "`output` is missing", HI),
    ("error", "malformed", "`output` is nothing, not text", {**HI, "output": None}),
    ("error", "malformed", "`output` is true or false, not text", {**HI, "output": True}),
    ("error", "malformed", "`output` is an object, not text", {**HI, "output": {"a": 1}}),
    ("error", "malformed", "`input` is a list, not text", {**HI, "output": "x", "input": ["y"]}),
    ("error", "malformed", "`output` is a number with", {**HI, "output": 10**5000}),
    ("error", "malformed", "`output` is a number, not text", {**HI, "output": float("nan")}),
    ("error", "malformed", "message 1 is a number", {**HI, "output": "x", "history": [3]}),
    ("error", "malformed", "`task` is a list, not text", {**HI, "output": "x", "task": ["t"]}),
    ("error", "encoding", "message 1 (user) holds half", {"instruction": "\ud800", "output": "x"}),
    ("error", "nul", "message 2 (assistant) holds a NUL", {**HI, "output": "a\0b"}),
    ("error", "nul", "the text holds a NUL", {"text": "a\0b"}),
    ("error", "encoding", "the name of the task", {**HI, "output": "x", "task": "\udfff"}),
    ("error", "format", "the row is text, not an object", "text"),
    ("error", "format", "the row is nothing, not an object", None),
    ("error", "format", "the row is a list, not an object", [1]),
    ("error", "format", "its keys are none at all", {}),
    ("error", "format", "its keys are `a`, `b`", {"a": 1, "b": "x"}),
    ("error", "malformed", "`messages` is text, not a list", {"messages": "hello"}),
    ("error", "malformed", "`messages` is text that is not JSON", {"messages": "[hello"}),
    ("error", "malformed", "message 1 is text, not an object", {"messages": ["hello"]}),
    ("error", "malformed", "message 2 has no role; its keys are `x`", {"messages": [Q, {"x": 1}]}),
    (
        "error",
        "role",
        "message 1 has the role 'narrator'",
        {"messages": [{**Q, "role": "narrator"}]},
    ),
    ("error", "role", "message 1 has the role a list", {"messages": [{**Q, "role": ["user"]}]}),
    ("error", "role", "message 1 has the role None", {"messages": [{**Q, "role": None}]}),
    (
        "error",
        "malformed",
        "message 1 (user): `content` is missing",
        {"messages": [{"role": "user"}]},
    ),
    ("error", "malformed", "message 1 (user): `content` is nothing, not text", user(None)),
    ("error", "malformed", "message 1 (user): `content` is an object, not text", user({"a": 1})),
    ("error", "malformed", "`text` of part 1 of the content is nothing", user([{"type": "text"}])),
    ("error", "malformed", "part 1 of the content is a number", user([3])),
    ("error", "format", "is of the type 'image', which is not read", user([{"type": "image"}])),
    ("error", "format", "(user): it has `images`", {"messages": [{**Q, "images": ["x"]}, A]}),
    (
        "error",
        "malformed",
        "reasoning that stands behind the answer",
        {
            "messages": [
                Q,
                {
                    "role": "assistant",
                    "content": [{"text": "a"}, {"type": "thinking", "thinking": "b"}],
                },
            ]
        },
    ),
    ("error", "malformed", "call 1 of a tool does not say which", call()),
    ("error", "malformed", "`f` is called with a list", call(name="f", arguments=[1])),
    (
        "error",
        "malformed",
        "`f` is called with is text that is not",
        call(name="f", arguments="{a"),
    ),
    ("error", "malformed", "an `id` that is a list", call(name="f", id=["x"])),
    (
        "error",
        "malformed",
        "only an assistant can",
        {"messages": [{**Q, "tool_calls": [{"name": "f"}]}]},
    ),
    (
        "error",
        "malformed",
        "message 2 (function_call): the call is text that is not JSON",
        {
            "conversations": [
                {"from": "human", "value": "Hi"},
                {"from": "function_call", "value": "f"},
            ]
        },
    ),
    (
        "error",
        "malformed",
        "`tools` is text that is not JSON",
        {"messages": [Q, A], "tools": "f()"},
    ),
    ("error", "malformed", "tool 1 is a number", {"messages": [Q, A], "tools": [3]}),
    ("error", "malformed", "tool 1 has no name", {"messages": [Q, A], "tools": [{"function": {}}]}),
    (
        "error",
        "malformed",
        "tool 1 is of the type 'x'",
        {"messages": [Q, A], "tools": [{"type": "x", "function": {}}]},
    ),
    (
        "error",
        "malformed",
        "`weight` is to be true, false or",
        {"messages": [Q, {**A, "weight": "1"}]},
    ),
    (
        "error",
        "malformed",
        "`weight` is to be true, false or",
        {"messages": [Q, {**A, "weight": -1}]},
    ),
    ("error", "malformed", "`name` is a list, not text", {"messages": [{**Q, "name": ["x"]}, A]}),
    (
        "error",
        "malformed",
        "`rejected` is true or false",
        {"prompt": "Hi", "chosen": "x", "rejected": True},
    ),
    ("error", "malformed", "`prompt` is missing", {"chosen": "x", "rejected": "y"}),
    ("error", "malformed", "instance 1 is text", {"instruction": "Hi", "instances": ["x"]}),
    ("warning", "no-answer", "it has no assistant message", {"messages": []}),
    ("warning", "no-answer", "it has no assistant message", {"messages": [Q]}),
    ("warning", "no-answer", "it has no assistant message", {"messages": [S, Q, Q]}),
    ("warning", "no-answer", "it has no assistant message", {"conversations": ["Hi"]}),
    ("warning", "no-answer", "weight 0", {"messages": [Q, {**A, "train": False}]}),
    ("warning", "no-answer", "`output` holds no answer", {**HI, "output": []}),
    ("warning", "no-answer", "`instances` holds nothing", {"instruction": "Hi", "instances": []}),
    ("warning", "empty", "message 2 (assistant) is empty", {**HI, "output": " \n"}),
    ("warning", "empty", "message 1 (user) is empty", {"instruction": "", "output": "Ho"}),
    ("warning", "empty", "message 1 (user) is empty", user("\u3000")),
    (
        "warning",
        "empty",
        "it only has reasoning",
        {"prompt": "Hi", "completion": "<think>a</think>"},
    ),
    ("warning", "empty", "the text is empty", {"text": " "}),
    ("warning", "empty", "`chosen` is empty", {"prompt": "Hi", "chosen": [], "rejected": "x"}),
]


@pytest.mark.parametrize(("grade", "kind", "reason", "value"), LEFT_OUT)
def test_a_row_that_cannot_be_used_is_left_out_with_its_reason(
    grade: str, kind: str, reason: str, value: Any
) -> None:
    result = read(value)
    assert result.conversations == []
    [finding] = result.findings
    assert (finding.grade, finding.kind, finding.left_out) == (grade, kind, True)
    assert (finding.file, finding.line) == ("rows.jsonl", 7)
    assert reason in finding.message
    assert not finding.message.endswith(".")


ODD = [
    ("warning", "two-users", "messages 1 and 2 are both the user's", [Q, Q, A], 3),
    ("warning", "two-assistants", "messages 2 and 3 are both the assistant's", [Q, A, A], 3),
    ("warning", "assistant-first", "the assistant speaks first", [S, A, Q, A], 4),
    ("warning", "system-not-first", "message 3 is a system message", [Q, A, S, Q, A], 5),
    ("warning", "ends-with-user", "the last message (user) has no answer", [Q, A, Q], 2),
    ("warning", "ends-with-user", "the last 2 messages (user, tool)", [Q, A, Q, T], 2),
    ("warning", "ends-with-user", "the last message (user)", [Q, A, {**Q, "content": ""}], 2),
    ("note", "number-as-text", "`content` is a number", [{**Q, "content": 3}, A], 2),
]


@pytest.mark.parametrize(("grade", "kind", "reason", "messages", "kept"), ODD)
def test_an_odd_row_is_used_and_said(
    grade: str, kind: str, reason: str, messages: list[Any], kept: int
) -> None:
    result = read({"messages": messages})
    [one] = result.conversations
    assert len(one.messages) == kept
    assert [message.role for message in one.messages] == [m["role"] for m in messages[:kept]]
    [finding] = result.findings
    assert (finding.grade, finding.kind, finding.left_out) == (grade, kind, False)
    assert reason in finding.message


def test_numbers_become_text_as_they_were_written() -> None:
    for number, text in ((3, "3"), (0.5, "0.5"), (-2.0, "-2.0")):
        result = read({"question": "How many?", "answer": number})
        assert result.conversations[0].messages[1].content == text
        assert [finding.kind for finding in result.findings] == ["number-as-text"]


def test_tools_may_give_nothing_back() -> None:
    row = call(name="f", arguments={})
    row["messages"] += [{"role": "tool", "content": ""}, A]
    assert read(row).findings == []


def test_an_answer_that_only_calls_a_tool_is_not_empty() -> None:
    assert read(call(name="f", arguments={})).findings == []


def test_a_worse_answer_does_not_outlive_the_better_one() -> None:
    row = {"messages": [Q, A, Q], "rejected": [A]}
    [one] = read(row).conversations
    assert one.rejected == ()


def test_what_json_text_hides_is_found() -> None:
    hidden = json.dumps([{"role": "user", "content": "a\0"}, A])
    assert read({"messages": hidden}).findings[0].kind == "nul"
    hidden = '[{"name": "f", "description": "\\ud800"}]'
    assert read({"messages": [Q, A], "tools": hidden}).findings[0].kind == "encoding"


def test_nesting_without_end_is_an_error_of_the_row() -> None:
    arguments: Any = {}
    for _ in range(100_000):
        arguments = {"a": arguments}
    [finding] = read(call(name="f", arguments=arguments)).findings
    assert (finding.kind, finding.left_out) == ("broken", True)
    [finding] = read({"messages": "[" * 100_000}).findings
    assert finding.left_out


def test_the_finding_of_a_row_from_reading_stays_with_it() -> None:
    from edgetune.data.conversation import Finding

    found = Finding("warning", "duplicate-key", "`x` is given twice", "rows.jsonl", 7)
    row = Row({"prompt": "Hi", "completion": "Ho"}, "rows.jsonl", 7, (found,))
    assert formats.to_conversations(row, SourceConfig(path="x"))[2] == [found]
