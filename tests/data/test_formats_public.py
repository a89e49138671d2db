"""Rows as well-known public data sets have them: read as they are meant, or refused with the
reason; never read as something else."""

import json
from typing import Any

import pytest

from edgetune.config import SourceConfig
from edgetune.data import formats
from edgetune.data.conversation import Message, ToolCall
from edgetune.data.readers.rows import Row

Q, A = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}
HUMAN, GPT = {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}


def read(value: Any) -> formats.RowRead:
    return formats.read_row(Row(value, "rows.jsonl", 1), SourceConfig(path="rows.jsonl"))


HI_HO = {
    "dolly": ("alpaca", {"instruction": "Hi", "context": "", "response": "Ho", "category": "qa"}),
    "alpaca with its prompt": (
        "alpaca",
        {"instruction": "Hi", "input": "", "output": "Ho", "text": "Below is … Ho"},
    ),
    "code instructions with their prompt": (
        "alpaca",
        {"instruction": "Hi", "input": "", "output": "Ho", "prompt": "### Instruction: Hi"},
    ),
    "openassistant as pairs": (
        "completion",
        {"prompt": "Hi", "response": "Ho", "text": "### Human: Hi### Assistant: Ho"},
    ),
    "gpteacher": ("alpaca", {"instruction": "Hi", "input": "", "response": "Ho"}),
    "platypus": ("alpaca", {"input": "", "output": "Ho", "instruction": "Hi", "data_source": "x"}),
    "code alpaca, capital keys": ("alpaca", {"Instruction": "Hi", "Input": "", "Output": "Ho"}),
    "ultrachat": ("sharegpt", {"id": "0", "data": ["Hi", "Ho"]}),
    "ultrachat_200k": ("chat", {"prompt": "Hi", "prompt_id": "0", "messages": [Q, A]}),
    "no_robots": (
        "chat",
        {"prompt": "Hi", "prompt_id": "0", "messages": [Q, A], "category": "Open QA"},
    ),
    "slimorca": ("sharegpt", {"conversations": [{**HUMAN, "weight": 0.0}, {**GPT, "weight": 1.0}]}),
    "openhermes": (
        "sharegpt",
        {
            "conversations": [HUMAN, GPT],
            "system_prompt": None,
            "source": "x",
            "category": "orca",
            "title": None,
            "hash": None,
        },
    ),
    "capybara": ("sharegpt", {"source": "x", "conversation": [{"input": "Hi", "output": "Ho"}]}),
    "lima": ("sharegpt", {"conversations": ["Hi", "Ho"], "source": "stackexchange"}),
    "dailydialog": ("sharegpt", {"dialog": ["Hi", "Ho"], "act": [0, 0], "emotion": [0, 0]}),
    "moss": ("sharegpt", {"conversation": [{"human": "Hi", "assistant": "Ho"}], "id": 3}),
    "lmsys-chat-1m": (
        "chat",
        {"conversation_id": "0", "model": "x", "conversation": [Q, A], "turn": 1, "redacted": True},
    ),
    "wildchat": (
        "chat",
        {"conversation": [{**Q, "language": "English"}, {**A, "toxic": False}], "toxic": False},
    ),
    "magpie": (
        "sharegpt",
        {"uuid": "0", "instruction": "Hi", "response": "Ho", "conversations": [HUMAN, GPT]},
    ),
    "tulu": ("chat", {"id": "0", "messages": [Q, A], "source": "x"}),
    "orca-agentinstruct": ("chat", {"messages": json.dumps([Q, A])}),
    "numina": ("chat", {"source": "x", "problem": "Hi", "solution": "Ho", "messages": [Q, A]}),
    "gemini tuning": (
        "chat",
        {
            "contents": [
                {"role": "user", "parts": [{"text": "Hi"}]},
                {"role": "model", "parts": [{"text": "Ho"}]},
            ]
        },
    ),
    "bedrock": (
        "chat",
        {
            "schemaVersion": "bedrock-conversation-2024",
            "messages": [
                {"role": "user", "content": [{"text": "Hi"}]},
                {"role": "assistant", "content": [{"text": "Ho"}]},
            ],
        },
    ),
    "cohere": (
        "chat",
        {"messages": [{"role": "User", "content": "Hi"}, {"role": "Chatbot", "content": "Ho"}]},
    ),
    "metamath": (
        "completion",
        {"query": "Hi", "response": "Ho", "type": "GSM", "original_question": "H?"},
    ),
    "code feedback": ("completion", {"query": "Hi", "answer": "Ho", "resource": "x", "lang": "c"}),
    "magicoder": (
        "completion",
        {"lang": "c", "index": 1, "seed": "…", "problem": "Hi", "solution": "Ho"},
    ),
    "open-math-instruct": (
        "completion",
        {"problem": "Hi", "generated_solution": "Ho", "expected_answer": "3"},
    ),
    "gpt4all": ("completion", {"prompt": "Hi", "response": "Ho", "source": "x"}),
    "helpsteer": ("completion", {"prompt": "Hi", "response": "Ho", "helpfulness": 3}),
    "firefly": ("completion", {"kind": "qa", "input": "Hi", "target": "Ho"}),
    "mlx": ("completion", {"prompt": "Hi", "completion": "Ho"}),
    "hand-made table": ("completion", {"Prompt": "Hi", " Response ": "Ho"}),
    "orca-math": ("question", {"question": "Hi", "answer": "Ho"}),
    "openorca": (
        "question",
        {"id": "0", "system_prompt": "", "question": "Hi", "response": "Ho"},
    ),
    "sciq": (
        "question",
        {"question": "Hi", "distractor1": "a", "correct_answer": "Ho", "support": ""},
    ),
    "nq_open": ("question", {"question": "Hi", "answer": ["Ho", "Hoo"]}),
    "trivia_qa": ("question", {"question": "Hi", "answer": {"value": "Ho", "aliases": ["x"]}}),
    "truthful_qa": (
        "question",
        {"question": "Hi", "best_answer": "Ho", "incorrect_answers": ["No"]},
    ),
    "medical-o1 without its thoughts": ("question", {"Question": "Hi", "Response": "Ho"}),
    "flan": (
        "flan",
        {"inputs": "Hi", "targets": "Ho", "_template_idx": 3, "_task_name": "x"},
    ),
    "aya": ("flan", {"inputs": "Hi", "targets": "Ho", "language": "English", "user_id": "x"}),
    "ultrafeedback_binarized": (
        "preference",
        {
            "prompt": "Hi",
            "prompt_id": "0",
            "chosen": [Q, A],
            "rejected": [Q, {**A, "content": "No"}],
            "messages": [Q, A],
            "score_chosen": 8.5,
            "score_rejected": 2.0,
        },
    ),
    "orca dpo": ("preference", {"system": "", "question": "Hi", "chosen": "Ho", "rejected": "No"}),
    "distilabel dpo": ("preference", {"input": "Hi", "chosen": "Ho", "rejected": "No"}),
    "stack-exchange-paired": (
        "preference",
        {"qid": 3, "question": "Hi", "response_j": "Ho", "response_k": "No"},
    ),
    "full-hh-rlhf": (
        "preference",
        {
            "prompt": "\n\nHuman: Hi\n\nAssistant:",
            "response": "Ho",
            "chosen": "Ho",
            "rejected": "No",
        },
    ),
    "kto-mix": ("kto", {"prompt": [Q], "completion": [A], "label": True}),
    "parquet with columns that are null": (
        "alpaca",
        {"instruction": "Hi", "output": "Ho", "messages": None, "chosen": None, "label": None},
    ),
}


