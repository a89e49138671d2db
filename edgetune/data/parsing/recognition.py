"""Which format a row has, told by its keys, the strictest rule first:

1. *preference*: ``chosen`` and ``rejected``, each a text, messages or a whole dialogue, with the
   ``prompt`` (``question``, ``instruction`` and ``input``, ``conversations``, …)
2. *kto*: any of 3, 4 and 6 to 9 with a ``label`` (or ``kto_tag``) that is true or false
3. *chat*: ``messages``, or another list of ``{"role", "content"}``
4. *sharegpt*: ``conversations``, or another list of ``{"from", "value"}``, pairs or plain texts
5. *seed-tasks*: ``instruction`` (or ``definition``) with ``instances``
6. *alpaca*: ``instruction``, perhaps ``input`` (or ``context``), ``output`` (or ``response``, …)
7. *flan*: ``inputs`` and ``targets``
8. *question*: ``question``, perhaps ``context`` or ``choices``, and ``answer``
9. *completion*: ``prompt`` and ``completion``, or one of the other pairs of ``COMPLETIONS``
10. *text*: ``text``, with nothing beside it that it could be the prompt of;
    *chat* if it is a dialogue from its first line on

Keys count in any case (``Question``); null is as good as absent. Every row may name its ``task``.
A row that fits no rule is refused with its keys: nothing is guessed.
"""

from typing import Any

from edgetune.data.parsing.chat_rows import (
    CHOSEN,
    DIALOGUES,
    LABELS,
    REJECTED,
    WRITTEN,
    dialogue_name,
    read_label,
    worse_name,
)
from edgetune.data.parsing.fields import BadRow, Fields, is_empty, is_number, list_of, plain_name
from edgetune.data.parsing.message_rows import is_message
from edgetune.data.parsing.pair_rows import ANSWERS, CONTEXT, FLAN, QUESTIONS, completion_names
from edgetune.data.parsing.written_dialogues import rendered_dialogue

_ABOUT_WORDS = """
category subcategory subtask _id id idx index row row_id uid uuid guid key qid q_id
question_id prompt_id conversation_id conv_id message_id example_id dataset dataset_name
source data_source origin subset split url urls link title lang language language_code
language_cultural_code locale license meta metadata info timestamp created date created_at
updated_at author user user_id model model_name models generator version hash sha md5 group
tags topic topics subject difficulty score scores rating num_turns turn length tokens
token_count n_tokens filename file path is_classification license_type warc_record_id dump
"""
# A column without a name, or which pandas named, holds the number of the row.
ABOUT = frozenset(_ABOUT_WORDS.split()) | {"", "unnamed:_0"}
"""Keys that say something about a row; that they are not learned needs no note."""

_IMAGES = ("image", "images", "videos", "video", "audio", "audios")
_ANSWER_LIKE_WORDS = """
label labels class sentiment category tag target targets answer summary translation
highlights completion response output
"""
_ANSWER_LIKE = frozenset(_ANSWER_LIKE_WORDS.split())
_PROMPT_LIKE = ("question", "prompt", "query", "problem", "text")
_SHORT_PROMPTS = ("prompt", "question", "instruction", "query", "input", "inputs", "problem")


def recognize(fields: Fields) -> str:
    """The name of a row's format. Raises BadRow, with the reason, for one that fits none."""
    if (images := fields.name_of(*_IMAGES)) and not is_empty(fields.peek(images)):
        raise BadRow(f"it has {fields.label(images)}, and only text is read", "format")
    if fields.has(*CHOSEN) and fields.has(*REJECTED):
        return "preference"
    if fields.has("messages") and worse_name(fields):
        return "preference"
    name = base_format(fields)
    if name in ("text", "seed-tasks"):
        return name
    label = fields.name_of(*LABELS)
    # In tables numbers are text.
    if is_number(value := fields.peek(label)) or value in ("0", "1"):
        raise BadRow(
            f"it has {fields.label(label)}, a number; if that says whether the answer is a "
            f"desirable one (1, 0) ask for --format kto, if not for --format {name}",
            "format",
        )
    return "kto" if read_label(fields) is not None else name


