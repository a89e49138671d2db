"""Rows of every format become the conversations that they mean."""

import json
import time
from typing import Any

import pytest

from edgetune.config import SourceConfig
from edgetune.data import formats
from edgetune.data.conversation import Conversation, Message, ToolCall
from edgetune.data.readers.rows import Row
from edgetune.errors import RequestError

Q, A = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}


def read(value: Any, group: str = "", **source: Any) -> formats.RowRead:
    config = SourceConfig(path="rows.jsonl", **source)
    return formats.read_row(Row(value, "rows.jsonl", 7), config, group)


def conversation(value: Any, **source: Any) -> Conversation:
    """The one conversation of a row about which there is nothing to say but notes."""
    result = read(value, **source)
    assert [finding for finding in result.findings if finding.grade != "note"] == []
    [one] = result.conversations
    return one


def turns(value: Any, **source: Any) -> list[tuple[str, str]]:
    messages = conversation(value, **source).messages
    return [(message.role, message.content) for message in messages]


def notes(value: Any, **source: Any) -> list[str]:
    return [finding.kind for finding in read(value, **source).findings]


def test_alpaca_input_follows_the_instruction_on_a_line_of_its_own() -> None:
    row = {"instruction": "Add.", "input": "1 2", "output": "3"}
    assert turns(row) == [("user", "Add.\n1 2"), ("assistant", "3")]
    absents: list[dict[str, Any]] = [{"input": ""}, {"input": None}, {}]
    for absent in absents:
        row = {"instruction": "Hi", "output": "Ho", **absent}
        assert turns(row) == [("user", "Hi"), ("assistant", "Ho")]
    assert turns({"instruction": "", "input": "Hi", "output": "Ho"})[0] == ("user", "Hi")


def test_alpaca_system_text_becomes_a_system_message() -> None:
    row = {"instruction": "Hi", "output": "Ho", "system": "Be brief."}
    assert turns(row)[0] == ("system", "Be brief.")
    assert turns({**row, "system": ""})[0] == ("user", "Hi")


