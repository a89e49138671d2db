"""Files -> raw rows that know their file and line.

What a file holds is told from its content: JSON (a list of rows, however it is laid out, or the
rows of an object that wraps a list), JSON Lines, a table (CSV, TSV), Parquet or plain text, each
of them possibly compressed with gzip or zstd. Only where the content leaves it open, as between
a table and plain text, does the name decide. Files are read piece by piece, never whole.
"""

import hashlib
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from edgetune import hub, paths
from edgetune.config import SourceConfig
from edgetune.data.conversation import Finding
from edgetune.data.readers import csv_rows, json_rows, kinds, layout, parquet_rows, text_rows
from edgetune.data.readers.rows import FileRead, Row
from edgetune.data.readers.streams import CHUNK, Damaged, Stream
from edgetune.data.task_file import files_behind, is_task_file
from edgetune.errors import RequestError, explain_os_error

__all__ = ["FileRead", "Found", "Row", "find", "find_files", "read_rows"]

_BOM = b"\xef\xbb\xbf"
_HUB_PREFIX = "hf:"


@dataclass(frozen=True)
class Found:
    """The files of a source."""

    files: tuple[Path, ...]
    findings: tuple[Finding, ...] = ()
    """What of it is not read, and why."""
    revision: str = ""
    """Of a Hugging Face dataset: the commit."""


def find_files(source: SourceConfig) -> list[Path]:
    """The files of a source, see ``find``."""
    return list(find(source).files)


def find(source: SourceConfig) -> Found:
    """The files of a source: itself, those of a directory or of a Hugging Face dataset, or what
    comes from standard input (``-``), kept in a file.

    Of a directory with files for training, validation and test, those of ``source.split`` are
    taken. Raises RequestError for a source that is not there or holds nothing.
    """
    if source.path == "-":
        return Found((kept_input("-"),))
    if source.path.startswith(_HUB_PREFIX):
        return _from_hub(source, source.path.removeprefix(_HUB_PREFIX))
    path = Path(source.path).expanduser()
    if path.is_dir():
        return _in_directory(path, source)
    if path.is_file():
        return Found((path,))
    if path.exists():  # a pipe, as `<(…)` of a shell makes one
        return Found((kept_input(str(path)),))
    is_file_name = kinds.bare_suffix(path.name) in kinds.DATA_NAMES
    if hub.is_name(source.path) and not is_file_name:
        return _from_hub(source, source.path)
    raise RequestError(
        f"There is no file {path}.",
        "Name a file with rows, a directory, `-` for standard input, or a Hugging Face dataset "
        "such as `tatsu-lab/alpaca`.",
    )


def _from_hub(source: SourceConfig, name: str) -> Found:
    dataset = hub.resolve_dataset(name, source.revision, source.subset, source.split)
    notes = [Finding("note", "skipped", message, source.path) for message in dataset.notes]
    return Found(tuple(dataset.files), tuple(notes), dataset.revision)


def _in_directory(folder: Path, source: SourceConfig) -> Found:
    names: list[str] = []
    empty: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            (names if path.stat().st_size else empty).append(name)
    tasks, behind = _tasks_in(folder, names)
    choice = layout.choose_local(
        [name for name in names if name not in behind], source.split, source.path, tasks
    )
    notes = list(choice.notes)
    if empty:
        notes.append(f"{layout.listed(empty)}: empty, not read")
    findings = [Finding("note", "skipped", message, source.path) for message in notes]
    return Found(tuple(folder / name for name in choice.files), tuple(findings))


def _tasks_in(folder: Path, names: list[str]) -> tuple[list[str], set[str]]:
    """The task files among the files of a directory, and they with those that hold their rows."""
    tasks = [name for name in names if is_task_file(folder / name, sure=True)]
    behind = {file.resolve() for name in tasks for file in files_behind(folder / name)}
    return tasks, {name for name in names if behind and (folder / name).resolve() in behind}


