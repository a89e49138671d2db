"""Raw row -> conversations, and back: whatever the format, a row becomes ``Conversation``.

``recognition.py`` says which format a row has; each format has a reader, and each conversation is
checked in the same way. Every row may name its ``task``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from edgetune.config import SourceConfig
from edgetune.data.conversation import Conversation, Finding, Message
from edgetune.data.parsing.chat_json import to_json
from edgetune.data.parsing.chat_rows import (
    CHOSEN,
    LABELS,
    read_chat,
    read_label,
    read_preference,
    with_judgements,
)
from edgetune.data.parsing.fields import BadRow, Fields, Remark, Said, kind_of
from edgetune.data.parsing.message_rows import is_message
from edgetune.data.parsing.pair_rows import (
    read_alpaca,
    read_completion,
    read_flan,
    read_question,
    read_seed_task,
    read_text,
)
from edgetune.data.parsing.recognition import base_format, recognize
from edgetune.data.parsing.turns import check
from edgetune.data.readers.rows import Row
from edgetune.errors import RequestError

__all__ = [
    "ACCEPTED",
    "KEYS",
    "RowRead",
    "check_request",
    "read_row",
    "to_conversations",
    "to_json",
]

ACCEPTED = (
    'Accepted are chat rows, {"messages": [{"role": "user", "content": "…"}, {"role": '
    '"assistant", "content": "…"}]}; ShareGPT rows, {"conversations": [{"from": "human", '
    '"value": "…"}, …]}; alpaca rows, {"instruction": "…", "input": "…", "output": "…"}; pairs '
    "such as prompt and completion, question and answer, inputs and targets; preference pairs "
    "(chosen, rejected); rows with a KTO label; self-instruct seed tasks; and plain text, "
    '{"text": "…"}. Other keys can be named as one of these (`columns`), and a format can be '
    "asked for (`--format`)."
)
"""The accepted formats, for hints."""

READERS: dict[str, Callable[[Fields], list[Conversation]]] = {
    "preference": read_preference,
    "chat": read_chat,
    "sharegpt": read_chat,
    "seed-tasks": read_seed_task,
    "alpaca": read_alpaca,
    "flan": read_flan,
    "question": read_question,
    "completion": read_completion,
    "text": read_text,
}

_COMMON = ("system", "tools", "reasoning", "task")
KEYS: dict[str, tuple[str, ...]] = {
    "preference": ("prompt", "instruction", "input", "messages", "chosen", "rejected", *_COMMON),
    "chat": ("messages", "tools", "system", "task"),
    "sharegpt": ("conversations", "tools", "system", "task"),
    "seed-tasks": ("instruction", "instances", "task"),
    "alpaca": ("instruction", "input", "output", "history", *_COMMON),
    "flan": ("inputs", "targets", "definition", *_COMMON),
    "question": ("question", "context", "choices", "answer", *_COMMON),
    "completion": ("prompt", "completion", *_COMMON),
    "text": ("text", "task"),
}
"""The keys of each format, as ``columns`` can name them; rows may have others for the same."""
KEYS["kto"] = tuple(
    dict.fromkeys(["label", *(key for keys in KEYS.values() for key in keys if key != "rejected")])
)

TASKS = ("task", "task_name", "_task_name", "category", "kind")
"""Keys that name a row's task; only the first has to be text."""