def is_row(value: dict[str, Any]) -> bool:
    """Whether an object is surely a row, and not one that holds the rows of a file in a list
    (which may say something about them in a ``text``)."""
    try:
        return recognize(Fields(value)) != "text"
    except BadRow:
        return False


def base_format(fields: Fields) -> str:
    """The format of a row apart from judgements."""
    if fields.has("message_id") and "parent_id" in fields.value:
        raise BadRow(
            "it is one message of a tree (`message_id`, `parent_id`), not a conversation; put "
            "the messages of each path through a tree into one row",
            "format",
        )
    if name := dialogue_name(fields):
        return "sharegpt" if _is_sharegpt(name, fields.peek(name)) else "chat"
    if isinstance(list_of(fields.peek("instances")), list) and fields.has(
        "instruction", "definition"
    ):
        return "seed-tasks"
    if fields.has("instruction") and any(name in fields for name in ANSWERS):
        if not fields.has("input", *CONTEXT):
            _refuse_two_prompts(fields, "instruction")
        return "alpaca"
    if any(fields.has(inputs) and fields.has(targets) for inputs, targets in FLAN):
        return "flan"
    if fields.has("question") and any(name in fields for name in QUESTIONS):
        _refuse_two_prompts(fields, "question")
        return "question"
    if names := completion_names(fields):
        _refuse_two_prompts(fields, names[0])
        return "completion"
    if is_message(fields.value):
        raise BadRow(
            "it is a single message, not a conversation; put the messages of each conversation "
            'into one row, {"messages": […]}',
            "format",
        )
    if fields.has("text"):
        return _text_format(fields)
    if fields.has(*DIALOGUES[:2]):
        return "chat" if fields.has(DIALOGUES[0]) else "sharegpt"
    if fields.has("instruction") and set(fields.value) <= {"instruction", "input", "system"}:
        return "alpaca"
    raise BadRow(_no_format(fields), "format")


def _refuse_two_prompts(fields: Fields, asked: str) -> None:
    """Raises BadRow if another text of the row may be a part of what is asked as well."""
    prompt = fields.peek(asked)
    for name in _PROMPT_LIKE:
        other = fields.peek(name)
        if name == asked or not isinstance(prompt, str) or not isinstance(other, str):
            continue
        # Many data sets have the prompt once more within its rendered template.
        if other.strip() and prompt.strip() not in other:
            raise BadRow(
                f"it has {fields.label(asked)} and {fields.label(name)}, and either may be what is "
                "asked; name the columns, or ask for a format with --format",
                "format",
            )


def _is_sharegpt(name: str, value: Any) -> bool:
    items = list_of(value)
    if isinstance(items, list):
        return not (isinstance(items[0], dict) and "role" in items[0])
    return name != WRITTEN and '"role"' not in str(value)[:200]


def _text_format(fields: Fields) -> str:
    """``text``, unless it is a whole dialogue, or stands beside what may be its answer or its
    class."""
    for key, value in fields.value.items():
        name = plain_name(key)
        if name in ("text", "task") or is_empty(value):
            continue
        told = isinstance(value, str) and not name.startswith("_") and name not in ABOUT
        if told or name in _ANSWER_LIKE:
            raise BadRow(
                f"it has `text` and `{key}`, so it may be no plain text; ask for --format text "
                "to learn `text` alone, or name the columns of prompt and answer",
                "format",
            )
    return "chat" if rendered_dialogue(fields.peek("text"), []) else "text"


def _no_format(fields: Fields) -> str:
    if absent := fields.absent():
        return f"{absent} is missing"
    keys = ", ".join(f"`{key}`" for key in list(fields.value)[:20]) or "none at all"
    keys += ", …" if len(fields.value) > 20 else ""
    prompt = fields.name_of(*_SHORT_PROMPTS)
    if prompt and fields.has(prompt):
        judged = fields.name_of(*CHOSEN, *REJECTED)
        if fields.has(judged):
            other = "rejected" if judged in CHOSEN else "chosen"
            return (
                f"it has {fields.label(judged)} but no `{other}`, so it is no preference pair; its "
                f"keys are {keys}"
            )
        return f"it has {fields.label(prompt)} but no answer to it; its keys are {keys}"
    return f"its format is not known; its keys are {keys}"
