"""Conversation -> rendered text, and which stretches of it are learned.

All of it is found in the text: an answer is what follows its prompt, up to and including the end
token that the template writes. ``template`` turns the stretches into tokens.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edgetune.data.conversation import Conversation, Message
from edgetune.data.rendering import ChatTemplate, as_dict
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError

_PROBE_ANSWER = "the probe's answer"


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


@dataclass
class Draft:
    """An example before it is tokenized."""

    text: str
    """What is rendered, with marks in control tokens' texts that somebody wrote out."""
    marks: dict[int, str]
    stretches: list[Stretch]
    """In the order in which they apply."""
    prompts: list[tuple[int, int]] = field(default_factory=list)
    """Of each answer: where in the text its prompt's last control token begins (0 without one),
    and where the prompt ends."""
    names: list[str] = field(default_factory=list)
    """How to call these answers."""
    begin_token: bool = False
    """Whether a beginning-of-text token is put in front (running text, which has no template)."""


@dataclass(frozen=True)
class _Answer:
    """An assistant turn, rendered."""

    number: int
    """1, 2, … among the answers."""
    prompt: str
    upto: str
    """The conversation up to and including it, as it is rendered when it ends there."""
    end: int
    """Where in ``upto`` its end token ends."""
    content: int
    """Where in ``upto`` what comes after its reasoning begins."""
    weight: float
    variables: dict[str, Any]
    """What the template was told so that prompt and answer fit together."""


