"""Rows with a prompt and an answer: alpaca, prompt/completion, question/answer, FLAN, tasks with
their instances; and rows of running text."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from edgetune.data.conversation import Conversation, Message
from edgetune.data.parsing.fields import (
    BadRow,
    Fields,
    Remark,
    as_text,
    from_json,
    is_empty,
    is_number,
    kind_of,
    list_of,
    shown,
)
from edgetune.data.parsing.message_rows import assistant, is_message, read_messages
from edgetune.data.parsing.tool_rows import read_calls, read_tools
from edgetune.data.parsing.written_dialogues import (
    asks_for_answer,
    carries_template,
    is_dialogue,
    is_open,
    read_dialogue,
    rendered_dialogue,
)

SYSTEM = (
    "system", "system_prompt", "system_message", "systeminstruction", "meta_instruction",
    "systemprompt", "system_instruction", "sys",
)  # fmt: skip
REASONING = ("reasoning_content", "reasoning", "thinking", "complex_cot", "cot", "thought")
REASONS = ("rationale", "explanation", "chain_of_thought")
"""Why an answer is right, perhaps told only after it; no reasoning that surely led to it."""
ANSWERS = ("output", "response", "answer", "completion", "target", "outputs")
CONTEXT = ("context", "passage", "article", "paragraph")
BESIDE = ("support", "story", "passages", "documents", "contexts", "body")
"""Context where they are texts, else perhaps something else."""
CHOICES = ("choices", "options")
_LETTERS = "abcdefghij"
COLUMNS_OF_CHOICES = ("{}", "option_{}", "choice_{}", "op{}", "option{}")
"""Names of columns that hold a choice each; a letter stands in them."""
_NO_INPUT = {"<noinput>", "noinput", "<no input>", "no input"}

# What stands as a prompt, and the names that its answer may go by.
COMPLETIONS: dict[str, tuple[str, ...]] = {
    "prompt": ("completion", "response", "output", "answer", "target", "generation"),
    "query": ("response", "answer", "output", "completion", "answers"),
    "input": ("output", "target", "response", "answer", "completion"),
    "source": ("target",),
    "problem": ("solution", "generated_solution", "answer"),
    "user": ("assistant",),
    "human": ("assistant", "bot", "gpt"),
}
QUESTIONS = (
    "answer",
    "response",
    "output",
    "completion",
    "solution",
    "answers",
    "correct_answer",
    "best_answer",
    "answerkey",
)
FLAN = (("inputs", "targets"), ("inputs_pretokenized", "targets_pretokenized"))


def with_system(messages: Sequence[Message], fields: Fields) -> tuple[Message, ...]:
    """Messages with a row's own system text in front, where it has one and they have none."""
    value = fields.peek(fields.name_of(*SYSTEM))
    if is_empty(value) or any(message.role == "system" for message in messages):
        return tuple(messages)
    what = fields.label(*SYSTEM)
    fields.take(*SYSTEM)
    if isinstance(value, dict):
        value = value.get("parts", [value])
    items = [{"role": "system", "content": value}]
    system = read_messages(items, what, fields.said, fields.inner_ignored)
    return (*system, *messages) if system[0].content.strip() else tuple(messages)


def prompt_messages(value: Any, what: str, fields: Fields) -> tuple[Message, ...]:
    """What is said before an answer: a text, a dialogue in one text, or messages."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        if len(value) > 1:
            raise BadRow(f"{what} is a list of {len(value)} texts, and it is open who says which")
        value = value[0]
    value = messages_in(value)
    if isinstance(value, list | dict):
        items = [value] if isinstance(value, dict) else value
        return read_messages(items, what, fields.said, fields.inner_ignored)
    if is_dialogue(value):
        messages = read_dialogue(value, fields.said)
        # `… Assistant:` at the end only asks for the answer.
        return messages[:-1] if is_open(messages) else messages
    text = as_text(value, what, fields.said)
    if asks_for_answer(text):
        said = list(fields.said)
        if is_open(messages := rendered_dialogue(text, said)):
            fields.said[:] = said
            return messages[:-1]
        remark = f"{what} ends as a chat template writes it; the template is written around it"
        fields.said.append(Remark("warning", "rendered", remark))
    return (Message("user", text),)


def messages_in(value: Any) -> Any:
    """Messages that a row holds as JSON text; any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        read = from_json(value, "")
    except (BadRow, RecursionError):
        return value
    items = read if isinstance(read, list) else [read]
    return items if items and all(is_message(item) for item in items) else value