def test_alpaca_history_stands_before_the_instruction() -> None:
    row = {"instruction": "c", "output": "d", "system": "s", "history": [["a", "b"]]}
    assert turns(row) == [
        ("system", "s"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", "d"),
    ]
    assert turns({**row, "history": []})[1:] == [("user", "c"), ("assistant", "d")]


def test_of_several_outputs_the_first_is_learned_and_that_is_said() -> None:
    row = {"instruction": "Hi", "output": ["Ho", "Hu"]}
    assert turns(row)[1] == ("assistant", "Ho")
    assert notes(row) == ["several-answers"]
    assert notes({"instruction": "Hi", "output": ["Ho"]}) == []


def test_chat_rows_keep_all_turns_as_they_are() -> None:
    said = [("system", ""), ("user", " a\n"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = {"messages": [{"role": role, "content": content} for role, content in said]}
    assert turns(row) == said


def test_a_list_of_messages_is_a_chat_row_without_its_key() -> None:
    assert turns([Q, A]) == [("user", "Hi"), ("assistant", "Ho")]


def test_messages_may_be_json_text() -> None:
    assert turns({"messages": json.dumps([Q, A])}) == [("user", "Hi"), ("assistant", "Ho")]


def test_role_names_count_in_any_case_and_from_all_the_usual_sources() -> None:
    for user, answerer in [
        ("Human", "GPT"),
        ("user", "Chatbot"),
        ("prompter", "assistant"),
        ("USER", "bing"),
        ("human", "bard"),
        ("user", "model"),
    ]:
        row = {"conversations": [{"from": user, "value": "Hi"}, {"from": answerer, "value": "Ho"}]}
        assert turns(row) == [("user", "Hi"), ("assistant", "Ho")]
    row = {"messages": [{"role": "developer", "content": "Be brief."}, Q, A]}
    assert turns(row)[0] == ("system", "Be brief.")


TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "tools",
    [
        [TOOL],
        json.dumps([TOOL]),
        [json.dumps(TOOL)],
        [TOOL["function"]],
        TOOL["function"],
        json.dumps(TOOL["function"]),
        [{"name": "add", "input_schema": {"type": "object"}}],
    ],
)
def test_tools_become_canonical(tools: Any) -> None:
    for key in ("tools", "functions"):
        assert conversation({"messages": [Q, A], key: tools}).tools == (TOOL,)


@pytest.mark.parametrize("tools", [None, [], "", "[]", " ", "null"])
def test_rows_may_have_no_tools(tools: Any) -> None:
    assert conversation({"messages": [Q, A], "tools": tools}).tools == ()


@pytest.mark.parametrize(
    "message",
    [
        {
            "content": None,
            "tool_calls": [
                {"id": "", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
            ],
        },
        {"tool_calls": [{"name": "add", "arguments": '{"a": 1}'}]},
        {"content": "", "function_call": {"name": "add", "arguments": '{"a": 1}'}},
        {"content": [{"type": "tool_call", "value": '{"name": "add", "arguments": {"a": 1}}'}]},
        {"content": [{"type": "tool_use", "name": "add", "input": {"a": 1}}]},
        {"tool_calls": '[{"name": "add", "parameters": {"a": 1}}]'},
    ],
)
def test_calls_of_tools_in_all_shapes(message: dict[str, Any]) -> None:
    row = {
        "messages": [
            Q,
            {"role": "assistant", **message},
            {"role": "tool", "content": "3"},
            A,
        ]
    }
    [_, call, result, _] = conversation(row).messages
    assert call == Message("assistant", tool_calls=(ToolCall("add", {"a": 1}),))
    assert result == Message("tool", "3")


def test_names_and_call_ids_are_kept() -> None:
    call = {"id": "x1", "type": "function", "function": {"name": "f", "arguments": ""}}
    row = {
        "messages": [
            {**Q, "name": "Ann"},
            {"role": "assistant", "content": "wait", "tool_calls": [call]},
            {"role": "tool", "content": "3", "tool_call_id": "x1", "name": "f"},
            A,
        ]
    }
    [user, asked, result, _] = conversation(row).messages
    assert user.name == "Ann"
    assert asked.tool_calls == (ToolCall("f", {}, "x1"),)
    assert (result.name, result.tool_call_id) == ("f", "x1")


def test_sharegpt_calls_belong_to_the_answer_before_them() -> None:
    call = {"from": "function_call", "value": '{"name": "f", "arguments": {}}'}
    row = {
        "conversations": [
            {"from": "human", "value": "Hi"},
            {"from": "gpt", "value": "wait"},
            call,
            call,
            {"from": "observation", "value": '{"x": 1}'},
            {"from": "gpt", "value": "Ho"},
        ]
    }
    assert conversation(row).messages == (
        Message("user", "Hi"),
        Message("assistant", "wait", tool_calls=(ToolCall("f", {}), ToolCall("f", {}))),
        Message("tool", '{"x": 1}'),
        Message("assistant", "Ho"),
    )


def test_a_call_with_reasoning_of_its_own_is_an_answer_of_its_own() -> None:
    thought = {"from": "function_call", "value": '<think>hm</think>{"name": "f"}'}
    row = {"conversations": [{"from": "human", "value": "Hi"}, thought]}
    expected = Message("assistant", "", "hm", (ToolCall("f", {}),))
    assert conversation(row).messages[1] == expected
    row["conversations"].insert(1, {"from": "gpt", "value": "wait"})
    assert read(row).conversations[0].messages[1:] == (Message("assistant", "wait"), expected)


def test_tools_that_the_system_message_lists_are_not_listed_twice() -> None:
    said = [
        {"from": "system", "value": "You have <tools>[…]</tools>."},
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Ho"},
    ]
    row = {"conversations": said, "tools": [TOOL]}
    assert conversation(row).tools == ()
    assert notes(row) == ["adjusted"]


def test_what_a_tool_gives_back_may_be_an_object() -> None:
    row = {"messages": [Q, {"role": "tool", "content": {"x": "é"}}, A]}
    assert turns(row)[1] == ("tool", '{"x": "é"}')
    assert notes(row) == ["json-as-text"]


def test_parts_of_text_are_joined() -> None:
    parts = [{"type": "text", "text": "H"}, {"type": "text", "value": "i"}, {"text": "!"}]
    row = {"messages": [{"role": "user", "content": parts}, A]}
    assert turns(row)[0] == ("user", "Hi!")


def test_anthropic_results_of_tools_become_messages_of_their_own() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": [{"type": "text", "text": "3"}],
    }
    row = {
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "text", "text": "wait"}, use]},
            {"role": "user", "content": [result]},
            {"role": "assistant", "content": "Ho"},
        ],
    }
    [system, _, call, answer, _] = conversation(row).messages
    assert system == Message("system", "Be brief.")
    assert call == Message("assistant", "wait", tool_calls=(ToolCall("f", {"a": 1}, "t1"),))
    assert answer == Message("tool", "3", tool_call_id="t1")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_stands_apart_from_the_answer(key: str) -> None:
    row = {"messages": [Q, {**A, key: "hm"}]}
    assert conversation(row).messages[1] == Message("assistant", "Ho", "hm")


