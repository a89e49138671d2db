"""Rows of JSON that go over lines: a list of rows, or objects one after the other.

Such text is read piece by piece: what is in memory is a row, not the file. Where a row is broken,
reading goes on with the next line that is indented as the rows are.
"""

import codecs
import json
import re
from collections.abc import Generator, Iterator
from typing import Any

from edgetune.data.conversation import Finding
from edgetune.data.readers import rows
from edgetune.data.readers.json_parser import Parser, explain, shown_key, skip_white
from edgetune.data.readers.rows import Row, broken, not_text, too_long

WRAPPERS = (
    "data", "dataset", "rows", "examples", "instances", "items", "records", "samples",
    "train", "training", "validation", "valid", "dev", "test", "eval",
)  # fmt: skip
"""Keys of an object that holds the rows of a file in a list."""

_HALF = re.compile("[\ud800-\udfff]")
_NUL = "\udc00"
_PIECE = 1 << 15
_LOOK_AHEAD = 16  # longer than any piece of JSON that says something else when it is cut


class Text:
    """Text that comes in chunks, with a place in it. What lies before the place is let go.

    Bytes that are not UTF-8, and NUL bytes, stand in it as lone surrogates (U+DC80 to U+DCFF,
    U+DC00), so that they do not keep the text around them from being read.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._pieces = _pieces(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text = ""
        self.at = 0
        self.line = 1
        """Line of the place."""
        self.indent: str | None = ""
        """White space that is all there is before the place in its line; None if there is more."""
        self.ended = False
        """Whether all of it was read."""
        self.clean = True
        """Whether all of it so far is UTF-8 without NUL bytes."""

    def fill(self) -> bool:
        """Read on, at least as much as lies behind the place; False if there is no more."""
        if self.ended:
            return False
        parts = [self.text[self.at :]]
        got = 0
        while not self.ended and (got == 0 or got < len(parts[0])):
            piece = next(self._pieces, None)
            self.ended = piece is None
            part = self._decoder.decode(piece or b"", final=self.ended)
            if "\0" in part:
                part = part.replace("\0", _NUL)
            if self.clean and not part.isascii() and _HALF.search(part):
                self.clean = False
            got += len(part)
            parts.append(part)
        self.text, self.at = "".join(parts), 0
        return True

    def move(self, to: int) -> None:
        """Go on to a place behind a value or a mark."""
        self.line += self.text.count("\n", self.at, to)
        self.at = to
        self.indent = None

    def peek(self) -> str:
        """The next character that is not white space, "" at the end; goes there."""
        while True:
            start, end = self.at, skip_white(self.text, self.at)
            if start < end:
                indent = self.indent
                white = self.text[start:end]
                self.move(end)
                first = white.rfind("\n") + 1
                self.indent = white[first:] if first else None if indent is None else indent + white
            if end < len(self.text):
                return self.text[end]
            if not self.fill():
                return ""

    def next_line(self, start: str) -> bool:
        """Go to the beginning of the next line that begins with ``start``, if there is one."""
        while True:
            found = self.text.find("\n" + start, self.at)
            if found >= 0:
                self.move(found + 1)
                self.indent = ""
                return True
            self.move(max(self.at, len(self.text) - len(start)))
            if not self.fill():
                return False


def _pieces(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Small pieces: json counts the lines of all the text it has for every error."""
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            yield chunk[start : start + _PIECE]


def read_list(text: Text, file: str) -> Generator[Row | Finding, None, bool]:
    """The rows of a list; the text stands before its ``[``. Returns whether its end was found."""
    values = _Values(text, file)
    text.peek()
    text.move(text.at + 1)
    comma = False
    while mark := text.peek():
        if mark == "]":
            if comma:
                yield _fault("there is a comma before the `]` that ends the list", file, text.line)
            text.move(text.at + 1)
            return True
        if mark == ",":
            yield _fault("there is a comma too many in the list of rows", file, text.line)
            text.move(text.at + 1)
            comma = True
            continue
        good = yield from values.next()
        if good is None:
            return False
        comma = False
        mark = text.peek()
        if mark == ",":
            text.move(text.at + 1)
            comma = True
        elif good and mark and mark != "]":
            yield _fault("a comma or `]` is missing before this", file, text.line)
    yield _fault("the list of rows is cut off: there is no `]` at its end", file, text.line)
    return False


def read_objects(text: Text, file: str) -> Iterator[Row | Finding]:
    """The rows of objects that stand one after the other, each over several lines."""
    values = _Values(text, file)
    while text.peek():
        if (yield from values.next()) is None:
            return


