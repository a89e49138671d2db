"""Task files: a task's name, its phrasings and its rows, in YAML or JSON.

::

    task: capital                       # the name, as split and mixture know it
    system: Answer in one word.         # optional, for all templates
    examples: 4                         # the first 4 rows serve as examples, or: a list, a file
    templates:
      - prompt: What is the capital of {country}?
        answer: "{capital}"
      - prompt: "{capital}: of which country is it the capital?"    # inverted
        answer: "{country}"
      - prompt: "{country}\\n\\nName the capital of the country above."
        answer: "{capital}"
        shots: 2                        # shows 2 of the examples before the question
        shot: "{country}: {capital}"    # how; without it as prompt and answer
      - prompt: Where does the government of {country} sit? Think first.
        reasoning: "{thoughts}"
        answer: "{capital}"
    rows: capitals.csv                  # beside this file, or: a list of rows

A ``{field}`` is replaced by what the row has under this name; ``{{`` and ``}}`` are braces. In
YAML every value is text as it is written (``no`` stays ``no``). ``tasks`` renders the rows.
"""

import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from edgetune.data.readers.rows import unusable
from edgetune.errors import RequestError, explain_os_error

SHOTS = "shots"
"""The field of a prompt in whose place the examples come."""

_MOST_BYTES = 256 * 2**20
"""A task file is read whole; more rows than this belong in a file of their own."""
_HEAD = 1 << 16
_WHITE = re.compile(r"[ \t\r\n]*")
_YAML_KEY = re.compile(r"^(?:templates|\"templates\"|'templates')[ \t]*:", re.MULTILINE)


def fields_of(pattern: str) -> list[str]:
    """The fields that a pattern names, in order. Raises ValueError if it is malformed."""
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"{error}; a brace that is no field is written twice: {{{{ }}}}") from None
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if not name or spec or conversion or name != name.strip():
            raise ValueError(
                f"`{{{name}{':' if spec else ''}{spec or ''}}}` names no field; a brace that is "
                "no field is written twice: {{ }}"
            )
    return [name for _, name, _, _ in parts if name is not None]


def fill(pattern: str, values: dict[str, str]) -> str:
    """The pattern with its fields replaced."""
    return "".join(
        text + (values[name] if name is not None else "")
        for text, name, _, _ in string.Formatter().parse(pattern)
    )


def _checked(pattern: str) -> str:
    fields_of(pattern)
    # A block of YAML text ends with a line end that nobody means.
    return pattern.strip("\n")


def _list_or_path(value: Any) -> Any:
    if isinstance(value, str | list):
        return value
    raise ValueError("it has to be a list of rows or the name of a file with rows")


def _list_path_or_number(value: Any) -> Any:
    if isinstance(value, str) and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return _list_or_path(value)


