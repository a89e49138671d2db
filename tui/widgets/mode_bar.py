"""The line at the top: where we are and where else there is to go."""

from textual.content import Content
from textual.widgets import Static

MODES = {"home": "F2", "data": "F3", "train": "F4", "export": "F5", "chat": "F6"}
"""The modes and the keys that open them, from anywhere."""


class ModeBar(Static):
    """All modes with their keys, the current one marked; a click opens one."""

    def __init__(self, current: str) -> None:
        parts = [Content.styled(" edgetune ", "bold $text-accent")]
        for mode, key in MODES.items():
            style = "bold $block-cursor-foreground on $block-cursor-background"
            name = f" {key} {mode.capitalize()} "
            parts.append(
                Content.styled(name, style)
                if mode == current
                else Content.from_markup(f"[@click=app.go('{mode}')]{name}[/]")
            )
        super().__init__(Content.assemble(*parts))
