"""Which characters of a rendered conversation somebody wrote, and which the template.

Every text of a conversation gets a mark before and after it, and the template is rendered once
more: what stands between two marks is that text, wherever the template put it. The marks are
letters of a script that occurs in none of the texts, so no template strips or escapes them; white
space around a text stays outside of them, so a template may strip that. If without its marks the
text is not what the template writes anyway, it cannot be followed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgetune.data.templates.rendering import GENERATION, ChatTemplate
from edgetune.errors import RequestError

_DIGITS = 32
_SCRIPTS = (0x12000, 0x13000, 0x10600, 0x16800, 0xA000, 0x1E900)
# Cuneiform, Egyptian hieroglyphs, Linear A, Bamum, Yi, Adlam: letters all of them.


_REWRITTEN = (
    "the chat template depends on what its texts are, or changes them, so that it cannot be told "
    "where they went"
)


class Untraceable(Exception):
    """Why it cannot be told where the texts of a conversation went."""


@dataclass(frozen=True)
class Said:
    """A text of a message in the rendered conversation."""

    message: int
    """Index of the message; -1 for the tools."""
    field: str
    """content, reasoning, call (a name), argument, or other."""
    written: str
    """The text as it stands in the message, without white space around it."""
    start: int
    end: int
    """Characters [start, end) of the rendered text."""


@dataclass(frozen=True)
class Traced:
    """A rendered conversation."""

    text: str
    said: tuple[Said, ...]
    """In the order of the rendered text; a text may be there several times, or not at all."""
    expected: tuple[tuple[int, str, str], ...]
    """Message, field and text of all that was to be said."""
    generation: tuple[tuple[int, int], ...]
    """The parts that the template itself marks as the assistant's."""


class Controls:
    """The control tokens of a vocabulary, as texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        ordered = sorted(set(texts) - {""}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered)) or r"(?!)")

    def found(self, text: str, start: int = 0) -> str | None:
        """The first control token that is written in a text from ``start`` on."""
        match = self._pattern.search(text, start)
        return match[0] if match else None

    def places(self, text: str, said: Sequence[Said] = ()) -> list[tuple[int, int]]:
        """Where in a rendered text the template itself wrote control tokens: those of which no
        character is somebody's."""
        spans = sorted((item.start, item.end) for item in said if item.start < item.end)
        places: list[tuple[int, int]] = []
        position = 0
        for begin, end in [*spans, (len(text), len(text))]:
            while position < begin and (match := self._pattern.search(text, position, begin)):
                places.append(match.span())
                position = match.end()
            position = max(position, end)
        return places


def pieces(
    text: str, controls: Sequence[tuple[int, int]], start: int = 0, end: int | None = None
) -> list[tuple[str, bool]]:
    """The characters [start, end) of a text in stretches, each a control token (True) or not."""
    end = len(text) if end is None else end
    result: list[tuple[str, bool]] = []
    for first, last in controls:
        if start <= first and last <= end:
            if start < first:
                result.append((text[start:first], False))
            result.append((text[first:last], True))
            start = last
    if start < end:
        result.append((text[start:end], False))
    return result


def trace_prompt(
    template: ChatTemplate,
    controls: Controls,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    **variables: Any,
) -> tuple[str, list[tuple[int, int]]]:
    """The prompt for the next answer, and where in it the template wrote control tokens.

    Raises RequestError as ``ChatTemplate.render``, and if a control token is written out in a
    conversation that cannot be traced.
    """
    try:
        traced = trace(template, controls, messages, tools, True, **variables)
    except Untraceable as reason:
        if any(controls.found(text) for text in strings([list(messages), list(tools)])):
            raise RequestError(f"The conversation cannot be written: {reason}.") from None
        text = template.render(messages, True, tools, **variables)
        return text, controls.places(text)
    return traced.text, controls.places(traced.text, traced.said)


def trace(
    template: ChatTemplate,
    controls: Controls,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    add_generation_prompt: bool = False,
    **variables: Any,
) -> Traced:
    """Render ``messages`` (as templates get them) and find their texts.

    Raises RequestError as ``ChatTemplate.render``, and Untraceable.
    """
    text = template.render(messages, add_generation_prompt, tools, **variables)
    taken = set(template.source).union(*map(set, strings([list(messages), list(tools)])))
    script = next(
        (base for base in _SCRIPTS if not any(base <= ord(c) < base + _DIGITS + 5 for c in taken)),
        None,
    )
    if script is None:
        raise Untraceable("it has letters of too many rare scripts")
    marker = _Marker(script, controls)
    marked = template.render(
        [marker.message(index, message) for index, message in enumerate(messages)],
        add_generation_prompt,
        [marker.tool(tool) for tool in tools],
        **variables,
        **dict(zip(GENERATION, (marker.begin, marker.end), strict=True)),
    )
    found, said, generation = marker.read(marked)
    if found != text:
        raise Untraceable(_REWRITTEN)
    return Traced(text, tuple(said), tuple(marker.expected), tuple(generation))


