"""What is said about the messages of a row, whatever its format was."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from edgetune.data.conversation import Conversation, Message
from edgetune.data.parsing.fields import BadRow, Remark, Said


def check(conversation: Conversation, said: Said) -> Conversation:
    """The conversation as it can be learned, without a tail that nobody answers.

    Adds to ``said`` what is odd about its turns. Raises BadRow where nothing can be learned from
    it, or where a text cannot be encoded.
    """
    check_texts(conversation)
    if conversation.text:
        return conversation
    messages, cut = _without_tail(conversation.messages)
    if not any(message.role == "assistant" for message in messages):
        raise BadRow(
            "it has no assistant message, so nothing could be learned", "no-answer", "warning"
        )
    for number, message in enumerate(messages, 1):
        _check_empty(message, f"message {number} ({message.role})")
    if any(_is_empty(message) for message in conversation.rejected):
        text = "the rejected answer is empty, so the row is no preference pair"
        said.append(Remark("note", "unlike-pair", text))
        conversation = replace(conversation, rejected=())
    if all(message.weight == 0 for message in messages if message.role == "assistant") and not any(
        message.weight for message in messages
    ):
        raise BadRow("all of its answers have the weight 0", "no-answer", "warning")
    if cut:
        roles = ", ".join(dict.fromkeys(message.role for message in cut))
        if len(cut) == 1:
            text = f"the last message ({roles}) has no answer behind it and is not used"
        else:
            last = f"the last {len(cut)} messages ({roles})"
            text = f"{last} have no answer behind them and are not used"
        said.append(Remark("warning", "ends-with-user", text))
        # A worse answer in place of the last message would no longer fit.
        conversation = replace(conversation, messages=messages, rejected=())
    said += _remarks(messages)
    return conversation


def _without_tail(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], Sequence[Message]]:
    end = len(messages)
    while end and messages[end - 1].role != "assistant":
        end -= 1
    return messages[:end], messages[end:]


def _is_empty(message: Message) -> bool:
    # A system message may be meant to be empty, and a tool may give nothing back.
    may_be = message.role in ("system", "tool") or message.tool_calls
    return not may_be and not message.content.strip()


def _check_empty(message: Message, what: str) -> None:
    if not _is_empty(message):
        return
    only = ", it only has reasoning" if message.reasoning.strip() else ""
    raise BadRow(f"{what} is empty{only}", "empty", "warning")


def _remarks(messages: Sequence[Message]) -> Iterator[Remark]:
    first = next((message.role for message in messages if message.role != "system"), "")
    if first == "assistant":
        text = "the assistant speaks first, without being asked"
        yield Remark("warning", "assistant-first", text)
    for number, (before, message) in enumerate(pairwise(messages), 1):
        pair = f"messages {number} and {number + 1}"
        if message.role == "system":
            text = f"message {number + 1} is a system message that does not stand first"
            yield Remark("warning", "system-not-first", text)
        elif before.role == message.role == "user":
            text = f"{pair} are both the user's; they are kept as they stand"
            yield Remark("warning", "two-users", text)
        elif before.role == message.role == "assistant":
            text = f"{pair} are both the assistant's; they are kept as they stand"
            yield Remark("warning", "two-assistants", text)


def check_texts(conversation: Conversation) -> None:
    """Raises BadRow for a NUL character, and for half a character (a lone surrogate)."""
    for number, message in enumerate(conversation.messages, 1):
        _check_message(message, f"message {number} ({message.role})")
    for message in conversation.rejected:
        _check_message(message, f"the rejected answer ({message.role})")
    _check_text(conversation.text, "the text")
    _check_text(conversation.task, "the name of the task")
    _check_text(conversation.group, "the name of the group")
    for text in _texts(conversation.tools):
        _check_text(text, "a tool")


def _check_message(message: Message, what: str) -> None:
    for text in (message.content, message.reasoning, message.name, message.tool_call_id):
        if text:
            _check_text(text, what)
    for call in message.tool_calls:
        for text in (call.name, call.id, *_texts(call.arguments)):
            _check_text(text, what)


def _check_text(text: str, what: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise BadRow(
            f"{what} holds half a character (a lone \\ud800–\\udfff escape)", "encoding"
        ) from None
    if b"\0" in data:
        raise BadRow(f"{what} holds a NUL character (U+0000)", "nul")


def _texts(value: Any) -> Iterator[str]:
    """All texts inside of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