def test_reasoning_parts_and_calls() -> None:
    parts = [
        {"type": "reasoning", "value": "hm"},
        {"type": "text", "value": "wait"},
        {"type": "tool_call", "value": '{"name": "f", "arguments": {}}'},
    ]
    row = {"messages": [Q, {"role": "assistant", "content": parts}]}
    expected = Message("assistant", "wait", "hm", (ToolCall("f", {}),))
    assert conversation(row).messages[1] == expected


@pytest.mark.parametrize(
    ("content", "reasoning", "rest"),
    [
        ("<think>\nhm\n</think>\n\nHo", "hm", "Ho"),
        ("<think>hm</think>Ho", "hm", "Ho"),
        ("\n<think>\n hm \n\n</think>\n Ho", " hm ", " Ho"),
        ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
        ("Ho <think>hm</think>", "", "Ho <think>hm</think>"),
        ("<think>hm, not done", "", "<think>hm, not done"),
    ],
)
def test_a_leading_think_block_is_the_reasoning(content: str, reasoning: str, rest: str) -> None:
    expected = Message("assistant", rest, reasoning)
    row = {"messages": [Q, {"role": "assistant", "content": content}]}
    assert conversation(row).messages[1] == expected
    assert conversation({"prompt": "Hi", "completion": content}).messages[1] == expected
    user = {"messages": [{"role": "user", "content": content}, A]}
    assert turns(user)[0] == ("user", content)


def test_an_empty_think_block_is_left_to_the_template_and_said() -> None:
    row = {"messages": [Q, {"role": "assistant", "content": "<think>\n\n</think>\n\nHo"}]}
    assert conversation(row).messages[1] == Message("assistant", "Ho")
    assert notes(row) == ["empty-thinking"]


def test_a_given_reasoning_leaves_the_content_alone() -> None:
    item = {"role": "assistant", "content": "<think>x</think>y", "reasoning_content": ""}
    assert conversation({"messages": [Q, item]}).messages[1] == Message(
        "assistant", "<think>x</think>y"
    )


@pytest.mark.parametrize(
    ("flag", "weight"),
    [
        ({"train": False}, 0.0),
        ({"train": True}, 1.0),
        ({"weight": 0}, 0.0),
        ({"loss_weight": 0.5}, 0.5),
        ({"train": None}, None),
        ({}, None),
    ],
)
def test_messages_have_weights(flag: dict[str, Any], weight: float | None) -> None:
    row = {"messages": [Q, {**A, **flag}, Q, A]}
    assert conversation(row).messages[1].weight == weight


def test_other_keys_of_messages_are_ignored_and_said() -> None:
    row = {"conversation": [{**Q, "timestamp": 3, "toxic": False}, {**A, "thinking": ""}]}
    assert read(row).ignored == ["conversation.timestamp", "conversation.toxic"]


def test_preference_pairs_keep_both_answers() -> None:
    pair = {"chosen": "Ho", "rejected": "No"}
    asked = (Message("user", "Hi"), Message("assistant", "Ho"))
    refused = (Message("assistant", "No"),)
    human = {"from": "human", "value": "Hi"}
    gpt = {"from": "gpt", "value": "Ho"}
    no = {"role": "assistant", "content": "No"}
    for row in (
        {"prompt": "Hi", **pair},
        {"question": "Hi", **pair, "system": ""},
        {"instruction": "Hi", "input": "", "output": "Hm", **pair},
        {"prompt": [Q], "chosen": [A], "rejected": [no]},
        {"prompt": "Hi", "chosen": [Q, A], "rejected": [Q, no], "messages": [Q, A]},
        {"chosen": [Q, A], "rejected": [Q, no]},
        {"conversations": [human], "chosen": gpt, "rejected": {"from": "gpt", "value": "No"}},
        {"messages": [Q], "chosen": A, "rejected": no},
        {"messages": [Q, A], "rejected": [no]},
        {"messages": [Q, A], "rejected": [Q, no]},
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Ho", "rejected": "\n\nHuman: Hi\n\nAssistant: No"},
        {"prompt": "\n\nHuman: Hi\n\nAssistant:", **pair},
        {"input": {"messages": [Q]}, "preferred_output": [A], "non_preferred_output": [no]},
    ):
        result = read(row)
        assert result.format == "preference", row
        assert conversation(row).messages == asked, row
        assert conversation(row).rejected == refused, row


