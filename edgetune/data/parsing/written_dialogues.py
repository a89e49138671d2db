"""Dialogues written as one text: ``Human: … Assistant: …`` and the like."""

import re

from edgetune.data.conversation import Message
from edgetune.data.parsing.fields import BadRow, Said
from edgetune.data.parsing.message_rows import assistant
from edgetune.data.parsing.tool_rows import read_calls

# Role names stand at the beginning of a paragraph; the text before the first is not one's turn.
_TURN = re.compile(
    r"(?:\A\s*|\n\s*\n\s*)(Human|Assistant|USER|ASSISTANT|FUNCTION RESPONSE):(?=\s|\Z)"
)
_ROLES = {
    "Human": "user",
    "USER": "user",
    "Assistant": "assistant",
    "ASSISTANT": "assistant",
    "FUNCTION RESPONSE": "tool",
}
_END = "<|endoftext|>"
_CALL = "<functioncall>"
_QUOTED_ARGUMENTS = re.compile(r'("arguments"\s*:\s*)\'(.*)\'\s*\}\s*\Z', re.DOTALL)


def is_dialogue(text: object) -> bool:
    """Whether a text begins with what the user says, and has an answer, or a place for one."""
    found = _TURN.match(text) if isinstance(text, str) else None
    if found is None or _ROLES[found[1]] != "user":
        return False
    return any(_ROLES[turn[1]] == "assistant" for turn in _TURN.finditer(found.string))


def read_dialogue(text: str, said: Said) -> tuple[Message, ...]:
    """The turns of a dialogue as in HH-RLHF (``\\n\\nHuman: …\\n\\nAssistant: …``) or Glaive
    (``USER: … ASSISTANT: … <functioncall> {…} <|endoftext|>``), without white space around them.

    Raises BadRow for a call that cannot be read.
    """
    pieces = _TURN.split(text)
    messages: list[Message] = []
    for who, content in zip(pieces[1::2], pieces[2::2], strict=True):
        role = _ROLES[who]
        content = content.strip().removesuffix(_END).rstrip()
        if role == "assistant":
            before, mark, call = content.partition(_CALL)
            message = assistant(before.strip() if mark else content, said)
            if mark:
                calls = read_calls(_plain_json(call), "the <functioncall>")
                message = Message(role, message.content, message.reasoning, calls)
            messages.append(message)
        else:
            messages.append(Message(role, content))
    if not messages:
        raise BadRow("it is text that is no dialogue (`Human: …`, `Assistant: …`)")
    return tuple(messages)


def _plain_json(call: str) -> str:
    """A call whose arguments are JSON within single quotes, as JSON."""
    return _QUOTED_ARGUMENTS.sub(lambda found: f"{found[1]}{found[2]}}}", call.strip())