class _Marker:
    """Puts marks around texts and finds them again; the letters are those of one script."""

    def __init__(self, script: int, controls: Controls) -> None:
        letters = [chr(script + i) for i in range(_DIGITS + 5)]
        self._digits = letters[:_DIGITS]
        self._open, self._named, self._close, self.begin, self.end = letters[_DIGITS:]
        self._controls = controls
        self.expected: list[tuple[int, str, str]] = []

    def message(self, index: int, message: Mapping[str, Any]) -> dict[str, Any]:
        """A message with its texts marked. Its role and what templates compare are left alone,
        unless a control token is written in them."""
        marked = dict(message)
        for key, value in message.items():
            if key == "role":
                if found := self._controls.found(str(value)):
                    raise Untraceable(f"a role is named `{found}`, a control token of this model")
            elif key == "tool_calls" and isinstance(value, list | tuple):
                marked[key] = [self._call(index, call) for call in value]
            elif key == "content" and isinstance(value, list | tuple):
                marked[key] = [self._part(index, part) for part in value]
            elif isinstance(value, str) and key in ("content", "reasoning_content"):
                marked[key] = self._text(value, index, key.removesuffix("_content"))
            else:
                marked[key] = self._harmful(value, index)
        return marked

    def tool(self, tool: Mapping[str, Any]) -> Any:
        """A tool's description with the texts marked in which a control token is written."""
        return self._harmful(tool, -1)

    def _part(self, index: int, part: Any) -> Any:
        if isinstance(part, str):
            return self._text(part, index, "content")
        if isinstance(part, Mapping) and isinstance(part.get("text"), str):
            return dict(part) | {"text": self._text(part["text"], index, "content")}
        return self._harmful(part, index)

    def _call(self, index: int, call: Any) -> Any:
        if not isinstance(call, Mapping) or not isinstance(call.get("function", call), Mapping):
            return self._harmful(call, index)
        marked = {
            key: value if key == "function" else self._harmful(value, index)
            for key, value in call.items()
        }
        function = dict(call.get("function", call))
        if isinstance(function.get("name"), str):
            function["name"] = self._text(function["name"], index, "call")
        function["arguments"] = self._leaves(function.get("arguments"), index)
        return marked | {"function": function} if "function" in call else marked | function

    def _leaves(self, value: Any, index: int) -> Any:
        if isinstance(value, str):
            return self._text(value, index, "argument")
        if isinstance(value, Mapping):
            self._check_keys(value)
            return {key: self._leaves(item, index) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._leaves(item, index) for item in value]
        return value

    def _harmful(self, value: Any, index: int) -> Any:
        if isinstance(value, str):
            return self._text(value, index, "other") if self._controls.found(value) else value
        if isinstance(value, Mapping):
            self._check_keys(value)
            return {key: self._harmful(item, index) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._harmful(item, index) for item in value]
        return value

    def _check_keys(self, value: Mapping[str, Any]) -> None:
        for key in value:
            if found := self._controls.found(str(key)):
                raise Untraceable(f"a key is named `{found}`, a control token of this model")

    def _text(self, text: str, message: int, field: str) -> str:
        core = text.strip()
        if not core:
            return text
        number, name = len(self.expected), ""
        self.expected.append((message, field, core))
        while number or not name:
            name = self._digits[number % _DIGITS] + name
            number //= _DIGITS
        start = text.index(core)
        marked = self._open + name + self._named + core + self._close
        return text[:start] + marked + text[start + len(core) :]

    def read(self, marked: str) -> tuple[str, list[Said], list[tuple[int, int]]]:
        """A rendered text without its marks, and what stood between them."""
        digits = "".join(self._digits)
        parts = re.split(
            f"({self._open}[{digits}]+{self._named}|[{self._close}{self.begin}{self.end}])", marked
        )
        text: list[str] = []
        said: list[Said] = []
        generation: list[tuple[int, int]] = []
        position, opened, began = 0, -1, -1
        start = 0
        for part in parts:
            if part.startswith(self._open):
                if opened >= 0:
                    raise Untraceable(_REWRITTEN)
                opened, start = 0, position
                for digit in part[1:-1]:
                    opened = opened * _DIGITS + self._digits.index(digit)
            elif part == self._close:
                if opened < 0:
                    raise Untraceable(_REWRITTEN)
                said.append(Said(*self.expected[opened], start, position))
                opened = -1
            elif part == self.begin:
                began = position
            elif part == self.end:
                generation.append((began, position))
            else:
                text.append(part)
                position += len(part)
        if opened >= 0:
            raise Untraceable(_REWRITTEN)
        return "".join(text), said, generation


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


def is_text(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raises RequestError if a text holds half a character, which no tokenizer can read."""
    for text in strings(list(messages)):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RequestError(
                "A message holds half a character (a lone UTF-16 surrogate).",
                "Send the text as valid Unicode.",
            ) from None
