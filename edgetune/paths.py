"""Where files live, and how they get there whole.

Every file that edgetune leaves behind is written beside its final name, synced and renamed, so
that a kill, a crash or a full disk never leaves half a file where a whole one is expected.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

ASSETS = Path(__file__).parent / "assets"
NANO_MODEL = ASSETS / "nano"
"""The embedded base model."""
NANO_DATA = ASSETS / "instruct"
"""The embedded instruction dataset."""


def home() -> Path:
    """The user's data directory for settings and the run index (``EDGETUNE_HOME`` overrides)."""
    override = os.environ.get("EDGETUNE_HOME")
    return Path(override) if override else Path(platformdirs.user_data_dir("edgetune", False))


def runs_dir(choice: str | Path | None = None) -> Path:
    """The folder that holds the runs: ``choice``, else ``EDGETUNE_RUNS``, else ``./runs``."""
    return Path(choice or os.environ.get("EDGETUNE_RUNS") or "runs")


def _beside(path: Path) -> Path:
    # A leading dot and a random tail: never mistaken for a finished file, never shared.
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable, so that a rename survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; on success it is synced and becomes ``path``.

    On any exception the temporary file is removed and ``path`` is what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary directory beside ``path``; on success it becomes ``path``, all synced.

    An existing ``path`` is replaced, or, without ``replace``, an OSError, even if it came into
    being meanwhile. On any exception ``path`` is what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in names:
                sync_file(Path(folder, name))
            sync_directory(Path(folder))
        old = None
        if replace and path.exists():
            old = _beside(path)
            path.rename(old)
        try:
            temporary.rename(path)
        except BaseException:
            if old is not None:
                old.rename(path)
            raise
        sync_directory(path.parent)
        if old is not None:
            shutil.rmtree(old)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written in ``folder``."""
    for entry in folder.glob(".*.tmp"):
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
