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

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from edgetune.data.conversation import Conversation, Message
from edgetune.data.templates.drafts import Draft, Drafter, MaskOptions, Unfit
from edgetune.data.templates.provenance import is_text, pieces, trace_prompt
from edgetune.data.templates.rendering import AnyMessage, ChatTemplate, as_dict
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
    is_text(dicts)
    controls = tokenizer.controls
    text, places = trace_prompt(template, controls, dicts, tools, **variables)
    if unknown := tokenizer.unknown_text(text):
        raise RequestError(
            f"This model's vocabulary cannot write the character {unknown!r}.", "Leave it out."
        )
    ids = tokenizer.encode(text)
    if tokenizer.control_ids(ids) == [tokenizer.id_of(text[a:b]) for a, b in places]:
        return ids
    return tokenizer.encode_pieces(pieces(text, places)).ids


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
        written = {tokenizer.id_of(end) for end in self._drafter.ends}
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
        """What has to be encoded for a draft: the text, and of each prompt what follows its last
        control token."""
        return [draft.text, *(draft.text[a:b] for a, b in _prompts(draft))]

    def _encodings(self, draft: Draft, common: Sequence[_Encoding]) -> Sequence[_Encoding]:
        """Encodings of ``_texts`` in which only what the template wrote is a control token;
        ``common`` are those in which all are that look like one."""
        tokenizer = self._tokenizer
        written = [tokenizer.id_of(draft.text[start:end]) for start, end in draft.controls]
        if tokenizer.control_ids(common[0].ids) == written:
            return common
        parts = [(0, len(draft.text)), *_prompts(draft)]
        try:
            return [
                tokenizer.encode_pieces(pieces(draft.text, draft.controls, start, end))
                for start, end in parts
            ]
        except RequestError as error:
            raise Unfit(error.message) from None

    def _example(
        self,
        conversation: Conversation,
        draft: Draft,
        common: Sequence[_Encoding],
        notes: tuple[str, ...],
    ) -> Example:
        """Find the tokens of the stretches; raises Unfit where training and chat would differ."""
        whole, *tails = self._encodings(draft, common)
        ids = whole.ids
        firsts: dict[int, int] = {}
        for (start, end), tail in zip(_prompts(draft), tails, strict=True):
            # Texts between control tokens are encoded apart, so the tail shows the whole prompt.
            token = whole.char_to_token(start)
            begin = 0 if start == 0 or token is None else token
            firsts[end] = begin + len(tail.ids)
            if ids[begin : firsts[end]] != tail.ids:
                raise Unfit(_ACROSS)
        weights = np.zeros(len(ids), dtype=np.float32)
        for stretch in draft.stretches:
            first = firsts[stretch.start] if stretch.begins else _token_from(whole, stretch.start)
            if stretch.reasoning:
                last = _token_from(whole, stretch.end)
            else:
                last = _token_before(whole, stretch.end)
                if stretch.begins and ids[last - 1] not in self.stops:
                    raise Unfit("the tokenizer has no token for the end that the template writes")
            weights[first:last] = stretch.weight
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
            return self._drafter.drafts(conversation)
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
    "a token lies across the beginning of an answer, so that a chat would never begin it that way"
)


def _prompts(draft: Draft) -> list[tuple[int, int]]:
    """Of each prompt: where its last control token begins (0 without one), where it ends."""
    prompts = []
    for end in dict.fromkeys(s.start for s in draft.stretches if s.begins):
        last = bisect_right(draft.controls, end, key=lambda place: place[1]) - 1
        prompts.append((draft.controls[last][0] if last >= 0 else 0, end))
    return prompts


def _token_from(encoding: _Encoding, start: int) -> int:
    """The first token that holds the character at ``start`` or a later one."""
    count = len(encoding.ids)
    token = encoding.char_to_token(start)
    if token is not None:
        return token
    return next((i for i in range(count) if _characters(encoding, i)[1] > start), count)


def _token_before(encoding: _Encoding, end: int) -> int:
    """One past the last token that holds a character before ``end``."""
    count = len(encoding.ids)
    token = encoding.char_to_token(end - 1)
    if token is None:
        return next((i for i in range(count) if _characters(encoding, i)[0] >= end), count)
    # Several tokens may share a character: the bytes of an emoji.
    while token + 1 < count and _characters(encoding, token + 1)[0] < end:
        token += 1
    return token + 1


def _characters(encoding: _Encoding, token: int) -> tuple[int, int]:
    return encoding.token_to_chars(token) or (0, 0)