def read_wrapped(text: Text, file: str) -> Iterator[Row | Finding]:
    """The rows in a list that is a value of the one object of a file (``WRAPPERS``)."""
    parser = Parser(file)
    chosen = ""
    text.peek()
    text.move(text.at + 1)
    while True:
        mark = text.peek()
        if mark == ",":
            text.move(text.at + 1)
            continue
        if mark == "}":
            text.move(text.at + 1)
            break
        key = _whole_value(text, parser)
        if not isinstance(key, str) or text.peek() != ":":
            yield _fault("broken JSON: the object around the rows is damaged here", file, text.line)
            return
        text.move(text.at + 1)
        if text.peek() != "[" or key not in WRAPPERS:
            if _whole_value(text, parser) is _NOTHING:
                yield _fault(f"broken JSON: the value of `{shown_key(key)}`", file, text.line)
                return
        elif not chosen:
            chosen = key
            message = f"the file is one object; its rows are those of the list `{key}`"
            yield Finding("note", "wrapped", message, file)
            if not (yield from read_list(text, file)):
                return
        else:
            line = text.line
            more = sum(isinstance(item, Row) for item in read_list(text, file))
            message = (
                f"the {more:,} rows in the list `{key}` are not read, only those in `{chosen}`"
            )
            yield Finding("warning", "wrapped", message, file, line)
    yield from the_end(text, file)


def the_end(text: Text, file: str) -> Iterator[Finding]:
    """An error unless nothing comes any more."""
    if text.peek():
        yield _fault("there is more text after the list of rows", file, text.line)


_NOTHING = object()


def _whole_value(text: Text, parser: Parser) -> Any:
    """The value at the place, which is passed; ``_NOTHING`` if there is none."""
    while True:
        try:
            value, end = parser.parse(text.text, text.at)
        except json.JSONDecodeError as error:
            if _may_go_on(text, error) and text.fill():
                continue
            return _NOTHING
        except ValueError:
            return _NOTHING
        if len(text.text) - end < _LOOK_AHEAD and text.fill():
            continue
        text.move(end)
        return value


def _may_go_on(text: Text, error: json.JSONDecodeError) -> bool:
    """Whether an error may come from the text not being read any further."""
    if len(text.text) - text.at > rows.LONGEST_ROW:
        return False
    return len(error.doc) - error.pos < _LOOK_AHEAD or error.msg.startswith("Unterminated string")


class _Values:
    """Reads rows one after the other, and finds the next one after one that is broken."""

    def __init__(self, text: Text, file: str) -> None:
        self.text = text
        self.file = file
        self.parser = Parser(file)
        self.start = ""
        """How a line with a row begins: indentation and ``{``; "" if rows begin within lines."""
        self.nested = False
        """Whether lines inside a row begin like that as well."""

    def next(self) -> Generator[Row | Finding, None, bool | None]:
        """The row at the place. Returns whether it is one, or None if nothing more can be read:
        it is not known where the next row would begin."""
        text = self.text
        opening = text.peek()
        line, indent = text.line, text.indent
        while True:
            try:
                value, end = self.parser.parse(text.text, text.at)
            except json.JSONDecodeError as error:
                if _may_go_on(text, error) and text.fill():
                    continue
                reason = self._reason(error, line)
            except ValueError as error:
                reason = str(error)
            else:
                # At the end of what was read a number may go on.
                if len(text.text) - end < _LOOK_AHEAD and text.fill():
                    continue
                yield self._row(value, end, line, indent)
                return True
            break
        size = len(text.text) - text.at
        yield (
            too_long(self.file, line)
            if size > rows.LONGEST_ROW
            else broken(reason, self.file, line)
        )
        start = self.start or (indent or "") + (opening if opening in "{[" else "{")
        surely = bool(self.start) or bool(indent)
        if not surely or self.nested:
            message = "the rows after it cannot be read, as it is not clear where the next begins"
            yield _fault(message, self.file, line)
            return None
        return False if text.next_line(start) else None

    def _row(self, value: Any, end: int, line: int, indent: str | None) -> Row | Finding:
        text = self.text
        start = text.at
        begins = "" if indent is None else indent + text.text[start]
        if begins != self.start or not self.nested:
            self.nested = bool(begins) and text.text.find("\n" + begins, start, end) >= 0
        self.start = begins if text.text[start] in "{[" else ""
        if not text.clean and _HALF.search(text.text, start, end):
            raw = text.text[start:end].replace(_NUL, "\0")
            item: Row | Finding | None = not_text(
                raw.encode("utf-8", "surrogateescape"), self.file, line
            )
        else:
            item = None
        if item is None:
            item = self.parser.row(value, text.text, start, end, line)
        text.move(end)
        return item

    def _reason(self, error: json.JSONDecodeError, line: int) -> str:
        place = line + error.doc.count("\n", self.text.at, error.pos)
        column = error.pos - error.doc.rfind("\n", 0, error.pos)
        if place == line:
            return f"broken JSON: {explain(error)}"
        return f"broken JSON in line {place}, column {column}: {explain(error)}"


def _fault(message: str, file: str, line: int) -> Finding:
    """An error between rows, for which none of them is left out."""
    return Finding("error", "broken", message, file, line)