def answer_messages(value: Any, what: str, fields: Fields) -> tuple[Message, ...]:
    """An answer: a text, the first of several texts, or messages."""
    value = messages_in(value)
    if is_message(value):
        value = [value]
    if isinstance(value, list) and value and all(is_message(item) for item in value):
        return read_messages(value, what, fields.said, fields.inner_ignored)
    thought = fields.take(*REASONING)
    reasoning = thought if isinstance(thought, str) else ""
    return (assistant(answer_text(value, what, fields), fields.said, reasoning),)


def answer_text(value: Any, what: str, fields: Fields) -> str:
    """One answer, of a list the first. Raises BadRow for what holds none."""
    value = _inner_text(value, what)
    if isinstance(value, list):
        if not value:
            raise BadRow(f"{what} holds no answer", "no-answer", "warning")
        if any(item != value[0] for item in value):
            remark = f"{what} holds several answers, of which the first is learned"
            fields.said.append(Remark("note", "several-answers", remark))
        value = _inner_text(value[0], what)
    return as_text(value, what, fields.said)


def _inner_text(value: Any, what: str) -> Any:
    """The text or texts inside of an object, as SQuAD (``{"text": [...], "answer_start": [...]}``)
    and TriviaQA (``{"value": ..., "aliases": ...}``) have them; any other value as it is."""
    if not isinstance(value, dict):
        return value
    inner = next((value[key] for key in ("text", "value") if key in value), None)
    if inner is None:
        raise BadRow(f"{what} is an object, not text")
    return inner


def read_alpaca(fields: Fields) -> list[Conversation]:
    """``instruction``, perhaps ``input`` below it, ``output``; ``history`` before, ``system``."""
    prompt = instructed(fields)
    answer = answer_messages(fields.need(*ANSWERS), fields.label(*ANSWERS), fields)
    return [_conversation(fields, (*prompt, *answer))]


def earlier(messages: Sequence[Message], fields: Fields) -> tuple[Message, ...]:
    """Messages with the turns of a row's ``history`` before them, behind a system message."""
    history = fields.take("history")
    if is_empty(history):
        return tuple(messages)
    turns = read_messages(history, fields.label("history"), fields.said, fields.inner_ignored)
    first = int(bool(messages) and messages[0].role == "system")
    return (*messages[:first], *turns, *messages[first:])


def instructed(fields: Fields) -> tuple[Message, ...]:
    """An instruction with its input, or context, on the line below."""
    what = fields.label("instruction")
    prompt = prompt_messages(fields.need("instruction"), what, fields)
    return _with_texts(prompt, "", "\n".join(_texts(fields, "input") + _context(fields)), what)


def _texts(fields: Fields, *names: str) -> list[str]:
    """The texts that the names hold, without those that say nothing."""
    texts = []
    for name in filter(fields.has, names):
        text = fields.optional_text(name)
        if name == "input" and text.strip().lower() in _NO_INPUT:
            remark = f"{fields.label(name)} is `{text.strip()}`, which is read as none"
            fields.said.append(Remark("note", "no-input", remark))
        elif text.strip():
            texts.append(text)
    return texts


def _context(fields: Fields) -> list[str]:
    """The texts that a question is about."""
    texts: list[str] = []
    for name in filter(fields.has, (*CONTEXT, *BESIDE)):
        value = fields.peek(name)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            texts += filter(str.strip, fields.take(name))
        elif name in CONTEXT or isinstance(value, str):
            texts += _texts(fields, name)
        elif isinstance(value, list | dict) and value:
            fields.take(name)
            remark = f"{fields.label(name)} is {kind_of(value)} without plain texts"
            fields.said.append(Remark("warning", "unused-text", f"{remark} and is not used"))
    return list(dict.fromkeys(texts))


