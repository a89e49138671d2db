"""What a row's texts hold that should not be learned: keys, personal data, placeholders that
were never filled in, control tokens written out."""

import re
from collections.abc import Iterator

from edgetune.data.checks.secrets import find_secrets
from edgetune.data.conversation import Conversation, Finding, Grade

_MOST_NAMED = 3


def texts(conversation: Conversation) -> list[str]:
    """Everything that is said in a row, in its order, tool calls and rejected answers included."""
    found = []
    for message in (*conversation.messages, *conversation.rejected):
        found += [message.content, message.reasoning]
        for call in message.tool_calls:
            found.append(f"{call.name} {call.arguments}")
    return [text for text in (*found, conversation.text) if text]


def check(conversation: Conversation, text: str) -> Iterator[Finding]:
    """What there is to say about all that a row says, ``text``."""
    file, line = conversation.file, conversation.line
    found: dict[tuple[Grade, str], list[str]] = {}
    for secret in find_secrets(text):
        grade: Grade = "note" if secret.example else "warning"
        kind = f"made-up {secret.kind}" if secret.example else secret.kind
        found.setdefault((grade, secret.grade_kind), []).append(f"{kind} {secret.shown}")
    if names := placeholders(text):
        found["warning", "placeholder"] = [f"{name} was never filled in" for name in names]
    if names := control_texts(text):
        found["warning", "control-text"] = [
            f"{name} is written out as text, as if it were a control token" for name in names
        ]
    if said := missing_values(conversation):
        found["warning", "no-value"] = said
    for (grade, kind), said in found.items():
        more = f" and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else ""
        yield Finding(grade, kind, ", ".join(said[:_MOST_NAMED]) + more, file, line)


# ---- placeholders ----

_PLACEHOLDER = re.compile(
    r"(?<![$\\{])\{\{\s?[A-Za-z_][\w -]{0,40}\s?\}\}(?!\})"  # {{name}}
    r"|\[(?:INSERT|PLACEHOLDER)\b[^\]\n]{0,60}\]"
    r"|<(?:INSERT|PLACEHOLDER)\b[^>\n]{0,60}>"
    r"|\b(?:Lorem ipsum dolor sit amet)\b"
)
_ABOUT_TEMPLATES = re.compile(
    r"```|\{%|\b(?:templates?|templating|jinja2?|mustache|handlebars|liquid|angular|vue|django"
    r"|ansible|helm|latex|placeholders?|wiki\w*|lorem ipsum (?:text|generator)|v-(?:if|for|model)"
    r"|ng-\w+)\b|\\(?:frac|begin|mathbf|text)\b",
    re.IGNORECASE,
)
# Rows about templates, mark-up or formulas hold double braces rightly.


def placeholders(text: str) -> list[str]:
    """Placeholders that were never filled in, each once."""
    if not ("{{" in text or "[" in text or "<" in text or "orem" in text):
        return []
    found = dict.fromkeys(match.group() for match in _PLACEHOLDER.finditer(text))
    if not found or _ABOUT_TEMPLATES.search(_PLACEHOLDER.sub("", text)):
        return []
    return list(found)


# ---- missing values ----

_MISSING = {"nan", "NaN", "None", "null", "NULL", "<NA>", "NaT"}
# How programs write that a cell is empty.
_NO_INPUT = {"<noinput>", "<no input>", "noinput", "no input", "n/a", "nan", "null", "<na>"}


def missing_values(conversation: Conversation) -> list[str]:
    """Answers, and inputs at the end of a request, that only say that there is none."""
    found = []
    for message in conversation.messages:
        content = message.content.strip()
        if message.role == "assistant" and content in _MISSING:
            found.append(f"the answer is only `{content}`, as programs write a missing value")
        elif message.role == "user":
            request, _, last = content.rpartition("\n")
            if request and last.lower() in _NO_INPUT:
                found.append(f"the request ends with `{last}`, which stands for no input")
    return list(dict.fromkeys(found))


# ---- control tokens ----

_CONTROL = re.compile(
    r"<\|[A-Za-z][\w.-]{1,40}\|>"  # <|im_end|>, <|eot_id|>
    r"|<｜[^｜\n]{1,40}｜>"
    r"|</?(?:start|end)_of_turn>|<(?:eos|bos|pad|unk)>|\[/?INST\]|<</?SYS>>|<s>|</s>"
)


def control_texts(text: str) -> list[str]:
    """What looks like control tokens of chat templates, each once."""
    if "<" not in text and "INST]" not in text:
        return []
    found = dict.fromkeys(match.group() for match in _CONTROL.finditer(text))
    # In HTML <s>…</s> strikes text through.
    if text.count("<s>") == text.count("</s>") and not {"[INST]", "<<SYS>>"} & found.keys():
        found.pop("<s>", None)
        found.pop("</s>", None)
    return list(found)
