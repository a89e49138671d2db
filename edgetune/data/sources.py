"""Files -> raw rows that know their file and line.

JSON (a list of rows, however it is laid out) and JSON Lines are told apart by their content, not
by their name. A byte order mark, Windows line ends and empty lines are fine.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune.errors import RequestError, explain_os_error

_WHITE = " \t\r\n"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Row:
    """One row as it stands in a file."""

    value: Any
    file: str
    line: int
    """Line of the row's first character, counted from 1."""


def read(path: Path) -> Iterator[Row]:
    """The rows of a file, in order.

    Raises RequestError, naming the line, for a file that is missing, unreadable, not UTF-8,
    not JSON, or without rows.
    """
    text = _decode(_read_bytes(path), path)
    begin = _skip_white(text, 0)
    if begin == len(text):
        raise RequestError(f"{path} is empty.", "It has to hold rows, as JSON or JSON Lines.")
    if text[begin] == "[":
        return _read_list(text, begin, path)
    return _read_lines(text, path)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RequestError(f"There is no file {path}.") from None
    except IsADirectoryError:
        inside = sorted(path.glob("*.json*"))
        raise RequestError(
            f"{path} is a directory, not a file with rows.",
            f"Name a file in it, e.g. {inside[0]}." if inside else "",
        ) from None
    except OSError as error:
        raise RequestError(explain_os_error(error, f"reading {path}").message) from None


def _decode(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data[:2] == b"\x1f\x8b":
            raise RequestError(f"{path} is compressed (gzip).", "Unpack it first.") from None
        # Its object and positions are those of the text behind a byte order mark.
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RequestError(
            f"{path}, line {line}: the text is not UTF-8 (byte 0x{error.object[error.start]:02x}).",
            "Save the file as UTF-8.",
        ) from None


def _skip_white(text: str, position: int) -> int:
    while position < len(text) and text[position] in _WHITE:
        position += 1
    return position


def _read_list(text: str, begin: int, path: Path) -> Iterator[Row]:
    line, counted = 1, 0
    position = _skip_white(text, begin + 1)
    if text[position : position + 1] == "]":
        raise RequestError(f"{path} holds an empty list.", "It has to hold at least one row.")
    while True:
        line, counted = line + text.count("\n", counted, position), position
        value, position = _parse(text, position, path, 1)
        yield Row(value, str(path), line)
        position = _skip_white(text, position)
        mark = text[position : position + 1]
        if mark == ",":
            position = _skip_white(text, position + 1)
        elif mark == "]":
            break
        elif not mark:
            raise _broken(text, position, path, 1, "the list of rows is cut off: no `]` at its end")
        else:
            raise _broken(text, position, path, 1, "a comma or `]` is missing after a row")
    position = _skip_white(text, position + 1)
    if position < len(text):
        raise _broken(text, position, path, 1, "there is more text after the list of rows")


def _read_lines(text: str, path: Path) -> Iterator[Row]:
    start, number = 0, 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        content = text[start:end]
        start, number = end + 1, number + 1
        position = _skip_white(content, 0)
        if position == len(content):
            continue
        try:
            value, position = _parse(content, position, path, number)
        except RequestError:
            _refuse_one_object(text, path)
            raise
        position = _skip_white(content, position)
        if position < len(content):
            raise _broken(content, position, path, number, "there is more text after the row")
        yield Row(value, str(path), number)


def _refuse_one_object(text: str, path: Path) -> None:
    """Raises RequestError if the whole text is a single JSON object over several lines."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    lists = [f"`{key}`" for key, item in value.items() if isinstance(item, list)]
    inside = f" (its rows may be those in {', '.join(lists)})" if lists else ""
    raise RequestError(
        f"{path} holds one object, not a list of rows{inside}.",
        "Put the rows into one list `[…]`, or every row on a line of its own.",
    )


def _parse(text: str, position: int, path: Path, first_line: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        reason = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
        raise _broken(text, error.pos, path, first_line, reason) from None
    except RecursionError:
        raise _broken(text, position, path, first_line, "the row is nested too deeply") from None
    except ValueError as error:
        raise _broken(text, position, path, first_line, str(error)) from None


def _broken(text: str, position: int, path: Path, first_line: int, reason: str) -> RequestError:
    line = first_line + text.count("\n", 0, position)
    column = position - text.rfind("\n", 0, position)
    return RequestError(f"{path}, line {line}, column {column}: broken JSON: {reason}.")
