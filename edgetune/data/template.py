"""Conversation -> prompt text, token ids, and which of them are trained.

Training, evaluation, verification and chat all render prompts here. A template is rendered as
transformers' ``apply_chat_template`` does it: a sandboxed Jinja, since templates come with models
and are not to be trusted.

The trained tokens are found by construction, not by searching for markers. For an assistant turn
the *prompt* is the conversation before it with the generation prompt, exactly what a chat hands
to the model. Its token ids have to be the first ids of the whole conversation; what follows, up
to and including the first control token (``</s>``, ``<|im_end|>``, …), is what the model is to
write, and is trained. Where a template or a tokenizer does not keep to this, so that training and
chat would see different tokens, the row is a RowProblem and never an example.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import numpy as np
import tokenizers

from edgetune.data.formats import Conversation, Message
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError

PLAIN = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ message['content'] + '\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] | trim }}{{ eos_token }}"
    "{% else %}{{ raise_exception('unknown role: ' + message['role']) }}"
    "{% endif %}{% endfor %}"
)
"""Template for a base model without one of its own: no token that the base has not seen.

The answer begins with the space that words have in running text and ends with the model's own
end token; the prompt ends with the newline before it, so no token lies across the border.
"""

PLAIN_ONE_LINE = PLAIN.replace(
    "{{ message['content'] + '\\n\\n' }}", "{{ message['content'] | replace('\\n', ' ') + ' ' }}"
).replace("{{ message['content'] + '\\n' }}", "{{ message['content'] | replace('\\n', ' ') }}")
"""The same for a vocabulary that cannot write a newline; only the answer's space divides."""

_CHUNK = 256
# Conversations tokenized together: enough to keep all cores busy, little enough to hold.


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks the assistant's part in some templates; here it only groups."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own protocol

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes for HTML.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _environment(now: datetime | None) -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: (now or datetime.now()).strftime(form)
    return environment


class ChatTemplate:
    """A chat template, compiled; it renders the same text as transformers."""

    def __init__(
        self, source: str, bos: str, eos: str, name: str, now: datetime | None = None
    ) -> None:
        """``bos`` and ``eos`` are the model's token texts ("" for none); ``name`` is shown.
        A template that writes the date takes it from ``now``, else from the clock.

        Raises RequestError if ``source`` is no valid template.
        """
        self.source, self.bos, self.eos, self.name = source, bos, eos, name
        try:
            self._compiled = _environment(now).from_string(source)
        except jinja2.TemplateError as error:
            raise RequestError(f"The {name} chat template is not valid Jinja: {error}.") from None
        tokens = {"bos_token": bos, "eos_token": eos}
        self._tokens = {key: text for key, text in tokens.items() if text}

    def render(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        add_generation_prompt: bool = False,
        **variables: Any,
    ) -> str:
        """The text of a conversation, with what begins an answer if ``add_generation_prompt``.

        ``variables`` are handed to the template (e.g. ``enable_thinking``). Raises RequestError
        if the template refuses the conversation.
        """
        plain = [
            {"role": item.role, "content": item.content}
            if isinstance(item, Message)
            else dict(item)
            for item in messages
        ]
        given = {"tools": None, "documents": None} | self._tokens | variables
        try:
            return self._compiled.render(
                messages=plain, add_generation_prompt=add_generation_prompt, **given
            )
        except (jinja2.TemplateError, TypeError, ValueError, LookupError) as error:
            raise RequestError(
                f"The {self.name} chat template refuses the conversation: {error}"
            ) from None


def choose_template(tokenizer: Tokenizer, choice: str, now: datetime | None = None) -> ChatTemplate:
    """The model's own template where it has one and ``choice`` is ``auto``, else the plain one.
    ``now`` is the time that it may write, the clock's if None.

    Raises RequestError if the template is damaged, or the plain one has no token to end with.
    """
    if choice == "auto" and tokenizer.chat_template is not None:
        return ChatTemplate(tokenizer.chat_template, tokenizer.bos, tokenizer.eos, "model", now)
    if not tokenizer.eos:
        raise RequestError(
            "The model's tokenizer names no end-of-text token, so an answer could never end.",
            'Add "eos_token" to its tokenizer_config.json.',
        )
    source = PLAIN_ONE_LINE if tokenizer.unknown_text("a\nb") else PLAIN
    return ChatTemplate(source, tokenizer.bos, tokenizer.eos, "plain")


@dataclass(frozen=True)
class Example:
    """A conversation as the model sees it."""

    ids: np.ndarray
    """Token ids, int32, (n,)."""
    trained: np.ndarray
    """bool, (n,): whether token i is to be learned, predicted from those before it."""
    task: str
    file: str
    line: int


class RowProblem(RequestError):
    """A row that cannot become an example: where it is and why."""

    def __init__(self, reason: str, file: str, line: int) -> None:
        where = f"{file}, line {line}: " if file else ""
        super().__init__(f"{where}{reason}.")
        self.reason, self.file, self.line = reason, file, line


def prompt_ids(
    messages: Sequence[Message | Mapping[str, Any]], tokenizer: Tokenizer, template: ChatTemplate
) -> list[int]:
    """Token ids of the prompt for the next answer.

    Raises RequestError where a message has a control token written out in it, as it would end
    the message or begin another.
    """
    for item in messages:
        content = item.content if isinstance(item, Message) else item["content"]
        if found := tokenizer.special_text(content):
            raise RequestError(
                f"The text of a message holds `{found}`, a control token of this model.",
                "Write it in another way.",
            )
    text = template.render(messages, add_generation_prompt=True)
    if unknown := tokenizer.unknown_text(text):
        raise RequestError(
            f"This model's vocabulary cannot write the character {unknown!r}.", "Leave it out."
        )
    return tokenizer.encode(text)


