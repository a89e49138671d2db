"""Tables of text (CSV, TSV) -> rows: one dictionary of texts per record, by the header's names."""

import csv
import re
from collections import deque
from collections.abc import Iterator

from edgetune.data.conversation import Finding
from edgetune.data.readers import rows
from edgetune.data.readers.rows import Row, broken, left_out, not_text, too_long
from edgetune.data.readers.streams import lines
from edgetune.errors import RequestError

DELIMITERS = (",", ";", "\t")
_NAME = re.compile(r"\w{1,30}(?:[ ._/:-]\w{1,30}){0,3}\Z")
_NO_NAME = re.compile(r"\s*\Z|[-+]?[\d.,]+\Z|.{100}|.*[?!.]\Z", re.DOTALL)
_READ_AGAIN = 10_000  # lines


def delimiter(text: str) -> tuple[str, bool]:
    """What separates the fields of a table that begins with ``text``, and whether it looks like
    one: names of columns, and as many fields in the next record."""
    best, records = ",", _records(text, ",")
    for mark in DELIMITERS[1:]:
        other = _records(text, mark)
        if other and (not records or len(other[0]) > len(records[0])):
            best, records = mark, other
    looks = (
        len(records) == 2
        and len(records[0]) == len(records[1]) > 1
        and all(_NAME.match(name) for name in records[0] if name)
    )
    return best, looks


def _records(text: str, mark: str) -> list[list[str]]:
    """The first two records that hold something; less where the text is no table."""
    found: list[list[str]] = []
    try:
        for record in csv.reader(text[: 1 << 16].splitlines(True), delimiter=mark):
            if record:
                found.append([field.strip() for field in record])
            if len(found) == 2:
                break
    except csv.Error:
        pass
    return found


def read(chunks: Iterator[bytes], file: str, mark: str) -> Iterator[Row | Finding]:
    """The rows of a table with a header. Raises RequestError for a header that names nothing, or
    one thing twice."""
    csv.field_size_limit(rows.LONGEST_ROW)  # of the whole process, as csv has it
    feed = _Lines(chunks)
    reader = csv.reader(feed, delimiter=mark, strict=True)
    names: list[str] = []
    while True:
        line = feed.begin()
        problem: Finding | None = None
        try:
            record = next(reader)
        except StopIteration:
            return
        except _TooLong:
            problem = too_long(file, line)
        except csv.Error as error:
            problem = broken(f"broken table: {_explain(error, mark)}", file, line)
        if problem:
            if not names:
                raise RequestError(f"{file}, line {line}: {problem.message}, in the header.")
            lost = feed.go_back()
            if lost:
                message = f"{problem.message}; lines {line} to {lost} are lost with it"
                problem = left_out(problem.kind, message, file, line)
            yield problem
            continue
        if not record or (len(record) == 1 and len(names) != 1 and not record[0].strip()):
            continue
        if not feed.clean:
            problem = not_text(feed.taken_bytes(), file, line)
            if problem and not names:
                raise RequestError(f"{file}, line {line}: {problem.message}.", "Save it as UTF-8.")
        if problem:
            yield problem
        elif not names:
            names = _header(record, file, line)
            unnamed = [str(number) for number, name in enumerate(names, 1) if not name]
            if unnamed:
                message = f"column {', '.join(unnamed)} has no name and is left out"
                yield Finding("note", "unnamed-column", message, file, line)
        elif len(record) != len(names):
            message = f"the row has {len(record)} fields, the header {len(names)}"
            yield broken(message, file, line)
        else:
            value = dict(zip(names, record, strict=True))
            value.pop("", None)
            yield Row(value, file, line)


def _header(record: list[str], file: str, line: int) -> list[str]:
    names = [name.strip() for name in record]
    if all(_NO_NAME.match(name) for name in names):
        shown = ", ".join(f"`{name[:40]}`" for name in names[:4])
        raise RequestError(
            f"{file} has no header: its first line holds {shown}, which name no columns.",
            "The first line of a table has to name the columns, e.g. `instruction,output`.",
        )
    for name in names:
        if name and names.count(name) > 1:
            raise RequestError(
                f"{file}, line {line}: two columns have the name `{name[:80]}`.",
                "Give every column a name of its own.",
            )
    return names


def _explain(error: csv.Error, mark: str) -> str:
    reason = str(error)
    if "unexpected end of data" in reason:
        return "a quote that opens in this row is never closed"
    if "expected after" in reason:
        shown = "a tab" if mark == "\t" else f"`{mark}`"
        return f"after a closing quote there is something else than {shown} or the line's end"
    if "new-line character" in reason:
        return "there is a carriage return inside a field without quotes"
    return reason


class _TooLong(Exception):
    pass


class _Lines:
    """The lines that the csv module asks for, and those of the record that it is at."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._lines = lines(chunks)
        self._taken: list[bytes | None] = []
        self._waiting: deque[bytes | None] = deque()
        self._size = 0
        self._line = 0
        self._again = 0
        self.clean = True
        """Whether the record is UTF-8 without NUL bytes."""

    def begin(self) -> int:
        """Begin with the next record; returns its line."""
        self._taken.clear()
        self._size = 0
        self.clean = True
        return self._line + 1

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._lines)
        self._line += 1
        self._taken.append(line)
        self._size += len(line or b"")
        if line is None or self._size > rows.LONGEST_ROW:
            raise _TooLong
        if line.endswith(b"\r"):
            line = line[:-1]
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self.clean = False
            text = line.decode("utf-8", "surrogateescape")
        if "\0" in text:
            self.clean = False
            text = text.replace("\0", " ")
        return text + "\n"

    def taken_bytes(self) -> bytes:
        return b"\n".join(line or b"" for line in self._taken)

    def go_back(self) -> int:
        """After a record that cannot be read: go on with the line after its first one, or, where
        that happened too often, after its last one, whose number is returned (else 0)."""
        back = len(self._taken) - 1
        if back == 0:
            return 0
        if self._again + back > 2 * self._line + _READ_AGAIN:  # else time grows with the square
            return self._line
        self._again += back
        self._waiting.extendleft(reversed(self._taken[1:]))
        self._line -= back
        return 0
