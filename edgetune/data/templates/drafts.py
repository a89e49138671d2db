"""Conversation -> rendered text, and which stretches of it are learned.

All of it is found in the text, by where the template put what was said (see ``provenance``): an
answer is what follows its prompt, up to and including the end token that the template writes
behind the answer's texts. ``template`` turns the stretches into tokens.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edgetune.data.conversation import Conversation, Message
from edgetune.data.templates.provenance import Said, Traced, Untraceable, is_text, trace
from edgetune.data.templates.rendering import ChatTemplate, as_dict
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError

_PROBE_ANSWER = "the probe's answer"
_CLOSING_TAG = re.compile(r"\s*(?:</[^<>]*>|\[/[^\[\]]*\])?\s*")
# What a template writes between the reasoning and a call: "</think>", "[/THINK]", …


@dataclass(frozen=True)
class MaskOptions:
    """What is learned of a conversation (see ``DataConfig``)."""

    train_on: Literal["answers", "last", "everything"] = "answers"
    train_reasoning: bool = True


class Unfit(Exception):
    """Why a conversation cannot become an example."""


@dataclass(frozen=True)
class Stretch:
    """Characters [start, end) of a draft's text whose tokens get one weight."""

    start: int
    end: int
    weight: float
    begins: bool = False
    """Whether it begins with an answer, just behind a prompt."""
    reasoning: bool = False
    """Whether it ends just before the first token of what follows, not with the last of its own."""


@dataclass
class Draft:
    """An example before it is tokenized."""

    text: str
    controls: list[tuple[int, int]]
    """Where in it the template wrote control tokens; all else is text, whatever it looks like."""
    stretches: list[Stretch] = field(default_factory=list)
    """In the order in which they apply."""


@dataclass(frozen=True)
class _Answer:
    """An assistant turn, rendered."""

    number: int
    """1, 2, … among the answers."""
    index: int
    """Of its message."""
    prompt: str
    upto: str
    """The conversation up to and including it, as it is rendered when it ends there."""
    weight: float
    variables: dict[str, Any]
    """What the template was told so that prompt and answer fit together."""
    arguments: tuple[Any, ...]
    """Names and values of its calls' arguments, but for texts."""