def stop_ids(tokenizer: Tokenizer, template: ChatTemplate) -> frozenset[int]:
    """The tokens that end an answer: the model's own and the one that ``template`` writes.

    Raises RequestError if the template writes none.
    """
    probe = Conversation((Message("user", "a"), Message("assistant", "b")))
    example = to_example(probe, tokenizer, template)
    return tokenizer.eos_ids | {int(example.ids[np.flatnonzero(example.trained)[-1]])}


def to_example(conversation: Conversation, tokenizer: Tokenizer, template: ChatTemplate) -> Example:
    """The ids of a conversation, with every assistant turn and its end token trained.

    Raises RowProblem where that cannot be done exactly.
    """
    [result] = to_examples([conversation], tokenizer, template)
    if isinstance(result, RowProblem):
        raise result
    return result


def to_examples(
    conversations: Iterable[Conversation], tokenizer: Tokenizer, template: ChatTemplate
) -> Iterator[Example | RowProblem]:
    """``to_example`` for many conversations, in their order, tokenized in batches."""
    source = iter(conversations)
    while chunk := list(islice(source, _CHUNK)):
        rendered = [_try_render(conversation, tokenizer, template) for conversation in chunk]
        texts = [
            text
            for item in rendered
            if isinstance(item, _Rendered)
            for text in (item.whole, *(turn.prompt for turn in item.turns))
        ]
        encodings = iter(tokenizer.encode_batch(texts))
        for conversation, item in zip(chunk, rendered, strict=True):
            if isinstance(item, RowProblem):
                yield item
                continue
            whole = next(encodings)
            prompts = [next(encodings).ids for _ in item.turns]
            try:
                yield _mask(conversation, item, whole, prompts, tokenizer)
            except RowProblem as problem:
                yield problem


@dataclass(frozen=True)
class _Turn:
    """One assistant turn in text."""

    prompt: str
    upto: str
    """The conversation up to and including this turn, as it is rendered when it ends there."""
    answer: str
    """The message's content without white space around it."""


@dataclass(frozen=True)
class _Rendered:
    whole: str
    turns: list[_Turn]


def _try_render(
    conversation: Conversation, tokenizer: Tokenizer, template: ChatTemplate
) -> _Rendered | RowProblem:
    messages = conversation.messages

    def problem(reason: str) -> RowProblem:
        return RowProblem(reason, conversation.file, conversation.line)

    for number, message in enumerate(messages, 1):
        if found := tokenizer.special_text(message.content):
            return problem(
                f"message {number} ({message.role}) holds `{found}`, a control token of this model"
            )
    try:
        whole = template.render(messages)
        turns = [
            _Turn(
                template.render(messages[:i], add_generation_prompt=True),
                whole if i + 1 == len(messages) else template.render(messages[: i + 1]),
                message.content.strip(),
            )
            for i, message in enumerate(messages)
            if message.role == "assistant"
        ]
    except RequestError as error:
        return problem(error.message)
    if not turns:
        return problem("it has no assistant message, so nothing could be trained")
    if unknown := tokenizer.unknown_text(whole):
        return problem(f"the model's vocabulary cannot write the character {unknown!r}")
    return _Rendered(whole, turns)


def _mask(
    conversation: Conversation,
    rendered: _Rendered,
    encoding: tokenizers.Encoding,
    prompts: list[list[int]],
    tokenizer: Tokenizer,
) -> Example:
    """Find the trained span of every turn; raises RowProblem where training and chat differ."""
    whole, ids = rendered.whole, encoding.ids
    trained = np.zeros(len(ids), dtype=bool)
    for number, (turn, prompt) in enumerate(zip(rendered.turns, prompts, strict=True), 1):

        def problem(reason: str, number: int = number) -> RowProblem:
            return RowProblem(f"answer {number}: {reason}", conversation.file, conversation.line)

        if not whole.startswith(turn.prompt):
            raise problem(
                "the chat template renders the conversation before it differently from the "
                "prompt that a chat would use"
            )
        first = len(prompt)
        if ids[:first] != prompt:
            raise problem(
                "a token lies across its beginning, so that a chat would never begin it that way; "
                "mostly it helps to remove the white space in front of the answer"
            )
        end = next((i for i in range(first, len(ids)) if ids[i] in tokenizer.special_ids), None)
        if end is None:
            raise problem("the chat template writes no end token after it")
        end_from, end_to = encoding.token_to_chars(end) or (0, 0)
        if tokenizer.special_text(whole[end_from:end_to]) is None:
            raise problem(f"the tokenizer has no token for `{whole[end_from:end_to]}` in it")
        if not whole[len(turn.prompt) : end_from].rstrip().endswith(turn.answer):
            raise problem("the chat template changes its text")
        if turn.upto[:end_to] != whole[:end_to]:
            raise problem("the chat template changes it once the conversation goes on")
        trained[first : end + 1] = True
    # Nothing comes before the first token, so it cannot be predicted.
    trained[0] = False
    return Example(
        np.array(ids, dtype=np.int32),
        trained,
        conversation.task,
        conversation.file,
        conversation.line,
    )
