"""Conversation -> token ids, and how much each of them counts in the loss.

The trained tokens are found by construction, not by searching for markers. For an assistant turn
the *prompt* is the conversation before it with the generation prompt, exactly what a chat hands
to the model. It has to be how the rendered conversation begins, and a token has to begin where it
ends; what follows, up to and including the end token (``</s>``, ``<|im_end|>``, …), is what the
model is to write, and is trained. Where a template has ``{% generation %}`` markers, they must
agree. Where a template writes an answer in another way once the conversation goes on (reasoning
is left out of the history), such an answer gets an example of its own: the conversation as the
chat sees it at that turn. What cannot be had exactly is a RowProblem and never an example.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from edgetune.data.conversation import Conversation, Message
from edgetune.data.drafts import Draft, Drafter, MaskOptions, Unfit
from edgetune.data.rendering import AnyMessage, ChatTemplate, as_dict
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError

_CHUNK = 256
# Conversations tokenized together: enough to keep all cores busy, little enough to hold.


@dataclass(frozen=True)
class Example:
    """A conversation as the model sees it."""

    ids: np.ndarray
    """Token ids, int32, (n,)."""
    weights: np.ndarray
    """float32, (n,): how much token i, predicted from those before it, counts in the loss."""
    task: str
    file: str
    line: int
    notes: tuple[str, ...] = ()
    """What had to be done for it to fit, one phrase each."""

    @property
    def trained(self) -> np.ndarray:
        """bool, (n,): whether token i is learned."""
        trained: np.ndarray = self.weights > 0
        return trained


class RowProblem(RequestError):
    """A row that cannot become an example: where it is and why."""

    def __init__(self, reason: str, file: str, line: int) -> None:
        where = f"{file}, line {line}: " if file else ""
        super().__init__(f"{where}{reason}.")
        self.reason, self.file, self.line = reason, file, line


class _Encoding(Protocol):
    @property
    def ids(self) -> list[int]: ...
    def char_to_token(self, position: int) -> int | None: ...
    def token_to_chars(self, token: int) -> tuple[int, int] | None: ...


def prompt_ids(
    messages: Sequence[AnyMessage],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    tools: Sequence[dict[str, Any]] = (),
    **variables: Any,
) -> list[int]:
    """Token ids of the prompt for the next answer; a control token that is written out in a
    message is text like any other.

    Raises RequestError where the template refuses the messages or the vocabulary cannot write
    them.
    """
    dicts = [as_dict(item) if isinstance(item, Message) else dict(item) for item in messages]
    (marked, marked_tools), marks = tokenizer.guard.mark([dicts, list(tools)])
    text = template.render(marked, add_generation_prompt=True, tools=marked_tools, **variables)
    if unknown := tokenizer.unknown_text(text.translate(marks)):
        raise RequestError(
            f"This model's vocabulary cannot write the character {unknown!r}.", "Leave it out."
        )
    if not marks:
        return tokenizer.encode(text)
    return tokenizer.encode_pieces(tokenizer.guard.pieces(text, marks)).ids


def stop_ids(tokenizer: Tokenizer, template: ChatTemplate) -> frozenset[int]:
    """The tokens that end an answer: the model's own and those that ``template`` writes.

    Raises RequestError if the template writes none, or if its answers cannot be told exactly.
    """
    return _Masker(tokenizer, template, MaskOptions()).stops


def to_example(conversation: Conversation, tokenizer: Tokenizer, template: ChatTemplate) -> Example:
    """The ids of a conversation, with every assistant turn and its end token trained.

    Raises RowProblem where that cannot be done exactly, or not in a single example, and
    RequestError for a template of which no answer can be told exactly.
    """
    [result] = to_examples([conversation], tokenizer, template)
    if isinstance(result, RowProblem):
        raise result
    if len(result) > 1:
        raise RowProblem(
            "the chat template changes an answer once the conversation goes on",
            conversation.file,
            conversation.line,
        )
    return result[0]


def to_examples(
    conversations: Iterable[Conversation],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    options: MaskOptions | None = None,
) -> Iterator[list[Example] | RowProblem]:
    """The examples of each conversation, in their order, tokenized in batches: mostly one, more
    where the template rewrites what was said before, or why there is none.

    Raises RequestError for a template of which no answer can be told exactly.
    """
    masker = _Masker(tokenizer, template, options or MaskOptions())
    source = iter(conversations)
    while chunk := list(islice(source, _CHUNK)):
        yield from masker.examples(chunk)


class _Masker:
    """Turns conversations into examples for one tokenizer and template."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, options: MaskOptions) -> None:
        self._tokenizer, self._template = tokenizer, template
        self._drafter = Drafter(tokenizer, template, options)
        written = (i for end in self._drafter.ends for i in tokenizer.encode(end))
        self.stops = tokenizer.eos_ids | frozenset(written)
        self._check()

    def examples(self, chunk: Sequence[Conversation]) -> Iterator[list[Example] | RowProblem]:
        """The examples of each conversation of a chunk, or why there are none."""
        drafted = [self._try(conversation) for conversation in chunk]
        texts: list[str] = []
        for item in drafted:
            if isinstance(item, RowProblem):
                continue
            for draft in item[0]:
                texts += self._texts(draft)
        encodings: Iterator[_Encoding] = iter(self._tokenizer.encode_batch(texts))
        for conversation, item in zip(chunk, drafted, strict=True):
            if isinstance(item, RowProblem):
                yield item
                continue
            # All of a row's encodings are taken, also where one of them shows a problem.
            taken = [[next(encodings) for _ in self._texts(draft)] for draft in item[0]]
            try:
                yield [
                    self._example(conversation, draft, parts, item[1])
                    for draft, parts in zip(item[0], taken, strict=True)
                ]
            except Unfit as reason:
                yield self._retry(conversation, reason)

    def _texts(self, draft: Draft) -> list[str]:
        """What has to be encoded for a draft by the common way: the text, and of each prompt what
        follows its last control token."""
        if draft.marks:
            return []
        return [draft.text, *(draft.text[start:end] for start, end in draft.prompts)]

    def _example(
        self,
        conversation: Conversation,
        draft: Draft,
        parts: Sequence[_Encoding],
        notes: tuple[str, ...],
    ) -> Example:
        """Find the tokens of the stretches; raises Unfit where training and chat would differ."""
        guard = self._tokenizer.guard
        if draft.marks:
            texts = [draft.text, *(draft.text[start:end] for start, end in draft.prompts)]
            encode = self._tokenizer.encode_pieces
            parts = [encode(guard.pieces(text, draft.marks)) for text in texts]
        whole, tails = parts[0], parts[1:]
        ids = whole.ids
        firsts: dict[int, int] = {}
        for (start, end), tail, name in zip(draft.prompts, tails, draft.names, strict=True):
            # Texts between control tokens are encoded apart, so the tail shows the whole prompt.
            token = whole.char_to_token(start)
            begin = 0 if start == 0 or token is None else token
            first = begin + len(tail.ids)
            if ids[begin:first] != tail.ids:
                raise Unfit(f"{name}: {_ACROSS}")
            firsts[end] = first
        weights = np.zeros(len(ids), dtype=np.float32)
        for stretch in draft.stretches:
            first = firsts.get(stretch.start, -1)
            if first < 0:
                first = _token_from(whole, stretch.start, len(draft.text))
            last = _token_before(whole, stretch.end, len(ids))
            weights[first:last] = stretch.weight
        for stretch in draft.stretches:
            if stretch.start in firsts and stretch.weight:
                end = _token_before(whole, stretch.end, len(ids))
                if ids[end - 1] not in self.stops:
                    raise Unfit("the tokenizer has no token for the end that the template writes")
        # Nothing comes before the first token, so it cannot be predicted.
        weights[:1] = 0
        return Example(
            np.array(ids, dtype=np.int32),
            weights,
            conversation.task,
            conversation.file,
            conversation.line,
            notes,
        )

    def _try(self, conversation: Conversation) -> tuple[list[Draft], tuple[str, ...]] | RowProblem:
        try:
            return self._drafter.drafts_of(conversation)
        except Unfit as reason:
            return RowProblem(str(reason), conversation.file, conversation.line)

    def _retry(self, conversation: Conversation, reason: Unfit) -> list[Example] | RowProblem:
        """Without the white space in front of its answers, which may not be what begins one."""
        trimmed = replace(
            conversation,
            messages=tuple(
                replace(message, content=message.content.lstrip())
                if message.role == "assistant" and not message.reasoning
                else message
                for message in conversation.messages
            ),
        )
        problem = RowProblem(str(reason), conversation.file, conversation.line)
        if trimmed == conversation:
            return problem
        [result] = self.examples([trimmed])
        if isinstance(result, RowProblem):
            return problem
        note = "the white space in front of an answer is left out: no chat could begin one with it"
        return [replace(example, notes=(*example.notes, note)) for example in result]

    def _check(self) -> None:
        """Raises RequestError unless the answer in some plain conversation can be told exactly."""
        question, answer = Message("user", "a"), Message("assistant", "b")
        reasoned = replace(answer, reasoning="c")
        probes = [(question, answer), (Message("system", "s"), question, answer)]
        reasons = []
        for messages in [*probes, (question, reasoned)]:
            [result] = self.examples([Conversation(messages)])
            if not isinstance(result, RowProblem):
                return
            reasons.append(result.reason)
        raise RequestError(
            f"The {self._template.name} chat template cannot be masked exactly: {reasons[0]}.",
            "Choose another one with --template, e.g. chatml or plain.",
        )


_ACROSS = (
    "a token lies across its beginning, so that a chat would never begin it that way; mostly it "
    "helps to remove the white space in front of the answer"
)


def _token_from(encoding: _Encoding, start: int, end: int) -> int:
    """The first token that holds a character from ``start`` on."""
    for position in range(start, end):
        token = encoding.char_to_token(position)
        if token is not None:
            return token
    return len(encoding.ids)


def _token_before(encoding: _Encoding, end: int, count: int) -> int:
    """One past the last token that holds a character before ``end``."""
    for position in range(end - 1, -1, -1):
        token = encoding.char_to_token(position)
        if token is not None:
            # Several tokens may share a character: the bytes of an emoji.
            while token + 1 < count and (encoding.token_to_chars(token + 1) or (end, end))[0] < end:
                token += 1
            return token + 1
    return 0
