"""The form that starts a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.message import Message
from textual.widgets import Button, Input, Label, Static

from edgetune import config as settings
from edgetune import paths
from edgetune.errors import RequestError

from ..services.library import DATA_ENDINGS
from .paths import PathSuggester

_LABELS = {
    "model": "Model",
    "data.train": "Data",
    "data.valid": "Validation",
    "name": "Name",
    "train.epochs": "Epochs",
    "train.batch_size": "Batch size",
    "train.learning_rate": "Learning rate",
    "adapter.rank": "Rank",
    "data.max_length": "Max. length",
}
"""The settings that the form asks for; every other one keeps its default."""
_FILES = {"data.train", "data.valid"}
_TEXTS = {"model", "name"}


class TrainForm(VerticalScroll):
    """Fields for the common settings, each explained while it is edited."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "start", "Start", priority=True)]

    @dataclass
    class Submitted(Message):
        """The form was filled in and its settings are valid."""

        config: settings.RunConfig

    def compose(self) -> ComposeResult:
        defaults = settings.RunConfig()
        for name, label in _LABELS.items():
            with Horizontal(classes="field"):
                yield Label(label)
                suggester = None
                if name == "model" or name in _FILES:
                    suggester = PathSuggester(DATA_ENDINGS if name in _FILES else ())
                value = _initial(name, defaults)
                yield Input(value, id=_id(name), compact=True, suggester=suggester)
        yield Button("Start training", id="start", variant="primary", compact=True)
        yield Static(id="explanation", classes="muted")
        yield Static(id="problem", classes="error")

    def set_value(self, name: str, value: str) -> None:
        """Fill in one field by the name of its setting."""
        self.query_one(f"#{_id(name)}", Input).value = value

    def value(self, name: str) -> str:
        """The text in a field."""
        return self.query_one(f"#{_id(name)}", Input).value.strip()

    def complain(self, reason: str) -> None:
        """Show why nothing was started; empty for nothing to complain about."""
        self.query_one("#problem", Static).update(Content(reason))
        if reason:
            self.query_one("#problem").scroll_visible(animate=False)

    def focus_first(self) -> None:
        """Put the cursor on the first field."""
        self.query_one(f"#{_id('model')}").focus()

    def action_start(self) -> None:
        """Check the settings and hand them on."""
        self.complain("")
        values: dict[str, object] = {}
        try:
            for name in _LABELS:
                text = self.value(name)
                if name in _FILES:
                    settings.set_value(values, name, _files(text))
                elif name in _TEXTS:
                    settings.set_value(values, name, text)
                elif text:
                    settings.assign(values, f"{name}={text}")
            if not values["model"]:
                raise RequestError("No model is named.", "`nano` is the embedded one.")
            if not values["data"]["train"]:  # type: ignore[index]
                raise RequestError("No data is named.", "Name a file with rows, or a directory.")
            _make_room(values)
            config = settings.build(values, "the form")
        except RequestError as error:
            self.complain(str(error))
        else:
            self.post_message(self.Submitted(config))

    @on(Button.Pressed, "#start")
    def _pressed(self) -> None:
        self.action_start()

    @on(Input.Submitted)
    def _next(self) -> None:
        self.screen.focus_next()

    def on_descendant_focus(self, message: DescendantFocus) -> None:
        """Explain the field that is edited now."""
        names = {_id(name): name for name in _LABELS}
        name = names.get(message.widget.id or "")
        explanation = _explain(name) if name else "Enter starts the run in a process of its own."
        self.query_one("#explanation", Static).update(Content(explanation))


def _id(name: str) -> str:
    return "field-" + name.replace(".", "-").replace("_", "-")


def _initial(name: str, defaults: settings.RunConfig) -> str:
    embedded = {
        "model": "nano",
        "data.train": _if_there(paths.NANO_DATA / "train.jsonl"),
        "data.valid": _if_there(paths.NANO_DATA / "valid.jsonl"),
        "name": "",
    }
    if name in embedded:
        return embedded[name]
    section, _, field = name.partition(".")
    value = getattr(getattr(defaults, section), field)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _if_there(file: Path) -> str:
    return str(file) if file.is_file() else ""


def _explain(name: str) -> str:
    section, _, field = name.rpartition(".")
    model: type[BaseModel] = settings.RunConfig
    if section:
        model = type(getattr(settings.RunConfig(), section))
    text = (model.model_fields[field].description or "").replace("`", "")
    several = " Several files: separated by commas." if name in _FILES else ""
    return " ".join(text.split()) + several


def _files(text: str) -> list[str]:
    if text and Path(text).expanduser().is_file():
        return [str(Path(text).expanduser())]  # its name may hold a comma
    return [str(Path(part.strip()).expanduser()) for part in text.split(",") if part.strip()]


def _make_room(values: dict[str, object]) -> None:
    """One example of the greatest length has to fit into a micro-batch."""
    length = values["data"].get("max_length")  # type: ignore[attr-defined]
    default = settings.TrainConfig().micro_batch_tokens
    if isinstance(length, int) and length > default:
        settings.set_value(values, "train.micro_batch_tokens", length)
