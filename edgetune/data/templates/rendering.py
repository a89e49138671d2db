"""A chat template: messages in, text out, as transformers' ``apply_chat_template`` writes it.

Templates come with models and are not to be trusted, so they run in a sandboxed Jinja. The same
renderer serves training, evaluation, verification, chat and the server.
"""

import json
import re
from collections.abc import Mapping, Sequence
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

GENERATION = ("begin_of_generation_", "end_of_generation_")
"""Variables: what to write around the parts that a template marks as the assistant's."""

_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks the assistant's part in some templates; what it is to write
    before and after that part is given as variables, and is nothing as a rule."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own protocol

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        before, after = (
            jinja2.nodes.Output([jinja2.nodes.Name(name, "load")], lineno=line)
            for name in GENERATION
        )
        return jinja2.nodes.Scope([before, *body, after], lineno=line)


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
        environment = _environment(now)
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
        self._compiled = _compiled(environment, self.source, name)
        self.marks_answers = bool(re.search(r"{%-?\s*generation\s*-?%}", source))
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
        given = {"documents": None, **self._tokens, **variables}
        try:
            return self._compiled.render(
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

    def spaces_answers(self) -> bool:
        """Whether it writes a space between the prompt and an answer."""
        question = Message("user", "a")
        try:
            prompt = self.render([question], add_generation_prompt=True)
            return self.render([question, Message("assistant", "b")]).startswith(prompt + " b")
        except RequestError:
            return False

    def _fit(self, messages: Sequence[AnyMessage]) -> list[dict[str, Any]]:
        """The messages in the form that this template understands."""
        plain = [as_dict(item) if isinstance(item, Message) else dict(item) for item in messages]
        if self.folds_system and plain and plain[0].get("role") == "system":
            system, *plain = plain
            if not system["content"].strip():
                pass
            elif plain and plain[0].get("role") == "user":
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


def _compiled(environment: jinja2.Environment, source: str, name: str) -> jinja2.Template:
    try:
        return environment.from_string(source)
    except (jinja2.TemplateError, SyntaxError, RecursionError) as error:
        raise RequestError(f"The {name} chat template is not valid Jinja: {error}.") from None


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