class Drafter:
    """Renders conversations for one tokenizer and template."""

    ends: frozenset[str]
    """Texts of the tokens that end an answer: the model's own and those that the template
    writes."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, options: MaskOptions) -> None:
        self._tokenizer, self._template, self._options = tokenizer, template, options
        own = {tokenizer.token_text(i) for i in tokenizer.eos_ids}
        probed = {self._probed_end(name) for name in ("answer", "call")} - {""}
        self.ends = frozenset(own | probed)

    def drafts_of(self, conversation: Conversation) -> tuple[list[Draft], tuple[str, ...]]:
        """The texts of a conversation's examples, and notes. Raises Unfit."""
        if conversation.text and not conversation.messages:
            return [self._running_text(conversation.text)], ()
        notes: tuple[str, ...] = ()
        if conversation.tools and not self._template.writes_tools:
            notes = ("its tools are left out, since the chat template has no place for them",)
        value = [
            [as_dict(message) for message in conversation.messages],
            list(conversation.tools),
        ]
        (messages, tools), marks = self._tokenizer.guard.mark(value)
        weights = self._weights(conversation.messages)
        try:
            found = [
                self._answer(messages, tools, i, weights[i])
                for i, message in enumerate(messages)
                if message["role"] == "assistant"
            ]
            variables = found[-1].variables if found else {}
            whole = self._template.render(messages, tools=tools, **variables)
        except RequestError as error:
            raise Unfit(error.message) from None
        if not any(weights):
            answered = (
                "no message of it is to be trained"
                if found
                else ("it has no assistant message, so nothing could be trained")
            )
            raise Unfit(answered)
        self._check_nothing_is_lost(messages, whole)
        if unknown := self._tokenizer.unknown_text(whole.translate(marks)):
            raise Unfit(f"the model's vocabulary cannot write the character {unknown!r}")
        joint = [
            a for a in found if whole.startswith(a.prompt) and whole[: a.end] == a.upto[: a.end]
        ]
        if self._template.marks_answers:
            self._check_markers(messages, tools, variables, joint)
        main = Draft(whole, marks, [])
        if self._options.train_on == "everything":
            main.stretches.append(Stretch(0, len(whole), 1.0))
        for i, message in enumerate(conversation.messages):
            if message.role != "assistant" and message.weight is not None:
                start, end = self._span(messages, tools, variables, i, whole)
                main.stretches.append(Stretch(start, end, weights[i]))
        for answer in joint:
            self._add(main, answer)
        result = [main] if any(stretch.weight for stretch in main.stretches) else []
        for answer in found:
            if answer not in joint and answer.weight:
                result.append(Draft(answer.upto, marks, []))
                self._add(result[-1], answer)
        return result, notes

    def _add(self, draft: Draft, answer: _Answer) -> None:
        start = len(answer.prompt)
        draft.stretches.append(Stretch(start, answer.end, answer.weight))
        if not self._options.train_reasoning and answer.content > start:
            draft.stretches.append(Stretch(start, answer.content, 0.0))
        controls = list(self._tokenizer.guard.positions(answer.prompt))
        draft.prompts.append((controls[-1] if controls else 0, start))
        draft.names.append(f"answer {answer.number}")

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
        """Render the answer ``messages[index]`` and find its end; raises Unfit, RequestError."""
        number = sum(message["role"] == "assistant" for message in messages[: index + 1])
        message = messages[index]
        settings: list[dict[str, Any]] = [{}]
        if self._template.switch and message.get("reasoning_content"):
            settings.append({self._template.switch: True})
        for variables in settings:
            prompt = self._template.render(
                messages[:index], add_generation_prompt=True, tools=tools, **variables
            )
            upto = self._template.render(messages[: index + 1], tools=tools, **variables)
            if upto.startswith(prompt):
                break
        else:
            raise Unfit(
                f"answer {number}: the chat template renders the conversation before it "
                "differently from the prompt that a chat would use"
            )
        end_from, end = self._find_end(upto, len(prompt))
        if end == 0:
            raise Unfit(f"answer {number}: the chat template writes no end token after it")
        written = upto[len(prompt) : end_from]
        content = message["content"].strip()
        calls = [call["function"]["name"] for call in message.get("tool_calls", ())]
        place = written.find(content) if calls else written.rstrip().rfind(content)
        complete = place >= 0 and (calls or written.rstrip().endswith(content))
        reasoning = message.get("reasoning_content", "").strip()
        if not complete or reasoning not in written or any(c not in written for c in calls):
            raise Unfit(f"answer {number}: the chat template changes its text")
        after = 0
        if reasoning:
            after = written.find(reasoning) + len(reasoning)
            rest = written[after:]
            close = len(rest) - len(rest.lstrip())
            if rest[close:].startswith("</"):
                close = rest.index(">", close) + 1
            after += close + len(rest[close:]) - len(rest[close:].lstrip())
        return _Answer(number, prompt, upto, end, len(prompt) + after, weight, variables)

    def _find_end(self, text: str, start: int) -> tuple[int, int]:
        """The characters of the first end token from ``start`` on; (0, 0) if there is none."""
        found = [(place, -len(end)) for end in self.ends if (place := text.find(end, start)) >= 0]
        if not found:
            return 0, 0
        place, length = min(found)
        return place, place - length

    def _span(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        variables: dict[str, Any],
        index: int,
        whole: str,
    ) -> tuple[int, int]:
        """The characters of a message that is no answer, with its header and end."""
        edges = []
        for count in (index, index + 1):
            if count == len(messages):
                edges.append(len(whole))
                continue
            try:
                part = self._template.render(messages[:count], tools=tools, **variables)
            except RequestError:
                part = ""  # some templates refuse an empty conversation
            same = next(
                (i for i, (a, b) in enumerate(zip(part, whole, strict=False)) if a != b),
                min(len(part), len(whole)),
            )
            # Back to where the control token begins in which the two part ways.
            inside = (i for i in self._tokenizer.guard.positions(whole) if i <= same)
            last = max(inside, default=0)
            length = len(self._tokenizer.guard.found(whole[last:]) or "")
            edges.append(last if last < same < last + length else same)
        content = messages[index]["content"].strip()
        if content not in whole[edges[0] : edges[1]]:
            raise Unfit(
                f"message {index + 1} ({messages[index]['role']}) has a weight, but its part of "
                "the rendered text cannot be told exactly"
            )
        return edges[0], edges[1]

    def _running_text(self, text: str) -> Draft:
        if not self._tokenizer.eos:
            raise Unfit("the model's tokenizer names no end-of-text token for running text")
        marked, marks = self._tokenizer.guard.mark(text)
        if unknown := self._tokenizer.unknown_text(text):
            raise Unfit(f"the model's vocabulary cannot write the character {unknown!r}")
        begin = self._tokenizer.bos if self._tokenizer.adds_bos else ""
        whole = begin + marked + self._tokenizer.eos
        return Draft(whole, marks, [Stretch(0, len(whole), 1.0)])

    def _check_nothing_is_lost(self, messages: Sequence[dict[str, Any]], whole: str) -> None:
        words: str | None = None
        for number, message in enumerate(messages, 1):
            content = message["content"].strip()
            if message["role"] not in ("user", "tool") or content in whole:
                continue
            if words is None:
                words = " ".join(whole.split())
            if " ".join(content.split()) not in words and _as_json(content) not in whole:
                raise Unfit(
                    f"message {number} ({message['role']}): the chat template leaves it out or "
                    "changes its text"
                )

    def _check_markers(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        variables: dict[str, Any],
        joint: Sequence[_Answer],
    ) -> None:
        """The template's own marks around answers hold every trained stretch, one each."""
        spans = self._template.answer_spans(messages, tools=tools, **variables)
        places = [(len(answer.prompt), answer.end) for answer in joint]
        own = [
            [i for i, (a, b) in enumerate(spans) if a <= start and end <= b]
            for start, end in places
        ]
        if any(len(found) != 1 for found in own) or len({i for [i] in own}) != len(places):
            raise Unfit("the chat template's own generation markers put its answers elsewhere")

    def _probed_end(self, kind: str) -> str:
        """The end token that the template writes after an answer, or after a tool call; "" if it
        cannot be told."""
        answer: dict[str, Any] = {"role": "assistant", "content": _PROBE_ANSWER}
        if kind == "call":
            call = {"name": "probe", "arguments": {"text": _PROBE_ANSWER}}
            answer["content"] = ""
            answer["tool_calls"] = [{"id": "probecall", "type": "function", "function": call}]
        try:
            text = self._template.render([{"role": "user", "content": "a"}, answer])
        except RequestError:
            return ""
        place = text.rfind(_PROBE_ANSWER)
        return self._tokenizer.guard.found(text[place:]) or "" if place >= 0 else ""


def _as_json(text: str) -> str:
    # How a template that writes messages as JSON writes a text.
    return json.dumps(text, ensure_ascii=False)[1:-1]
