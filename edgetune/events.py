"""What a run says while it works: typed events, one JSON object per line in ``events.jsonl``.

The terminal display, ``runs show``, the TUI and scripts all read these same events, so a run can
be watched from anywhere while it works and replayed after it ended. Losses are in nats per
trained token, times in seconds, memory in bytes.
"""

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore")

    time: float = Field(default_factory=time.time)


class DataReport(_Event):
    """What the run's data holds and what is wrong with it, before its first step."""

    event: Literal["data_report"] = "data_report"
    file: str
    """The whole report, in the run's folder (see ``edgetune.data.report``)."""
    rows: int
    usable: int
    counts: dict[str, int]
    """Findings by grade: error, warning, note."""


class RunStarted(_Event):
    """A run begins, or goes on from ``first_step`` after a resume."""

    event: Literal["run_started"] = "run_started"
    run: str
    model: str
    first_step: int
    steps: int
    examples: int
    validation_examples: int
    trained_tokens_per_epoch: int
    trainable_parameters: int
    device: str


class StepDone(_Event):
    """One optimizer step: ``step`` is its number, beginning with 1."""

    event: Literal["step"] = "step"
    step: int
    steps: int
    epoch: float
    train_loss: float
    gradient_norm: float
    learning_rate: float
    trained_tokens: int
    """Trained tokens since the start of the run, resumed parts included."""
    trained_tokens_per_second: float
    peak_memory_bytes: int
    seconds_left: float


class Validated(_Event):
    """The whole validation set, after ``step`` steps (0: before training)."""

    event: Literal["validation"] = "validation"
    step: int
    validation_loss: float
    trained_tokens: int
    """Trained tokens in the validation set."""
    best: bool


class CheckpointSaved(_Event):
    event: Literal["checkpoint"] = "checkpoint"
    step: int
    path: str


class Note(_Event):
    """Something the user should know that is no error."""

    event: Literal["note"] = "note"
    message: str


class Progress(_Event):
    """How far a longer piece of work outside the training steps has come."""

    event: Literal["progress"] = "progress"
    stage: str
    """What is being done, e.g. "quantizing Q4_K_M"."""
    done: int
    total: int


class RunEnded(_Event):
    """The training part of a run is over; ``reason`` says why."""

    event: Literal["run_ended"] = "run_ended"
    reason: Literal["completed", "interrupted", "failed"]
    step: int
    message: str = ""


Event = Annotated[
    DataReport | RunStarted | StepDone | Validated | CheckpointSaved | Note | Progress | RunEnded,
    Field(discriminator="event"),
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def to_line(event: Any) -> str:
    """One event as one line of JSON, without the line end."""
    line: str = event.model_dump_json()
    return line


def from_line(line: str) -> Event | None:
    """The event in a line; None for a line cut short by a kill or of another version's kind."""
    try:
        return _ADAPTER.validate_python(json.loads(line))
    except (json.JSONDecodeError, ValidationError, UnicodeDecodeError):
        return None


def read(text: str) -> Iterator[Event]:
    """The events in the text of an ``events.jsonl``."""
    for line in text.split("\n"):  # splitlines would also cut at characters within the text
        event = from_line(line)
        if event is not None:
            yield event
