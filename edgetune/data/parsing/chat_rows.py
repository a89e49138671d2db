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
from edgetune.data.parsing.message_rows import MOST_WEIGHT, assistant, is_message, read_messages
from edgetune.data.parsing.pair_rows import (
    CONTEXT,
    SYSTEM,
    answer_messages,
    asked,
    earlier,
    instructed,
    prompt_messages,
    with_system,
)
from edgetune.data.parsing.tool_rows import read_tools
from edgetune.data.parsing.written_dialogues import (
    is_dialogue,
    is_open,
    read_dialogue,
    rendered_dialogue,
)

DIALOGUES = ("messages", "conversations", "conversation", "dialog", "dialogue", "contents")
WRITTEN = "chat"
"""Key of a dialogue that is one text (Glaive)."""
CHOSEN = ("chosen", "chosen_response", "preferred_output", "response_j")
REJECTED = ("rejected", "rejected_response", "non_preferred_output", "response_k")
LABELS = ("label", "kto_tag")
_GOOD = ("true", "1", "desirable", "good", "chosen")
_BAD = ("false", "0", "undesirable", "bad", "rejected")
_JUDGEMENTS = ("is_safe", "is_correct", "is_response_safe", "is_good", "correct")
_ANSWERS = ("completion", "response", "target")
_PROMPTS = ("prompt", "question", "instruction", "query", "input")


def read_chat(fields: Fields) -> list[Conversation]:
    """A list of messages; perhaps ``tools``, ``system``, and a ``rejected`` last answer."""
    name = dialogue_name(fields) or fields.name_of(*DIALOGUES)
    if not name and (messages := rendered_dialogue(fields.peek("text"), fields.said)):
        fields.take("text")
        return _conversation(fields, messages[:-1] if is_open(messages) else messages)
    name = name or DIALOGUES[0]
    value = fields.need(name)
    if name == WRITTEN and isinstance(value, str):
        messages = read_dialogue(value, fields.said)
    else:
        messages = read_messages(
            value, fields.label(name), fields.said, fields.inner_ignored, texts=name != "messages"
        )
    rejected: tuple[Message, ...] = ()
    messages = _with_context(_with_answer(messages, fields), fields)
    if worse := worse_name(fields):
        rejected = _answer(fields.take(worse), fields.label(worse), fields)
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


def _with_answer(messages: tuple[Message, ...], fields: Fields) -> tuple[Message, ...]:
    """Messages that end with a question, with the answer that stands beside them."""
    beside = fields.name_of(*_ANSWERS)
    if not messages or messages[-1].role == "assistant" or is_empty(fields.peek(beside)):
        return messages
    return (*messages, *answer_messages(fields.take(beside), fields.label(beside), fields))


def _with_context(messages: tuple[Message, ...], fields: Fields) -> tuple[Message, ...]:
    """Messages with the context beside them above the first question, ``instructions`` in front."""
    value = fields.peek(fields.name_of(*CONTEXT))
    first = next((n for n, message in enumerate(messages) if message.role == "user"), None)
    if first is not None and isinstance(value, str) and value.strip():
        text = fields.text(*CONTEXT)
        if text.strip() not in messages[first].content:
            asked = replace(messages[first], content=f"{text}\n\n{messages[first].content}")
            messages = (*messages[:first], asked, *messages[first + 1 :])
    told = fields.peek("instructions")
    system = fields.has(*SYSTEM) or any(message.role == "system" for message in messages)
    if isinstance(told, str) and told.strip() and not system:
        messages = (Message("system", fields.text("instructions")), *messages)
    return messages


def worse_name(fields: Fields) -> str:
    """The name of the worse answer that stands beside messages ending with the better one."""
    if any(fields.has(chosen) for chosen in CHOSEN):
        return ""
    for name in ("rejected", "rejected_response", "rejected_messages"):
        value = fields.peek(name)
        if isinstance(value, list | dict) or (isinstance(value, str) and value.strip()):
            return name
    return ""


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
        prompt = earlier(_prompt(fields), fields)
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
        if text in ("0", "1"):
            value = int(text)
        elif text in (*_GOOD, *_BAD):
            value = text in _GOOD
    if isinstance(value, bool) or (numbers and is_number(value) and value in (0, 1)):
        return bool(value)
    return None


def with_judgements(drafts: list[Conversation], fields: Fields) -> list[Conversation]:
    """Conversations with what a row says about learning it: ``train``, ``weight``, and, as a
    warning, that its answer is not a right one. Raises BadRow for a row that is not to be
    learned."""
    if fields.peek("train") is False:
        raise BadRow("`train` is false, so nothing of it is learned", "no-answer", "warning")
    if fields.peek("train") is True:
        fields.take("train")
    for name in _JUDGEMENTS:
        if fields.peek(name) is False:
            fields.take(name)
            remark = f"{fields.label(name)} is false, and the answer is learned all the same"
            fields.said.append(Remark("warning", "judged", remark))
    weight = fields.peek(fields.name_of("loss_weight", "weight"))
    if not is_number(weight) or not 0 <= weight <= MOST_WEIGHT:
        return drafts
    fields.take("loss_weight", "weight")
    if weight != 1:
        label = fields.label("loss_weight", "weight")
        remark = f"{label} says how much the row counts in the loss: {weight}"
        fields.said.append(Remark("note", "adjusted", remark))
    return [
        replace(
            draft,
            messages=tuple(
                replace(message, weight=float(weight))
                if message.role == "assistant" and message.weight is None
                else message
                for message in draft.messages
            ),
        )
        for draft in drafts
    ]


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
