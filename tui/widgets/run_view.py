"""A run as it goes: curve, figures and what it has to say."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import ProgressBar, Static

from edgetune import events
from edgetune.data.checks.findings import counted
from edgetune.runs import Run

from ..services import text
from ..services.progress import RunProgress
from .chart import LossChart


class RunView(Vertical, can_focus=True):
    """Shows one run from its events."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.progress = RunProgress()
        self.run: Run | None = None
        self.state = ""
        """starting, running, stopping, busy, completed, interrupted, failed or stopped."""
        self.stopping = False
        self._said = ""

    def compose(self) -> ComposeResult:
        yield Static(id="run-facts")
        yield LossChart(id="chart")
        yield ProgressBar(id="run-progress", show_eta=False)
        yield Static(id="run-figures")
        yield Static(id="run-message")

    def show(self, run: Run) -> None:
        """Begin with another run, or with the same one afresh."""
        self.run, self.progress = run, RunProgress()
        self.state, self.stopping, self._said = "starting", False, ""
        self.query_one(LossChart).clear()
        self._draw()

    def take(self, news: list[events.Event], working: bool, said: str) -> None:
        """Take in the events, whether somebody works on the run, and what its trainer said last."""
        chart = self.query_one(LossChart)
        train: dict[int, float] = {}
        validation: dict[int, float] = {}
        for event in news:
            self.progress.apply(event)
            match event:
                case events.RunStarted():
                    for losses in (train, validation):
                        for step in [s for s in losses if s >= event.first_step]:
                            del losses[step]
                    chart.restart(event.first_step)
                case events.StepDone():
                    train[event.step] = event.train_loss
                case events.Validated():
                    validation[event.step] = event.validation_loss
                case _:
                    pass
        if train or validation:
            chart.add(train, validation)
        self._said = said
        self.state = self._state(working)
        if not working:
            self.stopping = False
        self._draw()

    def _state(self, working: bool) -> str:
        ended = self.progress.ended
        if working:
            if self.stopping:
                return "stopping"
            if ended is not None:
                return "busy"
            return "running" if self.progress.started else "starting"
        return ended.reason if ended else "stopped"

    def _draw(self) -> None:
        progress = self.progress
        bar = self.query_one("#run-progress", ProgressBar)
        bar.update(total=progress.steps or None, progress=progress.step)
        self.query_one("#run-facts", Static).update(self._facts())
        self.query_one("#run-figures", Static).update(Content(self._figures()))
        self.query_one("#run-message", Static).update(self._message())

    def _facts(self) -> Content:
        started = self.progress.started
        parts: list[Content | str | tuple[str, str]] = [
            (self.run.name if self.run else "", "bold"),
            " · ",
            (self.state, "bold $text-accent"),
        ]
        if started:
            parts.append(
                f" · {started.model} · {started.examples} rows, {started.validation_examples} for "
                f"validation · {started.trainable_parameters:,} trainable parameters · "
                f"{started.device}"
            )
        return Content.assemble(*parts)

    def _message(self) -> Content:
        progress = self.progress
        saved = f"step {progress.checkpoint}" if progress.checkpoint is not None else "the start"
        match self.state:
            case "starting":
                return Content(self._said or "Reading the data and loading the model…")
            case "stopping":
                return Content("Stopping… the step is being finished and a checkpoint saved.")
            case "busy":
                return Content("Training is over; another command is working with the run.")
            case "completed":
                return Content.styled(
                    "Done; the adapter is saved. Press e to export it.", "$text-success"
                )
            case "interrupted" if not self._said:
                return Content.styled(
                    f"Stopped at step {progress.step}; checkpoint saved. Press r to go on.",
                    "$text-warning",
                )
            case "failed" | "stopped" | "interrupted":
                said = progress.ended.message if progress.ended else ""
                reason = self._said or said or "It ended without a word."
                return Content.styled(
                    f"{reason} Press r to go on from the last checkpoint ({saved}).",
                    "$text-error",
                )
        return Content("\n".join([*_about(progress.data), *progress.notes[-2:]]))

    def _figures(self) -> str:
        progress = self.progress
        last = progress.last
        validation = text.loss(progress.validation_loss)
        if progress.best_loss is not None and progress.best_loss != progress.validation_loss:
            validation += f" (best {text.loss(progress.best_loss)})"
        if last is None:
            return f"step –\nvalidation loss {validation}"
        left = ""
        if self.state in ("running", "stopping"):
            left = f" · {text.duration(last.seconds_left)} left"
        return (
            f"step {progress.step}/{progress.steps} · epoch {last.epoch:.2f} · training loss "
            f"{text.loss(last.train_loss)} · validation loss {validation}\n"
            f"{last.trained_tokens_per_second:,.0f} trained tok/s · learning rate "
            f"{last.learning_rate:.2e} · peak {text.size(last.peak_memory_bytes)}{left}"
        )


def _about(data: events.DataReport | None) -> list[str]:
    """A line about what is wrong with the data, if anything is."""
    if data is None or not (data.counts.get("error") or data.counts.get("warning")):
        return []
    return [f"The data: {counted(data.counts)}, listed in the run's report.json."]
