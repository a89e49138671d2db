"""The help page: one for the whole program, with a part for the screen it was asked on."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Markdown

_GENERAL = """
### Everywhere

- **F2 … F6** home, data, train, export, chat (**1 … 5** where no text is edited)
- **Tab**, **Shift+Tab** next, previous field; **Esc** leaves a text field
- **F1**, **?** this page
- **F7** light or dark
- **Ctrl+P** all commands
- **Ctrl+Q** quit; training goes on without the screen

Training runs in a process of its own. It goes on when this program is closed, and its run can be
opened again from the home screen. Every screen has a plain twin: `edgetune data show`,
`edgetune train`, `edgetune export`, `edgetune chat`.
"""


class HelpScreen(ModalScreen[None]):
    """Shows the help text; any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,question_mark,q", "dismiss", "Close", key_display="Esc"),
    ]

    def __init__(self, text: str) -> None:
        """``text`` is the Markdown of the screen it was asked on."""
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Markdown(self._text.strip() + "\n" + _GENERAL)
        yield Footer()
