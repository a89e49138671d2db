"""What workers and screens tell each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.message import Message

from edgetune import events
from edgetune.runs import Run
from edgetune.train.process import Child

from .services.library import Overview
from .services.preview import Preview


@dataclass
class OverviewReady(Message):
    """What there is on this machine was looked up again."""

    overview: Overview


@dataclass
class FilesFound(Message):
    """Data files that can be offered."""

    files: list[Path]


@dataclass
class PreviewReady(Message):
    """Rows of a data file, as the model will see them."""

    preview: Preview


@dataclass
class PreviewFailed(Message):
    """A data file or its model could not be read; ``reason`` says why."""

    reason: str


@dataclass
class ReportReady(Message):
    """A whole data file was looked through (see ``edgetune.data.report``)."""

    file: Path
    report: dict[str, Any]


@dataclass
class ReportFailed(Message):
    """A data file could not be looked through; ``reason`` says why."""

    file: Path
    reason: str


@dataclass
class TrainerStarted(Message):
    """A trainer process was started for a run."""

    run: Run
    child: Child


@dataclass
class TrainerRefused(Message):
    """No trainer was started, or it ended before its first event."""

    reason: str


@dataclass
class RunNews(Message):
    """What a watched run said since the last time, and who works on it now."""

    run: Run
    events: list[events.Event]
    working: bool
    said: str
    """What its trainer said last: its complaint if it ended badly. Empty where it was started
    elsewhere."""


@dataclass
class ExportNews(Message):
    """How far an export has come; ``status`` is None while it works."""

    run: Run
    stages: list[str]
    status: int | None
    complaint: str


@dataclass
class OpenRun(Message):
    """Show this run in the train screen."""

    run: Run


@dataclass
class TrainWith(Message):
    """Open the train form with this model or data filled in."""

    model: str | None = None
    data: str | None = None


@dataclass
class ExportRun(Message):
    """Open the export screen on this run."""

    run: Run


@dataclass
class ChatWith(Message):
    """Open the chat with this GGUF."""

    file: Path