def test_a_preference_pair_may_have_a_system_text_and_earlier_turns() -> None:
    row = {"question": "Hi", "context": "c", "chosen": "Ho", "rejected": "No"}
    assert turns(row)[0] == ("user", "c\n\nHi")
    row = {"system": "s", "question": "Hi", "chosen": "Ho", "rejected": "No"}
    assert turns(row) == [("system", "s"), ("user", "Hi"), ("assistant", "Ho")]
    text = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c: d\n\nAssistant: "
    row = {"chosen": text + "Yes.\n\nReally.", "rejected": text + "No."}
    assert turns(row)[2:] == [("user", "c: d"), ("assistant", "Yes.\n\nReally.")]
    assert conversation(row).rejected == (Message("assistant", "No."),)


def test_pairs_that_are_none_are_learned_and_said() -> None:
    same = {"prompt": "Hi", "chosen": "Ho", "rejected": "Ho"}
    apart = {"chosen": [Q, A, Q, A], "rejected": [Q, {**A, "content": "x"}, Q, A]}
    empty = {"prompt": "Hi", "chosen": "Ho", "rejected": " "}
    for row in (same, apart, empty):
        assert conversation(row).rejected == ()
        assert notes(row) == ["unlike-pair"]


def test_kto_labels_say_which_answers_are_desirable() -> None:
    for label, meant in ((True, True), (False, False), ("False", False), ("TRUE", True)):
        for row in (
            {"messages": [Q, A]},
            {"prompt": "Hi", "completion": "Ho"},
            {"prompt": [Q], "completion": [A]},
            {"instruction": "Hi", "output": "Ho"},
        ):
            for key in ("label", "kto_tag"):
                result = read({**row, key: label})
                assert result.format == "kto"
                [one] = result.conversations
                assert one.label is meant
                assert one.messages == (Message("user", "Hi"), Message("assistant", "Ho"))
                assert not result.ignored


def test_a_label_that_is_a_number_may_be_anything_so_it_is_asked_for() -> None:
    row = {"prompt": "Hi", "completion": "Ho", "label": 0}
    [finding] = read(row).findings
    assert (finding.kind, finding.left_out) == ("format", True)
    assert "ask for --format kto" in finding.message
    assert conversation(row, format="kto").label is False
    assert conversation(row, format="completion").label is None


def test_a_text_has_no_answer_to_judge() -> None:
    [finding] = read({"text": "Ho", "kto_tag": True}, format="kto").findings
    assert (finding.kind, finding.left_out) == ("format", True)


def test_a_label_that_is_no_judgement_is_only_ignored() -> None:
    result = read({"prompt": "Hi", "completion": "Ho", "label": "safe"})
    assert (result.format, result.ignored) == ("completion", ["label"])


def test_seed_tasks_give_a_conversation_for_each_instance() -> None:
    row = {
        "id": "seed_task_1",
        "name": "add",
        "instruction": "Add.",
        "instances": [{"input": "1 2", "output": "3"}, {"input": "", "output": 0}],
        "is_classification": False,
    }
    result = read(row)
    assert [(one.messages[0].content, one.messages[1].content) for one in result.conversations] == [
        ("Add.\n1 2", "3"),
        ("Add.", "0"),
    ]
    assert {(one.task, one.line) for one in result.conversations} == {("add", 7)}


def test_an_instance_without_an_answer_is_left_out_alone() -> None:
    instances = [{"input": "", "output": " "}, {"input": "", "output": "Ho"}]
    result = read({"instruction": "Hi", "instances": instances})
    assert len(result.conversations) == 1
    [finding] = result.findings
    assert finding.message == "instance 1: message 2 (assistant) is empty"


def test_natural_instructions_have_a_definition_above_the_input() -> None:
    row = {
        "Definition": ["Add the numbers."],
        "Positive Examples": [{"input": "1 1", "output": "2"}],
        "Instances": [{"id": "t-1", "input": "1 2", "output": ["3"]}],
    }
    assert turns(row) == [("user", "Add the numbers.\n\n1 2"), ("assistant", "3")]
    flat = {"task_name": "add", "definition": "Add.", "inputs": "1 2", "targets": "3", "id": "x"}
    assert turns(flat)[0] == ("user", "Add.\n\n1 2")
    assert conversation(flat).task == "add"


