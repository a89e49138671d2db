"""Tokenized rows in a folder: written as a stream, read one row at a time.

A 5 GB file of rows becomes about as many bytes of tokens, so neither writing nor reading holds
them all. The folder has, little-endian:

- ``ids.bin``: int32, the token ids of all examples, one after the other
- ``spans.bin``: ``SPAN``, the stretches of trained tokens; a mask takes a few bytes that way
- ``examples.bin``: ``EXAMPLE``, where each example's ids and spans begin
- ``rows.bin``: ``ROW``, one for every conversation in the order of reading; a row that cannot be
  trained on has no examples
- ``meta.json``: names of files, tasks and groups, findings, and of the files above length
  and digest
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np

from edgetune.data.conversation import Conversation, Finding, content_digest
from edgetune.data.template import Example
from edgetune.errors import EdgetuneError

SPAN = np.dtype([("start", "<i4"), ("stop", "<i4"), ("weight", "<f4")])
EXAMPLE = np.dtype(
    [
        ("ids", "<i8"),
        ("length", "<i4"),
        ("spans", "<i8"),
        ("span_count", "<i4"),
        ("trained", "<i4"),
    ]
)
ROW = np.dtype(
    [
        ("digest", "V16"),
        ("first", "<i8"),
        ("count", "<i4"),
        ("task", "<i4"),
        ("group", "<i4"),
        ("file", "<i4"),
        ("line", "<i8"),
    ]
)

_BLOCK = 1024
# Examples that are read together.
_FILES = {"ids": np.dtype("<i4"), "spans": SPAN, "examples": EXAMPLE, "rows": ROW}


class DamagedStore(EdgetuneError):
    """A folder that is not what a writer left."""


class Writer:
    """Writes a store; the folder exists and is empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handles: dict[str, BufferedWriter] = {
            name: (folder / f"{name}.bin").open("wb") for name in _FILES
        }
        self._digests = {name: hashlib.blake2b(digest_size=16) for name in _FILES}
        self._counts = dict.fromkeys(_FILES, 0)
        self._tasks: dict[str, int] = {}
        self._groups: dict[str, int] = {}
        self._files: dict[str, int] = {}

    def add(self, conversation: Conversation, examples: Sequence[Example]) -> None:
        """Append a row; without ``examples`` one that cannot be trained on."""
        first = self._counts["examples"]
        for example in examples:
            spans = to_spans(example.weights)
            entry = (
                self._counts["ids"],
                len(example.ids),
                self._counts["spans"],
                len(spans),
                int((spans["stop"] - spans["start"]).sum()),
            )
            self._append("ids", example.ids.astype("<i4", copy=False))
            self._append("spans", spans)
            self._append("examples", np.array([entry], EXAMPLE))
        row = (
            content_digest(conversation),
            first,
            len(examples),
            self._tasks.setdefault(conversation.task, len(self._tasks)),
            self._groups.setdefault(conversation.group, len(self._groups)),
            self._files.setdefault(conversation.file, len(self._files)),
            conversation.line,
        )
        self._append("rows", np.array([row], ROW))

    def _append(self, name: str, values: np.ndarray) -> None:
        data = values.tobytes()
        self._handles[name].write(data)
        self._digests[name].update(data)
        self._counts[name] += len(values)

    def close(self, findings: Sequence[Finding], summaries: Sequence[dict[str, Any]]) -> None:
        """Finish; what is written before this is no store."""
        for handle in self._handles.values():
            handle.close()
        meta = {
            "lengths": self._counts,
            "digests": {name: digest.hexdigest() for name, digest in self._digests.items()},
            "tasks": list(self._tasks),
            "groups": list(self._groups),
            "files": list(self._files),
            "findings": [asdict(finding) for finding in findings],
            "summaries": list(summaries),
        }
        text = json.dumps(meta, ensure_ascii=True)
        seal = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        (self._folder / "meta.json").write_text(f"{seal}\n{text}", encoding="utf-8")


