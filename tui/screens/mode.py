"""What the screens of all modes have in common."""

from typing import TYPE_CHECKING, ClassVar

from textual.screen import Screen
from textual.worker import Worker, WorkerState

if TYPE_CHECKING:
    from ..app import EdgetuneApp


class ModeScreen(Screen[None]):
    """The screen of one mode. A worker that fails is reported and ends nothing else."""

    HELP: ClassVar[str]
    """Markdown: what can be done here, with which keys."""
    app: "EdgetuneApp"

    def on_worker_state_changed(self, message: Worker.StateChanged) -> None:
        """Tell of what no one expected."""
        if message.state == WorkerState.ERROR:
            error = message.worker.error
            self.notify(f"{type(error).__name__}: {error}", severity="error", timeout=15)