def test_p3_rows_are_read_by_their_texts() -> None:
    row = {
        "inputs": [3, 4],
        "inputs_pretokenized": "Hi",
        "targets": [5],
        "targets_pretokenized": "Ho",
    }
    assert turns(row) == [("user", "Hi"), ("assistant", "Ho")]
    assert read(row).ignored == []


def test_questions_stand_below_their_context() -> None:
    row = {"question": "Who?", "context": "Ann came.", "answers": {"text": ["Ann"], "start": [0]}}
    assert turns(row) == [("user", "Ann came.\n\nWho?"), ("assistant", "Ann")]


def test_choices_are_listed_and_the_right_line_is_the_answer() -> None:
    listed = "Colour?\nA. red\nB. blue"
    texts = ["red", "blue"]
    for row in (
        {"choices": texts, "answer": 1},
        {"choices": texts, "answer": "B"},
        {"options": texts, "answer": "blue"},
        {"choices": {"text": texts, "label": ["A", "B"]}, "answerKey": "B"},
    ):
        row = {"question": "Colour?", **row}
        assert turns(row) == [("user", listed), ("assistant", "B. blue")]
        assert notes(row) == ["choices"]


@pytest.mark.parametrize(
    "columns",
    [
        {"A": "red", "B": "blue", "C": "", "answer": "B"},
        {"opa": "red", "opb": "blue", "answer": 1},
        {"option_a": "red", "option_b": "blue", "answer": "blue"},
    ],
)
@pytest.mark.parametrize("name", ["question", "prompt"])
def test_choices_may_be_columns(columns: dict[str, Any], name: str) -> None:
    row = {name: "Colour?", **columns}
    assert turns(row) == [("user", "Colour?\nA. red\nB. blue"), ("assistant", "B. blue")]


def test_context_may_be_a_list_of_texts_and_what_is_none_is_said() -> None:
    row: dict[str, Any] = {
        "question": "Who?",
        "documents": ["Ann came.", "Bob left."],
        "answer": "A",
    }
    assert turns(row)[0] == ("user", "Ann came.\nBob left.\n\nWho?")
    result = read({"question": "Who?", "documents": [{"id": 1}], "answer": "A"})
    [finding] = result.findings
    assert (finding.grade, finding.kind) == ("warning", "unused-text")
    assert result.conversations[0].messages[0].content == "Who?"


def test_an_explanation_beside_an_answer_is_not_dropped_in_silence() -> None:
    result = read({"question": "Who?", "answer": "A", "rationale": "Since.", "cot": "Hm."})
    assert result.conversations[0].messages[-1] == Message("assistant", "A", "Hm.")
    assert [(item.grade, item.kind) for item in result.findings] == [("warning", "unused-text")]


@pytest.mark.parametrize("name", ["systemPrompt", "sys", "system_instruction"])
def test_the_system_text_of_a_pair_has_several_names(name: str) -> None:
    assert turns({"question": "Q", "answer": "A", name: "S"})[0] == ("system", "S")


@pytest.mark.parametrize("none", ["<noinput>", "Noinput", "No input"])
def test_an_input_that_says_there_is_none_is_none(none: str) -> None:
    row = {"instruction": "Hi", "input": none, "output": "Ho"}
    assert turns(row)[0] == ("user", "Hi")
    assert notes(row) == ["no-input"]


