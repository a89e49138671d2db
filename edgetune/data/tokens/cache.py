"""Work on data that is kept for the next run: tokenized rows, and reports.

An entry's name is the digest of everything that its content follows from, so it can be missing
or damaged but never stale. It comes into being whole, under its final name, and processes that
make the same one at the same time do not disturb each other.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from edgetune import paths
from edgetune.errors import EdgetuneError

LIMIT = 20 << 30
"""Bytes of tokenized rows that are kept: the rows of several large datasets (four bytes a token,
so five billion tokens), and still a small part of a disk that holds models."""
_REPORTS = 200
# Reports that are kept; one has some hundred kilobytes.
_ABANDONED = 24 * 3600
# Seconds without a write after which a half-made entry has nobody who works on it.

T = TypeVar("T")


def key(facts: Any) -> str:
    """The name of the entry that follows from ``facts``, which can be written as JSON."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def obtain(
    name: str, make: Callable[[Path], None], load: Callable[[Path], T], keep: bool = True
) -> T:
    """What ``load`` reads from the entry ``name``, which ``make`` fills if it is not there or if
    ``load`` raises an EdgetuneError for it.

    ``load`` has to open all that it needs: entries can be removed at any time. Without ``keep``,
    or where nothing can be kept, the entry lives only as long as it is open.
    """
    folder = _writable(paths.home() / "cache" / "tokens")
    if not keep or folder is None:
        # A folder for temporary files can lie in memory, so it is the second choice.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp") as temporary:
            make(Path(temporary))
            return load(Path(temporary))
    entry = folder / name
    if entry.is_dir():
        try:
            found = load(entry)
        except EdgetuneError:
            _remove(entry)
        else:
            _touch(entry)
            return found
    _clear_abandoned(folder)
    try:
        with paths.atomic_directory(entry, replace=False) as temporary:
            make(temporary)
    except OSError as error:
        # Another process was faster; its entry is the same.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    try:
        found = load(entry)
    except EdgetuneError:  # another process has removed it already, to make room
        return obtain(name, make, load, keep=False)
    _trim(folder, entry)
    return found


def remember(name: str, make: Callable[[], dict[str, Any]], keep: bool = True) -> dict[str, Any]:
    """The document ``name``, which ``make`` gives if it is not kept yet."""
    folder = _writable(paths.home() / "cache" / "reports")
    if not keep or folder is None:
        return make()
    file = folder / f"{name}.json"
    try:
        found: dict[str, Any] = _unseal(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    else:
        _touch(file)
        return found
    document = make()
    with contextlib.suppress(OSError):  # without the document the next run takes longer
        paths.write_text(file, _seal(document))
        for old in sorted(folder.glob("*.json"), key=_used, reverse=True)[_REPORTS:]:
            old.unlink(missing_ok=True)
    return document


def _seal(document: dict[str, Any]) -> str:
    text = json.dumps(document)
    return f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def _unseal(sealed: str) -> Any:
    digest, _, text = sealed.partition("\n")
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise ValueError
    return json.loads(text)


def _writable(folder: Path) -> Path | None:
    """The folder, or None: a home that cannot be written must not stop a run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _remove(entry: Path) -> None:
    """Take an entry away under another name first, so that nobody finds half of it."""
    away = entry.with_name(f".{entry.name}.{uuid.uuid4().hex[:8]}.tmp")
    with contextlib.suppress(OSError):
        entry.rename(away)
        shutil.rmtree(away, ignore_errors=True)


def _trim(folder: Path, newest: Path) -> None:
    """Remove the entries that were not used for longest until the rest is within the limit."""
    entries = sorted(_entries(folder), key=_used, reverse=True)
    total = _size(newest)
    for entry in entries:
        if entry == newest:
            continue
        total += _size(entry)
        if total > LIMIT:
            _remove(entry)


def _entries(folder: Path) -> Iterator[Path]:
    return (entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _size(entry: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for file in entry.iterdir():
            total += file.stat().st_size
    return total


def _clear_abandoned(folder: Path) -> None:
    """Remove what killed processes left, but nothing that somebody still writes."""
    for entry in folder.glob(".*.tmp"):
        newest = max([_used(entry), *(_used(file) for file in entry.glob("*"))])
        if time.time() - newest > _ABANDONED:
            shutil.rmtree(entry, ignore_errors=True)
