"""Data: pick a file and see its rows as the model will see them, trained tokens in colour."""

from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Footer, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from edgetune import paths
from edgetune.errors import EdgetuneError

from ..messages import FilesFound, PreviewFailed, PreviewReady, TrainWith
from ..services import library, preview
from ..widgets.mode_bar import ModeBar
from ..widgets.paths import PathSuggester
from .mode import ModeScreen

_TRAINED = "$text-success on $success-muted"
_SPECIAL = "italic"


class DataScreen(ModeScreen):
    """A list of data files, and pages of rows of the chosen one."""

    HELP: ClassVar[str] = """
### Data

- **Enter** on a file: show its rows
- **/** type a path; **→** takes the suggestion
- **m** the model whose tokenizer and template are used
- **n**, **p** next, previous page of rows
- **t** train with this file

Coloured text is what will be learned; the rest is only read. Tokens such as `</s>` are in
italics. A row that cannot be trained on says why.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "focus('#path')", "Path", key_display="/"),
        Binding("m", "focus('#model')", "Model"),
        Binding("n", "turn(1)", "Next rows"),
        Binding("p", "turn(-1)", "Previous"),
        Binding("t", "train", "Train with it"),
        Binding("escape", "focus('#files')", "Files", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._preview: preview.Preview | None = None

    def compose(self) -> ComposeResult:
        yield ModeBar("data")
        with Horizontal(id="choice"):
            yield Label("File")
            yield Input(
                id="path",
                compact=True,
                placeholder="path of a .json or .jsonl file",
                suggester=PathSuggester((".json", ".jsonl")),
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
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#files").focus()

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
        place = shelf.highlighted
        shelf.clear_options()
        shelf.add_options(Option(_label(file), id=str(file)) for file in message.files)
        shelf.highlighted = place or 0

    @on(OptionList.OptionSelected, "#files")
    def _pick(self, message: OptionList.OptionSelected) -> None:
        self.query_one("#path", Input).value = _typed(Path(str(message.option_id)))
        self._look(0)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._look(0)

    def action_turn(self, pages: int) -> None:
        """Go to another page of rows."""
        if self._preview is not None:
            start = self._preview.start + pages * preview.PAGE
            if 0 <= start < self._preview.total:
                self._look(start)

    def action_train(self) -> None:
        """Open the train form with this file and model."""
        if self._preview is None:
            self.notify("Choose a file first.", severity="warning")
            return
        shown = self._preview
        self.post_message(TrainWith(model=shown.model, data=_typed(shown.file)))

    def _look(self, start: int) -> None:
        path = self.query_one("#path", Input).value.strip()
        model = self.query_one("#model", Input).value.strip() or "nano"
        if not path:
            self.notify("Type the path of a file first.", severity="warning")
            return
        self.query_one("#view").loading = True
        self._read(Path(path).expanduser(), model, start)

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _read(self, file: Path, model: str, start: int) -> None:
        try:
            self.post_message(PreviewReady(preview.look(file, model, start)))
        except EdgetuneError as error:
            self.post_message(PreviewFailed(str(error)))
        except Exception as error:  # whatever a strange file makes a library raise
            self.post_message(PreviewFailed(f"{file} cannot be shown: {error}"))

    @on(PreviewReady)
    def _show(self, message: PreviewReady) -> None:
        shown = self._preview = message.preview
        self.app.preferences.used_data(str(shown.file.resolve()))
        self.app.preferences.save()
        view = self.query_one("#view")
        view.loading = False
        self.query_one("#summary", Static).update(_summary(shown))
        self.query_one("#text", Static).update(_rows(shown))
        rows = self.query_one("#rows", VerticalScroll)
        rows.scroll_home(animate=False)
        rows.focus()

    @on(PreviewFailed)
    def _tell(self, message: PreviewFailed) -> None:
        self._preview = None
        self.query_one("#view").loading = False
        self.query_one("#summary", Static).update(Content.styled(message.reason, "$text-error"))
        self.query_one("#text", Static).update("")


def _summary(shown: preview.Preview) -> Content:
    last = shown.start + len(shown.rows)
    left_out = ""
    if shown.left_out:
        left_out = f", {len(shown.left_out)} more left out ({shown.left_out[0]})"
    return Content.assemble(
        f"{shown.file.name}: {shown.total} rows ({shown.format}), {shown.template} template"
        f"{left_out}. Rows {shown.start + 1}–{last}: ",
        ("trained", _TRAINED),
        ", read only, ",
        ("control token", _SPECIAL),
        ".",
    )


def _rows(shown: preview.Preview) -> Content:
    parts: list[Content | str] = []
    for row in shown.rows:
        task = f" · {row.task}" if row.task else ""
        count = "not usable" if row.problem else f"{row.trained} of {row.tokens} tokens trained"
        parts.append(Content.styled(f"line {row.line}{task} · {count}\n", "$text-secondary bold"))
        if row.problem:
            parts.append(Content.styled(f"{row.problem}\n", "$text-error"))
        for piece in row.pieces:
            style = " ".join(
                name
                for name, wanted in ((_SPECIAL, piece.special), (_TRAINED, piece.trained))
                if wanted
            )
            parts.append(Content.styled(piece.text, style) if style else Content(piece.text))
        parts.append("\n\n")
    return Content.assemble(*parts)


def _label(file: Path) -> str:
    # Enough to tell files apart; choosing one shows the whole path.
    folder = "embedded" if file.parent == paths.NANO_DATA.resolve() else file.parent.name
    return f"{folder}/{file.name}"


def _typed(file: Path) -> str:
    """A path as a person would type it here."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
