"""The field that a question is typed into."""

from dataclasses import dataclass

from textual.events import Key
from textual.message import Message
from textual.widgets import TextArea


class Prompt(TextArea):
    """Grows with its lines. Enter sends; Ctrl+J begins a new line; pasted lines stay lines."""

    @dataclass
    class Submitted(Message):
        """Enter was pressed on some text."""

        text: str

    def __init__(self, id: str, placeholder: str, disabled: bool) -> None:
        super().__init__(
            id=id,
            placeholder=placeholder,
            disabled=disabled,
            show_line_numbers=False,
            highlight_cursor_line=False,
            tab_behavior="focus",
        )

    def on_key(self, event: Key) -> None:
        """Take Enter and the key for a new line; the rest is editing."""
        if event.key == "enter":
            event.prevent_default()
            event.stop()
            if self.text.strip():
                self.post_message(self.Submitted(self.text))
        elif event.key in ("ctrl+j", "shift+enter"):
            event.prevent_default()
            event.stop()
            self.insert("\n")