@pytest.mark.parametrize("name", HI_HO)
def test_public_rows_are_read_as_they_are_meant(name: str) -> None:
    expected, row = HI_HO[name]
    result = read(row)
    assert [(item.kind, item.message) for item in result.findings if item.grade != "note"] == []
    assert result.format == expected
    [one] = result.conversations
    said = [(message.role, message.content) for message in one.messages]
    assert said == [("user", "Hi"), ("assistant", "Ho")]


REFUSED = {
    "xstest prompts": ({"id": "1", "prompt": "Hi", "label": "safe"}, "no answer to it"),
    "awesome prompts": ({"act": "x", "prompt": "Hi"}, "no answer to it"),
    "ultrafeedback": ({"instruction": "Hi", "models": [], "completions": []}, "no answer to it"),
    "aqua": ({"question": "Hi", "options": ["a"], "rationale": "r", "correct": "A"}, "no answer"),
    "cosmos_qa": ({"context": "c", "question": "q", "answer0": "x", "label": 1}, "no answer"),
    "oasst": (
        {"message_id": "a", "parent_id": None, "text": "Hi", "role": "prompter"},
        "one message of a tree",
    ),
    "a message": (Q, "a single message"),
    "a message of sharegpt": (HUMAN, "a single message"),
    "imdb": ({"text": "Hi", "label": 0}, "`text` and `label`"),
    "sentiment": ({"text": "Hi", "sentiment": "good"}, "`text` and `sentiment`"),
    "billsum": ({"text": "Hi", "summary": "Ho", "title": "x"}, "`text` and `summary`"),
    "samsum": ({"id": "1", "dialogue": "A: Hi\nB: Ho", "summary": "x"}, "not known"),
    "cnn": ({"article": "Hi", "highlights": "Ho", "id": "0"}, "not known"),
    "opus": ({"translation": {"en": "Hi", "fr": "Ho"}}, "not known"),
    "glue": ({"sentence1": "Hi", "sentence2": "Ho", "label": 1, "idx": 0}, "not known"),
    "camel": ({"role_1": "x", "topic;": "y", "message_1": "Hi", "message_2": "Ho"}, "not known"),
    "arena": ({"conversation_a": [Q, A], "conversation_b": [Q, A], "winner": "a"}, "not known"),
    "shp": ({"post_id": "x", "history": "Hi", "human_ref_A": "a", "human_ref_B": "b"}, "not known"),
    "squad table": ({"data": [{"title": "x", "paragraphs": []}]}, "not known"),
    "openai batch": ({"custom_id": "0", "body": {"messages": [Q]}}, "not known"),
    "chatgpt export": ({"title": "x", "mapping": {"a": {"message": {}}}}, "not known"),
    "llava": ({"image": "a.jpg", "conversations": [HUMAN, GPT]}, "`image`"),
    "llama-factory images": ({"messages": [Q, A], "images": ["a.jpg"]}, "`images`"),
    "two prompts": ({"prompt": "P", "question": "Hi", "answer": "Ho"}, "`question` and `prompt`"),
    "rated answers": ({"prompt": "Hi", "response": "Ho", "label": 3}, "ask for --format kto"),
    "tools in a message": (
        {"messages": [{**Q, "tools": [{"name": "f"}]}, A]},
        "it has `tools`, which belong into the row",
    ),
    "mt-bench": ({"question_id": 81, "category": "x", "turns": ["Hi", "And?"]}, "not known"),
    "instruction and question": (
        {"instruction": "Choose.", "question": "A or B?", "answer": "A"},
        "`instruction` and `question`",
    ),
    "instruction and text": (
        {"instruction": "Good or bad?", "text": "I like it.", "output": "good"},
        "`instruction` and `text`",
    ),
    "image parts": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
                A,
            ]
        },
        "part 1 of the content is of the type 'image_url', which is not read",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rows_of_other_kinds_are_refused_with_the_reason(name: str) -> None:
    row, reason = REFUSED[name]
    result = read(row)
    assert result.conversations == []
    [finding] = result.findings
    assert (finding.grade, finding.kind, finding.left_out) == ("error", "format", True)
    assert reason in finding.message


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "Hi", "passage": "p", "answer": True}, "`answer` is true or false, not text"),
        (
            {"question": "Hi", "answer": "Ho", "context": {"title": []}},
            "`context` is an object, not text",
        ),
        ({"question": "Hi", "choices": ["a", "b"], "answer": "C"}, "none of the 2 choices"),
        ({"question": "Hi", "answers": {"a_id": ["x"]}}, "`answers` is an object, not text"),
    ],
)
def test_what_a_known_format_cannot_mean_is_an_error(row: dict[str, Any], reason: str) -> None:
    [finding] = read(row).findings
    assert (finding.grade, finding.kind) == ("error", "malformed")
    assert reason in finding.message


