"""The keys of a row, found under any of the names they go by, and their values as text."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from edgetune.data.conversation import Grade


class BadRow(Exception):
    """A row that is left out; its text is the reason."""

    def __init__(self, reason: str, kind: str = "malformed", grade: Grade = "error") -> None:
        super().__init__(reason)
        self.kind, self.grade = kind, grade


@dataclass(frozen=True)
class Remark:
    """What is to be said about a row that is used."""

    grade: Grade
    kind: str
    message: str


Said = list[Remark]

_LONGEST_SHOWN = 60


@lru_cache(maxsize=4096)
def _names(keys: tuple[str, ...]) -> dict[str, str]:
    """Plain name -> the row's own key; an exact spelling goes before ``Answer`` or ``an-swer``."""
    names: dict[str, str] = {}
    for key in keys:
        names.setdefault(plain_name(key), key)
    return names | {key: key for key in keys}


def plain_name(key: str) -> str:
    """A key in lower case, with underscores for blanks and dashes: ``Positive Examples`` is
    ``positive_examples``."""
    return key.strip().lower().replace(" ", "_").replace("-", "_")


@dataclass
class Fields:
    """A row's values by name. What was looked at counts as used."""

    value: dict[str, Any]
    columns: Mapping[str, str] = field(default_factory=dict)
    """Which key of the row stands for which name."""
    said: Said = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    """The row's own keys."""
    inner_ignored: set[str] = field(default_factory=set)
    """Keys inside of its messages that mean nothing here, e.g. ``messages.timestamp``."""

    def __post_init__(self) -> None:
        names = _names(tuple(self.value))
        if self.columns:
            # A name whose key the row lacks stands for nothing, not for a key of its own.
            taken = set(self.columns.values())
            names = {
                name: key
                for name, key in names.items()
                if key not in taken and plain_name(name) not in self.columns
            }
            names |= {name: key for name, key in self.columns.items() if key in self.value}
        self._names = names

    def has(self, *names: str) -> bool:
        """Whether one of the names has a value other than null."""
        name = self.name_of(*names)
        return bool(name) and self.peek(name) is not None

    def __contains__(self, name: str) -> bool:
        """Whether the row has the name at all, perhaps with null."""
        return name in self._names

    def peek(self, name: str) -> Any:
        """A value, without using it; None where there is none."""
        key = self._names.get(name)
        return None if key is None else self.value[key]

    def name_of(self, *names: str) -> str:
        """The first of the names that has a value other than null, else the first that is there
        at all, else ""."""
        null = ""
        for name in names:
            if name in self._names:
                if self.value[self._names[name]] is not None:
                    return name
                null = null or name
        return null

    def take(self, *names: str) -> Any:
        """The value of the first of the names that has one, else None."""
        name = self.name_of(*names)
        if not name:
            return None
        self.used.add(self._names[name])
        return self.peek(name)

    def need(self, *names: str) -> Any:
        """The value of the first of the names. Raises BadRow if there is none."""
        if not self.name_of(*names):
            raise BadRow(f"{self.absent(*names) or f'`{names[0]}`'} is missing")
        return self.take(*names)

    def absent(self, *names: str) -> str:
        """The first of the names (of all, if none is given) whose column the row does not have,
        with that column; "" if there is none."""
        for name, key in self.columns.items():
            if key not in self.value and (not names or name in names):
                return f"`{name}` (column `{key}`)"
        return ""

    def add(self, name: str, value: Any) -> None:
        """A value that stands elsewhere in the row."""
        self.value = self.value | {name: value}
        self._names = self._names | {name: name}

    def text(self, *names: str) -> str:
        """A text that has to be there. Raises BadRow."""
        return as_text(self.need(*names), self.label(*names), self.said)

    def optional_text(self, *names: str) -> str:
        """A text; "" where there is none. Raises BadRow for what is not text."""
        value = self.take(*names)
        return "" if value is None else as_text(value, self.label(*names), self.said)

    def label(self, *names: str) -> str:
        """How the row itself calls what goes by these names, for sentences."""
        name = self.name_of(*names)
        return f"`{self._names[name] if name else names[0]}`"

    def ignored(self) -> list[str]:
        """Keys with a value that nobody looked at."""
        unused = {
            key for key, item in self.value.items() if key not in self.used and not is_empty(item)
        }
        return sorted(unused | self.inner_ignored)


def as_text(value: Any, what: str, said: Said) -> str:
    """A value as text; numbers are written out, which is said. Raises BadRow for all else."""
    if isinstance(value, str):
        return value
    if is_number(value):
        try:
            written = str(value)
        except ValueError:  # more digits than Python writes out
            raise BadRow(f"{what} is a number with too many digits") from None
        said.append(Remark("note", "number-as-text", f"{what} is a number and was read as text"))
        return written
    raise BadRow(f"{what} is {kind_of(value)}, not text")


def list_of(value: Any) -> Any:
    """An object of equally long lists, as Parquet files of Hugging Face have them, as a list of
    objects; any other value as it is."""
    if not isinstance(value, dict) or not value:
        return value
    if not all(isinstance(column, list) for column in value.values()):
        return value
    if len({len(column) for column in value.values()}) != 1:
        return value
    return [dict(zip(value, items, strict=True)) for items in zip(*value.values(), strict=True)]


def is_number(value: Any) -> bool:
    """Whether a value is a number that JSON has: neither true or false, nor NaN or infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """A value as a sentence shows it, cut if long."""
    if isinstance(value, str | int | float | bool | None):
        try:
            text = repr(value)
        except ValueError:  # more digits than Python writes out
            return "a very long number"
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return kind_of(value)


def is_empty(value: Any) -> bool:
    """Whether a value says nothing: null, or an empty text, list or object."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    if value is None:
        return "nothing"
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), f"a value of type {type(value).__name__}")


def from_json(value: Any, what: str) -> Any:
    """A value that some files hold as JSON text. Raises BadRow if the text is not JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise BadRow(f"{what} is text that is not JSON") from None
