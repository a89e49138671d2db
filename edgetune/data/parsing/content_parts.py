"""A message's content in parts: text, reasoning, calls of tools and what they gave back."""

import json
from typing import Any

from edgetune.data.conversation import Message, ToolCall
from edgetune.data.parsing.fields import BadRow, Remark, Said, as_text, kind_of, shown
from edgetune.data.parsing.tool_rows import read_calls


class Parts:
    """Content in parts: ``{"type": "text", "text": …}``, reasoning, calls and results of tools."""

    def __init__(self, role: str, said: Said) -> None:
        self.role, self.said = role, said
        self.content = ""
        self.thoughts: list[str] = []
        self.calls: list[ToolCall] = []
        self.results: list[Message] = []

    def read(self, parts: list[Any]) -> None:
        """Raises BadRow for parts that are not read, such as images."""
        for number, part in enumerate(parts, 1):
            if isinstance(part, str):
                self.content += part
            elif isinstance(part, dict):
                self._read_one(part, number)
            elif self.role == "tool":
                self.content = as_json(parts, self.said)
                return
            else:
                raise BadRow(f"part {number} of the content is {kind_of(part)}, not an object")

    def _read_one(self, part: dict[str, Any], number: int) -> None:
        sort = part.get("type", "text" if "text" in part else None)
        what = f"part {number} of the content"
        if sort in ("text", "input_text", "output_text"):
            key = next((key for key in ("text", "value", "content") if key in part), "text")
            self.content += as_text(part.get(key), f"`{key}` of {what}", self.said)
        elif sort in ("reasoning", "thinking") and self.role == "assistant":
            if self.content.strip() or self.calls:
                raise BadRow(f"{what} is reasoning that stands behind the answer")
            keys = (sort, "value", "text", "content")
            key = next((key for key in keys if key in part), sort)
            self.thoughts.append(as_text(part.get(key), f"`{key}` of {what}", self.said))
        elif sort in ("tool_call", "tool_use", "function_call") and self.role == "assistant":
            self.calls += read_calls(part.get("value", part), what)
        elif sort == "tool_result":
            self.results.append(self._result(part))
        elif self.role == "tool" and sort is None:
            self.content += as_json(part, self.said)
        else:
            raise BadRow(f"{what} is of the type {shown(sort)}, which is not read", "format")

    def _result(self, part: dict[str, Any]) -> Message:
        inner = Parts("tool", self.said)
        content = part.get("content", part.get("value", ""))
        inner.read(content if isinstance(content, list) else [content])
        identity = part.get("tool_use_id")
        return Message(
            "tool",
            inner.content,
            tool_call_id="" if identity is None else as_text(identity, "`tool_use_id`", self.said),
        )


def as_json(value: Any, said: Said) -> str:
    """What a tool gave back, as text."""
    said.append(
        Remark("note", "json-as-text", "what a tool gave back is an object, written as JSON")
    )
    return json.dumps(value, ensure_ascii=False)