class Drafter:
    """Renders conversations for one tokenizer and template."""

    ends: frozenset[str]
    """Texts of the tokens that the template writes at the end of an answer."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, options: MaskOptions) -> None:
        """Raises RequestError if the template writes a header before its answers, but no
        generation prompt."""
        self._tokenizer, self._template, self._options = tokenizer, template, options
        probed = {self._probed_end(called) for called in (False, True)} - {""}
        own = frozenset(tokenizer.token_text(i) for i in tokenizer.eos_ids)
        self.ends = frozenset(probed) or own
        self._check_generation_prompt()

    def drafts(self, conversation: Conversation) -> tuple[list[Draft], tuple[str, ...]]:
        """The texts of a conversation's examples, and notes. Raises Unfit."""
        if conversation.text and not conversation.messages:
            return [self._running_text(conversation.text)], ()
        weights = self._weights(conversation.messages)
        if not any(message.role == "assistant" for message in conversation.messages):
            raise Unfit("it has no assistant message, so nothing could be trained")
        if not any(weights):
            raise Unfit("no message of it is to be trained")
        messages = [as_dict(message) for message in conversation.messages]
        tools = list(conversation.tools)
        try:
            is_text(messages)
            return self._rendered(conversation.messages, messages, tools, weights)
        except RequestError as error:
            raise Unfit(error.message) from None
        except Untraceable as reason:
            raise Unfit(str(reason)) from None

    def _rendered(
        self,
        given: Sequence[Message],
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        weights: Sequence[float],
    ) -> tuple[list[Draft], tuple[str, ...]]:
        answers = [
            self._answer(messages, tools, index, weights[index])
            for index, message in enumerate(messages)
            if message["role"] == "assistant"
        ]
        traced = self._trace(messages, tools, answers[-1].variables)
        self._check_nothing_is_lost(messages, traced)
        main = self._draft(traced)
        if self._options.train_on == "everything":
            main.stretches.append(Stretch(0, len(traced.text), 1.0))
        own: list[Draft] = []
        joined: list[tuple[int, int]] = []
        for answer in answers:
            stretches = self._joined(answer, traced)
            if stretches:
                main.stretches += stretches
                joined.append((stretches[0].start, stretches[0].end))
            elif answer.weight or self._options.train_on == "everything":
                main.stretches += self._untrained(traced, answer.index)
                if answer.weight:
                    own.append(self._own_draft(answer, messages, tools))
        for index, message in enumerate(given):
            if message.role != "assistant" and message.weight is not None:
                main.stretches += _of_message(traced, index, weights[index])
        self._check_markers(traced, joined)
        result = [main] if any(stretch.weight > 0 for stretch in main.stretches) else []
        return result + own, self._notes(tools, len(result + own))

    def _trace(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        variables: dict[str, Any],
    ) -> Traced:
        controls = self._tokenizer.controls
        return trace(self._template, controls, messages, tools, **variables)

    def _draft(self, traced: Traced) -> Draft:
        if unknown := self._tokenizer.unknown_text(traced.text):
            raise Unfit(f"the model's vocabulary cannot write the character {unknown!r}")
        return Draft(traced.text, self._tokenizer.controls.places(traced.text, traced.said))

    def _notes(self, tools: Sequence[dict[str, Any]], examples: int) -> tuple[str, ...]:
        notes = []
        if tools and not self._template.writes_tools:
            notes.append("its tools are left out, since the chat template has no place for them")
        if examples > 1:
            notes.append(
                "it becomes an example for each answer, since the chat template writes the "
                "answers before in another way"
            )
        return tuple(notes)

    def _weights(self, messages: Sequence[Message]) -> list[float]:
        """How much each message counts; an answer 1 unless it says otherwise."""
        last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
        weights = []
        for i, message in enumerate(messages):
            weight = float(message.role == "assistant")
            if self._options.train_on == "everything":
                weight = 1.0
            if message.weight is not None:
                weight = message.weight
            if self._options.train_on == "last" and i != last:
                weight = 0.0
            weights.append(weight)
        return weights

    def _answer(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        index: int,
        weight: float,
    ) -> _Answer:
        """Render the answer ``messages[index]`` and its prompt; raises Unfit, RequestError."""
        number = sum(message["role"] == "assistant" for message in messages[: index + 1])
        settings: list[dict[str, Any]] = [{}]
        if self._template.switch and messages[index].get("reasoning_content"):
            settings.append({self._template.switch: True})
        for variables in settings:
            prompt = self._template.render(
                messages[:index], add_generation_prompt=True, tools=tools, **variables
            )
            upto = self._template.render(messages[: index + 1], tools=tools, **variables)
            if upto.startswith(prompt):
                calls = messages[index].get("tool_calls", ())
                arguments = tuple(_leaves([call["function"]["arguments"] for call in calls]))
                return _Answer(number, index, prompt, upto, weight, variables, arguments)
        raise Unfit(
            f"answer {number}: the chat template renders the conversation before it "
            "differently from the prompt that a chat would use"
        )

    def _joined(self, answer: _Answer, traced: Traced) -> list[Stretch]:
        """The stretches of an answer in the whole conversation; none if the template writes it
        there in another way than at the end. Raises Unfit."""
        whole = traced.text
        if not whole.startswith(answer.prompt):
            return []
        said = [item for item in traced.said if item.message == answer.index]
        last = max((item.end for item in said), default=len(answer.prompt))
        if whole[:last] != answer.upto[:last] or not self._complete(answer, traced, said):
            return []
        end = self._end(answer, last)
        return self._stretches(answer, said, end) if whole[:end] == answer.upto[:end] else []

    def _untrained(self, traced: Traced, index: int) -> list[Stretch]:
        """What an answer says, and the end token behind it."""
        stretches = _of_message(traced, index, 0.0)
        last = max((stretch.end for stretch in stretches), default=0)
        end = self._find_end(traced.text, last)
        return [*stretches, Stretch(last, end, 0.0)] if end and stretches else stretches

    def _own_draft(
        self,
        answer: _Answer,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
    ) -> Draft:
        """An example of its own for an answer; raises Unfit."""
        traced = self._trace(messages[: answer.index + 1], tools, answer.variables)
        said = [item for item in traced.said if item.message == answer.index]
        if not self._complete(answer, traced, said):
            raise Unfit(f"answer {answer.number}: the chat template changes its text")
        end = self._end(answer, max((item.end for item in said), default=len(answer.prompt)))
        self._check_markers(traced, [(len(answer.prompt), end)], others=True)
        draft = self._draft(traced)
        draft.stretches += self._stretches(answer, said, end)
        return draft

    def _complete(self, answer: _Answer, traced: Traced, said: Sequence[Said]) -> bool:
        """Whether all that the answer says stands after its prompt, once and unchanged."""
        expected = sorted(item[1:] for item in traced.expected if item[0] == answer.index)
        written = traced.text[len(answer.prompt) :]
        return (
            expected == sorted((item.field, item.written) for item in said)
            and all(item.start >= len(answer.prompt) for item in said)
            and all(_unchanged(traced.text, item) for item in said)
            and all(_is_written(value, written) for value in answer.arguments)
        )

    def _end(self, answer: _Answer, start: int) -> int:
        """Where in ``upto`` the answer's end token ends, the first one from ``start`` on."""
        end = self._find_end(answer.upto, start)
        if not end:
            raise Unfit(f"answer {answer.number}: the chat template writes no end token after it")
        return end

    def _find_end(self, text: str, start: int) -> int:
        """Where the first end token from ``start`` on ends; 0 if there is none."""
        places = [(place, -len(end)) for end in self.ends if (place := text.find(end, start)) >= 0]
        return min(places)[0] - min(places)[1] if places else 0

    def _stretches(self, answer: _Answer, said: Sequence[Said], end: int) -> list[Stretch]:
        start = len(answer.prompt)
        stretches = [Stretch(start, end, answer.weight, begins=True)]
        reasoning = max((item.end for item in said if item.field == "reasoning"), default=0)
        if reasoning and not self._options.train_reasoning:
            content = [item.start for item in said if item.field == "content"]
            if any(place < reasoning for place in content):
                raise Unfit(
                    f"answer {answer.number}: the chat template writes its reasoning after it, "
                    "where it cannot be left unlearned"
                )
            closed = _CLOSING_TAG.match(answer.upto, reasoning, end)
            after = min(content) if content else closed.end() if closed else reasoning
            stretches.append(Stretch(start, after, 0.0, begins=True, reasoning=True))
        return stretches

    def _running_text(self, text: str) -> Draft:
        """Running text: a beginning token where the tokenizer writes one, and an end token."""
        if not self._tokenizer.eos:
            raise Unfit("the model's tokenizer names no end-of-text token for running text")
        if unknown := self._tokenizer.unknown_text(text):
            raise Unfit(f"the model's vocabulary cannot write the character {unknown!r}")
        begin = self._tokenizer.bos if self._tokenizer.adds_bos else ""
        whole = begin + text + self._tokenizer.eos
        last = len(begin) + len(text)
        controls = [(0, len(begin))] if begin else []
        return Draft(whole, [*controls, (last, len(whole))], [Stretch(0, len(whole), 1.0)])

    def _check_nothing_is_lost(self, messages: Sequence[dict[str, Any]], traced: Traced) -> None:
        """Raises Unfit if a message other than an answer is not in the text as it was said."""
        found = {item.message for item in traced.said if item.field == "content"}
        changed = {
            item.message
            for item in traced.said
            if item.field == "content"
            and not _unchanged(traced.text, item)
            # A vocabulary without a newline has its own template, with spaces instead.
            and traced.text[item.start : item.end].split() != item.written.split()
        }
        for index, message in enumerate(messages):
            if message["role"] == "assistant" or not message["content"].strip():
                continue
            what = f"message {index + 1} ({message['role']}): the chat template"
            if index not in found:
                raise Unfit(f"{what} leaves it out")
            # A system message may hold directives, which templates take out.
            if index in changed and message["role"] != "system":
                raise Unfit(f"{what} changes its text")

    def _check_markers(
        self, traced: Traced, answers: Sequence[tuple[int, int]], others: bool = False
    ) -> None:
        """The template's own marks around answers hold these, each one, and nobody else's text.
        ``others``: there may be further answers."""
        if not self._template.marks_answers:
            return
        spans = traced.generation
        holding = [
            [span for span in spans if span[0] <= start and end <= span[1]]
            for start, end in answers
        ]
        if any(len(found) != 1 for found in holding):
            raise Unfit(
                "the chat template's own generation markers do not hold its answers with their "
                "end tokens"
            )
        for item in traced.said:
            inside = any(start < item.end and item.start < end for start, end in spans)
            if inside and not others and not any(a <= item.start < b for a, b in answers):
                raise Unfit("the chat template's own generation markers hold more than its answers")

    def _check_generation_prompt(self) -> None:
        """Raises RequestError if the template writes a header before its answers, but not as the
        prompt for one."""
        question = {"role": "user", "content": "a"}
        try:
            plain = self._template.render([question])
            prompt = self._template.render([question], add_generation_prompt=True)
            text = self._template.render(
                [question, {"role": "assistant", "content": _PROBE_ANSWER}]
            )
        except RequestError:
            return  # the rows will say why
        header = text[len(prompt) : text.find(_PROBE_ANSWER)] if text.startswith(prompt) else ""
        if plain == prompt and self._tokenizer.controls.found(header):
            raise RequestError(
                f"The {self._template.name} chat template cannot be masked exactly: it writes "
                f"{header.strip()!r} before an answer, but not as the prompt for one.",
                "Choose another one with --template, e.g. chatml or plain.",
            )

    def _probed_end(self, called: bool) -> str:
        """The end token that the template writes after an answer, or after a tool call; "" if it
        cannot be told: the last control token that follows whether the conversation goes on or
        not, else the last one when it does not."""
        question = {"role": "user", "content": "a"}
        answer: dict[str, Any] = {"role": "assistant", "content": _PROBE_ANSWER}
        following: list[dict[str, Any]] = [question]
        if called:
            call = {"name": "probe", "arguments": {"text": _PROBE_ANSWER}}
            calls = [{"id": "probecall", "type": "function", "function": call}]
            answer = {"role": "assistant", "content": "", "tool_calls": calls}
            result = {"role": "tool", "content": "b", "name": "probe", "tool_call_id": "probecall"}
            following = [result]
        try:
            ended = self._template.render([question, answer])
        except RequestError:
            return ""
        start = ended.rfind(_PROBE_ANSWER)
        if start < 0:
            return ""
        start += len(_PROBE_ANSWER)
        try:
            longer = self._template.render([question, answer, *following])
        except RequestError:
            longer = ended
        same = next(
            (i for i, (a, b) in enumerate(zip(ended, longer, strict=False)) if a != b),
            min(len(ended), len(longer)),
        )
        places = self._tokenizer.controls.places(ended)
        after = [ended[a:b] for a, b in places if a >= start]
        common = [ended[a:b] for a, b in places if a >= start and b <= same]
        return (common or after or [""])[-1]


def _of_message(traced: Traced, index: int, weight: float) -> list[Stretch]:
    """The stretches of what a message says."""
    return [Stretch(item.start, item.end, weight) for item in traced.said if item.message == index]


def _unchanged(text: str, item: Said) -> bool:
    """Whether a text stands there as it was said, plainly or as JSON or Python writes it."""
    found, said = text[item.start : item.end], item.written
    forms = (said, json.dumps(said, ensure_ascii=False)[1:-1], json.dumps(said)[1:-1])
    return found in forms or (item.field == "argument" and found == repr(said)[1:-1])


def _leaves(value: Any) -> Iterator[Any]:
    """The keys and the values in a nesting that are no text."""
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif not isinstance(value, str):
        yield value


def _is_written(value: Any, text: str) -> bool:
    """Whether a key, number, … stands somewhere in a text."""
    forms = {str(value), json.dumps(value), json.dumps(value, ensure_ascii=False)[1:-1]}
    return any(form in text for form in forms - {""})