@dataclass
class RowRead:
    """What became of a row."""

    format: str = ""
    """"" where none was recognized."""
    conversations: list[Conversation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    """Keys that mean nothing here."""


def to_conversations(
    row: Row, source: SourceConfig, group_key: str = ""
) -> tuple[str, list[Conversation], list[Finding]]:
    """The format of a row, its conversations, and what there is to say about it.

    No conversation without a finding that says that the row is left out. Never raises for what a
    row holds; ``check_request`` is to be called once for the source.
    """
    read = read_row(row, source, group_key)
    return read.format, read.conversations, read.findings


def check_request(source: SourceConfig) -> None:
    """Raises RequestError if ``columns`` names what the source's format does not have."""
    if source.format == "auto":
        known = sorted({key for keys in KEYS.values() for key in keys})
        whose = "any format"
    else:
        known, whose = list(KEYS[source.format]), f"the format {source.format}"
    if unknown := [name for name in source.columns if name not in known]:
        names = ", ".join(f"`{name}`" for name in unknown)
        raise RequestError(
            f"The columns given for {source.path} name {names}, which {whose} does not have.",
            f"It has {', '.join(f'`{name}`' for name in known)}; on the right of each stands the "
            "key of the rows, e.g. --column instruction=question_text.",
        )


def read_row(row: Row, source: SourceConfig, group_key: str = "") -> RowRead:
    """``to_conversations``, with the keys that were not used."""
    read = RowRead()
    said: Said = []
    left_out: list[Finding] = []

    def leave_out(problem: BadRow, where: str = "") -> None:
        text = f"{where}{problem}"
        left_out.append(
            Finding(problem.grade, problem.kind, text, row.file, row.line, left_out=True)
        )

    try:
        fields = Fields(_object(row.value, source.format), source.columns, said)
        read.format = recognize(fields) if source.format == "auto" else source.format
        drafts = with_judgements(_read(fields, read.format), fields)
        task, group = _task(fields, source), _group(fields, group_key)
        read.ignored = fields.ignored()
        for number, draft in enumerate(drafts, 1):
            whole = _with_source_system(draft, source)
            whole = replace(whole, task=task, group=group, file=row.file, line=row.line)
            try:
                read.conversations.append(check(whole, said))
            except BadRow as problem:
                leave_out(problem, f"instance {number}: " if len(drafts) > 1 else "")
    except BadRow as problem:
        leave_out(problem)
    except RecursionError:
        leave_out(BadRow("the row is nested too deeply", "broken"))
    read.findings += row.findings
    if read.conversations:
        read.findings += (
            Finding(item.grade, item.kind, item.message, row.file, row.line)
            for item in dict.fromkeys(said)
        )
    read.findings += left_out
    return read


def _object(value: Any, wanted: str) -> dict[str, Any]:
    if wanted == "text" and isinstance(value, str):
        return {"text": value}
    if isinstance(value, list) and value and all(is_message(item) for item in value):
        return {"messages": value}
    if not isinstance(value, dict):
        raise BadRow(f"the row is {kind_of(value)}, not an object", "format")
    return value


def _read(fields: Fields, name: str) -> list[Conversation]:
    if name == "preference" and not fields.has(*CHOSEN) and fields.has("messages"):
        # As ``to_json`` writes a pair: the messages end with the better answer.
        drafts = read_chat(fields)
        label = fields.peek("label")
        if not isinstance(label, bool):
            return drafts
        fields.take("label")
        return [replace(draft, label=label) for draft in drafts]
    if name != "kto":
        return READERS[name](fields)
    label = read_label(fields, numbers=True)
    if label is None:
        fields.need(*LABELS)
        raise BadRow(f"{fields.label(*LABELS)} is to be true or false")
    fields.take(*LABELS)
    base = base_format(fields)
    if base == "text":
        raise BadRow(
            "it is plain text, in which no answer stands that a label could judge", "format"
        )
    drafts = READERS[base](fields)
    return [replace(draft, label=label) for draft in drafts]


def _task(fields: Fields, source: SourceConfig) -> str:
    if fields.has("task"):
        return fields.optional_text("task")
    if fields.has("instances") and isinstance(fields.peek("name"), str):
        return str(fields.take("name"))
    for name in TASKS[1:]:
        value = fields.peek(name)
        if isinstance(value, str) and value.strip():
            fields.take(name)
            return value
    return source.task


def _group(fields: Fields, key: str) -> str:
    if not key:
        return ""
    value = fields.value.get(key)
    fields.used.add(key)
    if value is None or isinstance(value, list | dict):
        what = "missing" if value is None else kind_of(value)
        text = f"`{key}`, which names the group, is {what}; the row belongs to no group"
        fields.said.append(Remark("warning", "no-group", text))
        return ""
    try:
        return str(value)
    except ValueError:  # more digits than Python writes out
        raise BadRow(f"`{key}` is a number with too many digits") from None


def _with_source_system(conversation: Conversation, source: SourceConfig) -> Conversation:
    messages = conversation.messages
    if not source.system or not messages or any(m.role == "system" for m in messages):
        return conversation
    return replace(conversation, messages=(Message("system", source.system), *messages))
