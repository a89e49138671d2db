"""Conversation -> chat row, which reads back to an equal conversation."""

import re
from typing import Any

from edgetune.data.conversation import Conversation, Message

_THINK = re.compile(r"\s*<think>")


def to_json(conversation: Conversation) -> dict[str, Any]:
    """A row ready for JSON: ``messages`` or ``text``, and what else the conversation has: tools,
    rejected, label, task, group (which is read back with ``group`` as the groups' key).

    Of a labelled text the label, and of a text the tools, are not written: they mean nothing.
    """
    row: dict[str, Any] = {}
    if conversation.text:
        row["text"] = conversation.text
    else:
        row["messages"] = [_message(message) for message in conversation.messages]
        if conversation.rejected:
            row["rejected"] = [_message(message) for message in conversation.rejected]
        if conversation.label is not None:
            row["label"] = conversation.label
        if conversation.tools:
            row["tools"] = list(conversation.tools)
    if conversation.task:
        row["task"] = conversation.task
    if conversation.group:
        row["group"] = conversation.group
    return row


def _message(message: Message) -> dict[str, Any]:
    item: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning or (message.role == "assistant" and _THINK.match(message.content)):
        # Also where there is none: the content's own <think> then stays where it is.
        item["reasoning_content"] = message.reasoning
    if message.tool_calls:
        item["tool_calls"] = [
            {
                **({"id": call.id} if call.id else {}),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    for key, text in (("name", message.name), ("tool_call_id", message.tool_call_id)):
        if text:
            item[key] = text
    if message.weight is not None:
        item["weight"] = message.weight
    return item
