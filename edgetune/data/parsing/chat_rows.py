"""Rows that hold a conversation, and rows that judge one: preference pairs and KTO labels."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgetune.data.conversation import Conversation, Message
from edgetune.data.parsing.fields import (
    BadRow,
    Fields,
    Remark,
    as_text,
    is_empty,
    is_number,
    kind_of,
    list_of,
)
from edgetune.data.parsing.message_rows import assistant, is_message, read_messages
from edgetune.data.parsing.pair_rows import asked, instructed, prompt_messages, with_system
from edgetune.data.parsing.tool_rows import read_tools
from edgetune.data.parsing.written_dialogues import is_dialogue, read_dialogue

DIALOGUES = ("messages", "conversations", "conversation", "dialog", "dialogue", "contents")
WRITTEN = "chat"
"""Key of a dialogue that is one text (Glaive)."""
CHOSEN = ("chosen", "chosen_response", "preferred_output", "response_j")
REJECTED = ("rejected", "rejected_response", "non_preferred_output", "response_k")
LABELS = ("label", "kto_tag")
_PROMPTS = ("prompt", "question", "instruction", "query", "input")


def read_chat(fields: Fields) -> list[Conversation]:
    """A list of messages; perhaps ``tools``, ``system``, and a ``rejected`` last answer."""
    name = dialogue_name(fields) or fields.name_of(*DIALOGUES) or DIALOGUES[0]
    value = fields.need(name)
    if name == WRITTEN and isinstance(value, str):
        messages = read_dialogue(value, fields.said)
    else:
        messages = read_messages(
            value, fields.label(name), fields.said, fields.inner_ignored, texts=name != "messages"
        )
    rejected: tuple[Message, ...] = ()
    if not any(fields.has(chosen) for chosen in CHOSEN) and isinstance(
        fields.peek("rejected"), list | dict
    ):
        rejected = _answer(fields.take("rejected"), "`rejected`", fields)
        if _is_whole(rejected) and rejected[: len(messages) - 1] == messages[:-1]:
            rejected = rejected[len(messages) - 1 :]
    [conversation] = _conversation(fields, messages, rejected)
    system = conversation.messages[0] if conversation.messages else None
    if name == WRITTEN and system and system.role == "system":
        text = system.content.removeprefix("SYSTEM:").strip()
        messages = (Message("system", text), *conversation.messages[1:])
        return [replace(conversation, messages=messages)]
    if is_sharegpt(value) and conversation.tools and system and "<tools>" in system.content:
        remark = "the system message lists the tools already, so `tools` is not added to it"
        fields.said.append(Remark("note", "adjusted", remark))
        return [replace(conversation, tools=())]
    return [conversation]


def is_sharegpt(value: Any) -> bool:
    """Whether a list of messages is in ShareGPT's keys, ``from`` and ``value``."""
    items = list_of(value)
    return isinstance(items, list) and any(
        isinstance(item, dict) and "from" in item for item in items[:1]
    )


def dialogue_name(fields: Fields) -> str:
    """The name under which a row holds a conversation; "" if it holds none."""
    for name in filter(fields.has, DIALOGUES):
        value = list_of(fields.peek(name))
        if isinstance(value, str) and value.lstrip()[:1] == "[":
            return name
        if isinstance(value, list) and value:
            return name
    if is_dialogue(fields.peek(WRITTEN)):
        return WRITTEN
    data = fields.peek("data")
    if isinstance(data, list) and fields.value.keys() <= {"id", "data"}:
        # UltraChat
        return "data" if len(data) > 1 and all(isinstance(item, str) for item in data) else ""
    return ""


def read_preference(fields: Fields) -> list[Conversation]:
    """A better and a worse answer to the same prompt: the better one is the conversation's.

    The prompt is a text, messages, or the common beginning of two whole dialogues, which may be
    lists of messages or written out (HH-RLHF).
    """
    chosen, what = fields.need(*CHOSEN), fields.label(*CHOSEN)
    rejected, rejected_what = fields.need(*REJECTED), fields.label(*REJECTED)
    better, worse = _answer(chosen, what, fields), _answer(rejected, rejected_what, fields)
    if not _is_whole(better):
        prompt = _prompt(fields)
        better, worse = prompt + better, (worse if _is_whole(worse) else prompt + worse)
    elif not _is_whole(worse):
        raise BadRow(f"{what} is a whole dialogue and {rejected_what} is not")
    else:
        for name in (*_PROMPTS, *DIALOGUES):
            fields.take(name)
    same = 0
    while same < min(len(better), len(worse)) and better[same] == worse[same]:
        same += 1
    if len(better) - same == 1 and same < len(worse):
        return _conversation(fields, better, worse[same:])
    if better == worse:
        text = f"{what} and {rejected_what} are the same"
    else:
        text = f"{what} and {rejected_what} part before the last answer"
    fields.said.append(Remark("note", "unlike-pair", f"{text}, so the row is no preference pair"))
    return _conversation(fields, better)


def read_label(fields: Fields, numbers: bool = False) -> bool | None:
    """Whether a row says that its answer is a desirable one, with ``numbers`` also as 1 or 0;
    None if it does not say."""
    value = fields.peek(fields.name_of(*LABELS))
    if isinstance(value, str):
        text = value.strip().lower()
        value = {"true": True, "false": False, "1": 1, "0": 0}.get(text)
    if isinstance(value, bool) or (numbers and is_number(value) and value in (0, 1)):
        return bool(value)
    return None


def _is_whole(messages: Sequence[Message]) -> bool:
    return any(message.role in ("user", "system") for message in messages)


def _answer(value: Any, what: str, fields: Fields) -> tuple[Message, ...]:
    if is_message(value):
        value = [value]
    if isinstance(value, dict) and dialogue_name(inner := Fields(value)):
        value = inner.take(dialogue_name(inner))
    if isinstance(value, list):
        if not value:
            raise BadRow(f"{what} is empty", "empty", "warning")
        if all(isinstance(item, str) for item in value) and len(value) == 1:
            return (assistant(value[0], fields.said),)
        return read_messages(value, what, fields.said, fields.inner_ignored, texts=False)
    if is_dialogue(value):
        return read_dialogue(value, fields.said)
    return (assistant(as_text(value, what, fields.said), fields.said),)


def _prompt(fields: Fields) -> tuple[Message, ...]:
    if name := dialogue_name(fields):
        what = fields.label(name)
        found = read_messages(fields.take(name), what, fields.said, fields.inner_ignored)
        # UltraFeedback's `messages` hold the chosen answer as well.
        return found[:-1] if found and found[-1].role == "assistant" else found
    if fields.has("instruction"):
        return instructed(fields)
    value, what = fields.need(*_PROMPTS), fields.label(*_PROMPTS)
    if not isinstance(value, dict) or is_message(value):
        return asked(fields.name_of(*_PROMPTS), fields)
    # OpenAI: {"input": {"messages": [...], "tools": [...]}, "preferred_output": [...]}
    inner = Fields(value)
    if not (name := dialogue_name(inner)):
        raise BadRow(f"{what} is {kind_of(value)} without messages")
    if not is_empty(inner.peek("tools")):
        fields.add("tools", inner.peek("tools"))
    return prompt_messages(inner.take(name), what, fields)


def _conversation(
    fields: Fields, messages: Sequence[Message], rejected: tuple[Message, ...] = ()
) -> list[Conversation]:
    tools = read_tools(fields.take("tools", "functions"))
    return [Conversation(with_system(messages, fields), tools=tools, rejected=rejected)]
