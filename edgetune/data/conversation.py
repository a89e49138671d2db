"""What every data format becomes: a conversation; and what can be said about a row of data."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")

Grade = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class ToolCall:
    """A function that an assistant asks to be called."""

    name: str
    arguments: Any
    """What it is called with: a dictionary, parsed where the row had it as JSON text."""
    id: str = ""


@dataclass(frozen=True)
class Message:
    """What one side says."""

    role: str
    """One of ``ROLES``."""
    content: str = ""
    reasoning: str = ""
    """What an assistant thinks before it answers, without the tags that a template puts around."""
    tool_calls: tuple[ToolCall, ...] = ()
    name: str = ""
    """Who speaks, or for a tool's message which tool."""
    tool_call_id: str = ""
    weight: float | None = None
    """How much its tokens count in the loss; None: as its role has it, 0: read, never trained."""


@dataclass(frozen=True)
class Conversation:
    """One example as it stands in the data, whatever the format, and where it stands.

    Either ``messages`` or ``text`` holds something.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    """What the assistant may call: ``{"type": "function", "function": {"name": …, …}}``."""
    text: str = ""
    """A row of running text, which has no roles: all of it is learned."""
    rejected: tuple[Message, ...] = ()
    """Of a preference pair: the worse last answer, in place of the last of ``messages``."""
    label: bool | None = None
    """Whether the last answer is a desirable one (KTO); None where the data does not say."""
    task: str = ""
    group: str = ""
    """Rows of one group never stand on both sides of a split by group."""
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Finding:
    """Something to say about a row, or with ``line`` 0 about a file, or without ``file`` about
    the data as a whole."""

    grade: Grade
    kind: str
    """What it is, in a short fixed word, e.g. ``duplicate``."""
    message: str
    """A sentence's worth, without the place and without a full stop."""
    file: str = ""
    line: int = 0
    left_out: bool = False
    """Whether the row is therefore not among the conversations."""
    related: str = ""
    """The other place, e.g. of a duplicate: ``file, line N``."""

    @property
    def where(self) -> str:
        """``file, line N``; "" without a file."""
        return f"{self.file}, line {self.line}" if self.line else self.file


class Digest:
    """The digest of a sequence of texts; its parts cannot run into each other."""

    def __init__(self, seed: int = 0) -> None:
        self._hash = hashlib.blake2b(digest_size=16, key=str(seed).encode()[:64])

    def add(self, text: str) -> None:
        """Lone surrogates are allowed."""
        data = text.encode("utf-8", "surrogatepass")
        self._hash.update(len(data).to_bytes(8, "little") + data)

    def value(self) -> bytes:
        """16 bytes."""
        return self._hash.digest()


def content_digest(conversation: Conversation, seed: int = 0) -> bytes:
    """A digest (16 bytes) of what is said in a conversation, keyed by ``seed``.

    Where it stands, its task and its weights do not count.
    """
    digest = Digest(seed)
    for message in conversation.messages:
        digest.add(message.role)
        digest.add(message.content)
        if message.reasoning or message.tool_calls:
            digest.add("reasoning " + message.reasoning)
            for call in message.tool_calls:
                digest.add("call " + call.name)
                digest.add(json.dumps(call.arguments, sort_keys=True, ensure_ascii=False))
    if conversation.tools:
        digest.add(json.dumps(conversation.tools, sort_keys=True, ensure_ascii=False))
    if conversation.text:
        digest.add(conversation.text)
    return digest.value()


def answers(messages: Sequence[Message]) -> list[Message]:
    """The assistant's messages."""
    return [message for message in messages if message.role == "assistant"]