class Store:
    """A folder that a ``Writer`` filled. It may be deleted once this is open."""

    def __init__(self, folder: Path, check: bool = True) -> None:
        """Raises DamagedStore for a folder that is missing or not whole; with ``check`` every
        byte is compared with its digest."""
        try:
            self._open(folder, check)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedStore(f"The tokenized rows in {folder} are damaged: {error}.") from error

    def _open(self, folder: Path, check: bool) -> None:
        seal, _, text = (folder / "meta.json").read_text(encoding="utf-8").partition("\n")
        if hashlib.blake2b(text.encode(), digest_size=16).hexdigest() != seal:
            raise ValueError("meta.json is not as it was written")
        meta: dict[str, Any] = json.loads(text)
        handles: dict[str, BufferedReader] = {}
        for name, kind in _FILES.items():
            handle = handles[name] = (folder / f"{name}.bin").open("rb")
            if os.fstat(handle.fileno()).st_size != meta["lengths"][name] * kind.itemsize:
                raise ValueError(f"{name}.bin has another length")
            if check and _digest(handle) != meta["digests"][name]:
                raise ValueError(f"{name}.bin is not as it was written")
        self._ids, self._spans = handles["ids"], handles["spans"]
        self.rows = _map(handles["rows"], ROW, meta["lengths"]["rows"])
        """``ROW`` (n,), mapped from the disk."""
        self.examples = _map(handles["examples"], EXAMPLE, meta["lengths"]["examples"])
        """``EXAMPLE`` (m,), mapped from the disk."""
        self.tasks: list[str] = meta["tasks"]
        self.groups: list[str] = meta["groups"]
        self.files: list[str] = meta["files"]
        self.findings = [Finding(**values) for values in meta["findings"]]
        self.summaries: list[dict[str, Any]] = meta["summaries"]

    def __len__(self) -> int:
        """Number of rows, those without examples included."""
        return len(self.rows)

    def row(self, index: int) -> list[Example]:
        """The examples of a row."""
        first, count = int(self.rows["first"][index]), int(self.rows["count"][index])
        return [self._example(number, index) for number in range(first, first + count)]

    def blocks(self, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The ids and the spans of the examples ``numbers`` (ascending), many at a time, each one
        after the other."""
        for first in range(0, len(self.examples), _BLOCK):
            last = min(first + _BLOCK, len(self.examples))
            begin, end = np.searchsorted(numbers, (first, last))
            if begin == end:
                continue
            table = self.examples[first:last]
            id_ends, span_ends = np.cumsum(table["length"]), np.cumsum(table["span_count"])
            ids = _read(self._ids, _FILES["ids"], int(table["ids"][0]), int(id_ends[-1]))
            spans = _read(self._spans, SPAN, int(table["spans"][0]), int(span_ends[-1]))
            # Stretches of examples that follow each other, from one gap to the next.
            own = numbers[begin:end] - first
            gaps = np.flatnonzero(np.diff(own) != 1)
            for start, stop in zip(own[[0, *gaps + 1]], own[[*gaps, -1]], strict=True):
                yield (
                    ids[id_ends[start] - table["length"][start] : id_ends[stop]],
                    spans[span_ends[start] - table["span_count"][start] : span_ends[stop]],
                )

    def weights(self, number: int) -> np.ndarray:
        """The weights, float32, of the example with this number."""
        entry = self.examples[number]
        spans = _read(self._spans, SPAN, int(entry["spans"]), int(entry["span_count"]))
        return from_spans(spans, int(entry["length"]))

    def where(self, index: int) -> tuple[str, int]:
        """File and line of a row."""
        row = self.rows[index]
        return self.files[row["file"]], int(row["line"])

    def row_of(self, number: int) -> int:
        """The row that an example belongs to."""
        # Of rows that begin at the same example all but the last have none.
        return int(np.searchsorted(self.rows["first"], number, side="right")) - 1

    def _example(self, number: int, index: int) -> Example:
        entry = self.examples[number]
        file, line = self.where(index)
        return Example(
            ids=_read(self._ids, _FILES["ids"], int(entry["ids"]), int(entry["length"])),
            weights=self.weights(number),
            task=self.tasks[self.rows["task"][index]],
            file=file,
            line=line,
        )


def to_spans(weights: np.ndarray) -> np.ndarray:
    """The stretches of equal weights above 0, as ``SPAN``."""
    if not len(weights):
        return np.empty(0, SPAN)
    starts = np.concatenate([[0], np.flatnonzero(weights[1:] != weights[:-1]) + 1])
    spans = np.empty(len(starts), SPAN)
    spans["start"], spans["weight"] = starts, weights[starts]
    spans["stop"][:-1], spans["stop"][-1] = starts[1:], len(weights)
    return spans[spans["weight"] > 0]


def from_spans(spans: np.ndarray, length: int) -> np.ndarray:
    """The weights, float32 (length,), that ``to_spans`` was given."""
    weights = np.zeros(length, np.float32)
    for start, stop, weight in spans.tolist():
        weights[start:stop] = weight
    return weights


def _digest(handle: BufferedReader) -> str:
    handle.seek(0)
    return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _map(handle: BufferedReader, kind: np.dtype, length: int) -> np.ndarray:
    # Nothing cannot be mapped.
    return np.memmap(handle, kind, mode="r", shape=(length,)) if length else np.zeros(0, kind)


def _read(handle: BufferedReader, kind: np.dtype, start: int, count: int) -> np.ndarray:
    # Read, not mapped: a page that was read stays in no process's memory, and a file that was
    # cut short is an error, not a bus error.
    data = os.pread(handle.fileno(), count * kind.itemsize, start * kind.itemsize)
    if len(data) != count * kind.itemsize:
        raise DamagedStore(
            "The tokenized rows changed while they were read.", "Run the command again."
        )
    return np.frombuffer(data, kind)
