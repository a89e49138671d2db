"""Plain text -> rows: what stands between blank lines is one row, ``{"text": …}``."""

from collections.abc import Iterator

from edgetune.data.conversation import Finding
from edgetune.data.readers import rows
from edgetune.data.readers.rows import Row, not_text, too_long
from edgetune.data.readers.streams import lines


def read(chunks: Iterator[bytes], file: str) -> Iterator[Row | Finding]:
    """The paragraphs of a text."""
    parts: list[bytes] = []
    first, size = 1, 0
    number = 0
    for number, line in enumerate(lines(chunks), 1):
        if line is not None and (not line or line.isspace()):
            if parts:
                yield _row(parts, size, file, first)
            parts, size = [], 0
            continue
        if not parts:
            first = number
        size += rows.LONGEST_ROW + 1 if line is None else len(line)
        # Of a paragraph that is too long nothing needs to be kept.
        parts = [*parts[:1], b""] if size > rows.LONGEST_ROW else parts
        parts.append((line or b"").removesuffix(b"\r"))
    if parts:
        yield _row(parts, size, file, first)


def _row(parts: list[bytes], size: int, file: str, line: int) -> Row | Finding:
    if size > rows.LONGEST_ROW:
        return too_long(file, line)
    data = b"\n".join(parts)
    return not_text(data, file, line) or Row({"text": data.decode()}, file, line)