Pattern = Annotated[str, AfterValidator(_checked)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Template(_Part):
    """One phrasing of a task: what is asked and what is answered, with fields of the row."""

    prompt: Pattern = Field(min_length=1)
    """The user's message."""
    answer: Pattern = Field(min_length=1)
    """The assistant's message."""
    reasoning: Pattern = ""
    """What the assistant thinks before it answers (chain of thought)."""
    system: Pattern = ""
    """System message, instead of the task's."""
    shots: int = Field(default=0, ge=0, le=16)
    """How many of the task's examples are shown first."""
    shot: Pattern = ""
    """How an example is written; without it as the prompt with the answer below."""
    turns: bool = False
    """Whether examples are earlier turns of the conversation, read and never trained, instead of
    text in the prompt."""

    @model_validator(mode="after")
    def _shots_fit(self) -> "Template":
        placed = SHOTS in fields_of(self.prompt)
        patterns = (self.answer, self.reasoning, self.system, self.shot)
        if any(SHOTS in fields_of(pattern) for pattern in patterns):
            raise ValueError("only `prompt` can say where the examples come ({shots})")
        if not self.shots and (placed or self.shot or self.turns):
            raise ValueError("it says how examples are shown, but not how many (`shots`)")
        if placed and not self.shot:
            raise ValueError("with {shots} in the prompt, `shot` has to say how one is written")
        if self.turns and (placed or self.shot):
            raise ValueError("examples are either turns or text in the prompt, not both")
        return self

    def needs(self) -> list[str]:
        """The fields that a row has to have, each once."""
        patterns = (self.prompt, self.answer, self.reasoning, self.system, self.shot)
        names = [name for pattern in patterns for name in fields_of(pattern)]
        return [name for name in dict.fromkeys(names) if name != SHOTS]


class TaskFile(_Part):
    """A task as its file has it."""

    task: str = Field(min_length=1)
    """The task's name."""
    system: Pattern = ""
    """System message, unless a template has its own; fields are allowed."""
    templates: list[Template] = Field(min_length=1)
    """The phrasings, among which the rows are spread evenly."""
    rows: Annotated[list[Any] | str, BeforeValidator(_list_or_path)]
    """The rows themselves, or the file that holds them, beside this one."""
    examples: Annotated[list[Any] | str | int, BeforeValidator(_list_path_or_number)] = 0
    """Rows to be shown as examples, which are never asked themselves: a list, a file, or how many
    of the first rows are kept for it."""
    seed: int = Field(default=0, ge=0)
    """Decides which row gets which phrasing and which examples."""

    @model_validator(mode="after")
    def _examples_are_enough(self) -> "TaskFile":
        most = max(template.shots for template in self.templates)
        there = len(self.examples) if isinstance(self.examples, list) else self.examples
        if isinstance(there, int) and there < most:
            raise ValueError(
                f"a template shows {most} examples, and `examples` gives {there or 'none'}; "
                "name as many rows, a file, or a number of the first rows to keep for it"
            )
        if there and not most:
            raise ValueError("no template shows examples (`shots`), so `examples` has no use")
        return self


@dataclass(frozen=True)
class Read:
    """A task file and where things stand in it."""

    task: TaskFile
    lines: dict[str, list[int]]
    """Of each list at its top, by key, the lines of its items."""
    data: bytes


def is_task_file(path: Path, sure: bool = False) -> bool:
    """Whether a file is a task file: YAML by its name, or one JSON object with templates, which
    come before its rows where they are many. To be ``sure``, YAML has to have templates as well.

    Never raises: what cannot be read is no task file.
    """
    if not path.is_file():
        return False
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    if is_yaml and not sure:
        return True
    try:
        with path.open("rb") as file:
            data = file.read(_HEAD)
            if is_yaml:
                return _YAML_KEY.search(data.decode("utf-8", "replace")) is not None
            start = data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
            if not start.startswith(b"{") or b'"templates"' not in data:
                return False
            if path.stat().st_size > _MOST_BYTES:
                return False
            data += file.read()
        value = json.loads(data.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "templates" in value and "rows" in value


def files_behind(path: Path) -> list[Path]:
    """The files that the rows of a data file follow from: itself, and if it is a task file those
    that it names. Raises RequestError for a task file that is not what it should be."""
    if not is_task_file(path):
        return [path]
    task = read_task_file(path).task
    names = [name for name in (task.examples, task.rows) if isinstance(name, str)]
    return [path, *(beside(path, name) for name in names)]


def beside(path: Path, name: str) -> Path:
    """A file that a task file names. Raises RequestError if it is not there."""
    file = path.parent / name
    if not file.is_file():
        raise RequestError(
            f"{path} names {name}, and there is no file {file}.",
            "Write its path as it is seen from the task file.",
        )
    return file


def read_task_file(path: Path) -> Read:
    """Read a task file. Raises RequestError that names the line."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RequestError(
                f"The task file {path} is larger than {_MOST_BYTES >> 20} MiB.",
                "Put its rows into a data file and name that under `rows`.",
            )
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise RequestError(f"There is no task file {path}.") from None
    except OSError as error:
        raise RequestError(explain_os_error(error, f"reading {path}").message) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RequestError(f"{path}, line {line}: the text is not UTF-8.") from None
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    value, lines = _parse_yaml(text, path) if is_yaml else _parse_json(text, path)
    if not isinstance(value, dict):
        raise RequestError(
            f"The task file {path} has to hold `task`, `templates` and `rows`, by name.", _HINT
        )
    own = {key: item for key, item in value.items() if key not in ("rows", "examples")}
    if finding := unusable(own, str(path), 0):
        raise RequestError(f"The task file {path} cannot be used: {finding.message}.")
    try:
        return Read(TaskFile.model_validate(value), lines, data)
    except ValidationError as error:
        problems = "; ".join(_problem(item, path, lines) for item in error.errors())
        raise RequestError(f"{problems}.", _HINT) from None


_HINT = (
    "A task file has `task`, `templates` (each with `prompt` and `answer`) and `rows`, and may "
    "have `system`, `examples` and `seed`."
)


def _problem(item: Any, path: Path, lines: dict[str, list[int]]) -> str:
    where, loc = str(path), list(item["loc"])
    if len(loc) > 1 and loc[0] in lines and isinstance(loc[1], int):
        where += f", line {lines[loc[0]][loc[1]]}: {str(loc[0]).removesuffix('s')} {loc[1] + 1}"
        loc = loc[2:]
    name = ".".join(str(part) for part in loc if isinstance(part, str))
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no setting `{name}`"
    if item["type"] == "missing":
        return f"{where}: `{name}` is missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: `{name}`: {message}" if name else f"{where}: {message}"


class _Duplicate(ValueError):
    """A key that stands twice in one object."""


def _parse_json(text: str, path: Path) -> tuple[Any, dict[str, list[int]]]:
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise RequestError(
            f"{path}, line {error.lineno}, column {error.colno}: broken JSON: {error.msg}."
        ) from None
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise RequestError(f"The task file {path} cannot be read: {reason}.") from None
    return value, _json_lines(text) if isinstance(value, dict) else {}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Duplicate(f"the key `{twice}` stands twice in one place")
    return value


def _json_lines(text: str) -> dict[str, list[int]]:
    """The lines of the items of every list directly in a JSON object, which is known to be
    valid."""
    decoder = json.JSONDecoder()
    found: dict[str, list[int]] = {}
    line, counted = 1, 0

    def skip(position: int) -> int:
        match = _WHITE.match(text, position)
        return match.end() if match else position

    position = skip(0) + 1
    while text[position := skip(position)] != "}":
        if text[position] == ",":
            position = skip(position + 1)
        key, position = decoder.raw_decode(text, position)
        position = skip(skip(position) + 1)  # over the colon
        if text[position] != "[":
            _, position = decoder.raw_decode(text, position)
            continue
        found[key] = []
        position += 1
        while text[position := skip(position)] != "]":
            if text[position] == ",":
                position = skip(position + 1)
            line, counted = line + text.count("\n", counted, position), position
            found[key].append(line)
            _, position = decoder.raw_decode(text, position)
        position += 1
    return found


# Every scalar as text; the C parser where PyYAML was built with it.
_Plain: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class _Loader(_Plain):
    """All of it is text, but what is surely null."""


_NULL = "tag:yaml.org,2002:null"
_Loader.add_implicit_resolver(_NULL, re.compile(r"(?:~|null|Null|NULL)\Z"), "~nN")
_Loader.add_constructor(_NULL, lambda loader, node: None)


def _parse_yaml(text: str, path: Path) -> tuple[Any, dict[str, list[int]]]:
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
        lines = dict(_yaml_lines(node, path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise RequestError(f"{path}{line}: broken YAML: {problem}.") from None
    except (RecursionError, ValueError):
        raise RequestError(f"The task file {path} cannot be read as YAML.") from None
    finally:
        if loader is not None:
            loader.dispose()
    return value, lines


def _yaml_lines(node: Any, path: Path) -> Iterator[tuple[str, list[int]]]:
    """Each list at the top with the lines of its items; raises RequestError for a double key."""
    if not isinstance(node, yaml.MappingNode):
        return
    _refuse_double_keys(node, path)
    for key, item in node.value:
        if isinstance(item, yaml.SequenceNode):
            for part in item.value:
                _refuse_double_keys(part, path)
            yield key.value, [part.start_mark.line + 1 for part in item.value]


def _refuse_double_keys(node: Any, path: Path) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, _ in node.value:
        if isinstance(key.value, str) and key.value in seen:
            line = key.start_mark.line + 1
            raise RequestError(f"{path}, line {line}: the key `{key.value}` stands twice.")
        seen.add(key.value if isinstance(key.value, str) else id(key))