def _with_texts(
    prompt: tuple[Message, ...], above: str, below: str, what: str
) -> tuple[Message, ...]:
    """A prompt with a text above it, set off by an empty line, and one on the line below it."""
    if not above and not below:
        return prompt
    if len(prompt) != 1 or prompt[0].role != "user":
        raise BadRow(f"{what} holds several messages, so that its context has no place")
    content = "\n".join(text for text in (prompt[0].content, below) if text.strip())
    return (Message("user", f"{above}\n\n{content}" if above else content),)


def completion_names(fields: Fields) -> tuple[str, tuple[str, ...]] | None:
    """Which name is the prompt's and which are the answer's, in a row that has both."""
    for prompt, answers in COMPLETIONS.items():
        if fields.has(prompt) and fields.has(*answers):
            return prompt, answers
    return None


def read_completion(fields: Fields) -> list[Conversation]:
    """A prompt and what completes it, each a text or messages; calls with ``tools``."""
    names = completion_names(fields)
    if names is None:
        prompt = fields.name_of(*COMPLETIONS) or "prompt"
        names = (prompt, COMPLETIONS[prompt])
    prompt_name, answer_names = names
    before = asked(prompt_name, fields)
    value, what = fields.need(*answer_names), fields.label(*answer_names)
    if fields.has("tools") and (called := _calls(value)) is not None:
        return [_conversation(fields, (*before, Message("assistant", tool_calls=called)))]
    if choices := _columns_of_choices(fields):
        return [_conversation(fields, _chosen(before, choices, value, prompt_name, fields))]
    return [_conversation(fields, (*before, *answer_messages(value, what, fields)))]


def _calls(value: Any) -> Any:
    """The calls that an answer consists of; None if it is something else."""
    try:
        value = from_json(value, "")
    except BadRow:
        return None
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, dict) and "name" in item for item in items):
        return None
    return read_calls(items, "the answer")


def asked(name: str, fields: Fields) -> tuple[Message, ...]:
    """What is asked under a name, below its context and above its input."""
    what = fields.label(name)
    prompt = prompt_messages(fields.need(name), what, fields)
    below = [] if name == "input" else _texts(fields, "input")
    return _with_texts(prompt, "\n".join(_context(fields)), "\n".join(below), what)


def read_question(fields: Fields) -> list[Conversation]:
    """``question`` (below its ``context``) and ``answer``; perhaps ``choices`` to answer from."""
    before = asked("question", fields)
    value, what = fields.need(*QUESTIONS), fields.label(*QUESTIONS)
    choices = fields.take(*CHOICES)
    if is_empty(choices):
        choices = _columns_of_choices(fields)
    if is_empty(choices):
        return [_conversation(fields, (*before, *answer_messages(value, what, fields)))]
    return [_conversation(fields, _chosen(before, choices, value, "question", fields))]


def _columns_of_choices(fields: Fields) -> list[str]:
    """The choices of a row that has a column for each of them (``A``, ``B``, … or ``opa``, …)."""
    for pattern in COLUMNS_OF_CHOICES:
        names = [pattern.format(letter) for letter in _LETTERS]
        there = list(takewhile(lambda name: not is_empty(fields.peek(name)), names))
        if len(there) > 1:
            return [fields.text(name) for name in there]
    return []


def _chosen(
    before: tuple[Message, ...], choices: Any, answer: Any, name: str, fields: Fields
) -> tuple[Message, ...]:
    """A question with its choices below it, and the line of the right one."""
    listed, right = _choice(choices, answer, fields)
    return (*_with_texts(before, "", listed, fields.label(name)), Message("assistant", right))


