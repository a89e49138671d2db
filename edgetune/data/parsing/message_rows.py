"""Lists of messages, in the shapes that data files have them.

A message is ``{"role", "content"}`` (OpenAI, Anthropic, Gemini) or ``{"from", "value"}``
(ShareGPT), under any of the role names in ``ROLE_NAMES``. A list may also hold pairs
(``{"input", "output"}``, ``["question", "answer"]``) or plain texts that alternate between user
and assistant.

Reasoning: what stands between ``<think>`` and ``</think>`` at the very beginning of an answer is
its reasoning; newlines at both ends of the reasoning and before the rest of the answer belong to
the tags. A template that writes ``<think>\\nR\\n</think>\\n\\nC`` therefore gives back what was
read.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from edgetune.data.conversation import Message, ToolCall
from edgetune.data.parsing.content_parts import Parts, as_json
from edgetune.data.parsing.fields import (
    BadRow,
    Remark,
    Said,
    as_text,
    from_json,
    is_empty,
    is_number,
    kind_of,
    list_of,
    plain_name,
    shown,
)
from edgetune.data.parsing.tool_rows import read_calls, tagged_calls, tagged_results

ROLE_NAMES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "claude": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "tool_response": "tool",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "ipython": "tool",
    "tool_call": "call",
    "function_call": "call",
}
"""Name of a role, in lower case -> role; ``call`` is an assistant that calls tools."""

PAIRS = (
    ("user", "assistant"),
    ("human", "assistant"),
    ("human", "gpt"),
    ("input", "output"),
    ("prompt", "response"),
    ("question", "answer"),
    ("instruction", "output"),
    ("instruction", "response"),
)
"""Keys of a user's and an assistant's text where one item of a list holds both."""

_CONTENT = ("content", "value", "text", "parts")
_REASONING = ("reasoning_content", "reasoning", "thinking")
_WEIGHTS = ("train", "loss_weight", "weight", "training")
_LOSS = "loss"
"""Whether a message is learned, as true or false; as a number it may be a measured loss."""
_READ = {*_WEIGHTS, "role", "from", "name", "tool_call_id", "tool_calls", "function_call"}
_UNREADABLE = ("image", "images", "image_url", "audio", "video", "videos", "file", "files")
MOST_WEIGHT = 1000
_THINK = re.compile(r"\s*<think>(.*?)</think>", re.DOTALL)
_EMPTY_THINKING = Remark(
    "note", "empty-thinking", "an empty <think> block is left to the chat template to write"
)


def read_messages(
    value: Any, what: str, said: Said, ignored: set[str], texts: bool = True
) -> tuple[Message, ...]:
    """The messages in a list; ``what`` names it in sentences, ``texts`` allows plain texts.

    Adds to ``said`` and to the ``ignored`` keys. Raises BadRow.
    """
    value = list_of(from_json(value, what) if _looks_like_json(value) else value)
    if not isinstance(value, list):
        raise BadRow(f"{what} is {kind_of(value)}, not a list")
    name = what.strip("`")
    if value and all(_is_role_and_text(item) for item in value):
        value = [{"role": role, "content": text} for role, text in value]
    messages: list[Message] = []
    for number, item in enumerate(value, 1):
        if isinstance(item, dict) and ("role" in item or "from" in item):
            _read_item(item, f"message {number}", messages, said)
            ignored |= {f"{name}.{key}" for key in _unused(item, messages)}
        elif pair := _pair_of(item):
            user, answer = pair
            messages.append(Message("user", as_text(user, f"the user's part of {number}", said)))
            text = as_text(answer, f"the answer of {number}", said)
            messages.append(assistant(text, said))
        elif isinstance(item, str) and texts:
            messages.append(Message("user", item) if number % 2 else assistant(item, said))
        elif isinstance(item, dict):
            keys = ", ".join(f"`{key}`" for key in item) or "none"
            raise BadRow(f"message {number} has no role; its keys are {keys}")
        else:
            raise BadRow(f"message {number} is {kind_of(item)}, not an object")
    return tuple(messages)


def assistant(content: str, said: Said, reasoning: str = "") -> Message:
    """An answer, whose leading ``<think>`` block becomes its reasoning."""
    if not reasoning:
        content, reasoning = split_thinking(content, said)
    return Message("assistant", content, reasoning)


def split_thinking(content: str, said: Said) -> tuple[str, str]:
    """An answer without its leading ``<think>`` block, and what stood in it."""
    found = _THINK.match(content)
    if not found:
        return content, ""
    reasoning = found[1].strip("\r\n")
    if not reasoning.strip():
        said.append(_EMPTY_THINKING)
        reasoning = ""
    return content[found.end() :].lstrip("\r\n"), reasoning


def is_message(item: Any) -> bool:
    """Whether this is a single message rather than a row of them."""
    if not isinstance(item, dict):
        return False
    return ("role" in item and any(key in item for key in (*_CONTENT, "tool_calls"))) or (
        "from" in item and "value" in item
    )


def _looks_like_json(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip()[:1] == "["


def _is_role_and_text(item: Any) -> bool:
    return (
        isinstance(item, list)
        and len(item) == 2
        and isinstance(item[0], str)
        and plain_name(item[0]) in ROLE_NAMES
    )


def _pair_of(item: Any) -> tuple[Any, Any] | None:
    if isinstance(item, list) and len(item) == 2:
        return item[0], item[1]
    if isinstance(item, dict):
        lowered = {key.lower(): inner for key, inner in item.items()}
        for user, answer in PAIRS:
            if user in lowered and answer in lowered:
                return lowered[user], lowered[answer]
    return None


def _read_item(item: dict[str, Any], what: str, messages: list[Message], said: Said) -> None:
    """Append one message, or several where results of tools stand among its parts."""
    role, called = _role(item, what)
    try:
        turn = _read_turn(item, role, said)
    except BadRow as problem:
        raise BadRow(f"{what} ({called}): {problem}", problem.kind, problem.grade) from None
    last = messages[-1] if messages else None
    joins = role == "call" and last is not None and last.role == "assistant"
    if joins and last and last.weight == turn[0].weight and not turn[0].reasoning:
        # ShareGPT has a turn of its own for each call; they belong to the answer before.
        messages[-1] = replace(last, tool_calls=last.tool_calls + turn[0].tool_calls)
    else:
        messages += turn


def _unused(item: dict[str, Any], messages: Sequence[Message]) -> Iterator[str]:
    """Keys of a message that say something and were not read."""
    used = _READ | {_content_key(item)}
    if isinstance(item.get(_LOSS), bool):
        used.add(_LOSS)
    if messages and messages[-1].role == "assistant":
        used.update(_REASONING)
    return (key for key in item if key not in used and not is_empty(item[key]))


def _content_key(item: dict[str, Any]) -> str:
    there = [key for key in _CONTENT if key in item]
    return next((key for key in there if item[key] is not None), (there or [""])[0])


def _role(item: dict[str, Any], what: str) -> tuple[str, str]:
    called = item["role"] if item.get("role") is not None else item.get("from")
    role = ROLE_NAMES.get(plain_name(called)) if isinstance(called, str) else None
    if role is None:
        known = "system, user, assistant, tool, and names such as human, gpt, observation"
        raise BadRow(f"{what} has the role {shown(called)}; known are {known}", "role")
    return role, str(called)


def _read_turn(item: dict[str, Any], role: str, said: Said) -> list[Message]:
    for key in _UNREADABLE:
        if not is_empty(item.get(key)):
            raise BadRow(f"it has `{key}`, and only text is read", "format")
    if not is_empty(item.get("tools")):
        raise BadRow("it has `tools`, which belong into the row, beside the messages", "format")
    weight = _weight(item)
    name = as_text(item["name"], "`name`", said) if item.get("name") is not None else ""
    answers_to = item.get("tool_call_id")
    call_id = "" if answers_to is None else as_text(answers_to, "`tool_call_id`", said)
    calls = read_calls(item.get("tool_calls"))
    if not is_empty(item.get("function_call")):
        calls += read_calls(item["function_call"], "`function_call`")
    key = _content_key(item)
    content = item.get(key)
    if role == "call":
        return [Message("assistant", *_called(content, calls, said), name, weight=weight)]
    if calls and role != "assistant":
        raise BadRow("only an assistant can call tools")
    if content is None and calls:
        content = ""
    elif not key:
        raise BadRow("`content` is missing")
    thoughts, given = _thoughts(item, role, said)
    results: list[Message] = []
    if isinstance(content, list):
        parts = Parts(role, said)
        parts.read(content)
        content, results = parts.content, parts.results
        calls += tuple(parts.calls)
        thoughts += parts.thoughts
    elif isinstance(content, dict) and role == "tool":
        content = as_json(content, said)
    else:
        content = as_text(content, f"`{key}`", said)
    reasoning = "\n".join(thoughts)
    if role == "assistant" and not given and not reasoning:
        content, reasoning = split_thinking(content, said)
    if results and not content:
        return results
    if role == "tool" and (texts := tagged_results(content)):
        return [Message(role, text, "", (), name, call_id, weight) for text in texts]
    if role == "assistant" and not calls:
        content, calls = tagged_calls(content)
    return [*results, Message(role, content, reasoning, calls, name, call_id, weight)]


def _called(
    content: Any, calls: tuple[ToolCall, ...], said: Said
) -> tuple[str, str, tuple[ToolCall, ...]]:
    """Content, reasoning and calls of ShareGPT's turn for a call."""
    reasoning = ""
    if isinstance(content, str):
        content, reasoning = split_thinking(content, said)
    calls += read_calls(content, "the call")
    if not calls:
        raise BadRow("it is empty, and does not say which tool is called")
    return "", reasoning, calls


def _thoughts(item: dict[str, Any], role: str, said: Said) -> tuple[list[str], bool]:
    """A message's own reasoning, and whether it has a key for it, if only with an empty text."""
    key = next((key for key in _REASONING if item.get(key) is not None), "")
    if role != "assistant" or not key:
        return [], False
    text = as_text(item[key], f"`{key}`", said)
    return [text] if text else [], True


def _weight(item: dict[str, Any]) -> float | None:
    for key in _WEIGHTS:
        value = item.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or (is_number(value) and 0 <= value <= MOST_WEIGHT):
            return float(value)
        most = f"a number from 0 to {MOST_WEIGHT}"
        raise BadRow(f"`{key}` is to be true, false or {most}, not {shown(value)}")
    loss = item.get(_LOSS)
    return float(loss) if isinstance(loss, bool) else None
