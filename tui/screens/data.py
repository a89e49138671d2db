"""Data: pick a file and see its rows as the model will see them, and what is wrong with them."""

from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Footer, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from edgetune import paths
from edgetune.data.checks.findings import (
    by_kind,
    counted,
    heading,
    place,
    short_names,
    shortened,
    visible,
)
from edgetune.errors import EdgetuneError

from ..messages import (
    FilesFound,
    PreviewFailed,
    PreviewReady,
    ReportFailed,
    ReportReady,
    TrainWith,
)
from ..services import library, preview
from ..widgets.mode_bar import ModeBar
from ..widgets.paths import PathSuggester
from .mode import ModeScreen

_TRAINED = "$text-success on $success-muted"
_SPECIAL = "italic"
_LOOKALIKE = "underline"
_GRADES = {"error": "$text-error", "warning": "$text-warning", "note": "$text-accent"}
_LISTED = 100
# Findings of one kind in the list; a terminal shows all of them.


class DataScreen(ModeScreen):
    """A list of data files; of the chosen one pages of rows, and what is wrong with it."""

    HELP: ClassVar[str] = """
### Data

- **Enter** on a file: show its rows
- **/** type a path; **→** takes the suggestion
- **m** the model whose tokenizer and template are used
- **n**, **p** next, previous page of rows
- **f** findings; **Enter** on one shows its row
- **t** train with this file

Coloured text is what will be learned; the rest is only read. Tokens such as `</s>` are in
italics; underlined text only looks like one. A row that cannot be trained on says why.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "focus('#path')", "Path", key_display="/"),
        Binding("m", "focus('#model')", "Model"),
        Binding("n", "turn(1)", "Next rows"),
        Binding("p", "turn(-1)", "Previous"),
        Binding("f", "findings", "Findings"),
        Binding("t", "train", "Train with it"),
        Binding("escape", "focus('#files')", "Files", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._preview: preview.Preview | None = None
        self._examination: preview.Examination | None = None
        self._places: list[preview.Place] = []
        """Of each finding in the list its file and line; line 0 for none."""

    def compose(self) -> ComposeResult:
        yield ModeBar("data")
        with Horizontal(id="choice"):
            yield Label("File")
            yield Input(
                id="path",
                compact=True,
                placeholder="path of a file with rows",
                suggester=PathSuggester(library.DATA_ENDINGS),
            )
            yield Label("Model")
            yield Input("nano", id="model", compact=True, suggester=PathSuggester())
        with Horizontal(id="browser"):
            with Vertical(id="shelf"):
                yield Label("Files", classes="heading")
                yield OptionList(id="files", compact=True)
            with Vertical(id="view"):
                yield Static("Choose a file and press Enter.", id="summary")
                with VerticalScroll(id="rows"):
                    yield Static(id="text")
                yield Static(id="verdict")
                yield OptionList(id="findings", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#findings").display = False
        self.query_one("#files").focus()

    def on_unmount(self) -> None:
        if self._examination is not None:
            self._examination.stop()

    def on_screen_resume(self) -> None:
        self._find()

    @work(thread=True, exclusive=True, group="find", exit_on_error=False)
    def _find(self) -> None:
        self.post_message(FilesFound(library.data_files(self.app.preferences.data)))

    @on(FilesFound)
    def _offer(self, message: FilesFound) -> None:
        shelf = self.query_one("#files", OptionList)
        if [option.id for option in shelf.options] == [str(file) for file in message.files]:
            return
        before = shelf.highlighted
        shelf.clear_options()
        shelf.add_options(Option(_label(file), id=str(file)) for file in message.files)
        shelf.highlighted = before or 0

    @on(OptionList.OptionSelected, "#files")
    def _pick(self, message: OptionList.OptionSelected) -> None:
        self.query_one("#path", Input).value = _typed(Path(str(message.option_id)))
        self._look(0)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._look(0)

    def action_turn(self, pages: int) -> None:
        """Go to another page of rows."""
        shown = self._preview
        if shown is not None and (shown.more if pages > 0 else shown.start > 0):
            self._look(max(0, shown.start + pages * preview.PAGE))

    def action_train(self) -> None:
        """Open the train form with this file and model."""
        if self._preview is None:
            self.notify("Choose a file first.", severity="warning")
            return
        shown = self._preview
        self.post_message(TrainWith(model=shown.model, data=_typed(shown.file)))

    def action_findings(self) -> None:
        """Go to the list of findings."""
        findings = self.query_one("#findings", OptionList)
        if findings.option_count:
            findings.focus()
        else:
            self.notify("There is no finding to look at.", severity="warning")

    @on(OptionList.OptionSelected, "#findings")
    def _jump(self, message: OptionList.OptionSelected) -> None:
        place = self._places[message.option_index]
        if not place[1]:
            self.notify("This is about no single row.")
        elif self._preview is not None:
            self._ask(self._preview.file, self._preview.model, 0, place)

    def _look(self, start: int) -> None:
        path = self.query_one("#path", Input).value.strip()
        model = self.query_one("#model", Input).value.strip() or "nano"
        if not path:
            self.notify("Type the path of a file first.", severity="warning")
            return
        self._ask(Path(path).expanduser(), model, start, None)

    def _ask(self, file: Path, model: str, start: int, place: preview.Place | None) -> None:
        self.query_one("#rows").loading = True
        self._read(file, model, start, place)

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _read(self, file: Path, model: str, start: int, place: preview.Place | None) -> None:
        try:
            self.post_message(PreviewReady(preview.look(file, model, start, place)))
        except EdgetuneError as error:
            self.post_message(PreviewFailed(str(error)))
        except Exception as error:  # whatever a strange file makes a library raise
            self.post_message(PreviewFailed(f"{file} cannot be shown: {error}"))

    @on(PreviewReady)
    def _show(self, message: PreviewReady) -> None:
        before, shown = self._preview, message.preview
        self._preview = shown
        self.app.preferences.used_data(str(shown.file.resolve()))
        self.app.preferences.save()
        self.query_one("#summary", Static).update(_summary(shown))
        self.query_one("#text", Static).update(_rows(shown))
        rows = self.query_one("#rows", VerticalScroll)
        rows.loading = False
        rows.scroll_home(animate=False)
        if shown.place is None:
            rows.focus()
        another = before is None or (before.file, before.model) != (shown.file, shown.model)
        if shown.place is None and (another or shown.start == 0):
            self._examine(shown)

    @on(PreviewFailed)
    def _tell(self, message: PreviewFailed) -> None:
        self._preview = None
        self._forget("")
        self.query_one("#rows").loading = False
        self.query_one("#summary", Static).update(Content.styled(message.reason, "$text-error"))
        self.query_one("#text", Static).update("")

    def _examine(self, shown: preview.Preview) -> None:
        """Look through the whole file, in a process of its own."""
        self._forget("Looking through the whole file …")
        try:
            self._examination = preview.Examination(shown.file, shown.model)
        except OSError as error:
            self._forget(f"The file cannot be looked through: {error}")
        else:
            self._wait(self._examination)

    @work(thread=True, group="examine", exit_on_error=False)
    def _wait(self, examination: preview.Examination) -> None:
        try:
            report = examination.report()
        except EdgetuneError as error:
            self.post_message(ReportFailed(examination.file, str(error)))
        else:
            if report is not None:
                self.post_message(ReportReady(examination.file, report))

    @on(ReportReady)
    def _judge(self, message: ReportReady) -> None:
        if self._examination is None or message.file != self._examination.file:
            return  # a late word about the file before
        self.query_one("#verdict", Static).update(_verdict(message.report))
        listed = self.query_one("#findings", OptionList)
        options, self._places = _options(message.report)
        listed.clear_options()
        listed.add_options(options)
        listed.display = bool(options)

    @on(ReportFailed)
    def _give_up(self, message: ReportFailed) -> None:
        if self._examination is not None and message.file == self._examination.file:
            self._forget(message.reason)

    def _forget(self, said: str) -> None:
        """No report, and why."""
        if self._examination is not None:
            self._examination.stop()
            self._examination = None
        self.query_one("#verdict", Static).update(Content.styled(said, "$text-muted"))
        listed = self.query_one("#findings", OptionList)
        listed.clear_options()
        listed.display = False


def _summary(shown: preview.Preview) -> Content:
    last = shown.start + len(shown.rows)
    return Content.assemble(
        f"{shown.file.name}: {shown.template} template. Rows {shown.start + 1}–{last}"
        f"{'' if shown.more else ', the last'}: ",
        ("trained", _TRAINED),
        ", read only, ",
        ("control token", _SPECIAL),
        ".",
    )


def _verdict(report: dict[str, Any]) -> Content:
    formats = ", ".join(dict.fromkeys(name for file in report["files"] for name in file["formats"]))
    said = [f"{report['usable']:,} of {report['rows']:,} rows usable ({formats or 'no format'})"]
    parts = [part for part in report["parts"].values() if "tokens" in part]
    if parts:
        tokens, trained = (sum(part[key] for part in parts) for key in ("tokens", "trained_tokens"))
        said.append(f"{trained:,} of {tokens:,} tokens trained")
    said.append(f"findings: {counted(report['counts'])}")
    return Content(visible("; ".join(said)))


def _options(report: dict[str, Any]) -> tuple[list[Option], list[preview.Place]]:
    """The findings as a list, and of each its file and line."""
    names = short_names(file["file"] for file in report["files"])
    options: list[Option] = []
    places: list[preview.Place] = []
    for group in by_kind(report["findings"]):
        grade = group[0]["grade"]
        title = Content.assemble((f"{grade} ", f"bold {_GRADES[grade]}"), heading(group))
        options.append(Option(title, disabled=True))
        places.append(("", 0))
        for item in group[:_LISTED]:
            where = place(shortened(item, names))
            if len(names) == 1 and item["line"]:
                where = f"line {item['line']}"
            said = f"  {where}: " if where else "  "
            options.append(Option(Content(visible(said + item["message"]))))
            places.append((item["file"], item["line"]))
        if len(group) > _LISTED:
            options.append(Option(f"  and {len(group) - _LISTED:,} more", disabled=True))
            places.append(("", 0))
    return options, places


def _rows(shown: preview.Preview) -> Content:
    parts: list[Content | str] = []
    for row in shown.rows:
        task = f" · {row.task}" if row.task else ""
        count = "".join(
            f" · {view.trained} of {len(view.tokens)} tokens trained" for view in row.views
        )
        title = f"line {row.line}{task}{count or ' · not usable'}\n"
        parts.append(Content.styled(visible(title, "\n"), "$text-secondary bold"))
        for found in row.findings:
            line = f"{found.grade}: {visible(found.message)}\n"
            parts.append(Content.styled(line, _GRADES[found.grade]))
        for view in row.views:
            parts += [_piece(piece) for piece in view.pieces]
            parts.append("\n")
        if not row.views:
            said = (f"{m.role}: {m.content}" if m.role else m.content for m in row.messages)
            parts += [visible(text, "\n\t") + "\n" for text in said]
        parts.append("\n")
    return Content.assemble(*parts)


def _piece(piece: Any) -> Content:
    style = [_TRAINED] if piece.trained else []
    style += {"control": [_SPECIAL], "lookalike": [_LOOKALIKE]}.get(piece.kind, [])
    text = visible(piece.text, "\n\t")
    if piece.weight not in (0.0, 1.0):
        text = f"×{piece.weight:g} {text}"
    return Content.styled(text, " ".join(style)) if style else Content(text)


def _label(file: Path) -> str:
    # Enough to tell files apart; choosing one shows the whole path.
    folder = "embedded" if file.parent == paths.NANO_DATA.resolve() else file.parent.name
    return f"{folder}/{file.name}"


def _typed(file: Path) -> str:
    """A path as a person would type it here."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