def _choice(choices: Any, answer: Any, fields: Fields) -> tuple[str, str]:
    """The choices, lettered, one on each line, and the right one's line."""
    labels: Any = None
    if isinstance(choices, dict):
        choices, labels = choices.get("text"), choices.get("label")
    if not isinstance(choices, list) or not all(isinstance(item, str) for item in choices):
        raise BadRow(f"{fields.label(*CHOICES)} is not a list of texts")
    if labels is None:
        labels = [chr(ord("A") + number) for number in range(len(choices))]
    if not (
        isinstance(labels, list)
        and len(labels) == len(choices)
        and all(isinstance(label, str) for label in labels)
    ):
        raise BadRow(f"{fields.label(*CHOICES)} has not one label for each text")
    lines = [f"{label}. {choice}" for label, choice in zip(labels, choices, strict=True)]
    fields.said.append(
        Remark(
            "note",
            "choices",
            "choices are listed below the question, and the right one's line is the answer",
        )
    )
    if isinstance(answer, int) and is_number(answer) and 0 <= answer < len(lines):
        return "\n".join(lines), lines[answer]
    for known in (labels, choices, lines):
        if answer in known:
            return "\n".join(lines), lines[known.index(answer)]
    raise BadRow(f"the answer {shown(answer)} is none of the {len(lines)} choices")


def read_flan(fields: Fields) -> list[Conversation]:
    """``inputs`` and ``targets``, or P3's texts of them; a ``definition`` above the input."""
    numbered, written = FLAN
    names = written if all(fields.has(name) for name in written) else numbered
    if names == written:
        # The same as numbers of tokens.
        fields.take(numbered[0])
        fields.take(numbered[1])
    prompt = prompt_messages(fields.need(names[0]), fields.label(names[0]), fields)
    prompt = _with_texts(
        prompt, "\n".join(_texts(fields, "definition")), "", fields.label(names[0])
    )
    value = fields.need(names[1])
    return [
        _conversation(fields, (*prompt, *answer_messages(value, fields.label(names[1]), fields)))
    ]


def read_seed_task(fields: Fields) -> list[Conversation]:
    """An instruction with instances: self-instruct's seed tasks, and the task files of
    Super-NaturalInstructions. One conversation for each instance, of the task's own name."""
    instruction = fields.need("instruction", "definition")
    if isinstance(instruction, list):
        instruction = answer_text(instruction, fields.label("instruction", "definition"), fields)
    text = as_text(instruction, fields.label("instruction", "definition"), fields.said)
    instances = list_of(fields.need("instances"))
    what = fields.label("instances")
    if not isinstance(instances, list):
        raise BadRow(f"{what} is {kind_of(instances)}, not a list")
    if not instances:
        raise BadRow(f"{what} holds nothing", "no-answer", "warning")
    # Super-NaturalInstructions' definitions are paragraphs, self-instruct's tasks are lines.
    joint = "\n\n" if fields.has("definition") else "\n"
    conversations = []
    for number, item in enumerate(instances, 1):
        if not isinstance(item, dict):
            raise BadRow(f"instance {number} is {kind_of(item)}, not an object")
        inner = Fields(item, said=fields.said)
        try:
            extra = inner.optional_text("input")
            output = answer_text(inner.need("output"), "`output`", inner)
        except BadRow as problem:
            reason = f"instance {number}: {problem}"
            raise BadRow(reason, problem.kind, problem.grade) from None
        user = f"{text}{joint}{extra}" if extra.strip() else text
        conversations.append(Conversation((Message("user", user), assistant(output, fields.said))))
    return conversations


def read_text(fields: Fields) -> list[Conversation]:
    """``text``: all of it is learned."""
    text = fields.text("text")
    if not text.strip():
        raise BadRow("the text is empty", "empty", "warning")
    if carries_template(text):
        remark = "the text looks like a dialogue in a chat template and is learned as plain text"
        fields.said.append(Remark("warning", "rendered", remark))
    return [Conversation((), text=text)]


def _conversation(fields: Fields, messages: Sequence[Message]) -> Conversation:
    tools = read_tools(fields.take("tools", "functions"))
    for name in filter(fields.has, REASONS):
        if isinstance(fields.peek(name), str) and fields.text(name).strip():
            remark = f"{fields.label(name)} may belong before or behind the answer and is not used"
            fields.said.append(Remark("warning", "unused-text", remark))
    return Conversation(with_system(earlier(messages, fields), fields), tools=tools)
