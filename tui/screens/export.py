"""Export: a completed run becomes GGUF files, each checked against the model that was trained."""

import time
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import (
    Button,
    DataTable,
    Footer,
    Label,
    ProgressBar,
    Select,
    SelectionList,
    Static,
)
from textual.widgets.selection_list import Selection
from textual.worker import get_current_worker

from edgetune.errors import EdgetuneError
from edgetune.runs import Run
from edgetune.train.process import Child

from ..messages import ChatWith, ExportNews, OverviewReady
from ..services import exporter, text
from ..widgets.mode_bar import ModeBar
from .mode import ModeScreen

_SECONDS_BETWEEN_LOOKS = 0.25
_TYPES = {
    "F16": "full precision",
    "Q8_0": "hardly any loss",
    "Q6_K": "very close",
    "Q5_K_M": "close",
    "Q4_K_M": "small, the usual one",
    "Q3_K_M": "smaller, some loss",
    "Q2_K": "smallest, lossy",
}
_CHOSEN = {"Q8_0"}


class ExportScreen(ModeScreen):
    """Choose a run and types; the verdicts come from the report that the export writes."""

    HELP: ClassVar[str] = """
### Export

- **Space** on a type: choose it or not
- **Ctrl+S** export the chosen types
- **s** stop the export
- **Enter** on a build: chat with it

Every build is checked against the trained model: the same token ids, the same prompt, the same
stops, and how close its predictions are. *bits* are bits per weight, *top-1* is how often both put
the same token first, *KLD* how far apart their predictions are (0: identical). A build that fails
is kept as `.gguf.failed` and never offered for chat.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "export", "Export"),
        Binding("s", "stop", "Stop"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._wanted: str | None = None
        self._working: tuple[Run, Child, list[str]] | None = None

    def compose(self) -> ComposeResult:
        yield ModeBar("export")
        with Horizontal(id="export-choice"):
            yield Label("Run")
            yield Select[str]([], id="export-run", prompt="…", compact=True)
        with Horizontal(id="export-body"):
            yield SelectionList[str](
                *(
                    Selection(f"{kind:<7}{note}", kind, kind in _CHOSEN)
                    for kind, note in _TYPES.items()
                ),
                id="types",
                compact=True,
            )
            with Vertical(id="export-side"):
                yield Button("Export", id="export", variant="primary", compact=True)
                yield ProgressBar(id="export-progress", total=1, show_eta=False)
                yield Static(id="export-message")
        yield Label("Builds", classes="heading")
        yield DataTable(id="builds", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        table = self.query_one("#builds", DataTable)
        for name, width in (
            ("type", 7),
            ("verdict", 8),
            ("size", 9),
            ("bits", 5),
            ("top-1", 7),
            ("KLD", 8),
            ("file", None),
        ):
            table.add_column(name, key=name, width=width)
        self.query_one("#types").focus()

    def on_screen_resume(self) -> None:
        self._look()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to stop only what goes on."""
        return self._working is not None if action == "stop" else True

    def choose(self, run: Run) -> None:
        """Select a run."""
        self._wanted = str(run.path.resolve())
        self._look()

    @work(thread=True, exclusive=True, group="look", exit_on_error=False)
    def _look(self) -> None:
        self.post_message(OverviewReady(self.app.library.overview()))

    @on(OverviewReady)
    def _offer(self, message: OverviewReady) -> None:
        select = self.query_one("#export-run", Select)
        found = [
            (f"{summary.name}  ({summary.model})", str(summary.path.resolve()))
            for summary in message.overview.runs
            if (Run(summary.path).adapter).is_dir()
        ]
        wanted = self._wanted or (None if select.is_blank() else select.value)
        self._wanted = None
        with self.prevent(Select.Changed):
            select.prompt = "Choose a run" if found else "No completed run yet: train one (F4)"
            select.set_options(found)
            paths = [path for _, path in found]
            if paths:
                select.value = wanted if wanted in paths else paths[0]
        self._show_report()

    @on(Select.Changed)
    def _changed(self) -> None:
        self._show_report()

    def _run(self) -> Run | None:
        select = self.query_one("#export-run", Select)
        return None if select.is_blank() else Run(Path(str(select.value)))

    def _show_report(self) -> None:
        table = self.query_one("#builds", DataTable)
        run = self._run()
        table.clear()
        verdicts = exporter.verdicts(run) if run is not None else []
        for item in verdicts:
            style = "$text-success" if item.verdict == "verified" else "bold $text-error"
            table.add_row(
                item.type,
                Content.styled(item.verdict, style),
                text.size(item.bytes),
                f"{item.bits_per_weight:.2f}",
                "–" if item.top1 is None else f"{100 * item.top1:.2f}%",
                "–" if item.kld is None else f"{item.kld:.2e}",
                Text(item.file),
                key=item.file,
            )
        if self._working is None:
            self._say_reasons(verdicts)

    def _say_reasons(self, verdicts: list[exporter.Verdict]) -> None:
        bad = [
            f"{item.type} failed: {'; '.join(item.reasons) or 'see the report'}."
            for item in verdicts
            if item.verdict != "verified"
        ]
        message = self.query_one("#export-message", Static)
        if bad:
            message.update(Content.styled(" ".join(bad), "$text-error"))
        elif verdicts:
            message.update(
                Content.styled(
                    "All builds passed verification. Enter on one: chat with it.",
                    "$text-success",
                )
            )
        else:
            message.update(Content("Choose types with Space and press Ctrl+S."))

    @on(Button.Pressed, "#export")
    def _pressed(self) -> None:
        self.action_export()

    def action_export(self) -> None:
        """Export the chosen types of the chosen run."""
        run = self._run()
        # In the order of the list, whatever order they were ticked in.
        ticked = self.query_one("#types", SelectionList).selected
        types = [kind for kind in _TYPES if kind in ticked]
        if self._working is not None:
            self.notify("An export is going on; stop it or wait.", severity="warning")
        elif run is None:
            self.notify("There is no completed run yet: train one first.", severity="warning")
        elif not types:
            self.notify("Choose at least one type with Space.", severity="warning")
        else:
            self._begin(run, types)

    def _begin(self, run: Run, types: list[str]) -> None:
        try:
            child = exporter.start(run, types)
        except (EdgetuneError, OSError) as error:
            self.query_one("#export-message", Static).update(
                Content.styled(str(error), "$text-error")
            )
            return
        self._working = (run, child, types)
        total = exporter.expected_stages(types)
        self.query_one("#export-progress", ProgressBar).update(total=total, progress=0)
        self.query_one("#export-message", Static).update("Loading the trained model…")
        self.refresh_bindings()
        self._follow(run, child)

    @work(thread=True, exclusive=True, group="follow", exit_on_error=False)
    def _follow(self, run: Run, child: Child) -> None:
        worker = get_current_worker()
        while not worker.is_cancelled:
            status = child.status()
            stages = exporter.stages(child)
            self.post_message(ExportNews(run, stages, status, child.complaint()))
            if status is not None:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    @on(ExportNews)
    def _take(self, message: ExportNews) -> None:
        if self._working is None:
            return
        bar = self.query_one("#export-progress", ProgressBar)
        says = self.query_one("#export-message", Static)
        bar.update(progress=min(len(message.stages), int(bar.total or 1)))
        if message.status is None:
            if message.stages:
                says.update(Content(f"Done so far: {message.stages[-1]}"))
            return
        self._working = None
        self.refresh_bindings()
        self._look()
        self.query_one("#builds").focus()
        if message.status != 0:
            self.notify(message.complaint, title="Export", severity="error", timeout=15)

    def action_stop(self) -> None:
        """Stop the export; the builds that are done are kept."""
        if self._working is not None:
            self._working[1].interrupt()
            self.query_one("#export-message", Static).update("Stopping…")

    @on(DataTable.RowSelected, "#builds")
    def _chat(self, message: DataTable.RowSelected) -> None:
        run = self._run()
        if run is None:
            return
        file = run.export / str(message.row_key.value)
        if file.suffix == ".gguf" and file.is_file():
            self.post_message(ChatWith(file))
        else:
            self.notify("This build did not hold its verification.", severity="error")
