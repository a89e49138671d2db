"""Tools and calls of tools, in the shapes that data files have them."""

import re
from typing import Any

from edgetune.data.conversation import ToolCall
from edgetune.data.parsing.fields import BadRow, from_json, is_empty, kind_of, shown


def read_tools(value: Any, what: str = "`tools`") -> tuple[dict[str, Any], ...]:
    """Tools as ``{"type": "function", "function": {"name": …}}``.

    A list or one tool, in that shape or only the function itself; the whole or each of them may
    be JSON text. Raises BadRow for anything else.
    """
    if is_empty(value) or (isinstance(value, str) and not value.strip()):
        return ()
    value = from_json(value, what)
    if value is None:
        return ()
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise BadRow(f"{what} is {kind_of(items)}, not a list of tools")
    return tuple(
        _tool(from_json(item, f"tool {number}"), number) for number, item in enumerate(items, 1)
    )


def _tool(item: Any, number: int) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise BadRow(f"tool {number} is {kind_of(item)}, not an object")
    if isinstance(item.get("function"), dict):
        if item.get("type", "function") != "function":
            raise BadRow(f"tool {number} is of the type {shown(item['type'])}, not a function")
        tool: dict[str, Any] = {"type": "function"} | item
    else:
        function = {key: inner for key, inner in item.items() if key != "type"}
        if "input_schema" in function and "parameters" not in function:
            function["parameters"] = function.pop("input_schema")
        tool = {"type": "function", "function": function}
    name = tool["function"].get("name")
    if not isinstance(name, str) or not name:
        raise BadRow(f"tool {number} has no name")
    return tool


def read_calls(value: Any, what: str = "`tool_calls`") -> tuple[ToolCall, ...]:
    """Calls: one or a list, flat (``name``, ``arguments``) or inside of ``function``, the whole
    or the arguments perhaps as JSON text. Raises BadRow for anything else."""
    if is_empty(value):
        return ()
    value = from_json(value, what)
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise BadRow(f"{what} is {kind_of(items)}, not a list of calls")
    return tuple(_call(item, f"call {number}") for number, item in enumerate(items, 1))


def _call(item: Any, what: str) -> ToolCall:
    item = from_json(item, what)
    if not isinstance(item, dict):
        raise BadRow(f"{what} of a tool is {kind_of(item)}, not an object")
    inner = item.get("function")
    function = inner if isinstance(inner, dict) else item
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise BadRow(f"{what} of a tool does not say which (`name`)")
    key = next((key for key in ("arguments", "parameters", "input") if key in function), "")
    arguments = function.get(key)
    if isinstance(arguments, str) and not arguments.strip():
        arguments = None
    arguments = from_json(arguments, f"what `{name}` is called with")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise BadRow(f"`{name}` is called with {kind_of(arguments)}, not with an object")
    identity = item.get("id")
    if identity is not None and not isinstance(identity, str):
        raise BadRow(f"{what} has an `id` that is {kind_of(identity)}, not text")
    return ToolCall(name, arguments, identity or "")


# ---- Hermes: tags that the chat template writes ----

_CALL, _CALL_END = "<tool_call>", "</tool_call>"
_RESULTS = re.compile(r"<tool_response>((?:(?!</?tool_response>).)*)</tool_response>", re.DOTALL)


def tagged_results(text: str) -> list[str]:
    """What tools gave back, without the ``<tool_response>`` tags around it; nothing for a text
    that has more than those."""
    if "<tool_response>" not in text or _RESULTS.sub("", text).strip():
        return []
    return [found.strip() for found in _RESULTS.findall(text)]


def tagged_calls(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """An answer without the ``<tool_call>`` blocks at its end, and the calls in them; the whole
    answer and none where one of them is no call in JSON."""
    if not text.rstrip().endswith(_CALL_END):
        return text, ()
    before, *blocks = text.split(_CALL)
    calls: list[ToolCall] = []
    for block in blocks:
        call, end, behind = block.partition(_CALL_END)
        if not end or behind.strip():
            return text, ()
        try:
            calls += read_calls(call.strip(), "the <tool_call>")
        except (BadRow, RecursionError):
            return text, ()
    return before.rstrip(), tuple(calls)