@pytest.mark.parametrize(
    "row",
    [
        {"query": "c", "response": "d"},
        {"prompt": "c", "completion": "d"},
        {"question": "c", "answer": "d"},
        {"inputs": "c", "targets": "d"},
        {"prompt": "c", "chosen": "d", "rejected": "e"},
    ],
)
def test_history_stands_before_every_kind_of_prompt(row: dict[str, Any]) -> None:
    assert turns({**row, "history": [["a", "b"]], "system": "s"}) == [
        ("system", "s"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", "d"),
    ]


def test_several_texts_as_a_prompt_are_not_taken_for_turns() -> None:
    [finding] = read({"input": ["a", "b"], "output": "c"}).findings
    assert (finding.kind, finding.left_out) == ("malformed", True)
    assert turns({"input": ["a"], "output": "c"})[0] == ("user", "a")


def test_prompts_take_their_context_and_input_along() -> None:
    row = {"query": "Who?", "context": "Ann came.", "response": "Ann"}
    assert turns(row)[0] == ("user", "Ann came.\n\nWho?")
    row = {"prompt": "Add.", "input": "1 2", "output": "3"}
    assert turns(row)[0] == ("user", "Add.\n1 2")
    row = {"instruction": "Sum up.", "input": "", "context": "Ann came.", "output": "Ann"}
    assert turns(row)[0] == ("user", "Sum up.\nAnn came.")


def test_lists_may_be_columns_as_in_parquet_files() -> None:
    row: dict[str, Any] = {"conversations": {"from": ["human", "gpt"], "value": ["Hi", "Ho"]}}
    assert turns(row) == [("user", "Hi"), ("assistant", "Ho")]
    assert read(row).format == "sharegpt"
    row = {"instruction": "Add.", "instances": {"input": ["1 2"], "output": ["3"]}}
    assert turns(row) == [("user", "Add.\n1 2"), ("assistant", "3")]


def test_empty_messages_leave_the_row_to_another_format() -> None:
    row = {"messages": [], "prompt": "Hi", "completion": "Ho"}
    assert read(row).format == "completion"


def test_a_list_of_texts_can_be_asked_to_be_read_as_such() -> None:
    assert conversation("Once.", format="text").text == "Once."


def test_completions_may_be_messages() -> None:
    row = {"prompt": [{"role": "system", "content": "s"}, Q], "completion": [A]}
    assert turns(row) == [("system", "s"), ("user", "Hi"), ("assistant", "Ho")]


def test_a_prompt_may_be_a_written_dialogue() -> None:
    row = {"prompt": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", "completion": " d"}
    assert turns(row) == [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", " d")]


def test_a_prompt_that_only_begins_like_a_dialogue_is_a_text() -> None:
    row = {"prompt": "Human: write a line", "completion": "Ho"}
    assert turns(row)[0] == ("user", "Human: write a line")


def test_plain_text_has_no_messages() -> None:
    assert conversation({"text": "Once."}) == Conversation(
        (), text="Once.", file="rows.jsonl", line=7
    )


def test_conversations_know_task_group_file_and_line() -> None:
    row = {"messages": [Q, A], "task": "greet", "user": 3}
    [one] = read(row, group="user").conversations
    assert (one.task, one.group, one.file, one.line) == ("greet", "3", "rows.jsonl", 7)
    assert conversation({"messages": [Q, A]}, task="all").task == "all"
    assert conversation(row, task="all").task == "greet"


@pytest.mark.parametrize("key", ["task", "task_name", "_task_name", "category", "kind"])
def test_tasks_have_several_names(key: str) -> None:
    row = {"inputs": "Hi", "targets": "Ho", key: "greet"}
    assert conversation(row).task == "greet"
    assert read(row).ignored == []


def test_a_row_without_its_group_is_a_warning() -> None:
    [finding] = read({"messages": [Q, A]}, group="user").findings
    assert (finding.grade, finding.kind, finding.left_out) == ("warning", "no-group", False)


def test_a_source_gives_a_system_message_to_rows_that_have_none() -> None:
    own = {"messages": [{"role": "system", "content": "own"}, Q, A]}
    assert turns({"messages": [Q, A]}, system="Be brief.")[0] == ("system", "Be brief.")
    assert turns({"prompt": "Hi", "completion": "Ho"}, system="Be brief.")[0][0] == "system"
    assert turns(own, system="Be brief.")[0] == ("system", "own")
    assert conversation({"text": "Once."}, system="Be brief.").messages == ()


def test_columns_say_which_key_is_which() -> None:
    row = {"ask": "Hi", "reply": "Ho", "instruction": "not this"}
    columns = {"prompt": "ask", "completion": "reply"}
    assert turns(row, columns=columns, format="completion") == [("user", "Hi"), ("assistant", "Ho")]
    columns = {"instruction": "ask", "output": "reply"}
    result = read(row, columns=columns)
    assert (result.format, result.ignored) == ("alpaca", ["instruction"])
    assert result.conversations[0].messages[0].content == "Hi"
    swapped = {"input": "Ho", "output": "Hi"}
    columns = {"prompt": "output", "completion": "input"}
    assert turns(swapped, columns=columns) == [("user", "Hi"), ("assistant", "Ho")]


def test_a_column_that_is_not_there_is_named() -> None:
    result = read(
        {"ask": "Hi"}, columns={"prompt": "ask", "completion": "reply"}, format="completion"
    )
    [finding] = result.findings
    assert finding.message == "`completion` (column `reply`) is missing"


def test_a_name_whose_column_is_not_there_does_not_fall_back_to_its_own_key() -> None:
    row = {"question": "Hi", "answer": "old", "good_answer": "Ho"}
    [finding] = read(row, columns={"answer": "god_answer"}).findings
    assert (finding.grade, finding.left_out) == ("error", True)
    assert finding.message == "`answer` (column `god_answer`) is missing"
    assert turns(row, columns={"answer": "good_answer"})[-1] == ("assistant", "Ho")


def test_columns_of_another_format_are_refused_with_the_formats_own() -> None:
    source = SourceConfig(path="rows.jsonl", format="alpaca", columns={"answer": "x"})
    with pytest.raises(RequestError, match=r"`answer`, which the format alpaca") as caught:
        formats.check_request(source)
    assert "`output`" in caught.value.hint
    formats.check_request(SourceConfig(path="rows.jsonl", columns={"answer": "x", "messages": "y"}))
    with pytest.raises(RequestError, match="any format"):
        formats.check_request(SourceConfig(path="rows.jsonl", columns={"anser": "x"}))


def test_every_format_of_the_settings_has_keys_and_can_be_forced() -> None:
    from typing import get_args

    from edgetune.config import Format

    rows: dict[str, Any] = {
        "alpaca": {"instruction": "Hi", "output": "Ho"},
        "chat": {"messages": [Q, A]},
        "sharegpt": {
            "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
        },
        "completion": {"prompt": "Hi", "completion": "Ho"},
        "question": {"question": "Hi", "answer": "Ho"},
        "text": {"text": "Ho", "summary": "x"},
        "preference": {"prompt": "Hi", "chosen": "Ho", "rejected": "No"},
        "kto": {"prompt": "Hi", "completion": "Ho", "label": True},
        "seed-tasks": {"instruction": "Hi", "instances": [{"input": "", "output": "Ho"}]},
        "flan": {"inputs": "Hi", "targets": "Ho"},
    }
    assert {*rows, "auto"} == set(get_args(Format)) == {*formats.KEYS, "auto"}
    for name, row in rows.items():
        forced = read(row, format=name)
        assert forced.format == name
        assert len(forced.conversations) == 1
        if name != "text":
            assert read(row).format == name


def test_a_forced_format_does_not_guess_another() -> None:
    for name, row in (
        ("alpaca", {"prompt": "Hi", "completion": "Ho"}),
        ("chat", {"text": "Hi"}),
        ("text", {"messages": [Q, A]}),
        ("kto", {"messages": [Q, A]}),
        ("preference", {"prompt": "Hi", "chosen": "Ho"}),
    ):
        [finding] = read(row, format=name).findings
        assert (finding.kind, finding.left_out) == ("malformed", True)
        assert "is missing" in finding.message


def test_a_long_run_of_empty_lines_is_read_in_no_time() -> None:
    for prompt in ("\n" * 300_000 + "x", "\n \n" * 100_000 + "x", "Human: a\n\n" * 30_000):
        began = time.monotonic()
        read({"prompt": prompt, "completion": "A."})
        read({"text": prompt})
        assert time.monotonic() - began < 5


def test_pairs_of_a_role_and_its_text_are_messages() -> None:
    for names in (("system", "user", "assistant"), ("system", "human", "ai")):
        row = {"messages": [[name, name[0]] for name in names]}
        said = [message.role for message in conversation(row).messages]
        assert said == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    "text",
    [
        "### Human: a### Assistant: b",
        "### Human: a\n### Assistant: b\n",
        "Human: a\nAssistant: b",
        "\n\nHuman: a\n\nAssistant: b",
        "USER: a\nASSISTANT: b",
        "### Instruction:\na\n\n### Response:\nb",
        "Below is an instruction that describes a task. Answer.\n\n### Instruction:\na\n\n"
        "### Response:\nb",
    ],
)
def test_a_text_that_is_a_dialogue_from_its_first_line_on_is_read_as_one(text: str) -> None:
    assert turns({"text": text}) == [("user", "a"), ("assistant", "b")]
    [whole] = read({"text": text}, format="text").conversations
    assert whole.text == text


def test_a_text_with_a_template_that_is_no_clear_dialogue_is_learned_with_a_warning() -> None:
    for text in (
        "Once.\n### Human: a\n### Assistant: b",
        "### Human: a\n### Human: b\n### Assistant: c",
        "User: a\nUser: b\nAssistant: c",
        "### Instruction:\na\n### Response:\nb\n### Instruction:\nc\n### Response:\nd",
    ):
        result = read({"text": text})
        assert [finding.kind for finding in result.findings] == ["rendered"]
        assert result.conversations[0].text == text
    assert notes({"text": "A user: one who uses.\n\n### Responses\n\nThe assistant: none."}) == []


def test_a_prompt_within_a_template_is_taken_out_of_it_or_warned_about() -> None:
    for prompt in ("User: Hi\nAssistant:", "### Instruction:\nHi\n\n### Response:\n"):
        assert turns({"prompt": prompt, "completion": "Ho"}) == [
            ("user", "Hi"),
            ("assistant", "Ho"),
        ]
    row = {"prompt": "Hi\n### Response:", "completion": "Ho"}
    assert notes(row) == ["rendered"]
    row = {"prompt": "Human: Hi\nAssistant: Ho\n\nHow polite is this?", "completion": "Very."}
    assert turns(row)[0] == ("user", row["prompt"])


def test_messages_written_as_json_text_are_messages() -> None:
    row = {"prompt": json.dumps([Q]), "completion": json.dumps([A])}
    assert turns(row) == [("user", "Hi"), ("assistant", "Ho")]
    row = {"prompt": '[{"a": 1}]', "completion": '{"b": 2}'}
    assert turns(row) == [("user", '[{"a": 1}]'), ("assistant", '{"b": 2}')]


def test_a_label_in_words_says_whether_an_answer_is_desirable() -> None:
    for label, meant in (("desirable", True), ("Undesirable", False), ("rejected", False)):
        result = read({"prompt": "Hi", "completion": "Ho", "label": label})
        assert (result.format, result.conversations[0].label) == ("kto", meant)


def test_a_message_may_say_by_loss_whether_it_is_learned() -> None:
    row = {"messages": [Q, {**A, "loss": False}, Q, {**A, "loss": True}]}
    assert [message.weight for message in conversation(row).messages] == [None, 0, None, 1]
    assert read({"messages": [Q, {**A, "loss": 2.3}]}).ignored == ["messages.loss"]


def test_a_row_may_say_whether_and_how_much_it_is_learned() -> None:
    row = {"prompt": "Hi", "completion": "Ho"}
    assert conversation({**row, "weight": 0.5}).messages[1].weight == 0.5
    assert not read({**row, "train": False}).conversations
    assert conversation({**row, "train": True}).messages[1].weight is None
    assert notes({**row, "is_correct": False}) == ["judged"]
    assert notes({**row, "is_correct": True}) == []


def test_a_worse_answer_may_stand_beside_messages() -> None:
    for worse in ({"rejected_response": "No"}, {"rejected_messages": [Q, {**A, "content": "No"}]}):
        result = read({"messages": [Q, A], **worse})
        assert result.format == "preference"
        [one] = result.conversations
        assert [message.content for message in (*one.messages, *one.rejected)] == ["Hi", "Ho", "No"]


def test_an_answer_beside_messages_that_end_with_a_question_is_their_last() -> None:
    for key in ("completion", "response", "target"):
        row = {"messages": [Q, A, {**Q, "content": "c"}], key: "d"}
        assert turns(row)[2:] == [("user", "c"), ("assistant", "d")]


def test_context_and_instructions_beside_messages_are_used() -> None:
    assert turns({"messages": [Q, A], "context": "c"})[0] == ("user", "c\n\nHi")
    for key in ("system_instruction", "instructions"):
        assert turns({"messages": [Q, A], key: "s"})[0] == ("system", "s")


def test_tags_that_a_template_writes_around_calls_and_results_are_taken_off() -> None:
    call = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    row = {
        "messages": [
            Q,
            {"role": "assistant", "content": f"So.\n{call}\n{call}"},
            {"role": "tool", "content": '<tool_response>\n{"b": 2}\n</tool_response>'},
            A,
        ]
    }
    messages = conversation(row).messages
    assert messages[1] == Message("assistant", "So.", tool_calls=(ToolCall("f", {"a": 1}),) * 2)
    assert messages[2] == Message("tool", '{"b": 2}')
    row = {"messages": [Q, {"role": "assistant", "content": "<tool_call>f(1)</tool_call>"}]}
    assert conversation(row).messages[1].content == "<tool_call>f(1)</tool_call>"