@cache  # it can be read once only
def kept_input(path: str) -> Path:
    """A file with all that comes from a pipe (``-``: standard input), named by its content, so
    that it can be read again, also by a later run."""
    what = "standard input" if path == "-" else path
    if path == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise RequestError(
            "Nothing comes from standard input.", "Pipe rows into it: `… | edgetune train -`."
        )
    folder = paths.home() / "stdin"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{uuid.uuid4().hex}.tmp"
        try:
            with part.open("wb") as file, _pipe(path) as pipe:
                digest = hashlib.sha256()
                while chunk := pipe.read(CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
                size = file.tell()
            if not size:
                raise RequestError(f"Nothing comes from {what}.", "It has to hold rows.")
            return part.replace(folder / digest.hexdigest())
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise explain_os_error(error, f"keeping {what}") from None


def _pipe(path: str) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb")


def read_rows(
    path: Path, progress: Callable[[int], None] | None = None
) -> Iterator[Row | Finding | FileRead]:
    """The rows of a file in their order, a finding for each row that cannot be read and for what
    else there is to say, and at last what was read.

    ``progress`` is called with the bytes of the file read so far. Raises RequestError for a file
    that cannot be read, is of no known kind or holds no rows.
    """
    file = str(path)
    given, line, errors = 0, 0, 0
    with Stream(path, progress) as stream:
        try:
            for item in _items(stream, path, file):
                line = max(line, item.line)
                given += isinstance(item, Row)
                errors += isinstance(item, Finding) and item.grade == "error"
                yield item
        except Damaged as damage:
            if not line:
                raise RequestError(f"{file}: {damage}.", "Fetch or write it again.") from None
            message = f"{damage}; what follows line {line} is lost"
            errors += 1
            yield Finding("error", "broken", message, file, line)
        if not given and not errors:
            raise RequestError(f"{file} holds no rows.", "It has to hold at least one.")
        yield FileRead(file, stream.sha256(), given, stream.bytes)


def _items(stream: Stream, path: Path, file: str) -> Iterator[Row | Finding]:
    window, rest, whole = _begin(stream.chunks())
    if window.startswith(kinds.PARQUET):
        yield from _parquet(stream, path, file, chain([window], rest))
        return
    if whole and not window.removeprefix(_BOM).strip():
        raise RequestError(f"{file} is empty.", "It has to hold rows.")
    kinds.refuse_others(window, file)
    if window.startswith(_BOM):
        yield Finding("note", "bom", "the file begins with a byte order mark", file)
        window = window[len(_BOM) :]
    if windows := window.count(b"\r\n"):
        whose = "its lines" if windows == window.count(b"\n") else "some of its lines"
        message = f"{whose} end as on Windows (CRLF); that changes nothing"
        yield Finding("note", "crlf", message, file)
    text = window.decode("utf-8", "replace")
    chunks = chain([window], rest)
    match kinds.kind(text, path.name):
        case "json":
            yield from json_rows.read(chunks, text, whole, file)
        case "table":
            yield from csv_rows.read(chunks, file, csv_rows.delimiter(text)[0])
        case _:
            yield from text_rows.read(chunks, file)


def _begin(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes], bool]:
    """How data begins, what follows, and whether nothing does."""
    parts: list[bytes] = []
    size = 0
    damage: Damaged | None = None
    try:
        for chunk in chunks:
            parts.append(chunk)
            size += len(chunk)
            if size >= CHUNK:
                break
    except Damaged as error:
        damage = error
    window = b"".join(parts)
    return window, _rest(chunks, damage), size < CHUNK and damage is None


def _rest(chunks: Iterator[bytes], damage: Damaged | None) -> Iterator[bytes]:
    if damage is not None:
        raise damage
    yield from chunks


def _parquet(
    stream: Stream, path: Path, file: str, chunks: Iterator[bytes]
) -> Iterator[Row | Finding]:
    """Parquet is read from its end, so a compressed file is unpacked first."""
    if not stream.packed:
        yield from parquet_rows.read(path, file)
        return
    with tempfile.TemporaryFile() as unpacked:
        for chunk in chunks:
            unpacked.write(chunk)
        yield from parquet_rows.read(unpacked, file)
