"""JSON -> rows: one row a line, a list of rows, or objects one after the other.

A row that is broken is said and left out, and reading goes on where the next row surely begins.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from edgetune.data.conversation import Finding
from edgetune.data.parsing.recognition import is_row
from edgetune.data.readers import json_lists
from edgetune.data.readers.json_parser import Parser, explain, skip_white
from edgetune.data.readers.rows import Row, broken, not_text, too_long
from edgetune.data.readers.streams import lines
from edgetune.errors import RequestError

_HOPELESS = 100  # so many broken lines at the beginning of a file, and it is no JSON Lines
_BOM = "\ufeff"


def read(chunks: Iterator[bytes], text: str, whole: bool, file: str) -> Iterator[Row | Finding]:
    """The rows of a file that begins with ``text``; ``whole``: whether that is all of it.

    Raises RequestError for a file that holds columns, or nothing at all like rows.
    """
    how = layout(text, whole, file)
    if how == "lines":
        yield from read_lines(chunks, file)
        return
    pieces = json_lists.Text(chunks)
    if how == "objects":
        yield from json_lists.read_objects(pieces, file)
    elif how == "wrapped":
        yield from json_lists.read_wrapped(pieces, file)
    elif (yield from json_lists.read_list(pieces, file)):
        yield from json_lists.the_end(pieces, file)


def layout(text: str, whole: bool, file: str) -> str:
    """How the rows of a file lie that begins with ``text``: lines, list, objects or wrapped.

    ``whole``: whether that is all of the file. Raises RequestError for objects of columns.
    """
    parser = Parser(file)
    start = skip_white(text, 0)
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    before = _before_rows(text, start, parser) if text.startswith("{", start) else None
    wrapped = before is not None and not is_row(before)
    try:
        value, end = parser.parse(text, start)
    except json.JSONDecodeError as error:
        if text.startswith("[", start):
            return "list"
        if wrapped:
            return "wrapped"
        # The first line goes on in the next one, which is no row of its own.
        return "objects" if error.pos > line_end and not _row_in(text, line_end) else "lines"
    except ValueError:
        return "list" if text.startswith("[", start) else "lines"
    rest = skip_white(text, end)
    if text.startswith("[", start):
        return "lines" if end <= line_end < rest and text[rest : rest + 1] == "[" else "list"
    if rest == len(text) and whole and isinstance(value, dict):
        if wrapped and not is_row(value):
            return "wrapped"
        _refuse_columns(value, file)
    return "lines" if end <= line_end else "objects"


def _before_rows(text: str, at: int, parser: Parser) -> dict[str, Any] | None:
    """What stands in the object at a place up to a list of objects under one of the names of such
    lists, which is there as well, with nothing in its objects; None where there is no such list,
    or something before it cannot be read."""
    before: dict[str, Any] = {}
    at = skip_white(text, at + 1)
    while text.startswith('"', at):
        try:
            key, at = parser.parse(text, at)
            at = skip_white(text, at)
            if not text.startswith(":", at):
                return None
            at = skip_white(text, at + 1)
            if key in json_lists.WRAPPERS and text.startswith("[", at):
                rows = text.startswith("{", skip_white(text, at + 1))
                return before | {key: [{}]} if rows else None
            before[key], at = parser.parse(text, at)
        except ValueError:
            return None
        at = skip_white(text, at)
        if not text.startswith(",", at):
            return None
        at = skip_white(text, at + 1)
    return None


def _row_in(text: str, line_end: int) -> bool:
    """Whether the line after a place is a whole object."""
    start = skip_white(text, line_end)
    end = text.find("\n", start)
    try:
        return isinstance(json.loads(text[start : end if end >= 0 else len(text)]), dict)
    except (ValueError, RecursionError):
        return False


def _are_numbers(table: dict[str, Any]) -> bool:
    return bool(table) and list(table) == [str(number) for number in range(len(table))]


def _refuse_columns(value: dict[str, Any], file: str) -> None:
    """Raises RequestError if the one object of a file holds columns instead of being a row."""
    inner = list(value.values())
    lists = [item for item in inner if isinstance(item, list)]
    tables = [item for item in inner if isinstance(item, dict)]
    if (
        len(inner) > 1
        and len(lists) == len(inner)
        and len({len(item) for item in lists}) == 1
        and all(isinstance(item, str) for column in lists for item in column)
    ):
        found = "lists, one for every column"
    elif len(tables) == len(inner) and (
        _are_numbers(value) or (tables and all(map(_are_numbers, tables)))
    ):
        found = "objects under numbers, as pandas writes a table"
    elif isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        found = "`columns` and `data`, as pandas writes a table"
    else:
        return
    raise RequestError(
        f"{file} holds one object of {found}, not rows.",
        "Write it as rows: `to_json(file, orient='records', lines=True)` in pandas.",
    )


def read_lines(chunks: Iterator[bytes], file: str) -> Iterator[Row | Finding]:
    """JSON Lines: every line a row. Raises RequestError if nothing at the beginning is."""
    parser = Parser(file)
    bad, good = 0, False
    for number, line in enumerate(lines(chunks), 1):
        if line is None:
            yield too_long(file, number)
            continue
        if not line or line.isspace():
            continue
        item = _line(parser, line, number)
        if isinstance(item, Row):
            good = True
        elif not good and item.kind == "broken":
            bad += 1
            if bad == _HOPELESS:
                raise RequestError(
                    f"{file} is not JSON Lines: none of its first {bad} lines is a row "
                    f"({item.message}).",
                    "Every line has to hold one row as JSON, or the file one list of rows.",
                )
        yield item


def _line(parser: Parser, line: bytes, number: int) -> Row | Finding:
    problem: Finding | None
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        problem = not_text(line, parser.file, number)
        assert problem is not None
        return problem
    marked = text[0] == _BOM  # of a file that was put behind another one
    text = text[1:] if marked else text
    start = skip_white(text, 0)
    try:
        value, end = parser.parse(text, start)
        after = skip_white(text, end)
        if after < len(text):
            raise json.JSONDecodeError("Extra data", text, after)
    except json.JSONDecodeError as error:
        return broken(
            f"broken JSON in column {error.pos + 1}: {explain(error)}", parser.file, number
        )
    except ValueError as error:
        return broken(str(error), parser.file, number)
    item = parser.row(value, text, start, end, number)
    if not marked or not isinstance(item, Row):
        return item
    mark = Finding("note", "bom", "the line begins with a byte order mark", item.file, number)
    return replace(item, findings=(*item.findings, mark))
