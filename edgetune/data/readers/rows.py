"""What reading a file gives: rows, findings about rows that cannot be used, the file's digest."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgetune.data.conversation import Finding

LONGEST_ROW = 1 << 28
"""Bytes of the longest row that is read; a damaged or hostile file must not fill the memory."""
DEEPEST_ROW = 100
"""Levels of the deepest row that is read: later steps walk through a row by recursion."""


@dataclass(frozen=True)
class Row:
    """One row as it stands in a file."""

    value: Any
    """A dictionary with text keys; of JSON possibly another JSON value."""
    file: str
    line: int
    """Line of the row's first character, counted from 1; of a Parquet file the row's number."""
    findings: tuple[Finding, ...] = ()
    """What is to be said about the row, which can be used all the same."""


@dataclass(frozen=True)
class FileRead:
    """A file that was read to its end, as it lies on the disk."""

    file: str
    sha256: str
    rows: int
    """Rows that were given out; those left out each have a finding instead."""
    bytes: int


def left_out(kind: str, message: str, file: str, line: int) -> Finding:
    """An error for which a row is left out."""
    return Finding("error", kind, message, file, line, left_out=True)


def broken(message: str, file: str, line: int) -> Finding:
    return left_out("broken", message, file, line)


def too_long(file: str, line: int) -> Finding:
    return broken(f"the row is longer than {LONGEST_ROW >> 20} MB", file, line)


def not_text(data: bytes, file: str, line: int) -> Finding | None:
    """What keeps ``data``, which begins in ``line``, from being text, or None."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        place = line + data.count(b"\n", 0, error.start)
        there = f" in line {place}" if place != line else ""
        message = f"the text is not UTF-8 (byte 0x{data[error.start]:02x}{there})"
        return left_out("encoding", message, file, line)
    if b"\0" in data:
        place = line + data.count(b"\n", 0, data.index(b"\0"))
        there = f" in line {place}" if place != line else ""
        return left_out("nul", f"the text holds a NUL byte{there}", file, line)
    return None


def unusable(value: Any, file: str, line: int) -> Finding | None:
    """What no later step could work with in a parsed row, or None: text with half a character
    or a NUL, and nesting deeper than ``DEEPEST_ROW``."""
    for text, depth in _walk(value):
        if depth > DEEPEST_ROW:
            return broken(f"the row is nested deeper than {DEEPEST_ROW} levels", file, line)
        if "\0" in text:
            return left_out("nul", "the text holds a NUL character", file, line)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(text[error.start]):04x}"
            return left_out("encoding", f"the text holds half a character ({half})", file, line)
    return None


def _walk(value: Any) -> Iterator[tuple[str, int]]:
    """The texts and containers of a value ("" for a container), each with its depth."""
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, str):
            yield item, depth
        elif isinstance(item, dict):
            yield "", depth + 1
            for key, inner in item.items():
                yield key, depth
                waiting.append((inner, depth + 1))
        elif isinstance(item, list):
            yield "", depth + 1
            waiting.extend((inner, depth + 1) for inner in item)
