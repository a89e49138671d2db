"""A chat template: messages in, text out, as transformers' ``apply_chat_template`` writes it.

Templates come with models and are not to be trusted, so they run in a sandboxed Jinja. The same
renderer serves training, evaluation, verification, chat and the server.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from edgetune.data.conversation import Message
from edgetune.errors import RequestError

AnyMessage = Message | Mapping[str, Any]

_SWITCHES = ("enable_thinking", "open_thinking", "thinking")
# The names under which templates are told to think or not.

_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")

_MARKS = tuple(map(chr, range(0x12000, 0x12020)))
# Cuneiform: letters, so that no template strips or escapes them, and never all in one text.

_SPAN_MARKS = (chr(0x12020), chr(0x12021))


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks the assistant's part in some templates; here it only groups."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own protocol
    around = ("", "")

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        before, after = (
            jinja2.nodes.Output([jinja2.nodes.TemplateData(mark)], lineno=line)
            for mark in self.around
        )
        return jinja2.nodes.Scope([before, *body, after], lineno=line)


class _MarkedGeneration(_Generation):
    """The same with a mark before and after it, which shows where it stands in the text."""

    around = _SPAN_MARKS


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


def _environment(now: datetime | None, generation: type[_Generation]) -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: (now or datetime.now()).strftime(form)
    return environment


class ChatTemplate:
    """A chat template, compiled; it renders the same text as transformers."""

    source: str
    """The Jinja source, with the settings that were chosen as its defaults."""
    name: str
    switch: str | None
    """The variable that makes it think or not; None if it has none, or if that was decided."""
    writes_tools: bool
    """Whether it has a place for the tools that may be called."""
    marks_answers: bool
    """Whether it marks the assistant's parts with ``{% generation %}``."""
    folds_system: bool
    """It refuses system messages: they are put before the first user message."""

    def __init__(
        self,
        source: str,
        bos: str,
        eos: str,
        name: str,
        now: datetime | None = None,
        thinking: str = "auto",
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """``bos`` and ``eos`` are the model's token texts ("" for none); ``name`` is shown.
        A template that writes the date takes it from ``now``, else from the clock. ``thinking``
        ("on" or "off") and ``variables`` become defaults of the template itself, so that whoever
        renders it later, without knowing of them, gets the same text.

        Raises RequestError if ``source`` is no valid template, or has no thinking to switch.
        """
        self.bos, self.eos, self.name = bos, eos, name
        environment = _environment(now, _Generation)
        known = _undeclared(environment, source, name)
        self.switch = next((switch for switch in _SWITCHES if switch in known), None)
        chosen = dict(variables or {})
        if thinking != "auto":
            if self.switch is None:
                raise RequestError(
                    f"The {name} chat template has no switch for thinking.",
                    "Leave data.thinking at auto.",
                )
            chosen[self.switch] = thinking == "on"
        if unknown := [key for key in chosen if key not in known]:
            raise RequestError(f"The {name} chat template has no variable `{unknown[0]}`.")
        if self.switch in chosen:
            self.switch = None
        self.source = _with_defaults(chosen) + source
        self._compiled = environment.from_string(self.source)
        self.marks_answers = bool(re.search(r"{%-?\s*generation\s*-?%}", source))
        if self.marks_answers:
            self._marking = _environment(now, _MarkedGeneration).from_string(self.source)
        self.writes_tools = "tools" in known
        self._calls = "as they are" if "tool_calls" in source else ""
        if not self._calls and "<tool_call>" in source:
            self._calls = "as text"
        attribute = r"(?:\.\s*{0}\b|\[\s*['\"]{0}['\"]\s*\]|get\(\s*['\"]{0}['\"])"
        self._reasoning_key = next(
            (key for key in _REASONING_KEYS if re.search(attribute.format(key), source)), None
        )
        tokens = {"bos_token": bos, "eos_token": eos}
        self._tokens = {key: text for key, text in tokens.items() if text}
        self.folds_system = False
        self.folds_system = self._refuses([("system", "a"), ("user", "b")]) and not self._refuses(
            [("user", "b")]
        )

    def render(
        self,
        messages: Sequence[AnyMessage],
        add_generation_prompt: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """The text of a conversation, with what begins an answer if ``add_generation_prompt``.

        ``variables`` are handed to the template (e.g. ``enable_thinking``). Raises RequestError
        if the template refuses the conversation or has no way to write it.
        """
        return self._render(self._compiled, messages, add_generation_prompt, tools, variables)

    def answer_spans(
        self,
        messages: Sequence[AnyMessage],
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> list[tuple[int, int]]:
        """The characters [start, end) of the rendered conversation that the template itself marks
        as the assistant's; only for a template that ``marks_answers``."""
        text = self._render(self._marking, messages, False, tools, variables)
        spans: list[tuple[int, int]] = []
        start = position = 0
        for part in re.split(f"([{''.join(_SPAN_MARKS)}])", text):
            if part == _SPAN_MARKS[0]:
                start = position
            elif part == _SPAN_MARKS[1]:
                spans.append((start, position))
            else:
                position += len(part)
        return spans

    def spaces_answers(self) -> bool:
        """Whether it writes a space between the prompt and an answer."""
        question = Message("user", "a")
        try:
            prompt = self.render([question], add_generation_prompt=True)
            return self.render([question, Message("assistant", "b")]).startswith(prompt + " b")
        except RequestError:
            return False

    def _render(
        self,
        compiled: jinja2.Template,
        messages: Sequence[AnyMessage],
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None,
        variables: Mapping[str, Any],
    ) -> str:
        given = {"documents": None, **self._tokens, **variables}
        try:
            return compiled.render(
                messages=self._fit(messages),
                tools=[dict(tool) for tool in tools] if tools else None,
                add_generation_prompt=add_generation_prompt,
                **given,
            )
        except (
            jinja2.TemplateError,
            TypeError,
            ValueError,
            LookupError,
            ArithmeticError,
            AttributeError,
            RecursionError,
        ) as error:
            raise RequestError(
                f"The {self.name} chat template refuses the conversation: {error}"
            ) from None

    def _fit(self, messages: Sequence[AnyMessage]) -> list[dict[str, Any]]:
        """The messages in the form that this template understands."""
        plain = [as_dict(item) if isinstance(item, Message) else dict(item) for item in messages]
        if self.folds_system and plain and plain[0].get("role") == "system":
            system, *plain = plain
            if plain and plain[0].get("role") == "user":
                content = f"{system['content']}\n\n{plain[0]['content']}"
                plain[0] = plain[0] | {"content": content}
            else:
                plain.insert(0, {"role": "user", "content": system["content"]})
        for item in plain:
            if item.get("role") != "assistant":
                continue
            if reasoning := item.pop("reasoning_content", ""):
                if self._reasoning_key:
                    item[self._reasoning_key] = reasoning
                else:
                    item["content"] = written_reasoning(reasoning) + (item.get("content") or "")
            if item.get("tool_calls") and self._calls != "as they are":
                if not self._calls:
                    raise RequestError(f"The {self.name} chat template cannot write tool calls.")
                item["content"] = _written_calls(item.get("content") or "", item.pop("tool_calls"))
        return plain

    def _refuses(self, turns: Sequence[tuple[str, str]]) -> bool:
        try:
            self.render([Message(*turn) for turn in turns])
        except RequestError:
            return True
        return False


def _undeclared(environment: jinja2.Environment, source: str, name: str) -> set[str]:
    try:
        found: set[str] = jinja2.meta.find_undeclared_variables(environment.parse(source))
        return found
    except (jinja2.TemplateError, RecursionError) as error:
        raise RequestError(f"The {name} chat template is not valid Jinja: {error}.") from None


def _with_defaults(variables: Mapping[str, Any]) -> str:
    # JSON's spellings are Jinja's as well.
    return "".join(
        "{% if NAME is not defined %}{% set NAME = VALUE %}{% endif %}".replace(
            "NAME", name
        ).replace("VALUE", json.dumps(value))
        for name, value in variables.items()
    )


def as_dict(message: Message) -> dict[str, Any]:
    """A message as templates get it from transformers; empty fields are absent."""
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        value["reasoning_content"] = message.reasoning
    if message.tool_calls:
        value["tool_calls"] = [
            ({"id": call.id} if call.id else {})
            | {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.name:
        value["name"] = message.name
    if message.tool_call_id:
        value["tool_call_id"] = message.tool_call_id
    return value


def written_reasoning(reasoning: str) -> str:
    """Reasoning in front of an answer, for templates that know nothing of it."""
    return f"<think>\n{reasoning}\n</think>\n\n"


def _written_calls(content: str, calls: Sequence[Mapping[str, Any]]) -> str:
    # For templates whose own words tell the model to call tools in this way.
    written = [
        "<tool_call>\n" + _tojson(dict(call.get("function", call))) + "\n</tool_call>"
        for call in calls
    ]
    return "\n".join([content, *written] if content else written)


class Guard:
    """Keeps a control token that is written out in somebody's text from becoming one.

    Before a template is rendered, every such text gets a mark in place of its first character.
    What is still found in the rendered text was written by the template.
    """

    def __init__(self, control_texts: Iterable[str]) -> None:
        texts = sorted(set(control_texts) - {""}, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, texts)) or r"(?!)")

    def found(self, value: Any) -> str | None:
        """The first control token that stands written out in a text or in a nesting of texts."""
        for text in strings(value):
            if match := self._control.search(text):
                return match[0]
        return None

    def positions(self, text: str) -> Iterator[int]:
        """Where the control tokens in a text begin."""
        return (match.start() for match in self._control.finditer(text))

    def mark(self, value: Any) -> tuple[Any, dict[int, str]]:
        """``value`` (texts in lists and dictionaries) with a mark in place of the first character
        of every control text, and what the marks stand for, as ``str.translate`` wants it; empty,
        and the value unchanged, where there is none."""
        if self.found(value) is None:
            return value, {}
        everything = set().union(*map(set, strings(value)))
        free = (mark for mark in _MARKS if mark not in everything)
        marks: dict[str, str] = {}

        def broken(text: str) -> str:
            while match := self._control.search(text):
                first = match[0][0]
                if first not in marks:
                    marks[first] = next(free)
                text = text[: match.start()] + marks[first] + text[match.start() + 1 :]
            return text

        return _mapped(value, broken), {ord(mark): first for first, mark in marks.items()}

    def pieces(self, text: str, marks: Mapping[int, str]) -> list[tuple[str, bool]]:
        """A rendered text without its marks, cut into stretches, each a control token (True) that
        the template wrote, or not. Joined they are as long as ``text``."""
        pieces: list[tuple[str, bool]] = []
        place = 0
        for match in self._control.finditer(text):
            if match.start() > place:
                pieces.append((text[place : match.start()].translate(marks), False))
            pieces.append((match[0], True))
            place = match.end()
        if place < len(text):
            pieces.append((text[place:].translate(marks), False))
        return pieces


def strings(value: Any) -> Iterator[str]:
    """Every text in a nesting of lists and dictionaries, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_mapped(key, change): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return value
