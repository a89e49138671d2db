"""Train: a form, and the run it starts with its live curve."""

import time
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher, Footer
from textual.worker import get_current_worker

from edgetune import config as settings
from edgetune import paths
from edgetune.errors import EdgetuneError, Interrupted
from edgetune.runs import Run
from edgetune.train import process

from ..messages import ExportRun, RunNews, TrainerRefused, TrainerStarted
from ..widgets.mode_bar import ModeBar
from ..widgets.run_view import RunView
from ..widgets.train_form import TrainForm
from .mode import ModeScreen

_SECONDS_BETWEEN_LOOKS = 0.25


class TrainScreen(ModeScreen):
    """Either the form or a run. The trainer is a process of its own and outlives the UI."""

    HELP: ClassVar[str] = """
### Train

In the form:

- **Enter** the next field; on the button: start
- **→** takes the suggested path
- **Ctrl+S** start

Watching a run:

- **s** stop: the step is finished and a checkpoint saved
- **r** go on with a stopped run
- **e** export a completed run
- **n** the form for a new run

The curve shows the loss in nats per trained token.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop", "Stop"),
        Binding("r", "resume", "Resume"),
        Binding("e", "export", "Export"),
        Binding("n", "new", "New run"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._suggested = ""

    def compose(self) -> ComposeResult:
        yield ModeBar("train")
        with ContentSwitcher(initial="form"):
            yield TrainForm(id="form")
            yield RunView(id="run")
        yield Footer()

    def on_mount(self) -> None:
        self.action_new()

    @property
    def _form(self) -> TrainForm:
        return self.query_one(TrainForm)

    @property
    def _view(self) -> RunView:
        return self.query_one(RunView)

    @property
    def _watching(self) -> bool:
        return self.query_one(ContentSwitcher).current == "run"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what makes sense now."""
        if action not in ("stop", "resume", "export", "new"):
            return True
        if not self.is_mounted or not self._watching:
            return False
        state = self._view.state
        return {
            "stop": state in ("starting", "running"),
            "resume": state in ("interrupted", "failed", "stopped"),
            "export": state == "completed",
            "new": True,
        }[action]

    def fill(self, model: str | None, data: str | None) -> None:
        """Show the form with this model or data in it."""
        if model is not None:
            self._form.set_value("model", model)
        if data is not None:
            self._form.set_value("data.train", data)
            self._form.set_value("data.valid", _validation_for(data))
        self.action_new()

    def watch_run(self, run: Run) -> None:
        """Show a run from its first event on, and follow it if it still goes on."""
        self._watch(run, self.app.trainer_of(run))

    def _watch(self, run: Run, child: process.Child | None) -> None:
        self.query_one(ContentSwitcher).current = "run"
        self._view.show(run)
        self._view.focus()
        self.refresh_bindings()
        self._follow(run, child)

    def action_new(self) -> None:
        """Show the form."""
        self.query_one(ContentSwitcher).current = "form"
        name = self._form.value("name")
        if name in ("", self._suggested) or (self.app.runs_dir / name).exists():
            self._suggested = self._free_name()
            self._form.set_value("name", self._suggested)
        self._form.focus_first()
        self.refresh_bindings()

    def _free_name(self) -> str:
        base = Path(self._form.value("model")).name or "run"
        number = 1
        while (self.app.runs_dir / f"{base}-{number}").exists():
            number += 1
        return f"{base}-{number}"

    @on(TrainForm.Submitted)
    def _submitted(self, message: TrainForm.Submitted) -> None:
        for source in message.config.data.train:
            if Path(source.path).exists():  # not the name of a dataset on the hub
                self.app.preferences.used_data(str(Path(source.path).resolve()))
        self.app.preferences.save()
        self._start(message.config)

    @work(thread=True, exclusive=True, group="start", exit_on_error=False)
    def _start(self, config: settings.RunConfig) -> None:
        try:
            run, child = process.start(config, self.app.runs_dir)
        except (EdgetuneError, OSError) as error:
            self.post_message(TrainerRefused(str(error)))
        else:
            self.post_message(TrainerStarted(run, child))

    @work(thread=True, exclusive=True, group="start", exit_on_error=False)
    def _start_again(self, run: Run) -> None:
        try:
            self.post_message(TrainerStarted(run, process.resume(run)))
        except (EdgetuneError, OSError) as error:
            self.app.call_from_thread(self.notify, str(error), severity="error")

    @on(TrainerStarted)
    def _started(self, message: TrainerStarted) -> None:
        self.app.trainers[message.run.path.resolve()] = message.child
        self._watch(message.run, message.child)

    @on(TrainerRefused)
    def _refused(self, message: TrainerRefused) -> None:
        self.query_one(ContentSwitcher).current = "form"
        self._form.focus_first()
        self._form.complain(message.reason)
        self.refresh_bindings()

    @work(thread=True, exclusive=True, group="follow", exit_on_error=False)
    def _follow(self, run: Run, child: process.Child | None) -> None:
        worker = get_current_worker()
        follower = process.Follower(run.events_file)
        before: tuple[bool, str] | None = None
        while not worker.is_cancelled:
            # Asked before reading: whatever is written before the end is then read.
            alive = child is not None and child.status() is None
            working = alive or (run.path.exists() and run.process() is not None)
            said = _words(child, run) if child is not None else ""
            if not working and said and not run.events_file.exists():
                self.post_message(TrainerRefused(said))
                return
            news = follower.read()
            if news or (working, said) != before:
                self.post_message(RunNews(run, news, working, said))
            before = (working, said)
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    @on(RunNews)
    def _take(self, message: RunNews) -> None:
        if message.run != self._view.run:
            return  # a late word of the run watched before
        self._view.take(message.events, message.working, message.said)
        self.refresh_bindings()

    def action_stop(self) -> None:
        """Ask the trainer to save a checkpoint and end."""
        run = self._view.run
        if run is None:
            return
        if process.stop(run, self.app.trainer_of(run)):
            self._view.stopping = True
            self._view.take([], working=True, said="")
        else:
            self.notify("Nobody is working on this run.", severity="warning")
        self.refresh_bindings()

    def action_resume(self) -> None:
        """Go on from the last checkpoint."""
        if self._view.run is not None:
            self._start_again(self._view.run)

    def action_export(self) -> None:
        """Build GGUF files from this run."""
        if self._view.run is not None:
            self.post_message(ExportRun(self._view.run))


def _words(child: process.Child, run: Run) -> str:
    status = child.status()
    if status is None:
        return child.last_line()
    if status == Interrupted.exit_code and run.events_file.exists():
        return ""  # it was asked to stop, and its events say the rest
    return child.complaint()


def _validation_for(data: str) -> str:
    """The embedded rows have validation rows beside them; others are split by the trainer."""
    embedded = Path(data).resolve() == (paths.NANO_DATA / "train.jsonl").resolve()
    valid = paths.NANO_DATA / "valid.jsonl"
    return str(valid) if embedded and valid.is_file() else ""
