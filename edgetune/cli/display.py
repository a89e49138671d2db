"""What the terminal shows while work goes on, from events alone; always on stderr."""

import json
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from edgetune import events
from edgetune.cli.data_report import brief
from edgetune.data.checks.findings import visible

_PLAIN_SECONDS = 10.0
# Where there is no terminal a line appears at most this often.


class TrainDisplay:
    """Follows a training run: a bar with the figures in a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False)
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self.console,
            transient=True,
        )
        self._working = Working()
        self._task: TaskID | None = None
        self._last_line = 0.0

    def __enter__(self) -> "TrainDisplay":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def show(self, event: events.Event) -> None:
        """Show one event."""
        match event:
            case events.DataReport():
                self._report(event)
            case events.RunStarted():
                self._started(event)
            case events.StepDone():
                self._step(event)
            case events.Validated():
                best = " (best so far)" if event.best and event.step else ""
                self._say(f"step {event.step}: validation loss {event.validation_loss:.4f}{best}")
            case events.CheckpointSaved():
                self._say(f"step {event.step}: checkpoint saved")
            case events.Note():
                self._say(f"note: {event.message}")
            case events.Progress():
                self._working.show(event.stage, event.done / max(event.total, 1))
            case events.RunEnded():
                self._stop()
                self._say(f"training {event.reason} at step {event.step}")

    def _stop(self) -> None:
        self._working.stop()
        if self._progress.live.is_started:  # else it would leave an empty line
            self._progress.stop()

    def _say(self, text: str) -> None:
        # In a file or a pipe every message stays one line.
        self.console.print(text, markup=False, soft_wrap=not self.console.is_terminal)

    def _report(self, event: events.DataReport) -> None:
        """What matters of the report on the data; the whole of it lies in the run."""
        self._working.stop()
        try:
            lines = brief(json.loads(Path(event.file).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError):
            self._say(f"data: {event.usable:,} of {event.rows:,} rows usable")
            return
        lines.append((Text("  report"), Text(event.file)))
        if self.console.is_terminal:
            grid = Table.grid(padding=(0, 2))
            for line in lines:
                grid.add_row(*line)
            self.console.print(grid)
        else:
            for about, text in lines:
                self._say(f"{about}: {text}")

    def _started(self, event: events.RunStarted) -> None:
        self._say(
            f"{event.run}: {event.model}, {event.examples} examples "
            f"({event.trained_tokens_per_epoch} trained tokens), "
            f"{event.validation_examples} for validation, "
            f"{event.trainable_parameters:,} trainable parameters, {event.device}"
        )
        if event.first_step > 1:
            self._say(f"going on from step {event.first_step - 1}")
        self._task = self._progress.add_task(
            "", total=event.steps, completed=event.first_step - 1, figures=""
        )
        if self.console.is_terminal:
            self._progress.start()

    def _step(self, event: events.StepDone) -> None:
        figures = (
            f"loss {event.train_loss:.3f} · {event.trained_tokens_per_second:,.0f} trained tok/s"
            f" · {_memory(event.peak_memory_bytes)} peak · {_duration(event.seconds_left)} left"
        )
        if self._task is not None:
            self._progress.update(self._task, completed=event.step, figures=figures)
        now = time.monotonic()
        if not self.console.is_terminal and (
            now - self._last_line >= _PLAIN_SECONDS or event.step == event.steps
        ):
            self._last_line = now
            self._say(f"step {event.step}/{event.steps}: {figures}")


class Steps:
    """Named pieces of work with progress, one line each."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False)
        self._progress: Progress | None = None

    def show(self, event: events.Event) -> None:
        """Progress becomes a bar in a terminal and a line when it ends elsewhere; a note is
        printed."""
        match event:
            case events.Note():
                self.close()
                soft = not self.console.is_terminal
                self.console.print(f"note: {event.message}", markup=False, soft_wrap=soft)
            case events.Progress():
                self._advance(event)
            case _:
                pass

    def _advance(self, event: events.Progress) -> None:
        if not self.console.is_terminal:
            if event.done >= event.total:
                self.console.print(event.stage, markup=False)
            return
        if self._progress is None:
            self._progress = Progress(
                SpinnerColumn(finished_text="✓"),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                console=self.console,
            )
            self._progress.start()
        for task in self._progress.tasks:
            if task.description == event.stage:
                self._progress.update(task.id, completed=event.done, total=event.total)
                return
        self._progress.add_task(event.stage, total=event.total, completed=event.done)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Working:
    """What is being done and how far it has come: on one line of a terminal, gone when it is done;
    elsewhere a line now and then where it takes long."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False)
        self._last_line = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "Working":
        return self

    def show(self, stage: str, done: float) -> None:
        """The part ``done`` of a piece of work is behind us."""
        stage = visible(stage)
        if not self.console.is_terminal:
            now = time.monotonic()
            if now - self._last_line >= _PLAIN_SECONDS:
                self._last_line = now
                self.console.print(f"{stage}: {done:.0%}", markup=False, soft_wrap=True)
            return
        if self._task is None or self._progress.tasks[0].description != stage:
            self.stop()
            self._task = self._progress.add_task(stage, total=1.0)
            self._progress.start()
        self._progress.update(self._task, completed=done)

    def stop(self) -> None:
        """Clear the line; more work may follow."""
        if self._task is not None:
            self._progress.stop()
            self._progress.remove_task(self._task)
            self._task = None

    def __exit__(self, *_: object) -> None:
        self.stop()


def _memory(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
