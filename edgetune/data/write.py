"""Conversations -> files of chat rows (JSON Lines), which appear whole or not at all.

Rows wait in a file without a name until it is known which of them go where: reading is done
once, whatever is read, and memory holds a few numbers per row.
"""

import gzip
import json
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgetune import paths
from edgetune.config import SourceConfig
from edgetune.data import reading
from edgetune.data.conversation import Conversation, Finding, content_digest
from edgetune.data.parsing.chat_json import to_json
from edgetune.data.split import stack

Progress = Callable[[str, float], None]
"""Called with what is being done and which part of it is."""

_OFTEN = 1000
# Rows between two words on the progress.


def to_line(conversation: Conversation) -> bytes:
    """A conversation as a chat row with its line end."""
    text = json.dumps(to_json(conversation), ensure_ascii=False)
    return text.encode() + b"\n"


@dataclass
class Collected:
    """All rows of some sources: the rows on the disk, and of each what decides where it goes."""

    _rows: IO[bytes]
    _ends: array = field(default_factory=lambda: array("Q", [0]))
    digests: np.ndarray = field(default_factory=lambda: stack(()))
    """uint8 (rows, 16)"""
    tasks: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    sources: array = field(default_factory=lambda: array("L"))
    """The number of each row's source."""
    files: list[reading.FileSummary] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    _where: list[str] = field(default_factory=list)
    _numbers: array = field(default_factory=lambda: array("Q"))

    def __len__(self) -> int:
        return len(self.tasks)

    def place(self, row: int) -> tuple[str, int]:
        """File and line of a row."""
        return self._where[row], self._numbers[row]

    def line(self, row: int) -> bytes:
        """A row as it is written."""
        begin, end = self._ends[row], self._ends[row + 1]
        self._rows.seek(begin)
        return self._rows.read(end - begin)


@contextmanager
def collect(
    sources: Sequence[SourceConfig],
    folder: Path | None,
    seed: int = 0,
    group: str = "",
    progress: Progress | None = None,
) -> Iterator[Collected]:
    """Read ``sources`` to their end; the rows wait on the disk of ``folder`` (None: where
    temporary files lie) and are gone afterwards. Raises RequestError for a source that cannot be
    read at all."""
    while folder is not None and not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder) as file:
        collected = Collected(file)
        names: dict[str, str] = {}  # one text for all rows that have it
        digests = bytearray()
        for number, source in enumerate(sources):
            for item in reading.read(source, group, progress):
                if isinstance(item, Conversation):
                    file.write(line := to_line(item))
                    collected._ends.append(collected._ends[-1] + len(line))
                    digests += content_digest(item, seed)
                    collected.tasks.append(names.setdefault(item.task, item.task))
                    collected.groups.append(names.setdefault(item.group, item.group))
                    collected.sources.append(number)
                    collected._where.append(names.setdefault(item.file, item.file))
                    collected._numbers.append(item.line)
                elif isinstance(item, Finding):
                    collected.findings.append(item)
                else:
                    collected.files.append(item)
        collected.digests = stack((bytes(digests),))
        yield collected


def write(
    files: Mapping[Path, Iterable[int]], collected: Collected, progress: Progress | None = None
) -> list[int]:
    """Write into each file these rows, in this order, compressed if it is named ``.gz`` or
    ``.zst``; returns how many. Files that were there before are replaced at the very end."""
    counts = []
    with ExitStack() as stack:
        for path, rows in files.items():
            temporary = stack.enter_context(paths.atomic_file(path))
            with temporary.open("wb") as plain, compressed(plain, path.suffix.lower()) as file:
                counts.append(write_to(file, collected, rows, progress))
    return counts


def write_to(
    file: Any, collected: Collected, rows: Iterable[int], progress: Progress | None = None
) -> int:
    """Write these rows, in this order, into an open file; returns how many."""
    number = 0
    for number, row in enumerate(rows, 1):
        file.write(collected.line(row))
        if progress is not None and number % _OFTEN == 0:
            progress("writing", min(number / max(len(collected), 1), 1.0))
    return number


@contextmanager
def compressed(file: IO[bytes], suffix: str) -> Iterator[Any]:
    """What is written comes into ``file`` as its name's ``suffix`` says, and the same bytes for
    the same rows: neither name nor time go in."""
    if suffix == ".gz":
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            yield packed
    elif suffix == ".zst":
        import zstandard

        with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as writer:
            yield writer
    else:
        yield file
