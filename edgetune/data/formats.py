"""Raw row -> Conversation. A file's format is found by the keys of its rows.

- *alpaca*: ``instruction``, optional ``input`` and ``system``, ``output``
- *chat*: ``messages``, a list of ``{"role": …, "content": …}``

Either may say its ``task``. A row that is not what its format says is an error that names file
and line; a row that is well-formed but has no answer is dropped, with its reason.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgetune.data import sources
from edgetune.data.sources import Row
from edgetune.errors import RequestError

Format = Literal["alpaca", "chat"]
ROLES = ("system", "user", "assistant")
ACCEPTED = (
    'Accepted are alpaca rows, {"instruction": "…", "input": "…", "output": "…"}, and chat rows, '
    '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}.'
)
_KNOWN_KEYS = {
    "alpaca": {"instruction", "input", "output", "system", "history", "task"},
    "chat": {"messages", "task"},
}
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Message:
    """What one side says."""

    role: str
    """system, user or assistant."""
    content: str


@dataclass(frozen=True)
class Conversation:
    """The messages of one row, and where the row stands."""

    messages: tuple[Message, ...]
    task: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Drop:
    """A row that is left out."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True)
class Source:
    """A file that was read."""

    file: str
    sha256: str
    format: Format
    rows: int
    ignored_keys: tuple[str, ...] = ()
    """Keys of its rows that this format gives no meaning."""


@dataclass
class Loaded:
    """What files hold."""

    conversations: list[Conversation] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)


class UnusableRow(Exception):
    """A well-formed row without anything to learn."""


class MalformedRow(Exception):
    """A row that is not what its format says."""


def load(paths: Sequence[Path]) -> Loaded:
    """Read files of rows, each in its own format.

    Raises RequestError that names file and line for rows that are broken, and if there is no
    usable row at all.
    """
    loaded = Loaded()
    for path in paths:
        rows = list(sources.read(path))
        row_format = detect(rows)
        problems: list[str] = []
        for row in rows:
            try:
                loaded.conversations.append(to_conversation(row, row_format))
            except UnusableRow as reason:
                loaded.drops.append(Drop(row.file, row.line, str(reason)))
            except MalformedRow as problem:
                problems.append(f"{row.file}, line {row.line}: {problem}")
        if problems:
            shown = "; ".join(problems[:_SHOWN_PROBLEMS])
            more = len(problems) - _SHOWN_PROBLEMS
            raise RequestError(
                shown + (f"; and {more} more such rows." if more > 0 else "."),
                f"Correct or remove {'it' if len(problems) == 1 else 'them'}. {ACCEPTED}",
            )
        keys = {key for row in rows for key in row.value}
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        loaded.sources.append(
            Source(
                str(path),
                digest,
                row_format,
                len(rows),
                tuple(sorted(keys - _KNOWN_KEYS[row_format])),
            )
        )
    if not loaded.conversations:
        raise no_usable_rows(loaded.drops)
    return loaded


def no_usable_rows(drops: Sequence[Drop]) -> RequestError:
    """The error for data of which nothing is left, with the first reasons."""
    shown = "; ".join(f"{drop.file}, line {drop.line}: {drop.reason}" for drop in drops[:3])
    more = f"; and {len(drops) - 3} more rows" if len(drops) > 3 else ""
    return RequestError(f"There is no usable row. {shown}{more}.", ACCEPTED)


def detect(rows: Iterable[Row]) -> Format:
    """The format of the first row that has one. Raises RequestError if none has."""
    first: Row | None = None
    for row in rows:
        first = first or row
        if isinstance(row.value, dict):
            if "messages" in row.value:
                return "chat"
            if "instruction" in row.value:
                return "alpaca"
    if first is None:
        raise RequestError("There are no rows.", ACCEPTED)
    if isinstance(first.value, dict):
        found = "its keys are " + (", ".join(f"`{key}`" for key in first.value) or "none at all")
    else:
        found = f"it is {_kind(first.value)}, not an object"
    raise RequestError(
        f"{first.file}, line {first.line}: the format of this row is not known; {found}.", ACCEPTED
    )


def to_conversation(row: Row, row_format: Format) -> Conversation:
    """Read one row. Raises MalformedRow or UnusableRow, whose text is the reason."""
    value = row.value
    if not isinstance(value, dict):
        raise MalformedRow(f"the row is {_kind(value)}, not an object")
    read_messages = _chat_messages if row_format == "chat" else _alpaca_messages
    messages = read_messages(value)
    for number, message in enumerate(messages, 1):
        try:
            message.content.encode()
        except UnicodeEncodeError:
            raise MalformedRow(
                f"message {number} ({message.role}) holds half a character "
                "(a lone \\ud800–\\udfff escape)"
            ) from None
        if message.role != "system" and not message.content.strip():
            raise UnusableRow(f"message {number} ({message.role}) is empty")
    if not any(message.role == "assistant" for message in messages):
        raise UnusableRow("it has no assistant message, so nothing could be trained")
    return Conversation(tuple(messages), _text(value, "task", optional=True), row.file, row.line)


def _alpaca_messages(value: dict[str, Any]) -> list[Message]:
    instruction = _text(value, "instruction")
    extra = _text(value, "input", optional=True)
    output = _text(value, "output")
    system = _text(value, "system", optional=True)
    if value.get("history"):
        raise MalformedRow("`history` is not read: write the whole conversation as a chat row")
    user = f"{instruction}\n{extra}" if extra.strip() else instruction
    messages = [Message("user", user), Message("assistant", output)]
    return [Message("system", system), *messages] if system.strip() else messages


def _chat_messages(value: dict[str, Any]) -> list[Message]:
    items = value.get("messages")
    if not isinstance(items, list):
        raise MalformedRow(f"`messages` is {_kind(items)}, not a list")
    messages = []
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise MalformedRow(f"message {number} is {_kind(item)}, not an object")
        role = item.get("role")
        if role not in ROLES:
            raise MalformedRow(
                f"message {number} has the role {role!r}; known are {', '.join(ROLES)}"
            )
        # A key such as tool_calls changes what the message says; leaving it out would be wrong.
        unread = [key for key in item if key not in ("role", "content") and item[key]]
        if unread:
            raise MalformedRow(f"message {number} has `{unread[0]}`, which is not read")
        try:
            messages.append(Message(role, _text(item, "content")))
        except MalformedRow as problem:
            raise MalformedRow(f"message {number} ({role}): {problem}") from None
    return messages


def _text(value: dict[str, Any], key: str, optional: bool = False) -> str:
    item = value.get(key)
    if optional and item is None:
        return ""
    if key not in value:
        raise MalformedRow(f"`{key}` is missing")
    if not isinstance(item, str):
        raise MalformedRow(f"`{key}` is {_kind(item)}, not text")
    return item


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "nothing" if value is None else "a number")
