"""Home: the runs and models there are, and what to do first."""

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable, Footer, Label, Static

from edgetune.runs import Run, Summary

from ..messages import ChatWith, ExportRun, OpenRun, OverviewReady, TrainWith
from ..services import text
from ..services.library import Model, Overview
from ..widgets.mode_bar import ModeBar
from .mode import ModeScreen

_SECONDS_BETWEEN_LOOKS = 1.5

_STATE_STYLES = {
    "running": "bold $text-accent",
    "completed": "$text-success",
    "interrupted": "$text-warning",
    "stopped": "$text-warning",
    "failed": "$text-error",
    "damaged": "$text-error",
}


class HomeScreen(ModeScreen):
    """Runs and models in two tables, looked up again every moment."""

    HELP: ClassVar[str] = """
### Home

- **Enter** on a run: its curve; on a model: train it; on a GGUF: chat with it
- **n** a new run
- **e** export the run under the cursor
- **c** chat with the newest build of the run under the cursor

A run is *stopped* if it ended without a word, as after a power cut: open it and resume it.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New run"),
        Binding("e", "export", "Export"),
        Binding("c", "chat", "Chat"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._overview: Overview | None = None

    def compose(self) -> ComposeResult:
        yield ModeBar("home")
        yield Static(id="hint")
        yield Label("Runs", classes="heading")
        yield DataTable(id="runs", cursor_type="row", zebra_stripes=True)
        yield Label("Models", classes="heading")
        yield DataTable(id="models", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        runs = self.query_one("#runs", DataTable)
        columns: list[tuple[str, int | None]] = [
            ("name", 19),
            ("state", 11),
            ("step", 9),
            ("loss", 6),
            ("valid", 6),
            ("builds", 6),
            ("changed", 7),
        ]
        for name, width in columns:
            runs.add_column(name, key=name, width=width)
        models = self.query_one("#models", DataTable)
        columns = [("name", 24), ("kind", 9), ("size", 9), ("where", None)]
        for name, width in columns:
            models.add_column(name, key=name, width=width)
        self._look()
        self.set_interval(_SECONDS_BETWEEN_LOOKS, self._look_if_seen)
        runs.focus()

    def on_screen_resume(self) -> None:
        self._look()

    def _look_if_seen(self) -> None:
        if self.is_current:
            self._look()

    @work(thread=True, exclusive=True, group="look", exit_on_error=False)
    def _look(self) -> None:
        self.post_message(OverviewReady(self.app.library.overview()))

    @on(OverviewReady)
    def _show(self, message: OverviewReady) -> None:
        if message.overview == self._overview:
            return
        first = self._overview is None
        self._overview = message.overview
        runs = {str(s.path): _run_row(s) for s in message.overview.runs}
        models = {str(m.path): _model_row(m) for m in message.overview.models}
        _fill(self.query_one("#runs", DataTable), runs)
        _fill(self.query_one("#models", DataTable), models)
        self.query_one("#hint", Static).update(_hint(message.overview))
        if first and not runs and models:
            self.query_one("#models").focus()

    @on(DataTable.RowSelected, "#runs")
    def _open_run(self, message: DataTable.RowSelected) -> None:
        self.post_message(OpenRun(Run(Path(str(message.row_key.value)))))

    @on(DataTable.RowSelected, "#models")
    def _use_model(self, message: DataTable.RowSelected) -> None:
        models = self._overview.models if self._overview else []
        model = next((m for m in models if str(m.path) == message.row_key.value), None)
        if model is None:
            return
        if model.kind == "GGUF":
            self.post_message(ChatWith(model.path))
        else:
            self.post_message(TrainWith(model=model.name))

    def action_new(self) -> None:
        self.post_message(TrainWith())

    def action_export(self) -> None:
        summary = self._current()
        if summary is None:
            self.notify("There is no run yet: press n to train one.", severity="warning")
        elif summary.state != "completed":
            self.notify(
                f"{summary.name} is {summary.state}; only a completed run can be exported.",
                severity="warning",
            )
        else:
            self.post_message(ExportRun(Run(summary.path)))

    def action_chat(self) -> None:
        summary = self._current()
        if summary is None:
            self.notify("There is no run yet: press n to train one.", severity="warning")
        elif not summary.exports:
            self.notify(
                f"{summary.name} has no build yet: press e to export it.", severity="warning"
            )
        else:
            self.post_message(ChatWith(summary.exports[-1]))

    def _current(self) -> Summary | None:
        table = self.query_one("#runs", DataTable)
        if self._overview is None or not table.row_count:
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return next((s for s in self._overview.runs if str(s.path) == key), None)


Cell = Content | Text


def _fill(table: DataTable[Cell], rows: dict[str, list[Cell]]) -> None:
    """Show these rows; the cursor stays on the row it was on."""
    if [str(key.value) for key in table.rows] == list(rows):
        columns = list(table.columns)
        for name, row in rows.items():
            for column, cell in zip(columns, row, strict=True):
                table.update_cell(name, column, cell)
        return
    current = None
    if table.row_count:
        current = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
    table.clear()
    for name, row in rows.items():
        table.add_row(*row, key=name)
    if current in rows:
        table.move_cursor(row=list(rows).index(current))


def _run_row(summary: Summary) -> list[Cell]:
    steps = f"{summary.step}/{summary.steps}" if summary.steps else "–"
    return [
        Content(summary.name),
        Content.styled(summary.state, _STATE_STYLES.get(summary.state, "")),
        Content(steps),
        Content(text.loss(summary.train_loss)),
        Content(text.loss(summary.validation_loss)),
        Content(str(len(summary.exports) or "–")),
        Content(text.ago(summary.updated)),
    ]


def _model_row(model: Model) -> list[Cell]:
    # Rich texts: a column without a width measures its cells, and can measure only those.
    return [
        Text(model.path.name if model.kind == "directory" else model.name),
        Text(model.kind),
        Text(text.size(model.bytes)),
        Text(_short(model.path.parent if model.kind == "GGUF" else model.path)),
    ]


def _short(path: Path) -> str:
    for base, mark in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_relative_to(base):
            return mark + str(path.relative_to(base))
    return str(path)


def _hint(overview: Overview) -> str:
    running = [s.name for s in overview.runs if s.state == "running"]
    if running:
        return f"{running[0]} is being worked on: press Enter on it to watch."
    if not overview.runs:
        return (
            "Nothing trained yet. Look at the rows with F3, or press n and train the embedded "
            "model on the embedded instructions: no network is needed."
        )
    if not overview.builds:
        return "Next: press e on a completed run to build a GGUF that is checked against it."
    return "Press c on a run to chat with its newest build, n for a new run."