def test_squad_questions_without_an_answer_are_left_out() -> None:
    row = {"context": "c", "question": "Hi", "answers": {"text": [], "answer_start": []}}
    [finding] = read(row).findings
    assert (finding.grade, finding.kind, finding.left_out) == ("warning", "no-answer", True)


def test_wikipedia_articles_are_plain_text() -> None:
    row = {"id": "1", "url": "https://x", "title": "Hi", "text": "Ho"}
    assert read(row).format == "text"
    assert read({"text": "Ho", "meta": {"pile": "x"}}).conversations[0].text == "Ho"


def test_function_calls_of_xlam() -> None:
    calls = [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]
    tools = [{"name": "f", "description": "…", "parameters": {"a": {"type": "int"}}}]
    row = {"id": 0, "query": "Hi", "answers": json.dumps(calls), "tools": json.dumps(tools)}
    [one] = read(row).conversations
    expected = (ToolCall("f", {"a": 1}), ToolCall("g", {}))
    assert one.messages[1] == Message("assistant", tool_calls=expected)
    assert one.tools == ({"type": "function", "function": tools[0]},)


def test_dialogues_of_glaive() -> None:
    row = {
        "system": "SYSTEM: You may call functions.",
        "chat": (
            "USER: Hi\n\n\nASSISTANT: <functioncall> "
            '{"name": "f", "arguments": \'{"a": "it\\\'s"}\'} <|endoftext|>\n\n\n'
            'FUNCTION RESPONSE: {"x": 1}\n\n\nASSISTANT: Ho <|endoftext|>\n\n\n'
        ).replace("it\\'s", "it is"),
    }
    result = read(row)
    assert result.format == "chat"
    assert result.conversations[0].messages == (
        Message("system", "You may call functions."),
        Message("user", "Hi"),
        Message("assistant", tool_calls=(ToolCall("f", {"a": "it is"}),)),
        Message("tool", '{"x": 1}'),
        Message("assistant", "Ho"),
    )


def test_thoughts_of_medical_o1() -> None:
    row = {"Question": "Hi", "Complex_CoT": "hm", "Response": "Ho"}
    assert read(row).conversations[0].messages[1] == Message("assistant", "Ho", "hm")


def test_tools_that_toolace_lists_in_its_system_text() -> None:
    said = [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "[f(a=1)]"}]
    said += [{"from": "tool", "value": "[]"}, {"from": "assistant", "value": "Ho"}]
    [one] = read({"system": "You may call f.", "conversations": said}).conversations
    assert [message.role for message in one.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
