"""Dialogues written as one text: ``Human: … Assistant: …`` and the like."""

import re
from collections.abc import Iterator

from edgetune.data.conversation import Message
from edgetune.data.parsing.fields import BadRow, Remark, Said
from edgetune.data.parsing.message_rows import assistant
from edgetune.data.parsing.tool_rows import read_calls

# Role names stand at the beginning of a paragraph; the text before the first is not one's turn.
_NAME = re.compile(r"\b(Human|Assistant|USER|ASSISTANT|FUNCTION RESPONSE):(?=\s|\Z)")
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
    if not isinstance(text, str):
        return False
    found = _NAME.match(text, len(text) - len(text.lstrip()))
    if found is None or _ROLES[found[1]] != "user":
        return False
    return any(_ROLES[turn[1]] == "assistant" for turn in _turns(text))


def _turns(text: str) -> Iterator[re.Match[str]]:
    """The role names that begin a turn: behind an empty line, or at the very beginning."""
    end = 0
    for found in _NAME.finditer(text):
        before = text[end : found.start()]
        said = before.rstrip()
        if before.count("\n", len(said)) > 1 or not (said or end):
            yield found
        end = found.end()


def read_dialogue(text: str, said: Said) -> tuple[Message, ...]:
    """The turns of a dialogue as in HH-RLHF (``\\n\\nHuman: …\\n\\nAssistant: …``) or Glaive
    (``USER: … ASSISTANT: … <functioncall> {…} <|endoftext|>``), without white space around them.

    Raises BadRow for a call that cannot be read.
    """
    turns = list(_turns(text))
    ends = [turn.start() for turn in turns[1:]] + [len(text)]
    messages: list[Message] = []
    for turn, end in zip(turns, ends, strict=True):
        role = _ROLES[turn[1]]
        content = text[turn.end() : end].strip().removesuffix(_END).rstrip()
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


# ---- rendered by a template ----

_HASHED = re.compile(r"(?<!#)### ?(System|Human|User|Assistant):")
_LINED = re.compile(r"^(Human|User|USER|Assistant|ASSISTANT):(?=\s|\Z)", re.MULTILINE)
_RENDERED_ROLES = _ROLES | {"System": "system", "User": "user"}
_ALPACA = re.compile(r"^### ?(Instruction|Input|Response):", re.MULTILINE)
_ALPACA_PREAMBLE = "Below is an instruction that describes a task"
_ASKED = ("### Instruction:", "### Human:", "### User:", "###Human:", "###User:")
_ANSWERED = ("### Response:", "### Assistant:", "###Assistant:")
_OPEN = re.compile(r"(?:\A|\n|\s)(?:Assistant|ASSISTANT|### ?(?:Response|Assistant)):\Z")


def rendered_dialogue(text: object, said: Said) -> tuple[Message, ...]:
    """The turns of a text that is a dialogue from its first line on, as templates write them:
    ``### Human: … ### Assistant: …``, ``User: …`` and ``Assistant: …`` in turn, or Alpaca's
    ``### Instruction: … ### Response: …``. Nothing for any other text.
    """
    if not isinstance(text, str):
        return ()
    if is_dialogue(text):
        return read_dialogue(text, said)
    text = text.strip()
    if messages := _alpaca(text, said):
        return messages
    for mark in (_HASHED, _LINED):
        if not mark.match(text):
            continue
        pieces = mark.split(text)
        roles = [_RENDERED_ROLES[who] for who in pieces[1::2]]
        spoken = roles[1:] if roles[0] == "system" else roles
        if spoken != [("user", "assistant")[number % 2] for number in range(len(spoken))]:
            continue
        if len(spoken) > 1:
            contents = [content.strip() for content in pieces[2::2]]
            return tuple(
                assistant(content, said) if role == "assistant" else Message(role, content)
                for role, content in zip(roles, contents, strict=True)
            )
    return ()


def is_open(messages: tuple[Message, ...]) -> bool:
    """Whether a dialogue ends with a place for the answer."""
    return bool(messages) and messages[-1] == Message("assistant")


def carries_template(text: str) -> bool:
    """Whether marks of a chat template stand in a text: those of both sides."""
    if any(mark in text for mark in _ASKED) and any(mark in text for mark in _ANSWERED):
        return True
    found = _LINED.match(text.lstrip()[:20])
    return bool(found) and "\nassistant:" in text.lower()


def asks_for_answer(text: str) -> bool:
    """Whether a prompt ends with a template's mark for the answer, such as ``Assistant:``."""
    return bool(_OPEN.search(text.rstrip()[-20:]))


def _alpaca(text: str, said: Said) -> tuple[Message, ...]:
    if not (_ALPACA.match(text) or text.startswith(_ALPACA_PREAMBLE)):
        return ()
    preamble, *pieces = _ALPACA.split(text)
    if pieces[::2] not in (["Instruction", "Response"], ["Instruction", "Input", "Response"]):
        return ()
    if preamble.strip():
        remark = "Alpaca's sentence in front of the instruction is left to the chat template"
        said.append(Remark("note", "adjusted", remark))
    *asked, answer = (piece.strip() for piece in pieces[1::2])
    user = "\n".join(piece for piece in asked if piece)
    return (Message("user", user), assistant(answer, said))
